//! Who hears of whose jobs: history, then what happens, in one order without a hole (§7.6, D31, D33, D36).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arcp_proto::endpoint::{
    Audited, Endpoint, EndpointConfig, JobRecord, OwnJobs, Policy, PublishError, Published, Receipt, Scope,
};
use arcp_proto::wire::{
    Credential, CredentialValue, ErrorCode, JobAccepted, JobId, JobStatus, Lease, LeaseConstraints, Principal, RawJson,
    TraceId,
};
use arcp_proto::{ClientEvent, Feature, Timestamp};
use serde_json::{Value, json};

use super::questions::*;
use super::world::*;

fn open(config: EndpointConfig) -> World {
    World::over(Endpoint::new(config).with_policy(Open))
}

fn credential(value: &str) -> Vec<Credential> {
    vec![Credential {
        id: "cred_1".into(),
        scheme: "bearer".into(),
        value: CredentialValue::from(value),
        endpoint: None,
        profile: None,
        constraints: None,
    }]
}

fn body(text: &str) -> RawJson {
    RawJson::from_text(text).unwrap()
}

/// Somebody new who follows a job.
fn follow(world: &mut World, job: &JobId, history: Option<u64>) -> (ClientIdx, arcp_proto::wire::JobSubscribed) {
    let idx = world.connect(eager("bob"));
    let subscribed = world.subscribe(idx, job, history).subscribed();
    (idx, subscribed)
}

#[test]
fn d31_without_history_only_what_happens_from_now_on_is_heard() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let (job, other) = (world.submit(alice), world.submit(alice));
    world.publish_many(&job, 3);
    world.publish(&other, "other").unwrap();
    let (bob, subscribed) = follow(&mut world, &job, None);
    assert_eq!((subscribed.subscribed_from, subscribed.replayed), (4, false), "of the owner's sequence");
    assert_eq!((subscribed.job_id.clone(), subscribed.current_status), (job.clone(), JobStatus::Running));
    world.publish(&other, "other").unwrap();
    world.publish(&job, "next").unwrap();
    let events = world.take_events(bob);
    assert_eq!(heard_of(&events, &job), ["next"]);
    assert_eq!(events.iter().filter_map(ClientEvent::seq).collect::<Vec<_>>(), [1]);
}

#[test]
fn d31_history_goes_as_far_back_as_the_owners_buffer_and_no_further_than_asked() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.publish_many(&job, 6);
    let now = world.now;
    world.client(alice).mark_processed(now, 3).unwrap();
    world.client(alice).flush_acks(now).unwrap();
    world.flush();
    assert_eq!(world.runtime_of(alice).unwrap().replay_floor(), 3);
    for (asked, from) in [(0, 3), (2, 3), (3, 3), (4, 4), (5, 5), (6, 6), (7, 6), (1_000, 6)] {
        let (bob, subscribed) = follow(&mut world, &job, Some(asked));
        assert_eq!((subscribed.subscribed_from, subscribed.replayed), (from, true), "{asked}");
        assert_eq!(world.take_heard(bob, &job), lines(from..6), "{asked}");
    }
}

#[test]
fn d31_history_is_of_that_job_alone() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let (job, other) = (world.submit(alice), world.submit(alice));
    for n in 0..3 {
        world.publish(&other, "other").unwrap();
        world.publish(&job, &format!("line {n}")).unwrap();
    }
    let (bob, subscribed) = follow(&mut world, &job, Some(2));
    assert_eq!(subscribed.subscribed_from, 2);
    let events = world.take_events(bob);
    assert_eq!(heard_of(&events, &job), lines(1..3));
    assert!(heard_of(&events, &other).is_empty());
}

