//! From a transport's first byte to a session on it, or to its end (D9, D11).

use arcp_proto::endpoint::{AdmitError, Audited, EndpointConfig, EndpointEvent};
use arcp_proto::wire::{AgentInfo, ErrorCode, FrameFault, JobId, ResumeToken, SessionId, WireError};
use arcp_proto::{ClientEvent, CloseReason, Feature, FeatureSet, Grant};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::world::*;

/// The one `session.error` that came on a link that is now closed.
#[track_caller]
fn refusal(world: &mut World, link: LinkIdx) -> Value {
    let heard = world.heard(link);
    assert_eq!(types(&heard), ["session.error"], "{heard:?}");
    assert!(world.is_closed(link), "a failed handshake is followed by a close");
    assert!(heard[0]["session_id"].is_string(), "D11: an error names a session, always");
    assert_ne!(heard[0]["payload"]["message"], "");
    heard[0].clone()
}

#[track_caller]
fn refusal_code(world: &mut World, link: LinkIdx) -> String {
    refusal(world, link)["payload"]["code"].as_str().unwrap().to_owned()
}

/// Nothing is left of a transport.
#[track_caller]
fn assert_nothing_is_left(world: &World) {
    assert_eq!(world.endpoint.connection_count(), (0, 0));
    assert_eq!(world.endpoint.poll_timeout(), None);
}

/// A frame as a client sends it that does not know its session yet.
fn early(name: &str, id: &str, payload: Value) -> Value {
    let mut frame = json!({"arcp": "1.1", "id": id, "type": name, "payload": payload});
    if let Some(job) = frame["payload"].get("job_id").cloned() {
        frame["job_id"] = job;
    }
    frame
}

fn submit(id: &str) -> Value {
    early("job.submit", id, json!({"agent": "code-refactor", "input": {}}))
}

/// A frame of so many bytes that nobody answers.
fn padded(len: usize) -> Bytes {
    let frame = |pad: usize| early("session.pong", "p", json!({"pad": "x".repeat(pad)})).to_string();
    let frame = frame(len - frame(0).len());
    assert_eq!(frame.len(), len);
    Bytes::from(frame)
}

/// A transport whose hello waits for its verdict.
fn waiting(world: &mut World, name: &str) -> LinkIdx {
    let link = world.raw();
    world.say(link, &hello(name, &["heartbeat", "ack", "list_jobs", "subscribe"]));
    assert_eq!(world.app.applicants.len(), 1);
    link
}

#[test]
fn d9_a_transport_has_ten_seconds_for_its_hello() {
    let mut world = World::plain();
    let link = world.raw();
    world.advance(millis(9_999));
    assert!(!world.is_closed(link) && world.heard(link).is_empty());
    world.advance(millis(1));
    assert_eq!(refusal_code(&mut world, link), "TIMEOUT");
    assert_eq!(world.link(link).closed_at, Some(start().mono + secs(10)));
    assert_eq!(world.take_audited(), [Audited::HandshakeFailed(ErrorCode::Timeout)]);
    assert_eq!(world.counters().handshakes_failed, 1);
    assert_nothing_is_left(&world);
}

#[test]
fn d9_a_hello_in_the_last_millisecond_is_in_time() {
    let mut world = World::plain();
    let link = world.raw();
    world.advance(millis(9_999));
    world.say(link, &hello("alice", &[]));
    assert_eq!(types(&world.heard(link)), ["session.welcome"]);
    world.advance(secs(60));
    assert!(!world.is_closed(link), "the deadline stood for the handshake alone");
}

#[test]
fn d9_the_handshake_s_deadline_is_configurable() {
    let mut world = World::new(EndpointConfig { handshake_timeout: millis(250), ..config() });
    let link = world.raw();
    world.advance(millis(249));
    assert!(!world.is_closed(link));
    world.advance(millis(1));
    assert_eq!(refusal_code(&mut world, link), "TIMEOUT");
}

#[test]
fn d9_bytes_without_a_message_do_not_prolong_the_handshake() {
    let mut world = World::plain();
    let link = world.raw();
    for _ in 0..9 {
        world.advance(secs(1));
        let (now, conn) = (world.now, world.conn(link));
        world.endpoint.handle_activity(now, conn);
    }
    world.advance(millis(1_000));
    assert_eq!(refusal_code(&mut world, link), "TIMEOUT");
}

