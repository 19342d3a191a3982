//! Endpoints over one model of a store, clients that know them all, and links in memory, on one virtual clock. A process
//! that dies is an endpoint that is dropped, at any step.
//!
//! Whatever is done to a cluster, it is held at every step that no place in a session's sequence ever has two contents,
//! that no message id is given to two messages, and that the store is appended to in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arcp_proto::endpoint::{
    AdoptError, Adopted, Adoption, Applicant, Change, ChangeId, ConnId, Durability, Endpoint, EndpointConfig,
    EndpointEvent, JobState, Published, SessionState,
};
use arcp_proto::wire::{
    Envelope, ErrorCode, JobAccepted, JobError, JobId, JobResult, JobSubmit, Principal, RawJson, ResumeToken,
    SessionId, WireError,
};
use arcp_proto::{AckPolicy, Client, ClientConfig, ClientEvent, CloseReason, Grant, Now, Phase, Session};
use bytes::Bytes;
use serde_json::{Value, json};

use super::world;
pub(crate) use super::world::{millis, secs, start};

pub(crate) fn config(durability: Durability) -> EndpointConfig {
    EndpointConfig { durability, ..world::config() }
}

pub(crate) fn client(name: &str) -> ClientConfig {
    world::client(name).with_ack_policy(AckPolicy::OnPoll)
}

/// One that acknowledges nothing by itself.
pub(crate) fn silent(name: &str) -> ClientConfig {
    client(name).with_ack_policy(AckPolicy::Manual)
}

/// Items of a job before its streamed result, and the chunks of that; the end comes behind.
pub(crate) const LOGS: u64 = 3;
pub(crate) const CHUNKS: u64 = 3;
pub(crate) const ITEMS: u64 = LOGS + CHUNKS + 1;

/// What a client hears of a whole job.
pub(crate) fn whole_job() -> Vec<String> {
    let logs = (0..LOGS).map(|n| format!("item {n}"));
    let chunks = (0..CHUNKS).map(|n| format!("chunk {n}"));
    logs.chain(chunks).chain(["finished".into()]).collect()
}

/// What the store has of one session, as text where it is text.
#[derive(Clone, Default)]
pub(crate) struct Entry {
    pub(crate) generation: u64,
    pub(crate) state: Option<String>,
    pub(crate) events: BTreeMap<u64, Bytes>,
    pub(crate) jobs: BTreeMap<JobId, String>,
    /// How far the work is: stored with the events in which it shows.
    items: BTreeMap<JobId, u64>,
    last: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Store {
    pub(crate) entries: BTreeMap<SessionId, Entry>,
    pub(crate) changes: u64,
    pub(crate) states: u64,
    pub(crate) state_bytes: u64,
    pub(crate) job_states: u64,
}

impl Store {
    /// Writes all of the change, or nothing where the session has another generation.
    pub(crate) fn apply(&mut self, change: &Change) -> bool {
        let has = self.entries.get(&change.session).map(|entry| entry.generation);
        if has.map_or(!change.is_new, |generation| generation != change.generation) {
            return false;
        }
        self.changes += 1;
        if change.is_over {
            self.entries.remove(&change.session);
            return true;
        }
        let entry = self.entries.entry(change.session.clone()).or_default();
        entry.generation = change.generation;
        if let Some(state) = &change.state {
            let text = serde_json::to_string(state).expect("a state serialises");
            self.states += 1;
            self.state_bytes += text.len() as u64;
            entry.state = Some(text);
        }
        for job in &change.jobs {
            let text = serde_json::to_string(job).expect("a job serialises");
            self.job_states += 1;
            entry.jobs.insert(job.record.job_id.clone(), text);
        }
        for (seq, frame) in &change.events {
            assert!(*seq > entry.last, "event {seq} is appended behind {}", entry.last);
            assert!(*seq == entry.last + 1 || entry.last < change.floor, "a hole before {seq}");
            entry.last = *seq;
            entry.events.insert(*seq, frame.clone());
            let job = Envelope::decode(frame.clone()).unwrap().to_job_id().unwrap();
            if entry.jobs.contains_key(&job) {
                *entry.items.entry(job).or_default() += 1;
            }
        }
        for job in &change.forgotten_jobs {
            entry.jobs.remove(job);
        }
        entry.events = entry.events.split_off(&(change.floor + 1));
        true
    }

