//! Acknowledgements: what the application has durably processed, and what the runtime makes of it.

use std::time::Duration;

use arcp_proto::wire::{JobSubmit, RawJson};
use arcp_proto::{
    AckError, AckPolicy, Client, ClientConfig, ClientEvent, DetachReason, Feature, FeatureSet, GapPolicy, Now,
    Overflow, Phase, ProtocolError, Runtime, RuntimeConfig, RuntimeEvent, SendError, Session, Timer,
};
use serde_json::{Value, json};

use crate::lone_runtime::{ack, at, emit, log, resume, seqs, stream, transmit, try_resume};
use crate::pair::{
    From, Pair, client_alone, client_config, client_events, feed, job, log_frame, millis, runtime_alone,
    runtime_config, runtime_events, secs, sent, sent_json, seq_of, start, types, welcome,
};

fn without_ack() -> FeatureSet {
    FeatureSet::all().without(Feature::Ack)
}

fn runtime() -> Session<Runtime> {
    runtime_alone(runtime_config(), FeatureSet::all())
}

fn client() -> Session<Client> {
    client_alone(client_config())
}

/// Feeds these events and polls them.
fn receive(session: &mut Session<Client>, now: Now, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        feed(session, now, &log_frame(seq));
    }
    while session.poll_event().is_some() {}
}

/// What the client acknowledges now.
fn acks(session: &mut Session<Client>, now: Now) -> Vec<u64> {
    let frames = sent_json(session, now);
    assert!(frames.iter().all(|frame| frame["type"] == "session.ack"), "{frames:?}");
    frames.iter().map(|frame| frame["payload"]["last_processed_seq"].as_u64().unwrap()).collect()
}

fn violations(session: &mut Session<Runtime>) -> Vec<ProtocolError> {
    let told = runtime_events(session).into_iter();
    told.filter_map(|event| if let RuntimeEvent::Violation(violation) = event { Some(violation.error) } else { None })
        .collect()
}

fn welcome_again(n: u64, features: FeatureSet) -> Value {
    let mut frame = welcome(features);
    frame["payload"]["resume_token"] = json!(format!("rt_{n}"));
    frame
}

// A9

#[test]
fn a9_the_acknowledgement_says_the_highest_event_durably_processed_and_trims_the_replay_buffer() {
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(10);
    pair.flush();
    assert_eq!(pair.take_seqs(), (1..=10).collect::<Vec<_>>());
    let (now, since) = (pair.now, pair.transcript.len());
    pair.client.mark_processed(now, 7).unwrap();
    assert_eq!(pair.client.last_processed_seq(), 7);
    pair.advance(millis(250));
    let passed = &pair.transcript[since..];
    assert_eq!(passed.len(), 1);
    let frame = passed[0].json();
    assert_eq!((passed[0].from, &frame["type"]), (From::Client, &json!("session.ack")));
    assert_eq!(frame["payload"], json!({"last_processed_seq": 7}));
    assert!(frame.get("event_seq").is_none() && frame["session_id"] == "sess_1");
    let runtime = pair.runtime();
    assert_eq!((runtime.acked_seq(), runtime.replay_floor(), runtime.replay_len().0), (7, 7, 3));
}

#[test]
fn a9_what_was_not_marked_is_never_acknowledged() {
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(600);
    pair.advance(secs(100));
    assert_eq!(pair.runtime().acked_seq(), 0);
    assert!(!pair.types_since(From::Client, 0).contains(&"session.ack".into()));
}

// D24: the runtime's side

#[test]
fn d24_an_ack_that_was_not_negotiated_is_ignored_and_told_once() {
    let mut session = runtime_alone(runtime_config(), without_ack());
    stream(&mut session, start(), 3);
    ack(&mut session, start(), 2);
    ack(&mut session, start(), 3);
    assert_eq!((session.acked_seq(), session.replay_floor(), session.replay_len().0), (0, 0, 3));
    assert_eq!(violations(&mut session), [ProtocolError::NotNegotiated(Feature::Ack)]);
    assert!(sent(&mut session, start()).is_empty(), "no wire error");
}

#[test]
fn d24_a_regression_does_nothing() {
    let mut session = runtime();
    stream(&mut session, start(), 8);
    ack(&mut session, start(), 5);
    for seq in [4, 0, 5, 1] {
        ack(&mut session, start(), seq);
        assert_eq!((session.acked_seq(), session.replay_floor(), session.replay_len().0), (5, 5, 3), "{seq}");
    }
    assert!(session.poll_event().is_none() && sent(&mut session, start()).is_empty());
    ack(&mut session, start(), 6);
    assert_eq!(session.acked_seq(), 6);
}

