//! `health`: asks a running server whether it is ready, for container health checks and scripts that have no HTTP client.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cli::{Common, Health};
use crate::output;

/// How long the whole question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// More than this is no answer to it.
const ANSWER_BYTES_MAX: usize = 64 << 10;

pub(crate) fn run(common: &Common, typed: &Health) -> anyhow::Result<()> {
    let address = reachable(typed.listen);
    let (status, body) = ask(address).with_context(|| format!("the server at {address} does not answer"))?;
    let told: Value = serde_json::from_slice(&body)
        .with_context(|| format!("what answers at {address} with {status} is no Scrollback server"))?;
    let state = told["status"].as_str().or(told["title"].as_str()).unwrap_or("unknown");
    if status != 200 {
        bail!("the server at {address} is not ready: {state} ({status})");
    }
    output::tell(common, &format!("{state}, head {}", told["head"]), &told)
}

/// Where an address that is listened on can be reached from here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn ask(address: SocketAddr) -> anyhow::Result<(u16, Vec<u8>)> {
    let until = Instant::now() + ANSWER_WITHIN;
    let left = || {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() { bail!("no whole answer in {ANSWER_WITHIN:?}") } else { Ok(left) }
    };
    let mut socket = TcpStream::connect_timeout(&address, left()?)?;
    socket.set_write_timeout(Some(left()?))?;
    let question = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(question.as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        socket.set_read_timeout(Some(left()?))?;
        match socket.read(&mut part)? {
            0 => break,
            read => answer.extend_from_slice(&part[..read]),
        }
        if answer.len() > ANSWER_BYTES_MAX {
            bail!("the answer has more than {ANSWER_BYTES_MAX} bytes");
        }
    }
    let split = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .context("the answer has no end of its head")?;
    let head = String::from_utf8_lossy(&answer[..split]);
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    Ok((status, answer.split_off(split + 4)))
}
