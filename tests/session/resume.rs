//! Coming back: what a resume carries, when it is taken, what it replays, how long it may be tried, and who wins.

use arcp_proto::wire::{Credentials, ErrorCode, JobAccepted, JobQuery, JobSubmit, Principal, RawJson, ResumeToken};
use arcp_proto::{
    Client, ClientConfig, ClientEvent, CloseReason, DetachReason, Feature, FeatureSet, GapPolicy, Opening, Overflow,
    Phase, ProtocolError, RefusedBecause, RequestFailure, ResumeAttempt, ResumeError, ResumeRefusal, ResumeRefused,
    Runtime, RuntimeConfig, RuntimeEvent, SendError, Session, Takeover, Timer,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::pair::{
    From, Pair, client_alone, client_config, client_events, feed, job, log_frame, millis, only, principal,
    runtime_alone, runtime_config, runtime_events, secs, sent, sent_json, start, token, types, welcome,
};

/// A resume by hand with `token(n)`, that has all up to `last` and asks for no other features.
fn attempt(n: u64, last: u64) -> ResumeAttempt {
    attempt_with(n, last, None)
}

fn attempt_with(n: u64, last: u64, features: Option<FeatureSet>) -> ResumeAttempt {
    let mut payload = json!({
        "auth": {"scheme": "bearer", "token": "secret-bearer"},
        "resume": {"resume_token": token(n).reveal(), "last_event_seq": last},
    });
    if let Some(features) = features {
        payload["capabilities"] = json!({"features": features});
    }
    attempt_of(&json!({"id": "r1", "type": "session.hello", "payload": payload}))
}

fn attempt_of(message: &Value) -> ResumeAttempt {
    match Opening::parse(Bytes::from(message.to_string()), &Default::default()) {
        Ok(Opening::Resume(attempt)) => attempt,
        other => panic!("no resume: {other:?}"),
    }
}

fn resume(runtime: &mut Session<Runtime>, n: u64, last: u64, next: u64) -> Result<Takeover, ResumeRefused> {
    runtime.resume(start(), attempt(n, last), &principal(), token(next))
}

/// A runtime alone that has emitted and sent `count` events; its token is `token(1)`.
fn streamed(config: RuntimeConfig, features: FeatureSet, count: u64) -> Session<Runtime> {
    let mut runtime = runtime_alone(config, features);
    emit(&mut runtime, count);
    assert_eq!(sent(&mut runtime, start()).len() as u64, count);
    runtime
}

fn emit(runtime: &mut Session<Runtime>, count: u64) {
    for _ in 0..count {
        let next = runtime.last_event_seq() + 1;
        assert_eq!(runtime.send_event(start(), &job(), "log", &json!({"message": next})), Ok(next));
    }
}

fn ack(runtime: &mut Session<Runtime>, seq: u64) {
    feed(runtime, start(), &json!({"id": "a", "type": "session.ack", "payload": {"last_processed_seq": seq}}));
}

fn seqs(frames: &[Value]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame["event_seq"].as_u64()).collect()
}

/// All that can be seen of a runtime's session from outside.
fn seen(runtime: &Session<Runtime>) -> impl PartialEq + std::fmt::Debug + use<> {
    let counts = (runtime.last_event_seq(), runtime.acked_seq(), runtime.replay_floor(), runtime.replay_len());
    let times = (runtime.poll_timeout(), runtime.timeout_reason());
    (format!("{runtime:?}"), counts, times, runtime.send_credit(), runtime.principal().clone())
}

fn refused_frame(refused: ResumeRefused) -> Value {
    serde_json::from_slice(&refused.into_message(start())).unwrap()
}

/// A connected pair that has streamed three events, all of them polled.
fn streaming() -> Pair {
    streaming_with(client_config(), runtime_config())
}

fn streaming_with(client: ClientConfig, runtime: RuntimeConfig) -> Pair {
    let mut pair = Pair::connected_with(client, runtime);
    pair.submit();
    pair.emit(3);
    pair.flush();
    assert_eq!(pair.take_seqs(), [1, 2, 3]);
    pair
}

/// A client alone that has the events up to `last` and lost its transport.
fn detached_client(config: ClientConfig, last: u64) -> Session<Client> {
    let mut client = client_alone(config);
    (1..=last).for_each(|seq| feed(&mut client, start(), &log_frame(seq)));
    client.handle_disconnect(start());
    let events = client_events(&mut client);
    assert!(matches!(events.last(), Some(ClientEvent::Detached(DetachReason::TransportLost))), "{events:?}");
    client
}

/// The hello with which a client resumes.
fn resume_hello(client: &mut Session<Client>) -> Value {
    client.resume(start()).expect("it can resume");
    let mut frames = sent_json(client, start());
    assert_eq!(types(&frames), ["session.hello"], "nothing goes before the welcome");
    frames.remove(0)
}

fn last_presented(client: &mut Session<Client>) -> u64 {
    resume_hello(client)["payload"]["last_event_seq"].as_u64().unwrap()
}

// D13: what a client sends, and what it makes of the answer.

#[test]
fn d13_a_client_sends_both_forms() {
    let mut client = detached_client(client_config(), 3);
    let hello = resume_hello(&mut client);
    let all: Vec<_> = Feature::ALL.iter().map(|feature| feature.name()).collect();
    assert_eq!(
        hello["payload"],
        json!({
            "client": {"name": "my-app", "version": "1.0.0"},
            "auth": {"scheme": "bearer", "token": "secret-bearer"},
            "capabilities": {"encodings": ["json"], "features": all},
            "resume": {"session_id": "sess_1", "resume_token": "rt_first", "last_event_seq": 3},
            "resume_token": "rt_first",
            "last_event_seq": 3,
        })
    );
    assert_eq!(hello.get("session_id"), None, "a hello names no session on its envelope");
    assert_eq!(client.session_id().map(|id| id.as_str()), Some("sess_1"), "but the client knows it");
}

#[test]
fn d13_a_client_that_has_nothing_resumes_from_0() {
    let mut client = detached_client(client_config(), 0);
    let payload = &resume_hello(&mut client)["payload"];
    assert_eq!((&payload["last_event_seq"], &payload["resume"]["last_event_seq"]), (&json!(0), &json!(0)));
}

#[test]
fn d13_a_resume_goes_with_renewed_credentials() {
    let mut client = detached_client(client_config(), 1);
    client.set_credentials(Credentials::bearer("renewed"));
    assert_eq!(resume_hello(&mut client)["payload"]["auth"], json!({"scheme": "bearer", "token": "renewed"}));
    client.handle_disconnect(start());
    assert_eq!(resume_hello(&mut client)["payload"]["auth"]["token"], "renewed", "and so does every later one");
}

/// E: token not rotated.
#[test]
fn d13_the_answer_is_a_welcome_of_the_same_session_with_a_rotated_token() {
    let mut pair = streaming();
    let first = pair.client.resume_token().cloned().unwrap();
    for round in 2..5 {
        pair.cut();
        let since = pair.transcript.len();
        pair.resume();
        let welcome = pair.transcript[since + 1].json();
        assert_eq!((&welcome["type"], &welcome["session_id"]), (&json!("session.welcome"), &json!("sess_1")));
        assert_eq!(welcome["payload"]["resume_token"], token(round).reveal());
        assert_eq!(welcome["payload"]["resume_window_sec"], 600);
        assert_eq!(pair.client.resume_token(), Some(&token(round)));
        let events = pair.take_client_events();
        let told: Vec<_> = events.iter().filter(|event| matches!(event, ClientEvent::Resumed(_))).collect();
        let [ClientEvent::Resumed(info)] = told[..] else { panic!("{events:?}") };
        assert_eq!(info.session_id, "sess_1");
        assert_eq!(pair.client.phase(), Phase::Open);
    }
    assert_ne!(pair.client.resume_token(), Some(&first));
}

#[test]
fn d13_a_welcome_to_another_session_ends_it_and_carries_nothing_over() {
    let mut client = client_alone(client_config());
    (1..=3).for_each(|seq| feed(&mut client, start(), &log_frame(seq)));
    client.handle_disconnect(start());
    client_events(&mut client);
    let _ = resume_hello(&mut client);
    let mut other = welcome(FeatureSet::all());
    other["session_id"] = json!("sess_2");
    feed(&mut client, start(), &other);
    let events = client_events(&mut client);
    assert!(
        matches!(events[..], [ClientEvent::Closed(CloseReason::ResumeRefused(ResumeRefusal::NewSession))]),
        "{events:?}"
    );
    assert_eq!((client.phase(), client.poll_timeout()), (Phase::Closed, None));
    // The session that it was has not become the other one.
    assert_eq!(client.session_id().map(|id| id.as_str()), Some("sess_1"));
    assert_eq!(client.resume_token().map(ResumeToken::reveal), Some("rt_first"));
    assert_eq!(client.last_event_seq(), 3);
    let mut event = log_frame(1);
    event["session_id"] = json!("sess_2");
    feed(&mut client, start(), &event);
    assert!(client_events(&mut client).is_empty() && sent(&mut client, start()).is_empty());
    assert_eq!(client.resume(start()), Err(ResumeError::Closed));
}

// D14: the checks of a runtime.