#[test]
fn d31_history_and_what_happens_meanwhile_come_in_one_order_without_gap_or_double() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let bob = world.connect(client("bob"));
    let job = world.submit(alice);
    world.publish_many(&job, 3);
    let link = world.link_of(bob);
    world.set_writable(link, false);
    let request = world.request(bob, |client, now| client.subscribe(now, &job, Some(0)));
    for n in 3..6 {
        world.publish(&job, &format!("line {n}")).unwrap();
    }
    world.set_writable(link, true);
    world.publish(&job, "line 6").unwrap();
    let frames = world.link(link).transcript.iter().filter(|passed| passed.from == From::Endpoint);
    let kinds: Vec<String> = frames.map(|passed| type_of(&passed.json()).to_owned()).collect();
    assert_eq!(kinds[1], "job.subscribed", "before the history");
    assert!(world.told_of(bob, request).subscribed().replayed);
    let events = world.take_events(bob);
    assert_eq!(heard_of(&events, &job), lines(0..7));
    assert_eq!(events.iter().filter_map(ClientEvent::seq).collect::<Vec<_>>(), (1..=7).collect::<Vec<_>>());
}

#[test]
fn d31_what_a_subscriber_gets_is_the_owners_payload_in_a_frame_of_its_own() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let bob = world.connect(client("bob"));
    let (job, own) = (world.submit(alice), world.submit(bob));
    world.publish(&own, "own").unwrap();
    let odd = body(r#"{"z":1,"a":[1.50,null,"ä"],"n":12345678901234567890}"#);
    world.endpoint.publish(world.now, &job, "x-vendor.acme.thing", &odd).unwrap();
    world.subscribe(bob, &job, Some(0)).subscribed();
    world.advance(millis(1));
    world.endpoint.publish(world.now, &job, "x-vendor.acme.thing", &odd).unwrap();
    world.finish(&job).unwrap();
    let text = |frame: &Passed| {
        let text = String::from_utf8(frame.frame.to_vec()).unwrap();
        text[text.find("\"payload\":").unwrap()..].to_owned()
    };
    let of = |world: &World, idx| -> Vec<Passed> {
        let passed = world.link(world.link_of(idx)).transcript.iter();
        passed
            .filter(|it| it.json()["event_seq"].is_u64() && it.json()["job_id"] == json!(job.as_str()))
            .cloned()
            .collect()
    };
    let (mine, theirs) = (of(&world, alice), of(&world, bob));
    assert_eq!(mine.iter().map(text).collect::<Vec<_>>(), theirs.iter().map(text).collect::<Vec<_>>());
    let seqs: Vec<Value> = theirs.iter().map(|frame| frame.json()["event_seq"].clone()).collect();
    assert_eq!(seqs, [json!(2), json!(3), json!(4)]);
    let ids: BTreeSet<String> =
        world.link(world.link_of(bob)).transcript.iter().map(|frame| frame.json()["id"].to_string()).collect();
    assert_eq!(ids.len(), world.link(world.link_of(bob)).transcript.len());
    assert!(theirs.iter().all(|frame| frame.json()["session_id"] == json!(world.session_of(bob).as_str())));
}

#[test]
fn d26_the_owners_back_pressure_is_no_part_of_a_jobs_history() {
    let runtime = arcp_proto::RuntimeConfig { back_pressure_threshold: 6, ..runtime() };
    let mut world = open(over(runtime));
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.publish_many(&job, 8);
    assert_eq!(world.take_heard(alice, &job)[6..], ["line 6", "status", "line 7"]);
    // So few that its own falls behind by nothing.
    let (bob, _) = follow(&mut world, &job, Some(5));
    world.publish(&job, "line 8").unwrap();
    assert_eq!(world.take_heard(bob, &job), lines(5..9));
}

