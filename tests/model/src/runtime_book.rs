//! What the runtime's application knows, and what must be true of its session.

use arcp_proto::{Digest, Instant, RequestId};

use crate::client_book::Stand;

/// What stands at a place in the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The application's event of that number.
    Event(u8),
    /// The status of back-pressure (D26).
    Pressure,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) request: RequestId,
    pub(crate) is_submit: bool,
    /// The transport that it came on is lost.
    pub(crate) is_orphan: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct RuntimeBook {
    pub(crate) stand: Stand,
    pub(crate) contents: Vec<Content>,
    /// Events that the application has thought of.
    pub(crate) begun: u8,
    /// The one of them that was refused.
    pub(crate) blocked: Option<u8>,
    pub(crate) is_pressed: bool,
    /// The lag counts from here.
    pub(crate) resumed_from: u64,
    pub(crate) acked: u64,
    /// The last event written on this attachment, or that the client had before it.
    pub(crate) sent: u64,
    /// The highest that was ever written.
    pub(crate) transmitted: u64,
    pub(crate) welcome_is_out: bool,
    pub(crate) is_silent: bool,
    /// Resume tokens that are good, by their digests.
    pub(crate) token: [u8; 32],
    pub(crate) presented: Option<[u8; 32]>,
    pub(crate) heard: Option<Instant>,
    pub(crate) pongs_owed: u8,
    pub(crate) window_end: Option<Instant>,
    pub(crate) retention_end: Option<Instant>,
    pub(crate) is_elapsed: bool,
    pub(crate) shutdown: bool,
    pub(crate) pending: Vec<Asked>,
    pub(crate) epoch: u64,
}

impl RuntimeBook {
    pub(crate) fn new() -> RuntimeBook {
        RuntimeBook {
            stand: Stand::New,
            contents: Vec::new(),
            begun: 0,
            blocked: None,
            is_pressed: false,
            resumed_from: 0,
            acked: 0,
            sent: 0,
            transmitted: 0,
            welcome_is_out: false,
            is_silent: true,
            token: [0; 32],
            presented: None,
            heard: None,
            pongs_owed: 0,
            window_end: None,
            retention_end: None,
            is_elapsed: false,
            shutdown: false,
            pending: Vec::new(),
            epoch: 0,
        }
    }

    pub(crate) fn emitted(&self) -> u64 {
        self.contents.len() as u64
    }

    /// Events that cannot be freed.
    pub(crate) fn held(&self, has_ack: bool) -> u64 {
        let freed = match (has_ack, self.stand) {
            (true, _) => self.acked,
            (false, Stand::Open) => self.sent,
            (false, _) => self.transmitted,
        };
        self.emitted().saturating_sub(freed)
    }

    pub(crate) fn lag(&self) -> u64 {
        self.emitted().saturating_sub(self.acked.max(self.resumed_from))
    }

    pub(crate) fn digest(&self, digest: &mut Digest<'_>) {
        // `epoch` is the session's.
        let RuntimeBook { stand, contents, begun, blocked, is_pressed, resumed_from, acked, sent, transmitted, .. } =
            self;
        let RuntimeBook { welcome_is_out, is_silent, token, presented, heard, pongs_owed, window_end, .. } = self;
        let RuntimeBook { retention_end, is_elapsed, shutdown, pending, .. } = self;
        digest.number(*stand as u64);
        digest.number(contents.len() as u64);
        for content in contents {
            digest.number(match content {
                Content::Event(number) => u64::from(*number),
                Content::Pressure => 1 << 32,
            });
        }
        for number in [*resumed_from, *acked, *sent, *transmitted, u64::from(*pongs_owed), u64::from(*begun)] {
            digest.number(number);
        }
        digest.number(blocked.map_or(1 << 32, u64::from));
        for flag in [*is_pressed, *welcome_is_out, *is_silent, *is_elapsed, *shutdown, presented.is_some()] {
            digest.flag(flag);
        }
        digest.token(token);
        if let Some(presented) = presented {
            digest.token(presented);
        }
        for at in [heard, window_end, retention_end] {
            digest.time_if_set(*at);
        }
        for Asked { request, is_submit, is_orphan } in pending {
            digest.text(request.to_string().as_bytes());
            digest.flag(*is_submit);
            digest.flag(*is_orphan);
        }
    }
}
