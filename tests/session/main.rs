//! The session layer, mechanism by mechanism. Every test's name begins with the requirement (`a…`) or decision
//! (`d…`) that it holds; `docs/decisions.md` lists them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod ack;
mod back_pressure;
mod close;
mod contract;
mod features;
mod handshake;
mod heartbeat;
mod limits;
mod lone_runtime;
mod misuse;
mod opening;
mod pair;
mod replay;
mod requests;
mod resume;
mod sequence_in;
mod sequence_out;
mod snapshot;
mod snapshot_equivalence;
mod twins;
mod violations;
mod worst_peer;
