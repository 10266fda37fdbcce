//! Shards of lanes, and what gateways that share a database say of themselves.
//!
//! A lane belongs to one of 1,024 shards, and a shard to one gateway at a time. Each time a shard
//! changes hands its epoch grows, so that what an earlier owner still says can be told apart.
//! PostgreSQL only: a file is used by one process, which owns everything.

use std::collections::HashSet;
use std::fmt;

use uuid::Uuid;

use super::Store;
use super::deliveries::LOOSE;
use super::error::StoreError;
use super::sql::{Connection, Statement, padded, places};
use crate::protocol::Timestamp;

/// How many slices of lanes there are.
pub const SHARDS: u16 = 1_024;

const WORDS: usize = SHARDS as usize / 64;

/// The shard of a lane.
#[must_use]
pub fn shard_of(lane: i64) -> u16 {
    u16::try_from(lane & 1023).expect("ten bits fit")
}

/// A set of shards.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardSet([u64; WORDS]);

impl ShardSet {
    /// None.
    pub const EMPTY: Self = Self([0; WORDS]);
    /// All of them.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// Whether a shard is in the set.
    #[must_use]
    pub fn contains(&self, shard: u16) -> bool {
        let (word, bit) = place(shard);
        self.0[word] & bit != 0
    }

    /// Puts a shard in.
    pub fn insert(&mut self, shard: u16) {
        let (word, bit) = place(shard);
        self.0[word] |= bit;
    }

    /// Takes a shard out.
    pub fn remove(&mut self, shard: u16) {
        let (word, bit) = place(shard);
        self.0[word] &= !bit;
    }

    /// How many are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// Those of this set that are not in the other.
    #[must_use]
    pub fn without(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= !other;
        }
        self
    }

    /// Those in both sets.
    #[must_use]
    pub fn both(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= other;
        }
        self
    }

    /// The shards in rising order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u16> + '_ {
        (0..SHARDS).filter(|shard| self.contains(*shard))
    }

    /// One bit a shard; the lowest bit of the first byte is shard 0.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

fn place(shard: u16) -> (usize, u64) {
    let shard = usize::from(shard % SHARDS);
    (shard / 64, 1 << (shard % 64))
}

impl FromIterator<u16> for ShardSet {
    fn from_iter<T: IntoIterator<Item = u16>>(shards: T) -> Self {
        let mut set = Self::EMPTY;
        shards.into_iter().for_each(|shard| set.insert(shard));
        set
    }
}

impl fmt::Debug for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            0..=16 => f.debug_set().entries(self.iter()).finish(),
            many => write!(f, "{{{many} shards}}"),
        }
    }
}

/// What a renewal came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The shards owned now, each with its epoch.
    pub shards: Vec<(u16, i64)>,
    /// The gateways that live, this one included.
    pub gateways: usize,
    /// Whether no other living gateway takes itself to be alone.
    pub others_saw_me: bool,
}

/// A gateway as it tells of itself.
#[derive(Debug, Clone, Copy)]
pub struct Presence<'a> {
    /// Its number, another one each time it starts.
    pub node: Uuid,
    /// Its version.
    pub version: &'a str,
    /// What its workers do, as JSON.
    pub status: &'a [u8],
    /// Whether it sends what is not on disk.
    pub solitude: Solitude,
}

/// Whether a gateway sends what is not on disk, which it may as long as it is alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Solitude {
    /// Never.
    Never,
    /// It would if it were alone.
    Unknown,
    /// It takes itself to be alone.
    Believed,
}

/// A gateway that uses the database, or did within the last hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayRow {
    /// Its number.
    pub node: String,
    /// Its version.
    pub version: String,
    /// When it came.
    pub joined_at: Timestamp,
    /// When it was seen last, by the database's clock.
    pub seen_at: Timestamp,
    /// How many shards it owns, or owned when it was seen last.
    pub shards: u64,
    /// What its workers do, as JSON.
    pub status: Vec<u8>,
}

/// How long a single duty is somebody's, in milliseconds.
const DUTY: i64 = 90_000;
/// The present moment by the database's clock, where a test does not say another.
pub(super) const PRESENT: &str =
    "coalesce(?, (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT)";

