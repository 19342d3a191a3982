//! Jobs that come, change, end and go.

use std::time::Duration;

use arcp_proto::endpoint::{DirectoryLimits, InsertError, JobDirectory, JobRecord, SetLeaseError, StatusChange};
use arcp_proto::wire::{JobId, JobStatus, Lease, Principal, RawJson};
use arcp_proto::{Instant, Timestamp};
use serde_json::json;

fn job(id: &str, principal: &str) -> JobRecord {
    JobRecord::new(id.into(), principal.into(), "code@2", Timestamp::from_unix_millis(1_000))
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn with(limits: DirectoryLimits) -> JobDirectory {
    JobDirectory::new(limits)
}

/// A directory with a job that ended for each of these times.
fn ended_at(limits: DirectoryLimits, times: &[u64]) -> JobDirectory {
    let mut jobs = with(limits);
    for (n, time) in times.iter().enumerate() {
        let id = JobId::from(format!("job_{n}"));
        jobs.insert(at(*time), job(id.as_str(), "alice")).unwrap();
        jobs.set_status(at(*time), &id, JobStatus::Success);
    }
    jobs
}

fn ids(ids: &[JobId]) -> Vec<&str> {
    ids.iter().map(JobId::as_str).collect()
}

#[test]
fn d30_the_defaults_are_the_decision_s() {
    let limits = DirectoryLimits::default();
    assert_eq!(limits.terminal_retention, Duration::from_secs(600));
    assert_eq!(limits.terminal_per_principal, 100_000);
    assert_eq!(limits.examined, 10_000);
    assert_eq!(limits.page_bytes, 256 * 1024);
    assert_eq!(limits.jobs, 1_000_000);
}

#[test]
fn d30_an_ended_job_stays_600_seconds_to_the_millisecond() {
    let mut jobs = ended_at(DirectoryLimits::default(), &[5_000]);
    assert_eq!(jobs.poll_timeout(), Some(at(605_000)));
    assert!(jobs.handle_timeout(at(604_999)).is_empty());
    assert!(jobs.get(&"job_0".into()).is_some());
    assert_eq!(ids(&jobs.handle_timeout(at(605_000))), ["job_0"]);
    assert!(jobs.get(&"job_0".into()).is_none() && jobs.is_empty());
    assert_eq!(jobs.poll_timeout(), None);
}

#[test]
fn d30_a_live_job_has_no_deadline() {
    let mut jobs = with(DirectoryLimits::default());
    jobs.insert(at(0), job("job_1", "alice")).unwrap();
    jobs.set_status(at(0), &"job_1".into(), JobStatus::Running);
    assert_eq!(jobs.poll_timeout(), None);
    assert!(jobs.handle_timeout(Instant::MAX).is_empty());
    assert_eq!(jobs.len(), 1);
}

#[test]
fn d30_after_a_timeout_the_next_deadline_is_later() {
    let mut jobs = ended_at(DirectoryLimits::default(), &[0, 0, 1, 5, 5, 9]);
    assert_eq!(ids(&jobs.handle_timeout(at(600_001))), ["job_0", "job_1", "job_2"]);
    assert_eq!(jobs.poll_timeout(), Some(at(600_005)));
    assert_eq!(ids(&jobs.handle_timeout(at(700_000))), ["job_3", "job_4", "job_5"], "in the order of their ends");
    assert_eq!(jobs.poll_timeout(), None);
}

#[test]
fn d30_a_clock_that_goes_back_makes_no_deadline_earlier() {
    let jobs = ended_at(DirectoryLimits::default(), &[1_000]);
    assert_eq!(jobs.poll_timeout(), Some(at(601_000)));
    let mut jobs = ended_at(DirectoryLimits::default(), &[]);
    jobs.insert(at(1_000), job("a", "alice")).unwrap();
    jobs.set_status(at(10), &"a".into(), JobStatus::Success);
    assert_eq!(jobs.poll_timeout(), Some(at(601_000)));
    assert!(jobs.handle_timeout(at(600_999)).is_empty());
    assert_eq!(ids(&jobs.handle_timeout(at(601_000))), ["a"]);
}

#[test]
fn d30_a_retention_without_end_is_no_deadline() {
    let jobs = ended_at(DirectoryLimits { terminal_retention: Duration::MAX, ..DirectoryLimits::default() }, &[1]);
    assert_eq!(jobs.poll_timeout(), None);
}

#[test]
fn d30_beyond_the_cap_the_principal_s_job_that_ended_first_goes() {
    let mut jobs = with(DirectoryLimits { terminal_per_principal: 2, ..DirectoryLimits::default() });
    for (id, principal) in [("a", "alice"), ("b", "alice"), ("c", "alice"), ("x", "bob"), ("live", "alice")] {
        jobs.insert(at(0), job(id, principal)).unwrap();
    }
    let mut end = |id: &str| jobs.set_status(at(1), &id.into(), JobStatus::Cancelled);
    assert_eq!(end("x"), StatusChange::Ended { dropped: None });
    assert_eq!(end("b"), StatusChange::Ended { dropped: None });
    assert_eq!(end("c"), StatusChange::Ended { dropped: None });
    assert_eq!(end("a"), StatusChange::Ended { dropped: Some("b".into()) });
    for there in ["a", "c", "x", "live"] {
        assert!(jobs.get(&there.into()).is_some(), "{there}");
    }
}

#[test]
fn d30_a_cap_of_none_keeps_no_ended_job() {
    let mut jobs = with(DirectoryLimits { terminal_per_principal: 0, ..DirectoryLimits::default() });
    jobs.insert(at(0), job("a", "alice")).unwrap();
    let change = jobs.set_status(at(0), &"a".into(), JobStatus::Error);
    assert_eq!(change, StatusChange::Ended { dropped: Some("a".into()) });
    let ended = JobRecord { status: JobStatus::Error, ..job("b", "alice") };
    assert_eq!(jobs.insert(at(0), ended), Ok(Some("b".into())));
    assert!(jobs.is_empty());
}

#[test]
fn d30_a_live_job_is_never_dropped_and_an_ended_one_makes_room() {
    let mut jobs = with(DirectoryLimits { jobs: 3, ..DirectoryLimits::default() });
    for id in ["a", "b", "c"] {
        jobs.insert(at(0), job(id, "alice")).unwrap();
    }
    assert_eq!(jobs.insert(at(0), job("d", "bob")), Err(InsertError::Full));
    assert_eq!(jobs.insert(at(0), JobRecord { status: JobStatus::Success, ..job("d", "bob") }), Err(InsertError::Full));
    assert_eq!(jobs.len(), 3);
    jobs.set_status(at(1), &"b".into(), JobStatus::Success);
    jobs.set_status(at(2), &"a".into(), JobStatus::Success);
    assert_eq!(jobs.insert(at(3), job("d", "bob")), Ok(Some("b".into())));
    assert_eq!(jobs.insert(at(3), job("e", "bob")), Ok(Some("a".into())));
    assert_eq!(jobs.insert(at(3), job("f", "bob")), Err(InsertError::Full));
    assert!(jobs.remove(&"c".into()).is_some());
    assert_eq!(jobs.insert(at(3), job("f", "bob")), Ok(None));
}

#[test]
fn d30_one_that_came_ended_takes_the_place_of_its_principal_s_own_first() {
    let limits = DirectoryLimits { jobs: 2, terminal_per_principal: 1, ..DirectoryLimits::default() };
    let ended = |id: &str, principal| JobRecord { status: JobStatus::Success, ..job(id, principal) };
    let mut jobs = with(limits);
    jobs.insert(at(0), ended("x", "bob")).unwrap();
    jobs.insert(at(0), ended("a", "alice")).unwrap();
    assert_eq!(jobs.insert(at(0), ended("b", "alice")), Ok(Some("a".into())));
    assert_eq!(jobs.len(), 2);
    assert_eq!(jobs.poll_timeout(), Some(at(600_000)));
}

#[test]
fn d30_what_cannot_be_listed_is_not_taken_in() {
    let mut jobs = with(DirectoryLimits::default());
    assert_eq!(jobs.insert(at(0), job("", "alice")), Err(InsertError::BadId));
    assert_eq!(jobs.insert(at(0), job(&"j".repeat(257), "alice")), Err(InsertError::BadId));
    assert_eq!(jobs.insert(at(0), job(&"j".repeat(256), "alice")), Ok(None));
    let foreign = JobRecord { status: JobStatus::from("paused"), ..job("a", "alice") };
    assert_eq!(jobs.insert(at(0), foreign), Err(InsertError::ForeignStatus));
    jobs.insert(at(0), job("a", "alice")).unwrap();
    assert_eq!(jobs.insert(at(0), job("a", "bob")), Err(InsertError::DuplicateId));
    assert_eq!(jobs.get(&"a".into()).unwrap().principal, "alice");
}

#[test]
fn d30_a_lease_that_fits_into_no_page_is_refused_to_the_byte() {
    // What an entry of this job takes when its status and its sequence number are the longest.
    let entry = JobRecord { status: JobStatus::Cancelled, last_event_seq: u64::MAX, ..job("a", "alice") }.entry();
    let bare = serde_json::to_string(&entry).unwrap().len() + 2;
    let lease = |len: usize| Lease::from_raw(RawJson::new(&json!({ "x": "y".repeat(len - 8 + 2) })).unwrap());
    assert_eq!(lease(10).text().len(), 2 + 10);
    let room = 256 * 1024 - bare;
    let mut jobs = with(DirectoryLimits::default());
    let too_large = JobRecord { lease: lease(room + 1), ..job("a", "alice") };
    assert_eq!(jobs.insert(at(0), too_large), Err(InsertError::TooLarge));
    assert_eq!(jobs.insert(at(0), JobRecord { lease: lease(room), ..job("a", "alice") }), Ok(None));
    assert_eq!(jobs.set_lease(&"a".into(), lease(room + 1), None), Err(SetLeaseError::TooLarge));
    assert_eq!(jobs.get(&"a".into()).unwrap().lease, lease(room));
    assert_eq!(jobs.set_lease(&"a".into(), lease(20), None), Ok(()));
    assert_eq!(jobs.set_lease(&"b".into(), lease(20), None), Err(SetLeaseError::NoSuchJob));
}

#[test]
fn d30_an_end_is_final() {
    let mut jobs = with(DirectoryLimits::default());
    let id = JobId::from("a");
    assert_eq!(jobs.set_status(at(0), &id, JobStatus::Running), StatusChange::NoSuchJob);
    jobs.insert(at(0), job("a", "alice")).unwrap();
    assert_eq!(jobs.set_status(at(0), &id, JobStatus::Pending), StatusChange::Unchanged);
    assert_eq!(jobs.set_status(at(0), &id, JobStatus::Running), StatusChange::Changed);
    assert_eq!(jobs.set_status(at(0), &id, JobStatus::from("paused")), StatusChange::ForeignStatus);
    assert_eq!(jobs.set_status(at(7), &id, JobStatus::TimedOut), StatusChange::Ended { dropped: None });
    for status in [JobStatus::TimedOut, JobStatus::Running, JobStatus::Success] {
        assert_eq!(jobs.set_status(at(9), &id, status), StatusChange::AlreadyEnded);
    }
    assert_eq!(jobs.get(&id).unwrap().status, JobStatus::TimedOut);
    assert_eq!(jobs.poll_timeout(), Some(at(600_007)));
}

#[test]
fn d30_one_that_was_removed_leaves_its_deadline_to_the_next() {
    let mut jobs = ended_at(DirectoryLimits::default(), &[1, 2, 3]);
    assert_eq!(jobs.remove(&"job_0".into()).unwrap().job_id, "job_0");
    assert_eq!(jobs.poll_timeout(), Some(at(600_002)));
    assert!(jobs.remove(&"job_0".into()).is_none());
    // Its id, and its place in memory, may be another's.
    jobs.insert(at(3), job("job_0", "bob")).unwrap();
    assert_eq!(ids(&jobs.handle_timeout(at(700_000))), ["job_1", "job_2"]);
    assert_eq!(jobs.len(), 1);
}

#[test]
fn d31_the_latest_event_of_a_job_only_goes_up() {
    let mut jobs = with(DirectoryLimits::default());
    let id = JobId::from("a");
    assert!(!jobs.set_last_event_seq(&id, 1));
    jobs.insert(at(0), job("a", "alice")).unwrap();
    assert!(jobs.set_last_event_seq(&id, 7) && jobs.set_last_event_seq(&id, 5));
    assert_eq!(jobs.get(&id).unwrap().last_event_seq, 7);
}

#[test]
fn what_changes_of_a_job_is_there() {
    let mut jobs = with(DirectoryLimits::default());
    let id = JobId::from("a");
    jobs.insert(at(0), job("a", "alice")).unwrap();
    let budget = Some([("USD".to_owned(), 5.into())].into());
    assert!(jobs.set_budget(&id, budget.clone()));
    assert!(jobs.set_session(&id, Some("sess_1".into())));
    assert!(jobs.set_credentials(&id, Some(vec![])));
    let record = jobs.get(&id).unwrap();
    assert_eq!((&record.budget, &record.credentials), (&budget, &Some(vec![])));
    assert_eq!(record.session, Some("sess_1".into()));
    assert!(!jobs.set_budget(&"b".into(), None) && !jobs.set_session(&"b".into(), None));
    assert!(!jobs.set_credentials(&"b".into(), None));
}

#[test]
fn d30_the_jobs_of_a_principal_come_newest_first() {
    let mut jobs = with(DirectoryLimits::default());
    for (id, time, principal) in [("b", 5, "alice"), ("c", 5, "alice"), ("a", 9, "alice"), ("x", 7, "bob")] {
        let record = JobRecord { created_at: Timestamp::from_unix_millis(time), ..job(id, principal) };
        jobs.insert(at(0), record).unwrap();
    }
    jobs.set_status(at(0), &"c".into(), JobStatus::Running);
    let listed: Vec<&str> = jobs.jobs_of(&Principal::from("alice")).map(|job| job.job_id.as_str()).collect();
    assert_eq!(listed, ["a", "c", "b"]);
    assert_eq!(jobs.jobs_of(&Principal::from("carol")).count(), 0);
}
