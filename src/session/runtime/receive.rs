//! What a runtime does with the messages of an attached session.

use alloc::boxed::Box;

use super::super::error::{DetachReason, ProtocolError};
use super::super::event::RuntimeEvent;
use super::super::pending::{Answer, Intake};
use super::super::phase::Phase;
use super::super::requests::RequestId;
use super::super::shared::About;
use super::super::{Session, bad_payload};
use super::Runtime;
use crate::feature::Feature;
use crate::time::Now;
use crate::wire::{
    Ack, Bye, Envelope, ErrorCode, JobAccepted, JobCancel, JobId, JobQuery, JobStatus, JobSubmit, JobSubscribe,
    MessageType, RawJson, Sender, WireError,
};

/// An error is never answered by an error (D7), and neither are advisories (D11): peers fail all that is in flight on
/// one.
fn may_answer(message: Option<MessageType>) -> bool {
    !matches!(message, Some(MessageType::SessionError | MessageType::SessionAck | MessageType::SessionPong))
}

impl Session<Runtime> {
    pub(super) fn receive(&mut self, now: Now, envelope: &Envelope) {
        let id = envelope.id();
        let id = id.as_deref();
        if !self.is_meant(envelope) {
            return self.offended(now, ProtocolError::WrongSession, id, may_answer(envelope.message_type()));
        }
        let Some(message) = envelope.message_type() else {
            return self.receive_unknown(now, envelope);
        };
        if message.sender() == Sender::Runtime {
            return self.offended(now, ProtocolError::WrongDirection(message), id, may_answer(Some(message)));
        }
        if !matches!(message, MessageType::SessionPing | MessageType::SessionPong) {
            self.role.used_at = now.mono;
        }
        match message {
            MessageType::SessionPing => self.pong(now, envelope),
            MessageType::SessionPong => {
                if !self.shared.features.contains(Feature::Heartbeat) {
                    self.tolerate(ProtocolError::NotNegotiated(Feature::Heartbeat), id);
                }
            }
            MessageType::SessionAck => self.receive_ack(now, envelope),
            MessageType::SessionHello => self.receive_second_hello(now, id),
            MessageType::SessionBye | MessageType::SessionClose => self.receive_goodbye(now, envelope),
            MessageType::SessionListJobs => self.receive_list_jobs(now, envelope),
            MessageType::JobSubmit => self.receive_submit(now, envelope),
            MessageType::JobCancel => self.receive_cancel(now, envelope),
            MessageType::JobSubscribe => self.receive_subscribe(now, envelope),
            MessageType::JobUnsubscribe => self.receive_unsubscribe(now, envelope),
            other => self.offended(now, ProtocolError::WrongPhase(other), id, true),
        }
    }

    /// Tells of what the peer did, and answers it; gives the transport up where it was one too many (D43).
    pub(super) fn offended(&mut self, now: Now, error: ProtocolError, id: Option<&str>, is_answered: bool) {
        let answer = WireError::new(ErrorCode::InvalidRequest, alloc::format!("{error}"));
        if self.violate(error, id) {
            let answer = WireError::new(ErrorCode::InvalidRequest, "the protocol was broken too often");
            self.cut_off_with(now, DetachReason::TooManyViolations, &answer, id);
        } else if is_answered {
            self.refuse(now, &answer, id, None);
        }
    }

    pub(super) fn refuse(&mut self, now: Now, error: &WireError, id: Option<&str>, job_id: Option<&str>) {
        let frame = self.error_frame(error, id, job_id);
        self.control(now, frame);
    }

    /// `session.*` and `job.*` are ours to know; the rest is the application's (D7).
    fn receive_unknown(&mut self, now: Now, envelope: &Envelope) {
        let name = envelope.type_name();
        if name.starts_with("session.") || name.starts_with("job.") {
            self.offended(now, ProtocolError::UnknownType((*name).into()), envelope.id().as_deref(), true);
        } else {
            self.push(RuntimeEvent::Vendor(envelope.clone()), envelope.frame().len());
        }
    }

