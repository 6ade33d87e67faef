//! The writer loop on a disk in memory: order, group commit, refusals, failures.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod common;

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::Scope;
use std::time::Duration;

use common::{Answer, Board, Command, Notes, append_notes, log_on, shown};
use scrollback_log::clock::{ManualClock, SystemClock};
use scrollback_log::engine::memory::MemoryStore;
use scrollback_log::{
    Appender, BatchFigures, Log, Offset, SubmitError, Timestamp, Writer, WriterOptions, WriterThread,
};

struct Running {
    log: Arc<Log>,
    writer: Writer<Board>,
    thread: WriterThread<Board>,
    notes: Notes,
    batches: Arc<Mutex<Vec<usize>>>,
}

impl Running {
    /// Makes the loop wait, which it does when this returns, until something is sent.
    fn hold<'scope>(&self, scope: &'scope Scope<'scope, '_>) -> Sender<()> {
        let (go, until) = channel();
        let (begun, has_begun) = channel();
        let writer = self.writer.clone();
        scope.spawn(move || writer.submit_blocking(Command::WaitAndTell(begun, until)));
        has_begun.recv().unwrap();
        go
    }
}

fn options() -> WriterOptions {
    WriterOptions::new(Arc::new(SystemClock))
}

fn start(store: &MemoryStore, options: WriterOptions) -> Running {
    let (log, appender) = log_on(store);
    let board = Board::open(&log);
    let (notes, batches) = (Arc::clone(&board.notes), Arc::clone(&board.batches));
    let (writer, thread) = Writer::start(appender, board, options).unwrap();
    Running { log, writer, thread, notes, batches }
}

fn pin(text: &str) -> Command {
    Command::Pin(text.into())
}

