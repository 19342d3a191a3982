//! The example programs, driven as child processes over real pipes and sockets.
//!
//! What a well-behaved client sees is seen by a `Session<Client>` in the test, with a [`Referee`](arcp_proto::referee::Referee)
//! beside it that finds both sides clean; whatever misbehaves is made by hand. A test's name begins with the requirement
//! (`a…`) or decision (`d…`) that it holds, where there is one; `docs/decisions.md` lists them.
//!
//! Nothing here waits for a fixed time: every wait is for something to come, and fails after [`PATIENCE`] with what was
//! seen.
#![cfg(unix)]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

/// Makes tests of scenarios, one over each wire.
macro_rules! over_each_wire {
    ($($scenario:ident)*) => {
        mod lines {
            $(#[test] fn $scenario() { super::$scenario($crate::server::Wire::Lines); })*
        }
        mod web_socket {
            $(#[test] fn $scenario() { super::$scenario($crate::server::Wire::WebSocket); })*
        }
    };
}

/// Makes one test of a scenario that waits for the programs' own timeouts: over all wires at once.
macro_rules! over_all_wires_at_once {
    ($($scenario:ident)*) => {
        mod both {
            $(#[test] fn $scenario() { $crate::server::Wire::all_at_once(super::$scenario); })*
        }
    };
}

mod agents;
mod client;
mod crowd;
mod deadline;
mod farewell;
mod heartbeat;
mod hostility;
mod jobs;
mod lines;
mod opening;
mod peer;
mod pipes;
mod process;
mod programs;
mod resume;
mod scripts;
mod server;
mod stall;
mod stdio;
mod subscription;
mod transport;
mod umpire;
mod web_socket;
mod window;

/// How long anything may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