#[test]
fn d33_credentials_follow_the_submitters_principal_alone() {
    let mut world = open(config());
    world.app.accepts = false;
    let alice = world.connect(client("alice"));
    world.ask_any(alice);
    world.accept_with("job_1", |accepted| JobAccepted { credentials: Some(credential("sk-1")), ..accepted }).unwrap();
    let rotated = body(r#"{"phase":"credential_rotated","credential_id":"cred_1","value":"sk-2"}"#);
    let now = world.now;
    world.endpoint.publish(now, &job(1), "status", &rotated).unwrap();
    assert!(world.endpoint.set_credentials(&job(1), Some(credential("sk-2"))));
    assert!(!world.endpoint.set_credentials(&job(9), None));
    let (second, stranger) = (world.connect(client("alice")), world.connect(client("bob")));
    let plain = world.connect(client_without("alice", &[Feature::ProvisionedCredentials]));
    let of = |subscribed: arcp_proto::wire::JobSubscribed| subscribed.credentials;
    assert_eq!(of(world.subscribe(second, &job(1), Some(0)).subscribed()), Some(credential("sk-2")));
    assert_eq!(of(world.subscribe(stranger, &job(1), Some(0)).subscribed()), None);
    assert_eq!(of(world.subscribe(plain, &job(1), Some(0)).subscribed()), None);
    let published = world.endpoint.publish(now, &job(1), "status", &rotated).unwrap();
    assert_eq!(published, Published { submitter: Receipt::Recorded(2), subscribers: 1, skipped: 2 });
    world.publish(&job(1), "end").unwrap();
    assert_eq!(world.take_heard(alice, &job(1)), ["status", "status", "end"]);
    assert_eq!(world.take_heard(second, &job(1)), ["status", "status", "end"]);
    for idx in [stranger, plain] {
        assert_eq!(world.take_heard(idx, &job(1)), ["end"]);
        let transcript = &world.link(world.link_of(idx)).transcript;
        assert!(transcript.iter().all(|passed| !passed.json().to_string().contains("sk-")));
    }
}

#[test]
fn d33_a_subscriber_is_told_what_its_features_allow() {
    let gated =
        [Feature::LeaseExpiresAt, Feature::CostBudget, Feature::ModelUse, Feature::Progress, Feature::ResultChunk];
    let mut world = open(config());
    world.app.accepts = false;
    let alice = world.connect(client("alice"));
    world.ask_any(alice);
    let lease = Lease::new([("fs.read", vec!["/**".into()]), ("cost.budget", vec!["USD:5.00".into()])]);
    let until = LeaseConstraints { expires_at: Some(Timestamp::from_unix_millis(1_800_000_000_000)) };
    let accepted_lease = lease.clone();
    world
        .accept_with("job_1", |accepted| JobAccepted {
            lease: accepted_lease,
            lease_constraints: Some(until),
            trace_id: Some(TraceId::from_bits(7)),
            ..accepted
        })
        .unwrap();
    let left = BTreeMap::from([("USD".to_owned(), 3.into())]);
    assert!(world.endpoint.set_budget(&job(1), Some(left.clone())));
    assert!(!world.endpoint.set_budget(&job(9), None));
    world.endpoint.publish(world.now, &job(1), "progress", &body(r#"{"current":1}"#)).unwrap();
    world.publish(&job(1), "one").unwrap();
    let (whole, plain) = (world.connect(client("bob")), world.connect(client_without("bob", &gated)));
    let subscribed = world.subscribe(whole, &job(1), Some(0)).subscribed();
    assert_eq!(
        (&subscribed.lease, subscribed.lease_constraints, &subscribed.budget),
        (&lease, Some(until), &Some(left))
    );
    assert_eq!((subscribed.agent.as_str(), subscribed.trace_id), ("code-refactor", Some(TraceId::from_bits(7))));
    let subscribed = world.subscribe(plain, &job(1), Some(0)).subscribed();
    assert_eq!(subscribed.lease.text(), r#"{"fs.read":["/**"]}"#);
    assert_eq!((subscribed.lease_constraints, &subscribed.budget), (None, &None));
    assert_eq!(world.take_heard(whole, &job(1)), ["progress", "one"]);
    let events = world.take_events(plain);
    assert_eq!(heard_of(&events, &job(1)), ["one"]);
    assert_eq!(events.iter().filter_map(ClientEvent::seq).collect::<Vec<_>>(), [1]);
}

#[test]
fn d31_of_a_history_that_does_not_fit_the_subscribers_window_it_gets_the_newest() {
    // Half of what is free: 4, 3, 1 and none.
    for (own, from) in [(0, 4), (1, 5), (5, 7), (7, 8), (8, 8)] {
        let mut world = open(windows_of(8));
        let (alice, bob) = (world.connect(client("alice")), world.connect(client("bob")));
        let (job, other) = (world.submit(alice), world.submit(bob));
        world.publish_many(&other, own);
        world.publish_many(&job, 8);
        let subscribed = world.subscribe(bob, &job, Some(0)).subscribed();
        assert_eq!((subscribed.subscribed_from, subscribed.replayed), (from, true));
        assert_eq!(world.take_heard(bob, &job), lines(from..8));
        assert_eq!(world.runtime_of(bob).unwrap().replay_floor(), 0, "nothing of its own was pushed out");
    }
}

#[test]
fn d27_a_history_leaves_room_for_what_happens_while_it_is_read() {
    let mut world = open(windows_of(8));
    let (alice, bob) = (world.connect(eager("alice")), world.connect(client("bob")));
    let job = world.submit(alice);
    let link = world.link_of(alice);
    world.hold_to_endpoint(link, true);
    world.publish_many(&job, 8);
    world.set_writable(world.link_of(bob), false);
    let request = world.request(bob, |client, now| client.subscribe(now, &job, Some(0)));
    world.hold_to_endpoint(link, false);
    world.flush();
    world.publish(&job, "line 8").unwrap();
    world.set_writable(world.link_of(bob), true);
    world.flush();
    let subscribed = world.told_of(bob, request).subscribed();
    assert_eq!(world.take_heard(bob, &job), lines(subscribed.subscribed_from..9));
}

#[test]
fn d33_what_a_subscriber_cannot_have_takes_no_room_from_its_history() {
    let mut world = open(windows_of(16));
    let alice = world.connect(client("alice"));
    let bob = world.connect(client_without("bob", &[Feature::Progress]));
    let (job, other) = (world.submit(alice), world.submit(bob));
    world.publish_many(&other, 9);
    for n in 0..4 {
        world.publish(&job, &format!("line {n}")).unwrap();
        world.endpoint.publish(world.now, &job, "progress", &body(r#"{"current":1}"#)).unwrap();
    }
    let subscribed = world.subscribe(bob, &job, Some(0)).subscribed();
    assert_eq!(world.take_heard(bob, &job), lines(1..4));
    assert_eq!(subscribed.subscribed_from, 1);
}

#[test]
fn d31_of_a_history_too_long_in_bytes_a_subscriber_gets_the_newest() {
    let mut world = open(over(runtime().with_replay(100, 32_768, arcp_proto::Overflow::Block)));
    let (alice, bob) = (world.connect(client("alice")), world.connect(client("bob")));
    let (job, other) = (world.submit(alice), world.submit(bob));
    world.publish(&other, &"x".repeat(16_384)).unwrap();
    for n in 0..3 {
        world.publish(&job, &format!("{n}{}", "x".repeat(4_096))).unwrap();
    }
    let subscribed = world.subscribe(bob, &job, Some(0)).subscribed();
    assert_eq!((subscribed.subscribed_from, subscribed.replayed), (2, true));
    let heard = world.take_heard(bob, &job);
    assert_eq!(heard.len(), 1);
    assert!(heard[0].starts_with('2'));
    assert_eq!(world.runtime_of(bob).unwrap().replay_floor(), 0);
}

/// What everybody may see of alice's jobs.
struct Some3;

impl Policy for Some3 {
    fn scope(&self, viewer: &Principal) -> Scope {
        match viewer.as_str() {
            "own" => Scope::Own,
            "listed" => Scope::Principals(Arc::from([principal("carol"), principal("alice")])),
            "unlisted" => Scope::Principals(Arc::from([principal("carol")])),
            _ => Scope::All,
        }
    }

    fn may_observe(&self, viewer: &Principal, job: &JobRecord) -> bool {
        viewer.as_str() != "blind" && job.agent != "secret-agent"
    }

    fn may_subscribe(&self, viewer: &Principal, _: &JobRecord) -> bool {
        viewer.as_str() != "idle"
    }
}

#[test]
fn d36_a_policy_says_whose_jobs_are_there_and_whose_may_be_followed() {
    let mut world = World::over(Endpoint::new(config()).with_policy(Some3));
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    for (viewer, code) in [
        ("alice", None),
        ("own", Some(ErrorCode::JobNotFound)),
        ("unlisted", Some(ErrorCode::JobNotFound)),
        ("blind", Some(ErrorCode::JobNotFound)),
        ("idle", Some(ErrorCode::PermissionDenied)),
        ("listed", None),
        ("all", None),
    ] {
        let idx = world.connect(client(viewer));
        world.take_audit();
        let told = world.subscribe(idx, &job, Some(0));
        let audited = world.take_audited();
        match code {
            None => {
                assert_eq!(told.subscribed().job_id, job, "{viewer}");
                let owner = principal("alice");
                assert_eq!(audited, [Audited::Subscribed { job: job.clone(), owner, replayed: 0 }]);
            }
            Some(code) => {
                assert_eq!(told.code(), code, "{viewer}");
                let owner = Some(principal("alice"));
                assert_eq!(audited, [Audited::SubscribeRefused { job: job.clone(), owner, code }]);
            }
        }
    }
    world.publish(&job, "one").unwrap();
    for idx in 1..world.len() {
        let is_among = [1, 6, 7].contains(&idx);
        assert_eq!(!world.take_heard(ClientIdx(idx), &job).is_empty(), is_among, "{idx}");
    }
}

#[test]
fn d36_a_job_that_is_hidden_and_one_that_is_not_look_the_same() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let (link, id) = world.raw_session("bob", &["subscribe"]);
    let answers: Vec<Value> = [job.as_str(), "job_9"]
        .map(|name| {
            world.say(
                link,
                &message("job.subscribe", &format!("m_{name}"), &id, json!({"job_id": name, "history": true})),
            );
            let mut heard = world.heard(link);
            assert_eq!(types(&heard), ["session.error"]);
            let mut answer = heard.remove(0);
            assert_eq!(answer["payload"]["code"], json!("JOB_NOT_FOUND"));
            for name in ["id", "job_id"] {
                answer.as_object_mut().unwrap().remove(name);
            }
            let payload = answer["payload"].as_object_mut().unwrap();
            assert_eq!(payload.remove("job_id"), Some(json!(name)));
            payload.remove("request_id");
            answer
        })
        .into();
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn d33_whoever_has_not_agreed_on_subscriptions_is_refused_them() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let (link, id) = world.raw_session("alice", &["ack"]);
    world.say(link, &message("job.subscribe", "m1", &id, json!({"job_id": job.as_str()})));
    let heard = world.heard(link);
    assert_eq!((type_of(&heard[0]), &heard[0]["payload"]["code"]), ("session.error", &json!("INVALID_REQUEST")));
    assert_eq!(world.publish(&job, "one").unwrap().subscribers, 0);
}

#[test]
fn d31_a_place_to_begin_from_without_history_is_none() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.publish_many(&job, 3);
    let (link, id) = world.raw_session("alice", &["subscribe"]);
    for (n, payload) in [
        json!({"job_id": job.as_str(), "from_event_seq": 1}),
        json!({"job_id": job.as_str(), "from_event_seq": 1, "history": false}),
    ]
    .into_iter()
    .enumerate()
    {
        world.say(link, &message("job.subscribe", &format!("m{n}"), &id, payload));
        let heard = world.heard(link);
        assert_eq!(types(&heard), ["job.subscribed"]);
        assert_eq!(heard[0]["payload"]["subscribed_from"], json!(3));
        assert_eq!(heard[0]["payload"]["replayed"], json!(false));
        assert_eq!(heard[0]["payload"]["parent_job_id"], Value::Null);
        world.say(link, &message("job.unsubscribe", &format!("u{n}"), &id, json!({"job_id": job.as_str()})));
    }
    // History without a place begins at the first that is there.
    world.say(link, &message("job.subscribe", "m9", &id, json!({"job_id": job.as_str(), "history": true})));
    assert_eq!(types(&world.heard(link)), ["job.subscribed", "job.event", "job.event", "job.event"]);
}

#[test]
fn d31_whoever_subscribes_again_hears_nothing_twice() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.publish_many(&job, 2);
    let (bob, _) = follow(&mut world, &job, Some(0));
    world.publish(&job, "line 2").unwrap();
    let again = world.subscribe(bob, &job, Some(0)).subscribed();
    assert_eq!((again.subscribed_from, again.replayed), (3, false), "what it says comes from there on");
    assert_eq!(world.publish(&job, "line 3").unwrap().subscribers, 1);
    assert_eq!(world.take_heard(bob, &job), lines(0..4));
    // One word ends it.
    world.unsubscribe(bob, &job);
    assert_eq!(world.publish(&job, "line 4").unwrap().subscribers, 0);
}

#[test]
fn d31_the_submitter_who_subscribes_hears_nothing_twice() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.publish_many(&job, 2);
    let own = world.subscribe(alice, &job, Some(0)).subscribed();
    assert_eq!((own.subscribed_from, own.replayed), (2, false));
    let published = world.publish(&job, "line 2").unwrap();
    assert_eq!(published, Published { submitter: Receipt::Recorded(3), subscribers: 0, skipped: 0 });
    world.unsubscribe(alice, &job);
    world.publish(&job, "line 3").unwrap();
    world.finish(&job).unwrap();
    let own = world.subscribe(alice, &job, Some(0)).subscribed();
    assert_eq!((own.current_status, own.subscribed_from, own.replayed), (JobStatus::Success, 5, false));
    let heard = world.take_heard(alice, &job);
    assert_eq!(heard.len(), 5, "{heard:?}");
    // Nor does anybody else.
    let (bob, _) = follow(&mut world, &job, Some(0));
    assert_eq!(world.take_heard(bob, &job), heard);
}

#[test]
fn d31_of_a_job_that_has_ended_there_is_history_and_nothing_more() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.publish_many(&job, 2);
    world.finish(&job).unwrap();
    let (bob, subscribed) = follow(&mut world, &job, Some(0));
    assert_eq!((subscribed.current_status, subscribed.replayed), (JobStatus::Success, true));
    assert_eq!(world.take_heard(bob, &job), ["line 0", "line 1", "success"]);
    let (carol, subscribed) = follow(&mut world, &job, None);
    assert_eq!((subscribed.current_status, subscribed.replayed), (JobStatus::Success, false));
    assert!(world.take_heard(carol, &job).is_empty());
    world.advance(secs(600));
    assert_eq!(world.subscribe(bob, &job, Some(0)).code(), ErrorCode::JobNotFound);
}

#[test]
fn d31_an_unsubscribe_ends_a_subscription_and_nothing_else() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let (job, other) = (world.submit(alice), world.submit(alice));
    let (bob, _) = follow(&mut world, &job, None);
    world.subscribe(bob, &other, None).subscribed();
    world.take_audit();
    world.unsubscribe(bob, &job);
    assert_eq!(world.take_audited(), [Audited::Unsubscribed { job: job.clone() }]);
    for nothing in [&job, &JobId::from("job_9")] {
        world.unsubscribe(bob, nothing);
    }
    world.unsubscribe(alice, &job);
    assert!(world.take_audited().is_empty());
    world.publish_many(&job, 2);
    world.publish(&other, "other").unwrap();
    let events = world.take_events(bob);
    assert!(heard_of(&events, &job).is_empty());
    assert_eq!(heard_of(&events, &other), ["other"]);
    assert_eq!(world.take_heard(alice, &job), lines(0..2));
    // What was missed is history.
    world.subscribe(bob, &job, Some(0)).subscribed();
    world.publish(&job, "line 2").unwrap();
    assert_eq!(world.take_heard(bob, &job), lines(0..3));
}

