//! A process: its endpoint, the driver of that, its application, and what the model expects of its sessions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use arcp_proto::endpoint::{
    AdmitError, Applicant, Change, ChangeId, Durability, Endpoint, EndpointEvent, Policy, PublishError, Published,
    Receipt, Request, Scope,
};
use arcp_proto::wire::{
    AgentInfo, Envelope, ErrorCode, JobAccepted, JobError, JobId, JobPage, JobResult, MessageType, Principal, RawJson,
    ResumeToken, SessionId, WireError,
};
use arcp_proto::{CloseReason, DetachReason, Feature, Grant, Overflow, Phase, RefusedBecause, SendError};
use bytes::Bytes;
use serde_json::json;

use super::clock::Clock;
use super::dice::Dice;
use super::link::Ms;
use super::mark::Mark;
use super::model::{Hosted, JobModel};
use super::peer::patience;
use super::plan::{Plan, Profile};
use super::transcript::hash_of;
use super::world::World;

/// Everybody sees everything.
struct Open;

impl Policy for Open {
    fn scope(&self, _: &Principal) -> Scope {
        Scope::All
    }
}

/// What the application answers, when it gets round to it.
enum Answer {
    Verdict(Box<Applicant>),
    Accept(Request, String),
    Refuse(Request),
    Cancel(Request, JobId),
    List(Request),
}

/// Somebody at work on a job.
pub(crate) struct Worker {
    pub(crate) next: u64,
    total: u64,
    gap: Ms,
    at: Option<Ms>,
}

pub(crate) struct Node {
    /// `None`: dead.
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) clock: Clock,
    pub(crate) asleep_until: Ms,
    pub(crate) deaf_until: Ms,
    pub(crate) slow_store_until: Ms,
    pub(crate) back_at: Option<Ms>,
    /// A transport of it is gone, and its driver polls nothing until something comes.
    pub(crate) is_resting: bool,
    /// It has missed its own deadlines.
    pub(crate) absent_at: Ms,
    pub(crate) troubled_until: Ms,
    answers: Vec<(Ms, Answer)>,
    pub(crate) workers: BTreeMap<JobId, Worker>,
    /// Given out, to be written then.
    to_write: VecDeque<(Ms, Change)>,
    /// Written or not, to be told then.
    to_confirm: VecDeque<(Ms, ChangeId, bool)>,
    dice: Dice,
}

pub(crate) fn endpoint(plan: &Plan) -> Endpoint {
    let endpoint = Endpoint::new(Arc::clone(&plan.endpoint));
    if plan.everybody_sees_all { endpoint.with_policy(Open) } else { endpoint }
}

impl Node {
    pub(crate) fn new(plan: &Plan, mut dice: Dice) -> Node {
        Node {
            endpoint: Some(endpoint(plan)),
            clock: Clock::new(&mut dice),
            asleep_until: 0,
            deaf_until: 0,
            slow_store_until: 0,
            back_at: None,
            is_resting: false,
            absent_at: 0,
            troubled_until: 0,
            answers: Vec::new(),
            workers: BTreeMap::new(),
            to_write: VecDeque::new(),
            to_confirm: VecDeque::new(),
            dice,
        }
    }

    pub(crate) fn is_awake(&self, now: Ms) -> bool {
        self.endpoint.is_some() && now >= self.asleep_until
    }

    /// When its application or its store has something to do.
    pub(crate) fn next_at(&self) -> Option<Ms> {
        let answers = self.answers.iter().map(|(at, _)| *at);
        let works = self.workers.values().filter_map(|worker| worker.at);
        let store = self.to_write.front().map(|(at, _)| *at);
        let told = self.to_confirm.front().map(|(at, _, _)| *at);
        answers.chain(works).chain(store).chain(told).min()
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.answers.is_empty() || !self.to_write.is_empty() || !self.to_confirm.is_empty()
    }

    /// The store is quick again.
    pub(crate) fn store_is_quick(&mut self, now: Ms) {
        self.slow_store_until = 0;
        self.to_write.iter_mut().for_each(|(at, _)| *at = (*at).min(now));
    }

    fn later(&mut self, at: Ms, answer: Answer) {
        self.answers.push((at, answer));
    }

    /// The process dies.
    pub(crate) fn die(&mut self) {
        self.endpoint = None;
        self.answers.clear();
        self.workers.clear();
        self.to_write.clear();
        self.to_confirm.clear();
    }
}

