//! What goes out on which transport, and when a transport is done with.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::Bytes;

use super::Endpoint;
use super::connection::{ConnId, LastWords, Stage};
use super::registry::Key;
use crate::time::{Instant, Now};

impl Endpoint {
    /// The next message, and the transport that it is for; transports take turns. `None`: nothing to send for now.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Now) -> Option<(ConnId, Bytes)> {
        let now = self.tick(now);
        while let Some(conn) = self.sending.pop_front() {
            let Some(state) = self.conns.get_mut(conn) else { continue };
            state.is_queued = false;
            if !state.is_writable {
                continue;
            }
            let frame = match &mut state.stage {
                Stage::Attached(key) => {
                    let key = *key;
                    self.next_of_session(now, conn, key)
                }
                Stage::Leaving(last) => {
                    let frame = last.0.pop_front();
                    if last.0.is_empty() {
                        self.order_close(conn);
                    } else {
                        self.queue_conn(conn);
                    }
                    frame
                }
                Stage::Fresh | Stage::Judging(_) => None,
            };
            if let Some(frame) = frame {
                return Some((conn, frame));
            }
        }
        None
    }

    fn next_of_session(&mut self, now: Now, conn: ConnId, key: Key) -> Option<Bytes> {
        let frame = self.registry.get_mut(key)?.session.poll_transmit(now);
        if frame.is_some()
            && let Some(state) = self.conns.get_mut(conn)
        {
            state.is_welcomed = true;
        }
        // It may have been the last before a farewell, and has made room in the window.
        self.serve(now, key);
        frame
    }

    /// The transport has something to send, or may have.
    #[inline]
    pub(super) fn queue_conn(&mut self, conn: ConnId) {
        if let Some(state) = self.conns.get_mut(conn)
            && !state.is_queued
            && state.is_writable
        {
            state.is_queued = true;
            self.sending.push_back(conn);
        }
    }

    /// The transport is done with: these are its last messages, then it is to be closed.
    pub(super) fn leave(&mut self, now: Now, conn: ConnId, last: impl IntoIterator<Item = Bytes>) {
        let last: VecDeque<Bytes> = last.into_iter().collect();
        let is_silent = last.is_empty();
        self.conns.set_stage(conn, Stage::Leaving(Box::new(LastWords(last))));
        if is_silent {
            self.order_close(conn);
        } else {
            self.set_conn_deadline(conn, now.mono + self.config.farewell_timeout);
            self.queue_conn(conn);
        }
    }

    pub(super) fn order_close(&mut self, conn: ConnId) {
        self.set_conn_deadline(conn, Instant::MAX);
        self.closing.push_back(conn);
    }
}
