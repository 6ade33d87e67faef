//! Filters as the readers of a world have them: in the server's words, and as a model of what they let through.

use super::world::{Message, World};

/// Unlike filters that a reader may have.
pub(crate) const KINDS: usize = 10;

/// Of several filters one must hold; none at all hold always.
pub(crate) struct Filters(Vec<Filter>);

/// All its conditions must hold.
type Filter = Vec<Condition>;

/// A condition that says something about messages.
enum Condition {
    /// Holds for every message.
    Always(&'static str),
    /// What is in question, whether the list is of what must not be, and the list.
    Channel {
        not: bool,
        of: Vec<usize>,
    },
    Sender {
        not: bool,
        of: Vec<usize>,
    },
}

impl Filters {
    /// Those of one kind, with other operands for every user.
    pub(crate) fn of_kind(kind: usize, user: usize, world: &World) -> Self {
        use Condition::{Always, Channel, Sender};
        // So many of the common channels or of the users, beginning elsewhere for every user.
        let common = |count: usize| -> Vec<usize> {
            let all: Vec<_> = world.common_channels().collect();
            (0..count.min(all.len())).map(|index| all[(user + index) % all.len()]).collect()
        };
        let users = |percent: usize| -> Vec<usize> {
            let all = world.users.len();
            (0..(all * percent / 100).max(1)).map(|index| (3 * user + index) % all).collect()
        };
        let own = world.own_channel(user);
        Self(match kind % KINDS {
            0 => Vec::new(),
            1 => vec![vec![Always(r#"["type","=","message"]"#)]],
            2 => vec![vec![Channel { not: false, of: [common(24), vec![own]].concat() }]],
            3 => vec![vec![Channel { not: true, of: common(3) }]],
            4 => vec![vec![Sender { not: true, of: users(10) }]],
            5 => vec![vec![Sender { not: false, of: users(80) }]],
            6 => vec![vec![
                Always(r#"["type","in",["message","channel"]]"#),
                Always(r#"["event","=","sent"]"#),
                Always(r#"["offset",">",0]"#),
            ]],
            7 => vec![vec![Channel { not: true, of: common(1) }, Sender { not: true, of: vec![user] }]],
            8 => vec![
                vec![Channel { not: false, of: common(15) }],
                vec![Always(r#"["event","!=","deleted"]"#), Sender { not: false, of: users(50) }],
            ],
            _ => vec![
                vec![Channel { not: false, of: vec![own] }],
                vec![Channel { not: false, of: common(usize::MAX) }, Sender { not: true, of: users(20) }],
            ],
        })
    }

    /// Whether they let this message through.
    pub(crate) fn hold(&self, message: Message) -> bool {
        self.0.is_empty() || self.0.iter().any(|filter| filter.iter().all(|one| one.holds(message)))
    }

    /// Each filter in JSON.
    pub(crate) fn json(&self, world: &World) -> Vec<String> {
        let filter = |filter: &Filter| {
            let conditions: Vec<_> = filter.iter().map(|one| one.json(world)).collect();
            format!("[{}]", conditions.join(","))
        };
        self.0.iter().map(filter).collect()
    }
}

impl Condition {
    fn holds(&self, message: Message) -> bool {
        match self {
            Self::Always(_) => true,
            Self::Channel { not, of } => of.contains(&message.channel) != *not,
            Self::Sender { not, of } => of.contains(&message.sender) != *not,
        }
    }

    fn json(&self, world: &World) -> String {
        let (attribute, not, ids): (_, _, Vec<&str>) = match self {
            Self::Always(json) => return (*json).to_owned(),
            Self::Channel { not, of } => {
                ("channel", not, of.iter().map(|&at| &*world.channels[at].id).collect())
            }
            Self::Sender { not, of } => ("sender", not, of.iter().map(|&at| &*world.users[at].id).collect()),
        };
        match (&*ids, not) {
            ([id], false) => format!(r#"["{attribute}","=","{id}"]"#),
            ([id], true) => format!(r#"["{attribute}","!=","{id}"]"#),
            (ids, false) => format!(r#"["{attribute}","in",["{}"]]"#, ids.join(r#"",""#)),
            (ids, true) => format!(r#"["{attribute}","not in",["{}"]]"#, ids.join(r#"",""#)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_to_the_server_what_the_model_holds() {
        let world = World::imagined(100);
        let message = |channel, sender| Message { channel, sender };
        let (own, common) = (world.own_channel(7), world.common_channels().collect::<Vec<_>>());

        let but_three = Filters::of_kind(3, 7, &world);
        let ids = [7, 8, 9].map(|at| world.channels[common[at]].id.clone());
        assert_eq!(but_three.json(&world), [format!(r#"[["channel","not in",["{}"]]]"#, ids.join(r#"",""#))]);
        assert!(!but_three.hold(message(common[8], 0)) && but_three.hold(message(common[10], 0)));

        let two = Filters::of_kind(9, 7, &world);
        assert_eq!(two.json(&world)[0], format!(r#"[["channel","=","{}"]]"#, world.channels[own].id));
        assert!(two.hold(message(own, 21)) && two.hold(message(common[0], 20)));
        assert!(!two.hold(message(common[0], 21)), "a sender that the second leaves out");
        assert!(!two.hold(message(world.own_channel(8), 20)));

        assert!(Filters::of_kind(0, 7, &world).json(&world).is_empty());
        assert!(
            (0..KINDS)
                .all(|kind| Filters::of_kind(kind, 7, &world).hold(message(common[20], 60)) || kind == 8)
        );
    }
}
