//! The step of the story with an A2A client in it: it calls an agent here, and one of the other domain
//! does the work.

use anyhow::{Context as _, Result, ensure};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::story::Story;
use crate::cli::client::{plain, refusal};

/// The address at alpha.test that stands for bob.
pub(super) const STAND_IN: &str = "bobs-desk";

impl Story {
    pub(super) async fn call_by_a2a(&self) -> Result<()> {
        let (alpha, alice, bob) = (&self.cast.alpha, &self.cast.alice, &self.cast.bob);
        let base = format!("/a2a/{STAND_IN}");
        let path = format!("{base}/.well-known/agent-card.json");
        let card = alice.api.call(Method::GET, &path, None).await?;
        self.voice.say(&format!(
            "Programs that speak A2A and nothing else can call every agent of a gateway: each has a card. \
             {STAND_IN}@alpha.test is an address here that stands for {} there \
             (`amtpd agent add {STAND_IN} --mode peer --target {}`). Its card:",
            bob.address, bob.address
        ))?;
        self.voice.fact(&format!(
            "GET {}{path}: {}",
            alpha.url(),
            plain(&card["name"])
        ))?;
        let interface = &card["supportedInterfaces"][0];
        let (binding, url) = (
            plain(&interface["protocolBinding"]),
            plain(&interface["url"]),
        );
        self.voice.fact(&format!("{binding} at {url}"))?;
        let call = json!({
            "jsonrpc": "2.0", "id": 1, "method": "SendMessage",
            "params": { "message": { "messageId": "m-1", "role": "ROLE_USER",
                "parts": [{ "text": "Do you have paper clips?" }] } },
        });
        let body = Some(serde_json::to_vec(&call)?);
        let path = format!("{base}?A2A-Version=1.0");
        let answer = alice.api.exchange(Method::POST, &path, body).await?;
        if answer.status != StatusCode::OK {
            return Err(refusal(answer.status.as_u16(), &answer.body));
        }
        let answer: Value = serde_json::from_slice(&answer.body).context("the answer")?;
        let task = &answer["result"]["task"];
        self.voice.say(
            "The client sends its message and waits. alpha's gateway makes an AMTP message of it, which \
             goes to beta.test; bob's program answers, knowing nothing of A2A; its answer completes the task:",
        )?;
        let state = plain(&task["status"]["state"]);
        ensure!(state == "TASK_STATE_COMPLETED", "{answer}");
        let parts = &task["artifacts"][0]["parts"];
        ensure!(
            parts
                .to_string()
                .contains("bob's program read your message"),
            "{answer}"
        );
        self.voice.fact(&format!("SendMessage: {state}"))?;
        self.voice.fact(&parts.to_string())
    }
}
