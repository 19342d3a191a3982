//! Jobs listed from client to directory and back (A11, A12, D30).

use arcp_proto::endpoint::{DirectoryLimits, Endpoint, EndpointConfig, EndpointEvent, JobRecord, Listing, Request};
use arcp_proto::wire::{
    ErrorCode, JobAccepted, JobEntry, JobFilter, JobId, JobPage, JobQuery, JobStatus, Lease, RawJson,
};
use arcp_proto::{AnswerError, Feature, Limits, RequestFailure, Timestamp};
use serde_json::json;

use super::questions::*;
use super::world::*;

fn ids(page: &JobPage) -> Vec<&str> {
    page.jobs.iter().map(|entry| entry.job_id.as_str()).collect()
}

/// `job_1` to `job_n` of a client, a second apart.
fn with_jobs(mut world: World, count: usize) -> (World, ClientIdx) {
    let alice = world.connect(client("alice"));
    for _ in 0..count {
        world.submit(alice);
        world.advance(secs(1));
    }
    (world, alice)
}

#[test]
fn a11_jobs_are_listed_newest_first_and_page_by_page() {
    let (mut world, alice) = with_jobs(World::plain(), 5);
    let first = world.list(alice, &JobQuery::default().with_limit(2)).page();
    assert_eq!(ids(&first), ["job_5", "job_4"]);
    // What comes and goes between pages leaves the others where they are.
    world.submit(alice);
    assert!(world.endpoint.forget_job(world.now, &job(4)));
    let next = |cursor: &Option<String>| JobQuery::default().with_limit(2).with_cursor(cursor.clone().unwrap());
    let second = world.list(alice, &next(&first.next_cursor)).page();
    assert_eq!(ids(&second), ["job_3", "job_2"]);
    let third = world.list(alice, &next(&second.next_cursor)).page();
    assert_eq!(ids(&third), ["job_1"]);
    assert_eq!(third.next_cursor, None);
    // A page that holds all that there is says so.
    assert_eq!(world.list(alice, &JobQuery::default().with_limit(5)).page().next_cursor, None);
}

#[test]
fn a11_a_page_says_of_each_job_what_it_is_and_how_it_stands() {
    let (mut world, alice) = with_jobs(World::plain(), 2);
    world.publish(&job(1), "one").unwrap();
    world.publish(&job(2), "one").unwrap();
    world.publish(&job(1), "two").unwrap();
    world.finish(&job(2)).unwrap();
    let page = world.list(alice, &JobQuery::default()).page();
    let (start, second) = (start().wall, start().wall.saturating_add(secs(1)));
    let entry =
        |n, status, at, seq| JobEntry { last_event_seq: seq, ..JobEntry::new(job(n), "code-refactor", status, at) };
    assert_eq!(page.jobs, [entry(2, JobStatus::Success, second, 4), entry(1, JobStatus::Running, start, 3)]);
}

#[test]
fn a11_jobs_are_filtered_by_status_agent_and_time() {
    let (mut world, alice) = with_jobs(World::plain(), 3);
    let other = world.ask(alice, &arcp_proto::wire::JobSubmit::new("other@1.0", RawJson::null()));
    assert_eq!(world.told_of(alice, other).job(), job(4));
    world.publish(&job(1), "one").unwrap();
    world.finish(&job(2)).unwrap();
    let mut of = |query: JobQuery| -> Vec<String> {
        let page = world.list(alice, &query).page();
        ids(&page).into_iter().map(str::to_owned).collect()
    };
    let all = JobQuery::default;
    assert_eq!(of(all().with_status([JobStatus::Running])), ["job_1"]);
    assert_eq!(of(all().with_status([JobStatus::Running, JobStatus::Success])), ["job_2", "job_1"]);
    assert_eq!(of(all().with_status([JobStatus::from("odd")])), [""; 0]);
    assert_eq!(of(all().with_agent("code-refactor")), ["job_3", "job_2", "job_1"]);
    assert_eq!(of(all().with_agent("other")), ["job_4"]);
    assert_eq!(of(all().with_agent("other@1.0")), ["job_4"]);
    assert_eq!(of(all().with_agent("other@1")), [""; 0]);
    let at = |seconds: i64| Timestamp::from_unix_millis(start().wall.as_unix_millis() + seconds * 1_000);
    assert_eq!(of(all().with_created_after(at(1))), ["job_4", "job_3"]);
    let before = JobFilter { created_before: Some(at(1)), ..JobFilter::default() };
    assert_eq!(of(JobQuery { filter: before, ..all() }), ["job_1"]);
}

#[test]
fn a12_by_default_a_principal_sees_its_own_jobs_in_all_of_its_sessions() {
    let (mut world, alice) = with_jobs(World::plain(), 2);
    let (again, bob) = (world.connect(client("alice")), world.connect(client("bob")));
    world.submit(bob);
    for idx in [alice, again] {
        assert_eq!(ids(&world.list(idx, &JobQuery::default()).page()), ["job_2", "job_1"]);
    }
    assert_eq!(ids(&world.list(bob, &JobQuery::default()).page()), ["job_3"]);
    let nobody = world.connect(client("carol"));
    let page = world.list(nobody, &JobQuery::default()).page();
    assert_eq!((page.jobs.len(), page.next_cursor), (0, None));
}

