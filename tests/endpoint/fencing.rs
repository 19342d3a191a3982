//! What a store's refusals do, and what they must not do (D3, D28).

use arcp_proto::CloseReason;
use arcp_proto::endpoint::{Adoption, Change, Durability, EndpointConfig, EndpointEvent};

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
