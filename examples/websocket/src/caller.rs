//! A client over WebSocket: a [`Session<Client>`](arcp_proto::Session), and a loop around it under tokio.
//!
//! One task does everything: nothing in it waits for one thing alone. What blocks, which is reading the standard input, has
//! a thread. A connection that is lost is made anew, and the session resumed on it; a connection that is only half there is
//! found by the session's heartbeat.

use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use arcp_proto::{Clock, Phase};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{ClientOptions, Input, Next, Operator, read_stdin};
use crate::decoder::close_frame;
use crate::dial::{Address, Dialer};
use crate::ending;
use crate::wire::Wire;

/// How long it may take until there is a connection.
const DIAL: Duration = Duration::from_secs(10);

/// How long the end of a connection may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Talk to a runtime at ws://HOST:PORT/arcp, or wss://
///
/// Events are written to the standard output, one JSON line each. It exits with 1 if a command or a job failed, events were
/// lost, or the session ended otherwise than by its own goodbye. SIGINT and SIGTERM say goodbye; a second one ends it at once.
#[derive(clap::Args, Debug)]
pub struct CallerOptions {
    /// Where the runtime is
    #[arg(value_name = "URL", value_parser = Address::parse)]
    address: Address,
    /// Authorities to trust beside the usual ones, as a PEM file
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    client: ClientOptions,
}

struct Caller {
    clock: Clock,
    operator: Operator,
    dialer: Dialer,
    max_frame: usize,
    wire: Option<Wire>,
    commands: Receiver<Input>,
    interrupts: Receiver<()>,
}

/// Carries the script out, or what comes on the standard input.
pub fn run(options: CallerOptions) -> io::Result<ExitCode> {
    let CallerOptions { address, ca, client } = options;
    let clock = Clock::new();
    let max_frame = client.config(true).limits.max_frame;
    let dialer = Dialer::new(address, ca.as_deref(), max_frame)?;
    let (interrupt, interrupts) = mpsc::channel(1);
    ending::on_signal(move || {
        // Nobody listens when it is over anyway.
        let _ = interrupt.blocking_send(());
    })?;
    let (command, commands) = mpsc::channel(1);
    if client.commands.is_empty() {
        thread::spawn(move || read_stdin(|input| command.blocking_send(input).is_ok()));
    }
    let operator = Operator::new(clock.now(), client, true, Box::new(io::stdout()));
    let caller = Caller { clock, operator, dialer, max_frame, wire: None, commands, interrupts };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = tokio.block_on(caller.run());
    // Nobody waits for what still looks up a name.
    tokio.shutdown_background();
    Ok(ExitCode::from(code))
}

impl Caller {
    async fn run(mut self) -> u8 {
        loop {
            match self.operator.next(self.clock.now()) {
                Next::Connect => self.connect().await,
                Next::HangUp => self.hang_up().await,
                Next::Wait => self.wait().await,
                Next::Over(code) => return code,
            }
        }
    }

    async fn connect(&mut self) {
        tokio::select! {
            Some(()) = self.interrupts.recv() => self.operator.interrupt(self.clock.now()),
            dialed = timeout(DIAL, self.dialer.dial()) => match dialed.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
                Ok(socket) => {
                    self.wire = Some(Wire::new(socket, self.max_frame));
                    self.operator.connected(self.clock.now());
                }
                Err(error) => self.operator.unreachable(self.clock.now(), &error),
            },
        }
    }

    async fn wait(&mut self) {
        let wait = self.operator.poll_timeout().map_or(Duration::MAX, |at| self.clock.sleep_for(at));
        let wants_command = self.operator.wants_command();
        let (operator, clock) = (&mut self.operator, &self.clock);
        let exchange = async {
            match &mut self.wire {
                Some(wire) => wire.exchange(clock, operator.session()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(()) = self.interrupts.recv() => self.operator.interrupt(self.clock.now()),
            Some(input) = self.commands.recv(), if wants_command => self.operator.command(input),
            // What was read goes before the time (D21).
            () = exchange => {}
            () = sleep(wait) => {}
        }
    }

    /// A session that has ended closes its connection properly. One that is to be resumed only lets go of it: the other side
    /// is gone, or it is `drop` that asked for it.
    async fn hang_up(&mut self) {
        let Some(wire) = self.wire.take() else { return };
        let session = self.operator.session();
        let close = (session.phase() == Phase::Closed).then(|| close_frame(CloseCode::Normal, ""));
        // However it goes, it was the end of it.
        let _ = timeout(GOODBYE, wire.finish(&self.clock, session, close)).await;
    }
}
