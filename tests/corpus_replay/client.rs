//! Our clients on the stage: recorded runtimes speak to them, on the transports and at the times of the recording.

use std::collections::BTreeMap;
use std::time::Duration;

use arcp_proto::referee::Side;
use arcp_proto::wire::{self, Credentials, Envelope, FrameFault, MessageType, PeerInfo};
use arcp_proto::{Client, ClientConfig, Farewell, FeatureSet, GapPolicy, Now, Phase, Session};
use bytes::Bytes;

use crate::actor::Actor;
use crate::corpus::{Recording, What};
use crate::ending::{self, Ending};
use crate::judge::Judge;
use crate::outcome::Outcome;
use crate::plot::{Index, Plot, Verdict};
use crate::story::Story;

struct Stage<'a> {
    recording: &'a Recording,
    plot: &'a Plot,
    now: Now,
    /// The hello of each transport.
    openings: BTreeMap<u64, Index>,
    actors: BTreeMap<u64, Actor>,
    judge: Judge,
    outcome: Outcome,
}

/// Replays what the runtime said.
pub(crate) fn replay(recording: &Recording, plot: &Plot) -> Outcome {
    let mut stage = Stage {
        recording,
        plot,
        now: plot.origin,
        openings: openings(recording, plot),
        actors: BTreeMap::new(),
        judge: Judge::of(Side::Client),
        outcome: Outcome::default(),
    };
    for step in &recording.steps {
        stage.pass(step.at);
        match step.what {
            What::Open => stage.judge.open(step.conn, stage.now.mono),
            What::Line { from: Side::Client, index, .. } => stage.act(step.conn, index),
            What::Line { from: Side::Runtime, index, .. } => stage.hear(step.conn, index),
            What::Eof(Side::Client) => stage.hang_up(step.conn),
            What::Eof(Side::Runtime) | What::Close => stage.lose(step.conn),
        }
        stage.time_out();
    }
    stage.end()
}

/// The hello that was answered, or else the first.
fn openings(recording: &Recording, plot: &Plot) -> BTreeMap<u64, Index> {
    let mut openings = BTreeMap::new();
    for step in &recording.steps {
        if let What::Line { from: Side::Client, index, .. } = step.what
            && matches!(plot.lines[index].part, crate::plot::Part::Opening { .. })
        {
            let is_answered = |line: &Index| matches!(plot.verdict(*line), Verdict::Welcomed | Verdict::Resumed);
            let chosen = openings.entry(step.conn).or_insert(index);
            if !is_answered(chosen) && plot.answer_to(index).is_some() {
                *chosen = index;
            }
        }
    }
    openings
}

/// Time.
impl Stage<'_> {
    fn next_deadline(&self) -> Option<arcp_proto::Instant> {
        self.actors.values().filter_map(|actor| actor.session.poll_timeout()).min()
    }

    /// Until so long after the origin; every deadline on the way is kept.
    fn pass(&mut self, at: Duration) {
        let end = self.plot.origin.after(at);
        while let Some(next) = self.next_deadline().filter(|next| *next < end.mono) {
            self.now = self.plot.origin.after(next - self.plot.origin.mono);
            self.time_out();
        }
        self.now = end;
    }

    fn time_out(&mut self) {
        let now = self.now;
        let is_due = |actor: &Actor| actor.session.poll_timeout().is_some_and(|at| at <= now.mono);
        let due: Vec<u64> = self.actors.iter().filter(|(_, actor)| is_due(actor)).map(|(conn, _)| *conn).collect();
        for conn in due {
            if let Some(actor) = self.actors.get_mut(&conn) {
                actor.session.handle_timeout(now);
                assert!(actor.session.poll_timeout().is_none_or(|at| at > now.mono), "the deadline did not move");
            }
            self.settle(conn, None);
        }
    }
}

