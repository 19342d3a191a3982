//! What must be the same whichever way it is done: bytes split otherwise, a session restored, drained now or later.

use std::sync::Arc;
use std::time::Duration;

use arcp_proto::framing::{LineDecoder, finish_line};
use arcp_proto::wire::{Credentials, JobId, PeerInfo, Principal, ResumeToken, SessionId};
use arcp_proto::{
    AckPolicy, Client, ClientConfig, ClientSnapshot, Grant, Instant, Now, Opening, Role, Runtime, RuntimeConfig,
    Session, Timestamp,
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::dice::Dice;
use super::hostile;

fn now(millis: u64) -> Now {
    let wall = Timestamp::from_unix_millis(1_778_701_333_000 + millis as i64);
    Now::new(Instant::from_millis(1_000_000 + millis), wall)
}

fn config() -> Arc<ClientConfig> {
    let config = ClientConfig::new(PeerInfo::new("sim-client", "1"), Credentials::bearer("secret-p0"));
    Arc::new(ClientConfig { ack_delay: Duration::from_millis(40), ..config.with_ack_policy(AckPolicy::OnPoll) })
}

fn runtime_config() -> Arc<RuntimeConfig> {
    Arc::new(RuntimeConfig::new(PeerInfo::new("sim-runtime", "1")))
}

fn sent<R: Role>(session: &mut Session<R>, at: Now) -> Vec<Bytes> {
    std::iter::from_fn(|| session.poll_transmit(at)).collect()
}

fn told<R: Role>(session: &mut Session<R>) -> Vec<String> {
    std::iter::from_fn(|| session.poll_event()).map(|event| format!("{event:?}")).collect()
}

fn token(n: u64) -> ResumeToken {
    ResumeToken::new(format!("rt_{n:032x}"))
}

/// A client and a runtime that have met; the welcome has arrived.
fn met() -> (Session<Client>, Session<Runtime>) {
    let mut client = Session::connect(now(0), config());
    let hello = sent(&mut client, now(0)).pop().expect("a hello");
    let Ok(Opening::Hello(hello)) = Opening::parse(hello, &runtime_config().limits) else { panic!("it is a hello") };
    let grant = Grant {
        principal: Principal::from("p0"),
        session_id: SessionId::from("sess_1"),
        resume_token: token(1),
        agents: Arc::from([]),
    };
    let mut runtime = hello.accept(now(0), runtime_config(), grant);
    for frame in sent(&mut runtime, now(0)) {
        client.handle_input(now(0), frame);
    }
    assert_eq!(told(&mut client).len(), 1);
    (client, runtime)
}

/// Resumes by hand.
fn resume(client: &mut Session<Client>, runtime: &mut Session<Runtime>, at: u64, next: u64) {
    client.resume(now(at)).expect("it can resume");
    let hello = sent(client, now(at)).pop().expect("a hello");
    let Ok(Opening::Resume(attempt)) = Opening::parse(hello, &runtime_config().limits) else { panic!("a resume") };
    runtime.resume(now(at), attempt, &Principal::from("p0"), token(next)).expect("it is taken");
}

/// One step of both, by what the dice say; what each said and was told.
fn step(client: &mut Session<Client>, runtime: &mut Session<Runtime>, at: u64, dice: &mut Dice) -> Vec<String> {
    let at = now(at);
    let mut happened = Vec::new();
    for _ in 0..dice.below(4) {
        let body = json!({"level": "info", "message": "x".repeat(dice.below(60) as usize)});
        happened.push(format!("{:?}", runtime.send_event(at, &JobId::from("job_1"), "log", &body)));
    }
    if dice.once_in(5) {
        happened.push(format!("{:?}", client.list_jobs(at, &Default::default()).is_ok()));
    }
    client.handle_timeout(at);
    runtime.handle_timeout(at);
    for _ in 0..6 {
        for frame in sent(runtime, at) {
            happened.push(plain(&frame));
            client.handle_input(at, frame);
        }
        for frame in sent(client, at) {
            happened.push(plain(&frame));
            runtime.handle_input(at, frame);
        }
        for event in std::iter::from_fn(|| client.poll_event()) {
            // Of a frame, only what is not its id.
            happened.push(match event.seq() {
                Some(seq) => format!("event {seq}"),
                None => without_ids(&format!("{event:?}")),
            });
        }
        happened.extend(told(runtime).iter().map(|event| without_ids(event)));
    }
    happened
}

fn without_ids(text: &str) -> String {
    text.split("RequestId(").next().unwrap_or_default().to_owned()
}

/// A frame without what tells apart the attachments.
fn plain(frame: &Bytes) -> String {
    let mut frame: Value = serde_json::from_slice(frame).expect("it is JSON");
    frame["id"] = Value::Null;
    for member in ["nonce", "ping_nonce", "request_id"] {
        frame["payload"][member] = Value::Null;
    }
    frame.to_string()
}

/// 17: however a stream is cut into chunks, the same messages come of it, and the same session.
#[test]
fn bytes_that_are_split_differently_mean_the_same() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let (client, mut runtime) = met();
        let mut stream = Vec::new();
        for n in 0..dice.within(1, 30) {
            let frame = match dice.once_in(3) {
                true => hostile::frame(&mut dice, false, Some(&SessionId::from("sess_1")), n, &[]),
                false => {
                    let body = json!({"level": "info", "message": "ä".repeat(dice.below(90) as usize)});
                    let _ = runtime.send_event(now(n), &JobId::from("job_1"), "log", &body);
                    sent(&mut runtime, now(n)).pop().unwrap_or_default()
                }
            };
            finish_line(&frame, &mut stream);
            if dice.once_in(9) {
                stream.extend_from_slice(b"\r\n\n");
            }
        }
        let stream = Bytes::from(stream);
        let read = |chunks: &mut dyn FnMut(u64) -> u64| {
            let (mut decoder, mut client, mut rest) = (LineDecoder::default(), client.clone(), stream.clone());
            let mut at = 0;
            let feed = |decoder: &mut LineDecoder, client: &mut Session<Client>| {
                while let Some(line) = decoder.next_line() {
                    match line {
                        Ok(line) => client.handle_input(now(50), line),
                        Err(too_long) => client.handle_malformed(now(50), too_long.into()),
                    }
                }
            };
            while !rest.is_empty() {
                let len = chunks(rest.len() as u64).clamp(1, rest.len() as u64);
                decoder.push(rest.split_to(len as usize));
                feed(&mut decoder, &mut client);
                at += 1;
            }
            assert!(at > 0 && decoder.finish().is_none());
            let (events, frames) = (told(&mut client), sent(&mut client, now(50)));
            (events, frames, client.phase(), client.poll_timeout(), client.last_event_seq())
        };
        let whole = read(&mut |len| len);
        assert!(!whole.0.is_empty(), "seed {seed}");
        assert_eq!(whole, read(&mut |_| 1), "seed {seed}");
        assert_eq!(whole, read(&mut |_| dice.within(1, 40)), "seed {seed}");
    }
}

