//! What of a client's session outlives its process (D3, D28, D32).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::super::Session;
use super::super::ack::{Acks, Marks};
use super::super::config::ClientConfig;
use super::super::event::SessionInfo;
use super::super::heartbeat::Cadence;
use super::super::inbox::Inbox;
use super::super::phase::Phase;
use super::super::reorder::Reorder;
use super::super::requests::{Asked, Requests};
use super::super::shared::{Counters, Shared};
use super::super::snapshot::{Millis, RestoreError, Version, check_header};
use super::super::timers::Timer;
use super::{Client, State};
use crate::feature::{Feature, FeatureSet};
use crate::time::{Instant, Now};
use crate::wire::{AgentInfo, PeerInfo, ResumeToken, SEQ_LIMIT, SessionId};

/// What a client's session is: see [`Session::<Client>::snapshot`](Session::snapshot).
///
/// **It holds the resume token**, by which anybody with the client's credentials could take the session over: store it
/// like a password. It is not printed.
///
/// It serialises into any self-describing format, as version 1; another version fails to deserialise.
#[derive(Clone, Deserialize, Serialize)]
pub struct ClientSnapshot {
    version: Version,
    /// Nothing before the first welcome.
    session: Option<Welcomed>,
    cursor: Marks,
    /// A resume was tried for the hole that begins here (D28).
    retried: Option<u64>,
    asked: Asked,
    counters: Counters,
    /// Nothing while attached.
    window_left_ms: Option<Millis>,
}

/// What the last welcome said.
#[derive(Clone, Deserialize, Serialize)]
struct Welcomed {
    session_id: SessionId,
    resume_token: Option<ResumeToken>,
    runtime: PeerInfo,
    agents: Vec<AgentInfo>,
    features: FeatureSet,
    heartbeat_interval_ms: Option<Millis>,
    resume_window_ms: Millis,
}

/// Where it stands; not the token.
impl fmt::Debug for ClientSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSnapshot")
            .field("session_id", &self.session_id())
            .field("cursor", &self.cursor)
            .field("counters", &self.counters)
            .field("window_left_ms", &self.window_left_ms)
            .finish_non_exhaustive()
    }
}

impl ClientSnapshot {
    /// The session's id; `None` before the welcome.
    #[must_use]
    pub fn session_id(&self) -> Option<&SessionId> {
        self.session.as_ref().map(|session| &session.session_id)
    }

    /// The highest event up to which all were processed: a restored session resumes from here.
    #[must_use]
    pub fn last_processed_seq(&self) -> u64 {
        self.cursor.processed
    }
}

/// Outliving the process.
impl Session<Client> {
    /// What the session is, to be stored and [restored](Session::<Client>::restore) after a crash, or elsewhere. Legal in any
    /// phase; a session that the runtime ended, or whose resume it refused, can be restored, too, and resumed within its
    /// window (D32).
    ///
    /// **At least once** (D28): it stands at the highest event that was *processed*, not received. What was
    /// received or polled beyond that comes again, so a crash repeats events and never loses one; an application that
    /// must not act twice stores it together with what it did. Under [`AckPolicy::OnPoll`](crate::AckPolicy::OnPoll) polling
    /// is processing.
    ///
    /// Store one after each `Connected` and `Resumed`: the welcome brought another token, and the one before is soon
    /// retired. Store one after each restore, too, before [`resume`](Session::<Client>::resume): whoever dies again before
    /// that and is restored of the same snapshot writes the same ids again (D3). At a runtime that rotates its
    /// tokens that is the hello's id, and no more; at one that does not, a submit can be taken for an earlier one.
    ///
    /// *Not in it*: open requests (they fail with the transport, and what became of a submit is told by repeating it with
    /// its idempotency key), events that wait to be polled and have no place in the sequence, renewed credentials.
    ///
    /// What is left of the resume window is counted from the last call that brought a clock; the time between a
    /// snapshot and its restore is not counted.
    ///
    /// ```
    /// # use arcp_proto::{Client, Now, Session};
    /// fn processed(session: &mut Session<Client>, now: Now, seq: u64) -> Result<String, Box<dyn std::error::Error>> {
    ///     session.mark_processed(now, seq)?;
    ///     // In one transaction with what processing the event has changed.
    ///     Ok(serde_json::to_string(&session.snapshot())?)
    /// }
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> ClientSnapshot {
        let session = self.role.info.as_ref().map(|info| Welcomed {
            session_id: info.session_id.clone(),
            resume_token: self.role.token.clone(),
            runtime: info.runtime.clone(),
            agents: info.agents.clone(),
            features: info.features.clone(),
            heartbeat_interval_ms: info.heartbeat_interval.map(Millis::of),
            resume_window_ms: Millis::of(info.resume_window),
        });
        let is_attached = matches!(self.phase(), Phase::Connecting | Phase::Open | Phase::Closing);
        let left = || Millis::left(self.shared.clock.mono, self.role.window_ends);
        ClientSnapshot {
            version: Version,
            session,
            cursor: self.role.acks.marks(),
            retried: self.role.order.retried(),
            asked: self.role.requests.asked(),
            counters: self.shared.counters(),
            window_left_ms: if is_attached { None } else { Some(left()) },
        }
    }

