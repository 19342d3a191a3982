//! What is done to a world.

use super::dice::Dice;
use super::link::{Ms, Tamper};
use super::plan::Profile;

/// What is done to a world. Clients, processes and jobs are meant by any number: what there is of them decides whose it is,
/// so that an action means something also where others were left out.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Submit(u64),
    List(u64),
    Cancel(u64, u64),
    Subscribe {
        who: u64,
        job: u64,
        history: Option<u64>,
    },
    Unsubscribe(u64, u64),
    /// So many events of a job at once.
    Burst {
        job: u64,
        count: u64,
    },
    Huge(u64),
    /// The transport breaks. Each side learns it after so long, or never; some of what is on its way may still arrive.
    Cut {
        who: u64,
        client: Option<Ms>,
        node: Option<Ms>,
        keeps: bool,
    },
    /// One direction dies, and nobody is told.
    OneWay {
        who: u64,
        is_up: bool,
    },
    Stall {
        who: u64,
        is_up: bool,
        lasts: Ms,
    },
    Unwritable {
        who: u64,
        lasts: Ms,
    },
    Sleep {
        who: u64,
        lasts: Ms,
    },
    SleepNode {
        node: u64,
        lasts: Ms,
    },
    /// Events are not polled.
    Deaf {
        who: u64,
        lasts: Ms,
    },
    DeafNode {
        node: u64,
        lasts: Ms,
    },
    /// `poll_transmit` is not called.
    Mute {
        who: u64,
        lasts: Ms,
    },
    /// The application marks nothing as processed.
    Careless {
        who: u64,
        lasts: Ms,
    },
    /// The process of the client dies, and comes back from its last snapshot, on a machine with other clocks.
    Crash {
        who: u64,
        lasts: Ms,
    },
    Close(u64),
    /// Whoever has said goodbye comes back all the same (D32).
    Return(u64),
    /// It does not try to come back.
    StayAway {
        who: u64,
        lasts: Ms,
    },
    /// `handle_timeout` early, and twice.
    Poke(u64),
    /// A clock that is behind.
    ClockBack {
        who: u64,
        by: Ms,
    },
    WallStep {
        who: u64,
        by: i64,
    },
    /// Somebody tries a token that was retired.
    OldToken(u64),
    /// Somebody tries another's token.
    OtherPrincipal(u64),
    /// The transport breaks, and the next one with the welcome on it.
    LoseWelcome {
        who: u64,
        client: Ms,
        node: Option<Ms>,
    },
    Tamper {
        who: u64,
        how: Tamper,
    },
    Evict(u64),
    Shutdown(u64),
    Newcomer,
    Kill {
        node: u64,
        lasts: Ms,
    },
    SlowStore {
        node: u64,
        lasts: Ms,
    },
    /// The client goes to one process, and at once to another.
    Race {
        who: u64,
        after: Ms,
    },
    /// Somebody puts a frame into the link.
    Inject {
        who: u64,
        is_up: bool,
        kind: u64,
        count: u64,
    },
}

fn some(dice: &mut Dice, upto: Ms) -> Option<Ms> {
    (!dice.once_in(4)).then(|| dice.below(upto))
}

/// What befalls worlds of this kind alone.
fn special_action(profile: Profile, dice: &mut Dice) -> Action {
    let who = dice.roll();
    match (profile, dice.below(8)) {
        (Profile::Hostile, _) => {
            let count = if dice.once_in(8) { dice.below(90) } else { dice.within(1, 4) };
            Action::Inject { who, is_up: dice.once_in(2), kind: dice.roll(), count }
        }
        (Profile::Durable, 0..2) => Action::Kill { node: who, lasts: dice.within(10, 6_000) },
        (Profile::Durable, 2..4) => Action::SleepNode { node: who, lasts: dice.within(10, 12_000) },
        (Profile::Durable, 4..6) => Action::SlowStore { node: who, lasts: dice.within(10, 6_000) },
        (Profile::Durable, _) => Action::Race { who, after: dice.below(400) },
        (Profile::Crowd, 0..5) => {
            let history = (!dice.once_in(3)).then(|| dice.below(20));
            Action::Subscribe { who, job: dice.roll(), history }
        }
        (Profile::Crowd, 5) => Action::Unsubscribe(who, dice.roll()),
        (Profile::Crowd, _) => Action::Newcomer,
        (Profile::Pair, _) => Action::Burst { job: who, count: dice.within(1, 30) },
    }
}

pub(crate) fn action(profile: Profile, dice: &mut Dice) -> Action {
    let is_special = dice.once_in(if profile == Profile::Hostile { 2 } else { 4 });
    if is_special {
        return special_action(profile, dice);
    }
    let who = dice.roll();
    match dice.below(100) {
        0..22 => Action::Submit(who),
        22..36 => Action::Burst { job: who, count: dice.within(1, 30) },
        36..40 => Action::List(who),
        40..43 => Action::Cancel(who, dice.roll()),
        43..56 => Action::Cut { who, client: some(dice, 3_000), node: some(dice, 3_000), keeps: dice.once_in(2) },
        56..59 => Action::OneWay { who, is_up: dice.once_in(2) },
        59..62 => Action::Stall { who, is_up: dice.once_in(2), lasts: dice.within(10, 8_000) },
        62..65 => Action::Unwritable { who, lasts: dice.within(10, 8_000) },
        65..68 => Action::Sleep { who, lasts: dice.within(10, 14_000) },
        68..70 => Action::SleepNode { node: who, lasts: dice.within(10, 14_000) },
        70..73 => Action::Deaf { who, lasts: dice.within(10, 8_000) },
        73..75 => Action::DeafNode { node: who, lasts: dice.within(10, 3_000) },
        75..77 => Action::Mute { who, lasts: dice.within(10, 8_000) },
        77..80 => Action::Careless { who, lasts: dice.within(10, 12_000) },
        80..84 => Action::Crash { who, lasts: dice.within(1, 5_000) },
        84..85 => match dice.once_in(2) {
            true => Action::Close(who),
            false => Action::Return(who),
        },
        85..87 => Action::StayAway { who, lasts: dice.within(1_000, 70_000) },
        87..88 => Action::Poke(who),
        88..89 => Action::ClockBack { who, by: dice.within(1, 10_000) },
        89..90 => Action::WallStep { who, by: dice.within(1, 600_000) as i64 - 300_000 },
        90..92 => Action::OldToken(who),
        92..93 => Action::OtherPrincipal(who),
        93..96 => Action::LoseWelcome { who, client: dice.below(2_000), node: some(dice, 4_000) },
        96..98 => Action::Tamper { who, how: dice.pick(&[Tamper::Swap, Tamper::Repeat, Tamper::Drop, Tamper::Drop]) },
        _ => match dice.below(3) {
            0 => Action::Evict(who),
            1 => Action::Shutdown(who),
            _ => Action::Huge(who),
        },
    }
}