/// E: resume without a principal check · resume check after the welcome was already sent.
#[test]
fn d14_whatever_is_refused_leaves_everything_untouched() {
    let bob = Principal::from("bob");
    for attached in [true, false] {
        let mut runtime = streamed(runtime_config(), FeatureSet::all(), 5);
        emit(&mut runtime, 2);
        ack(&mut runtime, 2);
        if !attached {
            runtime.handle_disconnect(start());
        }
        runtime_events(&mut runtime);
        let before = seen(&runtime);
        let later = start().after(secs(5));
        for (attempt, principal, reason) in [
            (attempt(9, 5), principal(), RefusedBecause::Token),
            (attempt(9, 0), bob.clone(), RefusedBecause::Token),
            (attempt(1, 5), bob.clone(), RefusedBecause::Principal),
            (attempt(1, 99), bob.clone(), RefusedBecause::Principal),
            (attempt(1, 1), principal(), RefusedBecause::Sequence),
            (attempt(1, 6), principal(), RefusedBecause::Sequence),
            (attempt(1, (1 << 53) - 1), principal(), RefusedBecause::Sequence),
        ] {
            let refused = runtime.resume(later, attempt, &principal, token(2)).unwrap_err();
            assert_eq!(refused.reason(), reason);
            let frame = refused_frame(refused);
            assert_eq!(frame["payload"]["code"], "RESUME_WINDOW_EXPIRED", "{reason:?}");
            assert_eq!(frame["payload"]["retryable"], false);
            assert_eq!(frame["payload"]["request_id"], "r1");
            assert_eq!(seen(&runtime), before, "{reason:?}");
            assert!(runtime_events(&mut runtime).is_empty());
        }
        // An old token that was refused for something else is as good as before, and the stream goes on.
        if attached {
            assert_eq!(seqs(&sent_json(&mut runtime, start())), [6, 7]);
        }
        assert!(resume(&mut runtime, 1, 2, 2).is_ok());
        assert_eq!(seqs(&sent_json(&mut runtime, start())), [3, 4, 5, 6, 7]);
    }
}

#[test]
fn d14_from_outside_a_wrong_principal_and_a_wrong_place_look_the_same() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 3);
    let refusals = [(attempt(1, 3), "bob"), (attempt(1, 4), "alice"), (attempt(7, 3), "alice"), (attempt(1, 9), "bob")];
    let frames: Vec<_> = refusals
        .into_iter()
        .map(|(attempt, who)| refused_frame(runtime.resume(start(), attempt, &who.into(), token(2)).unwrap_err()))
        .collect();
    assert!(frames.iter().all(|frame| *frame == frames[0]), "{frames:?}");
    let unknown = serde_json::from_slice::<Value>(&attempt(7, 3).refuse(start(), ResumeRefused::expired())).unwrap();
    assert_eq!(frames[0], unknown, "also where no session was found for the token");
}

#[test]
fn d14_the_session_that_the_client_names_must_be_this_one() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 1);
    let message = |id: &str| {
        json!({"id": "r1", "type": "session.hello", "payload": {"auth": {"scheme": "bearer", "token": "t"},
            "resume": {"session_id": id, "resume_token": token(1).reveal(), "last_event_seq": 1}}})
    };
    let before = seen(&runtime);
    let refused = runtime.resume(start(), attempt_of(&message("sess_2")), &principal(), token(2)).unwrap_err();
    assert_eq!(refused.reason(), RefusedBecause::SessionId);
    assert_eq!(seen(&runtime), before);
    assert!(runtime.resume(start(), attempt_of(&message("sess_1")), &principal(), token(2)).is_ok());
}

/// E: an emptied buffer hiding a gap · a fully caught-up client that cannot resume.
#[test]
fn d14_at_the_floor_a_resume_is_taken_and_below_it_refused() {
    for (acked, sent_up_to) in [(0, 5), (1, 5), (4, 5), (5, 5)] {
        for last in 0..=6 {
            let mut runtime = streamed(runtime_config(), FeatureSet::all(), sent_up_to);
            ack(&mut runtime, acked);
            assert_eq!(runtime.replay_floor(), acked);
            runtime.handle_disconnect(start());
            let fits = (acked..=sent_up_to).contains(&last);
            let outcome = resume(&mut runtime, 1, last, 2);
            assert_eq!(outcome.is_ok(), fits, "acked {acked}, resumed from {last}");
            if fits {
                let frames = sent_json(&mut runtime, start());
                assert_eq!(frames[0]["type"], "session.welcome");
                assert_eq!(seqs(&frames), (last + 1..=sent_up_to).collect::<Vec<_>>());
                assert_eq!(frames.len() as u64, 1 + sent_up_to - last, "the replay is complete, and nothing else");
            }
        }
    }
}

#[test]
fn d14_a_client_that_has_all_resumes_with_an_empty_replay() {
    let mut pair = streaming();
    let now = pair.now;
    pair.client.mark_processed(now, 3).unwrap();
    pair.advance(secs(1));
    assert_eq!(pair.runtime().replay_len(), (0, 0));
    pair.cut();
    let since = pair.transcript.len();
    pair.resume();
    assert_eq!(pair.types_since(From::Runtime, since), ["session.welcome"]);
    pair.emit(2);
    pair.flush();
    assert_eq!(pair.take_seqs(), [4, 5]);
}

#[test]
fn d14_nobody_has_what_was_never_transmitted() {
    // Recorded, but never handed to a transport.
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 2);
    emit(&mut runtime, 3);
    runtime.handle_disconnect(start());
    emit(&mut runtime, 1);
    assert_eq!(resume(&mut runtime, 1, 3, 2).unwrap_err().reason(), RefusedBecause::Sequence);
    assert!(resume(&mut runtime, 1, 2, 2).is_ok());
    assert_eq!(seqs(&sent_json(&mut runtime, start())), [3, 4, 5, 6]);
    // What an earlier transport was given counts on every later one.
    runtime.handle_disconnect(start());
    assert!(resume(&mut runtime, 2, 0, 3).is_ok());
    runtime.handle_disconnect(start());
    assert!(resume(&mut runtime, 3, 6, 4).is_ok());
    assert_eq!(types(&sent_json(&mut runtime, start())), ["session.welcome"]);
}

#[test]
fn d14_a_resume_right_after_the_welcome_that_nobody_read() {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    assert_eq!(resume(&mut runtime, 1, 1, 2).unwrap_err().reason(), RefusedBecause::Sequence);
    assert!(resume(&mut runtime, 1, 0, 2).is_ok());
}

#[test]
fn d14_a_replay_is_verbatim() {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    emit(&mut runtime, 2);
    let progress = json!({"current": 1});
    runtime.send_event(start(), &job(), "progress", &progress).unwrap();
    let first = sent(&mut runtime, start());
    // Time goes on and the features are others now: an event's are those of its time.
    let later = start().after(secs(7));
    runtime.handle_disconnect(later);
    let fewer = attempt_with(1, 0, Some(FeatureSet::none()));
    runtime.resume(later, fewer, &principal(), token(2)).unwrap();
    let again = sent(&mut runtime, later);
    assert_eq!(again[1..], first[..]);
    let outcome = runtime.send_event(later, &job(), "progress", &progress);
    assert_eq!(outcome, Err(SendError::FeatureNotNegotiated(Feature::Progress)));
    // And so once more, with more features again.
    runtime.resume(later, attempt_with(2, 1, Some(FeatureSet::all())), &principal(), token(3)).unwrap();
    assert_eq!(sent(&mut runtime, later)[1..], first[1..]);
    assert_eq!(runtime.send_event(later, &job(), "progress", &progress), Ok(4));
}

/// E: live events of running jobs not reaching the resumed session · live events interleaved with the replay · seq given
/// out and frame dropped afterwards · `event_seq` restarting after a resume.
#[test]
fn d14_the_welcome_then_the_replay_then_what_is_live() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 3);
    emit(&mut runtime, 1);
    runtime.handle_disconnect(start());
    emit(&mut runtime, 1);
    assert!(resume(&mut runtime, 1, 1, 2).is_ok());
    // Live events come while the replay is under way, one for each that is taken.
    let mut frames = Vec::new();
    for _ in 0..4 {
        frames.push(runtime.poll_transmit(start()).unwrap());
        emit(&mut runtime, 1);
    }
    frames.extend(sent(&mut runtime, start()));
    let frames: Vec<Value> = frames.iter().map(|frame| serde_json::from_slice(frame).unwrap()).collect();
    assert_eq!(frames[0]["type"], "session.welcome");
    assert_eq!(seqs(&frames), (2..=9).collect::<Vec<_>>());
}

#[test]
fn d14_a_resume_is_told_to_the_application() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 1);
    runtime.handle_disconnect(start());
    runtime_events(&mut runtime);
    resume(&mut runtime, 1, 1, 2).unwrap();
    assert!(matches!(runtime_events(&mut runtime)[..], [RuntimeEvent::Resumed { takeover: false }]));
    resume(&mut runtime, 2, 1, 3).unwrap();
    assert!(matches!(runtime_events(&mut runtime)[..], [RuntimeEvent::Resumed { takeover: true }]));
}

