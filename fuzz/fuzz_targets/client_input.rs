//! A client session before any runtime, any driver, any application and any clock.
#![no_main]

#[path = "../../tests/fuzz/client_input.rs"]
mod client_input;
#[path = "../../tests/fuzz/contract.rs"]
mod contract;
#[allow(dead_code, reason = "only a part of it is needed")]
#[path = "../../tests/fuzz/frames.rs"]
mod frames;
#[path = "../../tests/fuzz/late_clock.rs"]
mod late_clock;
#[allow(dead_code, reason = "only a part of it is needed")]
#[path = "../../tests/fuzz/limits.rs"]
mod limits;
#[path = "../../tests/fuzz/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|input: &[u8]| client_input::check(input));
