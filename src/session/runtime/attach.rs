//! How a runtime's session gets a transport: the welcome to a hello or to a resume (D13-D15, D20).

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::super::Session;
use super::super::config::{Grant, RuntimeConfig};
use super::super::event::RuntimeEvent;
use super::super::heartbeat::Cadence;
use super::super::inbox::Inbox;
use super::super::opening::{RefusedBecause, ResumeAttempt, ResumeRefused};
use super::super::pending::Pendings;
use super::super::phase::{Phase, Step};
use super::super::pressure::Pressure;
use super::super::replay::Window;
use super::super::shared::Shared;
use super::super::tokens::Tokens;
use super::{Ends, Runtime, State};
use crate::feature::{Feature, FeatureSet};
use crate::time::Now;
use crate::wire::{Bye, MessageType, PeerInfo, Principal, ResumeToken, RuntimeCapabilities, Seconds, Welcome};

/// A resume that was taken.
#[derive(Clone, Default)]
pub struct Takeover {
    /// For the transport that was attached until now, which is then closed: `session.bye` with the reason
    /// `superseded` (D15), or the farewell that it was still owed. Empty where there is nothing to say.
    pub farewell: Vec<Bytes>,
}

/// How many frames, not which: an unsent welcome is among them at times, and there is a token in it.
impl core::fmt::Debug for Takeover {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Takeover").field("farewell_frames", &self.farewell.len()).finish()
    }
}

impl Session<Runtime> {
    pub(in crate::session) fn accept(
        now: Now,
        config: Arc<RuntimeConfig>,
        grant: Grant,
        peer: PeerInfo,
        wanted: &FeatureSet,
    ) -> Session<Runtime> {
        let mut shared = Shared::new(now, Phase::Open, 'r', &config.id_prefix, Cadence::Always);
        shared.session_id = Some(grant.session_id);
        shared.features = config.features.intersection(wanted);
        let role = State {
            config,
            principal: grant.principal,
            agents: grant.agents,
            peer,
            tokens: Tokens::new(&grant.resume_token),
            window: Window::default(),
            pressure: Pressure::default(),
            pendings: Pendings::default(),
            refused: 0,
            closing: None,
            ends: Ends::default(),
            window_is_over: false,
            hold_after: u64::MAX,
            hold_control: u32::MAX,
            used_at: now.mono,
        };
        let mut session = Session { shared, inbox: Inbox::new(), role };
        session.welcome(now, &grant.resume_token);
        session.set_timers();
        session
    }

    /// The welcome, and with it the beginning of an attachment (A4, D20).
    fn welcome(&mut self, now: Now, token: &ResumeToken) {
        let config = Arc::clone(&self.role.config);
        let heartbeat = self.shared.features.contains(Feature::Heartbeat).then(|| config.heartbeat_seconds());
        let payload = Welcome {
            runtime: config.runtime.clone(),
            resume_token: Some(token.clone()),
            resume_window_sec: Some(Seconds::whole(config.resume_window_seconds())),
            heartbeat_interval_sec: heartbeat.map(Seconds::whole),
            capabilities: RuntimeCapabilities {
                encodings: alloc::vec![String::from("json")],
                features: self.shared.features.clone(),
                agents: self.role.agents.to_vec(),
            },
        };
        let frame = self.shared.frame(MessageType::SessionWelcome, &payload);
        self.shared.outbox.open(frame);
        self.shared.heartbeat.start(now.mono, heartbeat.map(Duration::from_secs));
    }

    /// Takes a new transport for this session (§6.3, D13-D15): the welcome with the next token, then all events after
    /// the attempt's `last_event_seq`, are ready to be sent. Call it once the credentials of the attempt are
    /// verified, with the principal that they stand for; `next` is a fresh token like [`Grant::resume_token`],
    /// which is not looked at, either: an empty one cannot be presented, one that was used before lets older clients in.
    ///
    /// The welcome that brings the next token can be lost on its way. So the token that was presented stays good, too,
    /// until the client is heard after the welcome was handed out; a token before that is retired now. A registry that
    /// finds sessions by [`ResumeToken::digest`] keeps the presented one beside the next until the following resume.
    ///
    /// Whoever has held messages that came behind the resume (D9) feeds them now, before the welcome is polled: what comes
    /// after counts as the client's word that it has the new token.
    ///
    /// From here on `poll_transmit` speaks to the new transport alone, and [`attachment`](Session::attachment) has
    /// grown: bytes of an older transport must not be fed in any more.
    ///
    /// # Errors
    ///
    /// When the attempt does not fit the session (the token, the session id, the principal, the place in the sequence), or
    /// the session has ended or too many of its events wait to be polled. Then the token is still good, and nothing has
    /// changed but what time itself changed: deadlines that are due are handled first.
    pub fn resume(
        &mut self,
        now: Now,
        attempt: ResumeAttempt,
        principal: &Principal,
        next: ResumeToken,
    ) -> Result<Takeover, ResumeRefused> {
        self.handle_timeout(now);
        if let Some(reason) = self.refuses(&attempt, principal) {
            return Err(attempt.into_refused(reason));
        }
        let now = self.shared.clock;
        let is_attached = self.phase().is_attached();
        if is_attached {
            let bye = self.shared.frame(MessageType::SessionBye, &Bye::because("superseded"));
            self.shared.outbox.set_farewell([bye]);
        }
        let farewell = self.shared.outbox.take_farewell();
        if self.shared.phase.step(Step::Attached) {
            self.attach(now, &attempt, &next);
            self.push(RuntimeEvent::Resumed { takeover: is_attached }, 0);
            if self.role.pressure.reset(attempt.last_event_seq) {
                self.tell_pressure(false);
            }
            self.judge_writable();
        }
        self.set_timers();
        Ok(Takeover { farewell: farewell.into() })
    }

    fn refuses(&self, attempt: &ResumeAttempt, principal: &Principal) -> Option<RefusedBecause> {
        let is_other = attempt.session_id.as_ref().is_some_and(|id| Some(id) != self.shared.session_id.as_ref());
        if !self.role.tokens.accept(&attempt.token) {
            Some(RefusedBecause::Token)
        } else if is_other {
            Some(RefusedBecause::SessionId)
        } else if self.role.principal != *principal {
            Some(RefusedBecause::Principal)
        } else if !self.role.window.covers(attempt.last_event_seq) {
            Some(RefusedBecause::Sequence)
        } else if self.phase() == Phase::Closed || self.is_shutting_down() {
            Some(RefusedBecause::Closed)
        } else if !self.wants_input() {
            Some(RefusedBecause::Busy)
        } else {
            None
        }
    }

    fn attach(&mut self, now: Now, attempt: &ResumeAttempt, next: &ResumeToken) {
        self.shared.epoch += 1;
        self.shared.cut();
        self.shared.timers.clear();
        self.role.closing = None;
        self.role.window_is_over = false;
        self.role.tokens.rotate(&attempt.token, next);
        if let Some(wanted) = &attempt.features {
            self.shared.features = self.role.config.features.intersection(wanted);
        }
        self.role.pendings.detach();
        self.role.window.attach(attempt.last_event_seq);
        self.welcome(now, next);
    }
}
