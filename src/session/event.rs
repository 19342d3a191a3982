//! What a session tells the application.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use serde::Deserialize;

use super::error::{CloseReason, DetachReason, Violation};
use super::requests::{RequestFailure, RequestId};
use crate::feature::FeatureSet;
use crate::wire::{
    AgentInfo, Envelope, JobAccepted, JobError, JobId, JobPage, JobQuery, JobResult, JobSubmit, JobSubscribe,
    JobSubscribed, PayloadError, PeerInfo, SessionId, TraceId, WireError,
};

/// What the welcome said (A2).
#[derive(Clone, Debug, PartialEq)]
pub struct SessionInfo {
    /// The session's id.
    pub session_id: SessionId,
    /// Who the runtime says that it is.
    pub runtime: PeerInfo,
    /// The agents that can be asked for.
    pub agents: Vec<AgentInfo>,
    /// The features that both sides may use (A5).
    pub features: FeatureSet,
    /// The heartbeat interval, if heartbeats were negotiated.
    pub heartbeat_interval: Option<Duration>,
    /// How long the session can be resumed once its transport is lost.
    pub resume_window: Duration,
}

/// Something of a job that came in the session's sequence: a handle on its frame, cheap to clone and to send to
/// another task.
///
/// Hand [`seq`](Delivery::seq) to `mark_processed` once it is durably processed.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(super) seq: Option<u64>,
    pub(super) envelope: Envelope,
}

impl Delivery {
    /// Its place in the session's sequence (§8.3). `None` where a peer sends one without.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// The job; empty where a peer names none.
    #[must_use]
    pub fn job_id(&self) -> Cow<'_, str> {
        self.envelope.job_id().unwrap_or_default()
    }

    /// [`job_id`](Delivery::job_id), copied out of the frame.
    #[must_use]
    pub fn to_job_id(&self) -> Option<JobId> {
        self.envelope.to_job_id()
    }

    /// The event's kind (§8.2): one of [`kind`](crate::wire::job_event::kind), or a vendor's; empty of what is no
    /// `job.event`.
    #[must_use]
    pub fn kind(&self) -> Cow<'_, str> {
        self.envelope.event_kind().unwrap_or_default()
    }

    /// The event's body as a `T`, `{}` where there is none: one of [`job_event`](crate::wire::job_event)'s types, or the caller's own.
    ///
    /// # Errors
    ///
    /// When the body has another shape.
    pub fn body<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PayloadError> {
        self.envelope.event_body()
    }

    /// The whole message.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}

/// What a client session tells its application.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The welcome came: the session is open (A2).
    Connected(Arc<SessionInfo>),
    /// The welcome to a resume came: the session goes on where it was. Features may differ now.
    Resumed(Arc<SessionInfo>),
    /// A job was taken (§7.1).
    Accepted {
        /// The submit that it answers. `None` of a delegated job, of one that was submitted before a reconnect, and where
        /// it cannot be told (D12).
        request: Option<RequestId>,
        /// What the runtime says of the job.
        accepted: Box<JobAccepted>,
    },
    /// Something happened in a job (§8).
    Event(Delivery),
    /// A job ended well (§7.3).
    Finished {
        /// The message.
        delivery: Delivery,
        /// Its payload.
        result: Box<JobResult>,
    },
    /// A job ended otherwise (§7.3).
    Failed {
        /// The message.
        delivery: Delivery,
        /// Its payload.
        error: Box<JobError>,
    },
    /// The runtime took up a cancel (§7.4). The job's end follows as `Failed`.
    Cancelled {
        /// The cancel that it answers, if it was ours.
        request: Option<RequestId>,
        /// The message.
        delivery: Delivery,
    },
    /// A subscription stands (§7.6).
    Subscribed {
        /// The subscribe that it answers; `None` where that is not an open one.
        request: Option<RequestId>,
        /// What the runtime says of the job.
        subscribed: Box<JobSubscribed>,
    },
    /// A page of jobs (A11).
    Jobs {
        /// The query that it answers.
        request: RequestId,
        /// The page.
        page: JobPage,
    },
    /// A request came to nothing.
    RequestFailed {
        /// The request.
        request: RequestId,
        /// Why.
        failure: RequestFailure,
    },
    /// The runtime reported an error that belongs to no request. Nothing is failed by it.
    Error {
        /// The error.
        error: WireError,
        /// The job that it names.
        job_id: Option<JobId>,
    },
    /// Events are lost for good: neither the stream nor a replay has them (D28).
    EventsLost {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// So many polled events are not marked as processed: the runtime will hold back, or stop. Told once until the
    /// next mark.
    Lagging {
        /// How many.
        unprocessed: u64,
    },
    /// The runtime broke the protocol; the session goes on.
    Violation(Violation),
    /// There is no transport now; the session can be resumed, if it has a [`resume_token`](crate::Session::resume_token).
    Detached(DetachReason),
    /// The session has ended. The last event, told exactly once.
    Closed(CloseReason),
}

