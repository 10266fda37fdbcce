//! Behaviour through public doors: one file a behaviour, real gateways on free ports.
#![allow(missing_docs, unreachable_pub, reason = "nobody links a test")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod a2a;
mod a2a_outward;
mod a2a_sdk;
mod audit;
mod crash;
mod credentials;
mod crowd;
mod daemon;
mod doctor;
mod documents;
mod failing_disk;
mod federation;
mod groups;
mod import_agentry;
mod issuers;
mod judgement;
mod layers;
mod mail_check;
mod mail_in;
mod openapi;
mod overload;
mod people;
mod policies;
mod quickstart;
mod schemas;
mod shared_database;
mod streams;
mod support;
mod support_works;
mod websocket;
