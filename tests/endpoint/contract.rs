//! The four sentences of the contract, for an endpoint.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use arcp_proto::endpoint::{AdmitError, Applicant, Audited, ConnId, Endpoint, EndpointConfig, EndpointEvent};
use arcp_proto::{AckPolicy, ClientEvent, Grant, Instant, Now, RuntimeConfig};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::*;

#[test]
fn d14_what_happens_while_a_client_is_away_is_there_when_it_is_back() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.publish_many(&job, 3);
    world.cut(alice);
    world.publish_many(&job, 2);
    assert_eq!(world.take_seqs(alice), [1, 2, 3]);
    world.reconnect(alice);
    world.publish_many(&job, 1);
    assert_eq!(world.take_seqs(alice), [4, 5, 6]);
    world.advance(secs(3_600));
    world.finish(&job).unwrap();
    assert_eq!(world.take_seqs(alice), [7]);
}

/// A little generator, for what has to look random and be the same each time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Cuts a random client at random times, in one of the ways in which links are cut.
fn cut_somebody(world: &mut World, mut dice: Dice, mean: u64) {
    let idx = ClientIdx(dice.roll(world.len() as u64) as usize);
    if world.client(idx).phase().is_attached() {
        match dice.roll(4) {
            0 => world.cut_unseen_by_endpoint(idx),
            1 => world.cut_unseen_by_client(idx),
            2 => world.half_open(idx),
            _ => world.cut(idx),
        }
    }
    let next = millis(dice.roll(2 * mean) + 1);
    world.after(next, move |world| cut_somebody(world, dice, mean));
}

fn publish_all(world: &mut World, jobs: Rc<Vec<arcp_proto::wire::JobId>>, every: std::time::Duration) {
    for job in &*jobs {
        world.publish_unsent(job, "tick").expect("it can be published");
    }
    world.after(every, move |world| publish_all(world, jobs, every));
}

/// So many clients with a job each, cut at random for so long: each hears of everything once.
fn storm(clients: usize, seconds: u64, mean_between_cuts: u64, publish_every: u64) {
    let mut world = World::plain().at_large(32.min(clients));
    let heard: Rc<RefCell<BTreeMap<ClientIdx, u64>>> = Rc::default();
    let watched = Rc::clone(&heard);
    world.watch(move |_, idx, event| {
        if let Some(seq) = event.seq() {
            let mut heard = watched.borrow_mut();
            let last = heard.entry(idx).or_default();
            assert_eq!(seq, *last + 1, "{idx:?}");
            *last = seq;
        }
        assert!(!matches!(event, ClientEvent::Closed(_) | ClientEvent::EventsLost { .. }), "{event:?}");
    });
    let mut jobs = Vec::new();
    for n in 0..clients {
        let idx = world.connect(client(&format!("c{n}")).with_ack_policy(AckPolicy::OnPoll));
        world.reconnect_after(idx, millis(500 + n as u64 % 7_000));
        let submit = arcp_proto::wire::JobSubmit::new("code-refactor", arcp_proto::wire::RawJson::empty_object());
        world.request(idx, |client, now| client.submit(now, &submit));
        jobs.push(job(n as u64 + 1));
    }
    let jobs = Rc::new(jobs);
    cut_somebody(&mut world, Dice(0x9e37_79b9_7f4a_7c15), mean_between_cuts);
    publish_all(&mut world, Rc::clone(&jobs), secs(publish_every));
    world.advance(secs(seconds));
    let published: Vec<u64> =
        (0..clients).map(|n| world.endpoint.session(&session(n as u64 + 1)).unwrap().last_event_seq()).collect();
    // Whoever is away comes back.
    for n in 0..clients {
        world.reconnect_after(ClientIdx(n), millis(1));
    }
    world.advance(secs(1));
    let heard = heard.borrow();
    for (n, published) in published.into_iter().enumerate() {
        assert!(published >= seconds / publish_every);
        // A half-open link may still be believed in.
        assert!(heard[&ClientIdx(n)] + 90 / publish_every + 2 >= published, "{n}");
    }
}

