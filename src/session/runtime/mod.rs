//! The runtime's side of a session: its life.

mod answer;
mod attach;
mod emission;
mod hosted;
mod receive;
mod send;
mod snapshot;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use bytes::Bytes;

pub use attach::Takeover;
pub(crate) use emission::Emission;
pub use send::Interest;
pub use snapshot::RuntimeSnapshot;

use super::Session;
use super::config::{Limits, RuntimeConfig};
use super::error::{CloseReason, DetachReason, ProtocolError, Violation};
use super::event::RuntimeEvent;
use super::pending::Pendings;
use super::phase::{Phase, Step};
use super::pressure::Pressure;
use super::replay::Window;
use super::role::Machine;
use super::shared::About;
use super::timers::Timer;
use super::tokens::Tokens;
use crate::feature::Feature;
use crate::time::{Instant, Now};
use crate::wire::{
    AgentInfo, Bye, Envelope, ErrorCode, MalformedFrame, MessageType, PeerInfo, Principal, SessionError, WireError,
};

/// The role of whoever runs the jobs.
#[derive(Clone, Copy, Debug)]
pub enum Runtime {}

/// What only a runtime remembers.
#[derive(Clone)]
pub struct State {
    config: Arc<RuntimeConfig>,
    principal: Principal,
    agents: Arc<[AgentInfo]>,
    peer: PeerInfo,
    tokens: Tokens,
    window: Window,
    pressure: Pressure,
    pendings: Pendings,
    /// The length of the longest event that was refused and is waiting for `Writable`; 0: there is none.
    refused: usize,
    closing: Option<Box<Closing>>,
    /// Of the last loss of a transport.
    ends: Ends,
    /// The resume window is over; what is here is kept only because nobody acknowledged it (D18).
    window_is_over: bool,
    /// Events behind this one wait until they are stored.
    hold_after: u64,
    /// So do, on this attachment, the welcome and control messages behind so many of them.
    hold_control: u32,
    /// When the session was last used for anything but heartbeats (§14).
    used_at: Instant,
}

/// When what a session keeps without a transport ends (D17, D18).
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    window: Instant,
    retention: Instant,
}

impl Ends {
    fn of_loss(at: Instant, config: &RuntimeConfig) -> Ends {
        let window = Duration::from_secs(config.resume_window_seconds());
        Ends { window: at + window, retention: at + config.retention.max(window) }
    }
}

/// A polite end: the events up to `last` go first, then the farewell (D27).
#[derive(Clone, Debug)]
struct Closing {
    last: u64,
    is_shutdown: bool,
    /// What the client gave as its reason to leave.
    client_reason: Option<String>,
}

impl Session<Runtime> {
    /// Ends the session: what was emitted goes out first, for at most [`RuntimeConfig::close_timeout`], then
    /// `session.bye` with the reason (A14, D32), then `Closed`. At once where there is no transport. What is emitted from
    /// here on is recorded and not sent.
    pub fn shutdown(&mut self, now: Now, reason: &str) {
        let now = self.tick(now);
        match self.phase() {
            Phase::Open | Phase::Closing => {
                let bye = Bye::because(reason);
                let frame = self.shared.frame(MessageType::SessionBye, &bye);
                self.begin_close(now, frame, true, None);
            }
            _ => self.end(CloseReason::Shutdown),
        }
        self.set_timers();
    }

    fn begin_close(&mut self, now: Now, farewell: Bytes, is_shutdown: bool, client_reason: Option<String>) {
        let is_first = self.shared.phase.step(Step::CloseAsked);
        if is_first {
            self.shared.heartbeat.stop();
            self.shared.timers.set(Timer::Close, Some(now.mono + self.role.config.close_timeout));
        }
        match &mut self.role.closing {
            // The client's goodbye is answered as it was going to be; the session does not outlive it.
            Some(closing) => closing.is_shutdown |= is_shutdown,
            None => {
                self.shared.outbox.set_farewell([farewell]);
                let last = self.role.window.highest();
                self.role.closing = Some(Box::new(Closing { last, is_shutdown, client_reason }));
            }
        }
        self.settle(now);
    }

    /// The last event that may be sent for now; while closing, what was emitted later is not sent.
    #[inline]
    fn last_to_send(&self) -> u64 {
        let last = self.role.closing.as_ref().map_or(u64::MAX, |closing| closing.last);
        last.min(self.role.window.highest()).min(self.role.hold_after)
    }

