//! How much may still happen: what makes a world small.

use arcp_proto::Digest;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stock {
    /// Events that the runtime's application sends.
    pub(crate) events: u8,
    /// Transports that are cut.
    pub(crate) cuts: u8,
    /// Deadlines that pass although something could be sent or read.
    pub(crate) delays: u8,
    /// Pages of jobs that the client asks for.
    pub(crate) queries: u8,
    /// Jobs that it asks for.
    pub(crate) submits: u8,
    /// The client's `close`.
    pub(crate) goodbyes: u8,
    /// The runtime's `shutdown`.
    pub(crate) shutdowns: u8,
    /// The client dies and is restored from its snapshot.
    pub(crate) crashes: u8,
    /// The runtime does.
    pub(crate) reloads: u8,
}

impl Stock {
    pub(crate) fn digest(self, digest: &mut Digest<'_>) {
        let Stock { events, cuts, delays, queries, submits, goodbyes, shutdowns, crashes, reloads } = self;
        for left in [events, cuts, delays, queries, submits, goodbyes, shutdowns, crashes, reloads] {
            digest.number(left.into());
        }
    }
}

/// Takes one, if there is one.
pub(crate) fn take(left: &mut u8) -> bool {
    let some = *left > 0;
    *left -= u8::from(some);
    some
}
