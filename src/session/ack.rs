//! A client's acknowledgements: marked by the application, coalesced by the session (A9, D25).

use alloc::collections::VecDeque;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::AckPolicy;
use super::error::AckError;
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
    /// What the runtime was told on this attachment.
    said: u64,
    /// The most that it was ever told: it may have freed up to this.
    ever_said: u64,
    /// Since when something is unsaid.
    since: Option<Instant>,
    /// It goes out with the next transmission.
    due: bool,
    /// `Lagging` was told since the last mark.
    lag_told: bool,
    /// Places polled beyond the mark with nothing to process in them, as ranges in order; at most
    /// [`MAX_HOLES`], for forgetting one costs no more than that it is acknowledged with a later event.
    holes: VecDeque<(u64, u64)>,
}

/// What of them outlives the process (D28).
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Marks {
    pub(super) processed: u64,
    pub(super) marked: u64,
    pub(super) ever_said: u64,
}

const MAX_HOLES: usize = 64;

impl Acks {
    pub(super) const fn new(policy: AckPolicy) -> Acks {
        Acks {
            policy,
            polled: 0,
            processed: 0,
            marked: 0,
            said: 0,
            ever_said: 0,
            since: None,
            due: false,
            lag_told: false,
            holes: VecDeque::new(),
        }
    }

    pub(super) fn marks(&self) -> Marks {
        Marks { processed: self.processed, marked: self.marked, ever_said: self.ever_said }
    }

    /// What was polled and not processed comes again.
    pub(super) fn restored(policy: AckPolicy, Marks { processed, marked, ever_said }: Marks) -> Acks {
        Acks { polled: processed, processed, marked, ever_said, ..Acks::new(policy) }
    }

    pub(super) fn processed(&self) -> u64 {
        self.processed
    }

    pub(super) fn ever_said(&self) -> u64 {
        self.ever_said
    }

    /// `poll_event` gives out `seq`; events before it were given out or reported lost.
    pub(super) fn polled(&mut self, seq: u64, now: Instant, batch: u64) {
        self.polled = self.polled.max(seq);
        if self.policy == AckPolicy::OnPoll {
            self.advance(self.polled, now, batch);
        }
    }

    /// `poll_event` passes the places `from` to `to`, in which there is nothing to process: events that are lost, or
    /// that were told as something else (D25).
    pub(super) fn skipped(&mut self, from: u64, to: u64, now: Instant, batch: u64) {
        self.polled = self.polled.max(to);
        if self.policy == AckPolicy::OnPoll {
            return self.advance(to, now, batch);
        }
        let has_room = self.holes.len() < MAX_HOLES;
        match self.holes.back_mut() {
            Some((_, last)) if *last + 1 == from => *last = to,
            _ if has_room => self.holes.push_back((from, to)),
            _ => {}
        }
        self.advance(self.processed, now, batch);
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
        let mut seq = seq;
        while let Some((_, to)) = self.holes.front().copied().filter(|(from, _)| *from <= seq + 1) {
            seq = seq.max(to);
            self.holes.pop_front();
        }
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

    /// Whether there is something to say now.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    /// What to say now.
    pub(super) fn take(&mut self) -> Option<u64> {
        if !self.due {
            return None;
        }
        self.due = false;
        self.since = None;
        self.said = self.processed;
        self.ever_said = self.processed;
        Some(self.processed)
    }
}

#[cfg(feature = "model")]
impl Acks {
    /// `is_open`: the deadline counts. At the next attachment it begins anew.
    pub(super) fn digest(&self, digest: &mut super::digest::Digest<'_>, is_open: bool) {
        let Acks { policy: _, polled, processed, marked, said, ever_said, since, due, lag_told, holes } = self;
        for number in [*polled, *processed, *marked, *said, *ever_said] {
            digest.number(number);
        }
        digest.time_if_set(since.filter(|_| is_open && !due));
        digest.flag(*due);
        digest.flag(*lag_told);
        digest.number(holes.len() as u64);
        for (from, to) in holes {
            digest.number(*from);
            digest.number(*to);
        }
    }
}
