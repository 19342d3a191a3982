//! What is accepted beyond what we send: null for absent (D2), unknown members (D6), unknown types and kinds (D7), and
//! the habits of the implementations that are out there.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fmt::Debug;

use arcp_proto::wire::job_event::{Delegate, Log, Metric, Progress, Status, ToolCall, ToolResult};
use arcp_proto::wire::{
    Ack, AgentInfo, Bye, Envelope, ErrorCode, Header, Hello, JobAccepted, JobCancel, JobCancelled, JobEntry, JobError,
    JobEvent, JobQuery, JobResult, JobStatus, JobSubmit, JobSubscribe, JobSubscribed, JobUnsubscribe, Jobs, Lease,
    MessageType, Ping, Pong, RawJson, Resume, Seconds, SessionError, TraceId, Welcome, WireError, encode,
};
use arcp_proto::{Feature, FeatureSet, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[track_caller]
fn decode(frame: &str) -> Envelope {
    let envelope = Envelope::decode(frame.to_owned().into()).unwrap();
    assert_eq!(envelope.frame(), frame, "the frame's bytes are kept");
    envelope
}

#[track_caller]
fn read<P: DeserializeOwned>(payload: &Value) -> P {
    serde_json::from_str(&payload.to_string()).unwrap_or_else(|error| panic!("{error}: {payload}"))
}

/// The payload with every member, with null in place of each optional one, and with the required ones alone.
#[track_caller]
fn null_is_absent<P: DeserializeOwned + PartialEq + Debug>(required: Value, optional: &[&str]) {
    let absent: P = read(&required);
    let mut all = required.clone();
    for name in optional {
        let mut one = required.clone();
        one[*name] = Value::Null;
        all[*name] = Value::Null;
        assert_eq!(read::<P>(&one), absent, "`{name}` null");
    }
    assert_eq!(read::<P>(&all), absent, "all null");
}

#[test]
fn d2_null_in_the_header_is_absent() {
    let envelope = decode(
        r#"{"arcp":null,"id":null,"type":"session.bye","session_id":null,"trace_id":null,"job_id":null,"event_seq":null,"payload":null}"#,
    );
    assert_eq!((envelope.id(), envelope.session_id(), envelope.job_id()), (None, None, None));
    assert_eq!((envelope.trace_id(), envelope.event_seq()), (None, None));
    assert_eq!(envelope.payload_text(), "{}");
    assert_eq!(envelope.payload::<Bye>().unwrap(), Bye { reason: None });
    assert_eq!(decode(r#"{"type":"session.bye","event_seq":0}"#).event_seq(), None);
}

#[test]
fn d2_null_is_absent_in_session_payloads() {
    null_is_absent::<Hello>(
        json!({}),
        &[
            "client",
            "auth",
            "capabilities",
            "resume",
            "resume_token",
            "last_event_seq",
            "client_name",
            "client_version",
        ],
    );
    null_is_absent::<Hello>(json!({ "client": { "name": null, "version": null } }), &[]);
    null_is_absent::<Hello>(json!({ "auth": { "scheme": "bearer", "token": null } }), &["client"]);
    null_is_absent::<Hello>(json!({ "capabilities": { "encodings": null, "features": null } }), &["resume"]);
    null_is_absent::<Hello>(
        json!({ "resume": { "session_id": null, "resume_token": null, "token": null, "last_event_seq": null } }),
        &["auth"],
    );
    null_is_absent::<Welcome>(
        json!({}),
        &["runtime", "resume_token", "resume_window_sec", "heartbeat_interval_sec", "capabilities"],
    );
    let nulls = json!({ "capabilities": { "encodings": null, "features": null, "agents": null } });
    assert_eq!(read::<Welcome>(&nulls), Welcome::default());
    let agent = json!({ "name": "echo", "versions": null, "default": null });
    assert_eq!(read::<AgentInfo>(&agent), read::<AgentInfo>(&json!({ "name": "echo" })));
    null_is_absent::<Resume>(json!({}), &["resume_token", "last_event_seq", "auth", "client", "capabilities"]);
    null_is_absent::<JobQuery>(json!({}), &["filter", "limit", "cursor"]);
    let nulls = json!({ "filter": { "status": null, "agent": null, "created_after": null, "created_before": null } });
    assert_eq!(read::<JobQuery>(&nulls), JobQuery::default());
    null_is_absent::<Jobs>(json!({}), &["request_id", "reply_to", "jobs", "next_cursor"]);
    null_is_absent::<JobEntry>(
        json!({ "job_id": "job_1" }),
        &["agent", "status", "lease", "parent_job_id", "created_at", "trace_id", "last_event_seq"],
    );
    null_is_absent::<SessionError>(
        json!({ "code": "TIMEOUT" }),
        &["message", "retryable", "details", "request_id", "reply_to", "correlation_id", "job_id"],
    );
    null_is_absent::<Bye>(json!({}), &["reason"]);
    let ping: Ping<'_> = serde_json::from_str(r#"{"nonce":null,"sent_at":null}"#).unwrap();
    assert_eq!(ping, Ping::default());
    let pong: Pong<'_> = serde_json::from_str(r#"{"ping_nonce":null,"received_at":null}"#).unwrap();
    assert_eq!(pong, Pong::default());
}

#[test]
fn d2_null_is_absent_in_job_payloads() {
    null_is_absent::<JobSubmit>(
        json!({ "agent": "echo" }),
        &["input", "lease_request", "lease_constraints", "idempotency_key", "max_runtime_sec"],
    );
    null_is_absent::<JobSubmit>(json!({ "agent": "echo", "lease_constraints": { "expires_at": null } }), &["input"]);
    let granted = [
        "request_id",
        "reply_to",
        "job_id",
        "agent",
        "lease",
        "lease_constraints",
        "budget",
        "credentials",
        "trace_id",
        "parent_job_id",
    ];
    null_is_absent::<JobAccepted>(json!({}), &[&granted[..], &["accepted_at", "delegate_id"]].concat());
    null_is_absent::<JobSubscribed>(
        json!({}),
        &[&granted[..], &["current_status", "subscribed_from", "replayed"]].concat(),
    );
    null_is_absent::<JobResult>(
        json!({}),
        &["final_status", "result", "output", "result_id", "result_size", "summary"],
    );
    assert_eq!(read::<JobResult>(&json!({ "final_status": null })).final_status, JobStatus::Success);
    null_is_absent::<JobError>(
        json!({ "code": "TIMEOUT" }),
        &["final_status", "message", "retryable", "details", "request_id", "reply_to"],
    );
    assert_eq!(read::<JobError>(&json!({ "code": "TIMEOUT" })).final_status, JobStatus::Error);
    null_is_absent::<JobCancel>(json!({}), &["job_id", "reason"]);
    null_is_absent::<JobCancelled>(json!({}), &["request_id", "reply_to", "job_id", "reason"]);
    null_is_absent::<JobSubscribe>(json!({}), &["job_id", "from_event_seq", "history"]);
    null_is_absent::<JobUnsubscribe>(json!({}), &["job_id"]);
    let event: JobEvent<'_> = serde_json::from_str(r#"{"kind":"log","ts":null,"body":null}"#).unwrap();
    assert_eq!((event.ts, event.body.text()), (None, "{}"));
    null_is_absent::<Log>(json!({}), &["level", "message"]);
    null_is_absent::<Status>(json!({ "phase": "running" }), &["message"]);
    null_is_absent::<Metric>(json!({ "name": "n", "value": 1 }), &["unit", "dimensions", "dims"]);
    null_is_absent::<Progress>(json!({ "current": 1 }), &["total", "units", "message"]);
    null_is_absent::<ToolCall>(json!({ "tool": "t", "call_id": "c" }), &["args"]);
    null_is_absent::<ToolResult>(json!({ "call_id": "c" }), &["result", "error"]);
    null_is_absent::<Delegate>(json!({}), &["delegate_id", "child_job_id", "agent", "input"]);
}

#[test]
fn d2_only_two_nulls_are_sent() {
    let page = Jobs {
        request_id: None,
        reply_to: None,
        jobs: vec![JobEntry::new("job_1".into(), "echo", JobStatus::Running, Timestamp::EPOCH)],
        next_cursor: None,
    };
    let page = serde_json::to_string(&page).unwrap();
    assert_eq!(page.matches("null").count(), 2, "{page}");
    assert!(page.contains(r#""next_cursor":null"#) && page.contains(r#""parent_job_id":null"#));
    let plain = [
        serde_json::to_string(&Hello::default()),
        serde_json::to_string(&Welcome::default()),
        serde_json::to_string(&JobAccepted::new("job_1".into(), "echo", Timestamp::EPOCH)),
        serde_json::to_string(&JobResult::streamed("res_1".into(), 1)),
        serde_json::to_string(&JobResult::inline(RawJson::null())),
        serde_json::to_string(&JobError::new(WireError::new(ErrorCode::Timeout, ""))),
    ];
    for text in plain {
        let text = text.unwrap();
        assert!(!text.contains("null"), "{text}");
    }
}

/// Puts a member that no one knows into every object.
fn salt(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(salt);
            members.insert("x-unknown".into(), json!({ "deep": [{ "type": "session.bye", "id": null }], "n": 1e300 }));
        }
        Value::Array(items) => items.iter_mut().for_each(salt),
        _ => {}
    }
}

#[test]
fn d6_unknown_members_are_ignored_at_every_level_and_kept() {
    fn check<P: DeserializeOwned + PartialEq + Debug>(message: MessageType, payload: &Value) {
        let plain = json!({ "arcp": "1.1", "id": "m", "type": message.name(), "payload": payload });
        let mut salted = plain.clone();
        salt(&mut salted);
        // On one line, and as someone might print it.
        for salted in [salted.to_string(), serde_json::to_string_pretty(&salted).unwrap()] {
            let envelope = decode(&salted);
            assert_eq!(envelope.message_type(), Some(message));
            assert_eq!(envelope.id().unwrap(), "m");
            let read: P = serde_json::from_str(envelope.payload_text()).unwrap();
            assert_eq!(read, self::read(&plain["payload"]), "{message}");
            assert!(envelope.payload_text().contains("x-unknown"), "the payload is the sender's");
        }
    }
    let hello = json!({
        "client": { "name": "a", "version": "1" },
        "auth": { "scheme": "bearer", "token": "t" },
        "capabilities": { "encodings": ["json"], "features": ["ack"] },
        "resume": { "session_id": "sess_1", "resume_token": "rt_1", "last_event_seq": 1 },
    });
    let welcome = json!({
        "runtime": { "name": "r", "version": "1" },
        "capabilities": { "features": [], "agents": [{ "name": "echo", "versions": [] }, "plain"] },
    });
    check::<Hello>(MessageType::SessionHello, &hello);
    check::<Resume>(MessageType::SessionResume, &hello);
    check::<Welcome>(MessageType::SessionWelcome, &welcome);
    check::<Ack>(MessageType::SessionAck, &json!({ "last_processed_seq": 3 }));
    check::<JobQuery>(MessageType::SessionListJobs, &json!({ "filter": { "status": ["running"] }, "limit": 3 }));
    check::<Jobs>(MessageType::SessionJobs, &json!({ "request_id": "m", "jobs": [{ "job_id": "job_1" }] }));
    check::<SessionError>(MessageType::SessionError, &json!({ "code": "TIMEOUT", "message": "m" }));
    for message in [MessageType::SessionBye, MessageType::SessionClose, MessageType::SessionClosed] {
        check::<Bye>(message, &json!({ "reason": "normal" }));
    }
    check::<JobSubmit>(MessageType::JobSubmit, &json!({ "agent": "echo", "input": 1, "lease_constraints": {} }));
    check::<JobAccepted>(
        MessageType::JobAccepted,
        &json!({ "job_id": "job_1", "credentials": [{ "id": "c", "scheme": "bearer", "value": "v" }] }),
    );
    check::<JobResult>(MessageType::JobResult, &json!({ "final_status": "success", "result": 1 }));
    check::<JobError>(MessageType::JobError, &json!({ "code": "TIMEOUT", "message": "m" }));
    check::<JobCancel>(MessageType::JobCancel, &json!({ "job_id": "job_1" }));
    check::<JobCancelled>(MessageType::JobCancelled, &json!({ "job_id": "job_1" }));
    check::<JobSubscribe>(MessageType::JobSubscribe, &json!({ "job_id": "job_1" }));
    check::<JobSubscribed>(MessageType::JobSubscribed, &json!({ "job_id": "job_1" }));
    check::<JobUnsubscribe>(MessageType::JobUnsubscribe, &json!({ "job_id": "job_1" }));
    let ping = decode(r#"{"type":"session.ping","x":1,"payload":{"nonce":"p","sent_at":"s","x":[{}]}}"#);
    assert_eq!(ping.payload::<Ping<'_>>().unwrap().nonce.unwrap(), "p");
    let pong = decode(r#"{"type":"session.pong","x":1,"payload":{"ping_nonce":"p","received_at":"s","x":[{}]}}"#);
    assert_eq!(pong.payload::<Pong<'_>>().unwrap().ping_nonce.unwrap(), "p");
    let event = decode(r#"{"type":"job.event","x":1,"payload":{"kind":"log","body":{"x":{}},"x":[{}]}}"#);
    assert_eq!(event.payload::<JobEvent<'_>>().unwrap().body.text(), r#"{"x":{}}"#);
}

#[test]
fn d7_unknown_types_are_envelopes_too() {
    for name in ["session.teleport", "job.pause", "x-vendor.acme.note", "ping", "SESSION.BYE"] {
        let envelope = decode(&format!(r#"{{"id":"m","type":"{name}","payload":{{"a":[1,2],"b":null}}}}"#));
        assert_eq!((envelope.type_name().as_ref(), envelope.message_type()), (name, None));
        assert_eq!(envelope.payload_text(), r#"{"a":[1,2],"b":null}"#);
    }
}

#[test]
fn d7_unknown_and_vendor_kinds_pass_untouched() {
    for kind in ["x-vendor.acme.heat", "plan", "LOG"] {
        let body = r#"{ "t" : 1.50, "s":"\u00e9" , "n":null,"t":2 }"#;
        let frame = format!(
            r#"{{"arcp":"1.1","id":"m","type":"job.event","job_id":"job_1","event_seq":3,"payload":{{"kind":"{kind}","ts":"2026-05-13T19:42:13.007Z","body":{body}}}}}"#
        );
        let envelope = decode(&frame);
        assert_eq!(envelope.event_kind().unwrap(), kind);
        let event: JobEvent<'_> = envelope.payload().unwrap();
        assert_eq!((event.kind.as_ref(), event.body.text()), (kind, body));
        let header = Header { job_id: Some("job_1"), event_seq: Some(3), ..Header::new("m", MessageType::JobEvent) };
        assert_eq!(encode(&header, &event).unwrap(), frame, "sent on as it came");
    }
}

#[test]
fn d4_a_trace_id_that_is_none_is_dropped_and_not_its_message() {
    let expected = TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736");
    for (text, expected) in [
        ("\"4bf92f3577b34da6a3ce929d0e0e4736\"", expected),
        ("\"4BF92F3577B34DA6A3CE929D0E0E4736\"", expected),
        ("\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"", expected),
        ("\"4bf92f3577b34da6a3ce929d0e0e473\"", None),
        ("\"0af7651916cd43dd8448eb211c80319g\"", None),
        ("\"trace-7\"", None),
        ("\"\"", None),
    ] {
        let envelope = decode(&format!(r#"{{"type":"session.bye","trace_id":{text}}}"#));
        assert_eq!(envelope.trace_id(), expected, "{text}");
    }
    for trace_id in [json!("trace-7"), json!(7), json!({ "id": "x" }), json!(["x"]), json!(true), json!(1.5)] {
        let accepted: JobAccepted = read(&json!({ "job_id": "job_1", "trace_id": trace_id }));
        assert_eq!(accepted.trace_id, None, "{trace_id}");
    }
}

/// Seen: timestamps with an offset and seven digits, with nine, the year 1, none at all, and no strings.
#[test]
fn timestamps_are_taken_as_they_come() {
    let ts = |ts: Value| {
        let payload = json!({ "kind": "log", "ts": ts, "body": {} }).to_string();
        serde_json::from_str::<JobEvent<'_>>(&payload).unwrap().ts.map(|ts| ts.to_string())
    };
    assert_eq!(ts(json!("2026-05-13T19:42:13.0071234+00:00")).unwrap(), "2026-05-13T19:42:13.007Z");
    assert_eq!(ts(json!("2026-05-13T19:42:13.462202064Z")).unwrap(), "2026-05-13T19:42:13.462Z");
    assert_eq!(ts(json!("2026-05-13T21:42:13+02:00")).unwrap(), "2026-05-13T19:42:13.000Z");
    assert_eq!(ts(json!("0001-01-01T00:00:00Z")).unwrap(), "0001-01-01T00:00:00.000Z");
    for mangled in [json!("yesterday"), json!(""), json!(1_778_701_333), json!({ "sec": 1 }), json!([])] {
        assert_eq!(ts(mangled.clone()), None, "{mangled}");
    }
    let submit = json!({ "agent": "a", "lease_constraints": { "expires_at": "2026-05-13T20:00:00.0000000+00:00" } });
    let until = read::<JobSubmit>(&submit).lease_constraints.unwrap().expires_at.unwrap();
    assert_eq!(until.to_string(), "2026-05-13T20:00:00.000Z");
}

#[test]
fn a7_a_pong_is_never_failed_over_its_timestamp() {
    for received_at in [
        json!("0001-01-01T00:00:00Z"),
        json!("whenever"),
        json!(1_778_701_333),
        json!(-1),
        json!(0.5),
        json!(null),
        json!({ "sec": [1] }),
        json!(false),
    ] {
        let frame = json!({ "type": "session.pong", "payload": { "received_at": received_at, "ping_nonce": "p_1" } });
        let envelope = decode(&frame.to_string());
        let pong: Pong<'_> = envelope.payload().unwrap();
        assert_eq!(pong.ping_nonce.unwrap(), "p_1", "{received_at}");
        let frame = json!({ "type": "session.ping", "payload": { "sent_at": received_at, "nonce": "p_1" } });
        let envelope = decode(&frame.to_string());
        assert_eq!(envelope.payload::<Ping<'_>>().unwrap().nonce.unwrap(), "p_1", "{received_at}");
    }
}

#[test]
fn a4_welcomes_of_the_peers() {
    // No `versions`, no `default`, `bare`; the heartbeat interval without the feature; no `features` at all.
    let welcome: Welcome = read(&json!({
        "runtime": { "name": "arcp-go-runtime", "version": "1.1.0" },
        "resume_token": "01M8208HWGCZWYAE53KZWWHYZR",
        "resume_window_sec": 600,
        "heartbeat_interval_sec": 30,
        "capabilities": {
            "encodings": ["json"],
            "agents": [{ "name": "echo", "bare": true }, { "name": "slowdemo", "versions": ["1.0.0"] }],
        },
    }));
    assert!(welcome.capabilities.features.is_empty());
    assert_eq!(welcome.capabilities.agents[0], AgentInfo { name: "echo".into(), versions: vec![], default: None });
    assert_eq!(welcome.capabilities.agents[1].default, None);
    // Agents as plain strings, among objects.
    let welcome: Welcome =
        read(&json!({ "capabilities": { "agents": ["ech\"o", { "name": "b" }], "features": ["ack"] } }));
    let names: Vec<_> = welcome.capabilities.agents.iter().map(|agent| agent.name.as_str()).collect();
    assert_eq!(names, ["ech\"o", "b"]);
    assert_eq!(welcome.capabilities.features, FeatureSet::none().with(Feature::Ack));
    // Neither runtime nor capabilities; odd numbers of seconds, left to whoever clamps them (D20).
    let welcome: Welcome = read(&json!({ "resume_window_sec": 0.5, "heartbeat_interval_sec": -1e300 }));
    assert_eq!(welcome.runtime.name, "");
    assert_eq!(welcome.resume_window_sec, Some(Seconds(0.5)));
    assert_eq!(welcome.heartbeat_interval_sec, Some(Seconds(-1e300)));
}

/// Whole seconds are integers on the wire: two peers take nothing else.
#[test]
fn a4_whole_seconds_are_sent_as_integers() {
    for (seconds, text) in [(600.0, "600"), (0.0, "0"), (1.5, "1.5"), (-1.0, "-1.0"), (1e300, "1e300")] {
        let written = serde_json::to_string(&Seconds(seconds)).unwrap();
        assert_eq!(written.parse::<f64>().unwrap(), seconds);
        assert_eq!(written.replace('+', ""), text);
    }
}

#[test]
fn a11_pages_of_the_peers() {
    let page: Jobs = read(&json!({ "request_id": "m", "jobs": null }));
    assert_eq!((page.jobs.len(), page.next_cursor), (0, None));
    let page: Jobs = read(&json!({ "reply_to": "m", "jobs": [{ "job_id": "job_1", "created_at": "soon" }] }));
    let job = &page.jobs[0];
    assert_eq!((job.lease.text(), job.agent.as_str(), job.created_at), ("{}", "", None));
    assert_eq!(job.status, JobStatus::Other("".into()), "what was not said is not success");
    assert!(!job.status.is_terminal());
    let page: Jobs = read(&json!({ "jobs": [{ "job_id": "job_1", "status": "paused" }] }));
    assert_eq!(page.jobs[0].status, JobStatus::Other("paused".into()));
}

#[test]
fn d12_jobs_of_the_peers() {
    let accepted: JobAccepted = read(&json!({ "job_id": "job_1", "accepted_at": "2026-11-22T16:09:10.462202064Z" }));
    assert_eq!((accepted.lease, accepted.agent.as_str()), (Lease::default(), ""));
    let child: JobAccepted = read(&json!({ "job_id": "job_2", "parent_job_id": "job_1", "delegate_id": "d_1" }));
    assert_eq!((child.parent_job_id.unwrap(), child.delegate_id.unwrap()), ("job_1".into(), "d_1".into()));
    let subscribed: JobSubscribed = read(&json!({ "job_id": "job_1", "replayed": true }));
    assert!(!subscribed.current_status.is_terminal(), "what was not said is not success");
    let refusal: JobError = read(&json!({ "code": "PROTOCOL_VIOLATION", "message": "no", "reply_to": "m" }));
    assert_eq!((refusal.code.retryable(), refusal.reply_to.as_deref()), (None, Some("m")));
    let refusal: SessionError = read(&json!({ "code": "TIMEOUT", "detail": "text", "correlation_id": "m" }));
    assert_eq!((refusal.message.as_str(), refusal.correlation_id.as_deref()), ("", Some("m")));
    for payload in [json!({}), json!({ "reason": "enough" }), json!({ "job_id": "job_1" })] {
        let _: JobCancelled = read(&payload);
    }
}

#[test]
fn d35_a_result_is_read_under_either_name() {
    for (payload, expected) in [
        (json!({ "result": 1 }), Some("1")),
        (json!({ "output": [2] }), Some("[2]")),
        (json!({ "result": 1, "output": [2] }), Some("1")),
        (json!({ "result": null, "output": [2] }), Some("[2]")),
        (json!({ "final_status": "success" }), None),
    ] {
        let result: JobResult = read(&payload);
        assert_eq!(result.result.as_ref().map(RawJson::text), expected, "{payload}");
    }
}

#[test]
fn event_bodies_of_the_peers() {
    let log: Log = read(&json!({ "level": "DEBUG-4", "message": "m", "fields": { "a": 1 }, "attributes": {} }));
    assert_eq!(log.level, "DEBUG-4");
    let metric: Metric = read(&json!({ "name": "n", "value": 1e-7, "dims": { "a": "b" } }));
    assert_eq!(metric.dimensions.unwrap().text(), r#"{"a":"b"}"#);
    let metric: Metric = read(&json!({ "name": "n", "value": 1, "dims": {}, "dimensions": { "a": "b" } }));
    assert_eq!(metric.dimensions.unwrap().text(), r#"{"a":"b"}"#);
    let call: ToolCall = read(&json!({ "tool": "t", "args": null, "call_id": "c" }));
    assert_eq!(call.args, RawJson::null());
    let result: ToolResult = read(&json!({ "call_id": "c", "result": null }));
    assert_eq!((result.result, result.error), (None, None));
    let status: Status = read(&json!({ "phase": "back_pressure", "details": { "threshold": 1000 } }));
    assert_eq!(status.phase, "back_pressure");
    let event: JobEvent<'_> = serde_json::from_str(r#"{"kind":"log"}"#).unwrap();
    assert_eq!((event.ts, event.body.text()), (None, "{}"));
}

/// A resume as each peer writes it (D13).
#[test]
fn d13_resumes_of_the_peers() {
    let object: Hello = read(&json!({ "resume": { "session_id": "s", "resume_token": "t", "last_event_seq": 3 } }));
    let claim = object.resume.unwrap();
    assert_eq!((claim.resume_token.unwrap().reveal(), claim.last_event_seq), ("t", Some(3)));
    let flat: Hello = read(&json!({ "resume_token": "t", "last_event_seq": 3 }));
    assert_eq!((flat.resume_token.unwrap().reveal(), flat.last_event_seq), ("t", Some(3)));
    let token: Hello = read(&json!({ "resume": { "token": "t", "last_event_seq": 3 }, "client_name": "c" }));
    let claim = token.resume.unwrap();
    assert_eq!((claim.resume_token, claim.token.unwrap().reveal()), (None, "t"));
    let resume: Resume = read(&json!({ "resume_token": "t" }));
    assert_eq!((resume.last_event_seq, resume.auth), (None, None));
}