    pub(crate) fn by_token(&self, digest: &[u8; 32]) -> Option<SessionId> {
        let has = |entry: &Entry| {
            entry.state.as_deref().is_some_and(|state| read_state(state).token_digests().any(|other| other == *digest))
        };
        self.entries.iter().find(|(_, entry)| has(entry)).map(|(id, _)| id.clone())
    }

    /// Raises the generation, as by a compare-and-set.
    pub(crate) fn take(&mut self, id: &SessionId) -> Option<Adoption> {
        let entry = self.entries.get_mut(id)?;
        let state = read_state(entry.state.as_deref()?);
        entry.generation += 1;
        let jobs = entry.jobs.values().map(|job| serde_json::from_str::<JobState>(job).expect("a job is read"));
        let events = entry.events.iter().map(|(seq, frame)| (*seq, frame.clone())).collect();
        Some(Adoption { generation: entry.generation, state, events, jobs: jobs.collect() })
    }

    fn items_of(&self, job: &JobId) -> u64 {
        self.entries.values().find_map(|entry| entry.items.get(job).copied()).unwrap_or_default()
    }
}

fn read_state(text: &str) -> SessionState {
    serde_json::from_str(text).expect("a state is read")
}

/// How a process stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storing {
    /// All that there is, together and at once.
    Prompt,
    /// Nothing, until a test does.
    Held,
}

/// A process: its endpoint and its application.
pub(crate) struct Node {
    /// `None`: dead.
    pub(crate) endpoint: Option<Endpoint>,
    /// Live jobs that it runs, and the next item of each.
    pub(crate) workers: BTreeMap<JobId, u64>,
    pub(crate) events: Vec<EndpointEvent>,
    pub(crate) storing: Storing,
    /// Given out and not stored, while storing is held.
    pub(crate) pending: VecDeque<Change>,
    /// Whether it takes sessions over that clients ask for.
    pub(crate) adopts: bool,
    /// Submits are accepted at once.
    pub(crate) accepts: bool,
}

impl Node {
    pub(crate) fn ep(&mut self) -> &mut Endpoint {
        self.endpoint.as_mut().expect("the process lives")
    }

    pub(crate) fn closed(&self) -> Vec<(SessionId, CloseReason, Vec<JobId>)> {
        let closed = self.events.iter().filter_map(|event| match event {
            EndpointEvent::Closed { session, reason, jobs } => Some((session.clone(), reason.clone(), jobs.clone())),
            _ => None,
        });
        closed.collect()
    }
}

pub(crate) struct Peer {
    pub(crate) name: String,
    config: Arc<ClientConfig>,
    pub(crate) session: Session<Client>,
    pub(crate) link: Option<usize>,
    pub(crate) seqs: Vec<u64>,
    /// What it heard of jobs, by job.
    pub(crate) heard: BTreeMap<String, Vec<String>>,
    pub(crate) events: Vec<ClientEvent>,
    /// It comes back by itself.
    pub(crate) is_keen: bool,
    /// Where it goes first.
    pub(crate) prefers: usize,
}

pub(crate) struct Link {
    pub(crate) client: usize,
    pub(crate) node: usize,
    pub(crate) conn: ConnId,
    up: VecDeque<Bytes>,
    pub(crate) down: VecDeque<Bytes>,
    /// All that the node sent.
    pub(crate) sent: Vec<Bytes>,
    client_is_here: bool,
    pub(crate) node_is_here: bool,
    /// Nothing arrives on it.
    pub(crate) is_stuck: bool,
}

impl Link {
    pub(crate) fn types(&self) -> Vec<String> {
        self.sent.iter().map(type_of).collect()
    }
}

pub(crate) fn value_of(frame: &Bytes) -> Value {
    serde_json::from_slice(frame).expect("a frame is JSON")
}

pub(crate) fn type_of(frame: &Bytes) -> String {
    value_of(frame)["type"].as_str().expect("a frame has a type").to_string()
}

pub(crate) struct Cluster {
    pub(crate) now: Now,
    pub(crate) store: Store,
    pub(crate) nodes: Vec<Node>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) links: Vec<Link>,
    /// After so many steps node 0 dies.
    pub(crate) fuel: Option<u64>,
    pub(crate) steps: u64,
    /// What was on its way from a process that dies is lost with it.
    pub(crate) is_lossy: bool,
    /// Who takes over what a dead process had, and in which order.
    pub(crate) heir: Option<(usize, bool)>,
    contents: BTreeMap<(String, u64), Bytes>,
    ids: BTreeMap<(String, String), Bytes>,
    sessions: u64,
    tokens: u64,
    jobs: u64,
}

