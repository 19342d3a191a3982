//! What a WebSocket has that lines do not: upgrades, kinds of messages, fragments, pings, closes (D38).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod demo;

use demo::{BINARY, CLOSE, CONTINUATION, PING, PONG, Peer, Runtime, TEXT, hello, resume, submit};
use serde_json::{Value, json};

#[track_caller]
fn assert_refused(message: &Value) {
    assert_eq!(message["type"], "session.error", "{message}");
    assert_eq!(message["payload"]["code"], "INVALID_REQUEST", "{message}");
}

/// The session goes on elsewhere.
#[track_caller]
fn assert_resumable(runtime: &Runtime, welcome: &Value, last_event_seq: u64) {
    let (_, again) = Peer::welcomed(runtime, &resume(welcome, last_event_seq));
    assert_eq!(again["session_id"], welcome["session_id"]);
}

#[test]
fn d38_a_binary_message_is_refused_and_closes_with_1003() {
    let runtime = Runtime::start(&[]);
    let mut peer = Peer::open(&runtime);
    peer.send(BINARY, hello(&[]).to_string().as_bytes());
    assert_refused(&peer.hear());
    assert_eq!(peer.closed(), 1003);

    let (mut peer, welcome) = Peer::welcomed(&runtime, &hello(&[]));
    peer.send(BINARY, submit("echo", &json!(1)).to_string().as_bytes());
    assert_refused(&peer.hear());
    assert_eq!(peer.closed(), 1003);
    assert_resumable(&runtime, &welcome, 0);
}

#[test]
fn d38_a_first_message_over_its_limit_is_refused_and_closes_with_1009() {
    let runtime = Runtime::start(&[]);
    // Only its length has come.
    let mut peer = Peer::open(&runtime);
    peer.frame(TEXT, true, (64 << 10) + 1, b"{");
    assert_refused(&peer.hear());
    assert_eq!(peer.closed(), 1009);

    // All of it comes, and ten megabytes with it: the answer is not lost.
    let mut peer = Peer::open(&runtime);
    peer.send(TEXT, &vec![b' '; 10 << 20]);
    assert_refused(&peer.hear());
    assert_eq!(peer.closed(), 1009);
}

#[test]
fn d38_a_later_message_has_the_larger_limit_and_over_it_the_session_can_be_resumed() {
    let runtime = Runtime::start(&[]);
    let (mut peer, welcome) = Peer::welcomed(&runtime, &hello(&[]));
    let text = "x".repeat(500 << 10);
    peer.say(&submit("echo", &json!(text)));
    assert_eq!(peer.hear()["type"], "job.accepted");
    let result = peer.hear();
    assert_eq!(result["payload"]["result"], json!(text));

    peer.send(TEXT, &vec![b' '; (1 << 20) + 1]);
    assert_refused(&peer.hear());
    assert_eq!(peer.closed(), 1009);
    assert_resumable(&runtime, &welcome, 1);
}

#[test]
fn d38_the_limit_is_what_the_options_say() {
    let runtime = Runtime::start(&["--max-frame", "2000"]);
    let mut peer = Peer::open(&runtime);
    peer.frame(TEXT, true, 2001, b"{");
    assert_refused(&peer.hear());
    assert_eq!(peer.closed(), 1009);
}

#[test]
fn d38_fragments_are_joined_with_a_ping_between_them() {
    let runtime = Runtime::start(&[]);
    let mut peer = Peer::open(&runtime);
    let mut hello = hello(&[]);
    hello["payload"]["client"]["name"] = json!("🦀");
    let text = hello.to_string();
    // In the middle of a character.
    let (head, tail) = text.as_bytes().split_at(text.find('🦀').unwrap() + 2);
    peer.frame(TEXT, false, head.len(), head);
    peer.send(PING, b"are you there");
    assert_eq!(peer.receive(), Some((PONG, b"are you there".to_vec())));
    peer.frame(CONTINUATION, false, 0, b"");
    peer.frame(CONTINUATION, true, tail.len(), tail);
    assert_eq!(peer.hear()["type"], "session.welcome");
}

#[test]
fn d38_fragments_have_the_limit_of_a_message_together() {
    let runtime = Runtime::start(&[]);
    let mut peer = Peer::open(&runtime);
    peer.frame(TEXT, false, 40 << 10, &vec![b' '; 40 << 10]);
    peer.frame(CONTINUATION, false, 40 << 10, &vec![b' '; 40 << 10]);
    assert_refused(&peer.hear());
    assert_eq!(peer.closed(), 1009);
}

#[test]
fn d39_text_that_is_not_utf_8_is_refused_and_closes_with_1007() {
    let runtime = Runtime::start(&[]);
    let mut peer = Peer::open(&runtime);
    peer.send(TEXT, b"{\"id\":\"\xff\"}");
    assert_refused(&peer.hear());
    assert_eq!(peer.closed(), 1007);
}

