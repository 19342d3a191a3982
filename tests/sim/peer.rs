//! A client: its driver, its application, and what it has been told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use arcp_proto::wire::{ErrorCode, JobId, JobQuery, JobSubmit, RawJson};
use arcp_proto::{
    AckPolicy, Client, ClientConfig, ClientEvent, ClientSnapshot, CloseReason, DetachReason, Feature, Phase,
    RequestFailure, RequestId, SendError, Session,
};
use serde_json::Value;

use super::clock::Clock;
use super::dice::Dice;
use super::link::Ms;
use super::mark::Mark;
use super::plan::Profile;
use super::world::World;

/// In place of a number: the job's end.
const END: u64 = u64::MAX;

/// What a client hears of another's job.
#[derive(Default)]
pub(crate) struct Follow {
    last: Option<u64>,
    /// Subscribes that may yet begin a stretch of their own.
    beginnings: u64,
    /// It stands, and nothing has been asked since.
    is_sure: bool,
    /// What had been published when it was told so.
    from: u64,
}

pub(crate) struct Peer {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) session: Session<Client>,
    pub(crate) clock: Clock,
    pub(crate) link: Option<usize>,
    pub(crate) asleep_until: Ms,
    pub(crate) deaf_until: Ms,
    pub(crate) mute_until: Ms,
    pub(crate) careless_until: Ms,
    pub(crate) away_until: Ms,
    /// Its process is dead.
    pub(crate) down_until: Option<Ms>,
    pub(crate) process_delay: Ms,
    pub(crate) retry_delay: Ms,
    pub(crate) retry_at: Option<Ms>,
    pub(crate) race_at: Option<Ms>,
    pub(crate) marks: VecDeque<(Ms, u64)>,
    snapshot: Option<ClientSnapshot>,
    pub(crate) lose_welcome: Option<(Ms, Option<Ms>)>,
    /// When the last thing ended that may have held it up.
    pub(crate) troubled_until: Ms,
    /// It has missed its own deadlines since this.
    pub(crate) absent_at: Ms,
    pub(crate) dice: Dice,

    /// What it was given: place, job, number.
    deliveries: Vec<(u64, JobId, u64)>,
    last: u64,
    pub(crate) requests: BTreeMap<RequestId, (&'static str, u32)>,
    phase: Phase,
    pub(crate) lost_at: Option<Ms>,
    pub(crate) is_restored: bool,
    /// How long it had heard nothing then.
    silence: Ms,
    /// The runtime said that it heard nothing.
    is_told_lost: bool,
    pub(crate) closed_at: Option<Ms>,
    pub(crate) is_closed: bool,
    told_attached: bool,
    pub(crate) close_called: bool,
    /// The session may be ended by the runtime.
    pub(crate) may_be_sent_away: bool,
    pub(crate) tampered: bool,
    lost: BTreeSet<u64>,
    /// The most that it ever processed, in all its lives.
    pub(crate) processed: u64,
    pub(crate) follows: BTreeMap<JobId, Follow>,
    /// Jobs that it was told are taken.
    pub(crate) accepted: BTreeSet<JobId>,
}

impl Peer {
    pub(crate) fn new(now: Ms, config: Arc<ClientConfig>, mut dice: Dice) -> Peer {
        let clock = Clock::new(&mut dice);
        Peer {
            session: Session::connect(clock.at(now), Arc::clone(&config)),
            config,
            clock,
            link: None,
            asleep_until: 0,
            deaf_until: 0,
            mute_until: 0,
            careless_until: 0,
            away_until: 0,
            down_until: None,
            process_delay: dice.pick(&[0, 0, 5, 100, 900]),
            retry_delay: dice.pick(&[0, 10, 300, 2_500]),
            retry_at: None,
            race_at: None,
            marks: VecDeque::new(),
            snapshot: None,
            lose_welcome: None,
            troubled_until: now,
            absent_at: 0,
            dice,
            deliveries: Vec::new(),
            last: 0,
            requests: BTreeMap::new(),
            phase: Phase::Connecting,
            lost_at: None,
            is_restored: false,
            silence: 0,
            is_told_lost: false,
            closed_at: None,
            is_closed: false,
            told_attached: false,
            close_called: false,
            may_be_sent_away: false,
            tampered: false,
            lost: BTreeSet::new(),
            processed: 0,
            follows: BTreeMap::new(),
            accepted: BTreeSet::new(),
        }
    }

