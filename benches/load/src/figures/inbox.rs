//! Inboxes: agents poll them and acknowledge what they got, a page at a time.

use anyhow::{Result, ensure};
use http_body_util::Full;
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::accept::side;
use crate::bench::{Bench, Run, Runs, Side, costed};
use crate::client::{connect, exchange};
use crate::clock::now;
use crate::daemon::{Agent, Daemon};
use crate::h2::Mark;
use crate::ledger::{Found, Ledger};
use crate::load::{self, Measured, Target};
use crate::report::{Figure, progress, to_float};

const NAME: &str = "inbox";
/// Messages of a page.
const PAGE: usize = 200;

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut daemon = Daemon::prepare(&bench.binary, "load.test")?;
    daemon.serve(&[]).await?;
    let agents = daemon.pollers("agent", bench.options.senders).await?;
    let (_bare, ceiling) = bench.bare(&daemon, &agents)?;
    let own = side(&daemon)?;
    let lanes = bench.lanes(&agents, &agents);
    let mut ledger = Ledger::default();
    let mut found = Found::default();
    let mut runs = Runs::default();
    for number in 0..bench.pairs() {
        bench.progress(NAME, number, "filling the inboxes");
        load::closed(&bench.shape(), &own.target, &lanes, &mut ledger).await?;
        let bare = bench
            .closed(&ceiling, &lanes, &mut Ledger::default())
            .await?;
        let run = poll(&own, &agents, &mut found).await?;
        let what = format!(
            "bare server {:.0}/s, read and acknowledged {:.0}/s",
            bare.measured.rate, run.measured.rate
        );
        bench.progress(NAME, number, &what);
        runs.add(run, bare);
    }
    ledger.compare(&found)?;
    progress(NAME, "all inboxes must be empty");
    Ledger::default()
        .check_inboxes(&own.target, &agents)
        .await?;
    daemon.stop().await?;
    let title = format!("inbox read and acknowledged, {} agents", agents.len());
    let mut figure = Figure::new(NAME, &title, runs.pairs());
    figure.details = runs.costs();
    Ok(vec![figure])
}

/// All agents empty their inboxes at the same time.
async fn poll(own: &Side, agents: &[Agent], found: &mut Found) -> Result<Run> {
    costed(&own.processes, async {
        let began = now();
        let mut tasks = JoinSet::new();
        for agent in agents {
            tasks.spawn(drain(own.target.clone(), agent.clone()));
        }
        let mut answered = 0;
        let mut all = Vec::new();
        while let Some(marks) = tasks.join_next().await {
            all.push(marks??);
        }
        let seconds = began.elapsed().as_secs_f64();
        for mark in all.into_iter().flatten() {
            found.take(mark)?;
            answered += 1;
        }
        Ok(Measured {
            rate: to_float(answered) / seconds,
            answered,
            seconds,
            p50_ms: 0.0,
            p95_ms: 0.0,
            p99_ms: 0.0,
            body_bytes: 0.0,
        })
    })
    .await
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    messages: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    message_id: &'a str,
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    mark: &'a str,
}

#[derive(Serialize)]
struct Ids<'a> {
    message_ids: Vec<&'a str>,
}

#[derive(Deserialize)]
struct Acknowledged {
    not_found: Vec<String>,
}

/// Reads and acknowledges until nothing is there.
async fn drain(target: Target, agent: Agent) -> Result<Vec<Mark>> {
    let connection = connect(&target.roots, target.servers[0]).await?;
    let inbox = format!("https://localhost/v1/inbox/{}", agent.address);
    let (list, ack) = (format!("{inbox}?limit={PAGE}"), format!("{inbox}/ack"));
    let mut marks = Vec::new();
    loop {
        let request = Request::get(&list)
            .header("authorization", &agent.authorization)
            .body(Full::default())?;
        let page = exchange(connection.clone(), request, StatusCode::OK).await?;
        let page: Page = serde_json::from_slice(&page)?;
        if page.messages.is_empty() {
            return Ok(marks);
        }
        let read = page.messages.iter();
        marks.extend(read.filter_map(|it| Mark::read(it.payload.mark.as_bytes())));
        let message_ids = page.messages.iter().map(|it| it.message_id).collect();
        let request = Request::post(&ack)
            .header("authorization", &agent.authorization)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&Ids { message_ids })?.into())?;
        let answer = exchange(connection.clone(), request, StatusCode::OK).await?;
        let answer: Acknowledged = serde_json::from_slice(&answer)?;
        ensure!(
            answer.not_found.is_empty(),
            "{} read messages were not there to be acknowledged",
            answer.not_found.len()
        );
    }
}