/// What the recorded sides do.
impl Stage<'_> {
    /// The recorded client says something, and ours does the like.
    fn act(&mut self, conn: u64, line: Index) {
        if self.openings.get(&conn) == Some(&line) {
            self.connect(conn, line);
        } else if let Some(actor) = self.actors.get_mut(&conn).filter(|actor| actor.is_there) {
            actor.act(self.plot, self.now, line, &mut self.outcome);
        }
        self.settle(conn, None);
    }

    fn connect(&mut self, conn: u64, line: Index) {
        let config = self.config(conn, line);
        let actor = match self.plot.resumes(line) {
            None => Some(Actor::new(Session::connect(self.now, config), Story::default())),
            Some(claim) => claim.resume_token.and_then(|token| self.successor(config, &token)),
        };
        match actor {
            Some(actor) => drop(self.actors.insert(conn, actor)),
            None => self.outcome.tally.count("transports", "not played, for want of their token"),
        }
    }

    /// As the recorded client said of itself.
    fn config(&self, conn: u64, line: Index) -> ClientConfig {
        let hello = self.plot.payload::<wire::Hello>(line);
        let has_token = |auth: &Credentials| auth.token.as_ref().is_some_and(|token| !token.is_empty());
        // Ours is not asked to say hello without.
        let credentials = hello.as_ref().and_then(|hello| hello.auth.clone()).filter(has_token);
        let capabilities = hello.and_then(|hello| hello.capabilities);
        let features = capabilities.map_or_else(FeatureSet::none, |capabilities| capabilities.features);
        let peer = PeerInfo::new("ours", "1");
        let mut config = ClientConfig::new(peer, credentials.unwrap_or_else(|| Credentials::bearer("nobody")));
        config.features = features;
        // A recording cannot be asked for what is missing in it.
        config.gap_policy = GapPolicy::Report;
        config.id_prefix = format!("on_{conn}_");
        if self.says_close(conn) {
            config.farewell = Farewell::Close;
        }
        config
    }

    /// How the client said goodbye on this transport, or else on any.
    fn says_close(&self, conn: u64) -> bool {
        let goodbyes = self.recording.steps.iter().filter_map(|step| match step.what {
            What::Line { index, .. } => Some((step.conn, self.plot.message(index)?)),
            _ => None,
        });
        let mut goodbyes =
            goodbyes.filter(|(_, message)| matches!(message, MessageType::SessionClose | MessageType::SessionBye));
        let first = goodbyes.clone().next();
        goodbyes.find(|(on, _)| *on == conn).or(first).is_some_and(|(_, message)| message == MessageType::SessionClose)
    }

    /// The client that has this token comes back. It may be there still, on another transport, or come back twice: then
    /// it is another process that has stored as much of it.
    fn successor(&mut self, config: ClientConfig, token: &wire::ResumeToken) -> Option<Actor> {
        let now = self.now;
        let has_it = |actor: &&mut Actor| actor.session.resume_token() == Some(token);
        let before = self.actors.values_mut().rev().find(has_it)?;
        let mut session = before.session.clone();
        if before.successors > 0 || session.phase() != Phase::Detached {
            session.handle_disconnect(now);
            let _ = session.mark_processed(now, before.story.last());
            session = Session::<Client>::restore(now, config.clone(), session.snapshot()).ok()?;
            self.outcome.tally.count("transports", "by a restored client");
        }
        before.successors += 1;
        session.set_credentials(config.credentials);
        let mut actor = Actor::new(session, before.story.clone());
        match actor.session.resume(now) {
            Ok(()) => Some(actor),
            Err(error) => {
                self.outcome.problem(format!("a client cannot resume: {error}"));
                None
            }
        }
    }

    /// The recorded runtime says something.
    fn hear(&mut self, conn: u64, line: Index) {
        let Some(actor) = self.actors.get_mut(&conn).filter(|actor| actor.is_there) else {
            return self.outcome.tally.count("transports", "lines unread");
        };
        let Some(bytes) = actor.readdressed(self.plot, line) else {
            return self.outcome.tally.count("withheld", "answers to what was not asked");
        };
        actor.decoder.push(bytes);
        actor.decoder.push(Bytes::from_static(b"\n"));
        while let Some(frame) = self.actors.get_mut(&conn).and_then(|actor| actor.decoder.next_line()) {
            self.take(conn, line, frame.map_err(Into::into));
        }
    }

    fn take(&mut self, conn: u64, line: Index, frame: Result<Bytes, FrameFault>) {
        let now = self.now;
        let Some(actor) = self.actors.get_mut(&conn).filter(|actor| actor.is_there) else { return };
        match frame {
            Ok(frame) => {
                self.judge.frame(conn, Side::Runtime, now.mono, &frame);
                if let Ok(envelope) = Envelope::decode(frame.clone())
                    && !actor.session.phase().is_handshake()
                {
                    actor.story.comes(&envelope, actor.session.last_event_seq(), &mut self.outcome);
                }
                actor.session.handle_input(now, frame);
            }
            Err(fault) => actor.session.handle_malformed(now, fault),
        }
        self.settle(conn, Some(line));
    }

    /// The recorded client has hung up. Ours waits, if it has said goodbye, for the runtime to do so.
    fn hang_up(&mut self, conn: u64) {
        let Some(actor) = self.actors.get_mut(&conn).filter(|actor| actor.is_there && !actor.is_leaving()) else {
            return;
        };
        actor.is_there = false;
        actor.session.handle_disconnect(self.now);
        self.judge.close(conn, self.now.mono);
        self.settle(conn, None);
    }

    /// The recorded runtime has hung up, or the transport was closed.
    fn lose(&mut self, conn: u64) {
        let Some(actor) = self.actors.get_mut(&conn).filter(|actor| actor.is_there) else { return };
        actor.is_there = false;
        actor.session.handle_disconnect(self.now);
        self.judge.eof(conn, Side::Runtime, self.now.mono);
        self.judge.close(conn, self.now.mono);
        self.settle(conn, None);
    }
}

