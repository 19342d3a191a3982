//! A client of ours in the place of a recorded one, on one transport. It asks what that one asked.

use std::collections::BTreeMap;

use arcp_proto::framing::LineDecoder;
use arcp_proto::wire::{Ack, Bye, Envelope, JobCancel, JobQuery, JobSubmit, JobSubscribe, MessageType};
use arcp_proto::{
    Client, ClientEvent, CloseReason, ConnectFailure, Limits, Now, Phase, RequestFailure, RequestId, ResumeRefusal,
    SendError, Session,
};
use bytes::Bytes;

use crate::ending::Ending;
use crate::outcome::Outcome;
use crate::plot::{Index, Part, Plot, Verdict};
use crate::story::Story;
use crate::tally::{closed, detached, failure, name, violation};
use crate::translation::reworded;

pub(crate) struct Actor {
    pub(crate) session: Session<Client>,
    /// Its transport stands, as far as its driver knows.
    pub(crate) is_there: bool,
    pub(crate) decoder: LineDecoder,
    pub(crate) story: Story,
    /// How its hello was answered.
    pub(crate) verdict: Verdict,
    /// How the session lost this transport.
    pub(crate) ending: Option<Ending>,
    /// How often it was resumed from.
    pub(crate) successors: usize,
    asked: BTreeMap<Index, Asked>,
    by_request: BTreeMap<RequestId, Index>,
}

struct Asked {
    /// Ours in place of the recorded message id.
    message_id: Option<String>,
    answers: usize,
}

impl Actor {
    pub(crate) fn new(session: Session<Client>, story: Story) -> Actor {
        Actor {
            session,
            is_there: true,
            decoder: LineDecoder::new(Limits::default().max_frame),
            story,
            verdict: Verdict::Ignored,
            ending: None,
            successors: 0,
            asked: BTreeMap::new(),
            by_request: BTreeMap::new(),
        }
    }

    /// Asks for what the recorded client asked for in that line.
    pub(crate) fn act(&mut self, plot: &Plot, now: Now, line: Index, outcome: &mut Outcome) {
        let Some(message) = plot.message(line) else { return };
        let session = &mut self.session;
        let asked = match message {
            MessageType::JobSubmit => plot.payload::<JobSubmit>(line).map(|submit| {
                match plot.lines[line].envelope.as_ref().and_then(Envelope::trace_id) {
                    Some(trace) => session.submit_traced(now, &submit, trace),
                    None => session.submit(now, &submit),
                }
            }),
            MessageType::JobCancel => plot.job_of(line).map(|job| {
                let reason = plot.payload::<JobCancel>(line).and_then(|cancel| cancel.reason);
                session.cancel(now, &job, reason)
            }),
            MessageType::JobSubscribe => {
                plot.payload::<JobSubscribe>(line).zip(plot.job_of(line)).map(|(wanted, job)| {
                    let history = wanted.history.unwrap_or(false).then(|| wanted.from_event_seq.unwrap_or(0));
                    session.subscribe(now, &job, history)
                })
            }
            MessageType::SessionListJobs => plot.payload::<JobQuery>(line).map(|query| session.list_jobs(now, &query)),
            _ => return self.say(plot, now, message, line, outcome),
        };
        match asked {
            Some(Ok(request)) => {
                outcome.tally.count("asked", message.name());
                self.asked.insert(line, Asked { message_id: None, answers: 0 });
                self.by_request.insert(request, line);
            }
            Some(Err(error)) => refused(outcome, message, &error),
            None => outcome.tally.count("not asked", format!("{} cannot be written", message.name())),
        }
    }

    /// What is not answered.
    fn say(&mut self, plot: &Plot, now: Now, message: MessageType, line: Index, outcome: &mut Outcome) {
        let session = &mut self.session;
        match message {
            MessageType::JobUnsubscribe => {
                let Some(job) = plot.job_of(line) else { return };
                if let Err(error) = session.unsubscribe(now, &job) {
                    refused(outcome, message, &error);
                }
            }
            MessageType::SessionAck => {
                let Some(ack) = plot.payload::<Ack>(line) else { return };
                match session.mark_processed(now, ack.last_processed_seq) {
                    Ok(()) => {
                        if let Err(error) = session.flush_acks(now) {
                            refused(outcome, message, &error);
                        }
                    }
                    Err(error) => outcome.tally.count("not asked", format!("{} {}", message.name(), name(&error))),
                }
            }
            MessageType::SessionBye | MessageType::SessionClose => {
                let reason = plot.payload::<Bye>(line).and_then(|bye| bye.reason).unwrap_or_default();
                session.close(now, &reason);
            }
            // It pings and pongs by itself, and what else there is nobody asks of it.
            _ => {}
        }
    }

    /// A frame of the recorded runtime's, naming our requests in place of the recorded ones. `None`: the answer to what
    /// was not asked, which no runtime would have given; but it stays where it has a place in the sequence.
    pub(crate) fn readdressed(&self, plot: &Plot, line: Index) -> Option<Bytes> {
        let of = &plot.lines[line];
        if let Part::Answer { to } = of.part
            && !self.asked.contains_key(&to)
            && of.envelope.as_ref().and_then(Envelope::event_seq).is_none()
        {
            return None;
        }
        let is_answer = matches!(of.part, Part::Answer { .. } | Part::Other);
        let mut bytes = of.bytes.clone();
        for (request, asked) in self.asked.iter().filter(|_| is_answer) {
            let recorded = plot.lines[*request].envelope.as_ref().and_then(Envelope::id);
            if let (Some(recorded), Some(ours)) = (recorded, &asked.message_id) {
                bytes = reworded(&bytes, &recorded, ours);
            }
        }
        Some(bytes)
    }

