//! What happens in a job, written once for all sessions that hear of it.

use alloc::boxed::Box;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use super::super::Session;
use super::super::error::{SendError, Unsendable};
use super::super::shared::{About, is_too_deep};
use super::Runtime;
use super::send::{Interest, check_result, complete_error};
use crate::feature::{Feature, FeatureSet};
use crate::time::{Now, Timestamp};
use crate::wire::job_event::{feature_of_kind, features_of_status, kind};
use crate::wire::{
    Envelope, EventHead, EventPayload, Header, JobError, JobEvent, JobId, JobResult, MAX_DEPTH, MessageType, Notes,
    Payload, RawJson, payload_around, write_around, write_body,
};

/// An event, a result or an error of a job, before any session has given it a place.
#[derive(Clone, Debug)]
pub(crate) struct Emission<'a> {
    message: MessageType,
    payload: Written<'a>,
    /// A session without these does not hear of it (D33).
    needs: Needs,
    /// Of a result: what a session without `result_chunk` gets, where that is something else.
    plain: Option<Box<BytesMut>>,
}

/// A header is hardly longer; then what is around it is allocated for, and not more.
const HEADER_LEN: usize = 256;

/// The text of a payload.
#[derive(Clone, Debug)]
enum Written<'a> {
    /// Of an event only the body, on one line.
    Event {
        kind: &'a str,
        ts: Timestamp,
        body: &'a [u8],
    },
    Here(&'a [u8]),
    /// Within a frame that is kept.
    Kept(Bytes),
}

impl Written<'_> {
    fn len(&self) -> usize {
        match self {
            // `{"kind":"…","ts":"…","body":…}`
            Written::Event { kind, body, .. } => 51 + kind.len() + body.len(),
            Written::Here(text) => text.len(),
            Written::Kept(text) => text.len(),
        }
    }
}

/// Writes a payload in place of what is in the buffer.
fn write<P: Payload>(out: &mut BytesMut, payload: &P) -> Result<Notes, SendError> {
    out.clear();
    Ok(payload.write_to(out).map_err(Unsendable::from)?)
}

fn without_stream(mut result: JobResult) -> Result<Option<Box<BytesMut>>, SendError> {
    if result.result_id.is_none() && result.result_size.is_none() {
        return Ok(None);
    }
    result.result_id = None;
    result.result_size = None;
    let mut plain = Box::new(BytesMut::new());
    write(&mut plain, &result)?;
    Ok(Some(plain))
}

/// Features that an event needs: no event of the draft needs more.
type Needs = [Option<Feature>; 2];

/// The features without which an event of this kind is not sent.
#[inline]
fn needs(event_kind: &str, body: impl FnOnce() -> Option<RawJson>) -> Needs {
    if let Some(feature) = feature_of_kind(event_kind) {
        return [Some(feature), None];
    }
    if event_kind == kind::STATUS { needs_of_status(body()) } else { [None; 2] }
}

#[cold]
fn needs_of_status(body: Option<RawJson>) -> Needs {
    let needed = body.map_or(FeatureSet::none(), |body| features_of_status(&body));
    // `ack` and `provisioned_credentials`, in this order.
    let mut needed = needed.iter();
    [needed.next(), needed.next()]
}

