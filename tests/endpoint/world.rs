//! An endpoint, any number of clients, and the links between them in memory, on a virtual clock that jumps to the next
//! deadline of anybody and never ticks.
//!
//! Whatever is done to a world, its contract is held at every step: what is drained stays so, deadlines move, and nobody
//! is woken before the time that they asked for. The referee sees every frame as it is sent; a world that is dropped
//! with a finding fails its test.
#![allow(dead_code, reason = "not every module needs all of it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arcp_proto::endpoint::{
    Applicant, AuditRecord, Audited, ConnId, Counters, Endpoint, EndpointConfig, EndpointEvent, PublishError,
    Published, Request,
};
use arcp_proto::referee::{Finding, Referee, Side};
use arcp_proto::wire::{
    AgentInfo, Credentials, ErrorCode, JobAccepted, JobId, JobResult, JobSubmit, PeerInfo, Principal, RawJson,
    ResumeToken, SessionId, WireError,
};
use arcp_proto::{
    Client, ClientConfig, ClientEvent, Grant, Instant, Now, Phase, RequestId, Runtime, RuntimeConfig, Session,
    Timestamp,
};
use bytes::Bytes;
use serde_json::{Value, json};

/// The start of every world: neither clock at zero.
pub(crate) fn start() -> Now {
    Now::new(Instant::from_millis(1_000_000), Timestamp::from_unix_millis(1_778_701_333_000))
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A client of this name, which the application knows.
pub(crate) fn client(name: &str) -> ClientConfig {
    ClientConfig::new(PeerInfo::new("my-app", "1.0.0"), Credentials::bearer(format!("secret-{name}")))
}

pub(crate) fn runtime() -> RuntimeConfig {
    RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0"))
}

pub(crate) fn config() -> EndpointConfig {
    EndpointConfig::new(runtime())
}

pub(crate) fn principal(name: &str) -> Principal {
    Principal::from(name)
}

/// The `n`th session that the application grants, from 1.
pub(crate) fn session(n: u64) -> SessionId {
    SessionId::from(format!("sess_{n}").as_str())
}

/// The `n`th token that the application grants, from 1.
pub(crate) fn token(n: u64) -> ResumeToken {
    ResumeToken::new(format!("rt_{n:032x}"))
}

/// The `n`th job that the application accepts, from 1.
pub(crate) fn job(n: u64) -> JobId {
    JobId::from(format!("job_{n}").as_str())
}

/// A hand-made hello of the client of this name, with these features.
pub(crate) fn hello(name: &str, features: &[&str]) -> Value {
    json!({
        "arcp": "1.1", "id": "h1", "type": "session.hello",
        "payload": {
            "client": {"name": "hand", "version": "1"},
            "auth": {"scheme": "bearer", "token": format!("secret-{name}")},
            "capabilities": {"encodings": ["json"], "features": features},
        },
    })
}

/// The same that wants to resume.
pub(crate) fn resume_hello(
    name: &str,
    features: &[&str],
    session: &SessionId,
    token: &ResumeToken,
    last: u64,
) -> Value {
    let mut hello = hello(name, features);
    let claim = json!({"session_id": session.as_str(), "resume_token": token.reveal(), "last_event_seq": last});
    hello["payload"]["resume"] = claim;
    hello["payload"]["resume_token"] = json!(token.reveal());
    hello["payload"]["last_event_seq"] = json!(last);
    hello
}

/// A hand-made message of a session.
pub(crate) fn message(name: &str, id: &str, session: &SessionId, payload: Value) -> Value {
    let mut message =
        json!({"arcp": "1.1", "id": id, "type": name, "session_id": session.as_str(), "payload": payload});
    if let Some(job) = message["payload"].get("job_id").cloned() {
        message["job_id"] = job;
    }
    message
}

pub(crate) fn bytes(message: &Value) -> Bytes {
    Bytes::from(message.to_string())
}

pub(crate) fn type_of(frame: &Value) -> &str {
    frame["type"].as_str().expect("a frame has a type")
}

pub(crate) fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(type_of).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientIdx(pub(crate) usize);

/// A transport, from the first byte of either side to long after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkIdx(pub(crate) usize);

/// Who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Endpoint,
}

/// A frame that reached its reader.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub(crate) from: From,
    pub(crate) at: Instant,
    pub(crate) frame: Bytes,
}

impl Passed {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.frame).expect("what passed is JSON")
    }
}

/// One direction of a link.
#[derive(Default)]
struct Way {
    frames: VecDeque<Bytes>,
    /// What is sent stays in the link.
    is_held: bool,
    /// What is sent vanishes, the end of the stream too.
    is_dead: bool,
    /// Behind the frames, the sender has hung up.
    is_over: bool,
}

