//! A runtime for one client, on its standard input and output.

use std::time::Duration;

use arcp_proto::CloseReason;
use arcp_proto::wire::JobQuery;
use serde_json::json;

use crate::client::{Client, config};
use crate::deadline::Deadline;
use crate::peer::{Peer, hello};
use crate::pipes::Pipes;
use crate::process::Process;
use crate::programs;
#[cfg(target_os = "linux")]
use crate::stall::{MOST_MEMORY, endless, has_all_until_cancelled};

const A_MOMENT: Duration = Duration::from_secs(5);

fn start(options: &[&str]) -> (Process, Box<Pipes>) {
    let mut process = Process::start(programs::example("stdio_runtime"), options);
    let pipes = Pipes::new(process.stdin(), process.stdout());
    (process, Box::new(pipes))
}

#[test]
fn a1_a_whole_session() {
    let (mut process, pipes) = start(&[]);
    let mut client = Client::connect(pipes, config("alice"));
    client.run("demo", &json!({"rounds": 20}));
    client.run("chatty", &json!({"n": 2_000, "pad": 300}));
    client.run("streamer", &json!({"chunks": 4, "size": 300_000, "encoding": "base64"}));
    let sleeper = client.submit("sleeper", &json!({}));
    client.cancel(&sleeper).expect("it is cancelled");
    client.ending(&sleeper).expect_err("it was cancelled");
    assert_eq!(client.list(&JobQuery::default()).jobs.len(), 4);
    client.bye();
    assert_eq!(process.ended(&Deadline::within(A_MOMENT)).code(), Some(0));
    assert_eq!(process.said(), Vec::<String>::new(), "nothing but messages");
}

#[test]
fn a14_goodbye_in_mid_stream() {
    let (mut process, pipes) = start(&["--replay-events", "500"]);
    let mut client = Client::connect(pipes, config("alice"));
    client.submit("chatty", &json!({"n": 10_000_000, "pad": 100}));
    client.wait_for("an event", |event| event.seq().filter(|seq| *seq > 500));
    process.terminate();
    assert_eq!(client.closed(), CloseReason::PeerClosed { reason: Some("shutdown".to_owned()) });
    client.finds_both_clean();
    assert_eq!(process.ended(&Deadline::within(A_MOMENT)).code(), Some(0));
}

#[test]
fn d38_frames_made_by_hand() {
    let (mut process, pipes) = start(&["--token", "s3cret=alice"]);
    let mut peer = Peer::new(pipes);
    let hello = json!({"type": "session.hello", "id": "h", "payload": hello("s3cret", &["ack"])});
    peer.link.write(format!("\u{feff}\n{hello}\r\n\r\n \t\n").as_bytes()).unwrap();
    assert_eq!(peer.hear_next()["type"], "session.welcome", "{peer}");
    for garbage in [&b"garbage\n"[..], b"\xff\xff\n", &[&b"x".repeat(10 << 20)[..], b"\n"].concat()] {
        peer.link.write(garbage).unwrap();
        assert_eq!(peer.hear_next()["payload"]["code"], "INVALID_REQUEST", "{peer}");
    }
    // Whoever has asked still hears the answer, without an end of its line even.
    // It is more than the pipes hold: it waits to be read, for as long as that takes.
    let text = "äöü".repeat(150_000);
    let submit = json!({"type": "job.submit", "id": "s", "payload": {"agent": "echo", "input": text}});
    peer.link.write(submit.to_string().as_bytes()).unwrap();
    peer.link.finish();
    #[cfg(target_os = "linux")]
    process.stands_still();
    let (messages, _) = peer.end();
    let types: Vec<_> = messages.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["job.accepted", "job.result"]);
    assert_eq!(messages[1]["payload"]["result"], text);
    assert_eq!(process.ended(&Deadline::within(A_MOMENT)).code(), Some(0));
    assert_eq!(process.said(), Vec::<String>::new());
}

#[test]
fn d9_whoever_is_refused_is_left() {
    for (first, code) in [("garbage\n".to_owned(), "INVALID_REQUEST"), (bad_token(), "UNAUTHENTICATED")] {
        let (mut process, pipes) = start(&["--token", "s3cret=alice"]);
        let mut peer = Peer::new(pipes);
        peer.link.write(first.as_bytes()).unwrap();
        let (messages, _) = peer.end();
        assert_eq!(messages.len(), 1, "{peer}");
        assert_eq!(messages[0]["payload"]["code"], code);
        assert_eq!(process.ended(&Deadline::within(A_MOMENT)).code(), Some(0));
    }
}

fn bad_token() -> String {
    format!("{}\n", json!({"type": "session.hello", "id": "h", "payload": hello("guess", &[])}))
}

/// What a pipe does not take, the job does not tell.
#[cfg(target_os = "linux")]
#[test]
fn d43_a_parent_that_does_not_read_costs_little() {
    let (process, pipes) = start(&[]);
    let mut peer = Peer::welcomed(pipes, "alice", &[]);
    let before = process.peak_memory();
    let job = peer.submit("chatty", endless());
    // It says what it can. There is no other way to ask it how far it came: nobody listens.
    process.stands_still();
    has_all_until_cancelled(&mut peer, &job, 20_000);
    assert!(process.peak_memory() - before < MOST_MEMORY);
}
