//! A world: clients, processes, the links between them, and one clock that jumps to the next deadline and never ticks.
//!
//! Whatever happens, at every step: what is drained stays so, deadlines move, nobody is woken before the time that they
//! asked for, and the referee looks at each frame as it is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arcp_proto::endpoint::{ConnId, Durability};
use arcp_proto::framing::LineDecoder;
use arcp_proto::referee::{Finding, Referee, Rule, Side};
use arcp_proto::wire::FrameFault;
use arcp_proto::{Instant, Phase};
use bytes::Bytes;
use serde_json::Value;

use super::dice::Dice;
use super::link::{Item, Link, Ms, Tamper};
use super::mark::Mark;
use super::model::Model;
use super::node::Node;
use super::peer::Peer;
use super::plan::{Plan, Profile, client};
use super::store::Store;
use super::transcript::Transcript;

/// What a driver that is late, asleep or cannot write does wrong is not its session's doing.
const TIMING: &[Rule] = &[
    Rule::PingOmitted,
    Rule::SilenceKept,
    Rule::PingUnanswered,
    Rule::ClientIdle,
    Rule::RefusalLeftOpen,
    Rule::CloseUnanswered,
    Rule::ByeUnanswered,
];

/// The model knows better: it has the tokens, the windows, and what arrived.
const OURS_TO_JUDGE: &[Rule] = &[Rule::ResumeRefused, Rule::TakeoverRefused, Rule::ResumeUnchecked, Rule::LostTooEarly];

/// What could not be written in time; or what a process did not say that was put aside, or waits for the store.
const LAST_WORDS: &[Rule] = &[Rule::NoFarewell, Rule::Takeover, Rule::SilentRefusal];

