//! The back-pressure signal: what a runtime does when a client's acknowledgements fall behind.

use arcp_proto::wire::job_event::Status;
use arcp_proto::wire::{ErrorCode, JobError, JobId, JobResult, RawJson, WireError};
use arcp_proto::{
    ClientEvent, Feature, FeatureSet, Overflow, Runtime, RuntimeConfig, RuntimeEvent, SendError, Session,
};
use serde_json::{Value, json};

use crate::lone_runtime::{ack, at, emit, log, resume, seqs, stream, transmit};
use crate::pair::{
    Pair, client_config, job, runtime_alone, runtime_config, runtime_events, sent, sent_json, start, types,
};

fn config() -> RuntimeConfig {
    RuntimeConfig { back_pressure_threshold: 10, ..runtime_config() }
}

fn runtime() -> Session<Runtime> {
    runtime_alone(config(), FeatureSet::all())
}

/// Attached, all sent, the signal given: 11 events and the status.
fn runtime_under_pressure() -> Session<Runtime> {
    let mut session = runtime();
    stream(&mut session, start(), 11);
    assert_eq!(session.last_event_seq(), 12);
    assert_eq!(crossings(&mut session), [(true, 11)]);
    session
}

/// What the application hears of it.
fn crossings(session: &mut Session<Runtime>) -> Vec<(bool, u64)> {
    let events = runtime_events(session).into_iter();
    events
        .filter_map(
            |event| if let RuntimeEvent::BackPressure { active, lag } = event { Some((active, lag)) } else { None },
        )
        .collect()
}

fn is_signal(frame: &Value) -> bool {
    frame["payload"]["kind"] == "status" && frame["payload"]["body"]["phase"] == "back_pressure"
}

/// The places of the signals among some frames.
fn signals(frames: &[Value]) -> Vec<u64> {
    seqs(&frames.iter().filter(|frame| is_signal(frame)).cloned().collect::<Vec<_>>())
}

fn other_job() -> JobId {
    JobId::from("job_2")
}

fn result() -> JobResult {
    JobResult::inline(RawJson::null())
}

// A10: when

#[test]
fn a10_up_to_the_threshold_there_is_no_signal_and_one_beyond_there_is() {
    let mut session = runtime();
    emit(&mut session, start(), 10);
    assert_eq!(session.last_event_seq(), 10);
    assert!(session.poll_event().is_none());
    assert_eq!(log(&mut session, at(77), &job()), Ok(11), "the seq of the caller's event");
    assert_eq!(session.last_event_seq(), 12);
    let frames = sent_json(&mut session, at(77));
    assert_eq!(seqs(&frames), (1..=12).collect::<Vec<_>>());
    assert_eq!(signals(&frames), [12], "right behind the crossing event");
    assert_eq!(log(&mut session, at(77), &job()), Ok(13));
}

#[test]
fn d26_the_signal_is_a_job_event_like_any_other() {
    let mut session = runtime();
    emit(&mut session, at(77), 11);
    let frames = sent_json(&mut session, at(77));
    let (crossing, signal) = (&frames[10], &frames[11]);
    assert_eq!(signal["type"], "job.event");
    assert_eq!((&signal["session_id"], &signal["job_id"]), (&json!("sess_1"), &json!("job_1")));
    assert_eq!(signal["event_seq"], 12);
    assert_ne!(signal["id"], crossing["id"]);
    assert_eq!(signal["payload"]["ts"], at(77).wall.to_string());
    let body: Status = serde_json::from_value(signal["payload"]["body"].clone()).unwrap();
    assert_eq!(body.phase, "back_pressure");
    assert!(!body.message.unwrap().is_empty());
}

#[test]
fn a10_the_threshold_is_1000_unless_configured() {
    let mut session = runtime_alone(runtime_config(), FeatureSet::all());
    emit(&mut session, start(), 1_000);
    assert_eq!(session.last_event_seq(), 1_000);
    emit(&mut session, start(), 1);
    assert_eq!(session.last_event_seq(), 1_002);
}

#[test]
fn a10_what_counts_is_emitted_less_acknowledged() {
    let mut session = runtime();
    stream(&mut session, start(), 5);
    ack(&mut session, start(), 5);
    emit(&mut session, start(), 10);
    assert_eq!(session.last_event_seq(), 15);
    emit(&mut session, start(), 1);
    assert_eq!(session.last_event_seq(), 17);
}