/// The driver.
impl World {
    pub(crate) fn drive_node(&mut self, idx: usize) -> bool {
        let now = self.now;
        if !self.nodes[idx].is_awake(now) || self.nodes[idx].is_resting {
            return false;
        }
        let local = self.nodes[idx].clock.at(now);
        let mut moved = self.take_changes(idx);
        while let Some((conn, frame)) = self.ep(idx).poll_transmit(local) {
            moved = true;
            let link = self.by_conn[&(idx, conn)];
            self.runtime_sends(idx, link, &frame);
        }
        while let Some(conn) = self.ep(idx).poll_close() {
            moved = true;
            let link = self.by_conn[&(idx, conn)];
            (self.links[link].node_is_here, self.links[link].was_given_up) = (false, true);
            self.judge_eof(link, false);
            self.flush_tampered(link);
            self.links[link].end_down(now);
            self.forget_link(link);
        }
        while now >= self.nodes[idx].deaf_until {
            let Some(event) = self.ep(idx).poll_event() else { break };
            moved = true;
            self.endpoint_tells(idx, event);
        }
        while let Some(record) = self.ep(idx).poll_audit() {
            self.transcript.note(now, || format!("node {idx} notes {record}"));
        }
        self.look_at_node(idx);
        moved
    }

    pub(crate) fn ep(&mut self, node: usize) -> &mut Endpoint {
        self.nodes[node].endpoint.as_mut().expect("the process lives")
    }

    fn runtime_sends(&mut self, node: usize, link: usize, frame: &Bytes) {
        let envelope = Envelope::decode(frame.clone()).expect("what we send is an envelope");
        let message = envelope.message_type().expect("of a type that there is");
        // 5: the first frame of a transport is a welcome or an error.
        if !self.links[link].has_welcome {
            let opens = matches!(message, MessageType::SessionWelcome | MessageType::SessionError);
            assert!(opens, "node {node} begins link {link} with {message}");
        }
        if message == MessageType::SessionWelcome {
            self.links[link].has_welcome = true;
        }
        if let Some(seq) = envelope.event_seq() {
            self.runtime_sends_event(node, link, seq, frame);
        }
        self.tap_down(link, frame);
        let is_welcome = message == MessageType::SessionWelcome;
        self.put_down(link, frame, is_welcome, envelope.event_seq().is_some());
    }

    fn runtime_sends_event(&mut self, node: usize, link: usize, seq: u64, frame: &Bytes) {
        let Some(session) = self.links[link].session.clone() else {
            panic!("an event on a transport without a session")
        };
        let acked = self.ep(node).session(&session).map_or(u64::MAX, |session| session.acked_seq());
        let Some(hosted) = self.model.hosted.get_mut(&(node, session.clone())) else { return };
        // 2, 3: without a hole, from where the client said; only an acknowledgement moves it forward (D24).
        let is_next = seq == hosted.cursor + 1 || (seq > hosted.cursor && seq <= acked.saturating_add(1));
        assert!(is_next, "event {seq} behind {} on link {link}", hosted.cursor);
        if seq <= hosted.transmitted {
            self.transcript.reached(Mark::Replayed);
        }
        hosted.cursor = seq;
        hosted.transmitted = hosted.transmitted.max(seq);
        // A place in the sequence has one content, for ever (D14).
        let content = hash_of(frame);
        let known = *self.model.contents.entry((session.clone(), seq)).or_insert(content);
        let may_differ = self.plan.endpoint.durability == Durability::Batched;
        assert!(known == content || may_differ, "{session} has two events {seq}");
    }

