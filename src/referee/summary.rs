//! A frame in a few words. What may be secret is not among them: no token, no credential, no text of an application's.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::frame::{Frame, shown};
use super::object::Object;
use crate::wire::MessageType;

struct Words(Vec<String>);

impl Words {
    fn add(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.0.push(format!("{name}={}", value.to_string()));
        }
    }

    fn text(&mut self, object: &Object<'_>, member: &str) {
        self.add(member, object.text(member).map(|text| shown(&text)));
    }

    fn number(&mut self, object: &Object<'_>, member: &str) {
        self.add(member, object.integer(member));
    }

    fn count(&mut self, object: &Object<'_>, member: &str) {
        self.add(member, object.array(member).map(|all| all.len()));
    }
}

pub(super) fn of(frame: &Frame<'_>) -> String {
    use MessageType as M;
    let payload = &frame.payload;
    let mut words = Words(Vec::new());
    words.add("job", frame.job_id().map(|id| shown(&id)));
    match frame.message {
        Some(M::SessionHello) => {
            let client = payload.object("client").unwrap_or_default();
            words.text(&client, "name");
            words.text(&client, "version");
            words.count(&payload.object("capabilities").unwrap_or_default(), "features");
            resume(&mut words, payload);
        }
        Some(M::SessionResume) => resume(&mut words, payload),
        Some(M::SessionWelcome) => {
            words.add("session", frame.envelope.session_id().map(|id| shown(&id)));
            let runtime = payload.object("runtime").unwrap_or_default();
            words.text(&runtime, "name");
            words.text(&runtime, "version");
            words.number(payload, "resume_window_sec");
            words.number(payload, "heartbeat_interval_sec");
            words.count(&payload.object("capabilities").unwrap_or_default(), "features");
        }
        Some(M::SessionPing) => words.text(payload, "nonce"),
        Some(M::SessionPong) => words.text(payload, "ping_nonce"),
        Some(M::SessionAck) => words.number(payload, "last_processed_seq"),
        Some(M::SessionListJobs) => {
            words.number(payload, "limit");
            words.add("cursor", payload.has("cursor").then_some("…"));
        }
        Some(M::SessionJobs) => {
            words.text(payload, "request_id");
            words.count(payload, "jobs");
            words.add("next_cursor", payload.has("next_cursor").then_some("…"));
        }
        Some(M::SessionError | M::JobError) => {
            words.text(payload, "code");
            words.add("retryable", payload.get("retryable").and_then(super::object::Json::boolean));
            words.text(payload, "request_id");
            words.text(payload, "final_status");
        }
        Some(M::SessionBye | M::SessionClose | M::SessionClosed | M::JobCancel | M::JobCancelled) => {
            words.text(payload, "reason");
        }
        Some(M::JobSubmit | M::JobAccepted) => {
            words.text(payload, "agent");
            words.text(payload, "request_id");
        }
        Some(M::JobEvent) => event(&mut words, frame),
        Some(M::JobResult) => {
            words.text(payload, "final_status");
            words.text(payload, "result_id");
            words.number(payload, "result_size");
        }
        Some(M::JobSubscribe) => words.number(payload, "from_event_seq"),
        Some(M::JobSubscribed) => {
            words.text(payload, "current_status");
            words.number(payload, "subscribed_from");
        }
        _ => {}
    }
    words.0.join(" ")
}

fn resume(words: &mut Words, payload: &Object<'_>) {
    let claim = payload.object("resume").unwrap_or_default();
    words.add("resume", claim.text("session_id").map(|id| shown(&id)));
    words.add("last_event_seq", claim.integer("last_event_seq").or_else(|| payload.integer("last_event_seq")));
}

fn event(words: &mut Words, frame: &Frame<'_>) {
    let body = frame.payload.object("body").unwrap_or_default();
    match frame.envelope.event_kind().as_deref() {
        Some("status") => words.text(&body, "phase"),
        Some("result_chunk") => {
            words.text(&body, "result_id");
            words.number(&body, "chunk_seq");
            words.add("more", body.get("more").and_then(super::object::Json::boolean));
        }
        _ => {}
    }
}
