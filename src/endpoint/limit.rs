//! The limits that can cost a session its place, and how often they did.

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// [`EndpointConfig::sessions`](super::EndpointConfig::sessions).
    #[error("as many sessions as there may be")]
    Sessions,
    /// [`EndpointConfig::sessions_per_principal`](super::EndpointConfig::sessions_per_principal).
    #[error("as many sessions as one principal may have")]
    SessionsPerPrincipal,
    /// [`EndpointConfig::parked_sessions`](super::EndpointConfig::parked_sessions).
    #[error("as many sessions without a transport as there may be")]
    ParkedSessions,
    /// [`EndpointConfig::parked_bytes`](super::EndpointConfig::parked_bytes).
    #[error("as many bytes in the replay buffers of sessions without a transport as there may be")]
    ParkedBytes,
    /// [`EndpointConfig::parked_bytes_per_principal`](super::EndpointConfig::parked_bytes_per_principal).
    #[error("as many such bytes as one principal may have")]
    ParkedBytesPerPrincipal,
    /// [`EndpointConfig::opening_connections`](super::EndpointConfig::opening_connections).
    #[error("as many transports of unknown clients as there may be")]
    OpeningConnections,
    /// The application asked for it.
    #[error("the application asked for it")]
    Application,
}

/// What an endpoint has done since it was made: all numbers only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Transports.
    pub connections: u64,
    /// Sessions begun.
    pub admitted: u64,
    /// Handshakes that came to nothing, the application's refusals among them.
    pub handshakes_failed: u64,
    /// Sessions resumed, takeovers among them.
    pub resumed: u64,
    /// Sessions resumed while the old transport still stood (D15).
    pub takeovers: u64,
    /// Resumes refused.
    pub resumes_refused: u64,
    /// Sessions that lost their transport.
    pub detached: u64,
    /// Sessions ended, evicted ones among them.
    pub closed: u64,
    /// Sessions evicted because there were too many.
    pub evicted_for_sessions: u64,
    /// Sessions evicted because their principal had too many.
    pub evicted_for_principal: u64,
    /// Sessions evicted because too many were parked.
    pub evicted_for_parked: u64,
    /// Sessions evicted because parked ones held too many bytes.
    pub evicted_for_bytes: u64,
    /// Sessions evicted because those of their principal held too many bytes.
    pub evicted_for_principal_bytes: u64,
    /// Sessions evicted by the application.
    pub evicted_by_application: u64,
    /// Transports closed at once, because too many clients were unknown.
    pub connections_refused: u64,
    /// Sessions adopted from a store.
    pub adopted: u64,
    /// Sessions given up because they live on another machine.
    pub fenced: u64,
    /// Events that subscribers were to hear of and could not: a feature or their frame limit forbade it.
    pub deliveries_skipped: u64,
}

impl Counters {
    pub(super) fn evicted(&mut self, limit: Limit) {
        match limit {
            Limit::Sessions => self.evicted_for_sessions += 1,
            Limit::SessionsPerPrincipal => self.evicted_for_principal += 1,
            Limit::ParkedSessions => self.evicted_for_parked += 1,
            Limit::ParkedBytes => self.evicted_for_bytes += 1,
            Limit::ParkedBytesPerPrincipal => self.evicted_for_principal_bytes += 1,
            Limit::Application => self.evicted_by_application += 1,
            Limit::OpeningConnections => self.connections_refused += 1,
        }
    }
}
