//! What a store's refusals do, and what they must not do (D3, D28).

use arcp_proto::CloseReason;
use arcp_proto::endpoint::{Adoption, Change, Durability, Endpoint, EndpointConfig, EndpointEvent, JobRecord};
use serde_json::json;

use super::questions::Open;
use super::world::*;

fn stored_in(durability: Durability) -> World {
    World::new(EndpointConfig { durability, ..config() }).with_a_careless_application()
}

/// All that there is to be stored, which is stored.
fn store(world: &mut World) -> Vec<Change> {
    let mut changes = Vec::new();
    while let Some(change) = world.endpoint.poll_change() {
        world.endpoint.stored(world.now, &change.id);
        changes.push(change);
    }
    world.flush();
    changes
}

/// A session as it stands in a store after these changes, to be taken over.
fn adoption_of(changes: &[Change]) -> Adoption {
    let mut jobs = Vec::new();
    for change in changes {
        jobs.extend(change.jobs.iter().cloned());
    }
    Adoption {
        generation: changes[0].generation + 1,
        state: changes.iter().rev().find_map(|change| change.state.clone()).unwrap(),
        events: changes.iter().flat_map(|change| change.events.clone()).collect(),
        jobs,
    }
}

#[test]
fn d3_a_refusal_that_comes_late_does_not_end_the_generation_that_lives_here_now() {
    let mut world = stored_in(Durability::Batched);
    let alice = world.connect(client("alice"));
    let in_store = store(&mut world);
    world.cut(alice);
    // Its place is needed; before the store hears of that, the session is taken over from there.
    world.endpoint.evict(world.now, &session(1));
    let now = world.now;
    world.endpoint.adopt(now, adoption_of(&in_store)).unwrap();
    let last = world.endpoint.poll_change().unwrap();
    assert!(last.is_over && last.generation == 1, "{last:?}");

    assert!(!world.endpoint.fenced(now, &last.id), "it is about a session that is gone");
    assert!(world.endpoint.session(&session(1)).is_some());
    let newest = world.endpoint.poll_change().unwrap();
    assert!(newest.generation == 2 && newest.session == session(1));
    assert!(world.endpoint.fenced(now, &newest.id));
    assert!(world.endpoint.session(&session(1)).is_none());
    world.flush();
    let fenced = |event: &EndpointEvent| matches!(event, EndpointEvent::Closed { reason: CloseReason::Fenced, .. });
    assert_eq!(world.take_endpoint_events().iter().filter(|event| fenced(event)).count(), 1);
}

/// A job of bob's, here, and a session of alice's that comes from elsewhere, where it follows a job of that id.
fn awaiting_what_is_there() -> (World, Adoption) {
    let mut elsewhere = stored_in(Durability::Batched);
    elsewhere.endpoint = std::mem::replace(&mut elsewhere.endpoint, Endpoint::new(config())).with_policy(Open);
    let owner = elsewhere.connect(client("bob"));
    let job = elsewhere.submit(owner);
    let alice = elsewhere.connect(client("alice"));
    elsewhere.subscribe(alice, &job, None).subscribed();
    let mut changes = store(&mut elsewhere);
    let of_bob: Vec<Change> = changes.extract_if(.., |change| change.session == session(1)).collect();
    let mut world = stored_in(Durability::Batched);
    world.endpoint.adopt(world.now, adoption_of(&changes)).unwrap();
    (world, adoption_of(&of_bob))
}

/// Alice's session as the world of [`awaiting_what_is_there`] has to store it.
fn adoption_of_session(world: &World) -> Adoption {
    let change = world.endpoint.clone().poll_change().unwrap();
    assert_eq!(change.session, session(2));
    adoption_of(&[Change { generation: 3, ..change }])
}

#[test]
fn a12_whoever_awaited_a_job_and_has_gone_leaves_no_place_for_another_to_hear_of_it() {
    let (mut world, of_bob) = awaiting_what_is_there();
    let now = world.now;
    // The application carries the job on by itself for a while.
    world.endpoint.add_job(now, JobRecord::new(job(1), principal("bob"), "code@1", now.wall)).unwrap();
    world.endpoint.evict(now, &session(2));
    world.endpoint.forget_job(now, &job(1));
    world.flush();
    // Ids are minted once, over all machines.
    let _ = (world.app.grant(principal("bob")), world.app.grant(principal("alice")));
    let mallory = world.connect(client("mallory"));
    world.endpoint.adopt(now, of_bob).unwrap();
    let published = world.publish(&job(1), "for bob alone").unwrap();
    assert_eq!((published.subscribers, world.take_seqs(mallory)), (0, vec![]));
}

#[test]
fn a12_an_adopted_subscription_stands_under_the_policy_of_this_machine() {
    // Here nobody sees another's jobs, whichever of the two comes first.
    let (mut world, of_bob) = awaiting_what_is_there();
    world.endpoint.adopt(world.now, of_bob).unwrap();
    assert_eq!(world.endpoint.subscribers_of(&job(1)).count(), 0);
    let published = world.publish(&job(1), "for bob alone").unwrap();
    assert_eq!((published.subscribers, published.skipped), (0, 0));

    let (world, of_bob) = awaiting_what_is_there();
    let of_alice = adoption_of_session(&world);
    let mut here = stored_in(Durability::Batched);
    here.endpoint.adopt(here.now, of_bob).unwrap();
    here.endpoint.adopt(here.now, of_alice).unwrap();
    assert_eq!(here.endpoint.subscribers_of(&job(1)).count(), 0);
}

#[test]
fn d18_what_is_over_holds_nothing_while_the_store_is_down() {
    let mut world = stored_in(Durability::Batched);
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.publish_many(&job, 100);
    world.endpoint.evict(world.now, &session(1));
    let last = world.endpoint.poll_change().unwrap();
    assert!(last.is_over && last.state.is_none() && last.events.is_empty() && last.jobs.is_empty(), "{last:?}");
}

#[test]
fn d3_what_is_printed_of_a_change_holds_no_event() {
    let mut world = stored_in(Durability::Batched);
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    let rotated = json!({"phase": "credential_rotated", "credential": {"id": "c", "value": "sk-virt-1"}});
    world.endpoint.publish(world.now, &job, "status", &rotated).unwrap();
    let changes = store(&mut world);
    assert!(changes.iter().any(|change| !change.events.is_empty()));
    let printed = format!("{changes:?} {:?}", adoption_of(&changes));
    assert!(!printed.contains("sk-virt-1"), "{printed}");
}

#[test]
fn d32_the_last_change_of_a_session_that_was_shut_down_is_done_with_when_the_store_refuses_it() {
    let mut world = stored_in(Durability::Batched);
    world.connect(client("alice"));
    store(&mut world);
    let now = world.now;
    world.endpoint.shutdown_all(now, "maintenance");
    world.flush();
    let last = world.endpoint.poll_change().unwrap();
    assert!(world.endpoint.has_unstored() && !last.is_over);
    assert!(!world.endpoint.fenced(now, &last.id), "it has ended here");
    assert!(!world.endpoint.has_unstored(), "nobody waits for it any more");
}
