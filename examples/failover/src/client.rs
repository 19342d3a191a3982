//! A client that has one count done, and holds every number against the one before: none may be missing, none come twice.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arcp_proto::framing::{LineDecoder, LineTooLong, finish_line};
use arcp_proto::wire::job_event::{Progress, kind};
use arcp_proto::wire::{Credentials, Envelope, JobSubmit, PeerInfo, RawJson};
use arcp_proto::{Client, ClientConfig, ClientEvent, Clock, CloseReason, Delivery, Now, RequestFailure, Session};
use bytes::{Bytes, BytesMut};

use crate::counter::{AGENT, Input, Output};

const CHUNK: usize = 16 << 10;

/// Between two attempts, when nobody answers: doubled from the one to the other.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(320));

/// Where runtimes listen; they come and go.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Arc<Mutex<Vec<u16>>>);

impl Addresses {
    /// Those are the ports from here on.
    pub fn set(&self, ports: Vec<u16>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ports;
    }

    /// One that is not `last`, where there is one.
    fn next(&self, last: u16, attempt: usize) -> Option<u16> {
        let ports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others: Vec<_> = ports.iter().copied().filter(|port| *port != last || attempt > 1).collect();
        others.get(attempt % others.len().max(1)).copied()
    }
}

/// What the client says while it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The runtime at this port serves it now.
    Served(u16),
    /// It has this number.
    Counted(u64),
    /// Its session was refused: it has begun another, and the count with it. It had this number.
    SessionLost(u64),
}

/// What became of the count.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Numbers and results that came.
    pub events: u64,
    /// Numbers and results that did not.
    pub lost: u64,
    /// Numbers and results that came again.
    pub doubled: u64,
    /// How often the session was resumed.
    pub resumes: u64,
    /// Numbers that had been counted in sessions that were refused afterwards.
    pub refused: Vec<u64>,
    /// Each event as it came, where they are kept.
    pub frames: BTreeMap<u64, Bytes>,
}

/// How the client is to go about it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it asks for.
    pub input: Input,
    /// A refused session is no end: another is begun.
    pub starts_over: bool,
    /// Events are kept, and a transport that was given up is listened to until it ends.
    pub is_watching: bool,
}

/// Why the client gave up.
#[derive(Debug, thiserror::Error)]
pub enum GaveUp {
    /// The session ended.
    #[error("the session has ended: {0}")]
    Closed(CloseReason),
    /// The job was not done.
    #[error("the job was not done: {0}")]
    Job(String),
}

/// A client at work, in a thread of its own.
pub struct Running {
    /// What it says.
    pub reports: Receiver<Report>,
    /// What comes on transports that were given up.
    pub leftovers: Receiver<Leftover>,
    done: JoinHandle<Result<Tally, GaveUp>>,
}

impl Running {
    /// Whether it is done, well or not.
    pub fn is_done(&self) -> bool {
        self.done.is_finished()
    }

    /// What came of it.
    pub fn join(self) -> Result<Tally, GaveUp> {
        self.done.join().unwrap_or_else(|_| Err(GaveUp::Job("the client panicked".into())))
    }
}

/// What came on a transport after it was given up.
#[derive(Clone, Debug)]
pub enum Leftover {
    /// A message.
    Message(Bytes),
    /// The runtime has closed it.
    Ended,
}

/// Starts a client.
pub fn start(addresses: Addresses, plan: Plan) -> Running {
    let (reports, reported) = mpsc::channel();
    let (leftovers, left_over) = mpsc::channel();
    let done = thread::spawn(move || {
        let clock = Clock::new();
        let session = begin(&clock);
        let tally = Tally::default();
        let mut counting = Counting {
            clock,
            session,
            addresses,
            plan,
            tally,
            counted: 0,
            tries: 0,
            is_accepted: false,
            is_done: false,
            end: None,
            port: 0,
            reports,
            leftovers,
        };
        counting.run()?;
        Ok(counting.tally)
    });
    Running { reports: reported, leftovers: left_over, done }
}

