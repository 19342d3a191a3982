//! The first frame of a transport, before an [`Opening`] and before an [`Endpoint`]: both say the same of it, and whatever
//! it is, what comes back is a welcome or a refusal that a client can read.
#![no_main]

#[allow(dead_code, reason = "only a part of it is needed")]
#[path = "../../tests/fuzz/contract.rs"]
mod contract;
#[path = "../../tests/fuzz/opening.rs"]
mod opening;
#[allow(dead_code, reason = "only a part of it is needed")]
#[path = "../../tests/fuzz/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|input: &[u8]| opening::check(input));
