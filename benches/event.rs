//! What one event costs on its way: from a runtime's call to the bytes for its transport, and on to a client's mark.
//!
//! Time: `cargo bench --bench event`. Allocations: `cargo bench --bench event -- --allocations`. Instructions, which do not
//! depend on the machine's mood, are counted by valgrind over so many runs of the function whose name begins with
//! `counted_`:
//!
//! ```text
//! cargo bench --bench event --no-run --message-format short
//! for what in to_vec decode endpoint endpoint-ack session session-of-two session-ack encode receive whole idle; do
//!     valgrind --tool=callgrind --toggle-collect='*counted_*' target/release/deps/event-<hash> --once $what 20000
//! done
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[allow(dead_code)]
mod heap;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arcp_proto::endpoint::{ConnId, Endpoint, EndpointConfig, EndpointEvent};
use arcp_proto::wire::job_event::{Log, kind};
use arcp_proto::wire::{Credentials, Envelope, JobAccepted, JobId, PeerInfo, Principal, ResumeToken, SessionId};
use arcp_proto::{
    Client, ClientConfig, ClientEvent, Feature, FeatureSet, Grant, Instant, Now, Opening, Runtime, RuntimeConfig,
    Session, Timestamp,
};
use bytes::Bytes;
use criterion::{Criterion, Throughput};
use serde::Serialize;
use serde_json::json;

const START: Now = Now::new(Instant::from_millis(1_000_000), Timestamp::from_unix_millis(1_778_701_333_000));
const SESSION: &str = "sess_00000000000000000000000000000001";
const JOB: &str = "job_0000000000000001";

/// As many events pass between two acknowledgements as a client of ours lets pass.
const ACK_EVERY: u64 = 500;

/// The clock of a loop that reads it for every event: a millisecond goes by every few events.
fn at(n: u64) -> Now {
    START.after(Duration::from_nanos(n * 300_000))
}

fn log() -> Log {
    Log {
        level: "info".into(),
        message: "read 14 of 32 files, the next is src/session/runtime/send.rs: nothing odd".into(),
    }
}

fn features(ack: bool) -> FeatureSet {
    if ack { FeatureSet::all() } else { FeatureSet::all().without(Feature::Ack) }
}

fn runtime_config() -> RuntimeConfig {
    RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0"))
}

fn hello(ack: bool) -> Bytes {
    let payload = json!({
        "client": {"name": "my-app", "version": "1.0.0"}, "auth": {"scheme": "bearer", "token": "secret-bearer"},
        "capabilities": {"encodings": ["json"], "features": features(ack)},
    });
    json!({"id": "h", "type": "session.hello", "payload": payload}).to_string().into()
}

fn grant() -> Grant {
    Grant {
        principal: Principal::from("alice"),
        session_id: SessionId::from(SESSION),
        resume_token: ResumeToken::new("rt_00000000000000000000000000000001"),
        agents: Arc::from([]),
    }
}

fn ack_of(seq: u64) -> Bytes {
    let payload = json!({"last_processed_seq": seq});
    json!({"id": format!("a{seq}"), "type": "session.ack", "session_id": SESSION, "payload": payload})
        .to_string()
        .into()
}

/// A runtime's session with its client attached.
struct Emitter {
    session: Session<Runtime>,
    job: JobId,
    body: Log,
    n: u64,
}

impl Emitter {
    fn new(ack: bool) -> Emitter {
        let config = runtime_config();
        let Ok(Opening::Hello(hello)) = Opening::parse(hello(ack), &config.limits) else { panic!("no hello") };
        let mut session = hello.accept(START, Arc::new(config), grant());
        assert!(session.poll_transmit(START).is_some());
        Emitter { session, job: JobId::from(JOB), body: log(), n: 0 }
    }

    fn event(&mut self) -> Bytes {
        let now = at(self.n);
        self.n += 1;
        self.session.send_event(now, &self.job, kind::LOG, &self.body).unwrap();
        self.session.poll_transmit(now).unwrap()
    }

    fn acknowledge(&mut self) {
        self.session.handle_input(at(self.n), ack_of(self.session.last_event_seq()));
    }

    /// The replay buffer is at its limit.
    fn filled() -> Emitter {
        let mut emitter = Emitter::new(false);
        for _ in 0..10_001 {
            emitter.event();
        }
        assert_eq!(emitter.session.replay_len().0, 10_000);
        emitter
    }
}

/// An endpoint with one client, which has one job.
struct Publisher {
    endpoint: Endpoint,
    conn: ConnId,
    job: JobId,
    body: Log,
    n: u64,
}

impl Publisher {
    fn new(ack: bool) -> Publisher {
        let mut endpoint = Endpoint::new(EndpointConfig::new(runtime_config()));
        let conn = endpoint.connect(START);
        endpoint.handle_input(START, conn, hello(ack));
        endpoint.admit(START, conn, grant()).unwrap();
        while endpoint.poll_event().is_some() {}
        let submit = json!({"id": "s", "type": "job.submit", "payload": {"agent": "chatty", "input": {}}});
        endpoint.handle_input(START, conn, submit.to_string().into());
        let Some(EndpointEvent::Submit { request, .. }) = endpoint.poll_event() else { panic!("no submit") };
        let job = JobId::from(JOB);
        endpoint.accept_job(START, &request, JobAccepted::new(job.clone(), "chatty@1.0.0", START.wall)).unwrap();
        while endpoint.poll_transmit(START).is_some() {}
        Publisher { endpoint, conn, job, body: log(), n: 0 }
    }

