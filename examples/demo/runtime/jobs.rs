//! The jobs that run here: what is done next in each of them, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arcp_proto::endpoint::{AcceptError, Endpoint, PublishError, Request};
use arcp_proto::wire::{
    Budget, ErrorCode, JobAccepted, JobId, JobSubmit, Lease, LeaseConstraints, Principal, WireError,
};
use arcp_proto::{AnswerError, Clock, EntropyError, Instant, Now, Secrets, SendError};

use super::agents::{self, Agent, Desk, Step};

/// More than this at once are refused, and of one principal.
const MOST_JOBS: usize = 10_000;
const MOST_JOBS_OF_ONE: usize = 1_000;

/// So many steps of a job before others have their turn, and what was published is sent; and so much time.
const BURST: usize = 256;
const TURN: Duration = Duration::from_millis(2);

/// So much time for the turns of all together: then it is seen what has come meanwhile.
const ROUND: Duration = Duration::from_millis(10);

/// The pause between two turns of a job of which nobody hears.
const UNHEARD: Duration = Duration::from_secs(1);

/// How long a job goes on behind the end of its session: nobody can cancel it any more (D37).
const ORPHANED: Duration = Duration::from_secs(600);

pub struct Jobs {
    clock: Clock,
    live: BTreeMap<JobId, Job>,
    /// How many each principal has.
    of_principal: BTreeMap<Principal, usize>,
    /// By when they have something to do, and then in the order in which they came.
    agenda: BTreeSet<(Instant, u64, JobId)>,
    /// How many have come.
    taken: u64,
}

struct Job {
    number: u64,
    principal: Principal,
    agent: Box<dyn Agent>,
    /// When it goes on by itself; never, while it waits for room or to be cancelled.
    next: Instant,
    /// When it has to end, and how it ends then.
    deadline: (Instant, ErrorCode),
    /// It ends by this as soon as there is room for it.
    end: Option<WireError>,
}

impl Job {
    fn due(&self) -> Instant {
        // What has its end already only waits for room.
        if self.end.is_some() { self.next } else { self.next.min(self.deadline.0) }
    }
}

/// What became of a job's turn.
enum Turn {
    Next(Instant),
    Over,
}

impl Jobs {
    /// No jobs yet. The clock tells how long turns take.
    pub fn new(clock: Clock) -> Jobs {
        Jobs { clock, live: BTreeMap::new(), of_principal: BTreeMap::new(), agenda: BTreeSet::new(), taken: 0 }
    }

    /// When there is something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, ..)| *at).filter(|at| *at != Instant::MAX)
    }

    /// What is due does its next steps, as far as there is time.
    pub fn work(&mut self, now: Now, endpoint: &mut Endpoint) {
        let ends_at = self.clock.now().mono + ROUND;
        // One turn each: whoever is due at once again, is so in the next round, behind those that had none in this.
        let due: Vec<JobId> =
            self.agenda.iter().take_while(|(at, ..)| *at <= now.mono).map(|(.., job)| job.clone()).collect();
        for id in due {
            let Some(mut job) = self.take(&id) else { continue };
            let mut desk = Desk { now, endpoint: &mut *endpoint, job: &id, is_unheard: false };
            match turn(&mut job, &mut desk, &self.clock) {
                Turn::Next(at) => {
                    job.next = at;
                    self.put(id, job);
                }
                Turn::Over => self.forget(&job.principal),
            }
            if self.clock.now().mono >= ends_at {
                return;
            }
        }
    }

    /// Takes a job on, or refuses it (§7.1).
    pub fn submit(
        &mut self,
        now: Now,
        endpoint: &mut Endpoint,
        request: &Request,
        principal: Principal,
        submit: &JobSubmit,
    ) {
        let of_one = self.of_principal.get(&principal).copied().unwrap_or(0);
        let started = if self.live.len() < MOST_JOBS && of_one < MOST_JOBS_OF_ONE {
            agents::start(submit).and_then(|(name, agent)| Ok((accepted(now, submit, name)?, agent)))
        } else {
            Err(WireError::new(ErrorCode::InternalError, "too many jobs run already"))
        };
        let refusal = match started {
            Ok((accepted, agent)) => {
                let (id, deadline) = (accepted.job_id.clone(), deadline(now, submit));
                match endpoint.accept_job(now, request, accepted) {
                    Ok(()) => {
                        self.taken += 1;
                        *self.of_principal.entry(principal.clone()).or_default() += 1;
                        let job = Job { number: self.taken, principal, agent, next: now.mono, deadline, end: None };
                        return self.put(id, job);
                    }
                    // Whoever asked is gone.
                    Err(AcceptError::Answer(AnswerError::UnknownRequest)) => return,
                    Err(error) => WireError::new(ErrorCode::InternalError, error.to_string()),
                }
            }
            Err(refusal) => refusal,
        };
        let _ = endpoint.refuse(now, request, refusal);
    }

    /// Cancels a job (§7.4): the cancel is confirmed, then the job ends.
    pub fn cancel(&mut self, now: Now, endpoint: &mut Endpoint, request: &Request, id: &JobId, reason: Option<String>) {
        if endpoint.confirm_cancel(now, request, reason).is_err() {
            // It has ended meanwhile.
            let _ = endpoint.refuse(now, request, WireError::new(ErrorCode::InvalidRequest, "the job has ended"));
            return;
        }
        if let Some(mut job) = self.take(id) {
            job.end.get_or_insert_with(|| WireError::new(ErrorCode::Cancelled, "cancelled as asked for"));
            job.next = now.mono;
            self.put(id.clone(), job);
        }
    }

    /// There is room for these again.
    pub fn go_on(&mut self, now: Now, jobs: &[JobId]) {
        for id in jobs {
            if let Some(mut job) = self.take(id) {
                job.next = now.mono;
                self.put(id.clone(), job);
            }
        }
    }

    /// The session that submitted these has ended. They go on for whoever subscribed, for a while.
    pub fn orphan(&mut self, now: Now, jobs: &[JobId]) {
        for id in jobs {
            if let Some(mut job) = self.take(id) {
                let end = now.mono + ORPHANED;
                if end < job.deadline.0 {
                    job.deadline = (end, ErrorCode::Timeout);
                }
                self.put(id.clone(), job);
            }
        }
    }

    /// Nothing runs any more.
    pub fn stop(&mut self) {
        self.live.clear();
        self.of_principal.clear();
        self.agenda.clear();
    }

    /// One of its jobs is over.
    fn forget(&mut self, principal: &Principal) {
        if let Some(count) = self.of_principal.get_mut(principal) {
            *count -= 1;
            if *count == 0 {
                self.of_principal.remove(principal);
            }
        }
    }

    fn take(&mut self, id: &JobId) -> Option<Job> {
        let job = self.live.remove(id)?;
        self.agenda.remove(&(job.due(), job.number, id.clone()));
        Some(job)
    }

    fn put(&mut self, id: JobId, job: Job) {
        self.agenda.insert((job.due(), job.number, id.clone()));
        self.live.insert(id, job);
    }
}

