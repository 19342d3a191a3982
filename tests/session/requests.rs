//! Requests and their answers, from both sides (D8, D11, D12, D34, D35, A11 on the wire).

use arcp_proto::wire::{
    ErrorCode, JobAccepted, JobCancelled, JobEntry, JobId, JobPage, JobQuery, JobResult, JobStatus, JobSubmit,
    JobSubscribed, RawJson, TraceId, WireError,
};
use arcp_proto::{
    AnswerError, Client, ClientConfig, ClientEvent, DetachReason, Feature, FeatureSet, Limits, Now, Opening, Phase,
    RequestFailure, RequestId, Runtime, RuntimeEvent, SendError, Session, Timer, Timestamp,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::pair::{
    From, Pair, client_alone, client_config, client_events, feed, job, log_frame, millis, only, open, principal,
    runtime_alone, runtime_config, runtime_events, secs, sent, sent_json, serving, start, token, types, welcome,
};

/// What a client told, in short.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Accepted(Option<RequestId>),
    Subscribed(Option<RequestId>),
    Cancelled(Option<RequestId>),
    Jobs(RequestId),
    Refused(RequestId),
    TimedOut(RequestId),
    Disconnected(RequestId),
    Error,
    Failed,
    Event,
    Violation,
    Detached,
    Closed,
    Other,
}

fn told(session: &mut Session<Client>) -> Vec<Told> {
    let short = |event: &ClientEvent| match event {
        ClientEvent::Accepted { request, .. } => Told::Accepted(*request),
        ClientEvent::Subscribed { request, .. } => Told::Subscribed(*request),
        ClientEvent::Cancelled { request, .. } => Told::Cancelled(*request),
        ClientEvent::Jobs { request, .. } => Told::Jobs(*request),
        ClientEvent::RequestFailed { request, failure } => match failure {
            RequestFailure::Refused(_) => Told::Refused(*request),
            RequestFailure::TimedOut => Told::TimedOut(*request),
            RequestFailure::Disconnected => Told::Disconnected(*request),
            _ => Told::Other,
        },
        ClientEvent::Error { .. } => Told::Error,
        ClientEvent::Failed { .. } => Told::Failed,
        ClientEvent::Event(_) => Told::Event,
        ClientEvent::Violation(_) => Told::Violation,
        ClientEvent::Detached(_) => Told::Detached,
        ClientEvent::Closed(_) => Told::Closed,
        _ => Told::Other,
    };
    client_events(session).iter().map(short).collect()
}

/// A request of a client, and its message id.
struct Asked {
    request: RequestId,
    id: String,
}

fn asked(session: &mut Session<Client>, now: Now, request: Result<RequestId, SendError>) -> Asked {
    let request = request.unwrap();
    let id = sent_json(session, now).last().unwrap()["id"].as_str().unwrap().to_owned();
    Asked { request, id }
}

fn work() -> JobSubmit {
    JobSubmit::new("code-refactor", RawJson::empty_object())
}

fn submit_at(session: &mut Session<Client>, now: Now) -> Asked {
    let request = session.submit(now, &work());
    asked(session, now, request)
}

fn submit(session: &mut Session<Client>) -> Asked {
    submit_at(session, start())
}

fn submit_traced(session: &mut Session<Client>, bits: u128) -> Asked {
    let request = session.submit_traced(start(), &work(), TraceId::from_bits(bits));
    asked(session, start(), request)
}

fn list(session: &mut Session<Client>) -> Asked {
    let request = session.list_jobs(start(), &JobQuery::default());
    asked(session, start(), request)
}

fn cancel(session: &mut Session<Client>, job: &str) -> Asked {
    let request = session.cancel(start(), &JobId::from(job), None);
    asked(session, start(), request)
}

fn subscribe(session: &mut Session<Client>, job: &str) -> Asked {
    let request = session.subscribe(start(), &JobId::from(job), None);
    asked(session, start(), request)
}

fn message(name: &str, payload: Value) -> Value {
    json!({"arcp": "1.1", "id": "from-the-runtime", "type": name, "session_id": "sess_1", "payload": payload})
}

fn with(mut base: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}

fn error(more: Value) -> Value {
    message("session.error", with(json!({"code": "AGENT_NOT_AVAILABLE", "message": "no"}), more))
}

fn accepted(more: Value) -> Value {
    message("job.accepted", with(json!({"job_id": "job_9", "agent": "a@1", "lease": {}}), more))
}

fn job_error(job: &str, code: &str, more: Value) -> Value {
    let payload = with(json!({"final_status": "error", "code": code, "message": "no"}), more);
    with(message("job.error", payload), json!({"job_id": job}))
}

fn hear(session: &mut Session<Client>, frame: &Value) -> Vec<Told> {
    feed(session, start(), frame);
    told(session)
}

/// Makes a job known as live.
fn accept(session: &mut Session<Client>, job: &str) {
    let asked = submit(session);
    let told = hear(session, &accepted(json!({"job_id": job, "request_id": asked.id})));
    assert_eq!(told, [Told::Accepted(Some(asked.request))]);
}

// The client: which request an error belongs to.

#[test]
fn d12_an_error_belongs_to_the_request_that_its_request_id_names() {
    let mut session = open();
    let all = [submit(&mut session), list(&mut session), cancel(&mut session, "j"), subscribe(&mut session, "k")];
    for asked in all.iter().rev() {
        assert_eq!(hear(&mut session, &error(json!({"request_id": asked.id}))), [Told::Refused(asked.request)]);
    }
    assert_eq!(hear(&mut session, &error(json!({}))), [Told::Error], "none is left");
}

#[test]
fn d12_else_to_the_one_that_reply_to_or_correlation_id_names() {
    for name in ["reply_to", "correlation_id"] {
        let mut session = open();
        let (first, second) = (submit(&mut session), list(&mut session));
        assert_eq!(hear(&mut session, &error(json!({name: second.id}))), [Told::Refused(second.request)], "{name}");
        assert_eq!(hear(&mut session, &error(json!({name: first.id}))), [Told::Refused(first.request)], "{name}");
    }
}

#[test]
fn d12_request_id_goes_before_reply_to_before_correlation_id_before_the_envelopes_id_before_the_job() {
    let mut session = open();
    let first = submit(&mut session);
    let [a, b, c, d] = [(); 4].map(|()| list(&mut session));
    let e = cancel(&mut session, "job_e");
    let clues = |payload: Value, id: &str| {
        with(error(with(payload, json!({"job_id": "job_e"}))), json!({"id": id, "job_id": "job_e"}))
    };
    let all = clues(json!({"request_id": a.id, "reply_to": b.id, "correlation_id": c.id}), &d.id);
    assert_eq!(hear(&mut session, &all), [Told::Refused(a.request)]);
    let all = clues(json!({"reply_to": b.id, "correlation_id": c.id}), &d.id);
    assert_eq!(hear(&mut session, &all), [Told::Refused(b.request)]);
    assert_eq!(hear(&mut session, &clues(json!({"correlation_id": c.id}), &d.id)), [Told::Refused(c.request)]);
    assert_eq!(hear(&mut session, &clues(json!({}), &d.id)), [Told::Refused(d.request)]);
    assert_eq!(hear(&mut session, &clues(json!({}), "none-of-ours")), [Told::Refused(e.request)]);
    assert_eq!(hear(&mut session, &clues(json!({}), "none-of-ours")), [Told::Refused(first.request)], "the oldest");
}

#[test]
fn d12_null_names_nothing() {
    let mut session = open();
    let (_, second) = (submit(&mut session), list(&mut session));
    let frame = error(json!({"request_id": null, "reply_to": null, "correlation_id": second.id}));
    assert_eq!(hear(&mut session, &frame), [Told::Refused(second.request)]);
}

#[test]
fn d12_the_job_of_an_open_cancel_or_subscribe_counts_from_either_place() {
    for of_payload in [true, false] {
        for of_cancel in [true, false] {
            let mut session = open();
            submit(&mut session);
            let asked = if of_cancel { cancel(&mut session, "job_x") } else { subscribe(&mut session, "job_x") };
            let frame = if of_payload {
                error(json!({"job_id": "job_x"}))
            } else {
                with(error(json!({})), json!({"job_id": "job_x"}))
            };
            assert_eq!(hear(&mut session, &frame), [Told::Refused(asked.request)]);
        }
    }
}

#[test]
fn d12_the_job_of_no_open_cancel_or_subscribe_is_no_clue() {
    let mut session = open();
    let (first, _) = (submit(&mut session), cancel(&mut session, "job_x"));
    assert_eq!(hear(&mut session, &error(json!({"job_id": "job_y"}))), [Told::Refused(first.request)]);
}

#[test]
fn d12_else_to_the_oldest() {
    let mut session = open();
    let all = [list(&mut session), submit(&mut session), cancel(&mut session, "j")];
    for asked in &all {
        assert_eq!(hear(&mut session, &error(json!({}))), [Told::Refused(asked.request)]);
    }
}

#[test]
fn d12_an_error_that_names_a_message_which_is_no_open_request_answers_none() {
    let mut session = open();
    let asked = submit(&mut session);
    for name in ["request_id", "reply_to", "correlation_id"] {
        assert_eq!(hear(&mut session, &error(json!({name: "an-ack-of-old"}))), [Told::Error], "{name}");
    }
    let answer = accepted(json!({"request_id": asked.id}));
    assert_eq!(hear(&mut session, &answer), [Told::Accepted(Some(asked.request))]);
}