impl Cluster {
    pub(crate) fn new(nodes: usize, config: &EndpointConfig) -> Cluster {
        let node = || Node {
            endpoint: Some(Endpoint::new(config.clone())),
            workers: BTreeMap::new(),
            events: Vec::new(),
            storing: Storing::Prompt,
            pending: VecDeque::new(),
            adopts: true,
            accepts: true,
        };
        Cluster {
            now: start(),
            store: Store::default(),
            nodes: (0..nodes).map(|_| node()).collect(),
            peers: Vec::new(),
            links: Vec::new(),
            fuel: None,
            steps: 0,
            is_lossy: false,
            heir: None,
            contents: BTreeMap::new(),
            ids: BTreeMap::new(),
            sessions: 0,
            tokens: 0,
            jobs: 0,
        }
    }

    pub(crate) fn durable(nodes: usize) -> Cluster {
        Cluster::new(nodes, &config(Durability::BeforeTransmit))
    }

    /// A step was done: it may have been the last of node 0.
    fn step(&mut self) {
        self.steps += 1;
        if let Some(fuel) = &mut self.fuel {
            *fuel -= 1;
            if *fuel == 0 {
                self.fuel = None;
                self.kill(0);
            }
        }
    }

    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].endpoint = None;
        self.nodes[node].workers.clear();
        self.nodes[node].pending.clear();
        for link in self.links.iter_mut().filter(|link| link.node == node) {
            link.node_is_here = false;
            if self.is_lossy {
                link.down.clear();
            }
        }
        if let Some((heir, is_reversed)) = self.heir {
            self.inherit(heir, is_reversed);
        }
    }

    /// A process starts anew, with nothing.
    pub(crate) fn start_node(&mut self, node: usize, config: &EndpointConfig) {
        self.nodes[node].endpoint = Some(Endpoint::new(config.clone()));
    }

    /// All sessions of the store that are not there yet are taken over.
    pub(crate) fn inherit(&mut self, node: usize, is_reversed: bool) {
        let mut ids: Vec<SessionId> = self.store.entries.keys().cloned().collect();
        if is_reversed {
            ids.reverse();
        }
        for id in ids {
            if self.nodes[node].ep().session(&id).is_none() {
                let _ = self.adopt(node, &id);
            }
        }
    }

    /// `None`: the store has no such session.
    pub(crate) fn adopt(&mut self, node: usize, id: &SessionId) -> Option<Result<Adopted, AdoptError>> {
        let adoption = self.store.take(id)?;
        let now = self.now;
        let adopted = self.nodes[node].ep().adopt(now, adoption);
        if let Ok(adopted) = &adopted {
            for job in &adopted.jobs {
                let next = self.store.items_of(job);
                self.nodes[node].workers.insert(job.clone(), next);
            }
        }
        Some(adopted)
    }
}

/// Clients.
impl Cluster {
    pub(crate) fn connect(&mut self, config: ClientConfig, node: usize) -> usize {
        let idx = self.dial(config, node);
        self.flush();
        idx
    }

    pub(crate) fn dial(&mut self, config: ClientConfig, node: usize) -> usize {
        let config = Arc::new(config);
        let session = Session::connect(self.now, Arc::clone(&config));
        let idx = self.peers.len();
        let name = format!("client {idx}");
        let (seqs, heard, events) = (Vec::new(), BTreeMap::new(), Vec::new());
        let peer = Peer { name, config, session, link: None, seqs, heard, events, is_keen: true, prefers: node };
        self.peers.push(peer);
        let node = self.living(idx).expect("a process lives");
        self.open(idx, node);
        idx
    }

    pub(crate) fn open(&mut self, client: usize, node: usize) -> usize {
        let now = self.now;
        let conn = self.nodes[node].ep().connect(now);
        self.links.push(Link {
            client,
            node,
            conn,
            up: VecDeque::new(),
            down: VecDeque::new(),
            sent: Vec::new(),
            client_is_here: true,
            node_is_here: true,
            is_stuck: false,
        });
        self.peers[client].link = Some(self.links.len() - 1);
        self.links.len() - 1
    }

