//! What decides: SplitMix64, by hand, so that a seed means the same for ever; or bytes that somebody chose.

use std::rc::Rc;

#[derive(Clone)]
pub(crate) struct Dice {
    state: u64,
    tape: Option<Tape>,
}

/// Rolls that are given, one byte for a choice among up to 256 and two for most others, so that a change of one byte is
/// a change of one choice.
#[derive(Clone)]
struct Tape {
    bytes: Rc<[u8]>,
    at: usize,
}

impl Tape {
    /// The next `len` bytes as a number; what they lack is 0. `None`: all are used up.
    fn take(&mut self, len: usize) -> Option<u64> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        self.at += len;
        Some((0..len).fold(0, |number, at| number << 8 | u64::from(rest.get(at).copied().unwrap_or_default())))
    }
}

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice { state: seed, tape: None }
    }

    /// Behind the end of the bytes it goes on as a seed does, whatever they were: what is appended changes nothing before.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Dice {
        Dice { state: 0, tape: Some(Tape { bytes: Rc::from(bytes), at: 0 }) }
    }

    /// One that does not depend on how often this one is rolled afterwards.
    pub(crate) fn fork(&mut self) -> Dice {
        Dice::new(self.roll())
    }

    fn given(&mut self, len: usize) -> Option<u64> {
        self.tape.as_mut()?.take(len)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        if let Some(given) = self.given(2) {
            return mixed(given);
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.state)
    }

    /// From 0, below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        let len = match n {
            0..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 8,
        };
        if let Some(given) = self.given(len) {
            return given % n.max(1);
        }
        ((u128::from(self.roll()) * u128::from(n)) >> 64) as u64
    }

    pub(crate) fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }
}

#[test]
fn the_generator_is_the_one_that_it_was() {
    let mut dice = Dice::new(1_234_567);
    let rolled: Vec<u64> = (0..3).map(|_| dice.roll()).collect();
    assert_eq!(rolled, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
}

#[test]
fn bytes_are_choices_one_by_one_and_then_it_goes_on() {
    let rolls = |bytes: &[u8]| -> Vec<u64> {
        let mut dice = Dice::of_bytes(bytes);
        vec![dice.below(10), dice.below(1_000), dice.below(10), dice.roll(), dice.below(1_000), dice.roll()]
    };
    let whole = rolls(&[7, 1, 4, 13, 0, 1]);
    assert_eq!(whole[..3], [7, 260, 3]);
    let other = rolls(&[7, 1, 5, 13, 0, 1]);
    assert_eq!((other[1], &other[2..]), (261, &whole[2..]), "one byte is one choice");
    // Used up: as any seed would go on, wherever they ended.
    let mut of_a_seed = Dice::new(0);
    assert_eq!(whole[4..], [of_a_seed.below(1_000), of_a_seed.roll()]);
    assert_eq!(rolls(&[7, 1, 4])[..2], whole[..2]);
}
