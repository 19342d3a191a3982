//! Searches small worlds whole: every order in which a client, a runtime and the link between them can go on, up to so many
//! events, cuts and delays. The sessions are the crate's own.

mod action;
mod application;
mod attend;
mod checker;
mod client_book;
mod configuration;
mod link;
mod mark;
mod opening;
mod possible;
mod restore;
mod rule;
mod runtime_book;
mod settle;
mod step;
mod stock;
mod twins;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use arcp_proto::Clock;
use clap::Parser;
use stateright::{Checker, HasDiscoveries, Model};

use crate::checker::{SETTLES, Small};
use crate::mark::Marks;

/// Searches small worlds of a client, a runtime and a link whole.
#[derive(Parser)]
struct Options {
    /// The larger worlds, of which the docs have the figures.
    #[arg(long)]
    full: bool,
    /// Only the worlds whose names contain this.
    #[arg(long)]
    only: Option<String>,
    /// Ends with the first violation, and does not ask for what must be reached: for planted bugs.
    #[arg(long)]
    first: bool,
    /// In place of the search: whether states of one digest go on alike.
    #[arg(long)]
    twins: bool,
    /// No deeper than so many actions.
    #[arg(long)]
    depth: Option<usize>,
    /// Seconds for each world.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Threads; with more than one the first violation is not always by the shortest way.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Whether a rule is violated.
fn search(options: &Options, small: Small, reached: &mut u32) -> bool {
    let name = small.configuration.name;
    let clock = Clock::new();
    let began = clock.now().mono;
    let checker = small.checker().threads(options.threads).finish_when(HasDiscoveries::Any);
    let checker = match options.depth {
        Some(depth) => checker.target_max_depth(depth),
        None => checker,
    };
    let checker = checker.spawn_bfs().join();
    let took = clock.now().mono.since(began);
    let discoveries = checker.discoveries();
    let is_whole = discoveries.is_empty() && options.depth.is_none() && !checker.model().was_cut_short();
    println!(
        "| {name} | {} | {} | {} | {} | {:.1} s |",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        if is_whole { "yes" } else { "**no**" },
        took.as_secs_f64()
    );
    *reached |= checker.model().marks.bits();
    let mut violated: Vec<_> = discoveries.into_iter().collect();
    // What is broken at once, before what is broken further on.
    violated.sort_by_key(|(rule, path)| (path.clone().into_actions().len(), *rule == SETTLES, *rule));
    for (rule, path) in &violated {
        let actions = path.clone().into_actions();
        println!("\nVIOLATED in {name}, after {} actions: {rule}\n", actions.len());
        for line in checker.model().transcript(&actions, true) {
            println!("{line}");
        }
        println!();
    }
    !violated.is_empty()
}

/// Whether two states of one digest differ.
fn compare(small: &Small) -> bool {
    let name = small.configuration.name;
    match twins::compare(small) {
        Ok(pairs) => println!("| {name} | {pairs} |"),
        Err(different) => {
            println!("\nDIFFERENT in {name}: {}", different.what);
            for way in different.ways {
                println!();
                small.transcript(&way, false).iter().for_each(|line| println!("{line}"));
            }
            return true;
        }
    }
    false
}

fn main() -> ExitCode {
    let options = Options::parse();
    let is_wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(&**only));
    let worlds = configuration::all(options.full).into_iter().filter(|world| is_wanted(world.name));
    let worlds = worlds.map(|world| Small::new(world, Duration::from_secs(options.seconds)));
    if options.twins {
        println!("| world | pairs of states with one digest, which go on alike |\n|---|---|");
        let differ = worlds.map(|small| compare(&small)).fold(false, |any, differs| any | differs);
        return if differ { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    println!("| world | states | transitions | depth | searched whole | time |\n|---|---|---|---|---|---|");
    let (mut is_violated, mut reached) = (false, 0);
    for small in worlds {
        is_violated |= search(&options, small, &mut reached);
        if is_violated && options.first {
            return ExitCode::FAILURE;
        }
    }
    let is_partial = options.only.is_some() || options.first || options.depth.is_some();
    println!("\nreached: {}", Marks::texts(reached).collect::<Vec<_>>().join(", "));
    let missing: Vec<_> = Marks::texts(Marks::every() & !reached).collect();
    if !missing.is_empty() {
        println!("not reached: {}", missing.join(", "));
    }
    if is_violated || (!is_partial && !missing.is_empty()) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