#[test]
fn d24_an_ack_of_the_highest_transmitted_is_good_and_one_beyond_is_ignored() {
    let mut session = runtime();
    emit(&mut session, start(), 8);
    assert_eq!(transmit(&mut session, start(), 5).len(), 5);
    ack(&mut session, start(), 6);
    assert_eq!((session.acked_seq(), session.replay_floor(), session.replay_len().0), (0, 0, 8), "nothing trimmed");
    assert_eq!(violations(&mut session), [ProtocolError::AckFromTheFuture { seq: 6, transmitted: 5 }]);
    ack(&mut session, start(), 5);
    assert_eq!((session.acked_seq(), session.replay_floor()), (5, 5));
    let rest = sent_json(&mut session, start());
    assert_eq!(types(&rest), ["job.event"; 3], "no wire error");
    assert_eq!(seqs(&rest), [6, 7, 8]);
}

/// A mistake of §E: trimming everything, and poisoning later resumes.
#[test]
fn d24_an_absurd_ack_harms_nothing() {
    let mut session = runtime();
    stream(&mut session, start(), 8);
    for seq in [9, 1_000_000, (1 << 53) - 1, 1 << 53, u64::MAX] {
        ack(&mut session, start(), seq);
    }
    assert_eq!((session.acked_seq(), session.replay_floor()), (0, 0));
    assert_eq!(violations(&mut session).len(), 1, "told once an attachment");
    assert!(sent(&mut session, start()).is_empty());
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 3, None);
    assert_eq!(seqs(&sent_json(&mut session, start())), [4, 5, 6, 7, 8]);
}

#[test]
fn d24_what_any_attachment_transmitted_can_be_acknowledged_and_is_not_sent_again() {
    let mut session = runtime();
    stream(&mut session, start(), 6);
    session.handle_disconnect(start());
    emit(&mut session, start(), 2);
    resume(&mut session, start(), 1, 2, None);
    assert_eq!(types(&transmit(&mut session, start(), 2)), ["session.welcome", "job.event"]);
    ack(&mut session, start(), 7);
    assert_eq!(session.acked_seq(), 0, "7 was recorded while detached, and never sent");
    ack(&mut session, start(), 5);
    assert_eq!((session.acked_seq(), session.replay_floor()), (5, 5));
    assert_eq!(seqs(&sent_json(&mut session, start())), [6, 7, 8], "the cursor moved up to the ack");
}

#[test]
fn d24_after_a_resume_the_lag_counts_from_the_claim_but_only_acks_trim() {
    let mut session =
        runtime_alone(RuntimeConfig { back_pressure_threshold: 10, ..runtime_config() }, FeatureSet::all());
    stream(&mut session, start(), 8);
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 8, None);
    assert_eq!((session.acked_seq(), session.replay_floor(), session.replay_len().0), (0, 0, 8), "a claim is no ack");
    emit(&mut session, start(), 10);
    assert_eq!(session.last_event_seq(), 18, "a lag of 10, not of 18");
    assert_eq!(log(&mut session, start(), &job()), Ok(19));
    assert_eq!(session.last_event_seq(), 20, "a lag of 11: the signal");
}

#[test]
fn d24_after_a_resume_the_lag_counts_from_the_ack_where_that_is_higher() {
    let mut session =
        runtime_alone(RuntimeConfig { back_pressure_threshold: 10, ..runtime_config() }, FeatureSet::all());
    stream(&mut session, start(), 8);
    session.handle_disconnect(start());
    resume(&mut session, start(), 1, 4, None);
    let _ = sent(&mut session, start());
    ack(&mut session, start(), 8);
    emit(&mut session, start(), 10);
    assert_eq!(session.last_event_seq(), 18);
    emit(&mut session, start(), 1);
    assert_eq!(session.last_event_seq(), 20);
}

#[test]
fn d24_an_ack_that_cannot_be_read_is_ignored_without_a_wire_error() {
    for payload in [
        json!({}),
        json!({"last_processed_seq": null}),
        json!({"last_processed_seq": -1}),
        json!({"last_processed_seq": "2"}),
        json!({"last_processed_seq": 1.5}),
    ] {
        let mut session = runtime();
        stream(&mut session, start(), 3);
        feed(&mut session, start(), &json!({"id": "a", "type": "session.ack", "payload": payload}));
        assert_eq!((session.acked_seq(), session.replay_floor()), (0, 0));
        assert!(matches!(violations(&mut session)[..], [ProtocolError::BadPayload { .. }]), "{payload}");
        assert!(sent(&mut session, start()).is_empty(), "{payload}");
    }
}

