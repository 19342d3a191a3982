//! `streamer`: a result in chunks (§8.4).

use arcp_proto::endpoint::PublishError;
use arcp_proto::wire::job_event::{ChunkEncoding, ResultChunk, kind};
use arcp_proto::wire::{JobResult, WireError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Agent, Begin, Desk, Step, unfit};

const MOST_CHUNKS: u64 = 1_000_000;
const MOST_SIZE: usize = 512 << 10;

/// One to four bytes a character, so that a cut at any byte would show.
const TEXT: &str = "chunk – кусок – 欠片 – 🧩 – ";

#[derive(Deserialize)]
#[serde(default)]
pub struct Input {
    chunks: u64,
    size: usize,
    encoding: ChunkEncoding,
}

impl Default for Input {
    fn default() -> Input {
        Input { chunks: 4, size: 1_024, encoding: ChunkEncoding::Utf8 }
    }
}

pub struct Streamer {
    input: Input,
    sent: u64,
    /// Where the next chunk begins: a byte of the result, and a character of the text that goes round in it.
    at: Place,
}

#[derive(Clone, Copy, Default)]
struct Place {
    byte: u64,
    character: usize,
}

impl Begin for Streamer {
    type Input = Input;

    fn begin(input: Input) -> Result<Streamer, WireError> {
        if !(1..=MOST_CHUNKS).contains(&input.chunks) {
            return Err(unfit(format!("`chunks` is from 1 to {MOST_CHUNKS}")));
        }
        // A chunk holds at least one character.
        if !(4..=MOST_SIZE).contains(&input.size) {
            return Err(unfit(format!("`size` is from 4 to {MOST_SIZE}")));
        }
        Ok(Streamer { input, sent: 0, at: Place::default() })
    }
}

impl Streamer {
    const RESULT_ID: &str = "res_1";

    /// The next chunk's data, and where the one after it begins.
    fn chunk(&self) -> (String, Place) {
        match self.input.encoding {
            ChunkEncoding::Utf8 => {
                let mut data = String::with_capacity(self.input.size);
                let mut characters = TEXT.chars().cycle().skip(self.at.character);
                while let Some(next) = characters.next().filter(|next| data.len() + next.len_utf8() <= self.input.size)
                {
                    data.push(next);
                }
                let character = (self.at.character + data.chars().count()) % TEXT.chars().count();
                let byte = self.at.byte + data.len() as u64;
                (data, Place { byte, character })
            }
            ChunkEncoding::Base64 => {
                let end = self.at.byte + self.input.size as u64;
                let bytes: Vec<u8> = (self.at.byte..end).map(|byte| (byte % 251) as u8).collect();
                (STANDARD.encode(bytes), Place { byte: end, ..self.at })
            }
        }
    }
}

impl Agent for Streamer {
    fn step(&mut self, desk: &mut Desk<'_>) -> Result<Step, PublishError> {
        if self.sent == self.input.chunks {
            desk.finish(JobResult::streamed(Self::RESULT_ID.into(), self.at.byte))?;
            return Ok(Step::Done);
        }
        let (data, next) = self.chunk();
        let chunk = ResultChunk {
            result_id: Self::RESULT_ID.to_owned(),
            chunk_seq: self.sent,
            data,
            encoding: self.input.encoding,
            more: self.sent + 1 < self.input.chunks,
        };
        desk.event(kind::RESULT_CHUNK, &chunk)?;
        (self.sent, self.at) = (self.sent + 1, next);
        Ok(Step::Next)
    }
}
