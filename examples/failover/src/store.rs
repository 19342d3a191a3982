//! What outlives a process: sessions, their events and their jobs, in Redis.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `arcp:session:{ID}` | hash | `generation`, `principal`, `state` (JSON), `tokens` (the digests it is found by) |
//! | `arcp:session:{ID}:events` | sorted set | the frames, by seq |
//! | `arcp:session:{ID}:jobs` | hash | job id → its state (JSON) |
//! | `arcp:session:{ID}:progress` | hash | job id → the application's own progress (JSON) |
//! | `arcp:token:DIGEST` | string | the session's id |
//!
//! All of it goes when nothing was written for [`TIME_TO_LIVE`]. A cluster would need the token keys by themselves: they lie
//! in another slot than their session.

use std::time::Duration;

use arcp_proto::endpoint::{Adoption, Change, JobState, SessionState};
use arcp_proto::wire::{JobId, Principal};
use bytes::Bytes;
use redis::{Client, Connection, Script, ScriptInvocation};

use crate::counter::Counter;

/// Longer than any session can be resumed: the resume window, and the retention behind it.
const TIME_TO_LIVE: Duration = Duration::from_secs(25 * 60 * 60);

/// A store that does not answer for so long is lost; whoever asked tries again.
const PATIENCE: Duration = Duration::from_secs(2);

const SESSION: &str = "arcp:session:";
const TOKEN: &str = "arcp:token:";

/// Writes a change: all of it, or nothing where the session has another generation. What is written twice, because the
/// answer to the first time was lost, stands once.
const WRITE: &str = r"
local session, events, jobs, progress = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local at = 0
local function take() at = at + 1; return ARGV[at] end
local function list() local of = {}; for i = 1, tonumber(take()) do of[i] = take() end; return of end

local generation, is_new, is_over, ttl = take(), take() == '1', take() == '1', take()
local found = redis.call('HGET', session, 'generation')
if found ~= generation and not (not found and is_new) then return 0 end

local tokens = redis.call('HGET', session, 'tokens') or ''
if is_over then
    for token in string.gmatch(tokens, '%S+') do redis.call('DEL', token) end
    redis.call('DEL', session, events, jobs, progress)
    -- It keeps out whoever had the session before and does not know yet.
    redis.call('HSET', session, 'generation', generation)
    redis.call('EXPIRE', session, ttl)
    return 1
end

local principal, floor, state, new_tokens = take(), take(), take(), take()
if state ~= '' then
    for token in string.gmatch(tokens, '%S+') do redis.call('DEL', token) end
    redis.call('HSET', session, 'generation', generation, 'principal', principal, 'state', state, 'tokens', new_tokens)
    tokens = new_tokens
end
local frames = list()
for i = 1, #frames, 2 do redis.call('ZADD', events, frames[i], frames[i + 1]) end
redis.call('ZREMRANGEBYSCORE', events, '-inf', floor)
local states = list()
for i = 1, #states, 2 do redis.call('HSET', jobs, states[i], states[i + 1]) end
local steps = list()
for i = 1, #steps, 2 do redis.call('HSET', progress, steps[i], steps[i + 1]) end
for _, job in ipairs(list()) do redis.call('HDEL', jobs, job); redis.call('HDEL', progress, job) end

local id = string.match(session, '{(.*)}')
for token in string.gmatch(tokens, '%S+') do redis.call('SET', token, id, 'EX', ttl) end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ttl) end
return 1
";

/// Finds a session by a token's digest, raises its generation, and gives all of it. In one step: of two that ask for the
/// same session each gets another generation, and only the higher one can write from then on.
const TAKE_OVER: &str = r"
local id = redis.call('GET', KEYS[1])
if not id then return false end
local session = ARGV[1] .. '{' .. id .. '}'
local state = redis.call('HGET', session, 'state')
if not state or redis.call('HGET', session, 'principal') ~= ARGV[2] then return false end
return {
    redis.call('HINCRBY', session, 'generation', 1),
    state,
    redis.call('ZRANGE', session .. ':events', 0, -1, 'WITHSCORES'),
    redis.call('HVALS', session .. ':jobs'),
    redis.call('HGETALL', session .. ':progress'),
}
";

/// As [`TAKE_OVER`] gives it.
type Found = (u64, Vec<u8>, Vec<(Vec<u8>, u64)>, Vec<Vec<u8>>, Vec<(String, Vec<u8>)>);