#[test]
fn d14_forty_clients_are_cut_at_random_for_an_hour_and_hear_of_everything_once() {
    storm(40, 3_600, 2_000, 60);
}

#[test]
#[ignore = "takes minutes without optimisation: run it with --release"]
fn d14_a_thousand_clients_are_cut_at_random_for_a_day_and_hear_of_everything_once() {
    storm(1_000, 86_400, 1_000, 600);
}

#[test]
fn c1_all_that_an_input_causes_is_there_before_the_call_returns() {
    let mut endpoint = Endpoint::new(config());
    let now = start();
    let conn = endpoint.connect(now);
    assert_eq!(endpoint.poll_timeout(), Some(now.mono + secs(10)));
    endpoint.handle_input(now, conn, bytes(&hello("alice", &["heartbeat"])));
    assert_eq!(endpoint.poll_timeout(), Some(now.mono + secs(30)));
    let Some(EndpointEvent::Authenticate(applicant)) = endpoint.poll_event() else { panic!("nobody asks") };
    let grant = Grant {
        principal: principal("alice"),
        session_id: session(1),
        resume_token: token(1),
        agents: std::sync::Arc::from([]),
    };
    endpoint.admit(now, applicant.conn, grant).unwrap();
    assert_eq!(endpoint.poll_timeout(), Some(now.mono + secs(30)), "the first ping");
    let (to, frame) = endpoint.poll_transmit(now).unwrap();
    assert_eq!((to, type_of(&serde_json::from_slice(&frame).unwrap())), (conn, "session.welcome"));
    assert!(matches!(endpoint.poll_audit().unwrap().action, Audited::Admitted));
    let ping = message("session.ping", "p1", &session(1), json!({"nonce": "n", "sent_at": "2026-01-01T00:00:00.000Z"}));
    endpoint.handle_input(now, conn, bytes(&ping));
    let (_, frame) = endpoint.poll_transmit(now).unwrap();
    assert_eq!(type_of(&serde_json::from_slice(&frame).unwrap()), "session.pong");
    endpoint.handle_disconnect(now, conn);
    assert!(matches!(endpoint.poll_event(), Some(EndpointEvent::Detached { .. })));
    assert_eq!(endpoint.poll_timeout(), Some(now.mono + secs(600)));
    assert_eq!((endpoint.poll_event().is_none(), endpoint.poll_transmit(now)), (true, None));
}

/// What a world showed: every frame of every link with its time, and what the operator logs.
fn shown(world: &mut World) -> Vec<String> {
    let mut shown = Vec::new();
    for n in 0..world.links() {
        for passed in &world.link(LinkIdx(n)).transcript {
            shown.push(format!("{n} {:?} {:?} {:?}", passed.at, passed.from, passed.frame));
        }
        shown.push(format!("{n} {:?}", world.link(LinkIdx(n)).closed_at));
    }
    shown.extend(world.take_audit().iter().map(|record| format!("{record:?}")));
    shown
}

fn tick(world: &mut World, every: std::time::Duration) {
    let now = world.now;
    world.endpoint.handle_timeout(now);
    assert!(world.endpoint.poll_timeout().is_none_or(|at| at > now.mono));
    world.endpoint.handle_timeout(now);
    world.after(every, move |world| tick(world, every));
}