/// 18: a restored session goes on as the one that it was taken of, had that lost its transport.
#[test]
fn a_restored_session_goes_on_as_the_detached_one() {
    for seed in 0..80 {
        let mut dice = Dice::new(seed);
        let (mut client, mut runtime) = met();
        let mut at = 0;
        for _ in 0..dice.within(1, 12) {
            at += dice.below(9_000);
            step(&mut client, &mut runtime, at, &mut dice);
        }
        let (client_snapshot, runtime_snapshot) = (client.snapshot(), runtime.snapshot());
        let events: Vec<_> = runtime.events_since(0).collect();
        client.handle_disconnect(now(at));
        runtime.handle_disconnect(now(at));
        let text = serde_json::to_string(&client_snapshot).expect("it serialises");
        let client_snapshot: ClientSnapshot = serde_json::from_str(&text).expect("it is read");
        let mut twin = Session::<Client>::restore(now(at), config(), client_snapshot).expect("it is restored");
        let agents = Arc::from([]);
        let mut twin_runtime = Session::<Runtime>::restore(now(at), runtime_config(), agents, runtime_snapshot, events)
            .expect("it is restored");
        told(&mut client);
        told(&mut runtime);
        assert_eq!(client.poll_timeout(), twin.poll_timeout(), "seed {seed}");
        assert_eq!(runtime.poll_timeout(), twin_runtime.poll_timeout(), "seed {seed}");
        resume(&mut client, &mut runtime, at + 700, 2);
        resume(&mut twin, &mut twin_runtime, at + 700, 2);
        let mut other = dice.clone();
        at += 700;
        for _ in 0..10 {
            at += dice.below(9_000);
            other.below(9_000);
            let one = step(&mut client, &mut runtime, at, &mut dice);
            let two = step(&mut twin, &mut twin_runtime, at, &mut other);
            assert_eq!(one, two, "seed {seed}");
        }
        assert_eq!(client.last_event_seq(), twin.last_event_seq());
        assert_eq!(runtime.acked_seq(), twin_runtime.acked_seq());
    }
}

