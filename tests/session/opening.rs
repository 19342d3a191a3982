//! The first message of a transport, as a runtime reads it: its form and size, the refusals, every form of a resume.

use std::sync::Arc;

use arcp_proto::wire::{Credentials, Envelope, ErrorCode, PeerInfo, ResumeToken, WireError};
use arcp_proto::{ClientEvent, Feature, FeatureSet, Hello, Limits, Opening, Phase, Refusal, ResumeAttempt, Session};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::pair::{
    Pair, client_config, client_events, grant, only, principal, runtime_config, runtime_events, secs, sent, sent_json,
    start, token,
};

fn parse(message: &Value) -> Result<Opening, Refusal> {
    parse_text(&message.to_string())
}

fn parse_text(message: &str) -> Result<Opening, Refusal> {
    Opening::parse(Bytes::from(message.to_owned()), &Limits::default())
}

fn hello_of(message: &Value) -> Hello {
    match parse(message) {
        Ok(Opening::Hello(hello)) => hello,
        other => panic!("not a hello: {other:?}"),
    }
}

fn attempt_of(message: &Value) -> ResumeAttempt {
    match parse(message) {
        Ok(Opening::Resume(attempt)) => attempt,
        other => panic!("not a resume: {other:?}"),
    }
}

/// The `session.error` with which an opening is refused, after what holds for every one of them (D11).
fn refusal(message: &Value) -> Value {
    refusal_of(parse(message))
}

fn refusal_of(opening: Result<Opening, Refusal>) -> Value {
    let refusal = opening.expect_err("it is refused");
    let code = refusal.error().code.to_string();
    let frame = as_refusal(refusal.into_message(start()));
    assert_eq!(frame["payload"]["code"], code.as_str());
    frame
}

fn as_refusal(frame: Bytes) -> Value {
    Envelope::decode(frame.clone()).expect("a refusal is an envelope");
    let frame: Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!(frame["type"], "session.error");
    assert_eq!(frame["arcp"], "1.1");
    assert!(frame["id"].as_str().unwrap().starts_with("msg_"), "{frame}");
    assert!(!frame["session_id"].as_str().expect("two peers drop it otherwise").is_empty());
    let payload = &frame["payload"];
    let code = ErrorCode::from(payload["code"].as_str().unwrap());
    assert!(ErrorCode::ALL.contains(&code), "{frame}");
    assert_eq!(payload["retryable"].as_bool(), code.retryable(), "{frame}");
    assert!(!payload["message"].as_str().unwrap().is_empty());
    assert!(!frame.to_string().contains("null"), "{frame}");
    frame
}

fn good_payload() -> Value {
    json!({
        "client": {"name": "my-app", "version": "1.0.0"},
        "auth": {"scheme": "bearer", "token": "secret"},
        "capabilities": {"encodings": ["json"], "features": ["ack"]},
    })
}

fn hello(payload: &Value) -> Value {
    json!({"arcp": "1.1", "id": "m1", "type": "session.hello", "payload": payload})
}

/// The good hello with some members of its payload replaced; null removes one.
fn hello_with(changes: Value) -> Value {
    hello(&changed(good_payload(), changes))
}

fn changed(mut payload: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    for (name, value) in changes {
        payload[name] = value;
    }
    payload
}

fn resume_message(payload: &Value) -> Value {
    json!({"arcp": "1.1", "id": "m1", "type": "session.resume", "session_id": "sess_1", "payload": payload})
}

/// A session that has sent three events to a transport which is gone; its token is `token(1)`.
fn detached() -> Pair {
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(3);
    pair.flush();
    pair.cut();
    pair
}

/// Resumes [`detached`] by this message; what is sent on the new transport.
fn resumed_by(message: &Value) -> Vec<Value> {
    let mut pair = detached();
    let now = pair.now;
    let runtime = pair.runtime();
    let attempt = attempt_of(message);
    runtime.resume(now, attempt, &principal(), token(2)).unwrap_or_else(|refused| panic!("{refused:?}: {message}"));
    sent_json(runtime, now)
}

fn seqs(frames: &[Value]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame["event_seq"].as_u64()).collect()
}

const GUIDE_HELLO: &str = r#"{"type":"session.hello","payload":{"client":{"name":"my-app","version":"1.0.0"},"auth":{"scheme":"bearer","token":"..."},"capabilities":{"encodings":["json"],"features":["heartbeat","ack","subscribe","result_chunk","..."]}}}"#;
const GUIDE_WELCOME: &str = r#"{"type":"session.welcome","session_id":"sess_01J...","payload":{"runtime":{"name":"my-runtime","version":"1.1.0"},"resume_token":"rt_...","resume_window_sec":600,"heartbeat_interval_sec":30,"capabilities":{"encodings":["json"],"features":["heartbeat","ack","..."],"agents":[{"name":"code-refactor","versions":["1.0.0","2.0.0"],"default":"2.0.0"}]}}}"#;

