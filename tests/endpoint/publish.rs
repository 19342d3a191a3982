//! What happens in jobs, to all that hear of it (D18, D19, D27, D31, D33, D42).

use std::cell::Cell;
use std::collections::BTreeSet;

use arcp_proto::endpoint::{EndpointConfig, EndpointEvent, JobRecord, PublishError, Published, Receipt, StreamError};
use arcp_proto::wire::job_event::{ChunkEncoding, ResultChunk};
use arcp_proto::wire::{ErrorCode, JobError, JobId, JobResult, JobStatus, RawJson};
use arcp_proto::{CloseReason, DetachReason, Feature, Limits, Overflow, SendError};
use serde::ser::{Error, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::questions::*;
use super::world::*;

/// Counts how often it is written.
struct Counted<'a>(&'a Cell<usize>, Value);

impl Serialize for Counted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.set(self.0.get() + 1);
        self.1.serialize(serializer)
    }
}

struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(None)?.serialize_entry("a", "b")?;
        Err(S::Error::custom("cannot be written"))
    }
}

fn chunk(chunk_seq: u64, data: &str, more: bool) -> ResultChunk {
    ResultChunk { result_id: "res_1".into(), chunk_seq, data: data.into(), encoding: ChunkEncoding::Utf8, more }
}

impl World {
    fn put(&mut self, job: &JobId, kind: &str, body: impl Serialize) -> Result<Published, PublishError> {
        let published = self.endpoint.publish(self.now, job, kind, &body);
        self.flush();
        published
    }

    fn chunk(&mut self, job: &JobId, chunk_seq: u64, data: &str, more: bool) -> Result<Published, PublishError> {
        self.put(job, "result_chunk", chunk(chunk_seq, data, more))
    }

    fn end(&mut self, job: &JobId, result: JobResult) -> Result<Published, PublishError> {
        let published = self.endpoint.finish(self.now, job, result);
        self.flush();
        published
    }

    fn fail(&mut self, job: &JobId, error: JobError) -> Result<Published, PublishError> {
        let published = self.endpoint.fail(self.now, job, error);
        self.flush();
        published
    }

    fn ack(&mut self, idx: ClientIdx, seq: u64) {
        let now = self.now;
        self.client(idx).mark_processed(now, seq).unwrap();
        self.client(idx).flush_acks(now).unwrap();
        self.flush();
    }

    fn status(&self, job: &JobId) -> JobStatus {
        self.endpoint.jobs().get(job).expect("it can be listed").status.clone()
    }

    /// The jobs of each `Writable` so far.
    fn take_writable(&mut self) -> Vec<Vec<JobId>> {
        let writable = |event| match event {
            EndpointEvent::Writable { jobs, .. } => Some(jobs),
            _ => None,
        };
        self.take_endpoint_events().into_iter().filter_map(writable).collect()
    }
}

fn blocked<T>() -> Result<T, PublishError> {
    Err(PublishError::Send(SendError::Blocked))
}

/// A submitter with a job, a subscriber to it, both of one principal.
fn two(config: EndpointConfig) -> (World, ClientIdx, ClientIdx, JobId) {
    let mut world = World::new(config);
    let alice = world.connect(client("alice"));
    let watcher = world.connect(eager("alice"));
    let job = world.submit(alice);
    world.subscribe(watcher, &job, None).subscribed();
    (world, alice, watcher, job)
}

