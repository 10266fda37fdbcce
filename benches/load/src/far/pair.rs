//! Two gateways of which the first sends to the second, over a way of some length.

use std::path::Path;
use std::time::Duration;

use super::relay::Relay;
use crate::daemon::{Agent, Daemon};
use crate::figures::between::peer;
use anyhow::{Context as _, Result};

const ALPHA: &str = "alpha.test";
const BETA: &str = "beta.test";

/// The two with a sender at the first and a recipient at the second.
pub(crate) struct Pair {
    pub(crate) alpha: Daemon,
    pub(crate) beta: Daemon,
    pub(crate) sender: Agent,
    pub(crate) recipient: Agent,
    _way: Relay,
}

impl Pair {
    /// Starts both with fresh databases and this delay each way.
    pub(crate) async fn start(binary: &Path, delay: Duration, batch: bool) -> Result<Self> {
        let mut alpha = Daemon::prepare(binary, ALPHA)?;
        let mut beta = Daemon::prepare(binary, BETA)?;
        let way = Relay::start(beta.address(), delay).await?;
        let to_beta = peer(BETA, way.address(), &beta, batch)?;
        let to_alpha = peer(ALPHA, alpha.address(), &alpha, batch)?;
        beta.serve(&[to_alpha]).await.context(BETA)?;
        alpha.serve(&[to_beta]).await.context(ALPHA)?;
        Ok(Self {
            sender: alpha.pollers("sender", 1).await?.remove(0),
            recipient: beta.pollers("recipient", 1).await?.remove(0),
            alpha,
            beta,
            _way: way,
        })
    }
}
