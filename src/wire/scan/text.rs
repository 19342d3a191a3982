//! A string of the header, and what its escapes stand for.

use alloc::borrow::Cow;

use super::MAX_ID_LEN;

const ESCAPED: u32 = 1 << 31;

/// Where a string of the header stands in the frame, without its quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    start: u32,
    /// The top bit: there are escapes in it. Zero: there is no such string.
    end: u32,
}

impl Text {
    /// The string between two offsets, of which the first lies behind the opening quote.
    #[inline(always)]
    pub(super) fn new(start: usize, end: usize, escaped: bool) -> Text {
        Text { start: start as u32, end: end as u32 | if escaped { ESCAPED } else { 0 } }
    }

    pub(crate) fn is_absent(self) -> bool {
        self.end == 0
    }

    /// The string, unescaped.
    pub(crate) fn get(self, frame: &[u8]) -> Option<Cow<'_, str>> {
        let raw = self.raw(frame)?;
        if self.is_plain() {
            return core::str::from_utf8(raw).ok().map(Cow::Borrowed);
        }
        let bytes = Unescaped::of(raw).collect::<Result<_, _>>().ok()?;
        alloc::string::String::from_utf8(bytes).ok().map(Cow::Owned)
    }

    /// Whether it is written otherwise than it reads.
    pub(crate) fn is_escaped(self) -> bool {
        self.end & ESCAPED != 0
    }

    /// Whether it reads as it is written.
    pub(super) fn is_plain(self) -> bool {
        !self.is_escaped()
    }

    /// The string as it is written.
    pub(super) fn raw(self, frame: &[u8]) -> Option<&[u8]> {
        if self.is_absent() {
            return None;
        }
        frame.get(self.start as usize..(self.end & !ESCAPED) as usize)
    }

    /// Whether every surrogate in it has its other half (D39).
    #[inline(always)]
    pub(super) fn is_sound(self, frame: &[u8]) -> bool {
        self.is_plain() || self.unescaped_len(frame).is_some()
    }

    /// Whether it can be an id or a name: sound, not empty, not above the cap (D3).
    #[inline(always)]
    pub(super) fn is_id(self, frame: &[u8]) -> bool {
        let len =
            if self.is_plain() { (self.end - self.start) as usize } else { self.unescaped_len(frame).unwrap_or(0) };
        (1..=MAX_ID_LEN).contains(&len)
    }

    #[cold]
    #[inline(never)]
    fn unescaped_len(self, frame: &[u8]) -> Option<usize> {
        self.unescaped(frame).try_fold(0, |len, byte| byte.ok().map(|_| len + 1))
    }

    /// Whether two strings of one frame say the same.
    pub(super) fn same(self, other: Text, frame: &[u8]) -> bool {
        if self.is_plain() && other.is_plain() {
            return self.raw(frame) == other.raw(frame);
        }
        self.unescaped(frame).eq(other.unescaped(frame))
    }

    /// Whether the string says `text`.
    #[inline(always)]
    pub(crate) fn says(self, text: &[u8], frame: &[u8]) -> bool {
        if self.is_plain() { self.raw(frame) == Some(text) } else { self.says_unescaped(text, frame) }
    }

    #[cold]
    #[inline(never)]
    fn says_unescaped(self, text: &[u8], frame: &[u8]) -> bool {
        self.unescaped(frame).eq(text.iter().map(|byte| Ok(*byte)))
    }

    /// Its bytes, unescaped.
    pub(super) fn unescaped(self, frame: &[u8]) -> Unescaped<'_> {
        Unescaped::of(self.raw(frame).unwrap_or_default())
    }
}

/// Half a character: a `\ud800`…`\udfff` without its other half. JSON's grammar lets it pass, no string can hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoneSurrogate;

/// The bytes that a JSON string stands for, of an inside whose escapes were found well-formed.
pub(super) struct Unescaped<'a> {
    rest: &'a [u8],
    /// The character of the last escape, as far as it was not given out.
    pending: [u8; 4],
    next: u8,
    len: u8,
}

