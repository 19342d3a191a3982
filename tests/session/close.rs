//! How sessions and their transports end politely, from both sides (A13, A14, D27, D32).

use arcp_proto::wire::{JobResult, RawJson};
use arcp_proto::{
    Client, ClientConfig, ClientEvent, CloseReason, DetachReason, Farewell, FeatureSet, Limits, Now, Opening, Overflow,
    Phase, RefusedBecause, ResumeAttempt, ResumeError, Runtime, RuntimeEvent, SendError, Session, Timer,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::pair::{
    From, Pair, client_alone, client_config, client_events, feed, job, log_frame, message, millis, open, principal,
    runtime_alone, runtime_config, runtime_events, secs, sent, sent_json, serving, start, token, types, welcome,
};

fn emit(session: &mut Session<Runtime>, count: u64) {
    for _ in 0..count {
        session.send_event(start(), &job(), "log", &json!({"level": "info", "message": "m"})).unwrap();
    }
}

fn attempt(n: u64, last_event_seq: u64) -> ResumeAttempt {
    let hello = json!({"id": "h", "type": "session.hello", "payload": {
        "auth": {"scheme": "bearer", "token": "secret-bearer"},
        "resume_token": token(n), "last_event_seq": last_event_seq,
        "capabilities": {"features": FeatureSet::all()},
    }});
    match Opening::parse(Bytes::from(hello.to_string()), &Limits::default()) {
        Ok(Opening::Resume(attempt)) => attempt,
        other => panic!("{other:?}"),
    }
}

fn closed_for(events: &[ClientEvent]) -> Option<&CloseReason> {
    let closed: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ClientEvent::Closed(reason) => Some(reason),
            _ => None,
        })
        .collect();
    assert!(closed.len() <= 1, "{events:?}");
    assert!(closed.is_empty() || matches!(events.last(), Some(ClientEvent::Closed(_))), "{events:?}");
    closed.first().copied()
}

fn closed(session: &mut Session<Client>) -> Option<CloseReason> {
    let events = client_events(session);
    closed_for(&events).cloned()
}

/// Nothing works any more, and nothing happens.
fn is_over(session: &mut Session<Client>) {
    assert_eq!(session.phase(), Phase::Closed);
    let now = start().after(secs(100_000));
    feed(session, now, &log_frame(1));
    feed(session, now, &message("session.ping", json!({"nonce": "n"})));
    session.handle_timeout(now);
    session.handle_disconnect(now);
    session.close(now, "again");
    assert_eq!(session.resume(now), Err(ResumeError::Closed));
    assert!(sent(session, now).is_empty() && client_events(session).is_empty());
    assert_eq!(session.poll_timeout(), None);
}

// The client says goodbye.

#[test]
fn a13_the_client_says_bye_with_its_reason_before_the_transport_closes() {
    for reason in ["normal", "maintenance"] {
        let mut session = open();
        session.close(start(), reason);
        let frames = sent_json(&mut session, start());
        assert_eq!(types(&frames), ["session.bye"]);
        assert_eq!(frames[0]["payload"], json!({"reason": reason}));
        assert_eq!(frames[0]["session_id"], "sess_1");
        assert_eq!(closed(&mut session), None, "not before the runtime has answered");
        assert_eq!(session.phase(), Phase::Closing);
    }
}

#[test]
fn d32_or_session_close_where_it_is_so_configured() {
    let mut session = client_alone(ClientConfig { farewell: Farewell::Close, ..client_config() });
    session.close(start(), "maintenance");
    let frames = sent_json(&mut session, start());
    assert_eq!(types(&frames), ["session.close"]);
    assert_eq!(frames[0]["payload"], json!({"reason": "maintenance"}));
    // One peer answers it with an error.
    let error = json!({"code": "INVALID_REQUEST", "message": "unknown type"});
    feed(&mut session, start(), &message("session.error", error));
    assert_eq!(closed(&mut session), Some(CloseReason::Requested));
}

