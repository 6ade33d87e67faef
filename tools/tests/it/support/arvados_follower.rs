//! A client of Arvados' library over all the connections that it makes, whoever breaks or kills what.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::arvados::{Program, soon};
use super::arvados_rows::must_be;
use super::client::number;

/// What the library says between two connections.
pub(crate) const RECONNECTED: &str = "Reconnect successful.";

/// What a program of the library says, and when, in nanoseconds since 1970.
struct Said {
    at: u64,
    what: String,
    thing: Value,
}

impl Said {
    fn read(line: Value) -> Self {
        let at = line[0].as_u64().expect("a time");
        Self { at, what: line[1].as_str().expect("what it is").to_owned(), thing: line[2].clone() }
    }
}

/// What a client was told on one connection.
pub(crate) struct Connection {
    /// All of it was sent after that, in nanoseconds since 1970.
    pub(crate) since: u64,
    pub(crate) rows: Vec<Value>,
}

/// A client of the library, begun again where it stood as often as it ends, and all that it was told.
pub(crate) struct Follower {
    begin: Box<dyn Fn(Option<u64>) -> Program>,
    program: Program,
    /// Where it was begun first; none for what was new then.
    from: Option<u64>,
    /// How often it was answered that it is subscribed.
    subscribed: usize,
    /// How often it has asked for a list.
    asked: usize,
    /// How often it was begun.
    pub(crate) begun: usize,
    pub(crate) connections: Vec<Connection>,
    /// What the library said besides, and the program.
    pub(crate) log: Vec<String>,
}

impl Follower {
    /// Follows from the beginning. `begin` begins a client behind the event with an id, or one that knows none.
    pub(crate) fn from_the_beginning(begin: impl Fn(Option<u64>) -> Program + 'static) -> Self {
        Self::from(Some(0), begin)
    }

    /// Follows what is new from now on.
    pub(crate) fn from_now(begin: impl Fn(Option<u64>) -> Program + 'static) -> Self {
        Self::from(None, begin)
    }

    fn from(from: Option<u64>, begin: impl Fn(Option<u64>) -> Program + 'static) -> Self {
        let connections = vec![Connection { since: now(), rows: Vec::new() }];
        let (program, begin) = (begin(from), Box::new(begin));
        Self { begin, program, from, subscribed: 0, asked: 0, begun: 1, connections, log: Vec::new() }
    }

    /// The newest event that it was told of.
    pub(crate) fn last(&self) -> u64 {
        self.rows().last().map_or(0, |row| number(row, "id"))
    }

    pub(crate) fn rows(&self) -> impl DoubleEndedIterator<Item = &Value> {
        self.connections.iter().flat_map(|connection| &connection.rows)
    }

    /// Waits until it was told of the event with this id.
    #[track_caller]
    pub(crate) fn receive(&mut self, to: u64) {
        let until = soon();
        while self.last() < to {
            if !self.hear(until) {
                self.begin_again();
            }
        }
    }

    /// Waits until it was answered so often that it is subscribed.
    #[track_caller]
    pub(crate) fn until_it_is_subscribed(&mut self, times: usize) {
        let until = soon();
        while self.subscribed < times {
            assert!(self.hear(until), "it has ended: {:?}", self.log);
        }
    }

    /// Waits until it has asked for so many lists and asks for one more: so it has the answers.
    #[track_caller]
    pub(crate) fn until_it_has_lists(&mut self, count: usize) {
        let until = soon();
        while self.asked <= count {
            assert!(self.hear(until), "it has ended: {:?}", self.log);
        }
    }

    /// Waits until the library says something that contains this.
    #[track_caller]
    pub(crate) fn until_it_says(&mut self, part: &str) {
        let (heard, until) = (self.log.len(), soon());
        while !self.log[heard..].iter().any(|said| said.contains(part)) {
            assert!(self.hear(until), "it has ended: {:?}", self.log);
        }
    }

    /// Hears the next thing; says no when there is no more.
    #[track_caller]
    fn hear(&mut self, until: Instant) -> bool {
        let Some(line) = self.program.next(until) else { return false };
        let Said { at, what, thing } = Said::read(line);
        match what.as_str() {
            "message" if thing.get("id").is_some() => self.connections.last_mut().unwrap().rows.push(thing),
            "message" if thing == json!({}) => {}
            "message" => {
                assert_eq!(thing["status"], 200, "{thing}");
                self.subscribed += 1;
            }
            "asked" => self.asked += 1,
            "log" if thing == RECONNECTED => {
                self.connections.push(Connection { since: at, rows: Vec::new() });
                self.log.push(RECONNECTED.to_owned());
            }
            "log" | "client" | "raised" | "gave up" => {
                self.log.push(format!("{what} {}", thing.as_str().unwrap_or_default()));
            }
            other => panic!("{other}: {thing}"),
        }
        true
    }

    /// Hears all until the client ends.
    #[track_caller]
    pub(crate) fn hear_the_end(&mut self) {
        let until = soon();
        while self.hear(until) {}
    }

    /// Kills the client and reads what it has said before.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.program.kill();
        self.hear_the_end();
    }

    /// Begins the client where it stood.
    pub(crate) fn begin_again(&mut self) {
        let since = now();
        self.program = (self.begin)(self.rows().last().map(|row| number(row, "id")).or(self.from));
        self.begun += 1;
        self.connections.push(Connection { since, rows: Vec::new() });
    }

    /// Lets the client close its connection.
    #[track_caller]
    pub(crate) fn close(&mut self) {
        self.program.end_input();
        self.hear_the_end();
        assert!(self.program.end(), "{:?}", self.log);
    }

    /// Everything was told, nothing else and nothing twice, in order.
    #[track_caller]
    pub(crate) fn must_have_been_told(&self, rows: &[Value]) {
        let told: Vec<&Value> = self.rows().collect();
        must_be(&told, rows);
        self.must_have_counted();
    }

    /// On every connection of a socket what was told was counted, from 1.
    #[track_caller]
    pub(crate) fn must_have_counted(&self) {
        for connection in &self.connections {
            for (count, row) in (1_u64..).zip(&connection.rows) {
                // Rows that were polled have none.
                assert!(row["msgID"] == count || row["kind"] == "arvados#log", "number {count}: {row}");
            }
        }
    }
}

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is right");
    u64::try_from(since.as_nanos()).expect("a clock that is right")
}
