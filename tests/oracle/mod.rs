//! What `Envelope::decode` ought to say of a frame, by the judgement of others: `str::from_utf8`, then serde_json
//! reading into a struct of header fields. Where the crate refuses more than that by intent (depth, a top level
//! that is no object, versions, empty or long ids, large sequence numbers, two jobs), the refusal has to be the
//! very one that is expected.
//!
//! Shared by `decode_oracle.rs` and the fuzz target `envelope`.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::borrow::Cow;
use std::fmt;

use arcp_proto::wire::{Envelope, FrameFault, HeaderField, MAX_DEPTH, MAX_ID_LEN, MessageType, SEQ_LIMIT, TraceId};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// A string, borrowed where it holds no escape. (`Option<Cow<str>>` itself would never borrow.)
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// The envelope as serde_json reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct Header<'a> {
    #[serde(borrow)]
    pub(crate) arcp: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) id: Option<Text<'a>>,
    #[serde(borrow, rename = "type")]
    pub(crate) type_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) session_id: Option<Text<'a>>,
    /// Of any type: what is no trace id reads as absent (D4).
    #[serde(borrow)]
    pub(crate) trace_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) job_id: Option<Text<'a>>,
    pub(crate) event_seq: Option<u64>,
    #[serde(borrow)]
    pub(crate) payload: Option<&'a RawValue>,
}

/// The members of an object as they stand, repeated ones and unreadable names included.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Vec<(&'de RawValue, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = map.next_entry()? {
                    all.push(member);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(All).map(Members)
    }
}

fn members(object: &str) -> Vec<(&RawValue, &RawValue)> {
    serde_json::from_str::<Members<'_>>(object).expect("an object that is JSON has members").0
}

