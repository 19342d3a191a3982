//! One frame by itself: the envelope, and what can be said without knowing what came before.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

use super::finding::{Charges, Side};
use super::object::{Json, Object};
use super::rule::Rule;
use crate::wire::{Envelope, FrameFault, MalformedFrame, MessageType};

const MEMBERS: [&str; 8] = ["arcp", "id", "type", "session_id", "trace_id", "job_id", "event_seq", "payload"];
const MAX_FRAME: usize = 1 << 20;

/// A decoded frame with a look into it.
pub(super) struct Frame<'a> {
    pub(super) envelope: &'a Envelope,
    pub(super) message: Option<MessageType>,
    pub(super) payload: Object<'a>,
}

impl<'a> Frame<'a> {
    pub(super) fn new(envelope: &'a Envelope) -> Frame<'a> {
        let payload = Object::parse(envelope.payload_text()).unwrap_or_default();
        Frame { envelope, message: envelope.message_type(), payload }
    }

    pub(super) fn job_id(&self) -> Option<Cow<'a, str>> {
        self.envelope.job_id()
    }
}

/// A text of a peer's, fit to be shown.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 48;
    let mut out: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

/// What the bytes alone are wrong in.
pub(super) fn bytes(charges: &mut Charges, from: Side, frame: &[u8]) {
    let mut bring = |rule, detail: &str| charges.bring(from, rule, detail);
    if frame.len() > MAX_FRAME {
        bring(Rule::Oversize, &format!("{} bytes", frame.len()));
    }
    if frame.trim_ascii().is_empty() {
        bring(Rule::LineBreak, "blank");
        return;
    }
    if frame.starts_with(b"\xef\xbb\xbf") {
        bring(Rule::LineBreak, "BOM");
    }
    if memchr::memchr(b'\r', frame).is_some() {
        bring(Rule::LineBreak, "CR");
    }
    if memchr::memchr(b'\n', frame).is_some() {
        bring(Rule::LineBreak, "LF");
    }
    let separator = |at: usize| matches!(frame.get(at + 2), Some(0xa8 | 0xa9));
    if memchr::memmem::find_iter(frame, b"\xe2\x80").any(separator) {
        bring(Rule::LineBreak, "U+2028 or U+2029");
    }
}

/// What keeps a frame from being an envelope.
pub(super) fn malformed(charges: &mut Charges, from: Side, frame: &[u8], malformed: &MalformedFrame) {
    if frame.trim_ascii().is_empty() {
        return;
    }
    // Looked at apart from the decoder, so that the reason does not hang on the order of its checks.
    if let Some(members) = core::str::from_utf8(frame).ok().and_then(Object::parse)
        && malformed.fault != FrameFault::TooDeep
    {
        let before = charges.findings.len();
        duplicates(charges, from, &members);
        if members.has("arcp") {
            version(charges, from, &members);
        }
        types(charges, from, &members);
        if charges.findings.len() > before {
            return;
        }
    }
    let (rule, detail) = match malformed.fault {
        FrameFault::TooLarge { .. } => (Rule::Oversize, String::new()),
        FrameFault::Binary => (Rule::NotAnEnvelope, "binary".into()),
        FrameFault::NotUtf8 => (Rule::NotAnEnvelope, "not UTF-8".into()),
        FrameFault::NotAnObject => (Rule::NotAnEnvelope, "not an object".into()),
        FrameFault::TooDeep => (Rule::Depth, String::new()),
        FrameFault::Duplicate(field) => (Rule::DuplicateMember, field.name().into()),
        FrameFault::Field(field) => (Rule::HeaderField, field.name().into()),
        FrameFault::Version => (Rule::Version, String::new()),
        FrameFault::JobIdConflict => (Rule::JobIdPlace, "they differ".into()),
        // `Syntax`, and what may come.
        _ => (Rule::NotAnEnvelope, "not JSON".into()),
    };
    charges.bring(from, rule, detail);
}

fn duplicates(charges: &mut Charges, from: Side, members: &Object<'_>) {
    for name in MEMBERS {
        if members.iter().filter(|(key, _)| *key == name).count() > 1 {
            charges.bring(from, Rule::DuplicateMember, name);
        }
    }
}

fn version(charges: &mut Charges, from: Side, members: &Object<'_>) {
    match members.get("arcp") {
        Some(version) if version.text().as_deref() == Some("1.1") => {}
        Some(_) => charges.bring(from, Rule::Version, "another value"),
        None => charges.bring(from, Rule::Version, "absent"),
    }
}

