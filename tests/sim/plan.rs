//! What a seed, or bytes, stand for: how a world is made, and what befalls it when.

use std::sync::Arc;
use std::time::Duration;

use arcp_proto::endpoint::{Durability, EndpointConfig, Listing};
use arcp_proto::wire::{Credentials, PeerInfo};
use arcp_proto::{AckPolicy, ClientConfig, Farewell, Feature, FeatureSet, GapPolicy, Limits, Overflow, RuntimeConfig};

use super::action::{Action, action};
use super::dice::Dice;
use super::link::Ms;

/// A kind of world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Profile {
    /// One client, one process.
    Pair,
    /// Up to fifty clients on one process, who follow each other's jobs.
    Crowd,
    /// Processes that die, stop and go on, over one store.
    Durable,
    /// Peers that say what they like.
    Hostile,
}

impl Profile {
    pub(crate) const ALL: [Profile; 4] = [Profile::Pair, Profile::Crowd, Profile::Durable, Profile::Hostile];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Profile::Pair => "pair",
            Profile::Crowd => "crowd",
            Profile::Durable => "durable",
            Profile::Hostile => "hostile",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.name() == name)
    }
}

/// What a seed stands for.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) profile: Profile,
    /// `None`: it was made from bytes.
    pub(crate) seed: Option<u64>,
    pub(crate) endpoint: Arc<EndpointConfig>,
    pub(crate) nodes: usize,
    pub(crate) clients: usize,
    pub(crate) actions: Vec<(Ms, Action)>,
    /// How late each driver wakes up.
    pub(crate) late: Ms,
    /// Drivers poll nothing while a transport is gone.
    pub(crate) lazy: bool,
    pub(crate) everybody_sees_all: bool,
    pub(crate) slow_verdicts: bool,
    pub(crate) slow_answers: bool,
    /// How long a driver takes to close what its endpoint has given up.
    pub(crate) slow_hangups: Ms,
    pub(crate) dice: Dice,
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Plan {
    pub(crate) fn new(profile: Profile, seed: u64) -> Plan {
        Plan { seed: Some(seed), ..Plan::drawn(profile, Dice::new(seed ^ ((profile as u64 + 1) << 56))) }
    }

    /// A world that bytes decide, as far as they go.
    pub(crate) fn of_bytes(profile: Profile, bytes: &[u8]) -> Plan {
        Plan::drawn(profile, Dice::of_bytes(bytes))
    }

    fn drawn(profile: Profile, mut dice: Dice) -> Plan {
        let (nodes, clients) = match profile {
            Profile::Pair | Profile::Hostile => (1, 1),
            Profile::Crowd if dice.once_in(60) => (1, 50),
            Profile::Crowd => (1, dice.within(2, 5) as usize),
            Profile::Durable => (dice.within(2, 3) as usize, dice.within(1, 3) as usize),
        };
        let endpoint = Arc::new(endpoint(profile, clients, &mut dice));
        let late = if dice.once_in(6) { dice.within(1, 80) } else { 0 };
        let (lazy, everybody_sees_all) = (dice.once_in(3), dice.once_in(2));
        let (slow_verdicts, slow_answers) = (dice.once_in(5), dice.once_in(5));
        let mut actions = Vec::new();
        let count = dice.within(5, if profile == Profile::Crowd { 40 } else { 24 });
        let mut at = 0;
        actions.push((600, Action::Submit(0)));
        for _ in 0..count {
            at += match dice.below(10) {
                0 => 0,
                1 => dice.below(12_000),
                _ => dice.below(2_000),
            };
            actions.push((at, action(profile, &mut dice)));
        }
        actions.sort_by_key(|(at, _)| *at);
        let slow_hangups = if dice.once_in(4) { dice.within(1, 2_000) } else { 0 };
        Plan {
            profile,
            seed: None,
            endpoint,
            nodes,
            clients,
            actions,
            late,
            lazy,
            everybody_sees_all,
            slow_verdicts,
            slow_answers,
            slow_hangups,
            dice,
        }
    }
}

fn features(dice: &mut Dice) -> FeatureSet {
    let droppable = [
        Feature::Heartbeat,
        Feature::Ack,
        Feature::ListJobs,
        Feature::Subscribe,
        Feature::Progress,
        Feature::ResultChunk,
    ];
    match dice.below(12) {
        0 => FeatureSet::none(),
        1..=3 => {
            let dropped = dice.pick(&droppable);
            FeatureSet::all().without(dropped)
        }
        _ => FeatureSet::all(),
    }
}

