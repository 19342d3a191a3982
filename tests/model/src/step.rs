//! What each action does.

use std::sync::Arc;
use std::time::Duration;

use arcp_proto::wire::{
    Ack, Envelope, JobAccepted, JobId, JobPage, JobQuery, JobSubmit, Principal, ResumeToken, SessionId,
};
use arcp_proto::{
    AnswerError, Client, Feature, Grant, Instant, Opening, Phase, ResumeAttempt, Runtime, SendError, Session,
};
use bytes::Bytes;

use crate::action::Action;
use crate::client_book::Stand;
use crate::configuration::Configuration;
use crate::link::Link;
use crate::mark::{Mark, Marks};
use crate::rule::Rule;
use crate::runtime_book::Content;
use crate::stock::take;
use crate::world::{LINKS, World, epoch_of, printed};

/// What a search does all its steps with.
pub(crate) struct Rules<'a> {
    pub(crate) configuration: &'a Configuration,
    pub(crate) marks: &'a Marks,
}

fn principal() -> Principal {
    Principal::from("p")
}

fn job() -> JobId {
    JobId::from("job_1")
}

impl World {
    /// Does it; `None` where it cannot be done.
    pub(crate) fn step(&mut self, rules: &Rules<'_>, action: Action) -> Option<()> {
        self.note(|| format!("{action}"));
        match action {
            Action::ClientWrites => self.client_writes(rules)?,
            Action::RuntimeWrites => self.runtime_writes(rules)?,
            Action::ClientReads => self.client_reads()?,
            Action::RuntimeReads(link) => self.runtime_reads(rules, link)?,
            Action::ClientLearns => self.client_learns(),
            Action::RuntimeLearns(link) => self.runtime_learns(link),
            Action::Process => self.process(rules),
            Action::Publish => {
                take(&mut self.stock.events).then_some(())?;
                self.runtime_book.begun += 1;
                self.publish(rules, self.runtime_book.begun);
            }
            Action::Query => self.query(),
            Action::Submit => self.submit(),
            Action::Answer => self.answer(rules),
            Action::Connect => self.connect(),
            Action::Advance => self.advance(rules)?,
            Action::Cut => self.cut(false),
            Action::CutAndLose => self.cut(true),
            Action::Goodbye => self.goodbye(),
            Action::Shutdown => self.shutdown(),
            Action::Crash => self.crash(rules),
            Action::Reload => self.reload(rules),
        }
        self.attend(rules);
        self.reading = None;
        self.links.retain(|link| link.client_end || link.runtime_end);
        self.look(rules);
        Some(())
    }

    fn session(&mut self) -> &mut Session<Client> {
        Arc::make_mut(&mut self.client)
    }

    /// Writes what the client has to say next.
    fn client_writes(&mut self, rules: &Rules<'_>) -> Option<()> {
        let now = self.now;
        let frame = self.session().poll_transmit(now)?;
        self.client_said(rules, &frame);
        self.client_link()?.write_up(frame);
        Some(())
    }

    pub(crate) fn client_said(&mut self, rules: &Rules<'_>, frame: &Bytes) {
        self.note(|| format!("    → {}", printed(frame)));
        let Ok(envelope) = Envelope::decode(frame.clone()) else {
            return self.broken(Rule::Frames, "the client wrote no envelope");
        };
        let kind = envelope.type_name();
        let is_first = std::mem::take(&mut self.client_book.is_silent);
        self.check(is_first == (kind == "session.hello"), Rule::OneTransport, || format!("{kind} at that place"));
        let epoch = envelope.id().and_then(|id| epoch_of(&id, 'c'));
        let attachment = self.client.attachment();
        self.check(epoch == Some(attachment), Rule::OneTransport, || format!("{epoch:?} on attachment {attachment}"));
        match &*kind {
            "session.ack" => {
                let said = envelope.payload::<Ack>().map_or(0, |ack| ack.last_processed_seq);
                let processed = self.client_book.processed;
                self.check(said == processed, Rule::Acks, || {
                    format!("{said} is acknowledged, {processed} is processed")
                });
                self.client_book.said = self.client_book.said.max(said);
                self.client_book.ack_due = None;
            }
            "session.pong" => self.client_book.pongs_owed = self.client_book.pongs_owed.saturating_sub(1),
            "session.ping" => self.check(rules.configuration.interval().is_some(), Rule::Heartbeat, || "a ping".into()),
            _ => {}
        }
    }

