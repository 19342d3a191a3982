//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// The most that the first attempt waits; each one after it may wait twice as long.
const FIRST: Duration = Duration::from_millis(200);
/// The most that any attempt waits.
const MOST: Duration = Duration::from_secs(15);

/// Exponential, with full jitter: each wait is drawn from zero to a bound that doubles. When a runtime comes back, the
/// clients that it lost all at once do not come back all at once.
///
/// It has no end of its own: the session has one, and says `Closed` when its resume window is over.
pub struct Backoff {
    attempts: u32,
    random: fastrand::Rng,
}

impl Backoff {
    pub fn new(random: fastrand::Rng) -> Backoff {
        Backoff { attempts: 0, random }
    }

    /// The number of the next attempt, from 1, and how long to wait before it.
    pub fn next(&mut self) -> (u32, Duration) {
        let bound = FIRST.saturating_mul(1 << self.attempts.min(16)).min(MOST);
        self.attempts = self.attempts.saturating_add(1);
        let most = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        (self.attempts, Duration::from_millis(self.random.u64(0..=most)))
    }

    /// All is well again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_drawn_below_a_bound_that_doubles_up_to_a_limit() {
        let mut longest = [Duration::ZERO; 12];
        for seed in 0..500 {
            let mut backoff = Backoff::new(fastrand::Rng::with_seed(seed));
            for (n, longest) in longest.iter_mut().enumerate() {
                let (attempt, wait) = backoff.next();
                assert_eq!(attempt as usize, n + 1);
                assert!(wait <= MOST && wait <= FIRST * (1 << n), "attempt {attempt} waits {wait:?}");
                *longest = wait.max(*longest);
            }
        }
        // The whole range is used, and it does double.
        for (n, longest) in longest.into_iter().enumerate() {
            assert!(longest > (FIRST * (1 << n)).min(MOST) / 2, "attempt {} waits at most {longest:?}", n + 1);
        }
    }

    #[test]
    fn it_starts_over_and_never_overflows() {
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(7));
        for _ in 0..1_000 {
            assert!(backoff.next().1 <= MOST);
        }
        backoff.reset();
        let (attempt, wait) = backoff.next();
        assert!(attempt == 1 && wait <= FIRST);
    }

    #[test]
    fn the_same_seed_waits_the_same_another_does_not() {
        let waits = |seed| {
            let mut backoff = Backoff::new(fastrand::Rng::with_seed(seed));
            (0..8).map(|_| backoff.next().1).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
