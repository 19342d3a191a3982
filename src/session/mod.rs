//! One session: `Session<Client>` and `Session<Runtime>`.
//!
//! | room | what is in it | whose |
//! |---|---|---|
//! | `phase`, `timers`, `shared` | where the session stands, its deadlines, how it writes its messages | both |
//! | `heartbeat` | pings and silence (D21) | both |
//! | `outbox`, `inbox` | what waits to be sent, and to be polled, with limits (D27, D43) | both |
//! | `violations` | how often the peer broke the protocol (D43) | both |
//! | `requests`, `ack`, `reorder` | what was asked (D12), what is processed (D25), the order of events (D28) | client |
//! | `pending`, `replay`, `arena`, `pressure`, `tokens` | what it was asked (D8), what can be replayed (D19) and where it is written, back-pressure (D26), resume tokens (D3) | runtime |
//! | `opening` | the first message on a transport (D9, D13) | runtime |
//! | `snapshot` | what outlives the process, and how a session is made of it again (D3, D28, D32) | both |
//! | `client`, `runtime` | each role's life, commands and dispatch | |
//! | `config`, `event`, `error` | what the user decides, is told, and got wrong | |

mod ack;
mod arena;
mod client;
mod config;
#[cfg(feature = "model")]
mod digest;
mod error;
mod event;
mod heartbeat;
mod inbox;
mod opening;
mod outbox;
mod pending;
mod phase;
mod pressure;
mod reorder;
mod replay;
mod requests;
mod runtime;
mod shared;
mod snapshot;
mod timers;
mod tokens;
mod violations;

use alloc::string::ToString;
use core::fmt;

use bytes::Bytes;

pub use client::{Client, ClientSnapshot};
pub use config::{AckPolicy, ClientConfig, Dialect, Farewell, GapPolicy, Grant, Limits, Overflow, RuntimeConfig};
#[cfg(feature = "model")]
pub use digest::Digest;
pub use error::{
    AckError, AnswerError, CloseReason, ConnectFailure, DetachReason, ProtocolError, ResumeError, ResumeRefusal,
    SendError, Violation,
};
pub use event::{ClientEvent, Delivery, RuntimeEvent, SendCredit, SessionInfo};
pub use opening::{Hello, Opening, Refusal, RefusedBecause, ResumeAttempt, ResumeRefused};
pub use phase::Phase;
pub use requests::{RequestFailure, RequestId};
pub(crate) use runtime::Emission;
pub use runtime::{Interest, Runtime, RuntimeSnapshot, Takeover};
pub use snapshot::RestoreError;
pub(crate) use snapshot::Version as FormatVersion;
pub use timers::Timer;

use self::inbox::Inbox;
use self::shared::Shared;
use crate::feature::{Feature, FeatureSet};
use crate::time::{Instant, Now};
use crate::wire::{Envelope, FrameFault, MAX_ID_LEN, MalformedFrame, MessageType, Ping, Pong, SessionId};

/// A side of the protocol: [`Client`] or [`Runtime`]. Sealed.
///
/// Its `Event` is what [`Session::poll_event`] gives: [`ClientEvent`] or [`RuntimeEvent`].
pub trait Role: role::Machine {}

impl<R: role::Machine> Role for R {}

mod role {
    use super::{Bytes, DetachReason, Envelope, Limits, MalformedFrame, Now, Session, Timer, Violation};

    /// What the two roles do differently.
    pub trait Machine: Sized + 'static {
        /// What the session tells the application.
        type Event: Clone + core::fmt::Debug + Send + 'static;
        /// What only this role remembers.
        type State: Clone + Send + 'static;

        fn limits(state: &Self::State) -> &Limits;
        fn violation(violation: Violation) -> Self::Event;
        fn receive(session: &mut Session<Self>, now: Now, envelope: Envelope);
        fn malformed(session: &mut Session<Self>, now: Now, malformed: MalformedFrame);
        fn disconnected(session: &mut Session<Self>, now: Now);
        /// Gives the transport up, or ends the session where it cannot do without.
        fn detach(session: &mut Session<Self>, now: Now, reason: DetachReason);
        /// A timer of this role is due.
        fn fire(session: &mut Session<Self>, now: Now, timer: Timer);
        fn next_frame(session: &mut Session<Self>, now: Now) -> Option<Bytes>;
        /// Whether it is plain that there is no next frame, as at most polls; that it is not plain means nothing.
        fn has_nothing_to_send(session: &Session<Self>) -> bool;

