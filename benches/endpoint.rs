//! What one endpoint with many sessions costs: memory at rest, the sessions that are due, one resume, one event to many.
//!
//! Time: `cargo bench --bench endpoint`. Memory: `cargo bench --bench endpoint -- --bytes 100000`, which counts what is on
//! the heap. Allocations of a publish: `cargo bench --bench endpoint -- --allocations`. Instructions, which do not depend
//! on the machine's mood, are counted by valgrind in one run of the function whose name begins with `counted_`:
//!
//! ```text
//! cargo bench --bench endpoint --no-run --message-format short
//! for what in "timeout 1000" "timeout 1000000" "resume 10" "resume 1000000" "publish 1000"; do
//!     valgrind --tool=callgrind --toggle-collect='*counted_*' target/release/deps/endpoint-<hash> --once $what
//! done
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod heap;
mod timing;

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arcp_proto::endpoint::{ConnId, Endpoint, EndpointConfig, EndpointEvent, Published, Receipt};
use arcp_proto::wire::{JobAccepted, JobId, PeerInfo, Principal, ResumeToken, SessionId};
use arcp_proto::{Grant, Instant, Now, RuntimeConfig, Timestamp};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use serde::{Serialize, Serializer};

const START: Now = Now::new(Instant::from_millis(1_000_000), Timestamp::from_unix_millis(1_778_701_333_000));

fn after(by: Duration) -> Now {
    START.after(by)
}

fn endpoint() -> Endpoint {
    let runtime = RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0"));
    let many = 2_000_000;
    Endpoint::new(EndpointConfig {
        sessions: many,
        sessions_per_principal: many,
        parked_sessions: many,
        audit_records: 0,
        ..EndpointConfig::new(runtime)
    })
}

/// Every session has its own principal, id and token: nothing is shared that need not be.
fn grant(n: usize, token: u64) -> Grant {
    Grant {
        principal: Principal::from(format!("user-{n:08}")),
        session_id: SessionId::from(format!("sess_{n:032x}")),
        resume_token: ResumeToken::new(format!("rt_{n:032x}{token:032x}")),
        agents: Arc::from([]),
    }
}

fn hello(resume: Option<(usize, u64)>) -> Bytes {
    let mut payload = serde_json::json!({
        "client": {"name": "my-app", "version": "1.0.0"},
        "auth": {"scheme": "bearer", "token": "secret-bearer"},
        "capabilities": {"encodings": ["json"], "features": arcp_proto::FeatureSet::all()},
    });
    if let Some((n, token)) = resume {
        payload["resume_token"] = format!("rt_{n:032x}{token:032x}").into();
        payload["last_event_seq"] = 0.into();
    }
    let hello = serde_json::json!({"arcp": "1.1", "id": "h", "type": "session.hello", "payload": payload});
    hello.to_string().into()
}

fn message(session: usize, name: &str, payload: serde_json::Value) -> Bytes {
    let session_id = format!("sess_{session:032x}");
    let id = format!("{name}-{session}");
    serde_json::json!({"arcp": "1.1", "id": id, "type": name, "session_id": session_id, "payload": payload})
        .to_string()
        .into()
}

fn drain(endpoint: &mut Endpoint, now: Now) {
    while endpoint.poll_transmit(now).is_some() {}
    while endpoint.poll_event().is_some() {}
    while endpoint.poll_close().is_some() {}
}

/// Whoever is sent a ping shows that it lives.
fn answer(endpoint: &mut Endpoint, now: Now) {
    while let Some((conn, _)) = endpoint.poll_transmit(now) {
        endpoint.handle_activity(now, conn);
    }
}

fn open(endpoint: &mut Endpoint, now: Now, n: usize, hello: &Bytes) -> ConnId {
    let conn = endpoint.connect(now);
    endpoint.handle_input(now, conn, hello.clone());
    endpoint.admit(now, conn, grant(n, 0)).unwrap();
    drain(endpoint, now);
    conn
}

/// So many sessions at rest, opened one after the other within 20 s: no two are due at one moment.
fn at_rest(count: usize) -> (Endpoint, Vec<ConnId>) {
    let mut endpoint = endpoint();
    let hello = hello(None);
    let conns = (0..count).map(|n| open(&mut endpoint, after(opened_at(n, count)), n, &hello)).collect();
    (endpoint, conns)
}

