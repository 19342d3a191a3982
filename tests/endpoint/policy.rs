//! Who may know of whose jobs.

use std::sync::Arc;

use arcp_proto::endpoint::{DirectoryLimits, JobDirectory, JobRecord, OwnJobs, Policy, Scope, Sight};
use arcp_proto::wire::{JobId, JobPage, JobQuery, Principal};
use arcp_proto::{Instant, Timestamp};

/// Gives everybody this scope; hides jobs of the agent `hidden`, and lets nobody follow those of `private`.
struct Wide(Scope);

impl Policy for Wide {
    fn scope(&self, _: &Principal) -> Scope {
        self.0.clone()
    }

    fn may_observe(&self, viewer: &Principal, job: &JobRecord) -> bool {
        assert_ne!(*viewer, job.principal, "one's own jobs are not asked about");
        job.agent != "hidden"
    }

    fn may_subscribe(&self, viewer: &Principal, job: &JobRecord) -> bool {
        assert_ne!(*viewer, job.principal);
        job.agent != "private"
    }
}

fn only(principals: &[&str]) -> Wide {
    Wide(Scope::Principals(principals.iter().map(|name| Principal::from(*name)).collect()))
}

fn record(n: i64, principal: &str, agent: &str) -> JobRecord {
    let id = JobId::from(format!("job_{principal}_{agent}"));
    JobRecord::new(id, principal.into(), agent, Timestamp::from_unix_millis(n))
}

fn directory(limits: DirectoryLimits) -> JobDirectory {
    let mut jobs = JobDirectory::new(limits);
    let of =
        ["alice", "bob", "carol"].into_iter().flat_map(|name| ["open", "hidden", "private"].map(|agent| (name, agent)));
    for (n, (principal, agent)) in of.enumerate() {
        jobs.insert(Instant::ZERO, record(n as i64, principal, agent)).unwrap();
    }
    jobs
}

fn ids(page: &JobPage) -> Vec<&str> {
    page.jobs.iter().map(|job| job.job_id.as_str().strip_prefix("job_").unwrap()).collect()
}

fn seen(jobs: &JobDirectory, viewer: &str, policy: &dyn Policy) -> Vec<String> {
    let page = jobs.page(&viewer.into(), policy, &JobQuery::default()).unwrap();
    assert_eq!(page.next_cursor, None);
    ids(&page).into_iter().map(str::to_owned).collect()
}

#[test]
fn a12_by_default_one_sees_one_s_own_jobs() {
    let jobs = directory(DirectoryLimits::default());
    assert_eq!(seen(&jobs, "bob", &OwnJobs), ["bob_private", "bob_hidden", "bob_open"]);
    assert!(seen(&jobs, "dave", &OwnJobs).is_empty());
    let record = jobs.get(&"job_bob_open".into());
    assert_eq!(Sight::of(&OwnJobs, &"alice".into(), record), Sight::Hidden);
}

#[test]
fn a12_a_policy_widens_to_some_principals() {
    let jobs = directory(DirectoryLimits::default());
    // Twice named is once seen, and one that has no jobs is no harm.
    let policy = only(&["carol", "carol", "dave"]);
    let expected = ["carol_private", "carol_open", "bob_private", "bob_hidden", "bob_open"];
    assert_eq!(seen(&jobs, "bob", &policy), expected);
    assert_eq!(seen(&jobs, "dave", &policy), ["carol_private", "carol_open"]);
    assert_eq!(seen(&jobs, "bob", &only(&[])), ["bob_private", "bob_hidden", "bob_open"], "always one's own");
}

#[test]
fn a12_more_principals_than_are_merged_are_seen_all_the_same() {
    for merged_principals in [0, 1, 2, 3] {
        let jobs = directory(DirectoryLimits { merged_principals, ..DirectoryLimits::default() });
        let expected = ["carol_private", "carol_open", "bob_private", "bob_hidden", "bob_open"];
        assert_eq!(seen(&jobs, "bob", &only(&["carol", "dave"])), expected);
    }
}

