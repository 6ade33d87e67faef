//! A connection's socket: plain, or inside TLS.
//!
//! An enum and not a trait object or a type parameter: a connection is plain or not for all of its life, one branch on a
//! read or write costs nothing beside the system call, and a plain socket in it is as large and does as much as on its own.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use rustls::ServerConnection;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What a client says to somebody who does not listen is thrown away in pieces of this size.
const DISCARD_BYTES: usize = 256;
/// The most parts of what is sent that one write takes together.
const PARTS_MAX: usize = 8;

/// A socket, on the runtime that watches it.
#[derive(Debug)]
pub enum Socket {
    /// Bytes go out as they are.
    Plain(TcpStream),
    /// Bytes go out encrypted, for this client alone. What is encrypted and not yet sent lies in the session, which takes
    /// nothing more before it is gone; how much that can be is a limit of the session's.
    Tls(Box<TlsStream<TcpStream>>),
}

/// What became of bytes that were to be sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All are with the system.
    All,
    /// Some are taken, and the socket is full.
    Some,
    /// None is taken: the socket is full.
    Nothing,
}

impl Socket {
    /// Brings the socket over to the runtime that this is called in.
    ///
    /// # Errors
    /// When the system refuses to.
    pub fn change_runtime(self) -> io::Result<Socket> {
        match self {
            Socket::Plain(socket) => TcpStream::from_std(socket.into_std()?).map(Socket::Plain),
            Socket::Tls(mut tls) => {
                // The session cannot be parted from its socket and joined again, so it gets a second handle to it.
                let handle = tls.get_ref().0.as_fd().try_clone_to_owned()?;
                *tls.get_mut().0 = TcpStream::from_std(handle.into())?;
                Ok(Socket::Tls(tls))
            }
        }
    }

    /// The socket below.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Socket::Plain(socket) => socket,
            Socket::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Waits until the socket may take something.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn writable(&self) -> io::Result<()> {
        self.tcp().writable().await
    }

    /// Sends what the socket takes now of `bytes` and takes that off them. Bytes that are not all sent must be followed by
    /// another call, if only with none left: encrypted ones may wait in the session.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn try_send(&mut self, bytes: &mut impl Buf) -> io::Result<Sent> {
        let mut some = false;
        loop {
            let outcome = match self {
                Socket::Plain(_) if !bytes.has_remaining() => return Ok(Sent::All),
                Socket::Plain(socket) if bytes.chunk().len() == bytes.remaining() => {
                    socket.try_write(bytes.chunk()).and_then(at_least_one)
                }
                Socket::Plain(socket) => {
                    let mut parts = [io::IoSlice::new(&[]); PARTS_MAX];
                    let parts_len = bytes.chunks_vectored(&mut parts);
                    socket.try_write_vectored(&parts[..parts_len]).and_then(at_least_one)
                }
                Socket::Tls(tls) => {
                    let (socket, session) = tls.get_mut();
                    if session.wants_write() {
                        session.write_tls(&mut Now(socket)).and_then(at_least_one).map(|_| 0)
                    } else if !bytes.has_remaining() {
                        return Ok(Sent::All);
                    } else {
                        session.writer().write(bytes.chunk()).and_then(at_least_one)
                    }
                }
            };
            match outcome {
                Ok(taken) => {
                    bytes.advance(taken);
                    some = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(if some { Sent::Some } else { Sent::Nothing });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what has come.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing has; else the connection is lost, or the client has closed it.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let tls = match self {
            Socket::Plain(socket) => return socket.try_read(buffer).and_then(at_least_one),
            Socket::Tls(tls) => tls,
        };
        let (socket, session) = tls.get_mut();
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome.and_then(at_least_one),
            }
            session.read_tls(&mut Now(socket)).and_then(at_least_one)?;
            let state = session.process_new_packets();
            // An answer to what came: new keys, or what was wrong with it.
            send_pending(socket, session);
            state.map_err(io::Error::other)?;
        }
    }

    /// Tells the client that nothing more will come, as far as the socket takes that now. Without it a client inside TLS
    /// cannot tell an end from a cut.
    pub fn say_end(&mut self) {
        if let Socket::Tls(tls) = self {
            let (socket, session) = tls.get_mut();
            session.send_close_notify();
            send_pending(socket, session);
        }
    }

    /// Bounds how much the system keeps of what is sent while the client takes nothing: it takes no more beyond that.
    pub fn bound_unsent(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        // Without it the system keeps as much as it likes, some megabytes.
        let _ = SockRef::from(self.tcp()).set_tcp_notsent_lowat(bytes);
    }

    /// Whether the client has closed the connection; if not, the task is woken when there is news. What the client said
    /// meanwhile is thrown away.
    pub fn poll_gone(&mut self, context: &mut Context<'_>) -> bool {
        while let Poll::Ready(ready) = self.tcp().poll_read_ready(context) {
            if ready.is_err() {
                return true;
            }
            let outcome = match self {
                Socket::Plain(socket) => socket.try_read(&mut [0; DISCARD_BYTES]).and_then(at_least_one),
                Socket::Tls(tls) => {
                    let (socket, session) = tls.get_mut();
                    discard(socket, session)
                }
            };
            match outcome {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return true,
                _ => {}
            }
        }
        false
    }
}

/// Reads what has come and throws it away; gives what the client's end of the session asks for.
fn discard(socket: &mut TcpStream, session: &mut ServerConnection) -> io::Result<usize> {
    let read = session.read_tls(&mut Now(socket)).and_then(at_least_one)?;
    let state = session.process_new_packets();
    // An answer to what came: new keys, or what was wrong with it.
    send_pending(socket, session);
    let state = state.map_err(io::Error::other)?;
    if state.peer_has_closed() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut left = state.plaintext_bytes_to_read();
    let mut discarded = [0; DISCARD_BYTES];
    while left > 0 {
        left = left.saturating_sub(session.reader().read(&mut discarded).and_then(at_least_one)?);
    }
    Ok(read)
}

/// Sends what the session has to say, as far as the socket takes it now.
fn send_pending(socket: &mut TcpStream, session: &mut ServerConnection) {
    while session.wants_write() && session.write_tls(&mut Now(socket)).and_then(at_least_one).is_ok() {}
}

/// Takes nothing at all for the end of the connection.
fn at_least_one(count: usize) -> io::Result<usize> {
    if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
}

/// A socket that is read and written at once or not at all.
struct Now<'a>(&'a TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Socket::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Socket::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_write_vectored(context, parts),
            Socket::Tls(tls) => Pin::new(tls).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Socket::Plain(socket) => socket.is_write_vectored(),
            Socket::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_flush(context),
            Socket::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Socket::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_socket_is_as_large_as_it_would_be_alone() {
        assert_eq!(size_of::<Socket>(), size_of::<TcpStream>());
    }
}
