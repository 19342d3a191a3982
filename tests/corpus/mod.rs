//! Recorded traffic of other implementations, where it is at hand: in the folder that the environment variable
//! `ARCP_CORPUS` names.
//!
//! A recording is a file `FOLDER/NAME.ndjson`, one frame a line, cut at LF and nowhere else: in `malformed-…` a line may
//! be anything. `NAME.dir.jsonl` beside it says direction, transport and time of each line and when transports opened and
//! ended, as `examples/inspect.rs` describes it.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arcp_proto::referee::Side;
use bytes::Bytes;
use serde_json::Value;

/// What two implementations said to each other.
pub(crate) struct Recording {
    /// `FOLDER/NAME`.
    pub(crate) name: String,
    /// Without their LF.
    pub(crate) lines: Vec<Bytes>,
    pub(crate) steps: Vec<Step>,
}

pub(crate) struct Step {
    /// Since an origin of the recorder's choosing.
    pub(crate) at: Duration,
    /// A number for each transport.
    pub(crate) conn: u64,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Open,
    Line {
        from: Side,
        /// In [`Recording::lines`].
        index: usize,
        /// The LF came, too.
        is_whole: bool,
    },
    /// A side has hung up.
    Eof(Side),
    /// The recorder, as one of the sides, has closed the transport.
    Close,
}

/// The folder; where none is named, the console is told that the test, by this name, is skipped.
pub(crate) fn folder(test: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("ARCP_CORPUS").map(PathBuf::from) else {
        // Not by `println!`, which is kept back where a test passes.
        let _ = writeln!(std::io::stderr(), "{test}: skipped, for ARCP_CORPUS names no folder of recordings");
        return None;
    };
    assert!(folder.is_dir(), "ARCP_CORPUS names {}, which is no folder", folder.display());
    Some(folder)
}

/// All recordings, by name.
pub(crate) fn recordings(test: &str) -> Vec<Recording> {
    let Some(folder) = folder(test) else { return Vec::new() };
    let mut recordings: Vec<Recording> = Vec::new();
    for implementation in entries(&folder).iter().filter(|path| path.is_dir()) {
        for file in entries(implementation) {
            if file.extension().is_some_and(|extension| extension == "ndjson") {
                recordings.push(Recording::read(&folder, &file));
            }
        }
    }
    assert!(!recordings.is_empty(), "there are no recordings in {}", folder.display());
    recordings
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

impl Recording {
    fn read(folder: &Path, file: &Path) -> Recording {
        let name = file.strip_prefix(folder).unwrap().with_extension("");
        let bytes = Bytes::from(std::fs::read(file).unwrap());
        let described = std::fs::read_to_string(file.with_extension("dir.jsonl")).unwrap_or_default();
        let mut steps: Vec<Step> = Vec::new();
        for described in described.lines() {
            let last = steps.last().map_or(Duration::ZERO, |step| step.at);
            steps.extend(step(described, last));
        }
        Recording { name: name.to_str().unwrap().replace('\\', "/"), lines: lines(&bytes), steps }
    }

    /// Every line may be anything.
    pub(crate) fn is_malformed(&self) -> bool {
        self.name.rsplit('/').next().unwrap().starts_with("malformed")
    }
}

fn lines(bytes: &Bytes) -> Vec<Bytes> {
    let mut lines: Vec<Bytes> = bytes.split(|byte| *byte == b'\n').map(|line| bytes.slice_ref(line)).collect();
    if lines.last().is_some_and(Bytes::is_empty) {
        lines.pop();
    }
    lines
}

fn side(name: &Value) -> Option<Side> {
    match name.as_str()? {
        "c2r" | "client" => Some(Side::Client),
        "r2c" | "runtime" => Some(Side::Runtime),
        _ => None,
    }
}

/// `None` of what the recorder says of its own troubles. What has no time came with the last that has one.
fn step(described: &str, last: Duration) -> Option<Step> {
    let entry: Value = serde_json::from_str(described).unwrap();
    let note = entry.get("note");
    let entry = note.unwrap_or(&entry);
    let said = |member: &str| entry[member] == true;
    let what = if note.is_none() {
        let number = usize::try_from(entry["n"].as_u64().unwrap()).unwrap();
        // Where nothing else is said, as on WebSocket, it is.
        What::Line { from: side(&entry["dir"]).unwrap(), index: number - 1, is_whole: entry["eol"] != false }
    } else if said("open") {
        What::Open
    } else if said("eof") {
        What::Eof(side(&entry["dir"])?)
    } else if let Some(side) = side(&entry["from"]) {
        // A WebSocket was closed.
        What::Eof(side)
    } else if said("close") {
        What::Close
    } else {
        return None;
    };
    let at = entry["t_ms"].as_f64().map_or(last, |ms| Duration::from_secs_f64(ms / 1_000.0));
    Some(Step { at: at.max(last), conn: entry["conn"].as_u64().unwrap_or(1), what })
}
