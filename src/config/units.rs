//! Sizes, durations and rates as people write them: `10MiB`, `90s`, `100/s`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// The text is no size, duration or rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a whole number with a unit")]
pub struct UnitFault;

/// A number of bytes: `512B`, `64KiB`, `10MiB`, `1GiB`, or a bare number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const SIZES: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl FromStr for Size {
    type Err = UnitFault;

    fn from_str(text: &str) -> Result<Self, UnitFault> {
        let bare = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if bare {
            number(text)
        } else {
            of_unit(text, &SIZES)
        };
        number.map(Self).ok_or(UnitFault)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, &SIZES, f)
    }
}

/// A duration in milliseconds: `300ms`, `5s`, `10m`, `2h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

const SPANS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl FromStr for Span {
    type Err = UnitFault;

    fn from_str(text: &str) -> Result<Self, UnitFault> {
        of_unit(text, &SPANS).map(Self).ok_or(UnitFault)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, &SPANS, f)
    }
}

/// So many in a second, minute or hour: `100/s`, `600/m`, `50/h`. As many may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In which time: a second, a minute or an hour.
    pub period: Duration,
}

const PERIODS: [(&str, u64); 3] = [("h", 3_600), ("m", 60), ("s", 1)];

impl FromStr for Rate {
    type Err = UnitFault;

    fn from_str(text: &str) -> Result<Self, UnitFault> {
        let (count, unit) = text.split_once('/').ok_or(UnitFault)?;
        let count = number(count).and_then(|count| u32::try_from(count).ok());
        let seconds = PERIODS.iter().find(|(name, _)| *name == unit);
        match (count.and_then(NonZeroU32::new), seconds) {
            (Some(count), Some((_, seconds))) => {
                let period = Duration::from_secs(*seconds);
                Ok(Self { count, period })
            }
            _ => Err(UnitFault),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.period.as_secs();
        let unit = PERIODS.iter().find(|(_, length)| *length == seconds);
        write!(f, "{}/{}", self.count, unit.map_or("s", |(name, _)| name))
    }
}

fn number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

fn of_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, name) = text.split_at(split);
    let (_, factor) = units.iter().find(|(unit, _)| *unit == name)?;
    number(digits)?.checked_mul(*factor)
}

/// The largest unit that shows the amount without a fraction.
fn show(amount: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let whole = |(_, factor): &&(&str, u64)| amount >= *factor && amount.is_multiple_of(*factor);
    let smallest = &units[units.len() - 1];
    let (name, factor) = units.iter().find(whole).unwrap_or(smallest);
    write!(f, "{}{name}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    #[test]
    fn units_are_read_as_people_write_them() {
        let sizes = [
            ("0", 0),
            ("512B", 512),
            ("64KiB", 65_536),
            ("10MiB", 10 << 20),
            ("2GiB", 2 << 30),
        ];
        for (text, bytes) in sizes {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        let spans = [
            ("300ms", 300),
            ("5s", 5_000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
        ];
        for (text, millis) in spans {
            assert_eq!(text.parse(), Ok(Span(millis)), "{text}");
            assert_eq!(Span(millis).to_string(), text);
        }
        for text in ["100/s", "600/m", "50/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "10MB",
            "10 MiB",
            "1.5MiB",
            "-1B",
            "+1",
            "MiB",
            "20000000TiB",
            "10mib",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for text in [
            "",
            "5",
            "5 s",
            "1h30m",
            "-1s",
            "s",
            "99999999999999999d",
            "5S",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["", "100", "0/s", "1/d", "/s", "1/", "5000000000/s", "1/s/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_shown_reads_back(amount in any::<u64>(), count in 1_u32.., unit in 0_usize..3) {
            prop_assert_eq!(Size(amount).to_string().parse(), Ok(Size(amount)));
            prop_assert_eq!(Span(amount).to_string().parse(), Ok(Span(amount)));
            let rate = format!("{count}/{}", PERIODS[unit].0);
            prop_assert_eq!(rate.parse::<Rate>().unwrap().to_string(), rate);
        }
    }
}
