//! `at`: a state of an earlier offset, for the calls that show one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use scrollback_log::Offset;
use scrollback_projections::Views;
use tokio::time::timeout;

use super::call::{BEHIND_AFTER, Server};
use super::problem::{Code, Problem};
use super::query::Query;
use crate::past::PastError;

/// How long a request may fold the past; the next one goes on from there.
const FOLD_MAX: Duration = Duration::from_secs(5);
/// When a client may ask again for a state that was not reached, or that others are being folded before.
const RETRY: Duration = Duration::from_secs(1);
/// What a message takes in the views, roughly.
const MESSAGE_BYTES: u64 = 128;

/// The state that an answer is made from.
#[derive(Clone)]
pub(super) enum State {
    /// The running views, at whatever offset they stand when they are looked at.
    Now,
    /// As it was. Names are not to be taken from it: see [`crate::past`].
    Past(Arc<Views>),
}

impl State {
    /// Takes the offset that the query asks for, if it does.
    ///
    /// # Errors
    /// 400 when it is none.
    pub(super) fn take(query: &mut Query) -> Result<Option<Offset>, Problem> {
        Ok(query.take_number("at", 0, u64::MAX)?.map(Offset))
    }

    /// The state at `at`, or that of now.
    ///
    /// # Errors
    /// 409 when it lies beyond the head, 503 when it takes too long; damage.
    pub(super) async fn asked(server: &Arc<Server>, at: Option<Offset>) -> Result<State, Problem> {
        let Some(at) = at else { return Ok(State::Now) };
        if at > server.node.log.head().offset {
            let told = "the log has not reached the offset that `at` asks for";
            return Err(Problem::new(Code::Behind, told).retry_after(RETRY));
        }
        let past = server.node.past();
        if let Some(views) = past.kept(at) {
            return Ok(State::Past(views));
        }
        let busy = |detail: String| Problem::new(Code::Busy, detail).retry_after(RETRY);
        let Ok(turn) = timeout(BEHIND_AFTER, past.folding().acquire_owned()).await else {
            return Err(busy("other past states are being computed".into()));
        };
        // The semaphore is never closed.
        let turn = turn.map_err(|_| Problem::plain(Code::Internal))?;
        let promise = server.node.memory.promise(fold_bytes(server))?;
        let fold = move |server: &Server| {
            // Kept to the end of the fold, also when the client has gone meanwhile.
            let _held = (turn, promise);
            let folded = server.node.past().fold(&server.node.log, at, Instant::now() + FOLD_MAX);
            folded.map_err(|error| match error {
                PastError::Unfinished { at: reached } => {
                    busy(format!("the past is computed up to {reached} of {at}; ask again, and it goes on"))
                }
                PastError::Fold(error) => {
                    tracing::error!(%error, "the past cannot be folded");
                    let told = "the log cannot be read as it was written; the operator has to look";
                    Problem::new(Code::LogDamaged, told)
                }
            })
        };
        Ok(State::Past(server.blocking(fold).await?))
    }

    /// Shows the views to `look`, and those of now, whose rights count for every state. Nothing in there may wait.
    pub(super) fn look<T>(&self, server: &Server, look: impl FnOnce(&Views, &Views) -> T) -> T {
        let now = server.views();
        match self {
            State::Now => look(&now, &now),
            State::Past(views) => look(views, &now),
        }
    }
}

/// What a fold takes and leaves, if the past was as large as the present.
fn fold_bytes(server: &Server) -> u64 {
    server.views().messages().len() * MESSAGE_BYTES
}
