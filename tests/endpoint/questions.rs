//! What clients ask of jobs, and what they were told.

use arcp_proto::endpoint::{AcceptError, EndpointConfig, Policy, Request, Scope};
use arcp_proto::wire::{
    ErrorCode, JobAccepted, JobError, JobId, JobPage, JobQuery, JobSubmit, JobSubscribed, Principal, RawJson, WireError,
};
use arcp_proto::{
    AckPolicy, ClientConfig, ClientEvent, Feature, FeatureSet, Overflow, RequestFailure, RequestId, RuntimeConfig,
};
use serde_json::{Value, json};

use super::world::*;

pub(crate) fn all_but(features: &[Feature]) -> FeatureSet {
    features.iter().fold(FeatureSet::all(), |set, feature| set.without(*feature))
}

/// A client of this name that does not ask for these features.
pub(crate) fn client_without(name: &str, features: &[Feature]) -> ClientConfig {
    client(name).with_features(all_but(features))
}

/// A client that acknowledges what it polls, at once.
pub(crate) fn eager(name: &str) -> ClientConfig {
    ClientConfig { ack_batch: 1, ..client(name).with_ack_policy(AckPolicy::OnPoll) }
}

/// Sessions with windows of so many events.
pub(crate) fn windows_of(events: usize) -> EndpointConfig {
    over(runtime().with_replay(events, 16 << 20, Overflow::Block))
}

pub(crate) fn over(runtime: RuntimeConfig) -> EndpointConfig {
    EndpointConfig::new(runtime)
}

/// A deployment in which everybody sees everything.
pub(crate) struct Open;

impl Policy for Open {
    fn scope(&self, _: &Principal) -> Scope {
        Scope::All
    }
}

pub(crate) fn submit_with(key: &str, input: &str) -> JobSubmit {
    JobSubmit::new("code-refactor", RawJson::from_text(input).unwrap()).with_idempotency_key(key)
}

/// An end that is none; its status follows from the code.
pub(crate) fn failure(code: ErrorCode) -> JobError {
    JobError::new(WireError::new(code, "it was so"))
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Told {
    Nothing,
    Accepted(JobAccepted),
    Subscribed(JobSubscribed),
    Cancelled,
    Page(JobPage),
    Refused(WireError),
    Failed(RequestFailure),
}

impl Told {
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Told::Refused(error) => error.code,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) fn job(self) -> JobId {
        match self {
            Told::Accepted(accepted) => accepted.job_id,
            other => panic!("not accepted: {other:?}"),
        }
    }

    pub(crate) fn subscribed(self) -> JobSubscribed {
        match self {
            Told::Subscribed(subscribed) => subscribed,
            other => panic!("not subscribed: {other:?}"),
        }
    }

    pub(crate) fn page(self) -> JobPage {
        match self {
            Told::Page(page) => page,
            other => panic!("no page: {other:?}"),
        }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Told::Nothing)
    }
}

fn answer(event: &ClientEvent, request: RequestId) -> Option<Told> {
    match event {
        ClientEvent::Accepted { request: it, accepted } if *it == Some(request) => {
            Some(Told::Accepted((**accepted).clone()))
        }
        ClientEvent::Subscribed { request: it, subscribed } if *it == Some(request) => {
            Some(Told::Subscribed((**subscribed).clone()))
        }
        ClientEvent::Cancelled { request: it, .. } if *it == Some(request) => Some(Told::Cancelled),
        ClientEvent::Jobs { request: it, page } if *it == request => Some(Told::Page(page.clone())),
        ClientEvent::RequestFailed { request: it, failure } if *it == request => Some(match failure {
            RequestFailure::Refused(error) => Told::Refused(error.clone()),
            other => Told::Failed(other.clone()),
        }),
        _ => None,
    }
}

/// What a client heard of a job: what the text of a log was, the kind of another event, `success`, or the code of another
/// end.
pub(crate) fn heard_of(events: &[ClientEvent], job: &JobId) -> Vec<String> {
    let heard = |event: &ClientEvent| match event {
        ClientEvent::Event(delivery) if delivery.job_id() == job.as_str() => Some(match &*delivery.kind() {
            "log" => delivery.body::<Value>().unwrap()["message"].as_str().unwrap().to_owned(),
            kind => kind.to_owned(),
        }),
        ClientEvent::Finished { delivery, .. } if delivery.job_id() == job.as_str() => Some("success".to_owned()),
        ClientEvent::Failed { delivery, error } if delivery.job_id() == job.as_str() => {
            Some(error.code.as_str().to_owned())
        }
        _ => None,
    };
    events.iter().filter_map(heard).collect()
}

