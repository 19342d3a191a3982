//! ARCP over WebSocket, under tokio: a runtime for many clients, and a client.
//!
//! ```text
//! cargo run --manifest-path examples/websocket/Cargo.toml -- runtime --listen 127.0.0.1:7777
//! cargo run --manifest-path examples/websocket/Cargo.toml -- client ws://127.0.0.1:7777/arcp --do 'submit echo "hello"'
//! ```

mod connection;
mod decoder;
#[path = "../../demo/ending.rs"]
mod ending;
#[path = "../../demo/feature_list.rs"]
mod feature_list;
mod outlet;
#[path = "../../demo/runtime/mod.rs"]
mod runtime;
mod server;
mod upgrade;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use server::ServerOptions;

/// ARCP over WebSocket.
#[derive(Parser, Debug)]
#[command(name = "arcp-websocket", version)]
struct Options {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand, Debug)]
enum Role {
    Runtime(ServerOptions),
}

fn main() -> ExitCode {
    let done = match Options::parse().role {
        Role::Runtime(options) => server::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("arcp-websocket: {error}");
            ExitCode::FAILURE
        }
    }
}
