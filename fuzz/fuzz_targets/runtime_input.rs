//! A runtime session before any client, any driver, any application and any clock.
#![no_main]

#[path = "../../tests/fuzz/contract.rs"]
mod contract;
#[path = "../../tests/fuzz/frames.rs"]
mod frames;
#[path = "../../tests/fuzz/grants.rs"]
mod grants;
#[path = "../../tests/fuzz/late_clock.rs"]
mod late_clock;
#[allow(dead_code, reason = "only a part of it is needed")]
#[path = "../../tests/fuzz/limits.rs"]
mod limits;
#[path = "../../tests/fuzz/runtime_input.rs"]
mod runtime_input;
#[path = "../../tests/fuzz/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|input: &[u8]| runtime_input::check(input));
