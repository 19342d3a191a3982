//! A process: its endpoint and the driver of that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arcp_proto::Feature;
use arcp_proto::endpoint::{Change, Durability, Endpoint, Policy, Scope};
use arcp_proto::wire::{Envelope, JobId, MessageType, Principal, Welcome};
use bytes::Bytes;

use super::application::Answer;
use super::clock::Clock;
use super::dice::Dice;
use super::link::Ms;
use super::mark::Mark;
use super::plan::{Plan, Profile};
use super::store::Progress;
use super::transcript::hash_of;
use super::worker::Worker;
use super::world::World;

/// Everybody sees everything.
struct Open;

impl Policy for Open {
    fn scope(&self, _: &Principal) -> Scope {
        Scope::All
    }
}

pub(crate) struct Node {
    /// `None`: dead.
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) clock: Clock,
    pub(crate) asleep_until: Ms,
    pub(crate) deaf_until: Ms,
    pub(crate) slow_store_until: Ms,
    pub(crate) back_at: Option<Ms>,
    /// A transport of it is gone, and its driver polls nothing until something comes.
    pub(crate) is_resting: bool,
    /// It has missed its own deadlines.
    pub(crate) absent_at: Ms,
    pub(crate) troubled_until: Ms,
    pub(crate) answers: Vec<(Ms, Answer)>,
    pub(crate) workers: BTreeMap<JobId, Worker>,
    /// Transports given up, to be closed then.
    pub(crate) hangups: VecDeque<(Ms, usize)>,
    /// Given out, to be written then.
    pub(crate) to_write: VecDeque<(Ms, Change, Progress)>,
    /// Written or not, to be told then.
    pub(crate) to_confirm: VecDeque<(Ms, Change, bool)>,
    pub(crate) dice: Dice,
}

pub(crate) fn endpoint(plan: &Plan) -> Endpoint {
    let endpoint = Endpoint::new(Arc::clone(&plan.endpoint));
    if plan.everybody_sees_all { endpoint.with_policy(Open) } else { endpoint }
}

impl Node {
    pub(crate) fn new(plan: &Plan, mut dice: Dice) -> Node {
        Node {
            endpoint: Some(endpoint(plan)),
            clock: Clock::new(&mut dice),
            asleep_until: 0,
            deaf_until: 0,
            slow_store_until: 0,
            back_at: None,
            is_resting: false,
            absent_at: 0,
            troubled_until: 0,
            answers: Vec::new(),
            workers: BTreeMap::new(),
            hangups: VecDeque::new(),
            to_write: VecDeque::new(),
            to_confirm: VecDeque::new(),
            dice,
        }
    }

    pub(crate) fn is_awake(&self, now: Ms) -> bool {
        self.endpoint.is_some() && now >= self.asleep_until
    }

    /// When its application or its store has something to do.
    pub(crate) fn next_at(&self) -> Option<Ms> {
        let answers = self.answers.iter().map(|(at, _)| *at);
        let works = self.workers.values().filter_map(|worker| worker.at);
        let store = self.to_write.front().map(|(at, _, _)| *at);
        let told = self.to_confirm.front().map(|(at, _, _)| *at);
        let hangups = self.hangups.front().map(|(at, _)| *at);
        answers.chain(hangups).chain(works).chain(store).chain(told).min()
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.answers.is_empty() || !self.to_write.is_empty() || !self.to_confirm.is_empty()
    }

    /// The store is quick again.
    pub(crate) fn store_is_quick(&mut self, now: Ms) {
        self.slow_store_until = 0;
        self.to_write.iter_mut().for_each(|(at, _, _)| *at = (*at).min(now));
    }

    pub(crate) fn later(&mut self, at: Ms, answer: Answer) {
        self.answers.push((at, answer));
    }

    /// The process dies.
    pub(crate) fn die(&mut self) {
        self.endpoint = None;
        self.answers.clear();
        self.workers.clear();
        self.hangups.clear();
        self.to_write.clear();
        self.to_confirm.clear();
    }
}

/// The driver.
impl World {
    pub(crate) fn drive_node(&mut self, idx: usize) -> bool {
        let now = self.now;
        if !self.nodes[idx].is_awake(now) {
            return false;
        }
        let mut moved = self.hang_up(idx);
        if self.nodes[idx].is_resting {
            return moved;
        }
        let local = self.nodes[idx].clock.at(now);
        moved |= self.take_changes(idx);
        while let Some((conn, frame)) = self.ep(idx).poll_transmit(local) {
            moved = true;
            let link = self.by_conn[&(idx, conn)];
            self.runtime_sends(idx, link, &frame);
        }
        while let Some(conn) = self.ep(idx).poll_close() {
            moved = true;
            let link = self.by_conn[&(idx, conn)];
            (self.links[link].node_is_here, self.links[link].was_given_up) = (false, true);
            let takes = self.plan.slow_hangups;
            // Until then it answers nobody.
            self.links[link].runtime_is_excused |= takes > 0;
            self.nodes[idx].hangups.push_back((now + takes, link));
        }
        while now >= self.nodes[idx].deaf_until {
            let Some(event) = self.ep(idx).poll_event() else { break };
            moved = true;
            self.endpoint_tells(idx, event);
        }
        while let Some(record) = self.ep(idx).poll_audit() {
            self.transcript.note(now, || format!("node {idx} notes {record}"));
        }
        self.look_at_node(idx);
        moved
    }

