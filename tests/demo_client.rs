//! The parts that the example clients share: each by itself (the tests in their files), and all together before the demo
//! runtime in the same process, on a virtual clock.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, unused_imports)]
#[path = "../examples/demo/client/mod.rs"]
mod client;
#[allow(dead_code)]
#[path = "../examples/demo/feature_list.rs"]
mod feature_list;
#[allow(dead_code)]
#[path = "../examples/demo/runtime/mod.rs"]
mod runtime;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arcp_proto::endpoint::ConnId;
use arcp_proto::wire::{Envelope, FrameFault};
use arcp_proto::{Instant, Now, Timestamp};
use bytes::Bytes;
use clap::Parser;
use client::{ClientOptions, Input, Next, Operator};
use runtime::{Host, RuntimeOptions};
use serde_json::Value;

#[derive(Parser)]
struct ClientLine {
    #[command(flatten)]
    options: ClientOptions,
}

#[derive(Parser)]
#[command(after_help = runtime::AGENTS)]
struct RuntimeLine {
    #[command(flatten)]
    options: RuntimeOptions,
}

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    /// What happened, in order, without the events of jobs.
    fn story(&self) -> Vec<String> {
        let told = self.lines().into_iter().map(|line| line["ev"].as_str().unwrap().to_owned());
        told.filter(|ev| ev != "event").collect()
    }

    fn of(&self, ev: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["ev"] == ev).collect()
    }

    fn seqs(&self) -> Vec<u64> {
        self.lines().iter().filter_map(|line| line["seq"].as_u64()).collect()
    }
}

/// A client, a runtime, and what lies between them.
struct World {
    now: Now,
    operator: Operator,
    host: Host,
    conn: Option<ConnId>,
    output: Output,
    /// Nobody can be reached.
    is_cut_off: bool,
    /// A longer message does not get through, and is the end of its connection.
    longest: usize,
    /// Types of the messages that the client sent.
    sent: Vec<String>,
    /// The standard input, line by line.
    stdin: Vec<&'static str>,
}

impl World {
    fn new(arguments: &[&str]) -> World {
        World::before(&[], true, arguments)
    }

    fn before(runtime: &[&str], can_reconnect: bool, arguments: &[&str]) -> World {
        let now = Now::new(Instant::ZERO, Timestamp::from_unix_millis(1_778_701_333_000));
        let options = ClientLine::try_parse_from([&["client"], arguments].concat()).unwrap().options;
        let host = Host::new(
            &RuntimeLine::try_parse_from([&["runtime"], runtime].concat()).unwrap().options,
            arcp_proto::Clock::new(),
        )
        .unwrap();
        let output = Output::default();
        let operator = Operator::new(now, options, can_reconnect, Box::new(output.clone()));
        World {
            now,
            operator,
            host,
            conn: None,
            output,
            is_cut_off: false,
            longest: usize::MAX,
            sent: Vec::new(),
            stdin: Vec::new(),
        }
    }

    fn exit(&mut self) -> u8 {
        self.run_while(|_| true).expect("it comes to an end")
    }

    /// Runs to the end, or as long as `goes_on` says so. What there is to send is not sent yet then.
    fn run_while(&mut self, goes_on: impl Fn(&World) -> bool) -> Option<u8> {
        for _ in 0..200_000 {
            match self.operator.next(self.now) {
                Next::Wait if !goes_on(self) => return None,
                Next::Over(code) => return Some(code),
                Next::HangUp => {
                    self.exchange();
                    if let Some(conn) = self.conn.take() {
                        self.host.endpoint.handle_disconnect(self.now, conn);
                    }
                }
                Next::Connect if self.is_cut_off => self.operator.unreachable(self.now, &"nobody is there"),
                Next::Connect => {
                    self.conn = Some(self.host.endpoint.connect(self.now));
                    self.operator.connected(self.now);
                }
                Next::Wait => {
                    if !self.exchange() && !self.read_stdin() {
                        let next = [self.operator.poll_timeout(), self.host.poll_timeout()];
                        let next = next.into_iter().flatten().min()?;
                        self.now = self.now.after(next - self.now.mono);
                    }
                }
            }
        }
        panic!("there is no end of it: {}", self.output.text())
    }

    fn read_stdin(&mut self) -> bool {
        if !self.operator.wants_command() {
            return false;
        }
        let line = if self.stdin.is_empty() { Input::End } else { Input::Line(self.stdin.remove(0).into()) };
        self.operator.command(line);
        true
    }

