//! What somebody who watches a terminal sees: a bar for each job that tells how far it is, and a word about a lost
//! connection. Nothing at all where the standard error is no terminal.

use std::collections::BTreeMap;
use std::time::Duration;

use arcp_proto::wire::job_event::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// More bars at once fill no screen.
const MOST_BARS: usize = 16;

pub struct ProgressBars {
    /// Draws on the standard error, if that is a terminal.
    screen: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
    notice: Option<ProgressBar>,
}

impl ProgressBars {
    pub fn new() -> ProgressBars {
        ProgressBars { screen: MultiProgress::new(), bars: BTreeMap::new(), notice: None }
    }

    /// Runs what writes to the terminal by other ways; the bars are out of its way meanwhile.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.screen.suspend(write)
    }

    /// The job is so far.
    pub fn progress(&mut self, job: &str, progress: &Progress) {
        if self.screen.is_hidden() || (self.bars.len() >= MOST_BARS && !self.bars.contains_key(job)) {
            return;
        }
        let whole = |number: &serde_json::Number| number.as_f64().unwrap_or_default().max(0.0) as u64;
        let screen = &self.screen;
        let bar = self.bars.entry(job.to_owned()).or_insert_with(|| screen.add(ProgressBar::no_length()));
        let total = progress.total.as_ref().map(whole);
        let template = if total.is_some() { "{prefix} {wide_bar} {pos}/{len} {msg}" } else { "{prefix} {pos} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(whole(&progress.current));
        bar.set_prefix(plain(job));
        let words = [progress.units.as_deref(), progress.message.as_deref()].map(Option::unwrap_or_default);
        bar.set_message(plain(&words.join(" ")));
    }

    /// The job has ended.
    pub fn end(&mut self, job: &str) {
        if let Some(bar) = self.bars.remove(job) {
            bar.finish_and_clear();
        }
    }

    /// There is no connection.
    pub fn notice(&mut self, text: String) {
        if self.screen.is_hidden() {
            return;
        }
        let screen = &self.screen;
        let notice = self.notice.get_or_insert_with(|| {
            let notice = screen.add(ProgressBar::new_spinner());
            notice.enable_steady_tick(Duration::from_millis(100));
            notice
        });
        notice.set_message(text);
    }

    /// There is one again, or none is needed.
    pub fn end_notice(&mut self) {
        if let Some(notice) = self.notice.take() {
            notice.finish_and_clear();
        }
    }
}

/// A peer's words, as much as fits a line, and nothing by which they could take hold of the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(60).collect()
}
