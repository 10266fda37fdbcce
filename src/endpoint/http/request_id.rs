//! The id that ties a request, its answer and its log lines together.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::auth::masked;
use crate::clock::Clock;

/// Carries the id in requests and answers.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const LONGEST: usize = 64;

/// The id of one request: the caller's, or a UUIDv7. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The caller's id if it is 1 to 64 of `[A-Za-z0-9._-]`, else a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap, clock: &Clock) -> Self {
        let given = headers
            .get(X_REQUEST_ID)
            .and_then(|value| value.to_str().ok());
        match given.filter(|text| is_sane(text)) {
            Some(text) => Self(text.into()),
            None => Self(clock.mint_v7().to_string().into()),
        }
    }

    /// The id as it stands in headers and logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as a header's value. It is never sent twice, so it shall not push what is sent with
    /// every answer out of the table that HTTP/2 packs headers with: that is what "sensitive" means.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(&self.0).expect("an id is printable ASCII");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_sane(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    // It is logged and sent back: a credential is no id.
    let secret = masked(text) != text;
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(allowed) && !secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use crate::protocol::Timestamp;

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        let clock = Clock::over(TestClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let longest = "x".repeat(64);
        let too_long = "x".repeat(65);
        let table = [
            ("a", true),
            ("A-z_0.9", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            ("ä", false),
            ("<script>", false),
        ];
        for (given, kept) in table {
            let mut headers = HeaderMap::new();
            headers.insert(
                X_REQUEST_ID,
                HeaderValue::from_bytes(given.as_bytes()).unwrap(),
            );
            let id = RequestId::of(&headers, &clock);
            assert_eq!(id.as_str() == given, kept, "{given:?}");
            assert!(kept || id.as_str().len() == 36, "{given:?} became {id}");
        }
        let minted = RequestId::of(&HeaderMap::new(), &clock);
        assert_eq!(minted.as_str().as_bytes()[14], b'7', "a UUID version 7");
    }
}