#[test]
fn d31_a_subscription_ends_with_its_session_and_not_with_its_transport() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let (bob, _) = follow(&mut world, &job, None);
    world.publish(&job, "line 0").unwrap();
    world.cut(bob);
    assert_eq!(world.publish(&job, "line 1").unwrap().subscribers, 1);
    world.reconnect(bob);
    world.publish(&job, "line 2").unwrap();
    assert_eq!(world.take_heard(bob, &job), lines(0..3));
    world.end_session(bob);
    let published = world.publish(&job, "line 3").unwrap();
    assert_eq!((published.subscribers, published.skipped), (0, 0));
    // Who has its place next does not hear of it.
    let carol = world.connect(client("carol"));
    world.publish(&job, "line 4").unwrap();
    assert!(world.take_heard(carol, &job).is_empty());
}

#[test]
fn d31_a_subscription_ends_with_its_job() {
    let mut world = open(EndpointConfig { subscriptions_per_session: 1, ..config() });
    let alice = world.connect(client("alice"));
    let (job, other) = (world.submit(alice), world.submit(alice));
    let (bob, _) = follow(&mut world, &job, None);
    world.finish(&job).unwrap();
    world.subscribe(bob, &other, None).subscribed();
    assert!(world.endpoint.forget_job(world.now, &other));
    let third = world.submit(alice);
    world.subscribe(bob, &third, None).subscribed();
}

