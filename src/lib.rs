//! The session layer of ARCP v1.1, the Agent Runtime Control Protocol, as a pure state machine: bytes and clock ticks
//! in; outbound messages and events out. No socket, no clock, no thread, no async runtime and no randomness inside.
//! The same inputs always give the same outputs, byte for byte.
//!
//! [`Session<Client>`](Session) submits, watches and controls jobs; [`Session<Runtime>`](Session) runs them. Both
//! authenticate, negotiate features, keep themselves alive, acknowledge events, push back when the consumer is slow,
//! survive a lost transport by replaying what was missed, list jobs, and end politely. What a job *is*, who may run
//! it, and the socket under it are the application's.
//!
//! # The contract
//!
//! 1. *Eager*: all that an input causes is queued before the call returns.
//! 2. *Drained is drained*: after one round in which both polls return `None` they keep doing so until the next input
//!    or `poll_timeout()`.
//! 3. *Sleeping is safe*: a driver that sleeps exactly until `poll_timeout()` misses nothing.
//! 4. *Deadlines move*: after `handle_timeout(now)`, `poll_timeout()` is `None` or later than `now`.
//!
//! Every call is safe in any phase: inputs never fail, an `Err` has changed nothing, and polling too often costs nothing and
//! does nothing. What a driver has to keep apart is transports: what comes of an old one is not fed in once there is a new
//! one ([`Session::attachment`]).
//!
//! # The loop
//!
//! A driver owns the transport and the clock, and goes round: send, attend to events, wait. Here in blocking std, with
//! one message a line and a thread that reads them:
//!
#![cfg_attr(feature = "std", doc = "```")]
#![cfg_attr(not(feature = "std"), doc = "```ignore")]
//! use std::io::{self, Write};
//! use std::sync::mpsc::{Receiver, RecvTimeoutError};
//! use std::time::Duration;
//!
//! use arcp_proto::framing::{LineTooLong, finish_line};
//! use arcp_proto::{Client, ClientEvent, Clock, Now, Session};
//! use bytes::Bytes;
//!
//! /// Runs until the transport is done with: the session is closed then, or may be resumed on another one.
//! fn drive(
//!     session: &mut Session<Client>,
//!     clock: &Clock,
//!     incoming: &Receiver<Result<Bytes, LineTooLong>>,
//!     outgoing: &mut impl Write,
//!     mut attend: impl FnMut(&mut Session<Client>, Now, ClientEvent),
//! ) -> io::Result<()> {
//!     loop {
//!         // 1. Send what there is to send.
//!         let mut lines = Vec::new();
//!         while let Some(message) = session.poll_transmit(clock.now()) {
//!             finish_line(&message, &mut lines);
//!         }
//!         outgoing.write_all(&lines)?;
//!         outgoing.flush()?;
//!
//!         // 2. Attend to an event, which may give more to send.
//!         if let Some(event) = session.poll_event() {
//!             attend(session, clock.now(), event);
//!             continue;
//!         }
//!         if !session.phase().is_attached() {
//!             return Ok(());
//!         }
//!
//!         // 3. Wait for a message or the deadline, whichever is first. What was read goes before the time, but a peer
//!         //    that never pauses does not stop the clock.
//!         let wait = session.poll_timeout().map_or(Duration::MAX, |at| clock.sleep_for(at));
//!         match incoming.recv_timeout(wait) {
//!             Ok(Ok(message)) => session.handle_input(clock.now(), message),
//!             Ok(Err(too_long)) => session.handle_malformed(clock.now(), too_long.into()),
//!             Err(RecvTimeoutError::Timeout) => {}
//!             Err(RecvTimeoutError::Disconnected) => session.handle_disconnect(clock.now()),
//!         }
//!         if session.poll_timeout().is_some_and(|at| clock.sleep_for(at).is_zero()) {
//!             session.handle_timeout(clock.now());
//!         }
//!     }
//! }
//! ```
//!
//! `attend` calls [`mark_processed`](Session::mark_processed) with the [`seq`](ClientEvent::seq) of each event that it has
//! dealt with: without that the runtime's window fills, and it stops ([`AckPolicy::OnPoll`] does it by itself). A driver that
//! reads from a socket reads on only while [`wants_input`](Session::wants_input) says so, and tells bytes of a message that
//! is not whole yet by [`handle_activity`](Session::handle_activity): a long one is a sign of life, too.
//!
//! A client that has lost its transport opens another and resumes as soon as that stands, for the welcome has to come
//! within [`ClientConfig::handshake_timeout`] of the call. Until it stands, the session has deadlines, as its resume window.
//! A byte stream gets a [`LineDecoder`](framing::LineDecoder) of its own each time:
//!
#![cfg_attr(feature = "std", doc = "```")]
#![cfg_attr(not(feature = "std"), doc = "```ignore")]
//! use std::error::Error;
//! use std::io;
//! use std::net::TcpStream;
//! use std::time::Duration;
//!
//! use arcp_proto::{Client, Clock, Phase, Session};
//!
//! fn come_back(
//!     session: &mut Session<Client>,
//!     clock: &Clock,
//!     mut connect: impl FnMut() -> io::Result<TcpStream>,
//!     mut drive: impl FnMut(&mut Session<Client>, TcpStream) -> io::Result<()>,
//! ) -> Result<(), Box<dyn Error>> {
//!     while session.phase() == Phase::Detached {
//!         match connect() {
//!             Ok(transport) => {
//!                 session.resume(clock.now())?;
//!                 if drive(session, transport).is_err() {
//!                     session.handle_disconnect(clock.now());
//!                 }
//!             }
//!             Err(_) => {
//!                 std::thread::sleep(Duration::from_secs(1));
//!                 session.handle_timeout(clock.now());
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A runtime has many sessions, and an [`endpoint`] for them. Whoever does without drives each of its sessions in the same
//! way, and has a few things more to see to:
//!
//! - The first message of a transport goes to [`Opening::parse`], within a time of the driver's (10 s). What it gives is
//!   accepted, resumed or refused; until then nothing more is read, or it is held and fed in behind the verdict. A
//!   refusal is sent, then the transport closed.
//! - A call from elsewhere, such as `send_event` by a job, gives messages to send and may move the deadline: it wakes the
//!   driver that waits.
//! - `Detached` and `Closed` that did not come from `handle_disconnect`: drain `poll_transmit` once more, then close the
//!   transport. A detached session still has deadlines, and needs its `handle_timeout`.
//! - After a [`resume`](Session#method.resume-1) the session speaks to the new transport. [`Takeover::farewell`] goes to
//!   the old one, which is then closed, and whatever still comes from it, its end included, is dropped:
//!   [`Session::attachment`] tells the two apart.
//! - What must outlive the process is [stored](Session#method.snapshot-1) before it is sent: each event, and a header before
//!   each welcome. A client has [its own](Session#method.snapshot).
//!
//! # Words
//!
//! An *attachment* is the time that a session spends on one transport; attachments are counted (the *epoch*). A session is
//! *detached* between two of them. The *window* of a session is its replay buffer; its *floor* is the highest event
//! freed from it. The *resume window* is how long a detached session can be resumed.
//!
//! # The modules
//!
//! | module | what it is |
//! |---|---|
//! | the root | [`Session`], its events, errors and configuration; [`Opening`], the first message on a transport |
//! | [`endpoint`] | many sessions of a runtime, their transports and their jobs |
//! | [`referee`] | a passive eye on both directions: which rule was broken, by whom |
//! | [`framing`] | a byte stream cut into messages |
//! | [`wire`] | one message: bytes ⇄ envelope, payload types, ids, codes |
//!
//! # Features
//!
//! `std` (default): `Clock`, which reads the operating system's clocks, and `Secrets`, which draws resume
//! tokens and session ids from its entropy. Without it the crate needs `alloc` alone.
//!
//! `model`: `Session::digest`, by which the model checker in the repository knows a state again. It is no part of the
//! stable interface, and nothing else needs it.
//!
//! Numbers in these docs: `§…` is a section of the [draft]; `A…` and `D…` are the requirements and decisions that
//! this crate was built to, listed in [`decisions`].
//!
//! [draft]: https://github.com/agentruntimecontrolprotocol/spec
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "std")]
mod clock;
/// The requirements and decisions by their numbers: a page of these docs, and no module of the crate.
///
#[cfg(doc)]
#[doc = include_str!("../docs/decisions.md")]
pub mod decisions {}
mod digits;
pub mod endpoint;
mod feature;
pub mod framing;
pub mod referee;
#[cfg(feature = "std")]
mod secrets;
mod session;
mod time;
pub mod wire;

#[cfg(feature = "std")]
pub use clock::Clock;
pub use feature::{Feature, FeatureSet};
#[cfg(feature = "std")]
pub use secrets::{EntropyError, Secrets};
#[cfg(feature = "model")]
#[doc(hidden)]
pub use session::Digest;
pub use session::{
    AckError, AckPolicy, AnswerError, Client, ClientConfig, ClientEvent, ClientSnapshot, CloseReason, ConnectFailure,
    Delivery, DetachReason, Dialect, Farewell, GapPolicy, Grant, Hello, Interest, Limits, Opening, Overflow, Phase,
    ProtocolError, Refusal, RefusedBecause, RequestFailure, RequestId, RestoreError, ResumeAttempt, ResumeError,
    ResumeRefusal, ResumeRefused, Role, Runtime, RuntimeConfig, RuntimeEvent, RuntimeSnapshot, SendCredit, SendError,
    Session, SessionInfo, Takeover, Timer, Violation,
};
pub use time::{Instant, Now, Timestamp, TimestampError};

#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;
