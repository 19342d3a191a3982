//! One message as it came off the wire.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use core::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::frame_fault::{FrameFault, MalformedFrame};
use super::id::{JobId, SessionId, TraceId};
use super::job_event::{feature_of_kind, kind};
use super::message::MessageType;
use super::scan::{self, Head};
use crate::feature::Feature;

/// A handle on one validated frame (§5): cheap to clone, `Send + 'static`, and it keeps the frame's bytes
/// untouched, unknown members included.
///
/// Decoding checks the whole frame once (UTF-8, JSON, the header's types) and allocates nothing. The payload
/// stays raw text until [`payload`](Envelope::payload) asks for a type.
///
/// ```
/// use arcp_proto::wire::{Envelope, MessageType, Ping};
///
/// let frame = r#"{"id":"m1","type":"session.ping","payload":{"nonce":"p1","sent_at":"2026-05-13T19:42:13Z"}}"#;
/// let envelope = Envelope::decode(frame.into())?;
/// assert_eq!(envelope.message_type(), Some(MessageType::SessionPing));
/// assert_eq!(envelope.payload::<Ping>().unwrap().nonce.as_deref(), Some("p1"));
/// # Ok::<(), arcp_proto::wire::MalformedFrame>(())
/// ```
#[derive(Clone)]
pub struct Envelope {
    frame: Bytes,
    head: Head,
}

/// The payload does not have the shape that its type asks for. It says what was asked for and where, and never
/// what stood there, which may be a secret in the wrong place (D3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload of {type_name} is not as the protocol has it: {reason}")]
pub struct PayloadError {
    type_name: Box<str>,
    reason: Box<str>,
}

impl PayloadError {
    /// What was asked for, and where.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// What serde says of a misfit, without the text that it quotes from the payload.
fn reason(error: &serde_json::Error) -> Box<str> {
    let said = error.to_string();
    match said.split_once('"') {
        None => said.into(),
        // Of the payload's own quotes none is the last one before what was asked for.
        Some((misfit, rest)) => match rest.rsplit_once("\", expected ") {
            Some((_, expected)) => format!("{}, expected {expected}", misfit.trim_end()).into(),
            None => format!("another value was asked for at line {} column {}", error.line(), error.column()).into(),
        },
    }
}

impl Envelope {
    /// Checks a frame and finds its header.
    ///
    /// The frame's length is the caller's to limit: a session does it by
    /// [`Limits::max_frame`](crate::Limits), and no frame of 2 GiB or more is taken.
    ///
    /// # Errors
    ///
    /// When the frame is no envelope: see [`FrameFault`].
    pub fn decode(frame: Bytes) -> Result<Envelope, MalformedFrame> {
        const LIMIT: usize = i32::MAX as usize;
        if frame.len() > LIMIT {
            return Err(MalformedFrame { fault: FrameFault::TooLarge { limit: LIMIT }, id: None });
        }
        match scan::scan(&frame) {
            Ok(head) => Ok(Envelope { frame, head }),
            Err((fault, id)) => Err(MalformedFrame { fault, id: id.get(&frame).map(|id| id.into_owned().into()) }),
        }
    }

    /// The whole frame, as it came.
    #[must_use]
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The message id.
    #[must_use]
    pub fn id(&self) -> Option<Cow<'_, str>> {
        self.head.id.get(&self.frame)
    }

