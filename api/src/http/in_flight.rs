//! How much memory larger bodies and answers may take at once: one bound for all, and a share of it for each sender, so
//! that nobody who is slow can keep the others from theirs. And how many reads of many records one sender may have waiting,
//! so that the others need not wait behind all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use scrollback_log::Offset;

use super::identity::Caller;
use super::problem::{BUSY_RETRY, Code, Problem};
use super::tally::{Tallied, Tally, take_off};
use crate::figures::figures;
use crate::memory::Memory;

/// What is no larger than this is not counted: the connections bound it.
pub(super) const SMALL_BYTES_MAX: usize = 8 << 10;
/// A sender may hold one part in so many of all.
const SHARE: usize = 4;

/// How many reads of many records a sender may have under way or waiting.
const READS_MAX: usize = 32;

/// Who holds memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    User(Offset),
    /// Somebody who has not said who they are.
    Address(IpAddr),
}

impl Holder {
    pub(super) fn of(caller: Option<&Caller>, address: IpAddr) -> Holder {
        caller.map_or(Holder::Address(address), |caller| Holder::User(caller.user))
    }
}

/// The bytes of larger bodies and answers in memory.
#[derive(Clone, Debug)]
pub(super) struct InFlight(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes_max: usize,
    memory: Memory,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: HashMap<Holder, usize>,
}

impl InFlight {
    pub(super) fn new(bytes_max: usize, memory: Memory) -> InFlight {
        InFlight(Arc::new(Inner { bytes_max, memory, taken: Mutex::default() }))
    }

    /// Nothing yet, of this holder.
    pub(super) fn hold(&self, holder: Holder) -> Held {
        Held { inner: Arc::clone(&self.0), holder, bytes: 0 }
    }

    /// An answer's bytes, held until they are sent.
    ///
    /// # Errors
    /// [`Code::Busy`] when there is no room for them.
    pub(super) fn answer(&self, holder: Holder, bytes: Vec<u8>) -> Result<Bytes, Problem> {
        if bytes.len() <= SMALL_BYTES_MAX {
            return Ok(bytes.into());
        }
        let mut held = self.hold(holder);
        held.take(bytes.len())?;
        Ok(Bytes::from_owner(Answer { bytes, _held: held }))
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Answer {
    bytes: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes that a request has in memory, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    inner: Arc<Inner>,
    holder: Holder,
    bytes: usize,
}

impl Held {
    /// Takes `bytes` more. However small the bounds are, somebody who holds nothing can have one thing while nobody holds
    /// anything.
    ///
    /// # Errors
    /// [`Code::Busy`] when they are too many.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        self.inner.memory.room_for(bytes as u64)?;
        let mut taken = self.inner.lock();
        let own = taken.by.get(&self.holder).copied().unwrap_or(0);
        let others = taken.all - own;
        let elsewhere = own - self.bytes;
        let share = self.inner.bytes_max / SHARE;
        let too_many = (others > 0 || elsewhere > 0) && taken.all + bytes > self.inner.bytes_max;
        let not_fair = elsewhere > 0 && own + bytes > share;
        if too_many || not_fair {
            let whose = if not_fair { "of yours" } else { "of all users" };
            let detail = format!("too many large bodies and answers {whose} are under way");
            return Err(Problem::new(Code::Busy, detail).retry_after(BUSY_RETRY));
        }
        taken.all += bytes;
        *taken.by.entry(self.holder).or_default() += bytes;
        self.bytes += bytes;
        figures().in_flight_bytes.increment(bytes as f64);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut taken = self.inner.lock();
        taken.all -= self.bytes;
        take_off(&mut taken.by, &self.holder, self.bytes);
        figures().in_flight_bytes.decrement(self.bytes as f64);
    }
}

/// The reads of many records that each sender has under way or waiting.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads(Tally<Holder>);

/// One of them.
pub(super) type Reading = Tallied<Holder>;

impl Reads {
    /// One more read.
    ///
    /// # Errors
    /// [`Code::Busy`] when this sender has as many as anybody may have.
    pub(super) fn begin(&self, holder: Holder) -> Result<Reading, Problem> {
        let full = || Problem::new(Code::Busy, "too many reads of yours wait").retry_after(BUSY_RETRY);
        self.0.enter(holder, READS_MAX).ok_or_else(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(offset: u64) -> Holder {
        Holder::User(Offset(offset))
    }

    #[test]
    fn nobody_holds_more_than_their_share_and_all_together_not_more_than_there_is() {
        let in_flight = InFlight::new(100, Memory::new(None));
        let mut held: Vec<Held> = Vec::new();
        for holder in 1..=4 {
            for _ in 0..2 {
                let mut one = in_flight.hold(user(holder));
                one.take(12).unwrap();
                held.push(one);
            }
            assert_eq!(in_flight.hold(user(holder)).take(2).unwrap_err().code(), Code::Busy);
        }
        let mut fifth = in_flight.hold(user(5));
        assert_eq!(fifth.take(5).unwrap_err().code(), Code::Busy, "96 are taken");
        fifth.take(4).unwrap();
        held.remove(0);
        fifth.take(12).unwrap();
        drop((held, fifth));
        let taken = in_flight.0.lock();
        assert_eq!((taken.all, taken.by.len()), (0, 0));
    }

    #[test]
    fn who_holds_nothing_can_have_one_thing_larger_than_all_when_nobody_else_has_anything() {
        let in_flight = InFlight::new(100, Memory::new(None));
        let mut large = in_flight.hold(user(1));
        large.take(60).unwrap();
        large.take(600).unwrap();
        assert_eq!(in_flight.hold(user(1)).take(1).unwrap_err().code(), Code::Busy);
        assert_eq!(in_flight.hold(user(2)).take(1).unwrap_err().code(), Code::Busy);
        drop(large);
        in_flight.hold(user(2)).take(1).unwrap();
    }

    #[test]
    fn nobody_has_more_reads_waiting_than_anybody_may_have() {
        let reads = Reads::default();
        let mut begun: Vec<Reading> = (0..READS_MAX).map(|_| reads.begin(user(1)).unwrap()).collect();
        assert_eq!(reads.begin(user(1)).unwrap_err().code(), Code::Busy);
        let other = reads.begin(user(2)).unwrap();
        begun.pop();
        begun.push(reads.begin(user(1)).unwrap());
        drop((begun, other));
        assert!(reads.0.is_empty());
    }

    #[test]
    fn an_answer_is_held_until_its_last_bytes_are_gone_and_a_small_one_is_not_counted() {
        let in_flight = InFlight::new(1 << 20, Memory::new(None));
        let bytes = in_flight.answer(user(1), vec![7; SMALL_BYTES_MAX + 1]).unwrap();
        let rest = bytes.slice(10..);
        drop(bytes);
        assert_eq!(in_flight.0.lock().all, SMALL_BYTES_MAX + 1);
        assert_eq!(rest[0], 7);
        drop(rest);
        assert_eq!(in_flight.0.lock().all, 0);
        let _small = in_flight.answer(user(1), vec![7; SMALL_BYTES_MAX]).unwrap();
        assert_eq!(in_flight.0.lock().all, 0);
    }
}
