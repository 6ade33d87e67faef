//! The fold against a model of the server: whatever happened, and however it was read, the state is that of a fresh boot.
//!
//! The model is as simple as the rules allow: it keeps what was done and works out from that, by the rights of the moment
//! of reading, what a boot, a stream and a page show.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::event::Reason;

/// The user whose client it is; the second one.
const ME: usize = 1;

/// Random numbers of which commands and ways of reading are made.
type Dice = (u8, u8, u8, u8);

struct Person {
    name: String,
    role: Role,
    active: bool,
}

struct Room {
    created: u64,
    private: bool,
    creator: usize,
    members: Vec<usize>,
    deleted: Option<u64>,
    last_offset: u64,
}

struct Said {
    offset: u64,
    at: String,
    room: usize,
    deleted: Option<u64>,
}

/// What was done, as far as it has to be known to show it.
enum Done {
    User(Event),
    RoomCreated(usize),
    RoomDeleted(usize, Event),
    Sent(usize),
    Deleted(usize, Event),
    Member(usize, usize, Event),
}

#[derive(Default)]
struct Model {
    head: u64,
    people: Vec<Person>,
    rooms: Vec<Room>,
    said: Vec<Said>,
    log: Vec<(u64, Done)>,
    /// How many messages of each channel are shown.
    each: usize,
}

fn time(of: u64) -> String {
    format!("2026-11-21T14:13:{:02}.{:06}Z", of / 1_000_000, of % 1_000_000)
}

fn user(who: usize) -> String {
    format!("U{who}")
}

fn room(which: usize) -> String {
    // Ids in another order than that of creation.
    format!("C{}", 1000 - which)
}

fn pick(dice: u8, count: usize) -> Option<usize> {
    (count > 0).then(|| usize::from(dice) % count)
}

impl Model {
    fn new(each: usize) -> Model {
        let mut model = Model { each, ..Model::default() };
        model.add_person(Role::Owner);
        model.add_person(Role::Member);
        model
    }

    fn event(&mut self, what: What) -> Event {
        self.head += 1;
        Event { offset: self.head, at: time(self.head), what }
    }

    fn add_person(&mut self, role: Role) {
        self.people.push(Person { name: format!("user {}", self.people.len()), role, active: true });
        self.tell_person(self.people.len() - 1, true);
    }

    fn tell_person(&mut self, who: usize, new: bool) {
        let Person { name, role, active } = &self.people[who];
        let what = What::User { id: user(who), name: name.clone(), role: *role, active: *active, new };
        let event = self.event(what);
        self.log.push((event.offset, Done::User(event)));
    }

    /// Carries out a command, if it can be.
    fn command(&mut self, (kind, first, second, third): Dice, imports: bool) {
        let live: Vec<usize> =
            (0..self.rooms.len()).filter(|which| self.rooms[*which].deleted.is_none()).collect();
        let room_of = |dice| pick(dice, live.len()).map(|place| live[place]);
        let person = usize::from(second) % self.people.len();
        match kind % 12 {
            // Records that are internal.
            0 => self.head += 1,
            1 => self.add_person(Role::Member),
            2 => {
                let who = usize::from(first) % self.people.len();
                self.people[who].role = [Role::Owner, Role::Moderator, Role::Member][usize::from(second) % 3];
                self.people[who].active = who == ME || third % 4 > 0;
                self.people[who].name.push('x');
                self.tell_person(who, false);
            }
            3 | 4 => {
                self.head += 1;
                let (created, private) = (self.head, kind % 12 == 3);
                let members = if private { vec![person] } else { Vec::new() };
                let room =
                    Room { created, private, creator: person, members, deleted: None, last_offset: created };
                self.rooms.push(room);
                self.log.push((created, Done::RoomCreated(self.rooms.len() - 1)));
            }
            5 => {
                let Some(which) = room_of(first).filter(|_| third % 3 == 0) else { return };
                let event = self.event(What::ChannelDeleted {
                    id: room(which),
                    by: (second % 2 > 0).then(|| user(person)),
                    reason: if second % 2 > 0 { Reason::Deleted } else { Reason::Expired },
                });
                self.rooms[which].deleted = Some(event.offset);
                self.log.push((event.offset, Done::RoomDeleted(which, event)));
            }
            6 | 7 => {
                let Some(which) = room_of(first) else { return };
                self.head += 1;
                let old = imports && third % 4 == 0;
                let at = time(if old { u64::from(second) } else { self.head });
                self.said.push(Said { offset: self.head, at, room: which, deleted: None });
                self.rooms[which].last_offset = self.head;
                self.log.push((self.head, Done::Sent(self.said.len() - 1)));
            }
            8 => {
                let live = |said: &Said| said.deleted.is_none() && self.rooms[said.room].deleted.is_none();
                let live: Vec<usize> = (0..self.said.len()).filter(|one| live(&self.said[*one])).collect();
                let Some(which) = pick(first, live.len()).map(|place| live[place]) else { return };
                let event = self.event(What::MessageDeleted {
                    id: format!("M{which}"),
                    channel: room(self.said[which].room),
                    sender: Some(user(0)),
                    by: None,
                    reason: if second % 2 > 0 { Reason::Deleted } else { Reason::Expired },
                });
                self.said[which].deleted = Some(event.offset);
                self.rooms[self.said[which].room].last_offset = event.offset;
                self.log.push((event.offset, Done::Deleted(which, event)));
            }
            added_or_removed => {
                let Some(which) = room_of(first).filter(|which| self.rooms[*which].private) else { return };
                let person = if third % 2 > 0 { ME } else { person };
                let (added, is_member) = (added_or_removed < 11, self.rooms[which].members.contains(&person));
                if added == is_member {
                    return;
                }
                let by = Some(user(0));
                let what = if added {
                    self.rooms[which].members.push(person);
                    let history_after = self.rooms[which].created - 1;
                    What::MemberAdded { channel: room(which), user: user(person), by, history_after }
                } else {
                    self.rooms[which].members.retain(|member| *member != person);
                    What::MemberRemoved { channel: room(which), user: user(person), by }
                };
                let event = self.event(what);
                self.log.push((event.offset, Done::Member(which, person, event)));
            }
        }
    }