pub(crate) struct Link {
    pub(crate) conn: ConnId,
    /// `None`: a test writes and reads by hand.
    owner: Option<ClientIdx>,
    to_endpoint: Way,
    to_client: Way,
    /// The client's end: it sends and hears.
    client_is_here: bool,
    /// The endpoint has not been told of the end, and has not ordered it.
    endpoint_is_here: bool,
    /// When the endpoint gave the order to close.
    pub(crate) closed_at: Option<Instant>,
    pub(crate) transcript: Vec<Passed>,
    /// Of the transcript, what `heard` gave out.
    heard: usize,
    /// The referee looks.
    is_judged: bool,
    /// What the client does is not its own doing: by hand, or the link has failed it.
    client_is_excused: bool,
}

pub(crate) struct Peer {
    session: Session<Client>,
    link: Option<LinkIdx>,
    deadline: Option<Instant>,
    events: Vec<ClientEvent>,
    /// How long after each loss of its transport it comes back by itself.
    reconnect_after: Option<Duration>,
}

/// The application behind the endpoint.
pub(crate) struct App {
    /// Who asks to be let in is judged at once, by the bearer; else a test does, by [`World::admit`] and the like.
    pub(crate) judges: bool,
    /// Submits are accepted at once, as `job_1`, `job_2`, …
    pub(crate) accepts: bool,
    /// Cancels are taken up at once, and the job ends.
    pub(crate) cancels: bool,
    /// Events are polled at all.
    pub(crate) polls: bool,
    pub(crate) agents: Arc<[AgentInfo]>,
    /// Whoever waits for a verdict.
    pub(crate) applicants: VecDeque<Applicant>,
    /// Submits that wait for an answer.
    pub(crate) submits: VecDeque<(Request, Box<JobSubmit>)>,
    sessions: u64,
    tokens: u64,
    jobs: u64,
}

impl App {
    /// A fresh grant for `principal`.
    pub(crate) fn grant(&mut self, principal: Principal) -> Grant {
        self.sessions += 1;
        self.grant_as(principal, session(self.sessions))
    }

    fn grant_as(&mut self, principal: Principal, session_id: SessionId) -> Grant {
        self.tokens += 1;
        Grant { principal, session_id, resume_token: token(self.tokens), agents: Arc::clone(&self.agents) }
    }

    fn principal_of(applicant: &Applicant) -> Option<Principal> {
        if applicant.credentials.scheme == "anonymous" {
            return Some(principal("anonymous"));
        }
        let token = applicant.credentials.token.as_ref()?;
        token.reveal().strip_prefix("secret-").map(Principal::from)
    }

    fn attend(&mut self, endpoint: &mut Endpoint, now: Now, event: &EndpointEvent) {
        match event {
            EndpointEvent::Authenticate(applicant) if self.judges => self.judge(endpoint, now, applicant),
            EndpointEvent::Authenticate(applicant) => self.applicants.push_back((**applicant).clone()),
            EndpointEvent::Submit { request, submit, .. } if self.accepts => {
                self.accept(endpoint, now, request, submit);
            }
            EndpointEvent::Submit { request, submit, .. } => {
                self.submits.push_back((request.clone(), submit.clone()));
            }
            EndpointEvent::Cancel { request, job_id, .. } if self.cancels => {
                endpoint.confirm_cancel(now, request, None).expect("the cancel is open");
                let error = WireError::new(ErrorCode::Cancelled, "as asked for");
                let _ = endpoint.fail(now, job_id, arcp_proto::wire::JobError::new(error));
            }
            _ => {}
        }
    }

    fn judge(&mut self, endpoint: &mut Endpoint, now: Now, applicant: &Applicant) {
        let Some(principal) = App::principal_of(applicant) else {
            let error = WireError::new(ErrorCode::Unauthenticated, "nobody knows this bearer");
            return endpoint.reject(now, applicant.conn, error).expect("somebody waits");
        };
        let grant = match &applicant.resume {
            Some(_) => self.grant_as(principal, SessionId::from("sess_unused")),
            None => self.grant(principal),
        };
        // A refusal is told to the client by the endpoint.
        let _ = endpoint.admit(now, applicant.conn, grant);
    }

    fn accept(&mut self, endpoint: &mut Endpoint, now: Now, request: &Request, submit: &JobSubmit) {
        self.jobs += 1;
        let accepted = JobAccepted::new(job(self.jobs), submit.agent.clone(), now.wall);
        endpoint.accept_job(now, request, accepted).expect("the submit is open");
    }
}

