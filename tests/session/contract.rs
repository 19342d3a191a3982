//! The four sentences of the contract, in every phase.

use arcp_proto::wire::{FrameFault, JobQuery, JobSubmit, RawJson};
use arcp_proto::{Client, ClientEvent, Instant, Now, Role, Runtime, Session};
use bytes::Bytes;

use crate::pair::{Pair, client_config, job, log_frame, millis, runtime_config, secs, sent, start, welcome};

/// A client session in each of its phases.
fn clients() -> Vec<(&'static str, Session<Client>, Now)> {
    let mut all = Vec::new();
    let connecting = Session::connect(start(), client_config());
    all.push(("connecting", connecting, start()));
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(3);
    pair.flush();
    all.push(("open", pair.client.clone(), pair.now));
    let mut closing = pair.client.clone();
    closing.close(pair.now, "normal");
    all.push(("closing", closing, pair.now));
    pair.cut();
    all.push(("detached", pair.client.clone(), pair.now));
    pair.client.resume(pair.now).unwrap();
    all.push(("resuming", pair.client.clone(), pair.now));
    pair.client.close(pair.now, "normal");
    all.push(("closed", pair.client.clone(), pair.now));
    all
}

/// A runtime session in each of its phases.
fn runtimes() -> Vec<(&'static str, Session<Runtime>, Now)> {
    let mut all = Vec::new();
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(3);
    let mut closing = pair.runtime().clone();
    closing.shutdown(pair.now, "maintenance");
    all.push(("closing", closing, pair.now));
    pair.flush();
    all.push(("open", pair.runtime().clone(), pair.now));
    pair.cut();
    all.push(("detached", pair.runtime().clone(), pair.now));
    let now = pair.now;
    pair.runtime().shutdown(now, "maintenance");
    all.push(("closed", pair.runtime().clone(), pair.now));
    all
}

/// What a peer might say at any time, right or wrong.
fn inputs() -> Vec<Bytes> {
    let frames = [
        welcome(arcp_proto::FeatureSet::all()).to_string(),
        log_frame(4).to_string(),
        log_frame(9).to_string(),
        r#"{"id":"1","type":"session.hello","payload":{"auth":{"scheme":"bearer","token":"t"}}}"#.into(),
        r#"{"id":"2","type":"session.ping","payload":{"nonce":"n"}}"#.into(),
        r#"{"id":"3","type":"session.pong","payload":{}}"#.into(),
        r#"{"id":"4","type":"session.ack","payload":{"last_processed_seq":2}}"#.into(),
        r#"{"id":"5","type":"session.bye"}"#.into(),
        r#"{"id":"6","type":"session.closed"}"#.into(),
        r#"{"id":"7","type":"session.error","payload":{"code":"INTERNAL_ERROR"}}"#.into(),
        r#"{"id":"8","type":"session.list_jobs"}"#.into(),
        r#"{"id":"9","type":"job.submit","payload":{"agent":"a"}}"#.into(),
        r#"{"id":"10","type":"job.error","job_id":"job_1","payload":{"code":"TIMEOUT"}}"#.into(),
        r#"{"id":"11","type":"session.motd"}"#.into(),
        r#"{"id":"12","type":"session.ping","session_id":"sess_other"}"#.into(),
        "not json".into(),
        String::new(),
    ];
    frames.into_iter().map(Bytes::from).collect()
}

/// Polls both ways until both say `None`.
fn drain<R: Role>(session: &mut Session<R>, now: Now) -> (Vec<Bytes>, usize) {
    let (mut frames, mut events) = (Vec::new(), 0);
    loop {
        let (frame, event) = (session.poll_transmit(now), session.poll_event());
        if frame.is_none() && event.is_none() {
            return (frames, events);
        }
        frames.extend(frame);
        events += usize::from(event.is_some());
    }
}

fn each_session_and_input(mut check: impl FnMut(&str, AnySession, Bytes, Now)) {
    for input in inputs() {
        for (phase, session, now) in clients() {
            check(phase, AnySession::Client(Box::new(session)), input.clone(), now);
        }
        for (phase, session, now) in runtimes() {
            check(phase, AnySession::Runtime(Box::new(session)), input.clone(), now);
        }
    }
}

enum AnySession {
    Client(Box<Session<Client>>),
    Runtime(Box<Session<Runtime>>),
}

impl AnySession {
    fn with<T>(&mut self, run: impl OnEither<T>) -> T {
        match self {
            AnySession::Client(session) => run.on(session),
            AnySession::Runtime(session) => run.on(session),
        }
    }
}

trait OnEither<T> {
    fn on<R: Role>(self, session: &mut Session<R>) -> T;
}

struct Eager<'a>(&'a str, Bytes, Now);

impl OnEither<()> for Eager<'_> {
    fn on<R: Role>(self, session: &mut Session<R>) {
        let Eager(phase, input, now) = self;
        session.handle_timeout(now);
        drain(session, now);
        session.handle_input(now, input.clone());
        let phase_after = session.phase();
        drain(session, now);
        // A later call brings out nothing that was caused before it.
        session.handle_timeout(now);
        assert_eq!(drain(session, now), (vec![], 0), "{phase}: {input:?} left something behind");
        assert_eq!(session.phase(), phase_after, "{phase}: {input:?} took effect later");
    }
}

#[test]
fn eager_all_that_an_input_causes_is_queued_before_the_call_returns() {
    each_session_and_input(|phase, mut session, input, now| session.with(Eager(phase, input, now)));
}

struct Drained<'a>(&'a str, Bytes, Now);