#[test]
fn a12_a_policy_widens_what_is_seen() {
    let (mut world, _) = with_jobs(World::over(Endpoint::new(config()).with_policy(Open)), 2);
    let bob = world.connect(client("bob"));
    world.submit(bob);
    assert_eq!(ids(&world.list(bob, &JobQuery::default()).page()), ["job_3", "job_2", "job_1"]);
    // Of a job that no session submitted, too.
    let record = JobRecord::new("job_child".into(), principal("alice"), "code@1", world.now.wall);
    world.endpoint.add_job(world.now, record).unwrap();
    assert_eq!(world.list(bob, &JobQuery::default()).page().jobs.len(), 4);
}

#[test]
fn a12_the_jobs_of_a_session_that_is_gone_stay_its_principals() {
    let (mut world, alice) = with_jobs(World::plain(), 1);
    world.end_session(alice);
    let again = world.connect(client("alice"));
    assert_eq!(ids(&world.list(again, &JobQuery::default()).page()), ["job_1"]);
}

#[test]
fn d30_ended_jobs_are_listed_for_600_seconds() {
    let (mut world, alice) = with_jobs(World::plain(), 1);
    world.finish(&job(1)).unwrap();
    world.advance(secs(600) - millis(1));
    assert_eq!(ids(&world.list(alice, &JobQuery::default()).page()), ["job_1"]);
    world.advance(millis(1));
    assert!(world.list(alice, &JobQuery::default()).page().jobs.is_empty());
}

