//! Reads the values of A2A 1.0 as clients and agents send them.
//!
//! Unknown members are ignored; each fault names its field.

use super::bounds::{
    LONGEST_CONTEXT, LONGEST_ID, LONGEST_SECRET, LONGEST_URL, MOST_CHANGES, MOST_NAMES, MOST_PARTS,
};
use super::json::{Fault, Object, Place};
use super::model::{
    Artifact, ArtifactUpdate, Content, Message, Part, PushAuthentication, PushConfig, Role,
    SendConfiguration, SendRequest, StatusUpdate, StreamResponse, Task, TaskStatus,
};
use super::state::TaskState;

/// An id of a message or an artifact.
///
/// # Errors
/// It is absent, empty or too long.
pub fn id(object: &Object<'_>, name: &str) -> Result<String, Fault> {
    let id = object.required_name(name)?;
    bounded(object, name, id, LONGEST_ID)
}

/// The id of a context; a client may choose it.
///
/// # Errors
/// It is no text, or too long.
pub fn context(object: &Object<'_>, name: &str) -> Result<Option<String>, Fault> {
    let id = object.name(name)?;
    id.map(|id| bounded(object, name, id, LONGEST_CONTEXT))
        .transpose()
}

fn bounded(object: &Object<'_>, name: &str, text: String, most: usize) -> Result<String, Fault> {
    if text.len() > most {
        return Err(object.fault(name, format_args!("must have at most {most} bytes")));
    }
    Ok(text)
}

/// Whose role it is.
///
/// # Errors
/// It is absent or unknown.
pub fn role(object: &Object<'_>) -> Result<Role, Fault> {
    let place = object.required("role")?;
    let name = place.text();
    match name.as_deref() {
        Ok("ROLE_USER") => return Ok(Role::User),
        Ok("ROLE_AGENT") => return Ok(Role::Agent),
        _ => {}
    }
    match place.int() {
        Ok(1) => Ok(Role::User),
        Ok(2) => Ok(Role::Agent),
        _ => Err(place.fault("must be ROLE_USER or ROLE_AGENT")),
    }
}

/// A message.
///
/// # Errors
/// What is required is absent, or something is not what it must be.
pub fn message(place: &Place<'_>) -> Result<Message, Fault> {
    let object = place.object()?;
    Ok(Message {
        message_id: id(&object, "messageId")?,
        context_id: context(&object, "contextId")?,
        task_id: object.name("taskId")?,
        role: role(&object)?,
        parts: parts(&object, part)?,
        metadata: metadata(&object)?,
        extensions: object.names("extensions", MOST_NAMES)?,
        reference_task_ids: object.names("referenceTaskIds", MOST_NAMES)?,
    })
}

/// What is said of a thing beside its content.
///
/// # Errors
/// It is no object.
pub fn metadata(object: &Object<'_>) -> Result<Option<super::Json>, Fault> {
    let found = object.get("metadata");
    found.map(|it| it.json_object()).transpose()
}

/// The parts of a message or an artifact, as `one` reads each.
///
/// # Errors
/// There is none, or too many, or one is not what it must be.
pub fn parts(
    object: &Object<'_>,
    one: impl Fn(&Place<'_>) -> Result<Part, Fault>,
) -> Result<Vec<Part>, Fault> {
    let places = object.required("parts")?.list(MOST_PARTS)?;
    if places.is_empty() {
        return Err(object.fault("parts", "must have at least one element"));
    }
    places.iter().map(one).collect()
}

/// A part: exactly one of `text`, `raw`, `url` and `data`.
///
/// # Errors
/// It has none of them or more than one, or something is not what it must be.
pub fn part(place: &Place<'_>) -> Result<Part, Fault> {
    let object = place.object()?;
    let mut found = Vec::new();
    if let Some(text) = object.get("text") {
        found.push(Content::Text(text.text()?.into_owned()));
    }
    if let Some(raw) = object.get("raw") {
        found.push(Content::Raw(raw.base64()?));
    }
    if let Some(url) = object.get("url") {
        found.push(Content::Url(url_of(&url)?));
    }
    // Here a null is a value.
    if let Some(data) = object.present("data") {
        found.push(Content::Data(data.json()?));
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(content), None) => Ok(Part {
            content,
            metadata: metadata(&object)?,
            filename: object.name("filename")?,
            media_type: object.name("mediaType")?,
        }),
        _ => Err(place.fault("must have exactly one of text, raw, url and data")),
    }
}

