//! A leader against a member who disturbs, each at another instance of a cluster.

use raidhall_loadtest::client::RestClient;
use raidhall_protocol::{ClientMessage, Command, ErrorType, RaidId, ServerMessage};
use serde_json::json;

use crate::cluster::Cluster;
use crate::process::TestDatabase;
use crate::raid_group::long_raid;
use crate::with_timeout;

const JUNK_TASKS: u64 = 50;

fn signal(raid: RaidId) -> ClientMessage {
    ClientMessage::Signal {
        id: None,
        raid,
        kind: "emote".to_owned(),
        data: json!(null),
    }
}

#[tokio::test]
async fn a_member_is_muted_and_kicked_across_instances_and_stays_out() {
    with_timeout(async {
        let settings = [("LIMITS__COMMANDS_PER_SECOND", "1000")];
        let cluster = Cluster::start_on(TestDatabase::postgres().await, 2, &settings).await;
        let guest = |index: usize, name: &'static str| {
            let rest = RestClient::new(cluster.servers[index].target()).expect("a REST client");
            async move {
                let tokens = rest.sign_in_guest(name).await.expect("a guest");
                let rest = rest.with_token(&tokens.access_token);
                (rest, tokens)
            }
        };
        let (ada_rest, ada) = guest(0, "Ada").await;
        let (ben_rest, ben) = guest(1, "Ben").await;
        let created = ada_rest.create_raid(&long_raid(3), None).await;
        let created = created.expect("a raid").state;
        let raid = created.id;
        let invite = ben_rest.join_raid(&created.invite_code).await;
        invite.expect("a member");
        let mut leader = cluster.open_socket(0, raid, &ada.access_token).await;
        let mut member = cluster.open_socket(1, raid, &ben.access_token).await;

        // Each side learns of the mute by its event; from then on its instance enforces it.
        member.send(signal(raid)).await;
        let is_signal = |message: &ServerMessage| match message {
            ServerMessage::Signal { from, .. } => Some(*from),
            _ => None,
        };
        assert_eq!(leader.wait_for(is_signal).await, ben.player.id);
        let until = Some(created.created_at.plus(3_600_000).0);
        let mute = Command::Mute {
            player: ben.player.id,
            until,
        };
        leader.execute(raid, None, mute).await.expect("muted");
        member.wait_for(is_event("member_muted")).await;
        member.send(signal(raid)).await;
        let error = member.wait_for_error("signal").await;
        assert_eq!(error.r#type, ErrorType::Forbidden);
        let text = "hello".to_owned();
        let said = member.execute(raid, None, Command::Say { text }).await;
        assert_eq!(said.expect_err("muted").r#type, ErrorType::Forbidden);

        let add = |number: u64| Command::AddTask {
            title: format!("junk {number}"),
            xp: 1,
            minutes: 0,
        };
        for number in 1..=JUNK_TASKS {
            let added = member.execute(raid, None, add(number)).await;
            added.expect("added");
        }
        let kick = Command::Kick {
            player: ben.player.id,
        };
        let (seq, _) = leader.execute(raid, None, kick).await.expect("kicked");
        leader
            .execute(raid, None, Command::RotateInvite)
            .await
            .expect("a new code");
        member
            .wait_for(|message| matches!(message, ServerMessage::Unwatched { .. }).then_some(()))
            .await;

        // Both instances show the same, and the old code is of no use at either.
        let ada_elsewhere = RestClient::new(cluster.servers[1].target()).expect("a REST client");
        let ada_elsewhere = ada_elsewhere.with_token(&ada.access_token);
        for rest in [&ada_rest, &ada_elsewhere] {
            let view = rest.raid(raid).await.expect("the raid");
            assert!(view.seq > seq);
            assert_eq!(view.state.tasks, []);
            assert_ne!(view.state.invite_code, created.invite_code);
        }
        for index in [0, 1] {
            let (rest, _) = guest(index, "Cy").await;
            let refused = rest.join_raid(&created.invite_code).await;
            let refused = refused.expect_err("the code is replaced").to_string();
            assert!(refused.contains("not_found"), "{refused}");
        }
    })
    .await;
}

fn is_event(kind: &'static str) -> impl Fn(&ServerMessage) -> Option<()> {
    move |message| match message {
        ServerMessage::Event { event, .. } => (event.data.kind() == kind).then_some(()),
        _ => None,
    }
}