#[test]
fn a10_events_count_whether_sent_or_not() {
    let mut session = runtime();
    emit(&mut session, start(), 8);
    let _ = transmit(&mut session, start(), 3);
    emit(&mut session, start(), 3);
    assert_eq!(session.last_event_seq(), 12);
}

#[test]
fn a10_a_client_that_keeps_up_sees_no_signal() {
    let mut session = runtime();
    for n in 1..=200 {
        stream(&mut session, start(), 5);
        ack(&mut session, start(), n * 5);
    }
    assert_eq!(session.last_event_seq(), 1_000);
    assert!(session.poll_event().is_none());
}

#[test]
fn d26_the_signal_is_on_the_job_that_triggered_it() {
    let mut session = runtime();
    emit(&mut session, start(), 10);
    assert_eq!(log(&mut session, start(), &other_job()), Ok(11));
    let frames = sent_json(&mut session, start());
    assert_eq!(signals(&frames), [12]);
    assert_eq!((&frames[10]["job_id"], &frames[11]["job_id"]), (&json!("job_2"), &json!("job_2")));
}

#[test]
fn a10_the_client_sees_the_signal_in_its_place() {
    let mut pair = Pair::connected_with(client_config(), config());
    pair.submit();
    pair.emit(11);
    pair.emit(2);
    pair.flush();
    let events = pair.take_client_events();
    let ClientEvent::Event(signal) = &events[11] else { panic!("{events:?}") };
    assert_eq!((signal.seq(), &*signal.kind(), &*signal.job_id()), (Some(12), "status", "job_1"));
    assert_eq!(signal.body::<Status>().unwrap().phase, "back_pressure");
    assert_eq!(events.len(), 14);
    assert_eq!(pair.client.last_event_seq(), 14);
}

// Exempt from the window's limits

#[test]
fn d26_the_signal_is_exempt_from_the_limit_of_events() {
    let mut session = runtime_alone(config().with_replay(11, 1 << 20, Overflow::Block), FeatureSet::all());
    emit(&mut session, start(), 11);
    assert_eq!(session.replay_len().0, 12);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    assert_eq!(signals(&sent_json(&mut session, start())), [12]);
}

#[test]
fn d26_the_signal_is_exempt_from_the_limit_of_bytes() {
    let mut session = runtime();
    emit(&mut session, start(), 10);
    let before = session.replay_len().1;
    emit(&mut session, start(), 1);
    // As much as eleven events take, of which the last is the longest.
    let limit = before + transmit(&mut session, start(), 11)[10].to_string().len();
    assert!(session.replay_len().1 > limit);
    let mut session = runtime_alone(config().with_replay(1_000, limit, Overflow::Block), FeatureSet::all());
    emit(&mut session, start(), 11);
    assert_eq!(session.last_event_seq(), 12);
    assert!(session.replay_len().1 > limit);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
}

#[test]
fn d26_the_signal_evicts_nothing() {
    let mut session = runtime_alone(config().with_replay(11, 1 << 20, Overflow::Evict), FeatureSet::all());
    stream(&mut session, start(), 11);
    assert_eq!((session.replay_floor(), session.replay_len().0), (0, 12));
}

#[test]
fn d26_an_event_that_is_refused_triggers_nothing() {
    let mut session = runtime_alone(config().with_replay(10, 1 << 20, Overflow::Block), FeatureSet::all());
    emit(&mut session, start(), 10);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    assert_eq!(session.last_event_seq(), 10);
    assert!(crossings(&mut session).is_empty());
}

// Never itself a trigger, never repeated

#[test]
fn d26_the_signal_is_never_itself_a_trigger() {
    for threshold in [0, 1, 2] {
        let config = RuntimeConfig { back_pressure_threshold: threshold, ..runtime_config() };
        let mut session = runtime_alone(config, FeatureSet::all());
        emit(&mut session, start(), 20);
        let frames = sent_json(&mut session, start());
        assert_eq!(signals(&frames), [threshold + 2], "{threshold}");
        assert_eq!(frames.len(), 21);
    }
}

/// With the lag at half by the ack, a signal alone would cross again.
#[test]
fn d26_the_signal_counts_as_an_event_but_crosses_nothing() {
    let config = RuntimeConfig { back_pressure_threshold: 1, ..runtime_config() };
    let mut session = runtime_alone(config, FeatureSet::all());
    stream(&mut session, start(), 2);
    assert_eq!(session.last_event_seq(), 3);
    ack(&mut session, start(), 3);
    assert_eq!(crossings(&mut session), [(true, 2), (false, 0)]);
    stream(&mut session, start(), 1);
    assert_eq!(session.last_event_seq(), 4);
    stream(&mut session, start(), 1);
    assert_eq!(session.last_event_seq(), 6);
}

