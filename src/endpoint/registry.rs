//! All sessions: by id, by resume token, by principal, and in the order in which parked ones have to go.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::num::NonZeroU64;

use slab::Slab;

use super::connection::ConnId;
use super::durable::Durable;
use super::work::Work;
use crate::session::{Phase, Runtime, Session};
use crate::time::Instant;
use crate::wire::{Principal, SessionId};

/// A session's place in this endpoint; given again once it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u32);

pub(super) type TokenDigest = [u8; 32];

/// How soon a parked session has to go, when somebody has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Its client said goodbye (D32).
    Closed,
    /// Its window is over (D18).
    Elapsed,
    /// Its client may be back any moment.
    Waiting,
}

/// The order in which parked sessions have to go: by rank, then as they were parked, counted. Kept in one number, for there
/// are many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order(NonZeroU64);

const RANK_SHIFT: u32 = 62;

impl Order {
    fn new(rank: Rank, number: NonZeroU64) -> Order {
        Order(number | ((rank as u64) << RANK_SHIFT))
    }

    fn rank(self) -> Rank {
        match self.0.get() >> RANK_SHIFT {
            0 => Rank::Closed,
            1 => Rank::Elapsed,
            _ => Rank::Waiting,
        }
    }
}

/// A parked session's place among all that are parked: the first has to go first.
type Place = (Order, Key);

/// A session and what the endpoint knows of it.
#[derive(Clone)]
pub(super) struct Member {
    /// Tells it from another that had the same key.
    pub(super) serial: u64,
    pub(super) session: Session<Runtime>,
    pub(super) conn: Option<ConnId>,
    /// Where it stands in the order of deadlines.
    pub(super) deadline: Instant,
    /// While it is parked.
    place: Option<Order>,
    /// The bytes that it is counted with among the parked ones.
    counted_bytes: usize,
    /// A token that is still good until the client is heard.
    presented: Option<Box<TokenDigest>>,
    /// `None`: it has no jobs, and never asked for one.
    pub(super) work: Option<Box<Work>>,
    /// `None`: it does not outlive the process.
    pub(super) durable: Option<Box<Durable>>,
}

impl Member {
    pub(super) fn work(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

    pub(super) fn generation(&self) -> u64 {
        self.durable.as_ref().map_or(0, |durable| durable.generation)
    }

    /// Nothing is to be done for it but to keep its deadline and its transport: it has told nothing, is neither parked nor
    /// stored, and has one token.
    #[inline]
    pub(super) fn is_at_ease(&self) -> bool {
        let is_plain = self.place.is_none() && self.presented.is_none() && self.durable.is_none();
        is_plain && self.session.holds_nothing() && self.session.phase() == Phase::Open
    }

    /// While it is parked.
    pub(super) fn rank(&self) -> Option<Rank> {
        self.place.map(Order::rank)
    }
}

#[derive(Clone, Debug, Default)]
struct Parked {
    order: BTreeSet<Place>,
    /// In their replay buffers.
    bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct Standing {
    sessions: u32,
    /// `None`: none is.
    parked: Option<Box<Parked>>,
}

#[derive(Clone, Default)]
pub(super) struct Registry {
    members: Slab<Box<Member>>,
    by_id: BTreeMap<SessionId, Key>,
    by_token: BTreeMap<TokenDigest, Key>,
    principals: BTreeMap<Principal, Standing>,
    parked: BTreeSet<Place>,
    /// Of those, who holds any bytes.
    laden: BTreeSet<Place>,
    parked_bytes: usize,
    /// Sessions and places, counted.
    serial: u64,
}

impl Registry {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn parked(&self) -> usize {
        self.parked.len()
    }

    pub(super) fn parked_bytes(&self) -> usize {
        self.parked_bytes
    }

