//! What of each session the store does not have yet, and what has to wait for it.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::Endpoint;
use super::config::Durability;
use super::connection::ConnId;
use super::registry::{Key, Member, Rank};
use super::stored::{Change, ChangeId, JobState, SessionState};
use crate::session::{CloseReason, FormatVersion, Runtime, Session};
use crate::time::Now;
use crate::wire::{JobId, SessionId};

/// Of a session that began here.
pub(super) const FIRST_GENERATION: u64 = 1;

/// What was given out and is not known to be stored.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    ticket: u64,
    /// The last event that is in it.
    last: u64,
    /// Of the messages that were queued on the attachment, those behind so many wait for it; [`u32::MAX`]: none does.
    awaited_from: u32,
}

/// A session's standing with the store.
#[derive(Clone, Debug)]
pub(super) struct Durable {
    pub(super) generation: u64,
    /// Its state has changed, and of the messages that were queued on the attachment, those behind so many may not leave
    /// before that is stored; [`u32::MAX`]: it has not.
    awaited_from: u32,
    /// Its state has changed in a way that may be stored later.
    is_stale: bool,
    /// The last event that was given out to be stored, and the last that is stored.
    given: u64,
    stored: u64,
    /// The floor that the store knows of.
    floor: u64,
    jobs: BTreeSet<JobId>,
    forgotten_jobs: Vec<JobId>,
    in_flight: VecDeque<InFlight>,
    tickets: u64,
    is_queued: bool,
}

impl Durable {
    /// Of a session of which the store has nothing but events up to `stored`.
    pub(super) fn new(generation: u64, stored: u64) -> Durable {
        Durable {
            generation,
            awaited_from: 0,
            is_stale: false,
            given: stored,
            stored,
            floor: 0,
            jobs: BTreeSet::new(),
            forgotten_jobs: Vec::new(),
            in_flight: VecDeque::new(),
            tickets: 0,
            is_queued: false,
        }
    }

    fn has_news(&self, session: &Session<Runtime>) -> bool {
        let has_jobs = !self.jobs.is_empty() || !self.forgotten_jobs.is_empty();
        let has_events = session.last_event_seq() > self.given || session.replay_floor() > self.floor;
        self.is_urgent() || self.is_stale || has_jobs || has_events
    }

    fn is_urgent(&self) -> bool {
        self.awaited_from != u32::MAX
    }

    /// How many of the messages that were queued on the attachment may leave.
    fn may_leave(&self) -> u32 {
        self.in_flight.iter().map(|change| change.awaited_from).fold(self.awaited_from, u32::min)
    }
}

/// Storing sessions, so that they outlive the process: see [the module's page](super).
impl Endpoint {
    /// The next change to be stored, of one session. `None`: the store has everything, or will once it has what was given.
    ///
    /// Changes of one session are to be stored in the order in which they are given; those of several are
    /// independent, save that a job's event stands once for its submitter and once for each subscriber: stored together, what
    /// is polled until `None` is as durable for these as for that.
    #[must_use = "what is given here is not given again"]
    pub fn poll_change(&mut self) -> Option<Change> {
        if let Some(last) = self.last_changes.pop_front() {
            self.last_given.insert(last.id.clone());
            return Some(last);
        }
        while let Some((key, serial)) = self.changed.pop_front() {
            if self.registry.same(key, serial).is_some()
                && let Some(change) = self.change_of(key)
            {
                return Some(change);
            }
        }
        None
    }

    /// A change is stored: what waited for it may leave.
    pub fn stored(&mut self, now: Now, change: &ChangeId) {
        let now = self.tick(now);
        self.last_given.remove(change);
        let Some(key) = self.registry.key_of(&change.session) else { return };
        let Some(member) = self.registry.get_mut(key) else { return };
        let Some(durable) = member.durable.as_mut().filter(|durable| durable.generation == change.generation) else {
            return;
        };
        while let Some(first) = durable.in_flight.front().copied().filter(|first| first.ticket <= change.ticket) {
            durable.in_flight.pop_front();
            durable.stored = durable.stored.max(first.last);
        }
        self.hold_back(key);
        self.serve(now, key);
    }

