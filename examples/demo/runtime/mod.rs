//! A demo runtime without its transport: [`Host`] is the endpoint, the door and the agents; the program that uses it
//! brings the bytes. `tcp_runtime`, `stdio_runtime` and `websocket` differ in that alone.
#![allow(unreachable_pub, reason = "a module of several programs, reachable in each of them")]

mod agents;
mod door;
mod host;
mod jobs;
mod log;
mod options;

pub use agents::AGENTS;
pub use host::Host;
pub use options::RuntimeOptions;
