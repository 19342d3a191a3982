//! What a user decides about sessions: a configuration for each role, and the limits of both.

use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use crate::feature::FeatureSet;
use crate::wire::{AgentInfo, Credentials, PeerInfo, Principal, ResumeToken, SessionId};

/// Every limit of a session; all are finite.
///
/// ```
/// use arcp_proto::Limits;
///
/// let limits = Limits { max_frame: 256 * 1024, ..Limits::default() };
/// assert_eq!(limits.opening_frame, 64 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest frame that is taken or sent, in bytes. 1 MiB: what the strictest known peer reads (D39). Our own hello and welcome
    /// are sent whatever their length: it is the configuration's, and a peer takes a first frame of 64 KiB.
    pub max_frame: usize,
    /// The longest first frame of a transport, in bytes. 64 KiB: it comes from somebody unknown (D9).
    pub opening_frame: usize,
    /// Control messages that may wait to be sent. 256: answers to as many open requests (D43).
    pub control_frames: usize,
    /// Their bytes, together. 1 MiB: four pages of jobs of the largest size (D43).
    pub control_bytes: usize,
    /// Pongs that may wait beside them; beyond it the oldest goes. 16: a peer needs only the last (D43).
    pub unsent_pongs: usize,
    /// Violations within an attachment before the transport is given up. 64: enough to debug a peer by (D43).
    pub violations: u32,
    /// Requests that may be open at once, either way. 256 (D43).
    pub open_requests: usize,
    /// Bytes of events that may wait to be polled; reading should stop at half of it. 16 MiB (D43).
    pub inbound_bytes: usize,
    /// Client: events that may wait for one before them. 64: peers that reorder do so by a few (D28).
    pub reorder_events: usize,
    /// Client: jobs that are remembered as alive, to tell a refused request from a job's end. 4096; beyond it the
    /// one with the smallest id is forgotten (D12).
    pub live_jobs: usize,
    /// Runtime: submits whose answer is kept for a repetition. 64 (D8).
    pub kept_submits: usize,
    /// Runtime: the bytes of those answers, together. 256 KiB.
    pub kept_submit_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_frame: 1 << 20,
            opening_frame: 64 << 10,
            control_frames: 256,
            control_bytes: 1 << 20,
            unsent_pongs: 16,
            violations: 64,
            open_requests: 256,
            inbound_bytes: 16 << 20,
            reorder_events: 64,
            live_jobs: 4_096,
            kept_submits: 64,
            kept_submit_bytes: 256 << 10,
        }
    }
}

/// What some peers expect beside the draft; all off by default (D40).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// Runtime: answers carry `reply_to` beside `request_id`.
    pub mirrored_reply_to: bool,
    /// Client: the hello carries `client_name` and `client_version` beside `client`.
    pub flat_client_name: bool,
}

/// Who says that an event is processed (D25).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckPolicy {
    /// The application, by `mark_processed`: nothing is lost when it crashes.
    #[default]
    Manual,
    /// Polling an event processes it. For dashboards: what was polled when it crashes is not sent again.
    OnPoll,
}

/// What a client does about a hole in the sequence that does not fill (D28).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GapPolicy {
    /// Give the transport up; a resume replays what is missing. A hole that the replay has too is reported.
    #[default]
    Resume,
    /// Report `EventsLost` and go on: for transports that cannot be made anew.
    Report,
}

/// How a client says goodbye.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Farewell {
    /// `session.bye` (A13).
    #[default]
    Bye,
    /// `session.close`, as the draft has it (§6.7).
    Close,
}

/// What a client wants of its session. Shared by clones of the session.
///
/// ```
/// use arcp_proto::{ClientConfig, Feature, FeatureSet};
/// use arcp_proto::wire::{Credentials, PeerInfo};
///
/// let config = ClientConfig::new(PeerInfo::new("my-app", "1.0.0"), Credentials::bearer("…"))
///     .with_features(FeatureSet::all().without(Feature::Subscribe));
/// assert_eq!(config.request_timeout.as_secs(), 30);
/// ```
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Who we say that we are (A3).
    pub client: PeerInfo,
    /// How we prove who we are. `set_credentials` renews them before a resume.
    pub credentials: Credentials,
    /// The features that are asked for; all by default (A6).
    pub features: FeatureSet,
    /// The limits.
    pub limits: Limits,
    /// How long to wait for the welcome. 10 s (D9).
    pub handshake_timeout: Duration,
    /// How long a request may stay unanswered. 30 s (D12).
    pub request_timeout: Duration,
    /// How long `close` waits for the runtime. 5 s (D32).
    pub close_timeout: Duration,
    /// Who says that an event is processed.
    pub ack_policy: AckPolicy,
    /// How long an acknowledgement waits for others to go with it. 250 ms (D25).
    pub ack_delay: Duration,
    /// How many events it waits for at most. 500 (D25).
    pub ack_batch: u64,
    /// After how many polled and unmarked events `Lagging` is told. 500. A runtime whose window is smaller stops before.
    pub lagging_after: u64,
    /// What to do about a hole in the sequence.
    pub gap_policy: GapPolicy,
    /// How long events wait for one before them. 1 s (D28).
    pub reorder_timeout: Duration,
    /// How many events a resume asks for that are here already, where they are not acknowledged. 0; 1 for a peer
    /// that cannot resume a client that missed nothing (D29). With such a peer leave `ack` out of the features: what
    /// was acknowledged is not asked for again, and a client that has acknowledged all would be refused still.
    pub resume_overlap: u64,
    /// How long after the loss of a transport a resume is still tried. The resume window, if `None` (D17); longer
    /// than that only with `ack` negotiated.
    pub give_up_after: Option<Duration>,
    /// How to say goodbye.
    pub farewell: Farewell,
    /// What peers expect beside the draft.
    pub dialect: Dialect,
    /// Put into every message id, at most 32 bytes of it: tells apart the ids of several sessions in one log.
    pub id_prefix: String,
}

