//! Deterministic simulation of sessions and endpoints: every fault schedule replayable from its seed.
//!
//! `ARCP_SIM_SEEDS=n` runs n seeds of each kind of world in place of the few of every day; `ARCP_SIM_SEED=pair:17` replays
//! one with its transcript. A seed that fails is minimised, printed, and belongs into `seeds.txt`, which is replayed first.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod clock;
mod deed;
mod dice;
mod equivalence;
mod hostile;
mod link;
mod mark;
mod model;
mod node;
mod peer;
mod plan;
mod run;
mod store;
mod transcript;
mod world;
