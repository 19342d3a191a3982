//! Pages of jobs, against a list that is filtered and sorted.

use std::collections::{BTreeMap, BTreeSet};

use arcp_proto::endpoint::{DirectoryLimits, JobDirectory, JobRecord, OwnJobs, PageError, Policy, Scope, StatusChange};
use arcp_proto::wire::{JobEntry, JobId, JobPage, JobQuery, JobStatus, Jobs, Lease, Principal};
use arcp_proto::{Instant, Timestamp};
use proptest::prelude::*;

fn time(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

fn alice() -> Principal {
    "alice".into()
}

/// `count` pending jobs of alice, `job_00000` first, a millisecond apart.
fn directory(limits: DirectoryLimits, count: usize) -> JobDirectory {
    let mut jobs = JobDirectory::new(limits);
    for n in 0..count {
        let id = JobId::from(format!("job_{n:05}"));
        jobs.insert(Instant::ZERO, JobRecord::new(id, alice(), "code@2", time(n as i64))).unwrap();
    }
    jobs
}

fn page(jobs: &JobDirectory, query: &JobQuery) -> JobPage {
    jobs.page(&alice(), &OwnJobs, query).unwrap()
}

fn numbers(page: &JobPage) -> Vec<usize> {
    page.jobs.iter().map(|job| job.job_id.as_str()[4..].parse().unwrap()).collect()
}

/// All that a query finds, and how many pages it takes.
fn all_pages(jobs: &JobDirectory, query: &JobQuery) -> (Vec<usize>, usize) {
    let (mut found, mut query, mut pages) = (Vec::new(), query.clone(), 0);
    loop {
        let page = page(jobs, &query);
        pages += 1;
        found.extend(numbers(&page));
        match page.next_cursor {
            Some(cursor) => query = query.with_cursor(cursor),
            None => return (found, pages),
        }
    }
}

#[test]
fn a11_jobs_come_newest_first_page_by_page() {
    let jobs = directory(DirectoryLimits::default(), 250);
    let first = page(&jobs, &JobQuery::default());
    assert_eq!(numbers(&first), (150..250).rev().collect::<Vec<_>>(), "100 by default");
    let second = page(&jobs, &JobQuery::default().with_cursor(first.next_cursor.unwrap()));
    assert_eq!(numbers(&second), (50..150).rev().collect::<Vec<_>>());
    let third = page(&jobs, &JobQuery::default().with_cursor(second.next_cursor.unwrap()));
    assert_eq!((numbers(&third), third.next_cursor), ((0..50).rev().collect(), None));
}

#[test]
fn a11_an_entry_says_what_is_known_of_the_job() {
    let mut jobs = JobDirectory::new(DirectoryLimits::default());
    let mut record = JobRecord::new("job_1".into(), alice(), "code@2", time(7));
    record.parent_job_id = Some("job_0".into());
    record.lease = Lease::new([("fs.read", vec!["/**".into()])]);
    record.trace_id = Some(arcp_proto::wire::TraceId::from_bits(7));
    jobs.insert(Instant::ZERO, record.clone()).unwrap();
    jobs.set_status(Instant::ZERO, &"job_1".into(), JobStatus::Running);
    jobs.set_last_event_seq(&"job_1".into(), 42);
    let expected = JobEntry {
        job_id: "job_1".into(),
        agent: "code@2".into(),
        status: JobStatus::Running,
        lease: record.lease,
        parent_job_id: record.parent_job_id,
        created_at: Some(time(7)),
        trace_id: record.trace_id,
        last_event_seq: 42,
    };
    assert_eq!(page(&jobs, &JobQuery::default()).jobs, [expected]);
}

#[test]
fn d30_the_limit_is_100_at_first_1000_at_most_and_never_0() {
    let jobs = directory(DirectoryLimits::default(), 1_001);
    for (limit, len) in [(None, 100), (Some(1), 1), (Some(1_000), 1_000), (Some(1_001), 1_000), (Some(u64::MAX), 1_000)]
    {
        let page = page(&jobs, &JobQuery { limit, ..JobQuery::default() });
        assert_eq!((page.jobs.len(), page.next_cursor.is_some()), (len, true), "{limit:?}");
    }
    let none = jobs.page(&alice(), &OwnJobs, &JobQuery::default().with_limit(0));
    assert_eq!(none, Err(PageError::ZeroLimit));
}

#[test]
fn d30_a_page_that_ends_with_the_last_job_has_no_cursor() {
    let jobs = directory(DirectoryLimits::default(), 100);
    let full = page(&jobs, &JobQuery::default());
    assert_eq!((full.jobs.len(), full.next_cursor), (100, None));
    let short = page(&jobs, &JobQuery::default().with_limit(99));
    let rest = page(&jobs, &JobQuery::default().with_cursor(short.next_cursor.unwrap()));
    assert_eq!((numbers(&rest), rest.next_cursor), (vec![0], None));
    assert_eq!(page(&directory(DirectoryLimits::default(), 0), &JobQuery::default()), JobPage::default());
}

#[test]
fn d30_what_is_no_cursor_is_refused_and_nothing_else_happens() {
    let jobs = directory(DirectoryLimits::default(), 3);
    let long = "0".repeat(1_000_000);
    for cursor in ["", "null", "c_100", "000000000000000", "00000000000000000", "é", "00000000000000ZZ", &*long] {
        let query = JobQuery::default().with_cursor(cursor);
        assert_eq!(jobs.page(&alice(), &OwnJobs, &query), Err(PageError::BadCursor));
        // Not even where nothing could match.
        let query = query.with_status([JobStatus::from("paused")]);
        assert_eq!(jobs.page(&"nobody".into(), &OwnJobs, &query), Err(PageError::BadCursor));
    }
}

#[test]
fn d30_status_and_time_filters() {
    let mut jobs = directory(DirectoryLimits::default(), 10);
    for (n, status) in
        [(1, JobStatus::Running), (2, JobStatus::Success), (3, JobStatus::Error), (4, JobStatus::Running)]
    {
        jobs.set_status(Instant::ZERO, &format!("job_{n:05}").into(), status);
    }
    let of = |query: JobQuery| numbers(&page(&jobs, &query));
    let query = JobQuery::default;
    assert_eq!(of(query().with_status([JobStatus::Running])), [4, 1]);
    assert_eq!(of(query().with_status([JobStatus::Error, JobStatus::Running, JobStatus::Error])), [4, 3, 1]);
    assert_eq!(of(query().with_status([JobStatus::Cancelled])), [0; 0]);
    assert_eq!(of(query().with_status([JobStatus::from("paused")])), [0; 0], "unknown matches nothing");
    assert_eq!(of(query().with_status([JobStatus::from("paused"), JobStatus::Success])), [2]);

    let between = |after, before| {
        let mut query = JobQuery::default();
        (query.filter.created_after, query.filter.created_before) =
            (Option::map(after, time), Option::map(before, time));
        query
    };
    assert_eq!(of(between(Some(6), None)), [9, 8, 7], "exclusive");
    assert_eq!(of(between(None, Some(2))), [1, 0], "exclusive");
    assert_eq!(of(between(Some(3), Some(5))), [4]);
    for (after, before) in [(4, 5), (5, 5), (7, 2), (i64::MAX, i64::MAX), (i64::MAX, i64::MIN), (i64::MIN, i64::MIN)] {
        assert_eq!(of(between(Some(after), Some(before))), [0; 0], "{after} {before}");
    }
    assert_eq!(of(between(Some(i64::MAX), None)), [0; 0]);
    assert_eq!(of(between(None, Some(i64::MIN))), [0; 0]);
    assert_eq!(of(between(Some(i64::MIN), Some(i64::MAX))).len(), 10);
    assert_eq!(of(between(Some(3), Some(9)).with_status([JobStatus::Pending])), [8, 7, 6, 5]);
}

#[test]
fn d30_an_agent_s_name_matches_every_version_and_a_version_that_one() {
    let mut jobs = JobDirectory::new(DirectoryLimits::default());
    for (n, agent) in ["code@1", "code@2", "code@2.1", "code", "coder@2", "code@2@x"].iter().enumerate() {
        let id = JobId::from(format!("job_{n:05}"));
        jobs.insert(Instant::ZERO, JobRecord::new(id, alice(), *agent, time(n as i64))).unwrap();
    }
    let of = |agent: &str| numbers(&page(&jobs, &JobQuery::default().with_agent(agent)));
    assert_eq!(of("code"), [5, 3, 2, 1, 0]);
    assert_eq!(of("code@2"), [1]);
    assert_eq!(of("code@"), [0; 0]);
    assert_eq!(of("cod"), [0; 0]);
    assert_eq!(of("Code"), [0; 0]);
    assert_eq!(of("").len(), 6, "an empty one does not restrict");
}

#[test]
fn d30_a_page_examines_so_many_jobs_and_then_ends_short() {
    let limits = DirectoryLimits { examined: 10, ..DirectoryLimits::default() };
    let mut jobs = directory(limits.clone(), 31);
    let rare = JobRecord::new("job_99999".into(), alice(), "rare@1", time(5));
    jobs.insert(Instant::ZERO, rare).unwrap();
    let query = JobQuery::default().with_agent("rare");
    assert_eq!(all_pages(&jobs, &query), (vec![99_999], 4), "32 jobs by tens");
    assert_eq!(page(&jobs, &query).jobs, []);

    // Exactly as many as may be examined, and one more.
    assert_eq!(all_pages(&directory(limits.clone(), 10), &query).1, 1);
    assert_eq!(all_pages(&directory(limits.clone(), 11), &query).1, 2);
    assert_eq!(all_pages(&directory(limits.clone(), 10), &JobQuery::default()), ((0..10).rev().collect(), 1));
    let eleven = directory(limits, 11);
    assert_eq!(numbers(&page(&eleven, &JobQuery::default())).len(), 10);
    assert_eq!(all_pages(&eleven, &JobQuery::default()), ((0..11).rev().collect(), 2));

    let none = DirectoryLimits { examined: 0, ..DirectoryLimits::default() };
    assert_eq!(all_pages(&directory(none, 3), &JobQuery::default()), (vec![2, 1, 0], 3), "0 counts as 1");
}

#[test]
fn d30_the_default_examines_10_000() {
    let jobs = directory(DirectoryLimits::default(), 10_000);
    let query = JobQuery::default().with_agent("rare");
    assert_eq!(page(&jobs, &query), JobPage::default());
    let jobs = directory(DirectoryLimits::default(), 10_001);
    let first = page(&jobs, &query);
    assert!(first.jobs.is_empty() && first.next_cursor.is_some());
    assert_eq!(page(&jobs, &query.with_cursor(first.next_cursor.unwrap())), JobPage::default());
}

#[test]
fn d30_a_page_holds_256_kib_to_the_byte() {
    let jobs = directory(DirectoryLimits::default(), 20);
    let json = |page: &JobPage| serde_json::to_string(&page.jobs).unwrap().len();
    let ten = json(&page(&jobs, &JobQuery::default().with_limit(10)));
    for (page_bytes, len) in [(ten, 10), (ten + 1, 10), (ten - 1, 9)] {
        let jobs = directory(DirectoryLimits { page_bytes, ..DirectoryLimits::default() }, 20);
        let found = page(&jobs, &JobQuery::default());
        assert_eq!(found.jobs.len(), len);
        assert!(json(&found) <= page_bytes && found.next_cursor.is_some());
        assert_eq!(all_pages(&jobs, &JobQuery::default()).0, (0..20).rev().collect::<Vec<_>>());
    }

    let mut jobs = JobDirectory::new(DirectoryLimits::default());
    for n in 0..200 {
        let mut record = JobRecord::new(format!("job_{n:05}").into(), alice(), "code@2", time(n));
        record.lease = Lease::new([("fs.read", vec!["x".repeat(2_000 + 7 * n as usize)])]);
        jobs.insert(Instant::ZERO, record).unwrap();
    }
    let first = page(&jobs, &JobQuery::default());
    let next = page(&jobs, &JobQuery::default().with_cursor(first.next_cursor.clone().unwrap()));
    let with_one_more = json(&first) + 1 + serde_json::to_string(&next.jobs[0]).unwrap().len();
    assert!(json(&first) <= 256 * 1024 && with_one_more > 256 * 1024);
}

#[test]
fn d30_a_page_fits_into_a_frame_with_all_that_is_around_it() {
    let mut jobs = JobDirectory::new(DirectoryLimits::default());
    for n in 0..1_000 {
        let id = JobId::from(format!("{n:03}{}", "\u{1}".repeat(253)));
        jobs.insert(Instant::ZERO, JobRecord::new(id, alice(), "code@2", time(n))).unwrap();
    }
    let page = page(&jobs, &JobQuery::default().with_limit(1_000));
    let message =
        Jobs { request_id: Some("m".repeat(256)), reply_to: None, jobs: page.jobs, next_cursor: page.next_cursor };
    assert!(serde_json::to_string(&message).unwrap().len() < 257 * 1024);
}

#[test]
fn d30_a_cursor_stands_although_its_job_is_gone() {
    let mut jobs = directory(DirectoryLimits::default(), 10);
    let first = page(&jobs, &JobQuery::default().with_limit(4));
    for n in [9, 6, 5] {
        jobs.remove(&format!("job_{n:05}").into());
    }
    jobs.insert(Instant::ZERO, JobRecord::new("job_00100".into(), alice(), "code@2", time(100))).unwrap();
    let rest = page(&jobs, &JobQuery::default().with_cursor(first.next_cursor.unwrap()));
    assert_eq!(numbers(&rest), [4, 3, 2, 1, 0]);
}

#[test]
fn d30_a_cursor_and_a_filter_hold_both() {
    let jobs = directory(DirectoryLimits::default(), 10);
    let cursor = page(&jobs, &JobQuery::default().with_limit(4)).next_cursor.unwrap();
    for (before, expected) in [(3, vec![2, 1, 0]), (8, vec![5, 4, 3, 2, 1, 0])] {
        let mut query = JobQuery::default().with_cursor(&*cursor);
        query.filter.created_before = Some(time(before));
        assert_eq!(numbers(&page(&jobs, &query)), expected);
    }
}

/// Everybody's jobs or those of some, but for every third of others.
struct Holes(Scope);

impl Policy for Holes {
    fn scope(&self, _: &Principal) -> Scope {
        self.0.clone()
    }

    fn may_observe(&self, _: &Principal, job: &JobRecord) -> bool {
        job.created_at.as_unix_millis() % 3 != 0
    }
}

impl Holes {
    fn shows(&self, viewer: &Principal, job: &JobRecord) -> bool {
        let in_scope = match &self.0 {
            Scope::Principals(principals) => principals.contains(&job.principal),
            scope => *scope == Scope::All,
        };
        job.principal == *viewer || (in_scope && self.may_observe(viewer, job))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert { id: String, principal: usize, created_at: i64, agent: usize },
    Remove(usize),
    Status(usize, usize),
    Wait(u64),
    Page,
}

const PRINCIPALS: [&str; 3] = ["alice", "bob", "carol"];
const AGENTS: [&str; 4] = ["code@1", "code@2", "coder@1", "write@1"];
const STATUSES: [JobStatus; 6] = [
    JobStatus::Pending,
    JobStatus::Running,
    JobStatus::Success,
    JobStatus::Error,
    JobStatus::Cancelled,
    JobStatus::TimedOut,
];

fn insert() -> impl Strategy<Value = Step> {
    ("[ab\u{e9}\"\u{0}\u{2028}]{1,4}", 0..PRINCIPALS.len(), -3_i64..9, 0..AGENTS.len())
        .prop_map(|(id, principal, created_at, agent)| Step::Insert { id, principal, created_at, agent })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => insert(),
        1 => (0_usize..64).prop_map(Step::Remove),
        2 => ((0_usize..64), 0..STATUSES.len()).prop_map(|(at, status)| Step::Status(at, status)),
        1 => (0_u64..30).prop_map(Step::Wait),
        3 => Just(Step::Page),
    ]
}

fn query() -> impl Strategy<Value = JobQuery> {
    let status = prop::collection::vec((0..STATUSES.len() + 1).prop_map(|at| STATUSES.get(at).cloned()), 0..3);
    let agent = prop::option::of(prop::sample::select(vec!["code", "code@2", "write", "nobody"]));
    let bound = || prop::option::weighted(0.3, -4_i64..10);
    (status, agent, bound(), bound(), 1_u64..6).prop_map(|(status, agent, after, before, limit)| {
        let mut query = JobQuery::default().with_limit(limit);
        query.filter.status = status.into_iter().map(|status| status.unwrap_or(JobStatus::from("paused"))).collect();
        query.filter.agent = agent.map(str::to_owned);
        (query.filter.created_after, query.filter.created_before) = (after.map(time), before.map(time));
        query
    })
}

fn scope() -> impl Strategy<Value = Scope> {
    let some = prop::collection::vec(prop::sample::select(&PRINCIPALS[..]), 0..3);
    prop_oneof![
        Just(Scope::Own),
        Just(Scope::All),
        some.prop_map(|names| Scope::Principals(names.into_iter().map(Principal::from).collect())),
    ]
}

/// The jobs as a plain list, and how a listing of them must go.
#[derive(Default)]
struct Model {
    jobs: BTreeMap<JobId, JobRecord>,
    ended: Vec<(u64, JobId)>,
}

fn matches(job: &JobRecord, query: &JobQuery) -> bool {
    let filter = &query.filter;
    (filter.status.is_empty() || filter.status.contains(&job.status))
        && filter.agent.as_deref().is_none_or(|agent| {
            job.agent == agent || (!agent.contains('@') && job.agent.split('@').next() == Some(agent))
        })
        && filter.created_after.is_none_or(|after| job.created_at > after)
        && filter.created_before.is_none_or(|before| job.created_at < before)
}

impl Model {
    fn found(&self, viewer: &Principal, policy: &Holes, query: &JobQuery) -> Vec<&JobRecord> {
        let mut found: Vec<&JobRecord> =
            self.jobs.values().filter(|job| policy.shows(viewer, job) && matches(job, query)).collect();
        found.sort_by(|a, b| (b.created_at, &b.job_id).cmp(&(a.created_at, &a.job_id)));
        found
    }

    fn nth(&self, at: usize) -> Option<JobId> {
        (!self.jobs.is_empty()).then(|| self.jobs.keys().nth(at % self.jobs.len()).unwrap().clone())
    }

    fn drop_job(&mut self, id: &JobId) {
        self.jobs.remove(id);
        self.ended.retain(|(_, ended)| ended != id);
    }

    fn note_end(&mut self, now: u64, id: &JobId, cap: usize) -> Option<JobId> {
        self.ended.push((now, id.clone()));
        let principal = self.jobs[id].principal.clone();
        let own: Vec<JobId> =
            self.ended.iter().map(|(_, id)| id.clone()).filter(|id| self.jobs[id].principal == principal).collect();
        let dropped = (own.len() > cap).then(|| own[0].clone())?;
        self.drop_job(&dropped);
        Some(dropped)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever happens between the pages: what was there and matched all along is on exactly one of them, in order.
    #[test]
    fn d30_no_job_is_skipped_or_repeated(
        before in prop::collection::vec(insert(), 0..40),
        steps in prop::collection::vec(step(), 0..40),
        query in query(),
        scope in scope(),
        examined in prop_oneof![1_usize..8, Just(10_000)],
        merged_principals in 0_usize..4,
        page_bytes in prop_oneof![Just(400_usize), Just(262_144)],
        cap in prop_oneof![0_usize..4, Just(100)],
    ) {
        let retention = std::time::Duration::from_millis(20);
        let mut jobs = JobDirectory::new(DirectoryLimits {
            terminal_retention: retention, terminal_per_principal: cap, jobs: 50, examined, page_bytes, merged_principals,
        });
        let (viewer, policy) = (alice(), Holes(scope));
        let (mut model, mut now, mut query) = (Model::default(), 0_u64, query);
        // What was found and matched at every moment since the listing began; what was given out.
        let mut all_along: Option<BTreeSet<JobId>> = None;
        let mut given: Vec<(Timestamp, JobId)> = Vec::new();
        let (mut most_pages, mut over) = (0, false);
        let pages_to_the_end = std::iter::repeat_n(Step::Page, 400);
        for step in before.into_iter().chain(steps).chain(pages_to_the_end) {
            match step {
                Step::Insert { id, principal, created_at, agent } => {
                    let record =
                        JobRecord::new(id.as_str().into(), PRINCIPALS[principal].into(), AGENTS[agent], time(created_at));
                    let known = model.jobs.contains_key(&record.job_id);
                    match jobs.insert(Instant::from_millis(now), record.clone()) {
                        Ok(dropped) => {
                            prop_assert!(!known);
                            prop_assert_eq!(&dropped, &(model.jobs.len() == 50).then(|| model.ended[0].1.clone()));
                            if let Some(dropped) = dropped {
                                model.drop_job(&dropped);
                            }
                            model.jobs.insert(record.job_id.clone(), record);
                            most_pages += 1;
                        }
                        Err(_) => prop_assert!(known || (model.jobs.len() == 50 && model.ended.is_empty())),
                    }
                }
                Step::Remove(at) => if let Some(id) = model.nth(at) {
                    prop_assert_eq!(jobs.remove(&id), model.jobs.get(&id).cloned());
                    model.drop_job(&id);
                }
                Step::Status(at, status) => if let Some(id) = model.nth(at) {
                    let status = STATUSES[status].clone();
                    let change = jobs.set_status(Instant::from_millis(now), &id, status.clone());
                    let record = model.jobs.get_mut(&id).unwrap();
                    if record.status.is_terminal() {
                        prop_assert_eq!(change, StatusChange::AlreadyEnded);
                    } else {
                        record.status = status.clone();
                        if status.is_terminal() {
                            let dropped = model.note_end(now, &id, cap);
                            prop_assert_eq!(change, StatusChange::Ended { dropped });
                        }
                    }
                }
                Step::Wait(millis) => {
                    now += millis;
                    let due = model.ended.iter().filter(|(at, _)| at + 20 <= now).map(|(_, id)| id.clone());
                    let due: Vec<JobId> = due.collect();
                    prop_assert_eq!(&jobs.handle_timeout(Instant::from_millis(now)), &due);
                    due.iter().for_each(|id| model.drop_job(id));
                }
                Step::Page if over => {}
                Step::Page => {
                    let found: Vec<&JobRecord> = model.found(&viewer, &policy, &query);
                    let ids: BTreeSet<JobId> = found.iter().map(|job| job.job_id.clone()).collect();
                    all_along.get_or_insert(ids);
                    let page = jobs.page(&viewer, &policy, &query).unwrap();
                    // A page is what the model has next, as much of it as there is.
                    let next = found.iter().filter(|job| {
                        given.last().is_none_or(|last| (job.created_at, &job.job_id) < (last.0, &last.1))
                    });
                    let expected: Vec<JobEntry> = next.map(|job| job.entry()).collect();
                    if examined == 10_000 {
                        prop_assert!(expected.starts_with(&page.jobs), "{:?} {:?}", expected, page.jobs);
                        prop_assert_eq!(page.next_cursor.is_some(), page.jobs.len() < expected.len());
                        if page_bytes > 400 {
                            prop_assert_eq!(page.jobs.len(), expected.len().min(query.page_len()));
                        }
                    }
                    prop_assert!(page.jobs.len() <= query.page_len());
                    prop_assert!(serde_json::to_string(&page.jobs).unwrap().len() <= page_bytes);
                    for job in page.jobs {
                        prop_assert!(expected.contains(&job), "{:?} is not wanted", job);
                        let place = (job.created_at.unwrap(), job.job_id);
                        prop_assert!(given.last().is_none_or(|last| place < *last), "{place:?} is out of order");
                        given.push(place);
                    }
                    prop_assert!(most_pages > 0 || page.next_cursor.is_none(), "pages without end");
                    most_pages -= 1;
                    match page.next_cursor {
                        Some(cursor) => query = query.with_cursor(cursor),
                        None => over = true,
                    }
                }
            }
            prop_assert_eq!(jobs.len(), model.jobs.len());
            let deadline = model.ended.first().map(|(at, _)| Instant::from_millis(at + 20));
            prop_assert_eq!(jobs.poll_timeout(), deadline);
            if let Some(all_along) = &mut all_along {
                all_along.retain(|id| {
                    model.jobs.get(id).is_some_and(|job| policy.shows(&viewer, job) && matches(job, &query))
                });
            }
        }
        prop_assert!(over);
        let given: BTreeSet<JobId> = given.into_iter().map(|(_, id)| id).collect();
        let skipped: Vec<_> = all_along.unwrap_or_default().into_iter().filter(|id| !given.contains(id)).collect();
        prop_assert!(skipped.is_empty(), "skipped {skipped:?}");
    }

    #[test]
    fn d30_no_cursor_is_a_panic(text in ".{0,40}", hex in "[0-9a-f]{16,60}", other in "[0-9a-f]{0,40}") {
        let jobs = directory(DirectoryLimits::default(), 5);
        for cursor in [text, hex, format!("0000000000000003{other}"), format!("8000000000000000{other}")] {
            if let Ok(page) = jobs.page(&alice(), &OwnJobs, &JobQuery::default().with_cursor(cursor)) {
                prop_assert!(page.jobs.len() <= 5);
            }
        }
    }
}
