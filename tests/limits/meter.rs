//! What an attack costs whom it is meant for.

use arcp_proto::endpoint::{ConnId, Endpoint};
use arcp_proto::{Now, Role, Session};
use bytes::Bytes;

use crate::heap;

/// A frame of exactly its size: nothing but what it says is on the heap for it.
pub(crate) fn frame(text: impl Into<Vec<u8>>) -> Bytes {
    Bytes::from(text.into().into_boxed_slice())
}

/// Measures what is done by the side under attack, and nothing of what the attacker does.
pub(crate) struct Meter {
    before: usize,
    pub(crate) input: usize,
    pub(crate) output: usize,
    /// The most that was on the heap beyond what there was before, the frame that is just handed in included.
    pub(crate) peak: usize,
    pub(crate) allocated: usize,
}

impl Meter {
    /// Begins: what is on the heap now is not counted.
    pub(crate) fn new() -> Meter {
        Meter { before: heap::bytes(), input: 0, output: 0, peak: 0, allocated: 0 }
    }

    // By this name the instructions are counted: see `tests/limits/linear`.
    #[inline(never)]
    pub(crate) fn attacked<T>(&mut self, run: impl FnOnce() -> T) -> T {
        heap::take_peak();
        let allocated = heap::allocated();
        let result = run();
        self.allocated += heap::allocated() - allocated;
        self.peak = self.peak.max(heap::take_peak().saturating_sub(self.before));
        result
    }

    pub(crate) fn feed<R: Role>(&mut self, session: &mut Session<R>, now: Now, frame: Bytes) {
        self.input += frame.len();
        self.attacked(|| session.handle_input(now, frame));
    }

    /// All that it has to send.
    pub(crate) fn read<R: Role>(&mut self, session: &mut Session<R>, now: Now) {
        while let Some(frame) = self.attacked(|| session.poll_transmit(now)) {
            self.output += frame.len();
        }
    }

    /// All that it has to tell, which is dropped.
    pub(crate) fn attend<R: Role>(&mut self, session: &mut Session<R>) {
        while self.attacked(|| session.poll_event()).is_some() {}
    }

    pub(crate) fn feed_endpoint(&mut self, endpoint: &mut Endpoint, now: Now, conn: ConnId, frame: Bytes) {
        self.input += frame.len();
        self.attacked(|| endpoint.handle_input(now, conn, frame));
    }

    /// All that it has to send, and the transports that it closes.
    pub(crate) fn read_endpoint(&mut self, endpoint: &mut Endpoint, now: Now) -> Vec<ConnId> {
        while let Some((_, frame)) = self.attacked(|| endpoint.poll_transmit(now)) {
            self.output += frame.len();
        }
        std::iter::from_fn(|| endpoint.poll_close()).collect()
    }
}
