//! The shapes of payloads, as the draft shows them and as we send them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::finding::{Charges, Side};
use super::frame::{Frame, shown};
use super::object::{Json, Object};
use super::rule::Rule;
use crate::wire::{ErrorCode, MessageType};

/// Collects what is missing, so that a payload is charged once for each rule.
struct Missing(String);

impl Missing {
    const fn new() -> Missing {
        Missing(String::new())
    }

    fn unless(&mut self, there: bool, what: &str) -> &mut Self {
        if !there {
            if !self.0.is_empty() {
                self.0.push_str(", ");
            }
            self.0.push_str(what);
        }
        self
    }

    fn charge(self, charges: &mut Charges, side: Side, rule: Rule) {
        if !self.0.is_empty() {
            charges.bring(side, rule, self.0);
        }
    }
}

/// Judges a payload by its type.
pub(super) fn judge(charges: &mut Charges, from: Side, frame: &Frame<'_>) {
    use MessageType as M;
    let Some(message) = frame.message else { return };
    let payload = &frame.payload;
    nulls(charges, from, message, payload);
    match message {
        M::SessionHello => hello(charges, payload),
        M::SessionWelcome => welcome(charges, payload),
        M::SessionPing => {
            let mut missing = Missing::new();
            missing.unless(payload.word("nonce").is_some(), "nonce");
            missing.unless(payload.get("sent_at").and_then(Json::time).is_some(), "sent_at");
            missing.charge(charges, from, Rule::PingShape);
        }
        M::SessionPong => {
            let mut missing = Missing::new();
            missing.unless(payload.word("ping_nonce").is_some(), "ping_nonce");
            missing.unless(payload.get("received_at").and_then(Json::time).is_some(), "received_at");
            missing.charge(charges, from, Rule::PongShape);
        }
        M::SessionAck if payload.integer("last_processed_seq").is_none() => charges.bring(from, Rule::AckShape, ""),
        M::SessionListJobs => list_jobs(charges, payload),
        M::SessionJobs => jobs(charges, payload),
        M::SessionError => error(charges, from, payload),
        M::JobSubmit => submit(charges, payload),
        M::JobAccepted => accepted(charges, payload),
        M::JobSubscribed => subscribed(charges, payload),
        M::JobCancelled if !payload.has("request_id") => charges.bring(from, Rule::AnswerUnnamed, message.name()),
        M::JobEvent => event(charges, payload),
        M::JobResult => result(charges, payload),
        M::JobError => {
            error(charges, from, payload);
            final_status(charges, payload);
        }
        _ => {}
    }
}

/// Null for an absent member (D2): of the payload, and of the objects in it that are the session's.
fn nulls(charges: &mut Charges, from: Side, message: MessageType, payload: &Object<'_>) {
    const ALLOWED: [&str; 6] = ["next_cursor", "parent_job_id", "input", "result", "output", "body"];
    let mut look = |object: &Object<'_>, path: &str| {
        for (name, value) in object.iter() {
            if value.is_null() && !ALLOWED.contains(&name) {
                charges.bring(from, Rule::Null, format!("{path}{}", shown(name)));
            }
        }
    };
    look(payload, "");
    let inner: &[&str] = match message {
        MessageType::SessionHello => &["client", "auth", "capabilities", "resume"],
        MessageType::SessionWelcome => &["runtime", "capabilities"],
        MessageType::SessionListJobs => &["filter"],
        _ => &[],
    };
    for name in inner {
        if let Some(object) = payload.object(name) {
            look(&object, &format!("{name}."));
        }
    }
    let entries = match message {
        MessageType::SessionWelcome => payload.object("capabilities").and_then(|all| all.array("agents")),
        MessageType::SessionJobs => payload.array("jobs"),
        _ => None,
    };
    for entry in entries.unwrap_or_default() {
        if let Some(object) = entry.object() {
            look(&object, "[].");
        }
    }
}

fn peer(missing: &mut Missing, payload: &Object<'_>, name: &str) {
    let peer = payload.object(name).unwrap_or_default();
    missing.unless(peer.word("name").is_some(), &format!("{name}.name"));
    missing.unless(peer.word("version").is_some(), &format!("{name}.version"));
}

fn texts(value: Option<Json<'_>>) -> bool {
    value.and_then(Json::array).is_some_and(|all| all.iter().all(|one| one.text().is_some()))
}

