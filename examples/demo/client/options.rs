//! The command line that all example clients have.

use std::num::NonZeroUsize;

use arcp_proto::wire::{BearerToken, Credentials, PeerInfo};
use arcp_proto::{ClientConfig, Farewell, FeatureSet, GapPolicy, Limits};
use clap::{Args, ValueEnum};

use super::command::{self, Command};
use crate::feature_list;

/// Flattened into each program's own options.
#[derive(Args, Debug)]
pub struct ClientOptions {
    /// The bearer token that says who we are
    #[arg(long, default_value = "demo")]
    token: BearerToken,

    /// The features to ask for: names with commas between them, `none` or `all`
    #[arg(long, value_name = "LIST", default_value = "all", value_parser = feature_list::parse)]
    features: FeatureSet,

    /// How many events that are here already, and not acknowledged, a resume asks for again; 1, and no feature `ack`, for
    /// a runtime that refuses to resume a client that missed nothing
    #[arg(long, value_name = "N", default_value_t = 0)]
    resume_overlap: u64,

    /// The longest message, in bytes
    #[arg(long, value_name = "BYTES", default_value = "1048576")]
    max_frame: NonZeroUsize,

    /// The message that ends the session: `session.bye` or `session.close`
    #[arg(long, value_enum, default_value_t = Goodbye::Bye)]
    farewell: Goodbye,

    /// A command to carry out; may be given more than once. Without it, commands are read from the standard input, one
    /// a line
    #[arg(long = "do", value_name = "COMMAND", value_parser = Command::parse, long_help = command::HELP)]
    pub commands: Vec<Command>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Goodbye {
    Bye,
    Close,
}

impl ClientOptions {
    /// What the session is to be like, on a transport that can or cannot be made anew.
    pub fn config(&self, can_reconnect: bool) -> ClientConfig {
        let client = PeerInfo::new("arcp-proto-demo", env!("CARGO_PKG_VERSION"));
        ClientConfig {
            limits: Limits { max_frame: self.max_frame.get(), ..Limits::default() },
            resume_overlap: self.resume_overlap,
            farewell: match self.farewell {
                Goodbye::Bye => Farewell::Bye,
                Goodbye::Close => Farewell::Close,
            },
            // What is missing comes with a resume, where there can be one.
            gap_policy: if can_reconnect { GapPolicy::Resume } else { GapPolicy::Report },
            ..ClientConfig::new(client, Credentials::bearer(self.token.clone())).with_features(self.features.clone())
        }
    }
}
