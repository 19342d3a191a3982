//! What follows at once from an action: the applications attend to events, drivers close what is done with.

use std::sync::Arc;

use arcp_proto::{
    ClientEvent, CloseReason, Delivery, DetachReason, Feature, Phase, ProtocolError, RequestFailure, RequestId,
    RuntimeEvent, Violation,
};

use crate::client_book::Stand;
use crate::mark::Mark;
use crate::rule::Rule;
use crate::runtime_book::{Asked, Content};
use crate::step::Rules;
use crate::world::World;

impl World {
    /// Until nothing follows any more.
    pub(crate) fn attend(&mut self, rules: &Rules<'_>) {
        let mut runtime_changed = false;
        loop {
            // A session that is still shared with the state before was not touched.
            if let Some(event) = Arc::get_mut(&mut self.client).and_then(|client| client.poll_event()) {
                self.client_is_told(rules, event);
                continue;
            }
            let runtime = self.runtime.as_mut().and_then(Arc::get_mut);
            runtime_changed |= runtime.is_some();
            if let Some(event) = runtime.and_then(|runtime| runtime.poll_event()) {
                self.runtime_is_told(rules, event);
                continue;
            }
            if !self.close_client(rules) && !self.close_runtime(rules) {
                break;
            }
        }
        let now = self.now;
        if Arc::get_mut(&mut self.client).is_some() {
            self.client_is_idle = self.client.as_ref().clone().poll_transmit(now).is_none();
        }
        if runtime_changed && let Some(runtime) = &self.runtime {
            self.runtime_is_idle = runtime.as_ref().clone().poll_transmit(now).is_none();
        }
    }

    /// The driver of a session that has given its transport up: the last words, then the end.
    fn close_client(&mut self, rules: &Rules<'_>) -> bool {
        if self.client.phase().is_attached() || self.client_link().is_none() {
            return false;
        }
        let now = self.now;
        while let Some(frame) = Arc::get_mut(&mut self.client).and_then(|client| client.poll_transmit(now)) {
            self.client_said(rules, &frame);
            if let Some(link) = self.client_link() {
                link.write_up(frame);
            }
        }
        if let Some(link) = self.client_link() {
            link.close_client_end();
        }
        true
    }

    fn close_runtime(&mut self, rules: &Rules<'_>) -> bool {
        let Some(at) = self.runtime_link() else { return false };
        if self.runtime_phase().is_none_or(|phase| phase.is_attached()) {
            return false;
        }
        let now = self.now;
        while let Some(frame) =
            self.runtime.as_mut().and_then(Arc::get_mut).and_then(|runtime| runtime.poll_transmit(now))
        {
            self.runtime_said(rules, &frame);
            self.links[at].write_down(frame);
        }
        self.links[at].close_runtime_end();
        true
    }

    fn client_stands(&mut self, from: &[Stand], to: Stand) {
        let stand = self.client_book.stand;
        self.check(from.contains(&stand), Rule::Phases, || format!("the client is told {to:?} after {stand:?}"));
        self.client_book.stand = to;
    }

    fn client_is_told(&mut self, rules: &Rules<'_>, event: ClientEvent) {
        self.note(|| match &event {
            ClientEvent::Event(delivery) => format!("    client is told: event {:?}", delivery.seq()),
            ClientEvent::Connected(_) => "    client is told: connected".into(),
            ClientEvent::Resumed(_) => "    client is told: resumed".into(),
            other => format!("    client is told: {other:?}"),
        });
        let now = self.now.mono;
        let stand = self.client_book.stand;
        self.check(stand != Stand::Closed, Rule::Phases, || "the client is told something behind Closed".into());
        match event {
            ClientEvent::Connected(_) => {
                self.client_stands(&[Stand::New], Stand::Open);
                self.client_is_attached(rules);
            }
            ClientEvent::Resumed(_) => {
                self.client_stands(&[Stand::Trying], Stand::Open);
                self.client_is_attached(rules);
                if self.client_book.processed > 0 && rules.configuration.has(Feature::Ack) {
                    // Said again at every attach: at once.
                    self.client_book.ack_due = Some(now);
                }
            }
            ClientEvent::Detached(reason) => self.client_is_detached(rules, &reason),
            ClientEvent::Closed(reason) => self.client_is_closed(rules, &reason),
            ClientEvent::Event(delivery) => self.delivered(&delivery),
            ClientEvent::Jobs { request, .. } | ClientEvent::Accepted { request: Some(request), .. } => {
                self.is_answered(request);
            }
            ClientEvent::RequestFailed { request, failure } => {
                if failure == RequestFailure::TimedOut {
                    rules.marks.set(Mark::RequestTimeout);
                }
                self.client_book.gave_up = true;
                self.is_answered(request);
            }
            ClientEvent::Accepted { request: None, .. } => {
                let gave_up = self.client_book.gave_up;
                self.check(gave_up, Rule::Requests, || "a job is accepted that nobody asked for".into());
            }
            // An answer that comes after it is no longer waited for (D12).
            ClientEvent::Violation(Violation { error: ProtocolError::UnknownAnswer(_), .. })
                if self.client_book.gave_up => {}
            ClientEvent::EventsLost { from, to } => self.broken(Rule::InOrder, format!("{from} to {to} are lost")),
            ClientEvent::Violation(violation) => self.broken(Rule::Frames, format!("to the client: {violation:?}")),
            ClientEvent::Error { .. } | ClientEvent::Lagging { .. } => {}
            other => self.broken(Rule::Frames, format!("to the client: {other:?}")),
        }
    }