        /// Bytes of frames that wait elsewhere than in the inbox.
        fn held_bytes(_state: &Self::State) -> usize {
            0
        }
        /// Any frame came.
        fn frame_came(_session: &mut Session<Self>) {}
        /// An event was polled, or a place in the sequence that has none.
        fn polled(_session: &mut Session<Self>, _event: Option<&Self::Event>, _seq: u64) {}
        /// The application leaves so much unpolled that the driver is not to read: what is missing may be unread.
        fn reading_paused(_session: &mut Session<Self>) {}
        /// Lets go of what is held elsewhere than in the inbox.
        fn make_room(_session: &mut Session<Self>, _now: Now) {}
        /// Takes in what only this role remembers.
        #[cfg(feature = "model")]
        fn digest(state: &Self::State, digest: &mut super::Digest<'_>, phase: super::Phase);
        /// Sets the timers that follow from this role's state.
        fn set_timers(_session: &mut Session<Self>) {}
    }
}

/// One side of one session: a state machine that is fed messages and clock ticks, and is asked for messages, events
/// and its next deadline. The [crate's documentation](crate) has the contract and the loop that drives it.
///
/// Its methods are of four kinds. `handle_*` take in what happened outside; they never fail and are legal in any phase
/// and order. `poll_*` give out what is to be done; calling them too often costs nothing and does nothing. Commands
/// of the application (`submit`, `send_event`, `close`, …) say by their `Err` what was wrong, and then have changed
/// nothing. The rest are getters.
///
/// A clone is a second session with the same ids and numbers: for tests and model checkers, not for a second transport.
pub struct Session<R: Role> {
    shared: Shared,
    inbox: Inbox<R::Event>,
    role: R::State,
}

impl<R: Role> Clone for Session<R> {
    fn clone(&self) -> Session<R> {
        Session { shared: self.shared.clone(), inbox: self.inbox.clone(), role: self.role.clone() }
    }
}

/// Where the session stands; nothing of what was sent or received, for there are secrets in it.
impl<R: Role> fmt::Debug for Session<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("phase", &self.phase())
            .field("session_id", &self.shared.session_id)
            .field("attachment", &self.shared.epoch)
            .field("features", &self.shared.features)
            .field("next_timeout", &self.shared.timers.earliest())
            .finish_non_exhaustive()
    }
}

/// In: what happened outside.
impl<R: Role> Session<R> {
    /// Takes one whole message as it came off the wire.
    ///
    /// Bytes of a transport that was given up must not be fed in: whoever keeps several transports compares
    /// [`attachment`](Session::attachment).
    pub fn handle_input(&mut self, now: Now, message: Bytes) {
        let now = self.tick(now);
        if !self.phase().is_attached() {
            return;
        }
        // What is too long is answered and not kept.
        let limit = self.limits().max_frame;
        let is_too_long = message.len() > limit;
        let kept = if is_too_long { 0 } else { message.len() };
        if !self.admits(kept, self.limits().inbound_bytes / 2) {
            R::make_room(self, now);
        }
        if self.phase().is_attached() && !self.admits(kept, self.limits().inbound_bytes) {
            R::detach(self, now, DetachReason::InboundOverflow);
        }
        if self.phase().is_attached() {
            self.shared.heartbeat.heard(now.mono);
            R::frame_came(self);
            match decode(message, is_too_long.then_some(limit)) {
                Ok(envelope) => R::receive(self, now, envelope),
                Err(malformed) => R::malformed(self, now, malformed),
            }
        }
        self.set_timers();
    }

    /// A frame came that the driver's framing could not hand over: a line over its limit
    /// ([`LineTooLong`](crate::framing::LineTooLong) converts into the fault). It is answered and counted like any
    /// other malformed frame (D39).
    pub fn handle_malformed(&mut self, now: Now, fault: FrameFault) {
        let now = self.tick(now);
        if self.phase().is_attached() {
            self.shared.heartbeat.heard(now.mono);
            R::frame_came(self);
            R::malformed(self, now, MalformedFrame { fault, id: None });
        }
        self.set_timers();
    }

    /// Bytes came, but no whole message yet: the peer lives (D21).
    pub fn handle_activity(&mut self, now: Now) {
        let now = self.tick(now);
        self.shared.heartbeat.heard(now.mono);
        self.set_timers();
    }