/// As printed on one line, and over several lines with LF or CRLF.
fn printed(envelope: &str) -> [String; 3] {
    let value: Value = serde_json::from_str(envelope).unwrap();
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    let crlf = pretty.replace('\n', "\r\n");
    [envelope.to_owned(), pretty, crlf]
}

#[test]
fn a3_the_guides_hello_as_printed_opens_a_session() {
    for text in printed(GUIDE_HELLO) {
        let Ok(Opening::Hello(hello)) = parse_text(&text) else { panic!("refused: {text}") };
        assert_eq!(hello.peer(), &PeerInfo::new("my-app", "1.0.0"));
        assert_eq!(hello.credentials(), &Credentials::bearer("..."));
        let wanted = [Feature::Heartbeat, Feature::Ack, Feature::Subscribe, Feature::ResultChunk];
        assert_eq!(hello.features().iter().collect::<Vec<_>>(), wanted);
        assert_eq!(hello.features().unknown().collect::<Vec<_>>(), ["..."]);

        let mut session = hello.accept(start(), Arc::new(runtime_config()), grant());
        assert_eq!(session.features(), &only(&wanted));
        let frames = sent_json(&mut session, start());
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0]["payload"]["capabilities"]["features"], json!(wanted.map(Feature::name)));
        assert_eq!(session.phase(), Phase::Open);
    }
}

#[test]
fn a4_the_guides_welcome_as_printed_completes_a_handshake() {
    for text in printed(GUIDE_WELCOME) {
        let mut client = Session::connect(start(), client_config());
        assert_eq!(sent(&mut client, start()).len(), 1);
        client.handle_input(start(), Bytes::from(text));
        let events = client_events(&mut client);
        let [ClientEvent::Connected(info)] = &events[..] else { panic!("not connected: {events:?}") };
        assert_eq!(info.session_id, "sess_01J...");
        assert_eq!(info.runtime, PeerInfo::new("my-runtime", "1.1.0"));
        assert_eq!(info.features, only(&[Feature::Heartbeat, Feature::Ack]));
        assert_eq!(info.heartbeat_interval, Some(secs(30)));
        assert_eq!(info.resume_window, secs(600));
        assert_eq!(info.agents.len(), 1);
        assert_eq!(info.agents[0].name, "code-refactor");
        assert_eq!(info.agents[0].versions, ["1.0.0", "2.0.0"]);
        assert_eq!(info.agents[0].default.as_deref(), Some("2.0.0"));
        assert_eq!(client.resume_token().map(ResumeToken::reveal), Some("rt_..."));
        assert_eq!(client.session_id().map(|id| id.as_str()), Some("sess_01J..."));
        assert_eq!(client.phase(), Phase::Open);
    }
}

/// The two of the guide, one for each side of one session: our client reads the welcome that the guide has, our runtime
/// the hello, and both go on from there.
#[test]
fn a3_a4_the_guides_envelopes_drive_a_whole_handshake() {
    for (hello_text, welcome_text) in printed(GUIDE_HELLO).into_iter().zip(printed(GUIDE_WELCOME)) {
        let Ok(Opening::Hello(hello)) = parse_text(&hello_text) else { panic!("refused: {hello_text}") };
        let mut grant = grant();
        grant.session_id = "sess_01J...".into();
        let mut runtime = hello.accept(start(), Arc::new(runtime_config()), grant);
        assert_eq!(sent(&mut runtime, start()).len(), 1);
        let mut client = Session::connect(start(), client_config());
        let _ = sent(&mut client, start());
        client.handle_input(start(), Bytes::from(welcome_text));
        // Pings and pongs pass between the two.
        let later = start().after(secs(30));
        client.handle_timeout(later);
        runtime.handle_timeout(later);
        let (pings, back) = (sent(&mut client, later), sent(&mut runtime, later));
        assert_eq!((pings.len(), back.len()), (1, 1));
        runtime.handle_input(later, pings[0].clone());
        client.handle_input(later, back[0].clone());
        assert_eq!(sent_json(&mut runtime, later)[0]["type"], "session.pong");
        assert_eq!(sent_json(&mut client, later)[0]["type"], "session.pong");
        assert!(runtime_events(&mut runtime).is_empty());
        assert!(matches!(client_events(&mut client)[..], [ClientEvent::Connected(_)]));
    }
}

