//! The worst peers that we can think of, an hour of virtual time each: whatever they send, whenever the transport breaks
//! and however badly the driver serves it, nothing panics, limits hold, and the session stays what it promises.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arcp_proto::wire::{
    Envelope, ErrorCode, JobAccepted, JobPage, JobQuery, JobResult, JobStatus, JobSubmit, JobSubscribed, MessageType,
    RawJson, WireError,
};
use arcp_proto::{
    AckPolicy, Client, ClientConfig, ClientEvent, FeatureSet, GapPolicy, Limits, Now, Opening, Overflow, Phase,
    RequestId, Runtime, RuntimeConfig, RuntimeEvent, Session,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::pair::{
    Pair, client_config, feed, job, log_frame, millis, principal, runtime_alone, runtime_config, secs, seq_of, start,
    token, welcome,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// As many peers of each kind as `ARCP_WORST_PEERS` says; few by default, each takes a second or so.
fn seeds() -> std::ops::RangeInclusive<u64> {
    let count = std::env::var("ARCP_WORST_PEERS").ok().and_then(|count| count.parse().ok());
    1..=count.unwrap_or(6)
}

/// Xorshift: the same seed, the same hour.
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.roll() >> 11) % n
    }

    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// A value of the wrong kind, or of the right one and out of place.
fn odd(dice: &mut Dice) -> Value {
    match dice.below(12) {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!(1.5),
        3 => json!(u64::MAX),
        4 => json!("x".repeat(300)),
        5 => json!([[[]]]),
        6 => json!({"deep": {"er": [null]}}),
        7 => json!(true),
        8 => json!((1u64 << 53) - 1),
        9 => json!("\u{2028}\n\r\u{0}"),
        _ => json!(dice.below(50)),
    }
}

/// One of all messages there are, for either side, right or wrong.
pub(crate) fn frame(dice: &mut Dice, near: u64, ids: &[String]) -> Value {
    let kind = dice.pick(MessageType::ALL).name();
    let name = match dice.below(20) {
        0 => "session.nonsense",
        1 => "x-vendor.thing",
        2..=6 => "job.event",
        7 => "session.ack",
        _ => kind,
    };
    let some_id = |dice: &mut Dice| match ids.len() {
        0 => "nobody".to_owned(),
        _ if dice.once_in(6) => "nobody".to_owned(),
        _ => dice.pick(ids).clone(),
    };
    let code = *dice.pick(&[
        "INTERNAL_ERROR",
        "TIMEOUT",
        "JOB_NOT_FOUND",
        "DUPLICATE_KEY",
        "UNAUTHENTICATED",
        "X_VENDOR",
        "INVALID_REQUEST",
    ]);
    let job_id = format!("job_{}", dice.below(4));
    let mut payload = json!({
        "agent": "a", "input": {}, "job_id": job_id, "kind": dice.pick(&["log", "progress", "result_chunk", "x-v.k"]),
        "body": {"message": "m".repeat(dice.below(2_000) as usize)}, "ts": "2026-05-13T19:42:13Z", "nonce": "n",
        "last_processed_seq": (near + dice.below(5)).saturating_sub(3), "code": code, "message": "m",
        "final_status": "error", "current_status": "running", "jobs": [], "reason": "r",
        "auth": {"scheme": "bearer", "token": "t"},
    });
    if dice.once_in(2) {
        payload["request_id"] = json!(some_id(dice));
    }
    if dice.once_in(8) {
        payload["parent_job_id"] = json!("job_p");
    }
    let id = if dice.once_in(4) { some_id(dice) } else { format!("m{}", dice.below(1_000_000)) };
    let mut frame =
        json!({"arcp": "1.1", "id": id, "type": name, "session_id": "sess_1", "job_id": job_id, "payload": payload});
    if name.starts_with("job.") && dice.below(10) > 0 {
        // Mostly the next; else a repetition, a gap, or nonsense.
        let seq = match dice.below(12) {
            0 => near.saturating_sub(dice.below(4)),
            1 => near + 2 + dice.below(3),
            2 if dice.once_in(20) => near + dice.below(200),
            _ => near + 1,
        };
        frame["event_seq"] = json!(seq);
    }
    match dice.below(40) {
        0 => frame["session_id"] = json!("sess_2"),
        1 => {
            let member =
                *dice.pick(&["arcp", "id", "type", "session_id", "trace_id", "job_id", "event_seq", "payload"]);
            frame[member] = odd(dice);
        }
        2..=4 => {
            let members: Vec<String> = frame["payload"].as_object().unwrap().keys().cloned().collect();
            let member = dice.pick(&members).clone();
            frame["payload"][member] = odd(dice);
        }
        _ => {}
    }
    frame
}

