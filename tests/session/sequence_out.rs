//! What a runtime emits: what has a place in the sequence, what is refused before it gets one, and how it is written.

use std::collections::BTreeMap;

use arcp_proto::wire::{
    Envelope, ErrorCode, JobAccepted, JobError, JobId, JobPage, JobResult, JobStatus, JobSubscribed, RawJson, WireError,
};
use arcp_proto::{Feature, FeatureSet, Interest, Overflow, Runtime, RuntimeEvent, SendError, Session};
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::lone_runtime::{at, emit, log, resume, seqs};
use crate::pair::{
    Pair, feed, job, only, runtime_alone, runtime_config, runtime_events, sent, sent_json, start, types,
};

fn runtime() -> Session<Runtime> {
    runtime_alone(runtime_config(), FeatureSet::all())
}

fn runtime_with(features: FeatureSet) -> Session<Runtime> {
    runtime_alone(runtime_config(), features)
}

fn inline() -> JobResult {
    JobResult::inline(RawJson::new(&json!({"answer": 42})).unwrap())
}

fn error(code: ErrorCode) -> JobError {
    JobError::new(WireError::new(code, "why"))
}

/// Nothing was recorded or queued, and the next event has the first place.
fn assert_nothing_happened(mut session: Session<Runtime>) {
    assert_eq!((session.last_event_seq(), session.replay_len()), (0, (0, 0)));
    assert!(sent(&mut session, start()).is_empty() && session.poll_event().is_none());
    assert_eq!(log(&mut session, start(), &job()), Ok(1));
}

// D5

#[test]
fn d5_the_first_event_is_1_and_each_the_next() {
    let mut session = runtime();
    assert_eq!(session.last_event_seq(), 0);
    assert_eq!(log(&mut session, start(), &job()), Ok(1));
    assert_eq!(log(&mut session, start(), &JobId::from("job_2")), Ok(2), "one sequence for all jobs");
    assert_eq!(session.send_result(start(), &job(), inline()), Ok(3));
    assert_eq!(session.send_error(start(), &JobId::from("job_2"), error(ErrorCode::Timeout)), Ok(4));
    let frames = sent_json(&mut session, start());
    assert_eq!(types(&frames), ["job.event", "job.event", "job.result", "job.error"]);
    assert_eq!(seqs(&frames), [1, 2, 3, 4]);
    let jobs: Vec<_> = frames.iter().map(|frame| frame["job_id"].as_str().unwrap()).collect();
    assert_eq!(jobs, ["job_1", "job_2", "job_1", "job_2"]);
    assert!(frames.iter().all(|frame| frame["session_id"] == "sess_1" && frame["arcp"] == "1.1"));
}

#[test]
fn d5_answers_and_refusals_have_no_seq_and_use_none_up() {
    let mut session = runtime();
    for (n, frame) in [
        json!({"type": "job.submit", "payload": {"agent": "a", "input": {}}}),
        json!({"type": "job.submit", "payload": {"agent": "b", "input": {}}}),
        json!({"type": "job.cancel", "job_id": "job_1"}),
        json!({"type": "job.subscribe", "job_id": "job_1"}),
        json!({"type": "session.list_jobs"}),
        json!({"type": "session.ping", "payload": {"nonce": "n"}}),
        json!({"type": "session.nonsense"}),
    ]
    .iter_mut()
    .enumerate()
    {
        frame["id"] = json!(format!("m{n}"));
        feed(&mut session, start(), frame);
    }
    let now = start();
    let mut submits = 0;
    for event in runtime_events(&mut session) {
        match event {
            RuntimeEvent::Submit { request, .. } if submits == 0 => {
                submits += 1;
                session.accept_job(now, request, JobAccepted::new(job(), "a@1", now.wall)).unwrap();
            }
            RuntimeEvent::Submit { request, .. } => {
                let error = WireError::new(ErrorCode::AgentNotAvailable, "no");
                session.fail_request(now, request, error).unwrap();
            }
            RuntimeEvent::Cancel { request, .. } => session.confirm_cancel(now, request, None).unwrap(),
            RuntimeEvent::Subscribe { request, .. } => {
                let subscribed = JobSubscribed::new(job(), "a@1", JobStatus::Running);
                session.accept_subscribe(now, request, subscribed).unwrap();
            }
            RuntimeEvent::ListJobs { request, .. } => {
                session.respond_jobs(now, request, JobPage { jobs: vec![], next_cursor: None }).unwrap();
            }
            RuntimeEvent::Violation(_) => {}
            other => panic!("{other:?}"),
        }
    }
    emit(&mut session, now, 1);
    session.shutdown(now, "maintenance");
    let frames = sent_json(&mut session, now);
    let mut kinds = types(&frames);
    assert_eq!(kinds[0], "session.pong");
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            "job.accepted",
            "job.cancelled",
            "job.event",
            "job.subscribed",
            "session.bye",
            "session.error",
            "session.error",
            "session.jobs",
            "session.pong"
        ]
    );
    for frame in frames {
        let expected = (frame["type"] == "job.event").then(|| json!(1));
        assert_eq!(frame.get("event_seq"), expected.as_ref(), "{frame}");
    }
}