    /// What an endpoint's sessions look like from outside, after each call.
    pub(crate) fn look_at_node(&mut self, idx: usize) {
        let (now, late) = (self.now, self.plan.late);
        let runtime = Arc::clone(&self.plan.endpoint.runtime);
        let window = runtime.resume_window.as_millis() as Ms;
        let retention = (runtime.retention.as_millis() as Ms).max(window);
        let is_hostile = self.plan.profile == Profile::Hostile;
        let Some(endpoint) = &self.nodes[idx].endpoint else { return };
        let is_absent = self.nodes[idx].absent_at > 0;
        for ((_, id), hosted) in self.model.hosted.iter_mut().filter(|((node, _), _)| *node == idx) {
            if hosted.gone_at.is_some() {
                continue;
            }
            let Some(session) = endpoint.session(id) else {
                hosted.gone_at = Some(now);
                continue;
            };
            let phase = session.phase();
            if phase != hosted.phase {
                if phase == Phase::Detached {
                    hosted.silence = hosted.link.map_or(0, |link| now - self.links[link].heard_at);
                    hosted.lost_at = Some(now);
                    hosted.blocked_since = None;
                }
                if phase.is_attached() && !hosted.phase.is_attached() {
                    (hosted.lost_at, hosted.is_adopted, hosted.was_elapsed) = (None, false, false);
                }
                hosted.phase = phase;
            }
            // 10: it holds no more than it may; the back-pressure signal is exempt (D26).
            let (events, bytes) = session.replay_len();
            let over = (events as u64, bytes as u64);
            let allowed = (runtime.replay_events as u64 + 1, runtime.replay_bytes as u64 + 1_000);
            assert!(over.0 <= allowed.0 && over.1 <= allowed.1, "{id} holds {over:?}, may hold {allowed:?}");
            let has_ack = session.features().contains(Feature::Ack);
            let acked = session.acked_seq();
            if has_ack && !is_hostile {
                let processed = self.peers[hosted.peer].processed;
                assert!(acked <= processed, "{id}: {acked} is acknowledged, {processed} processed");
            }
            // 4: nothing that nobody acknowledged is freed.
            let is_in_window = hosted.lost_at.is_none_or(|lost| now <= lost + window);
            let holds = has_ack && runtime.overflow == Overflow::Block && is_in_window && !hosted.has_subscribed;
            let floor = session.replay_floor();
            assert!(
                !holds || floor <= if hosted.was_adopted { self.peers[hosted.peer].processed } else { acked },
                "{id} has freed {floor}, but only {acked} is acknowledged"
            );
            hosted.is_kept = has_ack && session.last_event_seq() > acked;
            if let Some(lost_at) = hosted.lost_at.filter(|_| !hosted.is_adopted && !is_absent) {
                // 15: to the moment.
                let end = lost_at + if hosted.is_kept || hosted.was_elapsed { retention } else { window };
                assert!(now <= end + late, "{id} stands at {now}, it had to end at {end}");
                hosted.was_elapsed |= now >= lost_at + window;
            }
            // 16: silence of two intervals is the end of a transport.
            if let Some(link) = hosted.link.filter(|_| phase == Phase::Open && !is_absent)
                && session.features().contains(Feature::Heartbeat)
                && session.wants_input()
            {
                let silent = now - self.links[link].heard_at.min(now);
                let limit = patience(runtime.heartbeat_interval.as_millis() as Ms, late);
                assert!(silent <= limit, "{id} still believes in a client that is silent for {silent} ms");
            }
        }
    }

    /// Something arrives at a process.
    pub(crate) fn arrives_up(&mut self, link: usize, frame: Result<Bytes, arcp_proto::wire::FrameFault>) {
        let now = self.now;
        let node = self.links[link].node;
        let conn = self.links[link].conn;
        let local = self.nodes[node].clock.at(now);
        self.nodes[node].is_resting = false;
        self.links[link].heard_at = now;
        if let Some(id) = self.links[link].session.clone()
            && self.links[link].has_welcome
            && let Some(hosted) = self.model.hosted.get_mut(&(node, id))
            && hosted.link == Some(link)
            && hosted.phase.is_attached()
        {
            // The client speaks: it has the new token, and the old one is worth nothing (D3).
            hosted.tokens.drain(..hosted.tokens.len().saturating_sub(1));
        }
        match frame {
            Ok(frame) => self.ep(node).handle_input(local, conn, frame),
            Err(fault) => self.ep(node).handle_malformed(local, conn, fault),
        }
        self.look_at_node(node);
    }
}

/// The store.
impl World {
    fn take_changes(&mut self, idx: usize) -> bool {
        let now = self.now;
        let mut moved = false;
        while let Some(change) = self.ep(idx).poll_change() {
            moved = true;
            let node = &mut self.nodes[idx];
            let takes = match now < node.slow_store_until {
                true => node.slow_store_until - now,
                false => node.dice.pick(&[0, 0, 1, 30]),
            };
            let at = node.to_write.back().map_or(0, |(at, _)| *at).max(now + takes);
            node.to_write.push_back((at, change));
        }
        moved
    }

    fn work_of_store(&mut self, idx: usize) {
        let now = self.now;
        while let Some((_, change)) = self.nodes[idx].to_write.pop_front_if(|(at, _)| *at <= now) {
            let is_written = self.store.apply(&change);
            self.transcript.note(now, || format!("node {idx} stores {change:?}: {is_written}"));
            let node = &mut self.nodes[idx];
            let at = node.to_confirm.back().map_or(0, |(at, _, _)| *at).max(now + node.dice.pick(&[0, 0, 2, 40]));
            node.to_confirm.push_back((at, change.id, is_written));
        }
        while let Some((_, id, is_written)) = self.nodes[idx].to_confirm.pop_front_if(|(at, _, _)| *at <= now) {
            let local = self.nodes[idx].clock.at(now);
            if is_written {
                self.ep(idx).stored(local, &id);
            } else {
                self.ep(idx).fenced(local, &id);
            }
        }
    }
}

