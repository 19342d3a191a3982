//! What waits to be sent, apart from events: lanes in the order of D27, each with a limit (D43).

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::config::Limits;

/// The lane is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
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
    /// The farewell has begun: nothing may follow it.
    sealed: bool,
}

impl Outbox {
    /// Begins an attachment; what was left of the one before is dropped.
    pub(super) fn open(&mut self, first: Bytes) {
        *self = Outbox { first: Some(first), ..Outbox::default() };
    }

    /// Whether the hello or welcome has been handed out.
    pub(super) fn has_opened(&self) -> bool {
        self.first.is_none()
    }

    fn has_room(&self, len: usize, limits: &Limits) -> bool {
        self.control.is_empty()
            || (self.control.len() < limits.control_frames && self.bytes.saturating_add(len) <= limits.control_bytes)
    }

    pub(super) fn push_control(&mut self, frame: Bytes, limits: &Limits) -> Result<(), Full> {
        if self.sealed {
            return Ok(());
        }
        if !self.has_room(frame.len(), limits) {
            return Err(Full);
        }
        self.bytes += frame.len();
        self.control.push_back(frame);
        Ok(())
    }

    /// Of unsent pongs beyond the limit the oldest goes; a heartbeat never costs the transport.
    pub(super) fn push_pong(&mut self, frame: Bytes, limits: &Limits) {
        if self.sealed {
            return;
        }
        while self.pongs.len() >= limits.unsent_pongs.max(1) {
            self.pongs.pop_front();
        }
        self.pongs.push_back(frame);
    }

    /// An unsent ping is not repeated.
    pub(super) fn wants_ping(&self) -> bool {
        self.ping.is_none() && !self.sealed
    }

    /// One small frame: it always has room.
    pub(super) fn set_ping(&mut self, frame: Bytes) {
        self.ping = Some(frame);
    }

    pub(super) fn set_farewell(&mut self, frames: impl IntoIterator<Item = Bytes>) {
        self.farewell = frames.into_iter().collect();
    }

    /// All lanes but the farewell are dropped: the transport is given up. A welcome that waits goes before it, for a
    /// transport begins with a welcome or an error.
    pub(super) fn keep_farewell(&mut self) {
        let farewell = self.take_farewell();
        *self = Outbox { farewell, sealed: true, ..Outbox::default() };
    }

    /// The transport is gone.
    pub(super) fn clear(&mut self) {
        *self = Outbox { sealed: true, ..Outbox::default() };
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The farewell, with the hello or welcome before it that still waits.
    pub(super) fn take_farewell(&mut self) -> VecDeque<Bytes> {
        let mut farewell = core::mem::take(&mut self.farewell);
        if !farewell.is_empty()
            && let Some(first) = self.first.take()
        {
            farewell.push_front(first);
        }
        farewell
    }

    pub(super) fn has_control(&self) -> bool {
        self.first.is_some() || !self.pongs.is_empty() || self.ping.is_some() || !self.control.is_empty()
    }

    pub(super) fn next_control(&mut self) -> Option<Bytes> {
        let ahead = self.first.take().or_else(|| self.pongs.pop_front()).or_else(|| self.ping.take());
        ahead.or_else(|| {
            let frame = self.control.pop_front()?;
            self.bytes -= frame.len();
            Some(frame)
        })
    }

    pub(super) fn next_farewell(&mut self) -> Option<Bytes> {
        let frame = self.farewell.pop_front()?;
        self.sealed = true;
        Some(frame)
    }
}
