//! A transport between a client and a process: in order, as WebSockets and pipes are, but slow, stalled, cut or half dead.

use std::collections::VecDeque;

use arcp_proto::endpoint::ConnId;
use arcp_proto::framing::{LineDecoder, finish_line};
use arcp_proto::wire::SessionId;
use bytes::Bytes;

use super::dice::Dice;

/// Milliseconds of true time.
pub(crate) type Ms = u64;

#[derive(Clone)]
pub(crate) enum Item {
    /// A whole message.
    Frame(Bytes),
    /// Bytes of a stream of lines.
    Chunk(Bytes),
    /// The sender is gone.
    End,
}

/// What becomes of the next event on its way down: two known peers do such things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tamper {
    /// It is overtaken by the next one.
    Swap,
    Repeat,
    Drop,
}

/// One direction.
#[derive(Default)]
pub(crate) struct Way {
    pub(crate) items: VecDeque<(Ms, Item)>,
    last: Ms,
    /// What is sent from now on vanishes.
    pub(crate) is_dead: bool,
    pub(crate) stalled_until: Ms,
    pub(crate) decoder: Option<LineDecoder>,
}

impl Way {
    fn new(lines: bool) -> Way {
        Way { decoder: lines.then(LineDecoder::default), ..Way::default() }
    }

    pub(crate) fn next_at(&self) -> Option<Ms> {
        self.items.front().map(|(at, _)| (*at).max(self.stalled_until))
    }

    fn push_at(&mut self, at: Ms, item: Item) {
        self.last = self.last.max(at);
        self.items.push_back((self.last, item));
    }

    /// Behind all that is on its way, also on a dead way: somebody tells.
    pub(crate) fn end_at(&mut self, at: Ms) {
        self.push_at(at, Item::End);
    }
}

pub(crate) struct Link {
    /// `None`: an intruder's.
    pub(crate) peer: Option<usize>,
    pub(crate) node: usize,
    pub(crate) conn: ConnId,
    pub(crate) up: Way,
    pub(crate) down: Way,
    /// The session that was let in on it.
    pub(crate) session: Option<SessionId>,
    /// The token that its hello presented, and the last event.
    pub(crate) claim: Option<(String, u64)>,
    pub(crate) client_is_here: bool,
    pub(crate) node_is_here: bool,
    /// The resume was refused on it.
    pub(crate) was_refused: bool,
    pub(crate) client_is_excused: bool,
    pub(crate) runtime_is_excused: bool,
    pub(crate) is_judged: bool,
    /// Its last words may not have gone out.
    pub(crate) was_unwritable: bool,
    /// The process has closed it of its own accord.
    pub(crate) was_given_up: bool,
    /// The client was attached on it.
    pub(crate) is_opened: bool,
    pub(crate) has_welcome: bool,
    /// When something last arrived at the process, or it attached.
    pub(crate) heard_at: Ms,
    /// When the client last heard something.
    pub(crate) client_heard_at: Ms,
    pub(crate) tamper: Option<Tamper>,
    pub(crate) held_back: Option<(u64, Bytes)>,
    pub(crate) writable_at: Ms,
    latency: Ms,
    jitter: Ms,
    /// Bytes in a millisecond.
    bandwidth: u64,
    dice: Dice,
}

impl Link {
    pub(crate) fn new(peer: Option<usize>, node: usize, conn: ConnId, now: Ms, lines: bool, mut dice: Dice) -> Link {
        let latency = dice.pick(&[0, 1, 5, 20, 150, 400]);
        let jitter = dice.pick(&[0, 0, 3, 60]);
        let bandwidth = dice.pick(&[1_000_000, 1_000_000, 200, 20]);
        Link {
            peer,
            node,
            conn,
            session: None,
            claim: None,
            up: Way::new(lines),
            down: Way::new(lines),
            client_is_here: true,
            node_is_here: true,
            was_refused: false,
            client_is_excused: peer.is_none(),
            runtime_is_excused: false,
            is_judged: true,
            was_unwritable: false,
            was_given_up: false,
            is_opened: false,
            has_welcome: false,
            heard_at: now,
            client_heard_at: now,
            tamper: None,
            held_back: None,
            writable_at: 0,
            latency,
            jitter,
            bandwidth,
            dice,
        }
    }

    pub(crate) fn way(&mut self, is_up: bool) -> &mut Way {
        if is_up { &mut self.up } else { &mut self.down }
    }

    /// The longest that a small message takes.
    pub(crate) fn slowest(&self) -> Ms {
        self.latency + self.jitter
    }

    pub(crate) fn bandwidth(&self) -> u64 {
        self.bandwidth
    }

    pub(crate) fn send(&mut self, now: Ms, is_up: bool, frame: &Bytes) {
        let takes = self.latency + self.dice.below(self.jitter + 1) + frame.len() as u64 / self.bandwidth;
        let cuts: Vec<u64> = (0..self.dice.below(3)).map(|_| self.dice.below(frame.len() as u64 + 1)).collect();
        let way = self.way(is_up);
        if way.is_dead {
            return;
        }
        if way.decoder.is_none() {
            return way.push_at(now + takes, Item::Frame(frame.clone()));
        }
        let mut line = Vec::new();
        finish_line(frame, &mut line);
        let mut line = Bytes::from(line);
        for cut in cuts {
            let chunk = line.split_to((cut as usize).min(line.len()));
            if !chunk.is_empty() {
                way.push_at(now + takes, Item::Chunk(chunk));
            }
        }
        if !line.is_empty() {
            way.push_at(now + takes + 1, Item::Chunk(line));
        }
    }

    /// The client is gone for good.
    pub(crate) fn end_up(&mut self, now: Ms) {
        let at = now + self.latency;
        if !self.up.is_dead {
            self.up.end_at(at);
            self.up.is_dead = true;
        }
    }

    pub(crate) fn end_down(&mut self, now: Ms) {
        let at = now + self.latency;
        if !self.down.is_dead {
            self.down.end_at(at);
            self.down.is_dead = true;
        }
    }

    /// From now on nothing that is said goes anywhere; of what is on its way, some may still arrive.
    pub(crate) fn kill(&mut self, is_up: bool, keeps: bool) {
        let lost = self.dice.roll();
        let way = self.way(is_up);
        let keep = if keeps { lost % (way.items.len() as u64 + 1) } else { 0 };
        way.items.truncate(keep as usize);
        way.is_dead = true;
    }
}