    /// Time has passed. Safe to call early, late and twice. A driver feeds what it has read before it calls this.
    pub fn handle_timeout(&mut self, now: Now) {
        let now = self.tick(now);
        self.set_timers();
        for timer in Timer::ALL {
            if !self.shared.timers.is_due(timer, now.mono) {
                continue;
            }
            match timer {
                Timer::Silence => R::detach(self, now, DetachReason::HeartbeatLost),
                Timer::Ping => self.ping(now),
                _ => R::fire(self, now, timer),
            }
            self.set_timers();
        }
    }

    /// The present transport is gone. The late end of an older one, given up in a takeover or before a resume, must
    /// not be told: compare [`attachment`](Session::attachment).
    pub fn handle_disconnect(&mut self, now: Now) {
        let now = self.tick(now);
        R::disconnected(self, now);
        self.shared.outbox.clear();
        self.set_timers();
    }
}

/// Out: what is to be done.
impl<R: Role> Session<R> {
    /// The next message for the transport: one envelope, no delimiter. `None`: nothing to send for now.
    #[must_use]
    #[inline]
    pub fn poll_transmit(&mut self, now: Now) -> Option<Bytes> {
        let now = self.tick(now);
        if R::has_nothing_to_send(self) {
            self.set_timers();
            return None;
        }
        self.transmit(now)
    }

    // Out of line, so that a poll for nothing has no registers to save.
    #[inline(never)]
    fn transmit(&mut self, now: Now) -> Option<Bytes> {
        let frame = R::next_frame(self, now);
        if frame.is_some() {
            self.shared.heartbeat.sent(now.mono);
        }
        self.set_timers();
        frame
    }

    /// The next event for the application.
    #[must_use]
    #[inline]
    pub fn poll_event(&mut self) -> Option<R::Event> {
        if self.inbox.is_empty() { None } else { self.next_event() }
    }

    #[inline(never)]
    fn next_event(&mut self) -> Option<R::Event> {
        let (event, seq) = self.inbox.pop()?;
        R::polled(self, event.as_ref(), seq);
        // A place without an event is passed with the event before it: it would be news after the last of them else.
        while let Some(seq) = self.inbox.pop_silent() {
            R::polled(self, None, seq);
        }
        self.set_timers();
        event
    }

    /// When to call [`handle_timeout`](Session::handle_timeout), if nothing else happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.shared.timers.earliest_at()
    }

    /// What that deadline is for.
    #[must_use]
    pub fn timeout_reason(&self) -> Option<Timer> {
        self.shared.timers.earliest().map(|(_, timer)| timer)
    }

    /// Whether to go on reading. False while events of more than half of [`Limits::inbound_bytes`] wait to be polled;
    /// the peer's silence is not held against it meanwhile (D43).
    #[must_use]
    #[inline]
    pub fn wants_input(&self) -> bool {
        if self.inbox.bytes() == 0 {
            return true;
        }
        let waiting = self.inbox.bytes().saturating_add(R::held_bytes(&self.role));
        waiting < self.limits().inbound_bytes / 2
    }
}

/// Getters.
impl<R: Role> Session<R> {
    /// Where the session stands.
    #[must_use]
    #[inline]
    pub fn phase(&self) -> Phase {
        self.shared.phase.get()
    }

    /// Which transport this is, counted from 1 (D15). Bytes of one with a smaller number must not be fed in.
    #[must_use]
    pub fn attachment(&self) -> u64 {
        self.shared.epoch
    }

    /// The features that both sides may use (A5); none before the welcome.
    #[must_use]
    pub fn features(&self) -> &FeatureSet {
        &self.shared.features
    }

    /// The session's id; `None` before the welcome.
    #[must_use]
    pub fn session_id(&self) -> Option<&SessionId> {
        self.shared.session_id.as_ref()
    }

    #[inline]
    fn limits(&self) -> &Limits {
        R::limits(&self.role)
    }
}

#[cfg(feature = "model")]
impl<R: Role> Session<R> {
    /// What the session is, in a form that is the same for two sessions of one configuration that go on alike: see
    /// [`Digest`].
    #[doc(hidden)]
    pub fn digest(&self, digest: &mut Digest<'_>) {
        let Session { shared, inbox, role } = self;
        shared.digest(digest);
        inbox.digest(digest);
        R::digest(role, digest, self.phase());
    }
}

/// What both roles do alike.
impl<R: Role> Session<R> {
    #[inline]
    fn admits(&self, len: usize, limit: usize) -> bool {
        self.inbox.admits(len, R::held_bytes(&self.role), limit)
    }