impl ClientConfig {
    /// The defaults, for a client of that name with these credentials.
    #[must_use]
    pub fn new(client: PeerInfo, credentials: Credentials) -> ClientConfig {
        ClientConfig {
            client,
            credentials,
            features: FeatureSet::all(),
            limits: Limits::default(),
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            ack_policy: AckPolicy::default(),
            ack_delay: Duration::from_millis(250),
            ack_batch: 500,
            lagging_after: 500,
            gap_policy: GapPolicy::default(),
            reorder_timeout: Duration::from_secs(1),
            resume_overlap: 0,
            give_up_after: None,
            farewell: Farewell::default(),
            dialect: Dialect::default(),
            id_prefix: String::new(),
        }
    }

    /// The same, asking for these features.
    #[must_use]
    pub fn with_features(mut self, features: FeatureSet) -> ClientConfig {
        self.features = features;
        self
    }

    /// The same with another word on who processes events.
    #[must_use]
    pub fn with_ack_policy(mut self, policy: AckPolicy) -> ClientConfig {
        self.ack_policy = policy;
        self
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> ClientConfig {
        self.limits = limits;
        self
    }
}

/// What happens to an event that does not fit the replay buffer (D19).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It is refused with `Blocked`, and `Writable` follows: nothing that the client has not acknowledged is lost.
    #[default]
    Block,
    /// The oldest event goes. A client that falls too far behind loses its transport, and cannot resume.
    Evict,
}

/// What a runtime grants its sessions. Shared by all of them.
///
/// ```
/// use arcp_proto::RuntimeConfig;
/// use arcp_proto::wire::PeerInfo;
///
/// let config = RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0"));
/// assert_eq!(config.heartbeat_interval.as_secs(), 30);
/// assert_eq!(config.resume_window.as_secs(), 600);
/// ```
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Who we say that we are (A4).
    pub runtime: PeerInfo,
    /// The features that are supported; all by default (A6).
    pub features: FeatureSet,
    /// The limits.
    pub limits: Limits,
    /// The heartbeat interval, in whole seconds from one to a day; the rest is cut off. 30 s (A7).
    pub heartbeat_interval: Duration,
    /// How long a session can be resumed once its transport is lost, in whole seconds from one to 136 years. 600 s (A4).
    pub resume_window: Duration,
    /// How long, counted from the same loss, events that nobody acknowledged are kept beyond the window. 24 h (D18).
    pub retention: Duration,
    /// Events that are kept for replay, at least one. 10 000 (D19).
    pub replay_events: usize,
    /// Their bytes, together. 16 MiB (D19). Beside them, what is free in the memory that they share takes at most 32 KiB and
    /// an eighth of events over 8 KiB; nothing of that stays when the transport is lost.
    pub replay_bytes: usize,
    /// What happens to an event that does not fit.
    pub overflow: Overflow,
    /// How many events may be unacknowledged before back-pressure is signalled. 1000 (D26). A window of no more than that is full,
    /// and the sender `Blocked`, before there is a signal.
    pub back_pressure_threshold: u64,
    /// How long a close waits for the events before it to be sent. 5 s (D27).
    pub close_timeout: Duration,
    /// What peers expect beside the draft.
    pub dialect: Dialect,
    /// Put into every message id, at most 32 bytes of it: tells apart the ids of several runtimes in one log.
    pub id_prefix: String,
}

impl RuntimeConfig {
    /// The defaults, for a runtime of that name.
    #[must_use]
    pub fn new(runtime: PeerInfo) -> RuntimeConfig {
        RuntimeConfig {
            runtime,
            features: FeatureSet::all(),
            limits: Limits::default(),
            heartbeat_interval: Duration::from_secs(30),
            resume_window: Duration::from_secs(600),
            retention: Duration::from_secs(24 * 60 * 60),
            replay_events: 10_000,
            replay_bytes: 16 << 20,
            overflow: Overflow::default(),
            back_pressure_threshold: 1_000,
            close_timeout: Duration::from_secs(5),
            dialect: Dialect::default(),
            id_prefix: String::new(),
        }
    }

    /// The same, supporting these features.
    #[must_use]
    pub fn with_features(mut self, features: FeatureSet) -> RuntimeConfig {
        self.features = features;
        self
    }

    /// The same with a replay buffer of that size.
    #[must_use]
    pub fn with_replay(mut self, events: usize, bytes: usize, overflow: Overflow) -> RuntimeConfig {
        self.replay_events = events;
        self.replay_bytes = bytes;
        self.overflow = overflow;
        self
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> RuntimeConfig {
        self.limits = limits;
        self
    }

    pub(super) fn heartbeat_seconds(&self) -> u64 {
        self.heartbeat_interval.as_secs().clamp(1, 24 * 60 * 60)
    }

    pub(super) fn resume_window_seconds(&self) -> u64 {
        self.resume_window.as_secs().clamp(1, u32::MAX.into())
    }
}

/// What the application gives a client whose hello it accepts.
///
/// The welcome that is made of it must be one that a client can take: an id of 1 to 256 bytes, a token that is not
/// empty and was never used, and agents that leave the frame below the client's limit.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who the client was authenticated as.
    pub principal: Principal,
    /// The new session's id: `sess_…`, never used before (D3).
    pub session_id: SessionId,
    /// The first resume token: `rt_…`, at least 128 bits from a cryptographic source (D3).
    pub resume_token: ResumeToken,
    /// The agents that the client is told of, in a welcome that should stay below its peer's frame limit.
    pub agents: Arc<[AgentInfo]>,
}
