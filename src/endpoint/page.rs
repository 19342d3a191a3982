//! One page of a listing (A11, A12, D30).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::cursor;
use super::directory::{JobDirectory, Listed};
use super::job_order::{Newest, Place, StatusSet, Stretch};
use super::policy::{Policy, Scope};
use crate::time::Timestamp;
use crate::wire::{JobEntry, JobPage, JobQuery, Principal};

/// Why a query has no page: INVALID_REQUEST (D30).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The query's limit is 0.
    #[error("`limit` is 0")]
    ZeroLimit,
    /// The query's cursor is none of ours.
    #[error("`cursor` is not one that was given out")]
    BadCursor,
}

impl JobDirectory {
    /// A page of the jobs that `viewer` may observe, newest first.
    ///
    /// It has a `next_cursor` when another job matches that did not fit, or when as many jobs were looked at as a page may:
    /// then it can be short, even empty, and the next one goes on behind. A cursor is a place in the order and names no
    /// job that the viewer may not observe; jobs that come and go leave it where it is.
    ///
    /// # Errors
    ///
    /// When the limit is 0 or the cursor is none.
    pub fn page(&self, viewer: &Principal, policy: &dyn Policy, query: &JobQuery) -> Result<JobPage, PageError> {
        if query.limit == Some(0) {
            return Err(PageError::ZeroLimit);
        }
        let stretch = stretch_of(query)?;
        let statuses = StatusSet::of(&query.filter);
        let agent = AgentFilter(query.filter.agent.as_deref());
        let scope = policy.scope(viewer);
        let among = Among::of(viewer, &scope, self.limits.merged_principals);
        let candidates = match &among {
            Among::Own => Newest::of(self.order_of(viewer), statuses, &stretch),
            Among::Merged(principals) => {
                Newest::of(principals.iter().filter_map(|principal| self.order_of(principal)), statuses, &stretch)
            }
            Among::Everybody | Among::Sought(_) => Newest::of([self.everybody()], statuses, &stretch),
        };
        let matches = |job: &Listed| {
            let record = &job.record;
            let own = record.principal == *viewer;
            agent.matches(&record.agent)
                && (own || (among.has(&record.principal) && policy.may_observe(viewer, record)))
        };

        let mut page = Gathered { jobs: Vec::new(), bytes: "[]".len(), last: None };
        let mut above: Option<&Place> = None;
        for (examined, (place, slot)) in candidates.enumerate() {
            if let Some(above) = above.filter(|_| examined >= self.limits.examined) {
                let given = page.last.filter(|last| *last == above || page.jobs.len() >= query.page_len());
                let go_on = given.map_or_else(|| cursor::between(above, place), Place::clone);
                return Ok(page.end(Some(&go_on)));
            }
            above = Some(place);
            let Some(job) = self.listed(slot).filter(|job| matches(job)) else { continue };
            let full = page.jobs.len() >= query.page_len() || !page.take(place, job, self.limits.page_bytes);
            if let Some(last) = page.last.filter(|_| full) {
                return Ok(page.end(Some(last)));
            }
        }
        Ok(page.end(None))
    }
}

/// Where in the order a query looks.
fn stretch_of(query: &JobQuery) -> Result<Stretch, PageError> {
    let cursor = query.cursor.as_deref().map(|text| cursor::read(text).ok_or(PageError::BadCursor)).transpose()?;
    let before = query.filter.created_before.map(Place::start_of);
    let to = match (cursor, before) {
        (Some(cursor), Some(before)) => Some(cursor.min(before)),
        (cursor, before) => cursor.or(before),
    };
    Ok(match query.filter.created_after.map(|after| after.as_unix_millis().checked_add(1)) {
        None => Stretch { from: None, to },
        Some(Some(from)) => Stretch { from: Some(Place::start_of(Timestamp::from_unix_millis(from))), to },
        // Nothing is later than the end of time.
        Some(None) => {
            Stretch { from: Some(Place::start_of(Timestamp::EPOCH)), to: Some(Place::start_of(Timestamp::EPOCH)) }
        }
    })
}

/// A name matches every version of it, `name@version` that one (D30).
struct AgentFilter<'a>(Option<&'a str>);

impl AgentFilter<'_> {
    fn matches(&self, agent: &str) -> bool {
        match self.0 {
            None | Some("") => true,
            Some(wanted) => agent
                .strip_prefix(wanted)
                .is_some_and(|rest| rest.is_empty() || (rest.starts_with('@') && !wanted.contains('@'))),
        }
    }
}

/// Among whose jobs a page looks.
enum Among<'a> {
    Own,
    /// Each principal's jobs, merged.
    Merged(BTreeSet<&'a Principal>),
    /// These principals' jobs, looked for among all: merging so many would cost more.
    Sought(BTreeSet<&'a Principal>),
    Everybody,
}

impl<'a> Among<'a> {
    fn of(viewer: &'a Principal, scope: &'a Scope, most: usize) -> Among<'a> {
        match scope {
            Scope::Own => Among::Own,
            Scope::All => Among::Everybody,
            Scope::Principals(principals) => {
                let principals: BTreeSet<&Principal> = principals.iter().chain([viewer]).collect();
                if principals.len() <= most { Among::Merged(principals) } else { Among::Sought(principals) }
            }
        }
    }

    /// Whether jobs of `principal`, met on the way, are among them.
    fn has(&self, principal: &Principal) -> bool {
        match self {
            Among::Own | Among::Merged(_) | Among::Everybody => true,
            Among::Sought(principals) => principals.contains(principal),
        }
    }
}

/// A page as it grows.
struct Gathered<'a> {
    jobs: Vec<JobEntry>,
    bytes: usize,
    /// The place of the last job on it.
    last: Option<&'a Place>,
}

impl<'a> Gathered<'a> {
    /// Puts a job on it, unless that makes it longer than `most`.
    fn take(&mut self, place: &'a Place, job: &Listed, most: usize) -> bool {
        let comma = usize::from(!self.jobs.is_empty());
        let bytes = self.bytes + job.entry_len() + comma;
        if bytes > most {
            return false;
        }
        self.bytes = bytes;
        self.jobs.push(job.record.entry());
        self.last = Some(place);
        true
    }

    fn end(self, go_on: Option<&Place>) -> JobPage {
        JobPage { jobs: self.jobs, next_cursor: go_on.map(cursor::write) }
    }
}
