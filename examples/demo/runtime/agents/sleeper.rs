//! `sleeper`: does nothing for a while.

use std::time::Duration;

use arcp_proto::endpoint::PublishError;
use arcp_proto::wire::{JobResult, RawJson, WireError};
use serde::Deserialize;
use serde_json::json;

use super::{Agent, Begin, Desk, Step};

#[derive(Deserialize)]
pub struct Input {
    /// Without it, it sleeps until it is cancelled.
    ms: Option<u64>,
}

pub struct Sleeper {
    ms: Option<u64>,
    is_asleep: bool,
}

impl Begin for Sleeper {
    type Input = Input;

    fn begin(Input { ms }: Input) -> Result<Sleeper, WireError> {
        Ok(Sleeper { ms, is_asleep: false })
    }
}

impl Agent for Sleeper {
    fn step(&mut self, desk: &mut Desk<'_>) -> Result<Step, PublishError> {
        let Some(ms) = self.ms else { return Ok(Step::Wait) };
        if !self.is_asleep {
            self.is_asleep = true;
            return Ok(Step::Pause(Duration::from_millis(ms)));
        }
        let result = RawJson::new(&json!({"slept_ms": ms})).unwrap_or_else(|_| RawJson::null());
        desk.finish(JobResult::inline(result))?;
        Ok(Step::Done)
    }
}
