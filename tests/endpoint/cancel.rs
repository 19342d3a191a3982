//! Who may cancel what (D36, D37).

use arcp_proto::endpoint::{Audited, Endpoint, EndpointEvent, JobRecord, Policy, Request, Scope};
use arcp_proto::wire::{ErrorCode, JobId, JobStatus, Principal, WireError};
use arcp_proto::{AnswerError, RequestFailure};
use serde_json::{Value, json};

use super::questions::*;
use super::world::*;

/// Cancels wait for the test.
fn by_hand(endpoint: Endpoint) -> World {
    let mut world = World::over(endpoint).with_a_careless_application();
    world.app.cancels = false;
    world
}

/// The cancels that the application was told of since this was asked last.
fn take_cancels(world: &mut World) -> Vec<(Request, JobId, Option<String>)> {
    let cancel = |event| match event {
        EndpointEvent::Cancel { request, job_id, reason } => Some((request, job_id, reason)),
        _ => None,
    };
    world.take_endpoint_events().into_iter().filter_map(cancel).collect()
}

#[test]
fn d37_the_submitting_session_cancels_its_job_and_the_application_ends_it() {
    let mut world = by_hand(Endpoint::new(config()));
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let request = world.request(alice, |client, now| client.cancel(now, &job, Some("enough".into())));
    let cancels = take_cancels(&mut world);
    let [(asked, named, reason)] = &cancels[..] else { panic!("{cancels:?}") };
    assert_eq!((named, reason.as_deref(), &asked.session), (&job, Some("enough"), &session(1)));
    assert!(world.told_of(alice, request).is_nothing());
    world.endpoint.confirm_cancel(world.now, asked, Some("as you wish".into())).unwrap();
    world.flush();
    assert!(matches!(world.told_of(alice, request), Told::Cancelled));
    // Not sequenced, and not the end.
    let frame = world.link(world.link_of(alice)).transcript.last().unwrap().json();
    assert_eq!((type_of(&frame), &frame["event_seq"]), ("job.cancelled", &Value::Null));
    assert_eq!(frame["payload"]["reason"], json!("as you wish"));
    world.publish(&job, "tidying up").unwrap();
    world.endpoint.fail(world.now, &job, failure(ErrorCode::Cancelled)).unwrap();
    world.flush();
    assert_eq!(world.take_heard(alice, &job), ["tidying up", "CANCELLED"]);
    assert_eq!(world.endpoint.jobs().get(&job).unwrap().status, JobStatus::Cancelled);
    assert_eq!(world.endpoint.confirm_cancel(world.now, asked, None), Err(AnswerError::UnknownRequest));
}

#[test]
fn d37_the_right_to_cancel_goes_with_the_session_across_transports() {
    let mut world = by_hand(Endpoint::new(config()));
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.cut(alice);
    world.reconnect(alice);
    world.request(alice, |client, now| client.cancel(now, &job, None));
    assert_eq!(take_cancels(&mut world).len(), 1);
}

#[test]
fn d37_another_session_may_not_cancel_even_of_the_same_principal() {
    let mut world = by_hand(Endpoint::new(config()).with_policy(Open));
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    for name in ["alice", "bob"] {
        let other = world.connect(client(name));
        world.take_audit();
        assert_eq!(world.cancel(other, &job).code(), ErrorCode::PermissionDenied);
        let code = ErrorCode::PermissionDenied;
        assert_eq!(world.take_audited(), [Audited::CancelRefused { job: job.clone(), code }]);
    }
    assert!(take_cancels(&mut world).is_empty());
}

struct Blind;

impl Policy for Blind {
    fn scope(&self, _: &Principal) -> Scope {
        Scope::All
    }

    fn may_observe(&self, _: &Principal, _: &JobRecord) -> bool {
        false
    }
}

#[test]
fn d36_a_job_that_is_hidden_and_one_that_is_not_cannot_be_told_apart_by_a_cancel() {
    for policy in [Endpoint::new(config()), Endpoint::new(config()).with_policy(Blind)] {
        let mut world = by_hand(policy);
        let alice = world.connect(client("alice"));
        let (job, ended) = (world.submit(alice), world.submit(alice));
        world.finish(&ended).unwrap();
        let (link, id) = world.raw_session("bob", &[]);
        let answers: Vec<Value> = [job.as_str(), ended.as_str(), "job_9"]
            .map(|name| {
                world.say(link, &message("job.cancel", &format!("m_{name}"), &id, json!({"job_id": name})));
                let heard = world.heard(link);
                assert_eq!(types(&heard), ["session.error"]);
                heard[0]["payload"].clone()
            })
            .into();
        for answer in &answers {
            assert_eq!(answer["code"], json!("JOB_NOT_FOUND"));
            assert_eq!(answer["message"], answers[0]["message"]);
            assert_eq!(answer.as_object().unwrap().len(), answers[0].as_object().unwrap().len());
        }
        assert!(take_cancels(&mut world).is_empty());
    }
}