#[test]
fn d14_a_session_that_has_ended_or_is_ending_is_not_resumed() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 1);
    emit(&mut runtime, 1);
    runtime.shutdown(start(), "maintenance");
    let before = seen(&runtime);
    let refused = resume(&mut runtime, 1, 1, 2).unwrap_err();
    assert_eq!(refused.reason(), RefusedBecause::Closed);
    assert_eq!(refused_frame(refused)["payload"]["code"], "RESUME_WINDOW_EXPIRED");
    assert_eq!(seen(&runtime), before);
    assert_eq!(types(&sent_json(&mut runtime, start())), ["job.event", "session.bye"], "the shutdown goes on");
    assert_eq!(runtime.phase(), Phase::Closed);
    assert_eq!(resume(&mut runtime, 1, 1, 2).unwrap_err().reason(), RefusedBecause::Closed);
    assert!(sent(&mut runtime, start()).is_empty());
}

/// E: close destroying resumability.
#[test]
fn d14_a_politely_closed_session_is_resumed() {
    for stage in ["closing", "closed"] {
        let mut runtime = streamed(runtime_config(), FeatureSet::all(), 2);
        emit(&mut runtime, 1);
        feed(&mut runtime, start(), &json!({"id": "b", "type": "session.bye", "payload": {"reason": "normal"}}));
        assert_eq!(runtime.phase(), Phase::Closing);
        if stage == "closed" {
            assert_eq!(types(&sent_json(&mut runtime, start())), ["job.event", "session.closed"]);
            assert_eq!(runtime.phase(), Phase::Detached);
        }
        assert!(resume(&mut runtime, 1, 2, 2).is_ok(), "{stage}");
        assert_eq!(runtime.phase(), Phase::Open);
        assert_eq!(types(&sent_json(&mut runtime, start())), ["session.welcome", "job.event"]);
        // The goodbye is forgotten with the transport that it was said on.
        runtime.handle_timeout(start().after(secs(6)));
        assert_eq!(runtime.phase(), Phase::Open, "{stage}");
    }
}

#[test]
fn d13_features_shrink_and_grow_on_a_resume() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 1);
    let fewer = only(&[Feature::Ack, Feature::ListJobs]);
    runtime.resume(start(), attempt_with(1, 1, Some(fewer.clone())), &principal(), token(2)).unwrap();
    assert_eq!(runtime.features(), &fewer);
    let welcome = &sent_json(&mut runtime, start())[0]["payload"];
    assert_eq!(welcome["capabilities"]["features"], json!(["ack", "list_jobs"]));
    assert_eq!(welcome.get("heartbeat_interval_sec"), None);
    assert_eq!(runtime.poll_timeout(), None, "no heartbeat, no deadline");
    feed(&mut runtime, start(), &json!({"id": "q", "type": "job.subscribe", "payload": {"job_id": "job_1"}}));
    assert_eq!(types(&sent_json(&mut runtime, start())), ["session.error"]);
    // They stand where the resume says nothing, and grow again up to what the runtime supports.
    runtime.resume(start(), attempt(2, 1), &principal(), token(3)).unwrap();
    assert_eq!(runtime.features(), &fewer);
    runtime.resume(start(), attempt_with(3, 1, Some(FeatureSet::all())), &principal(), token(4)).unwrap();
    assert_eq!(runtime.features(), &FeatureSet::all());
    assert_eq!(runtime.timeout_reason(), Some(Timer::Ping));
}

#[test]
fn d13_the_client_takes_the_features_of_the_last_welcome() {
    let mut client = detached_client(client_config(), 1);
    let _ = resume_hello(&mut client);
    feed(&mut client, start(), &welcome(only(&[Feature::Ack])));
    let events = client_events(&mut client);
    let [ClientEvent::Resumed(info)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&info.features, client.features()), (&only(&[Feature::Ack]), &only(&[Feature::Ack])));
    assert_eq!(info.heartbeat_interval, None);
    assert_eq!(client.poll_timeout(), None);
    let missing = Err(SendError::FeatureNotNegotiated(Feature::ListJobs));
    assert_eq!(client.list_jobs(start(), &JobQuery::default()), missing);
}

#[test]
fn d19_without_acks_from_now_on_a_full_window_opens_by_the_resume() {
    let config = runtime_config().with_replay(4, 1 << 20, Overflow::Block);
    let mut runtime = streamed(config, FeatureSet::all(), 4);
    assert_eq!(runtime.send_event(start(), &job(), "log", &json!({})), Err(SendError::Blocked));
    runtime_events(&mut runtime);
    let without = FeatureSet::all().without(Feature::Ack);
    runtime.resume(start(), attempt_with(1, 4, Some(without)), &principal(), token(2)).unwrap();
    let events = runtime_events(&mut runtime);
    assert!(events.iter().any(|event| matches!(event, RuntimeEvent::Writable)), "{events:?}");
    assert_eq!(runtime.send_event(start(), &job(), "log", &json!({})), Ok(5));
}

// D15: takeover.

#[test]
fn d15_the_new_transport_wins_and_the_old_one_is_told() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 3);
    emit(&mut runtime, 1);
    assert_eq!(runtime.attachment(), 1);
    let takeover = resume(&mut runtime, 1, 2, 2).unwrap();
    let farewell: Vec<Value> = takeover.farewell.iter().map(|frame| serde_json::from_slice(frame).unwrap()).collect();
    assert_eq!(types(&farewell), ["session.bye"]);
    assert_eq!(farewell[0]["payload"], json!({"reason": "superseded"}));
    assert_eq!(farewell[0]["session_id"], "sess_1");
    assert_eq!((runtime.attachment(), runtime.phase()), (2, Phase::Open), "late bytes of the old one are known by it");
    let frames = sent_json(&mut runtime, start());
    assert_eq!(types(&frames), ["session.welcome", "job.event", "job.event"], "and the bye is not among them");
    assert_eq!(seqs(&frames), [3, 4]);
}

#[test]
fn d15_a_resume_of_a_detached_session_supersedes_nobody() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 1);
    runtime.handle_disconnect(start());
    assert!(resume(&mut runtime, 1, 1, 2).unwrap().farewell.is_empty());
    assert_eq!(runtime.attachment(), 2);
}

#[test]
fn d15_a_client_that_was_superseded_does_not_come_back() {
    let mut client = client_alone(client_config());
    feed(&mut client, start(), &json!({"type": "session.bye", "payload": {"reason": "superseded"}}));
    let events = client_events(&mut client);
    let [ClientEvent::Closed(CloseReason::PeerClosed { reason })] = &events[..] else { panic!("{events:?}") };
    assert_eq!(reason.as_deref(), Some("superseded"));
    assert_eq!(client.resume(start()), Err(ResumeError::Closed));
    client.handle_disconnect(start());
    client.handle_timeout(start().after(secs(3_600)));
    assert!(sent(&mut client, start()).is_empty() && client.poll_timeout().is_none());
}

/// The client noticed that the transport broke, the runtime did not: it keeps writing into the dead one.
#[test]
fn d15_a_half_open_transport_is_taken_over_and_nothing_is_lost() {
    let mut pair = streaming().unjudged();
    pair.cut_unseen_by_runtime();
    pair.emit(3);
    let now = pair.now;
    assert_eq!(sent(pair.runtime(), now).len(), 3, "into the void");
    pair.emit(1);
    pair.resume();
    pair.emit(1);
    pair.flush();
    assert_eq!(pair.take_seqs(), (4..=8).collect::<Vec<_>>());
    assert_eq!((pair.client.attachment(), pair.runtime().attachment()), (2, 2));
    assert!(pair.take_runtime_events().iter().any(|event| matches!(event, RuntimeEvent::Resumed { takeover: true })));
}

/// E: old transport's teardown evicting the new one. A driver knows whose end it is by the attachment.
#[test]
fn d15_the_old_transports_deadlines_do_not_reach_the_new_one() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 1);
    let almost = start().after(millis(59_999));
    runtime.handle_timeout(almost);
    runtime.resume(almost, attempt(1, 1), &principal(), token(2)).unwrap();
    let _ = sent(&mut runtime, almost);
    // The silence of the old one was due in a millisecond; the new one has its own two intervals.
    runtime.handle_timeout(start().after(secs(60)));
    assert_eq!(runtime.phase(), Phase::Open);
    let ping = almost.after(secs(30));
    assert_eq!(runtime.poll_timeout(), Some(ping.mono));
    runtime.handle_timeout(ping);
    runtime.handle_timeout(almost.after(millis(59_999)));
    assert_eq!(runtime.phase(), Phase::Open);
    runtime.handle_timeout(almost.after(secs(60)));
    assert_eq!(runtime.phase(), Phase::Detached);
}

#[test]
fn d15_violations_of_the_old_transport_are_not_held_against_the_new_one() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 0);
    let wrong = json!({"id": "x", "type": "session.welcome"});
    (0..64).for_each(|_| feed(&mut runtime, start(), &wrong));
    assert_eq!(runtime.phase(), Phase::Open);
    resume(&mut runtime, 1, 0, 2).unwrap();
    (0..64).for_each(|_| feed(&mut runtime, start(), &wrong));
    assert_eq!(runtime.phase(), Phase::Open);
    feed(&mut runtime, start(), &wrong);
    assert_eq!(runtime.phase(), Phase::Detached);
}

// D3 and the third rule of the design: which token is good.

