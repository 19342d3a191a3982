//! The hot path: one validating pass over a frame that finds its header.
//!
//! What is JSON and what is not is serde_json's judgement when it skips a value; a differential test and a fuzz
//! target hold the two together (`tests/decode_oracle.rs`).

mod cursor;
mod string;
mod text;

use cursor::{Cursor, Stop};
pub(crate) use string::{first_stop, is_plain_ascii_text};
pub(crate) use text::Text;

use super::frame_fault::{FrameFault, HeaderField};
use super::message::MessageType;

/// The deepest nesting of arrays and objects in a frame; the envelope itself counts as one (D39).
pub const MAX_DEPTH: usize = 128;
/// The longest id, session id, job id or type name, in bytes of the unescaped text (D3).
pub const MAX_ID_LEN: usize = 256;
/// One more than the largest sequence number: 2^53, where JSON numbers stop being exact.
pub const SEQ_LIMIT: u64 = 1 << 53;

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
    /// The type, if it is a known one: asked for more often than anything else.
    pub(crate) message_type: Option<MessageType>,
}

/// Why a frame was refused, and its id if that much could be read.
pub(crate) type Refused = (FrameFault, Text);

/// Checks that a frame is UTF-8, JSON and an envelope, and finds its header.
///
/// Frames are shorter than 2 GiB: offsets are kept in 31 bits.
#[inline]
pub(crate) fn scan(frame: &[u8]) -> Result<Head, Refused> {
    let mut pass =
        Pass { frame, head: Head::default(), payload_job_id: Text::default(), fault: None, id_repeated: false };
    let mut cursor = Cursor::new(frame);
    let end = pass.run(&mut cursor);
    // A frame that is not UTF-8 is told so, whatever else is wrong with it: nothing in it can be trusted to be text.
    if (end.is_err() || !cursor.is_ascii()) && simdutf8::basic::from_utf8(frame).is_err() {
        return Err((FrameFault::NotUtf8, Text::default()));
    }
    match (end, pass.fault) {
        (Ok(()), None) => Ok(pass.head),
        (Ok(()), Some(fault)) => Err((fault, pass.id())),
        (Err(Stop::TooDeep), _) => Err((FrameFault::TooDeep, pass.id())),
        (Err(Stop::Syntax), _) => Err((FrameFault::Syntax { offset: cursor.offset() }, Text::default())),
    }
}

struct Pass<'a> {
    frame: &'a [u8],
    head: Head,
    payload_job_id: Text,
    /// The first fault in what is JSON all the same: the pass goes on, to learn whether it is and to find the id.
    fault: Option<FrameFault>,
    id_repeated: bool,
}

