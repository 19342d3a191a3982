//! Submits: registered, asked in order, answered alike (A12, D8, D11, D41).

use std::collections::BTreeMap;
use std::time::Duration;

use arcp_proto::endpoint::{
    AcceptError, Audited, DirectoryLimits, EndpointConfig, EndpointEvent, InsertError, OwnJobs, PublishError,
};
use arcp_proto::wire::{
    Credential, CredentialValue, ErrorCode, JobAccepted, JobId, JobQuery, JobStatus, JobSubmit, Lease,
    LeaseConstraints, RawJson, TraceId,
};
use arcp_proto::{AnswerError, Feature, RequestFailure, Timestamp};
use serde_json::json;

use super::questions::*;
use super::world::*;

fn by_hand(config: EndpointConfig) -> World {
    let mut world = World::new(config).with_a_careless_application();
    world.app.accepts = false;
    world
}

fn out_of_order() -> EndpointConfig {
    EndpointConfig { submits_in_order: false, ..config() }
}

/// An answer with everything that a feature gates.
fn rich(accepted: JobAccepted) -> JobAccepted {
    JobAccepted {
        lease: Lease::new([
            ("fs.read", vec!["/**".to_owned()]),
            ("cost.budget", vec!["USD:5.00".to_owned()]),
            ("model.use", vec!["m-*".to_owned()]),
        ]),
        lease_constraints: Some(LeaseConstraints { expires_at: Some(Timestamp::from_unix_millis(1_800_000_000_000)) }),
        budget: Some(BTreeMap::from([("USD".to_owned(), 5.into())])),
        credentials: Some(vec![credential()]),
        ..accepted
    }
}

fn credential() -> Credential {
    Credential {
        id: "cred_1".into(),
        scheme: "bearer".into(),
        value: CredentialValue::from("sk-virt-1"),
        endpoint: None,
        profile: None,
        constraints: None,
    }
}

#[test]
fn a12_an_accepted_job_is_registered_with_its_session_and_its_principal_and_listed_at_once() {
    let mut world = by_hand(config());
    let alice = world.connect(client("alice"));
    world.advance(secs(3));
    let trace = TraceId::from_bits(7);
    let submit = JobSubmit::new("code-refactor", RawJson::empty_object());
    let request = world.request(alice, |client, now| client.submit_traced(now, &submit, trace));
    let EndpointEvent::Submit { principal: asking, trace_id, submit: asked, .. } = &world.take_endpoint_events()[0]
    else {
        panic!("no submit")
    };
    assert_eq!((asking, *trace_id, &**asked), (&principal("alice"), Some(trace), &submit));

    world.accept_with("job_1", rich).unwrap();
    let record = world.endpoint.jobs().get(&job(1)).unwrap().clone();
    let expected = rich(JobAccepted::new(job(1), "code-refactor", world.now.wall));
    assert_eq!(record.principal, principal("alice"));
    assert_eq!(record.session, Some(session(1)));
    assert_eq!(record.agent, "code-refactor");
    assert_eq!(record.status, JobStatus::Pending);
    assert_eq!(record.lease, expected.lease);
    assert_eq!(record.lease_constraints, expected.lease_constraints);
    assert_eq!(record.budget, expected.budget);
    assert_eq!(record.credentials, expected.credentials);
    assert_eq!(record.parent_job_id, None);
    assert_eq!(record.created_at, world.now.wall);
    assert_eq!(record.trace_id, Some(trace));
    assert_eq!(record.last_event_seq, 0);

    let Told::Accepted(accepted) = world.told_of(alice, request) else { panic!("not accepted") };
    assert_eq!(accepted.trace_id, Some(trace));
    assert_eq!(accepted.accepted_at, Some(world.now.wall));
    let page = world.list(alice, &JobQuery::default()).page();
    assert_eq!(page.jobs, [record.entry()]);
    assert_eq!(world.endpoint.jobs().jobs_of(&principal("alice")).count(), 1);
}

