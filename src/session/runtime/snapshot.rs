//! What of a runtime's session outlives its process: a small header, and the events beside it (D3, D14, D28, D32).

use alloc::sync::Arc;
use core::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::Session;
use super::super::config::RuntimeConfig;
use super::super::heartbeat::Cadence;
use super::super::inbox::Inbox;
use super::super::pending::{Answered, Pendings};
use super::super::phase::Phase;
use super::super::pressure::Pressure;
use super::super::replay::{Numbers, Window};
use super::super::shared::{Counters, Shared, epoch_of};
use super::super::snapshot::{Digest, MOST_COUNTED, Millis, RestoreError, Version, check_header};
use super::super::timers::Timer;
use super::super::tokens::Tokens;
use super::{Ends, Runtime, State};
use crate::feature::FeatureSet;
use crate::time::Now;
use crate::wire::{AgentInfo, Envelope, MessageType, PeerInfo, Principal, SessionId, breaks_lines};

/// What a runtime's session is without its events: see [`Session::<Runtime>::snapshot`](Session#method.snapshot-1).
///
/// It serialises into any self-describing format, as version 1; another version fails to deserialise. Of the resume
/// tokens it holds digests only (D3). What was granted to the client is in it, though: an answer kept for a repetition
/// (D8) may hold provisioned credentials (§9.8), as may the events beside it.
#[derive(Clone, Deserialize, Serialize)]
pub struct RuntimeSnapshot {
    version: Version,
    session_id: SessionId,
    principal: Principal,
    peer: PeerInfo,
    features: FeatureSet,
    token: Digest,
    presented_token: Option<Digest>,
    window: Numbers,
    under_pressure: bool,
    answered: Answered,
    counters: Counters,
    /// Nothing while attached.
    lost: Option<Lost>,
}

/// What is left without a transport (D17, D18).
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Lost {
    window_left_ms: Millis,
    retention_left_ms: Millis,
    window_is_over: bool,
    /// The last event that may have been sent on any attachment. Those emitted since the transport was lost were not.
    sent_at_most: u64,
}

/// Where it stands; neither digests nor answers.
impl fmt::Debug for RuntimeSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeSnapshot")
            .field("session_id", &self.session_id)
            .field("window", &self.window)
            .field("counters", &self.counters)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl RuntimeSnapshot {
    /// The session's id.
    #[must_use]
    pub fn session_id(&self) -> &SessionId {
        &self.session_id
    }

    /// Who the client was authenticated as.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The digests of the tokens that resume it, one or two (D3): what a registry finds it by.
    pub fn token_digests(&self) -> impl Iterator<Item = [u8; 32]> + '_ {
        [Some(self.token), self.presented_token].into_iter().flatten().map(|digest| digest.0)
    }

    /// The seq of the last event that it knows of.
    #[must_use]
    pub fn last_event_seq(&self) -> u64 {
        self.window.highest
    }

    /// The highest event that is no longer needed: once this header is stored, a store may delete events up to here.
    #[must_use]
    pub fn replay_floor(&self) -> u64 {
        self.window.floor
    }
}

