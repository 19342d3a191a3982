//! What ends a demo program from outside.
#![allow(unreachable_pub, reason = "a module of several programs, reachable in each of them")]

use std::io;
use std::{process, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `end` at the first SIGINT or SIGTERM; the second ends the process at once.
pub fn on_signal(end: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            end();
        }
        if let Some(signal) = signals.next() {
            process::exit(128 + signal);
        }
    });
    Ok(())
}