/// A URL, of which nothing but its length is checked.
///
/// # Errors
/// It is no text, or too long.
pub fn url_of(place: &Place<'_>) -> Result<String, Fault> {
    let url = place.text()?;
    if url.is_empty() || url.len() > LONGEST_URL {
        let rule = format_args!("must be a URL of at most {LONGEST_URL} bytes");
        return Err(place.fault(rule));
    }
    Ok(url.into_owned())
}

/// An artifact.
///
/// # Errors
/// What is required is absent, or something is not what it must be.
pub fn artifact(place: &Place<'_>) -> Result<Artifact, Fault> {
    let object = place.object()?;
    Ok(Artifact {
        artifact_id: id(&object, "artifactId")?,
        name: object.name("name")?,
        description: object.bounded("description", usize::MAX)?,
        parts: parts(&object, part)?,
        metadata: metadata(&object)?,
        extensions: object.names("extensions", MOST_NAMES)?,
    })
}

/// A status.
///
/// # Errors
/// What is required is absent, or something is not what it must be.
pub fn status(place: &Place<'_>) -> Result<TaskStatus, Fault> {
    let object = place.object()?;
    let state = TaskState::read(&object.required("state")?)?;
    Ok(TaskStatus {
        state: state.ok_or_else(|| object.fault("state", "is required"))?,
        message: object.get("message").as_ref().map(message).transpose()?,
        timestamp: object.get("timestamp").map(|it| it.moment()).transpose()?,
    })
}

/// A task.
///
/// # Errors
/// What is required is absent, or something is not what it must be.
pub fn task(place: &Place<'_>) -> Result<Task, Fault> {
    let object = place.object()?;
    let artifacts = object.list("artifacts", MOST_CHANGES)?;
    let history = object.list("history", MOST_CHANGES)?;
    Ok(Task {
        id: object.name("id")?.unwrap_or_default(),
        context_id: object.name("contextId")?.unwrap_or_default(),
        status: status(&object.required("status")?)?,
        artifacts: artifacts.iter().map(artifact).collect::<Result<_, _>>()?,
        history: history.iter().map(message).collect::<Result<_, _>>()?,
        metadata: metadata(&object)?,
    })
}

/// A stream response: exactly one of its members. Ids of the task may be absent.
///
/// # Errors
/// It has none of them or more than one, or something is not what it must be.
pub fn stream_response(place: &Place<'_>) -> Result<StreamResponse, Fault> {
    let object = place.object()?;
    let mut found = Vec::new();
    if let Some(it) = object.get("task") {
        found.push(StreamResponse::Task(task(&it)?));
    }
    if let Some(it) = object.get("message") {
        found.push(StreamResponse::Message(message(&it)?));
    }
    if let Some(it) = object.get("statusUpdate") {
        found.push(StreamResponse::StatusUpdate(status_update(&it)?));
    }
    if let Some(it) = object.get("artifactUpdate") {
        found.push(StreamResponse::ArtifactUpdate(artifact_update(&it)?));
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        _ => {
            let rule = "must have exactly one of task, message, statusUpdate and artifactUpdate";
            Err(place.fault(rule))
        }
    }
}

fn status_update(place: &Place<'_>) -> Result<StatusUpdate, Fault> {
    let object = place.object()?;
    Ok(StatusUpdate {
        task_id: object.name("taskId")?.unwrap_or_default(),
        context_id: object.name("contextId")?.unwrap_or_default(),
        status: status(&object.required("status")?)?,
        metadata: metadata(&object)?,
    })
}

fn artifact_update(place: &Place<'_>) -> Result<ArtifactUpdate, Fault> {
    let object = place.object()?;
    Ok(ArtifactUpdate {
        task_id: object.name("taskId")?.unwrap_or_default(),
        context_id: object.name("contextId")?.unwrap_or_default(),
        artifact: artifact(&object.required("artifact")?)?,
        append: flag(&object, "append")?,
        last_chunk: flag(&object, "lastChunk")?,
        metadata: metadata(&object)?,
    })
}