impl<'a> Unescaped<'a> {
    fn of(raw: &'a [u8]) -> Unescaped<'a> {
        Unescaped { rest: raw, pending: [0; 4], next: 0, len: 0 }
    }

    /// The code unit of a `\uXXXX` that comes next, which is then behind us.
    fn unit(&mut self) -> Option<u32> {
        let (escape, rest) = self.rest.split_first_chunk::<6>()?;
        let [b'\\', b'u', digits @ ..] = escape else { return None };
        self.rest = rest;
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    }

    fn unicode(&mut self) -> Result<u8, LoneSurrogate> {
        let mut code = self.unit().ok_or(LoneSurrogate)?;
        if let 0xd800..=0xdbff = code {
            match self.unit() {
                Some(low @ 0xdc00..=0xdfff) => code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00),
                _ => return Err(LoneSurrogate),
            }
        }
        let character = char::from_u32(code).ok_or(LoneSurrogate)?;
        self.len = character.encode_utf8(&mut self.pending).len() as u8;
        self.next = 1;
        let [first, ..] = self.pending;
        Ok(first)
    }
}

impl Iterator for Unescaped<'_> {
    type Item = Result<u8, LoneSurrogate>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next < self.len {
            let byte = self.pending.get(usize::from(self.next)).copied();
            self.next += 1;
            return byte.map(Ok);
        }
        let (byte, rest) = match self.rest {
            [b'\\', b'u', ..] => return Some(self.unicode()),
            [b'\\', b'b', rest @ ..] => (0x08, rest),
            [b'\\', b'f', rest @ ..] => (0x0c, rest),
            [b'\\', b'n', rest @ ..] => (b'\n', rest),
            [b'\\', b'r', rest @ ..] => (b'\r', rest),
            [b'\\', b't', rest @ ..] => (b'\t', rest),
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] => (*byte, rest),
            [] => return None,
        };
        self.rest = rest;
        Some(Ok(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn text(inside: &str) -> Text {
        Text::new(0, inside.len(), inside.contains('\\'))
    }

    #[test]
    fn escapes_read_as_serde_json_reads_them() {
        for inside in [
            r#"\"\\\/\b\f\n\r\t"#,
            r"\u0041\u00e9\u20ac\ud83d\ude00z",
            r"\uD83D\uDE00\u0000\uffff",
            "plain é € 😀",
            r"a\\u0041",
            r"\u005c\u0022",
        ] {
            let expected: String = serde_json::from_str(&alloc::format!("\"{inside}\"")).unwrap();
            assert_eq!(text(inside).get(inside.as_bytes()).unwrap(), expected);
            assert!(text(inside).says(expected.as_bytes(), inside.as_bytes()));
            assert!(text(inside).is_sound(inside.as_bytes()));
        }
    }

    #[test]
    fn d39_a_lone_surrogate_is_no_text() {
        for inside in
            [r"\ud800", r"\udc00", r"\ud800x", r"\ud800\n", r"\ud800\ud800", r"\ud800\u0041", r"a\udfff\ud800"]
        {
            assert!(serde_json::from_str::<String>(&alloc::format!("\"{inside}\"")).is_err());
            assert!(!text(inside).is_sound(inside.as_bytes()), "{inside}");
            assert_eq!(text(inside).get(inside.as_bytes()), None, "{inside}");
            assert!(!text(inside).is_id(inside.as_bytes()));
        }
    }

    #[test]
    fn d3_the_cap_counts_bytes_unescaped() {
        let at_the_cap = r"\u0061".repeat(MAX_ID_LEN);
        assert!(text(&at_the_cap).is_id(at_the_cap.as_bytes()));
        let above = r"\u0061".repeat(MAX_ID_LEN - 1) + r"\u00e9";
        assert!(!text(&above).is_id(above.as_bytes()));
    }
}
