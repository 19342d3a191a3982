//! A session moves from one process to another: by a store's compare-and-set, with its jobs, keys and subscriptions, and
//! whoever had it before is fenced (D3, D14, D28, D31, D32, D37, D41, D42).

use std::panic::{AssertUnwindSafe, catch_unwind};

use arcp_proto::endpoint::{
    AdoptError, Adoption, Durability, EndpointConfig, EndpointEvent, JobState, Limit, PublishError, SessionState,
};
use arcp_proto::wire::{JobId, JobQuery, JobSubmit, RawJson, SessionId};
use arcp_proto::{ClientEvent, CloseReason, RestoreError};
use serde_json::{Value, json};

use crate::cluster::*;

fn small(change: impl FnOnce(&mut EndpointConfig)) -> Cluster {
    let mut config = config(Durability::BeforeTransmit);
    change(&mut config);
    Cluster::new(2, &config)
}

/// A client at node 0 with a job that is so far.
fn begun(cluster: &mut Cluster, items: u64) -> (usize, JobId) {
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    cluster.work_until(&job, items);
    (alice, job)
}

#[test]
fn d14_two_take_a_session_over_and_the_later_has_it() {
    let mut cluster = Cluster::durable(3);
    let (alice, job) = begun(&mut cluster, 2);
    let id = cluster.session_of(alice);
    cluster.peers[alice].is_keen = false;
    let first = cluster.store.take(&id).unwrap();
    let second = cluster.store.take(&id).unwrap();
    assert_eq!((first.generation, second.generation), (2, 3));
    let now = cluster.now;
    assert_eq!(cluster.nodes[1].ep().adopt(now, first).unwrap().jobs, std::slice::from_ref(&job));
    assert_eq!(cluster.nodes[2].ep().adopt(now, second).unwrap().jobs, std::slice::from_ref(&job));
    cluster.flush();
    // Node 1 learns of it by its first change, which is refused; node 0 has nothing to say yet.
    assert!(cluster.nodes[1].ep().session(&id).is_none());
    assert_eq!(cluster.nodes[1].closed(), [(id.clone(), CloseReason::Fenced, vec![job.clone()])]);
    assert!(cluster.nodes[0].ep().session(&id).is_some());
    assert!(cluster.is_open(alice), "attached to the zombie still");
    cluster.peers[alice].is_keen = true;
    cluster.peers[alice].prefers = 2;
    cluster.nodes[2].workers.insert(job.clone(), 2);
    // What the zombie does now is told to nobody: its transport is closed, and the client goes to where the session is.
    cluster.work(0, &job);
    cluster.flush();
    assert_eq!(cluster.nodes[0].closed(), [(id.clone(), CloseReason::Fenced, vec![job.clone()])]);
    assert_eq!(cluster.nodes[0].ep().counters().fenced, 1);
    assert!(cluster.is_open(alice));
    assert_eq!(cluster.link_of(alice).node, 2);
    cluster.work_until(&job, ITEMS);
    cluster.assert_whole(alice);
    assert_eq!(cluster.heard(alice, &job), whole_job());
}

#[test]
fn d14_a_fenced_session_says_nothing_more_not_even_goodbye() {
    let mut cluster = Cluster::durable(2);
    let (alice, _) = begun(&mut cluster, 1);
    let id = cluster.session_of(alice);
    cluster.peers[alice].is_keen = false;
    cluster.cut(alice);
    cluster.nodes[0].storing = Storing::Held;
    // Back, and at once away again: a welcome and a goodbye wait for the store.
    cluster.redial(alice, 0);
    let link = cluster.peers[alice].link.unwrap();
    cluster.flush();
    let bye = json!({"arcp": "1.1", "id": "x", "type": "session.bye", "payload": {}});
    let (now, conn) = (cluster.now, cluster.links[link].conn);
    cluster.nodes[0].ep().handle_input(now, conn, bye.to_string().into());
    assert!(cluster.links[link].types().is_empty());
    assert!(cluster.nodes[0].ep().fence(now, &id));
    cluster.flush();
    assert!(cluster.links[link].types().is_empty(), "{:?}", cluster.links[link].types());
    assert!(!cluster.links[link].node_is_here);
    assert!(!cluster.nodes[0].ep().fence(now, &id), "there is none any more");
}

