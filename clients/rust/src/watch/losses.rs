//! What goes wrong with a watch, and how it goes on.

use std::time::Duration;

use tokio::time::Instant;

use super::reader::Reader;
use super::{Notice, Watch};
use crate::error::{Away, Ended, Error};
use crate::stream::Bye;

impl Watch {
    /// The server ends the stream; what that means.
    pub(super) fn part(&mut self, bye: Bye) -> Result<Notice, Error> {
        Ok(match (bye.reason.as_str(), bye.code.as_deref()) {
            ("revoked", Some("unauthenticated")) => return Err(Ended::Unauthenticated.into()),
            ("replaced" | "unwatched", _) => self.lose_setting(),
            (reason, _) => {
                let asked = bye.retry.map(Duration::from_millis);
                let asked = asked.or_else(|| self.reader.as_ref().and_then(Reader::retry));
                self.lose(Away::new(format!("the server has ended the stream: {reason}")), asked)
            }
        })
    }

    /// What a request has failed with; what there is to tell, if it is not the end.
    pub(super) fn fail(&mut self, error: Error) -> Option<Notice> {
        match error {
            Error::Away(why) => {
                let asked = why.retry_after.or_else(|| self.reader.as_ref().and_then(Reader::retry));
                Some(self.lose(why, asked))
            }
            Error::Ended(Ended::Refused(problem)) if problem.code == "unknown_watch" => {
                let was_read = self.set.as_ref().is_some_and(|set| set.read);
                self.revoke();
                self.doubted = true;
                // The server has begun anew, or the lease has ended. One that never knows what was set is not asked over and
                // over.
                (!was_read).then(|| self.lose(Away::new(problem.to_string()), None))
            }
            Error::Ended(Ended::Refused(problem)) if problem.code == "watch_replaced" => {
                Some(self.lose_setting())
            }
            Error::Ended(ended) => {
                self.revoke();
                self.ended = Some(ended);
                None
            }
        }
    }

    /// Somebody else has set the watch, or ended it: another program under the same name, or a request of our own that was given
    /// up and has come late. Whoever it was, what is watched is not what this one wants.
    pub(super) fn lose_setting(&mut self) -> Notice {
        self.revoke();
        let retry_in = self.contested.next(None, rand::random());
        self.retry_at = Some(Instant::now() + retry_in);
        Notice::Away { why: Away::new("somebody else has set the watch, or ended it"), retry_in }
    }

    /// Stays away for a while. The setting may still be there afterwards.
    fn lose(&mut self, why: Away, asked: Option<Duration>) -> Notice {
        self.reader = None;
        self.work = None;
        self.doubted = true;
        let retry_in = self.backoff.next(asked, rand::random());
        self.retry_at = Some(Instant::now() + retry_in);
        Notice::Away { why, retry_in }
    }
}
