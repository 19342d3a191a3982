//! An endpoint before any clients, any driver, any application, any store and any clock.

use std::sync::Arc;
use std::time::Duration;

use arcp_proto::endpoint::{ConnId, DirectoryLimits, Durability, EndpointConfig, JobRecord, Listing};
use arcp_proto::wire::{
    Envelope, ErrorCode, FrameFault, JobAccepted, JobEntry, JobError, JobId, JobPage, JobResult, JobStatus,
    MessageType, Principal, RawJson, ResultId, SessionId, WireError,
};
use arcp_proto::{Grant, Now};
use bytes::Bytes;

use crate::contract;
use crate::frames::{self, Known, hello};
use crate::grants::{AGENTS, token};
use crate::late_clock::Scripted;
use crate::limits::small_runtime;
use crate::process::{Link, Process};
use crate::script::{self, Args, Step};

fn config(args: &mut Args<'_>) -> EndpointConfig {
    let durability = *args.pick(&[Durability::Volatile, Durability::Batched, Durability::BeforeTransmit]);
    let is_small = !args.flag();
    let config = EndpointConfig {
        durability,
        listing: *args.pick(&[Listing::Directory, Listing::Application]),
        submits_in_order: !args.flag(),
        ..EndpointConfig::new(small_runtime(args))
    };
    if !is_small {
        return config;
    }
    EndpointConfig {
        held_frames: 2,
        held_bytes: 600,
        opening_connections: 2,
        sessions: 4,
        sessions_per_principal: 2,
        parked_sessions: 2,
        parked_bytes: 2 << 10,
        parked_bytes_per_principal: 1 << 10,
        event_bytes: 8 << 10,
        subscriptions_per_session: 2,
        subscribers_per_job: 2,
        result_bytes: 64,
        audit_records: 4,
        directory: DirectoryLimits { terminal_per_principal: 2, jobs: 4, ..DirectoryLimits::default() },
        ..config
    }
}

fn job(args: &mut Args<'_>) -> JobId {
    JobId::from(format!("job_{}", args.below(6)).as_str())
}

/// Runs the script.
pub(crate) fn check(script: &[u8]) {
    let mut steps = script::steps(script).peekable();
    let mut args = match steps.peek() {
        Some(Step::Deed(b'#', args)) => *args,
        _ => Args::default(),
    };
    let config = config(&mut args);
    let mut world =
        World { process: Process::new(config), behind: Duration::ZERO, current: None, sessions: 0, tokens: 0 };
    for step in steps {
        world.step(step);
    }
    world.process.end();
}

#[derive(Clone)]
struct World {
    process: Process,
    /// The clock of the next call is behind by so much.
    behind: Duration,
    /// The transport that the next messages come on.
    current: Option<ConnId>,
    sessions: u64,
    tokens: u64,
}

impl Scripted for World {
    fn now(&self) -> Now {
        self.process.now
    }

    fn behind(&mut self) -> &mut Duration {
        &mut self.behind
    }

    fn act(&mut self, step: Step<'_>, now: Now) {
        self.perform(step, now);
    }

    fn transmit_one(&mut self) {
        self.process.transmit(1);
    }

    fn goes_on_as(&self, twin: &World) {
        let (one, other) = (self.process.rest(), twin.process.rest());
        assert_eq!(one, other, "a clock went back");
    }
}

impl World {
    fn step(&mut self, step: Step<'_>) {
        if !self.take(step) {
            return;
        }
        if !self.process.is_lazy {
            self.process.drain();
        }
        self.process.hold_to_limits();
    }

