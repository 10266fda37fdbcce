//! One question for a name at a time, shared by all who ask it.
//!
//! Whoever asks first does the work; those who come while it is under way take its outcome. Where
//! the first gives up, the next one begins anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

/// What is under way, by name. Only while a request or a delivery asks, and these are bounded.
pub(super) struct Flights<T>(Mutex<HashMap<Arc<str>, Flight<T>>>);

struct Flight<T> {
    outcome: Arc<OnceCell<T>>,
    aboard: usize,
}

impl<T: Clone> Flights<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Does `work`, or takes the outcome of the same work that is under way.
    pub(super) async fn share(&self, name: &str, work: impl Future<Output = T>) -> T {
        let seat = self.board(name);
        seat.outcome.get_or_init(|| work).await.clone()
    }

    fn board(&self, name: &str) -> Seat<'_, T> {
        let name: Arc<str> = name.into();
        let mut flights = self.lock();
        let flight = flights.entry(name.clone()).or_insert_with(|| Flight {
            outcome: Arc::default(),
            aboard: 0,
        });
        flight.aboard += 1;
        Seat {
            outcome: flight.outcome.clone(),
            flights: self,
            name,
        }
    }
}

impl<T> Flights<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Flight<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Seat<'a, T> {
    flights: &'a Flights<T>,
    name: Arc<str>,
    outcome: Arc<OnceCell<T>>,
}

impl<T> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        let Some(flight) = flights.get_mut(&self.name) else {
            return;
        };
        if !Arc::ptr_eq(&flight.outcome, &self.outcome) {
            return;
        }
        flight.aboard -= 1;
        // Nobody boards a flight that has arrived: who asks now asks anew.
        if flight.aboard == 0 || self.outcome.initialized() {
            flights.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_takes_over_where_the_first_gives_up() {
        let flights = Flights::new();
        let mut first = Box::pin(flights.share("a", std::future::pending::<u8>()));
        let second = flights.share("a", async { 2 });
        let given_up = async move {
            tokio::select! {
                biased;
                _ = &mut first => unreachable!("it never ends"),
                () = tokio::task::yield_now() => drop(first),
            }
        };
        let ((), outcome) = tokio::join!(given_up, second);
        assert_eq!(outcome, 2);
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn what_is_over_is_done_anew() {
        let flights = Flights::new();
        assert_eq!(flights.share("a", async { 1 }).await, 1);
        assert_eq!(flights.share("a", async { 2 }).await, 2);
        assert!(flights.lock().is_empty());
    }
}
