//! `demo`: one event of every kind a round (§8.2), with all that can stand in texts and numbers.

use arcp_proto::endpoint::PublishError;
use arcp_proto::wire::job_event::kind;
use arcp_proto::wire::{JobResult, WireError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Agent, Begin, Desk, Step, unfit};

const MOST_ROUNDS: u64 = 100_000;

/// Texts that some reader somewhere gets wrong.
const TEXTS: &[&str] = &[
    "plain",
    "with \"quotes\", \\backslashes\\ and a /slash/",
    "two\nlines\tand a tab",
    "ümlaut, 漢字, עברית, 🦀",
    "separators \u{2028} and \u{2029}, a control \u{1}, a BOM \u{feff}",
    "",
    "{\"json\": [\"in\", \"a\", \"text\"]}",
];

#[derive(Deserialize)]
#[serde(default)]
pub struct Input {
    rounds: u64,
}

impl Default for Input {
    fn default() -> Input {
        Input { rounds: 1 }
    }
}

/// The things take turns.
fn turn_of<T: Clone + Default>(things: &[T], round: u64) -> T {
    things.get((round % things.len() as u64) as usize).cloned().unwrap_or_default()
}

pub struct Demo {
    rounds: u64,
    /// Events so far: which round it is, and which kind.
    said: u64,
}

impl Begin for Demo {
    type Input = Input;

    fn begin(Input { rounds }: Input) -> Result<Demo, WireError> {
        if rounds > MOST_ROUNDS {
            return Err(unfit(format!("`rounds` is at most {MOST_ROUNDS}")));
        }
        Ok(Demo { rounds, said: 0 })
    }
}

impl Demo {
    const RESULT_ID: &str = "res_demo";

    fn streamed(round: u64) -> String {
        format!("round {round} ✓\n")
    }

    /// What the event of this kind says in this round; `None` of a kind that this agent does not know.
    fn body(&self, event_kind: &str, round: u64) -> Option<Value> {
        let text = turn_of(TEXTS, round);
        let call = format!("call_{round}");
        Some(match event_kind {
            kind::LOG => json!({"level": turn_of(&["debug", "info", "warn", "error"], round), "message": text}),
            kind::THOUGHT => json!({"text": format!("round {round}: {text}")}),
            kind::TOOL_CALL => json!({"tool": "search", "args": {"query": text, "limit": round}, "call_id": call}),
            kind::TOOL_RESULT if round % 2 == 1 => json!({
                "call_id": call,
                "error": {"code": "INTERNAL_ERROR", "message": "every second call fails", "retryable": true},
            }),
            kind::TOOL_RESULT => {
                json!({"call_id": call, "result": {"hits": [{"title": text, "score": 0.5}, null, true]}})
            }
            kind::STATUS => json!({"phase": "working", "message": format!("round {round} of {}", self.rounds)}),
            kind::METRIC => json!({
                "name": "tokens.used",
                "value": turn_of(&[json!(7), json!(-0.25), json!(1e21), json!(9_007_199_254_740_991_u64)], round),
                "unit": "tokens",
                "dimensions": {"model": "none", "text": text},
            }),
            kind::ARTIFACT_REF => json!({
                "uri": format!("file:///demo/{round}.txt"),
                "content_type": "text/plain; charset=utf-8",
                "byte_size": round * 1_000,
                "sha256": format!("{round:064x}"),
            }),
            kind::DELEGATE => {
                json!({"delegate_id": format!("del_{round}"), "agent": "echo@1.0.0", "input": {"text": text}})
            }
            kind::PROGRESS => json!({"current": round + 1, "total": self.rounds, "units": "rounds", "message": text}),
            kind::RESULT_CHUNK => json!({
                "result_id": Self::RESULT_ID,
                "chunk_seq": round,
                "data": Self::streamed(round),
                "encoding": "utf8",
                "more": round + 1 < self.rounds,
            }),
            _ => return None,
        })
    }
}

impl Agent for Demo {
    fn step(&mut self, desk: &mut Desk<'_>) -> Result<Step, PublishError> {
        let kinds = kind::ALL.len() as u64;
        let round = self.said / kinds;
        if round == self.rounds {
            desk.finish(self.result())?;
            return Ok(Step::Done);
        }
        if let Some(name) = kind::ALL.get((self.said % kinds) as usize)
            && let Some(body) = self.body(name, round)
        {
            desk.event(name, &body)?;
        }
        self.said += 1;
        Ok(Step::Next)
    }
}

impl Demo {
    fn result(&self) -> JobResult {
        let size = (0..self.rounds).map(|round| Self::streamed(round).len() as u64).sum();
        let mut result = JobResult::streamed(Self::RESULT_ID.into(), size);
        if self.rounds == 0 {
            (result.result_id, result.result_size) = (None, None);
        }
        result.summary = Some(format!("{} rounds, an event of every kind in each", self.rounds));
        result
    }
}
