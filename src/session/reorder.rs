//! A client's place in the sequence: duplicates dropped, order mended, holes noticed (D28).

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::time::Instant;
use crate::wire::Envelope;

/// What is to be done with an event that came.
#[derive(Debug)]
pub(super) enum Offer {
    /// It is the next: deliver it, then what [`Reorder::next`] gives.
    Next(Envelope),
    /// It was here before.
    Duplicate,
    /// It waits for one before it.
    Held,
    /// It would have to wait, and no more may.
    Full(Envelope),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Reorder {
    /// The highest contiguous seq received.
    received: u64,
    held: BTreeMap<u64, Envelope>,
    held_bytes: usize,
    /// Since when they wait; anew when some of them were let go.
    since: Option<Instant>,
    /// A resume was tried for the hole that begins here.
    retried: Option<u64>,
}

impl Reorder {
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn retried(&self) -> Option<u64> {
        self.retried
    }

    pub(super) fn restored(received: u64, retried: Option<u64>) -> Reorder {
        Reorder { received, retried, ..Reorder::default() }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn offer(&mut self, seq: u64, envelope: Envelope, now: Instant, limit: usize) -> Offer {
        if seq <= self.received || self.held.contains_key(&seq) {
            return Offer::Duplicate;
        }
        if seq == self.received + 1 {
            self.received = seq;
            return Offer::Next(envelope);
        }
        if self.held.len() >= limit {
            return Offer::Full(envelope);
        }
        self.held_bytes += envelope.frame().len();
        self.held.insert(seq, envelope);
        self.since = self.since.or(Some(now));
        Offer::Held
    }

    /// The next event in order, of those that were held.
    pub(super) fn next(&mut self, now: Instant) -> Option<Envelope> {
        let first = self.held.first_entry().filter(|first| *first.key() == self.received + 1)?;
        let (seq, envelope) = first.remove_entry();
        self.received = seq;
        self.held_bytes -= envelope.frame().len();
        self.since = (!self.held.is_empty()).then_some(now);
        Some(envelope)
    }

    /// What is missing may be waiting unread: the time counts from now.
    pub(super) fn restart(&mut self, now: Instant) {
        self.since = self.since.map(|_| now);
    }

    pub(super) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        self.since.map(|since| since + timeout)
    }

    /// Whether a resume may still bring what is missing: once for each hole.
    pub(super) fn may_retry(&mut self) -> bool {
        let hole = self.received + 1;
        let first_time = self.retried != Some(hole);
        self.retried = Some(hole);
        first_time
    }

    /// Gives up the hole before the first event held, or before `next` where none is: the range that is lost.
    pub(super) fn skip_hole(&mut self, next: u64) -> (u64, u64) {
        let from = self.received + 1;
        let to = self.held.first_key_value().map_or(next, |(seq, _)| (*seq).min(next)) - 1;
        self.received = to.max(self.received);
        (from, to)
    }

    /// The transport is gone; a replay brings what was held.
    pub(super) fn drop_held(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
        self.since = None;
    }
}

#[cfg(feature = "model")]
impl Reorder {
    pub(super) fn digest(&self, digest: &mut super::digest::Digest<'_>) {
        let Reorder { received, held, held_bytes: _, since, retried } = self;
        digest.number(*received);
        digest.number(held.len() as u64);
        for (seq, envelope) in held {
            digest.number(*seq);
            digest.frame(envelope.frame());
        }
        digest.time_if_set(*since);
        digest.number(retried.unwrap_or(0));
    }
}