impl ClientEvent {
    /// Its place in the session's sequence, which `mark_processed` takes once it is durably processed.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        match self {
            ClientEvent::Event(delivery)
            | ClientEvent::Finished { delivery, .. }
            | ClientEvent::Failed { delivery, .. }
            | ClientEvent::Cancelled { delivery, .. } => delivery.seq(),
            _ => None,
        }
    }
}

/// What a runtime session tells its application.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RuntimeEvent {
    /// The client resumed the session.
    Resumed {
        /// An older transport was attached and has been superseded (D15).
        takeover: bool,
    },
    /// A job is asked for (§7.1): answer by `accept_job` or `fail_request`. A client whose transport was lost meanwhile
    /// asks again, with the same idempotency key where it gave one: answering such a repetition alike is the
    /// application's (§7.2).
    ///
    /// **Answer submits in the order in which they came.** Most clients out there take a `job.accepted` for the answer to
    /// their oldest submit, whatever it says (§7.1 gives them nothing else to go by).
    Submit {
        /// The request.
        request: RequestId,
        /// What is asked for.
        submit: Box<JobSubmit>,
        /// The trace that it runs under.
        trace_id: Option<TraceId>,
    },
    /// A job is to be cancelled (§7.4): answer by `confirm_cancel` or `fail_request`.
    Cancel {
        /// The request.
        request: RequestId,
        /// The job.
        job_id: JobId,
        /// The client's reason.
        reason: Option<String>,
    },
    /// A job's events are asked for (§7.6): answer by `accept_subscribe` or `fail_request`.
    Subscribe {
        /// The request.
        request: RequestId,
        /// The job.
        job_id: JobId,
        /// What of it.
        subscribe: Box<JobSubscribe>,
    },
    /// A job's events are no longer wanted (§7.6); not answered.
    Unsubscribe {
        /// The job.
        job_id: JobId,
    },
    /// Jobs are asked for (A11): answer by `respond_jobs` or `fail_request`.
    ListJobs {
        /// The request.
        request: RequestId,
        /// Which jobs.
        query: Box<JobQuery>,
    },
    /// The refused event now fits, and the replay buffer is at most half full: send again (D19).
    Writable,
    /// The client's acknowledgements fell behind, or caught up (D26).
    BackPressure {
        /// Whether they are behind now.
        active: bool,
        /// By how many events.
        lag: u64,
    },
    /// A message of a type outside `session.…` and `job.…` (`x-vendor.…`), handed through (D7).
    Vendor(Envelope),
    /// The client broke the protocol; the session goes on.
    Violation(Violation),
    /// There is no transport now; the session can be resumed. It still has deadlines: somebody has to go on calling
    /// `handle_timeout`, or its window never ends.
    Detached(DetachReason),
    /// The resume window is over (D18). `Closed` follows at once, unless events wait that nobody acknowledged: then the
    /// session can still be resumed, until the first event that does not fit.
    WindowElapsed,
    /// The session has ended. The last event, told exactly once.
    Closed(CloseReason),
}

/// What may be sent before `Blocked` (D19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendCredit {
    /// Events.
    pub events: usize,
    /// Bytes of their frames, together.
    pub bytes: usize,
}
