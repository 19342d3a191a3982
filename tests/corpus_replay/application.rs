//! The application behind our endpoint. It says of clients, requests and jobs what the recorded runtime said, and when.

use std::collections::BTreeMap;
use std::sync::Arc;

use arcp_proto::endpoint::{
    AcceptError, AdmitError, Applicant, ConnId, Endpoint, EndpointEvent, PublishError, Published, Receipt, Request,
};
use arcp_proto::wire::{
    Envelope, ErrorCode, JobAccepted, JobCancel, JobError, JobEvent, JobId, JobResult, JobSubmit, MessageType,
    Principal, ResumeToken, SessionId, WireError,
};
use arcp_proto::{AnswerError, Grant, Now};
use serde_json::{Value, json};

use crate::outcome::Outcome;
use crate::plot::{Index, Part, Plot, Verdict};
use crate::tally::name;

pub(crate) struct Application<'a> {
    plot: &'a Plot,
    /// Whose a bearer is, of those that the recorded runtime let in.
    bearers: BTreeMap<String, Principal>,
    /// Clients that wait for a verdict, by their hello.
    applicants: Vec<(Index, Applicant)>,
    /// Requests that came, and that the endpoint may ask about.
    heard: Vec<(ConnId, Index)>,
    /// Those that it asked about.
    open: Vec<(Index, Request)>,
    /// Jobs that were accepted and have not ended.
    pub(crate) alive: Vec<JobId>,
    /// What the submitter's session was given, by its place there.
    said: BTreeMap<(SessionId, u64), Value>,
    minted: u64,
}

