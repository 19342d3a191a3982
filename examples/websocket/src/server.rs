//! A runtime for many clients over WebSocket: an [`Endpoint`](arcp_proto::endpoint::Endpoint), and a loop around it under
//! tokio. It is the model of how to embed one there.
//!
//! One task owns the endpoint and decides everything; nothing is locked but what it hands to a connection. Each connection
//! has a task that does the socket:
//!
//! ```text
//!  accept ──▶┐                               ┌──Outlet──▶ connection ⇄ socket
//!  signals ─▶┤ wakes ▶ Server: Host, Endpoint┤──Outlet──▶ connection ⇄ socket
//!  stdin ───▶┘   ▲                           └──Outlet──▶ …      │
//!                └────────────── what was read, at most once ────┘
//! ```
//!
//! Nothing grows. A client that floods is read again only when the endpoint [wants](arcp_proto::endpoint::Endpoint::wants_input)
//! more; of one that does not read 320 KiB and a message lie here, and the rest with its session, within the session's limits.
//!
//! It speaks plain HTTP: encryption is for a proxy in front of it, which ends TLS and passes the upgrade of `/arcp` on.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arcp_proto::endpoint::ConnId;
use arcp_proto::{Clock, Instant, Limits};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::connection::{self, GOODBYE};
use crate::decoder::{Decoded, Ending, close_frame};
use crate::ending;
use crate::outlet::{Batch, Outlet};
use crate::runtime::{Host, RuntimeOptions};

/// What may wait for the loop; whoever brings more waits.
const WAKES: usize = 1_024;

/// How long nobody is accepted after it could not be done: mostly there are no descriptors left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serve clients at ws://ADDR/arcp
///
/// Once it listens it says {"ev":"ready","port":N} on stderr. It ends on SIGINT or SIGTERM, or with --until-eof when its
/// stdin closes: every client is told goodbye, within ten seconds; a second signal ends it at once. It has no encryption
/// of its own: listen on loopback, or put a proxy in front that ends TLS.
#[derive(clap::Args, Debug)]
#[command(after_help = crate::runtime::AGENTS)]
pub struct ServerOptions {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7777")]
    listen: SocketAddr,
    /// End when stdin closes
    #[arg(long)]
    until_eof: bool,
    #[command(flatten)]
    runtime: RuntimeOptions,
}

/// What wakes the loop.
pub enum Wake {
    Accepted(TcpStream),
    /// The task waits for [`Outlet::read_on`] before it reads more.
    Heard {
        from: ConnId,
        decoded: Decoded,
    },
    /// There is room again, where there was none.
    Writable(ConnId),
    /// The connection is gone, and so is its task.
    Ended(ConnId),
    Stop,
}

/// The loop's end of a connection.
struct Link {
    outlet: Arc<Outlet>,
    batch: Batch,
}

struct Server {
    clock: Clock,
    host: Host,
    limits: Arc<Limits>,
    wakes: Sender<Wake>,
    links: BTreeMap<ConnId, Link>,
    /// Their tasks wait to read on.
    waiting: Vec<ConnId>,
    /// How many tasks there are, those of closing connections among them.
    tasks: usize,
}

/// Serves until it is stopped.
pub fn run(options: &ServerOptions) -> io::Result<()> {
    // One thread: the loop is what there is to do, and it wakes the connections without going to another processor.
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio.block_on(async {
        let listener = TcpListener::bind(options.listen).await?;
        let port = listener.local_addr()?.port();
        let (wakes, woken) = mpsc::channel(WAKES);
        let end = wakes.clone();
        ending::on_signal(move || drop(end.blocking_send(Wake::Stop)))?;
        if options.until_eof {
            await_eof(wakes.clone());
        }
        let accepting = task::spawn(accept(listener, wakes.clone()));
        // Whoever started it may not want to know.
        let _ = writeln!(io::stderr(), "{}", serde_json::json!({"ev": "ready", "port": port}));
        let clock = Clock::new();
        let server = Server {
            clock,
            limits: Arc::new(options.runtime.config().runtime.limits.clone()),
            host: Host::new(&options.runtime, clock)?,
            wakes,
            links: BTreeMap::new(),
            waiting: Vec::new(),
            tasks: 0,
        };
        server.serve(woken).await;
        accepting.abort();
        Ok(())
    })
}

async fn accept(listener: TcpListener, wakes: Sender<Wake>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if wakes.send(Wake::Accepted(stream)).await.is_err() {
                    return;
                }
            }
            Err(_) => sleep(ACCEPT_AGAIN).await,
        }
    }
}

/// What comes on stdin is nobody's; that it ends is news.
fn await_eof(wakes: Sender<Wake>) {
    thread::spawn(move || {
        // An error is as much of an end.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        wakes.blocking_send(Wake::Stop)
    });
}

