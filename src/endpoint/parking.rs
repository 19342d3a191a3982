//! Sessions without a transport: how many, how large, and which has to go (D18, D32).

use super::Endpoint;
use super::audit::Audited;
use super::limit::Limit;
use super::registry::{Key, Rank};
use crate::session::CloseReason;
use crate::time::{Instant, Now};
use crate::wire::{Principal, SessionId};

impl Endpoint {
    /// Ends a session at once, whatever it holds: the client's resume will be refused. On its transport, if it has one, it is
    /// told `session.bye` with the reason `evicted`, and nothing that waits to be sent before it: see
    /// [`shutdown`](Endpoint::shutdown) for that. Says whether there was such a session.
    pub fn evict(&mut self, now: Now, session: &SessionId) -> bool {
        let now = self.tick(now);
        let key = self.registry.key_of(session);
        if let Some(key) = key {
            self.evict_key(now, key, Limit::Application);
        }
        key.is_some()
    }

    /// When a session was last used for anything but heartbeats: by the client, or by an event sent to it (§14). A session
    /// that merely breathes for hours may be one to [`evict`](Endpoint::evict) or to shut down.
    #[must_use]
    pub fn used_at(&self, session: &SessionId) -> Option<Instant> {
        Some(self.registry.by_id(session)?.session.used_at())
    }

    /// Makes place for another session of `principal`, of parked ones.
    pub(super) fn make_place(&mut self, now: Now, principal: &Principal) -> Result<(), Limit> {
        if self.registry.sessions_of(principal) >= self.config.sessions_per_principal {
            // That makes place among all, too.
            return self.evict_first(now, Some(principal), Limit::SessionsPerPrincipal);
        }
        if self.registry.len() >= self.config.sessions {
            return self.evict_first(now, None, Limit::Sessions);
        }
        Ok(())
    }

    /// A session has lost its transport.
    pub(super) fn park(&mut self, now: Now, key: Key, rank: Rank) {
        self.registry.park(key, rank);
        self.keep_principal_within_limits(now, key);
        self.keep_within_limits(now);
    }

    /// A parked session's replay buffer may have grown.
    pub(super) fn recount(&mut self, now: Now, key: Key) {
        if self.registry.get(key).is_some_and(|member| member.rank().is_some()) {
            self.registry.recount(key);
            self.keep_principal_within_limits(now, key);
        }
    }

    /// Where the sessions of one principal are too large, it is one of these that goes.
    fn keep_principal_within_limits(&mut self, now: Now, key: Key) {
        let Some(principal) = self.registry.get(key).map(|member| member.session.principal().clone()) else { return };
        while self.registry.parked_bytes_of(&principal) > self.config.parked_bytes_per_principal {
            let Some(key) = self.registry.first_laden_of(&principal) else { return };
            self.evict_key(now, key, Limit::ParkedBytesPerPrincipal);
        }
    }

    /// Whether a session that comes to be parked would stay: it must not be the first to go. `stale` makes place for it.
    pub(super) fn has_place_to_park(&self, rank: Rank, bytes: usize, stale: Option<Key>) -> Result<(), Limit> {
        let stale = stale.and_then(|key| self.registry.get(key)).filter(|member| member.rank().is_some());
        let parked = self.registry.parked() - usize::from(stale.is_some());
        let freed = stale.map_or(0, |member| member.session.replay_len().1);
        let others = self.registry.parked_bytes().saturating_sub(freed);
        let is_first = self.registry.first_rank().is_none_or(|first| first > rank);
        if self.config.parked_sessions == 0 || (is_first && parked >= self.config.parked_sessions) {
            Err(Limit::ParkedSessions)
        } else if bytes > self.config.parked_bytes || (is_first && others + bytes > self.config.parked_bytes) {
            Err(Limit::ParkedBytes)
        } else {
            Ok(())
        }
    }

    /// A session's window is over.
    pub(super) fn elapse(&mut self, now: Now, key: Key) {
        if self.registry.get(key).is_some_and(|member| member.rank() == Some(Rank::Waiting)) {
            self.park(now, key, Rank::Elapsed);
        }
    }

    /// Sessions without a transport go, where there are too many of them or they are too large.
    pub(super) fn keep_within_limits(&mut self, now: Now) {
        while self.registry.parked() > self.config.parked_sessions {
            if self.evict_first(now, None, Limit::ParkedSessions).is_err() {
                return;
            }
        }
        while self.registry.parked_bytes() > self.config.parked_bytes {
            // Those who hold none would go in vain.
            let Some(key) = self.registry.first_laden_to_go() else { return };
            self.evict_key(now, key, Limit::ParkedBytes);
        }
    }

    /// Evicts the parked session that has to go first, of all or of one principal; the limit, where there is none.
    pub(super) fn evict_first(&mut self, now: Now, of: Option<&Principal>, limit: Limit) -> Result<(), Limit> {
        let key = self.registry.first_to_go(of).ok_or(limit)?;
        self.evict_key(now, key, limit);
        Ok(())
    }

    fn evict_key(&mut self, now: Now, key: Key, limit: Limit) {
        self.counters.evicted(limit);
        self.note_session(key, Audited::Evicted(limit));
        if let Some(member) = self.registry.get_mut(key) {
            member.session.expel(now, CloseReason::Evicted, Some("evicted"));
        }
        self.serve(now, key);
    }
}