/// Each is written into a buffer of the caller's, in place of what is in there.
impl<'a> Emission<'a> {
    #[inline]
    pub(crate) fn event<B: Serialize + ?Sized>(
        out: &'a mut BytesMut,
        now: Now,
        kind: &'a str,
        body: &B,
    ) -> Result<Emission<'a>, SendError> {
        if kind.is_empty() {
            return Err(SendError::Invalid("the event has no kind"));
        }
        out.clear();
        let notes = write_body(out, body).map_err(Unsendable::from)?;
        if !notes.body_is_object {
            return Err(SendError::Invalid("an event's body is an object"));
        }
        if notes.may_break || notes.brackets >= MAX_DEPTH || !EventHead::can_be(kind) {
            return Emission::strange_event(out, now.wall, kind, notes);
        }
        let body = &**out;
        let needs = needs(kind, || serde_json::from_slice(body).ok());
        let payload = Written::Event { kind, ts: now.wall, body };
        Ok(Emission { message: MessageType::JobEvent, payload, needs, plain: None })
    }

    /// One that goes out as a whole, around the body that is in the buffer.
    #[cold]
    fn strange_event(
        out: &'a mut BytesMut,
        ts: Timestamp,
        kind: &str,
        notes: Notes,
    ) -> Result<Emission<'a>, SendError> {
        *out = payload_around(kind, ts, out, notes.may_break);
        let payload = &**out;
        let needs = needs(kind, || Some(serde_json::from_slice::<JobEvent<'_>>(payload).ok()?.body));
        let payload = Written::Here(payload);
        Emission { message: MessageType::JobEvent, payload, needs, plain: None }.checked(notes)
    }

    pub(crate) fn result(out: &'a mut BytesMut, result: JobResult) -> Result<Emission<'a>, SendError> {
        check_result(&result)?;
        let notes = write(out, &result)?;
        let plain = without_stream(result)?;
        let payload = Written::Here(out);
        Emission { message: MessageType::JobResult, needs: [None; 2], payload, plain }.checked(notes)
    }

    pub(crate) fn error(out: &'a mut BytesMut, mut error: JobError) -> Result<Emission<'a>, SendError> {
        complete_error(&mut error)?;
        let notes = write(out, &error)?;
        let payload = Written::Here(out);
        Emission { message: MessageType::JobError, needs: [None; 2], payload, plain: None }.checked(notes)
    }

    /// What stands in a replay buffer, for another session.
    pub(crate) fn replayed(envelope: &Envelope) -> Option<Emission<'static>> {
        let message = envelope.message_type()?;
        let payload = Written::Kept(envelope.frame().slice_ref(envelope.payload_bytes()));
        let (needs, plain) = match message {
            MessageType::JobEvent => {
                let body = || envelope.payload::<JobEvent<'_>>().ok().map(|event| event.body);
                (needs(&envelope.event_kind()?, body), None)
            }
            MessageType::JobResult => ([None; 2], without_stream(envelope.payload().ok()?).ok()?),
            MessageType::JobError => ([None; 2], None),
            _ => return None,
        };
        Some(Emission { message, payload, needs, plain })
    }

    /// Only the frame around it shows whether it is nested too deep.
    fn checked(self, notes: Notes) -> Result<Emission<'a>, SendError> {
        if notes.brackets >= MAX_DEPTH
            && let Written::Here(payload) = &self.payload
        {
            let mut frame = BytesMut::new();
            write_around(&mut frame, &Header::new("m", self.message), payload);
            if is_too_deep(&frame, notes.brackets) {
                return Err(SendError::Invalid("it is nested deeper than 128"));
            }
        }
        Ok(self)
    }

    /// No frame with it is shorter than this.
    pub(crate) fn least_len(&self) -> usize {
        self.plain.as_ref().map_or(self.payload.len(), |plain| plain.len())
    }

    /// A session with these features hears of it (D33).
    pub(crate) fn is_for(&self, features: &FeatureSet) -> bool {
        self.needs.iter().flatten().all(|feature| features.contains(*feature))
    }

    pub(crate) fn needs(&self, feature: Feature) -> bool {
        self.needs.contains(&Some(feature))
    }
}

impl Session<Runtime> {
    /// What [`send_event_as`](Session::send_event_as) and its sisters do, of something that is written already.
    pub(crate) fn emit(
        &mut self,
        interest: Interest,
        now: Now,
        job: &JobId,
        emission: &Emission<'_>,
    ) -> Result<u64, SendError> {
        let now = self.tick(now);
        let features = &self.shared.features;
        if let Some(missing) = emission.needs.iter().flatten().find(|feature| !features.contains(**feature)) {
            return Err(SendError::FeatureNotNegotiated(*missing));
        }
        let plain = emission.plain.as_ref().filter(|_| !features.contains(Feature::ResultChunk));
        let about = About::new(emission.message, Some(job.as_str()));
        let expected = emission.payload.len() + HEADER_LEN;
        self.record_with(now, interest, about, expected, |shared, out, about, limit| match (plain, &emission.payload) {
            (Some(plain), _) => shared.write_around(out, about, plain, limit),
            (None, Written::Event { kind, ts, body }) => {
                shared.write_event_around(out, about, &EventPayload { kind, ts: *ts, body: *body }, limit)
            }
            (None, Written::Here(payload)) => shared.write_around(out, about, payload, limit),
            (None, Written::Kept(payload)) => shared.write_around(out, about, payload, limit),
        })
    }
}
