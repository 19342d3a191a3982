//! One job as a session sees it (§7.3, §8.4).

use alloc::format;
use alloc::vec::Vec;

use super::finding::{Charges, Side};
use super::memory::Print;
use super::object::{Json, Object};
use super::rule::Rule;
use crate::wire::MessageType;

const MAX_STREAMS: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Stream {
    result: Print,
    next: u64,
    done: bool,
}

/// A job.
#[derive(Clone, Debug, Default)]
pub(super) struct Job {
    /// The session saw it from its acceptance on.
    whole: bool,
    ended: bool,
    streams: Vec<Stream>,
}

impl Job {
    pub(super) fn accepted() -> Job {
        Job { whole: true, ..Job::default() }
    }

    pub(super) const fn is_live(&self) -> bool {
        !self.ended
    }

    /// It was subscribed to: its history may be told again (§7.6).
    pub(super) fn retold(&mut self) {
        *self = Job::default();
    }

    /// A message of the job. `streaming`: results may be streamed in this session.
    pub(super) fn take(&mut self, charges: &mut Charges, message: MessageType, payload: &Object<'_>, streaming: bool) {
        if self.ended {
            charges.bring(Side::Runtime, Rule::AfterTerminal, message.name());
        }
        match message {
            MessageType::JobEvent if payload.text("kind").as_deref() == Some("result_chunk") => {
                if let Some(body) = payload.object("body") {
                    self.chunk(charges, &body);
                }
            }
            MessageType::JobResult => {
                if streaming {
                    self.result(charges, payload);
                }
                self.ended = true;
            }
            MessageType::JobError => self.ended = true,
            _ => {}
        }
    }

    fn chunk(&mut self, charges: &mut Charges, body: &Object<'_>) {
        let (Some(result), Some(seq)) = (body.word("result_id"), body.integer("chunk_seq")) else { return };
        let result = Print::of(&result);
        let first = if self.whole { 0 } else { seq };
        let at = self.streams.iter().position(|stream| stream.result == result).unwrap_or_else(|| {
            if self.streams.len() == MAX_STREAMS {
                self.streams.remove(0);
            }
            self.streams.push(Stream { result, next: first, done: false });
            self.streams.len() - 1
        });
        let Some(stream) = self.streams.get_mut(at) else { return };
        if stream.done {
            charges.bring(Side::Runtime, Rule::ChunkOrder, format!("{seq} behind the last one"));
        } else if seq != stream.next {
            charges.bring(Side::Runtime, Rule::ChunkOrder, format!("{seq}, expected {}", stream.next));
        }
        stream.next = seq.saturating_add(1);
        stream.done |= body.get("more").and_then(Json::boolean) == Some(false);
    }

    fn result(&self, charges: &mut Charges, payload: &Object<'_>) {
        let side = Side::Runtime;
        match payload.word("result_id") {
            None if self.streams.is_empty() => {}
            None if payload.written("result").or_else(|| payload.written("output")).is_some() => {
                charges.bring(side, Rule::ResultMixed, "inline behind chunks");
            }
            None => charges.bring(side, Rule::ResultReference, "no result_id behind chunks"),
            Some(result) => {
                let result = Print::of(&result);
                match self.streams.iter().find(|stream| stream.result == result) {
                    Some(stream) if !stream.done => charges.bring(side, Rule::ResultReference, "no last chunk"),
                    None if self.whole && self.streams.is_empty() => charges.bring(side, Rule::StreamEmpty, ""),
                    None if self.whole => charges.bring(side, Rule::ResultReference, "no such stream"),
                    _ => {}
                }
            }
        }
    }
}
