//! `at` against the plainest possible model of random histories.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use scrollback_log::data_dir::DataDir;
use scrollback_log::{Deletion, LogOptions, NewRecord};
use scrollback_projections::facts;
use scrollback_projections::testing::{Channel, Dice, History, User};
use serde_json::json;
use tokio::runtime::Runtime;

use super::*;
use crate::ids::{self, IdKind};
use crate::timestamps;

/// A data directory that holds this history.
fn written(history: &History) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::create_or_open(&dir.path().join("data")).unwrap();
    let (_log, mut appender) = scrollback_log::open(&data, &LogOptions::default()).unwrap();
    for same in history.records.chunk_by(|one, other| one.0 == other.0) {
        let records: Vec<NewRecord> = same.iter().map(|(_, record)| record.clone()).collect();
        appender.append(same[0].0, records).unwrap();
    }
    appender.sync_witness().unwrap();
    dir
}

/// What the model says of a history.
struct Model<'a> {
    history: &'a History,
    world: &'a World,
}

impl Model<'_> {
    fn id(&self, kind: IdKind, offset: Offset) -> String {
        ids::show(kind, offset, self.world.node.read_views().origins())
    }

    fn shown(&self, time: Timestamp) -> Value {
        json!(timestamps::show(time).to_string())
    }

    fn deletion(&self, offset: Offset) -> Option<Deletion> {
        self.history
            .deletions
            .iter()
            .find(|(_, targets)| targets.contains(&offset))
            .map(|(deletion, _)| *deletion)
    }

    /// Whether something was there at `at`.
    fn was(&self, at: Offset, offset: Offset, deleted: Option<Offset>) -> bool {
        offset <= at && deleted.is_none_or(|deleted| deleted > at)
    }

    fn with_deletion(&self, mut shown: Value, offset: Offset) -> Value {
        if let Some(deletion) = self.deletion(offset) {
            shown["deleted_at"] = self.shown(deletion.time);
        }
        shown
    }

    /// Whether `reader` may see it now, or could when it was deleted.
    fn sees(&self, reader: &User, channel: &Channel) -> bool {
        !channel.private
            || reader.role == Role::Owner
            || channel.members.iter().any(|(member, _)| *member == reader.offset)
    }

    fn channels(&self, at: Offset, reader: &User) -> Vec<Value> {
        let mut all = Vec::new();
        for channel in self.history.channels.iter().filter(|channel| self.sees(reader, channel)) {
            if !self.was(at, channel.offset, channel.deleted) {
                continue;
            }
            let own = self.history.messages.iter().filter(|message| message.channel == channel.offset);
            let records = own.flat_map(|message| {
                [Some(message.offset), message.deleted.filter(|deleted| Some(*deleted) != channel.deleted)]
            });
            let last = records.flatten().filter(|offset| *offset <= at).max().unwrap_or(channel.offset);
            let name = if channel.deleted.is_some() { "" } else { &channel.name };
            let shown = json!({
                "id": self.id(IdKind::Channel, channel.offset), "name": name, "private": channel.private,
                "at": self.shown(self.history.time_of(channel.offset)), "last_offset": last.0,
                "creator": channel.creator.map(|creator| self.id(IdKind::User, creator)), "offset": channel.offset.0,
            });
            all.push(self.with_deletion(shown, channel.offset));
        }
        all
    }

    fn messages(&self, at: Offset, channel: Offset) -> Vec<Value> {
        let sealed = self.history.sealed();
        let mut all = BTreeMap::new();
        let own = self.history.messages.iter().filter(|message| message.channel == channel);
        for message in own.filter(|message| self.was(at, message.offset, message.deleted)) {
            let recorded = self.history.time_of(message.offset);
            let time = message.imported_at.unwrap_or(recorded);
            let record = sealed[message.offset.0 as usize - 1].as_record();
            let (sender_name, body) = match message.imported_at {
                None => (None, facts::text::<facts::Body<'_>>(&record).unwrap().unwrap().body),
                Some(_) => {
                    let text = facts::text::<facts::Imported<'_>>(&record).unwrap().unwrap();
                    (Some(text.sender_name), text.body)
                }
            };
            let gone = message.deleted.is_some();
            let mut shown = json!({
                "id": self.id(IdKind::Message, message.offset), "at": self.shown(time),
                "channel": self.id(IdKind::Channel, channel), "body": if gone { "" } else { body },
                "sender": message.sender.map(|sender| self.id(IdKind::User, sender)), "offset": message.offset.0,
            });
            if let Some(name) = sender_name {
                shown["sender_name"] = json!(if gone { "" } else { name });
                shown["recorded_at"] = self.shown(recorded);
            }
            all.insert((time, message.offset), self.with_deletion(shown, message.offset));
        }
        all.into_values().collect()
    }
}

/// All of a channel's messages as they were at `at`, page by page.
async fn walk(who: &Somebody, channel: &str, at: u64, limit: usize, from_oldest: bool) -> Vec<Value> {
    let (mut all, mut place) =
        (Vec::new(), if from_oldest { "&after=oldest".to_owned() } else { String::new() });
    loop {
        let path = format!("/api/channels/{channel}/messages?at={at}&limit={limit}{place}");
        let page = who.get(&path).await.json(200);
        let messages = page["messages"].as_array().unwrap();
        let (name, direction) = if from_oldest { ("next", "after") } else { ("prev", "before") };
        let end = if from_oldest { all.len() } else { 0 };
        all.splice(end..end, messages.iter().cloned());
        let Some(cursor) = page[name].as_str() else { return all };
        place = format!("&{direction}={cursor}");
    }
}