#[test]
fn d12_codes_that_are_fatal_to_the_session_answer_none() {
    for code in ["UNAUTHENTICATED", "HEARTBEAT_LOST", "RESUME_WINDOW_EXPIRED"] {
        for names_it in [false, true] {
            let mut session = open();
            let asked = submit(&mut session);
            let id = if names_it { json!({"code": code, "request_id": asked.id}) } else { json!({"code": code}) };
            let told = hear(&mut session, &error(id));
            assert!(!told.contains(&Told::Refused(asked.request)), "{code}: {told:?}");
            assert!(told.contains(&Told::Error), "{code}: {told:?}");
            // Only the loss of the heartbeat says that the transport is given up.
            let is_lost = code == "HEARTBEAT_LOST";
            assert_eq!(told.contains(&Told::Disconnected(asked.request)), is_lost, "{code}: {told:?}");
            assert_eq!(session.phase(), if is_lost { Phase::Detached } else { Phase::Open }, "{code}");
        }
    }
}

#[test]
fn d12_one_error_fails_one_request_and_no_accepted_job() {
    let mut session = open();
    accept(&mut session, "job_1");
    let [one, two, three] = [(); 3].map(|()| submit(&mut session));
    assert_eq!(hear(&mut session, &error(json!({"request_id": two.id}))), [Told::Refused(two.request)]);
    for asked in [one, three] {
        let answer = accepted(json!({"request_id": asked.id}));
        assert_eq!(hear(&mut session, &answer), [Told::Accepted(Some(asked.request))]);
    }
    let of_the_job = with(error(json!({"code": "INTERNAL_ERROR", "job_id": "job_1"})), json!({"job_id": "job_1"}));
    assert_eq!(hear(&mut session, &of_the_job), [Told::Error]);
    assert_eq!(hear(&mut session, &log_frame(1)), [Told::Event], "the job goes on");
    assert_eq!(session.phase(), Phase::Open);
}

