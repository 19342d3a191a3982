//! Two sessions over a link in memory, on a virtual clock that jumps to the next deadline and never ticks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arcp_proto::referee::{Referee, Side};
use arcp_proto::wire::{
    AgentInfo, Credentials, Envelope, JobAccepted, JobId, JobSubmit, PeerInfo, Principal, RawJson, ResumeToken,
    SessionId,
};
use arcp_proto::{
    Client, ClientConfig, ClientEvent, Feature, FeatureSet, Grant, Instant, Now, Opening, Role, Runtime, RuntimeConfig,
    RuntimeEvent, Session, Timestamp,
};
use bytes::Bytes;
use serde_json::Value;

/// Who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Runtime,
}

/// A frame as it passed the link.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub(crate) conn: u64,
    pub(crate) from: From,
    pub(crate) at: Instant,
    pub(crate) frame: Bytes,
}

impl Passed {
    pub(crate) fn envelope(&self) -> Envelope {
        Envelope::decode(self.frame.clone()).expect("what passed is an envelope")
    }

    pub(crate) fn type_name(&self) -> String {
        self.envelope().type_name().into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.frame).expect("what passed is JSON")
    }
}

/// The start of every test: neither clock at zero.
pub(crate) fn start() -> Now {
    Now::new(Instant::from_millis(1_000_000), Timestamp::from_unix_millis(1_778_701_333_000))
}

pub(crate) fn client_config() -> ClientConfig {
    ClientConfig::new(PeerInfo::new("my-app", "1.0.0"), Credentials::bearer("secret-bearer"))
}

pub(crate) fn runtime_config() -> RuntimeConfig {
    RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0"))
}

pub(crate) fn only(features: &[Feature]) -> FeatureSet {
    features.iter().copied().collect()
}

pub(crate) fn token(n: u64) -> ResumeToken {
    ResumeToken::new(format!("rt_{n:032x}"))
}

pub(crate) fn principal() -> Principal {
    Principal::from("alice")
}

pub(crate) fn grant() -> Grant {
    Grant {
        principal: principal(),
        session_id: SessionId::from("sess_1"),
        resume_token: token(1),
        agents: Arc::from([AgentInfo::new("code-refactor", ["1.0.0", "2.0.0"])]),
    }
}

