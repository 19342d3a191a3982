//! A runtime for one client on stdin and stdout, one message a line, in blocking std.
//!
//! ```text
//! cargo run --example stdio_client -- --do 'submit echo "hello"' --spawn cargo run --example stdio_runtime
//! ```
//!
//! Nothing but messages goes to stdout; what there is to say to a human goes to stderr. It ends when stdin closes, and on
//! SIGINT or SIGTERM, after a goodbye that takes ten seconds at most.

#[path = "demo/ending.rs"]
mod ending;
#[path = "demo/feature_list.rs"]
mod feature_list;
#[path = "demo/lines.rs"]
mod lines;
#[path = "demo/runtime/mod.rs"]
mod runtime;

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use arcp_proto::endpoint::ConnId;
use arcp_proto::{Clock, Instant};
use clap::Parser;
use lines::{Lines, Told};
use runtime::{Host, RuntimeOptions};

/// What may wait for the loop; whoever brings more waits.
const WAKES: usize = 16;

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(10);

/// A demo runtime on stdin and stdout, one message a line
///
/// It serves one client, and ends when its stdin closes; on SIGINT or SIGTERM, too, after a goodbye that takes ten seconds
/// at most. A second signal ends it at once.
#[derive(Parser)]
#[command(version, after_help = runtime::AGENTS)]
struct Options {
    #[command(flatten)]
    runtime: RuntimeOptions,
}

/// What wakes the loop.
enum Wake {
    Lines(Told<ConnId>),
    /// Nothing more is written.
    Written,
    End,
}

struct Server {
    clock: Clock,
    host: Host,
    /// The one transport; `None` once it is done with.
    lines: Option<Lines>,
    conn: ConnId,
    /// The reader waits.
    is_waiting: bool,
    /// The end has been ordered, and comes then at the latest.
    ends_at: Option<Instant>,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let clock = Clock::new();
    let mut host = Host::new(&options.runtime, clock)?;
    let conn = host.endpoint.connect(clock.now());
    let limits = options.runtime.config().runtime.limits.clone();
    let (wakes, woken) = mpsc::sync_channel(WAKES);
    let end = wakes.clone();
    ending::on_signal(move || drop(end.send(Wake::End)))?;
    let written = wakes.clone();
    let close = move || drop(written.send(Wake::Written));
    let lines = Lines::start(conn, (io::stdin(), io::stdout()), &limits, &wakes, Wake::Lines, close)?;
    Server { clock, host, lines: Some(lines), conn, is_waiting: false, ends_at: None }.serve(&woken);
    Ok(())
}

impl Server {
    fn serve(mut self, woken: &Receiver<Wake>) {
        let mut has_sent = false;
        loop {
            // 1. Wait for something to happen, or for the next deadline; but what was sent may have made room for a job that
            //    waits for it, so then there is nothing to wait for.
            let deadline = [self.host.poll_timeout(), self.ends_at].into_iter().flatten().min();
            let wait = deadline.map_or(Duration::MAX, |at| self.clock.sleep_for(at));
            match woken.recv_timeout(if has_sent { Duration::ZERO } else { wait }) {
                Ok(Wake::Lines(told)) => self.told(told),
                Ok(Wake::Written) => return,
                Ok(Wake::End) => self.end(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }

            // 2. Time passes, jobs work, events are attended to.
            self.host.turn(self.clock.now());

            // 3. Send what there is to send, and close what is done with.
            has_sent = self.send();
            if self.host.endpoint.poll_close().is_some() {
                self.finish();
            }

            // 4. Read on where there is room for more.
            if let Some(lines) =
                self.lines.as_ref().filter(|_| self.is_waiting && self.host.endpoint.wants_input(self.conn))
            {
                lines.read_on();
                self.is_waiting = false;
            }
            if self.ends_at.is_some_and(|at| at <= self.clock.now().mono) {
                return;
            }
        }
    }

    fn told(&mut self, told: Told<ConnId>) {
        let now = self.clock.now();
        let endpoint = &mut self.host.endpoint;
        match told {
            Told::Read { from, messages, is_partial } => {
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
                self.is_waiting = true;
            }
            Told::Written { to, bytes } => {
                if self.lines.as_mut().is_some_and(|lines| lines.written(bytes)) {
                    endpoint.set_writable(to, true);
                }
            }
            Told::Ended(conn) => {
                // Whoever asked and then closed may still read the answers.
                self.host.turn(now);
                self.send();
                self.host.endpoint.handle_disconnect(now, conn);
                self.finish();
            }
        }
    }

    /// The writer finishes what it has, and says so. Nobody waits for a parent that does not read.
    fn finish(&mut self) {
        self.lines = None;
        self.ends_at = self.ends_at.or(Some(self.clock.now().mono + GOODBYE));
    }

    fn end(&mut self) {
        let now = self.clock.now();
        self.host.stop(now);
        self.ends_at = Some(now.mono + GOODBYE);
    }

    /// Says whether there was anything.
    fn send(&mut self) -> bool {
        let Some(lines) = &mut self.lines else { return false };
        let mut has_sent = false;
        while let Some((conn, message)) = self.host.endpoint.poll_transmit(self.clock.now()) {
            if !lines.send(&message) {
                self.host.endpoint.set_writable(conn, false);
            }
            has_sent = true;
        }
        lines.flush();
        has_sent
    }
}
