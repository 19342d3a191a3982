//! The replay buffer: what fits, what is evicted, in which order it leaves, and what a resume brings again.

use std::sync::Arc;

use arcp_proto::wire::{JobId, JobResult, RawJson};
use arcp_proto::{
    CloseReason, DetachReason, Feature, FeatureSet, Hello, Interest, Limits, Now, Opening, Overflow, Phase,
    RefusedBecause, Runtime, RuntimeConfig, RuntimeEvent, SendCredit, SendError, Session,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::lone_runtime::{ack, at, emit, log, resume, seqs, stream, transmit, try_resume};
use crate::pair::{
    Pair, client_config, feed, grant, job, runtime_alone, runtime_config, runtime_events, secs, sent, sent_json, start,
    types,
};

const MANY: usize = 1 << 30;

fn without_ack() -> FeatureSet {
    FeatureSet::all().without(Feature::Ack)
}

/// A buffer of so many events.
fn events(count: usize, overflow: Overflow) -> RuntimeConfig {
    runtime_config().with_replay(count, MANY, overflow)
}

/// A buffer of so many bytes.
fn bytes(count: usize, overflow: Overflow) -> RuntimeConfig {
    runtime_config().with_replay(10_000, count, overflow)
}

fn with_ack(config: RuntimeConfig) -> Session<Runtime> {
    runtime_alone(config, FeatureSet::all())
}

fn no_ack(config: RuntimeConfig) -> Session<Runtime> {
    runtime_alone(config, without_ack())
}

/// How often `Writable` was told; nothing else was.
fn writables(session: &mut Session<Runtime>) -> usize {
    let told = runtime_events(session);
    let count = told.iter().filter(|event| matches!(event, RuntimeEvent::Writable)).count();
    assert_eq!(count, told.len(), "{told:?}");
    count
}

fn has_writable(told: &[RuntimeEvent]) -> usize {
    told.iter().filter(|event| matches!(event, RuntimeEvent::Writable)).count()
}

/// The length of the frame of one of the first eight events that [`log`] emits.
fn frame_len() -> usize {
    let mut session = with_ack(runtime_config());
    emit(&mut session, start(), 8);
    assert_eq!(session.replay_len().1 % 8, 0, "all are of one length");
    session.replay_len().1 / 8
}

/// Emits a log event whose frame has exactly `len` bytes.
fn send_of(session: &mut Session<Runtime>, len: usize) -> Result<u64, SendError> {
    let empty = frame_with_message(session, "");
    session.send_event(start(), &job(), "log", &json!({"message": "x".repeat(len - empty)}))
}

fn frame_with_message(session: &Session<Runtime>, message: &str) -> usize {
    let mut trial = session.clone();
    trial.send_event_as(Interest::Subscriber, start(), &job(), "log", &json!({"message": message})).unwrap();
    sent(&mut trial, start()).last().unwrap().len()
}

fn subscribed(session: &mut Session<Runtime>) -> Result<u64, SendError> {
    session.send_event_as(Interest::Subscriber, start(), &JobId::from("job_9"), "log", &json!({"message": "other"}))
}

fn hello(config: &RuntimeConfig) -> Hello {
    let payload = json!({
        "client": {"name": "hand", "version": "1"}, "auth": {"scheme": "bearer", "token": "secret-bearer"},
        "capabilities": {"encodings": ["json"], "features": FeatureSet::all()},
    });
    let frame = json!({"id": "h", "type": "session.hello", "payload": payload}).to_string();
    match Opening::parse(Bytes::from(frame), &config.limits) {
        Ok(Opening::Hello(hello)) => hello,
        other => panic!("{other:?}"),
    }
}

// D19: Blocked

#[test]
fn d19_the_event_that_passes_the_number_of_events_is_blocked_and_nothing_is_recorded() {
    let mut session = with_ack(events(4, Overflow::Block));
    emit(&mut session, start(), 4);
    let before = session.replay_len();
    for _ in 0..3 {
        assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    }
    assert_eq!((session.last_event_seq(), session.replay_len(), session.replay_floor()), (4, before, 0));
    assert_eq!(seqs(&sent_json(&mut session, start())), [1, 2, 3, 4]);
    ack(&mut session, start(), 1);
    assert_eq!(log(&mut session, start(), &job()), Ok(5), "the seq was not used up");
}

#[test]
fn d19_the_event_that_passes_the_bytes_is_blocked() {
    let len = frame_len();
    let mut session = with_ack(bytes(4 * len, Overflow::Block));
    emit(&mut session, start(), 4);
    assert_eq!(session.replay_len(), (4, 4 * len), "up to the last byte");
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    let mut session = with_ack(bytes(4 * len - 1, Overflow::Block));
    emit(&mut session, start(), 3);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    assert_eq!(session.replay_len(), (3, 3 * len));
}

#[test]
fn d19_the_sizes_are_10_000_events_and_16_mib_unless_configured() {
    let config = runtime_config();
    assert_eq!((config.replay_events, config.replay_bytes, config.overflow), (10_000, 16 << 20, Overflow::Block));
    let mut session = with_ack(RuntimeConfig { back_pressure_threshold: u64::MAX, ..config });
    emit(&mut session, start(), 10_000);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    let mut session = with_ack(runtime_config());
    for _ in 0..16 {
        send_of(&mut session, 1 << 20).unwrap();
    }
    assert_eq!(session.replay_len().1, 16 << 20);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
}

#[test]
fn d19_terminals_are_blocked_like_events() {
    let mut session = with_ack(events(1, Overflow::Block));
    emit(&mut session, start(), 1);
    let result = JobResult::inline(RawJson::null());
    assert_eq!(session.send_result(start(), &job(), result.clone()), Err(SendError::Blocked));
    let _ = sent(&mut session, start());
    ack(&mut session, start(), 1);
    assert_eq!(writables(&mut session), 1);
    assert_eq!(session.send_result(start(), &job(), result), Ok(2));
}

#[test]
fn d19_nothing_unacked_is_evicted_while_attached_or_within_the_resume_window() {
    let mut session = with_ack(events(4, Overflow::Block));
    stream(&mut session, start(), 4);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    session.handle_disconnect(start());
    assert_eq!(log(&mut session, at(1), &job()), Err(SendError::Blocked));
    session.handle_timeout(at(599_999));
    assert_eq!(log(&mut session, at(599_999), &job()), Err(SendError::Blocked));
    assert_eq!(session.replay_floor(), 0);
    resume(&mut session, at(599_999), 1, 0, None);
    assert_eq!(seqs(&sent_json(&mut session, at(599_999))), [1, 2, 3, 4]);
    assert_eq!(log(&mut session, at(599_999), &job()), Err(SendError::Blocked), "nor after the resume");
}

#[test]
fn d19_a_claim_to_have_events_frees_none() {
    let mut session = with_ack(events(4, Overflow::Block));
    stream(&mut session, start(), 4);
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 4, None);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
}