async fn compare(dice: Vec<Dice>, ats: Vec<u32>, limit: usize, who: prop::sample::Index) {
    let history = History::new(&dice);
    let active: Vec<&User> = history.users.iter().filter(|user| user.active).collect();
    if active.is_empty() {
        return;
    }
    let user = who.get(&active);
    let world = World::on(written(&history), |_| {}).await;
    let reader = world.known(user.offset);
    let model = Model { history: &history, world: &world };
    let head = history.head().0;
    for at in ats.iter().map(|at| u64::from(*at) % (head + 1)).chain([0, head]) {
        let channels = reader.get(&format!("/api/channels?at={at}")).await.json(200);
        assert_eq!(channels["channels"], json!(model.channels(Offset(at), user)), "at {at} of {head}");
        for channel in &history.channels {
            let id = model.id(IdKind::Channel, channel.offset);
            if model.sees(user, channel) && model.was(Offset(at), channel.offset, channel.deleted) {
                let expected = model.messages(Offset(at), channel.offset);
                for from_oldest in [true, false] {
                    let walked = walk(&reader, &id, at, limit, from_oldest).await;
                    assert_eq!(walked, expected, "at {at} of {head}, {from_oldest}");
                }
            } else {
                let path = format!("/api/channels/{id}/messages?at={at}");
                reader.get(&path).await.problem(404, "not_found");
            }
        }
    }
    world.end().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_past_state_is_what_was_there_less_what_is_gone_now(
        dice in vec(any::<Dice>(), 1..80),
        ats in vec(any::<u32>(), 1..5),
        limit in 1_usize..8,
        who: prop::sample::Index,
    ) {
        Runtime::new().unwrap().block_on(compare(dice, ats, limit, who));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_after_a_past_state_was_shown_is_gone_from_it_too() {
    let (world, owner) = World::set_up().await;
    let channel = owner.create_channel("a secret name").await;
    let id = text(&channel, "id");
    let said = owner.say(&id, "a secret text").await;
    let at = said["offset"].as_u64().unwrap();
    owner.say(&id, "later").await;
    let (list, page) = (format!("/api/channels?at={at}"), format!("/api/channels/{id}/messages?at={at}"));
    assert_eq!(owner.get(&list).await.json(200)["channels"][0]["name"], "a secret name");
    assert_eq!(owner.get(&page).await.json(200)["messages"], json!([said]));
    owner.delete(&format!("/api/messages/{}", text(&said, "id"))).await.json(200);
    let answer = owner.get(&page).await.json(200);
    assert_eq!(answer["messages"][0]["body"], "");
    assert!(
        answer["messages"][0]["deleted_at"].is_string() && answer["messages"].as_array().unwrap().len() == 1
    );
    owner.delete(&format!("/api/channels/{id}")).await.json(200);
    for path in [&list, &page] {
        let answer = owner.get(path).await;
        answer.json(200);
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
    let gone = &owner.get(&list).await.json(200)["channels"][0];
    assert_eq!((&gone["name"], &gone["id"]), (&json!(""), &json!(id)));
    assert!(gone["deleted_at"].is_string());
    // The state before and after, and none at all.
    owner.get(&format!("/api/channels/{id}/messages?at={}", 2)).await.problem(404, "not_found");
    owner.get(&format!("/api/channels/{id}/messages")).await.problem(404, "not_found");
    assert_eq!(owner.get("/api/channels?at=0").await.json(200), json!({"channels": []}));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_is_none_or_not_reached_is_refused_and_a_reader_needs_an_identity() {
    let (world, owner) = World::set_up().await;
    let id = text(&owner.create_channel("general").await, "id");
    let head = world.node.log.head().offset.0;
    for path in ["/api/channels".to_owned(), format!("/api/channels/{id}/messages")] {
        for bad in ["", "x", "-1", "1-00000000", "18446744073709551616"] {
            owner.get(&format!("{path}?at={bad}")).await.problem(400, "bad_query");
        }
        owner.get(&format!("{path}?at={head}&at={head}")).await.problem(400, "bad_query");
        let beyond = owner.get(&format!("{path}?at={}", head + 1)).await;
        beyond.problem(409, "behind");
        assert!(beyond.header("retry-after").is_some());
        owner.get(&format!("{path}?at={head}")).await.json(200);
        world.nobody().get(&format!("{path}?at={head}")).await.problem(401, "unauthenticated");
    }
    owner.get(&format!("/api/boot?at={head}")).await.problem(400, "bad_query");
    // Waits for a state that is on its way, and then looks back at it.
    let (other, path) = (owner.clone(), format!("/api/channels?at={0}&at_least={0}", head + 1));
    let waiting = tokio::spawn(async move { other.get(&path).await });
    owner.create_channel("another").await;
    assert_eq!(waiting.await.unwrap().json(200)["channels"].as_array().unwrap().len(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_another_past_state_is_computed_a_reader_is_told_to_come_again() {
    let (world, owner) = World::set_up().await;
    owner.create_channel("general").await;
    let folding = world.node.past().folding();
    let turn = folding.acquire().await.unwrap();
    let (waited, kept) = (owner.get("/api/channels?at=2"), owner.get("/api/channels"));
    let (waited, now) = tokio::join!(waited, kept);
    waited.problem(503, "busy");
    assert!(waited.header("retry-after").is_some());
    now.json(200);
    drop(turn);
    owner.get("/api/channels?at=2").await.json(200);
    // One that is kept needs no turn.
    let _turn = folding.acquire().await.unwrap();
    owner.get("/api/channels?at=2").await.json(200);
    world.end().await;
}
