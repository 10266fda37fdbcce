//! `amtpd mail …`: what the bridge makes of a message, and of a mail. Nothing is sent or stored.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

mod operate;
mod parse;
mod render;
mod shown;

pub(super) use operate::{BridgeCommand, dkim_records};

/// See what the bridge to mail makes of a message, and of a mail
#[derive(Debug, Args)]
pub(super) struct MailCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Render(Box<render::RenderCommand>),
    Parse(parse::ParseCommand),
}

impl MailCommand {
    pub(super) fn run(self) -> Result<()> {
        match self.what {
            What::Render(command) => command.run(),
            What::Parse(command) => command.run(),
        }
    }
}

/// The bytes of a file, or of standard input for `-`; no more than `most`.
fn read(name: &str, most: usize) -> Result<Vec<u8>> {
    let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    if name == "-" {
        let input = std::io::stdin().lock();
        input
            .take(most)
            .read_to_end(&mut bytes)
            .context("standard input")?;
    } else {
        let file = std::fs::File::open(name).with_context(|| name.to_owned())?;
        file.take(most)
            .read_to_end(&mut bytes)
            .with_context(|| name.to_owned())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
