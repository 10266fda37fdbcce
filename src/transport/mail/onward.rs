//! Mail for people of our own domains, on its way to the server that has their mailboxes.

use super::dialogue::Sending;
use super::route::{Protection, Stop};
use super::{Heard, MailTransport};

/// What the next hop said of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// It has the mail.
    Taken,
    /// Not now; in its words, for the server that handed us the mail.
    Later(String),
    /// Never; likewise.
    Refused(String),
}

impl MailTransport {
    /// Passes a mail as it came on to the next hop, to each recipient by itself. Nothing of it is kept:
    /// who handed it to us is told what the next hop says, and has it until then. Without a next hop
    /// everybody is refused.
    pub async fn pass_on(&self, from: &str, recipients: &[String], mail: &[u8]) -> Vec<Passed> {
        let Some(hop) = &self.settings.next_hop else {
            let refused = Passed::Refused("550 5.1.1 no such mailbox here".to_owned());
            return vec![refused; recipients.len()];
        };
        let stop = Stop {
            host: hop.host.clone(),
            port: hop.port,
            protection: Protection::Offered,
            login: None,
        };
        let later = |cause: &str| Passed::Later(format!("451 4.4.1 {cause}"));
        let mut connection = match self.reach(&stop).await {
            Ok(connection) => connection,
            Err(unreached) => {
                tracing::warn!(error = unreached.0, "the next hop cannot be reached");
                return vec![later("the next server cannot be reached"); recipients.len()];
            }
        };
        let mut passed = Vec::with_capacity(recipients.len());
        let mut broken = false;
        for to in recipients {
            if broken {
                passed.push(later("the next server went away"));
                continue;
            }
            let sending = Sending { from, to, mail };
            passed.push(match connection.send(&sending).await {
                Ok(_) => Passed::Taken,
                Err(Heard::TooLarge { .. }) => {
                    Passed::Refused("552 5.3.4 the mail is too large".to_owned())
                }
                Err(Heard::Refused(_, reply)) => {
                    broken = reply.code == 421 || !connection.reset().await;
                    match reply.is_permanent() {
                        true => Passed::Refused(reply.to_string()),
                        false => Passed::Later(reply.to_string()),
                    }
                }
                Err(Heard::Broken(..)) => {
                    broken = true;
                    later("the next server went away")
                }
            });
        }
        if !broken {
            connection.quit().await;
        }
        passed
    }
}
