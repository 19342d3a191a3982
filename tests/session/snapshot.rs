//! What outlives a process: what a snapshot holds, what may be stored beside it, and how a session goes on from it.

use std::sync::Arc;
use std::time::Duration;

use arcp_proto::wire::{
    AgentInfo, Envelope, ErrorCode, JobAccepted, JobQuery, JobSubmit, RawJson, ResumeToken, WireError,
};
use arcp_proto::{
    AckPolicy, AnswerError, Client, ClientConfig, ClientEvent, ClientSnapshot, CloseReason, DetachReason, Feature,
    FeatureSet, GapPolicy, Instant, Now, Opening, Overflow, Phase, RefusedBecause, RequestId, RestoreError,
    ResumeError, ResumeRefused, Runtime, RuntimeConfig, RuntimeEvent, RuntimeSnapshot, SendError, Session, Takeover,
    Timer, Timestamp,
};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::pair::{
    Pair, client_alone, client_config, client_events, feed, job, log_frame, message, millis, only, open, principal,
    runtime_alone, runtime_config, runtime_events, secs, sent, sent_json, serving, start, token, types, welcome,
};
use crate::worst_peer::{Dice, frame, garbled};

/// The clock of another machine: another monotonic origin, and a wall clock that is five minutes off.
pub(crate) fn elsewhere() -> Now {
    Now::new(Instant::from_millis(17), Timestamp::from_unix_millis(1_778_701_033_000))
}

/// As a store gives it back.
pub(crate) fn stored<T: Serialize + DeserializeOwned>(snapshot: &T) -> T {
    serde_json::from_str(&serde_json::to_string(snapshot).unwrap()).unwrap()
}

pub(crate) fn agents() -> Arc<[AgentInfo]> {
    Arc::from([AgentInfo::new("code-refactor", ["1.0.0", "2.0.0"])])
}

/// The runtime's session, as another process has it.
pub(crate) fn revived(session: &Session<Runtime>, config: RuntimeConfig, now: Now) -> Session<Runtime> {
    restore(config, now, stored(&session.snapshot()), session.events_since(0)).unwrap()
}

fn restore(
    config: RuntimeConfig,
    now: Now,
    snapshot: RuntimeSnapshot,
    events: impl IntoIterator<Item = (u64, Bytes)>,
) -> Result<Session<Runtime>, RestoreError> {
    Session::<Runtime>::restore(now, Arc::new(config), agents(), snapshot, events)
}

/// The client's session, as another process has it.
pub(crate) fn revived_client(session: &Session<Client>, config: ClientConfig, now: Now) -> Session<Client> {
    Session::<Client>::restore(now, config, stored(&session.snapshot())).unwrap()
}

fn edited(snapshot: &impl Serialize, edit: impl FnOnce(&mut Value)) -> Value {
    let mut value = serde_json::to_value(snapshot).unwrap();
    edit(&mut value);
    value
}

/// A resume by hand with `token(n)`, that has all up to `last`.
fn resume(runtime: &mut Session<Runtime>, now: Now, n: u64, last: u64, next: u64) -> Result<Takeover, ResumeRefused> {
    let hello = json!({"id": "r1", "type": "session.hello", "payload": {
        "auth": {"scheme": "bearer", "token": "secret-bearer"},
        "resume": {"resume_token": token(n).reveal(), "last_event_seq": last},
    }});
    let Ok(Opening::Resume(attempt)) = Opening::parse(Bytes::from(hello.to_string()), &Default::default()) else {
        panic!("no resume")
    };
    runtime.resume(now, attempt, &principal(), token(next))
}

fn emit(runtime: &mut Session<Runtime>, now: Now, count: u64) {
    for _ in 0..count {
        let next = runtime.last_event_seq() + 1;
        assert_eq!(runtime.send_event(now, &job(), "log", &json!({"message": next})), Ok(next));
    }
}

fn ack(runtime: &mut Session<Runtime>, now: Now, seq: u64) {
    feed(runtime, now, &message("session.ack", json!({"last_processed_seq": seq})));
}

/// A runtime alone that has emitted and sent `count` events.
fn attached(config: RuntimeConfig, features: FeatureSet, count: u64) -> Session<Runtime> {
    let mut runtime = runtime_alone(config, features);
    emit(&mut runtime, start(), count);
    assert_eq!(sent(&mut runtime, start()).len() as u64, count);
    runtime_events(&mut runtime);
    runtime
}

/// The same, which has lost its transport.
fn parked(config: RuntimeConfig, features: FeatureSet, count: u64) -> Session<Runtime> {
    let mut runtime = attached(config, features, count);
    runtime.handle_disconnect(start());
    runtime_events(&mut runtime);
    runtime
}

fn seqs(frames: &[Value]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame["event_seq"].as_u64()).collect()
}

fn submit_frame(id: &str) -> Value {
    let mut submit = message("job.submit", json!({"agent": "a", "input": {}}));
    submit["id"] = json!(id);
    submit
}

fn asked_submit(runtime: &mut Session<Runtime>) -> RequestId {
    match runtime_events(runtime)[..] {
        [RuntimeEvent::Submit { request, .. }] => request,
        ref other => panic!("no submit: {other:?}"),
    }
}

// The form.

#[test]
fn the_serialised_form_of_version_1_of_a_runtime() {
    let mut runtime = serving();
    feed(&mut runtime, start(), &submit_frame("m1"));
    let request = asked_submit(&mut runtime);
    runtime.accept_job(start(), request, JobAccepted::new(job(), "a@1", start().wall)).unwrap();
    emit(&mut runtime, start(), 3);
    sent(&mut runtime, start());
    ack(&mut runtime, start(), 1);
    emit(&mut runtime, start(), 1);
    runtime.handle_disconnect(start());
    runtime.handle_timeout(start().after(millis(1_500)));
    let features: Vec<_> = Feature::ALL.iter().map(|feature| feature.name()).collect();
    let digest: String = token(1).digest().iter().map(|byte| format!("{byte:02x}")).collect();
    let answer =
        r#"{"request_id":"m1","job_id":"job_1","agent":"a@1","lease":{},"accepted_at":"2026-05-13T19:42:13.000Z"}"#;
    let form = json!({
        "version": 1,
        "session_id": "sess_1",
        "principal": "alice",
        "peer": {"name": "hand", "version": "1"},
        "features": features,
        "token": digest,
        "presented_token": null,
        "window": {"floor": 1, "highest": 4, "transmitted": 3, "acked": 1},
        "under_pressure": false,
        "answered": {"requests": 1, "answers": [
            {"message_id": "m1", "type": "job.accepted", "job_id": "job_1", "payload": answer},
        ]},
        "counters": {"epoch": 1, "minted": 6},
        "lost": {"window_left_ms": 598_500, "retention_left_ms": 86_398_500, "window_is_over": false, "sent_at_most": 3},
    });
    let snapshot = runtime.snapshot();
    assert_eq!(serde_json::to_value(&snapshot).unwrap(), form);
    assert_eq!(serde_json::to_value(stored(&snapshot)).unwrap(), form, "it comes back as it went");
    assert_eq!(snapshot.session_id(), runtime.session_id().unwrap());
    assert_eq!((snapshot.principal(), snapshot.last_event_seq(), snapshot.replay_floor()), (&principal(), 4, 1));
    assert_eq!(snapshot.token_digests().collect::<Vec<_>>(), [token(1).digest()]);
    assert_eq!(serde_json::to_value(serving().snapshot()).unwrap()["lost"], Value::Null, "attached");
}

