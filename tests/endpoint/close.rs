//! How transports and sessions end, what is said last, and what lives on (A8, A13, A14, D10, D27, D32).

use arcp_proto::endpoint::{Audited, EndpointConfig, EndpointEvent, Receipt};
use arcp_proto::wire::{JobStatus, SessionId};
use arcp_proto::{ClientEvent, CloseReason, DetachReason, Farewell, Phase};
use serde_json::{Value, json};

use crate::world::*;

const QUIET: &[&str] = &["ack", "list_jobs", "subscribe"];

/// What of the endpoint's events is about the life of sessions.
fn ends(world: &mut World) -> Vec<String> {
    world
        .take_endpoint_events()
        .iter()
        .filter_map(|event| match event {
            EndpointEvent::Detached { session, reason } => Some(format!("{session} {reason:?}")),
            EndpointEvent::Closed { session, reason, jobs } => Some(format!("{session} {reason:?} {jobs:?}")),
            _ => None,
        })
        .collect()
}

fn bye(id: &SessionId) -> Value {
    message("session.bye", "b1", id, json!({"reason": "normal"}))
}

/// A session by hand with a job; job and session have the same number.
fn with_job(world: &mut World, name: &str) -> (LinkIdx, SessionId) {
    let (link, id) = world.raw_session(name, QUIET);
    world.say(link, &message("job.submit", "s1", &id, json!({"agent": "code-refactor", "input": {}})));
    assert_eq!(types(&world.heard(link)), ["job.accepted"]);
    world.take_endpoint_events();
    (link, id)
}

/// What a job's session makes of an event: the job lives.
#[track_caller]
fn assert_lives(world: &mut World, n: u64, submitter: Receipt) {
    assert_eq!(world.publish(&job(n), "still here").unwrap().submitter, submitter);
    assert_eq!(world.endpoint.jobs().get(&job(n)).unwrap().status, JobStatus::Running);
}

#[test]
fn a13_a_client_says_goodbye_and_its_jobs_go_on() {
    for (farewell, says) in [(Farewell::Bye, "session.bye"), (Farewell::Close, "session.close")] {
        let mut world = World::plain();
        let mut config = client("alice");
        config.farewell = farewell;
        let alice = world.connect(config);
        let job_id = world.submit(alice);
        world.take_endpoint_events();
        world.take_audit();
        let link = world.link_of(alice);
        let now = world.now;
        world.client(alice).close(now, "maintenance");
        world.flush();
        let passed: Vec<_> = world.link(link).transcript.iter().rev().take(2).map(Passed::json).collect();
        assert_eq!(types(&passed), ["session.closed", says]);
        assert_eq!(passed[0]["payload"]["reason"], "maintenance");
        assert_eq!(world.link(link).closed_at, Some(now.mono));
        let events = world.take_events(alice);
        assert!(matches!(events.last(), Some(ClientEvent::Closed(CloseReason::Requested))), "{events:?}");
        let reason = DetachReason::PeerClosed { reason: Some("maintenance".into()) };
        assert_eq!(ends(&mut world), [format!("sess_1 {reason:?}")]);
        assert_eq!(world.take_audited(), [Audited::Detached(reason)]);
        assert_eq!((world.endpoint.connection_count(), world.endpoint.parked().0), ((0, 0), 1));
        assert_eq!(job_id, job(1));
        assert_lives(&mut world, 1, Receipt::Recorded(1));
    }
}

#[test]
fn d27_what_was_emitted_goes_before_the_answer_to_a_goodbye_and_nothing_behind_it() {
    let mut world = World::plain();
    let (link, id) = with_job(&mut world, "alice");
    world.set_writable(link, false);
    world.publish_many(&job(1), 3);
    world.say(link, &bye(&id));
    world.publish_many(&job(1), 1);
    assert!(world.heard(link).is_empty());
    world.set_writable(link, true);
    world.flush();
    let heard = world.heard(link);
    assert_eq!(types(&heard), ["job.event", "job.event", "job.event", "session.closed"]);
    assert!(world.is_closed(link));
    world.publish_many(&job(1), 1);
    assert!(world.heard(link).is_empty());
    assert_eq!(world.endpoint.session(&id).unwrap().last_event_seq(), 5, "the rest is there for a resume");
}

