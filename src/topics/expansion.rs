//! The one delivery of what is sent to a topic: its copies, chunk by chunk.

use std::collections::HashSet;

use super::copies::{BYTES, Original, Target};
use super::{TopicFault, Topics, is_topic, said};
use crate::protocol::list::{ToTopic, expected_version};
use crate::protocol::{Address, ErrorCode, Message};
use crate::store::{
    ALL_AGENTS, Agent, AgentKind, CONNECTED_AGENTS, Numbered, Publication, StoredMessage,
};

/// Whom a chunk is for, and up to where it goes.
struct Chunk {
    targets: Vec<Target>,
    to: String,
    is_last: bool,
}

impl Chunk {
    /// Keeps the first `count` targets, at least one.
    fn cut(&mut self, count: usize) {
        if count >= self.targets.len() {
            return;
        }
        self.targets.truncate(count.max(1));
        self.is_last = false;
        if let Some(last) = self.targets.last() {
            self.to = last.address.key();
        }
    }
}

impl Topics {
    /// Does with a message to a topic what is to be done: makes the copies, or answers a request.
    /// What was done before a crash is not done again. `number` is that of the list, `recipient`
    /// the address as its sender wrote it.
    ///
    /// # Errors
    /// [`TopicFault`]: with a code of the store it may be tried again, with another it may not.
    pub async fn carry(
        &self,
        number: i64,
        (stored, message): (&StoredMessage, &Message),
        recipient: &Address,
    ) -> Result<(), TopicFault> {
        if matches!(number, ALL_AGENTS | CONNECTED_AGENTS) {
            let original = (stored, message, recipient, message.sender());
            return self.expand(number, original).await;
        }
        let found = self.0.store.find_agent_by_number(number).await?;
        let topic = found.filter(|agent| is_topic(agent));
        let topic = topic.ok_or_else(|| TopicFault::new(ErrorCode::AgentUnknown))?;
        match ToTopic::of(message) {
            ToTopic::Publication => {
                let original = (stored, message, &topic.address, &topic.address);
                self.expand(number, original).await
            }
            ToTopic::Notice => self.note_bounce(&topic, (stored, message)).await,
            request => self.answer(&topic, request, (stored, message)).await,
        }
    }

    async fn expand(
        &self,
        number: i64,
        (stored, message, list, sender): (&StoredMessage, &Message, &Address, &Address),
    ) -> Result<(), TopicFault> {
        let mut publication = self.publication(number, (stored, message)).await?;
        let original = Original {
            stored,
            message,
            list,
            sender,
            seq: publication.seq,
        };
        while !publication.expanded {
            let mut chunk = self.chunk(&publication, &original).await?;
            let copies = self.copies(&original, &chunk.targets).await?;
            chunk.cut(copies.done);
            let store = &self.0.store;
            let to = chunk.to.clone();
            let advance =
                store.advance_publication(&publication, to, chunk.is_last, copies.acceptances);
            advance.await?;
            if !copies.gone.is_empty() {
                store.remove_subscriptions(copies.gone).await?;
            }
            publication.progress = chunk.to;
            publication.expanded = chunk.is_last;
        }
        Ok(())
    }

    /// The publication a message is; one that was held becomes one now.
    async fn publication(
        &self,
        number: i64,
        (stored, message): (&StoredMessage, &Message),
    ) -> Result<Publication, TopicFault> {
        let store = &self.0.store;
        if let Some(known) = store.find_publication(number, stored.mid).await? {
            return Ok(known);
        }
        let of = (number, stored.mid);
        let opened = store.open_publication(of, expected_version(message), self.0.clock.now());
        match opened.await? {
            Numbered::Publication(publication) => Ok(publication),
            Numbered::Conflict(_) => Err(said(
                ErrorCode::Conflict,
                "Another publication was the last one when this one was released.",
            )),
        }
    }

    async fn chunk(
        &self,
        publication: &Publication,
        original: &Original<'_>,
    ) -> Result<Chunk, TopicFault> {
        let mut chunk = match publication.topic {
            ALL_AGENTS | CONNECTED_AGENTS => self.agents(publication, original).await?,
            _ => self.subscribers(publication, original.message).await?,
        };
        // Copies for other domains have a body each.
        let each = original.message.raw().len().max(1);
        let most = (BYTES / each).max(1);
        let foreign = chunk.targets.iter().enumerate();
        let beyond = foreign
            .filter(|(_, target)| target.agent.is_none())
            .nth(most)
            .map(|(at, _)| at);
        if let Some(at) = beyond {
            chunk.cut(at);
        }
        Ok(chunk)
    }

    async fn subscribers(
        &self,
        publication: &Publication,
        message: &Message,
    ) -> Result<Chunk, TopicFault> {
        let of = (publication.topic, publication.seq);
        let store = &self.0.store;
        let mut found = store
            .subscribers_of(of, &publication.progress, self.0.chunk)
            .await?;
        let is_last = found.len() < self.0.chunk;
        // The last address may have more subscriptions than were read.
        if let Some(last) = found.last().filter(|_| !is_last).map(|it| it.address.key()) {
            found.retain(|it| it.address.key() != last);
        }
        let to = found.last().map(|it| it.address.key());
        Ok(Chunk {
            targets: Target::of(&found, message),
            to: to.unwrap_or_else(|| publication.progress.clone()),
            is_last,
        })
    }

    /// The agents that a broadcast goes to.
    async fn agents(
        &self,
        publication: &Publication,
        original: &Original<'_>,
    ) -> Result<Chunk, TopicFault> {
        let after = Address::parse(&publication.progress).ok();
        let store = &self.0.store;
        let found = store.list_agents(after.as_ref(), self.0.chunk).await?;
        let is_last = found.len() < self.0.chunk;
        let to = found.last().map(|agent| agent.address.key());
        let numbers: Vec<i64> = found.iter().map(|agent| agent.id).collect();
        let connected = match publication.topic {
            CONNECTED_AGENTS => store.connected_agents(&numbers).await?,
            _ => numbers,
        };
        let connected: HashSet<i64> = connected.into_iter().collect();
        let mut targets = Vec::with_capacity(found.len());
        for agent in found {
            if connected.contains(&agent.id) && takes_broadcasts(&agent, original) {
                targets.push(Target {
                    agent: Some(agent.id),
                    address: agent.address,
                    subscriptions: Vec::new(),
                });
            }
        }
        Ok(Chunk {
            targets,
            to: to.unwrap_or_else(|| publication.progress.clone()),
            is_last,
        })
    }
}

fn takes_broadcasts(agent: &Agent, original: &Original<'_>) -> bool {
    agent.active
        && agent.settings.kind != AgentKind::Topic
        && agent.address.domain() == original.list.domain()
        && agent.address.key() != original.sender.key()
}