    fn event(&mut self) -> (ConnId, Bytes) {
        let now = at(self.n);
        self.n += 1;
        self.endpoint.publish(now, &self.job, kind::LOG, &self.body).unwrap();
        self.endpoint.poll_transmit(now).unwrap()
    }

    fn acknowledge(&mut self) {
        self.endpoint.handle_input(at(self.n), self.conn, ack_of(self.n));
    }

    /// The replay buffer is at its limit.
    fn filled() -> Publisher {
        let mut publisher = Publisher::new(false);
        for _ in 0..10_001 {
            publisher.event();
        }
        publisher
    }
}

/// A client, which takes `features` from a runtime's session.
fn client(emitter: &mut Emitter) -> Session<Client> {
    let config = ClientConfig::new(PeerInfo::new("my-app", "1.0.0"), Credentials::bearer("secret-bearer"));
    let mut client = Session::connect(START, config);
    assert!(client.poll_transmit(START).is_some());
    let welcome = json!({
        "id": "w", "type": "session.welcome", "session_id": SESSION,
        "payload": {
            "runtime": {"name": "my-runtime", "version": "1"}, "resume_token": "rt_1", "resume_window_sec": 600,
            "heartbeat_interval_sec": 30, "capabilities": {"encodings": ["json"], "features": emitter.session.features()},
        },
    });
    client.handle_input(START, welcome.to_string().into());
    while client.poll_event().is_some() {}
    client
}

/// The client's part, acknowledgements included, which are given out.
fn take(client: &mut Session<Client>, now: Now, frame: Bytes) -> Option<Bytes> {
    client.handle_input(now, frame);
    let Some(ClientEvent::Event(delivery)) = client.poll_event() else { panic!("no event") };
    client.mark_processed(now, delivery.seq().unwrap()).unwrap();
    client.poll_transmit(now)
}

#[derive(Serialize)]
struct Whole<'a> {
    arcp: &'a str,
    id: &'a str,
    #[serde(rename = "type")]
    name: &'a str,
    session_id: &'a str,
    job_id: &'a str,
    event_seq: u64,
    payload: Payload<'a>,
}

#[derive(Serialize)]
struct Payload<'a> {
    kind: &'a str,
    ts: &'a str,
    body: &'a Log,
}

/// What a runtime would write if all of it stood ready.
fn whole<'a>(body: &'a Log, seq: u64) -> Whole<'a> {
    let payload = Payload { kind: kind::LOG, ts: "2026-05-13T19:42:13.000Z", body };
    let name = "job.event";
    Whole { arcp: "1.1", id: "msg_r1_123456", name, session_id: SESSION, job_id: JOB, event_seq: seq, payload }
}

#[inline(never)]
fn counted_to_vec(count: u64) {
    let body = log();
    for n in 0..count {
        black_box(serde_json::to_vec(black_box(&whole(&body, n + 100_000))).unwrap());
    }
}

#[inline(never)]
fn counted_decode(frames: &[Bytes]) {
    for frame in frames {
        black_box(Envelope::decode(frame.clone()).unwrap());
    }
}

#[inline(never)]
fn counted_endpoint(publisher: &mut Publisher, count: u64) {
    for _ in 0..count {
        black_box(publisher.event());
    }
}

#[inline(never)]
fn counted_endpoint_acked(publisher: &mut Publisher, count: u64) {
    for n in 1..=count {
        black_box(publisher.event());
        if n % ACK_EVERY == 0 {
            publisher.acknowledge();
        }
    }
}

#[inline(never)]
fn counted_session(emitter: &mut Emitter, count: u64) {
    for _ in 0..count {
        black_box(emitter.event());
    }
}

#[inline(never)]
fn counted_session_acked(emitter: &mut Emitter, count: u64) {
    for n in 1..=count {
        black_box(emitter.event());
        if n % ACK_EVERY == 0 {
            emitter.acknowledge();
        }
    }
}

/// Of two jobs in turn.
#[inline(never)]
fn counted_session_of_two(emitter: &mut Emitter, count: u64) {
    let mut other = JobId::from("job_0000000000000002");
    for _ in 0..count {
        std::mem::swap(&mut emitter.job, &mut other);
        black_box(emitter.event());
    }
}

/// Into the replay buffer and no further.
#[inline(never)]
fn counted_encode(emitter: &mut Emitter, count: u64) {
    for n in 0..count {
        black_box(emitter.session.send_event(at(n), &emitter.job, kind::LOG, &emitter.body).unwrap());
    }
}

#[inline(never)]
fn counted_receive(client: &mut Session<Client>, frames: &[Bytes]) {
    for (n, frame) in frames.iter().enumerate() {
        black_box(take(client, at(n as u64), frame.clone()));
    }
}

