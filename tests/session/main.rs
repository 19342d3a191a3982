//! The session layer, mechanism by mechanism. Every test's name begins with the requirement (`a…`) or decision
//! (`d…`) that it holds; `docs/decisions.md` lists them.

mod contract;
mod pair;