    /// Makes a session again of what was stored of one: detached, and to be resumed. It behaves as the one that the
    /// snapshot was taken of would, had it lost its transport then, save for what is
    /// [not in a snapshot](Session::<Client>::snapshot) and for events that come again (D28). It goes on in the next
    /// attachment, and numbers its messages from 2^20 further on: so no id repeats, not even that of an attempt to resume which
    /// was made after the snapshot and of which nothing came (D3). Let only one session live that was restored of one snapshot: two
    /// of them write the same ids, and supersede each other.
    ///
    /// A resume window that was running goes on with what was left of it, counted from `now`, which may be of another
    /// clock; one of a snapshot taken while attached begins now.
    ///
    /// # Errors
    ///
    /// When it was taken before the first welcome, or no session wrote it.
    ///
    /// ```
    /// # use arcp_proto::{Client, ClientConfig, ClientSnapshot, Now, Phase, Session};
    /// # use arcp_proto::wire::{Credentials, PeerInfo};
    /// # let config = || ClientConfig::new(PeerInfo::new("my-app", "1.0.0"), Credentials::bearer("secret"));
    /// # let now = Now::default();
    /// # let mut session = Session::connect(now, config());
    /// # let welcome = r#"{"type":"session.welcome","session_id":"sess_1","payload":{"resume_token":"rt_1"}}"#;
    /// # session.handle_input(now, welcome.into());
    /// let stored = serde_json::to_string(&session.snapshot())?;
    ///
    /// let snapshot: ClientSnapshot = serde_json::from_str(&stored)?;
    /// let mut restored = Session::<Client>::restore(now, config(), snapshot)?;
    /// assert_eq!(restored.phase(), Phase::Detached);
    /// restored.resume(now)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore(
        now: Now,
        config: impl Into<Arc<ClientConfig>>,
        snapshot: ClientSnapshot,
    ) -> Result<Session<Client>, RestoreError> {
        let config = config.into();
        let welcomed = snapshot.session.ok_or(RestoreError::NeverConnected)?;
        check_header(&welcomed.session_id, snapshot.counters, snapshot.asked.requests)?;
        let Marks { processed, marked, ever_said } = snapshot.cursor;
        let is_in_order = marked <= processed && ever_said <= processed && processed < SEQ_LIMIT;
        if !is_in_order || snapshot.retried.is_some_and(|hole| hole > SEQ_LIMIT) {
            return Err(RestoreError::Header("its place in the sequence contradicts itself"));
        }
        let features = config.features.intersection(&welcomed.features);
        let mut shared = Shared::new(now, Phase::Detached, 'c', &config.id_prefix, Cadence::WhenIdle);
        shared.go_on_from(snapshot.counters.behind_attempts());
        shared.session_id = Some(welcomed.session_id.clone());
        shared.features = features.clone();
        // Nothing is sent before the next hello.
        shared.outbox.clear();
        let info = SessionInfo {
            session_id: welcomed.session_id,
            runtime: welcomed.runtime,
            agents: welcomed.agents,
            heartbeat_interval: welcomed
                .heartbeat_interval_ms
                .map(Millis::get)
                .filter(|_| features.contains(Feature::Heartbeat)),
            features,
            resume_window: welcomed.resume_window_ms.get(),
        };
        let role = State {
            credentials: None,
            token: welcomed.resume_token.filter(|token| !token.is_empty()),
            info: Some(Arc::new(info)),
            acks: Acks::restored(config.ack_policy, snapshot.cursor),
            order: Reorder::restored(processed, snapshot.retried),
            requests: Requests::restored(snapshot.asked, config.limits.live_jobs),
            window_ends: Instant::ZERO,
            config,
        };
        let mut session = Session { shared, inbox: Inbox::new(), role };
        let left = snapshot.window_left_ms.map_or_else(|| session.window(), Millis::get);
        session.role.window_ends = now.mono + left;
        session.shared.timers.set(Timer::ResumeWindow, Some(session.role.window_ends));
        Ok(session)
    }
}
