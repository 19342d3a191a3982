//! The operating system's clocks, for drivers. Nothing else in this crate reads one.

use core::time::Duration;
use std::time::SystemTime;

use crate::time::{Instant, Now, Timestamp};

/// Reads both clocks of the operating system; its creation is the origin of its [`Instant`]s.
///
/// One per process is enough: instants of two clocks do not compare. A copy is the same clock.
///
/// Where `std` has no clock (`wasm32-unknown-unknown`), build the [`Now`] from the host's.
///
/// ```
/// use arcp_proto::Clock;
/// use core::time::Duration;
///
/// let clock = Clock::new();
/// let deadline = clock.now().mono + Duration::from_millis(1);
/// std::thread::sleep(clock.sleep_for(deadline));
/// assert!(clock.now().mono >= deadline);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn new() -> Clock {
        Clock { origin: monotonic() }
    }

    /// The clock tick that every input of a session carries.
    #[must_use]
    pub fn now(&self) -> Now {
        Now::new(self.mono(), wall(system_time()))
    }

    /// How long to sleep until `deadline`, which a session gave as its next: zero when it has passed, and
    /// [`Duration::MAX`] for [`Instant::MAX`], which never comes.
    #[must_use]
    pub fn sleep_for(&self, deadline: Instant) -> Duration {
        if deadline == Instant::MAX { Duration::MAX } else { deadline.since(self.mono()) }
    }

    fn mono(&self) -> Instant {
        Instant::from_duration(monotonic().saturating_duration_since(self.origin))
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock, on a driver's behalf")]
fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock, on a driver's behalf")]
fn system_time() -> SystemTime {
    SystemTime::now()
}

fn wall(time: SystemTime) -> Timestamp {
    let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => Timestamp::from_unix_millis(millis(since)),
        // A clock that was never set can stand before the epoch.
        Err(before) => Timestamp::from_unix_millis(-millis(before.duration())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_the_origin_and_never_runs_back() {
        let clock = Clock::new();
        let mut last = clock.now();
        assert!(last.mono.as_duration() < Duration::from_secs(60));
        for _ in 0..1_000 {
            let now = clock.now();
            assert!(now.mono >= last.mono);
            last = now;
        }
        while clock.now().mono == last.mono {}
    }

    #[test]
    fn a_copy_is_the_same_clock() {
        let clock = Clock::new();
        let copy = clock;
        let (first, second) = (clock.now().mono, copy.now().mono);
        assert!(first <= second && second.since(first) < Duration::from_secs(60));
    }

    #[test]
    fn sleeps_until_the_deadline_and_not_for_a_past_one() {
        let clock = Clock::new();
        let hour = Duration::from_secs(3_600);
        let sleep = clock.sleep_for(clock.now().mono + hour);
        assert!(sleep <= hour && sleep > hour - Duration::from_secs(60));
        assert_eq!(clock.sleep_for(Instant::ZERO), Duration::ZERO);
        assert_eq!(clock.sleep_for(Instant::MAX), Duration::MAX);
    }

    #[test]
    fn the_wall_clock_counts_from_the_epoch() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        assert_eq!(wall(at(1_778_701_333_007)).to_string(), "2026-05-13T19:42:13.007Z");
        assert_eq!(wall(SystemTime::UNIX_EPOCH - Duration::from_millis(1)), Timestamp::from_unix_millis(-1));
        assert!(Clock::new().now().wall > Timestamp::parse("2024-01-01T00:00:00Z").unwrap());
    }
}
