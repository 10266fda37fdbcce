//! The way to people: mail to domains without a gateway (AMTP 1.0, section 11; RFC 5321).
//!
//! - One transaction a recipient, so that one who is refused loses nothing for the others; what the
//!   server said of it stands in the history with its code. A connection serves all that goes to one
//!   domain in one attempt.
//! - The hosts of a domain are tried in turn until one greets us; see [`route`] for which, and how the
//!   connection is protected.
//! - Every mail goes out under an address of its own, by which reports find back. A notice goes out
//!   under none.
//! - An address that mail came back from for good gets no more; see [`crate::store::Suppression`].
//! - What is unknown defers. A mail whose last answer was lost is sent again under the same
//!   `Message-ID`.

mod compose;
mod connection;
mod dialogue;
mod dkim;
mod judgement;
mod onward;
mod reply;
mod report;
mod route;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::time::Duration;

use super::behind::Behind;
use super::text::trouble;
use super::{
    Attempted, Carrying, Copy, Destination, Fault, Load, Outcome, Parcel, Transport, Trouble,
};
use crate::clock::Clock;
use crate::config::{MailServer, MailTls, Secret, SmarthostTls};
use crate::discovery::{Discovery, DiscoveryFault, MailRoute, MtaSts};
use crate::mime::Face;
use crate::net::MailLines;
use crate::protocol::{Domain, ErrorCode};
use crate::store::{Because, Sealer, Store};
use connection::{Connection, Unreached};
use dialogue::{Fault as Heard, Sending, Step};
use judgement::{Mailbox, judge};
use route::{NoWay, Routes, Stop};

pub use dkim::{MailSigner, SignFault};

/// So long for all hosts of a domain together, until one of them takes mail.
const OPENING: Duration = Duration::from_secs(600);
/// What one connection carries in one attempt.
const LOAD: Load = Load {
    messages: 20,
    bytes: 32 << 20,
};

/// Who we are to a mail server.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: Secret,
}

/// A server that takes all mail.
#[derive(Debug, Clone)]
pub struct SmarthostSettings {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmarthostTls,
    /// Who we are to it.
    pub login: Option<Login>,
}

/// How mail goes out.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// The name of this host.
    pub host: Domain,
    /// Our domains; at least one.
    pub domains: Vec<Domain>,
    /// Whose address stands in `From`.
    pub face: Face,
    /// How connections to mail exchanges are protected.
    pub tls: MailTls,
    /// The port of mail exchanges.
    pub port: u16,
    /// Who carries all mail.
    pub smarthost: Option<SmarthostSettings>,
    /// Who has the mail of people in `onward`.
    pub next_hop: Option<MailServer>,
    /// Domains of ours that have people too.
    pub onward: HashSet<Domain>,
}

/// What the transport to people works with.
#[derive(Clone)]
pub struct MailTools {
    /// What is kept.
    pub store: Store,
    /// Where mail goes.
    pub discovery: Discovery,
    /// The way out.
    pub lines: MailLines,
    /// What signs return paths.
    pub sealer: Sealer,
    /// What time it is.
    pub clock: Clock,
}

/// Carries parcels as mail.
pub struct MailTransport {
    store: Store,
    discovery: Discovery,
    lines: MailLines,
    sealer: Sealer,
    clock: Clock,
    settings: MailSettings,
    policies: Option<MtaSts>,
    signer: Option<MailSigner>,
}

impl MailTransport {
    /// Carries by these settings, and signs nothing yet.
    #[must_use]
    pub fn new(tools: MailTools, settings: MailSettings) -> Self {
        Self {
            store: tools.store,
            discovery: tools.discovery,
            lines: tools.lines,
            sealer: tools.sealer,
            clock: tools.clock,
            settings,
            policies: None,
            signer: None,
        }
    }

    /// Asks for the policies of domains (MTA-STS).
    #[must_use]
    pub fn with_policies(self, policies: MtaSts) -> Self {
        Self {
            policies: Some(policies),
            ..self
        }
    }

    /// Signs what it carries.
    #[must_use]
    pub fn with_signer(self, signer: MailSigner) -> Self {
        Self {
            signer: Some(signer),
            ..self
        }
    }

    /// Whether a domain takes mail at all.
    ///
    /// # Errors
    /// Nobody knows at the moment.
    pub async fn takes(&self, domain: &Domain) -> Result<bool, DiscoveryFault> {
        let route = self.discovery.mail_exchanges(domain).await?;
        Ok(route != MailRoute::None)
    }

    async fn deliver(&self, domain: &Domain, parcels: &[Parcel]) -> Vec<Vec<Attempted>> {
        let mut round = Round {
            way: None,
            connection: None,
            trouble: None,
        };
        let mut behind = Behind::default();
        let mut carried = Vec::with_capacity(parcels.len());
        for parcel in parcels {
            let mut attempts = Vec::with_capacity(parcel.copies.len());
            for copy in &parcel.copies {
                let attempted = match behind.what(parcel, copy) {
                    Some(outcome) => unsent(outcome),
                    None => self.deliver_one(domain, (parcel, copy), &mut round).await,
                };
                behind.note(parcel, copy, &attempted.outcome);
                attempts.push(attempted);
            }
            carried.push(attempts);
        }
        if let Some(connection) = round.connection {
            connection.quit().await;
        }
        carried
    }