#[test]
fn d37_a_job_that_has_ended_is_not_cancelled() {
    let mut world = by_hand(Endpoint::new(config()));
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.finish(&job).unwrap();
    assert_eq!(world.cancel(alice, &job).code(), ErrorCode::InvalidRequest);
    assert_eq!(world.cancel(alice, &JobId::from("job_9")).code(), ErrorCode::JobNotFound);
    world.advance(secs(600));
    assert_eq!(world.cancel(alice, &job).code(), ErrorCode::JobNotFound);
    assert!(take_cancels(&mut world).is_empty());
}

#[test]
fn d37_once_its_session_is_gone_only_the_application_ends_a_job() {
    let mut world = by_hand(Endpoint::new(config()));
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let again = world.connect(client("alice"));
    world.end_session(alice);
    assert_eq!(world.cancel(again, &job).code(), ErrorCode::PermissionDenied);
    world.endpoint.fail(world.now, &job, failure(ErrorCode::Cancelled)).unwrap();
    assert_eq!(world.endpoint.jobs().get(&job).unwrap().status, JobStatus::Cancelled);
}

#[test]
fn d8_a_cancel_that_is_open_when_its_transport_is_lost_is_dropped() {
    let mut world = by_hand(Endpoint::new(config()));
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let request = world.request(alice, |client, now| client.cancel(now, &job, None));
    let (asked, _, _) = take_cancels(&mut world).remove(0);
    world.cut(alice);
    assert!(matches!(world.told_of(alice, request), Told::Failed(RequestFailure::Disconnected)));
    assert_eq!(world.endpoint.confirm_cancel(world.now, &asked, None), Err(AnswerError::UnknownRequest));
    world.reconnect(alice);
    assert_eq!(world.endpoint.confirm_cancel(world.now, &asked, None), Err(AnswerError::UnknownRequest));
    world.publish(&job, "on").unwrap();
}

#[test]
fn d11_the_application_may_refuse_a_cancel_and_the_job_goes_on() {
    let mut world = by_hand(Endpoint::new(config()));
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let request = world.request(alice, |client, now| client.cancel(now, &job, None));
    let (asked, _, _) = take_cancels(&mut world).remove(0);
    let wrong = world.endpoint.respond_jobs(world.now, &asked, arcp_proto::wire::JobPage::default());
    assert!(matches!(wrong, Err(AnswerError::WrongKind(_))), "{wrong:?}");
    let error = WireError::new(ErrorCode::InvalidRequest, "it is past that");
    world.endpoint.refuse(world.now, &asked, error).unwrap();
    world.flush();
    assert_eq!(world.told_of(alice, request).code(), ErrorCode::InvalidRequest);
    world.publish(&job, "on").unwrap();
    assert_eq!(world.take_heard(alice, &job), ["on"]);
}

#[test]
fn d37_a_cancel_is_not_confirmed_of_a_job_that_ended_otherwise_meanwhile() {
    let mut world = by_hand(Endpoint::new(config()));
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let request = world.request(alice, |client, now| client.cancel(now, &job, None));
    let [(asked, ..)] = &take_cancels(&mut world)[..] else { panic!("one cancel") };
    world.finish(&job).unwrap();
    let confirmed = world.endpoint.confirm_cancel(world.now, asked, None);
    assert!(matches!(confirmed, Err(AnswerError::Invalid(_))), "{confirmed:?}");
    // It is still open.
    let error = WireError::new(ErrorCode::InvalidRequest, "the job has ended");
    world.endpoint.refuse(world.now, asked, error).unwrap();
    world.flush();
    assert_eq!(world.told_of(alice, request).code(), ErrorCode::InvalidRequest);
}

#[test]
fn d37_a_job_may_end_as_cancelled_before_the_cancel_is_confirmed() {
    let mut world = by_hand(Endpoint::new(config()));
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let request = world.request(alice, |client, now| client.cancel(now, &job, None));
    let [(asked, ..)] = &take_cancels(&mut world)[..] else { panic!("one cancel") };
    world.endpoint.fail(world.now, &job, failure(ErrorCode::Cancelled)).unwrap();
    world.endpoint.confirm_cancel(world.now, asked, None).unwrap();
    world.flush();
    assert!(matches!(world.told_of(alice, request), Told::Cancelled));
}
