//! Clients that others generate from the served OpenAPI document: here TypeScript, compiled strictly and
//! tried on the running program.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::Process;

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/typescript")
}

/// Runs a tool to its end and gives what it printed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    told
}

/// Why the client cannot be built here, or nothing.
fn missing() -> Option<&'static str> {
    if Command::new("node").arg("--version").output().is_err() {
        return Some("node is not installed");
    }
    let complete = package().join("node_modules/.complete").exists();
    (!complete).then_some(
        "its tools are not installed; `make clients` does, with node, npm and a registry",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_typescript_client_compiles_and_rides() {
    if let Some(why) = missing() {
        // Past the test harness, which would swallow it.
        let told =
            format!("\n*** SKIPPED: the test of the generated TypeScript client: {why} ***\n");
        std::io::stderr().write_all(told.as_bytes()).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, work) = (folder.path().join("data"), folder.path().join("client"));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&work).unwrap();
    let program = Process::serve_all(&data, None);
    let api = format!("http://{}", program.gateway);

    let document = reqwest::get(format!("{api}/openapi.json")).await.unwrap();
    assert!(document.status().is_success(), "{}", document.status());
    fs::write(work.join("openapi.json"), document.bytes().await.unwrap()).unwrap();
    for file in ["package.json", "tsconfig.json", "ride.ts", "pages.ts"] {
        fs::copy(package().join(file), work.join(file)).unwrap();
    }
    // What the web pages take the API for.
    let types = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/web/src/lib/types.ts");
    fs::copy(types, work.join("types.ts")).unwrap();
    let modules = package().join("node_modules");
    std::os::unix::fs::symlink(&modules, work.join("node_modules")).unwrap();

    let node = || {
        let mut node = Command::new("node");
        node.current_dir(&work);
        node
    };
    run(node()
        .arg(modules.join("openapi-typescript/bin/cli.js"))
        .args(["openapi.json", "--output", "api.d.ts"]));
    run(node()
        .arg(modules.join("typescript/bin/tsc"))
        .args(["--project", "."]));
    let told = run(node()
        .arg("build/ride.js")
        .env("API", &api)
        .env("LOG", program.log()));
    assert!(
        told.contains("was quoted, asked for, read and called off"),
        "{told}"
    );
}
