//! How many requests one client address may make a second, before anything else is asked.
//!
//! Who makes more is told 429 and when to come again.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tower::layer::layer_fn;

use super::error::ApiError;
use super::server::Connection;
use crate::auth::OverRate;
use crate::clock::Clock;
use crate::endpoint::pace::AddressPace;
use crate::protocol::ErrorCode;

/// How often quiet addresses are forgotten.
const EVERY: Duration = Duration::from_secs(10);

/// The limit of requests by client address. Cloning is cheap.
#[derive(Clone)]
pub struct AddressRate {
    pace: AddressPace,
    quota: (NonZeroU32, Duration),
    clock: Clock,
}

impl AddressRate {
    /// At most `count` requests in each `period`, as many at once.
    #[must_use]
    pub fn new(count: NonZeroU32, period: Duration, clock: Clock) -> Self {
        Self {
            pace: AddressPace::new(count, period, clock.clone()),
            quota: (count, period),
            clock,
        }
    }

    /// Puts the limit in front of every route of `router`.
    pub fn before(self, router: Router) -> Router {
        router.layer(layer_fn(move |inner| Limited {
            rate: self.clone(),
            inner,
        }))
    }

    /// Forgets quiet addresses until stopped.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.clock.wait(EVERY) => self.pace.tidy(),
                () = stop.cancelled() => return,
            }
        }
    }
}

/// A route with the limit in front of it.
#[derive(Clone)]
struct Limited<S> {
    rate: AddressRate,
    inner: S,
}

impl<S> Service<Request> for Limited<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let connection = request.extensions().get::<Connection>();
        let checked = connection.map_or(Ok(()), |it| self.rate.pace.check(it.client.ip()));
        match checked {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(retry_after) => {
                let (count, window) = self.rate.quota;
                let rate = OverRate {
                    name: "address",
                    quota: count.get(),
                    window,
                    retry_after,
                };
                let error = ApiError::new(ErrorCode::RateLimitExceeded).over_rate(rate);
                Box::pin(std::future::ready(Ok(error.into_response())))
            }
        }
    }
}
