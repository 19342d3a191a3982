//! The referee, who looks at each frame as it is sent, and what it is not to be believed in.

use std::time::Duration;

use arcp_proto::Instant;
use arcp_proto::endpoint::Durability;
use arcp_proto::referee::{Finding, Referee, Rule, Side};
use bytes::Bytes;

use super::world::World;

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

/// What a client may not do whatever befalls its transport.
const CLIENT_ALWAYS: &[Rule] = &[
    Rule::Unnegotiated,
    Rule::MessageId,
    Rule::MessageIdRepeated,
    Rule::AckBeyond,
    Rule::AckBackwards,
    Rule::AckShape,
    Rule::StaleToken,
    Rule::ResumeBeyond,
    Rule::AfterFarewell,
];

/// The slowest link is that much behind.
pub(crate) const TOLERANCE: Duration = Duration::from_millis(1_500);

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

    /// To the referee the link has ended.
    pub(crate) fn close_judged(&mut self, idx: usize) {
        self.judge(idx, |referee, conn, at| referee.close(conn, at));
        self.links[idx].is_judged = false;
    }

    /// The referee sees no more of a link, though it goes on.
    pub(crate) fn look_away(&mut self, idx: usize) {
        self.links[idx].is_judged = false;
        if let Some(peer) = self.links[idx].peer {
            self.peers[peer].is_half_seen = true;
        }
    }

    pub(crate) fn judge(&mut self, idx: usize, look: impl FnOnce(&mut Referee, u64, Instant) -> Vec<Finding>) {
        if let Some(referee) = self.referee.as_mut().filter(|_| self.links[idx].is_judged) {
            let findings = look(referee, idx as u64, Instant::from_millis(self.now));
            self.blame(findings);
        }
    }

    pub(crate) fn blame(&self, findings: Vec<Finding>) {
        for finding in findings {
            let link = self.links.get(finding.conn as usize);
            let is_excused = link.is_some_and(|link| match finding.side {
                Side::Client => {
                    let peer = link.peer.map(|peer| &self.peers[peer]);
                    let may = match finding.rule {
                        Rule::AckBackwards => peer.is_some_and(|peer| peer.went_back),
                        Rule::StaleToken => peer.is_some_and(|peer| peer.went_back || peer.was_overtaken),
                        Rule::MessageIdRepeated => peer.is_some_and(|peer| peer.lived_twice),
                        Rule::ResumeBeyond | Rule::AckBeyond => peer.is_some_and(|peer| peer.is_half_seen),
                        _ => false,
                    };
                    may || link.client_is_excused && !CLIENT_ALWAYS.contains(&finding.rule)
                }
                Side::Runtime => {
                    let is_slow = link.runtime_is_excused && TIMING.contains(&finding.rule);
                    is_slow || link.was_unwritable && LAST_WORDS.contains(&finding.rule)
                }
            });
            // A process that is put aside ends its transports without a word, and a goodbye may be on its way to it.
            let is_of_many = self.plan.nodes > 1
                && (matches!(
                    finding.rule,
                    Rule::StaleToken | Rule::PressureRepeated | Rule::CloseUnanswered | Rule::ByeUnanswered
                ) || LAST_WORDS.contains(&finding.rule));
            // What was not stored in time is forgotten, and its place is given out again to whoever has not seen it.
            let is_batched = self.plan.endpoint.durability == Durability::Batched;
            let is_forgotten = is_batched
                && matches!(
                    finding.rule,
                    Rule::ReplayChanged | Rule::ReplayHole | Rule::ResumeBeyond | Rule::AckBeyond
                )
                || is_batched && finding.rule == Rule::MessageIdRepeated && finding.side == Side::Runtime;
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
