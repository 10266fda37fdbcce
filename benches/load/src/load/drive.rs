//! One connection under load.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

use super::Share;
use super::pace::Pace;
use crate::clock::now;
use crate::h2::{Connection, Mark, Template};

/// When to send.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    /// As soon as an answer is there, until this moment.
    Until(Instant),
    /// At moments that are given beforehand.
    Paced {
        from: Instant,
        interval: Duration,
        until: Instant,
        counts_from: Instant,
    },
}

struct Work {
    lane: usize,
    template: Template,
    number: u64,
    /// When its message under way was sent, or was to be.
    sent: Instant,
}

/// A connection with its lanes.
pub(super) struct Driver {
    connection: Connection,
    run: usize,
    most: usize,
    work: Vec<Work>,
    /// Lanes with nothing under way, the one that waits longest first.
    free: VecDeque<usize>,
    latencies: Vec<u64>,
}

impl Driver {
    pub(super) fn new(connection: Connection, run: usize, most: usize) -> Self {
        Self {
            connection,
            run,
            most,
            work: Vec::new(),
            free: VecDeque::new(),
            latencies: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, lane: usize, template: Template) {
        self.free.push_back(self.work.len());
        self.work.push(Work {
            lane,
            template,
            number: 0,
            sent: now(),
        });
    }

    pub(super) async fn run(mut self, goal: Goal) -> Result<Share> {
        match goal {
            Goal::Until(until) => self.closed(until).await?,
            Goal::Paced { .. } => self.paced(goal).await?,
        }
        let mut latencies = Histogram::new(3)?;
        for latency in self.latencies {
            latencies.record(latency)?;
        }
        let sent = self.work.iter().map(|work| (work.lane, work.number));
        Ok(Share {
            latencies,
            sent: sent.collect(),
        })
    }

    /// Writes the next message of a free lane. False if there is none, or no room for it.
    fn send(&mut self, at: Instant) -> bool {
        let Some(slot) = self.free.front().copied() else {
            return false;
        };
        let work = &mut self.work[slot];
        let mark = Mark {
            run: self.run,
            lane: work.lane,
            number: work.number,
        };
        if !self.connection.send(&mut work.template, &mark, slot) {
            return false;
        }
        work.number += 1;
        work.sent = at;
        self.free.pop_front();
        true
    }

    async fn closed(&mut self, until: Instant) -> Result<()> {
        let mut done = Vec::new();
        let mut moment = now();
        loop {
            if moment < until {
                while self.connection.in_flight() < self.most && self.send(moment) {}
            }
            self.connection.flush().await?;
            if self.connection.in_flight() == 0 {
                return Ok(());
            }
            self.connection.receive(&mut done).await?;
            moment = now();
            self.finish(&mut done, moment, None);
        }
    }

    async fn paced(&mut self, goal: Goal) -> Result<()> {
        let Goal::Paced {
            from,
            interval,
            until,
            counts_from,
        } = goal
        else {
            return Ok(());
        };
        let pace = Pace::new()?;
        let mut done = Vec::new();
        let mut due = from;
        loop {
            let moment = now();
            let mut blocked = false;
            while due <= moment && due < until && !blocked {
                blocked = !self.send(due);
                if !blocked {
                    due += interval;
                }
            }
            self.connection.flush().await?;
            let waits = due < until;
            if !waits && self.connection.in_flight() == 0 {
                return Ok(());
            }
            tokio::select! {
                received = self.connection.receive(&mut done) => received?,
                woken = pace.until(due), if waits && !blocked => woken?,
            }
            self.finish(&mut done, now(), Some(counts_from));
        }
    }

    /// Takes the lanes whose answers are here; what was sent before `counts_from` is not measured.
    fn finish(&mut self, done: &mut Vec<usize>, moment: Instant, counts_from: Option<Instant>) {
        for slot in done.drain(..) {
            let sent = self.work[slot].sent;
            if counts_from.is_none_or(|from| sent >= from) {
                let took = moment.saturating_duration_since(sent).as_micros();
                self.latencies.push(u64::try_from(took).unwrap_or(u64::MAX));
            }
            self.free.push_back(slot);
        }
    }
}
