//! Two weeks of operation on a clock that is moved by hand: what is over is forgotten, and what is
//! held, on disk and in memory, levels off.
//!
//! The parts are the gateway's own, but for the ways out ([`outside`]). Every hour brings the same
//! mail ([`load`]), and every three days the same troubles.

mod ledger;
mod load;
mod outside;
mod world;

use std::time::Duration;

use crate::store::RetentionRules;
use crate::store::tests::Home;
use crate::store::tests::size::Sizes;
use world::World;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: u64 = 24;
const DAYS: u64 = 14;

/// Dead letters go early, so that it shows: a day after what became of other mail.
const RULES: RetentionRules = RetentionRules {
    settled: HOUR.saturating_mul(7 * 24),
    acknowledged: HOUR.saturating_mul(24),
    dead_letters: HOUR.saturating_mul(8 * 24),
};

/// The log of a SQLite file begins anew after 16,000 pages, and the commit that does it.
const LOG_BYTES: u64 = 17_000 * 4_120;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    fortnight(Home::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    fortnight(Home::postgres()).await;
}

async fn fortnight(home: Home) {
    let mut world = World::at(home).await;
    let (mut before, mut after) = (Sizes::new(), Sizes::new());
    for day in 1..=DAYS {
        let mut most = Sizes::new();
        for hour in 0..DAY {
            world.hour().await;
            merge(&mut most, world.held());
            if hour % 12 == 11 {
                merge(&mut most, world.home.sizes().await);
            }
        }
        match day {
            8..=10 => merge(&mut before, most),
            11.. => merge(&mut after, most),
            _ => {}
        }
    }
    levels_off(&before, &after);
    world.forgets().await;
    world.close().await;
}

/// Keeps the larger one of each.
fn merge(most: &mut Sizes, sizes: Sizes) {
    for (name, size) in sizes {
        let known = most.entry(name).or_default();
        *known = size.max(*known);
    }
}

/// A tenth more is no growth, and neither are a few pieces.
fn levels_off(before: &Sizes, after: &Sizes) {
    let mut grown = Vec::new();
    for (name, after) in after {
        let limit = match name.as_str() {
            "log bytes" => LOG_BYTES,
            name => before[name] + before[name] / 10 + 8,
        };
        if *after > limit {
            grown.push(format!("{name}: {} became {after}", before[name]));
        }
    }
    assert!(grown.is_empty(), "{}", grown.join("; "));
}
