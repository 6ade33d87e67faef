//! What is known of each watched channel, and what follows for the program from what the server says. Pure.
//!
//! A notice says nothing but an offset, so it is worth telling only if it is newer than what the program was told last;
//! whether it came by a stream, a poll or the status of a watch that was set anew is all the same. That is why nothing has
//! to be kept of notices, why those that come twice do no harm, and why one that was lost is made up for by any later look.

use std::collections::BTreeMap;

use super::Notice;
use super::watched::Watched;
use super::wire::{Change, Gone, Stands, Wanted};
use crate::stream::Elsewhere;

/// A channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    /// Up to where the program knows it: because it said so, or was told.
    known: Option<u64>,
    /// The newest record that a server has told of. Other than `known`, which may be the offset of a whole state, it is that
    /// of a record of this channel; in one log it never goes back.
    seen: Option<u64>,
}

/// The watched channels.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: BTreeMap<String, Entry>,
    /// A resume token of the log that all this is of.
    place: Option<String>,
}

impl Book {
    pub(super) fn new(watched: Watched) -> Book {
        let mut book = Book::default();
        book.replace(watched);
        book
    }

    /// Has these channels from now on and no others. What the program says of a channel counts; where it says nothing, what
    /// it was told.
    pub(super) fn replace(&mut self, watched: Watched) {
        let mut before = std::mem::take(&mut self.entries);
        for (channel, known) in watched.channels {
            let entry = before.remove(&channel).unwrap_or_default();
            self.entries.insert(channel, Entry { known: known.or(entry.known), ..entry });
        }
        self.place = watched.place.or(self.place.take());
    }

    /// The channels, and what the program was told of each.
    pub(super) fn watched(&self) -> Watched {
        let channels = self.entries.iter().map(|(channel, entry)| (channel.clone(), entry.known));
        Watched { channels: channels.collect(), place: self.place.clone() }
    }

    /// The same for the server.
    pub(super) fn wanted(&self) -> Vec<Wanted<'_>> {
        self.entries.iter().map(|(id, entry)| Wanted { id, since: entry.known }).collect()
    }

    pub(super) fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    pub(super) fn stand_at(&mut self, resume_token: &str) {
        self.place = Some(resume_token.to_owned());
    }

    /// Whether how channels stand cannot be in the log that this book is of.
    pub(super) fn contradicted(&self, status: impl Iterator<Item = Change>) -> Option<Elsewhere> {
        let contradicted = |Change { channel, stands }: Change| {
            let entry = self.entries.get(&channel)?;
            match stands {
                Ok(newest) if entry.seen.is_some_and(|seen| newest < seen) => Some(Elsewhere::OtherHistory),
                // Of a channel of which nothing was said to be known it makes no sense, and is a refusal like any other.
                Err(Gone::Other(code)) if code == "ahead" && entry.known.is_some() => Some(Elsewhere::Ahead),
                _ => None,
            }
        };
        status.into_iter().find_map(contradicted)
    }

    /// All that was known was of another log.
    pub(super) fn forget(&mut self) {
        self.place = None;
        self.entries.values_mut().for_each(|entry| *entry = Entry::default());
    }

    /// What the program is to be told now; none if it is no news, or of a channel that is not watched.
    pub(super) fn tell(&mut self, change: Change) -> Option<Notice> {
        let Change { channel, stands } = change;
        let entry = self.entries.get_mut(&channel)?;
        match stands {
            Stands::Err(why) => {
                self.entries.remove(&channel);
                Some(Notice::Gone { channel, why })
            }
            Stands::Ok(offset) => {
                entry.seen = entry.seen.max(Some(offset));
                if entry.known.is_some_and(|known| offset <= known) {
                    return None;
                }
                entry.known = Some(offset);
                Some(Notice::Changed { channel, offset })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(channel: &str, offset: u64) -> Change {
        Change { channel: channel.into(), stands: Ok(offset) }
    }

    fn gone(channel: &str, code: &str) -> Change {
        Change { channel: channel.into(), stands: Err(Gone::from(code.to_owned())) }
    }

    fn changed(channel: &str, offset: u64) -> Option<Notice> {
        Some(Notice::Changed { channel: channel.into(), offset })
    }

    #[test]
    fn what_is_not_newer_than_what_was_told_is_not_told() {
        let mut book = Book::new(Watched::new().channel("A").channel_at("B", 7));
        assert_eq!(book.tell(at("A", 3)), changed("A", 3), "nothing was known of it");
        for offset in [3, 2, 0] {
            assert_eq!(book.tell(at("A", offset)), None);
        }
        assert_eq!(book.tell(at("A", 4)), changed("A", 4));
        assert_eq!(book.tell(at("B", 7)), None);
        assert_eq!(book.tell(at("B", 8)), changed("B", 8));
        assert_eq!(book.tell(at("C", 9)), None, "nobody watches it");
        assert_eq!(book.watched(), Watched::new().channel_at("A", 4).channel_at("B", 8));
    }

    #[test]
    fn what_is_gone_is_told_once_and_never_again() {
        let mut book = Book::new(Watched::new().channel("A"));
        let told = Some(Notice::Gone { channel: "A".into(), why: Gone::Deleted });
        assert_eq!(book.tell(gone("A", "deleted")), told);
        assert_eq!(book.tell(gone("A", "deleted")), None);
        assert_eq!(book.tell(at("A", 9)), None);
        assert_eq!(book.watched(), Watched::new());
    }

    #[test]
    fn another_set_keeps_what_was_told_of_the_channels_that_stay_unless_the_program_says_otherwise() {
        let mut book = Book::new(Watched::new().channel("A").channel("B").channel("C").place("9-00000000"));
        for channel in ["A", "B", "C"] {
            book.tell(at(channel, 5));
        }
        book.replace(Watched::new().channel("A").channel_at("B", 2).channel("D"));
        let expected = Watched::new().channel_at("A", 5).channel_at("B", 2).channel("D").place("9-00000000");
        assert_eq!(book.watched(), expected);
        assert_eq!(book.tell(at("C", 6)), None);
        assert_eq!(book.tell(at("B", 5)), changed("B", 5));
    }

    #[test]
    fn a_log_that_is_another_one_shows_by_what_goes_back_or_is_not_there() {
        // Known up to the offset of a whole state, which is beyond the channel's newest record: that is no contradiction.
        let mut book = Book::new(Watched::new().channel_at("A", 20).channel("B"));
        let contradicted = |book: &Book, change| book.contradicted(std::iter::once(change));
        assert_eq!(contradicted(&book, at("A", 12)), None);
        book.tell(at("A", 12));
        assert_eq!(contradicted(&book, at("A", 12)), None);
        assert_eq!(contradicted(&book, at("A", 11)), Some(Elsewhere::OtherHistory));
        assert_eq!(contradicted(&book, gone("A", "ahead")), Some(Elsewhere::Ahead));
        assert_eq!(contradicted(&book, gone("B", "ahead")), None);
        assert_eq!(contradicted(&book, gone("A", "not_found")), None);
        book.forget();
        assert_eq!(contradicted(&book, at("A", 11)), None);
        assert_eq!(book.tell(at("A", 11)), changed("A", 11), "it is told anew");
    }
}
