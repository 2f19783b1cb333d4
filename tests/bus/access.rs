//! Access to Redis: passwords, a user with no other rights, and TLS with a private authority.

use raidhall::cluster::bus::Bus;
use raidhall::cluster::bus::redis::{RedisBus, RedisOptions};
use raidhall::store::InstanceId;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use redis::RedisResult;
use uuid::Uuid;

use crate::server::{RedisProcess, connect};
use crate::test_bus::{TestBus, events_channel, number_message};
use crate::wait::wait_for;

/// The user that the bus's documentation asks for.
pub const USER: &str = "user raidhall on >hunter2 resetkeys ~ratelimit:* resetchannels &raid:* &player:* &feed &instance:* -@all +hello +ping +eval +get +set +time";

#[tokio::test]
async fn the_documented_redis_user_suffices_for_the_bus() {
    let server = RedisProcess::start_with(&format!(
        "{USER} +publish +subscribe +unsubscribe\nuser default off"
    ))
    .await;
    let url = format!("redis://raidhall:hunter2@{}", server.address());
    let (mut receiver, sender) = (TestBus::connect(&url).await, TestBus::connect(&url).await);
    receiver.subscribe(&[events_channel(1)]).await;
    sender
        .wait_for_delivery_to(&mut receiver, events_channel(1))
        .await;
    receiver.bus.unsubscribe(&[events_channel(1)]);
    sender.wait_for_subscribers(events_channel(1), 0).await;
    let inbox = receiver.inbox;
    sender.wait_for_delivery_to(&mut receiver, inbox).await;

    let mut user = connect(&url).await.expect("connect as the user");
    let other_channel = redis::cmd("PUBLISH")
        .arg("elsewhere")
        .arg("x")
        .exec_async(&mut user)
        .await;
    let other_key = redis::cmd("GET")
        .arg("raid:{1}:state")
        .exec_async(&mut user)
        .await;
    for refused in [other_channel, other_key] {
        let refused: RedisResult<()> = refused;
        assert_eq!(refused.expect_err("not allowed").code(), Some("NOPERM"));
    }
}

#[tokio::test]
async fn a_wrong_redis_password_is_reported_without_the_password() {
    let server = RedisProcess::start_with("requirepass right").await;
    let test_bus = TestBus::new(&format!("redis://:wr0ng@{}", server.address()), false, None);
    let fault = wait_for_fault(&test_bus).await;
    assert!(fault.to_lowercase().contains("password"), "{fault}");
    assert!(!fault.contains("wr0ng"), "{fault}");
    let _healthy = TestBus::connect(&format!("redis://:right@{}", server.address())).await;
}

#[tokio::test]
async fn tls_accepts_only_the_configured_private_authority() {
    let (ours, other) = (create_authority("ours"), create_authority("other"));
    let key = KeyPair::generate().expect("a key");
    let names =
        CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
    let certificate = names.signed_by(&key, &ours).expect("a certificate");
    let server = RedisProcess::start_tls(&certificate.pem(), &key.serialize_pem()).await;
    let url = format!("rediss://localhost:{}", server.address().port());

    let ready = async |url: &str| {
        TestBus::new(url, false, Some(&ours.pem()))
            .wait_until_ready()
            .await
    };
    let (mut receiver, sender) = (
        ready(&url).await,
        ready(&format!("rediss://{}", server.address())).await,
    );
    receiver.subscribe(&[events_channel(1)]).await;
    assert_eq!(
        sender
            .bus
            .publish_counted(events_channel(1), number_message(1))
            .await,
        Some(1)
    );
    assert_eq!(
        receiver.next_message().await,
        (events_channel(1), number_message(1))
    );

    for wrong in [Some(other.pem()), None] {
        let fault = wait_for_fault(&TestBus::new(&url, false, wrong.as_deref())).await;
        assert!(fault.contains("certificate"), "{fault}");
    }
}

#[test]
fn invalid_redis_options_are_refused_without_the_password() {
    let authority = create_authority("ours").pem();
    for (url, ca) in [
        ("redis://:hunter2@localhost", Some(&*authority)),
        (
            "rediss://:hunter2@localhost",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
        ),
        ("rediss://:hunter2@localhost", Some("no certificate at all")),
        ("rediss://:hunter2@localhost/#insecure", None),
        ("redis://:hunter2@local host", None),
        ("redis+unix:///tmp/x?pass=hunter2", None),
        ("http://:hunter2@localhost", None),
    ] {
        for cluster in [false, true] {
            let instance = InstanceId(Uuid::now_v7());
            let ca_pem = ca.map(|pem| pem.as_bytes().to_vec());
            let options = RedisOptions {
                url: url.to_owned(),
                is_cluster: cluster,
                ca_pem,
                instance,
            };
            let Err(error) = RedisBus::new(options) else {
                panic!("{url} with {ca:?} is accepted")
            };
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}

fn create_authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

async fn wait_for_fault(test_bus: &TestBus) -> String {
    wait_for("a fault of the bus", async || test_bus.bus.down_cause()).await
}