#[test]
fn a12_when_and_under_which_trace_a_job_was_accepted_the_application_can_say() {
    let mut world = by_hand(config());
    let alice = world.connect(client("alice"));
    world.ask_any(alice);
    let (at, trace) = (Timestamp::from_unix_millis(1_700_000_000_000), TraceId::from_bits(9));
    world
        .accept_with("job_1", |accepted| JobAccepted { accepted_at: Some(at), trace_id: Some(trace), ..accepted })
        .unwrap();
    world.ask_any(alice);
    world.accept_with("job_2", |accepted| JobAccepted { accepted_at: None, ..accepted }).unwrap();
    let first = world.endpoint.jobs().get(&job(1)).unwrap();
    assert_eq!((first.created_at, first.trace_id), (at, Some(trace)));
    assert_eq!(world.endpoint.jobs().get(&job(2)).unwrap().created_at, world.now.wall);
}

#[test]
fn d30_a_job_that_the_directory_does_not_take_is_not_accepted_and_its_submit_stays_open() {
    let directory = DirectoryLimits { jobs: 2, page_bytes: 1_000, ..DirectoryLimits::default() };
    let mut world = by_hand(EndpointConfig { directory, ..config() });
    let alice = world.connect(client("alice"));
    world.ask_any(alice);
    world.accept_as("job_1").unwrap();
    let second = world.ask(alice, &submit_with("k", "2"));
    assert_eq!(world.accept_as("job_1"), Err(AcceptError::Directory(InsertError::DuplicateId)));
    assert_eq!(world.accept_as(""), Err(AcceptError::Directory(InsertError::BadId)));
    let long = |accepted| JobAccepted { lease: Lease::new([("fs.read", vec!["x".repeat(1_000)])]), ..accepted };
    assert_eq!(world.accept_with("job_2", long), Err(AcceptError::Directory(InsertError::TooLarge)));
    assert!(world.told_of(alice, second).is_nothing());
    assert_eq!(world.endpoint.jobs().len(), 1);
    // The job of that id is still the first one's.
    world.publish(&job(1), "one").unwrap();
    world.accept_as("job_2").unwrap();
    assert_eq!(world.told_of(alice, second).job(), job(2));

    let third = world.ask_any(alice);
    assert_eq!(world.accept_as("job_3"), Err(AcceptError::Directory(InsertError::Full)));
    assert!(world.told_of(alice, third).is_nothing());
    world.finish(&job(1)).unwrap();
    world.accept_as("job_3").unwrap();
    assert_eq!(world.told_of(alice, third).job(), job(3));
    assert!(world.endpoint.jobs().get(&job(1)).is_none(), "the ended one has made place");
}

#[test]
fn d33_an_answer_that_the_session_cannot_take_registers_nothing() {
    let mut world = by_hand(config());
    let alice = world.connect(client_without("alice", &[Feature::ProvisionedCredentials]));
    let request = world.ask(alice, &submit_with("k", "1"));
    let refused = AcceptError::Answer(AnswerError::FeatureNotNegotiated(Feature::ProvisionedCredentials));
    assert_eq!(world.accept_with("job_1", rich), Err(refused));
    let child = |accepted| JobAccepted { parent_job_id: Some(job(9)), ..accepted };
    assert!(matches!(world.accept_with("job_1", child), Err(AcceptError::Answer(AnswerError::Invalid(_)))));
    assert!(world.endpoint.jobs().is_empty());
    assert_eq!(world.publish(&job(1), "one"), Err(PublishError::UnknownJob));
    assert!(world.told_of(alice, request).is_nothing());
    world.accept_as("job_1").unwrap();
    assert_eq!(world.told_of(alice, request).job(), job(1));
}

#[test]
fn d11_a_refused_submit_is_told_so_and_registers_nothing() {
    let mut world = by_hand(config());
    let alice = world.connect(client("alice"));
    let request = world.ask_any(alice);
    let open = world.asked();
    world.refuse_next(ErrorCode::AgentNotAvailable);
    assert_eq!(world.told_of(alice, request).code(), ErrorCode::AgentNotAvailable);
    assert!(world.endpoint.jobs().is_empty());
    // It is answered once.
    let accepted = JobAccepted::new(job(1), "code-refactor", world.now.wall);
    let again = world.endpoint.accept_job(world.now, &open[0], accepted);
    assert_eq!(again, Err(AcceptError::Answer(AnswerError::UnknownRequest)));
    assert!(world.endpoint.jobs().is_empty());
    let error = arcp_proto::wire::WireError::new(ErrorCode::InternalError, "");
    assert_eq!(world.endpoint.refuse(world.now, &open[0], error), Err(AnswerError::UnknownRequest));
}

