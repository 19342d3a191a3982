//! Connections: one message a line over TCP, a thread to read each and a thread to write it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::Duration;

use arcp_proto::Limits;
use arcp_proto::endpoint::ConnId;
use arcp_proto::framing::{LineDecoder, LineTooLong, finish_line};
use bytes::{Bytes, BytesMut};

const CHUNK: usize = 16 << 10;

/// More than this unwritten, and a connection is not writable.
const UNWRITTEN: usize = 1 << 20;

/// A peer that takes nothing for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// What wakes the runtime's loop.
pub enum Wake {
    /// Somebody has connected.
    Connection(TcpStream),
    /// What a connection's reader has read; it waits for [`Line::read_on`].
    Read { conn: ConnId, lines: Vec<Result<Bytes, LineTooLong>>, is_partial: bool },
    /// A connection's writer has written so many bytes.
    Written { conn: ConnId, bytes: usize },
    /// There is nothing more to read.
    Ended(ConnId),
}

/// Waits for connections for as long as the process lives.
pub fn listen(listener: TcpListener, wakes: SyncSender<Wake>) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if wakes.send(Wake::Connection(stream)).is_err() {
                return;
            }
        }
    });
}

/// The loop's end of a connection. Dropped, it closes the connection as soon as what it was given is written.
pub struct Line {
    frames: Sender<Bytes>,
    read_on: SyncSender<()>,
    unwritten: usize,
}

impl Line {
    /// Starts a connection's threads.
    pub fn start(stream: TcpStream, conn: ConnId, wakes: &SyncSender<Wake>) -> std::io::Result<Line> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let writing = stream.try_clone()?;
        let (frames, to_write) = mpsc::channel();
        let (read_on, may_read) = mpsc::sync_channel(1);
        let (to_reader, to_writer) = (wakes.clone(), wakes.clone());
        thread::spawn(move || read(stream, conn, &to_reader, &may_read));
        thread::spawn(move || write(writing, conn, &to_write, &to_writer));
        Ok(Line { frames, read_on, unwritten: 0 })
    }

    /// Sends a message; says whether the connection can take more.
    pub fn send(&mut self, frame: Bytes) -> bool {
        self.unwritten += frame.len();
        // A writer that is gone has closed the connection: its reader says so.
        let _ = self.frames.send(frame);
        self.unwritten < UNWRITTEN
    }

    /// So much is written; says whether the connection can take more.
    pub fn written(&mut self, bytes: usize) -> bool {
        self.unwritten = self.unwritten.saturating_sub(bytes);
        self.unwritten < UNWRITTEN / 2
    }

    /// Lets the reader go on.
    pub fn read_on(&self) {
        let _ = self.read_on.try_send(());
    }
}

/// Reads a chunk, hands it over, and waits until the loop wants more: so at most one chunk of each connection waits.
fn read(mut stream: TcpStream, conn: ConnId, wakes: &SyncSender<Wake>, may_read: &Receiver<()>) {
    let limits = Limits::default();
    let mut decoder = LineDecoder::new(limits.opening_frame);
    loop {
        let mut chunk = BytesMut::zeroed(CHUNK);
        let len = stream.read(&mut chunk).unwrap_or(0);
        if len == 0 {
            break;
        }
        chunk.truncate(len);
        decoder.push(chunk.freeze());
        let mut lines = Vec::new();
        while let Some(line) = decoder.next_line() {
            lines.push(line);
            decoder.set_limit(limits.max_frame);
        }
        let is_partial = decoder.has_partial_line();
        if wakes.send(Wake::Read { conn, lines, is_partial }).is_err() || may_read.recv().is_err() {
            break;
        }
    }
    let _ = wakes.send(Wake::Ended(conn));
}

fn write(mut stream: TcpStream, conn: ConnId, frames: &Receiver<Bytes>, wakes: &SyncSender<Wake>) {
    let mut lines = Vec::new();
    while let Ok(frame) = frames.recv() {
        lines.clear();
        let mut bytes = 0;
        for frame in std::iter::once(frame).chain(frames.try_iter()) {
            bytes += frame.len();
            finish_line(&frame, &mut lines);
            if lines.len() >= CHUNK {
                break;
            }
        }
        if stream.write_all(&lines).is_err() || wakes.send(Wake::Written { conn, bytes }).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}
