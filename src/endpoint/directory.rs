//! The jobs that can be listed (A11, A12, D30).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use slab::Slab;

use super::error::{InsertError, SetLeaseError};
use super::job_order::{JobOrder, Newest, Place, Slot, StatusSet, Stretch, is_known};
use super::job_record::JobRecord;
use crate::time::Instant;
use crate::wire::{
    Budget, Credential, JobEntry, JobId, JobStatus, Lease, LeaseConstraints, MAX_ID_LEN, Principal, SessionId,
};

/// The limits of a [`JobDirectory`]; all are finite (D30).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryLimits {
    /// How long an ended job stays. 600 s: as long as its session can be resumed.
    pub terminal_retention: Duration,
    /// Ended jobs of one principal; beyond it the one that ended first goes. 100 000.
    pub terminal_per_principal: usize,
    /// Jobs in all. 1 000 000; beyond it the ended one that ended first goes, and if none has ended, the new one is
    /// refused. Never above 2^32 − 1.
    pub jobs: usize,
    /// Jobs that one page looks at; 0 counts as 1. 10 000.
    pub examined: usize,
    /// The length of the JSON of a page's jobs, in bytes. 256 KiB. A job whose entry alone is longer is refused.
    pub page_bytes: usize,
    /// Principals of a scope whose jobs are merged; those of a larger scope are looked for among everybody's. 256.
    pub merged_principals: usize,
}

impl Default for DirectoryLimits {
    fn default() -> DirectoryLimits {
        DirectoryLimits {
            terminal_retention: Duration::from_secs(600),
            terminal_per_principal: 100_000,
            jobs: 1_000_000,
            examined: 10_000,
            page_bytes: 256 << 10,
            merged_principals: 256,
        }
    }
}

/// What came of a [`JobDirectory::set_status`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusChange {
    /// There is no such job; nothing changed.
    NoSuchJob,
    /// The status is none of the draft's; nothing changed.
    ForeignStatus,
    /// The job has ended, and an end is final (§7.3); nothing changed.
    AlreadyEnded,
    /// It stood so before.
    Unchanged,
    /// It goes on, standing otherwise.
    Changed,
    /// It ended.
    Ended {
        /// The ended job of the same principal that went, because there are too many (D30).
        dropped: Option<JobId>,
    },
}

/// Jobs, found by id and listed newest first by who may see them (A11, A12, D30).
///
/// A page costs the logarithm of the number of jobs and what it holds, in the scope of one principal and with any choice
/// of statuses and times; a filter by agent looks at [`DirectoryLimits::examined`] jobs at most.
///
/// It has no clock: ended jobs stay until [`handle_timeout`](JobDirectory::handle_timeout), which is due at
/// [`poll_timeout`](JobDirectory::poll_timeout).
///
/// ```
/// use arcp_proto::wire::{JobQuery, JobStatus, Principal};
/// use arcp_proto::endpoint::{DirectoryLimits, JobDirectory, JobRecord, OwnJobs};
/// use arcp_proto::{Instant, Timestamp};
///
/// let (alice, bob) = (Principal::from("alice"), Principal::from("bob"));
/// let mut jobs = JobDirectory::new(DirectoryLimits::default());
/// let job = JobRecord::new("job_1".into(), alice.clone(), "code-refactor@2.0.0", Timestamp::EPOCH);
/// jobs.insert(Instant::ZERO, job)?;
/// jobs.set_status(Instant::ZERO, &"job_1".into(), JobStatus::Running);
///
/// let running = JobQuery::default().with_status([JobStatus::Running]);
/// assert_eq!(jobs.page(&alice, &OwnJobs, &running).unwrap().jobs.len(), 1);
/// assert_eq!(jobs.page(&bob, &OwnJobs, &running).unwrap().jobs.len(), 0);
/// # Ok::<(), arcp_proto::endpoint::InsertError>(())
/// ```
#[derive(Clone)]
pub struct JobDirectory {
    pub(super) limits: DirectoryLimits,
    /// Boxed, so that it grows without moving the records, by 16 bytes a job at a time.
    jobs: Slab<Box<Listed>>,
    by_id: BTreeMap<JobId, Slot>,
    all: JobOrder,
    principals: BTreeMap<Principal, Owned>,
    /// Ended jobs by the number of their end, which is also the order of their deadlines.
    ended: BTreeMap<u64, Slot>,
    endings: u64,
    /// The latest time that was seen.
    now: Instant,
}

