//! Agents of a gateway as A2A servers: through real gateways, by clients written by hand.

mod bad_input;
mod cards;
mod client;
mod delivery;
mod older;
mod pushes;
mod rest;
mod streams;
mod tasks;
