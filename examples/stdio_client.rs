//! A client over stdio, in blocking std with threads: the model of how to embed `Session<Client>`.
//!
//! ```text
//! cargo run --example stdio_client -- --do 'submit echo {"hello":1}' --spawn cargo run --example stdio_runtime
//! ```
//!
//! All that is decided is decided in one thread, the one of `main`: it owns the session, and nothing else touches it. The
//! others do only what blocks:
//!
//! ```text
//!  reader ──messages─▶┐                                ┌─messages──▶ writer
//!  stdin ──commands──▶┤ main: Operator, Session<Client> ┤
//!  signals ──────────▶┘                                └──events───▶ stdout (stderr, where stdout is the wire)
//! ```
//!
//! Each way is bounded: a peer that floods waits for us to read, and one that does not read stops neither the heartbeat nor
//! Ctrl-C, for what it has not taken yet lies with the writer, and `poll_transmit` is not asked for more meanwhile.

#[path = "demo/client/mod.rs"]
mod client;
#[path = "demo/ending.rs"]
mod ending;
#[path = "demo/feature_list.rs"]
mod feature_list;
#[path = "demo/lines.rs"]
mod lines;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arcp_proto::{Clock, Limits};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use client::{ClientOptions, Input, Next, Operator, read_stdin};
use lines::{Lines, Told};

/// What may wait for `main`; whoever brings more waits.
const WAKES: usize = 16;
/// How long a transport that is given up may take to write what it has, and its child to end.
const GRACE: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// An ARCP client whose transport is standard input and output, one message a line
///
/// Without --spawn that is its own: the commands are given by --do then, and events are written to the standard error. With
/// --spawn it is that of a program that it starts, and events are written to the standard output.
///
/// It exits with 1 if a command or a job failed, events were lost, or the session ended otherwise than by its own goodbye.
#[derive(Parser)]
#[command(name = "stdio_client", version)]
struct Options {
    #[command(flatten)]
    client: ClientOptions,

