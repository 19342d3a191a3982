//! Somebody at work on a job: what is published, what is refused, and who waits.

use arcp_proto::endpoint::{PublishError, Published, Receipt};
use arcp_proto::wire::{ErrorCode, JobError, JobId, JobResult, RawJson, WireError};
use arcp_proto::{Feature, SendError};
use serde_json::json;

use super::link::Ms;
use super::mark::Mark;
use super::plan::Profile;
use super::stream::Stream;
use super::world::World;

/// Somebody at work on a job.
pub(crate) struct Worker {
    pub(crate) next: u64,
    pub(crate) total: u64,
    pub(crate) gap: Ms,
    pub(crate) at: Option<Ms>,
}

impl World {
    /// What a job does next.
    pub(crate) fn next_of_job(&mut self, idx: usize, job: &JobId) {
        let now = self.now;
        let local = self.nodes[idx].clock.at(now);
        let Some(worker) = self.nodes[idx].workers.get(job) else { return };
        let (n, is_end) = (worker.next, worker.next >= worker.total);
        let stream = Stream::of(job);
        let is_whole = stream.as_ref().is_none_or(|stream| n >= stream.pieces);
        let published = if is_end && (self.jobs % 4 == 3 || !is_whole) {
            let error = JobError::new(WireError::new(ErrorCode::Timeout, "it took too long"));
            self.ep(idx).fail(local, job, error)
        } else if is_end {
            let result = stream.map_or_else(|| JobResult::inline(RawJson::empty_object()), |stream| stream.end());
            self.ep(idx).finish(local, job, result)
        } else {
            self.publish(idx, job, n)
        };
        match published {
            Ok(_) if is_end => self.job_ends(idx, job),
            Ok(published) => {
                self.is_published(idx, job, n, &published);
                let worker = self.nodes[idx].workers.get_mut(job).expect("it works");
                worker.next += 1;
                worker.at = Some(now + worker.gap);
            }
            Err(PublishError::Send(SendError::Blocked)) => self.is_blocked(idx, job),
            Err(PublishError::UnknownJob | PublishError::Ended) => drop(self.nodes[idx].workers.remove(job)),
            Err(error) => panic!("node {idx} cannot publish {n} of {job}: {error}"),
        }
        self.look_at_node(idx);
    }

    /// What an event of a job needs.
    fn needs(&self, job: &JobId, n: u64) -> Option<Feature> {
        let is_progress = n % 3 == 1 && self.plan.profile != Profile::Durable;
        match Stream::of(job) {
            Some(_) => Some(Feature::ResultChunk),
            None => is_progress.then_some(Feature::Progress),
        }
    }

    fn publish(&mut self, idx: usize, job: &JobId, n: u64) -> Result<Published, PublishError> {
        let local = self.nodes[idx].clock.at(self.now);
        let padding = self.nodes[idx].dice.pick(&[0, 0, 0, 20, 20, 300, 300, 1_500]);
        let text = "x".repeat(padding);
        let (kind, body) = match n % 4 {
            _ if let Some(stream) = Stream::of(job) => ("result_chunk", stream.body(n)),
            _ if self.needs(job, n).is_some() => ("progress", json!({"current": n, "n": n})),
            3 => ("x-sim.thing", json!({"n": n, "text": text})),
            _ => ("log", json!({"level": "info", "message": text, "n": n})),
        };
        self.ep(idx).publish(local, job, kind, &body)
    }

    fn is_published(&mut self, idx: usize, job: &JobId, n: u64, published: &Published) {
        self.transcript.reached(Mark::Published);
        let needs = self.needs(job, n);
        if let Some(model) = self.model.jobs.get_mut(job)
            && n >= model.len()
        {
            assert_eq!(n, model.len(), "{job} goes on with {n}");
            model.events.push(needs);
        }
        if let Receipt::Recorded(seq) = published.submitter
            && let Some(model) = self.model.jobs.get(job)
            && let Some(session) = self.nodes[idx].endpoint.as_ref().and_then(|endpoint| endpoint.session(&model.owner))
        {
            assert!(seq <= session.last_event_seq() && seq > 0);
        }
        let owner = self.model.jobs.get(job).map(|model| model.owner.clone());
        if let Some(hosted) = owner.and_then(|owner| self.model.hosted.get_mut(&(idx, owner))) {
            // Another job's event fits, and fills the window again (D19): whoever waits, waits from here on.
            hosted.blocked_since = hosted.blocked_since.map(|_| self.now);
        }
    }

