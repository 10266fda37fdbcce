//! What a domain says about its gateway: the TXT record at `_amtp.<domain>`. AMTP 1.0, section 3.2.1.
//!
//! `v=amtp1;gateway=https://host[:port][/path];auth=cert,oauth,apikey;max-size=N;features=a,b`.
//! Keys are read without case, unknown keys are ignored, a known key may stand only once.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::Domain;
use super::text_serde::text_serde;

/// The largest message a domain takes that does not say, in bytes.
pub const DEFAULT_MAX_SIZE: u64 = 10_485_760;

/// A valid record. `Display` writes the record; reading that gives an equal value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertisement {
    /// Where the domain's gateway is.
    pub gateway: GatewayUrl,
    /// How a sender may authenticate; informative.
    pub auth: Vec<String>,
    /// The largest message it takes, in bytes as sent.
    pub max_size: u64,
    /// What it can do beyond the minimum, lower-cased.
    pub features: Vec<String>,
}

/// Why a TXT record is no advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdvertisementFault {
    /// Not printable ASCII.
    #[error("the record has characters outside printable ASCII")]
    Encoding,
    /// `v` is missing or not `amtp1`: most likely a record about something else.
    #[error("the record does not say v=amtp1")]
    Version,
    /// `gateway` is missing or no absolute https URL without userinfo, query and fragment.
    #[error("the gateway is not an absolute https URL")]
    Gateway,
    /// `max-size` is no number of bytes.
    #[error("max-size is not a number")]
    MaxSize,
    /// A known key stands twice.
    #[error("a key stands twice")]
    Duplicate,
}

impl Advertisement {
    /// What is assumed of a gateway that was named without a record.
    #[must_use]
    pub fn of_gateway(gateway: GatewayUrl, features: &[&str]) -> Self {
        Self {
            gateway,
            auth: Vec::new(),
            max_size: DEFAULT_MAX_SIZE,
            features: features.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// Reads a record whose strings were joined.
    ///
    /// # Errors
    /// The record is not valid; it counts as if it were not there.
    pub fn parse(record: &str) -> Result<Self, AdvertisementFault> {
        if !record.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(AdvertisementFault::Encoding);
        }
        let values = known_values(unquoted(record.trim()))?;
        let [version, gateway, auth, max_size, features] = values;
        if version != Some("amtp1") {
            return Err(AdvertisementFault::Version);
        }
        Ok(Self {
            gateway: GatewayUrl::parse(gateway.unwrap_or_default())?,
            auth: list(auth),
            max_size: match max_size {
                Some(number) => read_size(number).ok_or(AdvertisementFault::MaxSize)?,
                None => DEFAULT_MAX_SIZE,
            },
            features: list(features),
        })
    }

    /// Reads a record as DNS gives it: strings of at most 255 bytes, which belong together.
    ///
    /// # Errors
    /// As [`Advertisement::parse`].
    pub fn parse_strings<S: AsRef<[u8]>>(strings: &[S]) -> Result<Self, AdvertisementFault> {
        let joined: Vec<u8> = strings.iter().flat_map(AsRef::as_ref).copied().collect();
        let record = std::str::from_utf8(&joined).map_err(|_| AdvertisementFault::Encoding)?;
        Self::parse(record)
    }

    /// Whether the gateway has a feature, given in lower case.
    #[must_use]
    pub fn has_feature(&self, name: &str) -> bool {
        self.features.iter().any(|feature| feature == name)
    }
}

const KEYS: [&str; 5] = ["v", "gateway", "auth", "max-size", "features"];

fn known_values(record: &str) -> Result<[Option<&str>; 5], AdvertisementFault> {
    let mut values = [None; 5];
    for part in record.split(';') {
        let Some((key, value)) = part.split_once('=') else {
            continue;
        };
        let is_key = |known: &&str| known.eq_ignore_ascii_case(key.trim());
        let Some(index) = KEYS.iter().position(is_key) else {
            continue;
        };
        if values[index].replace(value.trim()).is_some() {
            return Err(AdvertisementFault::Duplicate);
        }
    }
    Ok(values)
}

fn unquoted(record: &str) -> &str {
    let inner = record
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(record)
}

fn list(value: Option<&str>) -> Vec<String> {
    let items = value.unwrap_or_default().split(',').map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(str::to_ascii_lowercase)
        .collect()
}

fn read_size(number: &str) -> Option<u64> {
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| number.parse().ok())?
}

impl fmt::Display for Advertisement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v=amtp1;gateway={}", self.gateway)?;
        if !self.auth.is_empty() {
            write!(f, ";auth={}", self.auth.join(","))?;
        }
        write!(f, ";max-size={}", self.max_size)?;
        if !self.features.is_empty() {
            write!(f, ";features={}", self.features.join(","))?;
        }
        Ok(())
    }
}

impl FromStr for Advertisement {
    type Err = AdvertisementFault;

