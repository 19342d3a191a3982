//! What a runtime would write if all of it stood ready.

use arcp_proto::wire::job_event::{Log, kind};
use serde::Serialize;

use super::{JOB, SESSION};

/// An event as a struct, whole.
#[derive(Serialize)]
pub(crate) struct Written<'a> {
    arcp: &'a str,
    id: &'a str,
    #[serde(rename = "type")]
    name: &'a str,
    session_id: &'a str,
    job_id: &'a str,
    event_seq: u64,
    payload: Payload<'a>,
}

#[derive(Serialize)]
struct Payload<'a> {
    kind: &'a str,
    ts: &'a str,
    body: &'a Log,
}

pub(crate) fn written(body: &Log, seq: u64) -> Written<'_> {
    let payload = Payload { kind: kind::LOG, ts: "2026-05-13T19:42:13.000Z", body };
    let name = "job.event";
    Written { arcp: "1.1", id: "msg_r1_123456", name, session_id: SESSION, job_id: JOB, event_seq: seq, payload }
}
