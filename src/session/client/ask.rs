//! How a client asks: requests, each with its deadline (D12).

use alloc::string::String;

use serde::Serialize;

use super::super::Session;
use super::super::error::SendError;
use super::super::phase::Phase;
use super::super::requests::RequestId;
use super::super::shared::{About, ShortText};
use super::Client;
use crate::feature::Feature;
use crate::time::Now;
use crate::wire::{JobCancel, JobId, JobQuery, JobSubmit, JobSubscribe, JobUnsubscribe, MessageType, TraceId};

/// Requests. Each is answered by exactly one event, at the latest after [`ClientConfig::request_timeout`](crate::ClientConfig::request_timeout).
impl Session<Client> {
    /// Asks for a job (§7.1): `Accepted` or `RequestFailed` follows.
    ///
    /// # Errors
    ///
    /// When the session is not open, a feature is missing (`name@version`, `expires_at`, a budget, a model), the runtime
    /// could not take it (too large, nested too deep, no agent), or too much waits already. So for all requests.
    pub fn submit(&mut self, now: Now, submit: &JobSubmit) -> Result<RequestId, SendError> {
        self.submit_with(now, submit, None)
    }

    /// [`submit`](Session::submit) under a trace of the caller's (§11), which also helps with runtimes that do not say
    /// which submit they answer (D12).
    ///
    /// # Errors
    ///
    /// As [`submit`](Session::submit).
    pub fn submit_traced(&mut self, now: Now, submit: &JobSubmit, trace: TraceId) -> Result<RequestId, SendError> {
        self.submit_with(now, submit, Some(trace))
    }

    fn submit_with(&mut self, now: Now, submit: &JobSubmit, trace: Option<TraceId>) -> Result<RequestId, SendError> {
        if submit.agent.is_empty() {
            return Err(SendError::Invalid("the agent has no name"));
        }
        if let Some(missing) = submit.features().find(|feature| !self.shared.features.contains(*feature)) {
            self.check_open(None)?;
            return Err(SendError::FeatureNotNegotiated(missing));
        }
        self.request(now, MessageType::JobSubmit, None, trace, submit)
    }

    /// Asks that a job be cancelled (§7.4): `Cancelled` or `RequestFailed` follows.
    ///
    /// # Errors
    ///
    /// When the session is not open, or too much waits already.
    pub fn cancel(&mut self, now: Now, job_id: &JobId, reason: Option<String>) -> Result<RequestId, SendError> {
        let payload = JobCancel { job_id: Some(job_id.clone()), reason };
        self.request(now, MessageType::JobCancel, Some(job_id), None, &payload)
    }

    /// Asks for the events of a job of another session, or of an earlier time (§7.6): `Subscribed` or
    /// `RequestFailed` follows. With `history`, what came after that event (in the numbering of the job's own
    /// session) is replayed, as far as it is still there.
    ///
    /// # Errors
    ///
    /// When the session is not open, `subscribe` was not negotiated, or too much waits already.
    pub fn subscribe(&mut self, now: Now, job_id: &JobId, history: Option<u64>) -> Result<RequestId, SendError> {
        let payload =
            JobSubscribe { job_id: Some(job_id.clone()), from_event_seq: history, history: history.map(|_| true) };
        self.request(now, MessageType::JobSubscribe, Some(job_id), None, &payload)
    }

    /// Ends a subscription (§7.6); not answered.
    ///
    /// # Errors
    ///
    /// When the session is not open, `subscribe` was not negotiated, or too much waits already.
    pub fn unsubscribe(&mut self, now: Now, job_id: &JobId) -> Result<(), SendError> {
        self.tick(now);
        self.check_open(Some(Feature::Subscribe))?;
        let payload = JobUnsubscribe { job_id: Some(job_id.clone()) };
        self.queue(MessageType::JobUnsubscribe, Some(job_id), None, &payload).map(|_| ())
    }

    /// Asks for a page of jobs (A11): `Jobs` or `RequestFailed` follows.
    ///
    /// # Errors
    ///
    /// When the session is not open, `list_jobs` was not negotiated, or too much waits already.
    pub fn list_jobs(&mut self, now: Now, query: &JobQuery) -> Result<RequestId, SendError> {
        if query.limit == Some(0) {
            return Err(SendError::Invalid("a page of 0 jobs"));
        }
        self.request(now, MessageType::SessionListJobs, None, None, query)
    }

    pub(super) fn check_open(&self, feature: Option<Feature>) -> Result<(), SendError> {
        match self.phase() {
            Phase::Open => {}
            Phase::Closed => return Err(SendError::Closed),
            phase => return Err(SendError::NotOpen(phase)),
        }
        match feature.filter(|feature| !self.shared.features.contains(*feature)) {
            Some(missing) => Err(SendError::FeatureNotNegotiated(missing)),
            None => Ok(()),
        }
    }

    fn request<P: Serialize>(
        &mut self,
        now: Now,
        message: MessageType,
        job_id: Option<&JobId>,
        trace_id: Option<TraceId>,
        payload: &P,
    ) -> Result<RequestId, SendError> {
        let now = self.tick(now);
        self.check_open(message.feature())?;
        let limit = self.role.config.limits.open_requests;
        if self.role.requests.open_count() >= limit {
            return Err(SendError::TooManyRequests(limit));
        }
        let message_id = self.queue(message, job_id, trace_id, payload)?;
        let time = (now.mono, self.role.config.request_timeout);
        let request = self.role.requests.add(message_id.as_str(), message, job_id.cloned(), trace_id, time, limit);
        self.set_timers();
        Ok(request)
    }

    /// Queues a message of ours; gives its id.
    fn queue<P: Serialize>(
        &mut self,
        message: MessageType,
        job_id: Option<&JobId>,
        trace_id: Option<TraceId>,
        payload: &P,
    ) -> Result<ShortText, SendError> {
        let limits = &self.role.config.limits;
        let about = About { trace_id, ..About::new(message, job_id.map(JobId::as_str)) };
        let (id, frame) = self.shared.checked_frame(about, payload, limits.max_frame)?;
        self.shared.outbox.push_control(frame, limits).map_err(|_| SendError::QueueFull)?;
        Ok(id)
    }
}
