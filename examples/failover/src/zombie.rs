//! A runtime that was not dead but slow: frozen in mid-stream, thawed when its session lives elsewhere. What it does then must
//! reach nobody.

use std::time::{Duration, Instant};

use crate::client::{self, Addresses, Leftover, Plan, Report, Running, event_seq};
use crate::counter::Input;
use crate::process::{Redis, RuntimeProcess};
use crate::runtime::{Mode, Options};
use crate::{Failure, Verdict};

const PATIENCE: Duration = Duration::from_secs(20);

/// Plays it.
pub fn run() -> Result<Verdict, Failure> {
    let redis = Redis::start()?;
    let options = Options { redis: redis.url.clone(), mode: Mode::Each, batch_ms: 50 };
    let (first, second) = (RuntimeProcess::start(&options)?, RuntimeProcess::start(&options)?);
    let (port, other) = (first.port, second.port);
    let addresses = Addresses::default();
    addresses.set(vec![port]);
    let input = Input { to: 1_000, every_ms: 3, at_once: 1 };
    let client = client::start(addresses.clone(), Plan { input, starts_over: false, is_watching: true });
    let number = await_number(&client, port, 100)?;
    addresses.set(vec![port, other]);
    first.freeze()?;
    println!("behind number {number} the runtime on port {port} is frozen");
    let number = await_number(&client, other, number + 50)?;
    println!("the client heard nothing of it, gave it up, and is at number {number} by the one on port {other}");
    first.thaw()?;
    first.await_word("fenced", PATIENCE)?;
    first.await_word("given_up", PATIENCE)?;
    println!("thawed, the first one's next write was refused: it has given the session up");
    let leftovers = await_end(&client)?;
    second.kill()?;
    let number = await_number(&client, port, number + 50)?;
    println!(
        "the second one is killed: the first has the session again, in a third generation, and is at number {number}"
    );
    while !client.is_done() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let tally = client.join().map_err(Failure::Client)?;
    let events: Vec<_> = leftovers.iter().filter_map(|message| Some((event_seq(message)?, message))).collect();
    // It may have been frozen between a write and its message: then that is in the store, and the client has it from there.
    let foreign = events.iter().filter(|(seq, message)| tally.frames.get(seq) != Some(message)).count();
    println!(
        "events {}, resumes {}, lost {}, doubled {}; from the frozen one {} messages came after all, {} of them events, \
         {foreign} that were not in the store",
        tally.events,
        tally.resumes,
        tally.lost,
        tally.doubled,
        leftovers.len(),
        events.len(),
    );
    let is_good = tally.lost == 0 && tally.doubled == 0 && foreign == 0 && tally.resumes == 2 && tally.events == 1_001;
    Ok(if is_good { Verdict::Good } else { Verdict::Bad })
}

/// Until the runtime at `port` serves the client, and it has a number of at least `number`; gives the number.
fn await_number(client: &Running, port: u16, number: u64) -> Result<u64, Failure> {
    let until = Instant::now() + PATIENCE;
    while next(client, until)? != Report::Served(port) {}
    loop {
        if let Report::Counted(counted) = next(client, until)?
            && counted >= number
        {
            return Ok(counted);
        }
    }
}

fn next(client: &Running, until: Instant) -> Result<Report, Failure> {
    let left = until.saturating_duration_since(Instant::now());
    client.reports.recv_timeout(left).map_err(|_| Failure::Broken("the client went silent".into()))
}

/// What comes on the transport that was given up, until it is closed.
fn await_end(client: &Running) -> Result<Vec<bytes::Bytes>, Failure> {
    let mut messages = Vec::new();
    loop {
        match client.leftovers.recv_timeout(PATIENCE) {
            Ok(Leftover::Message(message)) => messages.push(message),
            Ok(Leftover::Ended) => return Ok(messages),
            Err(_) => return Err(Failure::Broken("the fenced runtime did not close its transport".into())),
        }
    }
}
