//! What is said on stderr. Whoever should read it may be slow, or gone: that must cost nobody anything.

use std::io::{self, Write};
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use serde_json::{Value, json};

/// So many lines may wait to be written; what comes beyond is left out, and counted.
const WAITING: usize = 1_024;

/// Writes lines in a thread of its own.
pub struct Log {
    lines: SyncSender<Value>,
    /// Lines that were left out since the last one that was not.
    left_out: u64,
}

impl Log {
    /// # Errors
    ///
    /// There are as many threads as there may be.
    pub fn start() -> io::Result<Log> {
        let (lines, waiting) = mpsc::sync_channel(WAITING);
        thread::Builder::new().spawn(move || waiting.into_iter().for_each(|line| write(&line)))?;
        Ok(Log { lines, left_out: 0 })
    }

    pub fn line(&mut self, line: Value) {
        if self.left_out > 0 && self.lines.try_send(json!({"ev": "left_out", "lines": self.left_out})).is_ok() {
            self.left_out = 0;
        }
        if self.lines.try_send(line).is_err() {
            self.left_out += 1;
        }
    }
}

fn write(line: &Value) {
    // Nobody reads it: there is nobody to tell.
    let _ = writeln!(io::stderr(), "{line}");
}
