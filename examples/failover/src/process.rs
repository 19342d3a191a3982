//! The processes of a demonstration: a Redis, and runtimes behind it. None of them outlives this one.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::runtime::{Mode, Options};

/// How long a process may take to be ready.
const START: Duration = Duration::from_secs(20);

/// Between two looks at one that is not.
const LOOK: Duration = Duration::from_millis(5);

/// Why a process is not there.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The system did not do it.
    #[error("{what}: {error}")]
    System { what: &'static str, error: std::io::Error },
    /// It was not ready in time, or ended.
    #[error("{0} did not start")]
    NotStarted(&'static str),
    /// It ended, or did not say in time what was waited for.
    #[error("a runtime did not say `{0}`")]
    Silent(&'static str),
    /// Redis.
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
}

fn failed(what: &'static str) -> impl FnOnce(std::io::Error) -> ProcessError {
    move |error| ProcessError::System { what, error }
}

/// A child that is killed with this value, and by the system when this process dies, however it does.
struct Guarded(Child);

impl Guarded {
    /// Runs this program again, in another role.
    fn start(arguments: &[&str], set_up: impl FnOnce(&mut Command) -> &mut Command) -> Result<Guarded, ProcessError> {
        let program = std::env::current_exe().map_err(failed("this program cannot be found"))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        set_up(&mut command);
        command.spawn().map(Guarded).map_err(failed("a process cannot be started"))
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        let sent = pid.ok_or(rustix::io::Errno::SRCH).and_then(|pid| kill_process(pid, signal));
        sent.map_err(|error| failed("a signal cannot be sent")(error.into()))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// To be called first of all in a child. Elsewhere than on Linux only [`Guarded`] sees to its end.
pub fn die_with_parent() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}

/// Becomes another program, guarded as this one is. Comes back only when there is no such program.
pub fn become_other(program: &str, arguments: &[String]) -> std::io::Error {
    die_with_parent();
    Command::new(program).args(arguments).exec()
}

/// A Redis on a port of loopback, which keeps nothing on disk.
pub struct Redis {
    /// Its address.
    pub url: String,
    connection: redis::Connection,
    // In this order: the process ends before its folder is removed.
    _process: Guarded,
    _folder: TempDir,
}

impl Redis {
    /// Starts it.
    pub fn start() -> Result<Redis, ProcessError> {
        let folder = tempfile::tempdir().map_err(failed("no temporary folder"))?;
        // Somebody else may take the port before Redis does.
        for _ in 0..5 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("no port"))?;
            let port = listener.local_addr().map_err(failed("no port"))?.port().to_string();
            drop(listener);
            let options = ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"];
            let arguments: Vec<_> = ["become", "redis-server", "--"].into_iter().chain(options).collect();
            let process = Guarded::start(&arguments, |command| command.current_dir(folder.path()))?;
            let url = format!("redis://127.0.0.1:{port}");
            if let Some((process, connection)) = await_redis(process, &url)? {
                return Ok(Redis { url, connection, _process: process, _folder: folder });
            }
        }
        Err(ProcessError::NotStarted("redis-server"))
    }

    /// How many scripts were run, and the processor time that Redis has taken.
    pub fn spent(&mut self) -> Result<(u64, Duration), ProcessError> {
        let info: String = redis::cmd("INFO").arg("all").query(&mut self.connection)?;
        let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        let calls = value("cmdstat_evalsha:calls=").and_then(|rest| rest.split(',').next()?.parse().ok());
        let seconds = |name| value(name).and_then(|text| text.trim().parse::<f64>().ok()).unwrap_or_default();
        let time = seconds("used_cpu_sys:") + seconds("used_cpu_user:");
        Ok((calls.unwrap_or_default(), Duration::from_secs_f64(time)))
    }
}

/// `None` when it has ended.
fn await_redis(mut process: Guarded, url: &str) -> Result<Option<(Guarded, redis::Connection)>, ProcessError> {
    let client = redis::Client::open(url)?;
    let until = Instant::now() + START;
    while Instant::now() < until {
        if process.0.try_wait().map_err(failed("redis-server"))?.is_some() {
            return Ok(None);
        }
        if let Ok(mut connection) = client.get_connection_with_timeout(START)
            && redis::cmd("PING").query::<String>(&mut connection).is_ok()
        {
            return Ok(Some((process, connection)));
        }
        thread::sleep(LOOK);
    }
    Ok(None)
}

/// A runtime in a process of its own.
pub struct RuntimeProcess {
    /// Where it listens.
    pub port: u16,
    process: Guarded,
    said: Receiver<Value>,
}

impl RuntimeProcess {
    /// Starts it, and waits until it listens.
    pub fn start(options: &Options) -> Result<RuntimeProcess, ProcessError> {
        let mode = match options.mode {
            Mode::Each => "each",
            Mode::Batched => "batched",
            Mode::Off => "off",
        };
        let batch_ms = options.batch_ms.to_string();
        let arguments = ["runtime", "--redis", &options.redis, "--mode", mode, "--batch-ms", &batch_ms];
        let mut process = Guarded::start(&arguments, |command| command.stderr(Stdio::piped()))?;
        let stderr = process.0.stderr.take().ok_or(ProcessError::NotStarted("a runtime"))?;
        let (lines, said) = mpsc::channel();
        thread::spawn(move || listen(stderr, |line| lines.send(line).is_ok()));
        let mut runtime = RuntimeProcess { port: 0, process, said };
        let ready = runtime.await_word("ready", START)?;
        let port = ready["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        runtime.port = port.ok_or(ProcessError::NotStarted("a runtime"))?;
        Ok(runtime)
    }

    /// Waits until it says that.
    pub fn await_word(&self, word: &'static str, patience: Duration) -> Result<Value, ProcessError> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let said = self.said.recv_timeout(left).map_err(|_| ProcessError::Silent(word))?;
            if said["ev"] == word {
                return Ok(said);
            }
        }
    }

    /// Ends it in the middle of whatever it does: SIGKILL.
    pub fn kill(mut self) -> Result<(), ProcessError> {
        self.process.0.kill().map_err(failed("a runtime cannot be killed"))?;
        self.process.0.wait().map(|_| ()).map_err(failed("a runtime cannot be killed"))
    }

    /// Holds it: it does nothing more, and does not know.
    pub fn freeze(&self) -> Result<(), ProcessError> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it go on where it was.
    pub fn thaw(&self) -> Result<(), ProcessError> {
        self.process.signal(Signal::CONT)
    }
}

/// What a runtime says in JSON is for us; the rest, such as a panic, for whoever reads our own output.
fn listen(stderr: ChildStderr, mut take: impl FnMut(Value) -> bool) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(value) => {
                // Nobody listens any more; it must be able to go on all the same.
                let _ = take(value);
            }
            Err(_) => eprintln!("runtime: {line}"),
        }
    }
}
