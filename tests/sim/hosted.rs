//! What can be seen of a process's sessions from outside, and what the model expects of them.

use std::sync::Arc;

use arcp_proto::endpoint::Durability;
use arcp_proto::wire::{JobId, SessionId};
use arcp_proto::{CloseReason, DetachReason, Feature, Overflow, Phase};

use super::link::Ms;
use super::mark::Mark;
use super::peer::patience;
use super::plan::Profile;
use super::world::World;

impl World {
    /// What an endpoint's sessions look like from outside, after each call.
    pub(crate) fn look_at_node(&mut self, idx: usize) {
        let (now, late) = (self.now, self.plan.late);
        let runtime = Arc::clone(&self.plan.endpoint.runtime);
        let window = runtime.resume_window.as_millis() as Ms;
        let retention = (runtime.retention.as_millis() as Ms).max(window);
        let is_hostile = self.plan.profile == Profile::Hostile;
        let Some(endpoint) = &self.nodes[idx].endpoint else { return };
        let is_absent = self.nodes[idx].absent_at > 0;
        for ((_, id), hosted) in self.model.hosted.iter_mut().filter(|((node, _), _)| *node == idx) {
            if hosted.gone_at.is_some() {
                continue;
            }
            let Some(session) = endpoint.session(id) else {
                hosted.gone_at = Some(now);
                continue;
            };
            let phase = session.phase();
            if phase != hosted.phase {
                if phase == Phase::Detached {
                    hosted.silence = hosted.link.map_or(0, |link| now - self.links[link].heard_at);
                    hosted.lost_at = Some(now);
                    hosted.blocked_since = None;
                }
                if phase.is_attached() && !hosted.phase.is_attached() {
                    (hosted.lost_at, hosted.is_adopted, hosted.was_elapsed) = (None, false, false);
                }
                hosted.phase = phase;
            }
            // 10: it holds no more than it may; the back-pressure signal is exempt (D26).
            let (events, bytes) = session.replay_len();
            let over = (events as u64, bytes as u64);
            let allowed = (runtime.replay_events as u64 + 1, runtime.replay_bytes as u64 + 1_000);
            assert!(over.0 <= allowed.0 && over.1 <= allowed.1, "{id} holds {over:?}, may hold {allowed:?}");
            let has_ack = session.features().contains(Feature::Ack);
            let acked = session.acked_seq();
            if has_ack && !is_hostile {
                let processed = self.peers[hosted.peer].processed;
                assert!(acked <= processed, "{id}: {acked} is acknowledged, {processed} processed");
            }
            // 4: nothing that nobody acknowledged is freed.
            let is_in_window = hosted.lost_at.is_none_or(|lost| now <= lost + window);
            let holds = has_ack && runtime.overflow == Overflow::Block && is_in_window && !hosted.has_subscribed;
            let floor = session.replay_floor();
            assert!(
                !holds || floor <= if hosted.was_adopted { self.peers[hosted.peer].processed } else { acked },
                "{id} has freed {floor}, but only {acked} is acknowledged"
            );
            hosted.is_kept = has_ack && session.last_event_seq() > acked;
            if let Some(lost_at) = hosted.lost_at.filter(|_| !hosted.is_adopted && !is_absent) {
                // 15: to the moment.
                let end = lost_at + if hosted.is_kept || hosted.was_elapsed { retention } else { window };
                assert!(now <= end + late, "{id} stands at {now}, it had to end at {end}");
                hosted.was_elapsed |= now >= lost_at + window;
            }
            // 16: silence of two intervals is the end of a transport.
            if let Some(link) = hosted.link.filter(|_| phase == Phase::Open && !is_absent)
                && session.features().contains(Feature::Heartbeat)
                && session.wants_input()
            {
                let silent = now - self.links[link].heard_at.min(now);
                let limit = patience(runtime.heartbeat_interval.as_millis() as Ms, late);
                assert!(silent <= limit, "{id} still believes in a client that is silent for {silent} ms");
            }
        }
    }

    pub(crate) fn session_is_detached(&mut self, idx: usize, session: &SessionId, reason: &DetachReason) {
        let is_hostile = self.plan.profile == Profile::Hostile;
        let interval = self.plan.endpoint.runtime.heartbeat_interval.as_millis() as Ms;
        let is_absent = self.nodes[idx].absent_at > 0;
        let hosted = self.model.hosted.get(&(idx, session.clone()));
        let silence = hosted.filter(|hosted| hosted.phase == Phase::Detached).map_or(2 * interval, |it| it.silence);
        let mark = match reason {
            DetachReason::HeartbeatLost => {
                // 16: no sooner, and no later.
                let late = self.plan.late;
                let is_exact = silence >= 2 * interval && silence <= patience(interval, late);
                assert!(is_absent || is_hostile || is_exact, "{session}: lost after {silence} ms of silence");
                Mark::HeartbeatLostAtRuntime
            }
            DetachReason::Overrun => Mark::Overrun,
            DetachReason::TooManyViolations if is_hostile => Mark::ViolationLimit,
            DetachReason::TransportLost
            | DetachReason::PeerClosed { .. }
            | DetachReason::ControlOverflow
            | DetachReason::InboundOverflow => return,
            _ if is_hostile => return,
            other => panic!("{session} is detached at node {idx}: {other}"),
        };
        self.transcript.reached(mark);
    }

