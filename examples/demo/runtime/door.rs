//! Who may come in, and what a client is given that may.

use std::sync::Arc;

use arcp_proto::endpoint::Applicant;
use arcp_proto::wire::{AgentInfo, BearerToken, ErrorCode, Principal, WireError};
use arcp_proto::{EntropyError, Grant, Secrets};

use super::options::Pass;

pub struct Door {
    passes: Vec<Pass>,
    agents: Arc<[AgentInfo]>,
}

impl Door {
    pub fn new(passes: Vec<Pass>, agents: Arc<[AgentInfo]>) -> Door {
        Door { passes, agents }
    }

    /// What an applicant is granted, or told. A deployment would ask a directory, and answer later.
    pub fn judge(&self, applicant: &Applicant) -> Result<Grant, WireError> {
        let credentials = &applicant.credentials;
        let token = credentials.token.as_ref().filter(|token| credentials.scheme == "bearer" && !token.is_empty());
        let principal = token.and_then(|token| self.principal(token));
        let principal =
            principal.ok_or_else(|| WireError::new(ErrorCode::Unauthenticated, "a valid bearer token is needed"))?;
        self.grant(principal).map_err(|error| WireError::new(ErrorCode::InternalError, error.to_string()))
    }

    fn principal(&self, token: &BearerToken) -> Option<Principal> {
        if self.passes.is_empty() {
            return Some(Principal::from(token.reveal()));
        }
        // Tokens compare in constant time; all are looked at, so that none is told apart by when it was found.
        self.passes
            .iter()
            .fold(None, |found, pass| if pass.token == *token { Some(pass.principal.clone()) } else { found })
    }

    fn grant(&self, principal: Principal) -> Result<Grant, EntropyError> {
        Ok(Grant {
            principal,
            session_id: Secrets::session_id()?,
            resume_token: Secrets::resume_token()?,
            agents: Arc::clone(&self.agents),
        })
    }
}
