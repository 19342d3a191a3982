//! What a client is told, and whether it may be.

use arcp_proto::wire::ErrorCode;
use arcp_proto::{ClientEvent, CloseReason, DetachReason, RequestFailure};

use super::mark::Mark;
use super::peer::patience;
use super::world::World;

impl World {
    pub(crate) fn client_is_told(&mut self, idx: usize, event: ClientEvent) {
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
                (follow.is_sure, follow.from) =
                    (answered.is_some() && !follow.is_left && !subscribed.current_status.is_terminal(), len);
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
                peer.has_holes = true;
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
                    peer.may_be_sent_away || is_takeover && peer.is_restored,
                    "client {idx} was sent away: {reason:?}"
                );
                Some(Mark::PeerClosed)
            }
            other => panic!("client {idx} is closed: {other}"),
        }
    }
}