    fn receive_ack(&mut self, now: Now, envelope: &Envelope) {
        let id = envelope.id();
        let id = id.as_deref();
        if !self.shared.features.contains(Feature::Ack) {
            return self.tolerate(ProtocolError::NotNegotiated(Feature::Ack), id);
        }
        let seq = match envelope.payload::<Ack>() {
            Ok(ack) => ack.last_processed_seq,
            Err(error) => return self.tolerate(bad_payload(MessageType::SessionAck, error.reason()), id),
        };
        let transmitted = self.role.window.transmitted();
        if seq > transmitted {
            return self.tolerate(ProtocolError::AckFromTheFuture { seq, transmitted }, id);
        }
        if self.role.window.ack(seq) {
            self.relieve();
            self.judge_writable();
            self.settle(now);
        }
    }

    /// A second hello asks to be somebody else: goodbye (A14, D10).
    fn receive_second_hello(&mut self, now: Now, id: Option<&str>) {
        self.violate(ProtocolError::WrongPhase(MessageType::SessionHello), id);
        let bye = self.shared.frame(MessageType::SessionBye, &Bye { reason: Some("reauthentication".into()) });
        let error =
            WireError::new(ErrorCode::InvalidRequest, "a session is authenticated once: open another transport");
        let error = self.error_frame(&error, id, None);
        self.cut_off(now, DetachReason::Reauthentication, [bye, error]);
    }

    fn receive_goodbye(&mut self, now: Now, envelope: &Envelope) {
        if self.phase() == Phase::Open {
            let bye = envelope.payload::<Bye>().ok().and_then(|bye| bye.reason);
            let bye = bye.map_or_else(Bye::default, |reason| Bye::because(&reason));
            let closed = self.shared.frame(MessageType::SessionClosed, &bye);
            self.begin_close(now, closed, false, bye.reason);
        }
    }

    /// Refuses a request for what its sender got wrong.
    fn refuse_request(&mut self, now: Now, error: ProtocolError, envelope: &Envelope) {
        let answer = WireError::new(ErrorCode::InvalidRequest, alloc::format!("{error}"));
        let (id, job_id) = (envelope.id(), envelope.job_id());
        self.violate(error, id.as_deref());
        self.refuse(now, &answer, id.as_deref(), job_id.as_deref());
    }

    /// Whether the features of a request were negotiated; refuses it if not (A5, D33).
    fn permits(&mut self, now: Now, features: impl IntoIterator<Item = Feature>, envelope: &Envelope) -> bool {
        let missing = features.into_iter().find(|feature| !self.shared.features.contains(*feature));
        if let Some(missing) = missing {
            self.refuse_request(now, ProtocolError::NotNegotiated(missing), envelope);
        }
        missing.is_none()
    }

    /// Enters a request; `None` where there is nothing to ask the application.
    fn take_in(
        &mut self,
        now: Now,
        message: MessageType,
        job_id: Option<&JobId>,
        envelope: &Envelope,
    ) -> Option<RequestId> {
        let Some(id) = envelope.id() else {
            self.refuse_request(now, ProtocolError::MissingId(message), envelope);
            return None;
        };
        let limit = self.role.config.limits.open_requests;
        match self.role.pendings.take_in(&id, message, job_id.cloned(), limit) {
            Intake::New(request) => return Some(request),
            Intake::Repeated => {}
            Intake::Answered(mut answer) => {
                self.withhold(&mut answer);
                let job_id = answer.job_id.as_ref().map(JobId::as_str);
                let frame = self.shared.frame_about(About::new(answer.message, job_id), &answer.payload);
                self.control(now, frame);
            }
            Intake::TooMany => {
                self.violate(ProtocolError::TooManyRequests(limit), Some(&id));
                let error = WireError::new(ErrorCode::InternalError, "too many requests are open");
                self.refuse(now, &error, Some(&id), None);
            }
        }
        None
    }

