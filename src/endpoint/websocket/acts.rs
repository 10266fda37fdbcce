//! What frames ask for, done: each function is one call below and its answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::close::{self, Close};
use super::frames::{PresenceView, Ref, ServerFrame};
use super::source::Memory;
use crate::auth::audit::{Audit, Event, Outcome};
use crate::auth::{Authenticator, Guesses, Permission, Presented};
use crate::clock::Clock;
use crate::endpoint::http::{ApiError, ReceiptView, full_message};
use crate::envelope::Principal;
use crate::intake::{Arrival, Intake, LocalNames, Refusal, Taken, VERIFICATION};
use crate::live::{Asked, Live, OpenFault, Opening, Session, SessionKind, wait_for_reply};
use crate::protocol::{Address, ErrorCode, MessageId};
use crate::store::{AgentKind, Listing, Store, StoreError};
use crate::topics::Topics;

/// A frame carries this much more than its message at most.
const AROUND: usize = 64 * 1024;
/// How many unacknowledged messages a client takes that does not say.
const USUAL_CREDIT: u32 = 16;
/// Messages that are coming hold at most this much memory together, over all connections.
const MEMORY: usize = 256 * 1024 * 1024;

/// What conversations work with. Cloning is cheap.
#[derive(Clone)]
pub struct Tools {
    /// The door.
    pub intake: Intake,
    /// What is kept.
    pub store: Store,
    /// Who is calling.
    pub auth: Authenticator,
    /// Which names are ours.
    pub names: Arc<LocalNames>,
    /// The sessions of this gateway.
    pub live: Live,
    /// What goes to many.
    pub topics: Topics,
    /// What time it is.
    pub clock: Clock,
    /// Holds up those who guess.
    pub guesses: Guesses,
    /// Where what was done is written down.
    pub audit: Audit,
    /// Given when the gateway drains.
    pub draining: CancellationToken,
    /// What messages that are coming may take.
    pub room: Room,
}

/// What all conversations of a gateway share. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Room {
    pub(crate) memory: Memory,
    /// Whether messages are compressed for those who offer it.
    pub compression: bool,
}

impl Room {
    /// Room for messages of at most so many bytes.
    #[must_use]
    pub fn new(message_size: usize, compression: bool) -> Self {
        Self {
            memory: Memory::new(MEMORY.max(2 * message_size)),
            compression,
        }
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The other end; unspecified where we chose it.
    pub remote: IpAddr,
    /// The other end, as operators are shown it.
    pub place: String,
    /// The chain of certificates it showed.
    pub certificates: Arc<[CertificateDer<'static>]>,
    /// Which way it was opened.
    pub kind: SessionKind,
}

/// What a client asks for when it opens a session.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The most unacknowledged messages.
    pub credit: Option<u32>,
    /// The session to go on with.
    pub resume: Option<String>,
    /// The mailbox, where it is not its own.
    pub inbox: Option<Address>,
}

/// An open session, whose it is, and what is said about it.
pub(crate) struct Entered {
    pub(crate) session: Session,
    pub(crate) principal: Principal,
    pub(crate) frames: Vec<ServerFrame>,
}

/// A message that was judged; whether its reply is waited for.
pub(crate) struct Begun {
    pub(crate) reference: Ref,
    pub(crate) taken: Result<Taken, Refusal>,
    pub(crate) wait: Option<(Duration, bool)>,
}

impl Tools {
    /// The largest frame that is taken of one who is known.
    pub(crate) fn largest(&self) -> usize {
        self.intake.read_limit() + AROUND
    }

    /// Finds out whose token this is.
    pub(crate) async fn principal(&self, token: &str, peer: &Peer) -> Result<Principal, Close> {
        match self.auth.bearer(token).await {
            Ok(Presented::Principal(principal)) => Ok(principal),
            Ok(_) => Err(self.wrong(peer).await),
            Err(error) => Err(trouble(&error)),
        }
    }

    /// Notes a wrong credential, and answers when it may be told.
    async fn wrong(&self, peer: &Peer) -> Close {
        let who = "anonymous".to_owned();
        let event = Event::new("auth.failed", who, "/v1/ws", Outcome::Denied);
        let id = self.clock.mint_v7().to_string();
        self.audit.note(event.in_request(&id, peer.remote));
        match self.guesses.wrong(peer.remote).await {
            Ok(()) => Close::of(
                close::UNAUTHENTICATED,
                "the token is not, or no longer, good",
            ),
            Err(_) => Close::of(close::LATER, "too many wrong tokens: come again later"),
        }
    }

