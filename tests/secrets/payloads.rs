//! Payloads and errors do not print the secrets in them, wherever these stand (D3).

use std::fmt::Debug;

use arcp_proto::wire::{
    BearerToken, Credential, CredentialValue, Credentials, Envelope, Hello, JobAccepted, JobEvent, JobSubmit,
    JobSubscribed, MalformedFrame, MessageType, PayloadError, Resume, ResumeClaim, ResumeToken, Welcome,
};
use serde::Deserialize;

const SECRET: &str = "hunter2-\"quoted\", expected ";

#[track_caller]
fn hidden(printed: &str) {
    assert!(!printed.is_empty());
    assert!(!printed.contains("hunter2") && !printed.contains("quoted"), "{printed}");
}

#[track_caller]
fn debug_hides<T: Debug>(value: &T) {
    hidden(&format!("{value:?}"));
    hidden(&format!("{value:#?}"));
}

/// Reads the payload, after making sure that the secret is in it.
#[track_caller]
fn payload_hides<T: for<'a> Deserialize<'a> + Debug>(message: MessageType, payload: &str) {
    assert!(payload.contains("SECRET"), "a case without a secret");
    let secret = serde_json::to_string(SECRET).unwrap();
    let payload = payload.replace("\"SECRET\"", &secret);
    let frame = format!(r#"{{"type":"{}","payload":{payload}}}"#, message.name());
    let envelope = Envelope::decode(frame.into()).unwrap();
    debug_hides(&envelope);
    debug_hides(&envelope.payload::<T>().unwrap());
}

#[test]
fn d3_payloads_do_not_print_their_secrets() {
    payload_hides::<Hello>(MessageType::SessionHello, r#"{"auth":{"scheme":"bearer","token":"SECRET"}}"#);
    payload_hides::<Hello>(MessageType::SessionHello, r#"{"resume_token":"SECRET"}"#);
    payload_hides::<Hello>(MessageType::SessionHello, r#"{"resume":{"resume_token":"SECRET"}}"#);
    payload_hides::<Hello>(MessageType::SessionHello, r#"{"resume":{"token":"SECRET"}}"#);
    payload_hides::<Resume>(
        MessageType::SessionResume,
        r#"{"resume_token":"SECRET","auth":{"scheme":"bearer","token":"SECRET"}}"#,
    );
    payload_hides::<Welcome>(MessageType::SessionWelcome, r#"{"resume_token":"SECRET"}"#);
    let credentials = r#"{"job_id":"job_1","credentials":[{"id":"c","scheme":"bearer","value":"SECRET","constraints":{"key":"SECRET"}}]}"#;
    payload_hides::<JobAccepted>(MessageType::JobAccepted, credentials);
    payload_hides::<JobSubscribed>(MessageType::JobSubscribed, credentials);
    payload_hides::<JobSubmit>(MessageType::JobSubmit, r#"{"agent":"a","input":{"api_key":"SECRET"}}"#);
}

#[test]
fn d3_a_rotated_credential_is_not_printed() {
    let frame =
        r#"{"type":"job.event","payload":{"kind":"status","body":{"phase":"credential_rotated","value":"hunter2"}}}"#;
    let envelope = Envelope::decode(frame.into()).unwrap();
    let event: JobEvent<'_> = envelope.payload().unwrap();
    assert!(event.body.text().contains("hunter2"));
    debug_hides(&event);
    debug_hides(&envelope);
}

#[test]
fn d3_secrets_do_not_print_themselves() {
    debug_hides(&ResumeToken::new(SECRET));
    debug_hides(&BearerToken::new(SECRET));
    debug_hides(&CredentialValue::new(SECRET));
    debug_hides(&Credentials::bearer(SECRET));
    debug_hides(&ResumeClaim {
        resume_token: Some(SECRET.into()),
        token: Some(SECRET.into()),
        ..ResumeClaim::default()
    });
    debug_hides(&Credential {
        id: "c".into(),
        scheme: "bearer".into(),
        value: SECRET.into(),
        endpoint: None,
        profile: None,
        constraints: None,
    });
    assert_eq!(ResumeToken::new(SECRET).reveal(), SECRET, "but it is there");
}

#[test]
fn d3_secrets_are_equal_by_value_alone() {
    assert_eq!(ResumeToken::new("rt_1"), ResumeToken::from("rt_1"));
    for other in ["rt_2", "rt_", "rt_11", "", "xt_1"] {
        assert_ne!(ResumeToken::new("rt_1"), ResumeToken::new(other), "{other}");
    }
}

/// A secret in the wrong place does not fit; the error says what was asked for, not what was there.
#[test]
fn d3_errors_do_not_quote_a_misplaced_secret() {
    fn refusal<T: for<'a> Deserialize<'a> + Debug>(payload: &str) -> PayloadError {
        let payload = payload.replace("\"SECRET\"", &serde_json::to_string(SECRET).unwrap());
        let frame = format!(r#"{{"type":"session.hello","payload":{payload}}}"#);
        let envelope = Envelope::decode(frame.into()).unwrap();
        debug_hides(&envelope);
        let error = envelope.payload::<T>().unwrap_err();
        hidden(&error.to_string());
        debug_hides(&error);
        assert!(std::error::Error::source(&error).is_none(), "nothing behind it that would print it");
        error
    }
    let error = refusal::<Hello>(r#"{"auth":"SECRET"}"#).to_string();
    assert!(error.contains("session.hello"), "{error}");
    assert!(error.contains("invalid type: string, expected struct Credentials at line 1 column"), "{error}");
    refusal::<Hello>(r#"{"resume":"SECRET"}"#);
    refusal::<Hello>(r#"{"last_event_seq":"SECRET"}"#);
    refusal::<Welcome>(r#"{"capabilities":{"features":"SECRET"}}"#);
    refusal::<Welcome>(r#"{"resume_window_sec":"SECRET"}"#);
    refusal::<JobAccepted>(r#"{"credentials":"SECRET"}"#);
    refusal::<JobAccepted>(r#"{"credentials":["SECRET"]}"#);
    let error = refusal::<Hello>(r#"{"auth":{"token":"SECRET"}}"#).to_string();
    assert!(error.contains("missing field `scheme`"), "what is safe to say is said: {error}");

    /// Whose errors quote without saying what was expected.
    #[derive(Debug)]
    struct Talkative;
    impl<'de> Deserialize<'de> for Talkative {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let value = serde_json::Value::deserialize(deserializer)?;
            Err(serde::de::Error::custom(format!("bad value {value}")))
        }
    }
    refusal::<Talkative>(r#"{"auth":"SECRET"}"#);
}

#[test]
fn d3_a_malformed_frame_does_not_print_its_secrets() {
    for frame in [
        r#"{"type":"session.hello","payload":{"auth":{"token":"hunter2"}}"#,
        r#"{"id":"m","payload":{"auth":{"token":"hunter2"}}}"#,
        r#"{"type":"session.hello","payload":"hunter2"#,
        "hunter2",
    ] {
        let error: MalformedFrame = Envelope::decode(frame.into()).unwrap_err();
        hidden(&error.to_string());
        debug_hides(&error);
    }
}
