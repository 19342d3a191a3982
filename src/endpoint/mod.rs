//! Many sessions: what an endpoint stands on.

mod cursor;
mod directory;
mod fingerprint;
#[cfg_attr(not(test), expect(dead_code, reason = "the endpoint uses it"))]
mod idempotency;
mod job_order;
mod job_record;
mod page;
mod policy;
#[cfg_attr(not(test), expect(dead_code, reason = "the endpoint uses it"))]
mod result_stream;

pub use directory::{DirectoryLimits, InsertError, JobDirectory, SetLeaseError, StatusChange};
pub use job_record::JobRecord;
pub use page::PageError;
pub use policy::{OwnJobs, Policy, Scope, Sight};
