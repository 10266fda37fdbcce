//! The check of the suite: a gateway that passes is put behind something that breaks one rule, and the
//! test that claims this rule has to see it.
//!
//! A mutant breaks either what goes between clients and the gateway ([`Flaw`]) or what goes between
//! the gateway and its peers ([`Wire`]). A test that fails without the fault catches nothing.

mod flaw;
mod front;
mod list;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::bench::{Bench, Wire};
use crate::context::Context;
use crate::runner::{self, Test, Verdict};
use crate::subject::Subject;

pub(crate) use flaw::Flaw;
use front::Front;
pub(crate) use list::all;

/// Mutants tried at a time.
const AT_ONCE: usize = 6;

/// A rule that is broken, and who sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mutant {
    /// What is wrong, in words.
    pub(crate) breaks: &'static str,
    /// The id of the test that has to fail.
    pub(crate) claimed_by: &'static str,
    fault: Fault,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Front(Flaw),
    Wire(Wire),
}

/// What became of a mutant.
#[derive(Debug, Clone)]
pub(crate) struct Tried {
    pub(crate) breaks: &'static str,
    pub(crate) claimed_by: &'static str,
    /// What the test said.
    pub(crate) caught: Option<String>,
    /// Why it was not caught.
    pub(crate) survived: String,
}

impl Mutant {
    /// What is said of it when its test does not pass without the fault.
    fn unfit(&self, why: &str) -> Tried {
        Tried {
            breaks: self.breaks,
            claimed_by: self.claimed_by,
            caught: None,
            survived: why.to_owned(),
        }
    }
}

/// The results for programs.
pub(crate) fn json(tried: &[Tried]) -> Result<String> {
    let mutants: Vec<_> = tried
        .iter()
        .map(|it| {
            json!({ "breaks": it.breaks, "claimed_by": it.claimed_by,
                "caught": it.caught.is_some(), "found": it.caught, "survived": it.survived })
        })
        .collect();
    let caught = tried.iter().filter(|it| it.caught.is_some()).count();
    let report = json!({ "caught": caught, "mutants": tried.len(), "tried": mutants });
    Ok(serde_json::to_string_pretty(&report)?)
}

/// What all of them share.
struct Ground {
    subject: Subject,
    bench: Arc<Bench>,
}

impl Ground {
    /// The gateway behind a fault, or behind none.
    async fn context(&self, fault: Option<Fault>) -> Result<(Arc<Context>, Front)> {
        let (flaw, wire) = match fault {
            Some(Fault::Front(flaw)) => (Some(flaw), None),
            Some(Fault::Wire(wire)) => (None, Some(wire)),
            None => (None, None),
        };
        let front = Front::open(&self.subject, &self.bench, flaw).await?;
        let mut subject = self.subject.clone();
        subject.url.clone_from(&front.url);
        subject.resolve = Some(self.bench.ip());
        subject.ca_files.push(self.bench.authority.pem.clone());
        let context = Context::new(subject, Some(Arc::clone(&self.bench)))?;
        Ok((Arc::new(context.with_wire(wire)), front))
    }

    /// The tests that do not pass when nothing is wrong, and why.
    async fn failing(&self, tests: Vec<Test>) -> Result<HashMap<String, String>> {
        let (context, _front) = self.context(None).await?;
        let outcomes = runner::run(context, tests, None).await;
        let bad = outcomes.into_iter().filter_map(|outcome| {
            let why = match outcome.verdict {
                Verdict::Passed => return None,
                Verdict::Failed(why) => format!("its test fails without the fault: {why}"),
                Verdict::Skipped(why) => format!("its test is skipped: {why}"),
                Verdict::Deviates { .. } | Verdict::Mended => "its test is expected to fail".into(),
            };
            Some((outcome.test.id, why))
        });
        Ok(bad.collect())
    }

    async fn try_one(&self, mutant: Mutant, test: Test) -> Result<Tried> {
        let (context, _front) = self.context(Some(mutant.fault)).await?;
        let mut outcomes = runner::run(context, vec![test], None).await;
        let (caught, survived) = match outcomes.remove(0).verdict {
            Verdict::Failed(why) => (Some(why), String::new()),
            other => (None, format!("the test says {other:?}")),
        };
        Ok(Tried {
            breaks: mutant.breaks,
            claimed_by: mutant.claimed_by,
            caught,
            survived,
        })
    }
}

/// Tries all mutants and answers in their order.
pub(crate) async fn run(
    subject: Subject,
    bench: Arc<Bench>,
    mutants: Vec<Mutant>,
) -> Result<Vec<Tried>> {
    ensure!(
        !subject.ca_files.is_empty(),
        "mutants need the gateway's certificates: --ca-file"
    );
    let claimed: BTreeSet<&str> = mutants.iter().map(|it| it.claimed_by).collect();
    let tests: HashMap<String, Test> = crate::tests::all()
        .into_iter()
        .filter(|test| claimed.contains(test.id.as_str()))
        .map(|test| (test.id.clone(), test))
        .collect();
    let ground = Arc::new(Ground { subject, bench });
    let failing = ground.failing(tests.values().cloned().collect()).await?;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    let mut tried = Vec::new();
    for (number, mutant) in mutants.into_iter().enumerate() {
        let test = tests.get(mutant.claimed_by).cloned();
        let test = test.with_context(|| format!("there is no test {}", mutant.claimed_by))?;
        if let Some(why) = failing.get(mutant.claimed_by) {
            tried.push((number, mutant.unfit(why)));
            continue;
        }
        let (ground, places) = (Arc::clone(&ground), Arc::clone(&places));
        running.spawn(async move {
            let _place = places.acquire_owned().await;
            (number, ground.try_one(mutant, test).await)
        });
    }
    while let Some(done) = running.join_next().await {
        let (number, result) = done?;
        tried.push((number, result?));
    }
    tried.sort_by_key(|(number, _)| *number);
    Ok(tried.into_iter().map(|(_, it)| it).collect())
}
