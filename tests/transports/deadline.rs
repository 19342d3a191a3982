//! How long something may still take.

use std::time::Duration;

use arcp_proto::{Clock, Instant};

use crate::PATIENCE;

/// A time by which something has to have come.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    clock: Clock,
    at: Instant,
}

impl Deadline {
    /// What everything is given.
    pub(crate) fn new() -> Deadline {
        Deadline::within(PATIENCE)
    }

    pub(crate) fn within(time: Duration) -> Deadline {
        let clock = Clock::new();
        Deadline { clock, at: clock.now().mono + time }
    }

    pub(crate) fn left(&self) -> Duration {
        self.clock.sleep_for(self.at)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}