/// Yes or no; absent is no.
///
/// # Errors
/// It is neither.
pub fn flag(object: &Object<'_>, name: &str) -> Result<bool, Fault> {
    object.get(name).map_or(Ok(false), |it| it.flag())
}

/// A number that counts; nothing where it is absent.
///
/// # Errors
/// It is no whole number, or negative.
pub fn count(object: &Object<'_>, name: &str) -> Result<Option<u32>, Fault> {
    let Some(place) = object.get(name) else {
        return Ok(None);
    };
    let number = u32::try_from(place.int()?);
    Ok(Some(
        number.map_err(|_| place.fault("must not be negative"))?,
    ))
}

/// Where changes are to be posted.
///
/// # Errors
/// What is required is absent, or something is not what it must be.
pub fn push_config(place: &Place<'_>) -> Result<PushConfig, Fault> {
    push_config_of(&place.object()?)
}

/// The same of an object.
///
/// # Errors
/// What is required is absent, or something is not what it must be.
pub fn push_config_of(object: &Object<'_>) -> Result<PushConfig, Fault> {
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
    let config = PushConfig {
        tenant: object.name("tenant")?,
        id: object.name("id")?,
        task_id: object.name("taskId")?,
        url: receiver(&object.required("url")?)?,
        token: object.bounded("token", LONGEST_SECRET)?,
        authentication,
    };
    fits_headers(object, &config)?;
    Ok(config)
}

/// The URL of a receiver of push notifications. Which address that is, is looked at when it is called.
///
/// # Errors
/// It is no URL of HTTP.
pub fn receiver(place: &Place<'_>) -> Result<String, Fault> {
    let url = url_of(place)?;
    let rest = match url.split_once("://") {
        Some((scheme, rest))
            if ["http", "https"]
                .iter()
                .any(|it| it.eq_ignore_ascii_case(scheme)) =>
        {
            rest
        }
        _ => "",
    };
    let clean = url
        .chars()
        .all(|sign| !sign.is_control() && !sign.is_whitespace());
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') || host.contains('@') || !clean {
        return Err(place.fault("must be an http or https URL without user information"));
    }
    Ok(url)
}

/// What is shown in headers must not end them.
///
/// # Errors
/// It holds a sign that no header may hold.
pub fn fits_headers(object: &Object<'_>, config: &PushConfig) -> Result<(), Fault> {
    let clean = |text: &Option<String>| {
        text.iter()
            .all(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
    };
    let shown = config.authentication.as_ref();
    let scheme = shown.is_none_or(|it| {
        let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
        it.scheme.bytes().all(sign)
    });
    if !scheme {
        return Err(object.fault("authentication.scheme", "must be the name of a scheme"));
    }
    let rule = "must have printable signs of ASCII only";
    if !clean(&config.token) {
        return Err(object.fault("token", rule));
    }
    if shown.is_some_and(|it| !clean(&it.credentials)) {
        return Err(object.fault("authentication.credentials", rule));
    }
    Ok(())
}

/// The parameters of a send.
///
/// # Errors
/// What is required is absent, or something is not what it must be.
pub fn send_request(object: &Object<'_>) -> Result<SendRequest, Fault> {
    let place = object.required("message")?;
    let message = message(&place)?;
    if message.role != Role::User {
        return Err(place.object()?.fault("role", "must be ROLE_USER"));
    }
    Ok(SendRequest {
        tenant: object.name("tenant")?,
        message,
        configuration: match object.get("configuration") {
            Some(place) => configuration(&place.object()?)?,
            None => SendConfiguration::default(),
        },
        metadata: metadata(object)?,
    })
}

fn configuration(object: &Object<'_>) -> Result<SendConfiguration, Fault> {
    let push = object.get("taskPushNotificationConfig");
    Ok(SendConfiguration {
        accepted_output_modes: object.names("acceptedOutputModes", MOST_NAMES)?,
        push: push.as_ref().map(push_config).transpose()?,
        history_length: count(object, "historyLength")?,
        return_immediately: flag(object, "returnImmediately")?,
    })
}