fn opened_at(n: usize, count: usize) -> Duration {
    Duration::from_nanos(20_000_000_000 / count as u64 * n as u64)
}

const DUE: usize = 100;

/// The pings of the first hundred.
#[inline(never)]
fn counted_timeout(endpoint: &mut Endpoint, now: Now) {
    endpoint.handle_timeout(now);
}

fn when_due(count: usize) -> Now {
    after(Duration::from_secs(30) + opened_at(DUE - 1, count))
}

/// From the first message on a new transport to the last of what is sent for it.
#[inline(never)]
fn counted_resume(endpoint: &mut Endpoint, now: Now, hello: Bytes, grant: Grant) -> usize {
    let conn = endpoint.connect(now);
    endpoint.handle_input(now, conn, hello);
    endpoint.admit(now, conn, grant).unwrap();
    std::iter::from_fn(|| endpoint.poll_transmit(now)).count()
}

/// The session in the middle has lost its transport.
fn one_parked(count: usize) -> (Endpoint, Now, Bytes, Grant) {
    let (mut endpoint, conns) = at_rest(count);
    let (n, now) = (count / 2, after(Duration::from_secs(25)));
    endpoint.handle_disconnect(now, conns[n]);
    drain(&mut endpoint, now);
    (endpoint, now, hello(Some((n, 0))), grant(n, 1))
}

/// Counts how often it is written.
struct Body(Cell<usize>);

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.set(self.0.get() + 1);
        #[derive(Serialize)]
        struct Log {
            level: &'static str,
            message: &'static str,
        }
        Log { level: "info", message: "something that an agent has to say, of an ordinary length" }
            .serialize(serializer)
    }
}

#[inline(never)]
fn counted_publish(endpoint: &mut Endpoint, now: Now, job: &JobId, body: &Body) -> Published {
    endpoint.publish(now, job, "log", body).unwrap()
}

/// One submitter, and so many others that are subscribed to its job.
fn audience(count: usize) -> (Endpoint, JobId) {
    struct Everybody;
    impl arcp_proto::endpoint::Policy for Everybody {
        fn scope(&self, _: &Principal) -> arcp_proto::endpoint::Scope {
            arcp_proto::endpoint::Scope::All
        }
    }
    let (endpoint, conns) = at_rest(count + 1);
    let mut endpoint = endpoint.with_policy(Everybody);
    let now = after(Duration::from_secs(21));
    let job = JobId::from("job_1");
    let submit = serde_json::json!({"agent": "code-refactor", "input": {}});
    endpoint.handle_input(now, conns[0], message(0, "job.submit", submit));
    let Some(EndpointEvent::Submit { request, .. }) = endpoint.poll_event() else { panic!("no submit") };
    endpoint.accept_job(now, &request, JobAccepted::new(job.clone(), "code-refactor@1.0.0", now.wall)).unwrap();
    for (n, conn) in conns.iter().enumerate().skip(1) {
        let subscribe = serde_json::json!({"job_id": job});
        endpoint.handle_input(now, *conn, message(n, "job.subscribe", subscribe));
    }
    drain(&mut endpoint, now);
    (endpoint, job)
}

/// What a session at rest takes of the heap, all that the endpoint keeps for it included.
pub(crate) fn bytes_at_rest(count: usize) -> usize {
    let before = heap::bytes();
    let (endpoint, conns) = at_rest(count);
    let used = heap::bytes().wrapping_sub(before) - conns.capacity() * size_of::<ConnId>();
    assert_eq!((endpoint.session_count(), endpoint.connection_count()), (count, (count, 0)));
    used / count
}

pub(crate) struct PublishCosts {
    pub(crate) events: usize,
    /// How often the bodies were written, all together.
    pub(crate) written: usize,
    /// Allocations for each event and receiver: to publish it, and until it is sent.
    pub(crate) to_publish: f64,
    pub(crate) until_sent: f64,
}

/// Over many events, for buffers grow now and then.
pub(crate) fn publish_costs(subscribers: usize, events: usize) -> PublishCosts {
    let (mut endpoint, job) = audience(subscribers);
    let now = after(Duration::from_secs(22));
    let body = Body(Cell::new(0));
    let before = heap::allocations();
    let mut in_publish = 0;
    for _ in 0..events {
        let before = heap::allocations();
        let published = counted_publish(&mut endpoint, now, &job, &body);
        in_publish += heap::allocations() - before;
        assert_eq!((published.subscribers, published.skipped), (subscribers, 0));
        assert!(matches!(published.submitter, Receipt::Recorded(_)));
        drain(&mut endpoint, now);
    }
    let all = heap::allocations() - before;
    let each = ((subscribers + 1) * events) as f64;
    PublishCosts { events, written: body.0.get(), to_publish: in_publish as f64 / each, until_sent: all as f64 / each }
}

