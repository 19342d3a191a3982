//! How a runtime answers what it was asked (D12, D33).

use alloc::string::String;

use serde::Serialize;

use super::super::Session;
use super::super::error::{AnswerError, Unsendable};
use super::super::pending::{Answer, Pending};
use super::super::requests::RequestId;
use super::super::shared::About;
use super::Runtime;
use crate::feature::Feature;
use crate::time::Now;
use crate::wire::{
    ErrorCode, JobAccepted, JobCancelled, JobId, JobPage, JobSubscribed, Jobs, MessageType, RawJson, SessionError,
    WireError,
};

/// Answers to requests, each by the id that its event gave.
///
/// An answer that comes too late is an [`AnswerError::UnknownRequest`] and no harm; only a submit outlives its
/// transport: its answer is kept for the client's repetition (D8).
impl Session<Runtime> {
    /// Takes the job of a `Submit` (§7.1). **Answer submits in the order in which they came**: most clients out there take
    /// this for the answer to their oldest submit, whatever it says. Where the submit's transport has been lost meanwhile,
    /// the answer is kept for a repetition of the same message, and not sent (D8).
    ///
    /// # Errors
    ///
    /// When there is no such submit, or the answer cannot be sent.
    pub fn accept_job(&mut self, now: Now, request: RequestId, mut job: JobAccepted) -> Result<(), AnswerError> {
        let now = self.tick(now);
        let pending = self.expect(request, MessageType::JobSubmit)?;
        if job.parent_job_id.is_some() || job.delegate_id.is_some() {
            return Err(AnswerError::Invalid(
                "clients take a job with a parent for a delegated one, not for their submit's",
            ));
        }
        (job.request_id, job.reply_to) = self.names(pending);
        job.accepted_at = job.accepted_at.or(Some(now.wall));
        self.check_features(job.features())?;
        let job_id = job.job_id.clone();
        self.answer(now, request, MessageType::JobAccepted, Some(&job_id), &job)
    }

    /// Takes up a `Cancel` (§7.4). The job's end, with CANCELLED, is the application's to send.
    ///
    /// # Errors
    ///
    /// When there is no such cancel, or the answer cannot be sent.
    pub fn confirm_cancel(&mut self, now: Now, request: RequestId, reason: Option<String>) -> Result<(), AnswerError> {
        let now = self.tick(now);
        let pending = self.expect(request, MessageType::JobCancel)?;
        let (request_id, reply_to) = self.names(pending);
        let job_id = pending.job_id.clone();
        let cancelled = JobCancelled { request_id, reply_to, job_id: job_id.clone(), reason };
        self.answer(now, request, MessageType::JobCancelled, job_id.as_ref(), &cancelled)
    }

    /// Grants a `Subscribe` (§7.6).
    ///
    /// # Errors
    ///
    /// When there is no such subscribe, or the answer cannot be sent.
    pub fn accept_subscribe(
        &mut self,
        now: Now,
        request: RequestId,
        mut subscribed: JobSubscribed,
    ) -> Result<(), AnswerError> {
        let now = self.tick(now);
        let pending = self.expect(request, MessageType::JobSubscribe)?;
        if pending.job_id.as_ref() != Some(&subscribed.job_id) {
            return Err(AnswerError::Invalid("the subscribe was for another job"));
        }
        (subscribed.request_id, subscribed.reply_to) = self.names(pending);
        self.check_features(subscribed.features())?;
        let job_id = subscribed.job_id.clone();
        self.answer(now, request, MessageType::JobSubscribed, Some(&job_id), &subscribed)
    }

    /// Answers a `ListJobs` with a page (A11).
    ///
    /// # Errors
    ///
    /// When there is no such query, or the answer cannot be sent.
    pub fn respond_jobs(&mut self, now: Now, request: RequestId, page: JobPage) -> Result<(), AnswerError> {
        let now = self.tick(now);
        let pending = self.expect(request, MessageType::SessionListJobs)?;
        let (request_id, reply_to) = self.names(pending);
        let jobs = Jobs { request_id, reply_to, jobs: page.jobs, next_cursor: page.next_cursor };
        self.answer(now, request, MessageType::SessionJobs, None, &jobs)
    }

    /// Refuses any request (D11). Whether trying again can help goes by the code.
    ///
    /// # Errors
    ///
    /// When there is no such request, or the code is none of the draft's.
    pub fn fail_request(&mut self, now: Now, request: RequestId, error: WireError) -> Result<(), AnswerError> {
        let now = self.tick(now);
        let pending = self.role.pendings.get(request).ok_or(AnswerError::UnknownRequest)?;
        if matches!(error.code, ErrorCode::Other(_)) {
            return Err(AnswerError::ForeignCode);
        }
        let (request_id, reply_to) = self.names(pending);
        let job_id = pending.job_id.clone();
        let mut payload = SessionError::new(error, request_id.as_deref(), job_id.as_ref().map(JobId::as_str));
        payload.reply_to = reply_to;
        self.answer(now, request, MessageType::SessionError, job_id.as_ref(), &payload)
    }

    fn expect(&self, request: RequestId, message: MessageType) -> Result<&Pending, AnswerError> {
        match self.role.pendings.get(request) {
            None => Err(AnswerError::UnknownRequest),
            Some(pending) if pending.message != message => Err(AnswerError::WrongKind(pending.message)),
            Some(pending) => Ok(pending),
        }
    }

    /// `request_id`, and `reply_to` where the dialect has it.
    fn names(&self, pending: &Pending) -> (Option<String>, Option<String>) {
        let id = || Some(String::from(&*pending.message_id));
        (id(), if self.role.config.dialect.mirrored_reply_to { id() } else { None })
    }

    fn check_features(&self, features: impl Iterator<Item = Feature>) -> Result<(), AnswerError> {
        match features.into_iter().find(|feature| !self.shared.features.contains(*feature)) {
            Some(missing) => Err(AnswerError::FeatureNotNegotiated(missing)),
            None => Ok(()),
        }
    }

    fn answer<P: Serialize>(
        &mut self,
        now: Now,
        request: RequestId,
        message: MessageType,
        job_id: Option<&JobId>,
        payload: &P,
    ) -> Result<(), AnswerError> {
        let payload = RawJson::new(payload).map_err(Unsendable::from)?;
        let limits = &self.role.config.limits;
        let about = About::new(message, job_id.map(JobId::as_str));
        let (_, frame) = self.shared.checked_frame(about, &payload, limits.max_frame)?;
        let Some(pending) = self.role.pendings.remove(request) else {
            return Err(AnswerError::UnknownRequest);
        };
        if pending.message == MessageType::JobSubmit {
            let answer = Answer { message, job_id: job_id.cloned(), payload };
            let (count, bytes) = (limits.kept_submits, limits.kept_submit_bytes);
            self.role.pendings.keep(pending.message_id, answer, count, bytes);
        }
        if !pending.is_orphan && self.phase().is_attached() {
            self.control(now, frame);
        }
        self.set_timers();
        Ok(())
    }
}