    fn is_shutting_down(&self) -> bool {
        self.role.closing.as_ref().is_some_and(|closing| closing.is_shutdown)
    }

    /// While closing: once only the farewell is left, the transport is done with.
    #[inline]
    fn settle(&mut self, now: Now) {
        if let Some(closing) = &self.role.closing
            && !self.shared.outbox.has_control()
            && self.role.window.cursor() >= closing.last
        {
            self.finish_close(now);
        }
    }

    fn finish_close(&mut self, now: Now) {
        if self.is_shutting_down() {
            self.end(CloseReason::Shutdown);
        } else {
            let reason = self.role.closing.take().and_then(|closing| closing.client_reason);
            self.park(now, DetachReason::PeerClosed { reason });
        }
    }

    /// The session goes on without a transport.
    fn park(&mut self, now: Now, reason: DetachReason) {
        if self.shared.phase.step(Step::Cut) {
            self.shared.cut();
            self.role.closing = None;
            self.role.pendings.detach();
            self.role.window.detach();
            self.role.ends = Ends::of_loss(now.mono, &self.role.config);
            self.shared.timers.set(Timer::ResumeWindow, Some(self.role.ends.window));
            self.push(RuntimeEvent::Detached(reason), 0);
            self.judge_writable();
        }
    }

    /// Gives the transport up with these last words. A shutdown that was waiting for it is done then.
    fn cut_off(&mut self, now: Now, reason: DetachReason, farewell: impl IntoIterator<Item = Bytes>) {
        self.shared.outbox.set_farewell(farewell);
        if self.is_shutting_down() {
            self.end(CloseReason::Shutdown);
        } else {
            self.park(now, reason);
        }
    }

    fn end(&mut self, reason: CloseReason) {
        let is_attached = self.phase().is_attached();
        if self.shared.phase.step(Step::Ended) {
            // For a snapshot: what was shut down can go on elsewhere (D32), what ran out is over there, too.
            if is_attached {
                self.role.ends = Ends::of_loss(self.shared.clock.mono, &self.role.config);
            } else if reason == CloseReason::ResumeWindowExpired {
                self.role.ends = Ends { window: self.shared.clock.mono, retention: self.shared.clock.mono };
            }
            self.shared.end();
            self.role.closing = None;
            self.role.pendings.end();
            self.push(RuntimeEvent::Closed(reason), 0);
        }
    }

    /// The resume window is over (D18).
    fn elapse(&mut self) {
        self.push(RuntimeEvent::WindowElapsed, 0);
        let has_unacked = self.role.window.highest() > self.role.window.acked();
        if !self.shared.features.contains(Feature::Ack) || !has_unacked {
            return self.end(CloseReason::ResumeWindowExpired);
        }
        self.role.window_is_over = true;
        let end = self.role.ends.retention;
        if end <= self.shared.clock.mono {
            return self.end(CloseReason::ResumeWindowExpired);
        }
        self.shared.timers.set(Timer::Retention, Some(end));
        self.judge_writable();
    }

    /// An error names the message that it is about, or nothing that was ever sent: one that names no message at all
    /// fails a client's oldest request (D12), which it need not be about.
    fn error_frame(&mut self, error: &WireError, message_id: Option<&str>, job_id: Option<&str>) -> Bytes {
        let mut payload = SessionError::new(error.clone(), Some(message_id.unwrap_or("none")), job_id);
        payload.reply_to = payload.request_id.clone().filter(|_| self.role.config.dialect.mirrored_reply_to);
        self.shared.frame_about(About::new(MessageType::SessionError, job_id), &payload)
    }

    fn cut_off_with(&mut self, now: Now, reason: DetachReason, error: &WireError, message_id: Option<&str>) {
        let frame = self.error_frame(error, message_id, None);
        self.cut_off(now, reason, [frame]);
    }
}

/// Getters.
impl Session<Runtime> {
    /// Who the client was authenticated as.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.role.principal
    }

    /// Who the client said that it is.
    #[must_use]
    pub fn peer(&self) -> &PeerInfo {
        &self.role.peer
    }

    /// The seq of the last event emitted; 0 before the first.
    #[must_use]
    pub fn last_event_seq(&self) -> u64 {
        self.role.window.highest()
    }

    /// The highest event that the client has acknowledged (A9).
    #[must_use]
    pub fn acked_seq(&self) -> u64 {
        self.role.window.acked()
    }

    /// The highest event that is no longer kept: a resume from below it is refused (D14).
    #[must_use]
    pub fn replay_floor(&self) -> u64 {
        self.role.window.floor()
    }

    /// Events in the replay buffer, and the bytes of their frames.
    #[must_use]
    pub fn replay_len(&self) -> (usize, usize) {
        (self.role.window.len(), self.role.window.bytes())
    }
}

