//! Sessions that go on, on any transport (D13-D18).

use std::sync::Arc;

use arcp_proto::endpoint::{AdmitError, Audited, EndpointConfig, EndpointEvent, PublishError, Receipt};
use arcp_proto::wire::{AgentInfo, ErrorCode, SessionId, WireError};
use arcp_proto::{AckPolicy, ClientEvent, CloseReason, DetachReason, Phase, RefusedBecause, RuntimeConfig, SendError};
use serde_json::{Value, json};

use crate::world::*;

const FEATURES: &[&str] = &["heartbeat", "ack", "list_jobs", "subscribe", "progress", "result_chunk"];

/// Without heartbeats, so that only what a test does happens.
const QUIET: &[&str] = &["ack", "list_jobs", "subscribe", "progress", "result_chunk"];

fn seqs(frames: &[Value]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame["event_seq"].as_u64()).collect()
}

fn token_of(welcome: &Value) -> arcp_proto::wire::ResumeToken {
    assert_eq!(type_of(welcome), "session.welcome");
    arcp_proto::wire::ResumeToken::new(welcome["payload"]["resume_token"].as_str().unwrap())
}

fn ack(seq: u64) -> Value {
    message("session.ack", &format!("a{seq}"), &session(1), json!({"last_processed_seq": seq}))
}

/// Alice by hand, attached, with a job that had so many events.
fn attached(world: &mut World, features: &[&str], events: u64) -> LinkIdx {
    let (link, _) = world.raw_session("alice", features);
    let submit = message("job.submit", "s1", &session(1), json!({"agent": "code-refactor", "input": {}}));
    world.say(link, &submit);
    world.publish_many(&job(1), events);
    assert_eq!(seqs(&world.heard(link)), (1..=events).collect::<Vec<_>>());
    link
}

/// The same once her transport is lost, and her token good.
fn parked(world: &mut World, features: &[&str], events: u64) {
    let link = attached(world, features, events);
    world.hang_up(link);
    world.take_audit();
    world.take_endpoint_events();
}

/// Alice asks to resume, and what she hears at once.
fn resume(
    world: &mut World,
    features: &[&str],
    token_: &arcp_proto::wire::ResumeToken,
    last: u64,
) -> (LinkIdx, Vec<Value>) {
    let link = world.raw();
    world.say(link, &resume_hello("alice", features, &session(1), token_, last));
    let heard = world.heard(link);
    (link, heard)
}

/// All of a session that shows.
fn state(world: &World) -> String {
    let it = world.endpoint.session(&session(1)).expect("the session is there");
    format!(
        "{:?} {} {} {} {} {:?} {:?} {:?} {:?}",
        it.phase(),
        it.attachment(),
        it.last_event_seq(),
        it.acked_seq(),
        it.replay_floor(),
        it.replay_len(),
        it.features(),
        it.poll_timeout(),
        (world.endpoint.parked(), world.endpoint.session_count(), world.endpoint.conn_of(&session(1))),
    )
}