impl Pass<'_> {
    #[inline(always)]
    fn run(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        if cursor.token() == b'{' {
            self.members(cursor)?;
        } else {
            cursor.skip_value(0)?;
            self.fault = Some(FrameFault::NotAnObject);
        }
        cursor.expect_end()?;
        self.judge();
        Ok(())
    }

    /// What only shows once all members are known.
    #[inline(always)]
    fn judge(&mut self) {
        if self.head.type_name.is_absent() {
            self.fail(FrameFault::Field(HeaderField::Type));
        } else if let Some(name) = self.head.type_name.raw(self.frame) {
            // A type that is written with escapes is looked up when it is asked for.
            self.head.message_type = MessageType::from_bytes(name);
        }
        if !self.payload_job_id.is_absent() {
            self.judge_jobs();
        }
    }

    /// Which of the two jobs it is (D34).
    fn judge_jobs(&mut self) {
        let in_payload = self.payload_job_id;
        if self.head.job_id.is_absent() {
            if !in_payload.is_id(self.frame) {
                self.fail(FrameFault::Field(HeaderField::JobId));
            }
            self.head.job_id = in_payload;
        } else if !self.head.job_id.same(in_payload, self.frame) {
            self.fail(FrameFault::JobIdConflict);
        }
    }

    /// The id that a refusal may name: of two, nobody knows which one the peer means.
    fn id(&self) -> Text {
        if self.id_repeated { Text::default() } else { self.head.id }
    }

    #[cold]
    fn fail(&mut self, fault: FrameFault) {
        self.fault.get_or_insert(fault);
    }

    /// The envelope's members.
    #[inline(always)]
    fn members(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        cursor.expect(b'{')?;
        if cursor.eat(b'}') {
            return Ok(());
        }
        let mut seen = 0_u8;
        loop {
            match self.field(cursor)? {
                Some(field) => {
                    let bit = 1 << field as u8;
                    if seen & bit != 0 {
                        self.fail(FrameFault::Duplicate(field));
                        self.id_repeated |= field == HeaderField::Id;
                    }
                    seen |= bit;
                    self.member(cursor, field)?;
                }
                None => cursor.skip_value(1)?,
            }
            if !cursor.eat(b',') {
                break;
            }
        }
        cursor.expect(b'}')
    }

    /// Goes over the name of a member of the envelope and its colon; which one it is, if it is one of ours.
    #[inline(always)]
    fn field(&self, cursor: &mut Cursor<'_>) -> Result<Option<HeaderField>, Stop> {
        // As nearly everyone writes it, a name is told by a word or two, and its end need not be looked for.
        let likely = match cursor.second_byte() {
            b'a' => HeaderField::Arcp,
            b'e' => HeaderField::EventSeq,
            b'i' => HeaderField::Id,
            b'j' => HeaderField::JobId,
            b'p' => HeaderField::Payload,
            b's' => HeaderField::SessionId,
            b't' if cursor.eat_all(b"\"type\":") => return Ok(Some(HeaderField::Type)),
            _ => HeaderField::TraceId,
        };
        let there = match likely {
            HeaderField::Arcp => cursor.eat_all(b"\"arcp\":"),
            HeaderField::EventSeq => cursor.eat_all(b"\"event_seq\":"),
            HeaderField::Id => cursor.eat_all(b"\"id\":"),
            HeaderField::JobId => cursor.eat_all(b"\"job_id\":"),
            HeaderField::Payload => cursor.eat_all(b"\"payload\":"),
            HeaderField::SessionId => cursor.eat_all(b"\"session_id\":"),
            _ => cursor.eat_all(b"\"trace_id\":"),
        };
        if there {
            return Ok(Some(likely));
        }
        cursor.token();
        let start = cursor.offset();
        let escaped = cursor.skip_whole_string()?;
        let name = cursor.text(start, escaped);
        // serde_json reads the names of a struct's members as text, those further down it skips.
        if !name.is_sound(self.frame) {
            return Err(Stop::Syntax);
        }
        cursor.expect(b':')?;
        Ok(self.field_of(name))
    }

    #[inline(never)]
    fn field_of(&self, name: Text) -> Option<HeaderField> {
        FIELDS.into_iter().find(|field| name.says(field.name().as_bytes(), self.frame))
    }

    #[inline(always)]
    fn member(&mut self, cursor: &mut Cursor<'_>, field: HeaderField) -> Result<(), Stop> {
        match field {
            HeaderField::Arcp if cursor.eat_all(b"\"1.1\"") => return Ok(()),
            HeaderField::EventSeq => return self.event_seq(cursor),
            HeaderField::Payload => return self.payload(cursor),
            _ => {}
        }
        let first = cursor.token();
        let start = cursor.offset();
        if first == b'"' {
            let escaped = cursor.skip_whole_string()?;
            self.text_member(field, cursor.text(start, escaped));
        } else {
            cursor.skip_value(1)?;
            if first != b'n' && field != HeaderField::TraceId {
                self.fail(FrameFault::Field(field));
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn text_member(&mut self, field: HeaderField, text: Text) {
        if !text.is_id(self.frame) {
            return self.odd_text_member(field, text);
        }
        match field {
            HeaderField::Id => self.head.id = text,
            HeaderField::Type => self.head.type_name = text,
            HeaderField::SessionId => self.head.session_id = text,
            HeaderField::TraceId => self.head.trace_id = text,
            HeaderField::JobId => self.head.job_id = text,
            _ => self.odd_text_member(field, text),
        }
    }

    /// A string that could be no id, or a version.
    #[cold]
    #[inline(never)]
    fn odd_text_member(&mut self, field: HeaderField, text: Text) {
        match field {
            HeaderField::Arcp if text.says(b"1.1", self.frame) => {}
            HeaderField::Arcp if text.is_sound(self.frame) => self.fail(FrameFault::Version),
            // Whatever it is, it costs the message nothing, as long as it is text (D4).
            HeaderField::TraceId if text.is_sound(self.frame) => self.head.trace_id = text,
            _ => self.fail(FrameFault::Field(field)),
        }
    }

    #[inline(always)]
    fn event_seq(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        cursor.token();
        let start = cursor.offset();
        cursor.skip_value(1)?;
        let text = cursor.since(start);
        // Digits alone: no sign, fraction or exponent. 17 of them are above the limit already.
        let value = text.iter().take(17).try_fold(0_u64, |value, digit| match digit {
            b'0'..=b'9' => Some(value * 10 + u64::from(digit - b'0')),
            _ => None,
        });
        match value.filter(|value| *value < SEQ_LIMIT) {
            Some(value) => self.head.event_seq = value,
            None if text == b"null" => {}
            None => self.fail(FrameFault::Field(HeaderField::EventSeq)),
        }
        Ok(())
    }

    #[inline(always)]
    fn payload(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        match cursor.token() {
            b'{' => {
                let start = cursor.offset();
                self.payload_members(cursor)?;
                self.head.payload = (start as u32, cursor.offset() as u32);
            }
            b'n' => cursor.skip_value(1)?,
            _ => {
                cursor.skip_value(1)?;
                self.fail(FrameFault::Field(HeaderField::Payload));
            }
        }
        Ok(())
    }

    /// The payload's own members: `kind` and `job_id` are ours to know, where they are strings that can be read.
    /// What else they may be, a typed reading of the payload judges (D34, D39).
    #[inline(always)]
    fn payload_members(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        cursor.expect(b'{')?;
        if cursor.eat(b'}') {
            return Ok(());
        }
        loop {
            let name = if cursor.eat_all(b"\"kind\":") {
                Name::Kind
            } else {
                cursor.token();
                let start = cursor.offset();
                let escaped = cursor.skip_whole_string()?;
                let name = cursor.text(start, escaped);
                cursor.expect(b':')?;
                Name::of(name, self.frame)
            };
            let is_text = cursor.token() == b'"';
            let start = cursor.offset();
            if !is_text {
                cursor.skip_value(2)?;
                self.payload_member(name, Text::default());
            } else {
                let escaped = cursor.skip_whole_string()?;
                self.payload_member(name, cursor.text(start, escaped));
            }
            if !cursor.eat(b',') {
                return cursor.expect(b'}');
            }
        }
    }

    /// The string of a member of the payload; absent, if it is none.
    #[inline(always)]
    fn payload_member(&mut self, name: Name, text: Text) {
        if let Name::Other = name {
            return;
        }
        let text = if text.is_sound(self.frame) { text } else { Text::default() };
        if let Name::Kind = name {
            self.head.event_kind = text;
        } else {
            // One peer's empty string is another's absent member.
            self.payload_job_id = if text.says(b"", self.frame) { Text::default() } else { text };
        }
    }
}

/// The name of a member of the payload.
#[derive(Clone, Copy)]
enum Name {
    Kind,
    JobId,
    Other,
}

impl Name {
    #[inline(always)]
    fn of(name: Text, frame: &[u8]) -> Name {
        if name.says(b"job_id", frame) {
            Name::JobId
        } else if name.says(b"kind", frame) {
            Name::Kind
        } else {
            Name::Other
        }
    }
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

#[cfg(test)]
mod tests;
