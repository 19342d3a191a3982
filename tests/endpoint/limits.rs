//! What an endpoint holds at most, and who has to go for it (§14, D18, D32, D43).

use arcp_proto::endpoint::{AdmitError, Audited, Counters, EndpointConfig, EndpointEvent, Limit};
use arcp_proto::wire::SessionId;
use arcp_proto::{ClientEvent, CloseReason, DetachReason, RuntimeConfig};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::world::*;

const QUIET: &[&str] = &["ack", "list_jobs", "subscribe"];

fn bye(n: u64) -> Value {
    message("session.bye", "b1", &session(n), json!({"reason": "normal"}))
}

/// A session of this principal whose transport is lost; its number.
fn lost(world: &mut World, name: &str) -> u64 {
    let (link, id) = world.raw_session(name, QUIET);
    world.hang_up(link);
    number(&id)
}

/// The same that said goodbye.
fn left(world: &mut World, name: &str) -> u64 {
    let (link, id) = world.raw_session(name, QUIET);
    world.say(link, &bye(number(&id)));
    assert!(world.is_closed(link));
    number(&id)
}

/// The same whose window is over, and which has an event that nobody acknowledged.
fn elapsed(world: &mut World, name: &str) -> u64 {
    let n = with_events(world, name, 1);
    world.advance(secs(600));
    n
}

/// A parked session with a job of its own and so many events; its number.
fn with_events(world: &mut World, name: &str, events: u64) -> u64 {
    let (link, id) = world.raw_session(name, QUIET);
    let submit = message("job.submit", "s1", &id, json!({"agent": "code-refactor", "input": {}}));
    world.say(link, &submit);
    let accepted = world.heard(link);
    let job = arcp_proto::wire::JobId::from(accepted[0]["job_id"].as_str().unwrap());
    world.publish_many(&job, events);
    world.hang_up(link);
    number(&id)
}

fn number(id: &SessionId) -> u64 {
    id.as_str()["sess_".len()..].parse().unwrap()
}

/// The sessions that were evicted since this was asked last, in order.
fn evicted(world: &mut World) -> Vec<(u64, Limit)> {
    let audit = world.take_audit();
    let closed: Vec<u64> = world
        .take_endpoint_events()
        .iter()
        .filter_map(|event| match event {
            EndpointEvent::Closed { session, reason: CloseReason::Evicted, .. } => Some(number(session)),
            _ => None,
        })
        .collect();
    let noted: Vec<_> = audit
        .iter()
        .filter_map(|record| match &record.action {
            Audited::Evicted(limit) => Some((number(record.session.as_ref().unwrap()), *limit)),
            _ => None,
        })
        .collect();
    let ended: Vec<u64> = audit
        .iter()
        .filter(|record| record.action == Audited::Closed(CloseReason::Evicted))
        .map(|record| number(record.session.as_ref().unwrap()))
        .collect();
    assert_eq!(closed, noted.iter().map(|(n, _)| *n).collect::<Vec<_>>(), "each is told of once");
    assert_eq!(closed, ended, "and its end is on record");
    noted
}

fn is_there(world: &World, n: u64) -> bool {
    world.endpoint.session(&session(n)).is_some()
}

/// A hello that is refused for want of a place.
#[track_caller]
fn assert_no_place(world: &mut World, name: &str, limit: Limit) {
    let count = world.endpoint.session_count();
    world.take_audit();
    let link = world.raw();
    world.say(link, &hello(name, QUIET));
    let heard = world.heard(link);
    assert_eq!(types(&heard), ["session.error"]);
    assert_eq!(
        (&heard[0]["payload"]["code"], &heard[0]["payload"]["retryable"]),
        (&json!("INTERNAL_ERROR"), &json!(true))
    );
    assert!(world.is_closed(link));
    let record = world.take_audit().pop().unwrap();
    assert_eq!((record.action, record.principal), (Audited::NoPlace(limit), Some(principal(name))));
    assert_eq!(record.conn, Some(world.conn(link)));
    assert_eq!(world.endpoint.session_count(), count);
}

