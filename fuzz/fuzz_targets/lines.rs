//! A byte stream, split anyhow, gives the same lines and the same refusals: those that a few lines of slicing give.
#![no_main]

#[path = "../../tests/fuzz/lines.rs"]
mod lines;

libfuzzer_sys::fuzz_target!(|input: &[u8]| lines::check(input));