// D19: Writable

#[test]
fn d19_writable_is_told_once_when_half_of_the_events_are_free() {
    let mut session = with_ack(events(8, Overflow::Block));
    stream(&mut session, start(), 8);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    for seq in 1..=3 {
        ack(&mut session, start(), seq);
        assert_eq!(writables(&mut session), 0, "{seq}");
    }
    ack(&mut session, start(), 4);
    assert_eq!(writables(&mut session), 1, "at half");
    ack(&mut session, start(), 8);
    assert_eq!(writables(&mut session), 0, "once");
    emit(&mut session, start(), 8);
}

#[test]
fn d19_writable_is_told_when_half_of_the_bytes_are_free() {
    let len = frame_len();
    for (limit, freed) in [(4 * len, 2), (4 * len - 1, 2), (6 * len, 3), (6 * len - 1, 3)] {
        let mut session = with_ack(bytes(limit, Overflow::Block));
        while log(&mut session, start(), &job()).is_ok() {}
        let _ = sent(&mut session, start());
        // Held at half: n·len ≤ limit/2.
        let recorded = session.last_event_seq();
        let needed = (1..).find(|n| (recorded - n) as usize * len <= limit / 2).unwrap();
        ack(&mut session, start(), needed - 1);
        assert_eq!(writables(&mut session), 0, "{limit}");
        ack(&mut session, start(), needed);
        assert_eq!(writables(&mut session), 1, "{limit}");
        assert!(needed <= freed, "{needed}");
    }
}

#[test]
fn d19_both_must_be_at_half() {
    let len = frame_len();
    // Bytes are at half long before events are.
    let mut session = with_ack(runtime_config().with_replay(4, 100 * len, Overflow::Block));
    stream(&mut session, start(), 4);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    ack(&mut session, start(), 1);
    assert_eq!(writables(&mut session), 0);
    ack(&mut session, start(), 2);
    assert_eq!(writables(&mut session), 1);
    // And events long before bytes.
    let mut session = with_ack(runtime_config().with_replay(100, 4 * len, Overflow::Block));
    stream(&mut session, start(), 4);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    ack(&mut session, start(), 1);
    assert_eq!(writables(&mut session), 0);
    ack(&mut session, start(), 2);
    assert_eq!(writables(&mut session), 1);
}

#[test]
fn d19_writable_waits_until_the_refused_event_fits() {
    let len = frame_len();
    let mut session = with_ack(bytes(10 * len, Overflow::Block));
    stream(&mut session, start(), 5);
    assert_eq!(send_of(&mut session, 8 * len), Err(SendError::Blocked));
    ack(&mut session, start(), 1);
    ack(&mut session, start(), 2);
    assert_eq!(writables(&mut session), 0, "less than half is taken, but 3 and 8 are more than 10");
    ack(&mut session, start(), 3);
    assert_eq!(writables(&mut session), 1);
    assert_eq!(send_of(&mut session, 8 * len), Ok(6));
}

#[test]
fn d19_of_several_refused_events_the_largest_must_fit() {
    let len = frame_len();
    let mut session = with_ack(bytes(10 * len, Overflow::Block));
    stream(&mut session, start(), 5);
    assert_eq!(send_of(&mut session, 9 * len), Err(SendError::Blocked));
    assert_eq!(send_of(&mut session, 6 * len), Err(SendError::Blocked));
    ack(&mut session, start(), 3);
    assert_eq!(writables(&mut session), 0);
    ack(&mut session, start(), 4);
    assert_eq!(writables(&mut session), 1);
}

#[test]
fn d19_without_a_refusal_there_is_no_writable() {
    let mut session = with_ack(events(4, Overflow::Block));
    stream(&mut session, start(), 4);
    ack(&mut session, start(), 4);
    assert_eq!(writables(&mut session), 0);
}