    /// The type as written, known or not.
    #[must_use]
    pub fn type_name(&self) -> Cow<'_, str> {
        self.head.type_name.get(&self.frame).unwrap_or_default()
    }

    /// The type, if it is one of §6 and §7. Looked up at decode, so this costs nothing.
    #[must_use]
    pub fn message_type(&self) -> Option<MessageType> {
        match self.head.message_type {
            None if self.head.type_name.is_escaped() => MessageType::from_name(&self.type_name()),
            known => known,
        }
    }

    /// The session that the sender means; absent stands for the transport's own (D16).
    #[must_use]
    pub fn session_id(&self) -> Option<Cow<'_, str>> {
        self.head.session_id.get(&self.frame)
    }

    /// The trace, if the field holds one: 32 hex digits or a W3C `traceparent`. Anything else reads as absent (D4).
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        TraceId::parse(&self.head.trace_id.get(&self.frame)?)
    }

    /// The job, from the envelope or else from the payload (D34).
    #[must_use]
    pub fn job_id(&self) -> Option<Cow<'_, str>> {
        self.head.job_id.get(&self.frame)
    }

    /// [`job_id`](Envelope::job_id), copied out of the frame.
    #[must_use]
    pub fn to_job_id(&self) -> Option<JobId> {
        self.job_id().map(|id| JobId::from(&*id))
    }

    /// [`session_id`](Envelope::session_id), copied out of the frame.
    #[must_use]
    pub fn to_session_id(&self) -> Option<SessionId> {
        self.session_id().map(|id| SessionId::from(&*id))
    }

    /// The place in the session's sequence (§8.3), at least 1; absent, null and 0 are `None`.
    #[must_use]
    pub fn event_seq(&self) -> Option<u64> {
        (self.head.event_seq != 0).then_some(self.head.event_seq)
    }

    /// The payload's `kind`: of a `job.event`, what happened (§8.2).
    #[must_use]
    pub fn event_kind(&self) -> Option<Cow<'_, str>> {
        self.head.event_kind.get(&self.frame)
    }

    /// The payload's JSON text, always an object; `{}` where there is none.
    #[must_use]
    pub fn payload_text(&self) -> &str {
        simdutf8::basic::from_utf8(self.payload_bytes()).unwrap_or("{}")
    }

    /// [`payload_text`](Envelope::payload_text) as bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> &[u8] {
        match self.head.payload {
            (_, 0) => b"{}",
            (start, end) => self.frame.get(start as usize..end as usize).unwrap_or(b"{}"),
        }
    }

    /// Whether it is meant for that session, which it need not name (D16). Nothing is read as text for it.
    #[inline]
    pub(crate) fn is_for_session(&self, id: Option<&str>) -> bool {
        let named = self.head.session_id;
        named.is_absent() || id.is_some_and(|id| named.says(id.as_bytes(), &self.frame))
    }

    /// Whether it is about that job.
    #[inline]
    pub(crate) fn is_of_job(&self, id: &str) -> bool {
        !self.head.job_id.is_absent() && self.head.job_id.says(id.as_bytes(), &self.frame)
    }

    /// The feature that an event of its kind needs.
    pub(crate) fn feature_of_kind(&self) -> Option<Feature> {
        let kind = self.head.event_kind;
        if kind.is_absent() {
            return None;
        }
        let gated = [kind::PROGRESS, kind::RESULT_CHUNK];
        gated.into_iter().find(|name| kind.says(name.as_bytes(), &self.frame)).and_then(feature_of_kind)
    }

    /// The `body` member of the payload as a `T`; absent and null read as `{}`.
    pub(crate) fn event_body<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PayloadError> {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow, default)]
            body: Option<&'a RawValue>,
        }
        let body = self.payload::<Body<'a>>()?.body.map_or("{}", RawValue::get);
        serde_json::from_str(body)
            .map_err(|error| PayloadError { type_name: self.type_name().into(), reason: reason(&error) })
    }

    /// Reads the payload as a `T`: one of the payload types of [`wire`](crate::wire), or the caller's own.
    ///
    /// # Errors
    ///
    /// When the payload has another shape. The envelope stays as it is.
    pub fn payload<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PayloadError> {
        serde_json::from_slice(self.payload_bytes())
            .map_err(|error| PayloadError { type_name: self.type_name().into(), reason: reason(&error) })
    }
}

/// Header and length only: payloads may hold secrets.
impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("type", &self.type_name())
            .field("id", &self.id())
            .field("session_id", &self.session_id())
            .field("job_id", &self.job_id())
            .field("event_seq", &self.event_seq())
            .field("event_kind", &self.event_kind())
            .field("len", &self.frame.len())
            .finish()
    }
}
