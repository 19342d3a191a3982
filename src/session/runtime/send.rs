//! How a runtime emits what happens in jobs: features first, then the window, then the ring (D19, D26, D33).

use bytes::BytesMut;
use serde::Serialize;

use super::super::Session;
use super::super::config::Overflow;
use super::super::error::{CloseReason, DetachReason, SendError, Unsendable};
use super::super::event::{RuntimeEvent, SendCredit};
use super::super::phase::Phase;
use super::super::replay::{Capacity, Evictable};
use super::super::shared::{About, Shared};
use super::Runtime;
use crate::feature::Feature;
use crate::time::Now;
use crate::wire::job_event::{PHASE_BACK_PRESSURE, feature_of_kind, features_of_status, kind};
use crate::wire::{
    ErrorCode, EventPayload, JobError, JobId, JobResult, JobStatus, MessageType, Payload, RawJson, SEQ_LIMIT, WireError,
};

/// Why this session hears of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// It submitted the job: its events follow the session's overflow policy.
    Submitter,
    /// It subscribed to the job: its events never hold up anybody, the oldest goes instead (D19).
    Subscriber,
}

/// The end of a job as a client takes it.
pub(super) fn check_result(result: &JobResult) -> Result<(), SendError> {
    if result.result.is_some() && result.result_id.is_some() {
        return Err(SendError::Invalid("a result is inline or streamed, not both"));
    }
    if result.final_status != JobStatus::Success {
        return Err(SendError::Invalid("a `job.result` ends a job with `success`"));
    }
    Ok(())
}

/// The same of an end that is none; what follows from the code is put in (D11).
pub(super) fn complete_error(error: &mut JobError) -> Result<(), SendError> {
    match error.code {
        ErrorCode::Other(_) => return Err(SendError::Invalid("the error code is none of the draft's")),
        ErrorCode::DuplicateKey | ErrorCode::PermissionDenied | ErrorCode::JobNotFound => {
            return Err(SendError::Invalid("clients take this code for a refused request, not for a job's end"));
        }
        _ => {}
    }
    if !error.final_status.is_terminal() || error.final_status == JobStatus::Success {
        return Err(SendError::Invalid("a `job.error` ends a job with `error`, `cancelled` or `timed_out`"));
    }
    if error.message.is_empty() {
        error.message = error.code.as_str().into();
    }
    error.retryable = error.code.retryable();
    Ok(())
}

/// Of an event's frame, where nothing is known of it.
const USUAL_LEN: usize = 400;

#[derive(Serialize)]
struct BackPressureBody<'a> {
    phase: &'a str,
    message: &'a str,
}

/// What happens in jobs. Legal while detached, too: it is replayed on the resume.
///
/// Every event has its place in the session's sequence (§8.3), which these return. The events of jobs that the
/// session submitted go by these three, those of jobs that it merely subscribed to by the same with `_as`.
impl Session<Runtime> {
    /// Emits a `job.event` (§8), whose body is an object. It is encoded once, here. Nothing checks that the job exists
    /// or has not ended: a job's life is the application's.
    ///
    /// # Errors
    ///
    /// When it does not fit now ([`SendError::Blocked`]) or ever, needs a feature that was not negotiated, or is none that
    /// a client could take ([`SendError::Invalid`]); and when the session is closed. Nothing was recorded then.
    ///
    /// ```
    /// # use arcp_proto::{SendError, Session, Now, Runtime};
    /// # use arcp_proto::wire::{JobId, job_event::{kind, Log}};
    /// fn log(session: &mut Session<Runtime>, now: Now, job: &JobId, message: &str) -> Result<u64, SendError> {
    ///     session.send_event(now, job, kind::LOG, &Log { level: "info".into(), message: message.into() })
    /// }
    /// ```
    pub fn send_event<B: Serialize + ?Sized>(
        &mut self,
        now: Now,
        job: &JobId,
        kind: &str,
        body: &B,
    ) -> Result<u64, SendError> {
        self.send_event_as(Interest::Submitter, now, job, kind, body)
    }

    /// Ends a job well (§7.3). Towards a session without `result_chunk` it goes without `result_id` (D33).
    ///
    /// # Errors
    ///
    /// As [`send_event`](Session::send_event), save features; and when there is an inline result beside a `result_id` (§8.4).
    pub fn send_result(&mut self, now: Now, job: &JobId, result: JobResult) -> Result<u64, SendError> {
        self.send_result_as(Interest::Submitter, now, job, result)
    }

