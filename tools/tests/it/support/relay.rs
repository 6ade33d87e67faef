//! A relay between clients and server, which treats connections badly: it cuts them, drips, closes one half, falls silent. It
//! can be killed and comes back at the same place.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::random::Random;
use super::reader::SILENCE;
use super::server::{Address, Way};

/// The most bytes passed on at once.
const PIECE_BYTES: usize = 16 << 10;
/// Between two drops.
const DROP_APART: Duration = Duration::from_micros(500);
/// A treatment begins after at most so many bytes.
const BEGINS_AFTER_MAX: u64 = 6_000;

/// What is done to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// All is passed on at once.
    Pass,
    /// It breaks in the middle of anything.
    Cut,
    /// Bytes come in drops.
    Drip,
    /// The client hears the end of what the server says, while the server hears nothing of it.
    DeafClient,
    /// The server hears the end of what the client says, while the client still hears the server.
    DeafServer,
    /// Nothing is passed on any more in either direction, and nobody hears of it.
    Hush,
}

impl Treatment {
    /// All by which a connection suffers.
    pub(crate) const BAD: [Self; 5] = [Self::Cut, Self::Drip, Self::DeafClient, Self::DeafServer, Self::Hush];
}

/// A running relay.
pub(crate) struct Relay {
    address: Address,
    shared: Arc<Shared>,
}

struct Shared {
    server: Address,
    treatments: Mutex<Vec<Treatment>>,
    random: Mutex<Random>,
    /// Both ends of every connection that is open.
    open: Mutex<Vec<(usize, TcpStream)>>,
    served: AtomicUsize,
    down: AtomicBool,
    over: AtomicBool,
}

impl Relay {
    /// A relay to wherever the server is at the moment; its clients come in the way that the server's address asks for, as the
    /// relay knows of bytes only. One connection after the other is treated in each of these ways.
    pub(crate) fn to(server: &Address, treatments: &[Treatment], salt: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Way { patience: Some(SILENCE), ..server.way() };
        let address = Address::at(listener.local_addr().unwrap(), way);
        let shared = Arc::new(Shared {
            server: server.clone(),
            treatments: Mutex::new(treatments.to_vec()),
            random: Mutex::new(Random::new(salt)),
            open: Mutex::default(),
            served: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if serving.over.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(client) = client
                    && !serving.down.load(Ordering::SeqCst)
                {
                    // A connection that cannot be made is dropped, and its client comes again.
                    let _ = serving.serve(client);
                }
            }
        });
        Self { address, shared }
    }

    /// Where clients find it.
    pub(crate) fn address(&self) -> Address {
        self.address.clone()
    }

    /// Breaks all connections; until it is back nobody gets through.
    pub(crate) fn kill(&self) {
        self.shared.down.store(true, Ordering::SeqCst);
        for (_, stream) in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn come_back(&self) {
        self.shared.down.store(false, Ordering::SeqCst);
    }

    /// From now on all connections are treated so.
    pub(crate) fn treat(&self, treatments: &[Treatment]) {
        *self.shared.treatments.lock().unwrap() = treatments.to_vec();
    }

    /// How many connections it has carried.
    pub(crate) fn served(&self) -> usize {
        self.shared.served.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.kill();
        // Wakes the listener up, so that it ends.
        let _ = TcpStream::connect(self.address.get());
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let Some(to) = self.server.now() else { return Ok(()) };
        let server = TcpStream::connect(to)?;
        let number = self.served.fetch_add(1, Ordering::SeqCst);
        let treatment = {
            let treatments = self.treatments.lock().unwrap();
            treatments[number % treatments.len()]
        };
        let begins_after = self.random.lock().unwrap().below(BEGINS_AFTER_MAX);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let mut open = self.open.lock().unwrap();
        open.push((number, client.try_clone()?));
        open.push((number, server.try_clone()?));
        drop(open);
        let hushed = Arc::new(AtomicBool::new(false));
        let up = Pump {
            from: client.try_clone()?,
            to: server.try_clone()?,
            from_server: false,
            treatment,
            begins_after,
            hushed: Arc::clone(&hushed),
        };
        let down = Pump { from: server, to: client, from_server: true, treatment, begins_after, hushed };
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let up = thread::spawn(move || up.run());
            down.run();
            let _ = up.join();
            shared.open.lock().unwrap().retain(|(open, _)| *open != number);
        });
        Ok(())
    }
}

/// One direction of one connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    from_server: bool,
    treatment: Treatment,
    begins_after: u64,
    hushed: Arc<AtomicBool>,
}

impl Pump {
    fn run(mut self) {
        let _ = self.pass();
        // The end of one direction is the end of the other, but where one half is closed on purpose.
        let half = match self.treatment {
            Treatment::DeafClient => self.from_server,
            Treatment::DeafServer => !self.from_server,
            _ => false,
        };
        let _ = self.to.shutdown(if half { Shutdown::Write } else { Shutdown::Both });
        if !half {
            let _ = self.from.shutdown(Shutdown::Both);
        }
    }

    fn pass(&mut self) -> io::Result<()> {
        let mut passed = 0;
        let mut piece = [0; PIECE_BYTES];
        loop {
            let count = self.from.read(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            let mut piece = &piece[..count];
            let left = self.begins_after.saturating_sub(passed).min(count as u64) as usize;
            passed += count as u64;
            if self.treatment == Treatment::Pass || left == count {
                self.pass_unless_hushed(piece)?;
                continue;
            }
            // What comes before is passed on: the treatment begins in the middle of something.
            self.pass_unless_hushed(&piece[..left])?;
            piece = &piece[left..];
            match (self.treatment, self.from_server) {
                (Treatment::Cut, _) | (Treatment::DeafClient, true) => return Ok(()),
                (Treatment::Hush, _) => self.hushed.store(true, Ordering::SeqCst),
                (Treatment::Drip, _) => {
                    for (n, drop) in piece.chunks(1 + passed as usize % 97).enumerate() {
                        self.to.write_all(drop)?;
                        if n % 8 == 0 {
                            thread::sleep(DROP_APART);
                        }
                    }
                }
                // A client says little, so its half is closed when the server has said enough.
                (Treatment::DeafServer, true) => {
                    self.from.shutdown(Shutdown::Write)?;
                    self.treatment = Treatment::Pass;
                    self.pass_unless_hushed(piece)?;
                }
                _ => self.pass_unless_hushed(piece)?,
            }
        }
    }

    fn pass_unless_hushed(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.hushed.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.to.write_all(piece)
    }
}
