//! `GET /api/admin/backup`: the whole log, and the password hashes, as a stream that is made while it is taken.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use scrollback_log::backup::BeginError;
use scrollback_log::{Offset, ResumePoint};
use scrollback_projections::facts::{Action, Role};
use tokio::sync::OwnedSemaphorePermit;
use warp::Reply;
use warp::reply::Response;

use super::call::{Call, Server};
use super::problem::{Code, Problem};
use super::reply;
use crate::commands::Command;
use crate::node::backup::Backup;

/// When to ask again while another backup is being taken.
const RETRY: Duration = Duration::from_secs(30);
/// Where a backup that was not cut begins.
const BEGINNING: ResumePoint = ResumePoint { offset: Offset::BEGINNING, tag: None };

/// A backup that is being taken.
struct Taking {
    server: Arc<Server>,
    backup: Backup,
    /// What its first bytes are.
    begun: Vec<u8>,
    /// What the request said of who takes it.
    headers: HeaderMap,
    _permit: OwnedSemaphorePermit,
}

/// Why a backup is cut.
#[derive(Debug, thiserror::Error)]
#[error("the backup was cut: {0}")]
struct Cut(String);

/// `GET /api/admin/backup`.
pub(super) async fn backup(mut call: Call) -> Result<Response, Problem> {
    if call.caller()?.role != Role::Owner {
        return Err(Problem::new(Code::Forbidden, "only an owner can take a backup"));
    }
    let after = match call.query.take("after")? {
        Some(text) => ResumePoint::parse(&text).ok_or(Problem::plain(Code::BadResumePoint))?,
        None => BEGINNING,
    };
    std::mem::take(&mut call.query).finish()?;
    let permit = Arc::clone(&call.server.backups)
        .try_acquire_owned()
        .map_err(|_| Problem::new(Code::Busy, "another backup is being taken").retry_after(RETRY))?;
    if after == BEGINNING {
        tell(&call).await?;
    }
    let (backup, begun) = call.server.blocking(move |server| begin(server, after)).await?;
    let end = backup.progress().head;
    tracing::info!(%after, head = end.0, "a backup is being taken");
    let taking = Taking { server: call.server, backup, begun, headers: call.headers, _permit: permit };
    let body = stream::try_unfold(Some(taking), next);
    let mut response = warp::reply::stream(body).into_response();
    let headers = response.headers_mut();
    reply::harden(headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let name = format!("attachment; filename=\"scrollback-{end}.backup\"");
    if let Ok(name) = HeaderValue::try_from(name) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// Writes down who takes everything. On a nearly full disk a backup is wanted more than its note.
async fn tell(call: &Call) -> Result<(), Problem> {
    let by = Some(call.caller()?.user);
    let note = Command::Note { by, action: Action::BackupTaken, subject: None };
    match call.server.submit(note).await {
        Err(problem) if problem.code() == Code::DiskFull => {
            tracing::warn!("a backup is being taken without a note in the log, for the disk is nearly full");
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}

fn begin(server: &Server, after: ResumePoint) -> Result<(Backup, Vec<u8>), Problem> {
    let mut begun = Vec::new();
    let backup = Backup::begin(&server.node, after, &mut begun).map_err(|error| match error {
        BeginError::Ahead { .. } => Problem::new(Code::Ahead, error.to_string()),
        BeginError::OtherHistory(_) => Problem::new(Code::OtherHistory, error.to_string()),
        BeginError::Read(error) => error.into(),
    })?;
    Ok((backup, begun))
}

/// The next piece, and what is left; none after the last one.
async fn next(taking: Option<Taking>) -> Result<Option<(Bytes, Option<Taking>)>, Cut> {
    let Some(taking) = taking else { return Ok(None) };
    match tokio::task::spawn_blocking(move || step(taking)).await {
        Ok(Ok(stepped)) => Ok(Some(stepped)),
        Ok(Err(cut)) => {
            tracing::warn!("{cut}");
            Err(cut)
        }
        Err(error) => Err(Cut(error.to_string())),
    }
}

fn step(mut taking: Taking) -> Result<(Bytes, Option<Taking>), Cut> {
    // Whose right was taken away meanwhile gets no more.
    let caller = taking.server.authenticate(&taking.headers);
    if !caller.is_ok_and(|caller| caller.role == Role::Owner) {
        return Err(Cut("its taker is no owner any more".into()));
    }
    let mut bytes = std::mem::take(&mut taking.begun);
    let ended = taking.backup.step(&mut bytes).map_err(|error| Cut(error.to_string()))?;
    if let Some(head) = ended {
        tracing::info!(head = head.offset.0, "a backup was taken");
    }
    Ok((bytes.into(), ended.is_none().then_some(taking)))
}