    fn runtime_writes(&mut self, rules: &Rules<'_>) -> Option<()> {
        let at = self.runtime_link()?;
        let now = self.now;
        let frame = Arc::make_mut(self.runtime.as_mut()?).poll_transmit(now)?;
        self.runtime_said(rules, &frame);
        self.links[at].write_down(frame);
        Some(())
    }

    pub(crate) fn runtime_said(&mut self, rules: &Rules<'_>, frame: &Bytes) {
        self.note(|| format!("    ← {}", printed(frame)));
        let Ok(envelope) = Envelope::decode(frame.clone()) else {
            return self.broken(Rule::Frames, "the runtime wrote no envelope");
        };
        let kind = envelope.type_name();
        let is_first = std::mem::take(&mut self.runtime_book.is_silent);
        let is_welcome = kind == "session.welcome";
        self.check(is_first == is_welcome, Rule::OneTransport, || format!("{kind} at that place"));
        if is_welcome {
            self.runtime_book.welcome_is_out = true;
        }
        let epoch = envelope.id().and_then(|id| epoch_of(&id, 'r'));
        let attachment = self.runtime.as_ref().map(|runtime| runtime.attachment());
        if let Some(seq) = envelope.event_seq() {
            // An acknowledgement moves the cursor (D24).
            let expected = self.runtime_book.sent.max(self.runtime_book.acked) + 1;
            self.check(seq == expected, Rule::Numbers, || format!("event {seq} is written where {expected} is next"));
            let emitted = self.runtime_book.emitted();
            self.check(seq <= emitted, Rule::Numbers, || format!("event {seq} of {emitted}"));
            if seq <= self.runtime_book.transmitted {
                rules.marks.set(Mark::Replay);
            }
            self.runtime_book.sent = seq;
            self.runtime_book.transmitted = self.runtime_book.transmitted.max(seq);
        } else {
            self.check(epoch == attachment, Rule::OneTransport, || {
                format!("a frame of attachment {epoch:?} on {attachment:?}")
            });
        }
        if kind == "session.pong" {
            self.runtime_book.pongs_owed = self.runtime_book.pongs_owed.saturating_sub(1);
        }
    }

    fn client_reads(&mut self) -> Option<()> {
        let frame = self.client_link()?.down.pop_front()?;
        self.note(|| format!("    {}", printed(&frame)));
        let envelope = Envelope::decode(frame.clone()).ok()?;
        if envelope.type_name() == "session.ping" && self.client.phase() == Phase::Open {
            self.client_book.pongs_owed += 1;
        }
        self.reading = Some((*envelope.type_name()).into());
        if self.client_book.heard.is_some() {
            self.client_book.heard = Some(self.now.mono);
        }
        let now = self.now;
        self.session().handle_input(now, frame);
        Some(())
    }

    fn runtime_reads(&mut self, rules: &Rules<'_>, at: usize) -> Option<()> {
        let link = self.links.get_mut(at)?;
        let frame = link.up.pop_front()?;
        let is_opened = link.opened;
        self.note(|| format!("    {}", printed(&frame)));
        if !is_opened {
            self.open(rules, at, frame);
            return Some(());
        }
        let envelope = Envelope::decode(frame.clone()).ok()?;
        let book = &mut self.runtime_book;
        if book.welcome_is_out {
            book.presented = None;
        }
        if book.heard.is_some() {
            book.heard = Some(self.now.mono);
        }
        match &*envelope.type_name() {
            "session.ping" if self.runtime.as_ref().is_some_and(|runtime| runtime.phase() == Phase::Open) => {
                book.pongs_owed += 1;
            }
            "session.ack" => {
                let seq = envelope.payload::<Ack>().map_or(0, |ack| ack.last_processed_seq);
                book.acked = book.acked.max(seq);
                book.transmitted = book.transmitted.max(seq);
                if book.lag() <= rules.configuration.runtime.back_pressure_threshold / 2 {
                    book.is_pressed = false;
                }
            }
            _ => {}
        }
        self.reading = Some((*envelope.type_name()).into());
        let now = self.now;
        Arc::make_mut(self.runtime.as_mut()?).handle_input(now, frame);
        Some(())
    }

