//! Schemas: each becomes one of this gateway's own, and refuses what does not fit, as it did there.

use anyhow::Result;

use super::Here;
use super::report::Report;
use crate::protocol::SchemaId;
use crate::schema::{Document, PutFault, SchemaOptions, Schemas, Submission};
use crate::store::{AgentrySchema, SchemaState, Store};
use crate::telemetry::Metrics;

/// Who stored them, for people.
const BY: &str = "import agentry";

/// Imports what is not here yet.
pub(super) async fn import(
    here: &Here<'_>,
    found: Vec<AgentrySchema>,
    report: &mut Report,
) -> Result<()> {
    let desk = match &here.store {
        Some(store) => Some(open(here, store).await?),
        None => None,
    };
    for schema in found {
        let judged = judge(&schema);
        let outcome = match (judged, &desk) {
            (Err(reason), _) => Err(reason),
            (Ok(_), None) => Ok(true),
            (Ok((id, document)), Some(desk)) => store(desk, id, document).await?,
        };
        match outcome {
            Ok(true) => report.schemas.imported += 1,
            Ok(false) => report.schemas.present += 1,
            Err(reason) => report.refuse("schema", &schema.id, &reason),
        }
    }
    Ok(())
}

async fn open(here: &Here<'_>, store: &Store) -> Result<Schemas> {
    let options = SchemaOptions {
        dir: here.config.schemas.dir.clone(),
        ..SchemaOptions::default()
    };
    let metrics = Metrics::default();
    Ok(Schemas::open(options, store.clone(), here.clock.clone(), &metrics).await?)
}

fn judge(schema: &AgentrySchema) -> Result<(SchemaId, Document), String> {
    let id = SchemaId::parse(&schema.id).map_err(|fault| fault.to_string())?;
    let document = Document::read(schema.definition.as_bytes()).map_err(|it| it.to_string())?;
    Ok((id, document))
}

/// Whether it is new; what is wrong with it.
async fn store(
    desk: &Schemas,
    id: SchemaId,
    document: Document,
) -> Result<Result<bool, String>, anyhow::Error> {
    if let Some(found) = desk.find(&id, None).await? {
        return Ok(match found.info.sha256 == document.sha256 {
            true => Ok(false),
            false => Err("is here already with another document, which stays".to_owned()),
        });
    }
    let submission = Submission {
        id: Some(id),
        document: document.text,
        state: SchemaState::Required,
        mode: None,
        by: BY.to_owned(),
    };
    match desk.put(submission).await {
        Ok((_, _, fresh)) => Ok(Ok(fresh)),
        Err(PutFault::Store(error)) => Err(error.into()),
        Err(fault) => Ok(Err(fault.to_string())),
    }
}