    fn sees(&self, which: usize) -> bool {
        let room = &self.rooms[which];
        !room.private || room.members.contains(&ME) || self.people[ME].role == Role::Owner
    }

    fn message(&self, which: usize) -> Message {
        let said = &self.said[which];
        let deleted = said.deleted.or(self.rooms[said.room].deleted);
        Message {
            id: format!("M{which}"),
            at: said.at.clone(),
            channel: room(said.room),
            sender: Some(user(0)),
            sender_name: None,
            body: if deleted.is_some() { String::new() } else { format!("text {which}") },
            offset: said.offset,
            deleted_at: deleted.map(time),
        }
    }

    fn channel(&self, which: usize) -> Channel {
        let Room { created, private, creator, last_offset, .. } = &self.rooms[which];
        Channel {
            id: room(which),
            name: format!("room {which}"),
            at: time(*created),
            private: *private,
            creator: Some(user(*creator)),
            last_offset: *last_offset,
            offset: *created,
        }
    }

    /// What the stream shows of a record now; none if it does not.
    fn show(&self, offset: u64, done: &Done) -> Option<Event> {
        match done {
            Done::User(event) => Some(event.clone()),
            Done::RoomCreated(which) => self.sees(*which).then(|| {
                let (channel, deleted) = (self.channel(*which), self.rooms[*which].deleted);
                let what = What::ChannelCreated {
                    id: channel.id,
                    name: if deleted.is_some() { String::new() } else { channel.name },
                    private: channel.private,
                    creator: channel.creator,
                    deleted_at: deleted.map(time),
                };
                Event { offset, at: channel.at, what }
            }),
            Done::RoomDeleted(which, event) => self.sees(*which).then(|| event.clone()),
            Done::Sent(which) => self.sees(self.said[*which].room).then(|| {
                let Message { id, at, channel, sender, sender_name, body, offset, deleted_at } =
                    self.message(*which);
                let what = What::MessageSent { id, channel, sender, sender_name, body, deleted_at };
                Event { offset, at, what }
            }),
            Done::Deleted(which, event) => self.sees(self.said[*which].room).then(|| event.clone()),
            Done::Member(which, who, event) => (self.sees(*which) || *who == ME).then(|| event.clone()),
        }
    }

    fn live(&self, which: usize) -> bool {
        self.rooms[which].deleted.is_none() && self.sees(which)
    }

    fn page(&self, which: usize) -> Vec<Message> {
        let all = 0..self.said.len();
        let mut messages: Vec<Message> = all
            .filter(|one| self.said[*one].room == which && self.said[*one].deleted.is_none())
            .map(|one| self.message(one))
            .collect();
        messages.sort_by_key(|message| (message.at.clone(), message.offset));
        messages.split_off(messages.len().saturating_sub(self.each))
    }

