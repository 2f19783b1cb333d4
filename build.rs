//! `sqlx::migrate!` takes the migrations in when it is compiled, and does not notice a new file by itself.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
