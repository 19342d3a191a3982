//! What can be done in a state.

use arcp_proto::Phase;

use crate::action::Action;
use crate::client_book::Stand;
use crate::link::Link;
use crate::step::Rules;
use crate::world::{LINKS, World};

impl World {
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