#[test]
fn d11_a_submit_is_refused_by_one_of_the_drafts_codes_alone() {
    let mut world = by_hand(config());
    let alice = world.connect(client("alice"));
    let first = world.ask(alice, &submit_with("k", "1"));
    let second = world.ask_any(alice);
    let open = world.asked();
    let foreign = arcp_proto::wire::WireError::new(ErrorCode::from("NO_SUCH_CODE"), "");
    assert_eq!(world.endpoint.refuse(world.now, &open[0], foreign), Err(AnswerError::ForeignCode));
    world.flush();
    assert_eq!(world.asked(), open, "the submit is still open, and the next one waits");
    world.accept_as("job_1").unwrap();
    world.accept_as("job_2").unwrap();
    assert_eq!(world.told_of(alice, first).job(), job(1));
    assert_eq!(world.told_of(alice, second).job(), job(2));
}

#[test]
fn d12_submits_of_a_session_are_asked_for_one_at_a_time_in_their_order_and_answered_in_it() {
    let mut world = by_hand(config());
    let (alice, bob) = (world.connect(client("alice")), world.connect(client("bob")));
    let requests: Vec<_> = (0..4).map(|_| world.ask_any(alice)).collect();
    world.ask_any(bob);
    // Other sessions are not held up.
    let sessions: Vec<_> = world.asked().iter().map(|request| request.session.clone()).collect();
    assert_eq!(sessions, [session(1), session(2)]);
    world.accept_as("job_1").unwrap();
    world.accept_as("job_b").unwrap();
    assert_eq!(world.asked().len(), 1);
    world.refuse_next(ErrorCode::InternalError);
    assert_eq!(world.asked().len(), 1);
    world.accept_as("job_3").unwrap();
    world.accept_as("job_4").unwrap();
    let answered: Vec<_> = world.take_events(alice).iter().filter_map(answered).collect();
    assert_eq!(answered, requests);
}

fn answered(event: &arcp_proto::ClientEvent) -> Option<arcp_proto::RequestId> {
    match event {
        arcp_proto::ClientEvent::Accepted { request, .. } => *request,
        arcp_proto::ClientEvent::RequestFailed { request, .. } => Some(*request),
        _ => None,
    }
}

#[test]
fn d12_submits_are_all_asked_for_where_the_application_wants_so_and_answered_as_it_answers() {
    let mut world = by_hand(out_of_order());
    let alice = world.connect(client("alice"));
    let requests: Vec<_> = (0..3).map(|_| world.ask_any(alice)).collect();
    assert_eq!(world.asked().len(), 3);
    world.app.submits.rotate_left(2);
    for n in ["job_3", "job_1", "job_2"] {
        world.accept_as(n).unwrap();
    }
    let answered: Vec<_> = world.take_events(alice).iter().filter_map(answered).collect();
    assert_eq!(answered, [requests[2], requests[0], requests[1]]);
}