    fn client_is_attached(&mut self, rules: &Rules<'_>) {
        self.client_book.window_end = None;
        self.client_book.heard = rules.configuration.interval().map(|_| self.now.mono);
    }

    fn no_request_is_open(&mut self) {
        let open = self.client_book.open.len();
        self.check(open == 0, Rule::Requests, || format!("{open} requests are left without an answer"));
    }

    fn client_is_detached(&mut self, rules: &Rules<'_>, reason: &DetachReason) {
        self.client_stands(&[Stand::Open, Stand::Trying], Stand::Lost);
        self.no_request_is_open();
        let now = self.now.mono;
        let window = rules.configuration.runtime.resume_window;
        self.client_book.window_end = self.client_book.window_end.or(Some(now + window));
        match reason {
            DetachReason::TransportLost => {}
            DetachReason::HandshakeFailed => rules.marks.set(Mark::HandshakeTimeout),
            DetachReason::HeartbeatLost => {
                let is_told = self.reading.as_deref() == Some("session.error");
                if !is_told {
                    rules.marks.set(Mark::ClientSilence);
                }
                let heard = self.client_book.heard;
                self.silence_is_due(rules, is_told, heard);
            }
            other => self.broken(Rule::Frames, format!("the client gives its transport up: {other}")),
        }
    }

    fn silence_is_due(&mut self, rules: &Rules<'_>, is_told: bool, heard: Option<arcp_proto::Instant>) {
        let now = self.now.mono;
        let due = heard.and_then(|heard| Some(heard + 2 * rules.configuration.interval()?));
        let is_disturbed = self.is_disturbed;
        self.check(is_disturbed, Rule::Heartbeat, || "a healthy link is given up".into());
        self.check(is_told || due == Some(now), Rule::Heartbeat, || "silence is judged at another time".into());
    }

    fn client_is_closed(&mut self, rules: &Rules<'_>, reason: &CloseReason) {
        let now = self.now.mono;
        let (stand, reading) = (self.client_book.stand, self.reading.clone());
        let reading = reading.as_deref();
        let is_explained = match reason {
            CloseReason::Requested => self.client_book.goodbye,
            CloseReason::PeerClosed { .. } => matches!(reading, Some("session.bye" | "session.closed")),
            CloseReason::ResumeRefused(_) => stand == Stand::Trying && reading == Some("session.error"),
            CloseReason::ResumeWindowExpired => {
                rules.marks.set(Mark::ClientWindow);
                self.client_book.window_end == Some(now)
            }
            CloseReason::ConnectFailed(_) => stand == Stand::New && self.is_disturbed,
            _ => false,
        };
        let rule = if *reason == CloseReason::ResumeWindowExpired { Rule::Ends } else { Rule::Phases };
        self.check(is_explained, rule, || format!("the client is closed: {reason}"));
        self.client_stands(&[Stand::New, Stand::Open, Stand::Lost, Stand::Trying], Stand::Closed);
        self.no_request_is_open();
        if stand == Stand::Open {
            self.client_book.window_end = Some(now + rules.configuration.runtime.resume_window);
        }
        let is_final = matches!(reason, CloseReason::ResumeWindowExpired | CloseReason::ResumeRefused(_));
        self.client_book.can_come_back = !is_final && self.client_book.window_end.is_some();
        if *reason == CloseReason::Requested && reading == Some("session.closed") {
            rules.marks.set(Mark::Goodbye);
        }
    }

