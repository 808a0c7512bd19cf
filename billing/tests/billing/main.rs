//! Billing over its rpcs, behind its guard, on a real database of its own per test.
#![allow(clippy::unwrap_used)]

mod access;
mod batches;
mod cash;
mod changed;
mod chargebacks;
mod entries;
mod everything;
mod expiry;
mod failures;
mod fees;
mod model;
mod overlaps;
mod payouts;
mod promotions;
mod provider;
mod provider_entries;
mod provider_reconcile;
mod provider_stripe;
mod provider_stripe_server;
mod races;
mod races_model;
mod refunds;
mod renewed;
mod repetition;
mod schema;
mod signed;
mod soundness;
mod stale;
mod statements;
mod support;
mod telling;
mod tips;
mod told;
mod traces;
mod upgrade;
