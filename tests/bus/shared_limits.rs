//! Limits that instances share in Redis, and how they behave without it.

use std::sync::Arc;
use std::time::Duration;

use raidhall::cluster::bus::redis::{RedisOptions, SharedLimits};
use raidhall::jobs::command_reporter::CommandReporter;
use raidhall::limits::command_limiter::CommandLimiter;
use raidhall::limits::rate::Rate;
use raidhall::store::InstanceId;
use raidhall_protocol::PlayerId;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::access::USER;
use crate::server::{RedisCluster, RedisProcess};
use crate::wait::wait_for;

const MINUTE: Duration = Duration::from_secs(60);
/// Longer than any wait in these tests.
const WAIT_MAX: Duration = Duration::from_secs(20);
const KEY: &str = "ratelimit:{5}:write";

/// One instance's client of the shared limits. Dropping it closes its connection.
struct TestLimiter {
    limits: SharedLimits,
    driver: AbortHandle,
}

impl Drop for TestLimiter {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl TestLimiter {
    fn connect(url: &str, cluster: bool) -> TestLimiter {
        let instance = InstanceId(Uuid::now_v7());
        let options = RedisOptions {
            url: url.to_owned(),
            is_cluster: cluster,
            ca_pem: None,
            instance,
        };
        let (limits, driver) = SharedLimits::new(&options).expect("options");
        TestLimiter {
            limits,
            driver: tokio::spawn(driver.run()).abort_handle(),
        }
    }

