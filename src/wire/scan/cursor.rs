//! A place in a frame, moved forward over JSON as serde_json accepts it.
//!
//! What runs for each token is always inlined, and whatever is not takes and gives cursors by value: so the place
//! stays in a register, and the processor may guess where the next token is before it has found the end of this.

use super::string::{self, BLOCK};
use super::{MAX_DEPTH, Text};

/// From how many bytes on a string is looked at in blocks.
const LONG: usize = 64;

/// Why and where the pass cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Syntax { offset: usize },
    TooDeep,
}

/// A place in a frame.
#[derive(Clone, Copy)]
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

    #[cold]
    fn syntax(&self) -> Stop {
        Stop::Syntax { offset: self.at }
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
        *self = self.behind_space();
        self.byte()
    }

    #[inline(never)]
    fn behind_space(mut self) -> Cursor<'a> {
        while let b' ' | b'\n' | b'\r' | b'\t' = self.byte() {
            self.at += 1;
        }
        self
    }

    /// Goes over `byte`, which must be the next token.
    #[inline(always)]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.token() != byte {
            return Err(self.syntax());
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
            *self = self.behind_space();
        }
        if self.at == self.frame.len() { Ok(()) } else { Err(self.syntax()) }
    }

    /// The string that must come next.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Result<Text, Stop> {
        self.expect(b'"')?;
        let start = self.at;
        let escaped = self.skip_string()?;
        Ok(Text::new(start, self.at - 1, escaped))
    }

    /// Goes over the rest of a string whose opening quote is behind; whether there are escapes in it.
    #[inline(always)]
    pub(super) fn skip_string(&mut self) -> Result<bool, Stop> {
        for _ in 0..LONG / 8 {
            let Some(word) = self.word() else { break };
            self.words |= word;
            let stops = string::stops(word);
            if stops == 0 {
                self.at += 8;
                continue;
            }
            self.at += stops.trailing_zeros() as usize / 8;
            if self.byte() != b'"' {
                break;
            }
            self.at += 1;
            return Ok(false);
        }
        let (behind, escaped) = self.behind_rest_of_string()?;
        *self = behind;
        Ok(escaped)
    }

    /// The same for what is rare: escapes, long strings, the last bytes of the frame.
    #[inline(never)]
    fn behind_rest_of_string(mut self) -> Result<(Cursor<'a>, bool), Stop> {
        let mut escaped = false;
        loop {
            self.skip_run();
            match self.byte() {
                b'"' => {
                    self.at += 1;
                    return Ok((self, escaped));
                }
                b'\\' => {
                    escaped = true;
                    self.skip_escape()?;
                }
                _ => return Err(self.syntax()),
            }
        }
    }

    /// Goes on to the next byte at which a string cannot simply go on.
    #[inline(always)]
    fn skip_run(&mut self) {
        for _ in 0..LONG / 8 {
            if self.skip_word_of_run() {
                return;
            }
        }
        self.skip_blocks();
        while !self.skip_word_of_run() {}
    }

    /// Goes over up to eight bytes of a string; whether the end of a run is here.
    #[inline(always)]
    fn skip_word_of_run(&mut self) -> bool {
        let Some(word) = self.word() else {
            while let Some(byte @ (0x20..=b'!' | b'#'..=b'[' | b']'..)) = self.frame.get(self.at) {
                self.words |= u64::from(*byte);
                self.at += 1;
            }
            return true;
        };
        self.words |= word;
        let stops = string::stops(word);
        self.at += stops.trailing_zeros() as usize / 8;
        stops != 0
    }

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
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.byte().is_ascii_hexdigit() {
                        return Err(self.syntax());
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.syntax()),
        }
        Ok(())
    }

    #[inline(always)]
    fn skip_digits(&mut self) -> Result<(), Stop> {
        if !self.byte().is_ascii_digit() {
            return Err(self.syntax());
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
            self.at += 1;
            if self.byte().is_ascii_digit() {
                return Err(self.syntax());
            }
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
        if !self.eat_all(literal) {
            return Err(self.in_literal(literal));
        }
        Ok(())
    }

    #[cold]
    fn in_literal(mut self, literal: &[u8]) -> Stop {
        for byte in literal {
            if self.byte() != *byte {
                break;
            }
            self.at += 1;
        }
        self.syntax()
    }

    /// Goes over the name of a member and its colon.
    #[inline(always)]
    fn skip_name(&mut self) -> Result<(), Stop> {
        self.expect(b'"')?;
        self.skip_string()?;
        self.expect(b':')
    }

    /// Goes over the value that must come next, `depth` containers deep.
    #[inline(always)]
    pub(super) fn skip_value(&mut self, depth: usize) -> Result<(), Stop> {
        if self.token() == b'"' {
            self.at += 1;
            self.skip_string()?;
        } else {
            *self = self.behind_value(depth)?;
        }
        Ok(())
    }

    #[inline(never)]
    fn behind_value(mut self, depth: usize) -> Result<Cursor<'a>, Stop> {
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
                _ => return Err(self.syntax()),
            }
            loop {
                if open == 0 {
                    return Ok(self);
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
