//! Sessions that began on another machine.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Endpoint;
use super::audit::Audited;
use super::error::InsertError;
use super::limit::Limit;
use super::policy::Sight;
use super::registry::{Key, Rank};
use super::stored::{Adoption, JobState};
use crate::session::{RestoreError, Runtime, Session};
use crate::time::Now;
use crate::wire::{Envelope, JobId, SessionId};

/// A session that was taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The session; it waits for its client, who resumes it by [`admit`](Endpoint::admit).
    pub session: SessionId,
    /// Its jobs that have not ended: this process's to carry on.
    pub jobs: Vec<JobId>,
    /// Those that the directory has no place for: nobody hears of them here.
    pub refused_jobs: Vec<(JobId, InsertError)>,
}

/// Why a session was not taken over. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// Nobody is let in any more.
    #[error("the endpoint is shutting down")]
    ShuttingDown,
    /// The session is here, and no older than that.
    #[error("the session is here already, in generation {0}")]
    IsHere(u64),
    /// One of its tokens resumes another session here: the store has mixed them up.
    #[error("a token of the session is another's here")]
    TokenTaken,
    /// What the store gave is no session.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// There is no place for it: the limit is reached, and nobody here has to go before it.
    #[error("there is no place: {0}")]
    NoPlace(Limit),
}

/// The last event of each job.
fn last_events(events: &[(u64, Bytes)]) -> BTreeMap<JobId, u64> {
    let job_of = |frame: &Bytes| Envelope::decode(frame.clone()).ok()?.to_job_id();
    events.iter().filter_map(|(seq, frame)| Some((job_of(frame)?, *seq))).collect()
}

impl Endpoint {
    /// Takes a session over that lived on another machine, or here before: with its events, jobs, keys and subscriptions, as
    /// the store has them. It waits for its client, as one that has lost its transport.
    ///
    /// Before this, the generation must have been raised in the store by a compare-and-set: of two machines that take a
    /// session over at once only one may come here, and whoever had it before is told by its next
    /// [`Change`](super::Change) that it is fenced. Where the session stands here in an older generation, that one ends
    /// ([`Fenced`](crate::CloseReason::Fenced)); its `Closed` is polled after this and names jobs of which some may be
    /// among those that are given here: these go on.
    ///
    /// A job's id must name one job on all machines. A subscription is to a job of another session; events of that come
    /// once its session is here, too. What is published here before the subscriber comes does not reach it: whoever minds
    /// adopts all sessions of a dead process before it goes on with their jobs.
    ///
    /// Look at the principal in the store, before the session is moved: a client with another's token is refused by `admit`,
    /// but only when its session is here.
    ///
    /// # Errors
    ///
    /// When it is here already, what the store gave is no session, or there is no place.
    pub fn adopt(&mut self, now: Now, adoption: Adoption) -> Result<Adopted, AdoptError> {
        let now = self.tick(now);
        if self.is_shutting_down {
            return Err(AdoptError::ShuttingDown);
        }
        let Adoption { generation, state, events, jobs } = adoption;
        let id = state.session.session_id().clone();
        let principal = state.session.principal().clone();
        let (token, presented) = {
            let mut digests = state.token_digests();
            (digests.next(), digests.next())
        };
        let stale = self.registry.key_of(&id);
        if let Some(here) = stale.and_then(|key| self.registry.get(key)).map(|member| member.generation())
            && here >= generation
        {
            return Err(AdoptError::IsHere(here));
        }
        let is_taken = |digest: &[u8; 32]| self.registry.by_token(digest).is_some_and(|key| Some(key) != stale);
        if [token, presented].iter().flatten().any(is_taken) {
            return Err(AdoptError::TokenTaken);
        }
        let last_events = last_events(&events);
        let config = Arc::clone(&self.config.runtime);
        let session = Session::<Runtime>::restore(now, config, Arc::from([]), state.session, events)?;
        let rank = match (state.said_goodbye, session.is_window_over()) {
            (true, _) => Rank::Closed,
            (false, true) => Rank::Elapsed,
            (false, false) => Rank::Waiting,
        };
        self.has_place_to_park(rank, session.replay_len().1, stale).map_err(AdoptError::NoPlace)?;
        // Nobody is told to stop what goes on here.
        self.let_go_of_older(jobs.iter().filter(|job| !job.record.status.is_terminal()));
        if stale.is_some() {
            self.fence(now, &id);
        }
        self.let_go_of_older(jobs.iter());
        self.make_place(now, &principal).map_err(AdoptError::NoPlace)?;
        let stored = session.last_event_seq();
        let key = self.registry.insert(session, presented);
        self.make_durable(key, generation, stored);
        self.counters.adopted += 1;
        self.note_session(key, Audited::Adopted { generation });
        let (jobs, refused_jobs) = self.adopt_jobs(now, key, &id, jobs);
        for (job, seq) in last_events {
            // Of others' jobs it is the place in another sequence (D31).
            if self.jobs.directory.get(&job).is_some_and(|record| record.session.as_ref() == Some(&id)) {
                self.jobs.directory.set_last_event_seq(&job, seq);
            }
        }
        self.adopt_subscriptions(key, state.subscriptions);
        self.park(now, key, rank);
        self.serve(now, key);
        Ok(Adopted { session: id, jobs, refused_jobs })
    }

