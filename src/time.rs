//! The two clocks of a session, as values that the caller hands in.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digits::two;

/// A moment on a monotonic clock, counted from an origin of the caller's choosing.
///
/// All deadlines are of this type. It counts nanoseconds, for 584 years; arithmetic saturates and never panics;
/// [`Instant::MAX`] as a deadline means that there is none.
///
/// ```
/// use arcp_proto::Instant;
/// use core::time::Duration;
///
/// let start = Instant::from_millis(250);
/// assert_eq!(start + Duration::from_secs(1), Instant::from_millis(1_250));
/// assert_eq!(Instant::ZERO - start, Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

/// As many as there are, and no more than fit.
const fn whole_nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

impl Instant {
    /// The origin.
    pub const ZERO: Instant = Instant(0);
    /// Later than every deadline that is ever reached.
    pub const MAX: Instant = Instant(u64::MAX);

    /// The moment `since_origin` after the origin.
    #[must_use]
    pub const fn from_duration(since_origin: Duration) -> Instant {
        Instant(whole_nanos(since_origin))
    }

    /// The moment `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Instant {
        Instant(millis.saturating_mul(1_000_000))
    }

    /// Time since the origin.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Time from `earlier` to `self`; zero when `earlier` is the later of the two.
    #[must_use]
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_add(whole_nanos(rhs)))
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, rhs: Instant) -> Duration {
        self.since(rhs)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Instant::MAX { f.write_str("never") } else { self.as_duration().fmt(f) }
    }
}

/// A moment of the wall clock: milliseconds since the Unix epoch.
///
/// It goes into envelopes (`sent_at`, `ts`, `created_at`) and is never compared with a deadline, so a
/// clock that is set does not disturb a session. On the wire it is RFC 3339, UTC, with
/// milliseconds and `Z`; any offset and up to nine fractional digits are understood. Outside the years
/// 0 to 9999, which is all that RFC 3339 can say, it saturates when printed.
///
/// ```
/// use arcp_proto::Timestamp;
///
/// let at = Timestamp::parse("2026-05-13T21:42:13.02+02:00").unwrap();
/// assert_eq!(at.to_string(), "2026-05-13T19:42:13.020Z");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// The text is no RFC 3339 date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 timestamp")]
pub struct TimestampError;

const FIRST_PRINTABLE: i64 = -62_167_219_200_000;
const LAST_PRINTABLE: i64 = 253_402_300_799_999;

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// The moment `millis` milliseconds after the Unix epoch (before it, when negative).
    #[must_use]
    pub const fn from_unix_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_unix_millis(self) -> i64 {
        self.0
    }

    /// Reads an RFC 3339 text; what is finer than a millisecond is cut off.
    ///
    /// # Errors
    ///
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Timestamp, TimestampError> {
        let parsed = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
            .map_err(|_| TimestampError)?;
        let millis = parsed.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(millis).map(Timestamp).map_err(|_| TimestampError)
    }

    /// This moment `by` later.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The 24 characters of the wire form.
    #[inline]
    pub(crate) fn to_text(self) -> [u8; 24] {
        let millis = self.0.clamp(FIRST_PRINTABLE, LAST_PRINTABLE);
        // Counted from year 0, so that nothing is negative.
        let since_zero = (millis - FIRST_PRINTABLE) as u64;
        let (year, month, day) = date((since_zero / DAY) as u32);
        let in_day = (since_zero % DAY) as u32;
        let (seconds, fraction) = (in_day / 1_000, in_day % 1_000);
        let (minutes, second) = (seconds / 60, seconds % 60);
        let [y1, y2] = two(year / 100);
        let [y3, y4] = two(year % 100);
        let [mo1, mo2] = two(month);
        let [d1, d2] = two(day);
        let [h1, h2] = two(minutes / 60);
        let [mi1, mi2] = two(minutes % 60);
        let [s1, s2] = two(second);
        let [_, f1] = two(fraction / 100);
        let [f2, f3] = two(fraction % 100);
        [
            y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T', h1, h2, b':', mi1, mi2, b':', s1, s2, b'.', f1, f2, f3,
            b'Z',
        ]
    }
}

/// Milliseconds of one.
const DAY: u64 = 86_400_000;

/// Year, month and day of so many days since the start of the year 0.
fn date(days: u32) -> (u32, u32, u32) {
    /// Of the first of January of the year 0.
    const JULIAN_DAY: i32 = 1_721_060;
    let date = time::Date::from_julian_day(JULIAN_DAY.saturating_add_unsigned(days)).unwrap_or(time::Date::MIN);
    (date.year().unsigned_abs(), u32::from(u8::from(date.month())), u32::from(date.day()))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.to_text()).unwrap_or_default())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(core::str::from_utf8(&self.to_text()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 timestamp")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Both clocks, read once by the caller: the clock tick that every input carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// The monotonic clock. A value smaller than the last one is taken as the last one.
    pub mono: Instant,
    /// The wall clock.
    pub wall: Timestamp,
}

impl Now {
    /// Both clocks at the given readings.
    #[must_use]
    pub const fn new(mono: Instant, wall: Timestamp) -> Now {
        Now { mono, wall }
    }

    /// Both clocks `by` later.
    #[must_use]
    pub fn after(self, by: Duration) -> Now {
        Now { mono: self.mono + by, wall: self.wall.saturating_add(by) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn prints_milliseconds_and_z() {
        assert_eq!(Timestamp::from_unix_millis(1_778_701_333_007).to_string(), "2026-05-13T19:42:13.007Z");
        assert_eq!(Timestamp::from_unix_millis(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn prints_days_of_every_year() {
        let mut day = time::OffsetDateTime::from_unix_timestamp(FIRST_PRINTABLE / 1_000).unwrap();
        for millis in (FIRST_PRINTABLE..=LAST_PRINTABLE).step_by(11 * DAY as usize) {
            let date = day.date();
            let expected = alloc::format!("{:04}-{:02}-{:02}T", date.year(), u8::from(date.month()), date.day());
            assert_eq!(Timestamp(millis).to_string(), expected + "00:00:00.000Z");
            day = day.saturating_add(11 * time::Duration::DAY);
        }
    }

    #[test]
    fn prints_every_time_of_a_day() {
        for second in 0..86_400 {
            let (h, m, s) = (second / 3_600, second / 60 % 60, second % 60);
            let expected = alloc::format!("2026-05-13T{h:02}:{m:02}:{s:02}.{:03}Z", second % 1_000);
            let millis = 1_778_630_400_000 + second * 1_000 + second % 1_000;
            assert_eq!(Timestamp(millis).to_string(), expected);
        }
    }

    #[test]
    fn saturates_beyond_what_prints() {
        assert_eq!(Timestamp::from_unix_millis(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from_unix_millis(i64::MIN).to_string(), "0000-01-01T00:00:00.000Z");
    }

    #[test]
    fn reads_any_offset_and_up_to_nine_digits() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.1Z", 100),
            ("1970-01-01T00:00:00.123456789Z", 123),
            ("1970-01-01T02:00:00+02:00", 0),
            ("1969-12-31T19:00:00.5-05:00", 500),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ] {
            assert_eq!(Timestamp::parse(text), Ok(Timestamp(millis)), "{text}");
        }
        for bad in ["", "yesterday", "2026-05-13", "2026-05-13T19:42:13", "1778701333"] {
            assert_eq!(Timestamp::parse(bad), Err(TimestampError), "{bad}");
        }
    }
}