#[test]
fn d43_defaults_are_finite() {
    let config = config();
    for limit in [
        config.sessions,
        config.sessions_per_principal,
        config.parked_sessions,
        config.parked_bytes,
        config.parked_bytes_per_principal,
        config.event_bytes,
        config.held_frames,
        config.held_bytes,
        config.opening_connections,
        config.subscriptions_per_session,
        config.subscribers_per_job,
        config.audit_records,
    ] {
        assert!((1..=1 << 30).contains(&limit));
    }
    assert_eq!((config.held_frames, config.held_bytes), (16, 64 << 10));
    assert_eq!((config.handshake_timeout, config.farewell_timeout), (secs(10), secs(5)));
}

#[test]
fn a1_a_principal_has_so_many_sessions_and_its_own_parked_one_makes_place() {
    let mut world = World::new(EndpointConfig { sessions_per_principal: 2, ..config() });
    lost(&mut world, "bob");
    world.raw_session("alice", QUIET);
    world.raw_session("alice", QUIET);
    assert_no_place(&mut world, "alice", Limit::SessionsPerPrincipal);
    assert!(is_there(&world, 1), "another's session is not touched");
    world.raw_session("bob", QUIET);
    assert_eq!(world.endpoint.session_count_of(&principal("bob")), 2);
    assert!(evicted(&mut world).is_empty(), "at the limit is within it");

    world.raw_session("bob", QUIET);
    assert_eq!(evicted(&mut world), [(1, Limit::SessionsPerPrincipal)]);
    assert_eq!(world.endpoint.session_count_of(&principal("bob")), 2);
    assert_no_place(&mut world, "bob", Limit::SessionsPerPrincipal);
    assert_eq!(world.counters().evicted_for_principal, 1);
}

#[test]
fn a1_there_are_so_many_sessions_in_all_and_a_parked_one_makes_place() {
    let mut world = World::new(EndpointConfig { sessions: 2, ..config() });
    world.raw_session("alice", QUIET);
    lost(&mut world, "bob");
    assert_eq!(world.endpoint.session_count(), 2);
    world.raw_session("carol", QUIET);
    assert_eq!(evicted(&mut world), [(2, Limit::Sessions)]);
    assert_no_place(&mut world, "dave", Limit::Sessions);
    assert_eq!(world.counters(), {
        let mut counters = world.counters();
        counters.evicted_for_sessions = 1;
        counters.admitted = 3;
        counters.handshakes_failed = 1;
        counters
    });
}

#[test]
fn a1_a_client_without_a_place_is_told_and_the_application_too() {
    let mut world = World::new(EndpointConfig { sessions: 0, ..config() }).judged_by_hand();
    let link = world.raw();
    world.say(link, &hello("alice", QUIET));
    let (now, conn, grant) = (world.now, world.conn(link), world.app.grant(principal("alice")));
    assert_eq!(world.endpoint.admit(now, conn, grant), Err(AdmitError::NoPlace(Limit::Sessions)));
    world.flush();
    assert!(world.is_closed(link));
}

#[test]
fn d32_parked_sessions_go_in_order_the_polite_first_then_the_elapsed_then_the_oldest() {
    let limits = EndpointConfig { parked_sessions: 6, ..config() };
    let mut world = World::new(limits);
    let first_elapsed = elapsed(&mut world, "a");
    let second_elapsed = elapsed(&mut world, "a");
    let first_lost = lost(&mut world, "b");
    let first_left = left(&mut world, "c");
    let second_lost = lost(&mut world, "d");
    let second_left = left(&mut world, "e");
    assert_eq!(world.endpoint.parked().0, 6);
    assert!(evicted(&mut world).is_empty(), "at the limit is within it");
    let mut gone = Vec::new();
    let mut newcomers = Vec::new();
    for _ in 0..7 {
        newcomers.push(lost(&mut world, "f"));
        let now_gone = evicted(&mut world);
        assert_eq!(now_gone.len(), 1);
        gone.extend(now_gone);
        assert_eq!(world.endpoint.parked().0, 6);
    }
    let expected = [first_left, second_left, first_elapsed, second_elapsed, first_lost, second_lost, newcomers[0]];
    assert_eq!(gone, expected.map(|n| (n, Limit::ParkedSessions)));
    assert_eq!(world.counters().evicted_for_parked, 7);
}

