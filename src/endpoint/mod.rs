//! Many sessions: transports, authentication, resume by token, takeover, limits, jobs listed and fanned out.
//!
//! An [`Endpoint`] is what a runtime has in place of a heap of [`Session`](crate::Session)s: as pure as these, and under the
//! [same four sentences](crate#the-contract). It reads the first message of each transport, asks the application who that
//! is, gives the client a session or finds the one that its resume token belongs to, and wakes whoever is due. It keeps the
//! directory of jobs, answers `session.list_jobs` and `job.subscribe` from it under a [`Policy`], and gives what is
//! [published](Endpoint::publish) of a job to its submitter and to all who subscribed.
//!
//! # The loop
//!
//! A driver owns the transports and the clock. It feeds what it has read, sends, closes what is to be closed, attends to
//! events, and waits for a message or the deadline:
//!
#![cfg_attr(feature = "std", doc = "```")]
#![cfg_attr(not(feature = "std"), doc = "```ignore")]
//! use std::time::Duration;
//!
//! use arcp_proto::endpoint::{AdmitError, ConnId, Endpoint, EndpointEvent};
//! use arcp_proto::wire::{ErrorCode, FrameFault, JobAccepted, Principal, WireError};
//! use arcp_proto::{Clock, Grant, Now, Secrets};
//! use bytes::Bytes;
//!
//! /// What happened outside: here from the threads that accept and read.
//! enum Happened {
//!     Connected(Box<dyn Transport>),
//!     Message(ConnId, Result<Bytes, FrameFault>),
//!     /// It can take more again.
//!     Writable(ConnId),
//!     Gone(ConnId),
//! }
//!
//! trait Transport {
//!     /// The messages that are read come under this id from here on.
//!     fn named(&mut self, conn: ConnId);
//!     /// Whether it can take more after this one.
//!     fn send(&mut self, message: Bytes) -> bool;
//!     fn close(self: Box<Self>);
//! }
//!
//! trait Driver {
//!     fn transports(&mut self) -> &mut std::collections::BTreeMap<ConnId, Box<dyn Transport>>;
//!     fn wait(&mut self, at_most: Duration) -> Option<Happened>;
//! }
//!
//! fn turn(endpoint: &mut Endpoint, clock: &Clock, driver: &mut impl Driver) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut has_sent = true;
//!     while std::mem::take(&mut has_sent) {
//!         // 1. Attend to events, which may give more to send.
//!         while let Some(event) = endpoint.poll_event() {
//!             attend(endpoint, clock.now(), event)?;
//!         }
//!
//!         // 2. Send what there is to send. (What is to be stored is stored before this.) It may have made room in a window: then
//!         //    there are events again.
//!         while let Some((conn, message)) = endpoint.poll_transmit(clock.now()) {
//!             let is_writable = driver.transports().get_mut(&conn).is_some_and(|transport| transport.send(message));
//!             // Until the transport can take more, its session holds what there is to say.
//!             endpoint.set_writable(conn, is_writable);
//!             has_sent = true;
//!         }
//!     }
//!     // Close what is done with.
//!     while let Some(conn) = endpoint.poll_close() {
//!         driver.transports().remove(&conn).map(Transport::close);
//!     }
//!
//!     // 3. Wait. What was read goes before the time, but clients that never pause do not stop the clock.
//!     let wait = endpoint.poll_timeout().map_or(Duration::MAX, |at| clock.sleep_for(at));
//!     match driver.wait(wait) {
//!         Some(Happened::Connected(mut transport)) => {
//!             let conn = endpoint.connect(clock.now());
//!             transport.named(conn);
//!             driver.transports().insert(conn, transport);
//!         }
//!         Some(Happened::Message(conn, Ok(message))) => endpoint.handle_input(clock.now(), conn, message),
//!         Some(Happened::Message(conn, Err(fault))) => endpoint.handle_malformed(clock.now(), conn, fault),
//!         Some(Happened::Writable(conn)) => endpoint.set_writable(conn, true),
//!         Some(Happened::Gone(conn)) => {
//!             driver.transports().remove(&conn);
//!             endpoint.handle_disconnect(clock.now(), conn);
//!         }
//!         None => {}
//!     }
//!     if endpoint.poll_timeout().is_some_and(|at| clock.sleep_for(at).is_zero()) {
//!         endpoint.handle_timeout(clock.now());
//!     }
//!     Ok(())
//! }
//!
//! fn attend(endpoint: &mut Endpoint, now: Now, event: EndpointEvent) -> Result<(), Box<dyn std::error::Error>> {
//!     match event {
//!         // The verdict may also come later, from another thread or a directory service.
//!         EndpointEvent::Authenticate(applicant) => match principal_of(&applicant.credentials) {
//!             Some(principal) => {
//!                 let (session_id, resume_token) = (Secrets::session_id()?, Secrets::resume_token()?);
//!                 let grant = Grant { principal, session_id, resume_token, agents: [].into() };
//!                 match endpoint.admit(now, applicant.conn, grant) {
//!                     Ok(_) | Err(AdmitError::NobodyWaits) => {}
//!                     // The client has been told.
//!                     Err(AdmitError::ResumeRefused(_) | AdmitError::NoPlace(_)) => {}
//!                     // It has not, for the fault is in the grant: a client would wait in vain.
//!                     Err(unfit) => {
//!                         let error = WireError::new(ErrorCode::InternalError, unfit.to_string());
//!                         let _ = endpoint.reject(now, applicant.conn, error);
//!                     }
//!                 }
//!             }
//!             None => {
//!                 let error = WireError::new(ErrorCode::Unauthenticated, "who are you?");
//!                 let _ = endpoint.reject(now, applicant.conn, error);
//!             }
//!         },
//!         EndpointEvent::Submit { request, submit, .. } => {
//!             let accepted = JobAccepted::new(start(&submit), "echo@1.0.0", now.wall);
//!             let _ = endpoint.accept_job(now, &request, accepted);
//!         }
//!         // What these jobs were refused with `Blocked` can be published again.
//!         EndpointEvent::Writable { jobs, .. } => go_on(&jobs),
//!         _ => {}
//!     }
//!     Ok(())
//! }
//! # fn principal_of(_: &arcp_proto::wire::Credentials) -> Option<Principal> { None }
//! # fn start(_: &arcp_proto::wire::JobSubmit) -> arcp_proto::wire::JobId { "job_1".into() }
//! # fn go_on(_: &[arcp_proto::wire::JobId]) {}
//! # use Transport as _;
//! ```
//!
//! - [`wants_input`](Endpoint::wants_input) says whether to go on reading from a transport (D43): ask before each read, and
//!   again after events were polled.
//! - A call from elsewhere, such as a [`publish`](Endpoint::publish) by a job, gives messages to send and may move the deadline:
//!   it wakes the driver that waits.
//! - [`poll_audit`](Endpoint::poll_audit) gives what an operator logs. Nobody has to poll it.
//! - [`set_writable`](Endpoint::set_writable) is how a full socket pushes back: as long as a transport is not writable, its
//!   session keeps its events within its window, and its emitters are told `Blocked`.
//!
//! *History* (§7.6) is what the submitter has not acknowledged yet, for that is what its replay buffer holds: often nothing,
//! and of a job that has ended its status and no more. Whoever needs the past keeps it.
//!
//! The life of a transport is drawn at [`ConnId`], that of a session at [`Phase`](crate::Phase).
//!
//! # What is stored when
//!
//! By default nothing: sessions end with the process. With another [`Durability`], [`poll_change`](Endpoint::poll_change) gives
//! what a store has to write so that another process can go on: of each session its state (rewritten), its events (appended),
//! and its jobs. The repository's `docs/durability.md` has the whole table and what it costs; `examples/failover` is two
//! processes behind one Redis.
//!
//! | | `Batched` | `BeforeTransmit` |
//! |---|---|---|
//! | what leaves before it is stored | everything | no event; and no other message that was queued since the session's *state* changed: it is new, was resumed, took a job or a subscription. Heartbeats go on |
//! | cost | a write for as many events as one likes | a write before each event leaves, or for as many as were published since the last |
//! | the process dies | events not yet stored are gone. A client that has seen one of them cannot resume (its session is refused, visibly); one that has not misses nothing that a store knows of | nothing is lost, and nothing comes twice |
//! | a job's progress | is to be stored with its events, in one transaction, or it is repeated or skipped | the same |
//!
//! In both, the loop above stores between attending and sending:
//!
//! ```
//! # use arcp_proto::Now;
//! # use arcp_proto::endpoint::{Change, Endpoint};
//! enum Outcome {
//!     Written,
//!     /// The store has another generation of this session.
//!     Fenced,
//! }
//!
//! trait Store {
//!     /// In one transaction, if `change.generation` is the store's, or `change.is_new` and it has none.
//!     fn write(&mut self, change: &Change) -> Outcome;
//! }
//!
//! fn store(endpoint: &mut Endpoint, now: Now, store: &mut impl Store) {
//!     while let Some(change) = endpoint.poll_change() {
//!         match store.write(&change) {
//!             Outcome::Written => endpoint.stored(now, &change.id),
//!             Outcome::Fenced => drop(endpoint.fenced(now, &change.id)),
//!         }
//!     }
//! }
//! ```
//!
//! Writing may take its time: `stored` can come later, also after other changes of the same session were given out, as long as
//! these are written in order. It has to come at last, in both modes: what is given out is remembered until then.
//!
//! **Another process takes a session over** when a client comes to it with a token that it does not know
//! ([`ResumeWish::is_here`]): it looks the token's digest up in the store, raises the session's generation there by a
//! compare-and-set, [`adopt`](Endpoint::adopt)s what it read, and [`admit`](Endpoint::admit)s the client. Whoever had the
//! session before is refused its next write, by the generation, and is told by [`fenced`](Endpoint::fenced): so a session
//! lives in one place. Until that write it may believe that it has the session, and with `BeforeTransmit` its client hears
//! nothing from it meanwhile that the store does not have. Subscribers whose own sessions are there can: write the changes of
//! one round in one transaction where that matters.
//!
//! **Stopping a process** whose sessions are stored: stop the jobs, [`shutdown_all`](Endpoint::shutdown_all), and turn the loop
//! until nothing is left to be sent or stored. `shutdown` and a lost transport leave a session in the store, to go on
//! elsewhere; so does a client's goodbye, for its resume window. What expired or was [evicted](Endpoint::evict) is over there,
//! too.
//!
//! What is not stored: events that wait to be polled, requests without an answer (the client repeats a submit under
//! its `idempotency_key`, and an accepted one is stored with its job), and how long the process was gone: a resume window goes
//! on with what was left of it. Keys are known where their sessions are: a *new* session of the same principal, on another
//! machine than the one that took the job, does not find them.

