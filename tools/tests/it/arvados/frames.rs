//! The frames beneath: what is no good one ends the socket as on `/api/ws`, and either side asks whether the other is there.

use std::time::{Duration, Instant};

use super::asking::stranger;
use super::open;
use crate::support::client::Client;
use crate::support::http::ANSWER_WAIT;
use crate::support::raw_ws::{
    self, BINARY, CLOSE, CONTINUATION, Ended, FIN, PING, PONG, RawWs, TEXT, frame, unmasked,
};
use crate::support::server::Server;
use crate::support::until;
use crate::support::ws::{ask_upgrade, upgrade_of};

const SUBSCRIBE: &str = r#"{"method":"subscribe","filters":[]}"#;
/// The longest message that is taken at once.
const MESSAGE_BYTES_MAX: usize = 512 << 10;
/// A ping is sent every 20 s, with a heartbeat before that if there is one, and waits 10 s for an answer.
const PING_WITHIN: Duration = Duration::from_secs(25);
const LET_GO_WITHIN: Duration = Duration::from_secs(20);
/// A message may take 30 s to come, which is looked at with each ping.
const TOO_SLOW_WITHIN: Duration = Duration::from_secs(35);

#[test]
fn a_client_that_breaks_the_protocol_is_told_how() {
    let (_server, owner) = Server::set_up(&[]);
    let offences = [
        ("JSON in a binary message", 1003, frame(FIN | BINARY, SUBSCRIBE.as_bytes())),
        ("no JSON in one", 1003, frame(FIN | BINARY, b"\x00\xFF")),
        ("an empty one", 1003, frame(FIN | BINARY, b"")),
        ("a text that is not UTF-8", 1007, frame(FIN | TEXT, b"{\"method\":\"\xFF\"}")),
        ("a character cut off", 1007, frame(FIN | TEXT, b"\xE2\x82")),
        ("no mask", 1002, unmasked(FIN | TEXT, SUBSCRIBE.as_bytes())),
        ("a continuation of nothing", 1002, frame(FIN | CONTINUATION, b"x")),
        ("a reserved bit", 1002, frame(FIN | 0x40 | TEXT, SUBSCRIBE.as_bytes())),
        ("an opcode that means nothing", 1002, frame(FIN | 11, b"x")),
        ("a ping of 126 bytes", 1002, frame(FIN | PING, &[b'x'; 126])),
        ("a close with a code that nobody may send", 1002, frame(FIN | CLOSE, &1006_u16.to_be_bytes())),
        ("a message one byte too long", 1009, frame(FIN | TEXT, &vec![b' '; MESSAGE_BYTES_MAX + 1])),
    ];
    // All at once, for the server holds each of them for a second.
    let mut sockets: Vec<RawWs> = Vec::new();
    for (_, _, bytes) in &offences {
        let mut socket = RawWs::open_at(&owner, "/websocket");
        socket.say(&raw_ws::text(SUBSCRIBE)).unwrap();
        // The server may end it before it has taken all.
        let _ = socket.say(bytes);
        sockets.push(socket);
    }
    for ((what, code, _), mut socket) in offences.into_iter().zip(sockets) {
        assert_eq!(socket.end(), Ended::Code(Some(code)), "{what}");
        assert!(!socket.reason.is_empty(), "{what}");
    }
}

#[test]
fn a_ping_is_answered_by_what_it_said_before_and_after_a_subscription() {
    let (_server, owner) = Server::set_up(&[]);
    let mut socket = RawWs::open_at(&owner, "/websocket");
    for payload in [&b""[..], b"x", &[b'x'; 125]] {
        socket.say(&frame(FIN | PING, payload)).unwrap();
        let pong = socket.next(ANSWER_WAIT).unwrap();
        assert_eq!((pong.opcode, pong.payload.as_slice()), (PONG, payload));
        // A pong that nobody asked for says nothing.
        socket.say(&[frame(FIN | PONG, b"unasked"), raw_ws::text(SUBSCRIBE)].concat()).unwrap();
        assert_eq!(socket.next(ANSWER_WAIT).unwrap().opcode, TEXT);
    }
}

/// The next ping of the server's, and how many heartbeats came before it.
#[track_caller]
fn ping(socket: &mut RawWs) -> usize {
    let until = Instant::now() + PING_WITHIN;
    for heartbeats in 0.. {
        let got = socket.next(until.saturating_duration_since(Instant::now())).expect("a ping in time");
        match got.opcode {
            PING => return heartbeats,
            _ => assert_eq!(got.payload, b"{}"),
        }
    }
    unreachable!("heartbeats are not counted to an end")
}

#[test]
fn a_client_is_asked_whether_it_is_there_and_let_go_if_it_is_not() {
    let (_server, owner) = Server::set_up(&["--heartbeat", "2s"]);
    let [mut answers, mut does_not] = [0; 2].map(|_| RawWs::open_at(&owner, "/websocket"));
    let heartbeats = ping(&mut answers);
    assert!(heartbeats >= 5, "signs of life come more often: {heartbeats}");
    answers.say(&frame(FIN | PONG, b"")).unwrap();
    ping(&mut does_not);
    assert_eq!(does_not.end_within(LET_GO_WITHIN), Ended::Code(Some(4008)));
    // The other one is still there, and heard.
    answers.say(&frame(FIN | PING, b"here")).unwrap();
    while answers.next(ANSWER_WAIT).expect("it is open").opcode != PONG {}
}