    pub(crate) fn is_awake(&self, now: Ms) -> bool {
        now >= self.asleep_until && self.down_until.is_none()
    }

    /// Its driver serves it: not while it has no transport, if it is of that kind.
    fn is_served(&self, lazy: bool) -> bool {
        !(lazy && self.session.phase() == Phase::Detached)
    }

    pub(crate) fn has_progress(&self) -> bool {
        self.session.features().contains(Feature::Progress)
    }

    /// How long it may try to come back.
    pub(crate) fn window(&self) -> Ms {
        let window = self.session.info().map_or(0, |info| info.resume_window.as_millis() as Ms);
        match self.config.give_up_after.map(|after| after.as_millis() as Ms) {
            Some(longer) if self.session.features().contains(Feature::Ack) => longer,
            Some(other) => window.min(other),
            None => window,
        }
    }

    pub(crate) fn interval(&self) -> Option<Ms> {
        self.session.info()?.heartbeat_interval.map(|interval| interval.as_millis() as Ms)
    }

    /// What of its requests is open.
    pub(crate) fn open_requests(&self) -> usize {
        self.requests.values().filter(|(_, answers)| *answers == 0).count()
    }
}

/// How long a side that is served this late may bear another's silence: two intervals, or three where it was itself away
/// (D21).
pub(crate) fn patience(interval: Ms, late: Ms) -> Ms {
    let intervals = if late * 32 > interval { 3 } else { 2 };
    intervals * interval + late
}

/// The driver.
impl World {
    pub(crate) fn drive_peer(&mut self, idx: usize) -> bool {
        let now = self.now;
        let lazy = self.plan.lazy;
        let peer = &mut self.peers[idx];
        if !peer.is_awake(now) {
            return false;
        }
        let mut moved = false;
        let local = peer.clock.at(now);
        let may_poll = peer.is_served(lazy);
        self.look_at_peer(idx);
        while may_poll && now >= self.peers[idx].mute_until {
            let Some(frame) = self.peers[idx].session.poll_transmit(local) else { break };
            moved = true;
            self.client_sends(idx, frame);
        }
        while may_poll && now >= self.peers[idx].deaf_until {
            let Some(event) = self.peers[idx].session.poll_event() else { break };
            moved = true;
            self.client_is_told(idx, event);
        }
        self.look_at_peer(idx);
        self.keep_link(idx);
        moved
    }

    fn client_sends(&mut self, idx: usize, frame: bytes::Bytes) {
        let link = self.peers[idx].link.expect("the client has dialled");
        let is_here = self.links[link].client_is_here;
        if is_here && self.peers[idx].session.phase() != Phase::Detached {
            self.tap_up(link, &frame);
            let now = self.now;
            self.links[link].send(now, true, &frame);
        }
    }

    /// A client that has given its transport up by itself hangs up.
    fn keep_link(&mut self, idx: usize) {
        let Some(link) = self.peers[idx].link else { return };
        if self.links[link].client_is_here && !self.peers[idx].session.phase().is_attached() {
            self.links[link].client_is_here = false;
            // It gives up a handshake without a word: there is nobody yet to take leave of.
            self.links[link].client_is_excused |= !self.links[link].is_heard;
            self.judge_eof(link, true);
            let now = self.now;
            self.links[link].end_up(now);
            self.forget_link(link);
        }
    }