/// A job and what is known of it besides.
#[derive(Clone)]
pub(super) struct Listed {
    pub(super) record: JobRecord,
    ending: Option<Ending>,
    /// The length of its entry without status and sequence number.
    fixed_len: u32,
}

#[derive(Clone, Copy)]
struct Ending {
    number: u64,
    at: Instant,
}

/// The jobs of one principal.
#[derive(Clone, Default)]
struct Owned {
    order: JobOrder,
    ended: BTreeMap<u64, Slot>,
}

impl JobDirectory {
    /// An empty directory.
    #[must_use]
    pub fn new(limits: DirectoryLimits) -> JobDirectory {
        JobDirectory {
            limits,
            jobs: Slab::new(),
            by_id: BTreeMap::new(),
            all: JobOrder::default(),
            principals: BTreeMap::new(),
            ended: BTreeMap::new(),
            endings: 0,
            now: Instant::ZERO,
        }
    }

    /// How many jobs there are, ended ones that still stay included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Takes a job in. One that has ended (it came from another machine, say) stays for the whole retention from `now`.
    ///
    /// Gives the ended job that went in its place, if one had to.
    ///
    /// # Errors
    ///
    /// When the job cannot be taken in.
    pub fn insert(&mut self, now: Instant, mut record: JobRecord) -> Result<Option<JobId>, InsertError> {
        self.tick(now);
        let fixed_len = self.check(&record)?;
        let ends = record.status.is_terminal();
        let owned_ended = self.principals.get(&record.principal).map_or(0, |owned| owned.ended.len());
        // One that has ended takes the place of its principal's own, if there are too many of these.
        let takes_own_place = ends && owned_ended >= self.limits.terminal_per_principal;
        let limit = self.limits.jobs.min(Slot::MAX as usize);
        let mut dropped = None;
        if self.jobs.len() >= limit && !takes_own_place {
            let first = self.ended.first_key_value().map(|(_, slot)| *slot).ok_or(InsertError::Full)?;
            dropped = self.take(first).map(|gone| gone.record.job_id);
        }
        // All jobs of a principal share its name.
        if let Some((principal, _)) = self.principals.get_key_value(&record.principal) {
            record.principal = principal.clone();
        }
        let place = Place { created_at: record.created_at, job_id: record.job_id.clone() };
        let (status, principal) = (record.status.clone(), record.principal.clone());
        // Within `limit`, so it fits.
        let slot = self.jobs.insert(Box::new(Listed { record, ending: None, fixed_len })) as Slot;
        self.by_id.insert(place.job_id.clone(), slot);
        self.principals.entry(principal).or_default().order.insert(&status, place.clone(), slot);
        self.all.insert(&status, place, slot);
        if ends {
            dropped = self.note_end(slot).or(dropped);
        }
        Ok(dropped)
    }

    /// Whether the job would be taken in; the length of its entry, for the most part.
    pub(super) fn check(&self, record: &JobRecord) -> Result<u32, InsertError> {
        let id_len = record.job_id.as_str().len();
        if id_len == 0 || id_len > MAX_ID_LEN {
            return Err(InsertError::BadId);
        }
        if self.by_id.contains_key(&record.job_id) {
            return Err(InsertError::DuplicateId);
        }
        if !is_known(&record.status) {
            return Err(InsertError::ForeignStatus);
        }
        let fixed_len = self.fixed_len(&record.entry()).ok_or(InsertError::TooLarge)?;
        if self.needs_place(record) && self.ended.is_empty() { Err(InsertError::Full) } else { Ok(fixed_len) }
    }