#[test]
fn d33_a_session_that_resumes_without_subscriptions_has_none() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let (link, id) = world.raw_session("alice", &["subscribe"]);
    world.say(link, &message("job.subscribe", "m1", &id, json!({"job_id": job.as_str()})));
    world.publish(&job, "one").unwrap();
    world.hang_up(link);
    world.publish(&job, "two").unwrap();
    let link = world.raw();
    world.take_audit();
    world.say(link, &resume_hello("alice", &["ack"], &id, &token(2), 1));
    assert!(world.take_audited().contains(&Audited::Unsubscribed { job: job.clone() }));
    assert_eq!(types(&world.heard(link)), ["session.welcome", "job.event"], "what was recorded before stays");
    assert_eq!(world.publish(&job, "three").unwrap().subscribers, 0);
    assert!(world.heard(link).is_empty());
}

#[test]
fn d31_a_session_has_so_many_subscriptions() {
    let mut world = open(EndpointConfig { subscriptions_per_session: 2, ..config() });
    let alice = world.connect(client("alice"));
    let jobs: Vec<JobId> = (0..4).map(|_| world.submit(alice)).collect();
    let (bob, _) = follow(&mut world, &jobs[0], None);
    let own = world.submit(bob);
    world.subscribe(bob, &jobs[1], None).subscribed();
    assert_eq!(world.subscribe(bob, &jobs[2], None).code(), ErrorCode::InternalError);
    // What takes no place needs none.
    world.subscribe(bob, &jobs[1], None).subscribed();
    world.subscribe(bob, &own, None).subscribed();
    world.finish(&jobs[3]).unwrap();
    world.subscribe(bob, &jobs[3], Some(0)).subscribed();
    assert_eq!(world.take_heard(bob, &jobs[3]), ["success"]);
    world.unsubscribe(bob, &jobs[0]);
    world.subscribe(bob, &jobs[2], None).subscribed();
}

