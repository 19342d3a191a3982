//! Clients that send what no client should.

use std::thread;

use serde_json::{Value, json};
use tungstenite::Message;

use crate::client::{Client, config};
use crate::lines::Lines;
use crate::peer::Peer;
use crate::server::{Server, Wire};
use crate::web_socket::WebSocket;

over_each_wire! {
    d39_garbage_is_answered_and_the_session_lives
    d39_what_is_nested_too_deep_is_answered
    d43_too_much_garbage_ends_the_transport_and_not_the_session
    d43_a_flood_waits_outside
    whoever_comes_and_goes_does_no_harm
}

const FEATURES: &[&str] = &["ack"];

/// It is served as before.
fn is_served<T: crate::transport::Transport + ?Sized>(peer: &mut Peer<T>) {
    peer.submit("echo", json!("still there"));
    let result = peer.hear_type("job.result");
    assert_eq!(result["payload"]["result"], "still there");
}

/// Arrays in arrays.
fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn d39_garbage_is_answered_and_the_session_lives(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut peer = Peer::welcomed(server.connect(), "alice", FEATURES);
    let foreign = json!({"arcp": "1.1", "id": "f", "type": "job.submit", "session_id": "sess_of_another",
        "payload": {"agent": "echo", "input": 1}});
    for garbage in [
        "garbage",
        "{",
        "[]",
        "null",
        "\"text\"",
        r#"{"arcp":"1.1","id":"x"}"#,
        r#"{"type":5}"#,
        r#"{"arcp":"9.9","id":"x","type":"session.ping"}"#,
        r#"{"arcp":"1.1","id":"x","id":"y","type":"session.ping"}"#,
        r#"{"arcp":"1.1","id":"x","type":"job.invent","payload":{}}"#,
        r#"{"arcp":"1.1","id":"x","type":"job.submit","payload":{"agent":7}}"#,
        r#"{"arcp":"1.1","id":"x","type":"session.welcome","payload":{}}"#,
        &foreign.to_string(),
    ] {
        peer.say_text(garbage);
        let error = peer.hear_next();
        assert_eq!(error["type"], "session.error", "{garbage}: {peer}");
        assert_eq!(error["payload"]["code"], "INVALID_REQUEST", "{garbage}: {peer}");
        let id =
            serde_json::from_str::<Value>(garbage).ok().and_then(|message| message["id"].as_str().map(str::to_owned));
        if let Some(id) = id.filter(|id| id == "f") {
            assert_eq!(error["payload"]["request_id"], id, "D16");
        }
    }
    is_served(&mut peer);
}

fn d39_what_is_nested_too_deep_is_answered(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut peer = Peer::welcomed(server.connect(), "alice", FEATURES);
    // The envelope and its payload are two of them. What nobody asked for is read as well.
    let submit = |id: &str, depth: usize| {
        let payload = format!(r#"{{"agent":"echo","input":1,"more":{}}}"#, nested(depth));
        format!(r#"{{"arcp":"1.1","id":"{id}","type":"job.submit","payload":{payload}}}"#)
    };
    peer.say_text(&submit("deepest", 126));
    assert_eq!(peer.hear_type("job.result")["payload"]["final_status"], "success");
    for (id, depth) in [("deeper", 127), ("deep", 10_000), ("abyss", 400_000)] {
        peer.say_text(&submit(id, depth));
        let error = peer.hear_next();
        assert_eq!(error["payload"]["code"], "INVALID_REQUEST", "{id}: {peer}");
    }
    is_served(&mut peer);
}

fn d43_too_much_garbage_ends_the_transport_and_not_the_session(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut peer = Peer::welcomed(server.connect(), "alice", FEATURES);
    for _ in 0..64 {
        peer.say_text("garbage");
        peer.hear_next();
    }
    peer.say_text("garbage");
    let (messages, _) = peer.end();
    assert_eq!(messages.last().map(|last| &last["type"]), Some(&json!("session.error")), "{peer}");
    is_served(&mut Peer::resumed(server.connect(), &peer, "alice", FEATURES, 0));
}

/// Far more than the runtime can have attended to when the last of it is written.
fn d43_a_flood_waits_outside(wire: Wire) {
    const MESSAGES: u32 = 24 << 10;
    let server = Server::start(wire, &[]);
    let mut peer = Peer::welcomed(server.connect(), "alice", FEATURES);
    #[cfg(target_os = "linux")]
    let before = server.process.peak_memory();
    let drop = json!({"arcp": "1.1", "type": "x-vendor.drop", "payload": {"text": "x".repeat(1_000)}}).to_string();
    for _ in 0..MESSAGES {
        peer.say_text(&drop);
    }
    is_served(&mut peer);
    #[cfg(target_os = "linux")]
    {
        let more = server.process.peak_memory() - before;
        assert!(more < 4 << 20, "{} KiB of a flood were let in", more >> 10);
    }
}

fn whoever_comes_and_goes_does_no_harm(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut client = Client::connect(server.connect(), config("alice"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..25 {
                    let mut peer = Peer::new(server.connect());
                    // Gone at once, in the middle of the handshake, or right behind it.
                    if round % 3 > 0 {
                        peer.say("session.hello", crate::peer::hello("mallory", FEATURES));
                    }
                    if round % 3 > 1 {
                        peer.hear_next();
                        peer.say("job.submit", json!({"agent": "chatty", "input": {"n": 50}}));
                    }
                }
            });
        }
    });
    client.run("chatty", &json!({"n": 100}));
    client.bye();
}

