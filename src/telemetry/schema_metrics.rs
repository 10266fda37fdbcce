//! What is counted of schemas.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

/// The series of schemas. Cloning is cheap; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct SchemaMetrics {
    judged: Family<ByOutcome, Counter>,
    fetched: Family<ByOutcome, Counter>,
}

impl SchemaMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "amtp_schema_judgements",
            "Payloads held against their schema, by what came of it",
            metrics.judged.clone(),
        );
        registry.register(
            "amtp_schema_fetches",
            "Schemas asked for at registries of others, by what came of it",
            metrics.fetched.clone(),
        );
        metrics
    }

    /// A payload was judged: `valid`, `unknown`, `faults`, or `recorded` where a fault refuses
    /// nothing.
    pub fn judged(&self, outcome: &'static str) {
        self.judged.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// A registry was asked: `fetched`, `absent`, `unsigned`, `malformed`, `unreachable`, or `busy`
    /// where it was not asked because too many are.
    pub fn fetched(&self, outcome: &'static str) {
        self.fetched.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// How often a registry was asked with this outcome.
    #[must_use]
    pub fn fetches(&self, outcome: &'static str) -> u64 {
        self.fetched.get_or_create(&ByOutcome { outcome }).get()
    }

    /// How many payloads were judged with this outcome.
    #[must_use]
    pub fn judgements(&self, outcome: &'static str) -> u64 {
        self.judged.get_or_create(&ByOutcome { outcome }).get()
    }
}
