//! Section `smtp`: how mail is taken at `listen.smtp`.

use std::time::Duration;

use super::kind::{Bytes, Count, DomainName, List, Optional, Pace, Period, Switch};
use super::section::section;
use super::units::Rate;
use crate::protocol::Domain;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

section! {
    /// How mail is taken at `listen.smtp`. Mail is taken for our own domains only.
    pub struct Smtp = "smtp" {
        /// How the server names itself. Without it the host of `gateway_url`, which its certificate is for.
        host: Option<Domain> as Optional<DomainName>,
        /// The largest mail.
        message_size: usize as Bytes<{ 64 * KIB }, { 512 * MIB }> = "25MiB",
        /// The most recipients of one mail.
        recipients: usize as Count<1, 1_000> = "100",
        /// The most connections at a time.
        connections: usize as Count<1, 100_000> = "256",
        /// The most connections at a time from one address; the addresses of an IPv6 /64 network count as one.
        connections_per_address: usize as Count<1, 100_000> = "16",
        /// How often one address may connect (IPv6: one /64 network), and so often at once. Who stands in
        /// `listen.trusted_proxies` is not counted, here and in `message_rate`.
        connection_rate: Rate as Pace = "120/m",
        /// How many mails one address may bring, and so many at once; recipients that nobody knows count too. Who
        /// brings more is asked to come again (`450 4.7.1`).
        message_rate: Rate as Pace = "600/m",
        /// How much memory the mails take that are coming in, all together, at least two of the largest. While
        /// there is no room large mail is asked to come again.
        memory: usize as Bytes<MIB, { 65_536 * MIB }> = "256MiB",
        /// How long the greeting is held back. Who speaks before it, as programs do that only send, is sent away.
        greeting_delay: Option<Duration> as Optional<Period<1, { 60 * SECOND }>>,
        /// How long a client may be silent.
        command_timeout: Duration as Period<100, HOUR> = "5m",
        /// How long one mail may take to come in.
        message_timeout: Duration as Period<100, { 12 * HOUR }> = "15m",
        /// After so many refused commands a connection ends.
        errors: usize as Count<1, 10_000> = "20",
        /// Whether mail is refused that its sender's domain asks to refuse (DMARC with `p=reject`). Otherwise it is
        /// taken as mail whose sender is not verified, and policies decide.
        honour_dmarc: bool as Switch = "true",
        /// Whose word counts for mail that they changed on its way (ARC), such as mailing lists: what they say they
        /// verified is believed.
        trusted_forwarders: Vec<Domain> as List<DomainName> = "[]",
        /// How long a link to a file of a mail works that its recipient made.
        link_life: Duration as Period<SECOND, { 30 * DAY }> = "7d",
    }
}