    /// Whether another job has to go for it.
    fn needs_place(&self, record: &JobRecord) -> bool {
        let owned_ended = self.principals.get(&record.principal).map_or(0, |owned| owned.ended.len());
        // One that has ended takes the place of its principal's own, if there are too many of these.
        let has_too_many = owned_ended > 0 && owned_ended >= self.limits.terminal_per_principal;
        let takes_own_place = record.status.is_terminal() && has_too_many;
        self.jobs.len() >= self.limits.jobs.min(Slot::MAX as usize) && !takes_own_place
    }

    /// The job of this id.
    #[must_use]
    pub fn get(&self, job_id: &JobId) -> Option<&JobRecord> {
        self.listed(*self.by_id.get(job_id)?).map(|listed| &listed.record)
    }

    /// The jobs of a principal, newest first.
    pub fn jobs_of(&self, principal: &Principal) -> impl Iterator<Item = &JobRecord> {
        let orders = self.order_of(principal);
        let newest = Newest::of(orders, StatusSet::ALL, &Stretch::default());
        newest.filter_map(|(_, slot)| self.listed(slot).map(|listed| &listed.record))
    }

    /// Says how a job stands now. An end is final (§7.3), and from it the retention counts (D30).
    pub fn set_status(&mut self, now: Instant, job_id: &JobId, status: JobStatus) -> StatusChange {
        self.tick(now);
        let Some((slot, job)) = self.job_mut(job_id) else { return StatusChange::NoSuchJob };
        if !is_known(&status) {
            return StatusChange::ForeignStatus;
        }
        if job.record.status.is_terminal() {
            return StatusChange::AlreadyEnded;
        }
        if job.record.status == status {
            return StatusChange::Unchanged;
        }
        let ends = status.is_terminal();
        let before = core::mem::replace(&mut job.record.status, status.clone());
        let principal = job.record.principal.clone();
        let place = Place { created_at: job.record.created_at, job_id: job.record.job_id.clone() };
        self.all.remove(&before, &place);
        if let Some(owned) = self.principals.get_mut(&principal) {
            owned.order.remove(&before, &place);
            owned.order.insert(&status, place.clone(), slot);
        }
        self.all.insert(&status, place, slot);
        if ends { StatusChange::Ended { dropped: self.note_end(slot) } } else { StatusChange::Changed }
    }

    /// Says which event of a job is its latest, in the sequence of its own session (D31). One that goes back changes
    /// nothing. False when there is no such job.
    pub fn set_last_event_seq(&mut self, job_id: &JobId, seq: u64) -> bool {
        self.change(job_id, |record| record.last_event_seq = record.last_event_seq.max(seq))
    }

    /// Says what authority a job has now.
    ///
    /// # Errors
    ///
    /// When there is no such job, or its entry would be longer than a page may be.
    pub fn set_lease(
        &mut self,
        job_id: &JobId,
        lease: Lease,
        constraints: Option<LeaseConstraints>,
    ) -> Result<(), SetLeaseError> {
        let mut entry = self.get(job_id).ok_or(SetLeaseError::NoSuchJob)?.entry();
        entry.lease = lease;
        let fixed_len = self.fixed_len(&entry).ok_or(SetLeaseError::TooLarge)?;
        let (_, job) = self.job_mut(job_id).ok_or(SetLeaseError::NoSuchJob)?;
        (job.record.lease, job.record.lease_constraints, job.fixed_len) = (entry.lease, constraints, fixed_len);
        Ok(())
    }

    /// Says what is left of a job's budgets (§9.6). False when there is no such job.
    pub fn set_budget(&mut self, job_id: &JobId, budget: Option<Budget>) -> bool {
        self.change(job_id, |record| record.budget = budget)
    }

    /// Says which credentials a job has now (§9.8). False when there is no such job.
    pub fn set_credentials(&mut self, job_id: &JobId, credentials: Option<Vec<Credential>>) -> bool {
        self.change(job_id, |record| record.credentials = credentials)
    }

    /// Says which session a job belongs to; `None` once that is gone (D37). False when there is no such job.
    pub fn set_session(&mut self, job_id: &JobId, session: Option<SessionId>) -> bool {
        self.change(job_id, |record| record.session = session)
    }

