//! Signs of life in both directions (§6.4), and what their absence does.

use arcp_proto::wire::ErrorCode;
use arcp_proto::{
    Client, ClientEvent, DetachReason, Feature, FeatureSet, Instant, Limits, Now, Phase, ProtocolError, Role, Runtime,
    RuntimeConfig, RuntimeEvent, Session, Timer,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::lone_runtime::{ack, at, emit, log, resume, seqs, stream};
use crate::pair::{
    From, Pair, client_alone, client_config, client_events, feed, job, log_frame, millis, only, runtime_alone,
    runtime_config, runtime_events, secs, sent, sent_json, start, types, welcome,
};

fn runtime() -> Session<Runtime> {
    runtime_alone(runtime_config(), FeatureSet::all())
}

fn client() -> Session<Client> {
    client_alone(client_config())
}

fn without_heartbeat() -> FeatureSet {
    FeatureSet::all().without(Feature::Heartbeat)
}

fn client_without_heartbeat() -> Session<Client> {
    client_alone(client_config().with_features(without_heartbeat()))
}

fn ping(nonce: &str) -> Value {
    json!({
        "arcp": "1.1", "id": format!("m-{nonce}"), "type": "session.ping", "session_id": "sess_1",
        "payload": {"nonce": nonce, "sent_at": "2026-05-13T19:42:13.000Z"},
    })
}

fn pong() -> Value {
    json!({"id": "p", "type": "session.pong", "payload": {"ping_nonce": "?", "received_at": "2026-05-13T19:42:13Z"}})
}

fn sleep_until(next: Instant) -> Now {
    start().after(next - start().mono)
}

/// Sleeps from deadline to deadline; gives what was sent, with the milliseconds since the start.
fn drive<R: Role>(session: &mut Session<R>, until: Now) -> Vec<(u64, Value)> {
    let mut all = Vec::new();
    loop {
        let next = session.poll_timeout().filter(|next| *next <= until.mono);
        let now = next.map_or(until, sleep_until);
        session.handle_timeout(now);
        let since = (now.mono - start().mono).as_millis() as u64;
        all.extend(sent_json(session, now).into_iter().map(|frame| (since, frame)));
        if next.is_none() {
            return all;
        }
    }
}

/// When pings were sent.
fn ping_times(frames: &[(u64, Value)]) -> Vec<u64> {
    frames.iter().filter(|(_, frame)| frame["type"] == "session.ping").map(|(at, _)| *at).collect()
}

/// The session is lost at exactly that time, and not a millisecond before.
fn assert_lost_at<R: Role>(session: &mut Session<R>, lost: u64) {
    drive(session, at(lost - 1));
    assert_eq!(session.phase(), Phase::Open, "lost before {lost}");
    assert_eq!(session.timeout_reason(), Some(Timer::Silence), "{session:?}");
    assert_eq!(session.poll_timeout(), Some(at(lost).mono));
    session.handle_timeout(at(lost));
    assert_eq!(session.phase(), Phase::Detached, "not lost at {lost}");
}

fn config_with_interval(millis_between: u64) -> RuntimeConfig {
    RuntimeConfig { heartbeat_interval: millis(millis_between), ..runtime_config() }
}

// A7

#[test]
fn a7_the_runtime_pings_at_every_interval_of_30_seconds() {
    let mut session = runtime();
    let mut frames = drive(&mut session, at(29_999));
    assert!(frames.is_empty(), "{frames:?}");
    for n in 1..=10 {
        frames.extend(drive(&mut session, at(n * 30_000)));
        feed(&mut session, at(n * 30_000), &pong());
    }
    let expected: Vec<_> = (1..=10).map(|n| n * 30_000).collect();
    assert_eq!(ping_times(&frames), expected);
    assert_eq!(frames.len(), 10, "only pings");
}

#[test]
fn a7_a_ping_has_a_nonce_of_its_own_and_the_time() {
    let mut session = runtime();
    let first = drive(&mut session, at(30_000));
    feed(&mut session, at(30_000), &pong());
    let second = drive(&mut session, at(60_000));
    let (first, second) = (&first[0].1, &second[0].1);
    assert_eq!((&first["arcp"], &first["session_id"]), (&json!("1.1"), &json!("sess_1")));
    assert_eq!(first["payload"]["sent_at"], at(30_000).wall.to_string());
    let nonce = first["payload"]["nonce"].as_str().unwrap();
    assert!(nonce.starts_with("p_"), "{nonce}");
    assert_ne!(first["payload"]["nonce"], second["payload"]["nonce"]);
    assert_ne!(first["id"], second["id"]);
}

#[test]
fn a7_the_interval_is_configured_in_whole_seconds_and_the_welcome_says_it() {
    for (configured, seconds) in [(7_000, 7), (7_999, 7), (1_000, 1), (200, 1), (0, 1)] {
        let mut pair = Pair::connected_with(client_config(), config_with_interval(configured));
        assert_eq!(pair.transcript[1].json()["payload"]["heartbeat_interval_sec"], seconds);
        assert_eq!(pair.client.info().unwrap().heartbeat_interval, Some(secs(seconds)));
        let since = pair.transcript.len();
        pair.advance(millis(seconds * 1_000 - 1));
        assert_eq!(pair.types_since(From::Runtime, since), [""; 0]);
        pair.advance(millis(1));
        assert!(pair.types_since(From::Runtime, since).contains(&"session.ping".into()), "{configured}");
    }
}

#[test]
fn a7_the_client_answers_a_ping_without_the_application() {
    let mut session = client();
    feed(&mut session, at(5_000), &ping("n-1"));
    let frames = sent_json(&mut session, at(5_000));
    assert_eq!(types(&frames), ["session.pong"]);
    assert_eq!(frames[0]["payload"], json!({"ping_nonce": "n-1", "received_at": at(5_000).wall.to_string()}));
    assert_eq!(frames[0]["session_id"], "sess_1");
    assert!(session.poll_event().is_none(), "the application hears nothing of it");
}

#[test]
fn a7_the_runtime_answers_a_ping_too() {
    let mut session = runtime();
    feed(&mut session, at(5_000), &ping("n-1"));
    let frames = sent_json(&mut session, at(5_000));
    assert_eq!(types(&frames), ["session.pong"]);
    assert_eq!(frames[0]["payload"]["ping_nonce"], "n-1");
    assert!(session.poll_event().is_none());
}

#[test]
fn a7_each_ping_has_its_pong_in_order() {
    let mut session = client();
    for nonce in ["a", "b", "c"] {
        feed(&mut session, start(), &ping(nonce));
    }
    let frames = sent_json(&mut session, start());
    let nonces: Vec<_> = frames.iter().map(|frame| frame["payload"]["ping_nonce"].clone()).collect();
    assert_eq!(nonces, ["a", "b", "c"]);
}

#[test]
fn a7_pings_and_pongs_never_consume_an_event_seq() {
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(2);
    pair.advance(secs(300));
    pair.emit(1);
    pair.flush();
    let mut beats = 0;
    for passed in &pair.transcript {
        if matches!(&*passed.type_name(), "session.ping" | "session.pong") {
            assert!(passed.json().get("event_seq").is_none(), "{passed:?}");
            beats += 1;
        }
    }
    assert!(beats >= 20, "{beats}");
    assert_eq!(pair.take_seqs(), [1, 2, 3]);
    assert_eq!(pair.runtime().last_event_seq(), 3);
}

#[test]
fn a7_a_session_with_nothing_to_say_lives_on_pings_and_pongs() {
    let mut pair = Pair::connected();
    pair.advance(secs(3_600));
    assert_eq!((pair.client.phase(), pair.runtime().phase()), (Phase::Open, Phase::Open));
    assert!(pair.take_client_events().is_empty() && pair.take_runtime_events().is_empty());
}

// A8, D21: when silence is a loss

#[test]
fn a8_after_two_missed_pongs_the_runtime_closes_with_heartbeat_lost() {
    let mut session = runtime();
    let frames = drive(&mut session, at(59_999));
    assert_eq!(ping_times(&frames), [30_000], "one missed pong is no loss");
    assert_eq!(session.phase(), Phase::Open);
    session.handle_timeout(at(60_000));
    let frames = sent_json(&mut session, at(60_000));
    assert_eq!(types(&frames), ["session.error"]);
    let payload = &frames[0]["payload"];
    assert_eq!((&payload["code"], &payload["retryable"]), (&json!("HEARTBEAT_LOST"), &json!(true)));
    assert!(!payload["message"].as_str().unwrap().is_empty());
    assert_eq!(frames[0]["session_id"], "sess_1");
    assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Detached(DetachReason::HeartbeatLost)]));
    assert_eq!(session.phase(), Phase::Detached);
}

