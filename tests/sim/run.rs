//! One run, and what is said of one that fails.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::action::Action;
use super::link::Ms;
use super::mark::Mark;
use super::plan::Plan;
use super::transcript::Transcript;
use super::world::World;

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

/// What is printed of a plan that fails.
pub(crate) fn report(plan: &Plan, failure: &str) -> String {
    let profile = plan.profile.name();
    let actions = minimised(plan, failure);
    let smaller = run(Plan { actions: actions.clone(), ..plan.clone() }, true);
    let steps: Vec<String> = actions.iter().map(|(at, action)| format!("  {at:>7} ms {action:?}")).collect();
    let steps = steps.join("\n");
    let lines = std::env::var("ARCP_SIM_LINES").ok().and_then(|lines| lines.parse().ok()).unwrap_or(60);
    let tail: Vec<String> =
        smaller.text.lines().rev().take(lines).map(|line| line.chars().take(240).collect()).collect();
    let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
    let now = smaller.failure.unwrap_or_default();
    let (name, replay) = match plan.seed {
        None => (format!("a world of bytes, {profile},"), String::new()),
        Some(seed) => {
            let replay = format!("ARCP_SIM_SEED={profile}:{seed} cargo test --test sim replay -- --nocapture");
            let keep = format!("and keep it: add `{profile} {seed}` to tests/sim/seeds.txt");
            (format!("seed {profile}:{seed}"), format!("replay: {replay}\n{keep}\n"))
        }
    };
    format!(
        "{name} fails: {failure}\n\nminimised to {} of {} actions, which fail so: {now}\n{steps}\n\n\
         the end of their transcript:\n{tail}\n\n{replay}",
        actions.len(),
        plan.actions.len(),
    )
}