/// Has the referee judge what all sides send, at the moment they do.
struct Judge {
    referee: Option<Referee>,
    /// Clients from here on are not looked at: a referee knows 256 sessions.
    clients: usize,
    findings: Vec<String>,
}

type Task = Box<dyn FnOnce(&mut World)>;
type Watch = Box<dyn FnMut(Now, ClientIdx, &ClientEvent)>;

pub(crate) struct World {
    pub(crate) now: Now,
    /// What is done to it is carried out by the next [`flush`](World::flush).
    pub(crate) endpoint: Endpoint,
    pub(crate) app: App,
    peers: Vec<Peer>,
    links: Vec<Link>,
    by_conn: BTreeMap<ConnId, LinkIdx>,
    /// When clients want to be woken.
    deadlines: BTreeSet<(Instant, ClientIdx)>,
    tasks: BTreeMap<(Instant, u64), Task>,
    tasks_made: u64,
    /// Clients and links that may have something to send, or to carry.
    busy_peers: BTreeSet<ClientIdx>,
    busy_links: BTreeSet<LinkIdx>,
    /// Links with frames that the endpoint does not want to read now.
    unread: BTreeSet<LinkIdx>,
    judge: Judge,
    /// Transcripts and events are kept.
    keeps: bool,
    watch: Option<Watch>,
    events: Vec<EndpointEvent>,
    audit: Vec<AuditRecord>,
}

/// How a world is made.
impl World {
    pub(crate) fn new(config: EndpointConfig) -> World {
        World::over(Endpoint::new(config))
    }

    /// All by default.
    pub(crate) fn plain() -> World {
        World::new(config())
    }

    pub(crate) fn over(endpoint: Endpoint) -> World {
        World {
            now: start(),
            endpoint,
            app: App {
                judges: true,
                accepts: true,
                cancels: true,
                polls: true,
                agents: Arc::from([AgentInfo::new("code-refactor", ["1.0.0", "2.0.0"])]),
                applicants: VecDeque::new(),
                submits: VecDeque::new(),
                sessions: 0,
                tokens: 0,
                jobs: 0,
            },
            peers: Vec::new(),
            links: Vec::new(),
            by_conn: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            tasks: BTreeMap::new(),
            tasks_made: 0,
            busy_peers: BTreeSet::new(),
            busy_links: BTreeSet::new(),
            unread: BTreeSet::new(),
            judge: Judge { referee: Some(Referee::new()), clients: usize::MAX, findings: Vec::new() },
            keeps: true,
            watch: None,
            events: Vec::new(),
            audit: Vec::new(),
        }
    }

    /// For a test in which the referee does not see what the sides see.
    pub(crate) fn unjudged(mut self) -> World {
        self.judge.referee = None;
        self
    }

    /// For a test that plays the application otherwise than one should, such as never answering.
    pub(crate) fn with_a_careless_application(mut self) -> World {
        self.judge.referee = Some(Referee::new().session_only());
        self
    }

    /// For large worlds: the referee looks at the first `clients` only, and nothing is kept, see [`watch`](World::watch).
    pub(crate) fn at_large(mut self, clients: usize) -> World {
        self.judge.clients = clients;
        self.keeps = false;
        self
    }

    /// Shows every client's events as they are polled.
    pub(crate) fn watch(&mut self, watch: impl FnMut(Now, ClientIdx, &ClientEvent) + 'static) {
        self.watch = Some(Box::new(watch));
    }

    /// Answers to who asks to be let in are the test's.
    pub(crate) fn judged_by_hand(mut self) -> World {
        self.app.judges = false;
        self
    }
}

/// Clients and their links.
impl World {
    /// A client connects, and all that follows from it happens.
    pub(crate) fn connect(&mut self, config: impl Into<Arc<ClientConfig>>) -> ClientIdx {
        let peer = self.dial(config);
        self.flush();
        peer
    }

    /// A client with its hello on the way.
    pub(crate) fn dial(&mut self, config: impl Into<Arc<ClientConfig>>) -> ClientIdx {
        let idx = ClientIdx(self.peers.len());
        let session = Session::connect(self.now, config);
        self.peers.push(Peer { session, link: None, deadline: None, events: Vec::new(), reconnect_after: None });
        let link = self.open(Some(idx));
        self.peers[idx.0].link = Some(link);
        self.busy_peers.insert(idx);
        idx
    }

    /// A client that has lost its transport comes back on another, and all that follows from it happens.
    pub(crate) fn reconnect(&mut self, idx: ClientIdx) -> LinkIdx {
        let link = self.redial(idx);
        self.flush();
        link
    }

