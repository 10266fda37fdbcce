//! The manager where gateways share the database.
//!
//! - What it may touch it asks before every step: no attempt begins for a lane of another gateway.
//! - When the own shards change, all is read again from the start.
//! - Rows may become visible late; they are looked for once a second, and when another gateway
//!   tells of them.

use super::{FAULT, Manager, PAGE};
use crate::protocol::Timestamp;
use crate::queue::late::{Lookout, Span};
use crate::queue::share::{Hold, Share};
use crate::store::{Feed, ShardSet};

/// Pages of what is new and recent that are read again at a time.
const PAGES: usize = 10;

/// So many destinations of which everything stands behind are left out.
const PARKED: usize = 64;

/// What the manager knows of its share.
pub(super) struct Sharing {
    pub(super) share: Share,
    /// The version the window was read for, and its shards.
    version: u64,
    shards: ShardSet,
    gateways: usize,
    /// The right to what the window gives, as of the last look.
    hold: Hold,
    lookout: Lookout,
}

impl Sharing {
    pub(super) fn new(share: Share) -> Self {
        let shards = if share.is_kept() {
            ShardSet::EMPTY
        } else {
            ShardSet::ALL
        };
        Self {
            share,
            version: 0,
            shards,
            gateways: 0,
            hold: Hold::default(),
            lookout: Lookout::default(),
        }
    }

    /// The right to what is launched now.
    pub(super) fn hold(&self) -> Hold {
        self.hold.clone()
    }

    /// The shards to read.
    pub(super) const fn shards(&self) -> ShardSet {
        self.shards
    }
}

impl Manager {
    /// Takes note of what is this gateway's now. Says whether anything may be read or sent.
    pub(super) fn take_stock(&mut self) -> bool {
        let Some(own) = self.sharing.share.ownership() else {
            return true;
        };
        if own.version() != self.sharing.version {
            self.sharing.version = own.version();
            self.sharing.shards = *own.usable();
            self.window.reset(*own.usable());
            self.unread = true;
            self.loose_at = Some(self.carrier.clock.now());
        }
        if own.gateways() != self.sharing.gateways {
            // One that is gone may have left what was not told.
            self.sharing.gateways = own.gateways();
            self.unread = true;
        }
        if !own.leaving().is_empty() {
            let idle = own.leaving().without(&self.window.under_way());
            self.sharing.share.report(own.version(), idle);
        }
        let is_any = !own.usable().is_empty();
        self.sharing.hold = Hold::of_ownership(own);
        is_any && self.sharing.share.is_current()
    }

    /// Whether what was just submitted for these lanes may go before it is on disk: this gateway is
    /// alone, and has read everything.
    pub(super) fn may_go_early(&mut self, lanes: &mut dyn Iterator<Item = i64>) -> bool {
        if !self.sharing.share.is_kept() {
            return true;
        }
        self.take_stock() && !self.unread && self.sharing.share.may_go_early(lanes)
    }

    /// When to look for what came late, and for what nobody told of.
    pub(super) fn next_look(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.sharing.share.is_kept() {
            return None;
        }
        let at = self.sharing.lookout.next_look();
        Some(now.plus(at.saturating_sub(self.carrier.clock.monotonic())))
    }

    /// Looks for rows that became visible late, once a second and where another gateway told.
    pub(super) async fn look(&mut self, now: Timestamp) {
        if !self.sharing.share.is_kept() {
            return;
        }
        let high = self.window.high();
        if let Some(low) = self.store.take_foreign_mark().filter(|low| *low <= high) {
            let span = Span {
                after: low - 1,
                upto: high,
            };
            self.look_through(span, now).await;
        }
        let moment = self.carrier.clock.monotonic();
        if moment < self.sharing.lookout.next_look() {
            return;
        }
        self.unread = true;
        let newest = match self.store.newest_delivery().await {
            Ok(newest) => newest.max(high),
            Err(error) => {
                tracing::warn!(%error, "the queue could not be looked through");
                self.carrier.clock.wait(FAULT).await;
                return;
            }
        };
        self.sharing.lookout.looked(moment, newest);
        if let Some(span) = self.sharing.lookout.recent(high) {
            self.look_through(span, now).await;
        }
        if let Some(span) = self.sharing.lookout.to_sweep(high) {
            let last = self.look_at_page(span, now).await;
            self.sharing.lookout.swept(last);
        }
    }

    async fn look_through(&mut self, mut span: Span, now: Timestamp) {
        for _ in 0..PAGES {
            match self.look_at_page(span, now).await {
                Some(last) => span.after = last,
                None => return,
            }
        }
    }

    /// Takes in what a page has that is not known; says up to where it went, if there is more.
    async fn look_at_page(&mut self, span: Span, now: Timestamp) -> Option<i64> {
        let parked = self.window.parked_from(span.after).into_iter();
        let but = parked.take(PARKED).map(str::to_owned).collect();
        let rows = self
            .rows(&Feed::Late(span.after, span.upto, but), PAGE)
            .await;
        let last = rows
            .last()
            .map(|row| row.seq)
            .filter(|_| rows.len() == PAGE);
        self.window.feed_late(rows, now);
        last
    }
}
