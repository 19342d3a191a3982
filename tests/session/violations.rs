//! What the peer does wrong, and what that costs it (D1, D2, D6, D7, D11, D16, D39, D43).

use arcp_proto::wire::{Envelope, FrameFault, JobQuery, MAX_DEPTH, MessageType, RawJson, Sender};
use arcp_proto::{
    Client, ClientEvent, CloseReason, ConnectFailure, DetachReason, Feature, FeatureSet, Limits, Now, Opening, Phase,
    ProtocolError, Runtime, RuntimeEvent, Session, Violation,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::pair::{
    Pair, client_alone, client_config, client_events, feed, job, log_frame, message, millis, only, open, principal,
    runtime_alone, runtime_config, runtime_events, secs, sent, sent_json, serving, start, token, types, welcome,
};

fn without_id(mut frame: Value) -> Value {
    frame.as_object_mut().unwrap().remove("id");
    frame
}

fn runtime_violations(session: &mut Session<Runtime>) -> Vec<Violation> {
    runtime_events(session)
        .into_iter()
        .map(|event| match event {
            RuntimeEvent::Violation(violation) => violation,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn client_violations(session: &mut Session<Client>) -> Vec<Violation> {
    client_events(session)
        .into_iter()
        .map(|event| match event {
            ClientEvent::Violation(violation) => violation,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Both still answer a ping, and are open.
fn lives_on_at<R: arcp_proto::Role>(session: &mut Session<R>, now: Now) {
    assert_eq!(session.phase(), Phase::Open);
    feed(session, now, &message("session.ping", json!({"nonce": "still-there"})));
    let frames = sent_json(session, now);
    assert_eq!(types(&frames), ["session.pong"]);
    assert_eq!(frames[0]["payload"]["ping_nonce"], "still-there");
}

fn lives_on<R: arcp_proto::Role>(session: &mut Session<R>) {
    lives_on_at(session, start());
}

/// The one answer that a runtime gives: INVALID_REQUEST, naming `id`, or a message that never was.
fn answered(session: &mut Session<Runtime>, id: Option<&str>) {
    let frames = sent_json(session, start());
    assert_eq!(types(&frames), ["session.error"]);
    let payload = &frames[0]["payload"];
    assert_eq!((&payload["code"], &payload["retryable"]), (&json!("INVALID_REQUEST"), &json!(false)));
    assert!(!payload["message"].as_str().unwrap().is_empty());
    assert_eq!(payload["request_id"], id.unwrap_or("none"));
    assert_eq!(frames[0]["session_id"], "sess_1");
    assert_eq!(frames[0].get("event_seq"), None);
}

fn come_back(session: &mut Session<Runtime>, n: u64) {
    let hello = json!({"id": "h", "type": "session.hello", "payload": {
        "auth": {"scheme": "bearer", "token": "secret-bearer"}, "resume_token": token(n),
    }});
    let opening = Opening::parse(Bytes::from(hello.to_string()), &Limits::default()).unwrap();
    let Opening::Resume(attempt) = opening else { panic!("it has a token") };
    session.resume(start(), attempt, &principal(), token(n + 1)).unwrap();
    assert!(matches!(runtime_events(session)[..], [RuntimeEvent::Resumed { .. }]));
    let _ = sent(session, start());
}

// Malformed frames.

/// Frames that are no envelope, whatever the payload.
fn malformed() -> Vec<Vec<u8>> {
    let texts = [
        "",
        " ",
        "\n",
        "null",
        "5",
        "\"session.ping\"",
        "[]",
        "{",
        "{}",
        "{\"type\":\"session.ping\"",
        "{\"type\":\"session.ping\"} {}",
        "{\"type\":\"session.ping\"}x",
        "{\"type\":\"session.ping\",}",
        "{'type':'session.ping'}",
        "{\"type\":null}",
        "{\"type\":\"\"}",
        "{\"type\":5}",
        "{\"type\":[\"session.ping\"]}",
        "{\"id\":\"x\"}",
        "{\"id\":5,\"type\":\"session.ping\"}",
        "{\"id\":{},\"type\":\"session.ping\"}",
        "{\"session_id\":7,\"type\":\"session.ping\"}",
        "{\"job_id\":7,\"type\":\"job.cancel\",\"payload\":{}}",
        "{\"event_seq\":-1,\"type\":\"session.ping\"}",
        "{\"event_seq\":1.5,\"type\":\"session.ping\"}",
        "{\"event_seq\":\"1\",\"type\":\"session.ping\"}",
        "{\"event_seq\":true,\"type\":\"session.ping\"}",
        "{\"type\":\"session.ping\",\"payload\":{\"nonce\":\"\u{1}\"}}",
        "{\"type\":\"session.ping\",\"payload\":{\"nonce\":\"n}}",
        "{\"type\":\"session.ping\",\"payload\":{\"nonce\":nan}}",
        "{\"type\":\"session.ping\",\"payload\":{\"nonce\":01}}",
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push(b"{\"type\":\"session.ping\",\"payload\":{\"nonce\":\"\xff\"}}".to_vec());
    all.push(vec![0; 100]);
    all.push(vec![b'['; 10_000]);
    all
}

/// Frames that only the scanner proper tells from good ones.
fn subtly_malformed() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "{\"type\":\"session.ping\",\"type\":\"session.ping\"}",
        "{\"id\":\"a\",\"id\":\"b\",\"type\":\"session.ping\"}",
        "{\"id\":\"\",\"type\":\"session.ping\"}",
        "{\"session_id\":\"\",\"type\":\"session.ping\"}",
        "{\"payload\":{},\"payload\":{},\"type\":\"session.ping\"}",
        "{\"session_id\":\"sess_1\",\"session_id\":\"sess_1\",\"type\":\"session.ping\"}",
        "{\"event_seq\":9007199254740992,\"type\":\"session.ping\"}",
        "{\"event_seq\":1e3,\"type\":\"session.ping\"}",
        "{\"event_seq\":1,\"event_seq\":1,\"type\":\"session.ping\"}",
        "{\"event_seq\":99999999999999999999,\"type\":\"session.ping\"}",
        "{\"type\":\"session.ping\",\"payload\":[]}",
        "{\"type\":\"session.ping\",\"payload\":\"text\"}",
        "{\"type\":\"session.ping\",\"payload\":5}",
        "{\"type\":\"session.ping\",\"payload\":false}",
        "{\"arcp\":\"1.0\",\"type\":\"session.ping\"}",
        "{\"arcp\":\"2\",\"type\":\"session.ping\"}",
        "{\"arcp\":\"\",\"type\":\"session.ping\"}",
        "{\"arcp\":1.1,\"type\":\"session.ping\"}",
        "{\"arcp\":\"1.1\",\"arcp\":\"1.1\",\"type\":\"session.ping\"}",
        "{\"id\":\"\\ud800\",\"type\":\"session.ping\"}",
        "{\"type\":\"session.\\udfffping\"}",
        "\u{feff}{\"type\":\"session.ping\"}",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    all.push(nested(MAX_DEPTH + 1));
    all.push(nested(100_000));
    all.push(format!("{{\"id\":\"{}\",\"type\":\"session.ping\"}}", "i".repeat(257)).into_bytes());
    all.push(format!("{{\"type\":\"x-vendor.{}\"}}", "i".repeat(257)).into_bytes());
    all.push(format!("{{\"session_id\":\"{}\",\"type\":\"session.ping\"}}", "i".repeat(1 << 19)).into_bytes());
    all.push(format!("{{\"job_id\":\"{}\",\"type\":\"job.cancel\"}}", "i".repeat(257)).into_bytes());
    all
}

/// A ping nested that deep, the envelope and its payload included.
fn nested(depth: usize) -> Vec<u8> {
    let inner = depth - 2;
    let text =
        format!("{{\"type\":\"session.ping\",\"payload\":{{\"x\":{}{}}}}}", "[".repeat(inner), "]".repeat(inner));
    text.into_bytes()
}

fn both_sides_refuse(frame: &[u8]) {
    let shown = String::from_utf8_lossy(&frame[..frame.len().min(80)]).into_owned();
    let mut runtime = serving();
    runtime.handle_input(start(), Bytes::copy_from_slice(frame));
    let violations = runtime_violations(&mut runtime);
    let [Violation { error: error @ ProtocolError::Malformed(_), message_id }] = &violations[..] else {
        panic!("{shown}: {violations:?}");
    };
    assert!(error.counts(), "{shown}");
    answered(&mut runtime, message_id.as_deref());
    lives_on(&mut runtime);

    let mut client = open();
    client.handle_input(start(), Bytes::copy_from_slice(frame));
    let violations = client_violations(&mut client);
    assert!(
        matches!(violations[..], [Violation { error: ProtocolError::Malformed(_), .. }]),
        "{shown}: {violations:?}"
    );
    assert!(sent(&mut client, start()).is_empty(), "{shown}: a client answers nothing");
    lives_on(&mut client);
}

#[test]
fn d39_a_malformed_frame_is_answered_or_told_and_the_session_lives() {
    for frame in malformed() {
        both_sides_refuse(&frame);
    }
}

#[test]
fn d39_a_subtly_malformed_frame_is_answered_or_told_and_the_session_lives() {
    for frame in subtly_malformed() {
        both_sides_refuse(&frame);
    }
}

#[test]
fn d39_nothing_of_a_malformed_frame_takes_effect() {
    let mut runtime = serving();
    let half = "{\"id\":\"x\",\"type\":\"job.submit\",\"payload\":{\"agent\":\"a\"},\"event_seq\":-5}";
    runtime.handle_input(start(), Bytes::from(half));
    assert_eq!(runtime_violations(&mut runtime).len(), 1);
    let mut client = open();
    let half = "{\"type\":\"job.event\",\"event_seq\":1,\"job_id\":7,\"payload\":{\"kind\":\"log\"}}";
    client.handle_input(start(), Bytes::from(half));
    assert_eq!(client_violations(&mut client).len(), 1);
    assert_eq!(client.last_event_seq(), 0);
}

#[test]
fn d39_the_answer_names_the_frame_where_its_id_can_be_read() {
    for frame in [
        "{\"id\":\"m7\",\"type\":5}",
        "{\"type\":5,\"id\":\"m7\"}",
        "{\"id\":\"m7\"}",
        "{\"id\":\"m7\",\"type\":\"session.ping\",\"event_seq\":-1}",
        "{\"arcp\":\"9\",\"id\":\"m7\",\"type\":\"session.ping\"}",
    ] {
        let mut session = serving();
        session.handle_input(start(), Bytes::from(frame));
        assert_eq!(runtime_violations(&mut session)[0].message_id.as_deref(), Some("m7"), "{frame}");
        answered(&mut session, Some("m7"));
    }
}

#[test]
fn d39_128_levels_pass_and_129_do_not() {
    for (depth, passes) in [(MAX_DEPTH - 1, true), (MAX_DEPTH, true), (MAX_DEPTH + 1, false)] {
        let mut session = serving();
        session.handle_input(start(), Bytes::from(nested(depth)));
        let expected = if passes { "session.pong" } else { "session.error" };
        assert_eq!(types(&sent_json(&mut session, start())), [expected], "{depth}");
    }
}

#[test]
fn d39_a_frame_of_one_mebibyte_passes_and_one_byte_more_does_not() {
    let of_len = |len: usize| {
        let frame = message("session.ping", json!({"nonce": "n", "pad": ""})).to_string();
        let pad = "p".repeat(len - frame.len());
        frame.replace("\"pad\":\"\"", &format!("\"pad\":\"{pad}\""))
    };
    for (len, passes) in [((1 << 20) - 1, true), (1 << 20, true), ((1 << 20) + 1, false)] {
        let frame = of_len(len);
        assert_eq!(frame.len(), len);
        let mut runtime = serving();
        runtime.handle_input(start(), Bytes::from(frame.clone()));
        if passes {
            assert_eq!(types(&sent_json(&mut runtime, start())), ["session.pong"]);
            continue;
        }
        let violations = runtime_violations(&mut runtime);
        let too_large = ProtocolError::Malformed(FrameFault::TooLarge { limit: 1 << 20 });
        let violation = Violation { error: too_large, message_id: Some("x".into()) };
        assert_eq!(violations, std::slice::from_ref(&violation));
        answered(&mut runtime, Some("x"));
        lives_on(&mut runtime);
        let mut client = open();
        client.handle_input(start(), Bytes::from(frame));
        assert_eq!(client_violations(&mut client), [violation]);
        lives_on(&mut client);
    }
}

#[test]
fn d39_lone_surrogates_and_numbers_without_end_pass_inside_a_payload() {
    let mut client = open();
    let frame = r#"{"type":"job.event","event_seq":1,"job_id":"j","payload":{"kind":"log","body":{"level":"\ud800","message":1e999}}}"#;
    client.handle_input(start(), Bytes::from(frame));
    let events = client_events(&mut client);
    let [ClientEvent::Event(delivery)] = &events[..] else { panic!("{events:?}") };
    assert!(delivery.body::<arcp_proto::wire::job_event::Log>().is_err(), "a typed reading fails, and nothing else");
    assert_eq!(client.last_event_seq(), 1);
    let mut runtime = serving();
    let frame = r#"{"id":"m","type":"job.submit","payload":{"agent":"a","input":{"x":1e999,"y":"\udfff"}}}"#;
    runtime.handle_input(start(), Bytes::from(frame));
    assert!(matches!(runtime_events(&mut runtime)[..], [RuntimeEvent::Submit { .. }]));
}

#[test]
fn d4_a_bad_trace_id_costs_the_field_and_not_the_message() {
    for trace in [json!("nonsense"), json!("00-short-1-01"), Value::Null] {
        let mut session = serving();
        let mut frame = message("job.submit", json!({"agent": "a", "input": {}}));
        frame["trace_id"] = trace.clone();
        feed(&mut session, start(), &frame);
        let events = runtime_events(&mut session);
        assert!(matches!(events[..], [RuntimeEvent::Submit { trace_id: None, .. }]), "{trace}: {events:?}");
    }
}

#[test]
fn d4_a_trace_id_that_is_no_text_costs_the_field_and_not_the_message() {
    for trace in [json!(5), json!({}), json!("")] {
        let mut session = serving();
        let mut frame = message("job.submit", json!({"agent": "a", "input": {}}));
        frame["trace_id"] = trace.clone();
        feed(&mut session, start(), &frame);
        let events = runtime_events(&mut session);
        assert!(matches!(events[..], [RuntimeEvent::Submit { trace_id: None, .. }]), "{trace}: {events:?}");
    }
}

// The version.

#[test]
fn d1_no_version_and_a_null_one_are_ours() {
    for version in [None, Some(Value::Null), Some(json!("1.1"))] {
        let mut frame = message("session.ping", json!({"nonce": "n"}));
        match version {
            Some(version) => frame["arcp"] = version,
            None => drop(frame.as_object_mut().unwrap().remove("arcp")),
        }
        let mut session = serving();
        feed(&mut session, start(), &frame);
        assert_eq!(types(&sent_json(&mut session, start())), ["session.pong"]);
    }
}

#[test]
fn d1_another_version_is_an_invalid_request_after_the_welcome_and_the_end_before_it() {
    for version in ["1.0", "1.2", "2.0", "1.1.0", ""] {
        let mut frame = message("session.ping", json!({"nonce": "n"}));
        frame["arcp"] = json!(version);
        let mut runtime = serving();
        feed(&mut runtime, start(), &frame);
        let violations = runtime_violations(&mut runtime);
        assert_eq!(violations[0].error.rule(), "D1");
        answered(&mut runtime, Some("x"));
        lives_on(&mut runtime);
        let mut client = open();
        feed(&mut client, start(), &frame);
        assert_eq!(client_violations(&mut client)[0].error.rule(), "D1");
        lives_on(&mut client);

        let mut hello = message("session.hello", json!({"auth": {"scheme": "bearer", "token": "t"}}));
        hello["arcp"] = json!(version);
        let refusal = Opening::parse(Bytes::from(hello.to_string()), &Limits::default()).unwrap_err();
        let refusal: Value = serde_json::from_slice(&refusal.into_message(start())).unwrap();
        assert_eq!(
            (&refusal["type"], &refusal["payload"]["code"]),
            (&json!("session.error"), &json!("INVALID_REQUEST"))
        );
        assert!(refusal["session_id"].is_string());
        let mut client = Session::connect(start(), client_config());
        let mut hello = welcome(FeatureSet::all());
        hello["arcp"] = json!(version);
        feed(&mut client, start(), &hello);
        let events = client_events(&mut client);
        let [ClientEvent::Violation(_), ClientEvent::Closed(reason)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(*reason, CloseReason::ConnectFailed(ConnectFailure::Protocol));
    }
}

// Null, and unknown members.

#[test]
fn d2_null_is_absent_in_every_header_field() {
    let mut session = serving();
    let frame = json!({
        "arcp": null, "id": "m", "type": "session.list_jobs", "session_id": null, "trace_id": null, "job_id": null,
        "event_seq": null, "payload": null,
    });
    feed(&mut session, start(), &frame);
    assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::ListJobs { .. }]));
    let mut client = open();
    let mut frame = frame;
    frame["type"] = json!("session.closed");
    frame["id"] = Value::Null;
    feed(&mut client, start(), &frame);
    assert!(matches!(client_events(&mut client)[..], [ClientEvent::Closed(_)]));
}

#[test]
fn d2_null_is_absent_in_every_optional_of_what_a_runtime_hears() {
    let mut session = serving();
    for payload in [
        json!({"agent": "a", "input": null, "lease_request": null, "lease_constraints": null, "idempotency_key": null, "max_runtime_sec": null}),
        json!({"agent": "a"}),
    ] {
        feed(&mut session, start(), &message("job.submit", payload));
        let events = runtime_events(&mut session);
        let [RuntimeEvent::Submit { submit, request, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(submit.input, RawJson::null());
        assert!(submit.lease_request.is_none() && submit.lease_constraints.is_none());
        assert!(submit.idempotency_key.is_none() && submit.max_runtime_sec.is_none());
        let error = arcp_proto::wire::WireError::new(arcp_proto::wire::ErrorCode::InternalError, "m");
        session.fail_request(start(), *request, error).unwrap();
        let _ = sent(&mut session, start());
        // The answered id would be known: take a session that has not heard it.
        session = serving();
    }
    for payload in [
        json!({"filter": null, "limit": null, "cursor": null}),
        json!({"filter": {"status": null, "agent": null, "created_after": null, "created_before": null}}),
    ] {
        let mut session = serving();
        feed(&mut session, start(), &message("session.list_jobs", payload));
        let events = runtime_events(&mut session);
        let [RuntimeEvent::ListJobs { query, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(**query, JobQuery::default());
    }
    for (name, payload) in [
        ("job.cancel", json!({"job_id": "j", "reason": null})),
        ("job.subscribe", json!({"job_id": "j", "from_event_seq": null, "history": null})),
    ] {
        let mut session = serving();
        feed(&mut session, start(), &message(name, payload));
        let events = runtime_events(&mut session);
        assert!(
            matches!(events[..], [RuntimeEvent::Cancel { reason: None, .. } | RuntimeEvent::Subscribe { .. }]),
            "{events:?}"
        );
    }
    let mut session = serving();
    feed(&mut session, start(), &message("session.ping", json!({"nonce": null, "sent_at": null})));
    assert_eq!(types(&sent_json(&mut session, start())), ["session.pong"]);
    let hello = message(
        "session.hello",
        json!({
            "client": null, "auth": {"scheme": "bearer", "token": "t"},
            "capabilities": {"encodings": null, "features": null},
            "resume": null, "resume_token": null, "last_event_seq": null, "client_name": null, "client_version": null,
        }),
    );
    let opening = Opening::parse(Bytes::from(hello.to_string()), &Limits::default()).unwrap();
    assert!(matches!(opening, Opening::Hello(hello) if hello.features().is_empty()));
}

#[test]
fn d2_null_is_absent_in_every_optional_of_what_a_client_hears() {
    let mut client = Session::connect(start(), client_config());
    let frame = json!({"type": "session.welcome", "session_id": "sess_1", "payload": {
        "runtime": null, "resume_token": null, "resume_window_sec": null, "heartbeat_interval_sec": null,
        "capabilities": {"encodings": null, "features": ["heartbeat"], "agents": null},
    }});
    feed(&mut client, start(), &frame);
    let events = client_events(&mut client);
    let [ClientEvent::Connected(info)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((info.heartbeat_interval, info.resume_window), (Some(secs(30)), secs(600)));

    let frames = [
        message(
            "job.accepted",
            json!({
                "request_id": null, "reply_to": null, "job_id": "j", "agent": null, "lease": null, "lease_constraints": null,
                "budget": null, "credentials": null, "accepted_at": null, "trace_id": null, "parent_job_id": null, "delegate_id": null,
            }),
        ),
        message(
            "job.subscribed",
            json!({
                "request_id": null, "job_id": "j", "current_status": null, "agent": null, "lease": null, "parent_job_id": null,
                "trace_id": null, "subscribed_from": null, "replayed": null, "credentials": null, "budget": null,
            }),
        ),
        message("job.cancelled", json!({"request_id": null, "job_id": null, "reason": null})),
        message(
            "job.result",
            json!({"final_status": null, "result": null, "result_id": null, "result_size": null, "summary": null}),
        ),
        message(
            "job.error",
            json!({"final_status": null, "code": "TIMEOUT", "message": null, "retryable": null, "details": null}),
        ),
        message(
            "session.error",
            json!({
                "code": "INTERNAL_ERROR", "message": null, "retryable": null, "details": null, "request_id": null, "job_id": null,
            }),
        ),
    ];
    for frame in frames {
        let mut client = open();
        feed(&mut client, start(), &frame);
        let events = client_events(&mut client);
        assert!(!matches!(events[..], [ClientEvent::Violation(_)]) && events.len() == 1, "{frame}: {events:?}");
    }
    let mut client = open();
    client.list_jobs(start(), &JobQuery::default()).unwrap();
    feed(
        &mut client,
        start(),
        &message("session.jobs", json!({"jobs": null, "next_cursor": null, "request_id": null})),
    );
    assert!(matches!(client_events(&mut client)[..], [ClientEvent::Jobs { .. }]));
}

#[test]
fn d2_nothing_that_we_send_is_null_but_the_two_that_must_be() {
    fn nulls(value: &Value, name: &str, found: &mut Vec<String>) {
        match value {
            Value::Null => found.push(name.into()),
            Value::Object(members) => members.iter().for_each(|(name, value)| nulls(value, name, found)),
            Value::Array(items) => items.iter().for_each(|item| nulls(item, name, found)),
            _ => {}
        }
    }
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(2);
    let now = pair.now;
    pair.client.list_jobs(now, &JobQuery::default()).unwrap();
    pair.client.cancel(now, &job(), None).unwrap();
    pair.client.subscribe(now, &job(), None).unwrap();
    pair.client.unsubscribe(now, &job()).unwrap();
    pair.flush();
    for event in pair.take_runtime_events() {
        let runtime = pair.runtime.as_mut().unwrap();
        match event {
            RuntimeEvent::ListJobs { request, .. } => runtime.respond_jobs(now, request, Default::default()).unwrap(),
            RuntimeEvent::Cancel { request, .. } => runtime.confirm_cancel(now, request, None).unwrap(),
            RuntimeEvent::Subscribe { request, .. } => {
                let subscribed = arcp_proto::wire::JobSubscribed::new(job(), "a@1", Default::default());
                runtime.accept_subscribe(now, request, subscribed).unwrap();
            }
            _ => {}
        }
    }
    pair.flush();
    pair.cut();
    pair.resume();
    pair.advance(secs(70));
    pair.client.close(pair.now, "normal");
    pair.flush();
    for passed in &pair.transcript {
        let mut found = Vec::new();
        nulls(&passed.json(), "", &mut found);
        let expected: &[&str] = match passed.type_name().as_str() {
            "session.jobs" => &["next_cursor"],
            "job.subscribed" => &["parent_job_id"],
            _ => &[],
        };
        assert_eq!(found, expected, "{}", passed.json());
    }
}

#[test]
fn d6_unknown_members_are_ignored_at_every_level() {
    fn strew(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.values_mut().for_each(strew);
                members.insert("x_unknown".into(), json!({"deep": [null, 1, {"type": "session.bye"}]}));
                members.insert("timestamp".into(), json!("2026-05-13T19:42:13Z"));
            }
            Value::Array(items) => items.iter_mut().for_each(strew),
            _ => {}
        }
    }
    let mut hello = message(
        "session.hello",
        json!({
            "client": {"name": "n", "version": "1"}, "auth": {"scheme": "bearer", "token": "t"},
            "capabilities": {"encodings": ["json"], "features": ["ack"]},
        }),
    );
    strew(&mut hello);
    assert!(matches!(Opening::parse(Bytes::from(hello.to_string()), &Limits::default()), Ok(Opening::Hello(_))));
    let mut frames = [
        message("job.submit", json!({"agent": "a", "input": {}})),
        message("session.list_jobs", json!({"filter": {"status": ["running"]}, "limit": 5})),
        message("job.cancel", json!({"job_id": "j"})),
        message("job.subscribe", json!({"job_id": "j"})),
        message("job.unsubscribe", json!({"job_id": "j"})),
    ];
    for frame in &mut frames {
        strew(frame);
        let mut session = serving();
        feed(&mut session, start(), frame);
        let events = runtime_events(&mut session);
        assert!(!matches!(events[..], [RuntimeEvent::Violation(_)]) && events.len() == 1, "{frame}: {events:?}");
        assert!(sent(&mut session, start()).is_empty());
    }
    let mut client = Session::connect(start(), client_config());
    let mut frame = welcome(FeatureSet::all());
    frame["payload"]["capabilities"]["agents"] = json!([{"name": "a", "versions": ["1"], "default": "1"}]);
    strew(&mut frame);
    feed(&mut client, start(), &frame);
    let events = client_events(&mut client);
    let [ClientEvent::Connected(info)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(info.agents.len(), 1);
    let mut frames = [
        log_frame(1),
        message("job.accepted", json!({"job_id": "j", "lease": {}})),
        message("job.result", json!({"final_status": "success"})),
        message("job.error", json!({"final_status": "error", "code": "TIMEOUT", "message": "m"})),
        message("session.error", json!({"code": "INTERNAL_ERROR", "message": "m"})),
        message("session.bye", json!({"reason": "r"})),
    ];
    for frame in &mut frames {
        let untouched = {
            strew(frame);
            frame.to_string()
        };
        feed(&mut client, start(), frame);
        let events = client_events(&mut client);
        assert!(!matches!(events[..], [ClientEvent::Violation(_)]) && events.len() == 1, "{frame}: {events:?}");
        if let ClientEvent::Event(delivery) = &events[0] {
            assert_eq!(&delivery.envelope().frame()[..], untouched.as_bytes(), "and handed through untouched");
        }
    }
}

// Types without a place.

#[test]
fn d7_a_client_ignores_unknown_types_and_tells_of_them() {
    for name in ["session.motd", "job.teleported", "x-vendor.thing", "nonsense"] {
        let mut session = open();
        feed(&mut session, start(), &message(name, json!({"a": 1})));
        let violations = client_violations(&mut session);
        let expected = ProtocolError::UnknownType(name.into());
        assert_eq!(violations, [Violation { error: expected, message_id: Some("x".into()) }]);
        assert!(sent(&mut session, start()).is_empty());
        lives_on(&mut session);
    }
}

#[test]
fn d7_a_client_ignores_what_only_clients_send_and_tells_of_it() {
    for kind in MessageType::ALL.iter().filter(|kind| kind.sender() == Sender::Client) {
        let mut session = open();
        feed(&mut session, start(), &message(kind.name(), json!({"agent": "a", "job_id": "j"})));
        let violations = client_violations(&mut session);
        assert_eq!(violations[0].error, ProtocolError::WrongDirection(*kind));
        assert_eq!(violations.len(), 1);
        assert!(sent(&mut session, start()).is_empty(), "{kind}");
        lives_on(&mut session);
    }
}

#[test]
fn d7_a_client_ignores_a_second_welcome() {
    let mut session = open();
    let mut again = welcome(FeatureSet::none());
    again["payload"]["resume_token"] = json!("rt_another");
    feed(&mut session, start(), &again);
    assert_eq!(client_violations(&mut session)[0].error, ProtocolError::WrongPhase(MessageType::SessionWelcome));
    assert_eq!(session.resume_token().unwrap().reveal(), "rt_first");
    assert!(session.features().contains(Feature::Ack));
    lives_on(&mut session);
}

#[test]
fn d7_a_runtime_answers_unknown_types_of_ours() {
    for name in ["session.motd", "job.teleport", "session.", "job."] {
        for has_id in [true, false] {
            let mut session = serving();
            let frame = message(name, json!({}));
            let frame = if has_id { frame } else { without_id(frame) };
            feed(&mut session, start(), &frame);
            let violations = runtime_violations(&mut session);
            assert_eq!(violations[0].error, ProtocolError::UnknownType(name.into()));
            assert_eq!(violations.len(), 1);
            answered(&mut session, has_id.then_some("x"));
            lives_on(&mut session);
        }
    }
}

#[test]
fn d7_a_runtime_hands_other_namespaces_to_the_application_untouched() {
    for name in ["x-vendor.thing", "x-vendor", "sessions.list", "jobs", "nonsense"] {
        let mut session = serving();
        let frame = message(name, json!({"any": ["thing", null]})).to_string();
        session.handle_input(start(), Bytes::from(frame.clone()));
        let events = runtime_events(&mut session);
        let [RuntimeEvent::Vendor(envelope)] = &events[..] else { panic!("{name}: {events:?}") };
        assert_eq!(&envelope.frame()[..], frame.as_bytes());
        assert!(sent(&mut session, start()).is_empty(), "{name}");
        lives_on(&mut session);
    }
}

#[test]
fn d7_a_runtime_answers_what_only_runtimes_send_save_an_error() {
    for kind in MessageType::ALL.iter().filter(|kind| kind.sender() == Sender::Runtime) {
        let mut session = serving();
        let payload = json!({"code": "INTERNAL_ERROR", "message": "m", "job_id": "j"});
        feed(&mut session, start(), &message(kind.name(), payload));
        let violations = runtime_violations(&mut session);
        assert_eq!(violations[0].error, ProtocolError::WrongDirection(*kind));
        if *kind == MessageType::SessionError {
            assert!(sent(&mut session, start()).is_empty(), "an error is not answered by an error");
        } else {
            answered(&mut session, Some("x"));
        }
        lives_on(&mut session);
    }
}

#[test]
fn d7_a_resume_on_a_session_that_is_open_has_no_place() {
    let mut session = serving();
    feed(&mut session, start(), &message("session.resume", json!({"resume_token": token(1)})));
    assert_eq!(runtime_violations(&mut session)[0].error, ProtocolError::WrongPhase(MessageType::SessionResume));
    answered(&mut session, Some("x"));
    lives_on(&mut session);
}

// The wrong session.

#[test]
fn d16_a_runtime_answers_a_frame_for_another_session_and_does_not_process_it() {
    for kind in MessageType::ALL.iter().filter(|kind| kind.sender() != Sender::Runtime) {
        let is_advisory = matches!(kind, MessageType::SessionAck | MessageType::SessionPong);
        let mut session = serving();
        let mut frame = message(kind.name(), json!({"agent": "a", "job_id": "j", "last_processed_seq": 0}));
        frame["session_id"] = json!("sess_2");
        feed(&mut session, start(), &frame);
        let violations = runtime_violations(&mut session);
        assert_eq!(violations, [Violation { error: ProtocolError::WrongSession, message_id: Some("x".into()) }]);
        if is_advisory {
            assert!(sent(&mut session, start()).is_empty(), "{kind}: never for an advisory (D11)");
        } else {
            answered(&mut session, Some("x"));
        }
        lives_on(&mut session);
    }
    let mut session = serving();
    let mut frame = message("x-vendor.thing", json!({}));
    frame["session_id"] = json!("sess_2");
    feed(&mut session, start(), &frame);
    answered(&mut session, Some("x"));
}

#[test]
fn d7_an_error_for_another_session_is_not_answered_by_an_error_either() {
    let mut session = serving();
    let mut frame = message("session.error", json!({"code": "INTERNAL_ERROR"}));
    frame["session_id"] = json!("sess_2");
    feed(&mut session, start(), &frame);
    assert_eq!(runtime_violations(&mut session).len(), 1);
    assert!(sent(&mut session, start()).is_empty());
}

#[test]
fn d16_a_client_tells_of_a_frame_for_another_session_and_does_not_process_it() {
    let mut session = open();
    let mut frame = log_frame(1);
    frame["session_id"] = json!("sess_2");
    feed(&mut session, start(), &frame);
    let violations = client_violations(&mut session);
    assert_eq!(violations, [Violation { error: ProtocolError::WrongSession, message_id: Some("e1".into()) }]);
    assert_eq!(session.last_event_seq(), 0);
    assert!(sent(&mut session, start()).is_empty());
    lives_on(&mut session);
}

#[test]
fn d16_no_session_id_and_a_null_one_mean_this_session() {
    for session_id in [None, Some(Value::Null)] {
        let mut session = open();
        let mut frame = log_frame(1);
        match session_id {
            Some(id) => frame["session_id"] = id,
            None => drop(frame.as_object_mut().unwrap().remove("session_id")),
        }
        feed(&mut session, start(), &frame);
        assert!(matches!(client_events(&mut session)[..], [ClientEvent::Event(_)]));
    }
}

// Advisories.

#[test]
fn d11_no_bad_ack_or_pong_ever_gets_an_error() {
    let payloads = [
        json!({}),
        Value::Null,
        json!({"last_processed_seq": null, "ping_nonce": null}),
        json!({"last_processed_seq": "5", "ping_nonce": 5, "received_at": 5}),
        json!({"last_processed_seq": -1, "ping_nonce": [], "received_at": "0001-01-01T00:00:00Z"}),
        json!({"last_processed_seq": 1.5, "ping_nonce": {}, "received_at": "yesterday"}),
        json!({"last_processed_seq": 5, "ping_nonce": "none of ours"}),
        json!({"last_processed_seq": u64::MAX}),
        json!({"last_processed_seq": 0}),
        json!({"last_processed_seq": [1]}),
    ];
    for features in [FeatureSet::all(), FeatureSet::none()] {
        for name in ["session.ack", "session.pong"] {
            for payload in &payloads {
                for session_id in [json!("sess_1"), json!("sess_2"), Value::Null] {
                    let mut session = runtime_alone(runtime_config(), features.clone());
                    let mut frame = message(name, payload.clone());
                    frame["session_id"] = session_id;
                    feed(&mut session, start(), &frame);
                    feed(&mut session, start(), &without_id(frame));
                    assert!(sent(&mut session, start()).is_empty(), "{name} {payload}");
                    lives_on(&mut session);
                }
            }
        }
    }
}

#[test]
fn d11_a_bad_ping_gets_no_error() {
    for payload in [json!({"nonce": 5}), json!({"nonce": "n".repeat(257)}), json!({"sent_at": 5})] {
        let mut session = serving();
        feed(&mut session, start(), &message("session.ping", payload));
        let frames = sent_json(&mut session, start());
        assert!(!types(&frames).contains(&"session.error"));
        let mut session = open();
        feed(&mut session, start(), &message("session.ping", json!({"nonce": 5})));
        let _ = client_events(&mut session);
        lives_on(&mut session);
    }
}

// What counts.

fn counting_for_a_runtime() -> Vec<(&'static str, Bytes)> {
    let mut other = message("session.ping", json!({}));
    other["session_id"] = json!("sess_2");
    vec![
        ("malformed", Bytes::from("{")),
        ("empty", Bytes::new()),
        ("too long", Bytes::from(vec![b' '; (1 << 20) + 1])),
        ("direction", Bytes::from(message("job.event", json!({})).to_string())),
        ("an error", Bytes::from(message("session.error", json!({})).to_string())),
        ("phase", Bytes::from(message("session.resume", json!({})).to_string())),
        ("session", Bytes::from(other.to_string())),
    ]
}

#[test]
fn d43_64_violations_are_borne_and_the_next_costs_the_transport() {
    for (name, frame) in counting_for_a_runtime() {
        let mut session = serving();
        for _ in 0..64 {
            session.handle_input(start(), frame.clone());
            let _ = sent(&mut session, start());
        }
        assert_eq!(runtime_violations(&mut session).len(), 64, "{name}: each is told");
        lives_on(&mut session);
        session.handle_input(start(), frame.clone());
        let events = runtime_events(&mut session);
        let [RuntimeEvent::Violation(_), RuntimeEvent::Detached(DetachReason::TooManyViolations)] = events[..] else {
            panic!("{name}: {events:?}");
        };
        let frames = sent_json(&mut session, start());
        assert_eq!(types(&frames), ["session.error"], "{name}");
        assert_eq!(frames[0]["payload"]["code"], "INVALID_REQUEST");
        assert_eq!(session.phase(), Phase::Detached);
        session.handle_input(start(), frame.clone());
        assert!(runtime_events(&mut session).is_empty(), "{name}: nothing is heard any more");
        // Resumable, and the count begins anew.
        come_back(&mut session, 1);
        for _ in 0..64 {
            session.handle_input(start(), frame.clone());
            let _ = sent(&mut session, start());
        }
        assert_eq!(runtime_violations(&mut session).len(), 64, "{name}");
        lives_on(&mut session);
    }
}

#[test]
fn d43_violations_of_all_kinds_are_counted_together() {
    let mut session = serving();
    let kinds = counting_for_a_runtime();
    for (_, frame) in kinds.iter().cycle().take(64) {
        session.handle_input(start(), frame.clone());
        let _ = sent(&mut session, start());
    }
    lives_on(&mut session);
    session.handle_input(start(), kinds[3].1.clone());
    assert_eq!(session.phase(), Phase::Detached);
}

#[test]
fn d43_a_client_bears_64_violations_too_and_resumes_after_the_next() {
    let mut other = log_frame(1);
    other["session_id"] = json!("sess_2");
    let kinds = [
        Bytes::from("{"),
        Bytes::from(message("job.submit", json!({})).to_string()),
        Bytes::from(welcome(FeatureSet::all()).to_string()),
        Bytes::from(other.to_string()),
    ];
    for frame in &kinds {
        let mut session = open();
        for _ in 0..64 {
            session.handle_input(start(), frame.clone());
        }
        assert_eq!(client_violations(&mut session).len(), 64);
        lives_on(&mut session);
        session.handle_input(start(), frame.clone());
        let events = client_events(&mut session);
        let [ClientEvent::Violation(_), ClientEvent::Detached(DetachReason::TooManyViolations)] = events[..] else {
            panic!("{events:?}");
        };
        assert!(sent(&mut session, start()).is_empty());
        session.resume(start()).unwrap();
        let _ = sent(&mut session, start());
        feed(&mut session, start(), &welcome(FeatureSet::all()));
        client_events(&mut session);
        session.handle_input(start(), frame.clone());
        assert_eq!(session.phase(), Phase::Open, "the count began anew");
    }
}

#[test]
fn d43_the_limit_is_the_applications_to_choose() {
    for limit in [0, 1, 5] {
        let limits = Limits { violations: limit, ..Limits::default() };
        let mut session = runtime_alone(runtime_config().with_limits(limits), FeatureSet::all());
        for _ in 0..limit {
            session.handle_input(start(), Bytes::from("{"));
        }
        assert_eq!(session.phase(), Phase::Open);
        session.handle_input(start(), Bytes::from("{"));
        assert_eq!(session.phase(), Phase::Detached);
    }
}

#[test]
fn d43_what_is_merely_wrong_with_a_request_does_not_count() {
    let features = only(&[Feature::Ack, Feature::Heartbeat]);
    let frames = [
        message("job.submit", json!({})),
        message("job.submit", json!({"agent": ""})),
        message("job.submit", json!({"agent": "a@1"})),
        without_id(message("job.submit", json!({"agent": "a"}))),
        message("job.cancel", json!({})),
        message("session.list_jobs", json!({})),
        message("job.subscribe", json!({"job_id": "j"})),
        message("job.unsubscribe", json!({"job_id": "j"})),
        message("session.unknown", json!({})),
        message("job.unknown", json!({})),
    ];
    for frame in frames {
        let mut session = runtime_alone(runtime_config(), features.clone());
        for _ in 0..200 {
            feed(&mut session, start(), &frame);
            answered(&mut session, frame.get("id").and_then(Value::as_str));
        }
        assert!(runtime_violations(&mut session).iter().all(|violation| !violation.error.counts()));
        lives_on(&mut session);
    }
}

#[test]
fn d43_what_a_runtime_tolerates_is_told_once_a_kind_and_attachment_and_does_not_count() {
    let cases = [
        (FeatureSet::none(), message("session.ping", json!({"nonce": "n"}))),
        (FeatureSet::none(), message("session.pong", json!({}))),
        (FeatureSet::none(), message("session.ack", json!({"last_processed_seq": 0}))),
        (FeatureSet::all(), message("session.ack", json!({"last_processed_seq": 99}))),
        (FeatureSet::all(), message("session.ack", json!({"last_processed_seq": "x"}))),
        (FeatureSet::all(), message("session.ping", json!({"nonce": 5}))),
    ];
    for (features, frame) in cases {
        let mut session = runtime_alone(runtime_config(), features);
        for attachment in 1..=3 {
            for _ in 0..200 {
                feed(&mut session, start(), &frame);
                let frames = sent_json(&mut session, start());
                assert!(!types(&frames).contains(&"session.error"), "{frame}");
            }
            let violations = runtime_violations(&mut session);
            assert_eq!(violations.len(), 1, "{frame} on attachment {attachment}");
            assert!(!violations[0].error.counts());
            assert_eq!(session.phase(), Phase::Open);
            session.handle_disconnect(start());
            runtime_events(&mut session);
            come_back(&mut session, attachment);
        }
    }
}

#[test]
fn d43_two_kinds_are_told_of_each_for_itself() {
    let mut session = runtime_alone(runtime_config(), FeatureSet::none());
    for _ in 0..3 {
        feed(&mut session, start(), &message("session.ack", json!({"last_processed_seq": 0})));
        feed(&mut session, start(), &message("session.pong", json!({})));
    }
    let told: Vec<_> = runtime_violations(&mut session).into_iter().map(|violation| violation.error).collect();
    let expected = [Feature::Ack, Feature::Heartbeat].map(ProtocolError::NotNegotiated);
    assert_eq!(told, expected);
}

#[test]
fn d43_what_a_client_tolerates_is_told_once_a_kind_and_attachment_and_does_not_count() {
    let cases = [
        message("session.ping", json!({"nonce": "n"})),
        message("session.pong", json!({})),
        message("session.motd", json!({})),
        message("session.jobs", json!({"jobs": []})),
    ];
    for frame in cases {
        let mut session = client_alone(client_config().with_features(FeatureSet::none()));
        for attachment in 1..=3 {
            for _ in 0..200 {
                feed(&mut session, start(), &frame);
                let _ = sent(&mut session, start());
            }
            assert_eq!(client_violations(&mut session).len(), 1, "{frame} on attachment {attachment}");
            session.handle_disconnect(start());
            session.resume(start()).unwrap();
            feed(&mut session, start(), &welcome(FeatureSet::all()));
            client_events(&mut session);
        }
    }
}

#[test]
fn d43_event_kinds_that_were_not_negotiated_are_delivered_and_told_of_once_a_feature() {
    let mut session = client_alone(client_config().with_features(FeatureSet::none()));
    let mut delivered = 0;
    let mut told = Vec::new();
    for seq in 1..=200 {
        let mut frame = log_frame(seq);
        frame["payload"]["kind"] = json!(if seq % 2 == 0 { "progress" } else { "result_chunk" });
        feed(&mut session, start(), &frame);
        for event in client_events(&mut session) {
            match event {
                ClientEvent::Event(_) => delivered += 1,
                ClientEvent::Violation(violation) => told.push(violation.error),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(delivered, 200);
    let expected = [Feature::ResultChunk, Feature::Progress].map(ProtocolError::NotNegotiated);
    assert_eq!(told, expected);
}

#[test]
fn d7_vendor_kinds_and_unknown_ones_are_no_violation() {
    let mut session = client_alone(client_config().with_features(FeatureSet::none()));
    for (seq, kind) in [(1, "x-vendor.thing"), (2, "tomorrows"), (3, "")] {
        let mut frame = log_frame(seq);
        frame["payload"]["kind"] = json!(kind);
        feed(&mut session, start(), &frame);
        let events = client_events(&mut session);
        let [ClientEvent::Event(delivery)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(delivery.kind(), kind);
    }
}

// What is told of it.

#[test]
fn d39_no_value_of_a_bad_payload_is_repeated_in_the_answer_or_the_violation() {
    let long = "s3cret".repeat(150_000);
    let payloads = [
        json!({"agent": "a", "max_runtime_sec": long}),
        json!({"agent": "a", "idempotency_key": [long]}),
        json!({"agent": {"s3cret": 1}}),
        json!({"agent": "a", "lease_constraints": "s3cret, expected nothing"}),
        json!({"agent": "a", "max_runtime_sec": "s3cret"}),
    ];
    for payload in payloads {
        let mut session = serving();
        feed(&mut session, start(), &message("job.submit", payload));
        let frames = sent(&mut session, start());
        assert!(frames[0].len() < 1_000, "an answer as long as the question: {}", frames[0].len());
        assert!(!String::from_utf8_lossy(&frames[0]).contains("s3cret"));
        let violations = format!("{:?}", runtime_violations(&mut session));
        assert!(!violations.contains("s3cret") && violations.len() < 1_000, "{violations}");
    }
    let mut session = open();
    feed(&mut session, start(), &message("job.result", json!({"summary": [1], "result_size": long})));
    let violations = format!("{:?}", client_violations(&mut session));
    assert!(violations.len() < 1_000);
}

#[test]
fn d3_no_secret_of_a_bad_hello_is_repeated_in_its_refusal() {
    let hellos = [
        json!({"auth": "hunter2-bearer"}),
        json!({"auth": {"scheme": "bearer", "token": ["hunter2-bearer"]}}),
        json!({"auth": {"scheme": "bearer", "token": "t"}, "resume": "hunter2-token"}),
        json!({"auth": {"scheme": "bearer", "token": "t"}, "resume_token": "t", "last_event_seq": "hunter2-token"}),
    ];
    for payload in hellos {
        let hello = message("session.hello", payload);
        let refusal = Opening::parse(Bytes::from(hello.to_string()), &Limits::default()).unwrap_err();
        assert!(!format!("{refusal:?}").contains("hunter2"), "{refusal:?}");
        let frame = refusal.into_message(start());
        assert!(!String::from_utf8_lossy(&frame).contains("hunter2"));
        assert!(Envelope::decode(frame).is_ok());
    }
}

#[test]
fn d39_what_is_wrong_with_a_payload_is_said_all_the_same() {
    let mut session = serving();
    feed(&mut session, start(), &message("job.submit", json!({"agent": "a", "max_runtime_sec": "five"})));
    let frames = sent_json(&mut session, start());
    let said = frames[0]["payload"]["message"].as_str().unwrap();
    assert!(said.contains("job.submit") && said.contains("string") && said.contains("expected u64"), "{said}");
    feed(&mut session, start(), &message("job.submit", json!({})));
    let frames = sent_json(&mut session, start());
    assert!(frames[0]["payload"]["message"].as_str().unwrap().contains("agent"));
}

/// Only a header fault: the rest of the loop goes on, as one peer's does not.
#[test]
fn d39_one_bad_field_does_not_kill_the_loop() {
    let mut pair = Pair::connected();
    pair.submit();
    let (mut client, mut runtime) = (pair.client.clone(), pair.runtime.clone().unwrap());
    for bad in malformed() {
        client.handle_input(pair.now, Bytes::from(bad.clone()));
        runtime.handle_input(pair.now, Bytes::from(bad));
        let _ = sent(&mut runtime, pair.now);
    }
    lives_on_at(&mut client, pair.now.after(millis(1)));
    lives_on_at(&mut runtime, pair.now.after(millis(1)));
}
