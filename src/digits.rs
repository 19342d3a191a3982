//! Decimal digits.

const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut value = 0;
    while value < 100 {
        #[expect(clippy::indexing_slicing, reason = "at compile time")]
        {
            pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        }
        value += 1;
    }
    pairs
};

/// The two digits of a number below 100.
#[inline(always)]
pub(crate) fn two(value: u32) -> [u8; 2] {
    PAIRS.get(value as usize).copied().unwrap_or(*b"00")
}

/// A number in decimal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digits {
    text: [u8; 20],
    from: usize,
}

impl Digits {
    #[inline]
    pub(crate) fn new(mut value: u64) -> Digits {
        let mut text = [b'0'; 20];
        let mut from = text.len();
        for pair in text.as_chunks_mut::<2>().0.iter_mut().rev() {
            *pair = two((value % 100) as u32);
            value /= 100;
            from -= 2;
            if value == 0 {
                break;
            }
        }
        // The last pair may have one digit only.
        from += usize::from(text.get(from) == Some(&b'0'));
        Digits { text, from }
    }

    #[inline]
    pub(crate) fn text(&self) -> &[u8] {
        self.text.get(self.from..).unwrap_or_default()
    }
}

/// Counts on by one in place; false where that takes more digits, which are to be written anew then.
#[inline]
pub(crate) fn increment(text: &mut [u8]) -> bool {
    for digit in text.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return true;
        }
        *digit = b'0';
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn numbers_are_written_as_they_print() {
        let powers = (0..20).flat_map(|place| [10_u64.pow(place) - 1, 10_u64.pow(place), 10_u64.pow(place) + 1]);
        for value in (0..1_100).chain(powers).chain([u64::MAX - 1, u64::MAX]) {
            assert_eq!(Digits::new(value).text(), value.to_string().as_bytes());
        }
    }

    #[test]
    fn numbers_count_on() {
        for value in 0..2_000_u64 {
            let mut text = value.to_string().into_bytes();
            let has_place = (value + 1).to_string().len() == text.len();
            assert_eq!(increment(&mut text), has_place);
            assert!(!has_place || text == (value + 1).to_string().as_bytes());
        }
    }
}