    /// Takes a job out, alive or not.
    pub fn remove(&mut self, job_id: &JobId) -> Option<JobRecord> {
        let slot = *self.by_id.get(job_id)?;
        self.take(slot).map(|gone| gone.record)
    }

    /// When the next ended job has stayed long enough.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (_, slot) = self.ended.first_key_value()?;
        let at = self.listed(*slot)?.ending?.at + self.limits.terminal_retention;
        (at != Instant::MAX).then_some(at)
    }

    /// Lets go of the ended jobs that have stayed long enough, and names them in the order in which they ended.
    /// Afterwards [`poll_timeout`](JobDirectory::poll_timeout) is `None` or later than `now`.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<JobId> {
        self.tick(now);
        let mut gone = Vec::new();
        while self.poll_timeout().is_some_and(|at| at <= self.now) {
            let first = self.ended.first_key_value().map(|(_, slot)| *slot);
            let Some(listed) = first.and_then(|slot| self.take(slot)) else { break };
            gone.push(listed.record.job_id);
        }
        gone
    }

    pub(super) fn slot_of(&self, job_id: &JobId) -> Option<Slot> {
        self.by_id.get(job_id).copied()
    }

    /// [`set_last_event_seq`](JobDirectory::set_last_event_seq) for whoever knows the job's slot; says whether the job is
    /// known to be running.
    pub(super) fn note_event(&mut self, slot: Slot, job_id: &JobId, seq: u64) -> bool {
        let is_it = |known: &JobId| core::ptr::eq(known.as_str(), job_id.as_str()) || known == job_id;
        let listed = self.jobs.get_mut(slot as usize).filter(|listed| is_it(&listed.record.job_id));
        let Some(Listed { record, .. }) = listed.map(|listed| &mut **listed) else { return false };
        record.last_event_seq = record.last_event_seq.max(seq);
        record.status == JobStatus::Running
    }

    pub(super) fn listed(&self, slot: Slot) -> Option<&Listed> {
        self.jobs.get(slot as usize).map(|listed| &**listed)
    }

    pub(super) fn order_of(&self, principal: &Principal) -> Option<&JobOrder> {
        self.principals.get(principal).map(|owned| &owned.order)
    }

    pub(super) fn everybody(&self) -> &JobOrder {
        &self.all
    }

    fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn job_mut(&mut self, job_id: &JobId) -> Option<(Slot, &mut Listed)> {
        let slot = *self.by_id.get(job_id)?;
        self.jobs.get_mut(slot as usize).map(|listed| (slot, &mut **listed))
    }

    fn change(&mut self, job_id: &JobId, change: impl FnOnce(&mut JobRecord)) -> bool {
        self.job_mut(job_id).map(|(_, job)| change(&mut job.record)).is_some()
    }

    /// Counts the end of a job whose status says that it ended; gives the one that had to go for it.
    fn note_end(&mut self, slot: Slot) -> Option<JobId> {
        let number = self.endings;
        self.endings += 1;
        let job = self.jobs.get_mut(slot as usize)?;
        job.ending = Some(Ending { number, at: self.now });
        self.ended.insert(number, slot);
        let owned = self.principals.get_mut(&job.record.principal)?;
        owned.ended.insert(number, slot);
        if owned.ended.len() <= self.limits.terminal_per_principal {
            return None;
        }
        let first = *owned.ended.first_key_value()?.1;
        self.take(first).map(|gone| gone.record.job_id)
    }

    fn take(&mut self, slot: Slot) -> Option<Listed> {
        let gone = *self.jobs.try_remove(slot as usize)?;
        let JobRecord { job_id, principal, status, created_at, .. } = &gone.record;
        let place = Place { created_at: *created_at, job_id: job_id.clone() };
        self.by_id.remove(job_id);
        self.all.remove(status, &place);
        if let Some(ending) = gone.ending {
            self.ended.remove(&ending.number);
        }
        if let Some(owned) = self.principals.get_mut(principal) {
            owned.order.remove(status, &place);
            if let Some(ending) = gone.ending {
                owned.ended.remove(&ending.number);
            }
            if owned.order.is_empty() {
                self.principals.remove(principal);
            }
        }
        Some(gone)
    }

    /// The length of an entry without what changes often, if the entry fits into a page however that changes.
    fn fixed_len(&self, entry: &JobEntry) -> Option<u32> {
        let text = serde_json::to_string(entry).ok()?;
        // On the wire each of these is escaped, which makes it twice as long (D38).
        let escaped = text.matches(['\u{2028}', '\u{2029}']).count() * 3;
        let changing = entry.status.as_str().len() + decimal_len(entry.last_event_seq);
        let fixed = text.len() + escaped - changing;
        let longest = "cancelled".len() + decimal_len(u64::MAX);
        (fixed + longest + 2 <= self.limits.page_bytes).then_some(u32::try_from(fixed).ok()?)
    }
}