/// The application.
impl World {
    fn endpoint_tells(&mut self, idx: usize, event: EndpointEvent) {
        let now = self.now;
        self.transcript.note(now, || format!("node {idx}: {event:?}"));
        self.keep_secrets(&event);
        let (slow_verdicts, slow_answers) = (self.plan.slow_verdicts, self.plan.slow_answers);
        let node = &mut self.nodes[idx];
        match event {
            EndpointEvent::Authenticate(applicant) => {
                let takes = if slow_verdicts { node.dice.below(6_000) } else { node.dice.pick(&[0, 0, 0, 40]) };
                node.later(now + takes, Answer::Verdict(applicant));
            }
            EndpointEvent::Submit { request, submit, .. } => {
                let takes = if slow_answers { node.dice.below(8_000) } else { node.dice.pick(&[0, 0, 30]) };
                let answer = match node.dice.once_in(12) {
                    true => Answer::Refuse(request),
                    false => Answer::Accept(request, submit.agent.clone()),
                };
                node.later(now + takes, answer);
            }
            EndpointEvent::Cancel { request, job_id, .. } => {
                let takes = node.dice.pick(&[0, 20, 3_000]);
                node.later(now + takes, Answer::Cancel(request, job_id));
            }
            EndpointEvent::ListJobs { request, .. } => {
                let takes = node.dice.pick(&[0, 20, 1_000, 5_000]);
                node.later(now + takes, Answer::List(request));
            }
            EndpointEvent::Writable { session, jobs } => {
                self.transcript.reached(Mark::Writable);
                for job in jobs {
                    if let Some(worker) = node.workers.get_mut(&job) {
                        worker.at = Some(now);
                    }
                }
                if let Some(hosted) = self.model.hosted.get_mut(&(idx, session)) {
                    hosted.blocked_since = None;
                }
            }
            EndpointEvent::BackPressure { active, .. } => {
                self.transcript.reached(if active { Mark::BackPressure } else { Mark::Relieved });
            }
            EndpointEvent::Resumed { takeover: true, .. } => self.transcript.reached(Mark::Takeover),
            EndpointEvent::Detached { session, reason } => self.session_is_detached(idx, &session, &reason),
            EndpointEvent::WindowElapsed { .. } => self.transcript.reached(Mark::WindowExpiredAtRuntime),
            EndpointEvent::Closed { session, reason, jobs } => self.session_is_closed(idx, &session, &reason, &jobs),
            EndpointEvent::Violation { session, violation } => {
                let of_a_torn_line = violation.error.rule() == "D39";
                let is_fine = self.plan.profile == Profile::Hostile || of_a_torn_line;
                assert!(is_fine, "{session}: {violation}");
            }
            _ => {}
        }
    }

    fn session_is_detached(&mut self, idx: usize, session: &SessionId, reason: &DetachReason) {
        let is_hostile = self.plan.profile == Profile::Hostile;
        let interval = self.plan.endpoint.runtime.heartbeat_interval.as_millis() as Ms;
        let is_absent = self.nodes[idx].absent_at > 0;
        let hosted = self.model.hosted.get(&(idx, session.clone()));
        let silence = hosted.filter(|hosted| hosted.phase == Phase::Detached).map_or(2 * interval, |it| it.silence);
        let mark = match reason {
            DetachReason::HeartbeatLost => {
                // 16: no sooner, and no later.
                let late = self.plan.late;
                let is_exact = silence >= 2 * interval && silence <= patience(interval, late);
                assert!(is_absent || is_hostile || is_exact, "{session}: lost after {silence} ms of silence");
                Mark::HeartbeatLostAtRuntime
            }
            DetachReason::Overrun => Mark::Overrun,
            DetachReason::TooManyViolations if is_hostile => Mark::ViolationLimit,
            DetachReason::TransportLost
            | DetachReason::PeerClosed { .. }
            | DetachReason::ControlOverflow
            | DetachReason::InboundOverflow => return,
            _ if is_hostile => return,
            other => panic!("{session} is detached at node {idx}: {other}"),
        };
        self.transcript.reached(mark);
    }

