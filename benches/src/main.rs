//! The load driver: puts a server under one kind of load, checks what comes back, and prints one line of
//! `name=value` pairs. `benches/run` calls it once per window and takes the medians.
//!
//! A command that loads a server runs on one thread (`fanout` sends from a second one), so that on a small machine the
//! driver takes as little as it can from the server it measures; what it does take is printed as `driver_cpu`. All
//! `*_cpu` values are cores: 1.00 is one core kept busy. `foreign_cpu` is everybody else's; a window with much of it is
//! worth nothing.
//!
//! The floors (`floor-*`) are the least that could do the same work: what the disk or the kernel allows. The peers are
//! other people's servers under the same load: `redis-*`, and `--dialect` for the streams.

mod chunked;
mod client;
mod cpu;
mod cut;
mod floor;
mod load;
mod log;
mod nats;
mod pubsub;
mod redis;
mod report;
mod sessions;
mod sockets;
mod sse;
mod stream;
mod text;
mod ws;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "driver", about = "The load driver of Scrollback's benches")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sets a fresh server up, makes a channel and prints ADDR, TOKEN and CHANNEL for a shell to read.
    Seed(load::seed::Arguments),
    /// Durable POSTs of messages, a given number under way on each connection.
    Post(load::post::Arguments),
    /// The same over WebSocket.
    WsSend(load::ws_send::Arguments),
    /// One channel, many readers: every reader must see every event once and in order.
    Fanout(load::fanout::Arguments),
    /// Many readers with unlike rights and filters: every reader must see exactly what both let through.
    Rights(load::rights::Arguments),
    /// Opens many streams and lets them idle: memory of the server for each, heartbeats.
    Idle(load::idle::Arguments),
    /// One stream from the beginning of the log until it is live.
    Catchup(load::catchup::Arguments),
    /// Many clients that want to know which of their channels change, by watches or by polls.
    Watch(load::watch::Arguments),
    /// GETs of one path: latencies.
    Http(load::get::Arguments),
    /// Writes a made-up chat history for `scrollback import`.
    Corpus(load::corpus::Arguments),
    /// Starts a server, waits until it is ready, and ends it again: the time to ready.
    Start(load::child::StartArguments),
    /// Runs a command to its end: its time, CPU and peak memory.
    Time(load::child::TimeArguments),

    /// The log crate alone: appends, each one commit and one sync.
    LogAppend(log::AppendArguments),
    /// The bytes of a data directory for each byte of its records' kept parts and texts.
    LogBytes(log::BytesArguments),

    /// The floor of durable writes: one pwrite and one fdatasync per group of records.
    FloorAppend(floor::append::Arguments),
    /// The floor of reading a log: a scan of a CRC-framed file.
    FloorScan(floor::scan::Arguments),
    /// The floor of serving: one epoll thread, one sync per round, one send per reader. Runs until it is ended.
    FloorServer(floor::server::Arguments),
    /// The floor of replay's memory: a bare scan of a sled database.
    FloorSled(floor::sled_scan::Arguments),

    /// XADD of messages, a given number under way on each connection.
    RedisPost(redis::PostArguments),
    /// Fills a Redis stream, then exits.
    RedisFill(redis::FillArguments),
    /// XRANGE over a whole Redis stream, page after page.
    RedisRange(redis::RangeArguments),
}

fn main() -> anyhow::Result<()> {
    let report = match Arguments::parse().command {
        Command::Seed(arguments) => load::seed::run(&arguments)?,
        Command::Post(arguments) => load::post::run(&arguments)?,
        Command::WsSend(arguments) => load::ws_send::run(&arguments)?,
        Command::Fanout(arguments) => load::fanout::run(&arguments)?,
        Command::Rights(arguments) => load::rights::run(&arguments)?,
        Command::Idle(arguments) => load::idle::run(&arguments)?,
        Command::Catchup(arguments) => load::catchup::run(&arguments)?,
        Command::Watch(arguments) => load::watch::run(&arguments)?,
        Command::Http(arguments) => load::get::run(&arguments)?,
        Command::Corpus(arguments) => load::corpus::run(&arguments)?,
        Command::Start(arguments) => load::child::start(&arguments)?,
        Command::Time(arguments) => load::child::time(&arguments)?,
        Command::LogAppend(arguments) => log::append(&arguments)?,
        Command::LogBytes(arguments) => log::bytes(&arguments)?,
        Command::FloorAppend(arguments) => floor::append::run(&arguments)?,
        Command::FloorScan(arguments) => floor::scan::run(&arguments)?,
        Command::FloorServer(arguments) => floor::server::run(&arguments)?,
        Command::FloorSled(arguments) => floor::sled_scan::run(&arguments)?,
        Command::RedisPost(arguments) => redis::post(&arguments)?,
        Command::RedisFill(arguments) => redis::fill(&arguments)?,
        Command::RedisRange(arguments) => redis::range(&arguments)?,
    };
    println!("{report}");
    Ok(())
}
