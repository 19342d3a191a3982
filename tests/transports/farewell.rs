//! How a runtime ends.

use std::thread;
use std::time::Duration;

use arcp_proto::CloseReason;
use arcp_proto::wire::JobQuery;
use serde_json::json;

use crate::client::{Client, config};
use crate::peer::Peer;
use crate::server::{Server, Wire};

over_each_wire! {
    a14_everybody_is_told_goodbye_in_mid_stream
    a14_a_runtime_ends_with_its_standard_input
    a13_whoever_says_goodbye_is_answered
}

over_all_wires_at_once! { a14_nobody_keeps_a_runtime_from_ending }

fn told_goodbye() -> CloseReason {
    CloseReason::PeerClosed { reason: Some("shutdown".to_owned()) }
}

fn a14_everybody_is_told_goodbye_in_mid_stream(wire: Wire) {
    // No more is under way than a busy machine reads in the time that a goodbye waits for it (D27).
    let mut server = Server::start(wire, &["--replay-events", "500"]);
    let mut readers: Vec<_> = (0..5)
        .map(|number| {
            let mut client = Client::connect(server.connect(), config(&format!("client-{number}")));
            client.submit("chatty", &json!({"n": 10_000_000, "pad": 100 * number}));
            client.wait_for("an event", |event| event.seq().filter(|seq| *seq > 100));
            client
        })
        .collect();
    let mut newcomer = Peer::new(server.connect());
    server.process.terminate();
    thread::scope(|scope| {
        for client in &mut readers {
            scope.spawn(|| {
                assert_eq!(client.closed(), told_goodbye());
                client.finds_both_clean();
            });
        }
    });
    let (messages, _) = newcomer.end();
    assert_eq!(messages[0]["type"], "session.error", "who has no session is told as well: {newcomer}");
    drop(newcomer);
    assert_eq!(server.ended(Duration::from_secs(5)).code(), Some(0));
}

fn a14_nobody_keeps_a_runtime_from_ending(wire: Wire) {
    let mut server = Server::start(wire, &[]);
    let mut deaf = Client::connect(server.connect(), config("deaf"));
    deaf.submit("chatty", &json!({"n": 10_000_000, "pad": 1_000}));
    // Far more than the kernel takes for somebody.
    let mut observer = Client::connect(server.connect(), config("deaf"));
    while observer.list(&JobQuery::default()).jobs[0].last_event_seq < 8_000 {}
    server.process.terminate();
    assert_eq!(observer.closed(), told_goodbye());
    // Five seconds for what was said before the goodbye, five for the goodbye itself.
    assert_eq!(server.ended(Duration::from_secs(12)).code(), Some(0));
}

fn a13_whoever_says_goodbye_is_answered(wire: Wire) {
    let server = Server::start(wire, &["--audit"]);
    let mut peer = Peer::welcomed(server.connect(), "alice", &["ack"]);
    peer.submit("chatty", json!({"n": 100}));
    peer.say("session.bye", json!({"reason": "maintenance"}));
    let (messages, _) = peer.end();
    assert_eq!(messages.last().map(|last| &last["type"]), Some(&json!("session.closed")), "{peer}");
    server.audited(&["PeerClosed", "maintenance"]);
    // D32: it can come back.
    Peer::resumed(server.connect(), &peer, "alice", &["ack"], 0);
}

/// The standard input is the runtime's hold on life, with `--until-eof`.
fn a14_a_runtime_ends_with_its_standard_input(wire: Wire) {
    let mut server = Server::start(wire, &[]);
    let mut client = Client::connect(server.connect(), config("alice"));
    server.close_stdin();
    assert_eq!(client.closed(), told_goodbye());
    client.finds_both_clean();
    assert_eq!(server.ended(Duration::from_secs(5)).code(), Some(0));
}
