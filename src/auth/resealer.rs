//! Seals anew what is sealed with a previous key, in small steps, so that the key can go.
//!
//! It looks at everything at the start and then every ten minutes: where gateways share a database,
//! one that still has the older configuration may seal with the older key. What cannot be opened
//! stays as it is. Secrets of webhooks are not changed: which key they come from is noted where it
//! was not, and they move to the present key when they are rotated.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::store::{
    KeyMark, KeyUse, PUSH_CREDENTIALS, Sealer, Seals, Store, StoreError, WEBHOOK_HEADERS,
};

const EVERY: Duration = Duration::from_secs(600);
/// Agents looked at in one step.
const STEP: i64 = 100;

/// Seals anew.
pub struct Resealer {
    store: Store,
    sealer: Sealer,
    clock: Clock,
}

/// What one round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resealed {
    /// Values sealed anew.
    pub sealed: u64,
    /// Values that no configured key opens.
    pub lost: u64,
}

impl Resealer {
    /// One that seals with the present key of `sealer`.
    #[must_use]
    pub fn new(store: Store, sealer: Sealer, clock: Clock) -> Self {
        Self {
            store,
            sealer,
            clock,
        }
    }

    /// Works until stopped.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                outcome = self.round() => if let Err(error) = outcome {
                    tracing::warn!(%error, "what is sealed with previous keys could not be sealed anew");
                },
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = self.clock.wait(EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Looks at everything once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn round(&self) -> Result<Resealed, StoreError> {
        let left = |seals: &Seals| self.older(seals);
        let mut waiting = left(&self.store.seals().await?);
        let mut resealed = self.pushes().await?;
        for of in KeyUse::ALL {
            let keys = self.signing_keys(of).await?;
            resealed.sealed += keys.sealed;
            resealed.lost += keys.lost;
        }
        waiting = waiting.saturating_sub(resealed.sealed);
        let mut after = 0;
        loop {
            let (step, last) = self.agents(after).await?;
            resealed.sealed += step.sealed;
            resealed.lost += step.lost;
            waiting = waiting.saturating_sub(step.sealed);
            if step.sealed > 0 {
                tracing::info!(
                    sealed = step.sealed,
                    left = waiting,
                    "sealed anew with the present key"
                );
            }
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
        if resealed.lost > 0 {
            tracing::warn!(
                values = resealed.lost,
                "values are sealed with keys that are not configured: give them in secrets.previous"
            );
        }
        Ok(resealed)
    }

    /// Values that are sealed with another key than the present one.
    fn older(&self, seals: &Seals) -> u64 {
        let all = seals.headers.iter().chain(&seals.signing_keys);
        let all = all.chain(&seals.pushes);
        all.filter(|(mark, _)| **mark != self.sealer.mark())
            .map(|(_, count)| count)
            .sum()
    }

    async fn signing_keys(&self, of: KeyUse) -> Result<Resealed, StoreError> {
        let mut resealed = Resealed::default();
        let mut values = Vec::new();
        for key in self.store.signing_keys(of, self.clock.now()).await? {
            match self.sealer.reseal(of.purpose(), &key.sealed) {
                Ok(None) => {}
                Ok(Some(new)) => values.push((key.id, key.sealed, new)),
                Err(_) => resealed.lost += 1,
            }
        }
        if !values.is_empty() {
            resealed.sealed = self.store.reseal_signing_keys(of, values).await?;
        }
        Ok(resealed)
    }

    async fn pushes(&self) -> Result<Resealed, StoreError> {
        let mut resealed = Resealed::default();
        let mut after = (String::new(), String::new());
        loop {
            let found = self.store.sealed_pushes((&after.0, &after.1), STEP).await?;
            let Some(last) = found.last() else {
                return Ok(resealed);
            };
            after = (last.task.clone(), last.id.clone());
            let mut values = Vec::new();
            for push in found {
                match self.sealer.reseal(PUSH_CREDENTIALS, &push.sealed) {
                    Ok(None) => {}
                    Ok(Some(new)) => values.push((push, new)),
                    Err(_) => resealed.lost += 1,
                }
            }
            if !values.is_empty() {
                resealed.sealed += self.store.reseal_pushes(values).await?;
            }
        }
    }

    /// One step: the agents after a number. Answers the last one's number too.
    async fn agents(&self, after: i64) -> Result<(Resealed, Option<i64>), StoreError> {
        let mut resealed = Resealed::default();
        let (mut values, mut unmarked) = (Vec::new(), Vec::new());
        let agents = self.store.sealed_agents(after, STEP).await?;
        let last = agents.last().map(|agent| agent.id);
        for agent in agents {
            if agent.secret.is_none() {
                unmarked.push(agent.id);
            }
            let Some(old) = agent.headers else {
                continue;
            };
            match self.sealer.reseal(WEBHOOK_HEADERS, &old) {
                Ok(None) => {}
                Ok(Some(new)) => values.push((agent.id, old, new)),
                Err(_) => resealed.lost += 1,
            }
        }
        if !values.is_empty() {
            resealed.sealed = self.store.reseal_headers(values).await?;
        }
        if !unmarked.is_empty() {
            let mark: KeyMark = self.sealer.mark();
            self.store.mark_secrets(unmarked, mark).await?;
        }
        Ok((resealed, last))
    }
}

#[cfg(test)]
mod tests;
