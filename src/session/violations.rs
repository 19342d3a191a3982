//! How often a peer broke the protocol within an attachment (D43).

use alloc::vec::Vec;
use core::mem::{Discriminant, discriminant};

use super::error::ProtocolError;
use crate::feature::Feature;
use crate::wire::MessageType;

/// What is to be done about a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Tell the application.
    Report,
    /// It was told of one of the kind.
    Silent,
    /// It was one too many: tell, and give the transport up.
    TooMany,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Violations {
    counted: u32,
    /// What was tolerated and told once; as many entries as there are kinds.
    told: Vec<Kind>,
}

type Kind = (Discriminant<ProtocolError>, Option<Feature>, Option<MessageType>);

fn kind(error: &ProtocolError) -> Kind {
    let (feature, message) = match error {
        ProtocolError::NotNegotiated(feature) => (Some(*feature), None),
        ProtocolError::BadPayload { message, .. } | ProtocolError::UnknownAnswer(message) => (None, Some(*message)),
        _ => (None, None),
    };
    (discriminant(error), feature, message)
}

impl Violations {
    /// For what costs the peer: told each time, and counted if it counts.
    pub(super) fn judge(&mut self, error: &ProtocolError, limit: u32) -> Judgement {
        if !error.counts() {
            return Judgement::Report;
        }
        self.counted = self.counted.saturating_add(1);
        if self.counted > limit { Judgement::TooMany } else { Judgement::Report }
    }

    /// For what is merely ignored or tolerated: told once a kind.
    pub(super) fn tolerate(&mut self, error: &ProtocolError) -> Judgement {
        let kind = kind(error);
        if self.told.contains(&kind) {
            return Judgement::Silent;
        }
        self.told.push(kind);
        Judgement::Report
    }

    /// A new attachment.
    pub(super) fn reset(&mut self) {
        *self = Violations::default();
    }
}