#[test]
fn d14_a_session_comes_back_to_where_a_stale_copy_of_it_is() {
    for is_subscriber_here in [false, true] {
        let mut cluster = Cluster::durable(2);
        let (alice, job) = begun(&mut cluster, 1);
        let bob = cluster.connect(silent("alice"), 0);
        if is_subscriber_here {
            cluster.subscribe(bob, &job, Some(0));
        }
        let id = cluster.session_of(alice);
        // The process hangs: the client goes to the other one, which takes the session over, and works.
        cluster.lose(alice);
        cluster.peers[alice].prefers = 1;
        cluster.mend(alice);
        cluster.nodes[0].workers.clear();
        let at_1 = if is_subscriber_here { 1 } else { 3 };
        cluster.work_until(&job, at_1);
        assert!(cluster.nodes[0].ep().session(&id).is_some(), "nobody has told it");
        // And back.
        cluster.lose(alice);
        cluster.peers[alice].prefers = 0;
        cluster.peers[alice].is_keen = false;
        let adopted = cluster.adopt(0, &id).unwrap().unwrap();
        assert_eq!(adopted.jobs, std::slice::from_ref(&job));
        cluster.resume_at(alice, 0);
        assert!(cluster.is_open(alice));
        // Nobody is told to stop what was just taken over.
        assert_eq!(cluster.nodes[0].closed(), [(id.clone(), CloseReason::Fenced, vec![])]);
        assert_eq!(cluster.nodes[0].ep().jobs().get(&job).unwrap().session, Some(id.clone()));
        cluster.nodes[1].workers.clear();
        cluster.work_until(&job, ITEMS);
        cluster.assert_whole(alice);
        assert_eq!(cluster.heard(alice, &job), whole_job());
        if is_subscriber_here {
            cluster.assert_whole(bob);
            assert_eq!(cluster.heard(bob, &job), whole_job(), "it follows the job still");
        }
    }
}

#[test]
fn d14_what_has_ended_elsewhere_meanwhile_is_not_run_by_a_stale_copy() {
    let mut cluster = Cluster::durable(2);
    let (alice, job) = begun(&mut cluster, 1);
    let id = cluster.session_of(alice);
    cluster.lose(alice);
    cluster.peers[alice].prefers = 1;
    cluster.mend(alice);
    while cluster.work(1, &job).is_some() {}
    cluster.flush();
    assert!(cluster.nodes[0].workers.contains_key(&job));
    assert!(cluster.adopt(0, &id).unwrap().unwrap().jobs.is_empty());
    cluster.flush();
    assert_eq!(cluster.nodes[0].closed(), [(id, CloseReason::Fenced, vec![job.clone()])]);
    cluster.mend(alice);
    assert_eq!(cluster.heard(alice, &job), whole_job());
}

#[test]
fn d41_an_ended_job_that_comes_back_is_not_taken_out_of_the_store() {
    let mut cluster = Cluster::durable(2);
    let (alice, job) = begun(&mut cluster, ITEMS);
    let id = cluster.session_of(alice);
    assert!(cluster.store.entries[&id].jobs.contains_key(&job));
    cluster.lose(alice);
    cluster.peers[alice].prefers = 1;
    cluster.mend(alice);
    cluster.lose(alice);
    cluster.peers[alice].prefers = 0;
    cluster.peers[alice].is_keen = false;
    cluster.adopt(0, &id).unwrap().unwrap();
    cluster.resume_at(alice, 0);
    assert!(cluster.is_open(alice));
    assert!(cluster.store.entries[&id].jobs.contains_key(&job));
    assert_eq!(cluster.submit(alice, "key"), job, "and its key is good");
}

