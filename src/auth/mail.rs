//! Who a mail is from: SPF, DKIM, DMARC and ARC (RFC 7208, 6376, 7489, 8617).
//!
//! - What counts is the domain of `From`, if there is exactly one author. DMARC passes where SPF or
//!   DKIM pass for a domain that is aligned with it. Where the domain has no DMARC record, a DKIM
//!   signature of it or SPF of exactly it counts as well.
//! - ARC counts only where the last to seal is one of the trusted forwarders, and only for what DMARC
//!   says no to.
//! - What the DNS leaves open is `temporary`: neither yes nor no.
//! - A mail is hostile: few signatures are looked at, few mails at a time, and for so long only. What a
//!   large one is hashed to is found out where nothing else waits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult, DmarcOutput, DmarcResult, MessageAuthenticator,
    SpfOutput, SpfResult,
};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::envelope::{Verification, VerificationResult};
use crate::protocol::Domain;

/// How long finding out about one mail may take.
const LONGEST: Duration = Duration::from_secs(20);
/// Mails at a time; the others wait.
const AT_ONCE: usize = 32;
/// Mails from this size on are hashed on a thread of their own.
const LARGE: usize = 256 * 1024;
/// So many of those at a time.
const HASHED_AT_ONCE: usize = 2;
/// Signatures that are looked at.
const SIGNATURES: usize = 8;
/// Header fields that one signature may name.
const FIELDS: usize = 128;
/// Seals of forwarders that are looked at.
const SEALS: usize = 10;
/// The field whose change would make other parts of the same bytes.
const STRUCTURE: &str = "content-type";

/// Looks at mail. Cloning is cheap.
#[derive(Clone)]
pub struct MailCheck {
    dns: MessageAuthenticator,
    host: Arc<str>,
    forwarders: Arc<[Domain]>,
    places: Arc<Semaphore>,
    hashing: Arc<Semaphore>,
    clock: Clock,
}

/// A mail as it came in.
#[derive(Debug, Clone)]
pub struct MailSent {
    /// From where.
    pub remote: IpAddr,
    /// How the client named itself.
    pub hello: String,
    /// Where reports go; empty for none.
    pub reverse_path: String,
    /// The mail.
    pub raw: Bytes,
}

/// What was found out about the sender of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailVerdict {
    /// Whether the domain of `From` stands behind it.
    pub outcome: MailOutcome,
    /// The word for what SPF says.
    pub spf: &'static str,
    /// The word for what the best DKIM signature says.
    pub dkim: &'static str,
    /// The word for what DMARC says.
    pub dmarc: &'static str,
    /// The word for what ARC says; `none` also where it was not asked.
    pub arc: &'static str,
}

/// Whether the domain of `From` stands behind a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailOutcome {
    /// It does, as found out by this method: `dmarc` or `dkim`.
    Verified {
        /// The method.
        method: &'static str,
        /// The domain of `From`.
        domain: Domain,
        /// Whether it also says that the parts of the mail are as they were.
        whole: Wholeness,
    },
    /// It came from an address that the domain names (SPF), or by way of a forwarder that is believed
    /// (ARC): by this method.
    Vouched {
        /// The method.
        method: &'static str,
        /// The domain of `From`.
        domain: Domain,
    },
    /// The domain says nothing of it.
    Unknown,
    /// The domain says how its mail is known, and this is not.
    Failed {
        /// What the domain asks for.
        request: MailRequest,
    },
    /// The DNS does not say at present.
    Temporary,
}

/// What the domain of a sender asks for where a mail is not its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailRequest {
    /// Nothing, or caution.
    Take,
    /// To refuse it.
    Refuse,
}

/// Whether a mail is proved to be as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wholeness {
    /// It is, or it came straight from where it was written.
    Proved,
    /// Its parts may have been cut otherwise.
    Open,
}

impl MailVerdict {
    /// The verdict on a mail that was not looked at.
    #[must_use]
    pub const fn unknown() -> Self {
        Self::of(MailOutcome::Unknown)
    }

    const fn of(outcome: MailOutcome) -> Self {
        Self {
            outcome,
            spf: "none",
            dkim: "none",
            dmarc: "none",
            arc: "none",
        }
    }

    /// The record of it for a sender of this domain: that of a verified one only where it is the
    /// domain that was verified.
    #[must_use]
    pub fn verification(&self, sender: &Domain) -> Verification {
        use VerificationResult::{Invalid, SourceAddress, Unsigned, Verified};
        let (result, method) = match &self.outcome {
            MailOutcome::Verified { method, domain, .. } if domain == sender => (Verified, *method),
            MailOutcome::Vouched { method, domain } if domain == sender => (SourceAddress, *method),
            MailOutcome::Failed { .. } => (Invalid, "dmarc"),
            _ => (Unsigned, "none"),
        };
        Verification::mail(result, method, sender)
    }

