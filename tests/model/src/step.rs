//! What each action does.

use std::sync::Arc;
use std::time::Duration;

use arcp_proto::wire::{Ack, Envelope};
use arcp_proto::{Client, Feature, Instant, Phase, Session};
use bytes::Bytes;

use crate::action::Action;
use crate::client_book::Stand;
use crate::configuration::Configuration;
use crate::link::Link;
use crate::mark::{Mark, Marks};
use crate::rule::Rule;
use crate::stock::take;
use crate::world::{World, epoch_of, printed};

/// What a search does all its steps with.
pub(crate) struct Rules<'a> {
    pub(crate) configuration: &'a Configuration,
    pub(crate) marks: &'a Marks,
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

    pub(crate) fn session(&mut self) -> &mut Session<Client> {
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
}