    /// Opens the session that is asked for.
    pub(crate) async fn enter(
        self,
        principal: Principal,
        (wish, peer): (Wish, Peer),
        reference: Ref,
    ) -> Result<Entered, Close> {
        let Principal::Agent {
            id,
            address,
            key_id,
            ..
        } = &principal
        else {
            return Err(Close::of(close::FORBIDDEN, "only agents have sessions"));
        };
        if !Permission::Receive.allows(&principal) {
            let reason = "the credential lacks the scope `receive`";
            return Err(Close::of(close::FORBIDDEN, reason));
        }
        let (mailbox, inbox) = match &wish.inbox {
            Some(inbox) if inbox != address => (self.group(inbox, address).await?, inbox),
            _ => (*id, address),
        };
        let credit = wish.credit.unwrap_or(USUAL_CREDIT);
        let opening = Opening {
            mailbox,
            agent: *id,
            address: address.clone(),
            key_id: key_id.clone(),
            kind: peer.kind,
            remote: Some(peer.place.clone()),
            resume: wish.resume.clone(),
            credit: credit.min(super::dialogue::MOST_CREDIT),
        };
        let mut frames = Vec::new();
        let session = match self.live.open(opening.clone()).await {
            Err(OpenFault::BadResume) => {
                // Who guesses waits; who was away too long goes on anew.
                let _ = self.guesses.wrong(peer.remote).await;
                frames.push(unknown_resume(reference.clone()));
                let resume = None;
                self.live.open(Opening { resume, ..opening }).await
            }
            opened => opened,
        }
        .map_err(|fault| unopened(&fault))?;
        frames.push(ServerFrame::Welcome {
            reference,
            session: session.id(),
            resume: session.resume_token().to_owned(),
            resumed: session.is_resumed(),
            address: address.to_string(),
            inbox: inbox.to_string(),
            heartbeat: self.live.rules().heartbeat.as_secs_f64(),
            credit,
            max_frame: self.largest(),
        });
        Ok(Entered {
            session,
            principal,
            frames,
        })
    }

    /// The mailbox of a group that an agent is in. One it is not in and none at all look alike.
    async fn group(&self, inbox: &Address, member: &Address) -> Result<i64, Close> {
        let none = || Close::of(close::FORBIDDEN, "this inbox is not yours");
        if !self.names.is_local(inbox.domain()) {
            return Err(none());
        }
        let found = self.names.find(&self.store, inbox).await;
        let agent = found.map_err(|error| trouble(&error))?.ok_or_else(none)?;
        let members = agent.settings.group.as_ref().map(|group| &group.members);
        let is_in = agent.settings.kind == AgentKind::Group
            && members.is_some_and(|members| members.contains(member));
        is_in.then_some(agent.id).ok_or_else(none)
    }

    /// Judges a message and hands it to the store, in the order of these calls.
    pub(crate) async fn begin(
        self,
        (principal, peer): (Principal, Peer),
        (raw, reference): (Bytes, Ref),
        wait: Option<(Duration, bool)>,
    ) -> Begun {
        let arrival = Arrival {
            raw,
            presented: Presented::Principal(principal),
            remote: peer.remote,
            certificates: peer.certificates,
            request_id: self.clock.mint_v7().to_string(),
            verify_by: self.clock.monotonic() + VERIFICATION,
            reads_answers: true,
            succession: None,
        };
        Begun {
            reference,
            taken: self.intake.begin(arrival, None).await,
            wait,
        }
    }

    /// The answer to a message, once it is on disk; to a request, with its reply.
    pub(crate) async fn settle(self, begun: Begun) -> ServerFrame {
        let reference = begun.reference.clone();
        let answer = self.answer(begun).await;
        answer.unwrap_or_else(|error| complaint(reference, &error))
    }

    async fn answer(self, begun: Begun) -> Result<ServerFrame, ApiError> {
        let reference = begun.reference;
        let taken = begun.taken?;
        let sender = taken.sender().clone();
        let receipt = taken.receipt().await?;
        let Some((wait, acknowledge)) = begun.wait else {
            let receipt = ReceiptView::of(receipt);
            return Ok(ServerFrame::Receipt {
                reference,
                receipt,
                version: None,
            });
        };
        let addresses = receipt.recipients.iter().map(|it| it.address.clone());
        let asked = Asked {
            message_id: receipt.message_id.clone(),
            sender,
            recipients: addresses.collect(),
        };
        let tools = (&self.store, &self.clock);
        let Some(replied) = wait_for_reply(tools, &asked, wait, &self.draining).await? else {
            let receipt = ReceiptView::of(receipt);
            return Ok(ServerFrame::Receipt {
                reference,
                receipt,
                version: None,
            });
        };
        if acknowledge && let Some(agent) = self.names.find(&self.store, &asked.sender).await? {
            let ids = vec![replied.stored.message_id.clone()];
            let now = self.clock.now();
            self.store.acknowledge(agent.id, ids, now).await?;
        }
        Ok(ServerFrame::Reply {
            reference,
            message_id: receipt.message_id.as_str().to_owned(),
            message: full_message(&replied.stored, &[])?,
        })
    }

