//! Sessions that outlive the process that serves them: two runtimes behind one Redis, a client, and kill after kill.
//!
//! ```text
//! cargo run --release --manifest-path examples/failover/Cargo.toml
//! ```
//!
//! starts a `redis-server` on loopback (it has to be installed) and two runtimes, has a client count through one of them,
//! kills that with SIGKILL in mid-stream, sees the client served by the other, starts a new one, and so on, ten times. It
//! fails if a number was lost or came twice. Also:
//!
//! | `-- …` | what it does |
//! |---|---|
//! | `--mode batched` | the same, stored every 50 ms and not before each message: what that may lose |
//! | `zombie` | the runtime is not killed but frozen; when it goes on, its session lives elsewhere: it must not write |
//! | `race` | two processes take one session over at once: one wins |
//! | `measure` | what an event costs, by what is stored when |
//!
//! `runtime` and `client` show how the endpoint and a session are driven, `store` what is written and how a generation fences
//! off whoever had the session before, `counter` how a job's own progress is stored with its events.

mod client;
mod counter;
mod kills;
mod lines;
mod measure;
mod process;
mod race;
mod random;
mod runtime;
mod store;
mod zombie;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Sessions that outlive the process that serves them. Without a command: kills.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    kills: kills::KillOptions,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Freezes a runtime, lets another take its session over, and thaws it.
    Zombie,
    /// Two processes take a session over at once.
    Race {
        /// How often.
        #[arg(long, default_value_t = 100)]
        rounds: u32,
    },
    /// What an event costs.
    Measure {
        /// How many events of each kind.
        #[arg(long, default_value_t = 20_000)]
        events: u64,
    },
    /// Serves sessions until it is killed.
    Runtime(runtime::Options),
    /// Becomes another program, which ends with the process that asked for it.
    #[command(hide = true)]
    Become { program: String, arguments: Vec<String> },
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Something was lost or came twice.
    Bad,
}

/// Why it could not be played to its end.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Process(#[from] process::ProcessError),
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error(transparent)]
    Runtime(#[from] runtime::Failure),
    #[error("the client gave up: {0}")]
    Client(client::GaveUp),
    #[error("the client was done behind number {0}, before all kills were")]
    Early(u64),
    #[error("it took too long")]
    TimeLimit,
    #[error("{0}")]
    Broken(String),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        None => kills::run(&arguments.kills),
        Some(Command::Zombie) => zombie::run(),
        Some(Command::Race { rounds }) => race::run(rounds),
        Some(Command::Measure { events }) => measure::run(events),
        Some(Command::Runtime(options)) => {
            process::die_with_parent();
            runtime::run(options).map(|()| Verdict::Good).map_err(Failure::from)
        }
        Some(Command::Become { program, arguments }) => {
            let error = process::become_other(&program, &arguments);
            Err(Failure::Broken(format!("{program}: {error}")))
        }
    };
    match outcome {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("failover: {failure}");
            ExitCode::FAILURE
        }
    }
}
