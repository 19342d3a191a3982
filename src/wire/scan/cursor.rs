//! A place in a frame, moved forward over JSON as serde_json accepts it.
//!
//! What runs for each token is always inlined, and whatever is not takes and gives a place by value, in two
//! registers: a place that went through memory would make every token wait for the one before.

use super::string::{self, BLOCK};
use super::{MAX_DEPTH, Text};

/// From how many bytes on a string is looked at in blocks.
const LONG: usize = 64;

/// Why the pass cannot go on; where, the cursor tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Syntax,
    TooDeep,
}

/// What came of a way that was gone out of line: where it ended, and the flags below.
#[derive(Clone, Copy)]
struct Way {
    at: usize,
    /// Words of strings as in [`Cursor`], of which the top bits count; the flags are none of those.
    words: u64,
}

/// There were escapes in the string.
const ESCAPED: u64 = 1;
/// It ended in what is no JSON.
const SYNTAX: u64 = 2;
/// It ended in front of a bracket too many.
const TOO_DEEP: u64 = 4;

/// A place in a frame.
pub(super) struct Cursor<'a> {
    frame: &'a [u8],
    at: usize,
    /// Words of strings, one over the other, for their top bits: outside of strings no byte beyond ASCII can be.
    words: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(frame: &'a [u8]) -> Cursor<'a> {
        Cursor { frame, at: 0, words: 0 }
    }

    #[inline(always)]
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Whether all strings so far were ASCII.
    #[inline(always)]
    pub(super) fn is_ascii(&self) -> bool {
        self.words & string::TOPS == 0
    }

    /// What lies between an offset and here.
    #[inline(always)]
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.frame.get(start..self.at).unwrap_or_default()
    }

    /// The byte here; 0, which no JSON holds, at the end.
    #[inline(always)]
    fn byte(&self) -> u8 {
        self.frame.get(self.at).copied().unwrap_or(0)
    }

    /// The byte behind the one here.
    #[inline(always)]
    pub(super) fn second_byte(&self) -> u8 {
        self.frame.get(self.at + 1).copied().unwrap_or(0)
    }

    /// The eight bytes here, the first of them lowest.
    #[inline(always)]
    fn word(&self) -> Option<u64> {
        self.frame.get(self.at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
    }

    /// Goes over `bytes` if that is what stands here.
    #[inline(always)]
    pub(super) fn eat_all(&mut self, bytes: &[u8]) -> bool {
        let there = self.frame.get(self.at..).is_some_and(|rest| rest.starts_with(bytes));
        if there {
            self.at += bytes.len();
        }
        there
    }

    /// The next byte that is no whitespace, which is then here.
    #[inline(always)]
    pub(super) fn token(&mut self) -> u8 {
        let byte = self.byte();
        if byte > b' ' {
            return byte;
        }
        self.at = Cursor::behind_space(self.frame, self.at);
        self.byte()
    }

    #[inline(never)]
    fn behind_space(frame: &[u8], mut at: usize) -> usize {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = frame.get(at) {
            at += 1;
        }
        at
    }

    /// Goes over `byte`, which must be the next token.
    #[inline(always)]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.token() != byte {
            return Err(Stop::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    /// Goes over `byte` if it is the next token.
    #[inline(always)]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let there = self.token() == byte;
        if there {
            self.at += 1;
        }
        there
    }

    /// Nothing but whitespace may follow.
    #[inline(always)]
    pub(super) fn expect_end(&mut self) -> Result<(), Stop> {
        if self.at != self.frame.len() {
            self.at = Cursor::behind_space(self.frame, self.at);
        }
        if self.at == self.frame.len() { Ok(()) } else { Err(Stop::Syntax) }
    }

    /// Goes over the string that must come next; whether there are escapes in it.
    #[inline(always)]
    pub(super) fn skip_whole_string(&mut self) -> Result<bool, Stop> {
        self.expect(b'"')?;
        self.skip_string()
    }

    /// The string that ends here and began, with its quote, at an offset.
    #[inline(always)]
    pub(super) fn text(&self, start: usize, escaped: bool) -> Text {
        Text::new(start + 1, self.at - 1, escaped)
    }

    /// Goes over the rest of a string whose opening quote is behind; whether there are escapes in it.
    #[inline(always)]
    fn skip_string(&mut self) -> Result<bool, Stop> {
        let long = self.at + LONG;
        while let Some(word) = self.word() {
            self.words |= word;
            let stops = string::stops(word);
            if stops != 0 {
                self.at += stops.trailing_zeros() as usize / 8;
                if self.byte() == b'"' {
                    self.at += 1;
                    return Ok(false);
                }
                break;
            }
            self.at += 8;
            if self.at == long {
                break;
            }
        }
        let way = Cursor::behind_rest_of_string(self.frame, self.at);
        self.go(way)?;
        Ok(way.words & ESCAPED != 0)
    }

    /// Goes a way that was found out of line.
    #[inline(always)]
    fn go(&mut self, way: Way) -> Result<(), Stop> {
        self.at = way.at;
        self.words |= way.words;
        if way.words & (SYNTAX | TOO_DEEP) != 0 {
            return Err(if way.words & SYNTAX != 0 { Stop::Syntax } else { Stop::TooDeep });
        }
        Ok(())
    }

    #[inline(always)]
    fn way(&self, flags: u64) -> Way {
        Way { at: self.at, words: self.words & string::TOPS | flags }
    }

    /// The same for what is rare: escapes, long strings, the last bytes of the frame.
    #[inline(never)]
    fn behind_rest_of_string(frame: &'a [u8], at: usize) -> Way {
        let mut cursor = Cursor { frame, at, words: 0 };
        let mut flags = 0;
        let mut long = at + LONG;
        loop {
            if let Some(word) = cursor.word() {
                cursor.words |= word;
                let stops = string::stops(word);
                if stops == 0 {
                    cursor.at += 8;
                    if cursor.at == long {
                        cursor.skip_blocks();
                    }
                    continue;
                }
                cursor.at += stops.trailing_zeros() as usize / 8;
            } else {
                while let Some(byte @ (0x20..=b'!' | b'#'..=b'[' | b']'..)) = cursor.frame.get(cursor.at) {
                    cursor.words |= u64::from(*byte);
                    cursor.at += 1;
                }
            }
            match cursor.byte() {
                b'"' => {
                    cursor.at += 1;
                    return cursor.way(flags);
                }
                b'\\' => {
                    flags = ESCAPED;
                    if cursor.skip_escape().is_err() {
                        return cursor.way(SYNTAX);
                    }
                    long = cursor.at + LONG;
                }
                _ => return cursor.way(SYNTAX),
            }
        }
    }

    /// Goes over the blocks in which a string does nothing but go on.
    #[inline(always)]
    fn skip_blocks(&mut self) {
        let (blocks, _) = self.frame.get(self.at..).unwrap_or_default().as_chunks::<BLOCK>();
        let mut run = blocks.iter().take_while(|block| string::is_plain_ascii(block)).count();
        if blocks.get(run).is_some_and(string::is_plain) {
            self.words |= string::TOPS;
            run += blocks.iter().skip(run).take_while(|block| string::is_plain(block)).count();
        }
        self.at += run * BLOCK;
    }

    /// Goes over an escape. Any four digits will do: whether surrogates pair up is for whoever reads the string.
    #[inline(always)]
    fn skip_escape(&mut self) -> Result<(), Stop> {
        self.at += 1;
        match self.byte() {
            byte if string::is_letter_of_escape(byte) => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.byte().is_ascii_hexdigit() {
                        return Err(Stop::Syntax);
                    }
                    self.at += 1;
                }
            }
            _ => return Err(Stop::Syntax),
        }
        Ok(())
    }

    #[inline(always)]
    fn skip_digits(&mut self) -> Result<(), Stop> {
        if !self.byte().is_ascii_digit() {
            return Err(Stop::Syntax);
        }
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    #[inline(always)]
    fn skip_number(&mut self) -> Result<(), Stop> {
        if self.byte() == b'-' {
            self.at += 1;
        }
        if self.byte() == b'0' {
            // A digit behind it would be no part of the number, and nothing else can follow that begins with one.
            self.at += 1;
        } else {
            self.skip_digits()?;
        }
        if self.byte() == b'.' {
            self.at += 1;
            self.skip_digits()?;
        }
        if let b'e' | b'E' = self.byte() {
            self.at += 1;
            if let b'+' | b'-' = self.byte() {
                self.at += 1;
            }
            self.skip_digits()?;
        }
        Ok(())
    }

    #[inline(always)]
    fn skip_literal(&mut self, literal: &[u8]) -> Result<(), Stop> {
        if self.eat_all(literal) {
            return Ok(());
        }
        for byte in literal {
            if self.byte() != *byte {
                break;
            }
            self.at += 1;
        }
        Err(Stop::Syntax)
    }

    /// Goes over the name of a member and its colon.
    #[inline(always)]
    fn skip_name(&mut self) -> Result<(), Stop> {
        self.skip_whole_string()?;
        self.expect(b':')
    }

    /// Goes over the value that must come next, `depth` containers deep.
    #[inline(always)]
    pub(super) fn skip_value(&mut self, depth: usize) -> Result<(), Stop> {
        if self.token() == b'"' {
            self.at += 1;
            self.skip_string()?;
        } else {
            self.go(Cursor::behind_value(self.frame, self.at, depth))?;
        }
        Ok(())
    }

    #[inline(never)]
    fn behind_value(frame: &'a [u8], at: usize, depth: usize) -> Way {
        let mut cursor = Cursor { frame, at, words: 0 };
        match cursor.skip_nested(depth) {
            Ok(()) => cursor.way(0),
            Err(Stop::Syntax) => cursor.way(SYNTAX),
            Err(Stop::TooDeep) => cursor.way(TOO_DEEP),
        }
    }

    #[inline(always)]
    fn skip_nested(&mut self, depth: usize) -> Result<(), Stop> {
        // What is open, the innermost in the lowest bit: 1 for an object. There are bits for all that may be.
        const { assert!(MAX_DEPTH <= u128::BITS as usize) };
        let mut objects = 0_u128;
        let mut open = 0;
        loop {
            match self.token() {
                b'"' => {
                    self.at += 1;
                    self.skip_string()?;
                }
                b'-' | b'0'..=b'9' => self.skip_number()?,
                bracket @ (b'{' | b'[') => {
                    if depth + open >= MAX_DEPTH {
                        return Err(Stop::TooDeep);
                    }
                    self.at += 1;
                    let object = bracket == b'{';
                    if !self.eat(if object { b'}' } else { b']' }) {
                        objects = objects << 1 | u128::from(object);
                        open += 1;
                        if object {
                            self.skip_name()?;
                        }
                        continue;
                    }
                }
                b't' => self.skip_literal(b"true")?,
                b'f' => self.skip_literal(b"false")?,
                b'n' => self.skip_literal(b"null")?,
                _ => return Err(Stop::Syntax),
            }
            loop {
                if open == 0 {
                    return Ok(());
                }
                let object = objects & 1 == 1;
                if self.eat(b',') {
                    if object {
                        self.skip_name()?;
                    }
                    break;
                }
                self.expect(if object { b'}' } else { b']' })?;
                objects >>= 1;
                open -= 1;
            }
        }
    }
}
