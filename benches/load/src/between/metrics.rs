//! What a gateway says of its deliveries to peers.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

/// A connection to the metrics of a gateway.
pub(crate) struct Metrics(SendRequest<Empty<Bytes>>);

impl Metrics {
    #[allow(
        clippy::disallowed_methods,
        reason = "the question comes from outside the gateway"
    )]
    pub(crate) async fn connect(ops: SocketAddr) -> Result<Self> {
        let tcp = tokio::net::TcpStream::connect(ops).await?;
        tcp.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(tcp)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// How many messages the other gateway has.
    ///
    /// # Errors
    ///
    /// When one was given up.
    pub(crate) async fn delivered(&mut self) -> Result<u64> {
        self.0.ready().await?;
        let request = Request::get("/metrics")
            .header("host", "localhost")
            .body(Empty::new())?;
        let answer = self.0.send_request(request).await?;
        let text = answer.into_body().collect().await?.to_bytes();
        let text = std::str::from_utf8(&text)?;
        for outcome in ["failed", "expired"] {
            let lost = count(text, outcome)?;
            ensure!(lost == 0, "{lost} deliveries {outcome}");
        }
        count(text, "delivered")
    }
}

/// The deliveries to peers with this outcome; a series that is not there yet counts nothing.
fn count(text: &str, outcome: &str) -> Result<u64> {
    let outcome = format!("outcome=\"{outcome}\"");
    let mut sum = 0;
    for line in text.lines() {
        let Some(series) = line.strip_prefix("amtp_deliveries_total{") else {
            continue;
        };
        let (labels, value) = series.split_once("} ").context("a series has no value")?;
        let labels: Vec<&str> = labels.split(',').collect();
        if labels.contains(&outcome.as_str()) && labels.contains(&"class=\"peer\"") {
            sum += value.trim().parse::<u64>()?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn only_what_became_of_mail_for_peers_counts() {
        let text = "\
# TYPE amtp_deliveries counter
amtp_deliveries_total{outcome=\"delivered\",class=\"peer\"} 12
amtp_deliveries_total{outcome=\"delivered\",class=\"webhook\"} 3
amtp_deliveries_total{outcome=\"deferred\",class=\"peer\"} 5
# EOF
";
        assert_eq!(count(text, "delivered").unwrap(), 12);
        assert_eq!(count(text, "failed").unwrap(), 0);
    }
}