    /// The domain whose word the content of the mail can be taken for.
    #[must_use]
    pub const fn authenticated(&self) -> Option<&Domain> {
        match &self.outcome {
            MailOutcome::Verified {
                domain,
                whole: Wholeness::Proved,
                ..
            } => Some(domain),
            _ => None,
        }
    }
}

impl MailCheck {
    /// A check that asks `dns`, for a server of this name. Forwarders are those whose ARC seal counts.
    #[must_use]
    pub fn new(dns: TokioResolver, host: &str, forwarders: &[Domain], clock: Clock) -> Self {
        Self {
            dns: MessageAuthenticator(dns),
            host: host.into(),
            forwarders: forwarders.into(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            hashing: Arc::new(Semaphore::new(HASHED_AT_ONCE)),
            clock,
        }
    }

    /// Finds out about the sender of a mail. It takes 20 s at most; then the answer is `Temporary`.
    pub async fn check(&self, sent: MailSent) -> MailVerdict {
        let looked = async {
            let _place = self.places.acquire().await;
            match sent.raw.len() < LARGE {
                true => Some(self.look(&sent, None).await),
                false => self.look_apart(sent).await,
            }
        };
        let verdict = self.clock.within(LONGEST, looked).await.flatten();
        verdict.unwrap_or(MailVerdict::of(MailOutcome::Temporary))
    }

    /// Looks at a large mail on a thread of its own, and leaves it when nobody waits any more.
    async fn look_apart(&self, sent: MailSent) -> Option<MailVerdict> {
        let (left, this, runtime) = (CancellationToken::new(), self.clone(), Handle::current());
        let _leaves = left.clone().drop_guard();
        // Not a task: it ends with the one that waits for it.
        let looked = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = left.cancelled() => None,
                    verdict = this.look(&sent, Some(&this.hashing)) => Some(verdict),
                }
            })
        });
        looked.await.ok().flatten()
    }

    async fn look(&self, sent: &MailSent, hashing: Option<&Semaphore>) -> MailVerdict {
        let turn = match hashing {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        let Some(mut message) = AuthenticatedMessage::parse(&sent.raw) else {
            return MailVerdict::unknown();
        };
        drop(turn);
        message
            .dkim_headers
            .retain(|signature| signature.header.h.len() <= FIELDS);
        message.dkim_headers.truncate(SIGNATURES);
        let spf = self.spf(sent).await;
        let dkim = self.dns.verify_dkim(&message).await;
        let path = domain_of(&sent.reverse_path).unwrap_or(&sent.hello);
        let parameters = DmarcParameters::new(&message, &dkim, path, &spf);
        let dmarc = self.dns.verify_dmarc(parameters).await;
        let mut verdict = MailVerdict {
            outcome: outcome(&message, (&spf, path), &dkim, &dmarc),
            spf: spf_word(spf.result()),
            dkim: best(&dkim),
            dmarc: dmarc_word(&dmarc.result()),
            arc: "none",
        };
        if matches!(verdict.outcome, MailOutcome::Failed { .. }) {
            self.ask_forwarders(&message, &mut verdict).await;
        }
        verdict
    }

    async fn spf(&self, sent: &MailSent) -> SpfOutput {
        let remote = sent.remote.to_canonical();
        let (hello, path) = (sent.hello.as_str(), sent.reverse_path.as_str());
        let asked = match path {
            "" => SpfParameters::verify_ehlo(remote, hello, &self.host),
            path => SpfParameters::verify_mail_from(remote, hello, &self.host, path),
        };
        self.dns.verify_spf(asked).await
    }

    /// Believes the last forwarder of a whole chain, if it is a trusted one that says that the mail was
    /// verified when it came there.
    async fn ask_forwarders(&self, message: &AuthenticatedMessage<'_>, verdict: &mut MailVerdict) {
        let bounded = message.ams_headers.len() <= SEALS
            && message
                .ams_headers
                .iter()
                .all(|it| it.header.h.len() <= FIELDS);
        let Some(domain) = author(message).filter(|_| bounded && !self.forwarders.is_empty())
        else {
            return;
        };
        let chain = self.dns.verify_arc(message).await;
        verdict.arc = dkim_word(chain.result());
        let (Some(seal), Some(said)) = (message.as_headers.last(), message.aar_headers.last())
        else {
            return;
        };
        let sealer = Domain::parse(&seal.header.d);
        let trusted = sealer.is_ok_and(|sealer| self.forwarders.contains(&sealer));
        let passed = said
            .value
            .split(|byte| matches!(byte, b';' | b' ' | b'\t' | b'\r' | b'\n'))
            .any(|word| word.eq_ignore_ascii_case(b"dmarc=pass"));
        if trusted && passed && *chain.result() == DkimResult::Pass {
            verdict.outcome = MailOutcome::Vouched {
                method: "arc",
                domain,
            };
        }
    }
}