    fn from_str(record: &str) -> Result<Self, Self::Err> {
        Self::parse(record)
    }
}

/// The address of a gateway: `https://host[:port][/path]`, host in lower case, no slash at the end.
/// Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayUrl {
    text: Arc<str>,
    /// Where the host ends and the port or path begins.
    host_end: u16,
    port: u16,
    path_start: u16,
}

const SCHEME: &str = "https://";

impl GatewayUrl {
    /// Checks and normalises a URL.
    ///
    /// # Errors
    /// It is not https, has userinfo, a query or a fragment, or its host is no domain or IP address.
    pub fn parse(text: &str) -> Result<Self, AdvertisementFault> {
        Self::read(text).ok_or(AdvertisementFault::Gateway)
    }

    fn read(text: &str) -> Option<Self> {
        let scheme = text.get(..SCHEME.len())?;
        let rest = &text[SCHEME.len()..];
        if !scheme.eq_ignore_ascii_case(SCHEME) || text.len() > 2_048 {
            return None;
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_port(authority)?;
        let host = normal_host(host)?;
        let path = path.trim_end_matches('/');
        if !path.bytes().all(is_path_byte) {
            return None;
        }
        let mut url = format!("{SCHEME}{host}");
        let host_end = u16::try_from(url.len()).ok()?;
        if port != 443 {
            url += &format!(":{port}");
        }
        let path_start = u16::try_from(url.len()).ok()?;
        url += path;
        Some(Self {
            text: url.into(),
            host_end,
            port,
            path_start,
        })
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host: a domain in normal form or an IP address, the latter without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = &self.text[SCHEME.len()..usize::from(self.host_end)];
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The address the host is, if it is no name.
    #[must_use]
    pub fn host_ip(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }

    /// The port; 443 unless given.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as an HTTP `Host` shows them; the port only if it is not 443.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.text[SCHEME.len()..usize::from(self.path_start)]
    }

    /// The path before every route; empty or beginning with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text[usize::from(self.path_start)..]
    }

    /// The URL of a route of this gateway, such as `/v1/messages`.
    #[must_use]
    pub fn join(&self, route: &str) -> String {
        format!("{}{route}", self.text)
    }
}

fn split_port(authority: &str) -> Option<(&str, u16)> {
    // The colons of an IPv6 address stand within brackets, before the port's.
    let bracket = authority.find(']').unwrap_or(0);
    let Some(colon) = authority[bracket..].rfind(':') else {
        return Some((authority, 443));
    };
    let (host, port) = authority.split_at(bracket + colon);
    let port = &port[1..];
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = if digits { port.parse().ok()? } else { 0 };
    (port != 0).then_some((host, port))
}

