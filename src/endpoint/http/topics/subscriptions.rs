//! `/v1/topics/{name}/subscriptions`, and the same for staff.

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{address, find};
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::{Gate, Json, Known, Params, invalid_field};
use crate::endpoint::http::{Api, cursor};
use crate::envelope::Principal;
use crate::protocol::{Address, ErrorCode, Timestamp};
use crate::store::{Subscription, SubscriptionState};
use crate::topics::{Filter, From, Subscribing};

/// Who subscribes to what part; all of it may be left out by an agent that subscribes itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SubscriptionForm {
    subscriber: Option<String>,
    #[serde(deserialize_with = "of_members")]
    filter: Filter,
    from: Option<From>,
}

/// A filter by its members: a list is not taken for them.
fn of_members<'de, D: Deserializer<'de>>(from: D) -> Result<Filter, D::Error> {
    let members = Map::<String, Value>::deserialize(from)?;
    Filter::deserialize(Value::Object(members)).map_err(D::Error::custom)
}

#[derive(Serialize)]
pub(crate) struct OneSubscription {
    subscription: MadeView,
}

#[derive(Serialize)]
struct MadeView {
    id: String,
    topic: String,
    subscriber: String,
    state: &'static str,
}

#[derive(Serialize)]
pub(crate) struct SubscriptionList {
    subscriptions: Vec<SubscriptionView>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct SubscriptionView {
    id: String,
    subscriber: String,
    state: &'static str,
    filter: Filter,
    /// Ends with the connection that made it.
    with_session: bool,
    /// It has everything up to this publication, where it catches up.
    #[serde(skip_serializing_if = "Option::is_none")]
    caught_up_to: Option<i64>,
    failures: i64,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

impl SubscriptionView {
    fn of(subscription: Subscription) -> Self {
        let behind = subscription.state == SubscriptionState::Behind;
        Self {
            id: subscription.public_id,
            subscriber: subscription.address.to_string(),
            state: subscription.state.as_str(),
            filter: Filter::read(&subscription.filter).unwrap_or_default(),
            with_session: subscription.session.is_some(),
            caught_up_to: behind.then_some(subscription.after),
            failures: subscription.failures,
            created_at: subscription.created_at,
            expires_at: subscription.expires_at,
        }
    }
}

/// `POST /v1/topics/{name}/subscriptions`
pub(crate) async fn subscribe(
    State(api): Gate,
    Known(principal): Known,
    Path(name): Path<String>,
    Json(form): Json<SubscriptionForm>,
) -> Result<(StatusCode, Answer<OneSubscription>), ApiError> {
    let own = match &principal {
        Principal::Agent { address, .. } => Some(address.clone()),
        _ => None,
    };
    make(&api, &principal, (&name, own), form).await
}

/// `POST /v1/admin/topics/{name}/subscriptions`
pub(crate) async fn subscribe_any(
    State(api): Gate,
    Known(principal): Known,
    Path(name): Path<String>,
    Json(form): Json<SubscriptionForm>,
) -> Result<(StatusCode, Answer<OneSubscription>), ApiError> {
    make(&api, &principal, (&name, None), form).await
}

async fn make(
    api: &Api,
    principal: &Principal,
    (name, own): (&str, Option<Address>),
    form: SubscriptionForm,
) -> Result<(StatusCode, Answer<OneSubscription>), ApiError> {
    let topic = address(api, name)?;
    let given = form.subscriber.as_deref().map(Address::parse);
    let given = given
        .transpose()
        .map_err(|fault| invalid_field("subscriber", &fault.to_string()))?;
    let subscriber = given
        .or(own)
        .ok_or_else(|| invalid_field("subscriber", "is required: an address"))?;
    let request = Subscribing {
        topic: topic.clone(),
        subscriber: subscriber.clone(),
        session: None,
        filter: form.filter,
        from: form.from,
    };
    let made = Box::pin(api.topics.subscribe(principal, request)).await?;
    let status = match made.state {
        SubscriptionState::Pending => StatusCode::ACCEPTED,
        _ => StatusCode::CREATED,
    };
    let subscription = MadeView {
        id: made.id,
        topic: topic.to_string(),
        subscriber: subscriber.to_string(),
        state: made.state.as_str(),
    };
    Ok((status, Answer(OneSubscription { subscription })))
}

/// `GET /v1/topics/{name}/subscriptions`
pub(crate) async fn list(
    State(api): Gate,
    Known(principal): Known,
    Path(name): Path<String>,
    params: Params,
) -> Result<Answer<SubscriptionList>, ApiError> {
    let page = page(&params)?;
    let topic = find(&api, &name).await?;
    match &principal {
        Principal::Agent { id, .. } if *id == topic.id => all(&api, topic.id, page).await,
        Principal::Agent { address, .. } => {
            let found = api.store.subscriptions_of(topic.id, address).await?;
            Ok(Answer(SubscriptionList {
                subscriptions: found.into_iter().map(SubscriptionView::of).collect(),
                next_cursor: None,
            }))
        }
        _ => Err(ApiError::new(ErrorCode::AccessDenied)),
    }
}

/// `GET /v1/admin/topics/{name}/subscriptions`
pub(crate) async fn list_any(
    State(api): Gate,
    Path(name): Path<String>,
    params: Params,
) -> Result<Answer<SubscriptionList>, ApiError> {
    let page = page(&params)?;
    let topic = find(&api, &name).await?;
    all(&api, topic.id, page).await
}

/// How many, and behind which number.
fn page(params: &Params) -> Result<(usize, i64), ApiError> {
    let limit = params.number("limit", 1..=1000, 100)?;
    Ok((limit, params.cursor()?.unwrap_or(0)))
}

async fn all(
    api: &Api,
    topic: i64,
    (limit, after): (usize, i64),
) -> Result<Answer<SubscriptionList>, ApiError> {
    let mut found = api.store.subscriptions_to(topic, after, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|it| it.number);
    Ok(Answer(SubscriptionList {
        subscriptions: found.into_iter().map(SubscriptionView::of).collect(),
        next_cursor: next.map(cursor::write),
    }))
}

/// `DELETE /v1/topics/{name}/subscriptions/{id}`
pub(crate) async fn end(
    State(api): Gate,
    Known(principal): Known,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    remove(&api, &principal, (&name, &id)).await
}

/// `DELETE /v1/admin/topics/{name}/subscriptions/{id}`
pub(crate) async fn end_any(
    State(api): Gate,
    Known(principal): Known,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    remove(&api, &principal, (&name, &id)).await
}

async fn remove(
    api: &Api,
    principal: &Principal,
    (name, id): (&str, &str),
) -> Result<StatusCode, ApiError> {
    let missing = || ApiError::new(ErrorCode::NotFound);
    let id = Uuid::parse_str(id).map_err(|_| missing())?;
    let topic = address(api, name)?;
    match api.topics.unsubscribe(principal, &topic, Some(id)).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(missing()),
    }
}
