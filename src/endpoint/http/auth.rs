//! `/v1/auth`: short-lived tokens for API keys (RFC 6749, section 4.4), and the keys that sign them.

use axum::Json as Answer;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Shared;
use super::error::ApiError;
use super::extract::{Came, Gate, bearer, invalid_field, object, turned_away};
use crate::auth::{TOKEN_LIFE, Tokens};
use crate::envelope::Scopes;
use crate::protocol::{Address, ErrorCode};

/// The largest request.
const LARGEST: usize = 16 * 1024;

#[derive(Serialize)]
pub(super) struct Issued {
    access_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    scope: String,
}

/// What a client asks for: as a form or as JSON, each member but once.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    scope: Option<String>,
}

/// `POST /v1/auth/token`
pub(super) async fn token(State(api): Gate, request: Request) -> Result<Answer<Issued>, ApiError> {
    let tokens = tokens(&api)?;
    let (mut parts, body) = request.into_parts();
    // Who only waits for its own body holds no place of others.
    drop(Came::from_request_parts(&mut parts, &api).await?.entry);
    let request = Request::from_parts(parts.clone(), body);
    let asked = read(&parts, api.reader.read(request, LARGEST).await?.as_ref())?;
    if asked
        .grant_type
        .as_deref()
        .is_some_and(|grant| grant != "client_credentials")
    {
        return Err(invalid_field("grant_type", "must be client_credentials"));
    }
    let (client, secret) = credential(&parts.headers, &asked)?;
    let key = match api.auth.api_key(&secret).await? {
        Some(key) => key,
        None => {
            let what = ("auth.failed", ErrorCode::AuthenticationFailed);
            return Err(turned_away(&parts, &api, what).await);
        }
    };
    let address = Address::parse(&key.address).map_err(ApiError::internal)?;
    let named = |client: &String| {
        *client == key.id || Address::parse(client).is_ok_and(|named| named == address)
    };
    if !client.as_ref().is_none_or(named) {
        let what = ("auth.failed", ErrorCode::AuthenticationFailed);
        return Err(turned_away(&parts, &api, what).await);
    }
    let scopes = match asked.scope.as_deref().filter(|scope| !scope.is_empty()) {
        None => key.grant.scopes,
        Some(words) => Scopes::parse(words.split_whitespace())
            .map_err(|fault| invalid_field("scope", &fault.to_string()))?
            .within(key.grant.scopes),
    };
    if scopes.is_empty() {
        return Err(invalid_field(
            "scope",
            "has nothing that this key is good for",
        ));
    }
    let access_token = tokens
        .issue(&address, &key.id, scopes)
        .ok_or_else(|| ApiError::new(ErrorCode::TemporaryFailure))?;
    Ok(Answer(Issued {
        access_token,
        token_type: "Bearer",
        expires_in: TOKEN_LIFE.as_secs(),
        scope: scopes.words().collect::<Vec<_>>().join(" "),
    }))
}

/// `GET /v1/auth/jwks.json`
pub(super) async fn keys(State(api): Gate) -> Result<Answer<Value>, ApiError> {
    Ok(Answer(tokens(&api)?.published()))
}

fn tokens(api: &Shared) -> Result<&Tokens, ApiError> {
    api.auth.tokens().ok_or_else(|| {
        ApiError::new(ErrorCode::NotFound)
            .message("This gateway makes no tokens: the operator has set no `secrets.key_file`.")
    })
}

fn read(parts: &Parts, body: &[u8]) -> Result<Asked, ApiError> {
    let kind = parts.headers.get(CONTENT_TYPE);
    let kind = kind
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if body.is_empty() {
        return Ok(Asked::default());
    }
    if essence.eq_ignore_ascii_case("application/json") {
        object(body)?;
        return serde_json::from_slice(body).map_err(|fault| invalid_field("", &fault.to_string()));
    }
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType).message(
            "The body must be sent as application/x-www-form-urlencoded or application/json.",
        ));
    }
    let text = std::str::from_utf8(body).map_err(|_| invalid_field("", "is not UTF-8"))?;
    // The same reader as for query strings: `+` and %-signs as in a form.
    let uri = format!("/?{text}")
        .parse()
        .map_err(|_| invalid_field("", "is no form"))?;
    let form = axum::extract::Query::<Asked>::try_from_uri(&uri);
    form.map(|form| form.0)
        .map_err(|fault| invalid_field("", &fault.to_string()))
}

/// The client's name, where it says one, and its key.
fn credential(headers: &HeaderMap, asked: &Asked) -> Result<(Option<String>, String), ApiError> {
    let missing = || ApiError::new(ErrorCode::AuthenticationFailed);
    if let Some(basic) = basic(headers) {
        let (client, secret) = basic.ok_or_else(missing)?;
        return Ok((Some(client), secret));
    }
    if let Some(Ok(key)) = bearer(headers) {
        return Ok((asked.client_id.clone(), key.to_owned()));
    }
    let secret = asked.client_secret.clone().ok_or_else(missing)?;
    Ok((asked.client_id.clone(), secret))
}

/// Name and password of an `Authorization: Basic`; the inner nothing where it is malformed.
fn basic(headers: &HeaderMap) -> Option<Option<(String, String)>> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok();
    let pair = decoded
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| {
            let (client, secret) = text.split_once(':')?;
            Some((unescaped(client), unescaped(secret)))
        });
    Some(pair)
}

/// The `%40` of an address in a Basic credential; our keys have nothing that is escaped.
fn unescaped(text: &str) -> String {
    text.replace("%40", "@")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, authorization.parse().unwrap())])
    }

    #[test]
    fn basic_credentials_are_read() {
        let encoded = STANDARD.encode("a%40b.test:ak_1_x");
        let pair = Some(("a@b.test".to_owned(), "ak_1_x".to_owned()));
        assert_eq!(basic(&headers(&format!("Basic {encoded}"))), Some(pair));
        assert_eq!(basic(&headers("Basic %%%")), Some(None));
        assert_eq!(basic(&headers("Bearer x")), None);
    }

    #[test]
    fn a_form_and_json_say_the_same() {
        let request = |kind: &str| {
            let request = Request::builder().header(CONTENT_TYPE, kind);
            request
                .body(axum::body::Body::empty())
                .unwrap()
                .into_parts()
                .0
        };
        let form = b"grant_type=client_credentials&scope=send+track";
        let form = read(&request("application/x-www-form-urlencoded"), form).unwrap();
        let json = br#"{"grant_type":"client_credentials","scope":"send track"}"#;
        let json = read(&request("application/json"), json).unwrap();
        assert_eq!(form.scope, json.scope);
        assert_eq!(form.grant_type, json.grant_type);
        for (kind, body) in [
            ("application/x-www-form-urlencoded", &b"scope=a&scope=b"[..]),
            ("application/x-www-form-urlencoded", b"other=1"),
            ("application/json", b"{"),
            ("text/plain", b"x"),
        ] {
            assert!(read(&request(kind), body).is_err(), "{kind} {body:?}");
        }
    }
}
