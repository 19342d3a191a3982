//! How often a peer broke the protocol within an attachment (D43).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::{Discriminant, discriminant};

use super::error::ProtocolError;
use crate::feature::Feature;
use crate::wire::MessageType;

#[derive(Clone, Debug, Default)]
pub(super) struct Violations {
    counted: u32,
    /// What was tolerated and told once; as many entries as there are kinds.
    told: Option<Box<Told>>,
}

#[derive(Clone, Debug, Default)]
struct Told(Vec<Kind>);

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
    /// For what is told each time; says whether it was one too many of those that count.
    pub(super) fn is_too_many(&mut self, error: &ProtocolError, limit: u32) -> bool {
        if !error.counts() {
            return false;
        }
        self.counted = self.counted.saturating_add(1);
        self.counted > limit
    }

    /// For what is merely ignored or tolerated; says whether it is the first of its kind, which is told.
    pub(super) fn is_news(&mut self, error: &ProtocolError) -> bool {
        let kind = kind(error);
        let is_news = !self.told.as_ref().is_some_and(|told| told.0.contains(&kind));
        if is_news {
            self.told.get_or_insert_default().0.push(kind);
        }
        is_news
    }

    /// A new attachment.
    pub(super) fn reset(&mut self) {
        *self = Violations::default();
    }
}

#[cfg(feature = "model")]
impl Violations {
    pub(super) fn digest(&self, digest: &mut super::digest::Digest<'_>) {
        let Violations { counted, told } = self;
        digest.number((*counted).into());
        for kind in told.iter().flat_map(|told| &told.0) {
            digest.text(alloc::format!("{kind:?}").as_bytes());
        }
        digest.flag(false);
    }
}