    /// What can be seen of it from outside, after each call.
    pub(crate) fn look_at_peer(&mut self, idx: usize) {
        let (now, late) = (self.now, self.plan.late);
        let peer = &mut self.peers[idx];
        let phase = peer.session.phase();
        peer.processed = peer.processed.max(peer.session.last_processed_seq());
        if phase != peer.phase {
            match (peer.phase, phase) {
                (Phase::Open | Phase::Closing, Phase::Detached) => {
                    peer.lost_at = Some(now);
                    peer.silence = peer.link.map_or(0, |link| now - self.links[link].client_heard_at);
                    peer.is_restored = false;
                    peer.retry_at = Some(now + peer.retry_delay);
                }
                (_, Phase::Detached) => {
                    peer.lost_at = peer.lost_at.or(Some(now));
                    peer.retry_at = Some(now + peer.retry_delay);
                }
                (_, Phase::Open) => {
                    peer.lost_at = None;
                    peer.troubled_until = peer.troubled_until.max(now);
                }
                (_, Phase::Closed) => peer.closed_at = Some(now),
                _ => {}
            }
            peer.phase = phase;
        }
        // 15: it does not wait longer than its window, however often it tries.
        let is_lost = matches!(phase, Phase::Detached | Phase::Resuming);
        if let Some(lost_at) = peer.lost_at.filter(|_| is_lost && !peer.is_restored) {
            let end = lost_at + peer.window() + late;
            assert!(now <= end.max(peer.asleep_until), "client {idx} is {phase} at {now}, its window ended at {end}");
        }
        // 16: it knows a dead peer after two intervals.
        if let (Some(interval), Some(link), Phase::Open) = (peer.interval(), peer.link, phase)
            && peer.session.wants_input()
            && peer.absent_at == 0
        {
            let heard = self.links[link].client_heard_at;
            assert!(
                now <= heard + patience(interval, late),
                "client {idx} still believes in a runtime silent since {heard}"
            );
        }
    }

    pub(crate) fn dial(&mut self, idx: usize, node: usize) {
        let now = self.now;
        let conn = {
            let local = self.nodes[node].clock.at(now);
            self.nodes[node].endpoint.as_mut().expect("the process lives").connect(local)
        };
        let dice = self.dice.fork();
        let lines = self.peers[idx].dice.once_in(3);
        let link = self.open_link(Some(idx), node, conn, lines, dice);
        self.peers[idx].link = Some(link);
    }

    /// The time has come to try again.
    pub(crate) fn retry(&mut self, idx: usize) {
        let now = self.now;
        let Some(node) = self.some_node(idx) else {
            self.peers[idx].retry_at = Some(now + 200);
            return;
        };
        let peer = &mut self.peers[idx];
        peer.retry_at = None;
        if now < peer.away_until {
            peer.retry_at = Some(peer.away_until);
            return;
        }
        if now < peer.deaf_until && peer.session.phase() == Phase::Detached {
            // It cannot know that it has lost its transport.
            peer.retry_at = Some(peer.deaf_until);
            return;
        }
        let local = peer.clock.at(now);
        match peer.session.resume(local) {
            Ok(()) => {
                self.look_at_peer(idx);
                self.dial(idx, node);
            }
            Err(arcp_proto::ResumeError::NotDetached(_) | arcp_proto::ResumeError::Closed) => self.look_at_peer(idx),
            Err(arcp_proto::ResumeError::EventsPending) => peer.retry_at = Some(now + 500),
            Err(error) => panic!("client {idx} cannot resume: {error}"),
        }
    }

    /// A living process: the one before, or another.
    pub(crate) fn some_node(&mut self, idx: usize) -> Option<usize> {
        let living: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].endpoint.is_some()).collect();
        (!living.is_empty()).then(|| self.peers[idx].dice.pick(&living))
    }
}

/// The application.
impl World {
    pub(crate) fn ask(&mut self, idx: usize, what: &'static str, job: Option<&JobId>, history: Option<u64>) {
        let peer = &mut self.peers[idx];
        if !peer.is_awake(self.now) || peer.is_closed {
            return;
        }
        let local = peer.clock.at(self.now);
        let asked = match (what, job) {
            ("submit", _) => {
                let submit = JobSubmit::new("sim-agent", RawJson::empty_object());
                let key = format!("key-{}", peer.dice.below(1_000_000));
                peer.session.submit(local, &submit.with_idempotency_key(key))
            }
            ("list", _) => peer.session.list_jobs(local, &JobQuery::default().with_limit(1 + peer.dice.below(5))),
            ("cancel", Some(job)) => peer.session.cancel(local, job, None),
            ("subscribe", Some(job)) => peer.session.subscribe(local, job, history),
            _ => return,
        };
        match asked {
            Ok(request) => {
                assert_eq!(peer.requests.insert(request, (what, 0)), None, "a request's number twice");
                if let ("subscribe", Some(job)) = (what, job) {
                    let follow = peer.follows.entry(job.clone()).or_default();
                    follow.beginnings += 1;
                    follow.is_sure = false;
                }
            }
            Err(SendError::FeatureNotNegotiated(feature)) => assert!(!peer.session.features().contains(feature)),
            Err(SendError::NotOpen(phase)) => assert_ne!(phase, Phase::Open),
            Err(SendError::Closed) => assert_eq!(peer.session.phase(), Phase::Closed),
            Err(SendError::TooManyRequests(_) | SendError::QueueFull) => {}
            Err(error) => panic!("client {idx} cannot {what}: {error}"),
        }
    }

