//! A byte stream cut into messages: one JSON envelope a line, as on stdio (D38).
//!
//! A transport that keeps messages apart by itself (WebSocket) needs none of this. On a byte stream a driver
//! feeds what it reads to a [`LineDecoder`], hands each line to the session, and sends with [`finish_line`].
//!
//! ```
//! use std::io::Read;
//!
//! use arcp_proto::framing::{LineDecoder, finish_line};
//! use arcp_proto::wire::Envelope;
//! use bytes::{Bytes, BytesMut};
//!
//! # let mut stdin = &b"\xef\xbb\xbf{\"type\":\"session.bye\"}\r\n\r\n  \n{\"type\":\"x-vendor.note\"}"[..];
//! let mut decoder = LineDecoder::default();
//! let mut received = Vec::new();
//! let mut take = |line: Result<Bytes, _>| match line {
//!     Ok(line) => received.push(Envelope::decode(line)), // a driver: session.handle_input(now, line)
//!     Err(too_long) => eprintln!("{too_long}"),
//! };
//! loop {
//!     let mut chunk = BytesMut::zeroed(16 * 1024);
//!     let len = stdin.read(&mut chunk)?;
//!     if len == 0 {
//!         break;
//!     }
//!     chunk.truncate(len);
//!     decoder.push(chunk.freeze());
//!     while let Some(line) = decoder.next_line() {
//!         take(line);
//!     }
//!     if decoder.has_partial_line() {
//!         // A driver: session.handle_activity(now). The peer lives, though its message is not whole yet.
//!     }
//! }
//! while let Some(line) = decoder.finish() {
//!     take(line);
//! }
//! assert_eq!(received.len(), 2);
//!
//! let mut out = Vec::new();
//! finish_line(br#"{"type":"session.bye"}"#, &mut out);
//! assert_eq!(out, b"{\"type\":\"session.bye\"}\n");
//! # Ok::<(), std::io::Error>(())
//! ```

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::mem;

use bytes::Bytes;

use crate::wire::FrameFault;

/// A line of less than one part in so many of its chunk is copied out of it.
const SMALL_PART: usize = 4;

/// U+FEFF in UTF-8, which some writers put before the first line.
const BOM: [u8; 3] = *b"\xef\xbb\xbf";

/// Cuts a byte stream into lines, however the stream was split on its way (D38).
///
/// A line ends with LF; a CR before it is stripped; lines of nothing but whitespace are skipped, and so is a
/// byte order mark at the very start. What is in a line is not looked at.
///
/// Feed it with [`push`](LineDecoder::push), then take lines until [`next_line`](LineDecoder::next_line) returns
/// `None`. A decoder that is emptied after each chunk never holds more than the limit (and a CR), half as much again while
/// that grows, and that chunk; and it looks at each byte once, whatever the chunks' size. Bytes of a line that is not whole are
/// a sign of life: [`has_partial_line`](LineDecoder::has_partial_line).
///
/// A line that makes up a quarter or more of one chunk is a slice of it: no copy, but the chunk's memory is kept while
/// the line is. Others are put together in memory of their own: a small line that somebody keeps must not keep a
/// large chunk.
#[derive(Clone)]
pub struct LineDecoder {
    limit: usize,
    /// The chunk that is being cut; empty, once it is.
    chunk: Bytes,
    /// How far it is.
    at: usize,
    /// The chunks behind it.
    unread: VecDeque<Bytes>,
    /// The start of a line that goes on in the next chunk; searched, holds no LF.
    partial: Vec<u8>,
    /// The rest of a line that was reported as too long is being thrown away.
    discarding: bool,
    /// How many bytes of the mark were seen at the start of the stream; all of them: past the start.
    bom_seen: usize,
}

/// A line was longer than the limit. It is reported once, and all of the line is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("a line is longer than {limit} bytes")]
pub struct LineTooLong {
    /// The limit, in bytes; CR and LF do not count.
    pub limit: usize,
}

impl From<LineTooLong> for FrameFault {
    fn from(LineTooLong { limit }: LineTooLong) -> FrameFault {
        FrameFault::TooLarge { limit }
    }
}

