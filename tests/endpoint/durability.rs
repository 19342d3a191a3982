//! What outlives the process: what is stored when, what waits for it, and what a second process makes of it (D3, D14,
//! D28, D32).

use arcp_proto::endpoint::{Durability, Endpoint};
use arcp_proto::wire::{JobId, JobSubmit, RawJson};
use arcp_proto::{ClientEvent, CloseReason, Phase};

use crate::cluster::*;

/// The whole life of two sessions: submits with keys, events, a streamed result, a subscription, a cancel, losses.
fn live(cluster: &mut Cluster) -> (usize, usize, JobId) {
    let owner = cluster.connect(silent("alice"), 0);
    let other = cluster.connect(silent("alice"), 0);
    cluster.mend(owner);
    cluster.mend(other);
    let job = cluster.submit(owner, "key");
    cluster.work_until(&job, 1);
    cluster.subscribe(other, &job, Some(0));
    cluster.work_until(&job, 2);
    cluster.mend(owner);
    let (now, seen) = (cluster.now, cluster.peers[owner].session.last_event_seq());
    let _ = cluster.peers[owner].session.mark_processed(now, seen);
    let _ = cluster.peers[owner].session.flush_acks(now);
    cluster.flush();
    cluster.peers[owner].is_keen = false;
    cluster.cut(owner);
    cluster.work_until(&job, 4);
    cluster.peers[owner].is_keen = true;
    cluster.mend(owner);
    assert_eq!(cluster.submit(owner, "key"), job, "a repetition is answered alike");
    assert_eq!(cluster.submit(other, "key"), job, "a repetition is answered alike");
    let second = cluster.submit(owner, "another key");
    assert_ne!(second, job);
    for _ in 0..4 {
        if cluster.heard(owner, &second).is_empty() {
            cluster.mend(owner);
            let now = cluster.now;
            let _ = cluster.peers[owner].session.cancel(now, &second, None);
            cluster.flush();
        }
    }
    cluster.work_until(&job, ITEMS);
    cluster.mend(owner);
    cluster.mend(other);
    assert_eq!(cluster.heard(owner, &second), ["failed CANCELLED"]);
    (owner, other, job)
}

fn assert_life(cluster: &Cluster, owner: usize, other: usize, job: &JobId) {
    for client in [owner, other] {
        cluster.assert_whole(client);
        assert_eq!(cluster.heard(client, job), whole_job(), "client {client}");
    }
}

#[test]
fn d14_a_process_killed_after_any_step_costs_nobody_an_event() {
    let mut undisturbed = Cluster::durable(2);
    let (owner, other, job) = live(&mut undisturbed);
    assert_life(&undisturbed, owner, other, &job);
    let steps = undisturbed.steps;
    assert!(steps > 70, "{steps}");
    for lost in [false, true] {
        for is_reversed in [false, true] {
            for fuel in 1..=steps {
                let mut cluster = Cluster::durable(2);
                cluster.fuel = Some(fuel);
                cluster.is_lossy = lost;
                cluster.heir = Some((1, is_reversed));
                let (owner, other, job) = live(&mut cluster);
                assert_life(&cluster, owner, other, &job);
            }
        }
    }
}