#[test]
fn the_serialised_form_of_version_1_of_a_client() {
    let mut client = Session::connect(start(), client_config());
    sent(&mut client, start());
    let mut hello = welcome(only(&[Feature::Ack, Feature::Heartbeat]));
    hello["payload"]["capabilities"]["agents"] = json!([{"name": "a", "versions": ["1"], "default": "1"}]);
    feed(&mut client, start(), &hello);
    (1..=3).for_each(|seq| feed(&mut client, start(), &log_frame(seq)));
    client_events(&mut client);
    client.mark_processed(start(), 2).unwrap();
    client.flush_acks(start()).unwrap();
    sent(&mut client, start());
    client.mark_processed(start(), 3).unwrap();
    client.submit(start(), &JobSubmit::new("a", RawJson::empty_object())).unwrap();
    client.handle_disconnect(start());
    client.handle_timeout(start().after(millis(1_500)));
    let form = json!({
        "version": 1,
        "session": {
            "session_id": "sess_1",
            "resume_token": "rt_first",
            "runtime": {"name": "hand", "version": "1"},
            "agents": [{"name": "a", "versions": ["1"], "default": "1"}],
            "features": ["heartbeat", "ack"],
            "heartbeat_interval_ms": 30_000,
            "resume_window_ms": 600_000,
        },
        "cursor": {"processed": 3, "marked": 3, "ever_said": 2},
        "retried": null,
        "asked": {"requests": 1, "live_jobs": ["job_1"], "ended_jobs": []},
        "counters": {"epoch": 1, "minted": 3},
        "window_left_ms": 598_500,
    });
    let snapshot = client.snapshot();
    assert_eq!(serde_json::to_value(&snapshot).unwrap(), form);
    assert_eq!(serde_json::to_value(stored(&snapshot)).unwrap(), form, "it comes back as it went");
    assert_eq!((snapshot.session_id(), snapshot.last_processed_seq()), (client.session_id(), 3));
    assert_eq!(serde_json::to_value(open().snapshot()).unwrap()["window_left_ms"], Value::Null, "attached");
}

#[test]
fn another_version_is_refused_and_unknown_members_are_ignored() {
    let (runtime, client) = (serving().snapshot(), open().snapshot());
    for version in [json!(0), json!(2), json!(1u64 << 40), json!("1"), Value::Null] {
        let edit = |value: &mut Value| value["version"] = version.clone();
        assert!(serde_json::from_value::<RuntimeSnapshot>(edited(&runtime, edit)).is_err(), "{version}");
        assert!(serde_json::from_value::<ClientSnapshot>(edited(&client, edit)).is_err(), "{version}");
    }
    let later = serde_json::to_string(&runtime).unwrap().replacen("\"version\":1", "\"version\":7", 1);
    let error = serde_json::from_str::<RuntimeSnapshot>(&later).unwrap_err().to_string();
    assert!(error.starts_with("a snapshot of version 7, not 1"), "{error}");
    let more = |value: &mut Value| {
        value["later"] = json!([1]);
        value["counters"]["later"] = json!("x");
    };
    let more_runtime: RuntimeSnapshot = serde_json::from_value(edited(&runtime, more)).unwrap();
    assert_eq!(serde_json::to_value(more_runtime).unwrap(), serde_json::to_value(&runtime).unwrap());
    let more_client: ClientSnapshot = serde_json::from_value(edited(&client, more)).unwrap();
    assert_eq!(serde_json::to_value(more_client).unwrap(), serde_json::to_value(&client).unwrap());
}

#[test]
fn snapshots_are_values_of_their_own() {
    fn is_value<T: Clone + std::fmt::Debug + Send + Sync + 'static>() {}
    is_value::<RuntimeSnapshot>();
    is_value::<ClientSnapshot>();
}

// D3: secrets and ids.

#[test]
fn d3_a_runtimes_snapshot_holds_no_token_and_prints_none() {
    let mut runtime = parked(runtime_config(), FeatureSet::all(), 2);
    resume(&mut runtime, start(), 1, 2, 2).unwrap();
    let snapshot = runtime.snapshot();
    let (text, printed) = (serde_json::to_string(&snapshot).unwrap(), format!("{snapshot:?} {snapshot:#?}"));
    for secret in [token(1), token(2)] {
        let digest: String = secret.digest().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!text.contains(secret.reveal()) && !printed.contains(secret.reveal()));
        assert!(text.contains(&digest) && !printed.contains(&digest));
    }
    assert!(!text.contains("secret-bearer"));
    let digests: Vec<_> = snapshot.token_digests().collect();
    assert_eq!(digests, [token(2).digest(), token(1).digest()], "the next and the presented one");
}

#[test]
fn d3_a_clients_snapshot_holds_the_token_and_does_not_print_it() {
    let client = open();
    let snapshot = client.snapshot();
    assert!(serde_json::to_string(&snapshot).unwrap().contains("rt_first"), "it resumes with it");
    assert!(!serde_json::to_string(&snapshot).unwrap().contains("secret-bearer"), "the configuration has that");
    assert!(!format!("{snapshot:?} {snapshot:#?}").contains("rt_first"));
}

#[test]
fn d3_both_tokens_are_good_after_a_restore_until_the_client_speaks() {
    let mut runtime = parked(runtime_config(), FeatureSet::all(), 1);
    resume(&mut runtime, start(), 1, 1, 2).unwrap();
    sent(&mut runtime, start());
    for presented in [1, 2] {
        let mut restored = revived(&runtime, runtime_config(), elsewhere());
        assert_eq!(resume(&mut restored, elsewhere(), 3, 1, 9).unwrap_err().reason(), RefusedBecause::Token);
        resume(&mut restored, elsewhere(), presented, 1, 3).unwrap();
    }
    ack(&mut runtime, start(), 1);
    let mut restored = revived(&runtime, runtime_config(), elsewhere());
    assert_eq!(resume(&mut restored, elsewhere(), 1, 1, 3).unwrap_err().reason(), RefusedBecause::Token);
}

#[test]
fn d3_a_restored_clients_ids_are_behind_those_of_attempts_that_no_snapshot_knows_of() {
    let mut client = open();
    let snapshot = client.snapshot();
    let mut ids = std::collections::BTreeSet::new();
    let mut note = |frames: &[Bytes]| {
        for frame in frames {
            let id = Envelope::decode(frame.clone()).unwrap().id().unwrap().into_owned();
            assert!(ids.insert(id.clone()), "{id} twice");
        }
    };
    // No welcome comes, so nobody is told of anything that should be stored.
    for _ in 0..5 {
        client.handle_disconnect(start());
        client.resume(start()).unwrap();
        note(&sent(&mut client, start()));
    }
    let mut restored = Session::<Client>::restore(start(), client_config(), stored(&snapshot)).unwrap();
    for _ in 0..5 {
        restored.resume(start()).unwrap();
        note(&sent(&mut restored, start()));
        feed(&mut restored, start(), &welcome(FeatureSet::all()));
        restored.list_jobs(start(), &JobQuery::default()).unwrap();
        restored.list_jobs(start(), &JobQuery::default()).unwrap();
        note(&sent(&mut restored, start()));
        restored.handle_disconnect(start());
        client_events(&mut restored);
    }
}

#[test]
fn d3_message_ids_never_repeat_across_restores_however_old_the_header() {
    let mut ids = std::collections::BTreeSet::new();
    let mut note = |frames: &[Bytes]| {
        for frame in frames {
            let id = Envelope::decode(frame.clone()).unwrap().id().unwrap().into_owned();
            assert!(ids.insert(id.clone()), "{id} twice");
        }
    };
    let mut runtime = serving();
    let header = runtime.snapshot();
    emit(&mut runtime, start(), 5);
    let sent_first = sent(&mut runtime, start());
    note(&sent_first);
    let mut events: Vec<_> = runtime.events_since(0).collect();
    // Every process dies with what it emitted appended and the header as it was in the first.
    for process in 0..4 {
        let mut restored = restore(runtime_config(), start(), stored(&header), events.clone()).unwrap();
        let last = restored.last_event_seq();
        emit(&mut restored, start(), 2);
        let new: Vec<_> = restored.events_since(last).collect();
        note(&new.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>());
        events.extend(new);
        if process == 3 {
            resume(&mut restored, start(), 1, 0, 2).unwrap();
            let frames = sent(&mut restored, start());
            assert_eq!(frames.len(), 1 + events.len());
            note(&frames[..1]);
            feed(&mut restored, start(), &message("session.ping", json!({"nonce": "n"})));
            note(&sent(&mut restored, start()));
        }
    }
}

#[test]
fn d3_a_clients_message_and_request_ids_never_repeat_across_a_restore() {
    let mut client = open();
    let snapshot = client.snapshot();
    let query = JobQuery::default();
    let first: Vec<_> = (0..3).map(|_| client.list_jobs(start(), &query).unwrap()).collect();
    let mut ids: Vec<_> = sent_json(&mut client, start()).iter().map(|frame| frame["id"].clone()).collect();
    let later = client.snapshot();
    for (snapshot, is_later) in [(snapshot, false), (later, true)] {
        let mut restored = Session::<Client>::restore(start(), client_config(), stored(&snapshot)).unwrap();
        assert_eq!(restored.attachment(), 2);
        restored.resume(start()).unwrap();
        feed(&mut restored, start(), &welcome(FeatureSet::all()));
        let request = restored.list_jobs(start(), &query).unwrap();
        assert!(!is_later || !first.contains(&request));
        ids.extend(sent_json(&mut restored, start()).iter().map(|frame| frame["id"].clone()));
        let distinct: std::collections::BTreeSet<_> = ids.iter().map(Value::to_string).collect();
        assert_eq!(distinct.len(), ids.len(), "{ids:?}");
        ids.truncate(3);
    }
}