/// The frame as bytes, at times with one of them wrong or missing.
pub(crate) fn garbled(dice: &mut Dice, frame: &Value) -> Bytes {
    let mut bytes = frame.to_string().into_bytes();
    match dice.below(120) {
        0 => bytes.truncate(dice.below(bytes.len() as u64) as usize),
        1 => {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] = dice.roll() as u8;
        }
        2 => bytes.clear(),
        3 if dice.once_in(10) => bytes = vec![b'['; (1 << 20) + 2],
        _ => {}
    }
    Bytes::from(bytes)
}

/// How long until the next thing happens: mostly soon, at times after everything was due.
pub(crate) fn pause(dice: &mut Dice) -> Duration {
    match dice.below(60) {
        0 => secs(dice.below(100)),
        1..=5 => secs(dice.below(10)),
        6..=20 => millis(0),
        _ => millis(dice.below(1_500)),
    }
}

/// A clock as a bad driver hands it in: at times behind.
fn shown(dice: &mut Dice, now: Now) -> Now {
    match dice.below(30) {
        0 => Now { mono: start().mono, wall: now.wall },
        _ => now,
    }
}

fn small_limits() -> Limits {
    Limits {
        inbound_bytes: 64 << 10,
        control_frames: 40,
        control_bytes: 64 << 10,
        open_requests: 20,
        ..Limits::default()
    }
}

/// After `handle_timeout` the next deadline lies ahead.
macro_rules! tick {
    ($session:expr, $now:expr, $latest:expr) => {
        $session.handle_timeout($now);
        let next = $session.poll_timeout();
        assert!(next.is_none_or(|next| next > $latest.mono), "{:?} did not move", $session.timeout_reason());
    };
}

// The runtime.

struct RuntimeUnderTest {
    session: Session<Runtime>,
    limits: Limits,
    replay: (usize, usize),
    dice: Dice,
    now: Now,
    tokens: u64,
    asked: Vec<RequestId>,
    seen: Vec<Value>,
    /// The next seq that the present transport may be given.
    next_seq: u64,
    /// What the peer can have received.
    received: u64,
    attachment: u64,
    closed: usize,
    ids: BTreeSet<String>,
}

impl RuntimeUnderTest {
    fn new(seed: u64) -> RuntimeUnderTest {
        let mut dice = Dice::new(seed);
        let limits = if seed.is_multiple_of(2) { small_limits() } else { Limits::default() };
        let overflow = *dice.pick(&[Overflow::Block, Overflow::Evict]);
        let replay = (50, 64 << 10);
        let config: RuntimeConfig =
            runtime_config().with_limits(limits.clone()).with_replay(replay.0, replay.1, overflow);
        let features = if dice.once_in(4) { FeatureSet::none() } else { FeatureSet::all() };
        RuntimeUnderTest {
            session: runtime_alone(config, features),
            limits,
            replay,
            dice,
            now: start(),
            tokens: 1,
            asked: Vec::new(),
            seen: Vec::new(),
            next_seq: 1,
            received: 0,
            attachment: 1,
            closed: 0,
            ids: BTreeSet::new(),
        }
    }

