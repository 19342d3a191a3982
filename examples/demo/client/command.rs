//! One line of a script.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use arcp_proto::Timestamp;
use arcp_proto::wire::{JobFilter, JobId, JobQuery, JobStatus, JobSubmit, RawJson};

/// The commands, as `--help` has them.
pub const HELP: &str = "\
A command to carry out; may be given more than once. Without it, commands are read from the standard input, one a line.
Each is carried out when the one before it is done: a request, when its answer has come.

  submit AGENT [--key KEY] [--max-runtime SEC] [JSON]
                       Have AGENT (or AGENT@VERSION) work on JSON ({} if there is none); the key makes a repetition
                       of the same submit harmless, also our own after a lost connection
  cancel [JOB]         Cancel a job
  subscribe JOB [history[=SEQ]]
                       Follow a job of another session; with history, also what was before (after its event SEQ)
  unsubscribe [JOB]    Follow it no longer
  list [status=A,B] [agent=NAME] [after=TIME] [before=TIME] [limit=N] [cursor=C] [all]
                       List jobs, a page, or with `all` all of them; or one JSON object, as on the wire
  ack off|on           Stop, or go on, to acknowledge events as processed
  drop                 Cut the connection, and resume
  sleep MS             Do nothing for so many milliseconds
  wait                 Wait until every job that was submitted or is followed has ended
  bye [REASON]         End the session; jobs go on

JOB is an id, or `latest` (or nothing): the job that was accepted last. Behind the last command comes a `wait`, then a
`bye`. Blank lines, and lines that begin with #, are skipped.";

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Ask for a job.
    Submit(Box<JobSubmit>),
    /// Cancel a job.
    Cancel(Job),
    /// Follow a job; with history, from behind that event.
    Subscribe(Job, Option<u64>),
    /// Follow it no longer.
    Unsubscribe(Job),
    /// A page of jobs, or all that come after it too.
    List { query: Box<JobQuery>, all: bool },
    /// Whether to mark events as processed.
    Ack(bool),
    /// Cut the connection, and resume.
    Drop,
    /// Do nothing for a while.
    Sleep(Duration),
    /// Until every job has ended.
    Wait,
    /// End the session.
    Bye(Option<String>),
}

/// Which job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// The one that was accepted last.
    Latest,
    /// This one.
    Named(JobId),
}

impl Command {
    /// Reads one command.
    pub fn parse(line: &str) -> Result<Command, String> {
        Command::parse_line(line)?.ok_or_else(|| "there is no command in it".into())
    }

    /// Reads a line of a script; `None` where there is nothing to do in it.
    pub fn parse_line(line: &str) -> Result<Option<Command>, String> {
        let (verb, mut rest) = word(line);
        let command = match verb {
            "" => return Ok(None),
            _ if verb.starts_with('#') => return Ok(None),
            "submit" => Command::Submit(Box::new(submit(&mut rest)?)),
            "cancel" => Command::Cancel(job(&mut rest)),
            "subscribe" => match job(&mut rest) {
                Job::Latest if rest.is_empty() && !line.contains("latest") => {
                    return Err("`subscribe` needs a job: `subscribe JOB [history]`".into());
                }
                job => Command::Subscribe(job, history(&mut rest)?),
            },
            "unsubscribe" => Command::Unsubscribe(job(&mut rest)),
            "list" => list(&mut rest)?,
            "ack" => match take_word(&mut rest) {
                "on" => Command::Ack(true),
                "off" => Command::Ack(false),
                other => return Err(format!("`ack` takes `on` or `off`, not `{other}`")),
            },
            "drop" => Command::Drop,
            "sleep" => Command::Sleep(Duration::from_millis(number("sleep", take_word(&mut rest))?)),
            "wait" => Command::Wait,
            "bye" => {
                let reason = std::mem::take(&mut rest);
                Command::Bye((!reason.is_empty()).then(|| reason.to_owned()))
            }
            other => {
                return Err(format!(
                    "there is no command `{other}`; there are: submit, cancel, subscribe, unsubscribe, list, ack, drop, \
                     sleep, wait, bye"
                ));
            }
        };
        if rest.is_empty() { Ok(Some(command)) } else { Err(format!("`{verb}` has nothing to do with `{rest}`")) }
    }

    /// Whether it does no harm to send it again when nobody knows what became of it.
    pub fn is_repeatable(&self) -> bool {
        match self {
            Command::Submit(submit) => submit.idempotency_key.is_some(),
            _ => true,
        }
    }
}

