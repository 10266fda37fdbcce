//! Moments in time as AMTP writes them: RFC 3339, UTC, milliseconds.
//!
//! What is read may have any offset and any number of fraction digits (those past the third are
//! dropped); what is written always ends in `Z` and always has three. A leap second reads as the
//! first moment of the next minute.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::text_serde::text_serde;

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// The text is no RFC 3339 date and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an RFC 3339 date and time")]
pub struct TimestampFault;

const DAY: i64 = 86_400_000;
const FIRST: i64 = -62_167_219_200_000; // 0000-01-01T00:00:00.000Z
const LAST: i64 = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z

impl Timestamp {
    /// The moment `millis` milliseconds after 1970.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339 text such as `2026-08-14T10:30:00.5+02:00`.
    ///
    /// # Errors
    /// Anything else, also a date without a time or without an offset.
    pub fn parse_rfc3339(text: &str) -> Result<Self, TimestampFault> {
        read(text.as_bytes()).map(Self).ok_or(TimestampFault)
    }

    /// This moment and `duration` more; stays at the largest moment instead of overflowing.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// `duration` before this moment.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long after `earlier` this moment is; zero when it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// Whether the moment lies in the year 1: what some programs write for "no time at all".
    #[must_use]
    pub(crate) const fn is_year_one(self) -> bool {
        self.0 >= -62_135_596_800_000 && self.0 < -62_104_060_800_000
    }
}

/// RFC 3339 in UTC with milliseconds. Moments outside the years 0 to 9999 show as the nearest one inside.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = self.0.clamp(FIRST, LAST);
        let (year, month, day) = civil_from_days(moment.div_euclid(DAY));
        let millis = moment.rem_euclid(DAY);
        let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
        let (second, rest) = (millis / 1_000 % 60, millis % 1_000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{rest:03}Z"
        )
    }
}

impl FromStr for Timestamp {
    type Err = TimestampFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse_rfc3339(text)
    }
}

text_serde!(Timestamp);

fn read(text: &[u8]) -> Option<i64> {
    let (date_time, rest) = text.split_at_checked(19)?;
    let mark = |at: usize, byte: u8| (date_time[at] == byte).then_some(());
    mark(4, b'-')?;
    mark(7, b'-')?;
    mark(13, b':')?;
    mark(16, b':')?;
    matches!(date_time[10], b'T' | b't').then_some(())?;
    let (year, month) = (number(&date_time[0..4])?, number(&date_time[5..7])?);
    let day = number(&date_time[8..10])?;
    let hour = number(&date_time[11..13])?;
    let minute = number(&date_time[14..16])?;
    let second = number(&date_time[17..19])?;
    let sane = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    sane.then_some(())?;
    let (fraction, zone) = fraction(rest)?;
    // In a leap second the fraction is dropped: all of it is the next minute's first moment.
    let fraction = if second == 60 { 0 } else { fraction };
    let local = days_from_civil(year, month, day) * DAY
        + hour * 3_600_000
        + minute * 60_000
        + second * 1_000
        + fraction;
    Some(local - offset(zone)?)
}

/// Milliseconds of an optional `.digits`, and what follows.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', rest)) = text.split_first() else {
        return Some((0, text));
    };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (length > 0).then_some(())?;
    let millis = (0..3).fold(0, |sum, at| {
        let digit = if at < length { rest[at] - b'0' } else { 0 };
        sum * 10 + i64::from(digit)
    });
    Some((millis, &rest[length..]))
}

/// Milliseconds that local time is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    match zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            (hours < 24 && minutes < 60).then_some(())?;
            let ahead = hours * 3_600_000 + minutes * 60_000;
            Some(if *sign == b'+' { ahead } else { -ahead })
        }
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + i64::from(byte - b'0'))
    })
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// Both conversions count in eras of 400 years (146,097 days) that begin on 1 March, so that the leap day comes last.
// 719,468 days lie between 0000-03-01 and 1970-01-01.

const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = days.div_euclid(146_097) * 400 + year_of_era;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    #[test]
    fn rfc_3339_texts_are_read_exactly() {
        let table = [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.001Z", 1),
            ("1970-01-01t00:00:00.0019999z", 1),
            ("1969-12-31T23:59:59.9Z", -100),
            ("2026-08-14T10:30:00Z", 1_786_703_400_000),
            ("2026-08-14T12:30:00+02:00", 1_786_703_400_000),
            ("2026-08-14T08:00:00-02:30", 1_786_703_400_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("2016-12-31T23:59:60.5Z", 1_483_228_800_000),
            ("0000-01-01T00:00:00Z", FIRST),
            ("9999-12-31T23:59:59.999Z", LAST),
        ];
        for (text, millis) in table {
            assert_eq!(
                Timestamp::parse_rfc3339(text),
                Ok(Timestamp(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn anything_but_rfc_3339_is_refused() {
        let table = [
            "",
            "2026-08-14",
            "2026-08-14T10:30:00",
            "2026-08-14 10:30:00Z",
            "2026-08-14T10:30Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+0200",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00Z ",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:00Zé",
            "２０２６-01-01T00:00:00Z",
        ];
        for text in table {
            assert_eq!(
                Timestamp::parse_rfc3339(text),
                Err(TimestampFault),
                "{text}"
            );
        }
    }

    #[test]
    fn only_the_year_one_is_year_one() {
        let table = [
            ("0000-12-31T23:59:59.999Z", false),
            ("0001-01-01T00:00:00Z", true),
            ("0001-12-31T23:59:59.999Z", true),
            ("0002-01-01T00:00:00Z", false),
            ("2026-01-01T00:00:00Z", false),
        ];
        for (text, expected) in table {
            let moment = Timestamp::parse_rfc3339(text).unwrap();
            assert_eq!(moment.is_year_one(), expected, "{text}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let moment = Timestamp(1_000);
        assert_eq!(moment.plus(Duration::from_secs(1)), Timestamp(2_000));
        assert_eq!(moment.plus(Duration::MAX), Timestamp(i64::MAX));
        assert_eq!(moment.minus(Duration::from_secs(2)), Timestamp(-1_000));
        assert_eq!(Timestamp(5).since(moment), Duration::ZERO);
        assert_eq!(moment.since(Timestamp(400)), Duration::from_millis(600));
        assert_eq!(Timestamp(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn serde_uses_the_text() {
        let json = serde_json::to_string(&Timestamp(0)).unwrap();
        assert_eq!(json, r#""1970-01-01T00:00:00.000Z""#);
        assert_eq!(
            serde_json::from_str::<Timestamp>(&json).unwrap(),
            Timestamp(0)
        );
        assert!(serde_json::from_str::<Timestamp>("\"now\"").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_reads_back(millis in FIRST..=LAST) {
            let moment = Timestamp(millis);
            prop_assert_eq!(Timestamp::parse_rfc3339(&moment.to_string()), Ok(moment));
        }

        #[test]
        fn the_calendar_agrees_with_jiff(millis in FIRST..=253_402_207_000_000_i64) {
            let theirs = jiff::Timestamp::from_millisecond(millis).unwrap();
            prop_assert_eq!(Timestamp(millis).to_string(), format!("{theirs:.3}"));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = Timestamp::parse_rfc3339(&text);
        }
    }
}