#[test]
fn d25_what_is_processed_is_acknowledged_before_the_bye_which_is_the_last_frame() {
    let mut session = open();
    feed(&mut session, start(), &log_frame(1));
    client_events(&mut session);
    session.mark_processed(start(), 1).unwrap();
    session.list_jobs(start(), &arcp_proto::wire::JobQuery::default()).unwrap();
    feed(&mut session, start(), &message("session.ping", json!({"nonce": "n"})));
    session.close(start(), "normal");
    let frames = sent_json(&mut session, start());
    assert_eq!(types(&frames), ["session.pong", "session.list_jobs", "session.ack", "session.bye"]);
    assert_eq!(frames[2]["payload"]["last_processed_seq"], 1);
    feed(&mut session, start(), &log_frame(2));
    feed(&mut session, start(), &message("session.ping", json!({"nonce": "n"})));
    client_events(&mut session);
    session.mark_processed(start(), 2).unwrap();
    session.handle_timeout(start().after(secs(4)));
    assert!(sent(&mut session, start()).is_empty(), "nothing follows a bye");
}

#[test]
fn d32_the_client_waits_five_seconds_to_the_millisecond() {
    let mut session = open();
    session.close(start(), "normal");
    let _ = sent(&mut session, start());
    assert_eq!(session.poll_timeout(), Some(start().mono + secs(5)));
    assert_eq!(session.timeout_reason(), Some(Timer::Close));
    session.handle_timeout(start().after(millis(4_999)));
    assert_eq!(closed(&mut session), None);
    session.handle_timeout(start().after(millis(5_000)));
    assert_eq!(closed(&mut session), Some(CloseReason::Requested));
    is_over(&mut session);
}

#[test]
fn d32_the_wait_is_the_applications_to_choose_and_not_prolonged_by_asking_again() {
    let mut session = client_alone(ClientConfig { close_timeout: millis(20), ..client_config() });
    session.close(start(), "normal");
    session.close(start().after(millis(19)), "again");
    assert_eq!(sent_json(&mut session, start())[0]["payload"]["reason"], "normal");
    session.handle_timeout(start().after(millis(19)));
    assert_eq!(closed(&mut session), None);
    session.handle_timeout(start().after(millis(20)));
    assert_eq!(closed(&mut session), Some(CloseReason::Requested));
}

#[test]
fn d32_bye_closed_the_end_of_the_transport_and_an_error_all_end_the_wait() {
    let answers: [fn(&mut Session<Client>); 6] = [
        |session| feed(session, start(), &message("session.bye", json!({"reason": "theirs"}))),
        |session| feed(session, start(), &message("session.closed", json!({"reason": "normal"}))),
        |session| feed(session, start(), &json!({"type": "session.closed"})),
        |session| session.handle_disconnect(start()),
        |session| feed(session, start(), &message("session.error", json!({"code": "INTERNAL_ERROR"}))),
        |session| feed(session, start(), &message("session.error", json!({"code": "HEARTBEAT_LOST"}))),
    ];
    for (n, answer) in answers.into_iter().enumerate() {
        for is_polled in [true, false] {
            let mut session = open();
            session.close(start(), "normal");
            if is_polled {
                let _ = sent(&mut session, start());
            }
            answer(&mut session);
            assert_eq!(closed(&mut session), Some(CloseReason::Requested), "{n}");
            let _ = sent(&mut session, start());
            is_over(&mut session);
        }
    }
}

#[test]
fn d32_the_client_is_given_events_until_the_answer_and_none_after() {
    let mut session = open();
    session.close(start(), "normal");
    let _ = sent(&mut session, start());
    for seq in 1..=3 {
        feed(&mut session, start().after(millis(1_000 * seq)), &log_frame(seq));
    }
    feed(&mut session, start().after(secs(4)), &message("session.closed", json!({})));
    feed(&mut session, start().after(secs(4)), &log_frame(4));
    let events = client_events(&mut session);
    assert!(
        matches!(
            events[..],
            [ClientEvent::Event(_), ClientEvent::Event(_), ClientEvent::Event(_), ClientEvent::Closed(_)]
        ),
        "{events:?}"
    );
    assert_eq!(session.last_event_seq(), 3);
}

