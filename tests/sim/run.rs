//! Runs of many seeds: what each kind of world has to reach, and what is said of a seed that fails.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::link::Ms;
use crate::mark::Mark;
use crate::plan::{Action, Plan, Profile};
use crate::transcript::Transcript;
use crate::world::World;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// While a failure is made smaller, its many panics are not printed.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                usual(info);
            }
        }));
    });
}

pub(crate) struct Outcome {
    pub(crate) hash: u64,
    pub(crate) marks: BTreeSet<Mark>,
    pub(crate) frames: u64,
    pub(crate) failure: Option<String>,
    pub(crate) text: String,
}

/// A panic of the world, or of the library in it, is the seed's failure.
pub(crate) fn run(plan: Plan, is_read: bool) -> Outcome {
    hush();
    let transcript = Transcript::new(is_read);
    let kept = transcript.clone();
    IS_QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(move || World::new(plan, transcript).run()));
    IS_QUIET.set(false);
    let failure = result.err().map(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "a panic".into())
    });
    let (hash, marks, frames, text) = (kept.hash(), kept.marks(), kept.frames(), kept.text());
    Outcome { hash, marks, frames, failure, text }
}

/// What kind of failure it is: its text without the numbers.
fn kind_of(failure: &str) -> String {
    failure.chars().filter(|c| !c.is_ascii_digit()).take(60).collect()
}

fn fails(plan: &Plan, actions: &[(Ms, Action)], failure: &str) -> bool {
    let outcome = run(Plan { actions: actions.to_vec(), ..plan.clone() }, false);
    outcome.failure.is_some_and(|other| kind_of(&other) == kind_of(failure))
}

/// Leaves actions out, by halves and at last one by one, as long as it still fails.
fn minimised(plan: &Plan, failure: &str) -> Vec<(Ms, Action)> {
    let mut actions = plan.actions.clone();
    let mut size = actions.len().div_ceil(2).max(1);
    loop {
        let (mut at, mut is_smaller) = (0, false);
        while at < actions.len() {
            let end = (at + size).min(actions.len());
            let rest: Vec<_> = actions[..at].iter().chain(&actions[end..]).cloned().collect();
            if fails(plan, &rest, failure) {
                (actions, is_smaller) = (rest, true);
            } else {
                at = end;
            }
        }
        if size == 1 && !is_smaller {
            return actions;
        }
        size = (size / 2).max(1);
    }
}

