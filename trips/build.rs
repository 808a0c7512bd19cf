//! `sqlx::migrate!` reads a folder that cargo does not know of: a new migration must rebuild us.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