#[inline(never)]
fn counted_whole(emitter: &mut Emitter, client: &mut Session<Client>, count: u64) {
    for _ in 0..count {
        let frame = emitter.event();
        let now = at(emitter.n);
        if let Some(ack) = take(client, now, frame) {
            emitter.session.handle_input(now, ack);
        }
    }
}

/// The three polls with nothing to do.
#[inline(never)]
fn counted_idle(session: &mut Session<Runtime>, now: Now, count: u64) {
    for _ in 0..count {
        black_box(session.poll_transmit(now));
        black_box(session.poll_event());
        black_box(session.poll_timeout());
    }
}

fn buffered(events: usize) -> Emitter {
    let mut emitter = Emitter::new(false);
    emitter.body.message = "…".into();
    for _ in 0..events {
        emitter.event();
    }
    emitter
}

fn frames(ack: bool, count: u64) -> (Vec<Bytes>, Session<Client>) {
    let mut emitter = Emitter::new(ack);
    let mut frames = Vec::new();
    let client = client(&mut emitter);
    for n in 1..=count {
        frames.push(emitter.event());
        if ack && n % ACK_EVERY == 0 {
            emitter.acknowledge();
        }
    }
    (frames, client)
}

fn run_once(what: &str, count: u64) {
    match what {
        "to_vec" => counted_to_vec(count),
        "decode" => counted_decode(&frames(true, count).0),
        "endpoint" => counted_endpoint(&mut Publisher::filled(), count),
        "endpoint-ack" => counted_endpoint_acked(&mut Publisher::new(true), count),
        "session" => counted_session(&mut Emitter::filled(), count),
        "session-of-two" => counted_session_of_two(&mut Emitter::filled(), count),
        "session-ack" => counted_session_acked(&mut Emitter::new(true), count),
        // The replay buffer takes so many.
        "encode" => counted_encode(&mut Emitter::new(true), count.min(1_000)),
        "receive" => {
            let (frames, mut client) = frames(true, count);
            counted_receive(&mut client, &frames);
        }
        "whole" => {
            let mut emitter = Emitter::new(true);
            let mut client = client(&mut emitter);
            counted_whole(&mut emitter, &mut client, count);
        }
        "idle" => counted_idle(&mut buffered(0).session, at(0), count),
        "idle-10000" => counted_idle(&mut buffered(10_000).session, at(10_000), count),
        other => panic!("--once takes no {other}"),
    }
}

fn allocations() {
    let count = 100_000;
    let report = |what: &str, run: &mut dyn FnMut()| {
        let before = heap::allocations();
        run();
        println!("{what}: {:.4} allocations an event", (heap::allocations() - before) as f64 / count as f64);
    };
    let mut publisher = Publisher::filled();
    report("endpoint", &mut || counted_endpoint(&mut publisher, count));
    let mut publisher = Publisher::new(true);
    report("endpoint-ack", &mut || counted_endpoint_acked(&mut publisher, count));
    let mut emitter = Emitter::filled();
    report("session", &mut || counted_session(&mut emitter, count));
    let mut emitter = Emitter::new(true);
    let mut client = client(&mut emitter);
    report("whole", &mut || counted_whole(&mut emitter, &mut client, count));
}

fn time_all(criterion: &mut Criterion) {
    let body = log();
    let (mut sent, _) = frames(false, 1);
    let frame = sent.remove(0);
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Elements(1));
    println!("a frame has {} bytes", frame.len());
    group.bench_function("floor/to_vec", |b| b.iter(|| serde_json::to_vec(black_box(&whole(&body, 100_000))).unwrap()));
    group.bench_function("floor/decode", |b| b.iter(|| Envelope::decode(black_box(&frame).clone()).unwrap()));
    let mut publisher = Publisher::filled();
    group.bench_function("endpoint", |b| b.iter(|| publisher.event()));
    let mut publisher = Publisher::new(true);
    group.bench_function("endpoint-ack", |b| {
        b.iter(|| {
            let sent = publisher.event();
            if publisher.n.is_multiple_of(ACK_EVERY) {
                publisher.acknowledge();
            }
            sent
        });
    });
    let mut emitter = Emitter::filled();
    group.bench_function("session", |b| b.iter(|| emitter.event()));
    let mut emitter = Emitter::new(true);
    let mut client = client(&mut emitter);
    group.bench_function("whole", |b| b.iter(|| counted_whole(&mut emitter, &mut client, 1)));
    for events in [0, 1_000, 10_000] {
        let mut emitter = buffered(events);
        let now = at(emitter.n);
        group.bench_function(format!("idle/{events}"), |b| b.iter(|| counted_idle(&mut emitter.session, now, 1)));
    }
    group.finish();
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--once") {
        return run_once(&args[at + 1], args[at + 2].parse().expect("a number of events"));
    }
    if args.iter().any(|arg| arg == "--allocations") {
        return allocations();
    }
    let mut criterion = Criterion::default()
        .configure_from_args()
        .without_plots()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30);
    time_all(&mut criterion);
    criterion.final_summary();
}
