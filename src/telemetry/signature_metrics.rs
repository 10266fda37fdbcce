//! What is counted of signatures: how senders were verified, and what we signed.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

/// The series of signatures. Cloning is cheap; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct SignatureMetrics {
    verifications: Family<ByResult, Counter>,
    signings: Family<ByResult, Counter>,
}

impl SignatureMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "amtp_sender_verifications",
            "Foreign messages, by what is known of their sender",
            metrics.verifications.clone(),
        );
        registry.register(
            "amtp_signings",
            "Messages of ours on their way to peers: signed, kept (signed before), or why not",
            metrics.signings.clone(),
        );
        metrics
    }

    /// A foreign message's sender was looked at.
    pub fn sender_verified(&self, result: &'static str) {
        self.verifications.get_or_create(&ByResult { result }).inc();
    }

    /// A message of ours was to be signed.
    pub fn signing(&self, result: &'static str) {
        self.signings.get_or_create(&ByResult { result }).inc();
    }
}
