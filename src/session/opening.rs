//! The first message on a new transport: a hello or a resume, by value (D9, D13).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use bytes::Bytes;

use super::Runtime;
use super::Session;
use super::config::{Grant, Limits, RuntimeConfig};
use crate::feature::FeatureSet;
use crate::time::Now;
use crate::wire::{
    self, ClientCapabilities, Credentials, Envelope, ErrorCode, FrameFault, Header, MAX_ID_LEN, MessageType, PeerInfo,
    ResumeToken, SEQ_LIMIT, SessionError, SessionId, WireError, encode,
};

/// What a client wants of a new transport. A runtime reads it before there is a session to give the bytes to.
///
/// Nothing is processed before the application has said who the client is: [`Hello::accept`] makes a session of a
/// hello, [`Session<Runtime>::resume`](Session#method.resume-1) takes a resume; both have a `refuse`. All of it is owned
/// and `Send`, so that the verdict may take its time; until then a driver does not read on, or holds what it reads and
/// feeds it in behind the verdict. How long a transport may take for its first message is the driver's to time; the
/// protocol's default is 10 s (D9).
#[derive(Clone, Debug)]
pub enum Opening {
    /// A new session.
    Hello(Hello),
    /// The session with [`ResumeAttempt::token`] is to go on here.
    Resume(ResumeAttempt),
}

/// What a refusal has to name.
#[derive(Clone, Debug, Default)]
struct Addressee {
    message_id: Option<Box<str>>,
    session_id: Option<Box<str>>,
}

impl Addressee {
    fn of(envelope: &Envelope) -> Addressee {
        Addressee {
            message_id: envelope.id().map(|id| (*id).into()),
            session_id: envelope.session_id().map(|id| (*id).into()),
        }
    }

    /// Before the welcome an error names the session of the hello, or a throw-away one: two peers drop it
    /// otherwise (D11). For the same reason the code is one of the draft's, with its own `retryable` and a message.
    fn refusal(&self, error: &WireError) -> Bytes {
        let payload = SessionError::new(error.clone(), self.message_id.as_deref(), None);
        // There is no session to count in: the client's own id makes this one unique.
        let named: String = self.message_id.as_deref().unwrap_or("hello").chars().take(64).collect();
        let id = alloc::format!("msg_re_{named}");
        let mut header = Header::new(&id, MessageType::SessionError);
        header.session_id = Some(self.session_id.as_deref().unwrap_or("sess_none"));
        encode(&header, &payload).unwrap_or_default()
    }
}

/// The first message was not one to open a session with. Send [`into_message`](Refusal::into_message), then close the
/// transport (D9).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Refusal {
    error: WireError,
    to: Addressee,
}

impl Refusal {
    /// For a client of whom no first message was read.
    pub(crate) fn new(error: WireError) -> Refusal {
        Refusal { error, to: Addressee::default() }
    }

    /// For a first message that the driver's framing could not hand over.
    #[must_use]
    pub fn malformed(fault: FrameFault) -> Refusal {
        invalid(fault, Addressee::default())
    }

    /// Why.
    #[must_use]
    pub fn error(&self) -> &WireError {
        &self.error
    }

    /// The `session.error` that says so.
    #[must_use]
    pub fn into_message(self, _now: Now) -> Bytes {
        self.to.refusal(&self.error)
    }
}

/// A well-formed first hello.
#[derive(Clone, Debug)]
pub struct Hello {
    peer: PeerInfo,
    credentials: Credentials,
    features: FeatureSet,
    to: Addressee,
}

/// A well-formed wish to resume, in any of the accepted forms (D13).
#[derive(Clone, Debug)]
pub struct ResumeAttempt {
    pub(super) token: ResumeToken,
    pub(super) session_id: Option<SessionId>,
    pub(super) last_event_seq: u64,
    pub(super) features: Option<FeatureSet>,
    peer: PeerInfo,
    credentials: Credentials,
    to: Addressee,
}

