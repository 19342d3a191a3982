//! What a runtime was asked and has not answered, and the submits that it has (D8).

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::requests::RequestId;
use crate::wire::{JobId, MessageType, RawJson};

/// An answer as it can be sent again, under another message id.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) message: MessageType,
    pub(super) job_id: Option<JobId>,
    pub(super) payload: RawJson,
}

/// A request that waits for the application.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) id: RequestId,
    /// The peer's message id, which the answer names.
    pub(super) message_id: Box<str>,
    pub(super) message: MessageType,
    pub(super) job_id: Option<JobId>,
    /// A submit from an earlier attachment that was not repeated on this one: its answer is kept, not sent.
    pub(super) is_orphan: bool,
}

/// What to do with a request that came.
#[derive(Debug)]
pub(super) enum Intake {
    /// Ask the application.
    New(RequestId),
    /// It is open already: its answer comes.
    Repeated,
    /// It was answered before, like this.
    Answered(Answer),
    /// Too many are open.
    TooMany,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Pendings {
    open: VecDeque<Pending>,
    last: u64,
    /// `None` before the first.
    answered: Option<Box<Answered>>,
}

/// The answers to the last submits, by their message ids.
#[derive(Clone, Debug, Default)]
struct Answered {
    answers: VecDeque<(Box<str>, Answer)>,
    bytes: usize,
}

impl Pendings {
    pub(super) fn take_in(
        &mut self,
        message_id: &str,
        message: MessageType,
        job_id: Option<JobId>,
        limit: usize,
    ) -> Intake {
        if let Some(open) = self.open.iter_mut().find(|open| *open.message_id == *message_id) {
            open.is_orphan = false;
            return Intake::Repeated;
        }
        if message == MessageType::JobSubmit
            && let Some(answer) = self.answer(message_id)
        {
            return Intake::Answered(answer.clone());
        }
        if self.open.len() >= limit {
            return Intake::TooMany;
        }
        self.last += 1;
        let id = RequestId(self.last);
        self.open.push_back(Pending { id, message_id: message_id.into(), message, job_id, is_orphan: false });
        Intake::New(id)
    }

    /// Whether this is the id of an open request or of a submit that was answered.
    pub(super) fn knows(&self, message_id: &str) -> bool {
        self.open.iter().any(|open| *open.message_id == *message_id) || self.answer(message_id).is_some()
    }

    fn answer(&self, message_id: &str) -> Option<&Answer> {
        let (_, answer) = self.answered.as_ref()?.answers.iter().find(|(id, _)| **id == *message_id)?;
        Some(answer)
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Pending> {
        self.open.iter().find(|open| open.id == id)
    }

    /// The request is answered.
    pub(super) fn remove(&mut self, id: RequestId) -> Option<Pending> {
        let at = self.open.iter().position(|open| open.id == id)?;
        self.open.remove(at)
    }

    /// Keeps the answer to a submit for its repetition.
    pub(super) fn keep(&mut self, message_id: Box<str>, answer: Answer, count: usize, bytes: usize) {
        let len = answer.payload.text().len();
        if len > bytes || count == 0 {
            return;
        }
        let answered = self.answered.get_or_insert_default();
        answered.bytes += len;
        answered.answers.push_back((message_id, answer));
        while answered.answers.len() > count || answered.bytes > bytes {
            let Some((_, oldest)) = answered.answers.pop_front() else { break };
            answered.bytes -= oldest.payload.text().len();
        }
    }

    /// The transport is gone: open submits stay, other requests are dropped.
    pub(super) fn detach(&mut self) {
        self.open.retain(|open| open.message == MessageType::JobSubmit);
        for open in &mut self.open {
            open.is_orphan = true;
        }
    }
}
