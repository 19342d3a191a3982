//! What a client does with the messages of an open session.

use alloc::borrow::Cow;
use alloc::boxed::Box;

use super::super::config::GapPolicy;
use super::super::error::{CloseReason, DetachReason, ProtocolError};
use super::super::event::{ClientEvent, Delivery};
use super::super::phase::Phase;
use super::super::reorder::Offer;
use super::super::requests::{Clues, Match, RequestFailure, RequestId};
use super::super::role::Machine;
use super::super::{Session, bad_payload};
use super::Client;
use crate::feature::Feature;
use crate::time::Now;
use crate::wire::{
    Bye, Envelope, ErrorCode, JobAccepted, JobCancelled, JobEntry, JobError, JobId, JobPage, JobResult, JobSubscribed,
    Jobs, MessageType, PayloadError, Sender, SessionError, WireError,
};

impl Session<Client> {
    pub(super) fn receive(&mut self, now: Now, envelope: Envelope) {
        if !self.is_meant(&envelope) {
            return self.offended(now, ProtocolError::WrongSession, &envelope);
        }
        self.role.requests.forget(now.mono);
        match envelope.message_type() {
            None => {
                let id = envelope.id();
                self.tolerate(ProtocolError::UnknownType((*envelope.type_name()).into()), id.as_deref());
            }
            Some(message) if message.sender() == Sender::Client => {
                self.offended(now, ProtocolError::WrongDirection(message), &envelope);
            }
            Some(MessageType::SessionWelcome) => {
                self.offended(now, ProtocolError::WrongPhase(MessageType::SessionWelcome), &envelope);
            }
            Some(message) => match envelope.event_seq().filter(|_| message.moves_cursor()) {
                Some(seq) => self.receive_in_sequence(now, seq, envelope),
                None => self.deliver(now, message, None, envelope),
            },
        }
    }

    fn offended(&mut self, now: Now, error: ProtocolError, envelope: &Envelope) {
        if self.violate(error, envelope.id().as_deref()) {
            Client::detach(self, now, DetachReason::TooManyViolations);
        }
    }

    /// Puts the sequence in order, then delivers (D28).
    fn receive_in_sequence(&mut self, now: Now, seq: u64, envelope: Envelope) {
        let limit = self.role.config.limits.reorder_events;
        match self.role.order.offer(seq, envelope, now.mono, limit) {
            Offer::Duplicate | Offer::Held => {}
            Offer::Next(envelope) => {
                self.deliver_in_sequence(now, seq, envelope);
                self.deliver_held(now);
            }
            Offer::Full(envelope) => {
                self.give_up_hole(now, seq);
                if matches!(self.phase(), Phase::Open | Phase::Closing) {
                    self.receive_in_sequence(now, seq, envelope);
                }
            }
        }
    }

    fn deliver_in_sequence(&mut self, now: Now, seq: u64, envelope: Envelope) {
        if let Some(message) = envelope.message_type() {
            self.deliver(now, message, Some(seq), envelope);
        }
    }

    fn deliver_held(&mut self, now: Now) {
        while let Some(envelope) = self.role.order.next(now.mono) {
            let seq = self.role.order.received();
            self.deliver_in_sequence(now, seq, envelope);
        }
    }

    /// The hole before what is held did not fill in time, or `next` finds no place to wait: a resume brings it, once;
    /// else it is reported and the rest goes on.
    pub(super) fn give_up_hole(&mut self, now: Now, next: u64) {
        let may_resume = self.role.config.gap_policy == GapPolicy::Resume
            && self.phase() == Phase::Open
            && self.role.token.is_some()
            && self.role.order.may_retry();
        if may_resume {
            return Client::detach(self, now, DetachReason::Gap);
        }
        let (from, to) = self.role.order.skip_hole(next);
        self.push(ClientEvent::EventsLost { from, to }, 0);
        self.deliver_held(now);
    }