    /// The same with its resume on the way.
    pub(crate) fn redial(&mut self, idx: ClientIdx) -> LinkIdx {
        let now = self.now;
        self.peers[idx.0].session.resume(now).expect("the client can resume");
        let link = self.open(Some(idx));
        self.peers[idx.0].link = Some(link);
        self.busy_peers.insert(idx);
        link
    }

    /// From now on the client comes back by itself, so long after each loss.
    pub(crate) fn reconnect_after(&mut self, idx: ClientIdx, delay: Duration) {
        self.peers[idx.0].reconnect_after = Some(delay);
    }

    /// A transport that the test writes to and reads from by hand.
    pub(crate) fn raw(&mut self) -> LinkIdx {
        let link = self.open(None);
        self.flush();
        link
    }

    fn open(&mut self, owner: Option<ClientIdx>) -> LinkIdx {
        let idx = LinkIdx(self.links.len());
        let conn = self.endpoint.connect(self.now);
        self.by_conn.insert(conn, idx);
        self.links.push(Link {
            conn,
            owner,
            to_endpoint: Way::default(),
            to_client: Way::default(),
            client_is_here: true,
            endpoint_is_here: true,
            closed_at: None,
            transcript: Vec::new(),
            heard: 0,
            is_judged: owner.is_none_or(|owner| owner.0 < self.judge.clients),
            client_is_excused: owner.is_none(),
        });
        self.judged(idx, |referee, conn, at| referee.open(conn, at));
        idx
    }

    /// The link that a client is on, or was on last.
    pub(crate) fn link_of(&self, idx: ClientIdx) -> LinkIdx {
        self.peers[idx.0].link.expect("the client has dialled")
    }

    pub(crate) fn link(&self, link: LinkIdx) -> &Link {
        &self.links[link.0]
    }

    /// How many links there were.
    pub(crate) fn links(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn conn(&self, link: LinkIdx) -> ConnId {
        self.links[link.0].conn
    }

    /// The endpoint has given the order to close.
    pub(crate) fn is_closed(&self, link: LinkIdx) -> bool {
        self.links[link.0].closed_at.is_some()
    }

    /// A client's session. What is done to it goes out by the next [`flush`](World::flush).
    pub(crate) fn client(&mut self, idx: ClientIdx) -> &mut Session<Client> {
        self.busy_peers.insert(idx);
        &mut self.peers[idx.0].session
    }

    /// The runtime's session of a client.
    pub(crate) fn runtime_of(&self, idx: ClientIdx) -> Option<&Session<Runtime>> {
        self.endpoint.session(&self.session_of(idx))
    }

    pub(crate) fn session_of(&self, idx: ClientIdx) -> SessionId {
        self.peers[idx.0].session.session_id().expect("the client was welcomed").clone()
    }

    /// How many clients there are.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }
}

/// What befalls links. What is on its way is lost where nothing else is said.
impl World {
    /// The client's link breaks, and both sides learn it.
    pub(crate) fn cut(&mut self, idx: ClientIdx) {
        self.cut_link(self.link_of(idx));
    }

    pub(crate) fn cut_link(&mut self, link: LinkIdx) {
        self.client_loses(link);
        self.endpoint_loses(link);
        self.flush();
    }

    /// Only the client learns it: the endpoint goes on talking to nobody.
    pub(crate) fn cut_unseen_by_endpoint(&mut self, idx: ClientIdx) {
        self.client_loses(self.link_of(idx));
        self.flush();
    }

    /// Only the endpoint learns it: the client goes on talking to nobody.
    pub(crate) fn cut_unseen_by_client(&mut self, idx: ClientIdx) {
        self.half_open(idx);
        self.endpoint_loses(self.link_of(idx));
        self.flush();
    }

    /// Nobody learns it: whatever either side says is lost from now on.
    pub(crate) fn half_open(&mut self, idx: ClientIdx) {
        let link = &mut self.links[self.peers[idx.0].link.expect("the client has dialled").0];
        link.client_is_excused = true;
        for way in [&mut link.to_endpoint, &mut link.to_client] {
            way.frames.clear();
            way.is_dead = true;
        }
    }

    /// The endpoint learns now that a link is gone, however long it has been.
    pub(crate) fn endpoint_loses(&mut self, idx: LinkIdx) {
        let now = self.now;
        let link = &mut self.links[idx.0];
        link.client_is_excused = true;
        link.to_endpoint.frames.clear();
        self.endpoint.handle_disconnect(now, link.conn);
        self.judged(idx, |referee, conn, at| referee.close(conn, at));
        self.links[idx.0].is_judged = false;
        self.endpoint_is_gone(idx);
    }

