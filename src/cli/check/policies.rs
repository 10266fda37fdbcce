//! The folder of policies: every rule of it must be good, and should be able to decide something.

use super::Look;
use crate::config::Config;
use crate::policy::{PolicySet, read_folder};

impl Look {
    pub(super) fn at_policies(&mut self, config: &Config) {
        let Some(policies) = &config.policies else {
            return;
        };
        let texts = read_folder(&policies.dir);
        let set = texts.and_then(|texts| PolicySet::parse(&texts, &config.domains));
        match set {
            Ok(set) => {
                for (rule, idle) in set.idle_rules() {
                    self.warning("policies.dir", format!("{rule}: {}", idle.text()));
                }
            }
            Err(faults) => {
                for fault in faults.faults() {
                    self.fault("policies.dir", fault.to_string());
                }
            }
        }
    }
}