#[test]
fn a8_two_intervals_count_from_the_attach_where_nothing_came() {
    assert_lost_at(&mut runtime(), 60_000);
    assert_lost_at(&mut client(), 60_000);
}

#[test]
fn a8_two_intervals_count_in_the_configured_interval() {
    assert_lost_at(&mut runtime_alone(config_with_interval(7_000), FeatureSet::all()), 14_000);
}

#[test]
fn a8_two_intervals_count_from_the_last_inbound_frame_of_any_kind() {
    let frames = [
        pong(),
        ping("n"),
        json!({"id": "a", "type": "session.ack", "payload": {"last_processed_seq": 0}}),
        json!({"id": "x", "type": "x-vendor.hello"}),
        json!({"id": "l", "type": "session.list_jobs"}),
        json!({"id": "w", "type": "session.welcome"}),
    ];
    for frame in frames {
        let mut session = runtime();
        drive(&mut session, at(41_234));
        feed(&mut session, at(41_234), &frame);
        assert_lost_at(&mut session, 101_234);
    }
    let mut session = client();
    drive(&mut session, at(41_234));
    feed(&mut session, at(41_234), &log_frame(1));
    assert_lost_at(&mut session, 101_234);
}

#[test]
fn a8_a_malformed_frame_is_a_sign_of_life() {
    let mut session = runtime();
    drive(&mut session, at(59_999));
    session.handle_input(at(59_999), Bytes::from_static(b"not json"));
    assert_lost_at(&mut session, 119_999);
}

