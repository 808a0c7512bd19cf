//! Billing over its rpcs, behind its guard, on a real database of its own per test.
#![allow(clippy::unwrap_used)]

mod access;
mod batches;
mod expiry;
mod failures;
mod fees;
mod model;
mod races;
mod repetition;
mod schema;
mod soundness;
mod support;
