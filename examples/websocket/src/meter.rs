//! A byte stream, encrypted or not, that knows whether anything came out of it.

use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A stream that notes when something was read: a long message on its way shows that the peer lives (D21), and a WebSocket tells
/// of it only when it is complete.
pub struct Meter {
    stream: Box<dyn Stream>,
    has_read: bool,
}

impl Meter {
    pub fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Meter {
        Meter { stream: Box::new(stream), has_read: false }
    }

    /// Whether anything was read since this was asked.
    pub fn has_read(&mut self) -> bool {
        mem::take(&mut self.has_read)
    }
}

impl AsyncRead for Meter {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        self.has_read |= into.filled().len() > before;
        read
    }
}

impl AsyncWrite for Meter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
