//! Kinds of values of the section `a2a`.

use super::{Misfit, Scalar};
use crate::config::reading::Reading;

/// Which version of A2A a request speaks that names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssumedVersion {
    /// 0.3, as A2A has it.
    V03,
    /// 1.0.
    V1,
}

/// `0.3` or `1.0`.
pub(in crate::config) struct A2aVersion;

impl Scalar for A2aVersion {
    type Value = AssumedVersion;

    fn noun() -> String {
        "the version `0.3` or `1.0`".to_owned()
    }

    fn example() -> &'static str {
        "1.0"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<AssumedVersion, Misfit> {
        match text {
            "0.3" => Ok(AssumedVersion::V03),
            "1.0" | "1" => Ok(AssumedVersion::V1),
            _ => Err(Misfit::Form),
        }
    }
}

/// What clients of A2A 0.3 find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegacyCard {
    /// A card of their own.
    Negotiate,
    /// One card for all.
    Merge,
}

/// `negotiate` or `merge`.
pub(in crate::config) struct CardForm;

impl Scalar for CardForm {
    type Value = LegacyCard;

    fn noun() -> String {
        "`negotiate` or `merge`".to_owned()
    }

    fn example() -> &'static str {
        "merge"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<LegacyCard, Misfit> {
        match text {
            "negotiate" => Ok(LegacyCard::Negotiate),
            "merge" => Ok(LegacyCard::Merge),
            _ => Err(Misfit::Form),
        }
    }
}