    fn session_is_closed(&mut self, idx: usize, id: &SessionId, reason: &CloseReason, jobs: &[JobId]) {
        let runtime = Arc::clone(&self.plan.endpoint.runtime);
        let window = runtime.resume_window.as_millis() as Ms;
        let retention = (runtime.retention.as_millis() as Ms).max(window);
        let is_stored = self.plan.endpoint.durability != Durability::Volatile;
        if *reason == CloseReason::Fenced || (*reason == CloseReason::Shutdown && is_stored) {
            for job in jobs {
                self.nodes[idx].workers.remove(job);
            }
        }
        let may_be_evicted = self.plan.endpoint.parked_sessions < 1_000;
        let is_absent = self.nodes[idx].absent_at > 0 || self.plan.late > 0;
        if self.ep(idx).session(id).is_some() {
            // That was an older life of it here; it has come back meanwhile.
            return self.transcript.reached(Mark::Fenced);
        }
        let Some(hosted) = self.model.hosted.get_mut(&(idx, id.clone())) else { return };
        hosted.gone_at = hosted.gone_at.or(Some(self.now));
        hosted.blocked_since = None;
        match reason {
            CloseReason::ResumeWindowExpired => {
                if let (Some(lost), Some(gone)) = (hosted.lost_at, hosted.gone_at)
                    && !hosted.is_adopted
                {
                    let is_late = gone > lost + window;
                    assert!(gone >= lost + window, "{id} ended at {gone}, its window at {}", lost + window);
                    assert!(
                        is_absent || !is_late || hosted.was_elapsed,
                        "{id} ended at {gone}, not when its window did"
                    );
                    assert!(is_absent || gone <= lost + retention, "{id} ended at {gone}, not at {}", lost + retention);
                    if is_late {
                        self.transcript.reached(Mark::KeptBeyondTheWindow);
                    }
                }
                self.transcript.reached(Mark::WindowExpiredAtRuntime);
            }
            CloseReason::Evicted => {
                assert!(hosted.may_go || may_be_evicted, "{id} was evicted");
                self.transcript.reached(Mark::Evicted);
            }
            CloseReason::Shutdown => {
                assert!(hosted.may_go, "{id} was shut down");
                self.transcript.reached(Mark::ShutDown);
            }
            CloseReason::Fenced => {
                assert!(is_stored, "{id} was fenced");
                self.transcript.reached(Mark::Fenced);
            }
            other => panic!("{id} ended at node {idx}: {other}"),
        }
    }

    /// Whatever the application and the store have to do now.
    pub(crate) fn work(&mut self, idx: usize) {
        let now = self.now;
        if !self.nodes[idx].is_awake(now) {
            return;
        }
        self.work_of_store(idx);
        // In the order in which they were asked.
        while let Some(at) = self.nodes[idx].answers.iter().position(|(at, _)| *at <= now) {
            let (_, answer) = self.nodes[idx].answers.remove(at);
            self.answer(idx, answer);
        }
        let due: Vec<JobId> = {
            let is_due = |worker: &Worker| worker.at.is_some_and(|at| at <= now);
            self.nodes[idx].workers.iter().filter(|(_, worker)| is_due(worker)).map(|(job, _)| job.clone()).collect()
        };
        for job in due {
            self.next_of_job(idx, &job);
        }
    }

    fn answer(&mut self, idx: usize, answer: Answer) {
        let now = self.now;
        let local = self.nodes[idx].clock.at(now);
        let answered = match answer {
            Answer::Verdict(applicant) => return self.give_verdict(idx, &applicant),
            Answer::Accept(request, agent) => return self.accept(idx, &request, &agent),
            Answer::Refuse(request) => {
                let error = WireError::new(ErrorCode::AgentNotAvailable, "not today");
                self.ep(idx).refuse(local, &request, error)
            }
            Answer::Cancel(request, job) => {
                let mut confirmed = self.ep(idx).confirm_cancel(local, &request, None);
                if matches!(confirmed, Err(arcp_proto::AnswerError::Invalid(_))) {
                    let error = WireError::new(ErrorCode::InvalidRequest, "it has ended otherwise");
                    confirmed = self.ep(idx).refuse(local, &request, error);
                }
                let error = JobError::new(WireError::new(ErrorCode::Cancelled, "as asked for"));
                match self.ep(idx).fail(local, &job, error) {
                    Ok(_) => self.job_ends(idx, &job),
                    Err(PublishError::Send(SendError::Blocked)) => {
                        self.is_blocked(idx, &job);
                        if let Some(worker) = self.nodes[idx].workers.get_mut(&job) {
                            worker.total = worker.next;
                        }
                    }
                    Err(_) => {}
                }
                confirmed
            }
            Answer::List(request) => self.ep(idx).respond_jobs(local, &request, JobPage::default()),
        };
        match answered {
            Ok(()) => {}
            Err(arcp_proto::AnswerError::UnknownRequest) => self.transcript.reached(Mark::LateAnswer),
            Err(error) => panic!("node {idx} cannot answer: {error}"),
        }
    }

