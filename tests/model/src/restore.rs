//! A process dies, and its session is restored from what it had stored last.

use std::sync::Arc;

use arcp_proto::{Client, Runtime, Session};

use crate::client_book::Stand;
use crate::link::Link;
use crate::mark::Mark;
use crate::rule::Rule;
use crate::step::Rules;
use crate::stock::take;
use crate::world::World;

impl World {
    pub(crate) fn crash(&mut self, rules: &Rules<'_>) {
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

    pub(crate) fn reload(&mut self, rules: &Rules<'_>) {
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
}
