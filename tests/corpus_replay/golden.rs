//! The figures as they were, in `golden.txt`: whatever changes what comes of a recording is a change of that file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::tally::Tally;

/// Set, it has the file written anew.
const BLESS: &str = "ARCP_CORPUS_BLESS";

pub(crate) const RUNTIME: &str = "our runtime, for the recorded client";
pub(crate) const CLIENT: &str = "our client, for the recorded runtime";

const HEAD: &str = "\
# What comes of the recorded traffic of other implementations when one side of it meets our other side: figures, and the
# names of types and codes. Written by `ARCP_CORPUS_BLESS=1 ARCP_CORPUS=… cargo test --test corpus_replay`.
";

/// Of each recording and side, the facts by groups.
#[derive(Default, PartialEq)]
pub(crate) struct Figures(BTreeMap<(String, String), Vec<String>>);

impl Figures {
    pub(crate) fn add(&mut self, recording: &str, side: &str, tally: &Tally) {
        self.0.insert((recording.into(), side.into()), tally.lines());
    }

    fn recordings(&self) -> BTreeSet<&str> {
        self.0.keys().map(|(recording, _)| &**recording).collect()
    }

    fn read() -> Figures {
        let mut figures = Figures::default();
        let mut group = None;
        let text = std::fs::read_to_string(file()).unwrap_or_default();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            match (line.strip_prefix("    "), &group) {
                (Some(facts), Some(group)) => figures.0.entry(Clone::clone(group)).or_default().push(facts.into()),
                _ => {
                    let (recording, side) = line.split_once(": ").expect("a heading names recording and side");
                    figures.0.insert((recording.into(), side.into()), Vec::new());
                    group = Some((recording.to_owned(), side.to_owned()));
                }
            }
        }
        figures
    }

    fn write(&self) {
        let mut text = String::from(HEAD);
        for ((recording, side), facts) in &self.0 {
            text.push_str(&format!("\n{recording}: {side}\n"));
            facts.iter().for_each(|facts| text.push_str(&format!("    {facts}\n")));
        }
        std::fs::write(file(), text).expect("the figures can be written");
    }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus_replay/golden.txt")
}

/// Whether these are recordings of which there are figures, or others altogether.
pub(crate) fn knows<'a>(mut recordings: impl Iterator<Item = &'a str>) -> bool {
    let golden = Figures::read();
    recordings.any(|recording| golden.recordings().contains(recording))
}

pub(crate) fn compare(figures: &Figures) {
    if figures.0.is_empty() {
        return;
    }
    if std::env::var_os(BLESS).is_some() {
        return figures.write();
    }
    let golden = Figures::read();
    if golden.recordings().is_disjoint(&figures.recordings()) {
        // Another corpus: what came of it is shown, and compared with nothing.
        for ((recording, side), facts) in &figures.0 {
            println!("{recording}: {side}\n    {}", facts.join("\n    "));
        }
        return;
    }
    let wrong = changes(&golden, figures);
    assert!(wrong.is_empty(), "{}\n\nIf that is meant to be, {BLESS}=1 writes golden.txt anew.", wrong.join("\n"));
}

fn changes(golden: &Figures, figures: &Figures) -> Vec<String> {
    let mut wrong = Vec::new();
    for recording in figures.recordings().difference(&golden.recordings()) {
        wrong.push(format!("{recording} is a new recording, and golden.txt knows nothing of it"));
    }
    for recording in golden.recordings().difference(&figures.recordings()) {
        wrong.push(format!("{recording} is in golden.txt, and there is no such recording"));
    }
    for (place @ (recording, side), facts) in &figures.0 {
        let Some(before) = golden.0.get(place).filter(|before| *before != facts) else { continue };
        wrong.push(format!("{recording}: {side}"));
        wrong.extend(before.iter().filter(|line| !facts.contains(line)).map(|line| format!("  - {line}")));
        wrong.extend(facts.iter().filter(|line| !before.contains(line)).map(|line| format!("  + {line}")));
    }
    wrong
}

#[test]
fn a_change_a_new_recording_and_a_missing_one_are_told() {
    let figures = |of: &[(&str, &str)]| {
        let rows = of.iter().map(|(recording, facts)| {
            ((recording.to_string(), RUNTIME.to_owned()), vec!["sent: session.welcome 1".to_owned(), facts.to_string()])
        });
        Figures(rows.collect())
    };
    let golden = figures(&[("a/same", "told: event 1"), ("a/changed", "told: event 1"), ("a/gone", "told: event 1")]);
    let now = figures(&[("a/same", "told: event 1"), ("a/changed", "told: event 2"), ("a/new", "told: event 1")]);
    assert!(changes(&golden, &golden).is_empty());
    assert_eq!(
        changes(&golden, &now),
        [
            "a/new is a new recording, and golden.txt knows nothing of it",
            "a/gone is in golden.txt, and there is no such recording",
            "a/changed: our runtime, for the recorded client",
            "  - told: event 1",
            "  + told: event 2",
        ]
    );
}