    fn give_verdict(&mut self, idx: usize, applicant: &Applicant) {
        let now = self.now;
        let local = self.nodes[idx].clock.at(now);
        let bearer = applicant.credentials.token.as_ref().map(|token| token.reveal().to_owned()).unwrap_or_default();
        let Some(name) = bearer.strip_prefix("secret-") else {
            let error = WireError::new(ErrorCode::Unauthenticated, "who are you?");
            let _ = self.ep(idx).reject(local, applicant.conn, error);
            return;
        };
        let principal = Principal::from(name);
        let link = self.by_conn[&(idx, applicant.conn)];
        if let Some(wish) = &applicant.resume
            && !self.is_known(idx, &wish.token_digest)
            && let Some(id) = self.store.by_token(&wish.token_digest)
        {
            self.adopt(idx, &id);
        }
        self.tokens += 1;
        let token = format!("rt_{:032x}", self.tokens);
        self.sessions += u64::from(applicant.resume.is_none());
        let grant = Grant {
            principal: principal.clone(),
            session_id: SessionId::from(format!("sess_{}", self.sessions).as_str()),
            resume_token: ResumeToken::new(token.clone()),
            agents: Arc::from([AgentInfo::new("sim-agent", ["1.0.0"])]),
        };
        // What is due goes first, also in the model.
        self.ep(idx).handle_timeout(local);
        self.look_at_node(idx);
        let expected = self.links[link].claim.clone().map(|(token, last)| self.expects(idx, &token, last, &principal));
        let before = self.standing(idx, &expected);
        let verdict = self.ep(idx).admit(local, applicant.conn, grant);
        self.transcript.note(now, || format!("node {idx} lets link {link} in: {verdict:?}, expected {expected:?}"));
        match verdict {
            Ok(admitted) => {
                let id = admitted.session;
                let (presented, last) = self.links[link].claim.clone().unwrap_or_default();
                if admitted.resumed {
                    let is_expected =
                        expected.as_ref().is_some_and(|(of, may)| *of == Some(id.clone()) && *may != Some(false));
                    assert!(is_expected, "{id} was resumed by {presented} from {last}: {expected:?}");
                }
                let peer = self.links[link].peer.unwrap_or(usize::MAX);
                let hosted =
                    self.model.hosted.entry((idx, id.clone())).or_insert_with(|| Hosted::new(peer, Vec::new(), 0));
                if peer != usize::MAX {
                    hosted.peer = peer;
                    self.model.owners.insert(id.clone(), peer);
                }
                hosted.tokens = if admitted.resumed { vec![presented, token.clone()] } else { vec![token.clone()] };
                (hosted.link, hosted.cursor, hosted.gone_at) = (Some(link), last, None);
                hosted.transmitted = hosted.transmitted.max(last);
                (hosted.lost_at, hosted.is_adopted, hosted.was_elapsed) = (None, false, false);
                hosted.phase = Phase::Open;
                self.model.tokens.entry(id.clone()).or_default().push(token);
                self.links[link].session = Some(id);
                self.links[link].heard_at = now;
            }
            Err(AdmitError::NobodyWaits) => {}
            Err(AdmitError::ResumeRefused(reason)) => {
                self.links[link].was_refused = true;
                let must = expected.as_ref().is_some_and(|(_, may)| *may == Some(true));
                let is_busy = reason == RefusedBecause::Busy;
                assert!(!must || is_busy, "a resume was refused that had to be taken: {reason}, {expected:?}");
                assert!(before == self.standing(idx, &expected), "a refused resume changed something");
                self.transcript.reached(match reason {
                    RefusedBecause::Principal => Mark::OtherPrincipalRefused,
                    _ if self.plan.endpoint.durability == Durability::Batched => Mark::RefusedAfterALoss,
                    _ => Mark::ResumeRefused,
                });
                if self.links[link].peer.is_none() && reason == RefusedBecause::Token {
                    self.transcript.reached(Mark::OldTokenRefused);
                }
            }
            Err(AdmitError::NoPlace(_)) => self.transcript.reached(Mark::PlaceTaken),
            Err(error) => panic!("node {idx} cannot let link {link} in: {error}"),
        }
        self.look_at_node(idx);
    }

