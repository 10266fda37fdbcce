//! The request to a receiver of push notifications.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};

use crate::task::{Dialect, PushAuthentication};

/// What a receiver is shown, so that it knows who calls.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) token: Option<String>,
    pub(super) authentication: Option<PushAuthentication>,
}

/// The type of what is posted in a dialect.
const fn media_type(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::V1 => "application/a2a+json",
        Dialect::V03 | Dialect::V01 => "application/json",
    }
}

/// The whole request; nothing where what is shown cannot stand in a header.
pub(super) fn write(
    receiver: &Uri,
    dialect: Dialect,
    shown: &Shown,
    body: Bytes,
) -> Option<Request<Full<Bytes>>> {
    let agent = concat!("AMTP/1.0 (amtpd/", env!("CARGO_PKG_VERSION"), ")");
    let mut request = Request::post(receiver.clone())
        .header(CONTENT_TYPE, media_type(dialect))
        .header(USER_AGENT, agent)
        .body(Full::new(body))
        .ok()?;
    let headers = request.headers_mut();
    if let Some(token) = &shown.token {
        let name = HeaderName::from_static("x-a2a-notification-token");
        headers.insert(name, secret(token)?);
    }
    if let Some(PushAuthentication {
        scheme,
        credentials: Some(credentials),
    }) = &shown.authentication
    {
        let value = secret(&format!("{scheme} {credentials}"))?;
        headers.insert(AUTHORIZATION, value);
    }
    Some(request)
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_shown_what_it_gave() {
        let bearer = |credentials: Option<&str>| {
            Some(PushAuthentication {
                scheme: "Bearer".to_owned(),
                credentials: credentials.map(str::to_owned),
            })
        };
        for (dialect, token, authentication, kind, authorization) in [
            (Dialect::V1, None, None, "application/a2a+json", None),
            (
                Dialect::V1,
                Some("t k"),
                bearer(Some("s3")),
                "application/a2a+json",
                Some("Bearer s3"),
            ),
            (
                Dialect::V03,
                Some("t"),
                bearer(None),
                "application/json",
                None,
            ),
            (
                Dialect::V01,
                None,
                bearer(Some("x")),
                "application/json",
                Some("Bearer x"),
            ),
        ] {
            let shown = Shown {
                token: token.map(str::to_owned),
                authentication,
            };
            let receiver = Uri::from_static("https://r.test/x?y=1");
            let request = write(&receiver, dialect, &shown, Bytes::from_static(b"{}")).unwrap();
            let header = |name: &str| {
                let value = request.headers().get(name)?;
                Some((value.to_str().unwrap(), value.is_sensitive()))
            };
            assert_eq!(request.method(), "POST");
            assert_eq!(request.uri(), "https://r.test/x?y=1");
            assert_eq!(header("content-type"), Some((kind, false)));
            assert_eq!(
                header("x-a2a-notification-token"),
                token.map(|it| (it, true))
            );
            assert_eq!(header("authorization"), authorization.map(|it| (it, true)));
        }
    }

    #[test]
    fn what_no_header_can_hold_is_not_sent() {
        for bad in ["a\nb", "a\r\nx: y", "\0"] {
            let shown = Shown {
                token: Some(bad.to_owned()),
                authentication: None,
            };
            let receiver = Uri::from_static("https://r.test/");
            assert!(write(&receiver, Dialect::V1, &shown, Bytes::new()).is_none());
        }
    }
}
