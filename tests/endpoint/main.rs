//! Endpoints and what they stand on, through the public API, mechanism by mechanism. Every test's name begins with the
//! requirement (`a…`) or decision (`d…`) that it holds; `docs/decisions.md` lists them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod adoption;
mod audit;
mod cancel;
mod close;
mod cluster;
mod contract;
mod directory;
mod durability;
mod fencing;
mod limits;
mod list;
mod listing;
mod opening;
mod policy;
mod publish;
mod questions;
mod resume;
mod soak;
mod stored;
mod submit;
mod subscribe;
mod world;
