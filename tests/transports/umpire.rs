//! A referee with a clock, for what a client sees.

use arcp_proto::Clock;
use arcp_proto::referee::{Finding, Referee, Side};
use bytes::Bytes;
use std::time::Duration;

/// How late a client may come to read: the machine may be busy.
const TOLERANCE: Duration = Duration::from_secs(10);

pub(crate) struct Umpire {
    referee: Referee,
    clock: Clock,
    /// The present transport.
    conn: u64,
    findings: Vec<Finding>,
}

impl Umpire {
    pub(crate) fn new() -> Umpire {
        let referee = Referee::new().with_tolerance(TOLERANCE);
        Umpire { referee, clock: Clock::new(), conn: 0, findings: Vec::new() }
    }

    /// A new transport stands.
    pub(crate) fn open(&mut self) {
        self.conn += 1;
        self.findings.extend(self.referee.open(self.conn, self.clock.now().mono));
    }

    pub(crate) fn saw(&mut self, side: Side, frame: &Bytes) {
        let verdict = self.referee.frame(self.conn, side, self.clock.now().mono, frame.clone());
        self.findings.extend(verdict.findings);
    }

    /// That side has hung up.
    pub(crate) fn hung_up(&mut self, side: Side) {
        self.findings.extend(self.referee.eof(self.conn, side, self.clock.now().mono));
    }

    /// The transport is gone, and it is nobody's fault.
    pub(crate) fn cut(&mut self) {
        self.findings.extend(self.referee.close(self.conn, self.clock.now().mono));
    }

    /// Neither side has broken a rule.
    pub(crate) fn finds_both_clean(&mut self) {
        self.findings.extend(self.referee.finish());
        let findings: Vec<_> = self.findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{findings:#?}");
    }
}
