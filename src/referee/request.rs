//! What the client has asked for and not been told (D12).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::finding::{Charges, Side};
use super::memory::Print;
use super::rule::Rule;
use crate::time::Instant;
use crate::wire::MessageType;

const MAX_OPEN: usize = 1_024;
const MAX_STATES: usize = 16;
/// The deadline of a request (D12).
const DEADLINE: Duration = Duration::from_secs(30);

/// An open request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: Option<Print>,
    pub(super) message: MessageType,
    pub(super) at: Instant,
    /// The attachment on which it was sent.
    pub(super) attachment: u32,
    /// Of a cancel or subscribe.
    pub(super) job: Option<Print>,
    /// Of a list: how many, and in which states.
    pub(super) limit: Option<u64>,
    pub(super) states: Vec<Print>,
    /// Of a submit with an idempotency key: the key, and all the rest.
    pub(super) key: Option<(Print, Print)>,
    /// A later request of its kind was answered.
    overtaken: bool,
}

impl Request {
    pub(super) fn new(id: Option<Print>, message: MessageType, at: Instant, attachment: u32) -> Request {
        Request { id, message, at, attachment, job: None, limit: None, states: Vec::new(), key: None, overtaken: false }
    }

    pub(super) fn asks_for(&mut self, states: impl Iterator<Item = Print>) {
        self.states = states.take(MAX_STATES + 1).collect();
        if self.states.len() > MAX_STATES {
            self.states.clear();
        }
    }
}

/// The open requests of a session.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    open: VecDeque<Request>,
    /// Some answer could not be told from another's: from then on nothing is unasked for.
    pub(super) ambiguous: bool,
}

impl Requests {
    pub(super) const fn new() -> Requests {
        Requests { open: VecDeque::new(), ambiguous: false }
    }

    pub(super) fn push(&mut self, request: Request) {
        if request.id.is_some() {
            self.open.retain(|other| other.id != request.id);
        }
        if self.open.len() == MAX_OPEN {
            self.open.pop_front();
            self.ambiguous = true;
        }
        self.open.push_back(request);
    }

    /// The answer to the request of that id has come.
    pub(super) fn by_id(&mut self, id: Print) -> Option<Request> {
        let at = self.open.iter().position(|request| request.id == Some(id))?;
        self.answer(at)
    }

    /// An answer that names no request has come: the oldest that fits.
    pub(super) fn oldest(&mut self, fits: impl Fn(&Request) -> bool) -> Option<Request> {
        let at = self.open.iter().position(fits)?;
        self.answer(at)
    }

    fn answer(&mut self, at: usize) -> Option<Request> {
        let answered = self.open.remove(at)?;
        // Only a list is always answered by name: of the others one cannot know which was meant.
        if answered.message == MessageType::SessionListJobs {
            for earlier in self.open.iter_mut().take(at) {
                earlier.overtaken |= earlier.message == answered.message && earlier.attachment == answered.attachment;
            }
        }
        Some(answered)
    }

    pub(super) fn count(&self, fits: impl Fn(&Request) -> bool) -> usize {
        self.open.iter().filter(|request| fits(request)).count()
    }

    pub(super) fn any(&self, fits: impl Fn(&Request) -> bool) -> bool {
        self.open.iter().any(fits)
    }

    /// The transport has ended: what was asked on it and is past its time stays without an answer.
    pub(super) fn detach(&mut self, charges: &mut Charges, now: Instant, attachment: u32) {
        if self.ambiguous {
            return;
        }
        self.open.retain(|request| {
            let due = request.overtaken || now - request.at > DEADLINE;
            let unanswered = request.attachment == attachment && due;
            if unanswered {
                charges.bring(Side::Runtime, Rule::Unanswered, request.message.name());
            }
            !unanswered
        });
    }
}
