//! The session layer of ARCP v1.1 as a sans-IO state machine.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod feature;
pub mod framing;
mod time;
pub mod wire;

pub use feature::{Feature, FeatureSet};
pub use time::{Instant, Now, Timestamp, TimestampError};
