//! A session at rest costs nothing: its polls allocate nothing, however much is buffered. Every allocation of the
//! thread is counted.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arcp_proto::wire::{Credentials, Envelope, JobId, PeerInfo, Principal, ResumeToken, SessionId};
use arcp_proto::{
    Client, ClientConfig, ClientEvent, FeatureSet, Grant, Instant, Now, Opening, Phase, Role, Runtime, RuntimeConfig,
    Session, Timestamp,
};
use bytes::Bytes;
use serde_json::json;

#[path = "../benches/heap/mod.rs"]
mod heap;

/// How often `run` allocates.
fn allocations<T>(run: impl FnOnce() -> T) -> u64 {
    let before = heap::allocations();
    let result = black_box(run());
    let after = heap::allocations();
    drop(result);
    (after - before) as u64
}

const BUFFERED: [u64; 3] = [0, 1_000, 10_000];

fn start() -> Now {
    Now::new(Instant::from_millis(1_000_000), Timestamp::from_unix_millis(1_778_701_333_000))
}

fn job() -> JobId {
    JobId::from("job_1")
}

/// A runtime's session that keeps so many events, all of them sent and none acknowledged.
fn runtime(buffered: u64) -> Session<Runtime> {
    let config =
        RuntimeConfig { back_pressure_threshold: u64::MAX, ..RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0")) };
    let payload = json!({
        "client": {"name": "hand", "version": "1"}, "auth": {"scheme": "bearer", "token": "secret-bearer"},
        "capabilities": {"encodings": ["json"], "features": FeatureSet::all()},
    });
    let hello = json!({"id": "h", "type": "session.hello", "payload": payload}).to_string();
    let Ok(Opening::Hello(hello)) = Opening::parse(hello.into(), &config.limits) else { panic!("no hello") };
    let grant = Grant {
        principal: Principal::from("alice"),
        session_id: SessionId::from("sess_1"),
        resume_token: ResumeToken::new("rt_00000000000000000000000000000001"),
        agents: Arc::from([]),
    };
    let mut session = hello.accept(start(), Arc::new(config), grant);
    for _ in 0..buffered {
        session.send_event(start(), &job(), "log", &json!({"level": "info", "message": "…"})).unwrap();
    }
    drain(&mut session);
    assert_eq!(session.replay_len().0 as u64, buffered);
    session
}

fn event(seq: u64) -> Bytes {
    let payload = json!({"kind": "log", "ts": "2026-05-13T19:42:13.000Z", "body": {"level": "info", "message": "…"}});
    let event = json!({
        "arcp": "1.1", "id": format!("e{seq}"), "type": "job.event", "session_id": "sess_1", "job_id": "job_1",
        "event_seq": seq, "payload": payload,
    });
    event.to_string().into()
}

/// A client's session that has received so many events, 50 more waiting for one before them.
fn client(received: u64) -> Session<Client> {
    let mut session = client_of(received);
    for seq in received + 2..received + 52 {
        session.handle_input(start(), event(seq));
    }
    drain(&mut session);
    assert_eq!((session.phase(), session.last_event_seq()), (Phase::Open, received));
    session
}

/// A client's session that has received so many events.
fn client_of(received: u64) -> Session<Client> {
    let config = ClientConfig::new(PeerInfo::new("my-app", "1.0.0"), Credentials::bearer("secret-bearer"));
    let mut session = Session::connect(start(), config);
    let welcome = json!({
        "id": "w", "type": "session.welcome", "session_id": "sess_1",
        "payload": {
            "runtime": {"name": "hand", "version": "1"}, "resume_token": "rt_first", "resume_window_sec": 600,
            "heartbeat_interval_sec": 30, "capabilities": {"encodings": ["json"], "features": FeatureSet::all()},
        },
    });
    drain(&mut session);
    session.handle_input(start(), welcome.to_string().into());
    for seq in 1..=received {
        session.handle_input(start(), event(seq));
    }
    drain(&mut session);
    session
}

fn drain<R: Role>(session: &mut Session<R>) {
    while session.poll_transmit(start()).is_some() {}
    while session.poll_event().is_some() {}
}

fn assert_idle_is_free<R: Role>(session: &mut Session<R>, what: &str) {
    let soon = start().after(Duration::from_millis(10));
    let polls = allocations(|| {
        for _ in 0..100 {
            assert!(session.poll_transmit(soon).is_none());
            assert!(session.poll_event().is_none());
            black_box(session.poll_timeout());
            black_box(session.timeout_reason());
            black_box(session.wants_input());
        }
    });
    assert_eq!(polls, 0, "{what}: polling");
    let early = allocations(|| {
        for _ in 0..100 {
            session.handle_timeout(soon);
            session.handle_activity(soon);
        }
    });
    assert_eq!(early, 0, "{what}: calls with nothing to do");
}

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| Box::new(7)), 1);
    assert_eq!(allocations(|| black_box(7) + 1), 0);
}