    /// The client learns now that a link is gone.
    pub(crate) fn client_loses(&mut self, idx: LinkIdx) {
        let now = self.now;
        let link = &mut self.links[idx.0];
        link.client_is_excused = true;
        link.to_endpoint.frames.clear();
        link.to_endpoint.is_dead = true;
        link.to_client.frames.clear();
        link.to_client.is_dead = true;
        let owner = link.owner.filter(|_| link.client_is_here);
        if let Some(owner) = owner {
            self.client(owner).handle_disconnect(now);
        }
        self.client_is_gone(idx);
    }

    /// What the client sends stays in the link, or goes on.
    pub(crate) fn hold_to_endpoint(&mut self, link: LinkIdx, is_held: bool) {
        self.links[link.0].to_endpoint.is_held = is_held;
        self.busy_links.insert(link);
    }

    /// What the endpoint sends stays in the link, or goes on.
    pub(crate) fn hold_to_client(&mut self, link: LinkIdx, is_held: bool) {
        self.links[link.0].to_client.is_held = is_held;
        self.busy_links.insert(link);
    }

    /// The frames on their way to the client.
    pub(crate) fn on_the_way(&self, link: LinkIdx) -> Vec<Value> {
        self.links[link.0].to_client.frames.iter().map(|frame| serde_json::from_slice(frame).unwrap()).collect()
    }

    /// Whether the endpoint's driver can write to the link.
    pub(crate) fn set_writable(&mut self, link: LinkIdx, is_writable: bool) {
        self.endpoint.set_writable(self.links[link.0].conn, is_writable);
    }

    fn client_is_gone(&mut self, idx: LinkIdx) {
        self.links[idx.0].client_is_here = false;
        self.tidy(idx);
    }

    fn endpoint_is_gone(&mut self, idx: LinkIdx) {
        let link = &mut self.links[idx.0];
        link.endpoint_is_here = false;
        self.by_conn.remove(&link.conn);
        self.tidy(idx);
    }

    /// Both ends are gone.
    fn tidy(&mut self, idx: LinkIdx) {
        let link = &mut self.links[idx.0];
        if link.client_is_here || link.endpoint_is_here {
            return;
        }
        link.to_endpoint.frames = VecDeque::new();
        link.to_client.frames = VecDeque::new();
        self.judged(idx, |referee, conn, at| referee.close(conn, at));
        self.links[idx.0].is_judged = false;
    }
}

/// By hand.
impl World {
    /// Writes a frame to a raw link, or into a client's; the endpoint reads it at once, whether it wants to or not.
    pub(crate) fn say(&mut self, link: LinkIdx, frame: &Value) {
        self.say_bytes(link, bytes(frame));
    }

    pub(crate) fn say_bytes(&mut self, link: LinkIdx, frame: Bytes) {
        self.put_in(link, frame);
        self.flush();
    }

    /// The same, and nothing more happens yet.
    pub(crate) fn put_in(&mut self, idx: LinkIdx, frame: Bytes) {
        self.links[idx.0].client_is_excused = true;
        if self.links[idx.0].endpoint_is_here {
            self.sent(idx, Side::Client, &frame);
        }
        self.record(idx, From::Client, &frame);
        self.endpoint.handle_input(self.now, self.links[idx.0].conn, frame);
    }

    /// The hand at a raw link hangs up.
    pub(crate) fn hang_up(&mut self, link: LinkIdx) {
        self.endpoint_loses(link);
        self.client_is_gone(link);
        self.flush();
    }

    /// What came on a link since this was asked last.
    pub(crate) fn heard(&mut self, link: LinkIdx) -> Vec<Value> {
        let link = &mut self.links[link.0];
        let news = &link.transcript[link.heard..];
        link.heard = link.transcript.len();
        news.iter().filter(|passed| passed.from == From::Endpoint).map(Passed::json).collect()
    }

    /// A raw link whose hello was taken, and its session.
    pub(crate) fn raw_session(&mut self, name: &str, features: &[&str]) -> (LinkIdx, SessionId) {
        let link = self.raw();
        self.say(link, &hello(name, features));
        let heard = self.heard(link);
        assert_eq!(types(&heard), ["session.welcome"], "{heard:?}");
        (link, SessionId::from(heard[0]["session_id"].as_str().unwrap()))
    }

