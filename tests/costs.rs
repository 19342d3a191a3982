//! What the endpoint's bench counts is held to what is promised: counts, not times.
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code)]
#[path = "../benches/endpoint.rs"]
mod endpoint;

#[test]
fn what_a_session_at_rest_and_a_publish_take() {
    // As full of spare capacity as a hundred thousand.
    let bytes = endpoint::bytes_at_rest(12_500);
    assert!(bytes <= 1_024, "a session at rest takes {bytes} bytes");

    let (subscribers, events) = (200, 1_000);
    let costs = endpoint::publish_costs(subscribers, events);
    assert_eq!(costs.written, costs.events, "a body is written once, however many hear of it");
    // One for each frame; beside them a few to write the body, and a replay buffer that doubles a few times.
    let beside = 8.0 / subscribers as f64 + 12.0 / events as f64;
    assert!(costs.to_publish <= 1.0 + beside, "{} allocations a receiver", costs.to_publish);
    assert!(costs.until_sent <= 2.0 + beside, "{} allocations a receiver until it is sent", costs.until_sent);
}