#[test]
fn d32_of_the_waiting_the_one_that_lost_its_transport_first_is_the_oldest() {
    let mut world = World::new(EndpointConfig { parked_sessions: 2, ..config() });
    let (first, _) = world.raw_session("alice", QUIET);
    let (second, _) = world.raw_session("alice", QUIET);
    world.hang_up(second);
    world.advance(secs(1));
    world.hang_up(first);
    lost(&mut world, "bob");
    assert_eq!(evicted(&mut world), [(2, Limit::ParkedSessions)]);
    lost(&mut world, "bob");
    assert_eq!(evicted(&mut world), [(1, Limit::ParkedSessions)]);
}

#[test]
fn d32_a_resumed_session_is_parked_no_more_and_stands_at_the_end_when_it_is_again() {
    let mut world = World::new(EndpointConfig { parked_sessions: 2, ..config() });
    let first = left(&mut world, "alice");
    let second = lost(&mut world, "alice");
    let link = world.raw();
    world.say(link, &resume_hello("alice", QUIET, &session(first), &token(1), 0));
    assert_eq!(types(&world.heard(link)), ["session.welcome"]);
    assert_eq!(world.endpoint.parked().0, 1);
    world.hang_up(link);
    assert_eq!(world.endpoint.parked().0, 2);
    lost(&mut world, "bob");
    assert_eq!(evicted(&mut world), [(second, Limit::ParkedSessions)], "the goodbye is forgotten");
}

#[test]
fn d32_a_polite_session_stays_first_when_its_window_is_over() {
    let mut world = World::new(EndpointConfig { parked_sessions: 2, ..config() });
    let waiting = elapsed(&mut world, "alice");
    let (link, id) = world.raw_session("bob", QUIET);
    world.say(link, &message("job.submit", "s1", &id, json!({"agent": "code-refactor", "input": {}})));
    world.publish_many(&job(2), 1);
    world.say(link, &bye(number(&id)));
    world.advance(secs(600));
    lost(&mut world, "carol");
    assert_eq!(evicted(&mut world), [(number(&id), Limit::ParkedSessions)]);
    lost(&mut world, "carol");
    assert_eq!(evicted(&mut world), [(waiting, Limit::ParkedSessions)]);
}

#[test]
fn d32_none_may_be_parked_where_none_is_to_be() {
    let mut world = World::new(EndpointConfig { parked_sessions: 0, ..config() });
    let n = lost(&mut world, "alice");
    assert_eq!(evicted(&mut world), [(n, Limit::ParkedSessions)]);
    assert_eq!((world.endpoint.session_count(), world.endpoint.parked()), (0, (0, 0)));
    assert_eq!(world.endpoint.poll_timeout(), None);
}

#[test]
fn d32_the_buffers_of_parked_sessions_hold_so_many_bytes_together() {
    let mut probe = World::plain();
    with_events(&mut probe, "a", 10);
    let (_, one) = probe.endpoint.parked();
    assert!(one > 1_000);

    for (limit, gone) in [(2 * one, 0), (2 * one - 1, 1)] {
        let mut world = World::new(EndpointConfig { parked_bytes: limit, ..config() });
        let first = with_events(&mut world, "a", 10);
        assert_eq!(world.endpoint.parked(), (1, one));
        with_events(&mut world, "a", 10);
        let expected = [(first, Limit::ParkedBytes)];
        assert_eq!(evicted(&mut world), expected[..gone]);
        assert_eq!(world.endpoint.parked(), (2 - gone, (2 - gone) * one));
        assert_eq!(world.counters().evicted_for_bytes, gone as u64);
    }
}

