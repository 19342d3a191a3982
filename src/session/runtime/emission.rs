//! What happens in a job, written once for all sessions that hear of it.

use bytes::Bytes;
use serde::Serialize;

use super::super::Session;
use super::super::error::{SendError, Unsendable};
use super::super::shared::{About, is_too_deep};
use super::Runtime;
use super::send::{EventPayload, Interest, check_result, complete_error, has_object_body};
use crate::feature::{Feature, FeatureSet};
use crate::time::Now;
use crate::wire::job_event::{feature_of_kind, features_of_status, kind};
use crate::wire::{
    Envelope, Header, JobError, JobEvent, JobId, JobResult, MessageType, RawJson, encode_around, encode_payload,
};

/// An event, a result or an error of a job, before any session has given it a place.
#[derive(Clone, Debug)]
pub(crate) struct Emission {
    message: MessageType,
    payload: Bytes,
    /// A session without these does not hear of it (D33).
    needs: FeatureSet,
    /// Of a result: what a session without `result_chunk` gets, where that is something else.
    plain: Option<Bytes>,
}

fn written<P: Serialize + ?Sized>(payload: &P) -> Result<Bytes, SendError> {
    Ok(encode_payload(payload).map_err(Unsendable::from)?)
}

fn without_stream(mut result: JobResult) -> Result<Option<Bytes>, SendError> {
    if result.result_id.is_none() && result.result_size.is_none() {
        return Ok(None);
    }
    result.result_id = None;
    result.result_size = None;
    written(&result).map(Some)
}

/// The features without which an event of this kind is not sent.
fn needs(event_kind: &str, body: impl FnOnce() -> Option<RawJson>) -> FeatureSet {
    if let Some(feature) = feature_of_kind(event_kind) {
        return FeatureSet::none().with(feature);
    }
    let status = if event_kind == kind::STATUS { body() } else { None };
    status.map_or(FeatureSet::none(), |body| features_of_status(&body))
}

impl Emission {
    pub(crate) fn event<B: Serialize + ?Sized>(now: Now, kind: &str, body: &B) -> Result<Emission, SendError> {
        if kind.is_empty() {
            return Err(SendError::Invalid("the event has no kind"));
        }
        let payload = written(&EventPayload { kind, ts: now.wall, body })?;
        if !has_object_body(&payload) {
            return Err(SendError::Invalid("an event's body is an object"));
        }
        let needs = needs(kind, || Some(serde_json::from_slice::<JobEvent<'_>>(&payload).ok()?.body));
        Emission { message: MessageType::JobEvent, payload, needs, plain: None }.checked()
    }

    pub(crate) fn result(result: JobResult) -> Result<Emission, SendError> {
        check_result(&result)?;
        let payload = written(&result)?;
        let plain = without_stream(result)?;
        Emission { message: MessageType::JobResult, needs: FeatureSet::none(), payload, plain }.checked()
    }

    pub(crate) fn error(mut error: JobError) -> Result<Emission, SendError> {
        complete_error(&mut error)?;
        let payload = written(&error)?;
        Emission { message: MessageType::JobError, needs: FeatureSet::none(), payload, plain: None }.checked()
    }

    /// What stands in a replay buffer, for another session.
    pub(crate) fn replayed(envelope: &Envelope) -> Option<Emission> {
        let message = envelope.message_type()?;
        let payload = envelope.frame().slice_ref(envelope.payload_bytes());
        let (needs, plain) = match message {
            MessageType::JobEvent => {
                let body = || envelope.payload::<JobEvent<'_>>().ok().map(|event| event.body);
                (needs(&envelope.event_kind()?, body), None)
            }
            MessageType::JobResult => (FeatureSet::none(), without_stream(envelope.payload().ok()?).ok()?),
            MessageType::JobError => (FeatureSet::none(), None),
            _ => return None,
        };
        Some(Emission { message, payload, needs, plain })
    }

    /// Only the frame around it shows whether it is nested too deep.
    fn checked(self) -> Result<Emission, SendError> {
        let frame = || encode_around(&Header::new("m", self.message), &self.payload);
        if memchr::memchr2_iter(b'[', b'{', &self.payload).nth(super::super::MAX_DEPTH - 1).is_some()
            && is_too_deep(&frame())
        {
            return Err(SendError::Invalid("it is nested deeper than 128"));
        }
        Ok(self)
    }

    /// No frame with it is shorter than this.
    pub(crate) fn least_len(&self) -> usize {
        self.plain.as_ref().unwrap_or(&self.payload).len()
    }

    /// A session with these features hears of it (D33).
    pub(crate) fn is_for(&self, features: &FeatureSet) -> bool {
        self.needs.iter().all(|feature| features.contains(feature))
    }

    pub(crate) fn needs(&self, feature: Feature) -> bool {
        self.needs.contains(feature)
    }
}

impl Session<Runtime> {
    /// What [`send_event_as`](Session::send_event_as) and its sisters do, of something that is written already.
    pub(crate) fn emit(
        &mut self,
        interest: Interest,
        now: Now,
        job: &JobId,
        emission: &Emission,
    ) -> Result<u64, SendError> {
        let now = self.tick(now);
        let features = &self.shared.features;
        if let Some(missing) = emission.needs.iter().find(|feature| !features.contains(*feature)) {
            return Err(SendError::FeatureNotNegotiated(missing));
        }
        let plain = emission.plain.as_ref().filter(|_| !features.contains(Feature::ResultChunk));
        let payload = plain.unwrap_or(&emission.payload);
        let about = About::new(emission.message, Some(job.as_str()));
        self.record_with(now, interest, about, |shared, about, limit| shared.frame_around(about, payload, limit))
    }
}
