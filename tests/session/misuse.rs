//! What a caller can get wrong is an `Err` that changes nothing.

use std::time::Duration;

use arcp_proto::wire::{
    ErrorCode, FrameFault, JobAccepted, JobError, JobId, JobResult, JobStatus, JobSubmit, JobSubscribed, RawJson,
    WireError,
};
use arcp_proto::{
    AnswerError, Client, ClientEvent, FeatureSet, Limits, Overflow, Refusal, RequestFailure, RequestId, Runtime,
    RuntimeConfig, RuntimeEvent, SendError, Session,
};
use serde_json::{Value, json};

use crate::pair::{
    Pair, client_alone, client_config, client_events, feed, job, runtime_alone, runtime_config, runtime_events, sent,
    sent_json, start, types,
};

fn nested(depth: usize) -> RawJson {
    RawJson::from_text(&format!("{}{}", "[".repeat(depth), "]".repeat(depth))).unwrap()
}

/// A runtime session with an open request, and the request.
fn asked(message: &str, payload: Value) -> (Session<Runtime>, RequestId) {
    let mut session = runtime_alone(runtime_config(), FeatureSet::all());
    feed(&mut session, start(), &json!({"id": "q1", "type": message, "payload": payload}));
    let events = runtime_events(&mut session);
    let request = match events[..] {
        [RuntimeEvent::Submit { request, .. } | RuntimeEvent::Subscribe { request, .. }] => request,
        _ => panic!("{events:?}"),
    };
    (session, request)
}

#[test]
fn d39_what_is_nested_too_deep_for_any_peer_is_refused_before_it_is_sent() {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    // The envelope and the payload are two, an event's body begins at the third.
    let deep = |depth| json!({ "a": serde_json::from_str::<Value>(nested(depth).text()).unwrap() });
    assert_eq!(runtime.send_event(start(), &job(), "log", &deep(125)), Ok(1));
    let refused = runtime.send_event(start(), &job(), "log", &deep(126));
    assert!(matches!(refused, Err(SendError::Invalid(_))), "{refused:?}");
    let refused = runtime.send_result(start(), &job(), JobResult::inline(nested(127)));
    assert!(matches!(refused, Err(SendError::Invalid(_))), "{refused:?}");
    assert_eq!(runtime.send_result(start(), &job(), JobResult::inline(nested(126))), Ok(2));
    // Many brackets are not deep ones.
    let wide: Vec<Vec<u8>> = vec![vec![]; 1_000];
    assert_eq!(runtime.send_event(start(), &job(), "log", &json!({ "a": wide })), Ok(3));
    let mut client = client_alone(client_config());
    for frame in sent(&mut runtime, start()) {
        client.handle_input(start(), frame);
    }
    assert_eq!(client.last_event_seq(), 3);
    let refused = client.submit(start(), &JobSubmit::new("a", nested(127)));
    assert!(matches!(refused, Err(SendError::Invalid(_))), "{refused:?}");
    assert!(client.submit(start(), &JobSubmit::new("a", nested(126))).is_ok());
}

#[test]
fn d3_an_id_that_no_peer_would_take_is_refused_before_it_is_sent() {
    for bad in ["".to_owned(), "j".repeat(257)] {
        let bad = JobId::from(bad);
        let mut client = client_alone(client_config());
        let results = [
            client.cancel(start(), &bad, None).map(|_| ()),
            client.subscribe(start(), &bad, None).map(|_| ()),
            client.unsubscribe(start(), &bad),
        ];
        for result in results {
            assert!(matches!(result, Err(SendError::Invalid(_))), "{result:?}");
        }
        assert!(sent(&mut client, start()).is_empty());
        let (mut runtime, request) = asked("job.submit", json!({"agent": "a"}));
        let result = runtime.accept_job(start(), request, JobAccepted::new(bad.clone(), "a@1", start().wall));
        assert!(matches!(result, Err(AnswerError::Invalid(_))), "{result:?}");
        assert!(matches!(runtime.send_event(start(), &bad, "log", &json!({})), Err(SendError::Invalid(_))));
        // The request is still open.
        assert_eq!(runtime.accept_job(start(), request, JobAccepted::new(job(), "a@1", start().wall)), Ok(()));
        assert_eq!(types(&sent_json(&mut runtime, start())), ["job.accepted"]);
    }
    let longest = JobId::from("j".repeat(256));
    assert!(client_alone(client_config()).cancel(start(), &longest, None).is_ok());
}

