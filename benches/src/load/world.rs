//! People with unlike rights: every user has a private channel of their own, is in most of the shared private ones, each in
//! others, and sees the public ones.

use anyhow::{Context, Result};

use super::Target;
use super::publish::Destination;
use crate::client::{Client, Identity, leading_number, request, string_field};
use crate::text::scatter;

/// Private channels with many members. Of each half of them a user is in all but one; no two of up to 100 users lack the
/// same two.
const SHARED: usize = 20;

/// Channels that everybody sees.
const PUBLIC: usize = 10;

/// Accounts made from one address: fewer than a server lets through at once.
const USERS_PER_SOURCE: usize = 8;

/// Destinations that messages are spread over. Of so many, tenths and less come out right.
const DESTINATIONS: u64 = 10_000;

/// Of 100 messages, how many go to users' own channels, and how many to the shared ones; the others to the public ones.
const PERCENT_OWN: u64 = 10;
const PERCENT_SHARED: u64 = 45;

pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) token: String,
}

pub(crate) struct Channel {
    pub(crate) id: String,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Of this user.
    Own(usize),
    /// The so-manieth of the shared ones.
    Shared(usize),
    Public,
}

/// What rights and filters look at of a message: the indexes of its channel and its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) channel: usize,
    pub(crate) sender: usize,
}

pub(crate) struct World {
    pub(crate) users: Vec<User>,
    /// Those of the users first, in their order.
    pub(crate) channels: Vec<Channel>,
    /// The head when all of it was made.
    pub(crate) head: u64,
}

impl World {
    /// Makes it all on a server whose owner's token `target` has.
    pub(crate) async fn make(target: &Target, users: usize) -> Result<Self> {
        let mut owner = Owner { client: Client::connect(target.addr).await?, token: &target.token };
        let mut world = Self { users: Vec::with_capacity(users), channels: Vec::new(), head: 0 };
        for index in 0..users {
            world.users.push(owner.invite(target, index).await.with_context(|| format!("user {index}"))?);
        }
        for (name, kind) in kinds(users) {
            let members = (0..users).filter(|&user| is_member(kind, user));
            let ids = members.map(|user| &*world.users[user].id);
            let id = owner.channel(&name, kind, ids).await.with_context(|| format!("channel {name}"))?;
            world.channels.push(Channel { id, kind });
        }
        let boot = owner.get("/api/boot?messages=0").await?;
        const HEAD: &str = "\"resume_point\":";
        let head = boot.find(HEAD).and_then(|at| leading_number(&boot.as_bytes()[at + HEAD.len()..]));
        world.head = head.context("a state without an offset")?;
        Ok(world)
    }

    pub(crate) fn own_channel(&self, user: usize) -> usize {
        user
    }

    /// All but those of one user each.
    pub(crate) fn common_channels(&self) -> impl Iterator<Item = usize> {
        self.users.len()..self.channels.len()
    }

    /// Whether the user may see what is in the channel.
    pub(crate) fn may_see(&self, user: usize, channel: usize) -> bool {
        is_member(self.channels[channel].kind, user)
    }

    /// What messages there are, and where each is sent to.
    pub(crate) fn destinations(&self) -> Vec<(Message, Destination)> {
        (0..DESTINATIONS).map(|number| self.destination(scatter(number))).collect()
    }

    fn destination(&self, random: u64) -> (Message, Destination) {
        let users = self.users.len();
        // Different bits for the different choices.
        let of = |shift: u32, count: usize| (random >> shift) as usize % count;
        let mut sender = of(8, users);
        let channel = match random % 100 {
            percent if percent < PERCENT_OWN => self.own_channel(sender),
            percent if percent < PERCENT_OWN + PERCENT_SHARED => users + of(32, SHARED),
            _ => users + SHARED + of(32, PUBLIC),
        };
        while !self.may_see(sender, channel) {
            sender = (sender + 1) % users;
        }
        let path = format!("/api/channels/{}", self.channels[channel].id);
        (Message { channel, sender }, Destination { path, token: self.users[sender].token.clone() })
    }

