//! Many messages in one request (AMTP 1.0, section 5.1).

use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Method;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use uuid::Uuid;

use super::test;
use crate::client::{Answer, Call};
use crate::context::{Agent, Context, expect_error, expect_status, message};
use crate::level::Level::Amtpd;
use crate::runner::{Skipped, Test};

/// The most lines.
const LINES: usize = 200;
/// The most bytes when unpacked.
const BYTES: usize = 4 * 1024 * 1024;

#[allow(clippy::too_many_lines, reason = "one list")]
pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![
        test(
            Amtpd,
            "5.1",
            (
                "batch.order",
                "Lines are applied in order and have a result each",
            ),
            order,
        ),
        test(
            Amtpd,
            "5.1",
            ("batch.bad-line", "A bad line does not stop the others"),
            bad_line,
        ),
        test(
            Amtpd,
            "5.1",
            (
                "batch.blank-line",
                "A blank line in the middle has a result of its own",
            ),
            blank_line,
        ),
        test(
            Amtpd,
            "5.1",
            ("batch.lines", "200 lines are taken, 201 and none are not"),
            lines,
        ),
        test(
            Amtpd,
            "5.1",
            (
                "batch.repeated",
                "A repeated batch has the same ids and delivers nothing twice",
            ),
            repeated,
        ),
        test(
            Amtpd,
            "5.1",
            ("batch.no-key", "Each line needs its sender's credential"),
            no_key,
        ),
        test(
            Amtpd,
            "5.1",
            ("batch.media-type", "A batch is NDJSON, else 415"),
            media_type,
        ),
        test(
            Amtpd,
            "5.1",
            ("batch.encoding", "An unknown encoding answers 415"),
            encoding,
        ),
        test(
            Amtpd,
            "5.1",
            ("batch.size", "More than 4 MiB answer 413"),
            plain_size,
        ),
    ];
    let packed = |id, rule, packing, work: fn(Arc<Context>, Packing) -> Ending| {
        test(Amtpd, "5.1", (id, rule), move |context| {
            work(context, packing)
        })
    };
    tests.extend([
        packed(
            "batch.gzip",
            "A batch may come as gzip",
            Packing::Gzip,
            |c, p| Box::pin(taken(c, p)),
        ),
        packed(
            "batch.zstd",
            "A batch may come as zstd",
            Packing::Zstd,
            |c, p| Box::pin(taken(c, p)),
        ),
        packed(
            "batch.gzip.bomb",
            "Little gzip that unpacks to too much answers 413",
            Packing::Gzip,
            |c, p| Box::pin(bomb(c, p)),
        ),
        packed(
            "batch.zstd.bomb",
            "Little zstd that unpacks to too much answers 413",
            Packing::Zstd,
            |c, p| Box::pin(bomb(c, p)),
        ),
        packed(
            "batch.gzip.junk",
            "What is called gzip and is none answers 400",
            Packing::Gzip,
            |c, p| Box::pin(junk(c, p)),
        ),
        packed(
            "batch.zstd.junk",
            "What is called zstd and is none answers 400",
            Packing::Zstd,
            |c, p| Box::pin(junk(c, p)),
        ),
    ]);
    tests
}

type Ending = std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>>;

#[derive(Clone, Copy)]
enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    fn pack(self, body: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Gzip => {
                let mut packer = GzEncoder::new(Vec::new(), Compression::best());
                packer.write_all(body)?;
                Ok(packer.finish()?)
            }
            Self::Zstd => Ok(compress_to_vec(body, CompressionLevel::Fastest)),
        }
    }
}

/// Ends the test where the gateway knows no batches.
async fn needs_batch(context: &Context) -> Result<()> {
    match context.offers("batch").await? {
        true => Ok(()),
        false => Err(Skipped("the gateway does not offer the feature `batch`").into()),
    }
}

/// The agents of a test, once it is known that there are batches.
async fn pair(context: &Context) -> Result<(Agent, Agent)> {
    needs_batch(context).await?;
    Ok((context.agent().await?, context.agent().await?))
}

fn call(context: &Context, body: impl Into<bytes::Bytes>) -> Call {
    Call::new(Method::POST, context.url("/v1/messages/batch"))
        .header("content-type", "application/x-ndjson")
        .body(body)
}