    pub(crate) fn unsubscribe(&mut self, idx: usize, job: &JobId) {
        let peer = &mut self.peers[idx];
        if peer.is_awake(self.now) && peer.session.unsubscribe(peer.clock.at(self.now), job).is_ok() {
            let follow = peer.follows.entry(job.clone()).or_default();
            follow.is_sure = false;
        }
    }

    /// Marks what is due as processed.
    pub(crate) fn process(&mut self, idx: usize) {
        let now = self.now;
        let peer = &mut self.peers[idx];
        while let Some((_, seq)) = peer.marks.pop_front_if(|(at, _)| *at <= now) {
            let local = peer.clock.at(now);
            peer.session.mark_processed(local, seq).expect("it was polled");
        }
        // Stored together with what it did, before anything is said of it.
        self.save(idx);
        self.look_at_peer(idx);
    }

    fn save(&mut self, idx: usize) {
        let peer = &mut self.peers[idx];
        if peer.session.session_id().is_some() {
            peer.snapshot = Some(peer.session.snapshot());
        }
    }

    /// The process dies.
    pub(crate) fn crash(&mut self, idx: usize, lasts: Ms) {
        let now = self.now;
        let peer = &mut self.peers[idx];
        if peer.down_until.is_some() || peer.is_closed {
            return;
        }
        peer.down_until = Some(now + lasts);
        peer.troubled_until = now + lasts;
        peer.marks.clear();
        (peer.retry_at, peer.race_at) = (None, None);
        if let Some(link) = peer.link {
            self.links[link].client_is_excused = true;
            self.links[link].client_is_here = false;
            self.links[link].end_up(now);
            self.forget_link(link);
        }
    }

    /// It is back, on a machine with other clocks.
    pub(crate) fn restore(&mut self, idx: usize) {
        let now = self.now;
        let peer = &mut self.peers[idx];
        peer.down_until = None;
        peer.clock = Clock::new(&mut peer.dice);
        let Some(snapshot) = peer.snapshot.clone() else {
            let (config, dice) = (Arc::clone(&peer.config), peer.dice.fork());
            *peer = Peer::new(now, config, dice);
            return match self.some_node(idx) {
                Some(node) => self.dial(idx, node),
                None => self.peers[idx].down_until = Some(now + 200),
            };
        };
        self.transcript.reached(Mark::Restored);
        let text = serde_json::to_string(&snapshot).expect("a snapshot serialises");
        let snapshot: ClientSnapshot = serde_json::from_str(&text).expect("a snapshot is read");
        peer.last = snapshot.last_processed_seq();
        let last = peer.last;
        peer.deliveries.retain(|(seq, _, _)| *seq <= last);
        peer.requests.clear();
        peer.follows.clear();
        let local = peer.clock.at(now);
        peer.session = Session::<Client>::restore(local, Arc::clone(&peer.config), snapshot).expect("it is restored");
        assert_eq!(peer.session.phase(), Phase::Detached);
        (peer.phase, peer.lost_at, peer.is_restored) = (Phase::Detached, Some(now), true);
        (peer.told_attached, peer.closed_at) = (false, None);
        peer.retry_at = Some(now + peer.retry_delay);
    }
}

