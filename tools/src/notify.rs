//! What the service manager is told, when there is one: systemd's `sd_notify`, a datagram to the socket that the
//! environment names. Without that socket nothing is sent.

use std::time::{Duration, Instant};

use indicatif::HumanCount;
use scrollback_projections::Progress;
use sd_notify::NotifyState;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How much more time a start asks for each time it tells of progress: as long as records are folded, it has not hung.
const EXTENSION: Duration = Duration::from_secs(60);

/// Tells how far a server is.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    progress_told: Option<Instant>,
}

impl Notifier {
    /// The views are being brought up to the log. Tells of it now and then, and asks that the start may take longer.
    pub(crate) fn replaying(&mut self, at: Progress) {
        if self.progress_told.is_some_and(|told| told.elapsed() < PROGRESS_EVERY) {
            return;
        }
        self.progress_told = Some(Instant::now());
        let status = format!("replaying {} of {} records", HumanCount(at.at.0), HumanCount(at.head.0));
        let more = u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX);
        send(&[NotifyState::Status(&status), NotifyState::ExtendTimeoutUsec(more)]);
    }

    /// What the server does, in words.
    pub(crate) fn status(&self, status: &str) {
        send(&[NotifyState::Status(status)]);
    }

    /// Requests are taken.
    pub(crate) fn ready(&self, status: &str) {
        send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Something is read again while the server runs; [`Notifier::ready`] must follow.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            // Without the time a service manager would take it for a failure.
            Err(error) => tracing::debug!(%error, "the service manager is not told of the reload"),
        }
    }

    /// No more requests are taken.
    pub(crate) fn stopping(&self, status: &str) {
        send(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// The server has been found alive.
    pub(crate) fn alive(&self) {
        send(&[NotifyState::Watchdog]);
    }
}

/// The server must not fail because somebody does not listen.
fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
