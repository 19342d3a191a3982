//! What a feature gates, in both directions: refused locally by an `Err` that changes nothing, refused at the runtime by
//! an error that names the request, tolerated where it asks for nothing.

use std::collections::BTreeMap;

use arcp_proto::wire::{
    Credential, CredentialValue, ErrorCode, JobAccepted, JobEntry, JobError, JobId, JobPage, JobQuery, JobResult,
    JobStatus, JobSubmit, JobSubscribed, Lease, LeaseConstraints, RawJson, ResultId, WireError,
};
use arcp_proto::{
    AnswerError, Client, ClientEvent, Feature, FeatureSet, Interest, Opening, ProtocolError, RequestId, Runtime,
    RuntimeEvent, SendError, Session,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::pair::{
    From, Pair, client_config, client_events, feed, job, log_frame, only, principal, runtime_alone, runtime_config,
    runtime_events, secs, sent, sent_json, start, token, types, welcome,
};

fn client_without(feature: Feature) -> Session<Client> {
    client_with(FeatureSet::all().without(feature))
}

fn client_with(features: FeatureSet) -> Session<Client> {
    let mut client = Session::connect(start(), client_config());
    assert_eq!(sent(&mut client, start()).len(), 1);
    feed(&mut client, start(), &welcome(features));
    assert!(matches!(client_events(&mut client)[..], [ClientEvent::Connected(_)]));
    client
}

fn runtime_without(feature: Feature) -> Session<Runtime> {
    runtime_alone(runtime_config(), FeatureSet::all().without(feature))
}

fn submit_of(agent: &str) -> JobSubmit {
    JobSubmit::new(agent, RawJson::empty_object())
}

fn lease_of(namespace: &str) -> Lease {
    Lease::new([(namespace, vec!["x".to_owned()])])
}

fn expiring() -> LeaseConstraints {
    LeaseConstraints { expires_at: Some(start().wall) }
}

fn credential() -> Credential {
    Credential {
        id: "c".into(),
        scheme: "bearer".into(),
        value: CredentialValue::new("v"),
        endpoint: None,
        profile: None,
        constraints: None,
    }
}

/// Submits, each with the one feature that it needs.
fn submits() -> Vec<(Feature, JobSubmit)> {
    let with_lease = |namespace: &str| JobSubmit { lease_request: Some(lease_of(namespace)), ..submit_of("a") };
    vec![
        (Feature::AgentVersions, submit_of("a@1.0.0")),
        (Feature::LeaseExpiresAt, JobSubmit { lease_constraints: Some(expiring()), ..submit_of("a") }),
        (Feature::CostBudget, with_lease("cost.budget")),
        (Feature::ModelUse, with_lease("model.use")),
    ]
}

/// Answers to a submit, each with the one feature that it needs.
fn acceptances() -> Vec<(Feature, JobAccepted)> {
    let plain = || JobAccepted::new(job(), "a@1.0.0", start().wall);
    let budget = BTreeMap::from([("USD".to_owned(), 5.into())]);
    vec![
        (Feature::LeaseExpiresAt, JobAccepted { lease_constraints: Some(expiring()), ..plain() }),
        (Feature::CostBudget, JobAccepted { lease: lease_of("cost.budget"), ..plain() }),
        (Feature::CostBudget, JobAccepted { budget: Some(budget), ..plain() }),
        (Feature::ModelUse, JobAccepted { lease: lease_of("model.use"), ..plain() }),
        (Feature::ProvisionedCredentials, JobAccepted { credentials: Some(vec![credential()]), ..plain() }),
    ]
}

fn subscriptions() -> Vec<(Feature, JobSubscribed)> {
    let plain = || JobSubscribed::new(job(), "a@1.0.0", JobStatus::Running);
    acceptances()
        .into_iter()
        .map(|(feature, accepted)| {
            let JobAccepted { lease, lease_constraints, budget, credentials, .. } = accepted;
            (feature, JobSubscribed { lease, lease_constraints, budget, credentials, ..plain() })
        })
        .collect()
}

/// Events, each with the one feature that it needs.
fn events() -> Vec<(Feature, &'static str, Value)> {
    let chunk = json!({"result_id": "res_1", "chunk_seq": 0, "data": "x", "encoding": "utf8", "more": false});
    vec![
        (Feature::Progress, "progress", json!({"current": 1})),
        (Feature::ResultChunk, "result_chunk", chunk),
        (Feature::Ack, "status", json!({"phase": "back_pressure", "message": "m"})),
        (Feature::ProvisionedCredentials, "status", json!({"phase": "credential_rotated"})),
    ]
}

/// Nothing is queued, told, awaited or given out by a call that was refused.
fn unchanged<R: arcp_proto::Role>(session: &mut Session<R>, before: &str) {
    assert_eq!(format!("{session:?}"), before);
    assert!(sent(session, start()).is_empty());
    assert!(session.poll_event().is_none());
}

// A client's own requests.

#[test]
fn a5_a_client_refuses_to_send_what_was_not_negotiated() {
    let missing = |feature| Err(SendError::FeatureNotNegotiated(feature));
    let mut client = client_without(Feature::ListJobs);
    let before = format!("{client:?}");
    assert_eq!(client.list_jobs(start(), &JobQuery::default()).map(drop), missing(Feature::ListJobs));
    unchanged(&mut client, &before);
    let mut client = client_without(Feature::Subscribe);
    let before = format!("{client:?}");
    assert_eq!(client.subscribe(start(), &job(), None).map(drop), missing(Feature::Subscribe));
    assert_eq!(client.subscribe(start(), &job(), Some(3)).map(drop), missing(Feature::Subscribe));
    assert_eq!(client.unsubscribe(start(), &job()), missing(Feature::Subscribe));
    unchanged(&mut client, &before);
    let mut client = client_without(Feature::Ack);
    let before = format!("{client:?}");
    assert_eq!(client.flush_acks(start()), missing(Feature::Ack));
    unchanged(&mut client, &before);
    for (feature, submit) in submits() {
        let mut client = client_without(feature);
        let before = format!("{client:?}");
        assert_eq!(client.submit(start(), &submit).map(drop), missing(feature));
        unchanged(&mut client, &before);
        // What needs no feature can be sent all the same.
        assert!(client.submit(start(), &submit_of("a")).is_ok());
    }
}

#[test]
fn a5_a_refused_request_costs_no_id_and_answers_to_nothing() {
    let mut client = client_without(Feature::ListJobs);
    let mut other = client.clone();
    assert!(client.list_jobs(start(), &JobQuery::default()).is_err());
    assert_eq!(client.submit(start(), &submit_of("a")), other.submit(start(), &submit_of("a")));
    assert_eq!(sent(&mut client, start()), sent(&mut other, start()), "to the byte");
}

#[test]
fn a5_the_refusal_says_which_feature_is_missing() {
    let mut client = client_without(Feature::ListJobs);
    let error = client.list_jobs(start(), &JobQuery::default()).unwrap_err();
    assert!(error.to_string().contains("list_jobs"), "{error}");
    let error = client_without(Feature::CostBudget).submit(start(), &submits()[2].1).unwrap_err();
    assert!(error.to_string().contains("cost.budget"), "{error}");
}

#[test]
fn a5_with_its_feature_alone_each_request_is_sent() {
    for (feature, submit) in submits() {
        assert!(client_with(only(&[feature])).submit(start(), &submit).is_ok(), "{feature}");
    }
    let mut client = client_with(only(&[Feature::ListJobs]));
    assert!(client.list_jobs(start(), &JobQuery::default()).is_ok());
    let mut client = client_with(only(&[Feature::Subscribe]));
    assert!(client.subscribe(start(), &job(), None).is_ok() && client.unsubscribe(start(), &job()).is_ok());
    let mut client = client_with(only(&[Feature::Ack]));
    assert!(client.flush_acks(start()).is_ok());
}

#[test]
fn a5_without_any_feature_a_client_submits_and_cancels() {
    let mut client = client_with(FeatureSet::none());
    assert!(client.submit(start(), &submit_of("a")).is_ok());
    assert!(client.cancel(start(), &job(), None).is_ok());
    assert_eq!(types(&sent_json(&mut client, start())), ["job.submit", "job.cancel"]);
}

#[test]
fn a5_the_runtimes_set_counts_as_much_as_the_clients() {
    for feature in Feature::ALL {
        let mut pair =
            Pair::connected_with(client_config(), runtime_config().with_features(FeatureSet::all().without(*feature)));
        let now = pair.now;
        for (needed, submit) in submits() {
            let outcome = pair.client.submit(now, &submit);
            assert_eq!(outcome.is_err(), needed == *feature, "{needed} without {feature}");
        }
    }
}

// A client's acks, pings and pongs.

#[test]
fn a5_a_client_acknowledges_only_where_that_was_negotiated() {
    for (features, acks) in [(FeatureSet::all(), 1), (FeatureSet::all().without(Feature::Ack), 0)] {
        let mut pair = Pair::connected_with(client_config().with_features(features), runtime_config());
        pair.submit();
        pair.emit(3);
        pair.flush();
        assert_eq!(pair.take_seqs(), [1, 2, 3]);
        let now = pair.now;
        // The application may mark all the same: it does not have to know.
        assert_eq!(pair.client.mark_processed(now, 3), Ok(()));
        pair.advance(secs(5));
        pair.client.close(pair.now, "normal");
        pair.flush();
        let sent = pair.types_since(From::Client, 0);
        assert_eq!(sent.iter().filter(|name| *name == "session.ack").count(), acks);
        assert!(!pair.take_client_events().iter().any(|event| matches!(event, ClientEvent::Lagging { .. })));
    }
}

#[test]
fn a5_neither_side_pings_where_heartbeats_were_not_negotiated() {
    for feature in [None, Some(Feature::Heartbeat)] {
        let features = feature.map_or(FeatureSet::all(), |feature| FeatureSet::all().without(feature));
        let mut pair = Pair::connected_with(client_config(), runtime_config().with_features(features));
        pair.advance(secs(300));
        let is_on = feature.is_none();
        assert_eq!(pair.types_since(From::Client, 0).iter().any(|name| name == "session.ping"), is_on);
        assert_eq!(pair.types_since(From::Runtime, 0).iter().any(|name| name == "session.ping"), is_on);
    }
}

#[test]
fn d33_un_negotiated_pings_and_pongs_are_tolerated_and_told_once() {
    let mut runtime = runtime_without(Feature::Heartbeat);
    for n in 0..3 {
        feed(&mut runtime, start(), &json!({"id": n.to_string(), "type": "session.ping", "payload": {"nonce": "n"}}));
        feed(
            &mut runtime,
            start(),
            &json!({"id": n.to_string(), "type": "session.pong", "payload": {"ping_nonce": "n"}}),
        );
    }
    assert_eq!(types(&sent_json(&mut runtime, start())), ["session.pong"; 3]);
    assert_told_once(&runtime_events(&mut runtime), Feature::Heartbeat);
    let mut client = client_without(Feature::Heartbeat);
    for n in 0..3 {
        feed(&mut client, start(), &json!({"id": n.to_string(), "type": "session.ping", "payload": {"nonce": "n"}}));
        feed(&mut client, start(), &json!({"id": n.to_string(), "type": "session.pong"}));
    }
    assert_eq!(types(&sent_json(&mut client, start())), ["session.pong"; 3]);
    let events = client_events(&mut client);
    let [ClientEvent::Violation(violation)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(violation.error, ProtocolError::NotNegotiated(Feature::Heartbeat));
}

fn assert_told_once(events: &[RuntimeEvent], feature: Feature) {
    let [RuntimeEvent::Violation(violation)] = events else { panic!("{events:?}") };
    assert_eq!(violation.error, ProtocolError::NotNegotiated(feature));
    assert_eq!(violation.error.rule(), if feature == Feature::Ack { "D24" } else { "D23" });
}

#[test]
fn d33_an_un_negotiated_ack_is_ignored_without_a_wire_error() {
    let mut runtime = runtime_without(Feature::Ack);
    for _ in 0..3 {
        runtime.send_event(start(), &job(), "log", &json!({})).unwrap();
    }
    assert_eq!(sent(&mut runtime, start()).len(), 3);
    for seq in [1, 2, 99] {
        feed(&mut runtime, start(), &json!({"id": "1", "type": "session.ack", "payload": {"last_processed_seq": seq}}));
    }
    assert!(sent(&mut runtime, start()).is_empty());
    assert_eq!((runtime.acked_seq(), runtime.replay_floor()), (0, 0));
    assert_told_once(&runtime_events(&mut runtime), Feature::Ack);
}

// A peer's requests at the runtime.

/// Requests as a peer writes them, each with the feature that it needs.
fn requests() -> Vec<(Feature, &'static str, Value)> {
    vec![
        (Feature::ListJobs, "session.list_jobs", json!({})),
        (Feature::Subscribe, "job.subscribe", json!({"job_id": "job_1"})),
        (Feature::Subscribe, "job.unsubscribe", json!({"job_id": "job_1"})),
        (Feature::AgentVersions, "job.submit", json!({"agent": "a@1"})),
        (
            Feature::LeaseExpiresAt,
            "job.submit",
            json!({"agent": "a", "lease_constraints": {"expires_at": "2026-05-13T19:42:13Z"}}),
        ),
        (Feature::CostBudget, "job.submit", json!({"agent": "a", "lease_request": {"cost.budget": ["USD:1"]}})),
        (Feature::ModelUse, "job.submit", json!({"agent": "a", "lease_request": {"model.use": ["m"], "x": []}})),
    ]
}

#[test]
fn d33_a_request_outside_the_negotiated_features_is_refused_by_name() {
    for (feature, name, payload) in requests() {
        let mut runtime = runtime_without(feature);
        feed(&mut runtime, start(), &json!({"id": "q1", "type": name, "payload": payload}));
        let frames = sent_json(&mut runtime, start());
        assert_eq!(types(&frames), ["session.error"], "{name}");
        assert_eq!(frames[0]["payload"]["code"], "INVALID_REQUEST", "{name}");
        assert_eq!(frames[0]["payload"]["retryable"], false);
        assert_eq!(frames[0]["payload"]["request_id"], "q1", "{name}");
        assert_eq!(frames[0]["session_id"], "sess_1");
        let message = frames[0]["payload"]["message"].as_str().unwrap();
        assert!(message.contains(feature.name()), "{message}");
        // The application is told of the violation, and of no request.
        let events = runtime_events(&mut runtime);
        let [RuntimeEvent::Violation(violation)] = &events[..] else { panic!("{name}: {events:?}") };
        assert_eq!(violation.error, ProtocolError::NotNegotiated(feature));
        assert_eq!(violation.message_id.as_deref(), Some("q1"));
        assert_eq!(runtime.phase(), arcp_proto::Phase::Open);
    }
}

#[test]
fn d33_such_refusals_do_not_count_towards_the_limit_of_violations() {
    let mut runtime = runtime_without(Feature::ListJobs);
    for n in 0..200 {
        feed(&mut runtime, start(), &json!({"id": format!("q{n}"), "type": "session.list_jobs"}));
        assert_eq!(types(&sent_json(&mut runtime, start())), ["session.error"], "{n}");
    }
    assert_eq!(runtime.phase(), arcp_proto::Phase::Open);
}

#[test]
fn d33_with_its_feature_alone_each_request_reaches_the_application() {
    for (feature, name, payload) in requests() {
        let mut runtime = runtime_alone(runtime_config(), only(&[feature]));
        feed(&mut runtime, start(), &json!({"id": "q1", "type": name, "payload": payload}));
        assert!(sent(&mut runtime, start()).is_empty(), "{name}");
        let events = runtime_events(&mut runtime);
        assert_eq!(events.len(), 1, "{name}: {events:?}");
        assert!(!matches!(events[0], RuntimeEvent::Violation(_)), "{name}: {events:?}");
    }
}

#[test]
fn d33_other_members_of_a_lease_need_no_feature() {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::none());
    let payload = json!({"agent": "a", "lease_request": {"fs.read": ["/**"], "model": [], "cost": []},
        "lease_constraints": {"expires_at": null}, "idempotency_key": "k", "max_runtime_sec": 5});
    feed(&mut runtime, start(), &json!({"id": "q1", "type": "job.submit", "payload": payload}));
    assert!(matches!(runtime_events(&mut runtime)[..], [RuntimeEvent::Submit { .. }]));
}

// What a runtime sends.

/// A runtime without a feature, and the submit and subscribe that it was asked (as far as it may be).
fn asked(features: FeatureSet) -> (Session<Runtime>, RequestId, Option<RequestId>) {
    let mut runtime = runtime_alone(runtime_config(), features);
    feed(&mut runtime, start(), &json!({"id": "q1", "type": "job.submit", "payload": {"agent": "a"}}));
    feed(&mut runtime, start(), &json!({"id": "q2", "type": "job.subscribe", "payload": {"job_id": "job_1"}}));
    let (mut submit, mut subscribe) = (None, None);
    for event in runtime_events(&mut runtime) {
        match event {
            RuntimeEvent::Submit { request, .. } => submit = Some(request),
            RuntimeEvent::Subscribe { request, .. } => subscribe = Some(request),
            _ => {}
        }
    }
    let _ = sent(&mut runtime, start());
    (runtime, submit.unwrap(), subscribe)
}

#[test]
fn a5_a_runtime_refuses_to_answer_with_what_was_not_negotiated() {
    for (feature, accepted) in acceptances() {
        let (mut runtime, submit, _) = asked(FeatureSet::all().without(feature));
        let before = format!("{runtime:?}");
        let outcome = runtime.accept_job(start(), submit, accepted.clone());
        assert_eq!(outcome, Err(AnswerError::FeatureNotNegotiated(feature)));
        unchanged(&mut runtime, &before);
        // The request is still open.
        let plain = JobAccepted::new(job(), "a@1.0.0", start().wall);
        assert_eq!(runtime.accept_job(start(), submit, plain), Ok(()));
        assert_eq!(types(&sent_json(&mut runtime, start())), ["job.accepted"]);

        let (mut runtime, submit, _) = asked(only(&[feature]));
        assert_eq!(runtime.accept_job(start(), submit, accepted), Ok(()), "{feature}");
    }
}

#[test]
fn a5_a_runtime_refuses_to_grant_a_subscription_with_what_was_not_negotiated() {
    for (feature, subscribed) in subscriptions() {
        let (mut runtime, _, subscribe) = asked(FeatureSet::all().without(feature));
        let before = format!("{runtime:?}");
        let outcome = runtime.accept_subscribe(start(), subscribe.unwrap(), subscribed.clone());
        assert_eq!(outcome, Err(AnswerError::FeatureNotNegotiated(feature)));
        unchanged(&mut runtime, &before);
        let (mut runtime, _, subscribe) = asked(only(&[feature, Feature::Subscribe]));
        assert_eq!(runtime.accept_subscribe(start(), subscribe.unwrap(), subscribed), Ok(()), "{feature}");
    }
}

#[test]
fn a5_an_answers_agent_is_name_at_version_whatever_was_negotiated() {
    let (mut runtime, submit, _) = asked(FeatureSet::none());
    let accepted = JobAccepted::new(job(), "a@1.0.0", start().wall);
    assert_eq!(runtime.accept_job(start(), submit, accepted), Ok(()));
    assert_eq!(sent_json(&mut runtime, start())[0]["payload"]["agent"], "a@1.0.0");
}

#[test]
fn d33_an_event_that_was_not_negotiated_is_refused_before_it_gets_a_seq() {
    for (feature, kind, body) in events() {
        for interest in [Interest::Submitter, Interest::Subscriber] {
            let mut runtime = runtime_without(feature);
            assert_eq!(runtime.send_event_as(interest, start(), &job(), "log", &json!({})), Ok(1));
            assert_eq!(sent(&mut runtime, start()).len(), 1);
            let before = (format!("{runtime:?}"), runtime.last_event_seq(), runtime.replay_len());
            let outcome = runtime.send_event_as(interest, start(), &job(), kind, &body);
            assert_eq!(outcome, Err(SendError::FeatureNotNegotiated(feature)), "{kind}");
            assert_eq!((runtime.last_event_seq(), runtime.replay_len()), (before.1, before.2));
            unchanged(&mut runtime, &before.0);
            // The next one has the next number: no hole.
            assert_eq!(runtime.send_event_as(interest, start(), &job(), "log", &json!({})), Ok(2));
        }
    }
}

#[test]
fn d33_with_its_feature_alone_each_event_is_sent() {
    for (feature, kind, body) in events() {
        let mut runtime = runtime_alone(runtime_config(), only(&[feature]));
        assert_eq!(runtime.send_event(start(), &job(), kind, &body), Ok(1), "{kind}");
        assert_eq!(sent_json(&mut runtime, start())[0]["payload"]["body"], body);
    }
}

#[test]
fn d33_all_other_kinds_and_phases_need_no_feature() {
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::none());
    for kind in [
        "log",
        "thought",
        "tool_call",
        "tool_result",
        "status",
        "metric",
        "artifact_ref",
        "delegate",
        "x-vendor.y",
        "unheard",
    ] {
        for body in [json!({}), json!({"phase": "running"}), json!({"phase": 5}), json!({"phase": null})] {
            assert!(runtime.send_event(start(), &job(), kind, &body).is_ok(), "{kind} {body}");
        }
    }
    // The phases that are gated are so on a status alone.
    assert!(runtime.send_event(start(), &job(), "log", &json!({"phase": "credential_rotated"})).is_ok());
}

