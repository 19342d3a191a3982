//! What happens in a job, to all that hear of it (D31, D33, D42).

use bytes::BytesMut;
use serde::Serialize;

use super::Endpoint;
use super::error::PublishError;
use super::job_order::Slot;
use super::jobs::Audience;
use super::registry::Key;
use super::result_stream::{NextChunk, StreamError};
use crate::feature::Feature;
use crate::session::{Emission, Interest, SendError};
use crate::time::Now;
use crate::wire::job_event::{ResultChunk, kind};
use crate::wire::{ErrorCode, JobError, JobId, JobResult, JobStatus, RawJson, WireError};

/// The largest buffer that is kept for the next payload, in bytes.
const KEPT_BUFFER: usize = 64 << 10;

/// What became of something published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What the submitter's session made of it.
    pub submitter: Receipt,
    /// Subscribers that hear of it.
    pub subscribers: usize,
    /// Subscribers that do not: they lack the feature that it needs, may not have what is in it, or have just fallen.
    pub skipped: usize,
}

/// Whether the submitter hears of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Receipt {
    /// It has this place in the submitter's sequence.
    Recorded(u64),
    /// Its session is gone, or has just ended because this did not fit (D18).
    Gone,
    /// Its session did not agree on the feature (D33).
    NotNegotiated(Feature),
}

/// Where a job is known, and who hears of it.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    submitter: Option<Key>,
    slot: Slot,
    has_subscribers: bool,
}

impl Standing {
    fn of(audience: &Audience) -> Standing {
        let Audience { submitter, slot, subscribers, .. } = audience;
        Standing { submitter: *submitter, slot: *slot, has_subscribers: !subscribers.is_empty() }
    }
}

/// Something happens in a job. Written once for all who hear of it; each has it in its own sequence.
///
/// The submitter decides: where its session has no room ([`SendError::Blocked`]) or can never take it, nobody hears of it
/// and the call fails; where its session is gone or lacks the feature, the others hear of it. Subscribers never hold anything
/// up: theirs goes at the cost of their oldest (D19, D27).
impl Endpoint {
    /// Publishes an event of a job (§8), whose body is an object.
    ///
    /// A `result_chunk` has its place in the job's streamed result (D42). One that is too large, alone or with those
    /// before it, ends the job with INTERNAL_ERROR.
    ///
    /// # Errors
    ///
    /// When the job has ended or never was, or what was said above.
    pub fn publish<B: Serialize + ?Sized>(
        &mut self,
        now: Now,
        job: &JobId,
        kind: &str,
        body: &B,
    ) -> Result<Published, PublishError> {
        let now = self.tick(now);
        let standing = self.check_live(now, job)?;
        if kind == kind::RESULT_CHUNK {
            return self.publish_chunk(now, job, standing, body);
        }
        self.emit_event(now, job, standing, kind, body)
    }

    /// Ends a job well (§7.3). **It can be `Blocked`, too**: then try again on
    /// [`Writable`](super::EndpointEvent::Writable), or the job never ends for anybody. Towards sessions without `result_chunk` it goes without `result_id` (D33).
    ///
    /// # Errors
    ///
    /// As [`publish`](Endpoint::publish); and when the result does not fit what was streamed (D42).
    pub fn finish(&mut self, now: Now, job: &JobId, result: JobResult) -> Result<Published, PublishError> {
        let now = self.tick(now);
        self.check_live(now, job)?;
        if let Some(audience) = self.jobs.audiences.get(job) {
            audience.stream.check_result(&result)?;
        }
        let published = self.emit(now, job, &Emission::result(&mut BytesMut::new(), result)?)?;
        self.end_job(now, job, JobStatus::Success);
        Ok(published)
    }

    /// Ends a job otherwise (§7.3). It can be `Blocked` like [`finish`](Endpoint::finish).
    ///
    /// # Errors
    ///
    /// As [`publish`](Endpoint::publish); and when the code is none that ends a job: see
    /// [`Session::send_error`](crate::Session::send_error).
    pub fn fail(&mut self, now: Now, job: &JobId, error: JobError) -> Result<Published, PublishError> {
        let now = self.tick(now);
        self.check_live(now, job)?;
        self.end_with(now, job, error)
    }
}