#[test]
fn d12_the_refusal_carries_what_the_runtime_said() {
    let mut session = open();
    let asked = submit(&mut session);
    let payload = json!({
        "code": "X_VENDOR", "message": "m", "retryable": true, "details": {"a": 1}, "request_id": asked.id,
    });
    feed(&mut session, start(), &message("session.error", payload));
    let events = client_events(&mut session);
    let [ClientEvent::RequestFailed { failure: RequestFailure::Refused(error), .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((error.code.as_str(), error.message.as_str(), error.retryable), ("X_VENDOR", "m", true));
    assert_eq!(error.details.as_ref().unwrap().text(), r#"{"a":1}"#);
}

// The client: which submit an accepted belongs to.

#[test]
fn d12_accepted_goes_by_request_id_or_reply_to() {
    for name in ["request_id", "reply_to"] {
        let mut session = open();
        let all = [submit(&mut session), submit(&mut session), submit_traced(&mut session, 7)];
        for asked in all.iter().rev() {
            let answer = accepted(json!({name: asked.id}));
            assert_eq!(hear(&mut session, &answer), [Told::Accepted(Some(asked.request))], "{name}");
        }
    }
}

#[test]
fn d12_request_id_goes_before_the_trace() {
    let mut session = open();
    let (one, two) = (submit_traced(&mut session, 1), submit_traced(&mut session, 2));
    let answer = accepted(json!({"request_id": two.id, "trace_id": TraceId::from_bits(1)}));
    assert_eq!(hear(&mut session, &answer), [Told::Accepted(Some(two.request))]);
    let answer = accepted(json!({"request_id": one.id, "trace_id": TraceId::from_bits(2)}));
    assert_eq!(hear(&mut session, &answer), [Told::Accepted(Some(one.request))]);
}

#[test]
fn d12_else_by_the_trace_in_the_envelope_or_the_payload() {
    let mut session = open();
    let (_, two, three) = (submit(&mut session), submit_traced(&mut session, 0xa2), submit_traced(&mut session, 0xa3));
    let of_envelope = with(accepted(json!({})), json!({"trace_id": TraceId::from_bits(0xa3)}));
    assert_eq!(hear(&mut session, &of_envelope), [Told::Accepted(Some(three.request))]);
    let of_payload = accepted(json!({"trace_id": TraceId::from_bits(0xa2)}));
    assert_eq!(hear(&mut session, &of_payload), [Told::Accepted(Some(two.request))]);
}

#[test]
fn d12_else_to_the_oldest_submit() {
    let mut session = open();
    let _ = (list(&mut session), cancel(&mut session, "j"));
    let (one, two) = (submit(&mut session), submit(&mut session));
    assert_eq!(hear(&mut session, &accepted(json!({}))), [Told::Accepted(Some(one.request))]);
    assert_eq!(hear(&mut session, &accepted(json!({}))), [Told::Accepted(Some(two.request))]);
    assert_eq!(hear(&mut session, &accepted(json!({}))), [Told::Accepted(None)]);
}

#[test]
fn d12_a_child_answers_no_submit() {
    for child in [json!({"parent_job_id": "job_0"}), json!({"delegate_id": "d"})] {
        let mut session = open();
        let asked = submit_traced(&mut session, 5);
        assert_eq!(hear(&mut session, &accepted(child.clone())), [Told::Accepted(None)]);
        let same_trace = with(child.clone(), json!({"trace_id": TraceId::from_bits(5)}));
        assert_eq!(hear(&mut session, &accepted(same_trace)), [Told::Accepted(None)]);
        let named = with(child, json!({"request_id": asked.id}));
        assert_eq!(hear(&mut session, &accepted(named)), [Told::Accepted(None)]);
        assert_eq!(hear(&mut session, &accepted(json!({}))), [Told::Accepted(Some(asked.request))]);
    }
}

#[test]
fn d12_a_trace_that_was_never_sent_answers_none_while_all_submits_have_one() {
    let mut session = open();
    let asked = submit_traced(&mut session, 5);
    let foreign = || accepted(json!({"trace_id": TraceId::from_bits(6)}));
    assert_eq!(hear(&mut session, &foreign()), [Told::Accepted(None)]);
    assert_eq!(hear(&mut session, &accepted(json!({}))), [Told::Accepted(Some(asked.request))]);
    let untraced = submit(&mut session);
    assert_eq!(hear(&mut session, &foreign()), [Told::Accepted(Some(untraced.request))], "the runtime chose the trace");
}

#[test]
fn d12_an_accepted_that_names_no_open_submit_answers_none() {
    let mut session = open();
    let (asked, listed) = (submit(&mut session), list(&mut session));
    assert_eq!(hear(&mut session, &accepted(json!({"request_id": "nobody"}))), [Told::Accepted(None)]);
    assert_eq!(hear(&mut session, &accepted(json!({"request_id": listed.id}))), [Told::Accepted(None)]);
    let answer = accepted(json!({"request_id": asked.id}));
    assert_eq!(hear(&mut session, &answer), [Told::Accepted(Some(asked.request))]);
}

// The client: the other answers.

#[test]
fn d12_jobs_subscribed_and_cancelled_find_their_requests() {
    for name in ["request_id", "reply_to"] {
        let mut session = open();
        let lists = [list(&mut session), list(&mut session)];
        let cancels = [cancel(&mut session, "j"), cancel(&mut session, "j")];
        let subscribes = [subscribe(&mut session, "j"), subscribe(&mut session, "j")];
        for at in [1, 0] {
            let jobs = message("session.jobs", json!({name: lists[at].id, "jobs": []}));
            assert_eq!(hear(&mut session, &jobs), [Told::Jobs(lists[at].request)]);
            let cancelled = message("job.cancelled", json!({name: cancels[at].id, "job_id": "j"}));
            assert_eq!(hear(&mut session, &cancelled), [Told::Cancelled(Some(cancels[at].request))]);
            let subscribed = message("job.subscribed", json!({name: subscribes[at].id, "job_id": "j"}));
            assert_eq!(hear(&mut session, &subscribed), [Told::Subscribed(Some(subscribes[at].request))]);
        }
    }
}

#[test]
fn d12_without_a_name_they_go_by_the_job_or_else_in_order() {
    let mut session = open();
    let cancels = [cancel(&mut session, "i"), cancel(&mut session, "j")];
    let subscribes = [subscribe(&mut session, "i"), subscribe(&mut session, "j")];
    let lists = [list(&mut session), list(&mut session)];
    for at in [1, 0] {
        let job = ["i", "j"][at];
        let cancelled = with(message("job.cancelled", json!({})), json!({"job_id": job}));
        assert_eq!(hear(&mut session, &cancelled), [Told::Cancelled(Some(cancels[at].request))]);
        let subscribed = message("job.subscribed", json!({"job_id": job}));
        assert_eq!(hear(&mut session, &subscribed), [Told::Subscribed(Some(subscribes[at].request))]);
    }
    for asked in &lists {
        assert_eq!(hear(&mut session, &message("session.jobs", json!({}))), [Told::Jobs(asked.request)]);
    }
}

#[test]
fn d12_unasked_answers_are_news_or_tolerated_once() {
    let mut session = open();
    let cancelled = message("job.cancelled", json!({"job_id": "j"}));
    assert_eq!(hear(&mut session, &cancelled), [Told::Cancelled(None)]);
    let subscribed = message("job.subscribed", json!({"job_id": "j"}));
    assert_eq!(hear(&mut session, &subscribed), [Told::Subscribed(None)]);
    assert_eq!(hear(&mut session, &message("session.jobs", json!({"jobs": []}))), [Told::Violation]);
    assert_eq!(hear(&mut session, &message("session.jobs", json!({"jobs": null}))), []);
}

#[test]
fn d12_an_answer_out_of_shape_leaves_the_request_open() {
    let mut session = open();
    let asked = submit(&mut session);
    assert_eq!(hear(&mut session, &message("job.accepted", json!({"job_id": 5}))), [Told::Violation]);
    assert_eq!(hear(&mut session, &message("session.error", json!({"message": "no code"}))), [Told::Violation]);
    assert_eq!(hear(&mut session, &accepted(json!({}))), [Told::Accepted(Some(asked.request))]);
}

// The client: what a `job.error` means.

#[test]
fn d12_a_job_error_of_an_unknown_job_rejects_the_oldest_submit() {
    let mut session = open();
    let _ = list(&mut session);
    let (one, two) = (submit(&mut session), submit(&mut session));
    let frame = job_error("job_x", "AGENT_NOT_AVAILABLE", json!({}));
    assert_eq!(hear(&mut session, &frame), [Told::Refused(one.request)]);
    assert_eq!(hear(&mut session, &frame), [Told::Refused(two.request)]);
    assert_eq!(hear(&mut session, &frame), [Told::Failed], "no submit is open: it is that job's end");
}

#[test]
fn d12_no_submit_is_refused_with_what_only_ends_a_job() {
    for code in ["CANCELLED", "TIMEOUT"] {
        let mut session = open();
        submit(&mut session);
        // Of a job whose acceptance was lost with a transport.
        let end = with(job_error("job_x", code, json!({})), json!({"event_seq": 1}));
        assert_eq!(hear(&mut session, &end), [Told::Failed], "{code}");
        assert_eq!(session.last_event_seq(), 1);
    }
}

#[test]
fn d5_a_refusal_that_is_numbered_takes_its_place_in_the_sequence() {
    for is_late in [false, true] {
        let mut session = open();
        submit(&mut session);
        let mut now = start();
        if is_late {
            now = start().after(secs(30));
            session.handle_timeout(now);
            assert_eq!(told(&mut session).len(), 1);
        }
        let refusal = with(job_error("job_x", "AGENT_NOT_AVAILABLE", json!({})), json!({"event_seq": 1}));
        feed(&mut session, now, &refusal);
        assert_eq!(told(&mut session).len(), usize::from(!is_late));
        assert_eq!(session.last_event_seq(), 1);
        // Nothing is left for the application to mark: the place is passed by being polled.
        session.flush_acks(now).unwrap();
        let acks = sent_json(&mut session, now);
        assert_eq!(acks.last().unwrap()["payload"]["last_processed_seq"], 1, "late: {is_late}");
        feed(&mut session, now, &log_frame(2));
        assert_eq!(told(&mut session), [Told::Event]);
    }
}

/// Found by the fuzz target `client_input`: the poll after the last event passed the place, and then there was something to
/// acknowledge.
#[test]
fn drained_is_drained_where_a_late_refusal_takes_a_place() {
    for before in [0, 1] {
        let mut session = client_alone(ClientConfig { ack_batch: 1, ..client_config() });
        submit(&mut session);
        let now = start().after(secs(30));
        session.handle_timeout(now);
        told(&mut session);
        for seq in 1..=before {
            feed(&mut session, now, &log_frame(seq));
        }
        let refusal = job_error("job_x", "AGENT_NOT_AVAILABLE", json!({}));
        feed(&mut session, now, &with(refusal, json!({"event_seq": before + 1})));
        for _ in 0..before {
            assert!(session.poll_event().is_some());
        }
        session.mark_processed(now, before).unwrap();
        let acks = sent_json(&mut session, now);
        assert_eq!(acks.last().unwrap()["payload"]["last_processed_seq"], before + 1);
        assert!(session.poll_event().is_none() && session.poll_transmit(now).is_none(), "behind {before} events");
    }
}

#[test]
fn d12_a_job_error_may_name_the_request_that_it_refuses() {
    for name in ["request_id", "reply_to"] {
        let mut session = open();
        let (_, two) = (submit(&mut session), submit(&mut session));
        let frame = job_error("job_x", "INVALID_REQUEST", json!({name: two.id}));
        assert_eq!(hear(&mut session, &frame), [Told::Refused(two.request)], "{name}");
    }
    let mut session = open();
    let (_, two) = (submit(&mut session), submit(&mut session));
    let frame = with(job_error("job_x", "INVALID_REQUEST", json!({})), json!({"id": two.id}));
    assert_eq!(hear(&mut session, &frame), [Told::Refused(two.request)], "by the envelope's id");
}

#[test]
fn d12_a_job_error_of_a_known_job_is_its_end_also_while_a_submit_is_open() {
    let mut session = open();
    accept(&mut session, "job_1");
    let asked = submit(&mut session);
    for code in ["TIMEOUT", "CANCELLED", "INTERNAL_ERROR", "AGENT_NOT_AVAILABLE", "INVALID_REQUEST", "BUDGET_EXHAUSTED"]
    {
        let mut session = session.clone();
        assert_eq!(hear(&mut session, &job_error("job_1", code, json!({}))), [Told::Failed], "{code}");
        assert_eq!(hear(&mut session, &accepted(json!({}))), [Told::Accepted(Some(asked.request))], "{code}");
    }
}

#[test]
fn d12_the_jobs_that_a_client_knows_are_as_many_as_its_limit_says_and_ended_ones_take_no_place() {
    let limits = Limits { live_jobs: 2, ..client_config().limits };
    let known = |others: &[(&str, bool)]| {
        let mut session = client_alone(ClientConfig { limits: limits.clone(), ..client_config() });
        accept(&mut session, "job_1");
        for (job, ends) in others {
            accept(&mut session, job);
            if *ends {
                assert_eq!(hear(&mut session, &job_error(job, "TIMEOUT", json!({}))), [Told::Failed], "{job}");
            }
        }
        let asked = submit(&mut session);
        // Of a job that is known it is the end; else it refuses the submit.
        match hear(&mut session, &job_error("job_1", "INTERNAL_ERROR", json!({})))[..] {
            [Told::Failed] => true,
            [Told::Refused(request)] if request == asked.request => false,
            ref told => panic!("{told:?}"),
        }
    };
    assert!(known(&[("job_2", false)]));
    assert!(known(&[("job_2", true), ("job_3", true), ("job_4", true)]));
    assert!(!known(&[("job_2", false), ("job_3", false)]), "the first has made room");
}

#[test]
fn d12_only_the_last_64_ended_jobs_are_known() {
    for (others, is_known) in [(63, true), (64, false)] {
        let mut session = open();
        for n in 0..=others {
            let job = format!("job_{n}");
            accept(&mut session, &job);
            assert_eq!(hear(&mut session, &job_error(&job, "TIMEOUT", json!({}))), [Told::Failed]);
        }
        let asked = submit(&mut session);
        let told = hear(&mut session, &job_error("job_0", "AGENT_NOT_AVAILABLE", json!({})));
        assert_eq!(told != [Told::Refused(asked.request)], is_known, "{told:?}");
    }
}

#[test]
fn d12_a_refusal_code_on_a_live_job_is_a_refused_request_and_not_its_end() {
    for code in ["DUPLICATE_KEY", "PERMISSION_DENIED", "JOB_NOT_FOUND"] {
        let mut session = open();
        accept(&mut session, "job_1");
        // Nothing is open that it could refuse: an error, and the job lives.
        assert_eq!(hear(&mut session, &job_error("job_1", code, json!({}))), [Told::Error], "{code}");
        for of_cancel in [true, false] {
            let asked = if of_cancel { cancel(&mut session, "job_1") } else { subscribe(&mut session, "job_1") };
            let told = hear(&mut session, &job_error("job_1", code, json!({})));
            assert_eq!(told, [Told::Refused(asked.request)], "{code}");
        }
        let asked = submit(&mut session);
        let named = hear(&mut session, &job_error("job_1", code, json!({"request_id": asked.id})));
        assert_eq!(named, [Told::Refused(asked.request)], "{code}");
        // The job is still live: its real end is told.
        assert_eq!(hear(&mut session, &job_error("job_1", "TIMEOUT", json!({}))), [Told::Failed], "{code}");
        // It does not end twice: this can only be a request that came too late.
        assert_eq!(hear(&mut session, &job_error("job_1", code, json!({}))), [Told::Error], "{code}: it is over");
    }
}

#[test]
fn d12_a_duplicate_key_names_the_first_job_and_refuses_the_submit() {
    let mut session = open();
    accept(&mut session, "job_1");
    let asked = submit(&mut session);
    let told = hear(&mut session, &job_error("job_1", "DUPLICATE_KEY", json!({})));
    assert_eq!(told, [Told::Refused(asked.request)]);
}

#[test]
fn d12_a_job_is_known_by_its_accepted_its_subscribed_or_its_events() {
    let knowings = [
        accepted(json!({"job_id": "job_1", "parent_job_id": "p"})),
        message("job.subscribed", json!({"job_id": "job_1", "current_status": "running"})),
        log_frame(1),
    ];
    for knowing in knowings {
        let mut session = open();
        hear(&mut session, &knowing);
        let asked = submit(&mut session);
        let told = hear(&mut session, &job_error("job_1", "TIMEOUT", json!({})));
        assert_eq!(told, [Told::Failed], "{knowing}");
        assert_eq!(hear(&mut session, &accepted(json!({}))), [Told::Accepted(Some(asked.request))]);
    }
    let mut session = open();
    hear(&mut session, &message("job.subscribed", json!({"job_id": "job_1", "current_status": "error"})));
    let told = hear(&mut session, &job_error("job_1", "JOB_NOT_FOUND", json!({})));
    assert_eq!(told, [Told::Failed], "a job that had ended when it was subscribed to is not live");
}

#[test]
fn d12_an_end_that_is_said_twice_refuses_no_submit() {
    let mut session = open();
    accept(&mut session, "job_1");
    assert_eq!(hear(&mut session, &job_error("job_1", "TIMEOUT", json!({}))), [Told::Failed]);
    let asked = submit(&mut session);
    assert_eq!(hear(&mut session, &job_error("job_1", "TIMEOUT", json!({}))), [Told::Failed]);
    assert_eq!(hear(&mut session, &accepted(json!({}))), [Told::Accepted(Some(asked.request))]);
}

#[test]
fn d12_events_of_a_job_without_an_accepted_are_taken_all_the_same() {
    let mut session = open();
    submit(&mut session);
    assert_eq!(hear(&mut session, &log_frame(1)), [Told::Event]);
    let result = with(message("job.result", json!({"output": 1})), json!({"job_id": "job_1", "event_seq": 2}));
    assert_eq!(hear(&mut session, &result), [Told::Other]);
    assert_eq!(session.last_event_seq(), 2);
}

// The client: deadlines, tombstones, the loss of the transport.

#[test]
fn d12_every_request_has_30_seconds_to_the_millisecond() {
    type Ask = fn(&mut Session<Client>) -> Asked;
    let asks: [Ask; 4] = [submit, list, |s| cancel(s, "j"), |s| subscribe(s, "j")];
    for ask in asks {
        // Without heartbeats, so that the only deadline is the request's.
        let mut session = client_alone(client_config().with_features(only(&[Feature::ListJobs, Feature::Subscribe])));
        let asked = ask(&mut session);
        assert_eq!(session.poll_timeout(), Some(start().mono + secs(30)));
        assert_eq!(session.timeout_reason(), Some(Timer::Request));
        session.handle_timeout(start().after(millis(29_999)));
        assert_eq!(told(&mut session), []);
        session.handle_timeout(start().after(millis(30_000)));
        assert_eq!(told(&mut session), [Told::TimedOut(asked.request)]);
        session.handle_timeout(start().after(secs(60)));
        assert_eq!(told(&mut session), [], "told once");
        assert_eq!(session.phase(), Phase::Open);
    }
}

#[test]
fn d12_each_request_has_its_own_deadline() {
    let mut session = open();
    let one = submit(&mut session);
    let two = submit_at(&mut session, start().after(millis(1)));
    let three = submit_at(&mut session, start().after(secs(10)));
    session.handle_timeout(start().after(secs(30)));
    assert_eq!(told(&mut session), [Told::TimedOut(one.request)]);
    session.handle_timeout(start().after(millis(30_001)));
    assert_eq!(told(&mut session), [Told::TimedOut(two.request)]);
    feed(&mut session, start().after(millis(39_999)), &accepted(json!({"request_id": three.id})));
    session.handle_timeout(start().after(secs(41)));
    assert_eq!(told(&mut session), [Told::Accepted(Some(three.request))]);
}

#[test]
fn d12_the_deadline_is_the_applications_to_choose() {
    let config = arcp_proto::ClientConfig { request_timeout: millis(5), ..client_config() };
    let mut session = client_alone(config);
    let asked = submit(&mut session);
    session.handle_timeout(start().after(millis(4)));
    assert_eq!(told(&mut session), []);
    session.handle_timeout(start().after(millis(5)));
    assert_eq!(told(&mut session), [Told::TimedOut(asked.request)]);
}

/// A client whose request of each kind has timed out, and an answer to each.
fn too_late() -> (Session<Client>, Vec<Value>) {
    let mut session = open();
    let (a, b) = (submit(&mut session), list(&mut session));
    let (c, d) = (cancel(&mut session, "job_c"), subscribe(&mut session, "job_d"));
    let e = submit(&mut session);
    // Something is heard in between, so that the heartbeat lives.
    let now = start().after(secs(29));
    feed(&mut session, now, &message("session.pong", json!({})));
    session.handle_timeout(start().after(secs(30)));
    let expected = [&a, &b, &c, &d, &e].map(|asked| Told::TimedOut(asked.request));
    assert_eq!(told(&mut session), expected);
    let answers = vec![
        accepted(json!({"request_id": a.id})),
        message("session.jobs", json!({"request_id": b.id, "jobs": []})),
        message("job.cancelled", json!({"request_id": c.id, "job_id": "job_c"})),
        message("job.subscribed", json!({"request_id": d.id, "job_id": "job_d"})),
        error(json!({"request_id": e.id})),
    ];
    (session, answers)
}

#[test]
fn d12_a_late_answer_is_swallowed() {
    let (mut session, answers) = too_late();
    for answer in &answers {
        assert_eq!(hear(&mut session, answer), [], "{answer}");
    }
    // What was swallowed is done with: the next one like it is not late any more, it is unasked.
    assert_eq!(hear(&mut session, &answers[0]), [Told::Accepted(None)]);
    assert_eq!(hear(&mut session, &answers[4]), [Told::Error]);
}

#[test]
fn d12_a_late_answer_that_names_nothing_is_not_taken_for_a_younger_requests() {
    let (mut session, _) = too_late();
    let now = start().after(secs(31));
    let young = submit_at(&mut session, now);
    for _ in 0..2 {
        feed(&mut session, now, &accepted(json!({})));
        assert_eq!(told(&mut session), [Told::Accepted(None)], "the two submits that timed out");
    }
    feed(&mut session, now, &accepted(json!({})));
    assert_eq!(told(&mut session), [Told::Accepted(Some(young.request))]);
    for _ in 0..3 {
        feed(&mut session, now, &error(json!({})));
        assert_eq!(told(&mut session), [], "the list, the cancel and the subscribe");
    }
    feed(&mut session, now, &error(json!({})));
    assert_eq!(told(&mut session), [Told::Error]);
}

/// A peer that names nothing and lost one answer would otherwise have every later one taken for the one before it.
#[test]
fn d12_an_answer_that_never_comes_is_waited_for_no_longer_than_twice() {
    let mut session = open();
    let lost = submit(&mut session);
    session.handle_timeout(start().after(secs(30)));
    assert_eq!(told(&mut session), [Told::TimedOut(lost.request)]);
    let now = start().after(secs(60));
    let young = submit_at(&mut session, now);
    feed(&mut session, now, &accepted(json!({})));
    assert_eq!(told(&mut session), [Told::Accepted(Some(young.request))]);
}

#[test]
fn d12_what_timed_out_holds_no_place_and_is_remembered_within_a_limit() {
    let mut session = client_alone(client_config().with_limits(Limits { open_requests: 2, ..Limits::default() }));
    let mut ids = Vec::new();
    let mut now = start();
    for _ in 0..5 {
        ids.extend([submit_at(&mut session, now).id, submit_at(&mut session, now).id]);
        assert_eq!(session.submit(now, &work()), Err(SendError::TooManyRequests(2)));
        now = now.after(secs(30));
        session.handle_activity(now);
        session.handle_timeout(now);
        assert_eq!(told(&mut session).len(), 2);
    }
    let late = |id: &String| accepted(json!({"request_id": id}));
    assert_eq!(hear(&mut session, &late(&ids[0])), [Told::Accepted(None)], "long forgotten");
    assert_eq!(hear(&mut session, &late(&ids[9])), [], "remembered");
}

#[test]
fn d12_a_late_accepted_makes_the_job_known() {
    let mut session = open();
    let asked = submit(&mut session);
    session.handle_timeout(start().after(secs(30)));
    feed(&mut session, start().after(secs(30)), &accepted(json!({"request_id": asked.id, "job_id": "job_1"})));
    assert_eq!(told(&mut session), [Told::TimedOut(asked.request)]);
    let now = start().after(secs(30));
    let young = submit_at(&mut session, now);
    feed(&mut session, now, &job_error("job_1", "TIMEOUT", json!({})));
    assert_eq!(told(&mut session), [Told::Failed], "that job's end, not the refusal of {:?}", young.request);
}

#[test]
fn d12_what_is_open_when_the_transport_is_lost_fails_before_the_loss_is_told() {
    let mut session = open();
    let all = [submit(&mut session), list(&mut session), cancel(&mut session, "j"), subscribe(&mut session, "j")];
    session.handle_disconnect(start());
    let mut expected: Vec<_> = all.iter().map(|asked| Told::Disconnected(asked.request)).collect();
    expected.push(Told::Detached);
    assert_eq!(told(&mut session), expected);
    session.handle_timeout(start().after(secs(30)));
    assert_eq!(told(&mut session), [], "their deadlines are gone");
}

#[test]
fn d12_nothing_is_sent_again_by_itself_and_old_answers_find_nobody() {
    let mut session = open();
    let asked = submit(&mut session);
    session.submit(start(), &work()).unwrap();
    session.handle_disconnect(start());
    told(&mut session);
    session.resume(start()).unwrap();
    feed(&mut session, start(), &welcome(FeatureSet::all()));
    told(&mut session);
    assert_eq!(types(&sent_json(&mut session, start())), ["session.hello"], "polled or not before the loss");
    let young = submit(&mut session);
    assert_ne!(young.id, asked.id);
    let late = accepted(json!({"request_id": asked.id}));
    assert_eq!(hear(&mut session, &late), [Told::Accepted(None)]);
    assert_eq!(hear(&mut session, &error(json!({"request_id": asked.id}))), [Told::Error]);
    assert_eq!(hear(&mut session, &accepted(json!({}))), [Told::Accepted(Some(young.request))]);
}

#[test]
fn d12_what_timed_out_before_the_loss_does_not_fail_again() {
    let mut session = open();
    let asked = submit(&mut session);
    session.handle_timeout(start().after(secs(30)));
    session.handle_disconnect(start().after(secs(30)));
    assert_eq!(told(&mut session), [Told::TimedOut(asked.request), Told::Detached]);
}

#[test]
fn d12_what_is_open_when_the_session_ends_fails_before_the_end_is_told() {
    let endings: [fn(&mut Session<Client>); 3] = [
        |session| feed(session, start(), &message("session.closed", json!({}))),
        |session| {
            session.close(start(), "normal");
            session.handle_timeout(start().after(secs(5)));
        },
        |session| {
            session.close(start(), "normal");
            session.handle_disconnect(start());
        },
    ];
    for end in endings {
        let mut session = open();
        let all = [submit(&mut session), list(&mut session)];
        end(&mut session);
        let mut expected: Vec<_> = all.iter().map(|asked| Told::Disconnected(asked.request)).collect();
        expected.push(Told::Closed);
        assert_eq!(told(&mut session), expected);
    }
}

#[test]
fn d12_a_request_can_be_answered_while_the_session_closes() {
    let mut session = open();
    let (one, two) = (submit(&mut session), list(&mut session));
    session.close(start(), "normal");
    assert_eq!(hear(&mut session, &accepted(json!({}))), [Told::Accepted(Some(one.request))]);
    assert_eq!(hear(&mut session, &error(json!({"request_id": two.id}))), [Told::Refused(two.request)]);
    assert_eq!(session.phase(), Phase::Closing);
}

// The client's own misuse.

#[test]
fn a5_a_request_needs_its_feature_and_a_refusal_changes_nothing() {
    let mut session = client_alone(client_config().with_features(FeatureSet::none()));
    let missing = |feature| Err(SendError::FeatureNotNegotiated(feature));
    assert_eq!(session.list_jobs(start(), &JobQuery::default()), missing(Feature::ListJobs));
    assert_eq!(session.subscribe(start(), &job(), None), missing(Feature::Subscribe));
    let versioned = JobSubmit::new("code-refactor@1.0.0", RawJson::empty_object());
    assert_eq!(session.submit(start(), &versioned), missing(Feature::AgentVersions));
    assert_eq!(session.unsubscribe(start(), &job()), Err(SendError::FeatureNotNegotiated(Feature::Subscribe)));
    assert_eq!(session.flush_acks(start()), Err(SendError::FeatureNotNegotiated(Feature::Ack)));
    assert!(sent(&mut session, start()).is_empty());
    assert_eq!(session.poll_timeout(), None);
    assert!(session.submit(start(), &work()).is_ok() && session.cancel(start(), &job(), None).is_ok());
}

#[test]
fn d12_requests_outside_an_open_session_are_refused_and_nothing_waits_for_them() {
    let try_all = |session: &mut Session<Client>, error: SendError| {
        let before = (session.poll_timeout(), session.phase());
        assert_eq!(session.submit(start(), &work()), Err(error.clone()));
        assert_eq!(session.cancel(start(), &job(), None), Err(error.clone()));
        assert_eq!(session.subscribe(start(), &job(), None), Err(error.clone()));
        assert_eq!(session.list_jobs(start(), &JobQuery::default()), Err(error.clone()));
        assert_eq!(session.unsubscribe(start(), &job()), Err(error.clone()));
        assert_eq!(session.flush_acks(start()), Err(error));
        assert_eq!((session.poll_timeout(), session.phase()), before);
    };
    let mut session = Session::connect(start(), client_config());
    try_all(&mut session, SendError::NotOpen(Phase::Connecting));
    assert_eq!(types(&sent_json(&mut session, start())), ["session.hello"]);
    let mut session = open();
    session.handle_disconnect(start());
    try_all(&mut session, SendError::NotOpen(Phase::Detached));
    session.resume(start()).unwrap();
    try_all(&mut session, SendError::NotOpen(Phase::Resuming));
    assert_eq!(types(&sent_json(&mut session, start())), ["session.hello"]);
    let mut session = open();
    session.close(start(), "normal");
    try_all(&mut session, SendError::NotOpen(Phase::Closing));
    assert_eq!(types(&sent_json(&mut session, start())), ["session.bye"]);
    session.handle_disconnect(start());
    try_all(&mut session, SendError::Closed);
    assert!(sent(&mut session, start()).is_empty());
    assert_eq!(told(&mut session), [Told::Closed]);
}

#[test]
fn d12_a_request_that_contradicts_itself_or_is_too_large_is_refused_here() {
    let mut session = open();
    let nameless = JobSubmit::new("", RawJson::empty_object());
    assert!(matches!(session.submit(start(), &nameless), Err(SendError::Invalid(_))));
    assert!(matches!(session.list_jobs(start(), &JobQuery::default().with_limit(0)), Err(SendError::Invalid(_))));
    let large = JobSubmit::new("a", RawJson::new(&"x".repeat(1 << 20)).unwrap());
    assert!(matches!(session.submit(start(), &large), Err(SendError::TooLarge { limit: 0x10_0000, .. })));
    assert!(sent(&mut session, start()).is_empty());
    assert_ne!(session.timeout_reason(), Some(Timer::Request));
}

#[test]
fn d39_a_request_may_be_as_long_as_a_frame_and_no_longer() {
    let mut session = open();
    let frame_len = |session: &mut Session<Client>, len: usize| {
        let submit = JobSubmit::new("a", RawJson::new(&"x".repeat(len)).unwrap());
        session.submit(start(), &submit).map(|_| sent(session, start()).last().unwrap().len())
    };
    let overhead = frame_len(&mut session, 1_000).unwrap() - 1_000;
    assert_eq!(frame_len(&mut session, (1 << 20) - overhead), Ok(1 << 20));
    assert!(matches!(frame_len(&mut session, (1 << 20) - overhead + 1), Err(SendError::TooLarge { .. })));
}

// The runtime: what it is asked.

fn request(name: &str, id: &str, payload: Value) -> Value {
    json!({"arcp": "1.1", "id": id, "type": name, "session_id": "sess_1", "payload": payload})
}

fn submit_frame(id: &str) -> Value {
    request("job.submit", id, json!({"agent": "a", "input": {}}))
}

/// One of each kind of request.
fn one_of_each() -> [Value; 4] {
    [
        submit_frame("m_submit"),
        request("job.cancel", "m_cancel", json!({"job_id": "job_1", "reason": "r"})),
        request("job.subscribe", "m_subscribe", json!({"job_id": "job_1"})),
        request("session.list_jobs", "m_list", json!({})),
    ]
}

fn request_of(event: &RuntimeEvent) -> Option<RequestId> {
    match event {
        RuntimeEvent::Submit { request, .. }
        | RuntimeEvent::Cancel { request, .. }
        | RuntimeEvent::Subscribe { request, .. }
        | RuntimeEvent::ListJobs { request, .. } => Some(*request),
        _ => None,
    }
}

/// What the runtime is asked by a frame, if anything.
fn ask(session: &mut Session<Runtime>, frame: &Value) -> Option<RequestId> {
    feed(session, start(), frame);
    let events = runtime_events(session);
    assert!(events.len() <= 1, "{events:?}");
    events.first().and_then(request_of)
}

fn job_taken() -> JobAccepted {
    JobAccepted::new(job(), "code-refactor@2.0.0", start().wall)
}

fn no() -> WireError {
    WireError::new(ErrorCode::AgentNotAvailable, "no")
}

fn answer(session: &mut Session<Runtime>, frame: &Value, request: RequestId) -> Result<(), AnswerError> {
    match frame["type"].as_str().unwrap() {
        "job.submit" => session.accept_job(start(), request, job_taken()),
        "job.cancel" => session.confirm_cancel(start(), request, Some("r".into())),
        "job.subscribe" => {
            session.accept_subscribe(start(), request, JobSubscribed::new(job(), "a@1", JobStatus::Running))
        }
        _ => session.respond_jobs(start(), request, JobPage::default()),
    }
}

/// Comes back on a new transport, by the `n`th token.
fn come_back(session: &mut Session<Runtime>, n: u64, features: Option<FeatureSet>) {
    let mut hello = json!({"id": "h", "type": "session.hello", "payload": {
        "auth": {"scheme": "bearer", "token": "secret-bearer"},
        "resume_token": token(n), "last_event_seq": session.last_event_seq(),
    }});
    if let Some(features) = features {
        hello["payload"]["capabilities"] = json!({"features": features});
    }
    let opening = Opening::parse(Bytes::from(hello.to_string()), &Limits::default()).unwrap();
    let Opening::Resume(attempt) = opening else { panic!("it has a token") };
    session.resume(start(), attempt, &principal(), token(n + 1)).unwrap();
    assert!(matches!(runtime_events(session)[..], [RuntimeEvent::Resumed { .. }]));
    let sent = sent_json(session, start());
    assert_eq!(types(&sent).first(), Some(&"session.welcome"), "{sent:?}");
}

fn lose(session: &mut Session<Runtime>) {
    session.handle_disconnect(start());
    assert!(matches!(runtime_events(session)[..], [RuntimeEvent::Detached(DetachReason::TransportLost)]));
}

#[test]
fn d8_a_repeated_id_of_a_request_still_open_is_dropped_and_answered_once() {
    for frame in one_of_each() {
        let mut session = serving();
        let request = ask(&mut session, &frame).unwrap();
        for _ in 0..3 {
            assert_eq!(ask(&mut session, &frame), None, "{frame}");
            assert!(sent(&mut session, start()).is_empty(), "{frame}");
        }
        answer(&mut session, &frame, request).unwrap();
        let answers = sent_json(&mut session, start());
        assert_eq!(answers.len(), 1, "{frame}");
        assert_eq!(answers[0]["payload"]["request_id"], frame["id"], "{frame}");
    }
}

#[test]
fn d8_requests_with_other_ids_are_other_requests() {
    let mut session = serving();
    let (one, two) = (ask(&mut session, &submit_frame("1")).unwrap(), ask(&mut session, &submit_frame("2")).unwrap());
    assert_ne!(one, two);
}

#[test]
fn d8_a_repeated_submit_gets_its_first_answer_again_under_another_message_id() {
    for is_taken in [true, false] {
        let mut session = serving();
        let request = ask(&mut session, &submit_frame("m1")).unwrap();
        if is_taken {
            session.accept_job(start(), request, job_taken()).unwrap();
        } else {
            session.fail_request(start(), request, no()).unwrap();
        }
        let first = sent_json(&mut session, start()).remove(0);
        let mut ids = vec![first["id"].clone()];
        for _ in 0..3 {
            assert_eq!(ask(&mut session, &submit_frame("m1")), None);
            let mut again = sent_json(&mut session, start()).remove(0);
            assert!(!ids.contains(&again["id"]));
            ids.push(again["id"].clone());
            again["id"] = first["id"].clone();
            assert_eq!(again, first);
        }
    }
}

#[test]
fn d8_the_last_64_submits_are_remembered() {
    for (later, is_remembered) in [(63, true), (64, false)] {
        let mut session = serving();
        for n in 0..=later {
            let request = ask(&mut session, &submit_frame(&format!("m{n}"))).unwrap();
            session.accept_job(start(), request, job_taken()).unwrap();
            let _ = sent(&mut session, start());
        }
        assert_eq!(ask(&mut session, &submit_frame("m0")).is_none(), is_remembered, "with {later} behind it");
        assert_eq!(types(&sent_json(&mut session, start())).len(), usize::from(is_remembered));
        assert_eq!(ask(&mut session, &submit_frame(&format!("m{later}"))), None);
    }
}

#[test]
fn d8_an_answered_submit_is_remembered_across_a_resume() {
    for is_taken in [true, false] {
        let mut session = serving();
        let request = ask(&mut session, &submit_frame("m1")).unwrap();
        if is_taken {
            session.accept_job(start(), request, job_taken()).unwrap();
        } else {
            session.fail_request(start(), request, no()).unwrap();
        }
        let first = sent_json(&mut session, start()).remove(0);
        lose(&mut session);
        come_back(&mut session, 1, None);
        assert_eq!(ask(&mut session, &submit_frame("m1")), None);
        let again = sent_json(&mut session, start()).remove(0);
        assert_eq!(again["payload"], first["payload"]);
        assert_eq!(again["type"], first["type"]);
    }
}

#[test]
fn d8_a_repeated_submit_is_known_also_when_the_resume_dropped_its_feature() {
    let versioned = request("job.submit", "m1", json!({"agent": "a@1", "input": {}}));
    for is_answered in [true, false] {
        let mut session = serving();
        let first = ask(&mut session, &versioned).unwrap();
        if is_answered {
            session.accept_job(start(), first, job_taken()).unwrap();
        }
        lose(&mut session);
        come_back(&mut session, 1, Some(FeatureSet::none()));
        assert_eq!(ask(&mut session, &versioned), None);
        if !is_answered {
            assert!(sent(&mut session, start()).is_empty(), "it is open: its answer comes");
            session.accept_job(start(), first, job_taken()).unwrap();
        }
        assert_eq!(types(&sent_json(&mut session, start())), ["job.accepted"]);
    }
}

#[test]
fn d8_an_open_submit_survives_a_detach_and_is_answered_when_repeated() {
    let mut session = serving();
    let request = ask(&mut session, &submit_frame("m1")).unwrap();
    lose(&mut session);
    come_back(&mut session, 1, None);
    assert_eq!(ask(&mut session, &submit_frame("m1")), None, "the application was asked already");
    assert!(sent(&mut session, start()).is_empty());
    session.accept_job(start(), request, job_taken()).unwrap();
    let answers = sent_json(&mut session, start());
    assert_eq!(types(&answers), ["job.accepted"]);
    assert_eq!(answers[0]["payload"]["request_id"], "m1");
}

#[test]
fn d8_an_answer_given_while_detached_is_kept_for_the_repetition() {
    for is_taken in [true, false] {
        let mut session = serving();
        let request = ask(&mut session, &submit_frame("m1")).unwrap();
        lose(&mut session);
        if is_taken {
            session.accept_job(start(), request, job_taken()).unwrap();
        } else {
            session.fail_request(start(), request, no()).unwrap();
        }
        assert!(sent(&mut session, start()).is_empty());
        come_back(&mut session, 1, None);
        assert!(sent(&mut session, start()).is_empty(), "nobody has asked on this transport");
        assert_eq!(ask(&mut session, &submit_frame("m1")), None);
        let expected = if is_taken { "job.accepted" } else { "session.error" };
        assert_eq!(types(&sent_json(&mut session, start())), [expected]);
    }
}

#[test]
fn d8_the_answer_to_a_submit_that_was_not_repeated_on_this_transport_waits_for_the_repetition() {
    let mut session = serving();
    let request = ask(&mut session, &submit_frame("m1")).unwrap();
    lose(&mut session);
    come_back(&mut session, 1, None);
    session.accept_job(start(), request, job_taken()).unwrap();
    assert!(sent(&mut session, start()).is_empty(), "a peer would take it for the answer to another");
    assert_eq!(ask(&mut session, &submit_frame("m1")), None);
    assert_eq!(types(&sent_json(&mut session, start())), ["job.accepted"]);
}

#[test]
fn d8_other_requests_open_at_a_detach_are_dropped_and_may_be_asked_again() {
    for frame in one_of_each().into_iter().skip(1) {
        for is_takeover in [false, true] {
            let mut session = serving();
            let old = ask(&mut session, &frame).unwrap();
            if !is_takeover {
                lose(&mut session);
                assert_eq!(answer(&mut session, &frame, old), Err(AnswerError::UnknownRequest), "{frame}");
            }
            come_back(&mut session, 1, None);
            assert_eq!(answer(&mut session, &frame, old), Err(AnswerError::UnknownRequest), "{frame}");
            assert_eq!(session.fail_request(start(), old, no()), Err(AnswerError::UnknownRequest), "{frame}");
            assert!(sent(&mut session, start()).is_empty(), "{frame}");
            let new = ask(&mut session, &frame).expect("it is asked anew");
            assert_ne!(old, new);
            answer(&mut session, &frame, new).unwrap();
        }
    }
}

#[test]
fn d8_all_else_runs_again() {
    for frame in one_of_each().into_iter().skip(1) {
        let mut session = serving();
        for _ in 0..3 {
            let request = ask(&mut session, &frame).expect("asked anew");
            answer(&mut session, &frame, request).unwrap();
            assert_eq!(sent(&mut session, start()).len(), 1, "{frame}");
        }
    }
    let mut session = serving();
    for _ in 0..2 {
        feed(&mut session, start(), &request("job.unsubscribe", "same", json!({"job_id": "job_1"})));
        assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Unsubscribe { .. }]));
        feed(&mut session, start(), &request("session.ping", "same", json!({"nonce": "n"})));
        assert_eq!(types(&sent_json(&mut session, start())), ["session.pong"]);
    }
}

