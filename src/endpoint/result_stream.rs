//! A job's result, streamed in chunks (§8.4, D42).

use serde::{Deserialize, Serialize};

use crate::wire::job_event::{ChunkEncoding, ResultChunk};
use crate::wire::{JobResult, ResultId};

/// How far a job has streamed its result: there is one result to a job, because its terminal names one.
///
/// Checking changes nothing, for what was checked may still be blocked; [`commit`](ResultStream::commit) follows when the
/// chunk was published. A `job.error` may end the job at any time and is not asked about here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct ResultStream {
    /// None before the first chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result_id: Option<ResultId>,
    /// Chunks so far: the next one's place.
    chunks: u64,
    /// Bytes of the result so far, decoded: what `result_size` says at the end.
    bytes: u64,
    /// Whether the last chunk is among them.
    complete: bool,
}

/// The state behind a chunk that was checked and found good.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the chunk counts when this is committed"]
pub(crate) struct NextChunk(ResultStream);

/// Why a chunk or a result does not go on the stream as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The chunk is not the next one.
    #[error("the next `chunk_seq` is {expected}")]
    OutOfOrder {
        /// Its place in the stream.
        expected: u64,
    },
    /// The stream ended with `more: false`.
    #[error("the last chunk is out already")]
    Complete,
    /// The chunk or the result names another result than the chunks before it.
    #[error("the result of this job is `{0}`")]
    OtherResult(ResultId),
    /// A result needs an id.
    #[error("`result_id` is empty")]
    NoResultId,
    /// `data` is not what `encoding` says.
    #[error("`data` is not padded base64 of the standard alphabet")]
    NotBase64,
    /// The result would be longer than a result may be; the job ends with INTERNAL_ERROR (§14).
    #[error("the streamed result is longer than {limit} bytes")]
    TooLarge {
        /// How long it may be.
        limit: u64,
    },
    /// An inline result beside chunks.
    #[error("the result was streamed, so it cannot be inline as well")]
    InlineToo,
    /// The result does not say which one was streamed.
    #[error("the result was streamed, so `result_id` must name it")]
    Unnamed,
    /// The result ends a stream that has not ended.
    #[error("the last chunk, with `more: false`, is missing")]
    Incomplete,
    /// `result_size` is not the size of what was streamed.
    #[error("{streamed} bytes were streamed")]
    OtherSize {
        /// How many.
        streamed: u64,
    },
    /// The result names a stream where there was none.
    #[error("`result_id` names a result that was not streamed")]
    NotStreamed,
}

impl ResultStream {
    /// The longest result, decoded. 64 MiB.
    pub(crate) const DEFAULT_LIMIT: u64 = 64 << 20;

    /// Whether `chunk` can be the next one of a result of at most `limit` bytes. Its own size is the session's to check.
    pub(crate) fn check_chunk(&self, chunk: &ResultChunk, limit: u64) -> Result<NextChunk, StreamError> {
        if self.complete {
            return Err(StreamError::Complete);
        }
        let result_id = match &self.result_id {
            Some(id) if *id != *chunk.result_id => return Err(StreamError::OtherResult(id.clone())),
            Some(id) => id.clone(),
            None if chunk.result_id.is_empty() => return Err(StreamError::NoResultId),
            None => ResultId::from(&*chunk.result_id),
        };
        if chunk.chunk_seq != self.chunks {
            return Err(StreamError::OutOfOrder { expected: self.chunks });
        }
        let len = decoded_len(chunk).ok_or(StreamError::NotBase64)?;
        let bytes = self.bytes.saturating_add(len);
        if bytes > limit {
            return Err(StreamError::TooLarge { limit });
        }
        let chunks = self.chunks.saturating_add(1);
        Ok(NextChunk(ResultStream { result_id: Some(result_id), chunks, bytes, complete: !chunk.more }))
    }

    /// The chunk is out.
    pub(crate) fn commit(&mut self, next: NextChunk) {
        *self = next.0;
    }

