//! The client's side of a session: its life and its commands.

mod ask;
mod handshake;
mod receive;
mod snapshot;

use alloc::sync::Arc;

use bytes::Bytes;

pub use snapshot::ClientSnapshot;

use super::Session;
use super::ack::Acks;
use super::config::{ClientConfig, Farewell, Limits};
use super::error::{
    AckError, CloseReason, ConnectFailure, DetachReason, ProtocolError, ResumeError, SendError, Violation,
};
use super::event::{ClientEvent, SessionInfo};
use super::phase::{Phase, Step};
use super::reorder::Reorder;
use super::requests::{RequestFailure, Requests};
use super::role::Machine;
use super::timers::Timer;
use crate::feature::Feature;
use crate::time::{Instant, Now};
use crate::wire::{Ack, Bye, Credentials, Envelope, MalformedFrame, MessageType, ResumeToken};

/// The role of whoever submits, watches and controls jobs.
#[derive(Clone, Copy, Debug)]
pub enum Client {}

/// What only a client remembers.
#[derive(Clone)]
pub struct State {
    config: Arc<ClientConfig>,
    /// Renewed ones, in place of the configuration's.
    credentials: Option<Credentials>,
    token: Option<ResumeToken>,
    info: Option<Arc<SessionInfo>>,
    acks: Acks,
    order: Reorder,
    requests: Requests,
    /// When the lost or ended session can no longer be resumed (D17).
    window_ends: Instant,
}

/// Beginning and end.
impl Session<Client> {
    /// Begins a session: the hello is ready to be sent. `Connected` follows when the welcome has come (A2), or
    /// `Closed` if it has not.
    #[must_use]
    pub fn connect(now: Now, config: impl Into<Arc<ClientConfig>>) -> Session<Client> {
        handshake::connect(now, config.into())
    }

    /// Begins a new transport for a detached session: a hello that resumes it is ready to be sent (§6.3, D13).
    /// `Resumed` follows, or `Detached` if this attempt failed and another may succeed, or `Closed` if the runtime
    /// refused.
    ///
    /// # Errors
    ///
    /// When the session is not detached (or its window has run out just now), the runtime gave no token to resume
    /// with, or too many events wait to be polled.
    pub fn resume(&mut self, now: Now) -> Result<(), ResumeError> {
        if self.phase() == Phase::Detached {
            // The window may have run out just now.
            self.handle_timeout(now);
        }
        match self.phase() {
            Phase::Detached => {}
            Phase::Closed => return Err(ResumeError::Closed),
            phase => return Err(ResumeError::NotDetached(phase)),
        }
        if self.role.token.is_none() {
            return Err(ResumeError::NoToken);
        }
        if !self.wants_input() {
            return Err(ResumeError::EventsPending);
        }
        self.begin_resume(self.shared.clock);
        self.set_timers();
        Ok(())
    }

    /// Ends the session politely (A13): what is processed is acknowledged, `session.bye` goes out, and events are
    /// delivered until the runtime has answered, at most [`ClientConfig::close_timeout`]. Then `Closed`; at once
    /// where there is no open transport, or it is lost. Jobs go on. Whoever must not miss an event that was on its way then
    /// takes a [`snapshot`](Session#method.snapshot) before, and resumes of it.
    pub fn close(&mut self, now: Now, reason: &str) {
        let now = self.tick(now);
        if self.phase() == Phase::Open && self.shared.phase.step(Step::CloseAsked) {
            let message = match self.role.config.farewell {
                Farewell::Bye => MessageType::SessionBye,
                Farewell::Close => MessageType::SessionClose,
            };
            let frame = self.shared.frame(message, &Bye::because(reason));
            self.shared.outbox.set_farewell([frame]);
            self.role.acks.flush();
            self.shared.heartbeat.stop();
            self.shared.timers.set(Timer::Close, Some(now.mono + self.role.config.close_timeout));
        } else if !matches!(self.phase(), Phase::Closing | Phase::Closed) {
            self.end(CloseReason::Requested);
            self.shared.outbox.clear();
        }
        self.set_timers();
    }

    /// Takes other credentials for the next resume, where the first have run out meanwhile.
    pub fn set_credentials(&mut self, credentials: Credentials) {
        self.role.credentials = Some(credentials);
    }

    /// What the welcome said; `None` before it.
    #[must_use]
    pub fn info(&self) -> Option<&Arc<SessionInfo>> {
        self.role.info.as_ref()
    }

    /// The token for the next resume: rotated by every welcome.
    #[must_use]
    pub fn resume_token(&self) -> Option<&ResumeToken> {
        self.role.token.as_ref()
    }

    /// The highest event up to which all were received (D28).
    #[must_use]
    pub fn last_event_seq(&self) -> u64 {
        self.role.order.received()
    }

    /// The highest event up to which all are marked as processed (D25).
    #[must_use]
    pub fn last_processed_seq(&self) -> u64 {
        self.role.acks.processed()
    }
}

