//! A transport of lines: one message a line, a thread that reads and one that writes.
//!
//! What neither may do is grow: the reader hands over a chunk and waits until it is asked to go on, and the writer says
//! what it has written, so that the loop stops giving it more while too much waits.
#![allow(unreachable_pub, reason = "a module of several programs, reachable in each of them")]

use std::io::{self, Read, Write};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::{mem, thread};

use arcp_proto::Limits;
use arcp_proto::framing::{LineDecoder, LineTooLong, finish_line};
use bytes::{Bytes, BytesMut};

/// So much is read at once.
const READ: usize = 16 << 10;
/// So much is written at once.
const WRITE: usize = 64 << 10;
/// While more than this waits to be written, the transport is not writable.
const UNWRITTEN: usize = 512 << 10;

/// What a transport's threads tell the loop. `Id` tells transports apart.
pub enum Told<Id> {
    /// What was read. The reader waits for [`Lines::read_on`].
    Read { from: Id, messages: Vec<Result<Bytes, LineTooLong>>, is_partial: bool },
    /// So many bytes were written.
    Written { to: Id, bytes: usize },
    /// There is nothing more to read, or nothing more is written: told once of each.
    Ended(Id),
}

/// The loop's end of a transport. Dropped, it writes what it was given and then closes; what still comes in is thrown away.
pub struct Lines {
    to_writer: Sender<Vec<u8>>,
    read_on: SyncSender<()>,
    batch: Vec<u8>,
    unwritten: usize,
}

impl Lines {
    /// Starts the threads. What they tell is put into the words of the loop by `told`. `close` is called once all is
    /// written, or cannot be.
    ///
    /// # Errors
    ///
    /// There are as many threads as there may be.
    pub fn start<Id: Clone + Send + 'static, W: Send + 'static>(
        id: Id,
        (reading, writing): (impl Read + Send + 'static, impl Write + Send + 'static),
        limits: &Limits,
        wakes: &SyncSender<W>,
        told: fn(Told<Id>) -> W,
        close: impl FnOnce() + Send + 'static,
    ) -> io::Result<Lines> {
        let (to_writer, batches) = mpsc::channel();
        let (read_on, may_read) = mpsc::sync_channel(1);
        let decoder = LineDecoder::new(limits.opening_frame);
        let max_frame = limits.max_frame;
        let (from, to_loop) = (id.clone(), wakes.clone());
        thread::Builder::new().spawn(move || {
            let tell = |what| to_loop.send(told(what)).is_ok();
            read(from.clone(), reading, decoder, max_frame, &may_read, &tell);
            tell(Told::Ended(from));
        })?;
        let to_loop = wakes.clone();
        // Without a writer the reader ends, too: nobody lets it read on.
        thread::Builder::new().spawn(move || {
            let tell = |what| to_loop.send(told(what)).is_ok();
            write(&id, writing, &batches, &tell);
            close();
            tell(Told::Ended(id));
        })?;
        Ok(Lines { to_writer, read_on, batch: Vec::new(), unwritten: 0 })
    }

    /// Takes a message to be written; says whether there is room for more. Nothing is lost where there is none.
    pub fn send(&mut self, message: &[u8]) -> bool {
        let before = self.batch.len();
        finish_line(message, &mut self.batch);
        self.unwritten += self.batch.len() - before;
        if self.batch.len() >= WRITE {
            self.flush();
        }
        self.unwritten < UNWRITTEN
    }

    /// Hands over what was taken.
    pub fn flush(&mut self) {
        if !self.batch.is_empty() {
            // A writer that is gone has told so.
            let _ = self.to_writer.send(mem::replace(&mut self.batch, Vec::with_capacity(WRITE)));
        }
    }

    /// So much was written; says whether there is room for more now.
    pub fn written(&mut self, bytes: usize) -> bool {
        self.unwritten -= bytes;
        self.unwritten < UNWRITTEN / 2
    }

    /// Lets the reader go on.
    pub fn read_on(&self) {
        let _ = self.read_on.try_send(());
    }
}

fn read<Id: Clone>(
    from: Id,
    mut stream: impl Read,
    mut decoder: LineDecoder,
    max_frame: usize,
    may_read: &Receiver<()>,
    tell: &impl Fn(Told<Id>) -> bool,
) {
    let mut is_at_end = false;
    while !is_at_end {
        let mut chunk = BytesMut::zeroed(READ);
        let mut messages = Vec::new();
        match stream.read(&mut chunk) {
            Ok(len @ 1..) => {
                chunk.truncate(len);
                decoder.push(chunk.freeze());
                while let Some(message) = decoder.next_line() {
                    messages.push(message);
                    // The first message of a transport is held to less than those after it (D9).
                    decoder.set_limit(max_frame);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => {
                messages.extend(std::iter::from_fn(|| decoder.finish()));
                is_at_end = true;
            }
        }
        let is_partial = decoder.has_partial_line();
        if !tell(Told::Read { from: from.clone(), messages, is_partial }) {
            return;
        }
        if may_read.recv().is_err() {
            // Nobody wants more, but it has to be taken: a connection that is closed while something is still coming in is
            // reset, and what was written last might never arrive.
            let _ = io::copy(&mut stream, &mut io::sink());
            return;
        }
    }
}

fn write<Id: Clone>(to: &Id, mut stream: impl Write, batches: &Receiver<Vec<u8>>, tell: &impl Fn(Told<Id>) -> bool) {
    while let Ok(batch) = batches.recv() {
        let is_written = stream.write_all(&batch).and_then(|()| stream.flush()).is_ok();
        if !is_written || !tell(Told::Written { to: to.clone(), bytes: batch.len() }) {
            return;
        }
    }
}