pub(crate) fn job() -> JobId {
    JobId::from("job_1")
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// All that a session has to send.
pub(crate) fn sent<R: Role>(session: &mut Session<R>, now: Now) -> Vec<Bytes> {
    std::iter::from_fn(|| session.poll_transmit(now)).collect()
}

/// [`sent`], parsed.
pub(crate) fn sent_json<R: Role>(session: &mut Session<R>, now: Now) -> Vec<Value> {
    sent(session, now).iter().map(|frame| serde_json::from_slice(frame).unwrap()).collect()
}

/// All that a client has to tell.
pub(crate) fn client_events(session: &mut Session<Client>) -> Vec<ClientEvent> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// All that a runtime has to tell.
pub(crate) fn runtime_events(session: &mut Session<Runtime>) -> Vec<RuntimeEvent> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// The types of some frames.
pub(crate) fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

/// A runtime session whose welcome has been handed out, alone.
pub(crate) fn runtime_alone(config: RuntimeConfig, features: FeatureSet) -> Session<Runtime> {
    let hello = serde_json::json!({
        "type": "session.hello",
        "payload": {
            "client": {"name": "hand", "version": "1"},
            "auth": {"scheme": "bearer", "token": "secret-bearer"},
            "capabilities": {"encodings": ["json"], "features": features},
        },
    });
    let opening = Opening::parse(Bytes::from(hello.to_string()), &config.limits).expect("the hello is good");
    let Opening::Hello(hello) = opening else { panic!("a hello is no resume") };
    let mut session = hello.accept(start(), Arc::new(config), grant());
    assert_eq!(types(&sent_json(&mut session, start())), ["session.welcome"]);
    session
}

/// [`client_alone`], by default.
pub(crate) fn open() -> Session<Client> {
    client_alone(client_config())
}

/// [`runtime_alone`], by default and with every feature.
pub(crate) fn serving() -> Session<Runtime> {
    runtime_alone(runtime_config(), FeatureSet::all())
}

/// A message of the session as a peer writes it.
pub(crate) fn message(name: &str, payload: Value) -> Value {
    serde_json::json!({"arcp": "1.1", "id": "x", "type": name, "session_id": "sess_1", "payload": payload})
}

/// The welcome that a scripted runtime sends.
pub(crate) fn welcome(features: FeatureSet) -> Value {
    serde_json::json!({
        "arcp": "1.1", "id": "w1", "type": "session.welcome", "session_id": "sess_1",
        "payload": {
            "runtime": {"name": "hand", "version": "1"},
            "resume_token": "rt_first", "resume_window_sec": 600, "heartbeat_interval_sec": 30,
            "capabilities": {"encodings": ["json"], "features": features, "agents": []},
        },
    })
}

/// A client session that has been welcomed by a scripted runtime, alone.
pub(crate) fn client_alone(config: ClientConfig) -> Session<Client> {
    let mut session = Session::connect(start(), config);
    assert_eq!(types(&sent_json(&mut session, start())), ["session.hello"]);
    feed(&mut session, start(), &welcome(FeatureSet::all()));
    assert!(matches!(client_events(&mut session)[..], [ClientEvent::Connected(_)]));
    session
}

/// Feeds a hand-made frame.
pub(crate) fn feed<R: Role>(session: &mut Session<R>, now: Now, frame: &Value) {
    session.handle_input(now, Bytes::from(frame.to_string()));
}

/// A `job.event` of kind `log` as a scripted runtime sends it.
pub(crate) fn log_frame(seq: u64) -> Value {
    serde_json::json!({
        "arcp": "1.1", "id": format!("e{seq}"), "type": "job.event", "session_id": "sess_1", "job_id": "job_1",
        "event_seq": seq,
        "payload": {"kind": "log", "ts": "2026-05-13T19:42:13.000Z", "body": {"level": "info", "message": format!("{seq}")}},
    })
}

/// Has the referee judge what both sides send, at the moment they do: every transcript must be clean, on both sides.
struct Judge {
    /// `None`: a test has put in frames of its own.
    referee: Option<Referee>,
    findings: Vec<String>,
}

impl Judge {
    fn sent(&mut self, now: Now, conn: u64, from: From, frame: &Bytes) {
        let side = if from == From::Client { Side::Client } else { Side::Runtime };
        if let Some(referee) = &mut self.referee {
            let verdict = referee.frame(conn, side, now.mono, frame.clone());
            self.findings.extend(verdict.findings.iter().map(|finding| format!("{finding:?}")));
        }
    }

    fn ended(&mut self, now: Now, conn: u64) {
        if let Some(referee) = &mut self.referee {
            let findings = referee.close(conn, now.mono);
            self.findings.extend(findings.iter().map(|finding| format!("{finding:?}")));
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        if let Some(referee) = &mut self.referee {
            self.findings.extend(referee.finish().iter().map(|finding| format!("{finding:?}")));
        }
        assert!(std::thread::panicking() || self.findings.is_empty(), "the referee: {:#?}", self.findings);
    }
}

/// A client, a runtime, and the link between them.
pub(crate) struct Pair {
    pub(crate) now: Now,
    pub(crate) client: Session<Client>,
    /// `None` until the hello was accepted.
    pub(crate) runtime: Option<Session<Runtime>>,
    config: Arc<RuntimeConfig>,
    /// The transport that is up, by number.
    pub(crate) conn: u64,
    /// The transport that the runtime's session is attached to; it may not have noticed that it is gone.
    runtime_conn: u64,
    /// Frames between the two, in order.
    pub(crate) to_runtime: VecDeque<Bytes>,
    pub(crate) to_client: VecDeque<Bytes>,
    /// While set, what is sent stays in the link.
    pub(crate) hold_to_runtime: bool,
    pub(crate) hold_to_client: bool,
    /// While set, the side is not asked for what it has to send: its socket is full.
    pub(crate) client_stalled: bool,
    pub(crate) runtime_stalled: bool,
    /// Every frame that reached its reader, and those that a side sent into a dying link.
    pub(crate) transcript: Vec<Passed>,
    /// All events so far.
    pub(crate) client_events: Vec<ClientEvent>,
    pub(crate) runtime_events: Vec<RuntimeEvent>,
    tokens: u64,
    judge: Judge,
}

impl Pair {
    /// Both configured, the client's hello on its way.
    pub(crate) fn new(client: ClientConfig, runtime: RuntimeConfig) -> Pair {
        let now = start();
        Pair {
            now,
            client: Session::connect(now, client),
            runtime: None,
            config: Arc::new(runtime),
            conn: 1,
            runtime_conn: 1,
            to_runtime: VecDeque::new(),
            to_client: VecDeque::new(),
            hold_to_runtime: false,
            hold_to_client: false,
            client_stalled: false,
            runtime_stalled: false,
            transcript: Vec::new(),
            client_events: Vec::new(),
            runtime_events: Vec::new(),
            tokens: 1,
            judge: Judge { referee: Some(Referee::new().session_only()), findings: Vec::new() },
        }
    }

    /// For a test in which the referee does not see what the sides see: frames put in or taken out by hand, or a link
    /// that goes dead while both send.
    pub(crate) fn unjudged(mut self) -> Pair {
        self.judge = Judge { referee: None, findings: Vec::new() };
        self
    }

    /// Both by default, and connected.
    pub(crate) fn connected() -> Pair {
        Pair::connected_with(client_config(), runtime_config())
    }

    pub(crate) fn connected_with(client: ClientConfig, runtime: RuntimeConfig) -> Pair {
        let mut pair = Pair::new(client, runtime);
        pair.flush();
        assert!(matches!(pair.take_client_events()[..], [ClientEvent::Connected(_)]));
        pair
    }

    pub(crate) fn runtime(&mut self) -> &mut Session<Runtime> {
        self.runtime.as_mut().expect("the runtime has a session")
    }

    /// Lets both sides say all, and the link carry it, until nothing moves.
    pub(crate) fn flush(&mut self) {
        loop {
            self.collect();
            let moved = self.carry_to_runtime() | self.carry_to_client();
            self.collect_events();
            if !moved {
                self.assert_drained();
                return;
            }
        }
    }

    /// What the sides have to send goes onto the link.
    pub(crate) fn collect(&mut self) {
        if !self.client_stalled {
            for frame in sent(&mut self.client, self.now) {
                self.judge.sent(self.now, self.conn, From::Client, &frame);
                self.to_runtime.push_back(frame);
            }
        }
        if let Some(runtime) = self.runtime.as_mut().filter(|_| !self.runtime_stalled) {
            for frame in sent(runtime, self.now) {
                self.judge.sent(self.now, self.runtime_conn, From::Runtime, &frame);
                // What it writes into a transport that is gone is lost.
                if self.runtime_conn == self.conn {
                    self.to_client.push_back(frame);
                }
            }
        }
    }

    pub(crate) fn collect_events(&mut self) {
        self.client_events.extend(std::iter::from_fn(|| self.client.poll_event()));
        if let Some(runtime) = &mut self.runtime {
            self.runtime_events.extend(std::iter::from_fn(|| runtime.poll_event()));
        }
    }

    fn carry_to_runtime(&mut self) -> bool {
        let mut moved = false;
        while !self.hold_to_runtime {
            let Some(frame) = self.to_runtime.pop_front() else { break };
            self.record(From::Client, &frame);
            self.deliver_to_runtime(frame);
            moved = true;
        }
        moved
    }

    fn carry_to_client(&mut self) -> bool {
        let mut moved = false;
        while !self.hold_to_client {
            let Some(frame) = self.to_client.pop_front() else { break };
            self.record(From::Runtime, &frame);
            self.client.handle_input(self.now, frame);
            moved = true;
        }
        moved
    }

    fn record(&mut self, from: From, frame: &Bytes) {
        self.transcript.push(Passed { conn: self.conn, from, at: self.now.mono, frame: frame.clone() });
    }

    /// The first frame of a transport opens it, as a driver would.
    fn deliver_to_runtime(&mut self, frame: Bytes) {
        let is_first = self.transcript.iter().filter(|p| p.conn == self.conn && p.from == From::Client).count() == 1;
        if !is_first {
            let now = self.now;
            return self.runtime().handle_input(now, frame);
        }
        match Opening::parse(frame, &self.config.limits).expect("our client's first message is good") {
            Opening::Hello(hello) => {
                self.runtime_conn = self.conn;
                self.runtime = Some(hello.accept(self.now, Arc::clone(&self.config), grant()));
            }
            Opening::Resume(attempt) => {
                self.tokens += 1;
                let (now, next) = (self.now, token(self.tokens));
                match self.runtime().resume(now, attempt, &principal(), next) {
                    Ok(takeover) => {
                        for frame in takeover.farewell {
                            self.judge.sent(self.now, self.runtime_conn, From::Runtime, &frame);
                        }
                        self.judge.ended(self.now, self.runtime_conn);
                        self.runtime_conn = self.conn;
                    }
                    Err(refused) => {
                        let frame = refused.into_message(now);
                        self.judge.sent(self.now, self.conn, From::Runtime, &frame);
                        self.to_client.push_back(frame);
                    }
                }
            }
        }
    }

    /// Time passes: both clocks jump from deadline to deadline, and both sides are served at each.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now.after(by);
        loop {
            self.flush();
            let runtime = self.runtime.as_ref().and_then(Session::poll_timeout);
            let next = [self.client.poll_timeout(), runtime].into_iter().flatten().min();
            match next.filter(|next| *next <= end.mono) {
                Some(next) => self.now = self.now.after(next - self.now.mono),
                None => break,
            }
            self.timeout();
        }
        self.now = end;
        self.timeout();
        self.flush();
    }

    fn timeout(&mut self) {
        let now = self.now;
        self.client.handle_timeout(now);
        assert!(self.client.poll_timeout().is_none_or(|at| at > now.mono), "the client's deadline did not move");
        if let Some(runtime) = &mut self.runtime {
            runtime.handle_timeout(now);
            assert!(runtime.poll_timeout().is_none_or(|at| at > now.mono), "the runtime's deadline did not move");
        }
    }

    fn assert_drained(&mut self) {
        assert!(self.client_stalled || self.client.poll_transmit(self.now).is_none());
        assert!(self.client.poll_event().is_none());
        if let Some(runtime) = &mut self.runtime {
            assert!(self.runtime_stalled || runtime.poll_transmit(self.now).is_none());
            assert!(runtime.poll_event().is_none());
        }
    }

    /// The transport breaks, and both sides learn it; what was on its way is lost.
    pub(crate) fn cut(&mut self) {
        self.drop_link();
        self.client.handle_disconnect(self.now);
        let now = self.now;
        if let Some(runtime) = &mut self.runtime {
            runtime.handle_disconnect(now);
        }
        self.judge.ended(self.now, self.runtime_conn);
        self.collect_events();
    }

    /// The transport breaks, and only the client learns it.
    pub(crate) fn cut_unseen_by_runtime(&mut self) {
        self.drop_link();
        self.client.handle_disconnect(self.now);
        self.collect_events();
    }

    pub(crate) fn drop_link(&mut self) {
        self.to_client.clear();
        self.to_runtime.clear();
        self.conn += 1;
    }

    /// The client comes back on a new transport.
    pub(crate) fn resume(&mut self) {
        self.client.resume(self.now).expect("the client can resume");
        self.flush();
    }

    /// A client submits, the runtime accepts as [`job`].
    pub(crate) fn submit(&mut self) {
        let submit = JobSubmit::new("code-refactor", RawJson::empty_object());
        self.client.submit(self.now, &submit).expect("the session is open");
        self.flush();
        let events = self.take_runtime_events();
        let Some(RuntimeEvent::Submit { request, .. }) = events.last() else { panic!("no submit: {events:?}") };
        let (now, wall) = (self.now, self.now.wall);
        let accepted = JobAccepted::new(job(), "code-refactor@2.0.0", wall);
        self.runtime().accept_job(now, *request, accepted).expect("the submit is open");
        self.flush();
        assert!(matches!(self.take_client_events()[..], [ClientEvent::Accepted { request: Some(_), .. }]));
    }

    /// Emits `count` log events on [`job`].
    pub(crate) fn emit(&mut self, count: u64) {
        let now = self.now;
        for _ in 0..count {
            let next = self.runtime().last_event_seq() + 1;
            let body = serde_json::json!({"level": "info", "message": format!("event {next}")});
            assert_eq!(self.runtime().send_event(now, &job(), "log", &body), Ok(next));
        }
    }

    pub(crate) fn take_client_events(&mut self) -> Vec<ClientEvent> {
        self.collect_events();
        std::mem::take(&mut self.client_events)
    }

    pub(crate) fn take_runtime_events(&mut self) -> Vec<RuntimeEvent> {
        self.collect_events();
        std::mem::take(&mut self.runtime_events)
    }

    /// The sequence numbers that the client was given since they were last taken.
    pub(crate) fn take_seqs(&mut self) -> Vec<u64> {
        self.take_client_events().iter().filter_map(seq_of).collect()
    }

    /// The types that passed since some point of the transcript, in one direction.
    pub(crate) fn types_since(&self, from: From, since: usize) -> Vec<String> {
        self.transcript[since..].iter().filter(|passed| passed.from == from).map(Passed::type_name).collect()
    }
}

pub(crate) fn seq_of(event: &ClientEvent) -> Option<u64> {
    match event {
        ClientEvent::Event(delivery)
        | ClientEvent::Finished { delivery, .. }
        | ClientEvent::Failed { delivery, .. }
        | ClientEvent::Cancelled { delivery, .. } => delivery.seq(),
        _ => None,
    }
}
