//! A world: clients, processes, the links between them, and one clock that jumps to the next deadline and never ticks.
//!
//! Whatever happens, at every step: what is drained stays so, deadlines move, nobody is woken before the time that they
//! asked for, and the referee looks at each frame as it is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arcp_proto::endpoint::ConnId;
use arcp_proto::referee::Referee;
use arcp_proto::{Instant, Phase};
use bytes::Bytes;

use super::dice::Dice;
use super::judge::TOLERANCE;
use super::link::{Link, Ms};
use super::mark::Mark;
use super::model::Model;
use super::node::Node;
use super::peer::Peer;
use super::plan::{Plan, Profile, client};
use super::store::Store;
use super::transcript::Transcript;

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Ms,
    pub(crate) peers: Vec<Peer>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
    pub(crate) by_conn: BTreeMap<(usize, ConnId), usize>,
    /// Links on which something may still happen.
    pub(crate) live_links: BTreeSet<usize>,
    pub(crate) store: Store,
    pub(crate) model: Model,
    pub(crate) transcript: Transcript,
    pub(crate) dice: Dice,
    pub(crate) referee: Option<Referee>,
    pub(crate) sessions: u64,
    pub(crate) tokens: u64,
    pub(crate) jobs: u64,
    /// Frames that passed, for whoever wants to repeat them.
    pub(crate) seen: Vec<(bool, Bytes)>,
    /// Clients from here on were never told a lie.
    pub(crate) clean_from: usize,
}

impl World {
    pub(crate) fn new(plan: Plan, transcript: Transcript) -> World {
        let mut dice = plan.dice.clone();
        let nodes = (0..plan.nodes).map(|_| Node::new(&plan, dice.fork())).collect();
        let judges = plan.profile != Profile::Hostile;
        let clients = plan.clients;
        let mut world = World {
            plan,
            now: 1_000,
            peers: Vec::new(),
            nodes,
            links: Vec::new(),
            by_conn: BTreeMap::new(),
            live_links: BTreeSet::new(),
            store: Store::default(),
            model: Model::default(),
            transcript,
            dice,
            referee: judges.then(|| Referee::new().session_only().with_tolerance(TOLERANCE)),
            sessions: 0,
            tokens: 0,
            jobs: 0,
            seen: Vec::new(),
            clean_from: if judges { 0 } else { usize::MAX },
        };
        for _ in 0..clients {
            world.newcomer();
        }
        world
    }

    /// Another client connects.
    pub(crate) fn newcomer(&mut self) {
        let (idx, now) = (self.peers.len(), self.now);
        let mut dice = self.dice.fork();
        let config = Arc::new(client(self.plan.profile, self.plan.endpoint.durability, idx % 3, &mut dice));
        self.peers.push(Peer::new(now, config, dice));
        match self.some_node(idx) {
            Some(node) => self.dial(idx, node),
            None => self.peers[idx].down_until = Some(now + 500),
        }
    }

    /// Others have put words into its runtime's mouth.
    pub(crate) fn is_harmed(&self, idx: usize) -> bool {
        idx < self.clean_from
    }

    pub(crate) fn open_link(
        &mut self,
        peer: Option<usize>,
        node: usize,
        conn: ConnId,
        lines: bool,
        dice: Dice,
    ) -> usize {
        let idx = self.links.len();
        let mut link = Link::new(peer, node, conn, self.now, lines, dice);
        link.client_is_excused |= self.plan.late > 0;
        link.runtime_is_excused |= self.plan.late > 0;
        self.links.push(link);
        self.by_conn.insert((node, conn), idx);
        self.live_links.insert(idx);
        self.judge(idx, |referee, conn, at| referee.open(conn, at));
        idx
    }
}

/// Time.
impl World {
    pub(crate) fn run(&mut self) {
        let kind = (self.plan.endpoint.durability, self.plan.endpoint.runtime.overflow, self.plan.late, self.plan.lazy);
        self.transcript.note(self.now, || format!("-- durability, overflow, lateness, laziness: {kind:?}"));
        let actions = std::mem::take(&mut self.plan.actions);
        for (at, action) in &actions {
            self.advance_to(1_000 + at);
            self.transcript.note(self.now, || format!("-- {action:?}"));
            self.act(action);
            self.settle();
        }
        self.advance_to(self.now + 500);
        self.heal();
        self.come_to_rest();
        self.end();
        let findings = self.referee.take().map(|mut referee| referee.finish()).unwrap_or_default();
        self.blame(findings);
    }

    pub(crate) fn advance_to(&mut self, end: Ms) {
        self.settle();
        let (mut last, mut turns) = (self.now, 0);
        while let Some(next) = self.next_time().filter(|next| *next <= end) {
            assert!(next >= self.now, "time runs backwards: {next} after {}", self.now);
            self.now = next;
            turns = if next == last { turns + 1 } else { 0 };
            last = next;
            assert!(turns < 5_000, "the clock stands still at {next}");
            self.wake();
        }
        self.now = self.now.max(end);
        self.settle();
    }

