//! A client over stdio, in blocking std with threads: the model of how to embed `Session<Client>`.
//!
//! ```text
//! cargo run --example stdio_client -- --do 'submit echo {"hello":1}' --spawn target/debug/examples/stdio_runtime
//! ```
//!
//! All that is decided is decided in one thread, the one of `main`: it owns the session, and nothing else touches it. Threads
//! that read and write do only what blocks:
//!
//! ```text
//!  reader ──lines──▶┐                               ┌──lines──▶ writer
//!  stdin ─commands─▶┤ main: Operator, Session<Client>┤
//!  signals ──flag──▶┘                               └──events─▶ stdout (stderr, where stdout is the wire)
//! ```
//!
//! Each way is bounded: a peer that floods waits for us to read, and one that does not read stops neither the heartbeat nor
//! Ctrl-C, for what it has not taken yet lies with the writer, and `poll_transmit` is not asked for more.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arcp_proto::Clock;
use arcp_proto::framing::{LineDecoder, LineTooLong, finish_line};
use bytes::{Bytes, BytesMut};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use client::{ClientOptions, Input, Next, Operator, read_stdin};

#[path = "demo/client/mod.rs"]
mod client;

/// How much is read at once.
const CHUNK: usize = 16 << 10;
/// How many notices may wait for `main`.
const NOTICES: usize = 64;
/// How many bytes may lie with the writer.
const UNWRITTEN: usize = 256 << 10;
/// How long a wire that is given up may take to write what it has, and its child to end.
const GRACE: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// An ARCP client whose transport is standard input and output, one message a line.
///
/// Without --spawn that is its own: the commands are given by --do then, and events are written to the standard error. With
/// --spawn it is that of a program that it starts, and events are written to the standard output.
///
/// It exits with 1 if a command or a job failed, events were lost, or the session ended otherwise than by its own goodbye.
#[derive(Parser, Debug)]
struct Options {
    #[command(flatten)]
    client: ClientOptions,