fn types(charges: &mut Charges, from: Side, members: &Object<'_>) {
    let mut field = |name: &str, good: &dyn Fn(Json<'_>) -> bool| {
        if let Some(value) = members.get(name)
            && !good(value)
        {
            charges.bring(from, Rule::HeaderField, name);
        }
    };
    let id = |value: Json<'_>| value.word().is_some_and(|id| id.len() <= crate::wire::MAX_ID_LEN);
    field("id", &id);
    field("session_id", &id);
    field("job_id", &id);
    field("trace_id", &|value| value.text().is_some());
    field("event_seq", &|value| value.integer().is_some_and(|seq| seq < crate::wire::SEQ_LIMIT));
    field("payload", &|value| value.is_object());
    if members.get("type").and_then(|name| name.word()).is_none() {
        charges.bring(from, Rule::HeaderField, "type");
    }
}

/// What a good envelope still lacks of what we would have sent.
pub(super) fn envelope(charges: &mut Charges, from: Side, frame: &Frame<'_>) {
    let Some(members) = core::str::from_utf8(frame.envelope.frame()).ok().and_then(Object::parse) else { return };
    duplicates(charges, from, &members);
    version(charges, from, &members);
    types(charges, from, &members);
    if frame.envelope.id().is_none() {
        charges.bring(from, Rule::MessageId, "");
    }
    let mut last = 0;
    let mut ordered = true;
    for (name, value) in members.iter() {
        match MEMBERS.iter().position(|member| *member == name) {
            Some(place) => {
                ordered &= place >= last;
                last = place;
                if value.is_null() {
                    charges.bring(from, Rule::Null, name);
                }
            }
            None => charges.bring(from, Rule::ExtraMember, shown(name)),
        }
    }
    if !ordered {
        charges.bring(from, Rule::MemberOrder, "");
    }
    if let Some(trace) = members.text("trace_id")
        && !(trace.len() == 32 && trace.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
    {
        charges.bring(from, Rule::TraceId, "");
    }
    if !members.has("payload") {
        charges.bring(from, Rule::PayloadAbsent, "");
    }
    if members.integer("event_seq") == Some(0) {
        charges.bring(from, Rule::FirstSeq, "`event_seq` 0");
    }
    if let Some(message) = frame.message {
        sequenced(charges, from, message, &members);
        job_id(charges, from, message, &members, &frame.payload);
    }
}

fn sequenced(charges: &mut Charges, from: Side, message: MessageType, members: &Object<'_>) {
    if members.has("event_seq") {
        if !message.is_of_job() {
            charges.bring(from, Rule::ControlSequenced, message.name());
        } else if !message.is_sequenced() {
            charges.bring(from, Rule::Sequenced, message.name());
        }
    } else if matches!(message, MessageType::JobEvent | MessageType::JobResult) {
        charges.bring(from, Rule::SeqAbsent, message.name());
    }
}

fn job_id(charges: &mut Charges, from: Side, message: MessageType, members: &Object<'_>, payload: &Object<'_>) {
    use MessageType as M;
    if !message.is_of_job() || message == M::JobSubmit {
        return;
    }
    let (outer, inner) = (members.word("job_id"), payload.word("job_id"));
    if let (Some(outer), Some(inner)) = (&outer, &inner)
        && outer != inner
    {
        charges.bring(from, Rule::JobIdPlace, "they differ");
    }
    match (outer.is_some(), inner.is_some()) {
        (false, _) if message.is_sequenced() => charges.bring(from, Rule::JobIdAbsent, message.name()),
        (false, true) => charges.bring(from, Rule::JobIdPlace, format!("{message}: not in the envelope")),
        (true, false) if message == M::JobSubscribe => charges.bring(from, Rule::JobRequestShape, message.name()),
        (true, false) if matches!(message, M::JobCancel | M::JobCancelled | M::JobUnsubscribe) => {
            charges.bring(from, Rule::JobIdPlace, format!("{message}: not in the payload"))
        }
        (false, false) if matches!(message, M::JobCancel | M::JobSubscribe | M::JobUnsubscribe) => {
            charges.bring(from, Rule::JobRequestShape, message.name());
        }
        (false, false) => charges.bring(from, Rule::JobIdPlace, format!("{message}: nowhere")),
        _ => {}
    }
}