// What may be stored: the header, and the events beside it.

#[test]
fn events_since_gives_what_is_behind_and_is_still_here() {
    let mut runtime = parked(runtime_config(), FeatureSet::all(), 5);
    resume(&mut runtime, start(), 1, 5, 2).unwrap();
    ack(&mut runtime, start(), 2);
    let since = |seq| runtime.events_since(seq).map(|(seq, _)| seq).collect::<Vec<_>>();
    assert_eq!([since(0), since(1), since(2)], [[3, 4, 5], [3, 4, 5], [3, 4, 5]]);
    assert_eq!((since(4), since(5), since(6), since(u64::MAX)), (vec![5], vec![], vec![], vec![]));
    for (seq, frame) in runtime.events_since(0) {
        assert_eq!(Envelope::decode(frame).unwrap().event_seq(), Some(seq));
    }
}

/// Which events go with a header whose floor is 2 and which knows of 5, in what came of it: floor and highest.
#[test]
fn what_goes_with_a_header() {
    let mut runtime = parked(runtime_config(), FeatureSet::all(), 5);
    let all: Vec<_> = runtime.events_since(0).collect();
    resume(&mut runtime, start(), 1, 5, 2).unwrap();
    ack(&mut runtime, start(), 2);
    let header = runtime.snapshot();
    sent(&mut runtime, start());
    emit(&mut runtime, start(), 3);
    let all: Vec<_> = all.into_iter().chain(runtime.events_since(5)).collect();
    let given = |seqs: &[u64]| seqs.iter().map(|seq| all[*seq as usize - 1].clone()).collect::<Vec<_>>();
    for (seqs, expected) in [
        // As it was taken, and with what was emitted since.
        (&[3, 4, 5][..], Ok((2, 5))),
        (&[3, 4, 5, 6, 7, 8], Ok((2, 8))),
        // The store deletes late: what the header has freed is skipped, whole or not.
        (&[1, 2, 3, 4, 5], Ok((2, 5))),
        (&[1, 3, 4, 5], Ok((2, 5))),
        // It deletes early: the floor rises.
        (&[5], Ok((4, 5))),
        (&[4, 5, 6], Ok((3, 6))),
        (&[8], Ok((7, 8))),
        // The last that the header knows of are missing.
        (&[], Err(RestoreError::EventsMissing { last: 2, known: 5 })),
        (&[1, 2], Err(RestoreError::EventsMissing { last: 2, known: 5 })),
        (&[3, 4], Err(RestoreError::EventsMissing { last: 4, known: 5 })),
        // A hole, a repetition, another order.
        (&[3, 5], Err(RestoreError::Hole { expected: 4, found: 5 })),
        (&[3, 4, 5, 7], Err(RestoreError::Hole { expected: 6, found: 7 })),
        (&[3, 4, 4, 5], Err(RestoreError::Hole { expected: 5, found: 4 })),
        (&[5, 4, 3], Err(RestoreError::Hole { expected: 6, found: 4 })),
    ] {
        let restored = restore(runtime_config(), elsewhere(), stored(&header), given(seqs));
        let got = restored.map(|session| (session.replay_floor(), session.last_event_seq()));
        assert_eq!(got, expected, "{seqs:?}");
    }
    // Everything freed, and known to be.
    ack(&mut runtime, start(), 5);
    sent(&mut runtime, start());
    ack(&mut runtime, start(), 8);
    let restored = restore(runtime_config(), elsewhere(), stored(&runtime.snapshot()), []).unwrap();
    assert_eq!((restored.replay_floor(), restored.last_event_seq(), restored.replay_len()), (8, 8, (0, 0)));
}

#[test]
fn a_frame_that_is_not_the_event_is_refused() {
    let runtime = parked(runtime_config(), FeatureSet::all(), 1);
    let header = runtime.snapshot();
    let frame = runtime.events_since(0).next().unwrap().1;
    let text = String::from_utf8(frame.to_vec()).unwrap();
    for (frame, reason) in [
        (text.replace("sess_1", "sess_2"), "it is another session's"),
        (text.replace("\"session_id\":\"sess_1\",", ""), "it is another session's"),
        (text.replace("\"event_seq\":1", "\"event_seq\":2"), "it has another number"),
        (text.replace("\"event_seq\":1,", ""), "it has another number"),
        (text.replace("job.event", "job.accepted"), "it is no event"),
        (text.replace("job.event", "x-vendor.event"), "it is no event"),
        (text.replace("{\"arcp\"", "{\n\"arcp\""), "it holds a line end"),
        (text.replace("\"message\":1", "\"message\":\"\u{2028}\""), "it holds a line end"),
        (text[..text.len() - 1].to_owned(), "it is no envelope"),
        (String::new(), "it is no envelope"),
    ] {
        let error = restore(runtime_config(), elsewhere(), stored(&header), [(1, Bytes::from(frame.clone()))]).err();
        assert_eq!(error, Some(RestoreError::NotTheEvent { seq: 1, reason }), "{frame}");
    }
}

#[test]
fn a_header_that_contradicts_itself_is_refused() {
    let mut runtime = serving();
    feed(&mut runtime, start(), &submit_frame("m1"));
    let request = asked_submit(&mut runtime);
    runtime.accept_job(start(), request, JobAccepted::new(job(), "a@1", start().wall)).unwrap();
    emit(&mut runtime, start(), 3);
    let (snapshot, events) = (runtime.snapshot(), runtime.events_since(0).collect::<Vec<_>>());
    let limit = json!(1u64 << 53);
    for (path, value) in [
        ("/window/floor", json!(4)),
        ("/window/acked", json!(1)),
        ("/window/transmitted", json!(4)),
        ("/window/highest", limit.clone()),
        ("/counters/epoch", json!((1u64 << 62) + 1)),
        ("/counters/minted", json!(u64::MAX)),
        ("/answered/requests", json!(u64::MAX)),
        ("/answered/answers/0/payload", json!("{")),
        ("/answered/answers/0/payload", json!("[]")),
        ("/answered/answers/0/payload", json!("{},\"id\":\"x\"")),
        ("/answered/answers/0/payload", json!(format!("{{\"a\":{}{}}}", "[".repeat(127), "]".repeat(127)))),
        ("/answered/answers/0/type", json!("session.welcome")),
        ("/answered/answers/0/type", json!("x-vendor.thing")),
        ("/answered/answers/0/message_id", json!("")),
        ("/answered/answers/0/job_id", json!("j".repeat(257))),
        ("/session_id", json!("")),
        ("/session_id", json!("s".repeat(257))),
    ] {
        let edit = |header: &mut Value| *header.pointer_mut(path).unwrap() = value.clone();
        let header = serde_json::from_value(edited(&snapshot, edit)).unwrap();
        let error = restore(runtime_config(), elsewhere(), header, events.clone()).err();
        assert!(matches!(error, Some(RestoreError::Header(_))), "{path} {value}: {error:?}");
    }
    let mut client = open();
    (1..=3).for_each(|seq| feed(&mut client, start(), &log_frame(seq)));
    for (path, value) in [
        ("/cursor/marked", json!(1)),
        ("/cursor/ever_said", json!(1)),
        ("/cursor/processed", limit.clone()),
        ("/retried", json!(u64::MAX)),
        ("/asked/requests", json!(u64::MAX - 1)),
        ("/counters/epoch", json!(u64::MAX)),
        ("/session/session_id", json!("")),
    ] {
        let edit = |header: &mut Value| *header.pointer_mut(path).unwrap() = value.clone();
        let header = serde_json::from_value(edited(&client.snapshot(), edit)).unwrap();
        let error = Session::<Client>::restore(elsewhere(), client_config(), header).err();
        assert!(matches!(error, Some(RestoreError::Header(_))), "{path} {value}: {error:?}");
    }
}

