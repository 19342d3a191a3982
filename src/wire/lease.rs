//! What a job may do, until when, at what cost (§9).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::raw::RawJson;
use super::secret::CredentialValue;
use crate::feature::{Feature, FeatureSet};
use crate::time::Timestamp;

/// A lease: capability namespaces and their patterns (§9.2), as JSON. The session layer does not enforce it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Lease(RawJson);

impl Default for Lease {
    fn default() -> Lease {
        Lease(RawJson::empty_object())
    }
}

impl Lease {
    /// The lease with these grants, for example `[("fs.read", vec!["/workspace/**".into()])]`.
    ///
    /// ```
    /// use arcp_proto::wire::Lease;
    ///
    /// let lease = Lease::new([("cost.budget", vec!["USD:5.00".to_owned()])]);
    /// assert_eq!(lease.text(), r#"{"cost.budget":["USD:5.00"]}"#);
    /// ```
    #[must_use]
    pub fn new<'a>(grants: impl IntoIterator<Item = (&'a str, Vec<String>)>) -> Lease {
        let grants: BTreeMap<&str, Vec<String>> = grants.into_iter().collect();
        RawJson::new(&grants).map(Lease).unwrap_or_default()
    }

    /// A lease of any JSON, as it stands.
    #[must_use]
    pub fn from_raw(raw: RawJson) -> Lease {
        Lease(raw)
    }

    /// The JSON text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.text()
    }

    /// The patterns of each namespace; `None` when the lease does not have the draft's shape.
    #[must_use]
    pub fn grants(&self) -> Option<BTreeMap<String, Vec<String>>> {
        self.0.parse().ok()
    }

    /// As much of it as may be sent under these features.
    pub(crate) fn within(self, features: &FeatureSet) -> Lease {
        if self.features().all(|feature| features.contains(feature)) {
            return self;
        }
        let mut members: BTreeMap<String, RawJson> = self.0.parse().unwrap_or_default();
        members.retain(|name, _| Feature::from_name(name).is_none_or(|feature| features.contains(feature)));
        RawJson::new(&members).map(Lease).unwrap_or_default()
    }

    /// The features without which this lease may not be sent (§9.6, §9.7).
    pub(crate) fn features(&self) -> impl Iterator<Item = Feature> + use<> {
        let members: BTreeMap<String, serde::de::IgnoredAny> = self.0.parse().unwrap_or_default();
        [Feature::CostBudget, Feature::ModelUse].into_iter().filter(move |feature| members.contains_key(feature.name()))
    }
}

/// `lease_constraints` (§9.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct LeaseConstraints {
    /// When the lease ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl LeaseConstraints {
    /// The feature without which these may not be sent (§9.5).
    pub(crate) fn feature(self) -> Option<Feature> {
        self.expires_at.map(|_| Feature::LeaseExpiresAt)
    }
}

/// What is left of each budget, by currency (§9.6).
pub type Budget = BTreeMap<String, serde_json::Number>;

/// A provisioned credential (§9.8).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Credential {
    /// Names it within the job.
    pub id: String,
    /// `bearer`, or a scheme that both sides know; others are to be ignored.
    pub scheme: String,
    /// The secret.
    pub value: CredentialValue,
    /// The only base URL at which it may be presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// A hint at the protocol spoken there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// What the upstream enforces of the lease; for information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<RawJson>,
}
