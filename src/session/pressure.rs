//! The back-pressure signal: when the client's acknowledgements fall behind (A10, D26).

/// What an event did to the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crossing {
    /// The threshold was crossed just now.
    pub(super) began: bool,
    /// The status event is to be recorded right behind.
    pub(super) signal: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Pressure {
    active: bool,
    /// The trigger was a job's terminal: the status waits for the next event that is none.
    owed: bool,
    /// The lag counts from here, if nothing later was acknowledged.
    resumed_from: u64,
}

impl Pressure {
    /// Of a detached session only this is left to tell: the next resume resets the rest.
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    pub(super) fn restored(active: bool) -> Pressure {
        Pressure { active, ..Pressure::default() }
    }

    /// Events that were emitted and are not acknowledged.
    #[inline]
    pub(super) fn lag(&self, highest: u64, acked: u64) -> u64 {
        highest.saturating_sub(acked.max(self.resumed_from))
    }

    /// An event was recorded.
    #[inline]
    pub(super) fn recorded(&mut self, lag: u64, threshold: u64, is_terminal: bool) -> Crossing {
        let began = !self.active && lag > threshold;
        if began {
            self.active = true;
            self.owed = true;
        }
        let signal = self.owed && !is_terminal;
        if signal {
            self.owed = false;
        }
        Crossing { began, signal }
    }

    /// The lag has shrunk; says whether the pressure is gone by it.
    pub(super) fn relieved(&mut self, lag: u64, threshold: u64) -> bool {
        let ended = self.active && lag <= threshold / 2;
        if ended {
            self.active = false;
            self.owed = false;
        }
        ended
    }

    /// A transport was resumed behind `seq`; says whether there was pressure.
    pub(super) fn reset(&mut self, seq: u64) -> bool {
        let was_active = self.active;
        *self = Pressure { resumed_from: seq, ..Pressure::default() };
        was_active
    }
}

#[cfg(feature = "model")]
impl Pressure {
    pub(super) fn digest(&self, digest: &mut super::digest::Digest<'_>) {
        let Pressure { active, owed, resumed_from } = self;
        digest.flag(*active);
        digest.flag(*owed);
        digest.number(*resumed_from);
    }
}
