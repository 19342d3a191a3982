//! One transport: how far its handshake is, who has said farewell, who has hung up.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::finding::{Charges, Side};
use super::frame::Frame;
use super::heartbeat::Pulse;
use super::memory::Print;
use super::object::Object;
use super::request::Request;
use super::rule::Rule;
use crate::feature::{Feature, FeatureSet};
use crate::time::Instant;
use crate::wire::{MessageType, SessionId};

/// How long a side may take for what it does at once, such as closing after a refusal.
const PROMPT: Duration = Duration::from_millis(500);
/// How long a client waits for the answer to its farewell (D32).
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
const MAX_PIPELINED: usize = 64;

/// How far the handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its beginning was forgotten: nothing can be said of its order.
    Unseen,
    /// Nothing from the client yet.
    Fresh,
    /// The client has spoken, the runtime has not.
    Opening,
    /// The runtime has refused.
    Refused(Instant),
    /// The runtime has welcomed.
    Attached,
}

/// What a hello claimed of a session to be resumed.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) session: Option<SessionId>,
    pub(super) token: Option<Print>,
    pub(super) last_event_seq: u64,
    /// The token was not, or no longer, the session's.
    pub(super) stale: bool,
    /// The number was never reached.
    pub(super) beyond: bool,
}

/// What was said in the hello.
#[derive(Clone, Debug, Default)]
pub(super) struct Introduction {
    /// `None`: by a `session.resume` without capabilities, so that they stand as they were.
    pub(super) features: Option<FeatureSet>,
    pub(super) bearer: Option<Print>,
    pub(super) claim: Option<Claim>,
    pub(super) id: Option<Print>,
    /// Of the whole frame.
    pub(super) print: Option<Print>,
}

/// How a side took its leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    Bye,
    Close,
    Closed,
    Fatal,
    Superseded,
}

/// A second hello, and how far its refusal has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reauthentication {
    id: Option<Print>,
    at: Instant,
    bye: bool,
    done: bool,
}

/// One side of a transport.
#[derive(Clone, Debug, Default)]
pub(super) struct Party {
    pub(super) pulse: Pulse,
    pub(super) farewell: Option<Farewell>,
    pub(super) farewell_at: Instant,
    /// Its last frame was an error: a word, at least.
    pub(super) erred: bool,
    pub(super) eof: Option<Instant>,
}

impl Party {
    pub(super) const fn gone(&self) -> bool {
        self.farewell.is_some() || self.eof.is_some()
    }
}

/// A transport.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) now: Instant,
    pub(super) stage: Stage,
    /// The first frame was no good hello.
    pub(super) bad_opening: bool,
    pub(super) hello: Introduction,
    pub(super) attached_at: Instant,
    pub(super) session: Option<SessionId>,
    pub(super) attachment: u32,
    /// The session was taken over while this transport still stood.
    pub(super) superseded: bool,
    /// What was negotiated; `None` when that could not be seen.
    pub(super) features: Option<FeatureSet>,
    pub(super) heartbeat: Option<Duration>,
    pub(super) client: Party,
    pub(super) runtime: Party,
    reauthentication: Option<Reauthentication>,
    /// What the client sent before the welcome.
    pub(super) pipelined: Vec<Request>,
    /// Frames of the client that an error cannot name.
    pub(super) nameless: u32,
    /// An error that named nothing; it may turn out to be the last word.
    pub(super) unnamed_error: Option<String>,
    /// The runtime gave the client a reason to leave without a word.
    pub(super) excused: bool,
    close_refused: bool,
    runtime_hung_up_first: bool,
    /// The client said goodbye when the runtime had hung up.
    goodbye_crossed: bool,
    ended: bool,
}

