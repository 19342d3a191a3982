//! Who hears of whose jobs: history, then what happens, in one order without a hole (§7.6, D31, D36).

use alloc::string::String;
use alloc::vec::Vec;

use memchr::memmem::Finder;

use super::Endpoint;
use super::audit::Audited;
use super::job_record::JobRecord;
use super::policy::Sight;
use super::registry::Key;
use crate::feature::Feature;
use crate::session::{Emission, Interest, RequestId};
use crate::time::Now;
use crate::wire::{Envelope, ErrorCode, JobId, JobSubscribe, JobSubscribed, Principal, WireError};

/// What of a job's past a subscriber is given.
struct History {
    /// In the owner's sequence: what comes is behind this.
    from: u64,
    /// The owner's replay buffer could be looked into.
    is_there: bool,
    emissions: Vec<Emission>,
}

/// Passes over the events of other jobs by their headers alone: the buffer can be large, and who asks again and again for
/// the history of a job that has little of it is not to keep everybody waiting.
struct Named<'n> {
    /// `None` where the id may be written in more than one way.
    header: Option<Finder<'n>>,
    payload: Finder<'n>,
}

impl Named<'_> {
    /// How a header names the job.
    fn text(job: &JobId) -> String {
        alloc::format!("\"job_id\":\"{job}\"")
    }

    fn new<'n>(job: &JobId, text: &'n str) -> Named<'n> {
        let is_plain = job.as_str().bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        Named { header: is_plain.then(|| Finder::new(text)), payload: Finder::new("\"payload\":") }
    }

    /// Whether the event may be of this job. Our events have the payload last.
    fn is_in(&self, frame: &[u8]) -> bool {
        let Some(header) = &self.header else { return true };
        let end = self.payload.find(frame).unwrap_or(frame.len());
        frame.get(..end).is_some_and(|before| header.find(before).is_some())
    }
}

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

    pub(super) fn unsubscribe(&mut self, key: Key, job: &JobId) {
        let work = self.registry.get_mut(key).and_then(|member| member.work.as_mut());
        if !work.is_some_and(|work| work.subscribed.remove(job)) {
            return;
        }
        self.jobs.remove_subscriber(job, key);
        self.state_aged(key);
        self.note_session(key, Audited::Unsubscribed { job: job.clone() });
    }

    /// The session no longer agrees on subscriptions (A5).
    pub(super) fn unsubscribe_all(&mut self, key: Key) {
        let work = self.registry.get_mut(key).and_then(|member| member.work.as_mut());
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
        let work = self.registry.get(key).and_then(|member| member.work.as_ref());
        work.is_some_and(|work| work.subscribed.contains(job) || work.submitted.contains(job))
    }

    fn has_no_place(&self, key: Key, job: &JobId) -> Option<WireError> {
        let work = self.registry.get(key).and_then(|member| member.work.as_ref());
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

    /// What the owner's replay buffer still has of the job behind `after`, if that is wanted, as much as fits the subscriber's
    /// own without pushing anything out.
    fn history(&self, key: Key, record: &JobRecord, viewer: &Principal, after: Option<u64>) -> History {
        let owner_key = record.session.as_ref().and_then(|session| self.registry.key_of(session));
        let owner = owner_key.and_then(|key| self.registry.get(key));
        let highest = owner.map_or(record.last_event_seq, |owner| owner.session.last_event_seq());
        let live = History { from: highest, is_there: false, emissions: Vec::new() };
        // The owner has it in its own sequence; there a second time, it would be history twice for the next one.
        let after = after.filter(|_| owner_key != Some(key));
        let (Some(owner), Some(after), Some(subscriber)) = (owner, after, self.registry.get(key)) else {
            return live;
        };
        let from = after.clamp(owner.session.replay_floor(), highest);
        let (mut events, mut bytes) = subscriber.session.free_window();
        // A frame is longer than its payload by ids, at most this much.
        let overhead = 512 + 2 * record.job_id.as_str().len();
        let mut history = History { from, is_there: true, emissions: Vec::new() };
        let text = Named::text(&record.job_id);
        let named = Named::new(&record.job_id, &text);
        let events_of_job = owner.session.events_since(from).rev();
        for (seq, frame) in events_of_job.skip_while(|(seq, _)| *seq > record.last_event_seq) {
            if !named.is_in(&frame) {
                continue;
            }
            let Ok(envelope) = Envelope::decode(frame) else { continue };
            if envelope.job_id().as_deref() != Some(record.job_id.as_str()) {
                continue;
            }
            let Some(emission) = Emission::replayed(&envelope) else { continue };
            let is_private = emission.needs(Feature::ProvisionedCredentials) && *viewer != record.principal;
            let can_have = emission.is_for(subscriber.session.features()) && !is_private;
            // A status of back-pressure is about the owner's session.
            if !can_have || emission.needs(Feature::Ack) {
                continue;
            }
            let len = envelope.frame().len() + overhead;
            if events == 0 || bytes < len {
                history.from = seq;
                break;
            }
            (events, bytes) = (events - 1, bytes - len);
            history.emissions.push(emission);
        }
        history.emissions.reverse();
        history
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