#[test]
fn d21_bytes_without_a_whole_message_are_a_sign_of_life() {
    let mut session = runtime();
    drive(&mut session, at(45_000));
    session.handle_activity(at(45_000));
    assert_lost_at(&mut session, 105_000);
    let mut session = client();
    drive(&mut session, at(59_999));
    session.handle_activity(at(59_999));
    assert_lost_at(&mut session, 119_999);
}

#[test]
fn d21_silence_is_judged_before_a_ping_due_at_the_same_instant() {
    let mut session = runtime();
    drive(&mut session, at(59_999));
    session.handle_timeout(at(60_000));
    assert_eq!(types(&sent_json(&mut session, at(60_000))), ["session.error"], "no ping to a lost client");
    let mut session = client();
    let frames = drive(&mut session, at(59_999));
    assert_eq!(ping_times(&frames), [30_000], "so that the next is due with the silence");
    session.handle_timeout(at(60_000));
    assert!(sent(&mut session, at(60_000)).is_empty());
}

#[test]
fn d21_what_was_read_before_the_deadline_is_fed_first_and_counts() {
    let mut session = runtime();
    drive(&mut session, at(59_999));
    feed(&mut session, at(60_000), &pong());
    session.handle_timeout(at(60_000));
    assert_eq!(session.phase(), Phase::Open);
    assert_eq!(types(&sent_json(&mut session, at(60_000))), ["session.ping"]);
    assert_lost_at(&mut session, 120_000);
}

#[test]
fn d21_polling_alone_loses_no_session() {
    let mut session = runtime();
    drive(&mut session, at(59_999));
    let _ = sent(&mut session, at(200_000));
    assert_eq!(session.phase(), Phase::Open);
}

// D21: who pings when

#[test]
fn d21_the_client_pings_after_an_interval_without_sending_although_it_receives() {
    let mut session = client();
    let mut frames = Vec::new();
    for n in 1..=65 {
        frames.extend(drive(&mut session, at(n * 1_000)));
        feed(&mut session, at(n * 1_000), &log_frame(n));
        while session.poll_event().is_some() {}
    }
    assert_eq!(ping_times(&frames), [30_000, 60_000]);
    assert_eq!(frames.len(), 2, "{frames:?}");
}