#[test]
fn d31_a_job_has_so_many_subscribers() {
    let mut world = open(EndpointConfig { subscribers_per_job: 2, ..config() });
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let (bob, _) = follow(&mut world, &job, None);
    let (carol, _) = follow(&mut world, &job, None);
    let dave = world.connect(client("dave"));
    assert_eq!(world.subscribe(dave, &job, None).code(), ErrorCode::InternalError);
    world.subscribe(bob, &job, None).subscribed();
    world.unsubscribe(bob, &job);
    world.subscribe(dave, &job, None).subscribed();
    assert_eq!(world.subscribe(bob, &job, None).code(), ErrorCode::InternalError);
    world.end_session(carol);
    world.subscribe(bob, &job, None).subscribed();
}

#[test]
fn d37_a_subscription_is_no_right_to_cancel() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let second = world.connect(client("alice"));
    world.subscribe(second, &job, None).subscribed();
    let (bob, _) = follow(&mut world, &job, None);
    for idx in [second, bob] {
        assert_eq!(world.cancel(idx, &job).code(), ErrorCode::PermissionDenied);
    }
    world.publish(&job, "on").unwrap();
}

#[test]
fn d31_where_the_owners_session_is_gone_there_is_no_history_and_what_happens_is_heard() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.publish_many(&job, 3);
    world.end_session(alice);
    let (bob, subscribed) = follow(&mut world, &job, Some(0));
    assert_eq!((subscribed.subscribed_from, subscribed.replayed), (3, false));
    world.publish(&job, "line 3").unwrap();
    world.finish(&job).unwrap();
    assert_eq!(world.take_heard(bob, &job), ["line 3", "success"]);
}