/// What it is told.
impl World {
    fn client_is_told(&mut self, idx: usize, event: ClientEvent) {
        let now = self.now;
        self.transcript.note(now, || format!("client {idx}: {event:?}"));
        self.keep_secrets(&event);
        let is_hostile = self.is_harmed(idx);
        let peer = &mut self.peers[idx];
        // 8: `Closed` once and last; attached and detached in turn.
        assert!(!peer.is_closed, "client {idx} is told {event:?} after Closed");
        if let Some(seq) = event.seq() {
            self.client_is_given(idx, seq, &event);
        }
        let peer = &mut self.peers[idx];
        let is_lost = matches!(&event, ClientEvent::RequestFailed { failure: RequestFailure::Disconnected, .. });
        let answered = match &event {
            ClientEvent::Accepted { request, .. }
            | ClientEvent::Cancelled { request, .. }
            | ClientEvent::Subscribed { request, .. } => *request,
            ClientEvent::Jobs { request, .. } | ClientEvent::RequestFailed { request, .. } => Some(*request),
            _ => None,
        };
        if let Some(request) = answered {
            // 7: each request is answered once.
            let (what, answers) = peer.requests.get_mut(&request).expect("it was asked");
            *answers += 1;
            assert_eq!(*answers, 1, "client {idx}: the {what} {request} is answered again: {event:?}");
        }
        let mark = match &event {
            ClientEvent::Connected(_) => {
                assert!(!peer.told_attached, "client {idx} is connected twice");
                peer.told_attached = true;
                self.save(idx);
                None
            }
            ClientEvent::Resumed(_) => {
                assert!(!peer.told_attached, "client {idx} is resumed while attached");
                (peer.told_attached, peer.is_told_lost) = (true, false);
                self.save(idx);
                Some(Mark::Resumed)
            }
            ClientEvent::Detached(reason) => {
                let is_attempt = matches!(
                    reason,
                    DetachReason::HandshakeFailed | DetachReason::TransportLost | DetachReason::InboundOverflow
                );
                assert!(peer.told_attached || is_attempt, "client {idx} is detached twice: {reason}");
                peer.told_attached = false;
                peer.follows.values_mut().for_each(|follow| follow.beginnings += 1);
                self.client_is_detached(idx, reason)
            }
            ClientEvent::Closed(reason) => {
                peer.is_closed = true;
                self.client_is_closed(idx, reason)
            }
            ClientEvent::Subscribed { subscribed, .. } => {
                let len = self.model.jobs.get(&subscribed.job_id).map_or(0, |job| job.len());
                let follow = peer.follows.entry(subscribed.job_id.clone()).or_default();
                (follow.is_sure, follow.from) = (answered.is_some() && !subscribed.current_status.is_terminal(), len);
                if subscribed.replayed { Some(Mark::HistoryReplayed) } else { Some(Mark::Subscribed) }
            }
            ClientEvent::Accepted { accepted, .. } => {
                peer.accepted.insert(accepted.job_id.clone());
                None
            }
            ClientEvent::Jobs { .. } => Some(Mark::Listed),
            ClientEvent::Cancelled { .. } => Some(Mark::Cancelled),
            ClientEvent::RequestFailed { failure: RequestFailure::TimedOut, .. } => Some(Mark::RequestTimedOut),
            ClientEvent::RequestFailed { failure: RequestFailure::Refused(_), .. } => Some(Mark::Refused),
            _ if is_lost => Some(Mark::RequestDisconnected),
            ClientEvent::EventsLost { from, to } => {
                assert!(is_hostile || peer.tampered, "client {idx}: {from}..={to} are lost");
                assert!(is_hostile || (*from == peer.last + 1 && to >= from), "{from}..={to} behind {}", peer.last);
                peer.last = *to;
                peer.lost.extend(*from..=*to);
                Some(Mark::GapReported)
            }
            ClientEvent::Error { error, .. } => {
                peer.is_told_lost |= error.code == ErrorCode::HeartbeatLost;
                None
            }
            ClientEvent::Lagging { .. } => Some(Mark::Lagging),
            ClientEvent::Violation(violation) => {
                // Of a pipe that breaks within a line, and of a server that is out of its mind.
                let is_torn = violation.error.rule() == "D39";
                assert!(
                    is_hostile || is_torn || matches!(violation.error.rule(), "D20" | "D12"),
                    "client {idx}: {violation:?}"
                );
                None
            }
            _ => None,
        };
        if let Some(mark) = mark {
            self.transcript.reached(mark);
        }
    }