// | room | what is in it |
// |---|---|
// | `drive`, `transmit`, `look` | what a driver calls, what goes out on which transport, the getters |
// | `connection`, `admission` | transports, and who is let in on them (D9, D13-D15) |
// | `registry`, `parking`, `limit`, `deadlines` | all sessions, who has to go, who is woken when |
// | `serve`, `queue`, `event`, `audit` | what sessions tell, and what is told of it |
// | `jobs`, `work`, `submit`, `requests`, `publish`, `subscribe`, `history` | jobs and who hears of them, seen from the job and from the session |
// | `directory`, `job_record`, `job_order`, `page`, `cursor`, `policy` | the jobs that can be listed, by whom (D30) |
// | `idempotency`, `fingerprint`, `result_stream` | the same submit twice (D41), results in pieces (D42) |
// | `durable`, `stored`, `adoption`, `shutdown` | sessions that outlive the process, or end with it |
// | `config`, `error` | what the user decides, and got wrong |
mod admission;
mod adoption;
mod audit;
mod config;
mod connection;
mod cursor;
mod deadlines;
mod directory;
mod drive;
mod durable;
mod error;
mod event;
mod fingerprint;
mod history;
mod idempotency;
mod job_order;
mod job_record;
mod jobs;
mod limit;
mod look;
mod page;
mod parking;
mod policy;
mod publish;
mod queue;
mod registry;
mod requests;
mod result_stream;
mod serve;
mod shutdown;
mod stored;
mod submit;
mod subscribe;
mod transmit;
mod work;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use core::fmt;

