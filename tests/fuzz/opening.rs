//! The first frame of a transport, before an [`Opening`] and before an [`Endpoint`]: both say the same of it, and whatever
//! it is, what comes back is a welcome or a refusal that a client can read.

use std::sync::{Arc, LazyLock};

use arcp_proto::endpoint::{Endpoint, EndpointConfig, EndpointEvent};
use arcp_proto::wire::{
    AgentInfo, Envelope, ErrorCode, MessageType, PeerInfo, Principal, ResumeToken, SEQ_LIMIT, SessionError, SessionId,
    Welcome, WireError,
};
use arcp_proto::{ClientEvent, FeatureSet, Grant, Limits, Now, Opening, RuntimeConfig};
use bytes::Bytes;
use serde_json::Value;

use crate::contract::start;

static CONFIG: LazyLock<Arc<RuntimeConfig>> = LazyLock::new(|| {
    let limits = Limits { opening_frame: 2_000, ..Limits::default() };
    Arc::new(RuntimeConfig::new(PeerInfo::new("my-runtime", "1.1.0")).with_limits(limits))
});

fn grant() -> Grant {
    Grant {
        principal: Principal::from("alice"),
        session_id: SessionId::from("sess_1"),
        resume_token: ResumeToken::new("rt_1"),
        agents: Arc::from([AgentInfo::new("code-refactor", ["1.0.0"])]),
    }
}

/// A refusal as two peers need it (D11): about this frame, of a code of the draft's.
fn check_refusal(refusal: &Bytes, frame: &Bytes) {
    let envelope = Envelope::decode(refusal.clone()).expect("a refusal is an envelope");
    assert_eq!(envelope.message_type(), Some(MessageType::SessionError));
    assert!(envelope.session_id().is_some(), "it names a session, or two peers drop it");
    let error: SessionError = envelope.payload().expect("a refusal has a payload");
    assert!(!matches!(error.code, ErrorCode::Other(_)) && !error.message.is_empty(), "{error:?}");
    assert_eq!(error.retryable, error.code.retryable());
    if let Ok(asked) = Envelope::decode(frame.clone()) {
        assert_eq!(error.request_id.as_deref(), asked.id().as_deref(), "it names the frame");
    }
}

/// Of a frame that opens something, as serde_json reads it: it is a hello or a resume with usable credentials.
fn check_opening(opening: &Opening, frame: &Bytes) {
    // Lone surrogates and numbers beyond a float's reach pass where nobody reads them (D39).
    let Ok(json) = serde_json::from_slice::<Value>(frame) else { return };
    let is_hello = json["type"] == "session.hello";
    assert!(is_hello || json["type"] == "session.resume");
    let (credentials, peer) = match opening {
        Opening::Hello(hello) => (hello.credentials(), hello.peer()),
        Opening::Resume(attempt) => (attempt.credentials(), attempt.peer()),
    };
    assert_eq!(json["payload"]["auth"]["scheme"], credentials.scheme.as_str());
    let token = credentials.token.as_ref().map(|token| token.reveal());
    assert_eq!(json["payload"]["auth"]["token"].as_str(), token);
    assert!(!credentials.scheme.eq_ignore_ascii_case("bearer") || token.is_some_and(|token| !token.is_empty()));
    if let Some(name) = json["payload"]["client"]["name"].as_str() {
        assert_eq!(name, peer.name);
    }
    let claim = &json["payload"]["resume"];
    let tokens = [&json["payload"]["resume_token"], &claim["resume_token"], &claim["token"]];
    match opening {
        Opening::Hello(_) => assert!(is_hello && claim.is_null() && tokens[0].is_null()),
        Opening::Resume(attempt) => {
            let said: Vec<&str> = tokens.iter().filter_map(|token| token.as_str()).collect();
            let is_his = |token: &&str| *token == attempt.token().reveal();
            // A session.resume has one place for it.
            assert!(if is_hello { said.iter().all(is_his) } else { said.first().is_some_and(is_his) });
            assert!(!attempt.token().is_empty() && attempt.last_event_seq() < SEQ_LIMIT);
        }
    }
}

