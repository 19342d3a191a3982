//! A client and its driver.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use arcp_proto::wire::JobId;
use arcp_proto::{Client, ClientConfig, ClientSnapshot, Feature, Phase, RequestId, Session};

use super::clock::Clock;
use super::delivery::Follow;
use super::dice::Dice;
use super::link::Ms;
use super::stream::Pieces;
use super::world::World;

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
    pub(crate) snapshot: Option<ClientSnapshot>,
    pub(crate) lose_welcome: Option<(Ms, Option<Ms>)>,
    /// When the last thing ended that may have held it up.
    pub(crate) troubled_until: Ms,
    /// It has missed its own deadlines since this.
    pub(crate) absent_at: Ms,
    pub(crate) dice: Dice,

    /// What it was given: place, job, number.
    pub(crate) deliveries: Vec<(u64, JobId, u64)>,
    pub(crate) pieces: BTreeMap<JobId, Pieces>,
    pub(crate) last: u64,
    pub(crate) requests: BTreeMap<RequestId, (&'static str, u32)>,
    pub(crate) phase: Phase,
    pub(crate) lost_at: Option<Ms>,
    pub(crate) is_restored: bool,
    /// How long it had heard nothing then.
    pub(crate) silence: Ms,
    /// The runtime said that it heard nothing.
    pub(crate) is_told_lost: bool,
    pub(crate) closed_at: Option<Ms>,
    pub(crate) is_closed: bool,
    pub(crate) told_attached: bool,
    pub(crate) close_called: bool,
    /// The session may be ended by the runtime.
    pub(crate) may_be_sent_away: bool,
    pub(crate) tampered: bool,
    /// Events of its that were dropped.
    pub(crate) dropped: BTreeSet<u64>,
    /// It was restored of a snapshot older than what it had said.
    pub(crate) went_back: bool,
    /// It was restored of its snapshot, and has not stored another since.
    pub(crate) is_unstored: bool,
    /// It was so twice of one.
    pub(crate) lived_twice: bool,
    /// The youngest link on which it was let in.
    pub(crate) admitted: Option<usize>,
    /// An older attempt of its was let in after a younger one, and has rotated the token that it has.
    pub(crate) was_overtaken: bool,
    /// The referee has not seen all that it was sent.
    pub(crate) is_half_seen: bool,
    /// Events were reported as lost to it. Not which: a liar takes away 2^53 of them.
    pub(crate) has_holes: bool,
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
            pieces: BTreeMap::new(),
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
            dropped: BTreeSet::new(),
            went_back: false,
            is_unstored: false,
            lived_twice: false,
            admitted: None,
            was_overtaken: false,
            is_half_seen: false,
            has_holes: false,
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

    pub(crate) fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
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
            self.links[link].client_is_excused |= !self.links[link].is_opened;
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
                    peer.link.into_iter().for_each(|link| self.links[link].is_opened = true);
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
        // What it has lost it hangs up before it dials again.
        self.keep_link(idx);
        let is_harmed = self.is_harmed(idx);
        let peer = &mut self.peers[idx];
        let local = peer.clock.at(now);
        match peer.session.resume(local) {
            Ok(()) => {
                self.look_at_peer(idx);
                self.dial(idx, node);
            }
            Err(arcp_proto::ResumeError::NotDetached(_) | arcp_proto::ResumeError::Closed) => self.look_at_peer(idx),
            Err(arcp_proto::ResumeError::EventsPending) => {
                peer.retry_at = Some(now + 500);
                // One that polls nothing while it is detached does so now.
                while let Some(event) = self.peers[idx].session.poll_event() {
                    self.client_is_told(idx, event);
                }
            }
            // Of a welcome that somebody else has put into its runtime's mouth.
            Err(arcp_proto::ResumeError::NoToken) if is_harmed => peer.session.close(local, "connects anew"),
            Err(error) => panic!("client {idx} cannot resume: {error}"),
        }
    }

    /// A living process: the one before, or another.
    pub(crate) fn some_node(&mut self, idx: usize) -> Option<usize> {
        let living: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].endpoint.is_some()).collect();
        (!living.is_empty()).then(|| self.peers[idx].dice.pick(&living))
    }
}
