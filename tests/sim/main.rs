//! Deterministic simulation of sessions and endpoints: every fault schedule replayable from its seed.
//!
//! `ARCP_SIM_SEEDS=n` runs n seeds of each kind of world in place of the few of every day; `ARCP_SIM_SEED=pair:17` replays
//! one with its transcript. A seed that fails is minimised, printed with the last `ARCP_SIM_LINES` (60) lines of what is left
//! of it, and belongs into `seeds.txt`, which is replayed first.
//!
//! The tree can be included elsewhere as it stands, with a `#[path]` to this file: nothing in it says `crate::`, and without
//! `cfg(test)` what is left is the world itself: `run(Plan::of_bytes(profile, bytes), false)`.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod action;
mod admission;
mod application;
mod caller;
mod carrier;
mod clock;
mod deed;
mod delivery;
pub(crate) mod dice;
pub(crate) mod duplex;
#[cfg(test)]
mod equivalence;
mod hosted;
mod hostile;
mod intruder;
mod judge;
mod link;
mod listener;
mod mark;
mod model;
mod node;
mod peer;
pub(crate) mod plan;
mod rest;
pub(crate) mod run;
mod storage;
mod store;
mod stream;
#[cfg(test)]
mod sweep;
pub(crate) mod transcript;
mod worker;
pub(crate) mod world;