/// Acknowledgements.
impl Session<Client> {
    /// Says that all events up to `seq` are durably processed (A9). The session acknowledges them with others
    /// within [`ClientConfig::ack_delay`].
    ///
    /// All that has a place in the sequence is to be marked, a job's end, too: see [`ClientEvent::seq`]. Without `ack`
    /// nothing is said to the runtime.
    ///
    /// Whoever forgets this under [`AckPolicy::Manual`](crate::AckPolicy::Manual) fills the runtime's window and stops
    /// it: see [`ClientEvent::Lagging`].
    ///
    /// # Errors
    ///
    /// When `seq` has not been polled yet, or lies behind an earlier mark.
    pub fn mark_processed(&mut self, now: Now, seq: u64) -> Result<(), AckError> {
        let now = self.tick(now);
        let batch = self.role.config.ack_batch;
        self.role.acks.mark(seq, now.mono, batch)?;
        self.set_timers();
        Ok(())
    }

    /// Acknowledges what is marked with the next transmission, without waiting for more.
    ///
    /// # Errors
    ///
    /// When `ack` was not negotiated, or the session is not open.
    pub fn flush_acks(&mut self, now: Now) -> Result<(), SendError> {
        self.tick(now);
        self.check_open(Some(Feature::Ack))?;
        self.role.acks.flush();
        self.set_timers();
        Ok(())
    }
}

impl Session<Client> {
    /// The end: requests fail, `Closed` is told.
    fn end(&mut self, reason: CloseReason) {
        if self.phase() == Phase::Closing {
            // Nothing fills a hole any more, and what came behind it is here.
            while self.role.order.held_bytes() > 0 {
                self.give_up_hole(self.shared.clock, u64::MAX);
            }
        }
        let is_attached = matches!(self.phase(), Phase::Open | Phase::Closing);
        if self.shared.phase.step(Step::Ended) {
            if is_attached {
                // For a snapshot: the other side can be resumed still (D32).
                self.role.window_ends = self.shared.clock.mono + self.window();
            }
            self.fail_requests();
            self.role.order.drop_held();
            self.shared.end();
            self.push(ClientEvent::Closed(reason), 0);
        }
    }

    /// Once the application is far behind with its marks.
    fn tell_lag(&mut self) {
        let after = self.role.config.lagging_after;
        let can_mark = self.phase() != Phase::Closed && self.shared.features.contains(Feature::Ack);
        if can_mark && self.role.acks.tells_lag(after) {
            self.push(ClientEvent::Lagging { unprocessed: self.role.acks.unprocessed() }, 0);
        }
    }

    fn fail_requests(&mut self) {
        while let Some(request) = self.role.requests.disconnect() {
            self.push(ClientEvent::RequestFailed { request, failure: RequestFailure::Disconnected }, 0);
        }
    }

    /// How long a lost session may be resumed (D17).
    fn window(&self) -> core::time::Duration {
        let window = self.role.info.as_ref().map(|info| info.resume_window).unwrap_or_default();
        match self.role.config.give_up_after {
            Some(longer) if self.shared.features.contains(Feature::Ack) => longer,
            Some(other) => window.min(other),
            None => window,
        }
    }
}

impl Machine for Client {
    type Event = ClientEvent;
    type State = State;

    fn limits(state: &State) -> &Limits {
        &state.config.limits
    }

    fn held_bytes(state: &State) -> usize {
        state.order.held_bytes()
    }

    fn violation(violation: Violation) -> ClientEvent {
        ClientEvent::Violation(violation)
    }

    fn receive(session: &mut Session<Client>, now: Now, envelope: Envelope) {
        if session.phase().is_handshake() {
            session.receive_in_handshake(now, &envelope);
        } else {
            session.receive(now, envelope);
        }
    }

    fn malformed(session: &mut Session<Client>, now: Now, malformed: MalformedFrame) {
        let is_handshake = session.phase().is_handshake();
        let too_many = session.violate(ProtocolError::Malformed(malformed.fault), malformed.id.as_deref());
        if is_handshake {
            Client::detach(session, now, DetachReason::HandshakeFailed);
        } else if too_many {
            Client::detach(session, now, DetachReason::TooManyViolations);
        }
    }

    fn disconnected(session: &mut Session<Client>, now: Now) {
        if session.phase().is_attached() {
            Client::detach(session, now, DetachReason::TransportLost);
        }
    }

    fn detach(session: &mut Session<Client>, now: Now, reason: DetachReason) {
        match session.phase() {
            Phase::Connecting => session.end(CloseReason::ConnectFailed(match reason {
                DetachReason::TransportLost => ConnectFailure::TransportLost,
                _ => ConnectFailure::Protocol,
            })),
            Phase::Closing => session.end(CloseReason::Requested),
            Phase::Open | Phase::Resuming if session.shared.phase.step(Step::Cut) => {
                session.shared.cut();
                session.fail_requests();
                session.role.order.drop_held();
                if !session.shared.timers.is_set(Timer::ResumeWindow) {
                    let end = now.mono + session.window();
                    session.role.window_ends = end;
                    session.shared.timers.set(Timer::ResumeWindow, Some(end));
                }
                session.push(ClientEvent::Detached(reason), 0);
            }
            _ => {}
        }
    }