    /// A change was not stored, for the store has another generation of its session: that is [fenced](Endpoint::fence). Where
    /// the session has come back here meanwhile, in another generation than the change's, nothing happens. Says whether
    /// there was such a session.
    pub fn fenced(&mut self, now: Now, change: &ChangeId) -> bool {
        // It is done with, whoever has the session now.
        self.last_given.remove(change);
        let member = self.registry.by_id(&change.session);
        let is_it = member.is_some_and(|member| member.generation() == change.generation);
        is_it && self.fence(now, &change.session)
    }

    /// A session lives on another machine. Here it ends at once, its transport, if it has one, is closed without a word, and
    /// its jobs are no longer this process's to run: `Closed` names them. A client that was attached here resumes where the
    /// session is. Says whether there was such a session.
    pub fn fence(&mut self, now: Now, session: &SessionId) -> bool {
        let now = self.tick(now);
        let first = ChangeId { session: session.clone(), generation: 0, ticket: 0 };
        while let Some(given) = self.last_given.range(&first..).next().filter(|given| given.session == *session) {
            let given = given.clone();
            self.last_given.remove(&given);
        }
        let key = self.registry.key_of(session);
        if let Some(key) = key {
            if let Some(member) = self.registry.get_mut(key) {
                member.session.expel(now, CloseReason::Fenced, None);
            }
            self.serve(now, key);
        }
        key.is_some()
    }

    /// Whether `poll_change` has given something out that is not stored, or has something to give.
    #[must_use]
    pub fn has_unstored(&self) -> bool {
        let of_member = |member: &Member| {
            member.durable.as_ref().is_some_and(|durable| durable.is_queued || !durable.in_flight.is_empty())
        };
        !self.last_changes.is_empty() || !self.last_given.is_empty() || self.registry.iter().any(of_member)
    }
}

impl Endpoint {
    /// A new session here, of which the store has events up to `stored`.
    pub(super) fn make_durable(&mut self, key: Key, generation: u64, stored: u64) {
        if self.config.durability == Durability::Volatile {
            return;
        }
        if let Some(member) = self.registry.get_mut(key) {
            member.durable = Some(Box::new(Durable::new(generation, stored)));
            self.hold_back(key);
        }
    }

    /// Whether the session can outlive this process.
    pub(super) fn is_durable(&self, key: Key) -> bool {
        self.registry.durable(key).is_some()
    }

    /// What is not stored may not leave.
    fn hold_back(&mut self, key: Key) {
        let Some(member) = self.registry.get_mut(key) else { return };
        if self.config.durability == Durability::BeforeTransmit
            && let Some(durable) = &member.durable
        {
            member.session.hold_events_after(durable.stored);
            member.session.hold_control_after(durable.may_leave());
        }
    }

    /// The session's state changes: no message that is queued from here on leaves before that is stored.
    pub(super) fn state_changes(&mut self, key: Key) {
        let queued = self.registry.get(key).map_or(0, |member| member.session.control_queued());
        self.state_changes_from(key, queued);
    }

    /// The session is on another transport: not even its welcome leaves before that is stored.
    pub(super) fn attachment_changed(&mut self, key: Key) {
        self.state_changes_from(key, 0);
    }

    fn state_changes_from(&mut self, key: Key, queued: u32) {
        if let Some(durable) = self.registry.durable_mut(key) {
            durable.awaited_from = durable.awaited_from.min(queued);
            self.hold_back(key);
            self.queue_change(key);
        }
    }

    /// The session's state has changed; it is stored when there is time.
    pub(super) fn state_aged(&mut self, key: Key) {
        if let Some(durable) = self.registry.durable_mut(key) {
            durable.is_stale = true;
            self.queue_change(key);
        }
    }

    /// A job's state has changed, which is stored with its submitter's session.
    pub(super) fn job_changed(&mut self, job: &JobId) {
        if self.config.durability == Durability::Volatile {
            return;
        }
        let submitter = self.jobs.audiences.get(job).and_then(|audience| audience.submitter);
        let durable = submitter.and_then(|key| self.registry.durable_mut(key));
        if let Some(durable) = durable {
            durable.jobs.insert(job.clone());
        }
        if let Some(key) = submitter {
            self.queue_change(key);
        }
    }

    /// A job is no longer known.
    pub(super) fn job_forgotten(&mut self, job: &JobId) {
        let session = self.jobs.stored_with.remove(job);
        let key = session.and_then(|session| self.registry.key_of(&session));
        if let Some(key) = key
            && let Some(durable) = self.registry.durable_mut(key)
        {
            durable.jobs.remove(job);
            durable.forgotten_jobs.push(job.clone());
            self.queue_change(key);
        }
    }

