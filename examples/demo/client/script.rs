//! Where commands come from.

use std::collections::VecDeque;
use std::io::{self, Read};

use arcp_proto::framing::LineDecoder;
use bytes::Bytes;

use super::command::Command;

/// What the standard input gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A line.
    Line(String),
    /// Something that is none.
    Garbage(String),
    /// There are no more.
    End,
}

/// Reads lines from the standard input until `take` wants no more. `take` may block: nothing more is read meanwhile.
///
/// For a thread of its own, which nobody waits for: reading a terminal cannot be called off.
pub fn read_stdin(mut take: impl FnMut(Input) -> bool) {
    let mut decoder = LineDecoder::default();
    let mut chunk = [0; 4 << 10];
    loop {
        let read = io::stdin().read(&mut chunk).unwrap_or(0);
        decoder.push(Bytes::copy_from_slice(chunk.get(..read).unwrap_or_default()));
        loop {
            let line = if read == 0 { decoder.finish() } else { decoder.next_line() };
            let input = match line {
                Some(Ok(line)) => match String::from_utf8(line.to_vec()) {
                    Ok(line) => Input::Line(line),
                    Err(_) => Input::Garbage("the line is no UTF-8".into()),
                },
                Some(Err(too_long)) => Input::Garbage(too_long.to_string()),
                None => break,
            };
            if !take(input) {
                return;
            }
        }
        if read == 0 {
            take(Input::End);
            return;
        }
    }
}

/// The commands to come.
pub struct Script {
    commands: VecDeque<Command>,
    /// More may follow.
    is_open: bool,
}

impl Script {
    /// These commands; without any, those that will be [added](Script::push).
    pub fn new(commands: Vec<Command>) -> Script {
        Script { is_open: commands.is_empty(), commands: commands.into() }
    }

    pub fn pop(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    pub fn push(&mut self, command: Command) {
        self.commands.push_back(command);
    }

    /// No more are added.
    pub fn close(&mut self) {
        self.is_open = false;
    }

    /// Nothing of it is carried out any more.
    pub fn abandon(&mut self) {
        self.commands.clear();
        self.is_open = false;
    }

    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Whether a line is wanted now: one at a time, so that a long script is not read before it is needed.
    pub fn wants_line(&self) -> bool {
        self.is_open && self.commands.is_empty()
    }

    pub fn is_over(&self) -> bool {
        !self.is_open && self.commands.is_empty()
    }
}