#[test]
fn what_is_left_is_clamped_to_what_a_clock_can_add() {
    let edit = |header: &mut Value| {
        header["lost"] = json!({
            "window_left_ms": u64::MAX, "retention_left_ms": u64::MAX, "window_is_over": false, "sent_at_most": u64::MAX,
        });
    };
    let header = serde_json::from_value(edited(&serving().snapshot(), edit)).unwrap();
    let restored = restore(runtime_config(), elsewhere(), header, []).unwrap();
    let longest = Duration::from_secs(u32::MAX.into());
    assert_eq!(restored.poll_timeout(), Some(elsewhere().mono + longest));
    let edit = |header: &mut Value| header["window_left_ms"] = json!(u64::MAX);
    let header = serde_json::from_value(edited(&open().snapshot(), edit)).unwrap();
    let restored = Session::<Client>::restore(elsewhere(), client_config(), header).unwrap();
    assert_eq!(restored.poll_timeout(), Some(elsewhere().mono + longest));
}

// D14, D24, D19: what counts as transmitted.

#[test]
fn d14_all_that_is_given_and_all_that_the_header_knows_of_counts_as_transmitted() {
    let mut runtime = attached(runtime_config(), FeatureSet::all(), 2);
    let old = runtime.snapshot();
    emit(&mut runtime, start(), 2);
    // Without the restore, 3 and 4 were never transmitted.
    assert_eq!(resume(&mut runtime.clone(), start(), 1, 3, 2).unwrap_err().reason(), RefusedBecause::Sequence);
    for header in [old, runtime.snapshot()] {
        for last in 0..=4 {
            let mut restored =
                restore(runtime_config(), elsewhere(), stored(&header), runtime.events_since(0)).unwrap();
            resume(&mut restored, elsewhere(), 1, last, 2).unwrap();
            let frames = sent_json(&mut restored, elsewhere());
            assert_eq!(types(&frames)[0], "session.welcome");
            assert_eq!(seqs(&frames), (last + 1..=4).collect::<Vec<_>>());
        }
        let mut restored = restore(runtime_config(), elsewhere(), stored(&header), runtime.events_since(0)).unwrap();
        assert_eq!(resume(&mut restored, elsewhere(), 1, 5, 2).unwrap_err().reason(), RefusedBecause::Sequence);
    }
}

#[test]
fn d14_what_a_session_without_a_transport_emitted_was_transmitted_to_nobody() {
    let mut runtime = parked(runtime_config(), FeatureSet::all(), 2);
    let old = runtime.snapshot();
    emit(&mut runtime, start(), 2);
    for header in [old, runtime.snapshot()] {
        let restored = || restore(runtime_config(), elsewhere(), stored(&header), runtime.events_since(0)).unwrap();
        for last in [3, 4] {
            let refused = resume(&mut restored(), elsewhere(), 1, last, 2).unwrap_err();
            assert_eq!(refused.reason(), RefusedBecause::Sequence, "who has {last} has it from elsewhere");
        }
        // It stays so over any number of restores.
        let mut again = revived(&restored(), runtime_config(), elsewhere());
        assert_eq!(resume(&mut again, elsewhere(), 1, 3, 2).unwrap_err().reason(), RefusedBecause::Sequence);
        resume(&mut again, elsewhere(), 1, 2, 2).unwrap();
        assert_eq!(seqs(&sent_json(&mut again, elsewhere())), [3, 4]);
    }
}

#[test]
fn d14_a_replay_after_a_restore_is_verbatim_and_not_from_below_the_floor() {
    let mut runtime = parked(runtime_config(), FeatureSet::all(), 5);
    resume(&mut runtime, start(), 1, 5, 2).unwrap();
    ack(&mut runtime, start(), 2);
    let mut restored = revived(&runtime, runtime_config(), elsewhere());
    assert_eq!(resume(&mut restored, elsewhere(), 2, 1, 3).unwrap_err().reason(), RefusedBecause::Sequence);
    resume(&mut restored, elsewhere(), 2, 2, 3).unwrap();
    let replayed = sent(&mut restored, elsewhere()).split_off(1);
    let original: Vec<_> = runtime.events_since(0).map(|(_, frame)| frame).collect();
    assert_eq!(replayed, original);
    assert_eq!(restored.acked_seq(), 2);
    // And the sequence goes on.
    emit(&mut restored, elsewhere(), 1);
    assert_eq!(seqs(&sent_json(&mut restored, elsewhere())), [6]);
}

#[test]
fn d24_a_restored_runtime_takes_an_ack_of_all_that_came_out_of_the_store() {
    let mut runtime = attached(runtime_config(), FeatureSet::all(), 2);
    let old = runtime.snapshot();
    emit(&mut runtime, start(), 2);
    let mut restored = restore(runtime_config(), elsewhere(), old, runtime.events_since(0)).unwrap();
    resume(&mut restored, elsewhere(), 1, 2, 2).unwrap();
    ack(&mut restored, elsewhere(), 4);
    assert_eq!((restored.acked_seq(), restored.replay_len().0), (4, 0));
    emit(&mut restored, elsewhere(), 1);
    runtime_events(&mut restored);
    ack(&mut restored, elsewhere(), 5);
    assert_eq!(restored.acked_seq(), 4, "not sent yet, and out of no store");
    assert!(matches!(runtime_events(&mut restored)[..], [RuntimeEvent::Violation(_)]));
    // What was acknowledged is still known to a snapshot of it.
    let again = revived(&restored, runtime_config(), elsewhere());
    assert_eq!((again.acked_seq(), again.replay_floor(), again.last_event_seq()), (4, 4, 5));
}

/// An acknowledgement that the header does not know of, or that no store ever learns of, is made again.
#[test]
fn d25_an_ack_lost_with_the_process_is_said_again() {
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(3);
    pair.flush();
    let old = pair.runtime().snapshot();
    let events: Vec<_> = pair.runtime().events_since(0).collect();
    pair.client.mark_processed(pair.now, 3).unwrap();
    pair.advance(secs(1));
    assert_eq!(pair.runtime().acked_seq(), 3);
    pair.cut();
    pair.runtime = Some(restore(runtime_config(), pair.now, stored(&old), events).unwrap());
    assert_eq!(pair.runtime().acked_seq(), 0);
    pair.resume();
    assert_eq!((pair.runtime().acked_seq(), pair.runtime().replay_len().0), (3, 0));
}

#[test]
fn d19_without_acks_what_was_never_sent_is_not_evicted_after_a_restore() {
    let config = || runtime_config().with_replay(4, 1 << 20, Overflow::Block);
    let mut runtime = attached(config(), FeatureSet::none(), 2);
    emit(&mut runtime, start(), 2);
    let mut restored = revived(&runtime, config(), start());
    for session in [&mut runtime, &mut restored] {
        // Two were sent, and go; two were not.
        emit(session, start(), 2);
        assert_eq!(session.replay_floor(), 2);
        assert_eq!(session.send_event(start(), &job(), "log", &json!({})), Err(SendError::Blocked));
    }
    // Nor after an attachment in which nothing was sent.
    resume(&mut restored, start(), 1, 2, 2).unwrap();
    restored.handle_disconnect(start());
    assert_eq!(restored.send_event(start(), &job(), "log", &json!({})), Err(SendError::Blocked));
    // What the client says that it has was sent, whatever the header knew.
    resume(&mut restored, start(), 1, 4, 3).unwrap();
    restored.handle_disconnect(start());
    emit(&mut restored, start(), 2);
    assert_eq!(restored.replay_floor(), 4);
    assert_eq!(restored.send_event(start(), &job(), "log", &json!({})), Err(SendError::Blocked));
}

#[test]
fn d19_a_window_over_the_new_size_stays_whole() {
    let runtime = parked(runtime_config(), FeatureSet::all(), 10);
    let small = || runtime_config().with_replay(3, 200, Overflow::Block);
    let mut restored = revived(&runtime, small(), elsewhere());
    assert_eq!(restored.replay_len().0, 10);
    assert_eq!(restored.send_event(elsewhere(), &job(), "log", &json!({})), Err(SendError::Blocked));
    assert_eq!((restored.send_credit().events, restored.send_credit().bytes), (0, 0));
    resume(&mut restored, elsewhere(), 1, 0, 2).unwrap();
    assert_eq!(seqs(&sent_json(&mut restored, elsewhere())).len(), 10);
    ack(&mut restored, elsewhere(), 10);
    assert!(runtime_events(&mut restored).iter().any(|event| matches!(event, RuntimeEvent::Writable)));
    assert_eq!(restored.send_event(elsewhere(), &job(), "log", &json!({})), Ok(11));
}

// D17, D18: the window, on another clock.

