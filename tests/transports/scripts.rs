//! The client programs, whose scripts come by hand and whose lines are read by a program.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::deadline::Deadline;
use crate::pipes::Pipes;
use crate::process::Process;
use crate::programs::{example, web_socket};
use crate::server::{Server, Wire};
use crate::transport::{Received, Transport};

/// A client program that is at work.
struct Run {
    process: Process,
    pipes: Pipes,
    lines: Vec<Value>,
}

impl Run {
    fn start(program: &Path, arguments: &[&str], script: &str) -> Run {
        let mut process = Process::start(program, arguments);
        let mut pipes = Pipes::new(process.stdin(), process.stdout());
        pipes.write(script.as_bytes()).expect("the script is read");
        pipes.finish();
        Run { process, pipes, lines: Vec::new() }
    }

    /// Its next line; none at its end.
    fn line(&mut self) -> Option<&Value> {
        let deadline = Deadline::new();
        loop {
            match self.pipes.receive(deadline.left()) {
                Received::Message(line) => {
                    self.lines.push(serde_json::from_slice(&line).expect("every line is JSON"));
                    return self.lines.last();
                }
                Received::End(_) => return None,
                Received::Part | Received::Nothing => assert!(!deadline.is_over(), "after {:#?}", self.lines),
            }
        }
    }

    fn wait_for(&mut self, ev: &str) {
        while self.line().unwrap_or_else(|| panic!("no `{ev}`"))["ev"] != ev {}
    }

    /// All its lines, its exit status, and what it said beside.
    fn end(mut self) -> (Vec<Value>, Option<i32>, Vec<String>) {
        while self.line().is_some() {}
        let status = self.process.ended(&Deadline::within(Duration::from_secs(10)));
        (self.lines, status.code(), self.process.said())
    }
}

/// What happened, in order, the events of jobs left out.
fn happened(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["ev"].as_str().expect("an `ev`")).filter(|ev| *ev != "event").collect()
}

/// Every event once and in order; how many there were.
fn events(lines: &[Value]) -> u64 {
    let seqs: Vec<_> = lines.iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    seqs.len() as u64
}

fn spawning(arguments: &[&str], runtime_options: &[&str], script: &str) -> (Vec<Value>, Option<i32>, Vec<String>) {
    let runtime = example("stdio_runtime").to_str().expect("a path in UTF-8");
    let arguments = [arguments, &["--spawn", runtime], runtime_options].concat();
    Run::start(example("stdio_client"), &arguments, script).end()
}

#[test]
fn a_script_over_the_pipes_of_a_child() {
    let script = "submit echo \"héllo\"\n# a remark\n\nsubmit demo {\"rounds\":3}\nwait\nlist all\nbye done\n";
    let options = ["--token", "s3cret=alice", "--heartbeat", "5"];
    let (lines, code, said) = spawning(&["--token", "s3cret"], &options, script);
    assert_eq!((code, said), (Some(0), Vec::new()), "{lines:#?}");
    let expected = ["connected", "accepted", "finished", "accepted", "finished", "result", "jobs", "closed"];
    assert_eq!(happened(&lines), expected);
    assert_eq!(events(&lines), 1 + 3 * 10 + 1);
    assert_eq!(lines[0]["heartbeat_interval_sec"], 5);
    let of = |ev: &str| lines.iter().find(|line| line["ev"] == ev).expect(ev);
    assert_eq!(of("finished")["result"], "héllo");
    assert_eq!(of("result")["whole"], true);
    assert_eq!(of("jobs")["jobs"].as_array().map(Vec::len), Some(2));
    assert_eq!(of("closed")["reason"], "Requested");
    assert!(!format!("{lines:?}").contains("s3cret"), "a token was said");
}

#[test]
fn a_failure_shows_in_the_exit_status() {
    for (arguments, options, ev) in [
        (&["--do", "submit failer {\"code\":\"TIMEOUT\"}"][..], &[][..], "failed"),
        (&["--do", "submit nobody"], &[], "refused"),
        (&["--do", "list", "--features", "ack"], &[], "refused"),
        (&["--do", "drop"], &[], "closed"),
        (&["--token", "guess", "--do", "submit echo"], &["--token", "s3cret=alice"], "closed"),
        (&["--do", "submit echo"], &["--no-such-option"], "closed"),
    ] {
        let (lines, code, said) = spawning(arguments, options, "");
        assert_eq!(code, Some(1), "{arguments:?}: {lines:#?} {said:#?}");
        assert!(lines.iter().any(|line| line["ev"] == ev), "{arguments:?}: {lines:#?}");
    }
}

/// Two programs, the output of each the input of the other.
#[test]
fn two_programs_and_two_pipes() {
    for farewell in ["bye", "close"] {
        let mut runtime = Process::start(example("stdio_runtime"), &[]);
        let arguments = ["--farewell", farewell, "--do", "submit chatty {\"n\":500}", "--do", "wait"];
        let (from, to) = (runtime.stdout(), runtime.stdin());
        let mut client = Process::between(example("stdio_client"), &arguments, from, to);
        assert_eq!(client.ended(&Deadline::new()).code(), Some(0), "{:#?}", client.said());
        assert_eq!(runtime.ended(&Deadline::new()).code(), Some(0), "{:#?}", runtime.said());
        let said = client.said();
        let lines: Vec<Value> = said.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(happened(&lines), ["connected", "accepted", "finished", "closed"]);
        assert_eq!(events(&lines), 501);
    }
}

#[test]
fn d14_a_script_over_a_web_socket_that_is_cut() {
    let server = Server::start(Wire::WebSocket, &[]);
    let url = format!("ws://127.0.0.1:{}/arcp", server.port);
    let script = "submit chatty {\"n\":300,\"delay_ms\":1,\"pad\":100}\ndrop\ndrop\nwait\n";
    let (lines, code, said) = Run::start(web_socket(), &["client", &url], script).end();
    assert_eq!(code, Some(0), "{lines:#?} {said:#?}");
    assert_eq!(events(&lines), 301);
    let happened = happened(&lines);
    assert_eq!(happened.iter().filter(|ev| **ev == "resumed").count(), 2, "{happened:?}");
    assert_eq!(happened.last(), Some(&"closed"));
}

#[test]
fn a14_a_client_program_is_told_that_the_runtime_ends() {
    let mut server = Server::start(Wire::WebSocket, &[]);
    let url = format!("ws://127.0.0.1:{}/arcp", server.port);
    let mut run = Run::start(web_socket(), &["client", &url], "submit sleeper\nwait\n");
    run.wait_for("accepted");
    server.process.terminate();
    let (lines, code, said) = run.end();
    assert_eq!(code, Some(1), "{lines:#?} {said:#?}");
    let last = lines.last().expect("a line");
    assert_eq!((&last["ev"], &last["reason"]), (&"closed".into(), &"PeerClosed".into()), "{lines:#?}");
    assert_eq!(server.ended(Duration::from_secs(5)).code(), Some(0));
}