impl Endpoint {
    /// An event that is published makes its job run.
    #[inline]
    fn emit_event<B: Serialize + ?Sized>(
        &mut self,
        now: Now,
        job: &JobId,
        standing: Standing,
        kind: &str,
        body: &B,
    ) -> Result<Published, PublishError> {
        let mut buffer = self.written.take().unwrap_or_default();
        let mut is_running = false;
        // Neither this nor what comes of it is moved: that costs more than one would think.
        let published = match &Emission::event(&mut buffer, now, kind, body) {
            Ok(emission) => self.emit_to(now, job, standing, emission, &mut is_running),
            Err(error) => Err(error.clone().into()),
        };
        // It is kept, unless something large was in it.
        if buffer.capacity() <= KEPT_BUFFER {
            self.written = Some(buffer);
        }
        if !is_running && published.is_ok() {
            self.mark_running(now, job);
        }
        published
    }

    fn publish_chunk<B: Serialize + ?Sized>(
        &mut self,
        now: Now,
        job: &JobId,
        standing: Standing,
        body: &B,
    ) -> Result<Published, PublishError> {
        // Looked into, so it is written before it is wrapped.
        let body = RawJson::new(body).map_err(|error| SendError::Json(alloc::format!("{error}")))?;
        let chunk = self.check_chunk(now, job, &body)?;
        let published = self.emit_event(now, job, standing, kind::RESULT_CHUNK, &body);
        match &published {
            Ok(_) => {
                if let Some(audience) = self.jobs.audiences.get_mut(job) {
                    audience.stream.commit(chunk);
                }
                self.job_changed(job);
            }
            Err(PublishError::Send(SendError::TooLarge { .. })) => self.doom(now, job, "a chunk is too large"),
            Err(_) => {}
        }
        published
    }

    fn end_with(&mut self, now: Now, job: &JobId, error: JobError) -> Result<Published, PublishError> {
        let status = error.final_status.clone();
        let published = self.emit(now, job, &Emission::error(&mut BytesMut::new(), error)?)?;
        self.end_job(now, job, status);
        Ok(published)
    }

    #[inline]
    fn check_live(&mut self, now: Now, job: &JobId) -> Result<Standing, PublishError> {
        let Some(audience) = self.jobs.audiences.get(job) else {
            let is_known = self.jobs.directory.get(job).is_some();
            return Err(if is_known { PublishError::Ended } else { PublishError::UnknownJob });
        };
        if audience.owed.is_some() {
            self.pay(now, job);
            return Err(PublishError::Ended);
        }
        Ok(Standing::of(audience))
    }

    fn check_chunk(&mut self, now: Now, job: &JobId, body: &RawJson) -> Result<NextChunk, PublishError> {
        const SHAPE: SendError = SendError::Invalid("a `result_chunk` has the body of one (§8.4)");
        let chunk = body.parse::<ResultChunk>().map_err(|_| SHAPE)?;
        let limit = self.config.result_bytes;
        let audience = self.jobs.audiences.get(job).ok_or(PublishError::UnknownJob)?;
        let checked = audience.stream.check_chunk(&chunk, limit);
        if let Err(StreamError::TooLarge { .. }) = &checked {
            self.doom(now, job, "the result is too large");
        }
        Ok(checked?)
    }

    /// The job has to end, now or as soon as its submitter can hear of it (D42).
    fn doom(&mut self, now: Now, job: &JobId, why: &str) {
        if let Some(audience) = self.jobs.audiences.get_mut(job) {
            audience.owed = Some(JobError::new(WireError::new(ErrorCode::InternalError, why)));
        }
        self.pay(now, job);
    }

    /// Ends a job that is owed its end, if it can be; says whether it was owed one.
    pub(super) fn pay(&mut self, now: Now, job: &JobId) -> bool {
        let owed = self.jobs.audiences.get(job).and_then(|audience| audience.owed.clone());
        let is_owed = owed.is_some();
        if let Some(error) = owed {
            // Where there is no room for it, it is tried again once there is.
            let _ = self.end_with(now, job, error);
        }
        is_owed
    }

