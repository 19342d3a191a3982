//! What the fuzz targets hold, on stable and without a fuzzer: each on its seeds, on the inputs that once showed a bug, and
//! on recordings where they are at hand. The targets themselves (`fuzz/fuzz_targets`) are these modules behind libFuzzer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod client_input;
mod contract;
mod endpoint;
mod frames;
mod grants;
mod inputs;
mod late_clock;
mod limits;
mod lines;
mod messages;
mod opening;
mod process;
mod roundtrip;
mod runtime_input;
mod script;
mod snapshot;
mod store;
#[path = "../session/twins.rs"]
mod twins;

use inputs::replay;

#[test]
fn client_input() {
    replay("client_input", client_input::check);
}

#[test]
fn runtime_input() {
    replay("runtime_input", runtime_input::check);
}

#[test]
fn lines() {
    replay("lines", lines::check);
}

#[test]
fn opening() {
    replay("opening", opening::check);
}

#[test]
fn endpoint() {
    replay("endpoint", endpoint::check);
}

#[test]
fn roundtrip() {
    replay("roundtrip", roundtrip::check);
}

#[test]
fn snapshot() {
    replay("snapshot", snapshot::check);
}