    fn transmit(&mut self, most: u64) {
        for _ in 0..most {
            let now = shown(&mut self.dice, self.now);
            let was_attached = self.session.phase().is_attached();
            let Some(frame) = self.session.poll_transmit(now) else { return };
            let envelope = Envelope::decode(frame.clone()).expect("all that we send is an envelope");
            assert!(frame.len() <= 1 << 20);
            assert!(!frame.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
            if let Some(seq) = envelope.event_seq() {
                assert!(was_attached, "an event after the end of a transport");
                assert!(seq >= self.next_seq, "{seq} after {}", self.next_seq - 1);
                // An acknowledgement moves the send cursor forward, and nothing else does.
                assert!(seq == self.next_seq || seq <= self.session.acked_seq() + 1, "a hole before {seq}");
                self.next_seq = seq + 1;
                self.received = self.received.max(seq);
            } else {
                assert!(self.ids.insert(envelope.id().unwrap().into_owned()), "a message id twice: {envelope:?}");
            }
        }
    }

    fn poll(&mut self, most: u64) {
        for _ in 0..most {
            let Some(event) = self.session.poll_event() else { return };
            assert_eq!(self.closed, 0, "{event:?} after Closed");
            match event {
                RuntimeEvent::Submit { request, .. }
                | RuntimeEvent::Cancel { request, .. }
                | RuntimeEvent::Subscribe { request, .. }
                | RuntimeEvent::ListJobs { request, .. } => self.asked.push(request),
                RuntimeEvent::Closed(_) => self.closed += 1,
                _ => {}
            }
        }
    }

    fn work(&mut self) {
        let now = shown(&mut self.dice, self.now);
        match self.dice.below(8) {
            0..=3 => {
                let body = json!({"message": "m".repeat(self.dice.below(3_000) as usize)});
                let kind = *self.dice.pick(&["log", "progress", "status"]);
                let _ = self.session.send_event(now, &job(), kind, &body);
            }
            4 => drop(self.session.send_result(now, &job(), JobResult::inline(RawJson::null()))),
            _ => {
                let request = match self.asked.is_empty() {
                    true => return,
                    false => self.asked.swap_remove(self.dice.below(self.asked.len() as u64) as usize),
                };
                let _ = match self.dice.below(5) {
                    0 => self.session.accept_job(now, request, JobAccepted::new(job(), "a@1", now.wall)),
                    1 => self.session.confirm_cancel(now, request, None),
                    2 => {
                        let subscribed = JobSubscribed::new(job(), "a@1", JobStatus::Running);
                        self.session.accept_subscribe(now, request, subscribed)
                    }
                    3 => self.session.respond_jobs(now, request, JobPage::default()),
                    _ => self.session.fail_request(now, request, WireError::new(ErrorCode::Timeout, "m")),
                };
            }
        }
    }

    fn resume(&mut self) -> bool {
        let presented = self.tokens.saturating_sub(self.dice.below(3));
        let last = match self.dice.below(4) {
            0 => self.received + self.dice.below(3),
            1 => self.dice.below(self.received + 1),
            _ => self.received,
        };
        self.resume_with(presented, last)
    }

    fn resume_with(&mut self, presented: u64, last: u64) -> bool {
        let hello = json!({"id": "h", "type": "session.hello", "payload": {
            "auth": {"scheme": "bearer", "token": "secret-bearer"},
            "resume_token": token(presented), "last_event_seq": last,
        }});
        let opening = Opening::parse(Bytes::from(hello.to_string()), &Limits::default()).unwrap();
        let Opening::Resume(attempt) = opening else { panic!("it has a token") };
        // A resume sees to what is due first; beyond that, a refused one changes nothing.
        self.session.handle_timeout(self.now);
        let before = (self.session.phase(), self.session.attachment(), self.session.poll_timeout());
        match self.session.resume(self.now, attempt, &principal(), token(self.tokens + 1)) {
            Ok(_) => {
                self.tokens += 1;
                self.next_seq = last + 1;
                assert_eq!(self.session.attachment(), self.attachment + 1);
                self.attachment += 1;
                true
            }
            Err(_) => {
                let after = (self.session.phase(), self.session.attachment(), self.session.poll_timeout());
                assert_eq!(after, before, "a refused resume changes nothing");
                false
            }
        }
    }

    fn hold_to_limits(&mut self) {
        let (events, bytes) = self.session.replay_len();
        // The back-pressure signal is exempt (D26).
        assert!(events <= self.replay.0 + 1 && bytes <= self.replay.1 + 1_000, "{events} events, {bytes} bytes");
        if self.session.phase() == Phase::Closed {
            assert_eq!(self.session.poll_timeout(), None);
        }
    }

    fn step(&mut self) {
        let before = self.now;
        self.now = self.now.after(pause(&mut self.dice));
        if !self.dice.once_in(10) || self.now == before {
            tick!(self.session, self.now, self.now);
        }
        let count = if self.dice.once_in(40) { 150 } else { self.dice.below(6) };
        for _ in 0..count {
            let input = match self.seen.is_empty() || self.dice.below(10) > 0 {
                true => frame(&mut self.dice, self.session.acked_seq(), &[]),
                false => self.dice.pick(&self.seen).clone(),
            };
            let bytes = garbled(&mut self.dice, &input);
            if self.seen.len() < 50 {
                self.seen.push(input);
            }
            let now = shown(&mut self.dice, self.now);
            self.session.handle_input(now, bytes);
        }
        match self.dice.below(12) {
            0 => self.session.handle_activity(self.now),
            1 if self.dice.once_in(3) => self.session.handle_disconnect(self.now),
            2 => drop(self.resume()),
            3 if !self.session.phase().is_attached() => drop(self.resume_with(self.tokens, self.received)),
            4..=7 => self.work(),
            8 if self.dice.once_in(400) => self.session.shutdown(self.now, "r"),
            _ => {}
        }
        let most = *self.dice.pick(&[0, 1, 5, 1_000, 1_000]);
        self.transmit(most);
        let most = *self.dice.pick(&[0, 0, 2, 1_000]);
        self.poll(most);
        self.hold_to_limits();
    }

    /// The fault ends: what is left of the session works, and ends once. Says whether there was anything left.
    fn end(mut self) -> bool {
        self.session.handle_disconnect(self.now);
        self.poll(u64::MAX);
        self.transmit(u64::MAX);
        let (tokens, last) = (self.tokens, self.received.max(self.session.replay_floor()));
        let is_alive = self.session.phase() != Phase::Closed && self.resume_with(tokens, last);
        if is_alive {
            self.transmit(u64::MAX);
            let emitted = self.session.send_event(self.now, &job(), "log", &json!({}));
            feed(&mut self.session, self.now, &ping());
            let pong = self.session.poll_transmit(self.now).unwrap();
            assert!(String::from_utf8_lossy(&pong).contains("session.pong"));
            self.transmit(u64::MAX);
            assert!(emitted.is_err() || self.received >= emitted.unwrap());
        }
        self.session.shutdown(self.now, "r");
        self.transmit(u64::MAX);
        self.session.handle_timeout(self.now.after(secs(100_000)));
        self.poll(u64::MAX);
        assert_eq!(self.closed, 1, "told exactly once");
        is_alive
    }

    /// What is left when all is handed out is within the limits.
    fn hold_lanes(&mut self) {
        let mut copy = self.session.clone();
        let control = std::iter::from_fn(|| copy.poll_transmit(self.now))
            .filter(|frame| Envelope::decode(frame.clone()).unwrap().event_seq().is_none())
            .count();
        // Beside the lane: a welcome, pongs, a ping and two words of farewell.
        assert!(control <= self.limits.control_frames + self.limits.unsent_pongs + 4, "{control}");
        let waiting: usize = std::iter::from_fn(|| copy.poll_event())
            .map(|event| match event {
                RuntimeEvent::Vendor(envelope) => envelope.frame().len(),
                _ => 0,
            })
            .sum();
        assert!(waiting <= self.limits.inbound_bytes, "{waiting}");
    }
}

#[test]
fn d43_a_runtime_bears_the_worst_client_for_an_hour() {
    let mut survivors = 0;
    for seed in seeds() {
        let mut hour = Duration::ZERO;
        let mut life = 0;
        while hour < HOUR {
            // A session that ends is followed by another.
            let mut test = RuntimeUnderTest::new(seed + 1_000 * life);
            life += 1;
            let mut steps = 0;
            while hour + (test.now.mono - start().mono) < HOUR && test.session.phase() != Phase::Closed {
                test.step();
                steps += 1;
                if steps % 50 == 0 {
                    test.hold_lanes();
                }
            }
            hour += test.now.mono - start().mono;
            survivors += u64::from(test.end());
        }
        assert!(life < 200, "seed {seed}: {life} sessions are too short to prove anything");
    }
    assert!(survivors >= *seeds().end() / 2, "{survivors} sessions came through: too bad to prove anything");
    a_fresh_pair_works();
}

fn ping() -> Value {
    json!({"id": "p", "type": "session.ping", "payload": {"nonce": "n"}})
}

// The client.

struct ClientUnderTest {
    session: Session<Client>,
    limits: Limits,
    dice: Dice,
    now: Now,
    /// What was asked, and how often it was answered.
    requests: BTreeMap<RequestId, u32>,
    ids: Vec<String>,
    seen: Vec<Value>,
    /// The last event that was given out or told to be lost.
    last: u64,
    closed: usize,
    delivered: usize,
    resumed: usize,
}

impl ClientUnderTest {
    fn new(seed: u64) -> ClientUnderTest {
        let mut dice = Dice::new(seed ^ 0xc11e);
        let limits = if seed.is_multiple_of(2) { small_limits() } else { Limits::default() };
        let config = ClientConfig {
            gap_policy: *dice.pick(&[GapPolicy::Resume, GapPolicy::Report]),
            ack_policy: *dice.pick(&[AckPolicy::Manual, AckPolicy::OnPoll]),
            resume_overlap: dice.below(2),
            limits: limits.clone(),
            ..client_config()
        };
        ClientUnderTest {
            session: Session::connect(start(), config),
            limits,
            dice,
            now: start(),
            requests: BTreeMap::new(),
            ids: Vec::new(),
            seen: Vec::new(),
            last: 0,
            closed: 0,
            delivered: 0,
            resumed: 0,
        }
    }

