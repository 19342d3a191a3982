//! What a client has asked for, and which answer belongs to which question (D12).

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Instant;
use crate::wire::{JobId, MessageType, TraceId, WireError};

/// Names a request within its session: of a client what it asked, of a runtime what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

/// For logs: the request's number in its session.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFailure {
    /// The runtime refused it.
    #[error("refused: {0}")]
    Refused(WireError),
    /// No answer came in time (D12). Whether a submit was taken is not known: repeat it with the same
    /// `idempotency_key`. An answer that comes late after all is swallowed.
    #[error("no answer came in time")]
    TimedOut,
    /// The transport was lost, or the session ended, before an answer came. Whether a submit was taken is not known:
    /// repeat it with the same `idempotency_key`.
    #[error("no answer came before the transport or the session ended")]
    Disconnected,
}

/// What an answer says of the question that it belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clues<'a> {
    pub(super) request_id: Option<&'a str>,
    pub(super) envelope_id: Option<&'a str>,
    pub(super) job_id: Option<&'a str>,
    pub(super) trace_id: Option<TraceId>,
}

#[derive(Clone, Debug)]
struct Open {
    id: RequestId,
    message_id: Box<str>,
    message: MessageType,
    /// Of a cancel or subscribe.
    job_id: Option<JobId>,
    /// Of a submit.
    trace_id: Option<TraceId>,
    deadline: Instant,
    /// Past its deadline: it stays to swallow its late answer, for as long again.
    is_tombstone: bool,
    forgotten_at: Instant,
}

/// Which request an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// This one.
    Request(RequestId),
    /// One that was given up before.
    Late,
    /// None.
    Nothing,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    open: VecDeque<Open>,
    last: u64,
    live_jobs: BTreeSet<JobId>,
    /// Of these, the one that was last heard of: events of one job come one behind the other.
    last_live: Option<JobId>,
    /// The last few that ended: some peers say so twice.
    ended_jobs: VecDeque<JobId>,
}

/// What of them outlives the process: an open request does not.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Asked {
    /// How many requests there were: their ids never repeat.
    pub(super) requests: u64,
    live_jobs: Vec<JobId>,
    ended_jobs: Vec<JobId>,
}

const ENDED_JOBS: usize = 64;

impl Requests {
    pub(super) fn asked(&self) -> Asked {
        let (live_jobs, ended_jobs) = (self.live_jobs.iter().cloned(), self.ended_jobs.iter().cloned());
        Asked { requests: self.last, live_jobs: live_jobs.collect(), ended_jobs: ended_jobs.collect() }
    }

    pub(super) fn restored(asked: Asked, live_jobs: usize) -> Requests {
        let mut requests = Requests { last: asked.requests, ..Requests::default() };
        asked.ended_jobs.iter().for_each(|job| requests.job_ended(job.as_str()));
        asked.live_jobs.iter().for_each(|job| requests.job_lives(job.as_str(), live_jobs));
        requests
    }

    pub(super) fn open_count(&self) -> usize {
        self.open.iter().filter(|open| !open.is_tombstone).count()
    }

    pub(super) fn add(
        &mut self,
        message_id: &str,
        message: MessageType,
        job_id: Option<JobId>,
        trace_id: Option<TraceId>,
        (now, timeout): (Instant, Duration),
        limit: usize,
    ) -> RequestId {
        self.last += 1;
        let id = RequestId(self.last);
        if self.open.len() >= limit.saturating_mul(2)
            && let Some(oldest) = self.open.iter().position(|open| open.is_tombstone)
        {
            self.open.remove(oldest);
        }
        self.open.push_back(Open {
            id,
            message_id: message_id.into(),
            message,
            job_id,
            trace_id,
            deadline: now + timeout,
            is_tombstone: false,
            forgotten_at: now + timeout + timeout,
        });
        id
    }