/// A line has an end, however long it is: what is in it is dropped, and the session goes on.
#[test]
fn d39_a_line_of_ten_megabytes_is_dropped() {
    let server = Server::start(Wire::Lines, &[]);
    let mut peer = Peer::welcomed(Box::new(Lines::connect(server.port)), "alice", FEATURES);
    #[cfg(target_os = "linux")]
    let before = server.process.peak_memory();
    for _ in 0..2 {
        peer.link.write(&b"x".repeat(10 << 20));
        let error = peer.hear_next();
        assert_eq!(error["payload"]["code"], "INVALID_REQUEST", "said before its end: {peer}");
        peer.link.write(b"\n");
    }
    // What fits is taken, to the byte.
    let mut fits = json!({"arcp": "1.1", "id": "fits", "type": "job.submit",
        "payload": {"agent": "sleeper", "input": {"ms": 0}, "padding": ""}});
    let padding = (1 << 20) - fits.to_string().len();
    fits["payload"]["padding"] = json!("x".repeat(padding));
    peer.say_text(&fits.to_string());
    assert_eq!(peer.hear_answer("fits")["type"], "job.accepted");
    fits["payload"]["padding"] = json!("x".repeat(padding + 1));
    peer.say_text(&fits.to_string());
    peer.hear("a refusal", |message| message["payload"]["code"] == "INVALID_REQUEST");
    is_served(&mut peer);
    #[cfg(target_os = "linux")]
    assert!(server.process.peak_memory() - before < 16 << 20, "ten megabytes were kept");
}

#[test]
fn d38_lines_end_in_many_ways() {
    let server = Server::start(Wire::Lines, &[]);
    let mut peer = Peer::new(Box::new(Lines::connect(server.port)));
    let hello = json!({"type": "session.hello", "id": "h", "payload": crate::peer::hello("alice", FEATURES)});
    let submit = json!({"type": "job.submit", "id": "s", "payload": {"agent": "echo", "input": 1}});
    // A mark before it, blank lines between, and none behind the last.
    peer.link.write(format!("\u{feff}\r\n{hello}\r\n\n  \n").as_bytes());
    assert_eq!(peer.hear_next()["type"], "session.welcome");
    peer.link.write(submit.to_string().as_bytes());
    peer.link.finish();
    let (messages, _) = peer.end();
    let types: Vec<_> = messages.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["job.accepted", "job.result"], "whoever has asked still hears the answer");
}

#[test]
fn d39_a_line_that_is_no_text_is_answered() {
    let server = Server::start(Wire::Lines, &[]);
    let mut peer = Peer::welcomed(Box::new(Lines::connect(server.port)), "alice", FEATURES);
    for bytes in [&b"\xff\xfe\x00\n"[..], b"{\"type\":\"session.ping\",\"id\":\"\xc3\x28\"}\n", b"\0\0\0\0\n"] {
        peer.link.write(bytes);
        assert_eq!(peer.hear_next()["payload"]["code"], "INVALID_REQUEST", "{peer}");
    }
    is_served(&mut peer);
}

/// A WebSocket client with its welcome.
fn upgraded(server: &Server) -> Peer<WebSocket> {
    Peer::welcomed(Box::new(WebSocket::connect(server.port)), "alice", FEATURES)
}

/// The transport was closed by this code, and the session goes on over another.
fn is_closed_by(server: &Server, mut peer: Peer<WebSocket>, code: u16) {
    let (_, closed_by) = peer.end();
    assert_eq!(closed_by, Some(code), "{peer}");
    is_served(&mut Peer::resumed(server.connect(), &peer, "alice", FEATURES, 0));
}

#[test]
fn d38_binary_messages_close_the_web_socket() {
    let server = Server::start(Wire::WebSocket, &[]);
    let mut peer = upgraded(&server);
    peer.link.send_message(Message::binary(&b"{\"type\":\"session.ping\"}"[..]));
    is_closed_by(&server, peer, 1003);
    // Before the hello, too.
    let mut peer = Peer::new(Box::new(WebSocket::connect(server.port)));
    peer.link.send_message(Message::binary(&b"\0"[..]));
    assert_eq!(peer.end().1, Some(1003), "{peer}");
}

#[test]
fn d38_messages_over_the_limit_close_the_web_socket() {
    let server = Server::start(Wire::WebSocket, &[]);
    // The head of a message of ten megabytes is enough.
    let mut peer = upgraded(&server);
    let mut head = vec![0x81, 0x80 | 127];
    head.extend((10_u64 << 20).to_be_bytes());
    head.extend([0; 4]);
    peer.link.write(&head);
    is_closed_by(&server, peer, 1009);

    // In parts of which each would fit.
    let mut peer = upgraded(&server);
    let part = "x".repeat(400 << 10);
    for first_byte in [0x01, 0x00, 0x00] {
        let mut frame = vec![first_byte, 0x80 | 127];
        frame.extend((part.len() as u64).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(part.as_bytes());
        peer.link.write(&frame);
    }
    is_closed_by(&server, peer, 1009);
}

#[test]
fn d39_ten_megabytes_at_once_do_no_harm() {
    let server = Server::start(Wire::WebSocket, &[]);
    #[cfg(target_os = "linux")]
    let before = server.process.peak_memory();
    let mut peer = upgraded(&server);
    // It may be closed while we still write.
    let _ = crate::transport::Transport::send(&mut *peer.link, &b"x".repeat(10 << 20));
    peer.end();
    is_served(&mut Peer::resumed(server.connect(), &peer, "alice", FEATURES, 0));
    #[cfg(target_os = "linux")]
    assert!(server.process.peak_memory() - before < 16 << 20, "ten megabytes were kept");
}
