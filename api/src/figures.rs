//! What the server counts and measures, as handles that are made once: to count is one atomic addition, to measure one
//! push, and nothing looks a name up. Gauges that are read when somebody asks are set by whoever answers `GET /metrics`.
//!
//! Every name that is served stands in one of the tables here from the start, with all the values its label can have, so
//! that a figure that is still 0 is told as 0. `docs/operations.md` says what each means.

use std::sync::LazyLock;

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use scrollback_log::BatchFigures;

use crate::streams::Bye;

const APPEND: &str = "scrollback_append_seconds";
const BATCH_RECORDS: &str = "scrollback_batch_records";
/// From a look at memory to a disk that is in trouble; in seconds.
const APPEND_BUCKETS: [f64; 12] =
    [0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];
/// Up to the most that a batch is gathered to.
const BATCH_RECORDS_BUCKETS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// How a sign-in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignIn {
    Accepted,
    WrongCredentials,
    Limited,
    /// The server could not say.
    Failed,
}

/// Which limit refused a request as one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RateLimit {
    Address,
    Account,
    Connections,
}

/// How a comparison of the running views with the log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Equal,
    Different,
    /// The log cannot be folded.
    Damaged,
    /// It came to no verdict.
    Failed,
}

/// All handles.
pub(crate) struct Figures {
    /// None when another recorder was there first: then nothing is told.
    recorder: Option<PrometheusHandle>,
    batches: Counter,
    records: Counter,
    /// By phase, in the order of [`BatchFigures`].
    append: [Histogram; 5],
    batch_records: Histogram,
    sign_ins: [Counter; 4],
    pub(crate) password_hashes: Counter,
    pub(crate) memory_refusals: Counter,
    rate_limits: [Counter; 3],
    streams_ended: [Counter; Bye::ALL.len()],
    checks: [Counter; 4],
    pub(crate) stream_bytes: Counter,
    pub(crate) replayed_events: Counter,
    pub(crate) connections: Counter,
    pub(crate) connections_open: Gauge,
    pub(crate) handshakes_failed: Counter,
    pub(crate) sse_open: Gauge,
    pub(crate) ws_open: Gauge,
    pub(crate) polls_open: Gauge,
    pub(crate) arvados_open: Gauge,
    pub(crate) in_flight_bytes: Gauge,
    pub(crate) scrub_records: Counter,
    pub(crate) scrub_rounds: Counter,
    pub(crate) scrub_damage: Counter,
}

static FIGURES: LazyLock<Figures> = LazyLock::new(Figures::new);

/// The handles. There is one set in a process, however many servers a test starts in it.
pub(crate) fn figures() -> &'static Figures {
    &FIGURES
}

impl Figures {
    fn new() -> Figures {
        let buckets = |name: &str| Matcher::Full(name.to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(buckets(APPEND), &APPEND_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(buckets(BATCH_RECORDS), &BATCH_RECORDS_BUCKETS)
            })
            .and_then(PrometheusBuilder::install_recorder)
            .inspect_err(|error| tracing::warn!(%error, "there will be no figures"))
            .ok();
        describe();
        let phase = |phase| histogram!(APPEND, "phase" => phase);
        let outcome = |outcome| counter!("scrollback_sign_ins_total", "outcome" => outcome);
        let limit = |limit| counter!("scrollback_rate_limited_total", "limit" => limit);
        let ended = |reason: Bye| counter!("scrollback_streams_ended_total", "reason" => reason.name());
        let verdict = |verdict| counter!("scrollback_checks_total", "verdict" => verdict);
        Figures {
            recorder,
            batches: counter!("scrollback_batches_total"),
            records: counter!("scrollback_records_total"),
            append: ["queue", "decide", "append", "apply", "answer"].map(phase),
            batch_records: histogram!(BATCH_RECORDS),
            password_hashes: counter!("scrollback_password_hashes_total"),
            memory_refusals: counter!("scrollback_memory_refusals_total"),
            sign_ins: ["accepted", "wrong_credentials", "limited", "failed"].map(outcome),
            rate_limits: ["address", "account", "connections"].map(limit),
            streams_ended: Bye::ALL.map(ended),
            checks: ["equal", "different", "damaged", "failed"].map(verdict),
            stream_bytes: counter!("scrollback_stream_bytes_total"),
            replayed_events: counter!("scrollback_replayed_events_total"),
            connections: counter!("scrollback_connections_total"),
            connections_open: gauge!("scrollback_connections_open"),
            handshakes_failed: counter!("scrollback_handshakes_failed_total"),
            sse_open: gauge!("scrollback_streams_open", "kind" => "sse"),
            ws_open: gauge!("scrollback_streams_open", "kind" => "websocket"),
            polls_open: gauge!("scrollback_streams_open", "kind" => "poll"),
            arvados_open: gauge!("scrollback_streams_open", "kind" => "arvados"),
            in_flight_bytes: gauge!("scrollback_in_flight_bytes"),
            scrub_records: counter!("scrollback_scrub_records_total"),
            scrub_rounds: counter!("scrollback_scrub_rounds_total"),
            scrub_damage: counter!("scrollback_scrub_damage_total"),
        }
    }