#[test]
fn d24_an_ack_before_the_first_event_is_nothing() {
    let mut session = runtime();
    ack(&mut session, start(), 0);
    assert!(session.poll_event().is_none() && sent(&mut session, start()).is_empty());
    ack(&mut session, start(), 1);
    assert!(matches!(violations(&mut session)[..], [ProtocolError::AckFromTheFuture { seq: 1, transmitted: 0 }]));
}

#[test]
fn d24_bad_acks_never_cost_the_transport() {
    let mut session = runtime();
    for _ in 0..1_000 {
        ack(&mut session, start(), 77);
    }
    assert_eq!(session.phase(), Phase::Open);
}

// D25: the client's side

#[test]
fn d25_an_ack_leaves_250_ms_after_the_first_unreported() {
    let mut session = client();
    receive(&mut session, start(), 1..=5);
    session.mark_processed(at(1_000), 1).unwrap();
    session.mark_processed(at(1_100), 2).unwrap();
    session.mark_processed(at(1_249), 3).unwrap();
    assert_eq!((session.poll_timeout(), session.timeout_reason()), (Some(at(1_250).mono), Some(Timer::Ack)));
    session.handle_timeout(at(1_249));
    assert!(sent(&mut session, at(1_249)).is_empty());
    session.handle_timeout(at(1_250));
    assert_eq!(acks(&mut session, at(1_250)), [3]);
    assert!(acks(&mut session, at(2_000)).is_empty(), "said once");
    session.mark_processed(at(2_000), 4).unwrap();
    assert_eq!(session.poll_timeout(), Some(at(2_250).mono), "the next one counts anew");
}

#[test]
fn d25_without_news_there_is_no_ack() {
    let mut session = client();
    receive(&mut session, start(), 1..=5);
    session.mark_processed(at(0), 5).unwrap();
    session.handle_timeout(at(250));
    assert_eq!(acks(&mut session, at(250)), [5]);
    session.mark_processed(at(300), 5).unwrap();
    assert_ne!(session.timeout_reason(), Some(Timer::Ack));
    session.flush_acks(at(300)).unwrap();
    assert!(sent(&mut session, at(300)).is_empty());
}

#[test]
fn d25_an_ack_leaves_earlier_when_500_events_are_unreported() {
    let mut session = client();
    receive(&mut session, start(), 1..=1_500);
    session.mark_processed(at(1), 499).unwrap();
    assert!(sent(&mut session, at(1)).is_empty());
    session.mark_processed(at(2), 500).unwrap();
    assert_eq!(acks(&mut session, at(2)), [500]);
    session.mark_processed(at(3), 999).unwrap();
    assert!(sent(&mut session, at(3)).is_empty());
    session.mark_processed(at(4), 1_000).unwrap();
    assert_eq!(acks(&mut session, at(4)), [1_000]);
}

#[test]
fn d25_delay_and_batch_are_configured() {
    let config = ClientConfig { ack_delay: secs(2), ack_batch: 3, ..client_config() };
    let mut session = client_alone(config);
    receive(&mut session, start(), 1..=6);
    session.mark_processed(at(0), 2).unwrap();
    assert_eq!(session.poll_timeout(), Some(at(2_000).mono));
    assert!(sent(&mut session, at(0)).is_empty());
    session.mark_processed(at(1), 3).unwrap();
    assert_eq!(acks(&mut session, at(1)), [3]);
    session.mark_processed(at(1), 4).unwrap();
    session.handle_timeout(at(2_000));
    assert!(sent(&mut session, at(2_000)).is_empty());
    session.handle_timeout(at(2_001));
    assert_eq!(acks(&mut session, at(2_001)), [4]);
}

#[test]
fn d25_no_delay_means_at_once() {
    let mut session = client_alone(ClientConfig { ack_delay: Duration::ZERO, ..client_config() });
    receive(&mut session, start(), 1..=2);
    session.mark_processed(at(10), 1).unwrap();
    session.handle_timeout(at(10));
    assert_eq!(acks(&mut session, at(10)), [1]);
}