#[test]
fn d3_two_resumes_with_one_token_each_succeed_in_turn() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 3);
    runtime.handle_disconnect(start());
    assert!(resume(&mut runtime, 1, 0, 2).unwrap().farewell.is_empty());
    assert_eq!(seqs(&sent_json(&mut runtime, start())), [1, 2, 3]);
    emit(&mut runtime, 1);
    // The second came before a word of the client on the first.
    assert_eq!(resume(&mut runtime, 1, 0, 3).unwrap().farewell.len(), 1);
    let frames = sent_json(&mut runtime, start());
    assert_eq!(frames[0]["payload"]["resume_token"], token(3).reveal());
    assert_eq!(seqs(&frames), [1, 2, 3, 4], "no event is lost");
    assert_eq!((runtime.phase(), runtime.attachment()), (Phase::Open, 3));
    // The token of the superseded attachment is retired.
    assert_eq!(resume(&mut runtime, 2, 4, 4).unwrap_err().reason(), RefusedBecause::Token);
    assert!(resume(&mut runtime, 3, 4, 5).is_ok());
}

#[test]
fn d3_the_presented_token_is_retired_by_the_first_frame_after_the_welcome_was_handed_out() {
    let frames = [r#"{"type":"session.ping"}"#, r#"{"id":"1","type":"session.list_jobs"}"#, "not even an envelope", ""];
    for frame in frames {
        let mut runtime = streamed(runtime_config(), FeatureSet::all(), 1);
        resume(&mut runtime, 1, 1, 2).unwrap();
        // Before the welcome was handed out: what the endpoint held (D9).
        runtime.handle_input(start(), Bytes::from(frame.to_owned()));
        runtime.handle_activity(start());
        assert!(runtime.clone().resume(start(), attempt(1, 1), &principal(), token(9)).is_ok(), "{frame}");
        let welcome = runtime.poll_transmit(start()).unwrap();
        assert!(String::from_utf8_lossy(&welcome).contains("session.welcome"));
        // Handed out, but nothing has come since; and bytes are no frame yet.
        runtime.handle_activity(start());
        assert!(runtime.clone().resume(start(), attempt(1, 1), &principal(), token(9)).is_ok(), "{frame}");
        runtime.handle_input(start(), Bytes::from(frame.to_owned()));
        let refused = runtime.resume(start(), attempt(1, 1), &principal(), token(9)).unwrap_err();
        assert_eq!(refused.reason(), RefusedBecause::Token, "{frame}");
        assert!(resume(&mut runtime, 2, 1, 3).is_ok(), "{frame}");
    }
}

#[test]
fn d3_a_token_two_rotations_old_is_never_good_again() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 1);
    resume(&mut runtime, 1, 1, 2).unwrap();
    resume(&mut runtime, 2, 1, 3).unwrap();
    // Presented was 2, the new one is 3; 1 is retired although the client has not said a word since.
    assert_eq!(resume(&mut runtime, 1, 1, 4).unwrap_err().reason(), RefusedBecause::Token);
    assert!(runtime.clone().resume(start(), attempt(2, 1), &principal(), token(4)).is_ok());
    assert!(resume(&mut runtime, 3, 1, 4).is_ok());
}

#[test]
fn d3_the_first_token_of_a_session_is_its_only_one() {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    feed(&mut runtime, start(), &json!({"type": "session.ping"}));
    assert_eq!(resume(&mut runtime, 2, 0, 3).unwrap_err().reason(), RefusedBecause::Token);
    let near = ResumeToken::new(format!("{}0", token(1).reveal()));
    let message = json!({"type": "session.hello", "payload": {"auth": {"scheme": "bearer", "token": "t"},
        "resume_token": near}});
    let refused = runtime.resume(start(), attempt_of(&message), &principal(), token(3)).unwrap_err();
    assert_eq!(refused.reason(), RefusedBecause::Token);
    assert!(resume(&mut runtime, 1, 0, 2).is_ok());
}

/// The welcome that rotated the token was lost: the client comes with the one that it has.
#[test]
fn d3_a_lost_welcome_does_not_lose_the_session() {
    let mut pair = streaming();
    pair.cut();
    for _ in 0..3 {
        pair.hold_to_client = true;
        pair.resume();
        assert_eq!(pair.client.phase(), Phase::Resuming);
        pair.cut();
        pair.emit(1);
        pair.hold_to_client = false;
    }
    pair.resume();
    assert_eq!(pair.client.phase(), Phase::Open);
    assert_eq!(pair.take_seqs(), [4, 5, 6]);
    assert_eq!(pair.client.resume_token(), Some(&token(5)));
}

// The first rule: the ack is said again at every attach.

#[test]
fn d25_an_ack_that_was_lost_with_its_transport_is_said_again_and_opens_a_full_window() {
    let mut pair = Pair::connected_with(client_config(), runtime_config().with_replay(4, 1 << 20, Overflow::Block));
    pair.submit();
    pair.emit(4);
    pair.flush();
    assert_eq!(pair.take_seqs(), [1, 2, 3, 4]);
    let now = pair.now;
    assert_eq!(pair.runtime().send_event(now, &job(), "log", &json!({})), Err(SendError::Blocked));
    pair.client.mark_processed(now, 4).unwrap();
    pair.client.flush_acks(now).unwrap();
    pair.hold_to_runtime = true;
    pair.collect();
    assert_eq!(pair.to_runtime.len(), 1, "the ack is on its way");
    pair.cut();
    pair.hold_to_runtime = false;
    pair.take_runtime_events();
    let since = pair.transcript.len();
    pair.resume();
    assert_eq!(pair.types_since(From::Client, since), ["session.hello", "session.ack"]);
    assert_eq!(pair.runtime().acked_seq(), 4);
    assert!(pair.take_runtime_events().iter().any(|event| matches!(event, RuntimeEvent::Writable)));
    // Also one that did arrive is said again, and does no harm; nothing is said where nothing is processed.
    pair.cut();
    let since = pair.transcript.len();
    pair.resume();
    assert_eq!(pair.types_since(From::Client, since), ["session.hello", "session.ack"]);
    let mut fresh = Pair::connected();
    fresh.cut();
    let since = fresh.transcript.len();
    fresh.resume();
    assert_eq!(fresh.types_since(From::Client, since), ["session.hello"]);
}

// D16.

#[test]
fn d16_a_frame_of_another_session_is_refused_by_the_runtime_and_not_processed() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 3);
    let ack = json!({"last_processed_seq": 3});
    let frames = [
        ("session.ping", json!({})),
        ("session.bye", json!({})),
        ("session.hello", json!({"auth": {"scheme": "bearer", "token": "t"}})),
        ("job.submit", json!({"agent": "a"})),
        ("session.motd", json!({})),
        ("x-vendor.y", json!({})),
    ];
    for (name, payload) in frames {
        for other in ["sess_2", "SESS_1", ""] {
            let frame = json!({"id": "m7", "type": name, "session_id": other, "payload": payload});
            feed(&mut runtime, start(), &frame);
            let frames = sent_json(&mut runtime, start());
            assert_eq!(types(&frames), ["session.error"], "{name} {other}");
            assert_eq!(frames[0]["payload"]["code"], "INVALID_REQUEST");
            assert_eq!(frames[0]["payload"]["request_id"], "m7");
            assert_eq!(frames[0]["session_id"], "sess_1");
            let events = runtime_events(&mut runtime);
            assert!(matches!(events[..], [RuntimeEvent::Violation(_)]), "{name}: {events:?}");
        }
    }
    // An advisory is never answered by an error (D11).
    let frame = json!({"id": "m7", "type": "session.ack", "session_id": "sess_2", "payload": ack.clone()});
    feed(&mut runtime, start(), &frame);
    assert!(sent(&mut runtime, start()).is_empty());
    assert!(matches!(runtime_events(&mut runtime)[..], [RuntimeEvent::Violation(_)]));
    assert_eq!((runtime.phase(), runtime.acked_seq()), (Phase::Open, 0));
    for session_id in [Value::Null, json!("sess_1")] {
        let frame = json!({"id": "m7", "type": "session.ack", "session_id": session_id, "payload": ack});
        feed(&mut runtime, start(), &frame);
        assert!(sent(&mut runtime, start()).is_empty() && runtime_events(&mut runtime).is_empty());
    }
    assert_eq!(runtime.acked_seq(), 3);
}