/// A mistake of §E: repeated on every ack.
#[test]
fn d26_the_signal_is_not_repeated_on_every_ack() {
    let mut session = runtime_under_pressure();
    for seq in 1..=6 {
        ack(&mut session, start(), seq);
        assert!(sent(&mut session, start()).is_empty(), "{seq}");
        stream(&mut session, start(), 1);
        assert_eq!(session.last_event_seq(), 12 + seq, "one more event, and no signal");
    }
    emit(&mut session, start(), 100);
    assert!(signals(&sent_json(&mut session, start())).is_empty());
    assert!(crossings(&mut session).is_empty(), "told once, too");
}

// A job's terminal as the trigger

#[test]
fn d26_behind_a_terminal_the_signal_waits_for_the_next_event_that_is_none() {
    let mut session = runtime();
    emit(&mut session, start(), 10);
    assert_eq!(session.send_result(start(), &job(), result()), Ok(11));
    assert_eq!(session.last_event_seq(), 11, "nothing behind a job's end");
    let error = JobError::new(WireError::new(ErrorCode::Timeout, "too slow"));
    assert_eq!(session.send_error(start(), &JobId::from("job_3"), error), Ok(12));
    assert_eq!(session.last_event_seq(), 12, "nor behind another's");
    assert_eq!(log(&mut session, start(), &other_job()), Ok(13));
    let frames = sent_json(&mut session, start());
    assert_eq!(signals(&frames), [14]);
    assert_eq!(frames[13]["job_id"], "job_2", "a job that goes on");
    assert_eq!(log(&mut session, start(), &other_job()), Ok(15), "and once");
    assert_eq!(session.last_event_seq(), 15);
}

#[test]
fn d26_an_error_as_the_trigger_is_a_terminal_as_well() {
    let mut session = runtime();
    emit(&mut session, start(), 10);
    let error = JobError::new(WireError::new(ErrorCode::InternalError, "broken"));
    assert_eq!(session.send_error(start(), &job(), error), Ok(11));
    assert_eq!(session.last_event_seq(), 11);
    emit(&mut session, start(), 1);
    assert_eq!(session.last_event_seq(), 13);
}

#[test]
fn d26_the_application_hears_of_a_terminals_crossing_at_once() {
    let mut session = runtime();
    emit(&mut session, start(), 10);
    session.send_result(start(), &job(), result()).unwrap();
    assert_eq!(crossings(&mut session), [(true, 11)]);
    emit(&mut session, start(), 1);
    assert!(crossings(&mut session).is_empty());
}

#[test]
fn d26_a_signal_that_waits_is_forgotten_when_the_pressure_goes() {
    let mut session = runtime();
    emit(&mut session, start(), 10);
    session.send_result(start(), &job(), result()).unwrap();
    let _ = sent(&mut session, start());
    ack(&mut session, start(), 11);
    stream(&mut session, start(), 5);
    assert_eq!(session.last_event_seq(), 16, "there is no pressure to signal");
}

// Re-armed

#[test]
fn d26_it_is_armed_again_at_half_the_threshold_and_not_before() {
    let mut session = runtime_under_pressure();
    ack(&mut session, start(), 6);
    assert!(crossings(&mut session).is_empty(), "a lag of 6");
    stream(&mut session, start(), 10);
    assert_eq!(session.last_event_seq(), 22, "no second signal at a lag of 16");
    ack(&mut session, start(), 16);
    assert!(crossings(&mut session).is_empty(), "a lag of 6");
    ack(&mut session, start(), 17);
    assert_eq!(crossings(&mut session), [(false, 5)]);
    stream(&mut session, start(), 5);
    assert_eq!(session.last_event_seq(), 27, "a lag of 10");
    emit(&mut session, start(), 1);
    assert_eq!(signals(&sent_json(&mut session, start())), [29]);
    assert_eq!(crossings(&mut session), [(true, 11)]);
}

