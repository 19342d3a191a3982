//! The program under test, and a WebSocket client that can do what a proper one does not.
#![allow(dead_code, reason = "a module of several tests, which need different parts of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// Nothing here takes so long.
pub const LONG: Duration = Duration::from_secs(30);

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_arcp-websocket"))
}

/// A runtime in a process of its own, which does not outlive this.
pub struct Runtime {
    child: Child,
    pub port: u16,
}

impl Runtime {
    pub fn start(options: &[&str]) -> Runtime {
        let mut command = program();
        command.args(["runtime", "--listen", "127.0.0.1:0", "--until-eof"]).args(options);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["ev"], "ready");
        Runtime { child, port: ready["port"].as_u64().unwrap().try_into().unwrap() }
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/arcp", self.port)
    }

    /// Closes its standard input, which ends it.
    pub fn stop(&mut self) {
        drop(self.child.stdin.take());
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client to its end: its exit code, and what it told.
pub fn client(arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut command = program();
    let Output { status, stdout, stderr } =
        command.arg("client").args(arguments).stdin(Stdio::null()).output().unwrap();
    let lines = String::from_utf8(stdout).unwrap();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!events.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    (status.code(), events)
}

/// A client, byte by byte.
pub struct Peer {
    stream: BufReader<TcpStream>,
}

impl Peer {
    /// A connection on which nothing was said.
    pub fn connect(runtime: &Runtime) -> Peer {
        let stream = TcpStream::connect(("127.0.0.1", runtime.port)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Peer { stream: BufReader::new(stream) }
    }

    /// A WebSocket.
    pub fn open(runtime: &Runtime) -> Peer {
        let mut peer = Peer::connect(runtime);
        assert_eq!(peer.upgrade("/arcp"), "HTTP/1.1 101 Switching Protocols");
        peer
    }

    /// A WebSocket with a session; the welcome comes with it.
    pub fn welcomed(runtime: &Runtime, hello: &Value) -> (Peer, Value) {
        let mut peer = Peer::open(runtime);
        peer.say(hello);
        let welcome = peer.hear();
        assert_eq!(welcome["type"], "session.welcome", "{welcome}");
        (peer, welcome)
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Asks for a WebSocket at this path; the first line of the answer.
    pub fn upgrade(&mut self, path: &str) -> String {
        self.write(
            format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            .as_bytes(),
        );
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            assert!(self.stream.read_line(&mut answer).unwrap() > 0, "{answer}");
        }
        answer.lines().next().unwrap().to_owned()
    }

    /// Sends a frame; of its payload only so much, if it is said to be longer.
    pub fn frame(&mut self, opcode: u8, is_last: bool, length: usize, payload: &[u8]) {
        let mut bytes = vec![opcode | u8::from(is_last) << 7];
        match length {
            0..126 => bytes.push(0x80 | length as u8),
            126..0x1_0000 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let mask = [0x12, 0x34, 0x56, 0x78];
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.write(&bytes);
    }

    pub fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.frame(opcode, true, payload.len(), payload);
    }

    pub fn say(&mut self, envelope: &Value) {
        self.send(TEXT, envelope.to_string().as_bytes());
    }

    /// The next frame; `None` at the end.
    pub fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        if self.stream.read(&mut head[..1]).unwrap() == 0 {
            return None;
        }
        self.stream.read_exact(&mut head[1..]).unwrap();
        assert_eq!(head[0] & 0xf0, 0x80, "a whole frame");
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.bytes())),
            127 => u64::from_be_bytes(self.bytes()),
            length => length.into(),
        };
        assert!(length < 1 << 20);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).unwrap();
        Some((head[0] & 0xf, payload))
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next envelope, which must be the next frame.
    pub fn hear(&mut self) -> Value {
        let (opcode, payload) = self.receive().expect("an envelope");
        assert_eq!(opcode, TEXT, "{payload:?}");
        serde_json::from_slice(&payload).unwrap()
    }

    /// The code by which the connection is closed, which must be what comes next, and the last.
    pub fn closed(&mut self) -> u16 {
        let (opcode, payload) = self.receive().expect("a close frame");
        assert_eq!(opcode, CLOSE, "{}", String::from_utf8_lossy(&payload));
        self.frame(CLOSE, true, 2, &payload[..2]);
        assert_eq!(self.receive(), None);
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// What still comes is thrown away, and must end.
    pub fn expect_end(&mut self) {
        // A reset is as much of an end.
        let _ = self.stream.read_to_end(&mut Vec::new()).map_err(|error| {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        });
    }
}

pub fn hello(features: &[&str]) -> Value {
    json!({"arcp": "1.1", "id": "msg_hello", "type": "session.hello", "payload": {
        "client": {"name": "test", "version": "1.0.0"},
        "auth": {"scheme": "bearer", "token": "test"},
        "capabilities": {"encodings": ["json"], "features": features},
    }})
}

/// The hello that resumes the session of this welcome.
pub fn resume(welcome: &Value, last_event_seq: u64) -> Value {
    let mut hello = hello(&[]);
    hello["payload"]["resume"] = json!({
        "session_id": welcome["session_id"],
        "resume_token": welcome["payload"]["resume_token"],
        "last_event_seq": last_event_seq,
    });
    hello
}

pub fn submit(agent: &str, input: &Value) -> Value {
    json!({"arcp": "1.1", "id": "msg_submit", "type": "job.submit", "payload": {"agent": agent, "input": input}})
}