    pub(crate) fn session_is_closed(&mut self, idx: usize, id: &SessionId, reason: &CloseReason, jobs: &[JobId]) {
        let runtime = Arc::clone(&self.plan.endpoint.runtime);
        let window = runtime.resume_window.as_millis() as Ms;
        let retention = (runtime.retention.as_millis() as Ms).max(window);
        let is_stored = self.plan.endpoint.durability != Durability::Volatile;
        if *reason == CloseReason::Fenced || (*reason == CloseReason::Shutdown && is_stored) {
            // Of an older life of it here, some may go on in the one that was taken over since.
            let here = self.model.hosted.get(&(idx, id.clone())).filter(|hosted| hosted.gone_at.is_none());
            let kept = here.map(|hosted| hosted.jobs.clone()).unwrap_or_default();
            let is_here_again = self.ep(idx).session(id).is_some();
            for job in jobs.iter().filter(|job| !is_here_again || !kept.contains(*job)) {
                self.nodes[idx].workers.remove(job);
            }
        }
        let may_be_evicted = self.plan.endpoint.parked_sessions < 1_000;
        let is_absent = self.nodes[idx].absent_at > 0 || self.plan.late > 0;
        if self.ep(idx).session(id).is_some() {
            // That was an older life of it here; it has come back meanwhile.
            return self.transcript.reached(Mark::Fenced);
        }
        let Some(hosted) = self.model.hosted.get_mut(&(idx, id.clone())) else { return };
        hosted.gone_at = hosted.gone_at.or(Some(self.now));
        hosted.blocked_since = None;
        match reason {
            CloseReason::ResumeWindowExpired => {
                let was_lost = hosted.lost_at.is_some() || hosted.is_adopted;
                assert!(is_absent || was_lost, "{id} ended with its transport, not with its window");
                if let (Some(lost), Some(gone)) = (hosted.lost_at, hosted.gone_at)
                    && !hosted.is_adopted
                {
                    let is_late = gone > lost + window;
                    assert!(gone >= lost + window, "{id} ended at {gone}, its window at {}", lost + window);
                    assert!(
                        is_absent || !is_late || hosted.was_elapsed,
                        "{id} ended at {gone}, not when its window did"
                    );
                    assert!(is_absent || gone <= lost + retention, "{id} ended at {gone}, not at {}", lost + retention);
                    if is_late {
                        self.transcript.reached(Mark::KeptBeyondTheWindow);
                    }
                }
                self.transcript.reached(Mark::WindowExpiredAtRuntime);
            }
            CloseReason::Evicted => {
                assert!(hosted.may_go || may_be_evicted, "{id} was evicted");
                self.transcript.reached(Mark::Evicted);
            }
            CloseReason::Shutdown => {
                assert!(hosted.may_go, "{id} was shut down");
                self.transcript.reached(Mark::ShutDown);
            }
            CloseReason::Fenced => {
                assert!(is_stored, "{id} was fenced");
                self.transcript.reached(Mark::Fenced);
            }
            other => panic!("{id} ended at node {idx}: {other}"),
        }
    }

    /// 13: on a healthy transport, whoever was refused can send again soon.
    pub(crate) fn hold_liveness(&mut self) {
        let now = self.now;
        if self.plan.profile == Profile::Hostile {
            return;
        }
        for ((node, id), hosted) in &self.model.hosted {
            let (Some(since), Some(link)) = (hosted.blocked_since, hosted.link) else { continue };
            if hosted.gone_at.is_some() || hosted.phase != Phase::Open || !self.nodes[*node].is_awake(now) {
                continue;
            }
            let Some(peer) = self.peers.get(hosted.peer) else { continue };
            let link = &self.links[link];
            let is_healthy = !link.up.is_dead && !link.down.is_dead && peer.session.phase() == Phase::Open;
            if !is_healthy || link.writable_at > now || self.is_hidden(hosted.peer) {
                continue;
            }
            let troubled = peer.troubled_until.max(self.nodes[*node].troubled_until);
            let ack_delay = peer.config.ack_delay.as_millis() as Ms;
            let held = self.nodes[*node].endpoint.as_ref().and_then(|endpoint| endpoint.session(id));
            let bytes = held.map_or(0, |session| session.replay_len().1 as u64);
            let takes = ack_delay + peer.process_delay + 4 * link.slowest() + 2 * bytes / link.bandwidth() + 2_500;
            let limit = since.max(troubled) + takes;
            assert!(now <= limit, "{id} is blocked since {since}, troubled until {troubled}, and still at {now}");
        }
    }
}