async fn send(context: &Context, key: &str, lines: &[String]) -> Result<Answer> {
    let body = format!("{}\n", lines.join("\n"));
    context.client.send(call(context, body).bearer(key)).await
}

/// `count` lines; each says its number and has a key of its own.
fn numbered((from, to): (&Agent, &Agent), count: usize) -> Vec<String> {
    let line = |number: usize| {
        let key = Uuid::new_v4().to_string();
        let change = json!({ "payload": { "number": number }, "idempotency_key": key });
        message(from, to, &change).to_string()
    };
    (0..count).map(line).collect()
}

/// The results, a line each.
fn results(answer: &Answer) -> Result<Vec<Value>> {
    expect_status(answer, 200)?;
    let kind = answer.header("content-type").unwrap_or_default();
    ensure!(kind.starts_with("application/x-ndjson"), "{kind}");
    let read = answer.text.lines().map(serde_json::from_str);
    Ok(read.collect::<Result<_, _>>()?)
}

fn statuses(results: &[Value]) -> Vec<u64> {
    let status = |result: &Value| result["status"].as_u64().unwrap_or_default();
    results.iter().map(status).collect()
}

fn ids(results: &[Value]) -> Vec<Value> {
    let id = |result: &Value| result["receipt"]["message_id"].clone();
    results.iter().map(id).collect()
}

async fn inbox_ids(context: &Context, agent: &Agent) -> Result<Vec<Value>> {
    let mail = context.inbox(agent, "?limit=1000").await?;
    Ok(mail.iter().map(|it| it["message_id"].clone()).collect())
}

async fn order(context: Arc<Context>) -> Result<()> {
    let (from, to) = pair(&context).await?;
    let answer = send(&context, &from.key, &numbered((&from, &to), 20)).await?;
    let results = results(&answer)?;
    ensure!(statuses(&results) == [202; 20], "{}", answer.shown());
    let row = &results[0]["receipt"]["recipients"][0];
    ensure!(
        row["address"] == to.address.as_str() && row["status"] == "delivered",
        "{row}"
    );
    let mail = context.inbox(&to, "").await?;
    let sent: Vec<_> = mail
        .iter()
        .map(|it| it["payload"]["number"].clone())
        .collect();
    let wanted: Vec<_> = (0..20).map(Value::from).collect();
    ensure!(sent == wanted, "arrived as {sent:?}");
    ensure!(
        inbox_ids(&context, &to).await? == ids(&results),
        "the ids are others"
    );
    Ok(())
}

async fn bad_line(context: Arc<Context>) -> Result<()> {
    let (from, to) = pair(&context).await?;
    let mut lines = numbered((&from, &to), 5);
    lines[1] = "this is no JSON".to_owned();
    lines[3] = message(&from, &to, &json!({ "recipients": [] })).to_string();
    let results = results(&send(&context, &from.key, &lines).await?)?;
    ensure!(
        statuses(&results) == [202, 400, 202, 400, 202],
        "{results:?}"
    );
    for bad in [&results[1], &results[3]] {
        ensure!(bad["error"]["code"] == "INVALID_MESSAGE_FORMAT", "{bad}");
        ensure!(bad.get("receipt").is_none(), "{bad}");
    }
    let delivered = context.inbox(&to, "").await?.len();
    ensure!(delivered == 3, "{delivered} arrived");
    Ok(())
}

async fn blank_line(context: Arc<Context>) -> Result<()> {
    let (from, to) = pair(&context).await?;
    let mut lines = numbered((&from, &to), 3);
    lines[1].clear();
    let results = results(&send(&context, &from.key, &lines).await?)?;
    ensure!(statuses(&results) == [202, 400, 202], "{results:?}");
    Ok(())
}

async fn lines(context: Arc<Context>) -> Result<()> {
    let (from, to) = pair(&context).await?;
    let too_many = numbered((&from, &to), LINES + 1);
    for body in [too_many.join("\n"), String::new()] {
        let call = call(&context, body).bearer(&from.key);
        expect_status(&context.client.send(call).await?, 400)?;
    }
    ensure!(
        context.inbox(&to, "").await?.is_empty(),
        "what was refused is delivered"
    );
    let results = results(&send(&context, &from.key, &too_many[..LINES]).await?)?;
    ensure!(statuses(&results) == [202; LINES], "{results:?}");
    ensure!(
        inbox_ids(&context, &to).await? == ids(&results),
        "the mail is other"
    );
    Ok(())
}

