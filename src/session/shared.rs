//! What both roles remember alike, and how a session writes its messages.

use ::core::fmt::{self, Write};

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::error::Unsendable;
use super::heartbeat::{Cadence, Heartbeat};
use super::outbox::Outbox;
use super::phase::{Phase, PhaseCell};
use super::timers::{Timer, Timers};
use super::violations::Violations;
use crate::feature::FeatureSet;
use crate::time::{Now, Timestamp};
use crate::wire::{
    Envelope, EventHead, EventMark, EventPayload, FrameFault, Header, MAX_DEPTH, MAX_ID_LEN, MessageType, Notes,
    Payload, SessionId, TraceId, end_payload, payload_around, write_around, write_body, write_frame,
};

const BAD_JOB_ID: &str = "a job id has 1 to 256 bytes";

/// The longest part of a caller's prefix that goes into ids.
const MAX_PREFIX: usize = 32;

#[derive(Clone)]
pub(super) struct Shared {
    /// The last tick.
    pub(super) clock: Now,
    pub(super) phase: PhaseCell,
    /// The present attachment, or the last one.
    pub(super) epoch: u64,
    pub(super) session_id: Option<SessionId>,
    pub(super) features: FeatureSet,
    pub(super) timers: Timers,
    pub(super) heartbeat: Heartbeat,
    pub(super) outbox: Outbox,
    pub(super) violations: Violations,
    /// `c` or `r`: ids of the two sides differ.
    letter: char,
    prefix: Box<str>,
    /// Message ids given out; nonces share the count.
    minted: u64,
    /// `None`: nothing has happened in a job yet.
    began: Option<Box<Began>>,
}

/// How the last event began, for the next of the same attachment, the job's most of all.
#[derive(Clone)]
struct Began {
    epoch: u64,
    job: String,
    head: EventHead,
}

/// What makes ids unique (D3): a snapshot carries it on.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Counters {
    pub(super) epoch: u64,
    pub(super) minted: u64,
}

impl Counters {
    /// Behind all attempts to resume that may have been made after the snapshot, and of which no welcome told: each had an
    /// attachment and a hello of its own, and nothing else.
    pub(super) const fn behind_attempts(self) -> Counters {
        Counters { epoch: self.epoch, minted: self.minted + (1 << 20) }
    }
}

/// The attachment that a message id of ours names; other ids name none.
pub(super) fn epoch_of(id: &str) -> Option<u64> {
    let (rest, _) = id.rsplit_once('_')?;
    let letter = rest.trim_end_matches(|c: char| c.is_ascii_digit());
    rest.get(letter.len()..)?.parse().ok()
}

/// A short text on the stack: ids are made for every message.
pub(super) struct ShortText {
    bytes: [u8; 96],
    len: usize,
}

impl ShortText {
    fn new() -> ShortText {
        ShortText { bytes: [0; 96], len: 0 }
    }

    pub(super) fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| ::core::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// What a frame is about, beside its payload.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) message: MessageType,
    pub(super) job_id: Option<&'a str>,
    pub(super) trace_id: Option<TraceId>,
    pub(super) event_seq: Option<u64>,
}

impl<'a> About<'a> {
    pub(super) fn new(message: MessageType, job_id: Option<&'a str>) -> About<'a> {
        About { message, job_id, trace_id: None, event_seq: None }
    }

    fn has_bad_job_id(&self) -> bool {
        self.job_id.is_some_and(|id| id.is_empty() || id.len() > MAX_ID_LEN)
    }
}

/// Whether every receiver would refuse the frame, in which the payload has so many `brackets`, for its nesting (D39). Only
/// what has so many at all can be nested so deep.
pub(super) fn is_too_deep(frame: &[u8], brackets: usize) -> bool {
    brackets >= MAX_DEPTH
        && Envelope::decode(Bytes::copy_from_slice(frame))
            .is_err_and(|malformed| malformed.fault == FrameFault::TooDeep)
}

/// Whether the frame can be sent, whose payload is an application's.
fn check(frame: &[u8], about: About<'_>, notes: Notes, limit: usize) -> Result<(), Unsendable> {
    if about.has_bad_job_id() {
        Err(Unsendable::Invalid(BAD_JOB_ID))
    } else if is_too_deep(frame, notes.brackets) {
        Err(Unsendable::Invalid("it is nested deeper than 128"))
    } else if frame.len() > limit {
        Err(Unsendable::TooLarge { len: frame.len(), limit })
    } else {
        Ok(())
    }
}

impl Shared {
    pub(super) fn new(now: Now, phase: Phase, letter: char, prefix: &str, cadence: Cadence) -> Shared {
        let mut end = prefix.len().min(MAX_PREFIX);
        while !prefix.is_char_boundary(end) {
            end -= 1;
        }
        Shared {
            clock: now,
            phase: PhaseCell::new(phase),
            epoch: 1,
            session_id: None,
            features: FeatureSet::none(),
            timers: Timers::new(),
            heartbeat: Heartbeat::new(cadence),
            outbox: Outbox::default(),
            violations: Violations::default(),
            letter,
            prefix: prefix.get(..end).unwrap_or_default().into(),
            minted: 0,
            began: None,
        }
    }