#[test]
fn d12_a_subscribe_is_granted_for_the_job_that_it_was_for() {
    let (mut runtime, request) = asked("job.subscribe", json!({"job_id": "job_1"}));
    let other = JobSubscribed::new(JobId::from("job_2"), "a@1", JobStatus::Running);
    let result = runtime.accept_subscribe(start(), request, other);
    assert!(matches!(result, Err(AnswerError::Invalid(_))), "{result:?}");
    let right = JobSubscribed::new(job(), "a@1", JobStatus::Running);
    assert_eq!(runtime.accept_subscribe(start(), request, right), Ok(()));
}

#[test]
fn d12_an_accepted_job_is_not_given_a_parent_for_clients_would_take_it_for_a_child() {
    let (mut runtime, request) = asked("job.submit", json!({"agent": "a"}));
    let mut accepted = JobAccepted::new(job(), "a@1", start().wall);
    accepted.parent_job_id = Some(JobId::from("job_0"));
    let result = runtime.accept_job(start(), request, accepted);
    assert!(matches!(result, Err(AnswerError::Invalid(_))), "{result:?}");
    assert!(sent(&mut runtime, start()).is_empty());
}

#[test]
fn d5_an_end_does_not_contradict_its_message() {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    for status in [JobStatus::Error, JobStatus::Running, JobStatus::Cancelled, "else".into()] {
        let mut result = JobResult::inline(RawJson::empty_object());
        result.final_status = status;
        assert!(matches!(runtime.send_result(start(), &job(), result), Err(SendError::Invalid(_))));
    }
    for status in [JobStatus::Success, JobStatus::Pending, JobStatus::Running, "else".into()] {
        let mut error = JobError::new(WireError::new(ErrorCode::Timeout, "late"));
        error.final_status = status;
        assert!(matches!(runtime.send_error(start(), &job(), error), Err(SendError::Invalid(_))));
    }
    assert_eq!(runtime.last_event_seq(), 0);
}

/// Whether the runtime took the submit cannot be told from an error about the transport: asking again would make two jobs.
fn ends_of_a_transport_with_an_open_submit(break_it: impl Fn(&mut Pair)) -> Vec<ClientEvent> {
    let runtime = RuntimeConfig { limits: Limits { violations: 0, ..Limits::default() }, ..runtime_config() };
    let mut pair = Pair::connected_with(client_config(), runtime.with_replay(4, 1 << 20, Overflow::Evict)).unjudged();
    pair.client.submit(pair.now, &JobSubmit::new("a", RawJson::null())).unwrap();
    pair.flush();
    let told = pair.take_runtime_events();
    assert!(matches!(told[..], [RuntimeEvent::Submit { .. }]), "{told:?}");
    break_it(&mut pair);
    pair.flush();
    pair.cut();
    pair.take_client_events()
}

#[test]
fn d12_an_error_about_the_transport_refuses_no_request() {
    let overrun = |pair: &mut Pair| pair.emit(5);
    let violation = |pair: &mut Pair| {
        let now = pair.now;
        feed(pair.runtime(), now, &json!({"type": "session.welcome"}));
    };
    let named = |pair: &mut Pair| {
        let now = pair.now;
        feed(pair.runtime(), now, &json!({"id": "x7", "type": "session.welcome"}));
    };
    for events in [
        ends_of_a_transport_with_an_open_submit(overrun),
        ends_of_a_transport_with_an_open_submit(violation),
        ends_of_a_transport_with_an_open_submit(named),
    ] {
        let failures: Vec<_> = events
            .iter()
            .filter_map(
                |event| if let ClientEvent::RequestFailed { failure, .. } = event { Some(failure) } else { None },
            )
            .collect();
        assert_eq!(failures, [&RequestFailure::Disconnected], "{events:?}");
        assert!(events.iter().any(|event| matches!(event, ClientEvent::Error { .. })), "{events:?}");
    }
}