impl LineDecoder {
    /// 1 MiB: the frame limit that peers keep to, by default (D39).
    pub const DEFAULT_LIMIT: usize = 1 << 20;

    /// A decoder for lines of at most `limit` bytes, CR and LF not counted.
    #[must_use]
    pub const fn new(limit: usize) -> LineDecoder {
        LineDecoder {
            limit,
            chunk: Bytes::new(),
            at: 0,
            unread: VecDeque::new(),
            partial: Vec::new(),
            discarding: false,
            bom_seen: 0,
        }
    }

    /// Another limit from here on: a transport's first line may be held to less than those after it (D9).
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.unread.push_back(chunk);
        }
    }

    /// The next line, without its end; `None` until more bytes are pushed.
    ///
    /// # Errors
    ///
    /// When a line is longer than the limit: said as soon as it is, and once. The next call goes on behind it.
    #[inline]
    pub fn next_line(&mut self) -> Option<Result<Bytes, LineTooLong>> {
        loop {
            if self.chunk.is_empty() {
                self.begin_chunk()?;
            }
            let rest = self.chunk.get(self.at..)?;
            let end = memchr::memchr(b'\n', rest);
            // As most of the time: judged where it stands. Whether it is blank, its first byte says at once.
            if let Some(end) = end
                && self.is_small(end)
                && end <= self.limit
                && let Some(text) = rest.get(..end)
                && text.first().is_some_and(u8::is_ascii_graphic)
            {
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                let line = Bytes::from(Box::<[u8]>::from(text));
                self.pass(end + 1);
                return Some(Ok(line));
            }
            let line = match end {
                Some(end) => self.end_line(end),
                None => self.end_chunk(),
            };
            if line.is_some() {
                return line;
            }
        }
    }

    /// Whether a line that ends there is all in this chunk, and a small part of it.
    #[inline]
    fn is_small(&self, end: usize) -> bool {
        self.partial.is_empty() && !self.discarding && end < self.chunk.len() / SMALL_PART
    }

    /// Goes on in the chunk.
    #[inline]
    fn pass(&mut self, len: usize) {
        self.at += len;
        if self.at == self.chunk.len() {
            self.chunk = Bytes::new();
        }
    }

    /// Takes the next chunk, without the mark that may be in it.
    #[cold]
    fn begin_chunk(&mut self) -> Option<()> {
        self.chunk = self.unread.pop_front()?;
        self.at = 0;
        while let Some(expected) = BOM.get(self.bom_seen) {
            match self.chunk.get(self.at) {
                None => break,
                Some(byte) if byte == expected => {
                    self.at += 1;
                    self.bom_seen += 1;
                }
                Some(_) => {
                    // No mark after all: what looked like one belongs to the line.
                    self.partial.extend(BOM.iter().take(self.bom_seen));
                    self.bom_seen = BOM.len();
                }
            }
        }
        Some(())
    }

    /// Ends any line.
    #[inline(never)]
    fn end_line(&mut self, end: usize) -> Option<Result<Bytes, LineTooLong>> {
        let range = self.at..self.at + end;
        let tail =
            if self.is_small(end) { Bytes::copy_from_slice(self.chunk.get(range)?) } else { self.chunk.slice(range) };
        self.pass(end + 1);
        if mem::take(&mut self.discarding) { None } else { self.complete(tail) }
    }

    /// Keeps what is left of the chunk, of a line that goes on in the next.
    #[inline(never)]
    fn end_chunk(&mut self) -> Option<Result<Bytes, LineTooLong>> {
        let chunk = mem::take(&mut self.chunk);
        self.keep(chunk.get(self.at..)?).err().map(Err)
    }

    /// The stream is at its end: what is left of it, a last line without LF included. Call it until it returns
    /// `None`; the decoder then stands at the start of a new stream.
    ///
    /// # Errors
    ///
    /// As [`next_line`](LineDecoder::next_line).
    pub fn finish(&mut self) -> Option<Result<Bytes, LineTooLong>> {
        if let Some(line) = self.next_line() {
            return Some(line);
        }
        let mark_cut_short = mem::take(&mut self.bom_seen);
        if mark_cut_short < BOM.len() {
            self.partial.extend(BOM.iter().take(mark_cut_short));
        }
        if mem::take(&mut self.discarding) {
            return None;
        }
        self.complete(Bytes::new())
    }

    /// Whether bytes have come in of which no line was made yet: of a line still to end, or of one that is being
    /// dropped. Such bytes are a sign of life that no message shows.
    #[must_use]
    pub fn has_partial_line(&self) -> bool {
        !self.partial.is_empty()
            || !self.chunk.is_empty()
            || !self.unread.is_empty()
            || self.discarding
            || (1..BOM.len()).contains(&self.bom_seen)
    }

    /// Keeps the start of a line for the chunks to come.
    fn keep(&mut self, part: &[u8]) -> Result<(), LineTooLong> {
        if self.discarding || part.is_empty() {
            return Ok(());
        }
        let len = self.partial.len() + part.len();
        // A CR at the end does not count if an LF follows.
        if len - usize::from(part.last() == Some(&b'\r')) > self.limit {
            self.partial = Vec::new();
            self.discarding = true;
            return Err(LineTooLong { limit: self.limit });
        }
        if len > self.partial.capacity() {
            // Doubled, so that it stays linear, but never beyond what a line may need.
            let capacity = len.max((2 * self.partial.capacity()).min(self.limit));
            self.partial.reserve_exact(capacity - self.partial.len());
        }
        self.partial.extend_from_slice(part);
        Ok(())
    }

    /// The line that ends with `tail`, and began with what is kept of it; `None` if it is blank.
    fn complete(&mut self, tail: Bytes) -> Option<Result<Bytes, LineTooLong>> {
        let mut line = if self.partial.is_empty() {
            tail
        } else {
            if self.partial.len() + tail.len() > self.limit.saturating_add(1) {
                self.partial = Vec::new();
                return Some(Err(LineTooLong { limit: self.limit }));
            }
            let mut line = mem::take(&mut self.partial);
            line.reserve_exact(tail.len());
            line.extend_from_slice(&tail);
            Bytes::from(line)
        };
        match line_of(&line, self.limit)? {
            Ok(text) => {
                let len = text.len();
                line.truncate(len);
                Some(Ok(line))
            }
            Err(too_long) => Some(Err(too_long)),
        }
    }
}