#[test]
fn d12_a_request_without_an_id_is_refused_for_its_answer_could_not_name_it() {
    for mut frame in one_of_each() {
        let mut session = serving();
        frame.as_object_mut().unwrap().remove("id");
        assert_eq!(ask(&mut session, &frame), None);
        let answers = sent_json(&mut session, start());
        assert_eq!(types(&answers), ["session.error"], "{frame}");
        assert_eq!(answers[0]["payload"]["code"], "INVALID_REQUEST");
        // Not even the oldest request, which clients take an unnamed error to be about.
        assert_eq!(answers[0]["payload"]["request_id"], "none");
    }
}

// The runtime: what it answers.

#[test]
fn d12_every_answer_of_ours_names_its_request_and_has_no_seq() {
    for frame in one_of_each() {
        for is_refused in [false, true] {
            let mut session = serving();
            let request = ask(&mut session, &frame).unwrap();
            if is_refused {
                session.fail_request(start(), request, no()).unwrap();
            } else {
                answer(&mut session, &frame, request).unwrap();
            }
            let sent = sent_json(&mut session, start()).remove(0);
            assert_eq!(sent["payload"]["request_id"], frame["id"], "{sent}");
            assert_eq!(sent.get("event_seq"), None, "{sent}");
            assert_eq!((&sent["session_id"], &sent["arcp"]), (&json!("sess_1"), &json!("1.1")));
            assert_eq!(sent["payload"].get("reply_to"), None, "a dialect's, off by default");
        }
    }
}

