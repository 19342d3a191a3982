//! The jobs of all sessions: who submitted them, who hears of them, how they stand.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Endpoint;
use super::config::Durability;
use super::deadlines::Sleeper;
use super::directory::{JobDirectory, StatusChange};
use super::error::InsertError;
use super::idempotency::IdempotencyKeys;
use super::job_order::Slot;
use super::job_record::JobRecord;
use super::policy::Policy;
use super::registry::Key;
use super::result_stream::ResultStream;
use crate::session::RequestId;
use crate::time::{Instant, Now};
use crate::wire::{Budget, Credential, JobError, JobId, JobStatus, SessionId};

/// Which submit waits for the answer to another's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) key: Key,
    pub(super) serial: u64,
    pub(super) id: RequestId,
}

/// A job that has not ended: who hears of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Audience {
    /// `None` once that session is gone.
    pub(super) submitter: Option<Key>,
    /// The job's place in the directory, as long as it has not ended.
    pub(super) slot: Slot,
    /// In the order in which they came.
    pub(super) subscribers: Vec<Key>,
    pub(super) stream: ResultStream,
    /// How it has to end, as soon as its submitter can hear of that (D42).
    pub(super) owed: Option<JobError>,
}

#[derive(Clone)]
pub(super) struct Jobs {
    pub(super) directory: JobDirectory,
    pub(super) audiences: BTreeMap<JobId, Audience>,
    pub(super) keys: IdempotencyKeys<Asker>,
    pub(super) policy: Arc<dyn Policy>,
    /// Who waits for a job that lived on another machine, and may come here yet.
    pub(super) awaited: BTreeMap<JobId, Vec<Key>>,
    /// With which session a job is stored; empty where nothing is.
    pub(super) stored_with: BTreeMap<JobId, SessionId>,
    /// Where the directory stands in the order of deadlines.
    pub(super) deadline: Instant,
}

impl Jobs {
    fn forget(&mut self, job: &JobId) {
        self.keys.forget_job(job);
        self.audiences.remove(job);
    }

    pub(super) fn remove_subscriber(&mut self, job: &JobId, key: Key) {
        if let Some(audience) = self.audiences.get_mut(job) {
            audience.subscribers.retain(|subscriber| *subscriber != key);
        }
        // Also where there is such a job by now: whoever waits does so for one that comes with its session.
        if let Some(waiting) = self.awaited.get_mut(job) {
            waiting.retain(|subscriber| *subscriber != key);
            if waiting.is_empty() {
                self.awaited.remove(job);
            }
        }
    }
}

/// What is known of jobs.
impl Endpoint {
    /// The jobs that can be listed.
    #[must_use]
    pub fn jobs(&self) -> &JobDirectory {
        &self.jobs.directory
    }

    /// Registers a job that no session submitted here, such as one that another delegated (§10): it can be listed, subscribed
    /// to, published. It has no submitter: the session that `record` names, if any, is taken out of it.
    ///
    /// # Errors
    ///
    /// When the directory does not take it.
    pub fn add_job(&mut self, now: Now, mut record: JobRecord) -> Result<(), InsertError> {
        let now = self.tick(now);
        record.session = None;
        self.register_job(now, record, None)
    }

    /// The jobs that a session submitted and that have not ended.
    pub fn jobs_of(&self, session: &SessionId) -> impl Iterator<Item = &JobId> {
        let work = self.registry.by_id(session).and_then(|member| member.work.as_ref());
        work.into_iter().flat_map(|work| &work.submitted)
    }

    /// The sessions that are subscribed to a job, in the order in which they came.
    pub fn subscribers_of(&self, job: &JobId) -> impl Iterator<Item = &SessionId> {
        let subscribers = self.jobs.audiences.get(job).into_iter().flat_map(|audience| &audience.subscribers);
        subscribers.filter_map(|key| self.registry.get(*key)?.session.session_id())
    }

    /// Takes a subscription away, where the policy has become narrower: the session hears nothing more of the job, and is not
    /// told so, for the protocol has no word for it. Says whether it was subscribed.
    pub fn end_subscription(&mut self, now: Now, session: &SessionId, job: &JobId) -> bool {
        self.tick(now);
        let key = self.registry.key_of(session);
        key.is_some_and(|key| self.unsubscribe(key, job))
    }

    /// Takes a job out of all listings, and ends nothing: nobody hears of it any more. Says whether there was one.
    pub fn forget_job(&mut self, now: Now, job: &JobId) -> bool {
        self.tick(now);
        self.disband(job);
        let was_there = self.jobs.directory.remove(job).is_some();
        self.drop_jobs([job.clone()]);
        was_there
    }

    /// Says that a pending job is at work; the first thing that is published of it says so, too. False when there is no such
    /// job, or it has ended.
    pub fn mark_running(&mut self, now: Now, job: &JobId) -> bool {
        let now = self.tick(now);
        let change = self.jobs.directory.set_status(now.mono, job, JobStatus::Running);
        if change == StatusChange::Changed {
            self.job_changed(job);
        }
        matches!(change, StatusChange::Changed | StatusChange::Unchanged)
    }