    /// The program to start as the runtime, and its arguments: all the rest of the command line. It is started anew when
    /// the connection is lost, so to be resumed it has to be the bridge to a runtime that lives on
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
    spawn: Option<Vec<OsString>>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.spawn.is_none() && options.client.commands.is_empty() {
        let why = "without --spawn the standard input is the wire: give the commands by --do";
        Options::command().error(ErrorKind::MissingRequiredArgument, why).exit();
    }
    match Driver::new(options) {
        Ok(driver) => driver.run(),
        Err(error) => {
            eprintln!("stdio_client: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What wakes `main`.
enum Notice {
    /// Came from the wire of that number.
    Heard(u64, Heard),
    /// Something moved elsewhere: look.
    Wake,
}

enum Heard {
    Line(Bytes),
    TooLong(LineTooLong),
    /// A part of a line: the peer lives.
    Part,
    End,
}

struct Driver {
    clock: Clock,
    operator: Operator,
    /// The runtime, where it is ours to start.
    command: Option<Vec<OsString>>,
    wire: Option<Wire>,
    /// How many there were: what still comes of an older one is not fed in.
    wires: u64,
    /// Those that are being given up.
    ending: Vec<JoinHandle<()>>,
    notices: Receiver<Notice>,
    tell: SyncSender<Notice>,
    commands: Option<Receiver<Input>>,
    is_interrupted: Arc<AtomicBool>,
}

impl Driver {
    fn new(options: Options) -> io::Result<Driver> {
        let (tell, notices) = mpsc::sync_channel(NOTICES);
        let out: Box<dyn Write + Send> =
            if options.spawn.is_some() { Box::new(io::stdout()) } else { Box::new(io::stderr()) };
        let commands = options.client.commands.is_empty().then(|| listen_to_stdin(tell.clone()));
        let clock = Clock::new();
        Ok(Driver {
            clock,
            operator: Operator::new(clock.now(), options.client, options.spawn.is_some(), out),
            command: options.spawn,
            wire: None,
            wires: 0,
            ending: Vec::new(),
            is_interrupted: listen_to_signals(tell.clone())?,
            notices,
            tell,
            commands,
        })
    }

    fn run(mut self) -> ExitCode {
        let code = loop {
            if self.is_interrupted.swap(false, Ordering::Relaxed) {
                self.operator.interrupt(self.clock.now());
            }
            match self.operator.next(self.clock.now()) {
                Next::Connect => self.connect(),
                Next::HangUp => self.hang_up(),
                Next::Wait => {
                    self.send();
                    if !self.take_command() {
                        let until = self.operator.poll_timeout();
                        self.wait(until.map_or(Duration::MAX, |at| self.clock.sleep_for(at)));
                    }
                }
                Next::Over(code) => break code,
            }
        };
        // Readers find nobody to tell anything, and end.
        drop(self.notices);
        for ending in self.ending {
            let _ = ending.join();
        }
        ExitCode::from(code)
    }

    fn connect(&mut self) {
        self.ending.retain(|ending| !ending.is_finished());
        if !self.ending.is_empty() {
            // One child after the other: they may want the same port or file.
            return self.wait(10 * LOOK);
        }
        self.wires += 1;
        let wire = match &self.command {
            Some(command) => Wire::spawn(self.wires, command, &self.tell),
            None => Ok(Wire::new(self.wires, io::stdin(), io::stdout(), None, &self.tell)),
        };
        match wire {
            Ok(wire) => {
                self.wire = Some(wire);
                self.operator.connected(self.clock.now());
            }
            Err(error) => self.operator.unreachable(self.clock.now(), &error),
        }
    }

    fn hang_up(&mut self) {
        // The farewell, if there is one: it is little, whatever still waits before it.
        self.send_up_to(usize::MAX);
        if let Some(wire) = self.wire.take() {
            self.ending.push(wire.close(self.tell.clone()));
        }
    }

    fn send(&mut self) {
        self.send_up_to(UNWRITTEN);
    }

    /// Hands to the writer what there is, while less than `limit` lies with it.
    fn send_up_to(&mut self, limit: usize) {
        let Some(wire) = &self.wire else { return };
        while wire.unwritten.load(Ordering::Acquire) < limit {
            let mut lines = Vec::new();
            while lines.len() < CHUNK
                && let Some(message) = self.operator.session().poll_transmit(self.clock.now())
            {
                finish_line(&message, &mut lines);
            }
            if lines.is_empty() {
                return;
            }
            wire.write(lines);
        }
    }

    /// Takes the next line of the script, if there is one and it is wanted.
    fn take_command(&mut self) -> bool {
        let Some(commands) = self.commands.as_ref().filter(|_| self.operator.wants_command()) else { return false };
        let input = commands.try_recv();
        let is_there = input.is_ok();
        if let Ok(input) = input {
            self.operator.command(input);
        }
        is_there
    }

    /// Waits for a notice, then takes those that are there. What was read goes before the time (D21), but a peer that
    /// never pauses does not stop the clock.
    fn wait(&mut self, time: Duration) {
        let Ok(mut notice) = self.notices.recv_timeout(time) else { return };
        for _ in 0..NOTICES {
            self.hear(notice);
            if !self.operator.session().wants_input() {
                return;
            }
            let Ok(next) = self.notices.try_recv() else { return };
            notice = next;
        }
        self.hear(notice);
    }

    fn hear(&mut self, notice: Notice) {
        let Notice::Heard(wire, heard) = notice else { return };
        if self.wire.as_ref().is_none_or(|present| present.number != wire) {
            return;
        }
        let (now, session) = (self.clock.now(), self.operator.session());
        match heard {
            Heard::Line(line) => session.handle_input(now, line),
            Heard::TooLong(too_long) => session.handle_malformed(now, too_long.into()),
            Heard::Part => session.handle_activity(now),
            Heard::End => session.handle_disconnect(now),
        }
    }
}

/// A byte stream each way, with a thread at each end.
struct Wire {
    number: u64,
    lines: Sender<Vec<u8>>,
    /// Bytes that the writer has and the peer has not taken.
    unwritten: Arc<AtomicUsize>,
    writer: JoinHandle<()>,
    child: Option<Child>,
}

impl Wire {
    fn spawn(number: u64, command: &[OsString], tell: &SyncSender<Notice>) -> io::Result<Wire> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A terminal's Ctrl-C is for us alone: the runtime is to be there still when we say goodbye.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        match (child.stdout.take(), child.stdin.take()) {
            (Some(from), Some(to)) => Ok(Wire::new(number, from, to, Some(child), tell)),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn new(
        number: u64,
        from: impl Read + Send + 'static,
        to: impl Write + Send + 'static,
        child: Option<Child>,
        tell: &SyncSender<Notice>,
    ) -> Wire {
        let reader_tells = tell.clone();
        // Nobody waits for the reader: it may be in a read that nothing ends.
        thread::spawn(move || read(from, |heard| reader_tells.send(Notice::Heard(number, heard)).is_ok()));
        let (lines, to_write) = mpsc::channel();
        let unwritten = Arc::new(AtomicUsize::new(0));
        let (left, tell) = (Arc::clone(&unwritten), tell.clone());
        let writer = thread::spawn(move || {
            if write(to, &to_write, &left, &tell).is_err() {
                // The peer has gone. What it said before is perhaps still to be read, so the reader has the first word.
                thread::sleep(GRACE / 2);
                let _ = tell.send(Notice::Heard(number, Heard::End));
            }
        });
        Wire { number, lines, unwritten, writer, child }
    }

    fn write(&self, lines: Vec<u8>) {
        self.unwritten.fetch_add(lines.len(), Ordering::AcqRel);
        // A writer that failed has told, or will.
        let _ = self.lines.send(lines);
    }

    /// Lets the writer finish and the child end by itself, which finds the end of its input. If that takes too long the
    /// child is killed. Nothing waits meanwhile; and nothing of it is left behind.
    fn close(self, tell: SyncSender<Notice>) -> JoinHandle<()> {
        let Wire { lines, writer, mut child, .. } = self;
        drop(lines);
        thread::spawn(move || {
            let mut time = Duration::ZERO;
            let has_ended = |child: &mut Option<Child>| {
                child.as_mut().map_or(writer.is_finished(), |child| !matches!(child.try_wait(), Ok(None)))
            };
            while time < GRACE && !has_ended(&mut child) {
                thread::sleep(LOOK);
                time += LOOK;
            }
            if let Some(mut child) = child {
                let _ = child.kill();
                let _ = child.wait();
            }
            let _ = tell.try_send(Notice::Wake);
        })
    }
}

/// Reads lines until the end, or until nobody wants more.
fn read(mut from: impl Read, tell: impl Fn(Heard) -> bool) {
    let mut decoder = LineDecoder::default();
    loop {
        let mut chunk = BytesMut::zeroed(CHUNK);
        let len = match from.read(&mut chunk) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        chunk.truncate(len);
        decoder.push(chunk.freeze());
        while let Some(line) = if len == 0 { decoder.finish() } else { decoder.next_line() } {
            if !tell(line.map_or_else(Heard::TooLong, Heard::Line)) {
                return;
            }
        }
        if len == 0 {
            tell(Heard::End);
            return;
        }
        if decoder.has_partial_line() && !tell(Heard::Part) {
            return;
        }
    }
}

/// Writes lines until no more come.
fn write(
    mut to: impl Write,
    lines: &Receiver<Vec<u8>>,
    unwritten: &AtomicUsize,
    tell: &SyncSender<Notice>,
) -> io::Result<()> {
    for lines in lines {
        to.write_all(&lines)?;
        to.flush()?;
        let before = unwritten.fetch_sub(lines.len(), Ordering::AcqRel);
        if before >= UNWRITTEN && before - lines.len() < UNWRITTEN {
            wake(tell);
        }
    }
    Ok(())
}

/// If there is no place for the notice, `main` is not asleep.
fn wake(tell: &SyncSender<Notice>) {
    let _ = tell.try_send(Notice::Wake);
}

/// Commands, one at a time: the next is read when this one was taken.
fn listen_to_stdin(tell: SyncSender<Notice>) -> Receiver<Input> {
    let (commands, inputs) = mpsc::sync_channel(1);
    thread::spawn(move || {
        read_stdin(|input| {
            let is_wanted = commands.send(input).is_ok();
            wake(&tell);
            is_wanted
        });
    });
    inputs
}

/// The first signal is a wish, the second an order: `main` may be where nothing reaches it. A child finds its input closed.
fn listen_to_signals(tell: SyncSender<Notice>) -> io::Result<Arc<AtomicBool>> {
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_interrupted);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        for (earlier, _) in signals.forever().enumerate() {
            if earlier > 0 {
                std::process::exit(1);
            }
            flag.store(true, Ordering::Relaxed);
            wake(&tell);
        }
    });
    Ok(is_interrupted)
}
