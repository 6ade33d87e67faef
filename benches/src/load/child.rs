//! Processes under measurement: how long a server takes to be ready, what a command costs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use rustix::process::{Pid, Signal, kill_process};

use crate::cpu::{self, Window};
use crate::report::Report;

/// What a server says on standard output once it takes connections.
const LISTENING: &str = "listening on http://";

/// A server that is not ready by then never will be.
const READY_WAIT: Duration = Duration::from_secs(600);

/// Between two looks at a process or at `/readyz`; bounds the error of a start's time.
const LOOK: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, ValueEnum)]
enum Ending {
    /// SIGTERM: a clean stop.
    Term,
    /// SIGKILL.
    Kill,
}

#[derive(Args)]
pub(crate) struct StartArguments {
    /// How the server is ended once it was ready.
    #[arg(long, value_enum, default_value = "term")]
    end: Ending,
    /// The server's command line, after `--`.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(Args)]
pub(crate) struct TimeArguments {
    /// The command line, after `--`.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(crate) fn start(arguments: &StartArguments) -> Result<Report> {
    let started = Instant::now();
    let mut child = spawn(&arguments.command, Stdio::piped())?;
    let window = Window::open(&[child.id()])?;
    let outcome = wait_until_ready(&mut child, started);
    let used = window.close();
    let peak = cpu::peak_resident_kib(child.id());
    let ending = Instant::now();
    match arguments.end {
        Ending::Term if outcome.is_ok() => {
            let pid = Pid::from_child(&child);
            kill_process(pid, Signal::TERM)?;
        }
        Ending::Term | Ending::Kill => child.kill()?,
    }
    let status = child.wait()?;
    let (listening, ready) = outcome?;
    if matches!(arguments.end, Ending::Term) {
        ensure!(status.success(), "the server ended with {status}");
    }
    let mut report = Report::default();
    report
        .put("listening_ms", listening.as_millis())
        .put("ready_ms", ready.as_millis())
        .put("peak_rss_kib", peak?)
        .put("end_ms", ending.elapsed().as_millis());
    used?.put(&mut report);
    Ok(report)
}

/// The times to the line that says where it listens, and to the first good answer of `/readyz`.
fn wait_until_ready(child: &mut Child, started: Instant) -> Result<(Duration, Duration)> {
    let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
    let address: SocketAddr = loop {
        let line = lines.next().context("the server ended without listening")??;
        if let Some((_, address)) = line.split_once(LISTENING) {
            break address.trim().trim_end_matches('/').parse()?;
        }
    };
    // A server must not stop because nobody reads what it says.
    thread::spawn(move || lines.for_each(drop));
    let listening = started.elapsed();
    while started.elapsed() < READY_WAIT {
        if is_ready(address)? {
            return Ok((listening, started.elapsed()));
        }
        thread::sleep(LOOK);
    }
    bail!("the server was not ready in {READY_WAIT:?}")
}

fn is_ready(address: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(READY_WAIT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}

pub(crate) fn time(arguments: &TimeArguments) -> Result<Report> {
    let started = Instant::now();
    let mut child = spawn(&arguments.command, Stdio::null())?;
    let window = Window::open(&[child.id()])?;
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // The peak only grows, so at worst the growth of the last few milliseconds is missed. A process that has
        // ended and is not yet waited for has no memory to tell of.
        peak = cpu::peak_resident_kib(child.id()).unwrap_or(peak);
        thread::sleep(LOOK);
    };
    let wall = started.elapsed();
    ensure!(status.success(), "{} ended with {status}", arguments.command[0]);
    let mut report = Report::default();
    report.put("wall_ms", wall.as_millis()).put("peak_rss_kib", peak);
    window.close()?.put(&mut report);
    Ok(report)
}

fn spawn(command: &[String], stdout: Stdio) -> Result<Child> {
    let (program, arguments) = command.split_first().context("no command")?;
    Command::new(program).args(arguments).stdin(Stdio::null()).stdout(stdout).spawn().context(program.clone())
}
