//! Transports are lost, sessions go on.

use std::time::Duration;

use arcp_proto::wire::JobQuery;
use arcp_proto::{ClientConfig, ClientEvent, CloseReason, DetachReason};
use serde_json::json;

use crate::client::{Client, config};
use crate::deadline::Deadline;
use crate::peer::Peer;
use crate::server::{Server, Wire};
use crate::transport::{Received, Transport};

over_each_wire! {
    d14_a_session_goes_on_where_it_was_cut
    d15_the_new_transport_wins_over_one_that_still_stands
    d15_a_superseded_transport_is_read_to_its_end
    d14_nobody_resumes_with_what_is_not_theirs
    d18_jobs_go_on_while_nobody_is_there
}

over_all_wires_at_once! { d14_when_the_window_is_over_so_is_the_session }

/// Reads a transport that was superseded to its end. Its last word says so.
pub(crate) fn is_superseded(mut old: Box<dyn Transport>) {
    let deadline = Deadline::new();
    let mut last = None;
    loop {
        match old.receive(deadline.left()) {
            Received::Message(message) => last = Some(message),
            Received::Part | Received::Nothing => assert!(!deadline.is_over(), "it still stands, after {last:?}"),
            Received::End(_) => break,
        }
    }
    let last: serde_json::Value = serde_json::from_slice(&last.expect("a last word")).expect("JSON");
    assert_eq!((&last["type"], &last["payload"]["reason"]), (&json!("session.bye"), &json!("superseded")));
}

fn wait_for_line(client: &mut Client, seq: u64) {
    client.wait_for("an event", |event| event.seq().filter(|at| *at >= seq));
}

fn d14_a_session_goes_on_where_it_was_cut(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut client = Client::connect(server.connect(), config("alice"));
    let job = client.submit("chatty", &json!({"n": 400, "delay_ms": 1, "pad": 50}));
    for cut_at in [1, 50, 51, 200] {
        wait_for_line(&mut client, cut_at);
        client.cut();
        assert_eq!(client.detached(), DetachReason::TransportLost);
        client.resume(server.connect());
    }
    let result = client.ending(&job).expect("it ends well");
    assert_eq!(result.result.unwrap().text(), r#"{"events":400}"#);
    assert_eq!(client.last_seq(), 401);
    client.bye();
}

fn d15_the_new_transport_wins_over_one_that_still_stands(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut client = Client::connect(server.connect(), config("alice"));
    let job = client.submit("chatty", &json!({"n": 200, "delay_ms": 1}));
    wait_for_line(&mut client, 20);
    let half_open = client.detach().expect("a transport");
    client.resume(server.connect());
    is_superseded(half_open);
    client.ending(&job).expect("it ends well");
    client.bye();
}

/// A connection that is closed with something unread in it is reset, and what the other side had still to read is lost.
fn d15_a_superseded_transport_is_read_to_its_end(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut old = Peer::welcomed(server.connect(), "alice", &[]);
    // As much as the kernel takes for a client that does not read, and more than has reached it by then.
    old.submit("chatty", json!({"n": 800, "pad": 1_000}));
    #[cfg(target_os = "linux")]
    server.process.stands_still();
    let new = Peer::resumed(server.connect(), &old, "alice", &[], 0);
    for _ in 0..200 {
        old.say("x-vendor.late", json!({"text": "is anybody there? ".repeat(50)}));
    }
    #[cfg(target_os = "linux")]
    server.process.stands_still();
    let (messages, _) = old.end();
    let (bye, events) = messages.split_last().expect("a last word");
    assert_eq!((&bye["type"], &bye["payload"]["reason"]), (&json!("session.bye"), &json!("superseded")));
    let seqs: Vec<_> = events.iter().map(|event| event["event_seq"].as_u64().expect("an event")).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    drop(new);
}

fn d14_when_the_window_is_over_so_is_the_session(wire: Wire) {
    let server = Server::start(wire, &["--resume-window", "1", "--audit"]);
    let patient = ClientConfig { give_up_after: Some(Duration::from_secs(600)), ..config("alice") };
    let mut client = Client::connect(server.connect(), patient);
    client.run("echo", &json!("hello"));
    client.session.flush_acks(arcp_proto::Clock::new().now()).expect("acknowledged");
    // The answer to a question comes behind what was said before it.
    client.list(&JobQuery::default());
    client.cut();
    server.audited(&["Closed(ResumeWindowExpired)"]);
    client.begin_resume(server.connect());
    assert!(matches!(client.closed(), CloseReason::ResumeRefused(_)), "{client}");
    Client::connect(server.connect(), config("alice")).bye();
}

fn d14_nobody_resumes_with_what_is_not_theirs(wire: Wire) {
    const FEATURES: &[&str] = &["ack"];
    let server = Server::start(wire, &["--token", "a=alice", "--token", "b=bob"]);
    let mut alice = Peer::welcomed(server.connect(), "a", FEATURES);
    let refused = |hello: serde_json::Value, code: &str| {
        let mut thief = Peer::new(server.connect());
        thief.say("session.hello", hello);
        let (messages, _) = thief.end();
        assert_eq!(messages.len(), 1, "{thief}");
        assert_eq!(messages[0]["payload"]["code"], code, "{thief}");
    };
    refused(alice.hello_again("b", FEATURES, 0), "RESUME_WINDOW_EXPIRED");
    refused(alice.hello_again("c", FEATURES, 0), "UNAUTHENTICATED");
    refused(alice.hello_again("a", FEATURES, 7), "RESUME_WINDOW_EXPIRED");
    let mut made_up = alice.hello_again("a", FEATURES, 0);
    made_up["resume_token"] = json!("rt_made_up");
    made_up["resume"]["resume_token"] = json!("rt_made_up");
    refused(made_up, "RESUME_WINDOW_EXPIRED");

    // The session is untouched by it all.
    alice.submit("echo", json!(1));
    alice.hear_type("job.result");
    let mut again = Peer::resumed(server.connect(), &alice, "a", FEATURES, 0);
    assert_ne!(again.welcome["payload"]["resume_token"], alice.welcome["payload"]["resume_token"], "rotated");
    assert_eq!(again.hear_next()["type"], "job.result", "replayed");
    // What is heard of the new transport retires the token before (rule 3).
    again.submit("echo", json!(2));
    refused(alice.hello_again("a", FEATURES, 0), "RESUME_WINDOW_EXPIRED");
}

fn d18_jobs_go_on_while_nobody_is_there(wire: Wire) {
    let server = Server::start(wire, &["--observe-all"]);
    let mut client = Client::connect(server.connect(), config("alice"));
    let job = client.submit("chatty", &json!({"n": 50, "delay_ms": 2}));
    client.cut();
    let mut observer = Client::connect(server.connect(), config("bob"));
    observer.subscribe(&job).expect("it may be followed");
    observer.ending(&job).expect("it ends well");
    observer.bye();
    client.resume(server.connect());
    let mut events = 0;
    client.wait_for("the end", |event| {
        events += u64::from(event.seq().is_some());
        matches!(event, ClientEvent::Finished { .. }).then_some(())
    });
    assert_eq!(client.last_seq(), 51);
    client.bye();
}
