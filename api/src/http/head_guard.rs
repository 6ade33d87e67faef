//! Watches the bytes of requests before they are parsed, for what the parser lets through and a proxy in front may read
//! in another way: then the two would not agree where the next request begins.
//!
//! The parser takes a bare line feed for a line's end and drops a `Content-Length` beside a `Transfer-Encoding` without a
//! word. Both are refused here, together with heads that are too large, before the parser has seen the end of the head.

/// The most header fields of a request: as many as the parser takes.
const FIELDS_MAX: usize = 100;
/// How much of a line is kept. No field that says where a body ends needs more.
const LINE_BYTES_KEPT: usize = 64;

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It has too many bytes or fields.
    TooLarge,
    /// A line ends with a line feed alone, is folded, or the end of the body is not clear.
    Malformed,
}

/// Where in a request the next byte lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Head,
    Body {
        left: u64,
    },
    /// Behind the head of a request whose body has no length; such a connection takes no more requests.
    Unknown,
}

/// Follows the requests on one connection.
#[derive(Debug)]
pub(super) struct HeadGuard {
    bytes_max: usize,
    place: Place,
    /// Of the present head.
    bytes: usize,
    lines: usize,
    length: Option<u64>,
    encoded: bool,
    /// Of the present line, without its line feed.
    line: Vec<u8>,
    line_bytes: usize,
    last: u8,
}

impl HeadGuard {
    pub(super) fn new(bytes_max: usize) -> HeadGuard {
        HeadGuard {
            bytes_max,
            place: Place::Head,
            bytes: 0,
            lines: 0,
            length: None,
            encoded: false,
            line: Vec::new(),
            line_bytes: 0,
            last: 0,
        }
    }

    /// Whether a head has begun and not ended.
    pub(super) fn in_head(&self) -> bool {
        self.place == Place::Head && self.bytes > 0
    }

    /// Looks at the next bytes of the connection.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Unknown => return Ok(()),
                Place::Body { left } => {
                    let skipped = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= skipped as u64;
                    if *left == 0 {
                        self.place = Place::Head;
                    }
                    bytes = &bytes[skipped..];
                }
                Place::Head => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
                    self.bytes += part.len();
                    if self.bytes > self.bytes_max {
                        return Err(Fault::TooLarge);
                    }
                    self.part_of_line(&part[..end.unwrap_or(part.len())]);
                    if end.is_some() {
                        self.end_of_line()?;
                    }
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    fn part_of_line(&mut self, part: &[u8]) {
        let kept = part.len().min(LINE_BYTES_KEPT.saturating_sub(self.line.len()));
        self.line.extend_from_slice(&part[..kept]);
        self.line_bytes += part.len();
        self.last = part.last().copied().unwrap_or(self.last);
    }

    fn end_of_line(&mut self) -> Result<(), Fault> {
        if self.line_bytes == 0 || self.last != b'\r' {
            return Err(Fault::Malformed);
        }
        let bytes = self.line_bytes - 1;
        match (bytes, self.lines) {
            // Empty lines before a request are passed over, as the parser does.
            (0, 0) => {}
            (0, _) => self.end_of_head()?,
            (_, 0) => self.lines = 1,
            _ => self.field(bytes)?,
        }
        self.line.clear();
        self.line_bytes = 0;
        Ok(())
    }

    fn field(&mut self, bytes: usize) -> Result<(), Fault> {
        self.lines += 1;
        if self.lines > 1 + FIELDS_MAX {
            return Err(Fault::TooLarge);
        }
        let line = &self.line[..bytes.min(self.line.len())];
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(Fault::Malformed);
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Ok(()) };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.encoded = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let digits =
                bytes <= LINE_BYTES_KEPT && !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let length =
                std::str::from_utf8(value).ok().filter(|_| digits).and_then(|digits| digits.parse().ok());
            let length = length.ok_or(Fault::Malformed)?;
            if self.length.is_some_and(|other| other != length) {
                return Err(Fault::Malformed);
            }
            self.length = Some(length);
        }
        Ok(())
    }

    fn end_of_head(&mut self) -> Result<(), Fault> {
        self.place = match (self.encoded, self.length.take()) {
            (true, Some(_)) => return Err(Fault::Malformed),
            (true, None) => Place::Unknown,
            (false, None | Some(0)) => Place::Head,
            (false, Some(left)) => Place::Body { left },
        };
        (self.bytes, self.lines, self.encoded) = (0, 0, false);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fed(text: &str, piece: usize) -> (Result<(), Fault>, HeadGuard) {
        let mut guard = HeadGuard::new(1024);
        let outcome = text.as_bytes().chunks(piece).try_for_each(|part| guard.feed(part));
        (outcome, guard)
    }

    #[test]
    fn requests_that_all_read_alike_pass_however_they_arrive() {
        let text = "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\ncontent-LENGTH:  5 \r\nHost: x\r\n\r\na\nb\n\nGET / HTTP/1.1\r\n\r\n";
        for piece in 1..=text.len() {
            let (outcome, guard) = fed(text, piece);
            assert_eq!((outcome, guard.in_head()), (Ok(()), false), "in pieces of {piece}");
        }
    }

    #[test]
    fn what_another_parser_may_read_in_another_way_is_refused() {
        for text in [
            "GET / HTTP/1.1\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n\tTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: \r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        ] {
            for piece in [1, 2, 7, text.len()] {
                assert_eq!(fed(text, piece).0, Err(Fault::Malformed), "{text:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_head_is_bounded_in_bytes_and_in_fields() {
        assert_eq!(fed(&format!("GET /{}", "x".repeat(1024)), 100).0, Err(Fault::TooLarge));
        assert_eq!(fed(&"\r\n".repeat(600), 100).0, Err(Fault::TooLarge));
        let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a:b\r\n".repeat(count));
        assert_eq!(fed(&fields(100), 100).0, Ok(()));
        assert_eq!(fed(&fields(101), 100).0, Err(Fault::TooLarge));
        assert_eq!(fed(&fields(100).repeat(5), 100).0, Ok(()), "each head has its own bound");
    }

    #[test]
    fn what_follows_a_body_without_a_length_is_not_looked_at() {
        let (outcome, guard) =
            fed("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na\nb\n\n\r\n0\r\n\r\n", 3);
        assert_eq!((outcome, guard.in_head()), (Ok(()), false));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_and_pieces_make_no_difference(bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), any::<u8>()], 0..300), piece in 1_usize..50) {
            let outcome = |piece: usize| {
                let mut guard = HeadGuard::new(200);
                bytes.chunks(piece).try_for_each(|part| guard.feed(part))
            };
            prop_assert_eq!(outcome(piece), outcome(usize::MAX));
        }
    }
}
