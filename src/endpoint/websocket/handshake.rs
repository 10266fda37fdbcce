//! From an HTTP request to a WebSocket (RFC 6455, section 4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use ring::digest;
use uuid::Uuid;

use super::conversation::Manner;
use super::deflate::Deflate;
use super::frames::SUBPROTOCOL;
use super::wire::End;

const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// What was agreed on: the headers of the answer 101, and how to go on.
#[derive(Debug)]
pub struct Handshake {
    /// The headers.
    pub headers: HeaderMap,
    /// How bytes are read and written from now on.
    pub manner: Manner,
}

/// Why a request cannot become a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFault {
    /// It does not ask for one.
    #[error("this is a WebSocket: send `Connection: Upgrade` and `Upgrade: websocket`")]
    NoUpgrade,
    /// It is of another version.
    #[error("only version 13 of WebSocket is spoken")]
    Version,
    /// It has no key, or no proper one.
    #[error("`Sec-WebSocket-Key` must be 16 bytes in base64")]
    Key,
    /// It offers other sub-protocols only.
    #[error("the only sub-protocol is amtp.v1")]
    Protocol,
}

impl Handshake {
    /// Agrees with a client.
    ///
    /// # Errors
    /// [`HandshakeFault`].
    pub fn answer(request: &HeaderMap, compression: bool) -> Result<Self, HandshakeFault> {
        if !has(request, CONNECTION.as_str(), "upgrade")
            || !has(request, UPGRADE.as_str(), "websocket")
        {
            return Err(HandshakeFault::NoUpgrade);
        }
        if request.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
            return Err(HandshakeFault::Version);
        }
        let key = request.get(SEC_WEBSOCKET_KEY).ok_or(HandshakeFault::Key)?;
        if STANDARD.decode(key).map(|bytes| bytes.len()) != Ok(16) {
            return Err(HandshakeFault::Key);
        }
        let offered = request.contains_key(SEC_WEBSOCKET_PROTOCOL);
        if offered && !has(request, SEC_WEBSOCKET_PROTOCOL.as_str(), SUBPROTOCOL) {
            return Err(HandshakeFault::Protocol);
        }
        let offers = request.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
        let offers = offers.filter_map(|line| line.to_str().ok());
        let agreed = Deflate::agree(offers).filter(|_| compression);
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept(key.as_bytes()));
        if offered {
            headers.insert(
                SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(SUBPROTOCOL),
            );
        }
        let deflate = match agreed {
            Some((deflate, answer)) => {
                if let Ok(answer) = HeaderValue::try_from(answer) {
                    headers.insert(SEC_WEBSOCKET_EXTENSIONS, answer);
                }
                Some(deflate)
            }
            None => None,
        };
        let end = End::Server;
        let manner = Manner { end, deflate };
        Ok(Self { headers, manner })
    }

    /// The headers with which we ask for a WebSocket.
    #[must_use]
    pub fn offer(compression: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let key = STANDARD.encode(Uuid::new_v4().as_bytes());
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, VERSION);
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(SUBPROTOCOL),
        );
        if let Ok(key) = HeaderValue::try_from(key) {
            headers.insert(SEC_WEBSOCKET_KEY, key);
        }
        if compression {
            let offer = HeaderValue::from_static(Deflate::OFFER);
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, offer);
        }
        headers
    }

    /// How to go on after an answer 101 to what we asked for with these headers; nothing where the
    /// answer does not fit.
    #[must_use]
    pub fn agreed(offer: &HeaderMap, answer: &HeaderMap) -> Option<Manner> {
        let key = offer.get(SEC_WEBSOCKET_KEY)?;
        let fits = has(answer, UPGRADE.as_str(), "websocket")
            && has(answer, CONNECTION.as_str(), "upgrade")
            && answer.get(SEC_WEBSOCKET_ACCEPT) == Some(&accept(key.as_bytes()))
            && answer.get(SEC_WEBSOCKET_PROTOCOL) == offer.get(SEC_WEBSOCKET_PROTOCOL);
        let deflate = match answer.get(SEC_WEBSOCKET_EXTENSIONS) {
            None => None,
            Some(_) if !offer.contains_key(SEC_WEBSOCKET_EXTENSIONS) => return None,
            Some(agreed) => Some(Deflate::agreed(agreed.to_str().ok()?)?),
        };
        let end = End::Client;
        fits.then_some(Manner { end, deflate })
    }
}

/// The proof that a key was read.
fn accept(key: &[u8]) -> HeaderValue {
    let proof = [key, MAGIC.as_bytes()].concat();
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &proof);
    HeaderValue::try_from(STANDARD.encode(hash)).expect("base64 is a header")
}

/// Whether a header names this word.
fn has(headers: &HeaderMap, name: &str, word: &str) -> bool {
    let lines = headers.get_all(name).iter();
    let mut words = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    words.any(|one| one.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut HeaderMap)) -> HeaderMap {
        let mut headers = Handshake::offer(true);
        change(&mut headers);
        headers
    }

    #[test]
    fn the_proof_is_the_one_of_the_rfc() {
        let proof = accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(proof, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_we_ask_for_we_answer() {
        for (asked, answered) in [(true, true), (true, false), (false, true)] {
            let offer = Handshake::offer(asked);
            let answer = Handshake::answer(&offer, answered).unwrap();
            let manner = Handshake::agreed(&offer, &answer.headers).unwrap();
            let both = asked && answered;
            assert_eq!(manner.deflate.is_some(), both);
            assert_eq!(answer.manner.deflate.is_some(), both);
            let other = Handshake::offer(asked);
            assert!(Handshake::agreed(&other, &answer.headers).is_none());
        }
    }

    #[test]
    fn what_is_no_handshake_is_refused_with_what_is_wrong() {
        use HandshakeFault::{Key, NoUpgrade, Protocol, Version};
        let set = |name: &'static str, value: &'static str| {
            request(|headers| {
                headers.insert(name, HeaderValue::from_static(value));
            })
        };
        let without = |name: &'static str| request(|headers| drop(headers.remove(name)));
        let table = [
            (HeaderMap::new(), Some(NoUpgrade)),
            (without("connection"), Some(NoUpgrade)),
            (set("upgrade", "h2c"), Some(NoUpgrade)),
            (set("connection", "keep-alive, Upgrade"), None),
            (set("sec-websocket-version", "8"), Some(Version)),
            (without("sec-websocket-version"), Some(Version)),
            (without("sec-websocket-key"), Some(Key)),
            (set("sec-websocket-key", "c2hvcnQ="), Some(Key)),
            (set("sec-websocket-protocol", "mqtt"), Some(Protocol)),
            (set("sec-websocket-protocol", "mqtt, amtp.v1"), None),
            (without("sec-websocket-protocol"), None),
        ];
        for (headers, fault) in table {
            let found = Handshake::answer(&headers, true).err();
            assert_eq!(found, fault, "{headers:?}");
        }
    }
}