#[test]
fn d8_a_submit_survives_its_transport_and_its_job_runs_on() {
    let mut world = by_hand(config());
    let (link, id) = world.raw_session("alice", &["ack"]);
    let submit = message("job.submit", "m1", &id, json!({"agent": "code", "input": 1}));
    world.say(link, &submit);
    let next = message("job.submit", "m2", &id, json!({"agent": "code", "input": 2}));
    world.say(link, &next);
    world.hang_up(link);
    world.accept_as("job_1").unwrap();
    assert_eq!(world.endpoint.jobs().get(&job(1)).unwrap().session, Some(id.clone()));
    world.publish(&job(1), "while away").unwrap();
    // The one that waited is asked for all the same.
    world.accept_as("job_2").unwrap();

    let link = world.raw();
    world.say(link, &resume_hello("alice", &["ack"], &id, &token(1), 0));
    let heard = world.heard(link);
    assert_eq!(types(&heard), ["session.welcome", "job.event"], "an answer is not sent unasked");
    for (submit, job) in [(&submit, "job_1"), (&next, "job_2")] {
        world.say(link, submit);
        let heard = world.heard(link);
        assert_eq!(types(&heard), ["job.accepted"]);
        assert_eq!(heard[0]["payload"]["job_id"], json!(job));
        assert_eq!(heard[0]["payload"]["request_id"], submit["id"]);
    }
    assert!(world.asked().is_empty());
    world.publish(&job(1), "back").unwrap();
    assert_eq!(types(&world.heard(link)), ["job.event"]);
}

#[test]
fn d8_an_open_submit_repeated_after_a_resume_is_asked_for_once_and_answered_there() {
    let mut world = by_hand(config());
    let (link, id) = world.raw_session("alice", &[]);
    let submit = message("job.submit", "m1", &id, json!({"agent": "code", "input": 1}));
    world.say(link, &submit);
    world.hang_up(link);
    let link = world.raw();
    world.say(link, &resume_hello("alice", &[], &id, &token(1), 0));
    world.say(link, &submit);
    assert_eq!(world.asked().len(), 1);
    world.heard(link);
    world.accept_as("job_1").unwrap();
    assert_eq!(types(&world.heard(link)), ["job.accepted"]);
}

#[test]
fn d12_an_answer_after_the_session_is_gone_is_none_and_registers_nothing() {
    let mut world = by_hand(config());
    let alice = world.connect(client("alice"));
    world.ask_any(alice);
    world.ask_any(alice);
    let open = world.asked();
    world.end_session(alice);
    assert_eq!(world.accept_as("job_1"), Err(AcceptError::Answer(AnswerError::UnknownRequest)));
    assert!(world.endpoint.jobs().is_empty());
    assert_eq!(world.asked(), open, "what waited behind it went with the session");
    let error = arcp_proto::wire::WireError::new(ErrorCode::InternalError, "");
    assert_eq!(world.endpoint.refuse(world.now, &open[0], error), Err(AnswerError::UnknownRequest));
}

/// Two submits of the same parameters, written otherwise.
const ONE_WAY: &str = r#"{"a":1,"b":[true,null]}"#;
const OTHER_WAY: &str = r#"{ "b": [true, null], "a": 1 }"#;

#[test]
fn d41_a_repetition_gets_the_first_answer_and_no_second_job() {
    let mut world = by_hand(config());
    let (alice, again) = (world.connect(client("alice")), world.connect(client("alice")));
    let first = world.ask(alice, &submit_with("k", ONE_WAY));
    world.accept_with("job_1", rich).unwrap();
    let Told::Accepted(first) = world.told_of(alice, first) else { panic!("not accepted") };
    world.advance(secs(5));
    for peer in [alice, again] {
        let request = world.ask(peer, &submit_with("k", OTHER_WAY));
        let Told::Accepted(mut repeated) = world.told_of(peer, request) else { panic!("not accepted") };
        assert_ne!(repeated.request_id, None);
        repeated.request_id = first.request_id.clone();
        assert_eq!(repeated, first);
    }
    assert!(world.asked().is_empty());
    assert_eq!(world.endpoint.jobs().len(), 1);
    assert_eq!(world.endpoint.jobs().get(&job(1)).unwrap().session, Some(session(1)), "the job is the first one's");
    // And so are its events.
    world.publish(&job(1), "one").unwrap();
    assert_eq!(world.take_heard(alice, &job(1)), ["one"]);
    assert!(world.take_heard(again, &job(1)).is_empty());
}