impl OnEither<()> for Drained<'_> {
    fn on<R: Role>(self, session: &mut Session<R>) {
        let Drained(phase, input, now) = self;
        session.handle_input(now, input);
        drain(session, now);
        // Until just before the next deadline, polling and asking too early change nothing.
        let until = session.poll_timeout().unwrap_or(now.mono + secs(3_600));
        let early = now.after((until - now.mono).saturating_sub(millis(1)));
        for at in [now, now.after((early.mono - now.mono) / 2), early] {
            assert_eq!(drain(session, at), (vec![], 0), "{phase}: at {at:?}");
        }
    }
}

#[test]
fn drained_is_drained_until_the_next_input_or_deadline() {
    each_session_and_input(|phase, mut session, input, now| session.with(Drained(phase, input, now)));
}

struct Moves<'a>(&'a str, Bytes, Now);

impl OnEither<()> for Moves<'_> {
    fn on<R: Role>(self, session: &mut Session<R>) {
        let Moves(phase, input, mut now) = self;
        session.handle_input(now, input);
        for _ in 0..50 {
            session.handle_timeout(now);
            let Some(next) = session.poll_timeout() else { break };
            assert!(next > now.mono, "{phase}: {:?} at {next:?} is not after {now:?}", session.timeout_reason());
            now = Now::new(next, now.wall);
            drain(session, now);
        }
        session.handle_timeout(Now::new(Instant::MAX, now.wall));
        session.handle_timeout(now);
        assert_eq!(session.poll_timeout(), None, "{phase}: something is later than the end of time");
    }
}

#[test]
fn deadlines_move_after_handle_timeout() {
    each_session_and_input(|phase, mut session, input, now| session.with(Moves(phase, input, now)));
}

/// A day with traffic, once sleeping exactly until each deadline and once looking in every 10 ms: the same happens.
#[test]
fn sleeping_is_safe_a_driver_that_sleeps_until_the_deadline_misses_nothing() {
    let happenings = |step: Option<std::time::Duration>| {
        let mut pair = Pair::connected_with(client_config(), runtime_config()).unjudged();
        pair.submit();
        pair.emit(3);
        pair.flush();
        let now = pair.now;
        pair.client.mark_processed(now, 2).unwrap();
        pair.client.list_jobs(now, &JobQuery::default()).unwrap();
        match step {
            None => pair.advance(secs(45)),
            Some(step) => (0..secs(45).as_millis() / step.as_millis()).for_each(|_| pair.advance(step)),
        }
        pair.hold_to_client = true;
        pair.hold_to_runtime = true;
        match step {
            None => pair.advance(secs(700)),
            Some(step) => (0..secs(700).as_millis() / step.as_millis()).for_each(|_| pair.advance(step)),
        }
        let frames: Vec<_> = pair.transcript.iter().map(|p| (p.at, p.frame.clone())).collect();
        (frames, format!("{:?}", pair.client_events), format!("{:?}", pair.runtime_events))
    };
    assert_eq!(happenings(None), happenings(Some(millis(10))));
}

#[test]
fn no_order_of_calls_panics() {
    each_session_and_input(|_, mut session, input, now| {
        session.with(AnyOrder(input, now));
    });
}

struct AnyOrder(Bytes, Now);

impl OnEither<()> for AnyOrder {
    fn on<R: Role>(self, session: &mut Session<R>) {
        let AnyOrder(input, now) = self;
        let times = [Now::new(Instant::ZERO, now.wall), now, now.after(secs(61)), Now::new(Instant::MAX, now.wall)];
        // Orders of the seven calls from all over the 5040, each call at another of the times.
        for order in (0..5_040).step_by(11) {
            let mut session = session.clone();
            let mut calls: Vec<usize> = (0..7).collect();
            let (mut rest, mut place) = (order, 7);
            while !calls.is_empty() {
                let call = calls.remove(rest % place);
                let at = times[(order + call) % times.len()];
                (rest, place) = (rest / place, place - 1);
                match call {
                    0 => session.handle_activity(at),
                    1 => session.handle_input(at, input.clone()),
                    2 => session.handle_disconnect(at),
                    3 => session.handle_timeout(at),
                    4 => session.handle_malformed(at, FrameFault::NotUtf8),
                    5 => drop(sent(&mut session, at)),
                    _ => while session.poll_event().is_some() {},
                }
            }
            session.handle_timeout(times[3]);
            assert_eq!(session.poll_timeout(), None);
        }
    }
}

#[test]
fn closed_is_told_exactly_once_and_last() {
    for (phase, mut session, now) in clients() {
        session.close(now, "normal");
        session.handle_disconnect(now);
        session.close(now, "again");
        session.handle_timeout(now.after(secs(100_000)));
        let events: Vec<_> = std::iter::from_fn(|| session.poll_event()).collect();
        let closed = events.iter().filter(|event| matches!(event, ClientEvent::Closed(_))).count();
        assert_eq!(closed, 1, "{phase}: {events:?}");
        assert!(matches!(events.last(), Some(ClientEvent::Closed(_))), "{phase}: {events:?}");
        let submit = JobSubmit::new("a", RawJson::null());
        assert!(session.submit(now, &submit).is_err() && session.cancel(now, &job(), None).is_err());
    }
}

#[test]
fn sessions_events_and_openings_go_to_other_threads() {
    fn is_sendable<T: Send + 'static>() {}
    fn is_cloneable<T: Clone + Send + Sync + 'static>() {}
    is_cloneable::<Session<Client>>();
    is_cloneable::<Session<Runtime>>();
    is_cloneable::<ClientEvent>();
    is_cloneable::<arcp_proto::RuntimeEvent>();
    is_cloneable::<arcp_proto::wire::Envelope>();
    is_sendable::<arcp_proto::Opening>();
    is_sendable::<arcp_proto::ResumeRefused>();
}