/// Why the store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or says that something is wrong. Whether it did what it was asked for is not known.
    #[error("the store: {0}")]
    Redis(#[from] redis::RedisError),
    /// What it has was not written by us.
    #[error("the store holds something else: {0}")]
    Json(#[from] serde_json::Error),
}

/// A change, and how far the jobs in it have come: written together, so that neither is ever without the other.
#[derive(Debug)]
pub struct Step {
    /// What the endpoint has to be stored.
    pub change: Change,
    /// What the application has.
    pub progress: Vec<(JobId, Counter)>,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is stored.
    Stored,
    /// The session lives elsewhere.
    Fenced,
}

/// A session that was taken over.
#[derive(Debug)]
pub struct TakenOver {
    /// For the endpoint.
    pub adoption: Adoption,
    /// For the application.
    pub progress: Vec<(JobId, Counter)>,
}

/// The sessions of all processes, in Redis.
pub struct Store {
    scripts: Scripts,
    link: Link,
}

struct Scripts {
    write: Script,
    take_over: Script,
}

/// A connection, made anew when it is lost.
struct Link {
    client: Client,
    connection: Option<Connection>,
}

impl Store {
    /// The store at that address; it is connected to when it is needed.
    pub fn new(url: &str) -> Result<Store, StoreError> {
        let scripts = Scripts { write: Script::new(WRITE), take_over: Script::new(TAKE_OVER) };
        Ok(Store { scripts, link: Link { client: Client::open(url)?, connection: None } })
    }

    /// Writes all steps, in this order, in one round trip. Each is written as a whole or not at all.
    ///
    /// After an error it is not known which of them are written: all of them have to be written again.
    pub fn write(&mut self, steps: &[Step]) -> Result<Vec<Written>, StoreError> {
        let mut pipeline = redis::pipe();
        for step in steps {
            pipeline.invoke_script(&self.scripts.writing(step)?);
        }
        let written: Vec<u8> = self.link.ask(&self.scripts, |connection| pipeline.query(connection))?;
        Ok(written.into_iter().map(|written| if written == 1 { Written::Stored } else { Written::Fenced }).collect())
    }

    /// Takes the session over that a token of `principal` resumes, if there is one: from here on whoever had it before cannot
    /// write.
    pub fn take_over(&mut self, digest: &[u8; 32], principal: &Principal) -> Result<Option<TakenOver>, StoreError> {
        let mut asking = self.scripts.take_over.key(token_key(digest));
        asking.arg(SESSION).arg(principal.as_str());
        let found: Option<Found> = self.link.ask(&self.scripts, |connection| asking.invoke(connection))?;
        let Some((generation, state, events, jobs, progress)) = found else { return Ok(None) };
        let adoption = Adoption {
            generation,
            state: serde_json::from_slice::<SessionState>(&state)?,
            events: events.into_iter().map(|(frame, seq)| (seq, Bytes::from(frame))).collect(),
            jobs: jobs.iter().map(|job| serde_json::from_slice::<JobState>(job)).collect::<Result<_, _>>()?,
        };
        let counter = |(job, counter): (String, Vec<u8>)| Ok((job.into(), serde_json::from_slice(&counter)?));
        let progress = progress.into_iter().map(counter).collect::<Result<_, StoreError>>()?;
        Ok(Some(TakenOver { adoption, progress }))
    }
}

impl Scripts {
    fn writing(&self, step: &Step) -> Result<ScriptInvocation<'_>, StoreError> {
        let Step { change, progress } = step;
        let session = format!("{SESSION}{{{}}}", change.session);
        let mut writing = self.write.key(&session);
        for part in ["events", "jobs", "progress"] {
            writing.key(format!("{session}:{part}"));
        }
        writing.arg(change.generation).arg(u8::from(change.is_new)).arg(u8::from(change.is_over));
        writing.arg(TIME_TO_LIVE.as_secs());
        match &change.state {
            Some(state) => {
                let tokens: Vec<_> = state.token_digests().map(|digest| token_key(&digest)).collect();
                writing.arg(state.session().principal().as_str()).arg(change.floor);
                writing.arg(serde_json::to_vec(state)?).arg(tokens.join(" "));
            }
            None => {
                writing.arg("").arg(change.floor).arg("").arg("");
            }
        }
        writing.arg(2 * change.events.len());
        for (seq, frame) in &change.events {
            writing.arg(*seq).arg(&frame[..]);
        }
        writing.arg(2 * change.jobs.len());
        for job in &change.jobs {
            writing.arg(job.record.job_id.as_str()).arg(serde_json::to_vec(job)?);
        }
        writing.arg(2 * progress.len());
        for (job, counter) in progress {
            writing.arg(job.as_str()).arg(serde_json::to_vec(counter)?);
        }
        writing.arg(change.forgotten_jobs.len());
        for job in &change.forgotten_jobs {
            writing.arg(job.as_str());
        }
        Ok(writing)
    }
}

impl Link {
    /// A connection that had an error is not used again: answers may be left in it.
    fn ask<T>(
        &mut self,
        scripts: &Scripts,
        ask: impl FnOnce(&mut Connection) -> redis::RedisResult<T>,
    ) -> Result<T, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect(scripts)?,
        };
        let answer = ask(&mut connection)?;
        self.connection = Some(connection);
        Ok(answer)
    }

    fn connect(&self, scripts: &Scripts) -> Result<Connection, StoreError> {
        let mut connection = self.client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        for script in [&scripts.write, &scripts.take_over] {
            script.prepare_invoke().load(&mut connection)?;
        }
        Ok(connection)
    }
}

fn token_key(digest: &[u8; 32]) -> String {
    let mut key = String::from(TOKEN);
    for byte in digest {
        key.push_str(&format!("{byte:02x}"));
    }
    key
}
