//! Golden frames: every message type and every event kind as written on the wire, what it means, and that writing it
//! again gives the same bytes, in the field order of §5.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use arcp_proto::wire::job_event::{
    ArtifactRef, ChunkEncoding, Delegate, Log, Metric, Progress, ResultChunk, Status, Thought, ToolCall, ToolResult,
    kind,
};
use arcp_proto::wire::{
    Ack, AgentInfo, Bye, ClientCapabilities, Credential, Credentials, Envelope, ErrorCode, Header, Hello, JobAccepted,
    JobCancel, JobCancelled, JobEntry, JobError, JobEvent, JobFilter, JobId, JobQuery, JobResult, JobStatus, JobSubmit,
    JobSubscribe, JobSubscribed, JobUnsubscribe, Jobs, Lease, LeaseConstraints, MessageType, PeerInfo, Ping, Pong,
    RawJson, ResultId, Resume, ResumeClaim, RuntimeCapabilities, Seconds, SessionError, SessionId, TraceId, Welcome,
    WireError, encode,
};
use arcp_proto::{Feature, FeatureSet, Timestamp};
use serde::{Deserialize, Serialize};

fn raw(text: &str) -> RawJson {
    RawJson::from_text(text).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn job_id() -> JobId {
    "job_1".into()
}

fn trace() -> TraceId {
    TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736").unwrap()
}

/// The frame decodes, its payload is `expected`, and header and payload written again are the frame.
#[track_caller]
fn golden<'a, P: Deserialize<'a> + Serialize + PartialEq + Debug>(envelope: &'a Envelope, expected: &P) {
    let payload: P = envelope.payload().unwrap();
    assert_eq!(&payload, expected);
    let (id, session_id, job_id) = (envelope.id().unwrap(), envelope.session_id(), envelope.job_id());
    let message = envelope.message_type().unwrap();
    let header = Header {
        id: &id,
        message,
        session_id: session_id.as_deref(),
        trace_id: envelope.trace_id(),
        // A session.error may name a job in its payload; the envelope names one in `job.*`.
        job_id: job_id.as_deref().filter(|_| message.is_of_job()),
        event_seq: envelope.event_seq(),
    };
    for payload in [&payload, expected] {
        assert_eq!(text(&encode(&header, payload).unwrap()), text(envelope.frame()));
    }
}

fn text(frame: &[u8]) -> &str {
    std::str::from_utf8(frame).unwrap()
}

#[track_caller]
fn decode(frame: &str) -> Envelope {
    let envelope = Envelope::decode(frame.to_owned().into()).unwrap();
    assert_eq!(text(envelope.frame()), frame);
    envelope
}

/// A frame with all optional members, and one with none, where they differ. The match knows every type, so a new one
/// cannot be forgotten.
fn frames(message: MessageType) -> Vec<&'static str> {
    match message {
        MessageType::SessionHello => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"session.hello","payload":{"client":{"name":"my-app","version":"1.0.0"},"auth":{"scheme":"bearer","token":"t0ken"},"capabilities":{"encodings":["json"],"features":["heartbeat","ack"]},"resume":{"session_id":"sess_1","resume_token":"rt_1","last_event_seq":41},"resume_token":"rt_1","last_event_seq":41}}"#,
            r#"{"arcp":"1.1","id":"msg_1","type":"session.hello","payload":{"client":{"name":"my-app","version":"1.0.0"},"auth":{"scheme":"bearer","token":"t0ken"},"capabilities":{"encodings":["json"],"features":["heartbeat","ack","list_jobs","subscribe","lease_expires_at","cost.budget","model.use","provisioned_credentials","progress","result_chunk","agent_versions"]}}}"#,
        ],
        MessageType::SessionWelcome => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"session.welcome","session_id":"sess_1","payload":{"runtime":{"name":"my-runtime","version":"1.1.0"},"resume_token":"rt_1","resume_window_sec":600,"heartbeat_interval_sec":30,"capabilities":{"encodings":["json"],"features":["heartbeat","ack"],"agents":[{"name":"code-refactor","versions":["1.0.0","2.0.0"],"default":"2.0.0"},{"name":"echo","versions":[]}]}}}"#,
            r#"{"arcp":"1.1","id":"msg_1","type":"session.welcome","session_id":"sess_1","payload":{"runtime":{"name":"my-runtime","version":"1.1.0"},"resume_token":"rt_1","resume_window_sec":600,"capabilities":{"encodings":["json"],"features":[],"agents":[]}}}"#,
        ],
        MessageType::SessionResume => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"session.resume","session_id":"sess_1","payload":{"resume_token":"rt_1","last_event_seq":41,"auth":{"scheme":"bearer","token":"t0ken"},"client":{"name":"my-app","version":"1.0.0"},"capabilities":{"encodings":["json"],"features":["ack"]}}}"#,
            r#"{"arcp":"1.1","id":"msg_1","type":"session.resume","session_id":"sess_1","payload":{}}"#,
        ],
        MessageType::SessionPing => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"session.ping","session_id":"sess_1","payload":{"nonce":"p_1","sent_at":"2026-05-13T19:42:13.007Z"}}"#,
        ],
        MessageType::SessionPong => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"session.pong","session_id":"sess_1","payload":{"ping_nonce":"p_1","received_at":"2026-05-13T19:42:13.007Z"}}"#,
        ],
        MessageType::SessionAck => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"session.ack","session_id":"sess_1","payload":{"last_processed_seq":9007199254740991}}"#,
        ],
        MessageType::SessionListJobs => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"session.list_jobs","session_id":"sess_1","payload":{"filter":{"status":["running","pending"],"agent":"code-refactor@2.0.0","created_after":"2026-05-13T00:00:00.000Z","created_before":"2026-05-14T00:00:00.000Z"},"limit":50,"cursor":"c_1"}}"#,
            r#"{"arcp":"1.1","id":"msg_1","type":"session.list_jobs","session_id":"sess_1","payload":{}}"#,
        ],
        MessageType::SessionJobs => vec![
            r#"{"arcp":"1.1","id":"msg_2","type":"session.jobs","session_id":"sess_1","payload":{"request_id":"msg_1","jobs":[{"job_id":"job_1","agent":"code-refactor@2.0.0","status":"running","lease":{"fs.read":["/workspace/**"]},"parent_job_id":"job_0","created_at":"2026-05-13T19:42:13.007Z","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","last_event_seq":7},{"job_id":"job_2","agent":"echo","status":"timed_out","lease":{},"parent_job_id":null,"created_at":"2026-05-13T19:42:13.007Z","last_event_seq":0}],"next_cursor":"c_2"}}"#,
            r#"{"arcp":"1.1","id":"msg_2","type":"session.jobs","session_id":"sess_1","payload":{"request_id":"msg_1","jobs":[],"next_cursor":null}}"#,
        ],
        MessageType::SessionError => vec![
            r#"{"arcp":"1.1","id":"msg_2","type":"session.error","session_id":"sess_1","payload":{"code":"JOB_NOT_FOUND","message":"no such job","retryable":false,"details":{"hint":"list them"},"request_id":"msg_1","job_id":"job_1"}}"#,
            r#"{"arcp":"1.1","id":"msg_2","type":"session.error","session_id":"sess_1","payload":{"code":"HEARTBEAT_LOST","message":"two intervals without a sign of life","retryable":true}}"#,
        ],
        MessageType::SessionBye => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"session.bye","session_id":"sess_1","payload":{"reason":"normal"}}"#,
            r#"{"arcp":"1.1","id":"msg_1","type":"session.bye","session_id":"sess_1","payload":{}}"#,
        ],
        MessageType::SessionClose => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"session.close","session_id":"sess_1","payload":{"reason":"maintenance"}}"#,
        ],
        MessageType::SessionClosed => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"session.closed","session_id":"sess_1","payload":{"reason":"maintenance"}}"#,
        ],
        MessageType::JobSubmit => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"job.submit","session_id":"sess_1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","payload":{"agent":"code-refactor@2.0.0","input":{"path":"/workspace"},"lease_request":{"cost.budget":["USD:5.00"]},"lease_constraints":{"expires_at":"2026-05-13T20:00:00.000Z"},"idempotency_key":"k_1","max_runtime_sec":900}}"#,
            r#"{"arcp":"1.1","id":"msg_1","type":"job.submit","session_id":"sess_1","payload":{"agent":"echo","input":null}}"#,
        ],
        MessageType::JobAccepted => vec![
            r#"{"arcp":"1.1","id":"msg_2","type":"job.accepted","session_id":"sess_1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","job_id":"job_1","payload":{"request_id":"msg_1","job_id":"job_1","agent":"code-refactor@2.0.0","lease":{"cost.budget":["USD:5.00"]},"lease_constraints":{"expires_at":"2026-05-13T20:00:00.000Z"},"budget":{"EUR":1.5,"USD":5},"credentials":[{"id":"cred_1","scheme":"bearer","value":"s3cret","endpoint":"https://api.example.com","profile":"openai","constraints":{"cost.budget":["USD:5.00"]}}],"accepted_at":"2026-05-13T19:42:13.007Z","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}}"#,
            r#"{"arcp":"1.1","id":"msg_2","type":"job.accepted","session_id":"sess_1","job_id":"job_1","payload":{"job_id":"job_1","agent":"echo","lease":{},"accepted_at":"2026-05-13T19:42:13.007Z"}}"#,
        ],
        MessageType::JobEvent => vec![
            r#"{"arcp":"1.1","id":"msg_2","type":"job.event","session_id":"sess_1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","job_id":"job_1","event_seq":1,"payload":{"kind":"thought","ts":"2026-05-13T19:42:13.007Z","body":{"text":"hm"}}}"#,
        ],
        MessageType::JobResult => vec![
            r#"{"arcp":"1.1","id":"msg_2","type":"job.result","session_id":"sess_1","job_id":"job_1","event_seq":7,"payload":{"final_status":"success","result":{"files":3},"summary":"three files"}}"#,
            r#"{"arcp":"1.1","id":"msg_2","type":"job.result","session_id":"sess_1","job_id":"job_1","event_seq":7,"payload":{"final_status":"success","result_id":"res_1","result_size":1048576}}"#,
        ],
        MessageType::JobError => vec![
            r#"{"arcp":"1.1","id":"msg_2","type":"job.error","session_id":"sess_1","job_id":"job_1","event_seq":7,"payload":{"final_status":"timed_out","code":"TIMEOUT","message":"900 s are over","retryable":true,"details":{"after_sec":900}}}"#,
            r#"{"arcp":"1.1","id":"msg_2","type":"job.error","session_id":"sess_1","job_id":"job_1","event_seq":7,"payload":{"final_status":"cancelled","code":"CANCELLED","message":"CANCELLED","retryable":false}}"#,
        ],
        MessageType::JobCancel => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"job.cancel","session_id":"sess_1","job_id":"job_1","payload":{"job_id":"job_1","reason":"enough"}}"#,
        ],
        MessageType::JobCancelled => vec![
            r#"{"arcp":"1.1","id":"msg_2","type":"job.cancelled","session_id":"sess_1","job_id":"job_1","payload":{"request_id":"msg_1","job_id":"job_1","reason":"enough"}}"#,
        ],
        MessageType::JobSubscribe => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"job.subscribe","session_id":"sess_1","job_id":"job_1","payload":{"job_id":"job_1","from_event_seq":3,"history":true}}"#,
            r#"{"arcp":"1.1","id":"msg_1","type":"job.subscribe","session_id":"sess_1","job_id":"job_1","payload":{"job_id":"job_1"}}"#,
        ],
        MessageType::JobSubscribed => vec![
            r#"{"arcp":"1.1","id":"msg_2","type":"job.subscribed","session_id":"sess_1","job_id":"job_1","payload":{"request_id":"msg_1","job_id":"job_1","current_status":"running","agent":"code-refactor@2.0.0","lease":{"fs.read":["/workspace/**"]},"lease_constraints":{"expires_at":"2026-05-13T20:00:00.000Z"},"budget":{"USD":4.25},"parent_job_id":"job_0","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","subscribed_from":3,"replayed":true,"credentials":[{"id":"cred_1","scheme":"bearer","value":"s3cret"}]}}"#,
            r#"{"arcp":"1.1","id":"msg_2","type":"job.subscribed","session_id":"sess_1","job_id":"job_1","payload":{"job_id":"job_1","current_status":"pending","agent":"echo","lease":{},"parent_job_id":null,"subscribed_from":0,"replayed":false}}"#,
        ],
        MessageType::JobUnsubscribe => vec![
            r#"{"arcp":"1.1","id":"msg_1","type":"job.unsubscribe","session_id":"sess_1","job_id":"job_1","payload":{"job_id":"job_1"}}"#,
        ],
        other => panic!("no golden frame of {other}"),
    }
}

