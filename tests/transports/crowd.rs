//! A hundred clients at once, whose transports are lost at random moments.

use std::thread;

use fastrand::Rng;
use serde_json::json;

use crate::client::{Client, config};
use crate::resume::is_superseded;
use crate::server::{Server, Wire};

over_each_wire! { d15_a_hundred_clients_miss_nothing_whatever_is_cut }

const CLIENTS: u64 = 100;
const EVENTS: u64 = 100;

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
    let half_open = match random.u8(..4) {
        // It is lost, and both sides see it.
        0 => {
            client.cut();
            None
        }
        // It is lost, and the runtime does not see it.
        1 => client.detach(),
        // So is the next one, before or behind the welcome.
        2 => {
            client.cut();
            for _ in 0..random.u8(1..=3) {
                client.begin_resume(server.connect());
                client.send();
                client.cut();
            }
            None
        }
        // Both: the transports that stand are more than one.
        _ => {
            let first = client.detach();
            client.begin_resume(server.connect());
            client.send();
            client.cut();
            first
        }
    };
    client.resume(server.connect());
    if let Some(half_open) = half_open {
        is_superseded(half_open);
    }
}