    fn delivered(&mut self, delivery: &Delivery) {
        let (seq, expected) = (delivery.seq().unwrap_or(0), self.client_book.delivered + 1);
        self.check(seq == expected, Rule::InOrder, || format!("event {seq} is delivered where {expected} is next"));
        self.client_book.delivered = seq;
        let body = delivery.body::<serde_json::Value>().unwrap_or_default();
        let content = match body["message"].as_str().map(str::parse) {
            Some(Ok(number)) => Content::Event(number),
            _ => Content::Pressure,
        };
        let index = usize::try_from(seq).unwrap_or(0).wrapping_sub(1);
        let published = self.runtime_book.contents.get(index).copied();
        self.check(published == Some(content), Rule::InOrder, || {
            format!("event {seq} is {content:?}, and was {published:?}")
        });
    }

    fn is_answered(&mut self, request: RequestId) {
        let open = self.client_book.open.iter().position(|open| *open == request);
        match open {
            Some(at) => drop(self.client_book.open.remove(at)),
            None => self.broken(Rule::Requests, format!("request {request} is answered again")),
        }
    }

    fn runtime_is_told(&mut self, rules: &Rules<'_>, event: RuntimeEvent) {
        self.note(|| match &event {
            RuntimeEvent::Submit { request, .. } => format!("    runtime is told: submit {request}"),
            other => format!("    runtime is told: {other:?}"),
        });
        let stand = self.runtime_book.stand;
        self.check(stand != Stand::Closed, Rule::Phases, || "the runtime is told something behind Closed".into());
        let now = self.now.mono;
        let mut asked = |request, is_submit| {
            self.runtime_book.pending.push(Asked { request, is_submit, is_orphan: false });
        };
        match event {
            RuntimeEvent::Submit { request, .. } => asked(request, true),
            RuntimeEvent::ListJobs { request, .. } => asked(request, false),
            // The driver has seen to it.
            RuntimeEvent::Resumed { .. } => {
                self.check(stand == Stand::Open, Rule::Phases, || format!("resumed, and {stand:?}"));
            }
            RuntimeEvent::Writable => {
                rules.marks.set(Mark::Writable);
                match self.runtime_book.blocked.take() {
                    // Again, as the application is told to.
                    Some(number) => self.publish(rules, number),
                    None => self.broken(Rule::Blocked, "Writable, and nobody is blocked"),
                }
                if self.runtime_book.blocked.is_some() {
                    self.broken(Rule::Blocked, "Writable, and blocked again");
                }
            }
            RuntimeEvent::BackPressure { .. } => {}
            RuntimeEvent::Detached(reason) => self.runtime_is_detached(rules, &reason),
            RuntimeEvent::WindowElapsed => {
                rules.marks.set(Mark::RuntimeWindow);
                let is_due = self.runtime_book.window_end == Some(now) && !self.runtime_book.is_elapsed;
                self.check(is_due, Rule::Ends, || "the runtime's window is over at another time".into());
                self.runtime_book.is_elapsed = true;
                if self.runtime_phase() != Some(Phase::Closed) {
                    rules.marks.set(Mark::Kept);
                    let has_ack = rules.configuration.has(Feature::Ack);
                    let has_unacked = self.runtime_book.emitted() > self.runtime_book.acked;
                    self.check(has_ack && has_unacked, Rule::Ends, || "it is kept for nothing".into());
                }
            }
            RuntimeEvent::Closed(reason) => self.runtime_is_closed(rules, &reason),
            other => self.broken(Rule::Frames, format!("to the runtime: {other:?}")),
        }
    }

    fn runtime_is_detached(&mut self, rules: &Rules<'_>, reason: &DetachReason) {
        let stand = self.runtime_book.stand;
        self.check(stand == Stand::Open, Rule::Phases, || format!("the runtime is detached after {stand:?}"));
        let heard = self.runtime_book.heard;
        match reason {
            DetachReason::TransportLost | DetachReason::PeerClosed { .. } => {}
            DetachReason::Overrun if rules.configuration.evicts() => rules.marks.set(Mark::Overrun),
            DetachReason::HeartbeatLost => {
                rules.marks.set(Mark::RuntimeSilence);
                self.silence_is_due(rules, false, heard);
            }
            other => self.broken(Rule::Frames, format!("the runtime gives its transport up: {other}")),
        }
        let book = &mut self.runtime_book;
        book.stand = Stand::Lost;
        book.window_end = Some(self.now.mono + rules.configuration.runtime.resume_window);
        book.retention_end = Some(self.now.mono + rules.configuration.runtime.retention);
        book.pending.iter_mut().for_each(|asked| asked.is_orphan = true);
    }

