//! What came of a replay.

use crate::tally::Tally;

#[derive(Default)]
pub(crate) struct Outcome {
    /// Its figures.
    pub(crate) tally: Tally,
    /// What must never be.
    pub(crate) problems: Vec<String>,
    /// What was recorded otherwise, and is not known to be.
    pub(crate) differences: Vec<String>,
}

impl Outcome {
    pub(crate) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    pub(crate) fn difference(&mut self, difference: impl Into<String>) {
        self.differences.push(difference.into());
    }
}
