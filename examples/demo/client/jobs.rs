//! Which jobs are still to be waited for.

use std::collections::BTreeMap;

use arcp_proto::wire::{JobId, JobStatus};

/// The jobs that were submitted or are followed here, and those that have ended.
#[derive(Default)]
pub struct Jobs {
    known: BTreeMap<JobId, Standing>,
    /// Of those, how many are waited for.
    open: usize,
    latest: Option<JobId>,
}

#[derive(Clone, Copy, Default)]
struct Standing {
    is_submitted: bool,
    is_followed: bool,
    is_cancelled: bool,
    has_ended: bool,
}

impl Standing {
    fn is_open(self) -> bool {
        (self.is_submitted || self.is_followed) && !self.has_ended
    }
}

impl Jobs {
    /// The one that was accepted last.
    pub fn latest(&self) -> Option<&JobId> {
        self.latest.as_ref()
    }

    pub fn all_ended(&self) -> bool {
        self.open == 0
    }

    pub fn submitted(&mut self, job: &JobId) {
        self.latest = Some(job.clone());
        self.change(job, |standing| standing.is_submitted = true);
    }

    pub fn cancel_asked(&mut self, job: &JobId) {
        self.change(job, |standing| standing.is_cancelled = true);
    }

    /// It is followed, as of that status: whoever comes too late for a job's end need not wait for it.
    pub fn followed(&mut self, job: &JobId, status: &JobStatus) {
        self.change(job, |standing| {
            standing.is_followed = true;
            standing.has_ended |= status.is_terminal();
        });
    }

    pub fn unfollowed(&mut self, job: &JobId) {
        self.change(job, |standing| standing.is_followed = false);
    }

    /// It has ended like that; says whether that is a failure of what was asked for here.
    pub fn ended(&mut self, job: &JobId, status: &JobStatus) -> bool {
        self.change(job, |standing| standing.has_ended = true);
        let standing = self.known.get(job).copied().unwrap_or_default();
        let is_as_asked = match status {
            JobStatus::Success => true,
            JobStatus::Cancelled => standing.is_cancelled,
            _ => false,
        };
        standing.is_submitted && !is_as_asked
    }

    fn change(&mut self, job: &JobId, change: impl FnOnce(&mut Standing)) {
        let standing = self.known.entry(job.clone()).or_default();
        let was_open = standing.is_open();
        change(standing);
        let is_open = standing.is_open();
        self.open = self.open + usize::from(is_open) - usize::from(was_open);
    }
}