impl Connection {
    pub(super) fn new(at: Instant, stage: Stage) -> Connection {
        Connection {
            now: at,
            stage,
            bad_opening: false,
            hello: Introduction::default(),
            attached_at: at,
            session: None,
            attachment: 0,
            superseded: false,
            features: None,
            heartbeat: None,
            client: Party::default(),
            runtime: Party::default(),
            reauthentication: None,
            pipelined: Vec::new(),
            nameless: 0,
            unnamed_error: None,
            excused: false,
            close_refused: false,
            runtime_hung_up_first: false,
            goodbye_crossed: false,
            ended: false,
        }
    }

    pub(super) const fn party(&mut self, side: Side) -> &mut Party {
        match side {
            Side::Client => &mut self.client,
            Side::Runtime => &mut self.runtime,
        }
    }

    /// Time has come to `at`: what silence says, judged before what broke it.
    pub(super) fn tick(&mut self, charges: &mut Charges, at: Instant, tolerance: Duration) {
        self.now = self.now.max(at);
        let (now, Some(interval)) = (self.now, self.heartbeat) else { return };
        if self.stage != Stage::Attached || self.superseded {
            return;
        }
        let limit = interval.saturating_add(tolerance);
        if !self.runtime.gone() && !self.client.gone() {
            self.client.pulse.unanswered(charges, Side::Client, now, limit);
            self.runtime.pulse.unanswered(charges, Side::Runtime, now, limit);
            self.runtime.pulse.omitted(charges, now, limit);
            self.client.pulse.idle(charges, now, limit);
            self.client.pulse.kept(charges, now, interval.saturating_mul(2).saturating_add(tolerance));
        }
    }

    /// Whether all that was to be sent must have been sent: the runtime has fallen silent, or has closed behind it.
    pub(super) fn is_complete(&self, tolerance: Duration) -> bool {
        let closed = self.runtime.farewell == Some(Farewell::Closed)
            && self.runtime.farewell_at - self.client.farewell_at < CLOSE_PATIENCE;
        closed || self.now - self.runtime.pulse.last > tolerance
    }

    /// Whether the client has heard nothing for so long that it may leave (D22).
    fn runtime_is_lost(&self) -> bool {
        self.heartbeat.is_some_and(|interval| self.now - self.runtime.pulse.last >= interval.saturating_mul(2))
    }

    pub(super) fn pipeline(&mut self, request: Request) {
        if self.pipelined.len() < MAX_PIPELINED {
            self.pipelined.push(request);
        }
    }

    /// Not all that came before the welcome was remembered.
    pub(super) const fn pipelined_overflow(&self) -> bool {
        self.pipelined.len() >= MAX_PIPELINED
    }

    /// The welcome came: from here on the features count.
    pub(super) fn attach(&mut self, charges: &mut Charges, payload: &Object<'_>, before: Option<&FeatureSet>) {
        let side = Side::Runtime;
        let welcomed = features(payload.object("capabilities").as_ref());
        let asked = self.hello.features.clone().or_else(|| before.cloned());
        if let Some(asked) = &asked {
            let beyond: Vec<_> = welcomed.iter().filter(|feature| !asked.contains(*feature)).collect();
            if let Some(feature) = beyond.first() {
                charges.bring(side, Rule::WelcomeFeatures, format!("{feature}, {} in all", beyond.len()));
            }
        }
        self.features = asked.map(|asked| asked.intersection(&welcomed));
        self.heartbeat = None;
        if let Some(features) = &self.features {
            let said = payload.has("heartbeat_interval_sec");
            if !features.contains(Feature::Heartbeat) {
                if said {
                    charges.bring(side, Rule::HeartbeatInterval, "");
                }
            } else {
                if !said {
                    charges.bring(side, Rule::WelcomeShape, "heartbeat_interval_sec");
                }
                let interval = payload.integer("heartbeat_interval_sec").filter(|interval| *interval > 0);
                self.heartbeat = Some(Duration::from_secs(interval.unwrap_or(30)));
            }
        }
        self.stage = Stage::Attached;
        self.attached_at = self.now;
        self.client.pulse.attach(self.now);
        self.runtime.pulse.attach(self.now);
    }

