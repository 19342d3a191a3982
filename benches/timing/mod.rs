//! How long the benches measure.

use std::time::Duration;

use criterion::Criterion;

/// Measures each for so many seconds, in so many samples; what the command line says goes before it.
pub(crate) fn criterion(seconds: u64, samples: usize) -> Criterion {
    Criterion::default()
        .configure_from_args()
        .without_plots()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(seconds))
        .sample_size(samples)
}
