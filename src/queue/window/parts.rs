//! What goes into the window and what comes out of it.

use std::collections::HashMap;
use std::time::Duration;

use crate::protocol::Timestamp;
use crate::queue::lane::LaneKey;

/// Dispatches under way, to all destinations together.
pub(super) const FLIGHTS: usize = 1_024;
/// The last one may go over it.
pub(super) const FLYING_BYTES: usize = 256 * 1024 * 1024;

/// How much may be in memory and under way.
#[derive(Debug, Clone, Copy)]
pub(in crate::queue) struct Limits {
    /// Rows in memory.
    pub(in crate::queue) rows: usize,
    /// Requests under way to one destination.
    pub(in crate::queue) concurrency: usize,
    /// The same where the destination is another gateway: all that is for its domain goes there.
    pub(in crate::queue) to_gateways: usize,
    /// The same where it is the mail of a domain.
    pub(in crate::queue) to_mail: usize,
}

impl Limits {
    /// Those toward this destination.
    pub(super) fn toward(self, destination: &str) -> Self {
        // A group has many members, a gateway many recipients.
        let concurrency = match destination.split(':').next() {
            Some("domain" | "group") => self.to_gateways,
            Some("mail") => self.to_mail,
            _ => self.concurrency,
        };
        Self {
            concurrency,
            ..self
        }
    }

    pub(super) fn of_destination(&self) -> usize {
        (self.rows / 4).max(1)
    }
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::queue) enum Next {
    /// Send this.
    Dispatch(Dispatch),
    /// Read a lane, from one number to the other, at most so many rows.
    Lane(String, LaneKey, Range),
    /// Read a destination likewise.
    Destination(String, Range),
    /// Nothing, until this moment or until something happens.
    Wait(Option<Timestamp>),
}

/// Numbers from, to (both included), and the most rows to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) struct Range {
    pub(in crate::queue) from: i64,
    pub(in crate::queue) to: i64,
    pub(in crate::queue) limit: usize,
}

/// Deliveries that go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::queue) struct Dispatch {
    /// Its number in this window.
    pub(in crate::queue) id: u64,
    /// Where it goes.
    pub(in crate::queue) destination: String,
    /// The deliveries of one message in one list each, in order.
    pub(in crate::queue) groups: Vec<Vec<i64>>,
    /// Deliveries of its lanes that went before and are not settled yet. Only where the database
    /// is shared.
    pub(in crate::queue) before: Vec<i64>,
}

/// What came of one delivery of a dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) enum After {
    /// It does not wait in its lane any more.
    Done,
    /// It is tried again, and its lane waits with it.
    Blocked {
        until: Timestamp,
        destination_fault: bool,
    },
    /// It was not tried: an earlier one of its lane went before it. The lane is read again from it.
    Waits,
    /// It was not tried: a delivery of its lane with this lower number became visible late. The
    /// lane is read again from there.
    Overtaken(i64),
}

/// What an attempt told of the destination as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) enum Report {
    /// It answers.
    Well,
    /// It is in trouble, and perhaps asked for a pause.
    Trouble(Option<Duration>),
    /// It is a mailbox without room: it is tried after this time, or when something left one.
    Full(Duration),
    /// Nothing was asked of it.
    Unknown,
}

/// A dispatch under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) destination: String,
    pub(super) bytes: usize,
    pub(super) lanes: HashMap<i64, LaneKey>,
    /// The reading of the window it belongs to.
    pub(super) reading: u64,
    /// Its lanes are free again, but for the blocked ones.
    pub(super) answered: bool,
    /// Lanes that are blocked once this is settled.
    pub(super) blocked: HashMap<LaneKey, (i64, Timestamp, bool)>,
}

/// What is to be looked at when its time comes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Destination(String),
    Lane(String, LaneKey),
}