    /// The oldest applicant is let in as what its bearer says.
    pub(crate) fn admit_next(&mut self) {
        let applicant = self.app.applicants.pop_front().expect("somebody waits for a verdict");
        self.app.judge(&mut self.endpoint, self.now, &applicant);
        self.flush();
    }
}

/// Jobs.
impl World {
    /// The client submits, the application accepts it as the next job.
    pub(crate) fn submit(&mut self, idx: ClientIdx) -> JobId {
        let submit = JobSubmit::new("code-refactor", RawJson::empty_object());
        let request = self.request(idx, |client, now| client.submit(now, &submit));
        let accepted = self.peers[idx.0].events.iter().find_map(|event| match event {
            ClientEvent::Accepted { request: Some(answered), accepted } if *answered == request => {
                Some(accepted.job_id.clone())
            }
            _ => None,
        });
        let accepted = accepted.expect("the job was accepted");
        let answers =
            |event: &ClientEvent| matches!(event, ClientEvent::Accepted { request: Some(it), .. } if *it == request);
        self.peers[idx.0].events.retain(|event| !answers(event));
        accepted
    }

    /// A client asks for something, and all that follows from it happens.
    pub(crate) fn request<E: std::fmt::Debug>(
        &mut self,
        idx: ClientIdx,
        ask: impl FnOnce(&mut Session<Client>, Now) -> Result<RequestId, E>,
    ) -> RequestId {
        let now = self.now;
        let request = ask(self.client(idx), now).expect("it can be asked for");
        self.flush();
        request
    }

    /// A line of log in a job, which all that hear of it get.
    pub(crate) fn publish(&mut self, job: &JobId, text: &str) -> Result<Published, PublishError> {
        let published = self.publish_unsent(job, text);
        self.flush();
        published
    }

    /// The same, not yet sent.
    pub(crate) fn publish_unsent(&mut self, job: &JobId, text: &str) -> Result<Published, PublishError> {
        self.endpoint.publish(self.now, job, "log", &json!({"level": "info", "message": text}))
    }

    /// So many lines of log.
    pub(crate) fn publish_many(&mut self, job: &JobId, count: u64) {
        for n in 0..count {
            self.publish_unsent(job, &format!("line {n}")).expect("it can be published");
        }
        self.flush();
    }

    /// The job ends well.
    pub(crate) fn finish(&mut self, job: &JobId) -> Result<Published, PublishError> {
        let result = JobResult::inline(RawJson::empty_object());
        let published = self.endpoint.finish(self.now, job, result);
        self.flush();
        published
    }
}

/// What was told.
impl World {
    /// A client's events since they were last taken.
    pub(crate) fn take_events(&mut self, idx: ClientIdx) -> Vec<ClientEvent> {
        std::mem::take(&mut self.peers[idx.0].events)
    }

    /// Of those, what has a place in the sequence: that place. The others are dropped.
    pub(crate) fn take_seqs(&mut self, idx: ClientIdx) -> Vec<u64> {
        self.take_events(idx).iter().filter_map(ClientEvent::seq).collect()
    }

    /// Back to those that can be taken.
    pub(crate) fn put_back(&mut self, idx: ClientIdx, event: ClientEvent) {
        self.peers[idx.0].events.push(event);
    }

    /// The endpoint's events since they were last taken, but for those of who asks to be let in.
    pub(crate) fn take_endpoint_events(&mut self) -> Vec<EndpointEvent> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn take_audit(&mut self) -> Vec<AuditRecord> {
        std::mem::take(&mut self.audit)
    }

    /// What was decided since the audit was last taken.
    pub(crate) fn take_audited(&mut self) -> Vec<Audited> {
        self.take_audit().into_iter().map(|record| record.action).collect()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.endpoint.counters()
    }
}

/// Time.
impl World {
    /// Does this when its time comes; clients and the endpoint are served after it.
    pub(crate) fn after(&mut self, delay: Duration, task: impl FnOnce(&mut World) + 'static) {
        self.tasks_made += 1;
        self.tasks.insert((self.now.mono + delay, self.tasks_made), Box::new(task));
    }

    /// Time passes: both clocks jump from deadline to deadline, and whoever's it is, is served at each.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now.after(by);
        self.flush();
        while let Some(next) = self.next_deadline().filter(|next| *next <= end.mono) {
            // From the start, so that no wall clock loses by parts of milliseconds.
            self.now = start().after(next - start().mono);
            self.wake();
        }
        self.now = end;
        self.flush();
    }

    /// To `at` exactly, or nowhere when that is past.
    pub(crate) fn advance_to(&mut self, at: Instant) {
        self.advance(at - self.now.mono);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let task = self.tasks.keys().next().map(|(at, _)| *at);
        let client = self.deadlines.first().map(|(at, _)| *at);
        [task, client, self.endpoint.poll_timeout()].into_iter().flatten().min()
    }

