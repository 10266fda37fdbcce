//! What the methods of 0.3 and 0.1 have in common.

use serde::Serialize;

use super::method::Method;
use super::{Operation, PushRequest, TaskRequest, history_length};
use crate::task::bounds::LONGEST_SECRET;
use crate::task::read::{fits_headers, flag, receiver};
use crate::task::{Fault, Object, Place, PushAuthentication, PushConfig, TaskState};

/// Whether a status is the last one of a stream.
pub(super) const fn is_final(state: TaskState) -> bool {
    state.is_terminal() || matches!(state, TaskState::InputRequired)
}

/// Authentication names several schemes here; one of them is used.
#[derive(Serialize)]
pub(super) struct OldPush<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication: Option<Schemes<'a>>,
}

#[derive(Serialize)]
struct Schemes<'a> {
    schemes: [&'a str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<&'a str>,
}

impl<'a> OldPush<'a> {
    pub(super) fn of(config: &'a PushConfig) -> Self {
        let shown = config.authentication.as_ref();
        Self {
            id: config.id.as_deref(),
            url: &config.url,
            token: config.token.as_deref(),
            authentication: shown.map(|it| Schemes {
                schemes: [&it.scheme],
                credentials: it.credentials.as_deref(),
            }),
        }
    }

    /// The same without its name, which 0.1 does not know.
    pub(super) const fn unnamed(self) -> Self {
        Self { id: None, ..self }
    }
}

/// Reads where changes are to be posted.
pub(super) fn push(place: &Place<'_>, task: Option<String>) -> Result<PushConfig, Fault> {
    let object = place.object()?;
    let authentication = match object.get("authentication") {
        None => None,
        Some(place) => shown(&place.object()?)?,
    };
    let config = PushConfig {
        tenant: None,
        id: object.name("id")?,
        task_id: task,
        url: receiver(&object.required("url")?)?,
        token: object.bounded("token", LONGEST_SECRET)?,
        authentication,
    };
    fits_headers(&object, &config)?;
    Ok(config)
}

/// `Bearer` where it is among the schemes, else the first of them.
fn shown(object: &Object<'_>) -> Result<Option<PushAuthentication>, Fault> {
    let schemes = object.names("schemes", 10)?;
    let bearer = schemes.iter().find(|it| it.eq_ignore_ascii_case("bearer"));
    let scheme = bearer.or(schemes.first()).cloned();
    let credentials = object.bounded("credentials", LONGEST_SECRET)?;
    Ok(scheme.map(|scheme| PushAuthentication {
        scheme,
        credentials,
    }))
}

/// The methods whose parameters are the same in both.
pub(super) fn read(method: Method, parameters: &Object<'_>) -> Result<Operation, Fault> {
    let task = || {
        Ok::<_, Fault>(TaskRequest {
            tenant: None,
            id: parameters.required_name("id")?,
            history_length: history_length(parameters)?,
        })
    };
    let one = || {
        Ok::<_, Fault>(PushRequest {
            tenant: None,
            task: parameters.required_name("id")?,
            id: parameters.name("pushNotificationConfigId")?,
        })
    };
    Ok(match method {
        Method::Get => Operation::Get(task()?),
        Method::Cancel => Operation::Cancel(task()?),
        Method::Subscribe => Operation::Subscribe(task()?),
        Method::DeletePush => {
            parameters.required_name("pushNotificationConfigId")?;
            Operation::DeletePush(one()?)
        }
        Method::Card => Operation::Card(None),
        _ => Operation::FindPush(one()?),
    })
}

/// Whether the client does not want to wait.
pub(super) fn is_not_blocking(configuration: &Object<'_>) -> Result<bool, Fault> {
    match configuration.get("blocking") {
        None => Ok(false),
        Some(_) => Ok(!flag(configuration, "blocking")?),
    }
}