#[test]
fn d32_no_heartbeat_runs_while_the_client_waits() {
    let mut config = client_config();
    config.close_timeout = secs(1_000);
    let mut session = client_alone(config);
    session.close(start(), "normal");
    let _ = sent(&mut session, start());
    session.handle_timeout(start().after(secs(999)));
    assert_eq!(closed(&mut session), None);
    assert!(sent(&mut session, start()).is_empty());
}

#[test]
fn d32_without_an_open_transport_the_client_is_closed_at_once_and_sends_nothing() {
    let connecting = Session::connect(start(), client_config());
    let mut detached = open();
    detached.handle_disconnect(start());
    client_events(&mut detached);
    let mut resuming = detached.clone();
    resuming.resume(start()).unwrap();
    for mut session in [connecting, detached, resuming] {
        let phase = session.phase();
        session.close(start(), "normal");
        assert_eq!(closed(&mut session), Some(CloseReason::Requested), "{phase}");
        assert!(sent(&mut session, start()).is_empty(), "{phase}");
        is_over(&mut session);
    }
}

#[test]
fn d32_a_transport_that_is_given_up_while_the_client_closes_is_the_end_too() {
    let limits = Limits { violations: 2, ..Limits::default() };
    let mut session = client_alone(client_config().with_limits(limits));
    session.close(start(), "normal");
    for _ in 0..3 {
        feed(&mut session, start(), &message("session.welcome", json!({})));
    }
    assert_eq!(closed(&mut session), Some(CloseReason::Requested));
    is_over(&mut session);
}

// The runtime says goodbye to the client.

#[test]
fn a14_an_unasked_bye_or_closed_is_told_as_the_sessions_end_with_its_reason() {
    for name in ["session.bye", "session.closed"] {
        for (payload, reason) in [
            (json!({"reason": "maintenance"}), Some("maintenance")),
            (json!({"reason": "maintenance", "extra": [1]}), Some("maintenance")),
            (json!({"reason": null}), None),
            (json!({}), None),
            (Value::Null, None),
            (json!({"reason": 5}), None),
        ] {
            let mut session = open();
            feed(&mut session, start(), &message(name, payload.clone()));
            let expected = CloseReason::PeerClosed { reason: reason.map(Into::into) };
            assert_eq!(closed(&mut session), Some(expected), "{name} {payload}");
            assert!(sent(&mut session, start()).is_empty(), "{name}: no farewell of ours");
            is_over(&mut session);
        }
    }
}

#[test]
fn d15_a_client_that_is_superseded_never_resumes() {
    let mut session = open();
    feed(&mut session, start(), &message("session.bye", json!({"reason": "superseded"})));
    assert_eq!(closed(&mut session), Some(CloseReason::PeerClosed { reason: Some("superseded".into()) }));
    session.handle_disconnect(start());
    session.handle_timeout(start().after(secs(1_000)));
    is_over(&mut session);
}

#[test]
fn d32_a_goodbye_to_another_session_is_not_heeded() {
    let mut session = open();
    let mut bye = message("session.bye", json!({}));
    bye["session_id"] = json!("sess_other");
    feed(&mut session, start(), &bye);
    assert_eq!((closed(&mut session), session.phase()), (None, Phase::Open));
    let mut session = serving();
    feed(&mut session, start(), &bye);
    assert_eq!(session.phase(), Phase::Open);
}

// The runtime hears goodbye.