    fn perform(&mut self, step: Step<'_>, now: Now) {
        let (deed, mut args) = match step {
            Step::Frame(frame) => return self.input(now, Bytes::copy_from_slice(frame)),
            Step::Deed(deed, args) => (deed, args),
        };
        let args = &mut args;
        match deed {
            b'c' => {
                let conn = self.process.endpoint.connect(now);
                self.process.links.insert(conn, Link::new());
                self.current = Some(conn);
            }
            b'@' => {
                self.current =
                    self.process.links.keys().nth(usize::from(args.byte()) % self.process.links.len().max(1)).copied()
            }
            b'h' => {
                let who = args.below(4);
                let frame = hello(&frames::features(args), who, None);
                self.input(now, Bytes::from(frame));
            }
            b'r' => {
                let (who, back, ahead) = (args.below(4), u64::from(args.below(8)), args.number());
                let last = if ahead < 60 { ahead } else { 0 };
                let claim = (self.tokens.saturating_sub(back), last);
                let frame = hello(&frames::features(args), who, Some(claim));
                self.input(now, Bytes::from(frame));
            }
            b't' | b'T' => self.say(*args, now),
            b'+' => {
                let after = contract::jump(args, self.process.now, self.process.endpoint.poll_timeout());
                let is_late = args.flag();
                self.process.now = self.process.now.after(after);
                if !is_late {
                    self.process.tick(self.process.now);
                }
            }
            b'x' => {
                if let Some(conn) = self.current {
                    self.process.links.remove(&conn);
                    self.process.endpoint.handle_disconnect(now, conn);
                    self.process.applicants.retain(|(applicant, _)| *applicant != conn);
                }
            }
            b'a' => self.current.into_iter().for_each(|conn| self.process.endpoint.handle_activity(now, conn)),
            b'b' => {
                let fault = FrameFault::TooLarge { limit: 3 };
                self.current.into_iter().for_each(|conn| self.process.endpoint.handle_malformed(now, conn, fault));
            }
            b'W' => {
                let is_writable = args.flag();
                if let Some(conn) = self.current {
                    self.process.links.entry(conn).and_modify(|link| link.is_writable = is_writable);
                    self.process.endpoint.set_writable(conn, is_writable);
                }
            }
            b'v' => self.judge(args, now),
            b'w' => self.answer(args, now),
            b'p' | b'f' | b'g' => self.publish(deed, args, now),
            b'j' => self.work(args, now),
            b'q' => self.end_some(args, now),
            b's' => self.process.store_some(args),
            b'A' => self.process.adopt_some(args, now),
            b'P' => drop(self.process.transmit(args.number())),
            b'E' => drop(self.process.poll(args.number())),
            b'z' => self.process.is_lazy = !self.process.is_lazy,
            b'd' => {
                self.process.drain();
                self.process.tick(now);
                self.process.drain();
                self.process.stays_drained();
            }
            b'#' => {}
            // Something that is no frame.
            _ => self.input(now, Bytes::copy_from_slice(args.rest())),
        }
    }

    fn input(&mut self, now: Now, frame: Bytes) {
        let Some(conn) = self.current else { return };
        if let Some(link) = self.process.links.get_mut(&conn)
            && let Ok(envelope) = Envelope::decode(frame.clone())
            && envelope.message_type().is_some_and(MessageType::is_request)
        {
            link.ids.extend(envelope.id().map(|id| id.into_owned()));
        }
        self.process.endpoint.handle_input(now, conn, frame);
    }

    /// A client says something that fits its session.
    fn say(&mut self, args: Args<'_>, now: Now) {
        let Some(link) = self.current.and_then(|conn| self.process.links.get(&conn)) else { return };
        let session_id = link.session.as_ref().map_or("sess_1", |(id, _)| id.as_str());
        let known = Known { near: link.next_seq.map_or(0, |next| next - 1), ids: &link.ids, session_id };
        let frame = frames::frame(args, &known);
        self.input(now, Bytes::from(frame));
    }

    /// The application says who that is, perhaps with a grant that was given before.
    fn judge(&mut self, args: &mut Args<'_>, now: Now) {
        let at = usize::from(args.byte());
        if self.process.applicants.is_empty() {
            return;
        }
        let (conn, principal) = self.process.applicants[at % self.process.applicants.len()].clone();
        let verdict = args.below(8);
        let outcome = match principal {
            Some(principal) if verdict != 7 => {
                let last = SessionId::from(format!("sess_{}", self.sessions).as_str());
                let (again, same_token) = (verdict == 5 && self.process.owners.contains_key(&last), verdict == 6);
                self.sessions += u64::from(!again);
                self.tokens += u64::from(!same_token);
                let session_id = SessionId::from(format!("sess_{}", self.sessions).as_str());
                let (resume_token, agents) = (token(self.tokens), Arc::clone(&AGENTS));
                let grant = Grant { principal: principal.clone(), session_id, resume_token, agents };
                self.process.endpoint.admit(now, conn, grant).map(|admitted| {
                    self.process.admitted(admitted, principal);
                })
            }
            _ => self.process.endpoint.reject(now, conn, WireError::new(ErrorCode::Unauthenticated, "who are you?")),
        };
        let is_open = matches!(
            outcome,
            Err(arcp_proto::endpoint::AdmitError::SessionIdTaken(_)
                | arcp_proto::endpoint::AdmitError::TokenTaken
                | arcp_proto::endpoint::AdmitError::BadGrant(_))
        );
        if !is_open {
            self.process.applicants.retain(|(applicant, _)| *applicant != conn);
        }
    }