    /// Notes one batch of the writer.
    pub(crate) fn batch(&self, batch: &BatchFigures) {
        self.batches.increment(1);
        self.records.increment(batch.records as u64);
        self.batch_records.record(batch.records as f64);
        let BatchFigures { queued, deciding, appending, applying, answering, .. } = batch;
        for (phase, took) in self.append.iter().zip([queued, deciding, appending, applying, answering]) {
            phase.record(took.as_secs_f64());
        }
    }

    pub(crate) fn sign_in(&self, outcome: SignIn) {
        self.sign_ins[outcome as usize].increment(1);
    }

    pub(crate) fn rate_limited(&self, limit: RateLimit) {
        self.rate_limits[limit as usize].increment(1);
    }

    pub(crate) fn stream_ended(&self, reason: Bye) {
        self.streams_ended[reason as usize].increment(1);
    }

    pub(crate) fn checked(&self, verdict: Verdict) {
        self.checks[verdict as usize].increment(1);
    }

    /// Puts what was measured since the last call into its buckets. Without it measurements would pile up while nobody
    /// asks for them.
    pub(crate) fn upkeep(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.run_upkeep();
        }
    }

    /// All figures as text; empty when there is no recorder.
    pub(crate) fn render(&self) -> String {
        self.upkeep();
        self.recorder.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }
}

/// What `GET /metrics` says of each name. Of gauges that are set when somebody asks, `http/figures.rs` has the values.
fn describe() {
    describe_histogram!(
        APPEND,
        "How long the writer took over a batch, by phase; of the queue, its first command's wait."
    );
    describe_histogram!(BATCH_RECORDS, "Records appended in one batch.");
    for (name, about) in [
        ("scrollback_batches_total", "Batches appended to the log."),
        ("scrollback_records_total", "Records appended to the log."),
        ("scrollback_log_syncs_total", "Syncs of the log's store, those of erasures included."),
        ("scrollback_damaged_reads_total", "Reads of the log that met damage, those of the scrub included."),
        ("scrollback_problems_total", "Answers that told of a problem, by code."),
        ("scrollback_rate_limited_total", "Requests and connections refused as too many, by limit."),
        ("scrollback_sign_ins_total", "Log-ins, by outcome."),
        ("scrollback_password_hashes_total", "Passwords hashed or compared, whoever they were of."),
        ("scrollback_memory_refusals_total", "What was refused because memory is short."),
        ("scrollback_checks_total", "Comparisons of the running views with the log, by verdict."),
        ("scrollback_stream_bytes_total", "Bytes sent on event streams."),
        ("scrollback_streams_ended_total", "Event streams that the server ended, by reason."),
        (
            "scrollback_replayed_events_total",
            "Events read from the log for readers that are behind the ring.",
        ),
        ("scrollback_connections_total", "Connections accepted."),
        ("scrollback_handshakes_failed_total", "TLS handshakes that clients did not go through with."),
        ("scrollback_scrub_records_total", "Records that the scrub has found good."),
        ("scrollback_scrub_rounds_total", "Rounds of the whole log that the scrub has ended."),
        ("scrollback_scrub_damage_total", "Damage that the scrub has met."),
    ] {
        describe_counter!(name, about);
    }
    for (name, about) in [
        ("scrollback_head_offset", "The offset of the newest durable record."),
        ("scrollback_erased_through_offset", "The deletion up to which all texts are erased from the log."),
        ("scrollback_texts_to_erase", "Deleted texts that wait to be erased from the log."),
        (
            "scrollback_oldest_erasure_age_seconds",
            "Age of the oldest deletion whose texts wait to be erased.",
        ),
        ("scrollback_views_lag_records", "Records that are in the log and not yet in the views."),
        ("scrollback_checkpoint_lag_records", "Records since the newest checkpoint."),
        ("scrollback_in_flight_bytes", "Bytes of large bodies and answers in memory."),
        ("scrollback_memory_max_bytes", "Memory that the process may have; 0 when nothing bounds it."),
        ("scrollback_streams_open", "Open event streams and waiting polls, by kind."),
        ("scrollback_websocket_sessions", "Sessions over WebSocket, those that nobody has now included."),
        (
            "scrollback_websocket_sessions_kept",
            "Sessions over WebSocket that nobody has now, kept for whoever goes on with them.",
        ),
        ("scrollback_watches", "Watches whose lease has not ended."),
        ("scrollback_watched_channels", "Channels in all watches."),
        ("scrollback_connections_open", "Open connections."),
        ("scrollback_users", "Users, those who may not log in included."),
        ("scrollback_channels", "Channels."),
        ("scrollback_messages", "Messages that are not deleted."),
        ("scrollback_idempotency_keys", "Remembered idempotency keys."),
        ("scrollback_scrub_offset", "The last record that the scrub has looked at."),
        ("scrollback_log_disk_bytes", "Bytes of the log's files."),
        ("scrollback_disk_free_bytes", "Free bytes on the data directory's file system."),
        ("scrollback_expiry_paused", "1 while expiry pauses because the clock has jumped."),
        ("scrollback_ready", "1 while /readyz answers 200."),
        ("scrollback_past_views", "Past states that are kept for requests with `at`."),
        ("scrollback_build_info", "Always 1; the version is in the label."),
        ("process_start_time_seconds", "When the server opened its data, in seconds since 1970."),
        ("process_resident_memory_bytes", "Memory of the process that is in use."),
        ("process_open_fds", "Open file descriptors."),
        ("process_max_fds", "The most file descriptors that may be open."),
    ] {
        describe_gauge!(name, about);
    }
}
