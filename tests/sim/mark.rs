//! What a run has to reach, or it proves little.

macro_rules! marks {
    ($($name:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Mark { $($name),* }

        impl Mark {
            pub(crate) const ALL: &'static [Mark] = &[$(Mark::$name),*];
        }
    };
}

marks! {
    Blocked, Writable, BackPressure, Relieved, HeartbeatLostAtClient, HeartbeatLostAtRuntime, Takeover, ResumeRefused,
    LostWelcome, Restored, Evicted, ViolationLimit, LateAnswer, SuspendGrace, WindowExpiredAtClient,
    WindowExpiredAtRuntime, KeptBeyondTheWindow, Resumed, Replayed, GapResumed, ReorderRepaired, GapReported, RequestTimedOut,
    RequestDisconnected, ConnectFailed, OldTokenRefused, OtherPrincipalRefused, Requested, ShutDown, Overrun,
    HandshakeFailed, TooLarge, PeerClosed, LateBytes, PartialLine, Lagging, ReadingStopped, Subscribed, Published,
    Cancelled, HistoryReplayed, Listed, Refused, PlaceTaken, Adopted, Fenced, Killed, RefusedAfterALoss, Streamed, CameBack,
}
