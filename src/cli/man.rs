//! `amtpd man`: the manual pages, for packages.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _};

use super::Cli;

/// Write the manual pages, one for each command
#[derive(Debug, Args)]
pub(super) struct ManCommand {
    /// The folder to write into; it is made if it is not there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl ManCommand {
    pub(super) fn run(self) -> Result<()> {
        let written = || {
            fs::create_dir_all(&self.dir)?;
            clap_mangen::generate_to(Cli::command(), &self.dir)
        };
        written().with_context(|| format!("cannot write into {}", self.dir.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn page(dir: &Path, name: &str) -> String {
        fs::read_to_string(dir.join(name)).unwrap()
    }

    #[test]
    fn every_command_that_is_shown_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("man/man1");
        ManCommand { dir: dir.clone() }.run().unwrap();
        for command in Cli::command().get_subcommands() {
            let file = dir.join(format!("amtpd-{}.1", command.get_name()));
            assert_eq!(file.exists(), !command.is_hide_set(), "{}", file.display());
        }
        assert!(page(&dir, "amtpd.1").contains("quickstart"));
        assert!(page(&dir, "amtpd-agent-add.1").contains("mode"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("file/man");
        fs::write(folder.path().join("file"), "").unwrap();
        let error = ManCommand { dir }.run().unwrap_err();
        assert!(format!("{error:#}").contains("file/man"), "{error:#}");
    }
}
