//! The ways in which somebody loses their identity.

use serde_json::json;

use super::PASSWORD;
use super::client::{Client, text};
use super::server::Server;

/// One user and what takes their identity away.
pub(crate) struct Loss {
    pub(crate) what: &'static str,
    pub(crate) client: Client,
    pub(crate) take_away: Box<dyn FnOnce()>,
}

/// Every way to lose one, each a user of its own.
pub(crate) fn losses(server: &Server, owner: &Client) -> Vec<Loss> {
    let mut owner = owner.clone();
    let mut losses: Vec<Loss> = Vec::new();
    let (member, _) = owner.invite_member("logs out");
    let mut same = member.clone();
    losses.push(Loss {
        what: "logout",
        client: member,
        take_away: Box::new(move || drop(same.post("/api/auth/logout", &json!({})).ok(204))),
    });
    let (member, _) = owner.invite_member("changes the password");
    let mut elsewhere = server.client();
    elsewhere.log_in("changes the password", PASSWORD);
    losses.push(Loss {
        what: "password",
        client: member,
        take_away: Box::new(move || {
            let body = json!({"password": PASSWORD, "to": "another battery staple"});
            elsewhere.post("/api/password", &body).ok(204);
        }),
    });
    for (what, name) in [("deactivation", "a"), ("deactivation, by token", "b")] {
        let (mut member, id) = owner.invite_member(name);
        let client = if name == "b" { server.client().with_token(&member.token("b")) } else { member };
        let mut owner = owner.clone();
        losses.push(Loss {
            what,
            client,
            take_away: Box::new(move || {
                owner.put(&format!("/api/users/{id}"), &json!({"active": false})).ok(200);
            }),
        });
    }
    let (mut member, _) = owner.invite_member("has a token");
    let token = member.token("program");
    let id = text(&member.get("/api/tokens").ok(200)["tokens"][0], "id");
    losses.push(Loss {
        what: "token",
        client: server.client().with_token(&token),
        take_away: Box::new(move || drop(member.delete(&format!("/api/tokens/{id}")).ok(204))),
    });
    losses
}
