//! Agents with their keys: settings as they were there, by the rules that hold here.

use std::collections::{BTreeMap, HashSet};

use anyhow::Result;

use super::Here;
use super::report::Report;
use crate::auth::{IssuedKey, KeyKind, imported_hash, imported_key};
use crate::endpoint::http::form::{self, AgentForm};
use crate::protocol::{AgentName, Domain, Timestamp};
use crate::store::{
    AgentSettings, AgentryAgent, Created, DeliveryMode, Grant, NewAgent, NewKey, Store,
};

/// Who is known after the import of agents.
pub(super) type Taken = HashSet<(Domain, AgentName)>;

/// Imports agents that are not here yet. Answers all that could be taken, here already or not.
pub(super) async fn import(
    here: &Here<'_>,
    found: Vec<AgentryAgent>,
    report: &mut Report,
) -> Result<Taken> {
    let mut taken = Taken::new();
    let mut keys = HashSet::new();
    for agent in found {
        let judged = match judge(here, &agent, report) {
            Ok(judged) => judged,
            Err(reason) => {
                report.refuse("agent", &agent.address, &reason);
                continue;
            }
        };
        let name = (judged.domain.clone(), judged.name.clone());
        if !taken.insert(name) {
            let reason = "another agent has this name: names are compared without case here";
            report.refuse("agent", &agent.address, reason);
            continue;
        }
        let key = match hash_of(&agent.key).map(imported_key) {
            None => Err("there is no key that could be known here"),
            Some(key) if !keys.insert(key.id.clone()) => {
                Err("another agent has the same key: here a key is one agent's")
            }
            Some(key) => Ok(key),
        };
        match &here.store {
            Some(store) => {
                let at = (store, here.clock.now());
                create(at, (judged, key), &agent.address, report).await?;
            }
            None => {
                report.agents.imported += 1;
                note_key(
                    key.as_ref().map(drop).map_err(|it| *it),
                    &agent.address,
                    report,
                );
            }
        }
    }
    Ok(taken)
}

fn note_key(key: Result<(), &str>, address: &str, report: &mut Report) {
    match key {
        Ok(()) => report.keys.imported += 1,
        Err(reason) => {
            let reason = format!("{reason}; give it one with `amtpd agent rotate-key`");
            report.refuse("key", address, &reason);
        }
    }
}

/// The hash that Agentry keeps of a key. Old versions kept the key itself.
pub(super) fn hash_of(kept: &str) -> Option<[u8; 32]> {
    let is_hash = kept.len() == 64 && kept.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hash {
        return (kept.len() >= 16).then(|| imported_hash(kept, ""));
    }
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(kept.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

struct Judged {
    domain: Domain,
    name: AgentName,
    settings: AgentSettings,
    sealed_headers: Option<Vec<u8>>,
}

fn judge(here: &Here<'_>, agent: &AgentryAgent, report: &mut Report) -> Result<Judged, String> {
    let domains = &here.config.domains;
    let is_local = |domain: &Domain| domains.contains(domain);
    let (domain, name) = form::address(Some(&agent.address), &domains[0], is_local)
        .map_err(|error| form::in_words(&error))?;
    let delivery_mode = match agent.delivery_mode.as_str() {
        "pull" => DeliveryMode::Pull,
        "push" => DeliveryMode::Push,
        other => return Err(format!("its delivery mode is {other:?}")),
    };
    let pushes = delivery_mode == DeliveryMode::Push;
    let patterns: Option<Vec<String>> = json_of(agent.schemas.as_deref(), "supported_schemas")?;
    let patterns = patterns.unwrap_or_default();
    let settings = AgentForm {
        delivery_mode: Some(delivery_mode),
        push_target: Some(agent.push_target.clone().filter(|_| pushes)),
        supported_schemas: Some(patterns.into_iter().filter(|it| !it.is_empty()).collect()),
        ..AgentForm::default()
    };
    let mut settings = settings
        .apply(AgentSettings::fresh())
        .map_err(|error| form::in_words(&error))?;
    settings.secret_keys.present = here.sealer.as_ref().map(|it| it.mark());
    let mut sealed_headers = None;
    if pushes {
        form::signing(here.sealer.as_ref()).map_err(|error| form::in_words(&error))?;
        let headers = json_of(agent.headers.as_deref(), "headers")?;
        sealed_headers = seal(here, headers.unwrap_or_default(), agent, report)?;
    }
    Ok(Judged {
        domain,
        name,
        settings,
        sealed_headers,
    })
}

fn json_of<T: serde::de::DeserializeOwned>(
    text: Option<&str>,
    what: &str,
) -> Result<Option<T>, String> {
    let Some(text) = text else { return Ok(None) };
    serde_json::from_str(text).map_err(|fault| format!("{what} cannot be read: {fault}"))
}

/// The headers that an agent may set here, sealed; the others are refused one by one.
fn seal(
    here: &Here<'_>,
    headers: BTreeMap<String, String>,
    agent: &AgentryAgent,
    report: &mut Report,
) -> Result<Option<Vec<u8>>, String> {
    let sealed = |headers: BTreeMap<String, String>| -> Result<Option<Vec<u8>>, String> {
        let form = AgentForm {
            headers: Some(Some(headers)),
            ..AgentForm::default()
        };
        let sealed = form.sealed_headers(here.sealer.as_ref());
        sealed
            .map(Option::flatten)
            .map_err(|error| form::in_words(&error))
    };
    let mut kept = BTreeMap::new();
    for (name, value) in headers {
        match sealed(BTreeMap::from([(name.clone(), value.clone())])) {
            Ok(_) => drop(kept.insert(name, value)),
            Err(reason) => report.refuse("header", &agent.address, &reason),
        }
    }
    sealed(kept)
}

/// Registers an agent, with its key or with none that anybody knows.
async fn create(
    (store, now): (&Store, Timestamp),
    (judged, key): (Judged, Result<NewKey, &str>),
    address: &str,
    report: &mut Report,
) -> Result<()> {
    let key = match key {
        Ok(key)
            if store
                .find_key(&key.id)
                .await?
                .is_some_and(|it| !is_of(&it.address, address)) =>
        {
            Err("another agent here has the same key")
        }
        key => key,
    };
    let label = key.as_ref().ok().and_then(|key| key.grant.label.clone());
    let new = NewAgent {
        domain: judged.domain.clone(),
        name: judged.name.clone(),
        settings: judged.settings,
        sealed_headers: judged.sealed_headers,
        key: key.clone().unwrap_or_else(|_| nobodys(now)),
        token: None,
        now,
    };
    if let Created::Agent(_) = store.create_agent(new).await? {
        report.agents.imported += 1;
        note_key(key.map(drop), address, report);
        return Ok(());
    }
    report.agents.present += 1;
    let found = store.find_agent(&judged.domain, &judged.name).await?;
    let held = match found {
        Some(agent) => store.list_keys(agent.id).await?,
        None => Vec::new(),
    };
    match label {
        Some(_) if held.iter().any(|held| held.grant.label == label) => report.keys.present += 1,
        _ => report.refuse(
            "key",
            address,
            "the agent is here already without this key; make one with `amtpd agent rotate-key` if it needs one",
        ),
    }
    Ok(())
}

fn is_of(address: &str, other: &str) -> bool {
    address.eq_ignore_ascii_case(other)
}

/// A key that was never shown and has ended.
fn nobodys(now: Timestamp) -> NewKey {
    let key = IssuedKey::generate(KeyKind::Agent);
    NewKey {
        id: key.id,
        hash: key.hash,
        grant: Grant {
            expires_at: Some(now),
            ..Grant::default()
        },
    }
}
