//! `chatty`: many log events.

use std::fmt::Arguments;
use std::time::Duration;

use arcp_proto::endpoint::PublishError;
use arcp_proto::wire::job_event::kind;
use arcp_proto::wire::{JobResult, RawJson, WireError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Agent, Begin, Desk, Step, unfit};

const MOST_EVENTS: u64 = 10_000_000;
const MOST_PAD: usize = 512 << 10;

#[derive(Deserialize)]
#[serde(default)]
pub struct Input {
    n: u64,
    delay_ms: u64,
    pad: usize,
}

impl Default for Input {
    fn default() -> Input {
        Input { n: 10, delay_ms: 0, pad: 0 }
    }
}

pub struct Chatty {
    n: u64,
    said: u64,
    delay: Duration,
    pad: String,
}

/// A `log` that is written without being put together first.
#[derive(Serialize)]
struct Line<'a> {
    level: &'static str,
    message: Arguments<'a>,
}

impl Begin for Chatty {
    type Input = Input;

    fn begin(input: Input) -> Result<Chatty, WireError> {
        if input.n > MOST_EVENTS {
            return Err(unfit(format!("`n` is at most {MOST_EVENTS}")));
        }
        if input.pad > MOST_PAD {
            return Err(unfit(format!("`pad` is at most {MOST_PAD}")));
        }
        let alphabet = ('a'..='z').cycle();
        let pad = if input.pad == 0 { String::new() } else { alphabet.take(input.pad).collect() };
        Ok(Chatty { n: input.n, said: 0, delay: Duration::from_millis(input.delay_ms), pad })
    }
}

impl Agent for Chatty {
    fn step(&mut self, desk: &mut Desk<'_>) -> Result<Step, PublishError> {
        if self.said == self.n {
            let result = RawJson::new(&json!({"events": self.n})).unwrap_or_else(|_| RawJson::null());
            desk.finish(JobResult::inline(result))?;
            return Ok(Step::Done);
        }
        let (number, pad) = (self.said + 1, &self.pad);
        let gap = if pad.is_empty() { "" } else { " " };
        desk.event(kind::LOG, &Line { level: "info", message: format_args!("line {number}{gap}{pad}") })?;
        self.said = number;
        Ok(if self.delay.is_zero() || self.said == self.n { Step::Next } else { Step::Pause(self.delay) })
    }
}