/// Outliving the process.
impl Session<Runtime> {
    /// What the session is apart from its events, to be stored: small, and rewritten as a whole. The events are appended
    /// beside it, from [`events_since`](Session::events_since); [`restore`](Session#method.restore-1) takes both.
    /// Legal in any phase; a session that was closed can be restored, too, and resumed within its window (D32).
    ///
    /// *When to store what.* An event, before it is handed out by `poll_transmit`: one that the client saw and the store
    /// did not would have its number given out again. The header, before a welcome is handed out: it has the tokens,
    /// and without it the client's next resume is refused. Beyond that the header may be old: what it does not know of
    /// newer events is taken from these, an acknowledgement that it does not know is made again by the client, and an answer
    /// to a submit that it does not know is asked for again.
    ///
    /// *When to delete events.* Those up to the [`floor`](RuntimeSnapshot::replay_floor) of a header that is stored, at
    /// any time. Deleting more, by [`replay_floor`](Session::replay_floor) as it is now, is legal as long as the last event is left.
    ///
    /// *What is in it*: ids, principal and peer, features, the tokens' digests, the window's numbers, the kept answers to
    /// submits (D8), what is left of the resume window, and the counters that keep ids from repeating. *What is not*:
    /// events that wait to be polled, messages that wait to be sent, an owed `Writable`, and open requests. Of those the
    /// client makes an open submit anew: it learnt at its detach that the outcome is unknown, and a message that comes
    /// again is a new request to a restored session (D8).
    ///
    /// Durations are counted from the last call that brought a clock: on a session at rest, call
    /// [`handle_timeout`](Session::handle_timeout) before. The time between a snapshot and its restore is not counted.
    ///
    /// ```
    /// # use arcp_proto::{Now, Session, Runtime};
    /// # use bytes::Bytes;
    /// trait Store {
    ///     fn last_event(&self) -> u64;
    ///     fn append(&mut self, seq: u64, frame: Bytes);
    ///     fn write_header(&mut self, header: String, and_delete_up_to: u64);
    /// }
    ///
    /// fn save(session: &Session<Runtime>, store: &mut impl Store) -> Result<(), serde_json::Error> {
    ///     for (seq, frame) in session.events_since(store.last_event()) {
    ///         store.append(seq, frame);
    ///     }
    ///     let snapshot = session.snapshot();
    ///     store.write_header(serde_json::to_string(&snapshot)?, snapshot.replay_floor());
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> RuntimeSnapshot {
        let (token, presented_token) = self.role.tokens.digests();
        let clock = self.shared.clock.mono;
        let lost = (!self.phase().is_attached()).then(|| Lost {
            window_left_ms: Millis::left(clock, self.role.ends.window),
            retention_left_ms: Millis::left(clock, self.role.ends.retention),
            window_is_over: self.role.window_is_over,
            sent_at_most: self.role.window.transmitted(),
        });
        RuntimeSnapshot {
            version: Version,
            session_id: self.shared.session_id.clone().unwrap_or_else(|| SessionId::from("")),
            principal: self.role.principal.clone(),
            peer: self.role.peer.clone(),
            features: self.shared.features.clone(),
            token: Digest(token),
            presented_token: presented_token.map(Digest),
            window: self.role.window.numbers(),
            under_pressure: self.role.pressure.is_active(),
            answered: self.role.pendings.answered(),
            counters: self.shared.counters(),
            lost,
        }
    }

