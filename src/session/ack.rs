//! A client's acknowledgements: marked by the application, coalesced by the session (A9, D25).

use core::time::Duration;

use super::config::AckPolicy;
use crate::error::AckError;
use crate::time::Instant;

#[derive(Clone, Debug)]
pub(super) struct Acks {
    policy: AckPolicy,
    /// The last event that `poll_event` gave out.
    polled: u64,
    /// The application has durably processed all up to this, or knows that it is lost.
    processed: u64,
    /// The application's last mark.
    marked: u64,
    /// The last hole that `poll_event` told of: from, to.
    hole: Option<(u64, u64)>,
    /// What the runtime was told on this attachment.
    said: u64,
    /// Since when something is unsaid.
    since: Option<Instant>,
    /// It goes out with the next transmission.
    due: bool,
    /// `Lagging` was told since the last mark.
    lag_told: bool,
}

impl Acks {
    pub(super) const fn new(policy: AckPolicy) -> Acks {
        Acks {
            policy,
            polled: 0,
            processed: 0,
            marked: 0,
            hole: None,
            said: 0,
            since: None,
            due: false,
            lag_told: false,
        }
    }

    pub(super) fn processed(&self) -> u64 {
        self.processed
    }

    /// `poll_event` gives out `seq`; events before it were given out or reported lost.
    pub(super) fn polled(&mut self, seq: u64, now: Instant, batch: u64) {
        self.polled = self.polled.max(seq);
        if self.policy == AckPolicy::OnPoll {
            self.advance(self.polled, now, batch);
        }
    }

    /// `poll_event` tells that the events up to `to` are lost: there is nothing to process in them (D25).
    pub(super) fn skipped(&mut self, from: u64, to: u64, now: Instant, batch: u64) {
        self.polled = self.polled.max(to);
        self.hole = Some((from, to));
        let processed = if self.policy == AckPolicy::OnPoll { to } else { self.processed };
        self.advance(processed, now, batch);
    }

    pub(super) fn mark(&mut self, seq: u64, now: Instant, batch: u64) -> Result<(), AckError> {
        if seq > self.polled {
            return Err(AckError::NotPolled { seq, polled: self.polled });
        }
        if seq < self.marked {
            return Err(AckError::Backwards { seq, processed: self.marked });
        }
        self.marked = seq;
        self.lag_told = false;
        self.advance(seq, now, batch);
        Ok(())
    }

    /// Up to `seq`, and on behind the hole where that comes next.
    fn advance(&mut self, seq: u64, now: Instant, batch: u64) {
        let seq = match self.hole {
            Some((from, to)) if seq + 1 >= from => seq.max(to),
            _ => seq,
        };
        if seq <= self.processed {
            return;
        }
        self.processed = seq;
        self.since = self.since.or(Some(now));
        self.due |= self.processed - self.said >= batch;
    }

    /// Whether to tell that the application does not keep up, once until it marks again.
    pub(super) fn tells_lag(&mut self, after: u64) -> bool {
        let lags = self.policy == AckPolicy::Manual && !self.lag_told && self.unprocessed() >= after;
        self.lag_told |= lags;
        lags
    }

    /// A new attachment: what was said may have been lost with the old one.
    pub(super) fn attached(&mut self) {
        self.said = 0;
        self.since = None;
        self.due = self.processed > 0;
    }

    /// Says what is unsaid with the next transmission.
    pub(super) fn flush(&mut self) {
        self.due = self.processed > self.said;
    }

    pub(super) fn deadline(&self, delay: Duration) -> Option<Instant> {
        self.since.filter(|_| !self.due).map(|since| since + delay)
    }

    /// Events that were polled and are not marked.
    pub(super) fn unprocessed(&self) -> u64 {
        self.polled.saturating_sub(self.processed)
    }

    /// What to say now.
    pub(super) fn take(&mut self) -> Option<u64> {
        if !self.due {
            return None;
        }
        self.due = false;
        self.since = None;
        self.said = self.processed;
        Some(self.processed)
    }
}
