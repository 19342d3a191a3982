//! Messages out of bytes: every member of every payload there or not, texts of any characters, any JSON where any may be.

use std::borrow::Cow;

use arbitrary::{Result, Unstructured};
use arcp_proto::wire::{
    AgentInfo, Budget, ClientCapabilities, Credential, Credentials, ErrorCode, Hello, JobAccepted, JobEntry, JobError,
    JobFilter, JobId, JobQuery, JobResult, JobStatus, JobSubmit, JobSubscribed, Lease, LeaseConstraints, PeerInfo,
    RawJson, ResultId, ResumeClaim, RuntimeCapabilities, Seconds, SessionError, SessionId, TraceId, Welcome,
};
use arcp_proto::{Feature, FeatureSet, Timestamp};
use serde_json::{Number, Value};

/// Where the next message comes from.
pub(crate) struct Source<'a> {
    pub(crate) bytes: Unstructured<'a>,
    /// JSON of others is on one line already, and is written as it is.
    pub(crate) is_plain: bool,
}

/// Member for member: what makes one is a method here.
impl Source<'_> {
    pub(crate) fn number(&mut self, most: u64) -> Result<u64> {
        // Both ends are met more often than chance would.
        let number: u64 = self.bytes.arbitrary()?;
        Ok(match number % 4 {
            0 => most - number / 4 % 3,
            1 => number / 4 % 3,
            _ => number % most,
        })
    }

    pub(crate) fn flag(&mut self) -> Result<bool> {
        self.bytes.arbitrary()
    }

    pub(crate) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.flag()? { make(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn some<T>(&mut self, make: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        (0..self.bytes.int_in_range(0..=3)?).map(|_| make(self)).collect()
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        let special =
            ["\u{2028}", "\u{2029}", "\n", "\r", "\u{0}", "\u{7f}", "\"", "\\", "/", "\u{1f600}", "\u{feff}", "é"];
        match self.bytes.int_in_range(0..=3)? {
            0 => Ok((*self.bytes.choose(&special)?).to_owned()),
            1 => Ok(format!("{}{}", self.bytes.choose(&special)?, self.bytes.arbitrary::<&str>()?)),
            _ => self.bytes.arbitrary(),
        }
    }

    /// Of 1 to 256 bytes.
    pub(crate) fn id(&mut self) -> Result<String> {
        let mut id = self.text()?;
        id.truncate(id.floor_char_boundary(256));
        Ok(if id.is_empty() { "i".to_owned() } else { id })
    }

    pub(crate) fn job(&mut self) -> Result<JobId> {
        Ok(JobId::from(self.id()?))
    }

    pub(crate) fn trace(&mut self) -> Result<TraceId> {
        Ok(TraceId::from_bits(self.bytes.arbitrary::<u128>()?.max(1)))
    }

    /// Within the years that can be written.
    pub(crate) fn time(&mut self) -> Result<Timestamp> {
        Ok(Timestamp::from_unix_millis(self.bytes.int_in_range(-62_135_596_800_000..=253_402_300_799_999)?))
    }

    fn decimal(&mut self) -> Result<f64> {
        Ok(f64::from(self.bytes.arbitrary::<i32>()?) / 8.0)
    }

    pub(crate) fn json_number(&mut self) -> Result<Number> {
        Ok(match self.bytes.int_in_range(0..=2)? {
            0 => Number::from(self.bytes.arbitrary::<u64>()?),
            1 => Number::from(self.bytes.arbitrary::<i64>()?),
            _ => Number::from_f64(self.decimal()?).unwrap_or_else(|| Number::from(0)),
        })
    }

    fn value(&mut self, depth: u32) -> Result<Value> {
        Ok(match self.bytes.int_in_range(0..=if depth == 0 { 4 } else { 6 })? {
            0 => Value::Null,
            1 => Value::Bool(self.flag()?),
            2 => Value::Number(self.json_number()?),
            3 | 4 if self.is_plain => Value::String(self.text()?.replace(['\u{2028}', '\u{2029}'], "")),
            3 | 4 => Value::String(self.text()?),
            5 => Value::Array(self.some(|source| source.value(depth - 1))?),
            _ => return self.object(depth - 1),
        })
    }

    fn object(&mut self, depth: u32) -> Result<Value> {
        let members = self.some(|source| Ok((source.bytes.arbitrary::<String>()?, source.value(depth)?)))?;
        let members = members.into_iter().map(|(name, value)| (name.replace(['\u{2028}', '\u{2029}'], "-"), value));
        Ok(Value::Object(members.collect()))
    }

    fn written(&mut self, value: &Value) -> Result<RawJson> {
        let is_pretty = !self.is_plain && self.flag()?;
        let text = if is_pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        let text = text.expect("a value can be written");
        let text = if is_pretty && self.flag()? { text.replace('\n', "\r\n\t") } else { text };
        Ok(RawJson::from_text(&text).expect("what was written is JSON"))
    }

    pub(crate) fn raw(&mut self) -> Result<RawJson> {
        let value = self.value(3)?;
        self.written(&value)
    }

    /// Null would read as absent (D2).
    fn raw_there(&mut self) -> Result<RawJson> {
        let value = self.value(3)?;
        self.written(if value.is_null() { &Value::Bool(true) } else { &value })
    }

    pub(crate) fn raw_object(&mut self) -> Result<RawJson> {
        let value = self.object(2)?;
        self.written(&value)
    }

    pub(crate) fn features(&mut self) -> Result<FeatureSet> {
        let mut set = FeatureSet::none();
        for feature in Feature::ALL {
            if self.flag()? {
                set = set.with(*feature);
            }
        }
        Ok(set)
    }

    fn peer(&mut self) -> Result<PeerInfo> {
        Ok(PeerInfo::new(self.text()?, self.text()?))
    }

    fn credentials(&mut self) -> Result<Credentials> {
        Ok(Credentials { scheme: self.text()?, token: self.maybe(|source| Ok(source.text()?.into()))? })
    }

    fn capabilities(&mut self) -> Result<ClientCapabilities> {
        Ok(ClientCapabilities { encodings: self.some(Source::text)?, features: self.features()? })
    }

    pub(crate) fn code(&mut self) -> Result<ErrorCode> {
        let known = self.bytes.choose(ErrorCode::ALL)?.clone();
        Ok(if self.flag()? { known } else { ErrorCode::from(self.text()?.as_str()) })
    }

    pub(crate) fn status(&mut self) -> Result<JobStatus> {
        let known = ["pending", "running", "success", "error", "cancelled", "timed_out"];
        let known = JobStatus::from(*self.bytes.choose(&known)?);
        Ok(if self.flag()? { known } else { JobStatus::from(self.text()?.as_str()) })
    }

    fn lease(&mut self) -> Result<Lease> {
        Ok(Lease::from_raw(self.raw_object()?))
    }

    fn constraints(&mut self) -> Result<LeaseConstraints> {
        Ok(LeaseConstraints { expires_at: self.maybe(Source::time)? })
    }

    fn budget(&mut self) -> Result<Budget> {
        let budgets = self.some(|source| Ok((source.text()?, source.json_number()?)))?;
        Ok(budgets.into_iter().collect())
    }

    fn credential(&mut self) -> Result<Credential> {
        Ok(Credential {
            id: self.text()?,
            scheme: self.text()?,
            value: self.text()?.into(),
            endpoint: self.maybe(Source::text)?,
            profile: self.maybe(Source::text)?,
            constraints: self.maybe(Source::raw_there)?,
        })
    }

    fn seconds(&mut self) -> Result<Seconds> {
        Ok(Seconds(self.decimal()?))
    }

    pub(crate) fn cow(&mut self) -> Result<Option<Cow<'static, str>>> {
        self.maybe(|source| source.text().map(Cow::Owned))
    }
}