fn begin(clock: &Clock) -> Session<Client> {
    let client = PeerInfo::new("failover-client", env!("CARGO_PKG_VERSION"));
    Session::connect(clock.now(), ClientConfig::new(client, Credentials::bearer("alice")))
}

struct Counting {
    clock: Clock,
    session: Session<Client>,
    addresses: Addresses,
    plan: Plan,
    tally: Tally,
    /// The last number.
    counted: u64,
    /// Counts begun; each has an idempotency key of its own.
    tries: u32,
    is_accepted: bool,
    is_done: bool,
    end: Option<CloseReason>,
    port: u16,
    reports: Sender<Report>,
    leftovers: Sender<Leftover>,
}

impl Counting {
    /// From one transport to the next until the count is done.
    fn run(&mut self) -> Result<(), GaveUp> {
        loop {
            let stream = self.reach();
            if self.session.phase() == arcp_proto::Phase::Detached {
                // It may just have ended: `drive` tells.
                let _ = self.session.resume(self.clock.now());
            }
            // A transport that fails is a transport that is lost.
            let _ = self.drive(stream);
            match self.end.take() {
                None => {}
                Some(CloseReason::Requested) if self.is_done => return Ok(()),
                // It had no welcome yet.
                Some(CloseReason::ConnectFailed(_)) => self.session = begin(&self.clock),
                Some(_) if self.plan.starts_over => self.start_over(),
                Some(reason) => return Err(GaveUp::Closed(reason)),
            }
        }
    }

    fn start_over(&mut self) {
        self.tally.refused.push(self.counted);
        self.tally.events -= self.counted;
        let _ = self.reports.send(Report::SessionLost(self.counted));
        (self.counted, self.is_accepted) = (0, false);
        self.tries += 1;
        self.session = begin(&self.clock);
    }

    /// The next runtime that can be reached: another than the last, if there is one.
    fn reach(&mut self) -> TcpStream {
        let mut pause = BACK_OFF.0;
        for attempt in 0.. {
            if let Some(port) = self.addresses.next(self.port, attempt)
                && let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            {
                self.port = port;
                return stream;
            }
            thread::sleep(pause);
            pause = (2 * pause).min(BACK_OFF.1);
        }
        unreachable!("the attempts have no end")
    }

    /// Runs until the transport is done with.
    fn drive(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (reading, mut writing) = (stream.try_clone()?, stream.try_clone()?);
        let (lines, incoming) = mpsc::sync_channel(64);
        thread::spawn(move || read(reading, |line| lines.send(line).is_ok()));
        let outcome = self.exchange(&incoming, &mut writing);
        if outcome.is_err() {
            self.session.handle_disconnect(self.clock.now());
        }
        self.attend();
        if self.plan.is_watching {
            self.listen_on(incoming);
        } else {
            stream.shutdown(Shutdown::Both)?;
        }
        outcome
    }

