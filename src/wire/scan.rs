//! The hot path: one validating pass over a frame that finds its header.

use alloc::borrow::Cow;

use super::frame_fault::{FrameFault, HeaderField};

/// The deepest nesting of arrays and objects in a frame; the envelope itself counts as one (D39).
pub const MAX_DEPTH: usize = 128;
/// The longest id, session id, job id or type name, in bytes as sent (D3).
pub const MAX_ID_LEN: usize = 256;
/// One more than the largest sequence number: 2^53, where JSON numbers stop being exact.
pub const SEQ_LIMIT: u64 = 1 << 53;

const ESCAPED: u32 = 1 << 31;

/// Where a string of the header stands in the frame, without its quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    start: u32,
    /// The top bit: there are escapes in it. Zero: there is no such string.
    end: u32,
}

impl Text {
    pub(crate) fn is_absent(self) -> bool {
        self.end == 0
    }

    /// The string, unescaped.
    pub(crate) fn get(self, frame: &[u8]) -> Option<Cow<'_, str>> {
        if self.is_absent() {
            return None;
        }
        let raw = frame.get(self.start as usize..(self.end & !ESCAPED) as usize)?;
        if self.end & ESCAPED == 0 {
            return core::str::from_utf8(raw).ok().map(Cow::Borrowed);
        }
        let quoted = frame.get(self.start as usize - 1..(self.end & !ESCAPED) as usize + 1)?;
        serde_json::from_slice(quoted).ok().map(Cow::Owned)
    }
}

/// What the scan of a good frame found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head {
    pub(crate) id: Text,
    pub(crate) type_name: Text,
    pub(crate) session_id: Text,
    pub(crate) trace_id: Text,
    /// From the envelope, or else from the payload (D34).
    pub(crate) job_id: Text,
    /// The payload's `kind`, where that is a string.
    pub(crate) event_kind: Text,
    /// Zero: absent.
    pub(crate) event_seq: u64,
    /// Empty: absent.
    pub(crate) payload: (u32, u32),
}

/// Why a frame was refused, and its id if that much could be read.
pub(crate) type Refused = (FrameFault, Text);

pub(crate) fn scan(frame: &[u8]) -> Result<Head, Refused> {
    // Placeholder until the scanner proper stands.
    use serde::Deserialize;
    use serde_json::value::RawValue;
    #[derive(Deserialize)]
    struct H<'a> {
        #[serde(borrow)]
        id: Option<&'a str>,
        #[serde(borrow, rename = "type")]
        type_name: Option<&'a str>,
        #[serde(borrow)]
        session_id: Option<&'a str>,
        #[serde(borrow)]
        trace_id: Option<&'a str>,
        #[serde(borrow)]
        job_id: Option<&'a str>,
        event_seq: Option<u64>,
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct P<'a> {
        #[serde(borrow)]
        kind: Option<&'a str>,
        #[serde(borrow)]
        job_id: Option<&'a str>,
    }
    let none = Text::default();
    let base = frame.as_ptr() as usize;
    let text = |s: Option<&str>| {
        s.map_or(none, |s| {
            let start = (s.as_ptr() as usize - base) as u32;
            Text { start, end: start + s.len() as u32 }
        })
    };
    let h: H<'_> = serde_json::from_slice(frame).map_err(|_| (FrameFault::Syntax { offset: 0 }, none))?;
    if h.type_name.is_none_or(str::is_empty) {
        return Err((FrameFault::Field(HeaderField::Type), text(h.id)));
    }
    let p: P<'_> = h.payload.and_then(|p| serde_json::from_str(p.get()).ok()).unwrap_or(P { kind: None, job_id: None });
    let payload = text(h.payload.map(RawValue::get));
    Ok(Head {
        id: text(h.id),
        type_name: text(h.type_name),
        session_id: text(h.session_id),
        trace_id: text(h.trace_id),
        job_id: text(h.job_id.or(p.job_id)),
        event_kind: text(p.kind),
        event_seq: h.event_seq.unwrap_or(0),
        payload: (payload.start, payload.end),
    })
}
