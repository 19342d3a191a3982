//! A runtime for many clients over TCP, one message a line, in blocking std: an [`Endpoint`](arcp_proto::endpoint::Endpoint)
//! and a loop around it. Sessions can be cut, resumed and probed by any script that can write to a socket.
//!
//! ```text
//! cargo run --example tcp_runtime -- --listen 127.0.0.1:7778
//! ```
//!
//! Once it listens it says `{"ev":"ready","port":N}` on stderr. It ends on SIGINT or SIGTERM, or with `--until-eof` when its
//! stdin closes: every client is told goodbye, within ten seconds. TCP has neither encryption nor authentication of its own:
//! listen on loopback, or put something in front that has.

#[path = "demo/ending.rs"]
mod ending;
#[path = "demo/feature_list.rs"]
mod feature_list;
#[path = "demo/lines.rs"]
mod lines;
#[path = "demo/runtime/mod.rs"]
mod runtime;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use arcp_proto::endpoint::ConnId;
use arcp_proto::{Clock, Instant, Limits};
use clap::Parser;
use lines::{Lines, Told};
use runtime::{Host, RuntimeOptions};

/// What may wait for the loop; whoever brings more waits.
const WAKES: usize = 1_024;

/// How long the last messages of a connection, and those of all at the end, may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// How long nobody is accepted after it could not be done: mostly there are no descriptors left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A demo runtime over TCP, one message a line
///
/// Once it listens it says {"ev":"ready","port":N} on stderr. It ends on SIGINT or SIGTERM, or with --until-eof when its
/// stdin closes: every client is told goodbye, within ten seconds; a second signal ends it at once. TCP has neither
/// encryption nor authentication of its own: listen on loopback, or put something in front that has.
#[derive(Parser)]
#[command(version, after_help = runtime::AGENTS)]
struct Options {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7778")]
    listen: SocketAddr,
    /// End when stdin closes
    #[arg(long)]
    until_eof: bool,
    #[command(flatten)]
    runtime: RuntimeOptions,
}

/// What wakes the loop.
enum Wake {
    Connection(TcpStream),
    Lines(Told<ConnId>),
    End,
}

struct Server {
    clock: Clock,
    host: Host,
    limits: Limits,
    wakes: SyncSender<Wake>,
    lines: BTreeMap<ConnId, Lines>,
    /// Their readers wait.
    waiting: Vec<ConnId>,
    /// What is still written to, or may be read by the client, and until when at most.
    closing: VecDeque<(Instant, ConnId)>,
    streams: BTreeMap<ConnId, Stream>,
    /// Their readers or writers have ended just now.
    ended: Vec<ConnId>,
}

/// A connection, until nobody needs it any more.
struct Stream {
    tcp: Socket,
    /// The reader or the writer has ended.
    is_half_done: bool,
}

/// One descriptor for all who have to do with a connection.
#[derive(Clone)]
struct Socket(Arc<TcpStream>);

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(into)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tcp_runtime: {}: {error}", options.listen);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let listener = TcpListener::bind(options.listen)?;
    let port = listener.local_addr()?.port();
    let (wakes, woken) = mpsc::sync_channel(WAKES);
    accept(listener, wakes.clone());
    let end = wakes.clone();
    ending::on_signal(move || drop(end.send(Wake::End)))?;
    if options.until_eof {
        await_eof(wakes.clone());
    }
    // Whoever started it may not want to know.
    let _ = writeln!(io::stderr(), "{}", serde_json::json!({"ev": "ready", "port": port}));
    let clock = Clock::new();
    Server {
        clock,
        limits: options.runtime.config().runtime.limits.clone(),
        host: Host::new(&options.runtime, clock)?,
        wakes,
        lines: BTreeMap::new(),
        waiting: Vec::new(),
        closing: VecDeque::new(),
        streams: BTreeMap::new(),
        ended: Vec::new(),
    }
    .serve(&woken);
    Ok(())
}

fn accept(listener: TcpListener, wakes: SyncSender<Wake>) {
    thread::spawn(move || {
        for connection in listener.incoming() {
            match connection {
                Ok(stream) => {
                    if wakes.send(Wake::Connection(stream)).is_err() {
                        return;
                    }
                }
                Err(_) => thread::sleep(ACCEPT_AGAIN),
            }
        }
    });
}

/// What comes on stdin is nobody's; that it ends is news.
fn await_eof(wakes: SyncSender<Wake>) {
    thread::spawn(move || {
        // An error is as much of an end.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        wakes.send(Wake::End)
    });
}

