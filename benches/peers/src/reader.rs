//! Who reads a frame, and how far: each as its own documentation would have it for this use.

use std::hint::black_box;

use arcp_proto::wire::Envelope;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use sonic_rs::LazyValue;

use crate::race::{Batch, batches};

/// A reader of frames. What it makes of them is dropped, as part of the cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// This crate: all of UTF-8 and JSON checked; header, kind and payload found.
    Ours,
    /// serde_json over everything, keeping nothing. UTF-8 is not checked in what it skips.
    Ignored,
    /// The same behind `str::from_utf8`.
    Utf8Ignored,
    /// serde_json into a struct of borrowed header fields and a raw payload, behind `str::from_utf8`.
    Typed,
    /// serde_json into a tree.
    Tree,
    /// sonic-rs into the same struct, with a lazy payload.
    Sonic,
    /// simd-json onto a tape, its buffers used again. It unescapes in place, so that a copy of the frame is part of it.
    Simd,
    /// The published Rust SDK's envelope, which cannot do without a timestamp.
    Core,
    /// No reader, but what every reader has to do: UTF-8 checked by simdutf8, quotes looked for by memchr.
    Floor,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "it is read, and that is all")]
struct Header<'a, P> {
    arcp: Option<&'a str>,
    id: Option<&'a str>,
    #[serde(rename = "type")]
    type_name: &'a str,
    session_id: Option<&'a str>,
    trace_id: Option<&'a str>,
    job_id: Option<&'a str>,
    event_seq: Option<u64>,
    payload: Option<P>,
}

/// Whether it was read; whatever came of it counts as used.
fn used<T, E>(read: Result<T, E>) -> bool {
    black_box(&read).is_ok()
}

fn floor(frame: &[u8]) -> bool {
    let text = simdutf8::basic::from_utf8(frame).unwrap_or_default();
    black_box(memchr::memchr_iter(b'"', text.as_bytes()).count()) > 0
}

fn batch_of<'a>(frames: &'a [Bytes], mut read: impl FnMut(&'a Bytes) -> bool + 'a) -> Batch<'a> {
    batches(move |times| {
        for _ in 0..times {
            for frame in frames {
                // Who fails is done sooner.
                assert!(read(black_box(frame)), "a reader refuses {frame:?}");
            }
        }
    })
}

impl Reader {
    /// All of them, in the order of the tables' columns.
    pub(crate) const ALL: [Reader; 9] = [
        Reader::Ours,
        Reader::Ignored,
        Reader::Utf8Ignored,
        Reader::Typed,
        Reader::Tree,
        Reader::Sonic,
        Reader::Simd,
        Reader::Core,
        Reader::Floor,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Reader::Ours => "arcp-proto",
            Reader::Ignored => "serde_json, `IgnoredAny`",
            Reader::Utf8Ignored => "the same behind `from_utf8`",
            Reader::Typed => "serde_json, struct",
            Reader::Tree => "serde_json, `Value`",
            Reader::Sonic => "sonic-rs, `LazyValue`",
            Reader::Simd => "simd-json, tape",
            Reader::Core => "arcp-core, `RawEnvelope`",
            Reader::Floor => "floor: simdutf8, memchr",
        }
    }

    /// Batches in which each of the frames is read once.
    pub(crate) fn batch(self, frames: &[Bytes]) -> Batch<'_> {
        match self {
            Reader::Ours => batch_of(frames, |frame| used(Envelope::decode(frame.clone()))),
            Reader::Ignored => batch_of(frames, |frame| used(serde_json::from_slice::<IgnoredAny>(frame))),
            Reader::Utf8Ignored => batch_of(frames, |frame| {
                std::str::from_utf8(frame).is_ok_and(|text| used(serde_json::from_str::<IgnoredAny>(text)))
            }),
            Reader::Typed => batch_of(frames, |frame| {
                std::str::from_utf8(frame).is_ok_and(|text| used(serde_json::from_str::<Header<'_, &RawValue>>(text)))
            }),
            Reader::Tree => batch_of(frames, |frame| used(serde_json::from_slice::<Value>(frame))),
            Reader::Sonic => batch_of(frames, |frame| used(sonic_rs::from_slice::<Header<'_, LazyValue<'_>>>(frame))),
            Reader::Simd => {
                let (mut copy, mut buffers) = (Vec::new(), simd_json::Buffers::default());
                batch_of(frames, move |frame| {
                    copy.clear();
                    copy.extend_from_slice(frame);
                    used(simd_json::to_tape_with_buffers(&mut copy, &mut buffers))
                })
            }
            Reader::Core => batch_of(frames, |frame| used(serde_json::from_slice::<arcp_core::RawEnvelope>(frame))),
            Reader::Floor => batch_of(frames, |frame| floor(frame)),
        }
    }

    /// Whether the reader takes the frame; asked of those alone that may refuse what others take.
    pub(crate) fn takes(self, frame: &Bytes) -> bool {
        match self {
            Reader::Tree => serde_json::from_slice::<Value>(frame).is_ok(),
            Reader::Sonic => sonic_rs::from_slice::<Header<'_, LazyValue<'_>>>(frame).is_ok(),
            Reader::Simd => simd_json::to_tape(&mut frame.to_vec()).is_ok(),
            Reader::Core => serde_json::from_slice::<arcp_core::RawEnvelope>(frame).is_ok(),
            _ => Envelope::decode(frame.clone()).is_ok(),
        }
    }
}

/// The frame with a timestamp, as the published SDK wants it.
pub(crate) fn stamped(frame: &Bytes) -> Bytes {
    let rest = frame.trim_ascii_start().strip_prefix(b"{").unwrap_or_default();
    let text = [br#"{"timestamp":"2026-05-13T19:42:13.123Z","#.as_slice(), rest].concat();
    Bytes::from_static(text.leak())
}