    pub(super) fn counters(&self) -> Counters {
        Counters { epoch: self.epoch, minted: self.minted }
    }

    /// Goes on behind what a snapshot knows of: under the next epoch, so that no id is minted again that was minted after it
    /// was taken (D3).
    pub(super) fn go_on_from(&mut self, counters: Counters) {
        self.epoch = counters.epoch + 1;
        self.minted = counters.minted;
    }

    pub(super) fn mint_nonce(&mut self) -> ShortText {
        self.mint("p")
    }

    /// The next id: unique in the session, for it names the attachment (D3).
    fn mint(&mut self, kind: &str) -> ShortText {
        self.minted += 1;
        self.text(kind, Some(self.minted))
    }

    /// An id of that number; the part before the number.
    fn text(&self, kind: &str, number: Option<u64>) -> ShortText {
        let mut text = ShortText::new();
        // It fits: 4 + 1 + 32 + 1 + 20 + 1 + 20.
        let _ = write!(text, "{kind}_{}{}{}_", self.prefix, self.letter, self.epoch);
        if let Some(number) = number {
            let _ = write!(text, "{number}");
        }
        text
    }

    /// A frame of this session without job, trace and place in the sequence. Its payload is one of ours, which can
    /// always be written.
    pub(super) fn frame<P: Serialize>(&mut self, message: MessageType, payload: &P) -> Bytes {
        self.frame_about(About::new(message, None), payload)
    }

    /// [`frame`](Shared::frame) with more of a header.
    pub(super) fn frame_about<P: Payload + ?Sized>(&mut self, about: About<'_>, payload: &P) -> Bytes {
        let mut frame = BytesMut::with_capacity(256);
        match self.write_about(&mut frame, about, payload) {
            Ok(_) => Bytes::copy_from_slice(&frame),
            Err(_) => Bytes::new(),
        }
    }

    /// A frame with a payload of the application's, and its message id.
    pub(super) fn checked_frame<P: Payload + ?Sized>(
        &mut self,
        about: About<'_>,
        payload: &P,
        limit: usize,
    ) -> Result<(ShortText, Bytes), Unsendable> {
        let mut frame = BytesMut::with_capacity(512);
        let (id, notes) = self.write_about(&mut frame, about, payload)?;
        check(&frame, about, notes, limit)?;
        Ok((id, Bytes::copy_from_slice(&frame)))
    }

    /// Writes a frame with a payload of the application's into an empty buffer. After an error there is part of it.
    pub(super) fn write_checked<P: Payload + ?Sized>(
        &mut self,
        out: &mut BytesMut,
        about: About<'_>,
        payload: &P,
        limit: usize,
    ) -> Result<(), Unsendable> {
        let (_, notes) = self.write_about(out, about, payload)?;
        check(out, about, notes, limit)
    }

    /// The same of an event.
    pub(super) fn write_event<B: Serialize + ?Sized>(
        &mut self,
        out: &mut BytesMut,
        about: About<'_>,
        payload: &EventPayload<'_, B>,
        limit: usize,
    ) -> Result<(), Unsendable> {
        let notes = match self.begin_event(out, about, payload.kind, payload.ts) {
            Some(payload_at) => {
                let notes = write_body(out, payload.body)?;
                end_payload(out, payload_at, notes.may_break);
                out.put_u8(b'}');
                notes
            }
            None => self.write_about(out, about, payload)?.1,
        };
        check(out, about, notes, limit)?;
        if notes.body_is_object { Ok(()) } else { Err(Unsendable::Invalid("an event's body is an object")) }
    }

