//! What was promised and what was found: every message once, and those of a lane in their order.

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};
use hyper::{Request, StatusCode};
use serde::Deserialize;

use crate::client::{connect, exchange};
use crate::daemon::Agent;
use crate::h2::{Mark, find};
use crate::load::Target;

/// The most messages of a page of an inbox.
const PAGE: usize = 1_000;

/// The messages that were accepted, by their run and lane.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    runs: usize,
    accepted: HashMap<(usize, usize), u64>,
}

impl Ledger {
    /// Begins a run and gives its number.
    pub(crate) fn begin(&mut self) -> usize {
        self.runs += 1;
        self.runs - 1
    }

    /// All of these numbers of a lane, from 0 on, were accepted.
    pub(crate) fn sent(&mut self, run: usize, lane: usize, count: u64) {
        if count > 0 {
            self.accepted.insert((run, lane), count);
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.accepted.values().sum()
    }

    /// # Errors
    ///
    /// Where something of what was accepted is not among what was found.
    pub(crate) fn compare(&self, found: &Found) -> Result<()> {
        for ((run, lane), count) in &self.accepted {
            let there = found.next.get(&(*run, *lane)).copied().unwrap_or(0);
            ensure!(
                there == *count,
                "of lane {lane} in run {run} {count} messages were accepted and {there} found"
            );
        }
        ensure!(
            found.total() == self.total(),
            "{} messages were accepted and {} found",
            self.total(),
            found.total()
        );
        Ok(())
    }

    /// Reads the inboxes of these agents through: all must be there.
    pub(crate) async fn check_inboxes(&self, target: &Target, agents: &[Agent]) -> Result<()> {
        let mut found = Found::default();
        for agent in agents {
            read_inbox(target, agent, &mut found).await?;
        }
        self.compare(&found)
    }
}

/// What arrived.
#[derive(Debug, Default)]
pub(crate) struct Found {
    next: HashMap<(usize, usize), u64>,
}

impl Found {
    /// The next message of its lane arrived.
    ///
    /// # Errors
    ///
    /// When another one was to come before it, or it was here already.
    pub(crate) fn take(&mut self, mark: Mark) -> Result<()> {
        let next = self.next.entry((mark.run, mark.lane)).or_default();
        ensure!(
            *next == mark.number,
            "message {} of lane {} in run {} came where {next} was to come",
            mark.number,
            mark.lane,
            mark.run
        );
        *next += 1;
        Ok(())
    }

    pub(crate) fn total(&self) -> u64 {
        self.next.values().sum()
    }
}

/// The end of a page.
#[derive(Deserialize)]
struct Page {
    next_cursor: Option<String>,
    count: usize,
}

/// Every message of an inbox in its order.
async fn read_inbox(target: &Target, agent: &Agent, found: &mut Found) -> Result<()> {
    let connection = connect(&target.roots, target.servers[0]).await?;
    let mut cursor = String::new();
    loop {
        let url = format!(
            "https://localhost/v1/inbox/{}?limit={PAGE}&cursor={cursor}",
            agent.address
        );
        let request = Request::get(url)
            .header("authorization", &agent.authorization)
            .body(http_body_util::Full::default())?;
        let page = exchange(connection.clone(), request, StatusCode::OK).await?;
        let marks = marks(&page);
        let end: Page = serde_json::from_slice(&page)?;
        ensure!(
            marks.len() == end.count,
            "{} messages have {} marks",
            end.count,
            marks.len()
        );
        for mark in marks {
            found.take(mark).with_context(|| agent.address.clone())?;
        }
        match end.next_cursor {
            Some(next) => cursor = next,
            None => return Ok(()),
        }
    }
}

/// All marks in a text, in their order.
pub(crate) fn marks(mut text: &[u8]) -> Vec<Mark> {
    let mut marks = Vec::new();
    while let Some(at) = find(text) {
        text = &text[at..];
        marks.extend(Mark::read(text));
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(lane: usize, number: u64) -> Mark {
        Mark {
            run: 0,
            lane,
            number,
        }
    }

    #[test]
    fn what_is_missing_repeated_or_out_of_order_is_told() {
        let mut ledger = Ledger::default();
        let run = ledger.begin();
        ledger.sent(run, 4, 2);
        let mut found = Found::default();
        assert!(found.take(mark(4, 1)).is_err());
        found.take(mark(4, 0)).unwrap();
        assert!(found.take(mark(4, 0)).is_err());
        assert!(ledger.compare(&found).is_err());
        found.take(mark(4, 1)).unwrap();
        ledger.compare(&found).unwrap();
        found.take(mark(5, 0)).unwrap();
        assert!(ledger.compare(&found).is_err());
    }
}
