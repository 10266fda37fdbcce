//! A PostgreSQL database laid out as Agentry's, with what a test puts into it.

use super::postgres::Cluster;

/// Its tables, as far as they matter; `newer` adds what later versions have.
const TABLES: &str = "
CREATE TYPE delivery_status AS ENUM ('pending', 'queued', 'delivering', 'delivered', 'failed', 'retrying');
CREATE TABLE messages (
    id serial PRIMARY KEY, version varchar(10) NOT NULL, message_id uuid NOT NULL UNIQUE,
    idempotency_key uuid NOT NULL UNIQUE, timestamp timestamptz NOT NULL, sender varchar(255) NOT NULL,
    subject text, schema text, in_reply_to uuid, response_type varchar(50), recipients jsonb NOT NULL,
    coordination jsonb, headers jsonb, payload jsonb, attachments jsonb, signature jsonb);
CREATE TABLE message_statuses (
    id serial PRIMARY KEY, message_id uuid NOT NULL REFERENCES messages (message_id),
    status delivery_status NOT NULL, attempts integer NOT NULL DEFAULT 0);
CREATE TABLE recipient_statuses (
    id serial PRIMARY KEY, message_id uuid NOT NULL REFERENCES messages (message_id),
    address varchar(255) NOT NULL, status delivery_status NOT NULL, delivery_mode varchar(10),
    local_delivery boolean DEFAULT false, inbox_delivered boolean DEFAULT false, acknowledged boolean DEFAULT false);
CREATE TABLE agents (
    id serial PRIMARY KEY, address varchar(255) NOT NULL UNIQUE, delivery_mode varchar(10), push_target varchar(500),
    headers jsonb, api_key varchar(255), supported_schemas jsonb, requires_schema boolean DEFAULT false);
";

const NEWER: &str = "
ALTER TABLE messages ADD COLUMN workflow_id uuid;
ALTER TABLE message_statuses ADD COLUMN sender_verification jsonb;
CREATE TABLE schemas (
    id serial PRIMARY KEY, domain varchar(255) NOT NULL, entity varchar(255) NOT NULL, version varchar(64) NOT NULL,
    definition jsonb NOT NULL, UNIQUE (domain, entity, version));
";

/// Such a database.
pub struct AgentryDatabase {
    pub url: String,
    newer: bool,
}

impl AgentryDatabase {
    /// As the version of today leaves it.
    pub fn new() -> Self {
        let database = Self::old();
        database.run(NEWER);
        Self {
            newer: true,
            ..database
        }
    }

    /// As the first version with a database left it.
    pub fn old() -> Self {
        let url = Cluster::shared().database();
        let database = Self { url, newer: false };
        database.run(TABLES);
        database
    }

    /// Runs statements in it; the columns of rows are separated by `|`.
    pub fn run(&self, sql: &str) -> String {
        let grant = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO amtpd;";
        Cluster::shared().query_in(&self.url, &format!("{sql}; {grant}"))
    }

    /// An agent that polls, with the hash of its key.
    pub fn agent(&self, address: &str, key: &str, salt: &str) {
        self.run(&format!(
            "INSERT INTO agents (address, delivery_mode, api_key, headers, supported_schemas) VALUES \
             ('{address}', 'pull', encode(sha256(convert_to('{key}{salt}', 'UTF8')), 'hex'), 'null', '[]')"
        ));
    }

    /// A message in the inboxes of these recipients, under a number that its id ends with.
    pub fn mail(&self, number: u32, sender: &str, recipients: &[&str]) {
        let list = serde_json::to_string(recipients).unwrap();
        let id = id(number);
        let mut text = format!(
            "INSERT INTO messages (version, message_id, idempotency_key, timestamp, sender, subject, recipients, payload) \
             VALUES ('1.0', '{id}', '{key}', '2026-01-02 03:04:05.678901+00', '{sender}', '', '{list}', '{{\"number\": {number}}}');",
            key = key(number),
        );
        for recipient in recipients {
            text.push_str(&format!(
                "INSERT INTO recipient_statuses (message_id, address, status, delivery_mode, local_delivery, inbox_delivered) \
                 VALUES ('{id}', '{recipient}', 'delivered', 'pull', true, true);"
            ));
        }
        let verified = match self.newer {
            true => (", sender_verification", ", '{\"result\": \"verified\"}'"),
            false => ("", ""),
        };
        text.push_str(&format!(
            "INSERT INTO message_statuses (message_id, status{}) VALUES ('{id}', 'delivered'{})",
            verified.0, verified.1
        ));
        self.run(&text);
    }
}

/// The id of a message.
pub fn id(number: u32) -> String {
    format!("01900000-0000-7000-8000-{number:012}")
}

fn key(number: u32) -> String {
    format!("9c000000-0000-4000-8000-{number:012}")
}
