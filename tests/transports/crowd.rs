//! A hundred clients at once, whose transports are lost at random moments.

use std::thread;

use fastrand::Rng;
use serde_json::json;

use crate::client::{Client, config};
use crate::resume::is_superseded;
use crate::server::{Server, Wire};

over_each_wire! { d15_a_hundred_clients_miss_nothing_whatever_is_cut }

const CLIENTS: u64 = 100;
const EVENTS: u64 = 60;

fn d15_a_hundred_clients_miss_nothing_whatever_is_cut(wire: Wire) {
    let server = Server::start(wire, &[]);
    thread::scope(|scope| {
        for seed in 0..CLIENTS {
            // A failure says which client it was: its seed is all that there is to it.
            let name = format!("{wire:?} client {seed}");
            let (server, random) = (&server, Rng::with_seed(seed));
            thread::Builder::new().name(name).spawn_scoped(scope, || live(server, random)).expect("a thread");
        }
    });
}

/// A client's life: one job, and up to five losses while it runs.
fn live(server: &Server, mut random: Rng) {
    let mut client = Client::connect(server.connect(), config(&format!("client-{}", random.get_seed())));
    let job =
        client.submit("chatty", &json!({"n": EVENTS, "delay_ms": random.u64(1..=4), "pad": random.usize(..2_000)}));
    let mut losses: Vec<u64> = (0..random.usize(1..=5)).map(|_| random.u64(1..EVENTS)).collect();
    losses.sort_unstable();
    for at in losses {
        if client.last_seq() < at {
            client.wait_for("an event", |event| event.seq().filter(|seq| *seq >= at));
        }
        lose(&mut client, server, &mut random);
    }
    // One whose job was over before the last loss was told of its end already.
    if client.last_seq() <= EVENTS {
        client.ending(&job).expect("it ends well");
    }
    assert_eq!(client.last_seq(), EVENTS + 1);
    client.bye();
}

fn lose(client: &mut Client, server: &Server, random: &mut Rng) {
    // Lost so that both sides see it, or so that the runtime does not.
    let half_open = client.detach().filter(|_| random.bool());
    for _ in 0..random.usize(..3) {
        if random.bool() {
            // Some who came before did not get so far as to say who they are.
            drop(server.connect());
        }
        client.lose_welcome(server.connect());
    }
    client.resume(server.connect());
    if let Some(half_open) = half_open {
        is_superseded(half_open);
    }
}
