//! Who may know of whose jobs (A12, D36).

use alloc::sync::Arc;

use super::job_record::JobRecord;
use crate::wire::Principal;

/// Whose jobs a viewer may know of. The viewer's own are always among them (§7.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// The viewer's own and no others (A12).
    #[default]
    Own,
    /// Those of these principals too.
    Principals(Arc<[Principal]>),
    /// Everybody's.
    All,
}

/// A deployment's authorization: what may be seen beside one's own jobs, which are always seen, whatever this says
/// (A12, §7.6).
///
/// Two steps, because they cost differently: the scope says in whose jobs to look at all, and is asked for once; the checks
/// by job come after it and can only take away. Answers should be the same for the same question while a client goes
/// from page to page. None of them may panic: the request that asked would stay without an answer.
///
/// ```
/// use arcp_proto::wire::Principal;
/// use arcp_proto::endpoint::{JobRecord, Policy, Scope};
///
/// /// Operators watch everything, and take part in nothing that is marked as private.
/// struct Operators;
///
/// impl Policy for Operators {
///     fn scope(&self, viewer: &Principal) -> Scope {
///         if viewer.as_str().starts_with("ops/") { Scope::All } else { Scope::Own }
///     }
///
///     fn may_subscribe(&self, _: &Principal, job: &JobRecord) -> bool {
///         !job.agent.starts_with("private-")
///     }
/// }
/// ```
pub trait Policy: Send + Sync {
    /// In whose jobs `viewer` may look.
    fn scope(&self, viewer: &Principal) -> Scope {
        let _ = viewer;
        Scope::Own
    }

    /// Whether `viewer` may know of `job`, which is another's and within the scope. If not, it is left out of pages, and
    /// naming it is JOB_NOT_FOUND (D36).
    fn may_observe(&self, viewer: &Principal, job: &JobRecord) -> bool {
        let _ = (viewer, job);
        true
    }

    /// Whether `viewer` may follow `job`, which is another's and one that it may know of. If not, that is
    /// PERMISSION_DENIED (D36).
    fn may_subscribe(&self, viewer: &Principal, job: &JobRecord) -> bool {
        let _ = (viewer, job);
        true
    }
}

/// The policy of a deployment that has none: everybody sees their own jobs (A12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnJobs;

impl Policy for OwnJobs {}

/// What a principal may do with a job (D36).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sight {
    /// It is not there, or not for this principal to know: JOB_NOT_FOUND, the same for both.
    Hidden,
    /// It may be listed and not followed: PERMISSION_DENIED.
    Visible,
    /// It may be followed.
    Subscribable,
}

impl Sight {
    /// What `policy` lets `viewer` do with `job`, `None` being one that is not there.
    #[must_use]
    pub fn of(policy: &dyn Policy, viewer: &Principal, job: Option<&JobRecord>) -> Sight {
        let Some(job) = job else { return Sight::Hidden };
        if job.principal == *viewer {
            return Sight::Subscribable;
        }
        let in_scope = match policy.scope(viewer) {
            Scope::Own => false,
            Scope::Principals(principals) => principals.contains(&job.principal),
            Scope::All => true,
        };
        if !in_scope || !policy.may_observe(viewer, job) {
            Sight::Hidden
        } else if policy.may_subscribe(viewer, job) {
            Sight::Subscribable
        } else {
            Sight::Visible
        }
    }
}
