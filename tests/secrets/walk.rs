//! A client and an endpoint live through everything that has to do with secrets, and whatever they hand out on the way is
//! printed: both ends, their events, errors, audit, snapshots, and what a store is given.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arcp_proto::endpoint::{Adoption, ConnId, Durability, Endpoint, EndpointConfig, EndpointEvent};
use arcp_proto::referee::{Referee, Side};
use arcp_proto::wire::{
    AgentInfo, Credential, Credentials, Envelope, ErrorCode, JobAccepted, JobEvent, JobId, JobQuery, JobResult,
    JobSubmit, JobSubscribed, PeerInfo, Principal, RawJson, ResumeToken, SessionId, Welcome, WireError, job_event,
};
use arcp_proto::{
    Client, ClientConfig, ClientEvent, ClientSnapshot, Grant, Instant, Limits, Now, Opening, RuntimeConfig, Session,
    Timestamp,
};
use serde_json::json;

use crate::printed::Printed;

const BEARER: &str = "bearer-\"hunter2\"";
const CREDENTIAL: &str = "sk-virt-\"hunter4\"";
const INPUT: &str = "password-hunter5";

fn token(n: u64) -> String {
    format!("rt_hunter3_{n:032x}")
}

fn grant(n: u64) -> Grant {
    Grant {
        principal: Principal::from("alice"),
        session_id: SessionId::from(format!("sess_{n}")),
        resume_token: ResumeToken::new(token(n)),
        agents: Arc::from([AgentInfo::new("code", ["1.0.0"])]),
    }
}

struct Walk {
    printed: Printed,
    now: Now,
    endpoint: Endpoint,
    client: Session<Client>,
    conn: ConnId,
    granted: u64,
    jobs: u64,
    referee: Referee,
    stored: Option<Adoption>,
}

fn credentials() -> Vec<Credential> {
    vec![Credential {
        id: "c".into(),
        scheme: "bearer".into(),
        value: CREDENTIAL.into(),
        endpoint: None,
        profile: None,
        constraints: Some(RawJson::new(&json!({"key": CREDENTIAL})).unwrap()),
    }]
}

fn endpoint() -> Endpoint {
    let runtime = RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0"));
    Endpoint::new(EndpointConfig { durability: Durability::BeforeTransmit, ..EndpointConfig::new(runtime) })
}

fn client_config() -> ClientConfig {
    ClientConfig::new(PeerInfo::new("my-app", "1.0.0"), Credentials::bearer(BEARER))
}

impl Walk {
    fn new() -> Walk {
        let mut printed = Printed::default();
        for secret in [BEARER, CREDENTIAL, INPUT] {
            printed.hide(secret);
            // Escaped as it stands in a frame, too.
            let escaped = serde_json::to_string(secret).unwrap();
            printed.hide(escaped.trim_matches('"'));
        }
        // No token is known by less than this, and each has its own digest.
        printed.hide("rt_hunter3_");
        (1..20).for_each(|n| printed.hide(&token(n)));
        let now = Now::new(Instant::from_millis(1_000_000), Timestamp::from_unix_millis(1_778_701_333_000));
        let mut endpoint = endpoint();
        printed.debug(&client_config());
        printed.debug(&client_config().credentials);
        printed.debug(&grant(1));
        let conn = endpoint.connect(now);
        let client = Session::connect(now, client_config());
        Walk { printed, now, endpoint, client, conn, granted: 0, jobs: 0, referee: Referee::new(), stored: None }
    }

    /// Until nothing moves. Both ends are printed at every step.
    fn turn(&mut self) {
        loop {
            let mut is_idle = true;
            self.printed.debug(&self.client);
            self.printed.debug(&self.endpoint);
            for session in self.endpoint.sessions() {
                self.printed.debug(session);
                self.printed.debug(&session.snapshot());
            }
            self.printed.debug(&self.client.snapshot());
            while let Some(frame) = self.client.poll_transmit(self.now) {
                is_idle = false;
                self.see(Side::Client, &frame);
                self.endpoint.handle_input(self.now, self.conn, frame);
            }
            while let Some(event) = self.endpoint.poll_event() {
                is_idle = false;
                self.attend(&event);
            }
            while let Some(change) = self.endpoint.poll_change() {
                is_idle = false;
                self.store(&change);
            }
            while let Some((conn, frame)) = self.endpoint.poll_transmit(self.now) {
                is_idle = false;
                self.see(Side::Runtime, &frame);
                if conn == self.conn {
                    self.client.handle_input(self.now, frame);
                }
            }
            while let Some(event) = self.client.poll_event() {
                is_idle = false;
                self.printed.debug(&event);
                if let ClientEvent::Closed(reason) = &event {
                    self.printed.display(reason);
                }
                if let ClientEvent::Detached(reason) = &event {
                    self.printed.display(reason);
                }
                if let ClientEvent::Connected(info) | ClientEvent::Resumed(info) = &event {
                    self.printed.debug(&**info);
                }
            }
            while let Some(record) = self.endpoint.poll_audit() {
                self.printed.debug(&record);
                self.printed.debug(&record.action);
            }
            while self.endpoint.poll_close().is_some() {}
            if is_idle {
                return;
            }
        }
    }

