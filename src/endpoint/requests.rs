//! Requests about jobs that are there: cancels and listings (§6.6, §7.4, D30, D36, D37).

use alloc::boxed::Box;
use alloc::string::{String, ToString};

use super::Endpoint;
use super::audit::Audited;
use super::config::Listing;
use super::event::{EndpointEvent, Request};
use super::policy::Sight;
use super::queue::Charge;
use super::registry::Key;
use crate::session::{AnswerError, RequestId};
use crate::time::Now;
use crate::wire::{ErrorCode, JobId, JobPage, JobQuery, JobStatus, WireError};

impl Endpoint {
    /// Takes up a [`Cancel`](EndpointEvent::Cancel) (§7.4). The job's end, with CANCELLED, is the application's to publish, by
    /// [`fail`](Endpoint::fail).
    ///
    /// # Errors
    ///
    /// When there is no such cancel any more, or the answer cannot be sent; and when the job has ended meanwhile by anything but
    /// CANCELLED: the cancel is still open then, to be [refused](Endpoint::refuse) with INVALID_REQUEST.
    pub fn confirm_cancel(&mut self, now: Now, request: &Request, reason: Option<String>) -> Result<(), AnswerError> {
        let now = self.tick(now);
        let (key, member) = self.asking(request)?;
        if let Some(job) = member.session.cancel_of(request.id).cloned() {
            let status = self.jobs.directory.get(&job).map(|job| &job.status);
            if status.is_none_or(|status| status.is_terminal() && *status != JobStatus::Cancelled) {
                return Err(AnswerError::Invalid("the job has ended otherwise: refuse the cancel"));
            }
        }
        let (_, member) = self.asking(request)?;
        member.session.confirm_cancel(now, request.id, reason)?;
        self.serve(now, key);
        Ok(())
    }

    /// Answers a [`ListJobs`](EndpointEvent::ListJobs) with a page (A11).
    ///
    /// # Errors
    ///
    /// When there is no such query any more, or the answer cannot be sent.
    pub fn respond_jobs(&mut self, now: Now, request: &Request, page: JobPage) -> Result<(), AnswerError> {
        let now = self.tick(now);
        let (key, member) = self.asking(request)?;
        member.session.respond_jobs(now, request.id, page)?;
        self.serve(now, key);
        Ok(())
    }
}

impl Endpoint {
    pub(super) fn cancel_asked(
        &mut self,
        now: Now,
        key: Key,
        id: RequestId,
        job_id: JobId,
        reason: Option<String>,
        charge: Option<Charge>,
    ) {
        let Some(member) = self.registry.get_mut(key) else { return };
        let record = self.jobs.directory.get(&job_id);
        let is_ours = record.is_some_and(|job| job.session.as_ref() == member.session.session_id());
        let refusal = if is_ours {
            let has_ended = !self.jobs.audiences.contains_key(&job_id);
            has_ended.then(|| WireError::new(ErrorCode::InvalidRequest, "the job has ended"))
        } else {
            Some(match Sight::of(&*self.jobs.policy, member.session.principal(), record) {
                Sight::Hidden => WireError::new(ErrorCode::JobNotFound, "there is no such job"),
                _ => WireError::new(ErrorCode::PermissionDenied, "only the session that submitted a job may cancel it"),
            })
        };
        match refusal {
            Some(error) => {
                let code = error.code.clone();
                let _ = member.session.fail_request(now, id, error);
                self.release(charge);
                self.note_session(key, Audited::CancelRefused { job: job_id, code });
            }
            None => {
                if let Some(request) = self.request(key, id) {
                    self.events.push(EndpointEvent::Cancel { request, job_id, reason }, 0, charge);
                }
            }
        }
    }

    pub(super) fn list_asked(
        &mut self,
        now: Now,
        key: Key,
        id: RequestId,
        query: Box<JobQuery>,
        charge: Option<Charge>,
    ) {
        let Some(member) = self.registry.get_mut(key) else { return };
        let principal = member.session.principal().clone();
        if self.config.listing == Listing::Application {
            if let Some(request) = self.request(key, id) {
                self.events.push(EndpointEvent::ListJobs { request, principal, query }, 0, charge);
            }
            return;
        }
        let answered = match self.jobs.directory.page(&principal, &*self.jobs.policy, &query) {
            Ok(mut page) => {
                for entry in &mut page.jobs {
                    entry.lease = core::mem::take(&mut entry.lease).within(member.session.features());
                }
                member.session.respond_jobs(now, id, page)
            }
            Err(error) => {
                let error = WireError::new(ErrorCode::InvalidRequest, error.to_string());
                member.session.fail_request(now, id, error)
            }
        };
        if let Err(error) = answered {
            let error = WireError::new(ErrorCode::InternalError, error.to_string());
            let _ = member.session.fail_request(now, id, error);
        }
        self.release(charge);
    }
}