#[test]
fn d41_a_repetition_while_the_first_is_open_waits_for_its_answer() {
    for config in [config(), out_of_order()] {
        let mut world = by_hand(config);
        let (alice, again) = (world.connect(client("alice")), world.connect(client("alice")));
        let requests = [
            (alice, world.ask(alice, &submit_with("k", ONE_WAY))),
            (again, world.ask(again, &submit_with("k", OTHER_WAY))),
            (alice, world.ask(alice, &submit_with("k", OTHER_WAY))),
        ];
        assert_eq!(world.asked().len(), 1);
        world.accept_as("job_1").unwrap();
        for (peer, request) in requests {
            assert_eq!(world.told_of(peer, request).job(), job(1));
        }
        assert!(world.asked().is_empty());
        assert_eq!(world.endpoint.jobs().len(), 1);
    }
}

#[test]
fn d41_a_repetition_gets_its_answer_as_long_as_the_job_is_in_the_directory() {
    let mut world = by_hand(config());
    let alice = world.connect(client("alice"));
    world.ask(alice, &submit_with("k", ONE_WAY));
    world.accept_as("job_1").unwrap();
    world.finish(&job(1)).unwrap();
    let gone = world.now.mono + secs(600);
    world.advance(secs(600) - millis(1));
    let request = world.ask(alice, &submit_with("k", OTHER_WAY));
    assert_eq!(world.told_of(alice, request).job(), job(1));
    world.advance_to(gone);
    assert!(world.endpoint.jobs().is_empty());
    let request = world.ask(alice, &submit_with("k", OTHER_WAY));
    assert!(world.told_of(alice, request).is_nothing());
    world.accept_as("job_2").unwrap();
    assert_eq!(world.told_of(alice, request).job(), job(2));
}

#[test]
fn d41_a_job_that_is_forgotten_or_pushed_out_frees_its_key() {
    let directory = DirectoryLimits { jobs: 1, ..DirectoryLimits::default() };
    let mut world = by_hand(EndpointConfig { directory, ..config() });
    let alice = world.connect(client("alice"));
    world.ask(alice, &submit_with("k", ONE_WAY));
    world.accept_as("job_1").unwrap();
    assert!(world.endpoint.forget_job(world.now, &job(1)));
    assert!(!world.endpoint.forget_job(world.now, &job(1)));
    world.ask(alice, &submit_with("k", "2"));
    world.accept_as("job_2").unwrap();
    world.finish(&job(2)).unwrap();
    world.ask_any(alice);
    world.accept_as("job_3").unwrap();
    let request = world.ask(alice, &submit_with("k", "3"));
    assert_eq!(world.asked().len(), 1, "the key is free: {:?}", world.told_of(alice, request));
}

#[test]
fn d41_a_key_is_its_principals_own() {
    let mut world = by_hand(config());
    let (alice, bob) = (world.connect(client("alice")), world.connect(client("bob")));
    world.ask(alice, &submit_with("k", ONE_WAY));
    let request = world.ask(bob, &submit_with("k", "other".len().to_string().as_str()));
    assert_eq!(world.asked().len(), 2);
    world.accept_as("job_1").unwrap();
    world.accept_as("job_2").unwrap();
    assert_eq!(world.told_of(bob, request).job(), job(2));
}

#[test]
fn d41_other_parameters_under_the_same_key_are_a_duplicate_that_names_no_job() {
    let mut world = by_hand(config());
    let (alice, again) = (world.connect(client("alice")), world.connect(client("alice")));
    world.ask(alice, &submit_with("k", ONE_WAY));
    let others = [
        submit_with("k", "2"),
        JobSubmit { agent: "other".into(), ..submit_with("k", ONE_WAY) },
        JobSubmit { max_runtime_sec: Some(1), ..submit_with("k", ONE_WAY) },
        JobSubmit { lease_request: Some(Lease::default()), ..submit_with("k", ONE_WAY) },
        JobSubmit {
            lease_constraints: Some(LeaseConstraints { expires_at: Some(Timestamp::EPOCH) }),
            ..submit_with("k", ONE_WAY)
        },
    ];
    for is_open in [true, false] {
        for other in &others {
            let request = world.ask(again, other);
            assert_eq!(world.told_of(again, request).code(), ErrorCode::DuplicateKey);
        }
        let link = world.link_of(again);
        for frame in world.link(link).transcript.iter().map(Passed::json).filter(|it| type_of(it) == "session.error") {
            assert!(!frame.to_string().contains("job_"), "{frame}");
        }
        if is_open {
            world.accept_as("job_1").unwrap();
        }
    }
    assert!(world.asked().is_empty());
    assert_eq!(world.endpoint.jobs().len(), 1);
}

