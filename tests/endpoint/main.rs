//! What endpoints stand on, through the public API. Every test's name begins with the requirement (`a…`) or decision
//! (`d…`) that it holds; `docs/decisions.md` lists them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod adoption;
mod cluster;
mod directory;
mod durability;
mod listing;
mod policy;
