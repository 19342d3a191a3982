//! Recorded traffic of other implementations, if it is at hand: every payload reads as its type, and every frame keeps
//! its bytes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod corpus;

use std::collections::BTreeMap;

use arcp_proto::wire::job_event::{
    ArtifactRef, Delegate, Log, Metric, Progress, ResultChunk, Status, Thought, ToolCall, ToolResult, kind,
};
use arcp_proto::wire::{
    Ack, Bye, Envelope, Hello, JobAccepted, JobCancel, JobCancelled, JobError, JobEvent, JobQuery, JobResult,
    JobSubmit, JobSubscribe, JobSubscribed, JobUnsubscribe, Jobs, MessageType, PayloadError, Ping, Pong, RawJson,
    Resume, SessionError, Welcome,
};
use serde::Deserialize;

fn check<'a, T: Deserialize<'a>>(envelope: &'a Envelope) -> Result<(), PayloadError> {
    envelope.payload::<T>().map(drop)
}

fn check_body(event: &JobEvent<'_>) -> Result<(), serde_json::Error> {
    fn body<T: for<'a> Deserialize<'a>>(body: &RawJson) -> Result<(), serde_json::Error> {
        body.parse::<T>().map(drop)
    }
    match event.kind.as_ref() {
        kind::LOG => body::<Log>(&event.body),
        kind::THOUGHT => body::<Thought>(&event.body),
        kind::TOOL_CALL => body::<ToolCall>(&event.body),
        kind::TOOL_RESULT => body::<ToolResult>(&event.body),
        kind::STATUS => body::<Status>(&event.body),
        kind::METRIC => body::<Metric>(&event.body),
        kind::ARTIFACT_REF => body::<ArtifactRef>(&event.body),
        kind::DELEGATE => body::<Delegate>(&event.body),
        kind::PROGRESS => body::<Progress>(&event.body),
        kind::RESULT_CHUNK => body::<ResultChunk>(&event.body),
        _ => Ok(()),
    }
}

fn check_payload(message: MessageType, envelope: &Envelope) -> Result<(), String> {
    let checked = match message {
        MessageType::SessionHello => check::<Hello>(envelope),
        MessageType::SessionWelcome => check::<Welcome>(envelope),
        MessageType::SessionResume => check::<Resume>(envelope),
        MessageType::SessionPing => check::<Ping<'_>>(envelope),
        MessageType::SessionPong => check::<Pong<'_>>(envelope),
        MessageType::SessionAck => check::<Ack>(envelope),
        MessageType::SessionListJobs => check::<JobQuery>(envelope),
        MessageType::SessionJobs => check::<Jobs>(envelope),
        MessageType::SessionError => check::<SessionError>(envelope),
        MessageType::SessionBye | MessageType::SessionClose | MessageType::SessionClosed => check::<Bye>(envelope),
        MessageType::JobSubmit => check::<JobSubmit>(envelope),
        MessageType::JobAccepted => check::<JobAccepted>(envelope),
        MessageType::JobEvent => match envelope.payload::<JobEvent<'_>>() {
            Ok(event) => return check_body(&event).map_err(|error| format!("{}: {error}", event.kind)),
            Err(error) => Err(error),
        },
        MessageType::JobResult => check::<JobResult>(envelope),
        MessageType::JobError => check::<JobError>(envelope),
        MessageType::JobCancel => check::<JobCancel>(envelope),
        MessageType::JobCancelled => check::<JobCancelled>(envelope),
        MessageType::JobSubscribe => check::<JobSubscribe>(envelope),
        MessageType::JobSubscribed => check::<JobSubscribed>(envelope),
        MessageType::JobUnsubscribe => check::<JobUnsubscribe>(envelope),
        other => panic!("{other}"),
    };
    checked.map_err(|error| error.to_string())
}

#[test]
fn d6_every_recorded_payload_reads_as_its_type() {
    let mut recordings = corpus::recordings("d6_every_recorded_payload_reads_as_its_type");
    // There anything may stand.
    recordings.retain(|recording| !recording.is_malformed());
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut misfits: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for recording in &recordings {
        for (number, line) in (1..).zip(&recording.lines) {
            let place = format!("{}:{number}", recording.name);
            let checked = Envelope::decode(line.clone()).map_err(|error| error.to_string()).and_then(|envelope| {
                assert_eq!(envelope.frame(), line);
                *counts.entry(envelope.type_name().into_owned()).or_default() += 1;
                envelope.message_type().map_or(Ok(()), |message| check_payload(message, &envelope))
            });
            if let Err(error) = checked {
                misfits.entry(error).or_default().push(place);
            }
        }
    }
    println!("{} recordings, {} frames: {counts:?}", recordings.len(), counts.values().sum::<usize>());
    // Two recorded requests ask for a moment that is none, to see themselves refused.
    misfits.retain(|error, _| !error.contains("not an RFC 3339 timestamp"));
    assert!(misfits.is_empty(), "{misfits:#?}");
}
