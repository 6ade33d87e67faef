//! Cutting a stream of bytes into events, as cheaply as it can be done while every event is still looked at: what was
//! read is parsed where it lies, and only an event that the end of a read has cut is copied.

use anyhow::{Result, ensure};

/// An event that does not fit is not one of ours.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// How much is added at a time to an event that was cut, until it is whole.
const STEP_BYTES: usize = 512;

/// One event, or something else that a server says; what that is, its name tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    pub(crate) id: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) data: &'a [u8],
}

/// Events that were recognized as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The bytes they took.
    pub(crate) bytes: usize,
    pub(crate) events: u64,
    /// The key of the last of them.
    pub(crate) newest: u64,
}

/// Who is shown the events of a stream.
pub(crate) trait Sink {
    /// How much of `body`, which begins with an event, it recognizes as it is: that is not parsed.
    fn known(&mut self, _body: &[u8]) -> Known {
        Known::default()
    }

    /// The next event, and the bytes it was read from.
    fn event(&mut self, event: Event<'_>, bytes: &[u8]);
}

impl<F: FnMut(Event<'_>)> Sink for F {
    fn event(&mut self, event: Event<'_>, _bytes: &[u8]) {
        self(event);
    }
}

/// How the events of a protocol follow each other.
pub(crate) trait Grammar {
    /// Gives the first event in `body` to `sink` and says how many bytes it took; none if it is not all there. `last` says
    /// that nothing more belongs to this message; a protocol without messages does not care.
    fn parse_one(&mut self, body: &[u8], last: bool, sink: &mut impl Sink) -> Result<Option<usize>>;

    /// Whether what comes next may be recognized as it is.
    fn recognizes(&self) -> bool {
        true
    }

    /// Is told of what was recognized.
    fn passed(&mut self, _known: Known) {}
}

/// Cuts what arrives piece by piece.
#[derive(Default)]
pub(crate) struct Cutter<G> {
    grammar: G,
    /// The start of an event whose end has not arrived.
    carry: Vec<u8>,
}

impl<G: Grammar> Cutter<G> {
    pub(crate) fn grammar(&mut self) -> &mut G {
        &mut self.grammar
    }

    /// Gives every event that is whole now to `sink`; `last` says that `body` ends a message.
    pub(crate) fn feed(&mut self, mut body: &[u8], last: bool, sink: &mut impl Sink) -> Result<()> {
        while !self.carry.is_empty() {
            let (before, step) = (self.carry.len(), body.len().min(STEP_BYTES));
            self.carry.extend_from_slice(&body[..step]);
            ensure!(self.carry.len() <= EVENT_BYTES_MAX, "an endless event");
            if let Some(length) = self.grammar.parse_one(&self.carry, last && step == body.len(), sink)? {
                self.carry.clear();
                // Without the step it was not whole.
                body = &body[length - before..];
            } else if step == body.len() {
                return Ok(());
            } else {
                body = &body[step..];
            }
        }
        while !body.is_empty() {
            if self.grammar.recognizes() {
                let known = sink.known(body);
                self.grammar.passed(known);
                body = &body[known.bytes..];
                if body.is_empty() {
                    break;
                }
            }
            match self.grammar.parse_one(body, last, sink)? {
                Some(length) => body = &body[length..],
                None => break,
            }
        }
        self.carry.extend_from_slice(body);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a grammar makes of messages, each in pieces of `piece` bytes: id, name and data of every event.
    pub(crate) fn cut(grammar: impl Grammar, messages: &[&[u8]], piece: usize) -> Result<Vec<[String; 3]>> {
        let (mut cutter, mut seen) = (Cutter { grammar, carry: Vec::new() }, Vec::new());
        let mut sink = |event: Event<'_>| {
            seen.push([event.id, event.name, event.data].map(|field| String::from_utf8_lossy(field).into()));
        };
        for message in messages {
            let pieces = message.chunks(piece).count();
            for (index, part) in message.chunks(piece).enumerate() {
                cutter.feed(part, index + 1 == pieces, &mut sink)?;
            }
        }
        Ok(seen)
    }

    /// The same however the bytes arrive.
    pub(crate) fn assert_cut<G: Grammar>(
        grammar: impl Fn() -> G,
        messages: &[&[u8]],
        expected: &[[&str; 3]],
    ) -> Result<()> {
        let longest = messages.iter().map(|message| message.len()).max().unwrap_or(0);
        for piece in 1..=longest {
            assert_eq!(cut(grammar(), messages, piece)?, expected, "in pieces of {piece}");
        }
        Ok(())
    }

    /// Events are two bytes, an `e` first; all of them are recognized as they are.
    #[derive(Default)]
    struct Pairs;

    impl Grammar for Pairs {
        fn parse_one(&mut self, body: &[u8], _: bool, sink: &mut impl Sink) -> Result<Option<usize>> {
            ensure!(body.first() == Some(&b'e'), "no event");
            let Some(event) = body.get(..2) else { return Ok(None) };
            sink.event(Event::default(), event);
            Ok(Some(2))
        }
    }

    #[derive(Default)]
    struct KnowsAll(u64);

    impl Sink for KnowsAll {
        fn known(&mut self, body: &[u8]) -> Known {
            let events = body.len() / 2;
            self.0 += events as u64;
            Known { bytes: events * 2, events: events as u64, newest: self.0 }
        }

        fn event(&mut self, _: Event<'_>, _: &[u8]) {
            self.0 += 1;
        }
    }

    /// The grammar was asked for an event in nothing, took that for a broken stream, and the reader was given up.
    #[test]
    fn a_read_that_ends_where_what_is_recognized_ends_is_all_there_is() -> Result<()> {
        for piece in 1..=8 {
            let (mut cutter, mut sink) = (Cutter::<Pairs>::default(), KnowsAll::default());
            for part in b"e1e2e3e4".chunks(piece) {
                cutter.feed(part, false, &mut sink)?;
            }
            assert_eq!(sink.0, 4, "in pieces of {piece}");
        }
        Ok(())
    }
}