    fn deliver(&mut self, now: Now, message: MessageType, seq: Option<u64>, envelope: Envelope) {
        let outcome = match message {
            MessageType::SessionPing => {
                self.pong(now, &envelope);
                Ok(())
            }
            MessageType::SessionPong => {
                if !self.shared.features.contains(Feature::Heartbeat) {
                    self.tolerate(ProtocolError::NotNegotiated(Feature::Heartbeat), envelope.id().as_deref());
                }
                Ok(())
            }
            MessageType::SessionBye | MessageType::SessionClosed => {
                let reason = envelope.payload::<Bye>().ok().and_then(|bye| bye.reason);
                self.end(if self.phase() == Phase::Closing {
                    CloseReason::Requested
                } else {
                    CloseReason::PeerClosed { reason }
                });
                Ok(())
            }
            MessageType::SessionError => self.receive_error(now, &envelope),
            MessageType::SessionJobs => self.receive_jobs(&envelope),
            MessageType::JobAccepted => self.receive_accepted(&envelope),
            MessageType::JobSubscribed => self.receive_subscribed(&envelope),
            MessageType::JobCancelled => self.receive_cancelled(seq, &envelope),
            MessageType::JobResult => self.receive_result(seq, &envelope),
            MessageType::JobError => self.receive_job_error(seq, &envelope),
            _ => return self.deliver_event(seq, envelope),
        };
        if let Err(error) = outcome {
            self.violate(bad_payload(message, error.reason()), envelope.id().as_deref());
            // It is out of the ordinary, but it has its place in the sequence and is not lost.
            if seq.is_some() {
                self.deliver_event(seq, envelope);
            }
        }
    }

    fn deliver_event(&mut self, seq: Option<u64>, envelope: Envelope) {
        let missing = envelope.feature_of_kind().filter(|feature| !self.shared.features.contains(*feature));
        if let Some(feature) = missing {
            self.tolerate(ProtocolError::NotNegotiated(feature), envelope.id().as_deref());
        }
        self.heard_of_job(&envelope);
        let len = envelope.frame().len();
        self.push_in_sequence(seq, ClientEvent::Event(Delivery { seq, envelope }), len);
    }

    fn push_in_sequence(&mut self, seq: Option<u64>, event: ClientEvent, len: usize) {
        self.inbox.push_at(Some(event), seq.unwrap_or(0), len);
    }

    /// There is nothing to tell, but the sequence goes on: now, or with the last event that waits.
    fn pass(&mut self, seq: Option<u64>) {
        match seq {
            Some(seq) if self.inbox.is_empty() => Client::polled(self, None, seq),
            Some(seq) => self.inbox.push_at(None, seq, 0),
            None => {}
        }
    }

    fn heard_of_job(&mut self, envelope: &Envelope) {
        if self.role.requests.last_live().is_some_and(|job| envelope.is_of_job(job)) {
            return;
        }
        if let Some(job) = envelope.job_id() {
            self.role.requests.job_lives(&job, self.role.config.limits.live_jobs);
        }
    }

    fn receive_error(&mut self, now: Now, envelope: &Envelope) -> Result<(), PayloadError> {
        let error = envelope.payload::<SessionError>()?;
        let (id, job_id) = (envelope.id(), envelope.job_id());
        let request_id = error.request_id.as_deref().or(error.reply_to.as_deref()).or(error.correlation_id.as_deref());
        let clues = Clues { request_id, envelope_id: id.as_deref(), job_id: job_id.as_deref(), trace_id: None };
        let is_fatal = matches!(
            error.code,
            ErrorCode::Unauthenticated | ErrorCode::HeartbeatLost | ErrorCode::ResumeWindowExpired
        );
        let is_closing = self.phase() == Phase::Closing;
        // While closing, an error that names no request is the answer to the goodbye (D32).
        let matched = match (is_fatal, is_closing) {
            (true, _) => Match::Nothing,
            (false, true) => self.role.requests.named(clues),
            (false, false) => self.role.requests.failed(clues),
        };
        let lost = error.code == ErrorCode::HeartbeatLost;
        let error = WireError::from(error);
        match matched {
            Match::Request(request) => self.request_refused(request, error, None, envelope.frame().len()),
            Match::Late => {}
            Match::Nothing => {
                let job_id = job_id.map(|id| (&*id).into());
                self.push(ClientEvent::Error { error, job_id }, envelope.frame().len());
                if is_closing {
                    self.end(CloseReason::Requested);
                } else if lost {
                    Client::detach(self, now, DetachReason::HeartbeatLost);
                }
            }
        }
        Ok(())
    }

