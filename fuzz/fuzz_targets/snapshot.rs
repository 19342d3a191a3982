//! Whatever a store gives back, a session is made of it or an error is; and a session that lived as a script says goes on as
//! the one that was restored of it.
#![no_main]

#[allow(dead_code, reason = "only a part of it is needed")]
#[path = "../../tests/fuzz/contract.rs"]
mod contract;
#[path = "../../tests/fuzz/frames.rs"]
mod frames;
#[path = "../../tests/fuzz/grants.rs"]
mod grants;
#[path = "../../tests/fuzz/limits.rs"]
mod limits;
#[allow(dead_code, reason = "only a part of it is needed")]
#[path = "../../tests/fuzz/script.rs"]
mod script;
#[path = "../../tests/fuzz/snapshot.rs"]
mod snapshot;
#[path = "../../tests/session/twins.rs"]
mod twins;

libfuzzer_sys::fuzz_target!(|input: &[u8]| snapshot::check(input));
