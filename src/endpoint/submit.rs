//! Submits: asked for one after the other, repetitions answered alike (§7.1, §7.2, D41).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::ToString;

use super::Endpoint;
use super::error::AcceptError;
use super::event::{EndpointEvent, Request};
use super::idempotency::{Entry, IdempotencyKeys};
use super::job_record::JobRecord;
use super::jobs::Asker;
use super::queue::Charge;
use super::registry::{Key, Member};
use super::work::{AskState, Asked};
use crate::session::{AnswerError, RequestId};
use crate::time::Now;
use crate::wire::{ErrorCode, JobAccepted, JobSubmit, Principal, TraceId, WireError};

/// Answers to requests.
impl Endpoint {
    /// Takes the job of a [`Submit`](EndpointEvent::Submit) (§7.1): it is registered with the session and its principal, can be
    /// listed, subscribed to and published. Repetitions by `idempotency_key` get this answer again, as long as the job
    /// is in the directory (D41).
    ///
    /// Where the submit's transport was lost meanwhile, the job is taken all the same, and the answer kept for a
    /// repetition of the same message (D8).
    ///
    /// # Errors
    ///
    /// When there is no such submit any more (its session is gone, or it was answered), the answer cannot be sent, or the
    /// directory does not take the job. The job is not registered then.
    pub fn accept_job(&mut self, now: Now, request: &Request, mut accepted: JobAccepted) -> Result<(), AcceptError> {
        let now = self.tick(now);
        let (key, member) = self.asking(request)?;
        let principal = member.session.principal().clone();
        let asked = member.work.as_mut().and_then(|work| work.asked(request.id)).ok_or(AnswerError::UnknownRequest)?;
        if !matches!(asked.state, AskState::Told) {
            return Err(AnswerError::UnknownRequest.into());
        }
        accepted.accepted_at = accepted.accepted_at.or(Some(now.wall));
        accepted.trace_id = accepted.trace_id.or(asked.trace_id);
        let mut record = JobRecord::new(
            accepted.job_id.clone(),
            principal.clone(),
            accepted.agent.clone(),
            accepted.accepted_at.unwrap_or(now.wall),
        );
        record.session = Some(request.session.clone());
        record.lease = accepted.lease.clone();
        record.lease_constraints = accepted.lease_constraints;
        record.budget = accepted.budget.clone();
        record.credentials = accepted.credentials.clone();
        record.trace_id = accepted.trace_id;
        self.jobs.directory.check(&record)?;
        self.state_changes(key);
        let member = self.registry.get_mut(key).ok_or(AnswerError::UnknownRequest)?;
        member.session.accept_job(now, request.id, accepted.clone())?;
        let asked = member.work().take_asked(request.id);
        self.register_job(now, record, Some(key))?;
        if let Some(idempotency_key) = asked.and_then(|asked| asked.key) {
            for asker in self.jobs.keys.accepted(&principal, &idempotency_key, accepted.clone()) {
                self.repeat(now, asker, &accepted);
                self.ask_next_of(now, asker);
            }
        }
        self.job_changed(&accepted.job_id);
        self.ask_next(now, key);
        self.serve(now, key);
        Ok(())
    }

    /// Refuses any request (D11). Whether trying again can help goes by the code.
    ///
    /// # Errors
    ///
    /// When there is no such request any more, or the code is none of the draft's.
    pub fn refuse(&mut self, now: Now, request: &Request, error: WireError) -> Result<(), AnswerError> {
        let now = self.tick(now);
        let (key, member) = self.asking(request)?;
        member.session.fail_request(now, request.id, error)?;
        self.answered(now, key, request.id);
        self.serve(now, key);
        Ok(())
    }
}

impl Endpoint {
    /// A session has a submit.
    pub(super) fn submitted(
        &mut self,
        now: Now,
        key: Key,
        id: RequestId,
        submit: Box<JobSubmit>,
        trace_id: Option<TraceId>,
        charge: Option<Charge>,
    ) {
        let in_order = self.config.submits_in_order;
        let Some(member) = self.registry.get_mut(key) else { return };
        let work = member.work();
        let (held, cost) = (work.held_by_submits(), charge.map_or(0, |charge| charge.cost));
        // What waits for the application's answer to another must not stop the reading: acknowledgements would stay unread,
        // and a resume be refused, for as long as that takes.
        if held > 0 && held.saturating_add(cost) > self.config.runtime.limits.inbound_bytes / 4 {
            let error = WireError::new(ErrorCode::InternalError, "too much waits for the answer to another submit");
            let _ = member.session.fail_request(now, id, error);
            return self.release(charge);
        }
        let must_wait = in_order && !work.submits.is_empty();
        work.submits.push_back(Asked { id, trace_id, key: None, state: AskState::Waiting(submit, charge) });
        if !must_wait {
            self.ask(now, key, id);
        }
    }

