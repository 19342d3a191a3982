//! A runtime's session, and a client that means it harm (D43).

use std::fmt::Write;
use std::sync::Arc;

use arcp_proto::wire::{JobId, PeerInfo, Principal, ResumeToken, SessionId};
use arcp_proto::{
    FeatureSet, Grant, Instant, Limits, Now, Opening, Runtime, RuntimeConfig, SendError, Session, Timestamp,
};
use serde_json::json;

use crate::gate::{BESIDE, Bounds, KIB, MIB, hold};
use crate::heap;
use crate::meter::{Meter, frame};
use crate::shape::{long, message, nested, wide};

pub(crate) fn start() -> Now {
    Now::new(Instant::from_millis(1_000_000), Timestamp::from_unix_millis(1_778_701_333_000))
}

/// The defaults, but a quarter of the events that may wait to be polled: it is done sooner.
pub(crate) fn limits() -> Limits {
    Limits { inbound_bytes: 4 << 20, ..Limits::default() }
}

pub(crate) fn config() -> RuntimeConfig {
    RuntimeConfig { limits: limits(), ..RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0")) }
}

/// Its welcome has been sent.
fn serving() -> Session<Runtime> {
    let config = config();
    let hello = json!({"type": "session.hello", "payload": {
        "auth": {"scheme": "bearer", "token": "secret"}, "capabilities": {"features": FeatureSet::all()},
    }});
    let Ok(Opening::Hello(hello)) = Opening::parse(hello.to_string().into(), &config.limits) else {
        panic!("no hello");
    };
    let grant = Grant {
        principal: Principal::from("mallory"),
        session_id: SessionId::from("sess_1"),
        resume_token: ResumeToken::new("rt_00000000000000000000000000000001"),
        agents: Arc::from([]),
    };
    let mut session = hello.accept(start(), Arc::new(config), grant);
    while session.poll_transmit(start()).is_some() {}
    session
}

/// So many messages: nothing is read of what the session sends, and everything that it tells is dropped.
fn unread(heap: usize, because: &'static str, name: &str, count: usize, make: impl Fn(usize) -> bytes::Bytes) {
    hold(&format!("runtime: {name}, unread"), Bounds { heap, because, factor: 0.0 }, |scale, meter| {
        let mut session = serving();
        for n in 0..scale * count {
            meter.feed(&mut session, start(), make(n));
            meter.attend(&mut session);
        }
    });
}

/// The same, all that is sent being read at once.
fn read(
    heap: usize,
    because: &'static str,
    factor: f64,
    name: &str,
    count: usize,
    make: impl Fn(usize) -> bytes::Bytes,
) {
    hold(&format!("runtime: {name}, read"), Bounds { heap, because, factor }, |scale, meter| {
        let mut session = serving();
        for n in 0..scale * count {
            meter.feed(&mut session, start(), make(n));
            meter.read(&mut session, start());
            meter.attend(&mut session);
        }
    });
}

/// The same, and nobody attends to what it tells. The driver goes on reading though it is told not to.
fn unattended(heap: usize, because: &'static str, name: &str, count: usize, make: impl Fn(usize) -> bytes::Bytes) {
    hold(&format!("runtime: {name}, unattended"), Bounds { heap, because, factor: 8.0 }, |scale, meter| {
        let mut session = serving();
        for n in 0..scale * count {
            meter.feed(&mut session, start(), make(n));
            meter.read(&mut session, start());
        }
    });
}

/// The control lane full of refusals: a refusal has at most so many bytes.
fn lane() -> usize {
    limits().control_frames * 512 + BESIDE
}

/// As many answers as violations are borne with.
fn violations() -> usize {
    limits().violations as usize * 512 + BESIDE
}

#[test]
fn d43_ping_flood() {
    let ping = |n: usize| message("session.ping", n, &format!(r#"{{"nonce":"{:0256}"}}"#, n));
    let pongs = limits().unsent_pongs * KIB + BESIDE;
    unread(pongs, "16 unsent pongs", "ping flood", 4_000, ping);
    read(BESIDE, "nothing is kept", 1.5, "ping flood", 4_000, ping);
    let tiny = |_| frame(r#"{"type":"session.ping"}"#);
    read(BESIDE, "nothing is kept", 8.0, "the shortest pings", 4_000, tiny);
}

#[test]
fn d43_pong_flood() {
    unread(BESIDE, "nothing is kept", "pong flood", 4_000, |n| {
        message("session.pong", n, r#"{"ping_nonce":"p_r1_1"}"#)
    });
}

#[test]
fn d24_ack_storm() {
    let events = 1_000;
    hold("runtime: ack storm", Bounds { heap: BESIDE, because: "nothing is kept", factor: 0.0 }, |scale, meter| {
        let mut session = serving();
        for _ in 0..events {
            session.send_event(start(), &"job_1".into(), "log", &json!({})).unwrap();
        }
        while session.poll_transmit(start()).is_some() {}
        *meter = Meter::new();
        for n in 0..scale * 4_000 {
            let seq = n.wrapping_mul(7_919) % (3 * events);
            meter.feed(&mut session, start(), message("session.ack", n, &format!(r#"{{"last_processed_seq":{seq}}}"#)));
            meter.attend(&mut session);
        }
        meter.read(&mut session, start());
    });
}

#[test]
fn d10_second_hellos() {
    let hello = |n| message("session.hello", n, r#"{"auth":{"scheme":"bearer","token":"t"}}"#);
    unread(BESIDE, "two frames", "second hellos", 2_000, hello);
    read(BESIDE, "two frames", 1.0, "second hellos", 2_000, hello);
}

#[test]
fn d39_a_mebibyte_of_nested_arrays() {
    let max = limits().max_frame;
    let deepest = |n| nested("session.ping", n, 125, max);
    unread(max + BESIDE, "one frame", "frames of arrays within arrays", 2, deepest);
    let too_deep = |n| nested("session.ping", n, 127, max);
    read(max + BESIDE, "one frame", 0.01, "frames of arrays too deep", 2, too_deep);
    let open = |_| frame("[".repeat(1 << 20));
    read(max + BESIDE, "one frame", 0.01, "frames of brackets", 2, open);
}

#[test]
fn d39_frames_of_any_size_are_scanned_once() {
    let max = limits().max_frame;
    for (name, unit) in [("zeros", "0"), ("escapes", r#""\\\"\u0041""#), ("objects", r#"{"":{}}"#), ("texts", r#""""#)]
    {
        let bounds = Bounds { heap: max + BESIDE, because: "one frame", factor: 1.0 };
        hold(&format!("runtime: one frame of {name}"), bounds, |scale, meter| {
            let mut session = serving();
            meter.feed(&mut session, start(), wide("session.ping", 1, r#"{"x":["#, unit, "]}", scale * max / 2));
            meter.read(&mut session, start());
        });
    }
    let bounds = Bounds { heap: max + BESIDE, because: "one frame", factor: 1.0 };
    hold("runtime: one frame of header fields", bounds, |scale, meter| {
        let mut session = serving();
        let mut text = String::from(r#"{"type":"session.ping""#);
        (0..scale * 30_000).for_each(|n| write!(text, r#","k{n}":{n}"#).unwrap());
        meter.feed(&mut session, start(), frame(text + "}"));
        meter.read(&mut session, start());
    });
}

#[test]
fn d3_ids_of_a_mebibyte() {
    let max = limits().max_frame;
    let id = long(max - 1_000);
    // The pings' ids are in the header, the jobs' are looked for in the payload.
    let ids = |n: usize| match n % 3 {
        0 => frame(format!(r#"{{"type":"session.ping","id":"{id}"}}"#)),
        1 => message("job.cancel", n, &format!(r#"{{"job_id":"{id}"}}"#)),
        _ => message("session.ping", n, &format!(r#"{{"nonce":"{id}"}}"#)),
    };
    read(2 * max + BESIDE, "two frames", 0.01, "ids of a MiB", 6, ids);
    let escaped = r"\u0069".repeat((max - 1_000) / 6);
    let escaped = |n: usize| match n % 2 {
        0 => frame(format!(r#"{{"type":"session.ping","id":"{escaped}"}}"#)),
        _ => message("job.cancel", n, &format!(r#"{{"job_id":"{escaped}"}}"#)),
    };
    read(2 * max + BESIDE, "two frames", 0.01, "escaped ids of a MiB", 4, escaped);
}

#[test]
fn d43_request_floods() {
    let list = |n| message("session.list_jobs", n, "{}");
    let subscribe = |n| message("job.subscribe", n, r#"{"job_id":"job_1"}"#);
    let cancel = |n| message("job.cancel", n, r#"{"job_id":"job_1"}"#);
    let submit = |n| message("job.submit", n, r#"{"agent":"a","input":{}}"#);
    let open = limits().open_requests * 512 + lane();
    // Nobody answers, so that 256 are open; the others are refused until the lane is full.
    unread(open, "256 open requests + the control lane", "list_jobs flood", 2_000, list);
    unread(open, "256 open requests + the control lane", "subscribe flood", 2_000, subscribe);
    unread(open, "256 open requests + the control lane", "cancel flood", 2_000, cancel);
    unread(open, "256 open requests + the control lane", "submit flood", 2_000, submit);
    read(open, "256 open requests", 4.0, "list_jobs flood", 2_000, list);
    read(open, "256 open requests", 4.0, "submit flood", 2_000, submit);
    let unsubscribe = |n| message("job.unsubscribe", n, r#"{"job_id":"job_1"}"#);
    unread(BESIDE, "nothing is kept", "unsubscribe flood", 2_000, unsubscribe);
    unattended(
        2 * limits().inbound_bytes,
        "unpolled events, their queue half empty",
        "unsubscribe flood",
        10_000,
        unsubscribe,
    );
}

#[test]
fn d43_a_listing_of_a_million_words() {
    let max = limits().max_frame;
    let words = |n| wide("session.list_jobs", n, r#"{"filter":{"status":["#, r#""""#, "]}}", max);
    unattended(
        limits().inbound_bytes + 18 * max,
        "unpolled events + one frame as read",
        "statuses without number",
        3,
        words,
    );
}

#[test]
fn d8_submits_with_huge_keys() {
    let key = long(900 * KIB);
    let submit = |n| message("job.submit", n, &format!(r#"{{"agent":"a","input":{{}},"idempotency_key":"{key}"}}"#));
    unattended(limits().inbound_bytes + 2 * MIB, "unpolled events + two frames", "submits with huge keys", 3, submit);
    unread(2 * MIB + lane(), "two frames", "submits with huge keys", 3, submit);
    let input = |n| wide("job.submit", n, r#"{"agent":"a","input":["#, "0", "]}", MIB);
    unattended(limits().inbound_bytes + 2 * MIB, "unpolled events + two frames", "submits with huge inputs", 3, input);
}

#[test]
fn d7_types_that_nobody_knows() {
    let ours = |n| message(&format!("session.unknown{n}"), n, "{}");
    unread(lane(), "256 control frames", "unknown types", 2_000, ours);
    read(BESIDE, "nothing is kept", 4.0, "unknown types", 2_000, ours);
    let long_type = long(MIB - 1_000);
    let long_types = |n| message(&format!("session.{long_type}"), n, "{}");
    read(2 * MIB, "two frames", 0.01, "types of a MiB", 4, long_types);
    let vendor = |n| wide("x-vendor.thing", n, r#"{"x":["#, "0", "]}", MIB / 2);
    unattended(limits().inbound_bytes + MIB, "unpolled events + one frame", "vendor messages", 6, vendor);
}

#[test]
fn d39_malformed_frames() {
    let broken = |_| frame(r#"{"id":"m","type":7}"#);
    unread(violations(), "64 violations", "malformed frames", 2_000, broken);
    read(BESIDE, "nothing is kept", 16.0, "malformed frames", 2_000, broken);
    unattended(violations(), "64 violations", "malformed frames", 2_000, broken);
    let wrong = |n| frame(format!(r#"{{"id":"m{n}","type":"session.ping","session_id":"sess_2"}}"#));
    unread(violations(), "64 violations", "another's session id", 2_000, wrong);
}

/// What is refused has been written already, and its memory is not kept for the next (D19).
#[test]
fn d19_an_event_that_is_refused_keeps_no_memory() {
    let mut session = serving();
    let body = json!({"level": "info", "message": "x".repeat(2 * MIB)});
    let (before, mut meter) = (heap::bytes(), Meter::new());
    let refused = meter.attacked(|| session.send_event(start(), &JobId::from("job_1"), "log", &body));
    assert!(matches!(refused, Err(SendError::TooLarge { .. })), "{refused:?}");
    let kept = heap::bytes() - before;
    assert!(kept <= 64 * KIB, "{kept} bytes");
}

/// Nor is the room that many events took, once they are acknowledged (A9, D19).
#[test]
fn a9_a_window_that_was_full_and_is_acknowledged_keeps_no_memory() {
    let mut session = serving();
    let (before, mut meter) = (heap::bytes(), Meter::new());
    for n in 0..5_000 {
        session.send_event(start(), &JobId::from("job_1"), "log", &json!({"level": "info", "n": n})).unwrap();
        meter.read(&mut session, start());
    }
    let last = session.last_event_seq();
    meter.feed(&mut session, start(), message("session.ack", 1, &format!(r#"{{"last_processed_seq":{last}}}"#)));
    meter.attend(&mut session);
    assert_eq!(session.replay_len(), (0, 0));
    let kept = heap::bytes().saturating_sub(before);
    assert!(kept <= 24 * KIB, "{kept} bytes");
}
