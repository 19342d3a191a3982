//! What clients are granted: sessions, tokens, agents.

use std::sync::{Arc, LazyLock};

use arcp_proto::wire::{AgentInfo, Principal, ResumeToken, SessionId};
use arcp_proto::{Grant, Limits, Opening, Runtime, RuntimeConfig, Session};
use bytes::Bytes;

use crate::contract;
use crate::frames::{self, hello};
use crate::limits::small_runtime;
use crate::script::Args;

pub(crate) static AGENTS: LazyLock<Arc<[AgentInfo]>> = LazyLock::new(|| Arc::from([AgentInfo::new("a", ["1"])]));

pub(crate) fn token(n: u64) -> ResumeToken {
    ResumeToken::new(format!("rt_{n:032x}"))
}

/// Whoever has the session, or (7) somebody else.
pub(crate) fn principal(n: u8) -> Principal {
    Principal::from(if n == 7 { "mallory" } else { "alice" })
}

/// A session of these choices, to the first frame if that is a hello.
pub(crate) fn first_session(mut args: Args<'_>, first: Option<&[u8]>) -> (Session<Runtime>, RuntimeConfig) {
    let config = small_runtime(&mut args);
    let features = frames::features(&mut args);
    let grant = Grant {
        principal: principal(0),
        session_id: SessionId::from("sess_1"),
        resume_token: token(1),
        agents: Arc::clone(&AGENTS),
    };
    let given = first.and_then(|frame| Opening::parse(Bytes::copy_from_slice(frame), &Limits::default()).ok());
    let hello = match given {
        Some(Opening::Hello(hello)) => hello,
        _ => match Opening::parse(Bytes::from(hello(&features, 0, None)), &Limits::default()) {
            Ok(Opening::Hello(hello)) => hello,
            other => panic!("{other:?}"),
        },
    };
    (hello.accept(contract::start(), Arc::new(config.clone()), grant), config)
}
