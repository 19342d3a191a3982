//! What a session is, as a number: two that go on alike give the same one (feature `model`).
//!
//! A model checker knows a state again by it. So it leaves out what says when and how often something happened and
//! nothing of what will: deadlines count from now, and ids and tokens, which are only ever compared, go by the order in
//! which they are met.

use core::hash::Hasher;

use alloc::vec::Vec;

use crate::time::Instant;
use crate::wire::ResumeToken;

/// Takes in sessions and frames of one world, always in the same order, and gives their hash to a hasher of the caller's.
///
/// *Left out*: what was configured, for it does not change; wall clock times; caches; how many message ids were given out; how
/// many *bytes* wait, or fit, for that goes by the length of ids: a world is to have its limits in events and frames.
pub struct Digest<'a> {
    hasher: &'a mut dyn Hasher,
    now: Instant,
    /// The ids and tokens that were met.
    names: Vec<u64>,
}

impl core::fmt::Debug for Digest<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Digest").field("now", &self.now).field("names", &self.names.len()).finish_non_exhaustive()
    }
}

impl<'a> Digest<'a> {
    /// One that counts deadlines from `now`.
    pub fn new(now: Instant, hasher: &'a mut dyn Hasher) -> Digest<'a> {
        Digest { hasher, now, names: Vec::new() }
    }

    /// A number as it is.
    pub fn number(&mut self, number: u64) {
        self.hasher.write_u64(number);
    }

    /// Yes or no.
    pub fn flag(&mut self, flag: bool) {
        self.hasher.write_u8(flag.into());
    }

    /// A moment, seen from now, before it or after.
    pub fn time(&mut self, at: Instant) {
        let nanos = |at: Instant| at.as_duration().as_nanos() as u64;
        self.number(if at == Instant::MAX { 1 << 63 } else { nanos(at).wrapping_sub(nanos(self.now)) });
    }

    /// A moment that may not be set.
    pub fn time_if_set(&mut self, at: Option<Instant>) {
        self.time(at.unwrap_or(Instant::MAX));
    }

    /// A text as it is.
    pub fn text(&mut self, text: &[u8]) {
        self.hasher.write(text);
        self.hasher.write_u8(0xff);
    }

    /// A message id or a nonce.
    pub fn id(&mut self, id: &[u8]) {
        // FNV-1a: of a few dozen ids at a time.
        self.name(
            id.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)),
        );
    }

    /// A resume token by its SHA-256, which is all that a runtime has of it.
    pub fn token(&mut self, digest: &[u8; 32]) {
        let (first, _) = digest.split_first_chunk().unwrap_or((&[0; 8], &[]));
        self.name(u64::from_le_bytes(*first));
    }

    fn name(&mut self, name: u64) {
        let met = self.names.iter().position(|known| *known == name);
        let place = met.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        });
        self.number(place as u64);
    }

    /// A frame, or any text with ids, tokens and times between quotation marks.
    pub fn frame(&mut self, frame: &[u8]) {
        for piece in frame.split(|byte| *byte == b'"') {
            if piece.starts_with(b"msg_") || piece.starts_with(b"p_") {
                self.id(piece);
            } else if piece.starts_with(b"rt_") {
                self.token(&ResumeToken::new(alloc::string::String::from_utf8_lossy(piece)).digest());
            } else if !is_timestamp(piece) {
                self.hasher.write(piece);
            }
            self.hasher.write_u8(b'"');
        }
        self.hasher.write_u8(0xff);
    }
}

/// `2026-05-13T19:42:13.020Z`.
fn is_timestamp(text: &[u8]) -> bool {
    text.len() == 24 && matches!(text, [_, _, _, _, b'-', _, _, b'-', _, _, b'T', .., b'Z'])
}
