//! The demo agents: something to talk to for anybody's client. [`AGENTS`] says what there is.

mod chatty;
mod demo;
mod desk;
mod echo;
mod failer;
mod sleeper;
mod streamer;

use std::sync::Arc;
use std::time::Duration;

use arcp_proto::endpoint::PublishError;
use arcp_proto::wire::{AgentInfo, ErrorCode, JobSubmit, RawJson, WireError};
use serde::de::DeserializeOwned;

pub use desk::Desk;

/// For the end of a program's help.
pub const AGENTS: &str = r#"Agents, and the input that each takes (members may be left out):
  echo      anything                          its result is its input
  demo      {"rounds":1}                      an event of every kind a round; 1.0.0, 2.0.0, 3.0.0-rc.1+build.7
  chatty    {"n":10,"delay_ms":0,"pad":0}     n log events, each with so many bytes of text more
  streamer  {"chunks":4,"size":1024,"encoding":"utf8"}
                                              a result in chunks of at most so many bytes, utf8 or base64
  sleeper   {"ms":1000}                       sleeps; without ms until it is cancelled
  failer    {"code":"TIMEOUT","message":"…"}  fails
A job that nobody hears of any more goes on slowly, and is ended ten minutes after its session."#;

/// What an agent does after a step.
pub enum Step {
    /// The next one.
    Next,
    /// The next one, after a while.
    Pause(Duration),
    /// Nothing, until the job is cancelled or runs out of its time.
    Wait,
    /// The job has ended.
    Done,
}

/// What happens in a job.
pub trait Agent: Send {
    /// Publishes at most one thing, and goes on behind it. What was not published has to leave the agent as it was: where
    /// there is no room, the same step comes again.
    fn step(&mut self, desk: &mut Desk<'_>) -> Result<Step, PublishError>;
}

struct Kind {
    name: &'static str,
    /// The first stands for the bare name.
    versions: &'static [&'static str],
    start: fn(&JobSubmit) -> Result<Box<dyn Agent>, WireError>,
}

const KINDS: &[Kind] = &[
    Kind { name: "echo", versions: &["1.0.0"], start: |submit| Ok(Box::new(echo::Echo::new(submit.input.clone()))) },
    Kind { name: "demo", versions: &["2.0.0", "1.0.0", "3.0.0-rc.1+build.7"], start: begin::<demo::Demo> },
    Kind { name: "chatty", versions: &["1.0.0"], start: begin::<chatty::Chatty> },
    Kind { name: "streamer", versions: &["1.0.0"], start: begin::<streamer::Streamer> },
    Kind { name: "sleeper", versions: &["1.0.0"], start: begin::<sleeper::Sleeper> },
    Kind { name: "failer", versions: &["1.0.0"], start: begin::<failer::Failer> },
];

/// An agent that is told what to do by an object.
trait Begin: Agent + Sized + 'static {
    type Input: DeserializeOwned;

    fn begin(input: Self::Input) -> Result<Self, WireError>;
}

fn begin<A: Begin>(submit: &JobSubmit) -> Result<Box<dyn Agent>, WireError> {
    // No input is an empty one.
    let nothing = RawJson::empty_object();
    let input = if submit.input.text() == "null" { &nothing } else { &submit.input };
    let input = input.parse().map_err(|error| unfit(format!("input: {error}")))?;
    Ok(Box::new(A::begin(input)?))
}

/// The input is none that the agent can work with.
fn unfit(why: impl Into<String>) -> WireError {
    WireError::new(ErrorCode::InvalidRequest, why)
}

/// What a welcome tells of the agents (A4).
pub fn inventory() -> Arc<[AgentInfo]> {
    let entry = |kind: &Kind| {
        let mut versions = kind.versions.to_vec();
        versions.sort_unstable();
        AgentInfo { default: kind.versions.first().map(ToString::to_string), ..AgentInfo::new(kind.name, versions) }
    };
    KINDS.iter().map(entry).collect()
}

/// The agent that is asked for (§7.5), and its full name.
pub fn start(submit: &JobSubmit) -> Result<(String, Box<dyn Agent>), WireError> {
    let (name, version) = match submit.agent.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (submit.agent.as_str(), None),
    };
    let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
        return Err(WireError::new(ErrorCode::AgentNotAvailable, "there is no such agent"));
    };
    let version = match version {
        None => kind.versions.first(),
        Some(version) => kind.versions.iter().find(|known| **known == version),
    };
    let Some(version) = version else {
        return Err(WireError::new(ErrorCode::AgentVersionNotAvailable, "the agent has no such version"));
    };
    Ok((format!("{name}@{version}"), (kind.start)(submit)?))
}