#[test]
fn d19_writable_is_told_again_after_the_next_refusal() {
    let mut session = with_ack(events(4, Overflow::Block));
    for n in 1..=3 {
        stream(&mut session, start(), 4);
        assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
        ack(&mut session, start(), n * 4);
        assert_eq!(writables(&mut session), 1);
    }
}

#[test]
fn d19_between_refusal_and_writable_what_fits_is_taken() {
    let mut session = with_ack(events(4, Overflow::Block));
    stream(&mut session, start(), 4);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    ack(&mut session, start(), 1);
    assert_eq!(log(&mut session, start(), &job()), Ok(5));
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    let _ = sent(&mut session, start());
    ack(&mut session, start(), 3);
    assert_eq!(writables(&mut session), 1);
}

#[test]
fn d19_writable_is_judged_on_transmit_where_there_is_no_ack() {
    let mut session = no_ack(events(4, Overflow::Block));
    emit(&mut session, start(), 4);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    assert_eq!(transmit(&mut session, start(), 1).len(), 1);
    assert_eq!(writables(&mut session), 0);
    assert_eq!(transmit(&mut session, start(), 1).len(), 1);
    assert_eq!(writables(&mut session), 1, "two of four are unsent");
    let _ = sent(&mut session, start());
    assert_eq!(writables(&mut session), 0);
}

#[test]
fn d19_with_ack_a_transmit_frees_nothing() {
    let mut session = with_ack(events(4, Overflow::Block));
    emit(&mut session, start(), 4);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    let _ = sent(&mut session, start());
    assert_eq!(writables(&mut session), 0);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
}

#[test]
fn d19_writable_is_judged_when_a_resume_brings_other_features() {
    let mut session = with_ack(events(4, Overflow::Block));
    stream(&mut session, start(), 4);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    session.handle_disconnect(start());
    assert_eq!(has_writable(&runtime_events(&mut session)), 0);
    resume(&mut session, start(), 1, 4, Some(without_ack()));
    assert_eq!(has_writable(&runtime_events(&mut session)), 1, "what was sent can go, as there are no acks");
    assert_eq!(log(&mut session, start(), &job()), Ok(5));
    assert_eq!(session.replay_floor(), 1);
}

#[test]
fn d19_writable_is_judged_when_a_resume_lets_nothing_go() {
    let mut session = with_ack(events(4, Overflow::Block));
    stream(&mut session, start(), 4);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 0, Some(without_ack()));
    assert_eq!(has_writable(&runtime_events(&mut session)), 0, "on this transport nothing is sent yet");
    assert_eq!(types(&transmit(&mut session, start(), 2)), ["session.welcome", "job.event"]);
    assert_eq!(writables(&mut session), 0);
    let _ = transmit(&mut session, start(), 1);
    assert_eq!(writables(&mut session), 1);
}

#[test]
fn d19_writable_is_judged_when_the_transport_is_lost() {
    let mut session = no_ack(events(4, Overflow::Block));
    stream(&mut session, start(), 4);
    resume(&mut session, start(), 1, 0, None);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked), "all four are to be sent again");
    session.handle_disconnect(start());
    assert_eq!(has_writable(&runtime_events(&mut session)), 1, "what was ever sent counts as sent");
    assert_eq!(log(&mut session, start(), &job()), Ok(5));
}

#[test]
fn d18_writable_is_told_when_the_window_ends() {
    let mut session = with_ack(events(4, Overflow::Block));
    stream(&mut session, start(), 4);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    session.handle_disconnect(start());
    session.handle_timeout(at(599_999));
    assert_eq!(has_writable(&runtime_events(&mut session)), 0);
    session.handle_timeout(at(600_000));
    assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::WindowElapsed, RuntimeEvent::Writable]));
    assert_eq!(session.phase(), Phase::Detached);
}

// D18: an emitter is never blocked on a session whose window is over

fn full_beyond_its_window(overflow: Overflow) -> Session<Runtime> {
    let mut session = with_ack(events(4, overflow));
    stream(&mut session, start(), 4);
    session.handle_disconnect(start());
    session.handle_timeout(at(600_000));
    let told = runtime_events(&mut session);
    assert!(matches!(told[..], [RuntimeEvent::Detached(_), RuntimeEvent::WindowElapsed]), "{told:?}");
    session
}

#[test]
fn d18_behind_the_window_the_event_that_does_not_fit_ends_the_session() {
    for overflow in [Overflow::Block, Overflow::Evict] {
        let mut session = full_beyond_its_window(overflow);
        assert_eq!(log(&mut session, at(600_001), &job()), Err(SendError::Closed));
        assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Closed(CloseReason::ResumeWindowExpired)]));
        assert_eq!((session.last_event_seq(), session.replay_floor()), (4, 0), "and nothing was evicted");
        assert_eq!(log(&mut session, at(600_002), &job()), Err(SendError::Closed));
        assert!(runtime_events(&mut session).is_empty(), "told once");
    }
}

#[test]
fn d18_behind_the_window_a_subscribers_event_that_does_not_fit_ends_the_session_too() {
    let mut session = full_beyond_its_window(Overflow::Block);
    assert_eq!(subscribed(&mut session), Err(SendError::Closed));
    assert_eq!(session.phase(), Phase::Closed);
}

