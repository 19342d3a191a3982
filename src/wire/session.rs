//! Payloads of `session.*` (§6).
//!
//! Read leniently (null is absent, unknown members are ignored), written strictly: what these types
//! serialise is what `arcp-proto` sends.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::code::{ErrorCode, WireError};
use super::id::{JobId, SessionId};
use super::raw::RawJson;
use super::secret::{BearerToken, ResumeToken};
use crate::feature::FeatureSet;
use crate::time::Timestamp;

/// Reads null like a member that is not there.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Who a peer says that it is: name and version of the software (A3, A4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct PeerInfo {
    /// Its name; empty if it gave none.
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    /// Its version; empty if it gave none.
    #[serde(default, deserialize_with = "null_as_default")]
    pub version: String,
}

impl PeerInfo {
    /// A peer of that name and version.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> PeerInfo {
        PeerInfo { name: name.into(), version: version.into() }
    }
}

/// How a client proves who it is (§6.1).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Credentials {
    /// The scheme; `bearer` is the only one that the draft has.
    pub scheme: String,
    /// The token; the scheme `bearer` needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<BearerToken>,
}

impl Credentials {
    /// The scheme of the draft, with its token.
    #[must_use]
    pub fn bearer(token: impl Into<BearerToken>) -> Credentials {
        Credentials { scheme: "bearer".into(), token: Some(token.into()) }
    }
}

/// `capabilities` of a hello (A3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ClientCapabilities {
    /// Encodings the client understands; ours says `["json"]`. Empty counts as `json` (D20).
    #[serde(default, deserialize_with = "null_as_default")]
    pub encodings: Vec<String>,
    /// Features the client wants.
    #[serde(default, deserialize_with = "null_as_default")]
    pub features: FeatureSet,
}

/// The `resume` member of a hello (D13).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ResumeClaim {
    /// The session to take up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The last token that the client was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_token: Option<ResumeToken>,
    /// `token`, as one peer calls it; read, never sent.
    #[serde(default, skip_serializing)]
    pub token: Option<ResumeToken>,
    /// The highest contiguous event that the client has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event_seq: Option<u64>,
}

/// `session.hello` (A3, D13).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Hello {
    /// Who the client is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<PeerInfo>,
    /// Its credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Credentials>,
    /// What it can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<ClientCapabilities>,
    /// The session to resume, as two peers have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<ResumeClaim>,
    /// The token of the session to resume, as two others have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_token: Option<ResumeToken>,
    /// Goes with the flat `resume_token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event_seq: Option<u64>,
    /// The client's name, as one peer writes it; sent only as a dialect (D40).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The client's version, as one peer writes it; sent only as a dialect (D40).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_version: Option<String>,
}

/// `session.resume`: the draft's own form of a resume, accepted as a first message (D13).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Resume {
    /// The last token that the client was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_token: Option<ResumeToken>,
    /// The highest contiguous event that the client has; absent is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event_seq: Option<u64>,
    /// Credentials; without them the answer is UNAUTHENTICATED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Credentials>,
    /// Who the client is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<PeerInfo>,
    /// When there, features are negotiated anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<ClientCapabilities>,
}

/// An agent of the runtime's inventory (A4). Older peers send the bare name: read as an agent without versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentInfo {
    /// The agent's name.
    pub name: String,
    /// Its versions, as the runtime orders them; may be empty.
    pub versions: Vec<String>,
    /// The version that a bare name stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

impl AgentInfo {
    /// An agent with these versions, the last of them the default.
    ///
    /// ```
    /// use arcp_proto::wire::AgentInfo;
    ///
    /// let agent = AgentInfo::new("code-refactor", ["1.0.0", "2.0.0"]);
    /// assert_eq!(agent.default.as_deref(), Some("2.0.0"));
    /// ```
    #[must_use]
    pub fn new<V: Into<String>>(name: impl Into<String>, versions: impl IntoIterator<Item = V>) -> AgentInfo {
        let versions: Vec<String> = versions.into_iter().map(Into::into).collect();
        AgentInfo { name: name.into(), default: versions.last().cloned(), versions }
    }
}

impl<'de> Deserialize<'de> for AgentInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Members {
            name: String,
            #[serde(default, deserialize_with = "null_as_default")]
            versions: Vec<String>,
            default: Option<String>,
        }
        struct NameOrMembers;
        impl<'de> Visitor<'de> for NameOrMembers {
            type Value = AgentInfo;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an agent: an object or a name")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<AgentInfo, E> {
                Ok(AgentInfo { name: name.into(), versions: Vec::new(), default: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<AgentInfo, A::Error> {
                let Members { name, versions, default } =
                    Members::deserialize(serde::de::value::MapAccessDeserializer::new(members))?;
                Ok(AgentInfo { name, versions, default })
            }
        }
        deserializer.deserialize_any(NameOrMembers)
    }
}

