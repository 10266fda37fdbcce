//! How many connections a listener and each of its clients may hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::net::network_of;
use crate::telemetry::RefusedConnection;

/// The seats of one listener. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    connections: usize,
    per_client: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    clients: HashMap<IpAddr, usize>,
}

/// A connection's seat, free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    client: Option<IpAddr>,
}

impl Seats {
    /// Seats for so many connections, and for so many of one client: an IPv4 address or an IPv6 /64
    /// network.
    pub(super) fn new(connections: usize, per_client: usize) -> Self {
        Self {
            connections,
            per_client,
            taken: Arc::default(),
        }
    }

    /// A seat for a connection whose client is not known yet.
    pub(super) fn take(&self) -> Result<Seat, RefusedConnection> {
        let mut taken = self.taken();
        if taken.total >= self.connections {
            return Err(RefusedConnection::Total);
        }
        taken.total += 1;
        drop(taken);
        Ok(Seat {
            seats: self.clone(),
            client: None,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Counts the connection as one of `client`.
    pub(super) fn assign(&mut self, client: IpAddr) -> Result<(), RefusedConnection> {
        let client = network_of(client);
        let mut taken = self.seats.taken();
        let held = taken.clients.entry(client).or_default();
        if *held >= self.seats.per_client {
            return Err(RefusedConnection::Address);
        }
        *held += 1;
        drop(taken);
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.total -= 1;
        let Some(client) = self.client else { return };
        let left = taken.clients.get_mut(&client).map_or(0, |held| {
            *held -= 1;
            *held
        });
        if left == 0 {
            taken.clients.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_seat_is_free_again_when_its_connection_ends() {
        let seats = Seats::new(2, 2);
        let (first, second) = (seats.take().unwrap(), seats.take().unwrap());
        assert_eq!(seats.take().unwrap_err(), RefusedConnection::Total);
        drop(first);
        assert!(seats.take().is_ok());
        drop(second);
    }

    #[test]
    fn one_client_holds_so_many_and_no_more() {
        let seats = Seats::new(9, 1);
        let table = [
            ("192.0.2.1", true),
            ("192.0.2.1", false),
            ("::ffff:192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
            ("2001:db8::2", false),
            ("2001:db8:0:1::1", true),
        ];
        let mut held = Vec::new();
        for (client, admitted) in table {
            let mut seat = seats.take().unwrap();
            assert_eq!(seat.assign(ip(client)).is_ok(), admitted, "{client}");
            held.push(seat);
        }
        drop(held);
        assert!(
            seats.taken().clients.is_empty(),
            "nothing is kept of clients that left"
        );
        assert_eq!(seats.taken().total, 0);
    }
}