impl Opening {
    /// Reads the first message of a transport.
    ///
    /// ```
    /// use arcp_proto::{Limits, Opening};
    ///
    /// let hello = r#"{"type":"session.hello","payload":{"client":{"name":"my-app","version":"1.0.0"},
    ///     "auth":{"scheme":"bearer","token":"secret"},"capabilities":{"features":["ack"]}}}"#;
    /// let Ok(Opening::Hello(hello)) = Opening::parse(hello.into(), &Limits::default()) else { panic!() };
    /// assert_eq!(hello.peer().name, "my-app");
    /// ```
    ///
    /// # Errors
    ///
    /// When it is malformed or over [`Limits::opening_frame`], no hello or resume, has no usable credentials
    /// (UNAUTHENTICATED), cannot be spoken to in JSON (D20), or contradicts itself (D13).
    pub fn parse(message: Bytes, limits: &Limits) -> Result<Opening, Refusal> {
        let limit = limits.opening_frame.min(limits.max_frame);
        if message.len() > limit {
            return Err(invalid(FrameFault::TooLarge { limit }, Addressee::default()));
        }
        let envelope = Envelope::decode(message)
            .map_err(|malformed| invalid(malformed.fault, Addressee { message_id: malformed.id, session_id: None }))?;
        let to = Addressee::of(&envelope);
        match envelope.message_type() {
            Some(MessageType::SessionHello) => match envelope.payload::<wire::Hello>() {
                Ok(hello) => parse_hello(hello, to),
                Err(error) => Err(invalid(error, to)),
            },
            Some(MessageType::SessionResume) => match envelope.payload::<wire::Resume>() {
                Ok(resume) => parse_resume(resume, to),
                Err(error) => Err(invalid(error, to)),
            },
            _ => Err(invalid("the first message must be `session.hello`", to)),
        }
    }
}

fn invalid(why: impl core::fmt::Display, to: Addressee) -> Refusal {
    Refusal { error: WireError::new(ErrorCode::InvalidRequest, alloc::format!("{why}")), to }
}

fn check_credentials(auth: Option<Credentials>, to: &Addressee) -> Result<Credentials, Refusal> {
    let usable = auth.filter(|auth| {
        let has_token = || auth.token.as_ref().is_some_and(|token| !token.is_empty());
        !auth.scheme.is_empty() && (!auth.scheme.eq_ignore_ascii_case("bearer") || has_token())
    });
    usable.ok_or_else(|| Refusal {
        error: WireError::new(ErrorCode::Unauthenticated, "credentials are missing"),
        to: to.clone(),
    })
}

fn check_encodings(capabilities: &ClientCapabilities, to: &Addressee) -> Result<(), Refusal> {
    if capabilities.encodings.is_empty() || capabilities.encodings.iter().any(|encoding| encoding == "json") {
        Ok(())
    } else {
        Err(invalid("the only encoding spoken here is `json`", to.clone()))
    }
}

/// The value of a member that may stand in several places, which must agree.
fn agreed<T: PartialEq>(places: impl IntoIterator<Item = Option<T>>, to: &Addressee) -> Result<Option<T>, Refusal> {
    let mut found: Option<T> = None;
    for value in places.into_iter().flatten() {
        match &found {
            Some(other) if *other != value => return Err(invalid("the forms of the resume disagree", to.clone())),
            _ => found = Some(value),
        }
    }
    Ok(found)
}

fn parse_hello(hello: wire::Hello, mut to: Addressee) -> Result<Opening, Refusal> {
    if to.session_id.is_none() {
        let named = hello.resume.as_ref().and_then(|claim| claim.session_id.as_ref()).map(SessionId::as_str);
        to.session_id = named.filter(|id| (1..=MAX_ID_LEN).contains(&id.len())).map(Into::into);
    }
    let peer = hello.client.unwrap_or_else(|| PeerInfo {
        name: hello.client_name.unwrap_or_default(),
        version: hello.client_version.unwrap_or_default(),
    });
    let credentials = check_credentials(hello.auth, &to)?;
    if let Some(capabilities) = &hello.capabilities {
        check_encodings(capabilities, &to)?;
    }
    let features = hello.capabilities.map(|capabilities| capabilities.features);
    let is_resume = hello.resume.is_some() || hello.resume_token.is_some();
    if !is_resume {
        return Ok(Opening::Hello(Hello { peer, credentials, features: features.unwrap_or_default(), to }));
    }
    let claim = hello.resume.unwrap_or_default();
    let token = agreed([claim.resume_token, claim.token, hello.resume_token], &to)?;
    let last = agreed([claim.last_event_seq, hello.last_event_seq], &to)?;
    attempt(token, claim.session_id, last, peer, credentials, features, to)
}

fn parse_resume(resume: wire::Resume, to: Addressee) -> Result<Opening, Refusal> {
    let credentials = check_credentials(resume.auth, &to)?;
    if let Some(capabilities) = &resume.capabilities {
        check_encodings(capabilities, &to)?;
    }
    let features = resume.capabilities.map(|capabilities| capabilities.features);
    let session_id = to.session_id.as_deref().map(SessionId::from);
    let peer = resume.client.unwrap_or_default();
    attempt(resume.resume_token, session_id, resume.last_event_seq, peer, credentials, features, to)
}