#[test]
fn d5_a_frame_without_a_place_has_no_member_for_it() {
    let mut session = runtime();
    feed(&mut session, start(), &json!({"id": "1", "type": "session.ping", "payload": {"nonce": "n"}}));
    let frames = sent_json(&mut session, start());
    assert!(frames[0].get("event_seq").is_none(), "absent, not null or 0: {}", frames[0]);
}

#[test]
fn d5_every_event_has_a_message_id_of_its_own() {
    let mut session = runtime();
    emit(&mut session, start(), 200);
    session.handle_disconnect(start());
    emit(&mut session, start(), 200);
    resume(&mut session, start(), 1, 0, None);
    emit(&mut session, start(), 200);
    let frames = sent_json(&mut session, start());
    let ids: BTreeMap<_, _> = frames.iter().map(|frame| (frame["id"].as_str().unwrap(), ())).collect();
    assert_eq!(ids.len(), 601);
    assert!(ids.keys().all(|id| id.starts_with("msg_")));
}

#[test]
fn d5_events_are_written_in_the_order_of_the_draft() {
    let mut session = runtime();
    session.send_event(at(20), &job(), "log", &json!({"level": "info"})).unwrap();
    let frame = sent(&mut session, at(20)).remove(0);
    let ts = at(20).wall.to_string();
    let id = Envelope::decode(frame.clone()).unwrap().id().unwrap().into_owned();
    let expected = format!(
        r#"{{"arcp":"1.1","id":"{id}","type":"job.event","session_id":"sess_1","job_id":"job_1","event_seq":1,"payload":{{"kind":"log","ts":"{ts}","body":{{"level":"info"}}}}}}"#
    );
    assert_eq!(std::str::from_utf8(&frame).unwrap(), expected);
    assert!(ts.ends_with('Z') && ts.len() == 24, "{ts}");
}

/// Mistakes of §E: allocation and sending apart, so that events go out of order or leave holes.
#[test]
fn d5_whatever_is_refused_between_the_sequence_on_the_wire_has_no_hole() {
    let features = FeatureSet::all().without(Feature::Progress).without(Feature::ResultChunk);
    let mut session = runtime_alone(runtime_config().with_replay(40, 1 << 20, Overflow::Block), features);
    let mut frames = Vec::new();
    let mut expected = 0;
    for n in 0..60_u64 {
        let sent_ok = match n % 4 {
            0 => session.send_event(start(), &job(), "progress", &json!({"current": n})),
            1 => session.send_event(start(), &job(), "", &json!({})),
            2 => session.send_error(start(), &job(), error(ErrorCode::DuplicateKey)),
            _ => log(&mut session, start(), &job()),
        };
        expected += u64::from(n % 4 == 3);
        assert_eq!(sent_ok.is_ok(), n % 4 == 3);
        if n % 5 == 0 {
            frames.extend(sent_json(&mut session, start()));
        }
    }
    frames.extend(sent_json(&mut session, start()));
    assert_eq!(seqs(&frames), (1..=expected).collect::<Vec<_>>());
}