use bytes::BytesMut;

pub use admission::Admitted;
pub use adoption::{AdoptError, Adopted};
pub use audit::{AuditRecord, Audited};
pub use config::{Durability, EndpointConfig, Listing};
pub use connection::ConnId;
pub use directory::{DirectoryLimits, JobDirectory, StatusChange};
pub use error::{AcceptError, AdmitError, InsertError, PublishError, SetLeaseError};
pub use event::{Applicant, EndpointEvent, Request, ResumeWish};
pub use job_record::JobRecord;
pub use limit::{Counters, Limit};
pub use page::PageError;
pub use policy::{OwnJobs, Policy, Scope, Sight};
pub use publish::{Published, Receipt};
pub use result_stream::StreamError;
pub use stored::{Adoption, Change, ChangeId, JobState, SessionState};

use self::audit::AuditTrail;
use self::connection::{Connections, Stage};
use self::deadlines::{Deadlines, Sleeper};
use self::idempotency::IdempotencyKeys;
use self::jobs::Jobs;
use self::queue::EventQueue;
use self::registry::{Key, Registry};
use crate::session::DetachReason;
use crate::time::{Instant, Now};

/// All sessions of a runtime, and the transports that carry them. [The module's page](self) has the loop that drives it.
///
/// Its methods are of the same four kinds as a [`Session`](crate::Session)'s: `handle_*` take in what happened outside and never fail,
/// `poll_*` give out what is to be done, commands say by their `Err` what was wrong and then have changed nothing (but
/// where they say otherwise), the rest are getters.
#[derive(Clone)]
pub struct Endpoint {
    config: Arc<EndpointConfig>,
    clock: Now,
    conns: Connections,
    registry: Registry,
    deadlines: Deadlines,
    /// Transports that have something to send, in turn.
    sending: VecDeque<ConnId>,
    /// Transports to be closed.
    closing: VecDeque<ConnId>,
    events: EventQueue,
    audit: AuditTrail,
    counters: Counters,
    jobs: Jobs,
    /// Sessions that have something to be stored, by key and serial.
    changed: VecDeque<(Key, u64)>,
    /// The last of sessions that have ended.
    last_changes: VecDeque<Change>,
    /// Those that were given out and are not known to be stored.
    last_given: BTreeSet<ChangeId>,
    /// What is published is written into this, once for all who hear of it. Boxed, so that it is lent at little cost;
    /// `None` while it is.
    written: Option<Box<BytesMut>>,
    /// Nobody is let in any more.
    is_shutting_down: bool,
    /// The last call while too much waited to be polled for anything to be read.
    unread_until: Instant,
}

