//! What a driver calls: what happened outside goes in, what is to be done comes out.

use bytes::Bytes;

use super::Endpoint;
use super::audit::AuditRecord;
use super::connection::{ConnId, Stage};
use super::deadlines::Sleeper;
use super::event::EndpointEvent;
use super::limit::Limit;
use crate::time::{Instant, Now};
use crate::wire::FrameFault;

/// In: what happened outside.
impl Endpoint {
    /// A new transport. Whoever is behind it has
    /// [`EndpointConfig::handshake_timeout`](super::EndpointConfig::handshake_timeout) to say so (D9).
    ///
    /// Where there are too many such already
    /// ([`EndpointConfig::opening_connections`](super::EndpointConfig::opening_connections)), the order to close it is given
    /// at once.
    #[must_use = "what comes from the transport is handed in under this id"]
    pub fn connect(&mut self, now: Now) -> ConnId {
        let now = self.tick(now);
        self.counters.connections += 1;
        let is_full = self.conns.opening() >= self.config.opening_connections;
        let conn = self.conns.insert();
        if self.is_shutting_down {
            self.refuse_for_shutdown(now, conn);
        } else if is_full {
            self.counters.evicted(Limit::OpeningConnections);
            self.leave(now, conn, []);
        } else {
            self.set_conn_deadline(conn, now.mono + self.config.handshake_timeout);
        }
        conn
    }

    /// One whole message came off a transport.
    ///
    /// What comes from a transport that was given up is ignored: so late bytes of an old one never reach a session that
    /// was resumed on another (D15).
    pub fn handle_input(&mut self, now: Now, conn: ConnId, message: Bytes) {
        let now = self.tick(now);
        match self.conns.get(conn).map(|conn| &conn.stage) {
            Some(Stage::Fresh) => self.receive_opening(now, conn, message),
            Some(Stage::Judging(_)) => self.hold(now, conn, message),
            Some(Stage::Attached(key)) => self.receive(now, *key, message),
            Some(Stage::Leaving(_)) | None => {}
        }
    }

    /// A frame came that the driver's framing could not hand over, such as a line over its limit (D39).
    pub fn handle_malformed(&mut self, now: Now, conn: ConnId, fault: FrameFault) {
        let now = self.tick(now);
        match self.conns.get(conn).map(|conn| &conn.stage) {
            Some(Stage::Attached(key)) => {
                let key = *key;
                if let Some(member) = self.registry.get_mut(key) {
                    member.session.handle_malformed(now, fault);
                }
                self.serve(now, key);
            }
            Some(Stage::Fresh | Stage::Judging(_)) => self.spoil(now, conn, fault),
            Some(Stage::Leaving(_)) | None => {}
        }
    }

    /// Bytes came from a transport, but no whole message yet: the peer lives (D21).
    pub fn handle_activity(&mut self, now: Now, conn: ConnId) {
        let now = self.tick(now);
        if let Some(key) = self.key_on(conn) {
            if let Some(member) = self.registry.get_mut(key) {
                member.session.handle_activity(now);
            }
            self.serve(now, key);
        }
    }

    /// A transport is gone. Told of one that was given up already, it does nothing.
    pub fn handle_disconnect(&mut self, now: Now, conn: ConnId) {
        let now = self.tick(now);
        let key = self.key_on(conn);
        self.forget_conn(conn);
        if let Some(key) = key {
            if let Some(member) = self.registry.get_mut(key) {
                member.session.handle_disconnect(now);
            }
            // Which transport it was goes on record there.
            self.serve(now, key);
        }
    }

    /// Time has passed. Safe to call early, late and twice; it costs as much as there are deadlines that are due. A driver
    /// feeds what it has read before it calls this (D21).
    pub fn handle_timeout(&mut self, now: Now) {
        let now = self.tick(now);
        while let Some(sleeper) = self.deadlines.due(now.mono) {
            match sleeper {
                Sleeper::Conn(slot) => self.conn_timed_out(now, slot),
                Sleeper::Directory => self.directory_timed_out(now),
                Sleeper::Session(key) => self.session_timed_out(now, key),
            }
        }
    }

    /// Whether a transport can take more. While it cannot, `poll_transmit` gives nothing for it, and what there is to say
    /// waits in its session, within the session's limits: a client that does not read costs no more than that. It costs
    /// it as long as it shows that it lives; one without `heartbeat` need not, and then only the driver or
    /// [`evict`](Endpoint::evict) ends it.
    pub fn set_writable(&mut self, conn: ConnId, is_writable: bool) {
        if let Some(state) = self.conns.get_mut(conn) {
            state.is_writable = is_writable;
            if is_writable {
                self.queue_conn(conn);
            }
        }
    }
}

/// Out: what is to be done.
impl Endpoint {
    /// The next event for the application.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<EndpointEvent> {
        let (event, charge) = loop {
            let (event, charge) = self.events.pop()?;
            // Nobody waits for a verdict on a transport that is gone.
            if !matches!(&event, EndpointEvent::Authenticate(applicant) if !self.is_judged(applicant.conn)) {
                break (event, charge);
            }
        };
        if let Some(charge) = charge
            && let Some(member) = self.registry.same(charge.key, charge.serial)
        {
            member.session.release(charge.cost);
            self.set_session_deadline(charge.key);
        }
        Some(event)
    }

    /// The next transport to be closed, once what `poll_transmit` gave for it is written. It is forgotten here: a driver that
    /// does not ask keeps them all.
    #[must_use]
    pub fn poll_close(&mut self) -> Option<ConnId> {
        while let Some(conn) = self.closing.pop_front() {
            if self.conns.get(conn).is_some() {
                self.forget_conn(conn);
                return Some(conn);
            }
        }
        None
    }

    /// The next record for the operator's log.
    #[must_use]
    pub fn poll_audit(&mut self) -> Option<AuditRecord> {
        self.audit.pop()
    }

    /// When to call [`handle_timeout`](Endpoint::handle_timeout), if nothing else happens before. Reading it costs the same
    /// at all times.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.earliest()
    }

    /// Whether to go on reading from a transport. False while its session, or all together, leave too much unpolled (D43).
    #[must_use]
    pub fn wants_input(&self, conn: ConnId) -> bool {
        let has_room = self.has_room();
        match self.conns.get(conn).map(|conn| &conn.stage) {
            Some(Stage::Attached(key)) => {
                has_room && self.registry.get(*key).is_some_and(|member| member.session.wants_input())
            }
            Some(Stage::Fresh) => has_room,
            // What came behind the first message is kept, but not much of it.
            Some(Stage::Judging(judging)) => judging.held.is_empty(),
            // What still comes is ignored, and its end is noticed.
            Some(Stage::Leaving(_)) => true,
            None => false,
        }
    }
}
