//! Heartbeats, a second apart.

use std::thread;

use arcp_proto::Clock;
use serde_json::json;

use crate::peer::Peer;
use crate::server::{Server, Wire};

over_all_wires_at_once! { d22_whoever_falls_silent_is_lost_and_can_come_back }

const FEATURES: &[&str] = &["heartbeat", "ack"];

/// One who answers pings stays for as long beside it (A7).
fn d22_whoever_falls_silent_is_lost_and_can_come_back(wire: Wire) {
    let server = Server::start(wire, &["--heartbeat", "1"]);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut lively = Peer::welcomed(server.connect(), "lively", FEATURES);
            for _ in 0..3 {
                let ping = lively.hear_next();
                assert_eq!(ping["type"], "session.ping", "{lively}");
                assert_eq!(ping.get("event_seq"), None, "A7: {ping}");
                let pong = json!({"ping_nonce": ping["payload"]["nonce"], "received_at": "2026-01-01T00:00:00Z"});
                lively.say("session.pong", pong);
            }
            lively.submit("echo", json!("still here"));
        });
        scope.spawn(|| {
            let mut silent = Peer::welcomed(server.connect(), "silent", FEATURES);
            silent.submit("chatty", json!({"n": 60, "delay_ms": 50}));
            let clock = Clock::new();
            let (messages, _) = silent.end();
            let passed = clock.now().mono.as_duration().as_secs_f64();
            assert!((1.9..5.0).contains(&passed), "A8: after {passed} s");
            let error = messages.last().expect("a last word");
            assert_eq!(error["payload"]["code"], "HEARTBEAT_LOST", "{silent}");
            let pings = messages.iter().filter(|message| message["type"] == "session.ping").count();
            assert!((1..=2).contains(&pings), "{silent}");
            let last_seq = messages.iter().filter_map(|message| message["event_seq"].as_u64()).max().unwrap_or(0);

            // The job lives, and so does the session.
            let mut again = Peer::resumed(server.connect(), &silent, "silent", FEATURES, last_seq);
            for seq in last_seq + 1..=61 {
                let next = again.hear("an event", |message| {
                    if message["type"] == "session.ping" {
                        return false;
                    }
                    assert_eq!(message["event_seq"], seq);
                    true
                });
                again.say("session.ack", json!({"last_processed_seq": seq}));
                assert_eq!(next["type"] == "job.result", seq == 61);
            }
        });
    });
}