/// How much there is of everything; nothing of what was sent or received.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("connections", &self.conns.len())
            .field("sessions", &self.registry.len())
            .field("parked", &self.registry.parked())
            .field("next_timeout", &self.poll_timeout())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint without transports and sessions.
    #[must_use]
    pub fn new(config: impl Into<Arc<EndpointConfig>>) -> Endpoint {
        let config = config.into();
        let mut directory = config.directory.clone();
        // A page has to fit a frame.
        directory.page_bytes = directory.page_bytes.min(config.runtime.limits.max_frame / 2);
        Endpoint {
            jobs: Jobs {
                directory: JobDirectory::new(directory),
                audiences: BTreeMap::new(),
                keys: IdempotencyKeys::new(),
                policy: Arc::new(OwnJobs),
                awaited: BTreeMap::new(),
                stored_with: BTreeMap::new(),
                deadline: Instant::MAX,
            },
            audit: AuditTrail::new(config.audit_records),
            config,
            clock: Now::default(),
            conns: Connections::new(),
            registry: Registry::default(),
            deadlines: Deadlines::default(),
            sending: VecDeque::new(),
            closing: VecDeque::new(),
            events: EventQueue::default(),
            counters: Counters::default(),
            changed: VecDeque::new(),
            last_changes: VecDeque::new(),
            last_given: BTreeSet::new(),
            written: None,
            is_shutting_down: false,
            unread_until: Instant::ZERO,
        }
    }

    /// The same under another authorization policy; by default everybody sees their own jobs (A12).
    #[must_use]
    pub fn with_policy(mut self, policy: impl Policy + 'static) -> Endpoint {
        self.jobs.policy = Arc::new(policy);
        self
    }
}

