//! An endpoint before any clients, any driver, any application, any store and any clock.
#![no_main]

#[allow(dead_code, reason = "only a part of it is needed")]
#[path = "../../tests/fuzz/contract.rs"]
mod contract;
#[path = "../../tests/fuzz/endpoint.rs"]
mod endpoint;
#[path = "../../tests/fuzz/frames.rs"]
mod frames;
#[allow(dead_code, reason = "only a part of it is needed")]
#[path = "../../tests/fuzz/grants.rs"]
mod grants;
#[path = "../../tests/fuzz/late_clock.rs"]
mod late_clock;
#[allow(dead_code, reason = "only a part of it is needed")]
#[path = "../../tests/fuzz/limits.rs"]
mod limits;
#[path = "../../tests/fuzz/process.rs"]
mod process;
#[allow(dead_code, reason = "only a part of it is needed")]
#[path = "../../tests/fuzz/script.rs"]
mod script;
#[path = "../../tests/fuzz/store.rs"]
mod store;

libfuzzer_sys::fuzz_target!(|input: &[u8]| endpoint::check(input));