    fn see(&mut self, side: Side, frame: &bytes::Bytes) {
        let envelope = Envelope::decode(frame.clone()).unwrap();
        self.printed.debug(&envelope);
        let verdict = self.referee.frame(self.granted, side, self.now.mono, frame.clone());
        self.printed.debug(&verdict);
        self.printed.debug(&self.referee);
        let is_opening = side == Side::Client && envelope.type_name() == "session.hello";
        if is_opening {
            let opening = Opening::parse(frame.clone(), &Limits::default()).unwrap();
            self.printed.debug(&opening);
            match &opening {
                Opening::Hello(hello) => self.printed.debug(hello),
                Opening::Resume(attempt) => self.printed.debug(attempt),
            }
            // It is in there.
            assert!(envelope.payload_text().contains("hunter2"));
        }
        macro_rules! payloads {
            ($($name:literal => $payload:ty,)*) => {
                match &*envelope.type_name() {
                    $($name => self.printed.debug(&envelope.payload::<$payload>().unwrap()),)*
                    _ => {}
                }
            };
        }
        payloads! {
            "session.hello" => arcp_proto::wire::Hello,
            "session.welcome" => Welcome,
            "job.submit" => JobSubmit,
            "job.accepted" => JobAccepted,
            "job.subscribed" => JobSubscribed,
            "job.result" => JobResult,
            "job.error" => arcp_proto::wire::JobError,
            "session.error" => arcp_proto::wire::SessionError,
            "session.jobs" => arcp_proto::wire::Jobs,
        }
        if envelope.type_name() == "job.event" {
            let event: JobEvent<'_> = envelope.payload().unwrap();
            self.printed.debug(&event);
            if let Ok(status) = event.body.parse::<job_event::Status>() {
                self.printed.debug(&status);
            }
        }
    }

    fn attend(&mut self, event: &EndpointEvent) {
        self.printed.debug(event);
        match event {
            EndpointEvent::Authenticate(applicant) => {
                self.printed.debug(&**applicant);
                self.printed.debug(&applicant.credentials);
                if let Some(wish) = &applicant.resume {
                    self.printed.debug(wish);
                }
                self.granted += 1;
                match self.endpoint.admit(self.now, applicant.conn, grant(self.granted)) {
                    Ok(admitted) => self.printed.debug(&admitted),
                    Err(error) => self.printed.error(&error),
                }
            }
            EndpointEvent::Submit { request, submit, .. } => {
                self.printed.display(request);
                self.printed.debug(&**submit);
                self.jobs += 1;
                let job = JobId::from(format!("job_{}", self.jobs));
                let mut accepted = JobAccepted::new(job, "code@1.0.0", self.now.wall);
                accepted.credentials = Some(credentials());
                self.printed.debug(&accepted);
                self.endpoint.accept_job(self.now, request, accepted).unwrap();
            }
            _ => {}
        }
    }

    fn store(&mut self, change: &arcp_proto::endpoint::Change) {
        self.printed.debug(change);
        self.printed.debug(&change.id);
        let before = self.stored.take();
        let (state, mut events, mut jobs) = match before {
            Some(before) => (Some(before.state), before.events, before.jobs),
            None => (None, Vec::new(), Vec::new()),
        };
        events.extend(change.events.iter().cloned());
        jobs.retain(|job| change.jobs.iter().all(|new| new.record.job_id != job.record.job_id));
        jobs.extend(change.jobs.iter().cloned());
        for job in &jobs {
            self.printed.debug(job);
            self.printed.debug(&job.record);
        }
        if let Some(state) = change.state.clone().or(state) {
            self.printed.debug(&state);
            self.printed.debug(state.session());
            let adoption = Adoption { generation: change.generation + 1, state, events, jobs };
            self.printed.debug(&adoption);
            self.stored = Some(adoption);
        }
        self.endpoint.stored(self.now, &change.id);
    }

    /// The transport is lost, and the client comes back on another.
    fn come_back(&mut self) {
        self.client.handle_disconnect(self.now);
        self.conn = self.endpoint.connect(self.now);
        self.client.resume(self.now).unwrap();
        self.turn();
    }