    pub(crate) fn redial(&mut self, client: usize, node: usize) -> usize {
        let now = self.now;
        self.peers[client].session.resume(now).expect("it can resume");
        self.open(client, node)
    }

    pub(crate) fn resume_at(&mut self, client: usize, node: usize) {
        self.redial(client, node);
        self.flush();
    }

    pub(crate) fn link_of(&self, client: usize) -> &Link {
        &self.links[self.peers[client].link.expect("it has dialled")]
    }

    pub(crate) fn is_open(&self, client: usize) -> bool {
        self.peers[client].session.phase() == Phase::Open
    }

    pub(crate) fn session_of(&self, client: usize) -> SessionId {
        self.peers[client].session.session_id().cloned().expect("it has a session")
    }

    /// The link breaks, and both sides see it.
    pub(crate) fn cut(&mut self, client: usize) {
        if let Some(link) = self.peers[client].link {
            self.hang_up(link);
            self.drop_link(link);
        }
    }

    /// The client's end sees that the link is broken; the other does not.
    pub(crate) fn lose(&mut self, client: usize) {
        if let Some(link) = self.peers[client].link {
            self.hang_up(link);
        }
    }

    fn hang_up(&mut self, link: usize) {
        let (client, now) = (self.links[link].client, self.now);
        self.links[link].client_is_here = false;
        if self.peers[client].link == Some(link) {
            self.peers[client].session.handle_disconnect(now);
        }
    }

    pub(crate) fn drop_link(&mut self, link: usize) {
        let (node, conn, now) = (self.links[link].node, self.links[link].conn, self.now);
        if self.links[link].node_is_here {
            self.links[link].node_is_here = false;
            if let Some(endpoint) = &mut self.nodes[node].endpoint {
                endpoint.handle_disconnect(now, conn);
            }
        }
    }

    /// Connects anew whoever never got a session, and has whoever lost a transport back.
    pub(crate) fn mend(&mut self, client: usize) {
        for _ in 0..4 {
            self.flush();
            if self.is_open(client) {
                return;
            }
            if self.peers[client].session.phase() == Phase::Closed {
                let reason = self.peers[client].events.iter().rev().find_map(|event| match event {
                    ClientEvent::Closed(reason) => Some(reason.clone()),
                    _ => None,
                });
                assert!(matches!(reason, Some(CloseReason::ConnectFailed(_))), "{reason:?}");
                let config = Arc::clone(&self.peers[client].config);
                self.peers[client].session = Session::connect(self.now, config);
                let node = self.living(client).expect("a process lives");
                self.open(client, node);
            }
        }
        panic!("client {client} is not served: {:?}", self.peers[client].events);
    }

    fn living(&self, client: usize) -> Option<usize> {
        let prefers = self.peers[client].prefers;
        let lives = |node: &usize| self.nodes[*node].endpoint.is_some();
        Some(prefers).filter(lives).or_else(|| (0..self.nodes.len()).find(lives))
    }

    /// Asks until there is an answer. Gives the job.
    pub(crate) fn submit(&mut self, client: usize, key: &str) -> JobId {
        let submit = JobSubmit::new("code-refactor", RawJson::empty_object()).with_idempotency_key(key);
        for _ in 0..4 {
            self.mend(client);
            let (now, before) = (self.now, self.peers[client].events.len());
            let asked = self.peers[client].session.submit(now, &submit).expect("it can be sent");
            self.flush();
            for event in &self.peers[client].events[before..] {
                if let ClientEvent::Accepted { request: Some(request), accepted } = event
                    && *request == asked
                {
                    return accepted.job_id.clone();
                }
            }
        }
        panic!("the submit was never answered: {:?}", self.peers[client].events);
    }

    /// Asks until there is an answer.
    pub(crate) fn subscribe(&mut self, client: usize, job: &JobId, history: Option<u64>) {
        for _ in 0..4 {
            self.mend(client);
            let (now, before) = (self.now, self.peers[client].events.len());
            self.peers[client].session.subscribe(now, job, history).expect("it can be sent");
            self.flush();
            if self.peers[client].events[before..].iter().any(|event| matches!(event, ClientEvent::Subscribed { .. })) {
                return;
            }
        }
        panic!("the subscribe was never answered: {:?}", self.peers[client].events);
    }

