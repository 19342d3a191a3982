//! Makes inputs for a fuzz target of recordings: `seeding TARGET RECORDINGS FOLDER`. How recordings are laid out,
//! `tests/corpus/mod.rs` says; a target without a use for them gets none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use serde_json::Value;

/// As much of a recording as a target is given: the rest is more of the same.
const LONGEST: usize = 2_000;

struct Line {
    bytes: Vec<u8>,
    is_of_client: bool,
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn recording(file: &Path) -> io::Result<Vec<Line>> {
    let described = fs::read_to_string(file.with_extension("dir.jsonl"))?;
    let mut senders: BTreeMap<u64, bool> = BTreeMap::new();
    for entry in described.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if let (Some(n), Some(side)) = (entry["n"].as_u64(), entry["dir"].as_str()) {
            senders.insert(n, matches!(side, "c2r" | "client"));
        }
    }
    let bytes = fs::read(file)?;
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
    Ok(lines
        .filter_map(|(line, n)| {
            senders.get(&n).map(|is_of_client| Line { bytes: line.to_vec(), is_of_client: *is_of_client })
        })
        .collect())
}

/// Our runtime calls its session so, whatever the recorded one did.
fn in_our_session(line: &[u8]) -> Vec<u8> {
    let Ok(text) = str::from_utf8(line) else { return line.to_vec() };
    let Some((before, rest)) = text.split_once(r#""session_id":""#) else { return line.to_vec() };
    let Some((_, after)) = rest.split_once('"') else { return line.to_vec() };
    format!(r#"{before}"session_id":"sess_1"{after}"#).into_bytes()
}

fn script<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut scripts = vec![Vec::new()];
    for line in lines.filter(|line| line.len() < LONGEST) {
        if scripts.last().is_none_or(|script| script.len() + line.len() > LONGEST) {
            scripts.push(Vec::new());
        }
        scripts.iter_mut().last().into_iter().for_each(|script| script.extend(line.iter().chain(b"\n")));
    }
    scripts.retain(|script| !script.is_empty());
    // The first two have the handshake; of later ones one says what all do.
    scripts.truncate(3);
    scripts
}

fn inputs(target: &str, lines: &[Line]) -> Vec<Vec<u8>> {
    let of = |is_of_client: bool| lines.iter().filter(move |line| line.is_of_client == is_of_client);
    match target {
        "envelope" => lines.iter().map(|line| line.bytes.clone()).collect(),
        "opening" => of(true)
            .map(|line| line.bytes.clone())
            .filter(|line| line.windows(8).any(|part| part == b"\"session"))
            .collect(),
        "client_input" => script(of(false).map(|line| line.bytes.as_slice())),
        "runtime_input" => {
            let lines: Vec<Vec<u8>> = of(true).map(|line| in_our_session(&line.bytes)).collect();
            script(lines.iter().map(Vec::as_slice))
        }
        "lines" => script(lines.iter().map(|line| line.bytes.as_slice()))
            .into_iter()
            .map(|script| [&[200, 2, 90, 7], script.get(..400).unwrap_or(&script)].concat())
            .collect(),
        _ => Vec::new(),
    }
}

fn make(target: &str, recordings: &Path, into: &Path) -> io::Result<()> {
    fs::create_dir_all(into)?;
    for implementation in files(recordings)?.iter().filter(|path| path.is_dir()) {
        for file in files(implementation)?.iter().filter(|path| path.extension().is_some_and(|end| end == "ndjson")) {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            let of = implementation.file_name().unwrap_or_default().to_string_lossy();
            for (n, input) in inputs(target, &recording(file)?).into_iter().enumerate() {
                fs::write(into.join(format!("{of}-{name}-{n}")), input)?;
            }
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [target, recordings, into] = args.as_slice() else {
        eprintln!("seeding TARGET RECORDINGS FOLDER");
        return ExitCode::from(2);
    };
    match make(target, Path::new(recordings), Path::new(into)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{recordings}: {error}");
            ExitCode::FAILURE
        }
    }
}
