//! Hello and welcome, as the client has them (A2-A5, D9, D13, D20).

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use core::time::Duration;

use super::super::ack::Acks;
use super::super::config::ClientConfig;
use super::super::error::{CloseReason, DetachReason, ProtocolError, ResumeRefusal};
use super::super::event::{ClientEvent, SessionInfo};
use super::super::heartbeat::Cadence;
use super::super::inbox::Inbox;
use super::super::phase::{Phase, Step};
use super::super::reorder::Reorder;
use super::super::requests::Requests;
use super::super::role::Machine;
use super::super::shared::Shared;
use super::super::timers::Timer;
use super::super::{Session, bad_payload};
use super::{Client, State};
use crate::feature::Feature;
use crate::time::{Instant, Now};
use crate::wire::{
    ClientCapabilities, Envelope, Hello, MessageType, ResumeClaim, Seconds, SessionError, SessionId, Welcome, WireError,
};

const DAY: f64 = 86_400.0;
const DEFAULT_INTERVAL: Seconds = Seconds(30.0);
const DEFAULT_WINDOW: Seconds = Seconds(600.0);

pub(super) fn connect(now: Now, config: Arc<ClientConfig>) -> Session<Client> {
    let shared = Shared::new(now, Phase::Connecting, 'c', &config.id_prefix, Cadence::WhenIdle);
    let acks = Acks::new(config.ack_policy);
    let role = State {
        config,
        credentials: None,
        token: None,
        info: None,
        acks,
        order: Reorder::default(),
        requests: Requests::default(),
        window_ends: Instant::ZERO,
    };
    let mut session = Session { shared, inbox: Inbox::new(), role };
    session.say_hello(now, None);
    session.set_timers();
    session
}

impl Session<Client> {
    pub(super) fn begin_resume(&mut self, now: Now) {
        if !self.shared.phase.step(Step::Retried) {
            return;
        }
        self.shared.epoch += 1;
        let overlapped = self.role.order.received().saturating_sub(self.role.config.resume_overlap);
        let last_event_seq = overlapped.max(self.role.acks.ever_said().min(self.role.order.received()));
        self.say_hello(now, Some(last_event_seq));
    }

    fn say_hello(&mut self, now: Now, resume_after: Option<u64>) {
        let config = Arc::clone(&self.role.config);
        let token = self.role.token.clone();
        let mut hello = Hello {
            client: Some(config.client.clone()),
            auth: Some(self.role.credentials.clone().unwrap_or_else(|| config.credentials.clone())),
            capabilities: Some(ClientCapabilities {
                encodings: vec![String::from("json")],
                features: config.features.clone(),
            }),
            ..Hello::default()
        };
        if let Some(last_event_seq) = resume_after {
            hello.resume = Some(ResumeClaim {
                session_id: self.shared.session_id.clone(),
                resume_token: token.clone(),
                token: None,
                last_event_seq: Some(last_event_seq),
            });
            hello.resume_token = token;
            hello.last_event_seq = Some(last_event_seq);
        }
        if config.dialect.flat_client_name {
            hello.client_name = Some(config.client.name.clone());
            hello.client_version = Some(config.client.version.clone());
        }
        // A hello names no session on its envelope.
        let session_id = self.shared.session_id.take();
        let frame = self.shared.frame(MessageType::SessionHello, &hello);
        self.shared.session_id = session_id;
        self.shared.outbox.open(frame);
        self.shared.timers.set(Timer::Handshake, Some(now.mono + config.handshake_timeout));
    }

    pub(super) fn receive_in_handshake(&mut self, now: Now, envelope: &Envelope) {
        let id = envelope.id();
        match envelope.message_type() {
            Some(MessageType::SessionWelcome) => self.receive_welcome(now, envelope),
            Some(MessageType::SessionError) => match envelope.payload::<SessionError>() {
                Ok(error) => self.refused(now, error.into(), envelope.frame().len()),
                Err(error) => {
                    self.spoil_handshake(now, bad_payload(MessageType::SessionError, error.reason()), id.as_deref())
                }
            },
            Some(other) => self.spoil_handshake(now, ProtocolError::WrongPhase(other), id.as_deref()),
            None => self.tolerate(ProtocolError::UnknownType((*envelope.type_name()).into()), id.as_deref()),
        }
    }

    fn spoil_handshake(&mut self, now: Now, error: ProtocolError, message_id: Option<&str>) {
        self.violate(error, message_id);
        Client::detach(self, now, DetachReason::HandshakeFailed);
    }

