//! What a session has to do with jobs.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use super::queue::Charge;
use crate::session::RequestId;
use crate::wire::{JobId, JobSubmit, TraceId};

/// A submit that has no answer yet.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) id: RequestId,
    pub(super) trace_id: Option<TraceId>,
    /// The key that it holds open (D41).
    pub(super) key: Option<String>,
    pub(super) state: AskState,
}

/// Who has a submit now.
#[derive(Clone, Debug)]
pub(super) enum AskState {
    /// Nobody: one before it has no answer yet.
    Waiting(Box<JobSubmit>, Option<Charge>),
    /// One with the same key, whose answer will be its own. It counts until then, for it is kept.
    Repeating(Box<JobSubmit>, Option<Charge>),
    /// The application.
    Told,
}

/// Boxed, for a session at rest has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    /// Its jobs that have not ended.
    pub(super) submitted: BTreeSet<JobId>,
    /// The jobs of others that it hears of.
    pub(super) subscribed: BTreeSet<JobId>,
    /// Jobs that were refused with `Blocked`.
    pub(super) blocked: BTreeSet<JobId>,
    /// In the order in which they came.
    pub(super) submits: VecDeque<Asked>,
}

impl Work {
    pub(super) fn asked(&mut self, id: RequestId) -> Option<&mut Asked> {
        self.submits.iter_mut().find(|asked| asked.id == id)
    }

    pub(super) fn take_asked(&mut self, id: RequestId) -> Option<Asked> {
        let at = self.submits.iter().position(|asked| asked.id == id)?;
        self.submits.remove(at)
    }

    /// What the submits cost that wait for the answer to another.
    pub(super) fn held_by_submits(&self) -> usize {
        let cost = |asked: &Asked| match &asked.state {
            AskState::Waiting(_, charge) | AskState::Repeating(_, charge) => charge.map_or(0, |charge| charge.cost),
            AskState::Told => 0,
        };
        self.submits.iter().map(cost).sum()
    }

    pub(super) fn take_blocked(&mut self) -> Vec<JobId> {
        core::mem::take(&mut self.blocked).into_iter().collect()
    }
}