/// What our clients do.
impl Stage<'_> {
    /// Until there is nothing more to be done; `reached` is the line that was handed to the client just now.
    fn settle(&mut self, conn: u64, reached: Option<Index>) {
        let now = self.now;
        let Some(actor) = self.actors.get_mut(&conn) else { return };
        let was_there = actor.is_there;
        loop {
            if let Some(event) = actor.session.poll_event() {
                actor.told(self.plot, reached, &event, &mut self.outcome);
            } else if let Some(frame) = actor.session.poll_transmit(now) {
                self.judge.frame(conn, Side::Client, now.mono, &frame);
                match Envelope::decode(frame) {
                    Ok(envelope) => {
                        self.outcome.tally.count("sent", envelope.type_name());
                        actor.spoken(self.plot, &envelope);
                    }
                    Err(error) => self.outcome.problem(format!("transport {conn}: a frame of ours: {error}")),
                }
            } else {
                break;
            }
        }
        if actor.is_there && !actor.session.phase().is_attached() {
            // It has given its transport up.
            actor.is_there = false;
            self.judge.eof(conn, Side::Client, now.mono);
        }
        if was_there != actor.is_there || !actor.is_there && reached.is_none() && actor.ending.is_some() {
            let cursor = actor.session.last_event_seq();
            actor.story.pauses(cursor, &mut self.outcome);
        }
    }
}

/// The end of the recording.
impl Stage<'_> {
    fn end(mut self) -> Outcome {
        let last = self.recording.steps.last().map_or(Duration::ZERO, |step| step.at);
        // Nobody answers goodbyes any more.
        self.pass(last + Duration::from_secs(6));
        for conn in self.actors.keys().copied().collect::<Vec<_>>() {
            if self.actors[&conn].is_there {
                self.outcome.tally.count("transports", "left open");
                self.lose(conn);
            }
        }
        for (conn, actor) in &self.actors {
            let recorded = self.plot.verdict(self.openings[conn]);
            self.outcome.tally.count("transports", actor.verdict.to_string());
            if actor.verdict != recorded {
                self.outcome.differences.push(format!("transport {conn}: {}, recorded as {recorded}", actor.verdict));
            }
            let expected = match recorded {
                Verdict::Refused(_) => Some(Ending::Refused),
                _ => ending::recorded(self.recording, self.plot, *conn),
            };
            if actor.ending != expected {
                let difference = format!("transport {conn} ended by {:?} and not by {expected:?}", actor.ending);
                self.outcome.differences.push(difference);
            }
            actor.check(&mut self.outcome);
        }
        // Long enough for all that has a deadline.
        for _ in 0..100_000 {
            let Some(next) = self.next_deadline() else { break };
            self.now = self.plot.origin.after(next - self.plot.origin.mono);
            self.time_out();
        }
        for (conn, actor) in &self.actors {
            if actor.session.phase() != Phase::Closed || actor.session.poll_timeout().is_some() {
                self.outcome.problems.push(format!("transport {conn}: its client is {}", actor.session.phase()));
            }
        }
        self.outcome.problems.extend(self.judge.finish());
        self.outcome
    }
}