/// A busy quarter of an hour, of which everything is known.
fn quarter_of_an_hour(seed: u64, ticking: Option<std::time::Duration>) -> Vec<String> {
    let short = RuntimeConfig { resume_window: secs(20), replay_events: 40, ..runtime() };
    let mut world = World::new(EndpointConfig { parked_sessions: 3, ..EndpointConfig::new(short) }).unjudged();
    if let Some(every) = ticking {
        // Between the deadlines, which all are at whole milliseconds.
        world.after(std::time::Duration::from_micros(500), move |world| tick(world, every));
    }
    let mut dice = Dice(seed);
    for n in 0..6 {
        world.raw();
        let idx = world.connect(client(["alice", "bob"][n % 2]).with_ack_policy(AckPolicy::OnPoll));
        world.submit(idx);
        world.reconnect_after(idx, millis(dice.roll(30_000) + 1));
        world.advance(millis(dice.roll(15_000)));
    }
    for _ in 0..120 {
        let idx = ClientIdx(dice.roll(6) as usize);
        if world.client(idx).phase().is_attached() {
            match dice.roll(8) {
                0 => world.cut(idx),
                1 => world.half_open(idx),
                2 => world.cut_unseen_by_endpoint(idx),
                3 => {
                    let link = world.link_of(idx);
                    let is_writable = dice.roll(2) == 0;
                    world.set_writable(link, is_writable);
                }
                _ => {}
            }
        }
        let _ = world.publish(&job(dice.roll(6) + 1), "more");
        world.advance(millis(dice.roll(15_000)));
    }
    shown(&mut world)
}

#[test]
fn c3_who_sleeps_exactly_until_the_deadline_misses_nothing() {
    for seed in [1, 77, 0x1234_5678] {
        let slept = quarter_of_an_hour(seed, None);
        assert!(slept.len() > 300, "{}", slept.len());
        for every in [17, 250].map(millis) {
            let ticked = quarter_of_an_hour(seed, Some(every));
            for (slept, ticked) in slept.iter().zip(&ticked) {
                assert_eq!(slept, ticked, "{seed} {every:?}");
            }
            assert_eq!(slept.len(), ticked.len());
        }
    }
}

#[test]
fn c0_transports_that_are_none_of_the_endpoint_s_are_ignored() {
    let mut world = World::plain();
    let (link, _) = world.raw_session("alice", &["ack"]);
    let now = world.now;
    let mut other = Endpoint::new(config());
    let strangers: Vec<ConnId> = (0..3).map(|_| other.connect(now)).collect();
    let gone = world.raw();
    let gone_conn = world.conn(gone);
    world.hang_up(gone);
    world.take_audit();
    let before = format!("{:?}", world.endpoint);
    for conn in [strangers[1], strangers[2], gone_conn] {
        let endpoint = &mut world.endpoint;
        endpoint.handle_input(now, conn, bytes(&hello("alice", &[])));
        endpoint.handle_malformed(now, conn, arcp_proto::wire::FrameFault::TooLarge { limit: 1 });
        endpoint.handle_activity(now, conn);
        endpoint.set_writable(conn, false);
        endpoint.set_writable(conn, true);
        endpoint.handle_disconnect(now, conn);
        assert!(!endpoint.wants_input(conn));
        assert_eq!(endpoint.session_on(conn), None);
        let error = arcp_proto::wire::WireError::new(arcp_proto::wire::ErrorCode::Unauthenticated, "no");
        assert_eq!(endpoint.reject(now, conn, error), Err(AdmitError::NobodyWaits));
        let grant = world.app.grant(principal("alice"));
        assert_eq!(world.endpoint.admit(now, conn, grant), Err(AdmitError::NobodyWaits));
    }
    assert_eq!(format!("{:?}", world.endpoint), before);
    world.flush();
    assert!(world.take_audit().is_empty() && world.take_endpoint_events().is_empty());
    assert!(!world.is_closed(link));
    assert!(!world.endpoint.shutdown(now, &session(9), "no") && !world.endpoint.evict(now, &session(9)));
}

#[test]
fn c0_a_transport_s_name_is_never_given_twice() {
    let mut endpoint = Endpoint::new(config());
    let now = start();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let conn = endpoint.connect(now);
        assert!(seen.insert(conn));
        endpoint.handle_disconnect(now, conn);
    }
}

#[test]
fn c4_a_clock_that_goes_back_does_no_harm() {
    let mut world = World::plain().unjudged();
    let (link, id) = world.raw_session("alice", &["heartbeat"]);
    world.advance(secs(20));
    let late = world.now;
    world.now = start();
    let ping = message("session.ping", "p1", &id, json!({"nonce": "n", "sent_at": "2026-01-01T00:00:00.000Z"}));
    world.say(link, &ping);
    world.endpoint.handle_timeout(start());
    world.flush();
    assert_eq!(types(&world.heard(link)), ["session.pong"]);
    assert_eq!(world.endpoint.poll_timeout(), Some(start().mono + secs(30)));
    world.now = late;
    world.advance(secs(59));
    assert!(!world.is_closed(link), "its silence counts from what came last, by the later clock");
    world.advance(secs(1));
    assert!(world.is_closed(link));
}

