//! After every call on a session: its events are attended to, its deadline and its transport are kept.

use alloc::vec::Vec;

use bytes::Bytes;

use super::Endpoint;
use super::audit::Audited;
use super::deadlines::Sleeper;
use super::event::EndpointEvent;
use super::queue::Charge;
use super::registry::{Key, Rank};
use crate::feature::Feature;
use crate::session::{CloseReason, DetachReason, Phase, RuntimeEvent};
use crate::time::{Instant, Now};
use crate::wire::{JobId, SessionId};

impl Endpoint {
    /// A message for an attached session.
    pub(super) fn receive(&mut self, now: Now, key: Key, message: Bytes) {
        if self.has_no_room_for(&message) {
            return self.give_up(now, key, DetachReason::InboundOverflow);
        }
        if let Some(member) = self.registry.get_mut(key) {
            member.session.handle_input(now, message);
        }
        self.serve(now, key);
    }

    /// What waits to be polled is too much already to take this, too (D43).
    pub(super) fn has_no_room_for(&self, message: &Bytes) -> bool {
        let waiting = self.events.bytes();
        waiting > 0 && waiting.saturating_add(message.len()) > self.config.event_bytes
    }

    /// Whatever was done to a session ends here.
    #[inline]
    pub(super) fn serve(&mut self, now: Now, key: Key) {
        // As it is for nearly every event.
        if let Some(member) = self.registry.get(key)
            && member.is_at_ease()
            && member.session.poll_timeout().unwrap_or(Instant::MAX) == member.deadline
        {
            if let Some(conn) = member.conn
                && member.session.has_frames()
            {
                self.queue_conn(conn);
            }
            return;
        }
        self.serve_whole(now, key);
    }

    fn serve_whole(&mut self, now: Now, key: Key) {
        while let Some((event, cost)) = self.registry.get_mut(key).and_then(|member| member.session.poll_held()) {
            self.attend(now, key, event, cost);
        }
        let Some(member) = self.registry.get(key) else { return };
        if member.session.phase() == Phase::Closed {
            return self.dismiss(key);
        }
        if self.registry.has_presented(key) && !member.session.has_presented_token() {
            self.registry.retire_presented(key);
            // Elsewhere it must not resume the session either.
            self.state_aged(key);
        }
        self.recount(now, key);
        self.set_session_deadline(key);
        self.queue_change(key);
        if let Some(member) = self.registry.get(key)
            && let Some(conn) = member.conn
            && member.session.has_frames()
        {
            self.queue_conn(conn);
        }
    }

    fn attend(&mut self, now: Now, key: Key, event: RuntimeEvent, cost: usize) {
        let Some(member) = self.registry.get(key) else { return };
        let Some(session) = member.session.session_id().cloned() else { return };
        let charge = Some(Charge { key, serial: member.serial, cost });
        let told = match event {
            RuntimeEvent::Resumed { takeover } => {
                let may_subscribe = member.session.features().contains(Feature::Subscribe);
                if !may_subscribe {
                    self.unsubscribe_all(key);
                }
                EndpointEvent::Resumed { session, takeover }
            }
            RuntimeEvent::Submit { request, submit, trace_id } => {
                return self.submitted(now, key, request, submit, trace_id, charge);
            }
            RuntimeEvent::Cancel { request, job_id, reason } => {
                return self.cancel_asked(now, key, request, job_id, reason, charge);
            }
            RuntimeEvent::ListJobs { request, query } => return self.list_asked(now, key, request, query, charge),
            RuntimeEvent::Subscribe { request, job_id, subscribe } => {
                self.subscribe_asked(now, key, request, &job_id, &subscribe);
                return self.release(charge);
            }
            RuntimeEvent::Unsubscribe { job_id } => {
                self.unsubscribe(key, &job_id);
                return self.release(charge);
            }
            RuntimeEvent::Writable => {
                self.release(charge);
                let blocked = self.take_blocked(key);
                return self.tell_writable(now, session, blocked);
            }
            RuntimeEvent::BackPressure { active, lag } => EndpointEvent::BackPressure { session, active, lag },
            RuntimeEvent::Vendor(envelope) => EndpointEvent::Vendor { session, envelope },
            RuntimeEvent::Violation(violation) => EndpointEvent::Violation { session, violation },
            RuntimeEvent::WindowElapsed => {
                self.events.push(EndpointEvent::WindowElapsed { session }, 0, charge);
                self.state_aged(key);
                return self.elapse(now, key);
            }
            RuntimeEvent::Detached(reason) => {
                self.events.push(EndpointEvent::Detached { session, reason: reason.clone() }, 0, charge);
                return self.detached(now, key, reason);
            }
            RuntimeEvent::Closed(reason) => {
                self.release(charge);
                return self.closed(now, key, session, reason);
            }
        };
        self.events.push(told, 0, charge);
    }

    fn detached(&mut self, now: Now, key: Key, reason: DetachReason) {
        self.counters.detached += 1;
        let rank = if matches!(reason, DetachReason::PeerClosed { .. }) { Rank::Closed } else { Rank::Waiting };
        self.note_session(key, Audited::Detached(reason));
        self.take_leave(now, key, true);
        self.state_aged(key);
        self.park(now, key, rank);
    }

    fn closed(&mut self, now: Now, key: Key, session: SessionId, reason: CloseReason) {
        let is_fenced = reason == CloseReason::Fenced;
        let goes_on_elsewhere = is_fenced || (reason == CloseReason::Shutdown && self.is_durable(key));
        self.counters.closed += 1;
        self.counters.fenced += u64::from(is_fenced);
        self.note_session(key, Audited::Closed(reason.clone()));
        self.last_change(key, &reason);
        self.take_leave(now, key, !is_fenced);
        self.registry.unpark(key);
        // Nobody has to wait for it any more.
        let blocked = self.take_blocked(key);
        let mut jobs = self.orphan_jobs(key);
        self.tell_writable(now, session.clone(), blocked);
        jobs.retain(|job| self.jobs.audiences.contains_key(job));
        if goes_on_elsewhere {
            for job in &jobs {
                self.let_go(job);
            }
        }
        self.events.push(EndpointEvent::Closed { session, reason, jobs }, 0, None);
    }

    fn take_blocked(&mut self, key: Key) -> Vec<JobId> {
        let work = self.registry.work_mut(key);
        work.map(|work| work.take_blocked()).unwrap_or_default()
    }

    /// What was refused may be published again; what is owed an end gets it now.
    fn tell_writable(&mut self, now: Now, session: SessionId, mut jobs: Vec<JobId>) {
        jobs.retain(|job| !self.pay(now, job));
        if !jobs.is_empty() {
            self.events.push(EndpointEvent::Writable { session, jobs }, 0, None);
        }
    }

    /// The session has let go of its transport: only its farewell is left.
    fn take_leave(&mut self, now: Now, key: Key, may_speak: bool) {
        let Some(conn) = self.registry.get_mut(key).and_then(|member| member.conn.take()) else { return };
        let may_speak = may_speak && !self.owes_welcome(key, conn);
        let Some(member) = self.registry.get_mut(key) else { return };
        let farewell: Vec<Bytes> = core::iter::from_fn(|| member.session.poll_transmit(now)).collect();
        if self.conns.get(conn).is_some() {
            self.leave(now, conn, farewell.into_iter().filter(|_| may_speak));
        }
    }

    /// The session has ended: nothing is kept of it.
    fn dismiss(&mut self, key: Key) {
        if let Some(member) = self.registry.remove(key) {
            self.deadlines.change(Sleeper::Session(key), member.deadline, Instant::MAX);
        }
    }
}
