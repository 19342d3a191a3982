//! What is encoded decodes to the same, member for member, and on one line; an event that a session writes by its own short
//! way is the one that the long way gives.

use std::sync::{Arc, LazyLock};

use arbitrary::{Result, Unstructured};
use arcp_proto::wire::job_event::kind;
use arcp_proto::wire::{
    Ack, Bye, Envelope, Header, JobCancel, JobCancelled, JobEvent, JobId, JobSubscribe, JobUnsubscribe, Jobs,
    MessageType, PeerInfo, Ping, Pong, Principal, Resume, ResumeToken, SEQ_LIMIT, SessionId, TraceId, encode,
};
use arcp_proto::{FeatureSet, Grant, Instant, Limits, Now, Opening, Runtime, RuntimeConfig, SendError, Session};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::messages::Source;

/// What the header of a frame says, apart from its type.
struct Said {
    id: String,
    session_id: Option<String>,
    trace_id: Option<TraceId>,
    job: JobId,
    event_seq: Option<u64>,
}

impl Said {
    fn of(source: &mut Source<'_>) -> Result<Said> {
        Ok(Said {
            id: source.id()?,
            session_id: source.maybe(Source::id)?,
            trace_id: source.maybe(Source::trace)?,
            job: source.job()?,
            event_seq: source.maybe(|source| Ok(source.number(SEQ_LIMIT - 1)?.max(1)))?,
        })
    }

    fn header(&self, message: MessageType) -> Header<'_> {
        Header {
            id: &self.id,
            message,
            session_id: self.session_id.as_deref(),
            trace_id: self.trace_id,
            job_id: message.is_of_job().then(|| self.job.as_str()),
            event_seq: self.event_seq,
        }
    }
}

/// The frame as JSON reads it is what the payload is as JSON.
fn check_text(frame: &[u8], payload: &impl Serialize) {
    assert!(!frame.iter().any(|byte| *byte < b' '), "a line end in {}", frame.escape_ascii());
    let text = std::str::from_utf8(frame).expect("a frame is text");
    assert!(!text.contains(['\u{2028}', '\u{2029}']), "a line end in {text}");
    let frame: Value = serde_json::from_str(text).expect("a frame is JSON");
    assert_eq!(frame["payload"], serde_json::to_value(payload).expect("it was written"));
}

fn decoded(said: &Said, message: MessageType, payload: &impl Serialize) -> Envelope {
    let frame = encode(&said.header(message), payload).expect("all of it can be written");
    check_text(&frame, payload);
    let envelope =
        Envelope::decode(frame.clone()).unwrap_or_else(|fault| panic!("{fault:?}: {}", frame.escape_ascii()));
    assert_eq!(envelope.id().as_deref(), Some(said.id.as_str()));
    assert_eq!(envelope.message_type(), Some(message));
    assert_eq!(envelope.session_id().as_deref(), said.session_id.as_deref());
    assert_eq!(envelope.trace_id(), said.trace_id);
    assert_eq!(envelope.event_seq(), said.event_seq);
    if message.is_of_job() {
        assert_eq!(envelope.job_id().as_deref(), Some(said.job.as_str()));
    }
    envelope
}

fn read_like<'a, P: Deserialize<'a>>(_: &P, envelope: &'a Envelope) -> P {
    envelope.payload().expect("it is as it was written")
}

/// The same comes back, as a value, and as text.
macro_rules! same {
    ($source:expr, $said:expr, $message:ident, $payload:expr) => {{
        let payload = $payload;
        let envelope = decoded($said, MessageType::$message, &payload);
        let read = read_like(&payload, &envelope);
        if $source.is_plain {
            assert_eq!(read, payload);
        }
        let again = encode(&$said.header(MessageType::$message), &read).expect("it was written before");
        assert_eq!(again, *envelope.frame(), "written again");
    }};
}

