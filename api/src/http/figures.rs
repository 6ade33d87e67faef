//! Figures in Prometheus' text form: counters that the parts of the server count up themselves, and gauges that are read
//! when somebody asks.

use std::sync::OnceLock;

use metrics::{describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::call::Server;

/// The media type of the text.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// There is one recorder in a process, however many servers a test starts in it.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Makes what is counted from now on visible. Counters that were made before count into nothing.
pub(super) fn install() {
    RECORDER.get_or_init(|| {
        let recorder = PrometheusBuilder::new().install_recorder();
        if let Err(error) = &recorder {
            tracing::warn!(%error, "there will be no figures");
        }
        describe();
        recorder.ok()
    });
}

fn describe() {
    describe_counter!("scrollback_problems_total", "Answers that told of a problem, by code.");
    describe_counter!("scrollback_batches_total", "Batches appended to the log; each is synced once.");
    describe_counter!("scrollback_records_total", "Records appended to the log.");
    describe_counter!("scrollback_stream_bytes_total", "Bytes sent on event streams.");
    describe_gauge!("scrollback_head_offset", "The offset of the newest durable record.");
    describe_gauge!(
        "scrollback_erased_through_offset",
        "The deletion up to which all texts are erased from the disk."
    );
    describe_gauge!("scrollback_texts_to_erase", "Deleted texts that wait to be erased from the disk.");
    describe_gauge!("scrollback_streams_open", "Open event streams.");
    describe_gauge!("scrollback_users", "Users, those who may not log in included.");
    describe_gauge!("scrollback_channels", "Channels.");
    describe_gauge!("scrollback_messages", "Messages that are not deleted.");
    describe_gauge!("scrollback_idempotency_keys", "Remembered idempotency keys.");
    describe_gauge!("scrollback_disk_free_bytes", "Free bytes on the data directory's file system.");
    describe_gauge!("scrollback_resident_memory_bytes", "Memory of the process that is in use.");
}

/// The text. For threads that may block.
pub(super) fn render(server: &Server) -> String {
    let node = &server.node;
    let set = |name: &'static str, value: u64| gauge!(name).set(value as f64);
    set("scrollback_head_offset", node.log.head().offset.0);
    set("scrollback_erased_through_offset", node.log.erased_through().0);
    set("scrollback_texts_to_erase", node.log.with_masks(|masks| masks.texts_waiting()));
    set("scrollback_streams_open", server.streams.open() as u64);
    {
        let views = server.views();
        set("scrollback_users", views.people().len() as u64);
        set("scrollback_channels", views.channels().len() as u64);
        set("scrollback_messages", views.messages().len());
        set("scrollback_idempotency_keys", views.keys().len() as u64);
    }
    if let Ok(free) = node.space.free_bytes() {
        set("scrollback_disk_free_bytes", free);
    }
    if let Some(bytes) = resident_bytes() {
        set("scrollback_resident_memory_bytes", bytes);
    }
    match RECORDER.get() {
        Some(Some(recorder)) => {
            recorder.run_upkeep();
            recorder.render()
        }
        _ => String::new(),
    }
}

/// What Linux says of the process's memory; none elsewhere.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    Some(kibibytes.parse::<u64>().ok()? << 10)
}
