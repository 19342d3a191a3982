//! What clients need of a transport, whatever keeps its messages apart.

use std::io;
use std::time::Duration;

use bytes::Bytes;

/// What came, if anything did.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Bytes),
    /// A part of a message.
    Part,
    /// Nothing, in the time that was given.
    Nothing,
    /// Nothing more will come. Of a WebSocket, with the code by which it was closed.
    End(Option<u16>),
}

/// One end of a transport. Dropped, it is cut.
pub(crate) trait Transport: Send {
    /// Sends a message.
    fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// The next thing that comes, if it comes in this time.
    fn receive(&mut self, wait: Duration) -> Received;
}

/// A wait that sockets take for one: zero is none to them.
pub(crate) fn at_least_a_moment(wait: Duration) -> Duration {
    wait.max(Duration::from_millis(1))
}

/// Whether a read came to nothing because its time was over.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
