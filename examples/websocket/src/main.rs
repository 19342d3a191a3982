//! ARCP over WebSocket, under tokio: a runtime for many clients, and a client.
//!
//! ```text
//! cargo run --manifest-path examples/websocket/Cargo.toml -- runtime --listen 127.0.0.1:7777
//! cargo run --manifest-path examples/websocket/Cargo.toml -- client ws://127.0.0.1:7777/arcp --do 'submit echo "hello"'
//! ```

mod caller;
#[path = "../../demo/client/mod.rs"]
mod client;
mod connection;
mod decoder;
mod dial;
#[path = "../../demo/ending.rs"]
mod ending;
#[path = "../../demo/feature_list.rs"]
mod feature_list;
mod meter;
mod outlet;
#[path = "../../demo/runtime/mod.rs"]
mod runtime;
mod server;
mod upgrade;
mod wire;

use std::process::ExitCode;

use caller::CallerOptions;
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
    Client(CallerOptions),
}

fn main() -> ExitCode {
    let done = match Options::parse().role {
        Role::Runtime(options) => server::run(&options).map(|()| ExitCode::SUCCESS),
        Role::Client(options) => caller::run(options),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("arcp-websocket: {error}");
            ExitCode::FAILURE
        }
    }
}
