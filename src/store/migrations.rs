//! The migrations of the schema, embedded in the binary: one list a backend.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

type Embedded = (i64, &'static str, &'static str);

const SQLITE: &[Embedded] = &[
    (
        1,
        "core",
        include_str!("../../migrations/sqlite/0001_core.sql"),
    ),
    (
        2,
        "queue",
        include_str!("../../migrations/sqlite/0002_queue.sql"),
    ),
    (
        3,
        "shared_statements",
        include_str!("../../migrations/sqlite/0003_shared_statements.sql"),
    ),
    (
        4,
        "body_in_row",
        include_str!("../../migrations/sqlite/0004_body_in_row.sql"),
    ),
    (
        5,
        "key_runs",
        include_str!("../../migrations/sqlite/0005_key_runs.sql"),
    ),
    (
        6,
        "schemas",
        include_str!("../../migrations/sqlite/0006_schemas.sql"),
    ),
    (
        7,
        "credentials",
        include_str!("../../migrations/sqlite/0007_credentials.sql"),
    ),
    (
        8,
        "sessions",
        include_str!("../../migrations/sqlite/0008_sessions.sql"),
    ),
    (
        9,
        "topics",
        include_str!("../../migrations/sqlite/0009_topics.sql"),
    ),
    (
        10,
        "groups",
        include_str!("../../migrations/sqlite/0010_groups.sql"),
    ),
    (
        11,
        "bridge",
        include_str!("../../migrations/sqlite/0011_bridge.sql"),
    ),
    (
        12,
        "tasks",
        include_str!("../../migrations/sqlite/0012_tasks.sql"),
    ),
    (
        13,
        "a2a_calls",
        include_str!("../../migrations/sqlite/0013_a2a_calls.sql"),
    ),
];

const POSTGRES: &[Embedded] = &[
    (
        1,
        "core",
        include_str!("../../migrations/postgres/0001_core.sql"),
    ),
    (
        2,
        "gateways",
        include_str!("../../migrations/postgres/0002_gateways.sql"),
    ),
    (
        3,
        "schemas",
        include_str!("../../migrations/postgres/0003_schemas.sql"),
    ),
    (
        4,
        "credentials",
        include_str!("../../migrations/postgres/0004_credentials.sql"),
    ),
    (
        5,
        "sessions",
        include_str!("../../migrations/postgres/0005_sessions.sql"),
    ),
    (
        6,
        "topics",
        include_str!("../../migrations/postgres/0006_topics.sql"),
    ),
    (
        7,
        "groups",
        include_str!("../../migrations/postgres/0007_groups.sql"),
    ),
    (
        8,
        "bridge",
        include_str!("../../migrations/postgres/0008_bridge.sql"),
    ),
    (
        9,
        "tasks",
        include_str!("../../migrations/postgres/0009_tasks.sql"),
    ),
    (
        10,
        "a2a_calls",
        include_str!("../../migrations/postgres/0010_a2a_calls.sql"),
    ),
];

/// All migrations for SQLite, oldest first.
pub(super) fn sqlite() -> Migrator {
    migrator(SQLITE)
}

/// All migrations for PostgreSQL, oldest first.
pub(super) fn postgres() -> Migrator {
    migrator(POSTGRES)
}

/// The migrations that an older version knew.
#[cfg(test)]
pub(super) fn until(backend: Backend, version: i64) -> Migrator {
    let known = backend.list().iter();
    let known = known.filter(|(number, ..)| *number <= version);
    migrator(&known.copied().collect::<Vec<_>>())
}

/// The numbers of all migrations but the last: what a database of an older version may stand at.
#[cfg(test)]
pub(super) fn former(backend: Backend) -> impl Iterator<Item = i64> {
    let list = backend.list();
    list[..list.len() - 1].iter().map(|(number, ..)| *number)
}

/// Whose migrations.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    Sqlite,
    Postgres,
}

#[cfg(test)]
impl Backend {
    const fn list(self) -> &'static [Embedded] {
        match self {
            Self::Sqlite => SQLITE,
            Self::Postgres => POSTGRES,
        }
    }
}

fn migrator(embedded: &[Embedded]) -> Migrator {
    let migrations = embedded.iter().map(|(version, name, sql)| {
        Migration::new(
            *version,
            Cow::Borrowed(*name),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

#[cfg(test)]
mod tests;