// D33: kinds that were not negotiated

#[test]
fn d33_a_kind_that_was_not_negotiated_is_refused_before_it_gets_a_seq() {
    for (kind, feature, body) in [
        ("progress", Feature::Progress, json!({"current": 1})),
        (
            "result_chunk",
            Feature::ResultChunk,
            json!({"result_id": "r", "chunk_seq": 0, "data": "", "encoding": "utf8", "more": true}),
        ),
        ("status", Feature::ProvisionedCredentials, json!({"phase": "credential_rotated", "value": "secret"})),
        ("status", Feature::Ack, json!({"phase": "back_pressure"})),
    ] {
        for interest in [Interest::Submitter, Interest::Subscriber] {
            let mut session = runtime_with(FeatureSet::all().without(feature));
            let refused = session.send_event_as(interest, start(), &job(), kind, &body);
            assert_eq!(refused, Err(SendError::FeatureNotNegotiated(feature)), "{kind}");
            assert_nothing_happened(session);

            let mut session = runtime_with(only(&[feature]));
            assert_eq!(session.send_event_as(interest, start(), &job(), kind, &body), Ok(1), "{kind}");
        }
    }
}

#[test]
fn d33_the_phase_is_found_in_whatever_form_the_body_has() {
    #[derive(Serialize)]
    struct Rotated<'a> {
        credential_id: &'a str,
        phase: &'a str,
    }
    let mut session = runtime_with(FeatureSet::none());
    let refused = Err(SendError::FeatureNotNegotiated(Feature::ProvisionedCredentials));
    let now = start();
    let body = Rotated { credential_id: "c", phase: "credential_rotated" };
    assert_eq!(session.send_event(now, &job(), "status", &body), refused);
    for text in [
        r#"{"phase":"credential_rotated"}"#,
        "{\n  \"message\": \"x\",\n  \"phase\": \"credential_rotated\"\n}",
        r#"{"phase":"credential\u005frotated"}"#,
        r#"{"\u0070hase":"credential_rotated"}"#,
    ] {
        let body = RawJson::from_text(text).unwrap();
        assert_eq!(session.send_event(now, &job(), "status", &body), refused, "{text}");
    }
    assert_nothing_happened(session);
}

/// Whoever reads the body might take either of two members.
#[test]
fn d33_a_phase_that_is_said_twice_is_no_way_around() {
    for text in [
        r#"{"phase":"running","phase":"credential_rotated"}"#,
        r#"{"phase":"credential_rotated","phase":"running"}"#,
        r#"{"phase":7,"phase":"credential_rotated"}"#,
    ] {
        let mut session = runtime_with(FeatureSet::none());
        let body = RawJson::from_text(text).unwrap();
        let refused = session.send_event(start(), &job(), "status", &body);
        assert_eq!(refused, Err(SendError::FeatureNotNegotiated(Feature::ProvisionedCredentials)), "{text}");
    }
}

#[test]
fn d33_other_kinds_and_phases_need_no_feature() {
    let mut session = runtime_with(FeatureSet::none());
    let mut next = 1;
    for kind in ["log", "thought", "tool_call", "tool_result", "metric", "artifact_ref", "delegate", "x-vendor.note"] {
        let body = json!({"phase": "credential_rotated"});
        assert_eq!(session.send_event(start(), &job(), kind, &body), Ok(next), "{kind}");
        next += 1;
    }
    for body in [json!({"phase": "running"}), json!({}), json!({"phase": null}), json!({"phase": 3})] {
        assert_eq!(session.send_event(start(), &job(), "status", &body), Ok(next), "{body}");
        next += 1;
    }
}

