//! Decoding by kind and size of message, beside serde_json on the same bytes.
//!
//! `arcp`: [`Envelope::decode`] and the message type. `ignored`: serde_json skipping the whole, which checks less
//! (neither UTF-8 nor depth, and it finds nothing). `utf8+ignored`: the same behind `str::from_utf8`.
//! `struct`: serde_json reading the header, borrowed, and a raw payload: what the scanner stands in for.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/oracle/mod.rs"]
#[expect(dead_code, reason = "the struct alone is of use here")]
mod oracle;

use std::hint::black_box;
use std::time::Duration;

use arcp_proto::wire::Envelope;
use bytes::Bytes;
use criterion::{Criterion, Throughput};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

const SESSION: &str = "sess_01J8Z6QK3V5WM2T9YB4NXC7DHE";
const JOB: &str = "job_01J8Z6S0PXW4QK7M3F2VTB9RCA";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn frame(head: &[(&str, Value)], payload: &Value) -> Bytes {
    let mut members = vec![format!(r#""arcp":"1.1","id":"msg_{:026}""#, head.len())];
    members.extend(head.iter().map(|(name, value)| format!("\"{name}\":{value}")));
    members.push(format!("\"payload\":{payload}"));
    format!("{{{}}}", members.join(",")).into()
}

fn event(kind: &str, body: &Value) -> Bytes {
    let head = [
        ("type", json!("job.event")),
        ("session_id", json!(SESSION)),
        ("trace_id", json!(TRACE)),
        ("job_id", json!(JOB)),
        ("event_seq", json!(48_213)),
    ];
    // In the order in which peers write it; a `Value` would sort the names.
    let head = head.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(",");
    let id = "msg_01J8Z6T4N9E2Q7HS5XKWVB3DCF";
    let payload = format!(r#"{{"kind":"{kind}","ts":"2026-05-13T19:42:13.123Z","body":{body}}}"#);
    format!(r#"{{"arcp":"1.1","id":"{id}",{head},"payload":{payload}}}"#).into()
}

fn frames() -> Vec<(&'static str, Bytes)> {
    let session = |name| [("type", json!(name)), ("session_id", json!(SESSION))];
    let agents: Vec<Value> = (0..20)
        .map(|n| json!({"name": format!("agent-{n:02}"), "versions": ["1.0.0", "1.1.0", "2.0.0"], "default": "2.0.0"}))
        .collect();
    let features = ["heartbeat", "ack", "list_jobs", "subscribe", "progress", "result_chunk", "agent_versions"];
    let jobs: Vec<Value> = (0..100)
        .map(|n| {
            json!({
                "job_id": format!("job_{n:026}"), "agent": "code-refactor@2.0.0", "status": "running",
                "lease": {"fs.read": ["/workspace/**"]}, "parent_job_id": null,
                "created_at": "2026-05-13T19:42:13.123Z", "trace_id": TRACE, "last_event_seq": n * 37,
            })
        })
        .collect();
    let base64: String = (0..65_536_u32)
        .map(|n| {
            char::from(
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                    [(n.wrapping_mul(2_654_435_761) >> 26) as usize],
            )
        })
        .collect();
    let text = "error[E0277]: the trait bound `T: Copy` is not satisfied\n\t--> \"src/main.rs\":10:5\n".repeat(790);
    vec![
        (
            "ping",
            frame(
                &session("session.ping"),
                &json!({"nonce": "p_01J8Z6T4N9E2Q7HS5XKWVB3DCF", "sent_at": "2026-05-13T19:42:13.123Z"}),
            ),
        ),
        (
            "log",
            event(
                "log",
                &json!({"level": "info", "message": "compiled 214 of 311 files, 3 warnings, 0 errors so far"}),
            ),
        ),
        ("progress", event("progress", &json!({"current": 214, "total": 311, "units": "files"}))),
        (
            "tool_result",
            event(
                "tool_result",
                &json!({"call_id": "call_7", "result": {
                    "matches": [
                        {"file": "src\\lib.rs", "line": 42, "text": "\tlet name = \"arcp\";"},
                        {"file": "src\\main.rs", "line": 7, "text": "fn main() {\n"},
                    ],
                    "truncated": false, "score": 0.875, "took_ms": 12.5, "next": null,
                }}),
            ),
        ),
        (
            "metric",
            event(
                "metric",
                &json!({"name": "cost.inference", "value": 0.0125, "unit": "USD", "dimensions": {"model": "m-large", "cached": true}}),
            ),
        ),
        (
            "welcome",
            frame(
                &session("session.welcome"),
                &json!({
                    "runtime": {"name": "example-runtime", "version": "1.4.2"}, "resume_token": "rt_5k2m9x7q4w8e1r3t6y0u",
                    "resume_window_sec": 600, "heartbeat_interval_sec": 30,
                    "capabilities": {"encodings": ["json"], "features": features, "agents": agents},
                }),
            ),
        ),
        (
            "jobs",
            frame(&session("session.jobs"), &json!({"request_id": "msg_7", "jobs": jobs, "next_cursor": "c_100"})),
        ),
        (
            "chunk_64k",
            event(
                "result_chunk",
                &json!({"result_id": "res_1", "chunk_seq": 3, "data": base64, "encoding": "base64", "more": true}),
            ),
        ),
        (
            "text_64k",
            event(
                "result_chunk",
                &json!({"result_id": "res_1", "chunk_seq": 3, "data": text, "encoding": "utf8", "more": true}),
            ),
        ),
        (
            "unicode_64k",
            event(
                "result_chunk",
                &json!({"result_id": "res_1", "chunk_seq": 3, "data": "обработано файлов — 漢字 ".repeat(1_400), "encoding": "utf8", "more": true}),
            ),
        ),
    ]
}

fn main() {
    let mut criterion = Criterion::default()
        .configure_from_args()
        .without_plots()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(40);
    for (name, frame) in frames() {
        // Static, so that a clone of the handle costs nothing: a transport gives its frames away.
        let frame = Bytes::from_static(frame.to_vec().leak());
        let mut group = criterion.benchmark_group(format!("{name}/{}", frame.len()));
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function("arcp", |b| b.iter(|| Envelope::decode(black_box(frame.clone())).unwrap().message_type()));
        group
            .bench_function("ignored", |b| b.iter(|| serde_json::from_slice::<IgnoredAny>(black_box(&frame)).unwrap()));
        group.bench_function("utf8+ignored", |b| {
            b.iter(|| serde_json::from_str::<IgnoredAny>(std::str::from_utf8(black_box(&frame)).unwrap()).unwrap())
        });
        group.bench_function("struct", |b| {
            b.iter(|| {
                let text = std::str::from_utf8(black_box(&frame)).unwrap();
                let header: oracle::Header<'_> = serde_json::from_str(text).unwrap();
                black_box(header.payload.map(|payload| payload.get().len()))
            })
        });
        group.finish();
    }
    criterion.final_summary();
}
