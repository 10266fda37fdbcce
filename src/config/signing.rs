//! Section `signing`: the key that signs what our agents send to other domains.

use super::kind::{List, SelectorName, SigningKey};
use super::reading::Reading;
use super::secret::Secret;
use super::section::section;
use crate::protocol::{Selector, Signer};

section! {
    /// The key that signs messages to other domains. Its public half stands in the DNS, for every domain of this
    /// gateway; `amtpd key dns` prints the records. Without this section nothing is signed.
    pub struct Signing = "signing" {
        /// The name of the key in the DNS: `<selector>._amtpkey.<domain>`. A new key gets a new one.
        selector: Selector as SelectorName,
        /// The private key: PKCS#8 in PEM, on P-256 (ES256) or RSA (RS256). `amtpd key generate` makes one.
        "key_file" key: Secret as SigningKey,
        /// Selectors of earlier keys, whose records have to stay for 8 days after their last signature. Nothing
        /// is signed with them any more.
        previous: Vec<Selector> as List<SelectorName> = "[]",
    }
}

impl Signing {
    /// Tells what does not fit together.
    pub(super) fn check(&self, reading: &mut Reading<'_>) {
        if self.previous.contains(&self.selector) {
            let text = format!(
                "names {}, which signs now; a new key needs a new selector",
                self.selector
            );
            reading.fault_of("signing.previous", text);
        }
    }

    /// What signs.
    ///
    /// # Panics
    /// Never: the key was read when the configuration was.
    #[must_use]
    pub fn signer(&self) -> Signer {
        Signer::read(self.selector.clone(), self.key.reveal())
            .expect("the configuration holds keys that can be read")
    }
}