/// The domain of the one author.
fn author(message: &AuthenticatedMessage<'_>) -> Option<Domain> {
    match message.froms() {
        [one] => Domain::parse(domain_of(one)?).ok(),
        _ => None,
    }
}

fn domain_of(address: &str) -> Option<&str> {
    address.rsplit_once('@').map(|(_, domain)| domain)
}

fn outcome(
    message: &AuthenticatedMessage<'_>,
    (spf, path): (&SpfOutput, &str),
    dkim: &[DkimOutput<'_>],
    dmarc: &DmarcOutput,
) -> MailOutcome {
    let Some(domain) = author(message) else {
        return MailOutcome::Unknown;
    };
    match dmarc.result() {
        DmarcResult::Pass => MailOutcome::Verified {
            method: "dmarc",
            whole: match *dmarc.spf_result() == DmarcResult::Pass || covers_structure(&domain, dkim)
            {
                true => Wholeness::Proved,
                false => Wholeness::Open,
            },
            domain,
        },
        DmarcResult::TempError(_) => MailOutcome::Temporary,
        DmarcResult::Fail(_) => MailOutcome::Failed {
            request: match dmarc.policy() {
                Policy::Reject => MailRequest::Refuse,
                _ => MailRequest::Take,
            },
        },
        DmarcResult::PermError(_) | DmarcResult::None => without_record(domain, (spf, path), dkim),
    }
}

/// What is known where the domain has no DMARC record.
fn without_record(
    domain: Domain,
    (spf, path): (&SpfOutput, &str),
    dkim: &[DkimOutput<'_>],
) -> MailOutcome {
    let own = |output: &&DkimOutput<'_>| signer(output).is_some_and(|signer| signer == domain);
    let passes = |output: &DkimOutput<'_>| *output.result() == DkimResult::Pass;
    if dkim.iter().filter(own).any(passes) {
        return MailOutcome::Verified {
            method: "dkim",
            whole: match covers_structure(&domain, dkim) {
                true => Wholeness::Proved,
                false => Wholeness::Open,
            },
            domain,
        };
    }
    let same = Domain::parse(path).is_ok_and(|path| path == domain);
    let open = |output: &DkimOutput<'_>| matches!(output.result(), DkimResult::TempError(_));
    match spf.result() {
        SpfResult::Pass if same => MailOutcome::Vouched {
            method: "spf",
            domain,
        },
        SpfResult::TempError if same => MailOutcome::Temporary,
        _ if dkim.iter().filter(own).any(open) => MailOutcome::Temporary,
        _ => MailOutcome::Unknown,
    }
}

fn signer(output: &DkimOutput<'_>) -> Option<Domain> {
    Domain::parse(&output.signature()?.d).ok()
}

/// Whether a good signature of the domain, or of one above it, covers what says where parts begin.
fn covers_structure(domain: &Domain, dkim: &[DkimOutput<'_>]) -> bool {
    let related = |signer: &Domain| {
        let (one, other) = (signer.as_str(), domain.as_str());
        let below = |one: &str, other: &str| {
            one.strip_suffix(other)
                .is_some_and(|rest| rest.ends_with('.'))
        };
        one == other || below(other, one) || below(one, other)
    };
    dkim.iter()
        .filter(|output| *output.result() == DkimResult::Pass)
        .filter(|output| signer(output).as_ref().is_some_and(related))
        .filter_map(|output| output.signature())
        .any(|signature| {
            signature
                .h
                .iter()
                .any(|field| field.eq_ignore_ascii_case(STRUCTURE))
        })
}

fn best(dkim: &[DkimOutput<'_>]) -> &'static str {
    let words = dkim.iter().map(|output| dkim_word(output.result()));
    let order = ["pass", "temperror", "fail", "permerror", "neutral", "none"];
    let place = |word: &&str| {
        order
            .iter()
            .position(|it| it == word)
            .unwrap_or(order.len())
    };
    words.min_by_key(place).unwrap_or("none")
}

const fn dkim_word(result: &DkimResult) -> &'static str {
    match result {
        DkimResult::Pass => "pass",
        DkimResult::Neutral(_) => "neutral",
        DkimResult::Fail(_) => "fail",
        DkimResult::PermError(_) => "permerror",
        DkimResult::TempError(_) => "temperror",
        DkimResult::None => "none",
    }
}

const fn dmarc_word(result: &DmarcResult) -> &'static str {
    match result {
        DmarcResult::Pass => "pass",
        DmarcResult::Fail(_) => "fail",
        DmarcResult::PermError(_) => "permerror",
        DmarcResult::TempError(_) => "temperror",
        DmarcResult::None => "none",
    }
}

const fn spf_word(result: SpfResult) -> &'static str {
    match result {
        SpfResult::Pass => "pass",
        SpfResult::Fail => "fail",
        SpfResult::SoftFail => "softfail",
        SpfResult::Neutral => "neutral",
        SpfResult::TempError => "temperror",
        SpfResult::PermError => "permerror",
        SpfResult::None => "none",
    }
}
