//! What an endpoint tells the application.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::connection::ConnId;
use crate::session::{CloseReason, DetachReason, RequestId, Violation};
use crate::wire::{Credentials, Envelope, JobId, JobQuery, JobSubmit, PeerInfo, Principal, SessionId, TraceId};

/// Somebody who asks to be let in: answer by [`admit`](super::Endpoint::admit) or [`reject`](super::Endpoint::reject).
#[derive(Clone, Debug)]
pub struct Applicant {
    /// The transport.
    pub conn: ConnId,
    /// Who the client says that it is.
    pub peer: PeerInfo,
    /// What it offers as proof; a secret.
    pub credentials: Credentials,
    /// What it wants to resume; `None` for a new session.
    pub resume: Option<ResumeWish>,
}

/// Which session a client wants to resume (D13).
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeWish {
    /// The SHA-256 of the token that it presents: by this a store finds the session.
    pub token_digest: [u8; 32],
    /// The session that it names, where it does.
    pub session_id: Option<SessionId>,
    /// The last event that it has.
    pub last_event_seq: u64,
    /// The session is here. If not, a store may have it: [`adopt`](super::Endpoint::adopt) it before `admit`.
    pub is_here: bool,
}

/// Without the digest.
impl fmt::Debug for ResumeWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeWish")
            .field("session_id", &self.session_id)
            .field("last_event_seq", &self.last_event_seq)
            .field("is_here", &self.is_here)
            .finish_non_exhaustive()
    }
}

/// Names a request of a session; to be handed back with its answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// Whose request it is.
    pub session: SessionId,
    pub(super) id: RequestId,
    /// Of the session's life here: it may have been elsewhere, and come back with other requests.
    pub(super) serial: u64,
}

/// For logs.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.session, self.id)
    }
}

/// What an [`Endpoint`](super::Endpoint) tells its application.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EndpointEvent {
    /// Who is this? Nothing of what the client sends is processed before the answer, which may take its time, up to
    /// [`EndpointConfig::verdict_timeout`](super::EndpointConfig::verdict_timeout).
    Authenticate(Box<Applicant>),
    /// A client is back, on another transport.
    Resumed {
        /// The session.
        session: SessionId,
        /// It was attached still, and has been superseded there (D15).
        takeover: bool,
    },
    /// A job is asked for (§7.1): answer by [`accept_job`](super::Endpoint::accept_job) or
    /// [`refuse`](super::Endpoint::refuse). A repetition of one that was accepted (§7.2) is answered by the endpoint and
    /// does not come here.
    Submit {
        /// The request.
        request: Request,
        /// Who asks.
        principal: Principal,
        /// What is asked for.
        submit: Box<JobSubmit>,
        /// The trace that it runs under.
        trace_id: Option<TraceId>,
    },
    /// The session that submitted a job wants it cancelled (§7.4, D37): answer by
    /// [`confirm_cancel`](super::Endpoint::confirm_cancel) or [`refuse`](super::Endpoint::refuse).
    Cancel {
        /// The request.
        request: Request,
        /// The job, which has not ended.
        job_id: JobId,
        /// The client's reason.
        reason: Option<String>,
    },
    /// Jobs are asked for (A11), and the application has said that it answers itself: by
    /// [`respond_jobs`](super::Endpoint::respond_jobs) or [`refuse`](super::Endpoint::refuse).
    ListJobs {
        /// The request.
        request: Request,
        /// Who asks.
        principal: Principal,
        /// Which jobs.
        query: Box<JobQuery>,
    },
    /// What was refused with `Blocked` now fits, or there is nobody left to wait for: publish again (D19).
    Writable {
        /// The session that was full.
        session: SessionId,
        /// The jobs that were refused.
        jobs: Vec<JobId>,
    },
    /// A client's acknowledgements fell behind, or caught up (D26).
    BackPressure {
        /// The session.
        session: SessionId,
        /// Whether they are behind now.
        active: bool,
        /// By how many events.
        lag: u64,
    },
    /// A message that is none of ours (`x-vendor.…`), handed through (D7).
    Vendor {
        /// The session.
        session: SessionId,
        /// The message.
        envelope: Envelope,
    },
    /// A client broke the protocol; its session goes on.
    Violation {
        /// The session.
        session: SessionId,
        /// What it did.
        violation: Violation,
    },
    /// A session has no transport now; it can be resumed.
    Detached {
        /// The session.
        session: SessionId,
        /// Why.
        reason: DetachReason,
    },
    /// A session's resume window is over (D18): `Closed` follows at once, unless events wait that nobody acknowledged.
    WindowElapsed {
        /// The session.
        session: SessionId,
    },
    /// A session has ended. Jobs go on: here, save where the session can go on elsewhere.
    Closed {
        /// The session.
        session: SessionId,
        /// Why.
        reason: CloseReason,
        /// Its jobs that have not ended. From now on only subscribers hear of them, and only the application cancels them. But
        /// where the session lives elsewhere ([`Fenced`](CloseReason::Fenced)), or was shut down and is stored, they are no
        /// longer this process's: stop them, for another carries them on, and nothing can be published of them here.
        jobs: Vec<JobId>,
    },
}
