//! What an operator logs: one record for each decision, with whose it was, and without secrets (§14, D3).

use std::fmt::Write as _;

use arcp_proto::endpoint::{
    AuditRecord, Audited, ConnId, Endpoint, EndpointConfig, EndpointEvent, JobRecord, Limit, Policy, Scope,
};
use arcp_proto::wire::{Credential, ErrorCode, JobAccepted, JobId, Principal, SessionId, WireError};
use arcp_proto::{CloseReason, DetachReason, RefusedBecause};
use serde_json::json;

use crate::world::*;

const QUIET: &[&str] = &["ack", "list_jobs", "subscribe", "provisioned_credentials"];

/// A record without its time.
#[derive(Debug, PartialEq)]
struct Record {
    conn: Option<ConnId>,
    session: Option<SessionId>,
    principal: Option<Principal>,
    action: Audited,
}

fn record(
    conn: impl Into<Option<ConnId>>,
    session: Option<SessionId>,
    principal: Option<Principal>,
    action: Audited,
) -> Record {
    Record { conn: conn.into(), session, principal, action }
}

fn taken(world: &mut World) -> Vec<Record> {
    let now = world.now.wall;
    let all = world.take_audit();
    assert!(all.iter().all(|record| record.at <= now));
    all.into_iter()
        .map(|AuditRecord { conn, session, principal, action, .. }| Record { conn, session, principal, action })
        .collect()
}

/// Bob may list what alice does and follow none of it; carol may follow it; the rest see their own.
struct Watchers;

impl Policy for Watchers {
    fn scope(&self, viewer: &Principal) -> Scope {
        if matches!(viewer.as_str(), "bob" | "carol") { Scope::All } else { Scope::Own }
    }

    fn may_subscribe(&self, viewer: &Principal, _: &JobRecord) -> bool {
        viewer.as_str() == "carol"
    }
}

fn watched() -> World {
    World::over(Endpoint::new(config()).with_policy(Watchers))
}

fn about_job(name: &str, id: &str, session: &SessionId, job: &str) -> serde_json::Value {
    message(name, id, session, json!({"job_id": job}))
}

/// Alice with job 1.
fn alice(world: &mut World) -> LinkIdx {
    let (link, id) = world.raw_session("alice", QUIET);
    world.say(link, &message("job.submit", "s1", &id, json!({"agent": "code-refactor", "input": {}})));
    world.take_audit();
    link
}

#[test]
fn a1_every_verdict_on_who_somebody_is_is_on_record() {
    let mut world = World::plain().judged_by_hand();
    let ask = |world: &mut World| {
        let link = world.raw();
        world.say(link, &hello("alice", QUIET));
        (link, world.conn(link), world.app.applicants.pop_front().unwrap())
    };
    let (_, conn, _) = ask(&mut world);
    let (now, grant) = (world.now, world.app.grant(principal("alice")));
    world.endpoint.admit(now, conn, grant).unwrap();
    world.flush();
    let admitted = record(conn, Some(session(1)), Some(principal("alice")), Audited::Admitted);
    assert_eq!(taken(&mut world), [admitted]);

    let (_, conn, _) = ask(&mut world);
    world.endpoint.reject(now, conn, WireError::new(ErrorCode::PermissionDenied, "no")).unwrap();
    world.flush();
    assert_eq!(taken(&mut world), [record(conn, None, None, Audited::Rejected(ErrorCode::PermissionDenied))]);

    let (_, conn, _) = ask(&mut world);
    world.advance(secs(30));
    assert_eq!(taken(&mut world), [record(conn, None, None, Audited::HandshakeFailed(ErrorCode::InternalError))]);

    let link = world.raw();
    world.say(link, &json!({"type": "session.ping"}));
    let failed = Audited::HandshakeFailed(ErrorCode::InvalidRequest);
    assert_eq!(taken(&mut world), [record(world.conn(link), None, None, failed)]);
}

#[test]
fn d14_every_resume_and_every_takeover_is_on_record() {
    let mut world = World::plain();
    let old = alice(&mut world);
    let whom = || (Some(session(1)), Some(principal("alice")));
    let new = world.raw();
    world.say(new, &resume_hello("alice", QUIET, &session(1), &token(1), 0));
    let ((session_, principal_), (again, whose)) = (whom(), whom());
    let superseded = record(world.conn(old), session_, principal_, Audited::Superseded);
    let resumed = record(world.conn(new), again, whose, Audited::Resumed { last_event_seq: 0 });
    assert_eq!(taken(&mut world), [superseded, resumed]);

    let thief = world.raw();
    world.say(thief, &resume_hello("mallory", QUIET, &session(1), &token(2), 0));
    let refused = Audited::ResumeRefused(RefusedBecause::Principal);
    let expected = record(world.conn(thief), Some(session(1)), Some(principal("mallory")), refused);
    assert_eq!(taken(&mut world), [expected], "with the name of who tried, and whose token it is");
    let guesser = world.raw();
    world.say(guesser, &resume_hello("mallory", QUIET, &session(1), &token(99), 0));
    let expected =
        record(world.conn(guesser), None, Some(principal("mallory")), Audited::ResumeRefused(RefusedBecause::Token));
    assert_eq!(taken(&mut world), [expected], "a token that nobody knows is no session's");
}