    /// The first message of a transport.
    fn open(&mut self, rules: &Rules<'_>, at: usize, frame: Bytes) {
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
    fn attached(&mut self, rules: &Rules<'_>, at: usize, last_event_seq: u64) {
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
        let floor = if has_ack { book.acked } else { runtime.replay_floor() };
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

    fn client_learns(&mut self) {
        let now = self.now;
        if let Some(link) = self.client_link() {
            link.close_client_end();
        }
        self.session().handle_disconnect(now);
    }

    fn runtime_learns(&mut self, at: usize) {
        let now = self.now;
        let Some(link) = self.links.get_mut(at) else { return };
        link.close_runtime_end();
        if link.opened
            && let Some(runtime) = &mut self.runtime
        {
            Arc::make_mut(runtime).handle_disconnect(now);
        }
    }

    fn process(&mut self, rules: &Rules<'_>) {
        let (now, last) = (self.now, self.client_book.delivered);
        if let Err(error) = self.session().mark_processed(now, last) {
            self.broken(Rule::Acks, format!("{last} cannot be marked: {error}"));
        }
        self.client_book.processed = last;
        if rules.configuration.has(Feature::Ack) && self.client.phase() == Phase::Open {
            let latest = now.mono + rules.configuration.client.ack_delay;
            self.client_book.ack_due = self.client_book.ack_due.or(Some(latest));
        }
    }

    /// Sends the application's event of that number.
    pub(crate) fn publish(&mut self, rules: &Rules<'_>, number: u8) {
        let has_ack = rules.configuration.has(Feature::Ack);
        let now = self.now;
        let book = &self.runtime_book;
        let is_full = book.held(has_ack) >= rules.configuration.capacity();
        let (expected, is_elapsed) = (book.emitted() + 1, book.is_elapsed);
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

    fn query(&mut self) {
        let now = self.now;
        take(&mut self.stock.queries);
        match self.session().list_jobs(now, &JobQuery::default()) {
            Ok(request) => self.client_book.open.push(request),
            Err(error) => self.broken(Rule::Requests, format!("not asked: {error}")),
        }
    }

    fn submit(&mut self) {
        let now = self.now;
        take(&mut self.stock.submits);
        match self.session().submit(now, &JobSubmit::new("a", arcp_proto::wire::RawJson::null())) {
            Ok(request) => self.client_book.open.push(request),
            Err(error) => self.broken(Rule::Requests, format!("not asked: {error}")),
        }
    }

    fn answer(&mut self, rules: &Rules<'_>) {
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

    fn connect(&mut self) {
        let now = self.now;
        if let Err(error) = self.session().resume(now) {
            return self.broken(Rule::Phases, format!("cannot resume: {error}"));
        }
        let (attachment, known) = (self.client.attachment(), self.client_book.epoch);
        self.check(attachment > known, Rule::OneTransport, || format!("attachment {attachment} behind {known}"));
        self.client_book.epoch = attachment;
        self.client_book.stand = Stand::Trying;
        self.client_book.is_silent = true;
        self.links.push(Link::new());
    }

    fn cut(&mut self, with_all: bool) {
        take(&mut self.stock.cuts);
        self.is_disturbed = true;
        if let Some(link) = self.links.last_mut() {
            link.cut = true;
            if with_all {
                link.up.clear();
                link.down.clear();
            }
        }
    }

    fn goodbye(&mut self) {
        let now = self.now;
        take(&mut self.stock.goodbyes);
        self.client_book.goodbye = true;
        self.session().close(now, "normal");
    }

    fn shutdown(&mut self) {
        let now = self.now;
        take(&mut self.stock.shutdowns);
        self.runtime_book.shutdown = true;
        if let Some(runtime) = &mut self.runtime {
            Arc::make_mut(runtime).shutdown(now, "maintenance");
        }
    }

    fn advance(&mut self, rules: &Rules<'_>) -> Option<()> {
        let next = self.deadline()?;
        if self.is_busy() {
            take(&mut self.stock.delays).then_some(())?;
            self.is_disturbed = true;
        }
        self.check_missed(rules, next);
        let by = next.since(self.now.mono);
        self.note(|| format!("    {by:?} later"));
        self.check(by > Duration::ZERO, Rule::Deadlines, || "a deadline that has passed".into());
        self.now = self.now.after(by);
        let now = self.now;
        if self.client.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.note(|| "    for the client".into());
        }
        self.session().handle_timeout(now);
        if let Some(runtime) = &mut self.runtime {
            Arc::make_mut(runtime).handle_timeout(now);
        }
        Some(())
    }

    /// A deadline that nobody was going to be woken for.
    fn check_missed(&mut self, rules: &Rules<'_>, next: Instant) {
        let missed = |at: Option<Instant>| at.is_some_and(|at| at < next);
        let is_idle = self.client_is_idle && self.client.phase() == Phase::Open;
        let ack_is_missed = is_idle && missed(self.client_book.ack_due);
        self.check(!ack_is_missed, Rule::Acks, || "an acknowledgement is not said in time".into());
        let pong_is_missed = is_idle && self.client_book.pongs_owed > 0;
        self.check(!pong_is_missed, Rule::Heartbeat, || "the client has not answered a ping".into());
        let pong_is_missed = self.runtime_is_idle && self.runtime_book.pongs_owed > 0;
        self.check(!pong_is_missed, Rule::Heartbeat, || "the runtime has not answered a ping".into());
        let silence = |heard: Option<Instant>| Some(heard? + 2 * rules.configuration.interval()?);
        for heard in [self.client_book.heard, self.runtime_book.heard] {
            self.check(!missed(silence(heard)), Rule::Heartbeat, || "two silent intervals pass".into());
        }
        let is_trying = matches!(self.client_book.stand, Stand::Lost | Stand::Trying);
        let client_window = is_trying && missed(self.client_book.window_end);
        self.check(!client_window, Rule::Ends, || "the client's window passes".into());
        let book = &self.runtime_book;
        let end = if book.is_elapsed { book.retention_end } else { book.window_end };
        let runtime_window = book.stand == Stand::Lost && missed(end);
        self.check(!runtime_window, Rule::Ends, || "the runtime's window, or its retention, passes".into());
    }

    fn crash(&mut self, rules: &Rules<'_>) {
        take(&mut self.stock.crashes);
        rules.marks.set(Mark::Crash);
        self.is_disturbed = true;
        let snapshot = self.client.snapshot();
        match Session::<Client>::restore(self.now, Arc::clone(&rules.configuration.client), snapshot) {
            Ok(session) => self.client = Arc::new(session),
            Err(error) => return self.broken(Rule::Phases, format!("not restored: {error}")),
        }
        if let Some(link) = self.client_link() {
            link.close_client_end();
        }
        let window = rules.configuration.runtime.resume_window;
        let book = &mut self.client_book;
        if book.stand == Stand::Open {
            book.window_end = Some(self.now.mono + window);
        }
        book.stand = Stand::Lost;
        book.delivered = book.processed;
        book.open.clear();
        book.ack_due = None;
        book.heard = None;
        book.pongs_owed = 0;
        book.goodbye = false;
        book.can_come_back = false;
    }

    fn reload(&mut self, rules: &Rules<'_>) {
        take(&mut self.stock.reloads);
        rules.marks.set(Mark::Reload);
        self.is_disturbed = true;
        let Some(runtime) = &self.runtime else { return };
        let (snapshot, events) = (runtime.snapshot(), runtime.events_since(0).collect::<Vec<_>>());
        let config = Arc::clone(&rules.configuration.runtime);
        match Session::<Runtime>::restore(self.now, config, Arc::from([]), snapshot, events) {
            Ok(session) => self.runtime = Some(Arc::new(session)),
            Err(error) => return self.broken(Rule::Phases, format!("not restored: {error}")),
        }
        self.links.iter_mut().for_each(Link::close_runtime_end);
        let book = &mut self.runtime_book;
        if book.stand == Stand::Open {
            book.window_end = Some(self.now.mono + rules.configuration.runtime.resume_window);
            book.retention_end = Some(self.now.mono + rules.configuration.runtime.retention);
            // Whoever had it before may have sent any of them.
            book.transmitted = book.emitted();
        }
        book.stand = Stand::Lost;
        book.shutdown = false;
        book.pending.clear();
        book.heard = None;
        book.pongs_owed = 0;
        if book.blocked.take().is_some() {
            // The application died with it, and begins again.
            book.begun -= 1;
            self.stock.events += 1;
        }
    }

    /// Every action that is possible, or may be.
    pub(crate) fn actions(&self, rules: &Rules<'_>, actions: &mut Vec<Action>) {
        let last = self.links.last();
        let room = rules.configuration.in_flight;
        let client_link = last.filter(|link| link.client_end);
        let mut may = |can: bool, action: Action| {
            if can {
                actions.push(action);
            }
        };
        let has_room = |cut: bool, lane: usize| cut || lane < room;
        may(!self.client_is_idle && client_link.is_some_and(|l| has_room(l.cut, l.up.len())), Action::ClientWrites);
        let runtime_link = self.runtime_link().and_then(|at| self.links.get(at));
        let can_write = runtime_link.is_some_and(|l| has_room(l.cut, l.down.len()));
        may(!self.runtime_is_idle && can_write, Action::RuntimeWrites);
        may(client_link.is_some_and(|link| !link.down.is_empty()), Action::ClientReads);
        may(client_link.is_some_and(Link::client_may_learn), Action::ClientLearns);
        for (at, link) in self.links.iter().enumerate() {
            may(link.runtime_end && !link.up.is_empty(), Action::RuntimeReads(at));
            may(link.runtime_may_learn(), Action::RuntimeLearns(at));
        }
        let (client, runtime) = (&self.client_book, &self.runtime_book);
        may(client.delivered > client.processed && client.stand != Stand::Closed, Action::Process);
        let is_alive = self.runtime.is_some() && runtime.stand != Stand::Closed;
        may(self.stock.events > 0 && is_alive && runtime.blocked.is_none(), Action::Publish);
        let can_ask = self.client.phase() == Phase::Open;
        may(self.stock.queries > 0 && can_ask, Action::Query);
        may(self.stock.submits > 0 && can_ask, Action::Submit);
        may(!runtime.pending.is_empty(), Action::Answer);
        may(client.stand == Stand::Lost && self.links.len() < LINKS, Action::Connect);
        may(self.deadline().is_some() && (self.stock.delays > 0 || !self.is_busy()), Action::Advance);
        let can_cut = self.stock.cuts > 0 && last.is_some_and(|link| !link.cut);
        may(can_cut, Action::Cut);
        may(can_cut && last.is_some_and(|l| !l.up.is_empty() || !l.down.is_empty()), Action::CutAndLose);
        may(self.stock.goodbyes > 0 && client.stand != Stand::Closed, Action::Goodbye);
        may(self.stock.shutdowns > 0 && is_alive, Action::Shutdown);
        may(self.stock.crashes > 0 && self.client_can_crash(), Action::Crash);
        may(self.stock.reloads > 0 && is_alive, Action::Reload);
    }
}