    fn request_refused(&mut self, request: RequestId, error: WireError, seq: Option<u64>, frame_len: usize) {
        let event = ClientEvent::RequestFailed { request, failure: RequestFailure::Refused(error) };
        self.push_in_sequence(seq, event, frame_len);
    }

    fn receive_jobs(&mut self, envelope: &Envelope) -> Result<(), PayloadError> {
        let jobs = envelope.payload::<Jobs>()?;
        let request_id = jobs.request_id.as_deref().or(jobs.reply_to.as_deref());
        let clues = Clues { request_id, ..Clues::default() };
        match self.role.requests.answer(MessageType::SessionListJobs, clues) {
            Match::Request(request) => {
                // Read, small entries take more memory than their text.
                let len = envelope.frame().len().max(jobs.jobs.len().saturating_mul(size_of::<JobEntry>()));
                let page = JobPage { jobs: jobs.jobs, next_cursor: jobs.next_cursor };
                self.push(ClientEvent::Jobs { request, page }, len);
            }
            Match::Late => {}
            Match::Nothing => self.unasked(MessageType::SessionJobs, envelope),
        }
        Ok(())
    }

    fn unasked(&mut self, message: MessageType, envelope: &Envelope) {
        self.tolerate(ProtocolError::UnknownAnswer(message), envelope.id().as_deref());
    }

    fn receive_accepted(&mut self, envelope: &Envelope) -> Result<(), PayloadError> {
        let mut accepted = envelope.payload::<JobAccepted>()?;
        if let Some(job_id) = envelope.to_job_id() {
            accepted.job_id = job_id;
        }
        let request_id = accepted.request_id.as_deref().or(accepted.reply_to.as_deref());
        let trace_id = envelope.trace_id().or(accepted.trace_id);
        accepted.trace_id = trace_id;
        let request_is_named = request_id.is_some();
        let is_child = accepted.parent_job_id.is_some() || accepted.delegate_id.is_some();
        let matched = self.role.requests.accepted(Clues { request_id, trace_id, ..Clues::default() }, is_child);
        self.heard_of_job(envelope);
        let request = match matched {
            // Where it names nothing it may be another's, and the job is real in any case.
            Match::Late if request_is_named => return Ok(()),
            Match::Request(request) => Some(request),
            Match::Late | Match::Nothing => None,
        };
        let len = envelope.frame().len().max(accepted.heap_cost());
        self.push(ClientEvent::Accepted { request, accepted: Box::new(accepted) }, len);
        Ok(())
    }

    fn receive_subscribed(&mut self, envelope: &Envelope) -> Result<(), PayloadError> {
        let mut subscribed = envelope.payload::<JobSubscribed>()?;
        let job_id = envelope.to_job_id();
        if let Some(job_id) = &job_id {
            subscribed.job_id = job_id.clone();
        }
        let request_id = subscribed.request_id.as_deref().or(subscribed.reply_to.as_deref());
        let clues = Clues { request_id, job_id: job_id.as_ref().map(JobId::as_str), ..Clues::default() };
        let matched = self.role.requests.answer(MessageType::JobSubscribe, clues);
        if !subscribed.current_status.is_terminal() {
            self.heard_of_job(envelope);
        }
        let request = match matched {
            Match::Late => return Ok(()),
            Match::Request(request) => Some(request),
            Match::Nothing => None,
        };
        let len = envelope.frame().len().max(subscribed.heap_cost());
        self.push(ClientEvent::Subscribed { request, subscribed: Box::new(subscribed) }, len);
        Ok(())
    }

