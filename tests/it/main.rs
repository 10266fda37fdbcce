//! Behaviour through public doors: one file a behaviour, real gateways on free ports.

mod layers;