    async fn deliver_one(
        &self,
        domain: &Domain,
        (parcel, copy): (&Parcel, &Copy),
        round: &mut Round,
    ) -> Attempted {
        if let Some(outcome) = self.suppressed(copy).await {
            return unsent(outcome);
        }
        let written = match self.write(parcel, copy).await {
            Ok(written) => written,
            Err(outcome) => return unsent(outcome),
        };
        let sending = Sending {
            from: &written.from,
            to: copy.recipient.as_str(),
            mail: &written.bytes,
        };
        let connection = match self.connection(domain, round).await {
            Ok(connection) => connection,
            Err(outcome) => return unsent(outcome),
        };
        let heard = connection.send(&sending).await;
        let (server, remote) = (connection.name(), connection.remote().to_string());
        let usable = match &heard {
            Ok(_) | Err(Heard::TooLarge { .. }) => true,
            Err(Heard::Refused(_, reply)) if reply.code != 421 => connection.reset().await,
            Err(_) => false,
        };
        if !usable {
            round.connection = None;
        }
        let (outcome, mailbox) = judge(heard, &server);
        self.note(parcel, copy, (&outcome, mailbox)).await;
        Attempted {
            outcome,
            remote: Some(remote),
            renew: false,
        }
    }

    /// The connection of this round, opened where there is none.
    async fn connection<'r>(
        &self,
        domain: &Domain,
        round: &'r mut Round,
    ) -> Result<&'r mut Connection, Outcome> {
        if let Some(trouble) = &round.trouble {
            return Err(Outcome::Deferred(trouble.clone()));
        }
        if round.connection.is_none() {
            let opening = self.open(domain, round);
            let opened = match self.clock.within(OPENING, opening).await {
                Some(opened) => opened,
                None => Err(Outcome::Deferred(too_slow(domain))),
            };
            let opened = opened.inspect_err(|outcome| {
                if let Outcome::Deferred(trouble) = outcome {
                    round.trouble = Some(trouble.clone());
                }
            })?;
            round.connection = Some(opened);
        }
        Ok(round.connection.as_mut().expect("it was opened"))
    }

    async fn open(&self, domain: &Domain, round: &mut Round) -> Result<Connection, Outcome> {
        if round.way.is_none() {
            let routes = Routes {
                settings: &self.settings,
                discovery: &self.discovery,
                policies: self.policies.as_ref(),
            };
            let stops = routes.stops(domain).await;
            round.way = Some(stops.map_err(|none| match none {
                NoWay::Later(trouble) => Outcome::Deferred(trouble),
                NoWay::Never(trouble) => Outcome::Failed(trouble),
            })?);
        }
        let mut last = String::new();
        for stop in round.way.iter().flatten() {
            match self.reach(stop).await {
                Ok(connection) => return Ok(connection),
                Err(Unreached(cause)) => last = cause,
            }
        }
        let words = format!("no mail server of {domain} can be reached: {last}");
        let code = ErrorCode::RecipientUnavailable;
        Err(Outcome::Deferred(trouble(code, Fault::Destination, &words)))
    }

    /// What is said of a recipient that no mail goes to any more.
    async fn suppressed(&self, copy: &Copy) -> Option<Outcome> {
        match self.store.find_suppression(&copy.recipient).await {
            Ok(None) => None,
            Ok(Some(found)) => {
                let words = format!(
                    "no mail goes to {} since {} ({}): {}",
                    copy.recipient,
                    found.since,
                    found.because.as_str(),
                    found.text
                );
                let code = ErrorCode::RecipientNotFound;
                Some(Outcome::Failed(trouble(code, Fault::Message, &words)))
            }
            Err(error) => Some(compose::kept_from_us(&error)),
        }
    }

    /// Puts an address that is gone on the list.
    async fn note(&self, parcel: &Parcel, copy: &Copy, (outcome, mailbox): (&Outcome, Mailbox)) {
        let (Outcome::Failed(trouble), Mailbox::Gone) = (outcome, mailbox) else {
            return;
        };
        let because = (Because::HardBounce, trouble.text.clone());
        let by = (parcel.stored.mid, self.clock.now());
        if let Err(error) = self.store.suppress(&copy.recipient, because, by).await {
            tracing::warn!(%error, "an address that is gone could not be noted");
        }
    }
}

/// What one attempt knows.
struct Round {
    /// Where it goes.
    way: Option<Vec<Stop>>,
    connection: Option<Connection>,
    /// Nobody can be reached.
    trouble: Option<Trouble>,
}

fn too_slow(domain: &Domain) -> Trouble {
    let words = format!("the mail servers of {domain} are too slow");
    let code = ErrorCode::RecipientUnavailable;
    trouble(code, Fault::Destination, &words)
}

fn unsent(outcome: Outcome) -> Attempted {
    Attempted {
        outcome,
        remote: None,
        renew: false,
    }
}

impl Transport for MailTransport {
    fn carry<'a>(&'a self, to: &'a Destination, parcels: Vec<Parcel>) -> Carrying<'a> {
        Box::pin(async move {
            if let Destination::Mail(domain) = to {
                return self.deliver(domain, &parcels).await;
            }
            let words = format!("{to} is no domain that takes mail");
            let trouble = trouble(ErrorCode::InternalError, Fault::Destination, &words);
            let each = |_: &Copy| unsent(Outcome::Deferred(trouble.clone()));
            let all = parcels
                .iter()
                .map(|parcel| parcel.copies.iter().map(each).collect());
            all.collect()
        })
    }

    fn load(&self, _to: &Destination) -> Load {
        LOAD
    }
}