impl Machine for Runtime {
    type Event = RuntimeEvent;
    type State = State;

    fn limits(state: &State) -> &Limits {
        &state.config.limits
    }

    fn violation(violation: Violation) -> RuntimeEvent {
        RuntimeEvent::Violation(violation)
    }

    /// The client speaks after the welcome was handed out: it has the new token.
    fn frame_came(session: &mut Session<Runtime>) {
        if session.shared.outbox.has_opened() {
            session.role.tokens.retire_presented();
        }
    }

    fn receive(session: &mut Session<Runtime>, now: Now, envelope: Envelope) {
        session.receive(now, &envelope);
    }

    fn malformed(session: &mut Session<Runtime>, now: Now, malformed: MalformedFrame) {
        let id = malformed.id.as_deref();
        session.offended(now, ProtocolError::Malformed(malformed.fault), id, true);
    }

    fn disconnected(session: &mut Session<Runtime>, now: Now) {
        match session.phase() {
            Phase::Closing => session.finish_close(now),
            Phase::Open => session.park(now, DetachReason::TransportLost),
            _ => {}
        }
    }

    fn detach(session: &mut Session<Runtime>, now: Now, reason: DetachReason) {
        match reason {
            DetachReason::HeartbeatLost => {
                let error = WireError::new(ErrorCode::HeartbeatLost, "nothing came for two heartbeat intervals");
                session.cut_off_with(now, reason, &error, None);
            }
            _ if session.phase() == Phase::Closing => session.finish_close(now),
            _ => session.cut_off(now, reason, []),
        }
    }

    fn fire(session: &mut Session<Runtime>, now: Now, timer: Timer) {
        match timer {
            Timer::Close => session.finish_close(now),
            Timer::ResumeWindow => {
                session.shared.timers.set(Timer::ResumeWindow, None);
                session.elapse();
            }
            Timer::Retention => session.end(CloseReason::ResumeWindowExpired),
            _ => {}
        }
    }

    #[cfg(feature = "model")]
    fn digest(state: &State, digest: &mut super::Digest<'_>, phase: Phase) {
        state.digest(digest, phase.is_attached());
    }

    fn next_frame(session: &mut Session<Runtime>, now: Now) -> Option<Bytes> {
        if !session.phase().is_attached() {
            return session.shared.outbox.next_farewell();
        }
        let control = session.shared.outbox.next_control(session.role.hold_control);
        if control.is_none() && !session.shared.outbox.has_opened() {
            return None;
        }
        let frame = control.or_else(|| {
            let event = session.role.window.next_frame(session.last_to_send())?;
            session.role.used_at = now.mono;
            session.judge_writable();
            Some(event)
        });
        if frame.is_some() {
            session.settle(now);
        }
        frame
    }

    #[inline]
    fn has_nothing_to_send(session: &Session<Runtime>) -> bool {
        session.phase().is_attached()
            && session.shared.outbox.is_empty()
            && session.role.window.cursor() >= session.last_to_send()
    }
}

#[cfg(feature = "model")]
impl State {
    fn digest(&self, digest: &mut super::Digest<'_>, is_attached: bool) {
        let State { config: _, principal, agents: _, peer: _, tokens, window, pressure, pendings, refused, .. } = self;
        let State { closing, ends, window_is_over, hold_after, hold_control, .. } = self;
        // What is left is `used_at`, which is the endpoint's to look at.
        digest.text(principal.as_str().as_bytes());
        tokens.digest(digest);
        window.digest(digest);
        pressure.digest(digest);
        pendings.digest(digest);
        digest.flag(*refused > 0);
        digest.flag(closing.is_some());
        if let Some(Closing { last, is_shutdown, client_reason }) = closing.as_deref() {
            digest.number(*last);
            digest.flag(*is_shutdown);
            digest.text(client_reason.as_deref().unwrap_or_default().as_bytes());
        }
        // Set anew by the next loss.
        if !is_attached {
            digest.time(ends.window);
            digest.time(ends.retention);
        }
        digest.flag(*window_is_over);
        digest.number(*hold_after);
        digest.number((*hold_control).into());
    }
}
