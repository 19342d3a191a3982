//! The world as stateright searches it.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arcp_proto::{Clock, Instant};

use stateright::{Model, Property};

use crate::action::Action;
use crate::configuration::Configuration;
use crate::mark::Marks;
use crate::rule::Rule;
use crate::settle::PATIENCE;
use crate::step::Rules;
use crate::world::World;

pub(crate) const SETTLES: &str = "once nothing fails any more, all arrives, all is answered, nobody is blocked";

pub(crate) struct Small {
    pub(crate) configuration: Configuration,
    pub(crate) marks: Marks,
    /// What is reached while it settles is no part of what the search reached.
    calm_marks: Marks,
    /// When the search is to end, whole or not.
    clock: Clock,
    until: Instant,
    was_cut_short: AtomicBool,
    /// Digests of calm states that come to their end.
    settled: Mutex<BTreeSet<u64>>,
}

impl PartialEq for World {
    fn eq(&self, other: &World) -> bool {
        digest_of(self) == digest_of(other)
    }
}

pub(crate) fn digest_of(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

impl Small {
    pub(crate) fn new(configuration: Configuration, time: Duration) -> Small {
        let (marks, calm_marks) = (Marks::default(), Marks::default());
        let clock = Clock::new();
        let until = clock.now().mono + time;
        Small {
            configuration,
            marks,
            calm_marks,
            clock,
            until,
            was_cut_short: AtomicBool::new(false),
            settled: Mutex::default(),
        }
    }

    pub(crate) fn was_cut_short(&self) -> bool {
        self.was_cut_short.load(Ordering::Relaxed)
    }

    fn rules(&self) -> Rules<'_> {
        Rules { configuration: &self.configuration, marks: &self.marks }
    }

    /// Lets the world go on where nothing fails; an error says why it does not come to its end.
    pub(crate) fn settle(&self, world: &World) -> Result<(), String> {
        let rules = Rules { configuration: &self.configuration, marks: &self.calm_marks };
        let mut world = world.clone();
        world.calm();
        let mut passed = Vec::new();
        loop {
            let digest = digest_of(&world);
            if self.settled.lock().is_ok_and(|settled| settled.contains(&digest)) {
                break;
            }
            passed.push(digest);
            let Some(why) = world.unsettled(&self.configuration) else { break };
            if passed.len() > PATIENCE {
                return Err(format!("it never ends: {why}"));
            }
            if let Err(why) = world.go_on(&rules) {
                return Err(format!("it stands still: {why}"));
            }
            if let Some(breach) = &world.breach {
                return Err(format!("{}: {}", breach.rule.text(), breach.what));
            }
        }
        if let Ok(mut settled) = self.settled.lock() {
            settled.extend(passed);
        }
        Ok(())
    }

    /// What leads to a violated property, and what is wrong then; on to the end, where it `settles`.
    pub(crate) fn transcript(&self, actions: &[Action], settles: bool) -> Vec<String> {
        let rules = self.rules();
        let mut world = World::new(&self.configuration);
        world.log = Some(Vec::new());
        for action in actions {
            let _ = world.step(&rules, *action);
        }
        if settles && world.breach.is_none() {
            world.note(|| "-- nothing fails from here on".into());
            world.calm();
            for _ in 0..PATIENCE {
                let is_over = world.unsettled(&self.configuration).is_none() || world.breach.is_some();
                if is_over || world.go_on(&rules).is_err() {
                    break;
                }
            }
            let why = world.unsettled(&self.configuration).unwrap_or("it ends well");
            world.note(|| format!("    !! {why}"));
        }
        let mut lines = world.log.unwrap_or_default();
        // Of a cycle the beginning is enough.
        lines.truncate(400);
        lines
    }
}

impl Model for Small {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.configuration)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        // The checker's own timeout is only looked at between threads.
        if self.clock.now().mono >= self.until {
            self.was_cut_short.store(true, Ordering::Relaxed);
        } else if world.breach.is_none() {
            world.actions(&self.rules(), actions);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.step(&self.rules(), action)?;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Small>> {
        let mut properties = Rule::properties();
        properties.push(Property::always(SETTLES, |small: &Small, world: &World| {
            world.breach.is_some() || small.settle(world).is_ok()
        }));
        properties
    }
}