#[test]
fn d32_bye_or_close_is_answered_by_closed_with_its_reason_and_the_session_stays() {
    for name in ["session.bye", "session.close"] {
        for (payload, answered) in [
            (json!({"reason": "maintenance"}), json!({"reason": "maintenance"})),
            (json!({}), json!({})),
            (Value::Null, json!({})),
            (json!({"reason": 5}), json!({})),
        ] {
            let mut session = serving();
            feed(&mut session, start(), &message(name, payload));
            let events = runtime_events(&mut session);
            assert!(
                matches!(events[..], [RuntimeEvent::Detached(DetachReason::PeerClosed { .. })]),
                "{name}: {events:?}"
            );
            let frames = sent_json(&mut session, start());
            assert_eq!(types(&frames), ["session.closed"], "{name}");
            assert_eq!(frames[0]["payload"], answered, "{name}");
            assert_eq!(session.phase(), Phase::Detached);
        }
    }
}

#[test]
fn d32_the_runtimes_application_learns_the_reason_and_no_reason_is_long() {
    for (said, told) in [(Some("normal"), Some("normal")), (None, None)] {
        let mut session = serving();
        feed(&mut session, start(), &message("session.bye", json!({"reason": said})));
        let events = runtime_events(&mut session);
        let [RuntimeEvent::Detached(DetachReason::PeerClosed { reason })] = &events[..] else { panic!("{events:?}") };
        assert_eq!(reason.as_deref(), told);
    }
    let long = "ä".repeat(500_000);
    let mut session = serving();
    feed(&mut session, start(), &message("session.bye", json!({"reason": long})));
    let events = runtime_events(&mut session);
    let [RuntimeEvent::Detached(DetachReason::PeerClosed { reason: Some(reason) })] = &events[..] else {
        panic!("{events:?}");
    };
    assert!(long.starts_with(&**reason) && reason.len() <= 256, "{}", reason.len());
    assert!(sent(&mut session, start())[0].len() < 1_000);
    let mut client = open();
    client.close(start(), &long);
    assert!(sent(&mut client, start())[0].len() < 1_000);
    let mut session = serving();
    session.shutdown(start(), &long);
    assert!(sent(&mut session, start())[0].len() < 1_000);
}

#[test]
fn d27_closed_is_the_last_frame_behind_all_events_emitted_before_the_close() {
    let mut session = serving();
    emit(&mut session, 3);
    feed(&mut session, start(), &message("session.ping", json!({"nonce": "n"})));
    feed(&mut session, start(), &message("session.bye", json!({})));
    assert_eq!(session.phase(), Phase::Closing);
    emit(&mut session, 2);
    assert!(runtime_events(&mut session).is_empty(), "not before they are sent");
    let frames = sent_json(&mut session, start());
    assert_eq!(types(&frames), ["session.pong", "job.event", "job.event", "job.event", "session.closed"]);
    assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Detached(DetachReason::PeerClosed { .. })]));
    session.resume(start(), attempt(1, 3), &principal(), token(2)).unwrap();
    let frames = sent_json(&mut session, start());
    assert_eq!(types(&frames), ["session.welcome", "job.event", "job.event"], "what came later waits for the resume");
    assert_eq!(frames[1]["event_seq"], 4);
}

#[test]
fn d27_the_welcome_and_answers_go_before_the_farewell() {
    let mut session = serving();
    let list = message("session.list_jobs", json!({}));
    feed(&mut session, start(), &list);
    let events = runtime_events(&mut session);
    let [RuntimeEvent::ListJobs { request, .. }] = events[..] else { panic!("{events:?}") };
    emit(&mut session, 1);
    feed(&mut session, start(), &message("session.bye", json!({})));
    session.respond_jobs(start(), request, Default::default()).unwrap();
    assert_eq!(types(&sent_json(&mut session, start())), ["session.jobs", "job.event", "session.closed"]);
}