#[test]
fn d18_behind_the_window_what_fits_is_recorded_and_can_be_resumed() {
    let mut session = with_ack(events(4, Overflow::Block));
    stream(&mut session, start(), 2);
    session.handle_disconnect(start());
    session.handle_timeout(at(600_000));
    emit(&mut session, at(700_000), 2);
    assert_eq!(session.phase(), Phase::Detached);
    resume(&mut session, at(800_000), 1, 2, None);
    assert_eq!(seqs(&sent_json(&mut session, at(800_000))), [3, 4]);
    assert_eq!(log(&mut session, at(800_000), &job()), Err(SendError::Blocked), "attached, it blocks as ever");
}

#[test]
fn d18_an_event_that_could_never_fit_does_not_end_the_session() {
    let mut session = full_beyond_its_window(Overflow::Block);
    let body = json!({"message": "x".repeat(2 << 20)});
    let refused = session.send_event(at(600_001), &job(), "log", &body);
    assert!(matches!(refused, Err(SendError::TooLarge { .. })));
    assert_eq!(session.phase(), Phase::Detached);
}

#[test]
fn d18_at_the_end_of_the_window_a_session_without_ack_or_unacked_events_is_closed_and_blocks_nobody() {
    let mut session = no_ack(events(4, Overflow::Block));
    emit(&mut session, start(), 4);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    session.handle_disconnect(start());
    session.handle_timeout(at(600_000));
    let told = runtime_events(&mut session);
    let [.., RuntimeEvent::WindowElapsed, RuntimeEvent::Closed(CloseReason::ResumeWindowExpired)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(log(&mut session, at(600_000), &job()), Err(SendError::Closed));
    let mut session = with_ack(events(4, Overflow::Block));
    stream(&mut session, start(), 4);
    ack(&mut session, start(), 4);
    session.handle_disconnect(start());
    session.handle_timeout(at(600_000));
    assert_eq!(session.phase(), Phase::Closed);
}

// D19: without ack

#[test]
fn d19_without_ack_sent_events_go_oldest_first_and_unsent_ones_never() {
    let mut session = no_ack(events(4, Overflow::Block));
    emit(&mut session, start(), 4);
    assert_eq!(transmit(&mut session, start(), 3).len(), 3);
    assert_eq!(session.replay_floor(), 0, "nothing goes before it must");
    for n in 1..=3 {
        assert_eq!(log(&mut session, start(), &job()), Ok(4 + n));
        assert_eq!((session.replay_floor(), session.replay_len().0), (n, 4), "one for one");
    }
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked), "4 to 7 are unsent");
    assert_eq!(session.replay_floor(), 3);
    assert_eq!(seqs(&sent_json(&mut session, start())), [4, 5, 6, 7]);
}

#[test]
fn d19_without_ack_no_more_go_than_must_for_the_bytes() {
    let len = frame_len();
    let mut session = no_ack(bytes(6 * len, Overflow::Block));
    stream(&mut session, start(), 6);
    assert_eq!(send_of(&mut session, 2 * len), Ok(7));
    assert_eq!((session.replay_floor(), session.replay_len()), (2, (5, 6 * len)));
    assert_eq!(send_of(&mut session, 2 * len + 1), Ok(8));
    assert_eq!(session.replay_floor(), 5, "2·len + 1 is room for three");
    assert_eq!(send_of(&mut session, 3 * len), Err(SendError::Blocked), "the last two are unsent");
    assert_eq!(session.replay_floor(), 5);
}

#[test]
fn d19_without_ack_the_bytes_that_are_unsent_are_counted_one_by_one() {
    let len = frame_len();
    let mut session = no_ack(bytes(4 * len, Overflow::Block));
    emit(&mut session, start(), 4);
    for n in 1..=2 {
        assert_eq!(transmit(&mut session, start(), 1).len(), 1);
        assert_eq!(send_of(&mut session, len + 1), Err(SendError::Blocked), "one was sent, and not a byte more");
        assert_eq!(send_of(&mut session, len), Ok(4 + n));
        assert_eq!(send_of(&mut session, len), Err(SendError::Blocked));
    }
}

#[test]
fn d19_without_ack_and_detached_what_was_evicted_unsent_takes_no_place() {
    let len = frame_len();
    let mut session = no_ack(runtime_config().with_replay(5, 10 * len, Overflow::Block));
    session.handle_disconnect(start());
    // A subscriber's events may evict anything: the last of them only the first, which is the longest.
    for times in [5, 0, 0, 0, 3] {
        let body = json!({"message": "x".repeat(times * len)});
        session.send_event_as(Interest::Subscriber, start(), &job(), "log", &body).unwrap();
    }
    assert_eq!((session.replay_floor(), session.replay_len().0), (1, 4));
    assert_eq!(log(&mut session, start(), &job()), Ok(6));
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
}

#[test]
fn d19_without_ack_a_long_stream_never_blocks() {
    let mut session = no_ack(events(4, Overflow::Block));
    for _ in 0..1_000 {
        stream(&mut session, start(), 3);
    }
    assert_eq!((session.replay_floor(), session.replay_len().0), (2_996, 4));
    assert!(session.poll_event().is_none());
}

#[test]
fn d19_without_ack_and_detached_what_was_ever_sent_can_go() {
    let mut session = no_ack(events(4, Overflow::Block));
    stream(&mut session, start(), 4);
    session.handle_disconnect(start());
    emit(&mut session, start(), 3);
    assert_eq!(session.replay_floor(), 3);
    assert_eq!(log(&mut session, start(), &job()), Ok(8));
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    resume(&mut session, start(), 1, 4, None);
    assert_eq!(seqs(&sent_json(&mut session, start())), [5, 6, 7, 8]);
}

