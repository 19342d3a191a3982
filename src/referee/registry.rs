//! All sessions, by id and by resume token (§6.3).

use alloc::format;

use super::connection::{Claim, Connection, Stage};
use super::finding::{Charges, Side};
use super::frame::Frame;
use super::memory::{Memory, Print};
use super::object::Object;
use super::rule::Rule;
use super::session::Session;
use crate::wire::SessionId;
use core::time::Duration;

const MAX_SESSIONS: usize = 256;
const MAX_TOKENS: usize = 16_384;
const MAX_BEARERS: usize = 1_024;

/// The sessions that were seen.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    sessions: Memory<SessionId, Session>,
    /// Every token that was issued, and for which session.
    tokens: Memory<Print, SessionId>,
    /// Bearers that were welcomed once.
    bearers: Memory<Print, ()>,
}

impl Registry {
    pub(super) const fn new() -> Registry {
        Registry {
            sessions: Memory::new(MAX_SESSIONS),
            tokens: Memory::new(MAX_TOKENS),
            bearers: Memory::new(MAX_BEARERS),
        }
    }

    pub(super) fn get_mut(&mut self, id: &SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(id)
    }

    /// Judges what a hello says of a session to be resumed.
    pub(super) fn claim(&self, charges: &mut Charges, payload: &Object<'_>) -> Option<Claim> {
        let inner = payload.object("resume").unwrap_or_default();
        let token = inner.word("resume_token").or_else(|| inner.word("token")).or_else(|| payload.word("resume_token"));
        if token.is_none() && !payload.has("resume") {
            return None;
        }
        let token = token.map(|token| Print::of(&token));
        let last = inner.integer("last_event_seq").or_else(|| payload.integer("last_event_seq")).unwrap_or(0);
        let named = inner.word("session_id").map(|id| SessionId::from(&*id));
        let issued = token.and_then(|token| self.tokens.get(&token).cloned());
        let session = named.or_else(|| issued.clone());
        let mut claim = Claim { session, token, last_event_seq: last, stale: false, beyond: false };
        if let Some(known) = claim.session.as_ref().and_then(|id| self.sessions.get(id)) {
            let good = token.is_some() && (token == known.token || token == known.previous_token);
            claim.stale = !good && (issued.is_some() || known.token.is_some());
            claim.beyond = last > known.sequence.highest();
        }
        let side = Side::Client;
        if claim.stale {
            charges.bring(side, Rule::StaleToken, if issued.is_some() { "rotated since" } else { "never issued" });
        }
        if claim.beyond {
            charges.bring(side, Rule::ResumeBeyond, format!("{last}"));
        }
        Some(claim)
    }

    /// A welcome: a new session, or an old one on a new transport. Gives the transport that was superseded.
    pub(super) fn welcome(
        &mut self,
        charges: &mut Charges,
        conn: u64,
        connection: &mut Connection,
        frame: &Frame<'_>,
    ) -> Option<u64> {
        let side = Side::Runtime;
        let id = frame.envelope.to_session_id();
        let claim = connection.hello.claim.clone();
        let resumed = claim.as_ref().filter(|claim| claim.session.is_some() && claim.session == id);
        if let Some(claim) = &claim {
            if claim.session.is_some() && resumed.is_none() && id.is_some() {
                charges.bring(side, Rule::ResumeOtherSession, "");
                connection.excused = true;
            }
            if resumed.is_some() && (claim.stale || claim.beyond) {
                let why = if claim.stale { "the token was not the session's" } else { "from beyond the end" };
                charges.bring(side, Rule::ResumeUnchecked, why);
            }
        }
        let before =
            resumed.and_then(|claim| self.sessions.get(claim.session.as_ref()?)).and_then(|it| it.features.clone());
        connection.attach(charges, &frame.payload, before.as_ref());
        if let Some(bearer) = connection.hello.bearer {
            self.bearers.insert(bearer, ());
        }
        let id = id?;
        connection.session = Some(id.clone());
        let token = self.token(charges, &id, &frame.payload);
        let last = resumed.map(|claim| claim.last_event_seq);
        if last.is_none() && self.sessions.contains(&id) {
            charges.bring(side, Rule::SessionIdReused, "");
            self.sessions.remove(&id);
        }
        let session = self.sessions.entry(id, || last.map_or_else(Session::new, Session::partial))?;
        let superseded = session.conn.filter(|old| *old != conn);
        session.attach(conn, connection, last);
        session.previous_token = claim.and_then(|claim| claim.token);
        session.token = token;
        session.window = frame.payload.integer("resume_window_sec").map(Duration::from_secs);
        if let Some(print) = connection.hello.print {
            session.id(charges, Side::Client, connection.hello.id, print);
        }
        superseded
    }

    fn token(&mut self, charges: &mut Charges, id: &SessionId, payload: &Object<'_>) -> Option<Print> {
        let token = payload.word("resume_token")?;
        if resembles(&token, id.as_str()) {
            charges.bring(Side::Runtime, Rule::TokenGuessable, "");
        }
        let print = Print::of(&token);
        if let Some(holder) = self.tokens.get(&print) {
            let whose = if holder == id { "the session's own" } else { "another session's" };
            charges.bring(Side::Runtime, Rule::TokenKept, whose);
        }
        self.tokens.insert(print, id.clone());
        Some(print)
    }

    /// An error in place of the welcome.
    pub(super) fn refuse(&mut self, charges: &mut Charges, connection: &mut Connection, frame: &Frame<'_>) {
        connection.stage = Stage::Refused(connection.now);
        let side = Side::Runtime;
        let (Some(claim), Some(code)) = (&connection.hello.claim, frame.payload.text("code")) else { return };
        let Some(session) = claim.session.as_ref().and_then(|id| self.sessions.get(id)) else { return };
        let bearer = connection.hello.bearer;
        let known = bearer.is_some_and(|bearer| self.bearers.contains(&bearer));
        if code == "UNAUTHENTICATED" && known && (claim.stale || claim.beyond || bearer != session.bearer) {
            charges.bring(side, Rule::ResumeRefusalCode, code);
            return;
        }
        if claim.stale || claim.beyond {
            return;
        }
        // A token that was rotated, but not yet used up, may be refused.
        if claim.token != session.token {
            return;
        }
        if code != "RESUME_WINDOW_EXPIRED" || bearer.is_none() || bearer != session.bearer || session.closed {
            return;
        }
        let in_window = session.window.is_some_and(|window| connection.now - session.detached_at < window);
        if session.conn.is_some() {
            charges.bring(side, Rule::TakeoverRefused, "");
        } else if in_window && claim.last_event_seq == session.sequence.highest() {
            charges.bring(side, Rule::ResumeRefused, format!("at {}", claim.last_event_seq));
        }
    }
}

/// Whether a token begins like the session's id: then both come from one guessable source.
fn resembles(token: &str, id: &str) -> bool {
    const TOO_LONG: usize = 12;
    let bare = |text: &'_ str| -> alloc::string::String { text.split_once('_').map_or(text, |(_, rest)| rest).into() };
    bare(token).bytes().zip(bare(id).bytes()).take_while(|(one, other)| one == other).count() >= TOO_LONG
}
