//! A job as the directory keeps it.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::wire::{
    Budget, Credential, JobEntry, JobId, JobStatus, Lease, LeaseConstraints, Principal, SessionId, TraceId,
};

/// What is known of a job: enough to list it (§6.6), to describe it to a subscriber (§7.6), and to carry it to another
/// machine.
///
/// It serialises whole, credentials included: where it is stored, they are.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct JobRecord {
    /// The job.
    pub job_id: JobId,
    /// Who submitted it: the one who always sees it (A12).
    pub principal: Principal,
    /// The session that submitted it, the only one that may cancel it (D37); `None` once that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Its agent: `name@version`.
    pub agent: String,
    /// How it stands.
    pub status: JobStatus,
    /// The authority that it has.
    #[serde(default)]
    pub lease: Lease,
    /// Its bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_constraints: Option<LeaseConstraints>,
    /// What is left of the budgets now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Its credentials, for the submitting principal alone (§14); never in a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Vec<Credential>>,
    /// The job that delegated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_job_id: Option<JobId>,
    /// When it was accepted: its place in every listing (D30).
    pub created_at: Timestamp,
    /// The trace that it runs under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// Its latest event, in the sequence of its own session (D31); 0 before the first.
    #[serde(default)]
    pub last_event_seq: u64,
}

impl JobRecord {
    /// A pending job with an empty lease and no events yet.
    #[must_use]
    pub fn new(job_id: JobId, principal: Principal, agent: impl Into<String>, created_at: Timestamp) -> JobRecord {
        JobRecord {
            job_id,
            principal,
            session: None,
            agent: agent.into(),
            status: JobStatus::Pending,
            lease: Lease::default(),
            lease_constraints: None,
            budget: None,
            credentials: None,
            parent_job_id: None,
            created_at,
            trace_id: None,
            last_event_seq: 0,
        }
    }

    /// The job as a page shows it: without credentials (§14).
    #[must_use]
    pub fn entry(&self) -> JobEntry {
        JobEntry {
            job_id: self.job_id.clone(),
            agent: self.agent.clone(),
            status: self.status.clone(),
            lease: self.lease.clone(),
            parent_job_id: self.parent_job_id.clone(),
            created_at: Some(self.created_at),
            trace_id: self.trace_id,
            last_event_seq: self.last_event_seq,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::CredentialValue;
    use alloc::format;
    use alloc::vec;

    fn with_secret() -> JobRecord {
        let mut job =
            JobRecord::new("job_1".into(), "alice".into(), "code@2", Timestamp::from_unix_millis(1_778_701_333_007));
        job.credentials = Some(vec![Credential {
            id: "cred_1".into(),
            scheme: "bearer".into(),
            value: CredentialValue::from("sk-virt-1"),
            endpoint: None,
            profile: None,
            constraints: None,
        }]);
        job.session = Some("sess_1".into());
        job.lease = Lease::new([("fs.read", vec!["/**".into()])]);
        job
    }

    #[test]
    fn d30_neither_an_entry_nor_a_print_shows_credentials() {
        let job = with_secret();
        let entry = serde_json::to_string(&job.entry()).unwrap();
        assert!(!entry.contains("cred") && !entry.contains("sk-virt-1"), "{entry}");
        let printed = format!("{job:?}");
        assert!(!printed.contains("sk-virt-1"), "{printed}");
    }

    #[test]
    fn a_record_moves_between_machines_whole() {
        let job = with_secret();
        let moved: JobRecord = serde_json::from_str(&serde_json::to_string(&job).unwrap()).unwrap();
        assert_eq!(moved, job);
        let bare = JobRecord::new("j".into(), "p".into(), "a@1", Timestamp::EPOCH);
        let text = serde_json::to_string(&bare).unwrap();
        assert_eq!(serde_json::from_str::<JobRecord>(&text).unwrap(), bare);
    }
}