    /// An answer that is kept outlives a resume, and with it the features that it was given under (D33).
    fn withhold(&self, answer: &mut Answer) {
        if answer.message != MessageType::JobAccepted {
            return;
        }
        if let Ok(accepted) = answer.payload.parse::<JobAccepted>()
            && let Ok(payload) = RawJson::new(&accepted.within(&self.shared.features))
        {
            answer.payload = payload;
        }
    }

    fn receive_list_jobs(&mut self, now: Now, envelope: &Envelope) {
        let message = MessageType::SessionListJobs;
        if !self.permits(now, message.feature(), envelope) {
            return;
        }
        let query = match envelope.payload::<JobQuery>() {
            Ok(query) if query.limit != Some(0) => Box::new(query),
            Ok(_) => return self.refuse_request(now, bad_payload(message, "`limit` is 0"), envelope),
            Err(error) => return self.refuse_request(now, bad_payload(message, error.reason()), envelope),
        };
        if let Some(request) = self.take_in(now, message, None, envelope) {
            // Read, short words take more memory than their text.
            let len = envelope.frame().len().max(query.filter.status.len().saturating_mul(size_of::<JobStatus>()));
            self.push(RuntimeEvent::ListJobs { request, query }, len);
        }
    }

    fn receive_submit(&mut self, now: Now, envelope: &Envelope) {
        let message = MessageType::JobSubmit;
        let submit = match envelope.payload::<JobSubmit>() {
            Ok(submit) if !submit.agent.is_empty() => Box::new(submit),
            Ok(_) => return self.refuse_request(now, bad_payload(message, "`agent` is empty"), envelope),
            Err(error) => return self.refuse_request(now, bad_payload(message, error.reason()), envelope),
        };
        // Features may have gone with a resume; a repetition is known all the same (D8).
        let is_known = envelope.id().is_some_and(|id| self.role.pendings.knows(&id));
        if !is_known && !self.permits(now, submit.features(), envelope) {
            return;
        }
        if let Some(request) = self.take_in(now, message, None, envelope) {
            let trace_id = envelope.trace_id();
            self.push(RuntimeEvent::Submit { request, submit, trace_id }, envelope.frame().len());
        }
    }

    /// The job that a request is about, from either place (D34).
    fn job_of(&mut self, now: Now, message: MessageType, envelope: &Envelope) -> Option<JobId> {
        let job_id = envelope.to_job_id();
        if job_id.is_none() {
            self.refuse_request(now, bad_payload(message, "`job_id` is missing"), envelope);
        }
        job_id
    }

    fn receive_cancel(&mut self, now: Now, envelope: &Envelope) {
        let message = MessageType::JobCancel;
        let reason = match envelope.payload::<JobCancel>() {
            Ok(cancel) => cancel.reason,
            Err(error) => return self.refuse_request(now, bad_payload(message, error.reason()), envelope),
        };
        let Some(job_id) = self.job_of(now, message, envelope) else { return };
        if let Some(request) = self.take_in(now, message, Some(&job_id), envelope) {
            self.push(RuntimeEvent::Cancel { request, job_id, reason }, envelope.frame().len());
        }
    }

    fn receive_subscribe(&mut self, now: Now, envelope: &Envelope) {
        let message = MessageType::JobSubscribe;
        if !self.permits(now, message.feature(), envelope) {
            return;
        }
        let subscribe = match envelope.payload::<JobSubscribe>() {
            Ok(subscribe) => Box::new(subscribe),
            Err(error) => return self.refuse_request(now, bad_payload(message, error.reason()), envelope),
        };
        let Some(job_id) = self.job_of(now, message, envelope) else { return };
        if let Some(request) = self.take_in(now, message, Some(&job_id), envelope) {
            self.push(RuntimeEvent::Subscribe { request, job_id, subscribe }, envelope.frame().len());
        }
    }

    fn receive_unsubscribe(&mut self, now: Now, envelope: &Envelope) {
        let message = MessageType::JobUnsubscribe;
        if self.permits(now, message.feature(), envelope)
            && let Some(job_id) = self.job_of(now, message, envelope)
        {
            self.push(RuntimeEvent::Unsubscribe { job_id }, envelope.frame().len());
        }
    }
}
