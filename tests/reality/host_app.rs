//! The example of a host app's backend does what its document says.

use crate::bounded;
use crate::process::Site;
use std::env;
use tokio::process::Command;

#[tokio::test]
async fn the_example_backend_wins_a_raid_for_its_users_and_hears_of_it() {
    bounded(async {
        let site = Site::sqlite().await;
        let server = site.start().await;
        let token = ["token", "--scope", "service", "--subject", "host-app"];
        let token = site.command(&token, &[]).output().await.expect("a token").stdout;
        let token = String::from_utf8(token).expect("text");
        let url = server.target().url("");
        let output = Command::new(env::var_os("RAIDHALL_TEST_PYTHON").expect("see scripts/with-services"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/backend.py"))
            .env("RAIDHALL_URL", url.trim_end_matches('/'))
            .env("RAIDHALL_TOKEN", token.trim())
            .output();
        let output = output.await.expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.ends_with("raid_completed\nwon\n"), "{output:?}");
    })
    .await;
}