impl Store {
    /// Renews this gateway with its shards, takes free ones up to its fair share, and gives back
    /// others. What it held is lost when it was not renewed for fifteen seconds.
    ///
    /// # Errors
    /// When the database fails: then nothing is known of what is owned.
    pub async fn renew_shards(
        &self,
        presence: Presence<'_>,
        give_up: &[u16],
        now: Option<Timestamp>,
    ) -> Result<Claimed, StoreError> {
        let given: ShardSet = give_up.iter().copied().collect();
        let renew =
            Statement::new("SELECT shard, epoch, lonely FROM renew_gateway(?, ?, ?, ?, ?, ?)")
                .bind(presence.node.to_string())
                .bind(presence.version)
                .bind(presence.status)
                .bind(match presence.solitude {
                    Solitude::Never => 0,
                    Solitude::Unknown => 1,
                    Solitude::Believed => 2_i64,
                })
                .bind(given.to_bytes())
                .bind(now.map(Timestamp::as_millis));
        let mut claimed = Claimed {
            shards: Vec::new(),
            gateways: 1,
            others_saw_me: false,
        };
        for row in self.reader().await?.rows(renew).await? {
            match u16::try_from(row.int(0)?) {
                Ok(shard) => claimed.shards.push((shard, row.int(1)?)),
                Err(_) => {
                    claimed.gateways = usize::try_from(row.int(1)?).unwrap_or(1);
                    claimed.others_saw_me = row.int(2)? == 0;
                }
            }
        }
        self.board().others(claimed.gateways.saturating_sub(1));
        Ok(claimed)
    }

    /// This gateway uses the database no more.
    ///
    /// # Errors
    /// When the database fails: then it counts as alive for a while.
    pub async fn leave(&self, node: Uuid) -> Result<(), StoreError> {
        let mut connection = self.reader().await?;
        let node = node.to_string();
        for text in [
            "UPDATE shards SET owner = NULL WHERE owner = ?",
            "DELETE FROM duties WHERE owner = ?",
            "DELETE FROM gateways WHERE node = ?",
        ] {
            connection
                .run(Statement::new(text).bind(node.as_str()))
                .await?;
        }
        Ok(())
    }

