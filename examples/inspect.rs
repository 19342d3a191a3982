//! Reads recorded traffic and tells what every frame is and which rules were broken, by whom.
//!
//! ```text
//! cargo run --example inspect -- [--quiet] [--json] FILE…
//! ```
//!
//! A recording is a file `NAME.ndjson`, one frame a line. Where `NAME.dir.jsonl` lies beside it, that says direction,
//! transport and time of each line (`{"n":1,"dir":"c2r","conn":1,"t_ms":3.95}`) and when transports opened and ended
//! (`{"note":{"conn":1,"open":true,"t_ms":3.3}}`, `"eof":true` with `dir`, `"close":true`). Without it the direction
//! follows from the message types, a hello begins a transport, and nothing is known of time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use arcp_proto::Instant;
use arcp_proto::referee::{Class, Finding, Referee, Rule, Side, Verdict};
use arcp_proto::wire::{Envelope, MessageType, Sender};
use bytes::Bytes;
use serde_json::{Value, json};

#[derive(Clone, Copy, PartialEq)]
enum Output {
    Text,
    Json,
    Quiet,
}

fn main() -> ExitCode {
    let mut output = Output::Text;
    let mut files = Vec::new();
    for argument in std::env::args().skip(1) {
        match &*argument {
            "--quiet" | "-q" => output = Output::Quiet,
            "--json" => output = Output::Json,
            "--help" | "-h" => files.clear(),
            _ => files.push(argument),
        }
    }
    if files.is_empty() {
        eprintln!("usage: inspect [--quiet] [--json] FILE.ndjson…");
        return ExitCode::from(2);
    }
    let mut report = Report { output, out: io::BufWriter::new(io::stdout().lock()), ..Report::new() };
    let mut unread = false;
    for file in &files {
        match std::fs::read(file) {
            Ok(recording) => {
                let described = std::fs::read_to_string(Path::new(file).with_extension("dir.jsonl")).ok();
                let written = report.file(file, &recording, described.as_deref());
                if written.is_err() {
                    // Whoever read our output has closed it.
                    return ExitCode::SUCCESS;
                }
            }
            Err(error) => {
                eprintln!("{file}: {error}");
                unread = true;
            }
        }
    }
    if report.end().and_then(|()| report.out.flush()).is_err() || !unread {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One step of a recording.
enum Step {
    Open { conn: u64, at: f64 },
    Frame { line: usize, conn: u64, from: Side, at: f64 },
    Eof { conn: u64, side: Side, at: f64 },
    Close { conn: u64, at: f64 },
}

struct Report {
    output: Output,
    out: io::BufWriter<io::StdoutLock<'static>>,
    files: usize,
    frames: usize,
    types: BTreeMap<(String, Side), usize>,
    /// By side and rule: how often, and where first.
    broken: BTreeMap<(Side, Class, usize), (usize, String)>,
}

impl Report {
    fn new() -> Report {
        Report {
            output: Output::Text,
            out: io::BufWriter::new(io::stdout().lock()),
            files: 0,
            frames: 0,
            types: BTreeMap::new(),
            broken: BTreeMap::new(),
        }
    }

    fn file(&mut self, file: &str, recording: &[u8], described: Option<&str>) -> io::Result<()> {
        self.files += 1;
        let mut lines: Vec<&[u8]> = recording.split(|byte| *byte == b'\n').collect();
        if lines.last().is_some_and(|line| line.is_empty()) {
            lines.pop();
        }
        let steps = match described {
            Some(described) => described_steps(described),
            None => inferred_steps(&lines),
        };
        if self.output == Output::Text {
            let known = if described.is_some() { "" } else { "  (directions inferred, times unknown)" };
            writeln!(self.out, "== {file}{known}")?;
        }
        let mut referee = Referee::new();
        for step in steps {
            match step {
                Step::Open { conn, at } => {
                    let findings = referee.open(conn, instant(at));
                    self.note(file, conn, at, "open", findings)?;
                }
                Step::Eof { conn, side, at } => {
                    let findings = referee.eof(conn, side, instant(at));
                    self.note(file, conn, at, &format!("{side} hangs up"), findings)?;
                }
                Step::Close { conn, at } => {
                    let findings = referee.close(conn, instant(at));
                    self.note(file, conn, at, "closed", findings)?;
                }
                Step::Frame { line, conn, from, at } => {
                    let Some(frame) = lines.get(line.wrapping_sub(1)) else { continue };
                    let verdict = referee.frame(conn, from, instant(at), Bytes::copy_from_slice(frame));
                    self.frame(file, line, conn, from, at, frame.len(), verdict)?;
                }
            }
        }
        let findings = referee.finish();
        self.note(file, 0, 0.0, "end of the recording", findings)
    }

    #[allow(clippy::too_many_arguments)] // One line of output has that many columns.
    fn frame(
        &mut self,
        file: &str,
        line: usize,
        conn: u64,
        from: Side,
        at: f64,
        len: usize,
        verdict: Verdict,
    ) -> io::Result<()> {
        self.frames += 1;
        let known = verdict.message.map(|message| message.name().to_owned());
        let name = match (&known, verdict.type_name.is_empty()) {
            (Some(name), _) => name.clone(),
            (None, true) => "(no envelope)".into(),
            (None, false) => "(unknown type)".into(),
        };
        *self.types.entry((name, from)).or_default() += 1;
        match self.output {
            Output::Quiet => {}
            Output::Text => {
                let arrow = if from == Side::Client { "→" } else { "←" };
                let mut what = if verdict.type_name.is_empty() { format!("({len} bytes)") } else { verdict.type_name };
                if let Some(kind) = &verdict.event_kind {
                    let _ = write!(what, " {kind}");
                }
                if let Some(seq) = verdict.event_seq {
                    let _ = write!(what, " #{seq}");
                }
                if verdict.replayed {
                    what.push_str(" (again)");
                }
                writeln!(self.out, "{line:>5} {:>9.3}s c{conn} {arrow} {what}  {}", at / 1000.0, verdict.summary)?;
            }
            Output::Json => {
                let frame = json!({
                    "file": file, "line": line, "conn": conn, "from": from.to_string(), "t_ms": at,
                    "type": verdict.type_name, "kind": verdict.event_kind, "event_seq": verdict.event_seq,
                    "again": verdict.replayed, "summary": verdict.summary,
                    "findings": verdict.findings.iter().map(finding).collect::<Vec<_>>(),
                });
                writeln!(self.out, "{frame}")?;
            }
        }
        self.findings(&format!("{file}:{line}"), verdict.findings)
    }

    fn note(&mut self, file: &str, conn: u64, at: f64, what: &str, findings: Vec<Finding>) -> io::Result<()> {
        match self.output {
            Output::Text if conn != 0 => writeln!(self.out, "      {:>9.3}s c{conn} · {what}", at / 1000.0)?,
            Output::Text if !findings.is_empty() => writeln!(self.out, "      {what}")?,
            Output::Json if !findings.is_empty() => {
                let all: Vec<_> = findings.iter().map(finding).collect();
                writeln!(
                    self.out,
                    "{}",
                    json!({ "file": file, "conn": conn, "t_ms": at, "note": what, "findings": all })
                )?;
            }
            _ => {}
        }
        self.findings(&format!("{file}, {what}"), findings)
    }

    fn findings(&mut self, place: &str, findings: Vec<Finding>) -> io::Result<()> {
        for finding in findings {
            if self.output == Output::Text {
                let class = if finding.rule.class() == Class::Draft { '!' } else { '·' };
                writeln!(self.out, "            {class} {finding}")?;
            }
            let order = Rule::ALL.iter().position(|rule| *rule == finding.rule).unwrap_or(usize::MAX);
            let place =
                || (0, if finding.detail.is_empty() { place.into() } else { format!("{place}: {}", finding.detail) });
            self.broken.entry((finding.side, finding.rule.class(), order)).or_insert_with(place).0 += 1;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.output == Output::Json {
            let types: Vec<_> = self.types.iter().map(|((name, from), n)| json!([name, from.to_string(), n])).collect();
            let broken: Vec<_> = (self.broken.iter())
                .filter_map(|((side, _, order), (n, first))| {
                    let rule = Rule::ALL.get(*order)?;
                    Some(json!({ "side": side.to_string(), "rule": format!("{rule:?}"), "number": rule.number(),
                        "class": format!("{:?}", rule.class()), "count": n, "first": first }))
                })
                .collect();
            return writeln!(
                self.out,
                "{}",
                json!({ "files": self.files, "frames": self.frames, "types": types, "broken": broken })
            );
        }
        writeln!(self.out, "\n{} frames in {} files", self.frames, self.files)?;
        for ((name, from), count) in &self.types {
            writeln!(self.out, "{count:>7}  {name:<20} {from}")?;
        }
        let mut heading = None;
        for ((side, class, order), (count, first)) in &self.broken {
            let Some(rule) = Rule::ALL.get(*order) else { continue };
            if heading != Some((side, class)) {
                heading = Some((side, class));
                let whose =
                    if *class == Class::Draft { "rules of the draft" } else { "decisions of ours, not binding others" };
                writeln!(self.out, "\nbroken by the {side}: {whose}")?;
            }
            writeln!(
                self.out,
                "{count:>7}  {:<6} {}\n                 first: {first}",
                rule.number(),
                rule.description()
            )?;
        }
        if self.broken.is_empty() {
            writeln!(self.out, "no rule broken")?;
        }
        Ok(())
    }
}

fn finding(finding: &Finding) -> Value {
    json!({
        "rule": format!("{:?}", finding.rule), "number": finding.rule.number(), "class": format!("{:?}", finding.rule.class()),
        "side": finding.side.to_string(), "conn": finding.conn, "detail": finding.detail,
    })
}

fn instant(ms: f64) -> Instant {
    Instant::from_duration(Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default())
}

fn side(dir: &Value) -> Option<Side> {
    match dir.as_str()? {
        "c2r" | "client" => Some(Side::Client),
        "r2c" | "runtime" => Some(Side::Runtime),
        _ => None,
    }
}

fn described_steps(described: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut last = 0.0;
    for line in described.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        let (entry, note) = match entry.get("note") {
            Some(note) => (note, true),
            None => (&entry, false),
        };
        let at = entry["t_ms"].as_f64().unwrap_or(last);
        last = at;
        let conn = entry["conn"].as_u64().unwrap_or(1);
        let from = side(&entry["dir"]);
        let said = |member: &str| entry[member].as_bool() == Some(true);
        if !note {
            let line = entry["n"].as_u64().and_then(|n| usize::try_from(n).ok());
            if let (Some(line), Some(from)) = (line, from) {
                steps.push(Step::Frame { line, conn, from, at });
            }
        } else if said("open") {
            steps.push(Step::Open { conn, at });
        } else if said("eof") {
            // Which side it was, and not what the recorder did about it.
            if let Some(side) = from {
                steps.push(Step::Eof { conn, side, at });
            }
        } else if let Some(side) = side(&entry["from"]) {
            // A WebSocket was closed.
            steps.push(Step::Eof { conn, side, at });
        } else if said("close") {
            steps.push(Step::Close { conn, at });
        }
    }
    steps
}

/// What a line says of itself.
#[derive(Default)]
struct Line {
    message: Option<MessageType>,
    session: Option<String>,
    /// Of a resume.
    resumed: Option<String>,
    nonce: Option<String>,
}

impl Line {
    fn of(frame: &[u8]) -> Line {
        let Ok(envelope) = Envelope::decode(Bytes::copy_from_slice(frame)) else { return Line::default() };
        let payload: Value = serde_json::from_str(envelope.payload_text()).unwrap_or_default();
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        Line {
            message: envelope.message_type(),
            session: envelope.session_id().map(|id| id.into_owned()),
            resumed: text(payload.get("resume").and_then(|resume| resume.get("session_id"))),
            nonce: text(payload.get("nonce").or_else(|| payload.get("ping_nonce"))),
        }
    }
}

fn inferred_steps(lines: &[&[u8]]) -> Vec<Step> {
    let lines: Vec<Line> = lines.iter().map(|frame| Line::of(frame)).collect();
    let mut steps = Vec::new();
    let mut conn = 0;
    let mut unanswered = false;
    // Of sessions that were seen, the transport that holds them.
    let mut sessions: BTreeMap<&str, u64> = BTreeMap::new();
    let mut pings: BTreeMap<&str, Side> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        let opening = matches!(line.message, Some(MessageType::SessionHello | MessageType::SessionResume));
        if opening || conn == 0 {
            conn += 1;
            unanswered = true;
            if let Some(old) =
                line.resumed.as_deref().filter(|id| is_lost(&lines, at, id)).and_then(|id| sessions.remove(id))
            {
                steps.push(Step::Close { conn: old, at: 0.0 });
            }
            steps.push(Step::Open { conn, at: 0.0 });
        }
        let nonce = line.nonce.as_deref().unwrap_or_default();
        let from = match line.message.map(MessageType::sender) {
            Some(Sender::Client) => Side::Client,
            Some(Sender::Runtime) => Side::Runtime,
            // Either may ping and say bye; mostly it is the runtime that pings and the client that leaves.
            _ if line.message == Some(MessageType::SessionPing) => {
                pings.insert(nonce, Side::Runtime);
                Side::Runtime
            }
            _ if line.message == Some(MessageType::SessionPong) => {
                pings.get(nonce).map_or(Side::Runtime, |pinger| pinger.other())
            }
            _ => Side::Client,
        };
        let answer =
            unanswered && matches!(line.message, Some(MessageType::SessionWelcome | MessageType::SessionError));
        let held = line.session.as_deref().filter(|_| !opening && !answer).and_then(|id| sessions.get(id));
        steps.push(Step::Frame { line: at + 1, conn: held.copied().unwrap_or(conn), from, at: 0.0 });
        unanswered &= !answer;
        if let (Some(MessageType::SessionWelcome), Some(id)) = (line.message, &line.session) {
            sessions.insert(id, conn);
        }
    }
    steps
}

/// Whether the transport of a session had ended when it was resumed: the next that is heard of it is the answer.
fn is_lost(lines: &[Line], resume: usize, id: &str) -> bool {
    let mut later = lines.iter().skip(resume + 1).filter(|line| line.session.as_deref() == Some(id));
    let next = later.find(|line| line.message != Some(MessageType::SessionError));
    next.is_none_or(|line| line.message == Some(MessageType::SessionWelcome))
}
