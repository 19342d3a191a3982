//! Whether the digest may be trusted: a search that takes two states for one where their digests are the same sees all there is
//! only if the two go on alike.

use std::collections::{BTreeMap, VecDeque};

use stateright::Model;

use crate::action::Action;
use crate::checker::{Small, digest_of};
use crate::world::World;

/// What follows from a world: every action that can be done, and the digest that it leads to.
fn outlook(small: &Small, world: &World) -> Vec<(Action, u64)> {
    let mut actions = Vec::new();
    small.actions(world, &mut actions);
    let led = |action: Action| Some((action, digest_of(&small.next_state(world, action)?)));
    actions.into_iter().filter_map(led).collect()
}

/// Compares every state that is reached again with the first one of its digest; gives how many pairs there were. From here on the
/// two agree for ever, for what follows is compared in turn.
///
/// # Errors
///
/// The ways to two states that differ.
pub(crate) fn compare(small: &Small) -> Result<u64, (Vec<Action>, Vec<Action>, String)> {
    let mut known: BTreeMap<u64, (Vec<Action>, Vec<(Action, u64)>)> = BTreeMap::new();
    let mut pending: VecDeque<(World, Vec<Action>)> =
        small.init_states().into_iter().map(|world| (world, Vec::new())).collect();
    let mut pairs = 0;
    while let Some((world, way)) = pending.pop_front() {
        let digest = digest_of(&world);
        let ahead = outlook(small, &world);
        if let Some((first_way, expected)) = known.get(&digest) {
            pairs += 1;
            if *expected != ahead {
                return Err((first_way.clone(), way, format!("{expected:?} and {ahead:?}")));
            }
            continue;
        }
        for (action, _) in &ahead {
            if let Some(next) = small.next_state(&world, *action) {
                let way = way.iter().chain([action]).copied().collect();
                pending.push_back((next, way));
            }
        }
        known.insert(digest, (way, ahead));
    }
    Ok(pairs)
}
