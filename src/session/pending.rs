//! What a runtime was asked and has not answered, and the submits that it has (D8).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::config::Limits;
use super::requests::RequestId;
use crate::wire::{Envelope, JobId, MAX_ID_LEN, MessageType, RawJson};

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
    /// `None` before the first request: most sessions of a runtime are at rest.
    asked: Option<Box<Asked>>,
}

#[derive(Clone, Debug, Default)]
struct Asked {
    open: VecDeque<Pending>,
    last: u64,
    /// To the last submits, by their message ids.
    answers: VecDeque<(Box<str>, Answer)>,
    answer_bytes: usize,
}

/// What of them outlives the process: answers to submits, for a repetition. An open request does not.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Answered {
    /// How many requests there were: their ids never repeat.
    pub(super) requests: u64,
    answers: Vec<KeptAnswer>,
}

/// Its payload as text: not every format knows raw JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct KeptAnswer {
    message_id: Box<str>,
    #[serde(rename = "type")]
    message: String,
    job_id: Option<JobId>,
    payload: String,
}

impl KeptAnswer {
    /// `None` where it is nothing that a session would keep.
    fn into_answer(self) -> Option<(Box<str>, Answer)> {
        let is_id = |id: &str| (1..=MAX_ID_LEN).contains(&id.len());
        let message = MessageType::from_name(&self.message)?;
        let is_answer = matches!(message, MessageType::JobAccepted | MessageType::SessionError);
        let has_ids = is_id(&self.message_id) && self.job_id.as_ref().is_none_or(|id| is_id(id.as_str()));
        let payload = RawJson::from_text(&self.payload).ok()?;
        // An object, and nested no deeper than a client takes.
        let frame = alloc::format!(r#"{{"type":"{}","payload":{}}}"#, message.name(), payload.text());
        Envelope::decode(Bytes::from(frame)).ok()?;
        let answer = Answer { message, job_id: self.job_id, payload };
        (is_answer && has_ids).then_some((self.message_id, answer))
    }
}

impl Pendings {
    fn asked(&mut self) -> &mut Asked {
        self.asked.get_or_insert_default()
    }

    fn open(&self) -> impl Iterator<Item = &Pending> {
        self.asked.iter().flat_map(|asked| &asked.open)
    }

    fn answers(&self) -> impl Iterator<Item = &(Box<str>, Answer)> {
        self.asked.iter().flat_map(|asked| &asked.answers)
    }

    pub(super) fn answered(&self) -> Answered {
        let answers = self.answers().map(|(message_id, answer)| KeptAnswer {
            message_id: message_id.clone(),
            message: answer.message.name().into(),
            job_id: answer.job_id.clone(),
            payload: answer.payload.text().into(),
        });
        Answered { requests: self.asked.as_ref().map_or(0, |asked| asked.last), answers: answers.collect() }
    }

    /// `None` where an answer is nothing that a session would keep.
    pub(super) fn restored(answered: Answered, limits: &Limits) -> Option<Pendings> {
        let mut pendings = Pendings::default();
        if answered.requests > 0 {
            pendings.asked().last = answered.requests;
        }
        for kept in answered.answers {
            let (message_id, answer) = kept.into_answer()?;
            pendings.keep(message_id, answer, limits.kept_submits, limits.kept_submit_bytes);
        }
        Some(pendings)
    }

    pub(super) fn take_in(
        &mut self,
        message_id: &str,
        message: MessageType,
        job_id: Option<JobId>,
        limit: usize,
    ) -> Intake {
        if message == MessageType::JobSubmit
            && let Some(answer) = self.answer(message_id)
        {
            return Intake::Answered(answer.clone());
        }
        let asked = self.asked();
        if let Some(open) = asked.open.iter_mut().find(|open| *open.message_id == *message_id) {
            open.is_orphan = false;
            return Intake::Repeated;
        }
        if asked.open.len() >= limit {
            return Intake::TooMany;
        }
        asked.last += 1;
        let id = RequestId(asked.last);
        asked.open.push_back(Pending { id, message_id: message_id.into(), message, job_id, is_orphan: false });
        Intake::New(id)
    }

    /// Whether this is the id of an open request or of a submit that was answered.
    pub(super) fn knows(&self, message_id: &str) -> bool {
        self.open().any(|open| *open.message_id == *message_id) || self.answer(message_id).is_some()
    }

    fn answer(&self, message_id: &str) -> Option<&Answer> {
        self.answers().find(|(id, _)| **id == *message_id).map(|(_, answer)| answer)
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Pending> {
        self.open().find(|open| open.id == id)
    }

    /// The request is answered.
    pub(super) fn remove(&mut self, id: RequestId) -> Option<Pending> {
        let asked = self.asked.as_mut()?;
        let at = asked.open.iter().position(|open| open.id == id)?;
        asked.open.remove(at)
    }

    /// Keeps the answer to a submit for its repetition.
    pub(super) fn keep(&mut self, message_id: Box<str>, answer: Answer, count: usize, bytes: usize) {
        let len = answer.payload.text().len();
        if len > bytes || count == 0 {
            return;
        }
        let asked = self.asked();
        asked.answer_bytes += len;
        asked.answers.push_back((message_id, answer));
        while asked.answers.len() > count || asked.answer_bytes > bytes {
            let Some((_, oldest)) = asked.answers.pop_front() else { break };
            asked.answer_bytes -= oldest.payload.text().len();
        }
    }

    /// The session is over: nothing is answered any more, but a snapshot of it is still good.
    pub(super) fn end(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.open.clear();
        }
    }

    /// The transport is gone: open submits stay, other requests are dropped.
    pub(super) fn detach(&mut self) {
        let Some(asked) = &mut self.asked else { return };
        asked.open.retain(|open| open.message == MessageType::JobSubmit);
        for open in &mut asked.open {
            open.is_orphan = true;
        }
    }
}

#[cfg(feature = "model")]
impl Pendings {
    pub(super) fn digest(&self, digest: &mut super::digest::Digest<'_>) {
        digest.number(self.asked.as_ref().map_or(0, |asked| asked.last));
        for Pending { id, message_id, message, job_id, is_orphan } in self.open() {
            digest.number(id.0);
            digest.id(message_id.as_bytes());
            digest.text(alloc::format!("{message:?} {job_id:?}").as_bytes());
            digest.flag(*is_orphan);
        }
        digest.number(0);
        for (message_id, Answer { message, job_id, payload }) in self.answers() {
            digest.id(message_id.as_bytes());
            digest.text(alloc::format!("{message:?} {job_id:?}").as_bytes());
            digest.frame(payload.text().as_bytes());
        }
        digest.flag(false);
    }
}