    /// Says whether anything was on its way.
    fn exchange(&mut self) -> bool {
        let mut moved = false;
        while let Some(message) = self.operator.session().poll_transmit(self.now) {
            moved = true;
            self.sent.push(Envelope::decode(message.clone()).unwrap().type_name().into_owned());
            if let Some(conn) = self.conn {
                self.host.endpoint.handle_input(self.now, conn, message);
            }
        }
        self.host.turn(self.now);
        while let Some((conn, message)) = self.host.endpoint.poll_transmit(self.now) {
            moved = true;
            let session = self.operator.session();
            if self.conn != Some(conn) || !session.phase().is_attached() {
                continue;
            }
            if message.len() > self.longest {
                session.handle_malformed(self.now, FrameFault::TooLarge { limit: self.longest });
                session.handle_disconnect(self.now);
            } else {
                session.handle_input(self.now, message);
            }
        }
        while let Some(closed) = self.host.endpoint.poll_close() {
            moved = true;
            if self.conn == Some(closed) {
                self.operator.session().handle_disconnect(self.now);
            }
        }
        moved
    }

    fn lose_transport(&mut self) {
        self.operator.session().handle_disconnect(self.now);
    }

    fn elapsed(&self) -> Duration {
        self.now.mono.as_duration()
    }
}

fn has_told(ev: &'static str) -> impl Fn(&World) -> bool {
    move |world| world.output.of(ev).is_empty()
}

