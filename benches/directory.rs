//! A page of 100 in one's own scope, among 1 000 and 1 000 000 jobs: the first page, and one in the middle by its cursor.
//!
//! Time: `cargo bench --bench directory`. Instructions, which do not depend on the machine's mood, are counted by
//! valgrind in one run of each function whose name begins with `counted_`:
//!
//! ```text
//! cargo bench --bench directory --no-run --message-format short
//! for jobs in 1000 1000000; do
//!     valgrind --tool=callgrind --toggle-collect='*counted_*' --callgrind-out-file=/tmp/directory.$jobs \
//!         target/release/deps/directory-<hash> --once $jobs
//!     callgrind_annotate --inclusive=yes /tmp/directory.$jobs | grep counted_
//! done
//! ```
//!
//! Memory: `--bytes N` fills a directory and prints the heap's bytes per job.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod heap;
mod timing;

use std::hint::black_box;

use arcp_proto::endpoint::{DirectoryLimits, JobDirectory, JobRecord, OwnJobs, Policy, Scope};
use arcp_proto::wire::{JobPage, JobQuery, JobStatus, Lease, Principal, TraceId};
use arcp_proto::{Instant, Timestamp};

fn alice() -> Principal {
    "alice".into()
}

/// Job number `n`, of alice: no two are of one millisecond, and the sixth part of them stands in each status.
fn record(n: usize) -> JobRecord {
    let created_at = Timestamp::from_unix_millis(1_778_701_333_000 + n as i64);
    let mut job = JobRecord::new(format!("job_{n:026}").into(), alice(), "code-refactor@2.0.0", created_at);
    job.session = Some("sess_01J8Z6QK3V5WM2T9YB4NXC7DHE".into());
    job.lease = Lease::new([("fs.read", vec!["/workspace/**".into()])]);
    job.trace_id = Some(TraceId::from_bits(n as u128));
    job
}

fn directory(count: usize) -> JobDirectory {
    let statuses = [
        JobStatus::Pending,
        JobStatus::Running,
        JobStatus::Success,
        JobStatus::Error,
        JobStatus::Cancelled,
        JobStatus::TimedOut,
    ];
    let limits = DirectoryLimits { terminal_per_principal: usize::MAX, ..DirectoryLimits::default() };
    let mut jobs = JobDirectory::new(limits);
    for n in 0..count {
        let job = record(n);
        let id = job.job_id.clone();
        jobs.insert(Instant::ZERO, job).unwrap();
        jobs.set_status(Instant::ZERO, &id, statuses[n % 6].clone());
    }
    jobs
}

/// The query that goes on in the middle of all jobs.
fn in_the_middle(count: usize) -> JobQuery {
    let mut small = JobDirectory::new(DirectoryLimits::default());
    for n in [count / 2 - 1, count / 2] {
        small.insert(Instant::ZERO, record(n)).unwrap();
    }
    let page = small.page(&alice(), &OwnJobs, &JobQuery::default().with_limit(1)).unwrap();
    JobQuery::default().with_cursor(page.next_cursor.unwrap())
}

struct Everybody;

impl Policy for Everybody {
    fn scope(&self, _: &Principal) -> Scope {
        Scope::All
    }
}

#[inline(never)]
fn counted_first_page(jobs: &JobDirectory, query: &JobQuery) -> JobPage {
    jobs.page(&alice(), &OwnJobs, query).unwrap()
}

#[inline(never)]
fn counted_middle_page(jobs: &JobDirectory, query: &JobQuery) -> JobPage {
    jobs.page(&alice(), &OwnJobs, query).unwrap()
}

#[inline(never)]
fn counted_two_statuses(jobs: &JobDirectory, query: &JobQuery) -> JobPage {
    jobs.page(&alice(), &OwnJobs, query).unwrap()
}

#[inline(never)]
fn counted_everybody_s(jobs: &JobDirectory, query: &JobQuery) -> JobPage {
    jobs.page(&"root".into(), &Everybody, query).unwrap()
}

#[inline(never)]
fn counted_no_such_agent(jobs: &JobDirectory, query: &JobQuery) -> JobPage {
    jobs.page(&alice(), &OwnJobs, query).unwrap()
}

type Counted = fn(&JobDirectory, &JobQuery) -> JobPage;

/// What is measured: name, how, with which query, and how many jobs it gives.
fn measures(count: usize) -> [(&'static str, Counted, JobQuery, usize); 5] {
    let first = JobQuery::default();
    let middle = in_the_middle(count);
    let live = first.clone().with_status([JobStatus::Pending, JobStatus::Running]);
    let nobody = first.clone().with_agent("nobody");
    [
        ("first_page", counted_first_page, first.clone(), 100),
        ("middle_page", counted_middle_page, middle, 100),
        ("two_statuses", counted_two_statuses, live, 100),
        ("everybody_s", counted_everybody_s, first, 100),
        ("no_such_agent", counted_no_such_agent, nobody, 0),
    ]
}

fn run_once(count: usize) {
    let jobs = directory(count);
    for (name, measure, query, len) in measures(count) {
        let page = measure(black_box(&jobs), black_box(&query));
        assert_eq!(page.jobs.len(), len, "{name}");
    }
}

fn print_bytes(count: usize) {
    let before = heap::bytes();
    let jobs = directory(count);
    let bytes = heap::bytes().wrapping_sub(before);
    println!("{count} jobs, {} bytes a job ({} of them the record)", bytes / count, size_of::<JobRecord>());
    drop(jobs);
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--once") {
        return run_once(args[at + 1].parse().expect("--once takes the number of jobs"));
    }
    if let Some(at) = args.iter().position(|arg| arg == "--bytes") {
        return print_bytes(args[at + 1].parse().expect("--bytes takes the number of jobs"));
    }
    let mut criterion = timing::criterion(1, 40);
    for count in [1_000, 1_000_000] {
        let jobs = directory(count);
        let mut group = criterion.benchmark_group(format!("directory/{count}"));
        for (name, measure, query, _) in measures(count) {
            group.bench_function(name, |b| b.iter(|| measure(black_box(&jobs), black_box(&query))));
        }
        group.finish();
    }
    criterion.final_summary();
}
