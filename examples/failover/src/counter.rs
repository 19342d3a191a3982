//! The demo's agent: it counts. Its progress stands in the store, so that another process carries it on.

use arcp_proto::Now;
use arcp_proto::endpoint::{Endpoint, PublishError};
use arcp_proto::wire::job_event::{Progress, kind};
use arcp_proto::wire::{JobId, JobResult, RawJson};
use serde::{Deserialize, Serialize};

/// Its name among the runtime's agents.
pub const AGENT: &str = "counter";

/// What it is asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Input {
    /// It counts 1, 2, 3, … up to this.
    pub to: u64,
    /// How long it waits between two steps.
    #[serde(default)]
    pub every_ms: u64,
    /// How many numbers it counts in a step.
    #[serde(default = "one")]
    pub at_once: u64,
}

fn one() -> u64 {
    1
}

/// What it ends with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Output {
    /// The last number.
    pub counted: u64,
}

/// A count under way: what of the job has to be known to go on with it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Counter {
    input: Input,
    /// The last number that was published.
    counted: u64,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The next one is due later.
    Counting,
    /// There is no room; `Writable` follows.
    Blocked,
    /// That was all.
    Done,
}

impl Counter {
    /// A count that begins.
    pub fn new(input: Input) -> Counter {
        Counter { input, counted: 0 }
    }

    /// How long it waits between two steps.
    pub fn pause(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.input.every_ms)
    }

    /// Publishes the next numbers, and behind the last one the result. What the counter holds afterwards is what was
    /// published: neither is stored without the other.
    pub fn step(&mut self, now: Now, endpoint: &mut Endpoint, job: &JobId) -> Result<Pace, PublishError> {
        match self.publish(now, endpoint, job) {
            Err(PublishError::Send(arcp_proto::SendError::Blocked)) => Ok(Pace::Blocked),
            outcome => outcome,
        }
    }

    fn publish(&mut self, now: Now, endpoint: &mut Endpoint, job: &JobId) -> Result<Pace, PublishError> {
        let Input { to, at_once, .. } = self.input;
        for _ in 0..at_once.min(to - self.counted.min(to)) {
            let next = self.counted + 1;
            let progress = Progress { current: next.into(), total: Some(to.into()), units: None, message: None };
            endpoint.publish(now, job, kind::PROGRESS, &progress)?;
            self.counted = next;
        }
        if self.counted < to {
            return Ok(Pace::Counting);
        }
        let output = RawJson::new(&Output { counted: self.counted });
        let output = output.map_err(|error| arcp_proto::SendError::Json(error.to_string()))?;
        endpoint.finish(now, job, JobResult::inline(output))?;
        Ok(Pace::Done)
    }
}
