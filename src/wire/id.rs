//! Ids: opaque on receipt, prefixed when we mint them (D3).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> $name {
                $name(id.into())
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> $name {
                $name(id.into())
            }
        }

        impl From<Cow<'_, str>> for $name {
            fn from(id: Cow<'_, str>) -> $name {
                $name(id.into())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                *self.0 == *other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                *self.0 == **other
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'_, str>::deserialize(deserializer).map(|id| $name(id.into()))
            }
        }
    };
}

id! {
    /// Names a session (§6.2): minted by the runtime (`sess_…`), for the session's whole life.
    SessionId
}

id! {
    /// Names a job (§7.1): minted by the runtime (`job_…`).
    JobId
}

impl JobId {
    /// Stands for an id that the payload does not have (D34).
    pub(super) fn absent() -> JobId {
        JobId("".into())
    }

    pub(super) fn or_absent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<JobId, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or_else(JobId::absent))
    }
}

id! {
    /// Names a streamed result (§8.4): minted by the runtime (`res_…`).
    ResultId
}

id! {
    /// Who a session was authenticated as (§6.1). It never travels; the application that checks the
    /// credentials gives it, and a resume must be by the same (D14).
    Principal
}

/// A W3C trace id (§11): 32 hexadecimal digits on the wire.
///
/// ```
/// use arcp_proto::wire::TraceId;
///
/// let plain = TraceId::parse("4BF92F3577B34DA6A3CE929D0E0E4736").unwrap();
/// let from_traceparent = TraceId::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
/// assert_eq!(plain, from_traceparent);
/// assert_eq!(plain.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(u128);

impl TraceId {
    /// The id with these 128 bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> TraceId {
        TraceId(bits)
    }

    /// The id's 128 bits.
    #[must_use]
    pub const fn to_bits(self) -> u128 {
        self.0
    }

    /// Reads 32 hex digits, or a `traceparent`, of which the trace id is taken (D4).
    #[must_use]
    pub fn parse(text: &str) -> Option<TraceId> {
        let digits = if text.len() == 32 {
            text
        } else {
            let mut parts = text.split('-');
            let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
            let well_formed = version.len() == 2
                && trace.len() == 32
                && parent.len() == 16
                && flags.len() == 2
                && [version, parent, flags].iter().all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()));
            if !well_formed {
                return None;
            }
            trace
        };
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(digits, 16).ok().map(TraceId)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads what [`TraceId::parse`] reads, and fails on anything else; where a payload may hold anything, take it as
/// `Option` through [`lenient`](TraceId::lenient).
impl<'de> Deserialize<'de> for TraceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        TraceId::parse(&text).ok_or_else(|| serde::de::Error::custom("not a trace id"))
    }
}

impl TraceId {
    /// For `#[serde(deserialize_with)]`: anything that is no trace id reads as absent (D4).
    ///
    /// # Errors
    ///
    /// When the JSON itself is broken.
    pub fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TraceId>, D::Error> {
        Ok(super::session::text_or_absent(deserializer)?.and_then(|text| TraceId::parse(&text)))
    }
}
