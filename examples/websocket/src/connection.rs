//! A client's connection: a task that does what the socket allows, and nothing else.
//!
//! It decides nothing. What it read goes to the loop, and it reads on when it is told to; what it has to write lies in its
//! [`Outlet`]. It is kept small: a connection at rest is a socket, a [`Decoder`] and hardly any buffer.

use std::future::poll_fn;
use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arcp_proto::Limits;
use arcp_proto::endpoint::ConnId;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::decoder::{Decoded, Decoder, Ending};
use crate::outlet::Outlet;
use crate::server::Wake;
use crate::upgrade::upgrade;

/// How long the last messages of a connection, and then the client's part in closing it, may take.
pub const GOODBYE: Duration = Duration::from_secs(5);

/// So much is read at once.
const READ: usize = 16 << 10;

/// Serves a connection to its end, which is told in every case.
pub async fn serve(id: ConnId, stream: TcpStream, limits: Arc<Limits>, outlet: Arc<Outlet>, wakes: Sender<Wake>) {
    // A broken connection is an end like another: the session can be resumed.
    let _ = run(id, stream, &limits, &outlet, &wakes).await;
    // Where nobody is told, all has ended.
    let _ = wakes.send(Wake::Ended(id)).await;
}

async fn run(id: ConnId, stream: TcpStream, limits: &Limits, outlet: &Outlet, wakes: &Sender<Wake>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream = tokio::select! {
        // Who never gets so far is closed when the endpoint's time for a first message is over (D9).
        () = poll_fn(|cx| outlet.poll_close(cx)) => return Ok(()),
        upgraded = upgrade(stream) => upgraded.map_err(io::Error::other)?,
    };
    let mut connection = Connection {
        stream,
        decoder: Decoder::new(limits),
        batch: Vec::new(),
        written: 0,
        is_counted: false,
        has_room: false,
        may_read: true,
        is_deaf: false,
    };
    let close = loop {
        let wake = match poll_fn(|cx| connection.poll_step(cx, outlet)).await? {
            Step::Room => Wake::Writable(id),
            Step::Close(frame) => break Some(frame),
            Step::Heard(decoded) => {
                let is_closed = decoded.ending == Some(Ending::Closed);
                if wakes.send(Wake::Heard { from: id, decoded }).await.is_err() || is_closed {
                    break None;
                }
                continue;
            }
        };
        if wakes.send(wake).await.is_err() {
            break None;
        }
    };
    // Boxed, as the upgrade is: it is needed once.
    Box::pin(timeout(GOODBYE, connection.close(outlet, close))).await.unwrap_or(Ok(()))
}

/// What happened.
enum Step {
    /// Something came, perhaps the end. More is read when the loop allows it.
    Heard(Decoded),
    /// There is room again.
    Room,
    /// The loop has ordered the end.
    Close(CloseFrame),
}

struct Connection {
    stream: TcpStream,
    decoder: Decoder,
    /// Whole frames that are being written, and how far that is.
    batch: Vec<u8>,
    written: usize,
    /// They come from the outlet.
    is_counted: bool,
    /// The loop is to be told that there is room again.
    has_room: bool,
    may_read: bool,
    /// What still comes cannot be understood.
    is_deaf: bool,
}

impl Connection {
    fn poll_step(&mut self, cx: &mut Context<'_>, outlet: &Outlet) -> Poll<io::Result<Step>> {
        let close = outlet.poll_close(cx).map(|()| outlet.close_order());
        // What was written is told of at once, and what cannot be written does not keep anything else from happening.
        if let Poll::Ready(Err(error)) = self.poll_write(cx, outlet) {
            return Poll::Ready(Err(error));
        }
        if mem::take(&mut self.has_room) {
            return Poll::Ready(Ok(Step::Room));
        }
        if let Poll::Ready(Some(frame)) = close {
            return Poll::Ready(Ok(Step::Close(frame)));
        }
        self.may_read |= outlet.take_permit();
        if self.is_deaf || !self.may_read {
            return Poll::Pending;
        }
        let decoded = ready!(self.poll_read(cx))?;
        self.may_read = false;
        self.is_deaf = decoded.ending.is_some();
        Poll::Ready(Ok(Step::Heard(decoded)))
    }

    /// Reads what there is.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Decoded>> {
        // On the stack: only what was read is kept.
        let mut chunk = [MaybeUninit::uninit(); READ];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
        if chunk.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let decoded = if self.is_deaf { Decoded::default() } else { self.decoder.decode(chunk.filled()) };
        Poll::Ready(Ok(decoded))
    }

    /// Writes until nothing is left.
    fn poll_write(&mut self, cx: &mut Context<'_>, outlet: &Outlet) -> Poll<io::Result<()>> {
        loop {
            while let Some(rest) = self.batch.get(self.written..).filter(|rest| !rest.is_empty()) {
                let length = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
                if length == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.written += length;
                self.has_room |= self.is_counted && outlet.written(length);
            }
            // Between frames: WebSocket's own answers go first.
            (self.written, self.is_counted) = (0, false);
            self.batch = self.decoder.take_replies();
            if self.batch.is_empty() {
                self.batch = outlet.take();
                self.is_counted = true;
            }
            if self.batch.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Writes what is left, and the frame; then waits for the client to close, too. A connection that is dropped while
    /// something is still coming in is reset, and the client might never see why.
    async fn close(&mut self, outlet: &Outlet, frame: Option<CloseFrame>) -> io::Result<()> {
        poll_fn(|cx| self.poll_write(cx, outlet)).await?;
        let Some(frame) = frame else { return Ok(()) };
        let frame = self.decoder.close(frame);
        self.stream.write_all(&frame).await?;
        if self.is_deaf {
            // Its answer would not be understood, so this is the last that it hears.
            self.stream.shutdown().await?;
        }
        loop {
            let decoded = poll_fn(|cx| self.poll_read(cx)).await?;
            if decoded.ending == Some(Ending::Closed) {
                return Ok(());
            }
            self.is_deaf |= decoded.ending.is_some();
        }
    }
}
