//! The four families of errors, which never mix: our caller's misuse, the peer's fault, the transport's fate, the
//! session's end.

use alloc::boxed::Box;
use alloc::string::String;

use super::phase::Phase;
use crate::feature::Feature;
use crate::wire::{FrameFault, MessageType, WireError};

/// Why something was not sent. Nothing was recorded or queued, and the session is unharmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The replay buffer is full (D19). Wait for the event `Writable`, then send it again.
    #[error("the replay buffer is full: wait for `Writable`, then send again")]
    Blocked,
    /// The message can never be sent: it is over the frame limit, or larger than the whole replay buffer.
    #[error("the message has {len} bytes, more than the {limit} that are allowed: send less")]
    TooLarge {
        /// The frame's length, in bytes.
        len: usize,
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// The peers did not agree on the feature that this needs (A5).
    #[error("the feature `{0}` was not negotiated: look at `features()` before using it")]
    FeatureNotNegotiated(Feature),
    /// There is no open transport to send on: before the welcome, while detached, or while closing.
    #[error("the session is {0}: it can send this only while it is open")]
    NotOpen(Phase),
    /// The session has ended.
    #[error("the session is closed")]
    Closed,
    /// As many requests are open as may be (D43): wait for an answer.
    #[error("{0} requests are open, as many as may be: wait for an answer")]
    TooManyRequests(usize),
    /// The outgoing queue is full (D43): hand out what is in it with `poll_transmit` first.
    #[error("the outgoing queue is full: drain `poll_transmit` first")]
    QueueFull,
    /// The message contradicts itself.
    #[error("the message is not valid: {0}")]
    Invalid(&'static str),
    /// The body cannot be written as JSON.
    #[error("the body cannot be written as JSON: {0}")]
    Json(String),
}

impl From<Unsendable> for SendError {
    fn from(error: Unsendable) -> SendError {
        match error {
            Unsendable::Json(error) => SendError::Json(error),
            Unsendable::Invalid(why) => SendError::Invalid(why),
            Unsendable::TooLarge { len, limit } => SendError::TooLarge { len, limit },
        }
    }
}

/// Why an answer was not taken. Nothing was queued, and the session is unharmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// No such request is open: it was answered already, or dropped when its transport was lost (D8). An ordinary
    /// outcome of answering late; there is nothing to do.
    #[error("no such request is open: it was answered, or its transport was lost")]
    UnknownRequest,
    /// The request is of another kind.
    #[error("the request is a `{0}`, which this does not answer")]
    WrongKind(MessageType),
    /// The answer is over the frame limit. The request is still open: answer with less, or with an error.
    #[error("the answer has {len} bytes, more than the {limit} that are allowed: the request is still open")]
    TooLarge {
        /// The frame's length, in bytes.
        len: usize,
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// The answer uses a feature that the peers did not agree on (A5). The request is still open.
    #[error("the feature `{0}` was not negotiated: the request is still open, answer without it")]
    FeatureNotNegotiated(Feature),
    /// The answer contradicts itself. The request is still open.
    #[error("the answer is not valid: {0}")]
    Invalid(&'static str),
    /// The error code is none of the draft's (D11). The request is still open.
    #[error("the error code is none of the draft's: the request is still open, refuse it with one that is")]
    ForeignCode,
    /// The answer cannot be written as JSON. The request is still open.
    #[error("the answer cannot be written as JSON: {0}")]
    Json(String),
}

impl From<Unsendable> for AnswerError {
    fn from(error: Unsendable) -> AnswerError {
        match error {
            Unsendable::Json(error) => AnswerError::Json(error),
            Unsendable::Invalid(why) => AnswerError::Invalid(why),
            Unsendable::TooLarge { len, limit } => AnswerError::TooLarge { len, limit },
        }
    }
}

/// Why a frame with a payload of the application's cannot be sent.
#[derive(Clone, Debug)]
pub(super) enum Unsendable {
    Json(String),
    Invalid(&'static str),
    TooLarge { len: usize, limit: usize },
}

impl From<serde_json::Error> for Unsendable {
    fn from(error: serde_json::Error) -> Unsendable {
        Unsendable::Json(alloc::format!("{error}"))
    }
}

/// Why a client cannot resume now. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// Only a detached session can be resumed. Tell the session of a lost transport by `handle_disconnect` first.
    #[error("the session is {0}, not detached: only then can it be resumed")]
    NotDetached(Phase),
    /// The session has ended: connect anew.
    #[error("the session is closed: connect anew")]
    Closed,
    /// The runtime gave no resume token.
    #[error("the runtime gave no resume token: connect anew")]
    NoToken,
    /// Too many events wait to be polled (D43).
    #[error("poll the waiting events first")]
    EventsPending,
}

/// Why a mark of processed events was not taken. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// Beyond the last event that `poll_event` gave out.
    #[error("event {seq} has not been polled yet, the last one was {polled}")]
    NotPolled {
        /// What was marked.
        seq: u64,
        /// The last event polled.
        polled: u64,
    },
    /// Below what was marked before.
    #[error("events up to {processed} are marked already, {seq} is behind that")]
    Backwards {
        /// What was marked.
        seq: u64,
        /// The mark before.
        processed: u64,
    },
}

/// What a peer did against the protocol. The session goes on, up to a limit (D43).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The frame is no envelope.
    #[error("{0}")]
    Malformed(FrameFault),
    /// The envelope names another session (D16).
    #[error("the envelope names another session")]
    WrongSession,
    /// A message that the other side sends, not this one (D7).
    #[error("a `{0}` from the side that never sends one")]
    WrongDirection(MessageType),
    /// A message at a time when it has no place (D7, D9).
    #[error("a `{0}` at a time when it has no place")]
    WrongPhase(MessageType),
    /// A message of a type that nobody knows (D7).
    #[error("a message of the unknown type `{0}`")]
    UnknownType(Box<str>),
    /// A payload that does not have the shape of its type.
    #[error("the payload of `{message}` is not as the protocol has it: {detail}")]
    BadPayload {
        /// The message's type.
        message: MessageType,
        /// What is wrong with it.
        detail: String,
    },
    /// A request without the `id` by which its answer would be found (D12).
    #[error("a `{0}` without an `id`")]
    MissingId(MessageType),
    /// A feature that was not agreed on (A5, D23, D24, D33).
    #[error("the feature `{0}` is used, but was not negotiated")]
    NotNegotiated(Feature),
    /// An acknowledgement of events that were never sent (D24).
    #[error("event {seq} is acknowledged, but only {transmitted} were ever sent")]
    AckFromTheFuture {
        /// What was acknowledged.
        seq: u64,
        /// The last event ever sent.
        transmitted: u64,
    },
    /// More requests at once than are allowed (D43).
    #[error("more than {0} requests at once")]
    TooManyRequests(usize),
    /// A `session.jobs` or the like that answers nothing that was asked (D12).
    #[error("a `{0}` that answers no open request")]
    UnknownAnswer(MessageType),
    /// A heartbeat interval of 0, of a fraction, or of more than a day; it was clamped (D20).
    #[error("the heartbeat interval is no whole number of seconds between one and a day")]
    HeartbeatInterval,
}