impl Endpoint {
    /// Every call that brings a clock begins here.
    #[inline]
    fn tick(&mut self, now: Now) -> Now {
        self.clock = Now { mono: now.mono.max(self.clock.mono), wall: now.wall };
        if !self.has_room() {
            self.unread_until = self.clock.mono;
        }
        self.clock
    }

    /// What waits to be polled, of all together, leaves room for more to be read.
    #[inline]
    fn has_room(&self) -> bool {
        self.events.bytes() < self.config.event_bytes / 2 || self.events.bytes() == 0
    }

    /// What is due at a session.
    fn session_timed_out(&mut self, now: Now, key: Key) {
        let unread_until = self.unread_until;
        if let Some(member) = self.registry.get_mut(key) {
            member.session.excuse_silence(unread_until);
            member.session.handle_timeout(now);
        }
        self.serve(now, key);
    }

    fn is_judged(&self, conn: ConnId) -> bool {
        matches!(self.conns.get(conn).map(|conn| &conn.stage), Some(Stage::Judging(_)))
    }

    fn key_on(&self, conn: ConnId) -> Option<Key> {
        match self.conns.get(conn)?.stage {
            Stage::Attached(key) => Some(key),
            _ => None,
        }
    }

    fn set_conn_deadline(&mut self, conn: ConnId, at: Instant) {
        if let Some(state) = self.conns.get_mut(conn) {
            let before = core::mem::replace(&mut state.deadline, at);
            self.deadlines.change(Sleeper::Conn(conn.slot()), before, at);
        }
    }

    fn set_session_deadline(&mut self, key: Key) {
        if let Some(member) = self.registry.get_mut(key) {
            let at = member.session.poll_timeout().unwrap_or(Instant::MAX);
            let before = core::mem::replace(&mut member.deadline, at);
            self.deadlines.change(Sleeper::Session(key), before, at);
        }
    }

    fn forget_conn(&mut self, conn: ConnId) {
        self.set_conn_deadline(conn, Instant::MAX);
        self.conns.remove(conn);
    }

    fn conn_timed_out(&mut self, now: Now, slot: u32) {
        let Some(conn) = self.conns.in_slot(slot) else { return };
        match self.conns.get(conn).map(|conn| &conn.stage) {
            Some(Stage::Fresh | Stage::Judging(_)) => self.opening_timed_out(now, conn),
            // Nobody reads its last messages.
            Some(Stage::Leaving(_)) => self.order_close(conn),
            Some(Stage::Attached(_)) | None => self.set_conn_deadline(conn, Instant::MAX),
        }
    }

    /// Gives a session's transport up, for what the session's own limits do not allow.
    fn give_up(&mut self, now: Now, key: Key, reason: DetachReason) {
        if let Some(member) = self.registry.get_mut(key) {
            member.session.give_up(now, reason);
        }
        self.serve(now, key);
    }
}
