//! The resume tokens that a runtime's session answers to, as digests (D3).

use alloc::boxed::Box;

use subtle::ConstantTimeEq;

use crate::wire::ResumeToken;

pub(super) type TokenDigest = [u8; 32];

/// The welcome that rotates a token can be lost: the token presented stays good until the client has been heard after
/// the welcome was handed out.
#[derive(Clone)]
pub(super) struct Tokens {
    current: TokenDigest,
    /// For a short while only.
    presented: Option<Box<TokenDigest>>,
}

impl Tokens {
    pub(super) fn new(first: &ResumeToken) -> Tokens {
        Tokens { current: first.digest(), presented: None }
    }

    /// The current token's, and that of the one presented while it is good.
    pub(super) fn digests(&self) -> (TokenDigest, Option<TokenDigest>) {
        (self.current, self.presented.as_deref().copied())
    }

    pub(super) fn restored(current: TokenDigest, presented: Option<TokenDigest>) -> Tokens {
        Tokens { current, presented: presented.map(Box::new) }
    }

    /// In time that does not depend on how much of a token is right.
    pub(super) fn accept(&self, token: &ResumeToken) -> bool {
        let token = token.digest();
        let current = self.current.ct_eq(&token);
        let presented = self.presented.as_deref().map_or(subtle::Choice::from(0), |presented| presented.ct_eq(&token));
        (current | presented).into()
    }

    /// Retires all but the next one and the one presented.
    pub(super) fn rotate(&mut self, presented: &ResumeToken, next: &ResumeToken) {
        *self = Tokens { current: next.digest(), presented: Some(Box::new(presented.digest())) };
    }

    pub(super) fn has_presented(&self) -> bool {
        self.presented.is_some()
    }

    /// The client has the welcome.
    pub(super) fn retire_presented(&mut self) {
        self.presented = None;
    }
}

impl core::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Tokens(***)")
    }
}

#[cfg(feature = "model")]
impl Tokens {
    pub(super) fn digest(&self, digest: &mut super::digest::Digest<'_>) {
        let Tokens { current, presented } = self;
        digest.token(current);
        digest.flag(presented.is_some());
        if let Some(presented) = presented {
            digest.token(presented);
        }
    }
}
