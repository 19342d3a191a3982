//! How a transport begins: a hello or a resume, and whether it must be taken.

use std::sync::Arc;

use arcp_proto::wire::{Principal, ResumeToken, SessionId};
use arcp_proto::{Feature, Grant, Opening, ResumeAttempt};
use bytes::Bytes;

use crate::client_book::Stand;
use crate::mark::Mark;
use crate::rule::Rule;
use crate::step::Rules;
use crate::world::{World, printed};

fn principal() -> Principal {
    Principal::from("p")
}

impl World {
    /// The first message of a transport.
    pub(crate) fn open(&mut self, rules: &Rules<'_>, at: usize, frame: Bytes) {
        let configuration = rules.configuration;
        match Opening::parse(frame, &configuration.runtime.limits) {
            Ok(Opening::Hello(hello)) if self.runtime.is_none() => {
                let token = self.mint();
                self.runtime_book.token = token.digest();
                let grant = Grant {
                    principal: principal(),
                    session_id: SessionId::from("sess_1"),
                    resume_token: token,
                    agents: Arc::from([]),
                };
                let session = hello.accept(self.now, Arc::clone(&configuration.runtime), grant);
                self.runtime_book.epoch = session.attachment();
                self.runtime = Some(Arc::new(session));
                self.attached(rules, at, 0);
            }
            Ok(Opening::Hello(_)) => self.broken(Rule::Frames, "a second hello"),
            Ok(Opening::Resume(attempt)) => self.resume(rules, at, attempt),
            Err(refusal) => self.broken(Rule::Frames, format!("the first message: {refusal}")),
        }
    }

    fn mint(&mut self) -> ResumeToken {
        self.tokens += 1;
        ResumeToken::new(format!("rt_{}", self.tokens))
    }

    /// The runtime's session is on that link now.
    pub(crate) fn attached(&mut self, rules: &Rules<'_>, at: usize, last_event_seq: u64) {
        self.links[at].opened = true;
        let has_heartbeat = rules.configuration.interval().is_some();
        let book = &mut self.runtime_book;
        book.stand = Stand::Open;
        book.is_silent = true;
        book.welcome_is_out = false;
        book.sent = last_event_seq;
        book.transmitted = book.transmitted.max(last_event_seq);
        book.resumed_from = last_event_seq;
        book.is_pressed = false;
        book.heard = has_heartbeat.then_some(self.now.mono);
        book.pongs_owed = 0;
        book.window_end = None;
        book.retention_end = None;
        book.is_elapsed = false;
        book.pending.iter_mut().for_each(|asked| asked.is_orphan = true);
    }

    fn resume(&mut self, rules: &Rules<'_>, at: usize, attempt: ResumeAttempt) {
        let has_ack = rules.configuration.has(Feature::Ack);
        let Some(runtime) = &self.runtime else {
            return self.broken(Rule::Frames, "a resume of nothing");
        };
        let book = &self.runtime_book;
        let digest = attempt.token().digest();
        let is_known = digest == book.token || Some(digest) == book.presented;
        let last = attempt.last_event_seq();
        let floor = if has_ack && !rules.configuration.evicts() { book.acked } else { runtime.replay_floor() };
        let is_covered = (floor..=book.transmitted).contains(&last);
        let is_over = book.stand == Stand::Closed || (book.shutdown && book.stand == Stand::Open);
        let expected = is_known && is_covered && !is_over;
        let was_attached = runtime.phase().is_attached();
        if !is_known {
            rules.marks.set(Mark::RetiredToken);
        }
        if book.presented == Some(digest) {
            rules.marks.set(Mark::LostWelcome);
        }
        let (old, presented) = (self.runtime_link(), digest);
        let next = self.mint();
        let next_digest = next.digest();
        let now = self.now;
        let Some(runtime) = &mut self.runtime else { return };
        let runtime = Arc::make_mut(runtime);
        match runtime.resume(now, attempt, &principal(), next) {
            Ok(takeover) => {
                let epoch = runtime.attachment();
                self.note(|| format!("    taken, from {last}"));
                self.check(expected, Rule::Resumes, || {
                    format!("taken: token known {is_known}, {last} covered {is_covered}, over {is_over}")
                });
                let known = self.runtime_book.epoch;
                self.check(epoch > known, Rule::OneTransport, || format!("attachment {epoch} behind {known}"));
                self.runtime_book.epoch = epoch;
                self.runtime_book.token = next_digest;
                self.runtime_book.presented = Some(presented);
                let says_so = takeover.farewell.last().is_some_and(|frame| printed(frame).contains("superseded"));
                self.check(says_so == was_attached, Rule::OneTransport, || {
                    format!("attached before: {was_attached}, told that it is superseded: {says_so}")
                });
                if was_attached {
                    rules.marks.set(Mark::Takeover);
                }
                if let Some(old) = old {
                    for frame in takeover.farewell {
                        self.note(|| format!("    ← on link {old}: {}", printed(&frame)));
                        if self.links[old].client_end && old > at {
                            rules.marks.set(Mark::OwnEarlierAttempt);
                        }
                        self.links[old].write_down(frame);
                    }
                    self.links[old].close_runtime_end();
                }
                self.attached(rules, at, last);
            }
            Err(refused) => {
                self.note(|| format!("    refused: {refused}"));
                rules.marks.set(Mark::RefusedResume);
                self.check(!expected, Rule::Resumes, || format!("refused: {refused}"));
                let frame = refused.into_message(now);
                self.links[at].write_down(frame);
                self.links[at].close_runtime_end();
            }
        }
    }
}
