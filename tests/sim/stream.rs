//! Results that are streamed (D42): what an application writes in pieces, and whether its reader can put it together.

use arcp_proto::wire::job_event::{ChunkEncoding, ResultChunk};
use arcp_proto::wire::{JobId, JobResult, ResultId};
use arcp_proto::{ClientEvent, Feature};
use serde_json::{Value, json};

use super::transcript::hash_of;
use super::world::World;

/// A result, wherever it is written: what follows from its job's id alone is the same at each process that has the job.
pub(crate) struct Stream {
    pub(crate) id: String,
    seed: u64,
    pub(crate) pieces: u64,
}

impl Stream {
    /// One job in four streams its result.
    pub(crate) fn of(job: &JobId) -> Option<Stream> {
        let seed = hash_of(job.as_str().as_bytes());
        (seed % 4 == 1).then(|| Stream { id: format!("res_{job}"), seed, pieces: 1 + seed / 4 % 8 })
    }

    fn piece(&self, n: u64) -> String {
        format!("<{n} of {}>{}", self.id, "ä\n".repeat(((self.seed >> (n % 8)) % 120) as usize))
    }

    fn whole(&self) -> String {
        (0..self.pieces).map(|n| self.piece(n)).collect()
    }

    pub(crate) fn body(&self, n: u64) -> Value {
        let more = n + 1 < self.pieces;
        json!({"result_id": self.id, "chunk_seq": n, "data": self.piece(n), "encoding": "utf8", "more": more, "n": n})
    }

    pub(crate) fn end(&self) -> JobResult {
        JobResult::streamed(ResultId::from(self.id.as_str()), self.whole().len() as u64)
    }
}

/// What a client has of a result.
#[derive(Default)]
pub(crate) struct Pieces(Vec<(u64, String)>);

impl Pieces {
    /// A restored client gets again what it had not processed.
    pub(crate) fn forget_behind(&mut self, last: u64) {
        self.0.retain(|(seq, _)| *seq <= last);
    }
}

impl World {
    /// D42, D33: the pieces are in order, each once, and together what was written; and whoever did not agree on them has
    /// neither them nor their name.
    pub(crate) fn result_arrives(&mut self, idx: usize, seq: u64, job: &JobId, event: &ClientEvent) {
        let has_feature = self.peers[idx].session.features().contains(Feature::ResultChunk);
        let is_own = self.model.jobs.get(job).is_some_and(|model| model.peer == idx);
        let stream = Stream::of(job);
        self.peers[idx].pieces.entry(job.clone()).or_default();
        match event {
            ClientEvent::Event(delivery) if delivery.kind() == "result_chunk" => {
                assert!(has_feature, "client {idx} is given a piece of {job}, which it did not agree on");
                let stream = stream.unwrap_or_else(|| panic!("{job} streams nothing"));
                let chunk: ResultChunk = delivery.body().expect("a piece is read");
                assert_eq!((chunk.result_id.as_str(), chunk.encoding), (stream.id.as_str(), ChunkEncoding::Utf8));
                assert!(chunk.chunk_seq < stream.pieces, "a piece {} of {job}", chunk.chunk_seq);
                assert_eq!(chunk.more, chunk.chunk_seq + 1 < stream.pieces);
                if is_own && !self.peers[idx].has_holes {
                    let had = &mut self.peers[idx].pieces.get_mut(job).expect("it is there").0;
                    assert_eq!(chunk.chunk_seq, had.len() as u64, "client {idx} is given pieces of {job} out of order");
                    had.push((seq, chunk.data));
                }
            }
            ClientEvent::Finished { result, .. } if stream.is_some() => {
                let name = result.result_id.as_ref().map(ResultId::as_str);
                let Some(stream) = stream.filter(|_| has_feature) else {
                    return assert_eq!(name, None, "client {idx} is told of the pieces of {job}");
                };
                // In what is kept of a job whose owner has no pieces, there is no name of them either.
                let owner = self.model.jobs.get(job).and_then(|model| self.model.owned.get(&model.owner));
                let may_lack = !is_own && owner.is_none_or(|features| !features.contains(Feature::ResultChunk));
                let is_named = name == Some(stream.id.as_str());
                assert!(is_named || may_lack && name.is_none(), "client {idx} is told of pieces {name:?} of {job}");
                if is_own && !self.peers[idx].has_holes {
                    let had: String = self.peers[idx].pieces[job].0.iter().map(|(_, data)| data.as_str()).collect();
                    assert_eq!(result.result_size, Some(had.len() as u64));
                    assert_eq!(
                        had,
                        stream.whole(),
                        "client {idx} has put {job} together otherwise than it was written"
                    );
                    self.transcript.reached(super::mark::Mark::Streamed);
                }
            }
            _ => {}
        }
    }
}
