//! How many requests one client address may make a second, before anything else is asked.
//!
//! Who makes more is told 429 and when to come again. One IPv6 client is a /64 network. Addresses
//! that have been quiet are forgotten, and so memory stays bounded by the number of clients that
//! are active.

use std::convert::Infallible;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use governor::clock::{Clock as Ticking, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tower::layer::layer_fn;

use super::error::ApiError;
use super::server::Connection;
use crate::auth::OverRate;
use crate::clock::{Clock, Ticks};
use crate::net::network_of;
use crate::protocol::ErrorCode;

/// How often quiet addresses are forgotten.
const EVERY: Duration = Duration::from_secs(10);

type Limiter = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, Ticks, NoOpMiddleware<Nanos>>;

/// The limit of requests by client address. Cloning is cheap.
#[derive(Clone)]
pub struct AddressRate {
    limiter: Arc<Limiter>,
    quota: (NonZeroU32, Duration),
    clock: Clock,
}

impl AddressRate {
    /// At most `count` requests in each `period`, as many at once.
    #[must_use]
    pub fn new(count: NonZeroU32, period: Duration, clock: Clock) -> Self {
        let each = (period / count.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(each)
            .expect("a nanosecond at least")
            .allow_burst(count);
        let limiter = Arc::new(Limiter::dashmap_with_clock(quota, Ticks::of(clock.clone())));
        Self {
            limiter,
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
                () = self.clock.wait(EVERY) => self.limiter.retain_recent(),
                () = stop.cancelled() => return,
            }
        }
    }

    fn check(&self, client: IpAddr) -> Result<(), Duration> {
        self.limiter
            .check_key(&network_of(client))
            .map(drop)
            .map_err(|until| {
                let now = Ticks::of(self.clock.clone()).now();
                Duration::from(until.earliest_possible().duration_since(now))
            })
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
        let checked = connection.map_or(Ok(()), |it| self.rate.check(it.client.ip()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use crate::protocol::Timestamp;

    #[test]
    fn who_makes_more_requests_must_wait_and_others_need_not() {
        let test = TestClock::at(Timestamp::from_millis(0));
        let rate = AddressRate::new(
            NonZeroU32::new(2).unwrap(),
            Duration::from_secs(1),
            Clock::over(test.clone()),
        );
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert_eq!([rate.check(one), rate.check(one)], [Ok(()), Ok(())]);
        assert_eq!(rate.check(one), Err(Duration::from_millis(500)));
        assert_eq!(rate.check(other), Ok(()));
        test.advance(Duration::from_millis(500));
        assert_eq!(rate.check(one), Ok(()));
    }

    #[test]
    fn a_64_network_is_one_client() {
        let clock = Clock::over(TestClock::at(Timestamp::from_millis(0)));
        let rate = AddressRate::new(NonZeroU32::new(1).unwrap(), Duration::from_secs(1), clock);
        assert_eq!(rate.check("2001:db8::1".parse().unwrap()), Ok(()));
        assert!(rate.check("2001:db8::2".parse().unwrap()).is_err());
        assert_eq!(rate.check("2001:db8:0:1::1".parse().unwrap()), Ok(()));
    }
}