    /// Ends a job otherwise (§7.3).
    ///
    /// # Errors
    ///
    /// As [`send_event`](Session::send_event), save features; and when the code is none of the draft's, or one that clients
    /// take for a refused request rather than the job's end (DUPLICATE_KEY, PERMISSION_DENIED, JOB_NOT_FOUND: D12).
    pub fn send_error(&mut self, now: Now, job: &JobId, error: JobError) -> Result<u64, SendError> {
        self.send_error_as(Interest::Submitter, now, job, error)
    }

    /// [`send_event`](Session::send_event) with the reason why this session hears of the job.
    ///
    /// # Errors
    ///
    /// As [`send_event`](Session::send_event); a subscriber's is never `Blocked`.
    pub fn send_event_as<B: Serialize + ?Sized>(
        &mut self,
        interest: Interest,
        now: Now,
        job: &JobId,
        kind: &str,
        body: &B,
    ) -> Result<u64, SendError> {
        let now = self.tick(now);
        if kind.is_empty() {
            return Err(SendError::Invalid("the event has no kind"));
        }
        if let Some(missing) = self.missing_for(kind, body)? {
            return Err(SendError::FeatureNotNegotiated(missing));
        }
        let payload = EventPayload { kind, ts: now.wall, body };
        let about = About::new(MessageType::JobEvent, Some(job.as_str()));
        self.record_with(now, interest, about, USUAL_LEN, |shared, out, about, limit| {
            shared.write_event(out, about, &payload, limit)
        })
    }

    /// [`send_result`](Session::send_result) with the reason why this session hears of the job.
    ///
    /// # Errors
    ///
    /// As [`send_result`](Session::send_result); a subscriber's is never `Blocked`.
    pub fn send_result_as(
        &mut self,
        interest: Interest,
        now: Now,
        job: &JobId,
        mut result: JobResult,
    ) -> Result<u64, SendError> {
        let now = self.tick(now);
        check_result(&result)?;
        if !self.shared.features.contains(Feature::ResultChunk) {
            result.result_id = None;
            result.result_size = None;
        }
        self.record(now, interest, job, MessageType::JobResult, &result)
    }

    /// [`send_error`](Session::send_error) with the reason why this session hears of the job.
    ///
    /// # Errors
    ///
    /// As [`send_error`](Session::send_error); a subscriber's is never `Blocked`.
    pub fn send_error_as(
        &mut self,
        interest: Interest,
        now: Now,
        job: &JobId,
        mut error: JobError,
    ) -> Result<u64, SendError> {
        let now = self.tick(now);
        complete_error(&mut error)?;
        self.record(now, interest, job, MessageType::JobError, &error)
    }

    /// What can be sent before `Blocked`, for whoever would rather ask than be refused.
    #[must_use]
    pub fn send_credit(&self) -> SendCredit {
        if self.phase() == Phase::Closed {
            return SendCredit { events: 0, bytes: 0 };
        }
        let capacity = self.capacity();
        let (events, bytes) = self.role.window.held(self.evictable(Interest::Submitter));
        SendCredit { events: capacity.events.saturating_sub(events), bytes: capacity.bytes.saturating_sub(bytes) }
    }

    /// The feature that an event lacks, if any (A5).
    fn missing_for<B: Serialize + ?Sized>(&self, event_kind: &str, body: &B) -> Result<Option<Feature>, SendError> {
        let features = &self.shared.features;
        let missing = |feature: &Feature| !features.contains(*feature);
        if let Some(feature) = feature_of_kind(event_kind) {
            return Ok(Some(feature).filter(missing));
        }
        let phases = [Feature::Ack, Feature::ProvisionedCredentials];
        if event_kind != kind::STATUS || !phases.iter().any(missing) {
            return Ok(None);
        }
        let needed = features_of_status(&RawJson::new(body).map_err(Unsendable::from)?);
        Ok(needed.iter().find(missing))
    }

    #[inline]
    fn capacity(&self) -> Capacity {
        Capacity { events: self.role.config.replay_events.max(1), bytes: self.role.config.replay_bytes }
    }

    #[inline]
    fn evictable(&self, interest: Interest) -> Evictable {
        match (interest, self.role.config.overflow) {
            _ if self.role.window_is_over => Evictable::Nothing,
            (Interest::Subscriber, _) | (_, Overflow::Evict) => Evictable::Anything,
            _ if self.shared.features.contains(Feature::Ack) => Evictable::Nothing,
            _ => Evictable::Sent,
        }
    }

    fn record<P: Payload>(
        &mut self,
        now: Now,
        interest: Interest,
        job: &JobId,
        message: MessageType,
        payload: &P,
    ) -> Result<u64, SendError> {
        let about = About::new(message, Some(job.as_str()));
        self.record_with(now, interest, about, USUAL_LEN, |shared, out, about, limit| {
            shared.write_checked(out, about, payload, limit)
        })
    }

