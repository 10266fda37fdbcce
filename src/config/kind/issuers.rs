//! Kinds of the sections `auth.issuers.DOMAIN`.

use std::str::FromStr as _;

use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::{Misfit, Scalar};
use crate::config::reading::Reading;
use crate::protocol::GatewayUrl;

/// A URL that is compared letter by letter, and so is kept as it is written.
pub(in crate::config) struct ExactUrl;

impl Scalar for ExactUrl {
    type Value = String;

    fn noun() -> String {
        "an https URL without user, query and fragment".to_owned()
    }

    fn example() -> &'static str {
        "https://login.partner.example"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<String, Misfit> {
        GatewayUrl::parse(text).map_err(|_| Misfit::Form)?;
        Ok(text.to_owned())
    }
}

/// How a token is signed.
pub(in crate::config) struct AlgorithmName;

impl Scalar for AlgorithmName {
    type Value = Algorithm;

    fn noun() -> String {
        "ES256, ES384, EdDSA, or one of RS and PS with 256, 384 or 512".to_owned()
    }

    fn example() -> &'static str {
        "ES256"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<Algorithm, Misfit> {
        if text.eq_ignore_ascii_case("none") {
            let reason = "is no signature, and nobody's token is believed without one";
            return Err(Misfit::Because(reason.to_owned()));
        }
        let algorithm = Algorithm::from_str(text).map_err(|_| Misfit::Form)?;
        if algorithm.family() == AlgorithmFamily::Hmac {
            let reason =
                "is signed with a secret that who checks it has too; use one with a key pair";
            return Err(Misfit::Because(reason.to_owned()));
        }
        Ok(algorithm)
    }
}

/// The name of a claim, or a value of one.
pub(in crate::config) struct ClaimText;

impl Scalar for ClaimText {
    type Value = String;

    fn noun() -> String {
        "a text of 1 to 255 bytes without control characters".to_owned()
    }

    fn example() -> &'static str {
        "roles"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<String, Misfit> {
        let fits = (1..=255).contains(&text.len()) && !text.chars().any(char::is_control);
        fits.then(|| text.to_owned()).ok_or(Misfit::Form)
    }
}
