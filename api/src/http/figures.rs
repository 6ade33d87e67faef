//! `GET /metrics`: the gauges that are read when somebody asks, and the text.

use metrics::{counter, gauge};
use scrollback_log::Offset;

use super::call::Server;
use super::health;
use super::problem;
use crate::figures::figures;
use crate::memory::Usage;

/// The media type of the text.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text. For threads that may block.
pub(super) fn render(server: &Server) -> String {
    let figures = figures();
    problem::register();
    look(server);
    look_at_process();
    figures.render()
}

fn set(name: &'static str, value: f64) {
    gauge!(name).set(value);
}

fn look(server: &Server) {
    let node = &server.node;
    // Before the views, which are applied before their head is published: so they are not behind it.
    let head = node.log.head().offset;
    let (views_at, users, channels, messages, keys) = {
        let views = server.views();
        let keys = views.keys().len();
        (views.at(), views.people().len(), views.channels().len(), views.messages().len(), keys)
    };
    let behind = |at: Offset| head.0.saturating_sub(at.0) as f64;
    let (waiting, oldest) = node.log.with_masks(|masks| {
        (masks.texts_waiting(), masks.waiting().next().map(|(deletion, _)| deletion.time))
    });
    let age = oldest.map_or(0.0, |time| (server.now().0 - time.0).max(0) as f64 / 1e6);
    set("scrollback_head_offset", head.0 as f64);
    set("scrollback_erased_through_offset", node.log.erased_through().0 as f64);
    set("scrollback_texts_to_erase", waiting as f64);
    set("scrollback_oldest_erasure_age_seconds", age);
    set("scrollback_views_lag_records", behind(views_at));
    set("scrollback_checkpoint_lag_records", behind(node.checkpointed()));
    set("scrollback_users", users as f64);
    set("scrollback_channels", channels as f64);
    set("scrollback_messages", messages as f64);
    set("scrollback_idempotency_keys", keys as f64);
    set("scrollback_scrub_offset", node.scrubbed().0 as f64);
    set("scrollback_expiry_paused", f64::from(u8::from(node.expiry_pauses().is_some())));
    set("scrollback_ready", f64::from(u8::from(health::look(server).is_ready())));
    set("scrollback_memory_max_bytes", node.memory.bytes_max().unwrap_or(0) as f64);
    set("scrollback_past_views", node.past().len() as f64);
    let (sessions, kept) = server.streams.sessions();
    set("scrollback_websocket_sessions", sessions as f64);
    set("scrollback_websocket_sessions_kept", kept as f64);
    let (watches, watched) = server.streams.watches().count();
    set("scrollback_watches", watches as f64);
    set("scrollback_watched_channels", watched as f64);
    set("process_start_time_seconds", node.started.0 as f64 / 1e6);
    gauge!("scrollback_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    counter!("scrollback_log_syncs_total").absolute(node.log.syncs());
    counter!("scrollback_damaged_reads_total").absolute(node.log.damage().reads);
    if let Ok(free) = node.space.free_bytes() {
        set("scrollback_disk_free_bytes", free as f64);
    }
    if let Ok(bytes) = node.log_bytes() {
        set("scrollback_log_disk_bytes", bytes as f64);
    }
}

/// What Linux says of the process; nothing elsewhere.
fn look_at_process() {
    if let Some(usage) = Usage::now() {
        set("process_resident_memory_bytes", usage.resident as f64);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of them is what this reads.
        set("process_open_fds", open.count().saturating_sub(1) as f64);
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        set("process_max_fds", most as f64);
    }
}