    /// The oldest request's deadline; deadlines follow the order of the requests.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.iter().find(|open| !open.is_tombstone).map(|open| open.deadline)
    }

    /// The next request whose time is over.
    pub(super) fn expire(&mut self, now: Instant) -> Option<RequestId> {
        let oldest = self.open.iter_mut().find(|open| !open.is_tombstone)?;
        if oldest.deadline > now {
            return None;
        }
        oldest.is_tombstone = true;
        Some(oldest.id)
    }

    /// A peer that lost one answer must not have every later one swallowed in its place.
    pub(super) fn forget(&mut self, now: Instant) {
        // Tombstones are older than all that is open, and in the order of their deadlines.
        while self.open.front().is_some_and(|open| open.is_tombstone && open.forgotten_at <= now) {
            self.open.pop_front();
        }
    }

    /// The transport is gone: the next request that fails by it.
    pub(super) fn disconnect(&mut self) -> Option<RequestId> {
        while let Some(open) = self.open.pop_front() {
            if !open.is_tombstone {
                return Some(open.id);
            }
        }
        None
    }

    fn take(&mut self, at: Option<usize>) -> Match {
        match at.and_then(|at| self.open.remove(at)) {
            Some(open) if open.is_tombstone => Match::Late,
            Some(open) => Match::Request(open.id),
            None => Match::Nothing,
        }
    }

    fn by_message_id(&self, id: &str) -> Option<usize> {
        self.open.iter().position(|open| *open.message_id == *id)
    }

    fn oldest(&self, message: MessageType) -> Option<usize> {
        self.open.iter().position(|open| open.message == message)
    }

    /// For a `session.jobs`, `job.subscribed` or `job.cancelled`: by the id that it names; else by the job; else,
    /// where it names nothing, the oldest of its kind.
    pub(super) fn answer(&mut self, message: MessageType, clues: Clues<'_>) -> Match {
        let at = match (clues.request_id, clues.job_id) {
            (Some(id), _) => {
                self.by_message_id(id).filter(|at| self.open.get(*at).is_some_and(|o| o.message == message))
            }
            (None, Some(job)) => self
                .open
                .iter()
                .position(|open| open.message == message && open.job_id.as_ref().is_some_and(|id| id.as_str() == job)),
            (None, None) => self.oldest(message),
        };
        self.take(at)
    }

    /// For a `job.accepted`: by the id that it names; else by its trace; else the oldest submit. A child's answers none,
    /// and neither does one with a trace that was never sent while every open submit has one.
    pub(super) fn accepted(&mut self, clues: Clues<'_>, is_child: bool) -> Match {
        if is_child {
            return Match::Nothing;
        }
        if clues.request_id.is_some() {
            return self.answer(MessageType::JobSubmit, clues);
        }
        let mut submits = self.open.iter().filter(|open| open.message == MessageType::JobSubmit);
        let at = match clues.trace_id {
            Some(trace) => {
                let by_trace = self.open.iter().position(|open| open.trace_id == Some(trace));
                let all_traced = submits.all(|open| open.trace_id.is_some());
                by_trace.or_else(|| if all_traced { None } else { self.oldest(MessageType::JobSubmit) })
            }
            None => self.oldest(MessageType::JobSubmit),
        };
        self.take(at)
    }

    /// For a `session.error` that is not the session's end: by the ids that it names; else by the job of a cancel or
    /// subscribe; else the oldest request.
    pub(super) fn failed(&mut self, clues: Clues<'_>) -> Match {
        let at = match clues.request_id {
            Some(id) => self.by_message_id(id),
            None => clues
                .envelope_id
                .and_then(|id| self.by_message_id(id))
                .or_else(|| self.of_job(clues.job_id))
                .or((!self.open.is_empty()).then_some(0)),
        };
        self.take(at)
    }

    /// The request whose id it names, and no other.
    pub(super) fn named(&mut self, clues: Clues<'_>) -> Match {
        let at = [clues.request_id, clues.envelope_id].into_iter().flatten().find_map(|id| self.by_message_id(id));
        self.take(at)
    }

    fn of_job(&self, job: Option<&str>) -> Option<usize> {
        let job = job?;
        self.open.iter().position(|open| open.job_id.as_ref().is_some_and(|id| id.as_str() == job))
    }

    /// For a `job.error` that is a refusal and names no request: by the job of a cancel or subscribe; else the oldest
    /// submit, where it may be one.
    pub(super) fn refused(&mut self, clues: Clues<'_>, may_be_submit: bool) -> Match {
        let submit = || if may_be_submit { self.oldest(MessageType::JobSubmit) } else { None };
        let at = self.of_job(clues.job_id).or_else(submit);
        self.take(at)
    }

    /// A job that [`job_lives`](Requests::job_lives) need not be told of.
    pub(super) fn last_live(&self) -> Option<&str> {
        self.last_live.as_ref().map(JobId::as_str)
    }

    /// A job was heard of that has not ended.
    pub(super) fn job_lives(&mut self, job: &str, limit: usize) {
        if let Some(known) = self.live_jobs.get(job) {
            self.last_live = Some(known.clone());
            return;
        }
        if self.live_jobs.len() >= limit {
            self.live_jobs.pop_first();
        }
        let job = JobId::from(job);
        self.live_jobs.insert(job.clone());
        self.last_live = Some(job);
    }

    pub(super) fn is_live(&self, job: &str) -> bool {
        self.live_jobs.contains(job)
    }

    pub(super) fn has_ended(&self, job: &str) -> bool {
        self.ended_jobs.iter().any(|ended| ended.as_str() == job)
    }

    pub(super) fn job_ended(&mut self, job: &str) {
        self.live_jobs.remove(job);
        self.last_live = None;
        if !self.has_ended(job) {
            if self.ended_jobs.len() >= ENDED_JOBS {
                self.ended_jobs.pop_front();
            }
            self.ended_jobs.push_back(JobId::from(job));
        }
    }
}

#[cfg(feature = "model")]
impl Requests {
    pub(super) fn digest(&self, digest: &mut super::digest::Digest<'_>) {
        let Requests { open, last, live_jobs, last_live, ended_jobs } = self;
        digest.number(open.len() as u64);
        for Open { id, message_id, message, job_id, trace_id, deadline, is_tombstone, forgotten_at } in open {
            digest.number(id.0);
            digest.id(message_id.as_bytes());
            digest.text(alloc::format!("{message:?} {job_id:?} {trace_id:?}").as_bytes());
            digest.flag(*is_tombstone);
            digest.time(if *is_tombstone { *forgotten_at } else { *deadline });
        }
        digest.number(*last);
        for jobs in [&mut live_jobs.iter() as &mut dyn Iterator<Item = &JobId>, &mut ended_jobs.iter()] {
            jobs.for_each(|job| digest.text(job.as_str().as_bytes()));
            digest.flag(false);
        }
        digest.text(last_live.as_ref().map(JobId::as_str).unwrap_or_default().as_bytes());
    }
}
