//! The rules, each with the number that it has in the draft, the guide or the decisions.

use core::fmt;

/// Whose rule it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The public draft's, or the shape that it shows: every implementation is bound by it.
    Draft,
    /// A decision of this project for what it sends. Others may do otherwise; peers are known that then fail.
    Ours,
}

/// Who has it in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// The session: framing, handshake, sequence, heartbeat, requests as such.
    Session,
    /// What speaks through the session: which jobs there are, how they end, what their bodies say.
    Application,
}

macro_rules! rules {
    ($($name:ident = $number:literal, $class:ident $($application:ident)?, $text:literal;)*) => {
        /// What a side can do wrong, as far as a third party can see it.
        ///
        /// The variants' docs are what [`description`](Rule::description) returns.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $text] $name,)*
        }

        impl Rule {
            /// Every rule, in the order of a session's life.
            pub const ALL: &'static [Rule] = &[$(Rule::$name),*];

            /// The number: a section of the draft (§…), a requirement (A…) or a decision (D…).
            #[must_use]
            pub const fn number(self) -> &'static str {
                match self {
                    $(Rule::$name => $number,)*
                }
            }

            /// Whose rule it is.
            #[must_use]
            pub const fn class(self) -> Class {
                match self {
                    $(Rule::$name => Class::$class,)*
                }
            }

            /// Who has it in hand.
            #[must_use]
            pub const fn layer(self) -> Layer {
                match self {
                    $($(Rule::$name => Layer::$application,)?)*
                    _ => Layer::Session,
                }
            }

            /// What was done wrong, in a line.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Rule::$name => $text,)*
                }
            }
        }
    };
}