#[test]
fn d25_an_ack_is_flushed_on_request() {
    let mut session = client();
    receive(&mut session, start(), 1..=5);
    session.mark_processed(at(0), 2).unwrap();
    session.flush_acks(at(10)).unwrap();
    assert_eq!(acks(&mut session, at(10)), [2]);
    session.flush_acks(at(11)).unwrap();
    assert!(sent(&mut session, at(11)).is_empty(), "nothing new to say");
    session.handle_timeout(at(250));
    assert!(sent(&mut session, at(250)).is_empty(), "and nothing is left to the delay");
}

#[test]
fn d25_a_flush_says_the_latest_mark() {
    let mut session = client();
    receive(&mut session, start(), 1..=5);
    session.mark_processed(at(0), 2).unwrap();
    session.flush_acks(at(0)).unwrap();
    session.mark_processed(at(1), 4).unwrap();
    assert_eq!(acks(&mut session, at(1)), [4], "one frame for both");
}

#[test]
fn d25_a_flush_without_a_session_or_the_feature_is_an_error() {
    let mut session = Session::connect(start(), client_config());
    assert_eq!(session.flush_acks(start()), Err(SendError::NotOpen(Phase::Connecting)));
    let mut session = client();
    session.handle_disconnect(start());
    assert_eq!(session.flush_acks(start()), Err(SendError::NotOpen(Phase::Detached)));
    session.close(start(), "normal");
    assert_eq!(session.flush_acks(start()), Err(SendError::Closed));
    let mut session = client_alone(client_config().with_features(without_ack()));
    assert_eq!(session.flush_acks(start()), Err(SendError::FeatureNotNegotiated(Feature::Ack)));
}

#[test]
fn d25_the_ack_is_flushed_before_the_close() {
    let mut session = client();
    receive(&mut session, start(), 1..=5);
    session.mark_processed(at(0), 3).unwrap();
    session.close(at(1), "normal");
    let frames = sent_json(&mut session, at(1));
    assert_eq!(types(&frames), ["session.ack", "session.bye"]);
    assert_eq!(frames[0]["payload"]["last_processed_seq"], 3);
}

#[test]
fn d25_a_close_without_news_says_no_ack() {
    let mut session = client();
    receive(&mut session, start(), 1..=5);
    session.mark_processed(at(0), 3).unwrap();
    session.handle_timeout(at(250));
    assert_eq!(acks(&mut session, at(250)), [3]);
    session.close(at(251), "normal");
    assert_eq!(types(&sent_json(&mut session, at(251))), ["session.bye"]);
}

#[test]
fn d25_the_ack_is_said_again_at_every_attach() {
    let mut session = client();
    receive(&mut session, start(), 1..=5);
    session.mark_processed(at(0), 3).unwrap();
    session.handle_timeout(at(250));
    assert_eq!(acks(&mut session, at(250)), [3]);
    for n in 1..=3 {
        let now = at(n * 1_000);
        session.handle_disconnect(now);
        session.resume(now).unwrap();
        assert_eq!(types(&sent_json(&mut session, now)), ["session.hello"], "not before the welcome");
        feed(&mut session, now, &welcome_again(n, FeatureSet::all()));
        assert_eq!(acks(&mut session, now), [3], "at once");
        assert!(acks(&mut session, now).is_empty());
    }
}

#[test]
fn d25_what_was_marked_while_detached_is_said_at_the_attach() {
    let mut session = client();
    receive(&mut session, start(), 1..=5);
    session.handle_disconnect(at(0));
    session.mark_processed(at(1), 4).unwrap();
    assert_ne!(session.timeout_reason(), Some(Timer::Ack));
    assert!(sent(&mut session, at(500)).is_empty());
    session.resume(at(1_000)).unwrap();
    let _ = sent(&mut session, at(1_000));
    feed(&mut session, at(1_000), &welcome_again(1, FeatureSet::all()));
    assert_eq!(acks(&mut session, at(1_000)), [4]);
}

#[test]
fn d25_an_ack_that_was_due_when_the_transport_went_waits_for_the_welcome() {
    let mut session = client();
    receive(&mut session, start(), 1..=5);
    session.mark_processed(at(0), 3).unwrap();
    session.flush_acks(at(0)).unwrap();
    session.handle_disconnect(at(0));
    assert!(sent(&mut session, at(0)).is_empty());
    session.resume(at(1)).unwrap();
    assert_eq!(types(&sent_json(&mut session, at(1))), ["session.hello"]);
    feed(&mut session, at(1), &welcome_again(1, FeatureSet::all()));
    assert_eq!(acks(&mut session, at(1)), [3]);
}