fn attempt(
    token: Option<ResumeToken>,
    session_id: Option<SessionId>,
    last_event_seq: Option<u64>,
    peer: PeerInfo,
    credentials: Credentials,
    features: Option<FeatureSet>,
    to: Addressee,
) -> Result<Opening, Refusal> {
    let last_event_seq = last_event_seq.unwrap_or(0);
    match token.filter(|token| !token.is_empty()) {
        None => Err(invalid("a resume needs a `resume_token`", to)),
        Some(_) if last_event_seq >= SEQ_LIMIT => Err(invalid("`last_event_seq` is out of range", to)),
        Some(token) => {
            Ok(Opening::Resume(ResumeAttempt { token, session_id, last_event_seq, features, peer, credentials, to }))
        }
    }
}

impl Hello {
    /// Who the client says that it is; empty where it says nothing.
    #[must_use]
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// What it offers as proof. Of the scheme `bearer` there is a token; it is for the application to judge.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The features that it asks for.
    #[must_use]
    pub fn features(&self) -> &FeatureSet {
        &self.features
    }

    /// Opens the session: the welcome is ready to be sent (A1, A4). Whoever has held messages that came behind the hello
    /// (D9) feeds them now, before the welcome is polled.
    ///
    /// The grant is the application's word, and is not looked at (an [`Endpoint`](crate::endpoint::Endpoint) does): with a session
    /// id that is empty or longer than 256 bytes no client connects, and with an empty token none can resume.
    #[must_use]
    pub fn accept(self, now: Now, config: Arc<RuntimeConfig>, grant: Grant) -> Session<Runtime> {
        Session::accept(now, config, grant, self.peer, &self.features)
    }

    /// The `session.error` that turns the client away, for example with UNAUTHENTICATED. Send it, then close the
    /// transport. Whether trying again can help goes by the code; one that is none of the draft's is sent as
    /// INTERNAL_ERROR where `error` is retryable, else as INVALID_REQUEST (D11).
    #[must_use]
    pub fn refuse(self, _now: Now, error: WireError) -> Bytes {
        self.to.refusal(&error)
    }
}

impl ResumeAttempt {
    /// The token by which the session is found.
    #[must_use]
    pub fn token(&self) -> &ResumeToken {
        &self.token
    }

    /// The session that the client means, where it says so.
    #[must_use]
    pub fn session_id(&self) -> Option<&SessionId> {
        self.session_id.as_ref()
    }

    /// The highest contiguous event that it has.
    #[must_use]
    pub fn last_event_seq(&self) -> u64 {
        self.last_event_seq
    }

    /// Who the client says that it is; empty where it says nothing.
    #[must_use]
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// What it offers as proof, to be judged like a hello's.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The features that it asks for; `None` where the session's are to stand.
    #[must_use]
    pub fn features(&self) -> Option<&FeatureSet> {
        self.features.as_ref()
    }

    /// The `session.error` that turns the client away, like a hello's. Send it, then close the transport. For a token
    /// that nobody knows the error is [`ResumeRefused::expired`](super::ResumeRefused::expired)'s.
    #[must_use]
    pub fn refuse(self, _now: Now, error: WireError) -> Bytes {
        self.to.refusal(&error)
    }

    pub(super) fn into_refused(self, reason: RefusedBecause) -> ResumeRefused {
        ResumeRefused { reason, to: self.to }
    }
}

/// Why a session did not take a resume. For the log: from outside, all but `Busy` look the same (D14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedBecause {
    /// The token is none of this session's, or was retired.
    #[error("the token is none of this session's")]
    Token,
    /// The client means another session.
    #[error("another session is meant")]
    SessionId,
    /// Somebody else's session.
    #[error("it is somebody else's session")]
    Principal,
    /// The events after `last_event_seq` are not all here, or it was never sent that far.
    #[error("the events from there on are not all here")]
    Sequence,
    /// The session has ended or is ending.
    #[error("the session has ended or is ending")]
    Closed,
    /// The application has left too many events unpolled (D43). Trying again can help.
    #[error("too many events wait to be polled")]
    Busy,
}

/// A resume that was not taken. The session is as it was, and its token still good (D14).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct ResumeRefused {
    reason: RefusedBecause,
    to: Addressee,
}

impl ResumeRefused {
    /// Why.
    #[must_use]
    pub fn reason(&self) -> RefusedBecause {
        self.reason
    }

    /// What every refused resume is answered with, whatever the reason.
    #[must_use]
    pub fn expired() -> WireError {
        WireError::new(ErrorCode::ResumeWindowExpired, "the session cannot be resumed from there")
    }

    /// The `session.error` that says so. Send it, then close the transport.
    #[must_use]
    pub fn into_message(self, _now: Now) -> Bytes {
        let error = match self.reason {
            RefusedBecause::Busy => WireError::new(ErrorCode::InternalError, "the session is busy, try again"),
            _ => ResumeRefused::expired(),
        };
        self.to.refusal(&error)
    }
}