fn message(source: &mut Source<'_>) -> Result<()> {
    let said = &Said::of(source)?;
    let job = || Some(said.job.clone());
    match *source.bytes.choose(MessageType::ALL)? {
        MessageType::SessionHello => same!(source, said, SessionHello, source.hello()?),
        MessageType::SessionWelcome => same!(source, said, SessionWelcome, source.welcome()?),
        MessageType::SessionResume => {
            let hello = source.hello()?;
            let resume = Resume {
                resume_token: hello.resume_token,
                last_event_seq: hello.last_event_seq,
                auth: hello.auth,
                client: hello.client,
                capabilities: hello.capabilities,
            };
            same!(source, said, SessionResume, resume);
        }
        MessageType::SessionPing => {
            same!(source, said, SessionPing, Ping { nonce: source.cow()?, sent_at: source.cow()? });
        }
        MessageType::SessionPong => {
            same!(source, said, SessionPong, Pong { ping_nonce: source.cow()?, received_at: source.cow()? });
        }
        MessageType::SessionAck => {
            same!(source, said, SessionAck, Ack { last_processed_seq: source.number(u64::MAX)? });
        }
        MessageType::SessionListJobs => same!(source, said, SessionListJobs, source.query()?),
        MessageType::SessionJobs => {
            let jobs = Jobs {
                request_id: source.maybe(Source::text)?,
                reply_to: source.maybe(Source::text)?,
                jobs: source.some(Source::entry)?,
                next_cursor: source.maybe(Source::text)?,
            };
            same!(source, said, SessionJobs, jobs);
        }
        MessageType::SessionError => same!(source, said, SessionError, source.error()?),
        MessageType::SessionBye => same!(source, said, SessionBye, Bye { reason: source.maybe(Source::text)? }),
        MessageType::SessionClose => same!(source, said, SessionClose, Bye::because(&source.text()?)),
        MessageType::SessionClosed => same!(source, said, SessionClosed, Bye::because(&source.text()?)),
        MessageType::JobSubmit => same!(source, said, JobSubmit, source.submit()?),
        MessageType::JobAccepted => same!(source, said, JobAccepted, source.accepted(said.job.clone())?),
        MessageType::JobEvent => {
            let ts = source.maybe(Source::time)?;
            let event = JobEvent { kind: source.text()?.into(), ts, body: source.raw_object()? };
            same!(source, said, JobEvent, event);
        }
        MessageType::JobResult => same!(source, said, JobResult, source.result()?),
        MessageType::JobError => same!(source, said, JobError, source.job_error()?),
        MessageType::JobCancel => {
            same!(source, said, JobCancel, JobCancel { job_id: job(), reason: source.maybe(Source::text)? });
        }
        MessageType::JobCancelled => {
            let cancelled = JobCancelled {
                request_id: source.maybe(Source::text)?,
                reply_to: source.maybe(Source::text)?,
                job_id: job(),
                reason: source.maybe(Source::text)?,
            };
            same!(source, said, JobCancelled, cancelled);
        }
        MessageType::JobSubscribe => {
            let from_event_seq = source.maybe(|source| source.number(u64::MAX))?;
            let history = source.maybe(Source::flag)?;
            same!(source, said, JobSubscribe, JobSubscribe { job_id: job(), from_event_seq, history });
        }
        MessageType::JobSubscribed => same!(source, said, JobSubscribed, source.subscribed(said.job.clone())?),
        MessageType::JobUnsubscribe => same!(source, said, JobUnsubscribe, JobUnsubscribe { job_id: job() }),
        other => panic!("{other} is not looked at"),
    }
    Ok(())
}

static SESSION: LazyLock<Session<Runtime>> = LazyLock::new(|| {
    let names: Vec<String> = FeatureSet::all().iter().map(|feature| format!("{:?}", feature.name())).collect();
    let payload =
        format!(r#"{{"auth":{{"scheme":"bearer","token":"t"}},"capabilities":{{"features":[{}]}}}}"#, names.join(","));
    let hello = format!(r#"{{"type":"session.hello","payload":{payload}}}"#);
    let Ok(Opening::Hello(hello)) = Opening::parse(hello.into(), &Limits::default()) else { panic!("a good hello") };
    let grant = Grant {
        principal: Principal::from("alice"),
        session_id: SessionId::from("sess_1"),
        resume_token: ResumeToken::new("rt_1"),
        agents: Arc::from([]),
    };
    let config = RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0"));
    let mut session = hello.accept(Now::default(), Arc::new(config), grant);
    while session.poll_transmit(Now::default()).is_some() {}
    session
});

/// Some events of some jobs, one behind the other: an event begins as the one before did.
fn events(source: &mut Source<'_>) -> Result<()> {
    let mut session = SESSION.clone();
    let jobs = [source.job()?, source.job()?];
    for _ in 0..source.bytes.int_in_range(1..=4)? {
        let job = source.bytes.choose(&jobs)?;
        let name = if source.flag()? { (*source.bytes.choose(kind::ALL)?).to_owned() } else { source.text()? };
        let body = if source.flag()? { source.raw_object()? } else { source.raw()? };
        let now = Now::new(Instant::ZERO, source.time()?);
        let is_object = body.text().starts_with('{');
        match session.send_event(now, job, &name, &body) {
            Ok(seq) => {
                assert!(is_object && !name.is_empty());
                let frame = session.poll_transmit(now).expect("an event is sent");
                check_event(
                    &frame,
                    seq,
                    job,
                    JobEvent { kind: name.into(), ts: Some(now.wall), body },
                    source.is_plain,
                );
            }
            Err(SendError::Invalid(_)) => assert!(!is_object || name.is_empty()),
            Err(error) => panic!("{error}"),
        }
    }
    Ok(())
}

fn check_event(frame: &Bytes, seq: u64, job: &JobId, event: JobEvent<'_>, is_plain: bool) {
    let envelope = Envelope::decode(frame.clone()).expect("all that is sent is an envelope");
    check_text(frame, &event);
    let (id, session_id) = (envelope.id().expect("with an id"), envelope.session_id());
    let mut header = Header::new(&id, MessageType::JobEvent);
    (header.session_id, header.job_id, header.event_seq) = (session_id.as_deref(), Some(job.as_str()), Some(seq));
    assert_eq!(*frame, encode(&header, &event).expect("it was written before"), "the short way and the long one");
    let read: JobEvent<'_> = envelope.payload().expect("an event has a payload");
    assert!(!is_plain || read == event);
}

/// The bytes that a message, or some events, are made of.
pub(crate) fn check(input: &[u8]) {
    let mut source = Source { bytes: Unstructured::new(input), is_plain: false };
    // What is missing at the end is read as zeros, so that no input is without a meaning.
    let _ = (|| {
        source.is_plain = source.flag()?;
        if source.flag()? { events(&mut source) } else { message(&mut source) }
    })();
}
