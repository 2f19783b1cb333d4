//! Limits that instances share in Redis, and what becomes of them without it.

use std::time::Duration;

use raidhall::cluster::bus::redis::{RedisOptions, SharedLimits};
use raidhall::limits::rate::Rate;
use raidhall::store::InstanceId;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::access::USER;
use crate::server::{RedisCluster, RedisServer};

const MINUTE: Duration = Duration::from_secs(60);
/// Beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
const KEY: &str = "ratelimit:{5}:write";

/// An instance's view. Dropping it ends its connection.
struct Counter {
    allowances: SharedLimits,
    keeper: AbortHandle,
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Counter {
    fn of(url: &str, cluster: bool) -> Counter {
        let instance = InstanceId(Uuid::now_v7());
        let options = RedisOptions {
            url: url.to_owned(),
            is_cluster: cluster,
            ca_pem: None,
            instance,
        };
        let (allowances, keeper) = SharedLimits::new(&options).expect("options");
        Counter {
            allowances,
            keeper: tokio::spawn(keeper.run()).abort_handle(),
        }
    }

    /// Once it works.
    async fn ready(self) -> Counter {
        let works = async {
            while self
                .allowances
                .charge("ratelimit:{0}:ready", thousand())
                .await
                .is_none()
            {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, works)
            .await
            .expect("the limits are shared in time");
        self
    }

    /// How many of the next are let through; none if Redis does not say.
    async fn charge(&self, key: &str, rate: Rate) -> Option<bool> {
        self.allowances
            .charge(key, rate)
            .await
            .map(|answer| answer.is_ok())
    }
}

/// How often this process was not allowed to count in Redis.
fn forbidden() -> u64 {
    let page = raidhall::telemetry::render_metrics();
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("raidhall_limits_local_total{cause=\"forbidden\"} "));
    line.map_or(0, |count| count.parse().expect("a number"))
}

fn thousand() -> Rate {
    Rate::new(1000, Duration::from_secs(1))
}

#[tokio::test]
async fn two_instances_count_together_and_charges_can_be_taken_back() {
    let server = RedisServer::start().await;
    let (one, other) = (
        Counter::of(&server.url(), false).ready().await,
        Counter::of(&server.url(), false).ready().await,
    );
    let rate = Rate::new(10, MINUTE);
    for charged in 1..=10 {
        let counter = if charged % 2 == 0 { &one } else { &other };
        let standing = counter
            .allowances
            .charge(KEY, rate)
            .await
            .expect("Redis")
            .expect("allowed");
        assert_eq!((standing.limit, standing.remaining), (10, 10 - charged));
    }
    let exceeded = one
        .allowances
        .charge(KEY, rate)
        .await
        .expect("Redis")
        .expect_err("too much");
    assert_eq!(exceeded.limit, 10);
    assert!(
        exceeded.retry_after <= Duration::from_secs(6)
            && exceeded.retry_after > Duration::from_secs(3)
    );
    assert!(exceeded.reset_after <= MINUTE && exceeded.reset_after > Duration::from_secs(50));
    other.allowances.refund(KEY, rate).await;
    assert_eq!(one.charge(KEY, rate).await, Some(true));
    assert_eq!(other.charge(KEY, rate).await, Some(false));
    assert_eq!(
        other.charge("ratelimit:{6}:write", rate).await,
        Some(true),
        "others are not concerned"
    );

    let mut redis = server.connect().await;
    let left: i64 = redis::cmd("PTTL")
        .arg(KEY)
        .query_async(&mut redis)
        .await
        .expect("a time");
    assert!(
        (1..=60_000).contains(&left),
        "the key ends by itself: {left}"
    );
}

#[tokio::test]
async fn a_thousand_at_once_over_four_instances_get_no_more_than_the_limit() {
    let server = RedisServer::start().await;
    let mut counters = Vec::new();
    for _ in 0..4 {
        counters.push(Counter::of(&server.url(), false).ready().await);
    }
    let rate = Rate::new(100, Duration::from_secs(3600));
    let mut charging = JoinSet::new();
    for number in 0..1000 {
        let allowances = counters[number % 4].allowances.clone();
        charging.spawn(async move { allowances.charge(KEY, rate).await });
    }
    let answers = charging.join_all().await;
    let allowed = answers
        .iter()
        .flatten()
        .filter(|answer| answer.is_ok())
        .count();
    let unanswered = answers.iter().filter(|answer| answer.is_none()).count();
    assert!(
        allowed <= 100 && (allowed == 100 || unanswered > 0),
        "{allowed}, {unanswered} unanswered"
    );
}

#[tokio::test]
async fn a_redis_that_stands_still_is_waited_for_a_moment_once_and_used_again_later() {
    let mut server = RedisServer::start().await;
    let counter = Counter::of(&server.url(), false).ready().await;
    let rate = Rate::new(10, MINUTE);
    server.pause();
    let begun = Instant::now();
    assert_eq!(counter.charge(KEY, rate).await, None);
    let waited = begun.elapsed();
    assert!(waited < Duration::from_millis(500), "{waited:?}");
    let begun = Instant::now();
    for _ in 0..1000 {
        assert_eq!(counter.charge(KEY, rate).await, None);
    }
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "nobody else waits: {:?}",
        begun.elapsed()
    );
    server.resume();
    let counter = counter.ready().await;
    assert_eq!(counter.charge(KEY, rate).await, Some(true));