/// A job's turn: the steps until it has to pause, or others have waited long enough.
fn turn(job: &mut Job, desk: &mut Desk<'_>, clock: &Clock) -> Turn {
    let now = desk.now.mono;
    if job.deadline.0 <= now && job.end.is_none() {
        let message = format!("the job ran out of its time ({})", job.deadline.1);
        job.end = Some(WireError::new(job.deadline.1.clone(), message));
    }
    let ends_at = clock.now().mono + TURN;
    for step in 1..=BURST {
        let outcome = match &job.end {
            Some(error) => desk.fail(error.clone()).map(|()| Step::Done),
            None => job.agent.step(desk),
        };
        match outcome {
            Ok(Step::Next) if step % 16 == 0 && clock.now().mono >= ends_at => break,
            Ok(Step::Next) => {}
            Ok(Step::Pause(time)) => return Turn::Next(now + time),
            Ok(Step::Wait) => return Turn::Next(Instant::MAX),
            Ok(Step::Done) | Err(PublishError::Ended | PublishError::UnknownJob) => return Turn::Over,
            // `Writable` comes. Nothing was published: the agent stands where it stood.
            Err(PublishError::Send(SendError::Blocked)) => return Turn::Next(Instant::MAX),
            // Its own end cannot be said: there is nothing left to do.
            Err(_) if job.end.is_some() => return Turn::Over,
            Err(error) => job.end = Some(WireError::new(ErrorCode::InternalError, error.to_string())),
        }
    }
    Turn::Next(if desk.is_unheard { now + UNHEARD } else { now })
}

/// What a client is told of the job that it asked for. The demo grants every lease as it was asked for.
fn accepted(now: Now, submit: &JobSubmit, agent: String) -> Result<JobAccepted, WireError> {
    let id = mint_job_id().map_err(|error| WireError::new(ErrorCode::InternalError, error.to_string()))?;
    let mut accepted = JobAccepted::new(id, agent, now.wall);
    accepted.lease_constraints = submit.lease_constraints;
    if let Some(lease) = &submit.lease_request {
        accepted.budget = budget(lease)?;
        accepted.lease = lease.clone();
    }
    Ok(accepted)
}

fn mint_job_id() -> Result<JobId, EntropyError> {
    let id = Secrets::session_id()?;
    Ok(JobId::from(id.as_str().replacen("sess_", "job_", 1)))
}

/// The counters of a lease's `cost.budget`, as in `["USD:5.00"]` (§9.6).
fn budget(lease: &Lease) -> Result<Option<Budget>, WireError> {
    let malformed = || WireError::new(ErrorCode::InvalidRequest, "`cost.budget` holds texts like \"USD:5.00\"");
    let Some(limits) = lease.grants().and_then(|mut grants| grants.remove("cost.budget")) else { return Ok(None) };
    let mut budget = Budget::new();
    for limit in limits {
        let (currency, amount) = limit.split_once(':').ok_or_else(malformed)?;
        let amount = amount.parse::<f64>().ok().filter(|amount| *amount >= 0.0).ok_or_else(malformed)?;
        let before = budget.get(currency).and_then(serde_json::Number::as_f64).unwrap_or_default();
        let sum = serde_json::Number::from_f64(before + amount).ok_or_else(malformed)?;
        budget.insert(currency.to_owned(), sum);
    }
    Ok(Some(budget))
}

/// When a job has to end, and by which error: `max_runtime_sec`, or the end of its lease (§7.3, §9.5).
fn deadline(now: Now, submit: &JobSubmit) -> (Instant, ErrorCode) {
    let runtime = submit.max_runtime_sec.map(|seconds| now.mono + Duration::from_secs(seconds));
    let lease = submit.lease_constraints.and_then(|LeaseConstraints { expires_at }| expires_at);
    let lease = lease.map(|at| {
        let left = at.as_unix_millis().saturating_sub(now.wall.as_unix_millis());
        now.mono + Duration::from_millis(u64::try_from(left).unwrap_or(0))
    });
    let timeout = (runtime.unwrap_or(Instant::MAX), ErrorCode::Timeout);
    let expiry = (lease.unwrap_or(Instant::MAX), ErrorCode::LeaseExpired);
    if expiry.0 < timeout.0 { expiry } else { timeout }
}