#[test]
fn d33_a_lease_is_listed_as_the_features_of_who_asks_allow() {
    let mut world = World::plain();
    world.app.accepts = false;
    let alice = world.connect(client("alice"));
    world.ask_any(alice);
    let lease = Lease::new([
        ("fs.read", vec!["/**".into()]),
        ("cost.budget", vec!["USD:5.00".into()]),
        ("model.use", vec!["m-*".into()]),
    ]);
    let whole = lease.clone();
    world.accept_with("job_1", |accepted| JobAccepted { lease, ..accepted }).unwrap();
    let plain = world.connect(client_without("alice", &[Feature::CostBudget, Feature::ModelUse]));
    assert_eq!(world.list(alice, &JobQuery::default()).page().jobs[0].lease, whole);
    assert_eq!(world.list(plain, &JobQuery::default()).page().jobs[0].lease.text(), r#"{"fs.read":["/**"]}"#);
}

#[test]
fn d30_a_limit_of_0_and_a_cursor_that_is_none_are_invalid() {
    let (mut world, _) = with_jobs(World::plain(), 1);
    let (link, id) = world.raw_session("alice", &["list_jobs"]);
    let bad = [
        json!({"limit": 0}),
        json!({"limit": -1}),
        json!({"cursor": "odd"}),
        json!({"cursor": ""}),
        json!({"limit": 0, "cursor": "odd"}),
    ];
    for (n, query) in bad.into_iter().enumerate() {
        world.say(link, &message("session.list_jobs", &format!("m{n}"), &id, query.clone()));
        let heard = world.heard(link);
        assert_eq!(types(&heard), ["session.error"], "{query}");
        assert_eq!(heard[0]["payload"]["code"], json!("INVALID_REQUEST"), "{query}");
        assert_eq!(heard[0]["payload"]["request_id"], json!(format!("m{n}")));
    }
    world.say(link, &message("session.list_jobs", "m9", &id, json!({"limit": 1_000_000_000_u64})));
    assert_eq!(world.heard(link)[0]["payload"]["jobs"].as_array().unwrap().len(), 1);
}

#[test]
fn d30_a_page_fits_a_frame_however_small_and_nothing_is_left_out_between_two() {
    let limits = Limits { max_frame: 4_096, ..Limits::default() };
    let mut world = World::new(over(runtime().with_limits(limits)));
    world.app.accepts = false;
    let alice = world.connect(client("alice"));
    for n in 0..12 {
        world.ask_any(alice);
        let lease = Lease::new([("fs.read", vec![format!("/{}", "x".repeat(100 * (n % 5)))])]);
        world.accept_with(&format!("job_{n:02}"), |accepted| JobAccepted { lease, ..accepted }).unwrap();
        world.advance(secs(1));
    }
    // One that fits no page is not taken at all.
    world.ask_any(alice);
    let lease = Lease::new([("fs.read", vec!["x".repeat(2_048)])]);
    assert!(world.accept_with("job_12", |accepted| JobAccepted { lease, ..accepted }).is_err());

    let mut seen = Vec::new();
    let mut query = JobQuery::default();
    let mut pages = 0;
    loop {
        let page = world.list(alice, &query).page();
        seen.extend(page.jobs.iter().map(|entry| entry.job_id.clone()));
        pages += 1;
        let Some(cursor) = page.next_cursor else { break };
        query = JobQuery::default().with_cursor(cursor);
    }
    assert!(pages > 1);
    assert_eq!(seen, (0..12).rev().map(|n| JobId::from(format!("job_{n:02}").as_str())).collect::<Vec<_>>());
    let transcript = &world.link(world.link_of(alice)).transcript;
    assert!(transcript.iter().all(|passed| passed.frame.len() <= 4_096));
}

#[test]
fn d30_a_page_looks_at_so_many_jobs_and_goes_on_behind_them() {
    let directory = DirectoryLimits { examined: 3, ..DirectoryLimits::default() };
    let (mut world, alice) = with_jobs(World::new(EndpointConfig { directory, ..config() }), 7);
    let query = JobQuery::default().with_agent("nobody");
    let mut cursor = world.list(alice, &query).page().next_cursor;
    let mut pages = 1;
    while let Some(on) = cursor {
        let page = world.list(alice, &query.clone().with_cursor(on)).page();
        assert!(page.jobs.is_empty());
        cursor = page.next_cursor;
        pages += 1;
    }
    assert_eq!(pages, 3);
}

#[test]
fn d33_whoever_has_not_agreed_on_listings_is_refused_them() {
    let mut world = World::plain();
    let (link, id) = world.raw_session("alice", &["ack"]);
    world.say(link, &message("session.list_jobs", "m1", &id, json!({})));
    let heard = world.heard(link);
    assert_eq!((type_of(&heard[0]), &heard[0]["payload"]["code"]), ("session.error", &json!("INVALID_REQUEST")));
}

fn by_application() -> EndpointConfig {
    EndpointConfig { listing: Listing::Application, ..config() }
}

fn asked(world: &mut World) -> (Request, JobQuery) {
    let listed = world.take_endpoint_events().into_iter().find_map(|event| match event {
        EndpointEvent::ListJobs { request, principal: asking, query } => {
            assert_eq!(asking, principal("alice"));
            Some((request, *query))
        }
        _ => None,
    });
    listed.expect("the application is asked")
}

#[test]
fn a11_the_application_may_answer_instead() {
    let (mut world, alice) = with_jobs(World::new(by_application()).with_a_careless_application(), 1);
    let query = JobQuery::default().with_status([JobStatus::Running]).with_limit(7);
    let request = world.request(alice, |client, now| client.list_jobs(now, &query));
    let (open, told) = asked(&mut world);
    assert_eq!(told, query);
    assert!(world.told_of(alice, request).is_nothing());
    let entry = JobEntry::new("job_elsewhere".into(), "code@1", JobStatus::Running, world.now.wall);
    let page = JobPage { jobs: vec![entry], next_cursor: Some("on".into()) };
    world.endpoint.respond_jobs(world.now, &open, page.clone()).unwrap();
    world.flush();
    assert_eq!(world.told_of(alice, request).page(), page);
    assert_eq!(world.endpoint.respond_jobs(world.now, &open, page), Err(AnswerError::UnknownRequest));
    let request = world.request(alice, |client, now| client.list_jobs(now, &query));
    let (open, _) = asked(&mut world);
    let error = arcp_proto::wire::WireError::new(ErrorCode::PermissionDenied, "not you");
    world.endpoint.refuse(world.now, &open, error).unwrap();
    world.flush();
    assert_eq!(world.told_of(alice, request).code(), ErrorCode::PermissionDenied);
}

#[test]
fn d8_an_answer_to_a_query_whose_transport_is_gone_is_none() {
    let (mut world, alice) = with_jobs(World::new(by_application()).with_a_careless_application(), 1);
    let request = world.request(alice, |client, now| client.list_jobs(now, &JobQuery::default()));
    let (open, _) = asked(&mut world);
    world.cut(alice);
    assert!(matches!(world.told_of(alice, request), Told::Failed(RequestFailure::Disconnected)));
    let late = world.endpoint.respond_jobs(world.now, &open, JobPage::default());
    assert_eq!(late, Err(AnswerError::UnknownRequest));
    world.reconnect(alice);
    assert_eq!(world.endpoint.respond_jobs(world.now, &open, JobPage::default()), Err(AnswerError::UnknownRequest));
    world.end_session(alice);
    assert_eq!(world.endpoint.respond_jobs(world.now, &open, JobPage::default()), Err(AnswerError::UnknownRequest));
}

#[test]
fn d30_a_page_that_fits_no_frame_is_the_applications_mistake_and_the_query_stays_open() {
    let (mut world, alice) = with_jobs(World::new(by_application()).with_a_careless_application(), 1);
    let request = world.request(alice, |client, now| client.list_jobs(now, &JobQuery::default()));
    let (open, _) = asked(&mut world);
    let entry = JobEntry::new("j".into(), "x".repeat(2 << 20), JobStatus::Running, world.now.wall);
    let page = JobPage { jobs: vec![entry], next_cursor: None };
    assert!(matches!(world.endpoint.respond_jobs(world.now, &open, page), Err(AnswerError::TooLarge { .. })));
    world.endpoint.respond_jobs(world.now, &open, JobPage::default()).unwrap();
    world.flush();
    assert_eq!(world.told_of(alice, request).page(), JobPage::default());
}