/// The slowest link is that much behind.
const TOLERANCE: Duration = Duration::from_millis(1_500);

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Ms,
    pub(crate) peers: Vec<Peer>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
    pub(crate) by_conn: BTreeMap<(usize, ConnId), usize>,
    /// Links on which something may still happen.
    live_links: BTreeSet<usize>,
    pub(crate) store: Store,
    pub(crate) model: Model,
    pub(crate) transcript: Transcript,
    pub(crate) dice: Dice,
    referee: Option<Referee>,
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
        let config = Arc::new(client(self.plan.profile, idx % 3, &mut dice));
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

    /// What has arrived by now is read.
    fn carry(&mut self) -> bool {
        let mut moved = false;
        let live: Vec<usize> = self.live_links.iter().copied().collect();
        for link in live {
            while self.carry_up(link) {
                moved = true;
            }
            while self.carry_down(link) {
                moved = true;
            }
        }
        moved
    }

    fn carry_up(&mut self, idx: usize) -> bool {
        let now = self.now;
        let link = &mut self.links[idx];
        let node = link.node;
        let is_due = link.up.next_at().is_some_and(|at| at <= now);
        if !is_due || now < self.nodes[node].asleep_until {
            return false;
        }
        let Some(endpoint) = self.nodes[node].endpoint.as_ref().filter(|_| link.node_is_here) else {
            self.drop_late_bytes(idx);
            return true;
        };
        let is_end = matches!(link.up.items.front(), Some((_, Item::End)));
        if !is_end && !endpoint.wants_input(link.conn) {
            self.transcript.reached(Mark::ReadingStopped);
            return false;
        }
        let Some((_, item)) = link.up.items.pop_front() else { return false };
        match item {
            Item::Frame(frame) => self.feed_up(idx, Ok(frame)),
            Item::Chunk(chunk) => {
                let decoder = link.up.decoder.as_mut().expect("it is a stream of lines");
                decoder.push(chunk);
                let lines = lines_of(decoder);
                if lines.is_empty() {
                    self.links[idx].heard_at = now;
                    let (conn, local) = (self.links[idx].conn, self.nodes[node].clock.at(now));
                    self.nodes[node].is_resting = false;
                    self.ep(node).handle_activity(local, conn);
                }
                for line in lines {
                    self.feed_up(idx, line);
                }
            }
            Item::End => {
                if let Some(last) = link.up.decoder.as_mut().and_then(LineDecoder::finish) {
                    self.transcript.reached(Mark::PartialLine);
                    self.feed_up(idx, last.map_err(FrameFault::from));
                }
                self.node_loses(idx);
            }
        }
        true
    }

    /// Bytes of a transport that was given up: a driver may feed some in that it had read already, and is late to tell its
    /// end. Neither does anything (D15).
    fn drop_late_bytes(&mut self, idx: usize) {
        let (node, conn) = (self.links[idx].node, self.links[idx].conn);
        let items = std::mem::take(&mut self.links[idx].up.items);
        let local = self.nodes[node].clock.at(self.now);
        if let Some(endpoint) = self.nodes[node].endpoint.as_mut().filter(|_| self.links[idx].was_given_up) {
            let before = (endpoint.poll_timeout(), endpoint.session_count(), endpoint.connection_count());
            for (_, item) in items {
                match item {
                    Item::Frame(frame) => {
                        self.transcript.reached(Mark::LateBytes);
                        endpoint.handle_input(local, conn, frame);
                    }
                    Item::Chunk(_) => endpoint.handle_activity(local, conn),
                    Item::End => endpoint.handle_disconnect(local, conn),
                }
            }
            let after = (endpoint.poll_timeout(), endpoint.session_count(), endpoint.connection_count());
            assert_eq!(before, after, "late bytes did something");
        }
        self.forget_link(idx);
    }

    fn feed_up(&mut self, idx: usize, frame: Result<Bytes, FrameFault>) {
        if let Ok(frame) = &frame {
            self.transcript.frame(self.now, idx, "arrives up  ", frame);
            if !self.links[idx].node_is_here || self.links[idx].session.is_none() && self.links[idx].claim.is_none() {
                self.links[idx].claim = claim_of(frame);
            }
            if self.plan.profile == Profile::Hostile && self.seen.len() < 60 {
                self.seen.push((true, frame.clone()));
            }
        }
        self.arrives_up(idx, frame);
    }

    /// The process learns that a transport is gone.
    pub(crate) fn node_loses(&mut self, idx: usize) {
        let now = self.now;
        let (node, conn) = (self.links[idx].node, self.links[idx].conn);
        if !self.links[idx].node_is_here {
            return;
        }
        self.links[idx].node_is_here = false;
        self.links[idx].client_is_excused = true;
        self.judge(idx, |referee, conn, at| referee.close(conn, at));
        self.links[idx].is_judged = false;
        let of = &mut self.nodes[node];
        if let Some(endpoint) = of.endpoint.as_mut() {
            endpoint.handle_disconnect(of.clock.at(now), conn);
            // It has others to serve where there are others.
            of.is_resting = self.plan.lazy && self.plan.clients == 1 && self.plan.nodes == 1;
        }
        self.look_at_node(node);
        self.forget_link(idx);
    }

    fn carry_down(&mut self, idx: usize) -> bool {
        let now = self.now;
        let link = &mut self.links[idx];
        if link.down.next_at().is_none_or(|at| at > now) {
            return false;
        }
        let Some(peer) = link.peer.filter(|_| link.client_is_here) else {
            link.down.items.clear();
            self.forget_link(idx);
            return true;
        };
        // Bytes of a transport that was given up are not fed in (D15).
        if self.peers[peer].link != Some(idx) {
            link.down.items.clear();
            return true;
        }
        let is_end = matches!(link.down.items.front(), Some((_, Item::End)));
        if !self.peers[peer].is_awake(now) {
            return false;
        }
        if !is_end && !self.peers[peer].session.wants_input() {
            self.transcript.reached(Mark::ReadingStopped);
            return false;
        }
        let Some((_, item)) = link.down.items.pop_front() else { return false };
        if !is_end && self.peers[peer].session.phase().is_attached() {
            (link.client_heard_at, link.is_heard) = (now, true);
        }
        let local = self.peers[peer].clock.at(now);
        match item {
            Item::Frame(frame) => self.feed_down(idx, peer, Ok(frame)),
            Item::Chunk(chunk) => {
                let decoder = link.down.decoder.as_mut().expect("it is a stream of lines");
                decoder.push(chunk);
                let lines = lines_of(decoder);
                if lines.is_empty() {
                    self.peers[peer].session.handle_activity(local);
                }
                for line in lines {
                    self.feed_down(idx, peer, line);
                }
            }
            Item::End => {
                if let Some(last) = link.down.decoder.as_mut().and_then(LineDecoder::finish) {
                    self.transcript.reached(Mark::PartialLine);
                    self.feed_down(idx, peer, last.map_err(FrameFault::from));
                }
                self.client_loses(idx);
            }
        }
        true
    }

    fn feed_down(&mut self, idx: usize, peer: usize, frame: Result<Bytes, FrameFault>) {
        let local = self.peers[peer].clock.at(self.now);
        match frame {
            Ok(frame) => {
                self.transcript.frame(self.now, idx, "arrives down", &frame);
                if self.plan.profile == Profile::Hostile && self.seen.len() < 60 {
                    self.seen.push((false, frame.clone()));
                }
                self.peers[peer].session.handle_input(local, frame);
            }
            Err(fault) => self.peers[peer].session.handle_malformed(local, fault),
        }
        self.look_at_peer(peer);
    }

    /// The client learns that its transport is gone.
    pub(crate) fn client_loses(&mut self, idx: usize) {
        let now = self.now;
        let Some(peer) = self.links[idx].peer.filter(|_| self.links[idx].client_is_here) else { return };
        self.links[idx].client_is_here = false;
        self.links[idx].client_is_excused = true;
        self.links[idx].end_up(now);
        if self.peers[peer].link == Some(idx) && self.peers[peer].down_until.is_none() {
            let local = self.peers[peer].clock.at(now);
            self.peers[peer].session.handle_disconnect(local);
        }
        self.forget_link(idx);
    }

    /// Nothing happens on it any more.
    pub(crate) fn forget_link(&mut self, idx: usize) {
        let link = &self.links[idx];
        let is_over = (!link.node_is_here || link.up.items.is_empty() && link.up.is_dead)
            && (!link.client_is_here || link.down.items.is_empty() && link.down.is_dead);
        if !link.node_is_here && !link.client_is_here && is_over {
            self.live_links.remove(&idx);
            self.judge(idx, |referee, conn, at| referee.close(conn, at));
            self.links[idx].is_judged = false;
        }
    }

    pub(crate) fn writable_again(&mut self) {
        let now = self.now;
        let live: Vec<usize> = self.live_links.iter().copied().collect();
        for idx in live {
            let link = &mut self.links[idx];
            if link.writable_at != 0 && link.writable_at <= now {
                link.writable_at = 0;
                let (node, conn) = (link.node, link.conn);
                if let Some(endpoint) = self.nodes[node].endpoint.as_mut() {
                    endpoint.set_writable(conn, true);
                }
            }
        }
    }

    /// A frame goes down, unless a fault has it.
    pub(crate) fn put_down(&mut self, idx: usize, frame: &Bytes, is_welcome: bool, is_event: bool) {
        let now = self.now;
        let peer = self.links[idx].peer;
        if is_welcome
            && let Some(peer) = peer
            && self.links[idx].claim.is_some()
            && let Some((client, node)) = self.peers[peer].lose_welcome.take()
        {
            self.transcript.reached(Mark::LostWelcome);
            let link = &mut self.links[idx];
            (link.client_is_excused, link.runtime_is_excused) = (true, true);
            link.kill(true, false);
            link.kill(false, false);
            link.down.end_at(now + client);
            node.into_iter().for_each(|node| link.up.end_at(now + node));
            return;
        }
        let link = &mut self.links[idx];
        match link.tamper.filter(|_| is_event) {
            None => link.send(now, false, frame),
            Some(Tamper::Drop) => link.tamper = None,
            Some(Tamper::Repeat) => {
                link.tamper = None;
                link.send(now, false, frame);
                link.send(now, false, frame);
            }
            Some(Tamper::Swap) if link.held_back.is_none() => link.held_back = Some(frame.clone()),
            Some(Tamper::Swap) => {
                link.send(now, false, frame);
                self.transcript.reached(Mark::ReorderRepaired);
                self.flush_tampered(idx);
            }
        }
    }

    /// What was held back goes.
    pub(crate) fn flush_tampered(&mut self, idx: usize) {
        let (now, link) = (self.now, &mut self.links[idx]);
        if let Some(frame) = link.held_back.take() {
            link.tamper = None;
            link.send(now, false, &frame);
        }
    }
}