    /// All that was handed out, and how it went on.
    fn live(&mut self) {
        self.turn();
        let input = RawJson::new(&json!({"secret": INPUT})).unwrap();
        let submit = JobSubmit { idempotency_key: Some("key".into()), ..JobSubmit::new("code", input) };
        self.printed.debug(&submit);
        self.client.submit(self.now, &submit).unwrap();
        // Before it is polled it waits within the endpoint, and the answer within the session.
        self.turn();
        let (first, second) = (JobId::from("job_1"), JobId::from("job_2"));
        let rotated = json!({"phase": "credential_rotated", "credential": {"id": "c", "value": CREDENTIAL}});
        let published = self.endpoint.publish(self.now, &first, "status", &rotated).unwrap();
        self.printed.debug(&published);
        self.turn();
        self.client.subscribe(self.now, &first, Some(0)).unwrap();
        self.client.list_jobs(self.now, &JobQuery::default()).unwrap();
        self.turn();
        // The welcome to a takeover, unsent, and the farewell of the transport before it.
        self.come_back();
        self.client.submit(self.now, &JobSubmit::new("code", RawJson::empty_object())).unwrap();
        self.turn();
        let result = JobResult::inline(RawJson::new(&json!({"key": CREDENTIAL})).unwrap());
        self.printed.debug(&result);
        self.endpoint.finish(self.now, &first, result).unwrap();
        let details = RawJson::new(&json!({"key": CREDENTIAL})).unwrap();
        let mut error = WireError::new(ErrorCode::InternalError, "no");
        error.details = Some(details);
        self.printed.display(&error);
        self.endpoint.fail(self.now, &second, arcp_proto::wire::JobError::new(error)).unwrap();
        self.printed.debug(self.endpoint.jobs());
        self.turn();
        self.refusals();
        self.adopt();
        self.client.close(self.now, "done");
        self.turn();
        self.endpoint.shutdown_all(self.now, "done");
        self.turn();
    }

    /// Everything that is refused with a secret in it.
    fn refusals(&mut self) {
        let hello = |token: &str| {
            json!({"id": "h", "type": "session.hello", "payload": {
                "auth": {"scheme": "bearer", "token": BEARER}, "resume_token": token,
            }})
            .to_string()
        };
        let Ok(Opening::Resume(attempt)) = Opening::parse(hello(&token(19)).into(), &Limits::default()) else {
            panic!("no resume");
        };
        let mut runtime = self.endpoint.sessions().next().unwrap().clone();
        let refused = runtime.resume(self.now, attempt, &"alice".into(), ResumeToken::new(token(18))).unwrap_err();
        self.printed.error(&refused);
        self.printed.display(&refused.reason());
        let Ok(Opening::Resume(attempt)) = Opening::parse(hello(&token(self.granted)).into(), &Limits::default())
        else {
            panic!("no resume");
        };
        let takeover = runtime.resume(self.now, attempt, &"alice".into(), ResumeToken::new(token(17))).unwrap();
        self.printed.debug(&takeover);
        // With its welcome unsent, and the next one over that.
        self.printed.debug(&runtime);
        let Ok(Opening::Resume(attempt)) = Opening::parse(hello(&token(17)).into(), &Limits::default()) else {
            panic!("no resume");
        };
        let takeover = runtime.resume(self.now, attempt, &"alice".into(), ResumeToken::new(token(16))).unwrap();
        assert!(takeover.farewell.iter().any(|frame| String::from_utf8_lossy(frame).contains(&token(17))));
        self.printed.debug(&takeover);
        let disagreeing = json!({"type": "session.hello", "payload": {"auth": {"scheme": "bearer", "token": BEARER},
            "resume_token": token(1), "resume": {"resume_token": token(2)}}});
        let misplaced = json!({"type": "session.hello", "payload": {"auth": BEARER}});
        for frame in [disagreeing.to_string(), misplaced.to_string(), format!("{{\"type\":\"{BEARER}")] {
            let refusal = Opening::parse(frame.clone().into(), &Limits::default()).unwrap_err();
            self.printed.error(&refusal);
            self.printed.display(refusal.error());
            let message = Envelope::decode(refusal.into_message(self.now)).unwrap();
            self.printed.debug(&message);
            self.printed.debug(&message.payload::<arcp_proto::wire::SessionError>().unwrap());
            let verdict = Referee::new().frame(0, Side::Client, self.now.mono, frame.clone().into());
            self.printed.debug(&verdict);
            verdict.findings.iter().for_each(|finding| self.printed.display(finding));
            // The same in the middle of a session: a violation.
            let mut other = self.endpoint.clone();
            other.handle_input(self.now, self.conn, frame.into());
            self.printed.debug(&other);
            while let Some(event) = other.poll_event() {
                self.printed.debug(&event);
            }
            while let Some(record) = other.poll_audit() {
                self.printed.debug(&record);
            }
        }
        // Nobody has this token.
        let mut other = self.endpoint.clone();
        let conn = other.connect(self.now);
        other.handle_input(self.now, conn, hello(&token(19)).into());
        self.printed.debug(&other);
        self.printed.error(&other.admit(self.now, conn, grant(15)).unwrap_err());
        for record in std::iter::from_fn(|| other.poll_audit()) {
            self.printed.debug(&record);
        }
        self.come_back();
        let snapshot = serde_json::to_string(&self.client.snapshot()).unwrap();
        assert!(snapshot.contains("rt_hunter3_"), "it is in there");
        let broken = snapshot.replace("\"resume_token\":\"", "\"resume_token\":[\"x\",\"");
        self.printed.display(&serde_json::from_str::<ClientSnapshot>(&broken).unwrap_err());
        let never = Session::connect(self.now, client_config()).snapshot();
        self.printed.error(&Session::<Client>::restore(self.now, client_config(), never).unwrap_err());
        let restored = Session::<Client>::restore(self.now, client_config(), self.client.snapshot()).unwrap();
        self.printed.debug(&restored);
        self.printed.debug(restored.resume_token().unwrap());
    }

