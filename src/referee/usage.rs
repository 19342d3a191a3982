//! Which features a message uses (§6.2).

use alloc::vec::Vec;

use super::object::Object;
use crate::feature::Feature;
use crate::wire::MessageType;

/// The features that a message uses, each with what uses it.
pub(super) fn features(message: MessageType, kind: Option<&str>, payload: &Object<'_>) -> Vec<(Feature, &'static str)> {
    let mut used = Vec::new();
    let has_credentials = || payload.array("credentials").is_some_and(|all| !all.is_empty());
    let mut add = |feature, what| used.push((feature, what));
    if let Some(feature) = message.feature()
        // Whoever is pinged answers, whatever was agreed (D23).
        && message != MessageType::SessionPong
    {
        add(feature, message.name());
    }
    match message {
        MessageType::JobSubmit => {
            if payload.text("agent").is_some_and(|agent| agent.contains('@')) {
                add(Feature::AgentVersions, "name@version");
            }
            lease(payload, "lease_request", &mut add);
        }
        MessageType::JobAccepted => {
            if has_credentials() {
                add(Feature::ProvisionedCredentials, "credentials");
            }
            if payload.has("budget") {
                add(Feature::CostBudget, "budget");
            }
            lease(payload, "lease", &mut add);
        }
        MessageType::JobSubscribed if has_credentials() => add(Feature::ProvisionedCredentials, "credentials"),
        MessageType::JobEvent => match kind {
            Some("progress") => add(Feature::Progress, "kind progress"),
            Some("result_chunk") => add(Feature::ResultChunk, "kind result_chunk"),
            Some("status") => match payload.object("body").and_then(|body| body.text("phase")).as_deref() {
                Some("back_pressure") => add(Feature::Ack, "status back_pressure"),
                Some("credential_rotated") => add(Feature::ProvisionedCredentials, "status credential_rotated"),
                _ => {}
            },
            _ => {}
        },
        MessageType::JobResult if payload.has("result_id") => add(Feature::ResultChunk, "result_id"),
        _ => {}
    }
    used
}

fn lease(payload: &Object<'_>, member: &str, add: &mut impl FnMut(Feature, &'static str)) {
    if let Some(lease) = payload.object(member) {
        if lease.has("cost.budget") {
            add(Feature::CostBudget, "lease cost.budget");
        }
        if lease.has("model.use") {
            add(Feature::ModelUse, "lease model.use");
        }
    }
    if payload.object("lease_constraints").is_some_and(|bounds| bounds.has("expires_at")) {
        add(Feature::LeaseExpiresAt, "expires_at");
    }
}
