//! Recordings that are made up, so that the replay itself is known to see what there is to see, also where there are no
//! others.

use std::time::Duration;

use arcp_proto::referee::Side;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::corpus::{Recording, Step, What};
use crate::outcome::Outcome;
use crate::plot::Plot;
use crate::{client, runtime};

/// A recording in the making; every step takes a millisecond.
#[derive(Default)]
struct Tape {
    lines: Vec<Bytes>,
    steps: Vec<Step>,
    millis: u64,
}

impl Tape {
    fn step(&mut self, conn: u64, what: What) {
        self.millis += 1;
        self.steps.push(Step { at: Duration::from_millis(self.millis), conn, what });
    }

    fn line(&mut self, conn: u64, from: Side, name: &str, mut line: Value) {
        let number = self.lines.len() + 1;
        line["type"] = json!(name);
        line["id"] = json!(format!("m{number}"));
        if name != "session.hello" {
            line["session_id"] = json!("sess_1");
        }
        self.step(conn, What::Line { from, index: self.lines.len(), is_whole: true });
        self.lines.push(Bytes::from(line.to_string()));
    }

    fn client(&mut self, conn: u64, name: &str, line: Value) {
        self.line(conn, Side::Client, name, line);
    }

    fn runtime(&mut self, conn: u64, name: &str, line: Value) {
        self.line(conn, Side::Runtime, name, line);
    }

    fn open(&mut self, conn: u64, hello: Value, token: &str) {
        self.step(conn, What::Open);
        let features = json!(["ack", "list_jobs", "subscribe"]);
        let mut payload = json!({
            "client": {"name": "made-up", "version": "1"}, "auth": {"scheme": "bearer", "token": "tok"},
            "capabilities": {"encodings": ["json"], "features": features},
        });
        payload.as_object_mut().unwrap().extend(hello.as_object().unwrap().clone());
        self.client(conn, "session.hello", json!({"payload": payload}));
        let capabilities = json!({"encodings": ["json"], "features": features, "agents": []});
        let runtime = json!({"name": "made-up", "version": "1"});
        let welcome =
            json!({"runtime": runtime, "resume_token": token, "resume_window_sec": 600, "capabilities": capabilities});
        self.runtime(conn, "session.welcome", json!({"payload": welcome}));
    }

    fn submit(&mut self, conn: u64, job: &str) {
        self.client(conn, "job.submit", json!({"payload": {"agent": "a", "input": {"for": job}}}));
        let payload = json!({"job_id": job, "agent": "a@1", "lease": {}, "accepted_at": "2026-05-13T19:42:13.000Z"});
        self.runtime(conn, "job.accepted", json!({"job_id": job, "payload": payload}));
    }

    fn event(&mut self, conn: u64, job: &str, seq: u64) {
        let ts = "2026-05-13T19:42:13.000Z";
        let body = json!({"level": "info", "message": format!("{seq}")});
        let payload = json!({"kind": "log", "ts": ts, "body": body});
        self.runtime(conn, "job.event", json!({"job_id": job, "event_seq": seq, "payload": payload}));
    }

    fn result(&mut self, conn: u64, job: &str, seq: u64) {
        let payload = json!({"final_status": "success", "result": 7});
        self.runtime(conn, "job.result", json!({"job_id": job, "event_seq": seq, "payload": payload}));
    }

    fn recording(self) -> Recording {
        Recording { name: "made/up".into(), lines: self.lines, steps: self.steps }
    }
}

fn hang_up(tape: &mut Tape, conn: u64) {
    tape.step(conn, What::Eof(Side::Client));
    tape.step(conn, What::Eof(Side::Runtime));
}