#[test]
fn a12_a_policy_widens_to_everybody() {
    let jobs = directory(DirectoryLimits::default());
    let expected =
        ["carol_private", "carol_open", "bob_private", "bob_hidden", "bob_open", "alice_private", "alice_open"];
    assert_eq!(seen(&jobs, "bob", &Wide(Scope::All)), expected);
}

#[test]
fn d36_what_one_may_do_with_a_job() {
    let jobs = directory(DirectoryLimits::default());
    let sight = |policy: &dyn Policy, job: &str| Sight::of(policy, &"bob".into(), jobs.get(&job.into()));
    for policy in [Wide(Scope::All), only(&["alice"])] {
        assert_eq!(sight(&policy, "job_alice_open"), Sight::Subscribable);
        assert_eq!(sight(&policy, "job_alice_private"), Sight::Visible);
        assert_eq!(sight(&policy, "job_alice_hidden"), Sight::Hidden);
        assert_eq!(sight(&policy, "job_nowhere"), Sight::Hidden);
    }
    assert_eq!(sight(&only(&["carol"]), "job_alice_open"), Sight::Hidden);
}

#[test]
fn d36_one_s_own_jobs_are_always_permitted() {
    let jobs = directory(DirectoryLimits::default());
    for policy in [&OwnJobs as &dyn Policy, &Wide(Scope::Own), &Wide(Scope::All), &only(&["carol"])] {
        for job in ["job_bob_open", "job_bob_hidden", "job_bob_private"] {
            assert_eq!(Sight::of(policy, &"bob".into(), jobs.get(&job.into())), Sight::Subscribable, "{job}");
        }
    }
}

#[test]
fn d36_no_cursor_names_a_hidden_job() {
    let policy = Wide(Scope::All);
    for (examined, same_time) in [(1, false), (1, true), (2, false), (2, true), (5, true)] {
        let mut jobs = JobDirectory::new(DirectoryLimits { examined, ..DirectoryLimits::default() });
        let names = ["7fd1", "83a0", "9b2c", "c44e", "f00d"];
        for (n, name) in names.iter().enumerate() {
            let id = JobId::from(*name);
            let time = Timestamp::from_unix_millis(if same_time { 0 } else { n as i64 });
            jobs.insert(Instant::ZERO, JobRecord::new(id, "alice".into(), "hidden", time)).unwrap();
        }
        let mut query = JobQuery::default();
        let mut pages = 0;
        while let Some(cursor) = jobs.page(&"bob".into(), &policy, &query).unwrap().next_cursor {
            let plain: Vec<u8> =
                (0..cursor.len() / 2).map(|at| u8::from_str_radix(&cursor[2 * at..2 * at + 2], 16).unwrap()).collect();
            for name in names {
                let named = |text: &[u8]| text.windows(name.len()).any(|part| part == name.as_bytes());
                assert!(!named(&plain) && !named(cursor.as_bytes()), "{cursor} names {name}");
            }
            query = query.with_cursor(cursor);
            pages += 1;
            assert!(pages <= names.len(), "no end");
        }
        assert_eq!(pages, (names.len() - 1) / examined);
    }
}

#[test]
fn d36_a_cursor_behind_a_job_that_is_shown_says_nothing_of_the_hidden_one_below() {
    let cursor = |hidden: &str| {
        let mut jobs = JobDirectory::new(DirectoryLimits { examined: 1, ..DirectoryLimits::default() });
        for (id, agent) in [("job_b7", "open"), (hidden, "hidden")] {
            jobs.insert(Instant::ZERO, JobRecord::new(id.into(), "alice".into(), agent, Timestamp::EPOCH)).unwrap();
        }
        let page = jobs.page(&"bob".into(), &Wide(Scope::All), &JobQuery::default()).unwrap();
        assert_eq!(ids(&page), ["b7"]);
        page.next_cursor.unwrap()
    };
    assert_eq!(cursor("job_a"), cursor("job_b"));
}

#[test]
fn policies_can_be_shared() {
    fn check<T: Send + Sync + 'static>(_: &T) {}
    let policy: Arc<dyn Policy> = Arc::new(OwnJobs);
    check(&policy);
    assert_eq!(policy.scope(&"alice".into()), Scope::Own);
}
