//! The files, and what they may do to a database in use.

use super::*;

/// What migrations do to tables in use beyond adding a column, and why that may be. Each holds its
/// table for as long as it runs.
const KNOWN: [(i64, &str); 2] = [
    // One look through the inboxes; none of the rows gets into the index.
    (5, "CREATE INDEX inbox_handed_out ON inbox"),
    // Counts what waits in each mailbox.
    (7, "UPDATE mailboxes SET"),
];

#[test]
fn every_migration_file_is_embedded_under_its_number() {
    for (backend, list) in [("sqlite", SQLITE), ("postgres", POSTGRES)] {
        let folder = format!("{}/migrations/{backend}", env!("CARGO_MANIFEST_DIR"));
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let embedded: Vec<String> = list
            .iter()
            .map(|(version, name, _)| format!("{version:04}_{name}.sql"))
            .collect();
        assert_eq!(files, embedded);
    }
}

/// A gateway of the version before goes on over the new schema: tables and columns are only added,
/// and what it does not know of has a default. Nothing but what is [`KNOWN`] goes through the rows of a
/// table that was there before.
#[test]
fn migrations_of_postgresql_go_with_a_gateway_of_the_version_before() {
    for (number, name, text) in &POSTGRES[1..] {
        let faults = faults(*number, text);
        assert!(faults.is_empty(), "{number:04}_{name}.sql: {faults:?}");
    }
}

#[test]
fn what_would_break_the_version_before_is_found() {
    for text in [
        "DROP TABLE inbox;",
        "ALTER TABLE inbox DROP COLUMN read;",
        "ALTER TABLE inbox ALTER COLUMN read TYPE TEXT;",
        "ALTER TABLE inbox RENAME COLUMN read TO seen;",
        "ALTER TABLE inbox ADD COLUMN seen BIGINT NOT NULL;",
        "ALTER TABLE inbox ADD COLUMN seen BIGINT NOT NULL DEFAULT 0, DROP COLUMN read;",
        "CREATE INDEX inbox_by_what ON inbox (seq);",
        "CREATE UNIQUE INDEX inbox_by_what ON inbox (seq);",
        "UPDATE inbox SET read = 0;",
        "DELETE FROM inbox;",
        "INSERT INTO inbox SELECT * FROM inbox;",
        "LOCK TABLE inbox;",
    ] {
        assert_eq!(faults(99, text).len(), 1, "{text}");
    }
    let fits = "-- A comment; with a stop.\nCREATE TABLE t (a BIGINT);\nCREATE INDEX t_a ON t (a);\n\
                INSERT INTO t (a) VALUES (1);\nALTER TABLE inbox ADD COLUMN seen BIGINT NOT NULL DEFAULT 0;\n\
                ALTER TABLE inbox ADD COLUMN word TEXT COLLATE \"C\";";
    assert_eq!(faults(99, fits), Vec::<String>::new());
}

/// The statements of a migration that do not go with the version before.
fn faults(number: i64, text: &str) -> Vec<String> {
    // The body of a function is nobody's statement yet.
    let outside: String = text.split("$$").step_by(2).collect();
    let lines = outside
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join(" ");
    let mut own = Vec::new();
    let mut faults = Vec::new();
    for statement in text.split(';') {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let statement = words.join(" ");
        let known = KNOWN
            .iter()
            .any(|(known, begin)| *known == number && statement.starts_with(begin));
        let fits = known
            || match words[..] {
                [] | ["CREATE", "FUNCTION", ..] => true,
                ["CREATE", "TABLE", table, ..] => {
                    own.push(table);
                    true
                }
                ["CREATE", "INDEX", _, "ON", table, ..]
                | ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..]
                | ["INSERT", "INTO", table, ..] => own.contains(&table),
                ["ALTER", "TABLE", _, "ADD", "COLUMN", ..] => {
                    let one = !statement.contains(',');
                    one && (!statement.contains("NOT NULL") || statement.contains("DEFAULT"))
                }
                _ => false,
            };
        if !fits {
            faults.push(statement);
        }
    }
    faults
}