    fn fire(session: &mut Session<Client>, now: Now, timer: Timer) {
        match timer {
            Timer::Handshake if session.phase() == Phase::Connecting => {
                session.end(CloseReason::ConnectFailed(ConnectFailure::Timeout));
            }
            Timer::Handshake => Client::detach(session, now, DetachReason::HandshakeFailed),
            Timer::Ack => session.role.acks.flush(),
            Timer::Request => {
                while let Some(request) = session.role.requests.expire(now.mono) {
                    session.push(ClientEvent::RequestFailed { request, failure: RequestFailure::TimedOut }, 0);
                }
            }
            Timer::Reorder => {
                let timeout = session.role.config.reorder_timeout;
                while session.role.order.deadline(timeout).is_some_and(|at| at <= now.mono) {
                    session.give_up_hole(now, u64::MAX);
                }
            }
            Timer::Close => session.end(CloseReason::Requested),
            Timer::ResumeWindow => session.end(CloseReason::ResumeWindowExpired),
            _ => {}
        }
    }

    fn next_frame(session: &mut Session<Client>, _now: Now) -> Option<Bytes> {
        if let Some(frame) = session.shared.outbox.next_control(u32::MAX) {
            return Some(frame);
        }
        let may_ack = matches!(session.phase(), Phase::Open | Phase::Closing)
            && session.shared.features.contains(Feature::Ack)
            && !session.shared.outbox.is_sealed();
        if may_ack && session.phase() == Phase::Closing {
            // What was marked since the goodbye was asked for goes before it, too.
            session.role.acks.flush();
        }
        if may_ack && let Some(last_processed_seq) = session.role.acks.take() {
            return Some(session.shared.frame(MessageType::SessionAck, &Ack { last_processed_seq }));
        }
        session.shared.outbox.next_farewell()
    }

    #[inline]
    fn has_nothing_to_send(session: &Session<Client>) -> bool {
        session.shared.outbox.is_empty() && session.phase() == Phase::Open && !session.role.acks.is_due()
    }

    fn polled(session: &mut Session<Client>, event: Option<&ClientEvent>, seq: u64) {
        let now = session.shared.clock.mono;
        let batch = session.role.config.ack_batch;
        match event {
            Some(ClientEvent::EventsLost { from, to }) => session.role.acks.skipped(*from, *to, now, batch),
            Some(event) if event.seq().is_some() => {
                session.role.acks.polled(seq, now, batch);
                session.tell_lag();
            }
            _ if seq != 0 => session.role.acks.skipped(seq, seq, now, batch),
            _ => {}
        }
    }

    fn reading_paused(session: &mut Session<Client>) {
        session.role.order.restart(session.shared.clock.mono);
    }

    fn make_room(session: &mut Session<Client>, now: Now) {
        if session.role.order.held_bytes() > 0 {
            session.give_up_hole(now, u64::MAX);
        }
    }

    #[cfg(feature = "model")]
    fn digest(state: &State, digest: &mut super::Digest<'_>, phase: Phase) {
        state.digest(digest, phase);
    }

    fn set_timers(session: &mut Session<Client>) {
        let config = &session.role.config;
        let is_open = session.phase() == Phase::Open;
        let acks = is_open && session.shared.features.contains(Feature::Ack);
        let ack = if acks { session.role.acks.deadline(config.ack_delay) } else { None };
        // What is missing may wait unread while the driver does not read.
        let reads = session.wants_input();
        let reorder = session.role.order.deadline(config.reorder_timeout).filter(|_| reads);
        let timers = &mut session.shared.timers;
        timers.set(Timer::Ack, ack);
        timers.set(Timer::Request, session.role.requests.deadline());
        timers.set(Timer::Reorder, reorder);
    }
}

#[cfg(feature = "model")]
impl State {
    fn digest(&self, digest: &mut super::Digest<'_>, phase: Phase) {
        let State { config: _, credentials, token, info, acks, order, requests, window_ends } = self;
        let renewed = credentials.as_ref().and_then(|credentials| credentials.token.as_ref());
        digest.text(renewed.map(|token| token.reveal()).unwrap_or_default().as_bytes());
        digest.flag(token.is_some());
        if let Some(token) = token {
            digest.token(&token.digest());
        }
        digest.flag(info.is_some());
        if let Some(info) = info {
            digest.text(info.session_id.as_str().as_bytes());
            digest.number(info.resume_window.as_secs());
            digest.number(info.heartbeat_interval.unwrap_or_default().as_secs());
        }
        acks.digest(digest, phase == Phase::Open);
        order.digest(digest);
        requests.digest(digest);
        // Set anew by the next loss.
        if matches!(phase, Phase::Detached | Phase::Resuming | Phase::Closed) {
            digest.time(*window_ends);
        }
    }
}