#[test]
fn d27_after_five_seconds_the_farewell_goes_at_once_and_the_rest_waits_for_the_resume() {
    let mut session = serving();
    emit(&mut session, 3);
    feed(&mut session, start(), &message("session.bye", json!({})));
    assert_eq!(session.poll_timeout(), Some(start().mono + secs(5)));
    assert_eq!(session.timeout_reason(), Some(Timer::Close));
    assert!(session.poll_transmit(start()).is_some(), "one, then the transport is stuck");
    session.handle_timeout(start().after(millis(4_999)));
    assert_eq!(session.phase(), Phase::Closing);
    let now = start().after(secs(5));
    session.handle_timeout(now);
    assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Detached(DetachReason::PeerClosed { .. })]));
    assert_eq!(types(&sent_json(&mut session, now)), ["session.closed"]);
    session.resume(now, attempt(1, 1), &principal(), token(2)).unwrap();
    let frames = sent_json(&mut session, now);
    assert_eq!(types(&frames), ["session.welcome", "job.event", "job.event"]);
}

#[test]
fn d32_a_second_goodbye_changes_nothing() {
    let mut session = serving();
    emit(&mut session, 1);
    feed(&mut session, start(), &message("session.bye", json!({"reason": "one"})));
    feed(&mut session, start().after(secs(4)), &message("session.close", json!({"reason": "two"})));
    assert_eq!(session.poll_timeout(), Some(start().mono + secs(5)));
    let frames = sent_json(&mut session, start());
    assert_eq!(types(&frames), ["job.event", "session.closed"]);
    assert_eq!(frames[1]["payload"]["reason"], "one");
    assert_eq!(runtime_events(&mut session).len(), 1);
}

#[test]
fn d32_a_loss_without_a_goodbye_is_told_as_one() {
    let mut session = serving();
    session.handle_disconnect(start());
    session.handle_disconnect(start());
    assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Detached(DetachReason::TransportLost)]));
    assert!(sent(&mut session, start()).is_empty());
}

#[test]
fn d32_a_client_that_does_not_wait_for_the_answer_has_closed_all_the_same() {
    let mut session = serving();
    emit(&mut session, 3);
    feed(&mut session, start(), &message("session.bye", json!({})));
    session.handle_disconnect(start());
    assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Detached(DetachReason::PeerClosed { .. })]));
    assert!(sent(&mut session, start()).is_empty());
}

#[test]
fn d32_after_a_polite_close_jobs_go_on_and_the_session_is_resumable_for_the_window() {
    let closed_at = start();
    let mut session = serving();
    emit(&mut session, 2);
    let _ = sent(&mut session, closed_at);
    feed(&mut session, closed_at, &message("session.bye", json!({"reason": "normal"})));
    let _ = sent(&mut session, closed_at);
    let events = runtime_events(&mut session);
    assert!(matches!(events[..], [RuntimeEvent::Detached(_)]), "nothing of a job is cancelled: {events:?}");
    emit(&mut session, 2);
    session.send_result(closed_at, &job(), JobResult::inline(RawJson::null())).unwrap();
    let late = closed_at.after(millis(599_999));
    session.handle_timeout(late);
    let mut resumed = session.clone();
    resumed.resume(late, attempt(1, 2), &principal(), token(2)).unwrap();
    let frames = sent_json(&mut resumed, late);
    assert_eq!(types(&frames), ["session.welcome", "job.event", "job.event", "job.result"]);
    // With everything acknowledged, the window's end is the session's.
    let mut session = serving();
    feed(&mut session, closed_at, &message("session.bye", json!({})));
    session.handle_timeout(closed_at.after(secs(600)));
    let events = runtime_events(&mut session);
    let [RuntimeEvent::Detached(_), RuntimeEvent::WindowElapsed, RuntimeEvent::Closed(reason)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*reason, CloseReason::ResumeWindowExpired);
}