/// What both hello and welcome say of features and encodings.
fn capabilities(charges: &mut Charges, side: Side, missing: &mut Missing, payload: &Object<'_>) {
    let capabilities = payload.object("capabilities").unwrap_or_default();
    let (features, encodings) = (capabilities.get("features"), capabilities.array("encodings"));
    missing.unless(features.is_none() || texts(features), "capabilities.features");
    let json = |encoding: &Json<'_>| encoding.text().as_deref() == Some("json");
    // A client that names none takes the one there is.
    let free = side == Side::Client && encodings.as_ref().is_some_and(Vec::is_empty);
    missing
        .unless(free || encodings.as_ref().is_none_or(|all| all.iter().any(json)), "capabilities.encodings with json");
    let mut absent = Missing::new();
    absent.unless(features.is_some(), "features").unless(encodings.is_some() && !free, "encodings");
    absent.charge(charges, side, Rule::CapabilitiesAbsent);
}

fn hello(charges: &mut Charges, payload: &Object<'_>) {
    let mut missing = Missing::new();
    peer(&mut missing, payload, "client");
    let auth = payload.object("auth").unwrap_or_default();
    missing.unless(auth.text("scheme").as_deref() == Some("bearer"), "auth.scheme");
    missing.unless(auth.word("token").is_some(), "auth.token");
    capabilities(charges, Side::Client, &mut missing, payload);
    missing.charge(charges, Side::Client, Rule::HelloShape);
    resume(charges, payload);
}

/// The two forms of D13: the object and the flat pair, which must agree.
fn resume(charges: &mut Charges, payload: &Object<'_>) {
    if !payload.has("resume") && !payload.has("resume_token") {
        return;
    }
    let claim = payload.object("resume").unwrap_or_default();
    let mut missing = Missing::new();
    missing.unless(claim.word("session_id").is_some(), "resume.session_id");
    missing.unless(claim.word("resume_token").is_some(), "resume.resume_token");
    missing.unless(claim.integer("last_event_seq").is_some(), "resume.last_event_seq");
    missing.unless(payload.word("resume_token").is_some(), "resume_token");
    missing.unless(payload.integer("last_event_seq").is_some(), "last_event_seq");
    if missing.0.is_empty() {
        missing.unless(claim.word("resume_token") == payload.word("resume_token"), "the tokens differ");
        missing.unless(claim.integer("last_event_seq") == payload.integer("last_event_seq"), "the numbers differ");
    }
    missing.charge(charges, Side::Client, Rule::ResumeForm);
}

fn welcome(charges: &mut Charges, payload: &Object<'_>) {
    let mut missing = Missing::new();
    peer(&mut missing, payload, "runtime");
    missing.unless(payload.word("resume_token").is_some(), "resume_token");
    missing.unless(payload.integer("resume_window_sec").is_some_and(|window| window > 0), "resume_window_sec");
    if payload.has("heartbeat_interval_sec") {
        let interval = payload.integer("heartbeat_interval_sec");
        missing.unless(interval.is_some_and(|interval| interval > 0), "heartbeat_interval_sec");
    }
    capabilities(charges, Side::Runtime, &mut missing, payload);
    let agents = payload.object("capabilities").and_then(|capabilities| capabilities.array("agents"));
    missing.unless(agents.is_some(), "capabilities.agents");
    let agents: Vec<_> = agents.unwrap_or_default().iter().map(|agent| agent.object().unwrap_or_default()).collect();
    missing.unless(agents.iter().all(|agent| agent.word("name").is_some()), "agents[].name");
    missing.unless(agents.iter().all(|agent| texts(agent.get("versions"))), "agents[].versions");
    missing.charge(charges, Side::Runtime, Rule::WelcomeShape);
}

fn list_jobs(charges: &mut Charges, payload: &Object<'_>) {
    let mut missing = Missing::new();
    if let Some(filter) = payload.get("filter") {
        let filter = filter.object();
        missing.unless(filter.is_some(), "filter");
        let filter = filter.unwrap_or_default();
        missing.unless(!filter.has("status") || texts(filter.get("status")), "filter.status");
        missing.unless(!filter.has("agent") || filter.text("agent").is_some(), "filter.agent");
        for bound in ["created_after", "created_before"] {
            missing.unless(!filter.has(bound) || filter.get(bound).and_then(Json::time).is_some(), bound);
        }
    }
    missing.unless(!payload.has("limit") || payload.integer("limit").is_some_and(|limit| limit > 0), "limit");
    missing.unless(!payload.has("cursor") || payload.text("cursor").is_some(), "cursor");
    missing.charge(charges, Side::Client, Rule::RequestShape);
}