/// The referee, and secrets.
impl World {
    pub(crate) fn tap_up(&mut self, idx: usize, frame: &Bytes) {
        self.transcript.frame(self.now, idx, "up          ", frame);
        self.judge(idx, |referee, conn, at| referee.frame(conn, Side::Client, at, frame.clone()).findings);
    }

    pub(crate) fn tap_down(&mut self, idx: usize, frame: &Bytes) {
        self.transcript.frame(self.now, idx, "down        ", frame);
        self.judge(idx, |referee, conn, at| referee.frame(conn, Side::Runtime, at, frame.clone()).findings);
    }

    pub(crate) fn judge_eof(&mut self, idx: usize, is_client: bool) {
        let side = if is_client { Side::Client } else { Side::Runtime };
        self.judge(idx, |referee, conn, at| referee.eof(conn, side, at));
    }

    fn judge(&mut self, idx: usize, look: impl FnOnce(&mut Referee, u64, Instant) -> Vec<Finding>) {
        if let Some(referee) = self.referee.as_mut().filter(|_| self.links[idx].is_judged) {
            let findings = look(referee, idx as u64, Instant::from_millis(self.now));
            self.blame(findings);
        }
    }

    fn blame(&self, findings: Vec<Finding>) {
        for finding in findings {
            let link = self.links.get(finding.conn as usize);
            let is_excused = link.is_some_and(|link| match finding.side {
                Side::Client => link.client_is_excused,
                Side::Runtime => {
                    let is_slow = link.runtime_is_excused && TIMING.contains(&finding.rule);
                    is_slow || link.was_unwritable && LAST_WORDS.contains(&finding.rule)
                }
            });
            let is_of_many = self.plan.nodes > 1
                && (matches!(finding.rule, Rule::StaleToken | Rule::PressureRepeated)
                    || LAST_WORDS.contains(&finding.rule));
            // What was not stored in time is forgotten, and its place is given out again to whoever has not seen it.
            let is_batched = self.plan.endpoint.durability == Durability::Batched;
            let is_forgotten = is_batched && matches!(finding.rule, Rule::ReplayChanged | Rule::ReplayHole);
            let is_ours = OURS_TO_JUDGE.contains(&finding.rule) || is_forgotten;
            assert!(is_excused || is_of_many || is_ours, "the referee, of link {}: {finding}", finding.conn);
        }
    }

    /// 9: what is told can be logged.
    pub(crate) fn keep_secrets(&self, told: &impl std::fmt::Debug) {
        if self.plan.seed.is_none_or(|seed| seed.is_multiple_of(8)) {
            let text = format!("{told:?}");
            let tells = text.contains("secret-") || text.contains("\"rt_") || text.contains("rt_0000");
            assert!(!tells, "a secret: {text}");
        }
    }
}

fn lines_of(decoder: &mut LineDecoder) -> Vec<Result<Bytes, FrameFault>> {
    std::iter::from_fn(|| decoder.next_line()).map(|line| line.map_err(FrameFault::from)).collect()
}

/// What a hello wants to resume.
pub(crate) fn claim_of(frame: &Bytes) -> Option<(String, u64)> {
    let hello: Value = serde_json::from_slice(frame).ok()?;
    let token = hello["payload"]["resume_token"].as_str()?.to_owned();
    Some((token, hello["payload"]["last_event_seq"].as_u64().unwrap_or_default()))
}