    fn exchange(&mut self, incoming: &Receiver<Line>, outgoing: &mut TcpStream) -> io::Result<()> {
        loop {
            let mut lines = Vec::new();
            while let Some(message) = self.session.poll_transmit(self.clock.now()) {
                finish_line(&message, &mut lines);
            }
            outgoing.write_all(&lines)?;
            if self.attend() {
                continue;
            }
            // Before the welcome to the first hello it is `Connecting`.
            if matches!(self.session.phase(), arcp_proto::Phase::Detached | arcp_proto::Phase::Closed) {
                return Ok(());
            }
            let wait = self.session.poll_timeout().map_or(Duration::MAX, |at| self.clock.sleep_for(at));
            match incoming.recv_timeout(wait) {
                Ok(Ok(message)) => self.session.handle_input(self.clock.now(), message),
                Ok(Err(too_long)) => self.session.handle_malformed(self.clock.now(), too_long.into()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.session.handle_disconnect(self.clock.now()),
            }
            if self.session.poll_timeout().is_some_and(|at| self.clock.sleep_for(at).is_zero()) {
                self.session.handle_timeout(self.clock.now());
            }
        }
    }

    /// Whatever still comes is nothing to the session.
    fn listen_on(&self, incoming: Receiver<Line>) {
        let leftovers = self.leftovers.clone();
        thread::spawn(move || {
            for message in incoming.into_iter().flatten() {
                let _ = leftovers.send(Leftover::Message(message));
            }
            let _ = leftovers.send(Leftover::Ended);
        });
    }

    /// Attends to what the session tells; says whether there was anything.
    fn attend(&mut self) -> bool {
        let mut was_told = false;
        while let Some(event) = self.session.poll_event() {
            was_told = true;
            let now = self.clock.now();
            let seq = event.seq();
            match event {
                ClientEvent::Connected(_) => {
                    let _ = self.reports.send(Report::Served(self.port));
                    self.submit(now);
                }
                ClientEvent::Resumed(_) => {
                    self.tally.resumes += 1;
                    let _ = self.reports.send(Report::Served(self.port));
                    // The outcome of the first submit is unknown: the same key gives the same job.
                    if !self.is_accepted {
                        self.submit(now);
                    }
                }
                ClientEvent::Accepted { .. } => self.is_accepted = true,
                ClientEvent::Event(delivery) if delivery.kind() == kind::PROGRESS => self.count(&delivery),
                ClientEvent::Finished { delivery, result } => {
                    self.keep(&delivery);
                    let output = result.result.as_ref().and_then(|result| result.parse::<Output>().ok());
                    let is_whole = output == Some(Output { counted: self.plan.input.to });
                    self.tally.lost += self.plan.input.to - self.counted + u64::from(!is_whole);
                    self.tally.doubled += u64::from(self.is_done);
                    self.tally.events += 1;
                    self.is_done = true;
                }
                ClientEvent::Failed { .. } | ClientEvent::EventsLost { .. } => self.tally.lost += 1,
                ClientEvent::RequestFailed { failure: RequestFailure::Refused(_), .. } => self.tally.lost += 1,
                ClientEvent::Closed(reason) => self.end = Some(reason),
                _ => {}
            }
            if let Some(seq) = seq {
                // Counted is processed: a real client writes it down first. What was polled may be marked.
                let _ = self.session.mark_processed(now, seq);
            }
            if self.is_done && self.session.phase() == arcp_proto::Phase::Open {
                self.session.close(now, "normal");
            }
        }
        was_told
    }

    fn submit(&mut self, now: Now) {
        let Ok(input) = RawJson::new(&self.plan.input) else { return };
        let submit = JobSubmit::new(AGENT, input).with_idempotency_key(format!("count-{}", self.tries));
        // It is open: nothing forbids it.
        let _ = self.session.submit(now, &submit);
    }

    fn count(&mut self, delivery: &Delivery) {
        self.keep(delivery);
        let number =
            delivery.body::<Progress>().ok().and_then(|progress| progress.current.as_u64()).unwrap_or_default();
        self.tally.events += 1;
        if number <= self.counted {
            self.tally.doubled += 1;
        } else {
            self.tally.lost += number - self.counted - 1;
            self.counted = number;
        }
        let _ = self.reports.send(Report::Counted(number));
    }

    fn keep(&mut self, delivery: &Delivery) {
        if let Some(seq) = delivery.seq().filter(|_| self.plan.is_watching) {
            self.tally.frames.insert(seq, delivery.envelope().frame().clone());
        }
    }
}

type Line = Result<Bytes, LineTooLong>;

fn read(mut stream: TcpStream, mut take: impl FnMut(Line) -> bool) {
    let mut decoder = LineDecoder::default();
    loop {
        let mut chunk = BytesMut::zeroed(CHUNK);
        let len = stream.read(&mut chunk).unwrap_or(0);
        if len == 0 {
            return;
        }
        chunk.truncate(len);
        decoder.push(chunk.freeze());
        while let Some(line) = decoder.next_line() {
            if !take(line) {
                return;
            }
        }
    }
}

/// The seq of a message that is an event.
pub fn event_seq(message: &Bytes) -> Option<u64> {
    Envelope::decode(message.clone()).ok()?.event_seq()
}