#[test]
fn d26_half_of_an_odd_threshold_is_rounded_down() {
    let mut session =
        runtime_alone(RuntimeConfig { back_pressure_threshold: 11, ..runtime_config() }, FeatureSet::all());
    stream(&mut session, start(), 12);
    assert_eq!(session.last_event_seq(), 13);
    ack(&mut session, start(), 7);
    assert_eq!(crossings(&mut session), [(true, 12)], "6 is more than half of 11");
    ack(&mut session, start(), 8);
    assert_eq!(crossings(&mut session), [(false, 5)]);
}

#[test]
fn d26_the_application_hears_of_both_crossings_each_time() {
    let mut session = runtime();
    let mut heard = Vec::new();
    for _ in 0..3 {
        stream(&mut session, start(), 11);
        let last = session.last_event_seq();
        ack(&mut session, start(), last);
        heard.extend(crossings(&mut session));
    }
    assert_eq!(heard, [(true, 11), (false, 0), (true, 11), (false, 0), (true, 11), (false, 0)]);
}

#[test]
fn d26_an_ignored_ack_relieves_nothing() {
    let mut session = runtime_under_pressure();
    ack(&mut session, start(), 13);
    assert!(crossings(&mut session).is_empty());
}

// Detach and resume

#[test]
fn d26_a_resume_resets_it() {
    let mut session = runtime_under_pressure();
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 12, None);
    assert_eq!(crossings(&mut session), [(false, 0)]);
    let _ = sent(&mut session, start());
    emit(&mut session, start(), 10);
    assert!(signals(&sent_json(&mut session, start())).is_empty());
    emit(&mut session, start(), 1);
    assert_eq!(signals(&sent_json(&mut session, start())), [24], "armed again, counting from the claim");
}

#[test]
fn d26_after_a_resume_the_lag_that_is_left_signals_with_the_next_event() {
    let mut session = runtime_under_pressure();
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 0, None);
    assert_eq!(crossings(&mut session), [(false, 12)], "reset, although the client lacks all");
    emit(&mut session, start(), 1);
    let frames = sent_json(&mut session, start());
    assert_eq!(signals(&frames), [12, 14], "the old one replayed, and a new one");
    assert_eq!(crossings(&mut session), [(true, 13)]);
}

#[test]
fn d26_a_takeover_resets_it_too() {
    let mut session = runtime_under_pressure();
    resume(&mut session, start(), 1, 12, None);
    emit(&mut session, start(), 11);
    assert_eq!(session.last_event_seq(), 24);
}

#[test]
fn d26_a_resume_forgets_the_signal_that_a_terminal_owed() {
    let mut session = runtime();
    emit(&mut session, start(), 10);
    session.send_result(start(), &job(), result()).unwrap();
    let _ = sent(&mut session, start());
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 11, None);
    emit(&mut session, start(), 5);
    assert_eq!(session.last_event_seq(), 16);
}

#[test]
fn d26_while_detached_there_is_no_signal() {
    let mut session = runtime();
    session.handle_disconnect(start());
    emit(&mut session, start(), 30);
    assert_eq!(session.last_event_seq(), 30);
    assert!(crossings(&mut session).is_empty());
    resume(&mut session, start(), 1, 0, None);
    let _ = sent(&mut session, start());
    assert_eq!(session.last_event_seq(), 30);
    emit(&mut session, start(), 1);
    assert_eq!(signals(&sent_json(&mut session, start())), [32], "with the first event behind the resume");
}

#[test]
fn d26_a_signal_is_replayed_as_it_was() {
    let mut session = runtime();
    emit(&mut session, start(), 11);
    let first: Vec<_> = sent(&mut session, start());
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 0, None);
    let again: Vec<_> = sent(&mut session, start());
    assert_eq!(first[..], again[1..]);
}

// Not negotiated

#[test]
fn d26_without_ack_there_is_no_signal() {
    let mut session = runtime_alone(config(), FeatureSet::all().without(Feature::Ack));
    emit(&mut session, start(), 100);
    assert_eq!(session.last_event_seq(), 100);
    assert!(signals(&sent_json(&mut session, start())).is_empty());
    assert!(crossings(&mut session).is_empty());
}

#[test]
fn d26_a_resume_without_ack_ends_it() {
    let mut session = runtime_under_pressure();
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 12, Some(FeatureSet::none()));
    assert_eq!(crossings(&mut session), [(false, 0)]);
    emit(&mut session, start(), 50);
    let frames = sent_json(&mut session, start());
    assert_eq!(types(&frames[..1]), ["session.welcome"]);
    assert!(signals(&frames).is_empty());
}
