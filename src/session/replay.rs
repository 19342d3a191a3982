//! The replay buffer: every event once, in one ring; the wire is a cursor over it (D19, D27).

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::arena::{Arena, repack};
use super::snapshot::RestoreError;
use crate::wire::SEQ_LIMIT;

/// What may be freed to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evictable {
    /// Nothing: what is here is not acknowledged.
    Nothing,
    /// What was sent: there are no acknowledgements (D19).
    Sent,
    /// Anything, the oldest first.
    Anything,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// A window without its events.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Numbers {
    pub(super) floor: u64,
    pub(super) highest: u64,
    pub(super) transmitted: u64,
    pub(super) acked: u64,
}

#[derive(Clone, Debug, Default)]
struct Events {
    frames: VecDeque<Bytes>,
    arena: Arena,
}

static NONE: VecDeque<Bytes> = VecDeque::new();

#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// `None`: there never was one. Boxed, for a runtime keeps many sessions at rest.
    events: Option<Box<Events>>,
    bytes: usize,
    /// The highest seq freed: the first frame here has the next one.
    floor: u64,
    /// The last seq handed to the present transport; to the last one, while there is none.
    cursor: u64,
    /// The bytes of what is behind the cursor, unsent.
    unsent_bytes: usize,
    /// The highest seq ever handed to a transport.
    transmitted: u64,
    /// The highest seq that came out of a snapshot: whoever had the session before may have sent it.
    restored: u64,
    /// The highest seq acknowledged.
    acked: u64,
}

impl Window {
    /// The seq of the last event recorded.
    #[inline]
    pub(super) fn highest(&self) -> u64 {
        self.floor + self.len() as u64
    }

    #[inline]
    fn frames(&self) -> &VecDeque<Bytes> {
        self.events.as_ref().map_or(&NONE, |events| &events.frames)
    }

    /// An empty buffer for the next event, which is expected to be so long.
    #[inline]
    pub(super) fn open(&mut self, expected: usize) -> &mut BytesMut {
        self.events.get_or_insert_default().arena.open(expected)
    }

    /// The length of what is in that buffer.
    #[inline]
    pub(super) fn opened_len(&self) -> usize {
        self.events.as_ref().map_or(0, |events| events.arena.len())
    }

    /// What is in that buffer is not recorded.
    pub(super) fn discard(&mut self) {
        if let Some(events) = &mut self.events {
            events.arena.discard();
        }
    }

    /// Records what is in that buffer.
    #[inline]
    pub(super) fn close(&mut self) {
        let events = self.events.get_or_insert_default();
        let frame = events.arena.close();
        self.bytes += frame.len();
        self.unsent_bytes += frame.len();
        events.frames.push_back(frame);
    }

    #[inline]
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    #[inline]
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The highest seq that a client can have.
    pub(super) fn transmitted(&self) -> u64 {
        self.transmitted.max(self.restored)
    }

