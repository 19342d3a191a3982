//! What there is, to look at.

use super::Endpoint;
use super::connection::ConnId;
use super::limit::Counters;
use crate::session::{Runtime, Session};
use crate::wire::{Principal, SessionId};

/// Getters.
impl Endpoint {
    /// A session, to look at.
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Option<&Session<Runtime>> {
        self.registry.by_id(id).map(|member| &member.session)
    }

    /// All sessions, in no order that means anything.
    pub fn sessions(&self) -> impl Iterator<Item = &Session<Runtime>> {
        self.registry.iter().map(|member| &member.session)
    }

    /// How many sessions there are, parked ones among them.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.registry.len()
    }

    /// How many sessions a principal has, parked ones among them.
    #[must_use]
    pub fn session_count_of(&self, principal: &Principal) -> usize {
        self.registry.sessions_of(principal)
    }

    /// How many sessions have no transport, and the bytes in their replay buffers.
    #[must_use]
    pub fn parked(&self) -> (usize, usize) {
        (self.registry.parked(), self.registry.parked_bytes())
    }

    /// How many transports there are, and of how many the client is not known yet.
    #[must_use]
    pub fn connection_count(&self) -> (usize, usize) {
        (self.conns.len(), self.conns.opening())
    }

    /// The transport that carries a session.
    #[must_use]
    pub fn conn_of(&self, session: &SessionId) -> Option<ConnId> {
        self.registry.by_id(session)?.conn
    }

    /// The session that a transport carries.
    #[must_use]
    pub fn session_on(&self, conn: ConnId) -> Option<&SessionId> {
        self.registry.get(self.key_on(conn)?)?.session.session_id()
    }

    /// What has been done since the endpoint was made.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Audit records that were dropped because nobody polled them.
    #[must_use]
    pub fn audit_lost(&self) -> u64 {
        self.audit.lost()
    }
}
