//! `Envelope::decode` against serde_json.
//!
//! `cargo +nightly fuzz run envelope fuzz/corpus/envelope fuzz/seeds/envelope -- -dict=fuzz/dict/arcp.dict`, or on
//! stable with `-s none`.
#![no_main]

#[path = "../../tests/oracle/mod.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|frame: &[u8]| oracle::check(frame));