#[test]
fn d21_the_client_does_not_ping_while_it_sends() {
    let mut session = client();
    let mut frames = drive(&mut session, at(20_000));
    feed(&mut session, at(20_000), &ping("n"));
    assert_eq!(types(&sent_json(&mut session, at(20_000))), ["session.pong"]);
    frames.extend(drive(&mut session, at(49_999)));
    assert!(frames.is_empty(), "{frames:?}");
    session.handle_timeout(at(50_000));
    let sent = sent_json(&mut session, at(50_000));
    assert_eq!(types(&sent), ["session.ping"]);
    assert!(!sent[0]["payload"]["nonce"].as_str().unwrap().is_empty());
    assert_eq!(sent[0]["payload"]["sent_at"], at(50_000).wall.to_string());
    assert!(sent[0].get("event_seq").is_none());
}

#[test]
fn d21_what_the_client_has_queued_but_not_sent_is_no_sending() {
    let mut session = client();
    session.list_jobs(at(20_000), &arcp_proto::wire::JobQuery::default()).unwrap();
    session.handle_timeout(at(30_000));
    let frames = sent_json(&mut session, at(30_000));
    assert!(types(&frames).contains(&"session.ping"), "{frames:?}");
}

#[test]
fn d21_the_runtime_pings_every_interval_while_it_streams() {
    let mut session = runtime();
    let mut frames = Vec::new();
    for n in 1..=95 {
        frames.extend(drive(&mut session, at(n * 1_000)));
        emit(&mut session, at(n * 1_000), 1);
        frames.extend(sent_json(&mut session, at(n * 1_000)).into_iter().map(|frame| (n * 1_000, frame)));
        feed(&mut session, at(n * 1_000), &pong());
    }
    assert_eq!(ping_times(&frames), [30_000, 60_000, 90_000]);
}

#[test]
fn d21_the_runtime_pings_every_interval_while_it_receives() {
    let mut session = runtime();
    let mut frames = Vec::new();
    for n in 1..=65 {
        frames.extend(drive(&mut session, at(n * 1_000)));
        ack(&mut session, at(n * 1_000), 0);
    }
    frames.retain(|(_, frame)| frame["type"] != "session.error");
    assert_eq!(ping_times(&frames), [30_000, 60_000]);
}

#[test]
fn d21_a_late_call_does_not_bring_pings_in_a_burst() {
    let mut session = runtime();
    for n in 1..=5 {
        feed(&mut session, at(n * 25_000), &pong());
    }
    session.handle_timeout(at(125_000));
    assert_eq!(types(&sent_json(&mut session, at(125_000))), ["session.ping"]);
    session.handle_timeout(at(125_000));
    assert!(sent(&mut session, at(125_000)).is_empty());
}

#[test]
fn d21_a_late_call_leaves_the_beat_of_the_pings_as_it_was() {
    let mut session = runtime();
    feed(&mut session, at(25_000), &pong());
    for (called, next) in [(30_007, 60_000), (60_900, 90_000), (120_000, 150_000)] {
        session.handle_timeout(at(called));
        assert_eq!(types(&sent_json(&mut session, at(called))), ["session.ping"], "{called}");
        feed(&mut session, at(called), &pong());
        assert_eq!((session.poll_timeout(), session.timeout_reason()), (Some(at(next).mono), Some(Timer::Ping)));
    }
}

#[test]
fn d21_a_pong_leaves_ahead_of_events() {
    let mut session = runtime();
    emit(&mut session, start(), 100);
    feed(&mut session, start(), &ping("n"));
    let frames = sent_json(&mut session, start());
    assert_eq!(frames[0]["type"], "session.pong");
    assert_eq!(seqs(&frames), (1..=100).collect::<Vec<_>>());
}

#[test]
fn d21_a_pong_passes_events_in_mid_stream() {
    let mut session = runtime();
    emit(&mut session, start(), 3);
    assert!(session.poll_transmit(start()).is_some());
    feed(&mut session, start(), &ping("n"));
    assert_eq!(types(&sent_json(&mut session, start())), ["session.pong", "job.event", "job.event"]);
}

