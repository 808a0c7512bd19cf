//! Rides through the gateway, as phones see them.

mod city;
mod maps;
mod ride;
mod stopping;
mod telemetry;
