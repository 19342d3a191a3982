//! The referee: for every rule a transcript that breaks it, and only it; and good ones that break none.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod corpus;

use std::collections::{BTreeMap, BTreeSet};

use arcp_proto::Instant;
use arcp_proto::referee::{Class, Finding, Layer, Referee, Rule, Side, Verdict};
use bytes::Bytes;

#[allow(dead_code, unreachable_pub)]
#[path = "../examples/loopback.rs"]
mod loopback;

const C: Side = Side::Client;
const R: Side = Side::Runtime;

const ALL: &str = concat!(
    r#""heartbeat","ack","list_jobs","subscribe","lease_expires_at","cost.budget","model.use","#,
    r#""provisioned_credentials","progress","result_chunk","agent_versions""#
);

/// A transcript in the making. Client and runtime number their messages by themselves.
struct Play {
    referee: Referee,
    conn: u64,
    now: u64,
    ids: u64,
    session: &'static str,
    findings: Vec<Finding>,
}

impl Play {
    fn new() -> Play {
        let mut play =
            Play { referee: Referee::new(), conn: 0, now: 0, ids: 0, session: "sess_1", findings: Vec::new() };
        play.open();
        play
    }

    /// A session with all features and a heartbeat of 30 s.
    fn attached() -> Play {
        let mut play = Play::new();
        play.hello("");
        play.welcome("rt_1");
        play
    }