    /// Whether a welcome waits for the store. It must not leave before a farewell either, and no farewell without it: then
    /// the transport is closed without a word, and the token that the client presented stays good (D3).
    pub(super) fn owes_welcome(&self, key: Key, conn: ConnId) -> bool {
        let durable = self.registry.durable(key);
        let is_held = durable.is_some_and(|durable| durable.may_leave() == 0);
        let is_welcomed = self.conns.get(conn).is_none_or(|conn| conn.is_welcomed);
        self.config.durability == Durability::BeforeTransmit && is_held && !is_welcomed
    }

    /// Puts the session into the queue of those that have something to be stored.
    pub(super) fn queue_change(&mut self, key: Key) {
        let Some(member) = self.registry.get_mut(key) else { return };
        if let Some(durable) = &mut member.durable
            && !durable.is_queued
            && durable.has_news(&member.session)
        {
            durable.is_queued = true;
            self.changed.push_back((key, member.serial));
        }
    }

    fn change_of(&mut self, key: Key) -> Option<Change> {
        let now = self.clock;
        let member = self.registry.get_mut(key)?;
        member.session.note_time(now);
        let said_goodbye = member.rank() == Some(Rank::Closed);
        let session = member.session.session_id()?.clone();
        let durable = member.durable.as_mut()?;
        durable.is_queued = false;
        // While events are left, these tell how far the session is, and a new floor needs no new state.
        let is_emptied = member.session.replay_floor() > durable.floor && member.session.replay_len().0 == 0;
        let has_state = durable.is_urgent() || durable.is_stale || is_emptied;
        let subscriptions = member.work.as_ref().map(|work| work.subscribed.iter().cloned().collect());
        let state = has_state.then(|| SessionState {
            version: FormatVersion,
            session: member.session.snapshot(),
            subscriptions: subscriptions.unwrap_or_default(),
            said_goodbye,
        });
        let events: Vec<_> = member.session.events_since(durable.given).collect();
        let awaited_from = core::mem::replace(&mut durable.awaited_from, u32::MAX);
        durable.is_stale = false;
        durable.given = member.session.last_event_seq();
        let freed = durable.floor + 1..=member.session.replay_floor();
        // With its last event the store would lose where the job stands in the sequence.
        let submitted = member.work.iter().filter(|_| !freed.is_empty()).flat_map(|work| &work.submitted);
        for job in submitted {
            if self.jobs.directory.get(job).is_some_and(|record| freed.contains(&record.last_event_seq)) {
                durable.jobs.insert(job.clone());
            }
        }
        durable.floor = *freed.end();
        durable.tickets += 1;
        let (ticket, generation, floor) = (durable.tickets, durable.generation, durable.floor);
        durable.in_flight.push_back(InFlight { ticket, last: durable.given, awaited_from });
        let changed = core::mem::take(&mut durable.jobs);
        let forgotten_jobs = core::mem::take(&mut durable.forgotten_jobs);
        let jobs = changed.iter().filter_map(|job| self.job_state(job)).collect();
        let id = ChangeId { session: session.clone(), generation, ticket };
        let is_new = generation == FIRST_GENERATION && ticket == 1;
        Some(Change { id, session, generation, is_new, state, events, floor, jobs, forgotten_jobs, is_over: false })
    }

    fn job_state(&self, job: &JobId) -> Option<JobState> {
        let record = self.jobs.directory.get(job)?.clone();
        let stream = self.jobs.audiences.get(job).map(|audience| audience.stream.clone()).unwrap_or_default();
        Some(JobState { record, key: self.jobs.keys.of_job(job), stream })
    }

    /// A session ends: the last that the store hears of it. One that was shut down can be resumed elsewhere (D32).
    pub(super) fn last_change(&mut self, key: Key, reason: &CloseReason) {
        let durable = self.registry.durable_mut(key);
        let Some(durable) = durable.filter(|_| *reason != CloseReason::Fenced) else { return };
        let is_over = *reason != CloseReason::Shutdown;
        // With what is left of its window now.
        durable.is_stale |= !is_over;
        if let Some(mut change) = self.change_of(key) {
            if is_over {
                // A store that is down for a while costs a note by session, not what the sessions held.
                change = Change { state: None, events: Vec::new(), jobs: Vec::new(), is_over, ..change };
            }
            self.last_changes.push_back(change);
        }
    }
}
