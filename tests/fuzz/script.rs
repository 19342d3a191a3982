//! Bytes as a script, so that a fuzzer's changes stay where they are made: a line is a step. One that begins with `{` is a
//! frame as it comes off the wire, so that a recording is a script; of any other the first byte says what is done, and
//! those after it with what. No byte is wrong, and one that is missing is 0.

/// Steps beyond these are not taken, for an input must not take long.
pub(crate) const MAX_STEPS: usize = 400;

/// The steps of a script, one after the other.
pub(crate) fn steps(script: &[u8]) -> impl Iterator<Item = Step<'_>> {
    script.split(|byte| *byte == b'\n').take(MAX_STEPS).filter_map(|line| match line {
        [] => None,
        [b'{', ..] => Some(Step::Frame(line)),
        [b'<', frame @ ..] => Some(Step::Frame(frame)),
        [deed, with @ ..] => Some(Step::Deed(*deed, Args(with))),
    })
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// These bytes come as one message; behind a `<` they may begin with anything.
    Frame(&'a [u8]),
    /// Something is done.
    Deed(u8, Args<'a>),
}

/// What comes after a deed's name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Args<'a>(&'a [u8]);

impl<'a> Args<'a> {
    /// The next byte, `0` being 0 and `a` 49, so that scripts can be written by hand.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first.wrapping_sub(b'0')
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u8) -> u8 {
        self.byte() % n
    }

    pub(crate) fn number(&mut self) -> u64 {
        u64::from(self.byte())
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(crate) fn pick<'b, T>(&mut self, from: &'b [T]) -> &'b T {
        &from[usize::from(self.byte()) % from.len()]
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}