impl ProtocolError {
    /// The requirement or decision that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            ProtocolError::Malformed(FrameFault::Version) => "D1",
            ProtocolError::Malformed(FrameFault::JobIdConflict) => "D34",
            ProtocolError::Malformed(_) => "D39",
            ProtocolError::WrongSession => "D16",
            ProtocolError::WrongDirection(_) | ProtocolError::UnknownType(_) => "D7",
            ProtocolError::WrongPhase(MessageType::SessionHello) => "D10",
            ProtocolError::WrongPhase(_) => "D9",
            ProtocolError::BadPayload { .. } => "§5",
            ProtocolError::MissingId(_) | ProtocolError::UnknownAnswer(_) => "D12",
            ProtocolError::NotNegotiated(Feature::Heartbeat) => "D23",
            ProtocolError::NotNegotiated(Feature::Ack) => "D24",
            ProtocolError::NotNegotiated(_) => "A5",
            ProtocolError::AckFromTheFuture { .. } => "D24",
            ProtocolError::TooManyRequests(_) => "D43",
            ProtocolError::HeartbeatInterval => "D20",
        }
    }

    /// Whether it counts towards the limit of violations: malformed frames, wrong direction or phase, a wrong
    /// session id (D43).
    #[must_use]
    pub const fn counts(&self) -> bool {
        matches!(
            self,
            ProtocolError::Malformed(_)
                | ProtocolError::WrongSession
                | ProtocolError::WrongDirection(_)
                | ProtocolError::WrongPhase(_)
        )
    }
}

