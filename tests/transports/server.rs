//! A demo runtime for many clients, in a process of its own.

use std::process::{ChildStdin, ExitStatus};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::deadline::Deadline;
use crate::lines::Lines;
use crate::process::Process;
use crate::programs;
use crate::transport::Transport;
use crate::web_socket::WebSocket;

/// What keeps messages apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Line ends, over TCP.
    Lines,
    WebSocket,
}

impl Wire {
    /// Runs a scenario over each of them. A thread that fails is named like its wire.
    pub(crate) fn all_at_once(scenario: fn(Wire)) {
        thread::scope(|scope| {
            for wire in [Wire::Lines, Wire::WebSocket] {
                let name = thread::Builder::new().name(format!("{wire:?}"));
                name.spawn_scoped(scope, move || scenario(wire)).expect("a thread");
            }
        });
    }
}

pub(crate) struct Server {
    wire: Wire,
    pub(crate) port: u16,
    pub(crate) process: Process,
    /// It ends, should the test not live to see to it.
    stdin: Option<ChildStdin>,
}

impl Server {
    pub(crate) fn start(wire: Wire, options: &[&str]) -> Server {
        let listen = ["--listen", "127.0.0.1:0", "--until-eof"];
        let mut process = match wire {
            Wire::Lines => Process::start(programs::example("tcp_runtime"), &[&listen, options].concat()),
            Wire::WebSocket => Process::start(programs::web_socket(), &[&["runtime"], &listen[..], options].concat()),
        };
        let port = process.hear("ready line", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let port = line["port"].as_u64().filter(|_| line["ev"] == "ready");
            port.and_then(|port| u16::try_from(port).ok())
        });
        let stdin = process.stdin();
        Server { wire, port, process, stdin: Some(stdin) }
    }

    pub(crate) fn connect(&self) -> Box<dyn Transport> {
        match self.wire {
            Wire::Lines => Box::new(Lines::connect(self.port)),
            Wire::WebSocket => Box::new(WebSocket::connect(self.port)),
        }
    }

    /// Waits for an audit record with these words in it.
    pub(crate) fn audited(&self, words: &[&str]) {
        self.process.hear(&format!("audit record with {words:?}"), |line| {
            let is_record = line.contains("\"audit\"") && words.iter().all(|word| line.contains(word));
            is_record.then_some(())
        });
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// How it ends after what was done, within this time.
    pub(crate) fn ended(&mut self, within: Duration) -> ExitStatus {
        self.process.ended(&Deadline::within(within))
    }
}
