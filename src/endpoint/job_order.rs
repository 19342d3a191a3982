//! Jobs in the order of listings, by status (D30).

use alloc::collections::BTreeMap;
use alloc::collections::BinaryHeap;
use alloc::collections::binary_heap::PeekMut;
use alloc::collections::btree_map;
use core::cmp::Ordering;
use core::iter::Rev;

use crate::time::Timestamp;
use crate::wire::{JobFilter, JobId, JobStatus};

/// Where a job's record stands.
pub(super) type Slot = u32;

/// A job's place in every listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) created_at: Timestamp,
    pub(super) job_id: JobId,
}

impl Place {
    /// Before every job of that moment.
    pub(super) fn start_of(created_at: Timestamp) -> Place {
        Place { created_at, job_id: "".into() }
    }
}

/// Which statuses are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusSet(u8);

impl StatusSet {
    pub(super) const ALL: StatusSet = StatusSet((1 << STATUSES) - 1);

    /// What a filter asks for; statuses that the draft does not have match nothing (D30).
    pub(super) fn of(filter: &JobFilter) -> StatusSet {
        if filter.status.is_empty() {
            return StatusSet::ALL;
        }
        StatusSet(filter.status.iter().filter_map(row).fold(0, |set, row| set | 1 << row))
    }
}

const STATUSES: usize = 6;

/// The row of a status; none for what the draft does not have.
fn row(status: &JobStatus) -> Option<usize> {
    match status {
        JobStatus::Pending => Some(0),
        JobStatus::Running => Some(1),
        JobStatus::Success => Some(2),
        JobStatus::Error => Some(3),
        JobStatus::Cancelled => Some(4),
        JobStatus::TimedOut => Some(5),
        JobStatus::Other(_) => None,
    }
}

/// Whether a job of ours can stand so.
pub(super) fn is_known(status: &JobStatus) -> bool {
    row(status).is_some()
}

/// The jobs of a principal, or all of them. One order per status serves both kinds of query: without a filter the six
/// are merged, which costs less than an order more to keep.
#[derive(Clone, Debug, Default)]
pub(super) struct JobOrder {
    rows: [BTreeMap<Place, Slot>; STATUSES],
}

impl JobOrder {
    pub(super) fn insert(&mut self, status: &JobStatus, place: Place, slot: Slot) {
        if let Some(row) = row(status).and_then(|row| self.rows.get_mut(row)) {
            row.insert(place, slot);
        }
    }

    pub(super) fn remove(&mut self, status: &JobStatus, place: &Place) {
        if let Some(row) = row(status).and_then(|row| self.rows.get_mut(row)) {
            row.remove(place);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.iter().all(BTreeMap::is_empty)
    }
}

/// A stretch of the order, by its ends: `from` is within it, `to` is not.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch {
    pub(super) from: Option<Place>,
    pub(super) to: Option<Place>,
}

impl Stretch {
    fn of<'a>(&self, row: &'a BTreeMap<Place, Slot>) -> Rev<btree_map::Range<'a, Place, Slot>> {
        use core::ops::Bound::{Excluded, Included, Unbounded};
        // A range whose ends are crossed panics; any range up to the start of time is as empty.
        let crossed = self.from.as_ref().zip(self.to.as_ref()).is_some_and(|(from, to)| from >= to);
        let from = self.from.as_ref().filter(|_| !crossed).map_or(Unbounded, Included);
        if crossed {
            let nothing = Place::start_of(Timestamp::from_unix_millis(i64::MIN));
            return row.range((Unbounded, Excluded(&nothing))).rev();
        }
        let to = self.to.as_ref().map_or(Unbounded, Excluded);
        row.range((from, to)).rev()
    }
}

/// Several orders as one, newest first.
pub(super) struct Newest<'a> {
    heads: BinaryHeap<Head<'a>>,
}

struct Head<'a> {
    place: &'a Place,
    slot: Slot,
    rest: Rev<btree_map::Range<'a, Place, Slot>>,
}

impl<'a> Newest<'a> {
    pub(super) fn of(
        orders: impl IntoIterator<Item = &'a JobOrder>,
        statuses: StatusSet,
        stretch: &Stretch,
    ) -> Newest<'a> {
        let rows = orders.into_iter().flat_map(|order| order.rows.iter().enumerate());
        let wanted = rows.filter(|(row, _)| statuses.0 & (1 << row) != 0);
        let heads = wanted.filter_map(|(_, row)| {
            let mut rest = stretch.of(row);
            rest.next().map(|(place, &slot)| Head { place, slot, rest })
        });
        Newest { heads: heads.collect() }
    }
}

impl<'a> Iterator for Newest<'a> {
    type Item = (&'a Place, Slot);

    fn next(&mut self) -> Option<(&'a Place, Slot)> {
        let mut head = self.heads.peek_mut()?;
        let found = (head.place, head.slot);
        match head.rest.next() {
            Some((place, &slot)) => (head.place, head.slot) = (place, slot),
            None => {
                PeekMut::pop(head);
            }
        }
        Some(found)
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Head<'_> {}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(other.place)
    }
}