#[test]
fn d33_a_resume_with_other_features_filters_by_them() {
    let mut session = runtime();
    let progress =
        |session: &mut Session<Runtime>| session.send_event(start(), &job(), "progress", &json!({"current": 1}));
    assert_eq!(progress(&mut session), Ok(1));
    session.handle_disconnect(start());
    assert_eq!(progress(&mut session), Ok(2), "while detached the last ones are in force");
    resume(&mut session, start(), 1, 0, Some(FeatureSet::none()));
    assert_eq!(progress(&mut session), Err(SendError::FeatureNotNegotiated(Feature::Progress)));
    resume(&mut session, start(), 2, 0, Some(FeatureSet::all()));
    assert_eq!(progress(&mut session), Ok(3));
}

#[test]
fn a5_a_feature_that_only_the_client_named_is_not_in_force() {
    let config = runtime_config().with_features(only(&[Feature::Heartbeat]));
    let mut session = runtime_alone(config, FeatureSet::all());
    let refused = session.send_event(start(), &job(), "progress", &json!({"current": 1}));
    assert_eq!(refused, Err(SendError::FeatureNotNegotiated(Feature::Progress)));
}

// D33: terminals

#[test]
fn d33_a_terminal_is_never_filtered_towards_a_session_without_result_chunk() {
    for interest in [Interest::Submitter, Interest::Subscriber] {
        let mut session = runtime_with(FeatureSet::none());
        let streamed = JobResult::streamed("res_1".into(), 77);
        assert_eq!(session.send_result_as(interest, start(), &job(), streamed), Ok(1));
        let frames = sent_json(&mut session, start());
        assert_eq!(types(&frames), ["job.result"]);
        assert_eq!(frames[0]["payload"]["final_status"], "success");
        for member in ["result_id", "result_size", "result"] {
            assert!(frames[0]["payload"].get(member).is_none(), "{}", frames[0]);
        }
        assert_eq!(session.send_error_as(interest, start(), &job(), error(ErrorCode::Timeout)), Ok(2));
        assert_eq!(types(&sent_json(&mut session, start())), ["job.error"]);
    }
}

#[test]
fn d33_with_result_chunk_the_terminal_names_the_streamed_result() {
    let mut session = runtime_with(only(&[Feature::ResultChunk]));
    let mut streamed = JobResult::streamed("res_1".into(), 77);
    streamed.summary = Some("done".into());
    session.send_result(start(), &job(), streamed).unwrap();
    let expected = json!({"final_status": "success", "result_id": "res_1", "result_size": 77, "summary": "done"});
    assert_eq!(sent_json(&mut session, start())[0]["payload"], expected);
}

#[test]
fn d35_an_inline_result_is_called_result() {
    let mut session = runtime_with(FeatureSet::none());
    session.send_result(start(), &job(), inline()).unwrap();
    let expected = json!({"final_status": "success", "result": {"answer": 42}});
    assert_eq!(sent_json(&mut session, start())[0]["payload"], expected);
}

#[test]
fn d2_an_inline_result_of_null_is_left_out() {
    let mut session = runtime();
    session.send_result(start(), &job(), JobResult::inline(RawJson::null())).unwrap();
    assert_eq!(sent_json(&mut session, start())[0]["payload"].get("result"), None);
}

#[test]
fn d42_a_result_is_inline_or_streamed_and_never_both() {
    for features in [FeatureSet::all(), FeatureSet::none()] {
        let mut session = runtime_with(features);
        let mut both = inline();
        both.result_id = Some("res_1".into());
        assert!(matches!(session.send_result(start(), &job(), both), Err(SendError::Invalid(_))));
        assert_nothing_happened(session);
    }
}

// Error codes

#[test]
fn d11_an_error_is_sent_with_the_retryable_of_its_code_whatever_the_application_says() {
    for code in ErrorCode::ALL {
        let is_refusal = matches!(code, ErrorCode::DuplicateKey | ErrorCode::PermissionDenied | ErrorCode::JobNotFound);
        let mut session = runtime();
        let mut end = error(code.clone());
        end.retryable = code.retryable().map(|retryable| !retryable);
        let sent = session.send_error(start(), &job(), end);
        if is_refusal {
            assert!(matches!(sent, Err(SendError::Invalid(_))), "{code}");
            assert_nothing_happened(session);
        } else {
            assert_eq!(sent, Ok(1), "{code}");
            let frame = sent_json(&mut session, start()).remove(0);
            assert_eq!(frame["payload"]["code"], code.as_str());
            assert_eq!(frame["payload"]["retryable"], json!(code.retryable().unwrap()));
            let is_transient = ["INTERNAL_ERROR", "HEARTBEAT_LOST", "TIMEOUT"].contains(&code.as_str());
            assert_eq!(frame["payload"]["retryable"], json!(is_transient), "{code}");
            assert_eq!(frame["event_seq"], 1);
        }
    }
}

