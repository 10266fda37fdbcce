//! The mail of one run: submitted at the first gateway, counted at the second.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use super::pair::Pair;
use crate::client::{connect, exchange};
use crate::clock::now;
use crate::metrics::Metrics;
use crate::report::to_float;

/// Lines of a submitted batch.
const BATCH: u64 = 200;
/// Bytes of a message.
const SIZE: usize = 512;

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    accepted_s: f64,
    delivered_s: f64,
    /// Messages a second that the first gateway took.
    pub(crate) accepted: f64,
    /// Messages a second from the first submission until the first gateway knows of all that the
    /// second has them.
    pub(crate) delivered: f64,
    /// None where the way is short.
    pub(crate) each_round_trip: Option<f64>,
}

/// Sends this many messages, and counts them at the other end.
///
/// One message goes before them: it opens the connection, which is not measured.
pub(crate) async fn run(pair: &Pair, messages: u64, delay: Duration) -> Result<Measured> {
    let connection = connect(&pair.alpha.roots()?, pair.alpha.address()).await?;
    let mut metrics = Metrics::new(pair.alpha.ops(), "peer");
    submit(&connection, pair, 0..1).await?;
    metrics.arrived(1).await?;
    let began = now();
    let mut next = 1;
    while next <= messages {
        let until = (next + BATCH).min(messages + 1);
        submit(&connection, pair, next..until).await?;
        next = until;
    }
    let accepted = began.elapsed().as_secs_f64();
    metrics.arrived(messages + 1).await?;
    let delivered = began.elapsed().as_secs_f64();
    check(&inbox(pair).await?, messages + 1)?;
    let rate = |seconds: f64| to_float(messages) / seconds;
    let round_trip = 2.0 * delay.as_secs_f64();
    Ok(Measured {
        accepted_s: accepted,
        delivered_s: delivered,
        accepted: rate(accepted),
        delivered: rate(delivered),
        each_round_trip: (!delay.is_zero()).then(|| rate(delivered) * round_trip),
    })
}

/// Submits the messages with these numbers, which all must be taken.
async fn submit(
    connection: &SendRequest<Full<Bytes>>,
    pair: &Pair,
    numbers: std::ops::Range<u64>,
) -> Result<()> {
    let wanted = usize::try_from(numbers.end - numbers.start)?;
    let body: String = numbers.map(|number| line(pair, number)).collect();
    let request = Request::post("https://localhost/v1/messages/batch")
        .header("authorization", &pair.sender.authorization)
        .header("content-type", "application/x-ndjson")
        .body(Full::new(body.into()))?;
    let answer = exchange(connection.clone(), request, StatusCode::OK).await?;
    let answer = std::str::from_utf8(&answer)?;
    for line in answer.lines() {
        let taken: Value = serde_json::from_str(line)?;
        ensure!(taken["status"] == 202, "a message was refused: {line}");
    }
    let taken = answer.lines().count();
    ensure!(taken == wanted, "{wanted} submitted, {taken} answered");
    Ok(())
}

/// One message as a line of a batch.
fn line(pair: &Pair, number: u64) -> String {
    let message = |text: &str| {
        json!({
            "version": "1.0",
            "sender": pair.sender.address,
            "recipients": [pair.recipient.address],
            "payload": { "number": number, "text": text },
        })
        .to_string()
    };
    let room = SIZE.saturating_sub(message("").len());
    message(&"x".repeat(room)) + "\n"
}

/// The numbers of the recipient's mail, in its order.
async fn inbox(pair: &Pair) -> Result<Vec<u64>> {
    let connection = connect(&pair.beta.roots()?, pair.beta.address()).await?;
    let mut numbers = Vec::new();
    let mut cursor = String::new();
    loop {
        let url = format!(
            "https://localhost/v1/inbox/{}?limit=1000&cursor={cursor}",
            pair.recipient.address
        );
        let request = Request::get(url)
            .header("authorization", &pair.recipient.authorization)
            .body(Full::default())?;
        let page = exchange(connection.clone(), request, StatusCode::OK).await?;
        let page: Value = serde_json::from_slice(&page)?;
        for message in page["messages"].as_array().context("no messages")? {
            let number = message["payload"]["number"].as_u64();
            numbers.push(number.with_context(|| format!("whose is {message}?"))?);
        }
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return Ok(numbers),
        }
    }
}

/// Every number once and in order.
fn check(numbers: &[u64], wanted: u64) -> Result<()> {
    for (place, number) in (0..).zip(numbers) {
        ensure!(
            place == *number,
            "the inbox has message {number} in place {place}"
        );
    }
    let found = numbers.len();
    ensure!(
        u64::try_from(found)? == wanted,
        "{wanted} were sent, {found} are in the inbox"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_every_number_once_and_in_order_is_good() {
        assert!(check(&[0, 1, 2], 3).is_ok());
        for bad in [&[0, 1][..], &[0, 2, 1], &[0, 1, 1, 2], &[0, 1, 2, 3]] {
            assert!(check(bad, 3).is_err(), "{bad:?}");
        }
    }
}
