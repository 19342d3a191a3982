//! An attack, made small and large, and what it may cost.

use crate::meter::Meter;

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;

/// What is kept beside what a limit speaks of: the queues themselves, half of them empty at the worst.
pub(crate) const BESIDE: usize = 32 * KIB;

/// What an attack may cost.
pub(crate) struct Bounds {
    /// The heap, and the limits that it comes from.
    pub(crate) heap: usize,
    pub(crate) because: &'static str,
    /// Bytes sent for each byte received.
    pub(crate) factor: f64,
}

/// Makes the attack of a size, then twice as large. It must not do nothing.
#[track_caller]
pub(crate) fn hold(name: &str, bounds: Bounds, attack: impl Fn(usize, &mut Meter)) {
    let run = |scale: usize| {
        let mut meter = Meter::new();
        attack(scale, &mut meter);
        assert!(meter.input > 0, "{name}: no attack");
        meter
    };
    // One size alone, for whoever counts its instructions.
    if let Some(scale) = std::env::var("ARCP_LIMITS_SCALE").ok().and_then(|scale| scale.parse().ok()) {
        run(scale);
        return;
    }
    let (small, large) = (run(1), run(2));
    let factor = |meter: &Meter| meter.output as f64 / meter.input as f64;
    let peak = small.peak.max(large.peak);
    if std::env::var_os("ARCP_LIMITS_TABLE").is_some() {
        println!(
            "LIMIT | {name} | {} | {} KiB | {} KiB | {} | {:.2} |",
            bounds.because,
            bounds.heap.div_ceil(KIB),
            peak.div_ceil(KIB),
            bounds.factor,
            factor(&small).max(factor(&large)),
        );
    }
    for (size, meter) in [("small", &small), ("large", &large)] {
        let (peak, bound, because) = (meter.peak, bounds.heap, bounds.because);
        assert!(peak <= bound, "{name}, {size}: {peak} bytes on the heap, at most {bound}: {because}");
        let (factor, bound) = (factor(meter), bounds.factor);
        assert!(factor <= bound, "{name}, {size}: {factor:.2} bytes out for each byte in, at most {bound}");
    }
    let input = large.input as f64 / small.input as f64;
    assert!((1.8..=2.2).contains(&input), "{name}: twice as large is {input:.2} times as large");
    let (one, two) = (small.allocated, large.allocated);
    assert!(two <= one * 9 / 4 + BESIDE, "{name}: {one} bytes allocated, and {two} by an attack twice as large");
}
