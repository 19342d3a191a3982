//! Recorded traffic of other implementations against ours: the recorded clients speak to our endpoint, the recorded
//! runtimes to our client, where the recordings are at hand (`ARCP_CORPUS`).
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod actor;
mod application;
mod client;
#[path = "../corpus/mod.rs"]
mod corpus;
mod ending;
mod golden;
mod handshake;
mod judge;
mod made_up;
mod outcome;
mod pages;
mod plot;
mod runtime;
mod story;
mod tally;
mod translation;

use std::sync::LazyLock;

use corpus::Recording;
use outcome::Outcome;
use plot::Plot;

struct Replay {
    recording: String,
    outcome: Outcome,
}

fn replays(side: &str, replay: impl Fn(&Recording, &Plot) -> Outcome) -> Vec<Replay> {
    let replay = |recording: Recording| {
        // Shown where it panics.
        println!("{}, {side}", recording.name);
        Replay { outcome: replay(&recording, &Plot::of(&recording)), recording: recording.name }
    };
    corpus::recordings("the replay of recorded traffic").into_iter().map(replay).collect()
}

/// Of our runtime, and of our client: each is replayed once, for all tests.
static RUNTIME: LazyLock<Vec<Replay>> = LazyLock::new(|| replays(golden::RUNTIME, runtime::replay));
static CLIENT: LazyLock<Vec<Replay>> = LazyLock::new(|| replays(golden::CLIENT, client::replay));

/// Whatever the recordings are, nothing may go wrong; of those that are known it is known what is otherwise.
fn check(replays: &[Replay]) {
    let mut wrong = Vec::new();
    let is_known = golden::knows(replays.iter().map(|replay| &*replay.recording));
    for Replay { recording, outcome } in replays {
        let differences = outcome.differences.iter().filter(|_| is_known);
        wrong.extend(outcome.problems.iter().chain(differences).map(|what| format!("{recording}: {what}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn recorded_clients_are_served() {
    check(&RUNTIME);
}

#[test]
fn recorded_runtimes_are_understood() {
    check(&CLIENT);
}

#[test]
fn what_comes_of_the_recordings_is_what_came_of_them() {
    let mut figures = golden::Figures::default();
    for (side, replays) in [(golden::RUNTIME, &*RUNTIME), (golden::CLIENT, &*CLIENT)] {
        for replay in replays {
            figures.add(&replay.recording, side, &replay.outcome.tally);
        }
    }
    golden::compare(&figures);
}
