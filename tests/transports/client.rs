//! A well-behaved client: a `Session<Client>` in a blocking loop, and an umpire beside it.
//!
//! Whatever the test is about, every event has to come once and in order, by its `event_seq` and, of `chatty`, by the number
//! in its text.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use arcp_proto::referee::Side;
use arcp_proto::wire::job_event::{Log, kind};
use arcp_proto::wire::{
    Credentials, JobError, JobId, JobPage, JobQuery, JobResult, JobSubmit, PeerInfo, RawJson, WireError,
};
use arcp_proto::{
    AckPolicy, ClientConfig, ClientEvent, Clock, CloseReason, DetachReason, Phase, RequestFailure, RequestId, Session,
    SessionInfo,
};
use serde_json::Value;

use crate::deadline::Deadline;
use crate::transport::{Received, Transport};
use crate::umpire::Umpire;

/// So many events are shown when one does not come.
const SHOWN: usize = 20;

pub(crate) struct Client {
    pub(crate) session: Session<arcp_proto::Client>,
    clock: Clock,
    link: Option<Box<dyn Transport>>,
    /// The other side takes nothing more; what it said before may still be read.
    is_unsendable: bool,
    umpire: Umpire,
    last_seq: u64,
    /// The last line of each `chatty` job.
    lines: BTreeMap<String, u64>,
    seen: VecDeque<String>,
}

/// How a job ends.
pub(crate) type Ending = Result<JobResult, Box<JobError>>;

/// A client that calls what it has polled processed.
pub(crate) fn config(token: &str) -> ClientConfig {
    ClientConfig::new(PeerInfo::new("transports-test", "1.0.0"), Credentials::bearer(token))
        .with_ack_policy(AckPolicy::OnPoll)
}

impl Client {
    /// Begins a session; the welcome is still to come.
    pub(crate) fn begin(link: Box<dyn Transport>, config: ClientConfig) -> Client {
        let clock = Clock::new();
        let mut umpire = Umpire::new();
        umpire.open();
        Client {
            session: Session::connect(clock.now(), config),
            clock,
            link: Some(link),
            is_unsendable: false,
            umpire,
            last_seq: 0,
            lines: BTreeMap::new(),
            seen: VecDeque::new(),
        }
    }

    /// Begins a session, and has its welcome.
    pub(crate) fn connect(link: Box<dyn Transport>, config: ClientConfig) -> Client {
        let mut client = Client::begin(link, config);
        client.wait_for("a welcome", |event| matches!(event, ClientEvent::Connected(_)).then_some(()));
        client
    }