#[test]
fn d16_a_frame_of_another_session_is_ignored_by_the_client() {
    let mut client = client_alone(client_config());
    let mut other = log_frame(1);
    other["session_id"] = json!("sess_2");
    let bye = json!({"type": "session.bye", "session_id": "sess_2", "payload": {"reason": "x"}});
    for frame in [&other, &bye] {
        feed(&mut client, start(), frame);
        let events = client_events(&mut client);
        let [ClientEvent::Violation(violation)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(violation.error, ProtocolError::WrongSession);
    }
    assert!(sent(&mut client, start()).is_empty());
    assert_eq!((client.phase(), client.last_event_seq()), (Phase::Open, 0));
    for (seq, session_id) in [(1, Value::Null), (2, json!("sess_1"))] {
        let mut frame = log_frame(seq);
        frame["session_id"] = session_id;
        feed(&mut client, start(), &frame);
    }
    assert_eq!(client.last_event_seq(), 2);
}

// D17, D18: the window.

/// E: resume window counted from the welcome, so that a long session cannot resume.
#[test]
fn d17_a_session_older_than_its_window_is_resumed() {
    let mut pair = streaming();
    pair.advance(secs(5 * 600));
    assert_eq!((pair.client.phase(), pair.runtime().phase()), (Phase::Open, Phase::Open));
    pair.cut();
    pair.advance(millis(599_999));
    pair.emit(1);
    pair.resume();
    assert_eq!(pair.client.phase(), Phase::Open);
    assert_eq!(pair.take_seqs(), [4]);
    // And the next loss has a whole window again.
    pair.advance(secs(700));
    pair.cut();
    pair.advance(millis(599_999));
    pair.resume();
    assert_eq!(pair.client.phase(), Phase::Open);
}

#[test]
fn d17_the_window_runs_from_the_loss_and_to_the_millisecond() {
    for (features, acked) in [(FeatureSet::none(), 0), (FeatureSet::all(), 3)] {
        let mut runtime = streamed(runtime_config(), features, 3);
        ack(&mut runtime, acked);
        runtime_events(&mut runtime);
        let lost = start().after(secs(20));
        runtime.handle_disconnect(lost);
        assert!(matches!(runtime_events(&mut runtime)[..], [RuntimeEvent::Detached(DetachReason::TransportLost)]));
        assert_eq!(runtime.poll_timeout(), Some(lost.after(secs(600)).mono));
        assert_eq!(runtime.timeout_reason(), Some(Timer::ResumeWindow));
        let last = lost.after(millis(599_999));
        runtime.handle_timeout(last);
        assert!(runtime_events(&mut runtime).is_empty());
        assert!(runtime.clone().resume(last, attempt(1, 3), &principal(), token(2)).is_ok());
        runtime.handle_timeout(lost.after(secs(600)));
        let events = runtime_events(&mut runtime);
        assert!(
            matches!(events[..], [RuntimeEvent::WindowElapsed, RuntimeEvent::Closed(CloseReason::ResumeWindowExpired)]),
            "{events:?}"
        );
        let refused = runtime.resume(lost.after(secs(600)), attempt(1, 3), &principal(), token(2)).unwrap_err();
        assert_eq!(refused_frame(refused)["payload"]["code"], "RESUME_WINDOW_EXPIRED");
        assert_eq!((runtime.phase(), runtime.poll_timeout()), (Phase::Closed, None));
    }
}

#[test]
fn d17_while_attached_no_window_runs() {
    for features in [FeatureSet::none(), FeatureSet::all().without(Feature::Heartbeat)] {
        let mut runtime = streamed(runtime_config(), features, 3);
        for round in 1..=2 {
            runtime.handle_disconnect(start());
            assert_eq!(runtime.timeout_reason(), Some(Timer::ResumeWindow));
            resume(&mut runtime, round, 3, round + 1).unwrap();
            assert_eq!(runtime.poll_timeout(), None, "neither the window nor retention");
        }
        runtime.handle_disconnect(start());
        runtime.handle_timeout(start().after(secs(600)));
        if runtime.phase() == Phase::Detached {
            assert_eq!(runtime.timeout_reason(), Some(Timer::Retention));
            resume(&mut runtime, 3, 3, 4).unwrap();
            assert_eq!(runtime.poll_timeout(), None);
        }
    }
}

#[test]
fn d17_the_runtimes_window_is_what_its_welcome_said() {
    for (configured, window) in [(secs(5), secs(5)), (millis(5_900), secs(5)), (millis(0), secs(1))] {
        let config = RuntimeConfig { resume_window: configured, ..runtime_config() };
        let mut runtime = streamed(config, FeatureSet::none(), 0);
        runtime.handle_disconnect(start());
        assert_eq!(runtime.poll_timeout(), Some(start().after(window).mono));
    }
}

#[test]
fn d17_a_refused_attempt_does_not_prolong_the_runtimes_window() {
    let mut runtime = streamed(runtime_config(), FeatureSet::none(), 1);
    runtime.handle_disconnect(start());
    let late = start().after(secs(500));
    assert!(runtime.resume(late, attempt(7, 1), &principal(), token(2)).is_err());
    assert!(runtime.resume(late, attempt(1, 1), &"bob".into(), token(2)).is_err());
    assert_eq!(runtime.poll_timeout(), Some(start().after(secs(600)).mono));
}

#[test]
fn d18_with_unacked_events_the_session_outlives_its_window_until_retention() {
    for overflow in [Overflow::Block, Overflow::Evict] {
        let config = runtime_config().with_replay(10_000, 16 << 20, overflow);
        let mut runtime = streamed(config, FeatureSet::all(), 3);
        ack(&mut runtime, 2);
        runtime.handle_disconnect(start());
        runtime_events(&mut runtime);
        runtime.handle_timeout(start().after(secs(600)));
        let events = runtime_events(&mut runtime);
        assert!(matches!(events[..], [RuntimeEvent::WindowElapsed]), "{events:?}");
        assert_eq!(runtime.phase(), Phase::Detached);
        let end = start().after(secs(24 * 3_600));
        assert_eq!((runtime.poll_timeout(), runtime.timeout_reason()), (Some(end.mono), Some(Timer::Retention)));
        // Jobs go on meanwhile.
        assert_eq!(runtime.send_event(start().after(secs(700)), &job(), "log", &json!({})), Ok(4));
        let last = start().after(millis(24 * 3_600_000 - 1));
        runtime.handle_timeout(last);
        assert!(runtime_events(&mut runtime).is_empty());
        let mut resumed = runtime.clone();
        assert!(resumed.resume(last, attempt(1, 3), &principal(), token(2)).is_ok());
        assert_eq!(seqs(&sent_json(&mut resumed, last)), [4]);
        runtime.handle_timeout(end);
        let events = runtime_events(&mut runtime);
        assert!(matches!(events[..], [RuntimeEvent::Closed(CloseReason::ResumeWindowExpired)]), "{events:?}");
    }
}

#[test]
fn d18_one_unacked_event_is_enough_and_none_is_not() {
    for (emitted, acked, lives) in [(3, 2, true), (3, 3, false), (0, 0, false), (1, 0, true)] {
        let mut runtime = streamed(runtime_config(), FeatureSet::all(), emitted);
        ack(&mut runtime, acked);
        runtime.handle_disconnect(start());
        runtime.handle_timeout(start().after(secs(600)));
        assert_eq!(runtime.phase() == Phase::Detached, lives, "{emitted} {acked}");
    }
    // What was emitted while detached is unacknowledged too.
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 1);
    ack(&mut runtime, 1);
    runtime.handle_disconnect(start());
    emit(&mut runtime, 1);
    runtime.handle_timeout(start().after(secs(600)));
    assert_eq!(runtime.phase(), Phase::Detached);
    // And without the feature there are no acknowledgements to wait for.
    let mut runtime = streamed(runtime_config(), FeatureSet::all().without(Feature::Ack), 5);
    runtime.handle_disconnect(start());
    runtime.handle_timeout(start().after(secs(600)));
    assert_eq!(runtime.phase(), Phase::Closed);
}

#[test]
fn d18_past_its_window_the_first_event_that_does_not_fit_ends_it() {
    for overflow in [Overflow::Block, Overflow::Evict] {
        let config = runtime_config().with_replay(4, 1 << 20, overflow);
        let mut runtime = streamed(config, FeatureSet::all(), 3);
        runtime.handle_disconnect(start());
        runtime.handle_timeout(start().after(secs(600)));
        runtime_events(&mut runtime);
        emit(&mut runtime, 1);
        assert!(runtime.clone().resume(start().after(secs(601)), attempt(1, 0), &principal(), token(2)).is_ok());
        // Never `Blocked`: nobody waits for a session whose window is over.
        assert_eq!(runtime.send_event(start(), &job(), "log", &json!({})), Err(SendError::Closed));
        let events = runtime_events(&mut runtime);
        assert!(matches!(events[..], [RuntimeEvent::Closed(CloseReason::ResumeWindowExpired)]), "{events:?}");
    }
}

#[test]
fn d18_an_emitter_that_was_blocked_goes_on_when_the_window_ends() {
    let config = runtime_config().with_replay(2, 1 << 20, Overflow::Block);
    let mut runtime = streamed(config, FeatureSet::all(), 2);
    runtime.handle_disconnect(start());
    assert_eq!(runtime.send_event(start(), &job(), "log", &json!({})), Err(SendError::Blocked));
    runtime_events(&mut runtime);
    runtime.handle_timeout(start().after(secs(600)));
    let events = runtime_events(&mut runtime);
    assert!(matches!(events[..], [RuntimeEvent::WindowElapsed, RuntimeEvent::Writable]), "{events:?}");
    assert_eq!(runtime.send_event(start(), &job(), "log", &json!({})), Err(SendError::Closed));
}