#[test]
fn d41_a_refusal_frees_the_key_and_whoever_waits_is_asked_for_in_turn() {
    let mut world = by_hand(config());
    let peers: Vec<_> = (0..3).map(|_| world.connect(client("alice"))).collect();
    let requests: Vec<_> = peers.iter().map(|peer| world.ask(*peer, &submit_with("k", ONE_WAY))).collect();
    assert_eq!(world.asked().len(), 1);
    world.refuse_next(ErrorCode::InternalError);
    assert_eq!(world.told_of(peers[0], requests[0]).code(), ErrorCode::InternalError);
    assert_eq!(world.asked().iter().map(|it| it.session.clone()).collect::<Vec<_>>(), [session(2)]);
    assert!(world.told_of(peers[2], requests[2]).is_nothing());
    world.accept_as("job_1").unwrap();
    assert_eq!(world.told_of(peers[1], requests[1]).job(), job(1));
    assert_eq!(world.told_of(peers[2], requests[2]).job(), job(1));
    // The first one's key is free: another submit under it is compared with the accepted one.
    let request = world.ask(peers[0], &submit_with("k", OTHER_WAY));
    assert_eq!(world.told_of(peers[0], request).job(), job(1));
}

#[test]
fn d41_a_refusal_lets_the_same_sessions_repetition_be_asked_for() {
    for config in [config(), out_of_order()] {
        let mut world = by_hand(config);
        let alice = world.connect(client("alice"));
        let first = world.ask(alice, &submit_with("k", ONE_WAY));
        let second = world.ask(alice, &submit_with("k", OTHER_WAY));
        assert_eq!(world.asked().len(), 1);
        world.refuse_next(ErrorCode::InternalError);
        assert_eq!(world.told_of(alice, first).code(), ErrorCode::InternalError);
        assert_eq!(world.asked().len(), 1);
        world.accept_as("job_1").unwrap();
        assert_eq!(world.told_of(alice, second).job(), job(1));
    }
}

#[test]
fn d41_where_the_asking_session_ends_whoever_waits_is_asked_for() {
    let mut world = by_hand(config());
    let (alice, again) = (world.connect(client("alice")), world.connect(client("alice")));
    world.ask(alice, &submit_with("k", ONE_WAY));
    let waiting = world.ask(again, &submit_with("k", ONE_WAY));
    let behind = world.ask_any(again);
    assert_eq!(world.asked().len(), 1);
    world.end_session(alice);
    let sessions: Vec<_> = world.asked().iter().map(|request| request.session.clone()).collect();
    assert_eq!(sessions, [session(1), session(2)]);
    assert!(world.accept_as("job_1").is_err(), "that one is gone");
    world.app.submits.pop_front();
    world.accept_as("job_2").unwrap();
    assert_eq!(world.told_of(again, waiting).job(), job(2));
    world.accept_as("job_3").unwrap();
    assert_eq!(world.told_of(again, behind).job(), job(3));
}

#[test]
fn d41_where_a_waiting_session_ends_the_others_are_answered() {
    let mut world = by_hand(config());
    let peers: Vec<_> = (0..3).map(|_| world.connect(client("alice"))).collect();
    let requests: Vec<_> = peers.iter().map(|peer| world.ask(*peer, &submit_with("k", ONE_WAY))).collect();
    world.end_session(peers[1]);
    // Another has its place meanwhile, and is not taken for it.
    let newcomer = world.connect(client("bob"));
    let other = world.ask_any(newcomer);
    world.accept_as("job_1").unwrap();
    assert_eq!(world.told_of(peers[0], requests[0]).job(), job(1));
    assert_eq!(world.told_of(peers[2], requests[2]).job(), job(1));
    assert!(world.told_of(newcomer, other).is_nothing());
    world.accept_as("job_2").unwrap();
    assert_eq!(world.told_of(newcomer, other).job(), job(2));
}