/// 19: whoever drains after every call and whoever drains after several end up in the same place.
#[test]
fn drained_now_or_later_is_the_same() {
    let session = SessionId::from("sess_1");
    for seed in 0..120 {
        let mut dice = Dice::new(seed);
        let (client, mut runtime) = met();
        sent(&mut runtime, now(0));
        let (mut often, mut seldom) = (client.clone(), client);
        let (mut often_runtime, mut seldom_runtime) = (runtime.clone(), runtime);
        let (mut often_told, mut seldom_told) = (Vec::new(), Vec::new());
        let mut at = 0;
        for _ in 0..25 {
            at += dice.below(4_000);
            let near = often.last_event_seq();
            // What is acknowledged has to have been sent before, also by who drains seldom.
            for runtime in [&mut often_runtime, &mut seldom_runtime] {
                let _ = runtime.send_event(now(at), &JobId::from("job_1"), "log", &json!({}));
                sent(runtime, now(at));
            }
            for _ in 0..dice.within(1, 6) {
                let down = hostile::frame(&mut dice, false, Some(&session), near, &[]);
                let up = hostile::frame(&mut dice, true, Some(&session), near, &[]);
                for client in [&mut often, &mut seldom] {
                    client.handle_input(now(at), down.clone());
                    client.handle_timeout(now(at));
                }
                for runtime in [&mut often_runtime, &mut seldom_runtime] {
                    runtime.handle_input(now(at), up.clone());
                    runtime.handle_timeout(now(at));
                }
                sent(&mut often, now(at));
                often_told.extend(told(&mut often));
                sent(&mut often_runtime, now(at));
                told(&mut often_runtime);
            }
            sent(&mut seldom, now(at));
            seldom_told.extend(told(&mut seldom));
            sent(&mut seldom_runtime, now(at));
            told(&mut seldom_runtime);
            // What polling itself said is sent, too.
            sent(&mut often, now(at));
            sent(&mut seldom, now(at));
            let of = |client: &Session<Client>| {
                (client.phase(), client.last_event_seq(), client.last_processed_seq(), client.poll_timeout())
            };
            assert_eq!(of(&often), of(&seldom), "seed {seed} at {at}");
            let of = |runtime: &Session<Runtime>| {
                (runtime.phase(), runtime.last_event_seq(), runtime.acked_seq(), runtime.poll_timeout())
            };
            assert_eq!(of(&often_runtime), of(&seldom_runtime), "seed {seed} at {at}");
        }
        assert_eq!(often_told, seldom_told, "seed {seed}");
    }
}
