//! What a client is told in its sequence, beside what it was handed: each event once, in order, and as it came (D28).

use std::collections::{BTreeMap, BTreeSet};

use arcp_proto::wire::{Envelope, MessageType};
use bytes::Bytes;

use crate::outcome::Outcome;

/// Goes on with the session, from transport to transport.
#[derive(Clone, Default)]
pub(crate) struct Story {
    /// What came, by its place.
    came: BTreeMap<u64, Vec<Bytes>>,
    told: BTreeSet<u64>,
    lost: Vec<(u64, u64)>,
    /// The last that was told, or reported as lost.
    last: u64,
    /// Places that held a refused request, of which nothing is told as an event.
    refusals: BTreeSet<u64>,
}

impl Story {
    /// A frame is handed to the client, whose cursor stands there.
    pub(crate) fn comes(&mut self, envelope: &Envelope, cursor: u64, outcome: &mut Outcome) {
        let in_sequence = matches!(
            envelope.message_type(),
            Some(MessageType::JobEvent | MessageType::JobResult | MessageType::JobError | MessageType::JobCancelled)
        );
        let Some(seq) = envelope.event_seq().filter(|_| in_sequence) else { return };
        let came_before = self.came.contains_key(&seq);
        let what = if seq <= cursor {
            "again"
        } else if came_before {
            "again, while it waits"
        } else if seq == cursor + 1 {
            "next"
        } else {
            "ahead"
        };
        outcome.tally.count("in sequence", what);
        self.came.entry(seq).or_default().push(envelope.frame().clone());
        if envelope.message_type() == Some(MessageType::JobError) {
            self.refusals.insert(seq);
        }
    }

    pub(crate) fn told(&mut self, seq: u64, envelope: &Envelope, outcome: &mut Outcome) {
        self.skip_refusals(seq);
        if seq != self.last + 1 {
            outcome.problem(format!("event {seq} was told behind {}", self.last));
        }
        if !self.came.get(&seq).is_some_and(|came| came.contains(envelope.frame())) {
            outcome.problem(format!("event {seq} was told as it never came"));
        }
        self.last = seq.max(self.last);
        self.told.insert(seq);
    }

    pub(crate) fn lost(&mut self, (from, to): (u64, u64), outcome: &mut Outcome) {
        self.skip_refusals(from);
        if from != self.last + 1 || to < from || self.came.range(from..=to).next().is_some() {
            outcome.problem(format!("events {from} to {to} are called lost behind {}", self.last));
        }
        outcome.tally.add("told", "lost events", to.saturating_sub(from) + 1);
        self.last = to.max(self.last);
        self.lost.push((from, to));
    }

    fn skip_refusals(&mut self, until: u64) {
        while self.last + 1 < until && self.refusals.contains(&(self.last + 1)) {
            self.last += 1;
        }
    }

    /// The transport is gone, and the client's cursor stands there: what could be told was.
    pub(crate) fn pauses(&mut self, cursor: u64, outcome: &mut Outcome) {
        self.skip_refusals(cursor + 1);
        if self.last != cursor {
            outcome.problem(format!("the client has all until {cursor}, and was told of all until {}", self.last));
        }
        if self.came.contains_key(&(cursor + 1)) {
            outcome.problem(format!("event {} came and was not told", cursor + 1));
        }
        let held = self.came.range(cursor + 1..).map(|(seq, _)| *seq).collect::<Vec<_>>();
        outcome.tally.add("in sequence", "waiting in vain", held.len() as u64);
        // A replay brings them.
        for seq in held {
            self.came.remove(&seq);
        }
    }

    /// The last that was told.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }
}
