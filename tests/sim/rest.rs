//! How a world comes to rest: the faults are over, everything arrives, all close, and nothing is left.

use arcp_proto::endpoint::Durability;
use arcp_proto::wire::JobId;

use super::link::Ms;
use super::model::JobModel;
use super::plan::Profile;
use super::world::World;

impl World {
    /// All faults are over.
    pub(crate) fn heal(&mut self) {
        let now = self.now;
        self.transcript.note(now, || "-- all faults are over".into());
        for idx in 0..self.nodes.len() {
            if self.nodes[idx].endpoint.is_none() {
                self.start_node(idx);
            }
            let node = &mut self.nodes[idx];
            (node.asleep_until, node.deaf_until, node.is_resting) = (node.asleep_until.min(now), 0, false);
            node.store_is_quick(now);
            node.troubled_until = node.troubled_until.min(now);
        }
        for idx in 0..self.peers.len() {
            let peer = &mut self.peers[idx];
            (peer.asleep_until, peer.deaf_until, peer.mute_until) = (peer.asleep_until.min(now), 0, 0);
            (peer.careless_until, peer.away_until) = (0, 0);
            for (at, _) in &mut peer.marks {
                *at = (*at).min(now + peer.process_delay);
            }
            (peer.lose_welcome, peer.race_at) = (None, None);
            peer.troubled_until = now;
            peer.retry_at = peer.retry_at.map(|at| at.min(now + peer.retry_delay));
            peer.down_until = peer.down_until.map(|_| now);
        }
        for idx in 0..self.links.len() {
            let link = &mut self.links[idx];
            (link.up.stalled_until, link.down.stalled_until, link.tamper) = (0, 0, None);
            if link.writable_at != 0 {
                link.writable_at = now;
            }
            self.flush_tampered(idx);
            let link = &mut self.links[idx];
            // Whoever believes in a link that is dead is told.
            if (link.up.is_dead || link.down.is_dead) && (link.client_is_here || link.node_is_here) {
                (link.client_is_excused, link.runtime_is_excused) = (true, true);
                (link.up.is_dead, link.down.is_dead) = (true, true);
                link.up.end_at(now + 5);
                link.down.end_at(now + 5);
            }
        }
        self.writable_again();
        if self.plan.profile == Profile::Hostile {
            // Whatever it was told, a fresh client is served well.
            self.clean_from = self.peers.len();
            self.newcomer();
            self.advance_to(now + 3_000);
            self.ask(self.clean_from, "submit", None, None);
        }
    }

    fn what_lacks_anybody(&self) -> Option<String> {
        let lacks = (0..self.peers.len()).find_map(|idx| self.what_lacks(idx));
        // Whoever is gone for good, or began anew without a snapshot, holds a job up until its window is over.
        // And a process that does not know yet that another has its session waits for it.
        let has_client = |node: usize, job: &JobId| {
            let Some(job) = self.model.jobs.get(job).filter(|job| !self.is_harmed(job.peer)) else { return false };
            let is_here = |link: usize| self.links[link].node == node;
            self.peers.get(job.peer).is_some_and(|peer| {
                let is_theirs = peer.session.session_id() == Some(&job.owner);
                is_theirs && peer.closed_at.is_none() && peer.link.is_some_and(is_here) && !self.is_hidden(job.peer)
            })
        };
        let is_busy = |node: &usize| {
            let of = &self.nodes[*node];
            of.is_busy() || of.workers.keys().any(|job| has_client(*node, job))
        };
        let busy = (0..self.nodes.len()).find(is_busy);
        lacks.or_else(|| busy.map(|node| format!("node {node} is at work: {:?}", self.nodes[node].workers.keys())))
    }

    /// The client's session is the one whose job it is, and somebody is at work on it, or it was told
    /// that the job is taken. Of a batch that was not stored when
    /// its process died, there is nothing.
    pub(crate) fn is_owned_now(&self, job: &JobModel, id: &JobId) -> bool {
        let is_durable = self.plan.endpoint.durability != Durability::Volatile;
        let is_home =
            |node: usize| !is_durable || self.peers[job.peer].link.is_some_and(|link| self.links[link].node == node);
        let is_at_work = (0..self.nodes.len()).any(|node| is_home(node) && self.nodes[node].workers.contains_key(id));
        let is_batched = self.plan.endpoint.durability == Durability::Batched;
        let is_told = self.peers[job.peer].accepted.contains(id) && !is_batched;
        let may_be_lost = !is_told && !is_at_work && (is_durable || !job.has_ended);
        let session = self.peers.get(job.peer).and_then(|peer| peer.session.session_id());
        session == Some(&job.owner) && !may_be_lost
    }

    /// 14: after the last fault, everything arrives.
    pub(crate) fn come_to_rest(&mut self) {
        let mut lacks = None;
        for _ in 0..60 {
            self.advance_to(self.now + 3_000);
            lacks = self.what_lacks_anybody();
            if lacks.is_none() {
                return;
            }
        }
        panic!("three minutes after the last fault: {}", lacks.unwrap_or_default());
    }

    /// All close, and nothing is left.
    pub(crate) fn end(&mut self) {
        self.transcript.note(self.now, || "-- all close".into());
        for idx in 0..self.peers.len() {
            self.close(idx);
        }
        self.settle();
        self.advance_to(self.now + 8_000);
        for (idx, peer) in self.peers.iter().enumerate() {
            assert!(peer.is_closed, "client {idx} has closed, and is {}", peer.session.phase());
            assert_eq!(peer.session.poll_timeout(), None, "client {idx} is closed and waits for something");
            assert_eq!(peer.open_requests(), 0, "client {idx} waits for an answer for ever");
        }
        self.advance_to(self.now + 40_000);
        for node in &self.nodes {
            let endpoint = node.endpoint.as_ref().expect("it lives");
            assert_eq!(endpoint.connection_count(), (0, 0), "transports that nobody has");
        }
        let runtime = &self.plan.endpoint.runtime;
        let longest = runtime.retention.max(runtime.resume_window).as_millis() as Ms;
        self.advance_to(self.now + longest + 2_000);
        for (idx, node) in self.nodes.iter().enumerate() {
            let endpoint = node.endpoint.as_ref().expect("it lives");
            assert_eq!(endpoint.session_count(), 0, "node {idx} keeps sessions that nobody comes back to");
            assert!(!endpoint.has_unstored(), "node {idx} has something to store");
        }
    }
}
