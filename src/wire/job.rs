//! Payloads of `job.*` (§7, §8.4).

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::code::{ErrorCode, WireError};
use super::id::{JobId, ResultId, TraceId};
use super::lease::{Budget, Credential, Lease, LeaseConstraints};
use super::listing::JobStatus;
use super::raw::RawJson;
use super::session::{lenient_timestamp, null_as_default};
use crate::feature::{Feature, FeatureSet};
use crate::time::Timestamp;

/// `job.submit` (§7.1).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct JobSubmit {
    /// The agent: `name`, or `name@version` where `agent_versions` was agreed on (§7.5).
    pub agent: String,
    /// What the agent is to work on: any JSON; always sent.
    #[serde(default = "RawJson::null")]
    pub input: RawJson,
    /// The authority that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_request: Option<Lease>,
    /// Its bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_constraints: Option<LeaseConstraints>,
    /// Makes a repetition of the same submit harmless (§7.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// After how many seconds the job ends with TIMEOUT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_runtime_sec: Option<u64>,
}

impl JobSubmit {
    /// A submit without lease, key or time limit.
    #[must_use]
    pub fn new(agent: impl Into<String>, input: RawJson) -> JobSubmit {
        JobSubmit {
            agent: agent.into(),
            input,
            lease_request: None,
            lease_constraints: None,
            idempotency_key: None,
            max_runtime_sec: None,
        }
    }

    /// The same with an idempotency key.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: impl Into<String>) -> JobSubmit {
        self.idempotency_key = Some(key.into());
        self
    }
}

impl JobSubmit {
    /// The features without which this may not be sent (§7.5, §9.5-§9.7).
    pub(crate) fn features(&self) -> impl Iterator<Item = Feature> {
        let version = self.agent.contains('@').then_some(Feature::AgentVersions);
        let expiry = self.lease_constraints.and_then(|constraints| constraints.feature());
        let lease = self.lease_request.iter().flat_map(Lease::features);
        version.into_iter().chain(expiry).chain(lease)
    }
}

/// `job.accepted` (§7.1).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct JobAccepted {
    /// The message id of the submit that it answers (D12); set by the session when it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The same as one peer writes it; sent only as a dialect (D40).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The new job; empty if the peer names it in the envelope alone (D34), which is then the place to look.
    #[serde(default = "JobId::absent", deserialize_with = "JobId::or_absent")]
    pub job_id: JobId,
    /// The agent as resolved: `name@version`; empty if the peer left it out.
    #[serde(default, deserialize_with = "null_as_default")]
    pub agent: String,
    /// The authority that the job has.
    #[serde(default, deserialize_with = "null_as_default")]
    pub lease: Lease,
    /// Its bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_constraints: Option<LeaseConstraints>,
    /// The budgets at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Credentials for the job; secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Vec<Credential>>,
    /// When it was taken; always there in ours.
    #[serde(default, deserialize_with = "lenient_timestamp", skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
    /// The trace that the job runs under.
    #[serde(default, deserialize_with = "TraceId::lenient", skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// Of a delegated job, its parent: such a message answers no submit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_job_id: Option<JobId>,
    /// The same, by the delegation's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegate_id: Option<String>,
}

impl JobAccepted {
    /// An accepted job with an empty lease.
    #[must_use]
    pub fn new(job_id: JobId, agent: impl Into<String>, accepted_at: Timestamp) -> JobAccepted {
        JobAccepted {
            request_id: None,
            reply_to: None,
            job_id,
            agent: agent.into(),
            lease: Lease::default(),
            lease_constraints: None,
            budget: None,
            credentials: None,
            accepted_at: Some(accepted_at),
            trace_id: None,
            parent_job_id: None,
            delegate_id: None,
        }
    }
}

impl JobAccepted {
    /// As much of it as may be sent under these features.
    pub(crate) fn within(mut self, features: &FeatureSet) -> JobAccepted {
        self.lease = self.lease.within(features);
        withhold(features, &mut self.lease_constraints, &mut self.budget, &mut self.credentials);
        self
    }

    /// The features without which this may not be sent (§9.5-§9.8).
    pub(crate) fn features(&self) -> impl Iterator<Item = Feature> {
        authority_features(&self.lease, self.lease_constraints, self.budget.is_some(), self.credentials.is_some())
    }

