//! What client commands share: the connection to a gateway, and how answers are printed.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::Profile;
use crate::net::{HttpsClient, NetError, Options, Roots};

/// How the commands name themselves.
const AGENT: &str = concat!("amtpd-cli/", env!("CARGO_PKG_VERSION"));

/// Which gateway, with which key.
#[derive(Debug, Clone, Args)]
pub(super) struct Target {
    /// The gateway's URL, such as https://amtp.example.com
    #[arg(
        long,
        value_name = "URL",
        env = "AMTP_GATEWAY",
        help_heading = "Connection"
    )]
    gateway: Option<String>,
    /// The file that holds the key (or the key itself in AMTP_KEY)
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    key_file: Option<PathBuf>,
    #[arg(
        long = "key-text",
        env = "AMTP_KEY",
        hide = true,
        hide_env_values = true
    )]
    key: Option<String>,
    /// Believe the certificates of this PEM file instead of the system's
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    ca_file: Option<PathBuf>,
    /// Connect to this address instead of asking DNS for the gateway's name
    #[arg(long, value_name = "IP", help_heading = "Connection")]
    resolve: Option<IpAddr>,
    /// Take what is not given from this file instead of the profile in your configuration folder
    #[arg(
        long,
        value_name = "FILE",
        env = "AMTP_PROFILE",
        help_heading = "Connection"
    )]
    profile: Option<PathBuf>,
    /// Print JSON for programs
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

/// A connection to a gateway.
pub(super) struct Gateway {
    client: HttpsClient,
    base: String,
    key: String,
    /// The agent's address from the profile.
    pub(super) address: Option<String>,
    /// The certificates believed instead of the system's.
    pub(super) ca_file: Option<PathBuf>,
    pub(super) json: bool,
}

impl Target {
    /// Options first, then the profile.
    pub(super) fn connect(self) -> Result<Gateway> {
        let profile = match &self.profile {
            Some(path) => Profile::load(path)?,
            None => Profile::of_user()?,
        };
        let base = self.gateway.or(profile.gateway).context(
            "which gateway? give --gateway URL, or --profile FILE, or write a profile into your configuration folder",
        )?;
        let key = match (self.key, self.key_file.or(profile.key_file)) {
            (Some(key), _) => key,
            (None, Some(path)) => std::fs::read_to_string(&path)
                .with_context(|| format!("key file {}", path.display()))?,
            (None, None) => {
                bail!("which key? give --key-file FILE, or the key in AMTP_KEY, or a profile")
            }
        };
        let ca_file = self.ca_file.or(profile.ca_file);
        let roots = ca_file.clone().map_or(Roots::System, Roots::File);
        let client = HttpsClient::new(&Options {
            roots,
            resolve: self.resolve.or(profile.resolve),
        })?;
        Ok(Gateway {
            client,
            base: base.trim_end_matches('/').to_owned(),
            key: key.trim().to_owned(),
            address: profile.address,
            ca_file,
            json: self.json,
        })
    }
}

/// What a gateway answered, whatever it was.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// As it came; empty where there was no body.
    pub(super) body: Bytes,
}

impl Gateway {
    /// The gateway at `base`, with a key.
    pub(super) fn new(client: HttpsClient, base: String, key: String) -> Self {
        Self {
            client,
            base,
            key,
            address: None,
            ca_file: None,
            json: false,
        }
    }

