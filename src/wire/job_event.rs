//! Events of a job: the payload of `job.event` and the bodies of its kinds (§8.2).
//!
//! To a session a body is opaque. These types are for whoever looks inside:
//! [`Delivery::body`](crate::Delivery::body) parses on request.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::raw::RawJson;
use super::session::{lenient_timestamp, null_as_default};
use crate::feature::{Feature, FeatureSet};
use crate::time::Timestamp;

/// The kinds of the draft, by name. Any other kind (`x-vendor.…`) passes as it is.
pub mod kind {
    /// Body: [`Log`](super::Log).
    pub const LOG: &str = "log";
    /// Body: [`Thought`](super::Thought).
    pub const THOUGHT: &str = "thought";
    /// Body: [`ToolCall`](super::ToolCall).
    pub const TOOL_CALL: &str = "tool_call";
    /// Body: [`ToolResult`](super::ToolResult).
    pub const TOOL_RESULT: &str = "tool_result";
    /// Body: [`Status`](super::Status).
    pub const STATUS: &str = "status";
    /// Body: [`Metric`](super::Metric).
    pub const METRIC: &str = "metric";
    /// Body: [`ArtifactRef`](super::ArtifactRef).
    pub const ARTIFACT_REF: &str = "artifact_ref";
    /// Body: [`Delegate`](super::Delegate).
    pub const DELEGATE: &str = "delegate";
    /// Body: [`Progress`](super::Progress); needs the feature `progress`.
    pub const PROGRESS: &str = "progress";
    /// Body: [`ResultChunk`](super::ResultChunk); needs the feature `result_chunk`.
    pub const RESULT_CHUNK: &str = "result_chunk";

    /// Every kind of the draft.
    pub const ALL: &[&str] =
        &[LOG, THOUGHT, TOOL_CALL, TOOL_RESULT, STATUS, METRIC, ARTIFACT_REF, DELEGATE, PROGRESS, RESULT_CHUNK];
}

/// The status phase by which a runtime says that the client falls behind (A10); needs the feature `ack`.
pub const PHASE_BACK_PRESSURE: &str = "back_pressure";
/// The status phase that brings a new credential value (§9.8.2); needs the feature `provisioned_credentials`.
pub const PHASE_CREDENTIAL_ROTATED: &str = "credential_rotated";

/// The feature without which an event of this kind may not be sent (§6.2).
#[must_use]
pub fn feature_of_kind(kind: &str) -> Option<Feature> {
    match kind {
        kind::PROGRESS => Some(Feature::Progress),
        kind::RESULT_CHUNK => Some(Feature::ResultChunk),
        _ => None,
    }
}

/// The feature without which a status of this phase may not be sent.
#[must_use]
pub fn feature_of_phase(phase: &str) -> Option<Feature> {
    match phase {
        PHASE_BACK_PRESSURE => Some(Feature::Ack),
        PHASE_CREDENTIAL_ROTATED => Some(Feature::ProvisionedCredentials),
        _ => None,
    }
}

/// The features without which this body of a `status` may not be sent. A member that stands there twice counts twice:
/// a reader may take either.
pub(crate) fn features_of_status(body: &RawJson) -> FeatureSet {
    struct Phases(FeatureSet);
    impl<'de> Deserialize<'de> for Phases {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Phases, D::Error> {
            deserializer.deserialize_map(Members)
        }
    }
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Phases;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the body of a status")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Phases, A::Error> {
            let mut needed = FeatureSet::none();
            while let Some(name) = members.next_key::<Cow<'de, str>>()? {
                let value = members.next_value::<RawJson>()?;
                let phase = value.parse::<Cow<'_, str>>().ok().filter(|_| name == "phase");
                if let Some(feature) = phase.as_deref().and_then(feature_of_phase) {
                    needed = needed.with(feature);
                }
            }
            Ok(Phases(needed))
        }
    }
    body.parse::<Phases>().map_or(FeatureSet::none(), |Phases(needed)| needed)
}

/// `job.event` (§8.1).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct JobEvent<'a> {
    /// What happened: one of [`kind`], or a vendor's.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// When; some peers leave it out.
    #[serde(default, deserialize_with = "lenient_timestamp", skip_serializing_if = "Option::is_none")]
    pub ts: Option<Timestamp>,
    /// The body, in the kind's shape.
    #[serde(default = "RawJson::empty_object", deserialize_with = "RawJson::or_empty_object")]
    pub body: RawJson,
}

/// Body of `log`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Log {
    /// `debug`, `info`, `warn`, `error`; peers also write them in capitals or with an offset.
    #[serde(default, deserialize_with = "null_as_default")]
    pub level: String,
    /// The line.
    #[serde(default, deserialize_with = "null_as_default")]
    pub message: String,
}

/// Body of `thought`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Thought {
    /// The text.
    pub text: String,
}

/// Body of `tool_call`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct ToolCall {
    /// The tool.
    pub tool: String,
    /// Its arguments, any JSON.
    #[serde(default = "RawJson::null")]
    pub args: RawJson,
    /// Leads to the result.
    pub call_id: String,
}

/// Body of `tool_result`: a result or an error.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct ToolResult {
    /// The call that it ends.
    pub call_id: String,
    /// What the tool gave, any JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<RawJson>,
    /// Why it failed: a code, a message, whether to retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RawJson>,
}

/// Body of `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Status {
    /// The phase, in a word.
    pub phase: String,
    /// For a human.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Body of `metric`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(from = "MetricMembers")]
pub struct Metric {
    /// What is measured; `cost.…` counts against a budget (§9.6).
    pub name: String,
    /// The value.
    pub value: serde_json::Number,
    /// Its unit; of a cost, the currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Labels, an object; one peer calls it `dims`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<RawJson>,
}

/// Both names of the labels in one body are no error, as two for one member would be.
#[derive(Deserialize)]
struct MetricMembers {
    name: String,
    value: serde_json::Number,
    unit: Option<String>,
    dimensions: Option<RawJson>,
    dims: Option<RawJson>,
}

impl From<MetricMembers> for Metric {
    fn from(MetricMembers { name, value, unit, dimensions, dims }: MetricMembers) -> Metric {
        Metric { name, value, unit, dimensions: dimensions.or(dims) }
    }
}

/// Body of `artifact_ref`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ArtifactRef {
    /// Where it is.
    pub uri: String,
    /// Its media type.
    #[serde(default, deserialize_with = "null_as_default")]
    pub content_type: String,
    /// Its length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte_size: Option<u64>,
    /// Its SHA-256, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Body of `delegate` (§10): the draft leaves its shape open and peers differ, so all members are optional.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Delegate {
    /// Names the delegation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegate_id: Option<String>,
    /// The job that came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_job_id: Option<String>,
    /// The agent that it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// What that agent is to work on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<RawJson>,
}

/// Body of `progress` (§8.2.1).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Progress {
    /// How far, not negative.
    pub current: serde_json::Number,
    /// Of how much; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<serde_json::Number>,
    /// Of what, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<String>,
    /// For a human.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a chunk's `data` is written (§8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChunkEncoding {
    /// Text as it is; no character is cut.
    Utf8,
    /// Base64, standard alphabet.
    Base64,
}

/// Body of `result_chunk` (§8.4).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ResultChunk {
    /// The result that it is a part of.
    pub result_id: String,
    /// Its place, from 0 without holes.
    pub chunk_seq: u64,
    /// The part.
    pub data: String,
    /// How `data` is written.
    pub encoding: ChunkEncoding,
    /// Whether another follows.
    pub more: bool,
}