/// `capabilities` of a welcome (A4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct RuntimeCapabilities {
    /// Encodings; ours says `["json"]`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub encodings: Vec<String>,
    /// The features that the runtime agrees to; a client intersects them with its own again (D20).
    #[serde(default, deserialize_with = "null_as_default")]
    pub features: FeatureSet,
    /// The agents that can be asked for.
    #[serde(default, deserialize_with = "null_as_default")]
    pub agents: Vec<AgentInfo>,
}

/// `session.welcome` (A4). Everything may be missing on receipt; ours lacks at most the heartbeat interval (D20).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Welcome {
    /// Who the runtime is.
    #[serde(default, deserialize_with = "null_as_default")]
    pub runtime: PeerInfo,
    /// The token for the next resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_token: Option<ResumeToken>,
    /// How long, in seconds, the session can be resumed once its transport is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_window_sec: Option<Seconds>,
    /// The heartbeat interval in seconds; only where the feature was agreed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval_sec: Option<Seconds>,
    /// Features and agents.
    #[serde(default, deserialize_with = "null_as_default")]
    pub capabilities: RuntimeCapabilities,
}

/// A number of seconds as a peer wrote it: any JSON number, to be clamped by whoever uses it (D20). Whole seconds
/// are written as an integer, which peers insist on.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub f64);

impl Seconds {
    /// A whole number of seconds.
    #[must_use]
    pub fn whole(seconds: u64) -> Seconds {
        Seconds(seconds as f64)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = self.0 as u64;
        if whole as f64 == self.0 { serializer.serialize_u64(whole) } else { serializer.serialize_f64(self.0) }
    }
}

/// `session.ping` (§6.4). Ours always has both members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Ping<'a> {
    /// Comes back in the pong.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Cow<'a, str>>,
    /// When it was sent, as the sender wrote it.
    #[serde(borrow, default, deserialize_with = "text_or_absent", skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Cow<'a, str>>,
}

/// `session.pong` (§6.4). Never failed over its timestamp.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Pong<'a> {
    /// The ping's nonce.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub ping_nonce: Option<Cow<'a, str>>,
    /// When the ping arrived, as the sender wrote it.
    #[serde(borrow, default, deserialize_with = "text_or_absent", skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Cow<'a, str>>,
}

/// `session.ack` (A9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Ack {
    /// The highest event that the client has durably processed, with all before it.
    pub last_processed_seq: u64,
}

/// `session.bye`, `session.close` and `session.closed` (A13, A14, §6.7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Bye {
    /// Why, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Bye {
    /// The longest reason that is sent, in bytes: what is longer is cut.
    pub const MAX_REASON: usize = 256;

    /// With that reason, or as much of it as is sent.
    #[must_use]
    pub fn because(reason: &str) -> Bye {
        let mut end = reason.len().min(Bye::MAX_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Bye { reason: Some(reason.get(..end).unwrap_or_default().into()) }
    }
}

/// `session.error` (D11), read as liberally as the peers write it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct SessionError {
    /// The code.
    pub code: ErrorCode,
    /// For a human.
    #[serde(default, deserialize_with = "null_as_default")]
    pub message: String,
    /// Whether trying again can help; absent means what the code says (D11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// Anything more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<RawJson>,
    /// The message id of the request that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The same as one peer writes it; sent only as a dialect (D40).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The same, as yet others may; never sent.
    #[serde(default, skip_serializing)]
    pub correlation_id: Option<String>,
    /// The job that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
}

impl SessionError {
    /// As we send it (D11): a code of the draft, `retryable` as the code has it, and a message that is not empty. A code
    /// that is none of the draft's is sent as INTERNAL_ERROR where trying again can help, else as INVALID_REQUEST.
    #[must_use]
    pub fn new(error: WireError, request_id: Option<&str>, job_id: Option<&str>) -> SessionError {
        let code = match (error.code, error.retryable) {
            (ErrorCode::Other(_), true) => ErrorCode::InternalError,
            (ErrorCode::Other(_), false) => ErrorCode::InvalidRequest,
            (code, _) => code,
        };
        SessionError {
            retryable: code.retryable(),
            message: if error.message.is_empty() { code.as_str().into() } else { error.message },
            code,
            // An object, or nothing.
            details: error.details.filter(|details| details.text().trim_start().starts_with('{')),
            request_id: request_id.map(String::from),
            reply_to: None,
            correlation_id: None,
            job_id: job_id.map(JobId::from),
        }
    }
}

impl From<SessionError> for WireError {
    fn from(error: SessionError) -> WireError {
        WireError::received(error.code, error.message, error.retryable, error.details)
    }
}

/// The moment of a message that its sender may have left out or mangled.
pub(super) fn lenient_timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(text_or_absent(deserializer)?.and_then(|text| Timestamp::parse(&text).ok()))
}

/// Reads anything but a string like a member that is not there.
pub(super) fn text_or_absent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    struct TextOrAbsent;
    impl<'de> Visitor<'de> for TextOrAbsent {
        type Value = Option<Cow<'de, str>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("anything")
        }

        fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Some(text.into()))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(String::from(text).into()))
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(None)
        }
    }
    deserializer.deserialize_any(TextOrAbsent)
}