#[test]
fn d15_a_resume_while_the_old_transport_is_closing_wins() {
    let mut session = serving();
    emit(&mut session, 2);
    feed(&mut session, start(), &message("session.bye", json!({})));
    let takeover = session.resume(start(), attempt(1, 0), &principal(), token(2)).unwrap();
    let farewell: Vec<Value> = takeover.farewell.iter().map(|frame| serde_json::from_slice(frame).unwrap()).collect();
    assert_eq!(types(&farewell), ["session.bye"]);
    assert_eq!(farewell[0]["payload"]["reason"], "superseded");
    assert_eq!(session.phase(), Phase::Open);
    assert_eq!(types(&sent_json(&mut session, start())), ["session.welcome", "job.event", "job.event"]);
    session.handle_timeout(start().after(secs(5)));
    assert_eq!(session.phase(), Phase::Open, "the close is forgotten");
}

#[test]
fn d32_a_farewell_that_is_still_owed_is_handed_over_by_the_resume() {
    let mut session = serving();
    feed(&mut session, start(), &message("session.bye", json!({})));
    assert_eq!(session.phase(), Phase::Detached);
    let takeover = session.resume(start(), attempt(1, 0), &principal(), token(2)).unwrap();
    let farewell: Vec<Value> = takeover.farewell.iter().map(|frame| serde_json::from_slice(frame).unwrap()).collect();
    assert_eq!(types(&farewell), ["session.closed"]);
    assert_eq!(types(&sent_json(&mut session, start())), ["session.welcome"]);
}

// The runtime shuts down.

#[test]
fn a14_on_shutdown_the_runtime_says_bye_behind_all_events_and_the_session_is_closed() {
    let mut session = serving();
    emit(&mut session, 2);
    feed(&mut session, start(), &message("session.ping", json!({"nonce": "n"})));
    session.shutdown(start(), "maintenance");
    assert_eq!(session.phase(), Phase::Closing);
    assert!(runtime_events(&mut session).is_empty());
    let frames = sent_json(&mut session, start());
    assert_eq!(types(&frames), ["session.pong", "job.event", "job.event", "session.bye"]);
    assert_eq!(frames[3]["payload"], json!({"reason": "maintenance"}));
    let events = runtime_events(&mut session);
    assert!(matches!(events[..], [RuntimeEvent::Closed(CloseReason::Shutdown)]), "{events:?}");
    assert_eq!(session.send_event(start(), &job(), "log", &json!({})), Err(SendError::Closed));
}

#[test]
fn d27_a_shutdown_waits_five_seconds_for_the_events_before_it() {
    let mut session = serving();
    emit(&mut session, 2);
    session.shutdown(start(), "maintenance");
    assert_eq!(session.poll_timeout(), Some(start().mono + secs(5)));
    session.handle_timeout(start().after(millis(4_999)));
    assert!(runtime_events(&mut session).is_empty());
    session.handle_timeout(start().after(secs(5)));
    assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Closed(CloseReason::Shutdown)]));
    assert_eq!(types(&sent_json(&mut session, start())), ["session.bye"], "then at once");
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn d32_a_shutdown_without_a_transport_is_done_at_once() {
    let mut session = serving();
    session.handle_disconnect(start());
    runtime_events(&mut session);
    session.shutdown(start(), "maintenance");
    session.shutdown(start(), "maintenance");
    assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Closed(CloseReason::Shutdown)]));
    assert!(sent(&mut session, start()).is_empty());
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn d32_a_session_that_is_shut_down_or_shutting_down_is_not_resumed() {
    let mut session = serving();
    emit(&mut session, 1);
    session.shutdown(start(), "maintenance");
    for _ in 0..2 {
        let refused = session.resume(start(), attempt(1, 0), &principal(), token(2)).unwrap_err();
        assert_eq!(refused.reason(), RefusedBecause::Closed);
        session.handle_timeout(start().after(secs(5)));
    }
    let events = runtime_events(&mut session);
    assert!(matches!(events[..], [RuntimeEvent::Closed(CloseReason::Shutdown)]), "{events:?}");
}

