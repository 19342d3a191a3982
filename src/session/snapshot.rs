//! What of a session outlives its process: what the snapshots of both roles are made of, and why one is not taken back.
//!
//! A snapshot is written by one version of this crate and may be read by a later one. Within a format version members are
//! only ever added, with a default, and unknown ones are ignored; anything else is another version.

use alloc::string::String;
use core::fmt::Write;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::shared::Counters;
use super::tokens::TokenDigest;
use crate::time::Instant;
use crate::wire::{MAX_ID_LEN, SessionId};

/// Why a snapshot cannot be taken back. A snapshot of another format version fails earlier, when it is deserialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Client: it was taken before the first welcome.
    #[error("there is no session in it: it was taken before the welcome, connect anew")]
    NeverConnected,
    /// No session wrote this.
    #[error("no session wrote it: {0}")]
    Header(&'static str),
    /// An event is missing before this one, or the events are not in order.
    #[error("event {found} comes where {expected} is expected: the events have a hole, or are not in order")]
    Hole {
        /// The event that comes next.
        expected: u64,
        /// The event that came.
        found: u64,
    },
    /// The last events that the header knows of are not there.
    #[error("the events end with {last}, but the header knows of {known}")]
    EventsMissing {
        /// The last event that is there.
        last: u64,
        /// The last event that the header knows of.
        known: u64,
    },
    /// The frame is not this session's event of that number.
    #[error("the frame at {seq} is not that event of this session: {reason}")]
    NotTheEvent {
        /// The number that it was given under.
        seq: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The format's version, which is 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version;

const VERSION: u64 = 1;

/// Nothing that is counted on from here overflows.
pub(super) const MOST_COUNTED: u64 = 1 << 62;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(VERSION)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        match u64::deserialize(deserializer)? {
            VERSION => Ok(Version),
            other => Err(serde::de::Error::custom(format_args!("a snapshot of version {other}, not {VERSION}"))),
        }
    }
}

/// A duration in milliseconds. It is what is left of a deadline where another machine's clock has another origin; a
/// fraction counts as a whole, so that nothing ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Millis(u64);

impl Millis {
    /// As long as any that a welcome can grant (136 years), and nothing that a clock cannot add.
    const LONGEST: u64 = u32::MAX as u64 * 1_000;

    pub(super) fn of(duration: Duration) -> Millis {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        Millis(u64::try_from(millis).map_or(Millis::LONGEST, |millis| millis.min(Millis::LONGEST)))
    }

    pub(super) fn left(now: Instant, end: Instant) -> Millis {
        Millis::of(end.since(now))
    }

    pub(super) fn get(self) -> Duration {
        Duration::from_millis(self.0.min(Millis::LONGEST))
    }
}

/// The SHA-256 of a resume token, in hex.
#[derive(Clone, Copy)]
pub(super) struct Digest(pub(super) TokenDigest);

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut hex = String::with_capacity(64);
        for byte in self.0 {
            let _ = write!(hex, "{byte:02x}");
        }
        serializer.serialize_str(&hex)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let hex = String::deserialize(deserializer)?;
        let mut digest = TokenDigest::default();
        let is_hex = hex.len() == 2 * digest.len() && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_hex {
            return Err(serde::de::Error::custom("a token's digest is 64 hex digits"));
        }
        for (byte, digits) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let digits = digits.iter().filter_map(|digit| char::from(*digit).to_digit(16));
            *byte = digits.fold(0, |byte, digit| byte << 4 | digit as u8);
        }
        Ok(Digest(digest))
    }
}

/// What both roles' headers have: the session's id, and numbers that a session goes on counting from.
pub(super) fn check_header(session_id: &SessionId, counters: Counters, requests: u64) -> Result<(), RestoreError> {
    if !(1..=MAX_ID_LEN).contains(&session_id.as_str().len()) {
        Err(RestoreError::Header("a session id has 1 to 256 bytes"))
    } else if [counters.epoch, counters.minted, requests].iter().any(|count| *count > MOST_COUNTED) {
        Err(RestoreError::Header("a counter is out of range"))
    } else {
        Ok(())
    }
}
