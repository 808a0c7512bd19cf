//! Tells cargo when the built pages have changed. They are embedded where they are there; the gateway
//! is built without them where they are not, and Node is needed for neither.

use std::path::Path;

fn main() {
    // The folder of the pages' sources changes when the built ones appear in it.
    let built = Path::new("web/dist");
    let watched = if built.is_dir() { "web/dist" } else { "web" };
    println!("cargo:rerun-if-changed={watched}");
}