#[test]
fn d31_everybody_hears_in_one_order_under_their_own_numbers() {
    let mut world = World::plain();
    let (alice, watcher) = (world.connect(client("alice")), world.connect(client("alice")));
    let (first, second, other) = (world.submit(alice), world.submit(alice), world.submit(watcher));
    world.subscribe(watcher, &second, None).subscribed();
    for n in 0..3 {
        for job in [&first, &second, &other] {
            world.publish_unsent(job, &format!("line {n}")).unwrap();
        }
    }
    world.flush();
    let seqs = |world: &World, idx, job: &JobId| -> Vec<u64> {
        world.frames_of(idx, job).iter().map(|frame| frame["event_seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(seqs(&world, alice, &first), [1, 3, 5]);
    assert_eq!(seqs(&world, alice, &second), [2, 4, 6]);
    assert_eq!(seqs(&world, watcher, &second), [1, 3, 5]);
    assert_eq!(seqs(&world, watcher, &other), [2, 4, 6]);
    assert_eq!(world.endpoint.jobs().get(&second).unwrap().last_event_seq, 6, "of the submitter's sequence");
    for (events, jobs) in
        [(world.take_events(alice), [&first, &second]), (world.take_events(watcher), [&second, &other])]
    {
        for job in jobs {
            assert_eq!(heard_of(&events, job), lines(0..3));
        }
    }
}

#[test]
fn d31_what_was_published_says_where_it_stands_and_who_hears_of_it() {
    let (mut world, alice, _, job) = two(config());
    let other = world.submit(alice);
    let published = |seq, subscribers| Ok(Published { submitter: Receipt::Recorded(seq), subscribers, skipped: 0 });
    assert_eq!(world.publish(&job, "one"), published(1, 1));
    assert_eq!(world.publish(&other, "one"), published(2, 0));
    assert_eq!(world.finish(&job), published(3, 1));
    assert_eq!(world.fail(&other, failure(ErrorCode::Timeout)), published(4, 0));
}

#[test]
fn d31_a_payload_is_written_once_and_is_the_same_for_all() {
    let (mut world, alice, watcher, job) = two(config());
    let more: Vec<_> = (0..3).map(|_| world.connect(client("alice"))).collect();
    for idx in &more {
        world.subscribe(*idx, &job, None).subscribed();
    }
    let bodies = [
        ("log", json!({"level": "info", "message": "one"})),
        ("status", json!({"phase": "thinking"})),
        ("x-vendor.acme.thing", json!({"z": 1, "a": [1.50, null, "ä"]})),
        ("progress", json!({"current": 1})),
        ("result_chunk", serde_json::to_value(chunk(0, "a", true)).unwrap()),
    ];
    for (kind, body) in bodies {
        let count = Cell::new(0);
        assert_eq!(world.put(&job, kind, Counted(&count, body)).unwrap().subscribers, 4);
        assert_eq!(count.get(), 1, "{kind}");
    }
    let mine = world.frames_of(alice, &job);
    assert_eq!(mine.len(), 5);
    for idx in more.into_iter().chain([watcher]) {
        let theirs = world.frames_of(idx, &job);
        let ids: BTreeSet<String> = theirs.iter().map(|frame| frame["id"].to_string()).collect();
        assert_eq!(ids.len(), 5, "ids that the session has not used");
        for (mine, theirs) in mine.iter().zip(&theirs) {
            assert_eq!(mine["payload"], theirs["payload"]);
            assert_eq!(theirs["session_id"], json!(world.session_of(idx).as_str()));
        }
    }
}

const GATED: [(Feature, &str, &str); 4] = [
    (Feature::Progress, "progress", r#"{"current":1}"#),
    (
        Feature::ResultChunk,
        "result_chunk",
        r#"{"result_id":"r","chunk_seq":0,"data":"","encoding":"utf8","more":true}"#,
    ),
    (Feature::ProvisionedCredentials, "status", r#"{"phase":"credential_rotated"}"#),
    (Feature::Ack, "status", r#"{"phase":"back_pressure"}"#),
];

#[test]
fn d33_a_submitter_without_the_feature_is_given_no_number_and_the_others_hear() {
    for (feature, kind, body) in GATED {
        let mut world = World::plain();
        let alice = world.connect(client_without("alice", &[feature]));
        let watcher = world.connect(client("alice"));
        let job = world.submit(alice);
        world.subscribe(watcher, &job, None).subscribed();
        let published = world.put(&job, kind, RawJson::from_text(body).unwrap()).unwrap();
        assert_eq!(published, Published { submitter: Receipt::NotNegotiated(feature), subscribers: 1, skipped: 0 });
        assert_eq!(world.endpoint.jobs().get(&job).unwrap().last_event_seq, 0);
        assert_eq!(world.publish(&job, "next").unwrap().submitter, Receipt::Recorded(1));
        assert_eq!(world.take_heard(alice, &job), ["next"]);
        assert_eq!(world.take_heard(watcher, &job), [kind, "next"]);
    }
}

#[test]
fn d33_a_subscriber_without_the_feature_is_given_no_number_and_is_counted() {
    for (feature, kind, body) in GATED {
        let mut world = World::plain();
        let alice = world.connect(client("alice"));
        let plain = world.connect(client_without("alice", &[feature]));
        let watcher = world.connect(client("alice"));
        let job = world.submit(alice);
        world.subscribe(plain, &job, None).subscribed();
        world.subscribe(watcher, &job, None).subscribed();
        let published = world.put(&job, kind, RawJson::from_text(body).unwrap()).unwrap();
        assert_eq!(published, Published { submitter: Receipt::Recorded(1), subscribers: 1, skipped: 1 });
        assert_eq!(world.counters().deliveries_skipped, 1);
        world.publish(&job, "next").unwrap();
        let events = world.take_events(plain);
        assert_eq!(heard_of(&events, &job), ["next"]);
        assert_eq!(events.iter().filter_map(arcp_proto::ClientEvent::seq).collect::<Vec<_>>(), [1]);
        assert_eq!(world.take_heard(watcher, &job), [kind, "next"]);
    }
}

#[test]
fn d19_what_is_blocked_reaches_nobody_and_writable_follows_once_with_the_jobs_that_were_refused() {
    let (mut world, alice, watcher, job) = two(windows_of(4));
    let (second, third) = (world.submit(alice), world.submit(alice));
    world.publish_many(&job, 4);
    world.take_endpoint_events();
    for _ in 0..2 {
        assert_eq!(world.publish(&job, "line 4"), blocked());
        assert_eq!(world.finish(&second), blocked());
        assert_eq!(world.fail(&second, failure(ErrorCode::Timeout)), blocked());
    }
    assert_eq!(world.status(&second), JobStatus::Pending);
    assert_eq!(world.take_heard(watcher, &job), lines(0..4));
    // Above half of it is still taken.
    world.ack(alice, 1);
    assert!(world.take_writable().is_empty());
    world.ack(alice, 2);
    assert_eq!(world.take_writable(), [[job.clone(), second.clone()]]);
    assert_eq!(world.publish(&job, "line 4").unwrap().submitter, Receipt::Recorded(5));
    assert_eq!(world.finish(&second).unwrap().submitter, Receipt::Recorded(6));
    assert_eq!(world.take_heard(watcher, &job), lines(4..5));
    assert_eq!(world.publish(&third, "one"), blocked());
    world.ack(alice, 6);
    assert_eq!(world.take_writable(), [[third]]);
}

#[test]
fn d19_a_job_that_is_forgotten_while_it_is_blocked_is_not_told_as_writable() {
    let (mut world, alice, _, job) = two(windows_of(2));
    let second = world.submit(alice);
    world.publish_many(&job, 2);
    assert_eq!(world.publish(&second, "one"), blocked());
    assert!(world.endpoint.forget_job(world.now, &second));
    world.take_endpoint_events();
    world.ack(alice, 2);
    assert!(world.take_writable().is_empty());
}

#[test]
fn d19_a_submitter_that_only_sleeps_is_written_for_until_its_window_is_full() {
    let (mut world, alice, watcher, job) = two(windows_of(4));
    world.cut(alice);
    world.publish_many(&job, 4);
    assert_eq!(world.publish(&job, "line 4"), blocked());
    world.reconnect(alice);
    assert_eq!(world.take_heard(alice, &job), lines(0..4));
    world.ack(alice, 4);
    assert_eq!(world.take_writable(), [[job.clone()]]);
    world.publish(&job, "line 4").unwrap();
    assert_eq!(world.take_heard(watcher, &job), lines(0..5));
}

#[test]
fn d19_what_is_too_large_reaches_nobody_and_leaves_the_job_as_it_was() {
    let limits = Limits { max_frame: 4_096, ..Limits::default() };
    let (mut world, alice, watcher, job) = two(over(runtime().with_limits(limits)));
    let too_large = |result| matches!(result, Err(PublishError::Send(SendError::TooLarge { limit: 4_096, .. })));
    let text = "x".repeat(4_096);
    assert!(too_large(world.publish(&job, &text)));
    assert!(too_large(world.end(&job, JobResult::inline(RawJson::new(&text).unwrap()))));
    let error = arcp_proto::wire::WireError::new(ErrorCode::InternalError, text.as_str());
    assert!(too_large(world.fail(&job, JobError::new(error))));
    assert_eq!(world.status(&job), JobStatus::Pending);
    assert_eq!(world.publish(&job, "one").unwrap().submitter, Receipt::Recorded(1));
    for idx in [alice, watcher] {
        assert_eq!(world.take_heard(idx, &job), ["one"]);
    }
    // It is nothing that anybody could take when nobody listens, either.
    world.end_session(alice);
    assert!(too_large(world.publish(&job, &text)));
    assert!(world.take_heard(watcher, &job).is_empty());
}

#[test]
fn d19_what_is_no_event_reaches_nobody() {
    let (mut world, _, watcher, job) = two(config());
    let mut deep = json!({});
    for _ in 0..126 {
        deep = json!({"a": deep});
    }
    assert!(matches!(world.put(&job, "", json!({})), Err(PublishError::Send(SendError::Invalid(_)))));
    for body in [json!([1]), json!("text"), json!(null), json!(1), deep] {
        assert!(matches!(world.put(&job, "log", &body), Err(PublishError::Send(SendError::Invalid(_)))), "{body}");
    }
    for kind in ["log", "status", "result_chunk"] {
        assert!(matches!(world.put(&job, kind, Unwritable), Err(PublishError::Send(SendError::Json(_)))), "{kind}");
    }
    assert!(matches!(
        world.put(&job, "result_chunk", json!({"data": 1})),
        Err(PublishError::Send(SendError::Invalid(_)))
    ));
    assert_eq!(world.status(&job), JobStatus::Pending, "nothing has happened in it");
    assert!(world.take_heard(watcher, &job).is_empty());
}

#[test]
fn d5_nothing_follows_the_end_of_a_job() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.finish(&job).unwrap();
    let nothing = [
        world.publish(&job, "late"),
        world.finish(&job),
        world.fail(&job, failure(ErrorCode::Timeout)),
        world.chunk(&job, 0, "", false),
    ];
    assert_eq!(nothing, std::array::from_fn(|_| Err(PublishError::Ended)));
    assert!(!world.endpoint.mark_running(world.now, &job));
    world.advance(secs(600));
    assert_eq!(world.publish(&job, "late"), Err(PublishError::UnknownJob));
    assert_eq!(world.finish(&JobId::from("job_9")), Err(PublishError::UnknownJob));
    assert_eq!(world.fail(&JobId::from("job_9"), failure(ErrorCode::Timeout)), Err(PublishError::UnknownJob));
    assert_eq!(world.take_heard(alice, &job), ["success"]);
}

#[test]
fn d5_a_job_that_was_forgotten_is_unknown_and_nobody_hears_of_it() {
    let (mut world, alice, watcher, job) = two(config());
    world.publish(&job, "one").unwrap();
    assert!(world.endpoint.forget_job(world.now, &job));
    assert_eq!(world.publish(&job, "two"), Err(PublishError::UnknownJob));
    assert!(!world.endpoint.mark_running(world.now, &job));
    for idx in [alice, watcher] {
        assert_eq!(world.take_heard(idx, &job), ["one"]);
    }
}

#[test]
fn d32_where_the_submitters_session_is_gone_the_others_hear() {
    let (mut world, alice, watcher, job) = two(config());
    world.publish(&job, "one").unwrap();
    world.end_session(alice);
    let published = world.publish(&job, "two").unwrap();
    assert_eq!(published, Published { submitter: Receipt::Gone, subscribers: 1, skipped: 0 });
    assert_eq!(world.endpoint.jobs().get(&job).unwrap().last_event_seq, 1, "it is in the sequence no more");
    assert_eq!(world.finish(&job).unwrap().subscribers, 1);
    assert_eq!(world.take_heard(watcher, &job), ["one", "two", "success"]);
    assert_eq!(world.status(&job), JobStatus::Success);
}

#[test]
fn d31_a_job_that_no_session_submitted_is_heard_of_by_those_who_follow_it() {
    let mut world = World::plain().with_a_careless_application();
    let watcher = world.connect(client("alice"));
    let child = JobId::from("job_child");
    let record = JobRecord {
        parent_job_id: Some("job_parent".into()),
        ..JobRecord::new(child.clone(), principal("alice"), "code@1", world.now.wall)
    };
    world.endpoint.add_job(world.now, record.clone()).unwrap();
    assert!(world.endpoint.add_job(world.now, record).is_err());
    let subscribed = world.subscribe(watcher, &child, Some(0)).subscribed();
    assert_eq!(subscribed.parent_job_id, Some("job_parent".into()));
    assert_eq!((subscribed.replayed, subscribed.subscribed_from), (false, 0));
    let published = world.publish(&child, "one").unwrap();
    assert_eq!(published, Published { submitter: Receipt::Gone, subscribers: 1, skipped: 0 });
    world.finish(&child).unwrap();
    assert_eq!(world.take_heard(watcher, &child), ["one", "success"]);
}

#[test]
fn d18_a_submitters_session_that_ends_by_this_event_is_skipped_and_the_others_hear() {
    let (mut world, alice, watcher, job) = two(windows_of(2));
    world.cut(alice);
    let gone = world.session_of(alice);
    assert_eq!(world.publish(&job, "line 0").unwrap().submitter, Receipt::Recorded(1));
    world.advance(secs(600));
    assert!(world.endpoint.session(&gone).is_some(), "what nobody acknowledged is kept");
    assert_eq!(world.publish(&job, "line 1").unwrap().submitter, Receipt::Recorded(2));
    world.take_endpoint_events();
    let published = world.publish(&job, "line 2").unwrap();
    assert_eq!(published, Published { submitter: Receipt::Gone, subscribers: 1, skipped: 0 });
    assert_eq!(world.take_heard(watcher, &job), lines(0..3));
    assert!(world.endpoint.session(&gone).is_none());
    let events = world.take_endpoint_events();
    let [EndpointEvent::Closed { session, reason: CloseReason::ResumeWindowExpired, jobs }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((session, &jobs[..]), (&gone, &[job.clone()][..]));
    world.finish(&job).unwrap();
    assert_eq!(world.take_heard(watcher, &job), ["success"]);
}

#[test]
fn d18_a_subscribers_session_that_ends_by_this_event_is_skipped_and_whoever_has_its_place_hears_nothing() {
    let mut world = World::new(windows_of(2));
    let (alice, watcher) = (world.connect(eager("alice")), world.connect(client("alice")));
    let job = world.submit(alice);
    world.subscribe(watcher, &job, None).subscribed();
    let gone = world.session_of(watcher);
    world.cut(watcher);
    world.publish(&job, "line 0").unwrap();
    world.advance(secs(600));
    world.publish(&job, "line 1").unwrap();
    let published = world.publish(&job, "line 2").unwrap();
    assert_eq!(published, Published { submitter: Receipt::Recorded(3), subscribers: 0, skipped: 1 });
    assert!(world.endpoint.session(&gone).is_none());
    let newcomer = world.connect(client("bob"));
    let published = world.publish(&job, "line 3").unwrap();
    assert_eq!((published.subscribers, published.skipped), (0, 0));
    assert!(world.take_heard(newcomer, &job).is_empty());
    assert_eq!(world.take_heard(alice, &job), lines(0..4));
}

#[test]
fn d27_a_subscriber_that_does_not_read_holds_up_nobody_and_falls_alone() {
    // The referee expects a resume to be taken.
    let mut world = World::new(windows_of(4)).unjudged();
    let alice = world.connect(eager("alice"));
    let (slow, quick) = (world.connect(client("alice")), world.connect(eager("alice")));
    let job = world.submit(alice);
    world.subscribe(slow, &job, None).subscribed();
    world.subscribe(quick, &job, None).subscribed();
    let link = world.link_of(slow);
    world.set_writable(link, false);
    for n in 0..4 {
        let published = world.publish(&job, &format!("line {n}")).unwrap();
        assert_eq!((published.subscribers, published.skipped), (2, 0), "{n}");
    }
    world.take_endpoint_events();
    // This one does not fit.
    let published = world.publish(&job, "line 4").unwrap();
    assert_eq!(published, Published { submitter: Receipt::Recorded(5), subscribers: 1, skipped: 1 });
    let events = world.take_endpoint_events();
    assert!(matches!(&events[..], [EndpointEvent::Detached { reason: DetachReason::Overrun, .. }]), "{events:?}");
    world.publish(&job, "line 5").unwrap();
    for idx in [alice, quick] {
        assert_eq!(world.take_heard(idx, &job), lines(0..6));
    }
    // It is told, and sees no hole.
    world.set_writable(link, true);
    world.endpoint.handle_timeout(world.now);
    world.flush();
    let heard = world.link(link).transcript.iter().filter(|passed| passed.from == From::Endpoint).map(Passed::json);
    let last = heard.last().unwrap();
    assert_eq!((type_of(&last), &last["payload"]["code"]), ("session.error", &json!("INTERNAL_ERROR")));
    assert!(world.is_closed(link));
    world.take_events(slow);
    world.reconnect(slow);
    let events = world.take_events(slow);
    assert!(
        events.iter().any(|event| matches!(event, arcp_proto::ClientEvent::Closed(CloseReason::ResumeRefused(_)))),
        "a visible loss: {events:?}"
    );
    assert!(heard_of(&events, &job).is_empty());
}

#[test]
fn d19_a_parked_subscriber_keeps_the_newest_and_holds_up_nobody() {
    for (count, is_lost) in [(4, false), (5, true)] {
        // The referee expects a resume to be taken.
        let mut world = World::new(windows_of(4)).unjudged();
        let (alice, watcher) = (world.connect(eager("alice")), world.connect(client("alice")));
        let job = world.submit(alice);
        world.subscribe(watcher, &job, None).subscribed();
        world.cut(watcher);
        world.publish_each(&job, count);
        assert_eq!(world.take_heard(alice, &job), lines(0..count));
        world.take_events(watcher);
        world.reconnect(watcher);
        let heard = world.take_heard(watcher, &job);
        assert_eq!(heard, if is_lost { lines(0..0) } else { lines(0..4) });
        assert_eq!(world.counters().resumes_refused, u64::from(is_lost));
    }
}

impl World {
    /// So many lines, each read before the next.
    fn publish_each(&mut self, job: &JobId, count: u64) {
        for n in 0..count {
            self.publish(job, &format!("line {n}")).unwrap();
        }
    }
}

#[test]
fn d19_a_submitters_own_jobs_wait_while_those_it_follows_push_out_its_oldest() {
    let mut world = World::new(windows_of(4));
    let (alice, bob) = (world.connect(eager("alice")), world.connect(client("alice")));
    let (followed, own) = (world.submit(alice), world.submit(bob));
    world.subscribe(bob, &followed, None).subscribed();
    world.publish_each(&own, 4);
    assert_eq!(world.publish(&own, "line 4"), blocked());
    // Sent already: nothing is lost to the present transport.
    world.publish_each(&followed, 6);
    assert_eq!(world.publish(&own, "line 4"), blocked());
    world.take_endpoint_events();
    assert_eq!(world.runtime_of(bob).unwrap().replay_floor(), 6);
    world.ack(bob, 10);
    assert_eq!(world.take_writable(), [[own.clone()]]);
    let events = world.take_events(bob);
    assert_eq!(heard_of(&events, &followed), lines(0..6));
    assert_eq!(heard_of(&events, &own), lines(0..4));
}

#[test]
fn d5_the_end_of_a_job_waits_in_the_replay_for_whoever_is_away() {
    let (mut world, alice, watcher, job) = two(config());
    world.publish(&job, "one").unwrap();
    world.take_events(alice);
    world.take_events(watcher);
    world.cut(alice);
    world.cut(watcher);
    world.finish(&job).unwrap();
    world.advance(secs(60));
    for idx in [alice, watcher] {
        world.reconnect(idx);
        assert_eq!(world.take_heard(idx, &job), ["success"]);
    }
}

#[test]
fn d5_a_job_ends_in_each_of_four_ways_and_so_it_is_listed() {
    let ends = [
        (ErrorCode::InternalError, JobStatus::Error),
        (ErrorCode::Cancelled, JobStatus::Cancelled),
        (ErrorCode::Timeout, JobStatus::TimedOut),
        (ErrorCode::BudgetExhausted, JobStatus::Error),
    ];
    let (mut world, alice, watcher, job) = two(config());
    world.finish(&job).unwrap();
    assert_eq!(world.status(&job), JobStatus::Success);
    for (code, status) in ends {
        let job = world.submit(alice);
        world.subscribe(watcher, &job, None).subscribed();
        world.fail(&job, failure(code.clone())).unwrap();
        assert_eq!(world.status(&job), status);
        for idx in [alice, watcher] {
            let frames = world.frames_of(idx, &job);
            assert_eq!(frames[0]["payload"]["final_status"], json!(status.as_str()));
            assert_eq!(frames[0]["payload"]["code"], json!(code.as_str()));
            assert_eq!(frames.len(), 1);
        }
    }
}

#[test]
fn d12_a_job_does_not_end_by_a_code_that_clients_take_for_a_refusal_or_that_is_none() {
    let (mut world, alice, watcher, job) = two(config());
    let codes =
        [ErrorCode::DuplicateKey, ErrorCode::PermissionDenied, ErrorCode::JobNotFound, ErrorCode::from("NO_SUCH_CODE")];
    for code in codes {
        let refused = world.fail(&job, failure(code.clone()));
        assert!(matches!(refused, Err(PublishError::Send(SendError::Invalid(_)))), "{code:?}");
    }
    for final_status in [JobStatus::Success, JobStatus::Running, JobStatus::Pending, JobStatus::from("odd")] {
        let error = JobError { final_status, ..failure(ErrorCode::InternalError) };
        assert!(matches!(world.fail(&job, error), Err(PublishError::Send(SendError::Invalid(_)))));
    }
    let result = JobResult { final_status: JobStatus::Error, ..JobResult::inline(RawJson::null()) };
    assert!(matches!(world.end(&job, result), Err(PublishError::Send(SendError::Invalid(_)))));
    assert_eq!(world.status(&job), JobStatus::Pending);
    world.publish(&job, "on").unwrap();
    for idx in [alice, watcher] {
        assert_eq!(world.take_heard(idx, &job), ["on"]);
    }
}

#[test]
fn d30_a_job_is_at_work_from_its_first_event_on() {
    let (mut world, alice, _, job) = two(windows_of(1));
    let second = world.submit(alice);
    assert_eq!(world.status(&job), JobStatus::Pending);
    world.publish(&job, "one").unwrap();
    assert_eq!(world.status(&job), JobStatus::Running);
    assert_eq!(world.publish(&second, "one"), blocked());
    assert_eq!(world.status(&second), JobStatus::Pending);
    assert!(world.endpoint.mark_running(world.now, &second));
    assert!(world.endpoint.mark_running(world.now, &second));
    assert_eq!(world.status(&second), JobStatus::Running);
    assert!(!world.endpoint.mark_running(world.now, &JobId::from("job_9")));
}

#[test]
fn d19_where_the_submitters_session_ends_nobody_waits_for_room_in_it() {
    let (mut world, alice, watcher, job) = two(windows_of(2));
    let second = world.submit(alice);
    world.publish_many(&job, 2);
    assert_eq!(world.publish(&job, "line 2"), blocked());
    assert_eq!(world.publish(&second, "one"), blocked());
    world.take_endpoint_events();
    // The referee expects a farewell.
    world = world.unjudged();
    let session = world.session_of(alice);
    assert!(world.endpoint.evict(world.now, &session));
    world.flush();
    let events = world.take_endpoint_events();
    let [EndpointEvent::Writable { jobs, .. }, EndpointEvent::Closed { jobs: orphans, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(jobs, &[job.clone(), second.clone()]);
    assert_eq!(orphans, jobs);
    assert_eq!(world.publish(&job, "line 2").unwrap().submitter, Receipt::Gone);
    assert_eq!(world.take_heard(watcher, &job), lines(0..3));
}

#[test]
fn d18_where_the_submitters_window_ends_nobody_waits_for_room_in_it() {
    let (mut world, alice, watcher, job) = two(windows_of(2));
    world.cut(alice);
    world.publish_many(&job, 2);
    assert_eq!(world.publish(&job, "line 2"), blocked());
    world.take_endpoint_events();
    world.advance(secs(600) - millis(1));
    assert!(world.take_writable().is_empty());
    world.advance(millis(1));
    assert_eq!(world.take_writable(), [[job.clone()]]);
    assert_eq!(world.publish(&job, "line 2").unwrap().submitter, Receipt::Gone);
    assert_eq!(world.take_heard(watcher, &job), lines(0..3));
}

#[test]
fn d26_the_signal_of_one_sessions_back_pressure_is_for_that_session_alone() {
    let runtime = arcp_proto::RuntimeConfig { back_pressure_threshold: 2, ..runtime() };
    let (mut world, alice, watcher, job) = two(over(runtime));
    world.publish_each(&job, 4);
    assert_eq!(world.take_heard(alice, &job), ["line 0", "line 1", "line 2", "status", "line 3"]);
    assert_eq!(world.take_heard(watcher, &job), lines(0..4));
    let pressed: Vec<_> = world
        .take_endpoint_events()
        .into_iter()
        .filter_map(|event| match event {
            EndpointEvent::BackPressure { session, active, .. } => Some((session, active)),
            _ => None,
        })
        .collect();
    assert_eq!(pressed, [(world.session_of(alice), true)]);
}

#[test]
fn d19_under_evict_a_submitter_is_never_blocked_and_falls_as_a_subscriber_does() {
    let (mut world, alice, watcher, job) = two(over(runtime().with_replay(2, 16 << 20, Overflow::Evict)));
    let link = world.link_of(alice);
    world.set_writable(link, false);
    for n in 0..4 {
        world.publish(&job, &format!("line {n}")).unwrap();
    }
    assert_eq!(world.take_heard(watcher, &job), lines(0..4));
    assert_eq!(world.counters().detached, 1);
}

// Streamed results.

fn stream<T>(error: StreamError) -> Result<T, PublishError> {
    Err(PublishError::Stream(error))
}

#[test]
fn d42_chunks_come_in_order_without_holes_and_the_result_names_them() {
    let (mut world, alice, watcher, job) = two(config());
    assert_eq!(world.end(&job, JobResult::streamed("res_1".into(), 0)), stream(StreamError::NotStreamed));
    assert_eq!(world.chunk(&job, 1, "b", true), stream(StreamError::OutOfOrder { expected: 0 }));
    world.chunk(&job, 0, "one", true).unwrap();
    for wrong in [0, 2] {
        assert_eq!(world.chunk(&job, wrong, "b", true), stream(StreamError::OutOfOrder { expected: 1 }));
    }
    let other = ResultChunk { result_id: "res_2".into(), ..chunk(1, "b", true) };
    assert_eq!(world.put(&job, "result_chunk", other), stream(StreamError::OtherResult("res_1".into())));
    assert_eq!(world.end(&job, JobResult::streamed("res_1".into(), 3)), stream(StreamError::Incomplete));
    world.publish(&job, "between").unwrap();
    world.chunk(&job, 1, "twö", false).unwrap();
    assert_eq!(world.chunk(&job, 2, "late", false), stream(StreamError::Complete));
    assert_eq!(world.finish(&job), stream(StreamError::InlineToo));
    assert_eq!(world.end(&job, JobResult::inline(RawJson::null())), stream(StreamError::Unnamed));
    assert_eq!(world.end(&job, JobResult::streamed("res_1".into(), 6)), stream(StreamError::OtherSize { streamed: 7 }));
    assert_eq!(world.status(&job), JobStatus::Running);
    world.end(&job, JobResult::streamed("res_1".into(), 7)).unwrap();
    for idx in [alice, watcher] {
        assert_eq!(world.take_heard(idx, &job), ["result_chunk", "between", "result_chunk", "success"]);
        let frames = world.frames_of(idx, &job);
        assert_eq!(frames[0]["payload"]["body"]["chunk_seq"], json!(0));
        assert_eq!(frames[3]["payload"]["result_id"], json!("res_1"));
        assert_eq!(frames[3]["payload"]["result_size"], json!(7));
    }
}

#[test]
fn d42_a_stream_may_be_broken_off_by_an_error() {
    let (mut world, alice, _, job) = two(config());
    world.chunk(&job, 0, "one", true).unwrap();
    world.fail(&job, failure(ErrorCode::Cancelled)).unwrap();
    assert_eq!(world.take_heard(alice, &job), ["result_chunk", "CANCELLED"]);
}

#[test]
fn d42_a_chunk_that_was_blocked_comes_again() {
    let (mut world, alice, watcher, job) = two(windows_of(1));
    world.chunk(&job, 0, "one", true).unwrap();
    assert_eq!(world.chunk(&job, 1, "two", false), blocked());
    world.ack(alice, 1);
    world.chunk(&job, 1, "two", false).unwrap();
    assert_eq!(world.take_heard(watcher, &job).len(), 2);
}

#[test]
fn d42_a_chunk_towards_nobody_who_can_take_it_has_its_place_all_the_same() {
    let mut world = World::plain();
    let alice = world.connect(client_without("alice", &[Feature::ResultChunk]));
    let job = world.submit(alice);
    assert_eq!(world.chunk(&job, 0, "one", true).unwrap().submitter, Receipt::NotNegotiated(Feature::ResultChunk));
    assert_eq!(world.chunk(&job, 0, "one", true), stream(StreamError::OutOfOrder { expected: 1 }));
}

#[test]
fn d33_the_end_of_a_streamed_job_goes_without_its_stream_towards_who_cannot_have_it() {
    let mut world = World::plain();
    let (alice, plain) =
        (world.connect(client("alice")), world.connect(client_without("alice", &[Feature::ResultChunk])));
    for (submitter, watcher) in [(alice, plain), (plain, alice)] {
        let job = world.submit(submitter);
        world.subscribe(watcher, &job, None).subscribed();
        world.chunk(&job, 0, "one", false).unwrap();
        let result = JobResult { summary: Some("done".into()), ..JobResult::streamed("res_1".into(), 3) };
        world.end(&job, result).unwrap();
        let payload = |world: &World, idx| world.frames_of(idx, &job).pop().unwrap()["payload"].clone();
        assert_eq!(
            payload(&world, alice),
            json!({"final_status": "success", "result_id": "res_1", "result_size": 3, "summary": "done"})
        );
        assert_eq!(payload(&world, plain), json!({"final_status": "success", "summary": "done"}));
    }
}

#[test]
fn d42_a_result_over_its_cap_ends_the_job() {
    let (mut world, alice, watcher, job) = two(EndpointConfig { result_bytes: 6, ..config() });
    world.chunk(&job, 0, "abc", true).unwrap();
    let second = world.submit(alice);
    world.chunk(&second, 0, "abcdef", false).unwrap();
    world.end(&second, JobResult::streamed("res_1".into(), 6)).unwrap();
    assert_eq!(world.chunk(&job, 1, "defg", true), stream(StreamError::TooLarge { limit: 6 }));
    assert_eq!(world.status(&job), JobStatus::Error);
    assert_eq!(world.publish(&job, "late"), Err(PublishError::Ended));
    for idx in [alice, watcher] {
        assert_eq!(world.take_heard(idx, &job), ["result_chunk", "INTERNAL_ERROR"]);
    }
}

#[test]
fn d42_a_chunk_over_the_frame_limit_ends_the_job() {
    let limits = Limits { max_frame: 4_096, ..Limits::default() };
    for is_gone in [false, true] {
        let (mut world, alice, watcher, job) = two(over(runtime().with_limits(limits.clone())));
        world.chunk(&job, 0, "abc", true).unwrap();
        if is_gone {
            world.end_session(alice);
        }
        let refused = world.chunk(&job, 1, &"x".repeat(4_096), true);
        assert!(matches!(refused, Err(PublishError::Send(SendError::TooLarge { .. }))), "{refused:?}");
        assert_eq!(world.status(&job), JobStatus::Error);
        assert_eq!(world.chunk(&job, 1, "x", true), Err(PublishError::Ended));
        assert_eq!(world.take_heard(watcher, &job), ["result_chunk", "INTERNAL_ERROR"]);
    }
}

#[test]
fn d42_an_end_that_is_owed_while_the_window_is_full_is_paid_as_soon_as_it_fits() {
    let (mut world, alice, watcher, job) = two(EndpointConfig { result_bytes: 6, ..windows_of(2) });
    world.chunk(&job, 0, "abc", true).unwrap();
    world.publish(&job, "one").unwrap();
    assert_eq!(world.chunk(&job, 1, "defg", true), stream(StreamError::TooLarge { limit: 6 }));
    let nothing = [
        world.publish(&job, "late"),
        world.chunk(&job, 1, "d", true),
        world.end(&job, JobResult::streamed("res_1".into(), 3)),
        world.fail(&job, failure(ErrorCode::Timeout)),
    ];
    assert_eq!(nothing, std::array::from_fn(|_| Err(PublishError::Ended)));
    assert!(world.endpoint.jobs().get(&job).is_some_and(|job| !job.status.is_terminal()));
    for idx in [alice, watcher] {
        assert_eq!(world.take_heard(idx, &job), ["result_chunk", "one"]);
    }
    world.take_endpoint_events();
    world.ack(alice, 1);
    for idx in [alice, watcher] {
        assert_eq!(world.take_heard(idx, &job), ["INTERNAL_ERROR"]);
    }
    assert_eq!(world.status(&job), JobStatus::Error);
    assert!(world.take_writable().is_empty(), "there is nothing that the application could publish again");
}

#[test]
fn d42_an_end_that_is_owed_is_paid_to_the_others_where_the_submitter_goes() {
    let (mut world, alice, watcher, job) = two(EndpointConfig { result_bytes: 6, ..windows_of(1) });
    let second = world.submit(alice);
    world.chunk(&job, 0, "abc", true).unwrap();
    assert_eq!(world.chunk(&job, 1, "defg", true), stream(StreamError::TooLarge { limit: 6 }));
    assert_eq!(world.publish(&second, "one"), blocked());
    world.take_endpoint_events();
    // The referee expects a farewell.
    world = world.unjudged();
    let session = world.session_of(alice);
    assert!(world.endpoint.evict(world.now, &session));
    world.flush();
    assert_eq!(world.take_heard(watcher, &job), ["result_chunk", "INTERNAL_ERROR"]);
    assert_eq!(world.status(&job), JobStatus::Error);
    let events = world.take_endpoint_events();
    let [EndpointEvent::Writable { jobs, .. }, EndpointEvent::Closed { jobs: orphans, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((&jobs[..], &orphans[..]), (&[second.clone()][..], &[second.clone()][..]));
}
