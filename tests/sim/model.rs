//! What ought to be, as far as the world knows it: sessions as each process has them, and jobs as they were published.

use std::collections::{BTreeMap, BTreeSet};

use arcp_proto::wire::{JobId, SessionId};
use arcp_proto::{Feature, FeatureSet, Phase};

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
    /// As which it was adopted.
    pub(crate) generation: u64,
    /// With which it was adopted.
    pub(crate) jobs: BTreeSet<JobId>,
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
            generation: 0,
            jobs: BTreeSet::new(),
        }
    }
}

fn is_for(needs: &Option<Feature>, features: &FeatureSet) -> bool {
    needs.is_none_or(|feature| features.contains(feature))
}

/// A job, as it was published.
pub(crate) struct JobModel {
    pub(crate) owner: SessionId,
    pub(crate) peer: usize,
    /// Of each event, what it needs.
    pub(crate) events: Vec<Option<Feature>>,
    pub(crate) has_ended: bool,
}

impl JobModel {
    /// The first event from `n` on that is for a session with these features.
    pub(crate) fn next(&self, n: u64, features: &FeatureSet) -> u64 {
        n + self.events.iter().skip(n as usize).take_while(|needs| !is_for(needs, features)).count() as u64
    }

    /// Whether all between are such that the one has not agreed on.
    pub(crate) fn is_without(&self, from: u64, to: u64, features: &FeatureSet) -> bool {
        let between = self.events.iter().skip(from as usize).take(to.saturating_sub(from) as usize);
        between.into_iter().all(|needs| !is_for(needs, features))
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
    /// What each session agreed on.
    pub(crate) owned: BTreeMap<SessionId, FeatureSet>,
    /// Sessions that two processes have gone on with in two ways, as they may where a batch was not stored.
    pub(crate) split: BTreeSet<SessionId>,
    /// Whose session it is.
    pub(crate) owners: BTreeMap<SessionId, usize>,
    /// The process that took it from the store last.
    pub(crate) adopters: BTreeMap<SessionId, usize>,
}
