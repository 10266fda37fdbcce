//! Where and when figures were taken.

use std::process::Command;

use serde::Serialize;

/// The machine, the moment and the program.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    /// Of the sources beside which the program ran.
    pub(crate) commit: String,
    pub(crate) processors: usize,
    pub(crate) model: String,
    pub(crate) kernel: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let model = model.map_or("", |rest| rest.trim_start_matches([' ', '\t', ':']));
        Self {
            date: said("date", &["-u", "+%Y-%m-%d"]),
            commit: said("git", &["rev-parse", "--short=10", "HEAD"]),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            model: model.to_owned(),
            kernel: said("uname", &["-sr"]),
        }
    }
}

/// What a command says, or nothing.
fn said(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}