#[test]
fn d32_a_shutdown_while_the_client_says_goodbye_ends_the_session_once() {
    for is_first in [true, false] {
        let mut session = serving();
        emit(&mut session, 2);
        let bye = message("session.bye", json!({}));
        if is_first {
            session.shutdown(start(), "maintenance");
            feed(&mut session, start(), &bye);
        } else {
            feed(&mut session, start(), &bye);
            session.shutdown(start(), "maintenance");
        }
        // Whoever was first has its answer.
        let farewell = if is_first { "session.bye" } else { "session.closed" };
        assert_eq!(types(&sent_json(&mut session, start())), ["job.event", "job.event", farewell]);
        session.handle_disconnect(start());
        session.handle_timeout(start().after(secs(100_000)));
        let events = runtime_events(&mut session);
        assert!(matches!(events[..], [RuntimeEvent::Closed(CloseReason::Shutdown)]), "{events:?}");
    }
}

/// Whatever happens to the transport meanwhile, a shutdown is not forgotten.
#[test]
fn d32_a_shutdown_ends_the_session_however_its_transport_ends() {
    type Fate = fn(&mut Session<Runtime>);
    let fates: [(&str, Fate); 6] = [
        ("loss", |session| session.handle_disconnect(start())),
        ("violations", |session| (0..70).for_each(|_| feed(session, start(), &message("job.event", json!({}))))),
        ("another hello", |session| feed(session, start(), &message("session.hello", json!({})))),
        ("overrun", |session| {
            let emit = |_| session.send_event(start(), &job(), "log", &json!({}));
            assert_eq!((0..20).map(emit).last(), Some(Err(SendError::Closed)));
        }),
        ("control", |session| {
            (0..300).for_each(|n| feed(session, start(), &message("session.nonsense", json!({"n": n}))));
        }),
        ("time", |session| session.handle_timeout(start().after(secs(5)))),
    ];
    for (name, fate) in fates {
        let config = runtime_config().with_replay(10, 1 << 20, Overflow::Evict);
        let mut session = runtime_alone(config, FeatureSet::all());
        emit(&mut session, 5);
        session.shutdown(start(), "maintenance");
        fate(&mut session);
        let events = runtime_events(&mut session);
        let ends = |event: &&RuntimeEvent| !matches!(event, RuntimeEvent::Violation(_));
        let ends: Vec<_> = events.iter().filter(ends).collect();
        assert!(matches!(ends[..], [RuntimeEvent::Closed(CloseReason::Shutdown)]), "{name}: {ends:?}");
        assert_eq!(session.phase(), Phase::Closed, "{name}");
        assert_eq!(session.poll_timeout(), None, "{name}");
    }
}

// Re-authentication.

#[test]
fn a14_a_second_hello_gets_bye_then_an_error_at_once_and_the_session_stays_resumable() {
    let mut session = serving();
    emit(&mut session, 2);
    let mut hello = message("session.hello", json!({"auth": {"scheme": "bearer", "token": "another"}}));
    hello["id"] = json!("second");
    feed(&mut session, start(), &hello);
    let frames = sent_json(&mut session, start());
    assert_eq!(types(&frames), ["session.bye", "session.error"], "at once, not behind the events");
    assert_eq!(frames[0]["payload"], json!({"reason": "reauthentication"}));
    assert_eq!(frames[1]["payload"]["code"], "INVALID_REQUEST");
    assert_eq!(frames[1]["payload"]["request_id"], "second");
    let events = runtime_events(&mut session);
    let [RuntimeEvent::Violation(_), RuntimeEvent::Detached(DetachReason::Reauthentication)] = events[..] else {
        panic!("{events:?}");
    };
    emit(&mut session, 1);
    session.resume(start(), attempt(1, 0), &principal(), token(2)).unwrap();
    let frames = sent_json(&mut session, start());
    assert_eq!(types(&frames), ["session.welcome", "job.event", "job.event", "job.event"], "jobs untouched");
}

// Both sides.