#[test]
fn d33_a_terminal_is_never_filtered_but_loses_its_result_id() {
    for (features, keeps) in [(FeatureSet::all(), true), (FeatureSet::all().without(Feature::ResultChunk), false)] {
        for interest in [Interest::Submitter, Interest::Subscriber] {
            let mut runtime = runtime_alone(runtime_config(), features.clone());
            let result = JobResult { summary: Some("done".into()), ..JobResult::streamed(ResultId::from("res_1"), 5) };
            assert_eq!(runtime.send_result_as(interest, start(), &job(), result), Ok(1));
            let payload = &sent_json(&mut runtime, start())[0]["payload"];
            assert_eq!(payload["final_status"], "success");
            assert_eq!(payload["summary"], "done");
            assert_eq!(payload.get("result_id").is_some(), keeps, "{payload}");
        }
    }
    let mut runtime = runtime_alone(runtime_config(), FeatureSet::none());
    let inline = JobResult::inline(RawJson::new(&json!({"x": 1})).unwrap());
    assert_eq!(runtime.send_result(start(), &job(), inline), Ok(1));
    let error = JobError::new(WireError::new(ErrorCode::BudgetExhausted, "spent"));
    assert_eq!(runtime.send_error(start(), &"job_2".into(), error), Ok(2));
    let frames = sent_json(&mut runtime, start());
    assert_eq!(types(&frames), ["job.result", "job.error"]);
    assert_eq!(frames[0]["payload"]["result"], json!({"x": 1}));
}

