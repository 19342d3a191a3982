//! What a search is to reach, or it shows nothing.

use std::sync::atomic::{AtomicU32, Ordering};

macro_rules! marks {
    ($($name:ident = $text:literal;)*) => {
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Mark {
            $($name,)*
        }

        const ALL: &[(Mark, &str)] = &[$((Mark::$name, $text),)*];
    };
}

marks! {
    Blocked = "blocked";
    Writable = "writable";
    BackPressure = "back-pressure";
    Takeover = "takeover";
    LostWelcome = "lost welcome";
    RefusedResume = "refused resume";
    OwnEarlierAttempt = "superseded by its own earlier attempt";
    RetiredToken = "retired token";
    Replay = "replay";
    ClientWindow = "client's window over";
    RuntimeWindow = "runtime's window over";
    Kept = "kept beyond the window";
    Retention = "retention over";
    Overfull = "ended by an event beyond the window";
    ClientSilence = "heartbeat lost at the client";
    RuntimeSilence = "heartbeat lost at the runtime";
    Goodbye = "goodbye answered";
    Shutdown = "shut down";
    LateAnswer = "late answer";
    OrphanedSubmit = "submit answered while detached";
    HandshakeTimeout = "handshake timed out";
    RequestTimeout = "request timed out";
    Overrun = "evicted before it was sent";
    Crash = "client restored";
    Reload = "runtime restored";
}

/// Those that were reached.
#[derive(Debug, Default)]
pub(crate) struct Marks(AtomicU32);

impl Marks {
    pub(crate) fn set(&self, mark: Mark) {
        let bit = 1 << mark as u32;
        if self.0.load(Ordering::Relaxed) & bit == 0 {
            self.0.fetch_or(bit, Ordering::Relaxed);
        }
    }

    pub(crate) fn bits(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn texts(bits: u32) -> impl Iterator<Item = &'static str> {
        ALL.iter().filter(move |(mark, _)| bits & (1 << *mark as u32) != 0).map(|(_, text)| *text)
    }

    /// All that there are.
    pub(crate) fn every() -> u32 {
        ALL.iter().fold(0, |bits, (mark, _)| bits | 1 << *mark as u32)
    }
}
