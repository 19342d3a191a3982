//! The bytes at which a string cannot simply go on (quotes, backslashes, control characters), and those behind a
//! backslash.

const ONES: u64 = u64::MAX / 255;
/// The top bit of each byte; set in a word of a string, there is more than ASCII in it.
pub(super) const TOPS: u64 = ONES << 7;

/// The top bit of the word's lowest byte at which a string cannot simply go on, and maybe some above it; 0 if there
/// is no such byte.
#[inline(always)]
pub(super) fn stops(word: u64) -> u64 {
    // A byte-wise `< n` by the borrow of a subtraction: the lowest hit is exact, above it there may be false ones.
    // With the second bit turned over, quotes stand right above the control characters.
    let control_or_quote = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (control_or_quote | backslash) & !word & TOPS
}

/// The length of the blocks that long strings are looked at in.
pub(super) const BLOCK: usize = 64;

/// Whether a string can go on over the whole block, and all of it is ASCII.
#[inline(always)]
pub(super) fn is_plain_ascii(block: &[u8; BLOCK]) -> bool {
    // Without a way out of the loop, so that it becomes a few vector instructions. As signed numbers, bytes beyond
    // ASCII are below the space, too.
    block.iter().fold(true, |plain, byte| plain & (*byte as i8 >= 0x20) & (*byte != b'"') & (*byte != b'\\'))
}

/// Whether a string can go on over the whole block.
#[inline(always)]
pub(super) fn is_plain(block: &[u8; BLOCK]) -> bool {
    block.iter().fold(true, |plain, byte| plain & (*byte >= 0x20) & (*byte != b'"') & (*byte != b'\\'))
}

/// Whether the byte makes an escape with the backslash alone. A look into a table, where a `match` would be a jump
/// that depends on the text.
#[inline(always)]
pub(super) fn is_letter_of_escape(byte: u8) -> bool {
    #[expect(clippy::indexing_slicing, reason = "by a byte, and at compile time")]
    const LETTERS: [bool; 256] = {
        let mut letters = [false; 256];
        let mut rest: &[u8] = b"\"\\/bfnrt";
        while let [letter, others @ ..] = rest {
            letters[*letter as usize] = true;
            rest = others;
        }
        letters
    };
    LETTERS.get(usize::from(byte)).copied().unwrap_or(false)
}

/// Whether a string can go on over the whole text, and all of it is ASCII.
#[inline]
pub(crate) fn is_plain_ascii_text(text: &[u8]) -> bool {
    let mark = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        stops(word) | word & TOPS
    };
    // The last of them is looked at with what is before it, where there is less left.
    if let Some(last) = text.last_chunk::<BLOCK>() {
        text.as_chunks::<BLOCK>().0.iter().all(is_plain_ascii) && is_plain_ascii(last)
    } else if let Some(last) = text.last_chunk::<8>() {
        text.as_chunks::<8>().0.iter().fold(mark(last), |marks, word| marks | mark(word)) == 0
    } else {
        mark(&short(text)) == 0
    }
}

/// A text of less than eight bytes, some of them more than once or with others behind them that go on.
#[inline(always)]
fn short(text: &[u8]) -> [u8; 8] {
    match (text.first_chunk(), text.last_chunk()) {
        (Some([a, b, c, d]), Some([e, f, g, h])) => [*a, *b, *c, *d, *e, *f, *g, *h],
        _ => match *text {
            [a, b, c] => [a, b, c, c, c, c, c, c],
            [a, b] => [a, b, b, b, b, b, b, b],
            [a] => [a; 8],
            _ => [b' '; 8],
        },
    }
}

/// The first byte at which a string cannot simply go on, what is before it and what is behind it.
pub(crate) fn first_stop(text: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let (words, _) = text.as_chunks::<8>();
    let clean = words.iter().take_while(|word| stops(u64::from_le_bytes(**word)) == 0).count() * 8;
    let is_stop = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let at = clean + text.get(clean..)?.iter().position(is_stop)?;
    let (plain, rest) = text.split_at_checked(at)?;
    let (stop, after) = rest.split_first()?;
    Some((plain, *stop, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn is_stop(byte: u8) -> bool {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    }

    fn run(word: [u8; 8]) -> usize {
        stops(u64::from_le_bytes(word)).trailing_zeros() as usize / 8
    }

    #[test]
    fn a_run_ends_at_each_byte_that_stops_a_string() {
        for filler in [b'a', 0x20, 0x7f, 0x80, 0xff, b'!', b'#', b'[', b']', 0xa2, 0xdc, 0x9f] {
            for byte in 0..=255 {
                for at in 0..8 {
                    let mut word = [filler; 8];
                    word[at] = byte;
                    assert_eq!(run(word), if is_stop(byte) { at } else { 8 }, "{word:?}");
                }
                for at in 0..BLOCK {
                    let mut block = [filler; BLOCK];
                    block[at] = byte;
                    assert_eq!(is_plain(&block), !is_stop(byte));
                    assert_eq!(is_plain_ascii(&block), !is_stop(byte) && block.is_ascii());
                }
            }
        }
    }

    #[test]
    fn a_text_is_plain_up_to_each_byte_that_stops_a_string() {
        for len in 0..150 {
            let text = vec![b'a'; len];
            assert!(is_plain_ascii_text(&text));
            assert_eq!(first_stop(&text), None);
            for at in 0..len {
                for byte in [0, 0x1f, b'"', b'\\', 0x80, 0xe2, 0xff, b'!', b' ', 0x7f] {
                    let mut text = text.clone();
                    text[at] = byte;
                    assert_eq!(
                        is_plain_ascii_text(&text),
                        byte.is_ascii() && !is_stop(byte),
                        "{byte} at {at} of {len}"
                    );
                    let found = first_stop(&text).map(|(plain, stop, after)| (plain.len(), stop, after.len()));
                    assert_eq!(found, is_stop(byte).then_some((at, byte, len - at - 1)));
                }
            }
        }
    }

    #[test]
    fn a_run_ends_at_the_first_of_two() {
        for first in 0..=255 {
            for second in 0..=255 {
                for at in 0..7 {
                    let mut word = [b'x'; 8];
                    word[at] = first;
                    word[at + 1] = second;
                    let expected = word.iter().position(|byte| is_stop(*byte)).unwrap_or(8);
                    assert_eq!(run(word), expected, "{word:?}");
                }
            }
        }
    }
}