/// A welcome, as our own client reads it.
fn check_welcome(welcome: &Bytes, wanted: &FeatureSet) {
    let envelope = Envelope::decode(welcome.clone()).expect("a welcome is an envelope");
    assert_eq!(envelope.message_type(), Some(MessageType::SessionWelcome));
    let said: Welcome = envelope.payload().expect("a welcome has a payload");
    assert_eq!(said.capabilities.features, FeatureSet::all().intersection(wanted), "the intersection (A5)");
    let config = arcp_proto::ClientConfig::new(PeerInfo::new("a", "1"), arcp_proto::wire::Credentials::bearer("t"));
    let mut client = arcp_proto::Session::connect(start(), config);
    client.handle_input(start(), welcome.clone());
    assert!(matches!(client.poll_event(), Some(ClientEvent::Connected(_))));
}

fn transmitted(endpoint: &mut Endpoint, now: Now) -> Vec<Bytes> {
    std::iter::from_fn(|| endpoint.poll_transmit(now).map(|(_, frame)| frame)).collect()
}

/// The frame.
pub(crate) fn check(frame: &[u8]) {
    let (now, frame) = (start(), Bytes::copy_from_slice(frame));
    let parsed = Opening::parse(frame.clone(), &CONFIG.limits);
    match &parsed {
        Ok(opening) => check_opening(opening, &frame),
        Err(refusal) => check_refusal(&refusal.clone().into_message(now), &frame),
    }
    assert!(parsed.is_err() || frame.len() <= CONFIG.limits.opening_frame);

    let mut endpoint = Endpoint::new(EndpointConfig::new(Arc::clone(&CONFIG)));
    let conn = endpoint.connect(now);
    endpoint.handle_input(now, conn, frame.clone());
    match (parsed, endpoint.poll_event()) {
        (Err(refusal), None) => {
            assert_eq!(transmitted(&mut endpoint, now), [refusal.into_message(now)]);
            assert_eq!(endpoint.poll_close(), Some(conn));
        }
        (Ok(opening), Some(EndpointEvent::Authenticate(applicant))) => {
            assert!(transmitted(&mut endpoint, now).is_empty(), "nothing before the verdict");
            let mut other = endpoint.clone();
            let unknown = WireError::new(ErrorCode::Unauthenticated, "who are you?");
            other.reject(now, conn, unknown.clone()).expect("somebody waits");
            let rejected = transmitted(&mut other, now);
            assert_eq!(other.poll_close(), Some(conn));
            let admitted = endpoint.admit(now, conn, grant());
            let answer = transmitted(&mut endpoint, now);
            match opening {
                Opening::Hello(hello) => {
                    assert!(applicant.resume.is_none() && admitted.is_ok());
                    check_welcome(&answer[0], hello.features());
                    let mut session = hello.clone().accept(now, Arc::clone(&CONFIG), grant());
                    assert_eq!(session.poll_transmit(now).as_ref(), answer.first(), "as a session alone");
                    assert_eq!(rejected, [hello.refuse(now, unknown)]);
                    assert!(session.poll_transmit(now).is_none() && answer.len() == 1);
                }
                Opening::Resume(attempt) => {
                    let wish = applicant.resume.expect("it wants to resume");
                    assert_eq!((wish.last_event_seq, wish.is_here), (attempt.last_event_seq(), false));
                    assert!(admitted.is_err() && answer.len() == 1, "there is no session to resume");
                    check_refusal(&answer[0], &frame);
                    assert_eq!(rejected, [attempt.refuse(now, unknown)]);
                }
            }
            check_refusal(&rejected[0], &frame);
        }
        (parsed, event) => panic!("an opening says {parsed:?}, an endpoint {event:?}"),
    }
}
