//! What the client's application knows, and what must be true of its session.

use arcp_proto::{Digest, Instant, RequestId};

/// Where a session stands by what its application was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// No welcome yet.
    New,
    Open,
    /// Without a transport.
    Lost,
    /// Client: a resume is under way.
    Trying,
    Closed,
}

#[derive(Clone, Debug)]
pub(crate) struct ClientBook {
    pub(crate) stand: Stand,
    /// The last event that it was given.
    pub(crate) delivered: u64,
    pub(crate) processed: u64,
    /// The most that it ever acknowledged.
    pub(crate) said: u64,
    /// When an acknowledgement is to be said, at the latest.
    pub(crate) ack_due: Option<Instant>,
    /// Requests without an answer.
    pub(crate) open: Vec<RequestId>,
    /// A request came to nothing: its answer may come late.
    pub(crate) gave_up: bool,
    /// While heartbeats count: when the last frame came.
    pub(crate) heard: Option<Instant>,
    /// Pings that were read and not answered.
    pub(crate) pongs_owed: u8,
    pub(crate) window_end: Option<Instant>,
    pub(crate) goodbye: bool,
    /// It ended in a way from which a snapshot leads back (D32).
    pub(crate) can_come_back: bool,
    /// The last attachment.
    pub(crate) epoch: u64,
    /// Nothing was written on this attachment.
    pub(crate) is_silent: bool,
}

impl ClientBook {
    pub(crate) fn new() -> ClientBook {
        ClientBook {
            stand: Stand::New,
            delivered: 0,
            processed: 0,
            said: 0,
            ack_due: None,
            open: Vec::new(),
            gave_up: false,
            heard: None,
            pongs_owed: 0,
            window_end: None,
            goodbye: false,
            can_come_back: false,
            epoch: 1,
            is_silent: true,
        }
    }

    pub(crate) fn digest(&self, digest: &mut Digest<'_>) {
        let ClientBook { stand, delivered, processed, said, ack_due, open, heard, pongs_owed, window_end, .. } = self;
        // `epoch` is the session's.
        let ClientBook { gave_up, goodbye, can_come_back, is_silent, .. } = self;
        digest.number(*stand as u64);
        for number in [*delivered, *processed, *said, u64::from(*pongs_owed)] {
            digest.number(number);
        }
        for at in [ack_due, heard, window_end] {
            digest.time_if_set(*at);
        }
        for request in open {
            digest.text(request.to_string().as_bytes());
        }
        for flag in [*gave_up, *goodbye, *can_come_back, *is_silent] {
            digest.flag(flag);
        }
    }
}
