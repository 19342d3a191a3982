//! The four sentences of the contract, for an endpoint.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use arcp_proto::{AckPolicy, ClientEvent};

use crate::world::*;

#[test]
fn d14_what_happens_while_a_client_is_away_is_there_when_it_is_back() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.publish_many(&job, 3);
    world.cut(alice);
    world.publish_many(&job, 2);
    assert_eq!(world.take_seqs(alice), [1, 2, 3]);
    world.reconnect(alice);
    world.publish_many(&job, 1);
    assert_eq!(world.take_seqs(alice), [4, 5, 6]);
    world.advance(secs(3_600));
    world.finish(&job).unwrap();
    assert_eq!(world.take_seqs(alice), [7]);
}

/// A little generator, for what has to look random and be the same each time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Cuts a random client at random times, in one of the ways in which links are cut.
fn cut_somebody(world: &mut World, mut dice: Dice, mean: u64) {
    let idx = ClientIdx(dice.roll(world.len() as u64) as usize);
    if world.client(idx).phase().is_attached() {
        match dice.roll(4) {
            0 => world.cut_unseen_by_endpoint(idx),
            1 => world.cut_unseen_by_client(idx),
            2 => world.half_open(idx),
            _ => world.cut(idx),
        }
    }
    let next = millis(dice.roll(2 * mean) + 1);
    world.after(next, move |world| cut_somebody(world, dice, mean));
}

fn publish_all(world: &mut World, jobs: Rc<Vec<arcp_proto::wire::JobId>>, every: std::time::Duration) {
    for job in &*jobs {
        world.publish_unsent(job, "tick").expect("it can be published");
    }
    world.after(every, move |world| publish_all(world, jobs, every));
}

/// So many clients with a job each, cut at random for so long: each hears of everything once.
fn storm(clients: usize, seconds: u64, mean_between_cuts: u64, publish_every: u64) {
    let mut world = World::plain().at_large(32.min(clients));
    let heard: Rc<RefCell<BTreeMap<ClientIdx, u64>>> = Rc::default();
    let watched = Rc::clone(&heard);
    world.watch(move |_, idx, event| {
        if let Some(seq) = event.seq() {
            let mut heard = watched.borrow_mut();
            let last = heard.entry(idx).or_default();
            assert_eq!(seq, *last + 1, "{idx:?}");
            *last = seq;
        }
        assert!(!matches!(event, ClientEvent::Closed(_) | ClientEvent::EventsLost { .. }), "{event:?}");
    });
    let mut jobs = Vec::new();
    for n in 0..clients {
        let idx = world.connect(client(&format!("c{n}")).with_ack_policy(AckPolicy::OnPoll));
        world.reconnect_after(idx, millis(500 + n as u64 % 7_000));
        let submit = arcp_proto::wire::JobSubmit::new("code-refactor", arcp_proto::wire::RawJson::empty_object());
        world.request(idx, |client, now| client.submit(now, &submit));
        jobs.push(job(n as u64 + 1));
    }
    let jobs = Rc::new(jobs);
    cut_somebody(&mut world, Dice(0x9e37_79b9_7f4a_7c15), mean_between_cuts);
    publish_all(&mut world, Rc::clone(&jobs), secs(publish_every));
    world.advance(secs(seconds));
    let published: Vec<u64> =
        (0..clients).map(|n| world.endpoint.session(&session(n as u64 + 1)).unwrap().last_event_seq()).collect();
    // Whoever is away comes back.
    for n in 0..clients {
        world.reconnect_after(ClientIdx(n), millis(1));
    }
    world.advance(secs(1));
    let heard = heard.borrow();
    for (n, published) in published.into_iter().enumerate() {
        assert!(published >= seconds / publish_every);
        // A half-open link may still be believed in.
        assert!(heard[&ClientIdx(n)] + 90 / publish_every + 2 >= published, "{n}");
    }
}

#[test]
fn d14_forty_clients_are_cut_at_random_for_an_hour_and_hear_of_everything_once() {
    storm(40, 3_600, 2_000, 60);
}

#[test]
#[ignore = "takes minutes without optimisation: run it with --release"]
fn d14_a_thousand_clients_are_cut_at_random_for_a_day_and_hear_of_everything_once() {
    storm(1_000, 86_400, 1_000, 600);
}