    /// The same around a body that was written before, on one line, and was looked at then.
    pub(super) fn write_event_around(
        &mut self,
        out: &mut BytesMut,
        about: About<'_>,
        payload: &EventPayload<'_, [u8]>,
        limit: usize,
    ) -> Result<(), Unsendable> {
        if self.begin_event(out, about, payload.kind, payload.ts).is_none() {
            let payload = payload_around(payload.kind, payload.ts, payload.body, false);
            return self.write_around(out, about, &payload, limit);
        }
        out.extend_from_slice(payload.body);
        out.extend_from_slice(b"}}");
        if out.len() > limit { Err(Unsendable::TooLarge { len: out.len(), limit }) } else { Ok(()) }
    }

    /// The frame around a payload that was written before, and was looked at then.
    pub(super) fn write_around(
        &mut self,
        out: &mut BytesMut,
        about: About<'_>,
        payload: &[u8],
        limit: usize,
    ) -> Result<(), Unsendable> {
        if about.has_bad_job_id() {
            return Err(Unsendable::Invalid(BAD_JOB_ID));
        }
        let id = self.mint("msg");
        write_around(out, &self.header(&id, about), payload);
        if out.len() > limit { Err(Unsendable::TooLarge { len: out.len(), limit }) } else { Ok(()) }
    }

    /// Writes an event up to its body, and says where its payload begins. `None`: nothing is written, for it cannot begin
    /// like others.
    #[inline]
    fn begin_event(&mut self, out: &mut BytesMut, about: About<'_>, kind: &str, ts: Timestamp) -> Option<usize> {
        let (job, seq) = (about.job_id?, about.event_seq?);
        let is_it = self.began.as_ref().is_some_and(|began| began.epoch == self.epoch && *began.job == *job);
        if !is_it {
            self.prepare(about, job, kind)?;
        }
        let head = &mut self.began.as_mut()?.head;
        let text = head.next(EventMark { id: self.minted + 1, seq, kind, ts })?;
        out.extend_from_slice(text);
        self.minted += 1;
        Some(head.payload_at())
    }

    #[inline(never)]
    fn prepare(&mut self, about: About<'_>, job: &str, kind: &str) -> Option<()> {
        if about.has_bad_job_id() || !EventHead::can_be(kind) {
            return None;
        }
        if let Some(began) = self.began.as_mut().filter(|began| began.epoch == self.epoch) {
            job.clone_into(&mut began.job);
            began.head.set_job(job);
            return Some(());
        }
        let id = self.text("msg", None);
        let head = EventHead::new(&self.header(&id, About { event_seq: None, ..about }), job);
        self.began = Some(Box::new(Began { epoch: self.epoch, job: job.into(), head }));
        Some(())
    }

    /// Writes a frame into an empty buffer. After an error there is part of it.
    fn write_about<P: Payload + ?Sized>(
        &mut self,
        out: &mut BytesMut,
        about: About<'_>,
        payload: &P,
    ) -> Result<(ShortText, Notes), serde_json::Error> {
        let id = self.mint("msg");
        let notes = write_frame(out, &self.header(&id, about), payload)?;
        Ok((id, notes))
    }

    fn header<'a>(&'a self, id: &'a ShortText, about: About<'a>) -> Header<'a> {
        let About { message, job_id, trace_id, event_seq } = about;
        let session_id = self.session_id.as_ref().map(SessionId::as_str);
        Header { id: id.as_str(), message, session_id, trace_id, job_id, event_seq }
    }

    /// The transport is given up, with `farewell` left to be sent.
    pub(super) fn cut(&mut self) {
        self.heartbeat.stop();
        self.violations.reset();
        self.began = None;
        self.outbox.keep_farewell();
        for timer in [Timer::Handshake, Timer::Close] {
            self.timers.set(timer, None);
        }
    }

    /// The session is over.
    pub(super) fn end(&mut self) {
        self.cut();
        self.timers.clear();
    }
}

#[cfg(feature = "model")]
impl Shared {
    pub(super) fn digest(&self, digest: &mut super::digest::Digest<'_>) {
        let Shared { clock, phase, epoch, session_id, features, timers, heartbeat, outbox, violations, .. } = self;
        // Of the rest, `letter` and `prefix` stay what they are, `minted` only makes ids differ, and `began` is a cache.
        digest.time(clock.mono);
        digest.number(phase.get() as u64);
        digest.number(*epoch);
        digest.text(session_id.as_ref().map(SessionId::as_str).unwrap_or_default().as_bytes());
        features.iter().for_each(|feature| digest.number(feature as u64));
        timers.digest(digest);
        heartbeat.digest(digest);
        outbox.digest(digest);
        violations.digest(digest);
    }
}
