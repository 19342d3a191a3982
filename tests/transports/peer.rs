//! A client made by hand, of frames that need not be good ones.

use std::fmt;

use serde_json::{Value, json};

use crate::deadline::Deadline;
use crate::transport::{Received, Transport};

pub(crate) struct Peer<T: ?Sized = dyn Transport> {
    heard: Vec<Value>,
    said: u32,
    /// What the last welcome said.
    pub(crate) welcome: Value,
    pub(crate) link: Box<T>,
}

impl<T: Transport + ?Sized> Peer<T> {
    /// On a transport, of which nothing has been said yet.
    pub(crate) fn new(link: Box<T>) -> Peer<T> {
        Peer { heard: Vec::new(), said: 0, welcome: Value::Null, link }
    }

    /// One who has its welcome.
    pub(crate) fn welcomed(link: Box<T>, token: &str, features: &[&str]) -> Peer<T> {
        let mut peer = Peer::new(link);
        peer.say("session.hello", hello(token, features));
        peer.welcome = peer.hear_next();
        assert_eq!(peer.welcome["type"], "session.welcome", "{peer}");
        peer
    }

    /// One who goes on where `other` was, behind this event.
    pub(crate) fn resumed<O: Transport + ?Sized>(
        link: Box<T>,
        other: &Peer<O>,
        token: &str,
        features: &[&str],
        last_seq: u64,
    ) -> Peer<T> {
        let mut peer = Peer::new(link);
        peer.say("session.hello", other.hello_again(token, features, last_seq));
        peer.welcome = peer.hear_next();
        assert_eq!(peer.welcome["type"], "session.welcome", "{peer}");
        assert_eq!(peer.welcome["session_id"], other.welcome["session_id"]);
        peer
    }

    /// The payload of a hello that resumes this one's session.
    pub(crate) fn hello_again(&self, token: &str, features: &[&str], last_seq: u64) -> Value {
        let mut hello = hello(token, features);
        let resume_token = &self.welcome["payload"]["resume_token"];
        hello["resume"] = json!({
            "session_id": self.welcome["session_id"],
            "resume_token": resume_token,
            "last_event_seq": last_seq,
        });
        hello["resume_token"] = resume_token.clone();
        hello["last_event_seq"] = json!(last_seq);
        hello
    }

    /// Says something of this type; tells the message's id.
    pub(crate) fn say(&mut self, message_type: &str, payload: Value) -> String {
        self.said += 1;
        let id = format!("msg_{}", self.said);
        let mut message = json!({"arcp": "1.1", "id": id, "type": message_type});
        if let Some(session_id) = self.welcome.get("session_id") {
            message["session_id"] = session_id.clone();
        }
        if let Some(job_id) = payload.get("job_id") {
            message["job_id"] = job_id.clone();
        }
        message["payload"] = payload;
        self.say_text(&message.to_string());
        id
    }

    pub(crate) fn say_text(&mut self, text: &str) {
        self.link.send(text.as_bytes()).unwrap_or_else(|error| panic!("{error}; {self}"));
    }

    /// Asks for a job, and has it accepted.
    pub(crate) fn submit(&mut self, agent: &str, input: Value) -> String {
        let id = self.say("job.submit", json!({"agent": agent, "input": input}));
        let answer = self.hear_answer(&id);
        assert_eq!(answer["type"], "job.accepted", "{self}");
        answer["job_id"].as_str().expect("a job id").to_owned()
    }

    /// The next message.
    pub(crate) fn hear_next(&mut self) -> Value {
        self.hear("a message", |_| true)
    }

    /// The next message of this type; those before it are passed over.
    pub(crate) fn hear_type(&mut self, message_type: &str) -> Value {
        self.hear(message_type, |message| message["type"] == message_type)
    }

    /// The answer to a message of ours.
    pub(crate) fn hear_answer(&mut self, id: &str) -> Value {
        self.hear(&format!("an answer to {id}"), |message| message["payload"]["request_id"] == id)
    }

    /// The next message that is wanted; those before it are passed over.
    pub(crate) fn hear(&mut self, what: &str, mut is_wanted: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Deadline::new();
        loop {
            match self.listen(&deadline) {
                Received::Message(_) => {
                    let message = self.heard.last().expect("it was just heard");
                    if is_wanted(message) {
                        return message.clone();
                    }
                }
                Received::Part | Received::Nothing => assert!(!deadline.is_over(), "no {what}; {self}"),
                Received::End(code) => panic!("the end ({code:?}) before {what}; {self}"),
            }
        }
    }

    /// All messages up to the transport's end, which the other side makes, and its code.
    pub(crate) fn end(&mut self) -> (Vec<Value>, Option<u16>) {
        let (deadline, from) = (Deadline::new(), self.heard.len());
        loop {
            match self.listen(&deadline) {
                Received::End(code) => return (self.heard[from..].to_vec(), code),
                _ => assert!(!deadline.is_over(), "no end; {self}"),
            }
        }
    }

    fn listen(&mut self, deadline: &Deadline) -> Received {
        let received = self.link.receive(deadline.left());
        if let Received::Message(message) = &received {
            let message = serde_json::from_slice(message).expect("a message is JSON");
            self.heard.push(message);
        }
        received
    }
}

/// The last that was heard, for whoever waited in vain.
impl<T: ?Sized> fmt::Display for Peer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.heard.len().saturating_sub(20);
        write!(f, "heard {}, last: {:#?}", self.heard.len(), &self.heard[last..])
    }
}

/// The payload of a hello.
pub(crate) fn hello(token: &str, features: &[&str]) -> Value {
    json!({
        "client": {"name": "by-hand", "version": "1.0.0"},
        "auth": {"scheme": "bearer", "token": token},
        "capabilities": {"encodings": ["json"], "features": features},
    })
}
