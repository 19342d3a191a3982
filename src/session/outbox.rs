//! What waits to be sent, apart from events: lanes in the order of D27, each with a limit (D43).

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::Bytes;

use super::config::Limits;

/// The lane is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Empty most of the time, and then it is small: a runtime keeps many sessions at rest.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    /// `None`: nothing waits.
    lanes: Option<Box<Lanes>>,
    /// The farewell has begun: nothing may follow it.
    sealed: bool,
    /// Hello or welcome and control messages that were queued on this attachment.
    queued: u32,
}

#[derive(Clone, Debug, Default)]
struct Lanes {
    /// Hello or welcome: the first frame of an attachment.
    first: Option<Bytes>,
    /// At most [`Limits::unsent_pongs`], each of them small.
    pongs: VecDeque<Bytes>,
    ping: Option<Bytes>,
    control: VecDeque<Bytes>,
    /// Of control.
    bytes: usize,
    /// The last frames of an attachment, at most two and an unsent welcome before them (D10).
    farewell: VecDeque<Bytes>,
}

impl Lanes {
    #[inline]
    fn has_control(&self) -> bool {
        self.first.is_some() || !self.pongs.is_empty() || self.ping.is_some() || !self.control.is_empty()
    }

    fn is_empty(&self) -> bool {
        !self.has_control() && self.farewell.is_empty()
    }

    fn has_room(&self, len: usize, limits: &Limits) -> bool {
        self.control.is_empty()
            || (self.control.len() < limits.control_frames && self.bytes.saturating_add(len) <= limits.control_bytes)
    }

    /// How many wait of those that are counted.
    fn counted(&self) -> u32 {
        u32::from(self.first.is_some()) + self.control.len() as u32
    }

    /// The next but for those of the counted ones that may not go yet, which are the last `held`. Nothing goes before the
    /// hello or welcome.
    #[inline]
    fn next_control(&mut self, held: u32) -> Option<Bytes> {
        let may_go = self.counted() > held;
        if self.first.is_some() {
            return self.first.take_if(|_| may_go);
        }
        let ahead = self.pongs.pop_front().or_else(|| self.ping.take());
        ahead.or_else(|| {
            let frame = if may_go { self.control.pop_front()? } else { return None };
            self.bytes -= frame.len();
            Some(frame)
        })
    }

    /// The farewell, with the hello or welcome before it that still waits.
    fn take_farewell(&mut self) -> VecDeque<Bytes> {
        let mut farewell = core::mem::take(&mut self.farewell);
        if !farewell.is_empty()
            && let Some(first) = self.first.take()
        {
            farewell.push_front(first);
        }
        farewell
    }
}

impl Outbox {
    fn lanes(&mut self) -> &mut Lanes {
        self.lanes.get_or_insert_default()
    }

    /// Takes something out; lanes that are empty by it are let go of.
    #[inline]
    fn take<T>(&mut self, from: impl FnOnce(&mut Lanes) -> Option<T>) -> Option<T> {
        let lanes = self.lanes.as_mut()?;
        let taken = from(lanes);
        if lanes.is_empty() {
            self.lanes = None;
        }
        taken
    }

    /// Begins an attachment; what was left of the one before is dropped.
    pub(super) fn open(&mut self, first: Bytes) {
        *self = Outbox { queued: 1, ..Outbox::default() };
        self.lanes().first = Some(first);
    }

    /// How many hellos, welcomes and control messages were queued on this attachment.
    pub(super) fn queued(&self) -> u32 {
        self.queued
    }

    /// Whether the hello or welcome has been handed out.
    #[inline]
    pub(super) fn has_opened(&self) -> bool {
        self.lanes.as_ref().is_none_or(|lanes| lanes.first.is_none())
    }

