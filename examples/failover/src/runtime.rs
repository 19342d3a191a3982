//! A process that serves sessions: an endpoint, TCP in front of it, a store behind it.
//!
//! One thread has the endpoint and goes round: take in what came, let time pass, let jobs work, attend to events, store what
//! changed, *then* send.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use arcp_proto::endpoint::{
    AdmitError, Applicant, ConnId, Durability, Endpoint, EndpointConfig, EndpointEvent, PublishError, Request,
};
use arcp_proto::wire::{
    AgentInfo, ErrorCode, JobAccepted, JobError, JobId, JobSubmit, PeerInfo, Principal, SessionId, WireError,
};
use arcp_proto::{Clock, CloseReason, EntropyError, Grant, Instant, Now, RuntimeConfig, Secrets};
use serde_json::json;

use crate::counter::{AGENT, Counter, Input, Pace};
use crate::lines::{Line, Wake, listen};
use crate::store::{Step, Store, StoreError, Written};

/// What may wait for the loop; whoever brings more waits.
const WAKES: usize = 1_024;

/// How long after a failure the store is tried again.
const STORE_RETRY: Duration = Duration::from_millis(100);

/// How a runtime is run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The address of the store.
    #[arg(long)]
    pub redis: String,
    /// What is stored when.
    #[arg(long, value_enum, default_value = "each")]
    pub mode: Mode,
    /// How often it is stored in batched mode.
    #[arg(long, default_value_t = 50)]
    pub batch_ms: u64,
}

/// What is stored when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Each round's changes before its messages: nothing is lost.
    Each,
    /// Every so often, and nothing waits for it: what is not stored when the process dies is lost.
    Batched,
    /// Nothing.
    Off,
}

/// Why a runtime could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no socket.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// There is no store at that address.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A job that works here.
struct Work {
    session: SessionId,
    counter: Counter,
    /// `None`: it waits for room.
    due: Option<Instant>,
}

struct Runtime {
    clock: Clock,
    endpoint: Endpoint,
    store: Store,
    options: Options,
    agents: Arc<[AgentInfo]>,
    wakes: SyncSender<Wake>,
    lines: BTreeMap<ConnId, Line>,
    /// Their readers wait.
    waiting: Vec<ConnId>,
    work: BTreeMap<JobId, Work>,
    /// Jobs that have come further than the store knows, by session.
    progress: BTreeMap<SessionId, BTreeMap<JobId, Counter>>,
    /// Given out by the endpoint, not yet stored.
    steps: Vec<Step>,
    /// When the store is written to next.
    store_at: Instant,
}

