//! The program's output goes to somebody who does not read it.

use std::{
    io::pipe,
    process::{Child, Stdio},
};

use crate::support::Process;

#[test]
fn what_nobody_reads_is_no_defect() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let output = Process::command(folder.path())
        .arg("config")
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(Child::wait_with_output)
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(141));
}