rules! {
    // The frame.
    NotAnEnvelope = "§5", Draft, "a frame that is no JSON object in UTF-8";
    HeaderField = "§5", Draft, "a member of the envelope is of the wrong type or out of range, or there is no type";
    Version = "D1", Ours, "`arcp` is not \"1.1\"";
    MessageId = "D3", Ours, "no message id";
    MessageIdRepeated = "D3", Ours, "a message id that stood on another message of the session";
    DuplicateMember = "D39", Ours, "a member of the envelope stands there twice";
    Depth = "D39", Ours, "nested deeper than 128";
    Oversize = "D39", Ours, "a frame of more than 1 MiB";
    LineBreak = "D38", Ours, "a blank line, a BOM, or a raw CR, LF, U+2028 or U+2029 in a frame";
    Null = "D2", Ours, "null in place of an absent member";
    MemberOrder = "§5", Ours, "the members of the envelope stand in another order than the draft's";
    ExtraMember = "§5", Ours, "a member of the envelope that the draft does not have";
    TraceId = "D4", Ours, "a trace id that is not 32 lower-case hex digits";
    PayloadAbsent = "§5", Ours, "an envelope without a payload object";
    JobIdAbsent = "§8.1", Draft, "an event, result or error of a job without the envelope's `job_id`";
    JobIdPlace = "D34", Ours, "`job_id` is not in both the envelope and the payload, or differs between them";

    // Who may say what, and when.
    FirstFrame = "A1", Draft, "the client's first frame is no hello";
    FirstAnswer = "A2", Draft, "the runtime's first frame is neither a welcome nor an error, or comes before the hello";
    BeforeWelcome = "A2", Ours, "the client did not wait for the welcome";
    BadOpeningServed = "D9", Ours, "a welcome on a transport that did not begin with a good hello";
    RefusalLeftOpen = "D11", Ours, "the transport was not closed after a failed handshake";
    SilentRefusal = "D9", Ours, "a transport closed in the handshake without an error";
    RefusalWithoutSession = "D11", Ours, "an error before the welcome without a `session_id`";
    SecondHello = "D10", Ours, "a second hello on a transport";
    Reauthentication = "A14", Ours, "a second hello not answered by bye `reauthentication`, an error naming it, and the end";
    SecondWelcome = "A1", Draft, "a second welcome on a transport";
    WrongDirection = "D7", Draft, "a message that only the other side may send";
    UnknownType = "D7", Ours, "a `session.*` or `job.*` message that is not in the protocol";
    SessionIdAbsent = "§5", Draft, "no `session_id`";
    SessionIdForeign = "D16", Draft, "the `session_id` of another session";
    HelloNamesSession = "D3", Ours, "a hello with a `session_id`: the runtime mints it";
    AfterFarewell = "D27", Ours, "a frame behind the sender's own farewell";

    // Hello and welcome.
    HelloShape = "A3", Draft, "a hello without what a hello must have";
    WelcomeShape = "A4", Draft, "a welcome without what a welcome must have";
    CapabilitiesAbsent = "§6.2", Ours, "a hello or welcome that leaves out `features` or `encodings`: also an empty list is said";
    HeartbeatInterval = "D20", Ours, "`heartbeat_interval_sec` though heartbeats were not negotiated";
    WelcomeFeatures = "D20", Ours, "the welcome's features are not the intersection with the hello's";
    TokenKept = "§6.3", Draft, "a welcome with a resume token that was issued before";
    TokenGuessable = "D3", Ours, "a resume token that can be derived from the session id";
    SessionIdReused = "D3", Ours, "a new session with the id of another";

    // Resume.
    ResumeForm = "D13", Ours, "a resume not said as both the hello's object and the flat pair";
    StaleToken = "§6.3", Draft, "a resume with a token that is not the session's most recent one";
    ResumeBeyond = "D14", Ours, "a resume from an event that was never sent";
    ResumeUnchecked = "D14", Ours, "a welcome to a resume that had to be refused";
    ResumeOtherSession = "§6.3", Draft, "a resume answered by another session";
    ResumeRefused = "§6.3", Draft, "a resume refused though the client had missed nothing";
    ResumeRefusalCode = "D14", Ours, "a resume refused with another code than RESUME_WINDOW_EXPIRED";
    TakeoverRefused = "D15", Ours, "a resume refused because the old transport still stood";
    Takeover = "D15", Ours, "the superseded transport was not sent away with bye `superseded`, or still served";
    ReplayHole = "§6.3", Draft, "a replay that leaves events out";
    ReplayChanged = "§6.3", Draft, "an event replayed with another content";

    // Features.
    Unnegotiated = "A5", Draft, "use of a feature that was not negotiated";

    // Heartbeats.
    PingShape = "§6.4", Draft, "a ping without `nonce` and `sent_at`";
    PongShape = "§6.4", Draft, "a pong without `ping_nonce` and `received_at`";
    PongUnasked = "§6.4", Draft, "a pong that answers no open ping";
    PingUnanswered = "§6.4", Draft, "a ping not answered within an interval";
    PingOmitted = "A7", Ours, "more than an interval without a ping of the runtime";
    ClientIdle = "D21", Ours, "more than an interval without any frame of the client";
    SilenceKept = "A8", Ours, "the transport kept open after two silent intervals";
    LostTooEarly = "A8", Draft, "HEARTBEAT_LOST before two silent intervals";

    // Sequence numbers, acks, back-pressure.
    ControlSequenced = "§6.4", Draft, "a `session.*` message with an `event_seq`";
    Sequenced = "D5", Ours, "an `event_seq` on what is no event, result or error";
    SeqAbsent = "§8.1", Draft, "an event or result without an `event_seq`";
    TerminalUnsequenced = "D5", Ours, "an accepted job's error without an `event_seq`";
    FirstSeq = "D5", Ours, "the first `event_seq` of a session is not 1";
    SeqGap = "§8.3", Draft, "a hole in the session's `event_seq`";
    SeqOrder = "§8.3", Draft, "`event_seq` out of order";
    SeqRepeated = "§8.3", Draft, "an `event_seq` that was sent already";
    AckShape = "§6.5", Draft, "an ack without a `last_processed_seq`";
    AckBeyond = "D24", Draft, "an ack beyond what was ever sent";
    AckBackwards = "D24", Ours, "an ack below an earlier one";
    PressureRepeated = "D26", Ours, "back-pressure signalled again though nothing was acked since";

    // Requests and their answers.
    RequestShape = "§6.6", Draft, "a `session.list_jobs` whose filter, limit or cursor is of the wrong type";
    JobsShape = "§6.6", Draft, "a `session.jobs` without what it must have";
    JobsUnasked = "§6.6", Draft, "a `session.jobs` that answers no open `session.list_jobs`";
    JobsFilter = "§6.6", Draft Application, "a `session.jobs` with more jobs than the limit, or of another status than asked for";
    JobsCredentials = "§14", Ours Application, "credentials in a `session.jobs`";
    Unanswered = "D12", Ours Application, "a request that got no answer";
    AnswerUnnamed = "D12", Ours, "an answer without the `request_id` of what it answers";
    ErrorUnnamed = "D11", Ours, "a refusal without the `request_id` of what it refuses";
    ErrorMisnamed = "D11", Ours, "a refusal with a `request_id` that is no message of the client";
    RefusedByJobError = "D11", Ours, "a request refused by a `job.error`";

    // Errors.
    ErrorShape = "§12", Draft, "an error without a code or a `retryable`";
    ErrorMessage = "D11", Ours, "an error without a message";
    ErrorCode = "§12", Draft, "an error code that is not in the draft";
    Retryable = "§12", Draft, "`retryable` is not as the draft fixes it for the code";
    RetryableOurs = "D11", Ours, "`retryable` is not as we fix it for the code";

    // Jobs.
    SubmitShape = "§7.1", Draft, "a `job.submit` without what it must have";
    SubmitInput = "§7.1", Ours Application, "a `job.submit` without `input`";
    AgentName = "§7.5", Draft Application, "an agent that does not follow the grammar";
    ExpiresAt = "§9.5", Draft Application, "an `expires_at` that is not UTC with `Z`";
    JobRequestShape = "§7.6", Draft, "a cancel, subscribe or unsubscribe that names no job";
    AcceptedShape = "§7.1", Draft, "a `job.accepted` without what it must have";
    Idempotency = "§7.2", Draft Application, "a repeated submit answered by another `job.accepted` than the first";
    AcceptedUnasked = "§7.1", Draft, "a `job.accepted` for no submit";
    SubscribedShape = "§7.6", Draft, "a `job.subscribed` without what it must have";
    SubscribedUnasked = "§7.6", Draft, "a `job.subscribed` for no subscribe";
    CancelledUnasked = "§7.4", Draft, "a `job.cancelled` for no cancel";
    JobUnknown = "§7.1", Ours Application, "a job's message though the session was told of no such job";
    EventShape = "§8.1", Draft Application, "an event without a `kind` and a `body` object";
    EventTime = "§8.2", Ours, "an event without an RFC 3339 `ts`";
    EventBody = "§8.2", Draft Application, "a body without the members of its kind";
    AfterTerminal = "§7.3", Draft Application, "a job's message behind its end";
    FinalStatus = "§7.3", Draft Application, "a `final_status` that does not belong to the end it describes";
    TimeoutStatus = "§7.3", Ours Application, "a job that ended by TIMEOUT without `timed_out`";
    ResultName = "D35", Ours, "an inline result that is not called `result`";
    ResultMixed = "§8.4", Draft Application, "an inline result beside a streamed one";
    ResultReference = "§8.4", Draft Application, "a result that does not name the stream it ends, or a stream that was not finished";
    StreamEmpty = "D42", Ours Application, "a result that names a stream of which no chunk was sent";
    ChunkShape = "§8.4", Draft Application, "a `result_chunk` without what it must have";
    ChunkOrder = "§8.4", Draft Application, "chunks out of order, with a hole, or behind the last one";

    // The end.
    NoBye = "A13", Ours, "the client ended the transport without a bye";
    CloseUnanswered = "§6.7", Draft, "a `session.close` not answered by `session.closed`";
    ByeUnanswered = "D32", Ours, "a client's bye not answered by `session.closed`";
    ClosedUnasked = "§6.7", Draft, "a `session.closed` though the client did not close";
    NoFarewell = "A14", Ours, "the runtime ended the transport without a word";
}

/// The number and the description.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.description())
    }
}
