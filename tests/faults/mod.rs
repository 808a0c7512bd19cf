//! What breaks in production: races, kills, bad input.

mod bad_input;
mod crash;
mod money;
mod races;
mod unread;
