//! The registry over real stores, folders and servers.

mod remote;
mod rollout;
mod shipped;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::TestClock;
use crate::config::Database;
use crate::events::Events;
use crate::protocol::Timestamp;
use crate::store::{self, SchemaState, StoreOptions};

const ORDER: &str = "agntcy:commerce.order.v1";

fn id(text: &str) -> SchemaId {
    SchemaId::parse(text).unwrap()
}

/// A store that runs, with a folder for schemas.
struct Bench {
    folder: TempDir,
    store: Store,
    clock: Arc<TestClock>,
    metrics: Metrics,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("schemas")).unwrap();
        let options = StoreOptions {
            database: Database::Sqlite(folder.path().join("amtpd.db")),
        };
        let clock = TestClock::at(Timestamp::from_millis(1_800_000_000_000));
        let metrics = Metrics::default();
        let opened = store::open(
            &options,
            Events::default(),
            metrics.clone(),
            Clock::over(clock.clone()),
        );
        let (store, committer) = opened.await.unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(committer.run(stop.clone()));
        Self {
            folder,
            store,
            clock,
            metrics,
            tasks,
            stop,
        }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.folder.path().join("schemas")
    }

    fn write(&self, name: &str, document: &Value) {
        std::fs::write(self.dir().join(name), document.to_string()).unwrap();
    }

    async fn open(&self) -> Result<Schemas, OpenFault> {
        self.open_with(SchemaOptions {
            dir: Some(self.dir()),
            ..SchemaOptions::default()
        })
        .await
    }

    async fn open_with(&self, options: SchemaOptions) -> Result<Schemas, OpenFault> {
        let clock = Clock::over(self.clock.clone());
        Schemas::open(options, self.store.clone(), clock, &self.metrics).await
    }

    async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn order(member: &str) -> Value {
    json!({"$id": ORDER, "type": "object", "required": [member]})
}

fn submission(id: &str, document: &Value, state: SchemaState) -> Submission {
    Submission {
        id: Some(super::tests::id(id)),
        document: document.to_string().into_bytes(),
        state,
        mode: Some(Mode::Backward),
        by: "test".to_owned(),
    }
}

