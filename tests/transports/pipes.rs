//! One message a line, on the standard input and output of a child process.

use std::io::{self, Read, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use arcp_proto::framing::{LineDecoder, finish_line};
use bytes::{Bytes, BytesMut};

use crate::lines::next_message;
use crate::transport::{Received, Transport};

pub(crate) struct Pipes {
    stdin: Option<ChildStdin>,
    /// A pipe's reads have no timeout of their own: a thread reads. It is at most a few chunks ahead.
    chunks: Receiver<Bytes>,
    decoder: LineDecoder,
    is_at_end: bool,
}

impl Pipes {
    pub(crate) fn new(stdin: ChildStdin, mut stdout: ChildStdout) -> Pipes {
        let (to_test, chunks) = mpsc::sync_channel(4);
        thread::spawn(move || {
            loop {
                let mut chunk = BytesMut::zeroed(32 << 10);
                match stdout.read(&mut chunk) {
                    Ok(len @ 1..) => chunk.truncate(len),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Ok(0) | Err(_) => return,
                }
                if to_test.send(chunk.freeze()).is_err() {
                    return;
                }
            }
        });
        Pipes { stdin: Some(stdin), chunks, decoder: LineDecoder::default(), is_at_end: false }
    }

    /// Whatever bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(bytes)?;
        stdin.flush()
    }

    /// There will be no more messages from here.
    pub(crate) fn finish(&mut self) {
        self.stdin = None;
    }
}

impl Transport for Pipes {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let mut line = Vec::with_capacity(message.len() + 1);
        finish_line(message, &mut line);
        self.write(&line)
    }

    fn receive(&mut self, wait: Duration) -> Received {
        if let Some(message) = next_message(&mut self.decoder, self.is_at_end) {
            return Received::Message(message);
        }
        if self.is_at_end {
            return Received::End(None);
        }
        match self.chunks.recv_timeout(wait) {
            Ok(chunk) => self.decoder.push(chunk),
            Err(RecvTimeoutError::Timeout) => return Received::Nothing,
            Err(RecvTimeoutError::Disconnected) => self.is_at_end = true,
        }
        match next_message(&mut self.decoder, self.is_at_end) {
            Some(message) => Received::Message(message),
            None if self.is_at_end => Received::End(None),
            None => Received::Part,
        }
    }
}
