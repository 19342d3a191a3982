//! Secrets and ids from the operating system's entropy, for runtimes. The rest of the crate draws no randomness.

use alloc::string::String;

use zeroize::Zeroizing;

use crate::wire::{ResumeToken, SessionId};

/// Mints what a runtime must mint for a session, from the operating system's cryptographic source (D3).
///
/// ```
/// use arcp_proto::Secrets;
///
/// let (id, token) = (Secrets::session_id()?, Secrets::resume_token()?);
/// assert!(id.as_str().starts_with("sess_"));
/// assert_eq!(format!("{token:?}"), "ResumeToken(***)");
/// # Ok::<(), arcp_proto::EntropyError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Secrets;

/// The operating system gave no entropy. It does so early at boot, or where a sandbox forbids it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no entropy")]
pub struct EntropyError(#[source] getrandom::Error);

impl Secrets {
    /// A resume token: `rt_` and 256 bits in hex.
    ///
    /// # Errors
    ///
    /// When the operating system gives no entropy; the hello is then best refused with INTERNAL_ERROR.
    pub fn resume_token() -> Result<ResumeToken, EntropyError> {
        mint::<32>("rt_").map(ResumeToken::new)
    }

    /// A session id: `sess_` and 128 bits in hex. It is no secret.
    ///
    /// # Errors
    ///
    /// When the operating system gives no entropy.
    pub fn session_id() -> Result<SessionId, EntropyError> {
        mint::<16>("sess_").map(SessionId::from)
    }
}

/// `prefix` and `BYTES` bytes of entropy in hex. The string has its exact size: to grow or to shrink it would leave
/// a copy of the secret behind.
fn mint<const BYTES: usize>(prefix: &str) -> Result<String, EntropyError> {
    let mut entropy = Zeroizing::new([0_u8; BYTES]);
    getrandom::fill(&mut *entropy).map_err(EntropyError)?;
    let mut text = String::with_capacity(prefix.len() + 2 * BYTES);
    text.push_str(prefix);
    let digits = entropy.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    text.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn d3_tokens_have_256_bits_and_ids_128() {
        let token = Secrets::resume_token().unwrap();
        let id = Secrets::session_id().unwrap();
        for (text, prefix, digits) in [(token.reveal(), "rt_", 64), (id.as_str(), "sess_", 32)] {
            let hex = text.strip_prefix(prefix).unwrap();
            assert_eq!(hex.len(), digits);
            assert!(hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "lower hex");
        }
        let text = mint::<32>("rt_").unwrap();
        assert_eq!(text.len(), text.capacity());
    }

    #[test]
    fn d3_no_two_are_alike_and_every_digit_varies() {
        const COUNT: usize = 256;
        let tokens: BTreeSet<_> = (0..COUNT).map(|_| Secrets::resume_token().unwrap().reveal().to_owned()).collect();
        let ids: BTreeSet<_> = (0..COUNT).map(|_| Secrets::session_id().unwrap().as_str().to_owned()).collect();
        assert_eq!((tokens.len(), ids.len()), (COUNT, COUNT));
        for place in 0..64 {
            let seen: BTreeSet<_> = tokens.iter().map(|token| token.as_bytes()[3 + place]).collect();
            // Fewer than 8 of 16 digits in 256 draws: less likely than 1 in 2^200.
            assert!(seen.len() >= 8, "place {place} hardly varies");
        }
    }

    #[test]
    fn d3_a_token_is_not_printed() {
        let token = Secrets::resume_token().unwrap();
        let printed = alloc::format!("{token:?} {:?}", Some(&token));
        assert!(!printed.contains(&token.reveal()[3..11]));
    }
}