/// What is a line, of a text that ended with LF; `None` if it is blank.
#[inline]
fn line_of(text: &[u8], limit: usize) -> Option<Result<&[u8], LineTooLong>> {
    let line = text.strip_suffix(b"\r").unwrap_or(text);
    if line.len() > limit {
        return Some(Err(LineTooLong { limit }));
    }
    (!line.trim_ascii_start().is_empty()).then_some(Ok(line))
}

impl Default for LineDecoder {
    fn default() -> LineDecoder {
        LineDecoder::new(LineDecoder::DEFAULT_LIMIT)
    }
}

/// Lengths only: lines may hold secrets.
impl fmt::Debug for LineDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unread = self.unread.iter().map(Bytes::len).sum::<usize>() + self.chunk.len().saturating_sub(self.at);
        f.debug_struct("LineDecoder")
            .field("limit", &self.limit)
            .field("unread", &unread)
            .field("partial", &self.partial.len())
            .field("discarding", &self.discarding)
            .finish_non_exhaustive()
    }
}

/// Appends a frame and the LF that ends its line: nothing else goes on the stream (D38).
///
/// The frame must be one that holds no line end itself, as every frame of a session and of
/// [`encode`](crate::wire::encode()) is.
pub fn finish_line(frame: &[u8], out: &mut Vec<u8>) {
    out.reserve(frame.len() + 1);
    out.extend_from_slice(frame);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d38_memory_stays_below_the_limit_and_a_chunk() {
        for chunk_len in [1, 7, 100, 999] {
            let mut decoder = LineDecoder::new(1_000);
            for _ in 0..5_000 {
                decoder.push(Bytes::from(alloc::vec![b'x'; chunk_len]));
                while decoder.next_line().is_some() {}
                assert!(decoder.chunk.is_empty() && decoder.unread.is_empty());
                // The CR that may turn out to end the line is the one byte more.
                assert!(decoder.partial.capacity() <= 1_001, "{}", decoder.partial.capacity());
            }
        }
    }
}
