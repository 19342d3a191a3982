//! Events that wait for the application, of all sessions together (D43).

use alloc::collections::VecDeque;

use super::event::EndpointEvent;
use super::registry::Key;

/// What an event counts beside the frame that it holds.
const EVENT_COST: usize = 128;

/// Which session's own limit an event counts towards until it is polled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge {
    pub(super) key: Key,
    pub(super) serial: u64,
    pub(super) cost: usize,
}

#[derive(Clone, Debug)]
struct Waiting {
    event: EndpointEvent,
    cost: usize,
    charge: Option<Charge>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct EventQueue {
    events: VecDeque<Waiting>,
    bytes: usize,
}

impl EventQueue {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Queues an event that holds `len` bytes of what a client sent.
    pub(super) fn push(&mut self, event: EndpointEvent, len: usize, charge: Option<Charge>) {
        let cost = charge.map_or(0, |charge| charge.cost).max(len).saturating_add(EVENT_COST);
        self.bytes = self.bytes.saturating_add(cost);
        self.events.push_back(Waiting { event, cost, charge });
    }

    pub(super) fn pop(&mut self) -> Option<(EndpointEvent, Option<Charge>)> {
        let Waiting { event, cost, charge } = self.events.pop_front()?;
        self.bytes = self.bytes.saturating_sub(cost);
        if self.events.is_empty() && self.events.capacity() > 1_024 {
            self.events = VecDeque::new();
        }
        Some((event, charge))
    }
}