    pub(crate) fn is_blocked(&mut self, idx: usize, job: &JobId) {
        let now = self.now;
        self.transcript.reached(Mark::Blocked);
        if let Some(worker) = self.nodes[idx].workers.get_mut(job) {
            // For `Writable`, and for nothing else.
            worker.at = None;
        }
        let owner = self.model.jobs[job].owner.clone();
        let window_is_over = self.model.hosted.get(&(idx, owner.clone())).is_some_and(|hosted| {
            let window = self.plan.endpoint.runtime.resume_window.as_millis() as Ms;
            hosted.lost_at.is_some_and(|lost| now > lost + window) && !hosted.is_adopted
        });
        let is_absent = self.nodes[idx].absent_at > 0 || self.plan.late > 0;
        assert!(is_absent || !window_is_over, "{job} waits for a session whose window is over");
        if let Some(hosted) = self.model.hosted.get_mut(&(idx, owner)) {
            hosted.blocked_since = hosted.blocked_since.or(Some(now));
        }
    }

    pub(crate) fn job_ends(&mut self, idx: usize, job: &JobId) {
        self.nodes[idx].workers.remove(job);
        let Some(model) = self.model.jobs.get_mut(job) else { return };
        model.has_ended = true;
        let owner = model.owner.clone();
        let is_blocked =
            |(other, worker): (&JobId, &Worker)| worker.at.is_none() && self.model.jobs[other].owner == owner;
        if !self.nodes[idx].workers.iter().any(is_blocked)
            && let Some(hosted) = self.model.hosted.get_mut(&(idx, owner))
        {
            // Nobody waits any more.
            hosted.blocked_since = None;
        }
    }

    /// A burst of a job's events at once.
    pub(crate) fn burst(&mut self, job: u64, count: u64) {
        for _ in 0..count {
            for idx in 0..self.nodes.len() {
                if !self.nodes[idx].is_awake(self.now) || self.nodes[idx].workers.is_empty() {
                    continue;
                }
                let jobs: Vec<JobId> = self.nodes[idx].workers.keys().cloned().collect();
                let job = jobs[(job % jobs.len() as u64) as usize].clone();
                let worker = self.nodes[idx].workers.get_mut(&job).expect("it works");
                if worker.at.is_some() {
                    if Stream::of(&job).is_none() {
                        worker.total = worker.total.max(worker.next + 2);
                    }
                    self.next_of_job(idx, &job);
                }
            }
        }
    }

    /// More than can ever be sent.
    pub(crate) fn huge(&mut self, job: u64) {
        let idx = (job % self.nodes.len() as u64) as usize;
        if !self.nodes[idx].is_awake(self.now) {
            return;
        }
        let Some(job) = self.nodes[idx].workers.keys().next().cloned() else { return };
        let local = self.nodes[idx].clock.at(self.now);
        let owner = self.model.jobs[&job].owner.clone();
        let before = self.ep(idx).session(&owner).map(|session| session.last_event_seq());
        let runtime = &self.plan.endpoint.runtime;
        let most = runtime.limits.max_frame.min(runtime.replay_bytes);
        let body = json!({"level": "info", "message": "x".repeat(most)});
        match self.ep(idx).publish(local, &job, "log", &body) {
            Err(PublishError::Send(SendError::TooLarge { .. })) => self.transcript.reached(Mark::TooLarge),
            Err(PublishError::Ended | PublishError::UnknownJob) => {}
            // The submitter is gone: there is nobody whom it could be too large for.
            Ok(Published { submitter: Receipt::Gone, .. }) => {}
            other => panic!("a megabyte of {job}: {other:?}"),
        }
        assert_eq!(before, self.ep(idx).session(&owner).map(|session| session.last_event_seq()));
    }
}