    /// A ping or pong of `from`.
    pub(super) fn heartbeat(&mut self, charges: &mut Charges, from: Side, frame: &Frame<'_>) {
        let now = self.now;
        match frame.message {
            Some(MessageType::SessionPing) => {
                if let Some(nonce) = frame.payload.text("nonce") {
                    self.party(from).pulse.ping(&nonce, now);
                }
            }
            Some(MessageType::SessionPong) => {
                let nonce = frame.payload.text("ping_nonce");
                if !nonce.is_some_and(|nonce| self.party(from.other()).pulse.pong(&nonce)) {
                    charges.bring(from, Rule::PongUnasked, "");
                }
            }
            _ => {}
        }
    }

    /// A frame of a side that may already have taken its leave, or takes it now.
    pub(super) fn farewell(&mut self, charges: &mut Charges, from: Side, frame: &Frame<'_>) {
        use MessageType as M;
        if self.stage != Stage::Attached {
            return;
        }
        let allowed = match from {
            // A ping must be answered (§6.4), whatever else is over.
            Side::Client => frame.message == Some(M::SessionPong),
            Side::Runtime => frame.message == Some(M::SessionError) && self.reauthentication.is_some_and(|it| !it.done),
        };
        if self.party(from).farewell.is_some() && !allowed {
            charges.bring(from, Rule::AfterFarewell, frame.message.map_or("", M::name));
        }
        if from == Side::Runtime {
            self.refusal_of_reauthentication(charges, frame);
        }
        self.party(from).erred = frame.message == Some(M::SessionError);
        let code = frame.payload.text("code");
        let farewell = match (from, frame.message) {
            (Side::Client, Some(M::SessionClose)) => Farewell::Close,
            (Side::Runtime, Some(M::SessionClosed)) => {
                if self.client.farewell.is_none() {
                    charges.bring(from, Rule::ClosedUnasked, "");
                }
                Farewell::Closed
            }
            (Side::Runtime, Some(M::SessionBye)) if frame.payload.text("reason").as_deref() == Some("superseded") => {
                Farewell::Superseded
            }
            (_, Some(M::SessionBye)) => Farewell::Bye,
            (Side::Runtime, Some(M::SessionError)) => {
                self.close_refused |= self.client.farewell.is_some() && code.as_deref() == Some("INVALID_REQUEST");
                match code.as_deref() {
                    Some("HEARTBEAT_LOST") => {
                        self.lost(charges);
                        Farewell::Fatal
                    }
                    Some("RESUME_WINDOW_EXPIRED" | "UNAUTHENTICATED") if !frame.payload.has("request_id") => {
                        Farewell::Fatal
                    }
                    _ => return,
                }
            }
            _ => return,
        };
        let now = self.now;
        self.goodbye_crossed |= from == Side::Client && self.runtime.eof.is_some();
        let party = self.party(from);
        if party.farewell.is_none() {
            party.farewell = Some(farewell);
            party.farewell_at = now;
        }
    }

    /// HEARTBEAT_LOST: not before two intervals of silence.
    fn lost(&self, charges: &mut Charges) {
        const SLACK: Duration = Duration::from_millis(50);
        let silence = self.now - self.client.pulse.last;
        if let Some(interval) = self.heartbeat
            && silence.saturating_add(SLACK) < interval.saturating_mul(2)
        {
            charges.bring(Side::Runtime, Rule::LostTooEarly, format!("after {} ms", silence.as_millis()));
        }
    }

    /// The client says hello once more (D10, A14).
    pub(super) fn second_hello(&mut self, charges: &mut Charges, id: Option<Print>) {
        charges.bring(Side::Client, Rule::SecondHello, "");
        if self.stage == Stage::Attached && !self.runtime.gone() {
            self.reauthentication = Some(Reauthentication { id, at: self.now, bye: false, done: false });
        }
    }

