//! What a quickstart shows: a message from one domain to another, step by step.
//!
//! Every step is done and then checked through the gateways' public API, and has a deadline.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::agents::Agent;
use super::dns::Zone;
use super::sink::Caught;
use super::site::Site;
use super::voice::Voice;
use super::webhook::Call;
use crate::cli::client::{plain, refusal, segment};
use crate::clock::Clock;
use crate::net::{HickoryResolver, Resolver as _};

/// How long one step may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often the status of a message is looked at; nothing tells when it changes.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Those who take part.
pub(super) struct Cast {
    pub(super) alpha: Site,
    pub(super) beta: Site,
    pub(super) alice: Agent,
    pub(super) bob: Agent,
    pub(super) carol: Agent,
    pub(super) webhook: String,
}

/// What it is told with.
pub(super) struct Story {
    pub(super) cast: Arc<Cast>,
    pub(super) zone: Arc<Zone>,
    pub(super) resolver: Arc<HickoryResolver>,
    pub(super) calls: mpsc::Receiver<Call>,
    pub(super) caught: mpsc::Receiver<Caught>,
    pub(super) clock: Clock,
    pub(super) voice: Voice,
}

/// What the story leaves behind.
#[derive(Debug)]
pub(super) struct Told {
    /// The id of alice's message.
    pub(super) message_id: String,
    pub(super) steps: usize,
    pub(super) took: Duration,
}

impl Story {
    /// Tells it.
    ///
    /// # Errors
    /// The step that was not confirmed, and why.
    pub(super) async fn tell(mut self) -> Result<Told> {
        let begun = self.clock.monotonic();
        let domain = self.cast.beta.domain;
        let title = format!("1. Names: how does alpha.test find {domain}?");
        self.step(&title, self.names()).await?;
        let title = "2. alice@alpha.test writes to bob@beta.test and carol@beta.test";
        let before = self.zone.asked(&record_of(domain));
        let id = self.step(title, self.submit()).await?;
        let title = "3. The message crosses over to beta.test";
        self.step(title, self.cross(&id, before)).await?;
        let title = "4. bob's program is called";
        let mut calls = std::mem::replace(&mut self.calls, mpsc::channel(1).1);
        self.step(title, self.called(&mut calls, &id)).await?;
        let title = "5. bob's answer comes back to alice";
        let reply = self.step(title, self.reply(&id)).await?;
        let title = "6. alice asks what became of her message";
        self.step(title, self.status(&id)).await?;
        let title = "7. alice acknowledges the answer";
        self.step(title, self.acknowledge(&reply)).await?;
        let title = "8. alice writes to a person, who has mail and no gateway";
        let mut caught = std::mem::replace(&mut self.caught, mpsc::channel(1).1);
        let mail = self.step(title, self.write_to_dora(&mut caught)).await?;
        let title = "9. dora answers with her mail program";
        self.step(title, self.answer_of_dora(&mail)).await?;
        let title = "10. A program that speaks A2A calls bob, through a card of alpha.test";
        self.step(title, self.call_by_a2a()).await?;
        Ok(Told {
            message_id: id,
            steps: 10,
            took: self.clock.monotonic().saturating_sub(begun),
        })
    }

    async fn step<T>(&self, title: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.voice.heading(title)?;
        let begun = self.clock.monotonic();
        let done = self.clock.within(DEADLINE, work).await;
        let late = || Err(anyhow!("nothing came within {DEADLINE:?}"));
        let done = done
            .unwrap_or_else(late)
            .with_context(|| format!("step {title:?} was not confirmed"))?;
        let took = self.clock.monotonic().saturating_sub(begun);
        self.voice.confirmed(took)?;
        Ok(done)
    }

    async fn names(&self) -> Result<()> {
        let beta = &self.cast.beta;
        self.voice.say(
            "A domain that takes messages says so in the DNS: one record names its gateway, as MX \
             records name the servers of a mail domain. Two domains that want to write to each \
             other need nothing else: no contract, no server in the middle.",
        )?;
        let name = record_of(beta.domain);
        let text = self.resolver.txt(&name).await?;
        for record in &text.records {
            self.voice.fact(&format!("{name}  TXT  \"{record}\""))?;
        }
        ensure!(
            text.records == [beta.record()?],
            "the record is not the one of beta's gateway"
        );
        let addresses = self.resolver.addresses(&beta.host).await?;
        for address in &addresses.records {
            self.voice.fact(&format!("{}  A  {address}", beta.host))?;
        }
        ensure!(
            addresses.records.iter().all(std::net::IpAddr::is_loopback),
            "the gateway is not on this machine"
        );
        Ok(())
    }