    fn emit(&mut self, now: Now, job: &JobId, emission: &Emission<'_>) -> Result<Published, PublishError> {
        let standing = self.jobs.audiences.get(job).map(Standing::of).unwrap_or_default();
        self.emit_to(now, job, standing, emission, &mut false)
    }

    /// Gives the submitter its place first: what it refuses, nobody hears of. Says, too, whether the job is known to be
    /// running.
    fn emit_to(
        &mut self,
        now: Now,
        job: &JobId,
        standing: Standing,
        emission: &Emission<'_>,
        is_running: &mut bool,
    ) -> Result<Published, PublishError> {
        let (len, limit) = (emission.least_len(), self.config.runtime.limits.max_frame);
        if len > limit {
            // Nobody can take it, whoever there is to hear of it.
            return Err(SendError::TooLarge { len, limit }.into());
        }
        let receipt = match standing.submitter {
            Some(key) => self.emit_to_submitter(now, key, job, emission)?,
            None => Receipt::Gone,
        };
        if let Receipt::Recorded(seq) = receipt {
            *is_running = self.jobs.directory.note_event(standing.slot, job, seq);
        }
        let (subscribers, skipped) =
            if standing.has_subscribers { self.emit_to_subscribers(now, job, emission) } else { (0, 0) };
        self.counters.deliveries_skipped += skipped as u64;
        self.keep_within_limits(now);
        Ok(Published { submitter: receipt, subscribers, skipped })
    }

    fn emit_to_submitter(
        &mut self,
        now: Now,
        key: Key,
        job: &JobId,
        emission: &Emission<'_>,
    ) -> Result<Receipt, PublishError> {
        let Some(member) = self.registry.get_mut(key) else { return Ok(Receipt::Gone) };
        let outcome = member.session.emit(Interest::Submitter, now, job, emission);
        if outcome == Err(SendError::Blocked) {
            member.work().blocked.insert(job.clone());
        }
        self.serve(now, key);
        match outcome {
            Ok(seq) => Ok(Receipt::Recorded(seq)),
            Err(SendError::Closed) => Ok(Receipt::Gone),
            Err(SendError::FeatureNotNegotiated(feature)) => Ok(Receipt::NotNegotiated(feature)),
            Err(error) => Err(error.into()),
        }
    }

    fn emit_to_subscribers(&mut self, now: Now, job: &JobId, emission: &Emission<'_>) -> (usize, usize) {
        // Taken out and put back: some of them may fall by this.
        let Some(audience) = self.jobs.audiences.get_mut(job) else { return (0, 0) };
        let mut subscribers = core::mem::take(&mut audience.subscribers);
        let closed = self.counters.closed;
        let is_private = emission.needs(Feature::ProvisionedCredentials);
        let record = if is_private { self.jobs.directory.get(job) } else { None };
        let owner = record.map(|record| record.principal.clone());
        let mut heard = 0;
        for key in &subscribers {
            let Some(member) = self.registry.get_mut(*key) else { continue };
            if is_private && owner.as_ref() != Some(member.session.principal()) {
                continue;
            }
            let was_here = member.conn.is_some();
            let is_recorded = member.session.emit(Interest::Subscriber, now, job, emission).is_ok();
            self.serve(now, *key);
            let has_fallen = was_here && self.registry.get(*key).is_none_or(|member| member.conn.is_none());
            heard += usize::from(is_recorded && !has_fallen);
        }
        let skipped = subscribers.len() - heard;
        if self.counters.closed != closed {
            subscribers.retain(|key| self.follows(*key, job));
        }
        match self.jobs.audiences.get_mut(job) {
            Some(audience) => audience.subscribers = subscribers,
            // It ended by what this led to.
            None => self.end_subscriptions(&subscribers, job),
        }
        (heard, skipped)
    }

    fn follows(&self, key: Key, job: &JobId) -> bool {
        let work = self.registry.work(key);
        work.is_some_and(|work| work.subscribed.contains(job))
    }
}
