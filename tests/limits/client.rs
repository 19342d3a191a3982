//! A client, and a runtime that means it harm (D43).

use std::fmt::Write;

use arcp_proto::wire::{Credentials, JobQuery, PeerInfo};
use arcp_proto::{Client, ClientConfig, FeatureSet, GapPolicy, Session};
use bytes::Bytes;
use serde_json::json;

use crate::gate::{BESIDE, Bounds, KIB, MIB, hold};
use crate::meter::{Meter, frame};
use crate::runtime::{limits, start};
use crate::shape::{long, message, repeated, wide};

fn config() -> ClientConfig {
    ClientConfig {
        limits: limits(),
        ..ClientConfig::new(PeerInfo::new("my-app", "1.0.0"), Credentials::bearer("secret"))
    }
}

fn connecting(config: ClientConfig) -> Session<Client> {
    let mut session = Session::connect(start(), config);
    while session.poll_transmit(start()).is_some() {}
    session
}

fn open(config: ClientConfig) -> Session<Client> {
    let mut session = connecting(config);
    let capabilities = json!({"encodings": ["json"], "features": FeatureSet::all()});
    let welcome = json!({"type": "session.welcome", "session_id": "sess_1", "payload": {
        "runtime": {"name": "hand", "version": "1"}, "resume_token": "rt_1", "capabilities": capabilities,
    }});
    session.handle_input(start(), welcome.to_string().into());
    while session.poll_event().is_some() {}
    session
}

/// So many messages; what it sends is read, and what it tells is dropped if it is `attended`.
fn flood(bounds: Bounds, name: &str, attended: bool, count: usize, make: impl Fn(usize) -> Bytes) {
    let how = if attended { "" } else { ", unattended" };
    hold(&format!("client: {name}{how}"), bounds, |scale, meter| {
        let mut session = open(config());
        *meter = Meter::new();
        for n in 0..scale * count {
            meter.feed(&mut session, start(), make(n));
            meter.read(&mut session, start());
            if attended {
                meter.attend(&mut session);
            }
        }
    });
}

fn bounds(heap: usize, because: &'static str, factor: f64) -> Bounds {
    Bounds { heap, because, factor }
}