#[test]
fn what_is_acknowledged_is_in_the_log_in_one_order() {
    let store = MemoryStore::new();
    let running = start(&store, options());
    let mut answers: Vec<(Offset, String)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|author| {
                let writer = running.writer.clone();
                scope.spawn(move || {
                    let notes = (0..50).map(|number| format!("note {number} of {author}"));
                    notes
                        .map(|text| match writer.submit_blocking(pin(&text)).unwrap() {
                            Answer::Done(offset) => (offset, text),
                            Answer::Refused => panic!("a note is never refused"),
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    answers.sort();
    assert_eq!(answers.iter().map(|(offset, _)| offset.0).collect::<Vec<_>>(), (1..=400).collect::<Vec<_>>());
    let (recovered, _appender) = log_on(&store.cut(0));
    assert_eq!(shown(&recovered), answers.into_iter().map(|(_, text)| text).collect::<Vec<_>>());
}

#[test]
fn what_waits_is_written_in_one_commit() {
    let store = MemoryStore::new();
    let running = start(&store, options());
    let before = store.calls();
    let (go, until) = channel();
    let gate = running.writer.submit(Command::Wait(until));
    let waiting: Vec<_> = (0..100).map(|number| running.writer.submit(pin(&number.to_string()))).collect();
    go.send(()).unwrap();
    running.writer.stop();
    running.thread.join().unwrap().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(gate), Ok(Answer::Refused));
    for (number, answer) in waiting.into_iter().enumerate() {
        assert_eq!(runtime.block_on(answer), Ok(Answer::Done(Offset(number as u64 + 1))));
    }
    assert_eq!(*running.batches.lock().unwrap(), [100]);
    assert_eq!(store.calls() - before, 2, "one write and one sync");
}

#[test]
fn a_batch_is_closed_at_its_bounds() {
    for (records_max, bytes_max, expected) in
        [(4, usize::MAX, vec![4, 4, 2]), (1000, 3 * 7, vec![3, 3, 3, 1])]
    {
        let store = MemoryStore::new();
        let mut options = options();
        (options.batch_records_max, options.batch_bytes_max) = (records_max, bytes_max);
        let running = start(&store, options);
        let (go, until) = channel();
        let _gate = running.writer.submit(Command::Wait(until));
        // 3 bytes kept and 4 of text.
        let _waiting: Vec<_> = (0..10).map(|_| running.writer.submit(pin("four"))).collect();
        go.send(()).unwrap();
        running.writer.stop();
        running.thread.join().unwrap().unwrap();
        assert_eq!(*running.batches.lock().unwrap(), expected);
    }
}

#[test]
fn decisions_of_one_batch_see_each_other() {
    let store = MemoryStore::new();
    let running = start(&store, options());
    running.writer.submit_blocking(pin("a")).unwrap();
    let (go, until) = channel();
    let _gate = running.writer.submit(Command::Wait(until));
    let one = running.writer.submit(Command::Remove(Offset(1)));
    let other = running.writer.submit(Command::Remove(Offset(1)));
    go.send(()).unwrap();
    running.writer.stop();
    running.thread.join().unwrap().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(one), Ok(Answer::Done(Offset(2))));
    assert_eq!(runtime.block_on(other), Ok(Answer::Refused));
    assert_eq!(shown(&running.log), ["-", "remove 1"]);
}

#[test]
fn a_refusal_writes_nothing() {
    let store = MemoryStore::new();
    let running = start(&store, options());
    let before = store.calls();
    assert_eq!(running.writer.submit_blocking(Command::Remove(Offset(9))), Ok(Answer::Refused));
    assert_eq!((store.calls(), running.log.head().offset), (before, Offset::BEGINNING));
}

#[test]
fn each_batch_that_appended_something_is_observed_once_and_no_other() {
    let store = MemoryStore::new();
    let observed: Arc<Mutex<Vec<BatchFigures>>> = Arc::default();
    let told = Arc::clone(&observed);
    let observe = Arc::new(move |figures: &BatchFigures| told.lock().unwrap().push(*figures));
    let running = start(&store, WriterOptions { observe, ..options() });
    running.writer.submit_blocking(Command::Remove(Offset(9))).unwrap();
    let (go, until) = channel();
    let _gate = running.writer.submit(Command::Wait(until));
    let _waiting: Vec<_> = (0..7).map(|_| running.writer.submit(pin("x"))).collect();
    go.send(()).unwrap();
    running.writer.submit_blocking(pin("alone")).unwrap();
    running.writer.stop();
    running.thread.join().unwrap().unwrap();
    let observed = observed.lock().unwrap();
    let records: usize = observed.iter().map(|figures| figures.records).sum();
    assert_eq!(records, 8, "{observed:?}");
    assert_eq!(observed.len(), running.batches.lock().unwrap().len());
    // The refusal in the first batch is counted as a command, not as a record.
    assert_eq!(observed[0].commands, observed[0].records + 1, "{observed:?}");
    for figures in observed.iter() {
        assert!(figures.deciding > Duration::ZERO && figures.appending > Duration::ZERO, "{figures:?}");
        assert!(figures.applying > Duration::ZERO && figures.answering > Duration::ZERO, "{figures:?}");
        assert!(figures.queued > Duration::ZERO, "{figures:?}");
    }
}

/// A log, its appender, and a board that has a second appender to the same log.
fn with_meddler() -> (Arc<Log>, Appender, Board) {
    let engine: Arc<dyn scrollback_log::Engine> =
        Arc::new(scrollback_log::engine::chunked::ChunkedEngine::open(MemoryStore::new()).unwrap());
    let (log, appender) = Log::new(Arc::clone(&engine), None);
    let (_, elsewhere) = Log::new(engine, None);
    let mut board = Board::open(&log);
    board.meddler = Some(elsewhere);
    (log, appender, board)
}

#[test]
fn a_moved_head_is_caught_up_with_and_decided_upon_again() {
    let (log, appender, board) = with_meddler();
    let notes = Arc::clone(&board.notes);
    let (writer, thread) = Writer::start(appender, board, options()).unwrap();
    writer.submit_blocking(pin("first")).unwrap();
    assert_eq!(
        writer.submit_blocking(Command::Meddle),
        Ok(Answer::Done(Offset(3))),
        "the second decision's answer"
    );
    assert_eq!(shown(&log), ["first", "from elsewhere", "after the meddling"]);
    assert_eq!(notes.lock().unwrap().len(), 3);
    writer.stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn what_was_decided_before_the_head_moved_does_not_count() {
    let (log, appender, board) = with_meddler();
    let (writer, thread) = Writer::start(appender, board, options()).unwrap();
    writer.submit_blocking(pin("first")).unwrap();
    let (go, until) = channel();
    let _gate = writer.submit(Command::Wait(until));
    let removed = writer.submit(Command::Remove(Offset(1)));
    let meddled = writer.submit(Command::Meddle);
    // Each command is decided twice.
    go.send(()).unwrap();
    go.send(()).unwrap();
    writer.stop();
    thread.join().unwrap().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(removed), Ok(Answer::Done(Offset(3))), "the note was still there");
    assert_eq!(runtime.block_on(meddled), Ok(Answer::Done(Offset(4))));
    assert_eq!(shown(&log), ["-", "from elsewhere", "remove 1", "after the meddling"]);
}

#[test]
fn a_failing_write_or_sync_is_never_answered_with_success() {
    for call in 1..=12 {
        let store = MemoryStore::new();
        let running = start(&store, options());
        store.fail_at(call);
        let mut acknowledged = Vec::new();
        let mut failures = Vec::new();
        for number in 0..12 {
            match running.writer.submit_blocking(pin(&number.to_string())) {
                Ok(_) => acknowledged.push(number.to_string()),
                Err(error) => failures.push(error),
            }
        }
        assert!(running.thread.join().unwrap().is_none(), "the thread keeps what failed");
        assert!(*running.writer.failed().borrow());
        assert_eq!(acknowledged.len() as u64, (call - 1) / 2, "each note is a write and a sync");
        assert_eq!(failures[0], SubmitError::OutcomeUnknown);
        assert!(failures[1..].iter().all(|failure| *failure != SubmitError::Busy), "{failures:?}");
        assert_eq!(shown(&running.log), acknowledged, "nothing unsure is published");
        assert_eq!(running.notes.lock().unwrap().len(), acknowledged.len(), "nor applied");
        for seed in 0..4 {
            let (log, _appender) = log_on(&store.cut(seed));
            assert_eq!(shown(&log)[..acknowledged.len()], acknowledged);
        }
    }
}

#[test]
fn a_machine_that_panics_is_a_failed_write() {
    let running = start(&MemoryStore::new(), options());
    let (go, until) = channel();
    // Nobody will say go, on which this machine insists.
    drop(go);
    let outcome = running.writer.submit_blocking(Command::Wait(until));
    assert_eq!(outcome, Err(SubmitError::OutcomeUnknown));
    assert!(running.thread.join().is_err());
    assert!(*running.writer.failed().borrow());
    assert_eq!(running.writer.submit_blocking(pin("late")), Err(SubmitError::Stopped));
}

#[test]
fn a_full_disk_refuses_writes_and_then_goes_on() {
    let store = MemoryStore::new();
    let has_space = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut options = options();
    let looked_at = Arc::clone(&has_space);
    options.has_space = Arc::new(move || looked_at.load(std::sync::atomic::Ordering::SeqCst));
    let running = start(&store, options);
    let before = store.calls();
    assert_eq!(running.writer.submit_blocking(pin("a")), Err(SubmitError::DiskFull));
    assert_eq!(store.calls(), before);
    has_space.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(running.writer.submit_blocking(pin("a")), Ok(Answer::Done(Offset(1))));
}

#[test]
fn a_full_queue_refuses_and_what_is_in_it_is_still_written_before_a_stop() {
    let store = MemoryStore::new();
    let mut options = options();
    options.queue_commands_max = 5;
    let running = start(&store, options);
    std::thread::scope(|scope| {
        let go = running.hold(scope);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let waiting: Vec<_> = (0..5).map(|number| running.writer.submit(pin(&number.to_string()))).collect();
        let refused = running.writer.submit(pin("one too many"));
        assert_eq!(runtime.block_on(refused), Err(SubmitError::Busy));
        go.send(()).unwrap();
        running.writer.stop();
        for answer in waiting {
            assert!(runtime.block_on(answer).is_ok());
        }
    });
    running.thread.join().unwrap().unwrap();
    assert_eq!(shown(&running.log), ["0", "1", "2", "3", "4"]);
    assert_eq!(running.writer.submit_blocking(pin("late")), Err(SubmitError::Stopped));
}

#[test]
fn the_loop_comes_round_although_nothing_is_written_and_stands_still_while_it_waits() {
    let mut options = options();
    options.erase_every = Duration::from_millis(1);
    let running = start(&MemoryStore::new(), options);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let come_round = |from: u64| {
        while running.writer.turns() < from + 3 {
            assert!(std::time::Instant::now() < deadline, "it stands still");
            std::thread::yield_now();
        }
    };
    come_round(0);
    std::thread::scope(|scope| {
        let go = running.hold(scope);
        let stuck_at = running.writer.turns();
        for _ in 0..1000 {
            std::thread::yield_now();
            assert_eq!(running.writer.turns(), stuck_at);
        }
        go.send(()).unwrap();
        come_round(stuck_at);
    });
}

#[test]
fn time_stamps_never_go_back() {
    let store = MemoryStore::new();
    let clock = Arc::new(ManualClock::at(Timestamp(100)));
    let running = start(&store, WriterOptions::new(clock.clone()));
    let mut times = Vec::new();
    for now in [100, 50, 120, -7] {
        clock.set(Timestamp(now));
        running.writer.submit_blocking(pin("a")).unwrap();
        times.push(running.log.head().time.0);
    }
    assert_eq!(times, [100, 100, 120, 120]);
}

#[test]
fn what_was_deleted_is_erased_when_nothing_waits() {
    let store = MemoryStore::new();
    let (log, mut appender) = log_on(&store);
    append_notes(&mut appender, ["a", "b"]);
    let mut options = options();
    options.erase_every = Duration::from_millis(1);
    let (writer, thread) = Writer::start(appender, Board::open(&log), options).unwrap();
    writer.submit_blocking(Command::Remove(Offset(1))).unwrap();
    assert_eq!(shown(&log), ["-", "b", "remove 1"], "masked at once");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while log.erased_through() < Offset(3) {
        assert!(std::time::Instant::now() < deadline, "not erased");
        std::thread::yield_now();
    }
    writer.stop();
    thread.join().unwrap().unwrap();
    let (recovered, _appender) = log_on(&store.cut(0));
    assert_eq!(shown(&recovered), ["-", "b", "remove 1"], "without any mask");
}
