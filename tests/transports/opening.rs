//! The handshake.

use std::io::Read;
use std::net::TcpStream;

use arcp_proto::wire::{ErrorCode, JobQuery};
use arcp_proto::{Clock, CloseReason, Feature, FeatureSet, SendError};
use serde_json::json;

use crate::PATIENCE;
use crate::client::{Client, config};
use crate::peer::Peer;
use crate::server::{Server, Wire};

over_each_wire! {
    a4_the_welcome_says_what_the_runtime_was_told
    a5_features_are_those_that_both_have
    d11_a_bad_token_is_refused_and_the_transport_closed
    d9_whoever_begins_with_anything_but_a_hello_is_turned_away
    d10_a_second_hello_ends_the_transport
}

over_all_wires_at_once! { d9_whoever_says_nothing_is_turned_away }

fn a4_the_welcome_says_what_the_runtime_was_told(wire: Wire) {
    let server = Server::start(wire, &["--heartbeat", "7", "--resume-window", "77"]);
    let client = Client::connect(server.connect(), config("alice"));
    let info = client.info();
    assert_eq!(info.heartbeat_interval.map(|interval| interval.as_secs()), Some(7));
    assert_eq!(info.resume_window.as_secs(), 77);
    assert_eq!(info.features, FeatureSet::all());
    let agents: Vec<_> = info.agents.iter().map(|agent| (agent.name.as_str(), agent.versions.len())).collect();
    assert_eq!(agents, [("echo", 1), ("demo", 3), ("chatty", 1), ("streamer", 1), ("sleeper", 1), ("failer", 1)]);
    assert_eq!(info.agents[1].default.as_deref(), Some("2.0.0"));
    client.bye();
}

fn a5_features_are_those_that_both_have(wire: Wire) {
    let server = Server::start(wire, &["--features", "ack,progress,heartbeat"]);
    let asks_for = FeatureSet::none().with(Feature::Progress).with(Feature::ListJobs).with(Feature::Ack);
    let mut client = Client::connect(server.connect(), config("alice").with_features(asks_for));
    assert_eq!(client.info().features, FeatureSet::none().with(Feature::Progress).with(Feature::Ack));
    assert_eq!(client.info().heartbeat_interval, None, "D20");
    let refused = client.session.list_jobs(Clock::new().now(), &JobQuery::default());
    assert_eq!(refused, Err(SendError::FeatureNotNegotiated(Feature::ListJobs)));
    let result = client.run("demo", &json!({"rounds": 2}));
    assert_eq!(result.result_id, None, "D33: no streamed result without `result_chunk`");
    client.bye();

    // Somebody who asks all the same is told (D33).
    let mut peer = Peer::welcomed(server.connect(), "alice", &["progress"]);
    let asked = peer.say("session.list_jobs", json!({}));
    let answer = peer.hear_next();
    assert_eq!(answer["payload"]["code"], "INVALID_REQUEST", "{peer}");
    assert_eq!(answer["payload"]["request_id"], asked);
}

fn d11_a_bad_token_is_refused_and_the_transport_closed(wire: Wire) {
    let tokens = ["--token", "s3cret=alice", "--token", "other=bob", "--audit"];
    let server = Server::start(wire, &tokens);
    let mut client = Client::begin(server.connect(), config("wrong-s3cret"));
    match client.closed() {
        CloseReason::ConnectRefused(error) => assert_eq!(error.code, ErrorCode::Unauthenticated),
        other => panic!("{other}"),
    }
    client.finds_both_clean();
    Client::connect(server.connect(), config("s3cret")).bye();

    let mut peer = Peer::new(server.connect());
    peer.say("session.hello", json!({"client": {"name": "x", "version": "1"}, "capabilities": {}}));
    let (messages, _) = peer.end();
    assert_eq!(messages.len(), 1, "{peer}");
    assert_eq!(messages[0]["payload"]["code"], "UNAUTHENTICATED");
    server.audited(&["Rejected"]);
    server.audited(&["Admitted", "alice"]);
    let said = server.process.said();
    assert!(!said.iter().any(|line| line.contains("s3cret")), "a token was said: {said:#?}");
}

fn d9_whoever_says_nothing_is_turned_away(wire: Wire) {
    let server = Server::start(wire, &["--handshake", "1"]);
    let clock = Clock::new();
    // One who does not even speak the transport's language.
    let mut mute = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    mute.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut peer = Peer::new(server.connect());
    let (messages, _) = peer.end();
    assert_eq!(messages.len(), 1, "{peer}");
    assert_eq!(messages[0]["type"], "session.error");
    let mut heard = Vec::new();
    mute.read_to_end(&mut heard).expect("the transport ends");
    let passed = clock.now().mono.as_duration().as_secs_f64();
    assert!((1.0..6.0).contains(&passed), "after {passed} s");
    Client::connect(server.connect(), config("alice")).bye();
}

fn d9_whoever_begins_with_anything_but_a_hello_is_turned_away(wire: Wire) {
    let server = Server::start(wire, &[]);
    let ping = json!({"arcp": "1.1", "id": "m1", "type": "session.ping", "payload": {"nonce": "n"}}).to_string();
    let too_long = json!({"type": "session.hello", "payload": {"client": "x".repeat(64 << 10)}}).to_string();
    for first in [&ping, "garbage", "[]", "{}", &too_long] {
        let mut peer = Peer::new(server.connect());
        peer.say_text(first);
        let (messages, _) = peer.end();
        let error = messages.first().unwrap_or_else(|| panic!("not a word"));
        assert_eq!((&error["type"], messages.len()), (&json!("session.error"), 1), "{peer}");
        assert!(error["session_id"].is_string(), "D11: {error}");
    }
    Client::connect(server.connect(), config("alice")).bye();
}

fn d10_a_second_hello_ends_the_transport(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut peer = Peer::welcomed(server.connect(), "alice", &["ack"]);
    let id = peer.say("session.hello", crate::peer::hello("alice", &["ack"]));
    let (messages, _) = peer.end();
    let [bye, error] = &messages[..] else { panic!("{peer}") };
    assert_eq!((&bye["type"], &bye["payload"]["reason"]), (&json!("session.bye"), &json!("reauthentication")));
    assert_eq!((&error["type"], &error["payload"]["request_id"]), (&json!("session.error"), &json!(id)));
    Peer::resumed(server.connect(), &peer, "alice", &["ack"], 0);
}