#[test]
fn d19_without_ack_what_a_replay_has_yet_to_send_does_not_go() {
    let mut session = no_ack(events(4, Overflow::Block));
    stream(&mut session, start(), 4);
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 1, None);
    assert_eq!(log(&mut session, start(), &job()), Ok(5), "1 is had by the client");
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    assert_eq!(seqs(&sent_json(&mut session, start())), [2, 3, 4, 5]);
}

// D19: Evict

#[test]
fn d19_under_evict_the_oldest_goes_the_floor_rises_and_the_session_lives() {
    let mut session = with_ack(events(4, Overflow::Evict));
    for n in 1..=100 {
        stream(&mut session, start(), 1);
        assert_eq!(session.replay_floor(), u64::saturating_sub(n, 4));
        assert_eq!(session.replay_len().0, usize::try_from(n).unwrap().min(4));
    }
    assert_eq!(session.phase(), Phase::Open);
    assert!(session.poll_event().is_none(), "no Writable, for nothing was refused");
    session.handle_disconnect(start());
    let refused = try_resume(&mut session, start(), 1, 95, None).unwrap_err();
    assert_eq!(refused.reason(), RefusedBecause::Sequence);
    resume(&mut session, start(), 1, 96, None);
    assert_eq!(seqs(&sent_json(&mut session, start())), [97, 98, 99, 100]);
}

#[test]
fn d19_under_evict_bytes_make_room_too() {
    let len = frame_len();
    let mut session = with_ack(bytes(4 * len, Overflow::Evict));
    stream(&mut session, start(), 4);
    assert_eq!(send_of(&mut session, 3 * len), Ok(5));
    assert_eq!((session.replay_floor(), session.replay_len()), (3, (2, 4 * len)));
}

#[test]
fn d19_under_evict_an_ack_of_what_was_evicted_is_good() {
    let mut session = with_ack(events(4, Overflow::Evict));
    for _ in 0..10 {
        stream(&mut session, start(), 1);
    }
    ack(&mut session, start(), 3);
    assert_eq!((session.acked_seq(), session.replay_floor(), session.replay_len().0), (3, 6, 4));
    ack(&mut session, start(), 8);
    assert_eq!((session.acked_seq(), session.replay_floor(), session.replay_len().0), (8, 8, 2));
}

// D19: subscribers

#[test]
fn d19_events_of_subscribed_jobs_evict_in_every_session() {
    for features in [FeatureSet::all(), without_ack()] {
        let mut session = runtime_alone(events(4, Overflow::Block), features);
        stream(&mut session, start(), 4);
        assert_eq!(subscribed(&mut session), Ok(5));
        assert_eq!((session.replay_floor(), session.replay_len().0), (1, 4));
        assert!(session.poll_event().is_none());
        assert_eq!(session.phase(), Phase::Open);
        assert_eq!(seqs(&sent_json(&mut session, start())), [5]);
    }
}

#[test]
fn d19_terminals_of_subscribed_jobs_evict_as_well() {
    let mut session = with_ack(events(2, Overflow::Block));
    stream(&mut session, start(), 2);
    let result = JobResult::inline(RawJson::null());
    assert_eq!(session.send_result_as(Interest::Subscriber, start(), &job(), result), Ok(3));
    let error = arcp_proto::wire::WireError::new(arcp_proto::wire::ErrorCode::Timeout, "late");
    let error = arcp_proto::wire::JobError::new(error);
    assert_eq!(session.send_error_as(Interest::Subscriber, start(), &job(), error), Ok(4), "whatever that costs");
}

#[test]
fn d19_the_submitters_own_events_still_block_behind_them() {
    let mut session = with_ack(events(4, Overflow::Block));
    stream(&mut session, start(), 4);
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    assert_eq!(subscribed(&mut session), Ok(5));
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    assert_eq!(session.send_credit().events, 0);
}

// TooLarge

#[test]
fn d19_an_event_over_the_frame_limit_is_too_large_and_nothing_is_recorded() {
    let limits = Limits { max_frame: 4_096, ..Limits::default() };
    let mut session = with_ack(runtime_config().with_limits(limits));
    assert_eq!(send_of(&mut session, 4_096), Ok(1));
    let before = session.replay_len();
    assert_eq!(send_of(&mut session, 4_097), Err(SendError::TooLarge { len: 4_097, limit: 4_096 }));
    assert_eq!((session.last_event_seq(), session.replay_len()), (1, before));
    assert_eq!(log(&mut session, start(), &job()), Ok(2));
}

#[test]
fn d19_an_event_over_the_whole_byte_window_is_too_large_and_no_writable_is_promised() {
    let mut session = with_ack(bytes(2_000, Overflow::Block));
    stream(&mut session, start(), 2);
    assert_eq!(send_of(&mut session, 2_001), Err(SendError::TooLarge { len: 2_001, limit: 2_000 }));
    ack(&mut session, start(), 2);
    assert_eq!(writables(&mut session), 0);
    assert_eq!(send_of(&mut session, 2_000), Ok(3));
    let mut session = with_ack(bytes(2_000, Overflow::Evict));
    stream(&mut session, start(), 2);
    assert_eq!(send_of(&mut session, 2_001), Err(SendError::TooLarge { len: 2_001, limit: 2_000 }));
    assert_eq!(session.replay_floor(), 0, "nor is anything evicted for it");
}

// send_credit

