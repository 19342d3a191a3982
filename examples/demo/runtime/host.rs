//! Everything of a runtime but its transport.

use arcp_proto::endpoint::{Endpoint, EndpointEvent, Policy, Scope};
use arcp_proto::wire::Principal;
use arcp_proto::{Instant, Now};
use serde_json::json;

use super::agents;
use super::door::Door;
use super::jobs::Jobs;
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
    audit: bool,
}

impl Host {
    pub fn new(options: &RuntimeOptions) -> Host {
        let mut endpoint = Endpoint::new(options.config());
        if options.observe_all {
            endpoint = endpoint.with_policy(ObserveAll);
        }
        let door = Door::new(options.passes.clone(), agents::inventory());
        Host { endpoint, door, jobs: Jobs::default(), audit: options.audit }
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
            if self.audit {
                eprintln!("{}", json!({"ev": "audit", "record": record.to_string()}));
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
            EndpointEvent::Authenticate(applicant) => {
                // An `Err` of these is an answer to somebody who is gone, or was told already.
                let _ = match self.door.judge(&applicant) {
                    Ok(grant) => endpoint.admit(now, applicant.conn, grant).map(|_| ()),
                    Err(error) => endpoint.reject(now, applicant.conn, error),
                };
            }
            EndpointEvent::Submit { request, submit, .. } => self.jobs.submit(now, endpoint, &request, &submit),
            EndpointEvent::Cancel { request, job_id, reason } => {
                self.jobs.cancel(now, endpoint, &request, &job_id, reason);
            }
            EndpointEvent::Writable { jobs, .. } => self.jobs.go_on(now, &jobs),
            // Jobs outlive their sessions: whoever subscribed still hears of them.
            _ => {}
        }
    }
}