    pub(crate) fn heard(&self, client: usize, job: &JobId) -> Vec<String> {
        self.peers[client].heard.get(job.as_str()).cloned().unwrap_or_default()
    }

    /// It has all places of its sequence, each once, in order.
    pub(crate) fn assert_whole(&self, client: usize) {
        let seqs = &self.peers[client].seqs;
        let all: Vec<u64> = (1..=seqs.len() as u64).collect();
        assert_eq!(*seqs, all, "{}", self.peers[client].name);
    }
}

/// Jobs.
impl Cluster {
    /// The next item of a job, at whoever runs it.
    pub(crate) fn work(&mut self, node: usize, job: &JobId) -> Option<Published> {
        let next = *self.nodes[node].workers.get(job)?;
        let now = self.now;
        let endpoint = self.nodes[node].ep();
        let published = if next < LOGS {
            endpoint.publish(now, job, "log", &json!({"level": "info", "message": format!("item {next}")}))
        } else if next < LOGS + CHUNKS {
            let n = next - LOGS;
            let more = n + 1 < CHUNKS;
            let chunk = json!({"result_id": "res_1", "chunk_seq": n, "data": "abc", "encoding": "utf8", "more": more});
            endpoint.publish(now, job, "result_chunk", &chunk)
        } else {
            endpoint.finish(now, job, JobResult::streamed("res_1".into(), 3 * CHUNKS))
        };
        let published = published.unwrap_or_else(|error| panic!("item {next} of {job:?}: {error}"));
        if next + 1 == ITEMS {
            self.nodes[node].workers.remove(job);
        } else {
            self.nodes[node].workers.insert(job.clone(), next + 1);
        }
        Some(published)
    }

    fn worker(&self, job: &JobId) -> Option<usize> {
        (0..self.nodes.len()).find(|node| self.nodes[*node].workers.contains_key(job))
    }

    /// Works until so many items are behind.
    pub(crate) fn work_until(&mut self, job: &JobId, items: u64) {
        while let Some(node) = self.worker(job)
            && self.nodes[node].workers[job] < items
        {
            self.work(node, job);
            self.flush();
        }
    }
}

/// All sides' drivers.
impl Cluster {
    pub(crate) fn flush(&mut self) {
        while self.round() {}
    }

    /// Lets all happen but what the node says on this link.
    pub(crate) fn drive_all_but_down(&mut self, link: usize) {
        let client = self.links[link].client;
        self.drive_client(client);
        while self.carry_up(link) {}
        self.links[link].is_stuck = true;
        self.flush();
    }

    fn round(&mut self) -> bool {
        let mut moved = false;
        for node in 0..self.nodes.len() {
            moved |= self.drive_node(node);
        }
        for client in 0..self.peers.len() {
            moved |= self.drive_client(client);
        }
        for link in 0..self.links.len() {
            moved |= self.carry(link);
        }
        moved
    }

    pub(crate) fn drive_node(&mut self, node: usize) -> bool {
        let mut moved = self.drive_store(node);
        let now = self.now;
        while let Some((conn, frame)) = self.nodes[node].endpoint.as_mut().and_then(|ep| ep.poll_transmit(now)) {
            moved = true;
            let link = self.link_on(node, conn);
            self.check_sent(&frame);
            self.links[link].sent.push(frame.clone());
            self.links[link].down.push_back(frame);
            self.step();
        }
        while let Some(conn) = self.nodes[node].endpoint.as_mut().and_then(Endpoint::poll_close) {
            moved = true;
            let link = self.link_on(node, conn);
            self.links[link].node_is_here = false;
        }
        while let Some(event) = self.nodes[node].endpoint.as_mut().and_then(Endpoint::poll_event) {
            moved = true;
            self.attend(node, &event);
            self.nodes[node].events.push(event);
            self.step();
        }
        while self.nodes[node].endpoint.as_mut().and_then(Endpoint::poll_audit).is_some() {}
        moved
    }

    fn drive_store(&mut self, node: usize) -> bool {
        let poll = |node: &mut Node| node.endpoint.as_mut().and_then(Endpoint::poll_change);
        let changes: Vec<Change> = std::iter::from_fn(|| poll(&mut self.nodes[node])).collect();
        if changes.is_empty() {
            return false;
        }
        if self.nodes[node].storing == Storing::Held {
            self.nodes[node].pending.extend(changes);
            return true;
        }
        self.step();
        if self.nodes[node].endpoint.is_none() {
            return true;
        }
        let verdicts: Vec<bool> = changes.iter().map(|change| self.store.apply(change)).collect();
        self.step();
        for (change, is_stored) in changes.iter().zip(verdicts) {
            self.conclude(node, change, is_stored);
        }
        true
    }

