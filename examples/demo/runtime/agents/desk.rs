//! Where an agent lays down what it has.

use arcp_proto::Now;
use arcp_proto::endpoint::{Endpoint, PublishError, Published, Receipt};
use arcp_proto::wire::{JobError, JobId, JobResult, WireError};
use serde::Serialize;

/// A job's way to whoever hears of it.
pub struct Desk<'a> {
    pub now: Now,
    pub endpoint: &'a mut Endpoint,
    pub job: &'a JobId,
    /// Of what was published last, nobody hears.
    pub is_unheard: bool,
}

impl Desk<'_> {
    /// Publishes an event.
    pub fn event<B: Serialize + ?Sized>(&mut self, kind: &str, body: &B) -> Result<(), PublishError> {
        let published = self.endpoint.publish(self.now, self.job, kind, body)?;
        self.is_unheard = matches!(published, Published { submitter: Receipt::Gone, subscribers: 0, .. });
        Ok(())
    }

    /// Ends the job well.
    pub fn finish(&mut self, result: JobResult) -> Result<(), PublishError> {
        self.endpoint.finish(self.now, self.job, result).map(|_| ())
    }

    /// Ends the job otherwise.
    pub fn fail(&mut self, error: WireError) -> Result<(), PublishError> {
        self.endpoint.fail(self.now, self.job, JobError::new(error)).map(|_| ())
    }
}