    #[inline]
    pub(super) fn acked(&self) -> u64 {
        self.acked
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.frames().len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Events and bytes that cannot be freed.
    #[inline]
    pub(super) fn held(&self, evictable: Evictable) -> (usize, usize) {
        match evictable {
            Evictable::Nothing => (self.frames().len(), self.bytes),
            Evictable::Sent => ((self.highest() - self.cursor) as usize, self.unsent_bytes),
            Evictable::Anything => (0, 0),
        }
    }

    /// Whether an event of `len` bytes fits, if need be after freeing what may be freed.
    #[inline]
    pub(super) fn fits(&self, len: usize, evictable: Evictable, capacity: Capacity) -> bool {
        let (events, bytes) = self.held(evictable);
        events < capacity.events && bytes.saturating_add(len) <= capacity.bytes
    }

    /// Whether at most half of the capacity is taken by what cannot be freed.
    pub(super) fn is_half_empty(&self, evictable: Evictable, capacity: Capacity) -> bool {
        let (events, bytes) = self.held(evictable);
        events <= capacity.events / 2 && bytes <= capacity.bytes / 2
    }

    /// Frees the oldest events until another of `len` bytes fits. Whoever calls has seen that it can.
    #[inline]
    pub(super) fn make_room(&mut self, len: usize, capacity: Capacity) {
        while !self.frames().is_empty()
            && (self.frames().len() >= capacity.events || self.bytes.saturating_add(len) > capacity.bytes)
        {
            self.free_oldest();
        }
    }

    #[inline]
    fn free_oldest(&mut self) {
        if let Some(frame) = self.events.as_mut().and_then(|events| events.frames.pop_front()) {
            self.floor += 1;
            self.bytes -= frame.len();
            if self.floor > self.cursor {
                self.unsent_bytes -= frame.len();
            }
        }
    }

    /// Takes an acknowledgement up to `seq`, which was transmitted; says whether it was news. What is acknowledged
    /// is freed, and not sent again (D24).
    pub(super) fn ack(&mut self, seq: u64) -> bool {
        if seq <= self.acked {
            return false;
        }
        self.acked = seq;
        self.transmitted = self.transmitted.max(seq);
        while self.cursor < seq && self.advance().is_some() {}
        while self.floor < seq && !self.frames().is_empty() {
            self.free_oldest();
        }
        if let Some(events) = self.events.as_mut().filter(|events| events.frames.is_empty()) {
            events.arena.rest();
            if events.frames.capacity() > 1_024 {
                events.frames = VecDeque::new();
            }
        }
        true
    }

    #[inline]
    fn at(&self, seq: u64) -> Option<&Bytes> {
        let index = seq.checked_sub(self.floor + 1)?;
        self.frames().get(usize::try_from(index).ok()?)
    }

    #[inline]
    fn advance(&mut self) -> Option<Bytes> {
        let frame = self.at(self.cursor + 1)?.clone();
        self.cursor += 1;
        self.unsent_bytes -= frame.len();
        Some(frame)
    }

    /// The next event for the present transport, if there is one up to `last`.
    #[inline]
    pub(super) fn next_frame(&mut self, last: u64) -> Option<Bytes> {
        if self.cursor >= last {
            return None;
        }
        let frame = self.advance()?;
        self.transmitted = self.transmitted.max(self.cursor);
        Some(frame)
    }

    /// Whether eviction has passed the cursor: the present transport would see a hole.
    #[inline]
    pub(super) fn is_overrun(&self) -> bool {
        self.floor > self.cursor
    }

    /// Without a transport, eviction only raises the floor.
    pub(super) fn follow_floor(&mut self) {
        self.cursor = self.cursor.max(self.floor);
    }

    /// Whether a client that has everything up to `seq` can be given the rest (D14).
    pub(super) fn covers(&self, seq: u64) -> bool {
        self.floor <= seq && seq <= self.transmitted()
    }

    /// A new transport begins behind `seq`.
    pub(super) fn attach(&mut self, seq: u64) {
        self.transmitted = self.transmitted.max(seq);
        self.move_cursor(seq);
    }

    /// There is no transport: what was ever sent counts as sent.
    pub(super) fn detach(&mut self) {
        self.move_cursor(self.transmitted.max(self.floor));
        // A session may be without a transport for long: it holds no more than what it is counted with.
        if let Some(events) = &mut self.events {
            events.arena = Arena::default();
            repack(events.frames.iter_mut());
            repack(events.frames.iter_mut().rev());
        }
    }

    fn move_cursor(&mut self, seq: u64) {
        self.cursor = seq;
        let sent = usize::try_from(seq.saturating_sub(self.floor)).unwrap_or(usize::MAX);
        self.unsent_bytes = self.frames().iter().skip(sent).map(Bytes::len).sum();
    }

    pub(super) fn numbers(&self) -> Numbers {
        Numbers { floor: self.floor, highest: self.highest(), transmitted: self.transmitted, acked: self.acked }
    }

    /// The events behind `seq`, as far as they are here.
    pub(super) fn since(&self, seq: u64) -> impl DoubleEndedIterator<Item = (u64, Bytes)> + '_ {
        let first = seq.clamp(self.floor, self.highest());
        let skipped = usize::try_from(first - self.floor).unwrap_or(usize::MAX).min(self.frames().len());
        let events = self.frames().range(skipped..).enumerate();
        events.map(move |(n, frame)| (first + 1 + n as u64, frame.clone()))
    }

    /// The window with these numbers, still without its events.
    pub(super) fn restored(numbers: Numbers) -> Result<Window, RestoreError> {
        let Numbers { floor, highest, transmitted, acked } = numbers;
        if highest >= SEQ_LIMIT || floor > highest || transmitted > highest || acked > floor.min(transmitted) {
            return Err(RestoreError::Header("its place in the sequence contradicts itself"));
        }
        Ok(Window { floor, transmitted, acked, ..Window::default() })
    }

    /// Puts the next event back. What is missing before the first one was freed after the numbers were taken.
    pub(super) fn put_back(&mut self, seq: u64, frame: Bytes) -> Result<(), RestoreError> {
        let expected = self.highest() + 1;
        if self.frames().is_empty() && seq > expected {
            self.floor = seq - 1;
        } else if seq != expected {
            return Err(RestoreError::Hole { expected, found: seq });
        }
        self.bytes += frame.len();
        self.events.get_or_insert_default().frames.push_back(frame);
        Ok(())
    }

    /// All events are back, those that the window of these `numbers` had among them. Any of them may have been sent (D14,
    /// D24), or those up to `sent_at_most`, where there was no transport for the others; but only what is known to have been
    /// counts so when room is made (D19).
    pub(super) fn put_back_all(&mut self, numbers: Numbers, sent_at_most: Option<u64>) -> Result<(), RestoreError> {
        let (last, known) = (self.highest(), numbers.highest);
        if last < known {
            return Err(RestoreError::EventsMissing { last, known });
        }
        // What is missing now was freed since, and may have been sent before; what was freed by then, unsent, was not.
        let freed_since = if self.floor > numbers.floor { self.floor } else { 0 };
        self.restored = sent_at_most.map_or(last, |sent| sent.max(freed_since).min(last));
        self.detach();
        Ok(())
    }
}

#[cfg(feature = "model")]
impl Window {
    pub(super) fn digest(&self, digest: &mut super::digest::Digest<'_>) {
        let Window { events: _, bytes: _, floor, cursor, unsent_bytes: _, transmitted, restored, acked } = self;
        for number in [*floor, *cursor, *transmitted, *restored, *acked, self.len() as u64] {
            digest.number(number);
        }
        self.frames().iter().for_each(|frame| digest.frame(frame));
    }
}