#[test]
fn the_polls_of_an_idle_runtime_allocate_nothing() {
    for buffered in BUFFERED {
        assert_idle_is_free(&mut runtime(buffered), &format!("{buffered} events"));
    }
}

#[test]
fn the_polls_of_an_idle_client_allocate_nothing() {
    for received in BUFFERED {
        assert_idle_is_free(&mut client(received), &format!("{received} events"));
    }
}

#[test]
fn the_polls_of_a_detached_session_allocate_nothing() {
    for buffered in BUFFERED {
        let mut runtime = runtime(buffered);
        runtime.handle_disconnect(start());
        drain(&mut runtime);
        assert_idle_is_free(&mut runtime, "runtime");
        let mut client = client(buffered);
        client.handle_disconnect(start());
        drain(&mut client);
        assert_idle_is_free(&mut client, "client");
    }
}

fn envelopes() -> Vec<Bytes> {
    let long = "x".repeat(64 << 10);
    vec![
        event(1),
        json!({"type": "session.ping", "id": "p", "payload": {"nonce": "n"}}).to_string().into(),
        json!({"type": "session.bye"}).to_string().into(),
        json!({"arcp": "1.1", "id": "c", "type": "job.event", "event_seq": 7, "extra": [1, {"a": null}], "payload": {
            "kind": "result_chunk", "body": {"data": long},
        }})
        .to_string()
        .into(),
    ]
}

#[test]
fn decoding_an_envelope_allocates_nothing() {
    for frame in envelopes() {
        let given = frame.clone();
        let decoded = allocations(|| Envelope::decode(given).unwrap());
        assert_eq!(decoded, 0, "{frame:?}");
    }
}

#[test]
fn the_header_of_an_envelope_is_read_without_allocating() {
    for frame in envelopes() {
        let envelope = Envelope::decode(frame).unwrap();
        let read = allocations(|| {
            black_box((envelope.id(), envelope.type_name(), envelope.message_type(), envelope.session_id()));
            black_box((envelope.job_id(), envelope.event_seq(), envelope.event_kind(), envelope.trace_id()));
            black_box(envelope.payload_text().len());
        });
        assert_eq!(read, 0, "{envelope:?}");
    }
}

#[test]
fn an_event_on_its_whole_way_costs_next_to_no_allocation() {
    let (mut runtime, mut client, job) = (runtime(0), client_of(0), job());
    let body = json!({"level": "info", "message": "something that an agent has to say, of an ordinary length"});
    let events = 20_000;
    let mut acks = 0;
    let cost = allocations(|| {
        for _ in 0..events {
            runtime.send_event(start(), &job, "log", &body).unwrap();
            client.handle_input(start(), runtime.poll_transmit(start()).unwrap());
            let Some(ClientEvent::Event(event)) = client.poll_event() else { panic!("no event") };
            client.mark_processed(start(), event.seq().unwrap()).unwrap();
            if let Some(ack) = client.poll_transmit(start()) {
                acks += 1;
                runtime.handle_input(start(), ack);
            }
        }
    });
    assert_eq!((runtime.acked_seq(), acks), (events, events / 500));
    let cost = cost as f64 / events as f64;
    assert!(cost <= 0.05, "{cost} allocations an event");
}
