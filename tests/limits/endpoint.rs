//! An endpoint, and clients and strangers who mean it harm (D9, D43).

use std::sync::Arc;

use arcp_proto::Grant;
use arcp_proto::endpoint::{ConnId, Endpoint, EndpointConfig, EndpointEvent};
use arcp_proto::wire::{ErrorCode, JobAccepted, Principal, ResumeToken, SessionId, WireError};
use bytes::Bytes;

use crate::gate::{BESIDE, Bounds, KIB, MIB, hold};
use crate::meter::{Meter, frame};
use crate::runtime::{self, start};
use crate::shape::{long, message};

/// As many strangers as a test can do with.
const STRANGERS: usize = 64;

fn config() -> EndpointConfig {
    EndpointConfig { opening_connections: STRANGERS, ..EndpointConfig::new(runtime::config()) }
}

fn bounds(heap: usize, because: &'static str, factor: f64) -> Bounds {
    Bounds { heap, because, factor }
}

/// A hello of that length.
fn hello(len: usize) -> Bytes {
    let (before, after) =
        (r#"{"id":"h","type":"session.hello","payload":{"auth":{"scheme":"bearer","token":""#, r#""}}}"#);
    frame(format!("{before}{}{after}", long(len - before.len() - after.len())))
}

fn grant(n: usize, principal: &str) -> Grant {
    Grant {
        principal: Principal::from(principal),
        session_id: SessionId::from(format!("sess_{n}")),
        resume_token: ResumeToken::new(format!("rt_{n:032}")),
        agents: Arc::from([]),
    }
}

/// An endpoint, and a client of it with every feature, which is welcome.
fn serving(config: EndpointConfig) -> (Endpoint, ConnId) {
    let mut endpoint = Endpoint::new(config);
    let conn = endpoint.connect(start());
    let features = serde_json::to_string(&arcp_proto::FeatureSet::all()).unwrap();
    let hello = format!(
        r#"{{"type":"session.hello","payload":{{"auth":{{"scheme":"bearer","token":"t"}},"capabilities":{{"features":{features}}}}}}}"#
    );
    endpoint.handle_input(start(), conn, frame(hello));
    endpoint.admit(start(), conn, grant(1, "mallory")).unwrap();
    while endpoint.poll_event().is_some() {}
    while endpoint.poll_transmit(start()).is_some() {}
    (endpoint, conn)
}

fn attend(meter: &mut Meter, endpoint: &mut Endpoint) {
    while meter.attacked(|| endpoint.poll_event()).is_some() {}
}

#[test]
fn d9_transports_that_say_nothing() {
    let heap = STRANGERS * KIB + BESIDE;
    hold("endpoint: transports that say nothing", bounds(heap, "64 strangers", 0.0), |scale, meter| {
        let mut endpoint = Endpoint::new(config());
        *meter = Meter::new();
        for _ in 0..scale * 1_000 {
            meter.input += 1;
            meter.attacked(|| endpoint.connect(start()));
            meter.read_endpoint(&mut endpoint, start());
        }
        attend(meter, &mut endpoint);
    });
}

#[test]
fn d9_whole_hellos_and_no_verdict() {
    let config = config();
    // The hello as read, once for whoever is asked and once to be kept.
    let heap = STRANGERS * (2 * config.runtime.limits.opening_frame + KIB) + MIB;
    hold(
        "endpoint: hellos of 64 KiB, no verdict",
        bounds(heap, "64 strangers × 2 first frames", 0.1),
        |scale, meter| {
            let mut endpoint = Endpoint::new(config.clone());
            *meter = Meter::new();
            for _ in 0..scale * 100 {
                let conn = meter.attacked(|| endpoint.connect(start()));
                meter.feed_endpoint(&mut endpoint, start(), conn, hello(64 * KIB));
                meter.read_endpoint(&mut endpoint, start());
            }
        },
    );
}

#[test]
fn d9_frames_behind_the_hello() {
    let config = config();
    let held = config.held_bytes + config.held_frames * KIB;
    let heap = STRANGERS * (held + 2 * KIB) + MIB;
    hold("endpoint: frames behind the hello", bounds(heap, "64 strangers × 64 KiB held", 1.0), |scale, meter| {
        let mut endpoint = Endpoint::new(config.clone());
        *meter = Meter::new();
        for _ in 0..scale * 100 {
            let conn = meter.attacked(|| endpoint.connect(start()));
            meter.feed_endpoint(&mut endpoint, start(), conn, hello(KIB));
            for _ in 0..15 {
                meter.feed_endpoint(&mut endpoint, start(), conn, frame(long(4 * KIB)));
            }
            meter.read_endpoint(&mut endpoint, start());
        }
    });
    // One more than may be.
    hold("endpoint: too much behind the hello", bounds(heap, "64 strangers × 64 KiB held", 1.0), |scale, meter| {
        let mut endpoint = Endpoint::new(config.clone());
        *meter = Meter::new();
        for _ in 0..scale * 100 {
            let conn = meter.attacked(|| endpoint.connect(start()));
            meter.feed_endpoint(&mut endpoint, start(), conn, hello(KIB));
            for _ in 0..40 {
                meter.feed_endpoint(&mut endpoint, start(), conn, frame(long(4 * KIB)));
            }
            meter.read_endpoint(&mut endpoint, start());
            attend(meter, &mut endpoint);
        }
    });
}

#[test]
fn d14_resume_tokens_are_guessed() {
    let heap = config().audit_records * 256 + BESIDE;
    hold("endpoint: resume tokens are guessed", bounds(heap, "4096 audit records", 2.0), |scale, meter| {
        let (mut endpoint, _) = serving(config());
        *meter = Meter::new();
        for n in 0..scale * 4_000 {
            let conn = meter.attacked(|| endpoint.connect(start()));
            let guess = format!(
                r#"{{"id":"h","type":"session.hello","payload":{{"auth":{{"scheme":"bearer","token":"t"}},"resume_token":"rt_{:032}"}}}}"#,
                n + 2
            );
            meter.feed_endpoint(&mut endpoint, start(), conn, frame(guess));
            attend(meter, &mut endpoint);
            meter.attacked(|| endpoint.admit(start(), conn, grant(1_000_000 + n, "mallory"))).unwrap_err();
            meter.read_endpoint(&mut endpoint, start());
        }
        assert_eq!(endpoint.counters().resumes_refused as usize, scale * 4_000);
    });
}

#[test]
fn d9_sessions_without_number() {
    let config = EndpointConfig { sessions_per_principal: 100, ..config() };
    let heap = (100 + 64) * 2 * KIB + config.audit_records * 256 + BESIDE;
    hold(
        "endpoint: sessions of one principal",
        bounds(heap, "100 sessions + 4096 audit records", 4.0),
        |scale, meter| {
            let mut endpoint = Endpoint::new(config.clone());
            *meter = Meter::new();
            for n in 0..scale * 1_000 {
                let conn = meter.attacked(|| endpoint.connect(start()));
                meter.feed_endpoint(&mut endpoint, start(), conn, hello(200));
                let _ = meter.attacked(|| endpoint.admit(start(), conn, grant(n, "mallory")));
                attend(meter, &mut endpoint);
                meter.read_endpoint(&mut endpoint, start());
                if n % 3 == 0 {
                    meter.attacked(|| endpoint.handle_disconnect(start(), conn));
                }
            }
        },
    );
}

/// Jobs of mallory's, as the application would have accepted them.
fn submit(endpoint: &mut Endpoint, conn: ConnId, count: usize) {
    for n in 0..count {
        endpoint.handle_input(start(), conn, message("job.submit", n, r#"{"agent":"a","input":{}}"#));
        while let Some(event) = endpoint.poll_event() {
            if let EndpointEvent::Submit { request, .. } = event {
                let job = JobAccepted::new(format!("job_{n}").into(), "a@1", start().wall);
                endpoint.accept_job(start(), &request, job).unwrap();
            }
        }
        while endpoint.poll_transmit(start()).is_some() {}
    }
}

#[test]
fn d30_list_jobs_floods() {
    let list = |n| message("session.list_jobs", n, r#"{"limit":1000}"#);
    let page = config().directory.page_bytes;
    let (mut endpoint, conn) = serving(config());
    submit(&mut endpoint, conn, 1_500);
    let factor = (page + KIB) as f64 / list(100).len() as f64;
    let one = bounds(2 * MIB, "a page, as made and as sent", factor);
    hold("endpoint: list_jobs flood, read", one, |scale, meter| {
        let mut endpoint = endpoint.clone();
        *meter = Meter::new();
        for n in 0..scale * 20 {
            meter.feed_endpoint(&mut endpoint, start(), conn, list(n + 100));
            meter.read_endpoint(&mut endpoint, start());
        }
    });
    let lane = bounds(MIB + 2 * MIB, "the control lane + a page, as made and as sent", 0.0);
    hold("endpoint: list_jobs flood, unread", lane, |scale, meter| {
        let mut endpoint = endpoint.clone();
        *meter = Meter::new();
        for n in 0..scale * 20 {
            meter.feed_endpoint(&mut endpoint, start(), conn, list(n + 100));
        }
    });
}

#[test]
fn d41_submits_with_huge_keys() {
    let inbound = config().runtime.limits.inbound_bytes;
    let key = long(900 * KIB);
    let huge =
        |n: usize| message("job.submit", n, &format!(r#"{{"agent":"a","input":{{}},"idempotency_key":"{n}{key}"}}"#));
    let heap = inbound / 4 + 3 * MIB;
    hold(
        "endpoint: submits with huge keys",
        bounds(heap, "a quarter of the inbound bytes + frames", 0.1),
        |scale, meter| {
            let (mut endpoint, conn) = serving(config());
            *meter = Meter::new();
            for n in 0..scale * 4 {
                meter.feed_endpoint(&mut endpoint, start(), conn, huge(n));
                meter.read_endpoint(&mut endpoint, start());
                attend(meter, &mut endpoint);
            }
        },
    );
    // The longest that are kept, and nobody answers.
    let longest =
        |n: usize| message("job.submit", n, &format!(r#"{{"agent":"a","input":{{}},"idempotency_key":"{n:0256}"}}"#));
    let open = bounds(256 * 2 * KIB + BESIDE, "256 open requests", 2.0);
    hold("endpoint: submits with keys, no answers", open, |scale, meter| {
        let (mut endpoint, conn) = serving(EndpointConfig { submits_in_order: false, ..config() });
        *meter = Meter::new();
        for n in 0..scale * 1_000 {
            meter.feed_endpoint(&mut endpoint, start(), conn, longest(n));
            meter.read_endpoint(&mut endpoint, start());
            attend(meter, &mut endpoint);
        }
    });
    hold("endpoint: submits with keys, refused", bounds(BESIDE * 8, "64 kept answers", 4.0), |scale, meter| {
        let (mut endpoint, conn) = serving(config());
        *meter = Meter::new();
        for n in 0..scale * 1_000 {
            meter.feed_endpoint(&mut endpoint, start(), conn, longest(n));
            while let Some(event) = meter.attacked(|| endpoint.poll_event()) {
                if let EndpointEvent::Submit { request, .. } = event {
                    let no = WireError::new(ErrorCode::PermissionDenied, "no");
                    meter.attacked(|| endpoint.refuse(start(), &request, no)).unwrap();
                }
            }
            meter.read_endpoint(&mut endpoint, start());
        }
    });
}

#[test]
fn d36_subscribe_and_cancel_floods() {
    let (mut endpoint, conn) = serving(config());
    submit(&mut endpoint, conn, 10);
    let subscribe = |n: usize| message("job.subscribe", n, &format!(r#"{{"job_id":"job_{}","history":true}}"#, n % 20));
    let audit = config().audit_records * 256;
    let flat = || bounds(audit + BESIDE, "4096 audit records", 4.0);
    let floods: [(&str, &dyn Fn(usize) -> Bytes); 4] = [
        ("subscribe flood", &subscribe),
        ("unsubscribe flood", &|n| message("job.unsubscribe", n, &format!(r#"{{"job_id":"job_{}"}}"#, n % 20))),
        ("cancels of others' jobs", &|n| message("job.cancel", n, r#"{"job_id":"job_x"}"#)),
        ("cancels", &|n| message("job.cancel", n, r#"{"job_id":"job_1"}"#)),
    ];
    for (name, make) in floods {
        hold(&format!("endpoint: {name}"), flat(), |scale, meter| {
            let mut endpoint = endpoint.clone();
            *meter = Meter::new();
            for n in 0..scale * 1_000 {
                meter.feed_endpoint(&mut endpoint, start(), conn, make(n + 100));
                meter.read_endpoint(&mut endpoint, start());
                attend(meter, &mut endpoint);
            }
        });
        hold(
            &format!("endpoint: {name}, unread"),
            bounds(audit + 256 * 512, "4096 audit records + 256 control frames", 0.0),
            |scale, meter| {
                let mut endpoint = endpoint.clone();
                *meter = Meter::new();
                for n in 0..scale * 1_000 {
                    meter.feed_endpoint(&mut endpoint, start(), conn, make(n + 100));
                    attend(meter, &mut endpoint);
                }
            },
        );
    }
}

#[test]
fn d43_events_that_nobody_attends_to() {
    let config = EndpointConfig { event_bytes: 4 * MIB, ..config() };
    let heap = bounds(5 * MIB + BESIDE, "unpolled events of all + one frame", 1.0);
    hold("endpoint: vendor messages, unattended", heap, |scale, meter| {
        let (mut endpoint, conn) = serving(config.clone());
        *meter = Meter::new();
        for n in 0..scale * 20 {
            meter.feed_endpoint(
                &mut endpoint,
                start(),
                conn,
                message("x-vendor.thing", n, &format!(r#"{{"x":"{}"}}"#, long(256 * KIB))),
            );
            meter.read_endpoint(&mut endpoint, start());
        }
    });
}
