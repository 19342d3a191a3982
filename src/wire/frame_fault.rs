//! What can be wrong with a frame before anyone looks at its payload.

use alloc::boxed::Box;
use core::fmt;

/// A member of the envelope (§5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeaderField {
    /// `arcp`, the protocol version.
    Arcp,
    /// `id`, the message id.
    Id,
    /// `type`, the message type.
    Type,
    /// `session_id`.
    SessionId,
    /// `trace_id`.
    TraceId,
    /// `job_id`.
    JobId,
    /// `event_seq`.
    EventSeq,
    /// `payload`.
    Payload,
}

impl HeaderField {
    /// The member's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            HeaderField::Arcp => "arcp",
            HeaderField::Id => "id",
            HeaderField::Type => "type",
            HeaderField::SessionId => "session_id",
            HeaderField::TraceId => "trace_id",
            HeaderField::JobId => "job_id",
            HeaderField::EventSeq => "event_seq",
            HeaderField::Payload => "payload",
        }
    }
}

impl fmt::Display for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a frame is no envelope (D1, D34, D39).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FrameFault {
    /// Longer than the limit that applies to it.
    #[error("the frame is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Not a text message, where the transport tells the two apart: a binary one of WebSocket (D38). Said by drivers.
    #[error("the frame is binary, and an envelope is text")]
    Binary,
    /// The bytes are not UTF-8.
    #[error("the frame is not UTF-8")]
    NotUtf8,
    /// The text is not JSON.
    #[error("the frame is not JSON: unexpected byte or end at offset {offset}")]
    Syntax {
        /// Where, in bytes from the start of the frame.
        offset: usize,
    },
    /// JSON, but no object.
    #[error("the frame is not a JSON object")]
    NotAnObject,
    /// Nested deeper than [`MAX_DEPTH`](crate::wire::MAX_DEPTH).
    #[error("the frame is nested too deep")]
    TooDeep,
    /// A header member stands there twice.
    #[error("`{0}` stands in the envelope twice")]
    Duplicate(HeaderField),
    /// A header member has the wrong type or a value out of range.
    #[error("`{0}` is missing, of the wrong type or out of range")]
    Field(HeaderField),
    /// `arcp` names a version other than 1.1 (D1).
    #[error("`arcp` is not \"1.1\"")]
    Version,
    /// The envelope and the payload name different jobs (D34).
    #[error("`job_id` differs between envelope and payload")]
    JobIdConflict,
}

/// A frame that is no envelope, with its message id where that could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct MalformedFrame {
    /// What is wrong.
    pub fault: FrameFault,
    /// The frame's `id`, so that the answer can name it.
    pub id: Option<Box<str>>,
}