fn normal_host(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[') {
        let address: std::net::Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    if let Ok(address) = host.parse::<std::net::Ipv4Addr>() {
        return Some(address.to_string());
    }
    Some(Domain::parse(host).ok()?.to_string())
}

/// A character that may stand in a path as it is. `?` and `#` would end it; `;` would end the record's field.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,=:@%".contains(&byte)
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for GatewayUrl {
    type Err = AdvertisementFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

text_serde!(GatewayUrl);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    #[test]
    fn records_are_read_as_people_write_them() {
        let full = Advertisement::parse(
            "v=amtp1;gateway=https://AMTP.Example.com:8443/in/;auth=cert,oauth;max-size=5;features=batch,Wait",
        )
        .unwrap();
        assert_eq!(full.gateway.as_str(), "https://amtp.example.com:8443/in");
        assert_eq!(full.auth, ["cert", "oauth"]);
        assert_eq!(full.max_size, 5);
        assert!(full.has_feature("batch") && full.has_feature("wait"));
        assert!(!full.has_feature("a2a"));
        for record in [
            "v=amtp1;gateway=https://g.example",
            "\"v=amtp1;gateway=https://g.example\"",
            " V = amtp1 ; Gateway = https://g.example:443/ ; ;x;schemas=a=b;auth=,, ",
            "gateway=https://G.example.;v=amtp1;",
        ] {
            let bare = Advertisement::parse(record).unwrap();
            assert_eq!(
                bare.to_string(),
                "v=amtp1;gateway=https://g.example;max-size=10485760",
                "{record}"
            );
        }
    }

    #[test]
    fn the_strings_of_a_record_belong_together() {
        let strings = ["v=amtp1;gateway=https://g.exa", "mple;features=a"];
        let joined = Advertisement::parse_strings(&strings).unwrap();
        assert_eq!(joined.gateway.host(), "g.example");
        assert!(joined.has_feature("a"));
        assert_eq!(
            Advertisement::parse_strings(&[&b"v=amtp1;\xff"[..]]),
            Err(AdvertisementFault::Encoding)
        );
        assert_eq!(
            Advertisement::parse_strings::<&str>(&[]),
            Err(AdvertisementFault::Version)
        );
    }

    #[test]
    fn invalid_records_are_refused_with_the_reason() {
        use AdvertisementFault::{Duplicate, Encoding, Gateway, MaxSize, Version};
        let table = [
            ("", Version),
            ("v=spf1 -all", Version),
            ("v=AMTP1;gateway=https://g.example", Version),
            ("v=amtp12;gateway=https://g.example", Version),
            ("gateway=https://g.example", Version),
            ("v=amtp1", Gateway),
            ("v=amtp1;gateway=", Gateway),
            ("v=amtp1;gateway=http://g.example", Gateway),
            ("v=amtp1;gateway=g.example", Gateway),
            ("v=amtp1;gateway=https://g.example;max-size=", MaxSize),
            ("v=amtp1;gateway=https://g.example;max-size=-1", MaxSize),
            ("v=amtp1;gateway=https://g.example;max-size=+1", MaxSize),
            ("v=amtp1;gateway=https://g.example;max-size=10MB", MaxSize),
            ("v=amtp1;v=amtp1;gateway=https://g.example", Duplicate),
            (
                "v=amtp1;gateway=https://a.example;Gateway=https://b.example",
                Duplicate,
            ),
            ("v=amtp1;gateway=https://bücher.example", Encoding),
            ("v=amtp1;\n", Encoding),
        ];
        for (record, fault) in table {
            assert_eq!(Advertisement::parse(record), Err(fault), "{record}");
        }
    }

    #[test]
    fn a_gateway_url_has_its_parts() {
        let table = [
            (
                "https://g.example",
                "g.example",
                443,
                "",
                "https://g.example/v1/messages",
            ),
            (
                "HTTPS://G.example:443//",
                "g.example",
                443,
                "",
                "https://g.example/v1/messages",
            ),
            (
                "https://g.example:8443/a/b",
                "g.example",
                8443,
                "/a/b",
                "https://g.example:8443/a/b/v1/messages",
            ),
            (
                "https://127.0.0.1:1",
                "127.0.0.1",
                1,
                "",
                "https://127.0.0.1:1/v1/messages",
            ),
            (
                "https://[0:0::1]:9/x",
                "::1",
                9,
                "/x",
                "https://[::1]:9/x/v1/messages",
            ),
            ("https://[::1]", "::1", 443, "", "https://[::1]/v1/messages"),
        ];
        for (text, host, port, path, joined) in table {
            let url = GatewayUrl::parse(text).unwrap();
            assert_eq!(
                (url.host(), url.port(), url.path()),
                (host, port, path),
                "{text}"
            );
            assert_eq!(url.join("/v1/messages"), joined);
            assert_eq!(url.host_ip().is_some(), !host.contains('g'), "{text}");
        }
        assert_eq!(
            GatewayUrl::parse("https://g.example:8443/a")
                .unwrap()
                .authority(),
            "g.example:8443"
        );
    }

    #[test]
    fn other_urls_are_no_gateways() {
        for text in [
            "",
            "https://",
            "https:///a",
            "https://u@g.example",
            "https://u:p@g.example",
            "https://g.example?x",
            "https://g.example/?x",
            "https://g.example/#x",
            "https://g.example#",
            "https://g.example:0",
            "https://g.example:65536",
            "https://g.example:",
            "https://g.example:+1",
            "https://g.example/a b",
            "https://g.example/\"",
            "https://g_h.example",
            "https://[::1",
            "https://[1.2.3.4]",
            "https://::1",
            "https://1.2.3",
            "https:/g.example",
            "é",
        ] {
            assert!(GatewayUrl::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_written_record_reads_back(
            host in "[a-z]{1,9}(\\.[a-z]{1,5}){0,2}",
            port in 1_u16..,
            path in "(/[a-zA-Z0-9.~%-]{1,8}){0,3}",
            auth in proptest::collection::vec("[a-z0-9=-]{1,8}", 0..3),
            features in proptest::collection::vec("[a-z0-9-]{1,8}", 0..4),
            max_size in any::<u64>(),
        ) {
            let gateway = GatewayUrl::parse(&format!("https://{host}:{port}{path}")).unwrap();
            prop_assert_eq!((gateway.host(), gateway.port(), gateway.path()), (&*host, port, &*path));
            prop_assert_eq!(GatewayUrl::parse(gateway.as_str()), Ok(gateway.clone()));
            let advertisement = Advertisement { gateway, auth, max_size, features };
            prop_assert_eq!(Advertisement::parse(&advertisement.to_string()), Ok(advertisement));
        }

        #[test]
        fn no_text_panics_and_what_reads_reads_back(text in "(v=amtp1;gateway=https://)?[ -~]{0,60}") {
            if let Ok(advertisement) = Advertisement::parse(&text) {
                prop_assert_eq!(Advertisement::parse(&advertisement.to_string()), Ok(advertisement));
            }
        }
    }
}