    /// What it takes of the heap, at least, apart from its texts.
    pub(crate) fn heap_cost(&self) -> usize {
        heap_cost(&self.budget, &self.credentials)
    }
}

/// What these take of the heap, at least: small members take more than their text.
fn heap_cost(budget: &Option<Budget>, credentials: &Option<Vec<Credential>>) -> usize {
    // A map that grew in order is half full.
    let member = 2 * size_of::<(String, serde_json::Number)>();
    let budget = budget.as_ref().map_or(0, |budget| budget.len().saturating_mul(member));
    let credentials = credentials.as_ref().map_or(0, |list| list.len().saturating_mul(size_of::<Credential>()));
    budget.saturating_add(credentials)
}

/// Takes out what may not be sent under these features.
fn withhold(
    features: &FeatureSet,
    constraints: &mut Option<LeaseConstraints>,
    budget: &mut Option<Budget>,
    credentials: &mut Option<Vec<Credential>>,
) {
    constraints.take_if(|_| !features.contains(Feature::LeaseExpiresAt));
    budget.take_if(|_| !features.contains(Feature::CostBudget));
    credentials.take_if(|_| !features.contains(Feature::ProvisionedCredentials));
}

fn authority_features(
    lease: &Lease,
    constraints: Option<LeaseConstraints>,
    has_budget: bool,
    has_credentials: bool,
) -> impl Iterator<Item = Feature> {
    let expiry = constraints.and_then(|constraints| constraints.feature());
    let budget = has_budget.then_some(Feature::CostBudget);
    let credentials = has_credentials.then_some(Feature::ProvisionedCredentials);
    lease.features().chain(expiry).chain(budget).chain(credentials)
}

/// `job.result` (§8.4): the job ended well.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(from = "JobResultMembers")]
pub struct JobResult {
    /// `success`, unless the peer says otherwise.
    pub final_status: JobStatus,
    /// The result, inline; one peer calls it `output` (D35). Null is not sent: it reads as absent (D2).
    #[serde(skip_serializing_if = "RawJson::is_nothing")]
    pub result: Option<RawJson>,
    /// The streamed result, in place of an inline one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_id: Option<ResultId>,
    /// The streamed result's length in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_size: Option<u64>,
    /// For a human.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// Both names of the result in one payload are no error, as two for one member would be.
#[derive(Deserialize)]
struct JobResultMembers {
    #[serde(default, deserialize_with = "null_as_default")]
    final_status: JobStatus,
    result: Option<RawJson>,
    output: Option<RawJson>,
    result_id: Option<ResultId>,
    result_size: Option<u64>,
    summary: Option<String>,
}

impl From<JobResultMembers> for JobResult {
    fn from(members: JobResultMembers) -> JobResult {
        let JobResultMembers { final_status, result, output, result_id, result_size, summary } = members;
        JobResult { final_status, result: result.or(output), result_id, result_size, summary }
    }
}

impl JobResult {
    /// Success with an inline result.
    #[must_use]
    pub fn inline(result: RawJson) -> JobResult {
        JobResult {
            final_status: JobStatus::Success,
            result: Some(result),
            result_id: None,
            result_size: None,
            summary: None,
        }
    }

    /// Success, the result having been streamed.
    #[must_use]
    pub fn streamed(result_id: ResultId, result_size: u64) -> JobResult {
        JobResult {
            final_status: JobStatus::Success,
            result: None,
            result_id: Some(result_id),
            result_size: Some(result_size),
            summary: None,
        }
    }
}

/// `job.error` (§7.3): the job ended otherwise. Some peers refuse requests with it too (D12).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct JobError {
    /// How the job stands now: `error`, `cancelled` or `timed_out`.
    #[serde(default = "JobStatus::error", deserialize_with = "JobStatus::or_error")]
    pub final_status: JobStatus,
    /// Why.
    pub code: ErrorCode,
    /// For a human.
    #[serde(default, deserialize_with = "null_as_default")]
    pub message: String,
    /// Whether a new submit can help; absent means what the code says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// Anything more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<RawJson>,
    /// The refused request, where a peer refuses one this way; never sent.
    #[serde(default, skip_serializing)]
    pub request_id: Option<String>,
    /// The same, by another name; never sent.
    #[serde(default, skip_serializing)]
    pub reply_to: Option<String>,
    /// The same, by yet another; never sent.
    #[serde(default, skip_serializing)]
    pub correlation_id: Option<String>,
}

