//! The hot path: one validating pass over a frame that finds its header.
//!
//! What is JSON and what is not is serde_json's judgement when it skips a value; a differential test and a fuzz
//! target hold the two together (`tests/decode_oracle.rs`).

mod cursor;
mod string;
mod text;

use cursor::{Cursor, Stop};
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
pub(crate) fn scan(frame: &[u8]) -> Result<Head, Refused> {
    let mut pass =
        Pass { cursor: Cursor::new(frame), head: Head::default(), payload_job_id: Text::default(), fault: None };
    let end = pass.run();
    // A frame that is not UTF-8 is told so, whatever else is wrong with it: nothing in it can be trusted to be text.
    if (end.is_err() || !pass.cursor.is_ascii()) && simdutf8::basic::from_utf8(frame).is_err() {
        return Err((FrameFault::NotUtf8, Text::default()));
    }
    match (end, pass.fault) {
        (Ok(()), None) => Ok(pass.head),
        (Ok(()), Some(fault)) => Err((fault, pass.head.id)),
        (Err(Stop::TooDeep), _) => Err((FrameFault::TooDeep, pass.head.id)),
        (Err(Stop::Syntax), _) => Err((FrameFault::Syntax { offset: pass.cursor.offset() }, Text::default())),
    }
}

/// A header member's string.
enum Found {
    Null,
    Text(Text),
    OtherType,
}

struct Pass<'a> {
    cursor: Cursor<'a>,
    head: Head,
    payload_job_id: Text,
    /// The first fault in what is JSON all the same: the pass goes on, to learn whether it is and to find the id.
    fault: Option<FrameFault>,
}

