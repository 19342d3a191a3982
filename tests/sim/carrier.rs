//! What links carry: what has arrived is read, by whoever is there to read it.

use arcp_proto::framing::LineDecoder;
use arcp_proto::wire::FrameFault;
use bytes::Bytes;
use serde_json::Value;

use super::link::{Item, Tamper};
use super::mark::Mark;
use super::plan::Profile;
use super::world::World;

impl World {
    /// What has arrived by now is read.
    pub(crate) fn carry(&mut self) -> bool {
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
        self.close_judged(idx);
        let of = &mut self.nodes[node];
        if let Some(endpoint) = of.endpoint.as_mut() {
            endpoint.handle_disconnect(of.clock.at(now), conn);
            // It has others to serve where there are others.
            let others = self.live_links.iter().any(|of| *of != idx && self.links[*of].node_is_here);
            of.is_resting = self.plan.lazy && self.plan.clients == 1 && self.plan.nodes == 1 && !others;
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
            link.client_heard_at = now;
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
            self.close_judged(idx);
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
    pub(crate) fn put_down(&mut self, idx: usize, frame: &Bytes, is_welcome: bool, seq: Option<u64>) {
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
        let Some((tamper, seq)) = link.tamper.zip(seq) else { return link.send(now, false, frame) };
        match tamper {
            Tamper::Drop => {
                link.tamper = None;
                peer.into_iter().for_each(|peer| self.peers[peer].dropped.extend([seq]));
            }
            Tamper::Repeat => {
                link.tamper = None;
                link.send(now, false, frame);
                link.send(now, false, frame);
            }
            Tamper::Swap if link.held_back.is_none() => link.held_back = Some((seq, frame.clone())),
            Tamper::Swap => {
                link.send(now, false, frame);
                self.transcript.reached(Mark::ReorderRepaired);
                self.flush_tampered(idx);
            }
        }
    }

    /// What was held back goes.
    pub(crate) fn flush_tampered(&mut self, idx: usize) {
        let (now, link) = (self.now, &mut self.links[idx]);
        if let Some((_, frame)) = link.held_back.take() {
            link.tamper = None;
            link.send(now, false, &frame);
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
