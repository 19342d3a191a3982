//! The session layer of ARCP v1.1 as a sans-IO state machine.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
mod feature;
mod session;
mod time;
pub mod wire;

pub use error::{
    AckError, AnswerError, CloseReason, ConnectFailure, DetachReason, ProtocolError, ResumeError, ResumeRefusal,
    SendError, Violation,
};
pub use feature::{Feature, FeatureSet};
pub use session::{
    AckPolicy, Client, ClientConfig, ClientEvent, Delivery, Dialect, Farewell, GapPolicy, Grant, Hello, Interest,
    Limits, Opening, Overflow, Phase, Refusal, RefusedBecause, RequestFailure, RequestId, ResumeAttempt, ResumeRefused,
    Role, Runtime, RuntimeConfig, RuntimeEvent, SendCredit, Session, SessionInfo, Takeover, Timer,
};
pub use time::{Instant, Now, Timestamp, TimestampError};
