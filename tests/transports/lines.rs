//! One message a line, over TCP.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use arcp_proto::framing::{LineDecoder, finish_line};
use bytes::{Bytes, BytesMut};

use crate::PATIENCE;
use crate::transport::{Received, Transport, at_least_a_moment, is_timeout};

pub(crate) struct Lines {
    stream: TcpStream,
    decoder: LineDecoder,
    is_at_end: bool,
}

impl Lines {
    pub(crate) fn connect(port: u16) -> Lines {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Lines { stream, decoder: LineDecoder::default(), is_at_end: false }
    }

    /// Whatever bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("bytes go out");
    }

    /// There will be no more messages from here.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("half closed");
    }
}

/// The next message, of a decoder that has one.
pub(crate) fn next_message(decoder: &mut LineDecoder, is_at_end: bool) -> Option<Bytes> {
    let line = if is_at_end { decoder.finish() } else { decoder.next_line() };
    line.map(|line| line.expect("no line is too long"))
}

impl Transport for Lines {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let mut line = Vec::with_capacity(message.len() + 1);
        finish_line(message, &mut line);
        self.stream.write_all(&line)
    }

    fn receive(&mut self, wait: Duration) -> Received {
        if let Some(message) = next_message(&mut self.decoder, self.is_at_end) {
            return Received::Message(message);
        }
        if self.is_at_end {
            return Received::End(None);
        }
        self.stream.set_read_timeout(Some(at_least_a_moment(wait))).expect("a timeout");
        let mut chunk = BytesMut::zeroed(32 << 10);
        match self.stream.read(&mut chunk) {
            Ok(len @ 1..) => {
                chunk.truncate(len);
                self.decoder.push(chunk.freeze());
            }
            Err(error) if is_timeout(&error) => return Received::Nothing,
            Ok(0) | Err(_) => self.is_at_end = true,
        }
        match next_message(&mut self.decoder, self.is_at_end) {
            Some(message) => Received::Message(message),
            None if self.is_at_end => Received::End(None),
            None => Received::Part,
        }
    }
}
