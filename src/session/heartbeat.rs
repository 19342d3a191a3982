//! Signs of life in both directions (§6.4, A7, A8, D21).

use core::time::Duration;

use crate::time::Instant;

/// When the next ping is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cadence {
    /// Every interval, also while it streams: the runtime (A7).
    Always,
    /// When nothing was sent for an interval, also while it receives: the client.
    WhenIdle,
}

/// The heartbeat of one attachment; off until [`start`](Heartbeat::start).
#[derive(Clone, Debug)]
pub(super) struct Heartbeat {
    cadence: Cadence,
    /// In seconds. Zero: off.
    interval: u32,
    ping_at: Instant,
    lost_at: Instant,
    /// The grace for a caller that was away is given once between two frames.
    graced: bool,
}

impl Heartbeat {
    pub(super) const fn new(cadence: Cadence) -> Heartbeat {
        let never = Instant::MAX;
        Heartbeat { cadence, interval: 0, ping_at: never, lost_at: never, graced: false }
    }

    pub(super) fn start(&mut self, now: Instant, interval: Option<Duration>) {
        // Between a second and a day (D20).
        self.interval = interval.map_or(0, |interval| interval.as_secs() as u32);
        self.ping_at = now + self.interval();
        self.heard(now);
    }

    pub(super) fn stop(&mut self) {
        self.interval = 0;
    }

    #[inline]
    fn is_on(&self) -> bool {
        self.interval != 0
    }

    #[inline]
    fn interval(&self) -> Duration {
        Duration::from_secs(self.interval.into())
    }

    #[inline]
    pub(super) fn ping_at(&self) -> Option<Instant> {
        self.is_on().then_some(self.ping_at)
    }

    #[inline]
    pub(super) fn lost_at(&self) -> Option<Instant> {
        self.is_on().then_some(self.lost_at)
    }

    /// Bytes came, or the caller is not reading and the silence is its own.
    #[inline]
    pub(super) fn heard(&mut self, now: Instant) {
        self.lost_at = now + self.interval() + self.interval();
        self.graced = false;
    }

    /// Nobody was reading up to `until`, which may be before what was heard.
    pub(super) fn unread(&mut self, until: Instant) {
        self.lost_at = self.lost_at.max(until + self.interval() + self.interval());
    }

    /// Something was sent.
    #[inline]
    pub(super) fn sent(&mut self, now: Instant) {
        if self.cadence == Cadence::WhenIdle {
            self.ping_at = now + self.interval();
        }
    }

    /// A ping was due and has been seen to.
    pub(super) fn pinged(&mut self, now: Instant) {
        let next = self.ping_at + self.interval();
        self.ping_at = if next > now { next } else { now + self.interval() };
    }

    /// The caller calls again after `previous`. If it was away so long that it missed its own ping, the peer's
    /// silence proves nothing yet: it gets another interval. A timer that rings a little late is no absence: a
    /// 32nd of the interval is allowed for it.
    #[inline]
    pub(super) fn called(&mut self, previous: Instant, now: Instant) {
        // As nearly always, and quickly seen.
        if now <= self.ping_at {
            return;
        }
        let was_away = now.since(previous) > self.interval() && now > self.ping_at + self.interval() / 32;
        if self.is_on() && was_away && !self.graced {
            // After a long sleep one interval would lie in the past; it counts from now then.
            let moved = self.lost_at + self.interval();
            self.lost_at = if moved > now { moved } else { now + self.interval() };
            self.graced = true;
        }
    }
}

#[cfg(feature = "model")]
impl Heartbeat {
    pub(super) fn digest(&self, digest: &mut super::digest::Digest<'_>) {
        let Heartbeat { cadence: _, interval, ping_at, lost_at, graced } = self;
        digest.number((*interval).into());
        // Off, the rest says nothing until it is started anew.
        if self.is_on() {
            digest.time(*ping_at);
            digest.time(*lost_at);
            digest.flag(*graced);
        }
    }
}
