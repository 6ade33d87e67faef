//! Setting up, logging in and out, passwords.

use std::sync::Arc;

use scrollback_log::Offset;
use scrollback_projections::facts::{Role as RoleFact, VaultKey};
use warp::reply::Response;

use super::call::{Call, Server};
use super::problem::{BUSY_RETRY, Code, Problem};
use super::shapes::{ChangePassword, Credentials, NewUser, Nothing, SetUp, User};
use super::{body, reply};
use crate::commands::{Answer, Command};
use crate::figures::{SignIn, figures};
use crate::ids::{self, IdKind};
use crate::memory::ShortOfMemory;
use crate::names::{Name, Password};
use crate::vault::{HashError, PasswordHash, VaultError};

/// `POST /api/setup`: the first user, an owner.
pub(super) async fn set_up(call: Call) -> Result<Response, Problem> {
    let SetUp { name, password, setup_token } = body::parse(&call.body)?;
    let server = &call.server;
    if server.is_set_up() {
        return Err(Code::AlreadySetUp.into());
    }
    server.sign_ins.try_once(call.address, None)?;
    if let Some(token) = &server.setup_token
        && !token.is(&setup_token.unwrap_or_default())
    {
        return Err(Problem::new(
            Code::WrongSetupToken,
            "send the `setup_token` that the server printed at its start",
        ));
    }
    let name = new_name(&name)?;
    let command = |name, credential| Command::SetUp { name, credential };
    become_user(server, name, &password, RoleFact::Owner, command).await
}

/// Makes a user by `command` and logs them in. The password's hash is stored first, and removed again when the
/// command comes to nothing.
pub(super) async fn become_user(
    server: &Arc<Server>,
    name: Name,
    password: &str,
    role: RoleFact,
    command: impl FnOnce(Name, VaultKey) -> Command,
) -> Result<Response, Problem> {
    let hash = server.node.vault.passwords.hash(new_password(password)?).await?;
    let stored = hash.clone();
    let credential = server.blocking(move |server| Ok(server.node.vault.add_credential(stored)?)).await?;
    let offset = match server.submit(command(name.clone(), credential)).await {
        Ok(Answer::Done { offset, .. }) => offset,
        // Neither command has an idempotency key.
        Ok(_) => return Err(Problem::plain(Code::Internal)),
        Err(problem) => {
            if problem.code() != Code::OutcomeUnknown {
                server.blocking(move |server| Ok(server.node.vault.forget(credential)?)).await?;
            }
            return Err(problem);
        }
    };
    let id = ids::show(IdKind::User, offset, server.views().origins());
    let answer =
        reply::created(&NewUser { id, name: name.shown().to_owned(), role: role.into(), offset: offset.0 });
    match open_session(server, offset, credential, hash).await {
        Ok(cookie) => Ok(reply::with_cookie(answer, cookie)),
        Err(problem) => {
            // The user exists, durably: the answer must not say otherwise. They can log in.
            tracing::warn!(code = problem.code().name(), "a new user could not be logged in");
            Ok(answer)
        }
    }
}

async fn open_session(
    server: &Arc<Server>,
    user: Offset,
    credential: VaultKey,
    verified: PasswordHash,
) -> Result<http::HeaderValue, Problem> {
    let now = server.now();
    let open = move |server: &Server| Ok(server.node.vault.open_session(user, credential, &verified, now)?);
    let (token, _) = server.blocking(open).await?;
    server.edges.cookie(&token)
}

/// `POST /api/auth/login`. Whatever is wrong, the answer is the same and takes as long.
pub(super) async fn log_in(call: Call) -> Result<Response, Problem> {
    let outcome = try_to_log_in(call).await;
    figures().sign_in(match &outcome {
        Ok(_) => SignIn::Accepted,
        Err(problem) if problem.code() == Code::BadCredentials => SignIn::WrongCredentials,
        Err(problem) if matches!(problem.code(), Code::RateLimited | Code::Busy) => SignIn::Limited,
        Err(_) => SignIn::Failed,
    });
    outcome
}

