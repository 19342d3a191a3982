//! What the referee says.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::rule::{Layer, Rule};
use crate::wire::{MessageType, Sender};

/// One of the two sides of a transport: who sent a frame, who broke a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The client.
    Client,
    /// The runtime.
    Runtime,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Side {
        match self {
            Side::Client => Side::Runtime,
            Side::Runtime => Side::Client,
        }
    }

    /// Whether this side may send a message that `sender` sends.
    pub(super) const fn may_send(self, sender: Sender) -> bool {
        matches!((self, sender), (_, Sender::Both) | (Side::Client, Sender::Client) | (Side::Runtime, Sender::Runtime))
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Client => "client",
            Side::Runtime => "runtime",
        })
    }
}

/// A rule that a side broke. No secret ever stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// Who broke it.
    pub side: Side,
    /// On which transport.
    pub conn: u64,
    /// What exactly was seen; may be empty.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.side, self.rule)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

/// What a frame was, and which rules were seen broken when it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The type as written, cut to a printable length; empty when the frame is no envelope.
    pub type_name: String,
    /// The type, if it is one of the protocol's.
    pub message: Option<MessageType>,
    /// The `event_seq`, if there is one.
    pub event_seq: Option<u64>,
    /// The kind of a `job.event`.
    pub event_kind: Option<String>,
    /// A few telling fields, without secrets.
    pub summary: String,
    /// The event had been sent before, on an earlier transport of the session.
    pub replayed: bool,
    /// The rules that were seen broken, by either side: silence shows only when something comes after it.
    pub findings: Vec<Finding>,
}

/// The findings of one call.
#[derive(Debug)]
pub(super) struct Charges {
    conn: u64,
    /// Only what the session has in hand counts.
    session_only: bool,
    pub(super) findings: Vec<Finding>,
}

impl Charges {
    pub(super) const fn new(conn: u64, session_only: bool) -> Charges {
        Charges { conn, session_only, findings: Vec::new() }
    }

    pub(super) fn bring(&mut self, side: Side, rule: Rule, detail: impl Into<String>) {
        // A frame that is wrong in a thousand places is wrong.
        const MAX_PER_CALL: usize = 64;
        let counts = !self.session_only || rule.layer() == Layer::Session;
        if counts && self.findings.len() < MAX_PER_CALL {
            self.findings.push(Finding { rule, side, conn: self.conn, detail: detail.into() });
        }
    }
}
