//! Every demo agent does what it says.

use std::collections::BTreeMap;

use arcp_proto::ClientEvent;
use arcp_proto::wire::job_event::{ChunkEncoding, ResultChunk, kind};
use arcp_proto::wire::{ErrorCode, JobResult, JobStatus};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{Client, config, ending};
use crate::server::{Server, Wire};

over_each_wire! {
    echo_gives_back_whatever_it_gets
    demo_tells_an_event_of_every_kind_in_each_round
    d42_streamer_cuts_no_character_and_loses_no_byte
    sleeper_sleeps_and_failer_fails
}

fn connected(server: &Server) -> Client {
    Client::connect(server.connect(), config("alice"))
}

fn echo_gives_back_whatever_it_gets(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut client = connected(&server);
    let odd = json!({"text": "ümlaut 漢字 🦀 \u{2028} \u{1} \"\\", "numbers": [0, -1, 0.5, 1e300], "none": null});
    for input in [json!(null), json!(true), json!("x".repeat(900_000)), odd] {
        let result = client.run("echo", &input);
        assert_eq!(result.final_status, JobStatus::Success);
        // D2: a null is no result at all.
        let result = result.result.map_or(Value::Null, |result| result.parse().expect("JSON"));
        assert_eq!(result, input);
    }
    client.bye();
}

fn demo_tells_an_event_of_every_kind_in_each_round(wire: Wire) {
    const ROUNDS: u64 = 30;
    let server = Server::start(wire, &[]);
    let mut client = connected(&server);
    for version in ["demo", "demo@1.0.0", "demo@2.0.0", "demo@3.0.0-rc.1+build.7"] {
        let job = client.submit(version, &json!({"rounds": ROUNDS}));
        let mut kinds = BTreeMap::<String, u64>::new();
        client
            .wait_for("the end", |event| {
                if let ClientEvent::Event(delivery) = event {
                    *kinds.entry(delivery.kind().into_owned()).or_default() += 1;
                }
                ending(event, &job)
            })
            .expect("it ends well");
        let expected: BTreeMap<String, u64> = kind::ALL.iter().map(|kind| ((*kind).to_owned(), ROUNDS)).collect();
        assert_eq!(kinds, expected, "{version}");
    }
    client.bye();
}

/// Runs `streamer`: its chunks put together, and its end.
fn streamed(client: &mut Client, input: &Value) -> (Vec<u8>, JobResult) {
    let job = client.submit("streamer", input);
    let (mut whole, mut chunks, mut is_over) = (Vec::new(), 0, false);
    let end = client.wait_for("the end", |event| {
        if let ClientEvent::Event(delivery) = event {
            let chunk: ResultChunk = delivery.body().expect("a chunk");
            assert_eq!(chunk.chunk_seq, chunks);
            assert!(!is_over, "a chunk behind the last");
            chunks += 1;
            is_over = !chunk.more;
            match chunk.encoding {
                ChunkEncoding::Utf8 => whole.extend_from_slice(chunk.data.as_bytes()),
                ChunkEncoding::Base64 => whole.extend(STANDARD.decode(chunk.data).expect("base64")),
            }
        }
        ending(event, &job)
    });
    assert!(is_over, "no last chunk");
    assert_eq!(chunks, input["chunks"].as_u64().unwrap());
    (whole, end.expect("it ends well"))
}

fn d42_streamer_cuts_no_character_and_loses_no_byte(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut client = connected(&server);
    for size in [4, 5, 7, 1_000] {
        let (whole, end) = streamed(&mut client, &json!({"chunks": 20, "size": size, "encoding": "utf8"}));
        assert_eq!(end.result_size, Some(whole.len() as u64));
        assert!(end.result_id.is_some() && end.result.is_none());
        // Whatever was cut in two would have become something else.
        let whole = String::from_utf8(whole).expect("whole characters");
        let characters: Vec<char> = "chunk – кусок – 欠片 – 🧩 – ".chars().collect();
        assert!(whole.chars().zip(characters.iter().cycle()).all(|(is, should)| is == *should), "{whole}");
    }
    for (chunks, size) in [(1_u64, 4_u64), (7, 1_001), (3, 400_000)] {
        let (whole, end) = streamed(&mut client, &json!({"chunks": chunks, "size": size, "encoding": "base64"}));
        assert_eq!((end.result_size, whole.len() as u64), (Some(chunks * size), chunks * size));
        assert!(whole.iter().zip((0..251).cycle()).all(|(is, should)| *is == should));
    }
    client.bye();
}

fn sleeper_sleeps_and_failer_fails(wire: Wire) {
    let server = Server::start(wire, &[]);
    let mut client = connected(&server);
    let result = client.run("sleeper", &json!({"ms": 20}));
    assert_eq!(result.result.unwrap().text(), r#"{"slept_ms":20}"#);
    for code in ["INTERNAL_ERROR", "BUDGET_EXHAUSTED", "LEASE_EXPIRED", "TIMEOUT", "CANCELLED"] {
        let job = client.submit("failer", &json!({"code": code, "message": "on purpose"}));
        let error = client.ending(&job).expect_err("it fails");
        assert_eq!((error.code.as_str(), error.message.as_str()), (code, "on purpose"));
        assert_eq!(error.retryable, error.code.retryable());
    }
    let job = client.submit("failer", &json!({}));
    assert_eq!(client.ending(&job).expect_err("it fails").code, ErrorCode::InternalError);
    client.bye();
}