#[test]
fn d25_at_an_attach_there_is_no_ack_of_nothing() {
    let mut session = client();
    receive(&mut session, start(), 1..=5);
    session.handle_disconnect(at(0));
    session.resume(at(0)).unwrap();
    let _ = sent(&mut session, at(0));
    feed(&mut session, at(0), &welcome_again(1, FeatureSet::all()));
    assert!(sent(&mut session, at(0)).is_empty());
}

#[test]
fn d25_an_ack_never_goes_past_a_gap() {
    let mut session = client();
    for seq in [1, 2, 4] {
        feed(&mut session, start(), &log_frame(seq));
    }
    let seqs: Vec<_> = client_events(&mut session).iter().filter_map(seq_of).collect();
    assert_eq!(seqs, [1, 2]);
    for seq in [3, 4] {
        assert_eq!(session.mark_processed(at(0), seq), Err(AckError::NotPolled { seq, polled: 2 }));
    }
    session.mark_processed(at(0), 2).unwrap();
    session.flush_acks(at(0)).unwrap();
    assert_eq!(acks(&mut session, at(0)), [2]);
    receive(&mut session, at(1), [3]);
    session.mark_processed(at(1), 4).unwrap();
    session.flush_acks(at(1)).unwrap();
    assert_eq!(acks(&mut session, at(1)), [4], "it has been filled");
}

fn reporting() -> ClientConfig {
    ClientConfig { gap_policy: GapPolicy::Report, ..client_config() }
}

/// 1 and 2 are processed, 3 and 4 lost, 5 has come.
fn client_with_a_hole(processed: u64, config: ClientConfig) -> Session<Client> {
    let mut session = client_alone(config);
    receive(&mut session, start(), 1..=2);
    if processed > 0 {
        session.mark_processed(start(), processed).unwrap();
        session.flush_acks(start()).unwrap();
        assert_eq!(acks(&mut session, start()), [processed]);
    }
    feed(&mut session, at(0), &log_frame(5));
    session.handle_timeout(at(1_000));
    session
}

#[test]
fn d25_behind_a_hole_that_was_reported_both_cursors_go_on() {
    let mut session = client_with_a_hole(2, reporting());
    assert_eq!(session.last_processed_seq(), 2, "not before it is polled");
    assert!(matches!(session.poll_event(), Some(ClientEvent::EventsLost { from: 3, to: 4 })));
    assert_eq!(session.last_processed_seq(), 4);
    assert_eq!(session.last_event_seq(), 5);
    session.handle_timeout(at(1_249));
    assert!(sent(&mut session, at(1_249)).is_empty());
    session.handle_timeout(at(1_250));
    assert_eq!(acks(&mut session, at(1_250)), [4]);
    assert_eq!(session.poll_event().as_ref().and_then(seq_of), Some(5));
    session.mark_processed(at(1_251), 5).unwrap();
    session.flush_acks(at(1_251)).unwrap();
    assert_eq!(acks(&mut session, at(1_251)), [5]);
}

#[test]
fn d25_a_reported_hole_processes_nothing_that_came_before_it() {
    let mut session = client_with_a_hole(1, reporting());
    while session.poll_event().is_some() {}
    assert_eq!(session.last_processed_seq(), 1, "2 was never marked");
    session.handle_timeout(at(2_000));
    assert!(sent(&mut session, at(2_000)).is_empty());
    session.mark_processed(at(2_000), 5).unwrap();
    assert_eq!(session.last_processed_seq(), 5);
}

/// What lies in the hole is nobody's to process: a mark of the last event before it reaches its end.
#[test]
fn d25_a_mark_up_to_a_reported_hole_goes_on_behind_it() {
    let mut session = client_with_a_hole(1, reporting());
    while session.poll_event().is_some() {}
    session.mark_processed(at(2_000), 2).unwrap();
    assert_eq!(session.last_processed_seq(), 4);
    session.flush_acks(at(2_000)).unwrap();
    assert_eq!(acks(&mut session, at(2_000)), [4]);
}

#[test]
fn d25_behind_a_reported_hole_the_last_mark_can_be_said_again() {
    let mut session = client_with_a_hole(2, reporting());
    while session.poll_event().is_some() {}
    assert_eq!(session.last_processed_seq(), 4);
    assert_eq!(session.mark_processed(at(2_000), 2), Ok(()), "it is the last mark, not a step back");
    assert_eq!(session.mark_processed(at(2_000), 1), Err(AckError::Backwards { seq: 1, processed: 2 }));
    assert_eq!(session.last_processed_seq(), 4);
}

