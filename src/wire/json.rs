//! Values → JSON, byte for byte as serde_json writes them, onto the end of a frame.
//!
//! A serializer of our own, for what it can do on the way: strings are looked over by words and not by bytes, nothing
//! but the frame is written to (without std, serde_json writes to no buffer of another's), and the frame need not be searched
//! again for what is in it.

use alloc::format;
use core::fmt::{self, Display, Write as _};

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde::ser::{self, Error as _};

use super::encode::has_separator;
use super::scan::{first_stop, is_plain_ascii_text};
use crate::digits::Digits;

type Error = serde_json::Error;

/// How the names begin under which serde_json hands over what is JSON already: a raw value, a number of any precision.
const RAW: &str = "$serde_json::";

/// Writes one value.
pub(crate) struct JsonWriter<'a> {
    out: &'a mut BytesMut,
    notes: Notes,
    /// What comes next is the text of something that is JSON already.
    is_raw: bool,
    /// What comes next is the name of a member.
    is_name: bool,
}

/// What shows while a value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// Of arrays and objects: no nesting is deeper than this.
    pub(crate) brackets: usize,
    /// A reader somewhere might split a line within it (D38).
    pub(crate) may_break: bool,
    /// Of an event: its body is an object.
    pub(crate) body_is_object: bool,
}

impl<'a> JsonWriter<'a> {
    /// Appends the JSON of `value` to `out`. After an error there is part of it.
    #[inline]
    pub(crate) fn write<T: Serialize + ?Sized>(out: &'a mut BytesMut, value: &T) -> Result<Notes, Error> {
        let mut writer = JsonWriter { out, notes: Notes::default(), is_raw: false, is_name: false };
        value.serialize(&mut writer)?;
        Ok(writer.notes)
    }

    fn raw(&mut self, text: &str) {
        self.is_raw = false;
        let json = text.as_bytes();
        self.notes.brackets += memchr::memchr2_iter(b'[', b'{', json).count();
        self.notes.may_break |= super::breaks_lines(json);
        self.out.extend_from_slice(json);
    }

    #[inline]
    fn open(&mut self, bracket: u8) {
        self.notes.brackets += 1;
        self.out.put_u8(bracket);
    }

    /// `{"variant":`
    fn open_variant(&mut self, variant: &str) {
        self.open(b'{');
        self.notes.may_break |= append_string(self.out, variant);
        self.out.put_u8(b':');
    }

    fn integer(&mut self, is_negative: bool, absolute: u64) {
        if is_negative {
            self.out.put_u8(b'-');
        }
        append_integer(self.out, absolute);
    }

    /// Few values are of these types.
    #[cold]
    fn rare<T: Serialize>(&mut self, value: T) -> Result<(), Error> {
        #[cfg(feature = "std")]
        return serde_json::to_writer((&mut *self.out).writer(), &value);
        #[cfg(not(feature = "std"))]
        return serde_json::to_vec(&value).map(|text| self.out.extend_from_slice(&text));
    }
}

/// Appends a JSON string as serde_json does; says whether there is a line's end in it for some reader.
pub(super) fn append_string(out: &mut BytesMut, text: &str) -> bool {
    out.reserve(text.len() + 3);
    out.put_u8(b'"');
    let may_break = append_text(out, text);
    out.put_u8(b'"');
    may_break
}

/// What stands between the quotes.
#[inline]
fn append_text(out: &mut BytesMut, text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_plain = is_plain_ascii_text(bytes);
    if is_plain {
        out.extend_from_slice(bytes);
    } else {
        append_escaped(out, bytes);
    }
    !is_plain && has_separator(bytes)
}