// D21: a caller that was away

#[test]
fn d21_when_the_caller_was_away_the_silence_deadline_moves_by_one_interval() {
    let mut session = runtime();
    session.handle_timeout(at(45_000));
    assert_eq!(types(&sent_json(&mut session, at(45_000))), ["session.ping"]);
    assert_lost_at(&mut session, 90_000);
    let mut session = client();
    session.handle_timeout(at(45_000));
    assert_lost_at(&mut session, 90_000);
}

#[test]
fn d21_away_means_more_than_an_interval_and_more_than_a_timer_that_rings_late() {
    // By the last it would be lost at the moment of the return: it has an interval from then.
    for (back, lost) in
        [(30_000, 60_000), (30_001, 60_000), (30_937, 60_000), (30_938, 90_000), (59_999, 90_000), (90_000, 120_000)]
    {
        let mut session = runtime();
        session.handle_timeout(at(back));
        assert_lost_at(&mut session, lost);
    }
}

#[test]
fn d21_away_begins_behind_a_32nd_of_the_interval_and_not_with_it() {
    for (back, lost) in [(33_000, 64_000), (33_001, 96_000)] {
        let mut session = runtime_alone(config_with_interval(32_000), FeatureSet::all());
        session.handle_timeout(at(back));
        assert_lost_at(&mut session, lost);
    }
}

/// In every real executor timers ring late; two intervals must not become three by it.
#[test]
fn a8_a_driver_whose_timers_ring_a_little_late_still_notices_a_dead_peer_after_two_intervals() {
    let mut session = runtime();
    let mut now = at(0);
    while session.phase() == Phase::Open {
        now = Now::new(session.poll_timeout().unwrap() + millis(5), now.wall);
        session.handle_timeout(now);
        let _ = sent_json(&mut session, now);
    }
    assert_eq!(now.mono, at(60_005).mono);
}

#[test]
fn d21_any_call_shows_that_the_caller_is_there() {
    let mut session = runtime();
    assert!(session.poll_transmit(at(20_000)).is_none());
    session.handle_timeout(at(50_000));
    assert_lost_at(&mut session, 60_000);
}

/// Where it comes back behind the deadline, the interval counts from its return: only now does it ping.
#[test]
fn d21_a_caller_that_slept_through_the_deadline_has_an_interval_from_its_return() {
    let mut session = runtime();
    session.handle_timeout(at(600_000));
    assert_eq!(session.phase(), Phase::Open);
    assert_eq!(types(&sent_json(&mut session, at(600_000))), ["session.ping"]);
    assert_lost_at(&mut session, 630_000);
}

#[test]
fn d21_the_grace_is_given_once() {
    let mut session = runtime();
    session.handle_timeout(at(40_000));
    session.handle_timeout(at(80_000));
    assert_eq!(session.phase(), Phase::Open);
    assert_eq!(session.poll_timeout(), Some(at(90_000).mono), "not moved again");
    session.handle_timeout(at(121_000));
    assert_eq!(session.phase(), Phase::Detached);
}

#[test]
fn d21_the_grace_is_there_again_after_a_sign_of_life() {
    let mut session = runtime();
    session.handle_timeout(at(40_000));
    feed(&mut session, at(50_000), &pong());
    session.handle_timeout(at(100_000));
    assert_lost_at(&mut session, 140_000);
}

#[test]
fn d21_the_deadline_counts_anew_from_each_attach() {
    let mut pair = Pair::connected().unjudged();
    pair.advance(secs(20));
    pair.cut();
    pair.advance(secs(100));
    let since = pair.transcript.len();
    pair.resume();
    let resumed = pair.now;
    pair.hold_to_client = true;
    pair.hold_to_runtime = true;
    pair.advance(millis(59_999));
    assert_eq!((pair.client.phase(), pair.runtime().phase()), (Phase::Open, Phase::Open));
    pair.advance(millis(1));
    assert_eq!((pair.client.phase(), pair.runtime().phase()), (Phase::Detached, Phase::Detached));
    assert_eq!(pair.now.mono - resumed.mono, secs(60));
    assert!(pair.types_since(From::Runtime, since).starts_with(&["session.welcome".into()]));
}

