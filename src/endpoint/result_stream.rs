//! placeholder
use crate::wire::{JobResult, job_event::ResultChunk};
#[derive(Clone, Debug, Default)]
pub(crate) struct ResultStream;
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
/// x
pub enum StreamError {
    /// x
    #[error("too large")]
    TooLarge {
        /// x
        len: u64,
        /// x
        limit: u64,
    },
}
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcceptedChunk;
impl ResultStream {
    pub(crate) fn check_chunk(&self, _c: &ResultChunk, _limit: u64) -> Result<AcceptedChunk, StreamError> {
        Ok(AcceptedChunk)
    }
    pub(crate) fn commit(&mut self, _a: AcceptedChunk) {}
    pub(crate) fn check_result(&self, _r: &JobResult) -> Result<(), StreamError> {
        Ok(())
    }
}