    fn refused(&mut self, now: Now, error: WireError, frame_len: usize) {
        // The code says it; the peer's own word counts for codes that the draft does not have (D11).
        let is_retryable = error.code.retryable().unwrap_or(error.retryable);
        if self.phase() == Phase::Connecting {
            self.end(CloseReason::ConnectRefused(error));
        } else if is_retryable {
            self.push(ClientEvent::Error { error, job_id: None }, frame_len);
            Client::detach(self, now, DetachReason::HandshakeFailed);
        } else {
            self.end(CloseReason::ResumeRefused(ResumeRefusal::Error(error)));
        }
    }

    fn receive_welcome(&mut self, now: Now, envelope: &Envelope) {
        let id = envelope.id();
        let welcome = match envelope.payload::<Welcome>() {
            Ok(welcome) => welcome,
            Err(error) => {
                return self.spoil_handshake(
                    now,
                    bad_payload(MessageType::SessionWelcome, error.reason()),
                    id.as_deref(),
                );
            }
        };
        let Some(session_id) = envelope.to_session_id() else {
            let error = bad_payload(MessageType::SessionWelcome, "the envelope has no `session_id`");
            return self.spoil_handshake(now, error, id.as_deref());
        };
        let is_resume = self.phase() == Phase::Resuming;
        if is_resume && self.shared.session_id.as_ref() != Some(&session_id) {
            return self.end(CloseReason::ResumeRefused(ResumeRefusal::NewSession));
        }
        if self.shared.phase.step(Step::Welcomed) {
            self.welcomed(now, session_id, welcome, is_resume, id.as_deref());
        }
    }

    fn welcomed(&mut self, now: Now, session_id: SessionId, welcome: Welcome, is_resume: bool, id: Option<&str>) {
        let features = self.role.config.features.intersection(&welcome.capabilities.features);
        let heartbeat_interval = features.contains(Feature::Heartbeat).then(|| {
            let (interval, clamped) = heartbeat_interval(welcome.heartbeat_interval_sec.unwrap_or(DEFAULT_INTERVAL));
            if clamped {
                self.tolerate(ProtocolError::HeartbeatInterval, id);
            }
            interval
        });
        let info = Arc::new(SessionInfo {
            session_id: session_id.clone(),
            runtime: welcome.runtime,
            agents: welcome.capabilities.agents,
            features: features.clone(),
            heartbeat_interval,
            resume_window: resume_window(welcome.resume_window_sec.unwrap_or(DEFAULT_WINDOW)),
        });
        self.shared.session_id = Some(session_id);
        self.shared.features = features;
        self.shared.heartbeat.start(now.mono, heartbeat_interval);
        self.shared.timers.set(Timer::Handshake, None);
        self.shared.timers.set(Timer::ResumeWindow, None);
        // A peer that does not rotate its token may leave it out of the welcome to a resume.
        let kept = self.role.token.take().filter(|_| is_resume);
        self.role.token = welcome.resume_token.filter(|token| !token.is_empty()).or(kept);
        self.role.info = Some(Arc::clone(&info));
        self.role.acks.attached();
        let event = if is_resume { ClientEvent::Resumed(info) } else { ClientEvent::Connected(info) };
        self.push(event, 0);
    }
}

/// Whole seconds from one to a day, and whether the runtime said anything else (D20).
fn heartbeat_interval(Seconds(said): Seconds) -> (Duration, bool) {
    let mut seconds = said.clamp(1.0, DAY) as u64;
    if (seconds as f64) < said && said < DAY {
        seconds += 1;
    }
    (Duration::from_secs(seconds), seconds as f64 != said)
}

/// Never negative, and not beyond what a clock can add.
fn resume_window(Seconds(said): Seconds) -> Duration {
    Duration::from_millis((said.clamp(0.0, f64::from(u32::MAX)) * 1_000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d20_the_interval_is_clamped_into_a_second_to_a_day() {
        for (said, seconds, clamped) in [
            (30.0, 30, false),
            (1.0, 1, false),
            (86_400.0, 86_400, false),
            (0.0, 1, true),
            (-7.0, 1, true),
            (0.5, 1, true),
            (1.5, 2, true),
            (86_400.5, 86_400, true),
            (9.3e18, 86_400, true),
        ] {
            assert_eq!(heartbeat_interval(Seconds(said)), (Duration::from_secs(seconds), clamped), "{said}");
        }
    }
}