#[test]
fn d14_before_transmit_nothing_leaves_before_it_is_stored() {
    let mut cluster = Cluster::durable(1);
    cluster.nodes[0].storing = Storing::Held;
    let alice = cluster.connect(client("alice"), 0);
    assert!(cluster.link_of(alice).types().is_empty(), "no welcome");
    assert_eq!(cluster.nodes[0].pending.len(), 1);
    let id = cluster.write_one(0).unwrap();
    cluster.flush();
    assert!(cluster.link_of(alice).types().is_empty(), "written, and not confirmed");
    let now = cluster.now;
    cluster.nodes[0].ep().stored(now, &id);
    cluster.flush();
    assert_eq!(cluster.link_of(alice).types(), ["session.welcome"]);

    let submit = JobSubmit::new("code", RawJson::empty_object());
    cluster.peers[alice].session.submit(now, &submit).unwrap();
    cluster.flush();
    assert_eq!(cluster.link_of(alice).types().len(), 1, "no accepted");
    cluster.write_all(0);
    cluster.flush();
    assert_eq!(cluster.link_of(alice).types(), ["session.welcome", "job.accepted"]);

    let job = JobId::from("job_1");
    cluster.work(0, &job);
    cluster.flush();
    cluster.work(0, &job);
    cluster.flush();
    assert_eq!(cluster.link_of(alice).types().len(), 2, "no event");
    let first = cluster.write_one(0).unwrap();
    let now = cluster.now;
    cluster.nodes[0].ep().stored(now, &first);
    cluster.flush();
    assert_eq!(cluster.peers[alice].seqs, [1], "the one that is stored");
    cluster.write_all(0);
    cluster.flush();
    assert_eq!(cluster.peers[alice].seqs, [1, 2]);
    assert!(!cluster.nodes[0].ep().has_unstored());
}

#[test]
fn d14_before_transmit_an_answer_that_waits_does_not_leave_with_an_event_that_is_stored() {
    let mut cluster = Cluster::durable(1);
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    cluster.nodes[0].storing = Storing::Held;
    let before = cluster.link_of(alice).types().len();
    cluster.work(0, &job);
    cluster.flush();
    let event = cluster.write_one(0).unwrap();
    let now = cluster.now;
    let submit = JobSubmit::new("code", RawJson::empty_object());
    cluster.peers[alice].session.submit(now, &submit).unwrap();
    cluster.flush();
    assert_eq!(cluster.link_of(alice).types().len(), before, "nothing is confirmed");
    cluster.nodes[0].ep().stored(now, &event);
    cluster.flush();
    assert_eq!(cluster.link_of(alice).types()[before..], ["job.event"]);
    cluster.write_all(0);
    cluster.flush();
    assert_eq!(cluster.link_of(alice).types()[before..], ["job.event", "job.accepted"]);
}

#[test]
fn d14_before_transmit_a_subscription_waits_for_the_store_with_its_history() {
    let mut cluster = Cluster::durable(1);
    let owner = cluster.connect(silent("alice"), 0);
    let other = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(owner, "key");
    cluster.work_until(&job, 2);
    cluster.nodes[0].storing = Storing::Held;
    let before = cluster.link_of(other).types().len();
    let now = cluster.now;
    cluster.peers[other].session.subscribe(now, &job, Some(0)).unwrap();
    cluster.flush();
    assert_eq!(cluster.link_of(other).types().len(), before);
    cluster.write_all(0);
    cluster.flush();
    assert_eq!(cluster.link_of(other).types()[before..], ["job.subscribed", "job.event", "job.event"]);
}

#[test]
fn d14_a_later_confirmation_stands_for_all_before_it() {
    let mut cluster = Cluster::durable(1);
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    cluster.nodes[0].storing = Storing::Held;
    for _ in 0..3 {
        cluster.work(0, &job);
        cluster.flush();
    }
    assert_eq!(cluster.nodes[0].pending.len(), 3, "several are under way at once");
    let ids: Vec<_> = std::iter::from_fn(|| cluster.write_one(0)).collect();
    let now = cluster.now;
    cluster.nodes[0].ep().stored(now, &ids[1]);
    cluster.flush();
    assert_eq!(cluster.peers[alice].seqs, [1, 2]);
    // Twice, and an older one, change nothing.
    cluster.nodes[0].ep().stored(now, &ids[1]);
    cluster.nodes[0].ep().stored(now, &ids[0]);
    cluster.flush();
    assert_eq!(cluster.peers[alice].seqs, [1, 2]);
    cluster.nodes[0].ep().stored(now, &ids[2]);
    cluster.flush();
    assert_eq!(cluster.peers[alice].seqs, [1, 2, 3]);
}