    /// Every call that brings a clock begins here.
    #[inline]
    fn tick(&mut self, now: Now) -> Now {
        let previous = self.shared.clock.mono;
        let mono = now.mono.max(previous);
        self.shared.clock = Now { mono, wall: now.wall };
        if self.wants_input() {
            self.shared.heartbeat.called(previous, mono);
        } else {
            self.shared.heartbeat.heard(mono);
            R::reading_paused(self);
        }
        self.shared.clock
    }

    /// Every call that may have changed a deadline ends here.
    #[inline]
    fn set_timers(&mut self) {
        let silence = if self.wants_input() { self.shared.heartbeat.lost_at() } else { None };
        self.shared.timers.set(Timer::Silence, silence);
        self.shared.timers.set(Timer::Ping, self.shared.heartbeat.ping_at());
        R::set_timers(self);
    }

    /// Whether the envelope is for this session; one that names none is for its transport's (D16).
    fn is_meant(&self, envelope: &Envelope) -> bool {
        envelope.is_for_session(self.session_id().map(SessionId::as_str))
    }

    fn push(&mut self, event: R::Event, frame_len: usize) {
        self.inbox.push(event, frame_len);
    }

    fn ping(&mut self, now: Now) {
        self.shared.heartbeat.pinged(now.mono);
        if self.shared.outbox.wants_ping() {
            let nonce = self.shared.mint_nonce();
            let payload = Ping { nonce: Some(nonce.as_str().into()), sent_at: Some(now.wall.to_string().into()) };
            let frame = self.shared.frame(MessageType::SessionPing, &payload);
            self.shared.outbox.set_ping(frame);
        }
    }

    /// Answers at once, also where heartbeats were not negotiated (D23).
    fn pong(&mut self, now: Now, envelope: &Envelope) {
        let id = envelope.id();
        if !self.shared.features.contains(Feature::Heartbeat) {
            self.tolerate(ProtocolError::NotNegotiated(Feature::Heartbeat), id.as_deref());
        }
        let nonce = match envelope.payload::<Ping<'_>>() {
            Ok(ping) => ping.nonce.unwrap_or_default(),
            Err(error) => return self.tolerate(bad_payload(MessageType::SessionPing, error.reason()), id.as_deref()),
        };
        if nonce.len() > MAX_ID_LEN {
            return self.tolerate(bad_payload(MessageType::SessionPing, "the nonce is too long"), id.as_deref());
        }
        let payload = Pong { ping_nonce: Some(nonce), received_at: Some(now.wall.to_string().into()) };
        let frame = self.shared.frame(MessageType::SessionPong, &payload);
        self.shared.outbox.push_pong(frame, R::limits(&self.role));
    }

    /// Queues a control message. One too many, and the transport is given up (D43).
    fn control(&mut self, now: Now, frame: Bytes) {
        if self.shared.outbox.push_control(frame, R::limits(&self.role)).is_err() {
            R::detach(self, now, DetachReason::ControlOverflow);
        }
    }

    /// Tells of a violation; says whether it was one too many.
    fn violate(&mut self, error: ProtocolError, message_id: Option<&str>) -> bool {
        let is_too_many = self.shared.violations.is_too_many(&error, R::limits(&self.role).violations);
        self.push(R::violation(Violation { error, message_id: message_id.map(Into::into) }), 0);
        is_too_many
    }

    /// Tells, once a kind and attachment, of what is merely ignored or tolerated (D43).
    fn tolerate(&mut self, error: ProtocolError, message_id: Option<&str>) {
        if self.shared.violations.is_news(&error) {
            self.push(R::violation(Violation { error, message_id: message_id.map(Into::into) }), 0);
        }
    }
}

/// Decodes a message; one that is over the `limit` only as far as its answer must name it.
fn decode(message: Bytes, limit: Option<usize>) -> Result<Envelope, MalformedFrame> {
    let decoded = Envelope::decode(message);
    let Some(limit) = limit else { return decoded };
    let id = match decoded {
        Ok(envelope) => envelope.id().map(|id| (*id).into()),
        Err(malformed) => malformed.id,
    };
    Err(MalformedFrame { fault: FrameFault::TooLarge { limit }, id })
}

fn bad_payload(message: MessageType, detail: &str) -> ProtocolError {
    ProtocolError::BadPayload { message, detail: detail.into() }
}