/// Something that a driver or an application does.
#[derive(Clone, Debug)]
enum Op {
    Connect,
    Hello { conn: usize, name: usize, features: bool },
    Resume { conn: usize, name: usize, session: u64, token: u64, last: u64 },
    Say { conn: usize, what: usize },
    Disconnect(usize),
    Malformed(usize),
    Writable(usize, bool),
    Admit(usize),
    Reject,
    Accept,
    Publish(u64),
    Finish(u64),
    Evict(u64),
    Shutdown(u64),
    Wait(u64),
    Sleep,
}

fn op() -> impl Strategy<Value = Op> {
    let conn = 0..8_usize;
    prop_oneof![
        3 => Just(Op::Connect),
        4 => (conn.clone(), 0..3_usize, any::<bool>()).prop_map(|(conn, name, features)| Op::Hello { conn, name, features }),
        4 => (conn.clone(), 0..3_usize, 1..6_u64, 1..12_u64, 0..6_u64)
            .prop_map(|(conn, name, session, token, last)| Op::Resume { conn, name, session, token, last }),
        8 => (conn.clone(), 0..10_usize).prop_map(|(conn, what)| Op::Say { conn, what }),
        2 => conn.clone().prop_map(Op::Disconnect),
        1 => conn.clone().prop_map(Op::Malformed),
        2 => (conn, any::<bool>()).prop_map(|(conn, is_writable)| Op::Writable(conn, is_writable)),
        6 => (0..3_usize).prop_map(Op::Admit),
        1 => Just(Op::Reject),
        3 => Just(Op::Accept),
        5 => (1..5_u64).prop_map(Op::Publish),
        1 => (1..5_u64).prop_map(Op::Finish),
        1 => (1..5_u64).prop_map(Op::Evict),
        1 => (1..5_u64).prop_map(Op::Shutdown),
        3 => (1..40_000_u64).prop_map(Op::Wait),
        2 => Just(Op::Sleep),
    ]
}

/// An endpoint, and whoever drives it by the ops; all that it gives out is written down.
#[derive(Clone)]
struct Driven {
    endpoint: Endpoint,
    now: Now,
    conns: Vec<ConnId>,
    applicants: Vec<Applicant>,
    submits: Vec<arcp_proto::endpoint::Request>,
    granted: u64,
    jobs: u64,
    log: Vec<String>,
}

impl Driven {
    fn new() -> Driven {
        let small = RuntimeConfig { replay_events: 6, resume_window: secs(30), retention: secs(300), ..runtime() };
        let config = EndpointConfig {
            sessions: 6,
            sessions_per_principal: 3,
            parked_sessions: 3,
            parked_bytes: 4_000,
            opening_connections: 4,
            event_bytes: 4_000,
            ..EndpointConfig::new(small)
        };
        Driven {
            endpoint: Endpoint::new(config),
            now: start(),
            conns: Vec::new(),
            applicants: Vec::new(),
            submits: Vec::new(),
            granted: 0,
            jobs: 0,
            log: Vec::new(),
        }
    }

    fn conn(&self, n: usize) -> Option<ConnId> {
        self.conns.get(n % self.conns.len().max(1)).copied()
    }

    fn note(&mut self, what: impl std::fmt::Debug) {
        self.log.push(format!("{what:?}"));
    }

