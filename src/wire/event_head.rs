//! What stands before an event's body: the header, the kind and the time.

use core::ops::Range;

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::encode::{EVENT_SEQ, Header, PAYLOAD, Payload, put_on_one_line, write_from_type, write_job_id, write_to_id};
use super::json::{JsonWriter, Notes, append_string};
use super::scan::is_plain_ascii_text;
use crate::digits::{Digits, increment};
use crate::time::Timestamp;

/// An event's kind is hardly longer. A head is kept, so there is a limit.
const MAX_KIND: usize = 64;

/// How an event is told apart from the one before it of the same job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventMark<'a> {
    /// The number that its message id ends with.
    pub(crate) id: u64,
    pub(crate) seq: u64,
    pub(crate) kind: &'a str,
    pub(crate) ts: Timestamp,
}

/// How an event begins, kept for the next: mostly two numbers count on, now and then it has become later.
#[derive(Clone, Debug)]
pub(crate) struct EventHead {
    text: BytesMut,
    /// The part behind the id's number, up to that of the place in the sequence.
    behind_id: BytesMut,
    /// Where the job stands in that.
    job_at: usize,
    /// Where these stand in the text.
    id: Range<usize>,
    seq: Range<usize>,
    kind: Range<usize>,
    ts_at: usize,
    /// `None`: the text is another's.
    last: Option<(u64, u64, Timestamp)>,
}

const KIND: &[u8] = b"{\"kind\":\"";
const TS: &[u8] = b"\",\"ts\":\"";
const BODY: &[u8] = b"\",\"body\":";

impl EventHead {
    /// Of events whose ids begin with the header's, and whose header is that but for the job.
    pub(crate) fn new(header: &Header<'_>, job: &str) -> EventHead {
        let mut text = BytesMut::with_capacity(384);
        write_to_id(&mut text, header.id);
        // Without the quote that ends the id.
        text.truncate(text.len() - 1);
        let id = text.len()..text.len();
        let mut behind_id = BytesMut::with_capacity(192);
        behind_id.put_u8(b'"');
        write_from_type(&mut behind_id, &Header { job_id: None, ..*header });
        let job_at = behind_id.len();
        let mut head = EventHead { text, behind_id, job_at, id, seq: 0..0, kind: 0..0, ts_at: 0, last: None };
        head.set_job(job);
        head
    }

    /// The next event is of that job.
    pub(crate) fn set_job(&mut self, job: &str) {
        self.behind_id.truncate(self.job_at);
        write_job_id(&mut self.behind_id, job);
        self.behind_id.extend_from_slice(EVENT_SEQ);
        self.last = None;
    }

    /// Whether an event of that kind can begin so.
    #[inline]
    pub(crate) fn can_be(kind: &str) -> bool {
        kind.len() <= MAX_KIND && is_plain_ascii_text(kind.as_bytes())
    }

    /// The head of the next event; `None` where its kind [cannot be](EventHead::can_be).
    #[inline]
    pub(crate) fn next(&mut self, mark: EventMark<'_>) -> Option<&[u8]> {
        let is_next = self.last.is_some_and(|(id, seq, _)| (id + 1, seq + 1) == (mark.id, mark.seq));
        let counts_on = is_next
            && self.text.get(self.kind.clone()) == Some(mark.kind.as_bytes())
            && self.text.get_mut(self.id.clone()).is_some_and(increment)
            && self.text.get_mut(self.seq.clone()).is_some_and(increment);
        if !counts_on {
            if !EventHead::can_be(mark.kind) {
                return None;
            }
            self.rewrite(mark);
        } else if self.last.is_some_and(|(_, _, ts)| ts != mark.ts)
            && let Some(ts) = self.text.get_mut(self.ts_at..).and_then(|text| text.first_chunk_mut())
        {
            *ts = mark.ts.to_text();
        }
        self.last = Some((mark.id, mark.seq, mark.ts));
        Some(&self.text)
    }

    #[inline(never)]
    fn rewrite(&mut self, mark: EventMark<'_>) {
        self.text.truncate(self.id.start);
        self.id = self.append(Digits::new(mark.id).text());
        self.text.extend_from_slice(&self.behind_id);
        self.seq = self.append(Digits::new(mark.seq).text());
        self.append(PAYLOAD);
        self.append(KIND);
        self.kind = self.append(mark.kind.as_bytes());
        self.append(TS);
        self.ts_at = self.append(&mark.ts.to_text()).start;
        self.append(BODY);
    }

    fn append(&mut self, text: &[u8]) -> Range<usize> {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        start..self.text.len()
    }

    /// Where the payload begins in a text of [`next`](EventHead::next).
    #[inline]
    pub(crate) fn payload_at(&self) -> usize {
        self.seq.end + PAYLOAD.len()
    }
}

/// The payload of a `job.event`, as [`JobEvent`](super::JobEvent) reads it.
pub(crate) struct EventPayload<'a, B: ?Sized> {
    pub(crate) kind: &'a str,
    pub(crate) ts: Timestamp,
    pub(crate) body: &'a B,
}

/// Appends the body of an event, where it need not be on one line.
#[inline]
pub(crate) fn write_body<B: Serialize + ?Sized>(out: &mut BytesMut, body: &B) -> Result<Notes, serde_json::Error> {
    let start = out.len();
    let mut notes = JsonWriter::write(out, body)?;
    // With the payload around it.
    notes.brackets += 1;
    notes.body_is_object = out.get(start) == Some(&b'{');
    Ok(notes)
}