    /// The program to start as the runtime, and its arguments: all the rest of the command line
    ///
    /// It is started anew when the connection is lost, so to resume it has to be the bridge to a runtime that lives on.
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
enum Wake {
    /// By the transport of that number.
    Lines(Told<u64>),
    /// Something moved elsewhere: look.
    Look,
}

struct Driver {
    clock: Clock,
    operator: Operator,
    /// The runtime, where it is ours to start.
    spawn: Option<Vec<OsString>>,
    transport: Option<Transport>,
    /// How many there were: what still comes of an older one is not fed in.
    transports: u64,
    limits: Limits,
    /// Those that are being given up.
    ending: Vec<JoinHandle<()>>,
    woken: Receiver<Wake>,
    wakes: SyncSender<Wake>,
    commands: Option<Receiver<Input>>,
    is_interrupted: Arc<AtomicBool>,
}

impl Driver {
    fn new(options: Options) -> io::Result<Driver> {
        let Options { client, spawn } = options;
        let (wakes, woken) = mpsc::sync_channel(WAKES);
        let out: Box<dyn Write + Send> = if spawn.is_some() { Box::new(io::stdout()) } else { Box::new(io::stderr()) };
        let commands = client.commands.is_empty().then(|| listen_to_stdin(wakes.clone()));
        // A welcome may be long: it has the runtime's agents in it.
        let limits = client.config(spawn.is_some()).limits;
        let limits = Limits { opening_frame: limits.max_frame, ..limits };
        let clock = Clock::new();
        Ok(Driver {
            clock,
            limits,
            operator: Operator::new(clock.now(), client, spawn.is_some(), out),
            spawn,
            transport: None,
            transports: 0,
            ending: Vec::new(),
            is_interrupted: listen_to_signals(wakes.clone())?,
            woken,
            wakes,
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
                        self.read_on();
                        let until = self.operator.poll_timeout();
                        self.wait(until.map_or(Duration::MAX, |at| self.clock.sleep_for(at)));
                    }
                }
                Next::Over(code) => break code,
            }
        };
        // Whoever still reads finds nobody to tell, and ends.
        drop(self.woken);
        for ending in self.ending {
            let _ = ending.join();
        }
        ExitCode::from(code)
    }

    fn connect(&mut self) {
        self.ending.retain(|ending| !ending.is_finished());
        if !self.ending.is_empty() {
            // One child after the other: they may want the same port or file.
            return self.wait(LOOK);
        }
        self.transports += 1;
        let (id, limits, wakes) = (self.transports, &self.limits, &self.wakes);
        let transport = match &self.spawn {
            Some(command) => Transport::spawn(id, command, limits, wakes),
            None => Transport::start(id, (io::stdin(), io::stdout()), None, limits, wakes),
        };
        match transport {
            Ok(transport) => {
                self.transport = Some(transport);
                self.operator.connected(self.clock.now());
            }
            Err(error) => self.operator.unreachable(self.clock.now(), &error),
        }
    }

    fn hang_up(&mut self) {
        let Some(mut transport) = self.transport.take() else { return };
        // The farewell, if there is one: it is little, however much waits before it.
        while let Some(message) = self.operator.session().poll_transmit(self.clock.now()) {
            transport.lines.send(&message);
        }
        transport.lines.flush();
        self.ending.push(transport.close(self.wakes.clone()));
    }

    /// Hands to the writer what there is, as long as it has room.
    fn send(&mut self) {
        let Some(transport) = &mut self.transport else { return };
        while transport.is_writable
            && let Some(message) = self.operator.session().poll_transmit(self.clock.now())
        {
            transport.is_writable = transport.lines.send(&message);
        }
        transport.lines.flush();
    }

    /// Lets the reader go on, unless too much waits to be attended to (D43).
    fn read_on(&mut self) {
        if let Some(transport) = self.transport.as_mut().filter(|transport| transport.reader_waits)
            && self.operator.session().wants_input()
        {
            transport.reader_waits = false;
            transport.lines.read_on();
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

    fn wait(&mut self, time: Duration) {
        if let Ok(Wake::Lines(told)) = self.woken.recv_timeout(time) {
            self.told(told);
        }
    }

    /// What was read is fed in before the operator looks at the clock (D21).
    fn told(&mut self, told: Told<u64>) {
        let id = match &told {
            Told::Read { from: id, .. } | Told::Written { to: id, .. } | Told::Ended(id) => *id,
        };
        let Some(transport) = self.transport.as_mut().filter(|transport| transport.id == id) else { return };
        let (now, session) = (self.clock.now(), self.operator.session());
        match told {
            Told::Read { messages, is_partial, .. } => {
                for message in messages {
                    match message {
                        Ok(message) => session.handle_input(now, message),
                        Err(too_long) => session.handle_malformed(now, too_long.into()),
                    }
                }
                if is_partial {
                    // A long message on its way is a sign of life.
                    session.handle_activity(now);
                }
                transport.reader_waits = true;
            }
            Told::Written { bytes, .. } => transport.is_writable |= transport.lines.written(bytes),
            Told::Ended(_) => session.handle_disconnect(now),
        }
    }
}

/// Lines each way, and the program behind them, where it is ours.
struct Transport {
    id: u64,
    lines: Lines,
    is_writable: bool,
    reader_waits: bool,
    child: Option<Child>,
    /// Ends when the writer has.
    written: Receiver<()>,
}

impl Transport {
    fn spawn(id: u64, command: &[OsString], limits: &Limits, wakes: &SyncSender<Wake>) -> io::Result<Transport> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        // In a group of its own, a terminal's Ctrl-C does not reach it: it is to be there still when we say goodbye.
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let name = program.to_string_lossy();
        let mut child = command.spawn().map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        match (child.stdout.take(), child.stdin.take()) {
            (Some(from), Some(to)) => Transport::start(id, (from, to), Some(child), limits, wakes),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn start(
        id: u64,
        streams: (impl Read + Send + 'static, impl Write + Send + 'static),
        child: Option<Child>,
        limits: &Limits,
        wakes: &SyncSender<Wake>,
    ) -> io::Result<Transport> {
        let (writes, written) = mpsc::sync_channel(0);
        let close = move || {
            drop(writes);
            // If it could not write, the peer has gone; but what that said before may be unread: the reader tells first.
            thread::sleep(GRACE / 2);
        };
        let lines = Lines::start(id, streams, limits, wakes, Wake::Lines, close)?;
        Ok(Transport { id, lines, is_writable: true, reader_waits: false, child, written })
    }

    /// Lets the writer finish, and the child end by itself at the end of its input. A child that takes too long is killed.
    /// Nobody has to wait for it until the end.
    fn close(self, wakes: SyncSender<Wake>) -> JoinHandle<()> {
        let Transport { lines, child, written, .. } = self;
        drop(lines);
        thread::spawn(move || {
            if let Some(mut child) = child {
                let mut time = Duration::ZERO;
                while time < GRACE && matches!(child.try_wait(), Ok(None)) {
                    thread::sleep(LOOK);
                    time += LOOK;
                }
                let _ = child.kill();
                let _ = child.wait();
            } else {
                let _ = written.recv_timeout(GRACE);
            }
            look(&wakes);
        })
    }
}

/// If there is no place for it, `main` is awake.
fn look(wakes: &SyncSender<Wake>) {
    let _ = wakes.try_send(Wake::Look);
}

/// Commands, one at a time: the next is read when this one was taken.
fn listen_to_stdin(wakes: SyncSender<Wake>) -> Receiver<Input> {
    let (commands, inputs) = mpsc::sync_channel(1);
    thread::spawn(move || {
        read_stdin(|input| {
            let is_wanted = commands.send(input).is_ok();
            look(&wakes);
            is_wanted
        });
    });
    inputs
}

/// The first signal is a wish; the second does not ask `main`, which may be where nothing reaches it.
fn listen_to_signals(wakes: SyncSender<Wake>) -> io::Result<Arc<AtomicBool>> {
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_interrupted);
    ending::on_signal(move || {
        flag.store(true, Ordering::Relaxed);
        look(&wakes);
    })?;
    Ok(is_interrupted)
}
