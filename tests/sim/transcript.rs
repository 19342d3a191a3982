//! What happened in a world: its hash, what it reached, and, where somebody wants to read it, its text. It outlives a panic.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::rc::Rc;

use super::link::Ms;
use super::mark::Mark;

/// Frames, sent and arrived: the liveliest worlds that come to rest stay below a tenth of it.
const MOST: u64 = 200_000;

#[derive(Default)]
pub(crate) struct Inner {
    hash: u64,
    marks: BTreeSet<Mark>,
    text: Option<String>,
    frames: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Transcript(Rc<RefCell<Inner>>);

fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

pub(crate) fn hash_of(bytes: &[u8]) -> u64 {
    fnv(0xcbf2_9ce4_8422_2325, bytes)
}

impl Transcript {
    pub(crate) fn new(is_read: bool) -> Transcript {
        let transcript = Transcript::default();
        transcript.0.borrow_mut().text = is_read.then(String::new);
        transcript
    }

    pub(crate) fn reached(&self, mark: Mark) {
        self.0.borrow_mut().marks.insert(mark);
    }

    pub(crate) fn marks(&self) -> BTreeSet<Mark> {
        self.0.borrow().marks.clone()
    }

    pub(crate) fn hash(&self) -> u64 {
        self.0.borrow().hash
    }

    pub(crate) fn frames(&self) -> u64 {
        self.0.borrow().frames
    }

    pub(crate) fn text(&self) -> String {
        self.0.borrow().text.clone().unwrap_or_default()
    }

    /// A frame was handed out, or arrived.
    pub(crate) fn frame(&self, now: Ms, link: usize, what: &str, bytes: &[u8]) {
        let mut inner = self.0.borrow_mut();
        inner.frames += 1;
        assert!(inner.frames < MOST, "a world without an end: {MOST} frames");
        inner.hash = fnv(inner.hash ^ now, what.as_bytes());
        inner.hash = fnv(inner.hash, bytes);
        if let Some(text) = &mut inner.text {
            let _ = writeln!(text, "{now:>8} link {link:<3} {what} {}", String::from_utf8_lossy(bytes));
        }
    }

    /// Something else happened; what is only for reading is made only for a reader.
    pub(crate) fn note(&self, now: Ms, what: impl FnOnce() -> String) {
        let mut inner = self.0.borrow_mut();
        inner.hash = fnv(inner.hash, &now.to_le_bytes());
        if let Some(text) = &mut inner.text {
            let _ = writeln!(text, "{now:>8}          {}", what());
        }
    }
}