    /// Everybody whose time it is. What has come is read before the endpoint looks at its clock (D21).
    fn wake(&mut self) {
        let now = self.now;
        while let Some(entry) = self.tasks.first_entry().filter(|entry| entry.key().0 <= now.mono) {
            let task = entry.remove();
            task(self);
            self.flush();
        }
        while let Some((_, idx)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now.mono) {
            let peer = &mut self.peers[idx.0];
            peer.session.handle_timeout(now);
            assert!(peer.session.poll_timeout().is_none_or(|at| at > now.mono), "{idx:?}'s deadline did not move");
            self.busy_peers.insert(idx);
            self.keep_deadline(idx);
        }
        self.flush();
        if self.endpoint.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.endpoint.handle_timeout(now);
            let next = self.endpoint.poll_timeout();
            assert!(next.is_none_or(|at| at > now.mono), "the endpoint's deadline did not move");
        }
        self.flush();
    }

    fn keep_deadline(&mut self, idx: ClientIdx) {
        let peer = &mut self.peers[idx.0];
        let at = peer.session.poll_timeout();
        let before = std::mem::replace(&mut peer.deadline, at);
        if before != at {
            if let Some(before) = before {
                self.deadlines.remove(&(before, idx));
            }
            if let Some(at) = at {
                self.deadlines.insert((at, idx));
            }
        }
    }
}

/// The drivers of all sides.
impl World {
    /// Lets all say all, and the links carry it, until nothing moves.
    pub(crate) fn flush(&mut self) {
        loop {
            let mut moved = self.drive_endpoint();
            for idx in std::mem::take(&mut self.busy_peers) {
                self.drive_client(idx);
                moved = true;
            }
            if moved {
                self.busy_links.append(&mut self.unread);
            }
            for idx in std::mem::take(&mut self.busy_links) {
                moved |= self.carry(idx);
            }
            if !moved {
                return self.assert_drained();
            }
        }
    }

    fn assert_drained(&mut self) {
        let now = self.now;
        assert!(self.endpoint.poll_transmit(now).is_none(), "drained was not drained");
        assert!(self.endpoint.poll_close().is_none(), "drained was not drained");
        assert!(!self.app.polls || self.endpoint.poll_event().is_none(), "drained was not drained");
        assert!(self.endpoint.poll_audit().is_none(), "drained was not drained");
    }

    fn drive_endpoint(&mut self) -> bool {
        let now = self.now;
        let mut moved = false;
        while let Some((conn, frame)) = self.endpoint.poll_transmit(now) {
            moved = true;
            let link = *self.by_conn.get(&conn).expect("a frame for a transport that stands");
            self.sent(link, Side::Runtime, &frame);
            if !self.links[link.0].to_client.is_dead {
                self.links[link.0].to_client.frames.push_back(frame);
                self.busy_links.insert(link);
            }
        }
        while let Some(conn) = self.endpoint.poll_close() {
            moved = true;
            let link = *self.by_conn.get(&conn).expect("an order to close a transport that stands");
            self.judged(link, |referee, conn, at| referee.eof(conn, Side::Runtime, at));
            self.links[link.0].closed_at = Some(now.mono);
            self.links[link.0].to_client.is_over = true;
            self.busy_links.insert(link);
            self.endpoint_is_gone(link);
        }
        while self.app.polls {
            let Some(event) = self.endpoint.poll_event() else { break };
            moved = true;
            self.app.attend(&mut self.endpoint, now, &event);
            if self.keeps && !matches!(event, EndpointEvent::Authenticate(_)) {
                self.events.push(event);
            }
        }
        while let Some(record) = self.endpoint.poll_audit() {
            if self.keeps {
                self.audit.push(record);
            }
        }
        moved
    }

    fn drive_client(&mut self, idx: ClientIdx) {
        let now = self.now;
        let link = self.peers[idx.0].link.expect("the client has dialled");
        loop {
            while let Some(frame) = self.peers[idx.0].session.poll_transmit(now) {
                if self.links[link.0].client_is_here && !self.links[link.0].to_endpoint.is_dead {
                    self.sent(link, Side::Client, &frame);
                    self.links[link.0].to_endpoint.frames.push_back(frame);
                    self.busy_links.insert(link);
                }
            }
            let Some(event) = self.peers[idx.0].session.poll_event() else { break };
            self.told(idx, event);
        }
        let peer = &self.peers[idx.0];
        if !peer.session.phase().is_attached() && self.links[link.0].client_is_here && peer.link == Some(link) {
            // It has given the transport up by itself.
            self.judged(link, |referee, conn, at| referee.eof(conn, Side::Client, at));
            self.links[link.0].to_endpoint.is_over = true;
            self.busy_links.insert(link);
            self.client_is_gone(link);
        }
        self.keep_deadline(idx);
        let session = &mut self.peers[idx.0].session;
        assert!(session.poll_transmit(now).is_none() && session.poll_event().is_none(), "drained was not drained");
    }

