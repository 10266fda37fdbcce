//! What is counted of sessions.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Raised;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

/// The series of sessions. Cloning is cheap; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct LiveMetrics {
    sessions: Family<ByKind, Gauge>,
    opened: Family<ByOutcome, Counter>,
    pushed: Family<ByKind, Counter>,
    acknowledged: Family<ByKind, Counter>,
    put_back: Family<ByKind, Counter>,
}

impl LiveMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let m = Self::default();
        r.register(
            "amtp_sessions",
            "Sessions attached to this gateway",
            m.sessions.clone(),
        );
        r.register(
            "amtp_sessions_opened",
            "Attempts to open a session, by what came of it",
            m.opened.clone(),
        );
        r.register(
            "amtp_session_messages_pushed",
            "Messages handed out to sessions",
            m.pushed.clone(),
        );
        r.register(
            "amtp_session_messages_acknowledged",
            "Messages acknowledged by sessions",
            m.acknowledged.clone(),
        );
        r.register(
            "amtp_session_messages_put_back",
            "Messages put back by sessions",
            m.put_back.clone(),
        );
        m
    }

    /// One more session of a kind, for as long as what is given back lives.
    pub fn attached(&self, kind: &'static str) -> Raised {
        Raised::new(self.sessions.get_or_create(&ByKind { kind }).clone())
    }

    /// A session was to be opened: `opened`, `resumed`, `too_many`, `bad_resume`, `gone` or `failed`.
    pub fn opened(&self, outcome: &'static str) {
        self.opened.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// Messages were handed out to a session of a kind.
    pub fn pushed(&self, kind: &'static str, count: usize) {
        add(&self.pushed, kind, count);
    }

    /// A session of a kind acknowledged so many.
    pub fn acknowledged(&self, kind: &'static str, count: usize) {
        add(&self.acknowledged, kind, count);
    }

    /// A session of a kind put so many back.
    pub fn put_back(&self, kind: &'static str, count: usize) {
        add(&self.put_back, kind, count);
    }
}

fn add(family: &Family<ByKind, Counter>, kind: &'static str, count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    family.get_or_create(&ByKind { kind }).inc_by(count);
}