#[test]
fn an_address_has_no_more_sockets_than_connections_and_is_told_when_to_come_back() {
    let (_server, owner) = Server::set_up(&["--connections-per-address-max", "3"]);
    // Its own connection, and two more.
    let others = [0; 2].map(|_| open(&owner));
    let refusal = ask_upgrade(&owner, &upgrade_of("/websocket")).unwrap().err().expect("no socket");
    refusal.refused_as(429, "rate_limited");
    assert_eq!(refusal.header("retry-after"), Some("5"));
    drop(others);
    let again = |client: &Client| ask_upgrade(client, &upgrade_of("/websocket")).ok()?.ok();
    until("there is room again", || again(&owner));
}

/// The next answer, which is not a heartbeat.
#[track_caller]
fn answer(socket: &mut RawWs) -> String {
    loop {
        let got = socket.next(ANSWER_WAIT).expect("an answer");
        let text = String::from_utf8(got.payload).expect("text");
        if got.opcode == TEXT && !["{}", r#"{"type":"heartbeat"}"#].contains(&text.as_str()) {
            return text;
        }
    }
}

/// Lets one socket after the other begin a message, goes on with each of them when it is asked whether it is there, and no
/// sooner; and with some of them to the end.
fn say_slowly(client: &Client, path: &str, message: &str) {
    let whole = raw_ws::text(message);
    let (begin, rest) = whole.split_at(whole.len() / 2);
    let pieces = [frame(TEXT, b" "), [frame(FIN | PONG, b""), frame(CONTINUATION, b" ")].concat()];
    let cases = [
        ("half a frame", begin.to_vec(), rest[..1].to_vec(), false),
        ("a frame of several", pieces[0].clone(), pieces[1].clone(), false),
        ("half a frame, and then the rest", begin.to_vec(), rest.to_vec(), true),
    ];
    std::thread::scope(|scope| {
        for (what, first, second, is_whole) in cases {
            scope.spawn(move || {
                let mut socket = RawWs::open_at(client, path);
                socket.say(&first).unwrap();
                while socket.next(PING_WITHIN).expect("a ping in time").opcode != PING {}
                socket.say(&second).unwrap();
                if is_whole {
                    let answer = answer(&mut socket);
                    assert!(!answer.contains("400"), "{what} on {path}: {answer}");
                } else {
                    assert_eq!(
                        socket.end_within(TOO_SLOW_WITHIN),
                        Ended::Code(Some(1008)),
                        "{what} on {path}"
                    );
                    assert_eq!(socket.reason, "the message takes too long");
                }
            });
        }
    });
}

#[test]
fn a_message_that_does_not_come_to_an_end_ends_the_socket_and_a_slow_one_is_taken() {
    let (_server, owner) = Server::set_up(&["--heartbeat", "2s"]);
    std::thread::scope(|scope| {
        for (path, message) in
            [("/websocket", SUBSCRIBE), ("/api/ws", r#"{"type":"open","resume_point":"now"}"#)]
        {
            let owner = &owner;
            scope.spawn(move || say_slowly(owner, path, message));
        }
    });
}

/// How much of larger messages the server has in memory.
fn held_bytes(client: &mut Client) -> u64 {
    client.figure("scrollback_in_flight_bytes").expect("the figure")
}

#[test]
fn large_messages_of_one_that_do_not_come_to_an_end_leave_them_no_room_for_more_and_the_others_theirs() {
    // Of which one may have a quarter.
    let (_server, mut owner) = Server::set_up(&["--in-flight-bytes-max", "1MiB"]);
    let (member, _) = owner.invite_member("member");
    let [most, some] = [200 << 10, 100 << 10].map(|length| frame(FIN | TEXT, &vec![b' '; length]));
    let (begin, rest) = most.split_at(most.len() - 100);
    let mut others = RawWs::open_at(&owner, "/websocket");
    for (client, path) in [
        (&member, "/websocket"),
        (&member, "/api/ws"),
        // Those who have not said who they are are one for each address.
        (&stranger(&owner), "/websocket?auth=message"),
    ] {
        let mut holds = RawWs::open_at(client, path);
        holds.say(begin).unwrap();
        until("it is counted", || (held_bytes(&mut owner) >= begin.len() as u64 - 10).then_some(()));
        let mut too_much = RawWs::open_at(client, path);
        // The server may end it before it has taken all.
        let _ = too_much.say(&some);
        assert_eq!(too_much.end(), Ended::Code(Some(1013)), "{path}");
        assert_eq!(too_much.reason, "too many large messages are under way", "{path}");
        others.say(&some).unwrap();
        assert!(answer(&mut others).contains("400"), "{path}");
        // What it had begun is taken, and then there is room.
        holds.say(rest).unwrap();
        assert!(answer(&mut holds).contains("400"), "{path}");
        until("it is given back", || (held_bytes(&mut owner) == 0).then_some(()));
        let mut again = RawWs::open_at(client, path);
        again.say(&some).unwrap();
        assert!(answer(&mut again).contains("400"), "{path}");
    }
}