#[test]
fn d11_a_code_that_is_none_of_the_drafts_is_refused() {
    let mut session = runtime();
    let refused = session.send_error(start(), &job(), error(ErrorCode::from("OUT_OF_CHEESE")));
    assert!(matches!(refused, Err(SendError::Invalid(_))));
    assert_nothing_happened(session);
}

#[test]
fn d11_the_message_is_never_empty() {
    let mut session = runtime();
    let mut end = error(ErrorCode::InternalError);
    end.message = String::new();
    session.send_error(start(), &job(), end).unwrap();
    let frame = sent_json(&mut session, start()).remove(0);
    assert!(!frame["payload"]["message"].as_str().unwrap().is_empty());
    assert_eq!(frame["payload"]["final_status"], "error");
}

#[test]
fn d11_the_final_status_follows_from_the_code() {
    for (code, status) in
        [(ErrorCode::Cancelled, "cancelled"), (ErrorCode::Timeout, "timed_out"), (ErrorCode::LeaseExpired, "error")]
    {
        let mut session = runtime();
        session.send_error(start(), &job(), error(code)).unwrap();
        assert_eq!(sent_json(&mut session, start())[0]["payload"]["final_status"], status);
    }
}

// Misuse

#[test]
fn d5_an_event_without_a_kind_is_refused() {
    let mut session = runtime();
    assert!(matches!(session.send_event(start(), &job(), "", &json!({})), Err(SendError::Invalid(_))));
    assert_nothing_happened(session);
}