#[test]
fn d30_a_job_that_is_forgotten_is_taken_out_of_the_store_here_and_after_an_adoption() {
    let mut cluster = Cluster::durable(2);
    let (alice, job) = begun(&mut cluster, ITEMS);
    let id = cluster.session_of(alice);
    cluster.kill(0);
    cluster.mend(alice);
    assert!(cluster.store.entries[&id].jobs.contains_key(&job));
    cluster.advance(secs(600));
    assert!(cluster.nodes[1].ep().jobs().get(&job).is_none(), "ended 600 s ago");
    assert!(!cluster.store.entries[&id].jobs.contains_key(&job));
}

#[test]
fn d14_what_is_here_already_is_not_adopted() {
    let mut cluster = Cluster::durable(2);
    let (alice, job) = begun(&mut cluster, 2);
    let id = cluster.session_of(alice);
    let mut stored = cluster.store.clone();
    let now = cluster.now;
    let mut same = stored.take(&id).unwrap();
    same.generation = 1;
    assert_eq!(cluster.nodes[0].ep().adopt(now, same.clone()), Err(AdoptError::IsHere(1)));
    same.generation = 0;
    assert_eq!(cluster.nodes[0].ep().adopt(now, same), Err(AdoptError::IsHere(1)));
    assert!(cluster.is_open(alice), "nothing changed");
    cluster.work_until(&job, ITEMS);
    assert_eq!(cluster.heard(alice, &job), whole_job());
    cluster.assert_whole(alice);
}

#[test]
fn d14_a_session_without_its_events_is_none() {
    let mut cluster = Cluster::durable(2);
    let (alice, _) = begun(&mut cluster, 3);
    // The state knows of the third event.
    cluster.peers[alice].is_keen = false;
    cluster.cut(alice);
    cluster.flush();
    let id = cluster.session_of(alice);
    let adoption = cluster.store.take(&id).unwrap();
    let now = cluster.now;
    let lacking = |cut: &dyn Fn(&mut Adoption)| {
        let mut adoption = adoption.clone();
        cut(&mut adoption);
        adoption
    };
    let endpoint = cluster.nodes[1].ep();
    for broken in [
        lacking(&|adoption| drop(adoption.events.pop())),
        lacking(&|adoption| drop(adoption.events.remove(1))),
        lacking(&|adoption| adoption.events.swap(0, 1)),
        lacking(&|adoption| adoption.events.clear()),
    ] {
        let refused = endpoint.adopt(now, broken);
        assert!(
            matches!(
                refused,
                Err(AdoptError::Restore(
                    RestoreError::Hole { .. } | RestoreError::EventsMissing { .. } | RestoreError::NotTheEvent { .. }
                ))
            ),
            "{refused:?}"
        );
        assert_eq!(endpoint.session_count(), 0);
        assert_eq!(endpoint.jobs().len(), 0);
        assert!(endpoint.poll_change().is_none());
    }
    assert!(endpoint.adopt(now, adoption).is_ok());
}

#[test]
fn d3_a_token_that_resumes_another_session_here_is_not_taken_from_it() {
    let mut cluster = Cluster::durable(2);
    let (alice, _) = begun(&mut cluster, 1);
    let id = cluster.session_of(alice);
    let now = cluster.now;
    let mut adoption = cluster.store.take(&id).unwrap();
    cluster.nodes[1].ep().adopt(now, adoption.clone()).unwrap();
    let mut state = serde_json::to_value(&adoption.state).unwrap();
    state["session"]["session_id"] = json!("sess_other");
    adoption.state = serde_json::from_value(state).unwrap();
    adoption.events.clear();
    adoption.jobs.clear();
    assert_eq!(cluster.nodes[1].ep().adopt(now, adoption), Err(AdoptError::TokenTaken));
    assert!(cluster.nodes[1].ep().session(&id).is_some());
    assert_eq!(cluster.nodes[1].ep().session_count(), 1);
}

