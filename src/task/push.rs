//! Where changes of a task are posted: as the store keeps it, with what is shown there sealed.

use super::bounds::LONGEST_SECRET;
use super::json::{Json, Object, Place};
use super::model::{PushAuthentication, PushConfig};
use super::{Dialect, Fault};
use crate::protocol::Timestamp;
use crate::store::{NewPush, PUSH_CREDENTIALS, Sealer, StoreError, StoredPush};

/// What is shown to a receiver.
#[derive(serde::Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication: Option<&'a PushAuthentication>,
}

/// A place to store. Its name is that of the task where the client gives none.
#[must_use]
pub fn stored(
    config: &PushConfig,
    task: &str,
    (dialect, now): (Dialect, Timestamp),
    sealer: &Sealer,
) -> NewPush {
    let shown = Shown {
        token: config.token.as_deref(),
        authentication: config.authentication.as_ref(),
    };
    let any = shown.token.is_some() || shown.authentication.is_some();
    let seal = || sealer.seal(PUSH_CREDENTIALS, Json::of(&shown).get().as_bytes());
    NewPush {
        id: config.id.clone().unwrap_or_else(|| task.to_owned()),
        dialect: dialect.code(),
        url: config.url.clone(),
        sealed: any.then(seal),
        now,
    }
}

/// A stored place as its client gave it.
///
/// # Errors
/// [`StoreError::Corrupt`]: what is shown there cannot be opened with the configured keys.
pub fn opened(push: &StoredPush, sealer: &Sealer) -> Result<PushConfig, StoreError> {
    let mut config = PushConfig {
        tenant: None,
        id: Some(push.id.clone()),
        task_id: Some(push.task.clone()),
        url: push.url.clone(),
        token: None,
        authentication: None,
    };
    if let Some(sealed) = &push.sealed {
        let corrupt = |why: String| StoreError::Corrupt(format!("of a push configuration: {why}"));
        let open = sealer.open(PUSH_CREDENTIALS, sealed);
        let open = open.map_err(|fault| corrupt(fault.to_string()))?;
        let text = std::str::from_utf8(&open).map_err(|fault| corrupt(fault.to_string()))?;
        let object = Place::top(text, "").object();
        let shown = object.and_then(|it| shown(&it));
        let shown = shown.map_err(|fault| corrupt(fault.to_string()))?;
        (config.token, config.authentication) = shown;
    }
    Ok(config)
}

fn shown(object: &Object<'_>) -> Result<(Option<String>, Option<PushAuthentication>), Fault> {
    let authentication = match object.get("authentication") {
        None => None,
        Some(place) => {
            let object = place.object()?;
            Some(PushAuthentication {
                scheme: object.required_name("scheme")?,
                credentials: object.bounded("credentials", LONGEST_SECRET)?,
            })
        }
    };
    Ok((object.bounded("token", LONGEST_SECRET)?, authentication))
}