/// What is printed of a seed that fails.
fn report(plan: &Plan, failure: &str) -> String {
    let (profile, seed) = (plan.profile.name(), plan.seed);
    let actions = minimised(plan, failure);
    let smaller = run(Plan { actions: actions.clone(), ..plan.clone() }, true);
    let steps: Vec<String> = actions.iter().map(|(at, action)| format!("  {at:>7} ms {action:?}")).collect();
    let steps = steps.join("\n");
    let tail: Vec<String> = smaller.text.lines().rev().take(60).map(|line| line.chars().take(240).collect()).collect();
    let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
    let now = smaller.failure.unwrap_or_default();
    format!(
        "seed {profile}:{seed} fails: {failure}\n\nminimised to {} of {} actions, which fail so: {now}\n{steps}\n\n\
         the end of their transcript:\n{tail}\n\nreplay: ARCP_SIM_SEED={profile}:{seed} cargo test --test sim replay -- \
         --nocapture\nand keep it: add `{profile} {seed}` to tests/sim/seeds.txt\n",
        actions.len(),
        plan.actions.len(),
    )
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Seeds that failed once, of this kind.
fn kept(profile: Profile) -> Vec<u64> {
    let lines = include_str!("seeds.txt").lines().filter(|line| !line.starts_with('#'));
    let words = lines.filter_map(|line| line.split_whitespace().collect::<Vec<_>>().get(..2).map(<[&str]>::to_vec));
    let of_profile = words.filter(|words| words[0] == profile.name());
    of_profile.map(|words| words[1].parse().expect("a seed is a number")).collect()
}

/// Runs the seeds that are kept, then the first so many.
fn sweep(profile: Profile, few: u64, must: &[Mark]) {
    let count = number("ARCP_SIM_SEEDS").unwrap_or(few);
    let from = number("ARCP_SIM_FROM").unwrap_or(0);
    let goes_on = std::env::var("ARCP_SIM_ALL").is_ok();
    let mut marks: BTreeMap<Mark, u64> = BTreeMap::new();
    let (mut frames, mut failed) = (0, Vec::new());
    for seed in kept(profile).into_iter().chain(from..from + count) {
        let plan = Plan::new(profile, seed);
        let outcome = run(plan.clone(), false);
        frames += outcome.frames;
        for mark in outcome.marks {
            *marks.entry(mark).or_default() += 1;
        }
        if let Some(failure) = outcome.failure {
            if goes_on {
                println!("FAILED {}:{seed} {failure}", profile.name());
                failed.push(seed);
            } else {
                // Not as this panic's message: that would stand there twice.
                println!("{}", report(&plan, &failure));
                panic!("seed {}:{seed}: {failure}", profile.name());
            }
        }
    }
    println!("{}: {count} seeds, {frames} frames, reached {marks:?}", profile.name());
    if goes_on {
        println!("FOUND {} of {count} {}", failed.len(), profile.name());
        assert!(failed.is_empty(), "{} of {count} seeds fail", failed.len());
    }
    let missed: Vec<&Mark> = must.iter().filter(|mark| !marks.contains_key(mark)).collect();
    assert!(missed.is_empty() || count < few, "{} worlds never reached {missed:?}", profile.name());
}

#[test]
fn a_pair_bears_every_fault() {
    let elsewhere = [
        Mark::Evicted,
        Mark::Subscribed,
        Mark::HistoryReplayed,
        Mark::PlaceTaken,
        Mark::Adopted,
        Mark::Fenced,
        Mark::Killed,
        Mark::RefusedAfterALoss,
        Mark::ViolationLimit,
    ];
    let must: Vec<Mark> = Mark::ALL.iter().copied().filter(|mark| !elsewhere.contains(mark)).collect();
    sweep(Profile::Pair, 1_100, &must);
}

#[test]
fn a_crowd_bears_every_fault() {
    sweep(
        Profile::Crowd,
        150,
        &[Mark::Evicted, Mark::Subscribed, Mark::HistoryReplayed, Mark::PlaceTaken, Mark::Overrun],
    );
}

#[test]
fn processes_over_one_store_bear_every_fault() {
    let must = [Mark::Adopted, Mark::Fenced, Mark::Killed, Mark::RefusedAfterALoss, Mark::Resumed, Mark::Replayed];
    sweep(Profile::Durable, 350, &must);
}

#[test]
fn nobody_is_harmed_by_hostile_peers() {
    sweep(Profile::Hostile, 400, &[Mark::ViolationLimit, Mark::Resumed, Mark::Published]);
}

/// 20: a seed means one run, for ever.
#[test]
fn the_same_seed_twice_is_the_same_transcript() {
    for profile in Profile::ALL {
        for seed in 0..8 {
            let (one, two) = (run(Plan::new(profile, seed), false), run(Plan::new(profile, seed), true));
            assert_eq!(one.hash, two.hash, "{}:{seed}", profile.name());
        }
    }
}

/// One seed with its transcript, where somebody asks for it.
#[test]
fn replay() {
    let Ok(wanted) = std::env::var("ARCP_SIM_SEED") else { return };
    let (name, seed) = wanted.split_once(':').unwrap_or(("pair", &wanted));
    let profile = Profile::named(name).expect("pair, crowd, durable or hostile");
    let plan = Plan::new(profile, seed.parse().expect("a seed is a number"));
    let outcome = run(plan.clone(), true);
    println!("{}", outcome.text);
    if let Some(failure) = outcome.failure {
        println!("{}", report(&plan, &failure));
        panic!("{failure}");
    }
}