    fn run(&mut self, op: &Op) {
        const NAMES: [&str; 3] = ["alice", "bob", "carol"];
        const FEATURES: [&str; 4] = ["heartbeat", "ack", "list_jobs", "subscribe"];
        let now = self.now;
        match *op {
            Op::Connect => {
                let conn = self.endpoint.connect(now);
                self.conns.push(conn);
                if self.conns.len() > 8 {
                    let oldest = self.conns.remove(0);
                    self.endpoint.handle_disconnect(now, oldest);
                }
            }
            Op::Hello { conn, name, features } => {
                let features = if features { &FEATURES[..] } else { &[] };
                self.input(conn, &hello(NAMES[name], features));
            }
            Op::Resume { conn, name, session: n, token: t, last } => {
                self.input(conn, &resume_hello(NAMES[name], &FEATURES, &session(n), &token(t), last));
            }
            Op::Say { conn, what } => {
                let Some(id) = self.conn(conn).and_then(|conn| self.endpoint.session_on(conn)).cloned() else { return };
                let frame = match what {
                    0 => message("session.ack", "a", &id, json!({"last_processed_seq": 1})),
                    1 => message("session.ack", "a", &id, json!({"last_processed_seq": 3})),
                    2 => message("session.bye", "b", &id, json!({"reason": "normal"})),
                    3 => message("session.list_jobs", "l", &id, json!({})),
                    4 => message("job.subscribe", "s", &id, json!({"job_id": "job_1", "history": true})),
                    5 => message("job.unsubscribe", "u", &id, json!({"job_id": "job_1"})),
                    6 => message("job.cancel", "c", &id, json!({"job_id": "job_2"})),
                    7 => message("x-vendor.word", "v", &id, json!({"pad": "x".repeat(900)})),
                    8 => hello("alice", &[]),
                    _ => {
                        let id_ = format!("s{}", self.log.len());
                        message("job.submit", &id_, &id, json!({"agent": "a", "input": {}, "idempotency_key": "k"}))
                    }
                };
                self.input(conn, &frame);
            }
            Op::Disconnect(n) => {
                if let Some(conn) = self.conn(n) {
                    self.endpoint.handle_disconnect(now, conn);
                }
            }
            Op::Malformed(n) => {
                if let Some(conn) = self.conn(n) {
                    self.endpoint.handle_malformed(now, conn, arcp_proto::wire::FrameFault::TooLarge { limit: 9 });
                }
            }
            Op::Writable(n, is_writable) => {
                if let Some(conn) = self.conn(n) {
                    self.endpoint.set_writable(conn, is_writable);
                }
            }
            Op::Admit(n) => {
                if self.applicants.is_empty() {
                    return;
                }
                let applicant = self.applicants.remove(n % self.applicants.len());
                let bearer = applicant.credentials.token.as_ref().unwrap().reveal().to_owned();
                self.granted += 1;
                let grant = Grant {
                    principal: principal(bearer.strip_prefix("secret-").unwrap()),
                    session_id: session(self.granted),
                    resume_token: token(self.granted),
                    agents: std::sync::Arc::from([]),
                };
                let admitted = self.endpoint.admit(now, applicant.conn, grant);
                self.note(admitted);
            }
            Op::Reject => {
                if let Some(applicant) = self.applicants.pop() {
                    let error = arcp_proto::wire::WireError::new(arcp_proto::wire::ErrorCode::Unauthenticated, "no");
                    let rejected = self.endpoint.reject(now, applicant.conn, error);
                    self.note(rejected);
                }
            }
            Op::Accept => {
                if let Some(request) = self.submits.pop() {
                    self.jobs += 1;
                    let accepted = arcp_proto::wire::JobAccepted::new(job(self.jobs), "a@1", now.wall);
                    let accepted = self.endpoint.accept_job(now, &request, accepted);
                    self.note(accepted);
                }
            }
            Op::Publish(n) => {
                let published = self.endpoint.publish(now, &job(n), "log", &json!({"level": "info", "message": "m"}));
                self.note(published);
            }
            Op::Finish(n) => {
                let result = arcp_proto::wire::JobResult::inline(arcp_proto::wire::RawJson::empty_object());
                let finished = self.endpoint.finish(now, &job(n), result);
                self.note(finished);
            }
            Op::Evict(n) => {
                self.endpoint.evict(now, &session(n));
            }
            Op::Shutdown(n) => {
                self.endpoint.shutdown(now, &session(n), "maintenance");
            }
            Op::Wait(span) => {
                let end = now.after(millis(span));
                while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end.mono) {
                    self.wake(at);
                }
                self.now = end;
            }
            Op::Sleep => {
                if let Some(at) = self.endpoint.poll_timeout() {
                    self.wake(at);
                }
            }
        }
        self.drain();
    }

    fn input(&mut self, conn: usize, frame: &Value) {
        if let Some(conn) = self.conn(conn) {
            self.endpoint.handle_input(self.now, conn, bytes(frame));
        }
    }

    fn wake(&mut self, at: Instant) {
        assert!(at > self.now.mono || self.endpoint.poll_timeout() == Some(at));
        self.now = self.now.after(at - self.now.mono);
        self.endpoint.handle_timeout(self.now);
        assert!(self.endpoint.poll_timeout().is_none_or(|next| next > self.now.mono), "deadlines move");
        self.drain();
    }

    fn drain(&mut self) {
        let now = self.now;
        while let Some((conn, frame)) = self.endpoint.poll_transmit(now) {
            assert!(self.endpoint.connection_count().0 > 0);
            self.note((now.mono, conn, frame));
        }
        while let Some(conn) = self.endpoint.poll_close() {
            self.conns.retain(|other| *other != conn);
            self.note((now.mono, conn, "close"));
        }
        while let Some(event) = self.endpoint.poll_event() {
            self.note(&event);
            match event {
                EndpointEvent::Authenticate(applicant) => self.applicants.push(*applicant),
                EndpointEvent::Submit { request, .. } => self.submits.push(request),
                _ => {}
            }
        }
        while let Some(record) = self.endpoint.poll_audit() {
            self.note(&record);
        }
        assert!(self.endpoint.poll_transmit(now).is_none(), "drained is drained");
        assert!(self.endpoint.poll_close().is_none() && self.endpoint.poll_event().is_none());
        let (parked, bytes) = self.endpoint.parked();
        assert!(parked <= 3 && bytes <= 4_000 && self.endpoint.session_count() <= 6);
        let (conns, opening) = self.endpoint.connection_count();
        assert!(opening <= 4 && opening <= conns && conns <= self.conns.len());
        let attached = self.endpoint.sessions().filter(|session| session.phase().is_attached()).count();
        assert_eq!(self.endpoint.session_count(), parked + attached);
        let held: usize = self
            .endpoint
            .sessions()
            .filter(|session| !session.phase().is_attached())
            .map(|session| session.replay_len().1)
            .sum();
        assert_eq!(held, bytes, "the bytes of parked sessions are counted right");
        for session in self.endpoint.sessions() {
            let conn = self.endpoint.conn_of(session.session_id().unwrap());
            assert_eq!(conn.is_some(), session.phase().is_attached());
            assert!(conn.is_none_or(|conn| self.endpoint.session_on(conn) == session.session_id()));
        }
        let counters = self.endpoint.counters();
        assert_eq!(counters.admitted - counters.closed, self.endpoint.session_count() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn c0_whatever_happens_the_contract_stands_and_a_clone_does_the_same(
        ops in proptest::collection::vec(op(), 1..120),
        at in 0..120_usize,
    ) {
        let mut first = Driven::new();
        let (before, after) = ops.split_at(at.min(ops.len()));
        for op in before {
            first.run(op);
        }
        let mut second = first.clone();
        for op in after {
            first.run(op);
        }
        for op in after {
            second.run(op);
        }
        prop_assert_eq!(&first.log, &second.log);
        // Left alone, it comes to rest, and nothing is left of it.
        let now = first.now;
        for conn in std::mem::take(&mut first.conns) {
            first.endpoint.handle_disconnect(now, conn);
        }
        for _ in 0..1_000 {
            first.run(&Op::Sleep);
        }
        prop_assert_eq!(first.endpoint.connection_count(), (0, 0));
        prop_assert_eq!(first.endpoint.session_count(), 0, "windows and retention are over");
        prop_assert_eq!(first.endpoint.poll_timeout(), None);
    }
}
