//! One frame in its place: who says it, on which transport, at which point of which session.

use alloc::string::ToString;
use core::time::Duration;

use bytes::Bytes;

use super::connection::{self, Connection, Introduction, Stage};
use super::finding::{Charges, Side, Verdict};
use super::frame::{self, Frame, shown};
use super::memory::Print;
use super::registry::Registry;
use super::rule::Rule;
use super::sequence::Seen;
use super::session::{self, Session};
use super::{payload, summary};
use crate::time::Instant;
use crate::wire::{Envelope, MessageType};

/// One frame, and all that it is judged with.
pub(super) struct Sight<'r> {
    pub(super) conn: u64,
    pub(super) connection: &'r mut Connection,
    pub(super) registry: &'r mut Registry,
    pub(super) charges: &'r mut Charges,
    /// How late or early a frame may be told.
    pub(super) tolerance: Duration,
}

impl Sight<'_> {
    /// Judges the frame. Gives the transport that it supersedes.
    pub(super) fn frame(&mut self, from: Side, at: Instant, bytes: Bytes, verdict: &mut Verdict) -> Option<u64> {
        self.connection.tick(self.charges, at, self.tolerance);
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
                _ => self.connection.nameless = self.connection.nameless.saturating_add(1),
            }
        }
    }

    fn nameless(&mut self, from: Side, frame: &Frame<'_>) {
        if from == Side::Client {
            let id = frame.envelope.id().map(|id| Print::of(&id));
            match (id, self.session()) {
                (Some(id), Some(session)) => session.name(id),
                _ => self.connection.nameless = self.connection.nameless.saturating_add(1),
            }
        }
    }

    /// The session, if this transport is the last that held it.
    fn session(&mut self) -> Option<&mut Session> {
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
            Stage::Refused(_) | Stage::Unseen => {}
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
            Stage::Unseen => {}
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
                session.take_from_client(self.charges, self.connection.now, frame);
                Seen::First
            }
            Side::Runtime => session.take_from_runtime(self.charges, self.connection, frame, print, self.tolerance),
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
            self.connection.nameless = self.connection.nameless.saturating_add(1);
        }
        let attachment = self.connection.attachment;
        let Some(session) = self.connection.session.as_ref().and_then(|id| self.registry.get_mut(id)) else { return };
        if session.attachment == attachment {
            session.id(self.charges, side, id, print);
        }
    }
}
