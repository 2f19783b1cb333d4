//! A bus whose server dies, stalls or cannot be reached: it notices, says so, and heals.

use std::time::Duration;

use bytes::Bytes;
use raidhall::cluster::bus::{Bus, BusDown, BusInput};
use tokio::time::Instant;

use crate::proxy::{Proxy, Way};
use crate::server::RedisServer;
use crate::station::{Station, dropped, events, live, numbered};

const BOTH: [Way; 2] = [Way::ToServer, Way::ToClient];

#[tokio::test]
async fn after_a_restart_of_an_empty_server_every_wish_is_restored_and_all_count_as_lost() {
    let mut server = RedisServer::start().await;
    let (mut hearing, speaking) = Station::pair(&server).await;
    let raids: Vec<_> = (1..=1_200).map(events).collect();
    hearing.subscribed(&raids).await;
    hearing.bus.unsubscribe(&[events(3)]);
    server.kill().await;
    hearing.proven(false).await;
    assert_eq!(
        hearing.bus.subscribe(&[live(1)]).await,
        Err(BusDown),
        "it stays wanted"
    );
    hearing.bus.unsubscribe(&[events(2)]);
    server.restart().await;
    assert_eq!(hearing.next().await, BusInput::LostAll);
    hearing.proven(true).await;
    speaking.proven(true).await;
    for gone in [events(2), events(3)] {
        assert_eq!(
            speaking.bus.publish_counted(gone, numbered(0)).await,
            Some(0)
        );
    }
    speaking.reaches(live(1), 1).await;
    assert_eq!(hearing.message().await.0, live(1));
    for channel in [events(1), events(600), events(1_200)] {
        assert_eq!(
            speaking.bus.publish_counted(channel, numbered(1)).await,
            Some(1)
        );
        assert_eq!(
            hearing.next().await,
            BusInput::Message(channel, numbered(1))
        );
    }
}

#[tokio::test]
async fn a_server_that_flaps_twenty_times_is_survived() {
    let mut server = RedisServer::start().await;
    let (mut hearing, speaking) = Station::pair(&server).await;
    for raid in 1..=20 {
        let _ = hearing.bus.subscribe(&[events(raid), live(raid)]).await;
        hearing.bus.unsubscribe(&[live(raid)]);
        server.restart().await;
    }
    hearing.subscribed(&[events(21)]).await;
    for raid in 1..=21 {
        speaking.reaches(live(raid), 0).await;
        speaking.heard_by(&mut hearing, events(raid)).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_anew_at_once() {
    let server = RedisServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    let mut hearing = Station::up(&format!("redis://{}", proxy.address())).await;
    let speaking = Station::up(&server.url()).await;
    hearing.subscribed(&[events(1)]).await;
    let cut = Instant::now();
    proxy.cut();
    assert_eq!(hearing.next().await, BusInput::LostAll);
    assert!(
        cut.elapsed() < Duration::from_secs(2),
        "{:?}",
        cut.elapsed()
    );
    speaking.heard_by(&mut hearing, events(1)).await;
}

#[tokio::test]
async fn a_black_hole_is_noticed_within_seven_seconds_and_healed() {
    let server = RedisServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    let mut hearing = Station::up(&format!("redis://{}", proxy.address())).await;
    let speaking = Station::up(&server.url()).await;
    hearing.subscribed(&[events(1)]).await;
    let held = Instant::now();
    proxy.hold(&BOTH);
    hearing.proven(false).await;
    assert!(
        held.elapsed() < Duration::from_secs(7),
        "{:?}",
        held.elapsed()
    );
    assert_eq!(hearing.bus.subscribe(&[events(2)]).await, Err(BusDown));
    proxy.release();
    assert_eq!(
        hearing.next().await,
        BusInput::LostAll,
        "nothing that was held is delivered late"
    );
    hearing.proven(true).await;
    speaking.heard_by(&mut hearing, events(1)).await;
    speaking.heard_by(&mut hearing, events(2)).await;
}

#[tokio::test]
async fn a_subscription_that_is_not_confirmed_fails_soon_and_ends_the_connection() {
    let server = RedisServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    let station = Station::up(&format!("redis://{}", proxy.address())).await;
    proxy.hold(&[Way::ToClient]);
    let asked = Instant::now();
    assert_eq!(station.bus.subscribe(&[events(1)]).await, Err(BusDown));
    assert!(
        asked.elapsed() < Duration::from_millis(1_900),
        "{:?}",
        asked.elapsed()
    );
    station.proven(false).await;
    proxy.release();
    station.proven(true).await;
    station.reaches(events(1), 1).await;
}

#[tokio::test]
async fn publishing_never_waits_for_a_server_that_stalls_and_what_is_dropped_is_counted() {
    let server = RedisServer::start().await;
    let station = Station::up(&server.url()).await;
    let (full, down) = (dropped("queue_full"), dropped("down"));
    server.pause();
    let begun = Instant::now();
    let accepted = (0..20_000)
        .filter(|number| station.bus.publish(events(1), numbered(*number)))
        .count();
    assert!(
        begun.elapsed() < Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
    assert!((8_192..=8_192 + 128).contains(&accepted), "{accepted}");
    assert!(dropped("queue_full") >= full + 20_000 - 8_192 - 128);
    assert_eq!(
        station.bus.publish_counted(events(1), numbered(0)).await,
        None
    );
    station.proven(false).await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "a failed publication is a doubt: {:?}",
        begun.elapsed()
    );
    assert!(!station.bus.publish(events(1), Bytes::new()));
    assert!(dropped("down") > down + 8_000, "what waited was dropped");
    server.resume();
    station.proven(true).await;
    station.reaches(station.inbox, 1).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let mut server = RedisServer::start().await;
    server.kill().await;
    let station = Station::new(&server.url(), false, None);
    assert_eq!(station.bus.subscribe(&[events(1)]).await, Err(BusDown));
    assert!(!station.bus.publish(events(1), numbered(1)));
    server.restart().await;
    let mut station = station.ready().await;
    let speaking = Station::up(&server.url()).await;
    speaking.heard_by(&mut station, events(1)).await;
    assert_eq!(station.bus.down_cause(), None);
}