#[test]
fn a13_a_close_from_end_to_end() {
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(5);
    pair.hold_to_client = true;
    pair.flush();
    let now = pair.now;
    pair.client.close(now, "normal");
    pair.flush();
    assert_eq!(pair.client.phase(), Phase::Closing);
    pair.hold_to_client = false;
    let since = pair.transcript.len();
    pair.flush();
    assert_eq!(pair.types_since(From::Runtime, since).last().map(String::as_str), Some("session.closed"));
    let events = pair.take_client_events();
    assert_eq!(events.len(), 6, "five events, then the end: {events:?}");
    assert_eq!(closed_for(&events), Some(&CloseReason::Requested));
    assert!(matches!(pair.take_runtime_events()[..], [RuntimeEvent::Detached(DetachReason::PeerClosed { .. })]));
}

#[test]
fn a14_a_shutdown_from_end_to_end() {
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(3);
    let now = pair.now;
    pair.runtime().shutdown(now, "maintenance");
    pair.flush();
    let events = pair.take_client_events();
    assert_eq!(events.len(), 4, "{events:?}");
    assert_eq!(closed_for(&events), Some(&CloseReason::PeerClosed { reason: Some("maintenance".into()) }));
    assert!(matches!(pair.take_runtime_events()[..], [RuntimeEvent::Closed(CloseReason::Shutdown)]));
}

#[test]
fn d32_goodbyes_that_cross_end_both_sides_once() {
    let mut pair = Pair::connected();
    pair.hold_to_client = true;
    pair.hold_to_runtime = true;
    let now = pair.now;
    pair.client.close(now, "normal");
    pair.runtime().shutdown(now, "maintenance");
    pair.flush();
    pair.hold_to_client = false;
    pair.hold_to_runtime = false;
    pair.advance(secs(10));
    assert_eq!(closed_for(&pair.take_client_events()), Some(&CloseReason::Requested));
    assert!(matches!(pair.take_runtime_events()[..], [RuntimeEvent::Closed(CloseReason::Shutdown)]));
}

#[test]
fn d32_a_runtime_that_is_gone_holds_a_client_up_for_five_seconds() {
    let mut pair = Pair::connected();
    pair.hold_to_runtime = true;
    let now: Now = pair.now;
    pair.client.close(now, "normal");
    pair.advance(millis(4_999));
    assert_eq!(closed_for(&pair.take_client_events()), None);
    pair.advance(millis(1));
    assert_eq!(closed_for(&pair.take_client_events()), Some(&CloseReason::Requested));
}

#[test]
fn d32_every_ending_of_a_client_is_told_once_and_last() {
    let endings: [fn(&mut Session<Client>); 5] = [
        |session| session.close(start(), "normal"),
        |session| feed(session, start(), &message("session.bye", json!({}))),
        |session| session.handle_timeout(start().after(secs(10_000))),
        |session| session.handle_disconnect(start()),
        |session| feed(session, start(), &welcome(FeatureSet::all())),
    ];
    for one in endings {
        for two in endings {
            for three in endings {
                let mut session = open();
                for end in [one, two, three] {
                    end(&mut session);
                }
                session.handle_disconnect(start());
                session.close(start(), "really");
                assert!(closed(&mut session).is_some());
                is_over(&mut session);
            }
        }
    }
}

#[test]
fn d25_what_is_marked_between_the_close_and_its_sending_is_acknowledged_before_it() {
    let mut session = client_alone(client_config());
    for seq in 1..=2 {
        feed(&mut session, start(), &log_frame(seq));
    }
    assert_eq!(client_events(&mut session).len(), 2);
    session.close(start(), "normal");
    session.mark_processed(start(), 2).unwrap();
    let frames = sent_json(&mut session, start());
    assert_eq!(types(&frames), ["session.ack", "session.bye"]);
    assert_eq!(frames[0]["payload"]["last_processed_seq"], 2);
    // Nothing follows the goodbye.
    assert!(sent_json(&mut session, start()).is_empty());
}