/// A peer's fault, as it is told to the application.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error} ({})", error.rule())]
pub struct Violation {
    /// What the peer did.
    pub error: ProtocolError,
    /// The id of its message, where that could be read.
    pub message_id: Option<Box<str>>,
}

/// Why a session has no transport now. It can be resumed.
///
/// All but [`TransportLost`](DetachReason::TransportLost) came from the session itself: drain `poll_transmit` once more
/// (only the farewell is left in it), then close the transport.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetachReason {
    /// The driver said so (`handle_disconnect`).
    #[error("the transport is gone")]
    TransportLost,
    /// Runtime: the client said goodbye and was answered (A13, D32).
    #[error("the client said goodbye: {}", reason.as_deref().unwrap_or("without a reason"))]
    PeerClosed {
        /// The reason, in the client's words, at most 256 bytes of them.
        reason: Option<String>,
    },
    /// Nothing came for two heartbeat intervals (A8, D22).
    #[error("nothing came for two heartbeat intervals")]
    HeartbeatLost,
    /// Client: the attempt to resume got no welcome in time, a retryable error, or something else altogether.
    #[error("the attempt to resume failed")]
    HandshakeFailed,
    /// Client: events are missing in the sequence; a resume brings them (D28).
    #[error("events are missing in the sequence")]
    Gap,
    /// Runtime: events that were not yet sent had to be evicted (D27).
    #[error("events were evicted before they were sent")]
    Overrun,
    /// More control messages waited than are allowed (D43).
    #[error("too many control messages wait to be sent")]
    ControlOverflow,
    /// More events waited to be polled than are allowed (D43). The frame that did not fit was not received.
    #[error("too many events wait to be polled")]
    InboundOverflow,
    /// The peer broke the protocol more often than is allowed (D43).
    #[error("the peer broke the protocol too often")]
    TooManyViolations,
    /// Runtime: the client sent a second hello (A14, D10).
    #[error("the client sent a second hello")]
    Reauthentication,
}

/// Why a session has ended.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Client: `close` was called. Told alike whether the runtime answered, did not do so in time, or the transport was
    /// lost before (D32): in the last two cases events may not have come, and a [snapshot](crate::ClientSnapshot) that was taken can
    /// still be resumed.
    #[error("closed as asked for")]
    Requested,
    /// Runtime: `shutdown` was called.
    #[error("shut down")]
    Shutdown,
    /// Client: the runtime ended the session (A14), with the reason that it gave. `superseded` means that another
    /// transport took the session over (D15).
    #[error("the runtime ended the session: {}", reason.as_deref().unwrap_or("without a reason"))]
    PeerClosed {
        /// The reason, in the runtime's words.
        reason: Option<String>,
    },
    /// Client: the runtime refused the hello.
    #[error("the runtime refused the hello: {0}")]
    ConnectRefused(WireError),
    /// Client: there was no welcome.
    #[error("no welcome: {0}")]
    ConnectFailed(ConnectFailure),
    /// Client: the runtime refused the resume (D13, D14).
    #[error("the resume was refused: {0}")]
    ResumeRefused(ResumeRefusal),
    /// Nobody resumed the session in time (D17, D18).
    #[error("nobody resumed the session in time")]
    ResumeWindowExpired,
    /// Runtime: a limit of the endpoint was reached, and this session was the first to go.
    #[error("its place was needed")]
    Evicted,
    /// Runtime: the session lives on another machine now. It goes on there.
    #[error("another machine has taken the session over")]
    Fenced,
}

/// Why there was no welcome to a first hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// The transport was lost before it came.
    #[error("the transport was lost")]
    TransportLost,
    /// It did not come in time (D9).
    #[error("none came in time")]
    Timeout,
    /// Something else came (D9).
    #[error("something else came")]
    Protocol,
}

/// How a resume was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeRefusal {
    /// With an error that trying again does not help.
    #[error("{0}")]
    Error(WireError),
    /// By a welcome to another session: the runtime took it for a first hello (D13).
    #[error("the runtime began another session")]
    NewSession,
}