#[test]
fn d32_what_is_published_to_a_parked_session_counts_and_what_it_is_resumed_with_does_not() {
    let mut world = World::plain();
    let n = with_events(&mut world, "alice", 1);
    let (_, before) = world.endpoint.parked();
    world.publish_many(&job(1), 1);
    let (_, after) = world.endpoint.parked();
    assert_eq!(after, world.endpoint.session(&session(n)).unwrap().replay_len().1);
    assert!(after > before);
    let link = world.raw();
    world.say(link, &resume_hello("alice", QUIET, &session(n), &token(1), 1));
    assert_eq!(world.endpoint.parked(), (0, 0));

    let mut world = World::new(EndpointConfig { parked_bytes: after - 1, ..config() });
    let n = with_events(&mut world, "alice", 1);
    assert!(is_there(&world, n));
    let published = world.publish(&job(1), "line 0").unwrap();
    assert!(matches!(published.submitter, arcp_proto::endpoint::Receipt::Recorded(2)), "{published:?}");
    assert_eq!(evicted(&mut world), [(n, Limit::ParkedBytes)]);
    assert_eq!(world.endpoint.parked(), (0, 0));
}

#[test]
fn d37_an_evicted_session_s_jobs_go_on_and_are_told_of() {
    let mut world = World::plain().unjudged();
    let n = with_events(&mut world, "alice", 1);
    let now = world.now;
    assert!(world.endpoint.evict(now, &session(n)));
    assert!(!world.endpoint.evict(now, &session(n)), "it is gone");
    world.flush();
    let told = world.take_endpoint_events();
    let Some(EndpointEvent::Closed { reason: CloseReason::Evicted, jobs, .. }) = told.last() else {
        panic!("{told:?}")
    };
    assert_eq!(jobs[..], [job(1)]);
    assert_eq!(world.counters().evicted_by_application, 1);
    assert!(world.finish(&job(1)).is_ok());
    let link = world.raw();
    world.say(link, &resume_hello("alice", QUIET, &session(n), &token(1), 1));
    assert_eq!(world.heard(link)[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED");
}

#[test]
fn d43_an_attached_session_is_evicted_by_the_application_alone() {
    let mut world = World::new(EndpointConfig { parked_sessions: 0, ..config() });
    let alice = world.connect(client("alice"));
    let id = world.session_of(alice);
    lost(&mut world, "bob");
    assert!(world.runtime_of(alice).is_some());
    let now = world.now;
    world.endpoint.evict(now, &id);
    world.flush();
    assert!(world.is_closed(world.link_of(alice)));
    let events = world.take_events(alice);
    let Some(ClientEvent::Closed(CloseReason::PeerClosed { reason })) = events.last() else { panic!("{events:?}") };
    assert_eq!(reason.as_deref(), Some("evicted"));
    assert_eq!(world.endpoint.connection_count(), (0, 0));
}

/// A vendor's message of so many bytes, which the application is handed.
fn vendor(n: u64, len: usize) -> Bytes {
    let frame = |pad: usize| message("x-vendor.load", "v1", &session(n), json!({"pad": "x".repeat(pad)})).to_string();
    let frame = frame(len - frame(0).len());
    assert_eq!(frame.len(), len);
    Bytes::from(frame)
}

#[test]
fn d43_unpolled_events_of_all_sessions_stop_the_reading_at_half() {
    let mut world = World::new(EndpointConfig { event_bytes: 100_000, ..config() });
    let (alice, _) = world.raw_session("alice", QUIET);
    let (bob, _) = world.raw_session("bob", QUIET);
    let fresh = world.raw();
    world.app.polls = false;
    world.say_bytes(alice, vendor(1, 40_000));
    for link in [alice, bob, fresh] {
        assert!(world.endpoint.wants_input(world.conn(link)));
    }
    world.say_bytes(alice, vendor(1, 10_000));
    for link in [alice, bob, fresh] {
        assert!(!world.endpoint.wants_input(world.conn(link)));
    }
    assert!(!world.is_closed(alice), "it is told to wait, not given up");
    world.app.polls = true;
    world.flush();
    for link in [alice, bob, fresh] {
        assert!(world.endpoint.wants_input(world.conn(link)));
    }
}

#[test]
fn d43_beyond_the_limit_of_all_the_transport_goes_that_brought_too_much_and_its_session_stays() {
    let mut world = World::new(EndpointConfig { event_bytes: 100_000, ..config() }).unjudged();
    let (alice, _) = world.raw_session("alice", QUIET);
    let (bob, _) = world.raw_session("bob", QUIET);
    world.app.polls = false;
    world.say_bytes(alice, vendor(1, 60_000));
    world.say_bytes(bob, vendor(2, 60_000));
    assert!(world.is_closed(bob) && !world.is_closed(alice));
    world.app.polls = true;
    world.flush();
    let told = world.take_endpoint_events();
    let vendors = told.iter().filter(|event| matches!(event, EndpointEvent::Vendor { .. })).count();
    assert_eq!(vendors, 1, "the frame that did not fit was not received");
    let detached = |event: &EndpointEvent| matches!(event, EndpointEvent::Detached { session: id, reason: DetachReason::InboundOverflow } if *id == session(2));
    assert!(told.iter().any(detached), "{told:?}");
    let link = world.raw();
    world.say(link, &resume_hello("bob", QUIET, &session(2), &token(2), 0));
    assert_eq!(types(&world.heard(link)), ["session.welcome"]);
}

#[test]
fn d43_one_event_that_is_larger_than_the_limit_is_taken_when_nothing_else_waits() {
    let mut world = World::new(EndpointConfig { event_bytes: 1_000, ..config() });
    let (alice, _) = world.raw_session("alice", QUIET);
    world.say_bytes(alice, vendor(1, 5_000));
    assert!(!world.is_closed(alice));
    assert!(world.take_endpoint_events().iter().any(|event| matches!(event, EndpointEvent::Vendor { .. })));
}

#[test]
fn d43_strangers_do_not_fill_the_queue_of_events_beyond_its_limit() {
    let mut world = World::new(EndpointConfig { event_bytes: 200_000, ..config() }).unjudged();
    world.app.polls = false;
    for _ in 0..100 {
        let link = world.raw();
        let mut hello = hello("alice", QUIET);
        hello["payload"]["pad"] = json!("x".repeat(50_000));
        world.say(link, &hello);
        if !world.is_closed(link) {
            world.hang_up(link);
        }
    }
    let mut waiting = 0;
    while world.endpoint.poll_event().is_some() {
        waiting += 1;
    }
    assert!(waiting <= 4, "{waiting} hellos of 50 000 bytes wait in 200 000");
}

#[test]
fn d43_a_client_that_does_not_read_costs_no_more_than_its_window() {
    let small = RuntimeConfig { replay_events: 10, ..runtime() };
    let mut world = World::new(EndpointConfig::new(small));
    let (link, id) = world.raw_session("alice", QUIET);
    world.say(link, &message("job.submit", "s1", &id, json!({"agent": "code-refactor", "input": {}})));
    world.heard(link);
    let now = world.now;
    let mut recorded = 0;
    while world.publish_unsent(&job(1), "more").is_ok() {
        recorded += 1;
        assert!(recorded <= 10);
    }
    // Its socket is found full only when something waits already.
    world.set_writable(link, false);
    assert_eq!(recorded, 10);
    assert_eq!(world.endpoint.poll_transmit(now), None);
    world.advance(secs(30));
    assert!(world.heard(link).is_empty());
    world.set_writable(link, true);
    world.flush();
    assert_eq!(
        world.heard(link).iter().filter_map(|frame| frame["event_seq"].as_u64()).collect::<Vec<_>>(),
        (1..=10).collect::<Vec<_>>()
    );
}

#[test]
fn d43_a_client_that_asks_and_does_not_read_is_given_up_and_can_come_back() {
    let mut limits = runtime();
    limits.limits.control_frames = 8;
    let mut world = World::new(EndpointConfig::new(limits)).unjudged();
    let (link, id) = world.raw_session("alice", QUIET);
    world.set_writable(link, false);
    for n in 0..9 {
        world.say(link, &message("session.list_jobs", &format!("l{n}"), &id, json!({})));
    }
    let told = world.take_endpoint_events();
    assert!(
        matches!(told.last(), Some(EndpointEvent::Detached { reason: DetachReason::ControlOverflow, .. })),
        "{told:?}"
    );
    world.advance(secs(5));
    assert!(world.is_closed(link));
    assert_eq!(world.endpoint.parked().0, 1);
}

#[test]
fn d27_last_words_that_nobody_takes_wait_for_five_seconds() {
    for (waited, is_closed) in [(4_999, false), (5_000, true)] {
        let mut world = World::new(EndpointConfig { farewell_timeout: millis(5_000), ..config() }).unjudged();
        let (link, id) = world.raw_session("alice", QUIET);
        world.set_writable(link, false);
        let now = world.now;
        world.endpoint.shutdown(now, &id, "maintenance");
        world.flush();
        assert_eq!(world.endpoint.connection_count().0, 1);
        // Its bye is behind nothing, so the session is done with it at once, or when its own patience ends.
        let gone = world.take_endpoint_events();
        assert!(matches!(gone.last(), Some(EndpointEvent::Closed { reason: CloseReason::Shutdown, .. })), "{gone:?}");
        world.advance(millis(waited));
        assert_eq!(world.is_closed(link), is_closed);
    }
}

#[test]
fn d43_a_session_that_merely_breathes_can_be_told_apart() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let bob = world.connect(client("bob"));
    let (alice_id, bob_id) = (world.session_of(alice), world.session_of(bob));
    let began = world.now.mono;
    assert_eq!(world.endpoint.used_at(&alice_id), Some(began));
    world.advance(secs(3_600));
    assert_eq!(world.endpoint.used_at(&alice_id), Some(began), "heartbeats are no use");
    let job = world.submit(bob);
    let submitted = world.now.mono;
    assert_eq!(world.endpoint.used_at(&bob_id), Some(submitted));
    world.advance(secs(600));
    assert_eq!(world.endpoint.used_at(&bob_id), Some(submitted));
    world.publish_many(&job, 1);
    assert_eq!(world.endpoint.used_at(&bob_id), Some(world.now.mono), "an event is use");
    assert_eq!(world.endpoint.used_at(&alice_id), Some(began));
    assert_eq!(world.endpoint.used_at(&session(77)), None);
    // What an operator does with it.
    let idle: Vec<SessionId> = world
        .endpoint
        .sessions()
        .filter_map(|session| session.session_id())
        .filter(|id| world.now.mono - world.endpoint.used_at(id).unwrap() >= secs(3_600))
        .cloned()
        .collect();
    assert_eq!(idle, [alice_id]);
}

#[test]
fn d43_the_audit_is_bounded_and_counts_what_it_lost() {
    let mut world = World::new(EndpointConfig { audit_records: 3, ..config() });
    let now = world.now;
    let mut endpoint = arcp_proto::endpoint::Endpoint::new(EndpointConfig { audit_records: 3, ..config() });
    for _ in 0..5 {
        let conn = endpoint.connect(now);
        endpoint.handle_input(now, conn, Bytes::from_static(b"nonsense"));
    }
    assert_eq!(endpoint.audit_lost(), 2);
    let conns: Vec<String> =
        std::iter::from_fn(|| endpoint.poll_audit()).map(|record| record.conn.unwrap().to_string()).collect();
    assert_eq!(conns, ["3", "4", "5"], "the oldest go first");
    assert_eq!(endpoint.audit_lost(), 2);

    for _ in 0..5 {
        lost(&mut world, "alice");
    }
    assert_eq!(world.endpoint.audit_lost(), 0, "who polls loses nothing");

    let mut endpoint = arcp_proto::endpoint::Endpoint::new(EndpointConfig { audit_records: 0, ..config() });
    let conn = endpoint.connect(now);
    endpoint.handle_input(now, conn, Bytes::from_static(b"nonsense"));
    assert_eq!((endpoint.poll_audit(), endpoint.audit_lost()), (None, 1));
}

#[test]
fn d43_counters_count() {
    let mut world = World::plain();
    assert_eq!(world.counters(), Counters::default());
    let alice = world.connect(client("alice"));
    world.cut(alice);
    world.reconnect(alice);
    world.cut_unseen_by_endpoint(alice);
    world.reconnect(alice);
    let now = world.now;
    let reason = "done";
    world.client(alice).close(now, reason);
    world.flush();
    let counters = world.counters();
    assert_eq!((counters.connections, counters.admitted, counters.resumed, counters.takeovers), (3, 1, 2, 1));
    assert_eq!((counters.detached, counters.closed), (2, 0));
    world.advance(secs(600));
    assert_eq!(world.counters().closed, 1);
    assert_eq!(world.endpoint.session_count(), 0);
    assert_eq!(world.endpoint.poll_timeout(), None);
}

#[test]
fn d18_bytes_are_made_place_for_by_those_who_hold_some() {
    let mut world = World::new(EndpointConfig { parked_bytes: 1_000, ..config() });
    let gone = left(&mut world, "alice");
    let idle = lost(&mut world, "bob");
    let held = with_events(&mut world, "carol", 1);
    assert_eq!(evicted(&mut world), []);
    let heavy = with_events(&mut world, "mallory", 20);
    assert_eq!(evicted(&mut world), [(held, Limit::ParkedBytes), (heavy, Limit::ParkedBytes)]);
    assert!([gone, idle].iter().all(|n| world.endpoint.session(&session(*n)).is_some()));
    assert_eq!(world.endpoint.parked(), (2, 0));
}

#[test]
fn d18_who_parks_too_much_makes_place_by_its_own_sessions() {
    let mut probe = World::plain();
    with_events(&mut probe, "a", 10);
    let (_, one) = probe.endpoint.parked();

    let limits = EndpointConfig { parked_bytes_per_principal: 2 * one, ..config() };
    let mut world = World::new(limits);
    let others = [with_events(&mut world, "b", 10), with_events(&mut world, "c", 10)];
    let idle = lost(&mut world, "a");
    let first = with_events(&mut world, "a", 10);
    with_events(&mut world, "a", 10);
    assert_eq!(evicted(&mut world), []);
    let last = with_events(&mut world, "a", 10);
    assert_eq!(evicted(&mut world), [(first, Limit::ParkedBytesPerPrincipal)]);
    assert_eq!(world.counters().evicted_for_principal_bytes, 1);
    assert!(others.iter().chain([&idle, &last]).all(|n| is_there(&world, *n)));
    // What is published to a parked session counts, too.
    world.publish_many(&job(5), 1);
    assert_eq!(evicted(&mut world).len(), 1);
    assert_eq!(world.counters().evicted_for_principal_bytes, 2);
    assert!(others.iter().chain([&idle]).all(|n| is_there(&world, *n)));
}

#[test]
fn d43_nobody_falls_silent_while_the_endpoint_does_not_read() {
    let mut world = World::new(EndpointConfig { event_bytes: 64 << 10, ..config() }).unjudged();
    let alice = world.connect(client("alice"));
    let (loud, id) = world.raw_session("bob", QUIET);
    world.app.polls = false;
    for _ in 0..4 {
        let vendor = message("x-vendor.note", "v", &id, json!({"text": "x".repeat(10_000)}));
        world.say(loud, &vendor);
    }
    assert!(!world.endpoint.wants_input(world.conn(world.link_of(alice))));
    world.advance(secs(300));
    assert!(world.endpoint.conn_of(&session(1)).is_some(), "her pongs are in the link, unread");

    world.app.polls = true;
    world.advance(secs(59));
    assert!(world.endpoint.conn_of(&session(1)).is_some());
    world.half_open(alice);
    world.advance(secs(120));
    assert!(world.endpoint.conn_of(&session(1)).is_none(), "now it is she who is silent");
}