/// The command without what it is to work on, which may be long.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Submit(submit) => write!(f, "submit {}", submit.agent),
            Command::Cancel(job) => write!(f, "cancel {job}"),
            Command::Subscribe(job, _) => write!(f, "subscribe {job}"),
            Command::Unsubscribe(job) => write!(f, "unsubscribe {job}"),
            Command::List { .. } => f.write_str("list"),
            Command::Ack(true) => f.write_str("ack on"),
            Command::Ack(false) => f.write_str("ack off"),
            Command::Drop => f.write_str("drop"),
            Command::Sleep(_) => f.write_str("sleep"),
            Command::Wait => f.write_str("wait"),
            Command::Bye(_) => f.write_str("bye"),
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Job::Latest => f.write_str("latest"),
            Job::Named(id) => id.fmt(f),
        }
    }
}

/// The first word, and what is behind it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn take_word<'a>(rest: &mut &'a str) -> &'a str {
    let (word, behind) = word(rest);
    *rest = behind;
    word
}

fn number(what: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{what}` takes a whole number, not `{text}`"))
}

fn job(rest: &mut &str) -> Job {
    match take_word(rest) {
        "" | "latest" => Job::Latest,
        id => Job::Named(JobId::from(id)),
    }
}

fn history(rest: &mut &str) -> Result<Option<u64>, String> {
    let text = take_word(rest);
    match text.split_once('=') {
        Some(("history", seq)) => number("history", seq).map(Some),
        None if text == "history" => Ok(Some(0)),
        None if text.is_empty() => Ok(None),
        _ => Err(format!("`subscribe` takes `history` behind the job, not `{text}`")),
    }
}

fn submit(rest: &mut &str) -> Result<JobSubmit, String> {
    let mut submit = JobSubmit::new("", RawJson::empty_object());
    while !rest.is_empty() {
        let (next, behind) = word(rest);
        match next {
            "--key" | "--max-runtime" => {
                *rest = behind;
                let value = take_word(rest);
                match (next, value) {
                    (_, "") => return Err(format!("`{next}` needs a value")),
                    ("--key", key) => submit.idempotency_key = Some(key.into()),
                    (_, seconds) => submit.max_runtime_sec = Some(number(next, seconds)?),
                }
            }
            _ if next.starts_with("--") => {
                return Err(format!("`submit` has no option `{next}`; there are: --key, --max-runtime"));
            }
            agent if submit.agent.is_empty() => {
                submit.agent = agent.into();
                *rest = behind;
            }
            // All the rest, as it stands: there may be blanks in it.
            _ => {
                submit.input = RawJson::from_text(std::mem::take(rest).trim_end())
                    .map_err(|error| format!("the input of `submit` is no JSON: {error}"))?;
            }
        }
    }
    if submit.agent.is_empty() { Err("`submit` needs an agent".into()) } else { Ok(submit) }
}

fn list(rest: &mut &str) -> Result<Command, String> {
    let (mut query, mut all) = (JobQuery::default(), false);
    if rest.starts_with('{') {
        query = query_of_json(std::mem::take(rest))?;
    }
    while !rest.is_empty() {
        let text = take_word(rest);
        let Some((name, value)) = text.split_once('=') else {
            if text != "all" {
                return Err(format!("`list` takes name=value, `all` or one JSON object, not `{text}`"));
            }
            all = true;
            continue;
        };
        let time = || Timestamp::parse(value).map_err(|error| format!("`{text}`: {error}"));
        match name {
            "status" => query.filter.status = value.split(',').map(JobStatus::from).collect(),
            "agent" => query.filter.agent = Some(value.into()),
            "after" => query.filter.created_after = Some(time()?),
            "before" => query.filter.created_before = Some(time()?),
            "limit" => query.limit = Some(number(name, value)?),
            "cursor" => query.cursor = Some(value.into()),
            _ => {
                return Err(format!(
                    "jobs cannot be listed by `{name}`; there are: status, agent, after, before, limit, cursor"
                ));
            }
        }
    }
    Ok(Command::List { query: Box::new(query), all })
}

/// A whole `session.list_jobs`, or its filter alone.
fn query_of_json(text: &str) -> Result<JobQuery, String> {
    const QUERY: [&str; 3] = ["filter", "limit", "cursor"];
    const FILTER: [&str; 4] = ["status", "agent", "created_after", "created_before"];
    let no_json = |error: serde_json::Error| format!("the filter of `list` is not what it should be: {error}");
    let members: BTreeMap<String, serde::de::IgnoredAny> = serde_json::from_str(text).map_err(no_json)?;
    let is_all_of = |known: &[&str]| members.keys().all(|name| known.contains(&name.as_str()));
    if is_all_of(&QUERY) {
        serde_json::from_str(text).map_err(no_json)
    } else if is_all_of(&FILTER) {
        let filter: JobFilter = serde_json::from_str(text).map_err(no_json)?;
        Ok(JobQuery { filter, ..JobQuery::default() })
    } else {
        Err(format!("jobs are listed by {}, or by {}", QUERY.join(", "), FILTER.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Command {
        Command::parse(line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    fn named(id: &str) -> Job {
        Job::Named(JobId::from(id))
    }

    #[test]
    fn a_submit_has_an_agent_options_and_json_as_it_stands() {
        let Command::Submit(plain) = parsed("submit echo") else { panic!() };
        assert_eq!((plain.agent.as_str(), plain.input.text()), ("echo", "{}"));
        let line = r#"  submit --key k-1 demo@2.0.0 --max-runtime 7   { "a b" :  [1.0, "--key x"] }  "#;
        let Command::Submit(full) = parsed(line) else { panic!() };
        assert_eq!(full.agent, "demo@2.0.0");
        assert_eq!(full.input.text(), r#"{ "a b" :  [1.0, "--key x"] }"#);
        assert_eq!((full.idempotency_key.as_deref(), full.max_runtime_sec), (Some("k-1"), Some(7)));
        assert!(!parsed("submit echo 1").is_repeatable() && parsed("submit --key k echo 1").is_repeatable());
    }

    #[test]
    fn jobs_are_named_or_the_latest() {
        assert_eq!(parsed("cancel"), Command::Cancel(Job::Latest));
        assert_eq!(parsed("cancel job_1"), Command::Cancel(named("job_1")));
        assert_eq!(parsed("subscribe job_1"), Command::Subscribe(named("job_1"), None));
        assert_eq!(parsed("subscribe job_1 history"), Command::Subscribe(named("job_1"), Some(0)));
        assert_eq!(parsed("subscribe latest history=12"), Command::Subscribe(Job::Latest, Some(12)));
        assert_eq!(parsed("unsubscribe job_1"), Command::Unsubscribe(named("job_1")));
    }

    #[test]
    fn jobs_are_listed_by_words_or_by_json() {
        let Command::List { query, all } = parsed(
            "list status=running,pending agent=echo after=2026-05-13T19:42:13Z before=2026-05-14T00:00:00Z limit=2 cursor=a=b all",
        ) else {
            panic!()
        };
        assert!(all);
        let json = r#"{"filter":{"status":["running","pending"],"agent":"echo","created_after":"2026-05-13T19:42:13.000Z","created_before":"2026-05-14T00:00:00.000Z"},"limit":2,"cursor":"a=b"}"#;
        assert_eq!(serde_json::to_string(&query).unwrap(), json);
        assert_eq!(parsed(&format!("list {json}")), Command::List { query, all: false });
        let filter = Box::new(JobQuery::default().with_agent("echo"));
        assert_eq!(parsed(r#"list {"agent": "echo"}"#), Command::List { query: filter, all: false });
        assert_eq!(parsed("list"), Command::List { query: Box::default(), all: false });
    }

    #[test]
    fn the_small_ones() {
        assert_eq!(parsed("ack off"), Command::Ack(false));
        assert_eq!(parsed("ack on"), Command::Ack(true));
        assert_eq!(parsed("drop"), Command::Drop);
        assert_eq!(parsed("sleep 250"), Command::Sleep(Duration::from_millis(250)));
        assert_eq!(parsed("\twait\r\n"), Command::Wait);
        assert_eq!(parsed("bye"), Command::Bye(None));
        assert_eq!(parsed("bye for  now"), Command::Bye(Some("for  now".into())));
    }

    #[test]
    fn comments_and_blank_lines_are_nothing_to_do() {
        for line in ["", "   ", "# submit echo", "  #bye"] {
            assert_eq!(Command::parse_line(line), Ok(None), "{line:?}");
            assert!(Command::parse(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        for (line, why) in [
            ("sumbit echo", "no command `sumbit`"),
            ("submit", "needs an agent"),
            ("submit --key", "`--key` needs a value"),
            ("submit echo --kye k 1", "no option `--kye`"),
            ("submit echo --max-runtime soon", "takes a whole number"),
            ("submit echo {", "no JSON"),
            ("submit echo {} {}", "no JSON"),
            ("cancel job_1 job_2", "nothing to do with `job_2`"),
            ("subscribe", "needs a job"),
            ("subscribe job_1 histroy", "not `histroy`"),
            ("subscribe job_1 history=x", "takes a whole number"),
            ("list agnet=echo", "by `agnet`"),
            ("list limit=-1", "takes a whole number"),
            ("list after=noon", "after=noon"),
            ("list everything", "not `everything`"),
            (r#"list {"agnet":"echo"}"#, "jobs are listed by"),
            (r#"list {"limit":"many"}"#, "not what it should be"),
            ("ack", "`on` or `off`"),
            ("ack maybe", "`on` or `off`"),
            ("sleep", "takes a whole number"),
            ("drop it", "nothing to do with `it`"),
        ] {
            let error = Command::parse_line(line).expect_err(line);
            assert!(error.contains(why), "{line:?}: {error}");
        }
    }
}
