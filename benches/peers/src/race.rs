//! Contenders timed in turn, a short batch of each at a time: whatever else the machine does befalls all of them.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long one batch is meant to take: long before the clock's grain, short before the scheduler's slice.
const BATCH: Duration = Duration::from_micros(60);

/// Does the work so many times, and says how long that took.
pub(crate) type Batch<'a> = Box<dyn FnMut(u64) -> Duration + 'a>;

/// Batches of a piece of work, whose result is taken for used.
pub(crate) fn batch<'a, T>(mut work: impl FnMut() -> T + 'a) -> Batch<'a> {
    batches(move |times| {
        for _ in 0..times {
            black_box(work());
        }
    })
}

/// Batches of what is given how often to do its work.
pub(crate) fn batches<'a>(mut work: impl FnMut(u64) + 'a) -> Batch<'a> {
    Box::new(move |times| {
        let start = Instant::now();
        work(times);
        start.elapsed()
    })
}

/// Nanoseconds for one piece of work, by contender and round.
pub(crate) struct Race {
    rounds: Vec<Vec<f64>>,
}

/// Lets the contenders run in turn, for about as long as the budget.
pub(crate) fn race(budget: Duration, contenders: &mut [Batch<'_>]) -> Race {
    let times: Vec<u64> = contenders.iter_mut().map(batch_size).collect();
    let mut rounds = vec![Vec::new(); contenders.len()];
    let end = Instant::now() + budget;
    for first in 0.. {
        if first >= 21 && Instant::now() >= end {
            break;
        }
        // Nobody always runs behind the same one.
        for turn in 0..contenders.len() {
            let at = (first + turn) % contenders.len();
            rounds[at].push(contenders[at](times[at]).as_nanos() as f64 / times[at] as f64);
        }
    }
    Race { rounds }
}

/// How often the work is done in a batch. Warms up, too.
fn batch_size(run: &mut Batch<'_>) -> u64 {
    let mut times = 1;
    loop {
        let took = (0..5).map(|_| run(times)).min().unwrap_or_default();
        if took >= BATCH || times >= 1 << 20 {
            return times;
        }
        // No more than tenfold, for a first run is slow.
        let wanted = times as f64 * 1.1 * BATCH.as_nanos() as f64 / took.as_nanos().max(1) as f64;
        times = (wanted as u64).clamp(times + 1, times * 10);
    }
}

impl Race {
    /// A contender's time in nanoseconds: a quarter of its rounds took less. What the machine does beside only adds.
    pub(crate) fn nanos(&self, contender: usize) -> f64 {
        quantile(self.rounds[contender].clone(), 4)
    }

    /// The median, over the rounds, of what one took in terms of what another took in the same round.
    pub(crate) fn ratio(&self, one: usize, other: usize) -> f64 {
        quantile(self.rounds[one].iter().zip(&self.rounds[other]).map(|(one, other)| one / other).collect(), 2)
    }
}

/// The value that one part in so many of them is below.
fn quantile(mut values: Vec<f64>, parts: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / parts]
}