    /// A frame of ours: the one that asks has the message id.
    pub(crate) fn spoken(&mut self, plot: &Plot, envelope: &Envelope) {
        let message = envelope.message_type();
        let unsaid = self
            .asked
            .iter_mut()
            .find(|(line, asked)| asked.message_id.is_none() && message.is_some() && plot.message(**line) == message);
        if let (Some((_, asked)), Some(id)) = (unsaid, envelope.id()) {
            asked.message_id = Some(id.into_owned());
        }
    }

    /// What the session tells; `reached` is the line that it was handed last, if it was that.
    pub(crate) fn told(&mut self, plot: &Plot, reached: Option<Index>, event: &ClientEvent, outcome: &mut Outcome) {
        let mut count = |fact: &str| outcome.tally.count("told", fact);
        match event {
            ClientEvent::Connected(_) => self.verdict = Verdict::Welcomed,
            ClientEvent::Resumed(_) => self.verdict = Verdict::Resumed,
            ClientEvent::Accepted { request, .. } => {
                count(if request.is_some() { "accepted" } else { "accepted, unasked" });
                self.answered(plot, reached, *request, "job.accepted", outcome);
            }
            ClientEvent::Event(_) => count("event"),
            ClientEvent::Finished { .. } => count("finished"),
            ClientEvent::Failed { error, .. } => count(&format!("failed {}", error.code)),
            ClientEvent::Cancelled { request, .. } => {
                count(if request.is_some() { "cancelled" } else { "cancelled, unasked" });
                self.answered(plot, reached, *request, "job.cancelled", outcome);
            }
            ClientEvent::Subscribed { request, .. } => {
                count(if request.is_some() { "subscribed" } else { "subscribed, unasked" });
                self.answered(plot, reached, *request, "job.subscribed", outcome);
            }
            ClientEvent::Jobs { request, page } => {
                count("pages of jobs");
                outcome.tally.add("told", "jobs on pages", page.jobs.len() as u64);
                self.answered(plot, reached, Some(*request), "session.jobs", outcome);
            }
            ClientEvent::RequestFailed { request, failure: why } => {
                let by_answer = matches!(why, RequestFailure::Refused(_));
                self.answered(plot, reached.filter(|_| by_answer), Some(*request), &failure(why), outcome);
            }
            ClientEvent::Error { error, .. } => count(&format!("error {}", error.code)),
            ClientEvent::EventsLost { from, to } => self.story.lost((*from, *to), outcome),
            ClientEvent::Lagging { .. } => count("lagging"),
            ClientEvent::Violation(by) => outcome.tally.count("violations", violation(&by.error)),
            ClientEvent::Detached(reason) => {
                outcome.tally.count("detached", detached(reason));
                self.ending.get_or_insert(crate::ending::of_detached(reason));
            }
            // It went on as another.
            ClientEvent::Closed(CloseReason::ResumeWindowExpired) if self.successors > 0 => {}
            ClientEvent::Closed(reason) => {
                outcome.tally.count("closed", closed(reason));
                self.closed(reason);
            }
            _ => count("something new"),
        }
        let delivery = match event {
            ClientEvent::Event(delivery)
            | ClientEvent::Finished { delivery, .. }
            | ClientEvent::Failed { delivery, .. }
            | ClientEvent::Cancelled { delivery, .. } => delivery,
            _ => return,
        };
        match delivery.seq() {
            Some(seq) => self.story.told(seq, delivery.envelope(), outcome),
            None => outcome.tally.count("told", "without a place"),
        }
    }

    fn closed(&mut self, reason: &CloseReason) {
        let ending = match reason {
            CloseReason::ConnectRefused(error) | CloseReason::ResumeRefused(ResumeRefusal::Error(error)) => {
                self.verdict = Verdict::Refused(error.code.clone());
                Ending::Refused
            }
            CloseReason::ConnectFailed(ConnectFailure::TransportLost) => Ending::Lost,
            CloseReason::Requested => Ending::Goodbye,
            _ => Ending::Otherwise,
        };
        self.ending.get_or_insert(ending);
    }

    /// A request has its answer: the one that it has in the recording (D12).
    fn answered(
        &mut self,
        plot: &Plot,
        reached: Option<Index>,
        request: Option<RequestId>,
        what: &str,
        outcome: &mut Outcome,
    ) {
        let Some(line) = request.and_then(|request| self.by_request.get(&request)).copied() else { return };
        let asked = plot.message(line).map_or("", |message| message.name());
        outcome.tally.count("answered", format!("{asked} {what}"));
        if let Some(asked) = self.asked.get_mut(&line) {
            asked.answers += 1;
        }
        if let Some(reached) = reached
            && plot.answer_to(line) != Some(reached)
        {
            let recorded = plot.answer_to(line).map(|answer| answer + 1);
            outcome.problem(format!("line {}: answered by line {}, not {recorded:?}", line + 1, reached + 1));
        }
    }

    /// Every request was answered exactly once, be it by the end of the transport.
    pub(crate) fn check(&self, outcome: &mut Outcome) {
        for (line, asked) in self.asked.iter().filter(|(_, asked)| asked.answers != 1) {
            outcome.problem(format!("line {}: answered {} times", line + 1, asked.answers));
        }
    }

    /// It has said goodbye, and waits for the runtime to do so.
    pub(crate) fn is_leaving(&self) -> bool {
        self.session.phase() == Phase::Closing
    }
}

fn refused(outcome: &mut Outcome, message: MessageType, error: &SendError) {
    outcome.tally.count("not asked", format!("{} {}", message.name(), name(error)));
}