impl Pass<'_> {
    fn run(&mut self) -> Result<(), Stop> {
        if self.cursor.token() == b'{' {
            self.members()?;
        } else {
            self.cursor.skip_value(0)?;
            self.fault = Some(FrameFault::NotAnObject);
        }
        self.cursor.expect_end()?;
        self.judge();
        Ok(())
    }

    /// What only shows once all members are known.
    fn judge(&mut self) {
        let frame = self.cursor.frame();
        if self.head.type_name.is_absent() {
            self.fail(FrameFault::Field(HeaderField::Type));
        } else if let Some(name) = self.head.type_name.raw(frame) {
            // A type that is written with escapes is looked up when it is asked for.
            self.head.message_type = MessageType::from_bytes(name);
        }
        let in_payload = self.payload_job_id;
        if in_payload.is_absent() {
            return;
        }
        if self.head.job_id.is_absent() {
            if !in_payload.is_id(frame) {
                self.fail(FrameFault::Field(HeaderField::JobId));
            }
            self.head.job_id = in_payload;
        } else if !self.head.job_id.same(in_payload, frame) {
            self.fail(FrameFault::JobIdConflict);
        }
    }

    #[cold]
    fn fail(&mut self, fault: FrameFault) {
        self.fault.get_or_insert(fault);
    }

    /// The envelope's members.
    fn members(&mut self) -> Result<(), Stop> {
        self.cursor.expect(b'{')?;
        if self.cursor.eat(b'}') {
            return Ok(());
        }
        let frame = self.cursor.frame();
        let mut seen = 0_u8;
        let mut id_repeated = false;
        loop {
            let name = self.cursor.string()?;
            // serde_json reads the names of a struct's members as text, those further down it skips.
            if !name.is_sound(frame) {
                return Err(Stop::Syntax);
            }
            self.cursor.expect(b':')?;
            let field = if name.is_plain() {
                field(name.raw(frame).unwrap_or_default())
            } else {
                FIELDS.into_iter().find(|field| name.says(field.name().as_bytes(), frame))
            };
            match field {
                Some(field) => {
                    let bit = 1 << field as u8;
                    if seen & bit != 0 {
                        self.fail(FrameFault::Duplicate(field));
                        id_repeated |= field == HeaderField::Id;
                    }
                    seen |= bit;
                    self.member(field)?;
                }
                None => self.cursor.skip_value(1)?,
            }
            if !self.cursor.eat(b',') {
                break;
            }
        }
        if id_repeated {
            // Which of them the peer would know its message by is anyone's guess.
            self.head.id = Text::default();
        }
        self.cursor.expect(b'}')
    }

    #[inline]
    fn member(&mut self, field: HeaderField) -> Result<(), Stop> {
        match field {
            HeaderField::EventSeq => return self.event_seq(),
            HeaderField::Payload => return self.payload(),
            _ => {}
        }
        let frame = self.cursor.frame();
        let found = self.text(1)?;
        let fault = FrameFault::Field(field);
        if field == HeaderField::Arcp {
            match found {
                Found::Text(version) if version.says(b"1.1", frame) => {}
                Found::Text(version) if version.is_sound(frame) => self.fail(FrameFault::Version),
                Found::Text(_) | Found::OtherType => self.fail(fault),
                Found::Null => {}
            }
            return Ok(());
        }
        if field == HeaderField::TraceId {
            match found {
                Found::Text(text) if text.is_sound(frame) => self.head.trace_id = text,
                Found::Text(_) => self.fail(fault),
                Found::OtherType | Found::Null => {}
            }
            return Ok(());
        }
        match found {
            Found::Text(text) if text.is_id(frame) => match field {
                HeaderField::Id => self.head.id = text,
                HeaderField::Type => self.head.type_name = text,
                HeaderField::SessionId => self.head.session_id = text,
                _ => self.head.job_id = text,
            },
            Found::Text(_) | Found::OtherType => self.fail(fault),
            Found::Null => {}
        }
        Ok(())
    }

    /// A value, `depth` containers deep, that ought to be a string.
    #[inline]
    fn text(&mut self, depth: usize) -> Result<Found, Stop> {
        match self.cursor.token() {
            b'"' => self.cursor.string().map(Found::Text),
            b'n' => self.cursor.skip_value(depth).map(|()| Found::Null),
            _ => self.cursor.skip_value(depth).map(|()| Found::OtherType),
        }
    }

    fn event_seq(&mut self) -> Result<(), Stop> {
        // Digits alone: no sign, fraction or exponent. 17 of them are above the limit already.
        let plain = |text: &[u8]| {
            let value = text.iter().try_fold(0_u64, |value, digit| match digit {
                b'0'..=b'9' => Some(value * 10 + u64::from(digit - b'0')),
                _ => None,
            });
            value.filter(|value| *value < SEQ_LIMIT)
        };
        match self.cursor.value(1)? {
            b"null" => {}
            text => match (text.len() <= 16).then(|| plain(text)).flatten() {
                Some(value) => self.head.event_seq = value,
                None => self.fail(FrameFault::Field(HeaderField::EventSeq)),
            },
        }
        Ok(())
    }

    fn payload(&mut self) -> Result<(), Stop> {
        match self.cursor.token() {
            b'{' => {
                let start = self.cursor.offset();
                self.payload_members()?;
                self.head.payload = (start as u32, self.cursor.offset() as u32);
            }
            b'n' => self.cursor.skip_value(1)?,
            _ => {
                self.cursor.skip_value(1)?;
                self.fail(FrameFault::Field(HeaderField::Payload));
            }
        }
        Ok(())
    }

    /// The payload's own members: `kind` and `job_id` are ours to know, where they are strings that can be read.
    /// What else they may be, a typed reading of the payload judges (D34, D39).
    fn payload_members(&mut self) -> Result<(), Stop> {
        let frame = self.cursor.frame();
        self.cursor.expect(b'{')?;
        if self.cursor.eat(b'}') {
            return Ok(());
        }
        loop {
            let name = self.cursor.string()?;
            self.cursor.expect(b':')?;
            if name.says(b"kind", frame) {
                self.head.event_kind = self.readable(|_| true)?;
            } else if name.says(b"job_id", frame) {
                // One peer's empty string is another's absent member.
                self.payload_job_id = self.readable(|text| !text.says(b"", frame))?;
            } else {
                self.cursor.skip_value(2)?;
            }
            if !self.cursor.eat(b',') {
                return self.cursor.expect(b'}');
            }
        }
    }

    fn readable(&mut self, wanted: impl FnOnce(Text) -> bool) -> Result<Text, Stop> {
        let found = self.text(2)?;
        let frame = self.cursor.frame();
        Ok(match found {
            Found::Text(text) if text.is_sound(frame) && wanted(text) => text,
            _ => Text::default(),
        })
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

#[inline]
fn field(name: &[u8]) -> Option<HeaderField> {
    Some(match name {
        b"arcp" => HeaderField::Arcp,
        b"id" => HeaderField::Id,
        b"type" => HeaderField::Type,
        b"session_id" => HeaderField::SessionId,
        b"trace_id" => HeaderField::TraceId,
        b"job_id" => HeaderField::JobId,
        b"event_seq" => HeaderField::EventSeq,
        b"payload" => HeaderField::Payload,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
