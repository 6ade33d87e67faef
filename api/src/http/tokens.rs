//! API tokens: identities for programs.

use warp::reply::Response;

use super::call::{Call, Server};
use super::problem::{Code, Problem};
use super::shapes::{CreateToken, NewToken, Time, Token, Tokens};
use super::{body, reply};
use crate::names::Name;
use crate::vault::TokenId;

/// `POST /api/tokens`.
pub(super) async fn create(call: Call) -> Result<Response, Problem> {
    let CreateToken { label } = body::parse(&call.body)?;
    let label = Name::parse(&label)
        .map_err(|_| Problem::new(Code::BadLabel, "a label follows the rules for names"))?;
    let (user, now) = (call.caller()?.user, call.server.now());
    let create =
        move |server: &Server| Ok(server.node.vault.create_token(user, label.shown().to_owned(), now)?);
    let (token, session) = call.server.blocking(create).await?;
    Ok(reply::created(&NewToken { id: session.id.to_string(), label: session.label.clone(), token }))
}

/// `GET /api/tokens`.
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let tokens = call.server.node.vault.tokens_of(call.caller()?.user).into_iter().map(|token| Token {
        id: token.id.to_string(),
        label: token.label.clone(),
        created_at: Time(token.created),
        last_used_at: Time(token.last_used()),
    });
    Ok(reply::ok(&Tokens { tokens: tokens.collect() }))
}

/// `DELETE /api/tokens/ID`.
pub(super) async fn revoke(call: Call) -> Result<Response, Problem> {
    let user = call.caller()?.user;
    let id = TokenId::parse(call.variable()).ok_or_else(|| Problem::plain(Code::NotFound))?;
    let found = call.server.blocking(move |server| Ok(server.node.vault.revoke_token(user, id)?)).await?;
    if found { Ok(reply::no_content()) } else { Err(Code::NotFound.into()) }
}
