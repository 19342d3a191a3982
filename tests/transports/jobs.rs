//! Jobs are asked for, refused, cancelled and listed.

use arcp_proto::Clock;
use arcp_proto::wire::{ErrorCode, JobQuery, JobStatus, JobSubmit, RawJson};
use serde_json::{Value, json};

use crate::client::{Client, config};
use crate::server::{Server, Wire};

over_each_wire! {
    d41_a_key_stands_for_one_job
    submits_that_cannot_be_carried_out_are_refused
    d37_a_job_is_cancelled_by_whoever_asked_for_it
    a11_pages_hold_every_job_once
}

over_all_wires_at_once! { a_job_is_held_to_its_time }

fn submit(agent: &str, input: &Value) -> JobSubmit {
    JobSubmit::new(agent, RawJson::new(input).unwrap())
}

fn d41_a_key_stands_for_one_job(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut client = Client::connect(server.connect(), config("alice"));
    let first = client.try_submit(&submit("echo", &json!({"a": 1, "b": 2})).with_idempotency_key("k")).unwrap();
    client.ending(&first).expect("it ends well");
    // The order of members says nothing.
    let reordered = JobSubmit::new("echo", RawJson::from_text(r#"{"b": 2, "a": 1}"#).unwrap());
    assert_eq!(client.try_submit(&reordered.with_idempotency_key("k")).unwrap(), first);
    let other = client.try_submit(&submit("echo", &json!({"a": 2})).with_idempotency_key("k")).unwrap_err();
    assert_eq!(other.code, ErrorCode::DuplicateKey);
    client.bye();

    // Also in another session; another principal's keys are its own.
    let same = submit("echo", &json!({"a": 1, "b": 2})).with_idempotency_key("k");
    let mut again = Client::connect(server.connect(), config("alice"));
    assert_eq!(again.try_submit(&same).unwrap(), first);
    let mut bob = Client::connect(server.connect(), config("bob"));
    assert_ne!(bob.try_submit(&same).unwrap(), first);
    bob.bye();
}

fn submits_that_cannot_be_carried_out_are_refused(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut client = Client::connect(server.connect(), config("alice"));
    let mut code = |agent: &str, input: Value| client.try_submit(&submit(agent, &input)).unwrap_err().code;
    assert_eq!(code("nobody", json!({})), ErrorCode::AgentNotAvailable);
    assert_eq!(code("demo@9.9.9", json!({})), ErrorCode::AgentVersionNotAvailable);
    assert_eq!(code("chatty", json!({"n": -1})), ErrorCode::InvalidRequest);
    assert_eq!(code("sleeper", json!("for a while")), ErrorCode::InvalidRequest);
    assert_eq!(code("streamer", json!({"size": 1})), ErrorCode::InvalidRequest);
    assert_eq!(code("failer", json!({"code": "NO_SUCH_CODE"})), ErrorCode::InvalidRequest);
    // D6: what it does not know is nothing to an agent.
    assert_eq!(client.run("chatty", &json!({"n": 1, "m": 2})).result.unwrap().text(), r#"{"events":1}"#);
    client.bye();
}

fn a_job_is_held_to_its_time(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut client = Client::connect(server.connect(), config("alice"));
    let clock = Clock::new();
    let job = client.try_submit(&JobSubmit { max_runtime_sec: Some(1), ..submit("sleeper", &json!({})) }).unwrap();
    let error = client.ending(&job).expect_err("it runs out of time");
    assert_eq!((error.code, error.final_status), (ErrorCode::Timeout, JobStatus::TimedOut));
    assert_eq!(error.retryable, Some(true));
    let passed = clock.now().mono.as_duration().as_secs_f64();
    assert!((1.0..5.0).contains(&passed), "after {passed} s");
    client.bye();
}

fn d37_a_job_is_cancelled_by_whoever_asked_for_it(wire: Wire) {
    let server = Server::start(wire, &["--observe-all"]);
    let mut client = Client::connect(server.connect(), config("alice"));
    let job = client.submit("sleeper", &json!({}));
    let mut bob = Client::connect(server.connect(), config("bob"));
    assert_eq!(bob.cancel(&job).unwrap_err().code, ErrorCode::PermissionDenied, "D36");
    assert_eq!(bob.cancel(&"job_none".into()).unwrap_err().code, ErrorCode::JobNotFound);
    bob.bye();
    // A resumed transport keeps it.
    client.cut();
    client.resume(server.connect());
    client.cancel(&job).expect("it is cancelled");
    let error = client.ending(&job).expect_err("it was cancelled");
    assert_eq!((error.code, error.final_status), (ErrorCode::Cancelled, JobStatus::Cancelled));
    assert_eq!(client.cancel(&job).unwrap_err().code, ErrorCode::InvalidRequest, "it has ended");
    client.bye();
}

fn a11_pages_hold_every_job_once(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut client = Client::connect(server.connect(), config("alice"));
    let mut jobs = Vec::new();
    for number in 0..25 {
        jobs.push(client.submit("echo", &json!(number)));
    }
    let sleeper = client.submit("sleeper", &json!({}));
    let mut bob = Client::connect(server.connect(), config("bob"));
    bob.run("echo", &json!("not alice's"));
    assert_eq!(bob.list(&JobQuery::default()).jobs.len(), 1, "A12");
    bob.bye();

    let mut query = JobQuery::default().with_agent("echo").with_limit(10);
    let mut listed = Vec::new();
    let mut pages = 0;
    loop {
        let page = client.list(&query);
        pages += 1;
        listed.extend(page.jobs.into_iter().map(|entry| {
            assert_eq!((entry.agent.as_str(), entry.status), ("echo@1.0.0", JobStatus::Success));
            entry.job_id
        }));
        let Some(cursor) = page.next_cursor else { break };
        query = query.with_cursor(cursor);
    }
    assert_eq!(pages, 3);
    listed.sort();
    jobs.sort();
    assert_eq!(listed, jobs);
    let running = client.list(&JobQuery::default().with_status([JobStatus::Running, JobStatus::Pending]));
    assert_eq!(running.jobs.iter().map(|entry| &entry.job_id).collect::<Vec<_>>(), [&sleeper]);
    client.bye();
}