/// The payloads that have more than a member or two.
impl Source<'_> {
    pub(crate) fn hello(&mut self) -> Result<Hello> {
        Ok(Hello {
            client: self.maybe(Source::peer)?,
            auth: self.maybe(Source::credentials)?,
            capabilities: self.maybe(Source::capabilities)?,
            resume: self.maybe(|source| {
                Ok(ResumeClaim {
                    session_id: source.maybe(|source| source.id().map(SessionId::from))?,
                    resume_token: source.maybe(|source| Ok(source.text()?.into()))?,
                    token: None,
                    last_event_seq: source.maybe(|source| source.number(u64::MAX))?,
                })
            })?,
            resume_token: self.maybe(|source| Ok(source.text()?.into()))?,
            last_event_seq: self.maybe(|source| source.number(u64::MAX))?,
            client_name: self.maybe(Source::text)?,
            client_version: self.maybe(Source::text)?,
        })
    }

    pub(crate) fn welcome(&mut self) -> Result<Welcome> {
        Ok(Welcome {
            runtime: self.peer()?,
            resume_token: self.maybe(|source| Ok(source.text()?.into()))?,
            resume_window_sec: self.maybe(Source::seconds)?,
            heartbeat_interval_sec: self.maybe(Source::seconds)?,
            capabilities: RuntimeCapabilities {
                encodings: self.some(Source::text)?,
                features: self.features()?,
                agents: self.some(|source| {
                    let versions = source.some(Source::text)?;
                    Ok(AgentInfo { name: source.text()?, versions, default: source.maybe(Source::text)? })
                })?,
            },
        })
    }

    pub(crate) fn error(&mut self) -> Result<SessionError> {
        Ok(SessionError {
            code: self.code()?,
            message: self.text()?,
            retryable: self.maybe(Source::flag)?,
            details: self.maybe(Source::raw_there)?,
            request_id: self.maybe(Source::text)?,
            reply_to: self.maybe(Source::text)?,
            // Read, never sent.
            correlation_id: None,
            job_id: self.maybe(Source::job)?,
        })
    }

    pub(crate) fn query(&mut self) -> Result<JobQuery> {
        let filter = JobFilter {
            status: self.some(Source::status)?,
            agent: self.maybe(Source::text)?,
            created_after: self.maybe(Source::time)?,
            created_before: self.maybe(Source::time)?,
        };
        Ok(JobQuery { filter, limit: self.maybe(|source| source.number(u64::MAX))?, cursor: self.maybe(Source::text)? })
    }

    pub(crate) fn entry(&mut self) -> Result<JobEntry> {
        Ok(JobEntry {
            job_id: self.job()?,
            agent: self.text()?,
            status: self.status()?,
            lease: self.lease()?,
            parent_job_id: self.maybe(Source::job)?,
            created_at: self.maybe(Source::time)?,
            trace_id: self.maybe(Source::trace)?,
            last_event_seq: self.number(u64::MAX)?,
        })
    }

    pub(crate) fn submit(&mut self) -> Result<JobSubmit> {
        Ok(JobSubmit {
            agent: self.text()?,
            input: self.raw()?,
            lease_request: self.maybe(Source::lease)?,
            lease_constraints: self.maybe(Source::constraints)?,
            idempotency_key: self.maybe(Source::text)?,
            max_runtime_sec: self.maybe(|source| source.number(u64::MAX))?,
        })
    }

    pub(crate) fn accepted(&mut self, job_id: JobId) -> Result<JobAccepted> {
        Ok(JobAccepted {
            request_id: self.maybe(Source::text)?,
            reply_to: self.maybe(Source::text)?,
            job_id,
            agent: self.text()?,
            lease: self.lease()?,
            lease_constraints: self.maybe(Source::constraints)?,
            budget: self.maybe(Source::budget)?,
            credentials: self.maybe(|source| source.some(Source::credential))?,
            accepted_at: self.maybe(Source::time)?,
            trace_id: self.maybe(Source::trace)?,
            parent_job_id: self.maybe(Source::job)?,
            delegate_id: self.maybe(Source::text)?,
        })
    }

    pub(crate) fn subscribed(&mut self, job_id: JobId) -> Result<JobSubscribed> {
        Ok(JobSubscribed {
            request_id: self.maybe(Source::text)?,
            reply_to: self.maybe(Source::text)?,
            job_id,
            current_status: self.status()?,
            agent: self.text()?,
            lease: self.lease()?,
            lease_constraints: self.maybe(Source::constraints)?,
            budget: self.maybe(Source::budget)?,
            parent_job_id: self.maybe(Source::job)?,
            trace_id: self.maybe(Source::trace)?,
            subscribed_from: self.number(u64::MAX)?,
            replayed: self.flag()?,
            credentials: self.maybe(|source| source.some(Source::credential))?,
        })
    }

    pub(crate) fn result(&mut self) -> Result<JobResult> {
        Ok(JobResult {
            final_status: self.status()?,
            result: self.maybe(Source::raw_there)?,
            result_id: self.maybe(|source| source.text().map(ResultId::from))?,
            result_size: self.maybe(|source| source.number(u64::MAX))?,
            summary: self.maybe(Source::text)?,
        })
    }

    pub(crate) fn job_error(&mut self) -> Result<JobError> {
        Ok(JobError {
            final_status: self.status()?,
            code: self.code()?,
            message: self.text()?,
            retryable: self.maybe(Source::flag)?,
            details: self.maybe(Source::raw_there)?,
            // Read, never sent.
            request_id: None,
            reply_to: None,
            correlation_id: None,
        })
    }
}