    /// The gateways that use the database, by the time they came; none where it is not shared.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn gateways(&self) -> Result<Vec<GatewayRow>, StoreError> {
        if !self.is_shared() {
            return Ok(Vec::new());
        }
        let ask = Statement::new(
            "SELECT g.node, g.version, g.joined_at, g.seen_at, g.status, \
             (SELECT count(*) FROM shards s WHERE s.owner = g.node) \
             FROM gateways g ORDER BY g.joined_at, g.node",
        );
        let rows = self.reader().await?.rows(ask).await?;
        let gateway = |row: &super::sql::Row| {
            Ok(GatewayRow {
                node: row.text(0)?,
                version: row.text(1)?,
                joined_at: Timestamp::from_millis(row.int(2)?),
                seen_at: Timestamp::from_millis(row.int(3)?),
                status: row.bytes(4)?,
                shards: u64::try_from(row.int(5)?).unwrap_or(0),
            })
        };
        Ok(rows.iter().map(gateway).collect::<sqlx::Result<_>>()?)
    }

    /// Whether a duty that one gateway at a time does is this one's for the next ninety seconds.
    /// Where the database is not shared it always is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lease(
        &self,
        duty: &str,
        node: Uuid,
        now: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        if !self.is_shared() {
            return Ok(true);
        }
        let now = now.map(Timestamp::as_millis);
        let take = Statement::new(format!(
            "INSERT INTO duties (duty, owner, expires_at) VALUES (?, ?, {PRESENT} + {DUTY}) \
             ON CONFLICT (duty) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at \
             WHERE duties.owner = excluded.owner OR duties.expires_at <= {PRESENT} RETURNING 1"
        ))
        .bind(duty)
        .bind(node.to_string())
        .bind(now)
        .bind(now);
        Ok(self.reader().await?.row(take).await?.is_some())
    }

    /// Those of the shards that are not in the hands they were in at their epochs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lost_shards(&self, held: &[(u16, i64)]) -> Result<HashSet<u16>, StoreError> {
        Ok(lost(&mut self.reader().await?, held, "").await?)
    }

    /// Of the lanes of these deliveries: each delivery that goes before one of them and is not
    /// among `but`, with its lane. They became visible late.
    ///
    /// Where the database has a synchronous standby, what is seen here is also there when this
    /// answers: a commit that its server alone knows of is visible, but its sender was promised
    /// nothing, and after a failover it would send the message anew.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn overtaken(
        &self,
        (seqs, but): (&[i64], &[i64]),
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        let list = |numbers: &mut dyn Iterator<Item = &i64>| {
            let texts: Vec<String> = numbers.map(i64::to_string).collect();
            texts.join(",")
        };
        let ask = Statement::new(format!(
            "SELECT e.lane, e.seq FROM (SELECT lane, destination, max(seq) AS last FROM deliveries \
             WHERE seq = ANY (string_to_array(?, ',')::BIGINT[]) AND flags & {LOOSE} = 0 \
             GROUP BY lane, destination) AS d JOIN deliveries e ON e.lane = d.lane \
             AND e.destination = d.destination AND e.seq < d.last \
             WHERE e.state < 2 AND e.flags & {LOOSE} = 0 \
             AND e.seq <> ALL (string_to_array(?, ',')::BIGINT[]) \
             UNION ALL SELECT 0, 0 FROM (SELECT pg_logical_emit_message(true, 'amtpd', '') AS said \
             WHERE current_setting('synchronous_standby_names') <> '') AS barrier \
             WHERE said IS NOT NULL"
        ))
        .bind(list(&mut seqs.iter()))
        .bind(list(&mut seqs.iter().chain(but)));
        let rows = self.reader().await?.rows(ask).await?;
        let pair = |row: &super::sql::Row| Ok((row.int(0)?, row.int(1)?));
        let mut found: Vec<(i64, i64)> = rows.iter().map(pair).collect::<sqlx::Result<_>>()?;
        // The barrier is no delivery.
        found.retain(|(_, seq)| *seq > 0);
        Ok(found)
    }

    /// The highest number of a delivery that waits, of all shards.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_delivery(&self) -> Result<i64, StoreError> {
        let ask = Statement::new("SELECT max(seq) FROM deliveries");
        let row = self.reader().await?.row(ask).await?;
        let newest = row.map(|row| row.maybe_int(0)).transpose()?.flatten();
        Ok(newest.unwrap_or(0))
    }
}

/// Those of the shards that changed hands since their epochs. `lock` keeps the others as they are.
pub(super) async fn lost(
    connection: &mut Connection,
    held: &[(u16, i64)],
    lock: &str,
) -> sqlx::Result<HashSet<u16>> {
    let mut lost: HashSet<u16> = held.iter().map(|(shard, _)| *shard).collect();
    let shards: Vec<i64> = lost.iter().map(|shard| i64::from(*shard)).collect();
    for chunk in padded(&shards) {
        let text = format!(
            "SELECT shard, epoch FROM shards WHERE shard IN ({}) ORDER BY shard{lock}",
            places(chunk.len())
        );
        for row in connection
            .rows(Statement::new(text).bind_all(chunk))
            .await?
        {
            let (shard, epoch) = (row.int(0)?, row.int(1)?);
            let mut of_shard = held.iter().filter(|(it, _)| i64::from(*it) == shard);
            if of_shard.all(|(_, it)| *it == epoch)
                && let Ok(shard) = u16::try_from(shard)
            {
                lost.remove(&shard);
            }
        }
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut set: ShardSet = [0, 63, 64, 1_023].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 1_023]);
        assert!(set.contains(63) && !set.contains(62));
        set.remove(63);
        assert_eq!(set.len(), 3);
        assert_eq!(ShardSet::ALL.len(), usize::from(SHARDS));
        assert_eq!(ShardSet::ALL.without(&set).len(), 1_021);
        assert_eq!(ShardSet::ALL.both(&set), set);
        let bytes = set.to_bytes();
        assert_eq!(
            (bytes.len(), bytes[0], bytes[8], bytes[127]),
            (128, 1, 1, 128)
        );
    }

    #[test]
    fn a_lane_has_its_shard_whatever_its_sign() {
        assert_eq!(shard_of(1_025), 1);
        assert_eq!(shard_of(-1), 1_023);
        assert_eq!(shard_of(i64::MIN), 0);
    }
}
