//! A2A 1.0: the dialect of the core.

use std::collections::BTreeMap;

use serde::Serialize;

use super::method::Method;
use super::{Answer, Operation, PushPage, PushRequest, Sending, TaskRequest, history_length};
use crate::task::page::{self, ListRequest};
use crate::task::{Fault, Json, Object, PushConfig, StreamResponse, read};

/// Reads the parameters of a method.
pub(in crate::endpoint::a2a) fn read(
    method: Method,
    parameters: &Object<'_>,
) -> Result<Operation, Fault> {
    let send = || {
        Ok::<_, Fault>(Sending {
            request: read::send_request(parameters)?,
            alias: None,
        })
    };
    Ok(match method {
        Method::Send => Operation::Send(send()?),
        Method::Stream => Operation::Stream(send()?),
        Method::Get => Operation::Get(task(parameters)?),
        Method::List => Operation::List(ListRequest::read(parameters)?),
        Method::Cancel => Operation::Cancel(task(parameters)?),
        Method::Subscribe => Operation::Subscribe(task(parameters)?),
        Method::PutPush => Operation::PutPush(push(parameters)?),
        Method::FindPush => Operation::FindPush(one_push(parameters)?),
        Method::ListPushes => Operation::ListPushes(PushPage {
            tenant: parameters.name("tenant")?,
            task: parameters.required_name("taskId")?,
            page_size: page::page_size(parameters)?,
            page_token: parameters.name("pageToken")?.unwrap_or_default(),
        }),
        Method::DeletePush => Operation::DeletePush(one_push(parameters)?),
        Method::Card => Operation::Card(parameters.name("tenant")?),
    })
}

fn task(parameters: &Object<'_>) -> Result<TaskRequest, Fault> {
    Ok(TaskRequest {
        tenant: parameters.name("tenant")?,
        id: parameters.required_name("id")?,
        history_length: history_length(parameters)?,
    })
}

fn push(parameters: &Object<'_>) -> Result<PushConfig, Fault> {
    parameters.required_name("taskId")?;
    read::push_config_of(parameters)
}

fn one_push(parameters: &Object<'_>) -> Result<PushRequest, Fault> {
    Ok(PushRequest {
        tenant: parameters.name("tenant")?,
        task: parameters.required_name("taskId")?,
        id: Some(parameters.required_name("id")?),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pushes<'a> {
    configs: &'a [PushConfig],
    next_page_token: &'a str,
}

/// The result of an operation; of HTTP+JSON it is the body.
pub(in crate::endpoint::a2a) fn answer(answer: &Answer) -> Json {
    match answer {
        Answer::Sent(task) => Json::of(&BTreeMap::from([("task", task)])),
        Answer::Said(message) => Json::of(&BTreeMap::from([("message", message)])),
        Answer::Task(task) => Json::of(task),
        Answer::Tasks(list) => Json::of(list),
        Answer::Push(config) => Json::of(config),
        Answer::Pushes(configs, next_page_token) => Json::of(&Pushes {
            configs,
            next_page_token,
        }),
        Answer::Deleted => Json::of(&()),
        Answer::Card(card) => card.clone(),
    }
}

/// An event of a stream, and the body of a push notification.
pub(in crate::endpoint::a2a) fn event(event: &StreamResponse) -> Json {
    Json::of(event)
}
