//! What an endpoint does to a session that it hosts.

use alloc::sync::Arc;

use super::super::Session;
use super::super::error::{CloseReason, DetachReason};
use super::super::event::RuntimeEvent;
use super::super::requests::RequestId;
use super::super::role::Machine;
use super::Runtime;
use crate::time::{Instant, Now};
use crate::wire::{AgentInfo, Bye, JobId, MessageType};

impl Session<Runtime> {
    /// The next event and what it costs: it counts as unpolled until [`release`](Session::release) (D43).
    pub(crate) fn poll_held(&mut self) -> Option<(RuntimeEvent, usize)> {
        loop {
            let (event, _, cost) = self.inbox.pop_held()?;
            match event {
                Some(event) => return Some((event, cost)),
                None => self.release(cost),
            }
        }
    }

    /// Whether [`poll_held`](Session::poll_held) would give nothing.
    #[inline]
    pub(crate) fn holds_nothing(&self) -> bool {
        self.inbox.is_empty()
    }

    /// The application has what cost so much.
    pub(crate) fn release(&mut self, cost: usize) {
        self.inbox.release(cost);
        self.set_timers();
    }

    /// What the clock says: what is left of a window is counted from the last call.
    pub(crate) fn note_time(&mut self, now: Now) {
        self.tick(now);
    }

    /// Up to then nobody read what the client sent: its silence counts from there (D43).
    pub(crate) fn excuse_silence(&mut self, until: Instant) {
        self.shared.heartbeat.unread(until);
    }

    /// Whether `poll_transmit` would give something, of a session that is attached: a detached one's farewell is taken as soon as it
    /// is detached.
    #[inline]
    pub(crate) fn has_frames(&self) -> bool {
        let outbox = &self.shared.outbox;
        let has_events = outbox.has_opened() && self.role.window.cursor() < self.last_to_send();
        outbox.has_control_within(self.role.hold_control) || has_events
    }

    /// How many messages that are no events were queued on this attachment, heartbeats left out.
    pub(crate) fn control_queued(&self) -> u32 {
        self.shared.outbox.queued()
    }

    /// Of those, only so many may be sent for now, for the rest says what is not yet stored. Heartbeats go all the same.
    pub(crate) fn hold_control_after(&mut self, count: u32) {
        self.role.hold_control = count;
    }

    /// Events behind this one are not sent for now: they are not yet stored.
    pub(crate) fn hold_events_after(&mut self, seq: u64) {
        self.role.hold_after = seq;
    }

    /// Ends the session, whose place is needed or which lives elsewhere now; with `session.bye` on its transport, where
    /// there is something to say (A14).
    pub(crate) fn expel(&mut self, now: Now, reason: CloseReason, bye: Option<&str>) {
        self.tick(now);
        if let Some(bye) = bye.filter(|_| self.phase().is_attached()) {
            let frame = self.shared.frame(MessageType::SessionBye, &Bye::because(bye));
            self.shared.outbox.set_farewell([frame]);
        }
        self.end(reason);
        self.set_timers();
    }

    /// Gives the transport up, as for what this session's own limits do not allow.
    pub(crate) fn give_up(&mut self, now: Now, reason: DetachReason) {
        let now = self.tick(now);
        if self.phase().is_attached() {
            Runtime::detach(self, now, reason);
        }
        self.set_timers();
    }

    /// The agents that the next welcome tells of; gives those of the last.
    pub(crate) fn replace_agents(&mut self, agents: Arc<[AgentInfo]>) -> Arc<[AgentInfo]> {
        core::mem::replace(&mut self.role.agents, agents)
    }

    /// How many events, and how many bytes of them, fit the window without pushing anything out.
    pub(crate) fn free_window(&self) -> (usize, usize) {
        let config = &self.role.config;
        let window = &self.role.window;
        (config.replay_events.saturating_sub(window.len()), config.replay_bytes.saturating_sub(window.bytes()))
    }

    /// When the client last sent, or was sent, anything but heartbeats.
    pub(crate) fn used_at(&self) -> Instant {
        self.role.used_at
    }

    /// The job that an open cancel is about.
    pub(crate) fn cancel_of(&self, request: RequestId) -> Option<&JobId> {
        let pending = self.role.pendings.get(request)?;
        pending.job_id.as_ref().filter(|_| pending.message == MessageType::JobCancel)
    }

    /// Only what nobody acknowledged keeps it (D18).
    pub(crate) fn is_window_over(&self) -> bool {
        self.role.window_is_over
    }

    /// The SHA-256 of the token that the last welcome brought.
    pub(crate) fn token_digest(&self) -> [u8; 32] {
        self.role.tokens.digests().0
    }

    pub(crate) fn has_presented_token(&self) -> bool {
        self.role.tokens.has_presented()
    }
}