#[test]
fn d18_retention_within_the_window_ends_with_it_and_a_late_look_sees_both() {
    let config = RuntimeConfig { retention: secs(5), ..runtime_config() };
    let mut runtime = streamed(config, FeatureSet::all(), 3);
    runtime.handle_disconnect(start());
    runtime.handle_timeout(start().after(secs(599)));
    assert_eq!(runtime.phase(), Phase::Detached);
    runtime.handle_timeout(start().after(secs(600)));
    assert_eq!(runtime.phase(), Phase::Closed);
    let mut asleep = streamed(runtime_config(), FeatureSet::all(), 3);
    asleep.handle_disconnect(start());
    runtime_events(&mut asleep);
    asleep.handle_timeout(start().after(secs(30 * 3_600)));
    let events = runtime_events(&mut asleep);
    assert!(matches!(events[..], [RuntimeEvent::WindowElapsed, RuntimeEvent::Closed(_)]), "{events:?}");
}

#[test]
fn d18_a_resume_past_the_window_starts_over() {
    let config = runtime_config().with_replay(4, 1 << 20, Overflow::Block);
    let mut runtime = streamed(config, FeatureSet::all(), 3);
    runtime.handle_disconnect(start());
    let late = start().after(secs(1_000));
    runtime.handle_timeout(late);
    runtime.resume(late, attempt(1, 3), &principal(), token(2)).unwrap();
    let _ = sent(&mut runtime, late);
    runtime_events(&mut runtime);
    emit(&mut runtime, 1);
    // Its window is open again: blocked, not closed.
    assert_eq!(runtime.send_event(late, &job(), "log", &json!({})), Err(SendError::Blocked));
    runtime.handle_disconnect(late);
    assert_eq!(runtime.timeout_reason(), Some(Timer::ResumeWindow));
    assert_eq!(runtime.poll_timeout(), Some(late.after(secs(600)).mono));
}

// D17: how long a client tries.

#[test]
fn d17_a_client_gives_up_when_the_window_has_run_out_and_no_attempt_prolongs_it() {
    let mut client = detached_client(client_config(), 1);
    assert_eq!(client.poll_timeout(), Some(start().after(secs(600)).mono));
    assert_eq!(client.timeout_reason(), Some(Timer::ResumeWindow));
    for round in 1..=5 {
        let now = start().after(secs(100 * round));
        client.resume(now).unwrap();
        assert_eq!(sent(&mut client, now).len(), 1);
        if round % 2 == 0 {
            client.handle_disconnect(now.after(secs(1)));
        } else {
            client.handle_timeout(now.after(secs(10)));
        }
        assert_eq!(client.phase(), Phase::Detached);
        assert_eq!(client.poll_timeout(), Some(start().after(secs(600)).mono), "round {round}");
    }
    client_events(&mut client);
    client.handle_timeout(start().after(millis(599_999)));
    assert!(client_events(&mut client).is_empty());
    client.handle_timeout(start().after(secs(600)));
    assert!(matches!(client_events(&mut client)[..], [ClientEvent::Closed(CloseReason::ResumeWindowExpired)]));
    assert_eq!(client.resume(start().after(secs(600))), Err(ResumeError::Closed));
}

#[test]
fn d17_an_attempt_under_way_ends_with_the_window() {
    let mut client = detached_client(client_config(), 1);
    let late = start().after(millis(599_000));
    client.resume(late).unwrap();
    assert_eq!(client.timeout_reason(), Some(Timer::ResumeWindow));
    client.handle_timeout(start().after(secs(600)));
    assert!(matches!(client_events(&mut client)[..], [ClientEvent::Closed(CloseReason::ResumeWindowExpired)]));
}

#[test]
fn d17_the_clients_window_is_what_the_welcome_said_and_a_new_one_counts() {
    let mut client = Session::connect(start(), client_config());
    let _ = sent(&mut client, start());
    let mut frame = welcome(FeatureSet::all());
    frame["payload"]["resume_window_sec"] = json!(42);
    feed(&mut client, start(), &frame);
    client.handle_disconnect(start().after(secs(7)));
    assert_eq!(client.poll_timeout(), Some(start().after(secs(49)).mono));
    client.resume(start().after(secs(8))).unwrap();
    frame["payload"]["resume_window_sec"] = json!(100);
    feed(&mut client, start().after(secs(9)), &frame);
    assert_eq!(client.timeout_reason(), Some(Timer::Ping), "while attached no window runs");
    client.handle_disconnect(start().after(secs(10)));
    assert_eq!(client.poll_timeout(), Some(start().after(secs(110)).mono));
}

#[test]
fn d17_give_up_after_goes_beyond_the_window_only_with_acks() {
    for (give_up, features, expected) in [
        (None, FeatureSet::all(), 600),
        (Some(3_600), FeatureSet::all(), 3_600),
        (Some(3_600), FeatureSet::all().without(Feature::Ack), 600),
        (Some(60), FeatureSet::all(), 60),
        (Some(60), FeatureSet::none(), 60),
        (None, FeatureSet::none(), 600),
    ] {
        let config = ClientConfig { give_up_after: give_up.map(secs), ..client_config().with_features(features) };
        let mut client = detached_client(config, 1);
        let end = start().after(secs(expected));
        assert_eq!(client.poll_timeout(), Some(end.mono), "{give_up:?}");
        client.handle_timeout(start().after(secs(expected) - millis(1)));
        assert_eq!(client.phase(), Phase::Detached);
        client.handle_timeout(end);
        assert_eq!(client.phase(), Phase::Closed);
    }
}

#[test]
fn d18_a_client_with_unacked_events_comes_back_past_the_window() {
    let client = ClientConfig { give_up_after: Some(secs(7_200)), ..client_config() };
    let mut pair = streaming_with(client, runtime_config());
    pair.cut();
    pair.take_runtime_events();
    pair.advance(secs(1_800));
    assert!(matches!(pair.take_runtime_events()[..], [RuntimeEvent::WindowElapsed]));
    pair.emit(2);
    pair.resume();
    assert_eq!(pair.take_seqs(), [4, 5]);
    assert_eq!(pair.client.phase(), Phase::Open);
}

// The second rule: what becomes of an attempt that fails.

#[test]
fn d13_a_resume_refused_for_good_ends_the_session() {
    for code in ["RESUME_WINDOW_EXPIRED", "UNAUTHENTICATED", "INVALID_REQUEST", "PERMISSION_DENIED"] {
        let mut client = detached_client(client_config(), 1);
        let _ = resume_hello(&mut client);
        feed(&mut client, start(), &json!({"type": "session.error", "payload": {"code": code, "message": "no"}}));
        let events = client_events(&mut client);
        let [ClientEvent::Closed(CloseReason::ResumeRefused(ResumeRefusal::Error(error)))] = &events[..] else {
            panic!("{code}: {events:?}")
        };
        assert_eq!(error.code.as_str(), code);
        assert_eq!((client.phase(), client.poll_timeout()), (Phase::Closed, None));
        assert!(sent(&mut client, start()).is_empty());
    }
}

#[test]
fn d13_a_resume_that_fails_for_now_may_be_tried_again() {
    for code in ["INTERNAL_ERROR", "TIMEOUT", "HEARTBEAT_LOST"] {
        let mut client = detached_client(client_config(), 1);
        let _ = resume_hello(&mut client);
        feed(&mut client, start(), &json!({"type": "session.error", "payload": {"code": code, "message": "busy"}}));
        let events = client_events(&mut client);
        let [ClientEvent::Error { error, .. }, ClientEvent::Detached(DetachReason::HandshakeFailed)] = &events[..]
        else {
            panic!("{code}: {events:?}")
        };
        assert_eq!(error.code.as_str(), code);
        assert!(sent(&mut client, start()).is_empty());
        assert_eq!(client.phase(), Phase::Detached);
        assert_eq!(client.poll_timeout(), Some(start().after(secs(600)).mono), "the window does not restart");
        assert_eq!(resume_hello(&mut client)["payload"]["resume_token"], "rt_first");
        feed(&mut client, start(), &welcome(FeatureSet::all()));
        assert!(matches!(client_events(&mut client)[..], [ClientEvent::Resumed(_)]));
    }
}

#[test]
fn d13_whether_a_refused_resume_is_final_goes_by_its_code() {
    // `retryable` is fixed by the code (D11); only of a foreign code the peer's word is all there is.
    for (code, retryable, is_final) in [
        ("RESUME_WINDOW_EXPIRED", true, true),
        ("UNAUTHENTICATED", true, true),
        ("INTERNAL_ERROR", false, false),
        ("RATE_LIMITED", true, false),
        ("PROTOCOL_VIOLATION", false, true),
    ] {
        let mut client = detached_client(client_config(), 1);
        let _ = resume_hello(&mut client);
        let payload = json!({"code": code, "message": "no", "retryable": retryable});
        feed(&mut client, start(), &json!({"type": "session.error", "payload": payload}));
        assert_eq!(client.phase() == Phase::Closed, is_final, "{code}");
    }
}

