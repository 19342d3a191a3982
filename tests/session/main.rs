//! The session layer, mechanism by mechanism. Every test's name begins with the requirement (`a…`) or decision
//! (`d…`) that it holds; `docs/decisions.md` lists them.

mod ack;
mod back_pressure;
mod contract;
mod heartbeat;
mod lone_runtime;
mod pair;
mod replay;
mod sequence_out;
