//! The session layer of ARCP v1.1 as a sans-IO state machine.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "std")]
mod clock;
mod feature;
pub mod framing;
#[cfg(feature = "std")]
mod secrets;
mod time;
pub mod wire;

#[cfg(feature = "std")]
pub use clock::Clock;
pub use feature::{Feature, FeatureSet};
#[cfg(feature = "std")]
pub use secrets::{EntropyError, Secrets};
pub use time::{Instant, Now, Timestamp, TimestampError};
