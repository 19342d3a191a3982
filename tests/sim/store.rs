//! A store that several processes share: it writes a change as a whole, if its generation stands.

use std::collections::BTreeMap;

use arcp_proto::endpoint::{Adoption, Change, JobState, SessionState};
use arcp_proto::wire::{Envelope, JobId, SessionId};
use bytes::Bytes;

/// How many pieces of their results jobs have written, whoever agreed on them.
pub(crate) type Progress = Vec<(JobId, u64)>;

#[derive(Default)]
struct Entry {
    generation: u64,
    state: Option<String>,
    events: BTreeMap<u64, Bytes>,
    jobs: BTreeMap<JobId, String>,
    /// How far the work is: stored with the events in which it shows.
    items: BTreeMap<JobId, u64>,
    last: u64,
}

#[derive(Default)]
pub(crate) struct Store(BTreeMap<SessionId, Entry>);

/// The number of a job's event, which is in its body; of another message, none.
pub(crate) fn number_of(envelope: &Envelope) -> Option<u64> {
    envelope.payload::<serde_json::Value>().ok()?.get("body")?.get("n")?.as_u64()
}

impl Store {
    /// Says whether it was written.
    pub(crate) fn apply(&mut self, change: &Change, progress: &Progress) -> bool {
        let has = self.0.get(&change.session).map(|entry| entry.generation);
        if has.map_or(!change.is_new, |generation| generation != change.generation) {
            return false;
        }
        if change.is_over {
            self.0.remove(&change.session);
            return true;
        }
        let entry = self.0.entry(change.session.clone()).or_default();
        entry.generation = change.generation;
        if let Some(state) = &change.state {
            entry.state = Some(serde_json::to_string(state).expect("a state serialises"));
        }
        for job in &change.jobs {
            let text = serde_json::to_string(job).expect("a job serialises");
            entry.jobs.insert(job.record.job_id.clone(), text);
        }
        for (seq, frame) in &change.events {
            assert!(*seq > entry.last, "event {seq} is appended behind {}", entry.last);
            assert!(*seq == entry.last + 1 || entry.last < change.floor, "a hole before {seq} in the store");
            entry.last = *seq;
            entry.events.insert(*seq, frame.clone());
            let envelope = Envelope::decode(frame.clone()).expect("an event is an envelope");
            if let (Some(job), Some(n)) = (envelope.to_job_id(), number_of(&envelope)) {
                entry.items.insert(job, n + 1);
            }
        }
        entry.items.extend(progress.iter().cloned());
        for job in &change.forgotten_jobs {
            entry.jobs.remove(job);
        }
        entry.events = entry.events.split_off(&(change.floor + 1));
        true
    }

    pub(crate) fn by_token(&self, digest: &[u8; 32]) -> Option<SessionId> {
        let has = |entry: &Entry| {
            let state = entry.state.as_deref().map(read);
            state.is_some_and(|state| state.token_digests().any(|other| other == *digest))
        };
        self.0.iter().find(|(_, entry)| has(entry)).map(|(id, _)| id.clone())
    }

    /// Raises the generation, as by a compare-and-set.
    pub(crate) fn take(&mut self, id: &SessionId) -> Option<Adoption> {
        let entry = self.0.get_mut(id)?;
        let state = read(entry.state.as_deref()?);
        entry.generation += 1;
        let jobs = entry.jobs.values().map(|job| serde_json::from_str::<JobState>(job).expect("a job is read"));
        let events = entry.events.iter().map(|(seq, frame)| (*seq, frame.clone())).collect();
        Some(Adoption { generation: entry.generation, state, events, jobs: jobs.collect() })
    }

    pub(crate) fn items_of(&self, id: &SessionId, job: &JobId) -> u64 {
        self.0.get(id).and_then(|entry| entry.items.get(job).copied()).unwrap_or_default()
    }

    pub(crate) fn last_of(&self, id: &SessionId) -> u64 {
        self.0.get(id).map_or(0, |entry| entry.last)
    }
}

fn read(text: &str) -> SessionState {
    serde_json::from_str(text).expect("a state is read")
}