impl Server {
    async fn serve(mut self, mut woken: Receiver<Wake>) {
        let mut ends_at = None;
        let mut has_sent = false;
        loop {
            // 1. Wait for something to happen, or for the next deadline; but what was sent may have made room for a job that
            //    waits for it, so then there is nothing to wait for.
            let deadline = [self.host.poll_timeout(), ends_at].into_iter().flatten().min();
            let wait = deadline.map_or(Duration::MAX, |at| self.clock.sleep_for(at));
            let wait = if has_sent { Duration::ZERO } else { wait };
            let mut wake = None;
            if !wait.is_zero() {
                wake = timeout(wait, woken.recv()).await.unwrap_or(None);
            }
            if wake.is_none() {
                // What there is to be read, and written, goes before the time (D21).
                task::yield_now().await;
                wake = woken.try_recv().ok();
            }

            // 2. Take in what happened; but clients that never pause do not stop the clock.
            let mut taken = 0;
            while let Some(next) = wake {
                match next {
                    Wake::Accepted(stream) => self.accepted(stream),
                    Wake::Heard { from, decoded } => self.heard(from, decoded),
                    Wake::Writable(conn) => self.host.endpoint.set_writable(conn, true),
                    Wake::Ended(conn) => self.ended(conn),
                    Wake::Stop => {
                        let now = self.clock.now();
                        self.host.stop(now);
                        ends_at = Some(now.mono + 2 * GOODBYE);
                    }
                }
                taken += 1;
                wake = if taken < WAKES { woken.try_recv().ok() } else { None };
            }

            // 3. Time passes, jobs work, events are attended to.
            self.host.turn(self.clock.now());

            // 4. Send what there is to send, and close what is done with.
            has_sent = self.send();
            self.close();

            // 5. Read on where there is room for more.
            self.read_on();

            let is_over = self.host.endpoint.connection_count() == (0, 0) && self.tasks == 0;
            if ends_at.is_some_and(|at: Instant| is_over || at <= self.clock.now().mono) {
                return;
            }
        }
    }

    /// A client is the endpoint's from here on: its deadline for the first message, and how many there may be that have
    /// sent none, bound the upgrade, too (D9).
    fn accepted(&mut self, stream: TcpStream) {
        let conn = self.host.endpoint.connect(self.clock.now());
        let outlet = Arc::new(Outlet::default());
        let (limits, wakes) = (Arc::clone(&self.limits), self.wakes.clone());
        task::spawn(connection::serve(conn, stream, limits, Arc::clone(&outlet), wakes));
        self.links.insert(conn, Link { outlet, batch: Batch::default() });
        self.tasks += 1;
    }

    fn heard(&mut self, from: ConnId, decoded: Decoded) {
        let now = self.clock.now();
        let endpoint = &mut self.host.endpoint;
        for message in decoded.messages {
            endpoint.handle_input(now, from, message);
        }
        if decoded.is_partial {
            // A long message on its way is a sign of life (D21).
            endpoint.handle_activity(now, from);
        }
        match decoded.ending {
            None => self.waiting.push(from),
            Some(Ending::Closed) => self.lost(from, None),
            Some(Ending::Fault(fault, close)) => {
                if let Some(fault) = fault {
                    endpoint.handle_malformed(now, from, fault);
                }
                self.lost(from, Some(close));
            }
        }
    }

    fn ended(&mut self, conn: ConnId) {
        self.tasks -= 1;
        self.lost(conn, None);
    }

    /// Nothing more comes from there; it is closed by `close`, if it has not closed itself.
    fn lost(&mut self, conn: ConnId, close: Option<CloseFrame>) {
        if let Some(close) = close
            && self.links.contains_key(&conn)
        {
            // First the answers to what came before (D11).
            self.host.turn(self.clock.now());
            self.send();
            if let Some(link) = self.links.get(&conn) {
                link.outlet.close(close);
            }
        }
        self.links.remove(&conn);
        self.host.endpoint.handle_disconnect(self.clock.now(), conn);
    }

    /// Says whether there was anything.
    fn send(&mut self) -> bool {
        let now = self.clock.now();
        let mut to_flush = BTreeSet::new();
        let mut last = None;
        let mut has_sent = false;
        while let Some((conn, message)) = self.host.endpoint.poll_transmit(now) {
            has_sent = true;
            let Some(link) = self.links.get_mut(&conn) else { continue };
            if last.replace(conn) != Some(conn) {
                to_flush.insert(conn);
            }
            if !link.batch.add(&message, &link.outlet) {
                self.host.endpoint.set_writable(conn, false);
            }
        }
        for conn in to_flush {
            if let Some(link) = self.links.get_mut(&conn)
                && !link.batch.flush(&link.outlet)
            {
                self.host.endpoint.set_writable(conn, false);
            }
        }
        has_sent
    }

    fn close(&mut self) {
        while let Some(conn) = self.host.endpoint.poll_close() {
            // Its task writes what it has, and closes. A client that takes none of it is not waited for.
            if let Some(link) = self.links.remove(&conn) {
                link.outlet.close(close_frame(CloseCode::Normal, ""));
            }
        }
    }

    fn read_on(&mut self) {
        let (endpoint, links) = (&self.host.endpoint, &self.links);
        self.waiting.retain(|conn| {
            let Some(link) = links.get(conn) else { return false };
            let reads_on = endpoint.wants_input(*conn);
            if reads_on {
                link.outlet.read_on();
            }
            !reads_on
        });
    }
}
