//! The folder of schemas: every file of it must be good.

use super::Look;
use crate::config::Config;
use crate::schema::Schemas;

impl Look {
    pub(super) fn at_schemas(&mut self, config: &Config) {
        let dir = config.schemas.dir.as_deref();
        for fault in dir.map(Schemas::check_folder).unwrap_or_default() {
            self.fault("schemas.dir", fault.to_string());
        }
    }
}
