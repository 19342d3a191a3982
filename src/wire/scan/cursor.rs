//! A place in a frame, moved forward over JSON as serde_json accepts it.

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

/// A place in a frame.
pub(super) struct Cursor<'a> {
    frame: &'a [u8],
    at: usize,
    /// Words of strings, one over the other, for their top bits: outside of strings no byte beyond ASCII can be.
    beyond_ascii: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(frame: &'a [u8]) -> Cursor<'a> {
        Cursor { frame, at: 0, beyond_ascii: 0 }
    }

    pub(super) fn offset(&self) -> usize {
        self.at
    }

    pub(super) fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// Whether all strings so far were ASCII.
    pub(super) fn is_ascii(&self) -> bool {
        self.beyond_ascii & string::TOPS == 0
    }

    /// The byte here; 0, which no JSON holds, at the end.
    #[inline]
    fn byte(&self) -> u8 {
        self.frame.get(self.at).copied().unwrap_or(0)
    }

    /// The next byte that is no whitespace, which is then here.
    #[inline]
    pub(super) fn token(&mut self) -> u8 {
        loop {
            match self.byte() {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// Goes over `byte`, which must be the next token.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.token() != byte {
            return Err(Stop::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    /// Goes over `byte` if it is the next token.
    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let there = self.token() == byte;
        self.at += usize::from(there);
        there
    }

    /// Nothing but whitespace may follow.
    pub(super) fn expect_end(&mut self) -> Result<(), Stop> {
        self.token();
        if self.at == self.frame.len() { Ok(()) } else { Err(Stop::Syntax) }
    }

    /// The string that must come next.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text, Stop> {
        self.expect(b'"')?;
        let start = self.at;
        let escaped = self.skip_string()?;
        Ok(Text::new(start, self.at - 1, escaped))
    }

    /// Goes over the rest of a string whose opening quote is behind; whether there are escapes in it.
    #[inline]
    fn skip_string(&mut self) -> Result<bool, Stop> {
        let mut escaped = false;
        loop {
            self.skip_run();
            match self.byte() {
                b'"' => {
                    self.at += 1;
                    return Ok(escaped);
                }
                b'\\' => {
                    escaped = true;
                    self.skip_escape()?;
                }
                _ => return Err(Stop::Syntax),
            }
        }
    }

    /// Goes on to the next byte at which a string cannot simply go on.
    #[inline]
    fn skip_run(&mut self) {
        // Most strings are short. The long ones pay a few words for being found out.
        for _ in 0..LONG / 8 {
            let Some(word) = self.frame.get(self.at..).and_then(<[u8]>::first_chunk) else {
                return self.skip_last_run();
            };
            let word = u64::from_le_bytes(*word);
            let run = string::run_of_word(word);
            self.beyond_ascii |= word;
            self.at += run;
            if run < 8 {
                return;
            }
        }
        self.skip_long_run();
    }

    #[inline(never)]
    fn skip_long_run(&mut self) {
        let rest = self.frame.get(self.at..).unwrap_or_default();
        let (blocks, _) = rest.as_chunks::<BLOCK>();
        let ascii = blocks.iter().take_while(|block| string::is_plain_ascii(block)).count();
        let mut run = ascii;
        if blocks.get(run).is_some_and(string::is_plain) {
            self.beyond_ascii |= string::TOPS;
            run += blocks.iter().skip(run).take_while(|block| string::is_plain(block)).count();
        }
        self.at += run * BLOCK;
        while let Some(word) = self.frame.get(self.at..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_le_bytes(*word);
            let run = string::run_of_word(word);
            self.beyond_ascii |= word;
            self.at += run;
            if run < 8 {
                return;
            }
        }
        self.skip_last_run();
    }

    /// The same where less than a word is left.
    #[cold]
    fn skip_last_run(&mut self) {
        while let Some(byte @ (0x20..=b'!' | b'#'..=b'[' | b']'..)) = self.frame.get(self.at) {
            self.beyond_ascii |= u64::from(*byte);
            self.at += 1;
        }
    }

    /// Goes over an escape. Any four digits will do: whether surrogates pair up is for whoever reads the string.
    fn skip_escape(&mut self) -> Result<(), Stop> {
        self.at += 1;
        match self.byte() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
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

    fn skip_digits(&mut self) -> Result<(), Stop> {
        if !self.byte().is_ascii_digit() {
            return Err(Stop::Syntax);
        }
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), Stop> {
        if self.byte() == b'-' {
            self.at += 1;
        }
        if self.byte() == b'0' {
            self.at += 1;
            if self.byte().is_ascii_digit() {
                return Err(Stop::Syntax);
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

    fn skip_word(&mut self, word: &[u8]) -> Result<(), Stop> {
        for byte in word {
            if self.byte() != *byte {
                return Err(Stop::Syntax);
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Goes over the name of a member and its colon.
    #[inline]
    fn skip_name(&mut self) -> Result<(), Stop> {
        self.expect(b'"')?;
        self.skip_string()?;
        self.expect(b':')
    }

    /// Goes over the value that must come next, `depth` containers deep, and gives its text.
    #[inline]
    pub(super) fn value(&mut self, depth: usize) -> Result<&'a [u8], Stop> {
        self.token();
        let start = self.at;
        self.skip_value(depth)?;
        Ok(self.frame.get(start..self.at).unwrap_or_default())
    }

    /// Goes over the value that must come next, `depth` containers deep.
    pub(super) fn skip_value(&mut self, depth: usize) -> Result<(), Stop> {
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
                b't' => self.skip_word(b"true")?,
                b'f' => self.skip_word(b"false")?,
                b'n' => self.skip_word(b"null")?,
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