    fn joined(&self, id: &str) -> Option<Joined> {
        let which = (0..self.rooms.len()).find(|which| room(*which) == id && self.live(*which))?;
        Some(Joined { channel: self.channel(which), messages: self.page(which) })
    }

    fn boot(&self) -> State {
        let live = || (0..self.rooms.len()).filter(|which| self.live(*which));
        let users = self.people.iter().enumerate();
        let users =
            users.map(|(who, person)| User { id: user(who), name: person.name.clone(), role: person.role });
        let users: Vec<User> = users.collect();
        State::new(Boot {
            user: users[ME].clone(),
            resume_point: self.head,
            resume_token: format!("{}-00000000", self.head),
            heartbeat: 15,
            users,
            channels: live().map(|which| self.channel(which)).collect(),
            messages: live().flat_map(|which| self.page(which)).collect(),
            truncated: false,
        })
    }

    /// Reads `count` records by the rights of now, as a client does.
    fn read(&self, state: &mut State, count: usize) {
        let after = state.offset();
        for (offset, done) in self.log.iter().filter(|(offset, _)| *offset > after).take(count) {
            let Some(event) = self.show(*offset, done) else { continue };
            let joined = match state.needs(&event) {
                Needs::Nothing => None,
                Needs::Channel(id) => self.joined(&id),
                Needs::Boot => {
                    *state = self.boot();
                    return;
                }
            };
            let before = state.clone();
            assert!(state.apply(&event, joined));
            check(&before, state);
            assert!(!state.apply(&event, None), "what was applied is not applied again");
        }
    }
}

/// What must hold at every moment, also while the client is behind.
fn check(before: &State, after: &State) {
    for channel in after.channels() {
        assert!(!channel.name.is_empty(), "a channel that is gone is shown: {channel:?}");
        let known = before.channel(&channel.id).map_or(0, |channel| channel.last_offset);
        assert!(known <= channel.last_offset, "the newest record went back: {channel:?}");
        let messages: Vec<&Message> = after.messages(&channel.id).collect();
        assert!(
            messages.iter().all(|message| message.deleted_at.is_none()),
            "a message that is gone is shown"
        );
        assert!(messages.is_sorted_by_key(|message| (&message.at, message.offset)));
    }
}

/// What two states of the same moment have in common, wherever they come from.
fn shown(state: &State) -> (Vec<User>, Vec<Channel>, Vec<Vec<Message>>) {
    let messages = state.channels().map(|channel| state.messages(&channel.id).cloned().collect());
    (state.users().cloned().collect(), state.channels().cloned().collect(), messages.collect())
}

/// Lets commands happen and a client read some of what there is now and then, and all of it at the end.
fn run(dice: &[Dice], boot_at: usize, each: usize, imports: bool) -> (State, State) {
    let mut model = Model::new(each);
    let mut state = None;
    for (turn, throw) in dice.iter().enumerate() {
        if turn == boot_at.min(dice.len() - 1) {
            state = Some(model.boot());
        }
        model.command(*throw, imports);
        if let Some(state) = state.as_mut().filter(|_| throw.3 % 3 == 0) {
            model.read(state, usize::from(throw.2 % 8));
        }
    }
    let mut state = state.unwrap();
    model.read(&mut state, usize::MAX);
    // A boot in between leaves some.
    model.read(&mut state, usize::MAX);
    (state, model.boot())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn boot_and_events_are_a_fresh_boot(dice in vec(any::<Dice>(), 1..120), boot_at in 0_usize..60) {
        let (state, fresh) = run(&dice, boot_at, usize::MAX, true);
        prop_assert_eq!(shown(&state), shown(&fresh));
    }

    #[test]
    fn where_a_boot_brings_the_newest_messages_only_those_that_both_have_are_the_same(
        dice in vec(any::<Dice>(), 1..120), boot_at in 0_usize..60,
    ) {
        let (state, fresh) = run(&dice, boot_at, 3, false);
        let (state, fresh) = (shown(&state), shown(&fresh));
        prop_assert_eq!((&state.0, &state.1), (&fresh.0, &fresh.1));
        for (known, newest) in state.2.iter().zip(&fresh.2) {
            let both = known.len().min(newest.len());
            prop_assert_eq!(&known[known.len() - both..], &newest[newest.len() - both..]);
        }
    }

    #[test]
    fn a_state_reads_back_from_its_json(dice in vec(any::<Dice>(), 1..60)) {
        let (state, _) = run(&dice, 30, 5, true);
        let json = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state);
    }
}
