//! What came of a recording, in figures: of its texts nothing but the names of types and codes.

use std::collections::BTreeMap;
use std::fmt;

use arcp_proto::{CloseReason, DetachReason, ProtocolError, RequestFailure, ResumeRefusal};

/// Groups of facts, each counted.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<&'static str, BTreeMap<String, u64>>);

impl Tally {
    pub(crate) fn count(&mut self, group: &'static str, fact: impl Into<String>) {
        self.add(group, fact, 1);
    }

    pub(crate) fn add(&mut self, group: &'static str, fact: impl Into<String>, number: u64) {
        if number > 0 {
            *self.0.entry(group).or_default().entry(fact.into()).or_default() += number;
        }
    }

    /// A line for each group.
    pub(crate) fn lines(&self) -> Vec<String> {
        let facts = |facts: &BTreeMap<String, u64>| {
            facts.iter().map(|(fact, number)| format!("{fact} {number}")).collect::<Vec<_>>().join(", ")
        };
        self.0.iter().map(|(group, counted)| format!("{group}: {}", facts(counted))).collect()
    }
}

/// The name of a value's variant, without what is in it.
pub(crate) fn name(value: &impl fmt::Debug) -> String {
    format!("{value:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

pub(crate) fn violation(error: &ProtocolError) -> String {
    let kind = name(error);
    match error {
        ProtocolError::Malformed(fault) => format!("{kind} {}", name(fault)),
        ProtocolError::WrongDirection(message)
        | ProtocolError::WrongPhase(message)
        | ProtocolError::BadPayload { message, .. }
        | ProtocolError::MissingId(message)
        | ProtocolError::UnknownAnswer(message) => format!("{kind} {message}"),
        ProtocolError::NotNegotiated(feature) => format!("{kind} {feature}"),
        _ => kind,
    }
}

pub(crate) fn detached(reason: &DetachReason) -> String {
    name(reason)
}

pub(crate) fn closed(reason: &CloseReason) -> String {
    let kind = name(reason);
    match reason {
        CloseReason::ConnectRefused(error) | CloseReason::ResumeRefused(ResumeRefusal::Error(error)) => {
            format!("{kind} {}", error.code)
        }
        CloseReason::ResumeRefused(refusal) => format!("{kind} {}", name(refusal)),
        CloseReason::ConnectFailed(failure) => format!("{kind} {}", name(failure)),
        _ => kind,
    }
}

pub(crate) fn failure(failure: &RequestFailure) -> String {
    match failure {
        RequestFailure::Refused(error) => error.code.to_string(),
        other => name(other),
    }
}