    /// What the process has given up, it closes when its driver gets round to it.
    fn hang_up(&mut self, idx: usize) -> bool {
        let now = self.now;
        let mut moved = false;
        while let Some((_, link)) = self.nodes[idx].hangups.pop_front_if(|(at, _)| *at <= now) {
            moved = true;
            self.judge_eof(link, false);
            self.flush_tampered(link);
            self.links[link].end_down(now);
            self.forget_link(link);
        }
        moved
    }

    pub(crate) fn ep(&mut self, node: usize) -> &mut Endpoint {
        self.nodes[node].endpoint.as_mut().expect("the process lives")
    }

    fn runtime_sends(&mut self, node: usize, link: usize, frame: &Bytes) {
        let envelope = Envelope::decode(frame.clone()).expect("what we send is an envelope");
        let message = envelope.message_type().expect("of a type that there is");
        // 5: the first frame of a transport is a welcome or an error.
        if !self.links[link].has_welcome {
            let opens = matches!(message, MessageType::SessionWelcome | MessageType::SessionError);
            assert!(opens, "node {node} begins link {link} with {message}");
        }
        if message == MessageType::SessionWelcome {
            self.links[link].has_welcome = true;
            self.hold_agreement(link, &envelope);
            // One that could not be written in time looks like a takeover of what has taken over from it meanwhile.
            let session = &self.links[link].session;
            let is_over = self.links[link + 1..].iter().any(|newer| newer.has_welcome && newer.session == *session);
            if self.links[link].was_unwritable && is_over {
                self.look_away(link);
            }
        }
        if let Some(seq) = envelope.event_seq() {
            self.runtime_sends_event(node, link, seq, frame);
        }
        self.tap_down(link, frame);
        let is_welcome = message == MessageType::SessionWelcome;
        self.put_down(link, frame, is_welcome, envelope.event_seq());
    }

    /// A5, D20: what both have named, and nothing else.
    fn hold_agreement(&self, link: usize, welcome: &Envelope) {
        let Some(peer) = self.links[link].peer.filter(|_| self.plan.profile != Profile::Hostile) else { return };
        let welcome: Welcome = welcome.payload().expect("a welcome is read");
        let agreed = self.plan.endpoint.runtime.features.intersection(&self.peers[peer].config.features);
        assert_eq!(welcome.heartbeat_interval_sec.is_some(), agreed.contains(Feature::Heartbeat));
        assert_eq!(welcome.capabilities.features, agreed, "the welcome on link {link}");
    }

    fn runtime_sends_event(&mut self, node: usize, link: usize, seq: u64, frame: &Bytes) {
        let Some(session) = self.links[link].session.clone() else {
            panic!("an event on a transport without a session")
        };
        let acked = self.ep(node).session(&session).map_or(u64::MAX, |session| session.acked_seq());
        let Some(hosted) = self.model.hosted.get_mut(&(node, session.clone())) else { return };
        // 2, 3: without a hole, from where the client said; only an acknowledgement moves it forward (D24).
        let is_next = seq == hosted.cursor + 1 || (seq > hosted.cursor && seq <= acked.saturating_add(1));
        assert!(is_next, "event {seq} behind {} on link {link}", hosted.cursor);
        if seq <= hosted.transmitted {
            self.transcript.reached(Mark::Replayed);
        }
        hosted.cursor = seq;
        hosted.transmitted = hosted.transmitted.max(seq);
        // A place in the sequence has one content, for ever (D14).
        let content = hash_of(frame);
        let known = *self.model.contents.entry((session.clone(), seq)).or_insert(content);
        let may_differ = self.plan.endpoint.durability == Durability::Batched;
        assert!(known == content || may_differ, "{session} has two events {seq}");
        if known != content {
            self.model.split.insert(session);
        }
    }

    /// Something arrives at a process.
    pub(crate) fn arrives_up(&mut self, link: usize, frame: Result<Bytes, arcp_proto::wire::FrameFault>) {
        let now = self.now;
        let node = self.links[link].node;
        let conn = self.links[link].conn;
        let local = self.nodes[node].clock.at(now);
        self.nodes[node].is_resting = false;
        self.links[link].heard_at = now;
        if let Some(id) = self.links[link].session.clone()
            && self.links[link].has_welcome
            && let Some(hosted) = self.model.hosted.get_mut(&(node, id))
            && hosted.link == Some(link)
            && hosted.phase.is_attached()
        {
            // The client speaks: it has the new token, and the old one is worth nothing (D3).
            hosted.tokens.drain(..hosted.tokens.len().saturating_sub(1));
        }
        match frame {
            Ok(frame) => self.ep(node).handle_input(local, conn, frame),
            Err(fault) => self.ep(node).handle_malformed(local, conn, fault),
        }
        self.look_at_node(node);
    }
}