    /// The events behind `seq` that are in the replay buffer, each with its number, as they go over the wire: what a
    /// store that has all up to `seq` appends.
    ///
    /// ```
    /// # use arcp_proto::{Runtime, Session};
    /// # use bytes::Bytes;
    /// fn append(session: &Session<Runtime>, stored: &mut Vec<(u64, Bytes)>) {
    ///     let last = stored.last().map_or(0, |(seq, _)| *seq);
    ///     stored.extend(session.events_since(last));
    /// }
    /// ```
    pub fn events_since(&self, seq: u64) -> impl DoubleEndedIterator<Item = (u64, Bytes)> + '_ {
        self.role.window.since(seq)
    }

    /// Makes a session again of what was stored of one, here or on another machine: detached, waiting for the client's
    /// resume. It behaves as the one that the snapshot was taken of would, had it lost its transport then, save for
    /// what is [not in a snapshot](Session#method.snapshot-1). It goes on in the next attachment, so that message ids do
    /// not repeat (D3). Store its header again before it transmits, and let only one session live that was restored of one
    /// snapshot: two of them give out the same ids and numbers.
    ///
    /// A resume window that was running goes on with what was left of it, counted from `now`, which may be of another
    /// clock; one of a snapshot taken while attached begins now.
    ///
    /// `events` are the stored ones in order. Those up to the header's floor are skipped. The rest has no hole and reaches
    /// at least to the last event that the header knows of, further if the header is older. It may begin behind the
    /// floor: what is missing there was deleted, and the floor rises. With nothing of it left, the header must know of
    /// nothing behind its floor. All of them count as transmitted (D14, D24), for whoever had the session before may have
    /// sent them, save those that were emitted without a transport, as a header of that time tells; but only what the header
    /// knows to have been sent makes room for others where there is no `ack` (D19).
    ///
    /// `config` may be another than before: features that it does not support are gone, and a replay buffer that is
    /// over its size stays whole, and blocked until the client has caught up.
    ///
    /// # Errors
    ///
    /// When no session wrote this, or events are missing: see [`RestoreError`].
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use arcp_proto::{Limits, Now, Opening, Phase, RuntimeConfig, RuntimeSnapshot, Session, Grant, Runtime};
    /// # use arcp_proto::wire::{JobId, PeerInfo, Principal, ResumeToken, SessionId};
    /// # let config = Arc::new(RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0")));
    /// # let agents: Arc<[_]> = Arc::from([]);
    /// # let (now, later) = (Now::default(), Now::default());
    /// # let hello = r#"{"type":"session.hello","payload":{"auth":{"scheme":"bearer","token":"secret"}}}"#;
    /// # let Ok(Opening::Hello(hello)) = Opening::parse(hello.into(), &Limits::default()) else { panic!() };
    /// # let grant = Grant { principal: Principal::from("alice"), session_id: SessionId::from("sess_1"),
    /// #     resume_token: ResumeToken::new("rt_1"), agents: agents.clone() };
    /// # let mut session = hello.accept(now, config.clone(), grant);
    /// session.send_event(now, &JobId::from("job_1"), "log", &serde_json::json!({"message": "hi"}))?;
    /// let (header, events) = (serde_json::to_string(&session.snapshot())?, session.events_since(0).collect::<Vec<_>>());
    ///
    /// let header: RuntimeSnapshot = serde_json::from_str(&header)?;
    /// let restored = Session::<Runtime>::restore(later, config, agents, header, events)?;
    /// assert_eq!((restored.phase(), restored.last_event_seq()), (Phase::Detached, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore(
        now: Now,
        config: Arc<RuntimeConfig>,
        agents: Arc<[AgentInfo]>,
        snapshot: RuntimeSnapshot,
        events: impl IntoIterator<Item = (u64, Bytes)>,
    ) -> Result<Session<Runtime>, RestoreError> {
        check_header(&snapshot.session_id, snapshot.counters, snapshot.answered.requests)?;
        let mut counters = snapshot.counters;
        let mut window = Window::restored(snapshot.window)?;
        for (seq, frame) in events.into_iter().filter(|(seq, _)| *seq > snapshot.window.floor) {
            // A session restored of the same header may have emitted it (D3).
            counters.epoch = counters.epoch.max(check_event(&snapshot.session_id, seq, &frame)?);
            window.put_back(seq, frame)?;
        }
        window.put_back_all(snapshot.window, snapshot.lost.map(|lost| lost.sent_at_most))?;
        let pendings = Pendings::restored(snapshot.answered, &config.limits)
            .ok_or(RestoreError::Header("an answer that it keeps is none"))?;
        let mut shared = Shared::new(now, Phase::Detached, 'r', &config.id_prefix, Cadence::Always);
        shared.go_on_from(counters);
        shared.session_id = Some(snapshot.session_id);
        shared.features = config.features.intersection(&snapshot.features);
        let ends = match &snapshot.lost {
            None => Ends::of_loss(now.mono, &config),
            Some(lost) => Ends {
                window: now.mono + lost.window_left_ms.get(),
                retention: now.mono + lost.retention_left_ms.get(),
            },
        };
        let window_is_over = snapshot.lost.is_some_and(|lost| lost.window_is_over);
        let (timer, end) =
            if window_is_over { (Timer::Retention, ends.retention) } else { (Timer::ResumeWindow, ends.window) };
        shared.timers.set(timer, Some(end));
        // Nothing is sent before the next welcome.
        shared.outbox.clear();
        let role = State {
            config,
            principal: snapshot.principal,
            agents,
            peer: snapshot.peer,
            tokens: Tokens::restored(snapshot.token.0, snapshot.presented_token.map(|digest| digest.0)),
            window,
            pressure: Pressure::restored(snapshot.under_pressure),
            pendings,
            refused: 0,
            closing: None,
            ends,
            window_is_over,
            hold_after: u64::MAX,
            hold_control: u32::MAX,
            used_at: now.mono,
        };
        Ok(Session { shared, inbox: Inbox::new(), role })
    }
}

/// The attachment that the event was emitted in, as far as its id tells; an error where it is another frame.
fn check_event(session_id: &SessionId, seq: u64, frame: &Bytes) -> Result<u64, RestoreError> {
    let reject = |reason| Err(RestoreError::NotTheEvent { seq, reason });
    let Ok(envelope) = Envelope::decode(frame.clone()) else {
        return reject("it is no envelope");
    };
    if breaks_lines(frame) {
        return reject("it holds a line end");
    }
    if !envelope.message_type().is_some_and(MessageType::is_sequenced) {
        return reject("it is no event");
    }
    if envelope.session_id().as_deref() != Some(session_id.as_str()) {
        return reject("it is another session's");
    }
    if envelope.event_seq() != Some(seq) {
        return reject("it has another number");
    }
    let epoch = envelope.id().and_then(|id| epoch_of(&id));
    Ok(epoch.filter(|epoch| *epoch <= MOST_COUNTED).unwrap_or(0))
}