#[test]
fn d41_a_waiting_repetition_whose_transport_was_lost_has_its_answer_kept() {
    let mut world = by_hand(config());
    let alice = world.connect(client("alice"));
    world.ask(alice, &submit_with("k", "1"));
    let (link, id) = world.raw_session("alice", &[]);
    let submit =
        message("job.submit", "m1", &id, json!({"agent": "code-refactor", "input": 1, "idempotency_key": "k"}));
    world.say(link, &submit);
    world.hang_up(link);
    world.accept_as("job_1").unwrap();
    let link = world.raw();
    world.say(link, &resume_hello("alice", &[], &id, &token(2), 0));
    world.say(link, &submit);
    let heard = world.heard(link);
    assert_eq!(types(&heard), ["session.welcome", "job.accepted"]);
    assert_eq!(heard[1]["payload"]["job_id"], json!("job_1"));
}

#[test]
fn d33_a_repeated_answer_is_trimmed_to_the_features_of_who_repeats() {
    let gated = [Feature::LeaseExpiresAt, Feature::CostBudget, Feature::ModelUse, Feature::ProvisionedCredentials];
    let mut world = by_hand(config());
    let alice = world.connect(client("alice"));
    let plain = world.connect(client_without("alice", &gated));
    let early = world.ask(alice, &submit_with("k", ONE_WAY));
    let waiting = world.ask(plain, &submit_with("k", ONE_WAY));
    world.accept_with("job_1", rich).unwrap();
    let later = world.ask(plain, &submit_with("k", ONE_WAY));
    let Told::Accepted(whole) = world.told_of(alice, early) else { panic!("not accepted") };
    assert!(whole.credentials.is_some() && whole.budget.is_some() && whole.lease_constraints.is_some());
    for request in [waiting, later] {
        let Told::Accepted(accepted) = world.told_of(plain, request) else { panic!("not accepted") };
        assert_eq!(accepted.lease.text(), r#"{"fs.read":["/**"]}"#);
        assert_eq!((accepted.lease_constraints, accepted.budget, accepted.credentials), (None, None, None));
    }
}

#[test]
fn d41_a_key_is_at_most_256_bytes() {
    let mut world = by_hand(config());
    let alice = world.connect(client("alice"));
    let longest = world.ask(alice, &submit_with(&"k".repeat(256), "1"));
    world.accept_as("job_1").unwrap();
    assert_eq!(world.told_of(alice, longest).job(), job(1));
    let longer = world.ask(alice, &submit_with(&"k".repeat(257), "1"));
    assert_eq!(world.told_of(alice, longer).code(), ErrorCode::InvalidRequest);
    // What comes behind a refusal is asked for.
    world.ask_any(alice);
    assert_eq!(world.asked().len(), 1);
}

#[test]
fn d41_so_many_wait_for_one_answer_and_another_may_try_again() {
    let mut world = by_hand(config());
    let alice = world.connect(client("alice"));
    world.ask(alice, &submit_with("k", "1"));
    let waiting: Vec<_> = (0..64).map(|_| world.connect(client("alice"))).collect();
    let requests: Vec<_> = waiting.iter().map(|peer| (*peer, world.ask(*peer, &submit_with("k", "1")))).collect();
    let late = world.connect(client("alice"));
    let refused = world.ask(late, &submit_with("k", "1"));
    assert_eq!(world.told_of(late, refused).code(), ErrorCode::InternalError);
    world.accept_as("job_1").unwrap();
    for (peer, request) in requests {
        assert_eq!(world.told_of(peer, request).job(), job(1));
    }
    let again = world.ask(late, &submit_with("k", "1"));
    assert_eq!(world.told_of(late, again).job(), job(1));
}

#[test]
fn d41_a_session_that_repeats_one_submit_as_often_as_it_may_is_answered_in_one_go() {
    // On a stack as small as a thread of a server may have.
    let run = || {
        let mut world = by_hand(config()).unjudged();
        let (link, id) = world.raw_session("alice", &[]);
        let submit = |n: usize, input: usize| {
            let payload = json!({"agent": "code", "input": input, "idempotency_key": "k"});
            message("job.submit", &format!("m{n}"), &id, payload)
        };
        for n in 0..256 {
            // Every other one conflicts.
            world.say(link, &submit(n, n % 2));
        }
        assert!(world.heard(link).is_empty());
        world.accept_as("job_1").unwrap();
        let heard = world.heard(link);
        assert_eq!(heard.len(), 256);
        for (n, frame) in heard.iter().enumerate() {
            let expected = if n % 2 == 0 { "job.accepted" } else { "session.error" };
            assert_eq!((type_of(frame), &frame["payload"]["request_id"]), (expected, &json!(format!("m{n}"))));
        }
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn d12_what_a_client_asked_for_before_a_cut_it_repeats_under_its_key_and_gets_the_same_job() {
    let mut world = by_hand(config());
    let alice = world.connect(client("alice"));
    let request = world.ask(alice, &submit_with("k", ONE_WAY));
    world.cut(alice);
    assert!(matches!(world.told_of(alice, request), Told::Failed(RequestFailure::Disconnected)));
    world.reconnect(alice);
    let again = world.ask(alice, &submit_with("k", OTHER_WAY));
    assert_eq!(world.asked().len(), 1);
    world.accept_as("job_1").unwrap();
    assert_eq!(world.told_of(alice, again).job(), job(1));
}

#[test]
fn d32_a_session_that_ends_gives_its_jobs_away_and_they_go_on() {
    let mut world = World::plain().with_a_careless_application();
    let alice = world.connect(client("alice"));
    let jobs: Vec<JobId> = (0..3).map(|_| world.submit(alice)).collect();
    world.finish(&jobs[1]).unwrap();
    world.take_endpoint_events();
    world.end_session(alice);
    let closed = world.take_endpoint_events().into_iter().find_map(|event| match event {
        EndpointEvent::Closed { jobs, .. } => Some(jobs),
        _ => None,
    });
    assert_eq!(closed, Some(vec![jobs[0].clone(), jobs[2].clone()]));
    assert!(world.take_audited().iter().any(|audited| matches!(audited, Audited::Closed(_))));
    let record = world.endpoint.jobs().get(&jobs[0]).unwrap();
    assert_eq!((&record.status, &record.session), (&JobStatus::Pending, &None));
    let published = world.publish(&jobs[0], "on").unwrap();
    assert_eq!(published.submitter, arcp_proto::endpoint::Receipt::Gone);
    world.finish(&jobs[0]).unwrap();
    let page = world.endpoint.jobs().page(&principal("alice"), &OwnJobs, &JobQuery::default()).unwrap();
    assert_eq!(page.jobs.len(), 3);
    world.advance(Duration::from_secs(600));
    assert_eq!(world.endpoint.jobs().len(), 1, "the one that has not ended");
}

#[test]
fn d43_submits_that_wait_for_another_s_answer_do_not_stop_the_reading_nor_a_resume() {
    for in_order in [true, false] {
        let mut world = by_hand(EndpointConfig { submits_in_order: in_order, ..config() });
        let first = world.connect(client("alice"));
        let again = world.connect(client("alice"));
        let large = submit_with("k", &format!("{:?}", "x".repeat(1_000_000)));
        world.ask(first, &large);
        let asked: Vec<_> = (0..16).map(|_| world.ask(again, &large)).collect();
        let refused = |world: &mut World, request| match world.told_of(again, request) {
            Told::Nothing => false,
            told => told.code() == ErrorCode::InternalError,
        };
        let refused: Vec<bool> = asked.iter().map(|request| refused(&mut world, *request)).collect();
        assert_eq!(refused.iter().position(|is_refused| *is_refused), Some(4), "a quarter of 16 MiB");
        assert!(world.runtime_of(again).unwrap().wants_input());
        world.cut(again);
        world.reconnect(again);
        assert!(world.endpoint.conn_of(&session(2)).is_some());

        // What they cost is free again once they have their answer.
        world.accept_as("job_1").unwrap();
        let once_more = world.ask(again, &large);
        assert_eq!(world.told_of(again, once_more).job(), job(1));
    }
}