#[test]
fn d34_what_we_send_has_the_job_in_both_places() {
    for frame in one_of_each().into_iter().take(3) {
        let mut session = serving();
        let request = ask(&mut session, &frame).unwrap();
        answer(&mut session, &frame, request).unwrap();
        let sent = sent_json(&mut session, start()).remove(0);
        assert_eq!((&sent["job_id"], &sent["payload"]["job_id"]), (&json!("job_1"), &json!("job_1")), "{sent}");
    }
    let mut client = open();
    client.cancel(start(), &job(), None).unwrap();
    client.subscribe(start(), &job(), None).unwrap();
    client.unsubscribe(start(), &job()).unwrap();
    for sent in sent_json(&mut client, start()) {
        assert_eq!((&sent["job_id"], &sent["payload"]["job_id"]), (&json!("job_1"), &json!("job_1")), "{sent}");
    }
}

#[test]
fn d34_the_job_of_a_request_is_taken_from_either_place() {
    for name in ["job.cancel", "job.subscribe", "job.unsubscribe"] {
        let in_payload = request(name, "m", json!({"job_id": "job_7"}));
        let in_envelope = with(request(name, "m", json!({})), json!({"job_id": "job_7"}));
        let in_both = with(in_payload.clone(), json!({"job_id": "job_7"}));
        let null_in_payload = with(request(name, "m", json!({"job_id": null})), json!({"job_id": "job_7"}));
        for frame in [in_payload, in_envelope, in_both, null_in_payload] {
            let mut session = serving();
            feed(&mut session, start(), &frame);
            let events = runtime_events(&mut session);
            let job = match &events[..] {
                [RuntimeEvent::Cancel { job_id, .. }]
                | [RuntimeEvent::Subscribe { job_id, .. }]
                | [RuntimeEvent::Unsubscribe { job_id }] => job_id,
                other => panic!("{frame}: {other:?}"),
            };
            assert_eq!(job.as_str(), "job_7", "{frame}");
        }
        let mut session = serving();
        feed(&mut session, start(), &request(name, "m", json!({})));
        let answers = sent_json(&mut session, start());
        assert_eq!(answers[0]["payload"]["code"], "INVALID_REQUEST", "{name} without a job");
        assert_eq!(answers[0]["payload"]["request_id"], "m");
    }
}

