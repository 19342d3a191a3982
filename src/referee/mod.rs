//! A passive observer of both directions of one transport after another, which tells which side broke which rule.
//!
//! It knows [`wire`](crate::wire) and nothing of a session's implementation: an independent eye on our own
//! traffic, and a tool for that of others. Feed it what passed, in the order in which it passed:
//!
//! ```
//! use arcp_proto::Instant;
//! use arcp_proto::referee::{Referee, Rule, Side};
//!
//! let mut referee = Referee::new();
//! let at = Instant::from_millis(0);
//! referee.open(1, at);
//! let verdict = referee.frame(1, Side::Client, at, r#"{"arcp":"1.1","id":"m1","type":"session.ping","payload":{}}"#.into());
//! assert_eq!(verdict.type_name, "session.ping");
//! assert!(verdict.findings.iter().any(|finding| finding.rule == Rule::FirstFrame && finding.side == Side::Client));
//! ```
//!
//! [`eof`](Referee::eof) says that a side hung up; [`close`](Referee::close) alone that the transport is gone and it is
//! nobody's fault. Time is judged only as far as it is told: with all frames at one instant, no silence is seen.
//! A frame that is told late by up to the [tolerance](Referee::with_tolerance) is still in time.
//!
//! It never stops, whatever it is fed, and what it remembers is bounded: 1 024 transports, 1 024 sessions, and
//! of each session 16 384 message ids of each side, the contents of 16 384 events, 4 096 jobs and 1 024 open
//! requests. Behind these limits it forgets, and does not accuse of what it may have forgotten. Ids, tokens and contents
//! are kept as digests; no secret stands in what it returns or in its `Debug`.

mod connection;
mod finding;
mod frame;
mod heartbeat;
mod job;
mod memory;
mod object;
mod payload;
mod registry;
mod request;
mod rule;
mod sequence;
mod session;
mod summary;
mod usage;

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use connection::{Connection, Introduction, Stage};
use finding::Charges;
pub use finding::{Finding, Side, Verdict};
use frame::{Frame, shown};
use memory::{Memory, Print};
use registry::Registry;
pub use rule::{Class, Layer, Rule};
use sequence::Seen;

use crate::time::Instant;
use crate::wire::{Envelope, MessageType};

const MAX_CONNECTIONS: usize = 1_024;

/// The observer.
#[derive(Clone, Debug)]
pub struct Referee {
    connections: Memory<u64, Connection>,
    registry: Registry,
    tolerance: Duration,
    session_only: bool,
}

impl Default for Referee {
    fn default() -> Referee {
        Referee::new()
    }
}

impl Referee {
    /// A referee that has seen nothing yet.
    #[must_use]
    pub const fn new() -> Referee {
        Referee {
            connections: Memory::new(MAX_CONNECTIONS),
            registry: Registry::new(),
            tolerance: Duration::from_millis(250),
            session_only: false,
        }
    }

    /// How late a frame may be seen and still count as in time: 250 ms unless told otherwise.
    #[must_use]
    pub const fn with_tolerance(mut self, tolerance: Duration) -> Referee {
        self.tolerance = tolerance;
        self
    }

    /// Leaves out what the session does not have in hand ([`Layer::Application`]): for judging sessions whose application
    /// is a test.
    #[must_use]
    pub const fn session_only(mut self) -> Referee {
        self.session_only = true;
        self
    }

    /// A transport stands. A `conn` that was used before is a new transport.
    pub fn open(&mut self, conn: u64, at: Instant) -> Vec<Finding> {
        let findings = self.close(conn, at);
        self.connections.insert(conn, Connection::new(at));
        findings
    }

    /// A frame of `from` has passed: one whole message, without its line end.
    pub fn frame(&mut self, conn: u64, from: Side, at: Instant, frame: Bytes) -> Verdict {
        if !self.connections.contains(&conn) {
            self.connections.insert(conn, Connection::new(at));
        }
        let mut charges = Charges::new(conn, self.session_only);
        let mut verdict = Verdict::default();
        let mut superseded = None;
        if let Some(connection) = self.connections.get_mut(&conn) {
            let mut sight = Sight { conn, connection, registry: &mut self.registry, charges: &mut charges };
            superseded = sight.frame(from, at, frame, self.tolerance, &mut verdict);
        }
        if let Some(old) = superseded.and_then(|old| self.connections.get_mut(&old)) {
            old.superseded = true;
        }
        verdict.findings = charges.findings;
        verdict
    }

