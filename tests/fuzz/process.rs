//! An endpoint with its transports and its store, and what has to be true of all that comes out of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use arcp_proto::endpoint::{
    Admitted, Change, ConnId, Counters, Durability, Endpoint, EndpointConfig, EndpointEvent, Listing, Request,
};
use arcp_proto::wire::{Credentials, Envelope, JobId, Jobs, MessageType, Principal, SessionId};
use arcp_proto::{Instant, Now};
use bytes::Bytes;

use crate::contract;
use crate::script::Args;
use crate::store::Store;

/// A transport, as its client sees it.
#[derive(Clone, Default)]
pub(crate) struct Link {
    pub(crate) is_writable: bool,
    /// The first message came down.
    has_begun: bool,
    /// Whose session is on it.
    pub(crate) session: Option<(SessionId, Principal)>,
    /// The next event that may come.
    pub(crate) next_seq: Option<u64>,
    /// Ids of requests that it sent.
    pub(crate) ids: Vec<String>,
}

impl Link {
    pub(crate) fn new() -> Link {
        Link { is_writable: true, ..Link::default() }
    }
}

#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) endpoint: Endpoint,
    config: EndpointConfig,
    /// The latest that it was told.
    pub(crate) now: Now,
    /// The driver does not poll.
    pub(crate) is_lazy: bool,
    pub(crate) links: BTreeMap<ConnId, Link>,
    /// Who waits to be let in, and who that is.
    pub(crate) applicants: Vec<(ConnId, Option<Principal>)>,
    pub(crate) asked: Vec<Request>,
    /// Sessions of which `Closed` was not told, and whose they are.
    pub(crate) owners: BTreeMap<SessionId, Principal>,
    /// Whose sessions are and were.
    principals: BTreeMap<SessionId, Principal>,
    /// How often each of those that live began here: it may have been elsewhere, and be back before its first end is told.
    lives: BTreeMap<SessionId, u32>,
    /// Who had jobs of these ids.
    pub(crate) jobs: BTreeMap<JobId, BTreeSet<Principal>>,
    store: Store,
    /// Changes that the store has not confirmed.
    in_flight: VecDeque<Change>,
    counters: Counters,
}

/// What an endpoint still has to say.
#[derive(Debug, PartialEq)]
pub(crate) struct Rest {
    frames: Vec<(ConnId, Bytes)>,
    events: Vec<String>,
    closed: Vec<ConnId>,
    deadline: Option<Instant>,
}

/// Who presents these credentials: four are known by a digit, others are one of them, and who has none is nobody.
fn principal_of(credentials: &Credentials) -> Option<Principal> {
    let digit = credentials.token.as_ref()?.reveal().bytes().last()?.wrapping_sub(b'0');
    Some(Principal::from(format!("p{}", if digit < 4 { digit } else { 0 }).as_str()))
}