#[test]
fn d18_there_may_be_no_place_and_then_the_session_stays_in_the_store() {
    let mut cluster = small(|config| config.sessions = 2);
    let (alice, _) = begun(&mut cluster, 1);
    let id = cluster.session_of(alice);
    cluster.peers[alice].is_keen = false;
    let others = [cluster.connect(client("bob"), 1), cluster.connect(client("carol"), 1)];
    assert_eq!(cluster.adopt(1, &id).unwrap(), Err(AdoptError::NoPlace(Limit::Sessions)));
    cluster.flush();
    assert!(cluster.store.entries.contains_key(&id));
    // A parked one makes place.
    cluster.peers[others[0]].is_keen = false;
    cluster.cut(others[0]);
    cluster.flush();
    assert!(cluster.adopt(1, &id).unwrap().is_ok());
}

#[test]
fn d18_a_session_that_would_be_the_first_to_go_is_not_adopted() {
    for parked in [0, 1] {
        let mut cluster = small(|config| config.parked_sessions = parked);
        let (alice, _) = begun(&mut cluster, 1);
        let id = cluster.session_of(alice);
        if parked == 1 {
            // Its client has said goodbye: it is the first to go.
            let now = cluster.now;
            cluster.peers[alice].session.close(now, "normal");
            cluster.flush();
            let bob = cluster.connect(client("bob"), 1);
            cluster.peers[bob].is_keen = false;
            cluster.cut(bob);
        }
        cluster.peers[alice].is_keen = false;
        let adopted = cluster.adopt(1, &id).unwrap();
        cluster.flush();
        assert_eq!(adopted, Err(AdoptError::NoPlace(Limit::ParkedSessions)));
        assert!(cluster.store.entries.contains_key(&id), "another may have place");
        assert_eq!(cluster.nodes[1].ep().session_count(), parked);
    }
}

#[test]
fn d32_a_goodbye_said_before_the_move_is_known_after_it() {
    let mut cluster = small(|config| config.parked_sessions = 2);
    cluster.start_node(0, &config(Durability::BeforeTransmit));
    let clients: Vec<usize> = ["a", "b", "c"].map(|name| cluster.connect(client(name), 0)).into();
    let ids: Vec<SessionId> = clients.iter().map(|client| cluster.session_of(*client)).collect();
    let now = cluster.now;
    for peer in &mut cluster.peers {
        peer.is_keen = false;
    }
    cluster.peers[1].session.close(now, "normal");
    cluster.flush();
    cluster.cut(0);
    cluster.cut(2);
    cluster.flush();
    cluster.kill(0);
    // The one that said goodbye comes last, and is still the one that goes for a newer one.
    for n in [0, 1] {
        cluster.adopt(1, &ids[n]).unwrap().unwrap();
    }
    cluster.flush();
    cluster.adopt(1, &ids[2]).unwrap().unwrap();
    cluster.flush();
    let here: Vec<bool> = ids.iter().map(|id| cluster.nodes[1].ep().session(id).is_some()).collect();
    assert_eq!(here, [true, false, true]);
}

#[test]
fn d17_what_was_left_of_the_window_is_what_is_left() {
    let mut cluster = Cluster::durable(2);
    let alice = cluster.connect(client("alice"), 0);
    let id = cluster.session_of(alice);
    cluster.peers[alice].is_keen = false;
    cluster.cut(alice);
    cluster.advance(secs(400));
    // A state that is written now says what is left now; 200 s, here by a shutdown.
    let now = cluster.now;
    cluster.nodes[0].ep().shutdown_all(now, "maintenance");
    cluster.flush();
    cluster.nodes[0].endpoint = None;
    cluster.adopt(1, &id).unwrap().unwrap();
    cluster.flush();
    cluster.advance(secs(200) - millis(1));
    assert!(cluster.nodes[1].ep().session(&id).is_some());
    cluster.advance(millis(1));
    assert!(cluster.nodes[1].ep().session(&id).is_none());
    assert!(!cluster.store.entries.contains_key(&id));
}

