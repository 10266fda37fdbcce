//! The pause the other side asks for: the header `Retry-After` (RFC 9110, section 10.2.3).

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{DATE, RETRY_AFTER};

use crate::protocol::Timestamp;

/// Nobody is waited for longer than a year; the queue bounds it further.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// The pause asked for: seconds, or until a date. The date is read against the answer's own `Date`,
/// so that clocks that differ do not matter, and against `now` where it has none.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if is_number {
        text.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        let own = headers
            .get(DATE)
            .and_then(|date| http_date(date.to_str().ok()?));
        http_date(text)?.since(own.unwrap_or(now))
    };
    Some(wait.min(LONGEST))
}

/// A date as HTTP writes it today: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    text.ends_with(" GMT").then_some(())?;
    let moment = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    Some(Timestamp::from_millis(moment.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        let now = Timestamp::parse_rfc3339("1994-11-06T08:49:00Z").unwrap();
        let later = Some("Sun, 06 Nov 1994 08:49:30 GMT");
        for (after, date, pause) in [
            ("120", None, Some(120)),
            (" 0 ", None, Some(0)),
            ("99999999999999999999999", None, Some(366 * 86_400)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None, Some(37)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", later, Some(7)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None, Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None, None),
            ("-1", None, None),
            ("1.5", None, None),
            ("soon", None, None),
            ("", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, after.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            let pause = pause.map(Duration::from_secs);
            assert_eq!(retry_after(&headers, now), pause, "{after}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
