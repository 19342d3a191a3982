//! A clock that goes back is one that stands still: whoever is called so goes on like a twin that was given the true one.

use std::time::Duration;

use arcp_proto::{Instant, Now};

use crate::script::Step;

/// What a script is put to.
pub(crate) trait Scripted: Clone {
    fn now(&self) -> Now;

    /// By how much the clock of the next call is behind; zero again once it is taken.
    fn behind(&mut self) -> &mut Duration;

    fn act(&mut self, step: Step<'_>, now: Now);

    /// Lets one message out, by which it is told how late it is.
    fn transmit_one(&mut self);

    fn goes_on_as(&self, twin: &Self);

    /// Takes the step; says whether there was anything to do but to note that the clock goes back.
    fn take(&mut self, step: Step<'_>) -> bool {
        if let Step::Deed(b'-', mut args) = step {
            *self.behind() = Duration::from_millis(args.number() * args.number() * args.number());
            return false;
        }
        let behind = std::mem::take(self.behind());
        if behind.is_zero() {
            self.act(step, self.now());
            return true;
        }
        self.transmit_one();
        let now = self.now();
        let mut twin = self.clone();
        twin.act(step, now);
        let mono = Instant::from_duration(now.mono.as_duration().saturating_sub(behind));
        self.act(step, Now::new(mono, now.wall));
        self.goes_on_as(&twin);
        true
    }
}
