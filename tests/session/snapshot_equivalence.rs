//! A restored session behaves like the one that it was restored of, detached, under every later input: both are driven
//! alike, each on its own clock, and all that comes out of them is compared. Ids differ in the attachment that they name,
//! by one, and in nothing else.

use arcp_proto::wire::{ErrorCode, JobAccepted, JobQuery, JobResult, JobSubmit, RawJson, WireError};
use arcp_proto::{
    AckPolicy, Client, ClientConfig, ClientEvent, Feature, FeatureSet, GapPolicy, Now, Opening, Overflow, Phase,
    RequestId, Runtime, RuntimeConfig, RuntimeEvent, SendError, Session,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::pair::{
    client_alone, client_config, client_events, feed, job, message, principal, runtime_alone, runtime_config,
    runtime_events, secs, sent, start, token, welcome,
};
use crate::snapshot::{agents, elsewhere, revived, revived_client};
use crate::twins::{AHEAD, Twins, aged, later, minted};
use crate::worst_peer::{Dice, frame, garbled, pause};

/// As many lives as `ARCP_TWINS` says; few by default.
fn runs() -> u64 {
    std::env::var("ARCP_TWINS").ok().and_then(|count| count.parse().ok()).unwrap_or(24)
}

const STEPS: u64 = 120;

// The runtime.

fn runtime_of(dice: &mut Dice) -> (RuntimeConfig, FeatureSet) {
    let overflow = *dice.pick(&[Overflow::Block, Overflow::Evict]);
    let mut config = runtime_config().with_replay(40, 40_000, overflow);
    config.back_pressure_threshold = 12;
    let features = match dice.below(4) {
        0 => FeatureSet::none(),
        1 => FeatureSet::all().without(Feature::Ack),
        _ => FeatureSet::all(),
    };
    (config, features)
}

fn work(session: &mut Session<Runtime>, now: Now, dice: &mut Dice) -> bool {
    let mut blocked = false;
    for _ in 0..dice.below(6) {
        let body = json!({"message": "m".repeat(dice.below(2_000) as usize)});
        blocked |= match dice.below(8) {
            0 => session.send_result(now, &job(), JobResult::inline(RawJson::null())),
            _ => session.send_event(now, &job(), dice.pick::<&str>(&["log", "progress"]), &body),
        } == Err(SendError::Blocked);
    }
    blocked
}

fn answer(session: &mut Session<Runtime>, now: Now, asked: &mut Vec<RequestId>, dice: &mut Dice) {
    for request in asked.drain(..) {
        let outcome = match dice.below(2) {
            0 => session.accept_job(now, request, JobAccepted::new(job(), "a@1", now.wall)),
            _ => session.fail_request(now, request, WireError::new(ErrorCode::Timeout, "m")),
        };
        if outcome.is_err() {
            let _ = session.fail_request(now, request, WireError::new(ErrorCode::Timeout, "m"));
        }
    }
}

fn ask(events: &[RuntimeEvent], asked: &mut Vec<RequestId>) {
    asked.extend(events.iter().filter_map(|event| match event {
        RuntimeEvent::Submit { request, .. }
        | RuntimeEvent::Cancel { request, .. }
        | RuntimeEvent::Subscribe { request, .. }
        | RuntimeEvent::ListJobs { request, .. } => Some(*request),
        _ => None,
    }));
}

/// A resume, as it comes out: whether it was taken, or why not.
fn resume(
    session: &mut Session<Runtime>,
    now: Now,
    (n, next): (u64, u64),
    last: u64,
    features: Option<&FeatureSet>,
) -> String {
    let mut hello = json!({"id": "h", "type": "session.hello", "payload": {
        "auth": {"scheme": "bearer", "token": "secret-bearer"},
        "resume_token": token(n).reveal(), "last_event_seq": last,
    }});
    if let Some(features) = features {
        hello["payload"]["capabilities"] = json!({"features": features});
    }
    let opening = Opening::parse(Bytes::from(hello.to_string()), &Default::default()).unwrap();
    let Opening::Resume(attempt) = opening else { panic!("it has a token") };
    match session.resume(now, attempt, &principal(), token(next)) {
        Ok(takeover) => format!("taken over from {}", takeover.farewell.len()),
        Err(refused) => format!("{refused}"),
    }
}

/// Lives a while, is cut, and has all its requests answered: what an original is. Says which token is current, and whether
/// an event was blocked (`Writable` is owed then, which a snapshot does not carry).
fn runtime_life(dice: &mut Dice, config: &RuntimeConfig, features: FeatureSet) -> (Session<Runtime>, Now, u64, bool) {
    let header = aged(&runtime_alone(config.clone(), features).snapshot());
    let mut session = Session::<Runtime>::restore(start(), config.clone().into(), agents(), header, []).unwrap();
    let (mut now, mut current, mut blocked, mut asked) = (start(), 1, false, Vec::new());
    for _ in 0..dice.below(STEPS) {
        now = now.after(pause(dice));
        session.handle_timeout(now);
        for _ in 0..dice.below(5) {
            let input = frame(dice, session.acked_seq(), &[]);
            session.handle_input(now, garbled(dice, &input));
        }
        blocked |= work(&mut session, now, dice);
        if dice.once_in(3) {
            answer(&mut session, now, &mut asked, dice);
        }
        sent(&mut session, now);
        ask(&runtime_events(&mut session), &mut asked);
        if dice.once_in(10) || !session.phase().is_attached() {
            session.handle_disconnect(now);
            let last = session.last_event_seq();
            if resume(&mut session, now, (current, current + 1), last, None).starts_with("taken") {
                current += 1;
            }
            // All that is emitted is transmitted before the next thing happens.
            sent(&mut session, now);
        }
    }
    answer(&mut session, now, &mut asked, dice);
    sent(&mut session, now);
    session.handle_disconnect(now);
    session.handle_timeout(now);
    ask(&runtime_events(&mut session), &mut asked);
    answer(&mut session, now, &mut asked, dice);
    (session, now, current, blocked)
}

#[test]
fn d32_a_restored_runtime_behaves_like_the_detached_one() {
    let (mut detached, mut resumed, mut refused, mut overtime) = (0, 0, 0, 0);
    for seed in 1..=runs() {
        let mut dice = Dice::new(seed);
        let (config, features) = runtime_of(&mut dice);
        let (mut original, mut now, mut current, blocked) = runtime_life(&mut dice, &config, features);
        if dice.once_in(4) {
            now = now.after(secs(dice.below(2_000)));
            original.handle_timeout(now);
            runtime_events(&mut original);
        }
        if original.phase() != Phase::Detached {
            continue;
        }
        detached += 1;
        let restored = revived(&original, config.clone(), elsewhere());
        let minted = minted(&original.snapshot());
        let mut twins = Twins::new(original, restored, (now, elsewhere()), (minted, 0), 'r');
        let mut asked = Vec::new();
        for _ in 0..STEPS {
            twins.wait(pause(&mut dice));
            twins.both(|session, now| session.handle_timeout(now));
            for _ in 0..dice.below(5) {
                let input = frame(&mut dice, twins.original.acked_seq(), &[]);
                let bytes = garbled(&mut dice, &input);
                twins.both(|session, now| session.handle_input(now, bytes.clone()));
            }
            let seed = dice.roll();
            twins.both(|session, now| {
                work(session, now, &mut Dice::new(seed));
            });
            twins.both(|session, now| answer(session, now, &mut asked.clone(), &mut Dice::new(seed)));
            asked.clear();
            match dice.below(40) {
                0 => twins.wait(secs(dice.below(700))),
                1 => twins.wait(secs(dice.below(100_000))),
                2 if dice.once_in(6) => twins.both(|session, now| session.shutdown(now, "r")),
                3..=6 => twins.both(|session, now| session.handle_disconnect(now)),
                7..=16 => {
                    let highest = twins.original.last_event_seq();
                    // The last is what was never emitted; all that was has been transmitted, or is by what follows.
                    let transmitted = if twins.original.phase().is_attached() { highest } else { twins.seen() };
                    let last = match dice.below(6) {
                        0 => highest + 1 + dice.below(3),
                        1 => twins.original.replay_floor().saturating_sub(1),
                        2 => twins.original.replay_floor().min(transmitted),
                        _ => transmitted,
                    };
                    let presented = if dice.once_in(5) { current + 1 } else { current };
                    let features = FeatureSet::all().without(*dice.pick(Feature::ALL));
                    let features = dice.once_in(3).then_some(&features);
                    let (mut outcomes, next) = (Vec::new(), current + 2);
                    twins.both(|session, now| {
                        outcomes.push(resume(session, now, (presented, next), last, features));
                    });
                    assert_eq!(outcomes[0], outcomes[1], "seed {seed}");
                    if outcomes[0].starts_with("taken") {
                        (resumed, current) = (resumed + 1, next);
                    } else {
                        refused += 1;
                    }
                }
                _ => {}
            }
            twins.transmit();
            let original = runtime_events(&mut twins.original);
            let restored = runtime_events(&mut twins.restored);
            overtime += original.iter().filter(|event| matches!(event, RuntimeEvent::WindowElapsed)).count();
            ask(&original, &mut asked);
            let told = |events: &[RuntimeEvent]| -> Vec<String> {
                let events = events.iter().filter(|event| !(blocked && matches!(event, RuntimeEvent::Writable)));
                events.map(|event| format!("{event:?}")).collect()
            };
            assert_eq!(told(&original), told(&restored));
            twins.compare();
            twins.compare_windows();
        }
    }
    // It has been where it matters.
    assert!(
        detached > runs() / 2 && resumed > 2 * runs() && refused > 2 * runs() && overtime > runs() as usize / 8,
        "{detached} {resumed} {refused} {overtime}"
    );
}

impl Twins<Runtime> {
    fn compare_windows(&self) {
        let seen = |session: &Session<Runtime>| {
            let seqs = (session.last_event_seq(), session.acked_seq(), session.replay_floor());
            (seqs, session.replay_len(), session.send_credit())
        };
        assert_eq!(seen(&self.original), seen(&self.restored));
    }

    /// What the original has transmitted.
    fn seen(&self) -> u64 {
        let header = serde_json::to_value(self.original.snapshot()).unwrap();
        header["window"]["transmitted"].as_u64().unwrap()
    }
}

// The client.

fn client_of(dice: &mut Dice) -> ClientConfig {
    ClientConfig {
        gap_policy: *dice.pick(&[GapPolicy::Resume, GapPolicy::Report]),
        ack_policy: *dice.pick(&[AckPolicy::Manual, AckPolicy::OnPoll]),
        resume_overlap: dice.below(2),
        give_up_after: *dice.pick(&[None, Some(secs(50)), Some(secs(5_000))]),
        lagging_after: 10,
        ..client_config()
    }
}

fn use_client(session: &mut Session<Client>, now: Now, dice: &mut Dice) {
    let _ = match dice.below(4) {
        0 => session.submit(now, &JobSubmit::new("a", RawJson::empty_object())),
        1 => session.cancel(now, &"job_1".into(), None),
        2 => session.subscribe(now, &"job_2".into(), None),
        _ => session.list_jobs(now, &JobQuery::default()),
    };
    if dice.once_in(2) {
        let back = dice.below(3);
        let _ = session.mark_processed(now, session.last_event_seq().saturating_sub(back));
    }
}

fn ids_of(frames: &[Bytes]) -> Vec<String> {
    let id = |frame: &Bytes| serde_json::from_slice::<Value>(frame).unwrap()["id"].as_str().unwrap().to_owned();
    frames.iter().map(id).collect()
}

/// Anything, but seldom the end of all.
fn input(dice: &mut Dice, near: u64, ids: &[String]) -> Value {
    loop {
        let frame = frame(dice, near, ids);
        let is_end = frame["type"] == "session.bye" || frame["type"] == "session.closed";
        if !is_end || dice.once_in(60) {
            return frame;
        }
    }
}

/// What answers a resume: mostly the welcome to it.
fn reply(dice: &mut Dice) -> Value {
    match dice.below(12) {
        0 => message("session.error", json!({"code": "INTERNAL_ERROR", "message": "busy", "retryable": true})),
        1 if dice.once_in(5) => {
            message("session.error", json!({"code": "RESUME_WINDOW_EXPIRED", "message": "no", "retryable": false}))
        }
        2 if dice.once_in(5) => {
            let mut other = welcome(FeatureSet::all());
            other["session_id"] = json!("sess_2");
            other
        }
        3 => welcome(FeatureSet::all().without(Feature::Ack)),
        _ => welcome(FeatureSet::all()),
    }
}

/// Lives a while, processes all that it got, and is cut.
fn client_life(dice: &mut Dice, config: &ClientConfig) -> (Session<Client>, Now) {
    let header = aged(&client_alone(config.clone()).snapshot());
    let mut session = Session::<Client>::restore(start(), config.clone(), header).unwrap();
    let (mut now, mut ids) = (start(), Vec::new());
    for _ in 0..dice.below(STEPS) {
        now = now.after(pause(dice));
        session.handle_timeout(now);
        for _ in 0..dice.below(6) {
            let input = input(dice, session.last_event_seq(), &ids);
            session.handle_input(now, garbled(dice, &input));
        }
        use_client(&mut session, now, dice);
        if session.resume(now).is_ok() {
            sent(&mut session, now);
            feed(&mut session, now, &reply(dice));
        }
        ids = ids_of(&sent(&mut session, now));
        client_events(&mut session);
        if dice.once_in(15) {
            session.handle_disconnect(now);
        }
    }
    session.handle_disconnect(now);
    session.handle_timeout(now);
    client_events(&mut session);
    let _ = session.mark_processed(now, session.last_event_seq());
    (session, now)
}

#[test]
fn d32_a_restored_client_behaves_like_the_detached_one() {
    let (mut detached, mut resumed, mut lost) = (0, 0, 0);
    for seed in 1..=runs() {
        let mut dice = Dice::new(seed);
        let config = client_of(&mut dice);
        let (mut original, mut now) = client_life(&mut dice, &config);
        if dice.once_in(4) {
            now = now.after(secs(dice.below(500)));
            original.handle_timeout(now);
            client_events(&mut original);
        }
        if original.phase() != Phase::Detached {
            continue;
        }
        detached += 1;
        assert_eq!(original.last_processed_seq(), original.last_event_seq());
        let restored = revived_client(&original, config.clone(), elsewhere());
        let minted = minted(&original.snapshot());
        let mut twins = Twins::new(original, restored, (now, elsewhere()), (minted, AHEAD), 'c');
        let (mut ids, mut restored_ids) = (Vec::new(), Vec::new());
        for _ in 0..STEPS {
            twins.wait(pause(&mut dice));
            twins.both(|session, now| session.handle_timeout(now));
            for _ in 0..dice.below(6) {
                // The same frame, but for the ids of ours that it names.
                let (near, mut same) = (twins.original.last_event_seq(), dice.clone());
                let sent = input(&mut dice, near, &ids);
                let bytes = garbled(&mut dice, &sent);
                let sent = input(&mut same, near, &restored_ids);
                let restored_bytes = garbled(&mut same, &sent);
                let there = twins.there();
                twins.original.handle_input(twins.now, bytes);
                twins.restored.handle_input(there, restored_bytes);
            }
            let seed = dice.roll();
            twins.both(|session, now| use_client(session, now, &mut Dice::new(seed)));
            match dice.below(30) {
                0 if dice.once_in(8) => twins.wait(secs(dice.below(700))),
                1 if dice.once_in(8) => twins.both(|session, now| session.close(now, "r")),
                2..=4 => twins.both(|session, now| session.handle_disconnect(now)),
                5..=14 => {
                    let mut outcomes = Vec::new();
                    twins.both(|session, now| outcomes.push(session.resume(now)));
                    assert_eq!(outcomes[0], outcomes[1], "seed {seed}");
                    twins.transmit();
                    let answer = reply(&mut dice);
                    twins.both(|session, now| feed(session, now, &answer));
                    resumed += u64::from(outcomes[0].is_ok() && twins.original.phase() == Phase::Open);
                }
                _ => {}
            }
            let frames = twins.transmit();
            if !frames.is_empty() {
                ids = ids_of(&frames);
                // As the original names them, one attachment later.
                let later = |id: &String| later(id, AHEAD);
                restored_ids = ids.iter().map(later).collect();
            }
            let told = |events: &[ClientEvent], twins: &Twins<Client>, is_restored: bool| -> Vec<String> {
                let print = |event: &ClientEvent| format!("{event:?}");
                let events = events.iter().map(print);
                events.map(|text| if is_restored { twins.normal(text.as_bytes()) } else { text }).collect()
            };
            let original = client_events(&mut twins.original);
            let restored = client_events(&mut twins.restored);
            lost += original.iter().filter(|event| matches!(event, ClientEvent::EventsLost { .. })).count();
            assert_eq!(told(&original, &twins, false), told(&restored, &twins, true), "seed {seed}");
            twins.compare();
            let seen = |session: &Session<Client>| {
                let seqs = (session.last_event_seq(), session.last_processed_seq());
                (seqs, session.info().cloned(), session.resume_token().cloned())
            };
            assert_eq!(seen(&twins.original), seen(&twins.restored), "seed {seed}");
        }
    }
    // It has been where it matters.
    assert!(detached > runs() / 2 && resumed > 2 * runs() && lost > runs() as usize / 8, "{detached} {resumed} {lost}");
}
