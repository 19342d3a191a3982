//! The application of a client: what it asks for, what it processes, and how its process dies and comes back.

use std::sync::Arc;

use arcp_proto::wire::{JobId, JobQuery, JobSubmit, RawJson};
use arcp_proto::{Client, ClientSnapshot, Phase, SendError, Session};

use super::clock::Clock;
use super::delivery::Follow;
use super::link::Ms;
use super::mark::Mark;
use super::peer::Peer;
use super::world::World;

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
                    (follow.is_sure, follow.is_left) = (false, false);
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
            (follow.is_sure, follow.is_left) = (false, true);
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

    pub(crate) fn save(&mut self, idx: usize) {
        let peer = &mut self.peers[idx];
        if peer.session.session_id().is_some() {
            (peer.snapshot, peer.is_unstored) = (Some(peer.session.snapshot()), false);
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
        peer.troubled_until = peer.troubled_until.max(now + lasts);
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
        let token = peer.session.resume_token().cloned();
        let had = peer.processed;
        peer.deliveries.retain(|(seq, _, _)| *seq <= last);
        peer.pieces.values_mut().for_each(|pieces| pieces.forget_behind(last));
        peer.requests.clear();
        // What it follows, also what it asked for behind the snapshot, begins anew.
        peer.follows.values_mut().for_each(Follow::begin_again);
        let local = peer.clock.at(now);
        peer.session = Session::<Client>::restore(local, Arc::clone(&peer.config), snapshot).expect("it is restored");
        assert_eq!(peer.session.phase(), Phase::Detached);
        peer.lived_twice |= std::mem::replace(&mut peer.is_unstored, true);
        peer.went_back |= last < had || token.as_ref() != peer.session.resume_token();
        (peer.phase, peer.lost_at, peer.is_restored) = (Phase::Detached, Some(now), true);
        (peer.told_attached, peer.closed_at) = (false, None);
        peer.retry_at = Some(now + peer.retry_delay);
    }
}