    /// Whether `result` can end the job.
    pub(crate) fn check_result(&self, result: &JobResult) -> Result<(), StreamError> {
        let Some(streamed) = &self.result_id else {
            return if result.result_id.is_some() { Err(StreamError::NotStreamed) } else { Ok(()) };
        };
        // A result of null is not sent (D2).
        if result.result.as_ref().is_some_and(|result| result.text() != "null") {
            return Err(StreamError::InlineToo);
        }
        match &result.result_id {
            None => return Err(StreamError::Unnamed),
            Some(named) if named != streamed => return Err(StreamError::OtherResult(streamed.clone())),
            Some(_) => {}
        }
        if !self.complete {
            return Err(StreamError::Incomplete);
        }
        match result.result_size {
            Some(size) if size != self.bytes => Err(StreamError::OtherSize { streamed: self.bytes }),
            _ => Ok(()),
        }
    }
}

/// The bytes that a chunk adds to the result, if its data is what it says.
fn decoded_len(chunk: &ResultChunk) -> Option<u64> {
    let data = chunk.data.as_bytes();
    match chunk.encoding {
        ChunkEncoding::Utf8 => Some(data.len() as u64),
        ChunkEncoding::Base64 => {
            // Each chunk is decoded by itself, so each is padded.
            let digits = data.strip_suffix(b"==").or_else(|| data.strip_suffix(b"=")).unwrap_or(data);
            let good = data.len().is_multiple_of(4)
                && digits.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/'));
            good.then_some(digits.len() as u64 * 3 / 4)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RawJson;
    use alloc::string::ToString;

    const LIMIT: u64 = ResultStream::DEFAULT_LIMIT;

    fn chunk(chunk_seq: u64, data: &str, more: bool) -> ResultChunk {
        let (result_id, data) = ("res_1".to_string(), data.to_string());
        ResultChunk { result_id, chunk_seq, data, encoding: ChunkEncoding::Utf8, more }
    }

    fn base64(data: &str) -> ResultChunk {
        ResultChunk { encoding: ChunkEncoding::Base64, ..chunk(0, data, true) }
    }

    fn put(stream: &mut ResultStream, chunk: &ResultChunk) {
        let next = stream.check_chunk(chunk, LIMIT).unwrap();
        stream.commit(next);
    }

    fn complete() -> ResultStream {
        let mut stream = ResultStream::default();
        put(&mut stream, &chunk(0, "one", true));
        put(&mut stream, &chunk(1, "twö", false));
        stream
    }

    #[test]
    fn d42_chunks_count_from_0_without_holes() {
        let mut stream = ResultStream::default();
        assert_eq!(stream.check_chunk(&chunk(1, "", true), LIMIT), Err(StreamError::OutOfOrder { expected: 0 }));
        put(&mut stream, &chunk(0, "a", true));
        for wrong in [0, 2, u64::MAX] {
            let expected = Err(StreamError::OutOfOrder { expected: 1 });
            assert_eq!(stream.check_chunk(&chunk(wrong, "b", true), LIMIT), expected);
        }
        put(&mut stream, &chunk(1, "b", true));
    }

    #[test]
    fn d42_a_chunk_that_was_blocked_comes_again() {
        let mut stream = ResultStream::default();
        let _blocked = stream.check_chunk(&chunk(0, "a", false), LIMIT).unwrap();
        assert_eq!(stream, ResultStream::default());
        put(&mut stream, &chunk(0, "a", false));
    }

    #[test]
    fn d42_nothing_follows_the_last_chunk() {
        assert_eq!(complete().check_chunk(&chunk(2, "", false), LIMIT), Err(StreamError::Complete));
        assert_eq!(complete().check_chunk(&chunk(0, "", true), LIMIT), Err(StreamError::Complete));
    }

    #[test]
    fn d42_a_job_has_one_result() {
        let mut stream = ResultStream::default();
        let other = |seq| ResultChunk { result_id: "res_2".into(), ..chunk(seq, "", true) };
        put(&mut stream, &chunk(0, "a", true));
        for seq in [0, 1] {
            assert_eq!(stream.check_chunk(&other(seq), LIMIT), Err(StreamError::OtherResult("res_1".into())));
        }
        let unnamed = ResultChunk { result_id: "".into(), ..chunk(0, "", true) };
        assert_eq!(ResultStream::default().check_chunk(&unnamed, LIMIT), Err(StreamError::NoResultId));
    }

    #[test]
    fn d42_the_total_is_capped_to_the_byte() {
        let mut stream = ResultStream::default();
        let next = stream.check_chunk(&chunk(0, "abcdef", true), 9).unwrap();
        stream.commit(next);
        assert_eq!(stream.check_chunk(&chunk(1, "ghij", true), 9), Err(StreamError::TooLarge { limit: 9 }));
        let next = stream.check_chunk(&chunk(1, "ghi", true), 9).unwrap();
        stream.commit(next);
        assert_eq!(stream.check_chunk(&chunk(2, "j", true), 9), Err(StreamError::TooLarge { limit: 9 }));
        assert!(stream.check_chunk(&chunk(2, "", false), 9).is_ok());
        assert!(stream.check_chunk(&chunk(2, "", false), 8).is_err());
    }

    #[test]
    fn d42_base64_counts_decoded() {
        for (data, len) in [("", 0), ("QQ==", 1), ("QUI=", 2), ("QUJD", 3), ("QUJDRA==", 4), ("+/+/", 3)] {
            assert_eq!(decoded_len(&base64(data)), Some(len), "{data}");
        }
        for bad in ["Q", "QQ", "QUI", "QQ=", "=", "==", "====", "Q===", "QQ==QQ==", "QU D", "-_-_", "QUé"] {
            assert_eq!(decoded_len(&base64(bad)), None, "{bad}");
        }
        assert_eq!(ResultStream::default().check_chunk(&base64("Q"), LIMIT), Err(StreamError::NotBase64));
        assert_eq!(decoded_len(&chunk(0, "é=", true)), Some(3));
    }

    #[test]
    fn d42_the_terminal_names_the_streamed_result_and_its_size() {
        let stream = complete();
        assert_eq!(stream.check_result(&JobResult::streamed("res_1".into(), 7)), Ok(()));
        let unsized_result = JobResult { result_size: None, ..JobResult::streamed("res_1".into(), 0) };
        assert_eq!(stream.check_result(&unsized_result), Ok(()));
        for (result, why) in [
            (JobResult::streamed("res_2".into(), 7), StreamError::OtherResult("res_1".into())),
            (JobResult::streamed("res_1".into(), 6), StreamError::OtherSize { streamed: 7 }),
            (JobResult::inline(RawJson::null()), StreamError::Unnamed),
            (JobResult::inline(RawJson::empty_object()), StreamError::InlineToo),
            (
                JobResult { result: Some(RawJson::empty_object()), ..JobResult::streamed("res_1".into(), 7) },
                StreamError::InlineToo,
            ),
        ] {
            assert_eq!(stream.check_result(&result), Err(why));
        }
    }

    #[test]
    fn d42_a_stream_ends_before_its_job() {
        let mut stream = ResultStream::default();
        put(&mut stream, &chunk(0, "one", true));
        assert_eq!(stream.check_result(&JobResult::streamed("res_1".into(), 3)), Err(StreamError::Incomplete));
    }

    #[test]
    fn d42_without_chunks_the_result_is_inline() {
        let stream = ResultStream::default();
        assert_eq!(stream.check_result(&JobResult::inline(RawJson::null())), Ok(()));
        assert_eq!(stream.check_result(&JobResult::streamed("res_1".into(), 0)), Err(StreamError::NotStreamed));
    }

    #[test]
    fn d42_a_stream_goes_on_on_another_machine() {
        let mut stream = ResultStream::default();
        put(&mut stream, &chunk(0, "one", true));
        let mut moved: ResultStream = serde_json::from_str(&serde_json::to_string(&stream).unwrap()).unwrap();
        assert_eq!(moved, stream);
        put(&mut moved, &chunk(1, "two", false));
    }
}