#[test]
fn d31_the_history_of_a_parked_session_is_there() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.publish_many(&job, 2);
    world.cut(alice);
    world.publish(&job, "line 2").unwrap();
    let (bob, subscribed) = follow(&mut world, &job, Some(0));
    assert!(subscribed.replayed);
    assert_eq!(world.take_heard(bob, &job), lines(0..3));
}

#[test]
fn a12_by_default_nobody_follows_anothers_jobs() {
    let mut world = World::over(Endpoint::new(config()).with_policy(OwnJobs));
    let (alice, bob) = (world.connect(client("alice")), world.connect(client("bob")));
    let job = world.submit(alice);
    assert_eq!(world.subscribe(bob, &job, None).code(), ErrorCode::JobNotFound);
    assert_eq!(world.subscribe(bob, &JobId::from("job_9"), None).code(), ErrorCode::JobNotFound);
    let second = world.connect(client("alice"));
    assert_eq!(world.subscribe(second, &job, None).subscribed().current_status, JobStatus::Pending);
}

#[test]
fn d31_a_subscription_to_a_job_that_nobody_publishes_any_more_costs_nothing() {
    let mut world = open(config());
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let (bob, _) = follow(&mut world, &job, None);
    assert!(world.endpoint.forget_job(world.now, &job));
    assert_eq!(world.publish(&job, "late"), Err(PublishError::UnknownJob));
    assert_eq!(world.subscribe(bob, &job, None).code(), ErrorCode::JobNotFound);
    // The same id may come again, for another job.
    let record = JobRecord::new(job.clone(), principal("alice"), "code@1", world.now.wall);
    world.endpoint.add_job(world.now, record).unwrap();
    assert_eq!(world.publish(&job, "other").unwrap().subscribers, 0);
}

