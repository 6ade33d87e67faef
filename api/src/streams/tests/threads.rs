use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use scrollback_log::Offset;

use super::ring::{shown, sse};
use super::{CHANNEL, World};
use crate::streams::cut::Taken;
use crate::streams::ring::RingRead;
use crate::streams::selection::Selection;

#[test]
fn who_has_seen_the_head_of_a_deletion_finds_the_text_gone() {
    let world = Arc::new(World::new(1 << 20));
    let everything = Arc::new(Selection::everything());
    let over = Arc::new(AtomicBool::new(false));
    // (message, deletion) in the order of the deletions.
    let deleted: Arc<Mutex<Vec<(Offset, Offset)>>> = Arc::default();
    let readers: Vec<_> = (0..4)
        .map(|reader| {
            let (world, over, deleted) = (Arc::clone(&world), Arc::clone(&over), Arc::clone(&deleted));
            let everything = Arc::clone(&everything);
            std::thread::spawn(move || {
                let mut checked = 0_usize;
                while !over.load(Ordering::Acquire) {
                    let Some((message, deletion)) = deleted.lock().unwrap().last().copied() else { continue };
                    let head = world.head();
                    assert!(head >= deletion);
                    // All readers ask for the same, so that most are given the chunk that is kept ready.
                    let mut after = Offset(message.0 - 1 - reader % 2);
                    let mut shown = Vec::new();
                    while after < message {
                        let RingRead::Taken(Taken { chunk, through, .. }) =
                            world.ring.read(after, head, sse(1 << 20), &everything)
                        else {
                            panic!("pushed out")
                        };
                        shown.extend(self::shown(&chunk.bare()));
                        after = through.offset;
                    }
                    let event = shown.iter().find(|event| event["offset"] == message.0).unwrap();
                    assert_eq!(
                        (event["body"].as_str(), event["deleted_at"].is_string()),
                        (Some(""), true),
                        "{event}"
                    );
                    checked += 1;
                }
                checked
            })
        })
        .collect();
    for n in 0..2000 {
        let message = world.say(CHANNEL, &format!("secret {n}"));
        // A reader at the head before the deletion makes a ready chunk with the text.
        let _ = world.ring.read(Offset(message.0 - 1), world.head(), sse(1 << 20), &everything);
        let deletion = world.delete_message(CHANNEL, message);
        deleted.lock().unwrap().push((message, deletion));
    }
    over.store(true, Ordering::Release);
    let checked: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    assert!(checked > 100, "the readers hardly ran: {checked}");
    // The log agrees, before and after the texts are erased.
    for _ in 0..2 {
        world.log.scan(Offset::FIRST, world.head(), &mut |record| {
            assert!(!record.kept.is_empty());
            let gone = !matches!(record.text, scrollback_log::Text::Present(text) if text.windows(6).any(|at| at == b"secret"));
            assert!(gone, "{}", record.offset);
            ControlFlow::Continue(())
        }).unwrap();
        world.erase();
    }
}