#[test]
fn d27_a_client_that_leaves_and_does_not_read_is_waited_for_and_then_not() {
    let mut world = World::plain().unjudged();
    let (link, id) = with_job(&mut world, "alice");
    world.set_writable(link, false);
    world.publish_many(&job(1), 1);
    world.say(link, &bye(&id));
    world.advance(millis(4_999));
    assert!(ends(&mut world).is_empty(), "what was emitted has five seconds");
    world.advance(millis(1));
    assert_eq!(ends(&mut world), [format!("sess_1 {:?}", DetachReason::PeerClosed { reason: Some("normal".into()) })]);
    world.advance(millis(4_999));
    assert!(!world.is_closed(link), "the farewell has five more");
    world.advance(millis(1));
    assert!(world.is_closed(link) && world.heard(link).is_empty());
    assert_eq!(world.endpoint.connection_count(), (0, 0));
}

#[test]
fn d32_a_transport_that_ends_without_a_word_is_a_loss_and_jobs_go_on() {
    let mut world = World::plain();
    let (link, id) = with_job(&mut world, "alice");
    world.take_audit();
    world.hang_up(link);
    assert_eq!(ends(&mut world), [format!("sess_1 {:?}", DetachReason::TransportLost)]);
    assert_eq!(world.take_audited(), [Audited::Detached(DetachReason::TransportLost)]);
    assert!(!world.is_closed(link), "no order is given for what is gone");
    assert_eq!(world.endpoint.conn_of(&id), None);
    assert_eq!(world.endpoint.session(&id).unwrap().phase(), Phase::Detached);
    assert_lives(&mut world, 1, Receipt::Recorded(1));
    // Told again, it is nothing new.
    let (now, conn) = (world.now, world.conn(link));
    world.endpoint.handle_disconnect(now, conn);
    world.flush();
    assert!(world.take_endpoint_events().is_empty() && world.take_audit().is_empty());
}

#[test]
fn a14_a_shutdown_of_one_says_bye_behind_all_events_and_its_jobs_go_on_without_it() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let bob = world.connect(client("bob"));
    let job_id = world.submit(alice);
    world.take_events(alice);
    world.take_endpoint_events();
    world.take_audit();
    for n in 0..3 {
        world.publish_unsent(&job_id, &format!("{n}")).unwrap();
    }
    let (now, id, link) = (world.now, world.session_of(alice), world.link_of(alice));
    assert!(world.endpoint.shutdown(now, &id, "maintenance"));
    world.flush();
    let events = world.take_events(alice);
    let [_, _, _, ClientEvent::Closed(CloseReason::PeerClosed { reason })] = &events[..] else { panic!("{events:?}") };
    assert_eq!(reason.as_deref(), Some("maintenance"));
    let last = world.link(link).transcript.last().unwrap().json();
    assert_eq!((type_of(&last), &last["payload"]["reason"]), ("session.bye", &json!("maintenance")));
    assert_eq!(world.link(link).closed_at, Some(now.mono));
    assert_eq!(ends(&mut world), [format!("sess_1 {:?} {:?}", CloseReason::Shutdown, [job(1)])]);
    assert_eq!(world.take_audited(), [Audited::Closed(CloseReason::Shutdown)]);
    assert_eq!(world.endpoint.session_count(), 1);
    assert!(!world.is_closed(world.link_of(bob)), "only one was meant");
    assert!(!world.endpoint.shutdown(now, &id, "again"), "it is gone");
    assert_lives(&mut world, 1, Receipt::Gone);
}