#[test]
fn d17_a_session_whose_process_died_has_a_whole_window() {
    let mut cluster = Cluster::durable(2);
    let alice = cluster.connect(client("alice"), 0);
    let id = cluster.session_of(alice);
    cluster.peers[alice].is_keen = false;
    cluster.advance(secs(5_000));
    cluster.kill(0);
    cluster.adopt(1, &id).unwrap().unwrap();
    cluster.flush();
    cluster.advance(secs(600) - millis(1));
    assert!(cluster.nodes[1].ep().session(&id).is_some());
    cluster.advance(millis(1));
    assert!(cluster.nodes[1].ep().session(&id).is_none());
}

#[test]
fn d3_message_ids_never_repeat_however_often_a_session_moves() {
    // The cluster holds it at every frame.
    let mut cluster = Cluster::durable(2);
    let (alice, job) = begun(&mut cluster, 1);
    let config = config(Durability::BeforeTransmit);
    for round in 0..ITEMS {
        let (from, to) = ((round % 2) as usize, ((round + 1) % 2) as usize);
        cluster.heir = Some((to, false));
        cluster.kill(from);
        cluster.mend(alice);
        cluster.submit(alice, &format!("{round}"));
        cluster.work_until(&job, round + 1);
        cluster.start_node(from, &config);
    }
    cluster.assert_whole(alice);
    assert_eq!(cluster.heard(alice, &job), whole_job());
}

#[test]
fn d42_a_result_stream_goes_on_where_it_was() {
    for items in LOGS..ITEMS {
        let mut cluster = Cluster::durable(2);
        let (alice, job) = begun(&mut cluster, items);
        cluster.heir = Some((1, false));
        cluster.kill(0);
        let now = cluster.now;
        if items > LOGS {
            let chunk = json!({"result_id": "res_1", "chunk_seq": 0, "data": "abc", "encoding": "utf8", "more": true});
            let refused = cluster.nodes[1].ep().publish(now, &job, "result_chunk", &chunk);
            assert!(matches!(refused, Err(PublishError::Stream(_))), "{refused:?}");
        }
        cluster.work_until(&job, ITEMS);
        cluster.mend(alice);
        assert_eq!(cluster.heard(alice, &job), whole_job());
    }
}

#[test]
fn d37_the_submitting_session_cancels_after_the_move_and_no_other() {
    let mut cluster = Cluster::durable(2);
    let (alice, job) = begun(&mut cluster, 1);
    let bob = cluster.connect(silent("alice"), 0);
    cluster.heir = Some((1, true));
    cluster.kill(0);
    cluster.mend(alice);
    cluster.mend(bob);
    let now = cluster.now;
    cluster.peers[bob].session.cancel(now, &job, None).unwrap();
    cluster.flush();
    assert!(matches!(cluster.peers[bob].events.last(), Some(ClientEvent::RequestFailed { .. })));
    cluster.peers[alice].session.cancel(now, &job, None).unwrap();
    cluster.flush();
    assert_eq!(cluster.heard(alice, &job), ["item 0", "failed CANCELLED"]);
}

#[test]
fn d31_a_subscription_goes_on_whoever_comes_first() {
    for is_reversed in [false, true] {
        let mut cluster = Cluster::durable(2);
        let (alice, job) = begun(&mut cluster, 1);
        let bob = cluster.connect(silent("alice"), 0);
        cluster.subscribe(bob, &job, Some(0));
        cluster.heir = Some((1, is_reversed));
        cluster.kill(0);
        cluster.work_until(&job, ITEMS);
        cluster.mend(alice);
        cluster.mend(bob);
        for client in [alice, bob] {
            assert_eq!(cluster.heard(client, &job), whole_job());
            cluster.assert_whole(client);
        }
    }
}

