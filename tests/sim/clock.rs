//! The clocks of one machine: their origins are nobody else's.

use arcp_proto::{Instant, Now, Timestamp};

use super::dice::Dice;
use super::link::Ms;

#[derive(Clone, Copy)]
pub(crate) struct Clock {
    origin: Ms,
    pub(crate) wall: i64,
}

impl Clock {
    pub(crate) fn new(dice: &mut Dice) -> Clock {
        let wall = 1_778_701_333_000 + dice.below(600_000) as i64 - 300_000;
        Clock { origin: dice.below(1 << 40), wall }
    }

    pub(crate) fn at(&self, true_time: Ms) -> Now {
        let wall = Timestamp::from_unix_millis(self.wall + true_time as i64);
        Now::new(Instant::from_millis(self.origin + true_time), wall)
    }

    /// True time at which this clock has come to `at`.
    pub(crate) fn true_time(&self, at: Instant) -> Ms {
        let millis = at.as_duration().as_nanos().div_ceil(1_000_000);
        u64::try_from(millis).unwrap_or(u64::MAX).saturating_sub(self.origin)
    }
}
