//! Everything of a runtime but its transport.

use std::io;

use arcp_proto::endpoint::{AdmitError, Applicant, Endpoint, EndpointEvent, Policy, Scope};
use arcp_proto::wire::{ErrorCode, Principal, WireError};
use arcp_proto::{Clock, Instant, Now};
use serde_json::json;

use super::agents;
use super::door::Door;
use super::jobs::Jobs;
use super::log::Log;
use super::options::RuntimeOptions;

/// Lets everybody see everything.
struct ObserveAll;

impl Policy for ObserveAll {
    fn scope(&self, _: &Principal) -> Scope {
        Scope::All
    }
}

/// An endpoint, who may come in, and the jobs of the demo agents.
///
/// The driver feeds the endpoint, calls [`turn`](Host::turn), sends what the endpoint has to send, closes what it wants
/// closed, and waits until [`poll_timeout`](Host::poll_timeout) at most.
pub struct Host {
    pub endpoint: Endpoint,
    door: Door,
    jobs: Jobs,
    /// What an operator reads, where that is wanted.
    log: Option<Log>,
}

impl Host {
    /// # Errors
    ///
    /// There are as many threads as there may be, and one was wanted.
    pub fn new(options: &RuntimeOptions, clock: Clock) -> io::Result<Host> {
        let mut endpoint = Endpoint::new(options.config());
        if options.observe_all {
            endpoint = endpoint.with_policy(ObserveAll);
        }
        let door = Door::new(options.passes.clone(), agents::inventory());
        let log = options.audit.then(Log::start).transpose()?;
        Ok(Host { endpoint, door, jobs: Jobs::new(clock), log })
    }

    /// Lets time pass and jobs work, and attends to what the endpoint tells.
    pub fn turn(&mut self, now: Now) {
        if self.endpoint.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.endpoint.handle_timeout(now);
        }
        self.jobs.work(now, &mut self.endpoint);
        while let Some(event) = self.endpoint.poll_event() {
            self.attend(now, event);
        }
        while let Some(record) = self.endpoint.poll_audit() {
            if let Some(log) = &mut self.log {
                log.line(json!({"ev": "audit", "record": record.to_string()}));
            }
        }
    }

    /// When to turn next, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.endpoint.poll_timeout(), self.jobs.poll_timeout()].into_iter().flatten().min()
    }

    /// Ends all jobs and says goodbye to every client (A14). The driver goes on until no connection is
    /// left, which the endpoint's timeouts see to.
    pub fn stop(&mut self, now: Now) {
        self.jobs.stop();
        self.endpoint.shutdown_all(now, "shutdown");
    }

    fn attend(&mut self, now: Now, event: EndpointEvent) {
        let endpoint = &mut self.endpoint;
        match event {
            EndpointEvent::Authenticate(applicant) => self.authenticate(now, &applicant),
            EndpointEvent::Submit { request, principal, submit, .. } => {
                self.jobs.submit(now, endpoint, &request, principal, &submit);
            }
            EndpointEvent::Cancel { request, job_id, reason } => {
                self.jobs.cancel(now, endpoint, &request, &job_id, reason);
            }
            EndpointEvent::Writable { jobs, .. } => self.jobs.go_on(now, &jobs),
            EndpointEvent::Closed { jobs, .. } => self.jobs.orphan(now, &jobs),
            _ => {}
        }
    }

    fn authenticate(&mut self, now: Now, applicant: &Applicant) {
        let conn = applicant.conn;
        let verdict = self.door.judge(applicant);
        let admitted = verdict.map(|grant| self.endpoint.admit(now, conn, grant));
        let refusal = match admitted {
            // Who was refused, or has no place, was told; who is gone needs no answer.
            Ok(Ok(_) | Err(AdmitError::NobodyWaits | AdmitError::ResumeRefused(_) | AdmitError::NoPlace(_))) => return,
            Ok(Err(unfit)) => WireError::new(ErrorCode::InternalError, unfit.to_string()),
            Err(refusal) => refusal,
        };
        let _ = self.endpoint.reject(now, conn, refusal);
    }
}