#[test]
fn d19_the_credit_is_what_can_be_sent_before_blocked() {
    let len = frame_len();
    let mut session = with_ack(runtime_config().with_replay(4, 100 * len, Overflow::Block));
    assert_eq!(session.send_credit(), SendCredit { events: 4, bytes: 100 * len });
    for n in 1..=4 {
        emit(&mut session, start(), 1);
        assert_eq!(session.send_credit(), SendCredit { events: 4 - n, bytes: (100 - n) * len });
    }
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Blocked));
    let _ = sent(&mut session, start());
    assert_eq!(session.send_credit().events, 0, "sending gives no credit");
    ack(&mut session, start(), 3);
    assert_eq!(session.send_credit(), SendCredit { events: 3, bytes: 99 * len });
}

#[test]
fn d19_the_credit_counts_only_what_cannot_go() {
    let mut session = no_ack(events(4, Overflow::Block));
    emit(&mut session, start(), 4);
    assert_eq!(session.send_credit().events, 0);
    let _ = transmit(&mut session, start(), 3);
    assert_eq!(session.send_credit().events, 3);
    let mut session = with_ack(events(4, Overflow::Evict));
    emit(&mut session, start(), 4);
    assert_eq!(session.send_credit(), SendCredit { events: 4, bytes: MANY });
}

#[test]
fn d19_the_credit_in_bytes_follows_eviction_of_what_was_never_sent() {
    let mut session = no_ack(events(4, Overflow::Block));
    session.handle_disconnect(start());
    emit(&mut session, start(), 4);
    for _ in 0..6 {
        subscribed(&mut session).unwrap();
        let (events, bytes) = session.replay_len();
        assert_eq!(session.send_credit(), SendCredit { events: 4 - events, bytes: MANY - bytes }, "all are unsent");
    }
}

#[test]
fn d19_the_credit_is_never_less_than_nothing() {
    let config = RuntimeConfig { back_pressure_threshold: 2, ..events(3, Overflow::Block) };
    let mut session = with_ack(config);
    emit(&mut session, start(), 3);
    assert_eq!(session.replay_len().0, 4, "a signal on top");
    assert_eq!(session.send_credit().events, 0);
}

// D27: the order on the wire

#[test]
fn d27_first_the_welcome_then_control_then_events_then_the_farewell() {
    let config = runtime_config();
    let mut session = hello(&config).accept(start(), Arc::new(config), grant());
    emit(&mut session, start(), 2);
    feed(&mut session, start(), &json!({"id": "1", "type": "session.ping", "payload": {"nonce": "n"}}));
    feed(&mut session, start(), &json!({"id": "2", "type": "session.nonsense"}));
    emit(&mut session, start(), 1);
    session.shutdown(start(), "maintenance");
    let frames = sent_json(&mut session, start());
    assert_eq!(
        types(&frames),
        ["session.welcome", "session.pong", "session.error", "job.event", "job.event", "job.event", "session.bye"]
    );
    assert_eq!(seqs(&frames), [1, 2, 3]);
    assert_eq!(session.phase(), Phase::Closed);
}

#[test]
fn d27_the_order_is_the_same_on_a_resumed_transport() {
    let mut session = with_ack(runtime_config());
    stream(&mut session, start(), 3);
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 1, None);
    emit(&mut session, start(), 1);
    feed(&mut session, start(), &json!({"id": "1", "type": "session.ping", "payload": {"nonce": "n"}}));
    feed(&mut session, start(), &json!({"id": "3", "type": "session.bye", "payload": {"reason": "normal"}}));
    let frames = sent_json(&mut session, start());
    assert_eq!(
        types(&frames),
        ["session.welcome", "session.pong", "job.event", "job.event", "job.event", "session.closed"]
    );
    assert_eq!(seqs(&frames), [2, 3, 4]);
}

#[test]
fn d27_events_that_come_after_the_close_stay_behind_for_the_resume() {
    let mut session = with_ack(runtime_config());
    emit(&mut session, start(), 2);
    feed(&mut session, start(), &json!({"id": "3", "type": "session.bye"}));
    emit(&mut session, start(), 2);
    let frames = sent_json(&mut session, start());
    assert_eq!(types(&frames), ["job.event", "job.event", "session.closed"]);
    resume(&mut session, start(), 1, 2, None);
    assert_eq!(seqs(&sent_json(&mut session, start())), [3, 4]);
}

#[test]
fn d27_control_passes_events_in_mid_stream_and_events_keep_their_order() {
    let mut session = with_ack(runtime_config());
    emit(&mut session, start(), 4);
    let mut frames = transmit(&mut session, start(), 2);
    feed(&mut session, start(), &json!({"id": "2", "type": "session.nonsense"}));
    emit(&mut session, start(), 1);
    frames.extend(sent_json(&mut session, start()));
    assert_eq!(types(&frames)[..3], ["job.event", "job.event", "session.error"]);
    assert_eq!(seqs(&frames), [1, 2, 3, 4, 5]);
}

// D27: overrun

fn assert_overrun(session: &mut Session<Runtime>) {
    let frames = sent_json(session, start());
    assert_eq!(types(&frames), ["session.error"], "nothing behind the hole, and the loss is visible");
    let payload = &frames[0]["payload"];
    assert_eq!((&payload["code"], &payload["retryable"]), (&json!("INTERNAL_ERROR"), &json!(true)));
    assert!(matches!(runtime_events(session)[..], [RuntimeEvent::Detached(DetachReason::Overrun)]));
    assert_eq!(session.phase(), Phase::Detached);
}

