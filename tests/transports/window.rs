//! The replay buffer and its limits, towards a client that does not acknowledge.

use serde_json::{Value, json};

use crate::peer::Peer;
use crate::server::{Server, Wire};

over_each_wire! {
    d19_a_full_window_stops_the_job_until_it_is_half_empty
    d19_without_acks_what_was_sent_makes_room
    d19_under_evict_nobody_waits
    d27_an_overrun_is_a_visible_loss
    d26_whoever_falls_behind_is_told_once
}

const FEATURES: &[&str] = &["ack", "list_jobs"];

/// How many events the one job there is has told of.
fn told(peer: &mut Peer) -> u64 {
    let asked = peer.say("session.list_jobs", json!({}));
    let answer = peer.hear_answer(&asked);
    answer["payload"]["jobs"][0]["last_event_seq"].as_u64().expect("a number")
}

fn hear_event(peer: &mut Peer, seq: u64) -> Value {
    let event = peer.hear_next();
    assert_eq!(event["event_seq"], seq, "{peer}");
    event
}

fn ack(peer: &mut Peer, seq: u64) {
    peer.say("session.ack", json!({"last_processed_seq": seq}));
}

fn d19_a_full_window_stops_the_job_until_it_is_half_empty(wire: Wire) {
    let server = Server::start(wire, &["--replay-events", "10"]);
    let mut peer = Peer::welcomed(server.connect(), "alice", FEATURES);
    peer.submit("chatty", json!({"n": 30}));
    for seq in 1..=10 {
        hear_event(&mut peer, seq);
    }
    assert_eq!(told(&mut peer), 10);
    ack(&mut peer, 4);
    assert_eq!(told(&mut peer), 10, "there is room, but not enough to begin again");
    ack(&mut peer, 5);
    for seq in 11..=15 {
        hear_event(&mut peer, seq);
    }
    assert_eq!(told(&mut peer), 15);

    // The window outlives the transport, and so does what waits for it.
    let mut again = Peer::resumed(server.connect(), &peer, "alice", FEATURES, 15);
    for seq in 16..=31 {
        ack(&mut again, seq - 1);
        let event = hear_event(&mut again, seq);
        assert_eq!(event["type"] == "job.result", seq == 31, "{again}");
    }
}

fn d19_without_acks_what_was_sent_makes_room(wire: Wire) {
    let server = Server::start(wire, &["--replay-events", "10"]);
    let mut peer = Peer::welcomed(server.connect(), "alice", &[]);
    peer.submit("chatty", json!({"n": 500}));
    for seq in 1..=501 {
        hear_event(&mut peer, seq);
    }
}

fn d19_under_evict_nobody_waits(wire: Wire) {
    let server = Server::start(wire, &["--replay-events", "10", "--overflow", "evict"]);
    let mut peer = Peer::welcomed(server.connect(), "alice", FEATURES);
    peer.submit("chatty", json!({"n": 60, "delay_ms": 1}));
    for seq in 1..=61 {
        hear_event(&mut peer, seq);
    }
    // The last ten can be had again, and no more.
    let mut late = Peer::new(server.connect());
    late.say("session.hello", peer.hello_again("alice", FEATURES, 50));
    assert_eq!(late.end().0[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED", "{late}");
    let mut again = Peer::resumed(server.connect(), &peer, "alice", FEATURES, 51);
    for seq in 52..=61 {
        hear_event(&mut again, seq);
    }
}

fn d27_an_overrun_is_a_visible_loss(wire: Wire) {
    let server = Server::start(wire, &["--replay-events", "10", "--overflow", "evict"]);
    let mut peer = Peer::welcomed(server.connect(), "alice", FEATURES);
    // At one go, more than the window holds.
    peer.submit("chatty", json!({"n": 200}));
    let (messages, _) = peer.end();
    let (error, events) = messages.split_last().expect("a last word");
    assert_eq!((&error["type"], &error["payload"]["code"]), (&json!("session.error"), &json!("INTERNAL_ERROR")));
    assert_eq!(error["payload"]["retryable"], true);
    // What came before it has no hole.
    let seqs: Vec<_> = events.iter().map(|event| event["event_seq"].as_u64().expect("an event")).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    let mut again = Peer::new(server.connect());
    again.say("session.hello", peer.hello_again("alice", FEATURES, seqs.len() as u64));
    assert_eq!(again.end().0[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED", "{again}");
}

fn d26_whoever_falls_behind_is_told_once(wire: Wire) {
    let server = Server::start(wire, &["--bp-threshold", "4"]);
    let mut peer = Peer::welcomed(server.connect(), "alice", FEATURES);
    let mut seq = 0;
    for _ in 0..2 {
        peer.submit("chatty", json!({"n": 20}));
        let first = seq + 1;
        // Behind the fifth event that is not acknowledged, in the job's own stream.
        for at in first..=first + 21 {
            let event = hear_event(&mut peer, at);
            let is_signal = event["payload"]["body"]["phase"] == "back_pressure";
            assert_eq!(is_signal, at == first + 5, "{peer}");
            seq = at;
        }
        ack(&mut peer, seq);
    }
}