#[test]
fn what_is_not_websocket_closes_with_1002() {
    let runtime = Runtime::start(&[]);
    let (mut peer, welcome) = Peer::welcomed(&runtime, &hello(&[]));
    // Without a mask.
    peer.write(&[0x81, 2, b'{', b'}']);
    assert_eq!(peer.closed(), 1002);
    assert_resumable(&runtime, &welcome, 0);
}

#[test]
fn d38_another_path_is_not_found() {
    let runtime = Runtime::start(&[]);
    for path in ["/", "/arcp/", "/other", "/arcp2"] {
        let mut peer = Peer::connect(&runtime);
        assert_eq!(peer.upgrade(path), "HTTP/1.1 404 Not Found", "{path}");
        assert_eq!(peer.receive(), None);
    }
    let mut peer = Peer::connect(&runtime);
    assert_eq!(peer.upgrade("/arcp?token=x"), "HTTP/1.1 101 Switching Protocols");
}

#[test]
fn d9_who_never_finishes_the_upgrade_is_closed_in_time() {
    let runtime = Runtime::start(&["--handshake", "1"]);
    let mut silent = Peer::connect(&runtime);
    let mut slow = Peer::connect(&runtime);
    slow.write(b"GET /arcp HTTP/1.1\r\nHost: local");
    let mut upgraded = Peer::open(&runtime);
    silent.expect_end();
    slow.expect_end();
    assert_eq!(upgraded.hear()["payload"]["code"], "TIMEOUT");
    assert_eq!(upgraded.closed(), 1000);
}

#[test]
fn an_endless_request_is_cut_off() {
    let runtime = Runtime::start(&[]);
    let mut peer = Peer::connect(&runtime);
    peer.write(b"GET /arcp HTTP/1.1\r\nX: ");
    peer.write(&[b'x'; 70 << 10]);
    peer.expect_end();
}

#[test]
fn a13_a_goodbye_is_answered_and_the_connection_closed() {
    let runtime = Runtime::start(&[]);
    let (mut peer, _) = Peer::welcomed(&runtime, &hello(&[]));
    peer.say(&json!({"arcp": "1.1", "id": "msg_bye", "type": "session.bye", "payload": {"reason": "normal"}}));
    assert_eq!(peer.hear()["type"], "session.closed");
    assert_eq!(peer.closed(), 1000);
}

#[test]
fn a_closed_connection_is_closed_from_the_other_side_and_the_session_can_be_resumed() {
    let runtime = Runtime::start(&[]);
    let (mut peer, welcome) = Peer::welcomed(&runtime, &hello(&[]));
    peer.send(CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(peer.receive(), Some((CLOSE, 1000_u16.to_be_bytes().to_vec())));
    assert_eq!(peer.receive(), None);
    assert_resumable(&runtime, &welcome, 0);
}

#[test]
fn d21_pings_of_the_websocket_do_not_keep_a_session_alive() {
    let runtime = Runtime::start(&["--heartbeat", "1"]);
    let (mut peer, _) = Peer::welcomed(&runtime, &hello(&["heartbeat"]));
    let mut message = peer.hear();
    for _ in 0..5 {
        if message["type"] == "session.ping" {
            peer.send(PING, b"");
            assert_eq!(peer.receive(), Some((PONG, Vec::new())));
            message = peer.hear();
        }
    }
    assert_eq!(message["payload"]["code"], "HEARTBEAT_LOST", "{message}");
    assert_eq!(peer.closed(), 1000);
}

#[test]
fn a14_the_end_of_the_runtime_is_told_to_every_client() {
    let mut runtime = Runtime::start(&[]);
    let mut peers: Vec<_> = (0..3).map(|_| Peer::welcomed(&runtime, &hello(&[])).0).collect();
    // It has not said who it is.
    let mut stranger = Peer::open(&runtime);
    runtime.stop();
    for peer in &mut peers {
        let bye = peer.hear();
        assert_eq!((&bye["type"], &bye["payload"]["reason"]), (&json!("session.bye"), &json!("shutdown")));
        assert_eq!(peer.closed(), 1000);
    }
    assert_eq!(stranger.hear()["type"], "session.error");
    assert_eq!(stranger.closed(), 1000);
    assert_eq!(runtime.exit_code(), Some(0));
}

#[test]
fn d19_a_job_that_waits_for_room_goes_on_when_what_was_before_it_is_sent() {
    let runtime = Runtime::start(&["--replay-events", "10"]);
    let (mut peer, _) = Peer::welcomed(&runtime, &hello(&[]));
    peer.say(&submit("chatty", &json!({"n": 1_000})));
    assert_eq!(peer.hear()["type"], "job.accepted");
    for seq in 1..=1_000 {
        assert_eq!(peer.hear()["event_seq"], seq);
    }
    assert_eq!(peer.hear()["type"], "job.result");
}