async fn try_to_log_in(call: Call) -> Result<Response, Problem> {
    let Credentials { name, password } = body::parse(&call.body)?;
    let server = &call.server;
    let name = Name::parse(&name).ok();
    server.sign_ins.try_once(call.address, name.as_ref().map(Name::folded))?;
    let known = name.as_ref().and_then(|name| {
        let views = server.views();
        let (user, person) = views.people().by_folded(name.folded()).filter(|(_, person)| person.active)?;
        let shown = User {
            id: ids::show(IdKind::User, user, views.origins()),
            name: person.name.clone(),
            role: person.role.into(),
        };
        Some((user, person.credential, shown))
    });
    let hash = known.as_ref().and_then(|(_, credential, _)| server.node.vault.credential(*credential));
    let matches = server.node.vault.passwords.matches(hash.clone(), Password::claimed(&password)).await?;
    let (Some((user, credential, shown)), Some(hash), true) = (known, hash, matches) else {
        return Err(Code::BadCredentials.into());
    };
    let cookie = open_session(server, user, credential, hash).await?;
    Ok(reply::with_cookie(reply::ok(&shown), cookie))
}

/// `POST /api/auth/logout`.
pub(super) async fn log_out(call: Call) -> Result<Response, Problem> {
    let Nothing {} = body::parse(&call.body)?;
    let session = Arc::clone(&call.caller()?.session);
    call.server.blocking(move |server| Ok(server.node.vault.revoke(&session)?)).await?;
    Ok(reply::with_cookie(reply::no_content(), call.server.edges.no_cookie()?))
}

/// `GET /api/auth/me`.
pub(super) async fn me(call: Call) -> Result<Response, Problem> {
    Ok(reply::ok(&shown(&call.server, call.caller()?.user)?))
}

/// A user as they see themselves.
fn shown(server: &Server, user: Offset) -> Result<User, Problem> {
    let views = server.views();
    let person = views.people().get(user).ok_or_else(|| Problem::plain(Code::Unauthenticated))?;
    Ok(User {
        id: ids::show(IdKind::User, user, views.origins()),
        name: person.name.clone(),
        role: person.role.into(),
    })
}

/// `POST /api/password`.
pub(super) async fn change_password(call: Call) -> Result<Response, Problem> {
    let ChangePassword { password, to } = body::parse(&call.body)?;
    let server = &call.server;
    let user = call.caller()?.user;
    let to = new_password(&to)?;
    let (folded, credential) = {
        let views = server.views();
        let person = views.people().get(user).ok_or_else(|| Problem::plain(Code::Unauthenticated))?;
        (person.folded.clone(), person.credential)
    };
    // Whoever holds a session could otherwise try passwords without end.
    server.sign_ins.try_once(call.address, Some(&folded))?;
    let wrong = || Problem::plain(Code::WrongPassword);
    let passwords = &server.node.vault.passwords;
    let verified = server.node.vault.credential(credential).ok_or_else(wrong)?;
    if !passwords.matches(Some(verified.clone()), Password::claimed(&password)).await? {
        return Err(wrong());
    }
    let to = passwords.hash(to).await?;
    let now = server.now();
    let change = move |server: &Server| {
        server.node.vault.change_password(user, credential, &verified, to, now).map_err(|error| match error {
            VaultError::PasswordChanged => wrong(),
            other => other.into(),
        })
    };
    let (token, _) = server.blocking(change).await?;
    Ok(reply::with_cookie(reply::no_content(), server.edges.cookie(&token)?))
}

/// A name that somebody wants to have.
pub(super) fn new_name(entered: &str) -> Result<Name, Problem> {
    Name::parse(entered).map_err(|error| Problem::new(Code::BadName, error.to_string()))
}

fn new_password(entered: &str) -> Result<Password, Problem> {
    Password::parse(entered).map_err(|error| Problem::new(Code::BadPassword, error.to_string()))
}

impl From<HashError> for Problem {
    fn from(error: HashError) -> Problem {
        match error {
            HashError::Busy => Problem::new(Code::Busy, "too many log-ins wait").retry_after(BUSY_RETRY),
            HashError::NoMemory => ShortOfMemory.into(),
            HashError::Refused(_) | HashError::Stopping | HashError::NoThread => {
                tracing::error!(%error, "a password could not be hashed");
                Problem::plain(Code::Internal)
            }
        }
    }
}
