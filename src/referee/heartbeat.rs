//! Signs of life on one transport (§6.4): who pinged, who was silent for how long.

use alloc::collections::VecDeque;
use alloc::format;
use core::time::Duration;

use super::finding::{Charges, Side};
use super::memory::Print;
use super::rule::Rule;
use crate::time::Instant;

const MAX_OPEN: usize = 64;

#[derive(Clone, Copy, Debug)]
struct OpenPing {
    nonce: Print,
    at: Instant,
    /// It was already said that nobody answered in time.
    late: bool,
}

/// One side's signs of life.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse {
    /// Pings of this side that the other has not answered.
    open: VecDeque<OpenPing>,
    /// Some were forgotten: a pong for one of them is not out of the blue.
    forgotten: bool,
    /// The last frame of any kind, or the attach.
    pub(super) last: Instant,
    /// The last ping, the attach, or the last time that one was missed.
    last_ping: Instant,
    /// This silence was already held against someone.
    idle_said: bool,
    kept_said: bool,
}

impl Pulse {
    pub(super) fn attach(&mut self, at: Instant) {
        *self = Pulse { last: at, last_ping: at, ..Pulse::default() };
    }

    pub(super) fn frame(&mut self, at: Instant) {
        self.last = at;
        self.idle_said = false;
        self.kept_said = false;
    }

    pub(super) fn ping(&mut self, nonce: &str, at: Instant) {
        self.last_ping = at;
        if self.open.len() == MAX_OPEN {
            self.open.pop_front();
            self.forgotten = true;
        }
        self.open.push_back(OpenPing { nonce: Print::of(nonce), at, late: false });
    }

    /// A pong for a ping of this side; whether it answers one.
    pub(super) fn pong(&mut self, nonce: &str) -> bool {
        let nonce = Print::of(nonce);
        match self.open.iter().position(|ping| ping.nonce == nonce) {
            Some(at) => self.open.remove(at).is_some(),
            None => self.forgotten,
        }
    }

    /// Pings of `side`, whose pulse this is, that were not answered within `limit`.
    pub(super) fn unanswered(&mut self, charges: &mut Charges, side: Side, now: Instant, limit: Duration) {
        for ping in self.open.iter_mut().filter(|ping| !ping.late && now - ping.at > limit) {
            ping.late = true;
            charges.bring(side.other(), Rule::PingUnanswered, format!("open for {} ms", (now - ping.at).as_millis()));
        }
    }

    /// The runtime's pings, one every interval (A7).
    pub(super) fn omitted(&mut self, charges: &mut Charges, now: Instant, limit: Duration) {
        let since = now - self.last_ping;
        if since > limit {
            self.last_ping = now;
            charges.bring(Side::Runtime, Rule::PingOmitted, format!("none for {} ms", since.as_millis()));
        }
    }

    /// The client's silence, as the client's fault (D21) …
    pub(super) fn idle(&mut self, charges: &mut Charges, now: Instant, limit: Duration) {
        if now - self.last > limit && !self.idle_said {
            self.idle_said = true;
            charges.bring(Side::Client, Rule::ClientIdle, format!("silent for {} ms", (now - self.last).as_millis()));
        }
    }

    /// … and as that of a runtime which puts up with it (A8).
    pub(super) fn kept(&mut self, charges: &mut Charges, now: Instant, limit: Duration) {
        if now - self.last > limit && !self.kept_said {
            self.kept_said = true;
            let silence = (now - self.last).as_millis();
            charges.bring(Side::Runtime, Rule::SilenceKept, format!("the client was silent for {silence} ms"));
        }
    }
}