pub(crate) fn lines(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

impl World {
    /// The client asks for a job; whether it is answered is the application's.
    pub(crate) fn ask(&mut self, idx: ClientIdx, submit: &JobSubmit) -> RequestId {
        self.request(idx, |client, now| client.submit(now, submit))
    }

    /// A submit that nobody has asked for before.
    pub(crate) fn ask_any(&mut self, idx: ClientIdx) -> RequestId {
        self.ask(idx, &JobSubmit::new("code-refactor", RawJson::empty_object()))
    }

    /// The answer to a request; the client's other events stay.
    pub(crate) fn told_of(&mut self, idx: ClientIdx, request: RequestId) -> Told {
        let events = self.take_events(idx);
        let mut told = Told::Nothing;
        for event in events {
            match answer(&event, request) {
                Some(answer) => {
                    assert!(told.is_nothing(), "answered twice: {told:?}, {answer:?}");
                    told = answer;
                }
                None => self.put_back(idx, event),
            }
        }
        told
    }

    /// The application takes the oldest submit that waits, as this job.
    pub(crate) fn accept_as(&mut self, job: &str) -> Result<(), AcceptError> {
        self.accept_with(job, |accepted| accepted)
    }

    pub(crate) fn accept_with(
        &mut self,
        job: &str,
        change: impl FnOnce(JobAccepted) -> JobAccepted,
    ) -> Result<(), AcceptError> {
        let (request, submit) = self.app.submits.front().cloned().expect("a submit waits");
        let accepted = change(JobAccepted::new(job.into(), submit.agent.clone(), self.now.wall));
        let result = self.endpoint.accept_job(self.now, &request, accepted);
        if result.is_ok() {
            self.app.submits.pop_front();
        }
        self.flush();
        result
    }

    /// The application refuses the oldest submit that waits.
    pub(crate) fn refuse_next(&mut self, code: ErrorCode) {
        let (request, _) = self.app.submits.pop_front().expect("a submit waits");
        self.endpoint.refuse(self.now, &request, WireError::new(code, "no")).expect("it is open");
        self.flush();
    }

    /// Who the application has been asked by, oldest first.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.app.submits.iter().map(|(request, _)| request.clone()).collect()
    }

    pub(crate) fn subscribe(&mut self, idx: ClientIdx, job: &JobId, history: Option<u64>) -> Told {
        let request = self.request(idx, |client, now| client.subscribe(now, job, history));
        self.told_of(idx, request)
    }

    pub(crate) fn unsubscribe(&mut self, idx: ClientIdx, job: &JobId) {
        let now = self.now;
        self.client(idx).unsubscribe(now, job).expect("it can be asked for");
        self.flush();
    }

    pub(crate) fn cancel(&mut self, idx: ClientIdx, job: &JobId) -> Told {
        let request = self.request(idx, |client, now| client.cancel(now, job, Some("enough".into())));
        self.told_of(idx, request)
    }

    pub(crate) fn list(&mut self, idx: ClientIdx, query: &JobQuery) -> Told {
        let request = self.request(idx, |client, now| client.list_jobs(now, query));
        self.told_of(idx, request)
    }

    /// What the client heard of a job since its events were last taken; the others are dropped.
    pub(crate) fn take_heard(&mut self, idx: ClientIdx, job: &JobId) -> Vec<String> {
        heard_of(&self.take_events(idx), job)
    }

    /// The frames that events of a job came in, on the client's present link.
    pub(crate) fn frames_of(&self, idx: ClientIdx, job: &JobId) -> Vec<Value> {
        let passed = self.link(self.link_of(idx)).transcript.iter().filter(|passed| passed.from == From::Endpoint);
        let frames = passed.map(Passed::json);
        frames.filter(|frame| frame["event_seq"].is_u64() && frame["job_id"] == json!(job.as_str())).collect()
    }

    /// The session ends, and its client is told so.
    pub(crate) fn end_session(&mut self, idx: ClientIdx) {
        let (now, session) = (self.now, self.session_of(idx));
        assert!(self.endpoint.shutdown(now, &session, "enough"));
        self.flush();
        assert!(self.endpoint.session(&session).is_none());
    }
}