    /// Waits until the limits are shared.
    async fn wait_until_ready(self) -> TestLimiter {
        let works = async {
            while self
                .limits
                .charge("ratelimit:{0}:ready", thousand_per_second())
                .await
                .is_none()
            {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(WAIT_MAX, works)
            .await
            .expect("the limits are shared in time");
        self
    }

    /// Charges one and returns whether it was allowed; `None` if Redis does not respond.
    async fn try_charge(&self, key: &str, rate: Rate) -> Option<bool> {
        self.limits
            .charge(key, rate)
            .await
            .map(|outcome| outcome.is_ok())
    }
}

/// Returns how often this process charged locally because Redis refused the commands.
fn forbidden_count() -> u64 {
    let page = raidhall::telemetry::render_metrics();
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("raidhall_limits_local_total{cause=\"forbidden\"} "));
    line.map_or(0, |count| count.parse().expect("a number"))
}

fn thousand_per_second() -> Rate {
    Rate::new(1000, Duration::from_secs(1))
}

#[tokio::test]
async fn two_instances_share_a_rate_limit_and_can_refund_charges() {
    let server = RedisProcess::start().await;
    let (one, other) = (
        TestLimiter::connect(&server.url(), false)
            .wait_until_ready()
            .await,
        TestLimiter::connect(&server.url(), false)
            .wait_until_ready()
            .await,
    );
    let rate = Rate::new(10, MINUTE);
    for charged in 1..=10 {
        let limiter = if charged % 2 == 0 { &one } else { &other };
        let status = limiter
            .limits
            .charge(KEY, rate)
            .await
            .expect("Redis")
            .expect("allowed");
        assert_eq!((status.limit, status.remaining), (10, 10 - charged));
    }
    let exceeded = one
        .limits
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
    other.limits.refund(KEY, rate).await;
    assert_eq!(one.try_charge(KEY, rate).await, Some(true));
    assert_eq!(other.try_charge(KEY, rate).await, Some(false));
    assert_eq!(
        other.try_charge("ratelimit:{6}:write", rate).await,
        Some(true),
        "other keys are not affected"
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
async fn a_thousand_charges_at_four_instances_stay_within_the_limit() {
    let server = RedisProcess::start().await;
    let mut limiters = Vec::new();
    for _ in 0..4 {
        limiters.push(
            TestLimiter::connect(&server.url(), false)
                .wait_until_ready()
                .await,
        );
    }
    let rate = Rate::new(100, Duration::from_secs(3600));
    let mut charging = JoinSet::new();
    for number in 0..1000 {
        let limits = limiters[number % 4].limits.clone();
        charging.spawn(async move { limits.charge(KEY, rate).await });
    }
    let outcomes = charging.join_all().await;
    let allowed = outcomes
        .iter()
        .flatten()
        .filter(|outcome| outcome.is_ok())
        .count();
    let unanswered = outcomes.iter().filter(|outcome| outcome.is_none()).count();
    assert!(
        allowed <= 100 && (allowed == 100 || unanswered > 0),
        "{allowed}, {unanswered} unanswered"
    );
}

#[tokio::test]
async fn a_stalled_redis_delays_one_charge_and_is_used_again_later() {
    let mut server = RedisProcess::start().await;
    let limiter = TestLimiter::connect(&server.url(), false)
        .wait_until_ready()
        .await;
    let rate = Rate::new(10, MINUTE);
    server.pause();
    let began = Instant::now();
    assert_eq!(limiter.try_charge(KEY, rate).await, None);
    let waited = began.elapsed();
    assert!(waited < Duration::from_millis(500), "{waited:?}");
    let began = Instant::now();
    for _ in 0..1000 {
        assert_eq!(limiter.try_charge(KEY, rate).await, None);
    }
    assert!(
        began.elapsed() < Duration::from_millis(500),
        "later charges do not wait: {:?}",
        began.elapsed()
    );
    server.resume();
    let limiter = limiter.wait_until_ready().await;
    assert_eq!(limiter.try_charge(KEY, rate).await, Some(true));

    server.kill().await;
    assert_eq!(limiter.try_charge(KEY, rate).await, None);
    server.restart().await;
    let limiter = limiter.wait_until_ready().await;
    for _ in 0..10 {
        assert_eq!(
            limiter.try_charge(KEY, rate).await,
            Some(true),
            "a restarted Redis has lost the charges"
        );
    }
}

#[tokio::test]
async fn the_documented_redis_user_may_only_count_its_own_keys() {
    let server = RedisProcess::start_with(&format!(
        "{USER} +publish +subscribe +unsubscribe\nuser default off"
    ))
    .await;
    let url = format!("redis://raidhall:hunter2@{}", server.address());
    let limiter = TestLimiter::connect(&url, false).wait_until_ready().await;
    assert_eq!(
        limiter.try_charge(KEY, Rate::new(1, MINUTE)).await,
        Some(true)
    );
    assert_eq!(
        limiter.try_charge(KEY, Rate::new(1, MINUTE)).await,
        Some(false)
    );
    assert_eq!(
        limiter.try_charge("elsewhere", Rate::new(1, MINUTE)).await,
        None,
        "another key is refused"
    );
}

/// The Redis user of the previous release has no keys at all, or lacks the commands within the
/// script.
#[tokio::test]
async fn an_instance_whose_redis_user_lacks_keys_counts_alone() {
    for rights in [
        "resetkeys -@all +hello +ping",
        "~ratelimit:* -@all +hello +ping +eval",
    ] {
        let user = format!(
            "user raidhall on >hunter2 resetchannels &raid:* &player:* &feed &instance:* {rights}\nuser default off"
        );
        let server = RedisProcess::start_with(&user).await;
        let limiter = TestLimiter::connect(
            &format!("redis://raidhall:hunter2@{}", server.address()),
            false,
        );
        let before = forbidden_count();
        let refused = async {
            while forbidden_count() == before {
                assert_eq!(limiter.try_charge(KEY, thousand_per_second()).await, None);
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(WAIT_MAX, refused)
            .await
            .expect("the refusal is counted");
    }
}

#[tokio::test]
async fn a_redis_cluster_counts_each_key_on_its_own_shard() {
    let user = format!("{USER} +cluster|slots +spublish +ssubscribe +sunsubscribe");
    let cluster = RedisCluster::start_with(&user).await;
    let url = format!("redis://raidhall:hunter2@{}", cluster.nodes[0].address());
    let (one, other) = (
        TestLimiter::connect(&url, true).wait_until_ready().await,
        TestLimiter::connect(&url, true).wait_until_ready().await,
    );
    let rate = Rate::new(1, MINUTE);
    for player in 0..30 {
        let key = format!("ratelimit:{{{player}}}:write");
        assert_eq!(one.try_charge(&key, rate).await, Some(true), "{key}");
        assert_eq!(other.try_charge(&key, rate).await, Some(false), "{key}");
    }
}

/// One instance's limit on commands, shared with the others.
struct TestCommandLimiter {
    commands: Arc<CommandLimiter>,
    reporter: AbortHandle,
    _shared: TestLimiter,
}

impl Drop for TestCommandLimiter {
    fn drop(&mut self) {
        self.reporter.abort();
    }
}

impl TestCommandLimiter {
    fn start(shared: TestLimiter, per_second: u32) -> TestCommandLimiter {
        let commands = Arc::new(CommandLimiter::new(per_second, true));
        let reporter = CommandReporter {
            limiter: Arc::clone(&commands),
            shared: shared.limits.clone(),
            lineage: "lineage".into(),
        };
        TestCommandLimiter {
            commands,
            reporter: tokio::spawn(reporter.run()).abort_handle(),
            _shared: shared,
        }
    }

    /// Charges commands until one is refused; returns how many were granted.
    fn exhaust(&self, player: PlayerId) -> u32 {
        let mut granted = 0;
        while self.commands.charge(player).is_ok() {
            granted += 1;
        }
        granted
    }
}

/// Returns how many commands a player with this limit is granted by all the instances, and how long
/// it took to be granted at least `count`.
async fn grant_commands(
    instances: &[TestCommandLimiter],
    player: PlayerId,
    count: u32,
) -> (u32, Duration) {
    let began = Instant::now();
    let mut granted = 0;
    wait_for("granted commands", async || {
        granted += instances
            .iter()
            .map(|instance| instance.exhaust(player))
            .sum::<u32>();
        (granted >= count).then_some(())
    })
    .await;
    (granted, began.elapsed())
}

fn player() -> PlayerId {
    PlayerId::try_from(7_u64).expect("an id")
}

#[tokio::test]
async fn instances_grant_a_player_the_commands_of_one_limit() {
    let server = RedisProcess::start().await;
    let mut instances = Vec::new();
    for _ in 0..2 {
        let shared = TestLimiter::connect(&server.url(), false)
            .wait_until_ready()
            .await;
        instances.push(TestCommandLimiter::start(shared, 100));
    }
    // A burst of 200 from each instance, before the first report, is the most that is not shared.
    let (granted, elapsed) = grant_commands(&instances, player(), 650).await;
    let allowed = 400.0 + 100.0 * elapsed.as_secs_f64();
    assert!(
        f64::from(granted) <= allowed + 2.0,
        "{granted} commands in {elapsed:?}"
    );
    let other = PlayerId::try_from(8_u64).expect("an id");
    assert!(instances[0].commands.charge(other).is_ok());
}

#[tokio::test]
async fn each_instance_limits_commands_alone_while_redis_is_down() {
    let mut server = RedisProcess::start().await;
    let shared = TestLimiter::connect(&server.url(), false)
        .wait_until_ready()
        .await;
    let instance = TestCommandLimiter::start(shared, 100);
    server.kill().await;
    let began = Instant::now();
    let (granted, elapsed) = grant_commands(std::slice::from_ref(&instance), player(), 300).await;
    let allowed = 200.0 + 100.0 * elapsed.as_secs_f64();
    assert!(
        f64::from(granted) <= allowed + 1.0,
        "{granted} commands in {elapsed:?}"
    );
    assert!(
        began.elapsed() < WAIT_MAX,
        "commands do not wait for Redis: {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_redis_cluster_takes_the_reports_of_many_players() {
    let user = format!("{USER} +cluster|slots +spublish +ssubscribe +sunsubscribe");
    let cluster = RedisCluster::start_with(&user).await;
    let url = format!("redis://raidhall:hunter2@{}", cluster.nodes[0].address());
    let limiter = TestLimiter::connect(&url, true).wait_until_ready().await;
    let rate = Rate::new(10, MINUTE);
    let charges: Vec<_> = (1..=30)
        .map(|player| (format!("ratelimit:{{{player}}}:command"), player))
        .collect();
    let reported = limiter.limits.report(&charges, rate).await.expect("Redis");
    let used: Vec<_> = (1..=30).map(|count| rate.interval() * count).collect();
    assert_eq!(reported, used, "more than the limit is a debt");
}