fn jobs(charges: &mut Charges, payload: &Object<'_>) {
    const STATES: [&str; 6] = ["pending", "running", "success", "error", "cancelled", "timed_out"];
    let mut missing = Missing::new();
    missing.unless(payload.word("request_id").is_some(), "request_id");
    let cursor = payload.written("next_cursor");
    missing.unless(cursor.is_some_and(|cursor| cursor.is_null() || cursor.text().is_some()), "next_cursor");
    let entries = payload.array("jobs");
    missing.unless(entries.is_some(), "jobs");
    let entries: Vec<_> = entries.unwrap_or_default().iter().map(|entry| entry.object().unwrap_or_default()).collect();
    let mut every = |there: &dyn Fn(&Object<'_>) -> bool, what| {
        missing.unless(entries.iter().all(there), what);
    };
    every(&|entry| entry.word("job_id").is_some(), "jobs[].job_id");
    every(&|entry| entry.word("agent").is_some(), "jobs[].agent");
    every(&|entry| entry.text("status").is_some_and(|status| STATES.contains(&&*status)), "jobs[].status");
    every(&|entry| entry.get("lease").is_some_and(Json::is_object), "jobs[].lease");
    every(&|entry| entry.get("created_at").and_then(Json::time).is_some(), "jobs[].created_at");
    every(&|entry| entry.integer("last_event_seq").is_some(), "jobs[].last_event_seq");
    missing.charge(charges, Side::Runtime, Rule::JobsShape);
    if entries.iter().any(|entry| entry.has("credentials")) {
        charges.bring(Side::Runtime, Rule::JobsCredentials, "");
    }
}

fn error(charges: &mut Charges, from: Side, payload: &Object<'_>) {
    let mut missing = Missing::new();
    let code = payload.word("code");
    let retryable = payload.get("retryable").and_then(Json::boolean);
    missing.unless(code.is_some(), "code").unless(retryable.is_some(), "retryable");
    missing.charge(charges, from, Rule::ErrorShape);
    if payload.word("message").is_none() {
        charges.bring(from, Rule::ErrorMessage, "");
    }
    let Some(code) = code.map(|code| ErrorCode::from(&*code)) else { return };
    if let ErrorCode::Other(code) = &code {
        charges.bring(from, Rule::ErrorCode, shown(code));
        return;
    }
    if let Some(retryable) = retryable
        && code.retryable() != Some(retryable)
    {
        let fixed = matches!(code, ErrorCode::LeaseExpired | ErrorCode::BudgetExhausted | ErrorCode::InternalError);
        let rule = if fixed { Rule::Retryable } else { Rule::RetryableOurs };
        charges.bring(from, rule, format!("{code} {retryable}"));
    }
}

fn final_status(charges: &mut Charges, payload: &Object<'_>) {
    let status = payload.text("final_status");
    let code = payload.text("code");
    let good = match code.as_deref() {
        Some("CANCELLED") => status.as_deref() == Some("cancelled"),
        Some("LEASE_EXPIRED" | "BUDGET_EXHAUSTED") => status.as_deref() == Some("error"),
        _ => matches!(status.as_deref(), Some("error" | "cancelled" | "timed_out")),
    };
    let timely = code.as_deref() != Some("TIMEOUT") || status.as_deref() == Some("timed_out");
    let rule = match (good, timely) {
        (true, true) => return,
        (true, false) => Rule::TimeoutStatus,
        _ => Rule::FinalStatus,
    };
    let status = status.as_deref().map_or_else(|| "absent".into(), shown);
    charges.bring(Side::Runtime, rule, format!("{status} for {}", shown(&code.unwrap_or_default())));
}

fn result(charges: &mut Charges, payload: &Object<'_>) {
    let status = payload.text("final_status");
    if status.as_deref() != Some("success") {
        let status = status.as_deref().map_or_else(|| "absent".into(), shown);
        charges.bring(Side::Runtime, Rule::FinalStatus, format!("{status} of a result"));
    }
    let inline = payload.written("result").or_else(|| payload.written("output")).is_some();
    if inline && payload.has("result_id") {
        charges.bring(Side::Runtime, Rule::ResultMixed, "result and result_id");
    }
    if payload.written("output").is_some() && payload.written("result").is_none() {
        charges.bring(Side::Runtime, Rule::ResultName, "output");
    }
}

fn submit(charges: &mut Charges, payload: &Object<'_>) {
    let side = Side::Client;
    let agent = payload.word("agent");
    let mut missing = Missing::new();
    missing.unless(agent.is_some(), "agent");
    for lease in ["lease_request", "lease_constraints"] {
        missing.unless(payload.get(lease).is_none_or(Json::is_object), lease);
    }
    missing.unless(!payload.has("idempotency_key") || payload.text("idempotency_key").is_some(), "idempotency_key");
    missing.unless(!payload.has("max_runtime_sec") || payload.integer("max_runtime_sec").is_some(), "max_runtime_sec");
    missing.charge(charges, side, Rule::SubmitShape);
    if payload.written("input").is_none() {
        charges.bring(side, Rule::SubmitInput, "");
    }
    if agent.is_some_and(|agent| !follows_grammar(&agent)) {
        charges.bring(side, Rule::AgentName, "");
    }
    if let Some(expires) = payload.object("lease_constraints").and_then(|bounds| bounds.get("expires_at"))
        && (expires.time().is_none() || !expires.text().is_some_and(|text| text.ends_with(['Z', 'z'])))
    {
        charges.bring(side, Rule::ExpiresAt, "");
    }
}

