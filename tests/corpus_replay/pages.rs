//! The pages of jobs that our endpoint gives, beside the recorded ones.

use std::collections::{BTreeMap, BTreeSet};

use arcp_proto::endpoint::JobDirectory;
use arcp_proto::wire::{JobId, JobQuery, Jobs};

use crate::outcome::Outcome;
use crate::plot::{Index, Plot};

#[derive(Default)]
pub(crate) struct Pages {
    /// The jobs on the pages before this cursor.
    before: BTreeMap<String, BTreeSet<JobId>>,
}

impl Pages {
    /// A page of ours has what the recorded one has, and no job is there twice, from page to page (D30). Gives the
    /// recorded cursor and ours, where there is a page after both.
    pub(crate) fn turned(
        &mut self,
        plot: &Plot,
        line: Index,
        cursor: Option<String>,
        ours: Jobs,
        jobs: &JobDirectory,
        outcome: &mut Outcome,
    ) -> Option<(String, String)> {
        let recorded = plot.answer_to(line).and_then(|answer| plot.payload::<Jobs>(answer));
        let is_whole = plot.payload::<JobQuery>(line).is_some_and(|query| query.limit.is_none()) && cursor.is_none();
        if let Some(recorded) = recorded.as_ref().filter(|_| is_whole) {
            compare(plot, line, recorded, &ours, jobs, outcome);
        }
        let listed: BTreeSet<JobId> = ours.jobs.iter().map(|job| job.job_id.clone()).collect();
        let mut seen = cursor.and_then(|cursor| self.before.get(&cursor)).cloned().unwrap_or_default();
        if listed.len() != ours.jobs.len() || !seen.is_disjoint(&listed) {
            outcome.problem(format!("line {}: a job is listed twice", line + 1));
        }
        seen.extend(listed);
        let next = ours.next_cursor?;
        self.before.insert(next.clone(), seen);
        Some((recorded?.next_cursor?, next))
    }
}

/// Only what has ended may be on ours alone: the recorded runtimes forget it at once.
fn compare(plot: &Plot, line: Index, recorded: &Jobs, ours: &Jobs, jobs: &JobDirectory, outcome: &mut Outcome) {
    let is_on = |page: &Jobs, job: &JobId| page.jobs.iter().any(|entry| entry.job_id == *job);
    for entry in &recorded.jobs {
        if jobs.get(&entry.job_id).is_some() && !is_on(ours, &entry.job_id) {
            outcome.difference(format!("line {}: {} is not listed", line + 1, entry.job_id));
        }
    }
    // To us no status is any status.
    let asks_for_none = plot.lines[line].bytes.windows(11).any(|window| window == br#""status":[]"#);
    for entry in ours.jobs.iter().filter(|entry| !entry.status.is_terminal() && !asks_for_none) {
        if !is_on(recorded, &entry.job_id) {
            outcome.difference(format!("line {}: {} is listed", line + 1, entry.job_id));
        }
    }
}