    /// Which session a token is for, and whether a resume from there must be taken (`Some(true)`) or refused.
    fn expects(
        &mut self,
        idx: usize,
        token: &str,
        last: u64,
        principal: &Principal,
    ) -> (Option<SessionId>, Option<bool>) {
        let has = |hosted: &Hosted| hosted.gone_at.is_none() && hosted.tokens.iter().any(|other| other == token);
        let mut found = self.model.hosted.iter().filter(|((node, _), hosted)| *node == idx && has(hosted));
        let Some(((_, id), hosted)) = found.next() else { return (None, Some(false)) };
        let (id, transmitted) = (id.clone(), hosted.transmitted);
        let Some(session) = self.nodes[idx].endpoint.as_ref().and_then(|endpoint| endpoint.session(&id)) else {
            return (Some(id), Some(false));
        };
        let is_theirs = session.principal() == principal;
        let covers = session.replay_floor() <= last && last <= session.last_event_seq();
        // What is behind the last transmission nobody can have; what was restored may have been sent.
        let is_sure = last <= transmitted;
        let is_open = session.phase() != Phase::Closed && !hosted.may_go;
        let may = match (is_theirs && covers && session.phase() != Phase::Closed, is_sure && is_open) {
            (false, _) => Some(false),
            (true, true) => Some(true),
            (true, false) => None,
        };
        (Some(id), may)
    }

    fn standing(&self, idx: usize, of: &Option<(Option<SessionId>, Option<bool>)>) -> Option<(Phase, u64)> {
        let id = of.as_ref()?.0.as_ref()?;
        let session = self.nodes[idx].endpoint.as_ref()?.session(id)?;
        Some((session.phase(), session.attachment()))
    }

    fn is_known(&self, idx: usize, digest: &[u8; 32]) -> bool {
        self.model.hosted.iter().any(|((node, _), hosted)| {
            let has = |token: &String| ResumeToken::new(token.clone()).digest() == *digest;
            *node == idx && hosted.gone_at.is_none() && hosted.tokens.iter().any(has)
        })
    }

    /// Takes a session over that is in the store.
    pub(crate) fn adopt(&mut self, idx: usize, id: &SessionId) {
        let Some(adoption) = self.store.take(id) else { return };
        let now = self.now;
        let local = self.nodes[idx].clock.at(now);
        let digests: BTreeSet<[u8; 32]> = adoption.state.token_digests().collect();
        let adopted = self.ep(idx).adopt(local, adoption);
        self.transcript.note(now, || format!("node {idx} adopts {id}: {adopted:?}"));
        let adopted = adopted.unwrap_or_else(|error| panic!("node {idx} cannot adopt {id}: {error}"));
        assert!(adopted.refused_jobs.is_empty());
        self.transcript.reached(Mark::Adopted);
        for job in &adopted.jobs {
            let next = self.store.items_of(id, job);
            let worker = Worker { next, total: next + self.nodes[idx].dice.below(6), gap: 50, at: Some(now + 10) };
            self.nodes[idx].workers.insert(job.clone(), worker);
        }
        let all = self.model.tokens.get(id).cloned().unwrap_or_default();
        let tokens =
            all.into_iter().filter(|token| digests.contains(&ResumeToken::new(token.clone()).digest())).collect();
        let peer = self.model.owners[id];
        let mut hosted = Hosted::new(peer, tokens, 0);
        (hosted.is_adopted, hosted.was_adopted, hosted.lost_at) = (true, true, Some(now));
        self.model.hosted.insert((idx, id.clone()), hosted);
        if self.plan.endpoint.durability == Durability::Batched {
            let last = self.store.last_of(id);
            self.model.contents.retain(|(of, seq), _| of != id || *seq <= last);
        }
    }

    fn accept(&mut self, idx: usize, request: &Request, agent: &str) {
        let now = self.now;
        let local = self.nodes[idx].clock.at(now);
        self.jobs += 1;
        let job = JobId::from(format!("job_{}", self.jobs).as_str());
        let accepted = JobAccepted::new(job.clone(), agent, local.wall);
        match self.ep(idx).accept_job(local, request, accepted) {
            Ok(()) => {
                let node = &mut self.nodes[idx];
                let (total, gap) = (node.dice.within(1, 14), node.dice.pick(&[1, 40, 300, 1_500]));
                let worker = Worker { next: 0, total, gap, at: Some(now + node.dice.below(200)) };
                node.workers.insert(job.clone(), worker);
                let owner = request.session.clone();
                let peer = self.model.hosted.get(&(idx, owner.clone())).map_or(usize::MAX, |hosted| hosted.peer);
                let model = JobModel { owner, peer, events: Vec::new(), has_ended: false };
                self.model.jobs.insert(job, model);
            }
            Err(arcp_proto::endpoint::AcceptError::Answer(arcp_proto::AnswerError::UnknownRequest)) => {
                self.transcript.reached(Mark::LateAnswer);
            }
            Err(error) => panic!("node {idx} cannot accept a job: {error}"),
        }
    }

