//! A runtime's session with its client attached, and what is done with it for the clock.
#![allow(dead_code, unused_imports, reason = "not everybody needs all of it")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod listener;
mod resumption;
mod written;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arcp_proto::wire::job_event::{Log, kind};
use arcp_proto::wire::{JobId, PeerInfo, Principal, ResumeToken, SessionId};
use arcp_proto::{
    Client, Feature, FeatureSet, Grant, Instant, Now, Opening, Overflow, Runtime, RuntimeConfig, Session, Timestamp,
};
use bytes::Bytes;
use serde_json::{Value, json};

pub(crate) use listener::{client, client_config, connected, take, welcome};
pub(crate) use resumption::Resumption;
pub(crate) use written::written;

pub(crate) const START: Now = Now::new(Instant::from_millis(1_000_000), Timestamp::from_unix_millis(1_778_701_333_000));
pub(crate) const JOB: &str = "job_0000000000000001";
const SESSION: &str = "sess_00000000000000000000000000000001";

/// As many events pass between two acknowledgements as a client of ours lets pass.
pub(crate) const ACK_EVERY: u64 = 500;

/// The clock of a loop that reads it for every event: a millisecond goes by every few events.
pub(crate) fn at(n: u64) -> Now {
    START.after(Duration::from_nanos(n * 300_000))
}

pub(crate) fn log() -> Log {
    Log {
        level: "info".into(),
        message: "read 14 of 32 files, the next is src/session/runtime/send.rs: nothing odd".into(),
    }
}

pub(crate) fn runtime_config() -> RuntimeConfig {
    RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0"))
}

/// The hello, with a resume in it, if it is to be one.
fn opening(ack: bool, resume: Option<Value>) -> Bytes {
    let features = if ack { FeatureSet::all() } else { FeatureSet::all().without(Feature::Ack) };
    let mut payload = json!({
        "client": {"name": "my-app", "version": "1.0.0"}, "auth": {"scheme": "bearer", "token": "secret-bearer"},
        "capabilities": {"encodings": ["json"], "features": features},
    });
    if let Some(resume) = resume {
        payload["resume"] = resume;
    }
    json!({"id": "h", "type": "session.hello", "payload": payload}).to_string().into()
}

pub(crate) fn hello(ack: bool) -> Bytes {
    opening(ack, None)
}

/// The resume token of the n-th attachment.
fn token(n: u64) -> String {
    format!("rt_{n:032}")
}

pub(crate) fn grant() -> Grant {
    Grant {
        principal: Principal::from("alice"),
        session_id: SessionId::from(SESSION),
        resume_token: ResumeToken::new(token(0)),
        agents: Arc::from([]),
    }
}

pub(crate) fn ack_of(seq: u64) -> Bytes {
    let payload = json!({"last_processed_seq": seq});
    json!({"id": format!("a{seq}"), "type": "session.ack", "session_id": SESSION, "payload": payload})
        .to_string()
        .into()
}

/// A session that was just welcomed.
pub(crate) fn welcomed(config: Arc<RuntimeConfig>, ack: bool) -> Session<Runtime> {
    let Ok(Opening::Hello(hello)) = Opening::parse(hello(ack), &config.limits) else { panic!("no hello") };
    let mut session = hello.accept(START, config, grant());
    assert!(session.poll_transmit(START).is_some());
    session
}

/// A runtime's session with its client attached.
pub(crate) struct Emitter {
    pub(crate) session: Session<Runtime>,
    pub(crate) job: JobId,
    pub(crate) body: Log,
    pub(crate) n: u64,
}

impl Emitter {
    pub(crate) fn new(ack: bool) -> Emitter {
        Emitter::of(runtime_config(), ack)
    }

    fn of(config: RuntimeConfig, ack: bool) -> Emitter {
        Emitter { session: welcomed(Arc::new(config), ack), job: JobId::from(JOB), body: log(), n: 0 }
    }

    pub(crate) fn event(&mut self) -> Bytes {
        let now = at(self.n);
        self.n += 1;
        self.session.send_event(now, &self.job, kind::LOG, &self.body).unwrap();
        self.session.poll_transmit(now).unwrap()
    }

    pub(crate) fn acknowledge(&mut self) {
        self.session.handle_input(at(self.n), ack_of(self.session.last_event_seq()));
    }

    /// The replay buffer is at its limit.
    pub(crate) fn filled() -> Emitter {
        let mut emitter = Emitter::new(false);
        for _ in 0..10_001 {
            emitter.event();
        }
        assert_eq!(emitter.session.replay_len().0, 10_000);
        emitter
    }

    /// The replay buffer holds so many events, all of them sent, and there would be room for more.
    pub(crate) fn buffered(events: usize) -> Emitter {
        let config = runtime_config().with_replay(events + 1, usize::MAX, Overflow::Block);
        let mut emitter = Emitter::of(RuntimeConfig { back_pressure_threshold: u64::MAX, ..config }, true);
        for _ in 0..events {
            emitter.event();
        }
        assert_eq!(emitter.session.replay_len().0, events);
        emitter
    }

    /// The next event, without what is sent and acknowledged in between: how long it takes until it is in the replay
    /// buffer, so many times.
    pub(crate) fn time_encode(&mut self, count: u64) -> Duration {
        let mut total = Duration::ZERO;
        let mut left = count;
        while left > 0 {
            let some = left.min(ACK_EVERY);
            let start = std::time::Instant::now();
            counted_encode(self, some);
            total += start.elapsed();
            while self.session.poll_transmit(at(self.n)).is_some() {}
            self.acknowledge();
            left -= some;
        }
        total
    }
}

/// Into the replay buffer and no further.
#[inline(never)]
pub(crate) fn counted_encode(emitter: &mut Emitter, count: u64) {
    for _ in 0..count {
        let now = at(emitter.n);
        emitter.n += 1;
        black_box(emitter.session.send_event(now, &emitter.job, kind::LOG, &emitter.body).unwrap());
    }
}

/// From the call to the transport, acknowledged now and then.
#[inline(never)]
pub(crate) fn counted_send(emitter: &mut Emitter, count: u64) {
    for _ in 0..count {
        black_box(emitter.event());
        if emitter.n.is_multiple_of(ACK_EVERY) {
            emitter.acknowledge();
        }
    }
}

/// From the runtime's call to the client's mark, acknowledgements included.
#[inline(never)]
pub(crate) fn counted_whole(emitter: &mut Emitter, client: &mut Session<Client>, count: u64) {
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
pub(crate) fn counted_idle(session: &mut Session<Runtime>, now: Now, count: u64) {
    for _ in 0..count {
        black_box(session.poll_transmit(now));
        black_box(session.poll_event());
        black_box(session.poll_timeout());
    }
}

/// What a call costs that takes and gives what a poll does, and does nothing.
#[inline(never)]
pub(crate) fn empty_call(session: &mut Session<Runtime>, now: Now) -> Option<Bytes> {
    black_box((session, now));
    None
}
