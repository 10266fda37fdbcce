//! Kinds that are numbers, words and switches.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use super::{Kind, Misfit, Presence, Scalar};
use crate::config::document::{Node, Shape};
use crate::config::reading::Reading;
use crate::config::units::{Rate, Size, Span};

fn within(value: u64, bounds: (u64, u64), show: impl Fn(u64) -> String) -> Result<u64, Misfit> {
    let (least, most) = bounds;
    if value < least {
        return Err(Misfit::Because(format!(
            "is too little: at least {}",
            show(least)
        )));
    }
    if value > most {
        return Err(Misfit::Because(format!(
            "is too much: at most {}",
            show(most)
        )));
    }
    Ok(value)
}

fn size(text: &str, bounds: (u64, u64)) -> Result<u64, Misfit> {
    let Size(bytes) = text.parse().map_err(|_| Misfit::Form)?;
    within(bytes, bounds, |bytes| Size(bytes).to_string())
}

fn count(text: &str, bounds: (u64, u64)) -> Result<u64, Misfit> {
    let number = text.parse().map_err(|_| Misfit::Form)?;
    within(number, bounds, |number| number.to_string())
}

/// A number of bytes in memory, within bounds.
pub(in crate::config) struct Bytes<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64> Scalar for Bytes<LEAST, MOST> {
    type Value = usize;

    fn noun() -> String {
        format!("a size from {} to {}", Size(LEAST), Size(MOST))
    }

    fn example() -> &'static str {
        "64KiB"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<usize, Misfit> {
        usize::try_from(size(text, (LEAST, MOST))?).map_err(|_| Misfit::Form)
    }
}

/// A number of bytes on a disk.
pub(in crate::config) struct Space;

impl Scalar for Space {
    type Value = u64;

    fn noun() -> String {
        "a size".to_owned()
    }

    fn example() -> &'static str {
        "512MiB"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<u64, Misfit> {
        size(text, (0, u64::MAX))
    }
}

/// A whole number within bounds.
pub(in crate::config) struct Count<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64> Scalar for Count<LEAST, MOST> {
    type Value = usize;

    fn noun() -> String {
        format!("a whole number from {LEAST} to {MOST}")
    }

    fn example() -> &'static str {
        "100"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<usize, Misfit> {
        usize::try_from(count(text, (LEAST, MOST))?).map_err(|_| Misfit::Form)
    }
}

/// How often something is tried, within bounds.
pub(in crate::config) struct Tries<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64> Scalar for Tries<LEAST, MOST> {
    type Value = u32;

    fn noun() -> String {
        <Count<LEAST, MOST> as Scalar>::noun()
    }

    fn example() -> &'static str {
        <Count<LEAST, MOST> as Scalar>::example()
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<u32, Misfit> {
        u32::try_from(count(text, (LEAST, MOST))?).map_err(|_| Misfit::Form)
    }
}

/// A duration within bounds, which are in milliseconds.
pub(in crate::config) struct Period<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64> Scalar for Period<LEAST, MOST> {
    type Value = Duration;

    fn noun() -> String {
        format!("a duration from {} to {}", Span(LEAST), Span(MOST))
    }

    fn example() -> &'static str {
        "30s"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<Duration, Misfit> {
        let Span(millis) = text.parse().map_err(|_| Misfit::Form)?;
        let millis = within(millis, (LEAST, MOST), |millis| Span(millis).to_string())?;
        Ok(Duration::from_millis(millis))
    }
}

/// A rate.
pub(in crate::config) struct Pace;

impl Scalar for Pace {
    type Value = Rate;

    fn noun() -> String {
        "a rate in a second (`/s`), minute (`/m`) or hour (`/h`)".to_owned()
    }

    fn example() -> &'static str {
        "1000/s"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<Rate, Misfit> {
        text.parse().map_err(|_| Misfit::Form)
    }
}

/// Rates by name.
pub(in crate::config) struct Paces;

impl Kind for Paces {
    type Value = BTreeMap<String, Rate>;
    const PRESENCE: Presence = Presence::Optional;
    const STRUCTURED: bool = true;

    fn noun() -> String {
        "rates by name".to_owned()
    }

    fn example() -> String {
        "{ bulk: 5000/s, trial: 10/m }".to_owned()
    }

    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self::Value> {
        if !matches!(node.shape, Shape::Map(_)) {
            let text = format!("must be {}, such as `{}`", Self::noun(), Self::example());
            return reading.refuse(node, text);
        }
        let fits = |name: &str| {
            (1..=64).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let mut all = Some(BTreeMap::new());
        for entry in node.entries() {
            let rate = match fits(&entry.key) {
                true => <Pace as Kind>::read(&entry.value, reading),
                false => reading.refuse(
                    &entry.value,
                    format!(
                        "{:?} is no name: 1 to 64 of letters, digits, . _ and -",
                        entry.key
                    ),
                ),
            };
            match (&mut all, rate) {
                (Some(all), Some(rate)) => drop(all.insert(entry.key.clone(), rate)),
                // Every one is looked at before one that failed fails the map.
                _ => all = None,
            }
        }
        all
    }

    fn absent() -> Option<Self::Value> {
        Some(BTreeMap::new())
    }
}

/// `true` or `false`.
pub(in crate::config) struct Switch;

impl Scalar for Switch {
    type Value = bool;

    fn noun() -> String {
        "`true` or `false`".to_owned()
    }

    fn example() -> &'static str {
        "true"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<bool, Misfit> {
        text.parse().map_err(|_| Misfit::Form)
    }
}

/// What an accepted message rests on until it is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryPath {
    /// The disk: it outlives a crash.
    Durable,
    /// Memory, where the message can be delivered at once.
    Immediate,
}

/// The path of deliveries.
pub(in crate::config) struct Path;

impl Scalar for Path {
    type Value = DeliveryPath;

    fn noun() -> String {
        "`durable` or `immediate`".to_owned()
    }

    fn example() -> &'static str {
        "durable"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<DeliveryPath, Misfit> {
        match text {
            "durable" => Ok(DeliveryPath::Durable),
            "immediate" => Ok(DeliveryPath::Immediate),
            _ => Err(Misfit::Form),
        }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The form of the log.
pub(in crate::config) struct Format;

impl Scalar for Format {
    type Value = LogFormat;

    fn noun() -> String {
        "`json` or `text`".to_owned()
    }

    fn example() -> &'static str {
        "text"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<LogFormat, Misfit> {
        match text {
            "json" => Ok(LogFormat::Json),
            "text" => Ok(LogFormat::Text),
            _ => Err(Misfit::Form),
        }
    }
}

/// What is logged.
pub(in crate::config) struct Level;

impl Scalar for Level {
    type Value = String;

    fn noun() -> String {
        "`error`, `warn`, `info`, `debug` or `trace`, or levels of modules".to_owned()
    }

    fn example() -> &'static str {
        "info,amtpd::store=debug"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<String, Misfit> {
        // A lone word that is no level would be taken as the name of a module and silence the log.
        let word = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_level = || text.parse::<LevelFilter>().is_ok();
        let valid = if word {
            is_level()
        } else {
            EnvFilter::builder().parse(text).is_ok()
        };
        valid.then(|| text.to_owned()).ok_or(Misfit::Form)
    }
}
