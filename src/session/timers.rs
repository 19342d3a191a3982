//! The deadlines of a session: a fixed array, so that reading the earliest costs the same at all times.

use crate::time::Instant;

/// What a session waits for (see `timeout_reason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// Client: the welcome (D9).
    Handshake,
    /// The peer's silence (A8). Before `Ping`, because silence is judged first (D21).
    Silence,
    /// The next ping (A7).
    Ping,
    /// Client: the acknowledgement that is being coalesced (D25).
    Ack,
    /// Client: the oldest open request (D12).
    Request,
    /// Client: the missing event before those that came out of order (D28).
    Reorder,
    /// The end of a polite close (D27, D32).
    Close,
    /// The end of the resume window (D17, D18).
    ResumeWindow,
    /// Runtime: the end of what is kept beyond the window (D18).
    Retention,
}

impl Timer {
    /// In the order in which those due at one instant are handled.
    pub(super) const ALL: [Timer; 9] = [
        Timer::Handshake,
        Timer::Silence,
        Timer::Ping,
        Timer::Ack,
        Timer::Request,
        Timer::Reorder,
        Timer::Close,
        Timer::ResumeWindow,
        Timer::Retention,
    ];
}

#[derive(Clone, Debug)]
pub(super) struct Timers([Instant; Timer::ALL.len()]);

impl Timers {
    pub(super) const fn new() -> Timers {
        Timers([Instant::MAX; Timer::ALL.len()])
    }

    #[inline]
    pub(super) fn set(&mut self, timer: Timer, at: Option<Instant>) {
        if let Some(slot) = self.0.get_mut(timer as usize) {
            *slot = at.unwrap_or(Instant::MAX);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Timers::new();
    }

    pub(super) fn is_due(&self, timer: Timer, now: Instant) -> bool {
        self.0.get(timer as usize).is_some_and(|at| *at != Instant::MAX && *at <= now)
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.0.get(timer as usize).is_some_and(|at| *at != Instant::MAX)
    }

    pub(super) fn earliest(&self) -> Option<(Instant, Timer)> {
        let at = self.earliest_at()?;
        let first = self.0.iter().position(|set| *set == at)?;
        Some((at, *Timer::ALL.get(first)?))
    }

    /// Asked for after every call: without the name it costs less.
    #[inline]
    pub(super) fn earliest_at(&self) -> Option<Instant> {
        // By pairs: one after the other, each would wait for the one before.
        let [a, b, c, d, e, f, g, h, i] = self.0;
        let earliest = a.min(b).min(c.min(d)).min(e.min(f).min(g.min(h))).min(i);
        (earliest != Instant::MAX).then_some(earliest)
    }
}

#[cfg(feature = "model")]
impl Timers {
    pub(super) fn digest(&self, digest: &mut super::digest::Digest<'_>) {
        self.0.iter().for_each(|at| digest.time(*at));
    }
}
