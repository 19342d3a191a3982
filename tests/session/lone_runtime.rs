//! A runtime's session by itself: what it emits, and what a hand-made client says to it.

use arcp_proto::wire::JobId;
use arcp_proto::{FeatureSet, Limits, Now, Opening, ResumeRefused, Runtime, SendError, Session, Takeover};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::pair::{feed, job, millis, principal, sent_json, start, token};

/// So many milliseconds after the start.
pub(crate) fn at(since_start: u64) -> Now {
    start().after(millis(since_start))
}

/// Emits one log event.
pub(crate) fn log(session: &mut Session<Runtime>, now: Now, job: &JobId) -> Result<u64, SendError> {
    session.send_event(now, job, "log", &json!({"level": "info", "message": "something happened"}))
}

/// Emits so many log events on [`job`].
pub(crate) fn emit(session: &mut Session<Runtime>, now: Now, count: u64) {
    for _ in 0..count {
        let next = session.last_event_seq() + 1;
        assert_eq!(log(session, now, &job()), Ok(next));
    }
}

/// Emits so many log events and hands them out.
pub(crate) fn stream(session: &mut Session<Runtime>, now: Now, count: u64) {
    emit(session, now, count);
    let _ = sent_json(session, now);
}

/// Hands out so many frames.
pub(crate) fn transmit(session: &mut Session<Runtime>, now: Now, count: usize) -> Vec<Value> {
    let frames = std::iter::from_fn(|| session.poll_transmit(now)).take(count);
    frames.map(|frame| serde_json::from_slice(&frame).unwrap()).collect()
}

/// The client acknowledges.
pub(crate) fn ack(session: &mut Session<Runtime>, now: Now, seq: u64) {
    let payload = json!({"last_processed_seq": seq});
    feed(session, now, &json!({"id": "a1", "type": "session.ack", "session_id": "sess_1", "payload": payload}));
}

/// The client comes back with the `presented`th token, having everything up to `last`; it gets the next token.
/// Without features the old ones stand.
pub(crate) fn try_resume(
    session: &mut Session<Runtime>,
    now: Now,
    presented: u64,
    last: u64,
    features: Option<FeatureSet>,
) -> Result<Takeover, ResumeRefused> {
    let mut payload = json!({
        "client": {"name": "hand", "version": "1"},
        "auth": {"scheme": "bearer", "token": "secret-bearer"},
        "resume": {"session_id": "sess_1", "resume_token": format!("rt_{presented:032x}"), "last_event_seq": last},
    });
    if let Some(features) = features {
        payload["capabilities"] = json!({"encodings": ["json"], "features": features});
    }
    let hello = json!({"id": "h", "type": "session.hello", "payload": payload}).to_string();
    let opening = Opening::parse(Bytes::from(hello), &Limits::default()).expect("the resume is well-formed");
    let Opening::Resume(attempt) = opening else { panic!("a resume is no hello") };
    session.resume(now, attempt, &principal(), token(presented + 1))
}

/// [`try_resume`], which is taken; the welcome is left to be sent.
pub(crate) fn resume(
    session: &mut Session<Runtime>,
    now: Now,
    presented: u64,
    last: u64,
    features: Option<FeatureSet>,
) -> Takeover {
    try_resume(session, now, presented, last, features).expect("the resume is good")
}

/// The places in the sequence that some frames have.
pub(crate) fn seqs(frames: &[Value]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame["event_seq"].as_u64()).collect()
}
