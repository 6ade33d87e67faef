//! A client of Scrollback, a chat server whose memory is one append-only log.
//!
//! A [`Client`] is a server and a token. It [boots](Client::boot), [sends](Client::send), and [follows](Client::follow): a
//! [`Follower`] keeps the [`State`] of what the user may see up to date, event by event, comes back by itself when the
//! server was away, and goes on exactly where it was: nothing is missed, nothing is seen twice.
//!
//! ```no_run
//! use scrollback_client::{Client, Transport, Update};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:8080", &std::env::var("SCROLLBACK_TOKEN")?)?;
//! let mut follower = client.follow(Transport::Sse);
//! // It ends only when it is no use to go on: when the token was revoked, say.
//! loop {
//!     match follower.next().await? {
//!         Update::Booted(_) => println!("everything anew"),
//!         Update::Event(event) => println!("{event:?}"),
//!         Update::Away { why, retry_in } => println!("{why}; next try in {retry_in:?}"),
//!         _ => {}
//!     }
//!     for channel in follower.state().into_iter().flat_map(|state| state.channels()) {
//!         println!("{}", channel.name);
//!     }
//! }
//! # }
//! ```
//!
//! A [`State`] can be written to a disk by serde and [gone on with](Client::resume) a year later.
//!
//! Who wants the events themselves and no state reads the [tail](Client::tail) of the log, by filters and from any place on.
//!
//! Who only wants to know that channels have changed, and reads what is of interest by other calls, [watches](Client::watch)
//! them: a [`Watch`] tells their newest offsets, and loses none of them for good whatever goes wrong on the way.
//!
//! ```no_run
//! use scrollback_client::{Client, Notice, WatchOptions, Watched};
//!
//! # async fn example(client: Client, channel: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let mut watch = client.watch(Watched::new().channel(channel), WatchOptions::default());
//! loop {
//!     match watch.next().await? {
//!         Notice::Changed { channel, offset } => println!("{channel} has changed: read it up to {offset}"),
//!         Notice::Gone { channel, why } => println!("{channel} is gone: {why:?}"),
//!         Notice::Elsewhere(_) => println!("what was read is of another log; every channel is told anew"),
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! It runs inside a tokio runtime with time and I/O enabled.

mod backoff;
mod client;
mod error;
mod event;
mod feed;
mod follower;
mod link;
mod send;
mod shapes;
mod state;
mod stream;
mod tail;
mod watch;

pub use client::{Client, Download};
pub use error::{Away, Ended, Error, Problem, SendError, SetupError};
pub use event::{Event, Reason, Role, What};
pub use follower::{Boots, Follower, Update};
pub use http::Method;
pub use shapes::{Boot, Channel, Message, User};
pub use state::State;
pub use stream::{Elsewhere, Start, Transport};
pub use tail::{RawEvent, Tail, TailOptions, Tailed};
pub use watch::{Gone, Means, Notice, Watch, WatchOptions, Watched};
