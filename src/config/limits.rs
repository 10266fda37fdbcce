//! Section `limits`: how much of everything.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kind::{Bytes, Count, Pace, Paces, Period, Space};
use super::section::section;
use super::units::Rate;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;

section! {
    /// How much of everything one gateway takes.
    pub struct Limits = "limits" {
        /// The largest message, as sent. The `_amtp` record should say the same as `max-size`.
        message_size: usize as Bytes<KIB, GIB> = "10MiB",
        /// The most recipients of one message.
        recipients: usize as Count<1, 10_000> = "100",
        /// While the disk of the database has less space than this, messages are refused for the time being (503).
        min_free_disk: u64 as Space = "512MiB",
        /// How long a message should take at most to be written while more comes than the gateway can
        /// take. What would take longer is answered 503 at once, and asked to come again.
        commit_wait: Duration as Period<1, { 60 * SECOND }> = "10ms",
        /// The most connections at a time, on each listener.
        connections: usize as Count<1, 1_000_000> = "10000",
        /// The most connections at a time from one address, on each listener; the addresses of an IPv6 /64
        /// network count as one. Trusted proxies may have as many as they like.
        connections_per_address: usize as Count<1, 1_000_000> = "256",
        /// The most requests from one address (IPv6: one /64 network), counted before the caller is known.
        /// As many may come at once.
        address_rate: Rate as Pace = "1000/s",
        /// The most messages that one of our agents may hand in, over all its keys. As many may come at once.
        sender_rate: Rate as Pace = "1000/s",
        /// The most messages that one foreign domain may hand in, by the domain their senders name.
        domain_rate: Rate as Pace = "2000/s",
        /// Other rates than `sender_rate`, by name: a key that is made with `tier` has the one of that name.
        tiers: BTreeMap<String, Rate> as Paces,
        /// The largest head of a request: request line and headers.
        header_size: usize as Bytes<{ 8 * KIB }, MIB> = "32KiB",
        /// How long a TLS handshake may take, with the PROXY protocol header before it.
        handshake_timeout: Duration as Period<100, HOUR> = "10s",
        /// How long the head of a request may take.
        header_timeout: Duration as Period<100, HOUR> = "10s",
        /// How long a request's body may stand still.
        body_timeout: Duration as Period<100, HOUR> = "30s",
        /// How long a request's body may take as a whole.
        request_timeout: Duration as Period<100, HOUR> = "90s",
        /// How long a connection may rest between requests.
        idle_timeout: Duration as Period<100, { 24 * HOUR }> = "120s",
        /// How long requests and deliveries may go on after the signal to stop.
        shutdown_grace: Duration as Period<0, HOUR> = "30s",
        /// The most bounces sent for one sender domain in an hour; beyond that failures are recorded only.
        bounces: usize as Count<1, 1_000_000> = "1000",
        /// The most deliveries of the queue that are held in memory at a time; the others wait in the database.
        queue_window: usize as Count<100, 1_000_000> = "20000",
    }
}
