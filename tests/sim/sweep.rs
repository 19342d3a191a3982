//! Runs of many seeds, and what each kind of world has to reach.

use std::collections::{BTreeMap, BTreeSet};

use super::dice::Dice;
use super::mark::Mark;
use super::plan::{Plan, Profile};
use super::run::{report, run};

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
    let (mut frames, mut hash, mut failed) = (0, 0_u64, Vec::new());
    for seed in kept(profile).into_iter().chain(from..from + count) {
        let plan = Plan::new(profile, seed);
        let outcome = run(plan.clone(), false);
        frames += outcome.frames;
        hash = hash.rotate_left(1) ^ outcome.hash;
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
    println!("{}: {count} seeds, {frames} frames, hash {hash:016x}, reached {marks:?}", profile.name());
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

/// A world of bytes is a world: the same bytes, the same run; and the whole of a tape decides.
#[test]
fn bytes_make_worlds_of_every_kind() {
    let mut dice = Dice::new(20_261_124);
    for profile in Profile::ALL {
        let mut hashes = BTreeSet::new();
        for len in (0..240).step_by(8) {
            let bytes: Vec<u8> = (0..len).map(|_| dice.below(256) as u8).collect();
            let (one, two) = (run(Plan::of_bytes(profile, &bytes), false), run(Plan::of_bytes(profile, &bytes), true));
            assert_eq!(one.failure, None, "{} of {bytes:?}", profile.name());
            assert_eq!(one.hash, two.hash, "{} of {bytes:?}", profile.name());
            hashes.insert(one.hash);
        }
        assert_eq!(hashes.len(), 30, "{}: other bytes, another world", profile.name());
    }
}