#[test]
fn d17_what_is_left_of_the_window_is_exact_on_another_clock() {
    for passed in [0, 1, 1_234, 599_999] {
        let mut runtime = parked(runtime_config(), only(&[Feature::Heartbeat]), 3);
        runtime.handle_timeout(start().after(millis(passed)));
        let mut restored = revived(&runtime, runtime_config(), elsewhere());
        let left = millis(600_000 - passed);
        assert_eq!(restored.poll_timeout(), Some(elsewhere().mono + left));
        assert_eq!(restored.timeout_reason(), Some(Timer::ResumeWindow));
        let end = elsewhere().after(left);
        let before = elsewhere().after(left - millis(1));
        assert!(resume(&mut restored.clone(), before, 1, 3, 2).is_ok());
        assert_eq!(resume(&mut restored, end, 1, 3, 2).unwrap_err().reason(), RefusedBecause::Closed);
        let events = runtime_events(&mut restored);
        assert!(
            matches!(events[..], [RuntimeEvent::WindowElapsed, RuntimeEvent::Closed(CloseReason::ResumeWindowExpired)]),
            "{events:?}"
        );

        let mut client = open();
        client.handle_disconnect(start());
        client.handle_timeout(start().after(millis(passed)));
        let mut restored = revived_client(&client, client_config(), elsewhere());
        assert_eq!(restored.poll_timeout(), Some(elsewhere().mono + left));
        assert_eq!(restored.clone().resume(before), Ok(()));
        assert_eq!(restored.resume(end), Err(ResumeError::Closed));
        assert!(matches!(client_events(&mut restored)[..], [ClientEvent::Closed(CloseReason::ResumeWindowExpired)]));
    }
}

#[test]
fn d17_the_window_of_a_session_taken_while_attached_begins_at_the_restore() {
    let mut runtime = serving();
    runtime.handle_activity(start().after(secs(20)));
    let restored = revived(&runtime, runtime_config(), elsewhere());
    assert_eq!(restored.poll_timeout(), Some(elsewhere().mono + secs(600)));
    let mut client = open();
    client.handle_activity(start().after(secs(20)));
    let restored = revived_client(&client, client_config(), elsewhere());
    assert_eq!(restored.poll_timeout(), Some(elsewhere().mono + secs(600)));
    // As long as the configuration tries.
    let patient = ClientConfig { give_up_after: Some(secs(3_600)), ..client_config() };
    let restored = revived_client(&client, patient, elsewhere());
    assert_eq!(restored.poll_timeout(), Some(elsewhere().mono + secs(3_600)));
}

#[test]
fn d17_a_restore_in_the_middle_of_an_attempt_does_not_restart_the_window() {
    let mut client = open();
    client.handle_disconnect(start());
    client.resume(start().after(secs(100))).unwrap();
    assert_eq!(client.phase(), Phase::Resuming);
    let restored = revived_client(&client, client_config(), elsewhere());
    assert_eq!(restored.poll_timeout(), Some(elsewhere().mono + secs(500)));
}

#[test]
fn d18_retention_goes_on_and_ends_exactly_on_another_clock() {
    let day = secs(24 * 3_600);
    let mut runtime = parked(runtime_config(), FeatureSet::all(), 3);
    // The window runs out before the restore, or after it.
    for passed in [secs(100), secs(1_000)] {
        runtime.handle_timeout(start().after(passed));
        let mut restored = revived(&runtime, runtime_config(), elsewhere());
        restored.handle_timeout(elsewhere().after(secs(500)));
        assert_eq!(restored.timeout_reason(), Some(Timer::Retention));
        assert_eq!(restored.poll_timeout(), Some(elsewhere().mono + (day - passed)));
        // Resumable until then, and an emitter is never blocked on it.
        assert!(resume(&mut restored.clone(), elsewhere().after(secs(80_000)), 1, 0, 2).is_ok());
        restored.handle_timeout(elsewhere().after(day - passed));
        assert!(matches!(
            runtime_events(&mut restored).last(),
            Some(RuntimeEvent::Closed(CloseReason::ResumeWindowExpired))
        ));
    }
}

/// Found by the fuzz target `snapshot`: the floor of what was evicted unsent counted as sent once it was restored.
#[test]
fn d14_what_was_evicted_unsent_was_never_sent_after_a_restore_either() {
    let config = || runtime_config().with_replay(1, 1 << 20, Overflow::Evict);
    let mut runtime = parked(config(), FeatureSet::all(), 0);
    emit(&mut runtime, start(), 2);
    assert_eq!((runtime.replay_floor(), runtime.last_event_seq()), (1, 2));
    let mut restored = revived(&runtime, config(), elsewhere());
    for last in 0..4 {
        let refused = |session, now| resume(session, now, 1, last, 2).unwrap_err().reason();
        assert_eq!(refused(&mut runtime, start()), RefusedBecause::Sequence, "from {last}");
        assert_eq!(refused(&mut restored, elsewhere()), RefusedBecause::Sequence, "from {last}, restored");
    }
}

#[test]
fn d18_past_its_window_a_restored_session_ends_with_what_does_not_fit() {
    let config = || runtime_config().with_replay(3, 1 << 20, Overflow::Evict);
    let mut runtime = parked(config(), FeatureSet::all(), 3);
    runtime.handle_timeout(start().after(secs(600)));
    assert!(matches!(runtime_events(&mut runtime)[..], [RuntimeEvent::WindowElapsed]));
    let mut restored = revived(&runtime, config(), elsewhere());
    assert!(runtime_events(&mut restored).is_empty(), "it was told");
    assert_eq!(restored.send_event(elsewhere(), &job(), "log", &json!({})), Err(SendError::Closed));
    assert_eq!(restored.phase(), Phase::Closed);
    // That end is final for what is restored of it, too.
    let mut again = revived(&restored, config(), elsewhere());
    assert_eq!(resume(&mut again, elsewhere(), 1, 3, 2).unwrap_err().reason(), RefusedBecause::Closed);
}

// D28, D29: the client's cursor.

fn received(config: ClientConfig, last: u64) -> Session<Client> {
    let mut client = client_alone(config);
    (1..=last).for_each(|seq| feed(&mut client, start(), &log_frame(seq)));
    client
}

fn presented(client: &mut Session<Client>) -> u64 {
    client.resume(elsewhere()).unwrap();
    sent_json(client, elsewhere())[0]["payload"]["last_event_seq"].as_u64().unwrap()
}

#[test]
fn d28_a_restored_client_resumes_from_what_was_processed_and_gets_the_rest_again() {
    let mut client = received(client_config(), 5);
    client_events(&mut client);
    client.mark_processed(start(), 3).unwrap();
    assert_eq!(client.last_event_seq(), 5);
    let mut restored = revived_client(&client, client_config(), elsewhere());
    assert_eq!((restored.last_event_seq(), restored.last_processed_seq()), (3, 3));
    assert_eq!(presented(&mut restored), 3);
    feed(&mut restored, elsewhere(), &welcome(FeatureSet::all()));
    (4..=6).for_each(|seq| feed(&mut restored, elsewhere(), &log_frame(seq)));
    let got: Vec<_> = client_events(&mut restored).iter().filter_map(ClientEvent::seq).collect();
    assert_eq!(got, [4, 5, 6]);
    assert_eq!(restored.mark_processed(elsewhere(), 6), Ok(()));
}

#[test]
fn d28_with_on_poll_the_cursor_is_what_was_polled() {
    let config = || client_config().with_ack_policy(AckPolicy::OnPoll);
    let mut client = received(config(), 5);
    for _ in 0..2 {
        assert!(client.poll_event().is_some());
    }
    assert_eq!(presented(&mut revived_client(&client, config(), elsewhere())), 2);
}

/// Both processes crash again and again: what is processed is processed in order, nothing is missing.
#[test]
fn d28_crashes_of_both_sides_repeat_and_never_lose() {
    let mut pair = Pair::connected();
    pair.submit();
    let (mut processed, mut came) = (0, 0);
    for round in 0..20 {
        pair.emit(7);
        pair.flush();
        for event in pair.take_client_events() {
            let Some(seq) = event.seq() else { continue };
            came += 1;
            assert_eq!(seq, came, "in order, from what was processed on");
            // Of every seven, some are not seen to before the crash.
            if seq % 7 != round % 7 && seq == processed + 1 {
                processed = seq;
                pair.client.mark_processed(pair.now, seq).unwrap();
            }
        }
        let (runtime, client) = (pair.runtime().clone(), pair.client.clone());
        pair.cut();
        pair.take_client_events();
        pair.runtime = Some(revived(&runtime, runtime_config(), pair.now));
        pair.client = revived_client(&client, client_config(), pair.now);
        assert_eq!(pair.client.last_event_seq(), processed);
        came = processed;
        pair.resume();
        assert!(pair.runtime().acked_seq() <= processed, "what is freed was processed");
        assert_eq!(pair.runtime().acked_seq(), processed, "and it was said again");
    }
    pair.flush();
    let seqs = pair.take_seqs();
    assert_eq!(seqs, (processed + 1..=140).collect::<Vec<_>>());
}

