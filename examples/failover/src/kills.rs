//! Kill after kill: the runtime that serves a client dies in mid-stream, and another goes on.

use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{self, Addresses, Plan, Report, Running, Tally};
use crate::counter::Input;
use crate::process::{Redis, RuntimeProcess};
use crate::random::Random;
use crate::runtime::{Mode, Options};
use crate::{Failure, Verdict};

/// As many numbers are counted for each kill; most of them while a new runtime starts.
const NUMBERS_PER_KILL: u64 = 200;

/// A kill comes at most so many numbers behind the last resume.
const LONGEST_RUN: u64 = 60;

/// How the kills go.
#[derive(Clone, Debug, clap::Args)]
pub struct KillOptions {
    /// How many runtimes are killed.
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// What is stored when.
    #[arg(long, value_enum, default_value = "each")]
    mode: Mode,
    /// How often it is stored in batched mode.
    #[arg(long, default_value_t = 50)]
    batch_ms: u64,
    /// Where the kills come; the same seed, the same places.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Every fourth time or so, the runtime to which the client flees is killed, too, while it takes over.
    #[arg(long)]
    hasty: bool,
    /// The pause between two numbers.
    #[arg(long, default_value_t = 2)]
    every_ms: u64,
    /// After so many seconds it has failed.
    #[arg(long, default_value_t = 120)]
    time_limit: u64,
}

struct Stage {
    options: Options,
    until: Instant,
    runtimes: Vec<RuntimeProcess>,
    addresses: Addresses,
    client: Running,
    /// The port of the runtime that serves the client; 0 while none does.
    served_by: u16,
    counted: u64,
}

/// Plays it.
pub fn run(options: &KillOptions) -> Result<Verdict, Failure> {
    let started = Instant::now();
    let redis = Redis::start()?;
    let of_runtime = Options { redis: redis.url.clone(), mode: options.mode, batch_ms: options.batch_ms };
    let to = NUMBERS_PER_KILL * u64::from(options.kills);
    let is_batched = options.mode != Mode::Each;
    let input = Input { to, every_ms: options.every_ms, at_once: 1 };
    let addresses = Addresses::default();
    let mut stage = Stage {
        until: started + Duration::from_secs(options.time_limit),
        runtimes: vec![RuntimeProcess::start(&of_runtime)?, RuntimeProcess::start(&of_runtime)?],
        options: of_runtime,
        client: client::start(addresses.clone(), Plan { input, starts_over: is_batched, is_watching: false }),
        addresses,
        served_by: 0,
        counted: 0,
    };
    stage.announce();
    let outcome = stage.play(options);
    if let Err(Failure::Early(_)) = outcome
        && stage.client.is_done()
    {
        stage.client.join().map_err(Failure::Client)?;
        return outcome.map(|_| Verdict::Bad);
    }
    let kills = outcome?;
    let tally = stage.client.join().map_err(Failure::Client)?;
    Ok(conclude(&tally, kills, to, started.elapsed()))
}

fn conclude(tally: &Tally, kills: u32, to: u64, took: Duration) -> Verdict {
    let Tally { events, lost, doubled, resumes, refused, .. } = tally;
    println!(
        "kills {kills}, events {events} of {}, resumes {resumes}, lost {lost}, doubled {doubled}, {:.1} s",
        to + 1,
        took.as_secs_f64()
    );
    if !refused.is_empty() {
        let again: u64 = refused.iter().sum();
        println!("sessions refused {}: {again} numbers had to be counted again", refused.len());
    }
    if *lost == 0 && *doubled == 0 && *events == to + 1 { Verdict::Good } else { Verdict::Bad }
}

impl Stage {
    /// Kills; says how many.
    fn play(&mut self, options: &KillOptions) -> Result<u32, Failure> {
        let mut random = Random::new(options.seed);
        let mut kills = 0;
        while kills < options.kills {
            self.await_service()?;
            let run = if random.below(4) == 0 { 0 } else { random.below(LONGEST_RUN) };
            self.await_number(self.counted + run)?;
            thread::sleep(Duration::from_micros(random.below(3_000)));
            let (port, at) = (self.served_by, self.counted);
            let killed = Instant::now();
            self.kill(port)?;
            kills += 1;
            print!("kill {kills:>2} behind number {at:>4}: the runtime on port {port} is dead");
            if options.hasty && kills < options.kills && random.below(4) == 0 {
                thread::sleep(Duration::from_micros(random.below(3_000)));
                if let Some(other) = self.runtimes.pop() {
                    print!(", so is the one on port {}", other.port);
                    other.kill()?;
                    kills += 1;
                }
                self.fill_up()?;
            }
            let lost_session = self.await_service()?;
            if let Some(had) = lost_session {
                print!("; the resume was refused, for the client had {had} numbers and the store fewer: begun anew");
            }
            println!("; served on port {} {:.1} ms later", self.served_by, 1e3 * killed.elapsed().as_secs_f64());
            self.fill_up()?;
        }
        self.await_end()?;
        Ok(kills)
    }

    fn announce(&self) {
        self.addresses.set(self.runtimes.iter().map(|runtime| runtime.port).collect());
    }

    fn kill(&mut self, port: u16) -> Result<(), Failure> {
        self.served_by = 0;
        let at = self.runtimes.iter().position(|runtime| runtime.port == port);
        if let Some(at) = at {
            self.runtimes.remove(at).kill()?;
        }
        Ok(())
    }

    /// In place of those that were killed.
    fn fill_up(&mut self) -> Result<(), Failure> {
        while self.runtimes.len() < 2 {
            self.runtimes.push(RuntimeProcess::start(&self.options)?);
        }
        self.announce();
        Ok(())
    }

    /// Takes in what the client says until `is_enough`; gives what it had in a session that was refused.
    fn follow(&mut self, mut is_enough: impl FnMut(&Stage) -> bool) -> Result<Option<u64>, Failure> {
        let mut lost_session = None;
        loop {
            while let Ok(report) = self.client.reports.try_recv() {
                self.hear(report, &mut lost_session);
            }
            if is_enough(self) {
                return Ok(lost_session);
            }
            let left = self.until.saturating_duration_since(Instant::now());
            match self.client.reports.recv_timeout(left) {
                Ok(report) => self.hear(report, &mut lost_session),
                Err(RecvTimeoutError::Timeout) => return Err(Failure::TimeLimit),
                // It is done, or has given up: its outcome says.
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::Early(self.counted)),
            }
        }
    }

    fn hear(&mut self, report: Report, lost_session: &mut Option<u64>) {
        match report {
            Report::Served(port) => self.served_by = port,
            Report::Counted(number) => self.counted = number,
            Report::SessionLost(had) => {
                self.counted = 0;
                *lost_session = Some(had);
            }
        }
    }

    /// Until a runtime that is alive serves the client.
    fn await_service(&mut self) -> Result<Option<u64>, Failure> {
        self.follow(|stage| stage.runtimes.iter().any(|runtime| runtime.port == stage.served_by))
    }

    fn await_number(&mut self, number: u64) -> Result<(), Failure> {
        self.follow(|stage| stage.counted >= number).map(|_| ())
    }

    fn await_end(&mut self) -> Result<(), Failure> {
        match self.follow(|stage| stage.client.is_done()) {
            Ok(_) | Err(Failure::Early(_)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}