    /// Bytes of `from` have come that are no whole frame yet: it lives (D21).
    pub fn activity(&mut self, conn: u64, from: Side, at: Instant) -> Vec<Finding> {
        let mut charges = Charges::new(conn, self.session_only);
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.tick(&mut charges, at, self.tolerance);
            let now = connection.now;
            connection.party(from).pulse.frame(now);
        }
        charges.findings
    }

    /// `side` has hung up: of its own will, as far as one can see.
    pub fn eof(&mut self, conn: u64, side: Side, at: Instant) -> Vec<Finding> {
        let mut charges = Charges::new(conn, self.session_only);
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.tick(&mut charges, at, self.tolerance);
            let session = connection.session.as_ref().and_then(|id| self.registry.get_mut(id));
            let session = session.filter(|session| session.attachment == connection.attachment);
            let broken = session.as_ref().is_some_and(|session| session.sequence.broken());
            connection.eof(&mut charges, side, broken);
            if let Some(session) = session.filter(|session| session.conn == Some(conn)) {
                session.detach(&mut charges, connection, self.tolerance);
            }
            if connection.client.eof.is_some() && connection.runtime.eof.is_some() {
                connection.end(&mut charges);
            }
        }
        charges.findings
    }

    /// The transport is gone. Without an [`eof`](Referee::eof) before it, it was lost, and neither side is to blame.
    pub fn close(&mut self, conn: u64, at: Instant) -> Vec<Finding> {
        let mut charges = Charges::new(conn, self.session_only);
        if let Some(mut connection) = self.connections.remove(&conn) {
            connection.tick(&mut charges, at, self.tolerance);
            let session = connection.session.as_ref().and_then(|id| self.registry.get_mut(id));
            if let Some(session) = session.filter(|session| session.conn == Some(conn)) {
                session.detach(&mut charges, &connection, self.tolerance);
            }
            connection.end(&mut charges);
        }
        charges.findings
    }

    /// Nothing more will come: what only the end shows. The transports that still stand are closed as of their last frame.
    pub fn finish(&mut self) -> Vec<Finding> {
        let open: Vec<u64> = self.connections.keys().copied().collect();
        let mut findings = Vec::new();
        for conn in open {
            findings.extend(self.close(conn, Instant::ZERO));
        }
        findings
    }
}

/// One frame, and all that it is judged with.
struct Sight<'r> {
    conn: u64,
    connection: &'r mut Connection,
    registry: &'r mut Registry,
    charges: &'r mut Charges,
}