#[test]
fn d28_a_hole_that_a_resume_did_not_fill_is_reported_after_a_restore_without_another() {
    let mut client = received(client_config(), 2);
    feed(&mut client, start(), &log_frame(4));
    client.handle_timeout(start().after(secs(1)));
    let events = client_events(&mut client);
    assert!(matches!(events.last(), Some(ClientEvent::Detached(DetachReason::Gap))), "{events:?}");
    let mut restored = revived_client(&client, client_config(), elsewhere());
    assert_eq!(presented(&mut restored), 0);
    feed(&mut restored, elsewhere(), &welcome(FeatureSet::all()));
    [1, 2, 4].iter().for_each(|seq| feed(&mut restored, elsewhere(), &log_frame(*seq)));
    restored.handle_timeout(elsewhere().after(secs(1)));
    let events = client_events(&mut restored);
    assert!(events.iter().any(|event| matches!(event, ClientEvent::EventsLost { from: 3, to: 3 })), "{events:?}");
    assert_eq!(restored.phase(), Phase::Open);
}

#[test]
fn d29_what_was_ever_said_is_never_asked_for_again() {
    let config = || ClientConfig { resume_overlap: 2, ..client_config() };
    let mut client = received(config(), 5);
    client_events(&mut client);
    client.mark_processed(start(), 4).unwrap();
    client.flush_acks(start()).unwrap();
    sent(&mut client, start());
    client.mark_processed(start(), 5).unwrap();
    let snapshot = client.snapshot();
    let cursor = serde_json::to_value(&snapshot).unwrap()["cursor"].clone();
    assert!(cursor["ever_said"].as_u64() <= cursor["processed"].as_u64(), "only what was processed is said");
    assert_eq!(presented(&mut revived_client(&client, config(), elsewhere())), 4);
}

#[test]
fn a2_what_the_welcome_said_is_there_after_a_restore() {
    let client = open();
    let restored = revived_client(&client, client_config(), elsewhere());
    assert_eq!(restored.info(), client.info());
    assert_eq!(restored.features(), client.features());
    assert_eq!(restored.session_id(), client.session_id());
    assert_eq!(restored.resume_token(), client.resume_token());
}

#[test]
fn a6_what_the_configuration_no_longer_supports_is_gone() {
    let without = FeatureSet::all().without(Feature::Subscribe).without(Feature::Heartbeat);
    let restored = revived(&serving(), runtime_config().with_features(without.clone()), elsewhere());
    assert_eq!(restored.features(), &without);
    let restored = revived_client(&open(), client_config().with_features(without.clone()), elsewhere());
    assert_eq!((restored.features(), &restored.info().unwrap().features), (&without, &without));
    assert_eq!(restored.info().unwrap().heartbeat_interval, None);
}

#[test]
fn a_client_that_never_was_welcomed_has_nothing_to_restore() {
    let mut client = Session::connect(start(), client_config());
    let early = client.snapshot();
    assert_eq!(early.session_id(), None);
    client.handle_disconnect(start());
    for snapshot in [early, client.snapshot()] {
        let error = Session::<Client>::restore(elsewhere(), client_config(), stored(&snapshot)).err();
        assert_eq!(error, Some(RestoreError::NeverConnected));
    }
}

#[test]
fn d12_requests_that_were_open_are_not_carried_over() {
    let mut client = open();
    client.list_jobs(start(), &JobQuery::default()).unwrap();
    let id = sent_json(&mut client, start())[0]["id"].clone();
    let mut restored = revived_client(&client, client_config(), elsewhere());
    restored.resume(elsewhere()).unwrap();
    feed(&mut restored, elsewhere(), &welcome(FeatureSet::all()));
    client_events(&mut restored);
    feed(&mut restored, elsewhere(), &message("session.jobs", json!({"request_id": id, "jobs": []})));
    assert!(matches!(client_events(&mut restored)[..], [ClientEvent::Violation(_)]), "it answers nothing");
}

/// A client that was restored, resumed and welcomed.
fn back(client: &Session<Client>, config: ClientConfig) -> Session<Client> {
    let mut restored = revived_client(client, config, elsewhere());
    restored.resume(elsewhere()).unwrap();
    feed(&mut restored, elsewhere(), &welcome(FeatureSet::all()));
    client_events(&mut restored);
    restored
}

#[test]
fn d12_a_restored_client_knows_which_jobs_live_and_which_have_ended() {
    let error =
        |code| message("job.error", json!({"job_id": "job_1", "code": code, "message": "m", "final_status": "error"}));
    let mut client = received(client_config(), 1);
    client_events(&mut client);
    let mut restored = back(&client, client_config());
    feed(&mut restored, elsewhere(), &error("JOB_NOT_FOUND"));
    let events = client_events(&mut restored);
    assert!(matches!(events[..], [ClientEvent::Error { .. }]), "a refusal, not the job's end: {events:?}");

    feed(&mut client, start(), &error("INTERNAL_ERROR"));
    assert!(matches!(client_events(&mut client)[..], [ClientEvent::Failed { .. }]));
    let mut restored = back(&client, client_config());
    restored.submit(elsewhere(), &JobSubmit::new("a", RawJson::empty_object())).unwrap();
    feed(&mut restored, elsewhere(), &error("INTERNAL_ERROR"));
    let events = client_events(&mut restored);
    assert!(matches!(events[..], [ClientEvent::Failed { .. }]), "said twice, and no submit refused: {events:?}");
}

#[test]
fn d25_a_mark_before_a_hole_can_be_repeated_after_a_restore() {
    let config = || ClientConfig { gap_policy: GapPolicy::Report, ..client_config() };
    let mut client = received(config(), 2);
    feed(&mut client, start(), &log_frame(4));
    client.handle_timeout(start().after(secs(1)));
    client_events(&mut client);
    client.mark_processed(start(), 2).unwrap();
    assert_eq!(client.last_processed_seq(), 3, "what is lost is behind it");
    let mut restored = revived_client(&client, config(), elsewhere());
    assert!(restored.mark_processed(elsewhere(), 1).is_err(), "it is known where it stood");
    assert_eq!(client.mark_processed(start(), 2), Ok(()));
    assert_eq!(restored.mark_processed(elsewhere(), 2), Ok(()));
    assert!(restored.mark_processed(elsewhere(), 1).is_err());
}

// D32: what was ended can go on.

#[test]
fn d32_what_was_shut_down_is_restored_and_resumed_by_a_restored_client() {
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(3);
    pair.flush();
    let now = pair.now;
    pair.emit(2);
    pair.runtime().shutdown(now, "deploy");
    pair.flush();
    let ended = pair.take_runtime_events();
    assert!(matches!(ended.last(), Some(RuntimeEvent::Closed(CloseReason::Shutdown))), "{ended:?}");
    let events = pair.take_client_events();
    let Some(ClientEvent::Closed(CloseReason::PeerClosed { reason })) = events.last() else { panic!("{events:?}") };
    assert_eq!(reason.as_deref(), Some("deploy"));
    pair.client.mark_processed(pair.now, 2).unwrap();
    let (runtime, client) = (pair.runtime().clone(), pair.client.clone());
    pair.cut();
    pair.runtime = Some(revived(&runtime, runtime_config(), pair.now));
    pair.client = revived_client(&client, client_config(), pair.now);
    pair.advance(secs(599));
    pair.resume();
    assert_eq!(pair.take_seqs(), [3, 4, 5]);
    assert_eq!((pair.client.phase(), pair.runtime().phase()), (Phase::Open, Phase::Open));
}

#[test]
fn d32_a_session_shut_down_while_detached_has_what_was_left() {
    let mut runtime = parked(runtime_config(), FeatureSet::all(), 1);
    runtime.shutdown(start().after(secs(100)), "deploy");
    assert_eq!(runtime.phase(), Phase::Closed);
    let mut restored = revived(&runtime, runtime_config(), elsewhere());
    assert_eq!(restored.poll_timeout(), Some(elsewhere().mono + secs(500)));
    resume(&mut restored, elsewhere().after(secs(499)), 1, 1, 2).unwrap();
}

