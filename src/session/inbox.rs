//! Events that wait to be polled, with a limit in bytes (D43).

use alloc::collections::VecDeque;

/// What an event counts beside the frame that it holds.
const EVENT_COST: usize = 128;

#[derive(Clone, Debug)]
struct Waiting<E> {
    /// `None`: nothing to tell, but its place in the sequence is passed. Never the first that waits.
    event: Option<E>,
    /// Its place in the sequence; 0: none.
    seq: u64,
    cost: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Inbox<E> {
    events: VecDeque<Waiting<E>>,
    bytes: usize,
}

impl<E> Inbox<E> {
    pub(super) const fn new() -> Inbox<E> {
        Inbox { events: VecDeque::new(), bytes: 0 }
    }

    /// Queues an event that holds `frame_len` bytes of a frame.
    pub(super) fn push(&mut self, event: E, frame_len: usize) {
        self.push_at(Some(event), 0, frame_len);
    }

    /// Queues an event, or nothing, that has the place `seq` in the sequence.
    pub(super) fn push_at(&mut self, event: Option<E>, seq: u64, frame_len: usize) {
        let cost = frame_len.saturating_add(EVENT_COST);
        self.bytes = self.bytes.saturating_add(cost);
        self.events.push_back(Waiting { event, seq, cost });
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<(Option<E>, u64)> {
        if self.events.is_empty() {
            return None;
        }
        let (event, seq, cost) = self.pop_held()?;
        self.release(cost);
        Some((event, seq))
    }

    /// The next place, if it has nothing to tell.
    #[inline]
    pub(super) fn pop_silent(&mut self) -> Option<u64> {
        self.events.front().filter(|next| next.event.is_none())?;
        self.pop().map(|(_, seq)| seq)
    }

    /// Takes the next out of the queue, and lets it count until what it costs is released.
    #[inline]
    pub(super) fn pop_held(&mut self) -> Option<(Option<E>, u64, usize)> {
        let Waiting { event, seq, cost } = self.events.pop_front()?;
        if self.events.is_empty() && self.events.capacity() > 64 {
            self.events = VecDeque::new();
        }
        Some((event, seq, cost))
    }

    pub(super) fn release(&mut self, cost: usize) {
        self.bytes = self.bytes.saturating_sub(cost);
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a frame of that length may still come, `held` bytes waiting elsewhere. One always may while nothing
    /// waits.
    pub(super) fn admits(&self, frame_len: usize, held: usize, limit: usize) -> bool {
        let waiting = self.bytes.saturating_add(held);
        waiting == 0 || waiting.saturating_add(frame_len).saturating_add(EVENT_COST) <= limit
    }
}

#[cfg(feature = "model")]
impl<E: core::fmt::Debug> Inbox<E> {
    pub(super) fn digest(&self, digest: &mut super::digest::Digest<'_>) {
        let Inbox { events, bytes: _ } = self;
        digest.number(events.len() as u64);
        for Waiting { event, seq, cost: _ } in events {
            digest.number(*seq);
            digest.frame(alloc::format!("{event:?}").as_bytes());
        }
    }
}