    /// Asks the application for the verdict on a submit, unless it is known; says whether the submit is answered by that.
    fn ask(&mut self, now: Now, key: Key, id: RequestId) -> bool {
        let Some(member) = self.registry.get_mut(key) else { return false };
        let (serial, principal) = (member.serial, member.session.principal().clone());
        let Some(asked) = member.work.as_mut().and_then(|work| work.asked(id)) else { return false };
        let trace_id = asked.trace_id;
        let (submit, charge) = match core::mem::replace(&mut asked.state, AskState::Told) {
            AskState::Waiting(submit, charge) | AskState::Repeating(submit, charge) => (submit, charge),
            AskState::Told => return false,
        };
        let Some(idempotency_key) = submit.idempotency_key.clone() else {
            self.tell_submit(key, id, submit, trace_id, charge);
            return false;
        };
        let asker = Asker { key, serial, id };
        let refusal = match self.jobs.keys.enter(&principal, &idempotency_key, &submit, asker) {
            Entry::New => {
                asked.key = Some(idempotency_key);
                self.tell_submit(key, id, submit, trace_id, charge);
                return false;
            }
            Entry::Open => {
                asked.state = AskState::Repeating(submit, charge);
                return false;
            }
            Entry::Accepted(accepted) => {
                let accepted = accepted.clone();
                self.release(charge);
                self.repeat(now, asker, &accepted);
                return true;
            }
            Entry::Conflict => {
                WireError::new(ErrorCode::DuplicateKey, "the idempotency key was used for another submit")
            }
            Entry::TooManyWait => {
                WireError::new(ErrorCode::InternalError, "too many wait for the answer to the same submit")
            }
            Entry::TooLong => WireError::new(
                ErrorCode::InvalidRequest,
                alloc::format!("`idempotency_key` has more than {} bytes", IdempotencyKeys::<Asker>::MAX_KEY_LEN),
            ),
        };
        let _ = member.session.fail_request(now, id, refusal);
        member.work().take_asked(id);
        self.release(charge);
        true
    }

    fn tell_submit(
        &mut self,
        key: Key,
        id: RequestId,
        submit: Box<JobSubmit>,
        trace_id: Option<TraceId>,
        charge: Option<Charge>,
    ) {
        let Some(request) = self.request(key, id) else { return };
        let Some(principal) = self.registry.get(key).map(|member| member.session.principal().clone()) else { return };
        self.events.push(EndpointEvent::Submit { request, principal, submit, trace_id }, 0, charge);
    }

    /// Answers a submit as an equal one was answered.
    fn repeat(&mut self, now: Now, asker: Asker, accepted: &JobAccepted) {
        let Asker { key, serial, id } = asker;
        let Some(member) = self.registry.same(key, serial) else { return };
        let answer = accepted.clone().within(member.session.features());
        // The job may be another session's, and not stored yet.
        self.state_changes(key);
        let Some(member) = self.registry.same(key, serial) else { return };
        if let Err(error) = member.session.accept_job(now, id, answer) {
            let error = WireError::new(ErrorCode::InternalError, error.to_string());
            let _ = member.session.fail_request(now, id, error);
        }
        let asked = member.work().take_asked(id);
        if let Some(Asked { state: AskState::Repeating(_, charge), .. }) = asked {
            self.release(charge);
        }
        self.serve(now, key);
    }

    /// A request has its answer. Of a submit, the key is free where it was not accepted, and the next one is asked.
    fn answered(&mut self, now: Now, key: Key, id: RequestId) {
        let Some(member) = self.registry.get_mut(key) else { return };
        let principal = member.session.principal().clone();
        if let Some(asked) = member.work.as_mut().and_then(|work| work.take_asked(id)) {
            // The answer is kept for a repetition (D8).
            self.state_aged(key);
            self.free_key(now, &principal, asked);
            self.ask_next(now, key);
        }
    }

    fn free_key(&mut self, now: Now, principal: &Principal, asked: Asked) {
        let Some(idempotency_key) = asked.key else { return };
        for asker in self.jobs.keys.refused(principal, &idempotency_key) {
            // One that has just ended asks for nothing any more.
            let member = self.registry.same(asker.key, asker.serial);
            if member.is_some_and(|member| member.work.is_some()) {
                if self.ask(now, asker.key, asker.id) {
                    self.ask_next(now, asker.key);
                }
                self.serve(now, asker.key);
            }
        }
    }

    fn ask_next(&mut self, now: Now, key: Key) {
        loop {
            let first = self.registry.get(key).and_then(|member| member.work.as_ref()?.submits.front());
            let waiting = first.filter(|asked| matches!(asked.state, AskState::Waiting(..)));
            let Some(id) = waiting.map(|asked| asked.id) else { return };
            if !self.ask(now, key, id) {
                return;
            }
        }
    }

    fn ask_next_of(&mut self, now: Now, asker: Asker) {
        if self.registry.same(asker.key, asker.serial).is_some() {
            self.ask_next(now, asker.key);
            self.serve(now, asker.key);
        }
    }

    /// The session is gone, and with it all that it asked for.
    pub(super) fn abandon_submits(&mut self, key: Key, submits: VecDeque<Asked>) {
        let now = self.clock;
        let Some(principal) = self.registry.get(key).map(|member| member.session.principal().clone()) else { return };
        for asked in submits {
            self.free_key(now, &principal, asked);
        }
    }

    /// Whose request it is.
    pub(super) fn asking(&mut self, request: &Request) -> Result<(Key, &mut Member), AnswerError> {
        let key = self.registry.key_of(&request.session).ok_or(AnswerError::UnknownRequest)?;
        let member = self.registry.same(key, request.serial).ok_or(AnswerError::UnknownRequest)?;
        Ok((key, member))
    }

    pub(super) fn request(&self, key: Key, id: RequestId) -> Option<Request> {
        let member = self.registry.get(key)?;
        Some(Request { session: member.session.session_id()?.clone(), id, serial: member.serial })
    }

    /// What an event cost its session is free again, for nobody has to poll it.
    pub(super) fn release(&mut self, charge: Option<Charge>) {
        if let Some(Charge { key, serial, cost }) = charge
            && let Some(member) = self.registry.same(key, serial)
        {
            member.session.release(cost);
        }
    }
}
