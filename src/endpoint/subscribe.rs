//! Who hears of whose jobs: history, then what happens, in one order without a hole (§7.6, D31, D36).

use super::Endpoint;
use super::audit::Audited;
use super::job_record::JobRecord;
use super::policy::Sight;
use super::registry::Key;
use crate::session::{Interest, RequestId};
use crate::time::Now;
use crate::wire::{ErrorCode, JobId, JobSubscribe, JobSubscribed, Principal, WireError};

impl Endpoint {
    pub(super) fn subscribe_asked(&mut self, now: Now, key: Key, id: RequestId, job: &JobId, wanted: &JobSubscribe) {
        let Some(viewer) = self.registry.get(key).map(|member| member.session.principal().clone()) else { return };
        let record = self.jobs.directory.get(job);
        let sight = Sight::of(&*self.jobs.policy, &viewer, record);
        let owner = record.map(|record| record.principal.clone());
        let Some(record) = record.filter(|_| sight == Sight::Subscribable).cloned() else {
            let error = match sight {
                Sight::Hidden => WireError::new(ErrorCode::JobNotFound, "there is no such job"),
                _ => WireError::new(ErrorCode::PermissionDenied, "this job may be listed and not followed"),
            };
            return self.refuse_subscribe(now, key, id, job, owner, error);
        };
        let hears_already = self.hears_of(key, job);
        let begins = !hears_already && self.jobs.audiences.contains_key(job);
        if begins && let Some(error) = self.has_no_place(key, job) {
            return self.refuse_subscribe(now, key, id, job, owner, error);
        }
        // Whoever hears of it has what happened since, in its place: again would be twice.
        let wants_history = !hears_already && wanted.history == Some(true);
        let after = wants_history.then(|| wanted.from_event_seq.unwrap_or(0));
        let history = self.history(key, &record, &viewer, after);
        if begins {
            self.state_changes(key);
        }
        let Some(member) = self.registry.get_mut(key) else { return };
        let mut answer = describe(&record, &viewer).within(member.session.features());
        answer.subscribed_from = history.from;
        answer.replayed = history.is_there;
        if let Err(error) = member.session.accept_subscribe(now, id, answer) {
            let error = WireError::new(ErrorCode::InternalError, alloc::format!("{error}"));
            let _ = member.session.fail_request(now, id, error);
            return;
        }
        let mut replayed = 0;
        for emission in &history.emissions {
            replayed += usize::from(member.session.emit(Interest::Subscriber, now, job, emission).is_ok());
        }
        if begins && let Some(audience) = self.jobs.audiences.get_mut(job) {
            audience.subscribers.push(key);
            member.work().subscribed.insert(job.clone());
        }
        self.note_session(key, Audited::Subscribed { job: job.clone(), owner: record.principal, replayed });
    }

    /// Says whether it was subscribed.
    pub(super) fn unsubscribe(&mut self, key: Key, job: &JobId) -> bool {
        let work = self.registry.work_mut(key);
        if !work.is_some_and(|work| work.subscribed.remove(job)) {
            return false;
        }
        self.jobs.remove_subscriber(job, key);
        self.state_aged(key);
        self.note_session(key, Audited::Unsubscribed { job: job.clone() });
        true
    }

    /// The session no longer agrees on subscriptions (A5).
    pub(super) fn unsubscribe_all(&mut self, key: Key) {
        let work = self.registry.work_mut(key);
        let jobs = work.map(|work| work.subscribed.clone()).unwrap_or_default();
        for job in jobs {
            self.unsubscribe(key, &job);
        }
    }

    fn refuse_subscribe(
        &mut self,
        now: Now,
        key: Key,
        id: RequestId,
        job: &JobId,
        owner: Option<Principal>,
        error: WireError,
    ) {
        let code = error.code.clone();
        if let Some(member) = self.registry.get_mut(key) {
            let _ = member.session.fail_request(now, id, error);
        }
        self.note_session(key, Audited::SubscribeRefused { job: job.clone(), owner, code });
    }

    /// As its submitter, or because it subscribed.
    fn hears_of(&self, key: Key, job: &JobId) -> bool {
        let work = self.registry.work(key);
        work.is_some_and(|work| work.subscribed.contains(job) || work.submitted.contains(job))
    }

    fn has_no_place(&self, key: Key, job: &JobId) -> Option<WireError> {
        let work = self.registry.work(key);
        let of_session = work.map_or(0, |work| work.subscribed.len());
        let of_job = self.jobs.audiences.get(job).map_or(0, |audience| audience.subscribers.len());
        if of_session >= self.config.subscriptions_per_session {
            Some(WireError::new(ErrorCode::InternalError, "the session has too many subscriptions"))
        } else if of_job >= self.config.subscribers_per_job {
            Some(WireError::new(ErrorCode::InternalError, "the job has too many subscribers"))
        } else {
            None
        }
    }
}

fn describe(record: &JobRecord, viewer: &Principal) -> JobSubscribed {
    let mut subscribed = JobSubscribed::new(record.job_id.clone(), record.agent.clone(), record.status.clone());
    subscribed.lease = record.lease.clone();
    subscribed.lease_constraints = record.lease_constraints;
    subscribed.budget = record.budget.clone();
    subscribed.parent_job_id = record.parent_job_id.clone();
    subscribed.trace_id = record.trace_id;
    // They follow the submitter alone (§14).
    subscribed.credentials = record.credentials.clone().filter(|_| *viewer == record.principal);
    subscribed
}
