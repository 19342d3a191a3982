//! A child process: it never outlives its test, and what it says is kept for whoever wonders.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::deadline::Deadline;

pub(crate) struct Process {
    child: Child,
    said: Arc<Said>,
}

/// What a process said on its standard error.
#[derive(Default)]
struct Said {
    words: Mutex<Words>,
    news: Condvar,
}

#[derive(Default)]
struct Words {
    lines: Vec<String>,
    /// It closed its standard error: mostly, because it ended.
    is_over: bool,
}

impl Process {
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Process {
        Process::between(program, arguments, Stdio::piped(), Stdio::piped())
    }

    /// With these as its standard input and output.
    pub(crate) fn between(
        program: &Path,
        arguments: &[&str],
        stdin: impl Into<Stdio>,
        stdout: impl Into<Stdio>,
    ) -> Process {
        let mut command = Command::new(program);
        command.args(arguments).stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let said = Arc::<Said>::default();
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let hears = Arc::clone(&said);
        // Somebody has to read it: a full pipe would stop the process.
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                hears.hear(|words| words.lines.push(line));
            }
            hears.hear(|words| words.is_over = true);
        });
        Process { child, said }
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("taken once")
    }

    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("taken once")
    }

    /// What is found in a line that it has said, or will say.
    pub(crate) fn hear<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Deadline::new();
        let found = |words: &Words| words.lines.iter().find_map(|line| find(line));
        let words = self.said.wait(&deadline, |words| words.is_over || found(words).is_some());
        words.unwrap_or_else(|seen| panic!("no {what}; it said {seen:#?}"));
        let words = self.said.words.lock().unwrap_or_else(PoisonError::into_inner);
        found(&words).unwrap_or_else(|| panic!("it ended without {what}; it said {:#?}", words.lines))
    }

    /// All that it has said.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.words.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill_process(Pid::from_raw(id).expect("a process id"), Signal::TERM).expect("it still runs");
    }

    /// How it ended, which it has to by then.
    pub(crate) fn ended(&mut self, deadline: &Deadline) -> ExitStatus {
        if let Err(seen) = self.said.wait(deadline, |words| words.is_over) {
            panic!("it did not end; it said {seen:#?}");
        }
        self.child.wait().expect("its status")
    }

    /// The most memory that it ever had resident, in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it still runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        1_024 * peak.expect("a figure").trim().parse::<u64>().expect("a number")
    }

    /// Waits until none of its threads has anything to do.
    #[cfg(target_os = "linux")]
    pub(crate) fn stands_still(&self) {
        // Threads that hand something to each other can all be seen asleep for a moment.
        const LOOKS: u32 = 200;
        let (deadline, mut still) = (Deadline::new(), 0);
        while still < LOOKS {
            assert!(!deadline.is_over(), "it has always something to do");
            still = if self.is_asleep() { still + 1 } else { 0 };
            thread::yield_now();
        }
    }

    #[cfg(target_os = "linux")]
    fn is_asleep(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it still runs");
        let mut stats = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
        // The state stands behind the name, which stands in brackets.
        stats.all(|stat| {
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            assert_ne!(state, Some('Z'), "it has ended");
            state == Some('S')
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Said {
    fn hear(&self, change: impl FnOnce(&mut Words)) {
        change(&mut self.words.lock().unwrap_or_else(PoisonError::into_inner));
        self.news.notify_all();
    }

    /// Waits until it is so; what was said, if it is not in time.
    fn wait(&self, deadline: &Deadline, is_so: impl Fn(&Words) -> bool) -> Result<(), Vec<String>> {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        while !is_so(&words) {
            if deadline.is_over() {
                return Err(words.lines.clone());
            }
            let left = deadline.left();
            words = self.news.wait_timeout(words, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}
