//! A passive observer of both directions of one transport after another, which tells which side broke which rule.
//!
//! It knows [`wire`](crate::wire) and nothing of a session's implementation: an independent eye on our own
//! traffic, and a tool for that of others. Feed it what passed, in the order in which it passed:
//!
//! ```
//! use arcp_proto::Instant;
//! use arcp_proto::referee::{Referee, Rule, Side};
//!
//! let mut referee = Referee::new();
//! let at = Instant::from_millis(0);
//! referee.open(1, at);
//! let verdict = referee.frame(1, Side::Client, at, r#"{"arcp":"1.1","id":"m1","type":"session.ping","payload":{}}"#.into());
//! assert_eq!(verdict.type_name, "session.ping");
//! assert!(verdict.findings.iter().any(|finding| finding.rule == Rule::FirstFrame && finding.side == Side::Client));
//! ```
//!
//! Tap each side where it sends, and when it does: behind a link that loses, repeats or reorders frames, the sender is
//! charged with what the link did. [`eof`](Referee::eof) says that a side hung up; [`close`](Referee::close) alone that the transport is gone and it is
//! nobody's fault. Time is judged only as far as it is told: with all frames at one instant, no silence is seen.
//! A frame that is told late by up to the [tolerance](Referee::with_tolerance) is still in time.
//!
//! It never stops, whatever it is fed, and what it remembers is bounded: 1 024 transports, 256 sessions, and
//! of each session 8 192 message ids of each side, the contents of 10 240 events, 4 096 jobs and 1 024 open
//! requests. Behind these limits it forgets, and does not accuse of what it may have forgotten. Ids, tokens and contents
//! are kept as digests; no secret stands in what it returns or in its `Debug`.

mod connection;
mod finding;
mod frame;
mod heartbeat;
mod job;
mod memory;
mod object;
mod payload;
mod registry;
mod request;
mod rule;
mod sequence;
mod session;
mod sight;
mod summary;
mod usage;

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use connection::{Connection, Stage};
use finding::Charges;
pub use finding::{Finding, Side, Verdict};
use memory::Memory;
use registry::Registry;
pub use rule::{Class, Layer, Rule};
use sight::Sight;

use crate::time::Instant;

const MAX_CONNECTIONS: usize = 1_024;

/// The observer.
#[derive(Clone, Debug)]
pub struct Referee {
    connections: Memory<u64, Connection>,
    registry: Registry,
    tolerance: Duration,
    session_only: bool,
    /// A transport had to be forgotten.
    forgot: bool,
}

impl Default for Referee {
    fn default() -> Referee {
        Referee::new()
    }
}

impl Referee {
    /// A referee that has seen nothing yet.
    #[must_use]
    pub const fn new() -> Referee {
        Referee {
            connections: Memory::new(MAX_CONNECTIONS),
            registry: Registry::new(),
            tolerance: Duration::from_millis(250),
            session_only: false,
            forgot: false,
        }
    }

    /// How late a frame may be seen and still count as in time: 250 ms unless told otherwise.
    #[must_use]
    pub const fn with_tolerance(mut self, tolerance: Duration) -> Referee {
        self.tolerance = tolerance;
        self
    }

    /// Leaves out what the session does not have in hand ([`Layer::Application`]): for judging sessions whose application
    /// is a test.
    #[must_use]
    pub const fn session_only(mut self) -> Referee {
        self.session_only = true;
        self
    }

    /// A transport stands. A `conn` that was used before is a new transport.
    pub fn open(&mut self, conn: u64, at: Instant) -> Vec<Finding> {
        let findings = self.close(conn, at);
        self.remember(conn, Connection::new(at, Stage::Fresh));
        findings
    }

    fn remember(&mut self, conn: u64, connection: Connection) {
        self.forgot |= self.connections.insert(conn, connection).is_some();
    }

    /// A frame of `from` has passed: one whole message, without its line end.
    pub fn frame(&mut self, conn: u64, from: Side, at: Instant, frame: Bytes) -> Verdict {
        if !self.connections.contains(&conn) {
            let stage = if self.forgot { Stage::Unseen } else { Stage::Fresh };
            self.remember(conn, Connection::new(at, stage));
        }
        let mut charges = Charges::new(conn, self.session_only);
        let mut verdict = Verdict::default();
        let mut superseded = None;
        if let Some(connection) = self.connections.get_mut(&conn) {
            let tolerance = self.tolerance;
            let mut sight = Sight { conn, connection, registry: &mut self.registry, charges: &mut charges, tolerance };
            superseded = sight.frame(from, at, frame, &mut verdict);
        }
        if let Some(old) = superseded.and_then(|old| self.connections.get_mut(&old)) {
            // Where the runtime had given the old transport up before, it has said so, and there is nobody to supersede.
            old.superseded = !old.runtime.gone();
        }
        verdict.findings = charges.findings;
        verdict
    }

    /// Bytes of `from` have come that are no whole frame yet: it lives (D21).
    pub fn activity(&mut self, conn: u64, from: Side, at: Instant) -> Vec<Finding> {
        let mut charges = Charges::new(conn, self.session_only);
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.tick(&mut charges, at, self.tolerance);
            let now = connection.now;
            connection.party(from).pulse.frame(now);
        }
        charges.findings
    }

    /// `side` has hung up: of its own will, as far as one can see.
    pub fn eof(&mut self, conn: u64, side: Side, at: Instant) -> Vec<Finding> {
        let mut charges = Charges::new(conn, self.session_only);
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.tick(&mut charges, at, self.tolerance);
            let session = connection.session.as_ref().and_then(|id| self.registry.get_mut(id));
            let session = session.filter(|session| session.attachment == connection.attachment);
            let broken = session.as_ref().is_some_and(|session| session.sequence.broken());
            connection.eof(&mut charges, side, broken);
            if let Some(session) = session.filter(|session| session.conn == Some(conn)) {
                session.detach(&mut charges, connection, self.tolerance);
            }
            if connection.client.eof.is_some() && connection.runtime.eof.is_some() {
                connection.end(&mut charges);
            }
        }
        charges.findings
    }

    /// The transport is gone. Without an [`eof`](Referee::eof) before it, it was lost, and neither side is to blame.
    pub fn close(&mut self, conn: u64, at: Instant) -> Vec<Finding> {
        let mut charges = Charges::new(conn, self.session_only);
        if let Some(mut connection) = self.connections.remove(&conn) {
            connection.tick(&mut charges, at, self.tolerance);
            let session = connection.session.as_ref().and_then(|id| self.registry.get_mut(id));
            if let Some(session) = session.filter(|session| session.conn == Some(conn)) {
                session.detach(&mut charges, &connection, self.tolerance);
            }
            connection.end(&mut charges);
        }
        charges.findings
    }

    /// Nothing more will come: what only the end shows. The transports that still stand are closed as of their last frame.
    pub fn finish(&mut self) -> Vec<Finding> {
        let open: Vec<u64> = self.connections.keys().copied().collect();
        let mut findings = Vec::new();
        for conn in open {
            findings.extend(self.close(conn, Instant::ZERO));
        }
        findings
    }
}