fn refused(judgement: &Judgement) -> &str {
    match judgement {
        Judgement::Faults(faults) => &faults[0].path,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn files_are_judged_by_and_read_again_as_a_whole() {
    let bench = Bench::new().await;
    bench.write("order.json", &order("a"));
    bench.write("draft.json", &json!({"$id": "d", "x-amtp-state": "draft"}));
    std::fs::write(bench.dir().join("notes.txt"), "no schema").unwrap();
    let schemas = bench.open().await.unwrap();
    assert_eq!(refused(&schemas.judge(&id(ORDER), "{}").await), "a");
    assert_eq!(
        schemas.judge(&id(ORDER), r#"{"a":1}"#).await,
        Judgement::Valid
    );
    assert_eq!(schemas.judge(&id("d"), "1").await, Judgement::Unknown);
    assert_eq!(schemas.judge(&id("other"), "1").await, Judgement::Unknown);
    bench.write("order.json", &order("b"));
    bench.write("broken.json", &json!({"$id": "x", "type": 7}));
    let faults = schemas.reload().await.unwrap_err();
    assert!(faults.len() == 1 && faults[0].file.ends_with("broken.json"));
    assert_eq!(refused(&schemas.judge(&id(ORDER), "{}").await), "a");
    assert_eq!(schemas.faults().len(), 1);
    std::fs::remove_file(bench.dir().join("broken.json")).unwrap();
    schemas.reload().await.unwrap();
    assert_eq!(refused(&schemas.judge(&id(ORDER), "{}").await), "b");
    assert!(schemas.faults().is_empty());
    bench.close().await;
}

#[tokio::test]
async fn a_folder_with_faults_is_refused_with_all_of_them() {
    let bench = Bench::new().await;
    bench.write("a.json", &order("a"));
    bench.write("again.json", &order("a"));
    bench.write("nameless.json", &json!({}));
    bench.write(
        "remote.json",
        &json!({"$id": "r", "$ref": "https://x.test/s"}),
    );
    bench.write("state.json", &json!({"$id": "s", "x-amtp-state": "on"}));
    std::fs::write(bench.dir().join("large.json"), vec![b' '; 5 * MOST_BYTES]).unwrap();
    std::fs::write(bench.dir().join("text.json"), "{").unwrap();
    let Err(OpenFault::Folder(faults)) = bench.open().await else {
        panic!("it opened");
    };
    let named = |fault: &FolderFault| {
        let name = fault.file.file_name().unwrap();
        name.to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = faults.iter().map(named).collect();
    names.sort();
    let expected = ["again", "large", "nameless", "remote", "state", "text"];
    assert_eq!(names, expected.map(|name| format!("{name}.json")));
    assert_eq!(Schemas::check_folder(&bench.dir()).len(), 6);
    assert_eq!(Schemas::check_folder(Path::new("/nowhere")).len(), 1);
    bench.close().await;
}

#[tokio::test]
async fn changes_of_others_are_seen_by_looking() {
    let bench = Bench::new().await;
    let (mine, other) = (bench.open().await.unwrap(), bench.open().await.unwrap());
    let (ask, reloads) = watch::channel(0);
    bench
        .tasks
        .spawn(mine.clone().run(reloads, bench.stop.clone()));
    let seen = async |known: bool| {
        loop {
            let judgement = mine.judge(&id(ORDER), "{}").await;
            if (judgement != Judgement::Unknown) == known {
                return;
            }
            bench.clock.advance(EVERY);
            tokio::task::yield_now().await;
        }
    };
    let put = submission(ORDER, &order("a"), SchemaState::Required);
    other.put(put).await.unwrap();
    seen(true).await;
    other.remove(&id(ORDER), None).await.unwrap();
    seen(false).await;
    // A file is seen too, at once when it is asked for.
    bench.write("order.json", &order("c"));
    ask.send_replace(1);
    while mine.judge(&id(ORDER), "{}").await == Judgement::Unknown {
        tokio::task::yield_now().await;
    }
    std::fs::remove_file(bench.dir().join("order.json")).unwrap();
    seen(false).await;
    bench.close().await;
}

#[tokio::test]
async fn a_file_and_a_revision_that_differ_are_told() {
    let bench = Bench::new().await;
    let schemas = bench.open().await.unwrap();
    let stored = submission(ORDER, &order("a"), SchemaState::Required);
    schemas.put(stored.clone()).await.unwrap();
    bench.write("order.json", &order("b"));
    schemas.reload().await.unwrap();
    let faults = schemas.faults();
    assert!(
        faults.len() == 1 && faults[0].contains("order.json"),
        "{faults:?}"
    );
    assert_eq!(refused(&schemas.judge(&id(ORDER), "{}").await), "b");
    assert!(matches!(schemas.put(stored).await, Err(PutFault::File)));
    bench.write("order.json", &order("a"));
    schemas.reload().await.unwrap();
    assert!(schemas.faults().is_empty());
    bench.close().await;
}

#[tokio::test]
async fn alternatives_are_what_the_agent_takes_nearest_first() {
    let bench = Bench::new().await;
    for (number, name) in [
        "agntcy:commerce.order.v1",
        "agntcy:commerce.order.v3",
        "agntcy:commerce.invoice.v1",
        "agntcy:task.request.v1",
        "agntcy:hidden.order.v1",
    ]
    .iter()
    .enumerate()
    {
        bench.write(&format!("{number}.json"), &json!({"$id": name}));
    }
    bench.write(
        "old.json",
        &json!({"$id": "agntcy:commerce.order.v0", "x-amtp-state": "retired"}),
    );
    let schemas = bench.open().await.unwrap();
    let patterns = |texts: &[&str]| -> Vec<SchemaPattern> {
        texts
            .iter()
            .map(|it| SchemaPattern::parse(it).unwrap())
            .collect()
    };
    let asked = id("agntcy:commerce.order.v2");
    let taken = patterns(&[
        "agntcy:commerce.*",
        "agntcy:task.*",
        "agntcy:commerce.order.v9",
    ]);
    assert_eq!(
        schemas.alternatives(&taken, &asked),
        [
            "agntcy:commerce.order.v1",
            "agntcy:commerce.order.v3",
            "agntcy:commerce.order.v9",
            "agntcy:commerce.invoice.v1",
            "agntcy:task.request.v1",
        ]
    );
    assert!(schemas.alternatives(&[], &asked).is_empty());
    let many: Vec<String> = (0..30).map(|it| format!("x{it}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(schemas.alternatives(&patterns(&many), &asked).len(), 10);
    bench.close().await;
}
