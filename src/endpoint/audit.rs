//! What an operator logs: who was let in, what was taken over, looked at, thrown out (§14).

use alloc::collections::VecDeque;
use core::fmt;

use super::Endpoint;
use super::connection::ConnId;
use super::limit::Limit;
use super::registry::Key;
use crate::session::{CloseReason, DetachReason, RefusedBecause};
use crate::time::Timestamp;
use crate::wire::{ErrorCode, JobId, Principal, SessionId};

/// One decision, with all that it was about. No secret is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRecord {
    /// When, by the wall clock.
    pub at: Timestamp,
    /// The transport, where it was about one.
    pub conn: Option<ConnId>,
    /// The session, where there was one: of a refused resume the one whose token was presented, also by somebody else.
    pub session: Option<SessionId>,
    /// Whose session; of a refused handshake, who the application said that it was.
    pub principal: Option<Principal>,
    /// What was decided.
    pub action: Audited,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Audited {
    /// A client was let in: a session began.
    Admitted,
    /// The application turned a client away.
    Rejected(ErrorCode),
    /// There was no opening to judge, or nobody to judge it in time; the client was told so.
    HandshakeFailed(ErrorCode),
    /// A new session found no place.
    NoPlace(Limit),
    /// A session goes on, on this transport.
    Resumed {
        /// Behind this event.
        last_event_seq: u64,
    },
    /// A resume was refused; no session was touched.
    ResumeRefused(RefusedBecause),
    /// A session was attached to this transport until another took it over (D15).
    Superseded,
    /// A session hears of a job.
    Subscribed {
        /// The job.
        job: JobId,
        /// Whose job.
        owner: Principal,
        /// Events of its past that were given.
        replayed: usize,
    },
    /// A session does not hear of a job.
    SubscribeRefused {
        /// The job, as it was asked for.
        job: JobId,
        /// Whose job, if there is one.
        owner: Option<Principal>,
        /// What the client was told.
        code: ErrorCode,
    },
    /// A session no longer wants to hear of a job.
    Unsubscribed {
        /// The job.
        job: JobId,
    },
    /// A cancel was refused, because it was not its session's to cancel, or there was nothing to (D36, D37).
    CancelRefused {
        /// The job, as it was asked for.
        job: JobId,
        /// What the client was told.
        code: ErrorCode,
    },
    /// A session lost its transport.
    Detached(DetachReason),
    /// A parked session's place was needed.
    Evicted(Limit),
    /// A session came from a store.
    Adopted {
        /// The generation that it has here.
        generation: u64,
    },
    /// A session has ended.
    Closed(CloseReason),
}

/// One line, for a log.
impl fmt::Display for AuditRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.at)?;
        if let Some(conn) = self.conn {
            write!(f, " conn={conn}")?;
        }
        if let Some(session) = &self.session {
            write!(f, " session={:?}", session.as_str())?;
        }
        if let Some(principal) = &self.principal {
            write!(f, " principal={:?}", principal.as_str())?;
        }
        write!(f, " {:?}", self.action)
    }
}

/// Records that wait to be polled; the oldest goes where there are too many.
#[derive(Clone, Debug)]
pub(super) struct AuditTrail {
    records: VecDeque<AuditRecord>,
    limit: usize,
    lost: u64,
}

impl AuditTrail {
    pub(super) fn new(limit: usize) -> AuditTrail {
        AuditTrail { records: VecDeque::new(), limit, lost: 0 }
    }

    pub(super) fn push(&mut self, record: AuditRecord) {
        if self.records.len() >= self.limit {
            self.lost += 1;
            self.records.pop_front();
        }
        if self.limit > 0 {
            self.records.push_back(record);
        }
    }

    pub(super) fn pop(&mut self) -> Option<AuditRecord> {
        self.records.pop_front()
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

impl Endpoint {
    pub(super) fn note(
        &mut self,
        conn: Option<ConnId>,
        session: Option<&SessionId>,
        principal: Option<&Principal>,
        action: Audited,
    ) {
        let (session, principal) = (session.cloned(), principal.cloned());
        self.audit.push(AuditRecord { at: self.clock.wall, conn, session, principal, action });
    }

    /// Notes what was decided about a session.
    pub(super) fn note_session(&mut self, key: Key, action: Audited) {
        let Some(member) = self.registry.get(key) else { return };
        let session = member.session.session_id().cloned();
        let principal = Some(member.session.principal().clone());
        let conn = member.conn;
        self.audit.push(AuditRecord { at: self.clock.wall, conn, session, principal, action });
    }
}
