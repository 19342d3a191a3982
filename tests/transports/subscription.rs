//! Jobs that others follow.

use arcp_proto::wire::{ErrorCode, JobQuery};
use serde_json::json;

use crate::client::{Client, config};
use crate::server::{Server, Wire};

over_each_wire! {
    d31_who_may_observe_a_job_sees_all_of_it
    d36_whoever_may_not_observe_a_job_is_told_of_none
}

fn d31_who_may_observe_a_job_sees_all_of_it(wire: Wire) {
    let server = Server::start(wire, &["--observe-all"]);
    let mut alice = Client::connect(server.connect(), config("alice"));
    let job = alice.submit("chatty", &json!({"n": 200, "delay_ms": 1}));
    let mut bob = Client::connect(server.connect(), config("bob"));
    let listed = bob.list(&JobQuery::default()).jobs;
    assert_eq!(listed.iter().map(|entry| &entry.job_id).collect::<Vec<_>>(), [&job]);
    bob.subscribe(&job).expect("he may");
    // Bob's transport is not alice's: he misses nothing either.
    bob.wait_for("an event", |event| event.seq().filter(|seq| *seq == 50));
    bob.cut();
    bob.resume(server.connect());
    assert_eq!(bob.ending(&job), alice.ending(&job));
    // In his own numbers: 200 events and the end.
    assert_eq!((bob.last_seq(), alice.last_seq()), (201, 201));

    // What has ended can still be read.
    let mut carol = Client::connect(server.connect(), config("carol"));
    carol.subscribe(&job).expect("she may");
    carol.ending(&job).expect("it ended well");
    assert_eq!(carol.last_seq(), 201);
    for client in [alice, bob, carol] {
        client.bye();
    }
}

fn d36_whoever_may_not_observe_a_job_is_told_of_none(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut alice = Client::connect(server.connect(), config("alice"));
    let job = alice.submit("sleeper", &json!({}));
    let mut bob = Client::connect(server.connect(), config("bob"));
    assert_eq!(bob.list(&JobQuery::default()).jobs, [], "A12");
    assert_eq!(bob.subscribe(&job).unwrap_err().code, ErrorCode::JobNotFound);
    assert_eq!(bob.cancel(&job).unwrap_err().code, ErrorCode::JobNotFound);
    bob.bye();
    alice.bye();
}