#[test]
fn d34_two_places_that_disagree_are_an_invalid_request() {
    for name in ["job.cancel", "job.subscribe", "job.unsubscribe"] {
        let mut session = serving();
        let frame = with(request(name, "m", json!({"job_id": "job_7"})), json!({"job_id": "job_8"}));
        feed(&mut session, start(), &frame);
        assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Violation(_)]), "{name}");
        let answers = sent_json(&mut session, start());
        assert_eq!(types(&answers), ["session.error"]);
        assert_eq!(answers[0]["payload"]["code"], "INVALID_REQUEST");
        assert_eq!(answers[0]["payload"]["request_id"], "m");
    }
    let mut client = open();
    let frame =
        with(log_frame(1), json!({"job_id": "job_8", "payload": {"kind": "log", "body": {}, "job_id": "job_7"}}));
    assert_eq!(hear(&mut client, &frame), [Told::Violation]);
    assert_eq!(client.last_event_seq(), 0);
}

#[test]
fn d11_every_refusal_has_a_code_of_the_draft_a_message_and_the_retryable_of_the_code() {
    let retryable = ["INTERNAL_ERROR", "HEARTBEAT_LOST", "TIMEOUT"];
    assert_eq!(ErrorCode::ALL.len(), 15);
    for code in ErrorCode::ALL {
        for frame in one_of_each() {
            let mut session = serving();
            let request = ask(&mut session, &frame).unwrap();
            let lie = WireError { code: code.clone(), message: String::new(), retryable: true, details: None };
            session.fail_request(start(), request, lie).unwrap();
            let sent = sent_json(&mut session, start()).remove(0);
            assert_eq!(sent["type"], "session.error", "never a job.error");
            assert_eq!(sent["session_id"], "sess_1");
            assert_eq!(sent["payload"]["code"], code.as_str());
            assert!(!sent["payload"]["message"].as_str().unwrap().is_empty());
            assert_eq!(sent["payload"]["retryable"], retryable.contains(&code.as_str()), "{code}");
            assert_eq!(sent["payload"].get("details"), None, "no null");
        }
    }
}