#[test]
fn d32_a_client_told_goodbye_or_refused_goes_on_within_its_window() {
    for end in ["session.closed", "session.bye"] {
        let mut client = received(client_config(), 1);
        feed(&mut client, start(), &message(end, json!({"reason": "x"})));
        let told = client_events(&mut client);
        assert!(matches!(told.last(), Some(ClientEvent::Closed(CloseReason::PeerClosed { .. }))));
        client.handle_timeout(start().after(secs(100)));
        let restored = revived_client(&client, client_config(), elsewhere());
        assert_eq!(restored.poll_timeout(), Some(elsewhere().mono + secs(500)), "from the end on");
    }
    let refusals =
        [message("session.error", json!({"code": "RESUME_WINDOW_EXPIRED", "message": "no", "retryable": false})), {
            let mut other = welcome(FeatureSet::all());
            other["session_id"] = json!("sess_2");
            other
        }];
    for refusal in refusals {
        let mut client = received(client_config(), 1);
        client.handle_disconnect(start());
        client.resume(start().after(secs(50))).unwrap();
        feed(&mut client, start().after(secs(60)), &refusal);
        let told = client_events(&mut client);
        assert!(matches!(told.last(), Some(ClientEvent::Closed(CloseReason::ResumeRefused(_)))), "{told:?}");
        let mut restored = revived_client(&client, client_config(), elsewhere());
        assert_eq!(restored.poll_timeout(), Some(elsewhere().mono + secs(540)), "it does not restart");
        assert_eq!(restored.session_id().unwrap().as_str(), "sess_1");
        assert_eq!(restored.resume_token().map(ResumeToken::reveal), Some("rt_first"));
        assert_eq!(presented(&mut restored), 0);
    }
}

#[test]
fn d32_a_polite_goodbye_leaves_a_session_to_restore() {
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(2);
    pair.flush();
    pair.client.close(pair.now, "lunch");
    pair.flush();
    assert_eq!((pair.client.phase(), pair.runtime().phase()), (Phase::Closed, Phase::Detached));
    let (runtime, client) = (pair.runtime().clone(), pair.client.clone());
    pair.cut();
    pair.take_client_events();
    pair.runtime = Some(revived(&runtime, runtime_config(), pair.now));
    pair.client = revived_client(&client, client_config(), pair.now);
    pair.resume();
    assert_eq!(pair.take_seqs(), [1, 2], "nothing was marked");
}

// D8: submits.

#[test]
fn d8_a_submit_that_was_answered_gets_its_answer_after_a_restore() {
    let mut runtime = serving();
    for (id, accept) in [("m1", true), ("m2", false)] {
        feed(&mut runtime, start(), &submit_frame(id));
        let request = asked_submit(&mut runtime);
        if accept {
            runtime.accept_job(start(), request, JobAccepted::new(job(), "a@1", start().wall)).unwrap();
        } else {
            runtime.fail_request(start(), request, WireError::new(ErrorCode::AgentNotAvailable, "no")).unwrap();
        }
    }
    let answers = sent_json(&mut runtime, start());
    let mut ended = runtime.clone();
    runtime.handle_disconnect(start());
    ended.shutdown(start(), "deploy");
    sent(&mut ended, start());
    assert_eq!(ended.phase(), Phase::Closed);
    for session in [runtime, ended] {
        let mut restored = revived(&session, runtime_config(), elsewhere());
        resume(&mut restored, elsewhere(), 1, 0, 2).unwrap();
        sent(&mut restored, elsewhere());
        runtime_events(&mut restored);
        for (id, answer) in ["m1", "m2"].iter().zip(&answers) {
            feed(&mut restored, elsewhere(), &submit_frame(id));
            assert!(runtime_events(&mut restored).is_empty());
            let again = &sent_json(&mut restored, elsewhere())[0];
            assert_eq!((&again["type"], &again["payload"]), (&answer["type"], &answer["payload"]));
            assert_eq!(again.get("job_id"), answer.get("job_id"));
        }
        // And requests are counted on.
        feed(&mut restored, elsewhere(), &submit_frame("m3"));
        assert_eq!(asked_submit(&mut restored).to_string(), "3");
    }
}

#[test]
fn d8_a_submit_that_was_open_is_a_new_one_after_a_restore() {
    let mut runtime = serving();
    feed(&mut runtime, start(), &submit_frame("m1"));
    let old = asked_submit(&mut runtime);
    runtime.handle_disconnect(start());
    let mut restored = revived(&runtime, runtime_config(), elsewhere());
    let accepted = || JobAccepted::new(job(), "a@1", start().wall);
    assert_eq!(restored.accept_job(elsewhere(), old, accepted()), Err(AnswerError::UnknownRequest));
    resume(&mut restored, elsewhere(), 1, 0, 2).unwrap();
    sent(&mut restored, elsewhere());
    runtime_events(&mut restored);
    feed(&mut restored, elsewhere(), &submit_frame("m1"));
    let new = asked_submit(&mut restored);
    assert_ne!(new, old);
    restored.accept_job(elsewhere(), new, accepted()).unwrap();
    assert_eq!(types(&sent_json(&mut restored, elsewhere())), ["job.accepted"]);
}

#[test]
fn d8_no_more_answers_are_taken_back_than_may_be_kept() {
    let mut runtime = serving();
    for n in 0..5 {
        feed(&mut runtime, start(), &submit_frame(&format!("m{n}")));
        let request = asked_submit(&mut runtime);
        runtime.accept_job(start(), request, JobAccepted::new(job(), "a@1", start().wall)).unwrap();
    }
    let mut config = runtime_config();
    config.limits.kept_submits = 2;
    let restored = revived(&runtime, config, elsewhere());
    let kept = serde_json::to_value(restored.snapshot()).unwrap()["answered"]["answers"].clone();
    assert_eq!(kept.as_array().unwrap().iter().map(|kept| &kept["message_id"]).collect::<Vec<_>>(), ["m3", "m4"]);
}

#[test]
fn d26_pressure_that_was_told_is_told_to_be_gone_by_the_resume() {
    let config = || RuntimeConfig { back_pressure_threshold: 2, ..runtime_config() };
    let mut runtime = parked_under_pressure(config());
    let mut restored = revived(&runtime, config(), start());
    for session in [&mut runtime, &mut restored] {
        let highest = session.last_event_seq();
        resume(session, start(), 1, highest, 2).unwrap();
        let events = runtime_events(session);
        assert!(
            matches!(events[..], [RuntimeEvent::Resumed { .. }, RuntimeEvent::BackPressure { active: false, lag: 0 }]),
            "{events:?}"
        );
    }
}

fn parked_under_pressure(config: RuntimeConfig) -> Session<Runtime> {
    let mut runtime = runtime_alone(config, FeatureSet::all());
    for _ in 0..4 {
        runtime.send_event(start(), &job(), "log", &json!({})).unwrap();
    }
    sent(&mut runtime, start());
    runtime.handle_disconnect(start());
    let events = runtime_events(&mut runtime);
    assert!(events.iter().any(|event| matches!(event, RuntimeEvent::BackPressure { active: true, .. })));
    runtime
}

#[test]
fn a_restored_session_tells_and_sends_nothing_by_itself() {
    let mut runtime = serving();
    feed(&mut runtime, start(), &message("session.ping", json!({"nonce": "n"})));
    feed(&mut runtime, start(), &message("session.list_jobs", json!({})));
    let mut restored = revived(&runtime, runtime_config(), elsewhere());
    assert!(sent(&mut restored, elsewhere()).is_empty() && runtime_events(&mut restored).is_empty());
    feed(&mut restored, elsewhere(), &message("session.ping", json!({"nonce": "n"})));
    restored.handle_disconnect(elsewhere());
    assert!(sent(&mut restored, elsewhere()).is_empty() && runtime_events(&mut restored).is_empty());
    let mut restored = revived_client(&received(client_config(), 2), client_config(), elsewhere());
    assert!(sent(&mut restored, elsewhere()).is_empty() && client_events(&mut restored).is_empty());
}

// Whatever a store gives back.

