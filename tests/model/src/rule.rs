//! What must hold in every state, and the first time that it did not.

macro_rules! rules {
    ($($name:ident = $text:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Rule {
            $($name,)*
        }

        impl Rule {
            pub(crate) const fn text(self) -> &'static str {
                match self {
                    $(Rule::$name => $text,)*
                }
            }

            /// One property for each.
            pub(crate) fn properties() -> Vec<stateright::Property<crate::checker::Small>> {
                vec![$(stateright::Property::always($text, |_, world: &crate::world::World| !world.breaks(Rule::$name)),)*]
            }
        }
    };
}

rules! {
    InOrder = "events arrive once each, in order, as they were published (A9, D28)";
    Numbers = "event numbers have no holes, on the wire and in the window (§8.3, D5)";
    Kept = "what nobody acknowledged is kept, and no more than fits (D19)";
    Blocked = "Blocked is told when it is full, Writable once and when the event fits (D19)";
    Acks = "what is acknowledged was processed; it is said in time, and again after a resume (D25)";
    Phases = "attached and detached in turn, Closed once and last, for a reason (D32)";
    OneTransport = "one transport at a time, and nothing of an old one on the next (D3, D15, D27)";
    Resumes = "a resume is taken exactly when it must be (D3, D14)";
    Ends = "resume window and retention end to the moment, however often it was tried (D17, D18)";
    Heartbeat = "silence is judged to the moment, pings are answered, a quiet link is never lost (A7, A8)";
    Requests = "each request is answered once (D8, D12)";
    Deadlines = "deadlines move, and nobody is woken for nothing at the same moment (contract 3, 4)";
    Frames = "neither side breaks the protocol in the other's eyes";
}

#[derive(Clone, Debug)]
pub(crate) struct Breach {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}
