//! The accept loop: who may connect, and how a stop ends what is connected.
//!
//! It stands in for the HTTP library's own server, which has no limit on connections, no time limits, no `TCP_NODELAY` and
//! no end to its draining. A connection that becomes a stream moves to another runtime, so that a request does not wait
//! while thousands of streams are written to.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use warp::reply::Response;

use super::addresses::{Addresses, Entered};
pub use super::connection::Peer;
use super::connection::{Handed, Limits, converse, refuse};
use super::handoff::Opened;
use super::tls::{Stranger, Tls};
use crate::figures::figures;
use crate::settings::Settings;
use crate::socket::Socket;

/// How long to wait after the system could not give a connection, mostly for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// How long sent bytes of a stream may stay without an acknowledgement before the system gives the connection up. Before it is
/// a stream it has the write timeout for that: what waits in the system is no better than what waits here.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);
/// After how long without any traffic the system asks whether the peer is still there, and how often.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// How many connections did not end in time and were cut.
    pub cut: usize,
}

/// Serves `service` on `listener` until `stopping` turns true, and then at most the drain timeout longer: no new
/// connections, the requests under way get their answers, and streams are told to end by their own means. Streams run on
/// the runtime `streams`. With `tls` everything is inside TLS.
pub async fn serve<S>(
    listener: TcpListener,
    service: S,
    settings: &Settings,
    tls: Option<Arc<Tls>>,
    mut stopping: watch::Receiver<bool>,
    streams: &Handle,
) -> Drained
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let limits = Limits {
        head_bytes_max: settings.connections.head_bytes_max,
        head_timeout: settings.connections.head_timeout,
        write_timeout: settings.streams.write_timeout,
    };
    let permits = Arc::new(Semaphore::new(settings.connections.total_max.min(Semaphore::MAX_PERMITS)));
    let addresses = Addresses::new(settings);
    let mut connections =
        Connections { tasks: JoinSet::new(), streams, write_timeout: settings.streams.write_timeout };
    loop {
        let stopped = stopping.clone();
        let (socket, peer, permit) = tokio::select! {
            biased;
            // A sender that is gone will not stop anything; it went with whoever wanted the server.
            // What it gives is a lock's guard, which must not live on into the other branches.
            () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => break,
            Some(()) = connections.settle_next() => continue,
            accepted = accept(&listener, &permits, limits.write_timeout) => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            }
        };
        let open = Open::new(permit);
        match addresses.connect(peer.ip()) {
            Ok(entered) => {
                let (service, addresses, tls) = (service.clone(), Arc::clone(&addresses), tls.clone());
                let held = Held { _open: open, _entered: entered };
                connections.tasks.spawn(async move {
                    let socket = match tls {
                        None => Socket::Plain(socket),
                        Some(tls) => {
                            Box::pin(shake_hands(&tls, socket, peer, limits, stopped.clone())).await?
                        }
                    };
                    let handed = converse(socket, peer, service, limits, addresses, stopped).await?;
                    Some((handed, held))
                });
            }
            // A handshake only to say this would cost more than the connection that is refused.
            Err(_) if tls.is_some() => {}
            Err(problem) => {
                connections.tasks.spawn(async move {
                    let _held = open;
                    refuse(Socket::Plain(socket), problem).await;
                    None
                });
            }
        }
    }
    drop(listener);
    connections.drain(settings.drain_timeout).await
}

/// Does the handshake on a new connection, within the time for a head and only until the server stops.
async fn shake_hands(
    tls: &Tls,
    socket: TcpStream,
    peer: SocketAddr,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) -> Option<Socket> {
    let shaken = tokio::select! {
        biased;
        () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => return None,
        shaken = timeout(limits.head_timeout, tls.shake_hands(socket)) => shaken,
    };
    let error = match shaken {
        Ok(Ok(socket)) => return Some(socket),
        Ok(Err(Stranger::Plain(socket, problem))) => {
            refuse(Socket::Plain(socket), problem).await;
            return None;
        }
        Ok(Err(Stranger::Lost(error))) => error,
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    figures().handshakes_failed.increment(1);
    tracing::debug!(%peer, %error, "a TLS handshake failed");
    None
}

/// The tasks of all connections. One that ends with a connection that is to become a stream is followed by the stream's.
struct Connections<'a> {
    tasks: JoinSet<Option<(Handed, Held)>>,
    streams: &'a Handle,
    write_timeout: Duration,
}

impl Connections<'_> {
    /// Waits until a task has ended, and lets its stream begin, if there is to be one. None when there is no task.
    async fn settle_next(&mut self) -> Option<()> {
        match self.tasks.join_next().await? {
            Ok(Some((handed, held))) => self.begin(handed, held),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "a connection's task has died"),
        }
        Some(())
    }

    fn begin(&mut self, Handed { opened, stream, entered }: Handed, held: Held) {
        let Opened { socket, head, framing, early } = opened;
        // Sockets belong to the runtime that watches them.
        let moved = {
            let _entered = self.streams.enter();
            socket.change_runtime()
        };
        match moved {
            Ok(socket) => {
                // It still has the shorter time if that fails.
                let _ = SockRef::from(socket.tcp()).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
                let write_timeout = self.write_timeout;
                let stream = async move {
                    let _held = (held, entered);
                    // A socket that is new to a runtime is taken for full until it is asked.
                    if matches!(timeout(write_timeout, socket.writable()).await, Ok(Ok(()))) {
                        stream(Opened { socket, head, framing, early }).await;
                    }
                    None
                };
                self.tasks.spawn_on(stream, self.streams);
            }
            Err(error) => tracing::warn!(%error, "a connection could not become a stream"),
        }
    }

    async fn drain(mut self, within: Duration) -> Drained {
        let _ = timeout(within, async { while self.settle_next().await.is_some() {} }).await;
        let cut = self.tasks.len();
        if cut > 0 {
            tracing::warn!(connections = cut, "these did not end in time and are cut");
            self.tasks.shutdown().await;
        }
        Drained { cut }
    }
}

/// What a connection holds for as long as it is open.
struct Held {
    _open: Open,
    _entered: Option<Entered>,
}

/// Waits for room and then for a connection, so that those for which there is no room wait in the system's queue.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    write_timeout: Duration,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    options.set_tcp_user_timeout(Some(write_timeout))?;
    options
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY))?;
    Ok((socket, peer, permit))
}

/// An open connection, counted.
struct Open {
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(permit: OwnedSemaphorePermit) -> Open {
        figures().connections.increment(1);
        figures().connections_open.increment(1);
        Open { _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        figures().connections_open.decrement(1);
    }
}

#[cfg(test)]
pub(super) mod tests;
