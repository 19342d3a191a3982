//! What the endpoint's bench counts is held to what is promised: counts, not times.
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code)]
#[path = "../benches/endpoint.rs"]
mod endpoint;

// One test: the bench counts what the whole process allocates.
#[test]
fn what_a_session_at_rest_and_a_publish_take() {
    // As full of spare capacity as a hundred thousand.
    let bytes = endpoint::bytes_at_rest(12_500);
    assert!(bytes <= 1_024, "a session at rest takes {bytes} bytes");

    let costs = endpoint::publish_costs(100, 2_000);
    assert_eq!(costs.written, costs.events, "a body is written once, however many hear of it");
    // One for the frame; a replay buffer that grows takes another now and then.
    assert!(costs.to_publish <= 1.02, "{} allocations a receiver", costs.to_publish);
    assert!(costs.until_sent <= 2.05, "{} allocations a receiver until it is sent", costs.until_sent);
}
