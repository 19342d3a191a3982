//! What one event costs on its way: from a runtime's call to the bytes for its transport, and on to a client's mark.
//!
//! Time: `cargo bench --bench event`. Allocations: `cargo bench --bench event -- --allocations`. Instructions, which do not
//! depend on the machine's mood, are counted by valgrind over so many runs of the function whose name begins with
//! `counted_`:
//!
//! ```text
//! cargo bench --bench event --no-run --message-format short
//! for what in decode endpoint endpoint-ack session session-of-two session-ack receive whole; do
//!     valgrind --tool=callgrind --toggle-collect='*counted_*' target/release/deps/event-<hash> --once $what 20000
//! done
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod emitter;
mod heap;
mod timing;

use std::hint::black_box;

use arcp_proto::endpoint::{ConnId, Endpoint, EndpointConfig, EndpointEvent};
use arcp_proto::wire::job_event::{Log, kind};
use arcp_proto::wire::{Envelope, JobAccepted, JobId};
use arcp_proto::{Client, Session};
use bytes::Bytes;
use criterion::{Criterion, Throughput};
use emitter::{
    ACK_EVERY, Emitter, JOB, START, ack_of, at, client, counted_send, counted_whole, grant, hello, log, runtime_config,
    take,
};
use serde_json::json;

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

/// Of two jobs in turn.
#[inline(never)]
fn counted_session_of_two(emitter: &mut Emitter, count: u64) {
    let mut other = JobId::from("job_0000000000000002");
    for _ in 0..count {
        std::mem::swap(&mut emitter.job, &mut other);
        black_box(emitter.event());
    }
}

#[inline(never)]
fn counted_receive(client: &mut Session<Client>, frames: &[Bytes]) {
    for (n, frame) in frames.iter().enumerate() {
        black_box(take(client, at(n as u64), frame.clone()));
    }
}

fn frames(ack: bool, count: u64) -> (Vec<Bytes>, Session<Client>) {
    let mut emitter = Emitter::new(ack);
    let mut frames = Vec::new();
    let client = client(emitter.session.features());
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
        "decode" => counted_decode(&frames(true, count).0),
        "endpoint" => counted_endpoint(&mut Publisher::filled(), count),
        "endpoint-ack" => counted_endpoint_acked(&mut Publisher::new(true), count),
        "session" => counted_session(&mut Emitter::filled(), count),
        "session-of-two" => counted_session_of_two(&mut Emitter::filled(), count),
        "session-ack" => counted_send(&mut Emitter::new(true), count),
        "receive" => {
            let (frames, mut client) = frames(true, count);
            counted_receive(&mut client, &frames);
        }
        "whole" => {
            let mut emitter = Emitter::new(true);
            let mut client = client(emitter.session.features());
            counted_whole(&mut emitter, &mut client, count);
        }
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
    let mut client = client(emitter.session.features());
    report("whole", &mut || counted_whole(&mut emitter, &mut client, count));
}

fn time_all(criterion: &mut Criterion) {
    let (mut sent, _) = frames(false, 1);
    let frame = sent.remove(0);
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes: frame.len() as u64 });
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
    let mut client = client(emitter.session.features());
    group.bench_function("whole", |b| b.iter(|| counted_whole(&mut emitter, &mut client, 1)));
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
    let mut criterion = timing::criterion(2, 30);
    time_all(&mut criterion);
    criterion.final_summary();
}
