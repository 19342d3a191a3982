//! The phases of a session, and the only place that changes one.

use core::fmt;

/// Where a session stands.
///
/// A client connects, is open, is detached when its transport is lost, resumes, and is open again; a runtime's session
/// begins open, and the resume itself attaches it again. Every way from one phase to another
/// (*attached*, and *cut* while closing, are a runtime's alone):
///
/// ```text
/// connecting ── welcomed ────▶ open
/// connecting ── ended ───────▶ closed
/// open ──────── close asked ─▶ closing
/// open ──────── attached ────▶ open
/// open ──────── cut ─────────▶ detached
/// open ──────── ended ───────▶ closed
/// closing ───── attached ────▶ open
/// closing ───── cut ─────────▶ detached
/// closing ───── ended ───────▶ closed
/// detached ──── retried ─────▶ resuming
/// detached ──── attached ────▶ open
/// detached ──── ended ───────▶ closed
/// resuming ──── welcomed ────▶ open
/// resuming ──── cut ─────────▶ detached
/// resuming ──── ended ───────▶ closed
/// ```
///
/// *Welcomed*: the client's welcome came. *Retried*: the client has a new transport and tries to resume. *Attached*: a
/// runtime took a resume. *Close asked*: either side wants to end politely. *Cut*: the transport is gone or given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Client: the hello is out or on its way, no welcome yet.
    Connecting,
    /// Attached to a transport and welcomed.
    Open,
    /// Attached, and on the way out: what was emitted before goes first, then the farewell (D27, D32).
    Closing,
    /// Without a transport; can be resumed.
    Detached,
    /// Client: the resume is out or on its way, no welcome yet.
    Resuming,
    /// Ended for good.
    Closed,
}

impl Phase {
    /// Whether there is a transport whose bytes are taken.
    #[must_use]
    pub const fn is_attached(self) -> bool {
        matches!(self, Phase::Connecting | Phase::Open | Phase::Closing | Phase::Resuming)
    }

    /// Whether a welcome is being waited for.
    #[must_use]
    pub const fn is_handshake(self) -> bool {
        matches!(self, Phase::Connecting | Phase::Resuming)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Connecting => "connecting",
            Phase::Open => "open",
            Phase::Closing => "closing",
            Phase::Detached => "detached",
            Phase::Resuming => "resuming",
            Phase::Closed => "closed",
        })
    }
}

/// What moves a session from one phase to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Client: the welcome came.
    Welcomed,
    /// Client: a new transport, on which the resume is tried.
    Retried,
    /// Runtime: a resume was accepted.
    Attached,
    /// An end was asked for politely, by either side.
    CloseAsked,
    /// The transport is gone or given up.
    Cut,
    /// The end.
    Ended,
}

/// Every transition there is.
const TRANSITIONS: &[(Phase, Step, Phase)] = &[
    (Phase::Connecting, Step::Welcomed, Phase::Open),
    (Phase::Connecting, Step::Ended, Phase::Closed),
    (Phase::Open, Step::CloseAsked, Phase::Closing),
    (Phase::Open, Step::Attached, Phase::Open),
    (Phase::Open, Step::Cut, Phase::Detached),
    (Phase::Open, Step::Ended, Phase::Closed),
    (Phase::Closing, Step::Attached, Phase::Open),
    (Phase::Closing, Step::Cut, Phase::Detached),
    (Phase::Closing, Step::Ended, Phase::Closed),
    (Phase::Detached, Step::Retried, Phase::Resuming),
    (Phase::Detached, Step::Attached, Phase::Open),
    (Phase::Detached, Step::Ended, Phase::Closed),
    (Phase::Resuming, Step::Welcomed, Phase::Open),
    (Phase::Resuming, Step::Cut, Phase::Detached),
    (Phase::Resuming, Step::Ended, Phase::Closed),
];

/// The phase of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PhaseCell(Phase);

impl PhaseCell {
    pub(super) const fn new(first: Phase) -> PhaseCell {
        PhaseCell(first)
    }

    pub(super) const fn get(self) -> Phase {
        self.0
    }

    /// Takes the step if the table has it; says whether it did.
    pub(super) fn step(&mut self, step: Step) -> bool {
        let to = TRANSITIONS.iter().find(|(from, by, _)| *from == self.0 && *by == step).map(|(_, _, to)| *to);
        if let Some(to) = to {
            self.0 = to;
        }
        to.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    fn said(step: Step) -> &'static str {
        match step {
            Step::Welcomed => "welcomed",
            Step::Retried => "retried",
            Step::Attached => "attached",
            Step::CloseAsked => "close asked",
            Step::Cut => "cut",
            Step::Ended => "ended",
        }
    }

    #[test]
    fn nothing_leads_out_of_closed() {
        assert!(TRANSITIONS.iter().all(|(from, _, _)| *from != Phase::Closed));
        let mut phase = PhaseCell::new(Phase::Closed);
        assert!(!phase.step(Step::Attached));
        assert_eq!(phase.get(), Phase::Closed);
    }

    #[test]
    fn the_documented_diagram_is_the_table() {
        let drawn = TRANSITIONS.iter().map(|(from, step, to)| {
            let (from, step) = (from.to_string() + " ", said(*step).to_string() + " ");
            format!("{from:─<12}─ {step:─<13}▶ {to}")
        });
        let documented: Vec<_> = include_str!("phase.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("/// "))
            .filter(|l| l.contains('▶'))
            .collect();
        assert_eq!(documented, drawn.collect::<Vec<_>>());
    }

    #[test]
    fn the_readme_draws_the_table() {
        let drawn = TRANSITIONS.iter().map(|(from, step, to)| format!("    {from} --> {to} : {}", said(*step)));
        let readme = include_str!("../../README.md");
        let diagram = readme.split("%% a session").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let shown: Vec<_> = diagram.lines().filter(|line| line.contains(" : ")).collect();
        assert_eq!(shown, drawn.collect::<Vec<_>>());
    }

    #[test]
    fn a_step_leads_to_one_phase() {
        for (n, (from, step, _)) in TRANSITIONS.iter().enumerate() {
            assert!(TRANSITIONS.iter().skip(n + 1).all(|(f, s, _)| (f, s) != (from, step)), "{from} {step:?}");
        }
    }
}