    fn next_time(&self) -> Option<Ms> {
        let (now, late) = (self.now, self.plan.late);
        let mut next = Ms::MAX;
        let mut consider = |at: Ms| next = next.min(at.max(now));
        for peer in &self.peers {
            if let Some(at) = peer.down_until {
                consider(at);
                continue;
            }
            if let Some(at) = peer.session.poll_timeout() {
                consider((peer.clock.true_time(at) + late).max(peer.asleep_until));
            }
            let timers = [peer.retry_at, peer.race_at, peer.marks.front().map(|(at, _)| *at)];
            timers.into_iter().flatten().for_each(|at| consider(at.max(peer.asleep_until)));
            let ends = [peer.asleep_until, peer.deaf_until, peer.mute_until];
            ends.into_iter().filter(|at| *at > now).for_each(&mut consider);
        }
        for node in &self.nodes {
            if let Some(at) = node.back_at {
                consider(at);
            }
            let Some(endpoint) = &node.endpoint else { continue };
            if let Some(at) = endpoint.poll_timeout() {
                consider((node.clock.true_time(at) + late).max(node.asleep_until));
            }
            if let Some(at) = node.next_at() {
                consider(at.max(node.asleep_until));
            }
            [node.asleep_until, node.deaf_until].into_iter().filter(|at| *at > now).for_each(&mut consider);
        }
        for link in self.live_links.iter().map(|link| &self.links[*link]) {
            let (up, down) = (link.up.next_at(), link.down.next_at());
            let node_wakes = self.nodes[link.node].asleep_until;
            let peer_wakes = link.peer.map_or(0, |peer| self.peers[peer].asleep_until);
            // What has arrived and is not wanted yet waits for somebody else's time.
            up.map(|at| at.max(node_wakes)).into_iter().filter(|at| *at > now).for_each(&mut consider);
            down.map(|at| at.max(peer_wakes)).into_iter().filter(|at| *at > now).for_each(&mut consider);
            if link.writable_at > now {
                consider(link.writable_at);
            }
        }
        (next != Ms::MAX).then_some(next)
    }

    /// Whoever's time it is. What has come is read before anybody looks at a clock (D21).
    fn wake(&mut self) {
        let (now, late) = (self.now, self.plan.late);
        self.carry();
        for idx in 0..self.nodes.len() {
            if self.nodes[idx].back_at.is_some_and(|at| at <= now) {
                self.start_node(idx);
            }
            self.work(idx);
        }
        for idx in 0..self.peers.len() {
            if self.peers[idx].down_until.is_some_and(|at| at <= now) {
                self.restore(idx);
            }
            if !self.peers[idx].is_awake(now) {
                continue;
            }
            if self.peers[idx].marks.front().is_some_and(|(at, _)| *at <= now) {
                self.process(idx);
            }
            if self.peers[idx].race_at.is_some_and(|at| at <= now) {
                self.race_on(idx);
            }
            if self.peers[idx].retry_at.is_some_and(|at| at <= now) {
                self.retry(idx);
            }
        }
        self.writable_again();
        self.settle();
        for idx in 0..self.peers.len() {
            let peer = &mut self.peers[idx];
            if !peer.is_awake(now) {
                continue;
            }
            let is_due = |at: Instant| peer.clock.true_time(at) + late <= now;
            if peer.session.poll_timeout().is_some_and(is_due) {
                let local = peer.clock.at(now);
                peer.session.handle_timeout(local);
                let next = peer.session.poll_timeout();
                assert!(next.is_none_or(|at| at > local.mono), "client {idx}'s deadline did not move");
                let heard = peer.link.map_or(now, |link| self.links[link].client_heard_at);
                let is_graced = peer.interval().is_some_and(|interval| now >= heard + 2 * interval);
                if is_graced && peer.session.phase() == Phase::Open && peer.session.wants_input() {
                    self.transcript.reached(Mark::SuspendGrace);
                }
            }
        }
        for idx in 0..self.nodes.len() {
            let node = &mut self.nodes[idx];
            if !node.is_awake(now) {
                continue;
            }
            let endpoint = node.endpoint.as_mut().expect("it is awake");
            let is_due = |at: Instant| node.clock.true_time(at) + late <= now;
            if endpoint.poll_timeout().is_some_and(is_due) {
                node.is_resting = false;
                let local = node.clock.at(now);
                endpoint.handle_timeout(local);
                let next = endpoint.poll_timeout();
                assert!(next.is_none_or(|at| at > local.mono), "node {idx}'s deadline did not move");
                self.look_at_node(idx);
            }
        }
        self.settle();
    }
}

/// The drivers of all sides.
impl World {
    /// Lets all say all, and links carry what has arrived, until nothing moves.
    pub(crate) fn settle(&mut self) {
        let mut turns = 0;
        loop {
            let mut moved = self.carry();
            for idx in 0..self.nodes.len() {
                moved |= self.drive_node(idx);
            }
            for idx in 0..self.peers.len() {
                moved |= self.drive_peer(idx);
            }
            turns += 1;
            assert!(turns < 2_000, "it never comes to rest");
            if !moved {
                break;
            }
        }
        self.hold_drained();
        self.hold_liveness();
    }

    /// 12: drained is drained.
    fn hold_drained(&mut self) {
        let (now, lazy) = (self.now, self.plan.lazy);
        for (idx, peer) in self.peers.iter_mut().enumerate() {
            let is_served = peer.is_awake(now) && now >= peer.mute_until.max(peer.deaf_until);
            if is_served && !(lazy && peer.session.phase() == Phase::Detached) {
                let local = peer.clock.at(now);
                let is_drained = peer.session.poll_transmit(local).is_none() && peer.session.poll_event().is_none();
                assert!(is_drained, "client {idx} was drained and is not");
                let next = peer.session.poll_timeout();
                assert!(next != Some(Instant::MAX), "client {idx} has a deadline that is none");
            }
        }
        for (idx, node) in self.nodes.iter_mut().enumerate() {
            if node.is_awake(now) && !node.is_resting && now >= node.deaf_until {
                let local = node.clock.at(now);
                let endpoint = node.endpoint.as_mut().expect("it is awake");
                let is_drained = endpoint.poll_transmit(local).is_none()
                    && endpoint.poll_close().is_none()
                    && endpoint.poll_event().is_none()
                    && endpoint.poll_change().is_none();
                assert!(is_drained, "node {idx} was drained and is not");
            }
        }
    }
}
