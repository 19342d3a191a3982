//! Error codes, and the error object that carries them (§12).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::raw::RawJson;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $retryable:literal;)*) => {
        /// An error code (§12). Codes that are not in the draft are kept as they came.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code that the draft does not define.
            Other(Box<str>),
        }

        impl ErrorCode {
            /// The 15 codes of §12.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name),*];

            /// The code on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(ErrorCode::$name => $text,)*
                    ErrorCode::Other(code) => code,
                }
            }

            /// Whether trying again can help, as we send it; fixed by the code (D11). `None` for codes outside the draft.
            #[must_use]
            pub fn retryable(&self) -> Option<bool> {
                match self {
                    $(ErrorCode::$name => Some($retryable),)*
                    ErrorCode::Other(_) => None,
                }
            }
        }

        impl From<&str> for ErrorCode {
            fn from(code: &str) -> ErrorCode {
                match code {
                    $($text => ErrorCode::$name,)*
                    other => ErrorCode::Other(other.into()),
                }
            }
        }
    };
}

codes! {
    /// The principal may not do this.
    PermissionDenied = "PERMISSION_DENIED", false;
    /// A delegation asks for more than the parent's lease grants.
    LeaseSubsetViolation = "LEASE_SUBSET_VIOLATION", false;
    /// No such job, or none that the principal may know of.
    JobNotFound = "JOB_NOT_FOUND", false;
    /// The idempotency key was used with other parameters.
    DuplicateKey = "DUPLICATE_KEY", false;
    /// No such agent.
    AgentNotAvailable = "AGENT_NOT_AVAILABLE", false;
    /// The agent is there, the version is not.
    AgentVersionNotAvailable = "AGENT_VERSION_NOT_AVAILABLE", false;
    /// The job was cancelled.
    Cancelled = "CANCELLED", false;
    /// The job ran longer than `max_runtime_sec`.
    Timeout = "TIMEOUT", true;
    /// The session can no longer be resumed from there.
    ResumeWindowExpired = "RESUME_WINDOW_EXPIRED", false;
    /// The peer was silent for two heartbeat intervals.
    HeartbeatLost = "HEARTBEAT_LOST", true;
    /// The lease ran out while the job ran.
    LeaseExpired = "LEASE_EXPIRED", false;
    /// A budget of the lease is used up.
    BudgetExhausted = "BUDGET_EXHAUSTED", false;
    /// The envelope or its payload is not as the protocol has it.
    InvalidRequest = "INVALID_REQUEST", false;
    /// Credentials are missing or wrong.
    Unauthenticated = "UNAUTHENTICATED", false;
    /// The runtime failed.
    InternalError = "INTERNAL_ERROR", true;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'_, str>::deserialize(deserializer).map(|code| ErrorCode::from(&*code))
    }
}

/// Why the other side refused something: the code, a message for a human, and what else it said (§12).
///
/// ```
/// use arcp_proto::wire::{ErrorCode, WireError};
///
/// let error = WireError::new(ErrorCode::AgentNotAvailable, "no agent `fixer` here");
/// assert!(!error.retryable);
/// assert_eq!(error.to_string(), "AGENT_NOT_AVAILABLE: no agent `fixer` here");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct WireError {
    /// The code.
    pub code: ErrorCode,
    /// For a human; never empty when we send it.
    pub message: String,
    /// Whether trying again can help.
    pub retryable: bool,
    /// Anything more, a JSON object.
    pub details: Option<RawJson>,
}

impl WireError {
    /// An error with the `retryable` that belongs to the code. An empty message becomes the code's name.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> WireError {
        let mut message = message.into();
        if message.is_empty() {
            message = code.as_str().into();
        }
        WireError { retryable: code.retryable().unwrap_or(false), code, message, details: None }
    }

    /// As it came: where the peer did not say whether trying again can help, the code does (D11).
    pub(crate) fn received(
        code: ErrorCode,
        message: String,
        retryable: Option<bool>,
        details: Option<RawJson>,
    ) -> WireError {
        let retryable = retryable.or_else(|| code.retryable()).unwrap_or(false);
        WireError { code, message, retryable, details }
    }

    /// The same with `details`, a JSON object.
    #[must_use]
    pub fn with_details(mut self, details: RawJson) -> WireError {
        self.details = Some(details);
        self
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl core::error::Error for WireError {}