#[test]
fn d20_an_interval_of_more_than_a_day_is_not_sent() {
    for (configured, sent_sec) in [(0, 1), (1_500, 1), (30_000, 30), (86_400_000, 86_400), (1 << 50, 86_400)] {
        let config = RuntimeConfig { heartbeat_interval: Duration::from_millis(configured), ..runtime_config() };
        let pair = Pair::connected_with(client_config(), config);
        let welcome = pair.transcript[1].json();
        assert_eq!(welcome["payload"]["heartbeat_interval_sec"], sent_sec, "{configured}");
        let interval = pair.client.info().unwrap().heartbeat_interval;
        assert_eq!(interval, Some(Duration::from_secs(sent_sec)));
    }
}

#[test]
fn d9_a_first_line_that_is_too_long_to_hand_over_is_refused_like_any_other() {
    let frame = Refusal::malformed(FrameFault::TooLarge { limit: 7 }).into_message(start());
    let frame: Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!((&frame["type"], &frame["payload"]["code"]), (&json!("session.error"), &json!("INVALID_REQUEST")));
    assert!(frame["session_id"].is_string());
}

#[test]
fn d39_a_line_that_was_too_long_to_hand_over_is_answered_and_the_session_lives() {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    runtime.handle_malformed(start(), FrameFault::TooLarge { limit: 7 });
    assert_eq!(types(&sent_json(&mut runtime, start())), ["session.error"]);
    assert!(matches!(runtime_events(&mut runtime)[..], [RuntimeEvent::Violation(_)]));
    let mut client = client_alone(client_config());
    client.handle_malformed(start(), FrameFault::TooLarge { limit: 7 });
    assert!(sent(&mut client, start()).is_empty());
    assert!(matches!(client_events(&mut client)[..], [ClientEvent::Violation(_)]));
}

#[test]
fn d34_an_answer_that_names_its_job_on_the_envelope_alone_is_understood() {
    let mut client: Session<Client> = client_alone(client_config());
    let request = client.submit(start(), &JobSubmit::new("a", RawJson::null())).unwrap();
    feed(&mut client, start(), &json!({"id": "a1", "type": "job.accepted", "job_id": "job_9", "payload": {}}));
    let events = client_events(&mut client);
    let [ClientEvent::Accepted { request: answered, accepted }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*answered, accepted.job_id.as_str()), (Some(request), "job_9"));
}

/// A frame that the runtime cannot take is no reason to believe another one refused.
#[test]
fn d12_an_error_about_a_frame_without_an_id_refuses_no_request() {
    let runtime = RuntimeConfig { limits: Limits { max_frame: 2_000, ..Limits::default() }, ..runtime_config() };
    let mut pair = Pair::connected_with(client_config(), runtime).unjudged();
    let small = pair.client.submit(pair.now, &JobSubmit::new("a", RawJson::null())).unwrap();
    let text = format!("\"{}\"", "x".repeat(3_000));
    let large = pair.client.submit(pair.now, &JobSubmit::new("a", RawJson::from_text(&text).unwrap())).unwrap();
    pair.flush();
    let now = pair.now;
    pair.runtime().handle_input(now, bytes::Bytes::from_static(b"not json"));
    pair.runtime().handle_malformed(now, FrameFault::TooLarge { limit: 7 });
    pair.flush();
    let refused: Vec<_> = pair
        .take_client_events()
        .into_iter()
        .filter_map(|event| match event {
            ClientEvent::RequestFailed { request, failure: RequestFailure::Refused(_) } => Some(request),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [large], "{small} is still open");
}
