//! Resource bounds under attack (D43): whatever a hostile peer sends, what it costs is bounded by limits that are
//! documented, and what it gets out is in proportion to what it puts in.
//!
//! Every attack is made twice, the second one twice as large: the heap stays under the same bound, and what is
//! allocated grows in proportion, which tells of what is copied again and again. Loops that copy nothing are told of by their
//! instructions: `tests/limits/linear` counts them. Nothing here takes the time.
//!
//! With `ARCP_LIMITS_TABLE` set, each attack prints its row of the table in `docs/assurance.md`.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod client;
mod endpoint;
mod gate;
#[path = "../../benches/heap/mod.rs"]
mod heap;
mod lines;
mod meter;
mod runtime;
mod shape;
