//! What is counted of policies: what they came to, and whether the files can be used.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByVerdict {
    verdict: &'static str,
}

/// A counter of verdicts. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct PolicyCounter(Counter);

impl PolicyCounter {
    /// One more.
    pub fn inc(&self) {
        self.0.inc();
    }
}

/// What a look at the policy files came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// They say what they said before.
    Unchanged,
    /// New rules are in use.
    Replaced,
    /// They have faults; the rules of before stay.
    Broken,
}

impl ReloadOutcome {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Replaced => "replaced",
            Self::Broken => "broken",
        }
    }
}

/// The series of policies. Cloning is cheap; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct PolicyMetrics {
    broken: Gauge,
    rules: Gauge,
    senders: Gauge,
    reloads: Family<ByOutcome, Counter>,
    verdicts: Family<ByVerdict, Counter>,
}

impl PolicyMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let (r, m) = (registry, &metrics);
        r.register(
            "amtp_policies_broken",
            "Whether the policy files have faults and rules of before are in use: 1, else 0",
            m.broken.clone(),
        );
        r.register(
            "amtp_policies_rules",
            "Policy rules in use",
            m.rules.clone(),
        );
        r.register(
            "amtp_policies_limited_senders",
            "Senders that are remembered for the limits of policy rules",
            m.senders.clone(),
        );
        r.register(
            "amtp_policies_reloads",
            "Looks at the policy files on a signal or a change, by what came of them",
            m.reloads.clone(),
        );
        r.register(
            "amtp_policy_verdicts",
            "Messages judged by the policy, once a recipient, by the verdict",
            m.verdicts.clone(),
        );
        metrics
    }

    /// Whether the files have faults.
    pub fn broken(&self, broken: bool) {
        self.broken.set(i64::from(broken));
    }

    /// So many rules are in use.
    pub fn rules(&self, rules: usize) {
        self.rules.set(i64::try_from(rules).unwrap_or(i64::MAX));
    }

    /// So many senders are remembered.
    pub fn limited_senders(&self, senders: usize) {
        self.senders.set(i64::try_from(senders).unwrap_or(i64::MAX));
    }

    /// The files were looked at.
    pub fn reloaded(&self, outcome: ReloadOutcome) {
        let outcome = outcome.as_str();
        self.reloads.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// The counter of one verdict: `allow`, `hold`, `deny`, `limited`.
    #[must_use]
    pub fn verdict(&self, verdict: &'static str) -> PolicyCounter {
        PolicyCounter(self.verdicts.get_or_create_owned(&ByVerdict { verdict }))
    }
}