    async fn submit(&self) -> Result<String> {
        let (alpha, alice) = (&self.cast.alpha, &self.cast.alice);
        let message = json!({
            "sender": alice.address,
            "recipients": [self.cast.bob.address, self.cast.carol.address],
            "subject": "Quote for paper clips",
            "payload": { "item": "paper clips", "quantity": 1000 },
        });
        let body = Some(serde_json::to_vec(&message)?);
        let answer = alice
            .api
            .exchange(Method::POST, "/v1/messages", body)
            .await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(refusal(answer.status.as_u16(), &answer.body));
        }
        let receipt: Value = serde_json::from_slice(&answer.body).context("the receipt")?;
        self.voice.say(
            "She gives it to her own gateway, with her key. The answer 202 means that it is on \
             that gateway's disk: from here on the gateway sees to it, also through failures and \
             restarts. The receipt says how it stands with each recipient.",
        )?;
        let shown = format!("POST {}/v1/messages -> {}", alpha.url(), answer.status);
        self.voice.fact(&shown)?;
        for recipient in members(&receipt, "recipients") {
            let (address, status) = (plain(&recipient["address"]), plain(&recipient["status"]));
            self.voice.fact(&format!("{address}: {status}"))?;
            ensure!(status == "queued", "{recipient}");
        }
        let id = receipt["message_id"].as_str().context("no message_id")?;
        self.voice.fact(&format!("message_id: {id}"))?;
        Ok(id.to_owned())
    }

    async fn cross(&self, id: &str, asked: usize) -> Result<()> {
        let (beta, carol) = (&self.cast.beta, &self.cast.carol);
        let mail = self.mail(carol, |mail| mail["message_id"] == id).await?;
        ensure!(
            self.zone.asked(&record_of(beta.domain)) > asked,
            "alpha's gateway did not ask the DNS"
        );
        self.voice.say(
            "alpha's gateway asked the DNS for beta's, connected to it (HTTP/2 over TLS 1.3, \
             nothing older), checked that its certificate is good for that name, and handed the \
             message over. carol polls, so it waits in her inbox:",
        )?;
        self.show(carol, &mail)?;
        let verification = &mail["sender_verification"]["result"];
        ensure!(
            verification == "source_address",
            "the sender counts as {}",
            plain(verification)
        );
        self.voice.say(
            "beta's gateway believes the sender, because the message came from an address of the \
             gateway that alpha.test names in the DNS.",
        )
    }

    async fn called(&self, calls: &mut mpsc::Receiver<Call>, id: &str) -> Result<()> {
        let call = loop {
            let call = calls.recv().await.context("the webhook has ended")?;
            if call.message_id == id {
                break call;
            }
        };
        self.voice.say(&format!(
            "bob does not poll: beta's gateway calls his program at {}. Each call is signed with \
             a secret that only the two know, so that nobody else can make such calls. The \
             signature was good, and the program answered:",
            self.cast.webhook
        ))?;
        let answer = json!({ "response": call.response });
        self.voice.fact(&answer.to_string())
    }

    async fn reply(&self, id: &str) -> Result<String> {
        let (alice, bob) = (&self.cast.alice, &self.cast.bob);
        let answers = |mail: &Value| mail["in_reply_to"] == id && mail["sender"] == *bob.address;
        let mail = self.mail(alice, answers).await?;
        self.voice.say(
            "What a program answers in `response` becomes a message of its own: beta's gateway \
             sent it to alpha.test in the same way. in_reply_to names the message it answers.",
        )?;
        self.show(alice, &mail)?;
        self.voice.fact(&format!("in_reply_to: {id}"))?;
        let id = mail["message_id"].as_str().context("no message_id")?;
        Ok(id.to_owned())
    }

    pub(super) fn show(&self, agent: &Agent, mail: &Value) -> Result<()> {
        let (sender, subject) = (plain(&mail["sender"]), plain(&mail["subject"]));
        let inbox = format!("inbox of {}: \"{subject}\" from {sender}", agent.address);
        self.voice.fact(&inbox)?;
        self.voice.fact(&format!("payload: {}", mail["payload"]))
    }

    async fn status(&self, id: &str) -> Result<()> {
        let path = format!("/v1/messages/{}/status", segment(id));
        let alice = &self.cast.alice;
        let status = loop {
            let status = alice.api.call(Method::GET, &path, None).await?;
            match status["status"].as_str() {
                // The handing over is settled a moment after the other side has the message.
                Some("queued" | "delivering" | "retrying") => self.clock.wait(LOOK_EVERY).await,
                _ => break status,
            }
        };
        self.voice.say(
            "Her gateway knows, for each recipient. Had beta.test been away, it would say \
             `retrying` and when; had it stayed away for days, alice would have got a notice.",
        )?;
        let recipients = members(&status, "recipients");
        for one in &recipients {
            let (address, status) = (plain(&one["address"]), plain(&one["status"]));
            self.voice.fact(&format!("{address}: {status}"))?;
        }
        let delivered = recipients.iter().all(|one| one["status"] == "delivered");
        ensure!(delivered && recipients.len() == 2, "{status}");
        Ok(())
    }

    async fn acknowledge(&self, reply: &str) -> Result<()> {
        let alice = &self.cast.alice;
        let path = format!("{}/{}", inbox(alice), segment(reply));
        let answer = alice.api.call(Method::DELETE, &path, None).await?;
        ensure!(answer["status"] == "acknowledged", "{answer}");
        let again = alice.api.exchange(Method::DELETE, &path, None).await?;
        ensure!(
            again.status == StatusCode::NOT_FOUND,
            "it is still in the inbox"
        );
        self.voice.say(
            "What is not acknowledged stays in the inbox: an agent that crashes while it works on \
             a message finds it again. Acknowledged, it is gone.",
        )?;
        self.voice.fact(&format!("{reply}: acknowledged"))
    }

    /// The first mail of an agent that fits, whenever it comes.
    pub(super) async fn mail(&self, agent: &Agent, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut cursor = String::new();
        loop {
            let path = format!("{}?limit=100&wait=10s&cursor={cursor}", inbox(agent));
            let page = agent.api.call(Method::GET, &path, None).await?;
            for mail in members(&page, "messages") {
                if fits(&mail) {
                    return Ok(mail);
                }
                if let Some(position) = mail["cursor"].as_str() {
                    position.clone_into(&mut cursor);
                }
            }
        }
    }
}

/// Where a domain says who its gateway is.
pub(super) fn record_of(domain: &str) -> String {
    format!("_amtp.{domain}")
}

pub(super) fn inbox(agent: &Agent) -> String {
    format!("/v1/inbox/{}", segment(&agent.address))
}

fn members(value: &Value, name: &str) -> Vec<Value> {
    value[name].as_array().cloned().unwrap_or_default()
}
