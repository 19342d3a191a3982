//! Header and payload → frame, in the field order of the draft.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::Serialize;

use super::id::TraceId;
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
    let mut out = Vec::with_capacity(256);
    write_header(&mut out, header);
    append_payload(&mut out, payload)?;
    out.push(b'}');
    // Cut to its length: events are kept for replay.
    Ok(Bytes::from(out.into_boxed_slice()))
}

/// A payload as [`encode`] writes it, for several frames.
pub(crate) fn encode_payload<P: Serialize + ?Sized>(payload: &P) -> Result<Bytes, serde_json::Error> {
    let mut out = Vec::with_capacity(128);
    append_payload(&mut out, payload)?;
    Ok(Bytes::from(out))
}

/// What [`encode`] writes, around a payload that was written before.
pub(crate) fn encode_around(header: &Header<'_>, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(frame_len(header, payload.len()));
    write_header(&mut out, header);
    out.extend_from_slice(payload);
    out.push(b'}');
    Bytes::from(out.into_boxed_slice())
}

/// The length of a frame, where no id needs an escape: then it is written without a second allocation.
fn frame_len(header: &Header<'_>, payload_len: usize) -> usize {
    let quoted = |name_len: usize, text: &str| name_len + 2 + text.len();
    let digits = |seq: u64| seq.checked_ilog10().unwrap_or(0) as usize + 1;
    let fixed = 41 + quoted(0, header.id) + header.message.name().len();
    let session_id = header.session_id.map_or(0, |id| quoted(14, id));
    let trace_id = header.trace_id.map_or(0, |_| 46);
    let job_id = header.job_id.map_or(0, |id| quoted(10, id));
    let event_seq = header.event_seq.map_or(0, |seq| 13 + digits(seq));
    fixed + session_id + trace_id + job_id + event_seq + payload_len
}

/// Appends the payload, on one line.
fn append_payload<P: Serialize + ?Sized>(out: &mut Vec<u8>, payload: &P) -> Result<(), serde_json::Error> {
    let start = out.len();
    write_json(out, payload)?;
    if breaks_lines(out.get(start..).unwrap_or_default()) {
        let payload = out.split_off(start);
        append_on_one_line(out, &payload);
    }
    Ok(())
}

/// Without std, serde_json writes to no buffer but its own.
fn write_json<P: Serialize + ?Sized>(out: &mut Vec<u8>, payload: &P) -> Result<(), serde_json::Error> {
    #[cfg(feature = "std")]
    return payload.serialize(&mut serde_json::Serializer::new(out));
    #[cfg(not(feature = "std"))]
    return serde_json::to_vec(payload).map(|payload| out.extend_from_slice(&payload));
}

fn write_header(out: &mut Vec<u8>, header: &Header<'_>) {
    out.extend_from_slice(b"{\"arcp\":\"1.1\",\"id\":");
    append_string(out, header.id);
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(header.message.name().as_bytes());
    out.push(b'"');
    if let Some(session_id) = header.session_id {
        out.extend_from_slice(b",\"session_id\":");
        append_string(out, session_id);
    }
    if let Some(trace_id) = header.trace_id {
        out.extend_from_slice(b",\"trace_id\":\"");
        let bits = trace_id.to_bits();
        out.extend((0..32).rev().map(|place| {
            let digit = (bits >> (4 * place)) as u8 & 0xf;
            digit + if digit < 10 { b'0' } else { b'a' - 10 }
        }));
        out.push(b'"');
    }
    if let Some(job_id) = header.job_id {
        out.extend_from_slice(b",\"job_id\":");
        append_string(out, job_id);
    }
    if let Some(event_seq) = header.event_seq {
        out.extend_from_slice(b",\"event_seq\":");
        append_integer(out, event_seq);
    }
    out.extend_from_slice(b",\"payload\":");
}

/// Appends a JSON string. Ids are the application's and the peer's: anything may be in them.
fn append_string(out: &mut Vec<u8>, text: &str) {
    let plain = text.bytes().all(|b| matches!(b, 0x20..=0x7e) && b != b'"' && b != b'\\');
    if plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let quoted = serde_json::to_vec(text).unwrap_or_else(|_| b"\"\"".to_vec());
    append_on_one_line(out, &quoted);
}

fn append_integer(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    for place in digits.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
        from -= 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(from..).unwrap_or_default());
}

/// The first two bytes of U+2028 and U+2029 in UTF-8; the third is 0xa8 or 0xa9.
const SEPARATOR: &[u8] = b"\xe2\x80";

/// Whether a reader somewhere would split a line within this JSON.
pub(crate) fn breaks_lines(json: &[u8]) -> bool {
    memchr::memchr2(b'\n', b'\r', json).is_some()
        || memchr::memmem::find_iter(json, SEPARATOR).any(|at| matches!(json.get(at + 2), Some(0xa8 | 0xa9)))
}

/// Appends the JSON without line ends between its tokens, and with separators in strings escaped.
fn append_on_one_line(out: &mut Vec<u8>, json: &[u8]) {
    let mut in_string = false;
    let mut escaped = false;
    let mut rest = json;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if !in_string {
            in_string = byte == b'"';
            if !byte.is_ascii_whitespace() {
                out.push(byte);
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
        out.push(byte);
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
    fn a_payload_written_before_makes_the_same_frame_in_one_piece() {
        let event = Header {
            session_id: Some("sess_1"),
            trace_id: TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736"),
            job_id: Some("job_1"),
            event_seq: Some(1_000),
            ..Header::new("msg_1", MessageType::JobEvent)
        };
        let payload = encode_payload(&RawJson::empty_object()).unwrap();
        for header in [event, Header { event_seq: Some(999), ..event }, Header::new("m", MessageType::SessionBye)] {
            let frame = encode_around(&header, &payload);
            assert_eq!(frame, encode(&header, &RawJson::empty_object()).unwrap());
            assert_eq!(frame.len(), frame_len(&header, payload.len()));
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
