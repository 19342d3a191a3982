//! What is encoded decodes to the same, member for member, and on one line; an event that a session writes by its own short
//! way is the one that the long way gives.
#![no_main]

#[path = "../../tests/fuzz/messages.rs"]
mod messages;
#[path = "../../tests/fuzz/roundtrip.rs"]
mod roundtrip;

libfuzzer_sys::fuzz_target!(|input: &[u8]| roundtrip::check(input));