impl Server {
    fn serve(mut self, woken: &Receiver<Wake>) {
        let mut ends_at = None;
        let mut has_sent = false;
        loop {
            // 1. Wait for something to happen, or for the next deadline; but what was sent may have made room for a job that
            //    waits for it, so then there is nothing to wait for. What was read goes before the time, but clients that
            //    never pause do not stop the clock.
            let deadline = self.next_deadline(ends_at);
            let wait = deadline.map_or(Duration::MAX, |at| self.clock.sleep_for(at));
            let wait = if has_sent { Duration::ZERO } else { wait };
            match woken.recv_timeout(wait) {
                Ok(first) => {
                    for wake in std::iter::once(first).chain(woken.try_iter().take(WAKES)) {
                        match wake {
                            Wake::Connection(stream) => self.connected(stream),
                            Wake::Lines(told) => self.told(told),
                            Wake::End => {
                                let now = self.clock.now();
                                self.host.stop(now);
                                ends_at = Some(now.mono + 2 * GOODBYE);
                            }
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }

            // 2. Time passes, jobs work, events are attended to.
            self.host.turn(self.clock.now());

            // 3. Send what there is to send, and close what is done with.
            has_sent = self.send();
            has_sent |= self.take_leave();
            self.close();

            // 4. Read on where there is room for more.
            self.read_on();

            let is_over = self.host.endpoint.connection_count() == (0, 0) && self.streams.is_empty();
            if ends_at.is_some_and(|at| is_over || at <= self.clock.now().mono) {
                return;
            }
        }
    }

    fn next_deadline(&self, ends_at: Option<Instant>) -> Option<Instant> {
        let closing = self.closing.front().map(|(at, _)| *at);
        [self.host.poll_timeout(), closing, ends_at].into_iter().flatten().min()
    }

    fn connected(&mut self, stream: TcpStream) {
        let now = self.clock.now();
        let conn = self.host.endpoint.connect(now);
        let tcp = Socket(Arc::new(stream));
        let started = tcp.0.set_nodelay(true).and_then(|()| {
            let closing = tcp.clone();
            // The client closes the other half when it has read all: to close it here might cut it short.
            let close = move || drop(closing.0.shutdown(Shutdown::Write));
            Lines::start(conn, (tcp.clone(), tcp.clone()), &self.limits, &self.wakes, Wake::Lines, close)
        });
        match started {
            Ok(lines) => {
                self.lines.insert(conn, lines);
                self.streams.insert(conn, Stream { tcp, is_half_done: false });
            }
            // It is gone already, or there are no threads left.
            Err(_) => {
                let _ = tcp.0.shutdown(Shutdown::Both);
                self.host.endpoint.handle_disconnect(now, conn);
            }
        }
    }

    fn told(&mut self, told: Told<ConnId>) {
        let now = self.clock.now();
        match told {
            Told::Read { from, messages, is_partial } => {
                let endpoint = &mut self.host.endpoint;
                for message in messages {
                    match message {
                        Ok(message) => endpoint.handle_input(now, from, message),
                        Err(too_long) => endpoint.handle_malformed(now, from, too_long.into()),
                    }
                }
                if is_partial {
                    // A long message on its way is a sign of life (D21).
                    endpoint.handle_activity(now, from);
                }
                self.waiting.push(from);
            }
            Told::Written { to, bytes } => {
                if self.lines.get_mut(&to).is_some_and(|lines| lines.written(bytes)) {
                    self.host.endpoint.set_writable(to, true);
                }
            }
            Told::Ended(conn) => self.ended.push(conn),
        }
    }

    /// Takes leave of those that have ended; whoever asked and then closed its half has its answers by now. Says whether
    /// there was anybody.
    fn take_leave(&mut self) -> bool {
        let now = self.clock.now();
        let ended = mem::take(&mut self.ended);
        for conn in &ended {
            if self.lines.contains_key(conn) {
                self.host.endpoint.handle_disconnect(now, *conn);
                self.finish(now.mono, *conn);
            }
            if self.streams.get_mut(conn).is_some_and(|stream| mem::replace(&mut stream.is_half_done, true)) {
                self.closing.retain(|(_, closing)| closing != conn);
                self.streams.remove(conn);
            }
        }
        !ended.is_empty()
    }

    /// Says whether there was anything.
    fn send(&mut self) -> bool {
        let now = self.clock.now();
        let mut to_flush = BTreeSet::new();
        let mut last = None;
        while let Some((conn, message)) = self.host.endpoint.poll_transmit(now) {
            let Some(lines) = self.lines.get_mut(&conn) else { continue };
            if last.replace(conn) != Some(conn) {
                to_flush.insert(conn);
            }
            if !lines.send(&message) {
                self.host.endpoint.set_writable(conn, false);
            }
        }
        for conn in to_flush {
            if let Some(lines) = self.lines.get_mut(&conn) {
                lines.flush();
            }
        }
        last.is_some()
    }

    fn close(&mut self) {
        let now = self.clock.now();
        while let Some(conn) = self.host.endpoint.poll_close() {
            self.finish(now.mono, conn);
        }
        while let Some((_, conn)) = self.closing.pop_front_if(|(at, _)| *at <= now.mono) {
            if let Some(stream) = self.streams.remove(&conn) {
                let _ = stream.tcp.0.shutdown(Shutdown::Both);
            }
        }
    }

    /// The writer closes the connection, once it has written what it has. A client that takes none of it, or does not
    /// close in turn, is not waited for.
    fn finish(&mut self, now: Instant, conn: ConnId) {
        if self.lines.remove(&conn).is_some() {
            self.closing.push_back((now + GOODBYE, conn));
        }
    }

    fn read_on(&mut self) {
        let (endpoint, lines) = (&self.host.endpoint, &self.lines);
        self.waiting.retain(|conn| {
            let Some(lines) = lines.get(conn) else { return false };
            let reads_on = endpoint.wants_input(*conn);
            if reads_on {
                lines.read_on();
            }
            !reads_on
        });
    }
}
