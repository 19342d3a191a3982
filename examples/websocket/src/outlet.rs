//! What the loop has for a connection, and what the connection has still to write: the one thing both of them touch.
//!
//! The loop never waits here. It learns that there is too much, stops asking the endpoint for more, and is told when the
//! client has taken it.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// So much is handed over, and then written, at once.
const BATCH: usize = 64 << 10;
/// While more than this waits to be written, the connection is not writable.
const UNWRITTEN: usize = 256 << 10;

/// Shared by the loop and a connection's task. Small: there is one for each client.
#[derive(Default)]
pub struct Outlet(Mutex<State>);

#[derive(Default)]
struct State {
    batches: VecDeque<Vec<u8>>,
    /// The bytes of those batches, and of the one that is being written.
    unwritten: usize,
    /// The loop wants to know when there is room again.
    awaits_room: bool,
    may_read: bool,
    close: Option<CloseFrame>,
    waker: Option<Waker>,
}

impl Outlet {
    /// Lets the task read on.
    pub fn read_on(&self) {
        self.change(|state| state.may_read = true);
    }

    /// Lets the task write what there is, and then close the connection.
    pub fn close(&self, frame: CloseFrame) {
        self.change(|state| state.close = Some(frame));
    }

    /// Ready once the connection is to be closed. Until then the task is woken whenever something was handed over, allowed
    /// or ordered: it asks this before it looks at anything else.
    pub fn poll_close(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.close.is_some() {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// What to write next; empty if there is nothing.
    pub fn take(&self) -> Vec<u8> {
        self.state().batches.pop_front().unwrap_or_default()
    }

    /// So much was written; says whether the loop has to be told that there is room again.
    pub fn written(&self, bytes: usize) -> bool {
        let mut state = self.state();
        state.unwritten -= bytes;
        state.unwritten < UNWRITTEN / 2 && mem::take(&mut state.awaits_room)
    }

    /// Whether to read; it has to be allowed anew after each time.
    pub fn take_permit(&self) -> bool {
        mem::take(&mut self.state().may_read)
    }

    /// How to close, once all is written.
    pub fn close_order(&self) -> Option<CloseFrame> {
        self.state().close.clone()
    }

    /// Hands over a batch; says whether there is room for more.
    fn push(&self, batch: Vec<u8>) -> bool {
        self.change(|state| {
            state.unwritten += batch.len();
            state.batches.push_back(batch);
            state.awaits_room = state.unwritten >= UNWRITTEN;
            !state.awaits_room
        })
    }

    /// Changes something, and wakes the task.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop's side of an outlet: gathers messages, so that many go at once.
#[derive(Default)]
pub struct Batch {
    frames: Vec<u8>,
    /// How long the last one became.
    before: usize,
}

impl Batch {
    /// Takes a message (D38: it is one text message of WebSocket); says whether there is room for more. Nothing is lost
    /// where there is none.
    pub fn add(&mut self, message: &Bytes, outlet: &Outlet) -> bool {
        let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
        let length = message.len() as u64;
        if self.frames.capacity() == 0 {
            self.frames.reserve(self.before.max(header.len(length) + message.len()));
        }
        // A server's frames are not masked, so a message stands there as it is: this is the only copy that is made of it.
        // Writing to memory does not fail.
        let _ = header.format(length, &mut self.frames);
        self.frames.extend_from_slice(message);
        self.frames.len() < BATCH || self.flush(outlet)
    }

    /// Hands over what was taken; says whether there is room for more.
    pub fn flush(&mut self, outlet: &Outlet) -> bool {
        if self.frames.is_empty() {
            return true;
        }
        self.before = self.frames.len().min(BATCH + (4 << 10));
        outlet.push(mem::take(&mut self.frames))
    }
}