    /// Which of these agents are connected. One that is not shown to strangers looks as if it were
    /// not there to others than itself.
    pub(crate) async fn presence(
        self,
        asker: &Principal,
        (addresses, reference): (Vec<Address>, Ref),
    ) -> ServerFrame {
        let number = match asker {
            Principal::Agent { id, .. } => *id,
            _ => 0,
        };
        match self.present(number, addresses).await {
            Ok(agents) => ServerFrame::Presence { reference, agents },
            Err(error) => complaint(reference, &error.into()),
        }
    }

    async fn present(
        &self,
        asker: i64,
        addresses: Vec<Address>,
    ) -> Result<Vec<PresenceView>, StoreError> {
        let mut mailboxes = Vec::with_capacity(addresses.len());
        for address in &addresses {
            let agent = match self.names.is_local(address.domain()) {
                true => self.names.find(&self.store, address).await?,
                false => None,
            };
            let shown = agent
                .filter(|it| it.id == asker || it.settings.listing() == Listing::Listed)
                .map(|it| it.id);
            mailboxes.push(shown);
        }
        let known: Vec<i64> = mailboxes.iter().flatten().copied().collect();
        let found = self.live.presence(&known).await?;
        let sessions = |mailbox: Option<i64>| {
            let of = found.iter().find(|it| Some(it.mailbox) == mailbox);
            of.map_or(0, |it| it.sessions)
        };
        let view = |(address, mailbox): (Address, Option<i64>)| PresenceView {
            address: address.to_string(),
            connected: sessions(mailbox) > 0,
            sessions: sessions(mailbox),
        };
        Ok(addresses.into_iter().zip(mailboxes).map(view).collect())
    }
}

/// The answer to what was acknowledged or put back: nothing where all was found and nobody asks.
pub(crate) fn marked(
    ids: &[String],
    found: Result<Vec<bool>, StoreError>,
    reference: Ref,
) -> Option<ServerFrame> {
    let found = match found {
        Ok(found) => found,
        Err(error) => return Some(complaint(reference, &error.into())),
    };
    let missing = ids.iter().zip(&found).filter(|(_, found)| !**found);
    let missing: Vec<&str> = missing.map(|(id, _)| id.as_str()).collect();
    if missing.is_empty() {
        return reference.map(|reference| ServerFrame::Done { reference });
    }
    let error = ApiError::new(ErrorCode::NotFound)
        .message("Some of these messages are not in the inbox.")
        .details(json!({ "not_found": missing }));
    Some(complaint(reference, &error))
}

/// The texts of ids, for an answer.
pub(crate) fn texts(ids: &[MessageId]) -> Vec<String> {
    ids.iter().map(|id| id.as_str().to_owned()).collect()
}

/// A refusal as a frame; its cause goes to the log.
pub(crate) fn complaint(reference: Ref, error: &ApiError) -> ServerFrame {
    let said = error.said();
    if let Some(cause) = said.cause {
        tracing::info!(error.code = %said.code, error.cause = cause, "a frame was refused");
    }
    ServerFrame::Error {
        reference,
        code: said.code,
        message: said.message.to_owned(),
        details: said.details.cloned(),
        retry_after: said.retry_after.map(|wait| wait.as_secs_f64()),
    }
}

fn unknown_resume(reference: Ref) -> ServerFrame {
    let error = ApiError::new(ErrorCode::NotFound)
        .message("There is no session to go on with under this token: a new one is opened.");
    complaint(reference, &error)
}

fn unopened(fault: &OpenFault) -> Close {
    match fault {
        OpenFault::TooMany => Close::of(close::TOO_MANY, fault.to_string()),
        OpenFault::Gone => Close::of(close::ENDED, fault.to_string()),
        OpenFault::BadResume => Close::of(close::INTERNAL, ""),
        OpenFault::Store(error) => trouble(error),
    }
}

fn trouble(error: &StoreError) -> Close {
    tracing::warn!(%error, "no session could be opened");
    Close::of(close::LATER, "the gateway cannot do this at present")
}