#[test]
fn d9_a_resume_without_a_welcome_in_time_or_with_something_else_goes_back_to_detached() {
    type Failure = (&'static str, fn(&mut Session<Client>), DetachReason);
    let fail: [Failure; 5] = [
        ("deadline", |client| client.handle_timeout(start().after(secs(10))), DetachReason::HandshakeFailed),
        ("transport", |client| client.handle_disconnect(start()), DetachReason::TransportLost),
        ("ping", |client| feed(client, start(), &json!({"type": "session.ping"})), DetachReason::HandshakeFailed),
        ("event", |client| feed(client, start(), &log_frame(4)), DetachReason::HandshakeFailed),
        ("garbage", |client| client.handle_input(start(), "HTTP/1.1 502".into()), DetachReason::HandshakeFailed),
    ];
    for (name, fail, reason) in fail {
        let mut client = detached_client(client_config(), 3);
        let _ = resume_hello(&mut client);
        assert_eq!(client.timeout_reason(), Some(Timer::Handshake), "{name}");
        client.handle_timeout(start().after(millis(9_999)));
        assert_eq!(client.phase(), Phase::Resuming, "{name}");
        fail(&mut client);
        let events = client_events(&mut client);
        assert_eq!(client.phase(), Phase::Detached, "{name}");
        assert!(matches!(events.last(), Some(ClientEvent::Detached(got)) if *got == reason), "{name}: {events:?}");
        assert_eq!(client.last_event_seq(), 3, "{name}");
        assert!(sent(&mut client, start()).is_empty());
        assert!(client.resume(start().after(secs(11))).is_ok(), "{name}");
    }
    // An unknown type is ignored here, too.
    let mut client = detached_client(client_config(), 3);
    let _ = resume_hello(&mut client);
    feed(&mut client, start(), &json!({"type": "session.motd"}));
    assert_eq!(client.phase(), Phase::Resuming);
}

#[test]
fn d14_a_client_is_refused_by_our_runtime_and_learns_why() {
    let mut pair =
        Pair::connected_with(ClientConfig { give_up_after: Some(secs(9_999)), ..client_config() }, runtime_config());
    pair.cut();
    pair.advance(secs(700));
    assert_eq!(pair.runtime().phase(), Phase::Closed);
    pair.resume();
    let events = pair.take_client_events();
    let Some(ClientEvent::Closed(CloseReason::ResumeRefused(ResumeRefusal::Error(error)))) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(error.code, ErrorCode::ResumeWindowExpired);
}

#[test]
fn d13_a_client_resumes_only_from_detached() {
    let mut client = client_alone(client_config());
    assert_eq!(client.resume(start()), Err(ResumeError::NotDetached(Phase::Open)));
    client.close(start(), "normal");
    assert_eq!(client.resume(start()), Err(ResumeError::NotDetached(Phase::Closing)));
    let mut client = detached_client(client_config(), 1);
    client.resume(start()).unwrap();
    let before = (format!("{client:?}"), client.poll_timeout());
    assert_eq!(client.resume(start()), Err(ResumeError::NotDetached(Phase::Resuming)));
    assert_eq!((format!("{client:?}"), client.poll_timeout()), before);
    assert_eq!(sent(&mut client, start()).len(), 1);
    client.close(start(), "normal");
    assert_eq!(client.resume(start()), Err(ResumeError::Closed));
    assert!(matches!(client_events(&mut client)[..], [ClientEvent::Closed(CloseReason::Requested)]));
}

// D22: heartbeat loss.

/// E: heartbeat loss or close cancelling jobs.
#[test]
fn d22_after_heartbeat_loss_on_both_sides_the_session_goes_on_with_its_jobs() {
    let mut pair = streaming().unjudged();
    pair.hold_to_client = true;
    pair.hold_to_runtime = true;
    pair.advance(secs(61));
    let told = pair.take_client_events();
    assert!(matches!(told[..], [ClientEvent::Detached(DetachReason::HeartbeatLost)]), "{told:?}");
    let told = pair.take_runtime_events();
    assert!(matches!(told[..], [RuntimeEvent::Detached(DetachReason::HeartbeatLost)]), "{told:?}");
    // The runtime's last word, and none of the client's.
    let types_of = |frames: &std::collections::VecDeque<Bytes>| -> Vec<String> {
        frames
            .iter()
            .map(|frame| serde_json::from_slice::<Value>(frame).unwrap()["type"].as_str().unwrap().into())
            .collect()
    };
    let (to_client, to_runtime) = (types_of(&pair.to_client), types_of(&pair.to_runtime));
    assert_eq!(to_client, ["session.ping", "session.error"]);
    assert_eq!(to_runtime, ["session.ping"]);
    pair.hold_to_client = false;
    pair.hold_to_runtime = false;
    pair.drop_link();
    pair.emit(2);
    pair.resume();
    pair.emit(1);
    pair.flush();
    assert_eq!(pair.take_seqs(), [4, 5, 6]);
}

#[test]
fn d22_the_farewell_that_nobody_drained_goes_to_the_old_transport_at_the_takeover() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 1);
    let lost = start().after(secs(60));
    runtime.handle_timeout(start().after(secs(30)));
    runtime.handle_timeout(lost);
    assert_eq!(runtime.phase(), Phase::Detached);
    let takeover = runtime.resume(lost, attempt(1, 1), &principal(), token(2)).unwrap();
    let farewell: Vec<Value> = takeover.farewell.iter().map(|frame| serde_json::from_slice(frame).unwrap()).collect();
    assert_eq!(types(&farewell), ["session.error"]);
    assert_eq!(farewell[0]["payload"]["code"], "HEARTBEAT_LOST");
    assert_eq!(types(&sent_json(&mut runtime, lost)), ["session.welcome"], "the new one does not see it");
}

#[test]
fn d22_a_runtimes_heartbeat_lost_detaches_the_client_which_resumes() {
    let mut client = client_alone(client_config());
    feed(
        &mut client,
        start(),
        &json!({"type": "session.error", "payload": {"code": "HEARTBEAT_LOST", "message": "m"}}),
    );
    let events = client_events(&mut client);
    assert!(matches!(events.last(), Some(ClientEvent::Detached(DetachReason::HeartbeatLost))), "{events:?}");
    assert!(sent(&mut client, start()).is_empty(), "no farewell");
    let _ = resume_hello(&mut client);
}

// D27: what was to be sent on the old transport stays there.

#[test]
fn d27_control_messages_of_the_old_transport_never_reach_the_new_one() {
    for is_takeover in [true, false] {
        let mut runtime = streamed(runtime_config(), FeatureSet::all(), 2);
        feed(&mut runtime, start(), &json!({"id": "1", "type": "session.ping", "payload": {"nonce": "old"}}));
        feed(&mut runtime, start(), &json!({"id": "2", "type": "session.motd"}));
        feed(&mut runtime, start(), &json!({"id": "3", "type": "session.list_jobs"}));
        feed(&mut runtime, start(), &json!({"id": "4", "type": "job.submit", "payload": {"agent": "a"}}));
        let (mut list, mut submit) = (None, None);
        for event in runtime_events(&mut runtime) {
            match event {
                RuntimeEvent::ListJobs { request, .. } => list = Some(request),
                RuntimeEvent::Submit { request, .. } => submit = Some(request),
                _ => {}
            }
        }
        runtime.handle_timeout(start().after(secs(30)));
        let now = start().after(secs(31));
        if !is_takeover {
            runtime.handle_disconnect(now);
        }
        runtime.resume(now, attempt(1, 1), &principal(), token(2)).unwrap();
        // Late answers to requests of the old transport: one is unknown now, the other is kept for a repetition (D8).
        assert!(runtime.respond_jobs(now, list.unwrap(), Default::default()).is_err());
        let accepted = JobAccepted::new(job(), "a@1", now.wall);
        assert_eq!(runtime.accept_job(now, submit.unwrap(), accepted), Ok(()));
        let frames = sent_json(&mut runtime, now);
        assert_eq!(types(&frames), ["session.welcome", "job.event"], "takeover {is_takeover}");
        feed(&mut runtime, now, &json!({"id": "4", "type": "job.submit", "payload": {"agent": "a"}}));
        let frames = sent_json(&mut runtime, now);
        assert_eq!(types(&frames), ["job.accepted"]);
        assert_eq!(frames[0]["payload"]["request_id"], "4");
    }
}

/// E: requests that hang for ever when the transport dies.
#[test]
fn d27_what_a_client_had_queued_is_failed_and_not_sent_on_the_new_transport() {
    let mut client = client_alone(client_config());
    feed(&mut client, start(), &json!({"type": "session.ping", "payload": {"nonce": "old"}}));
    let request = client.submit(start(), &JobSubmit::new("a", RawJson::null())).unwrap();
    let list = client.list_jobs(start(), &JobQuery::default()).unwrap();
    client.handle_disconnect(start());
    let events = client_events(&mut client);
    let failed: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ClientEvent::RequestFailed { request, failure: RequestFailure::Disconnected } => Some(*request),
            _ => None,
        })
        .collect();
    assert_eq!(failed, [request, list]);
    assert!(sent(&mut client, start()).is_empty());
    let _ = resume_hello(&mut client);
    feed(&mut client, start(), &welcome(FeatureSet::all()));
    assert!(sent(&mut client, start()).is_empty());
    // A late answer to one of them answers nothing.
    client_events(&mut client);
    feed(&mut client, start(), &json!({"type": "session.jobs", "payload": {"jobs": [], "next_cursor": null}}));
    assert!(matches!(client_events(&mut client)[..], [ClientEvent::Violation(_)]));
}