    fn transmit(&mut self, most: u64) {
        for _ in 0..most {
            let now = shown(&mut self.dice, self.now);
            let Some(frame) = self.session.poll_transmit(now) else { return };
            let envelope = Envelope::decode(frame.clone()).expect("all that we send is an envelope");
            assert!(frame.len() <= 1 << 20);
            if envelope.message_type() == Some(MessageType::SessionAck) {
                let ack: arcp_proto::wire::Ack = envelope.payload().unwrap();
                assert!(ack.last_processed_seq <= self.session.last_processed_seq());
            }
            if envelope.message_type().is_some_and(MessageType::is_request) {
                if self.ids.len() > 30 {
                    self.ids.remove(0);
                }
                self.ids.push(envelope.id().unwrap().into_owned());
            }
        }
    }

    fn poll(&mut self, most: u64) {
        for _ in 0..most {
            let Some(event) = self.session.poll_event() else { return };
            assert_eq!(self.closed, 0, "{event:?} after Closed");
            if let Some(seq) = seq_of(&event) {
                // A refusal that was numbered takes its place without an event.
                assert!(seq > self.last, "{seq} after {}", self.last);
                self.last = seq;
                self.delivered += 1;
            }
            let answered = match event {
                ClientEvent::Accepted { request, .. }
                | ClientEvent::Subscribed { request, .. }
                | ClientEvent::Cancelled { request, .. } => request,
                ClientEvent::Jobs { request, .. } | ClientEvent::RequestFailed { request, .. } => Some(request),
                ClientEvent::EventsLost { from, to } => {
                    assert!(from > self.last && to >= from, "{from}..={to} after {}", self.last);
                    self.last = to;
                    None
                }
                ClientEvent::Closed(_) => {
                    self.closed += 1;
                    None
                }
                ClientEvent::Resumed(_) => {
                    self.resumed += 1;
                    None
                }
                _ => None,
            };
            if let Some(request) = answered {
                *self.requests.get_mut(&request).expect("it was asked") += 1;
            }
        }
    }