#[test]
fn d31_a_subscription_ended_while_the_owner_is_elsewhere_stays_ended() {
    for leaves in [false, true] {
        let mut cluster = Cluster::durable(2);
        let (alice, job) = begun(&mut cluster, 1);
        let bob = cluster.connect(silent("alice"), 0);
        cluster.subscribe(bob, &job, Some(0));
        let (owner, other) = (cluster.session_of(alice), cluster.session_of(bob));
        cluster.peers[alice].is_keen = false;
        cluster.peers[bob].prefers = 1;
        cluster.kill(0);
        cluster.mend(bob);
        assert!(cluster.nodes[1].ep().session(&owner).is_none());
        let now = cluster.now;
        if leaves {
            cluster.nodes[1].ep().evict(now, &other);
            cluster.peers[bob].is_keen = false;
        } else {
            cluster.peers[bob].session.unsubscribe(now, &job).unwrap();
        }
        cluster.flush();
        cluster.adopt(1, &owner).unwrap().unwrap();
        cluster.resume_at(alice, 1);
        let published = cluster.work(1, &job).unwrap();
        assert_eq!((published.subscribers, published.skipped), (0, 0));
        cluster.flush();
        assert_eq!(cluster.heard(bob, &job), ["item 0"]);
        assert_eq!(cluster.heard(alice, &job), ["item 0", "item 1"]);
    }
}

#[test]
fn d31_a_subscription_to_a_job_that_ended_is_no_subscription_after_a_move() {
    for is_reversed in [false, true] {
        let mut cluster = Cluster::durable(2);
        let (alice, job) = begun(&mut cluster, 1);
        let bob = cluster.connect(silent("alice"), 0);
        cluster.subscribe(bob, &job, None);
        cluster.work_until(&job, ITEMS);
        let other = cluster.session_of(bob);
        let state = cluster.store.entries[&other].state.clone().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&state).unwrap()["subscriptions"], json!([]), "nor in the store");
        cluster.heir = Some((1, is_reversed));
        cluster.kill(0);
        cluster.mend(alice);
        cluster.mend(bob);
        // It may ask for the job's past as one who never did.
        let before = cluster.heard(bob, &job).len();
        cluster.subscribe(bob, &job, Some(0));
        assert_eq!(cluster.heard(bob, &job).len(), before + ITEMS as usize);
    }
}

#[test]
fn d31_a_job_keeps_its_place_in_its_owners_sequence() {
    for is_reversed in [false, true] {
        let mut cluster = Cluster::durable(2);
        let (alice, job) = begun(&mut cluster, 1);
        let bob = cluster.connect(silent("alice"), 0);
        // In the subscriber's sequence all of it comes later.
        let own = cluster.submit(bob, "own");
        cluster.work_until(&own, 5);
        cluster.subscribe(bob, &job, Some(0));
        cluster.work_until(&job, 2);
        cluster.heir = Some((1, is_reversed));
        cluster.kill(0);
        cluster.mend(alice);
        let seq = |cluster: &mut Cluster, job: &JobId| cluster.nodes[1].ep().jobs().get(job).unwrap().last_event_seq;
        assert_eq!(seq(&mut cluster, &job), 2);
        assert_eq!(seq(&mut cluster, &own), 5);
    }
}

#[test]
fn a12_a_client_lists_its_jobs_after_the_move() {
    let mut cluster = Cluster::durable(2);
    let (alice, job) = begun(&mut cluster, 2);
    let ended = cluster.submit(alice, "another");
    cluster.work_until(&ended, ITEMS);
    let list = |cluster: &mut Cluster| {
        let now = cluster.now;
        cluster.peers[alice].session.list_jobs(now, &JobQuery::default()).unwrap();
        cluster.flush();
        match cluster.peers[alice].events.last() {
            Some(ClientEvent::Jobs { page, .. }) => page.jobs.clone(),
            other => panic!("{other:?}"),
        }
    };
    let before = list(&mut cluster);
    cluster.kill(0);
    cluster.mend(alice);
    assert_eq!(list(&mut cluster), before);
    assert_eq!(before.len(), 2);
    assert!(before.iter().any(|entry| entry.job_id == job));
}

