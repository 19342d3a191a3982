//! What the two applications do: events, requests and answers.

use std::sync::Arc;

use arcp_proto::wire::{JobAccepted, JobId, JobPage, JobQuery, JobSubmit, RawJson};
use arcp_proto::{AnswerError, Feature, Phase, SendError};

use crate::client_book::Stand;
use crate::configuration::Configuration;
use crate::mark::Mark;
use crate::rule::Rule;
use crate::runtime_book::Content;
use crate::step::Rules;
use crate::stock::take;
use crate::world::World;

fn job() -> JobId {
    JobId::from("job_1")
}

impl World {
    /// Sends the application's event of that number.
    pub(crate) fn publish(&mut self, rules: &Rules<'_>, number: u8) {
        let has_ack = rules.configuration.has(Feature::Ack);
        let now = self.now;
        let book = &self.runtime_book;
        let (expected, is_elapsed) = (book.emitted() + 1, book.is_elapsed);
        let is_full = self.is_full(rules.configuration);
        let Some(runtime) = &mut self.runtime else { return };
        let runtime = Arc::make_mut(runtime);
        let body = serde_json::json!({"level": "info", "message": number.to_string()});
        let is_open = runtime.phase() == Phase::Open;
        match runtime.send_event(now, &job(), "log", &body) {
            Ok(seq) => {
                self.note(|| format!("    event {seq}"));
                self.check(seq == expected, Rule::Numbers, || format!("event {seq} where {expected} is next"));
                self.check(!is_full, Rule::Kept, || format!("event {seq} is taken, and the window was full"));
                let book = &mut self.runtime_book;
                book.contents.push(Content::Event(number));
                let threshold = rules.configuration.runtime.back_pressure_threshold;
                if has_ack && is_open && !book.is_pressed && book.lag() > threshold {
                    book.is_pressed = true;
                    book.contents.push(Content::Pressure);
                    rules.marks.set(Mark::BackPressure);
                }
            }
            Err(SendError::Blocked) => {
                rules.marks.set(Mark::Blocked);
                self.note(|| "    blocked".into());
                self.check(is_full && !is_elapsed, Rule::Blocked, || {
                    format!("blocked: full {is_full}, window over {is_elapsed}")
                });
                self.runtime_book.blocked = Some(number);
            }
            Err(SendError::Closed) if is_full && is_elapsed => rules.marks.set(Mark::Overfull),
            Err(error) => self.broken(Rule::Blocked, format!("not sent: {error}")),
        }
    }

    /// Whether another event would push out what may not go.
    pub(crate) fn is_full(&self, configuration: &Configuration) -> bool {
        let book = &self.runtime_book;
        let held = match &self.runtime {
            Some(runtime) if configuration.evicts() => book.emitted().saturating_sub(runtime.replay_floor()),
            _ => book.held(configuration.has(Feature::Ack)),
        };
        // Beyond its window nothing goes (D18).
        held >= configuration.capacity() && (!configuration.evicts() || book.is_elapsed)
    }

    pub(crate) fn query(&mut self) {
        let now = self.now;
        take(&mut self.stock.queries);
        match self.session().list_jobs(now, &JobQuery::default()) {
            Ok(request) => self.client_book.open.push(request),
            Err(error) => self.broken(Rule::Requests, format!("not asked: {error}")),
        }
    }

    pub(crate) fn submit(&mut self) {
        let now = self.now;
        take(&mut self.stock.submits);
        match self.session().submit(now, &JobSubmit::new("a", RawJson::null())) {
            Ok(request) => self.client_book.open.push(request),
            Err(error) => self.broken(Rule::Requests, format!("not asked: {error}")),
        }
    }

    pub(crate) fn answer(&mut self, rules: &Rules<'_>) {
        let now = self.now;
        let asked = self.runtime_book.pending.remove(0);
        let Some(runtime) = &mut self.runtime else { return };
        let runtime = Arc::make_mut(runtime);
        let answered = if asked.is_submit {
            runtime.accept_job(now, asked.request, JobAccepted::new(job(), "a", now.wall))
        } else {
            runtime.respond_jobs(now, asked.request, JobPage { jobs: Vec::new(), next_cursor: None })
        };
        let is_closed = self.runtime_book.stand == Stand::Closed;
        // A query is dropped with its transport; a submit's answer is kept (D8).
        let expected = !is_closed && (asked.is_submit || !asked.is_orphan);
        if asked.is_orphan {
            rules.marks.set(if asked.is_submit { Mark::OrphanedSubmit } else { Mark::LateAnswer });
        }
        match answered {
            Ok(()) => self.check(expected, Rule::Requests, || "an answer to a request that was dropped".into()),
            Err(AnswerError::UnknownRequest) => {
                self.check(!expected, Rule::Requests, || "an open request is unknown".into());
            }
            Err(error) => self.broken(Rule::Requests, format!("not answered: {error}")),
        }
    }
}