#[test]
fn d14_a_confirmation_of_an_older_generation_is_ignored() {
    let mut cluster = Cluster::durable(1);
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    let session = cluster.session_of(alice);
    cluster.nodes[0].storing = Storing::Held;
    cluster.peers[alice].is_keen = false;
    for _ in 0..3 {
        cluster.work(0, &job);
        cluster.flush();
    }
    let old: Vec<_> = cluster.nodes[0].pending.drain(..).map(|change| change.id).collect();
    // Taken over by the same process, from what the store has: none of these.
    cluster.adopt(0, &session).unwrap().unwrap();
    cluster.flush();
    cluster.work(0, &job);
    cluster.resume_at(alice, 0);
    let now = cluster.now;
    for id in &old {
        cluster.nodes[0].ep().stored(now, id);
    }
    cluster.flush();
    assert!(!cluster.is_open(alice), "neither welcome");
    assert!(cluster.peers[alice].seqs.is_empty(), "nor event");
    cluster.write_all(0);
    cluster.flush();
    assert!(cluster.is_open(alice));
    assert_eq!(cluster.peers[alice].seqs, [1]);
}

#[test]
fn d14_drained_is_drained_while_the_store_is_slow() {
    let mut cluster = Cluster::durable(1);
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    cluster.nodes[0].storing = Storing::Held;
    cluster.work(0, &job);
    cluster.flush();
    let now = cluster.now;
    let id = cluster.write_one(0).unwrap();
    let drained = |endpoint: &mut Endpoint| {
        endpoint.poll_change().is_none()
            && endpoint.poll_transmit(now).is_none()
            && endpoint.poll_event().is_none()
            && endpoint.poll_close().is_none()
    };
    for _ in 0..3 {
        assert!(drained(cluster.nodes[0].ep()));
    }
    // Eager: all that the confirmation causes is there when the call returns.
    cluster.nodes[0].ep().stored(now, &id);
    assert!(cluster.nodes[0].ep().poll_transmit(now).is_some());
    assert!(drained(cluster.nodes[0].ep()));
}

#[test]
fn a8_a_store_that_is_slow_with_events_does_not_cost_the_heartbeat() {
    let mut cluster = Cluster::durable(1);
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    cluster.nodes[0].storing = Storing::Held;
    cluster.work(0, &job);
    cluster.advance(secs(300));
    assert!(cluster.is_open(alice));
    assert!(!cluster.peers[alice].events.iter().any(|event| matches!(event, ClientEvent::Detached(_))));
    cluster.release_store(0);
    assert_eq!(cluster.peers[alice].seqs, [1]);
}

#[test]
fn d14_events_alone_do_not_rewrite_the_state() {
    let mut cluster = Cluster::durable(1);
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    cluster.nodes[0].storing = Storing::Held;
    cluster.work(0, &job);
    cluster.write_all(0);
    let (changes, states, job_states) = (cluster.store.changes, cluster.store.states, cluster.store.job_states);
    let now = cluster.now;
    for n in 0..100 {
        let body = serde_json::json!({"level": "info", "message": format!("{n}")});
        cluster.nodes[0].ep().publish(now, &job, "log", &body).unwrap();
        cluster.flush();
        cluster.write_all(0);
    }
    assert_eq!(cluster.store.changes - changes, 100, "one change an event");
    assert_eq!(cluster.store.states, states, "the state stands");
    assert!(cluster.store.job_states - job_states <= 1, "the job runs since the first event");
}