#[test]
fn d14_a_zombie_of_a_session_that_has_ended_elsewhere_does_not_come_back() {
    let mut cluster = Cluster::durable(2);
    let (alice, job) = begun(&mut cluster, 1);
    let id = cluster.session_of(alice);
    cluster.lose(alice);
    cluster.peers[alice].prefers = 1;
    cluster.mend(alice);
    cluster.peers[alice].is_keen = false;
    let now = cluster.now;
    cluster.nodes[1].ep().evict(now, &id);
    cluster.flush();
    assert!(!cluster.store.entries.contains_key(&id));
    cluster.work(0, &job);
    cluster.flush();
    assert!(!cluster.store.entries.contains_key(&id));
    assert!(cluster.nodes[0].ep().session(&id).is_none());
}

#[test]
fn d8_a_submit_that_was_open_when_the_process_died_is_asked_anew() {
    let mut cluster = Cluster::durable(2);
    let alice = cluster.connect(silent("alice"), 0);
    cluster.nodes[0].accepts = false;
    let now = cluster.now;
    let submit = JobSubmit::new("code", RawJson::empty_object()).with_idempotency_key("key");
    cluster.peers[alice].session.submit(now, &submit).unwrap();
    cluster.flush();
    assert!(cluster.nodes[0].events.iter().any(|event| matches!(event, EndpointEvent::Submit { .. })));
    cluster.kill(0);
    cluster.mend(alice);
    let job = cluster.submit(alice, "key");
    assert!(cluster.nodes[1].workers.contains_key(&job));
}

#[test]
fn d14_before_transmit_an_adopted_session_says_nothing_before_its_state_is_stored() {
    let mut cluster = Cluster::durable(2);
    let (alice, job) = begun(&mut cluster, 2);
    cluster.peers[alice].is_keen = false;
    cluster.kill(0);
    cluster.nodes[1].storing = Storing::Held;
    cluster.flush();
    cluster.resume_at(alice, 1);
    cluster.work(1, &job);
    cluster.flush();
    assert!(cluster.link_of(alice).types().is_empty());
    cluster.release_store(1);
    assert_eq!(cluster.link_of(alice).types(), ["session.welcome", "job.event"]);
    cluster.assert_whole(alice);
}

/// One place of a text is changed in one of several ways.
fn mutate(value: &mut Value, dice: &mut Dice) {
    match value {
        Value::Object(map) if !map.is_empty() && dice.roll(8) != 0 => {
            let n = dice.roll(map.len() as u64) as usize;
            let key = map.keys().nth(n).unwrap().clone();
            if dice.roll(16) == 0 {
                map.remove(&key);
            } else {
                mutate(map.get_mut(&key).unwrap(), dice);
            }
        }
        Value::Array(items) if !items.is_empty() && dice.roll(4) != 0 => {
            let n = dice.roll(items.len() as u64) as usize;
            match dice.roll(3) {
                0 => items.push(items[n].clone()),
                _ => mutate(&mut items[n], dice),
            }
        }
        other => {
            let numbers = [0, 1, 3, u64::MAX, (1_u64 << 53) - 1, (1_u64 << 62) + 1].map(|n| json!(n));
            let texts = ["", "x", "sess_001", "job_1", "success", "{}"].map(|text| json!(text));
            let others = [json!(null), json!([]), json!({}), json!(true), json!("x".repeat(300)), json!(0)];
            let of_its_kind = match other {
                _ if dice.roll(8) == 0 => others,
                Value::Number(_) => numbers,
                Value::String(_) => texts,
                _ => others,
            };
            *other = of_its_kind[dice.roll(6) as usize].clone();
        }
    }
}