#[test]
fn commands_run_one_after_the_other_then_all_jobs_are_waited_for_then_goodbye() {
    let mut world = World::new(&[
        "--do",
        r#"submit sleeper {"ms":500}"#,
        "--do",
        "sleep 100",
        "--do",
        r#"submit echo {"n": [1, 2]}"#,
    ]);
    assert_eq!(world.exit(), 0, "{}", world.output.text());
    assert_eq!(world.output.story(), ["connected", "accepted", "accepted", "finished", "finished", "closed"]);
    assert_eq!(world.output.of("closed")[0]["reason"], "Requested");
    assert_eq!(world.sent, ["session.hello", "job.submit", "job.submit", "session.ack", "session.ack", "session.bye"]);
    // As the runtime had it, byte for byte.
    assert!(world.output.text().contains(r#""result":{"n": [1, 2]}"#), "{}", world.output.text());
    let elapsed = world.elapsed();
    assert!((500..600).contains(&elapsed.as_millis()), "{elapsed:?}");
}

#[test]
fn a_request_waits_for_its_answer_before_the_next_command() {
    let mut world = World::new(&[
        "--do",
        "submit nosuch",
        "--do",
        "list limit=0",
        "--do",
        "submit echo",
        "--do",
        "wait",
        "--do",
        "bye done",
    ]);
    assert_eq!(world.exit(), 1);
    assert_eq!(world.output.story(), ["connected", "refused", "refused", "accepted", "finished", "closed"]);
    let refused = world.output.of("refused");
    assert_eq!((&refused[0]["command"], &refused[0]["code"]), (&"submit nosuch".into(), &"AGENT_NOT_AVAILABLE".into()));
    assert_eq!((&refused[1]["command"], &refused[1]["code"]), (&"list".into(), &Value::Null));
}

#[test]
fn a_cancelled_job_is_no_failure_another_is() {
    let mut world = World::new(&["--do", r#"submit sleeper {"ms":60000}"#, "--do", "cancel", "--do", "wait"]);
    assert_eq!(world.exit(), 0, "{}", world.output.text());
    assert_eq!(world.output.story(), ["connected", "accepted", "cancelled", "failed", "closed"]);
    let mut world = World::new(&["--do", r#"submit failer {"code":"INTERNAL_ERROR","message":"no"}"#]);
    assert_eq!(world.exit(), 1);
    let mut world = World::new(&["--do", "cancel"]);
    assert_eq!(world.exit(), 1);
    assert_eq!(world.output.of("refused")[0]["message"], "no job was accepted yet");
}

#[test]
fn a_drop_is_resumed_and_every_event_comes_once() {
    let mut world = World::new(&[
        "--do",
        r#"submit chatty {"n":50,"delay_ms":20}"#,
        "--do",
        "sleep 300",
        "--do",
        "drop",
        "--do",
        "drop",
    ]);
    assert_eq!(world.exit(), 0, "{}", world.output.text());
    let cut = ["detached", "reconnecting", "resumed"];
    let story = [&["connected", "accepted"], &cut[..], &cut, &["finished", "closed"]].concat();
    assert_eq!(world.output.story(), story);
    assert_eq!(world.output.seqs(), (1..=51).collect::<Vec<_>>());
}

#[test]
fn whoever_cannot_be_reached_at_first_is_not_tried_again() {
    let mut world = World::new(&["--do", "submit echo"]);
    world.is_cut_off = true;
    assert_eq!(world.exit(), 1);
    assert_eq!(world.output.story(), ["error", "closed"]);
    assert_eq!(world.output.of("error")[0]["message"], "cannot connect: nobody is there");
    assert_eq!(world.elapsed(), Duration::ZERO);
}

#[test]
fn d17_a_lost_session_is_tried_again_until_its_window_is_over() {
    let mut world = World::before(&["--resume-window", "60"], true, &["--do", r#"submit sleeper {"ms":1000}"#]);
    world.run_while(has_told("accepted"));
    world.is_cut_off = true;
    world.lose_transport();
    assert_eq!(world.exit(), 1);
    assert_eq!(world.elapsed(), Duration::from_secs(60));
    let closed = world.output.of("closed");
    assert_eq!(closed[0]["reason"], "ResumeWindowExpired", "{}", world.output.text());
    let attempts: Vec<_> =
        world.output.of("reconnecting").iter().map(|line| line["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, (1..=attempts.len() as u64).collect::<Vec<_>>());
    // Waits of up to 0.2, 0.4, … 12.8, 15, 15 … seconds.
    assert!((8..40).contains(&attempts.len()), "{attempts:?}");
}

#[test]
fn what_ends_every_connection_is_not_asked_for_for_ever() {
    let big = r#"submit streamer {"chunks":2,"size":20000}"#;
    let mut world = World::new(&["--do", "submit echo 1", "--do", big]);
    world.longest = 10_000;
    assert_eq!(world.exit(), 1);
    assert_eq!(world.output.of("violation").len(), 5, "the first of them came behind an event");
    assert_eq!(world.output.of("resumed").len(), 4);
    assert!(world.output.text().contains("each time the transport is lost before an event comes"));
    // Who reads long messages has no such trouble.
    assert_eq!(World::new(&["--do", "submit echo 1", "--do", big]).exit(), 0);
}

#[test]
fn a_peer_that_breaks_rules_on_every_connection_is_borne_as_long_as_there_are_events() {
    let mut world = World::new(&["--do", "submit echo 1", "--do", "drop"].repeat(9));
    let welcomes = |world: &World| world.output.of("connected").len() + world.output.of("resumed").len();
    let mut seen = 0;
    let code = loop {
        if let Some(code) = world.run_while(|world| welcomes(world) == seen) {
            break code;
        }
        seen = welcomes(&world);
        world.operator.session().handle_malformed(world.now, FrameFault::NotUtf8);
    };
    assert_eq!(code, 0, "{}", world.output.text());
    assert_eq!((seen, world.output.of("violation").len(), world.output.of("finished").len()), (10, 10, 9));
}

#[test]
fn a_transport_that_cannot_be_made_anew_is_the_end_when_it_is_lost() {
    let mut world = World::before(&[], false, &["--do", r#"submit sleeper {"ms":1000}"#, "--do", "drop"]);
    world.run_while(has_told("refused"));
    assert_eq!(world.output.of("refused")[0]["command"], "drop");
    world.lose_transport();
    assert_eq!(world.exit(), 1);
    assert_eq!(world.output.story(), ["connected", "accepted", "refused", "detached", "error", "closed"]);
}

#[test]
fn d12_a_submit_whose_answer_was_lost_is_repeated_with_its_key_and_not_without() {
    for (command, story, code) in [
        (
            "submit --key k echo 1",
            ["connected", "detached", "reconnecting", "resumed", "finished", "accepted", "closed"],
            0,
        ),
        ("submit echo 1", ["connected", "refused", "detached", "reconnecting", "resumed", "closed", ""], 1),
    ] {
        let mut world = World::new(&["--do", command]);
        world.run_while(has_told("connected"));
        // It gets there, the answer does not.
        while let Some(message) = world.operator.session().poll_transmit(world.now) {
            world.host.endpoint.handle_input(world.now, world.conn.unwrap(), message);
        }
        world.host.turn(world.now);
        world.lose_transport();
        assert_eq!(world.exit(), code, "{command}: {}", world.output.text());
        let expected: Vec<_> = story.into_iter().filter(|ev| !ev.is_empty()).collect();
        let story: Vec<_> = world.output.story();
        // Without the key, the job that nobody here knows of may still be heard of.
        let told: Vec<_> = story.iter().filter(|ev| code == 0 || *ev != "finished").collect();
        assert_eq!(told, expected.iter().collect::<Vec<_>>(), "{command}");
    }
}

#[test]
fn a_job_whose_failure_is_replayed_before_its_repeated_submit_is_answered_has_failed() {
    let mut world = World::new(&["--do", r#"submit --key k failer {"code":"INTERNAL_ERROR","message":"no"}"#]);
    world.run_while(has_told("connected"));
    while let Some(message) = world.operator.session().poll_transmit(world.now) {
        world.host.endpoint.handle_input(world.now, world.conn.unwrap(), message);
    }
    world.host.turn(world.now);
    world.lose_transport();
    assert_eq!(world.exit(), 1, "{}", world.output.text());
    let end = &world.output.story()[4..];
    assert_eq!(end, ["failed", "accepted", "closed"]);
}

#[test]
fn a10_without_acknowledgements_nothing_is_marked_and_with_them_all_is() {
    let mut world = World::new(&[
        "--do",
        "ack off",
        "--do",
        r#"submit chatty {"n":10}"#,
        "--do",
        "wait",
        "--do",
        "sleep 1000",
        "--do",
        "bye",
    ]);
    assert_eq!(world.exit(), 0);
    assert!(!world.sent.iter().any(|sent| sent == "session.ack"), "{:?}", world.sent);
    let mut world =
        World::new(&["--do", "ack off", "--do", r#"submit chatty {"n":10}"#, "--do", "wait", "--do", "ack on"]);
    assert_eq!(world.exit(), 0);
    assert!(world.sent.iter().any(|sent| sent == "session.ack"), "{:?}", world.sent);
    assert_eq!(world.operator.session().last_processed_seq(), 11);
}

#[test]
fn a11_all_pages_are_asked_for() {
    let submits = ["--do", "submit echo 1"].repeat(5);
    let mut world =
        World::new(&[&submits[..], &["--do", "wait", "--do", "list limit=2", "--do", "list limit=2 all"]].concat());
    assert_eq!(world.exit(), 0);
    let pages: Vec<_> = world.output.of("jobs").iter().map(|page| page["jobs"].as_array().unwrap().len()).collect();
    assert_eq!(pages, [2, 2, 2, 1]);
}

#[test]
fn another_session_is_followed_until_its_job_ends() {
    let mut owner = World::new(&["--do", r#"submit chatty {"n":5,"delay_ms":100}"#, "--do", "bye"]);
    assert_eq!(owner.exit(), 0);
    let job = owner.output.of("accepted")[0]["job_id"].as_str().unwrap().to_owned();
    let mut viewer = World::new(&["--do", &format!("subscribe {job} history")]);
    (viewer.host, viewer.now) = (owner.host, owner.now);
    assert_eq!(viewer.exit(), 0, "{}", viewer.output.text());
    assert_eq!(viewer.output.of("subscribed")[0]["replayed"], true);
    assert_eq!(viewer.output.story().iter().filter(|ev| *ev == "finished").count(), 1);
    assert_eq!(viewer.output.of("event").len(), 5);
}

#[test]
fn a_streamed_result_is_held_against_its_length() {
    let mut world = World::new(&["--do", r#"submit streamer {"chunks":3,"size":100,"encoding":"base64"}"#]);
    assert_eq!(world.exit(), 0, "{}", world.output.text());
    let result = &world.output.of("result")[0];
    assert_eq!((&result["chunks"], &result["bytes"], &result["whole"]), (&3.into(), &300.into(), &true.into()));
}

#[test]
fn an_interruption_says_goodbye_at_once_and_fails_if_something_was_not_done() {
    let mut world = World::new(&["--do", r#"submit sleeper {"ms":60000}"#, "--do", "submit echo"]);
    world.run_while(has_told("accepted"));
    let before = world.elapsed();
    world.operator.interrupt(world.now);
    assert_eq!(world.exit(), 1);
    assert_eq!(world.elapsed(), before);
    assert_eq!(world.sent.last().map(String::as_str), Some("session.bye"));
    // Nothing to do but wait for the next line: that was all.
    let mut world = World::new(&[]);
    world.run_while(has_told("connected"));
    world.operator.interrupt(world.now);
    assert_eq!(world.exit(), 0);
}

#[test]
fn a14_a_runtime_that_ends_the_session_is_a_failure() {
    let mut world = World::new(&["--do", r#"submit sleeper {"ms":60000}"#]);
    world.run_while(has_told("accepted"));
    world.host.stop(world.now);
    assert_eq!(world.exit(), 1);
    assert_eq!(world.output.of("closed")[0]["reason"], "PeerClosed", "{}", world.output.text());
}

#[test]
fn nothing_behind_a_bad_line_is_carried_out() {
    let mut world = World::new(&[]);
    world.stdin = vec!["# a comment", "", "submit echo 1", "submti echo 2", "submit echo 3"];
    assert_eq!(world.exit(), 1);
    assert_eq!(world.output.of("accepted").len(), 1);
    assert!(world.output.of("error")[0]["message"].as_str().unwrap().contains("no command `submti`"));
    assert_eq!(world.output.of("closed")[0]["reason"], "Requested");
}

#[test]
fn lines_are_read_when_they_are_wanted_and_their_end_is_the_end() {
    let mut world = World::new(&[]);
    world.stdin = vec!["submit echo 1", "sleep 10", "submit echo 2"];
    assert_eq!(world.exit(), 0);
    assert_eq!(world.output.of("finished").len(), 2);
}

/// What a runtime says that is not ours.
fn told_by_hand(messages: &[&str]) -> Output {
    let mut world = World::new(&["--token", "the-bearer", "--do", "sleep 1"]);
    assert_eq!(world.operator.next(world.now), Next::Connect);
    world.operator.connected(world.now);
    world.operator.next(world.now);
    let welcome = r#"{"type":"session.welcome","session_id":"s","payload":{"resume_token":"rt_secret","capabilities":{"features":["provisioned_credentials","ack"]}}}"#;
    for message in [&[welcome], messages].concat() {
        world.operator.session().handle_input(world.now, Bytes::copy_from_slice(message.as_bytes()));
        world.operator.next(world.now);
    }
    world.output
}

#[test]
fn no_secret_is_reported() {
    let output = told_by_hand(&[
        r#"{"type":"job.accepted","job_id":"j","payload":{"job_id":"j","agent":"a","lease":{},"credentials":[{"id":"c1","scheme":"bearer","value":"credential-secret"}]}}"#,
        r#"{"type":"job.event","job_id":"j","event_seq":1,"payload":{"kind":"status","body":{"phase":"credential_rotated","value":"credential-secret"}}}"#,
        r#"{"type":"job.event","job_id":"j","event_seq":2,"payload":{"kind":"status","body":{"phase":"credential\u005frotated","value":"credential-secret"}}}"#,
        r#"{"type":"job.event","job_id":"j","event_seq":3,"payload":{"kind":"status","body":{"phase":"credential_rotated","value":"credential-secret","phase":"x"}}}"#,
    ]);
    let text = output.text();
    assert!(!text.contains("secret") && !text.contains("the-bearer"), "{text}");
    assert!(text.contains(r#""credentials":["c1"]"#), "{text}");
    assert_eq!(output.of("event").len(), 3);
}

#[test]
fn a_body_is_reported_as_it_came_on_one_line() {
    let output = told_by_hand(&[
        "{\"type\":\"job.event\",\"job_id\":\"j\",\"event_seq\":1,\"payload\":{\"kind\":\"x-vendor.k\",\"ts\":\"now\",\"body\":{ \"b\":1e999,\n\"a\" : \"\\ud800\" }}}",
        r#"{"type":"job.event","job_id":"j","event_seq":2,"payload":{}}"#,
        r#"{"type":"session.error","payload":{"code":"X_ODD","message":"hm"}}"#,
    ]);
    let text = output.text();
    let body =
        r#"{"ev":"event","job_id":"j","seq":1,"kind":"x-vendor.k","ts":"now","body":{ "b":1e999, "a" : "\ud800" }}"#;
    assert!(text.lines().any(|line| line == body), "{text}");
    assert!(text.lines().any(|line| line == r#"{"ev":"event","job_id":"j","seq":2,"kind":""}"#), "{text}");
    assert!(text.lines().any(|line| line.contains(r#""code":"X_ODD""#)), "{text}");
}
