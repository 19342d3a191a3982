//! The messages that are decoded for the clock: one of each shape and size, as peers write them.

use bytes::Bytes;
use serde_json::{Value, json};

/// What a frame stands for in the table of `benches/peers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// An event or a ping: what nearly all traffic is.
    Small,
    /// A message of many small members.
    Listing,
    /// One long string without escapes.
    Base64,
    /// One long string with escapes.
    Escaped,
    /// One long string beyond ASCII.
    Unicode,
    /// Whatever came by.
    #[allow(dead_code, reason = "only peers have recordings")]
    Recorded,
}

#[allow(dead_code, reason = "not everybody asks for all of it")]
pub(crate) struct Frame {
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    /// Static, so that a clone of the handle costs nothing: a transport gives its frames away.
    pub(crate) bytes: Bytes,
}

const SESSION: &str = "sess_01J8Z6QK3V5WM2T9YB4NXC7DHE";
const JOB: &str = "job_01J8Z6S0PXW4QK7M3F2VTB9RCA";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TIME: &str = "2026-05-13T19:42:13.123Z";

/// A frame, its members in the order in which peers write them: a `Value` would sort the names.
fn written(header: &str, payload: &str) -> Bytes {
    let text = format!(r#"{{"arcp":"1.1","id":"msg_01J8Z6T4N9E2Q7HS5XKWVB3DCF",{header},"payload":{payload}}}"#);
    Bytes::from_static(text.into_bytes().leak())
}

fn session(name: &str, payload: &Value) -> Bytes {
    written(&format!(r#""type":"session.{name}","session_id":"{SESSION}""#), &payload.to_string())
}

fn event(kind: &str, body: &Value) -> Bytes {
    let header = format!(
        r#""type":"job.event","session_id":"{SESSION}","trace_id":"{TRACE}","job_id":"{JOB}","event_seq":48213"#
    );
    written(&header, &format!(r#"{{"kind":"{kind}","ts":"{TIME}","body":{body}}}"#))
}

fn chunk(data: &str, encoding: &str) -> Bytes {
    let body = json!({"result_id": "res_1", "chunk_seq": 3, "data": data, "encoding": encoding, "more": true});
    event("result_chunk", &body)
}

fn base64(len: u32) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..len).map(|n| char::from(letters[(n.wrapping_mul(2_654_435_761) >> 26) as usize])).collect()
}

fn tool_result() -> Value {
    json!({"call_id": "call_7", "result": {
        "matches": [
            {"file": "src\\lib.rs", "line": 42, "text": "\tlet name = \"arcp\";"},
            {"file": "src\\main.rs", "line": 7, "text": "fn main() {\n"},
        ],
        "truncated": false, "score": 0.875, "took_ms": 12.5, "next": null,
    }})
}

fn metric() -> Value {
    let dimensions = json!({"model": "m-large", "cached": true});
    json!({"name": "cost.inference", "value": 0.0125, "unit": "USD", "dimensions": dimensions})
}

fn welcome() -> Value {
    let agent =
        |n| json!({"name": format!("agent-{n:02}"), "versions": ["1.0.0", "1.1.0", "2.0.0"], "default": "2.0.0"});
    let agents: Vec<Value> = (0..20).map(agent).collect();
    let features = ["heartbeat", "ack", "list_jobs", "subscribe", "progress", "result_chunk", "agent_versions"];
    json!({
        "runtime": {"name": "example-runtime", "version": "1.4.2"}, "resume_token": "rt_5k2m9x7q4w8e1r3t6y0u",
        "resume_window_sec": 600, "heartbeat_interval_sec": 30,
        "capabilities": {"encodings": ["json"], "features": features, "agents": agents},
    })
}

fn jobs() -> Value {
    let job = |n| {
        json!({
            "job_id": format!("job_{n:026}"), "agent": "code-refactor@2.0.0", "status": "running",
            "lease": {"fs.read": ["/workspace/**"]}, "parent_job_id": null,
            "created_at": TIME, "trace_id": TRACE, "last_event_seq": n * 37,
        })
    };
    let jobs: Vec<Value> = (0..100).map(job).collect();
    json!({"request_id": "msg_7", "jobs": jobs, "next_cursor": "c_100"})
}

/// An event of the kind that is sent most.
fn log() -> Bytes {
    event("log", &json!({"level": "info", "message": "compiled 214 of 311 files, 3 warnings, 0 errors so far"}))
}

/// All of them, the smallest classes first.
pub(crate) fn frames() -> Vec<Frame> {
    let ping = json!({"nonce": "p_01J8Z6T4N9E2Q7HS5XKWVB3DCF", "sent_at": TIME});
    let compiler = "error[E0277]: the trait bound `T: Copy` is not satisfied\n\t--> \"src/main.rs\":10:5\n";
    [
        ("ping", Class::Small, session("ping", &ping)),
        ("log", Class::Small, log()),
        ("progress", Class::Small, event("progress", &json!({"current": 214, "total": 311, "units": "files"}))),
        ("tool_result", Class::Small, event("tool_result", &tool_result())),
        ("metric", Class::Small, event("metric", &metric())),
        ("welcome", Class::Listing, session("welcome", &welcome())),
        ("jobs", Class::Listing, session("jobs", &jobs())),
        ("base64_64k", Class::Base64, chunk(&base64(1 << 16), "base64")),
        ("base64_1m", Class::Base64, chunk(&base64(1 << 20), "base64")),
        ("escaped_64k", Class::Escaped, chunk(&compiler.repeat(790), "utf8")),
        ("unicode_64k", Class::Unicode, chunk(&"обработано файлов — 漢字 ".repeat(1_400), "utf8")),
    ]
    .map(|(name, class, bytes)| Frame { name, class, bytes })
    .into()
}