    /// What a job does next.
    fn next_of_job(&mut self, idx: usize, job: &JobId) {
        let now = self.now;
        let local = self.nodes[idx].clock.at(now);
        let Some(worker) = self.nodes[idx].workers.get(job) else { return };
        let (n, is_end) = (worker.next, worker.next >= worker.total);
        let published = if is_end && self.jobs % 4 == 3 {
            let error = JobError::new(WireError::new(ErrorCode::Timeout, "it took too long"));
            self.ep(idx).fail(local, job, error)
        } else if is_end {
            self.ep(idx).finish(local, job, JobResult::inline(RawJson::empty_object()))
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

    fn needs_progress(&self, n: u64) -> bool {
        n % 3 == 1 && self.plan.profile != Profile::Durable
    }

    fn publish(&mut self, idx: usize, job: &JobId, n: u64) -> Result<Published, PublishError> {
        let local = self.nodes[idx].clock.at(self.now);
        let padding = self.nodes[idx].dice.pick(&[0, 0, 0, 20, 20, 300, 300, 1_500]);
        let text = "x".repeat(padding);
        let (kind, body) = match n % 4 {
            _ if self.needs_progress(n) => ("progress", json!({"current": n, "n": n})),
            3 => ("x-sim.thing", json!({"n": n, "text": text})),
            _ => ("log", json!({"level": "info", "message": text, "n": n})),
        };
        self.ep(idx).publish(local, job, kind, &body)
    }

    fn is_published(&mut self, idx: usize, job: &JobId, n: u64, published: &Published) {
        self.transcript.reached(Mark::Published);
        let needs_progress = self.needs_progress(n);
        if let Some(model) = self.model.jobs.get_mut(job)
            && n >= model.len()
        {
            assert_eq!(n, model.len(), "{job} goes on with {n}");
            model.events.push(needs_progress);
        }
        if let Receipt::Recorded(seq) = published.submitter
            && let Some(model) = self.model.jobs.get(job)
            && let Some(session) = self.nodes[idx].endpoint.as_ref().and_then(|endpoint| endpoint.session(&model.owner))
        {
            assert!(seq <= session.last_event_seq() && seq > 0);
        }
    }

    fn is_blocked(&mut self, idx: usize, job: &JobId) {
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

    fn job_ends(&mut self, idx: usize, job: &JobId) {
        self.nodes[idx].workers.remove(job);
        if let Some(model) = self.model.jobs.get_mut(job) {
            model.has_ended = true;
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
                    worker.total = worker.total.max(worker.next + 2);
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

    /// 13: on a healthy transport, whoever was refused can send again soon.
    pub(crate) fn hold_liveness(&mut self) {
        let now = self.now;
        if self.plan.profile == Profile::Hostile {
            return;
        }
        for ((node, id), hosted) in &self.model.hosted {
            let (Some(since), Some(link)) = (hosted.blocked_since, hosted.link) else { continue };
            if hosted.gone_at.is_some() || hosted.phase != Phase::Open || !self.nodes[*node].is_awake(now) {
                continue;
            }
            let Some(peer) = self.peers.get(hosted.peer) else { continue };
            let link = &self.links[link];
            let is_healthy = !link.up.is_dead && !link.down.is_dead && peer.session.phase() == Phase::Open;
            if !is_healthy || link.writable_at > now {
                continue;
            }
            let troubled = peer.troubled_until.max(self.nodes[*node].troubled_until);
            let ack_delay = peer.config.ack_delay.as_millis() as Ms;
            let held = self.nodes[*node].endpoint.as_ref().and_then(|endpoint| endpoint.session(id));
            let bytes = held.map_or(0, |session| session.replay_len().1 as u64);
            let takes = ack_delay + peer.process_delay + 4 * link.slowest() + 2 * bytes / link.bandwidth() + 2_500;
            let limit = since.max(troubled) + takes;
            assert!(now <= limit, "{id} is blocked since {since}, troubled until {troubled}, and still at {now}");
        }
    }
}
