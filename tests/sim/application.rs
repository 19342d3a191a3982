//! The application at a process: what it is told, and what it answers when it gets round to it.

use arcp_proto::SendError;
use arcp_proto::endpoint::{Applicant, EndpointEvent, PublishError, Request};
use arcp_proto::wire::{ErrorCode, JobAccepted, JobError, JobId, JobPage, WireError};

use super::mark::Mark;
use super::model::JobModel;
use super::plan::Profile;
use super::stream::Stream;
use super::worker::Worker;
use super::world::World;

/// What the application answers, when it gets round to it.
pub(crate) enum Answer {
    Verdict(Box<Applicant>),
    Accept(Request, String),
    Refuse(Request),
    Cancel(Request, JobId),
    List(Request),
}

impl World {
    pub(crate) fn endpoint_tells(&mut self, idx: usize, event: EndpointEvent) {
        let now = self.now;
        self.transcript.note(now, || format!("node {idx}: {event:?}"));
        self.keep_secrets(&event);
        let (slow_verdicts, slow_answers) = (self.plan.slow_verdicts, self.plan.slow_answers);
        let node = &mut self.nodes[idx];
        match event {
            EndpointEvent::Authenticate(applicant) => {
                let takes = if slow_verdicts { node.dice.below(6_000) } else { node.dice.pick(&[0, 0, 0, 40]) };
                node.later(now + takes, Answer::Verdict(applicant));
            }
            EndpointEvent::Submit { request, submit, .. } => {
                let takes = if slow_answers { node.dice.below(8_000) } else { node.dice.pick(&[0, 0, 30]) };
                let answer = match node.dice.once_in(12) {
                    true => Answer::Refuse(request),
                    false => Answer::Accept(request, submit.agent.clone()),
                };
                node.later(now + takes, answer);
            }
            EndpointEvent::Cancel { request, job_id, .. } => {
                let takes = node.dice.pick(&[0, 20, 3_000]);
                node.later(now + takes, Answer::Cancel(request, job_id));
            }
            EndpointEvent::ListJobs { request, .. } => {
                let takes = node.dice.pick(&[0, 20, 1_000, 5_000]);
                node.later(now + takes, Answer::List(request));
            }
            EndpointEvent::Writable { session, jobs } => {
                self.transcript.reached(Mark::Writable);
                for job in jobs {
                    if let Some(worker) = node.workers.get_mut(&job) {
                        worker.at = Some(now);
                    }
                }
                if let Some(hosted) = self.model.hosted.get_mut(&(idx, session)) {
                    hosted.blocked_since = None;
                }
            }
            EndpointEvent::BackPressure { active, .. } => {
                self.transcript.reached(if active { Mark::BackPressure } else { Mark::Relieved });
            }
            EndpointEvent::Resumed { takeover: true, .. } => self.transcript.reached(Mark::Takeover),
            EndpointEvent::Detached { session, reason } => self.session_is_detached(idx, &session, &reason),
            EndpointEvent::WindowElapsed { .. } => self.transcript.reached(Mark::WindowExpiredAtRuntime),
            EndpointEvent::Closed { session, reason, jobs } => self.session_is_closed(idx, &session, &reason, &jobs),
            EndpointEvent::Violation { session, violation } => {
                let of_a_torn_line = violation.error.rule() == "D39";
                let is_fine = self.plan.profile == Profile::Hostile || of_a_torn_line;
                assert!(is_fine, "{session}: {violation}");
            }
            _ => {}
        }
    }

    /// Whatever the application and the store have to do now.
    pub(crate) fn work(&mut self, idx: usize) {
        let now = self.now;
        if !self.nodes[idx].is_awake(now) {
            return;
        }
        self.work_of_store(idx);
        // In the order in which they were asked.
        while let Some(at) = self.nodes[idx].answers.iter().position(|(at, _)| *at <= now) {
            let (_, answer) = self.nodes[idx].answers.remove(at);
            self.answer(idx, answer);
        }
        let due: Vec<JobId> = {
            let is_due = |worker: &Worker| worker.at.is_some_and(|at| at <= now);
            self.nodes[idx].workers.iter().filter(|(_, worker)| is_due(worker)).map(|(job, _)| job.clone()).collect()
        };
        for job in due {
            self.next_of_job(idx, &job);
        }
    }

    fn answer(&mut self, idx: usize, answer: Answer) {
        let now = self.now;
        let local = self.nodes[idx].clock.at(now);
        let answered = match answer {
            Answer::Verdict(applicant) => return self.give_verdict(idx, &applicant),
            Answer::Accept(request, agent) => return self.accept(idx, &request, &agent),
            Answer::Refuse(request) => {
                let error = WireError::new(ErrorCode::AgentNotAvailable, "not today");
                self.ep(idx).refuse(local, &request, error)
            }
            Answer::Cancel(request, job) => {
                let mut confirmed = self.ep(idx).confirm_cancel(local, &request, None);
                if matches!(confirmed, Err(arcp_proto::AnswerError::Invalid(_))) {
                    let error = WireError::new(ErrorCode::InvalidRequest, "it has ended otherwise");
                    confirmed = self.ep(idx).refuse(local, &request, error);
                }
                let error = JobError::new(WireError::new(ErrorCode::Cancelled, "as asked for"));
                match self.ep(idx).fail(local, &job, error) {
                    Ok(_) => self.job_ends(idx, &job),
                    Err(PublishError::Send(SendError::Blocked)) => {
                        self.is_blocked(idx, &job);
                        if let Some(worker) = self.nodes[idx].workers.get_mut(&job) {
                            worker.total = worker.next;
                        }
                    }
                    Err(_) => {}
                }
                confirmed
            }
            Answer::List(request) => self.ep(idx).respond_jobs(local, &request, JobPage::default()),
        };
        match answered {
            Ok(()) => {}
            Err(arcp_proto::AnswerError::UnknownRequest) => self.transcript.reached(Mark::LateAnswer),
            Err(error) => panic!("node {idx} cannot answer: {error}"),
        }
    }

    fn accept(&mut self, idx: usize, request: &Request, agent: &str) {
        let now = self.now;
        let local = self.nodes[idx].clock.at(now);
        self.jobs += 1;
        let job = JobId::from(format!("job_{}", self.jobs).as_str());
        let accepted = JobAccepted::new(job.clone(), agent, local.wall);
        match self.ep(idx).accept_job(local, request, accepted) {
            Ok(()) => {
                let node = &mut self.nodes[idx];
                let (total, gap) = (node.dice.within(1, 14), node.dice.pick(&[1, 40, 300, 1_500]));
                let total = Stream::of(&job).map_or(total, |stream| stream.pieces);
                let worker = Worker { next: 0, total, gap, at: Some(now + node.dice.below(200)) };
                node.workers.insert(job.clone(), worker);
                let owner = request.session.clone();
                let peer = self.model.hosted.get(&(idx, owner.clone())).map_or(usize::MAX, |hosted| hosted.peer);
                let model = JobModel { owner, peer, events: Vec::new(), has_ended: false };
                self.model.jobs.insert(job, model);
            }
            Err(arcp_proto::endpoint::AcceptError::Answer(arcp_proto::AnswerError::UnknownRequest)) => {
                self.transcript.reached(Mark::LateAnswer);
            }
            Err(error) => panic!("node {idx} cannot accept a job: {error}"),
        }
    }
}