#[test]
fn a3_our_own_hello_has_the_guides_shape() {
    let mut client = Session::connect(start(), client_config());
    let frames = sent_json(&mut client, start());
    let [hello] = &frames[..] else { panic!("one hello: {frames:?}") };
    let features: Vec<_> = Feature::ALL.iter().map(|feature| feature.name()).collect();
    assert_eq!(
        hello["payload"],
        json!({
            "client": {"name": "my-app", "version": "1.0.0"},
            "auth": {"scheme": "bearer", "token": "secret-bearer"},
            "capabilities": {"encodings": ["json"], "features": features},
        })
    );
    assert_eq!(hello["arcp"], "1.1");
    assert_eq!(hello["type"], "session.hello");
    assert!(hello["id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!(hello.get("session_id"), None, "a hello names no session");
    assert_eq!(hello.as_object().unwrap().len(), 4);
}

#[test]
fn a4_our_own_welcome_has_the_guides_shape() {
    let mut session = hello_of(&hello(&good_payload())).accept(start(), Arc::new(runtime_config()), grant());
    let frames = sent_json(&mut session, start());
    let [welcome] = &frames[..] else { panic!("one welcome: {frames:?}") };
    assert_eq!(
        welcome["payload"],
        json!({
            "runtime": {"name": "my-runtime", "version": "1.1.0"},
            "resume_token": token(1).reveal(),
            "resume_window_sec": 600,
            "capabilities": {
                "encodings": ["json"],
                "features": ["ack"],
                "agents": [{"name": "code-refactor", "versions": ["1.0.0", "2.0.0"], "default": "2.0.0"}],
            },
        })
    );
    assert_eq!(welcome["session_id"], "sess_1");
    assert_eq!(welcome["type"], "session.welcome");
    let heartbeat = hello_with(json!({"capabilities": {"features": ["heartbeat"]}}));
    let mut session = hello_of(&heartbeat).accept(start(), Arc::new(runtime_config()), grant());
    assert_eq!(sent_json(&mut session, start())[0]["payload"]["heartbeat_interval_sec"], json!(30));
}

#[test]
fn a3_a_hello_tells_who_asks_for_what_by_which_proof() {
    let hello = hello_of(&hello(&good_payload()));
    assert_eq!(hello.peer(), &PeerInfo::new("my-app", "1.0.0"));
    assert_eq!(hello.credentials(), &Credentials::bearer("secret"));
    assert_eq!(hello.features(), &only(&[Feature::Ack]));
    let session = hello.accept(start(), Arc::new(runtime_config()), grant());
    assert_eq!(session.peer(), &PeerInfo::new("my-app", "1.0.0"));
    assert_eq!(session.principal(), &principal());
}

// D9: form and size of the first frame.

#[test]
fn d9_the_first_message_is_a_hello_or_a_resume_and_nothing_else() {
    let others = [
        "session.welcome",
        "session.ping",
        "session.pong",
        "session.ack",
        "session.list_jobs",
        "session.jobs",
        "session.error",
        "session.bye",
        "session.close",
        "session.closed",
        "session.motd",
        "job.submit",
        "job.event",
        "job.cancel",
        "job.subscribe",
        "job.unsubscribe",
        "x-vendor.hello",
        "Session.Hello",
        "hello",
    ];
    for other in others {
        let mut message = hello(&good_payload());
        message["type"] = json!(other);
        let frame = refusal(&message);
        assert_eq!(frame["payload"]["code"], "INVALID_REQUEST", "{other}");
        assert_eq!(frame["payload"]["request_id"], "m1", "{other}");
    }
}

#[test]
fn d9_what_is_no_envelope_is_refused() {
    for text in [
        "",
        " ",
        "\n",
        "hello",
        "null",
        "1",
        "[]",
        "\"session.hello\"",
        "{",
        "{}",
        r#"{"type":""}"#,
        r#"{"type":5}"#,
        r#"{"id":"m1","payload":{}}"#,
        r#"{"type":"session.hello","payload":[]}"#,
        r#"{"type":"session.hello","payload":"x"}"#,
        r#"{"type":"session.hello"}trailing"#,
    ] {
        let frame = refusal_of(parse_text(text));
        assert_eq!(frame["payload"]["code"], "INVALID_REQUEST", "{text}");
    }
    let not_utf8 = Bytes::from_static(b"{\"type\":\"session.hello\",\"payload\":{\"client\":\"\xff\"}}");
    let frame = refusal_of(Opening::parse(not_utf8, &Limits::default()));
    assert_eq!(frame["payload"]["code"], "INVALID_REQUEST");
}

#[test]
fn d9_a_member_of_the_wrong_type_is_refused() {
    for changes in [
        json!({"client": "my-app"}),
        json!({"client": {"name": 5}}),
        json!({"auth": "secret"}),
        json!({"auth": {"scheme": "bearer", "token": 7}}),
        json!({"capabilities": {"features": "ack"}}),
        json!({"capabilities": {"features": [1]}}),
        json!({"capabilities": {"encodings": "json"}}),
        json!({"resume": "rt"}),
        json!({"resume_token": 7}),
    ] {
        let frame = refusal(&hello_with(changes.clone()));
        assert_eq!(frame["payload"]["code"], "INVALID_REQUEST", "{changes}");
        assert_eq!(frame["payload"]["request_id"], "m1", "{changes}");
    }
}

fn hello_of_length(len: usize) -> Bytes {
    let empty = hello_with(json!({"padding": ""})).to_string();
    let text = hello_with(json!({"padding": "x".repeat(len - empty.len())})).to_string();
    assert_eq!(text.len(), len);
    Bytes::from(text)
}

#[test]
fn d9_the_first_frame_has_at_most_64_kib() {
    let limits = Limits::default();
    assert!(matches!(Opening::parse(hello_of_length(65_535), &limits), Ok(Opening::Hello(_))));
    assert!(matches!(Opening::parse(hello_of_length(65_536), &limits), Ok(Opening::Hello(_))));
    let frame = refusal_of(Opening::parse(hello_of_length(65_537), &limits));
    assert_eq!(frame["payload"]["code"], "INVALID_REQUEST");
    // Nothing is taken from it, not even its id.
    assert_eq!(frame["payload"].get("request_id"), None);
}

#[test]
fn d9_the_limit_of_the_first_frame_is_configurable() {
    let limits = Limits { opening_frame: 1_000, ..Limits::default() };
    assert!(Opening::parse(hello_of_length(1_000), &limits).is_ok());
    assert!(Opening::parse(hello_of_length(1_001), &limits).is_err());
    let limits = Limits { opening_frame: 100_000, ..Limits::default() };
    assert!(Opening::parse(hello_of_length(100_000), &limits).is_ok());
    // A frame that is too long at any time is too long at first, too.
    let limits = Limits { max_frame: 1_000, ..Limits::default() };
    assert!(Opening::parse(hello_of_length(1_000), &limits).is_ok());
    assert!(Opening::parse(hello_of_length(1_001), &limits).is_err());
}

#[test]
fn d1_a_hello_of_another_version_is_refused() {
    for version in [json!("1.0"), json!("1"), json!("2"), json!(""), json!("1.1 "), json!(1.1), json!(["1.1"])] {
        let mut message = hello(&good_payload());
        message["arcp"] = version.clone();
        let frame = refusal(&message);
        assert_eq!(frame["payload"]["code"], "INVALID_REQUEST", "{version}");
        assert_eq!(frame["payload"]["request_id"], "m1", "{version}");
    }
}

#[test]
fn d1_a_hello_without_a_version_is_taken() {
    let mut message = hello(&good_payload());
    message["arcp"] = Value::Null;
    hello_of(&message);
    message.as_object_mut().unwrap().remove("arcp");
    hello_of(&message);
    message["arcp"] = json!("1.1");
    hello_of(&message);
}

#[test]
fn d2_null_is_absent_in_a_hello() {
    let message = json!({
        "arcp": null, "id": null, "type": "session.hello", "session_id": null, "trace_id": null, "job_id": null,
        "event_seq": null,
        "payload": {
            "client": null, "auth": {"scheme": "bearer", "token": "secret"}, "capabilities": null, "resume": null,
            "resume_token": null, "last_event_seq": null, "client_name": null, "client_version": null,
        },
    });
    let hello = hello_of(&message);
    assert_eq!(hello.peer(), &PeerInfo::default());
    assert!(hello.features().is_empty());
    let nested = hello_with(json!({
        "client": {"name": null, "version": null}, "capabilities": {"encodings": null, "features": null},
    }));
    let hello = hello_of(&nested);
    assert_eq!(hello.peer(), &PeerInfo::default());
    assert!(hello.features().is_empty());
}

#[test]
fn d6_unknown_members_of_a_hello_are_ignored_at_every_level() {
    let mut message = hello_with(json!({
        "client": {"name": "my-app", "version": "1.0.0", "fingerprint": "f", "principal": {"id": 1}},
        "auth": {"scheme": "bearer", "token": "secret", "realm": []},
        "capabilities": {"encodings": ["json"], "features": ["ack"], "streaming": true, "agents": [1]},
        "resume_hint": {"a": [null]},
    }));
    for (name, value) in [("timestamp", json!("now")), ("extensions", json!({"x": 1})), ("span_id", json!(7))] {
        message[name] = value;
    }
    let hello = hello_of(&message);
    assert_eq!(hello.peer(), &PeerInfo::new("my-app", "1.0.0"));
    assert_eq!(hello.features(), &only(&[Feature::Ack]));
    let with_more = changed(good_payload(), json!({"resume": {"resume_token": "rt_a", "epoch": 4, "buffer": null}}));
    assert_eq!(attempt_of(&self::hello(&with_more)).token().reveal(), "rt_a");
}

// D40 and the flat form of one peer.

#[test]
fn d40_a_flat_client_name_is_accepted() {
    let flat = hello_with(json!({"client": null, "client_name": "ruby-app", "client_version": "0.9"}));
    assert_eq!(hello_of(&flat).peer(), &PeerInfo::new("ruby-app", "0.9"));
    let name_only = hello_with(json!({"client": null, "client_name": "ruby-app"}));
    assert_eq!(hello_of(&name_only).peer(), &PeerInfo::new("ruby-app", ""));
    // Who sends both is taken at the draft's word.
    let both = hello_with(json!({"client_name": "flat", "client_version": "0"}));
    assert_eq!(hello_of(&both).peer(), &PeerInfo::new("my-app", "1.0.0"));
    let flat_resume = hello_with(json!({"client": null, "client_name": "ruby-app", "resume": {"token": "rt_a"}}));
    assert_eq!(attempt_of(&flat_resume).peer(), &PeerInfo::new("ruby-app", ""));
}

// D11: refusals before the welcome.

#[test]
fn d11_a_refusal_names_the_session_of_the_hello() {
    let mut message = hello_with(json!({"auth": null}));
    message["session_id"] = json!("sess_of_the_peer");
    assert_eq!(refusal(&message)["session_id"], "sess_of_the_peer");
    message["type"] = json!("session.ping");
    assert_eq!(refusal(&message)["session_id"], "sess_of_the_peer");
    message["type"] = json!("session.resume");
    assert_eq!(refusal(&message)["session_id"], "sess_of_the_peer");
}

#[test]
fn d11_a_refused_resume_names_the_session_that_the_hello_names_in_it() {
    let unauthenticated = hello_with(json!({
        "auth": null, "resume": {"session_id": "sess_old", "resume_token": "rt_a", "last_event_seq": 3},
    }));
    assert_eq!(refusal(&unauthenticated)["session_id"], "sess_old");
    let disagreeing = hello_with(json!({
        "resume": {"session_id": "sess_old", "resume_token": "rt_a"}, "resume_token": "rt_b",
    }));
    assert_eq!(refusal(&disagreeing)["session_id"], "sess_old");
    let too_long = hello_with(json!({"auth": null, "resume": {"session_id": "s".repeat(257), "resume_token": "rt_a"}}));
    assert!(refusal(&too_long)["session_id"].as_str().unwrap().starts_with("sess_"));
    let unknown = hello_with(json!({"resume": {"session_id": "sess_old", "resume_token": "rt_a"}}));
    let frame = as_refusal(attempt_of(&unknown).refuse(start(), arcp_proto::ResumeRefused::expired()));
    assert_eq!(frame["session_id"], "sess_old");
    assert_eq!(frame["payload"]["code"], "RESUME_WINDOW_EXPIRED");
}

#[test]
fn d11_a_refusal_of_a_hello_without_a_session_names_a_throw_away_one() {
    for message in [hello_with(json!({"auth": null})), json!({"type": "session.ping"}), json!({"id": "m1"})] {
        let frame = refusal(&message);
        assert!(frame["session_id"].as_str().unwrap().starts_with("sess_"), "{frame}");
        assert_ne!(frame["session_id"], "sess_1");
    }
}

#[test]
fn d11_a_refusal_names_the_request_where_it_has_an_id() {
    let mut message = hello_with(json!({"auth": null}));
    assert_eq!(refusal(&message)["payload"]["request_id"], "m1");
    message["id"] = json!("another \"id\"");
    assert_eq!(refusal(&message)["payload"]["request_id"], "another \"id\"");
    message.as_object_mut().unwrap().remove("id");
    assert_eq!(refusal(&message)["payload"].get("request_id"), None);
    // Even of a frame that is no envelope, if that much can be read.
    assert_eq!(refusal(&json!({"id": "m7", "type": 5}))["payload"]["request_id"], "m7");
}

#[test]
fn d11_the_application_refuses_a_hello_or_a_resume_with_its_own_error() {
    let error = || WireError::new(ErrorCode::Unauthenticated, "no such key");
    let mut message = hello(&good_payload());
    message["session_id"] = json!("sess_9");
    let frame = as_refusal(hello_of(&message).refuse(start(), error()));
    assert_eq!(frame["payload"]["code"], "UNAUTHENTICATED");
    assert_eq!(frame["payload"]["message"], "no such key");
    assert_eq!(frame["payload"]["request_id"], "m1");
    assert_eq!(frame["session_id"], "sess_9");
    let resume = resume_message(&changed(good_payload(), json!({"resume_token": "rt_a"})));
    let frame = as_refusal(attempt_of(&resume).refuse(start(), error()));
    assert_eq!(frame["payload"]["code"], "UNAUTHENTICATED");
    assert_eq!(frame["session_id"], "sess_1");
}

#[test]
fn d11_a_refusal_has_one_of_the_15_codes_its_retryable_and_a_message() {
    for code in ErrorCode::ALL {
        // As `as_refusal` checks: neither the wrong flag nor the empty message get through.
        let error = WireError {
            retryable: code.retryable() != Some(true),
            message: String::new(),
            ..WireError::new(code.clone(), "x")
        };
        let frame = as_refusal(hello_of(&hello(&good_payload())).refuse(start(), error));
        assert_eq!(frame["payload"]["code"], code.as_str());
    }
    for (retryable, expected) in [(true, "INTERNAL_ERROR"), (false, "INVALID_REQUEST")] {
        let mut error = WireError::new(ErrorCode::from("RATE_LIMITED"), "slow down");
        error.retryable = retryable;
        let frame = as_refusal(hello_of(&hello(&good_payload())).refuse(start(), error));
        assert_eq!(frame["payload"]["code"], expected);
        assert_eq!(frame["payload"]["message"], "slow down");
    }
}

#[test]
fn d3_a_refusal_does_not_repeat_a_secret() {
    for changes in [
        json!({"auth": "secret-bearer"}),
        json!({"auth": {"scheme": "bearer", "token": ["secret-bearer"]}}),
        json!({"resume": "secret-resume"}),
        json!({"client": "secret-by-mistake"}),
    ] {
        let refusal = parse(&hello_with(changes)).unwrap_err();
        assert!(!format!("{refusal:?}").contains("secret"), "{refusal:?}");
        assert!(!refusal.error().to_string().contains("secret"), "{refusal:?}");
        let frame = refusal.into_message(start());
        assert!(!String::from_utf8_lossy(&frame).contains("secret"), "{frame:?}");
    }
}

// UNAUTHENTICATED.

#[test]
fn d13_an_opening_without_usable_credentials_is_unauthenticated() {
    let bad = [
        Value::Null,
        json!({"scheme": "bearer"}),
        json!({"scheme": "bearer", "token": null}),
        json!({"scheme": "bearer", "token": ""}),
        json!({"scheme": ""}),
        json!({"scheme": "", "token": "secret"}),
    ];
    for auth in bad {
        let changes = json!({"auth": auth, "resume_token": "rt_a"});
        let messages = [
            hello_with(json!({"auth": auth})),
            hello_with(changes.clone()),
            hello_with(json!({"auth": auth, "resume": {"resume_token": "rt_a"}})),
            resume_message(&changed(good_payload(), changes)),
        ];
        for message in messages {
            let frame = refusal(&message);
            assert_eq!(frame["payload"]["code"], "UNAUTHENTICATED", "{message}");
            assert_eq!(frame["payload"]["retryable"], false);
            assert_eq!(frame["payload"]["request_id"], "m1");
        }
    }
    let absent = json!({"type": "session.hello", "id": "m1", "payload": {}});
    assert_eq!(refusal(&absent)["payload"]["code"], "UNAUTHENTICATED");
    let bare = json!({"type": "session.resume", "id": "m1", "payload": {"resume_token": "rt_a", "last_event_seq": 0}});
    assert_eq!(refusal(&bare)["payload"]["code"], "UNAUTHENTICATED");
    // Who cannot say who it is learns nothing about the rest of what it said (D14's order).
    let all_wrong = hello_with(json!({
        "auth": null, "capabilities": {"encodings": ["cbor"]}, "resume": {"resume_token": "a"}, "resume_token": "b",
    }));
    assert_eq!(refusal(&all_wrong)["payload"]["code"], "UNAUTHENTICATED");
}

#[test]
fn a3_another_scheme_is_for_the_application_to_judge() {
    let hello = hello_of(&hello_with(json!({"auth": {"scheme": "mtls"}})));
    assert_eq!(hello.credentials().scheme, "mtls");
    assert_eq!(hello.credentials().token, None);
}

// D20: encodings, features.

#[test]
fn d20_a_hello_that_cannot_be_spoken_to_in_json_is_refused() {
    for encodings in [json!(["cbor"]), json!(["JSON"]), json!([""]), json!(["msgpack", "cbor"])] {
        let capabilities = json!({"capabilities": {"encodings": encodings, "features": ["ack"]}});
        let with_token = changed(good_payload(), changed(capabilities.clone(), json!({"resume_token": "rt_a"})));
        for message in [hello_with(capabilities), hello(&with_token), resume_message(&with_token)] {
            let frame = refusal(&message);
            assert_eq!(frame["payload"]["code"], "INVALID_REQUEST", "{message}");
        }
    }
}

#[test]
fn d20_json_among_the_encodings_is_enough_and_so_is_silence() {
    for capabilities in [
        json!({"encodings": ["json"]}),
        json!({"encodings": ["cbor", "json"]}),
        json!({"encodings": []}),
        json!({"encodings": null}),
        json!({}),
        Value::Null,
    ] {
        let mut session = hello_of(&hello_with(json!({"capabilities": capabilities}))).accept(
            start(),
            Arc::new(runtime_config()),
            grant(),
        );
        let welcome = &sent_json(&mut session, start())[0];
        assert_eq!(welcome["payload"]["capabilities"]["encodings"], json!(["json"]), "{capabilities}");
        assert_eq!(welcome["payload"]["capabilities"]["features"], json!([]), "{capabilities}");
    }
}

#[test]
fn d13_absent_features_in_a_hello_are_none() {
    for capabilities in [Value::Null, json!({}), json!({"features": null}), json!({"features": []})] {
        let session = hello_of(&hello_with(json!({"capabilities": capabilities}))).accept(
            start(),
            Arc::new(runtime_config()),
            grant(),
        );
        assert_eq!(session.features(), &FeatureSet::none(), "{capabilities}");
    }
}

// D13: every accepted form of a resume.

fn without(mut message: Value, member: &str) -> Value {
    message["payload"].as_object_mut().unwrap().remove(member);
    message
}

/// Every form in which a peer may say that it has all up to `last` of the session with `token(1)`.
fn resume_forms(last: u64) -> Vec<Value> {
    let rt = token(1).reveal().to_owned();
    let flat = json!({"resume_token": rt, "last_event_seq": last});
    vec![
        hello_with(json!({"resume": {"session_id": "sess_1", "resume_token": rt, "last_event_seq": last}})),
        hello_with(json!({"resume": {"resume_token": rt, "last_event_seq": last}})),
        hello_with(flat.clone()),
        hello_with(json!({"resume": {"token": rt, "last_event_seq": last}})),
        hello_with(
            json!({"resume": {"session_id": "sess_1", "token": rt, "resume_token": rt, "last_event_seq": last}}),
        ),
        hello_with(json!({
            "resume": {"session_id": "sess_1", "resume_token": rt, "last_event_seq": last},
            "resume_token": rt, "last_event_seq": last,
        })),
        hello_with(json!({"resume": {"resume_token": rt}, "last_event_seq": last})),
        hello_with(json!({"resume": {"last_event_seq": last}, "resume_token": rt})),
        hello_with(json!({"resume": {"session_id": null, "resume_token": null, "token": rt, "last_event_seq": null},
            "resume_token": null, "last_event_seq": last})),
        resume_message(&changed(good_payload(), flat.clone())),
        json!({"type": "session.resume", "payload": changed(good_payload(), flat)}),
    ]
}

#[test]
fn d13_every_form_of_a_resume_resumes() {
    for last in 0..=3 {
        for form in resume_forms(last) {
            let frames = resumed_by(&form);
            assert_eq!(frames[0]["type"], "session.welcome", "{form}");
            assert_eq!(frames[0]["session_id"], "sess_1", "{form}");
            assert_eq!(frames[0]["payload"]["resume_token"], token(2).reveal(), "{form}");
            assert_eq!(seqs(&frames), (last + 1..=3).collect::<Vec<_>>(), "{form}");
        }
    }
}

#[test]
fn d13_a_resume_tells_its_parts() {
    for form in resume_forms(2) {
        let attempt = attempt_of(&form);
        assert_eq!(attempt.token(), &token(1));
        assert_eq!(attempt.last_event_seq(), 2);
        assert_eq!(attempt.credentials(), &Credentials::bearer("secret"));
        assert_eq!(attempt.peer(), &PeerInfo::new("my-app", "1.0.0"));
        assert_eq!(attempt.features(), Some(&only(&[Feature::Ack])));
    }
    assert_eq!(attempt_of(&resume_forms(0)[0]).session_id().map(|id| id.as_str()), Some("sess_1"));
    assert_eq!(attempt_of(&resume_forms(0)[1]).session_id(), None);
}

#[test]
fn d13_an_absent_last_event_seq_is_0() {
    for form in resume_forms(0) {
        let mut form = without(form, "last_event_seq");
        if let Some(resume) = form["payload"].get_mut("resume") {
            resume.as_object_mut().unwrap().remove("last_event_seq");
        }
        assert_eq!(attempt_of(&form).last_event_seq(), 0, "{form}");
        assert_eq!(seqs(&resumed_by(&form)), [1, 2, 3], "{form}");
    }
}

#[test]
fn d13_forms_that_disagree_are_refused() {
    for changes in [
        json!({"resume": {"resume_token": "rt_a"}, "resume_token": "rt_b"}),
        json!({"resume": {"token": "rt_a"}, "resume_token": "rt_b"}),
        json!({"resume": {"token": "rt_a", "resume_token": "rt_b"}}),
        json!({"resume": {"token": "rt_a", "resume_token": "rt_a"}, "resume_token": "rt_b"}),
        json!({"resume": {"token": "rt_b", "resume_token": "rt_a"}, "resume_token": "rt_a"}),
        json!({"resume": {"resume_token": "rt_a", "last_event_seq": 3}, "resume_token": "rt_a", "last_event_seq": 2}),
        json!({"resume": {"resume_token": "rt_a", "last_event_seq": 0}, "last_event_seq": 1}),
    ] {
        let frame = refusal(&hello_with(changes.clone()));
        assert_eq!(frame["payload"]["code"], "INVALID_REQUEST", "{changes}");
        assert_eq!(frame["payload"]["request_id"], "m1");
    }
}

#[test]
fn d13_a_resume_without_a_token_is_refused() {
    for message in [
        hello_with(json!({"resume": {}})),
        hello_with(json!({"resume": {"session_id": "sess_1", "last_event_seq": 3}})),
        hello_with(json!({"resume": {"resume_token": ""}})),
        hello_with(json!({"resume": {"token": null}})),
        resume_message(&good_payload()),
        resume_message(&changed(good_payload(), json!({"resume_token": ""}))),
    ] {
        assert_eq!(refusal(&message)["payload"]["code"], "INVALID_REQUEST", "{message}");
    }
}

#[test]
fn d13_a_last_event_seq_alone_makes_no_resume() {
    hello_of(&hello_with(json!({"last_event_seq": 0})));
    hello_of(&hello_with(json!({"last_event_seq": 7, "resume": null})));
}

#[test]
fn d13_a_place_that_is_no_sequence_number_is_refused() {
    let limit = 1_u64 << 53;
    for last in [json!(limit), json!(u64::MAX), json!(-1), json!(1.5), json!("3"), json!([])] {
        for message in [
            hello_with(json!({"resume": {"resume_token": "rt_a", "last_event_seq": last}})),
            hello_with(json!({"resume_token": "rt_a", "last_event_seq": last})),
            resume_message(&changed(good_payload(), json!({"resume_token": "rt_a", "last_event_seq": last}))),
        ] {
            assert_eq!(refusal(&message)["payload"]["code"], "INVALID_REQUEST", "{message}");
        }
    }
    let highest = hello_with(json!({"resume_token": "rt_a", "last_event_seq": limit - 1}));
    assert_eq!(attempt_of(&highest).last_event_seq(), limit - 1);
}

#[test]
fn d13_features_are_negotiated_anew_only_where_a_resume_carries_capabilities() {
    let base = json!({"resume_token": token(1).reveal(), "last_event_seq": 3});
    let all: Vec<_> = Feature::ALL.iter().map(|feature| feature.name()).collect();
    for (capabilities, expected) in [
        (None, all.clone()),
        (Some(Value::Null), all.clone()),
        (Some(json!({})), vec![]),
        (Some(json!({"encodings": ["json"]})), vec![]),
        (Some(json!({"features": null})), vec![]),
        (Some(json!({"features": []})), vec![]),
        (Some(json!({"features": ["x", "subscribe", "ack"]})), vec!["ack", "subscribe"]),
    ] {
        let mut payload = changed(good_payload(), base.clone());
        payload.as_object_mut().unwrap().remove("capabilities");
        if let Some(capabilities) = &capabilities {
            payload["capabilities"] = capabilities.clone();
        }
        for message in [hello(&payload), resume_message(&payload)] {
            let frames = resumed_by(&message);
            assert_eq!(frames[0]["payload"]["capabilities"]["features"], json!(expected), "{message}");
        }
    }
}

// D3 and D16: whose session id it is.

#[test]
fn d3_a_session_id_in_a_hello_is_ignored() {
    let mut message = hello_with(json!({"session_id": "sess_chosen"}));
    message["session_id"] = json!("sess_chosen");
    let mut session = hello_of(&message).accept(start(), Arc::new(runtime_config()), grant());
    assert_eq!(session.session_id().map(|id| id.as_str()), Some("sess_1"));
    let frames = sent(&mut session, start());
    assert!(!String::from_utf8_lossy(&frames[0]).contains("sess_chosen"));
}

#[test]
fn d3_ids_of_a_hello_are_opaque_and_capped() {
    for (member, len, fits) in
        [("id", 256, true), ("id", 257, false), ("session_id", 256, true), ("session_id", 257, false)]
    {
        let mut message = hello(&good_payload());
        message[member] = json!("ü".repeat(len / 2) + if len % 2 == 1 { "x" } else { "" });
        assert_eq!(parse(&message).is_ok(), fits, "{member} of {len}");
    }
    let mut message = hello(&good_payload());
    message["id"] = json!("");
    assert_eq!(refusal(&message)["payload"]["code"], "INVALID_REQUEST", "an id is not empty");
}

#[test]
fn d4_a_strange_trace_id_does_not_spoil_a_hello() {
    for trace in [json!("zz"), json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), json!("")] {
        let mut message = hello(&good_payload());
        message["trace_id"] = trace;
        hello_of(&message);
    }
}

/// E: requests processed before authentication.
#[test]
fn d9_nothing_in_a_refused_opening_has_any_effect() {
    let mut pair = detached();
    let before = format!("{:?}", pair.runtime());
    for form in resume_forms(0) {
        let mut form = without(form, "auth");
        form["id"] = json!("m1");
        assert_eq!(refusal(&form)["payload"]["code"], "UNAUTHENTICATED");
    }
    assert_eq!(format!("{:?}", pair.runtime()), before);
}