    /// Another process goes on with what was stored.
    fn adopt(&mut self) {
        let adoption = self.stored.clone().expect("there is something stored");
        let (digests, events) = (adoption.state.token_digests().count(), adoption.events.len());
        assert!(digests > 0 && events > 0);
        let mut other = endpoint();
        self.printed.debug(&other.adopt(self.now, adoption.clone()).unwrap());
        self.printed.error(&other.adopt(self.now, adoption).unwrap_err());
        self.printed.debug(&other);
        for record in std::iter::from_fn(|| other.poll_audit()) {
            self.printed.debug(&record);
        }
        let late = self.now.after(Duration::from_secs(1_000_000));
        other.handle_timeout(late);
        while let Some(event) = other.poll_event() {
            self.printed.debug(&event);
        }
        while let Some(change) = other.poll_change() {
            self.printed.debug(&change);
        }
    }
}

#[test]
fn d3_nothing_that_is_handed_out_prints_a_secret() {
    let mut walk = Walk::new();
    walk.live();
    assert!(walk.granted >= 3 && walk.jobs == 2, "{} {}", walk.granted, walk.jobs);
}

/// Public types that hold no text of a peer's, or none that anybody takes for a secret: ids, names, numbers, words of ours.
const NO_SECRETS: &str = "Clock Listing Durability DirectoryLimits StatusChange Limit Counters PageError Scope Policy OwnJobs \
    Sight Receipt StreamError FeatureSet LineDecoder LineTooLong Side Verdict Class Layer Secrets EntropyError Client \
    Runtime State Role Dialect AckPolicy GapPolicy Farewell Overflow ResumeError AckError AnswerError SendError \
    ResumeRefusal SendCredit Phase RequestId Interest Timer Instant Timestamp TimestampError Now HeaderField FrameFault \
    TraceId Sender Seconds Ack Ping Pong LeaseConstraints ChunkEncoding Limits JobCancel JobCancelled JobSubscribe \
    JobUnsubscribe JobFilter JobQuery JobEntry JobPage AgentInfo PeerInfo RuntimeCapabilities ClientCapabilities Bye \
    AcceptError PublishError InsertError SetLeaseError ConnId EndpointConfig RuntimeConfig ConnectFailure \
    RequestFailure Header SessionState JobDirectory ProtocolError Violation RuntimeEvent Delivery Digest";

/// Those that `payloads` prints, and what stands in the events' typed bodies, which are the application's to print.
const ELSEWHERE: &str = "PayloadError MalformedFrame Credential ResumeClaim Resume Lease RawJson \
    Log Thought ToolCall ToolResult Metric ArtifactRef Delegate Progress ResultChunk";

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The names of all types that the sources declare as public.
fn declared() -> BTreeSet<String> {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            for line in std::fs::read_to_string(entry).unwrap().lines() {
                let name = ["pub struct ", "pub enum ", "pub trait "].iter().find_map(|start| line.strip_prefix(start));
                if let Some(name) = name {
                    found.insert(name.chars().take_while(|c| c.is_alphanumeric()).collect());
                }
            }
        }
    }
    found
}

/// Whoever adds a public type says here whether it may hold a secret, or shows it on the walk.
#[test]
fn d3_every_public_type_was_printed_or_holds_no_secret() {
    let mut walk = Walk::new();
    walk.live();
    let known: BTreeSet<_> =
        walk.printed.types.iter().cloned().chain(words(NO_SECRETS)).chain(words(ELSEWHERE)).collect();
    let missing: Vec<_> = declared().difference(&known).cloned().collect();
    assert!(missing.is_empty(), "public types that no test of secrets knows of: {missing:?}");
    let listed: BTreeSet<_> = words(NO_SECRETS).union(&words(ELSEWHERE)).cloned().collect();
    let gone: Vec<_> = listed.difference(&declared()).cloned().collect();
    assert!(gone.is_empty(), "types that there are no more: {gone:?}");
}