/// Serves until the process is killed.
pub fn run(options: Options) -> Result<(), Failure> {
    let config = RuntimeConfig {
        heartbeat_interval: Duration::from_secs(1),
        ..RuntimeConfig::new(PeerInfo::new("failover", env!("CARGO_PKG_VERSION")))
    };
    let durability = match options.mode {
        Mode::Each => Durability::BeforeTransmit,
        Mode::Batched => Durability::Batched,
        Mode::Off => Durability::Volatile,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    tell(&json!({"ev": "ready", "port": listener.local_addr()?.port()}));
    let (wakes, woken) = mpsc::sync_channel(WAKES);
    listen(listener, wakes.clone());
    let runtime = Runtime {
        clock: Clock::new(),
        endpoint: Endpoint::new(EndpointConfig { durability, ..EndpointConfig::new(config) }),
        store: Store::new(&options.redis)?,
        options,
        agents: Arc::from([AgentInfo::new(AGENT, ["1.0.0"])]),
        wakes,
        lines: BTreeMap::new(),
        waiting: Vec::new(),
        work: BTreeMap::new(),
        progress: BTreeMap::new(),
        steps: Vec::new(),
        store_at: Instant::ZERO,
    };
    runtime.serve(&woken);
    Ok(())
}

/// A line for whoever watches.
fn tell(what: &serde_json::Value) {
    eprintln!("{what}");
}

impl Runtime {
    fn serve(mut self, woken: &Receiver<Wake>) {
        let mut has_sent = false;
        loop {
            // What was sent may have made room for a job that waits for it.
            match woken.recv_timeout(if has_sent { Duration::ZERO } else { self.wait() }) {
                Ok(wake) => {
                    // What was read goes before the time, but peers that never pause do not stop the clock.
                    for wake in std::iter::once(wake).chain(woken.try_iter().take(WAKES)) {
                        self.take_in(wake);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.pass_time();
            self.work();
            while self.attend() | self.keep() {}
            has_sent = self.send();
            self.read_on();
        }
    }

    /// Until the next deadline, of whatever.
    fn wait(&self) -> Duration {
        let store_at = (self.options.mode == Mode::Batched || !self.steps.is_empty()).then_some(self.store_at);
        let due = self.work.values().filter_map(|work| work.due);
        let next = due.chain(store_at).chain(self.endpoint.poll_timeout()).min();
        next.map_or(Duration::MAX, |at| self.clock.sleep_for(at))
    }

    fn take_in(&mut self, wake: Wake) {
        let now = self.clock.now();
        match wake {
            Wake::Connection(stream) => {
                let conn = self.endpoint.connect(now);
                match Line::start(stream, conn, &self.wakes) {
                    Ok(line) => drop(self.lines.insert(conn, line)),
                    // It is gone already.
                    Err(_) => self.endpoint.handle_disconnect(now, conn),
                }
            }
            Wake::Read { conn, lines, is_partial } => {
                for line in lines {
                    match line {
                        Ok(message) => self.endpoint.handle_input(now, conn, message),
                        Err(too_long) => self.endpoint.handle_malformed(now, conn, too_long.into()),
                    }
                }
                if is_partial {
                    self.endpoint.handle_activity(now, conn);
                }
                self.waiting.push(conn);
            }
            Wake::Written { conn, bytes } => {
                if self.lines.get_mut(&conn).is_some_and(|line| line.written(bytes)) {
                    self.endpoint.set_writable(conn, true);
                }
            }
            Wake::Ended(conn) => {
                self.lines.remove(&conn);
                self.endpoint.handle_disconnect(now, conn);
            }
        }
    }

    fn pass_time(&mut self) {
        let now = self.clock.now();
        if self.endpoint.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.endpoint.handle_timeout(now);
        }
    }

    /// Jobs that are due do their next step.
    fn work(&mut self) {
        let now = self.clock.now();
        let mut done = Vec::new();
        for (job, work) in self.work.iter_mut().filter(|(_, work)| work.due.is_some_and(|at| at <= now.mono)) {
            match work.counter.step(now, &mut self.endpoint, job) {
                Ok(Pace::Counting) => work.due = Some(now.mono + work.counter.pause()),
                Ok(Pace::Blocked) => work.due = None,
                Ok(Pace::Done) => done.push(job.clone()),
                Err(error) => {
                    tell(&json!({"ev": "job_stopped", "job": job, "error": error.to_string()}));
                    done.push(job.clone());
                }
            }
            self.progress.entry(work.session.clone()).or_default().insert(job.clone(), work.counter.clone());
        }
        for job in done {
            self.work.remove(&job);
        }
    }

    /// Attends to what the endpoint tells; says whether there was anything.
    fn attend(&mut self) -> bool {
        let mut was_told = false;
        while let Some(event) = self.endpoint.poll_event() {
            was_told = true;
            let now = self.clock.now();
            match event {
                EndpointEvent::Authenticate(applicant) => self.authenticate(now, &applicant),
                EndpointEvent::Submit { request, submit, .. } => self.submitted(now, &request, &submit),
                EndpointEvent::Cancel { request, job_id, reason } => self.cancel(now, &request, &job_id, reason),
                EndpointEvent::Writable { jobs, .. } => {
                    for job in &jobs {
                        if let Some(work) = self.work.get_mut(job) {
                            work.due = Some(now.mono);
                        }
                    }
                }
                EndpointEvent::Closed { session, reason, .. } => self.closed(&session, &reason),
                _ => {}
            }
        }
        while self.endpoint.poll_audit().is_some() {
            // An operator's log would have it.
        }
        was_told
    }

    /// Who is this? The demo takes the bearer token for the name; a real runtime verifies it.
    fn authenticate(&mut self, now: Now, applicant: &Applicant) {
        let bearer = applicant.credentials.token.as_ref().filter(|token| !token.is_empty());
        let verdict = match bearer {
            Some(token) => self.grant(now, applicant, Principal::from(token.reveal())),
            None => Err(WireError::new(ErrorCode::Unauthenticated, "a bearer token is needed")),
        };
        let refusal = match verdict.map(|grant| self.endpoint.admit(now, applicant.conn, grant)) {
            // Who was refused, or has no place, was told; who is gone needs no answer.
            Ok(Ok(_) | Err(AdmitError::NobodyWaits | AdmitError::ResumeRefused(_) | AdmitError::NoPlace(_))) => return,
            Ok(Err(unfit)) => WireError::new(ErrorCode::InternalError, unfit.to_string()),
            Err(refusal) => refusal,
        };
        let _ = self.endpoint.reject(now, applicant.conn, refusal);
    }

    fn grant(&mut self, now: Now, applicant: &Applicant, principal: Principal) -> Result<Grant, WireError> {
        // The client tries again: this is retryable.
        let unable = |why: String| WireError::new(ErrorCode::InternalError, why);
        if let Some(resume) = applicant.resume.as_ref().filter(|resume| !resume.is_here) {
            self.take_over(now, &resume.token_digest, &principal).map_err(unable)?;
        }
        let no_entropy = |error: EntropyError| unable(error.to_string());
        Ok(Grant {
            principal,
            session_id: Secrets::session_id().map_err(no_entropy)?,
            resume_token: Secrets::resume_token().map_err(no_entropy)?,
            agents: Arc::clone(&self.agents),
        })
    }

    /// The session may be in the store. If it is not, `admit` refuses.
    fn take_over(&mut self, now: Now, digest: &[u8; 32], principal: &Principal) -> Result<(), String> {
        let Some(found) = self.store.take_over(digest, principal).map_err(|error| error.to_string())? else {
            return Ok(());
        };
        let generation = found.adoption.generation;
        let adopted = self.endpoint.adopt(now, found.adoption).map_err(|error| error.to_string())?;
        // What an older generation of it left here has been carried on elsewhere.
        self.drop_work(&adopted.session);
        let counters: BTreeMap<_, _> = found.progress.into_iter().collect();
        for job in adopted.jobs {
            if let Some(counter) = counters.get(&job).cloned() {
                self.work.insert(job, Work { session: adopted.session.clone(), counter, due: Some(now.mono) });
            }
        }
        tell(&json!({"ev": "adopted", "session": adopted.session, "generation": generation}));
        Ok(())
    }

    fn submitted(&mut self, now: Now, request: &Request, submit: &JobSubmit) {
        let asked = submit.agent.split('@').next().unwrap_or_default();
        let verdict = if asked == AGENT {
            submit.input.parse::<Input>().map_err(|error| WireError::new(ErrorCode::InvalidRequest, error.to_string()))
        } else {
            Err(WireError::new(ErrorCode::AgentNotAvailable, "there is no such agent"))
        };
        let verdict = verdict.and_then(|input| {
            let job = mint_job().map_err(|error| WireError::new(ErrorCode::InternalError, error.to_string()))?;
            Ok((job, Counter::new(input)))
        });
        match verdict {
            Ok((job, counter)) => {
                let accepted = JobAccepted::new(job.clone(), format!("{AGENT}@1.0.0"), now.wall);
                if self.endpoint.accept_job(now, request, accepted).is_ok() {
                    let session = request.session.clone();
                    // Stored with the job: it has its progress from the beginning.
                    self.progress.entry(session.clone()).or_default().insert(job.clone(), counter.clone());
                    self.work.insert(job, Work { session, counter, due: Some(now.mono) });
                }
            }
            Err(error) => {
                // Somebody who is gone needs no answer.
                let _ = self.endpoint.refuse(now, request, error);
            }
        }
    }

    fn cancel(&mut self, now: Now, request: &Request, job: &JobId, reason: Option<String>) {
        if self.endpoint.confirm_cancel(now, request, reason).is_ok() {
            let error = JobError::new(WireError::new(ErrorCode::Cancelled, "cancelled as asked for"));
            match self.endpoint.fail(now, job, error) {
                Ok(_) | Err(PublishError::Ended | PublishError::UnknownJob) => {}
                Err(error) => tell(&json!({"ev": "cancel_failed", "job": job, "error": error.to_string()})),
            }
            self.work.remove(job);
        }
    }

    /// A session has ended here. Jobs of one that goes on elsewhere are carried on there.
    fn closed(&mut self, session: &SessionId, reason: &CloseReason) {
        let is_elsewhere = matches!(reason, CloseReason::Fenced | CloseReason::Shutdown);
        // It may have come back meanwhile.
        if is_elsewhere && self.endpoint.session(session).is_none() {
            self.drop_work(session);
            tell(&json!({"ev": "given_up", "session": session, "reason": reason.to_string()}));
        }
    }

    fn drop_work(&mut self, session: &SessionId) {
        self.work.retain(|_, work| work.session != *session);
        self.progress.remove(session);
    }

    /// Stores what has changed; says whether the endpoint was told anything.
    fn keep(&mut self) -> bool {
        let now = self.clock.now();
        let must_wait = self.options.mode == Mode::Batched || !self.steps.is_empty();
        if must_wait && now.mono < self.store_at {
            return false;
        }
        while let Some(change) = self.endpoint.poll_change() {
            let progress = self.progress.remove(&change.session).unwrap_or_default().into_iter().collect();
            self.steps.push(Step { change, progress });
        }
        self.store_at = now.mono + Duration::from_millis(self.options.batch_ms);
        if self.steps.is_empty() {
            return false;
        }
        match self.store.write(&self.steps) {
            Ok(written) => {
                let now = self.clock.now();
                for (step, written) in self.steps.drain(..).zip(written) {
                    match written {
                        Written::Stored => self.endpoint.stored(now, &step.change.id),
                        Written::Fenced => {
                            tell(&json!({"ev": "fenced", "session": step.change.session}));
                            self.endpoint.fenced(now, &step.change.id);
                        }
                    }
                }
                true
            }
            Err(error) => {
                tell(&json!({"ev": "store_failed", "error": error.to_string()}));
                self.store_at = self.clock.now().mono + STORE_RETRY;
                false
            }
        }
    }

    /// Says whether there was anything.
    fn send(&mut self) -> bool {
        let now = self.clock.now();
        let mut has_sent = false;
        while let Some((conn, frame)) = self.endpoint.poll_transmit(now) {
            if let Some(line) = self.lines.get_mut(&conn)
                && !line.send(frame)
            {
                self.endpoint.set_writable(conn, false);
            }
            has_sent = true;
        }
        while let Some(conn) = self.endpoint.poll_close() {
            self.lines.remove(&conn);
        }
        has_sent
    }

    fn read_on(&mut self) {
        let (endpoint, lines) = (&self.endpoint, &self.lines);
        self.waiting.retain(|conn| match lines.get(conn) {
            Some(line) if endpoint.wants_input(*conn) => {
                line.read_on();
                false
            }
            Some(_) => true,
            None => false,
        });
    }
}

fn mint_job() -> Result<JobId, EntropyError> {
    let id = Secrets::session_id()?;
    Ok(JobId::from(id.as_str().replacen("sess_", "job_", 1)))
}
