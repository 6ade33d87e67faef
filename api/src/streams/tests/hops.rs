use std::time::Duration;

use proptest::prelude::*;
use scrollback_log::{Offset, ResumePoint};
use scrollback_projections::testing::{Dice, History};
use serde_json::{Value, json};

use super::reading::{page, run};
use super::rights::{User, may_see};
use super::ring::{events, happened, offset, shown};
use super::{OWNER, limits};
use crate::settings::StreamLimits;
use crate::streams::cut::{Cut, Form};
use crate::streams::filter::Filters;
use crate::streams::poll::Poll;
use crate::streams::start::Start;
use crate::streams::subscription::{Step, Subscription};

/// One stay on a transport: which, and for how many steps.
#[derive(Clone, Copy, Debug)]
enum Stay {
    Streams { form: Form, events_max: usize, steps: usize },
    Polls { limit: usize },
}

fn stays() -> impl Strategy<Value = Vec<Stay>> {
    let form = prop_oneof![Just(Form::Sse), Just(Form::Json)];
    let streams = (form, prop_oneof![1_usize..5, Just(usize::MAX)], 1_usize..6)
        .prop_map(|(form, events_max, steps)| Stay::Streams { form, events_max, steps });
    proptest::collection::vec(
        prop_oneof![2 => streams, 1 => (1_usize..9).prop_map(|limit| Stay::Polls { limit })],
        1..20,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_reader_that_leaves_one_transport_at_a_place_goes_on_there_with_any_other(
        dice in proptest::collection::vec(any::<Dice>(), 0..150), stays in stays(), bytes_max in 1_usize..3_000,
        ring_bytes_max in prop_oneof![Just(0_usize), Just(1 << 20)],
        filters in prop_oneof![Just(json!([[]])), Just(json!([[["type", "in", ["message", "member"]]]]))],
    ) {
        let history = History::new(&dice);
        let world = happened(&history, ring_bytes_max, 5);
        run(async {
            let streams = world.streams(StreamLimits { write_bytes_max: bytes_max, ..limits() });
            let filters = Filters::from_json(&filters, &streams.origins()).unwrap();
            let selection = streams.selection(OWNER, &filters);
            let (mut all, mut at): (Vec<Value>, _) = (Vec::new(), Offset::BEGINNING);
            let last = Stay::Streams { form: Form::Json, events_max: usize::MAX, steps: usize::MAX };
            for stay in stays.into_iter().chain([last]) {
                let start = Start::After(ResumePoint { offset: at, tag: None });
                match stay {
                    Stay::Polls { limit } => {
                        let poll = Poll { start, filters: filters.clone(), wait: Duration::ZERO, limit };
                        let page = page(&streams, poll).await;
                        all.extend(page["events"].as_array().unwrap().iter().cloned());
                        let (offset, _) = page["next"].as_str().unwrap().split_once('-').unwrap();
                        at = Offset(offset.parse().unwrap());
                    }
                    Stay::Streams { form, events_max, steps } => {
                        let resume = streams.resume(&start, &selection).await.unwrap();
                        let reader = std::sync::Arc::new(User(OWNER));
                        let mut subscription = Subscription::begin(&streams, reader, resume, filters.clone());
                        let mut pulses = streams.pulse.clone();
                        let cut = Cut { form, bytes_max, events_max, shared: true };
                        for _ in 0..steps {
                            match subscription.step(&mut pulses, cut).await.unwrap() {
                                Step::Events(taken) => {
                                    let bytes = taken.chunk.bare();
                                    let here = match form {
                                        Form::Sse => shown(&bytes),
                                        Form::Json => serde_json::from_slice(&[b"[", &bytes[..], b"]"].concat()).unwrap(),
                                    };
                                    all.extend(here);
                                }
                                Step::Wait => break,
                                _ => {}
                            }
                        }
                        subscription.confirm();
                        at = subscription.given().unwrap().offset;
                    }
                }
            }
            let wanted: Vec<Value> = events(&world)
                .into_iter()
                .filter(|event| wants(&filters, event) && may_see(&history, &world, OWNER, event))
                .collect();
            assert_eq!(all.iter().map(offset).collect::<Vec<_>>(), wanted.iter().map(offset).collect::<Vec<_>>());
            assert_eq!(all, wanted);
        });
    }
}

/// What the two filters of this test say.
fn wants(filters: &Filters, event: &Value) -> bool {
    filters.is_everything() || ["message", "member"].contains(&event["type"].as_str().unwrap())
}
