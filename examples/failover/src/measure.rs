//! What an event costs, by what is stored when: one session, whose job publishes as fast as it can.

use std::time::Instant;

use crate::client::{self, Addresses, Plan};
use crate::counter::Input;
use crate::process::{Redis, RuntimeProcess};
use crate::runtime::{Mode, Options};
use crate::{Failure, Verdict};

/// What is measured: its name, what is stored when, and how many events a round has.
const KINDS: [(&str, Mode, u64); 6] = [
    ("nothing stored, 1 event a round", Mode::Off, 1),
    ("before transmit, 1 event a round", Mode::Each, 1),
    ("before transmit, 10 events a round", Mode::Each, 10),
    ("before transmit, 100 events a round", Mode::Each, 100),
    ("batched every 50 ms, 1 event a round", Mode::Batched, 1),
    ("batched every 50 ms, 100 events a round", Mode::Batched, 100),
];

/// Measures.
pub fn run(events: u64) -> Result<Verdict, Failure> {
    println!("{:<40} {:>10} {:>10} {:>15} {:>18}", "", "events/s", "µs/event", "writes/event", "Redis CPU µs/event");
    for (name, mode, at_once) in KINDS {
        let mut redis = Redis::start()?;
        let runtime = RuntimeProcess::start(&Options { redis: redis.url.clone(), mode, batch_ms: 50 })?;
        let addresses = Addresses::default();
        addresses.set(vec![runtime.port]);
        let before = redis.spent()?;
        let started = Instant::now();
        let input = Input { to: events, every_ms: 0, at_once };
        let tally = client::start(addresses, Plan { input, starts_over: false, is_watching: false }).join();
        let tally = tally.map_err(Failure::Client)?;
        let took = started.elapsed().as_secs_f64();
        let after = redis.spent()?;
        if tally.lost + tally.doubled > 0 {
            return Ok(Verdict::Bad);
        }
        let count = tally.events as f64;
        println!(
            "{name:<40} {:>10.0} {:>10.1} {:>15.4} {:>18.1}",
            count / took,
            1e6 * took / count,
            (after.0 - before.0) as f64 / count,
            1e6 * (after.1 - before.1).as_secs_f64() / count,
        );
    }
    Ok(Verdict::Good)
}