    /// The same with a job.
    fn with_job() -> Play {
        let mut play = Play::attached();
        let id = play.c("job.submit", r#"{"agent":"demo","input":{}}"#);
        play.accepted(&id, "job_1");
        play
    }

    fn open(&mut self) {
        self.conn += 1;
        let findings = self.referee.open(self.conn, Instant::from_millis(self.now));
        self.findings.extend(findings);
    }

    fn raw(&mut self, from: Side, frame: impl Into<Bytes>) -> Verdict {
        let verdict = self.referee.frame(self.conn, from, Instant::from_millis(self.now), frame.into());
        self.findings.extend(verdict.findings.iter().cloned());
        verdict
    }

    fn id(&mut self) -> String {
        self.ids += 1;
        format!("msg_{}", self.ids)
    }

    /// A message with `members` between the type and the payload. Gives its id.
    fn say(&mut self, from: Side, kind: &str, members: &str, payload: &str) -> String {
        let id = self.id();
        self.raw(from, format!(r#"{{"arcp":"1.1","id":"{id}","type":"{kind}"{members},"payload":{payload}}}"#));
        id
    }

    fn within(&self) -> String {
        format!(r#","session_id":"{}""#, self.session)
    }

    fn c(&mut self, kind: &str, payload: &str) -> String {
        let session = self.within();
        self.say(C, kind, &session, payload)
    }

    fn r(&mut self, kind: &str, payload: &str) -> String {
        let session = self.within();
        self.say(R, kind, &session, payload)
    }

    fn c_job(&mut self, kind: &str, job: &str) -> String {
        let members = format!(r#"{},"job_id":"{job}""#, self.within());
        self.say(C, kind, &members, &format!(r#"{{"job_id":"{job}"}}"#))
    }

    fn r_job(&mut self, kind: &str, job: &str, seq: u64, payload: &str) -> String {
        let seq = if seq == 0 { String::new() } else { format!(r#","event_seq":{seq}"#) };
        let members = format!(r#"{},"job_id":"{job}"{seq}"#, self.within());
        self.say(R, kind, &members, payload)
    }

    fn hello(&mut self, resume: &str) {
        self.hello_with(ALL, resume);
    }

    fn hello_with(&mut self, features: &str, resume: &str) {
        let payload = format!(
            r#"{{"client":{{"name":"c","version":"1"}},"auth":{{"scheme":"bearer","token":"tok"}},"capabilities":{{"encodings":["json"],"features":[{features}]}}{resume}}}"#
        );
        self.say(C, "session.hello", "", &payload);
    }

    fn welcome(&mut self, token: &str) {
        self.welcome_with(token, ALL, r#","heartbeat_interval_sec":30"#);
    }

    fn welcome_with(&mut self, token: &str, features: &str, more: &str) {
        let payload = format!(
            r#"{{"runtime":{{"name":"r","version":"1"}},"resume_token":"{token}","resume_window_sec":600{more},"capabilities":{{"encodings":["json"],"features":[{features}],"agents":[{{"name":"demo","versions":[]}}]}}}}"#
        );
        self.r("session.welcome", &payload);
    }

    /// The transport is lost, and the session resumed on a new one.
    fn resume(&mut self, token: &str, last: u64) {
        let findings = self.referee.close(self.conn, Instant::from_millis(self.now));
        self.findings.extend(findings);
        self.open();
        self.hello(&claim(self.session, token, last));
    }

    fn accepted(&mut self, request: &str, job: &str) {
        let payload = format!(
            r#"{{"request_id":"{request}","job_id":"{job}","agent":"demo","lease":{{}},"accepted_at":"2026-01-01T00:00:00.000Z"}}"#
        );
        self.r_job("job.accepted", job, 0, &payload);
    }

    fn event(&mut self, seq: u64) {
        self.event_of("log", seq, r#"{"level":"info","message":"m"}"#);
    }

    fn event_of(&mut self, kind: &str, seq: u64, body: &str) {
        self.r_job("job.event", "job_1", seq, &event(kind, body));
    }

    fn chunk(&mut self, seq: u64, chunk: u64, more: bool) {
        let body = format!(r#"{{"result_id":"res_1","chunk_seq":{chunk},"data":"x","encoding":"utf8","more":{more}}}"#);
        self.event_of("result_chunk", seq, &body);
    }

    fn result(&mut self, seq: u64, members: &str) {
        self.r_job("job.result", "job_1", seq, &format!(r#"{{"final_status":"success"{members}}}"#));
    }

    fn error(&mut self, code: &str, retryable: bool, members: &str) {
        self.r("session.error", &format!(r#"{{"code":"{code}","message":"m","retryable":{retryable}{members}}}"#));
    }

    fn wait(&mut self, millis: u64) {
        self.now += millis;
    }

    fn ping(&mut self, from: Side, nonce: &str) {
        let payload = format!(r#"{{"nonce":"{nonce}","sent_at":"2026-01-01T00:00:00.000Z"}}"#);
        let session = self.within();
        self.say(from, "session.ping", &session, &payload);
    }

    fn pong(&mut self, from: Side, nonce: &str) {
        let payload = format!(r#"{{"ping_nonce":"{nonce}","received_at":"2026-01-01T00:00:00.000Z"}}"#);
        let session = self.within();
        self.say(from, "session.pong", &session, &payload);
    }

    fn eof(&mut self, side: Side) {
        let findings = self.referee.eof(self.conn, side, Instant::from_millis(self.now));
        self.findings.extend(findings);
    }

    /// The client says bye, is answered, and both hang up.
    fn bye(&mut self) {
        self.c("session.bye", r#"{"reason":"normal"}"#);
        self.r("session.closed", r#"{"reason":"normal"}"#);
        self.eof(R);
        self.eof(C);
    }

    /// What was charged, in order and with repetitions.
    #[track_caller]
    fn ends(mut self, expected: &[(Side, Rule)]) {
        self.findings.extend(self.referee.finish());
        let found: Vec<_> = self.findings.iter().map(|finding| (finding.side, finding.rule)).collect();
        assert_eq!(found, expected, "{:#?}", self.findings);
    }
}

fn event(kind: &str, body: &str) -> String {
    format!(r#"{{"kind":"{kind}","ts":"2026-01-01T00:00:00.000Z","body":{body}}}"#)
}

/// Both forms of D13.
fn claim(session: &str, token: &str, last: u64) -> String {
    format!(
        r#","resume":{{"session_id":"{session}","resume_token":"{token}","last_event_seq":{last}}},"resume_token":"{token}","last_event_seq":{last}"#
    )
}

// Good ones.

#[test]
fn a_whole_session_is_clean() {
    let mut play = Play::with_job();
    play.event(1);
    play.event_of("progress", 2, r#"{"current":1}"#);
    play.c("session.ack", r#"{"last_processed_seq":2}"#);
    play.event_of("status", 3, r#"{"phase":"back_pressure"}"#);
    play.c("session.ack", r#"{"last_processed_seq":3}"#);
    play.event_of("status", 4, r#"{"phase":"back_pressure"}"#);
    play.wait(30_000);
    play.ping(R, "p1");
    play.pong(C, "p1");
    let list = play.c("session.list_jobs", r#"{"filter":{"status":["running"]},"limit":1}"#);
    play.r(
        "session.jobs",
        &format!(
            r#"{{"request_id":"{list}","jobs":[{{"job_id":"job_1","agent":"demo","status":"running","lease":{{}},"parent_job_id":null,"created_at":"2026-01-01T00:00:00.000Z","last_event_seq":4}}],"next_cursor":null}}"#
        ),
    );
    let subscribe = play.c_job("job.subscribe", "job_2");
    play.r_job(
        "job.subscribed",
        "job_2",
        0,
        &format!(
            r#"{{"request_id":"{subscribe}","job_id":"job_2","current_status":"running","agent":"demo","lease":{{}},"parent_job_id":null,"subscribed_from":9,"replayed":false}}"#
        ),
    );
    play.c_job("job.unsubscribe", "job_2");
    play.chunk(5, 0, true);
    play.chunk(6, 1, false);
    play.result(7, r#","result_id":"res_1""#);
    let cancel = play.c_job("job.cancel", "job_1");
    play.error("INVALID_REQUEST", false, &format!(r#","request_id":"{cancel}""#));
    play.bye();
    play.ends(&[]);
}

#[test]
fn d14_resumes_are_clean() {
    let mut play = Play::with_job();
    let events: Vec<String> = (1..=3)
        .map(|seq| {
            let payload = event("log", r#"{"level":"info","message":"m"}"#);
            format!(
                r#"{{"arcp":"1.1","id":"e{seq}","type":"job.event","session_id":"sess_1","job_id":"job_1","event_seq":{seq},"payload":{payload}}}"#
            )
        })
        .collect();
    for event in &events {
        play.raw(R, event.clone());
    }
    // The welcome that rotates the token may be lost: the old one is good until the client has spoken.
    for token in ["rt_2", "rt_3"] {
        play.resume("rt_1", 1);
        play.welcome(token);
        assert!(play.raw(R, events[1].clone()).replayed);
        assert!(play.raw(R, events[2].clone()).replayed);
    }
    play.event(4);
    play.c("session.ack", r#"{"last_processed_seq":4}"#);
    // Caught up.
    play.resume("rt_3", 4);
    play.welcome("rt_4");
    play.event(5);
    play.bye();
    play.ends(&[]);
}

#[test]
fn d15_a_takeover_is_clean() {
    let mut play = Play::attached();
    play.open();
    play.hello(&claim("sess_1", "rt_1", 0));
    play.welcome("rt_2");
    play.conn = 1;
    play.r("session.bye", r#"{"reason":"superseded"}"#);
    play.eof(R);
    play.eof(C);
    play.conn = 2;
    play.bye();
    play.ends(&[]);
}

#[test]
fn d15_nobody_is_superseded_on_a_transport_that_was_given_up() {
    let mut play = Play::attached();
    play.wait(30_000);
    play.ping(R, "p1");
    play.wait(30_000);
    // The client comes back at the moment at which it is given up; both transports stand.
    play.error("HEARTBEAT_LOST", true, "");
    play.open();
    play.hello(&claim("sess_1", "rt_1", 0));
    play.welcome("rt_2");
    play.conn = 1;
    play.eof(R);
    play.eof(C);
    play.conn = 2;
    play.bye();
    play.findings.extend(play.referee.finish());
    assert!(play.findings.iter().all(|finding| finding.rule != Rule::Takeover), "{:#?}", play.findings);
}

#[test]
fn a14_a_refused_reauthentication_is_the_clients_fault_alone() {
    let mut play = Play::attached();
    play.hello("");
    let hello = format!("msg_{}", play.ids);
    play.r("session.bye", r#"{"reason":"reauthentication"}"#);
    play.error("INVALID_REQUEST", false, &format!(r#","request_id":"{hello}""#));
    play.eof(R);
    play.eof(C);
    play.ends(&[(C, Rule::SecondHello)]);
}

#[test]
fn a8_a_lost_heartbeat_is_clean_for_the_runtime() {
    let mut play = Play::attached();
    play.wait(30_000);
    play.ping(R, "p1");
    play.wait(30_000);
    play.error("HEARTBEAT_LOST", true, "");
    play.eof(R);
    play.eof(C);
    // What the client did not do shows as what it did not do.
    play.ends(&[(C, Rule::ClientIdle)]);
}

#[test]
fn a_lost_transport_is_nobodys_fault() {
    let mut play = Play::attached();
    let at = Instant::from_millis(1_000);
    play.findings.extend(play.referee.close(1, at));
    play.ends(&[]);
}

#[test]
fn d21_bytes_of_an_unfinished_frame_are_a_sign_of_life() {
    let mut play = Play::attached();
    for step in 1..6 {
        play.wait(15_000);
        play.findings.extend(play.referee.activity(1, C, Instant::from_millis(play.now)));
        if step % 2 == 0 {
            play.ping(R, &format!("p{step}"));
            play.pong(C, &format!("p{step}"));
        }
    }
    play.bye();
    play.ends(&[]);
}

// The frame.

/// One bad frame of the client's in a session that stands.
#[track_caller]
fn bad_frame(frame: impl Into<Bytes>, expected: &[(Side, Rule)]) {
    let mut play = Play::attached();
    play.raw(C, frame);
    play.ends(expected);
}

fn bye_frame(head: &str, tail: &str) -> String {
    format!(r#"{{{head},"type":"x-vendor.note","session_id":"sess_1"{tail}}}"#)
}

#[test]
fn s5_what_is_no_envelope() {
    for frame in ["{", "[]", "7", "nonsense", "{\"arcp\":\"1.1\"} {}"] {
        bad_frame(frame, &[(C, Rule::NotAnEnvelope)]);
    }
    bad_frame(&b"\xff{}"[..], &[(C, Rule::NotAnEnvelope)]);
}

#[test]
fn s5_members_of_the_wrong_type() {
    for (id, seq) in [("7", "1"), ("\"m\"", "-1"), ("\"m\"", "1.5"), ("\"m\"", "\"1\""), ("\"m\"", "9007199254740992")]
    {
        let frame = format!(
            r#"{{"arcp":"1.1","id":{id},"type":"x.y","session_id":"sess_1","event_seq":{seq},"payload":{{}}}}"#
        );
        bad_frame(frame, &[(C, Rule::HeaderField)]);
    }
    bad_frame(r#"{"arcp":"1.1","id":"m","session_id":"sess_1","payload":{}}"#, &[(C, Rule::HeaderField)]);
}

#[test]
fn d1_another_version() {
    bad_frame(bye_frame(r#""arcp":"2","id":"m""#, r#","payload":{}"#), &[(C, Rule::Version)]);
    bad_frame(bye_frame(r#""id":"m""#, r#","payload":{}"#), &[(C, Rule::Version)]);
}

#[test]
fn d3_message_ids() {
    bad_frame(bye_frame(r#""arcp":"1.1""#, r#","payload":{}"#), &[(C, Rule::MessageId)]);
    let mut play = Play::attached();
    for payload in ["{}", "{}", r#"{"a":1}"#] {
        play.raw(C, bye_frame(r#""arcp":"1.1","id":"m""#, &format!(r#","payload":{payload}"#)));
    }
    play.ends(&[(C, Rule::MessageIdRepeated)]);
}

#[test]
fn d39_hostile_json() {
    bad_frame(bye_frame(r#""arcp":"1.1","id":"m","id":"m""#, r#","payload":{}"#), &[(C, Rule::DuplicateMember)]);
    let long = bye_frame(r#""arcp":"1.1","id":"m""#, &format!(r#","payload":{{"a":"{}"}}"#, "x".repeat(1 << 20)));
    bad_frame(long, &[(C, Rule::Oversize)]);
    let deep = format!(r#","payload":{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    bad_frame(bye_frame(r#""arcp":"1.1","id":"m""#, &deep), &[(C, Rule::Depth)]);
}

#[test]
fn d38_raw_line_ends() {
    let frame = bye_frame(r#""arcp":"1.1","id":"m""#, r#","payload":{}"#);
    bad_frame(format!("{frame}\r"), &[(C, Rule::LineBreak)]);
    bad_frame(frame.replace("{}", "{\n}"), &[(C, Rule::LineBreak)]);
    bad_frame(frame.replace("{}", "{\"a\":\"\u{2028}\"}"), &[(C, Rule::LineBreak)]);
    bad_frame("", &[(C, Rule::LineBreak)]);
    bad_frame("  \r", &[(C, Rule::LineBreak)]);
}

#[test]
fn d2_null_for_absent() {
    bad_frame(bye_frame(r#""arcp":"1.1","id":"m""#, r#","job_id":null,"payload":{}"#), &[(C, Rule::Null)]);
    let mut play = Play::attached();
    play.c("session.bye", r#"{"reason":null}"#);
    play.ends(&[(C, Rule::Null)]);
}

#[test]
fn s5_order_and_company_of_members() {
    bad_frame(bye_frame(r#""id":"m","arcp":"1.1""#, r#","payload":{}"#), &[(C, Rule::MemberOrder)]);
    bad_frame(bye_frame(r#""arcp":"1.1","id":"m""#, r#","payload":{},"span_id":"s""#), &[(C, Rule::ExtraMember)]);
    bad_frame(bye_frame(r#""arcp":"1.1","id":"m""#, ""), &[(C, Rule::PayloadAbsent)]);
}

#[test]
fn d4_trace_ids() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    bad_frame(
        bye_frame(r#""arcp":"1.1","id":"m""#, &format!(r#","trace_id":"{trace}","payload":{{}}"#)),
        &[(C, Rule::TraceId)],
    );
}

#[test]
fn d34_both_places_of_the_job_id() {
    let mut play = Play::with_job();
    let session = play.within();
    play.say(C, "job.cancel", &session, r#"{"job_id":"job_1"}"#);
    play.say(C, "job.cancel", &format!(r#"{session},"job_id":"job_1""#), "{}");
    play.ends(&[(C, Rule::JobIdPlace), (C, Rule::JobIdPlace)]);

    let mut play = Play::with_job();
    play.say(C, "job.cancel", &format!(r#"{session},"job_id":"job_1""#), r#"{"job_id":"job_2"}"#);
    play.ends(&[(C, Rule::JobIdPlace)]);

    let mut play = Play::with_job();
    play.say(R, "job.event", &format!(r#"{session},"event_seq":1"#), &event("thought", r#"{"text":"t"}"#));
    play.ends(&[(R, Rule::JobIdAbsent)]);
}

// Who may say what, and when.

#[test]
fn a1_the_first_frame_is_a_hello() {
    let mut play = Play::new();
    play.ping(C, "p");
    play.ends(&[(C, Rule::FirstFrame)]);
}

#[test]
fn d9_a_bad_opening_is_not_served() {
    let mut play = Play::new();
    play.raw(C, "GET / HTTP/1.1");
    play.hello("");
    play.welcome("rt_1");
    play.ends(&[(C, Rule::NotAnEnvelope), (R, Rule::BadOpeningServed)]);
}

#[test]
fn a2_the_runtime_waits_for_the_hello_and_answers_it_first() {
    let mut play = Play::new();
    play.r("session.ping", r#"{"nonce":"p","sent_at":"2026-01-01T00:00:00Z"}"#);
    play.ends(&[(R, Rule::FirstAnswer)]);

    let mut play = Play::new();
    play.hello("");
    play.pong(R, "p");
    play.ends(&[(R, Rule::FirstAnswer)]);
}

#[test]
fn a2_the_client_waits_for_the_welcome() {
    let mut play = Play::new();
    play.hello("");
    let list = play.c("session.list_jobs", "{}");
    play.welcome("rt_1");
    play.r("session.jobs", &format!(r#"{{"request_id":"{list}","jobs":[],"next_cursor":null}}"#));
    play.ends(&[(C, Rule::BeforeWelcome)]);
}

#[test]
fn d11_a_failed_handshake_ends_the_transport() {
    let mut play = Play::new();
    play.hello("");
    play.error("UNAUTHENTICATED", false, "");
    play.wait(1_000);
    play.eof(C);
    play.eof(R);
    play.ends(&[(R, Rule::RefusalLeftOpen)]);

    let mut play = Play::new();
    play.hello("");
    play.error("UNAUTHENTICATED", false, "");
    play.eof(R);
    play.wait(1_000);
    play.eof(C);
    play.ends(&[]);
}

#[test]
fn d11_a_refusal_names_a_session() {
    let mut play = Play::new();
    play.hello("");
    play.say(R, "session.error", "", r#"{"code":"UNAUTHENTICATED","message":"m","retryable":false}"#);
    play.ends(&[(R, Rule::RefusalWithoutSession)]);
}

#[test]
fn d9_a_handshake_does_not_end_in_silence() {
    let mut play = Play::new();
    play.hello("");
    play.eof(R);
    play.ends(&[(R, Rule::SilentRefusal)]);
}

#[test]
fn a14_reauthentication_wants_a_bye_first() {
    let mut play = Play::attached();
    play.hello("");
    let hello = format!("msg_{}", play.ids);
    play.error("INVALID_REQUEST", false, &format!(r#","request_id":"{hello}""#));
    play.ends(&[(C, Rule::SecondHello), (R, Rule::Reauthentication)]);
}

#[test]
fn a1_one_welcome_each() {
    let mut play = Play::attached();
    play.welcome("rt_2");
    play.ends(&[(R, Rule::SecondWelcome)]);
}

#[test]
fn d7_directions_and_types() {
    let mut play = Play::attached();
    play.c("session.error", r#"{"code":"INVALID_REQUEST","message":"m","retryable":false}"#);
    play.r("session.ack", r#"{"last_processed_seq":0}"#);
    play.c("session.dance", "{}");
    play.c("x-vendor.dance", "{}");
    play.ends(&[(C, Rule::WrongDirection), (R, Rule::WrongDirection), (C, Rule::UnknownType)]);
}

#[test]
fn d16_session_ids() {
    let mut play = Play::attached();
    play.say(C, "session.ack", "", r#"{"last_processed_seq":0}"#);
    play.say(R, "session.bye", r#","session_id":"sess_2""#, "{}");
    play.ends(&[(C, Rule::SessionIdAbsent), (R, Rule::SessionIdForeign)]);

    let mut play = Play::new();
    let hello = r#"{"client":{"name":"c","version":"1"},"auth":{"scheme":"bearer","token":"t"},"capabilities":{"encodings":["json"],"features":[]}}"#;
    play.say(C, "session.hello", r#","session_id":"sess_9""#, hello);
    play.ends(&[(C, Rule::HelloNamesSession)]);
}

#[test]
fn d27_nothing_behind_a_farewell() {
    let mut play = Play::attached();
    play.c("session.bye", "{}");
    play.c("session.ack", r#"{"last_processed_seq":0}"#);
    play.ends(&[(C, Rule::AfterFarewell)]);

    let mut play = Play::with_job();
    play.c("session.bye", "{}");
    play.r("session.closed", "{}");
    play.event(1);
    play.ends(&[(R, Rule::AfterFarewell)]);
}

// Hello and welcome.

#[test]
fn a3_the_shape_of_a_hello() {
    let good = r#"{"client":{"name":"c","version":"1"},"auth":{"scheme":"bearer","token":"t"},"capabilities":{"encodings":["json"],"features":[]}}"#;
    for (what, instead) in [
        (r#""name":"c""#, r#""name":"""#),
        (r#","version":"1""#, ""),
        (r#""scheme":"bearer""#, r#""scheme":"basic""#),
        (r#","token":"t""#, ""),
        (r#""encodings":["json"],"#, r#""encodings":["cbor"],"#),
    ] {
        let mut play = Play::new();
        play.say(C, "session.hello", "", &good.replace(what, instead));
        play.ends(&[(C, Rule::HelloShape)]);
    }
}

#[test]
fn a4_the_shape_of_a_welcome() {
    let good = format!(
        r#"{{"runtime":{{"name":"r","version":"1"}},"resume_token":"rt_1","resume_window_sec":600,"heartbeat_interval_sec":30,"capabilities":{{"encodings":["json"],"features":[{ALL}],"agents":[{{"name":"demo","versions":[]}}]}}}}"#
    );
    for (what, instead) in [
        (r#","version":"1""#, ""),
        (r#""resume_token":"rt_1","#, ""),
        (":600", ":0"),
        (":30", ":0"),
        (":30", ":1.5"),
        (r#""heartbeat_interval_sec":30,"#, ""),
        (r#"["json"]"#, "[]"),
        (r#"{"name":"demo","versions":[]}"#, r#""demo""#),
        (r#","versions":[]"#, r#","bare":true"#),
    ] {
        let mut play = Play::new();
        play.hello("");
        play.r("session.welcome", &good.replace(what, instead));
        play.ends(&[(R, Rule::WelcomeShape)]);
    }
}

#[test]
fn d20_the_welcome_holds_what_was_agreed() {
    let mut play = Play::new();
    play.hello_with(r#""ack""#, "");
    play.welcome_with("rt_1", r#""ack","subscribe""#, "");
    play.ends(&[(R, Rule::WelcomeFeatures)]);

    let mut play = Play::new();
    play.hello_with(r#""ack""#, "");
    play.welcome_with("rt_1", r#""ack""#, r#","heartbeat_interval_sec":30"#);
    play.ends(&[(R, Rule::HeartbeatInterval)]);

    let mut play = Play::new();
    play.hello_with("", "");
    play.r("session.welcome", r#"{"runtime":{"name":"r","version":"1"},"resume_token":"rt_1","resume_window_sec":600,"capabilities":{"encodings":["json"],"agents":[]}}"#);
    play.ends(&[(R, Rule::CapabilitiesAbsent)]);
}

#[test]
fn s6_3_tokens_rotate() {
    let mut play = Play::attached();
    play.resume("rt_1", 0);
    play.welcome("rt_1");
    play.ends(&[(R, Rule::TokenKept)]);

    let mut play = Play::attached();
    play.open();
    play.session = "sess_2";
    play.hello("");
    play.welcome("rt_1");
    play.ends(&[(R, Rule::TokenKept)]);
}

#[test]
fn d3_tokens_are_not_made_from_the_session_id() {
    let mut play = Play::new();
    play.session = "sess_01M8208HEWXGK34BXEZW0KVA4G";
    play.hello("");
    play.welcome("01M8208HEWXGK34BXEZXP96PH3");
    play.ends(&[(R, Rule::TokenGuessable)]);
}

#[test]
fn d3_session_ids_are_not_reused() {
    let mut play = Play::attached();
    play.findings.extend(play.referee.close(1, Instant::ZERO));
    play.open();
    play.hello("");
    play.welcome("rt_2");
    play.ends(&[(R, Rule::SessionIdReused)]);
}

// Resume.

#[test]
fn d13_both_forms_of_a_resume() {
    for form in [
        r#","resume":{"session_id":"sess_1","resume_token":"rt_1","last_event_seq":0}"#,
        r#","resume_token":"rt_1","last_event_seq":0"#,
    ] {
        let mut play = Play::attached();
        play.findings.extend(play.referee.close(1, Instant::ZERO));
        play.open();
        play.hello(form);
        play.welcome("rt_2");
        play.ends(&[(C, Rule::ResumeForm)]);
    }
}

#[test]
fn s6_3_a_rotated_token_is_used_up() {
    let mut play = Play::attached();
    play.resume("rt_1", 0);
    play.welcome("rt_2");
    play.c("session.ack", r#"{"last_processed_seq":0}"#);
    play.resume("rt_1", 0);
    play.welcome("rt_3");
    play.ends(&[(C, Rule::StaleToken), (R, Rule::ResumeUnchecked)]);
}

#[test]
fn d14_a_resume_from_the_future_is_refused() {
    let mut play = Play::attached();
    play.resume("rt_1", 7);
    play.welcome("rt_2");
    play.ends(&[(C, Rule::ResumeBeyond), (R, Rule::ResumeUnchecked)]);

    let mut play = Play::attached();
    play.resume("rt_1", 7);
    play.error("RESUME_WINDOW_EXPIRED", false, "");
    play.ends(&[(C, Rule::ResumeBeyond)]);
}

#[test]
fn d14_a_refused_resume_says_why_in_one_way() {
    let mut play = Play::attached();
    play.resume("rt_x", 0);
    play.error("UNAUTHENTICATED", false, "");
    play.ends(&[(C, Rule::StaleToken), (R, Rule::ResumeRefusalCode)]);
}

#[test]
fn s6_3_a_resume_keeps_the_session() {
    let mut play = Play::attached();
    play.resume("rt_1", 0);
    play.session = "sess_2";
    play.welcome("rt_2");
    play.ends(&[(R, Rule::ResumeOtherSession)]);
}

#[test]
fn s6_3_whoever_missed_nothing_can_resume() {
    let mut play = Play::with_job();
    play.event(1);
    play.resume("rt_1", 1);
    play.error("RESUME_WINDOW_EXPIRED", false, "");
    play.ends(&[(R, Rule::ResumeRefused)]);
}

#[test]
fn d15_the_new_transport_wins() {
    let mut play = Play::attached();
    play.open();
    play.hello(&claim("sess_1", "rt_1", 0));
    play.error("RESUME_WINDOW_EXPIRED", false, "");
    play.ends(&[(R, Rule::TakeoverRefused)]);

    let mut play = Play::with_job();
    play.open();
    play.hello(&claim("sess_1", "rt_1", 0));
    play.welcome("rt_2");
    play.conn = 1;
    play.event(1);
    play.ends(&[(R, Rule::Takeover), (R, Rule::Takeover)]);
}

#[test]
fn s6_3_a_replay_is_whole() {
    // A hole in it.
    let mut play = Play::with_job();
    (1..=3).for_each(|seq| play.event(seq));
    play.resume("rt_1", 0);
    play.welcome("rt_2");
    play.event(4);
    play.eof(R);
    let found: BTreeSet<_> = play.findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(found, BTreeSet::from([Rule::ReplayHole, Rule::NoFarewell]));

    // None at all.
    let mut play = Play::with_job();
    play.event(1);
    play.resume("rt_1", 0);
    play.welcome("rt_2");
    play.bye();
    play.ends(&[(R, Rule::ReplayHole)]);
}

#[test]
fn s6_3_a_replay_is_verbatim() {
    let mut play = Play::with_job();
    play.event(1);
    play.resume("rt_1", 0);
    play.welcome("rt_2");
    // Another message id: another message.
    play.event(1);
    play.ends(&[(R, Rule::ReplayChanged)]);
}

#[test]
fn s6_3_the_order_of_members_is_no_change() {
    let mut play = Play::with_job();
    let body = event("thought", r#"{"text":"t"}"#);
    let head = r#"{"arcp":"1.1","id":"e","type":"job.event","session_id":"sess_1","job_id":"job_1""#;
    play.raw(R, format!(r#"{head},"event_seq":1,"payload":{body}}}"#));
    play.resume("rt_1", 0);
    play.welcome("rt_2");
    assert!(play.raw(R, format!(r#"{head},"payload":{body},"event_seq":1}}"#)).replayed);
    play.ends(&[(R, Rule::MemberOrder)]);
}

// Features.

#[test]
fn a5_requests_and_advisories() {
    let mut play = Play::new();
    play.hello_with("", "");
    play.welcome_with("rt_1", "", "");
    play.ping(C, "p");
    play.pong(R, "p"); // D23: answered all the same.
    play.c("session.ack", r#"{"last_processed_seq":0}"#);
    let list = play.c("session.list_jobs", "{}");
    play.r("session.jobs", &format!(r#"{{"request_id":"{list}","jobs":[],"next_cursor":null}}"#));
    play.c_job("job.subscribe", "job_1");
    play.c_job("job.unsubscribe", "job_1");
    let broken = [C, C, C, R, C, C].map(|side| (side, Rule::Unnegotiated));
    play.ends(&broken);
}

#[test]
fn a5_leases_and_versions() {
    let mut play = Play::new();
    play.hello_with("", "");
    play.welcome_with("rt_1", "", "");
    let submit = play.c(
        "job.submit",
        r#"{"agent":"demo@1","input":{},"lease_request":{"cost.budget":["USD:1"],"model.use":["m"]},"lease_constraints":{"expires_at":"2027-01-01T00:00:00Z"}}"#,
    );
    play.r_job("job.accepted", "job_1", 0, &format!(
        r#"{{"request_id":"{submit}","job_id":"job_1","agent":"demo@1","lease":{{"cost.budget":["USD:1"]}},"budget":{{"USD":1}},"credentials":[{{"id":"c","scheme":"bearer","value":"v"}}],"accepted_at":"2026-01-01T00:00:00Z"}}"#
    ));
    let broken = [C, C, C, C, R, R, R].map(|side| (side, Rule::Unnegotiated));
    play.ends(&broken);
}

#[test]
fn a5_events() {
    let mut play = Play::new();
    play.hello_with("", "");
    play.welcome_with("rt_1", "", "");
    let submit = play.c("job.submit", r#"{"agent":"demo","input":{}}"#);
    play.accepted(&submit, "job_1");
    play.event(1);
    play.event_of("progress", 2, r#"{"current":1}"#);
    play.chunk(3, 0, false);
    play.event_of("status", 4, r#"{"phase":"back_pressure"}"#);
    play.event_of("status", 5, r#"{"phase":"credential_rotated"}"#);
    play.event_of("status", 6, r#"{"phase":"running"}"#);
    play.result(7, r#","result_id":"res_1""#);
    play.ends(&[(R, Rule::Unnegotiated); 5]);
}

// Heartbeats.

#[test]
fn s6_4_the_shapes() {
    let mut play = Play::attached();
    play.c("session.ping", r#"{"nonce":"p"}"#);
    play.r("session.pong", r#"{"ping_nonce":"p","received_at":"now"}"#);
    play.ends(&[(C, Rule::PingShape), (R, Rule::PongShape)]);
}

#[test]
fn s6_4_pongs_answer_pings() {
    let mut play = Play::attached();
    play.ping(R, "p1");
    play.pong(C, "p2");
    play.pong(C, "p1");
    play.pong(C, "p1");
    play.ends(&[(C, Rule::PongUnasked), (C, Rule::PongUnasked)]);
}

#[test]
fn s6_4_pings_are_answered_within_an_interval() {
    let mut play = Play::attached();
    play.ping(C, "p");
    play.wait(29_000);
    play.ping(R, "r");
    play.pong(C, "r");
    play.wait(2_000);
    play.event(1);
    play.pong(R, "p");
    let unknown = (R, Rule::JobUnknown);
    play.ends(&[(R, Rule::PingUnanswered), unknown]);
}

#[test]
fn a7_the_runtime_pings_every_interval_also_while_it_streams() {
    let mut play = Play::with_job();
    for seq in 1..5 {
        play.wait(10_000);
        play.event(seq);
        play.c("session.ack", &format!(r#"{{"last_processed_seq":{seq}}}"#));
    }
    play.ends(&[(R, Rule::PingOmitted)]);
}

#[test]
fn d21_the_client_is_not_silent_for_an_interval() {
    let mut play = Play::attached();
    play.wait(30_000);
    play.ping(R, "p");
    play.wait(1_000);
    play.pong(C, "p");
    play.ends(&[(C, Rule::ClientIdle)]);
}

#[test]
fn a8_two_silent_intervals_are_the_end() {
    let mut play = Play::attached();
    for n in 0..3 {
        play.wait(30_000);
        play.ping(R, &format!("p{n}"));
    }
    play.ends(&[(C, Rule::ClientIdle), (C, Rule::PingUnanswered), (R, Rule::SilenceKept)]);
}

#[test]
fn a8_not_before_two_silent_intervals() {
    let mut play = Play::attached();
    play.wait(29_000);
    play.error("HEARTBEAT_LOST", true, "");
    play.ends(&[(R, Rule::LostTooEarly)]);
}

// Sequence, acks, back-pressure.

#[test]
fn d5_what_carries_an_event_seq() {
    let mut play = Play::with_job();
    let session = play.within();
    play.say(
        R,
        "session.ping",
        &format!(r#"{session},"event_seq":1"#),
        r#"{"nonce":"p","sent_at":"2026-01-01T00:00:00Z"}"#,
    );
    play.event(0);
    play.r_job(
        "job.error",
        "job_1",
        0,
        r#"{"final_status":"error","code":"INTERNAL_ERROR","message":"m","retryable":true}"#,
    );
    play.ends(&[(R, Rule::ControlSequenced), (R, Rule::SeqAbsent), (R, Rule::TerminalUnsequenced)]);

    let mut play = Play::with_job();
    let cancel = play.c_job("job.cancel", "job_1");
    play.r_job("job.cancelled", "job_1", 1, &format!(r#"{{"request_id":"{cancel}","job_id":"job_1"}}"#));
    play.event(2);
    play.ends(&[(R, Rule::Sequenced)]);
}

#[test]
fn d5_the_first_is_1() {
    let mut play = Play::with_job();
    play.event(5);
    play.event(6);
    play.ends(&[(R, Rule::FirstSeq)]);
}

#[test]
fn s8_3_holes() {
    let mut play = Play::with_job();
    play.event(1);
    play.event(3);
    play.ends(&[(R, Rule::SeqGap)]);

    // Said at the latest when 64 more have come.
    let mut play = Play::with_job();
    play.event(1);
    (3..=67).for_each(|seq| play.event(seq));
    assert_eq!(play.findings.iter().map(|finding| finding.rule).collect::<Vec<_>>(), [Rule::SeqGap]);
}

#[test]
fn s8_3_disorder_is_no_hole() {
    let mut play = Play::with_job();
    for seq in [2, 1, 5, 3, 4, 6] {
        play.event(seq);
    }
    play.ends(&[(R, Rule::SeqOrder); 3]);
}

#[test]
fn s8_3_repetition_and_restart() {
    let mut play = Play::with_job();
    play.event(1);
    play.event(2);
    play.c("session.ack", r#"{"last_processed_seq":2}"#);
    play.resume("rt_1", 2);
    play.welcome("rt_2");
    play.event(1);
    play.ends(&[(R, Rule::SeqRepeated), (R, Rule::ReplayChanged)]);
}

#[test]
fn d24_acks() {
    let mut play = Play::with_job();
    (1..=3).for_each(|seq| play.event(seq));
    for seq in ["3", "2", "4", "-1"] {
        play.c("session.ack", &format!(r#"{{"last_processed_seq":{seq}}}"#));
    }
    play.ends(&[(C, Rule::AckBackwards), (C, Rule::AckBeyond), (C, Rule::AckShape)]);
}

#[test]
fn d26_back_pressure_is_said_once() {
    let mut play = Play::with_job();
    play.event_of("status", 1, r#"{"phase":"back_pressure"}"#);
    play.event_of("status", 2, r#"{"phase":"back_pressure"}"#);
    play.ends(&[(R, Rule::PressureRepeated)]);
}

#[test]
fn d26_an_ack_that_crosses_the_signal_is_a_reason_for_the_next() {
    for (millis, expected) in [(250, vec![]), (251, vec![(R, Rule::PressureRepeated)])] {
        let mut play = Play::with_job();
        play.event(1);
        play.c("session.ack", r#"{"last_processed_seq":1}"#);
        play.wait(millis);
        // Said before the ack arrived; then that freed half the window, and it filled again.
        play.event_of("status", 2, r#"{"phase":"back_pressure"}"#);
        play.event_of("status", 3, r#"{"phase":"back_pressure"}"#);
        play.ends(&expected);
    }
}

#[test]
fn d26_a_resume_brings_a_signal_from_before_it_and_may_signal_again() {
    let mut play = Play::with_job();
    play.eof(R);
    play.eof(C);
    play.resume("rt_1", 0);
    play.welcome("rt_2");
    for seq in 1..=3 {
        play.event_of("status", seq, r#"{"phase":"back_pressure"}"#);
    }
    // The third is one too many.
    play.ends(&[(R, Rule::NoFarewell), (R, Rule::PressureRepeated)]);
}

// Requests.

#[test]
fn s6_6_lists() {
    let mut play = Play::attached();
    play.c("session.list_jobs", r#"{"limit":0}"#);
    play.c("session.list_jobs", r#"{"filter":{"status":"running"}}"#);
    play.ends(&[(C, Rule::RequestShape), (C, Rule::RequestShape)]);
}

#[test]
fn d12_what_crosses_the_clients_departure_may_answer_what_is_forgotten() {
    let mut play = Play::attached();
    let first = play.c("session.list_jobs", "{}");
    let second = play.c("session.list_jobs", "{}");
    play.r("session.jobs", &format!(r#"{{"request_id":"{second}","jobs":[],"next_cursor":null}}"#));
    // The first was overtaken: by now it counts as one that is not answered.
    play.eof(C);
    play.r("session.jobs", &format!(r#"{{"request_id":"{first}","jobs":[],"next_cursor":null}}"#));
    play.ends(&[(C, Rule::NoBye), (R, Rule::Unanswered)]);
}

#[test]
fn s6_6_pages() {
    let mut play = Play::attached();
    let list = play.c("session.list_jobs", "{}");
    play.r("session.jobs", &format!(r#"{{"request_id":"{list}","jobs":[]}}"#));
    play.r("session.jobs", &format!(r#"{{"request_id":"{list}","jobs":[],"next_cursor":null}}"#));
    play.r("session.jobs", r#"{"request_id":"nobody","jobs":[],"next_cursor":null}"#);
    play.ends(&[(R, Rule::JobsShape), (R, Rule::JobsUnasked), (R, Rule::JobsUnasked)]);
}

#[test]
fn s6_6_pages_hold_what_was_asked_for() {
    let entry = |status: &str, more: &str| {
        format!(
            r#"{{"job_id":"j","agent":"a","status":"{status}","lease":{{}},"created_at":"2026-01-01T00:00:00Z","last_event_seq":0{more}}}"#
        )
    };
    let mut play = Play::attached();
    for (jobs, ask) in [
        ([entry("running", ""), entry("error", "")].join(","), r#"{"limit":1}"#),
        (entry("error", ""), r#"{"filter":{"status":["running","pending"]}}"#),
        (entry("running", r#","credentials":[]"#), "{}"),
    ] {
        let list = play.c("session.list_jobs", ask);
        play.r("session.jobs", &format!(r#"{{"request_id":"{list}","jobs":[{jobs}],"next_cursor":null}}"#));
    }
    play.ends(&[(R, Rule::JobsFilter), (R, Rule::JobsFilter), (R, Rule::JobsCredentials)]);
}

#[test]
fn d12_every_request_is_answered() {
    let mut play = Play::attached();
    play.c("session.list_jobs", "{}");
    let second = play.c("session.list_jobs", "{}");
    play.r("session.jobs", &format!(r#"{{"request_id":"{second}","jobs":[],"next_cursor":null}}"#));
    play.bye();
    play.ends(&[(R, Rule::Unanswered)]);
}

#[test]
fn d12_answers_name_their_requests() {
    let mut play = Play::attached();
    play.c("job.submit", r#"{"agent":"demo","input":{}}"#);
    play.r_job(
        "job.accepted",
        "job_1",
        0,
        r#"{"job_id":"job_1","agent":"demo","lease":{},"accepted_at":"2026-01-01T00:00:00Z"}"#,
    );
    play.c("job.submit", r#"{"agent":"demo","input":{}}"#);
    play.error("AGENT_NOT_AVAILABLE", false, "");
    play.event(1);
    play.error("INVALID_REQUEST", false, r#","request_id":"nobody""#);
    play.ends(&[(R, Rule::AnswerUnnamed), (R, Rule::ErrorUnnamed), (R, Rule::ErrorMisnamed)]);
}

#[test]
fn d11_an_error_that_cannot_name_anything_need_not() {
    let mut play = Play::attached();
    let list = play.c("session.list_jobs", "{}");
    play.raw(C, "nonsense");
    play.error("INVALID_REQUEST", false, "");
    play.r("session.jobs", &format!(r#"{{"request_id":"{list}","jobs":[],"next_cursor":null}}"#));
    // A last word, before the runtime hangs up.
    play.c("session.list_jobs", "{}");
    play.error("INTERNAL_ERROR", true, "");
    play.eof(R);
    play.ends(&[(C, Rule::NotAnEnvelope)]);
}

#[test]
fn d11_requests_are_not_refused_by_job_errors() {
    let error = |code: &str| format!(r#"{{"final_status":"error","code":"{code}","message":"m","retryable":false}}"#);
    let mut play = Play::with_job();
    play.c("job.submit", r#"{"agent":"nope","input":{}}"#);
    play.r_job("job.error", "job_x", 1, &error("AGENT_NOT_AVAILABLE"));
    play.c_job("job.cancel", "job_1");
    play.r_job("job.error", "job_1", 2, &error("PERMISSION_DENIED"));
    play.event(3); // The job goes on.
    play.ends(&[(R, Rule::RefusedByJobError), (R, Rule::RefusedByJobError)]);
}

#[test]
fn s12_errors() {
    let mut play = Play::attached();
    for payload in [
        r#"{"code":"INVALID_REQUEST","message":"m"}"#,
        r#"{"code":"INVALID_REQUEST","message":"","retryable":false}"#,
        r#"{"code":"RATE_LIMITED","message":"m","retryable":true}"#,
        r#"{"code":"INTERNAL_ERROR","message":"m","retryable":false}"#,
        r#"{"code":"TIMEOUT","message":"m","retryable":false}"#,
    ] {
        play.r("session.error", payload);
    }
    let rules = [Rule::ErrorShape, Rule::ErrorMessage, Rule::ErrorCode, Rule::Retryable, Rule::RetryableOurs];
    play.ends(&rules.map(|rule| (R, rule)));
}

// Jobs.

#[test]
fn s7_1_submits() {
    let mut play = Play::attached();
    play.c("job.submit", r#"{"input":{}}"#);
    play.c("job.submit", r#"{"agent":"demo"}"#);
    play.c("job.submit", r#"{"agent":"Demo!","input":{}}"#);
    play.c(
        "job.submit",
        r#"{"agent":"demo","input":{},"lease_constraints":{"expires_at":"2027-01-01T00:00:00+00:00"}}"#,
    );
    play.c("job.subscribe", "{}");
    let rules = [Rule::SubmitShape, Rule::SubmitInput, Rule::AgentName, Rule::ExpiresAt, Rule::JobRequestShape];
    play.ends(&rules.map(|rule| (C, rule)));
}

#[test]
fn s7_1_answers_have_their_shape() {
    let mut play = Play::attached();
    let id = play.c("job.submit", r#"{"agent":"demo","input":{}}"#);
    play.r_job("job.accepted", "job_1", 0, &format!(r#"{{"request_id":"{id}","job_id":"job_1","agent":"demo"}}"#));
    let id = play.c_job("job.subscribe", "job_2");
    play.r_job("job.subscribed", "job_2", 0, &format!(r#"{{"request_id":"{id}","job_id":"job_2"}}"#));
    play.ends(&[(R, Rule::AcceptedShape), (R, Rule::SubscribedShape)]);
}

#[test]
fn s7_1_answers_need_a_question() {
    let mut play = Play::attached();
    play.accepted("nobody", "job_1");
    play.r_job("job.subscribed", "job_2", 0, r#"{"request_id":"x","job_id":"job_2","current_status":"running","agent":"a","lease":{},"parent_job_id":null,"subscribed_from":0,"replayed":false}"#);
    play.r_job("job.cancelled", "job_1", 0, r#"{"request_id":"x","job_id":"job_1"}"#);
    play.r_job("job.event", "job_9", 1, &event("thought", r#"{"text":"t"}"#));
    play.ends(&[
        (R, Rule::AcceptedUnasked),
        (R, Rule::SubscribedUnasked),
        (R, Rule::CancelledUnasked),
        (R, Rule::JobUnknown),
    ]);
}

#[test]
fn s7_2_a_repeated_submit_gets_the_first_answer() {
    let submit = r#"{"agent":"demo","input":{"a":1,"b":2},"idempotency_key":"k"}"#;
    let again = r#"{"agent":"demo","input":{"b":2,"a":1},"idempotency_key":"k"}"#;
    for (job, expected) in [("job_1", &[][..]), ("job_2", &[(R, Rule::Idempotency)])] {
        let mut play = Play::attached();
        let id = play.c("job.submit", submit);
        play.accepted(&id, "job_1");
        let id = play.c("job.submit", again);
        play.accepted(&id, job);
        play.ends(expected);
    }
}

#[test]
fn s7_1_a_delegated_job_answers_no_submit() {
    let mut play = Play::with_job();
    play.r_job(
        "job.accepted",
        "job_2",
        0,
        r#"{"job_id":"job_2","agent":"demo","lease":{},"accepted_at":"2026-01-01T00:00:00Z","parent_job_id":"job_1"}"#,
    );
    play.ends(&[]);
}

#[test]
fn s8_1_events() {
    let mut play = Play::with_job();
    play.r_job("job.event", "job_1", 1, r#"{"kind":"log","ts":"2026-01-01T00:00:00Z"}"#);
    play.r_job("job.event", "job_1", 2, r#"{"kind":"thought","body":{"text":"t"}}"#);
    play.event_of("tool_result", 3, r#"{"call_id":"c"}"#);
    play.event_of("progress", 4, r#"{"current":-1}"#);
    play.event_of("x-vendor.thing", 5, "{}");
    play.ends(&[(R, Rule::EventShape), (R, Rule::EventTime), (R, Rule::EventBody), (R, Rule::EventBody)]);
}

#[test]
fn s7_3_ends() {
    let mut play = Play::with_job();
    play.result(1, "");
    play.event(2);
    play.result(3, "");
    play.ends(&[(R, Rule::AfterTerminal), (R, Rule::AfterTerminal)]);
}

#[test]
fn s7_6_a_subscription_tells_an_ended_job_again() {
    let mut play = Play::with_job();
    play.result(1, r#","result":1"#);
    play.c_job("job.subscribe", "job_1");
    play.event(2);
    play.result(3, r#","result":1"#);
    play.ends(&[]);
}

#[test]
fn s7_3_final_states() {
    for (code, status, retryable, rule) in [
        ("CANCELLED", "error", false, Rule::FinalStatus),
        ("BUDGET_EXHAUSTED", "timed_out", false, Rule::FinalStatus),
        ("PERMISSION_DENIED", "success", false, Rule::FinalStatus),
        ("TIMEOUT", "error", true, Rule::TimeoutStatus),
    ] {
        let mut play = Play::with_job();
        let payload = format!(r#"{{"final_status":"{status}","code":"{code}","message":"m","retryable":{retryable}}}"#);
        play.r_job("job.error", "job_1", 1, &payload);
        play.ends(&[(R, rule)]);
    }
    let mut play = Play::with_job();
    play.r_job("job.result", "job_1", 1, r#"{"final_status":"error"}"#);
    play.ends(&[(R, Rule::FinalStatus)]);
}

#[test]
fn d35_an_inline_result_is_called_result() {
    let mut play = Play::with_job();
    play.result(1, r#","output":1"#);
    play.ends(&[(R, Rule::ResultName)]);
}

#[test]
fn s8_4_results_are_inline_or_streamed() {
    let mut play = Play::with_job();
    play.chunk(1, 0, false);
    play.result(2, r#","result":1,"result_id":"res_1""#);
    play.ends(&[(R, Rule::ResultMixed)]);

    let mut play = Play::with_job();
    play.chunk(1, 0, false);
    play.result(2, r#","result":1"#);
    play.ends(&[(R, Rule::ResultMixed)]);
}

#[test]
fn s8_4_a_result_names_its_stream() {
    for (more, members) in [(false, ""), (false, r#","result_id":"res_2""#), (true, r#","result_id":"res_1""#)] {
        let mut play = Play::with_job();
        play.chunk(1, 0, more);
        play.result(2, members);
        play.ends(&[(R, Rule::ResultReference)]);
    }
    let mut play = Play::with_job();
    play.result(1, r#","result_id":"res_1""#);
    play.ends(&[(R, Rule::StreamEmpty)]);
}

#[test]
fn s8_4_chunks_come_in_order() {
    let mut play = Play::with_job();
    play.chunk(1, 1, true);
    play.chunk(2, 3, true);
    play.chunk(3, 4, false);
    play.chunk(4, 5, false);
    play.event_of("result_chunk", 5, r#"{"result_id":"res_2","chunk_seq":0}"#);
    play.ends(&[(R, Rule::ChunkOrder), (R, Rule::ChunkOrder), (R, Rule::ChunkOrder), (R, Rule::ChunkShape)]);
}

// The end.

#[test]
fn a13_the_client_says_bye() {
    let mut play = Play::attached();
    play.eof(C);
    play.eof(R);
    play.ends(&[(C, Rule::NoBye)]);
}

#[test]
fn d22_a_client_that_hears_nothing_may_leave_without_a_bye() {
    let mut play = Play::attached();
    play.wait(30_000);
    play.ping(C, "p1");
    play.wait(30_000);
    play.ping(C, "p2");
    play.eof(C);
    assert!(play.findings.iter().all(|finding| finding.side == R), "{:#?}", play.findings);
}

#[test]
fn s6_7_a_close_is_answered() {
    let mut play = Play::attached();
    play.c("session.close", "{}");
    play.eof(R);
    play.eof(C);
    play.ends(&[(R, Rule::CloseUnanswered)]);

    let mut play = Play::attached();
    play.c("session.close", "{}");
    play.error("INVALID_REQUEST", false, "");
    play.eof(C);
    play.eof(R);
    play.ends(&[(R, Rule::CloseUnanswered)]);

    // Whoever does not wait is not answered.
    let mut play = Play::attached();
    play.c("session.close", "{}");
    play.eof(C);
    play.eof(R);
    play.ends(&[]);
}

#[test]
fn d32_a_bye_is_answered() {
    let mut play = Play::attached();
    play.c("session.bye", "{}");
    play.eof(R);
    play.eof(C);
    play.ends(&[(R, Rule::ByeUnanswered)]);

    // A fatal error crosses it.
    let mut play = Play::attached();
    play.c("session.bye", "{}");
    play.error("INTERNAL_ERROR", true, "");
    play.eof(R);
    play.eof(C);
    play.ends(&[]);

    // So does the end of the transport, whatever is to be said of that.
    let mut play = Play::attached();
    play.eof(R);
    play.c("session.bye", "{}");
    play.eof(C);
    play.ends(&[(R, Rule::NoFarewell)]);
}

#[test]
fn s6_7_closed_answers_a_close() {
    let mut play = Play::attached();
    play.r("session.closed", "{}");
    play.ends(&[(R, Rule::ClosedUnasked)]);
}

#[test]
fn a14_the_runtime_does_not_leave_without_a_word() {
    let mut play = Play::attached();
    play.eof(R);
    play.eof(C);
    play.ends(&[(R, Rule::NoFarewell)]);

    let mut play = Play::attached();
    play.r("session.bye", r#"{"reason":"shutdown"}"#);
    play.eof(R);
    play.eof(C);
    play.ends(&[]);
}

// The referee itself.

#[test]
fn every_rule_has_a_number_and_a_transcript_that_breaks_it() {
    let here = include_str!("referee.rs");
    for rule in Rule::ALL {
        assert!(rule.number().starts_with(['A', 'D', '§']), "{rule:?}");
        assert!(!rule.description().is_empty());
        assert!(here.contains(&format!("Rule::{rule:?}")), "{rule:?} has no transcript");
    }
    assert_eq!(Rule::PingOmitted.class(), Class::Ours);
    assert_eq!(Rule::SeqGap.class(), Class::Draft);
}

#[test]
fn the_applications_rules_can_be_left_out() {
    let mut play = Play::attached();
    play.referee = Referee::new().session_only();
    play.conn = 0;
    play.open();
    play.hello("");
    play.welcome("rt_1");
    play.r_job("job.event", "job_9", 1, &event("log", "{}"));
    play.event(3);
    play.ends(&[(R, Rule::SeqGap)]);
    assert_eq!(Rule::JobUnknown.layer(), Layer::Application);
}

#[test]
fn d3_secrets_are_not_told() {
    const SECRETS: [&str; 4] = ["s3cret-bearer", "s3cret-token", "s3cret-credential", "s3cret-input"];
    let mut play = Play::new();
    let mut said = String::new();
    let hello = concat!(
        r#"{"arcp":"1.1","id":"m1","type":"session.hello","payload":{"client":{"name":"c"},"#,
        r#""auth":{"scheme":"bearer","token":"s3cret-bearer"},"resume_token":"s3cret-token"}}"#
    );
    said += &format!("{:?}", play.raw(C, hello));
    let welcome = concat!(
        r#"{"arcp":"1.1","id":"m2","type":"session.welcome","session_id":"sess_1","#,
        r#""payload":{"resume_token":"s3cret-token","capabilities":{}}}"#
    );
    said += &format!("{:?}", play.raw(R, welcome));
    play.c("job.submit", r#"{"agent":"demo","input":"s3cret-input"}"#);
    let accepted = r#"{"job_id":"job_1","credentials":[{"id":"c","scheme":"bearer","value":"s3cret-credential"}]}"#;
    play.r_job("job.accepted", "job_1", 0, accepted);
    play.event_of("status", 1, r#"{"phase":"credential_rotated","details":{"value":"s3cret-credential"}}"#);
    said += &format!("{:?}{:?}", play.findings, play.referee);
    for secret in SECRETS {
        assert!(!said.contains(secret), "{secret}");
    }
}

/// A small generator: the same bytes every time.
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

#[test]
fn it_never_stops_at_anything() {
    let seeds = [
        r#"{"arcp":"1.1","id":"a","type":"session.hello","payload":{"resume":{"session_id":"s","resume_token":"t","last_event_seq":18446744073709551615}}}"#,
        r#"{"arcp":"1.1","id":"b","type":"session.welcome","session_id":"s","payload":{"resume_token":"t","heartbeat_interval_sec":18446744073709551615,"resume_window_sec":1}}"#,
        r#"{"id":"c","type":"job.event","session_id":"s","job_id":"j","event_seq":9007199254740991,"payload":{"kind":"result_chunk","body":{"result_id":"r","chunk_seq":18446744073709551615}}}"#,
        r#"{"id":"d","type":"session.ack","session_id":"s","payload":{"last_processed_seq":18446744073709551615}}"#,
        r#"{"id":"e","type":"job.result","session_id":"s","job_id":"j","event_seq":1,"payload":{"result_id":"r"}}"#,
        r#"{"id":"f","type":"session.list_jobs","session_id":"s","payload":{"limit":1e999,"filter":{"status":[[],{}]}}}"#,
        r#"{"id":"g","type":"session.error","session_id":"s","payload":{"code":"HEARTBEAT_LOST","request_id":"\ud800"}}"#,
    ];
    let mut noise = Noise(1);
    let mut referee = Referee::new();
    for round in 0..20_000_u64 {
        let mut frame = seeds[noise.next(seeds.len())].as_bytes().to_vec();
        for _ in 0..noise.next(3) {
            let at = noise.next(frame.len());
            frame[at] = noise.next(256) as u8;
        }
        let conn = noise.next(4) as u64;
        let side = if noise.next(2) == 0 { C } else { R };
        let at = Instant::from_millis(round * noise.next(1_000) as u64);
        match noise.next(40) {
            0 => drop(referee.open(conn, at)),
            1 => drop(referee.eof(conn, side, at)),
            2 => drop(referee.close(conn, at)),
            3 => drop(referee.frame(conn, side, Instant::MAX, frame.into())),
            _ => drop(referee.frame(conn, side, at, frame.into())),
        }
    }
    drop(referee.finish());
}

// Our own traffic.

#[test]
fn our_own_sessions_are_clean() {
    // The frames, and when and which way they went.
    let frames = loopback::transcript(true).unwrap();
    let mut frames = frames.lines();
    let story = loopback::transcript(false).unwrap();
    let mut referee = Referee::new();
    let mut found = Vec::new();
    let mut conn = 0;
    let mut count = 0;
    for line in story.lines() {
        let Some((time, rest)) = line.trim().split_once("s  ") else { continue };
        let Ok(seconds) = time.parse::<f64>() else { continue };
        let at = Instant::from_millis((seconds * 1_000.0).round() as u64);
        let side = match rest.trim_start() {
            rest if rest.starts_with("c→r") => C,
            rest if rest.starts_with("r→c") => R,
            rest => {
                if rest.contains("link: cut") {
                    found.extend(referee.close(conn, at));
                }
                continue;
            }
        };
        let frame = frames.next().unwrap();
        if frame.contains(r#""session.hello""#) {
            conn += 1;
            found.extend(referee.open(conn, at));
        }
        found.extend(referee.frame(conn, side, at, Bytes::copy_from_slice(frame.as_bytes())).findings);
        count += 1;
    }
    found.extend(referee.finish());
    assert!(count > 40 && conn == 2 && frames.next().is_none(), "{count} frames on {conn} transports");
    // The story smuggles in one request that our client would not send.
    let found: Vec<_> = found.iter().map(|finding| (finding.side, finding.rule, &*finding.detail)).collect();
    assert_eq!(found, [(C, Rule::Unnegotiated, "subscribe: job.subscribe")]);
}

// Real input.

/// All recordings run through; what was found in each, with the line (0: between lines).
fn recordings(test: &str) -> BTreeMap<String, Vec<(usize, Side, Rule)>> {
    corpus::recordings(test).into_iter().map(|recording| (recording.name.clone(), judged(&recording))).collect()
}

fn judged(recording: &corpus::Recording) -> Vec<(usize, Side, Rule)> {
    let mut referee = Referee::new();
    let mut found = Vec::new();
    for corpus::Step { at, conn, what } in &recording.steps {
        let at = Instant::from_duration(*at);
        let (line, findings) = match *what {
            corpus::What::Open => (0, referee.open(*conn, at)),
            corpus::What::Line { from, index, .. } => {
                (index + 1, referee.frame(*conn, from, at, recording.lines[index].clone()).findings)
            }
            corpus::What::Eof(side) => (0, referee.eof(*conn, side, at)),
            corpus::What::Close => (0, referee.close(*conn, at)),
        };
        found.extend(findings.into_iter().map(|finding| (line, finding.side, finding.rule)));
    }
    found.extend(referee.finish().into_iter().map(|finding| (0, finding.side, finding.rule)));
    found
}

#[track_caller]
fn has(found: &[(usize, Side, Rule)], line: usize, side: Side, rule: Rule) {
    assert!(found.contains(&(line, side, rule)), "{rule:?} by the {side} at line {line}: {found:?}");
}

#[test]
fn recordings_of_go() {
    let recordings = recordings("recordings_of_go");
    let Some(found) = recordings.get("go/features") else { return };
    has(found, 2, R, Rule::HeartbeatInterval);
    has(found, 2, R, Rule::TokenGuessable);
    has(found, 2, R, Rule::WelcomeShape); // Agents without versions.
    let found = &recordings["go/ack"];
    has(found, 101, C, Rule::AckBeyond);
    has(found, 98, C, Rule::AckBackwards);
    has(found, 104, R, Rule::JobsShape);
    let found = &recordings["go/chunks"];
    has(found, 81, R, Rule::Oversize);
    let found = &recordings["go/resume"];
    has(found, 167, R, Rule::TakeoverRefused);
    has(found, 177, R, Rule::ResumeRefusalCode);
    has(found, 197, R, Rule::ResumeUnchecked);
    has(found, 0, R, Rule::ReplayHole);
    let found = &recordings["go/heartbeat"];
    has(found, 24, R, Rule::PingOmitted);
    let found = &recordings["go/subscribe"];
    has(found, 13, R, Rule::MessageIdRepeated);
}

#[test]
fn recordings_of_typescript() {
    let recordings = recordings("recordings_of_typescript");
    let Some(found) = recordings.get("ts/resume") else { return };
    has(found, 62, R, Rule::ResumeRefused);
    let found = &recordings["ts/cancel"];
    has(found, 25, R, Rule::RefusedByJobError);
    let found = &recordings["ts/bad-token"];
    has(found, 2, R, Rule::RefusalWithoutSession);
    has(found, 0, R, Rule::RefusalLeftOpen);
    let found = &recordings["ts/close"];
    has(found, 0, R, Rule::CloseUnanswered);
    let found = &recordings["ts/handshake"];
    has(found, 23, R, Rule::WelcomeShape); // No encoding at all.
    // Its replays have the members in another order, and are replays all the same.
    let found = &recordings["ts/resume"];
    assert!(!found.iter().any(|(_, _, rule)| *rule == Rule::ReplayChanged));
}
