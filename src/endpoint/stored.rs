//! What a store keeps of a session, so that another process can go on with it.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::idempotency::KeptKey;
use super::job_record::JobRecord;
use super::result_stream::ResultStream;
use crate::session::{FormatVersion, RuntimeSnapshot};
use crate::wire::{JobId, SessionId};

/// What a session is without its events and jobs: small, and rewritten as a whole.
///
/// It serialises into any self-describing format, as version 1; another version fails to deserialise.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SessionState {
    pub(super) version: FormatVersion,
    pub(super) session: RuntimeSnapshot,
    /// Jobs of others that it hears of.
    pub(super) subscriptions: Vec<JobId>,
    /// Its client has said goodbye (D32).
    pub(super) said_goodbye: bool,
}

impl SessionState {
    /// The session itself.
    #[must_use]
    pub fn session(&self) -> &RuntimeSnapshot {
        &self.session
    }

    /// The digests of the tokens that resume it: what a store has to find it by
    /// ([`ResumeWish::token_digest`](super::ResumeWish::token_digest)). Those of an older state of the session no longer do.
    pub fn token_digests(&self) -> impl Iterator<Item = [u8; 32]> + '_ {
        self.session.token_digests()
    }
}

/// A job of a session, with what makes its next event and a repetition of its submit right.
///
/// What it holds is secret where the job has credentials.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct JobState {
    /// What is known of it.
    pub record: JobRecord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<KeptKey>,
    #[serde(default)]
    pub(super) stream: ResultStream,
}

/// Names a [`Change`] to [`stored`](super::Endpoint::stored).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeId {
    pub(super) session: SessionId,
    pub(super) generation: u64,
    pub(super) ticket: u64,
}

/// What has to be written of a session: all of it, or nothing.
#[derive(Clone)]
pub struct Change {
    /// To be handed back once it is written.
    pub id: ChangeId,
    /// The session.
    pub session: SessionId,
    /// The generation that the store must have for this session. Where it has another, the session lives on another
    /// machine: write nothing, and call [`fenced`](super::Endpoint::fenced).
    pub generation: u64,
    /// The session is new: the store must have nothing of it. Where it has nothing though this is false, the session went on
    /// elsewhere and has ended there: write nothing, and call [`fenced`](super::Endpoint::fenced).
    pub is_new: bool,
    /// In place of the one before.
    pub state: Option<SessionState>,
    /// To be appended: in order, behind those before.
    pub events: Vec<(u64, Bytes)>,
    /// Events up to here are no longer needed.
    pub floor: u64,
    /// In place of those of the same id.
    pub jobs: Vec<JobState>,
    /// No longer known.
    pub forgotten_jobs: Vec<JobId>,
    /// The session has ended and cannot be resumed: nothing of it is needed any more, and nothing is in this.
    pub is_over: bool,
}

/// How many events, not what is in them: credentials are, at times.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("id", &self.id)
            .field("state", &self.state)
            .field("events", &self.events.len())
            .field("floor", &self.floor)
            .field("jobs", &self.jobs)
            .field("forgotten_jobs", &self.forgotten_jobs)
            .field("is_over", &self.is_over)
            .finish()
    }
}

/// A session as a store gives it to another machine.
#[derive(Clone)]
pub struct Adoption {
    /// One more than the store had: it must have been raised there, by a compare-and-set, before.
    pub generation: u64,
    /// The last state written.
    pub state: SessionState,
    /// All events that the store has, in order.
    pub events: Vec<(u64, Bytes)>,
    /// Its jobs.
    pub jobs: Vec<JobState>,
}

/// How many events, not what is in them: credentials are, at times.
impl fmt::Debug for Adoption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adoption")
            .field("generation", &self.generation)
            .field("state", &self.state)
            .field("events", &self.events.len())
            .field("jobs", &self.jobs)
            .finish()
    }
}