/// `name` or `name@version` (§7.5).
fn follows_grammar(agent: &str) -> bool {
    let (name, version) = agent.split_once('@').map_or((agent, None), |(name, version)| (name, Some(version)));
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.bytes().next().is_some_and(lower)
        && name.bytes().all(|byte| lower(byte) || matches!(byte, b'.' | b'_' | b'-'))
        && version.is_none_or(|version| {
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'_' | b'-'))
        })
}

fn accepted(charges: &mut Charges, payload: &Object<'_>) {
    let side = Side::Runtime;
    let mut missing = Missing::new();
    missing.unless(payload.word("job_id").is_some(), "job_id");
    missing.unless(payload.word("agent").is_some(), "agent");
    missing.unless(payload.get("lease").is_some_and(Json::is_object), "lease");
    missing.unless(payload.get("accepted_at").and_then(Json::time).is_some(), "accepted_at");
    missing.charge(charges, side, Rule::AcceptedShape);
    let child = payload.has("parent_job_id") || payload.has("delegate_id");
    if !child && payload.word("request_id").is_none() {
        charges.bring(side, Rule::AnswerUnnamed, "job.accepted");
    }
}

fn subscribed(charges: &mut Charges, payload: &Object<'_>) {
    let side = Side::Runtime;
    let mut missing = Missing::new();
    missing.unless(payload.word("job_id").is_some(), "job_id");
    missing.unless(payload.word("current_status").is_some(), "current_status");
    missing.unless(payload.word("agent").is_some(), "agent");
    missing.unless(payload.get("lease").is_some_and(Json::is_object), "lease");
    missing.unless(payload.written("parent_job_id").is_some(), "parent_job_id");
    missing.unless(payload.integer("subscribed_from").is_some(), "subscribed_from");
    missing.unless(payload.get("replayed").and_then(Json::boolean).is_some(), "replayed");
    missing.charge(charges, side, Rule::SubscribedShape);
    if payload.word("request_id").is_none() {
        charges.bring(side, Rule::AnswerUnnamed, "job.subscribed");
    }
}

fn event(charges: &mut Charges, payload: &Object<'_>) {
    let side = Side::Runtime;
    let kind = payload.word("kind");
    let body = payload.get("body");
    let mut missing = Missing::new();
    missing.unless(kind.is_some(), "kind").unless(body.is_some_and(Json::is_object), "body");
    missing.charge(charges, side, Rule::EventShape);
    if payload.get("ts").and_then(Json::time).is_none() {
        charges.bring(side, Rule::EventTime, "");
    }
    let (Some(kind), Some(body)) = (kind, body.and_then(Json::object)) else { return };
    if kind == "result_chunk" {
        let mut missing = Missing::new();
        missing.unless(body.word("result_id").is_some(), "result_id");
        missing.unless(body.integer("chunk_seq").is_some(), "chunk_seq");
        missing.unless(body.text("data").is_some(), "data");
        missing.unless(matches!(body.text("encoding").as_deref(), Some("utf8" | "base64")), "encoding");
        missing.unless(body.get("more").and_then(Json::boolean).is_some(), "more");
        missing.charge(charges, side, Rule::ChunkShape);
    } else {
        event_body(charges, &kind, &body);
    }
}

fn event_body(charges: &mut Charges, kind: &str, body: &Object<'_>) {
    let mut missing = Missing::new();
    let members: &[&str] = match kind {
        "log" => &["level", "message"],
        "thought" => &["text"],
        "tool_call" => &["tool", "args", "call_id"],
        "tool_result" => &["call_id"],
        "status" => &["phase"],
        "metric" => &["name", "value"],
        "artifact_ref" => &["uri", "content_type"],
        "progress" => {
            missing.unless(body.get("current").and_then(Json::number).is_some_and(|current| current >= 0.0), "current");
            &[]
        }
        _ => return,
    };
    for member in members {
        missing.unless(body.written(member).is_some(), member);
    }
    if kind == "tool_result" {
        missing.unless(body.written("result").or_else(|| body.written("error")).is_some(), "result or error");
    }
    if !missing.0.is_empty() {
        charges.bring(Side::Runtime, Rule::EventBody, format!("{kind}: {}", missing.0));
    }
}