    /// Sends a request with the key as bearer; an error answer becomes an error that says what the
    /// gateway said.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let body = body.map(serde_json::to_vec).transpose()?;
        self.request(method, path, body).await
    }

    /// Reads what stands under a path, into what it is meant to be.
    pub(super) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.exchange(Method::GET, path, None).await?;
        if !answer.status.is_success() {
            return Err(refusal(answer.status.as_u16(), &answer.body));
        }
        serde_json::from_slice(&answer.body)
            .with_context(|| format!("{}{path} answered something else", self.base))
    }

    /// Posts anything that can be written as JSON.
    pub(super) async fn submit(&self, path: &str, body: &impl Serialize) -> Result<Value> {
        self.request(Method::POST, path, Some(serde_json::to_vec(body)?))
            .await
    }

    async fn request(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Value> {
        let answer = self.exchange(method, path, body).await?;
        if !answer.status.is_success() {
            return Err(refusal(answer.status.as_u16(), &answer.body));
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body)
            .with_context(|| format!("{}{path} did not answer JSON: is it a gateway?", self.base))
    }

    /// Sends a request with the key as bearer; any answer is an answer.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut request = Request::builder()
            .method(method)
            .uri(&url)
            .header("authorization", format!("Bearer {}", self.key))
            .header("user-agent", AGENT);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .with_context(|| format!("{url} is not a URL"))?;
        let answer = self
            .client
            .send(request)
            .await
            .with_context(|| url.clone())?;
        Ok(Answer {
            status: answer.status(),
            body: answer.into_body(),
        })
    }

    /// Opens a connection of another protocol under a path, with the key as bearer.
    pub(super) async fn upgrade(
        &self,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(HeaderMap, TokioIo<Upgraded>), NetError> {
        let mut request = Request::get(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.key))
            .header("user-agent", AGENT)
            .body(Full::default())
            .map_err(|error| NetError::Connection(error.to_string()))?;
        request.headers_mut().extend(
            headers
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        self.client.upgrade(request).await
    }

    /// The address a command speaks for.
    pub(super) fn address(&self, given: Option<String>) -> Result<String> {
        given
            .or_else(|| self.address.clone())
            .context("which agent? give its address, or set `address` in the profile")
    }
}

/// What an error answer says.
pub(super) fn refusal(status: u16, body: &[u8]) -> anyhow::Error {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return anyhow!("the gateway answered {status}");
    };
    let error = &answer["error"];
    let mut text = format!(
        "{} ({status}): {}",
        error["code"].as_str().unwrap_or("error"),
        error["message"].as_str().unwrap_or_default()
    );
    for fault in error["details"]["validation_errors"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let field = fault["field"].as_str().unwrap_or_default();
        let _ = write!(
            text,
            "\n  {field}: {}",
            fault["error"].as_str().unwrap_or_default()
        );
    }
    for fault in error["details"]["recipients"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let address = fault["address"].as_str().unwrap_or_default();
        let _ = write!(
            text,
            "\n  {address}: {}",
            fault["error_code"].as_str().unwrap_or_default()
        );
    }
    anyhow!(text)
}

/// A segment of a path, with everything that could end it escaped.
pub(super) fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'@'
            | b'+'
            | b':' => {
                escaped.push(char::from(byte));
            }
            _ => {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

/// A path with those parameters that have a value.
pub(super) fn with_query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut text = path.to_owned();
    let mut sign = '?';
    for (name, value) in parameters {
        if let Some(value) = value {
            // In a query a plus means a blank.
            let value = segment(value).replace('+', "%2B");
            let _ = write!(text, "{sign}{name}={value}");
            sign = '&';
        }
    }
    text
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &Value) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Prints objects as a table: a column a member, named by its heading.
pub(super) fn print_table(rows: &[Value], columns: &[(&str, &str)]) {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|(heading, _)| heading.to_uppercase()));
    for row in rows {
        table.add_row(columns.iter().map(|(_, member)| plain(&row[*member])));
    }
    println!("{table}");
}

/// A value as a person reads it. Control characters of others never reach the terminal.
pub(super) fn plain(value: &Value) -> String {
    let text = match value {
        Value::Null => return "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place_in_the_path() {
        assert_eq!(segment("a/../b?c#d e"), "a%2F..%2Fb%3Fc%23d%20e");
        assert_eq!(segment("alice+tag@example.com"), "alice+tag@example.com");
    }

    #[test]
    fn a_parameter_cannot_leave_its_place_in_the_query() {
        let parameters = [("a", Some("x+y&z=1 #")), ("b", None), ("c", Some("2"))];
        assert_eq!(
            with_query("/p", &parameters),
            "/p?a=x%2By%26z%3D1%20%23&c=2"
        );
        assert_eq!(with_query("/p", &[("b", None)]), "/p");
    }

    #[test]
    fn terminal_escapes_are_not_printed() {
        assert_eq!(plain(&Value::from("a\u{1b}[31mb")), "a\u{fffd}[31mb");
    }
}