#[test]
fn d21_a_session_without_a_transport_neither_pings_nor_is_lost_again() {
    let mut session = runtime();
    session.handle_disconnect(at(10_000));
    session.handle_activity(at(20_000));
    let frames = drive(&mut session, at(599_000));
    assert!(frames.is_empty(), "{frames:?}");
    assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Detached(DetachReason::TransportLost)]));
    let mut session = client();
    session.handle_disconnect(at(10_000));
    assert!(drive(&mut session, at(599_000)).is_empty());
}

#[test]
fn d21_before_the_welcome_there_is_no_heartbeat() {
    let mut session = Session::connect(start(), client_config());
    let _ = sent(&mut session, start());
    assert_eq!(session.timeout_reason(), Some(Timer::Handshake));
    assert!(drive(&mut session, at(9_999)).is_empty());
}

// D22

#[test]
fn d22_the_error_is_the_last_that_the_runtime_says_and_events_wait() {
    let mut session = runtime();
    drive(&mut session, at(59_999));
    emit(&mut session, at(59_999), 3);
    session.handle_timeout(at(60_000));
    assert_eq!(types(&sent_json(&mut session, at(60_000))), ["session.error"]);
    assert!(sent(&mut session, at(61_000)).is_empty());
}

#[test]
fn d22_after_a_lost_heartbeat_jobs_live_and_the_session_can_be_resumed() {
    let mut session = runtime();
    stream(&mut session, start(), 2);
    drive(&mut session, at(60_000));
    assert_eq!(session.phase(), Phase::Detached);
    emit(&mut session, at(61_000), 2);
    assert_eq!(runtime_events(&mut session).len(), 1, "nothing is cancelled");
    resume(&mut session, at(62_000), 1, 2, None);
    assert_eq!(seqs(&sent_json(&mut session, at(62_000))), [3, 4]);
    assert_eq!(log(&mut session, at(62_000), &job()), Ok(5));
}

#[test]
fn d22_a_client_that_hears_nothing_says_nothing_and_resumes() {
    let mut session = client();
    drive(&mut session, at(59_999));
    session.handle_timeout(at(60_000));
    assert!(matches!(client_events(&mut session)[..], [ClientEvent::Detached(DetachReason::HeartbeatLost)]));
    assert!(sent(&mut session, at(60_000)).is_empty(), "no farewell");
    assert_eq!(session.phase(), Phase::Detached);
    session.resume(at(60_000)).unwrap();
    assert_eq!(types(&sent_json(&mut session, at(60_000))), ["session.hello"]);
}

#[test]
fn d22_a_client_drops_what_it_had_queued_when_the_heartbeat_is_lost() {
    let mut session = client();
    drive(&mut session, at(59_999));
    session.list_jobs(at(59_999), &arcp_proto::wire::JobQuery::default()).unwrap();
    session.handle_timeout(at(60_000));
    assert!(sent(&mut session, at(60_000)).is_empty());
}