    /// Records the frame that `write` puts into an empty buffer for the next place in the sequence; of the length that is
    /// expected, it is written without an allocation for the most part.
    pub(super) fn record_with(
        &mut self,
        now: Now,
        interest: Interest,
        about: About<'_>,
        expected: usize,
        write: impl FnOnce(&mut Shared, &mut BytesMut, About<'_>, usize) -> Result<(), Unsendable>,
    ) -> Result<u64, SendError> {
        if self.phase() == Phase::Closed {
            return Err(SendError::Closed);
        }
        let seq = self.role.window.highest() + 1;
        if seq >= SEQ_LIMIT {
            return Err(SendError::Invalid("the session's sequence is used up"));
        }
        let limit = self.role.config.limits.max_frame.min(self.role.config.replay_bytes);
        let buffer = self.role.window.open(expected);
        let written = write(&mut self.shared, buffer, About { event_seq: Some(seq), ..about }, limit);
        let len = self.role.window.opened_len();
        if let Err(error) = written.map_err(SendError::from).and_then(|()| self.make_room(len, interest)) {
            self.role.window.discard();
            return Err(error);
        }
        self.role.window.close();
        self.press(now, about.job_id.unwrap_or_default(), about.message != MessageType::JobEvent);
        self.follow_eviction(now);
        self.judge_writable();
        self.set_timers();
        Ok(seq)
    }

    #[inline]
    fn make_room(&mut self, len: usize, interest: Interest) -> Result<(), SendError> {
        let capacity = self.capacity();
        if self.role.window.fits(len, self.evictable(interest), capacity) {
            self.role.window.make_room(len, capacity);
            return Ok(());
        }
        if self.role.window_is_over {
            self.end(CloseReason::ResumeWindowExpired);
            self.set_timers();
            return Err(SendError::Closed);
        }
        self.role.refused = self.role.refused.max(len);
        Err(SendError::Blocked)
    }

    /// What was evicted unsent is missed by the present transport, which must not see the hole (D27).
    #[inline]
    fn follow_eviction(&mut self, now: Now) {
        if !self.role.window.is_overrun() {
            return;
        }
        if self.phase().is_attached() {
            let error = WireError::new(ErrorCode::InternalError, "events were lost because they were not read in time");
            self.cut_off_with(now, DetachReason::Overrun, &error, None);
        } else {
            self.role.window.follow_floor();
        }
    }

    /// Tells `Writable` once what was refused fits and half is free (D19).
    #[inline]
    pub(super) fn judge_writable(&mut self) {
        let len = self.role.refused;
        if len == 0 {
            return;
        }
        let (capacity, evictable) = (self.capacity(), self.evictable(Interest::Submitter));
        let window = &self.role.window;
        let fits = window.fits(len, evictable, capacity) && window.is_half_empty(evictable, capacity);
        if fits || self.role.window_is_over {
            self.role.refused = 0;
            self.push(RuntimeEvent::Writable, 0);
        }
    }

    /// An event was recorded: signals, where the client falls behind by it (D26).
    #[inline]
    fn press(&mut self, now: Now, job: &str, is_terminal: bool) {
        if self.phase() != Phase::Open || !self.shared.features.contains(Feature::Ack) {
            return;
        }
        let lag = self.role.pressure.lag(self.role.window.highest(), self.role.window.acked());
        let threshold = self.role.config.back_pressure_threshold;
        let crossing = self.role.pressure.recorded(lag, threshold, is_terminal);
        if crossing.began {
            self.tell_pressure(true);
        }
        if crossing.signal {
            let message = alloc::format!("{lag} events are not acknowledged, more than {threshold}");
            let body = BackPressureBody { phase: PHASE_BACK_PRESSURE, message: &message };
            let payload = EventPayload { kind: kind::STATUS, ts: now.wall, body: &body };
            let seq = self.role.window.highest() + 1;
            let about = About { event_seq: Some(seq), ..About::new(MessageType::JobEvent, Some(job)) };
            // Its payload is one of ours, which can always be written.
            let _ = self.shared.write_event(self.role.window.open(USUAL_LEN), about, &payload, usize::MAX);
            self.role.window.close();
        }
    }

    /// The client has acknowledged more.
    pub(super) fn relieve(&mut self) {
        let lag = self.role.pressure.lag(self.role.window.highest(), self.role.window.acked());
        if self.role.pressure.relieved(lag, self.role.config.back_pressure_threshold) {
            self.tell_pressure(false);
        }
    }

    pub(super) fn tell_pressure(&mut self, active: bool) {
        let lag = self.role.pressure.lag(self.role.window.highest(), self.role.window.acked());
        self.push(RuntimeEvent::BackPressure { active, lag }, 0);
    }
}