#[test]
fn d9_the_application_has_thirty_seconds_for_its_verdict() {
    let mut world = World::plain().judged_by_hand();
    world.advance(secs(3));
    let link = world.raw();
    world.advance(secs(7));
    world.say(link, &hello("alice", &[]));
    let asked = world.now.mono;
    world.advance(millis(29_999));
    assert!(!world.is_closed(link) && world.heard(link).is_empty(), "the verdict's time counts from the hello");
    world.advance(millis(1));
    let refusal = refusal(&mut world, link);
    assert_eq!(refusal["payload"]["code"], "INTERNAL_ERROR");
    assert_eq!(refusal["payload"]["retryable"], true, "the client may try again: nobody said no");
    assert_eq!(refusal["payload"]["request_id"], "h1");
    assert_eq!(world.link(link).closed_at, Some(asked + secs(30)));
    assert_eq!(world.take_audited(), [Audited::HandshakeFailed(ErrorCode::InternalError)]);

    let applicant = world.app.applicants.pop_front().unwrap();
    let grant = world.app.grant(principal("alice"));
    let now = world.now;
    assert_eq!(world.endpoint.admit(now, applicant.conn, grant), Err(AdmitError::NobodyWaits));
    let error = WireError::new(ErrorCode::Unauthenticated, "no");
    assert_eq!(world.endpoint.reject(now, applicant.conn, error), Err(AdmitError::NobodyWaits));
    world.flush();
    assert!(world.heard(link).is_empty(), "a late verdict says nothing");
    assert_eq!(world.endpoint.session_count(), 0);
    assert_nothing_is_left(&world);
}

#[test]
fn d9_a_verdict_in_the_last_millisecond_is_in_time() {
    let mut world = World::new(EndpointConfig { verdict_timeout: millis(500), ..config() }).judged_by_hand();
    let link = waiting(&mut world, "alice");
    world.advance(millis(499));
    world.admit_next();
    assert_eq!(types(&world.heard(link)), ["session.welcome"]);
    world.advance(secs(20));
    assert!(!world.is_closed(link), "the verdict's deadline went with the verdict");
}

