//! What the project promises about itself.

mod access;
mod house_rules;
mod machine;
mod matrix;
mod migrations;
mod proto_lint;
mod samples;
mod statements;
