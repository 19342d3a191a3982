//! `echo`: its result is its input.

use arcp_proto::endpoint::PublishError;
use arcp_proto::wire::{JobResult, RawJson};

use super::{Agent, Desk, Step};

pub struct Echo(RawJson);

impl Echo {
    pub fn new(input: RawJson) -> Echo {
        Echo(input)
    }
}

impl Agent for Echo {
    fn step(&mut self, desk: &mut Desk<'_>) -> Result<Step, PublishError> {
        desk.finish(JobResult::inline(self.0.clone()))?;
        Ok(Step::Done)
    }
}
