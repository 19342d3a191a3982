//! The worlds that are searched.

use std::sync::Arc;
use std::time::Duration;

use arcp_proto::wire::{Credentials, PeerInfo};
use arcp_proto::{ClientConfig, Feature, FeatureSet, Overflow, RuntimeConfig};

use crate::stock::Stock;

pub(crate) struct Configuration {
    pub(crate) name: &'static str,
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) runtime: Arc<RuntimeConfig>,
    pub(crate) stock: Stock,
    /// Frames that may be on their way in one direction; more are not written.
    pub(crate) in_flight: usize,
}

impl Configuration {
    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.client.features.contains(feature) && self.runtime.features.contains(feature)
    }

    pub(crate) fn interval(&self) -> Option<Duration> {
        self.has(Feature::Heartbeat).then_some(self.runtime.heartbeat_interval)
    }

    pub(crate) fn evicts(&self) -> bool {
        self.runtime.overflow == Overflow::Evict
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.runtime.replay_events as u64
    }
}

/// Deadlines on a grid of half seconds, so that few constellations of them exist.
fn client(features: &FeatureSet) -> ClientConfig {
    let second = Duration::from_secs(1);
    ClientConfig {
        features: features.clone(),
        handshake_timeout: second,
        request_timeout: 2 * second,
        close_timeout: second,
        ack_delay: second / 2,
        reorder_timeout: second,
        ..ClientConfig::new(PeerInfo::new("c", "1"), Credentials::bearer("b"))
    }
}

fn runtime(features: &FeatureSet, window: usize) -> RuntimeConfig {
    let second = Duration::from_secs(1);
    RuntimeConfig {
        features: features.clone(),
        heartbeat_interval: second,
        resume_window: 3 * second,
        retention: 5 * second,
        replay_events: window,
        back_pressure_threshold: 1,
        close_timeout: second,
        ..RuntimeConfig::new(PeerInfo::new("r", "1"))
    }
}

fn world(name: &'static str, features: &[Feature], window: usize, stock: Stock) -> Configuration {
    let features = features.iter().fold(FeatureSet::none(), |set, feature| set.with(*feature));
    Configuration {
        name,
        client: Arc::new(client(&features)),
        runtime: Arc::new(runtime(&features, window)),
        stock,
        in_flight: 2,
    }
}

/// The oldest event goes where another does not fit.
fn evicting(mut world: Configuration) -> Configuration {
    let runtime = RuntimeConfig { overflow: Overflow::Evict, ..RuntimeConfig::clone(&world.runtime) };
    world.runtime = Arc::new(runtime);
    world
}

/// The client asks for its last event again (D29).
fn overlapping(mut world: Configuration) -> Configuration {
    let client = ClientConfig { resume_overlap: 1, ..ClientConfig::clone(&world.client) };
    world.client = Arc::new(client);
    world
}

/// Each stresses something else. `full`: as large as the figures in the docs; otherwise small enough for every change.
pub(crate) fn all(full: bool) -> Vec<Configuration> {
    use Feature::{Ack, Heartbeat, ListJobs};
    let none = Stock::default();
    let pick = |small: u8, large: u8| if full { large } else { small };
    vec![
        // A window of two: blocked, writable, back-pressure, over a link that is cut.
        world("pressure", &[Ack], 2, Stock { events: 4, cuts: pick(1, 2), delays: 0, ..none }),
        // Attempts that overlap, lost welcomes, tokens, events that come again.
        overlapping(world("takeover", &[Ack], 4, Stock { events: 1, cuts: pick(2, 3), delays: pick(1, 2), ..none })),
        // Goodbyes of both sides, and windows that run out.
        world("ends", &[Ack], 2, Stock { events: pick(2, 3), cuts: pick(1, 2), goodbyes: 1, shutdowns: 1, ..none }),
        // Pings, pongs and silence.
        world("heartbeat", &[Ack, Heartbeat], 4, Stock { events: 1, cuts: pick(1, 2), delays: pick(1, 2), ..none }),
        // Queries and submits, answered in time, late and never.
        world(
            "requests",
            &[Ack, ListJobs],
            4,
            Stock { cuts: pick(1, 2), queries: 1, submits: 1, delays: 1, events: pick(0, 1), ..none },
        ),
        // Without acknowledgements, a window of one.
        world("no-ack", &[], 1, Stock { events: 3, cuts: pick(2, 3), delays: pick(0, 1), ..none }),
        // A window of two that pushes out what does not fit.
        evicting(world("evict", &[Ack], 2, Stock { events: pick(3, 4), cuts: pick(1, 2), ..none })),
        // Either process dies.
        world("restore", &[Ack], 4, Stock { events: pick(1, 2), cuts: 1, crashes: 1, reloads: 1, ..none }),
    ]
}