    fn answer(&mut self, args: &mut Args<'_>, now: Now) {
        let at = usize::from(args.byte());
        if self.process.asked.is_empty() {
            return;
        }
        let request = self.process.asked[at % self.process.asked.len()].clone();
        let endpoint = &mut self.process.endpoint;
        let answered = match args.below(5) {
            0 => {
                let job = job(args);
                let owner = self.process.owners.get(&request.session).cloned();
                let accepted = endpoint.accept_job(now, &request, JobAccepted::new(job.clone(), "a@1", now.wall));
                if let (Ok(()), Some(owner)) = (&accepted, owner) {
                    self.process.jobs.entry(job).or_default().insert(owner);
                }
                accepted.is_ok()
            }
            1 => endpoint.confirm_cancel(now, &request, None).is_ok(),
            2 => {
                let entry = |_| JobEntry::new(JobId::from("job_0"), "a@1", JobStatus::Pending, now.wall);
                let page = JobPage { jobs: (0..args.below(4)).map(entry).collect(), next_cursor: None };
                endpoint.respond_jobs(now, &request, page).is_ok()
            }
            _ => endpoint.refuse(now, &request, WireError::new(args.pick(ErrorCode::ALL).clone(), "m")).is_ok(),
        };
        if answered {
            let twice = self.process.endpoint.refuse(now, &request, WireError::new(ErrorCode::Timeout, "m"));
            assert!(twice.is_err(), "a request is answered once");
            self.process.asked.retain(|asked| *asked != request);
        }
    }

    fn publish(&mut self, deed: u8, args: &mut Args<'_>, now: Now) {
        let (job, endpoint) = (job(args), &mut self.process.endpoint);
        let was_live = endpoint.jobs().get(&job).is_some_and(|record| !record.status.is_terminal());
        let published = match deed {
            b'p' => {
                let kind = *args.pick(&["log", "progress", "status", "result_chunk", "x-vendor.kind", ""]);
                let n = args.below(4);
                let body = match args.below(4) {
                    0 => format!(r#"{{"message":"{}"}}"#, "x".repeat(8 * usize::from(args.byte()))),
                    1 => {
                        format!(r#"{{"result_id":"res_1","chunk_seq":{n},"data":"abc","encoding":"utf8","more":true}}"#)
                    }
                    2 => format!(
                        r#"{{"result_id":"res_1","chunk_seq":{n},"data":"YQ==","encoding":"base64","more":false}}"#
                    ),
                    _ => r#"{"phase":"credential_rotated"}"#.to_owned(),
                };
                endpoint.publish(now, &job, kind, &RawJson::from_text(&body).expect("that is JSON"))
            }
            b'f' if args.flag() => endpoint.finish(now, &job, JobResult::streamed(ResultId::from("res_1"), 3)),
            b'f' => endpoint.finish(now, &job, JobResult::inline(RawJson::null())),
            _ => endpoint.fail(now, &job, JobError::new(WireError::new(args.pick(ErrorCode::ALL).clone(), "m"))),
        };
        assert!(was_live || published.is_err(), "nothing follows a job's end");
    }

    fn work(&mut self, args: &mut Args<'_>, now: Now) {
        let (job, endpoint) = (job(args), &mut self.process.endpoint);
        match args.below(6) {
            0 => {
                let owner = Principal::from(format!("p{}", args.below(4)).as_str());
                let record = JobRecord::new(job.clone(), owner.clone(), "a@1", now.wall);
                if endpoint.add_job(now, record).is_ok() {
                    self.process.jobs.entry(job).or_default().insert(owner);
                }
            }
            1 => {
                endpoint.forget_job(now, &job);
                assert!(endpoint.jobs().get(&job).is_none());
            }
            2 => drop(endpoint.mark_running(now, &job)),
            3 => drop(endpoint.set_budget(&job, None)),
            4 => drop(endpoint.set_credentials(&job, None)),
            _ => {
                let subscriber = endpoint.subscribers_of(&job).next().cloned();
                if let Some(session) = subscriber {
                    assert!(endpoint.end_subscription(now, &session, &job));
                }
            }
        }
    }

    fn end_some(&mut self, args: &mut Args<'_>, now: Now) {
        let at = usize::from(args.byte());
        let session = self.process.owners.keys().nth(at % self.process.owners.len().max(1)).cloned();
        match (args.below(12), session) {
            (0..=4, Some(session)) => drop(self.process.endpoint.shutdown(now, &session, "maintenance")),
            (5..=7, Some(session)) => drop(self.process.endpoint.evict(now, &session)),
            (8..=9, Some(session)) => drop(self.process.endpoint.fence(now, &session)),
            (10, _) => self.process.endpoint.shutdown_all(now, "maintenance"),
            _ => {}
        }
    }
}