#[test]
fn d36_every_decision_on_a_subscription_is_on_record() {
    let mut world = watched();
    alice(&mut world);
    world.publish_many(&job(1), 2);
    let mut watch = |name: &str, n: u64, job_id: &str| {
        let (link, id) = world.raw_session(name, QUIET);
        world.take_audit();
        let mut wish = about_job("job.subscribe", "b1", &id, job_id);
        wish["payload"]["history"] = json!(true);
        world.say(link, &wish);
        world.say(link, &about_job("job.unsubscribe", "u1", &id, job_id));
        assert_eq!(id, session(n));
        let conn = world.conn(link);
        let records = taken(&mut world);
        for record in &records {
            assert_eq!(
                (record.conn, &record.session, &record.principal),
                (Some(conn), &Some(session(n)), &Some(principal(name)))
            );
        }
        records.into_iter().map(|record| record.action).collect::<Vec<_>>()
    };
    let owner = Some(principal("alice"));
    assert_eq!(
        watch("carol", 2, "job_1"),
        [
            Audited::Subscribed { job: job(1), owner: principal("alice"), replayed: 2 },
            Audited::Unsubscribed { job: job(1) }
        ]
    );
    let code = ErrorCode::PermissionDenied;
    assert_eq!(watch("bob", 3, "job_1"), [Audited::SubscribeRefused { job: job(1), owner: owner.clone(), code }]);
    let code = ErrorCode::JobNotFound;
    assert_eq!(
        watch("dave", 4, "job_1"),
        [Audited::SubscribeRefused { job: job(1), owner, code: code.clone() }],
        "the operator sees what was hidden, the client does not"
    );
    assert_eq!(
        watch("carol", 5, "job_9"),
        [Audited::SubscribeRefused { job: JobId::from("job_9"), owner: None, code }]
    );
}

#[test]
fn d37_every_refused_cancel_is_on_record() {
    let mut world = watched();
    let link = alice(&mut world);
    for (name, n, code) in [("bob", 2, ErrorCode::PermissionDenied), ("dave", 3, ErrorCode::JobNotFound)] {
        let (link, id) = world.raw_session(name, QUIET);
        world.take_audit();
        world.say(link, &about_job("job.cancel", "c1", &id, "job_1"));
        assert_eq!(world.heard(link)[0]["payload"]["code"], code.as_str());
        let refused = Audited::CancelRefused { job: job(1), code };
        assert_eq!(taken(&mut world), [record(world.conn(link), Some(session(n)), Some(principal(name)), refused)]);
    }
    world.finish(&job(1)).unwrap();
    world.say(link, &about_job("job.cancel", "c1", &session(1), "job_1"));
    let refused = Audited::CancelRefused { job: job(1), code: ErrorCode::InvalidRequest };
    assert_eq!(taken(&mut world), [record(world.conn(link), Some(session(1)), Some(principal("alice")), refused)]);
}

#[test]
fn d32_every_eviction_loss_and_end_is_on_record() {
    let mut world = World::new(EndpointConfig { parked_sessions: 1, sessions: 2, ..config() }).unjudged();
    let first = alice(&mut world);
    let whose = |n: u64, name: &str| (Some(session(n)), Some(principal(name)));
    let of = |conn: Option<ConnId>, (session, principal): (Option<SessionId>, Option<Principal>), action| Record {
        conn,
        session,
        principal,
        action,
    };
    world.hang_up(first);
    let lost = Audited::Detached(DetachReason::TransportLost);
    let conn = Some(world.conn(first));
    assert_eq!(taken(&mut world), [of(conn, whose(1, "alice"), lost.clone())]);

    let (second, _) = world.raw_session("bob", QUIET);
    world.take_audit();
    world.hang_up(second);
    let records = taken(&mut world);
    let actions: Vec<_> = records.iter().map(|record| (record.session.clone(), record.action.clone())).collect();
    assert_eq!(
        actions,
        [
            (Some(session(2)), lost),
            (Some(session(1)), Audited::Evicted(Limit::ParkedSessions)),
            (Some(session(1)), Audited::Closed(CloseReason::Evicted)),
        ]
    );
    assert_eq!(records[2], of(None, whose(1, "alice"), Audited::Closed(CloseReason::Evicted)));

    world.raw_session("carol", QUIET);
    let third = world.raw_session("dave", QUIET).1;
    world.take_audit();
    let refused = world.raw();
    world.say(refused, &hello("eve", QUIET));
    let no_place = Audited::NoPlace(Limit::Sessions);
    assert_eq!(taken(&mut world), [record(world.conn(refused), None, Some(principal("eve")), no_place)]);

    let (now, conn) = (world.now, world.endpoint.conn_of(&third));
    world.endpoint.shutdown(now, &third, "maintenance");
    world.flush();
    assert_eq!(taken(&mut world), [of(conn, whose(4, "dave"), Audited::Closed(CloseReason::Shutdown))]);
}

