//! What a runtime decides about all its sessions together.

use alloc::sync::Arc;
use core::time::Duration;

use super::result_stream::ResultStream;
use crate::session::RuntimeConfig;

/// Who answers `session.list_jobs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// The endpoint, from its [`JobDirectory`](super::JobDirectory).
    #[default]
    Directory,
    /// The application, asked by [`EndpointEvent::ListJobs`](super::EndpointEvent::ListJobs).
    Application,
}

/// Whether sessions outlive the process. See [the module's page](super) for what is lost when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// They do not: there is nothing to store.
    #[default]
    Volatile,
    /// What changed is given out by `poll_change`, and nothing waits for it: what is not stored when the process dies
    /// is lost, and a client that has seen more than the store cannot resume.
    Batched,
    /// Nothing leaves before the store has what it says: no event, and no other message while the session's state is not
    /// stored, save pings and pongs behind the welcome: a slow store costs nobody a heartbeat. Nothing is lost.
    BeforeTransmit,
}

/// Every limit and choice of an [`Endpoint`](super::Endpoint); all limits are finite.
///
/// ```
/// use arcp_proto::RuntimeConfig;
/// use arcp_proto::endpoint::EndpointConfig;
/// use arcp_proto::wire::PeerInfo;
///
/// let runtime = RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0"));
/// let config = EndpointConfig { sessions_per_principal: 8, ..EndpointConfig::new(runtime) };
/// assert_eq!(config.handshake_timeout.as_secs(), 10);
/// ```
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// What each session is granted.
    pub runtime: Arc<RuntimeConfig>,
    /// How long a transport may take for its first message. 10 s (D9).
    pub handshake_timeout: Duration,
    /// How long the application may take to say who that is. 30 s; then the client is told INTERNAL_ERROR.
    pub verdict_timeout: Duration,
    /// Messages kept of a client that does not wait for the verdict. 16 (D9).
    pub held_frames: usize,
    /// Their bytes, together. 64 KiB (D9).
    pub held_bytes: usize,
    /// Transports whose client is not known yet. 4 096: with what is held of them 512 MiB at the very worst.
    pub opening_connections: usize,
    /// How long the last messages of a transport may wait for it to be writable. 5 s (D27).
    pub farewell_timeout: Duration,
    /// Sessions in all. 1 000 000. At the limit a new one takes the place of one that is parked, else it is refused.
    pub sessions: usize,
    /// Sessions of one principal (§14). 1 000. At the limit a new one takes the place of one of its own that is parked,
    /// else it is refused.
    pub sessions_per_principal: usize,
    /// Sessions without a transport. 250 000.
    pub parked_sessions: usize,
    /// The bytes in their replay buffers, together. 1 GiB.
    pub parked_bytes: usize,
    /// Those of one principal's sessions. 256 MiB: nobody takes all of it from the others.
    pub parked_bytes_per_principal: usize,
    /// The bytes of events that wait to be polled, of all sessions together. 256 MiB: reading should stop at half of it.
    pub event_bytes: usize,
    /// Jobs that one session may be subscribed to. 1 024.
    pub subscriptions_per_session: usize,
    /// Sessions that may be subscribed to one job. 10 000.
    pub subscribers_per_job: usize,
    /// The bytes of a streamed result, all chunks together. 64 MiB (D42).
    pub result_bytes: u64,
    /// The limits of the directory of jobs (D30).
    pub directory: super::DirectoryLimits,
    /// Who answers `session.list_jobs`.
    pub listing: Listing,
    /// Ask for one submit of a session at a time, so that they are answered in the order in which they came: several
    /// clients take a `job.accepted` for the answer to their oldest submit. True. One that is never answered
    /// keeps the later ones of its session waiting.
    pub submits_in_order: bool,
    /// Whether sessions outlive the process.
    pub durability: Durability,
    /// Audit records that may wait to be polled; beyond it the oldest goes, and is counted. 4 096.
    pub audit_records: usize,
}

impl EndpointConfig {
    /// The defaults, for sessions like this.
    #[must_use]
    pub fn new(runtime: impl Into<Arc<RuntimeConfig>>) -> EndpointConfig {
        EndpointConfig {
            runtime: runtime.into(),
            handshake_timeout: Duration::from_secs(10),
            verdict_timeout: Duration::from_secs(30),
            held_frames: 16,
            held_bytes: 64 << 10,
            opening_connections: 4_096,
            farewell_timeout: Duration::from_secs(5),
            sessions: 1_000_000,
            sessions_per_principal: 1_000,
            parked_sessions: 250_000,
            parked_bytes: 1 << 30,
            parked_bytes_per_principal: 256 << 20,
            event_bytes: 256 << 20,
            subscriptions_per_session: 1_024,
            subscribers_per_job: 10_000,
            result_bytes: ResultStream::DEFAULT_LIMIT,
            directory: super::DirectoryLimits::default(),
            listing: Listing::default(),
            submits_in_order: true,
            durability: Durability::default(),
            audit_records: 4_096,
        }
    }
}
