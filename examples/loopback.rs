//! A whole session in one process: a client and a runtime over a pipe in memory, on a virtual clock.
//!
//! `cargo run --example loopback` prints a transcript to read; with `-- --json`, the frames verbatim.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arcp_proto::wire::job_event::{Log, kind};
use arcp_proto::wire::{
    AgentInfo, Credentials, Envelope, JobAccepted, JobEntry, JobId, JobPage, JobQuery, JobResult, JobStatus, JobSubmit,
    JobSubscribe, PeerInfo, Principal, RawJson, ResumeToken, SessionId,
};
use arcp_proto::wire::{Header, MessageType, encode};
use arcp_proto::{
    Client, ClientConfig, ClientEvent, Feature, FeatureSet, Grant, Instant, Limits, Now, Opening, Overflow, RequestId,
    Runtime, RuntimeConfig, RuntimeEvent, SendError, Session, Timestamp,
};
use bytes::Bytes;
use serde_json::Value;

/// How long a frame is on its way.
const LATENCY: Duration = Duration::from_millis(20);

/// What a step of the story comes to.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let as_json = std::env::args().any(|arg| arg == "--json");
    match transcript(as_json) {
        Ok(transcript) => {
            print!("{transcript}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("loopback: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The whole session, to read or as its frames.
pub fn transcript(as_json: bool) -> Outcome<String> {
    let mut world = World::new(as_json);
    tell(&mut world)?;
    Ok(world.printer.text)
}

/// The story, chapter by chapter.
fn tell(world: &mut World) -> Outcome {
    world.printer.chapter("handshake: the client asks for all but `subscribe`, the runtime has no `cost.budget`");
    world.run_for(Duration::from_millis(100))?;

    world.printer.chapter("a job, its events, their acknowledgement");
    let submit = JobSubmit::new("code-refactor@2.0.0", RawJson::new(&serde_json::json!({"path": "src/"}))?);
    world.client.submit(world.now, &submit)?;
    world.run_for(Duration::from_millis(100))?;
    world.emit(3)?;
    world.run_for(Duration::from_millis(500))?;

    world.printer.chapter("nothing to say for 30 s: ping and pong");
    world.run_for(Duration::from_secs(30))?;

    world.printer.chapter("the client stops processing: back-pressure at more than 4 events, the window full at 8");
    world.client_is_busy = true;
    while world.emit(1)? {}
    world.run_for(Duration::from_millis(100))?;

    world.printer.chapter("the client goes on: the window opens again");
    world.client_is_busy = false;
    world.catch_up()?;
    world.run_for(Duration::from_millis(500))?;

    world.printer.chapter("the transport is cut in mid-stream, the job goes on, the session resumes");
    world.emit(3)?;
    world.run_for(LATENCY)?;
    world.emit(2)?;
    world.cut();
    world.run_for(Duration::from_secs(2))?;
    world.emit(1)?;
    world.client.resume(world.now)?;
    world.run_for(Duration::from_millis(500))?;

    world.printer.chapter("which jobs are there? two pages");
    world.list_jobs(JobQuery::default().with_limit(2))?;
    world.run_for(Duration::from_millis(100))?;
    let Some(cursor) = world.next_cursor.take() else { return Err("the first page has no cursor".into()) };
    world.list_jobs(JobQuery::default().with_limit(2).with_cursor(cursor))?;
    world.run_for(Duration::from_millis(100))?;

    world.printer.chapter("a feature that was not negotiated: refused by the session itself, and by the other side");
    match world.client.subscribe(world.now, &JobId::from("job_1"), None) {
        Err(error) => world.printer.note(world.now, "client", &format!("subscribe: Err: {error}")),
        Ok(_) => return Err("`subscribe` was not negotiated".into()),
    }
    world.smuggle_subscribe()?;
    world.run_for(Duration::from_millis(100))?;

    world.printer.chapter("the job ends, and so does the session");
    let done = RawJson::new(&serde_json::json!({"files": 12}))?;
    let (runtime, now) = world.runtime()?;
    runtime.send_result(now, &JobId::from("job_1"), JobResult::inline(done))?;
    world.run_for(Duration::from_millis(500))?;
    world.client.close(world.now, "maintenance");
    world.run_for(Duration::from_millis(100))?;

    let emitted = world.runtime()?.0.last_event_seq();
    let complete = world.received.iter().copied().eq(1..=emitted);
    world
        .printer
        .chapter(&format!("{emitted} events emitted, {} received, in order: {complete}", world.received.len()));
    if complete { Ok(()) } else { Err("events were lost or doubled".into()) }
}

/// A frame on its way.
type InFlight = (Instant, Bytes);

struct World {
    now: Now,
    printer: Printer,
    client: Session<Client>,
    runtime: Option<Session<Runtime>>,
    config: Arc<RuntimeConfig>,
    /// Whether the transport's first frame has come.
    is_open: bool,
    to_runtime: VecDeque<InFlight>,
    to_client: VecDeque<InFlight>,
    tokens: u32,
    client_is_busy: bool,
    received: Vec<u64>,
    next_cursor: Option<String>,
}

impl World {
    fn new(as_json: bool) -> World {
        let now = Now::new(Instant::ZERO, Timestamp::from_unix_millis(1_778_701_333_000));
        let config = ClientConfig::new(PeerInfo::new("my-app", "1.0.0"), Credentials::bearer("token-of-alice"))
            .with_features(FeatureSet::all().without(Feature::Subscribe));
        let runtime = RuntimeConfig {
            back_pressure_threshold: 4,
            ..RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0"))
                .with_features(FeatureSet::all().without(Feature::CostBudget))
                .with_replay(8, 1 << 20, Overflow::Block)
        };
        World {
            now,
            printer: Printer { as_json, text: String::new() },
            client: Session::connect(now, config),
            runtime: None,
            config: Arc::new(runtime),
            is_open: false,
            to_runtime: VecDeque::new(),
            to_client: VecDeque::new(),
            tokens: 0,
            client_is_busy: false,
            received: Vec::new(),
            next_cursor: None,
        }
    }

    fn runtime(&mut self) -> Outcome<(&mut Session<Runtime>, Now)> {
        let now = self.now;
        self.runtime.as_mut().map(|runtime| (runtime, now)).ok_or_else(|| "there is no runtime session yet".into())
    }

    /// Lets time pass. The clock jumps to whatever is next: a deadline of either side, or a frame's arrival.
    fn run_for(&mut self, span: Duration) -> Outcome {
        let end = self.now.mono + span;
        loop {
            self.exchange()?;
            let next = [
                self.client.poll_timeout(),
                self.runtime.as_ref().and_then(Session::poll_timeout),
                self.to_runtime.front().map(|(at, _)| *at),
                self.to_client.front().map(|(at, _)| *at),
            ];
            let next = next.into_iter().flatten().min().unwrap_or(Instant::MAX).min(end);
            self.now = self.now.after(next - self.now.mono);
            self.deliver()?;
            self.client.handle_timeout(self.now);
            if let Some(runtime) = &mut self.runtime {
                runtime.handle_timeout(self.now);
            }
            if self.now.mono >= end {
                return self.exchange();
            }
        }
    }

    /// What both sides have to say goes on its way; what they have to tell is attended to.
    fn exchange(&mut self) -> Outcome {
        let arrival = self.now.mono + LATENCY;
        loop {
            let mut quiet = true;
            while let Some(frame) = self.client.poll_transmit(self.now) {
                self.printer.frame(self.now, "c→r", &frame);
                self.to_runtime.push_back((arrival, frame));
                quiet = false;
            }
            while let Some(frame) = self.runtime.as_mut().and_then(|runtime| runtime.poll_transmit(self.now)) {
                self.printer.frame(self.now, "r→c", &frame);
                self.to_client.push_back((arrival, frame));
                quiet = false;
            }
            while let Some(event) = self.client.poll_event() {
                self.attend_client(event)?;
                quiet = false;
            }
            while let Some(event) = self.runtime.as_mut().and_then(Session::poll_event) {
                self.attend_runtime(event)?;
                quiet = false;
            }
            if quiet {
                return Ok(());
            }
        }
    }

    fn deliver(&mut self) -> Outcome {
        while let Some((_, frame)) = self.to_runtime.pop_front_if(|(at, _)| *at <= self.now.mono) {
            match &mut self.runtime {
                Some(runtime) if self.is_open => runtime.handle_input(self.now, frame),
                _ => self.open(frame)?,
            }
        }
        while let Some((_, frame)) = self.to_client.pop_front_if(|(at, _)| *at <= self.now.mono) {
            self.client.handle_input(self.now, frame);
        }
        Ok(())
    }

    /// The first frame of a transport: who is it? A real runtime checks the bearer here.
    fn open(&mut self, frame: Bytes) -> Outcome {
        self.is_open = true;
        self.tokens += 1;
        // Of a real one all digits come from the operating system's entropy.
        let token = ResumeToken::new(format!("rt_{:032x}", self.tokens));
        let principal = Principal::from("alice");
        match Opening::parse(frame, &Limits::default()) {
            Ok(Opening::Hello(hello)) => {
                let agents = Arc::from([AgentInfo::new("code-refactor", ["1.0.0", "2.0.0"])]);
                let grant = Grant { principal, session_id: SessionId::from("sess_1"), resume_token: token, agents };
                self.runtime = Some(hello.accept(self.now, Arc::clone(&self.config), grant));
            }
            Ok(Opening::Resume(attempt)) => {
                let (runtime, now) = self.runtime()?;
                runtime.resume(now, attempt, &principal, token).map_err(|refused| format!("{:?}", refused.reason()))?;
            }
            Err(refusal) => return Err(refusal.error().to_string().into()),
        }
        Ok(())
    }

    /// The client's application: prints, processes, marks.
    fn attend_client(&mut self, event: ClientEvent) -> Outcome {
        let delivery = match &event {
            ClientEvent::Event(delivery) | ClientEvent::Finished { delivery, .. } => Some(delivery),
            _ => None,
        };
        if let Some(seq) = delivery.and_then(|delivery| delivery.seq()) {
            self.received.push(seq);
            if !self.client_is_busy {
                self.client.mark_processed(self.now, seq)?;
            }
            return Ok(());
        }
        let note = match event {
            ClientEvent::Connected(info) => format!("Connected: {:?}", info.features),
            ClientEvent::Resumed(_) => format!("Resumed behind event {}", self.client.last_event_seq()),
            ClientEvent::Accepted { accepted, .. } => format!("Accepted: {} by {}", accepted.job_id, accepted.agent),
            ClientEvent::Jobs { page, .. } => {
                self.next_cursor = page.next_cursor;
                let jobs: Vec<_> = page.jobs.iter().map(|job| job.job_id.as_str()).collect();
                format!("Jobs: {}", jobs.join(", "))
            }
            other => format!("{other:?}"),
        };
        self.printer.note(self.now, "client", &note);
        Ok(())
    }

    fn catch_up(&mut self) -> Outcome {
        let last = self.received.last().copied().unwrap_or_default();
        self.printer.note(self.now, "client", &format!("mark_processed({last})"));
        Ok(self.client.mark_processed(self.now, last)?)
    }

    /// The runtime's application: takes every job, answers every query.
    fn attend_runtime(&mut self, event: RuntimeEvent) -> Outcome {
        match event {
            RuntimeEvent::Submit { request, submit, .. } => {
                let (runtime, now) = self.runtime()?;
                runtime.accept_job(now, request, JobAccepted::new(JobId::from("job_1"), submit.agent, now.wall))?;
            }
            RuntimeEvent::ListJobs { request, query } => self.answer_query(request, &query)?,
            other => self.printer.note(self.now, "runtime", &format!("{other:?}")),
        }
        Ok(())
    }

    /// Four jobs, newest first; the cursor is the place to go on from. A real one survives inserts and removals.
    fn answer_query(&mut self, request: RequestId, query: &JobQuery) -> Outcome {
        let (runtime, now) = self.runtime()?;
        let from: u32 = query.cursor.as_deref().unwrap_or("0").parse()?;
        let to = (from + u32::try_from(query.page_len())?).min(4);
        let job = |n: u32| {
            let id = JobId::from(format!("job_{}", 4 - n));
            JobEntry::new(id, "code-refactor@2.0.0", JobStatus::Running, now.wall)
        };
        let page = JobPage { jobs: (from..to).map(job).collect(), next_cursor: (to < 4).then(|| to.to_string()) };
        Ok(runtime.respond_jobs(now, request, page)?)
    }

    fn list_jobs(&mut self, query: JobQuery) -> Outcome {
        self.client.list_jobs(self.now, &query)?;
        Ok(())
    }

    /// Emits events of the job until the window is full; says whether it is not.
    fn emit(&mut self, count: u32) -> Outcome<bool> {
        for _ in 0..count {
            let (runtime, now) = self.runtime()?;
            let message = format!("line {}", runtime.last_event_seq() + 1);
            let log = Log { level: "info".into(), message };
            match runtime.send_event(now, &JobId::from("job_1"), kind::LOG, &log) {
                Ok(_) => {}
                Err(SendError::Blocked) => {
                    self.printer.note(self.now, "runtime", "send_event: Err(Blocked)");
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// The transport breaks; what is on its way is lost.
    fn cut(&mut self) {
        let _ = self.exchange();
        self.printer.note(
            self.now,
            "link",
            &format!("cut, {} frames lost", self.to_client.len() + self.to_runtime.len()),
        );
        self.to_client.clear();
        self.to_runtime.clear();
        self.is_open = false;
        self.client.handle_disconnect(self.now);
        if let Some(runtime) = &mut self.runtime {
            runtime.handle_disconnect(self.now);
        }
    }

    /// A frame that our client would never send.
    fn smuggle_subscribe(&mut self) -> Outcome {
        let mut header = Header::new("msg_by_hand", MessageType::JobSubscribe);
        header.session_id = Some("sess_1");
        header.job_id = Some("job_1");
        let subscribe = JobSubscribe { job_id: Some(JobId::from("job_1")), from_event_seq: None, history: None };
        let frame = encode(&header, &subscribe)?;
        self.printer.frame(self.now, "c→r", &frame);
        self.to_runtime.push_back((self.now.mono + LATENCY, frame));
        Ok(())
    }
}

struct Printer {
    as_json: bool,
    text: String,
}

impl Printer {
    fn chapter(&mut self, title: &str) {
        if !self.as_json {
            let _ = writeln!(self.text, "\n# {title}");
        }
    }

    fn note(&mut self, now: Now, who: &str, text: &str) {
        if !self.as_json {
            let _ = writeln!(self.text, "{:>9.3}s   ·  {who}: {text}", now.mono.as_duration().as_secs_f64());
        }
    }

    fn frame(&mut self, now: Now, direction: &str, frame: &Bytes) {
        if self.as_json {
            let _ = writeln!(self.text, "{}", String::from_utf8_lossy(frame));
        } else if let Ok(envelope) = Envelope::decode(frame.clone()) {
            let at = now.mono.as_duration().as_secs_f64();
            let _ = writeln!(self.text, "{at:>9.3}s  {direction} {:<18} {}", envelope.type_name(), telling(&envelope));
        }
    }
}

/// The few fields that matter, none of them secret.
fn telling(envelope: &Envelope) -> String {
    let payload: Value = envelope.payload().unwrap_or_default();
    let mut told = Vec::new();
    if let Some(seq) = envelope.event_seq() {
        told.push(format!("#{seq}"));
    }
    let pointers = [
        "/client/name",
        "/runtime/name",
        "/resume/last_event_seq",
        "/resume_window_sec",
        "/heartbeat_interval_sec",
        "/capabilities/features",
        "/last_processed_seq",
        "/nonce",
        "/ping_nonce",
        "/agent",
        "/job_id",
        "/limit",
        "/cursor",
        "/next_cursor",
        "/kind",
        "/body/phase",
        "/body/message",
        "/final_status",
        "/result",
        "/code",
        "/message",
        "/reason",
    ];
    for pointer in pointers {
        let name = pointer.rsplit('/').next().unwrap_or(pointer);
        match payload.pointer(pointer) {
            Some(Value::String(text)) => told.push(format!("{name}={text:?}")),
            Some(Value::Array(list)) if name == "features" => told.push(format!("features={}", list.len())),
            Some(other) => told.push(format!("{name}={other}")),
            None => {}
        }
    }
    if let Some(Value::Array(jobs)) = payload.get("jobs") {
        told.push(format!("jobs={}", jobs.len()));
    }
    told.join(" ")
}