/// Appends what stands before the body in a payload; says whether it may break a line.
fn write_payload_head(out: &mut BytesMut, kind: &str, ts: Timestamp) -> bool {
    out.extend_from_slice(b"{\"kind\":");
    let may_break = append_string(out, kind);
    out.extend_from_slice(b",\"ts\":\"");
    out.extend_from_slice(&ts.to_text());
    out.extend_from_slice(BODY);
    may_break
}

/// Ends a payload that begins at `start`.
#[inline]
pub(crate) fn end_payload(out: &mut BytesMut, start: usize, may_break: bool) {
    out.put_u8(b'}');
    if may_break {
        put_on_one_line(out, start);
    }
}

/// The payload around a body that was written before.
pub(crate) fn payload_around(kind: &str, ts: Timestamp, body: &[u8], body_may_break: bool) -> BytesMut {
    let mut out = BytesMut::new();
    let may_break = write_payload_head(&mut out, kind, ts);
    out.extend_from_slice(body);
    end_payload(&mut out, 0, may_break || body_may_break);
    out
}

impl<B: Serialize + ?Sized> Payload for EventPayload<'_, B> {
    fn write_to(&self, out: &mut BytesMut) -> Result<Notes, serde_json::Error> {
        let start = out.len();
        let kind_may_break = write_payload_head(out, self.kind, self.ts);
        let mut notes = write_body(out, self.body)?;
        notes.may_break |= kind_may_break;
        end_payload(out, start, notes.may_break);
        Ok(notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MessageType, RawJson, encode};
    use alloc::format;
    use alloc::string::String;

    #[derive(Serialize)]
    struct Whole<'a> {
        kind: &'a str,
        ts: Timestamp,
        body: RawJson,
    }

    fn check(head: &mut EventHead, header: Header<'_>, mark: EventMark<'_>) {
        let text = head.next(mark).unwrap().to_vec();
        let whole = Whole { kind: mark.kind, ts: mark.ts, body: RawJson::empty_object() };
        let id = format!("{}{}", header.id, mark.id);
        let expected = encode(&Header { id: &id, event_seq: Some(mark.seq), ..header }, &whole).unwrap();
        assert_eq!(String::from_utf8(text.clone()).unwrap() + "{}}}", core::str::from_utf8(&expected).unwrap());
        assert!(text[head.payload_at()..].starts_with(b"{\"kind\""));
    }

    #[test]
    fn what_is_kept_begins_as_what_is_written_anew() {
        for (id, session, job) in [("msg_r1_", "sess_1", "job_1"), ("msg_\"\u{2028}r1_", "\n", "job_\u{2029}ü")] {
            let header =
                Header { session_id: Some(session), job_id: Some(job), ..Header::new(id, MessageType::JobEvent) };
            let mut head = EventHead::new(&header, "another");
            head.set_job(job);
            let mut mark = EventMark { id: 1, seq: 1, kind: "log", ts: Timestamp::EPOCH };
            for n in 0..3_000_u64 {
                check(&mut head, header, mark);
                // Most of them count on; some are the first behind what was refused, some of another kind, some go back.
                mark.id += 1 + u64::from(n % 7 == 0);
                mark.seq += 1;
                mark.kind = if n % 50 < 30 { "log" } else { "x-vendor.progress" };
                mark.ts = Timestamp::from_unix_millis((n / 3 * 997 * 1_000) as i64);
                if n % 500 == 499 {
                    mark.seq -= 100;
                }
            }
            for last in [9, 99, u64::MAX - 3] {
                check(&mut head, header, EventMark { id: last, seq: 9_007_199_254_740_989, ..mark });
                check(&mut head, header, EventMark { id: last + 1, seq: 9_007_199_254_740_990, ..mark });
            }
        }
    }

    #[test]
    fn no_head_is_kept_for_a_strange_kind() {
        let header = Header { job_id: Some("j"), ..Header::new("m_", MessageType::JobEvent) };
        let mut head = EventHead::new(&header, "j");
        let long = "k".repeat(MAX_KIND + 1);
        for (n, kind) in ["\"", "ü", "\u{2028}", &long].into_iter().enumerate() {
            let mark = EventMark { id: 2 * n as u64 + 1, seq: 1, kind: "log", ts: Timestamp::EPOCH };
            check(&mut head, header, mark);
            assert_eq!(head.next(EventMark { id: mark.id + 1, seq: 2, kind, ..mark }), None);
        }
    }

    #[test]
    fn a_payload_around_a_body_is_the_payload_with_it() {
        let bodies = [r#"{"a":1}"#, "{ \"a\" : [\n] }", "{\"\u{2028}\" : 1}", "{}"];
        for (kind, body) in ["log", "x \u{2029}"].into_iter().flat_map(|kind| bodies.map(|body| (kind, body))) {
            let body = RawJson::from_text(body).unwrap();
            let mut whole = BytesMut::new();
            let notes = EventPayload { kind, ts: Timestamp::EPOCH, body: &body }.write_to(&mut whole).unwrap();
            assert!(notes.body_is_object);
            let mut text = BytesMut::new();
            let notes = write_body(&mut text, &body).unwrap();
            assert_eq!(payload_around(kind, Timestamp::EPOCH, &text, notes.may_break), whole);
        }
    }
}