#[test]
fn a14_a_parked_session_is_shut_down_at_once_and_cannot_be_resumed() {
    let mut world = World::plain().unjudged();
    let (link, id) = with_job(&mut world, "alice");
    world.hang_up(link);
    ends(&mut world);
    let now = world.now;
    assert!(world.endpoint.shutdown(now, &id, "maintenance"));
    world.flush();
    assert_eq!(ends(&mut world), [format!("sess_1 {:?} {:?}", CloseReason::Shutdown, [job(1)])]);
    assert_eq!((world.endpoint.session_count(), world.endpoint.parked()), (0, (0, 0)));
    let link = world.raw();
    world.say(link, &resume_hello("alice", QUIET, &id, &token(1), 0));
    assert_eq!(world.heard(link)[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED");
}

#[test]
fn a14_a_shutdown_of_all_ends_every_session_and_lets_nobody_in() {
    let mut world = World::plain().unjudged();
    let alice = world.connect(client("alice"));
    let bob = world.connect(client("bob"));
    let (away, _) = with_job(&mut world, "carol");
    world.hang_up(away);
    let job_id = world.submit(alice);
    world.publish_unsent(&job_id, "before").unwrap();
    let now = world.now;
    world.endpoint.shutdown_all(now, "going home");
    world.flush();
    for idx in [alice, bob] {
        let events = world.take_events(idx);
        let Some(ClientEvent::Closed(CloseReason::PeerClosed { reason })) = events.last() else { panic!("{events:?}") };
        assert_eq!(reason.as_deref(), Some("going home"));
        assert!(world.is_closed(world.link_of(idx)));
    }
    assert_eq!((world.endpoint.session_count(), world.endpoint.connection_count()), (0, (0, 0)));
    assert_eq!(world.counters().closed, 3);
    let late = world.connect(client("dave"));
    let events = world.take_events(late);
    assert!(matches!(events.last(), Some(ClientEvent::Closed(CloseReason::ConnectRefused(_)))), "{events:?}");
    let link = world.raw();
    world.say(link, &resume_hello("carol", QUIET, &session(3), &token(3), 0));
    assert_eq!(types(&world.heard(link)), ["session.error"]);
    assert_eq!(world.endpoint.connection_count(), (0, 0));
}

#[test]
fn a14_a_shutdown_is_done_in_time_whoever_does_not_read() {
    let mut world = World::plain().unjudged();
    let (reading, _) = with_job(&mut world, "alice");
    let (full, _) = with_job(&mut world, "bob");
    world.set_writable(full, false);
    world.publish_many(&job(1), 1);
    world.publish_many(&job(2), 1);
    let now = world.now;
    world.endpoint.shutdown_all(now, "maintenance");
    world.flush();
    assert_eq!(types(&world.heard(reading)), ["job.event", "session.bye"]);
    assert!(world.is_closed(reading) && !world.is_closed(full));
    world.advance(millis(4_999));
    assert_eq!(world.endpoint.session_count(), 1);
    world.advance(millis(1));
    assert_eq!(world.endpoint.session_count(), 0);
    world.advance(secs(5));
    assert!(world.is_closed(full));
    assert_eq!(world.endpoint.connection_count(), (0, 0));
    // Two jobs of sessions that are gone.
    assert_lives(&mut world, 1, Receipt::Gone);
    assert_lives(&mut world, 2, Receipt::Gone);
}

#[test]
fn a14_a_shutdown_takes_the_client_s_goodbye_for_the_end() {
    let mut world = World::plain();
    let (link, id) = with_job(&mut world, "alice");
    world.set_writable(link, false);
    world.publish_many(&job(1), 1);
    world.say(link, &bye(&id));
    let now = world.now;
    world.endpoint.shutdown(now, &id, "maintenance");
    world.set_writable(link, true);
    world.flush();
    assert_eq!(types(&world.heard(link)), ["job.event", "session.closed"]);
    assert_eq!(ends(&mut world), [format!("sess_1 {:?} {:?}", CloseReason::Shutdown, [job(1)])]);
    assert!(world.is_closed(link));
}

#[test]
fn a8_two_silent_intervals_lose_the_transport_and_not_the_session() {
    let mut world = World::plain();
    let (link, id) = world.raw_session("alice", &["heartbeat", "ack"]);
    world.say(link, &message("job.submit", "s1", &id, json!({"agent": "code-refactor", "input": {}})));
    world.take_endpoint_events();
    world.heard(link);
    let last = world.now.mono;
    world.advance(millis(59_999));
    assert!(!world.is_closed(link));
    world.heard(link);
    world.advance(millis(1));
    let heard = world.heard(link);
    assert_eq!(types(&heard), ["session.error"]);
    assert_eq!(heard[0]["payload"]["code"], "HEARTBEAT_LOST");
    assert_eq!(world.link(link).closed_at, Some(last + secs(60)));
    assert_eq!(ends(&mut world), [format!("sess_1 {:?}", DetachReason::HeartbeatLost)]);
    assert_eq!(world.endpoint.parked().0, 1);
    assert_lives(&mut world, 1, Receipt::Recorded(1));
}

#[test]
fn d21_bytes_without_a_message_are_a_sign_of_life() {
    let mut world = World::plain().unjudged();
    let (link, _) = world.raw_session("alice", &["heartbeat"]);
    for _ in 0..10 {
        world.advance(secs(45));
        let (now, conn) = (world.now, world.conn(link));
        world.endpoint.handle_activity(now, conn);
    }
    world.advance(millis(59_999));
    assert!(!world.is_closed(link));
    world.advance(millis(1));
    assert!(world.is_closed(link));
}

#[test]
fn a14_a_second_hello_is_sent_away_and_the_session_can_be_resumed() {
    let mut world = World::plain();
    let (link, _) = with_job(&mut world, "alice");
    world.publish_many(&job(1), 1);
    world.heard(link);
    let mut again = hello("alice", QUIET);
    again["id"] = json!("h2");
    world.say(link, &again);
    let heard = world.heard(link);
    assert_eq!(types(&heard), ["session.bye", "session.error"]);
    assert_eq!(heard[0]["payload"]["reason"], "reauthentication");
    assert_eq!(
        (&heard[1]["payload"]["code"], &heard[1]["payload"]["request_id"]),
        (&json!("INVALID_REQUEST"), &json!("h2"))
    );
    assert!(world.is_closed(link));
    assert!(world.app.applicants.is_empty());
    assert_eq!(world.counters().admitted, 1, "nobody was asked who that is");
    assert_eq!(ends(&mut world), [format!("sess_1 {:?}", DetachReason::Reauthentication)]);
    assert_lives(&mut world, 1, Receipt::Recorded(2));
    let link = world.raw();
    world.say(link, &resume_hello("alice", QUIET, &session(1), &token(1), 1));
    assert_eq!(types(&world.heard(link)), ["session.welcome", "job.event"]);
}

#[test]
fn d43_too_many_violations_cost_the_transport_and_not_the_session() {
    let mut limits = runtime();
    limits.limits.violations = 3;
    let mut world = World::new(EndpointConfig::new(limits)).unjudged();
    let (link, _) = with_job(&mut world, "alice");
    for n in 0..4 {
        assert!(!world.is_closed(link), "{n}");
        let (now, conn) = (world.now, world.conn(link));
        world.endpoint.handle_malformed(now, conn, arcp_proto::wire::FrameFault::TooLarge { limit: 1 << 20 });
        world.flush();
    }
    assert!(world.is_closed(link));
    let heard = world.heard(link);
    assert_eq!(heard.last().unwrap()["payload"]["code"], "INVALID_REQUEST");
    assert_eq!(ends(&mut world), [format!("sess_1 {:?}", DetachReason::TooManyViolations)]);
    assert_lives(&mut world, 1, Receipt::Recorded(1));
}

#[test]
fn d27_every_order_to_close_is_given_once_and_comes_behind_the_last_words() {
    let mut world = World::plain().unjudged();
    let (link, id) = with_job(&mut world, "alice");
    let (now, conn) = (world.now, world.conn(link));
    world.endpoint.shutdown(now, &id, "maintenance");
    let (to, frame) = world.endpoint.poll_transmit(now).unwrap();
    assert_eq!((to, type_of(&serde_json::from_slice(&frame).unwrap())), (conn, "session.bye"));
    assert_eq!(world.endpoint.poll_transmit(now), None);
    assert_eq!(world.endpoint.poll_close(), Some(conn));
    assert_eq!(world.endpoint.poll_close(), None);
    assert_eq!(world.endpoint.connection_count(), (0, 0));
    // What a driver may still report of it.
    world.endpoint.handle_input(now, conn, bytes(&bye(&id)));
    world.endpoint.handle_disconnect(now, conn);
    world.endpoint.set_writable(conn, true);
    assert!(!world.endpoint.wants_input(conn));
    assert_eq!(world.endpoint.poll_transmit(now), None);
    assert_eq!(world.endpoint.poll_close(), None);
}

#[test]
fn d32_a_transport_that_is_gone_before_its_order_is_carried_out_needs_none() {
    let mut world = World::plain().unjudged();
    let (link, id) = with_job(&mut world, "alice");
    let (now, conn) = (world.now, world.conn(link));
    world.endpoint.shutdown(now, &id, "maintenance");
    world.endpoint.handle_disconnect(now, conn);
    assert_eq!(world.endpoint.poll_transmit(now), None);
    assert_eq!(world.endpoint.poll_close(), None);
    let mut ends = Vec::new();
    while let Some(event) = world.endpoint.poll_event() {
        ends.push(event);
    }
    let [EndpointEvent::Closed { reason: CloseReason::Shutdown, .. }] = &ends[..] else { panic!("{ends:?}") };
    assert_eq!(world.endpoint.connection_count(), (0, 0));
}

#[test]
fn a14_goodbyes_that_cross_end_both_sides() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let (now, id, link) = (world.now, world.session_of(alice), world.link_of(alice));
    world.hold_to_endpoint(link, true);
    world.client(alice).close(now, "bye");
    world.flush();
    world.endpoint.shutdown(now, &id, "maintenance");
    world.flush();
    world.hold_to_endpoint(link, false);
    world.flush();
    let events = world.take_events(alice);
    let closed = events.iter().filter(|event| matches!(event, ClientEvent::Closed(_))).count();
    assert_eq!(closed, 1, "{events:?}");
    assert_eq!((world.endpoint.session_count(), world.endpoint.connection_count()), (0, (0, 0)));
}