/// A conversation with a bit of everything: one event comes early, a resume repeats one, a page has another after it.
fn conversation() -> Recording {
    let mut tape = Tape::default();
    tape.open(1, json!({}), "rt_first");
    tape.submit(1, "job_1");
    for seq in [1, 3, 2] {
        tape.event(1, "job_1", seq);
    }
    tape.client(1, "session.ack", json!({"payload": {"last_processed_seq": 2}}));
    hang_up(&mut tape, 1);
    let claim = json!({"session_id": "sess_1", "resume_token": "rt_first", "last_event_seq": 2});
    tape.open(2, json!({"resume": claim}), "rt_second");
    tape.event(2, "job_1", 3);
    tape.submit(2, "job_2");
    tape.client(2, "session.list_jobs", json!({"payload": {"limit": 1}}));
    let job = json!({"job_id": "job_1", "agent": "a@1", "status": "running", "created_at": "2026-05-13T19:42:13.000Z"});
    let page = json!({"request_id": "m14", "jobs": [job], "next_cursor": "theirs"});
    tape.runtime(2, "session.jobs", json!({"payload": page}));
    tape.client(2, "session.list_jobs", json!({"payload": {"limit": 1, "cursor": "theirs"}}));
    tape.runtime(2, "session.jobs", json!({"payload": {"request_id": "m16", "jobs": []}}));
    tape.client(2, "job.cancel", json!({"job_id": "job_2", "payload": {}}));
    tape.runtime(2, "job.cancelled", json!({"job_id": "job_2", "payload": {}}));
    let ended =
        json!({"final_status": "cancelled", "code": "CANCELLED", "message": "as asked for", "retryable": false});
    tape.runtime(2, "job.error", json!({"job_id": "job_2", "event_seq": 4, "payload": ended}));
    tape.client(2, "job.cancel", json!({"job_id": "job_2", "payload": {}}));
    // One peer refuses like this.
    let refusal =
        json!({"final_status": "error", "code": "JOB_NOT_FOUND", "message": "it is gone", "retryable": false});
    tape.runtime(2, "job.error", json!({"job_id": "job_2", "event_seq": 5, "payload": refusal}));
    tape.result(2, "job_1", 6);
    tape.client(2, "session.ack", json!({"payload": {"last_processed_seq": 6}}));
    tape.client(2, "session.bye", json!({"payload": {}}));
    hang_up(&mut tape, 2);
    tape.recording()
}

fn is_flawless(outcome: &Outcome) {
    assert_eq!((&outcome.problems, &outcome.differences), (&Vec::new(), &Vec::new()));
}

#[test]
fn a_made_up_client_is_served() {
    let recording = conversation();
    let outcome = runtime::replay(&recording, &Plot::of(&recording));
    is_flawless(&outcome);
    assert_eq!(
        outcome.tally.lines(),
        [
            "answered: job.cancel INVALID_REQUEST 1, job.cancel job.cancelled 1, \
             job.submit job.accepted 2, session.list_jobs session.jobs 2, with jobs on pages 2",
            "asked: job.cancel 2, job.submit 2, session.list_jobs 2",
            "detached: PeerClosed 1, TransportLost 1",
            "published: ends 2, events 3",
            "sent: job.accepted 2, job.cancelled 1, job.error 1, job.event 3, job.result 1, \
             session.closed 1, session.error 1, session.jobs 2, session.welcome 2",
            "sessions: ResumeWindowExpired 1, outlived their window 1, resumed 1",
            "transports: resumed 1, welcomed 1",
        ]
    );
}

#[test]
fn a_made_up_runtime_is_understood() {
    let recording = conversation();
    let outcome = client::replay(&recording, &Plot::of(&recording));
    is_flawless(&outcome);
    assert_eq!(
        outcome.tally.lines(),
        [
            "answered: job.cancel JOB_NOT_FOUND 1, job.cancel job.cancelled 1, job.submit job.accepted 2, \
             session.list_jobs session.jobs 2",
            "asked: job.cancel 2, job.submit 2, session.list_jobs 2",
            "closed: Requested 1",
            "detached: TransportLost 1",
            "in sequence: again 1, ahead 1, next 5",
            // An acknowledgement is said again on the second transport (D25).
            "sent: job.cancel 2, job.submit 2, session.ack 3, session.bye 1, session.hello 2, session.list_jobs 2",
            "told: accepted 2, cancelled 1, event 3, failed CANCELLED 1, finished 1, jobs on pages 1, \
             pages of jobs 2, without a place 1",
            "transports: resumed 1, welcomed 1",
        ]
    );
}

#[test]
fn d28_a_hole_in_a_recording_is_told_as_lost() {
    let mut tape = Tape::default();
    tape.open(1, json!({}), "rt_first");
    tape.submit(1, "job_1");
    for seq in [1, 4, 5] {
        tape.event(1, "job_1", seq);
    }
    tape.millis += 2_000;
    tape.result(1, "job_1", 6);
    tape.client(1, "session.bye", json!({"payload": {}}));
    hang_up(&mut tape, 1);
    let recording = tape.recording();
    let outcome = client::replay(&recording, &Plot::of(&recording));
    is_flawless(&outcome);
    let told = outcome.tally.lines().into_iter().find(|line| line.starts_with("told")).unwrap();
    assert_eq!(told, "told: accepted 1, event 3, finished 1, lost events 2");
}