#[test]
fn d19_events_that_push_out_others_do_not_rewrite_the_state() {
    let mut config = config(Durability::BeforeTransmit);
    let runtime = arcp_proto::RuntimeConfig::clone(&config.runtime);
    config.runtime = runtime.with_replay(4, 1 << 20, arcp_proto::Overflow::Evict).into();
    let mut cluster = Cluster::new(2, &config);
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    let log = |n: u64| serde_json::json!({"level": "info", "message": format!("{n}")});
    for n in 0..10 {
        let now = cluster.now;
        cluster.nodes[0].ep().publish(now, &job, "log", &log(n)).unwrap();
        cluster.flush();
    }
    let states = cluster.store.states;
    for n in 10..50 {
        let now = cluster.now;
        cluster.nodes[0].ep().publish(now, &job, "log", &log(n)).unwrap();
        cluster.flush();
    }
    assert_eq!(cluster.store.states, states);
    let session = cluster.session_of(alice);
    assert_eq!(cluster.store.entries[&session].events.keys().copied().collect::<Vec<_>>(), [47, 48, 49, 50]);
    // And it can be taken over so.
    cluster.heir = Some((1, false));
    cluster.kill(0);
    cluster.mend(alice);
    let now = cluster.now;
    cluster.nodes[1].ep().publish(now, &job, "log", &log(50)).unwrap();
    cluster.flush();
    cluster.assert_whole(alice);
    assert_eq!(cluster.peers[alice].seqs.len(), 51);
}

#[test]
fn a9_acks_trim_what_the_store_keeps() {
    let mut cluster = Cluster::durable(2);
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    cluster.work_until(&job, 5);
    let session = cluster.session_of(alice);
    let stored = |cluster: &Cluster| cluster.store.entries[&session].events.keys().copied().collect::<Vec<_>>();
    assert_eq!(stored(&cluster), [1, 2, 3, 4, 5]);
    for (acked, left) in [(1, vec![2, 3, 4, 5]), (4, vec![5]), (5, vec![])] {
        let now = cluster.now;
        cluster.peers[alice].session.mark_processed(now, acked).unwrap();
        cluster.peers[alice].session.flush_acks(now).unwrap();
        cluster.flush();
        assert_eq!(stored(&cluster), left);
    }
    cluster.kill(0);
    cluster.mend(alice);
    cluster.work_until(&job, ITEMS);
    cluster.assert_whole(alice);
    assert_eq!(cluster.heard(alice, &job), whole_job());
}

#[test]
fn d14_batched_flows_at_once() {
    let mut cluster = Cluster::new(1, &config(Durability::Batched));
    cluster.nodes[0].storing = Storing::Held;
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    cluster.work_until(&job, ITEMS);
    assert_eq!(cluster.heard(alice, &job), whole_job());
    assert!(cluster.nodes[0].ep().has_unstored());
    cluster.write_all(0);
    assert!(!cluster.nodes[0].ep().has_unstored());
}

#[test]
fn d14_batched_what_the_store_misses_is_lost_visibly() {
    let mut cluster = Cluster::new(2, &config(Durability::Batched));
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    cluster.work_until(&job, 2);
    cluster.nodes[0].storing = Storing::Held;
    cluster.work_until(&job, 4);
    cluster.kill(0);
    cluster.flush();
    let closed = cluster.peers[alice].events.last();
    assert!(matches!(closed, Some(ClientEvent::Closed(CloseReason::ResumeRefused(_)))), "{closed:?}");
    assert_eq!(cluster.peers[alice].seqs, [1, 2, 3, 4]);
}

#[test]
fn d14_batched_a_client_that_saw_what_the_store_missed_is_refused_after_a_second_crash_too() {
    let mut cluster = Cluster::new(3, &config(Durability::Batched));
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    cluster.work_until(&job, 2);
    cluster.nodes[0].storing = Storing::Held;
    cluster.work_until(&job, 4);
    cluster.peers[alice].is_keen = false;
    cluster.heir = Some((1, false));
    cluster.kill(0);
    cluster.flush();
    // Others stand in the places that the client has seen, and nobody has seen these.
    cluster.work_until(&job, 6);
    cluster.heir = Some((2, false));
    cluster.kill(1);
    cluster.peers[alice].is_keen = true;
    cluster.peers[alice].prefers = 2;
    cluster.flush();
    let closed = cluster.peers[alice].events.last();
    assert!(matches!(closed, Some(ClientEvent::Closed(CloseReason::ResumeRefused(_)))), "{closed:?}");
}