    /// What is left here of these jobs, of an older generation of their session.
    fn let_go_of_older<'a>(&mut self, jobs: impl Iterator<Item = &'a JobState>) {
        for JobState { record, .. } in jobs {
            if self.jobs.directory.get(&record.job_id).is_some_and(|here| here.principal == record.principal) {
                self.let_go(&record.job_id);
            }
        }
    }

    /// Gives those that have not ended, and those that were not taken.
    fn adopt_jobs(
        &mut self,
        now: Now,
        key: Key,
        session: &SessionId,
        jobs: Vec<JobState>,
    ) -> (Vec<JobId>, Vec<(JobId, InsertError)>) {
        let (mut live, mut refused) = (Vec::new(), Vec::new());
        let highest = self.registry.get(key).map_or(0, |member| member.session.last_event_seq());
        for JobState { mut record, key: kept, stream } in jobs {
            let job = record.job_id.clone();
            record.session = Some(session.clone());
            record.last_event_seq = record.last_event_seq.min(highest);
            let principal = record.principal.clone();
            let has_ended = record.status.is_terminal();
            if let Err(error) = self.register_job(now, record, Some(key)) {
                refused.push((job, error));
                continue;
            }
            if let Some(kept) = kept.filter(|kept| kept.is_of(&job, &principal)) {
                self.jobs.keys.adopt(kept);
            }
            let waiting = self.jobs.awaited.remove(&job).unwrap_or_default();
            let (waiting, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|key| self.may_follow(*key, &job));
            self.end_subscriptions(&others, &job);
            match self.jobs.audiences.get_mut(&job) {
                Some(audience) => {
                    audience.stream = stream;
                    audience.subscribers = waiting;
                }
                None => self.end_subscriptions(&waiting, &job),
            }
            if !has_ended {
                live.push(job);
            }
        }
        (live, refused)
    }

    fn adopt_subscriptions(&mut self, key: Key, jobs: Vec<JobId>) {
        for job in jobs {
            let has_ended = self.jobs.directory.get(&job).is_some_and(|record| record.status.is_terminal());
            let is_here = self.jobs.directory.get(&job).is_some();
            let may_follow = !has_ended && (!is_here || self.may_follow(key, &job));
            let Some(member) = self.registry.get_mut(key).filter(|_| may_follow) else { continue };
            let work = member.work();
            if work.submitted.contains(&job) || !work.subscribed.insert(job.clone()) {
                continue;
            }
            match self.jobs.audiences.get_mut(&job) {
                Some(audience) => audience.subscribers.push(key),
                None => self.jobs.awaited.entry(job).or_default().push(key),
            }
        }
    }

    /// Whether the policy of this machine, as it is now, lets the session follow the job.
    fn may_follow(&self, key: Key, job: &JobId) -> bool {
        let viewer = self.registry.get(key).map(|member| member.session.principal());
        let record = self.jobs.directory.get(job);
        viewer.is_some_and(|viewer| Sight::of(&*self.jobs.policy, viewer, record) == Sight::Subscribable)
    }
}