#[test]
fn d43_ping_and_pong_flood() {
    let ping = |n: usize| message("session.ping", n, &format!(r#"{{"nonce":"{n:0256}"}}"#));
    flood(bounds(BESIDE, "nothing is kept", 1.5), "ping flood", true, 2_000, ping);
    let unread = bounds(limits().unsent_pongs * KIB + BESIDE, "16 unsent pongs", 0.0);
    hold("client: ping flood, unread", unread, |scale, meter| {
        let mut session = open(config());
        *meter = Meter::new();
        for n in 0..scale * 2_000 {
            meter.feed(&mut session, start(), ping(n));
        }
    });
    let pong = |n| message("session.pong", n, r#"{"ping_nonce":"p_c1_1"}"#);
    flood(bounds(BESIDE, "nothing is kept", 0.0), "pong flood", false, 2_000, pong);
}

fn welcome(before: &str, unit: &str, after: &str, len: usize) -> Bytes {
    let before = format!(r#"{{"type":"session.welcome","session_id":"s","payload":{{"capabilities":{{{before}"#);
    repeated(&before, unit, unit, &format!("{after}}}}}}}"), len)
}

#[test]
fn a4_a_welcome_with_a_million_agents() {
    for (what, unit) in [("agents", r#""a""#), ("agents as objects", r#"{"name":""}"#)] {
        let bounds = bounds(32 * MIB, "one frame, as read", 0.0);
        hold(&format!("client: a welcome full of {what}"), bounds, |scale, meter| {
            let mut session = connecting(config());
            *meter = Meter::new();
            meter.feed(&mut session, start(), welcome(r#""agents":["#, unit, "]", scale * MIB / 2));
        });
    }
    let versions = r#""agents":[{"name":"a","versions":["#;
    hold("client: a welcome full of versions", bounds(24 * MIB, "one frame, as read", 0.0), |scale, meter| {
        let mut session = connecting(config());
        *meter = Meter::new();
        meter.feed(&mut session, start(), welcome(versions, r#""""#, "]}]", scale * MIB / 2));
    });
}

#[test]
fn a5_a_welcome_with_a_million_features() {
    hold("client: a welcome full of features", bounds(MIB + BESIDE, "one frame", 0.0), |scale, meter| {
        let mut session = connecting(config());
        *meter = Meter::new();
        let mut text = String::with_capacity(MIB);
        text.push_str(r#"{"type":"session.welcome","session_id":"s","payload":{"capabilities":{"features":["ack""#);
        (0..scale * 50_000).for_each(|n| write!(text, r#","{n}""#).unwrap());
        text.push_str("]}}}");
        meter.feed(&mut session, start(), frame(text));
    });
}

fn event(seq: usize, len: usize) -> Bytes {
    let before = format!(
        r#"{{"id":"e{seq}","type":"job.event","job_id":"job_1","event_seq":{seq},"payload":{{"kind":"log","body":{{"message":""#
    );
    frame(before.clone() + &long(len.saturating_sub(before.len() + 5)) + r#""}}}"#)
}

#[test]
fn d28_events_with_holes() {
    let inbound = limits().inbound_bytes;
    let half = limits().inbound_bytes / 2;
    let both = [("resume", GapPolicy::Resume), ("report", GapPolicy::Report)];
    for (what, policy) in both {
        let config = ClientConfig { gap_policy: policy, ..config() };
        let bounds = bounds(half + 2 * MIB + BESIDE, "half the inbound bytes + two frames", 0.0);
        hold(&format!("client: large events with holes ({what})"), bounds, |scale, meter| {
            let mut session = open(config.clone());
            *meter = Meter::new();
            for n in 0..scale * 6 {
                meter.feed(&mut session, start(), event(2 * n + 3, MIB));
                meter.attend(&mut session);
            }
        });
        let bounds = self::bounds(64 * KIB + BESIDE, "64 reordered events of 1 KiB", 0.0);
        hold(&format!("client: small events with holes ({what})"), bounds, |scale, meter| {
            let mut session = open(config.clone());
            *meter = Meter::new();
            for n in 0..scale * 2_000 {
                meter.feed(&mut session, start(), event(2 * n + 3, KIB));
                meter.attend(&mut session);
            }
        });
    }
    flood(bounds(inbound + 2 * MIB, "unpolled events + two frames", 0.0), "events", false, 6, |n| event(n + 1, MIB));
}

#[test]
fn a11_pages_of_a_mebibyte() {
    let page = |n: usize| {
        let before = format!(r#"{{"request_id":"msg_c1_{}","jobs":["#, n + 2);
        wide("session.jobs", n, &before, r#"{"job_id":"j","agent":"","status":"x"}"#, "]}", MIB)
    };
    let bounds = |heap| bounds(heap, "unpolled events + one frame, as read", 0.0);
    for attended in [true, false] {
        let heap = 10 * MIB + if attended { 0 } else { limits().inbound_bytes };
        hold(
            &format!("client: pages of a MiB{}", if attended { "" } else { ", unattended" }),
            bounds(heap),
            |scale, meter| {
                let mut session = open(config());
                for _ in 0..256 {
                    session.list_jobs(start(), &JobQuery::default()).unwrap();
                }
                while session.poll_transmit(start()).is_some() {}
                *meter = Meter::new();
                for n in 0..scale * 3 {
                    meter.feed(&mut session, start(), page(n));
                    if attended {
                        meter.attend(&mut session);
                    }
                }
            },
        );
    }
    // Nobody asked for it.
    let unasked = |n| wide("session.jobs", n, r#"{"jobs":["#, r#"{"job_id":"j","agent":"","status":"x"}"#, "]}", MIB);
    flood(self::bounds(10 * MIB, "one frame, as read", 0.0), "pages that nobody asked for", false, 2, unasked);
}

#[test]
fn d12_answers_that_nobody_asked_for() {
    let inbound = limits().inbound_bytes;
    let credential = r#"{"id":"","scheme":"","value":""}"#;
    let heap = bounds(inbound + 10 * MIB, "unpolled events + one frame, as read", 0.0);
    let accepted = |n| wide("job.accepted", n, r#"{"job_id":"j","agent":"a","credentials":["#, credential, "]}", MIB);
    flood(heap, "acceptances", false, 3, accepted);
    let heap = bounds(inbound + 4 * MIB, "unpolled events + two frames", 0.0);
    let result = |n| wide("job.result", n, r#"{"job_id":"j","final_status":"success","result":["#, "0", "]}", MIB);
    flood(heap, "results", false, 3, result);
    let heap = bounds(inbound + 4 * MIB, "unpolled events + frames", 0.0);
    let error = |n| wide("session.error", n, r#"{"code":"INTERNAL_ERROR","message":"m","details":["#, "0", "]}", MIB);
    flood(heap, "errors", false, 3, error);
    let heap = bounds(inbound + 4 * MIB, "unpolled events + two frames", 0.0);
    let error = |n| wide("job.error", n, r#"{"job_id":"j","code":"TIMEOUT","message":"m","details":["#, "0", "]}", MIB);
    flood(heap, "failed jobs", false, 3, error);
    let heap = bounds(inbound + 20 * MIB, "unpolled events + one frame, as read", 0.0);
    let budget = |n: usize| {
        let mut text = String::from(r#"{"job_id":"j","agent":"a","budget":{"x":0"#);
        (0..70_000).for_each(|m| write!(text, r#","{m}":0"#).unwrap());
        message("job.accepted", n, &(text + "}}"))
    };
    flood(heap, "budgets", false, 3, budget);
}

#[test]
fn d12_jobs_without_number() {
    let id = |n: usize| format!("{n:0256}");
    let heap = bounds(limits().live_jobs * 512 + BESIDE, "4096 live jobs, their ids and places", 0.0);
    let event = |n| message("job.event", n, &format!(r#"{{"job_id":"{}","kind":"log","body":{{}}}}"#, id(n)));
    flood(heap, "events of jobs without number", true, 6_000, event);
    let ends = |n| message("job.cancelled", n, &format!(r#"{{"job_id":"{}"}}"#, id(n)));
    flood(bounds(64 * KIB + BESIDE, "64 ended jobs", 0.0), "cancelled jobs without number", true, 2_000, ends);
}

#[test]
fn d43_whatever_else_a_runtime_may_send() {
    let kept_once = |factor| bounds(BESIDE, "nothing is kept", factor);
    flood(kept_once(0.0), "unknown types", false, 2_000, |n| message(&format!("session.unknown{n}"), n, "{}"));
    let counted = || bounds(64 * 512 + BESIDE, "64 violations", 0.0);
    flood(counted(), "malformed frames", false, 2_000, |_| frame("{"));
    flood(counted(), "welcomes again", false, 2_000, |n| message("session.welcome", n, "{}"));
    flood(counted(), "wrong directions", false, 2_000, |n| message("job.submit", n, "{}"));
    let other = |n| frame(format!(r#"{{"id":"m{n}","type":"job.event","session_id":"sess_2","event_seq":{n}}}"#));
    flood(counted(), "another's events", false, 2_000, other);
    let bad = |n| message("job.result", n, r#"{"final_status":{}}"#);
    flood(bounds(2 * MIB + BESIDE, "4000 unpolled events of 512 bytes", 0.0), "bad payloads", false, 2_000, bad);
}
