//! Where events are written: one behind the other into chunks, so that most of them cost no allocation.
//!
//! A chunk lives as long as any event in it, and events go in the order in which they came. So beside the bytes of the events
//! that are kept, at most [`CHUNK`] bytes are held in front of them (the first chunk's, whose events are gone) and as much
//! behind them (the last one's, to be filled). An event that is longer than half of that has its own memory, of which an
//! eighth may be empty.

use bytes::{Bytes, BytesMut};

/// The size of a chunk in bytes, at most. They begin small, for there are many sessions with little to say.
pub(super) const CHUNK: usize = 16 << 10;
const FIRST: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Arena {
    chunk: BytesMut,
    /// Of the last chunk.
    size: usize,
}

impl Arena {
    /// An empty buffer, in which a frame of the expected length fits without another allocation.
    #[inline]
    pub(super) fn open(&mut self, expected: usize) -> &mut BytesMut {
        self.chunk.clear();
        if self.chunk.capacity() < expected {
            self.renew(expected);
        }
        &mut self.chunk
    }

    #[cold]
    fn renew(&mut self, expected: usize) {
        self.size = (self.size * 2).clamp(FIRST, CHUNK);
        let own = if expected > CHUNK / 2 { expected } else { self.size.max(expected) };
        self.chunk = BytesMut::with_capacity(own);
    }

    /// The length of what is in the buffer.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.chunk.len()
    }

    /// What is in the buffer, to be kept.
    #[inline]
    pub(super) fn close(&mut self) -> Bytes {
        if self.chunk.len() > CHUNK / 2 {
            return self.close_long();
        }
        self.chunk.split().freeze()
    }

    #[cold]
    fn close_long(&mut self) -> Bytes {
        let long = core::mem::take(&mut self.chunk);
        let spare = long.capacity() - long.len();
        if spare > long.len() / 8 { Bytes::copy_from_slice(&long) } else { long.freeze() }
    }

    /// What is in the buffer is not kept, nor is more room than for what is usual.
    pub(super) fn discard(&mut self) {
        self.chunk.clear();
        if self.chunk.capacity() > CHUNK {
            self.chunk = BytesMut::new();
        }
    }

    /// Nothing is kept any more. Whoever has little to say between two such times has small chunks.
    pub(super) fn rest(&mut self) {
        *self = Arena { chunk: BytesMut::new(), size: self.size / 2 };
    }
}

/// Puts frames that may hold more than themselves into memory of their own, and of the right length: as many as one
/// chunk can have, the first of these.
pub(super) fn repack<'a>(frames: impl Iterator<Item = &'a mut Bytes>) {
    let mut len = 0;
    let first = frames.take_while(|frame| {
        len += frame.len();
        len <= CHUNK
    });
    let mut first: alloc::vec::Vec<&mut Bytes> = first.collect();
    let mut packed = BytesMut::with_capacity(first.iter().map(|frame| frame.len()).sum());
    for frame in &first {
        packed.extend_from_slice(frame);
    }
    for frame in &mut first {
        **frame = packed.split_to(frame.len()).freeze();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn written(arena: &mut Arena, expected: usize, frame: &[u8]) -> Bytes {
        arena.open(expected).extend_from_slice(frame);
        assert_eq!(arena.len(), frame.len());
        arena.close()
    }

    #[test]
    fn frames_share_chunks_that_grow_to_a_limit_and_shrink_at_rest() {
        let mut arena = Arena::default();
        let mut sizes = vec![];
        for n in 0..1_000_u32 {
            let frame = [n as u8; 300];
            assert_eq!(written(&mut arena, 300, &frame), &frame[..]);
            sizes.push(arena.size);
        }
        assert!(sizes.is_sorted());
        assert_eq!((sizes[0], sizes[999]), (FIRST, CHUNK));
        for _ in 0..10 {
            arena.rest();
        }
        written(&mut arena, 300, &[1; 300]);
        assert_eq!(arena.size, FIRST);
    }

    #[test]
    fn what_was_not_closed_is_dropped() {
        let mut arena = Arena::default();
        arena.open(10).extend_from_slice(b"refused");
        assert_eq!(written(&mut arena, 10, b"taken"), &b"taken"[..]);
        arena.open(10).resize(1 << 20, b'x');
        arena.discard();
        assert!(arena.chunk.capacity() <= CHUNK);
    }

    #[test]
    fn a_long_frame_has_memory_of_its_own() {
        let mut arena = Arena::default();
        for len in [CHUNK / 2, CHUNK / 2 + 1, CHUNK, 100_000] {
            for expected in [len, 256] {
                let frame: Vec<u8> = (0..len).map(|n| n as u8).collect();
                assert_eq!(written(&mut arena, expected, &frame), frame);
                assert!(arena.chunk.capacity() <= CHUNK);
            }
        }
    }

    #[test]
    fn repacked_frames_are_the_same() {
        let whole = Bytes::from_owner(vec![7; 100_000]);
        let mut frames: Vec<Bytes> = (0..100).map(|n| whole.slice(n * 1_000..(n + 1) * 1_000)).collect();
        let before = frames.clone();
        repack(frames.iter_mut());
        repack(frames.iter_mut().rev());
        assert_eq!(frames, before);
        let is_moved = |n: usize| frames[n].as_ptr() != before[n].as_ptr();
        assert_eq!((0..100).filter(|n| is_moved(*n)).count(), 2 * (CHUNK / 1_000));
        assert!(is_moved(0) && is_moved(99) && !is_moved(50));
    }
}