#[inline(never)]
fn append_escaped(out: &mut BytesMut, mut rest: &[u8]) {
    while let Some((plain, stop, after)) = first_stop(rest) {
        out.extend_from_slice(plain);
        let letter = match stop {
            b'"' | b'\\' => stop,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            _ => b'u',
        };
        out.extend_from_slice(&[b'\\', letter]);
        if letter == b'u' {
            let hex = |digit: u8| digit + if digit < 10 { b'0' } else { b'a' - 10 };
            out.extend_from_slice(&[b'0', b'0', hex(stop >> 4), hex(stop & 0xf)]);
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// Appends a number.
pub(super) fn append_integer(out: &mut BytesMut, value: u64) {
    out.extend_from_slice(Digits::new(value).text());
}

impl<'w, 'a> ser::Serializer for &'w mut JsonWriter<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Members<'w, 'a>;
    type SerializeTuple = Members<'w, 'a>;
    type SerializeTupleStruct = Members<'w, 'a>;
    type SerializeTupleVariant = Members<'w, 'a>;
    type SerializeMap = Members<'w, 'a>;
    type SerializeStruct = Members<'w, 'a>;
    type SerializeStructVariant = Members<'w, 'a>;

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), Error> {
        self.integer(value < 0, value.unsigned_abs());
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result<(), Error> {
        self.rare(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        self.integer(false, value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result<(), Error> {
        self.rare(value)
    }

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        self.rare(value)
    }

    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        self.rare(value)
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Error> {
        if self.is_raw {
            self.raw(value);
        } else {
            self.notes.may_break |= append_string(self.out, value);
        }
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.open_variant(variant);
        value.serialize(&mut *self)?;
        self.out.put_u8(b'}');
        Ok(())
    }

    #[inline]
    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'w, 'a>, Error> {
        Ok(Members::begin(self, b'[', b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Members<'w, 'a>, Error> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Members<'w, 'a>, Error> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'w, 'a>, Error> {
        self.open_variant(variant);
        Ok(Members::begin(self, b'[', b"]}"))
    }

    #[inline]
    fn serialize_map(self, _: Option<usize>) -> Result<Members<'w, 'a>, Error> {
        Ok(Members::begin(self, b'{', b"}"))
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Members<'w, 'a>, Error> {
        if name.starts_with(RAW) {
            if self.is_name {
                return Err(no_name());
            }
            return Ok(Members { writer: self, is_first: true, is_raw: true, end: b"" });
        }
        Ok(Members::begin(self, b'{', b"}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'w, 'a>, Error> {
        self.open_variant(variant);
        Ok(Members::begin(self, b'{', b"}}"))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        if self.is_raw {
            return self.serialize_str(&format!("{value}"));
        }
        self.out.put_u8(b'"');
        write!(Pieces(self), "{value}").map_err(Error::custom)?;
        self.out.put_u8(b'"');
        Ok(())
    }
}

/// A text that is printed into its place, piece by piece.
struct Pieces<'w, 'a>(&'w mut JsonWriter<'a>);

impl fmt::Write for Pieces<'_, '_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.0.notes.may_break |= append_text(self.0.out, piece);
        Ok(())
    }
}

/// What is within brackets.
pub(crate) struct Members<'w, 'a> {
    writer: &'w mut JsonWriter<'a>,
    is_first: bool,
    is_raw: bool,
    end: &'static [u8],
}

fn no_name() -> Error {
    Error::custom("key must be a string")
}

impl<'w, 'a> Members<'w, 'a> {
    #[inline]
    fn begin(writer: &'w mut JsonWriter<'a>, bracket: u8, end: &'static [u8]) -> Members<'w, 'a> {
        writer.open(bracket);
        Members { writer, is_first: true, is_raw: false, end }
    }

    #[inline]
    fn next(&mut self) {
        if !core::mem::take(&mut self.is_first) {
            self.writer.out.put_u8(b',');
        }
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.next();
        value.serialize(&mut *self.writer)
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        if self.is_raw {
            self.writer.is_raw = true;
        } else {
            self.next();
            self.writer.notes.may_break |= append_string(self.writer.out, name);
            self.writer.out.put_u8(b':');
        }
        value.serialize(&mut *self.writer)
    }

    #[inline]
    fn end(self) {
        self.writer.out.extend_from_slice(self.end);
    }

    /// A name is a string; what is none, and is neither empty nor within brackets, is put within quotes.
    fn name<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), Error> {
        self.next();
        let start = self.writer.out.len();
        self.writer.is_name = true;
        name.serialize(&mut *self.writer)?;
        self.writer.is_name = false;
        match self.writer.out.get(start) {
            Some(b'"') => {}
            Some(b'-' | b'0'..=b'9' | b't' | b'f') => {
                let text = self.writer.out.get(start..).unwrap_or_default().to_vec();
                self.writer.out.truncate(start);
                append_string(self.writer.out, core::str::from_utf8(&text).unwrap_or_default());
            }
            _ => return Err(no_name()),
        }
        self.writer.out.put_u8(b':');
        Ok(())
    }
}

macro_rules! of_values {
    ($($of:ident: $method:ident),*) => {
        $(impl ser::$of for Members<'_, '_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.value(value)
            }

            #[inline]
            fn end(self) -> Result<(), Error> {
                self.end();
                Ok(())
            }
        })*
    };
}

of_values!(
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
);

macro_rules! of_fields {
    ($($of:ident),*) => {
        $(impl ser::$of for Members<'_, '_> {
            type Ok = ();
            type Error = Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
                self.field(name, value)
            }

            #[inline]
            fn end(self) -> Result<(), Error> {
                self.end();
                Ok(())
            }
        })*
    };
}

of_fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Members<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.name(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self.writer)
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        self.end();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RawJson;
    use alloc::collections::BTreeMap;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use serde_json::Value;

    /// What both write; an error is `None`.
    fn written<T: Serialize + ?Sized>(value: &T) -> Option<String> {
        let mut out = BytesMut::from(&b"before"[..]);
        let ours = JsonWriter::write(&mut out, value).ok();
        let ours = ours.map(|_| String::from_utf8(out.split_off(6).to_vec()).unwrap());
        assert_eq!(ours, serde_json::to_string(value).ok());
        ours
    }

    #[derive(Serialize)]
    struct Zoo<'a> {
        nothing: (),
        unit: Unit,
        maybe: [Option<u8>; 2],
        #[serde(rename = "with \"quotes\"")]
        quoted: Newtype<'a>,
        integers: (i8, i16, i32, i64, i128, u8, u16, u32, u64, u128),
        floats: Vec<f64>,
        small: [f32; 3],
        chars: Vec<char>,
        bytes: serde_bytes<'a>,
        printed: core::fmt::Arguments<'a>,
        pairs: Pair,
        kinds: Vec<Kind>,
        #[serde(flatten)]
        rest: BTreeMap<&'static str, bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        absent: Option<u8>,
        raw: RawJson,
    }

    #[derive(Serialize)]
    struct Unit;
    #[derive(Serialize)]
    struct Newtype<'a>(&'a str);
    #[derive(Serialize)]
    struct Pair(u8, bool);
    #[derive(Serialize)]
    struct Empty {}
    #[derive(Serialize)]
    enum Kind {
        Unit,
        Newtype(Vec<u8>),
        Tuple(u8, char),
        Struct { a: Empty, b: () },
    }

    #[allow(non_camel_case_types, reason = "as the crate of that name")]
    struct serde_bytes<'a>(&'a [u8]);
    impl Serialize for serde_bytes<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }

    #[test]
    fn everything_that_serializes_is_written_as_serde_json_does() {
        let zoo = Zoo {
            nothing: (),
            unit: Unit,
            maybe: [None, Some(7)],
            quoted: Newtype("a\\b\u{7f}"),
            integers: (-1, i16::MIN, -10, i64::MIN, i128::MIN, 0, 9, 10, u64::MAX, u128::MAX),
            floats: vec![0.0, -0.0, 1.5, 1e300, 1e-7, f64::NAN, f64::INFINITY, 100.0],
            small: [0.1, f32::MAX, f32::NAN],
            chars: vec!['a', '"', '\n', 'ü', '\u{2028}', '🙂'],
            bytes: serde_bytes(b"\x00\xff"),
            printed: format_args!("{} and {}: \u{2028}", "a \"b\"", 7),
            pairs: Pair(1, true),
            kinds: vec![Kind::Unit, Kind::Newtype(vec![]), Kind::Tuple(1, 'x'), Kind::Struct { a: Empty {}, b: () }],
            rest: BTreeMap::from([("x", true)]),
            absent: None,
            raw: RawJson::from_text("{ \"a\" : [ 1.0 ] }").unwrap(),
        };
        assert!(written(&zoo).is_some());
    }

    #[test]
    fn names_are_strings_or_stand_within_quotes() {
        assert_eq!(written(&BTreeMap::from([(-5, 1), (7, 2)])).unwrap(), r#"{"-5":1,"7":2}"#);
        assert_eq!(written(&BTreeMap::from([(true, ())])).unwrap(), r#"{"true":null}"#);
        assert_eq!(written(&BTreeMap::from([('"', ())])).unwrap(), r#"{"\"":null}"#);
        assert_eq!(written(&BTreeMap::from([(Some("a"), ())])).unwrap(), r#"{"a":null}"#);
        assert_eq!(written(&BTreeMap::from([(None::<&str>, ())])), None);
        assert_eq!(written(&BTreeMap::from([((), ())])), None);
        assert_eq!(written(&BTreeMap::from([((1, 2), ())])), None);
        assert_eq!(written(&BTreeMap::from([([0_u8; 0], ())])), None);
    }

    #[test]
    fn d38_what_may_break_a_line_and_what_may_be_deep_is_noted() {
        let notes = |value: &dyn Fn(&mut BytesMut) -> Notes| value(&mut BytesMut::new());
        let of = |value: &Value| notes(&|out| JsonWriter::write(out, value).unwrap());
        assert_eq!(of(&serde_json::json!({"a": [1, {}], "b": "[[["})).brackets, 3);
        assert!(!of(&serde_json::json!({"a": "x\n\r\u{2027}\u{202a}ü"})).may_break);
        assert!(of(&serde_json::json!({"a": "x\u{2028}"})).may_break);
        assert!(of(&serde_json::json!({"\u{2029}": 1})).may_break);
        let raw = RawJson::from_text("{ \"a\"\n: [[]] }").unwrap();
        let noted = notes(&|out| JsonWriter::write(out, &raw).unwrap());
        assert!(noted.may_break && noted.brackets == 3);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
            "[ -~]{0,200}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                proptest::collection::btree_map(".{0,20}", inner, 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_written_as_serde_json_does(value in json()) {
            written(&value);
        }

        #[test]
        fn any_text_is_written_as_serde_json_does(text in proptest::collection::vec(any::<char>(), 0..100)) {
            written(&text.into_iter().collect::<String>());
        }

        #[test]
        fn any_control_character_is_written_as_serde_json_does(text in "[\u{0}-\u{40}\\\\\"a-z]{0,80}") {
            written(&text);
        }
    }
}