/// Every member of a value replaced by something else, and left out.
fn mutations(value: &Value) -> Vec<Value> {
    fn paths(value: &Value, at: &str, out: &mut Vec<String>) {
        out.push(at.to_owned());
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| paths(value, &format!("{at}/{name}"), out))
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(n, value)| paths(value, &format!("{at}/{n}"), out))
            }
            _ => {}
        }
    }
    let mut all = Vec::new();
    paths(value, "", &mut all);
    let others = [
        Value::Null,
        json!(0),
        json!(1),
        json!(2),
        json!(7),
        json!((1u64 << 53) - 1),
        json!(1u64 << 53),
        json!(u64::MAX),
        json!(u64::MAX - 1),
        json!(-1),
        json!(1.5),
        json!(true),
        json!(false),
        json!(""),
        json!("x"),
        json!("é".repeat(32)),
        json!("\n\u{2028}"),
        json!("{}"),
        json!("x".repeat(300)),
        json!([]),
        json!({}),
        json!([[[]]]),
        json!(["ack"]),
    ];
    let mut mutated = Vec::new();
    for path in all {
        for other in &others {
            let mut copy = value.clone();
            *copy.pointer_mut(&path).unwrap() = other.clone();
            mutated.push(copy);
        }
        if let Some((parent, name)) = path.rsplit_once('/') {
            let mut copy = value.clone();
            if let Some(members) = copy.pointer_mut(parent).and_then(Value::as_object_mut) {
                members.remove(name);
            }
            mutated.push(copy);
        }
    }
    mutated
}

/// A bad peer, a few calls of everything, and a long time.
fn abuse_runtime(mut session: Session<Runtime>, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut now = elsewhere();
    for step in 0..12 {
        now = now.after(millis(dice.below(60_000)));
        session.handle_timeout(now);
        let _ = session.send_event(now, &job(), "log", &json!({"message": "m".repeat(dice.below(500) as usize)}));
        if step % 3 == 0 {
            let last = [session.replay_floor(), session.last_event_seq(), 0][dice.below(3) as usize];
            let _ = resume(&mut session, now, 1 + dice.below(2), last, 2);
        }
        for _ in 0..6 {
            let input = frame(&mut dice, session.acked_seq(), &["m1".into()]);
            let input = garbled(&mut dice, &input);
            session.handle_input(now, input);
        }
        sent(&mut session, now);
        runtime_events(&mut session);
        if dice.once_in(3) {
            session.handle_disconnect(now);
        }
        let snapshot = stored(&session.snapshot());
        restore(runtime_config(), now, snapshot, session.events_since(0)).expect("what it takes it can give again");
    }
    session.handle_timeout(now.after(secs(u64::from(u32::MAX) * 2)));
    let _ = session.send_event(now, &job(), "log", &json!({}));
    session.shutdown(now, "r");
    runtime_events(&mut session);
}

fn abuse_client(mut session: Session<Client>, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut now = elsewhere();
    for step in 0..12 {
        now = now.after(millis(dice.below(60_000)));
        session.handle_timeout(now);
        if step % 3 == 0 && session.resume(now).is_ok() {
            sent(&mut session, now);
            let mut answer = welcome(FeatureSet::all());
            answer["session_id"] = json!(session.session_id().unwrap().as_str());
            feed(&mut session, now, &answer);
        }
        for _ in 0..6 {
            let input = frame(&mut dice, session.last_event_seq(), &["m1".into()]);
            let input = garbled(&mut dice, &input);
            session.handle_input(now, input);
        }
        let _ = session.list_jobs(now, &JobQuery::default());
        sent(&mut session, now);
        client_events(&mut session);
        let _ = session.mark_processed(now, session.last_event_seq());
        if dice.once_in(3) {
            session.handle_disconnect(now);
        }
        let snapshot = stored(&session.snapshot());
        Session::<Client>::restore(now, client_config(), snapshot).expect("what it takes it can give again");
    }
    session.handle_timeout(now.after(secs(u64::from(u32::MAX) * 2)));
    session.close(now, "r");
    client_events(&mut session);
}

#[test]
fn no_snapshot_however_mutated_gives_a_session_that_fails_later() {
    let mut runtime = serving();
    feed(&mut runtime, start(), &submit_frame("m1"));
    let request = asked_submit(&mut runtime);
    runtime.accept_job(start(), request, JobAccepted::new(job(), "a@1", start().wall)).unwrap();
    emit(&mut runtime, start(), 4);
    sent(&mut runtime, start());
    ack(&mut runtime, start(), 1);
    runtime.handle_disconnect(start());
    resume(&mut runtime, start(), 1, 2, 2).unwrap();
    runtime.handle_disconnect(start());
    let value = serde_json::to_value(runtime.snapshot()).unwrap();
    let (mut refused, mut taken) = (0, 0);
    for (n, mutated) in mutations(&value).into_iter().enumerate() {
        let Ok(snapshot) = serde_json::from_value::<RuntimeSnapshot>(mutated) else {
            refused += 1;
            continue;
        };
        match restore(runtime_config(), elsewhere(), snapshot, runtime.events_since(0)) {
            Ok(session) => {
                taken += 1;
                abuse_runtime(session, n as u64);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 300 && taken > 50, "{refused} refused, {taken} taken");

    let mut client = received(client_config(), 4);
    client_events(&mut client);
    client.mark_processed(start(), 3).unwrap();
    client.handle_disconnect(start());
    let value = serde_json::to_value(client.snapshot()).unwrap();
    let (mut refused, mut taken) = (0, 0);
    for (n, mutated) in mutations(&value).into_iter().enumerate() {
        let restored = serde_json::from_value::<ClientSnapshot>(mutated)
            .ok()
            .and_then(|snapshot| Session::<Client>::restore(elsewhere(), client_config(), snapshot).ok());
        match restored {
            Some(session) => {
                taken += 1;
                abuse_client(session, n as u64);
            }
            None => refused += 1,
        }
    }
    assert!(refused > 200 && taken > 50, "{refused} refused, {taken} taken");
}

#[test]
fn no_text_however_broken_panics() {
    let runtime = parked(runtime_config(), FeatureSet::all(), 3);
    let text = serde_json::to_string(&runtime.snapshot()).unwrap();
    let client = serde_json::to_string(&received(client_config(), 3).snapshot()).unwrap();
    for at in 0..text.len() {
        assert!(serde_json::from_str::<RuntimeSnapshot>(&text[..at]).is_err(), "cut at {at}");
    }
    for at in 0..client.len() {
        assert!(serde_json::from_str::<ClientSnapshot>(&client[..at]).is_err(), "cut at {at}");
    }
    let mut dice = Dice::new(7);
    for seed in 0..4_000 {
        let mut bytes = text.clone().into_bytes();
        let at = dice.below(bytes.len() as u64) as usize;
        bytes[at] = if dice.once_in(2) { b'0' + dice.below(10) as u8 } else { dice.roll() as u8 };
        if let Ok(snapshot) = serde_json::from_slice::<RuntimeSnapshot>(&bytes)
            && let Ok(session) = restore(runtime_config(), elsewhere(), snapshot, runtime.events_since(0))
            && seed % 8 == 0
        {
            abuse_runtime(session, seed);
        }
        let mut bytes = client.clone().into_bytes();
        let at = dice.below(bytes.len() as u64) as usize;
        bytes[at] = if dice.once_in(2) { b'0' + dice.below(10) as u8 } else { dice.roll() as u8 };
        if let Ok(snapshot) = serde_json::from_slice::<ClientSnapshot>(&bytes)
            && let Ok(session) = Session::<Client>::restore(elsewhere(), client_config(), snapshot)
            && seed % 8 == 0
        {
            abuse_client(session, seed);
        }
    }
}

/// The events, too, may be anything.
#[test]
fn no_events_however_broken_give_a_session_that_fails_later() {
    let runtime = parked(runtime_config(), FeatureSet::all(), 4);
    let header = runtime.snapshot();
    let events: Vec<_> = runtime.events_since(0).collect();
    let mut dice = Dice::new(11);
    for seed in 0..2_000 {
        let mut broken = events.clone();
        for _ in 0..=dice.below(2) {
            let at = dice.below(broken.len() as u64) as usize;
            match dice.below(6) {
                0 => drop(broken.remove(at)),
                1 => broken[at].0 = *dice.pick(&[0, 1, 3, 5, 1u64 << 53, u64::MAX]),
                2 => broken.swap(0, at),
                3 => broken.push(broken[at].clone()),
                _ => {
                    let mut bytes = broken[at].1.to_vec();
                    let byte = dice.below(bytes.len() as u64) as usize;
                    bytes[byte] = dice.roll() as u8;
                    broken[at].1 = Bytes::from(bytes);
                }
            }
            if broken.is_empty() {
                break;
            }
        }
        if let Ok(session) = restore(runtime_config(), elsewhere(), stored(&header), broken) {
            assert!(session.last_event_seq() >= 4);
            if seed % 4 == 0 {
                abuse_runtime(session, seed);
            }
        }
    }
}