    fn work(&mut self) {
        let now = shown(&mut self.dice, self.now);
        let request = match self.dice.below(6) {
            0 => self.session.submit(now, &JobSubmit::new("a", RawJson::null())),
            1 => self.session.list_jobs(now, &JobQuery::default()),
            2 => self.session.cancel(now, &job(), None),
            3 => self.session.subscribe(now, &job(), None),
            _ => {
                let seq = match self.dice.once_in(5) {
                    true => self.dice.below(1_000),
                    false => self.last,
                };
                let _ = self.session.mark_processed(now, seq);
                return;
            }
        };
        if let Ok(request) = request {
            assert_eq!(self.requests.insert(request, 0), None);
        }
    }

    fn step(&mut self) {
        self.now = self.now.after(pause(&mut self.dice));
        if !self.dice.once_in(10) {
            tick!(self.session, self.now, self.now);
        }
        let count = if self.dice.once_in(40) { 150 } else { self.dice.below(6) };
        for _ in 0..count {
            let is_handshake = self.session.phase().is_handshake();
            let input = match self.dice.below(10) {
                // Few welcomes are as they should be, but some.
                _ if is_handshake && self.dice.below(20) > 0 => welcome(FeatureSet::all()),
                0 if !self.seen.is_empty() => self.dice.pick(&self.seen).clone(),
                _ => frame(&mut self.dice, self.session.last_event_seq(), &self.ids),
            };
            // What ends a session for good is rare, or there is nothing to see.
            let name = input["type"].as_str().unwrap_or_default();
            let is_the_end = matches!(name, "session.bye" | "session.closed");
            if is_the_end && !self.dice.once_in(100) {
                continue;
            }
            let bytes = if is_handshake { Bytes::from(input.to_string()) } else { garbled(&mut self.dice, &input) };
            if self.seen.len() < 50 && !is_handshake {
                self.seen.push(input);
            }
            let now = shown(&mut self.dice, self.now);
            self.session.handle_input(now, bytes);
        }
        match self.dice.below(12) {
            0 => self.session.handle_activity(self.now),
            1 if self.dice.once_in(3) && self.session.phase() != Phase::Connecting => {
                self.session.handle_disconnect(self.now);
            }
            2..=3 => {
                self.session.handle_timeout(self.now);
                let before = (self.session.phase(), self.session.attachment());
                if self.session.resume(self.now).is_err() {
                    assert_eq!((self.session.phase(), self.session.attachment()), before);
                }
            }
            4..=7 => self.work(),
            8 if self.dice.once_in(600) => self.session.close(self.now, "r"),
            _ => {}
        }
        let most = *self.dice.pick(&[0, 1, 5, 1_000, 1_000]);
        self.transmit(most);
        let most = *self.dice.pick(&[0, 0, 2, 1_000]);
        self.poll(most);
    }