async fn repeated(context: Arc<Context>) -> Result<()> {
    let (from, to) = pair(&context).await?;
    let lines = numbered((&from, &to), 10);
    let first = results(&send(&context, &from.key, &lines).await?)?;
    let again = results(&send(&context, &from.key, &lines).await?)?;
    ensure!(statuses(&again) == [202; 10], "{again:?}");
    ensure!(ids(&again) == ids(&first), "{again:?} after {first:?}");
    let delivered = context.inbox(&to, "").await?.len();
    ensure!(delivered == 10, "{delivered} arrived");
    // The same line twice in one batch is one message too.
    let line = numbered((&from, &to), 1).remove(0);
    let twice = results(&send(&context, &from.key, &[line.clone(), line]).await?)?;
    let ids = ids(&twice);
    ensure!(ids[0].is_string() && ids[0] == ids[1], "{twice:?}");
    let delivered = context.inbox(&to, "").await?.len();
    ensure!(delivered == 11, "{delivered} arrived");
    Ok(())
}

async fn no_key(context: Arc<Context>) -> Result<()> {
    let (from, to) = pair(&context).await?;
    let body = numbered((&from, &to), 1).remove(0);
    let anonymous = context.client.send(call(&context, body.clone())).await?;
    let refused = results(&anonymous)?;
    ensure!(statuses(&refused) == [401], "{refused:?}");
    let other = results(&send(&context, &to.key, &[body]).await?)?;
    ensure!(statuses(&other) == [403], "{other:?}");
    Ok(())
}

async fn media_type(context: Arc<Context>) -> Result<()> {
    let (from, to) = pair(&context).await?;
    let call = Call::new(Method::POST, context.url("/v1/messages/batch"))
        .json(numbered((&from, &to), 1).remove(0))
        .bearer(&from.key);
    expect_error(
        &context.client.send(call).await?,
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    )
}

async fn encoding(context: Arc<Context>) -> Result<()> {
    let (from, to) = pair(&context).await?;
    let call = call(&context, numbered((&from, &to), 1).remove(0))
        .header("content-encoding", "br")
        .bearer(&from.key);
    expect_error(
        &context.client.send(call).await?,
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    )
}

async fn plain_size(context: Arc<Context>) -> Result<()> {
    let (from, _) = pair(&context).await?;
    let call = call(&context, vec![b' '; BYTES + 1]).bearer(&from.key);
    expect_error(&context.client.send(call).await?, 413, "MESSAGE_TOO_LARGE")
}

/// What is packed so is taken as if it were not.
async fn taken(context: Arc<Context>, packing: Packing) -> Result<()> {
    let (from, to) = pair(&context).await?;
    let body = numbered((&from, &to), 50).join("\n");
    let call = call(&context, packing.pack(body.as_bytes())?)
        .header("content-encoding", packing.name())
        .bearer(&from.key);
    let results = results(&context.client.send(call).await?)?;
    ensure!(statuses(&results) == [202; 50], "{results:?}");
    let delivered = context.inbox(&to, "").await?.len();
    ensure!(delivered == 50, "{delivered} arrived");
    Ok(())
}

async fn bomb(context: Arc<Context>, packing: Packing) -> Result<()> {
    let (from, _) = pair(&context).await?;
    let bomb = packing.pack(&vec![b' '; 8 * BYTES])?;
    ensure!(bomb.len() < BYTES / 16, "it packs to {}", bomb.len());
    let call = call(&context, bomb)
        .header("content-encoding", packing.name())
        .bearer(&from.key);
    expect_error(&context.client.send(call).await?, 413, "MESSAGE_TOO_LARGE")
}

async fn junk(context: Arc<Context>, packing: Packing) -> Result<()> {
    let (from, to) = pair(&context).await?;
    let mut cut = packing.pack(numbered((&from, &to), 20).join("\n").as_bytes())?;
    cut.truncate(cut.len() / 2);
    for body in [b"junk that was never packed".to_vec(), cut] {
        let call = call(&context, body)
            .header("content-encoding", packing.name())
            .bearer(&from.key);
        expect_error(
            &context.client.send(call).await?,
            400,
            "INVALID_MESSAGE_FORMAT",
        )?;
    }
    ensure!(
        context.inbox(&to, "").await?.is_empty(),
        "half a batch was delivered"
    );
    Ok(())
}
