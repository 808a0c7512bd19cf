//! Everything that needs more than one crate: whole rides through the real parts, what breaks in
//! production, and the rules the repository holds itself to.
//!
//! - `clients`: clients that are generated from the served document.
//! - `contract`: the proto files, the SQL, the samples and the repository's own rules.
//! - `docs`: the commands that the documentation shows.
//! - `flows`: rides through the gateway, as phones see them.
//! - `faults`: races, kills, bad input.
//! - `load`: the load scenarios, short.
//! - `support`: the sandbox that makes a test short.
//! - `web`: the web pages in a real browser.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod clients;
mod contract;
mod docs;
mod faults;
mod flows;
mod load;
mod support;
mod web;
