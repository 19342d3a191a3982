//! Limits that a small input reaches.

use arcp_proto::Limits;

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
