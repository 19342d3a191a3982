//! A transport: ordered in both directions, until it is cut.

use std::collections::VecDeque;

use arcp_proto::Digest;
use bytes::Bytes;

#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    /// On their way to the runtime.
    pub(crate) up: VecDeque<Bytes>,
    /// On their way to the client.
    pub(crate) down: VecDeque<Bytes>,
    /// The client's driver has it open.
    pub(crate) client_end: bool,
    /// The runtime's driver has it open.
    pub(crate) runtime_end: bool,
    /// What is written from now on goes nowhere. What is on its way may still arrive, and either side may learn of it.
    pub(crate) cut: bool,
    /// Its first message was read and taken.
    pub(crate) opened: bool,
}

impl Link {
    pub(crate) fn new() -> Link {
        Link { client_end: true, runtime_end: true, ..Link::default() }
    }

    pub(crate) fn write_up(&mut self, frame: Bytes) {
        if !self.cut && self.runtime_end {
            self.up.push_back(frame);
        }
    }

    pub(crate) fn write_down(&mut self, frame: Bytes) {
        if !self.cut && self.client_end {
            self.down.push_back(frame);
        }
    }

    pub(crate) fn close_client_end(&mut self) {
        self.client_end = false;
        self.down.clear();
    }

    pub(crate) fn close_runtime_end(&mut self) {
        self.runtime_end = false;
        self.up.clear();
    }

    /// The client's driver may read its end: of a transport that was cut at any time, of another behind what was written.
    pub(crate) fn client_may_learn(&self) -> bool {
        self.client_end && (self.cut || self.client_sees_end())
    }

    pub(crate) fn runtime_may_learn(&self) -> bool {
        self.runtime_end && (self.cut || self.runtime_sees_end())
    }

    /// The other side has closed it, and all that it wrote before was read.
    pub(crate) fn client_sees_end(&self) -> bool {
        self.client_end && !self.cut && !self.runtime_end && self.down.is_empty()
    }

    pub(crate) fn runtime_sees_end(&self) -> bool {
        self.runtime_end && !self.cut && !self.client_end && self.up.is_empty()
    }

    pub(crate) fn digest(&self, digest: &mut Digest<'_>) {
        let Link { up, down, client_end, runtime_end, cut, opened } = self;
        for lane in [up, down] {
            digest.number(lane.len() as u64);
            lane.iter().for_each(|frame| digest.frame(frame));
        }
        for flag in [*client_end, *runtime_end, *cut, *opened] {
            digest.flag(flag);
        }
    }
}