/// Polls the refusal of a submit, which has the place `seq` and is nobody's to process.
fn refused(session: &mut Session<Client>, seq: u64) {
    session.submit(start(), &JobSubmit::new("a", RawJson::empty_object())).unwrap();
    let asked = sent_json(session, start());
    let mut frame = log_frame(seq);
    frame["type"] = json!("job.error");
    frame["payload"] = json!({
        "request_id": asked[0]["id"], "final_status": "error", "code": "PERMISSION_DENIED", "message": "no",
    });
    feed(session, start(), &frame);
    assert!(matches!(client_events(session)[..], [ClientEvent::RequestFailed { .. }]));
}

#[test]
fn d25_places_that_are_nobodys_to_process_are_passed_one_by_one_up_to_64() {
    let mut session = client();
    for seq in (1..=129).step_by(2) {
        receive(&mut session, start(), [seq]);
        refused(&mut session, seq + 1);
    }
    assert_eq!(session.last_processed_seq(), 0);
    for seq in (1..=127).step_by(2) {
        session.mark_processed(start(), seq).unwrap();
        assert_eq!(session.last_processed_seq(), seq + 1);
    }
    session.mark_processed(start(), 129).unwrap();
    assert_eq!(session.last_processed_seq(), 129, "the 65th is forgotten: it is acknowledged with what follows");
    receive(&mut session, start(), [131]);
    session.mark_processed(start(), 131).unwrap();
    assert_eq!(session.last_processed_seq(), 131);
}

#[test]
fn d25_places_beside_each_other_are_passed_as_one() {
    let mut session = client();
    for seq in (1..=127).step_by(2) {
        receive(&mut session, start(), [seq]);
        refused(&mut session, seq + 1);
    }
    for seq in 129..=200 {
        refused(&mut session, seq);
    }
    session.mark_processed(start(), 125).unwrap();
    assert_eq!(session.last_processed_seq(), 126);
    session.mark_processed(start(), 127).unwrap();
    assert_eq!(session.last_processed_seq(), 200);
}

#[test]
fn d25_on_poll_a_reported_hole_is_passed_as_well() {
    let mut session = client_with_a_hole(0, reporting().with_ack_policy(AckPolicy::OnPoll));
    assert!(matches!(session.poll_event(), Some(ClientEvent::EventsLost { from: 3, to: 4 })));
    assert_eq!(session.last_processed_seq(), 4);
    assert_eq!(session.poll_event().as_ref().and_then(seq_of), Some(5));
    assert_eq!(session.last_processed_seq(), 5);
}

#[test]
fn d25_on_poll_what_was_polled_is_processed_and_nothing_else() {
    let mut session = client_alone(client_config().with_ack_policy(AckPolicy::OnPoll));
    for seq in 1..=5 {
        feed(&mut session, at(100), &log_frame(seq));
    }
    session.handle_timeout(at(1_000));
    assert!(sent(&mut session, at(1_000)).is_empty());
    assert_eq!(session.poll_event().as_ref().and_then(seq_of), Some(1));
    assert_eq!(session.poll_event().as_ref().and_then(seq_of), Some(2));
    assert_eq!(session.last_processed_seq(), 2);
    assert_eq!((session.poll_timeout(), session.timeout_reason()), (Some(at(1_250).mono), Some(Timer::Ack)));
    session.handle_timeout(at(1_249));
    assert!(sent(&mut session, at(1_249)).is_empty());
    session.handle_timeout(at(1_250));
    assert_eq!(acks(&mut session, at(1_250)), [2]);
}

#[test]
fn d25_on_poll_500_polled_are_acknowledged_at_once() {
    let mut session = client_alone(client_config().with_ack_policy(AckPolicy::OnPoll));
    for seq in 1..=500 {
        feed(&mut session, start(), &log_frame(seq));
    }
    for _ in 1..=499 {
        assert!(session.poll_event().is_some());
    }
    assert!(sent(&mut session, start()).is_empty());
    assert!(session.poll_event().is_some());
    assert_eq!(acks(&mut session, start()), [500]);
}