    fn end(mut self) {
        self.session.close(self.now, "normal");
        self.transmit(u64::MAX);
        self.session.handle_timeout(self.now.after(secs(5)));
        self.session.handle_disconnect(self.now);
        self.poll(u64::MAX);
        assert_eq!(self.closed, 1, "told exactly once");
        let wrong: Vec<_> = self.requests.iter().filter(|(_, answers)| **answers != 1).collect();
        assert!(wrong.is_empty(), "each request is answered exactly once: {wrong:?}");
    }

    fn hold_lanes(&mut self) {
        let mut copy = self.session.clone();
        let frames = std::iter::from_fn(|| copy.poll_transmit(self.now)).count();
        assert!(frames <= self.limits.control_frames + self.limits.unsent_pongs + 4, "{frames}");
        let waiting: usize = std::iter::from_fn(|| copy.poll_event())
            .map(|event| match event {
                ClientEvent::Event(delivery) => delivery.envelope().frame().len(),
                _ => 0,
            })
            .sum();
        assert!(waiting <= self.limits.inbound_bytes, "{waiting}");
    }
}

#[test]
fn d43_a_client_bears_the_worst_runtime_for_an_hour() {
    let (mut delivered, mut resumed, mut lives) = (0, 0, 0);
    for seed in seeds() {
        let mut hour = Duration::ZERO;
        while hour < HOUR {
            // A session that ends is followed by another.
            let mut test = ClientUnderTest::new(seed + 1_000 * lives);
            lives += 1;
            feed(&mut test.session, start(), &welcome(FeatureSet::all()));
            let mut steps = 0;
            while hour + (test.now.mono - start().mono) < HOUR && test.session.phase() != Phase::Closed {
                test.step();
                steps += 1;
                if steps % 50 == 0 {
                    test.hold_lanes();
                }
            }
            hour += test.now.mono - start().mono;
            delivered += test.delivered;
            resumed += test.resumed;
            test.end();
        }
    }
    let hours = *seeds().end();
    assert!(lives < 200 * hours, "{lives} sessions are too short to prove anything");
    assert!(delivered > 500 * hours as usize && resumed > 20 * hours as usize, "{delivered} {resumed}: too bad a time");
    a_fresh_pair_works();
}

// The link.

/// Our own two sides over a link that loses, repeats, reorders and breaks at will: when it is mended, every event has come
/// exactly once and in order.
#[test]
fn d28_our_two_sides_bear_the_worst_link_for_an_hour_and_lose_nothing() {
    for seed in seeds() {
        let mut dice = Dice::new(seed ^ 0x117c);
        let mut pair = Pair::connected();
        pair.submit();
        let mut seqs = Vec::new();
        let mut emitted = 0;
        let end = pair.now.after(HOUR);
        while pair.now.mono < end.mono && pair.runtime().phase() != Phase::Closed {
            let burst = dice.below(6);
            let now = pair.now;
            for _ in 0..burst {
                let sent = pair.runtime().send_event(now, &job(), "log", &json!({"level": "info", "message": "m"}));
                emitted += u64::from(sent.is_ok());
            }
            // Frames go onto the link; there they are at its mercy. Only an open session's are: a handshake that is
            // garbled is another test's.
            pair.collect();
            if pair.client.phase() == Phase::Open && pair.runtime().phase() == Phase::Open && pair.to_client.len() > 1 {
                let at = dice.below(pair.to_client.len() as u64 - 1) as usize;
                let is_event = |frame: &Bytes| Envelope::decode(frame.clone()).unwrap().event_seq().is_some();
                match dice.below(6) {
                    0 => pair.to_client.swap(at, at + 1),
                    1 => pair.to_client.push_back(pair.to_client[at].clone()),
                    2 if dice.once_in(4) && is_event(&pair.to_client[at]) => drop(pair.to_client.remove(at)),
                    _ => {}
                }
            }
            pair.flush();
            for event in pair.take_client_events() {
                assert!(!matches!(event, ClientEvent::EventsLost { .. }), "seed {seed}: {event:?}");
                seqs.extend(seq_of(&event));
            }
            if let Some(last) = seqs.last() {
                let now = pair.now;
                let _ = pair.client.mark_processed(now, *last);
            }
            match dice.below(30) {
                0 => pair.cut(),
                1 => pair.cut_unseen_by_runtime(),
                _ => {}
            }
            if pair.client.phase() == Phase::Detached {
                pair.drop_link();
                pair.resume();
            }
            pair.advance(millis(dice.below(4_000)));
        }
        pair.advance(secs(2));
        for _ in 0..3 {
            if pair.client.phase() == Phase::Detached {
                pair.drop_link();
                pair.resume();
            }
            pair.advance(secs(2));
        }
        seqs.extend(pair.take_seqs());
        let highest = pair.runtime().last_event_seq();
        assert!(emitted > 1_000 && highest >= emitted, "seed {seed}: {emitted} {highest}");
        assert_eq!(seqs, (1..=highest).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(pair.client.phase(), Phase::Open, "seed {seed}");
    }
}

fn a_fresh_pair_works() {
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(20);
    pair.flush();
    pair.cut();
    pair.emit(5);
    pair.resume();
    assert_eq!(pair.take_seqs(), (1..=25).collect::<Vec<_>>());
    feed(&mut pair.client, pair.now, &log_frame(26));
    assert_eq!(pair.take_seqs(), [26]);
}