    pub(super) fn push_control(&mut self, frame: Bytes, limits: &Limits) -> Result<(), Full> {
        if self.sealed {
            return Ok(());
        }
        let lanes = self.lanes();
        if !lanes.has_room(frame.len(), limits) {
            return Err(Full);
        }
        lanes.bytes += frame.len();
        lanes.control.push_back(frame);
        self.queued = self.queued.saturating_add(1);
        Ok(())
    }

    /// Of unsent pongs beyond the limit the oldest goes; a heartbeat never costs the transport.
    pub(super) fn push_pong(&mut self, frame: Bytes, limits: &Limits) {
        if self.sealed {
            return;
        }
        let pongs = &mut self.lanes().pongs;
        while pongs.len() >= limits.unsent_pongs.max(1) {
            pongs.pop_front();
        }
        pongs.push_back(frame);
    }

    /// An unsent ping is not repeated.
    pub(super) fn wants_ping(&self) -> bool {
        !self.sealed && self.lanes.as_ref().is_none_or(|lanes| lanes.ping.is_none())
    }

    /// One small frame: it always has room.
    pub(super) fn set_ping(&mut self, frame: Bytes) {
        self.lanes().ping = Some(frame);
    }

    pub(super) fn set_farewell(&mut self, frames: impl IntoIterator<Item = Bytes>) {
        let farewell: VecDeque<Bytes> = frames.into_iter().collect();
        if !farewell.is_empty() || self.lanes.is_some() {
            self.lanes().farewell = farewell;
        }
    }

    /// All lanes but the farewell are dropped: the transport is given up. A welcome that waits goes before it, for a
    /// transport begins with a welcome or an error.
    pub(super) fn keep_farewell(&mut self) {
        let farewell = self.take_farewell();
        self.clear();
        self.set_farewell(farewell);
    }

    /// The transport is gone.
    pub(super) fn clear(&mut self) {
        *self = Outbox { lanes: None, sealed: true, queued: 0 };
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The farewell, with the hello or welcome before it that still waits.
    pub(super) fn take_farewell(&mut self) -> VecDeque<Bytes> {
        self.take(|lanes| Some(lanes.take_farewell())).unwrap_or_default()
    }

    /// Whether nothing waits, and no farewell.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_none()
    }

    #[inline]
    pub(super) fn has_control(&self) -> bool {
        self.lanes.as_ref().is_some_and(|lanes| lanes.has_control())
    }

    /// The next control message; of those that are counted, only the first `limit`.
    #[inline]
    pub(super) fn next_control(&mut self, limit: u32) -> Option<Bytes> {
        // As most of the time.
        self.lanes.as_ref()?;
        let held = self.queued.saturating_sub(limit);
        self.take(|lanes| lanes.next_control(held))
    }

    /// Whether [`next_control`](Outbox::next_control) would give something.
    #[inline]
    pub(super) fn has_control_within(&self, limit: u32) -> bool {
        let held = self.queued.saturating_sub(limit);
        self.lanes.as_ref().is_some_and(|lanes| {
            let has_heartbeat = lanes.first.is_none() && (!lanes.pongs.is_empty() || lanes.ping.is_some());
            lanes.counted() > held || has_heartbeat
        })
    }

    pub(super) fn next_farewell(&mut self) -> Option<Bytes> {
        let frame = self.take(|lanes| lanes.farewell.pop_front())?;
        self.sealed = true;
        Some(frame)
    }
}

#[cfg(feature = "model")]
impl Outbox {
    pub(super) fn digest(&self, digest: &mut super::digest::Digest<'_>) {
        let Outbox { lanes, sealed, queued } = self;
        digest.flag(*sealed);
        digest.number((*queued).into());
        let none = Lanes::default();
        let Lanes { first, pongs, ping, control, bytes: _, farewell } = lanes.as_deref().unwrap_or(&none);
        for lane in [pongs, control, farewell] {
            digest.number(lane.len() as u64);
            lane.iter().for_each(|frame| digest.frame(frame));
        }
        for frame in [first, ping] {
            digest.frame(frame.as_deref().unwrap_or_default());
        }
    }
}
