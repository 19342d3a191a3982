//! What ought to be, as far as the world knows it: sessions as each process has them, and jobs as they were published.

use std::collections::BTreeMap;

use arcp_proto::Phase;
use arcp_proto::wire::{JobId, SessionId};

use super::link::Ms;

/// A session at a process.
pub(crate) struct Hosted {
    pub(crate) peer: usize,
    /// Those that resume it: one, or two while nobody knows whether the welcome has come.
    pub(crate) tokens: Vec<String>,
    pub(crate) link: Option<usize>,
    /// The last event handed to the present transport.
    pub(crate) cursor: u64,
    /// The last event ever handed out.
    pub(crate) transmitted: u64,
    pub(crate) phase: Phase,
    /// When it lost its transport.
    pub(crate) lost_at: Option<Ms>,
    /// Somebody adopted it: what is left of its window is the store's to know.
    pub(crate) is_adopted: bool,
    /// Once.
    pub(crate) was_adopted: bool,
    /// How long the client had been silent when it lost its transport.
    pub(crate) silence: Ms,
    /// Seen last: something is unacknowledged, so that it outlives its window.
    pub(crate) is_kept: bool,
    pub(crate) has_subscribed: bool,
    pub(crate) blocked_since: Option<Ms>,
    /// It may end in other ways than by its window.
    pub(crate) may_go: bool,
    pub(crate) gone_at: Option<Ms>,
    pub(crate) was_elapsed: bool,
}

impl Hosted {
    pub(crate) fn new(peer: usize, tokens: Vec<String>, transmitted: u64) -> Hosted {
        Hosted {
            peer,
            tokens,
            link: None,
            cursor: 0,
            transmitted,
            phase: Phase::Detached,
            lost_at: None,
            is_adopted: false,
            was_adopted: false,
            silence: 0,
            is_kept: false,
            has_subscribed: false,
            blocked_since: None,
            may_go: false,
            gone_at: None,
            was_elapsed: false,
        }
    }
}

/// A job, as it was published.
pub(crate) struct JobModel {
    pub(crate) owner: SessionId,
    pub(crate) peer: usize,
    /// Of each event, whether it needs `progress`.
    pub(crate) events: Vec<bool>,
    pub(crate) has_ended: bool,
}

impl JobModel {
    /// The first event from `n` on that is for a session with `progress`, or without.
    pub(crate) fn next(&self, n: u64, has_progress: bool) -> u64 {
        let rest = self.events.iter().skip(n as usize);
        n + rest.take_while(|needs_progress| **needs_progress && !has_progress).count() as u64
    }

    pub(crate) fn len(&self) -> u64 {
        self.events.len() as u64
    }
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) hosted: BTreeMap<(usize, SessionId), Hosted>,
    pub(crate) jobs: BTreeMap<JobId, JobModel>,
    /// All tokens of each session, the oldest first.
    pub(crate) tokens: BTreeMap<SessionId, Vec<String>>,
    /// What each place in each sequence holds.
    pub(crate) contents: BTreeMap<(SessionId, u64), u64>,
    /// Whose session it is.
    pub(crate) owners: BTreeMap<SessionId, usize>,
    /// The process that took it from the store last.
    pub(crate) adopters: BTreeMap<SessionId, usize>,
}
