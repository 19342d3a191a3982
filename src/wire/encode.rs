//! Header and payload → frame, in the field order of the draft.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::id::TraceId;
use super::json::{JsonWriter, Notes, append_integer, append_string};
use super::message::MessageType;

/// The header of a frame to be sent, without what is fixed.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// The message id.
    pub id: &'a str,
    /// The type.
    pub message: MessageType,
    /// The session; all but a hello has one.
    pub session_id: Option<&'a str>,
    /// The trace.
    pub trace_id: Option<TraceId>,
    /// The job, for `job.*`.
    pub job_id: Option<&'a str>,
    /// The place in the session's sequence, for what is sequenced.
    pub event_seq: Option<u64>,
}

impl<'a> Header<'a> {
    /// A header with id and type alone.
    #[must_use]
    pub fn new(id: &'a str, message: MessageType) -> Header<'a> {
        Header { id, message, session_id: None, trace_id: None, job_id: None, event_seq: None }
    }
}

/// Writes a frame: `arcp, id, type, session_id, trace_id, job_id, event_seq, payload` (§5), without a line end, and
/// without a raw LF, CR, U+2028 or U+2029 anywhere (D38).
///
/// Sessions call this for all they send; it is public for drivers, tests and tools that write frames themselves.
///
/// ```
/// use arcp_proto::wire::{encode, Bye, Header, MessageType};
///
/// let bye = Bye { reason: Some("normal".into()) };
/// let frame = encode(&Header::new("msg_1", MessageType::SessionBye), &bye)?;
/// assert_eq!(&frame[..], br#"{"arcp":"1.1","id":"msg_1","type":"session.bye","payload":{"reason":"normal"}}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
///
/// When the payload cannot be written as JSON: a `Serialize` of the caller's own failed, or a map has keys that
/// are no strings.
pub fn encode<P: Serialize + ?Sized>(header: &Header<'_>, payload: &P) -> Result<Bytes, serde_json::Error> {
    let mut out = BytesMut::with_capacity(512);
    write_frame(&mut out, header, payload)?;
    // Cut to its length.
    Ok(Bytes::copy_from_slice(&out))
}

/// Appends what [`encode`] gives. After an error there is part of it.
pub(crate) fn write_frame<P: Payload + ?Sized>(
    out: &mut BytesMut,
    header: &Header<'_>,
    payload: &P,
) -> Result<Notes, serde_json::Error> {
    write_header(out, header);
    let notes = payload.write_to(out)?;
    out.put_u8(b'}');
    Ok(notes)
}

/// The same around a payload that was written before.
pub(crate) fn write_around(out: &mut BytesMut, header: &Header<'_>, payload: &[u8]) {
    write_header(out, header);
    out.extend_from_slice(payload);
    out.put_u8(b'}');
}

/// The payload of a frame: whatever serializes, and [an event's](super::EventPayload).
pub(crate) trait Payload {
    /// Appends the payload, on one line (D38).
    fn write_to(&self, out: &mut BytesMut) -> Result<Notes, serde_json::Error>;
}

impl<P: Serialize + ?Sized> Payload for P {
    fn write_to(&self, out: &mut BytesMut) -> Result<Notes, serde_json::Error> {
        let start = out.len();
        let notes = JsonWriter::write(out, self)?;
        if notes.may_break {
            put_on_one_line(out, start);
        }
        Ok(notes)
    }
}

/// What was appended behind `start` is written once more, on one line.
#[cold]
pub(super) fn put_on_one_line(out: &mut BytesMut, start: usize) {
    let json = out.get(start..).unwrap_or_default().to_vec();
    out.truncate(start);
    append_on_one_line(out, &json);
}

pub(super) const EVENT_SEQ: &[u8] = b",\"event_seq\":";
pub(super) const PAYLOAD: &[u8] = b",\"payload\":";

fn write_header(out: &mut BytesMut, header: &Header<'_>) {
    write_to_id(out, header.id);
    write_from_type(out, header);
    if let Some(event_seq) = header.event_seq {
        out.extend_from_slice(EVENT_SEQ);
        append_integer(out, event_seq);
    }
    out.extend_from_slice(PAYLOAD);
}

pub(super) fn write_to_id(out: &mut BytesMut, id: &str) {
    out.extend_from_slice(b"{\"arcp\":\"1.1\",\"id\":");
    append_id(out, id);
}

pub(super) fn write_from_type(out: &mut BytesMut, header: &Header<'_>) {
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(header.message.name().as_bytes());
    out.put_u8(b'"');
    if let Some(session_id) = header.session_id {
        out.extend_from_slice(b",\"session_id\":");
        append_id(out, session_id);
    }
    if let Some(trace_id) = header.trace_id {
        out.extend_from_slice(b",\"trace_id\":\"");
        let bits = trace_id.to_bits();
        out.extend((0..32).rev().map(|place| {
            let digit = (bits >> (4 * place)) as u8 & 0xf;
            digit + if digit < 10 { b'0' } else { b'a' - 10 }
        }));
        out.put_u8(b'"');
    }
    if let Some(job_id) = header.job_id {
        write_job_id(out, job_id);
    }
}

pub(super) fn write_job_id(out: &mut BytesMut, job_id: &str) {
    out.extend_from_slice(b",\"job_id\":");
    append_id(out, job_id);
}

/// Appends an id, on one line. Ids are the application's and the peer's: anything may be in them.
fn append_id(out: &mut BytesMut, id: &str) {
    let start = out.len();
    if append_string(out, id) {
        put_on_one_line(out, start);
    }
}

/// The first two bytes of U+2028 and U+2029 in UTF-8; the third is 0xa8 or 0xa9.
const SEPARATOR: &[u8] = b"\xe2\x80";

/// Whether a reader somewhere would split a line within this JSON.
pub(crate) fn breaks_lines(json: &[u8]) -> bool {
    memchr::memchr2(b'\n', b'\r', json).is_some() || has_separator(json)
}

/// Whether there is a U+2028 or U+2029.
pub(super) fn has_separator(text: &[u8]) -> bool {
    memchr::memmem::find_iter(text, SEPARATOR).any(|at| matches!(text.get(at + 2), Some(0xa8 | 0xa9)))
}

/// Appends the JSON without line ends between its tokens, and with separators in strings escaped.
fn append_on_one_line(out: &mut BytesMut, json: &[u8]) {
    let mut in_string = false;
    let mut escaped = false;
    let mut rest = json;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if !in_string {
            in_string = byte == b'"';
            if !byte.is_ascii_whitespace() {
                out.put_u8(byte);
            }
            continue;
        }
        match (byte, tail) {
            (0xe2, [0x80, last @ (0xa8 | 0xa9), after @ ..]) => {
                out.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                rest = after;
                continue;
            }
            (b'"', _) if !escaped => in_string = false,
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
        out.put_u8(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Envelope, RawJson};
    use alloc::string::{String, ToString};

    fn frame(payload: &RawJson) -> String {
        let frame = encode(&Header::new("m", MessageType::SessionBye), payload).unwrap();
        String::from_utf8(frame.to_vec()).unwrap()
    }

    #[test]
    fn fields_stand_in_the_order_of_the_draft() {
        let header = Header {
            id: "msg_1",
            message: MessageType::JobEvent,
            session_id: Some("sess_\u{2028}\"\\"),
            trace_id: TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736"),
            job_id: Some("job_ü"),
            event_seq: Some(9_007_199_254_740_991),
        };
        let frame = encode(&header, &RawJson::empty_object()).unwrap();
        assert_eq!(
            core::str::from_utf8(&frame).unwrap(),
            concat!(
                r#"{"arcp":"1.1","id":"msg_1","type":"job.event","session_id":"sess_\u2028\"\\","#,
                r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","job_id":"job_ü","event_seq":9007199254740991,"payload":{}}"#
            )
        );
        assert_eq!(Envelope::decode(frame).unwrap().job_id().unwrap(), "job_ü");
    }

    #[test]
    fn a_payload_written_before_makes_the_same_frame() {
        let event = Header {
            session_id: Some("sess_1"),
            trace_id: TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736"),
            job_id: Some("job_1"),
            event_seq: Some(1_000),
            ..Header::new("msg_1", MessageType::JobEvent)
        };
        let payload = b"{}";
        for header in [event, Header { event_seq: Some(999), ..event }, Header::new("m", MessageType::SessionBye)] {
            let mut frame = BytesMut::new();
            write_around(&mut frame, &header, payload);
            assert_eq!(frame, encode(&header, &RawJson::empty_object()).unwrap());
        }
    }

    #[test]
    fn d38_no_frame_holds_a_line_end_or_a_separator() {
        let raw =
            RawJson::from_text("{\n \"a b\" :\r\n [ \"x\u{2028}y\u{2029}\", \"\\\\\" , \"\\\"\u{2028}\" , \"—\" ] }")
                .unwrap();
        let frame = frame(&raw);
        assert!(frame.ends_with(r#""payload":{"a b":["x\u2028y\u2029","\\","\"\u2028","—"]}}"#), "{frame}");
        let sent: serde_json::Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(sent["payload"], raw.parse::<serde_json::Value>().unwrap());
    }

    #[test]
    fn d38_what_needs_no_repair_is_passed_verbatim() {
        let raw = RawJson::from_text("{ \"a\" : \"—\\u2028\", \"n\": 1.50e+3 }").unwrap();
        assert!(frame(&raw).ends_with(&(raw.text().to_string() + "}")));
    }
}
