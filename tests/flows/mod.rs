//! Rides through the gateway, as phones see them.

mod city;
mod maps;
mod metrics;
mod money;
mod ride;
mod rounds;
mod second_rides;
mod stopping;
mod telemetry;
