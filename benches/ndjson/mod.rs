//! Small frames as a byte stream, one a line, as reads of 64 KiB bring it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use arcp_proto::framing::LineDecoder;
use arcp_proto::wire::Envelope;
use bytes::Bytes;

use crate::frames::{self, Class};

const READ: usize = 64 << 10;

/// A stream, and the frames that are in it.
pub(crate) struct Stream {
    text: Vec<u8>,
    frames: Vec<Bytes>,
}

impl Stream {
    /// As many of the small frames, in turn, as a second-level cache can hold.
    pub(crate) fn new() -> Stream {
        let small: Vec<Bytes> =
            frames::frames().into_iter().filter(|frame| frame.class == Class::Small).map(|frame| frame.bytes).collect();
        let (mut text, mut frames) = (Vec::new(), Vec::new());
        for frame in small.iter().cycle().take(2_000) {
            arcp_proto::framing::finish_line(frame, &mut text);
            // Each in a place of its own, as in the stream.
            frames.push(Bytes::from_static(frame.to_vec().leak()));
        }
        Stream { text, frames }
    }

    #[allow(dead_code, reason = "not everybody asks")]
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn lines(&self) -> usize {
        self.frames.len()
    }

    /// The stream as it was read, each time anew: what is read goes to whoever cuts it.
    pub(crate) fn reads(&self) -> Vec<Bytes> {
        self.text.chunks(READ).map(Bytes::copy_from_slice).collect()
    }

    /// How long the stream takes, once it was read.
    #[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    pub(crate) fn time_lines(&self) -> Duration {
        let reads = self.reads();
        let start = Instant::now();
        self.counted_lines(reads);
        start.elapsed()
    }

    /// Cuts what was read into lines and decodes each of them.
    #[inline(never)]
    pub(crate) fn counted_lines(&self, reads: Vec<Bytes>) {
        let mut decoder = LineDecoder::default();
        let mut lines = 0;
        for read in reads {
            decoder.push(read);
            while let Some(line) = decoder.next_line() {
                black_box(Envelope::decode(line.unwrap()).unwrap().message_type());
                lines += 1;
            }
        }
        assert_eq!(lines, self.lines());
    }

    /// Decodes the same frames where they come one by one, at no cost.
    #[inline(never)]
    pub(crate) fn counted_frames(&self) {
        for frame in &self.frames {
            black_box(Envelope::decode(frame.clone()).unwrap().message_type());
        }
    }
}