#[test]
fn d5_a_body_that_cannot_be_written_is_refused_and_leaves_no_hole() {
    struct Unwritable;
    impl Serialize for Unwritable {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let mut session = runtime();
    let odd_keys: BTreeMap<(u8, u8), u8> = [((1, 2), 3)].into();
    assert!(matches!(session.send_event(start(), &job(), "log", &Unwritable), Err(SendError::Json(_))));
    assert!(matches!(session.send_event(start(), &job(), "log", &odd_keys), Err(SendError::Json(_))));
    assert_nothing_happened(session);
    let mut session = runtime_with(FeatureSet::none());
    assert!(matches!(session.send_event(start(), &job(), "status", &Unwritable), Err(SendError::Json(_))));
    assert_nothing_happened(session);
}

#[test]
fn d5_a_closed_session_takes_nothing() {
    let mut session = runtime();
    session.shutdown(start(), "maintenance");
    let _ = sent(&mut session, start());
    assert_eq!(log(&mut session, start(), &job()), Err(SendError::Closed));
    assert_eq!(session.send_result(start(), &job(), inline()), Err(SendError::Closed));
    assert_eq!(session.send_error(start(), &job(), error(ErrorCode::Timeout)), Err(SendError::Closed));
}

#[test]
fn d5_events_may_be_emitted_while_detached() {
    let mut session = runtime();
    session.handle_disconnect(start());
    assert_eq!(log(&mut session, at(1), &job()), Ok(1));
    assert_eq!(session.send_result(at(2), &job(), inline()), Ok(2));
    assert!(sent(&mut session, at(3)).is_empty());
    resume(&mut session, at(4), 1, 0, None);
    assert_eq!(seqs(&sent_json(&mut session, at(4))), [1, 2]);
}

// D38

const BREAKS: [&[u8]; 4] = [b"\n", b"\r", "\u{2028}".as_bytes(), "\u{2029}".as_bytes()];

fn assert_on_one_line(frame: &Bytes) {
    for line_end in BREAKS {
        assert!(!frame.windows(line_end.len()).any(|bytes| bytes == line_end), "{frame:?}");
    }
}

#[test]
fn d38_no_frame_of_a_raw_body_holds_a_line_end_and_it_means_the_same() {
    for text in [
        "{\n  \"level\": \"info\",\r\n  \"message\": \"a\\nb\"\n}",
        "{\"m\":\"x\u{2028}y\u{2029}z\"}",
        "{\"x\u{2028}\":[1,\r2,\n3]}",
        "{ \"m\" : \"\\\\\u{2028}\\\"\u{2029}\" , \"n\":\t1.50e+3 }",
        "[\n]",
        "\n\"text\"\n",
        "\r\n7",
    ] {
        let raw = RawJson::from_text(text).unwrap();
        let expected: Value = raw.parse().unwrap();
        let mut session = runtime();
        let body = RawJson::from_text(&format!("{{ \"raw\" :\n{text}}}")).unwrap();
        session.send_event(start(), &job(), "x-vendor.raw", &body).unwrap();
        session.send_result(start(), &job(), JobResult::inline(raw.clone())).unwrap();
        let mut end = error(ErrorCode::Timeout);
        end.details = Some(raw);
        session.send_error(start(), &job(), end).unwrap();
        let frames = sent(&mut session, start());
        assert_eq!(frames.len(), 3);
        for frame in &frames {
            assert_on_one_line(frame);
        }
        let json: Vec<Value> = frames.iter().map(|frame| serde_json::from_slice(frame).unwrap()).collect();
        assert_eq!(json[0]["payload"]["body"]["raw"], expected, "{text:?}");
        assert_eq!(json[1]["payload"]["result"], expected, "{text:?}");
        assert_eq!(json[2]["payload"]["details"], expected, "{text:?}");
    }
}

#[test]
fn d38_nor_does_one_whose_strings_hold_them() {
    let mut session = runtime();
    let odd = "a\nb\rc\u{2028}d\u{2029}e\"\\";
    session.send_event(start(), &JobId::from(odd), odd, &json!({"message": odd, odd: 1})).unwrap();
    let mut end = error(ErrorCode::Timeout);
    end.message = odd.into();
    session.send_error(start(), &JobId::from(odd), end).unwrap();
    session.shutdown(start(), odd);
    let frames = sent(&mut session, start());
    assert_eq!(frames.len(), 3);
    for frame in &frames {
        assert_on_one_line(frame);
    }
    let json: Vec<Value> = frames.iter().map(|frame| serde_json::from_slice(frame).unwrap()).collect();
    assert_eq!((&json[0]["job_id"], &json[0]["payload"]["kind"]), (&json!(odd), &json!(odd)));
    assert_eq!(json[0]["payload"]["body"], json!({"message": odd, odd: 1}));
    assert_eq!(json[1]["payload"]["message"], odd);
    assert_eq!(json[2]["payload"]["reason"], odd);
}

#[test]
fn d38_a_raw_body_without_line_ends_is_sent_as_it_stands() {
    let mut session = runtime();
    let text = r#"{ "a" : 1.50e+3, "b":"—\u2028" }"#;
    session.send_event(start(), &job(), "x-vendor.raw", &RawJson::from_text(text).unwrap()).unwrap();
    let frame = sent(&mut session, start()).remove(0);
    assert!(std::str::from_utf8(&frame).unwrap().contains(text), "{frame:?}");
}

#[test]
fn d38_what_a_client_gets_of_a_raw_body_is_what_was_sent() {
    let mut pair = Pair::connected();
    pair.submit();
    let raw = RawJson::from_text("{\n \"text\": \"x\u{2028}\",\n \"n\": [1, 2]\n}").unwrap();
    let now = pair.now;
    pair.runtime().send_event(now, &job(), "x-vendor.raw", &raw).unwrap();
    pair.flush();
    let events = pair.take_client_events();
    let [arcp_proto::ClientEvent::Event(event)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(event.body::<Value>().unwrap(), raw.parse::<Value>().unwrap());
}