impl JobError {
    /// The end of a job by `error`; its status follows from the code (§7.3).
    #[must_use]
    pub fn new(error: WireError) -> JobError {
        let final_status = match error.code {
            ErrorCode::Cancelled => JobStatus::Cancelled,
            ErrorCode::Timeout => JobStatus::TimedOut,
            _ => JobStatus::Error,
        };
        JobError {
            final_status,
            code: error.code,
            message: error.message,
            retryable: Some(error.retryable),
            details: error.details,
            request_id: None,
            reply_to: None,
            correlation_id: None,
        }
    }
}

impl From<JobError> for WireError {
    fn from(error: JobError) -> WireError {
        WireError::received(error.code, error.message, error.retryable, error.details)
    }
}

/// `job.cancel` (§7.4).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct JobCancel {
    /// The job; some peers have it in the envelope alone (D34).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// Why, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `job.cancelled` (§7.4). The job's `job.error` with CANCELLED follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct JobCancelled {
    /// The message id of the cancel that it answers (D12); set by the session when it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The same as one peer writes it; sent only as a dialect (D40).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The job; some peers have it in the envelope alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The cancel's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `job.subscribe` (§7.6).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct JobSubscribe {
    /// The job; some peers have it in the envelope alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// With `history`: replay what came after this, in the sequence of the job's own session (D31).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_event_seq: Option<u64>,
    /// Whether what is still buffered is wanted first; absent is no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<bool>,
}

/// `job.subscribed` (§7.6): what the subscriber may know of the job.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct JobSubscribed {
    /// The message id of the subscribe that it answers (D12); set by the session when it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The same as one peer writes it; sent only as a dialect (D40).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The job; empty if the peer names it in the envelope alone (D34), which is then the place to look.
    #[serde(default = "JobId::absent", deserialize_with = "JobId::or_absent")]
    pub job_id: JobId,
    /// How it stands.
    #[serde(default = "JobStatus::unsaid", deserialize_with = "JobStatus::or_unsaid")]
    pub current_status: JobStatus,
    /// The agent: `name@version`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub agent: String,
    /// The authority that the job has.
    #[serde(default, deserialize_with = "null_as_default")]
    pub lease: Lease,
    /// Its bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_constraints: Option<LeaseConstraints>,
    /// What is left of the budgets now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// The job that delegated this one; sent as null where there is none (D2).
    #[serde(default)]
    pub parent_job_id: Option<JobId>,
    /// The trace that the job runs under.
    #[serde(default, deserialize_with = "TraceId::lenient", skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// Events after this one will come, in the sequence of the job's own session (D31).
    #[serde(default, deserialize_with = "null_as_default")]
    pub subscribed_from: u64,
    /// Whether history is replayed.
    #[serde(default, deserialize_with = "null_as_default")]
    pub replayed: bool,
    /// Credentials; only towards the submitter's principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Vec<Credential>>,
}

impl JobSubscribed {
    /// A running job with an empty lease, followed live.
    #[must_use]
    pub fn new(job_id: JobId, agent: impl Into<String>, current_status: JobStatus) -> JobSubscribed {
        JobSubscribed {
            request_id: None,
            reply_to: None,
            job_id,
            current_status,
            agent: agent.into(),
            lease: Lease::default(),
            lease_constraints: None,
            budget: None,
            parent_job_id: None,
            trace_id: None,
            subscribed_from: 0,
            replayed: false,
            credentials: None,
        }
    }
}

impl JobSubscribed {
    /// As much of it as may be sent under these features.
    pub(crate) fn within(mut self, features: &FeatureSet) -> JobSubscribed {
        self.lease = self.lease.within(features);
        withhold(features, &mut self.lease_constraints, &mut self.budget, &mut self.credentials);
        self
    }

    /// The features without which this may not be sent (§9.5-§9.8).
    pub(crate) fn features(&self) -> impl Iterator<Item = Feature> {
        authority_features(&self.lease, self.lease_constraints, self.budget.is_some(), self.credentials.is_some())
    }

    /// What it takes of the heap, at least, apart from its texts.
    pub(crate) fn heap_cost(&self) -> usize {
        heap_cost(&self.budget, &self.credentials)
    }
}

/// `job.unsubscribe` (§7.6).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct JobUnsubscribe {
    /// The job; some peers have it in the envelope alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
}