    fn runtime_is_closed(&mut self, rules: &Rules<'_>, reason: &CloseReason) {
        let now = self.now.mono;
        let has_ack = rules.configuration.has(Feature::Ack);
        let book = &self.runtime_book;
        let is_full = self.is_full(rules.configuration);
        let has_unacked = has_ack && book.emitted() > book.acked;
        let is_at_window = book.window_end == Some(now) && !has_unacked;
        let is_at_retention = book.retention_end == Some(now);
        if book.is_elapsed && is_at_retention {
            rules.marks.set(Mark::Retention);
        }
        let is_explained = match reason {
            CloseReason::Shutdown => {
                rules.marks.set(Mark::Shutdown);
                book.shutdown
            }
            CloseReason::ResumeWindowExpired => book.is_elapsed && (is_at_window || is_at_retention || is_full),
            _ => false,
        };
        self.check(is_explained, Rule::Ends, || format!("the runtime is closed: {reason}"));
        self.runtime_book.stand = Stand::Closed;
        // Whoever waits for Writable is told the end.
        self.runtime_book.blocked = None;
    }

    /// What must be true of a state at rest.
    pub(crate) fn look(&mut self, rules: &Rules<'_>) {
        let now = self.now.mono;
        let has_ack = rules.configuration.has(Feature::Ack);
        if self.client.phase() != Phase::Open {
            self.client_book.heard = None;
            self.client_book.pongs_owed = 0;
            self.client_book.ack_due = None;
        }
        let (received, processed) = (self.client.last_event_seq(), self.client.last_processed_seq());
        let book = &self.client_book;
        let agrees = (received, processed) == (book.delivered, book.processed);
        self.check(agrees, Rule::InOrder, || format!("the client stands at {received}, {processed}"));
        let moves = |at: Option<arcp_proto::Instant>| at.is_none_or(|at| at > now);
        let client_moves = moves(self.client.poll_timeout());
        self.check(client_moves, Rule::Deadlines, || "the client's deadline does not move".into());
        let Some(runtime) = &self.runtime else { return };
        let phase = runtime.phase();
        if phase != Phase::Open {
            self.runtime_book.heard = None;
            self.runtime_book.pongs_owed = 0;
        }
        let book = &self.runtime_book;
        let runtime_moves = moves(runtime.poll_timeout());
        let (emitted, acked, floor) = (runtime.last_event_seq(), runtime.acked_seq(), runtime.replay_floor());
        let len = runtime.replay_len().0 as u64;
        let (known, known_acked, transmitted) = (book.emitted(), book.acked, book.transmitted);
        let (held, capacity) = (book.held(has_ack), rules.configuration.capacity());
        let is_owed = book.blocked.is_some() && held <= capacity / 2 && held < capacity;
        self.check(runtime_moves, Rule::Deadlines, || "the runtime's deadline does not move".into());
        self.check(emitted == known, Rule::Numbers, || format!("the last event is {emitted}, and {known} were taken"));
        self.check(acked == known_acked, Rule::Acks, || format!("{acked} is acknowledged, and {known_acked} was said"));
        let most = match (has_ack, rules.configuration.evicts()) {
            (_, true) => acked.max(emitted.saturating_sub(capacity)),
            (true, _) => acked,
            (false, _) => transmitted,
        };
        self.check(floor <= most, Rule::Kept, || format!("{floor} is freed, and only {most} may be"));
        self.check(floor + len == emitted, Rule::Numbers, || format!("{len} events between {floor} and {emitted}"));
        // The status of back-pressure is beyond the limit.
        self.check(len <= capacity + 1, Rule::Kept, || format!("{len} events are kept"));
        self.check(!is_owed, Rule::Blocked, || "half of the window is free, and Writable was not told".into());
        let silence = |heard: Option<arcp_proto::Instant>| Some(heard? + 2 * rules.configuration.interval()?);
        let is_late =
            [self.client_book.heard, self.runtime_book.heard].into_iter().any(|heard| silence(heard) == Some(now));
        self.check(!is_late, Rule::Heartbeat, || "two intervals were silent, and nobody is lost".into());
    }
}