    fn receive_cancelled(&mut self, seq: Option<u64>, envelope: &Envelope) -> Result<(), PayloadError> {
        let cancelled = envelope.payload::<JobCancelled>()?;
        let job_id = envelope.job_id();
        let request_id = cancelled.request_id.as_deref().or(cancelled.reply_to.as_deref());
        let clues = Clues { request_id, job_id: job_id.as_deref(), ..Clues::default() };
        let request = match self.role.requests.answer(MessageType::JobCancel, clues) {
            Match::Late if seq.is_none() => return Ok(()),
            Match::Request(request) => Some(request),
            Match::Late | Match::Nothing => None,
        };
        let delivery = Delivery { seq, envelope: envelope.clone() };
        self.push_in_sequence(seq, ClientEvent::Cancelled { request, delivery }, envelope.frame().len());
        Ok(())
    }

    fn receive_result(&mut self, seq: Option<u64>, envelope: &Envelope) -> Result<(), PayloadError> {
        let result = Box::new(envelope.payload::<JobResult>()?);
        self.job_ended(envelope.job_id());
        let delivery = Delivery { seq, envelope: envelope.clone() };
        // It is there twice: in the frame, and as read.
        let len = envelope.frame().len() + result.result.as_ref().map_or(0, |result| result.text().len());
        self.push_in_sequence(seq, ClientEvent::Finished { delivery, result }, len);
        Ok(())
    }

    fn job_ended(&mut self, job_id: Option<Cow<'_, str>>) {
        if let Some(job) = job_id {
            self.role.requests.job_ended(&job);
        }
    }

    /// The end of a job, unless it is a refused request in disguise (D12).
    fn receive_job_error(&mut self, seq: Option<u64>, envelope: &Envelope) -> Result<(), PayloadError> {
        let error = envelope.payload::<JobError>()?;
        let (id, job_id) = (envelope.id(), envelope.job_id());
        let clues = Clues {
            request_id: error.request_id.as_deref().or(error.reply_to.as_deref()).or(error.correlation_id.as_deref()),
            envelope_id: id.as_deref(),
            job_id: job_id.as_deref(),
            trace_id: None,
        };
        let is_refusal_code =
            matches!(error.code, ErrorCode::DuplicateKey | ErrorCode::PermissionDenied | ErrorCode::JobNotFound);
        let requests = &mut self.role.requests;
        let has_ended = job_id.as_deref().is_some_and(|job| requests.has_ended(job));
        let is_known = has_ended || job_id.as_deref().is_some_and(|job| requests.is_live(job));
        let is_refusal = is_known && is_refusal_code;
        let matched = match requests.named(clues) {
            Match::Nothing if is_refusal => requests.refused(clues, error.code == ErrorCode::DuplicateKey),
            // No submit is refused for that: it is the end of a job whose acceptance was lost with a transport.
            Match::Nothing if !is_known && !matches!(error.code, ErrorCode::Cancelled | ErrorCode::Timeout) => {
                requests.refused(clues, true)
            }
            named => named,
        };
        let len = envelope.frame().len();
        match matched {
            Match::Request(request) => self.request_refused(request, error.into(), seq, len),
            Match::Late => self.pass(seq),
            Match::Nothing if is_refusal => {
                let job_id = job_id.map(|id| (&*id).into());
                let event = ClientEvent::Error { error: error.into(), job_id };
                self.push_in_sequence(seq, event, len);
            }
            Match::Nothing => {
                self.job_ended(job_id);
                let delivery = Delivery { seq, envelope: envelope.clone() };
                let len = len + error.details.as_ref().map_or(0, |details| details.text().len());
                self.push_in_sequence(seq, ClientEvent::Failed { delivery, error: Box::new(error) }, len);
            }
        }
        Ok(())
    }
}