#[test]
fn d25_a_terminal_without_a_seq_is_not_acknowledged() {
    let mut session = client_alone(client_config().with_ack_policy(AckPolicy::OnPoll));
    let mut result = log_frame(1);
    result["type"] = json!("job.result");
    result["payload"] = json!({"final_status": "success", "result": 1});
    result.as_object_mut().unwrap().remove("event_seq");
    feed(&mut session, start(), &result);
    assert!(matches!(client_events(&mut session)[..], [ClientEvent::Finished { .. }]));
    session.handle_timeout(at(1_000));
    assert!(sent(&mut session, at(1_000)).is_empty());
}

#[test]
fn d25_without_the_feature_marks_are_kept_and_never_sent() {
    let mut session = client_alone(client_config().with_features(without_ack()));
    receive(&mut session, start(), 1..=600);
    session.mark_processed(start(), 600).unwrap();
    assert_eq!(session.last_processed_seq(), 600);
    session.handle_timeout(at(1_000));
    assert!(sent(&mut session, at(1_000)).is_empty());
    session.close(at(1_000), "normal");
    assert_eq!(types(&sent_json(&mut session, at(1_000))), ["session.bye"]);
}

#[test]
fn d25_a_resume_that_brings_the_feature_says_what_was_marked_without_it() {
    let mut session = Session::connect(start(), client_config());
    let _ = sent(&mut session, start());
    feed(&mut session, start(), &welcome(without_ack()));
    receive(&mut session, start(), 1..=3);
    session.mark_processed(start(), 3).unwrap();
    assert!(sent(&mut session, at(500)).is_empty());
    session.handle_disconnect(at(500));
    session.resume(at(500)).unwrap();
    let _ = sent(&mut session, at(500));
    feed(&mut session, at(500), &welcome_again(1, FeatureSet::all()));
    assert_eq!(acks(&mut session, at(500)), [3]);
}

// The application's mistakes

#[test]
fn d25_a_mark_beyond_what_was_polled_is_an_error_and_changes_nothing() {
    let mut session = client();
    assert_eq!(session.mark_processed(start(), 1), Err(AckError::NotPolled { seq: 1, polled: 0 }));
    for seq in 1..=3 {
        feed(&mut session, start(), &log_frame(seq));
    }
    assert_eq!(session.mark_processed(start(), 1), Err(AckError::NotPolled { seq: 1, polled: 0 }), "received only");
    let _ = session.poll_event();
    let _ = session.poll_event();
    assert_eq!(session.mark_processed(start(), 3), Err(AckError::NotPolled { seq: 3, polled: 2 }));
    assert_eq!(session.last_processed_seq(), 0);
    assert_ne!(session.timeout_reason(), Some(Timer::Ack));
    assert_eq!(session.mark_processed(start(), 2), Ok(()));
}

#[test]
fn d25_a_mark_below_the_last_one_is_an_error_and_changes_nothing() {
    let mut session = client();
    receive(&mut session, start(), 1..=5);
    session.mark_processed(at(0), 4).unwrap();
    assert_eq!(session.mark_processed(at(0), 3), Err(AckError::Backwards { seq: 3, processed: 4 }));
    assert_eq!(session.mark_processed(at(0), 0), Err(AckError::Backwards { seq: 0, processed: 4 }));
    assert_eq!(session.last_processed_seq(), 4);
    assert_eq!(session.mark_processed(at(0), 4), Ok(()), "the same again is no step back");
    session.handle_timeout(at(250));
    assert_eq!(acks(&mut session, at(250)), [4]);
}

// Lagging

fn lags(session: &mut Session<Client>) -> Vec<u64> {
    let events = client_events(session).into_iter();
    events
        .filter_map(|event| if let ClientEvent::Lagging { unprocessed } = event { Some(unprocessed) } else { None })
        .collect()
}

fn feed_up_to(session: &mut Session<Client>, last: u64) {
    for seq in session.last_event_seq() + 1..=last {
        feed(session, start(), &log_frame(seq));
    }
}

#[test]
fn d25_an_application_that_marks_nothing_is_told_once_at_500() {
    let mut session = client();
    feed_up_to(&mut session, 499);
    assert!(lags(&mut session).is_empty());
    feed_up_to(&mut session, 500);
    assert_eq!(lags(&mut session), [500]);
    feed_up_to(&mut session, 2_000);
    assert!(lags(&mut session).is_empty(), "once");
}