#[test]
fn d15_late_bytes_of_a_lost_transport_do_nothing() {
    let mut client = detached_client(client_config(), 1);
    let before = format!("{client:?}");
    feed(&mut client, start(), &log_frame(2));
    feed(&mut client, start(), &json!({"type": "session.bye"}));
    assert_eq!((format!("{client:?}"), client.last_event_seq()), (before, 1));
    assert!(client_events(&mut client).is_empty());
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 2);
    runtime.handle_disconnect(start());
    runtime_events(&mut runtime);
    let before = seen(&runtime);
    ack(&mut runtime, 2);
    feed(&mut runtime, start(), &json!({"id": "1", "type": "session.bye"}));
    feed(&mut runtime, start(), &json!({"id": "2", "type": "job.submit", "payload": {"agent": "a"}}));
    assert_eq!(seen(&runtime), before);
    assert!(runtime_events(&mut runtime).is_empty() && sent(&mut runtime, start()).is_empty());
}

// D28, D29: from where a client resumes.

#[test]
fn d28_a_client_resumes_from_what_it_received_without_a_hole() {
    let mut client = client_alone(client_config());
    for seq in [1, 2, 5, 6] {
        feed(&mut client, start(), &log_frame(seq));
    }
    assert_eq!(client.last_event_seq(), 2);
    client.handle_disconnect(start());
    // What was held out of order comes again, and is told once.
    assert_eq!(last_presented(&mut client), 2);
    feed(&mut client, start(), &welcome(FeatureSet::all()));
    (3..=7).for_each(|seq| feed(&mut client, start(), &log_frame(seq)));
    let seqs: Vec<_> = client_events(&mut client).iter().filter_map(crate::pair::seq_of).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn d28_received_counts_not_polled_or_processed() {
    let mut client = client_alone(client_config());
    (1..=5).for_each(|seq| feed(&mut client, start(), &log_frame(seq)));
    client.handle_disconnect(start());
    assert_eq!(last_presented(&mut client), 5);
    let seqs: Vec<_> = client_events(&mut client).iter().filter_map(crate::pair::seq_of).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5], "and what was not polled yet is still there");
}

#[test]
fn d28_a_hole_costs_the_transport_and_a_resume_fills_it() {
    let mut client = client_alone(client_config());
    for seq in [1, 3] {
        feed(&mut client, start(), &log_frame(seq));
    }
    client.handle_timeout(start().after(millis(999)));
    assert_eq!(client.phase(), Phase::Open);
    client.handle_timeout(start().after(secs(1)));
    let events = client_events(&mut client);
    assert!(matches!(events.last(), Some(ClientEvent::Detached(DetachReason::Gap))), "{events:?}");
    assert_eq!(last_presented(&mut client), 1);
    feed(&mut client, start(), &welcome(FeatureSet::all()));
    (2..=3).for_each(|seq| feed(&mut client, start(), &log_frame(seq)));
    assert_eq!(client.last_event_seq(), 3);
}

#[test]
fn d28_a_hole_in_the_replay_too_is_reported_once_and_no_resume_loops() {
    let mut client = client_alone(client_config());
    let mut now = start();
    for seq in [1, 4] {
        feed(&mut client, now, &log_frame(seq));
    }
    now = now.after(secs(1));
    client.handle_timeout(now);
    assert_eq!(client.phase(), Phase::Detached);
    client.resume(now).unwrap();
    let _ = sent(&mut client, now);
    feed(&mut client, now, &welcome(FeatureSet::all()));
    for seq in [4, 5] {
        feed(&mut client, now, &log_frame(seq));
    }
    client_events(&mut client);
    now = now.after(secs(1));
    client.handle_timeout(now);
    let events = client_events(&mut client);
    let [ClientEvent::EventsLost { from: 2, to: 3 }, ClientEvent::Event(_), ClientEvent::Event(_)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((client.phase(), client.last_event_seq()), (Phase::Open, 5));
    // The acknowledgement goes on behind the hole, too (D25), and a later resume starts there.
    client.mark_processed(now, 5).unwrap();
    client.handle_disconnect(now);
    assert_eq!(last_presented(&mut client), 5);
}

#[test]
fn d28_under_report_a_hole_costs_no_transport() {
    let config = ClientConfig { gap_policy: GapPolicy::Report, ..client_config() };
    let mut client = client_alone(config);
    for seq in [1, 3] {
        feed(&mut client, start(), &log_frame(seq));
    }
    client.handle_timeout(start().after(secs(1)));
    assert_eq!((client.phase(), client.last_event_seq()), (Phase::Open, 3));
}

#[test]
fn d28_a_duplicate_of_the_replay_is_dropped() {
    let mut pair = streaming_with(ClientConfig { resume_overlap: 2, ..client_config() }, runtime_config());
    pair.cut();
    let since = pair.transcript.len();
    pair.resume();
    assert_eq!(pair.types_since(From::Runtime, since), ["session.welcome", "job.event", "job.event"]);
    assert_eq!(pair.take_seqs(), Vec::<u64>::new());
    assert_eq!(pair.client.last_event_seq(), 3);
}

#[test]
fn d29_an_overlap_asks_again_for_what_is_not_acknowledged() {
    for (overlap, received, presented) in [(0, 5, 5), (1, 5, 4), (3, 5, 2), (9, 5, 0), (1, 0, 0), (1, 1, 0)] {
        let config = ClientConfig { resume_overlap: overlap, ..client_config() };
        let mut client = detached_client(config, received);
        assert_eq!(last_presented(&mut client), presented, "{overlap} of {received}");
        assert_eq!(client.last_event_seq(), received, "the cursor itself stays");
    }
}

/// A client whose application has processed all of five events; what of that was said goes by the closure.
fn processed(config: ClientConfig, say: impl FnOnce(&mut Session<Client>)) -> Session<Client> {
    let mut client = client_alone(config);
    (1..=5).for_each(|seq| feed(&mut client, start(), &log_frame(seq)));
    client_events(&mut client);
    client.mark_processed(start(), 5).unwrap();
    say(&mut client);
    client.handle_disconnect(start());
    client
}

#[test]
fn d29_what_was_acknowledged_is_not_asked_for_again() {
    let config = || ClientConfig { resume_overlap: 1, ..client_config() };
    let mut client = processed(config(), |client| {
        client.flush_acks(start()).unwrap();
        assert_eq!(types(&sent_json(client, start())), ["session.ack"]);
    });
    assert_eq!(last_presented(&mut client), 5, "the runtime may have freed it");
    // Nor later, whatever becomes of this attempt.
    client.handle_disconnect(start());
    assert_eq!(last_presented(&mut client), 5);
    feed(&mut client, start(), &welcome(FeatureSet::all()));
    client.handle_disconnect(start());
    assert_eq!(last_presented(&mut client), 5);
}

#[test]
fn d29_what_was_processed_but_not_acknowledged_is_asked_for_again() {
    let config = || ClientConfig { resume_overlap: 1, ..client_config() };
    // Marked within the delay of the ack, or flushed into a transport that took nothing more.
    assert_eq!(last_presented(&mut processed(config(), |_| {})), 4);
    assert_eq!(last_presented(&mut processed(config(), |client| client.flush_acks(start()).unwrap())), 4);
    // And where there are no acks, nothing is ever acknowledged.
    let config = config().with_features(FeatureSet::all().without(Feature::Ack));
    assert_eq!(last_presented(&mut processed(config, |_| {})), 4);
}

// D31 and the seq after a resume.

#[test]
fn d31_ids_and_seqs_go_on_across_resumes() {
    let mut pair = streaming();
    let mut ids = std::collections::BTreeSet::new();
    for round in 0..4 {
        if round % 2 == 0 {
            pair.cut()
        } else {
            pair.cut_unseen_by_runtime()
        }
        pair.emit(1);
        pair.resume();
        pair.emit(1);
        pair.flush();
    }
    assert_eq!(pair.take_seqs(), (4..=11).collect::<Vec<_>>());
    for passed in &pair.transcript {
        assert!(ids.insert(passed.json()["id"].as_str().unwrap().to_owned()), "{passed:?}");
    }
    assert_eq!(pair.runtime().last_event_seq(), 11);
}

#[test]
fn d3_the_epoch_is_in_the_ids_so_that_no_attachment_repeats_one() {
    let mut runtime = streamed(runtime_config(), FeatureSet::all(), 1);
    let mut clone = runtime.clone();
    // Two histories that part by the number of attachments never meet in an id.
    resume(&mut runtime, 1, 1, 2).unwrap();
    emit(&mut runtime, 3);
    resume(&mut clone, 1, 1, 2).unwrap();
    resume(&mut clone, 2, 1, 3).unwrap();
    emit(&mut clone, 3);
    let ids = |frames: Vec<Value>| frames.into_iter().map(|frame| frame["id"].to_string()).collect::<Vec<_>>();
    let (one, other) = (ids(sent_json(&mut runtime, start())), ids(sent_json(&mut clone, start())));
    assert!(one.iter().all(|id| !other.contains(id)), "{one:?} {other:?}");
}

#[test]
fn d32_events_go_on_while_detached_and_nothing_is_cancelled() {
    let mut pair = streaming();
    pair.cut();
    pair.take_client_events();
    for _ in 0..10 {
        pair.advance(secs(50));
        pair.emit(1);
    }
    pair.resume();
    assert_eq!(pair.take_seqs(), (4..=13).collect::<Vec<_>>());
    assert!(!pair.transcript.iter().any(|passed| ["job.error", "job.cancelled"].contains(&&*passed.type_name())));
}
