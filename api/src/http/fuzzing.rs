//! What must hold of cursors, and of the bytes that stand before the parser of requests.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what does not hold is to panic")]

use scrollback_log::{Offset, Timestamp};

use super::cursor::{CURSOR_DIGITS, Cursor};
use super::head_guard::{Fault, HeadGuard};

/// How many header fields hyper lets its parser take.
const FIELDS_MAX: usize = 100;
/// Small, so that short inputs reach it.
const HEAD_BYTES_MAX: usize = 512;

/// A cursor is read exactly when it is the one spelling of a place. So that there are some, the first 16 bytes are also
/// taken for a place, and the rest for changes to its spelling.
pub fn cursor(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(cursor) = Cursor::parse(text)
    {
        assert_eq!(cursor.show(), text);
    }
    let Some((place, changes)) = data.split_first_chunk::<16>() else { return };
    let (at, offset) = place.split_at(8);
    let at = Timestamp(i64::from_le_bytes(at.try_into().unwrap()));
    let cursor = Cursor { at, offset: Offset(u64::from_le_bytes(offset.try_into().unwrap())) };
    let text = cursor.show();
    assert_eq!(text.len(), CURSOR_DIGITS);
    assert_eq!(Cursor::parse(&text), Some(cursor));
    assert_eq!(format!("{:016x}{:016x}", at.0, cursor.offset.0), text[..32]);
    assert!(cursor.previous() <= cursor && cursor <= cursor.next());
    let mut changed = text.clone().into_bytes();
    for change in changes.chunks_exact(2) {
        changed[usize::from(change[0]) % CURSOR_DIGITS] = change[1];
    }
    if let Ok(changed) = std::str::from_utf8(&changed) {
        // A change of the place that the check does not see is one in four thousand million.
        assert_eq!(Cursor::parse(changed).is_some(), changed == text, "{changed}");
    }
}

/// However the bytes of a connection come in pieces, the guard says the same of them; and as long as it lets requests pass,
/// the parser behind it ends each head at the same byte and finds the same length of the body, or refuses it. The first byte
/// says how long the pieces are.
pub fn http_head(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let outcome = |piece: usize| {
        let mut guard = HeadGuard::new(HEAD_BYTES_MAX);
        let outcome = bytes.chunks(piece).try_for_each(|part| guard.feed(part));
        (outcome, outcome.is_ok() && guard.in_head())
    };
    let whole = outcome(usize::MAX);
    assert_eq!(whole, outcome(usize::from(*piece).max(1)), "pieces make a difference");
    assert_eq!(whole, outcome(1), "pieces make a difference");
    if let Some(wanted) = plainly(bytes) {
        assert_eq!(whole.0, wanted);
    }
}

/// What is to be said of the bytes, by the parser itself; none when it refuses them, and closes the connection. Panics when
/// the parser and the guard do not agree where a head ends.
fn plainly(mut bytes: &[u8]) -> Option<Result<(), Fault>> {
    loop {
        let head = head(bytes);
        if head.len() > HEAD_BYTES_MAX || head.len() == HEAD_BYTES_MAX && !head.ends_with(b"\n") {
            return None;
        }
        let mut guard = HeadGuard::new(HEAD_BYTES_MAX);
        let said = guard.feed(head);
        if said.is_err() {
            // What it refuses the parser may take.
            return None;
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        let parsed = match request.parse(head) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => {
                assert!(!is_whole(head), "the guard sees the end of a head and the parser waits for more");
                return Some(Ok(()));
            }
            Err(httparse::Error::TooManyHeaders) => {
                panic!("the guard lets more fields pass than the parser takes")
            }
            Err(_) => return None,
        };
        assert_eq!(parsed, head.len(), "the parser ends the head elsewhere");
        let named = |name: &str| {
            let fields = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            fields.map(|field| field.value.trim_ascii()).collect::<Vec<_>>()
        };
        let rest = &bytes[head.len()..];
        if !named("transfer-encoding").is_empty() {
            assert!(named("content-length").is_empty(), "two ways to say where the body ends");
            return Some(Ok(()));
        }
        let lengths = named("content-length");
        assert!(lengths.iter().all(|length| !length.is_empty() && length.iter().all(u8::is_ascii_digit)));
        let mut lengths =
            lengths.iter().map(|length| std::str::from_utf8(length).unwrap().parse::<u64>().unwrap());
        let length = lengths.next().unwrap_or(0);
        assert!(lengths.all(|other| other == length), "two lengths of one body");
        match rest.get(usize::try_from(length).unwrap_or(usize::MAX)..) {
            Some(next) if !next.is_empty() => bytes = next,
            _ => return Some(Ok(())),
        }
    }
}

/// The bytes up to the end of the first head, empty lines before it included; all if there is no end.
fn head(bytes: &[u8]) -> &[u8] {
    let begin = bytes.chunks(2).take_while(|pair| *pair == b"\r\n").count() * 2;
    let end = bytes[begin..].windows(4).position(|four| four == b"\r\n\r\n");
    end.map_or(bytes, |end| &bytes[..begin + end + 4])
}

fn is_whole(head: &[u8]) -> bool {
    head.ends_with(b"\r\n\r\n") && head.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
}

pub(crate) fn cursor_seeds() -> Vec<Vec<u8>> {
    let places =
        [Cursor::OLDEST, Cursor::NEWEST, Cursor { at: Timestamp(1_700_000_000_000_000), offset: Offset(42) }];
    let mut seeds: Vec<Vec<u8>> = places.iter().map(|place| place.show().into_bytes()).collect();
    seeds.push([&42_u64.to_le_bytes()[..], &7_u64.to_le_bytes(), &[0, b'f', 39, b'0']].concat());
    seeds.push([&42_u64.to_le_bytes()[..], &7_u64.to_le_bytes()].concat());
    seeds
}

pub(crate) fn http_head_seeds() -> Vec<Vec<u8>> {
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a:\r\n".repeat(100));
    let requests = [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\ncontent-LENGTH:  5 \r\nHost: x\r\n\r\na\nb\n\nGET / HTTP/1.1\r\n\r\n",
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na\nb\n\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 05\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\nHost: x\r\n\r\n",
        "GET /stream?after=12-0000beef HTTP/1.0\r\nLast-Event-ID: 12-0000beef\r\nConnection: close\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n:\r\nA:\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &many,
    ];
    requests.iter().map(|text| [&[3], text.as_bytes()].concat()).collect()
}