    fn told(&mut self, idx: ClientIdx, event: ClientEvent) {
        if let Some(watch) = &mut self.watch {
            watch(self.now, idx, &event);
        }
        if let (ClientEvent::Detached(_), Some(delay)) = (&event, self.peers[idx.0].reconnect_after) {
            self.after(delay, move |world| {
                if world.client(idx).phase() == Phase::Detached {
                    let _ = world.redial(idx);
                }
            });
        }
        if self.keeps {
            self.peers[idx.0].events.push(event);
        }
    }

    fn carry(&mut self, idx: LinkIdx) -> bool {
        let to_endpoint = self.carry_to_endpoint(idx);
        self.carry_to_client(idx) | to_endpoint
    }

    fn carry_to_endpoint(&mut self, idx: LinkIdx) -> bool {
        let mut moved = false;
        loop {
            let link = &mut self.links[idx.0];
            if link.to_endpoint.is_held || !link.endpoint_is_here {
                return moved;
            }
            let has_more = !link.to_endpoint.frames.is_empty() || link.to_endpoint.is_over;
            if has_more && !self.endpoint.wants_input(link.conn) {
                self.unread.insert(idx);
                return moved;
            }
            let Some(frame) = link.to_endpoint.frames.pop_front() else { break };
            let conn = link.conn;
            self.record(idx, From::Client, &frame);
            self.endpoint.handle_input(self.now, conn, frame);
            moved = true;
        }
        let way = &self.links[idx.0].to_endpoint;
        if way.is_over && !way.is_dead {
            self.endpoint.handle_disconnect(self.now, self.links[idx.0].conn);
            self.endpoint_is_gone(idx);
            moved = true;
        }
        moved
    }

    fn carry_to_client(&mut self, idx: LinkIdx) -> bool {
        let mut moved = false;
        loop {
            let link = &mut self.links[idx.0];
            if link.to_client.is_held || !link.client_is_here {
                return moved;
            }
            let Some(frame) = link.to_client.frames.pop_front() else { break };
            let owner = link.owner;
            self.record(idx, From::Endpoint, &frame);
            if let Some(owner) = owner {
                let now = self.now;
                self.client(owner).handle_input(now, frame);
            }
            moved = true;
        }
        let link = &self.links[idx.0];
        if link.to_client.is_over && !link.to_client.is_dead {
            if let Some(owner) = link.owner {
                let now = self.now;
                self.client(owner).handle_disconnect(now);
            }
            self.client_is_gone(idx);
            moved = true;
        }
        moved
    }

    fn record(&mut self, link: LinkIdx, from: From, frame: &Bytes) {
        let link = &mut self.links[link.0];
        if self.keeps || link.owner.is_none() {
            link.transcript.push(Passed { from, at: self.now.mono, frame: frame.clone() });
        }
    }

    fn sent(&mut self, link: LinkIdx, from: Side, frame: &Bytes) {
        self.judged(link, |referee, conn, at| referee.frame(conn, from, at, frame.clone()).findings);
    }

    fn judged(&mut self, link: LinkIdx, look: impl FnOnce(&mut Referee, u64, Instant) -> Vec<Finding>) {
        let link_of = &self.links[link.0];
        if let (Some(referee), true) = (&mut self.judge.referee, link_of.is_judged) {
            let found = look(referee, link.0 as u64, self.now.mono);
            self.judge.take(&self.links, found);
        }
    }
}

impl Judge {
    /// A client is not charged with what its link, or a test, has done.
    fn take(&mut self, links: &[Link], found: Vec<Finding>) {
        let is_excused = |conn: u64| links.get(conn as usize).is_some_and(|link| link.client_is_excused);
        let counts = |finding: &Finding| finding.side == Side::Runtime || !is_excused(finding.conn);
        self.findings.extend(found.into_iter().filter(counts).map(|finding| format!("{finding:?}")));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut referee) = self.judge.referee.take() {
            let found = referee.finish();
            self.judge.take(&self.links, found);
        }
        let findings = &self.judge.findings;
        assert!(std::thread::panicking() || findings.is_empty(), "the referee: {findings:#?}");
    }
}
