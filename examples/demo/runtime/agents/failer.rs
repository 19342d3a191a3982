//! `failer`: a job that fails, by the code that one asks for.

use arcp_proto::endpoint::PublishError;
use arcp_proto::wire::{ErrorCode, WireError};
use serde::Deserialize;

use super::{Agent, Begin, Desk, Step, unfit};

#[derive(Deserialize)]
#[serde(default)]
pub struct Input {
    code: ErrorCode,
    message: String,
}

impl Default for Input {
    fn default() -> Input {
        Input { code: ErrorCode::InternalError, message: "failed as asked for".to_owned() }
    }
}

pub struct Failer(WireError);

impl Begin for Failer {
    type Input = Input;

    fn begin(Input { code, message }: Input) -> Result<Failer, WireError> {
        match code {
            ErrorCode::Other(code) => Err(unfit(format!("there is no error code `{code}`"))),
            // The endpoint would not send them: clients take them for a refused request (D12).
            ErrorCode::DuplicateKey | ErrorCode::PermissionDenied | ErrorCode::JobNotFound => {
                Err(unfit(format!("{code} refuses requests, and ends no job")))
            }
            code => Ok(Failer(WireError::new(code, message))),
        }
    }
}

impl Agent for Failer {
    fn step(&mut self, desk: &mut Desk<'_>) -> Result<Step, PublishError> {
        desk.fail(self.0.clone())?;
        Ok(Step::Done)
    }
}
