//! From any state on, with nothing failing any more: does all come to its end?

use arcp_proto::Phase;

use crate::action::Action;
use crate::client_book::Stand;
use crate::configuration::Configuration;
use crate::step::Rules;
use crate::stock::Stock;
use crate::world::{LINKS, World};

/// More steps than any small world needs.
pub(crate) const PATIENCE: usize = 600;

impl World {
    /// Nothing more fails, and nothing more is begun.
    pub(crate) fn calm(&mut self) {
        self.stock = Stock::default();
    }

    /// Why it is not at its end.
    pub(crate) fn unsettled(&self, configuration: &Configuration) -> Option<&'static str> {
        let (client, runtime) = (&self.client_book, &self.runtime_book);
        let is_over = client.stand == Stand::Closed && matches!(runtime.stand, Stand::Closed | Stand::New);
        if self.is_busy() {
            Some("something is under way")
        } else if !client.open.is_empty() {
            Some("a request is open")
        } else if runtime.blocked.is_some() {
            Some("the emitter is blocked")
        } else if is_over {
            None
        } else if self.client.phase() != Phase::Open || self.runtime_phase() != Some(Phase::Open) {
            Some("the session is neither open nor over on both sides")
        } else if self.links.len() != 1 || self.links.first().is_none_or(|link| link.cut) {
            Some("the two are not on one transport")
        } else if !runtime.pending.is_empty() {
            Some("a request waits for its answer")
        } else if client.processed != runtime.emitted() {
            Some("events have not arrived")
        } else if configuration.has(arcp_proto::Feature::Ack) && runtime.acked != runtime.emitted() {
            Some("events are not acknowledged")
        } else {
            None
        }
    }

    /// The next thing that happens where nothing fails.
    pub(crate) fn next_of_calm(&self, configuration: &Configuration) -> Option<Action> {
        let last = self.links.last()?;
        let client_link = self.links.last().filter(|link| link.client_end);
        if client_link.is_some() && !self.client_is_idle {
            return Some(Action::ClientWrites);
        }
        if self.runtime_link().is_some() && !self.runtime_is_idle {
            return Some(Action::RuntimeWrites);
        }
        if let Some(at) = self.links.iter().position(|link| link.runtime_end && !link.up.is_empty()) {
            return Some(Action::RuntimeReads(at));
        }
        if client_link.is_some_and(|link| !link.down.is_empty()) {
            return Some(Action::ClientReads);
        }
        // Who is not told of a cut finds out by silence; without heartbeats, and before the session, by the transport.
        let is_told = configuration.interval().is_none();
        if last.client_sees_end() || (is_told && last.cut && last.client_end) {
            return Some(Action::ClientLearns);
        }
        let learns = |link: &crate::link::Link| {
            link.runtime_sees_end() || (link.cut && link.runtime_end && (is_told || !link.opened))
        };
        if let Some(at) = self.links.iter().position(learns) {
            return Some(Action::RuntimeLearns(at));
        }
        self.next_of_applications()
    }

    fn next_of_applications(&self) -> Option<Action> {
        let (client, runtime) = (&self.client_book, &self.runtime_book);
        if !runtime.pending.is_empty() {
            Some(Action::Answer)
        } else if client.delivered > client.processed && client.stand != Stand::Closed {
            Some(Action::Process)
        } else if client.stand == Stand::Lost && self.links.len() < LINKS {
            Some(Action::Connect)
        } else {
            self.deadline().map(|_| Action::Advance)
        }
    }

    /// Goes on where nothing fails.
    pub(crate) fn go_on(&mut self, rules: &Rules<'_>) -> Result<(), &'static str> {
        // Links are empty where the client has none and the runtime none: what is left is time, or another attempt.
        let next =
            if self.links.is_empty() { self.next_of_applications() } else { self.next_of_calm(rules.configuration) };
        let why = self.unsettled(rules.configuration).unwrap_or_default();
        next.and_then(|action| self.step(rules, action)).ok_or(why)
    }
}
