//! The referee, who sees both sides and is asked about ours alone: the recorded one breaks rules, and an application
//! that says what was recorded is not ours either.

use arcp_proto::Instant;
use arcp_proto::referee::{Finding, Referee, Rule, Side};
use bytes::Bytes;

/// What our side does because the recorded one had it so.
const EXCUSED: &[(Rule, &str)] = &[(Rule::TokenGuessable, "the resume tokens that are granted are the recorded ones")];

pub(crate) struct Judge {
    referee: Referee,
    ours: Side,
    findings: Vec<String>,
}

impl Judge {
    pub(crate) fn of(ours: Side) -> Judge {
        Judge { referee: Referee::new().session_only(), ours, findings: Vec::new() }
    }

    pub(crate) fn open(&mut self, conn: u64, at: Instant) {
        let found = self.referee.open(conn, at);
        self.take(found);
    }

    pub(crate) fn frame(&mut self, conn: u64, from: Side, at: Instant, frame: &Bytes) {
        let found = self.referee.frame(conn, from, at, frame.clone()).findings;
        self.take(found);
    }

    /// A side has hung up.
    pub(crate) fn eof(&mut self, conn: u64, side: Side, at: Instant) {
        let found = self.referee.eof(conn, side, at);
        self.take(found);
    }

    /// The transport is gone, by nobody's fault.
    pub(crate) fn close(&mut self, conn: u64, at: Instant) {
        let found = self.referee.close(conn, at);
        self.take(found);
    }

    fn take(&mut self, found: Vec<Finding>) {
        let is_excused = |rule| EXCUSED.iter().any(|(excused, _)| *excused == rule);
        let ours = found.into_iter().filter(|finding| finding.side == self.ours && !is_excused(finding.rule));
        self.findings.extend(ours.map(|finding| format!("the referee, on transport {}: {finding}", finding.conn)));
    }

    pub(crate) fn finish(mut self) -> Vec<String> {
        let found = self.referee.finish();
        self.take(found);
        self.findings
    }
}
