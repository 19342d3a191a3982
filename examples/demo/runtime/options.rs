//! The options that all demo runtimes have, so that each mechanism can be provoked from outside.

use std::num::NonZeroUsize;
use std::time::Duration;

use arcp_proto::endpoint::EndpointConfig;
use arcp_proto::wire::{BearerToken, PeerInfo, Principal};
use arcp_proto::{FeatureSet, Limits, Overflow, RuntimeConfig};
use clap::ValueEnum;

use crate::feature_list;

/// What all demo runtimes can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct RuntimeOptions {
    /// A bearer token and whose it is; repeatable. Without any, every token opens, and is its own principal
    #[arg(long = "token", value_name = "TOKEN=PRINCIPAL", value_parser = Pass::parse)]
    pub passes: Vec<Pass>,
    /// The features that are supported: names with commas between them, `all` or `none`
    #[arg(long, value_name = "a,b|none", default_value = "all", value_parser = feature_list::parse)]
    pub features: FeatureSet,
    /// The heartbeat interval, in seconds
    #[arg(long, value_name = "SEC", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub heartbeat: u64,
    /// How long a session can be resumed once its transport is lost, in seconds
    #[arg(long, value_name = "SEC", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub resume_window: u64,
    /// How many events may be unacknowledged before the back-pressure status
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub bp_threshold: u64,
    /// How many events are kept for replay
    #[arg(long, value_name = "N", default_value = "10000")]
    pub replay_events: NonZeroUsize,
    /// How many bytes of events are kept for replay
    #[arg(long, value_name = "N", default_value = "16777216")]
    pub replay_bytes: NonZeroUsize,
    /// What happens to an event that does not fit the replay buffer
    #[arg(long, value_enum, default_value_t = OnOverflow::Block)]
    pub overflow: OnOverflow,
    /// The longest message, in bytes, from 2000: the welcome has to fit
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = a_frame)]
    pub max_frame: usize,
    /// How long a client may take for its first message, in seconds
    #[arg(long, value_name = "SEC", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub handshake: u64,
    /// Let everybody list and follow everybody's jobs
    #[arg(long)]
    pub observe_all: bool,
    /// Say on stderr who was let in, resumed, refused and lost, one JSON line each
    #[arg(long)]
    pub audit: bool,
}

/// A bearer token and whose it is.
#[derive(Clone, Debug)]
pub struct Pass {
    pub token: BearerToken,
    pub principal: Principal,
}

impl Pass {
    fn parse(text: &str) -> Result<Pass, String> {
        match text.rsplit_once('=') {
            Some((token, principal)) if !token.is_empty() && !principal.is_empty() => {
                Ok(Pass { token: token.into(), principal: principal.into() })
            }
            // What was typed is not repeated: it is a secret.
            _ => Err("expected TOKEN=PRINCIPAL".to_owned()),
        }
    }
}

/// What happens to an event that does not fit the replay buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnOverflow {
    /// It waits until the client has acknowledged older ones
    Block,
    /// The oldest goes
    Evict,
}

fn a_frame(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|bytes| *bytes >= 2_000).ok_or_else(|| "expected a number from 2000".to_owned())
}

impl RuntimeOptions {
    /// What they amount to.
    pub fn config(&self) -> EndpointConfig {
        let overflow = match self.overflow {
            OnOverflow::Block => Overflow::Block,
            OnOverflow::Evict => Overflow::Evict,
        };
        let defaults = Limits::default();
        let opening_frame = defaults.opening_frame.min(self.max_frame);
        let runtime = RuntimeConfig {
            heartbeat_interval: Duration::from_secs(self.heartbeat),
            resume_window: Duration::from_secs(self.resume_window),
            back_pressure_threshold: self.bp_threshold,
            ..RuntimeConfig::new(PeerInfo::new("arcp-proto-demo", env!("CARGO_PKG_VERSION")))
                .with_features(self.features.clone())
                .with_replay(self.replay_events.get(), self.replay_bytes.get(), overflow)
                .with_limits(Limits { max_frame: self.max_frame, opening_frame, ..defaults })
        };
        EndpointConfig { handshake_timeout: Duration::from_secs(self.handshake), ..EndpointConfig::new(runtime) }
    }
}