#[test]
fn d22_a_client_that_is_told_heartbeat_lost_detaches_and_can_resume() {
    let mut session = client();
    let error = json!({
        "id": "e", "type": "session.error", "session_id": "sess_1",
        "payload": {"code": "HEARTBEAT_LOST", "message": "silence", "retryable": true},
    });
    feed(&mut session, at(1_000), &error);
    let events = client_events(&mut session);
    let [ClientEvent::Error { error, .. }, ClientEvent::Detached(DetachReason::HeartbeatLost)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(error.code, ErrorCode::HeartbeatLost);
    assert_eq!(session.resume(at(1_000)), Ok(()));
}

#[test]
fn d22_a_pair_whose_link_went_dead_comes_back_and_nothing_is_lost() {
    let mut pair = Pair::connected().unjudged();
    pair.submit();
    pair.emit(2);
    pair.flush();
    pair.hold_to_client = true;
    pair.hold_to_runtime = true;
    pair.emit(2);
    pair.advance(secs(60));
    assert_eq!((pair.client.phase(), pair.runtime().phase()), (Phase::Detached, Phase::Detached));
    pair.hold_to_client = false;
    pair.hold_to_runtime = false;
    pair.drop_link();
    pair.emit(1);
    pair.resume();
    assert_eq!(pair.take_seqs(), [1, 2, 3, 4, 5]);
}

/// A mistake of §E: a ping that blocks on a dead peer is never given up.
#[test]
fn d22_a_transport_that_takes_nothing_is_given_up_in_time() {
    let mut session = runtime();
    emit(&mut session, start(), 50);
    for n in 1..=2 {
        session.handle_timeout(at(n * 30_000));
    }
    assert_eq!(session.phase(), Phase::Detached);
    assert_eq!(types(&sent_json(&mut session, at(60_000))), ["session.error"]);
}

// D23

#[test]
fn d23_without_the_feature_nobody_pings_and_silence_is_no_loss() {
    let mut session = runtime_alone(runtime_config(), without_heartbeat());
    assert_eq!(session.poll_timeout(), None);
    assert!(drive(&mut session, at(86_400_000)).is_empty());
    assert_eq!(session.phase(), Phase::Open);
    let mut session = client_without_heartbeat();
    assert_eq!(session.poll_timeout(), None);
    assert!(drive(&mut session, at(86_400_000)).is_empty());
    assert_eq!(session.phase(), Phase::Open);
}

#[test]
fn d23_either_side_alone_can_leave_the_heartbeat_out() {
    let runtime = runtime_config().with_features(without_heartbeat());
    for (client, runtime) in
        [(client_config(), runtime), (client_config().with_features(without_heartbeat()), runtime_config())]
    {
        let mut pair = Pair::connected_with(client, runtime);
        let since = pair.transcript.len();
        pair.advance(secs(3_600));
        assert_eq!(pair.transcript.len(), since);
        assert_eq!((pair.client.phase(), pair.runtime().phase()), (Phase::Open, Phase::Open));
    }
}

/// A mistake of §E.
#[test]
fn d20_the_welcome_has_no_heartbeat_interval_where_none_was_negotiated() {
    let pair = Pair::connected_with(client_config().with_features(without_heartbeat()), runtime_config());
    assert!(pair.transcript[1].json()["payload"].get("heartbeat_interval_sec").is_none());
    assert_eq!(pair.client.info().unwrap().heartbeat_interval, None);
}

#[test]
fn d23_an_interval_in_the_welcome_does_not_negotiate_the_heartbeat() {
    let mut session = Session::connect(start(), client_config());
    let _ = sent(&mut session, start());
    feed(&mut session, start(), &welcome(without_heartbeat()));
    assert!(drive(&mut session, at(3_600_000)).is_empty());
    assert_eq!(session.phase(), Phase::Open);
}

#[test]
fn d23_a_ping_that_was_not_negotiated_is_answered_all_the_same() {
    let mut session = runtime_alone(runtime_config(), without_heartbeat());
    feed(&mut session, start(), &ping("n-1"));
    feed(&mut session, start(), &ping("n-2"));
    let frames = sent_json(&mut session, start());
    assert_eq!(types(&frames), ["session.pong", "session.pong"], "and no error");
    assert_eq!(frames[1]["payload"]["ping_nonce"], "n-2");
    let events = runtime_events(&mut session);
    let [RuntimeEvent::Violation(violation)] = &events[..] else { panic!("told once: {events:?}") };
    assert_eq!(violation.error, ProtocolError::NotNegotiated(Feature::Heartbeat));

    let mut session = client_without_heartbeat();
    feed(&mut session, start(), &ping("n-1"));
    feed(&mut session, start(), &ping("n-2"));
    assert_eq!(types(&sent_json(&mut session, start())), ["session.pong", "session.pong"]);
    let events = client_events(&mut session);
    let [ClientEvent::Violation(violation)] = &events[..] else { panic!("told once: {events:?}") };
    assert_eq!(violation.error, ProtocolError::NotNegotiated(Feature::Heartbeat));
}

#[test]
fn d23_a_pong_that_was_not_negotiated_is_ignored() {
    let mut session = runtime_alone(runtime_config(), without_heartbeat());
    feed(&mut session, start(), &pong());
    feed(&mut session, start(), &pong());
    assert!(sent(&mut session, start()).is_empty());
    assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Violation(_)]));
}