/// What the payloads of [`frames`] mean.
fn check(message: MessageType, frame: &Envelope, full: bool) {
    let client = PeerInfo::new("my-app", "1.0.0");
    let capabilities = |features| ClientCapabilities { encodings: vec!["json".into()], features };
    let ack_only = FeatureSet::none().with(Feature::Ack);
    let code_refactor = || "code-refactor@2.0.0".to_owned();
    let (now, later) = (at("2026-05-13T19:42:13.007Z"), at("2026-05-13T20:00:00Z"));
    let until = LeaseConstraints { expires_at: Some(later) };
    let dollars = || Lease::new([("cost.budget", vec!["USD:5.00".into()])]);
    let workspace = || Lease::new([("fs.read", vec!["/workspace/**".into()])]);
    let budget = |text| Some(serde_json::from_str::<BTreeMap<_, _>>(text).unwrap());
    let credential = || Credential {
        id: "cred_1".into(),
        scheme: "bearer".into(),
        value: "s3cret".into(),
        endpoint: None,
        profile: None,
        constraints: None,
    };
    let request_id = || Some("msg_1".to_owned());
    match (message, full) {
        (MessageType::SessionHello, true) => golden(
            frame,
            &Hello {
                client: Some(client),
                auth: Some(Credentials::bearer("t0ken")),
                capabilities: Some(capabilities(ack_only.with(Feature::Heartbeat))),
                resume: Some(ResumeClaim {
                    session_id: Some("sess_1".into()),
                    resume_token: Some("rt_1".into()),
                    token: None,
                    last_event_seq: Some(41),
                }),
                resume_token: Some("rt_1".into()),
                last_event_seq: Some(41),
                ..Hello::default()
            },
        ),
        (MessageType::SessionHello, false) => golden(
            frame,
            &Hello {
                client: Some(client),
                auth: Some(Credentials::bearer("t0ken")),
                capabilities: Some(capabilities(FeatureSet::all())),
                ..Hello::default()
            },
        ),
        (MessageType::SessionWelcome, _) => golden(
            frame,
            &Welcome {
                runtime: PeerInfo::new("my-runtime", "1.1.0"),
                resume_token: Some("rt_1".into()),
                resume_window_sec: Some(Seconds(600.0)),
                heartbeat_interval_sec: full.then_some(Seconds(30.0)),
                capabilities: RuntimeCapabilities {
                    encodings: vec!["json".into()],
                    features: if full { ack_only.with(Feature::Heartbeat) } else { FeatureSet::none() },
                    agents: if full {
                        vec![
                            AgentInfo::new("code-refactor", ["1.0.0", "2.0.0"]),
                            AgentInfo { name: "echo".into(), versions: vec![], default: None },
                        ]
                    } else {
                        vec![]
                    },
                },
            },
        ),
        (MessageType::SessionResume, true) => golden(
            frame,
            &Resume {
                resume_token: Some("rt_1".into()),
                last_event_seq: Some(41),
                auth: Some(Credentials::bearer("t0ken")),
                client: Some(client),
                capabilities: Some(capabilities(ack_only)),
            },
        ),
        (MessageType::SessionResume, false) => golden(frame, &Resume::default()),
        (MessageType::SessionPing, _) => {
            golden(frame, &Ping { nonce: Some("p_1".into()), sent_at: Some(now.to_string().into()) })
        }
        (MessageType::SessionPong, _) => {
            golden(frame, &Pong { ping_nonce: Some("p_1".into()), received_at: Some(now.to_string().into()) })
        }
        (MessageType::SessionAck, _) => golden(frame, &Ack { last_processed_seq: (1 << 53) - 1 }),
        (MessageType::SessionListJobs, true) => golden(
            frame,
            &JobQuery {
                filter: JobFilter {
                    status: vec![JobStatus::Running, JobStatus::Pending],
                    agent: Some(code_refactor()),
                    created_after: Some(at("2026-05-13T00:00:00Z")),
                    created_before: Some(at("2026-05-14T00:00:00Z")),
                },
                limit: Some(50),
                cursor: Some("c_1".into()),
            },
        ),
        (MessageType::SessionListJobs, false) => golden(frame, &JobQuery::default()),
        (MessageType::SessionJobs, true) => golden(
            frame,
            &Jobs {
                request_id: request_id(),
                reply_to: None,
                jobs: vec![
                    JobEntry {
                        lease: workspace(),
                        parent_job_id: Some("job_0".into()),
                        trace_id: Some(trace()),
                        last_event_seq: 7,
                        ..JobEntry::new(job_id(), code_refactor(), JobStatus::Running, now)
                    },
                    JobEntry::new("job_2".into(), "echo", JobStatus::TimedOut, now),
                ],
                next_cursor: Some("c_2".into()),
            },
        ),
        (MessageType::SessionJobs, false) => {
            golden(frame, &Jobs { request_id: request_id(), reply_to: None, jobs: vec![], next_cursor: None });
        }
        (MessageType::SessionError, _) => golden(
            frame,
            &SessionError {
                code: if full { ErrorCode::JobNotFound } else { ErrorCode::HeartbeatLost },
                message: if full { "no such job" } else { "two intervals without a sign of life" }.into(),
                retryable: Some(!full),
                details: full.then(|| raw(r#"{"hint":"list them"}"#)),
                request_id: request_id().filter(|_| full),
                reply_to: None,
                correlation_id: None,
                job_id: full.then(job_id),
            },
        ),
        (MessageType::SessionBye, _) => golden(frame, &Bye { reason: full.then(|| "normal".into()) }),
        (MessageType::SessionClose | MessageType::SessionClosed, _) => {
            golden(frame, &Bye { reason: Some("maintenance".into()) });
        }
        (MessageType::JobSubmit, true) => golden(
            frame,
            &JobSubmit {
                lease_request: Some(dollars()),
                lease_constraints: Some(until),
                max_runtime_sec: Some(900),
                ..JobSubmit::new(code_refactor(), raw(r#"{"path":"/workspace"}"#)).with_idempotency_key("k_1")
            },
        ),
        (MessageType::JobSubmit, false) => golden(frame, &JobSubmit::new("echo", RawJson::null())),
        (MessageType::JobAccepted, true) => golden(
            frame,
            &JobAccepted {
                request_id: request_id(),
                lease: dollars(),
                lease_constraints: Some(until),
                budget: budget(r#"{"EUR":1.5,"USD":5}"#),
                credentials: Some(vec![Credential {
                    endpoint: Some("https://api.example.com".into()),
                    profile: Some("openai".into()),
                    constraints: Some(raw(r#"{"cost.budget":["USD:5.00"]}"#)),
                    ..credential()
                }]),
                trace_id: Some(trace()),
                ..JobAccepted::new(job_id(), code_refactor(), now)
            },
        ),
        (MessageType::JobAccepted, false) => golden(frame, &JobAccepted::new(job_id(), "echo", now)),
        (MessageType::JobEvent, _) => {
            golden(frame, &JobEvent { kind: kind::THOUGHT.into(), ts: Some(now), body: raw(r#"{"text":"hm"}"#) })
        }
        (MessageType::JobResult, true) => golden(
            frame,
            &JobResult { summary: Some("three files".into()), ..JobResult::inline(raw(r#"{"files":3}"#)) },
        ),
        (MessageType::JobResult, false) => {
            golden(frame, &JobResult::streamed(ResultId::from("res_1"), 1 << 20));
        }
        (MessageType::JobError, true) => {
            let error = WireError::new(ErrorCode::Timeout, "900 s are over");
            golden(frame, &JobError::new(error.with_details(raw(r#"{"after_sec":900}"#))));
        }
        (MessageType::JobError, false) => golden(frame, &JobError::new(WireError::new(ErrorCode::Cancelled, ""))),
        (MessageType::JobCancel, _) => {
            golden(frame, &JobCancel { job_id: Some(job_id()), reason: Some("enough".into()) });
        }
        (MessageType::JobCancelled, _) => golden(
            frame,
            &JobCancelled {
                request_id: request_id(),
                reply_to: None,
                job_id: Some(job_id()),
                reason: Some("enough".into()),
            },
        ),
        (MessageType::JobSubscribe, _) => golden(
            frame,
            &JobSubscribe { job_id: Some(job_id()), from_event_seq: full.then_some(3), history: full.then_some(true) },
        ),
        (MessageType::JobSubscribed, true) => golden(
            frame,
            &JobSubscribed {
                request_id: request_id(),
                lease: workspace(),
                lease_constraints: Some(until),
                budget: budget(r#"{"USD":4.25}"#),
                parent_job_id: Some("job_0".into()),
                trace_id: Some(trace()),
                subscribed_from: 3,
                replayed: true,
                credentials: Some(vec![credential()]),
                ..JobSubscribed::new(job_id(), code_refactor(), JobStatus::Running)
            },
        ),
        (MessageType::JobSubscribed, false) => {
            golden(frame, &JobSubscribed::new(job_id(), "echo", JobStatus::Pending));
        }
        (MessageType::JobUnsubscribe, _) => golden(frame, &JobUnsubscribe { job_id: Some(job_id()) }),
        (other, _) => panic!("no meaning for {other}"),
    }
}

#[test]
fn golden_frames_of_every_message_type() {
    for message in MessageType::ALL {
        for (at, frame) in frames(*message).into_iter().enumerate() {
            let envelope = decode(frame);
            assert_eq!(envelope.message_type(), Some(*message));
            assert_eq!(envelope.type_name(), message.name());
            check(*message, &envelope, at == 0);
        }
    }
}

/// The header's values, and that a job's messages name the job in envelope and payload (D34).
#[test]
fn d34_the_header_is_read() {
    let event = decode(frames(MessageType::JobEvent)[0]);
    assert_eq!(event.id().unwrap(), "msg_2");
    assert_eq!(event.to_session_id(), Some(SessionId::from("sess_1")));
    assert_eq!(event.trace_id(), Some(trace()));
    assert_eq!(event.to_job_id(), Some(job_id()));
    assert_eq!(event.event_seq(), Some(1));
    assert_eq!(event.event_kind().unwrap(), "thought");
    for message in MessageType::ALL.iter().filter(|message| message.is_of_job()) {
        for frame in frames(*message) {
            let submit = *message == MessageType::JobSubmit;
            assert_eq!(decode(frame).job_id().as_deref(), (!submit).then_some("job_1"), "{message}");
        }
    }
    let in_payload = decode(r#"{"type":"job.cancel","payload":{"job_id":"job_9"}}"#);
    assert_eq!(in_payload.job_id().unwrap(), "job_9");
    let accepted = decode(r#"{"type":"job.accepted","job_id":"job_9","payload":{"agent":"echo"}}"#);
    assert_eq!(accepted.job_id().unwrap(), "job_9");
    assert_eq!(accepted.payload::<JobAccepted>().unwrap().job_id, "");
}

/// What carries a sequence number, by the table of message types (D5).
#[test]
fn d5_event_results_and_terminal_errors_are_numbered() {
    for message in MessageType::ALL {
        for frame in frames(*message) {
            assert_eq!(decode(frame).event_seq().is_some(), message.is_sequenced(), "{message}");
        }
    }
}

#[track_caller]
fn golden_event<B>(name: &str, body_text: &str, body: &B)
where
    B: for<'a> Deserialize<'a> + Serialize + PartialEq + Debug,
{
    let frame = format!(
        r#"{{"arcp":"1.1","id":"msg_2","type":"job.event","session_id":"sess_1","job_id":"job_1","event_seq":1,"payload":{{"kind":"{name}","ts":"2026-05-13T19:42:13.007Z","body":{body_text}}}}}"#
    );
    let envelope = decode(&frame);
    assert_eq!(envelope.event_kind().unwrap(), name);
    let event: JobEvent<'_> = envelope.payload().unwrap();
    assert_eq!(event.body.text(), body_text);
    assert_eq!(&event.body.parse::<B>().unwrap(), body);
    let written =
        JobEvent { kind: name.into(), ts: Some(at("2026-05-13T19:42:13.007Z")), body: RawJson::new(body).unwrap() };
    golden(&envelope, &written);
}

#[test]
fn golden_bodies_of_every_event_kind() {
    let mut seen = BTreeSet::new();
    let mut case = |name: &'static str| {
        seen.insert(name);
        name
    };
    golden_event(
        case(kind::LOG),
        r#"{"level":"info","message":"3 files"}"#,
        &Log { level: "info".into(), message: "3 files".into() },
    );
    golden_event(case(kind::THOUGHT), r#"{"text":"hm … \"so\""}"#, &Thought { text: "hm … \"so\"".into() });
    golden_event(
        case(kind::TOOL_CALL),
        r#"{"tool":"fs.read","args":{"path":"/a"},"call_id":"c_1"}"#,
        &ToolCall { tool: "fs.read".into(), args: raw(r#"{"path":"/a"}"#), call_id: "c_1".into() },
    );
    golden_event(
        case(kind::TOOL_RESULT),
        r#"{"call_id":"c_1","result":[1,2]}"#,
        &ToolResult { call_id: "c_1".into(), result: Some(raw("[1,2]")), error: None },
    );
    golden_event(
        kind::TOOL_RESULT,
        r#"{"call_id":"c_1","error":{"code":"TIMEOUT"}}"#,
        &ToolResult { call_id: "c_1".into(), result: None, error: Some(raw(r#"{"code":"TIMEOUT"}"#)) },
    );
    golden_event(
        case(kind::STATUS),
        r#"{"phase":"back_pressure","message":"1001 unacknowledged"}"#,
        &Status { phase: "back_pressure".into(), message: Some("1001 unacknowledged".into()) },
    );
    golden_event(kind::STATUS, r#"{"phase":"running"}"#, &Status { phase: "running".into(), message: None });
    golden_event(
        case(kind::METRIC),
        r#"{"name":"cost.tokens","value":0.25,"unit":"USD","dimensions":{"model":"m"}}"#,
        &Metric {
            name: "cost.tokens".into(),
            value: serde_json::Number::from_f64(0.25).unwrap(),
            unit: Some("USD".into()),
            dimensions: Some(raw(r#"{"model":"m"}"#)),
        },
    );
    golden_event(
        kind::METRIC,
        r#"{"name":"files","value":3}"#,
        &Metric { name: "files".into(), value: 3.into(), unit: None, dimensions: None },
    );
    golden_event(
        case(kind::ARTIFACT_REF),
        r#"{"uri":"s3://b/k","content_type":"text/plain","byte_size":12,"sha256":"00ff"}"#,
        &ArtifactRef {
            uri: "s3://b/k".into(),
            content_type: "text/plain".into(),
            byte_size: Some(12),
            sha256: Some("00ff".into()),
        },
    );
    golden_event(
        case(kind::DELEGATE),
        r#"{"delegate_id":"d_1","child_job_id":"job_2","agent":"echo","input":{}}"#,
        &Delegate {
            delegate_id: Some("d_1".into()),
            child_job_id: Some("job_2".into()),
            agent: Some("echo".into()),
            input: Some(raw("{}")),
        },
    );
    golden_event(
        case(kind::PROGRESS),
        r#"{"current":2,"total":5,"units":"files","message":"two of five"}"#,
        &Progress {
            current: 2.into(),
            total: Some(5.into()),
            units: Some("files".into()),
            message: Some("two of five".into()),
        },
    );
    golden_event(
        kind::PROGRESS,
        r#"{"current":0.5}"#,
        &Progress { current: serde_json::Number::from_f64(0.5).unwrap(), total: None, units: None, message: None },
    );
    for (encoding, name) in [(ChunkEncoding::Utf8, "utf8"), (ChunkEncoding::Base64, "base64")] {
        golden_event(
            case(kind::RESULT_CHUNK),
            &format!(r#"{{"result_id":"res_1","chunk_seq":0,"data":"aGk=","encoding":"{name}","more":true}}"#),
            &ResultChunk { result_id: "res_1".into(), chunk_seq: 0, data: "aGk=".into(), encoding, more: true },
        );
    }
    assert_eq!(seen, kind::ALL.iter().copied().collect(), "a kind has no golden body");
}

/// All 15 codes, and the `retryable` that goes with each (D11).
#[test]
fn d11_the_15_codes_and_their_retryable() {
    let codes = [
        ("PERMISSION_DENIED", false),
        ("LEASE_SUBSET_VIOLATION", false),
        ("JOB_NOT_FOUND", false),
        ("DUPLICATE_KEY", false),
        ("AGENT_NOT_AVAILABLE", false),
        ("AGENT_VERSION_NOT_AVAILABLE", false),
        ("CANCELLED", false),
        ("TIMEOUT", true),
        ("RESUME_WINDOW_EXPIRED", false),
        ("HEARTBEAT_LOST", true),
        ("LEASE_EXPIRED", false),
        ("BUDGET_EXHAUSTED", false),
        ("INVALID_REQUEST", false),
        ("UNAUTHENTICATED", false),
        ("INTERNAL_ERROR", true),
    ];
    assert_eq!(ErrorCode::ALL.iter().map(ErrorCode::as_str).collect::<Vec<_>>(), codes.map(|(code, _)| code));
    for (code, retryable) in codes {
        let read: ErrorCode = serde_json::from_str(&format!("\"{code}\"")).unwrap();
        assert!(!matches!(read, ErrorCode::Other(_)), "{code}");
        assert_eq!(read.retryable(), Some(retryable), "{code}");
        assert_eq!(WireError::new(read.clone(), "").retryable, retryable);
        assert_eq!(WireError::new(read.clone(), "").message, code, "a message is never empty");
        assert_eq!(serde_json::to_string(&read).unwrap(), format!("\"{code}\""));
        // Absent means what the code says.
        let frame = format!(r#"{{"type":"session.error","payload":{{"code":"{code}","message":"m"}}}}"#);
        let error: SessionError = decode(&frame).payload().unwrap();
        assert_eq!(WireError::from(error).retryable, retryable, "{code}");
    }
    let foreign: ErrorCode = serde_json::from_str("\"RATE_LIMITED\"").unwrap();
    assert_eq!(foreign, ErrorCode::Other("RATE_LIMITED".into()));
    assert_eq!((foreign.retryable(), serde_json::to_string(&foreign).unwrap()), (None, "\"RATE_LIMITED\"".into()));
}

/// The guide's hello, as it is printed there: no `arcp`, no `id`, a feature that no one knows.
const GUIDE_HELLO: &str = r#"{"type":"session.hello","payload":{"client":{"name":"my-app","version":"1.0.0"},"auth":{"scheme":"bearer","token":"..."},"capabilities":{"encodings":["json"],"features":["heartbeat","ack","subscribe","result_chunk","..."]}}}"#;
/// The guide's welcome.
const GUIDE_WELCOME: &str = r#"{"type":"session.welcome","session_id":"sess_01J...","payload":{"runtime":{"name":"my-runtime","version":"1.1.0"},"resume_token":"rt_...","resume_window_sec":600,"heartbeat_interval_sec":30,"capabilities":{"encodings":["json"],"features":["heartbeat","ack","..."],"agents":[{"name":"code-refactor","versions":["1.0.0","2.0.0"],"default":"2.0.0"}]}}}"#;

/// On one line, and over several.
fn printed(frame: &str) -> [Envelope; 3] {
    let value: serde_json::Value = serde_json::from_str(frame).unwrap();
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    assert!(pretty.lines().count() > 10);
    [decode(frame), decode(&pretty), decode(&format!("\r\n\t{}\r\n", pretty.replace('\n', "\r\n")))]
}

#[test]
fn a3_the_guides_hello_is_read_as_printed() {
    for envelope in printed(GUIDE_HELLO) {
        assert_eq!(envelope.message_type(), Some(MessageType::SessionHello));
        assert_eq!((envelope.id(), envelope.session_id()), (None, None));
        let hello: Hello = envelope.payload().unwrap();
        assert_eq!(hello.client, Some(PeerInfo::new("my-app", "1.0.0")));
        let auth = hello.auth.unwrap();
        assert_eq!((auth.scheme.as_str(), auth.token.unwrap().reveal()), ("bearer", "..."));
        let capabilities = hello.capabilities.unwrap();
        assert_eq!(capabilities.encodings, ["json"]);
        let known: Vec<_> = capabilities.features.iter().collect();
        assert_eq!(known, [Feature::Heartbeat, Feature::Ack, Feature::Subscribe, Feature::ResultChunk]);
        assert_eq!(capabilities.features.unknown().collect::<Vec<_>>(), ["..."]);
        assert_eq!((hello.resume, hello.resume_token), (None, None));
    }
}

#[test]
fn a4_the_guides_welcome_is_read_as_printed() {
    for envelope in printed(GUIDE_WELCOME) {
        assert_eq!(envelope.message_type(), Some(MessageType::SessionWelcome));
        assert_eq!(envelope.id(), None);
        assert_eq!(envelope.session_id().unwrap(), "sess_01J...");
        let welcome: Welcome = envelope.payload().unwrap();
        assert_eq!(welcome.runtime, PeerInfo::new("my-runtime", "1.1.0"));
        assert_eq!(welcome.resume_token.unwrap().reveal(), "rt_...");
        assert_eq!(welcome.resume_window_sec, Some(Seconds(600.0)));
        assert_eq!(welcome.heartbeat_interval_sec, Some(Seconds(30.0)));
        assert_eq!(welcome.capabilities.encodings, ["json"]);
        let known: Vec<_> = welcome.capabilities.features.iter().collect();
        assert_eq!(known, [Feature::Heartbeat, Feature::Ack]);
        assert_eq!(welcome.capabilities.features.unknown().collect::<Vec<_>>(), ["..."]);
        let agent = AgentInfo {
            name: "code-refactor".into(),
            versions: vec!["1.0.0".into(), "2.0.0".into()],
            default: Some("2.0.0".into()),
        };
        assert_eq!(welcome.capabilities.agents, [agent]);
    }
}

/// Features are sent by the names and in the order of the draft, and unknown ones stay out of what is agreed on.
#[test]
fn a5_the_guides_two_agree_on_what_both_named() {
    let hello: Hello = decode(GUIDE_HELLO).payload().unwrap();
    let welcome: Welcome = decode(GUIDE_WELCOME).payload().unwrap();
    let agreed = hello.capabilities.unwrap().features.intersection(&welcome.capabilities.features);
    assert_eq!(serde_json::to_string(&agreed).unwrap(), r#"["heartbeat","ack"]"#);
}