impl Listed {
    /// The length of the job's entry as JSON.
    pub(super) fn entry_len(&self) -> usize {
        self.fixed_len as usize + self.record.status.as_str().len() + decimal_len(self.record.last_event_seq)
    }
}

fn decimal_len(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// How many of what; no job and no secret.
impl fmt::Debug for JobDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobDirectory")
            .field("jobs", &self.jobs.len())
            .field("ended", &self.ended.len())
            .field("principals", &self.principals.len())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use alloc::format;
    use alloc::vec;

    #[test]
    fn d30_the_length_of_an_entry_is_that_of_its_json() {
        let mut jobs = JobDirectory::new(DirectoryLimits::default());
        let id = JobId::from("job_\"\n\u{2028}é");
        let mut record = JobRecord::new(id.clone(), "alice".into(), "code@2", Timestamp::from_unix_millis(7));
        record.parent_job_id = Some("job_0".into());
        jobs.insert(Instant::ZERO, record).unwrap();
        let check = |jobs: &JobDirectory| {
            let listed = jobs.listed(jobs.by_id[&id]).unwrap();
            let text = serde_json::to_string(&listed.record.entry()).unwrap().replace('\u{2028}', "\\u2028");
            assert_eq!(listed.entry_len(), text.len(), "{text}");
        };
        check(&jobs);
        for seq in [1, 9, 10, 99, 100, 1_000_000, u64::MAX] {
            jobs.set_last_event_seq(&id, seq);
            check(&jobs);
        }
        jobs.set_lease(&id, Lease::new([("fs.read", vec!["/\u{2028}**".into()])]), None).unwrap();
        check(&jobs);
        for status in [JobStatus::Running, JobStatus::TimedOut] {
            jobs.set_status(Instant::ZERO, &id, status);
            check(&jobs);
        }
    }

    #[test]
    fn what_is_gone_leaves_nothing_behind() {
        let limits = DirectoryLimits { terminal_per_principal: 2, ..DirectoryLimits::default() };
        let mut jobs = JobDirectory::new(limits);
        for n in 0..10 {
            let id = JobId::from(format!("job_{n}"));
            let principal = Principal::from(format!("p{}", n % 3));
            jobs.insert(Instant::ZERO, JobRecord::new(id.clone(), principal, "a@1", Timestamp::EPOCH)).unwrap();
            jobs.set_status(Instant::ZERO, &id, JobStatus::Running);
            if n % 4 != 0 {
                jobs.set_status(Instant::ZERO, &id, JobStatus::Success);
            }
        }
        jobs.handle_timeout(Instant::from_millis(600_000));
        for n in 0..10 {
            jobs.remove(&format!("job_{n}").into());
        }
        assert!(jobs.is_empty() && jobs.by_id.is_empty() && jobs.all.is_empty());
        assert!(jobs.ended.is_empty() && jobs.principals.is_empty());
    }

    #[test]
    fn it_can_be_cloned_and_sent_and_prints_no_job() {
        fn check<T: Clone + Send + Sync + 'static>(_: &T) {}
        let mut jobs = JobDirectory::new(DirectoryLimits::default());
        jobs.insert(Instant::ZERO, JobRecord::new("job_1".into(), "alice".into(), "a@1", Timestamp::EPOCH)).unwrap();
        check(&jobs);
        let printed = format!("{jobs:?}");
        assert!(!printed.contains("job_1") && !printed.contains("alice"), "{printed}");
    }
}
