//! From a transport's first message to a session on it (D9, D13-D15).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Display;

use bytes::Bytes;

use super::Endpoint;
use super::audit::Audited;
use super::connection::{ConnId, Judging, Stage};
use super::durable::FIRST_GENERATION;
use super::error::AdmitError;
use super::event::{Applicant, EndpointEvent, ResumeWish};
use super::registry::Key;
use crate::session::{Grant, Hello, Opening, Refusal, RefusedBecause, ResumeAttempt, ResumeRefused};
use crate::time::{Instant, Now};
use crate::wire::{AgentInfo, ErrorCode, MAX_ID_LEN, Principal, SessionId, WireError};

/// A client that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Its session.
    pub session: SessionId,
    /// The session was here before, and goes on.
    pub resumed: bool,
}

/// The longest resume token that is granted, in bytes.
const MAX_TOKEN_LEN: usize = 1_024;

/// Why no client could take the grant.
fn flaw_of(grant: &Grant, is_new: bool, max_frame: usize) -> Option<&'static str> {
    let len_of = |agent: &AgentInfo| {
        let versions = agent.versions.iter().map(|version| version.len() + 3).sum::<usize>();
        agent.name.len() + versions + agent.default.as_ref().map_or(0, String::len) + 48
    };
    if is_new && !(1..=MAX_ID_LEN).contains(&grant.session_id.as_str().len()) {
        Some("a session id has 1 to 256 bytes")
    } else if !(1..=MAX_TOKEN_LEN).contains(&grant.resume_token.reveal().len()) {
        Some("a resume token has 1 to 1024 bytes")
    } else if grant.agents.iter().map(len_of).sum::<usize>() > max_frame / 2 {
        Some("the agents do not fit half a frame")
    } else {
        None
    }
}

impl Opening {
    fn refuse(self, now: Now, error: WireError) -> Bytes {
        match self {
            Opening::Hello(hello) => hello.refuse(now, error),
            Opening::Resume(attempt) => attempt.refuse(now, error),
        }
    }
}

/// Verdicts on who asks to be let in.
impl Endpoint {
    /// Lets a client in, as `grant` says: a new session begins, or, where the client wants to resume one, that goes on here.
    /// Of a grant for a resume the session id is not used; the token is the session's next one, the principal must be the
    /// session's own (D14), and the agents are those that the welcome tells of.
    ///
    /// # Errors
    ///
    /// When nobody waits any more, the grant is not fresh, or the client could not be let in after all: then it was told so.
    pub fn admit(&mut self, now: Now, conn: ConnId, grant: Grant) -> Result<Admitted, AdmitError> {
        let now = self.tick(now);
        let Some(Stage::Judging(judging)) = self.conns.get(conn).map(|conn| &conn.stage) else {
            return Err(AdmitError::NobodyWaits);
        };
        let is_new = matches!(judging.opening, Some(Opening::Hello(_)));
        if let Some(why) = flaw_of(&grant, is_new, self.config.runtime.limits.max_frame) {
            return Err(AdmitError::BadGrant(why));
        }
        if self.registry.by_token(&grant.resume_token.digest()).is_some() {
            return Err(AdmitError::TokenTaken);
        }
        if is_new && self.registry.key_of(&grant.session_id).is_some() {
            return Err(AdmitError::SessionIdTaken(grant.session_id));
        }
        let Some((opening, held)) = self.conns.take_opening(conn) else {
            return Err(AdmitError::NobodyWaits);
        };
        match opening {
            Opening::Hello(hello) => self.begin(now, conn, hello, grant, held),
            Opening::Resume(attempt) => self.resume(now, conn, attempt, grant, held),
        }
    }

    /// Turns a client away, for example with UNAUTHENTICATED. The transport will be closed. A code that is none of the
    /// draft's is sent as INTERNAL_ERROR where the error is retryable, else as INVALID_REQUEST (D11).
    ///
    /// # Errors
    ///
    /// When nobody waits any more.
    pub fn reject(&mut self, now: Now, conn: ConnId, error: WireError) -> Result<(), AdmitError> {
        let now = self.tick(now);
        if !matches!(self.conns.get(conn).map(|conn| &conn.stage), Some(Stage::Judging(_))) {
            return Err(AdmitError::NobodyWaits);
        }
        self.note(Some(conn), None, None, Audited::Rejected(error.code.clone()));
        self.turn_away(now, conn, error);
        Ok(())
    }
}

