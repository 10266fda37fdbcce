//! PostgreSQL for tests: databases, ends of all kinds, refusals, standbys.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::crash::report;
use crate::support::netns::Network;
use crate::support::postgres::{Cluster, Place};
use crate::support::{eventually, words};

#[test]
fn each_database_is_new_and_what_is_written_is_forced_to_the_disk() {
    let cluster = Cluster::shared();
    let (one, other) = (cluster.database(), cluster.database());
    assert_ne!(one, other);
    cluster.query_in(&one, "CREATE TABLE things (id bigint)");
    cluster.query_in(&other, "CREATE TABLE things (id bigint)");
    let copy = cluster.copy(&one);
    assert_eq!(
        cluster.query_in(&copy, "SELECT count(*) FROM things"),
        "0",
        "a copy has what there was"
    );
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert_eq!(cluster.query(&format!("SHOW {setting}")), "on", "{setting}");
    }
    assert_eq!(
        cluster.query("SELECT rolsuper FROM pg_roles WHERE rolname = 'amtpd'"),
        "f"
    );
}

#[test]
fn what_was_committed_survives_every_end() {
    let cluster = Cluster::own();
    let database = cluster.database();
    cluster.query_in(&database, "CREATE TABLE things (id bigint)");
    let ends: [fn(&Cluster); 3] = [Cluster::stop, Cluster::stop_immediately, Cluster::kill];
    for (n, end) in ends.iter().enumerate() {
        cluster.query_in(&database, "INSERT INTO things VALUES (1)");
        end(&cluster);
        assert!(!cluster.runs());
        assert!(cluster.ask("postgres", "SELECT 1").is_err());
        cluster.start();
        let count = cluster.query_in(&database, "SELECT count(*) FROM things");
        assert_eq!(count, (n + 1).to_string());
    }
}

/// Says whether a client of the gateways' role may do this.
fn as_role(url: &str, sql: &str) -> Result<(), String> {
    let done = Command::new("psql")
        .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql, url])
        .output()
        .unwrap();
    match done.status.success() {
        true => Ok(()),
        false => Err(words(&done)),
    }
}

#[test]
fn it_refuses_writes_and_connections_when_told() {
    let cluster = Cluster::own();
    let database = cluster.database();
    as_role(&database, "CREATE TABLE things (id bigint)").unwrap();
    cluster.set_read_only(true);
    let refused = as_role(&database, "INSERT INTO things VALUES (1)").unwrap_err();
    assert!(refused.contains("read-only"), "{refused}");
    cluster.set_read_only(false);
    as_role(&database, "INSERT INTO things VALUES (1)").unwrap();
    cluster.limit_connections(0);
    let refused = as_role(&database, "SELECT 1").unwrap_err();
    assert!(refused.contains("too many connections"), "{refused}");
    cluster.free_connections();
    as_role(&database, "SELECT 1").unwrap();
    cluster.set("max_connections", "20");
    cluster.restart();
    assert_eq!(cluster.query("SHOW max_connections"), "20");
}

#[test]
fn a_promoted_standby_has_all_that_was_committed() {
    let network = Network::new(2);
    let place = |node| {
        let command = network.command(node, "env");
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words = words.map(|word| word.to_string_lossy().into_owned());
        Place::at(network.address(node).into(), words.collect())
    };
    let primary = Cluster::at(place(1));
    let database = primary.database();
    let standby = primary.standby(place(2));
    as_role(&database, "CREATE TABLE things AS SELECT 1 AS id").unwrap();
    primary.kill();
    assert!(standby.is_standby());
    standby.promote();
    assert_eq!(standby.query_in(&database, "SELECT id FROM things"), "1");
    standby.query_in(&database, "INSERT INTO things VALUES (2)");
    let url = primary.url_of_all(&[&standby], &database);
    as_role(&url, "INSERT INTO things VALUES (3)").unwrap();
    assert_eq!(
        standby.query_in(&database, "SELECT count(*) FROM things"),
        "3"
    );
}

/// Says where its shared cluster is, and lives until it is told otherwise.
#[test]
#[ignore = "the process that the next test kills"]
fn a_process_with_a_shared_cluster() {
    let cluster = Cluster::shared();
    report(&cluster.query("SELECT 'data|' || current_setting('data_directory')"));
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[tokio::test]
async fn a_cluster_is_gone_with_its_process_also_when_that_is_killed() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("support_works::postgres::a_process_with_a_shared_cluster")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(process.stdout.take().unwrap()).lines();
    let data = said
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("data|")?.1.to_owned()))
        .expect("it says where its cluster is");
    assert!(Path::new(&data).exists());
    process.kill().unwrap();
    process.wait().unwrap();
    eventually("the folder goes", Duration::from_secs(20), || {
        (!Path::new(&data).parent().unwrap().exists()).then_some(())
    })
    .await;
}
