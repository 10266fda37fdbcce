//! What a gateway says of its deliveries.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use crate::clock::{now, pause};

/// Milliseconds between two looks.
const LOOK: u64 = 5;
/// How long nothing may arrive.
const STALLED: Duration = Duration::from_secs(60);

/// The metrics of a gateway. It closes a connection that rests, so there is a new one when needed.
pub(crate) struct Metrics {
    ops: SocketAddr,
    connection: Option<SendRequest<Empty<Bytes>>>,
    /// Which deliveries count, such as `peer` or `webhook`.
    class: &'static str,
}

impl Metrics {
    pub(crate) fn new(ops: SocketAddr, class: &'static str) -> Self {
        Self {
            ops,
            connection: None,
            class,
        }
    }

    async fn read(&mut self) -> Result<String> {
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => connect(self.ops).await?,
        };
        let text = ask(&mut connection).await;
        if text.is_ok() {
            self.connection = Some(connection);
        }
        text
    }

    /// How many messages are delivered since the gateway started.
    ///
    /// # Errors
    ///
    /// When one was given up.
    pub(crate) async fn delivered(&mut self) -> Result<u64> {
        let text = self.read().await?;
        for outcome in ["failed", "expired"] {
            let lost = count(&text, outcome, self.class)?;
            ensure!(lost == 0, "{lost} deliveries {outcome}");
        }
        count(&text, "delivered", self.class)
    }

    /// How many deliveries wait, as of the last look of the gateway.
    pub(crate) async fn waiting(&mut self) -> Result<u64> {
        let text = self.read().await?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix("amtp_queue_deliveries "));
        Ok(value.context("no depth of the queue")?.trim().parse()?)
    }

    /// Waits until this many are delivered.
    pub(crate) async fn arrived(&mut self, wanted: u64) -> Result<()> {
        // One that rests is closed at some moment, perhaps this one.
        self.connection = None;
        let (mut most, mut since) = (0, now());
        loop {
            let delivered = self.delivered().await?;
            if delivered >= wanted {
                return Ok(());
            }
            if delivered > most {
                (most, since) = (delivered, now());
            }
            ensure!(
                since.elapsed() < STALLED,
                "{delivered} of {wanted} are delivered, and no more for {} s",
                STALLED.as_secs()
            );
            pause(LOOK).await;
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the question comes from outside the gateway"
)]
async fn connect(ops: SocketAddr) -> Result<SendRequest<Empty<Bytes>>> {
    let tcp = tokio::net::TcpStream::connect(ops).await?;
    tcp.set_nodelay(true)?;
    let (connection, task) = handshake(TokioIo::new(tcp)).await?;
    tokio::spawn(task);
    Ok(connection)
}

async fn ask(connection: &mut SendRequest<Empty<Bytes>>) -> Result<String> {
    connection.ready().await?;
    let request = Request::get("/metrics")
        .header("host", "localhost")
        .body(Empty::new())?;
    let answer = connection.send_request(request).await?;
    let text = answer.into_body().collect().await?.to_bytes();
    Ok(std::str::from_utf8(&text)?.to_owned())
}

/// The deliveries of a class with this outcome; a series that is not there yet counts nothing.
fn count(text: &str, outcome: &str, class: &str) -> Result<u64> {
    let (outcome, class) = (
        format!("outcome=\"{outcome}\""),
        format!("class=\"{class}\""),
    );
    let mut sum = 0;
    for line in text.lines() {
        let Some(series) = line.strip_prefix("amtp_deliveries_total{") else {
            continue;
        };
        let (labels, value) = series.split_once("} ").context("a series has no value")?;
        let labels: Vec<&str> = labels.split(',').collect();
        if labels.contains(&outcome.as_str()) && labels.contains(&class.as_str()) {
            sum += value.trim().parse::<u64>()?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn only_what_became_of_mail_of_a_class_counts() {
        let text = "\
# TYPE amtp_deliveries counter
amtp_deliveries_total{outcome=\"delivered\",class=\"peer\"} 12
amtp_deliveries_total{outcome=\"delivered\",class=\"webhook\"} 3
amtp_deliveries_total{outcome=\"deferred\",class=\"peer\"} 5
# EOF
";
        assert_eq!(count(text, "delivered", "peer").unwrap(), 12);
        assert_eq!(count(text, "delivered", "webhook").unwrap(), 3);
        assert_eq!(count(text, "failed", "peer").unwrap(), 0);
    }
}