/// The text of a JSON value that is a string without lone surrogates.
fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn is_string(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

fn is_id(text: &str) -> bool {
    (1..=MAX_ID_LEN).contains(&text.len())
}

/// Where the first bracket beyond `MAX_DEPTH` stands, if the text is JSON up to there.
fn too_deep_at(json: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' if depth == MAX_DEPTH => return Some(at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The offset that a line and a column of serde_json's stand for, counted from 1.
fn offset_of(error: &serde_json::Error, text: &str) -> usize {
    let line_start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    line_start + error.column()
}

const FIELDS: [HeaderField; 8] = [
    HeaderField::Arcp,
    HeaderField::Id,
    HeaderField::Type,
    HeaderField::SessionId,
    HeaderField::TraceId,
    HeaderField::JobId,
    HeaderField::EventSeq,
    HeaderField::Payload,
];

/// What the payload itself says of kind and job: the last one of each, where that is a string.
fn of_payload(payload: &str, name: &str) -> Option<String> {
    let last = members(payload).into_iter().rfind(|(key, _)| text(key).as_deref() == Some(name));
    last.filter(|(_, value)| is_string(value)).and_then(|(_, value)| text(value))
}

/// The first fault of an envelope that is JSON and an object, and its id if that is good.
fn fault_of(envelope: &str) -> (Option<FrameFault>, Option<String>) {
    let mut faults = Vec::new();
    let mut seen = Vec::new();
    let (mut id, mut type_name, mut job_id, mut payload) = (None, None, None, "{}");
    for (key, value) in members(envelope) {
        let key = text(key).expect("names were found readable");
        let Some(field) = FIELDS.into_iter().find(|field| field.name() == key) else { continue };
        if seen.contains(&field) {
            faults.push(FrameFault::Duplicate(field));
        }
        seen.push(field);
        if value.get() == "null" {
            continue;
        }
        let said = text(value);
        let wrong = FrameFault::Field(field);
        match field {
            HeaderField::Arcp => match said.as_deref() {
                Some("1.1") => {}
                Some(_) => faults.push(FrameFault::Version),
                None => faults.push(wrong),
            },
            HeaderField::TraceId => {
                if is_string(value) && said.is_none() {
                    faults.push(wrong);
                }
            }
            HeaderField::EventSeq => {
                if !serde_json::from_str::<u64>(value.get()).is_ok_and(|seq| seq < SEQ_LIMIT) {
                    faults.push(wrong);
                }
            }
            HeaderField::Payload => {
                if value.get().starts_with('{') {
                    payload = value.get();
                } else {
                    faults.push(wrong);
                }
            }
            _ => match said.filter(|text| is_id(text)) {
                None => faults.push(wrong),
                said => match field {
                    HeaderField::Id => id = said,
                    HeaderField::Type => type_name = said,
                    HeaderField::JobId => job_id = said,
                    _ => {}
                },
            },
        }
    }
    if type_name.is_none() {
        faults.push(FrameFault::Field(HeaderField::Type));
    }
    if let Some(in_payload) = of_payload(payload, "job_id").filter(|job| !job.is_empty()) {
        match job_id {
            None if !is_id(&in_payload) => faults.push(FrameFault::Field(HeaderField::JobId)),
            Some(job_id) if job_id != in_payload => faults.push(FrameFault::JobIdConflict),
            _ => {}
        }
    }
    if faults.contains(&FrameFault::Duplicate(HeaderField::Id)) {
        id = None;
    }
    (faults.first().copied(), id)
}

/// Panics where `Envelope::decode` and the oracle differ on a frame.
pub(crate) fn check(frame: &[u8]) {
    let decoded = Envelope::decode(frame.to_vec().into());
    let shown = || String::from_utf8_lossy(frame).into_owned();
    let fault = decoded.as_ref().err().map(|malformed| malformed.fault);
    let id = decoded.as_ref().err().and_then(|malformed| malformed.id.as_deref());

    let Ok(json) = std::str::from_utf8(frame) else {
        assert_eq!((fault, id), (Some(FrameFault::NotUtf8), None), "{}", shown());
        return;
    };
    let deep = too_deep_at(json);
    if let Err(error) = serde_json::from_str::<&RawValue>(json) {
        let at = offset_of(&error, json);
        // Whether serde_json went over that bracket. At the end of the text its place is that of the last byte.
        let deep = deep.filter(|deep| at > deep + 1 || (at == deep + 1 && error.is_eof()));
        match (fault, deep) {
            (Some(FrameFault::TooDeep), Some(_)) => {}
            (Some(FrameFault::Syntax { offset }), deep) => {
                // A lone surrogate in a member's name may have come first: no fault to a `RawValue`.
                let surrogate = json.contains("\\ud") || json.contains("\\uD");
                assert!(surrogate || deep.is_none(), "{error}: {}", shown());
                assert!(surrogate || offset.abs_diff(at) <= 5, "{offset} or {error}: {}", shown());
                assert!(offset <= frame.len());
                assert_eq!(id, None);
            }
            (fault, _) => panic!("{fault:?}, but {error}: {}", shown()),
        }
        return;
    }
    let start = json.trim_start_matches([' ', '\n', '\r', '\t']);
    if !start.starts_with('{') {
        let expected = if deep.is_some() { FrameFault::TooDeep } else { FrameFault::NotAnObject };
        assert_eq!((fault, id), (Some(expected), None), "{}", shown());
        return;
    }
    // Names of the envelope's own members have to be text, as they have for serde_json reading a struct.
    let base = json.as_ptr() as usize;
    let unreadable = members(json).iter().find(|(key, _)| text(key).is_none()).map(|(key, _)| key.get());
    if let Some(key) = unreadable {
        let at = key.as_ptr() as usize - base;
        if deep.is_none_or(|deep| at < deep) {
            assert!(matches!(fault, Some(FrameFault::Syntax { offset }) if offset >= at), "{fault:?}: {}", shown());
            assert_eq!(id, None);
            assert!(serde_json::from_str::<Header<'_>>(json).is_err());
            return;
        }
    }
    if let Some(deep) = deep {
        // An id that stands before may be named.
        let before = |(key, value): &(&RawValue, &RawValue)| {
            let end = value.get().as_ptr() as usize - base + value.get().len();
            end <= deep && text(key).as_deref() == Some("id")
        };
        let ids: Vec<_> = members(json).into_iter().filter(before).collect();
        let expected = if let [(_, id)] = ids[..] { text(id).filter(|id| is_id(id)) } else { None };
        assert_eq!((fault, id), (Some(FrameFault::TooDeep), expected.as_deref()), "{}", shown());
        return;
    }

    let header = serde_json::from_str::<Header<'_>>(json);
    let (expected, expected_id) = fault_of(json);
    if let Some(fault) = fault {
        assert_eq!((Some(fault), id), (expected, expected_id.as_deref()), "{}", shown());
        let beyond_serde = match fault {
            FrameFault::Version | FrameFault::JobIdConflict => true,
            // Empty, too long, too large, missing; a payload or a trace id is anything to the struct.
            FrameFault::Field(field) => field != HeaderField::Arcp,
            _ => false,
        };
        assert!(beyond_serde || header.is_err(), "{fault}: {}", shown());
        return;
    }
    let envelope = decoded.expect("there is no fault");
    assert_eq!(expected, None, "{}", shown());
    let header = header.unwrap_or_else(|error| panic!("{error}: {}", shown()));
    let of = |text: &Option<Text<'_>>| text.as_ref().map(|text| text.0.clone().into_owned());
    let own = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
    let payload = header.payload.map_or("{}", RawValue::get);
    assert!(header.arcp.is_none_or(|version| version.0 == "1.1"), "{}", shown());
    assert_eq!(own(envelope.id()), of(&header.id), "{}", shown());
    assert_eq!(Some(envelope.type_name().into_owned()), of(&header.type_name), "{}", shown());
    assert_eq!(envelope.message_type(), MessageType::from_name(&envelope.type_name()), "{}", shown());
    assert_eq!(own(envelope.session_id()), of(&header.session_id), "{}", shown());
    let trace_id = header.trace_id.and_then(text).and_then(|text| TraceId::parse(&text));
    assert_eq!(envelope.trace_id(), trace_id, "{}", shown());
    let in_payload = of_payload(payload, "job_id").filter(|job| !job.is_empty());
    assert_eq!(own(envelope.job_id()), of(&header.job_id).or(in_payload), "{}", shown());
    assert_eq!(envelope.event_seq(), header.event_seq.filter(|seq| *seq != 0), "{}", shown());
    assert_eq!(own(envelope.event_kind()), of_payload(payload, "kind"), "{}", shown());
    assert_eq!(envelope.payload_text(), payload, "{}", shown());
    assert_eq!(envelope.frame(), frame);
}