    pub(crate) fn info(&self) -> &SessionInfo {
        self.session.info().expect("a welcome")
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The next event, if there is one before the deadline.
    fn event_within(&mut self, deadline: &Deadline) -> Option<ClientEvent> {
        loop {
            self.send();
            if let Some(event) = self.session.poll_event() {
                self.note(&event);
                return Some(event);
            }
            if deadline.is_over() {
                return None;
            }
            if !self.session.phase().is_attached() {
                self.hang_up();
                panic!("nothing more can come; {self}");
            }
            let timeout = self.session.poll_timeout().map_or(Duration::MAX, |at| self.clock.sleep_for(at));
            self.receive(timeout.min(deadline.left()));
            if self.session.poll_timeout().is_some_and(|at| self.clock.sleep_for(at).is_zero()) {
                self.session.handle_timeout(self.clock.now());
            }
        }
    }

    /// Sends what there is to send.
    pub(crate) fn send(&mut self) {
        while let Some(message) = self.session.poll_transmit(self.clock.now()) {
            let Some(link) = self.link.as_mut().filter(|_| !self.is_unsendable) else { continue };
            self.umpire.saw(Side::Client, &message);
            self.is_unsendable = link.send(&message).is_err();
        }
    }

    fn receive(&mut self, wait: Duration) {
        let Some(link) = &mut self.link else { return };
        match link.receive(wait) {
            Received::Message(message) => {
                self.umpire.saw(Side::Runtime, &message);
                self.session.handle_input(self.clock.now(), message);
            }
            Received::Part => self.session.handle_activity(self.clock.now()),
            Received::Nothing => {}
            Received::End(_) => {
                self.link = None;
                self.umpire.hung_up(Side::Runtime);
                self.session.handle_disconnect(self.clock.now());
            }
        }
    }

    /// Everything once and in order.
    fn note(&mut self, event: &ClientEvent) {
        self.seen.push_back(match event {
            ClientEvent::Event(delivery) => format!("{} {:?}", delivery.kind(), delivery.seq()),
            event => format!("{event:?}"),
        });
        if self.seen.len() > SHOWN {
            self.seen.pop_front();
        }
        let is_fault = matches!(event, ClientEvent::Violation(_) | ClientEvent::EventsLost { .. });
        assert!(!is_fault, "{self}");
        if let Some(seq) = event.seq() {
            assert_eq!(seq, self.last_seq + 1, "{self}");
            self.last_seq = seq;
        }
        if let ClientEvent::Event(delivery) = event
            && delivery.kind() == kind::LOG
            && let Some(line) = delivery.body().ok().and_then(|log: Log| line_number(&log.message))
        {
            let job = delivery.job_id().into_owned();
            if let Some(last) = self.lines.insert(job, line) {
                assert_eq!(line, last + 1, "{self}");
            }
        }
    }

    /// The first event to come of which something is wanted. Those before it are dropped.
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut wanted: impl FnMut(&ClientEvent) -> Option<T>) -> T {
        let deadline = Deadline::new();
        loop {
            let event = self.event_within(&deadline).unwrap_or_else(|| panic!("not {what}; {self}"));
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    /// Asks for a job: what the runtime said of it, and the request failed otherwise.
    pub(crate) fn try_submit(&mut self, submit: &JobSubmit) -> Result<JobId, WireError> {
        let asked = self.session.submit(self.clock.now(), submit).expect("the submit goes out");
        self.wait_for("an answer to a submit", |event| match event {
            ClientEvent::Accepted { request, accepted } if *request == Some(asked) => Some(Ok(accepted.job_id.clone())),
            event => refusal(event, asked).map(Err),
        })
    }

    pub(crate) fn submit(&mut self, agent: &str, input: &Value) -> JobId {
        let submit = JobSubmit::new(agent, RawJson::new(input).expect("JSON"));
        self.try_submit(&submit).unwrap_or_else(|error| panic!("{agent} {input}: {error}"))
    }

    /// How a job ends.
    pub(crate) fn ending(&mut self, job: &JobId) -> Ending {
        self.wait_for("the end of a job", |event| ending(event, job))
    }

    /// Runs a job to its end, which has to be a good one.
    pub(crate) fn run(&mut self, agent: &str, input: &Value) -> JobResult {
        let job = self.submit(agent, input);
        self.ending(&job).unwrap_or_else(|error| panic!("{agent} {input}: {error:?}"))
    }

    pub(crate) fn cancel(&mut self, job: &JobId) -> Result<(), WireError> {
        let asked = self.session.cancel(self.clock.now(), job, None).expect("the cancel goes out");
        self.wait_for("an answer to a cancel", |event| match event {
            ClientEvent::Cancelled { request, .. } if *request == Some(asked) => Some(Ok(())),
            event => refusal(event, asked).map(Err),
        })
    }

    pub(crate) fn list(&mut self, query: &JobQuery) -> JobPage {
        let asked = self.session.list_jobs(self.clock.now(), query).expect("the query goes out");
        self.wait_for("a page of jobs", |event| match event {
            ClientEvent::Jobs { request, page } if *request == asked => Some(page.clone()),
            _ => None,
        })
    }

    /// Follows a job, with all of its past.
    pub(crate) fn subscribe(&mut self, job: &JobId) -> Result<(), WireError> {
        let asked = self.session.subscribe(self.clock.now(), job, Some(0)).expect("the subscribe goes out");
        self.wait_for("an answer to a subscribe", |event| match event {
            ClientEvent::Subscribed { request, .. } if *request == Some(asked) => Some(Ok(())),
            event => refusal(event, asked).map(Err),
        })
    }

    /// Cuts the transport.
    pub(crate) fn cut(&mut self) {
        drop(self.detach());
    }

    /// Gives the transport up, and leaves it standing.
    pub(crate) fn detach(&mut self) -> Option<Box<dyn Transport>> {
        let link = self.link.take();
        self.umpire.cut();
        self.session.handle_disconnect(self.clock.now());
        link
    }

    /// Goes on over another transport; the welcome is still to come.
    pub(crate) fn begin_resume(&mut self, link: Box<dyn Transport>) {
        while let Some(event) = self.session.poll_event() {
            self.note(&event);
        }
        self.session.resume(self.clock.now()).unwrap_or_else(|error| panic!("{error}; {self}"));
        self.link = Some(link);
        self.is_unsendable = false;
        self.umpire.open();
    }

    /// Goes on over another transport, which is lost with the welcome on its way.
    pub(crate) fn lose_welcome(&mut self, mut link: Box<dyn Transport>) {
        let deadline = Deadline::new();
        self.session.resume(self.clock.now()).unwrap_or_else(|error| panic!("{error}; {self}"));
        while let Some(hello) = self.session.poll_transmit(self.clock.now()) {
            link.send(&hello).unwrap_or_else(|error| panic!("{error}; {self}"));
        }
        while matches!(link.receive(deadline.left()), Received::Nothing | Received::Part) {
            assert!(!deadline.is_over(), "not a word; {self}");
        }
        self.session.handle_disconnect(self.clock.now());
    }

    /// Goes on over another transport.
    pub(crate) fn resume(&mut self, link: Box<dyn Transport>) {
        self.begin_resume(link);
        self.wait_for("a welcome back", |event| matches!(event, ClientEvent::Resumed(_)).then_some(()));
    }

    /// Why the session ended, which it does by itself.
    pub(crate) fn closed(&mut self) -> CloseReason {
        let reason = self.wait_for("the end of the session", |event| match event {
            ClientEvent::Closed(reason) => Some(reason.clone()),
            _ => None,
        });
        self.hang_up();
        reason
    }

    /// Why the transport was given up, which happens by itself.
    pub(crate) fn detached(&mut self) -> DetachReason {
        let reason = self.wait_for("the end of the transport", |event| match event {
            ClientEvent::Detached(reason) => Some(reason.clone()),
            _ => None,
        });
        self.hang_up();
        reason
    }

    fn hang_up(&mut self) {
        self.send();
        if self.link.take().is_some() {
            self.umpire.hung_up(Side::Client);
        }
    }

    /// Ends the session (A13). Nobody broke a rule in it.
    pub(crate) fn bye(mut self) {
        assert_eq!(self.session.phase(), Phase::Open, "{self}");
        self.session.close(self.clock.now(), "normal");
        assert_eq!(self.closed(), CloseReason::Requested);
        self.umpire.finds_both_clean();
    }

    /// For a session that has ended otherwise: nobody broke a rule in it.
    pub(crate) fn finds_both_clean(&mut self) {
        self.umpire.finds_both_clean();
    }
}

/// What was seen last, for whoever waited in vain.
impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, event {}, seen: {:#?}", self.session, self.last_seq, self.seen)
    }
}

/// The refusal of a request, if it is one.
fn refusal(event: &ClientEvent, asked: RequestId) -> Option<WireError> {
    match event {
        ClientEvent::RequestFailed { request, failure } if *request == asked => match failure {
            RequestFailure::Refused(error) => Some(error.clone()),
            other => panic!("{other}"),
        },
        _ => None,
    }
}

/// The end of a job, if it is one.
pub(crate) fn ending(event: &ClientEvent, job: &JobId) -> Option<Ending> {
    match event {
        ClientEvent::Finished { delivery, result } if delivery.job_id() == job.as_str() => Some(Ok((**result).clone())),
        ClientEvent::Failed { delivery, error } if delivery.job_id() == job.as_str() => Some(Err(error.clone())),
        _ => None,
    }
}

/// Of what `chatty` says, in which line it says it.
pub(crate) fn line_number(message: &str) -> Option<u64> {
    message.strip_prefix("line ")?.split(' ').next()?.parse().ok()
}
