//! The way to a peer gateway.

mod answer;
mod letter;
#[cfg(test)]
mod samples;
mod text;
