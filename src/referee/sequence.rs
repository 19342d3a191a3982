//! A session's sequence (§8.3) as it passes over the wire, transport after transport.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;

use super::finding::{Charges, Side};
use super::memory::Print;
use super::rule::Rule;

/// How many events' contents are remembered, to be compared with a replay: a little more than a window of D19.
const MAX_KEPT: usize = 10_240;
/// A hole is a hole when so many events have come behind it; until then it may be disorder (D28).
const REORDER: u32 = 64;
const MAX_HOLES: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Hole {
    from: u64,
    to: u64,
    /// Events that have come since.
    age: u32,
}

/// What is known of a session's sequence.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    /// What the present transport should bring next.
    next: u64,
    /// The highest ever sent, on any transport.
    highest: u64,
    /// [`highest`](Sequence::highest) when the present transport was attached: up to there it is a replay.
    replay_to: u64,
    holes: Vec<Hole>,
    /// A hole was given up on this transport.
    torn: bool,
    /// Contents by seq; the first is of seq `base`.
    kept: VecDeque<Option<Print>>,
    base: u64,
}

/// What an event is to the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Sent for the first time.
    First,
    /// Sent before.
    Again,
}

impl Sequence {
    pub(super) const fn new() -> Sequence {
        Sequence { next: 1, highest: 0, replay_to: 0, holes: Vec::new(), torn: false, kept: VecDeque::new(), base: 1 }
    }

    /// A sequence whose beginning was not seen.
    pub(super) const fn from(last_event_seq: u64) -> Sequence {
        let next = last_event_seq.saturating_add(1);
        Sequence {
            next,
            highest: last_event_seq,
            replay_to: 0,
            holes: Vec::new(),
            torn: false,
            kept: VecDeque::new(),
            base: next,
        }
    }

    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether something was missing on this transport: the client has a reason to leave.
    pub(super) fn broken(&self) -> bool {
        self.torn || !self.holes.is_empty()
    }

    /// A transport is attached to a client that has all up to `last_event_seq`.
    pub(super) fn attach(&mut self, last_event_seq: u64) {
        self.next = last_event_seq.saturating_add(1);
        self.replay_to = self.highest;
        self.holes.clear();
        self.torn = false;
    }

    /// The transport has ended; `complete` unless it ended too early for a replay to be expected whole.
    pub(super) fn detach(&mut self, charges: &mut Charges, complete: bool) {
        for hole in core::mem::take(&mut self.holes) {
            self.accuse(charges, hole.from, hole.to);
        }
        if complete && self.next <= self.replay_to {
            self.accuse(charges, self.next, self.replay_to);
            self.next = self.replay_to.saturating_add(1);
        }
        self.replay_to = 0;
    }

    pub(super) fn take(&mut self, charges: &mut Charges, seq: u64, print: Print) -> Seen {
        if let Some(at) = self.holes.iter().position(|hole| (hole.from..=hole.to).contains(&seq)) {
            charges.bring(Side::Runtime, Rule::SeqOrder, format!("{seq} behind {}", self.next.saturating_sub(1)));
            self.fill(at, seq);
        } else if seq < self.next {
            charges.bring(Side::Runtime, Rule::SeqRepeated, format!("{seq}, expected {}", self.next));
        } else {
            if seq > self.next {
                self.open(charges, seq);
            }
            self.next = seq.saturating_add(1);
        }
        for hole in &mut self.holes {
            hole.age += 1;
        }
        while let Some(at) = self.holes.iter().position(|hole| hole.age > REORDER) {
            let hole = self.holes.remove(at);
            self.torn = true;
            self.accuse(charges, hole.from, hole.to);
        }
        self.keep(charges, seq, print)
    }

    fn open(&mut self, charges: &mut Charges, seq: u64) {
        if self.holes.len() == MAX_HOLES {
            let hole = self.holes.remove(0);
            self.accuse(charges, hole.from, hole.to);
        }
        self.holes.push(Hole { from: self.next, to: seq - 1, age: 0 });
    }

    fn fill(&mut self, at: usize, seq: u64) {
        let hole = self.holes.remove(at);
        for (from, to) in [(hole.from, seq - 1), (seq + 1, hole.to)] {
            if from <= to && self.holes.len() < MAX_HOLES {
                self.holes.push(Hole { from, to, age: hole.age });
            }
        }
    }

    fn accuse(&self, charges: &mut Charges, from: u64, to: u64) {
        let detail = if from == to { format!("{from} never came") } else { format!("{from} to {to} never came") };
        let rule = if from <= self.replay_to {
            Rule::ReplayHole
        } else if from == 1 {
            Rule::FirstSeq
        } else {
            Rule::SeqGap
        };
        charges.bring(Side::Runtime, rule, detail);
    }

    /// Compares with what was sent under this number, or remembers it.
    fn keep(&mut self, charges: &mut Charges, seq: u64, print: Print) -> Seen {
        if seq > self.highest.saturating_add(MAX_KEPT as u64) || self.kept.is_empty() {
            self.kept.clear();
            self.base = seq;
        }
        let seen = match seq.checked_sub(self.base) {
            None if seq <= self.highest => Seen::Again,
            None => Seen::First,
            Some(at) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX).min(2 * MAX_KEPT);
                while self.kept.len() <= at {
                    self.kept.push_back(None);
                }
                match self.kept.get_mut(at) {
                    Some(Some(sent)) => {
                        if *sent != print {
                            charges.bring(Side::Runtime, Rule::ReplayChanged, format!("{seq}"));
                        }
                        Seen::Again
                    }
                    Some(place) => {
                        *place = Some(print);
                        Seen::First
                    }
                    None => Seen::First,
                }
            }
        };
        while self.kept.len() > MAX_KEPT {
            self.kept.pop_front();
            self.base += 1;
        }
        self.highest = self.highest.max(seq);
        seen
    }
}
