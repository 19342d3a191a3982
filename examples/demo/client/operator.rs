//! Carries a script out on a session, from one transport to the next.

use std::fmt::Display;
use std::io::Write;
use std::mem;
use std::time::Duration;

use arcp_proto::wire::{JobId, JobPage};
use arcp_proto::{
    Client, ClientEvent, CloseReason, Instant, Now, Phase, RequestFailure, RequestId, SendError, Session,
};

use super::backoff::Backoff;
use super::command::{Command, Job};
use super::jobs::Jobs;
use super::options::ClientOptions;
use super::report::Report;
use super::script::{Input, Script};

/// A connection that held for so long was a good one: the next that is lost is tried again at once.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// `list all` follows so many cursors at most.
const MOST_PAGES: u32 = 10_000;

/// A request is sent again so often at most: it may be the very thing that kills the connection.
const MOST_REPEATS: u32 = 8;

/// So many transports in a row may end as in [`Progress`]: a replay brings what ended them again and again.
const MOST_IN_VAIN: u32 = 4;

/// What the program is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Open a transport, then say `connected` or `unreachable`.
    Connect,
    /// Send what `poll_transmit` still has, then close the transport. Nothing that still comes from it is fed in.
    HangUp,
    /// Send what there is, then wait until something happens or `poll_timeout()`.
    Wait,
    /// Exit with this code.
    Over(u8),
}

pub struct Operator {
    session: Session<Client>,
    report: Report,
    script: Script,
    doing: Doing,
    jobs: Jobs,
    /// Events are marked as processed.
    is_acking: bool,
    /// The last event that was reported.
    reported: u64,
    /// Whether a lost transport can be made anew.
    can_reconnect: bool,
    /// There is a transport.
    is_linked: bool,
    /// When to connect, where there is none.
    connect_at: Instant,
    /// When the last welcome came.
    welcomed_at: Option<Instant>,
    backoff: Backoff,
    progress: Progress,
    /// `Closed` was told.
    is_closed: bool,
    has_failed: bool,
}

/// What became of the present transport, and of those before it. One that was used against the rules, and brought no event
/// before it ended, was in vain.
#[derive(Default)]
struct Progress {
    /// The last event before its welcome.
    began_at: u64,
    is_violated: bool,
    in_vain: u32,
}

/// What the script is at.
enum Doing {
    /// The next command, if there is one and the session is open.
    Next,
    /// A request that waits for its answer.
    Asking(RequestId, Errand),
    /// A request whose answer was lost with the transport: it is sent again.
    Again(Errand),
    Sleeping(Instant),
    /// Until the session is resumed.
    Resuming,
    /// Until all jobs have ended.
    Waiting,
    /// The session was told to close.
    Leaving,
}

/// A command that is carried out in several steps.
struct Errand {
    command: Command,
    /// How many pages were asked for before.
    pages: u32,
    /// How often it was sent again.
    repeats: u32,
}

impl From<Command> for Errand {
    fn from(command: Command) -> Errand {
        Errand { command, pages: 0, repeats: 0 }
    }
}

impl Operator {
    /// Begins a session. Lines are written to `out`.
    pub fn new(now: Now, options: ClientOptions, can_reconnect: bool, out: Box<dyn Write + Send>) -> Operator {
        Operator {
            session: Session::connect(now, options.config(can_reconnect)),
            report: Report::new(out),
            script: Script::new(options.commands),
            doing: Doing::Next,
            jobs: Jobs::default(),
            is_acking: true,
            reported: 0,
            can_reconnect,
            is_linked: false,
            connect_at: now.mono,
            welcomed_at: None,
            backoff: Backoff::new(fastrand::Rng::new()),
            progress: Progress::default(),
            is_closed: false,
            has_failed: false,
        }
    }

    /// For what comes and goes on the transport.
    pub fn session(&mut self) -> &mut Session<Client> {
        &mut self.session
    }