impl Process {
    pub(crate) fn new(config: EndpointConfig) -> Process {
        Process {
            endpoint: Endpoint::new(config.clone()),
            config,
            now: contract::start(),
            is_lazy: false,
            links: BTreeMap::new(),
            applicants: Vec::new(),
            asked: Vec::new(),
            owners: BTreeMap::new(),
            principals: BTreeMap::new(),
            lives: BTreeMap::new(),
            jobs: BTreeMap::new(),
            store: Store::default(),
            in_flight: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn rest(&self) -> Rest {
        let (mut endpoint, now) = (self.endpoint.clone(), self.now);
        let mut rest = Rest { frames: Vec::new(), events: Vec::new(), closed: Vec::new(), deadline: None };
        loop {
            let (frame, event, closed) = (endpoint.poll_transmit(now), endpoint.poll_event(), endpoint.poll_close());
            if frame.is_none() && event.is_none() && closed.is_none() {
                rest.deadline = endpoint.poll_timeout();
                return rest;
            }
            rest.frames.extend(frame);
            rest.events.extend(event.map(|event| format!("{event:?}")));
            rest.closed.extend(closed);
        }
    }

    /// Time has come (4).
    pub(crate) fn tick(&mut self, now: Now) {
        self.endpoint.handle_timeout(now);
        let next = self.endpoint.poll_timeout();
        assert!(next.is_none_or(|at| at > self.now.mono), "{next:?} did not move");
    }

    /// All is polled, stored and closed until there is nothing: then there is nothing.
    pub(crate) fn drain(&mut self) {
        while self.transmit(1) + self.poll(1) + self.close() + self.write(1) + self.confirm(1) > 0 {}
        assert_eq!(self.transmit(1) + self.poll(1) + self.close(), 0, "something after a round without anything");
    }

    /// (2): until the deadline, too.
    pub(crate) fn stays_drained(&self) {
        let (mut endpoint, now) = (self.endpoint.clone(), self.now);
        let deadline = endpoint.poll_timeout();
        let until = deadline.map_or(Duration::from_secs(3_600), |at| at - now.mono);
        for at in [now, now.after(until / 2), now.after(until.saturating_sub(Duration::from_millis(1)))] {
            if deadline.is_some_and(|deadline| deadline <= at.mono) {
                return;
            }
            assert!(endpoint.poll_event().is_none(), "an event after the end of them");
            assert!(endpoint.poll_transmit(at).is_none(), "a message after the end of them");
            assert!(endpoint.poll_close().is_none(), "a transport to close after the end of them");
            endpoint.handle_timeout(at);
            assert_eq!(endpoint.poll_timeout(), deadline, "something was left to be done");
        }
    }

    pub(crate) fn transmit(&mut self, most: u64) -> u64 {
        for n in 0..most {
            let Some((conn, frame)) = self.endpoint.poll_transmit(self.now) else { return n };
            self.sent(conn, frame);
        }
        most
    }

    fn sent(&mut self, conn: ConnId, frame: Bytes) {
        let link = self.links.get_mut(&conn).expect("a message for a transport that is there");
        assert!(link.is_writable, "a message for a transport that is not writable");
        let envelope = Envelope::decode(frame.clone()).expect("all that is sent is an envelope");
        assert!(!frame.contains(&b'\n') && !frame.contains(&b'\r'), "a line end in a frame");
        let session = envelope.to_session_id().expect("every frame names a session");
        let message = envelope.message_type().expect("of a type that we know");
        let is_first = !std::mem::replace(&mut link.has_begun, true);
        let is_welcome = message == MessageType::SessionWelcome;
        assert!(is_first || !is_welcome, "a welcome first, and never again");
        if is_welcome {
            let owner = self.principals.get(&session).expect("a session that was admitted").clone();
            link.session = Some((session, owner));
            return;
        }
        assert!(!is_first || message == MessageType::SessionError, "a {message} is no beginning");
        let Some((on_it, owner)) = &link.session else { return };
        assert_eq!(*on_it, session, "a message of another session");
        if let Some(seq) = envelope.event_seq() {
            let acked = self.endpoint.session(&session).map_or(u64::MAX, |session| session.acked_seq());
            let is_next = link.next_seq.is_none_or(|next| seq == next || (seq > next && seq - 1 <= acked));
            assert!(is_next, "{seq} where {:?} is next", link.next_seq);
            link.next_seq = Some(seq + 1);
            let job = envelope.to_job_id().expect("an event is a job's");
            let owners = self.jobs.get(&job).expect("a job that there was");
            assert!(owners.contains(owner), "{owner} hears of {job}, which is another's (A12)");
            let is_held = self.config.durability == Durability::BeforeTransmit;
            assert!(!is_held || self.store.has(&session, seq), "{seq} leaves before it is stored");
        }
        if message == MessageType::SessionJobs && self.config.listing == Listing::Directory {
            let page: Jobs = envelope.payload().expect("a page");
            for entry in page.jobs {
                let owners = self.jobs.get(&entry.job_id).expect("a job that there was");
                assert!(owners.contains(owner), "{owner} is shown {}, which is another's (A12)", entry.job_id);
            }
        }
    }

    pub(crate) fn poll(&mut self, most: u64) -> u64 {
        for n in 0..most {
            let Some(event) = self.endpoint.poll_event() else { return n };
            self.told(&event);
        }
        most
    }

    fn told(&mut self, event: &EndpointEvent) {
        let session = match event {
            EndpointEvent::Authenticate(applicant) => {
                assert!(self.links.contains_key(&applicant.conn), "somebody on a transport that is gone");
                let is_waiting = self.applicants.iter().any(|(conn, _)| *conn == applicant.conn);
                assert!(!is_waiting, "somebody is to be judged twice");
                return self.applicants.push((applicant.conn, principal_of(&applicant.credentials)));
            }
            EndpointEvent::Submit { request, .. }
            | EndpointEvent::Cancel { request, .. }
            | EndpointEvent::ListJobs { request, .. } => {
                assert!(!self.asked.contains(request), "{request} is asked twice");
                self.asked.push(request.clone());
                &request.session
            }
            EndpointEvent::Closed { session, .. }
            | EndpointEvent::Resumed { session, .. }
            | EndpointEvent::Writable { session, .. }
            | EndpointEvent::BackPressure { session, .. }
            | EndpointEvent::Vendor { session, .. }
            | EndpointEvent::Violation { session, .. }
            | EndpointEvent::Detached { session, .. }
            | EndpointEvent::WindowElapsed { session } => session,
            _ => return,
        };
        let lives = self.lives.get_mut(session).filter(|lives| **lives > 0);
        let lives = lives.unwrap_or_else(|| panic!("{event:?} after Closed"));
        if matches!(event, EndpointEvent::Closed { .. }) {
            *lives -= 1;
            if *lives == 0 {
                self.owners.remove(session);
            }
        }
    }

    pub(crate) fn admitted(&mut self, admitted: Admitted, principal: Principal) {
        let before = self.owners.insert(admitted.session.clone(), principal.clone());
        if admitted.resumed {
            assert_eq!(before, Some(principal), "somebody else's session (D14)");
        } else {
            self.principals.insert(admitted.session.clone(), principal);
            *self.lives.entry(admitted.session).or_default() += 1;
        }
    }

    fn close(&mut self) -> u64 {
        let Some(conn) = self.endpoint.poll_close() else { return 0 };
        assert!(self.links.remove(&conn).is_some(), "a transport is closed that is gone");
        self.applicants.retain(|(applicant, _)| *applicant != conn);
        1
    }

    /// Gives changes to the store.
    fn write(&mut self, most: u64) -> u64 {
        for n in 0..most {
            let Some(change) = self.endpoint.poll_change() else { return n };
            assert!(self.config.durability != Durability::Volatile, "there is nothing to store");
            self.in_flight.push_back(change);
        }
        most
    }

    /// The store has written them, or refuses them.
    fn confirm(&mut self, most: u64) -> u64 {
        for n in 0..most {
            let Some(change) = self.in_flight.pop_front() else { return n };
            match self.store.write(&change) {
                Ok(()) => self.endpoint.stored(self.now, &change.id),
                Err(_) => drop(self.endpoint.fenced(self.now, &change.id)),
            }
        }
        most
    }

    pub(crate) fn store_some(&mut self, args: &mut Args<'_>) {
        let most = args.number();
        if args.flag() {
            self.confirm(most);
        } else {
            self.write(most);
        }
    }

    /// The process dies and another goes on, or another takes a session that is here, or it comes back.
    pub(crate) fn adopt_some(&mut self, args: &mut Args<'_>, now: Now) {
        let sessions = self.store.sessions();
        let Some(session) = sessions.get(usize::from(args.byte()) % sessions.len().max(1)) else { return };
        match args.below(3) {
            0 => {
                let config = self.config.clone();
                let store = std::mem::take(&mut self.store);
                let (now, jobs) = (self.now, std::mem::take(&mut self.jobs));
                *self = Process { now, store, jobs, is_lazy: self.is_lazy, ..Process::new(config) };
                sessions.iter().for_each(|session| self.adopt(session, now));
            }
            1 => drop(self.store.take(session)),
            _ => self.adopt(session, now),
        }
    }

    fn adopt(&mut self, session: &SessionId, now: Now) {
        let Some(adoption) = self.store.take(session) else { return };
        let principal = adoption.state.session().principal().clone();
        if self.endpoint.adopt(now, adoption).is_ok() {
            self.owners.insert(session.clone(), principal.clone());
            self.principals.insert(session.clone(), principal);
            *self.lives.entry(session.clone()).or_default() += 1;
        }
    }

    pub(crate) fn hold_to_limits(&mut self) {
        let (endpoint, config) = (&mut self.endpoint, &self.config);
        assert!(endpoint.session_count() <= config.sessions);
        for owner in self.owners.values() {
            assert!(endpoint.session_count_of(owner) <= config.sessions_per_principal);
        }
        let (parked, bytes) = endpoint.parked();
        assert!(parked <= config.parked_sessions && bytes <= config.parked_bytes, "{parked} with {bytes} bytes");
        let (_, opening) = endpoint.connection_count();
        assert!(opening <= config.opening_connections);
        assert!(endpoint.jobs().len() <= config.directory.jobs);
        let records = std::iter::from_fn(|| endpoint.poll_audit()).count();
        assert!(records <= config.audit_records);
        let after = endpoint.counters();
        let before = std::mem::replace(&mut self.counters, after);
        let counted =
            |counters: &Counters| [counters.connections, counters.admitted, counters.resumed, counters.closed];
        assert!(counted(&before).iter().zip(counted(&after)).all(|(before, after)| *before <= after));
    }

    /// Whatever happened, it ends: all transports are closed, and nothing is left.
    pub(crate) fn end(mut self) {
        self.drain();
        self.tick(self.now);
        self.drain();
        self.stays_drained();
        self.endpoint.shutdown_all(self.now, "maintenance");
        self.drain();
        // The farewells have their time, and what is not read of them is given up.
        for _ in 0..3 {
            self.now = self.now.after(self.config.farewell_timeout);
            self.tick(self.now);
            self.drain();
        }
        assert_eq!(self.endpoint.session_count(), 0, "sessions are left");
        assert_eq!(self.endpoint.connection_count(), (0, 0), "transports are left");
        assert!(self.links.is_empty() && self.owners.is_empty(), "{:?} were not told to be closed", self.owners);
        self.endpoint.handle_timeout(Now::new(Instant::MAX, self.now.wall));
        assert_eq!(self.endpoint.poll_timeout(), None, "something is later than the end of time");
    }
}
