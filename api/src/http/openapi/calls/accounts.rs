//! Calls about users, their log-ins, tokens and invitations.

use super::{Described, Effect, JSON, USER, call, named};
use crate::http::problem::Code;
use crate::http::shapes::{
    ChangePassword, ChangeUser, ChangedUser, CreateToken, Credentials, Invitation, NewInvitation, NewToken,
    NewUser, Nothing, SetUp, Tokens, User, Users,
};

const INVITATION: &str = "An invitation's token.";

pub(super) static CALLS: &[Described] = &[
    Described {
        body: Some(named::<SetUp>),
        answers: (201, JSON, Some(named::<NewUser>)),
        sets_cookie: true,
        effect: Effect::Writes,
        problems: &[
            Code::BadName,
            Code::BadPassword,
            Code::WrongSetupToken,
            Code::AlreadySetUp,
            Code::NameTaken,
        ],
        ..call("accounts", "set_up", "POST", "/api/setup", "Make the first user, an owner, and log them in.")
    },
    Described {
        body: Some(named::<Credentials>),
        answers: (200, JSON, Some(named::<User>)),
        sets_cookie: true,
        effect: Effect::WritesSecrets,
        problems: &[Code::BadCredentials],
        ..call("accounts", "log_in", "POST", "/api/auth/login", "Log in.")
    },
    Described {
        body: Some(named::<Nothing>),
        answers: (204, JSON, None),
        sets_cookie: true,
        effect: Effect::WritesSecrets,
        ..call(
            "accounts",
            "log_out",
            "POST",
            "/api/auth/logout",
            "End the session or API token of this request and its streams.",
        )
    },
    Described {
        answers: (200, JSON, Some(named::<User>)),
        ..call("accounts", "me", "GET", "/api/auth/me", "Who calls.")
    },
    Described {
        body: Some(named::<ChangePassword>),
        answers: (204, JSON, None),
        sets_cookie: true,
        effect: Effect::WritesSecrets,
        problems: &[Code::WrongPassword, Code::BadPassword],
        ..call(
            "accounts",
            "change_password",
            "POST",
            "/api/password",
            "Change the password; every other session of the user ends.",
        )
    },
    Described {
        body: Some(named::<CreateToken>),
        answers: (201, JSON, Some(named::<NewToken>)),
        effect: Effect::WritesSecrets,
        problems: &[Code::BadLabel, Code::TooManyTokens],
        ..call("accounts", "create_token", "POST", "/api/tokens", "Make an API token; it is shown this once.")
    },
    Described {
        answers: (200, JSON, Some(named::<Tokens>)),
        ..call("accounts", "list_tokens", "GET", "/api/tokens", "The caller's API tokens.")
    },
    Described {
        variables: &["An API token's id."],
        answers: (204, JSON, None),
        effect: Effect::WritesSecrets,
        problems: &[Code::NotFound],
        ..call(
            "accounts",
            "revoke_token",
            "DELETE",
            "/api/tokens/{id}",
            "End one of the caller's API tokens and its streams.",
        )
    },
    Described {
        body: Some(named::<Nothing>),
        answers: (201, JSON, Some(named::<NewInvitation>)),
        effect: Effect::Writes,
        ..call("accounts", "invite", "POST", "/api/invite", "Make an invitation for one person.")
    },
    Described {
        variables: &[INVITATION],
        answers: (200, JSON, Some(named::<Invitation>)),
        problems: &[Code::NotFound],
        ..call("accounts", "show_invitation", "GET", "/api/invite/{token}", "An open invitation.")
    },
    Described {
        variables: &[INVITATION],
        body: Some(named::<Credentials>),
        answers: (201, JSON, Some(named::<NewUser>)),
        sets_cookie: true,
        effect: Effect::Writes,
        problems: &[Code::BadName, Code::BadPassword, Code::NotFound, Code::NameTaken],
        ..call("accounts", "accept_invitation", "POST", "/api/invite/{token}", "Become a user, and log in.")
    },
    Described {
        answers: (200, JSON, Some(named::<Users>)),
        ..call("accounts", "list_users", "GET", "/api/users", "All users.")
    },
    Described {
        variables: &[USER],
        body: Some(named::<ChangeUser>),
        answers: (200, JSON, Some(named::<ChangedUser>)),
        effect: Effect::Writes,
        problems: &[Code::Forbidden, Code::NotFound, Code::LastOwner],
        ..call(
            "accounts",
            "change_user",
            "PUT",
            "/api/users/{id}",
            "Change a user's role or activity, as an owner.",
        )
    },
];
