//! When each session and each transport wants to be woken, the earliest first.

use alloc::collections::BTreeSet;

use super::registry::Key;
use crate::time::Instant;

/// Whose deadline it is. Small, for there is one for every session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sleeper {
    Session(Key),
    /// By its slot, which is its own as long as it has a deadline.
    Conn(u32),
    /// The directory of jobs.
    Directory,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Deadlines {
    order: BTreeSet<(Instant, Sleeper)>,
    /// Of `order`, so that it costs nothing to read.
    earliest: Option<Instant>,
}

impl Deadlines {
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    /// Moves a deadline from `before`, where it stood, to `after`; [`Instant::MAX`] is none.
    pub(super) fn change(&mut self, sleeper: Sleeper, before: Instant, after: Instant) {
        if before == after {
            return;
        }
        if before != Instant::MAX {
            self.order.remove(&(before, sleeper));
        }
        if after != Instant::MAX {
            self.order.insert((after, sleeper));
        }
        self.earliest = self.order.first().map(|(at, _)| *at);
    }

    /// The first whose time has come. It stays until it is changed.
    pub(super) fn due(&self, now: Instant) -> Option<Sleeper> {
        self.order.first().filter(|(at, _)| *at <= now).map(|(_, sleeper)| *sleeper)
    }
}