#[test]
fn d3_whatever_a_store_gives_is_an_error_or_a_session_that_works() {
    let mut cluster = Cluster::durable(1);
    let (alice, job) = begun(&mut cluster, 4);
    let bob = cluster.connect(silent("alice"), 0);
    cluster.subscribe(bob, &job, Some(0));
    let ended = cluster.submit(alice, "another");
    cluster.work_until(&ended, ITEMS);
    let ids = [cluster.session_of(alice), cluster.session_of(bob)];
    let adoptions: Vec<Adoption> = ids.iter().map(|id| cluster.store.take(id).unwrap()).collect();
    let (mut adopted, mut refused, mut unread) = (0, 0, 0);
    for seed in 1..=1_000_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut other = Cluster::durable(1);
        let now = other.now;
        let carol = other.connect(client("carol"), 0);
        for adoption in &adoptions {
            let mut adoption = adoption.clone();
            let mut state = serde_json::to_value(&adoption.state).unwrap();
            let mut jobs = serde_json::to_value(&adoption.jobs).unwrap();
            for _ in 0..=dice.roll(3) {
                match dice.roll(5) {
                    0 | 1 => mutate(&mut state, &mut dice),
                    2 | 3 => mutate(&mut jobs, &mut dice),
                    _ => {
                        let n = dice.roll(adoption.events.len() as u64) as usize;
                        match dice.roll(3) {
                            0 => drop(adoption.events.remove(n)),
                            1 => adoption.events[n].0 = dice.roll(12),
                            _ => adoption.events[n].1 = "{}".into(),
                        }
                    }
                }
            }
            let (Ok(state), Ok(jobs)) =
                (serde_json::from_value::<SessionState>(state), serde_json::from_value::<Vec<JobState>>(jobs))
            else {
                unread += 1;
                continue;
            };
            (adoption.state, adoption.jobs) = (state, jobs);
            let endpoint = other.nodes[0].ep();
            let outcome = catch_unwind(AssertUnwindSafe(|| endpoint.adopt(now, adoption)));
            let outcome = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
            match outcome {
                Err(_) => refused += 1,
                Ok(it) => {
                    adopted += 1;
                    assert!(endpoint.session(&it.session).is_some());
                    for job in &it.jobs {
                        let body = json!({"level": "info", "message": "more"});
                        let published = endpoint.publish(now, job, "log", &body);
                        assert!(matches!(published, Ok(_) | Err(PublishError::Send(_))), "seed {seed}: {published:?}");
                    }
                }
            }
        }
        // What goes out of it is well made, and nobody else is harmed.
        other.flush();
        assert!(other.is_open(carol));
        other.peers[carol].is_keen = false;
        other.cut(carol);
        other.advance(secs(200_000));
        let endpoint = other.nodes[0].ep();
        assert_eq!(endpoint.parked().0, endpoint.session_count(), "seed {seed}");
    }
    assert!(adopted > 200 && refused > 100 && unread > 100, "{adopted} {refused} {unread}");
}

#[test]
fn d14_a_fenced_session_swallows_the_goodbye_that_it_owes() {
    let mut cluster = Cluster::durable(1);
    let (alice, job) = begun(&mut cluster, 1);
    let id = cluster.session_of(alice);
    cluster.nodes[0].storing = Storing::Held;
    cluster.peers[alice].is_keen = false;
    cluster.work(0, &job);
    let now = cluster.now;
    cluster.peers[alice].session.close(now, "normal");
    cluster.flush();
    let link = cluster.peers[alice].link.unwrap();
    let before = cluster.links[link].types();
    assert!(cluster.nodes[0].ep().fence(now, &id));
    cluster.flush();
    assert_eq!(cluster.links[link].types(), before, "its place is behind an event that is not stored");
    assert!(!cluster.links[link].node_is_here);
}

#[test]
fn d30_a_jobs_last_event_is_known_after_the_move_though_it_was_acknowledged() {
    let mut cluster = Cluster::durable(2);
    let (alice, job) = begun(&mut cluster, LOGS);
    let now = cluster.now;
    cluster.peers[alice].session.mark_processed(now, LOGS).unwrap();
    cluster.peers[alice].session.flush_acks(now).unwrap();
    cluster.flush();
    cluster.kill(0);
    cluster.mend(alice);
    assert_eq!(cluster.nodes[1].ep().jobs().get(&job).unwrap().last_event_seq, LOGS);
}
