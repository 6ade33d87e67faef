//! The server as its users and its operator meet it: the real binary, in a fresh directory, over a real socket. The
//! tests of one promise are in one file. Counts are small here; `tools/test` and `tools/soak` raise them by environment.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

mod accounts;
mod backup;
mod bad_input;
mod channels;
mod chaos;
mod checker;
mod clock;
mod config;
mod damage;
mod described;
mod doctor;
mod edge;
mod expiry;
mod figures;
mod full_disk;
mod health;
mod idempotency;
mod import;
mod judge;
mod kill;
mod large_log;
mod live;
mod logs;
mod memory;
mod messages;
mod notify;
mod operations;
mod operator;
mod origins;
mod power_cut;
mod private;
mod proxies;
mod real_clients;
mod reconnect;
mod relayed;
mod rollback;
mod seam;
mod slow;
mod slow_readers;
mod smuggling;
mod starts;
mod state;
mod steps;
mod storage;
mod storms;
mod stream;
mod timing;
mod tls;
mod tour;
mod unicode;
mod upgrade;
mod websocket;
