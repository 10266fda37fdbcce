//! Documents: links lead somewhere, and what they tell to type works when it is typed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::amtpd;

const BEGIN: &str = "<!-- run: begin -->";
const END: &str = "<!-- run: end -->";

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages: BTreeMap<PathBuf, String> = pages(root)
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    let anchors: BTreeMap<&Path, BTreeSet<String>> = pages
        .iter()
        .map(|(path, text)| (path.as_path(), anchors(text)))
        .collect();
    let mut wrong = Vec::new();
    for (path, text) in &pages {
        for link in links(text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => plain(&path.parent().unwrap().join(file)),
            };
            let known = anchors.get(target.as_path());
            let leads = match (anchor, known) {
                ("", _) => target.exists(),
                (anchor, Some(known)) => known.contains(anchor),
                (_, None) => false,
            };
            if !leads {
                wrong.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(pages.len() > 30, "{} pages", pages.len());
    assert!(wrong.is_empty(), "links to nothing:\n{}", wrong.join("\n"));
}

/// The pages of the project, without those of its dependencies and builds.
fn pages(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    let mut folders: Vec<PathBuf> = ["conformance", "deploy", "docs", "policies", "schemas"]
        .map(|folder| root.join(folder))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// The targets of links within the project.
fn links(text: &str) -> impl Iterator<Item = &str> {
    outside_code(text).flat_map(|line| {
        line.split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target)
            .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
    })
}

/// What links to headings of a page end with, as forges make it.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for heading in outside_code(text).filter(|line| line.starts_with('#')) {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let slug: String = words
            .chars()
            .filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'))
            .map(|it| if it == ' ' { '-' } else { it })
            .collect();
        let mut name = slug.clone();
        let mut number = 0;
        while !found.insert(name.clone()) {
            number += 1;
            name = format!("{slug}-{number}");
        }
    }
    found
}

fn outside_code(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn the_readme_works_as_it_is_written() {
    let shown = follow(&["README.md"]);
    for expected in [
        r#""ready":true"#,
        "bob@example.test  delivered",
        "Hello",
        r#"{"n": 1}"#,
    ] {
        assert!(shown.contains(expected), "no {expected} in:\n{shown}");
    }
}

#[test]
fn the_guides_work_as_they_are_written() {
    let shown = follow(&["docs/getting-started.md", "docs/agents.md"]);
    for expected in [
        r#""ready":true"#,
        "Paper clips",
        "acknowledged",
        "Nothing waits.",
        r#""status":"acknowledged""#,
        "asked by alice@example.test",
        "{ answer: 42 }",
    ] {
        assert!(shown.contains(expected), "no {expected} in:\n{shown}");
    }
}

/// Types what pages tell to type, one page after the other, on a machine of its own: a home, a
/// network, and processes that end with it. Gives what was printed.
fn follow(pages: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = tempfile::tempdir().unwrap();
    let mut script = "set -euo pipefail\nip link set lo up\n".to_owned();
    for page in pages {
        let text = fs::read_to_string(root.join(page)).unwrap();
        script += &typed(&text);
    }
    let tools = home.path().join("tools");
    fs::create_dir(&tools).unwrap();
    let program = amtpd().get_program().to_owned();
    std::os::unix::fs::symlink(&program, tools.join("amtpd")).unwrap();
    // The program is built already.
    script.insert_str(0, "cargo() { test \"$*\" = 'build --release'; }\n");
    let path = std::env::join_paths(
        std::iter::once(tools)
            .chain(["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from)),
    );
    let done = Command::new("timeout")
        .args([
            "--kill-after=5",
            "120",
            "unshare",
            "--net",
            "--pid",
            "--fork",
        ])
        .args(["--kill-child", "--mount-proc", "bash", "-c", &script])
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", path.unwrap())
        .current_dir(home.path())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}\n{shown}\n{errors}", done.status);
    shown
}

/// The shell blocks between the marks, and the files that blocks with a `file=` become.
fn typed(text: &str) -> String {
    let mut script = String::new();
    for part in text.split(BEGIN).skip(1) {
        let part = part.split_once(END).expect("an end mark").0;
        for block in part.split("```").skip(1).step_by(2) {
            let (language, body) = block.split_once('\n').unwrap();
            match language.split_once("file=") {
                Some((_, file)) => write!(script, "cat > {file} <<'THE-END'\n{body}THE-END\n"),
                None if language == "sh" => write!(script, "{body}"),
                None => Ok(()),
            }
            .unwrap();
        }
    }
    assert!(!script.is_empty(), "nothing is to be typed");
    script
}