#[test]
fn d11_a_refusal_carries_its_details_and_the_job_of_the_request() {
    let mut session = serving();
    let frame = request("job.cancel", "m", json!({"job_id": "job_1"}));
    let request = ask(&mut session, &frame).unwrap();
    let error = WireError::new(ErrorCode::JobNotFound, "no such job")
        .with_details(RawJson::from_text(r#"{"hint":1}"#).unwrap());
    session.fail_request(start(), request, error).unwrap();
    let sent = sent_json(&mut session, start()).remove(0);
    assert_eq!((&sent["job_id"], &sent["payload"]["job_id"]), (&json!("job_1"), &json!("job_1")));
    assert_eq!(sent["payload"]["details"], json!({"hint": 1}));
    assert_eq!(sent["payload"]["message"], "no such job");
}

#[test]
fn d33_requests_without_their_feature_get_an_error_with_their_id() {
    let without = |name: &str| match name {
        "session.list_jobs" => Feature::ListJobs,
        _ => Feature::Subscribe,
    };
    for name in ["session.list_jobs", "job.subscribe", "job.unsubscribe"] {
        let mut session = runtime_alone(runtime_config(), FeatureSet::all().without(without(name)));
        feed(&mut session, start(), &request(name, "m", json!({"job_id": "job_1"})));
        let events = runtime_events(&mut session);
        assert!(matches!(events[..], [RuntimeEvent::Violation(_)]), "{name}: {events:?}");
        let answers = sent_json(&mut session, start());
        assert_eq!(types(&answers), ["session.error"]);
        assert_eq!(answers[0]["payload"]["code"], "INVALID_REQUEST");
        assert_eq!(answers[0]["payload"]["request_id"], "m");
    }
}

#[test]
fn d8_an_answer_to_nothing_changes_nothing() {
    let mut session = serving();
    let frames = one_of_each();
    let requests: Vec<_> = frames.iter().map(|frame| ask(&mut session, frame).unwrap()).collect();
    for (frame, request) in frames.iter().zip(&requests) {
        answer(&mut session, frame, *request).unwrap();
    }
    let _ = sent(&mut session, start());
    for (frame, request) in frames.iter().zip(&requests) {
        assert_eq!(answer(&mut session, frame, *request), Err(AnswerError::UnknownRequest));
        assert_eq!(session.fail_request(start(), *request, no()), Err(AnswerError::UnknownRequest));
    }
    assert!(sent(&mut session, start()).is_empty() && runtime_events(&mut session).is_empty());
}

#[test]
fn d12_an_answer_that_cannot_be_taken_leaves_the_request_open() {
    let frames = one_of_each();
    for (asked_at, frame) in frames.iter().enumerate() {
        let mut session = serving();
        let request = ask(&mut session, frame).unwrap();
        for (at, other) in frames.iter().enumerate().filter(|(at, _)| *at != asked_at) {
            let wrong = answer(&mut session, other, request);
            assert!(matches!(wrong, Err(AnswerError::WrongKind(_))), "{at} for {asked_at}: {wrong:?}");
        }
        let foreign = WireError::new(ErrorCode::from("X_OURS"), "m");
        assert_eq!(session.fail_request(start(), request, foreign), Err(AnswerError::ForeignCode));
        let endless = WireError::new(ErrorCode::InternalError, "x".repeat(1 << 20));
        let too_large = session.fail_request(start(), request, endless);
        assert!(matches!(too_large, Err(AnswerError::TooLarge { limit: 0x10_0000, .. })), "{too_large:?}");
        assert!(sent(&mut session, start()).is_empty());
        answer(&mut session, frame, request).unwrap();
        assert_eq!(sent(&mut session, start()).len(), 1);
    }
}

#[test]
fn a5_an_answer_may_not_use_what_was_not_negotiated() {
    let mut session = runtime_alone(runtime_config(), only(&[Feature::Subscribe]));
    let submit = ask(&mut session, &submit_frame("m")).unwrap();
    let mut taken = job_taken();
    taken.credentials = Some(Vec::new());
    let missing = Err(AnswerError::FeatureNotNegotiated(Feature::ProvisionedCredentials));
    assert_eq!(session.accept_job(start(), submit, taken), missing);
    assert!(sent(&mut session, start()).is_empty());
    session.accept_job(start(), submit, job_taken()).unwrap();
    assert_eq!(sent(&mut session, start()).len(), 1);
}

#[test]
fn d12_our_accepted_always_has_what_peers_need() {
    let mut session = serving();
    let request = ask(&mut session, &submit_frame("m")).unwrap();
    session.accept_job(start(), request, JobAccepted { accepted_at: None, ..job_taken() }).unwrap();
    let sent = sent_json(&mut session, start()).remove(0);
    assert_eq!(sent["payload"]["accepted_at"], "2026-05-13T19:42:13.000Z");
    assert_eq!((&sent["payload"]["lease"], &sent["payload"]["agent"]), (&json!({}), &json!("code-refactor@2.0.0")));
    let nulls = sent["payload"].as_object().unwrap().values().filter(|value| value.is_null()).count();
    assert_eq!(nulls, 0, "{sent}");
}

// Both sides.

#[test]
fn d12_client_and_runtime_out_of_order() {
    let mut pair = Pair::connected();
    let now = pair.now;
    let requests: Vec<_> = (0..8).map(|_| pair.client.submit(now, &work()).unwrap()).collect();
    pair.flush();
    let asked: Vec<_> = pair.take_runtime_events().iter().filter_map(request_of).collect();
    for (n, request) in asked.iter().enumerate().rev() {
        if n % 2 == 0 {
            let taken = JobAccepted::new(JobId::from(format!("job_{n}")), "a@1", now.wall);
            pair.runtime().accept_job(now, *request, taken).unwrap();
        } else {
            pair.runtime().fail_request(now, *request, no()).unwrap();
        }
    }
    pair.flush();
    let mut expected: Vec<_> = (0..8).rev().map(|n| (requests[n], n % 2 == 0)).collect();
    for event in pair.take_client_events() {
        let (expected_request, is_taken) = expected.remove(0);
        match event {
            ClientEvent::Accepted { request, accepted } => {
                assert!(is_taken && request == Some(expected_request), "{accepted:?}");
            }
            ClientEvent::RequestFailed { request, .. } => assert!(!is_taken && request == expected_request),
            other => panic!("{other:?}"),
        }
    }
    assert!(expected.is_empty());
}

#[test]
fn d12_a_submit_whose_answer_was_lost_is_repeated_with_its_key_by_the_application() {
    let mut pair = Pair::connected();
    let now = pair.now;
    let keyed = work().with_idempotency_key("key-1");
    let first = pair.client.submit(now, &keyed).unwrap();
    pair.flush();
    pair.cut();
    let failed = pair.take_client_events();
    assert!(
        matches!(failed[..], [ClientEvent::RequestFailed { request, failure: RequestFailure::Disconnected }, _] if request == first)
    );
    pair.resume();
    pair.take_client_events();
    pair.take_runtime_events();
    pair.client.submit(now, &keyed).unwrap();
    pair.flush();
    let events = pair.take_runtime_events();
    let [RuntimeEvent::Submit { submit, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(submit.idempotency_key.as_deref(), Some("key-1"));
}

#[test]
fn d12_a_runtime_that_never_answers_costs_the_client_30_seconds() {
    let mut pair = Pair::connected();
    let now = pair.now;
    let request = pair.client.list_jobs(now, &JobQuery::default()).unwrap();
    pair.advance(millis(29_999));
    assert!(pair.take_client_events().is_empty());
    pair.advance(millis(1));
    let events = pair.take_client_events();
    assert!(
        matches!(events[..], [ClientEvent::RequestFailed { request: r, failure: RequestFailure::TimedOut }] if r == request)
    );
    let asked = pair.take_runtime_events().iter().find_map(request_of).unwrap();
    let now = pair.now;
    pair.runtime().respond_jobs(now, asked, JobPage::default()).unwrap();
    pair.flush();
    assert!(pair.take_client_events().is_empty(), "too late");
}

#[test]
fn a11_a_query_arrives_whole_and_its_pages_lead_on() {
    let mut pair = Pair::connected();
    let now = pair.now;
    let all: Vec<_> = (0..5)
        .map(|n| {
            let at = Timestamp::from_unix_millis(1_778_701_333_000 - n);
            JobEntry::new(JobId::from(format!("job_{n}")), "code-refactor@2.0.0", JobStatus::Running, at)
        })
        .collect();
    let wanted = JobQuery::default()
        .with_status([JobStatus::Running, JobStatus::Pending])
        .with_agent("code-refactor")
        .with_created_after(Timestamp::from_unix_millis(0))
        .with_limit(2);
    let mut query = wanted.clone();
    let mut listed = Vec::new();
    for page in 0..3 {
        let request = pair.client.list_jobs(now, &query).unwrap();
        pair.flush();
        let events = pair.take_runtime_events();
        let [RuntimeEvent::ListJobs { request: asked, query: arrived }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(**arrived, query);
        let from: usize = arrived.cursor.as_ref().map_or(0, |cursor| cursor.parse().unwrap());
        let to = (from + arrived.page_len()).min(all.len());
        let next_cursor = (to < all.len()).then(|| to.to_string());
        let answer = JobPage { jobs: all[from..to].to_vec(), next_cursor };
        pair.runtime().respond_jobs(now, *asked, answer).unwrap();
        pair.flush();
        let events = pair.take_client_events();
        let [ClientEvent::Jobs { request: answered, page: got }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(*answered, request);
        listed.extend(got.jobs.iter().cloned());
        assert_eq!(got.next_cursor.is_some(), page < 2);
        query = match &got.next_cursor {
            Some(cursor) => wanted.clone().with_cursor(cursor.clone()),
            None => query,
        };
    }
    assert_eq!(listed, all);
    let last = pair.transcript.iter().rev().find(|p| p.from == From::Runtime).unwrap().json();
    assert_eq!(last["payload"].get("next_cursor"), Some(&Value::Null), "said, and null");
    assert_eq!(last["payload"]["jobs"][0]["parent_job_id"], Value::Null);
}

#[test]
fn a11_a_limit_beyond_reason_sizes_nothing_and_one_below_1_is_refused() {
    let mut session = serving();
    for limit in [1_000_000_000u64, u64::MAX] {
        feed(&mut session, start(), &request("session.list_jobs", &format!("m{limit}"), json!({"limit": limit})));
        let events = runtime_events(&mut session);
        let [RuntimeEvent::ListJobs { query, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(query.page_len(), 1_000);
    }
    for limit in [json!(0), json!(-1), json!(1.5), json!("many")] {
        feed(&mut session, start(), &request("session.list_jobs", "m", json!({"limit": limit})));
        let answers = sent_json(&mut session, start());
        assert_eq!(answers[0]["payload"]["code"], "INVALID_REQUEST", "{limit}");
        assert_eq!(answers[0]["payload"]["request_id"], "m");
        assert!(matches!(runtime_events(&mut session)[..], [RuntimeEvent::Violation(_)]));
    }
}

#[test]
fn d35_a_result_is_sent_as_result_and_taken_as_output_too() {
    let mut session = serving();
    session.send_result(start(), &job(), JobResult::inline(RawJson::from_text("[1]").unwrap())).unwrap();
    let sent = sent_json(&mut session, start()).remove(0);
    assert_eq!(sent["payload"], json!({"final_status": "success", "result": [1]}));
    for name in ["result", "output"] {
        let mut client = open();
        let frame = with(message("job.result", json!({"final_status": "success", name: [1]})), json!({"job_id": "j"}));
        feed(&mut client, start(), &frame);
        let events = client_events(&mut client);
        let [ClientEvent::Finished { result, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(result.result.as_ref().unwrap().text(), "[1]", "{name}");
    }
}

#[test]
fn d12_the_cancelled_of_ours_is_told_with_the_clients_request() {
    let mut pair = Pair::connected();
    pair.submit();
    let now = pair.now;
    let cancel = pair.client.cancel(now, &job(), Some("enough".into())).unwrap();
    pair.flush();
    let events = pair.take_runtime_events();
    let [RuntimeEvent::Cancel { request, job_id, reason }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((job_id, reason.as_deref()), (&job(), Some("enough")));
    pair.runtime().confirm_cancel(now, *request, Some("enough".into())).unwrap();
    pair.flush();
    let events = pair.take_client_events();
    let [ClientEvent::Cancelled { request, delivery }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*request, delivery.seq()), (Some(cancel), None));
    let cancelled: JobCancelled = delivery.envelope().payload().unwrap();
    assert_eq!(cancelled.reason.as_deref(), Some("enough"));
}

#[test]
fn d32_a_refused_goodbye_fails_no_request_by_guess() {
    let mut session = open();
    let asked = submit(&mut session);
    session.close(start(), "normal");
    let told = hear(&mut session, &error(json!({})));
    assert_eq!(told, [Told::Error, Told::Disconnected(asked.request), Told::Closed]);
}
