//! What is to be reached, and what is.

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Of another's time.
    Times,
    Count,
    Bytes,
}

/// A bar, and the figure that was measured. Above it, it is missed.
pub(crate) struct Bar {
    pub(crate) what: String,
    pub(crate) figure: f64,
    pub(crate) unit: Unit,
    /// `None`: told for comparison.
    pub(crate) at_most: Option<f64>,
    /// The times behind a ratio, or what else there is to say.
    pub(crate) because: String,
}

impl Bar {
    pub(crate) fn new(what: impl Into<String>, figure: f64, unit: Unit, at_most: impl Into<Option<f64>>) -> Bar {
        Bar { what: what.into(), figure, unit, at_most: at_most.into(), because: String::new() }
    }

    pub(crate) fn because(mut self, text: String) -> Bar {
        self.because = text;
        self
    }

    pub(crate) fn is_met(&self) -> bool {
        self.at_most.is_none_or(|most| self.figure <= most)
    }

    fn write(&self, figure: f64) -> String {
        match self.unit {
            Unit::Times => format!("{figure:.3} ×"),
            Unit::Count => format!("{figure:.4}"),
            Unit::Bytes => format!("{figure:.0} B"),
        }
    }

    /// As a line of a Markdown table.
    pub(crate) fn line(&self) -> String {
        let verdict = match self.at_most {
            None => "",
            Some(_) if self.is_met() => "met",
            Some(_) => "**missed**",
        };
        let most = self.at_most.map(|most| format!("≤ {}", self.write(most))).unwrap_or_default();
        format!("| {} | {} | {most} | {verdict} | {} |", self.what, self.write(self.figure), self.because)
    }
}

/// A time, short.
pub(crate) fn short(nanos: f64) -> String {
    match nanos {
        ..99.95 => format!("{nanos:.1} ns"),
        ..9_999.5 => format!("{nanos:.0} ns"),
        ..99_950.0 => format!("{:.1} µs", nanos / 1e3),
        _ => format!("{:.0} µs", nanos / 1e3),
    }
}
