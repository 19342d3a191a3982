//! Hello and welcome between two sessions: what comes of them, what may stand in their place, what is sent and named.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arcp_proto::wire::{
    AgentInfo, Credential, CredentialValue, Credentials, Envelope, ErrorCode, JobAccepted, JobEntry, JobError, JobId,
    JobPage, JobQuery, JobResult, JobStatus, JobSubmit, JobSubscribed, MessageType, PeerInfo, RawJson, ResumeToken,
    TraceId, WireError,
};
use arcp_proto::{
    Client, ClientConfig, ClientEvent, CloseReason, ConnectFailure, DetachReason, Dialect, Feature, FeatureSet,
    Opening, Phase, ProtocolError, ResumeError, Runtime, RuntimeConfig, RuntimeEvent, SendError, Session, Timer,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::pair::{
    From, Pair, client_alone, client_config, client_events, feed, grant, job, log_frame, millis, only, principal,
    runtime_alone, runtime_config, runtime_events, secs, sent, sent_json, start, token, types, welcome,
};

/// A client whose hello is out.
fn connecting() -> Session<Client> {
    connecting_with(client_config())
}

fn connecting_with(config: ClientConfig) -> Session<Client> {
    let mut client = Session::connect(start(), config);
    assert_eq!(types(&sent_json(&mut client, start())), ["session.hello"]);
    client
}

/// What a client tells after this came in place of the welcome.
fn told_instead_of_welcome(frame: &str) -> (Session<Client>, Vec<ClientEvent>) {
    let mut client = connecting();
    client.handle_input(start(), Bytes::from(frame.to_owned()));
    let events = client_events(&mut client);
    (client, events)
}

fn welcome_with(changes: Value) -> Value {
    let mut frame = welcome(FeatureSet::all());
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    for (name, value) in changes {
        frame["payload"][name] = value;
    }
    frame
}

/// The client after this welcome, and all that it told.
fn welcomed(config: ClientConfig, frame: &Value) -> (Session<Client>, Vec<ClientEvent>) {
    let mut client = connecting_with(config);
    feed(&mut client, start(), frame);
    let events = client_events(&mut client);
    (client, events)
}

fn names(features: &[Feature]) -> Value {
    json!(features.iter().map(|feature| feature.name()).collect::<Vec<_>>())
}

// A1, A2.

#[test]
fn a1_a_session_begins_with_hello_is_acknowledged_by_welcome_and_ends_with_bye() {
    let mut pair = Pair::connected();
    let now = pair.now;
    pair.client.close(now, "normal");
    pair.flush();
    assert_eq!(pair.types_since(From::Client, 0), ["session.hello", "session.bye"]);
    assert_eq!(pair.types_since(From::Runtime, 0), ["session.welcome", "session.closed"]);
    assert!(matches!(pair.take_client_events()[..], [ClientEvent::Closed(CloseReason::Requested)]));
}

#[test]
fn a2_connect_completes_only_with_the_welcome() {
    let mut client = connecting();
    assert_eq!(client.phase(), Phase::Connecting);
    assert!(client_events(&mut client).is_empty());
    assert_eq!((client.session_id(), client.info().is_some(), client.resume_token()), (None, false, None));
    assert!(client.features().is_empty());
    let nearly = start().after(millis(9_999));
    client.handle_timeout(nearly);
    assert!(client_events(&mut client).is_empty());
    assert_eq!(sent(&mut client, nearly), Vec::<Bytes>::new());
    feed(&mut client, nearly, &welcome(FeatureSet::all()));
    assert!(matches!(client_events(&mut client)[..], [ClientEvent::Connected(_)]));
    assert_eq!(client.phase(), Phase::Open);
}

#[test]
fn a2_the_welcome_tells_all_that_a_client_needs() {
    let (client, events) = welcomed(
        client_config(),
        &welcome_with(json!({
            "runtime": {"name": "r", "version": "2.3"}, "resume_token": "rt_a", "resume_window_sec": 42,
            "heartbeat_interval_sec": 7,
            "capabilities": {"encodings": ["json"], "features": ["ack", "heartbeat"], "agents": [
                {"name": "one", "versions": ["1", "2"], "default": "1"},
                {"name": "two", "versions": []},
                {"name": "three", "versions": null, "default": null},
                {"name": "four"},
                "five",
            ]},
        })),
    );
    let [ClientEvent::Connected(info)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(info.session_id, "sess_1");
    assert_eq!(info.runtime, PeerInfo::new("r", "2.3"));
    assert_eq!(info.resume_window, secs(42));
    assert_eq!(info.heartbeat_interval, Some(secs(7)));
    assert_eq!(info.features, only(&[Feature::Ack, Feature::Heartbeat]));
    let bare = |name: &str| AgentInfo { name: name.into(), versions: vec![], default: None };
    let one = AgentInfo { name: "one".into(), versions: vec!["1".into(), "2".into()], default: Some("1".into()) };
    assert_eq!(info.agents, [one, bare("two"), bare("three"), bare("four"), bare("five")]);
    assert_eq!(client.resume_token().map(ResumeToken::reveal), Some("rt_a"));
    assert_eq!(client.info(), Some(info));
    assert_eq!(client.session_id(), Some(&info.session_id));
    assert_eq!(client.features(), &info.features);
}

#[test]
fn a2_a_sparse_welcome_is_enough() {
    for payload in
        [json!({}), json!({"capabilities": {}}), json!({"runtime": {}}), json!({"runtime": null}), Value::Null]
    {
        let frame = json!({"type": "session.welcome", "session_id": "sess_1", "payload": payload});
        let (client, events) = welcomed(client_config(), &frame);
        let [ClientEvent::Connected(info)] = &events[..] else { panic!("{payload}: {events:?}") };
        assert_eq!(info.runtime, PeerInfo::default());
        assert_eq!(info.resume_window, secs(600), "the guide's default");
        assert_eq!((info.heartbeat_interval, info.agents.len()), (None, 0));
        assert!(client.features().is_empty());
        assert_eq!(client.resume_token(), None);
    }
}

#[test]
fn a2_without_a_resume_token_there_is_no_resume() {
    for token in [Value::Null, json!("")] {
        let (mut client, _) = welcomed(client_config(), &welcome_with(json!({"resume_token": token})));
        client.handle_disconnect(start());
        assert!(matches!(client_events(&mut client)[..], [ClientEvent::Detached(DetachReason::TransportLost)]));
        assert_eq!(client.resume(start()), Err(ResumeError::NoToken));
        assert_eq!(client.phase(), Phase::Detached);
    }
}

// A5, A6, D20.

#[test]
fn a5_features_are_those_that_both_name() {
    let (ours, theirs) = (
        [Feature::Heartbeat, Feature::Ack, Feature::Subscribe, Feature::ModelUse],
        [Feature::Ack, Feature::ListJobs, Feature::ModelUse, Feature::Progress],
    );
    let both = only(&[Feature::Ack, Feature::ModelUse]);
    let mut pair =
        Pair::connected_with(client_config().with_features(only(&ours)), runtime_config().with_features(only(&theirs)));
    assert_eq!(pair.client.features(), &both);
    assert_eq!(pair.runtime().features(), &both);
    let welcome = pair.transcript[1].json();
    assert_eq!(welcome["payload"]["capabilities"]["features"], names(&[Feature::Ack, Feature::ModelUse]));
}

#[test]
fn a5_every_pair_of_sets_meets_in_the_middle() {
    for one in Feature::ALL {
        for other in Feature::ALL {
            let (ours, theirs) = (FeatureSet::all().without(*one), FeatureSet::all().without(*other));
            let mut pair =
                Pair::connected_with(client_config().with_features(ours), runtime_config().with_features(theirs));
            let both = FeatureSet::all().without(*one).without(*other);
            assert_eq!(
                [pair.client.features().clone(), pair.runtime().features().clone()],
                [both.clone(), both],
                "{one} {other}"
            );
        }
    }
}

#[test]
fn a6_by_default_both_sides_have_everything() {
    assert_eq!(client_config().features, FeatureSet::all());
    assert_eq!(runtime_config().features, FeatureSet::all());
    let mut pair = Pair::connected();
    assert_eq!(pair.client.features(), &FeatureSet::all());
    assert_eq!(pair.runtime().features(), &FeatureSet::all());
    assert_eq!(pair.client.features().iter().count(), 11);
}

#[test]
fn a6_either_side_opts_out() {
    for feature in Feature::ALL {
        let less = FeatureSet::all().without(*feature);
        for (client, runtime) in [(less.clone(), FeatureSet::all()), (FeatureSet::all(), less.clone())] {
            let pair = Pair::connected_with(
                client_config().with_features(client.clone()),
                runtime_config().with_features(runtime),
            );
            assert_eq!(pair.transcript[0].json()["payload"]["capabilities"]["features"], json!(client));
            assert_eq!([pair.client.features(), pair.runtime.as_ref().unwrap().features()], [&less; 2], "{feature}");
        }
    }
}

#[test]
fn a6_opting_out_of_everything_leaves_a_session() {
    let mut pair = Pair::connected_with(client_config().with_features(FeatureSet::none()), runtime_config());
    assert_eq!(pair.transcript[0].json()["payload"]["capabilities"]["features"], json!([]));
    assert_eq!(pair.transcript[1].json()["payload"]["capabilities"]["features"], json!([]));
    pair.submit();
    pair.emit(2);
    pair.flush();
    assert_eq!(pair.take_seqs(), [1, 2]);
    pair.advance(secs(10_000));
    assert_eq!(pair.client.phase(), Phase::Open, "without heartbeats nothing is lost");
}

/// E: welcome without intersection.
#[test]
fn d20_the_client_intersects_again() {
    let (client, _) = welcomed(client_config().with_features(only(&[Feature::Ack])), &welcome(FeatureSet::all()));
    assert_eq!(client.features(), &only(&[Feature::Ack]));
    assert_eq!(client.info().unwrap().features, only(&[Feature::Ack]));
    assert_eq!(client.info().unwrap().heartbeat_interval, None);
    assert_eq!(client.timeout_reason(), None, "neither pings nor silence");
}

#[test]
fn d20_features_stand_in_the_runtimes_order_and_unknown_ones_nowhere() {
    let hello = json!({"type": "session.hello", "payload": {
        "auth": {"scheme": "bearer", "token": "t"},
        "capabilities": {"features": ["subscribe", "x-vendor.magic", "ack", "ack", "heartbeat", "Heartbeat", ""]},
    }});
    let Ok(Opening::Hello(hello)) = Opening::parse(Bytes::from(hello.to_string()), &Default::default()) else {
        panic!()
    };
    let mut session = hello.accept(start(), Arc::new(runtime_config()), grant());
    let expected = names(&[Feature::Heartbeat, Feature::Ack, Feature::Subscribe]);
    assert_eq!(sent_json(&mut session, start())[0]["payload"]["capabilities"]["features"], expected);
}

#[test]
fn d20_unknown_features_of_a_runtime_are_no_error() {
    let frame = welcome_with(json!({"capabilities": {"features": ["ack", "...", "x-vendor.magic", "ACK", ""]}}));
    let (client, events) = welcomed(client_config(), &frame);
    assert!(matches!(events[..], [ClientEvent::Connected(_)]));
    assert_eq!(client.features(), &only(&[Feature::Ack]));
    assert_eq!(client.features().unknown().count(), 0);
}

/// E: `heartbeat_interval_sec` sent although not negotiated.
#[test]
fn d20_the_welcome_has_a_heartbeat_interval_only_where_it_was_negotiated() {
    for (features, interval) in [(FeatureSet::all(), Some(30)), (FeatureSet::all().without(Feature::Heartbeat), None)] {
        let configs = [
            (client_config().with_features(features.clone()), runtime_config()),
            (client_config(), runtime_config().with_features(features.clone())),
        ];
        for (client, runtime) in configs {
            let pair = Pair::connected_with(client, runtime);
            let welcome = pair.transcript[1].json();
            assert_eq!(welcome["payload"].get("heartbeat_interval_sec").and_then(Value::as_u64), interval);
            assert_eq!(pair.client.info().unwrap().heartbeat_interval, interval.map(secs));
        }
    }
}

#[test]
fn d20_token_and_window_are_always_in_the_welcome_as_whole_numbers() {
    for (window, said) in [(secs(600), 600), (secs(1), 1), (millis(2_900), 2), (Duration::ZERO, 1)] {
        for features in [FeatureSet::all(), FeatureSet::none()] {
            let runtime = RuntimeConfig { resume_window: window, ..runtime_config() };
            let pair = Pair::connected_with(client_config().with_features(features), runtime);
            let payload = &pair.transcript[1].json()["payload"];
            assert_eq!(payload["resume_window_sec"].to_string(), said.to_string());
            assert_eq!(payload["resume_token"], token(1).reveal());
            assert_eq!(pair.client.info().unwrap().resume_window, secs(said));
        }
    }
    for (interval, said) in [(secs(30), "30"), (millis(1_999), "1"), (Duration::ZERO, "1"), (secs(86_400), "86400")] {
        let runtime = RuntimeConfig { heartbeat_interval: interval, ..runtime_config() };
        let pair = Pair::connected_with(client_config(), runtime);
        assert_eq!(pair.transcript[1].json()["payload"]["heartbeat_interval_sec"].to_string(), said);
    }
}

#[test]
fn d20_a_client_reads_an_absent_interval_as_30_and_clamps_the_rest() {
    for (said, seconds, clamped) in [
        (Value::Null, 30, false),
        (json!(30), 30, false),
        (json!(30.0), 30, false),
        (json!(1), 1, false),
        (json!(86_400), 86_400, false),
        (json!(0), 1, true),
        (json!(-1), 1, true),
        (json!(0.25), 1, true),
        (json!(2.5), 3, true),
        (json!(86_401), 86_400, true),
        (json!(u64::MAX), 86_400, true),
        (json!(1e300), 86_400, true),
    ] {
        let (client, events) = welcomed(client_config(), &welcome_with(json!({"heartbeat_interval_sec": said})));
        assert_eq!(client.info().unwrap().heartbeat_interval, Some(secs(seconds)), "{said}");
        let told: Vec<_> = events.iter().filter(|event| matches!(event, ClientEvent::Violation(_))).collect();
        match told[..] {
            [] => assert!(!clamped, "{said}: no violation"),
            [ClientEvent::Violation(violation)] => {
                assert!(clamped, "{said}: {violation:?}");
                assert_eq!(violation.error, ProtocolError::HeartbeatInterval);
                assert_eq!(violation.error.rule(), "D20");
            }
            _ => panic!("{said}: {told:?}"),
        }
        // It goes by what it says: the first ping is due after that.
        assert_eq!(client.poll_timeout(), Some(start().after(secs(seconds)).mono), "{said}");
        assert_eq!(client.timeout_reason(), Some(Timer::Ping));
    }
    // Where heartbeats were not agreed on, what it says does not matter.
    let frame = welcome_with(json!({"heartbeat_interval_sec": 0, "capabilities": {"features": ["ack"]}}));
    let (client, events) = welcomed(client_config(), &frame);
    assert!(matches!(events[..], [ClientEvent::Connected(_)]));
    assert_eq!(client.info().unwrap().heartbeat_interval, None);
}

#[test]
fn d20_a_strange_resume_window_is_no_error() {
    for (said, window) in [
        (Value::Null, secs(600)),
        (json!(0), secs(0)),
        (json!(-5), secs(0)),
        (json!(1.5), millis(1_500)),
        (json!(1e300), secs(u64::from(u32::MAX))),
    ] {
        let (client, events) = welcomed(client_config(), &welcome_with(json!({"resume_window_sec": said})));
        assert!(matches!(events[..], [ClientEvent::Connected(_)]), "{said}");
        assert_eq!(client.info().unwrap().resume_window, window, "{said}");
    }
}

// D9 as a client sees it.

#[test]
fn d9_a_welcome_is_waited_for_for_10_seconds() {
    let mut client = connecting();
    assert_eq!(client.poll_timeout(), Some(start().after(secs(10)).mono));
    assert_eq!(client.timeout_reason(), Some(Timer::Handshake));
    client.handle_timeout(start().after(millis(9_999)));
    assert!(client_events(&mut client).is_empty());
    client.handle_timeout(start().after(secs(10)));
    let events = client_events(&mut client);
    assert!(
        matches!(events[..], [ClientEvent::Closed(CloseReason::ConnectFailed(ConnectFailure::Timeout))]),
        "{events:?}"
    );
    assert_eq!((client.phase(), client.poll_timeout()), (Phase::Closed, None));
    // The welcome comes too late.
    feed(&mut client, start().after(secs(10)), &welcome(FeatureSet::all()));
    assert!(client_events(&mut client).is_empty());
}

#[test]
fn d9_the_handshake_deadline_is_configurable_and_nothing_but_the_welcome_moves_it() {
    let config = ClientConfig { handshake_timeout: millis(300), ..client_config() };
    let mut client = connecting_with(config);
    let later = start().after(millis(299));
    client.handle_activity(later);
    feed(&mut client, later, &json!({"type": "session.motd", "id": "1"}));
    assert_eq!(client.poll_timeout(), Some(start().after(millis(300)).mono));
    client.handle_timeout(start().after(millis(300)));
    assert_eq!(client.phase(), Phase::Closed);
}

#[test]
fn d9_a_transport_lost_before_the_welcome_fails_the_connect() {
    let mut client = connecting();
    client.handle_disconnect(start());
    let events = client_events(&mut client);
    assert!(
        matches!(events[..], [ClientEvent::Closed(CloseReason::ConnectFailed(ConnectFailure::TransportLost))]),
        "{events:?}"
    );
    assert_eq!(client.resume(start()), Err(ResumeError::Closed));
}

/// E: connect hanging when an error comes in place of the welcome.
#[test]
fn d9_an_error_in_place_of_the_welcome_refuses_the_connect() {
    let session_ids = [Value::Null, json!("sess_throw_away")];
    let codes = ["UNAUTHENTICATED", "INVALID_REQUEST", "INTERNAL_ERROR", "RESUME_WINDOW_EXPIRED", "RATE_LIMITED"];
    for (code, session_id) in codes.iter().flat_map(|code| session_ids.iter().map(move |id| (code, id))) {
        let frame = json!({"type": "session.error", "session_id": session_id,
            "payload": {"code": code, "message": "no", "details": {"why": 1}}});
        let (client, events) = told_instead_of_welcome(&frame.to_string());
        let [ClientEvent::Closed(CloseReason::ConnectRefused(error))] = &events[..] else {
            panic!("{code}: {events:?}")
        };
        assert_eq!((error.code.as_str(), error.message.as_str()), (*code, "no"));
        assert_eq!(error.details.as_ref().map(RawJson::text), Some(r#"{"why":1}"#));
        assert_eq!((client.phase(), client.poll_timeout()), (Phase::Closed, None));
    }
}

#[test]
fn d9_anything_else_in_place_of_the_welcome_is_a_protocol_error() {
    for message in MessageType::ALL {
        if matches!(message, MessageType::SessionWelcome | MessageType::SessionError) {
            continue;
        }
        let frame = json!({"id": "x1", "type": message.name(), "session_id": "sess_1", "job_id": "job_1",
            "payload": {"kind": "log"}});
        let (mut client, events) = told_instead_of_welcome(&frame.to_string());
        let [ClientEvent::Violation(violation), ClientEvent::Closed(closed)] = &events[..] else {
            panic!("{message}: {events:?}")
        };
        assert_eq!(violation.error, ProtocolError::WrongPhase(*message));
        assert_eq!(violation.message_id.as_deref(), Some("x1"));
        assert_eq!(*closed, CloseReason::ConnectFailed(ConnectFailure::Protocol));
        assert!(sent(&mut client, start()).is_empty(), "{message}: nothing is answered");
    }
}

#[test]
fn d9_what_is_no_envelope_in_place_of_the_welcome_is_a_protocol_error() {
    for frame in ["", "HTTP/1.1 400 Bad Request", "{}", "[]", r#"{"type":5}"#] {
        let (_, events) = told_instead_of_welcome(frame);
        let [ClientEvent::Violation(violation), ClientEvent::Closed(closed)] = &events[..] else {
            panic!("{frame}: {events:?}")
        };
        assert!(matches!(violation.error, ProtocolError::Malformed(_)), "{frame}");
        assert_eq!(*closed, CloseReason::ConnectFailed(ConnectFailure::Protocol));
    }
}

#[test]
fn d9_a_welcome_or_an_error_that_cannot_be_read_is_a_protocol_error() {
    for frame in [
        json!({"type": "session.welcome", "payload": {}}),
        json!({"type": "session.welcome", "session_id": null, "payload": {"resume_token": "rt_a"}}),
        json!({"type": "session.welcome", "session_id": "s", "payload": {"resume_token": 5}}),
        json!({"type": "session.welcome", "session_id": "s", "payload": {"capabilities": {"features": "ack"}}}),
        json!({"type": "session.welcome", "session_id": "s", "payload": {"resume_window_sec": "600"}}),
        json!({"type": "session.error", "payload": {}}),
        json!({"type": "session.error", "payload": {"code": 5}}),
    ] {
        let (_, events) = told_instead_of_welcome(&frame.to_string());
        let [ClientEvent::Violation(violation), ClientEvent::Closed(closed)] = &events[..] else {
            panic!("{frame}: {events:?}")
        };
        assert!(matches!(violation.error, ProtocolError::BadPayload { .. }), "{frame}");
        assert_eq!(*closed, CloseReason::ConnectFailed(ConnectFailure::Protocol));
    }
}

#[test]
fn d9_an_unknown_type_before_the_welcome_is_ignored() {
    let mut client = connecting();
    for name in ["session.motd", "x-vendor.hello", "job.unheard_of", "session.motd"] {
        feed(&mut client, start(), &json!({"id": "u1", "type": name}));
    }
    let events = client_events(&mut client);
    // Once a kind and attachment (D43).
    let [ClientEvent::Violation(violation)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(violation.error, ProtocolError::UnknownType("session.motd".into()));
    assert_eq!(client.phase(), Phase::Connecting);
    feed(&mut client, start(), &welcome(FeatureSet::all()));
    assert!(matches!(client_events(&mut client)[..], [ClientEvent::Connected(_)]));
}

#[test]
fn d9_before_the_welcome_the_application_can_ask_for_nothing() {
    let mut client = connecting();
    let (now, not_open) = (start(), SendError::NotOpen(Phase::Connecting));
    let before = format!("{client:?}");
    assert_eq!(client.submit(now, &JobSubmit::new("a", RawJson::null())), Err(not_open.clone()));
    assert_eq!(client.submit(now, &JobSubmit::new("a@1", RawJson::null())), Err(not_open.clone()));
    assert_eq!(client.cancel(now, &job(), None), Err(not_open.clone()));
    assert_eq!(client.subscribe(now, &job(), None), Err(not_open.clone()));
    assert_eq!(client.unsubscribe(now, &job()), Err(not_open.clone()));
    assert_eq!(client.list_jobs(now, &JobQuery::default()), Err(not_open.clone()));
    assert_eq!(client.flush_acks(now), Err(not_open));
    assert!(client.mark_processed(now, 1).is_err());
    assert_eq!(client.resume(now), Err(ResumeError::NotDetached(Phase::Connecting)));
    assert_eq!(format!("{client:?}"), before);
    assert!(sent(&mut client, now).is_empty());
}

#[test]
fn d9_closing_before_the_welcome_ends_it_without_a_word() {
    let mut client = connecting();
    client.close(start(), "normal");
    assert!(matches!(client_events(&mut client)[..], [ClientEvent::Closed(CloseReason::Requested)]));
    assert!(sent(&mut client, start()).is_empty());
    let mut unsent = Session::connect(start(), client_config());
    unsent.close(start(), "normal");
    assert!(sent(&mut unsent, start()).is_empty(), "not even the hello");
}

#[test]
fn d9_the_hello_is_the_first_frame_and_the_welcome_its_answer_whatever_was_emitted() {
    let mut runtime = {
        let Ok(Opening::Hello(hello)) = Opening::parse(
            Bytes::from(
                json!({"type": "session.hello", "payload": {"auth": {"scheme": "bearer", "token": "t"}}}).to_string(),
            ),
            &Default::default(),
        ) else {
            panic!()
        };
        hello.accept(start(), Arc::new(runtime_config()), grant())
    };
    // What the client pipelined is fed before the welcome is polled, and answered behind it.
    feed(&mut runtime, start(), &json!({"id": "p1", "type": "session.ping", "payload": {"nonce": "n"}}));
    feed(&mut runtime, start(), &json!({"id": "p2", "type": "session.list_jobs"}));
    let _ = runtime.send_event(start(), &job(), "log", &json!({}));
    let frames = sent_json(&mut runtime, start());
    assert_eq!(types(&frames), ["session.welcome", "session.pong", "session.error", "job.event"]);
}

// D1, D2, D4, D6 on a session's own messages.

#[test]
fn d1_every_frame_says_the_version() {
    for passed in busy_session().transcript {
        assert_eq!(passed.json()["arcp"], "1.1", "{passed:?}");
        assert!(passed.frame.starts_with(br#"{"arcp":"1.1","id":"msg_"#), "{passed:?}");
    }
}

#[test]
fn d1_null_or_absent_is_the_version_too() {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    feed(&mut runtime, start(), &json!({"arcp": null, "id": "1", "type": "session.ping"}));
    feed(&mut runtime, start(), &json!({"id": "2", "type": "session.ping"}));
    assert_eq!(types(&sent_json(&mut runtime, start())), ["session.pong", "session.pong"]);
    let mut client = client_alone(client_config());
    for (seq, version) in [(1, Value::Null), (2, json!("1.1"))] {
        let mut frame = log_frame(seq);
        frame["arcp"] = version;
        feed(&mut client, start(), &frame);
    }
    assert_eq!(client_events(&mut client).len(), 2);
}

#[test]
fn d1_another_version_is_refused_and_the_session_lives() {
    for version in [json!("1.0"), json!("2"), json!(""), json!(1.1), json!({})] {
        let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
        feed(&mut runtime, start(), &json!({"arcp": version, "id": "m7", "type": "session.list_jobs"}));
        let frames = sent_json(&mut runtime, start());
        assert_eq!(types(&frames), ["session.error"], "{version}");
        assert_eq!(frames[0]["payload"]["code"], "INVALID_REQUEST");
        assert_eq!(frames[0]["payload"]["request_id"], "m7");
        let events = runtime_events(&mut runtime);
        assert!(matches!(events[..], [RuntimeEvent::Violation(_)]), "{version}: {events:?}");
        assert_eq!(runtime.phase(), Phase::Open);

        let mut client = client_alone(client_config());
        let mut frame = log_frame(1);
        frame["arcp"] = version.clone();
        feed(&mut client, start(), &frame);
        let events = client_events(&mut client);
        assert!(matches!(events[..], [ClientEvent::Violation(_)]), "{version}: {events:?}");
        assert_eq!((client.phase(), client.last_event_seq()), (Phase::Open, 0));
        assert!(sent(&mut client, start()).is_empty());
    }
}

#[test]
fn d1_before_the_welcome_another_version_ends_it() {
    let mut frame = welcome(FeatureSet::all());
    frame["arcp"] = json!("1.0");
    let (_, events) = told_instead_of_welcome(&frame.to_string());
    assert!(
        matches!(
            events[..],
            [ClientEvent::Violation(_), ClientEvent::Closed(CloseReason::ConnectFailed(ConnectFailure::Protocol))]
        ),
        "{events:?}"
    );
}

/// A session in which each message type that either side sends was sent, with a resume in the middle.
fn busy_session() -> Pair {
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(2);
    pair.flush();
    let now = pair.now;
    pair.client.mark_processed(now, 1).unwrap();
    pair.client.flush_acks(now).unwrap();
    pair.client.list_jobs(now, &JobQuery::default()).unwrap();
    pair.client.subscribe(now, &job(), Some(0)).unwrap();
    pair.client.subscribe(now, &JobId::from("job_9"), None).unwrap();
    pair.client.cancel(now, &job(), Some("enough".into())).unwrap();
    pair.client.unsubscribe(now, &job()).unwrap();
    pair.client.submit(now, &JobSubmit::new("code-refactor", RawJson::empty_object())).unwrap();
    pair.flush();
    for event in pair.take_runtime_events() {
        let runtime = pair.runtime();
        match event {
            RuntimeEvent::ListJobs { request, .. } => {
                let jobs = vec![JobEntry::new(job(), "code-refactor@2.0.0", JobStatus::Running, now.wall)];
                runtime.respond_jobs(now, request, JobPage { jobs, next_cursor: None }).unwrap();
            }
            RuntimeEvent::Subscribe { request, job_id, .. } if job_id == job() => {
                let subscribed = JobSubscribed::new(job_id, "code-refactor@2.0.0", JobStatus::Running);
                runtime.accept_subscribe(now, request, subscribed).unwrap();
            }
            RuntimeEvent::Subscribe { request, .. } => {
                runtime.fail_request(now, request, WireError::new(ErrorCode::JobNotFound, "")).unwrap();
            }
            RuntimeEvent::Cancel { request, .. } => runtime.confirm_cancel(now, request, None).unwrap(),
            RuntimeEvent::Submit { request, .. } => {
                runtime.accept_job(now, request, JobAccepted::new("job_2".into(), "a@1", now.wall)).unwrap();
            }
            _ => {}
        }
    }
    let cancelled = JobError::new(WireError::new(ErrorCode::Cancelled, "enough"));
    pair.runtime().send_error(now, &job(), cancelled).unwrap();
    pair.runtime().send_result(now, &"job_2".into(), JobResult::inline(RawJson::empty_object())).unwrap();
    pair.flush();
    pair.advance(secs(61));
    pair.cut();
    pair.resume();
    pair.advance(secs(31));
    let now = pair.now;
    pair.client.close(now, "normal");
    pair.flush();
    pair
}

#[test]
fn d2_no_null_is_sent_but_next_cursor_and_parent_job_id() {
    fn nulls(path: &str, value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Null => drop(found.insert(path.to_owned())),
            Value::Object(members) => members.iter().for_each(|(name, value)| nulls(name, value, found)),
            Value::Array(items) => items.iter().for_each(|value| nulls(path, value, found)),
            _ => {}
        }
    }
    let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for passed in busy_session().transcript {
        nulls("", &passed.json(), &mut found);
        seen.insert(passed.type_name());
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["next_cursor", "parent_job_id"]);
    // The eye saw everything that is ever sent.
    let unsent = ["session.resume", "session.close"];
    let all = MessageType::ALL.iter().map(|message| message.name()).filter(|name| !unsent.contains(name));
    assert_eq!(seen, all.map(String::from).collect());
}

#[test]
fn d2_null_is_absent_on_every_envelope_and_in_every_payload() {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    let nulls = json!({"arcp": null, "session_id": null, "trace_id": null, "job_id": null, "event_seq": null});
    let with_nulls = |id: &str, name: &str, payload: Value| {
        let mut frame = nulls.clone();
        for (member, value) in [("id", json!(id)), ("type", json!(name)), ("payload", payload)] {
            frame[member] = value;
        }
        frame
    };
    feed(&mut runtime, start(), &with_nulls("1", "session.ping", Value::Null));
    feed(&mut runtime, start(), &with_nulls("2", "session.ping", json!({"nonce": null, "sent_at": null})));
    feed(
        &mut runtime,
        start(),
        &with_nulls("3", "session.list_jobs", json!({"filter": null, "limit": null, "cursor": null})),
    );
    let submit = json!({"agent": "a", "input": null, "lease_request": null, "lease_constraints": null,
        "idempotency_key": null, "max_runtime_sec": null});
    feed(&mut runtime, start(), &with_nulls("4", "job.submit", submit));
    feed(&mut runtime, start(), &with_nulls("5", "session.bye", json!({"reason": null})));
    assert_eq!(types(&sent_json(&mut runtime, start())), ["session.pong", "session.pong", "session.closed"]);
    let events = runtime_events(&mut runtime);
    assert!(
        matches!(
            &events[..],
            [RuntimeEvent::ListJobs { .. }, RuntimeEvent::Submit { trace_id: None, .. }, RuntimeEvent::Detached(_)]
        ),
        "{events:?}"
    );
}

#[test]
fn d4_a_trace_goes_out_as_32_lower_hex_and_comes_in_as_that() {
    let mut pair = Pair::connected();
    let (now, trace) = (pair.now, TraceId::from_bits(0xAB));
    let submit = JobSubmit::new("a", RawJson::empty_object());
    pair.client.submit_traced(now, &submit, trace).unwrap();
    pair.flush();
    let frame = pair.transcript.last().unwrap().json();
    assert_eq!(frame["trace_id"], "000000000000000000000000000000ab");
    let events = pair.take_runtime_events();
    assert!(matches!(&events[..], [RuntimeEvent::Submit { trace_id: Some(got), .. }] if *got == trace), "{events:?}");
    pair.client.submit(now, &submit).unwrap();
    pair.flush();
    assert_eq!(pair.transcript.last().unwrap().json().get("trace_id"), None);
}

fn trace_of_submit(trace: Value) -> Option<TraceId> {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    let frame = json!({"id": "1", "type": "job.submit", "trace_id": trace, "payload": {"agent": "a"}});
    feed(&mut runtime, start(), &frame);
    match &runtime_events(&mut runtime)[..] {
        [RuntimeEvent::Submit { trace_id, .. }] => *trace_id,
        other => panic!("{trace}: the message went with the field: {other:?}"),
    }
}

#[test]
fn d4_hex_in_any_case_and_a_traceparent_are_read() {
    let trace = TraceId::from_bits(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
    for text in [
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "4BF92F3577B34DA6A3CE929D0E0E4736",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        assert_eq!(trace_of_submit(json!(text)), Some(trace), "{text}");
    }
}

#[test]
fn d4_any_other_text_drops_the_field_and_not_the_message() {
    for text in [
        "",
        "4bf92f35",
        "zbf92f3577b34da6a3ce929d0e0e4736",
        "4bf92f3577b34da6a3ce929d0e0e47360",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-01",
        "trace_01HXYZ",
    ] {
        assert_eq!(trace_of_submit(json!(text)), None, "{text}");
    }
    let mut client = client_alone(client_config());
    let mut frame = log_frame(1);
    frame["trace_id"] = json!("nonsense");
    feed(&mut client, start(), &frame);
    assert!(matches!(client_events(&mut client)[..], [ClientEvent::Event(_)]));
}

#[test]
fn d4_what_is_not_even_a_text_drops_the_field_and_not_the_message() {
    for value in [json!(7), json!(true), json!({"id": "x"}), json!([]), json!("x".repeat(10_000))] {
        assert_eq!(trace_of_submit(value), None);
    }
}

#[test]
fn d6_unknown_members_are_ignored_at_every_level() {
    let extras = json!({"timestamp": "x", "span_id": 7, "extensions": {"type": "y"}, "detail": [null]});
    let mut client = connecting();
    let mut frame = welcome_with(json!({
        "server_time": 1, "runtime": {"name": "r", "version": "1", "build": {}},
        "capabilities": {"encodings": ["json"], "features": ["ack"], "limits": {},
            "agents": [{"name": "a", "versions": [], "description": "d", "schema": {}}]},
    }));
    let mut event = log_frame(1);
    event["payload"]["more"] = json!({"deep": [1]});
    event["payload"]["body"]["more"] = json!(1);
    for (name, value) in extras.as_object().unwrap() {
        frame[name] = value.clone();
        event[name] = value.clone();
    }
    feed(&mut client, start(), &frame);
    feed(&mut client, start(), &event);
    let events = client_events(&mut client);
    let [ClientEvent::Connected(info), ClientEvent::Event(delivery)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(info.agents[0].name, "a");
    // And they come through untouched.
    assert_eq!(&delivery.envelope().frame()[..], event.to_string().as_bytes());

    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    let mut submit = json!({"id": "1", "type": "job.submit", "payload": {"agent": "a", "priority": 1,
        "lease_constraints": {"expires_at": "2026-05-13T19:42:13Z", "grace": 3}}});
    for (name, value) in extras.as_object().unwrap() {
        submit[name] = value.clone();
    }
    feed(&mut runtime, start(), &submit);
    assert!(matches!(runtime_events(&mut runtime)[..], [RuntimeEvent::Submit { .. }]));
}

// D3.

#[test]
fn d3_ids_have_their_prefixes_and_never_repeat_in_a_sessions_life() {
    let mut pair = Pair::connected();
    pair.submit();
    for round in 0..6 {
        pair.emit(3);
        pair.flush();
        let now = pair.now;
        pair.client.list_jobs(now, &JobQuery::default()).unwrap();
        pair.flush();
        pair.advance(secs(65));
        match round % 3 {
            0 => pair.cut(),
            1 => pair.cut_unseen_by_runtime(),
            _ => {
                // A resume that comes to nothing counts as an attachment of the client's.
                pair.cut();
                pair.client.resume(now).unwrap();
                pair.collect();
                pair.cut();
            }
        }
        pair.resume();
    }
    let (mut ids, mut nonces) = (BTreeSet::new(), BTreeSet::new());
    for passed in &pair.transcript {
        let frame = passed.json();
        let id = frame["id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("msg_") && id.len() > 4 && id.len() <= 256, "{id}");
        // A replay is verbatim (D14): the same message again, and none of our cuts made one necessary.
        assert!(ids.insert(id), "{frame}");
        if passed.type_name() == "session.ping" {
            let nonce = frame["payload"]["nonce"].as_str().unwrap().to_owned();
            assert!(nonce.starts_with("p_"), "{nonce}");
            assert!(nonces.insert(nonce), "{frame}");
        }
    }
    assert!(ids.len() > 60 && nonces.len() > 6, "{} {}", ids.len(), nonces.len());
}

#[test]
fn d3_the_clients_prefix_goes_into_its_ids_cut_to_32_bytes() {
    for prefix in ["web7-", "", "\"\\\n", &"ü".repeat(40)] {
        let config = ClientConfig { id_prefix: prefix.into(), ..client_config() };
        let mut client = Session::connect(start(), config);
        let hello = &sent_json(&mut client, start())[0];
        let id = hello["id"].as_str().unwrap();
        let kept: String = prefix.chars().take(16).collect();
        assert!(id.starts_with(&format!("msg_{kept}")) && id.len() <= 256, "{id}");
    }
}

/// E: session id chosen by the client.
#[test]
fn d3_the_runtime_mints_the_session_id_and_every_frame_but_the_hello_has_it() {
    for passed in busy_session().transcript {
        let frame = passed.json();
        if passed.type_name() == "session.hello" {
            assert_eq!(frame.get("session_id"), None);
        } else {
            assert_eq!(frame["session_id"], "sess_1", "{frame}");
        }
    }
}

/// E: bearer token written to a log. Everything public that a secret passes through is printed, in every phase.
#[test]
fn d3_no_secret_is_ever_printed() {
    let mut printed = Vec::new();
    let secret_config = ClientConfig::new(PeerInfo::new("a", "1"), Credentials::bearer("SECRET-bearer"));
    printed.push(format!("{secret_config:?} {:#?}", secret_config.credentials));
    let secret_grant = arcp_proto::Grant { resume_token: ResumeToken::new("SECRET-first"), ..grant() };
    printed.push(format!("{secret_grant:?}"));

    let mut client = Session::connect(start(), secret_config);
    printed.push(format!("{client:?}"));
    let hello = sent(&mut client, start()).remove(0);
    printed.push(format!("{:?}", Envelope::decode(hello.clone()).unwrap()));
    printed.push(format!("{:?}", Envelope::decode(hello.clone()).unwrap().payload::<arcp_proto::wire::Hello>()));
    let opening = Opening::parse(hello, &Default::default()).unwrap();
    printed.push(format!("{opening:?}"));
    let Opening::Hello(hello) = opening else { panic!() };
    printed.push(format!("{hello:?} {:?}", hello.credentials()));
    let mut runtime = hello.accept(start(), Arc::new(runtime_config()), secret_grant);
    printed.push(format!("{runtime:?}"));
    let welcome = sent(&mut runtime, start()).remove(0);
    printed.push(format!("{:?}", Envelope::decode(welcome.clone()).unwrap()));
    printed.push(format!("{:?}", Envelope::decode(welcome.clone()).unwrap().payload::<arcp_proto::wire::Welcome>()));
    client.handle_input(start(), welcome);
    printed.push(format!(
        "{:?} {client:?} {:?} {:?}",
        client_events(&mut client),
        client.info(),
        client.resume_token()
    ));

    client.submit(start(), &JobSubmit::new("a", RawJson::empty_object())).unwrap();
    sent(&mut client, start()).into_iter().for_each(|frame| runtime.handle_input(start(), frame));
    let RuntimeEvent::Submit { request, .. } = &runtime_events(&mut runtime)[0] else { panic!() };
    let mut accepted = JobAccepted::new(job(), "a@1", start().wall);
    accepted.credentials = Some(vec![Credential {
        id: "c".into(),
        scheme: "bearer".into(),
        value: CredentialValue::new("SECRET-credential"),
        endpoint: None,
        profile: None,
        constraints: None,
    }]);
    printed.push(format!("{accepted:?}"));
    runtime.accept_job(start(), *request, accepted).unwrap();
    sent(&mut runtime, start()).into_iter().for_each(|frame| client.handle_input(start(), frame));
    printed.push(format!("{:?}", client_events(&mut client)));

    client.handle_disconnect(start());
    client.set_credentials(Credentials::bearer("SECRET-renewed"));
    client.resume(start()).unwrap();
    printed.push(format!("{client:?}"));
    let resume = sent(&mut client, start()).remove(0);
    let text = String::from_utf8_lossy(&resume).into_owned();
    assert!(text.contains("SECRET-renewed") && text.contains("SECRET-first"), "the secrets do travel");
    let wire_hello = Envelope::decode(resume.clone()).unwrap();
    printed.push(format!("{:?}", wire_hello.payload::<arcp_proto::wire::Hello>()));
    let draft = json!({"resume_token": "SECRET-first", "auth": {"scheme": "bearer", "token": "SECRET-bearer"}});
    printed.push(format!("{:?}", serde_json::from_value::<arcp_proto::wire::Resume>(draft)));
    let attempts: Vec<_> = (0..3).map(|_| Opening::parse(resume.clone(), &Default::default()).unwrap()).collect();
    printed.push(format!("{attempts:?}"));
    for (attempt, principal) in attempts.into_iter().zip(["mallory", "alice", "alice"]) {
        let Opening::Resume(attempt) = attempt else { panic!() };
        printed.push(format!("{:?} {:?} {:?}", attempt, attempt.token(), attempt.credentials()));
        let outcome = runtime.resume(start(), attempt, &principal.into(), ResumeToken::new("SECRET-next"));
        printed.push(format!("{outcome:?} {runtime:?} {:?}", runtime_events(&mut runtime)));
    }
    sent(&mut runtime, start()).into_iter().for_each(|frame| client.handle_input(start(), frame));
    printed.push(format!("{:?} {client:?}", client_events(&mut client)));
    client.close(start(), "normal");
    runtime.shutdown(start(), "maintenance");
    printed.push(format!("{client:?} {:?} {runtime:?}", client_events(&mut client)));
    for text in printed {
        assert!(!text.contains("SECRET"), "{text}");
    }
}

#[test]
fn d3_a_violation_does_not_repeat_a_secret() {
    let mut client = connecting();
    feed(&mut client, start(), &welcome_with(json!({"resume_token": ["SECRET"]})));
    let events = client_events(&mut client);
    assert!(!format!("{events:?}").contains("SECRET"), "{events:?}");
    let mut client = connecting();
    feed(&mut client, start(), &welcome_with(json!({"capabilities": "SECRET"})));
    let events = client_events(&mut client);
    assert!(!format!("{events:?}").contains("SECRET"), "{events:?}");
}

#[test]
fn d3_what_is_too_long_for_an_id_is_malformed() {
    for member in ["id", "session_id", "job_id"] {
        for (len, fits) in [(256, true), (257, false)] {
            let mut client = client_alone(client_config());
            let mut frame = log_frame(1);
            frame[member] = json!("x".repeat(len));
            feed(&mut client, start(), &frame);
            let events = client_events(&mut client);
            let malformed = matches!(&events[..],
                [ClientEvent::Violation(violation)] if matches!(violation.error, ProtocolError::Malformed(_)));
            assert_eq!(malformed, !fits, "{member} of {len}: {events:?}");
        }
    }
}

// D10, A14.

fn second_hello() -> Value {
    json!({"arcp": "1.1", "id": "m9", "type": "session.hello", "session_id": "sess_1", "payload": {
        "client": {"name": "hand", "version": "1"}, "auth": {"scheme": "bearer", "token": "other"},
    }})
}

/// Resumes a runtime's session behind `last` with the token `token(n)`.
fn resume_by_hand(runtime: &mut Session<Runtime>, n: u64, last: u64) -> Vec<Value> {
    let message = json!({"id": "r1", "type": "session.hello", "payload": {
        "auth": {"scheme": "bearer", "token": "secret-bearer"},
        "resume_token": token(n).reveal(), "last_event_seq": last,
    }});
    let opening = Opening::parse(Bytes::from(message.to_string()), &Default::default()).unwrap();
    let Opening::Resume(attempt) = opening else { panic!() };
    runtime.resume(start(), attempt, &principal(), token(n + 1)).expect("it is resumable");
    sent_json(runtime, start())
}

#[test]
fn d10_a14_a_second_hello_is_told_goodbye_and_refused() {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    feed(&mut runtime, start(), &second_hello());
    let events = runtime_events(&mut runtime);
    let [RuntimeEvent::Violation(violation), RuntimeEvent::Detached(reason)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(violation.error, ProtocolError::WrongPhase(MessageType::SessionHello));
    assert_eq!(violation.message_id.as_deref(), Some("m9"));
    assert_eq!(*reason, DetachReason::Reauthentication);
    let frames = sent_json(&mut runtime, start());
    assert_eq!(types(&frames), ["session.bye", "session.error"]);
    assert_eq!(frames[0]["payload"], json!({"reason": "reauthentication"}));
    assert_eq!(frames[0]["session_id"], "sess_1");
    assert_eq!(frames[1]["payload"]["code"], "INVALID_REQUEST");
    assert_eq!(frames[1]["payload"]["request_id"], "m9");
    assert_eq!(frames[1]["payload"]["retryable"], false);
    assert_eq!(frames[1]["session_id"], "sess_1");
    assert_eq!(runtime.phase(), Phase::Detached);
    assert_eq!(runtime.principal(), &principal(), "it is nobody else's");
}

#[test]
fn d10_jobs_and_resumability_are_untouched_by_a_second_hello() {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    feed(&mut runtime, start(), &json!({"id": "s1", "type": "job.submit", "payload": {"agent": "a"}}));
    let RuntimeEvent::Submit { request, .. } = &runtime_events(&mut runtime)[0] else { panic!() };
    let request = *request;
    runtime.send_event(start(), &job(), "log", &json!({"n": 1})).unwrap();
    feed(&mut runtime, start(), &second_hello());
    // The control lane and the events stay behind the farewell, which goes at once (D27).
    assert_eq!(types(&sent_json(&mut runtime, start())), ["session.bye", "session.error"]);
    assert_eq!(runtime.accept_job(start(), request, JobAccepted::new(job(), "a@1", start().wall)), Ok(()));
    assert_eq!(runtime.send_event(start(), &job(), "log", &json!({"n": 2})), Ok(2));
    let frames = resume_by_hand(&mut runtime, 1, 0);
    assert_eq!(types(&frames), ["session.welcome", "job.event", "job.event"]);
}

#[test]
fn d10_a_second_hello_that_is_a_resume_is_one_too() {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    let mut message = second_hello();
    message["payload"]["resume_token"] = json!(token(1).reveal());
    feed(&mut runtime, start(), &message);
    assert_eq!(types(&sent_json(&mut runtime, start())), ["session.bye", "session.error"]);
    // A resume is no wish to be somebody else, only out of place (D7).
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::all());
    message["type"] = json!("session.resume");
    feed(&mut runtime, start(), &message);
    let frames = sent_json(&mut runtime, start());
    assert_eq!(types(&frames), ["session.error"]);
    assert_eq!(frames[0]["payload"]["request_id"], "m9");
    assert_eq!(runtime.phase(), Phase::Open);
}

/// §F: a welcome is the very first frame, also where the second hello came right behind the first.
#[test]
fn d10_a_pipelined_second_hello_is_refused_behind_the_welcome() {
    let mut hello = second_hello();
    hello.as_object_mut().unwrap().remove("session_id");
    let Ok(Opening::Hello(first)) = Opening::parse(Bytes::from(hello.to_string()), &Default::default()) else {
        panic!()
    };
    let mut runtime = first.accept(start(), Arc::new(runtime_config()), grant());
    feed(&mut runtime, start(), &second_hello());
    assert_eq!(runtime.phase(), Phase::Detached);
    let mut other = runtime.clone();
    let frames = sent_json(&mut runtime, start());
    assert_eq!(types(&frames), ["session.welcome", "session.bye", "session.error"]);
    assert_eq!(frames[0]["payload"]["resume_token"], token(1).reveal());
    assert_eq!(types(&resume_by_hand(&mut runtime, 1, 0)), ["session.welcome"]);
    // A takeover that comes first is given all of it for the old transport, and does not print the token (D3).
    let message = json!({"type": "session.hello", "payload": {
        "auth": {"scheme": "bearer", "token": "t"}, "resume_token": token(1).reveal()}});
    let opening = Opening::parse(Bytes::from(message.to_string()), &Default::default()).unwrap();
    let Opening::Resume(attempt) = opening else { panic!() };
    let takeover = other.resume(start(), attempt, &principal(), token(2)).unwrap();
    assert_eq!(takeover.farewell.len(), 3);
    assert!(!format!("{takeover:?}").contains(token(1).reveal()), "{takeover:?}");
}

#[test]
fn a14_our_client_tells_a_bye_for_reauthentication_as_the_sessions_end() {
    let mut client = client_alone(client_config());
    feed(&mut client, start(), &json!({"type": "session.bye", "payload": {"reason": "reauthentication"}}));
    let events = client_events(&mut client);
    let [ClientEvent::Closed(CloseReason::PeerClosed { reason })] = &events[..] else { panic!("{events:?}") };
    assert_eq!(reason.as_deref(), Some("reauthentication"));
    feed(&mut client, start(), &json!({"type": "session.error", "payload": {"code": "INVALID_REQUEST"}}));
    assert!(client_events(&mut client).is_empty());
}

#[test]
fn d7_a_second_welcome_is_ignored() {
    let mut client = client_alone(client_config());
    let mut other = welcome_with(json!({"resume_token": "rt_other", "runtime": {"name": "x", "version": "x"}}));
    feed(&mut client, start(), &other);
    let events = client_events(&mut client);
    let [ClientEvent::Violation(violation)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(violation.error, ProtocolError::WrongPhase(MessageType::SessionWelcome));
    assert_eq!(client.resume_token().map(ResumeToken::reveal), Some("rt_first"));
    assert_eq!(client.info().unwrap().runtime, PeerInfo::new("hand", "1"));
    other["session_id"] = json!("sess_2");
    feed(&mut client, start(), &other);
    assert_eq!(client.session_id().map(|id| id.as_str()), Some("sess_1"));
    assert_eq!(client.phase(), Phase::Open);
}

// D40.

#[test]
fn d40_the_dialects_are_off_by_default() {
    for passed in busy_session().transcript {
        let payload = &passed.json()["payload"];
        for extra in ["reply_to", "client_name", "client_version", "correlation_id"] {
            assert_eq!(payload.get(extra), None, "{payload}");
        }
    }
}

#[test]
fn d40_flat_client_name_stands_beside_client_where_asked_for() {
    let dialect = Dialect { flat_client_name: true, ..Dialect::default() };
    let mut pair = Pair::connected_with(ClientConfig { dialect, ..client_config() }, runtime_config());
    pair.cut();
    pair.resume();
    let hellos: Vec<_> = pair.transcript.iter().filter(|passed| passed.type_name() == "session.hello").collect();
    assert_eq!(hellos.len(), 2);
    for hello in hellos {
        let payload = &hello.json()["payload"];
        assert_eq!(payload["client"], json!({"name": "my-app", "version": "1.0.0"}));
        assert_eq!((&payload["client_name"], &payload["client_version"]), (&json!("my-app"), &json!("1.0.0")));
    }
}

#[test]
fn d40_reply_to_mirrors_request_id_where_asked_for() {
    let dialect = Dialect { mirrored_reply_to: true, ..Dialect::default() };
    let mut runtime = runtime_alone(RuntimeConfig { dialect, ..runtime_config() }, FeatureSet::all());
    let now = start();
    let ask = |id: &str, name: &str| json!({"id": id, "type": name, "job_id": "job_1", "payload": {"agent": "a"}});
    for (id, name) in [
        ("1", "job.submit"),
        ("2", "job.cancel"),
        ("3", "job.subscribe"),
        ("4", "session.list_jobs"),
        ("5", "job.submit"),
        ("6", "session.motd"),
    ] {
        let mut frame = ask(id, name);
        if name == "session.list_jobs" {
            frame["payload"] = json!({});
        }
        feed(&mut runtime, now, &frame);
    }
    for event in runtime_events(&mut runtime) {
        match event {
            RuntimeEvent::Submit { request, .. }
                if runtime.accept_job(now, request, JobAccepted::new(job(), "a@1", now.wall)).is_ok() => {}
            RuntimeEvent::Cancel { request, .. } => runtime.confirm_cancel(now, request, None).unwrap(),
            RuntimeEvent::Subscribe { request, .. } => {
                runtime.accept_subscribe(now, request, JobSubscribed::new(job(), "a@1", JobStatus::Running)).unwrap();
            }
            RuntimeEvent::ListJobs { request, .. } => {
                runtime.fail_request(now, request, WireError::new(ErrorCode::InternalError, "x")).unwrap();
            }
            RuntimeEvent::Violation(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let frames = sent_json(&mut runtime, now);
    assert_eq!(frames.len(), 6);
    for frame in frames {
        assert!(frame["payload"]["request_id"].is_string(), "{frame}");
        assert_eq!(frame["payload"]["reply_to"], frame["payload"]["request_id"], "{frame}");
    }
}