    pub(crate) fn conclude(&mut self, node: usize, change: &Change, is_stored: bool) {
        let now = self.now;
        let Some(endpoint) = &mut self.nodes[node].endpoint else { return };
        if is_stored {
            endpoint.stored(now, &change.id);
        } else {
            endpoint.fence(now, &change.session);
        }
    }

    /// Writes the first that waits; its confirmation is the caller's.
    pub(crate) fn write_one(&mut self, node: usize) -> Option<ChangeId> {
        let change = self.nodes[node].pending.pop_front()?;
        assert!(self.store.apply(&change), "the generation stands");
        Some(change.id)
    }

    /// Writes all that waits and confirms it.
    pub(crate) fn write_all(&mut self, node: usize) {
        for change in std::mem::take(&mut self.nodes[node].pending) {
            let is_stored = self.store.apply(&change);
            self.conclude(node, &change, is_stored);
        }
    }

    /// Stores promptly from now on, and what waits.
    pub(crate) fn release_store(&mut self, node: usize) {
        self.nodes[node].storing = Storing::Prompt;
        self.write_all(node);
        self.flush();
    }

    fn link_on(&self, node: usize, conn: ConnId) -> usize {
        let is_it = |link: &Link| link.node == node && link.conn == conn && link.node_is_here;
        self.links.iter().rposition(is_it).expect("the link stands")
    }

    fn check_sent(&mut self, frame: &Bytes) {
        let value = value_of(frame);
        let (session, id) = (value["session_id"].as_str().unwrap(), value["id"].as_str().unwrap());
        if value["type"] == "session.error" {
            return;
        }
        let key = (session.to_string(), id.to_string());
        let other = self.ids.entry(key).or_insert_with(|| frame.clone());
        assert_eq!(other, frame, "one id, two messages");
        if let Some(seq) = value["event_seq"].as_u64() {
            let other = self.contents.entry((session.to_string(), seq)).or_insert_with(|| frame.clone());
            assert_eq!(other, frame, "one place, two events");
        }
    }

    fn drive_client(&mut self, idx: usize) -> bool {
        let now = self.now;
        let mut moved = false;
        let Some(link) = self.peers[idx].link else { return false };
        loop {
            while let Some(frame) = self.peers[idx].session.poll_transmit(now) {
                moved = true;
                if self.links[link].client_is_here {
                    self.links[link].up.push_back(frame);
                }
            }
            let Some(event) = self.peers[idx].session.poll_event() else { break };
            moved = true;
            self.told(idx, event);
        }
        let is_attached = self.peers[idx].session.phase().is_attached();
        if !is_attached && self.links[link].client_is_here {
            // Given up by itself: what it said before still arrives.
            moved = true;
            while self.carry_up(link) {}
            self.links[link].client_is_here = false;
            self.drop_link(link);
        }
        let peer = &self.peers[idx];
        if peer.is_keen
            && peer.session.phase() == Phase::Detached
            && peer.session.resume_token().is_some()
            && let Some(node) = self.living(idx)
        {
            moved = true;
            if self.peers[idx].session.resume(now).is_ok() {
                self.open(idx, node);
            }
        }
        moved
    }

    fn told(&mut self, idx: usize, event: ClientEvent) {
        let peer = &mut self.peers[idx];
        let what = match &event {
            ClientEvent::Event(delivery) => {
                let body: Value = delivery.body().expect("a body");
                let text = body["message"].as_str().map(ToString::to_string);
                let text = text.unwrap_or_else(|| format!("chunk {}", body["chunk_seq"]));
                Some((delivery, text))
            }
            ClientEvent::Finished { delivery, .. } => Some((delivery, "finished".into())),
            ClientEvent::Failed { delivery, error } => Some((delivery, format!("failed {}", error.code.as_str()))),
            ClientEvent::EventsLost { .. } => panic!("{event:?}"),
            _ => None,
        };
        if let Some((delivery, text)) = what {
            peer.seqs.extend(delivery.seq());
            peer.heard.entry(delivery.job_id().into_owned()).or_default().push(text);
        }
        peer.events.push(event);
    }