fn run_once(what: &str, count: usize) {
    match what {
        "timeout" => {
            let (mut endpoint, _) = at_rest(count);
            let now = when_due(count);
            counted_timeout(black_box(&mut endpoint), black_box(now));
            let pings = std::iter::from_fn(|| endpoint.poll_transmit(now)).count();
            println!("{pings} of {count} sessions were due");
            assert_eq!(pings, DUE);
        }
        "resume" => {
            let (mut endpoint, now, hello, grant) = one_parked(count);
            assert_eq!(counted_resume(black_box(&mut endpoint), now, hello, grant), 1);
        }
        "publish" => {
            let (mut endpoint, job) = audience(count);
            let body = Body(Cell::new(0));
            counted_publish(black_box(&mut endpoint), after(Duration::from_secs(22)), &job, &body);
            assert_eq!(body.0.get(), 1);
        }
        other => panic!("--once takes `timeout`, `resume` or `publish`, not {other}"),
    }
}

fn time_all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("endpoint");
    for count in [1_000, 1_000_000] {
        let (endpoint, _) = at_rest(count);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("poll_timeout/{count}"), |b| {
            b.iter(|| black_box(&endpoint).poll_timeout());
        });
        // Every session pings every 30 s, so there are as many due in each stretch of the same length.
        let (endpoint, now) = (RefCell::new(endpoint), Cell::new(when_due(count)));
        let stretch = opened_at(DUE, count);
        group.throughput(Throughput::Elements(DUE as u64));
        group.bench_function(format!("timeout_of_{DUE}/{count}"), |b| {
            b.iter_batched(
                || {
                    answer(&mut endpoint.borrow_mut(), now.get());
                    now.set(now.get().after(stretch));
                },
                |()| endpoint.borrow_mut().handle_timeout(now.get()),
                BatchSize::PerIteration,
            );
        });
    }
    for count in [10, 1_000_000] {
        let (mut endpoint, mut conns) = at_rest(count);
        let (n, mut token) = (count / 2, 0);
        let now = after(Duration::from_secs(25));
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("resume/{count}"), |b| {
            b.iter(|| {
                let hello = hello(Some((n, token)));
                token += 1;
                let sent = counted_resume(&mut endpoint, now, hello, grant(n, token));
                drain(&mut endpoint, now);
                sent
            });
        });
        conns.clear();
    }
    let (mut endpoint, job) = audience(1_000);
    let body = Body(Cell::new(0));
    let now = after(Duration::from_secs(22));
    // What one publish sends to all of them.
    counted_publish(&mut endpoint, now, &job, &body);
    let bytes = std::iter::from_fn(|| endpoint.poll_transmit(now)).map(|(_, frame)| frame.len() as u64).sum();
    group.throughput(Throughput::ElementsAndBytes { elements: 1_001, bytes });
    group.bench_function("publish_to_1001", |b| {
        b.iter(|| {
            let published = counted_publish(&mut endpoint, now, &job, &body);
            drain(&mut endpoint, now);
            published
        });
    });
    group.finish();
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize| args[at].parse().expect("a number of sessions");
    if let Some(at) = args.iter().position(|arg| arg == "--once") {
        return run_once(&args[at + 1], number(at + 2));
    }
    if let Some(at) = args.iter().position(|arg| arg == "--bytes") {
        let count = number(at + 1);
        println!("{count} sessions at rest: {} bytes each on the heap", bytes_at_rest(count));
        return;
    }
    if args.iter().any(|arg| arg == "--allocations") {
        let costs = publish_costs(1_000, 2_000);
        println!(
            "{} events to 1 submitter and 1000 subscribers: written {} times; {:.3} allocations a receiver to publish, {:.3} \
             until it is sent",
            costs.events, costs.written, costs.to_publish, costs.until_sent,
        );
        return;
    }
    let mut criterion = timing::criterion(2, 30);
    time_all(&mut criterion);
    criterion.final_summary();
}
