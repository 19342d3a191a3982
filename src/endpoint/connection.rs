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
///
/// A transport's life:
///
/// ```text
/// fresh ────── first message ─▶ judged
/// fresh ────── turned away ───▶ leaving
/// fresh ────── lost ──────────▶ gone
/// judged ───── admitted ──────▶ attached
/// judged ───── turned away ───▶ leaving
/// judged ───── lost ──────────▶ gone
/// attached ─── given up ──────▶ leaving
/// attached ─── lost ──────────▶ gone
/// leaving ──── closed ────────▶ gone
/// leaving ──── lost ──────────▶ gone
/// ```
///
/// *Judged*: the application is asked who that is. *Turned away*: the first message was none, came too late, or the
/// application, a limit or the session refused; the client is told. *Attached*: it carries a session. *Given up*: the session
/// has lost it (see [`DetachReason`](crate::DetachReason)), ended, or was resumed on another. *Leaving*: only last
/// messages are left to be sent. *Closed*: `poll_close` gave the order. *Lost*: `handle_disconnect` said so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    serial: NonZeroU64,
    slot: u32,
}

impl ConnId {
    pub(super) fn slot(self) -> u32 {
        self.slot
    }
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
    /// `None` once there is a verdict.
    pub(super) opening: Option<Opening>,
    /// What the client sent behind it.
    pub(super) held: Vec<Bytes>,
    pub(super) held_bytes: usize,
}

/// What is left to be said on a transport that was given up.
#[derive(Clone, Debug)]
pub(super) struct LastWords(pub(super) VecDeque<Bytes>);

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
    Leaving(Box<LastWords>),
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

/// A [`Stage`] without what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Fresh,
    Judged,
    Attached,
    Leaving,
    Gone,
}

/// Every way from one stage to another.
const TRANSITIONS: &[(Name, &str, Name)] = &[
    (Name::Fresh, "first message", Name::Judged),
    (Name::Fresh, "turned away", Name::Leaving),
    (Name::Fresh, "lost", Name::Gone),
    (Name::Judged, "admitted", Name::Attached),
    (Name::Judged, "turned away", Name::Leaving),
    (Name::Judged, "lost", Name::Gone),
    (Name::Attached, "given up", Name::Leaving),
    (Name::Attached, "lost", Name::Gone),
    (Name::Leaving, "closed", Name::Gone),
    (Name::Leaving, "lost", Name::Gone),
];

impl Stage {
    fn name(&self) -> Name {
        match self {
            Stage::Fresh => Name::Fresh,
            Stage::Judging(_) => Name::Judged,
            Stage::Attached(_) => Name::Attached,
            Stage::Leaving(_) => Name::Leaving,
        }
    }
}

fn has_way(from: Name, to: Name) -> bool {
    TRANSITIONS.iter().any(|(first, _, last)| (*first, *last) == (from, to))
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

    pub(super) fn in_slot(&self, slot: u32) -> Option<ConnId> {
        self.conns.get(slot as usize).map(|conn| ConnId { serial: conn.serial, slot })
    }

    #[inline]
    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(id.slot as usize).filter(|conn| conn.serial == id.serial)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(id.slot as usize).filter(|conn| conn.serial == id.serial)
    }

    /// Puts the transport on another stage, to which there must be a way; gives the one before.
    pub(super) fn set_stage(&mut self, id: ConnId, stage: Stage) -> Option<Stage> {
        let conn = self.get_mut(id)?;
        debug_assert!(has_way(conn.stage.name(), stage.name()), "{:?} to {:?}", conn.stage.name(), stage.name());
        let was_opening = conn.is_opening();
        let before = core::mem::replace(&mut conn.stage, stage);
        let is_opening = conn.is_opening();
        self.opening = self.opening + usize::from(is_opening) - usize::from(was_opening);
        Some(before)
    }

    /// The first message that is being judged, to be answered: the transport goes on to another stage at once.
    pub(super) fn take_opening(&mut self, id: ConnId) -> Option<(Opening, Vec<Bytes>)> {
        let Stage::Judging(judging) = &mut self.get_mut(id)?.stage else { return None };
        Some((judging.opening.take()?, core::mem::take(&mut judging.held)))
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        self.get(id)?;
        let conn = self.conns.try_remove(id.slot as usize)?;
        self.opening -= usize::from(conn.is_opening());
        Some(conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};

    fn name(name: Name) -> String {
        format!("{name:?}").to_lowercase()
    }

    #[test]
    fn the_documented_life_of_a_transport_is_the_table() {
        let drawn = TRANSITIONS.iter().map(|(from, cause, to)| {
            let (from, cause) = (name(*from) + " ", cause.to_string() + " ");
            format!("{from:─<11}─ {cause:─<15}▶ {}", name(*to))
        });
        let documented: Vec<_> = include_str!("connection.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("/// "))
            .filter(|line| line.contains('▶'))
            .collect();
        assert_eq!(documented, drawn.collect::<Vec<_>>());
    }

    #[test]
    fn the_readme_draws_the_table() {
        let drawn = TRANSITIONS.iter().map(|(from, cause, to)| {
            let from = if *from == Name::Gone { "[*]".into() } else { name(*from) };
            let to = if *to == Name::Gone { "[*]".into() } else { name(*to) };
            format!("    {from} --> {to} : {cause}")
        });
        let readme = include_str!("../../README.md");
        let diagram = readme.split("%% a transport").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let shown: Vec<_> = diagram.lines().filter(|line| line.contains(" : ")).collect();
        assert_eq!(shown, drawn.collect::<Vec<_>>());
    }
}
