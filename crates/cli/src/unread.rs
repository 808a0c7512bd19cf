//! Standard output that nobody reads to its end, as in `jitney replay | head`: the program ends there, in
//! order and without a word, rather than with the standard library's report of a defect.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

/// What shells say of a program that a broken pipe has ended: 128 and the number of that signal.
const EXIT_CODE: u8 = 141;

/// Runs the program until it ends, or until nobody reads what it prints.
pub fn until_unread(run: impl FnOnce() -> ExitCode) -> ExitCode {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !is_unread(panic.payload()) {
            usual(panic);
        }
    }));
    match panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(code) => code,
        Err(unread) if is_unread(&*unread) => ExitCode::from(EXIT_CODE),
        Err(defect) => panic::resume_unwind(defect),
    }
}

/// Whether the standard library gave up printing because nobody reads. It has no other way to say so.
fn is_unread(panic: &(dyn Any + Send)) -> bool {
    let message = panic.downcast_ref::<String>();
    message.is_some_and(|message| {
        message.starts_with("failed printing to stdout") && message.contains("Broken pipe")
    })
}
