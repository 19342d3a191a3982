//! Job listing: the query and the page (§6.6).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::{JobId, TraceId};
use super::lease::Lease;
use super::session::null_as_default;
use crate::time::Timestamp;

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// How a job stands (§7.3). What the draft does not have is kept as it came.
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum JobStatus {
            $($(#[$doc])* $name,)*
            /// A status that the draft does not define.
            Other(Box<str>),
        }

        impl JobStatus {
            /// The status on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(JobStatus::$name => $text,)*
                    JobStatus::Other(status) => status,
                }
            }
        }

        impl From<&str> for JobStatus {
            fn from(status: &str) -> JobStatus {
                match status {
                    $($text => JobStatus::$name,)*
                    other => JobStatus::Other(other.into()),
                }
            }
        }
    };
}

statuses! {
    /// Accepted, not started.
    Pending = "pending";
    /// At work.
    Running = "running";
    /// Ended well.
    #[default] Success = "success";
    /// Ended with an error.
    Error = "error";
    /// Ended because someone cancelled it.
    Cancelled = "cancelled";
    /// Ended because it ran too long.
    TimedOut = "timed_out";
}

impl JobStatus {
    pub(super) fn error() -> JobStatus {
        JobStatus::Error
    }

    pub(super) fn or_error<'de, D: Deserializer<'de>>(deserializer: D) -> Result<JobStatus, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(JobStatus::Error))
    }

    /// A peer that does not say how a job stands has not said that it went well.
    pub(super) fn unsaid() -> JobStatus {
        JobStatus::Other("".into())
    }

    pub(super) fn or_unsaid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<JobStatus, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or_else(JobStatus::unsaid))
    }

    /// Whether the job has ended.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, JobStatus::Success | JobStatus::Error | JobStatus::Cancelled | JobStatus::TimedOut)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for JobStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for JobStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'_, str>::deserialize(deserializer).map(|status| JobStatus::from(&*status))
    }
}

/// Which jobs are wanted (A11); members that are absent or empty do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct JobFilter {
    /// Any of these statuses.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<JobStatus>,
    /// This agent: a name for every version of it, `name@version` for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Created later than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_after: Option<Timestamp>,
    /// Created earlier than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_before: Option<Timestamp>,
}

impl JobFilter {
    fn is_open(&self) -> bool {
        *self == JobFilter::default()
    }
}

/// `session.list_jobs` (§6.6): the filter and where to go on.
///
/// ```
/// use arcp_proto::wire::{JobQuery, JobStatus};
///
/// let query = JobQuery::default().with_status([JobStatus::Running]).with_limit(50);
/// assert_eq!(serde_json::to_string(&query)?, r#"{"filter":{"status":["running"]},"limit":50}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct JobQuery {
    /// Which jobs.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "JobFilter::is_open")]
    pub filter: JobFilter,
    /// How many at most; 0 is refused (D30).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The `next_cursor` of the page before; opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl JobQuery {
    /// Jobs a page has when the query sets no limit (D30).
    pub const DEFAULT_LIMIT: usize = 100;
    /// Jobs a page has at most (D30).
    pub const MAX_LIMIT: usize = 1_000;

    /// The same for these statuses.
    #[must_use]
    pub fn with_status(mut self, status: impl IntoIterator<Item = JobStatus>) -> JobQuery {
        self.filter.status = status.into_iter().collect();
        self
    }

    /// The same for one agent.
    #[must_use]
    pub fn with_agent(mut self, agent: impl Into<String>) -> JobQuery {
        self.filter.agent = Some(agent.into());
        self
    }

    /// The same for jobs created later than `at`.
    #[must_use]
    pub fn with_created_after(mut self, at: Timestamp) -> JobQuery {
        self.filter.created_after = Some(at);
        self
    }

    /// The same with at most `limit` jobs a page.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> JobQuery {
        self.limit = Some(limit);
        self
    }

    /// The same, going on behind a page.
    #[must_use]
    pub fn with_cursor(mut self, cursor: impl Into<String>) -> JobQuery {
        self.cursor = Some(cursor.into());
        self
    }

    /// How many jobs the page may hold: the query's limit or the default, never above
    /// [`MAX_LIMIT`](JobQuery::MAX_LIMIT), whatever the peer asked for (D30).
    #[must_use]
    pub fn page_len(&self) -> usize {
        let limit = self.limit.unwrap_or(JobQuery::DEFAULT_LIMIT as u64);
        usize::try_from(limit).unwrap_or(usize::MAX).min(JobQuery::MAX_LIMIT)
    }
}

/// A job in a page. Never credentials.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct JobEntry {
    /// The job.
    pub job_id: JobId,
    /// Its agent: `name@version`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub agent: String,
    /// How it stands.
    #[serde(default = "JobStatus::unsaid", deserialize_with = "JobStatus::or_unsaid")]
    pub status: JobStatus,
    /// The authority that it has.
    #[serde(default, deserialize_with = "null_as_default")]
    pub lease: Lease,
    /// The job that delegated it; sent as null where there is none (D2).
    #[serde(default)]
    pub parent_job_id: Option<JobId>,
    /// When it was accepted.
    #[serde(default, deserialize_with = "super::session::lenient_timestamp", skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// The trace that it runs under.
    #[serde(default, deserialize_with = "TraceId::lenient", skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// Its latest event, in the sequence of its own session (D31).
    #[serde(default, deserialize_with = "null_as_default")]
    pub last_event_seq: u64,
}

impl JobEntry {
    /// A job with an empty lease and no events yet.
    #[must_use]
    pub fn new(job_id: JobId, agent: impl Into<String>, status: JobStatus, created_at: Timestamp) -> JobEntry {
        JobEntry {
            job_id,
            agent: agent.into(),
            status,
            lease: Lease::default(),
            parent_job_id: None,
            created_at: Some(created_at),
            trace_id: None,
            last_event_seq: 0,
        }
    }
}

/// A page of jobs, newest first (A11).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobEntry>,
    /// What to ask for to go on; `None` on the last page.
    pub next_cursor: Option<String>,
}

/// `session.jobs` (§6.6).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Jobs {
    /// The message id of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The same as one peer writes it; sent only as a dialect (D40).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The jobs.
    #[serde(default, deserialize_with = "null_as_default")]
    pub jobs: Vec<JobEntry>,
    /// What to ask for to go on; sent as null on the last page (D2).
    #[serde(default)]
    pub next_cursor: Option<String>,
}
