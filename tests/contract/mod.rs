//! What the project promises about itself.

mod access;
mod house_rules;
mod proto_lint;
mod samples;
mod statements;