#[test]
fn d14_batched_a_client_that_saw_no_more_than_the_store_goes_on() {
    let mut cluster = Cluster::new(2, &config(Durability::Batched));
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    cluster.work_until(&job, 2);
    cluster.nodes[0].storing = Storing::Held;
    cluster.peers[alice].is_keen = false;
    cluster.cut(alice);
    cluster.work_until(&job, 4);
    cluster.kill(0);
    cluster.peers[alice].is_keen = true;
    cluster.mend(alice);
    cluster.work_until(&job, ITEMS);
    assert_eq!(cluster.heard(alice, &job), whole_job());
    cluster.assert_whole(alice);
}

#[test]
fn d14_volatile_has_nothing_to_store() {
    let mut cluster = Cluster::new(1, &config(Durability::Volatile));
    let (owner, other, job) = live(&mut cluster);
    assert_life(&cluster, owner, other, &job);
    assert_eq!(cluster.store.changes, 0);
    assert!(!cluster.nodes[0].ep().has_unstored());
    assert!(cluster.nodes[0].ep().poll_change().is_none());
}

#[test]
fn d15_a_welcome_that_is_not_stored_does_not_leave_with_a_farewell() {
    let mut cluster = Cluster::durable(1);
    let alice = cluster.connect(silent("alice"), 0);
    cluster.nodes[0].storing = Storing::Held;
    cluster.peers[alice].is_keen = false;
    cluster.cut(alice);
    cluster.resume_at(alice, 0);
    assert!(cluster.link_of(alice).types().is_empty());
    let waiting = cluster.peers[alice].link.unwrap();
    // The same token once more, on another transport: the first is superseded.
    cluster.lose(alice);
    cluster.resume_at(alice, 0);
    assert!(cluster.links[waiting].types().is_empty(), "{:?}", cluster.links[waiting].types());
    assert!(!cluster.links[waiting].node_is_here, "it is closed");
    cluster.release_store(0);
    assert!(cluster.is_open(alice));
}

#[test]
fn d22_a_session_lost_while_its_welcome_waits_for_the_store_says_nothing() {
    let mut cluster = Cluster::durable(1);
    let alice = cluster.connect(silent("alice"), 0);
    cluster.peers[alice].is_keen = false;
    cluster.cut(alice);
    cluster.nodes[0].storing = Storing::Held;
    let link = cluster.redial(alice, 0);
    cluster.flush();
    cluster.lose(alice);
    cluster.advance(secs(61));
    assert!(cluster.links[link].types().is_empty(), "{:?}", cluster.links[link].types());
    assert!(!cluster.links[link].node_is_here);
    cluster.release_store(0);
    cluster.resume_at(alice, 0);
    assert!(cluster.is_open(alice), "the token presented is good still");
}

#[test]
fn d3_a_welcome_lost_with_the_process_leaves_the_presented_token_good_and_the_next_one_too() {
    for is_received in [false, true] {
        let mut cluster = Cluster::durable(2);
        let alice = cluster.connect(silent("alice"), 0);
        let job = cluster.submit(alice, "key");
        cluster.work_until(&job, 2);
        cluster.peers[alice].is_keen = false;
        cluster.cut(alice);
        let presented = cluster.peers[alice].session.resume_token().unwrap().digest();
        let link = cluster.redial(alice, 0);
        cluster.drive_all_but_down(link);
        assert_eq!(cluster.links[link].types()[0], "session.welcome", "handed out");
        cluster.is_lossy = !is_received;
        cluster.links[link].is_stuck = false;
        cluster.kill(0);
        cluster.flush();
        let now_held = cluster.peers[alice].session.resume_token().unwrap().digest();
        assert_eq!(now_held == presented, !is_received);
        cluster.resume_at(alice, 1);
        cluster.work_until(&job, ITEMS);
        assert_eq!(cluster.heard(alice, &job), whole_job());
        assert_eq!(cluster.store.by_token(&presented).is_some(), !is_received, "rule 3");
    }
}

