//! The other end of an agent's webhook.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::behaviour::Behaviour;
use super::pki::{Issued, Versions, server_config};
use super::server::{Seen, Server};

/// How far the timestamp of a signature may be from now.
const TOLERANCE: Duration = Duration::from_mins(5);

/// A server that takes pushed messages: 200 without a body unless the script says otherwise.
pub struct WebhookTarget {
    server: Server,
    scheme: &'static str,
}

impl WebhookTarget {
    /// A target over HTTPS.
    pub fn start(address: SocketAddr, issued: &Issued) -> Self {
        let tls = server_config(issued, Versions::Tls13);
        Self {
            server: Server::start(address, Some(tls), taken()),
            scheme: "https",
        }
    }

    /// A target over plain HTTP.
    pub fn start_plain(address: SocketAddr) -> Self {
        Self {
            server: Server::start(address, None, taken()),
            scheme: "http",
        }
    }

    /// Its URL under this host name.
    pub fn url(&self, host: &str) -> String {
        format!("{}://{host}:{}/hook", self.scheme, self.address().port())
    }
}

impl Deref for WebhookTarget {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn taken() -> Behaviour {
    Behaviour::Status {
        code: 200,
        content_type: "text/plain".to_owned(),
        body: String::new(),
        headers: Vec::new(),
    }
}

/// Whether a request is signed with this secret (`whsec_…`) as Standard Webhooks asks, now.
///
/// # Errors
/// What is wrong with it.
pub fn verify(seen: &Seen, secret: &str) -> Result<(), String> {
    let time = seen.header("webhook-timestamp");
    let seconds: u64 = time.parse().map_err(|_| format!("timestamp {time:?}"))?;
    #[allow(clippy::disallowed_methods, reason = "the signer's clock is real")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    if now.as_secs().abs_diff(seconds) > TOLERANCE.as_secs() {
        return Err(format!("timestamp {seconds} is not now"));
    }
    let id = seen.header("webhook-id");
    if id.is_empty() {
        return Err("no webhook-id".to_owned());
    }
    signed(
        secret,
        &[id, time],
        &seen.body,
        seen.header("webhook-signature"),
    )
}

/// Whether one of the signatures (`v1,BASE64`, blanks between) is right for these parts and body.
///
/// # Errors
/// What is wrong with them.
pub fn signed(secret: &str, parts: &[&str; 2], body: &[u8], given: &str) -> Result<(), String> {
    let secret = secret
        .strip_prefix("whsec_")
        .ok_or("a secret starts with whsec_")?;
    let secret = STANDARD.decode(secret).map_err(|error| error.to_string())?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let mut content = format!("{}.{}.", parts[0], parts[1]).into_bytes();
    content.extend(body);
    let right = given.split(' ').any(|one| {
        let signature = one.strip_prefix("v1,").map(|text| STANDARD.decode(text));
        matches!(signature, Some(Ok(tag)) if hmac::verify(&key, &content, &tag).is_ok())
    });
    if right {
        Ok(())
    } else {
        Err(format!("no right signature in {given:?}"))
    }
}