impl Endpoint {
    pub(super) fn receive_opening(&mut self, now: Now, conn: ConnId, message: Bytes) {
        // The question would outlive its transport: strangers could ask without end.
        if self.has_no_room_for(&message) {
            let error = WireError::new(ErrorCode::InternalError, "too much waits to be attended to, try again");
            return self.fail_handshake(now, conn, error);
        }
        let len = message.len();
        match Opening::parse(message, &self.config.runtime.limits) {
            Ok(opening) => self.ask_who(now, conn, opening, len),
            Err(refusal) => self.refuse_opening(now, conn, refusal),
        }
    }

    fn ask_who(&mut self, now: Now, conn: ConnId, opening: Opening, len: usize) {
        let (peer, credentials, resume) = match &opening {
            Opening::Hello(hello) => (hello.peer(), hello.credentials(), None),
            Opening::Resume(attempt) => {
                let token_digest = attempt.token().digest();
                let wish = ResumeWish {
                    token_digest,
                    session_id: attempt.session_id().cloned(),
                    last_event_seq: attempt.last_event_seq(),
                    is_here: self.registry.by_token(&token_digest).is_some(),
                };
                (attempt.peer(), attempt.credentials(), Some(wish))
            }
        };
        let applicant = Applicant { conn, peer: peer.clone(), credentials: credentials.clone(), resume };
        self.conns.set_stage(
            conn,
            Stage::Judging(Box::new(Judging { opening: Some(opening), held: Vec::new(), held_bytes: 0 })),
        );
        self.set_conn_deadline(conn, now.mono + self.config.verdict_timeout);
        self.events.push(EndpointEvent::Authenticate(Box::new(applicant)), len, None);
    }

    /// Keeps what the client sends before it is let in.
    pub(super) fn hold(&mut self, now: Now, conn: ConnId, message: Bytes) {
        let (frames, bytes) = (self.config.held_frames, self.config.held_bytes);
        let Some(Stage::Judging(judging)) = self.conns.get_mut(conn).map(|conn| &mut conn.stage) else { return };
        judging.held_bytes = judging.held_bytes.saturating_add(message.len());
        if judging.held.len() < frames && judging.held_bytes <= bytes {
            judging.held.push(message);
        } else {
            self.spoil(now, conn, "too much was sent before the welcome");
        }
    }

    /// The handshake cannot go on.
    pub(super) fn spoil(&mut self, now: Now, conn: ConnId, why: impl Display) {
        let error = WireError::new(ErrorCode::InvalidRequest, alloc::format!("{why}"));
        self.fail_handshake(now, conn, error);
    }

    pub(super) fn opening_timed_out(&mut self, now: Now, conn: ConnId) {
        let is_ours = matches!(self.conns.get(conn).map(|conn| &conn.stage), Some(Stage::Judging(_)));
        let error = if is_ours {
            WireError::new(ErrorCode::InternalError, "nobody could say in time who this is")
        } else {
            WireError::new(ErrorCode::Timeout, "no `session.hello` came in time")
        };
        self.fail_handshake(now, conn, error);
    }

    pub(super) fn fail_handshake(&mut self, now: Now, conn: ConnId, error: WireError) {
        self.note(Some(conn), None, None, Audited::HandshakeFailed(error.code.clone()));
        self.turn_away(now, conn, error);
    }

    fn refuse_opening(&mut self, now: Now, conn: ConnId, refusal: Refusal) {
        self.counters.handshakes_failed += 1;
        self.note(Some(conn), None, None, Audited::HandshakeFailed(refusal.error().code.clone()));
        self.leave(now, conn, [refusal.into_message(now)]);
    }

    /// Answers with an error, and closes (D9, D11).
    fn turn_away(&mut self, now: Now, conn: ConnId, error: WireError) {
        self.counters.handshakes_failed += 1;
        let frame = match self.conns.take_opening(conn) {
            Some((opening, _)) => opening.refuse(now, error),
            None => Refusal::new(error).into_message(now),
        };
        self.leave(now, conn, [frame]);
    }