#[test]
fn d9_a_first_frame_of_64_kib_is_read_and_one_byte_more_is_not() {
    for (extra, is_good) in [(0, true), (1, false)] {
        let mut world = World::plain();
        let link = world.raw();
        let mut frame = hello("alice", &[]).to_string();
        let pad = 64 * 1024 + extra - frame.len() - r#","pad":"""#.len();
        frame.insert_str(frame.len() - 1, &format!(r#","pad":"{}""#, "x".repeat(pad)));
        assert_eq!(frame.len(), 64 * 1024 + extra);
        world.say_bytes(link, Bytes::from(frame));
        if is_good {
            assert_eq!(types(&world.heard(link)), ["session.welcome"]);
        } else {
            assert_eq!(refusal_code(&mut world, link), "INVALID_REQUEST");
        }
    }
}

#[test]
fn d9_a_first_frame_that_is_no_hello_is_answered_by_an_error_and_a_close() {
    let frames = [
        submit("s1"),
        early("session.ping", "s1", json!({"nonce": "n", "sent_at": "2026-01-01T00:00:00.000Z"})),
        early("session.bye", "s1", json!({"reason": "normal"})),
        early("session.ack", "s1", json!({"last_processed_seq": 0})),
        early("session.welcome", "s1", json!({})),
        early("session.error", "s1", json!({"code": "TIMEOUT", "message": "m", "retryable": true})),
        early("x-vendor.hello", "s1", json!({})),
        early("session.unheard-of", "s1", json!({})),
    ];
    for frame in frames {
        let mut world = World::plain();
        let link = world.raw();
        world.say(link, &frame);
        let refusal = refusal(&mut world, link);
        assert_eq!(refusal["payload"]["code"], "INVALID_REQUEST", "{frame}");
        assert_eq!(refusal["payload"]["request_id"], "s1", "{frame}");
        assert_eq!(refusal["payload"]["retryable"], false);
        assert_eq!(world.take_audited(), [Audited::HandshakeFailed(ErrorCode::InvalidRequest)]);
        assert!(world.app.applicants.is_empty() && world.take_endpoint_events().is_empty());
        assert_nothing_is_left(&world);
    }
}

#[test]
fn d9_a_malformed_first_frame_is_answered_by_an_error_and_a_close() {
    let depth = "[".repeat(200);
    for frame in
        ["", "{", "[]", "nonsense", "{\"type\":1}", "{\"id\":\"a\",\"id\":\"b\",\"type\":\"session.hello\"}", &depth]
    {
        let mut world = World::plain();
        let link = world.raw();
        world.say_bytes(link, Bytes::from(frame.to_owned()));
        assert_eq!(refusal_code(&mut world, link), "INVALID_REQUEST", "{frame}");
        assert_nothing_is_left(&world);
    }
}

#[test]
fn d9_what_the_framing_could_not_hand_over_ends_a_handshake_in_either_half() {
    for waits in [false, true] {
        let mut world = World::plain().judged_by_hand();
        let link = if waits { waiting(&mut world, "alice") } else { world.raw() };
        let (now, conn) = (world.now, world.conn(link));
        world.endpoint.handle_malformed(now, conn, FrameFault::TooLarge { limit: 65_536 });
        world.flush();
        assert_eq!(refusal_code(&mut world, link), "INVALID_REQUEST");
        assert_eq!(world.endpoint.session_count(), 0);
        assert_nothing_is_left(&world);
    }
}

#[test]
fn d1_a_hello_of_another_version_is_refused_and_closed() {
    let mut world = World::plain();
    let link = world.raw();
    let mut frame = hello("alice", &[]);
    frame["arcp"] = json!("2.0");
    world.say(link, &frame);
    let refusal = refusal(&mut world, link);
    assert_eq!(
        (&refusal["payload"]["code"], &refusal["payload"]["request_id"]),
        (&json!("INVALID_REQUEST"), &json!("h1"))
    );
}

#[test]
fn d11_a_refused_handshake_names_the_session_of_the_hello_or_one_to_throw_away() {
    let mut world = World::plain();
    let link = world.raw();
    let mut frame = hello("nobody", &[]);
    frame["payload"]["auth"]["token"] = json!("wrong");
    world.say(link, &frame);
    assert_ne!(refusal(&mut world, link)["session_id"], "");

    let link = world.raw();
    frame["session_id"] = json!("sess_mine");
    world.say(link, &frame);
    assert_eq!(refusal(&mut world, link)["session_id"], "sess_mine");
}

#[test]
fn d3_the_session_id_in_a_hello_is_ignored() {
    let mut world = World::plain();
    let link = world.raw();
    let mut frame = hello("alice", &[]);
    frame["session_id"] = json!("sess_mine");
    world.say(link, &frame);
    let heard = world.heard(link);
    assert_eq!((type_of(&heard[0]), &heard[0]["session_id"]), ("session.welcome", &json!("sess_1")));
}

#[test]
fn d9_credentials_that_are_none_never_reach_the_application() {
    for auth in
        [json!(null), json!({"scheme": "bearer"}), json!({"scheme": "bearer", "token": ""}), json!({"scheme": ""})]
    {
        let mut world = World::plain().judged_by_hand();
        let link = world.raw();
        let mut frame = hello("alice", &[]);
        frame["payload"]["auth"] = auth.clone();
        world.say(link, &frame);
        assert_eq!(refusal_code(&mut world, link), "UNAUTHENTICATED", "{auth}");
        assert!(world.app.applicants.is_empty());
        assert_eq!(world.take_audited(), [Audited::HandshakeFailed(ErrorCode::Unauthenticated)]);
    }
}

#[test]
fn d9_a_scheme_without_a_token_is_the_application_s_to_judge() {
    let mut world = World::plain();
    let link = world.raw();
    let mut frame = hello("alice", &[]);
    frame["payload"]["auth"] = json!({"scheme": "anonymous"});
    world.say(link, &frame);
    assert_eq!(types(&world.heard(link)), ["session.welcome"]);
    assert_eq!(world.endpoint.session(&session(1)).unwrap().principal().as_str(), "anonymous");
    assert_eq!(world.endpoint.session_count_of(&principal("anonymous")), 1);
}

#[test]
fn a1_the_application_is_asked_who_it_is_with_all_that_it_needs() {
    let mut world = World::plain().judged_by_hand();
    let link = waiting(&mut world, "alice");
    let applicant = world.app.applicants[0].clone();
    assert_eq!(applicant.conn, world.conn(link));
    assert_eq!((applicant.peer.name.as_str(), applicant.peer.version.as_str()), ("hand", "1"));
    assert_eq!(applicant.credentials.scheme, "bearer");
    assert_eq!(applicant.credentials.token.unwrap().reveal(), "secret-alice");
    assert!(applicant.resume.is_none());
    assert_eq!(world.endpoint.session_count(), 0, "there is no session before the verdict");
    assert_eq!(world.endpoint.session_on(world.conn(link)), None);
    world.admit_next();
    assert_eq!(world.endpoint.session_on(world.conn(link)), Some(&session(1)));
    assert_eq!(world.endpoint.conn_of(&session(1)), Some(world.conn(link)));
    let record = world.take_audit().pop().unwrap();
    assert_eq!(record.action, Audited::Admitted);
    assert_eq!(
        (record.conn, record.session, record.principal),
        (Some(world.conn(link)), Some(session(1)), Some(principal("alice")))
    );
    assert_eq!(world.counters().admitted, 1);
}

#[test]
fn d9_a_verdict_after_the_transport_has_gone_is_nobody_s() {
    let mut world = World::plain().judged_by_hand();
    let link = waiting(&mut world, "alice");
    let conn = world.conn(link);
    world.hang_up(link);
    assert_nothing_is_left(&world);
    let grant = world.app.grant(principal("alice"));
    let now = world.now;
    assert_eq!(world.endpoint.admit(now, conn, grant), Err(AdmitError::NobodyWaits));
    let error = WireError::new(ErrorCode::Unauthenticated, "no");
    assert_eq!(world.endpoint.reject(now, conn, error), Err(AdmitError::NobodyWaits));
    world.flush();
    assert_eq!(world.endpoint.session_count(), 0);
    // The transport that came in its place is another.
    let next = waiting_again(&mut world);
    let grant = world.app.grant(principal("alice"));
    assert_eq!(world.endpoint.admit(now, conn, grant), Err(AdmitError::NobodyWaits));
    world.flush();
    assert!(world.heard(next).is_empty());
}

fn waiting_again(world: &mut World) -> LinkIdx {
    world.app.applicants.clear();
    waiting(world, "bob")
}

#[test]
fn d9_a_second_verdict_is_nobody_s() {
    let mut world = World::plain().judged_by_hand();
    let link = waiting(&mut world, "alice");
    let conn = world.conn(link);
    world.admit_next();
    let (now, grant) = (world.now, world.app.grant(principal("mallory")));
    assert_eq!(world.endpoint.admit(now, conn, grant), Err(AdmitError::NobodyWaits));
    let error = WireError::new(ErrorCode::Unauthenticated, "no");
    assert_eq!(world.endpoint.reject(now, conn, error.clone()), Err(AdmitError::NobodyWaits));
    world.flush();
    assert_eq!(types(&world.heard(link)), ["session.welcome"]);
    assert!(!world.is_closed(link));
    assert_eq!(world.endpoint.session_count(), 1);

    let link = waiting_again(&mut world);
    let conn = world.conn(link);
    world.endpoint.reject(now, conn, error.clone()).unwrap();
    assert_eq!(world.endpoint.reject(now, conn, error), Err(AdmitError::NobodyWaits));
    let grant = world.app.grant(principal("bob"));
    assert_eq!(world.endpoint.admit(now, conn, grant), Err(AdmitError::NobodyWaits));
    world.flush();
    assert_eq!(refusal_code(&mut world, link), "UNAUTHENTICATED");
}

#[test]
fn d9_a_verdict_before_the_hello_is_nobody_s() {
    let mut world = World::plain().judged_by_hand();
    let link = world.raw();
    let (now, conn, grant) = (world.now, world.conn(link), world.app.grant(principal("alice")));
    assert_eq!(world.endpoint.admit(now, conn, grant), Err(AdmitError::NobodyWaits));
    world.flush();
    assert!(!world.is_closed(link) && world.heard(link).is_empty());
    world.say(link, &hello("alice", &[]));
    world.admit_next();
    assert_eq!(types(&world.heard(link)), ["session.welcome"]);
}

#[test]
fn d11_a_client_can_be_turned_away_with_any_of_the_draft_s_codes() {
    let codes = [
        ErrorCode::InternalError,
        ErrorCode::HeartbeatLost,
        ErrorCode::Timeout,
        ErrorCode::PermissionDenied,
        ErrorCode::LeaseSubsetViolation,
        ErrorCode::JobNotFound,
        ErrorCode::DuplicateKey,
        ErrorCode::AgentNotAvailable,
        ErrorCode::AgentVersionNotAvailable,
        ErrorCode::Cancelled,
        ErrorCode::ResumeWindowExpired,
        ErrorCode::LeaseExpired,
        ErrorCode::BudgetExhausted,
        ErrorCode::InvalidRequest,
        ErrorCode::Unauthenticated,
    ];
    for code in codes {
        let mut world = World::plain().judged_by_hand();
        let link = waiting(&mut world, "alice");
        let (now, conn) = (world.now, world.conn(link));
        world.endpoint.reject(now, conn, WireError::new(code.clone(), "")).unwrap();
        world.flush();
        let refusal = refusal(&mut world, link);
        assert_eq!(refusal["payload"]["code"], code.as_str());
        assert_eq!(refusal["payload"]["retryable"], code.retryable().unwrap());
        assert_eq!(refusal["payload"]["request_id"], "h1");
        let record = world.take_audit().pop().unwrap();
        assert_eq!((record.action, record.conn, record.session), (Audited::Rejected(code), Some(conn), None));
        assert_eq!(world.counters().handshakes_failed, 1);
        assert_nothing_is_left(&world);
    }
}

#[test]
fn d11_a_code_of_nobody_s_is_sent_as_one_of_the_draft_s() {
    for (retryable, sent) in [(true, "INTERNAL_ERROR"), (false, "INVALID_REQUEST")] {
        let mut world = World::plain().judged_by_hand();
        let link = waiting(&mut world, "alice");
        let mut error = WireError::new(ErrorCode::from("HOUSE_IS_FULL"), "come back later");
        error.retryable = retryable;
        let (now, conn) = (world.now, world.conn(link));
        world.endpoint.reject(now, conn, error).unwrap();
        world.flush();
        assert_eq!(refusal_code(&mut world, link), sent);
    }
}

#[test]
fn a2_a_client_is_told_that_it_was_turned_away() {
    let mut world = World::plain();
    let mut stranger = client("alice");
    stranger.credentials = arcp_proto::wire::Credentials::bearer("wrong");
    let stranger = world.connect(stranger);
    let events = world.take_events(stranger);
    let [ClientEvent::Closed(CloseReason::ConnectRefused(error))] = &events[..] else { panic!("{events:?}") };
    assert_eq!(error.code, ErrorCode::Unauthenticated);
    assert!(world.is_closed(world.link_of(stranger)));
    assert_nothing_is_left(&world);
}

#[test]
fn d3_a_grant_whose_id_or_token_is_taken_answers_nobody_and_another_does() {
    let mut world = World::plain().judged_by_hand();
    waiting(&mut world, "alice");
    world.admit_next();
    let link = waiting(&mut world, "bob");
    let (now, conn) = (world.now, world.conn(link));
    let mut grant = world.app.grant(principal("bob"));
    grant.session_id = session(1);
    assert_eq!(world.endpoint.admit(now, conn, grant), Err(AdmitError::SessionIdTaken(session(1))));
    let mut grant = world.app.grant(principal("bob"));
    grant.resume_token = token(1);
    assert_eq!(world.endpoint.admit(now, conn, grant), Err(AdmitError::TokenTaken));
    let spoil: [fn(&mut Grant); 5] = [
        |grant| grant.session_id = SessionId::from(""),
        |grant| grant.session_id = SessionId::from("s".repeat(257)),
        |grant| grant.resume_token = ResumeToken::new(""),
        |grant| grant.resume_token = ResumeToken::new("t".repeat(1_025)),
        |grant| grant.agents = [AgentInfo::new("a".repeat(600_000), ["1"])].into(),
    ];
    for spoil in spoil {
        let mut grant = world.app.grant(principal("bob"));
        spoil(&mut grant);
        let admitted = world.endpoint.admit(now, conn, grant);
        assert!(matches!(admitted, Err(AdmitError::BadGrant(_))), "{admitted:?}");
    }
    world.flush();
    assert!(world.heard(link).is_empty() && !world.is_closed(link), "nobody was answered");
    world.admit_next();
    assert_eq!(types(&world.heard(link)), ["session.welcome"]);
    assert_eq!(world.endpoint.session(&session(1)).unwrap().principal(), &principal("alice"));
}

#[test]
fn d9_nothing_is_processed_before_the_verdict_and_all_of_it_after_in_order() {
    let mut world = World::plain().unjudged().judged_by_hand();
    world.app.accepts = false;
    let link = waiting(&mut world, "alice");
    let cancelled = early("job.cancel", "c1", json!({"job_id": "job_7"}));
    let subscribed = early("job.subscribe", "b1", json!({"job_id": "job_7"}));
    for frame in [
        submit("s1"),
        early("session.ping", "p1", json!({"nonce": "n1", "sent_at": "2026-01-01T00:00:00.000Z"})),
        early("session.list_jobs", "l1", json!({})),
        early("session.ack", "a1", json!({"last_processed_seq": 5})),
        cancelled,
        subscribed,
        submit("s2"),
    ] {
        world.say(link, &frame);
    }
    world.advance(secs(9));
    assert!(world.heard(link).is_empty(), "nothing is answered");
    assert!(world.take_endpoint_events().is_empty() && world.take_audit().is_empty(), "nothing is told");
    assert!(world.app.submits.is_empty());
    assert_eq!(world.endpoint.connection_count(), (1, 1));

    world.admit_next();
    let heard = world.heard(link);
    assert_eq!(
        types(&heard),
        ["session.welcome", "session.pong", "session.jobs", "session.error", "session.error"],
        "behind the welcome, in the order in which it came"
    );
    assert_eq!(heard[1]["payload"]["ping_nonce"], "n1");
    assert_eq!(heard[2]["payload"]["request_id"], "l1");
    assert_eq!(heard[3]["payload"]["request_id"], "c1");
    assert_eq!(heard[4]["payload"]["request_id"], "b1");
    assert_eq!(world.app.submits.len(), 1, "one submit at a time is asked for");
    let events = world.take_endpoint_events();
    let [EndpointEvent::Submit { .. }, EndpointEvent::Violation { .. }] = &events[..] else { panic!("{events:?}") };
    for n in [1, 2] {
        let (request, submit) = world.app.submits.pop_front().unwrap();
        let accepted = arcp_proto::wire::JobAccepted::new(job(n), submit.agent, world.now.wall);
        let now = world.now;
        world.endpoint.accept_job(now, &request, accepted).unwrap();
        world.flush();
    }
    let heard = world.heard(link);
    assert_eq!(types(&heard), ["job.accepted", "job.accepted"]);
    assert_eq!((&heard[0]["payload"]["request_id"], &heard[1]["payload"]["request_id"]), (&json!("s1"), &json!("s2")));
}

#[test]
fn d9_what_was_held_for_a_client_that_is_turned_away_is_never_processed() {
    let mut world = World::plain().judged_by_hand();
    let link = waiting(&mut world, "alice");
    world.say(link, &submit("s1"));
    let (now, conn) = (world.now, world.conn(link));
    world.endpoint.reject(now, conn, WireError::new(ErrorCode::Unauthenticated, "no")).unwrap();
    world.flush();
    world.say(link, &submit("s2"));
    assert_eq!(refusal_code(&mut world, link), "UNAUTHENTICATED");
    assert!(world.take_endpoint_events().is_empty());
    assert_eq!(world.endpoint.jobs().get(&JobId::from("job_1")), None);
}

#[test]
fn d9_sixteen_frames_are_held_and_the_seventeenth_is_too_much() {
    let mut world = World::plain().judged_by_hand();
    let link = waiting(&mut world, "alice");
    for n in 0..16 {
        world.say(link, &early("session.list_jobs", &format!("l{n}"), json!({})));
    }
    assert!(world.heard(link).is_empty());
    world.admit_next();
    let heard = world.heard(link);
    assert_eq!(heard.len(), 17);
    for (n, page) in heard[1..].iter().enumerate() {
        assert_eq!((type_of(page), &page["payload"]["request_id"]), ("session.jobs", &json!(format!("l{n}"))));
    }

    let link = waiting(&mut world, "bob");
    for n in 0..17 {
        assert!(!world.is_closed(link), "{n}");
        world.say(link, &early("session.list_jobs", &format!("l{n}"), json!({})));
    }
    assert_eq!(refusal_code(&mut world, link), "INVALID_REQUEST");
    let applicant = world.app.applicants.pop_front().unwrap();
    let (now, grant) = (world.now, world.app.grant(principal("bob")));
    assert_eq!(world.endpoint.admit(now, applicant.conn, grant), Err(AdmitError::NobodyWaits));
}

#[test]
fn d9_sixty_four_kib_are_held_and_one_byte_more_is_too_much() {
    for (sizes, is_good) in [([30_000, 35_536], true), ([30_000, 35_537], false), ([1_000, 65_536], false)] {
        let mut world = World::plain().judged_by_hand();
        let link = waiting(&mut world, "alice");
        for size in sizes {
            world.say_bytes(link, padded(size));
        }
        if is_good {
            world.admit_next();
            assert_eq!(types(&world.heard(link)), ["session.welcome"]);
        } else {
            assert_eq!(refusal_code(&mut world, link), "INVALID_REQUEST", "{sizes:?}");
        }
    }
}

#[test]
fn d9_what_may_be_held_is_configurable() {
    let mut world = World::new(EndpointConfig { held_frames: 1, held_bytes: 100, ..config() }).judged_by_hand();
    let link = waiting(&mut world, "alice");
    world.say_bytes(link, padded(100));
    assert!(!world.is_closed(link));
    world.admit_next();
    world.heard(link);
    let link = waiting(&mut world, "bob");
    world.say_bytes(link, padded(101));
    assert_eq!(refusal_code(&mut world, link), "INVALID_REQUEST");

    world.app.applicants.clear();
    let link = waiting(&mut world, "carol");
    world.say_bytes(link, padded(80));
    world.say_bytes(link, padded(80));
    assert_eq!(refusal_code(&mut world, link), "INVALID_REQUEST");
}

#[test]
fn d9_a_driver_is_told_to_read_no_further_than_one_frame_behind_the_hello() {
    let mut world = World::plain().judged_by_hand();
    let link = world.raw();
    assert!(world.endpoint.wants_input(world.conn(link)));
    world.say(link, &hello("alice", &[]));
    assert!(world.endpoint.wants_input(world.conn(link)), "a client that leaves has to be noticed");
    world.say(link, &submit("s1"));
    assert!(!world.endpoint.wants_input(world.conn(link)));
    world.admit_next();
    assert!(world.endpoint.wants_input(world.conn(link)));
}

#[test]
fn d9_a_goodbye_among_what_was_held_is_answered_behind_the_welcome() {
    let mut world = World::plain().unjudged().judged_by_hand();
    let link = waiting(&mut world, "alice");
    world.say(link, &early("session.list_jobs", "l1", json!({})));
    world.say(link, &early("session.bye", "b1", json!({"reason": "normal"})));
    world.admit_next();
    assert_eq!(types(&world.heard(link)), ["session.welcome", "session.jobs", "session.closed"]);
    assert!(world.is_closed(link));
    let events = world.take_endpoint_events();
    assert!(matches!(events[..], [EndpointEvent::Detached { .. }]), "{events:?}");
    assert_eq!(world.endpoint.parked().0, 1);
}

#[test]
fn a14_a_second_hello_behind_the_first_is_a_re_authentication_once_that_is_taken() {
    let mut world = World::plain().unjudged().judged_by_hand();
    let link = waiting(&mut world, "alice");
    let mut second = hello("mallory", &[]);
    second["id"] = json!("h2");
    world.say(link, &second);
    world.admit_next();
    let heard = world.heard(link);
    assert_eq!(types(&heard), ["session.welcome", "session.bye", "session.error"]);
    assert_eq!(heard[1]["payload"]["reason"], "reauthentication");
    assert_eq!(heard[2]["payload"]["request_id"], "h2");
    assert!(world.is_closed(link));
    assert_eq!(world.endpoint.parked().0, 1, "the session can be resumed");
}

#[test]
fn d9_transports_of_unknown_clients_are_limited() {
    let limits = EndpointConfig { opening_connections: 2, ..config() };
    let mut world = World::new(limits).judged_by_hand();
    let first = waiting(&mut world, "alice");
    let second = world.raw();
    assert_eq!(world.endpoint.connection_count(), (2, 2));
    let third = world.raw();
    assert!(world.is_closed(third) && world.heard(third).is_empty());
    assert_eq!(world.endpoint.connection_count(), (2, 2));
    assert_eq!(world.counters().connections_refused, 1);
    assert_eq!(world.counters().connections, 3);

    world.admit_next();
    assert_eq!(world.endpoint.connection_count(), (2, 1), "a known client is none of them");
    let fourth = world.raw();
    assert!(!world.is_closed(fourth));
    world.hang_up(second);
    let fifth = world.raw();
    assert!(!world.is_closed(fifth), "one that is gone makes place");
    let sixth = world.raw();
    assert!(world.is_closed(sixth));
    world.advance(secs(10));
    assert!(world.is_closed(fourth) && world.is_closed(fifth) && !world.is_closed(first));
    assert_eq!(world.endpoint.connection_count(), (1, 0), "one whose time is over makes place");
}

#[test]
fn d9_a_refusal_that_nobody_reads_is_closed_after_five_seconds() {
    let mut world = World::plain().unjudged();
    let link = world.raw();
    world.set_writable(link, false);
    world.say(link, &submit("s1"));
    world.advance(millis(4_999));
    assert!(!world.is_closed(link) && world.heard(link).is_empty());
    world.advance(millis(1));
    assert!(world.is_closed(link));
    assert_nothing_is_left(&world);
}

#[test]
fn d9_behind_its_refusal_a_transport_is_read_for_its_end_alone() {
    let mut world = World::plain();
    let link = world.raw();
    world.set_writable(link, false);
    world.say(link, &submit("s1"));
    assert!(world.endpoint.wants_input(world.conn(link)));
    world.say(link, &hello("alice", &[]));
    assert!(world.take_endpoint_events().is_empty());
    assert_eq!(world.endpoint.session_count(), 0);
    world.set_writable(link, true);
    world.flush();
    assert_eq!(refusal_code(&mut world, link), "INVALID_REQUEST");
}

#[test]
fn a14_a_shutdown_turns_away_whoever_is_still_outside() {
    let mut world = World::plain().judged_by_hand();
    let fresh = world.raw();
    let judged = waiting(&mut world, "alice");
    world.say(judged, &submit("s1"));
    let now = world.now;
    world.endpoint.shutdown_all(now, "maintenance");
    world.flush();
    assert_eq!(refusal_code(&mut world, judged), "INTERNAL_ERROR");
    assert_eq!(refusal_code(&mut world, fresh), "INTERNAL_ERROR");
    let applicant = world.app.applicants.pop_front().unwrap();
    let grant = world.app.grant(principal("alice"));
    assert_eq!(world.endpoint.admit(now, applicant.conn, grant), Err(AdmitError::NobodyWaits));
    let late = world.raw();
    assert_eq!(refusal_code(&mut world, late), "INTERNAL_ERROR");
    world.say(late, &hello("alice", &[]));
    assert!(world.heard(late).is_empty());
    assert_nothing_is_left(&world);
}

#[test]
fn a5_the_welcome_speaks_of_what_both_sides_have() {
    let features: FeatureSet = [Feature::Ack, Feature::Subscribe].into_iter().collect();
    let mut world = World::new(EndpointConfig::new(runtime().with_features(features)));
    let link = world.raw();
    world.say(link, &hello("alice", &["heartbeat", "ack", "x-unknown"]));
    let welcome = world.heard(link).remove(0);
    assert_eq!(welcome["payload"]["capabilities"]["features"], json!(["ack"]));
    assert_eq!(welcome["payload"]["heartbeat_interval_sec"], json!(null));
    assert_eq!(welcome["payload"]["resume_window_sec"], 600);
    assert_eq!(welcome["payload"]["resume_token"], json!(token(1).reveal()));
    assert_eq!(welcome["payload"]["capabilities"]["agents"][0]["name"], "code-refactor");
}
