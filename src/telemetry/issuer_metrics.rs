//! What is counted of issuers of tokens.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByIssuer {
    issuer: String,
    outcome: &'static str,
}

impl ByIssuer {
    fn of(issuer: &str, outcome: &'static str) -> Self {
        let issuer = issuer.to_owned();
        Self { issuer, outcome }
    }
}

/// The series of issuers, each by its domain in the configuration. Cloning is cheap; all clones
/// count together.
#[derive(Clone, Debug, Default)]
pub struct IssuerMetrics {
    fetches: Family<ByIssuer, Counter>,
    tokens: Family<ByIssuer, Counter>,
}

impl IssuerMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "amtp_issuer_fetches",
            "Key sets of issuers that were asked for, by what came of it",
            metrics.fetches.clone(),
        );
        registry.register(
            "amtp_issuer_tokens",
            "Tokens of issuers that were checked, by what came of it",
            metrics.tokens.clone(),
        );
        metrics
    }

    /// An issuer was asked for its keys: `fetched`, `malformed` or `unreachable`.
    pub fn fetched(&self, issuer: &str, outcome: &'static str) {
        let labels = ByIssuer::of(issuer, outcome);
        self.fetches.get_or_create(&labels).inc();
    }

    /// A token that was not known yet was checked: `good`, `unknown_key`, or `refused`.
    pub fn token(&self, issuer: &str, outcome: &'static str) {
        let labels = ByIssuer::of(issuer, outcome);
        self.tokens.get_or_create(&labels).inc();
    }

    /// How often an issuer was asked with this outcome.
    #[must_use]
    pub fn fetches(&self, issuer: &str, outcome: &'static str) -> u64 {
        let labels = ByIssuer::of(issuer, outcome);
        self.fetches.get_or_create(&labels).get()
    }

    /// How many tokens were checked with this outcome.
    #[must_use]
    pub fn tokens(&self, issuer: &str, outcome: &'static str) -> u64 {
        let labels = ByIssuer::of(issuer, outcome);
        self.tokens.get_or_create(&labels).get()
    }
}
