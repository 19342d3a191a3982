//! The simulator's worlds, of bytes.
#![no_main]

#[allow(dead_code, reason = "only a part of it is needed")]
#[path = "../../tests/sim/main.rs"]
mod sim;

libfuzzer_sys::fuzz_target!(|input: &[u8]| sim::duplex::check(input));
