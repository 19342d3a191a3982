//! The events that a client is given: one after the other, each once, and each the one that was published.

use arcp_proto::{AckPolicy, ClientEvent, Feature, Phase};
use serde_json::Value;

use super::plan::Profile;
use super::world::World;

/// In place of a number: the job's end.
const END: u64 = u64::MAX;

/// What a client hears of another's job.
#[derive(Default)]
pub(crate) struct Follow {
    pub(crate) last: Option<u64>,
    /// Subscribes that may yet begin a stretch of their own.
    pub(crate) beginnings: u64,
    /// It stands, and nothing has been asked since.
    pub(crate) is_sure: bool,
    /// An unsubscribe is behind the last subscribe.
    pub(crate) is_left: bool,
    /// What had been published when it was told so.
    pub(crate) from: u64,
}

impl Follow {
    /// In another life, which knows of nothing that was heard.
    pub(crate) fn begin_again(&mut self) {
        (self.last, self.is_sure) = (None, false);
        self.beginnings += 1;
    }
}

impl World {
    pub(crate) fn client_is_given(&mut self, idx: usize, seq: u64, event: &ClientEvent) {
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
        let features = peer.session.features().clone();
        assert!(is_end || n < job.len() || self.plan.nodes > 1, "client {idx}: {job_id} has no event {n} yet");
        let heard = peer.deliveries.iter().rev().find(|(_, of, _)| *of == job_id).map(|(_, _, n)| *n);
        let is_own = job.peer == idx;
        let owned = self.model.owned.get(&job.owner).cloned().unwrap_or_default();
        let has_holes = peer.has_holes;
        let is_split = peer.session.session_id().is_some_and(|id| self.model.split.contains(id));
        if is_own {
            // 1: the payload is the model's.
            assert!(is_split || heard != Some(END), "client {idx} hears {n} of its {job_id} behind its end");
            let next = job.next(heard.map_or(0, |n| n + 1), &features);
            // Of a job at several processes only its client can tell how long it was.
            let is_next = n == next || (is_end && self.plan.profile == Profile::Durable);
            assert!(
                is_split || is_next || (has_holes && n > next),
                "client {idx} hears {n} of its {job_id}, not {next}"
            );
        } else {
            let follow = peer.follows.entry(job_id.clone()).or_default();
            let next = follow.last.map(|last| job.next(last + 1, &features));
            let is_next = next.is_some_and(|next| n == next || (n > next && has_holes));
            // Of what its owner did not agree on, nothing is kept for those that come later.
            let owner_lacks = follow.last.is_some_and(|last| n > last && job.is_without(last + 1, n, &owned));
            if !is_next && !owner_lacks {
                assert!(
                    follow.beginnings > 0 || self.plan.profile == Profile::Durable,
                    "client {idx} hears {n} of {job_id}, not {next:?}"
                );
                follow.beginnings = follow.beginnings.saturating_sub(1);
            }
            follow.last = Some(n);
        }
        peer.deliveries.push((seq, job_id.clone(), if is_end { END } else { n }));
        if !is_split {
            self.result_arrives(idx, seq, &job_id, event);
        }
    }

    /// The last events of all were dropped, or are held back to be swapped with the next: only what comes behind them would
    /// show that.
    pub(crate) fn is_hidden(&self, idx: usize) -> bool {
        let peer = &self.peers[idx];
        let hosted = self.model.hosted.iter().filter(|((_, id), _)| Some(id) == peer.session.session_id());
        let last = hosted.map(|(_, hosted)| hosted.transmitted).max().unwrap_or_default();
        let held_back = peer.link.and_then(|link| self.links[link].held_back.as_ref()).map(|(seq, _)| *seq);
        last > peer.last && (peer.last + 1..=last).all(|seq| peer.dropped.contains(&seq) || held_back == Some(seq))
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
        if self.is_harmed(idx) || self.is_hidden(idx) {
            return None;
        }
        for (job_id, job) in &self.model.jobs {
            let heard = peer.deliveries.iter().rev().find(|(_, of, _)| of == job_id).map(|(_, _, n)| *n);
            let misses = heard != Some(END);
            if job.peer == idx && self.is_owned_now(job, job_id) && misses && !peer.has_holes {
                let (len, ended) = (job.len(), job.has_ended);
                return Some(format!(
                    "client {idx} has heard {heard:?} of its {job_id}, which has {len} (end: {ended})"
                ));
            }
            if let Some(follow) = peer.follows.get(job_id).filter(|follow| follow.is_sure && !peer.has_holes) {
                let last = follow.last.map_or(follow.from, |last| (last + 1).max(follow.from));
                let next = job.next(last, peer.session.features());
                if job.has_ended && next < job.len() {
                    return Some(format!("client {idx} has heard up to {last} of {job_id}, which has {}", job.len()));
                }
            }
        }
        None
    }
}
