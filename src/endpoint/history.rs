//! What of a job's past a subscriber is given, out of the replay buffer of the job's own session (§7.6, D31).

use alloc::string::String;
use alloc::vec::Vec;

use memchr::memmem::Finder;

use super::Endpoint;
use super::job_record::JobRecord;
use super::registry::Key;
use crate::feature::Feature;
use crate::session::Emission;
use crate::wire::{Envelope, JobId, Principal};

/// What of a job's past a subscriber is given.
pub(super) struct History {
    /// In the owner's sequence: what comes is behind this.
    pub(super) from: u64,
    /// The owner's replay buffer could be looked into.
    pub(super) is_there: bool,
    pub(super) emissions: Vec<Emission<'static>>,
}

/// Passes over the events of other jobs by their headers alone: the buffer can be large, and who asks again and again for
/// the history of a job that has little of it is not to keep everybody waiting.
struct Named<'n> {
    /// `None` where the id may be written in more than one way.
    header: Option<Finder<'n>>,
    payload: Finder<'n>,
}

impl Named<'_> {
    /// How a header names the job.
    fn text(job: &JobId) -> String {
        alloc::format!("\"job_id\":\"{job}\"")
    }

    fn new<'n>(job: &JobId, text: &'n str) -> Named<'n> {
        let is_plain = job.as_str().bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        Named { header: is_plain.then(|| Finder::new(text)), payload: Finder::new("\"payload\":") }
    }

    /// Whether the event may be of this job. Our events have the payload last.
    fn is_in(&self, frame: &[u8]) -> bool {
        let Some(header) = &self.header else { return true };
        let end = self.payload.find(frame).unwrap_or(frame.len());
        frame.get(..end).is_some_and(|before| header.find(before).is_some())
    }
}

impl Endpoint {
    /// What the owner's replay buffer still has of the job behind `after`, if that is wanted, as much as fits half
    /// of what is free of the subscriber's own: the other half is for what happens while it is read.
    pub(super) fn history(&self, key: Key, record: &JobRecord, viewer: &Principal, after: Option<u64>) -> History {
        let owner_key = record.session.as_ref().and_then(|session| self.registry.key_of(session));
        let owner = owner_key.and_then(|key| self.registry.get(key));
        let highest = owner.map_or(record.last_event_seq, |owner| owner.session.last_event_seq());
        let live = History { from: highest, is_there: false, emissions: Vec::new() };
        // The owner has it in its own sequence; there a second time, it would be history twice for the next one.
        let after = after.filter(|_| owner_key != Some(key));
        let (Some(owner), Some(after), Some(subscriber)) = (owner, after, self.registry.get(key)) else {
            return live;
        };
        let from = after.clamp(owner.session.replay_floor(), highest);
        let (events, bytes) = subscriber.session.free_window();
        let (mut events, mut bytes) = (events / 2, bytes / 2);
        // A frame is longer than its payload by ids, at most this much.
        let overhead = 512 + 2 * record.job_id.as_str().len();
        let mut history = History { from, is_there: true, emissions: Vec::new() };
        let text = Named::text(&record.job_id);
        let named = Named::new(&record.job_id, &text);
        let events_of_job = owner.session.events_since(from).rev();
        for (seq, frame) in events_of_job.skip_while(|(seq, _)| *seq > record.last_event_seq) {
            if !named.is_in(&frame) {
                continue;
            }
            let Ok(envelope) = Envelope::decode(frame) else { continue };
            if envelope.job_id().as_deref() != Some(record.job_id.as_str()) {
                continue;
            }
            let Some(emission) = Emission::replayed(&envelope) else { continue };
            let is_private = emission.needs(Feature::ProvisionedCredentials) && *viewer != record.principal;
            let can_have = emission.is_for(subscriber.session.features()) && !is_private;
            // A status of back-pressure is about the owner's session.
            if !can_have || emission.needs(Feature::Ack) {
                continue;
            }
            let len = envelope.frame().len() + overhead;
            if events == 0 || bytes < len {
                history.from = seq;
                break;
            }
            (events, bytes) = (events - 1, bytes - len);
            history.emissions.push(emission);
        }
        history.emissions.reverse();
        history
    }
}