    fn begin(
        &mut self,
        now: Now,
        conn: ConnId,
        hello: Hello,
        grant: Grant,
        held: Vec<Bytes>,
    ) -> Result<Admitted, AdmitError> {
        if let Err(limit) = self.make_place(now, &grant.principal) {
            self.note(Some(conn), None, Some(&grant.principal), Audited::NoPlace(limit));
            self.counters.handshakes_failed += 1;
            let error = WireError::new(ErrorCode::InternalError, alloc::format!("there is no place: {limit}"));
            self.leave(now, conn, [hello.refuse(now, error)]);
            return Err(AdmitError::NoPlace(limit));
        }
        let session_id = grant.session_id.clone();
        let session = hello.accept(now, Arc::clone(&self.config.runtime), grant);
        let key = self.registry.insert(session, None);
        self.make_durable(key, FIRST_GENERATION, 0);
        self.counters.admitted += 1;
        self.attach(now, conn, key, Audited::Admitted, held);
        Ok(Admitted { session: session_id, resumed: false })
    }

    fn resume(
        &mut self,
        now: Now,
        conn: ConnId,
        attempt: ResumeAttempt,
        grant: Grant,
        held: Vec<Bytes>,
    ) -> Result<Admitted, AdmitError> {
        let presented = attempt.token().digest();
        let last_event_seq = attempt.last_event_seq();
        if let Some(key) = self.registry.by_token(&presented) {
            // What is due goes first: its transport may be lost by now, or its window over.
            self.session_timed_out(now, key);
        }
        let Some((key, member)) = self.registry.by_token(&presented).and_then(|key| {
            let member = self.registry.get_mut(key)?;
            Some((key, member))
        }) else {
            let frame = attempt.refuse(now, ResumeRefused::expired());
            return Err(self.refuse_resume(now, conn, None, &grant.principal, RefusedBecause::Token, frame));
        };
        let old = member.conn;
        let is_unheard = old.is_some_and(|old| self.owes_welcome(key, old));
        let Some(member) = self.registry.get_mut(key) else { return Err(AdmitError::NobodyWaits) };
        let last_token = member.session.token_digest();
        let last_agents = member.session.replace_agents(grant.agents);
        let takeover = match member.session.resume(now, attempt, &grant.principal, grant.resume_token) {
            Ok(takeover) => takeover,
            Err(refused) => {
                let reason = refused.reason();
                member.session.replace_agents(last_agents);
                let session = member.session.session_id().cloned();
                let frame = refused.into_message(now);
                return Err(self.refuse_resume(now, conn, session, &grant.principal, reason, frame));
            }
        };
        let session_id = member.session.session_id().cloned();
        member.conn = None;
        self.registry.rotate(key, last_token, presented);
        self.registry.unpark(key);
        self.attachment_changed(key);
        self.counters.resumed += 1;
        if let Some(old) = old {
            self.counters.takeovers += 1;
            self.note(Some(old), session_id.as_ref(), Some(&grant.principal), Audited::Superseded);
            self.leave(now, old, takeover.farewell.into_iter().filter(|_| !is_unheard));
        }
        self.attach(now, conn, key, Audited::Resumed { last_event_seq }, held);
        Ok(Admitted { session: session_id.ok_or(AdmitError::NobodyWaits)?, resumed: true })
    }

    fn refuse_resume(
        &mut self,
        now: Now,
        conn: ConnId,
        session: Option<SessionId>,
        principal: &Principal,
        reason: RefusedBecause,
        frame: Bytes,
    ) -> AdmitError {
        self.counters.resumes_refused += 1;
        self.counters.handshakes_failed += 1;
        self.note(Some(conn), session.as_ref(), Some(principal), Audited::ResumeRefused(reason));
        self.leave(now, conn, [frame]);
        AdmitError::ResumeRefused(reason)
    }

    /// The transport carries the session from here on. What was held of it goes in before the welcome goes out: only what
    /// comes later is the client's word that it has the welcome.
    fn attach(&mut self, now: Now, conn: ConnId, key: Key, action: Audited, held: Vec<Bytes>) {
        self.conns.set_stage(conn, Stage::Attached(key));
        self.set_conn_deadline(conn, Instant::MAX);
        if let Some(member) = self.registry.get_mut(key) {
            member.conn = Some(conn);
        }
        self.note_session(key, action);
        self.serve(now, key);
        for message in held {
            // One of them may be a goodbye.
            if self.key_on(conn) == Some(key) {
                self.receive(now, key, message);
            }
        }
    }
}