#[test]
fn d3_the_presented_token_is_gone_from_the_store_once_the_client_was_heard() {
    let mut cluster = Cluster::durable(1);
    let alice = cluster.connect(silent("alice"), 0);
    cluster.peers[alice].is_keen = false;
    cluster.cut(alice);
    let presented = cluster.peers[alice].session.resume_token().unwrap().digest();
    cluster.resume_at(alice, 0);
    assert!(cluster.store.by_token(&presented).is_some());
    let now = cluster.now;
    cluster.peers[alice].session.list_jobs(now, &arcp_proto::wire::JobQuery::default()).unwrap();
    cluster.flush();
    assert!(cluster.store.by_token(&presented).is_none());
}

#[test]
fn d41_a_repetition_from_another_session_waits_for_the_store_like_the_first() {
    let mut cluster = Cluster::durable(1);
    let one = cluster.connect(silent("alice"), 0);
    let two = cluster.connect(silent("alice"), 0);
    cluster.nodes[0].storing = Storing::Held;
    let submit = arcp_proto::wire::JobSubmit::new("code", arcp_proto::wire::RawJson::empty_object());
    let submit = submit.with_idempotency_key("key");
    let now = cluster.now;
    for client in [one, two] {
        cluster.peers[client].session.submit(now, &submit).unwrap();
        cluster.flush();
    }
    for client in [one, two] {
        assert_eq!(cluster.link_of(client).types(), ["session.welcome"]);
    }
    cluster.write_all(0);
    cluster.flush();
    for client in [one, two] {
        assert_eq!(cluster.link_of(client).types(), ["session.welcome", "job.accepted"]);
    }
}

#[test]
fn d8_a_submit_answered_before_the_crash_is_answered_alike_after_it() {
    let mut cluster = Cluster::durable(2);
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    cluster.kill(0);
    cluster.mend(alice);
    assert_eq!(cluster.submit(alice, "key"), job);
    let accepted = cluster.peers[alice].events.iter().filter_map(|event| match event {
        ClientEvent::Accepted { accepted, .. } => {
            let mut accepted = accepted.clone();
            (accepted.request_id, accepted.reply_to) = (None, None);
            Some(accepted)
        }
        _ => None,
    });
    let accepted: Vec<_> = accepted.collect();
    assert_eq!(accepted.len(), 2);
    assert_eq!(accepted[0], accepted[1], "all of it");
    assert!(cluster.nodes[1].workers.contains_key(&job), "it is carried on, and not begun anew");
}

#[test]
fn d32_a_session_that_was_shut_down_is_resumed_elsewhere() {
    let mut cluster = Cluster::durable(2);
    let alice = cluster.connect(silent("alice"), 0);
    let job = cluster.submit(alice, "key");
    cluster.work_until(&job, 2);
    cluster.peers[alice].is_keen = false;
    let now = cluster.now;
    cluster.nodes[0].ep().shutdown_all(now, "maintenance");
    // The job is the next one's: what was said of it here would be said twice.
    let published = cluster.nodes[0].ep().publish(now, &job, "log", &serde_json::json!({}));
    assert_eq!(published, Err(arcp_proto::endpoint::PublishError::UnknownJob));
    cluster.flush();
    assert!(!cluster.nodes[0].ep().has_unstored());
    assert_eq!(cluster.nodes[0].ep().connection_count(), (0, 0));
    let closed = cluster.peers[alice].events.last();
    assert!(matches!(closed, Some(ClientEvent::Closed(CloseReason::PeerClosed { .. }))), "{closed:?}");
    // The client goes on of its own snapshot.
    let snapshot = cluster.peers[alice].session.snapshot();
    let session = arcp_proto::Session::<arcp_proto::Client>::restore(cluster.now, silent("alice"), snapshot).unwrap();
    cluster.peers[alice].session = session;
    cluster.resume_at(alice, 1);
    assert!(cluster.is_open(alice), "{:?}", cluster.peers[alice].events);
    assert_eq!(cluster.peers[alice].session.phase(), Phase::Open);
    cluster.work_until(&job, ITEMS);
    // Two of them again: nothing was marked as processed in its snapshot (D28).
    assert_eq!(cluster.heard(alice, &job)[2..], whole_job());
}