impl Sight<'_> {
    fn frame(
        &mut self,
        from: Side,
        at: Instant,
        bytes: Bytes,
        tolerance: Duration,
        verdict: &mut Verdict,
    ) -> Option<u64> {
        self.connection.tick(self.charges, at, tolerance);
        let now = self.connection.now;
        self.connection.party(from).pulse.frame(now);
        frame::bytes(self.charges, from, &bytes);
        let envelope = match Envelope::decode(bytes.clone()) {
            Ok(envelope) => envelope,
            Err(malformed) => {
                frame::malformed(self.charges, from, &bytes, &malformed);
                self.malformed(from, malformed.id.as_deref(), &bytes);
                return None;
            }
        };
        let frame = Frame::new(&envelope);
        verdict.type_name = shown(&envelope.type_name());
        verdict.message = frame.message;
        verdict.event_seq = envelope.event_seq();
        verdict.event_kind = envelope.event_kind().map(|kind| shown(&kind));
        verdict.summary = summary::of(&frame);
        frame::envelope(self.charges, from, &frame);
        if !self.may_say(from, &frame) {
            self.nameless(from, &frame);
            return None;
        }
        payload::judge(self.charges, from, &frame);
        let print = Print::of_json(&bytes);
        match from {
            Side::Client => {
                self.client(&frame, print);
                None
            }
            Side::Runtime => self.runtime(&frame, print, verdict),
        }
    }

    /// A frame that nobody can read. Blank lines are no frames.
    fn malformed(&mut self, from: Side, id: Option<&str>, bytes: &[u8]) {
        if bytes.trim_ascii().is_empty() {
            return;
        }
        if self.connection.stage == Stage::Fresh && from == Side::Client {
            self.connection.stage = Stage::Opening;
            self.connection.bad_opening = true;
        }
        if from == Side::Client {
            match (id, self.session()) {
                // The answer may name it. That it stood on two messages does not count: who knows what they were.
                (Some(id), Some(session)) => session.name(Print::of(id)),
                _ => self.connection.nameless += 1,
            }
        }
    }

    fn nameless(&mut self, from: Side, frame: &Frame<'_>) {
        if from == Side::Client {
            let id = frame.envelope.id().map(|id| Print::of(&id));
            match (id, self.session()) {
                (Some(id), Some(session)) => session.name(id),
                _ => self.connection.nameless += 1,
            }
        }
    }

    /// The session, if this transport is the last that held it.
    fn session(&mut self) -> Option<&mut session::Session> {
        let attachment = self.connection.attachment;
        let session = self.registry.get_mut(self.connection.session.as_ref()?)?;
        (session.attachment == attachment).then_some(session)
    }

    /// Whether a message of this type comes from the right side.
    fn may_say(&mut self, from: Side, frame: &Frame<'_>) -> bool {
        let Some(message) = frame.message else {
            let name = frame.envelope.type_name();
            if name.starts_with("session.") || name.starts_with("job.") {
                self.charges.bring(from, Rule::UnknownType, shown(&name));
            }
            return true;
        };
        let right = from.may_send(message.sender());
        if !right {
            self.charges.bring(from, Rule::WrongDirection, message.name());
        }
        right
    }

    fn client(&mut self, frame: &Frame<'_>, print: Print) {
        let side = Side::Client;
        let hello = matches!(frame.message, Some(MessageType::SessionHello | MessageType::SessionResume));
        match self.connection.stage {
            Stage::Fresh if hello => self.hello(frame, print),
            Stage::Fresh => {
                self.charges.bring(side, Rule::FirstFrame, shown(&frame.envelope.type_name()));
                self.connection.bad_opening = true;
                self.connection.stage = Stage::Opening;
            }
            Stage::Opening if hello && self.connection.hello.print.is_none() => self.hello(frame, print),
            // A new attempt where the runtime has refused one and left the transport open.
            Stage::Refused(_) if hello => self.hello(frame, print),
            Stage::Opening | Stage::Attached if hello => {
                let id = frame.envelope.id().map(|id| Print::of(&id));
                self.connection.second_hello(self.charges, id);
                self.remember(side, frame, print);
            }
            Stage::Opening => {
                if !self.connection.bad_opening {
                    self.charges.bring(side, Rule::BeforeWelcome, shown(&frame.envelope.type_name()));
                }
                if let Some(message) = frame.message {
                    let request = session::request(frame, message, self.connection.now, 0);
                    self.connection.pipeline(request);
                }
            }
            Stage::Refused(_) => {}
            Stage::Attached => drop(self.attached(side, frame, print)),
        }
    }

    fn hello(&mut self, frame: &Frame<'_>, print: Print) {
        let payload = &frame.payload;
        let side = Side::Client;
        let is_hello = frame.message == Some(MessageType::SessionHello);
        if is_hello && frame.envelope.session_id().is_some() {
            self.charges.bring(side, Rule::HelloNamesSession, "");
        }
        if !is_hello {
            self.charges.bring(side, Rule::ResumeForm, "session.resume");
        }
        let bearer = payload.object("auth").and_then(|auth| auth.word("token")).map(|token| Print::of(&token));
        let capabilities = payload.object("capabilities");
        let features = (is_hello || capabilities.is_some()).then(|| connection::features(capabilities.as_ref()));
        self.connection.hello = Introduction {
            features,
            bearer,
            claim: self.registry.claim(self.charges, payload),
            id: frame.envelope.id().map(|id| Print::of(&id)),
            print: Some(print),
        };
        if self.connection.stage == Stage::Fresh {
            self.connection.stage = Stage::Opening;
        }
    }

    fn runtime(&mut self, frame: &Frame<'_>, print: Print, verdict: &mut Verdict) -> Option<u64> {
        let side = Side::Runtime;
        let message = frame.message;
        let welcome = message == Some(MessageType::SessionWelcome);
        if self.connection.stage != Stage::Attached && message == Some(MessageType::SessionError) {
            if frame.envelope.session_id().is_none() {
                self.charges.bring(side, Rule::RefusalWithoutSession, "");
            }
        } else if frame.envelope.session_id().is_none() {
            self.charges.bring(side, Rule::SessionIdAbsent, shown(&frame.envelope.type_name()));
        }
        match self.connection.stage {
            Stage::Fresh => {
                if message != Some(MessageType::SessionError) {
                    self.charges.bring(side, Rule::FirstAnswer, shown(&frame.envelope.type_name()));
                }
            }
            Stage::Opening | Stage::Refused(_) if welcome => {
                if matches!(self.connection.stage, Stage::Refused(_)) {
                    self.charges.bring(side, Rule::RefusalLeftOpen, "welcomed after all");
                } else if self.connection.bad_opening {
                    self.charges.bring(side, Rule::BadOpeningServed, "");
                }
                let superseded = self.registry.welcome(self.charges, self.conn, self.connection, frame);
                self.remember(side, frame, print);
                return superseded;
            }
            Stage::Opening if message == Some(MessageType::SessionError) => {
                self.registry.refuse(self.charges, self.connection, frame);
            }
            Stage::Opening => self.charges.bring(side, Rule::FirstAnswer, shown(&frame.envelope.type_name())),
            Stage::Refused(_) => {
                self.charges.bring(side, Rule::RefusalLeftOpen, shown(&frame.envelope.type_name()));
            }
            Stage::Attached if welcome => {
                self.charges.bring(side, Rule::SecondWelcome, "");
                self.connection.farewell(self.charges, side, frame);
            }
            Stage::Attached => verdict.replayed = self.attached(side, frame, print) == Seen::Again,
        }
        None
    }

    /// A frame on a transport that has been welcomed.
    fn attached(&mut self, side: Side, frame: &Frame<'_>, print: Print) -> Seen {
        if self.connection.superseded {
            self.superseded(side, frame);
            return Seen::First;
        }
        if side == Side::Client && frame.envelope.session_id().is_none() {
            self.charges.bring(side, Rule::SessionIdAbsent, shown(&frame.envelope.type_name()));
        }
        if let (Some(named), Some(own)) = (frame.envelope.session_id(), &self.connection.session)
            && named != *own.as_str()
        {
            self.charges.bring(side, Rule::SessionIdForeign, shown(&frame.envelope.type_name()));
            self.nameless(side, frame);
            return Seen::First;
        }
        self.remember(side, frame, print);
        self.connection.farewell(self.charges, side, frame);
        self.connection.heartbeat(self.charges, side, frame);
        let Some(id) = &self.connection.session else { return Seen::First };
        let Some(session) = self.registry.get_mut(id).filter(|it| it.attachment == self.connection.attachment) else {
            return Seen::First;
        };
        match side {
            Side::Client => {
                session.from_client(self.charges, self.connection.now, frame);
                Seen::First
            }
            Side::Runtime => session.from_runtime(self.charges, self.connection, frame, print),
        }
    }

    /// A frame on a transport that no longer holds the session though it still stands (D15).
    fn superseded(&mut self, side: Side, frame: &Frame<'_>) {
        if side == Side::Client {
            return;
        }
        let bye = frame.message == Some(MessageType::SessionBye)
            && frame.payload.text("reason").as_deref() == Some("superseded");
        if bye && self.connection.runtime.farewell.is_none() {
            self.connection.farewell(self.charges, side, frame);
        } else {
            let what = frame.message.map_or_else(|| "a frame".to_string(), |message| message.to_string());
            self.charges.bring(side, Rule::Takeover, what);
        }
    }

    /// Message ids do not repeat.
    fn remember(&mut self, side: Side, frame: &Frame<'_>, print: Print) {
        let id = frame.envelope.id().map(|id| Print::of(&id));
        if id.is_none() && side == Side::Client {
            self.connection.nameless += 1;
        }
        let attachment = self.connection.attachment;
        let Some(session) = self.connection.session.as_ref().and_then(|id| self.registry.get_mut(id)) else { return };
        if session.attachment == attachment {
            session.id(self.charges, side, id, print);
        }
    }
}