    /// Says what is left of a job's budgets, for whoever subscribes from now on (§9.6). False when there is no such job.
    pub fn set_budget(&mut self, job: &JobId, budget: Option<Budget>) -> bool {
        self.job_changed(job);
        self.jobs.directory.set_budget(job, budget)
    }

    /// Says which credentials a job has now, for the submitter's own subscriptions (§9.8). False when there is no such job.
    pub fn set_credentials(&mut self, job: &JobId, credentials: Option<Vec<Credential>>) -> bool {
        self.job_changed(job);
        self.jobs.directory.set_credentials(job, credentials)
    }
}

impl Endpoint {
    pub(super) fn register_job(
        &mut self,
        now: Now,
        record: JobRecord,
        submitter: Option<Key>,
    ) -> Result<(), InsertError> {
        let job_id = record.job_id.clone();
        let has_ended = record.status.is_terminal();
        let session = record.session.clone().filter(|_| submitter.is_some());
        let dropped = self.jobs.directory.insert(now.mono, record)?;
        self.drop_jobs(dropped);
        if let Some(session) = session.filter(|_| self.config.durability != Durability::Volatile) {
            self.jobs.stored_with.insert(job_id.clone(), session);
        }
        if !has_ended {
            let slot = self.jobs.directory.slot_of(&job_id).unwrap_or(Slot::MAX);
            self.jobs.audiences.insert(job_id.clone(), Audience { submitter, slot, ..Audience::default() });
            if let Some(member) = submitter.and_then(|key| self.registry.get_mut(key)) {
                member.work().submitted.insert(job_id);
            }
        }
        Ok(())
    }

    /// The job lives on another machine, or comes from there anew: all that stays of it here is who waits for it.
    pub(super) fn let_go(&mut self, job: &JobId) {
        if let Some(Audience { submitter, subscribers, .. }) = self.jobs.audiences.remove(job) {
            self.end_submission(submitter, job);
            if !subscribers.is_empty() {
                self.jobs.awaited.entry(job.clone()).or_default().extend(subscribers);
            }
        }
        self.jobs.directory.remove(job);
        self.jobs.stored_with.remove(job);
        self.jobs.keys.forget_job(job);
        self.set_directory_deadline();
    }

    /// The directory has let go of these.
    pub(super) fn drop_jobs(&mut self, gone: impl IntoIterator<Item = JobId>) {
        for job in gone {
            self.jobs.forget(&job);
            self.job_forgotten(&job);
        }
        self.set_directory_deadline();
    }

    fn set_directory_deadline(&mut self) {
        let at = self.jobs.directory.poll_timeout().unwrap_or(Instant::MAX);
        let before = core::mem::replace(&mut self.jobs.deadline, at);
        self.deadlines.change(Sleeper::Directory, before, at);
    }

    pub(super) fn directory_timed_out(&mut self, now: Now) {
        let gone = self.jobs.directory.handle_timeout(now.mono);
        self.drop_jobs(gone);
    }

    /// A job has ended: nobody waits for anything of it.
    pub(super) fn end_job(&mut self, now: Now, job: &JobId, status: JobStatus) {
        self.job_changed(job);
        self.disband(job);
        self.jobs.audiences.remove(job);
        if let StatusChange::Ended { dropped } = self.jobs.directory.set_status(now.mono, job, status) {
            self.drop_jobs(dropped);
        }
    }

    /// Sessions forget that they have to do with the job.
    fn disband(&mut self, job: &JobId) {
        let Some(audience) = self.jobs.audiences.get(job) else { return };
        let (submitter, subscribers) = (audience.submitter, audience.subscribers.clone());
        self.end_submission(submitter, job);
        self.end_subscriptions(&subscribers, job);
    }

    /// The job is no longer one that its submitter has at work.
    fn end_submission(&mut self, submitter: Option<Key>, job: &JobId) {
        if let Some(work) = submitter.and_then(|key| self.registry.work_mut(key)) {
            work.submitted.remove(job);
            work.blocked.remove(job);
        }
    }

    /// There is nothing more to hear of the job.
    pub(super) fn end_subscriptions(&mut self, subscribers: &[Key], job: &JobId) {
        for key in subscribers {
            if let Some(work) = self.registry.work_mut(*key) {
                work.subscribed.remove(job);
            }
            self.state_aged(*key);
        }
    }

    /// The session is gone: its jobs go on without it. Gives those.
    pub(super) fn orphan_jobs(&mut self, key: Key) -> Vec<JobId> {
        let Some(work) = self.registry.get_mut(key).and_then(|member| member.work.take()) else { return Vec::new() };
        for job in &work.subscribed {
            self.jobs.remove_subscriber(job, key);
        }
        for job in &work.submitted {
            self.jobs.directory.set_session(job, None);
            self.jobs.stored_with.remove(job);
            if let Some(audience) = self.jobs.audiences.get_mut(job) {
                audience.submitter = None;
            }
        }
        self.abandon_submits(key, work.submits);
        work.submitted.into_iter().collect()
    }
}