#[test]
fn d18_what_ended_for_good_is_over_in_the_store_too() {
    let mut cluster = Cluster::durable(2);
    let (one, two) = (cluster.connect(client("alice"), 0), cluster.connect(client("bob"), 0));
    let (first, second) = (cluster.session_of(one), cluster.session_of(two));
    for peer in &mut cluster.peers {
        peer.is_keen = false;
    }
    let now = cluster.now;
    cluster.nodes[0].ep().evict(now, &first);
    cluster.cut(two);
    cluster.flush();
    assert!(!cluster.store.entries.contains_key(&first), "evicted");
    cluster.advance(secs(599));
    assert!(cluster.store.entries.contains_key(&second));
    cluster.advance(secs(1));
    assert!(!cluster.store.entries.contains_key(&second), "its window is over");
    assert!(!cluster.nodes[0].ep().has_unstored());
}

/// Three processes over one store, kills, new starts, takeovers that leave zombies, and cuts, at random.
fn storm(seed: u64) {
    let config = config(Durability::BeforeTransmit);
    let mut cluster = Cluster::new(3, &config);
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let clients: Vec<usize> = (0..4).map(|n| cluster.connect(client("alice"), n % 3)).collect();
    let mut jobs = Vec::new();
    for round in 0..60_u64 {
        let node = dice.roll(3) as usize;
        let client = clients[dice.roll(4) as usize];
        cluster.is_lossy = dice.roll(2) == 0;
        match dice.roll(12) {
            0 => {
                // It dies after some more steps, or at once; another one is there at all times.
                let lives = |node: usize| cluster.nodes[node].endpoint.is_some();
                if lives((node + 1) % 3) || lives((node + 2) % 3) {
                    cluster.kill(node);
                }
            }
            1 => {
                if cluster.nodes[node].endpoint.is_none() {
                    cluster.start_node(node, &config);
                }
            }
            2 => {
                // Taken over without anybody's having died: whoever had it is a zombie.
                let id = cluster.session_of(client);
                if cluster.nodes[node].endpoint.is_some() && cluster.store.entries.contains_key(&id) {
                    let _ = cluster.adopt(node, &id);
                }
            }
            3 => cluster.cut(client),
            4 => {
                cluster.lose(client);
                cluster.peers[client].prefers = node;
            }
            5 => cluster.nodes[node].storing = Storing::Held,
            6 => {
                cluster.nodes[node].storing = Storing::Prompt;
                cluster.write_all(node);
            }
            7 => {
                for node in 0..3 {
                    cluster.nodes[node].storing = Storing::Prompt;
                    cluster.write_all(node);
                }
                if jobs.len() < 8 {
                    let job = cluster.submit(client, &format!("key {round}"));
                    jobs.push((client, job));
                }
            }
            8 => cluster.advance(millis(300)),
            _ => {
                // Whoever thinks that it runs a job works, zombies, too.
                for (_, job) in &jobs {
                    if cluster.nodes[node].endpoint.is_some() {
                        cluster.work(node, job);
                    }
                }
            }
        }
        cluster.flush();
    }
    for node in 0..3 {
        cluster.nodes[node].storing = Storing::Prompt;
        cluster.write_all(node);
    }
    cluster.flush();
    cluster.nodes[1].endpoint.is_none().then(|| cluster.start_node(1, &config));
    for node in [0, 2] {
        cluster.kill(node);
    }
    for peer in &mut cluster.peers {
        peer.prefers = 1;
    }
    cluster.flush();
    cluster.inherit(1, false);
    for (client, job) in &jobs {
        cluster.mend(*client);
        cluster.work_until(job, ITEMS);
        assert_eq!(cluster.heard(*client, job), whole_job(), "seed {seed}");
    }
    for client in clients {
        cluster.mend(client);
        cluster.assert_whole(client);
    }
}