#[test]
fn d31_a_job_s_history_is_found_however_its_id_is_written() {
    for id in ["job_1", "job \"1\" \\ é\u{2028}", "\",\"payload\":{"] {
        let mut world = open(config());
        world.app.accepts = false;
        let alice = world.connect(client("alice"));
        for job in [id, "job_1_and_more", "job"] {
            world.ask_any(alice);
            world.accept_as(job).unwrap();
        }
        for n in 0..3 {
            world.publish(&"job_1_and_more".into(), "\"job_id\":\"job_1\"").unwrap();
            world.publish(&id.into(), &format!("line {n}")).unwrap();
            world.publish(&"job".into(), "other").unwrap();
        }
        let (bob, _) = follow(&mut world, &id.into(), Some(0));
        assert_eq!(world.take_heard(bob, &id.into()), lines(0..3), "{id}");
    }
}

#[test]
fn a12_the_application_can_take_a_subscription_away() {
    let mut world = World::over(Endpoint::new(config()).with_policy(Open));
    let (alice, bob) = (world.connect(client("alice")), world.connect(client("bob")));
    let job = world.submit(alice);
    world.subscribe(bob, &job, None).subscribed();
    let of_bob = world.session_of(bob);
    let subscribers: Vec<_> = world.endpoint.subscribers_of(&job).cloned().collect();
    assert_eq!(subscribers, std::slice::from_ref(&of_bob));
    assert_eq!(world.endpoint.jobs_of(&world.session_of(alice)).collect::<Vec<_>>(), [&job]);
    assert!(world.endpoint.end_subscription(world.now, &of_bob, &job));
    assert!(!world.endpoint.end_subscription(world.now, &of_bob, &job));
    let published = world.publish(&job, "line 0").unwrap();
    assert_eq!((published.subscribers, world.take_heard(bob, &job)), (0, vec![]));
    world.finish(&job).unwrap();
    assert_eq!(world.endpoint.jobs_of(&world.session_of(alice)).count(), 0);
}
