//! No secret is ever printed (D3), none is compared in a time that tells of it, and none is left on the heap by the types
//! that own it.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod compared;
mod payloads;
mod printed;
mod walk;
mod wiped;
