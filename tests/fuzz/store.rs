//! What a store has of the sessions of an endpoint, as text: another process reads what this one wrote.

use std::collections::{BTreeMap, BTreeSet};

use arcp_proto::endpoint::{Adoption, Change, JobState, SessionState};
use arcp_proto::wire::{JobId, SessionId};
use bytes::Bytes;

#[derive(Clone)]
struct Row {
    generation: u64,
    state: String,
    events: BTreeMap<u64, Bytes>,
    jobs: BTreeMap<JobId, String>,
}

#[derive(Clone, Default)]
pub(crate) struct Store {
    rows: BTreeMap<SessionId, Row>,
    /// Places in sequences that were ever written.
    written: BTreeSet<(SessionId, u64)>,
}

/// Another machine has the session.
pub(crate) struct Fenced;

impl Store {
    /// All of a change, or nothing.
    pub(crate) fn write(&mut self, change: &Change) -> Result<(), Fenced> {
        let row = self.rows.get(&change.session);
        if row.map_or(!change.is_new, |row| change.is_new || row.generation != change.generation) {
            return Err(Fenced);
        }
        if change.is_over {
            self.rows.remove(&change.session);
            return Ok(());
        }
        let row = self.rows.entry(change.session.clone()).or_insert_with(|| Row {
            generation: change.generation,
            state: String::new(),
            events: BTreeMap::new(),
            jobs: BTreeMap::new(),
        });
        if let Some(state) = &change.state {
            row.state = serde_json::to_string(state).expect("a state can be written");
        }
        assert!(!row.state.is_empty(), "a session that is new comes with its state");
        for (seq, frame) in &change.events {
            assert!(row.events.insert(*seq, frame.clone()).is_none(), "{seq} is written twice");
            self.written.insert((change.session.clone(), *seq));
        }
        row.events.retain(|seq, _| *seq > change.floor);
        for job in &change.jobs {
            let text = serde_json::to_string(job).expect("a job can be written");
            row.jobs.insert(job.record.job_id.clone(), text);
        }
        change.forgotten_jobs.iter().for_each(|job| drop(row.jobs.remove(job)));
        Ok(())
    }

    pub(crate) fn has(&self, session: &SessionId, seq: u64) -> bool {
        self.written.contains(&(session.clone(), seq))
    }

    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        self.rows.keys().cloned().collect()
    }

    /// Raises the generation and gives what there is.
    pub(crate) fn take(&mut self, session: &SessionId) -> Option<Adoption> {
        let row = self.rows.get_mut(session)?;
        row.generation += 1;
        let state: SessionState = serde_json::from_str(&row.state).expect("a state can be read");
        let jobs = row.jobs.values().map(|text| serde_json::from_str::<JobState>(text).expect("a job can be read"));
        let events = row.events.iter().map(|(seq, frame)| (*seq, frame.clone()));
        Some(Adoption { generation: row.generation, state, events: events.collect(), jobs: jobs.collect() })
    }
}
