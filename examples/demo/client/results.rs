//! Whether the parts of a streamed result add up.

use std::collections::BTreeMap;

use arcp_proto::Delivery;
use arcp_proto::wire::JobResult;
use arcp_proto::wire::job_event::{ChunkEncoding, ResultChunk};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// More streams at once than that are not looked after.
const MOST_STREAMS: usize = 1_024;

/// What came of the streams that have not ended: their lengths only.
#[derive(Default)]
pub struct Results {
    streams: BTreeMap<String, Received>,
}

/// What came of a streamed result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    result_id: String,
    /// How many parts.
    pub chunks: u64,
    /// How many bytes, all together.
    pub bytes: u64,
    /// The last part came.
    is_finished: bool,
    /// A part was missing, doubled, unreadable or of another result.
    is_broken: bool,
}

impl Received {
    /// Whether it is all that the job's end says it is.
    pub fn is_whole(&self, result: &JobResult) -> bool {
        self.is_finished
            && !self.is_broken
            && result.result_id.as_ref().is_some_and(|id| id.as_str() == self.result_id)
            && result.result_size.is_none_or(|size| size == self.bytes)
    }

    fn add(&mut self, chunk: &ResultChunk) {
        self.is_broken |= self.is_finished || chunk.chunk_seq != self.chunks || chunk.result_id != self.result_id;
        self.chunks += 1;
        self.is_finished = !chunk.more;
        match chunk.encoding {
            ChunkEncoding::Utf8 => self.bytes += chunk.data.len() as u64,
            ChunkEncoding::Base64 => match STANDARD.decode(&chunk.data) {
                Ok(data) => self.bytes += data.len() as u64,
                Err(_) => self.is_broken = true,
            },
        }
    }
}

impl Results {
    /// A `result_chunk` came.
    pub fn add(&mut self, delivery: &Delivery) {
        let job = delivery.job_id();
        let Ok(chunk) = delivery.body::<ResultChunk>() else {
            if let Some(received) = self.streams.get_mut(&*job) {
                received.is_broken = true;
            }
            return;
        };
        if let Some(received) = self.streams.get_mut(&*job) {
            received.add(&chunk);
        } else if self.streams.len() < MOST_STREAMS {
            let mut received = Received { result_id: chunk.result_id.clone(), ..Received::default() };
            received.add(&chunk);
            self.streams.insert(job.into_owned(), received);
        }
    }

    /// The job has ended: what came of its result, if anything did.
    pub fn end(&mut self, delivery: &Delivery) -> Option<Received> {
        self.streams.remove(&*delivery.job_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arcp_proto::wire::ResultId;

    fn received(chunks: &[(u64, &str, ChunkEncoding, bool)]) -> Received {
        let mut received = Received { result_id: "res_1".into(), ..Received::default() };
        for (chunk_seq, data, encoding, more) in chunks.iter().copied() {
            received.add(&ResultChunk { result_id: "res_1".into(), chunk_seq, data: data.into(), encoding, more });
        }
        received
    }

    #[test]
    fn a_result_is_whole_when_its_parts_are_in_order_and_add_up() {
        use ChunkEncoding::{Base64, Utf8};
        let end = |size| JobResult::streamed(ResultId::from("res_1"), size);
        let whole = received(&[(0, "häh", Utf8, true), (1, "AAEC", Base64, false)]);
        assert_eq!((whole.chunks, whole.bytes), (2, 7));
        assert!(whole.is_whole(&end(7)));
        assert!(!whole.is_whole(&end(8)));
        assert!(whole.is_whole(&JobResult { result_size: None, ..end(0) }));
        assert!(!whole.is_whole(&JobResult::streamed(ResultId::from("res_2"), 7)));
        for broken in [
            &[(0, "a", Utf8, true)][..],
            &[(1, "a", Utf8, false)],
            &[(0, "a", Utf8, true), (2, "", Utf8, false)],
            &[(0, "a", Utf8, false), (1, "", Utf8, false)],
            &[(0, "a", Utf8, true), (1, "?", Base64, false)],
        ] {
            assert!(!received(broken).is_whole(&end(1)), "{broken:?}");
        }
    }
}
