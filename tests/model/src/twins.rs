//! Whether the digest may be trusted: a search that takes two states for one where their digests are the same sees all there is
//! only if the two go on alike.

use std::collections::BTreeMap;

use stateright::Model;

use crate::action::Action;
use crate::checker::{Small, digest_of};
use crate::world::World;

/// A state by its digest, and how it was come by.
struct Known {
    from: Option<(u64, Action)>,
    ahead: Vec<(Action, u64)>,
}

/// The ways to two states that have one digest and do not go on alike, and how they do.
pub(crate) struct Different {
    pub(crate) ways: [Vec<Action>; 2],
    pub(crate) what: String,
}

/// Compares every state that is reached again with the first one of its digest: the actions that can be done, and the digests
/// that they lead to. Gives how many pairs there were. As what follows is compared in turn, the two of a pair agree for ever.
pub(crate) fn compare(small: &Small) -> Result<u64, Box<Different>> {
    let mut known: BTreeMap<u64, Known> = BTreeMap::new();
    let mut pending: Vec<(World, Option<(u64, Action)>)> =
        small.init_states().into_iter().map(|world| (world, None)).collect();
    let (mut pairs, mut actions) = (0, Vec::new());
    // The last one first: so but few of them wait.
    while let Some((world, from)) = pending.pop() {
        let digest = digest_of(&world);
        small.actions(&world, &mut actions);
        let next = |action| Some((action, small.next_state(&world, action)?));
        let next: Vec<_> = actions.drain(..).filter_map(next).collect();
        let ahead: Vec<_> = next.iter().map(|(action, world)| (*action, digest_of(world))).collect();
        if let Some(first) = known.get(&digest) {
            pairs += 1;
            if first.ahead != ahead {
                let what = format!("{:?} and {ahead:?}", first.ahead);
                return Err(Box::new(Different { ways: [way(&known, first.from), way(&known, from)], what }));
            }
            continue;
        }
        known.insert(digest, Known { from, ahead });
        pending.extend(next.into_iter().map(|(action, world)| (world, Some((digest, action)))));
    }
    Ok(pairs)
}

fn way(known: &BTreeMap<u64, Known>, mut from: Option<(u64, Action)>) -> Vec<Action> {
    let mut way = Vec::new();
    while let Some((digest, action)) = from {
        way.push(action);
        from = known.get(&digest).and_then(|known| known.from);
    }
    way.reverse();
    way
}