    /// Attends to all that happened, and says what to do. What was read is fed in before (D21).
    pub fn next(&mut self, now: Now) -> Next {
        if self.session.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.session.handle_timeout(now);
        }
        loop {
            self.attend(now);
            if !self.proceed(now) {
                break;
            }
        }
        if self.is_linked && !self.session.phase().is_attached() {
            self.is_linked = false;
            return Next::HangUp;
        }
        if self.is_closed {
            return Next::Over(self.has_failed.into());
        }
        if !self.is_linked && self.connect_at <= now.mono { Next::Connect } else { Next::Wait }
    }

    /// When to ask `next` again, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sleep = match self.doing {
            Doing::Sleeping(until) => Some(until),
            _ => None,
        };
        let connect = (!self.is_linked).then_some(self.connect_at);
        [self.session.poll_timeout(), sleep, connect].into_iter().flatten().min()
    }

    /// There is a transport.
    pub fn connected(&mut self, now: Now) {
        self.is_linked = true;
        if self.session.phase() == Phase::Detached
            && let Err(error) = self.session.resume(now)
        {
            self.give_up(now, &error);
        }
    }

    /// There is none. At the beginning that is the end: somebody mistyped an address.
    pub fn unreachable(&mut self, now: Now, error: &dyn Display) {
        self.report.error(&format!("cannot connect: {error}"));
        if self.session.phase() == Phase::Connecting {
            self.session.handle_disconnect(now);
        } else {
            self.try_again(now);
        }
    }

    /// Whether the next line of the standard input is wanted.
    pub fn wants_command(&self) -> bool {
        self.script.wants_line() && !matches!(self.doing, Doing::Leaving)
    }

    /// A line of the standard input. Nothing behind a bad one is carried out: it may build on it.
    pub fn command(&mut self, input: Input) {
        let parsed = match input {
            Input::Line(line) => Command::parse_line(&line),
            Input::Garbage(why) => Err(why),
            Input::End => return self.script.close(),
        };
        match parsed {
            Ok(command) => command.into_iter().for_each(|command| self.script.push(command)),
            Err(why) => {
                self.report.error(&format!("bad command: {why}"));
                self.has_failed = true;
                self.script.abandon();
            }
        }
    }

    /// Somebody wants this to end: the session is told goodbye, which takes as long as the session's `close_timeout` at most.
    pub fn interrupt(&mut self, now: Now) {
        let is_idle = matches!(self.doing, Doing::Next | Doing::Leaving) && self.session.phase() != Phase::Detached;
        self.has_failed |= !(is_idle && self.script.is_empty() && self.jobs.all_ended());
        self.leave(now, "interrupted");
    }

    /// Reports, and marks as processed what was reported.
    fn attend(&mut self, now: Now) {
        while let Some(event) = self.session.poll_event() {
            self.report.event(&event);
            self.reported = event.seq().map_or(self.reported, |seq| seq.max(self.reported));
            self.note(now, event);
        }
        if let Err(error) = self.report.flush() {
            // Whoever read it has gone (`| head`): nothing of it is processed, and nobody is there to be told why.
            eprintln!("cannot write events: {error}");
            self.has_failed = true;
            self.is_acking = false;
            return self.leave(now, "normal");
        }
        if self.is_acking && self.reported > self.session.last_processed_seq() {
            // It was polled: it may be marked.
            let _ = self.session.mark_processed(now, self.reported);
        }
    }

    fn note(&mut self, now: Now, event: ClientEvent) {
        match event {
            ClientEvent::Connected(_) | ClientEvent::Resumed(_) => {
                self.welcomed_at = Some(now.mono);
                self.progress = Progress { began_at: self.reported, is_violated: false, ..self.progress };
                if matches!(self.doing, Doing::Resuming) {
                    self.doing = Doing::Next;
                }
            }
            ClientEvent::Accepted { request, accepted } if self.is_answer(request) => {
                self.has_failed |= self.jobs.submitted(&accepted.job_id);
                self.doing = Doing::Next;
            }
            ClientEvent::Finished { delivery, result } => {
                if let Some(job) = delivery.to_job_id() {
                    self.has_failed |= self.jobs.ended(&job, &result.final_status);
                }
            }
            ClientEvent::Failed { delivery, error } => {
                if let Some(job) = delivery.to_job_id() {
                    self.has_failed |= self.jobs.ended(&job, &error.final_status);
                }
            }
            ClientEvent::Cancelled { request, .. } if self.is_answer(request) => self.doing = Doing::Next,
            ClientEvent::Subscribed { request, subscribed } if self.is_answer(request) => {
                self.jobs.followed(&subscribed.job_id, &subscribed.current_status);
                self.doing = Doing::Next;
            }
            ClientEvent::Jobs { request, page } if self.is_answer(Some(request)) => self.page(now, page),
            ClientEvent::RequestFailed { request, failure } if self.is_answer(Some(request)) => self.failed(failure),
            ClientEvent::EventsLost { .. } => self.has_failed = true,
            ClientEvent::Violation(_) => self.progress.is_violated = true,
            ClientEvent::Detached(_) => self.lost(now),
            ClientEvent::Closed(reason) => {
                self.is_closed = true;
                self.has_failed |= !matches!((&self.doing, reason), (Doing::Leaving, CloseReason::Requested));
            }
            _ => {}
        }
    }

    fn is_answer(&self, request: Option<RequestId>) -> bool {
        matches!(&self.doing, Doing::Asking(asked, ..) if Some(*asked) == request)
    }

    /// What was asked for came to nothing.
    fn failed(&mut self, failure: RequestFailure) {
        let Doing::Asking(_, mut errand) = mem::replace(&mut self.doing, Doing::Next) else { return };
        errand.repeats += 1;
        let may_repeat = errand.command.is_repeatable() && errand.repeats <= MOST_REPEATS;
        if failure == RequestFailure::Disconnected && may_repeat {
            self.doing = Doing::Again(errand);
        } else {
            self.report.refused(&errand.command, &failure);
            self.has_failed = true;
        }
    }

    /// A page came; with `all`, the next one is asked for.
    fn page(&mut self, now: Now, page: JobPage) {
        let Doing::Asking(_, mut errand) = mem::replace(&mut self.doing, Doing::Next) else { return };
        if let (Command::List { query, all: true }, Some(cursor)) = (&mut errand.command, page.next_cursor) {
            errand.pages += 1;
            // A cursor that leads back to its own page has no end.
            if errand.pages >= MOST_PAGES || query.cursor.as_ref() == Some(&cursor) {
                return self.not_done(&errand.command, &"there is no end of pages");
            }
            query.cursor = Some(cursor);
            self.run(now, errand);
        }
    }

    /// The transport is gone, and the session has not ended.
    fn lost(&mut self, now: Now) {
        if !self.can_reconnect {
            return self.give_up(now, &"this transport cannot be made anew");
        }
        if self.session.resume_token().is_none() {
            return self.give_up(now, &"the runtime gave no token to resume with");
        }
        let is_in_vain = self.progress.is_violated && self.reported == self.progress.began_at;
        self.progress.in_vain = if is_in_vain { self.progress.in_vain + 1 } else { 0 };
        if self.progress.in_vain >= MOST_IN_VAIN {
            return self.give_up(now, &"each time the transport is lost before an event comes");
        }
        if self.welcomed_at.take().is_some_and(|at| now.mono.since(at) >= GOOD_FOR) {
            self.backoff.reset();
        }
        self.try_again(now);
    }

    fn try_again(&mut self, now: Now) {
        let (attempt, wait) = self.backoff.next();
        self.connect_at = now.mono + wait;
        self.report.reconnecting(attempt, wait);
    }

    fn give_up(&mut self, now: Now, why: &dyn Display) {
        self.report.error(&format!("the session cannot be resumed: {why}"));
        self.has_failed = true;
        self.leave(now, "normal");
    }

    /// Goes on with the script; says whether there was anything to do.
    fn proceed(&mut self, now: Now) -> bool {
        let is_open = self.session.phase() == Phase::Open;
        match mem::replace(&mut self.doing, Doing::Next) {
            Doing::Sleeping(until) if until <= now.mono => true,
            Doing::Waiting if self.jobs.all_ended() => true,
            Doing::Again(errand) if is_open => {
                self.run(now, errand);
                true
            }
            Doing::Next if is_open => match self.script.pop() {
                Some(command) => {
                    self.run(now, command.into());
                    true
                }
                None if self.script.is_over() && self.jobs.all_ended() => {
                    self.leave(now, "normal");
                    true
                }
                None => false,
            },
            other => {
                self.doing = other;
                false
            }
        }
    }

    fn run(&mut self, now: Now, errand: Errand) {
        let command = &errand.command;
        let asked = match command {
            Command::Submit(submit) => self.session.submit(now, submit).map(Some),
            Command::Cancel(job) => match self.job(job) {
                Ok(job) => {
                    self.jobs.cancel_asked(&job);
                    self.session.cancel(now, &job, None).map(Some)
                }
                Err(why) => return self.not_done(command, &why),
            },
            Command::Subscribe(job, history) => match self.job(job) {
                Ok(job) => self.session.subscribe(now, &job, *history).map(Some),
                Err(why) => return self.not_done(command, &why),
            },
            Command::Unsubscribe(job) => match self.job(job) {
                Ok(job) => {
                    self.jobs.unfollowed(&job);
                    self.session.unsubscribe(now, &job).map(|()| None)
                }
                Err(why) => return self.not_done(command, &why),
            },
            Command::List { query, .. } => self.session.list_jobs(now, query).map(Some),
            other => return self.run_here(now, other),
        };
        match asked {
            Ok(Some(request)) => self.doing = Doing::Asking(request, errand),
            Ok(None) => {}
            // The transport was lost just now.
            Err(SendError::NotOpen(_)) => self.doing = Doing::Again(errand),
            Err(error) => self.not_done(command, &error),
        }
    }

    /// A command that asks nothing of the runtime.
    fn run_here(&mut self, now: Now, command: &Command) {
        match command {
            Command::Ack(on) => self.is_acking = *on,
            Command::Drop if self.can_reconnect => {
                // The cut is ours: the runtime is not at fault.
                self.backoff.reset();
                self.doing = Doing::Resuming;
                self.session.handle_disconnect(now);
            }
            Command::Drop => self.not_done(command, &"this transport cannot be made anew"),
            Command::Sleep(time) => self.doing = Doing::Sleeping(now.mono + *time),
            Command::Wait => self.doing = Doing::Waiting,
            Command::Bye(reason) => self.leave(now, reason.as_deref().unwrap_or("normal")),
            _ => {}
        }
    }

    fn job(&self, job: &Job) -> Result<JobId, &'static str> {
        match job {
            Job::Named(id) => Ok(id.clone()),
            Job::Latest => self.jobs.latest().cloned().ok_or("no job was accepted yet"),
        }
    }

    fn not_done(&mut self, command: &Command, why: &dyn Display) {
        self.report.not_done(command, why);
        self.has_failed = true;
    }

    fn leave(&mut self, now: Now, reason: &str) {
        self.script.abandon();
        self.doing = Doing::Leaving;
        self.session.close(now, reason);
    }
}