    fn carry_up(&mut self, idx: usize) -> bool {
        let link = &mut self.links[idx];
        let (node, conn, now) = (link.node, link.conn, self.now);
        if link.is_stuck || !link.node_is_here {
            return false;
        }
        let Some(frame) = link.up.pop_front() else { return false };
        if let Some(endpoint) = &mut self.nodes[node].endpoint {
            endpoint.handle_input(now, conn, frame);
        }
        self.step();
        true
    }

    fn carry(&mut self, idx: usize) -> bool {
        let mut moved = false;
        while self.carry_up(idx) {
            moved = true;
        }
        let now = self.now;
        let link = &mut self.links[idx];
        if link.is_stuck || !link.client_is_here {
            return moved;
        }
        let client = link.client;
        let is_its = self.peers[client].link == Some(idx);
        while let Some(frame) = self.links[idx].down.pop_front() {
            moved = true;
            if is_its {
                self.peers[client].session.handle_input(now, frame);
            }
        }
        if !self.links[idx].node_is_here {
            moved = true;
            self.hang_up(idx);
        }
        moved
    }

    /// Time passes: from deadline to deadline.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now.after(by);
        self.flush();
        loop {
            let clients = self.peers.iter().filter_map(|peer| peer.session.poll_timeout());
            let nodes = self.nodes.iter().filter_map(|node| node.endpoint.as_ref()?.poll_timeout());
            let Some(next) = clients.chain(nodes).min().filter(|next| *next <= end.mono) else { break };
            self.now = self.now.after(next - self.now.mono);
            let now = self.now;
            for peer in &mut self.peers {
                peer.session.handle_timeout(now);
            }
            self.flush();
            for node in &mut self.nodes {
                if let Some(endpoint) = &mut node.endpoint {
                    endpoint.handle_timeout(now);
                    assert!(endpoint.poll_timeout().is_none_or(|at| at > now.mono), "the deadline did not move");
                }
            }
            self.flush();
        }
        self.now = end;
        self.flush();
    }
}

/// The application.
impl Cluster {
    fn attend(&mut self, node: usize, event: &EndpointEvent) {
        let now = self.now;
        match event {
            EndpointEvent::Authenticate(applicant) => self.judge(node, applicant),
            EndpointEvent::Submit { request, submit, .. } if self.nodes[node].accepts => {
                self.jobs += 1;
                let job = JobId::from(format!("job_{}", self.jobs).as_str());
                let accepted = JobAccepted::new(job.clone(), submit.agent.clone(), now.wall);
                if self.nodes[node].ep().accept_job(now, request, accepted).is_ok() {
                    self.nodes[node].workers.insert(job, 0);
                }
            }
            EndpointEvent::Cancel { request, job_id, .. } => {
                let endpoint = self.nodes[node].ep();
                let _ = endpoint.confirm_cancel(now, request, None);
                let error = WireError::new(ErrorCode::Cancelled, "as asked for");
                if endpoint.fail(now, job_id, JobError::new(error)).is_ok() {
                    self.nodes[node].workers.remove(job_id);
                }
            }
            EndpointEvent::Closed { reason: CloseReason::Fenced | CloseReason::Shutdown, jobs, .. } => {
                for job in jobs {
                    self.nodes[node].workers.remove(job);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn grant(&mut self, principal: &str) -> Grant {
        self.sessions += 1;
        self.tokens += 1;
        Grant {
            principal: Principal::from(principal),
            session_id: SessionId::from(format!("sess_{:03}", self.sessions).as_str()),
            resume_token: ResumeToken::new(format!("rt_{:032x}", self.tokens)),
            agents: Arc::from([]),
        }
    }

    fn judge(&mut self, node: usize, applicant: &Applicant) {
        let now = self.now;
        let bearer = applicant.credentials.token.as_ref().expect("a bearer");
        let principal = bearer.reveal().strip_prefix("secret-").expect("a known one").to_string();
        if let Some(wish) = &applicant.resume
            && !wish.is_here
            && self.nodes[node].adopts
            && let Some(id) = self.store.by_token(&wish.token_digest)
        {
            let _ = self.adopt(node, &id);
        }
        let grant = self.grant(&principal);
        let _ = self.nodes[node].ep().admit(now, applicant.conn, grant);
    }
}

/// A little generator, for what has to look random and be the same each time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}