#[test]
fn d27_when_eviction_passes_the_send_cursor_the_transport_is_closed_with_an_error() {
    let mut session = with_ack(events(4, Overflow::Evict));
    emit(&mut session, start(), 4);
    assert_eq!(log(&mut session, start(), &job()), Ok(5), "the event itself is recorded");
    assert_overrun(&mut session);
    assert_eq!((session.last_event_seq(), session.replay_floor()), (5, 1));
}

#[test]
fn d27_up_to_the_send_cursor_eviction_is_no_overrun() {
    let mut session = with_ack(events(4, Overflow::Evict));
    emit(&mut session, start(), 4);
    assert_eq!(transmit(&mut session, start(), 3).len(), 3);
    emit(&mut session, start(), 3);
    assert_eq!((session.phase(), session.replay_floor()), (Phase::Open, 3), "4 is the next to be sent, and is here");
    emit(&mut session, start(), 1);
    assert_overrun(&mut session);
}

#[test]
fn d27_events_of_subscribed_jobs_can_overrun_a_blocking_session() {
    let mut session = with_ack(events(4, Overflow::Block));
    emit(&mut session, start(), 4);
    assert_eq!(subscribed(&mut session), Ok(5));
    assert_overrun(&mut session);
}

#[test]
fn d27_after_an_overrun_the_resume_is_refused() {
    let mut session = with_ack(events(4, Overflow::Evict));
    stream(&mut session, start(), 2);
    emit(&mut session, start(), 5);
    assert_overrun(&mut session);
    for last in 0..=7 {
        assert!(try_resume(&mut session, start(), 1, last, None).is_err(), "{last}: a silent hole");
    }
}

#[test]
fn d27_unless_the_client_had_those_events_from_an_earlier_transport() {
    let mut session = with_ack(events(4, Overflow::Evict));
    stream(&mut session, start(), 4);
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 0, None);
    let _ = transmit(&mut session, start(), 1);
    runtime_events(&mut session);
    emit(&mut session, start(), 1);
    assert_overrun(&mut session);
    assert!(try_resume(&mut session, start(), 2, 0, None).is_err());
    resume(&mut session, start(), 2, 4, None);
    assert_eq!(seqs(&sent_json(&mut session, start())), [5]);
}

#[test]
fn d27_while_detached_only_the_floor_rises() {
    let mut session = with_ack(events(4, Overflow::Evict));
    stream(&mut session, start(), 4);
    session.handle_disconnect(start());
    runtime_events(&mut session);
    emit(&mut session, start(), 3);
    assert_eq!((session.phase(), session.replay_floor()), (Phase::Detached, 3));
    assert!(runtime_events(&mut session).is_empty() && sent(&mut session, start()).is_empty());
    assert!(try_resume(&mut session, start(), 1, 2, None).is_err());
    resume(&mut session, start(), 1, 3, None);
    assert_eq!(seqs(&sent_json(&mut session, start())), [4, 5, 6, 7]);
}

#[test]
fn d27_while_detached_the_floor_can_pass_all_that_was_sent() {
    let mut session = with_ack(events(4, Overflow::Evict));
    stream(&mut session, start(), 2);
    session.handle_disconnect(start());
    runtime_events(&mut session);
    emit(&mut session, start(), 10);
    assert_eq!((session.replay_floor(), session.replay_len().0), (8, 4));
    assert!(runtime_events(&mut session).is_empty() && sent(&mut session, start()).is_empty());
    for last in 0..=12 {
        assert!(try_resume(&mut session, start(), 1, last, None).is_err(), "{last}");
    }
}

#[test]
fn d27_an_overrun_does_not_call_off_a_shutdown() {
    let mut session = with_ack(events(4, Overflow::Evict));
    emit(&mut session, start(), 4);
    session.shutdown(start(), "maintenance");
    emit(&mut session, start(), 1);
    assert_eq!(types(&sent_json(&mut session, start())), ["session.error"], "the loss is visible");
    assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Closed(CloseReason::Shutdown)]));
}

// D14: the replay

#[test]
fn d14_a_replay_is_verbatim() {
    let mut session = with_ack(runtime_config());
    emit(&mut session, at(5), 3);
    session.send_event(at(6), &job(), "x-vendor.note", &RawJson::from_text("{ \"a\" : 1.50 }").unwrap()).unwrap();
    session.send_result(at(7), &job(), JobResult::inline(RawJson::null())).unwrap();
    let first = sent(&mut session, at(8));
    for n in 1..=3 {
        session.handle_disconnect(at(9));
        resume(&mut session, at(10 + n), n, 0, None);
        let again = sent(&mut session, at(10 + n));
        assert_eq!(again[1..], first[..], "ids and times included");
    }
}

#[test]
fn d14_an_events_features_are_those_in_force_when_its_seq_was_given_out() {
    let mut session = with_ack(runtime_config());
    session.send_event(start(), &job(), "progress", &json!({"current": 1})).unwrap();
    let first = sent(&mut session, start());
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 0, Some(without_ack().without(Feature::Progress)));
    assert_eq!(sent(&mut session, start())[1..], first[..]);
    let refused = session.send_event(start(), &job(), "progress", &json!({"current": 2}));
    assert_eq!(refused, Err(SendError::FeatureNotNegotiated(Feature::Progress)), "new ones go by the new features");
}

