//! What two peers can agree on (§6.2), and what each feature gates.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// A feature that client and runtime must both name before either uses it (§6.2, A5).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Feature {
            $($(#[$doc])* $name,)*
        }

        impl Feature {
            /// Every feature, in the order in which they are sent.
            pub const ALL: &'static [Feature] = &[$(Feature::$name),*];

            /// The feature's name on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Feature::$name => $text,)*
                }
            }

            /// The feature of that name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Feature> {
                match name {
                    $($text => Some(Feature::$name),)*
                    _ => None,
                }
            }
        }
    };
}

features! {
    /// `session.ping`, `session.pong` and `heartbeat_interval_sec` (§6.4).
    Heartbeat = "heartbeat";
    /// `session.ack` and the back-pressure status (§6.5).
    Ack = "ack";
    /// `session.list_jobs` and `session.jobs` (§6.6).
    ListJobs = "list_jobs";
    /// `job.subscribe`, `job.subscribed` and `job.unsubscribe` (§7.6).
    Subscribe = "subscribe";
    /// `lease_constraints.expires_at` (§9.5).
    LeaseExpiresAt = "lease_expires_at";
    /// The lease's `cost.budget` and the `budget` counters (§9.6).
    CostBudget = "cost.budget";
    /// The lease's `model.use` (§9.7).
    ModelUse = "model.use";
    /// `job.accepted.credentials` and the status `credential_rotated` (§9.8).
    ProvisionedCredentials = "provisioned_credentials";
    /// The event kind `progress` (§8.2.1).
    Progress = "progress";
    /// The event kind `result_chunk` and `job.result.result_id` (§8.4).
    ResultChunk = "result_chunk";
    /// `name@version` when an agent is asked for (§7.5).
    AgentVersions = "agent_versions";
}

impl Feature {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of features: those of the draft, and the names beyond it that a peer sent along.
///
/// Unknown names are kept for whoever wants to look ([`unknown`](FeatureSet::unknown): at most 64 of at most
/// 256 bytes each, the rest is dropped), stay out of every intersection and are never an error.
///
/// ```
/// use arcp_proto::{Feature, FeatureSet};
///
/// let ours = FeatureSet::all().without(Feature::Subscribe);
/// let theirs: FeatureSet = serde_json::from_str(r#"["subscribe", "ack", "x-vendor.time-travel"]"#)?;
/// let both = ours.intersection(&theirs);
/// assert!(both.contains(Feature::Ack) && !both.contains(Feature::Subscribe));
/// assert_eq!(theirs.unknown().collect::<Vec<_>>(), ["x-vendor.time-travel"]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct FeatureSet {
    bits: u16,
    unknown: Option<Arc<[Box<str>]>>,
}

const MAX_UNKNOWN: usize = 64;
const MAX_UNKNOWN_LEN: usize = 256;

impl FeatureSet {
    /// No feature.
    #[must_use]
    pub const fn none() -> FeatureSet {
        FeatureSet { bits: 0, unknown: None }
    }

    /// Every feature of the draft: the default of both sides (A6).
    #[must_use]
    pub const fn all() -> FeatureSet {
        FeatureSet { bits: (1 << Feature::ALL.len()) - 1, unknown: None }
    }

    /// Whether `feature` is in it.
    #[must_use]
    pub const fn contains(&self, feature: Feature) -> bool {
        self.bits & feature.bit() != 0
    }

    /// The set with `feature`.
    #[must_use]
    pub const fn with(mut self, feature: Feature) -> FeatureSet {
        self.bits |= feature.bit();
        self
    }

    /// The set without `feature`.
    #[must_use]
    pub const fn without(mut self, feature: Feature) -> FeatureSet {
        self.bits &= !feature.bit();
        self
    }

    /// The features that are in both; no unknown names.
    #[must_use]
    pub const fn intersection(&self, other: &FeatureSet) -> FeatureSet {
        FeatureSet { bits: self.bits & other.bits, unknown: None }
    }

    /// Whether no feature of the draft is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// The features, in the order of [`Feature::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = Feature> + '_ {
        Feature::ALL.iter().copied().filter(|feature| self.contains(*feature))
    }

    /// The names that are none of the draft's, as they came.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        self.unknown.iter().flat_map(|names| names.iter()).map(|name| &**name)
    }
}

impl FromIterator<Feature> for FeatureSet {
    fn from_iter<I: IntoIterator<Item = Feature>>(features: I) -> FeatureSet {
        features.into_iter().fold(FeatureSet::none(), FeatureSet::with)
    }
}

impl fmt::Debug for FeatureSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Feature::name)).entries(self.unknown()).finish()
    }
}

impl Serialize for FeatureSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut names = serializer.serialize_seq(None)?;
        for feature in self.iter() {
            names.serialize_element(feature.name())?;
        }
        for name in self.unknown() {
            names.serialize_element(name)?;
        }
        names.end()
    }
}

impl<'de> Deserialize<'de> for FeatureSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = FeatureSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of feature names")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<FeatureSet, A::Error> {
                let mut set = FeatureSet::none();
                let mut unknown: Vec<Box<str>> = Vec::new();
                while let Some(name) = names.next_element::<Cow<'_, str>>()? {
                    match Feature::from_name(&name) {
                        Some(feature) => set = set.with(feature),
                        None if unknown.len() < MAX_UNKNOWN
                            && name.len() <= MAX_UNKNOWN_LEN
                            && !unknown.iter().any(|known| **known == *name) =>
                        {
                            unknown.push(name.into());
                        }
                        None => {}
                    }
                }
                if !unknown.is_empty() {
                    set.unknown = Some(unknown.into());
                }
                Ok(set)
            }
        }
        deserializer.deserialize_seq(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a5_intersection_commutes_and_drops_unknown_names() {
        let one: FeatureSet = serde_json::from_str(r#"["ack","heartbeat","magic"]"#).unwrap();
        let other: FeatureSet = serde_json::from_str(r#"["magic","subscribe","ack"]"#).unwrap();
        assert_eq!(one.intersection(&other), other.intersection(&one));
        assert_eq!(one.intersection(&other), FeatureSet::none().with(Feature::Ack));
    }

    #[test]
    fn unknown_names_are_bounded() {
        let names: Vec<_> = (0..1_000).map(|n| alloc::format!("x{n}")).collect();
        let set: FeatureSet = serde_json::from_str(&serde_json::to_string(&names).unwrap()).unwrap();
        assert_eq!(set.unknown().count(), MAX_UNKNOWN);
    }
}
