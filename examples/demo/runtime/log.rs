//! What is said on stderr. Whoever should read it may be slow, or gone: that must cost nobody anything.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// So many lines may wait to be written; what comes beyond is left out, and counted.
const WAITING: usize = 1_024;

/// How long the last lines may take at the end.
const LAST: Duration = Duration::from_secs(1);

/// Writes lines in a thread of its own. Dropped, it waits for a moment until they are written.
pub struct Log {
    /// `None`: there are no more.
    lines: Option<SyncSender<Value>>,
    /// Ends when the thread does.
    written: Receiver<()>,
    /// Lines that were left out since the last one that was not.
    left_out: u64,
}

impl Log {
    /// # Errors
    ///
    /// There are as many threads as there may be.
    pub fn start() -> io::Result<Log> {
        let (lines, waiting) = mpsc::sync_channel(WAITING);
        let (writing, written) = mpsc::sync_channel(0);
        thread::Builder::new().spawn(move || {
            let _writing = writing;
            waiting.into_iter().for_each(|line| write(&line));
        })?;
        Ok(Log { lines: Some(lines), written, left_out: 0 })
    }

    pub fn line(&mut self, line: Value) {
        let Some(lines) = &self.lines else { return };
        if self.left_out > 0 && lines.try_send(json!({"ev": "left_out", "lines": self.left_out})).is_ok() {
            self.left_out = 0;
        }
        if lines.try_send(line).is_err() {
            self.left_out += 1;
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lines = None;
        let _ = self.written.recv_timeout(LAST);
    }
}

fn write(line: &Value) {
    // Nobody reads it: there is nobody to tell.
    let _ = writeln!(io::stderr(), "{line}");
}