fn limits(profile: Profile, dice: &mut Dice) -> Limits {
    let defaults = Limits::default();
    Limits {
        inbound_bytes: dice.pick(&[defaults.inbound_bytes, defaults.inbound_bytes, 16 << 10]),
        violations: if profile == Profile::Hostile { dice.pick(&[3, 10, 64]) } else { defaults.violations },
        control_frames: dice.pick(&[defaults.control_frames, 40]),
        max_frame: dice.pick(&[defaults.max_frame, 64 << 10]),
        ..defaults
    }
}

fn endpoint(profile: Profile, clients: usize, dice: &mut Dice) -> EndpointConfig {
    let overflow = if dice.once_in(6) && profile != Profile::Durable { Overflow::Evict } else { Overflow::Block };
    let window = dice.pick(&[3, 10, 30, 600]);
    let runtime = RuntimeConfig::new(PeerInfo::new("sim-runtime", "1.0.0"));
    let runtime = RuntimeConfig {
        features: if dice.once_in(8) { features(dice) } else { FeatureSet::all() },
        limits: limits(profile, dice),
        // Fifty that breathe every second say little else.
        heartbeat_interval: secs(if clients > 10 { 30 } else { dice.pick(&[2, 3, 5, 5, 30, 30]) }),
        resume_window: secs(window),
        retention: secs(window * dice.pick(&[1, 2, 3])),
        replay_events: dice.pick(&[2, 4, 8, 32, 1_000]),
        replay_bytes: dice.pick(&[4 << 10, 64 << 10, 1 << 20]),
        overflow,
        back_pressure_threshold: dice.pick(&[1, 3, 10, 1_000]),
        close_timeout: secs(dice.within(1, 5)),
        ..runtime
    };
    let is_tight = profile == Profile::Crowd && dice.once_in(3);
    EndpointConfig {
        verdict_timeout: secs(4),
        sessions_per_principal: if is_tight { 2 } else { 1_000 },
        parked_sessions: if is_tight { 2 } else { 1_000 },
        listing: dice.pick(&[Listing::Directory, Listing::Application]),
        submits_in_order: !dice.once_in(4),
        durability: match profile {
            Profile::Durable => {
                dice.pick(&[Durability::BeforeTransmit, Durability::BeforeTransmit, Durability::Batched])
            }
            _ => Durability::Volatile,
        },
        ..EndpointConfig::new(runtime)
    }
}

/// A client of the given principal.
pub(crate) fn client(profile: Profile, durability: Durability, principal: usize, dice: &mut Dice) -> ClientConfig {
    let peer = PeerInfo::new("sim-client", "1.0.0");
    let gap_policy = if dice.once_in(4) && profile != Profile::Durable { GapPolicy::Report } else { GapPolicy::Resume };
    ClientConfig {
        features: match profile {
            Profile::Durable => FeatureSet::all(),
            // Who follows another's job without what it needs is worth a closer look (D33).
            Profile::Crowd if dice.once_in(3) => {
                FeatureSet::all().without(dice.pick(&[Feature::Progress, Feature::ResultChunk]))
            }
            _ => features(dice),
        },
        limits: limits(profile, dice),
        ack_policy: dice.pick(&[AckPolicy::Manual, AckPolicy::Manual, AckPolicy::OnPoll]),
        ack_delay: millis(dice.pick(&[0, 20, 250, 1_000])),
        ack_batch: dice.pick(&[1, 5, 500]),
        lagging_after: dice.pick(&[3, 500]),
        gap_policy,
        // Who says less than it has is not told that what it has was lost.
        resume_overlap: dice.below(2) * u64::from(durability != Durability::Batched),
        give_up_after: if dice.once_in(6) { Some(secs(dice.within(1, 60))) } else { None },
        request_timeout: secs(dice.pick(&[3, 30])),
        handshake_timeout: secs(dice.pick(&[2, 10])),
        close_timeout: secs(dice.within(1, 5)),
        farewell: dice.pick(&[Farewell::Bye, Farewell::Close]),
        ..ClientConfig::new(peer, Credentials::bearer(format!("secret-p{principal}")))
    }
}