// What a peer may write into them

#[test]
fn d21_a_pong_is_never_failed_over_what_it_says() {
    for payload in [
        json!({"ping_nonce": "x", "received_at": "0001-01-01T00:00:00Z"}),
        json!({"ping_nonce": null}),
        json!({"received_at": "yesterday"}),
        json!({"received_at": 17, "ping_nonce": []}),
        json!({}),
    ] {
        let frame = json!({"id": "p", "type": "session.pong", "payload": payload});
        let mut session = runtime();
        feed(&mut session, start(), &frame);
        assert!(sent(&mut session, start()).is_empty());
        assert!(session.poll_event().is_none(), "{payload}");
        let mut session = client();
        feed(&mut session, start(), &frame);
        assert!(sent(&mut session, start()).is_empty());
        assert!(session.poll_event().is_none(), "{payload}");
    }
}

// D43

#[test]
fn d43_an_unsent_ping_is_not_repeated() {
    let mut session = runtime();
    for n in 1..=5 {
        session.handle_timeout(at(n * 30_000));
        feed(&mut session, at(n * 30_000), &pong());
    }
    let frames = sent_json(&mut session, at(150_000));
    assert_eq!(types(&frames), ["session.ping"]);
    assert_eq!(frames[0]["payload"]["sent_at"], at(30_000).wall.to_string(), "the first stays");
    session.handle_timeout(at(180_000));
    assert_eq!(types(&sent_json(&mut session, at(180_000))), ["session.ping"], "but the next follows it");

    let mut session = client();
    for n in 1..=5 {
        session.handle_timeout(at(n * 30_000));
        feed(&mut session, at(n * 30_000), &pong());
    }
    assert_eq!(types(&sent_json(&mut session, at(150_000))), ["session.ping"]);
}

fn narrow() -> Limits {
    Limits { inbound_bytes: 4_096, ..Limits::default() }
}

/// Feeds events until the session wants no more.
fn clog<R: Role>(session: &mut Session<R>, now: Now) {
    let mut seq = 1;
    while session.wants_input() {
        let mut frame = log_frame(seq);
        if std::any::TypeId::of::<R>() == std::any::TypeId::of::<Runtime>() {
            frame["type"] = json!("x-vendor.note");
        }
        feed(session, now, &frame);
        seq += 1;
    }
}

fn assert_that_silence_waits_for_the_caller<R: Role>(mut session: Session<R>) {
    clog(&mut session, at(10_000));
    let frames = drive(&mut session, at(100_000));
    assert!(!ping_times(&frames).is_empty(), "pings go on");
    assert_eq!(session.phase(), Phase::Open, "a peer that is not read is not silent");
    assert_ne!(session.timeout_reason(), Some(Timer::Silence));
    while session.poll_event().is_some() {}
    assert!(session.wants_input());
    // The last call made while it did not want input was at 100 s.
    assert_lost_at(&mut session, 160_000);
}

#[test]
fn d43_while_input_is_not_wanted_silence_is_the_callers_own_and_then_counts_from_its_last_call() {
    let config = runtime_config().with_limits(narrow());
    assert_that_silence_waits_for_the_caller(runtime_alone(config, FeatureSet::all()));
    assert_that_silence_waits_for_the_caller(client_alone(client_config().with_limits(narrow())));
}

#[test]
fn d43_a_frame_after_the_pause_counts_as_ever() {
    let mut session = client_alone(client_config().with_limits(narrow()));
    clog(&mut session, at(10_000));
    drive(&mut session, at(100_000));
    let last = session.last_event_seq();
    while session.poll_event().is_some() {}
    feed(&mut session, at(110_000), &log_frame(last + 1));
    assert_lost_at(&mut session, 170_000);
}

#[test]
fn a7_heartbeat_alone_is_enough_to_ping() {
    let mut session = runtime_alone(runtime_config(), only(&[Feature::Heartbeat]));
    assert_eq!(ping_times(&drive(&mut session, at(30_000))), [30_000]);
}
