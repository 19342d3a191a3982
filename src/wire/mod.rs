//! One message: bytes ⇄ envelope, payload types, ids, codes. No state, and no time passing.
//!
//! [`Envelope::decode`] reads a frame, [`encode`] writes one. The payload types say in their docs which section
//! of the [draft] they come from; `A…` and `D…` are this project's numbered requirements and decisions, listed in
//! the repository's `docs/decisions.md`.
//!
//! [draft]: https://github.com/agentruntimecontrolprotocol/spec

mod code;
mod encode;
mod envelope;
mod event_head;
mod frame_fault;
mod id;
mod job;
pub mod job_event;
mod json;
mod lease;
mod listing;
mod message;
mod raw;
mod scan;
mod secret;
mod session;

pub use code::{ErrorCode, WireError};
pub(crate) use encode::breaks_lines;
pub use encode::{Header, encode};
pub(crate) use encode::{Payload, write_around, write_frame};
pub use envelope::{Envelope, PayloadError};
pub(crate) use event_head::{EventHead, EventMark, EventPayload, end_payload, payload_around, write_body};
pub use frame_fault::{FrameFault, HeaderField, MalformedFrame};
pub use id::{JobId, Principal, ResultId, SessionId, TraceId};
pub use job::{
    JobAccepted, JobCancel, JobCancelled, JobError, JobResult, JobSubmit, JobSubscribe, JobSubscribed, JobUnsubscribe,
};
pub use job_event::JobEvent;
pub(crate) use json::Notes;
pub use lease::{Budget, Credential, Lease, LeaseConstraints};
pub use listing::{JobEntry, JobFilter, JobPage, JobQuery, JobStatus, Jobs};
pub use message::{MessageType, Sender};
pub use raw::RawJson;
pub use scan::{MAX_DEPTH, MAX_ID_LEN, SEQ_LIMIT};
pub use secret::{BearerToken, CredentialValue, ResumeToken};
pub use session::{
    Ack, AgentInfo, Bye, ClientCapabilities, Credentials, Hello, PeerInfo, Ping, Pong, Resume, ResumeClaim,
    RuntimeCapabilities, Seconds, SessionError, Welcome,
};