    fn client_is_given(&mut self, idx: usize, seq: u64, event: &ClientEvent) {
        let now = self.now;
        let is_harmed = self.is_harmed(idx);
        let peer = &mut self.peers[idx];
        let delivery = match event {
            ClientEvent::Event(delivery)
            | ClientEvent::Finished { delivery, .. }
            | ClientEvent::Failed { delivery, .. } => delivery,
            _ => return,
        };
        if !is_harmed {
            // 1: one after the other, each once.
            assert_eq!(seq, peer.last + 1, "client {idx} is given {seq} behind {}", peer.last);
        } else {
            assert!(seq > peer.last, "client {idx} is given {seq} behind {}", peer.last);
        }
        peer.last = seq;
        if peer.config.ack_policy == AckPolicy::Manual {
            let at = (now + peer.process_delay).max(peer.careless_until);
            peer.marks.push_back((at, seq));
        }
        if is_harmed {
            return;
        }
        let job_id = delivery.to_job_id().expect("an event of ours is of a job");
        // 6: nothing that was not negotiated.
        let has_kind = delivery.kind() != "progress" || peer.session.features().contains(Feature::Progress);
        assert!(has_kind, "client {idx} is given progress, which it did not agree on");
        let is_end = !matches!(event, ClientEvent::Event(_));
        let number = delivery.body::<Value>().ok().and_then(|body| body.get("n")?.as_u64());
        let job = self.model.jobs.get(&job_id).unwrap_or_else(|| panic!("client {idx} hears of {job_id}"));
        let Some(n) = number.or_else(|| is_end.then(|| job.len())) else {
            return;
        };
        let has_progress = peer.session.features().contains(Feature::Progress);
        assert!(is_end || n < job.len() || self.plan.nodes > 1, "client {idx}: {job_id} has no event {n} yet");
        let heard = peer.deliveries.iter().rev().find(|(_, of, _)| *of == job_id).map(|(_, _, n)| *n);
        let is_own = job.peer == idx;
        let has_holes = !peer.lost.is_empty();
        if is_own {
            // 1: the payload is the model's.
            assert!(heard != Some(END), "client {idx} hears {n} of its {job_id} behind its end");
            let next = job.next(heard.map_or(0, |n| n + 1), has_progress);
            // Of a job at several processes only its client can tell how long it was.
            let is_next = n == next || (is_end && self.plan.profile == Profile::Durable);
            assert!(is_next || (has_holes && n > next), "client {idx} hears {n} of its {job_id}, not {next}");
        } else {
            let follow = peer.follows.entry(job_id.clone()).or_default();
            let next = follow.last.map(|last| job.next(last + 1, has_progress));
            let is_next = next.is_some_and(|next| n == next || (n > next && has_holes));
            let owner_lacks = follow.last.is_some_and(|last| n > last);
            if !is_next && !owner_lacks {
                assert!(
                    follow.beginnings > 0 || self.plan.profile == Profile::Durable || peer.is_restored,
                    "client {idx} hears {n} of {job_id}, not {next:?}"
                );
                follow.beginnings = follow.beginnings.saturating_sub(1);
            }
            follow.last = Some(n);
        }
        peer.deliveries.push((seq, job_id, if is_end { END } else { n }));
    }

    fn client_is_detached(&mut self, idx: usize, reason: &DetachReason) -> Option<Mark> {
        let late = self.plan.late;
        let is_hostile = self.is_harmed(idx);
        let peer = &self.peers[idx];
        match reason {
            DetachReason::HeartbeatLost => {
                // 16: no sooner, and no later.
                if let Some(interval) =
                    peer.interval().filter(|_| !peer.is_told_lost && !peer.is_restored && peer.absent_at == 0)
                {
                    let silence = peer.silence;
                    let is_exact = silence >= 2 * interval && silence <= patience(interval, late);
                    assert!(is_exact, "client {idx} gave up after {} ms of silence", peer.silence);
                }
                Some(Mark::HeartbeatLostAtClient)
            }
            DetachReason::Gap => {
                assert!(is_hostile || peer.tampered, "client {idx} sees a gap");
                Some(Mark::GapResumed)
            }
            DetachReason::HandshakeFailed => Some(Mark::HandshakeFailed),
            DetachReason::TooManyViolations => {
                assert!(is_hostile);
                Some(Mark::ViolationLimit)
            }
            DetachReason::InboundOverflow | DetachReason::ControlOverflow | DetachReason::TransportLost => None,
            other => panic!("client {idx} is detached: {other}"),
        }
    }

