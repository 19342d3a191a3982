//! Transports: from the first byte to the order to close (D9).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU64;

use bytes::Bytes;
use slab::Slab;

use super::registry::Key;
use crate::session::Opening;
use crate::time::Instant;

/// Names a transport within its [`Endpoint`](super::Endpoint). Never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    serial: NonZeroU64,
    slot: u32,
}

/// For logs: the transports of an endpoint, counted.
impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serial.fmt(f)
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({})", self.serial)
    }
}

/// A first message that waits for the application's verdict.
#[derive(Clone, Debug)]
pub(super) struct Judging {
    pub(super) opening: Opening,
    /// What the client sent behind it.
    pub(super) held: Vec<Bytes>,
    pub(super) held_bytes: usize,
}

/// How far a transport has come.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Nothing has come yet.
    Fresh,
    /// Somebody asks to be let in.
    Judging(Box<Judging>),
    /// It carries this session.
    Attached(Key),
    /// Only these are left to be sent; then it is to be closed.
    Leaving(Box<VecDeque<Bytes>>),
}

#[derive(Clone, Debug)]
pub(super) struct Conn {
    serial: NonZeroU64,
    pub(super) stage: Stage,
    /// [`Instant::MAX`]: none.
    pub(super) deadline: Instant,
    /// It is in the queue of those that have something to send.
    pub(super) is_queued: bool,
    /// The driver can take more for it.
    pub(super) is_writable: bool,
    /// The welcome has been handed out.
    pub(super) is_welcomed: bool,
}

impl Conn {
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.stage, Stage::Fresh | Stage::Judging(_))
    }
}

/// All transports.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    conns: Slab<Conn>,
    next_serial: NonZeroU64,
    opening: usize,
}

impl Connections {
    pub(super) fn new() -> Connections {
        Connections { conns: Slab::new(), next_serial: NonZeroU64::MIN, opening: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.conns.len()
    }

    /// Transports whose client is not known yet.
    pub(super) fn opening(&self) -> usize {
        self.opening
    }

    /// Those transports, by their ids.
    pub(super) fn ids_of_opening(&self) -> Vec<ConnId> {
        let opening = self.conns.iter().filter(|(_, conn)| conn.is_opening());
        opening.map(|(slot, conn)| ConnId { serial: conn.serial, slot: slot as u32 }).collect()
    }

    pub(super) fn insert(&mut self) -> ConnId {
        let serial = self.next_serial;
        self.next_serial = serial.saturating_add(1);
        self.opening += 1;
        let slot = self.conns.insert(Conn {
            serial,
            stage: Stage::Fresh,
            deadline: Instant::MAX,
            is_queued: false,
            is_writable: true,
            is_welcomed: false,
        });
        ConnId { serial, slot: slot as u32 }
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(id.slot as usize).filter(|conn| conn.serial == id.serial)
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(id.slot as usize).filter(|conn| conn.serial == id.serial)
    }

    /// Puts the transport on another stage; gives the one before.
    pub(super) fn set_stage(&mut self, id: ConnId, stage: Stage) -> Option<Stage> {
        let conn = self.get_mut(id)?;
        let was_opening = conn.is_opening();
        let before = core::mem::replace(&mut conn.stage, stage);
        let is_opening = conn.is_opening();
        self.opening = self.opening + usize::from(is_opening) - usize::from(was_opening);
        Some(before)
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        self.get(id)?;
        let conn = self.conns.try_remove(id.slot as usize)?;
        self.opening -= usize::from(conn.is_opening());
        Some(conn)
    }
}
