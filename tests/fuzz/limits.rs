//! Limits that a small input reaches.

use std::time::Duration;

use arcp_proto::wire::PeerInfo;
use arcp_proto::{Limits, Overflow, RuntimeConfig};

use crate::script::Args;

/// Of a session of either role.
pub(crate) fn small_limits() -> Limits {
    Limits {
        max_frame: 8 << 10,
        control_frames: 6,
        control_bytes: 4 << 10,
        unsent_pongs: 2,
        violations: 6,
        open_requests: 4,
        inbound_bytes: 4 << 10,
        reorder_events: 4,
        live_jobs: 2,
        kept_submits: 2,
        kept_submit_bytes: 512,
        ..Limits::default()
    }
}

/// Of a runtime's, its replay buffer the smallest of all, or as large as it is by default.
pub(crate) fn small_runtime(args: &mut Args<'_>) -> RuntimeConfig {
    let config = RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0"));
    let overflow = *args.pick(&[Overflow::Block, Overflow::Evict]);
    RuntimeConfig {
        limits: if args.flag() { Limits::default() } else { small_limits() },
        replay_events: usize::from(*args.pick(&[8_u8, 1, 3, 0, 100])),
        replay_bytes: *args.pick(&[4 << 10, 600, 16 << 20]),
        overflow,
        back_pressure_threshold: *args.pick(&[1_000, 0, 1, 4]),
        retention: Duration::from_secs(*args.pick(&[86_400, 0, 700])),
        ..config
    }
}