#[test]
fn d22_a_lost_heartbeat_is_on_record_with_its_transport() {
    let mut world = World::plain();
    let (link, _) = world.raw_session("alice", &["heartbeat"]);
    world.take_audit();
    world.advance(secs(60));
    let lost = Audited::Detached(DetachReason::HeartbeatLost);
    assert_eq!(taken(&mut world), [record(world.conn(link), Some(session(1)), Some(principal("alice")), lost)]);
}

#[test]
fn a_record_is_one_line_whatever_a_name_holds() {
    let mut world = World::plain().judged_by_hand();
    let link = world.raw();
    world.say(link, &hello("alice", QUIET));
    let (now, conn) = (world.now, world.conn(link));
    let mut grant = world.app.grant(Principal::from("alice\n2026-01-01 conn=7 Admitted"));
    grant.session_id = SessionId::from("sess_\r\nx");
    world.endpoint.admit(now, conn, grant).unwrap();
    world.flush();
    let subscribe = json!({"arcp": "1.1", "id": "b1", "type": "job.subscribe", "payload": {"job_id": "job\n1"}, "job_id": "job\n1"});
    world.say(link, &subscribe);
    let lines: Vec<String> = world.take_audit().iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert!(!line.contains(['\n', '\r']), "{line}");
        assert!(line.starts_with("2026-05-13T19:42:13.000Z conn=1 session="), "{line}");
    }
}

#[test]
fn d3_no_secret_is_in_anything_that_can_be_printed() {
    const CREDENTIAL: &str = "hunter2-the-credential";
    let mut world = watched();
    world.app.judges = false;
    world.app.accepts = false;
    let mut printed = String::new();
    let link = world.raw();
    world.say(link, &hello("alice", QUIET));
    write!(printed, "{:?}", world.app.applicants).unwrap();
    world.admit_next();
    world.say(link, &message("job.submit", "s1", &session(1), json!({"agent": "code-refactor", "input": {}})));
    let (request, submit) = world.app.submits.pop_front().unwrap();
    let mut accepted = JobAccepted::new(job(1), submit.agent, world.now.wall);
    let credential: Credential = serde_json::from_value(json!({
        "id": "c1", "scheme": "bearer", "value": CREDENTIAL, "endpoint": "https://x.invalid", "profile": "p",
    }))
    .expect("a credential");
    accepted.credentials = Some(vec![credential]);
    write!(printed, "{accepted:?}").unwrap();
    let now = world.now;
    world.endpoint.accept_job(now, &request, accepted).unwrap();
    world.flush();
    assert!(world.heard(link).iter().any(|frame| frame.to_string().contains(CREDENTIAL)), "the submitter has it");
    write!(printed, "{:?}", world.endpoint.jobs().get(&job(1)).unwrap()).unwrap();

    let taker = world.raw();
    world.say(taker, &resume_hello("alice", QUIET, &session(1), &token(1), 0));
    write!(printed, "{:?}", world.app.applicants).unwrap();
    let grant = world.app.grant(principal("alice"));
    write!(printed, "{grant:?}").unwrap();
    write!(printed, "{:?}", world.endpoint.admit(now, world.conn(taker), grant)).unwrap();
    let mut clashing = world.app.grant(principal("alice"));
    clashing.resume_token = token(1);
    let asks = world.raw();
    world.say(asks, &hello("alice", QUIET));
    let (conn, clash) = (world.conn(asks), world.endpoint.admit(now, world.conn(asks), clashing));
    write!(printed, "{clash:?} {}", clash.as_ref().unwrap_err()).unwrap();
    world.endpoint.reject(now, conn, WireError::new(ErrorCode::Unauthenticated, "no")).unwrap();
    world.flush();
    world.hang_up(taker);
    for event in world.take_endpoint_events() {
        write!(printed, "{event:?}").unwrap();
        if let EndpointEvent::Submit { request, .. } = &event {
            write!(printed, "{request}").unwrap();
        }
    }
    for record in world.take_audit() {
        write!(printed, "{record:?} {record}").unwrap();
    }
    write!(printed, "{:?} {:?}", world.endpoint, world.counters()).unwrap();
    for session in world.endpoint.sessions() {
        write!(printed, "{session:?}").unwrap();
    }
    let digest = format!("{:?}", &token(1).digest()[..4]);
    for secret in ["secret-alice", "rt_0", CREDENTIAL, digest.trim_matches(['[', ']'])] {
        let at = printed.find(secret);
        assert_eq!(at, None, "{secret}: …{}…", at.map_or("", |at| &printed[at.saturating_sub(80)..at + 20]));
    }
}