#[test]
fn d14_every_refusal_leaves_the_parked_session_and_its_token_as_they_were() {
    let mut world = World::plain();
    let link = attached(&mut world, QUIET, 5);
    world.say(link, &ack(2));
    world.hang_up(link);
    world.take_audit();
    let good = || resume_hello("alice", QUIET, &session(1), &token(1), 4);
    let other =
        |name: &str, session: &SessionId, n: u64, last: u64| resume_hello(name, QUIET, session, &token(n), last);
    let refusals = [
        (other("alice", &session(1), 99, 4), RefusedBecause::Token),
        (other("bob", &session(1), 1, 4), RefusedBecause::Principal),
        (other("alice", &session(7), 1, 4), RefusedBecause::SessionId),
        (other("alice", &session(1), 1, 6), RefusedBecause::Sequence),
        (other("alice", &session(1), 1, 1), RefusedBecause::Sequence),
    ];
    let before = state(&world);
    let mut said = Vec::new();
    for (n, (hello, reason)) in refusals.into_iter().enumerate() {
        let link = world.raw();
        world.say(link, &hello);
        let mut heard = world.heard(link);
        assert_eq!(types(&heard), ["session.error"]);
        assert!(world.is_closed(link));
        assert_eq!(heard[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED", "{reason:?}");
        assert_eq!(heard[0]["payload"]["retryable"], false);
        assert_eq!(world.take_audited(), [Audited::ResumeRefused(reason)]);
        assert_eq!(world.counters().resumes_refused, n as u64 + 1);
        assert_eq!(state(&world), before, "{reason:?}");
        heard[0]["session_id"] = json!(null);
        said.push(heard.remove(0));
    }
    said.dedup();
    assert_eq!(said.len(), 1, "from outside all of them look the same");

    let mut stranger = good();
    stranger["payload"]["auth"]["token"] = json!("wrong");
    let mut disagreeing = good();
    disagreeing["payload"]["last_event_seq"] = json!(3);
    let mut unknown_token = good();
    unknown_token["payload"]["resume_token"] = json!("rt_other");
    let mut no_token = good();
    no_token["payload"]["resume_token"] = json!("");
    no_token["payload"]["resume"]["resume_token"] = json!("");
    let mut bare = json!({"arcp": "1.1", "id": "r1", "type": "session.resume", "session_id": "sess_1", "payload": {}});
    bare["payload"]["resume_token"] = json!(token(1).reveal());
    for (hello, code) in [
        (stranger, "UNAUTHENTICATED"),
        (disagreeing, "INVALID_REQUEST"),
        (unknown_token, "INVALID_REQUEST"),
        (no_token, "INVALID_REQUEST"),
        (bare, "UNAUTHENTICATED"),
    ] {
        let link = world.raw();
        world.say(link, &hello);
        assert_eq!(world.heard(link)[0]["payload"]["code"], code);
        assert!(world.is_closed(link));
        assert_eq!(state(&world), before);
    }

    let (link, heard) = resume(&mut world, QUIET, &token(1), 4);
    assert_eq!(types(&heard), ["session.welcome", "job.event"]);
    assert_eq!((&heard[0]["session_id"], seqs(&heard)), (&json!("sess_1"), vec![5]));
    assert_ne!(token_of(&heard[0]).reveal(), token(1).reveal(), "the token was rotated");
    assert!(!world.is_closed(link));
}

#[test]
fn d14_a_resume_that_is_never_judged_leaves_the_session_as_it_was() {
    let mut world = World::new(EndpointConfig { verdict_timeout: secs(1), ..config() });
    parked(&mut world, QUIET, 3);
    world.app.judges = false;
    let before = state(&world);
    let (link, heard) = resume(&mut world, QUIET, &token(1), 3);
    assert!(heard.is_empty());
    let wish = world.app.applicants[0].resume.clone().unwrap();
    assert_eq!((wish.session_id, wish.last_event_seq, wish.is_here), (Some(session(1)), 3, true));
    assert_eq!(wish.token_digest, token(1).digest());
    world.hang_up(link);
    let grant = world.app.grant(principal("alice"));
    let (now, conn) = (world.now, world.conn(link));
    assert_eq!(world.endpoint.admit(now, conn, grant), Err(AdmitError::NobodyWaits));
    assert_eq!(state(&world), before);

    let (link, _) = resume(&mut world, QUIET, &token(1), 3);
    world.advance(secs(1));
    assert_eq!(world.heard(link)[0]["payload"]["code"], "INTERNAL_ERROR");
    assert!(world.is_closed(link));
    let (link, _) = resume(&mut world, QUIET, &token(1), 3);
    let (now, conn) = (world.now, world.conn(link));
    world.endpoint.reject(now, conn, WireError::new(ErrorCode::PermissionDenied, "no")).unwrap();
    world.flush();
    assert_eq!(world.heard(link)[0]["payload"]["code"], "PERMISSION_DENIED");
    assert_eq!(state(&world), before);

    world.app.judges = true;
    world.app.applicants.clear();
    let (_, heard) = resume(&mut world, QUIET, &token(1), 0);
    assert_eq!(seqs(&heard), [1, 2, 3]);
}

#[test]
fn d14_a_grant_whose_token_is_taken_answers_nobody_and_leaves_the_session_as_it_was() {
    let mut world = World::plain();
    parked(&mut world, QUIET, 1);
    world.app.judges = false;
    let before = state(&world);
    let (link, _) = resume(&mut world, QUIET, &token(1), 1);
    let mut grant = world.app.grant(principal("alice"));
    grant.resume_token = token(1);
    let (now, conn) = (world.now, world.conn(link));
    assert_eq!(world.endpoint.admit(now, conn, grant), Err(AdmitError::TokenTaken));
    assert_eq!(state(&world), before);
    world.admit_next();
    assert_eq!(types(&world.heard(link)), ["session.welcome"]);
}

#[test]
fn d14_a_refused_resume_does_not_disturb_a_transport_that_stands() {
    let mut world = World::plain();
    let live = attached(&mut world, QUIET, 2);
    let before = state(&world);
    let (_, heard) = resume(&mut world, QUIET, &token(1), 3);
    assert_eq!(heard[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED");
    assert_eq!(state(&world), before);
    assert!(!world.is_closed(live));
    world.publish_many(&job(1), 1);
    assert_eq!(seqs(&world.heard(live)), [3]);
}

#[test]
fn d14_a_client_that_missed_nothing_resumes() {
    let mut world = World::plain();
    let alice = world.connect(client("alice").with_ack_policy(AckPolicy::OnPoll));
    let job = world.submit(alice);
    world.publish_many(&job, 3);
    world.advance(secs(1));
    assert_eq!(world.runtime_of(alice).unwrap().replay_len().0, 0, "all is acknowledged");
    world.take_events(alice);
    world.cut(alice);
    world.reconnect(alice);
    let events = world.take_events(alice);
    assert!(matches!(events[..], [ClientEvent::Detached(_), ClientEvent::Resumed(_)]), "{events:?}");
    let told = world.take_endpoint_events();
    assert!(matches!(told.last(), Some(EndpointEvent::Resumed { takeover: false, .. })), "{told:?}");
    world.publish_many(&job, 1);
    assert_eq!(world.take_seqs(alice), [4]);
}

#[test]
fn d14_a_session_is_resumed_from_its_floor_and_not_from_below() {
    let mut world = World::plain();
    let link = attached(&mut world, QUIET, 5);
    world.say(link, &ack(3));
    world.hang_up(link);
    assert_eq!(world.endpoint.session(&session(1)).unwrap().replay_floor(), 3);
    let (_, heard) = resume(&mut world, QUIET, &token(1), 2);
    assert_eq!(heard[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED");
    let (_, heard) = resume(&mut world, QUIET, &token(1), 3);
    assert_eq!((type_of(&heard[0]), seqs(&heard)), ("session.welcome", vec![4, 5]));
}

#[test]
fn d14_an_event_that_was_never_sent_is_the_future() {
    let mut world = World::plain();
    parked(&mut world, QUIET, 2);
    world.publish_many(&job(1), 2);
    let (_, heard) = resume(&mut world, QUIET, &token(1), 3);
    assert_eq!(heard[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED", "3 was recorded and never sent");
    let (_, heard) = resume(&mut world, QUIET, &token(1), 2);
    assert_eq!(seqs(&heard), [3, 4]);
}

#[test]
fn d13_a_session_resume_as_the_first_frame_keeps_the_features_and_a_hello_says_them_anew() {
    let mut world = World::plain();
    parked(&mut world, QUIET, 1);
    let link = world.raw();
    let frame = json!({"arcp": "1.1", "id": "r1", "type": "session.resume", "session_id": "sess_1", "payload": {
        "resume_token": token(1).reveal(), "last_event_seq": 1, "auth": {"scheme": "bearer", "token": "secret-alice"},
    }});
    world.say(link, &frame);
    let heard = world.heard(link);
    assert_eq!(heard[0]["payload"]["capabilities"]["features"].as_array().unwrap().len(), QUIET.len());
    let (_, heard) = resume(&mut world, &["ack"], &token_of(&heard[0]), 1);
    assert_eq!(heard[0]["payload"]["capabilities"]["features"], json!(["ack"]));
}

#[test]
fn d13_an_absent_last_event_is_none() {
    let mut world = World::plain();
    parked(&mut world, QUIET, 2);
    let link = world.raw();
    let mut hello = resume_hello("alice", QUIET, &session(1), &token(1), 0);
    hello["payload"].as_object_mut().unwrap().remove("last_event_seq");
    hello["payload"]["resume"].as_object_mut().unwrap().remove("last_event_seq");
    world.say(link, &hello);
    assert_eq!(seqs(&world.heard(link)), [1, 2]);
}

#[test]
fn d15_a_resume_takes_over_a_transport_that_stands() {
    let mut world = World::plain();
    let old = attached(&mut world, FEATURES, 2);
    let old_conn = world.conn(old);
    world.take_audit();
    let (new, heard) = resume(&mut world, FEATURES, &token(1), 1);
    assert_eq!((types(&heard), seqs(&heard)), (vec!["session.welcome", "job.event"], vec![2]));
    let last = world.heard(old);
    assert_eq!(types(&last), ["session.bye"]);
    assert_eq!(last[0]["payload"]["reason"], "superseded");
    assert!(world.is_closed(old) && !world.is_closed(new));
    let told = world.take_endpoint_events();
    assert!(matches!(told.last(), Some(EndpointEvent::Resumed { takeover: true, .. })), "{told:?}");
    assert!(
        !told.iter().any(|event| matches!(event, EndpointEvent::Detached { .. })),
        "it was never without a transport"
    );
    let audit = world.take_audit();
    assert_eq!(audit.len(), 2, "{audit:?}");
    assert_eq!((audit[0].conn, &audit[0].action), (Some(old_conn), &Audited::Superseded));
    assert_eq!((audit[1].conn, &audit[1].action), (Some(world.conn(new)), &Audited::Resumed { last_event_seq: 1 }));
    let counters = world.counters();
    assert_eq!((counters.resumed, counters.takeovers, counters.detached), (1, 1, 0));

    // Then the old transport has late bytes, and dies.
    let bye = message("session.bye", "b1", &session(1), json!({"reason": "normal"}));
    world.say(old, &bye);
    world.say(old, &ack(2));
    world.say(old, &json!({"nonsense": true}));
    let (now, conn) = (world.now, world.conn(old));
    world.endpoint.handle_activity(now, conn);
    world.endpoint.handle_malformed(now, conn, arcp_proto::wire::FrameFault::TooLarge { limit: 1 });
    world.hang_up(old);
    world.publish_many(&job(1), 1);
    assert_eq!(seqs(&world.heard(new)), [3]);
    assert_eq!(world.endpoint.session(&session(1)).unwrap().acked_seq(), 0);
    assert_eq!(world.endpoint.conn_of(&session(1)), Some(world.conn(new)));
    assert!(world.take_endpoint_events().is_empty() && world.take_audit().is_empty());
}

#[test]
fn d15_late_bytes_of_an_old_transport_that_cannot_be_written_to_are_ignored() {
    let mut world = World::plain();
    let old = attached(&mut world, QUIET, 2);
    world.set_writable(old, false);
    let (new, heard) = resume(&mut world, QUIET, &token(1), 2);
    assert_eq!(types(&heard), ["session.welcome"]);
    assert!(!world.is_closed(old), "its farewell waits");
    assert!(world.endpoint.wants_input(world.conn(old)), "its end is to be noticed");
    world.say(old, &ack(2));
    world.say(old, &message("session.bye", "b1", &session(1), json!({})));
    assert_eq!(world.endpoint.session(&session(1)).unwrap().acked_seq(), 0);
    assert!(!world.is_closed(new));
    world.set_writable(old, true);
    world.flush();
    assert_eq!(types(&world.heard(old)), ["session.bye"]);
    assert!(world.is_closed(old));
}

#[test]
fn d15_a_client_that_was_superseded_is_told_and_does_not_come_back() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let token = world.client(alice).resume_token().unwrap().clone();
    let (_, heard) = resume(&mut world, FEATURES, &token, 0);
    assert_eq!(types(&heard), ["session.welcome"]);
    let events = world.take_events(alice);
    let Some(ClientEvent::Closed(CloseReason::PeerClosed { reason })) = events.last() else { panic!("{events:?}") };
    assert_eq!(reason.as_deref(), Some("superseded"));
    assert!(world.is_closed(world.link_of(alice)));
}

#[test]
fn d15_a_half_open_transport_is_taken_over_and_its_end_reported_late() {
    for reported in [0, 20, 100] {
        let mut world = World::plain();
        let alice = world.connect(client("alice"));
        let job = world.submit(alice);
        world.publish_many(&job, 2);
        let old = world.link_of(alice);
        world.half_open(alice);
        world.publish_many(&job, 2);
        assert_eq!(world.take_seqs(alice), [1, 2]);
        world.advance(secs(5));
        world.client_loses(old);
        world.reconnect(alice);
        assert_eq!(world.take_seqs(alice), [3, 4], "what went into the dead link comes again");
        world.advance(secs(reported));
        world.endpoint_loses(old);
        world.publish_many(&job, 1);
        assert_eq!(world.take_seqs(alice), [5]);
        world.advance(secs(600));
        assert_eq!(world.runtime_of(alice).unwrap().phase(), Phase::Open);
        assert_eq!((world.counters().takeovers, world.counters().detached), (1, 0));
    }
}

#[test]
fn d15_two_resumes_that_race_go_one_after_the_other_and_one_stays() {
    for order in [[0, 1], [1, 0]] {
        for is_polled_between in [true, false] {
            let mut world = World::plain();
            parked(&mut world, QUIET, 2);
            world.app.judges = false;
            let links = [resume(&mut world, QUIET, &token(1), 1).0, resume(&mut world, QUIET, &token(1), 2).0];
            assert_eq!(world.app.applicants.len(), 2);
            for which in order {
                let (now, conn) = (world.now, world.conn(links[which]));
                let grant = world.app.grant(principal("alice"));
                let admitted = world.endpoint.admit(now, conn, grant).unwrap();
                assert_eq!((admitted.session, admitted.resumed), (session(1), true));
                if is_polled_between {
                    world.flush();
                }
                world.publish_unsent(&job(1), "meanwhile").unwrap();
            }
            world.flush();
            let [first, second] = order.map(|which| links[which]);
            assert!(world.is_closed(first) && !world.is_closed(second));
            let lost = world.heard(first);
            assert_eq!(lost.last().unwrap()["payload"]["reason"], "superseded");
            let kept = world.heard(second);
            let from = [1, 2][order[1]];
            assert_eq!(seqs(&kept), (from + 1..=4).collect::<Vec<_>>(), "{order:?} {is_polled_between}");
            assert_eq!(types(&kept)[0], "session.welcome");
            assert_eq!(world.endpoint.conn_of(&session(1)), Some(world.conn(second)));
            assert_eq!(world.endpoint.session_count(), 1);
            // The winner's token is the one that counts from its first word on.
            world.say(second, &ack(4));
            world.hang_up(second);
            world.app.judges = true;
            let (_, heard) = resume(&mut world, QUIET, &token(1), 4);
            assert_eq!(heard[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED");
            let (_, heard) = resume(&mut world, QUIET, &token_of(&kept[0]), 4);
            assert_eq!(types(&heard), ["session.welcome"]);
        }
    }
}

#[test]
fn d14_the_second_of_two_resumes_is_refused_once_the_first_was_heard() {
    let mut world = World::plain();
    parked(&mut world, QUIET, 2);
    world.app.judges = false;
    let (first, _) = resume(&mut world, QUIET, &token(1), 2);
    let (second, _) = resume(&mut world, QUIET, &token(1), 2);
    world.admit_next();
    world.say(first, &ack(1));
    world.admit_next();
    assert_eq!(world.heard(second)[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED");
    assert!(world.is_closed(second) && !world.is_closed(first));
    world.publish_many(&job(1), 1);
    assert_eq!(seqs(&world.heard(first)), [3]);
}

#[test]
fn d14_a_welcome_that_is_lost_twice_in_a_row_costs_nothing() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.publish_many(&job, 2);
    assert_eq!(world.take_seqs(alice), [1, 2]);
    world.cut(alice);
    for _ in 0..2 {
        let link = world.redial(alice);
        world.hold_to_client(link, true);
        world.flush();
        world.publish_many(&job, 1);
        assert_eq!(types(&world.on_the_way(link))[0], "session.welcome");
        world.cut(alice);
    }
    assert_eq!(world.counters().resumed, 2);
    world.reconnect(alice);
    assert_eq!(world.take_seqs(alice), [3, 4]);
    assert_eq!(world.client(alice).phase(), Phase::Open);
}

#[test]
fn d14_a_welcome_that_is_lost_with_a_half_open_transport_costs_nothing() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.publish_many(&job, 1);
    world.cut(alice);
    for _ in 0..3 {
        let link = world.redial(alice);
        world.hold_to_client(link, true);
        world.flush();
        world.cut_unseen_by_endpoint(alice);
        world.publish_many(&job, 1);
    }
    world.reconnect(alice);
    assert_eq!(world.take_seqs(alice), [1, 2, 3, 4]);
    assert_eq!(world.counters().takeovers, 3);
}

#[test]
fn d14_a_frame_behind_a_resume_whose_welcome_is_lost_does_not_retire_the_token() {
    let mut world = World::plain();
    parked(&mut world, QUIET, 3);
    world.app.judges = false;
    let (link, _) = resume(&mut world, QUIET, &token(1), 3);
    world.say(link, &ack(2));
    let list = message("session.list_jobs", "l1", &session(1), json!({}));
    world.say(link, &list);
    world.admit_next();
    assert_eq!(types(&world.heard(link)), ["session.welcome", "session.jobs"]);
    assert_eq!(world.endpoint.session(&session(1)).unwrap().acked_seq(), 2, "what was held has its effect");
    world.hang_up(link);
    world.app.judges = true;
    let (_, heard) = resume(&mut world, QUIET, &token(1), 2);
    assert_eq!((type_of(&heard[0]), seqs(&heard)), ("session.welcome", vec![3]));
}

#[test]
fn d14_the_first_frame_behind_the_welcome_retires_the_token_that_was_presented() {
    let vendor = message("x-vendor.word", "v1", &session(1), json!({}));
    for word in [ack(1), vendor, message("session.pong", "p1", &session(1), json!({"ping_nonce": "n"}))] {
        let mut world = World::plain();
        parked(&mut world, QUIET, 2);
        let (link, heard) = resume(&mut world, QUIET, &token(1), 2);
        world.say(link, &word);
        world.hang_up(link);
        let (_, refused) = resume(&mut world, QUIET, &token(1), 2);
        assert_eq!(refused[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED");
        let (_, taken) = resume(&mut world, QUIET, &token_of(&heard[0]), 2);
        assert_eq!(types(&taken), ["session.welcome"]);
    }
}

#[test]
fn d14_without_a_word_behind_the_welcome_both_tokens_are_good_and_older_ones_are_not() {
    let mut world = World::plain();
    parked(&mut world, QUIET, 1);
    let (link, heard) = resume(&mut world, QUIET, &token(1), 1);
    let second = token_of(&heard[0]);
    world.hang_up(link);
    let (link, heard) = resume(&mut world, QUIET, &second, 1);
    let third = token_of(&heard[0]);
    world.hang_up(link);
    let (_, refused) = resume(&mut world, QUIET, &token(1), 1);
    assert_eq!(refused[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED", "neither the presented one nor the new one");
    let (link, heard) = resume(&mut world, QUIET, &second, 1);
    let fourth = token_of(&heard[0]);
    world.hang_up(link);
    let (_, refused) = resume(&mut world, QUIET, &third, 1);
    assert_eq!(refused[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED", "its welcome was never used");
    let (_, heard) = resume(&mut world, QUIET, &fourth, 1);
    assert_eq!(types(&heard), ["session.welcome"]);
}

#[test]
fn d14_the_tokens_of_a_session_that_ended_are_free_and_open_nothing() {
    let mut world = World::plain().unjudged();
    parked(&mut world, QUIET, 1);
    let (link, heard) = resume(&mut world, QUIET, &token(1), 1);
    let now = world.now;
    assert!(world.endpoint.evict(now, &session(1)));
    world.flush();
    assert!(world.is_closed(link));
    for token in [token(1), token_of(&heard[0])] {
        let (_, refused) = resume(&mut world, QUIET, &token, 1);
        assert_eq!(refused[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED");
        assert_eq!(world.take_audited().pop(), Some(Audited::ResumeRefused(RefusedBecause::Token)));
    }
}

#[test]
fn d14_the_application_is_told_whether_the_session_of_a_token_is_here() {
    fn is_here(world: &mut World, token: &arcp_proto::wire::ResumeToken) -> bool {
        world.app.judges = false;
        let (link, _) = resume(world, QUIET, token, 1);
        let wish = world.app.applicants.pop_front().unwrap().resume.unwrap();
        assert_eq!(wish.token_digest, token.digest());
        world.hang_up(link);
        world.app.judges = true;
        wish.is_here
    }
    let mut world = World::plain().unjudged();
    parked(&mut world, QUIET, 1);
    assert!(is_here(&mut world, &token(1)) && !is_here(&mut world, &token(2)));
    let (link, heard) = resume(&mut world, QUIET, &token(1), 1);
    let second = token_of(&heard[0]);
    assert!(is_here(&mut world, &token(1)) && is_here(&mut world, &second), "the welcome may be lost");
    world.say(link, &ack(1));
    assert!(!is_here(&mut world, &token(1)) && is_here(&mut world, &second), "it was heard");
    let (_, heard) = resume(&mut world, QUIET, &second, 1);
    let third = token_of(&heard[0]);
    let (_, heard) = resume(&mut world, QUIET, &second, 1);
    let fourth = token_of(&heard[0]);
    assert!(!is_here(&mut world, &third), "the later resume has superseded it");
    assert!(is_here(&mut world, &second) && is_here(&mut world, &fourth));
    let now = world.now;
    world.endpoint.evict(now, &session(1));
    world.flush();
    assert!(![token(1), second, third, fourth].iter().any(|token| is_here(&mut world, token)));
}

#[test]
fn d27_what_is_published_during_a_replay_comes_behind_it() {
    let mut world = World::plain();
    parked(&mut world, QUIET, 50);
    let link = world.raw();
    world.set_writable(link, false);
    world.say(link, &resume_hello("alice", QUIET, &session(1), &token(1), 10));
    world.publish_many(&job(1), 5);
    world.set_writable(link, true);
    let now = world.now;
    let mut frames = Vec::new();
    while let Some((conn, frame)) = world.endpoint.poll_transmit(now) {
        assert_eq!(conn, world.conn(link));
        frames.push(serde_json::from_slice::<Value>(&frame).unwrap());
        if frames.len() % 10 == 0 && frames.len() <= 50 {
            world.publish_unsent(&job(1), "live").unwrap();
        }
    }
    assert_eq!(type_of(&frames[0]), "session.welcome");
    let count = world.endpoint.session(&session(1)).unwrap().last_event_seq();
    assert_eq!((seqs(&frames), count), ((11..=60).collect(), 60));
}

#[test]
fn d17_a_session_that_lived_longer_than_the_window_resumes() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.advance(secs(3 * 3_600));
    world.cut(alice);
    world.advance(millis(599_999));
    world.publish_many(&job, 1);
    world.reconnect(alice);
    assert_eq!(world.take_seqs(alice), [1]);
    world.advance(secs(3_600));
    assert_eq!(world.runtime_of(alice).unwrap().phase(), Phase::Open);
}

#[test]
fn d17_the_window_is_exact_to_the_millisecond() {
    for (waited, is_good) in [(599_999, true), (600_000, false)] {
        let mut world = World::plain();
        let link = attached(&mut world, QUIET, 1);
        world.say(link, &ack(1));
        world.advance(millis(77));
        world.hang_up(link);
        assert_eq!(world.endpoint.poll_timeout(), Some(world.now.mono + secs(600)));
        world.advance(millis(waited));
        let (_, heard) = resume(&mut world, QUIET, &token(1), 1);
        assert_eq!(type_of(&heard[0]) == "session.welcome", is_good, "{waited}");
        assert_eq!(world.endpoint.session_count(), usize::from(is_good));
    }
}

#[test]
fn d17_the_window_is_configurable_and_does_not_restart_with_an_attempt() {
    let window = RuntimeConfig { resume_window: secs(7), ..runtime() };
    let mut world = World::new(EndpointConfig::new(window));
    let link = attached(&mut world, QUIET, 1);
    world.say(link, &ack(1));
    world.hang_up(link);
    world.advance(secs(4));
    let (_, heard) = resume(&mut world, QUIET, &token(1), 9);
    assert_eq!(heard[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED");
    world.advance(millis(2_999));
    assert_eq!(world.endpoint.session_count(), 1);
    world.advance(millis(1));
    assert_eq!(world.endpoint.session_count(), 0);
    let told = world.take_endpoint_events();
    let [.., EndpointEvent::WindowElapsed { .. }, EndpointEvent::Closed { reason, jobs, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((reason, &jobs[..]), (&CloseReason::ResumeWindowExpired, &[job(1)][..]));
}

#[test]
fn d17_a_resume_judged_at_the_very_deadline_is_late_even_if_nobody_looked_at_the_clock() {
    for (after, is_good) in [(0, true), (1, false)] {
        let mut world = World::plain();
        let link = attached(&mut world, QUIET, 1);
        world.say(link, &ack(1));
        world.hang_up(link);
        world.app.judges = false;
        world.advance(millis(599_999));
        let (link, _) = resume(&mut world, QUIET, &token(1), 1);
        world.now = world.now.after(millis(after));
        world.admit_next();
        assert_eq!(type_of(&world.heard(link)[0]) == "session.welcome", is_good);
        assert_eq!(world.endpoint.session_count(), usize::from(is_good));
        assert!(is_good || world.is_closed(link));
    }
}

#[test]
fn d21_a_resume_judged_when_the_old_transport_s_silence_is_over_finds_it_parked() {
    let mut world = World::plain().unjudged();
    let old = attached(&mut world, FEATURES, 1);
    world.app.judges = false;
    world.advance(millis(59_999));
    let (new, _) = resume(&mut world, FEATURES, &token(1), 1);
    world.now = world.now.after(millis(1));
    world.heard(old);
    world.admit_next();
    assert_eq!(types(&world.heard(new)), ["session.welcome"]);
    assert_eq!(world.heard(old)[0]["payload"]["code"], "HEARTBEAT_LOST");
    assert_eq!((world.counters().takeovers, world.counters().detached, world.counters().resumed), (0, 1, 1));
    assert!(world.is_closed(old) && !world.is_closed(new));
}

#[test]
fn d18_unacknowledged_events_outlive_the_window_until_the_retention_is_over() {
    for (waited, is_good) in [(secs(86_400) - millis(1), true), (secs(86_400), false)] {
        let mut world = World::plain();
        parked(&mut world, QUIET, 3);
        world.advance(secs(600));
        let told = world.take_endpoint_events();
        assert!(matches!(told[..], [EndpointEvent::WindowElapsed { .. }]), "{told:?}");
        assert_eq!(world.endpoint.parked().0, 1);
        world.advance(waited - secs(600));
        let (_, heard) = resume(&mut world, QUIET, &token(1), 1);
        if is_good {
            assert_eq!((type_of(&heard[0]), seqs(&heard)), ("session.welcome", vec![2, 3]));
            assert_eq!(world.endpoint.parked(), (0, 0));
        } else {
            assert_eq!(heard[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED");
            let told = world.take_endpoint_events();
            let [EndpointEvent::Closed { reason: CloseReason::ResumeWindowExpired, jobs, .. }] = &told[..] else {
                panic!("{told:?}")
            };
            assert_eq!(jobs[..], [job(1)]);
        }
    }
}

#[test]
fn d18_beyond_the_window_the_first_event_that_does_not_fit_ends_the_session_and_no_emitter_waits() {
    let small = RuntimeConfig { replay_events: 3, ..runtime() };
    let mut world = World::new(EndpointConfig::new(small));
    parked(&mut world, QUIET, 2);
    world.publish_many(&job(1), 1);
    assert_eq!(world.publish(&job(1), "4"), Err(PublishError::Send(SendError::Blocked)));
    world.advance(secs(600));
    let told = world.take_endpoint_events();
    let [EndpointEvent::WindowElapsed { .. }, EndpointEvent::Writable { jobs, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(jobs[..], [job(1)]);
    let published = world.publish(&job(1), "4").unwrap();
    assert_eq!(published.submitter, Receipt::Gone);
    let told = world.take_endpoint_events();
    let [EndpointEvent::Closed { reason: CloseReason::ResumeWindowExpired, jobs, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(jobs[..], [job(1)]);
    assert_eq!(world.endpoint.session_count(), 0);
    assert_eq!(world.publish(&job(1), "5").unwrap().submitter, Receipt::Gone, "the job lives");
    let (_, heard) = resume(&mut world, QUIET, &token(1), 2);
    assert_eq!(heard[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED");
}

#[test]
fn d18_without_ack_the_window_s_end_is_the_session_s() {
    let mut world = World::plain();
    parked(&mut world, &["list_jobs"], 2);
    world.advance(secs(600));
    let told = world.take_endpoint_events();
    assert!(
        matches!(
            told[..],
            [
                EndpointEvent::WindowElapsed { .. },
                EndpointEvent::Closed { reason: CloseReason::ResumeWindowExpired, .. }
            ]
        ),
        "{told:?}"
    );
}

#[test]
fn a5_features_shrink_on_a_resume_and_the_replay_is_as_it_was_written() {
    let mut world = World::plain();
    let link = attached(&mut world, FEATURES, 1);
    let progress = json!({"current": 1, "total": 2});
    let now = world.now;
    world.endpoint.publish(now, &job(1), "progress", &progress).unwrap();
    world.flush();
    let written = world.heard(link);
    world.hang_up(link);
    let (link, heard) = resume(&mut world, &["ack"], &token(1), 1);
    assert_eq!(heard[0]["payload"]["capabilities"]["features"], json!(["ack"]));
    assert_eq!(heard[1..], written[..], "D14: verbatim");
    let published = world.endpoint.publish(now, &job(1), "progress", &progress).unwrap();
    assert_eq!(published.submitter, Receipt::NotNegotiated(arcp_proto::Feature::Progress));
    world.publish_many(&job(1), 1);
    assert_eq!(seqs(&world.heard(link)), [3], "no place was given away");
    let list = message("session.list_jobs", "l1", &session(1), json!({}));
    world.say(link, &list);
    let heard = world.heard(link);
    assert_eq!(
        (&heard[0]["payload"]["code"], &heard[0]["payload"]["request_id"]),
        (&json!("INVALID_REQUEST"), &json!("l1"))
    );
}

#[test]
fn a5_a_session_that_no_longer_agrees_on_subscriptions_has_none() {
    let mut world = World::plain();
    attached(&mut world, FEATURES, 1);
    let watcher = world.raw();
    world.say(watcher, &hello("alice", FEATURES));
    let watcher_token = token_of(&world.heard(watcher)[0]);
    let subscribe = message("job.subscribe", "b1", &session(2), json!({"job_id": "job_1"}));
    world.say(watcher, &subscribe);
    assert_eq!(types(&world.heard(watcher)), ["job.subscribed"]);
    world.take_audit();
    world.hang_up(watcher);
    let link = world.raw();
    world.say(link, &resume_hello("alice", &["ack"], &session(2), &watcher_token, 0));
    assert_eq!(types(&world.heard(link)), ["session.welcome"]);
    let published = world.publish(&job(1), "more").unwrap();
    assert_eq!((published.subscribers, published.skipped), (0, 0));
    assert!(world.take_audited().contains(&Audited::Unsubscribed { job: job(1) }));
    assert!(world.heard(link).is_empty());
}

#[test]
fn a4_the_agents_of_a_resumed_session_are_those_of_the_new_grant() {
    let mut world = World::plain();
    parked(&mut world, QUIET, 1);
    world.app.agents = Arc::from([AgentInfo::new("gardener", ["3.0.0"])]);
    let link = world.raw();
    world.say(link, &resume_hello("bob", QUIET, &session(1), &token(1), 1));
    world.say(link, &ack(1));
    assert_eq!(type_of(&world.heard(link)[0]), "session.error");
    let (_, heard) = resume(&mut world, QUIET, &token(1), 1);
    assert_eq!(
        heard[0]["payload"]["capabilities"]["agents"],
        json!([{"name": "gardener", "versions": ["3.0.0"], "default": "3.0.0"}])
    );
}

#[test]
fn d32_a_politely_closed_session_resumes_within_the_window() {
    let mut world = World::plain();
    let link = attached(&mut world, QUIET, 2);
    world.say(link, &message("session.bye", "b1", &session(1), json!({"reason": "normal"})));
    assert_eq!(types(&world.heard(link)), ["session.closed"]);
    world.publish_many(&job(1), 1);
    let (_, heard) = resume(&mut world, QUIET, &token(1), 2);
    assert_eq!((type_of(&heard[0]), seqs(&heard)), ("session.welcome", vec![3]));
}

#[test]
fn d15_a_resume_while_the_client_says_goodbye_takes_over() {
    let mut world = World::plain();
    let old = attached(&mut world, QUIET, 1);
    world.set_writable(old, false);
    world.publish_many(&job(1), 1);
    world.say(old, &message("session.bye", "b1", &session(1), json!({"reason": "normal"})));
    let (new, heard) = resume(&mut world, QUIET, &token(1), 1);
    assert_eq!((type_of(&heard[0]), seqs(&heard)), ("session.welcome", vec![2]));
    world.set_writable(old, true);
    world.flush();
    let last = world.heard(old);
    assert_eq!((types(&last), &last[0]["payload"]["reason"]), (vec!["session.bye"], &json!("superseded")));
    world.advance(secs(5));
    assert!(world.is_closed(old) && !world.is_closed(new));
}

#[test]
fn d14_a_session_that_is_being_shut_down_is_not_resumed() {
    let mut world = World::plain().unjudged();
    let old = attached(&mut world, QUIET, 1);
    world.set_writable(old, false);
    world.publish_many(&job(1), 1);
    let now = world.now;
    world.endpoint.shutdown(now, &session(1), "maintenance");
    let (new, heard) = resume(&mut world, QUIET, &token(1), 1);
    assert_eq!(heard[0]["payload"]["code"], "RESUME_WINDOW_EXPIRED");
    assert!(world.is_closed(new));
    assert_eq!(world.take_audited().pop(), Some(Audited::ResumeRefused(RefusedBecause::Closed)));
    world.set_writable(old, true);
    world.flush();
    assert_eq!(types(&world.heard(old)), ["job.event", "session.bye"]);
}

#[test]
fn d43_a_session_whose_events_nobody_polls_is_busy_and_resumes_once_they_are() {
    let mut small = runtime();
    small.limits.inbound_bytes = 4_000;
    let mut world = World::new(EndpointConfig::new(small)).unjudged();
    let link = attached(&mut world, QUIET, 1);
    world.app.polls = false;
    world.say(link, &message("x-vendor.load", "v1", &session(1), json!({"pad": "x".repeat(2_500)})));
    assert!(!world.endpoint.wants_input(world.conn(link)));
    world.hang_up(link);
    let before = state(&world);
    let (link, _) = resume(&mut world, QUIET, &token(1), 1);
    let (now, conn, grant) = (world.now, world.conn(link), world.app.grant(principal("alice")));
    assert_eq!(world.endpoint.admit(now, conn, grant), Err(AdmitError::ResumeRefused(RefusedBecause::Busy)));
    world.flush();
    let heard = world.heard(link);
    assert_eq!(
        (&heard[0]["payload"]["code"], &heard[0]["payload"]["retryable"]),
        (&json!("INTERNAL_ERROR"), &json!(true)),
        "trying again can help"
    );
    assert!(world.is_closed(link));
    assert_eq!(state(&world), before);
    world.app.judges = false;
    world.app.polls = true;
    world.flush();
    world.app.judges = true;
    let (_, heard) = resume(&mut world, QUIET, &token(1), 0);
    assert_eq!((type_of(&heard[0]), seqs(&heard)), ("session.welcome", vec![1]));
}

#[test]
fn d22_a_lost_heartbeat_parks_the_session_and_the_client_is_back_without_loss() {
    let mut world = World::plain();
    let alice = world.connect(client("alice"));
    let job = world.submit(alice);
    world.reconnect_after(alice, secs(1));
    world.half_open(alice);
    world.publish_many(&job, 3);
    world.advance(secs(120));
    assert_eq!(world.take_seqs(alice), [1, 2, 3]);
    let told = world.take_endpoint_events();
    assert!(
        told.iter().any(|event| matches!(event, EndpointEvent::Detached { reason: DetachReason::HeartbeatLost, .. })),
        "{told:?}"
    );
    assert_eq!(world.client(alice).phase(), Phase::Open);
}