    pub(super) fn sessions_of(&self, principal: &Principal) -> usize {
        self.principals.get(principal).map_or(0, |standing| standing.sessions as usize)
    }

    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&Member> {
        self.members.get(key.0 as usize).map(|member| &**member)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Member> {
        self.members.get_mut(key.0 as usize).map(|member| &mut **member)
    }

    /// The member of that key, unless another has it meanwhile.
    pub(super) fn same(&mut self, key: Key, serial: u64) -> Option<&mut Member> {
        self.get_mut(key).filter(|member| member.serial == serial)
    }

    /// What the session has to do with jobs, if anything.
    pub(super) fn work(&self, key: Key) -> Option<&Work> {
        self.get(key)?.work.as_deref()
    }

    pub(super) fn work_mut(&mut self, key: Key) -> Option<&mut Work> {
        self.get_mut(key)?.work.as_deref_mut()
    }

    /// The session's standing with the store, if it is stored.
    pub(super) fn durable(&self, key: Key) -> Option<&Durable> {
        self.get(key)?.durable.as_deref()
    }

    pub(super) fn durable_mut(&mut self, key: Key) -> Option<&mut Durable> {
        self.get_mut(key)?.durable.as_deref_mut()
    }

    pub(super) fn key_of(&self, id: &SessionId) -> Option<Key> {
        self.by_id.get(id).copied()
    }

    pub(super) fn by_id(&self, id: &SessionId) -> Option<&Member> {
        self.get(self.key_of(id)?)
    }

    pub(super) fn by_token(&self, digest: &TokenDigest) -> Option<Key> {
        self.by_token.get(digest).copied()
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.members.iter().map(|(slot, _)| Key(slot as u32)).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().map(|(_, member)| &**member)
    }

    /// Whoever calls has seen that neither the id nor the tokens are taken.
    pub(super) fn insert(&mut self, session: Session<Runtime>, presented: Option<TokenDigest>) -> Key {
        let token = session.token_digest();
        self.serial += 1;
        let principal = session.principal().clone();
        let id = session.session_id().cloned();
        let entry = self.members.vacant_entry();
        let key = Key(entry.key() as u32);
        entry.insert(Box::new(Member {
            serial: self.serial,
            session,
            conn: None,
            deadline: Instant::MAX,
            place: None,
            counted_bytes: 0,
            presented: presented.map(Box::new),
            work: None,
            durable: None,
        }));
        if let Some(id) = id {
            self.by_id.insert(id, key);
        }
        self.by_token.insert(token, key);
        if let Some(presented) = presented {
            self.by_token.insert(presented, key);
        }
        self.principals.entry(principal).or_default().sessions += 1;
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Member> {
        self.unpark(key);
        let member = *self.members.try_remove(key.0 as usize)?;
        if let Some(id) = member.session.session_id() {
            self.by_id.remove(id);
        }
        self.by_token.remove(&member.session.token_digest());
        if let Some(presented) = &member.presented {
            self.by_token.remove(&**presented);
        }
        let principal = member.session.principal();
        if let Some(standing) = self.principals.get_mut(principal) {
            standing.sessions -= 1;
            if standing.sessions == 0 {
                self.principals.remove(principal);
            }
        }
        Some(member)
    }

    /// The session was resumed: it goes by its new token, and for a while by the one presented; not by the one `before`,
    /// which may be that.
    pub(super) fn rotate(&mut self, key: Key, before: TokenDigest, presented: TokenDigest) {
        let Some(member) = self.members.get_mut(key.0 as usize) else { return };
        let spare = member.presented.replace(Box::new(presented));
        for token in spare.map(|token| *token).into_iter().chain([before]) {
            self.by_token.remove(&token);
        }
        self.by_token.insert(presented, key);
        self.by_token.insert(member.session.token_digest(), key);
    }

    /// The client was heard: it has the new token.
    pub(super) fn retire_presented(&mut self, key: Key) {
        let presented = self.get_mut(key).and_then(|member| member.presented.take());
        if let Some(presented) = presented {
            self.by_token.remove(&*presented);
        }
    }

    pub(super) fn has_presented(&self, key: Key) -> bool {
        self.get(key).is_some_and(|member| member.presented.is_some())
    }

    /// The session has no transport. Parked anew, it goes behind those of the same rank.
    pub(super) fn park(&mut self, key: Key, rank: Rank) {
        self.unpark(key);
        self.serial += 1;
        let Some(member) = self.members.get_mut(key.0 as usize) else { return };
        let order = Order::new(rank, NonZeroU64::MIN.saturating_add(self.serial));
        member.place = Some(order);
        member.counted_bytes = member.session.replay_len().1;
        self.parked_bytes += member.counted_bytes;
        self.parked.insert((order, key));
        if member.counted_bytes > 0 {
            self.laden.insert((order, key));
        }
        if let Some(standing) = self.principals.get_mut(member.session.principal()) {
            let parked = standing.parked.get_or_insert_default();
            parked.order.insert((order, key));
            parked.bytes += member.counted_bytes;
        }
    }

    /// The session has a transport again, or ends.
    pub(super) fn unpark(&mut self, key: Key) {
        let Some(member) = self.members.get_mut(key.0 as usize) else { return };
        let Some(place) = member.place.take().map(|order| (order, key)) else { return };
        let bytes = core::mem::take(&mut member.counted_bytes);
        self.parked_bytes -= bytes;
        self.parked.remove(&place);
        self.laden.remove(&place);
        if let Some(standing) = self.principals.get_mut(member.session.principal()) {
            if let Some(parked) = &mut standing.parked {
                parked.order.remove(&place);
                parked.bytes -= bytes;
            }
            standing.parked.take_if(|parked| parked.order.is_empty());
        }
    }

    /// A parked session's replay buffer may have grown or shrunk.
    pub(super) fn recount(&mut self, key: Key) {
        let Some(member) = self.members.get_mut(key.0 as usize) else { return };
        if let Some(order) = member.place {
            let bytes = member.session.replay_len().1;
            self.parked_bytes = self.parked_bytes - member.counted_bytes + bytes;
            if (member.counted_bytes > 0) != (bytes > 0) {
                if bytes > 0 {
                    self.laden.insert((order, key))
                } else {
                    self.laden.remove(&(order, key))
                };
            }
            let before = core::mem::replace(&mut member.counted_bytes, bytes);
            if before != bytes
                && let Some(standing) = self.principals.get_mut(member.session.principal())
                && let Some(parked) = &mut standing.parked
            {
                parked.bytes = parked.bytes - before + bytes;
            }
        }
    }

    /// The bytes in the replay buffers of a principal's parked sessions.
    pub(super) fn parked_bytes_of(&self, principal: &Principal) -> usize {
        let parked = self.principals.get(principal).and_then(|standing| standing.parked.as_ref());
        parked.map_or(0, |parked| parked.bytes)
    }

    /// The first of a principal's parked sessions to go that has something in its replay buffer.
    pub(super) fn first_laden_of(&self, principal: &Principal) -> Option<Key> {
        let parked = self.principals.get(principal)?.parked.as_ref()?;
        let is_laden = |key: &Key| self.get(*key).is_some_and(|member| member.counted_bytes > 0);
        parked.order.iter().map(|(_, key)| *key).find(is_laden)
    }

    /// The rank of the parked session that has to go first.
    pub(super) fn first_rank(&self) -> Option<Rank> {
        self.parked.first().map(|(order, _)| order.rank())
    }

    /// The parked session that has to go first; of all, or of one principal.
    pub(super) fn first_to_go(&self, of: Option<&Principal>) -> Option<Key> {
        let order = match of {
            Some(principal) => &self.principals.get(principal)?.parked.as_ref()?.order,
            None => &self.parked,
        };
        order.first().map(|(_, key)| *key)
    }

    /// The same of those by whose end bytes are freed.
    pub(super) fn first_laden_to_go(&self) -> Option<Key> {
        self.laden.first().map(|(_, key)| *key)
    }
}