#[test]
fn a5_back_pressure_is_signalled_only_where_acks_were_negotiated() {
    for (features, signals) in [(FeatureSet::all(), true), (FeatureSet::all().without(Feature::Ack), false)] {
        let config = arcp_proto::RuntimeConfig { back_pressure_threshold: 2, ..runtime_config() };
        let mut runtime = runtime_alone(config, features);
        for _ in 0..5 {
            runtime.send_event(start(), &job(), "log", &json!({})).unwrap();
        }
        let frames = sent_json(&mut runtime, start());
        let signalled = frames.iter().any(|frame| frame["payload"]["body"]["phase"] == "back_pressure");
        assert_eq!(signalled, signals);
        assert_eq!(!runtime_events(&mut runtime).is_empty(), signals);
    }
}

// What a client is sent.

#[test]
fn d33_a_client_delivers_un_negotiated_kinds_and_tells_of_each_feature_once() {
    let mut client = client_with(FeatureSet::none());
    for (seq, kind) in (1..).zip(["progress", "result_chunk", "progress", "log", "result_chunk"]) {
        let mut frame = log_frame(seq);
        frame["payload"]["kind"] = json!(kind);
        feed(&mut client, start(), &frame);
    }
    let (mut told, mut seqs) = (Vec::new(), Vec::new());
    for event in client_events(&mut client) {
        match event {
            ClientEvent::Violation(violation) => told.push(violation.error),
            ClientEvent::Event(delivery) => seqs.extend(delivery.seq()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
    let missing = [Feature::Progress, Feature::ResultChunk].map(ProtocolError::NotNegotiated);
    assert_eq!(told, missing);
    assert!(sent(&mut client, start()).is_empty(), "nothing is answered");
    assert_eq!(client.phase(), arcp_proto::Phase::Open);
}

#[test]
fn a5_what_a_runtime_may_list_depends_on_the_request_alone() {
    let mut runtime = runtime_alone(runtime_config(), only(&[Feature::ListJobs]));
    feed(&mut runtime, start(), &json!({"id": "q1", "type": "session.list_jobs"}));
    let RuntimeEvent::ListJobs { request, .. } = runtime_events(&mut runtime)[0] else { panic!() };
    let entry = JobEntry::new(JobId::from("job_1"), "a@1", JobStatus::Running, start().wall);
    assert_eq!(runtime.respond_jobs(start(), request, JobPage { jobs: vec![entry], next_cursor: None }), Ok(()));
    assert_eq!(types(&sent_json(&mut runtime, start())), ["session.jobs"]);
}

/// D8 keeps the answer to a submit; who has given the feature up meanwhile is not sent the secrets in it.
#[test]
fn d33_all_of_a_repeated_answer_goes_by_the_features_of_now() {
    let (mut runtime, submit, _) = asked(FeatureSet::all());
    let grants =
        [("cost.budget", vec!["USD:1".to_owned()]), ("fs.read", vec!["/**".to_owned()]), ("model.use", vec![])];
    let accepted = JobAccepted {
        lease: Lease::new(grants),
        lease_constraints: Some(LeaseConstraints { expires_at: Some(start().wall) }),
        budget: Some([("USD".to_owned(), 1.into())].into()),
        credentials: Some(vec![credential()]),
        ..JobAccepted::new(job(), "a@1", start().wall)
    };
    runtime.accept_job(start(), submit, accepted).unwrap();
    let message = json!({"type": "session.hello", "payload": {"auth": {"scheme": "bearer", "token": "t"},
        "capabilities": {"features": []}, "resume_token": token(1).reveal()}});
    let Ok(Opening::Resume(attempt)) = Opening::parse(Bytes::from(message.to_string()), &Default::default()) else {
        panic!()
    };
    runtime.resume(start(), attempt, &principal(), token(2)).unwrap();
    let _ = sent(&mut runtime, start());
    feed(&mut runtime, start(), &json!({"id": "q1", "type": "job.submit", "payload": {"agent": "a"}}));
    let again = sent_json(&mut runtime, start()).remove(0);
    let mut expected = json!({"request_id": "q1", "job_id": "job_1", "agent": "a@1", "lease": {"fs.read": ["/**"]}});
    expected["accepted_at"] = json!(start().wall);
    assert_eq!(again["payload"], expected);
}

#[test]
fn d33_credentials_in_a_repeated_answer_go_by_the_features_of_now() {
    let (mut runtime, submit, _) = asked(FeatureSet::all());
    let accepted =
        JobAccepted { credentials: Some(vec![credential()]), ..JobAccepted::new(job(), "a@1", start().wall) };
    runtime.accept_job(start(), submit, accepted).unwrap();
    let first = sent_json(&mut runtime, start()).remove(0);
    assert!(first["payload"]["credentials"].is_array());
    let repeated = json!({"id": "q1", "type": "job.submit", "payload": {"agent": "a"}});
    for (round, features, has_them) in [(1, FeatureSet::none(), false), (2, FeatureSet::all(), true)] {
        let message = json!({"type": "session.hello", "payload": {"auth": {"scheme": "bearer", "token": "t"},
            "capabilities": {"features": features}, "resume_token": token(round).reveal()}});
        let opening = Opening::parse(Bytes::from(message.to_string()), &Default::default());
        let Ok(Opening::Resume(attempt)) = opening else { panic!() };
        runtime.resume(start(), attempt, &principal(), token(round + 1)).unwrap();
        let _ = sent(&mut runtime, start());
        feed(&mut runtime, start(), &repeated);
        let mut again = sent_json(&mut runtime, start()).remove(0);
        assert_eq!(again["payload"].get("credentials").is_some(), has_them, "{again}");
        again["payload"]["credentials"] = first["payload"]["credentials"].clone();
        assert_eq!(again["payload"], first["payload"], "the rest is as it was");
    }
}