#[test]
fn d14_a_replay_is_never_truncated() {
    let mut session = with_ack(RuntimeConfig { back_pressure_threshold: u64::MAX, ..runtime_config() });
    stream(&mut session, start(), 10_000);
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 0, None);
    assert_eq!(seqs(&sent_json(&mut session, start())), (1..=10_000).collect::<Vec<_>>());
}

#[test]
fn d14_a_replay_begins_right_behind_the_claim() {
    for last in 0..=5 {
        let mut session = with_ack(runtime_config());
        stream(&mut session, start(), 5);
        session.handle_disconnect(start());
        resume(&mut session, start(), 1, last, None);
        assert_eq!(seqs(&sent_json(&mut session, start())), (last + 1..=5).collect::<Vec<_>>());
    }
}

/// A mistake of §E: a fully caught-up client that cannot resume.
#[test]
fn d14_a_client_that_missed_nothing_resumes_to_nothing_but_the_welcome() {
    let mut session = with_ack(runtime_config());
    for (n, last) in [(1, 0), (2, 3), (3, 3)] {
        session.handle_disconnect(start());
        resume(&mut session, start(), n, last, None);
        assert_eq!(types(&sent_json(&mut session, start())), ["session.welcome"]);
        if n == 1 {
            stream(&mut session, start(), 3);
        }
        if n == 2 {
            ack(&mut session, start(), 3);
        }
    }
}

/// A mistake of §E: live events interleaved with the replay.
#[test]
fn d14_live_events_during_a_replay_come_behind_it() {
    let mut session = with_ack(runtime_config());
    stream(&mut session, start(), 10);
    session.handle_disconnect(start());
    emit(&mut session, start(), 2);
    resume(&mut session, start(), 1, 0, None);
    emit(&mut session, start(), 1);
    let mut frames = transmit(&mut session, start(), 4);
    emit(&mut session, start(), 2);
    frames.extend(transmit(&mut session, start(), 5));
    emit(&mut session, start(), 1);
    frames.extend(sent_json(&mut session, start()));
    assert_eq!(frames[0]["type"], "session.welcome");
    assert_eq!(seqs(&frames), (1..=16).collect::<Vec<_>>());
}

/// Mistakes of §E: `event_seq` restarting, and live events that never reach the resumed session.
#[test]
fn d14_the_sequence_goes_on_behind_a_resume() {
    let mut pair = Pair::connected();
    pair.submit();
    for n in 0..5 {
        pair.emit(2);
        pair.flush();
        pair.cut();
        pair.emit(2);
        pair.resume();
        pair.emit(1);
        pair.flush();
        assert_eq!(pair.take_seqs(), (5 * n + 1..=5 * n + 5).collect::<Vec<_>>());
    }
}

/// A mistake of §E: a seq given out and its frame dropped.
#[test]
fn d27_a_cut_in_the_middle_of_anything_leaves_no_hole() {
    let mut pair = Pair::connected_with(client_config(), runtime_config());
    pair.submit();
    for n in 0..20_u64 {
        pair.emit(3);
        pair.runtime_stalled = n % 3 == 1;
        pair.hold_to_client = n % 3 == 2;
        pair.collect();
        pair.flush();
        pair.emit(1);
        pair.cut();
        (pair.runtime_stalled, pair.hold_to_client) = (false, false);
        pair.emit(1);
        pair.resume();
    }
    assert_eq!(pair.take_seqs(), (1..=100).collect::<Vec<_>>());
}

#[test]
fn d27_what_was_acknowledged_is_not_replayed_and_what_was_sent_is_not_repeated() {
    let mut session = with_ack(runtime_config());
    stream(&mut session, start(), 5);
    emit(&mut session, start(), 2);
    assert_eq!(seqs(&sent_json(&mut session, start())), [6, 7]);
    assert!(sent(&mut session, start()).is_empty());
}

#[test]
fn d14_a_takeover_replays_from_the_claim_while_the_old_transport_stands() {
    let mut session = with_ack(runtime_config());
    emit(&mut session, start(), 6);
    let _ = transmit(&mut session, start(), 4);
    let takeover = resume(&mut session, start(), 1, 2, None);
    assert_eq!(takeover.farewell.len(), 1);
    let frames = sent_json(&mut session, start());
    assert_eq!(frames[0]["type"], "session.welcome");
    assert_eq!(seqs(&frames), [3, 4, 5, 6]);
}

#[test]
fn d18_the_whole_of_it_with_a_client() {
    let mut pair = Pair::connected_with(client_config(), events(4, Overflow::Block));
    pair.submit();
    pair.emit(4);
    pair.flush();
    let now: Now = pair.now;
    assert_eq!(log(pair.runtime(), now, &job()), Err(SendError::Blocked));
    pair.client.mark_processed(now, 2).unwrap();
    pair.advance(secs(1));
    assert_eq!(has_writable(&pair.take_runtime_events()), 1);
    pair.emit(2);
    pair.flush();
    assert_eq!(pair.take_seqs(), [1, 2, 3, 4, 5, 6]);
}

/// What is recorded is what is sent: the same bytes, once.
#[test]
fn d27_an_event_is_encoded_once() {
    let mut session = with_ack(runtime_config());
    emit(&mut session, start(), 3);
    let recorded = session.replay_len().1;
    let frames = sent(&mut session, start());
    assert_eq!(frames.iter().map(Bytes::len).sum::<usize>(), recorded);
    let value: Value = serde_json::from_slice(&frames[0]).unwrap();
    assert_eq!(value["event_seq"], 1);
}