#[test]
fn d14_processes_die_and_hang_and_nobody_misses_or_repeats_an_event() {
    for seed in 1..=100 {
        let outcome = std::panic::catch_unwind(|| storm(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn a8_a_store_that_is_slow_with_the_state_does_not_cost_the_heartbeat() {
    let mut cluster = Cluster::durable(1);
    let alice = cluster.connect(silent("alice"), 0);
    cluster.nodes[0].storing = Storing::Held;
    let now = cluster.now;
    let submit = arcp_proto::wire::JobSubmit::new("code", arcp_proto::wire::RawJson::empty_object());
    cluster.peers[alice].session.submit(now, &submit).unwrap();
    cluster.advance(secs(300));
    let told = cluster.link_of(alice).types();
    assert!(cluster.is_open(alice), "{told:?}");
    assert!(told[1..].iter().all(|name| matches!(name.as_str(), "session.ping" | "session.pong")), "{told:?}");
    assert!(!cluster.peers[alice].events.iter().any(|event| matches!(event, ClientEvent::Detached(_))));
    cluster.release_store(0);
    assert_eq!(cluster.link_of(alice).types().last().unwrap(), "job.accepted");
}

#[test]
fn a8_no_heartbeat_goes_before_a_welcome_that_waits_for_the_store() {
    let mut cluster = Cluster::durable(1);
    cluster.nodes[0].storing = Storing::Held;
    let link = cluster.dial(client("alice"), 0);
    cluster.flush();
    let (now, conn) = (cluster.now, cluster.links[link].conn);
    let ping = serde_json::json!({"arcp": "1.1", "id": "x", "type": "session.ping", "payload": {"nonce": "n"}});
    cluster.nodes[0].ep().handle_input(now, conn, ping.to_string().into());
    cluster.flush();
    assert!(cluster.links[link].types().is_empty());
    cluster.release_store(0);
    assert_eq!(cluster.links[link].types(), ["session.welcome", "session.pong"]);
}

#[test]
fn d32_a_goodbye_that_waits_for_the_store_is_answered_once_it_has_stored() {
    let mut cluster = Cluster::durable(1);
    let alice = cluster.connect(silent("alice"), 0);
    cluster.nodes[0].storing = Storing::Held;
    let now = cluster.now;
    let submit = arcp_proto::wire::JobSubmit::new("code", arcp_proto::wire::RawJson::empty_object());
    cluster.peers[alice].session.submit(now, &submit).unwrap();
    cluster.flush();
    let (link, conn) = (cluster.peers[alice].link.unwrap(), cluster.link_of(alice).conn);
    let ping = serde_json::json!({"arcp": "1.1", "id": "x", "type": "session.ping", "payload": {"nonce": "n"}});
    cluster.peers[alice].session.close(now, "normal");
    cluster.flush();
    cluster.nodes[0].ep().handle_input(now, conn, ping.to_string().into());
    cluster.flush();
    assert_eq!(cluster.links[link].types()[1..], ["session.pong"]);
    cluster.release_store(0);
    assert_eq!(cluster.links[link].types()[1..], ["session.pong", "job.accepted", "session.closed"]);
}

#[test]
fn d14_a_store_that_is_always_one_change_behind_delays_messages_and_does_not_stop_them() {
    let mut cluster = Cluster::durable(1);
    let alice = cluster.connect(silent("alice"), 0);
    cluster.nodes[0].storing = Storing::Held;
    for n in 0..20 {
        let now = cluster.now;
        let submit = arcp_proto::wire::JobSubmit::new("code", arcp_proto::wire::RawJson::empty_object());
        cluster.peers[alice].session.submit(now, &submit).unwrap();
        cluster.flush();
        while cluster.nodes[0].pending.len() > 1 {
            let id = cluster.write_one(0).unwrap();
            cluster.nodes[0].ep().stored(now, &id);
        }
        cluster.flush();
        assert_eq!(cluster.link_of(alice).types().len(), 1 + n, "all but the last were stored");
    }
}
