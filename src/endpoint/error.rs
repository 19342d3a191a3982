//! Why an endpoint did not do what it was told.

use super::limit::Limit;
use super::result_stream::StreamError;
use crate::session::{AnswerError, RefusedBecause, SendError};
use crate::wire::{MAX_ID_LEN, SessionId};

/// Why a client was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// Nobody waits on that transport: it is gone, or was answered. An ordinary outcome of answering late; there is nothing
    /// to do.
    #[error("nobody waits on that transport: it is gone, or was answered")]
    NobodyWaits,
    /// The grant's session id is taken: ids are minted once. Nobody was answered: grant another.
    #[error("the session id {0} is taken: grant another")]
    SessionIdTaken(SessionId),
    /// The grant's resume token is taken: tokens are minted once. Nobody was answered: grant another.
    #[error("the resume token is taken: grant another")]
    TokenTaken,
    /// No client could take the grant. Nobody was answered: grant another.
    #[error("no client could take the grant: {0}")]
    BadGrant(&'static str),
    /// The session could not be resumed. The client was told, and its transport will be closed (D14).
    /// [`Busy`](RefusedBecause::Busy) is our own fault: too many of its events wait to be polled.
    #[error("the session cannot be resumed: {0}")]
    ResumeRefused(RefusedBecause),
    /// There is no place for another session. The client was told, and its transport will be closed.
    #[error("there is no place: {0}")]
    NoPlace(Limit),
}

/// Why a job was not taken. It is not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The answer could not be given.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The directory does not take the job. The submit is still open: refuse it, or accept it under another id.
    #[error("{0}: the submit is still open")]
    Directory(#[from] InsertError),
}

/// Why nothing was published. Nobody heard of anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no such job, or it was forgotten meanwhile.
    #[error("there is no such job")]
    UnknownJob,
    /// The job has ended: nothing follows its end.
    #[error("the job has ended")]
    Ended,
    /// The submitter's session refused it. [`SendError::Blocked`]: wait for [`Writable`](super::EndpointEvent::Writable),
    /// then publish again.
    #[error(transparent)]
    Send(#[from] SendError),
    /// It does not fit the job's streamed result (D42).
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// Why a job was not taken in. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// Its id is empty, or longer than [`MAX_ID_LEN`]: no message could name it.
    #[error("the job's id is empty or longer than {MAX_ID_LEN} bytes")]
    BadId,
    /// There is a job of this id.
    #[error("there is a job of this id")]
    DuplicateId,
    /// Its status is none of the draft's.
    #[error("the job's status is not one of the protocol's")]
    ForeignStatus,
    /// It fits into no page, mostly for its lease.
    #[error("the job's entry is longer than a page may be")]
    TooLarge,
    /// There are as many jobs as there may be, and all of them are alive.
    #[error("the directory is full of live jobs")]
    Full,
}

/// Why a lease was not changed. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetLeaseError {
    /// There is no such job.
    #[error("there is no such job")]
    NoSuchJob,
    /// With it, the job would fit into no page.
    #[error("the job's entry is longer than a page may be")]
    TooLarge,
}