    server.kill().await;
    assert_eq!(counter.charge(KEY, rate).await, None);
    server.restart().await;
    let counter = counter.ready().await;
    for _ in 0..10 {
        assert_eq!(
            counter.charge(KEY, rate).await,
            Some(true),
            "it remembers nothing"
        );
    }
}

#[tokio::test]
async fn the_documented_user_may_count_and_no_more() {
    let server = RedisServer::start_with(&format!(
        "{USER} +publish +subscribe +unsubscribe\nuser default off"
    ))
    .await;
    let url = format!("redis://raidhall:hunter2@{}", server.address());
    let counter = Counter::of(&url, false).ready().await;
    assert_eq!(counter.charge(KEY, Rate::new(1, MINUTE)).await, Some(true));
    assert_eq!(counter.charge(KEY, Rate::new(1, MINUTE)).await, Some(false));
    assert_eq!(
        counter.charge("elsewhere", Rate::new(1, MINUTE)).await,
        None,
        "no other key"
    );
}

/// The user of the release before: no keys at all, or the script's commands missing within it.
#[tokio::test]
async fn a_user_that_may_not_touch_keys_counts_for_itself() {
    for may in [
        "resetkeys -@all +hello +ping",
        "~ratelimit:* -@all +hello +ping +eval",
    ] {
        let user = format!(
            "user raidhall on >hunter2 resetchannels &raid:* &instance:* {may}\nuser default off"
        );
        let server = RedisServer::start_with(&user).await;
        let counter = Counter::of(
            &format!("redis://raidhall:hunter2@{}", server.address()),
            false,
        );
        let before = forbidden();
        let told = async {
            while forbidden() == before {
                assert_eq!(counter.charge(KEY, thousand()).await, None);
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, told)
            .await
            .expect("it is known to be forbidden");
    }
}

#[tokio::test]
async fn a_redis_cluster_counts_each_key_where_it_lives() {
    let user = format!("{USER} +cluster|slots +spublish +ssubscribe +sunsubscribe");
    let cluster = RedisCluster::start_with(&user).await;
    let url = format!("redis://raidhall:hunter2@{}", cluster.nodes[0].address());
    let (one, other) = (
        Counter::of(&url, true).ready().await,
        Counter::of(&url, true).ready().await,
    );
    let rate = Rate::new(1, MINUTE);
    for player in 0..30 {
        let key = format!("ratelimit:{{{player}}}:write");
        assert_eq!(one.charge(&key, rate).await, Some(true), "{key}");
        assert_eq!(other.charge(&key, rate).await, Some(false), "{key}");
    }
}
