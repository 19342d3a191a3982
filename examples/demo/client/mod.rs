//! What all example clients share: everything but the transport.
//!
//! An [`Operator`] holds the `Session<Client>` and carries a script of commands out on it. A program brings the transport,
//! the clock and the standard input, and goes round:
//!
//! ```text
//! loop {
//!     feed what was read into operator.session()        // handle_input, handle_malformed, handle_activity, handle_disconnect
//!     match operator.next(now) {
//!         Connect => open a transport, then operator.connected(now) or operator.unreachable(now, error)
//!         HangUp  => send what poll_transmit still has, then close the transport
//!         Over(c) => exit with c
//!         Wait    => send what poll_transmit has, as far as the transport takes it; wait for input, for a line of
//!                    the script (if operator.wants_command()), a signal, or operator.poll_timeout()
//!     }
//! }
//! ```
//!
//! The program has `feature_list` at its root, beside this module.
//!
//! | file | what is in it |
//! |---|---|
//! | `options` | the command line that all clients have |
//! | `command`, `script` | one line of a script, and where the lines come from |
//! | `operator` | the session, the script, and what is to be done next |
//! | `jobs` | which jobs are still to be waited for |
//! | `report` | everything that happens, one JSON line each |
//! | `results` | whether the parts of a streamed result add up |
//! | `progress_bar` | what somebody who watches a terminal sees |
//! | `backoff` | when to try again |
#![allow(unreachable_pub, reason = "a module of several programs, reachable in each of them")]

mod backoff;
mod command;
mod jobs;
mod operator;
mod options;
mod progress_bar;
mod report;
mod results;
mod script;

pub use operator::{Next, Operator};
pub use options::ClientOptions;
pub use script::{Input, read_stdin};
