//! `jitney`: parse, run, and say what went wrong in words.

use std::process::ExitCode;

use clap::Parser;
use jitney_cli::unread::until_unread;
use mimalloc::MiMalloc;

/// A request makes many small allocations, some on one thread that end on another; this allocator is
/// good at those.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    until_unread(|| jitney_cli::Cli::parse().run())
}
