//! The program's output goes to somebody who does not read it.

use std::{
    io::pipe,
    process::{Command, Stdio},
};

#[test]
fn what_nobody_reads_is_no_defect() {
    let folder = tempfile::tempdir().expect("a folder");
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_jitney"))
        .arg("config")
        .current_dir(folder.path())
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .expect("the program runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(141));
}
