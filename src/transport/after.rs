//! The pause the other side asks for: the header `Retry-After` (RFC 9110, section 10.2.3).

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{DATE, RETRY_AFTER};

/// The pause asked for, in seconds or until a date; the date is read against the answer's own
/// `Date`, so that clocks that differ do not matter.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // More than fits is for ever; the queue bounds it.
        return Some(Duration::from_secs(
            text.parse().unwrap_or(u64::from(u32::MAX)),
        ));
    }
    let until = date(text)?;
    let now = date(headers.get(DATE)?.to_str().ok()?)?;
    Some(Duration::from_secs(
        u64::try_from(until.saturating_sub(now)).unwrap_or(0),
    ))
}

/// Seconds since 1970 of an HTTP date.
fn date(text: &str) -> Option<i64> {
    let moment = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    Some(moment.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        for (after, date, pause) in [
            ("120", None, Some(120)),
            ("0", None, Some(0)),
            ("99999999999999999999999", None, Some(u64::from(u32::MAX))),
            ("-1", None, None),
            ("soon", None, None),
            (
                "Sat, 21 Nov 2026 07:10:30 GMT",
                Some("Sat, 21 Nov 2026 07:10:00 GMT"),
                Some(30),
            ),
            (
                "Sat, 21 Nov 2026 07:09:00 GMT",
                Some("Sat, 21 Nov 2026 07:10:00 GMT"),
                Some(0),
            ),
            ("Sat, 21 Nov 2026 07:10:30 GMT", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, after.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            assert_eq!(
                retry_after(&headers),
                pause.map(Duration::from_secs),
                "{after}"
            );
        }
    }
}
