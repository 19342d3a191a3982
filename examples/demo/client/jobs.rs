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
    /// It ended well, or as was asked for.
    is_done: bool,
}

impl Standing {
    fn is_open(self) -> bool {
        (self.is_submitted || self.is_followed) && !self.has_ended
    }

    fn has_failed(self) -> bool {
        self.is_submitted && self.has_ended && !self.is_done
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

    /// It was submitted here; says whether it has failed. After a resume its end can come before the answer to a repeated
    /// submit.
    pub fn submitted(&mut self, job: &JobId) -> bool {
        self.latest = Some(job.clone());
        self.change(job, |standing| standing.is_submitted = true).has_failed()
    }

    pub fn cancel_asked(&mut self, job: &JobId) {
        self.change(job, |standing| standing.is_cancelled = true);
    }

    /// It is followed, as of that status: whoever comes too late for a job's end need not wait for it.
    pub fn followed(&mut self, job: &JobId, status: &JobStatus) {
        self.change(job, |standing| {
            standing.is_followed = true;
            if status.is_terminal() {
                standing.has_ended = true;
                standing.is_done |= *status == JobStatus::Success;
            }
        });
    }

    pub fn unfollowed(&mut self, job: &JobId) {
        self.change(job, |standing| standing.is_followed = false);
    }

    /// It has ended like that; says whether that is a failure of what was asked for here.
    pub fn ended(&mut self, job: &JobId, status: &JobStatus) -> bool {
        let standing = self.change(job, |standing| {
            standing.has_ended = true;
            standing.is_done = match status {
                JobStatus::Success => true,
                JobStatus::Cancelled => standing.is_cancelled,
                _ => false,
            };
        });
        standing.has_failed()
    }

    fn change(&mut self, job: &JobId, change: impl FnOnce(&mut Standing)) -> Standing {
        let standing = self.known.entry(job.clone()).or_default();
        let was_open = standing.is_open();
        change(standing);
        let is_open = standing.is_open();
        self.open = self.open + usize::from(is_open) - usize::from(was_open);
        *standing
    }
}