    fn refusal_of_reauthentication(&mut self, charges: &mut Charges, frame: &Frame<'_>) {
        let Some(it) = &mut self.reauthentication else { return };
        if it.done {
            return;
        }
        let side = Side::Runtime;
        match frame.message {
            Some(MessageType::SessionBye) => {
                it.bye = true;
                if frame.payload.text("reason").as_deref() != Some("reauthentication") {
                    charges.bring(side, Rule::Reauthentication, "another reason");
                }
            }
            Some(MessageType::SessionError) => {
                it.done = true;
                if !it.bye {
                    charges.bring(side, Rule::Reauthentication, "no bye before the error");
                }
                let named = frame.payload.text("request_id").map(|id| Print::of(&id));
                if named.is_none() || named != it.id {
                    charges.bring(side, Rule::Reauthentication, "the error does not name the hello");
                }
            }
            Some(MessageType::SessionWelcome) => {
                it.done = true;
                charges.bring(side, Rule::Reauthentication, "welcomed");
            }
            _ => {}
        }
    }

    /// A side has hung up. `broken`: the client was given a reason to leave without a word.
    pub(super) fn eof(&mut self, charges: &mut Charges, side: Side, broken: bool) {
        let now = self.now;
        if self.party(side).eof.is_some() {
            return;
        }
        self.party(side).eof = Some(now);
        self.runtime_hung_up_first |= side == Side::Runtime && self.client.eof.is_none();
        let attached = self.stage == Stage::Attached && !self.superseded;
        match side {
            Side::Client => {
                if attached
                    && self.client.farewell.is_none()
                    && !self.runtime.gone()
                    && !broken
                    && !self.runtime_is_lost()
                {
                    charges.bring(side, Rule::NoBye, "");
                }
            }
            Side::Runtime if self.client.eof.is_none() => {
                let word = self.runtime.farewell.is_some() || self.runtime.erred;
                if attached && !word && self.client.farewell.is_none() {
                    charges.bring(side, Rule::NoFarewell, "");
                }
                if self.stage == Stage::Opening {
                    charges.bring(side, Rule::SilentRefusal, "");
                }
            }
            Side::Runtime => {}
        }
    }

    /// The transport is over.
    pub(super) fn end(&mut self, charges: &mut Charges) {
        if core::mem::replace(&mut self.ended, true) {
            return;
        }
        let runtime = Side::Runtime;
        let ran_first = self.runtime_hung_up_first;
        let hung_up = self.client.eof;
        if let Stage::Refused(at) = self.stage
            && !ran_first
            && let Some(eof) = hung_up
            && eof - at > PROMPT
        {
            let after = (eof - at).as_millis();
            charges.bring(runtime, Rule::RefusalLeftOpen, format!("the client gave up after {after} ms"));
        }
        if let Some(farewell) = self.client.farewell
            && self.stage == Stage::Attached
            && !self.superseded
            && self.runtime.farewell.is_none()
            // The runtime's fatal error, which ends the transport at once (D27), or its end may have crossed the goodbye.
            && (ran_first && !self.runtime.erred && !self.goodbye_crossed
                || self.close_refused
                || hung_up.is_some_and(|eof| eof - self.client.farewell_at >= CLOSE_PATIENCE))
        {
            let detail = if self.close_refused { "an error instead" } else { "" };
            let rule = if farewell == Farewell::Close { Rule::CloseUnanswered } else { Rule::ByeUnanswered };
            charges.bring(runtime, rule, detail);
        }
        if self
            .reauthentication
            .is_some_and(|it| !it.done && (ran_first || hung_up.is_some_and(|eof| eof - it.at > PROMPT)))
        {
            charges.bring(runtime, Rule::Reauthentication, "no error");
        }
        if self.superseded && self.runtime.farewell != Some(Farewell::Superseded) {
            charges.bring(runtime, Rule::Takeover, "no bye");
        }
    }
}

/// The features that a hello or a welcome names.
pub(super) fn features(capabilities: Option<&Object<'_>>) -> FeatureSet {
    let names = capabilities.and_then(|all| all.array("features")).unwrap_or_default();
    names.iter().filter_map(|name| Feature::from_name(&name.text()?)).collect()
}