    /// One that is on no server.
    #[cfg(test)]
    pub(crate) fn imagined(users: usize) -> Self {
        let channels = kinds(users).map(|(name, kind)| Channel { id: format!("C-{name}"), kind }).collect();
        let user = |user| User { id: format!("U-{user}"), token: format!("token {user}") };
        Self { users: (0..users).map(user).collect(), channels, head: 0 }
    }
}

/// The names and kinds of all channels.
fn kinds(users: usize) -> impl Iterator<Item = (String, Kind)> {
    let own = (0..users).map(|user| (format!("own {user}"), Kind::Own(user)));
    let shared = (0..SHARED).map(|index| (format!("shared {index}"), Kind::Shared(index)));
    own.chain(shared).chain((0..PUBLIC).map(|index| (format!("public {index}"), Kind::Public)))
}

fn is_member(kind: Kind, user: usize) -> bool {
    const HALF: usize = SHARED / 2;
    match kind {
        Kind::Own(whose) => whose == user,
        Kind::Shared(index) => index != user % HALF && index != HALF + user / HALF % HALF,
        Kind::Public => true,
    }
}

/// Who makes it.
struct Owner<'a> {
    client: Client,
    token: &'a str,
}

impl Owner<'_> {
    async fn call(&mut self, method: &str, path: &str, body: Option<&str>) -> Result<String> {
        let request = request(method, path, Identity::Bearer(self.token), body);
        Ok(self.client.call(&request).await?.0)
    }

    async fn get(&mut self, path: &str) -> Result<String> {
        self.call("GET", path, None).await
    }

    /// A new user with a token.
    async fn invite(&mut self, target: &Target, index: usize) -> Result<User> {
        let json = self.call("POST", "/api/invite", Some("{}")).await?;
        let invitation = string_field(&json, "token")?;
        let mut client = Client::connect_from(target.addr, 2 + index / USERS_PER_SOURCE).await?;
        let path = format!("/api/invite/{invitation}");
        let body = format!(r#"{{"name":"user {index}","password":"correct horse battery staple"}}"#);
        let (json, answer) = client.call(&request("POST", &path, Identity::Nobody, Some(&body))).await?;
        let id = string_field(&json, "id")?.to_owned();
        let cookie = answer.cookie.context("an accepted invitation gave no cookie")?;
        let body = r#"{"label":"bench"}"#;
        let (json, _) =
            client.call(&request("POST", "/api/tokens", Identity::Cookie(&cookie), Some(body))).await?;
        Ok(User { id, token: string_field(&json, "token")?.to_owned() })
    }

    /// A new channel; of a private one these are the members.
    async fn channel<'a>(
        &mut self,
        name: &str,
        kind: Kind,
        members: impl Iterator<Item = &'a str>,
    ) -> Result<String> {
        let private = !matches!(kind, Kind::Public);
        let body = format!(r#"{{"name":"{name}","private":{private}}}"#);
        let json = self.call("POST", "/api/channels", Some(&body)).await?;
        let id = string_field(&json, "id")?.to_owned();
        if private {
            for user in members {
                self.call("PUT", &format!("/api/channels/{id}/members/{user}"), None).await?;
            }
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_users_may_see_the_same_and_everybody_sends_only_where_they_may() {
        let world = World::imagined(100);
        let rights =
            |user| (0..world.channels.len()).filter(|&at| world.may_see(user, at)).collect::<Vec<_>>();
        let common = |user| rights(user).into_iter().filter(|&at| at >= 100).collect::<Vec<_>>();
        assert_eq!((0..100).map(common).collect::<BTreeSet<_>>().len(), 100);
        assert!((0..100).all(|user| rights(user).len() == 1 + SHARED - 2 + PUBLIC));

        let destinations = world.destinations();
        assert!(destinations.iter().all(|(message, to)| {
            let id = &world.channels[message.channel].id;
            world.may_see(message.sender, message.channel)
                && to.path.ends_with(id.as_str())
                && to.token == world.users[message.sender].token
        }));
        let seen = destinations.iter().filter(|(message, _)| world.may_see(7, message.channel)).count();
        assert!((8_300..8_800).contains(&seen), "{seen} of {DESTINATIONS}");
    }
}
