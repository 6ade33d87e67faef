//! Sockets in large numbers: source addresses, the limit of open files, a runtime of one thread.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// Streams from one source address; a server may bound them per address, and ports are finite.
const STREAMS_PER_SOURCE: usize = 1_000;

/// A connection or an answer that takes longer has failed.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Everything in this driver waits on sockets and computes little.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Raises the number of files this process may open to the most it may ask for.
pub(crate) fn raise_open_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("raising the limit of open files")
}

/// Connects without delaying small writes.
pub(crate) async fn connect(server: SocketAddr) -> Result<TcpStream> {
    let stream = tokio::time::timeout(ANSWER_WAIT, TcpStream::connect(server)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects as the `index`-th of many streams, from one of several loopback addresses.
pub(crate) async fn connect_nth(server: SocketAddr, index: usize) -> Result<TcpStream> {
    let stream = connect_from(server, 2 + index / STREAMS_PER_SOURCE).await;
    stream.with_context(|| format!("stream {index}"))
}

/// Connects from the loopback address 127.0.0.`last`, without delaying small writes.
pub(crate) async fn connect_from(server: SocketAddr, last: usize) -> Result<TcpStream> {
    let source = Ipv4Addr::new(127, 0, 0, u8::try_from(last)?);
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
    let stream = tokio::time::timeout(ANSWER_WAIT, socket.connect(server)).await?;
    let stream = stream.with_context(|| format!("from {source}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