impl<'a> Application<'a> {
    pub(crate) fn of(plot: &'a Plot) -> Application<'a> {
        let mut bearers = BTreeMap::new();
        for line in 0..plot.lines.len() {
            let is_opening = matches!(plot.lines[line].part, Part::Opening { .. });
            if is_opening && matches!(plot.verdict(line), Verdict::Welcomed | Verdict::Resumed) {
                bearers.extend(bearer(plot, line).map(|token| (token.clone(), principal(&token))));
            }
        }
        Application {
            plot,
            bearers,
            applicants: Vec::new(),
            heard: Vec::new(),
            open: Vec::new(),
            alive: Vec::new(),
            said: BTreeMap::new(),
            minted: 0,
        }
    }

    /// A request has come on a transport.
    pub(crate) fn hears(&mut self, conn: ConnId, line: Index) {
        self.heard.push((conn, line));
    }

    /// Somebody asks to be let in, by this hello; `reached` is how far the recording has come.
    pub(crate) fn meets(
        &mut self,
        endpoint: &mut Endpoint,
        now: Now,
        (opening, reached): (Index, Index),
        applicant: &Applicant,
        outcome: &mut Outcome,
    ) {
        match self.plot.answer_to(opening) {
            Some(answer) if answer > reached => self.applicants.push((opening, applicant.clone())),
            _ => self.judge(endpoint, now, opening, applicant, outcome),
        }
    }

    /// What the endpoint asks; `reached` is how far the recording has come.
    pub(crate) fn attend(
        &mut self,
        endpoint: &mut Endpoint,
        now: Now,
        reached: Index,
        event: &EndpointEvent,
        outcome: &mut Outcome,
    ) {
        let plot = self.plot;
        let (request, line) = match event {
            EndpointEvent::Submit { request, submit, .. } => (
                request,
                self.take(endpoint, request, |line| plot.payload::<JobSubmit>(line).as_ref() == Some(&**submit)),
            ),
            EndpointEvent::Cancel { request, job_id, .. } => (
                request,
                self.take(endpoint, request, |line| {
                    plot.message(line) == Some(MessageType::JobCancel) && plot.job_of(line).as_ref() == Some(job_id)
                }),
            ),
            _ => return,
        };
        let Some(line) = line else { return outcome.problem(format!("{request} never came")) };
        match plot.answer_to(line) {
            Some(answer) if answer <= reached => self.answer(endpoint, now, line, answer, request, outcome),
            _ => self.open.push((line, request.clone())),
        }
    }

    /// The line of a request, of all that came on its session's transport.
    fn take(&mut self, endpoint: &Endpoint, request: &Request, is_it: impl Fn(Index) -> bool) -> Option<Index> {
        let conn = endpoint.conn_of(&request.session);
        let at = self.heard.iter().position(|(came_on, line)| Some(*came_on) == conn && is_it(*line))?;
        Some(self.heard.remove(at).1)
    }

    /// The recording has come to this line of the runtime's.
    pub(crate) fn reach(&mut self, endpoint: &mut Endpoint, now: Now, line: Index, outcome: &mut Outcome) {
        match &self.plot.lines[line].part {
            Part::Verdict => {
                let plot = self.plot;
                let (due, waiting) = std::mem::take(&mut self.applicants)
                    .into_iter()
                    .partition(|(opening, _)| plot.answer_to(*opening) == Some(line));
                self.applicants = waiting;
                for (opening, applicant) in due {
                    self.judge(endpoint, now, opening, &applicant, outcome);
                }
            }
            Part::Answer { to } => {
                if let Some(at) = self.open.iter().position(|(request, _)| request == to) {
                    let (request_line, request) = self.open.remove(at);
                    self.answer(endpoint, now, request_line, line, &request, outcome);
                }
            }
            Part::Event { job, is_new: true } => self.publish(endpoint, now, job, line, outcome),
            Part::End { job, is_new: true } => self.end(endpoint, now, job, line, outcome),
            _ => {}
        }
    }
}

/// The bearer in a hello.
fn bearer(plot: &Plot, hello: Index) -> Option<String> {
    let hello = plot.payload::<arcp_proto::wire::Hello>(hello)?;
    Some(hello.auth?.token?.reveal().to_owned())
}

/// The recorded runtimes know some by several bearers, which then end with a number.
fn principal(bearer: &str) -> Principal {
    match bearer.rsplit_once('-') {
        Some((name, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => name.into(),
        _ => bearer.into(),
    }
}

/// Clients.
impl Application<'_> {
    fn judge(
        &mut self,
        endpoint: &mut Endpoint,
        now: Now,
        opening: Index,
        applicant: &Applicant,
        outcome: &mut Outcome,
    ) {
        let is_bearer = applicant.credentials.scheme.eq_ignore_ascii_case("bearer");
        let token = applicant.credentials.token.as_ref().filter(|_| is_bearer);
        let Some(principal) = token.and_then(|token| self.bearers.get(token.reveal())).cloned() else {
            let error = WireError::new(ErrorCode::Unauthenticated, "nobody knows this bearer");
            let _ = endpoint.reject(now, applicant.conn, error);
            return;
        };
        let mut grant = self.recorded_grant(opening, principal.clone()).unwrap_or_else(|| self.minted_grant(principal));
        loop {
            match endpoint.admit(now, applicant.conn, grant.clone()) {
                // What was granted in the recording is in use here.
                Err(AdmitError::SessionIdTaken(_) | AdmitError::TokenTaken) => {
                    grant = self.minted_grant(grant.principal);
                }
                Err(error @ (AdmitError::BadGrant(_) | AdmitError::NoPlace(_))) => {
                    return outcome.problem(format!("a client was not admitted: {error}"));
                }
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// What the recorded runtime granted.
    fn recorded_grant(&self, opening: Index, principal: Principal) -> Option<Grant> {
        let answer = self.plot.answer_to(opening)?;
        let welcome = self.plot.welcome(answer)?;
        Some(Grant {
            principal,
            session_id: self.plot.session_of(answer)?,
            resume_token: welcome.resume_token?,
            agents: Arc::from(welcome.capabilities.agents),
        })
    }

    fn minted_grant(&mut self, principal: Principal) -> Grant {
        self.minted += 1;
        Grant {
            principal,
            session_id: SessionId::from(format!("sess_ours_{}", self.minted)),
            resume_token: ResumeToken::new(format!("rt_ours_{}", self.minted)),
            agents: Arc::from([]),
        }
    }
}

fn as_recorded(code: ErrorCode) -> WireError {
    WireError::new(code, "as recorded")
}

/// Requests.
impl Application<'_> {
    fn answer(
        &mut self,
        endpoint: &mut Endpoint,
        now: Now,
        line: Index,
        answer: Index,
        request: &Request,
        outcome: &mut Outcome,
    ) {
        let answered = match (self.plot.refusal(answer), self.plot.message(line)) {
            (Some(code), _) => match endpoint.refuse(now, request, as_recorded(code)) {
                Err(AnswerError::ForeignCode) => endpoint.refuse(now, request, as_recorded(ErrorCode::InvalidRequest)),
                answered => answered,
            },
            (None, Some(MessageType::JobSubmit)) => return self.accept(endpoint, now, answer, request, outcome),
            (None, _) => {
                let reason = self.plot.payload::<JobCancel>(line).and_then(|cancel| cancel.reason);
                match endpoint.confirm_cancel(now, request, reason) {
                    // It ended by itself.
                    Err(AnswerError::Invalid(_)) => {
                        endpoint.refuse(now, request, as_recorded(ErrorCode::InvalidRequest))
                    }
                    answered => answered,
                }
            }
        };
        match answered {
            Ok(()) => {}
            Err(AnswerError::UnknownRequest) => outcome.tally.count("answers", "too late"),
            Err(error) => outcome.problem(format!("line {}: the answer was not taken: {error}", answer + 1)),
        }
    }

    fn accept(&mut self, endpoint: &mut Endpoint, now: Now, answer: Index, request: &Request, outcome: &mut Outcome) {
        let (plot, job) = (self.plot, self.plot.job_of(answer));
        let (Some(mut accepted), Some(job)) = (plot.payload::<JobAccepted>(answer), job) else {
            return outcome.problem(format!("line {}: no job was accepted", answer + 1));
        };
        accepted.job_id = job.clone();
        (accepted.request_id, accepted.reply_to) = (None, None);
        let mut taken = endpoint.accept_job(now, request, accepted.clone());
        if let Err(AcceptError::Answer(AnswerError::FeatureNotNegotiated(feature))) = taken {
            // As the session's features allow.
            outcome.tally.count("accepted without", feature.name());
            (accepted.lease_constraints, accepted.budget, accepted.credentials) = (None, None, None);
            accepted.lease = arcp_proto::wire::Lease::default();
            taken = endpoint.accept_job(now, request, accepted);
        }
        match taken {
            Ok(()) => self.alive.push(job),
            Err(AcceptError::Answer(AnswerError::UnknownRequest)) => outcome.tally.count("answers", "too late"),
            Err(error) => outcome.problem(format!("line {}: the job was not taken: {error}", answer + 1)),
        }
    }
}

/// Jobs.
impl Application<'_> {
    fn publish(&mut self, endpoint: &mut Endpoint, now: Now, job: &JobId, line: Index, outcome: &mut Outcome) {
        let Some(event) = self.plot.payload::<JobEvent<'_>>(line) else {
            return outcome.tally.count("unpublished", "unreadable");
        };
        let said = json!({"kind": event.kind, "body": event.body.parse::<Value>().unwrap_or_default()});
        let owner = owner(endpoint, job);
        let published = endpoint.publish(now, job, &event.kind, &event.body);
        self.published(owner, "events", said, published, outcome);
    }

    fn end(&mut self, endpoint: &mut Endpoint, now: Now, job: &JobId, line: Index, outcome: &mut Outcome) {
        let plot = self.plot;
        let owner = owner(endpoint, job);
        let (said, ended) = match (plot.payload::<JobResult>(line), plot.payload::<JobError>(line)) {
            (Some(result), _) if plot.message(line) == Some(MessageType::JobResult) => {
                let inline = result.result.as_ref().and_then(|result| result.parse::<Value>().ok());
                let said = json!({"result": inline, "result_id": result.result_id});
                (said, endpoint.finish(now, job, result))
            }
            (_, Some(error)) => (json!({"code": error.code}), endpoint.fail(now, job, error)),
            _ => return outcome.problem(format!("line {}: no end of a job", line + 1)),
        };
        let must_end_otherwise = matches!(ended, Err(PublishError::Send(_) | PublishError::Stream(_)));
        self.published(owner.clone(), "ends", said, ended, outcome);
        if must_end_otherwise {
            self.give_up(endpoint, now, job, outcome);
        }
        self.alive.retain(|alive| alive != job);
    }

    /// A job whose end was not recorded, or cannot be told.
    pub(crate) fn give_up(&mut self, endpoint: &mut Endpoint, now: Now, job: &JobId, outcome: &mut Outcome) {
        let owner = owner(endpoint, job);
        let error = JobError::new(as_recorded(ErrorCode::InternalError));
        let said = json!({"code": error.code});
        let ended = endpoint.fail(now, job, error);
        self.published(owner, "given up", said, ended, outcome);
    }

    fn published(
        &mut self,
        owner: Option<SessionId>,
        what: &'static str,
        said: Value,
        published: Result<Published, PublishError>,
        outcome: &mut Outcome,
    ) {
        let published = match published {
            Ok(published) => published,
            Err(error) => {
                let why = match &error {
                    PublishError::Send(error) => name(error),
                    PublishError::Stream(error) => name(error),
                    error => name(error),
                };
                return outcome.tally.count("unpublished", format!("{what} {why}"));
            }
        };
        outcome.tally.add("published", "to subscribers", published.subscribers as u64);
        outcome.tally.add("published", "not to subscribers", published.skipped as u64);
        match (published.submitter, owner) {
            (Receipt::Recorded(seq), Some(owner)) => {
                outcome.tally.count("published", what);
                self.said.insert((owner, seq), said);
            }
            (receipt, _) => outcome.tally.count("published", format!("{what} {}", name(&receipt))),
        }
    }

    /// What a session is sent in its sequence has to be what was said there.
    pub(crate) fn check(&self, session: &SessionId, envelope: &Envelope, outcome: &mut Outcome) {
        let Some(seq) = envelope.event_seq() else { return };
        let Some(said) = self.said.get(&(session.clone(), seq)) else { return };
        let payload: Value = serde_json::from_str(envelope.payload_text()).unwrap_or_default();
        let is_it = said.as_object().is_some_and(|said| said.iter().all(|(member, value)| payload[member] == *value));
        if !is_it {
            outcome.problem(format!("event {seq} of {session} was sent otherwise than it was said"));
        }
    }
}

/// Whose session a job was submitted in, while that is there.
fn owner(endpoint: &Endpoint, job: &JobId) -> Option<SessionId> {
    endpoint.jobs().get(job)?.session.clone()
}