#[test]
fn d25_lagging_counts_what_was_polled_and_not_what_waits() {
    let mut session = client();
    feed_up_to(&mut session, 1_000);
    for _ in 0..499 {
        assert!(matches!(session.poll_event(), Some(ClientEvent::Event(_))));
    }
    session.mark_processed(start(), 499).unwrap();
    assert_eq!(lags(&mut session), [500], "from 500 to 999");
}

#[test]
fn d25_lagging_is_told_again_after_the_next_mark() {
    let mut session = client();
    feed_up_to(&mut session, 500);
    assert_eq!(lags(&mut session), [500]);
    session.mark_processed(start(), 1).unwrap();
    feed_up_to(&mut session, 501);
    assert_eq!(lags(&mut session), [500]);
    feed_up_to(&mut session, 600);
    assert!(lags(&mut session).is_empty());
}

#[test]
fn d25_lagging_is_configured() {
    let mut session = client_alone(ClientConfig { lagging_after: 3, ..client_config() });
    feed_up_to(&mut session, 2);
    assert!(lags(&mut session).is_empty());
    feed_up_to(&mut session, 3);
    assert_eq!(lags(&mut session), [3]);
}

#[test]
fn d25_nobody_lags_on_poll_or_without_the_feature() {
    let mut session = client_alone(client_config().with_ack_policy(AckPolicy::OnPoll));
    feed_up_to(&mut session, 2_000);
    assert!(lags(&mut session).is_empty());
    let mut session = client_alone(client_config().with_features(without_ack()));
    feed_up_to(&mut session, 2_000);
    assert!(lags(&mut session).is_empty());
}

// Both together

/// The first of the three rules that a simulation of the design found.
#[test]
fn d25_an_ack_lost_with_its_transport_does_not_deadlock_a_full_window() {
    let mut pair = Pair::connected_with(client_config(), runtime_config().with_replay(10, 1 << 20, Overflow::Block));
    pair.submit();
    pair.emit(10);
    pair.flush();
    let now = pair.now;
    pair.client.mark_processed(now, 10).unwrap();
    pair.hold_to_runtime = true;
    pair.advance(millis(250));
    assert!(!pair.to_runtime.is_empty(), "the ack is on its way");
    assert_eq!(log(pair.runtime(), now, &job()), Err(SendError::Blocked));
    pair.cut();
    pair.hold_to_runtime = false;
    assert_eq!(pair.runtime().acked_seq(), 0, "and lost");
    pair.resume();
    assert_eq!(pair.runtime().acked_seq(), 10);
    let events = pair.take_runtime_events();
    assert!(events.iter().any(|event| matches!(event, RuntimeEvent::Writable)), "{events:?}");
    pair.emit(10);
    pair.flush();
    assert_eq!(pair.take_seqs(), (1..=20).collect::<Vec<_>>());
}

/// A mistake of §E: acks that never trim, until the session is killed.
#[test]
fn d24_a_long_stream_with_acks_never_fills_the_window() {
    let config = client_config().with_ack_policy(AckPolicy::OnPoll);
    let mut pair = Pair::connected_with(config, runtime_config().with_replay(1_000, 1 << 20, Overflow::Block));
    pair.submit();
    for _ in 0..200 {
        pair.emit(100);
        pair.flush();
    }
    pair.advance(millis(250));
    assert_eq!(pair.runtime().acked_seq(), 20_000);
    assert_eq!(pair.runtime().replay_len(), (0, 0));
    assert_eq!(pair.take_seqs(), (1..=20_000).collect::<Vec<_>>());
    let events = pair.take_runtime_events();
    assert!(events.is_empty(), "{events:?}");
}

/// A mistake of §E: an emptied buffer that hides a gap.
#[test]
fn d14_an_emptied_buffer_hides_no_gap() {
    let mut session = runtime();
    stream(&mut session, start(), 5);
    ack(&mut session, start(), 5);
    assert_eq!(session.replay_len(), (0, 0));
    session.handle_disconnect(start());
    for last in [0, 4, 6] {
        assert!(try_resume(&mut session, start(), 1, last, None).is_err(), "{last}");
    }
    resume(&mut session, start(), 1, 5, None);
    assert_eq!(types(&sent_json(&mut session, start())), ["session.welcome"]);
}

#[test]
fn d24_an_ack_that_comes_from_a_lost_transport_is_not_taken() {
    let mut session = runtime();
    stream(&mut session, start(), 5);
    session.handle_disconnect(start());
    ack(&mut session, start(), 5);
    assert_eq!((session.acked_seq(), session.replay_floor()), (0, 0));
    assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Detached(DetachReason::TransportLost)]));
}
