//! ARCP over WebSocket, under tokio: a runtime for many clients, and a client.
//!
//! ```text
//! cargo run --manifest-path examples/websocket/Cargo.toml -- runtime --listen 127.0.0.1:7777
//! cargo run --manifest-path examples/websocket/Cargo.toml -- client ws://127.0.0.1:7777/arcp --do 'submit echo "hello"'
//! ```
//!
//! One text message is one envelope. The path is `/arcp`. What is not text, not UTF-8, or too long gets the answer that
//! the session has for it, and then a close frame that says 1003, 1007, or 1009 (D38, D39).
//!
//! | file | what is in it |
//! |---|---|
//! | `server` | the runtime's loop: one task that owns the endpoint |
//! | `connection` | a client's connection: a task that does the socket |
//! | `outlet` | what lies between the two, and how a full socket pushes back |
//! | `decoder` | what a client sends, taken apart: `tungstenite` without IO |
//! | `upgrade` | from HTTP to WebSocket |
//! | `caller` | the client's loop: one task that owns the session |
//! | `wire` | between the client's socket and its session |
//! | `dial`, `meter` | from an address to a WebSocket, by TLS or without, and whether anything came from there |
//! | `../../demo/runtime`, `../../demo/client` | what is the same on every transport: agents, options, scripts, reports |
//!
//! A runtime that is reached from elsewhere stands behind a proxy that ends TLS and passes the upgrade on, such as
//! (nginx)
//!
//! ```text
//! location /arcp {
//!     proxy_pass http://127.0.0.1:7777;
//!     proxy_http_version 1.1;
//!     proxy_set_header Upgrade $http_upgrade;
//!     proxy_set_header Connection "upgrade";
//!     proxy_read_timeout 120s;    # more than two heartbeat intervals
//! }
//! ```
//!
//! and clients come by `wss://`.

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
