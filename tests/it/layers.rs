//! The layers: each module uses only what the table in `docs/architecture.md` allows.

use std::fs;
use std::path::{Path, PathBuf};

const GROUND: &str = "protocol admission envelope config clock events net tls telemetry";
const ALL: &str = "store policy schema discovery auth mime workflow task intake transport live topics queue \
                   endpoint gateway lifecycle cli";

/// Module, and what it may use beside the ground. `endpoint` stands for all endpoints.
const LAYERS: [(&str, &str); 18] = [
    ("store", ""),
    ("policy", ""),
    ("mime", ""),
    ("discovery", ""),
    ("schema", "store"),
    ("workflow", "store"),
    ("task", "store"),
    ("auth", "store discovery"),
    ("intake", "store policy schema auth mime workflow task"),
    ("transport", "store discovery mime task"),
    ("live", "store intake"),
    ("topics", "store policy auth intake"),
    (
        "queue",
        "store discovery transport workflow task intake topics",
    ),
    (
        "endpoint",
        "intake live topics store auth policy schema discovery workflow task mime",
    ),
    ("gateway", ALL),
    ("lifecycle", ALL),
    ("cli", ALL),
    ("main", ALL),
];

/// What a module may use; nothing where it has no place.
fn may_use(module: &str) -> Option<Vec<&'static str>> {
    let above = match module {
        "protocol" => return Some(Vec::new()),
        "clock" | "events" | "envelope" => return Some(vec!["protocol"]),
        "admission" | "config" | "net" | "tls" | "telemetry" => "",
        _ => LAYERS.iter().find(|(name, _)| *name == module)?.1,
    };
    Some(
        GROUND
            .split_whitespace()
            .chain(above.split_whitespace())
            .collect(),
    )
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The first segments of `crate::…` paths in a source text, also inside `crate::{a::b, c}`.
fn used(text: &str) -> Vec<(usize, String)> {
    let name = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect()
    };
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices("crate::") {
            let rest = &code[at + "crate::".len()..];
            match rest.strip_prefix('{') {
                Some(group) => {
                    found.extend(group.split(',').map(|one| (number + 1, name(one.trim()))));
                }
                None => found.push((number + 1, name(rest))),
            }
        }
    }
    found
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn module_of(file: &Path) -> String {
    let inside = file.strip_prefix(source_folder()).unwrap();
    let first = inside
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn every_module_uses_only_what_its_layer_may() {
    let mut files = Vec::new();
    rust_files(&source_folder(), &mut files);
    let mut faults = Vec::new();
    for file in files {
        let module = module_of(&file);
        if module == "lib" {
            continue;
        }
        let Some(may) = may_use(&module) else {
            faults.push(format!(
                "{}: `{module}` has no place in the layers",
                file.display()
            ));
            continue;
        };
        // Tests inside a module may build what they test with.
        let is_test = file.file_name().is_some_and(|name| name == "tests.rs");
        let text = fs::read_to_string(&file).unwrap();
        let text = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        for (line, target) in used(text) {
            if target != module && !is_test && !may.contains(&target.as_str()) {
                faults.push(format!(
                    "{}:{line}: `{module}` may not use `{target}`",
                    file.display()
                ));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_reader_of_paths_finds_groups_and_ignores_comments() {
    let text = "use crate::store::Store;\nuse crate::{auth::Sealer, clock};\n// crate::cli\nlet x = crate::net::y();";
    let names: Vec<String> = used(text).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["store", "auth", "clock", "net"]);
}

#[test]
fn the_protocol_layer_has_no_io_clock_or_randomness() {
    let mut files = Vec::new();
    rust_files(&source_folder().join("protocol"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in [
            "tokio",
            "sqlx",
            "axum",
            "hyper::",
            "std::fs",
            "std::net::Tcp",
            "new_v4",
            "now_v7",
        ] {
            assert!(
                !text.contains(word),
                "{}: `{word}` does not belong there",
                file.display()
            );
        }
    }
}

#[test]
fn no_file_outgrows_its_budget() {
    let mut files = Vec::new();
    rust_files(&source_folder(), &mut files);
    rust_files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/src"),
        &mut files,
    );
    let large: Vec<String> = files
        .iter()
        .filter(|file| file.file_name().is_some_and(|name| name != "tests.rs"))
        .map(|file| (file, fs::read_to_string(file).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 500)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(large.is_empty(), "over 500 lines:\n{}", large.join("\n"));
}

#[test]
fn no_banned_crate_is_in_the_tree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::read_to_string(folder.join("Cargo.lock")).unwrap();
    let rules = fs::read_to_string(folder.join("deny.toml")).unwrap();
    let banned: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ name = \"")?.split('"').next())
        .collect();
    assert!(banned.contains(&"openssl-sys") && banned.contains(&"aws-lc-sys"));
    for name in banned {
        assert!(
            !lock.contains(&format!("name = \"{name}\"")),
            "{name} is in Cargo.lock"
        );
    }
}
