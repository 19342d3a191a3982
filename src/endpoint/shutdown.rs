//! A polite end: of one session, or of all (A14).

use super::Endpoint;
use super::connection::ConnId;
use super::registry::Key;
use crate::time::Now;
use crate::wire::{ErrorCode, SessionId, WireError};

impl Endpoint {
    /// Ends a session: what was emitted goes out first, for at most
    /// [`RuntimeConfig::close_timeout`](crate::RuntimeConfig::close_timeout), then `session.bye` with the reason, then its
    /// transport is closed (A14, D32). Jobs go on. Says whether there was such a session.
    pub fn shutdown(&mut self, now: Now, session: &SessionId, reason: &str) -> bool {
        let now = self.tick(now);
        let key = self.registry.key_of(session);
        if let Some(key) = key {
            self.shut_down_key(now, key, reason);
        }
        key.is_some()
    }

    /// Ends all sessions so, turns away whoever asks to be let in, and lets nobody in any more. Stop the jobs before, where
    /// sessions are stored: others carry them on. Then turn the loop until [`connection_count`](Endpoint::connection_count) is
    /// `(0, 0)` and [`has_unstored`](Endpoint::has_unstored) is false; that takes no longer than
    /// [`RuntimeConfig::close_timeout`](crate::RuntimeConfig::close_timeout), then
    /// [`EndpointConfig::farewell_timeout`](super::EndpointConfig::farewell_timeout), and the store.
    pub fn shutdown_all(&mut self, now: Now, reason: &str) {
        let now = self.tick(now);
        self.is_shutting_down = true;
        for conn in self.conns.ids_of_opening() {
            self.refuse_for_shutdown(now, conn);
        }
        for key in self.registry.keys() {
            self.shut_down_key(now, key, reason);
        }
    }

    fn shut_down_key(&mut self, now: Now, key: Key, reason: &str) {
        if let Some(member) = self.registry.get_mut(key) {
            member.session.shutdown(now, reason);
        }
        self.serve(now, key);
    }

    pub(super) fn refuse_for_shutdown(&mut self, now: Now, conn: ConnId) {
        self.fail_handshake(now, conn, WireError::new(ErrorCode::InternalError, "the runtime is shutting down"));
    }
}