    fn client_is_closed(&mut self, idx: usize, reason: &CloseReason) -> Option<Mark> {
        let late = self.plan.late;
        let peer = &self.peers[idx];
        // An attempt of its own that it had given up was taken after all, after the one that it is on.
        let id = peer.session.session_id();
        let is_own = self.model.hosted.iter().any(|((_, of), hosted)| {
            let of_peer = |link: usize| self.links[link].peer == Some(idx) && peer.link != Some(link);
            Some(of) == id && hosted.link.is_some_and(of_peer)
        });
        let was_refused = peer.link.is_some_and(|link| self.links[link].was_refused);
        if self.is_harmed(idx) {
            return None;
        }
        match reason {
            CloseReason::Requested => {
                assert!(peer.close_called, "client {idx} closed without being asked to");
                Some(Mark::Requested)
            }
            CloseReason::ConnectFailed(_) | CloseReason::ConnectRefused(_) => {
                assert!(peer.session.session_id().is_none(), "client {idx} was connected: {reason}");
                Some(Mark::ConnectFailed)
            }
            CloseReason::ResumeRefused(refusal) => {
                // 3, 14: only where the runtime had to.
                assert!(was_refused, "client {idx} was refused by nobody: {refusal}");
                None
            }
            CloseReason::ResumeWindowExpired => {
                let (Some(lost_at), Some(closed_at)) = (peer.lost_at, peer.closed_at) else { panic!("never lost") };
                let end = lost_at + peer.window();
                if !peer.is_restored {
                    assert!(closed_at >= end, "client {idx} gave up at {closed_at}, before {end}");
                    assert!(
                        late > 0 || peer.absent_at >= lost_at.min(1) && peer.absent_at > 0 || closed_at == end,
                        "client {idx} gave up at {closed_at}, not at {end}"
                    );
                }
                Some(Mark::WindowExpiredAtClient)
            }
            CloseReason::PeerClosed { reason } => {
                let is_takeover = reason.as_deref() == Some("superseded");
                assert!(
                    peer.may_be_sent_away || is_takeover && (peer.is_restored || is_own),
                    "client {idx} was sent away: {reason:?}"
                );
                Some(Mark::PeerClosed)
            }
            other => panic!("client {idx} is closed: {other}"),
        }
    }

    /// Whether it has all that it has to have; what is missing, if not.
    pub(crate) fn what_lacks(&self, idx: usize) -> Option<String> {
        let peer = &self.peers[idx];
        if peer.is_closed || peer.closed_at.is_some() {
            return None;
        }
        if peer.session.phase() != Phase::Open {
            return Some(format!("client {idx} is {}", peer.session.phase()));
        }
        if peer.open_requests() > 0 {
            let open = peer.requests.iter().filter(|(_, (_, answers))| *answers == 0);
            let open: Vec<_> = open.map(|(id, (what, _))| format!("{what} {id}")).collect();
            return Some(format!("client {idx} waits for {open:?}"));
        }
        if self.is_harmed(idx) {
            return None;
        }
        for (job_id, job) in &self.model.jobs {
            let heard = peer.deliveries.iter().rev().find(|(_, of, _)| of == job_id).map(|(_, _, n)| *n);
            let misses = heard != Some(END);
            if job.peer == idx && self.is_owned_now(job, job_id) && misses && peer.lost.is_empty() {
                let (len, ended) = (job.len(), job.has_ended);
                return Some(format!(
                    "client {idx} has heard {heard:?} of its {job_id}, which has {len} (end: {ended})"
                ));
            }
            if let Some(follow) = peer.follows.get(job_id).filter(|follow| follow.is_sure && peer.lost.is_empty()) {
                let last = follow.last.map_or(follow.from, |last| (last + 1).max(follow.from));
                let next = job.next(last, peer.has_progress());
                if job.has_ended && next < job.len() {
                    return Some(format!("client {idx} has heard up to {last} of {job_id}, which has {}", job.len()));
                }
            }
        }
        None
    }
}
