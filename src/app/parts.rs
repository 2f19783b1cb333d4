//! One instance: its parts, what they are to one another, and how they end.

use super::{StartError, open};
use crate::address::Proxies;
use crate::audience::RingOptions;
use crate::auth::Secret;
use crate::clock::Clock;
use crate::cluster::due::Scanner;
use crate::cluster::lease::{Keeper, Lease};
use crate::config::{BaseUrl, Config};
use crate::http::{self, Doors, Origins, Phase, Readiness};
use crate::listener::Listener;
use crate::session::{self, Sessions};
use crate::socket::{self, Sockets};
use crate::store::journal::{self, Journal};
use crate::store::{Instance, InstanceId, Store};
use crate::telemetry::{metrics, metrics_router, upkeep};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info, info_span, warn};
use uuid::Uuid;

/// How much of the time for shutting down clients may take; the rest is for the raids.
const CLIENTS_SHARE: f64 = 0.7;

/// How often the store looks after itself.
const MAINTENANCE: Duration = Duration::from_secs(24 * 3_600);

/// What an instance is made of.
pub struct Host {
    /// How everything behaves.
    pub config: Config,
    /// The durable truth, with its schema up to date.
    pub store: Arc<dyn Store>,
    /// What signs tokens.
    pub secret: Secret,
    /// Where clients reach this instance.
    pub base_url: BaseUrl,
    /// Where metrics are served, if they are.
    pub metrics: Option<TcpListener>,
}

/// Serves until `shutdown` ends, then lets clients and raids go. `ready` is called once everything runs.
///
/// # Errors
///
/// [`StartError::AlreadyRunning`] if another instance holds the database; [`StartError::Unavailable`] if the lease was
/// lost for good; others if the store fails at the start.
pub async fn run<L: Listener>(
    host: Host,
    listener: L,
    ready: impl FnOnce(),
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let patience = open::patience(&host.config);
    let instance = Instance {
        id: InstanceId(Uuid::now_v7()),
        ws_url: host.base_url.websocket(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        draining: false,
    };
    let sent = Instant::now();
    let enlisted = host.store.enlist(&instance, host.config.lease.ttl, patience).await;
    let renewal =
        enlisted.map_err(|error| open::held(format!("the database {}", host.config.database.url), error))?;
    let clock = Arc::new(Clock::new(renewal.now));
    let ttl = host.config.lease.ttl;
    let lease = if host.store.excludes_others() {
        Lease::unlimited()
    } else {
        // Its start may have been a long wait for a former instance: renewed at once, it counts from now.
        let renewed = Instant::now();
        let again = host.store.renew(&instance, ttl).await;
        let sent = if again.is_ok() { renewed } else { sent };
        Lease::new(sent, ttl)
    };
    let lease = Arc::new(lease);
    let stop = CancellationToken::new();
    let tasks = Tasks::default();

    let (journal, writers) = Journal::new(&host.store, &journal_options(&host.config));
    for (number, writer) in writers.into_iter().enumerate() {
        tasks.journal.spawn(writer.run().instrument(info_span!("writer", number)));
    }
    let sessions = Sessions::new(
        Arc::clone(&host.store),
        journal,
        Arc::clone(&clock),
        Arc::clone(&lease),
        instance.id,
        session_options(&host.config),
        tasks.sessions.clone(),
        stop.clone(),
    );
    let auth = open::auth(&host.config, host.secret);
    let origins = host.config.server.allowed_origins.clone();
    let origins = Origins::new(move |origin| origins.allows(origin));
    let sockets = Sockets::new(
        sessions.clone(),
        Arc::clone(&host.store),
        auth.clone(),
        Arc::clone(&clock),
        renewal.lineage.clone(),
        socket_options(&host.config, origins.clone()),
        tasks.connections.clone(),
    );
    let readiness = Readiness::new(host.config.lease.ttl);
    readiness.renewed();

    let keeper = Keeper {
        store: Arc::clone(&host.store),
        instance: instance.clone(),
        lease,
        ttl,
        renew: host.config.lease.renew,
        clock: Arc::clone(&clock),
        lineage: renewal.lineage,
    };
    let scanner = Scanner {
        store: Arc::clone(&host.store),
        sessions: sessions.clone(),
        clock: Arc::clone(&clock),
        instance: instance.id,
        every: host.config.lease.due_scan,
        ahead: host.config.lease.due_ahead,
    };
    let renewed = readiness.clone();
    let lost = CancellationToken::new();
    let keeping = {
        let lost = lost.clone();
        async move {
            keeper.run(move || renewed.renewed()).await;
            lost.cancel();
        }
    };
    tasks.until(&stop, "lease", keeping);
    tasks.until(&stop, "due", scanner.run());
    tasks.until(&stop, "maintenance", maintain(Arc::clone(&host.store)));
    tasks.until(&stop, "metrics", upkeep());
    if let Some(listener) = host.metrics {
        let options = http::server::Options { header_timeout: host.config.limits.header_timeout };
        tasks.until(&stop, "metrics", http::server::serve(listener, metrics_router(), options, stop.clone()));
    }

    let doors = Doors {
        sessions: sessions.clone(),
        store: Arc::clone(&host.store),
        auth,
        clock,
        readiness: readiness.clone(),
    };
    let router = http::router(doors, &http_options(&host.config, &instance, origins), sockets.router());
    let draining = CancellationToken::new();
    let options = http::server::Options { header_timeout: host.config.limits.header_timeout };
    let serving = http::server::serve(listener, router, options, draining.clone());
    tasks.doors.spawn(serving.instrument(info_span!("http")));
    readiness.enter(Phase::Running);
    ready();

    tokio::select! {
        () = shutdown => {}
        () = lost.cancelled() => {}
    }
    readiness.enter(Phase::Draining);
    draining.cancel();
    sockets.drain();
    let clients = async {
        tasks.doors.finish().await;
        tasks.connections.finish().await;
    };
    if timeout(host.config.shutdown.timeout.mul_f64(CLIENTS_SHARE), clients).await.is_err() {
        warn!("some clients do not let go; the raids are put away without them");
    }
    let ending = async {
        stop.cancel();
        tasks.background.finish().await;
        tasks.sessions.finish().await;
        drop((sessions, sockets));
        tasks.journal.finish().await;
        if let Err(error) = host.store.retire(instance.id).await {
            warn!(?error, "the lease was not given back; it runs out by itself");
        }
    };
    if timeout(host.config.shutdown.timeout.mul_f64(1.0 - CLIENTS_SHARE), ending).await.is_err() {
        warn!("not everything ended in time; what was acknowledged is durable all the same");
    }
    info!("stopped");
    if lost.is_cancelled() {
        let why = anyhow::anyhow!("another instance has it, or the database has another history now");
        return Err(StartError::unavailable("the lease", why));
    }
    Ok(())
}

/// The tasks of an instance, in the order in which they end.
#[derive(Default)]
struct Tasks {
    doors: TaskTracker,
    connections: TaskTracker,
    background: TaskTracker,
    sessions: TaskTracker,
    journal: TaskTracker,
}

impl Tasks {
    /// Runs a task in the background until `stop`.
    fn until(
        &self,
        stop: &CancellationToken,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let stop = stop.clone();
        let task = async move {
            let _ = stop.run_until_cancelled(task).await;
        };
        self.background.spawn(task.instrument(info_span!("background", name)));
    }
}

/// Ends a tracker: no task more, and those that are left are waited for.
trait Finish {
    async fn finish(&self);
}

impl Finish for TaskTracker {
    async fn finish(&self) {
        self.close();
        self.wait().await;
    }
}

async fn maintain(store: Arc<dyn Store>) {
    let mut ticks = interval(MAINTENANCE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match store.maintain().await {
            Ok(found) => metrics().partition_default_rows.set(found.partition_default_rows as f64),
            Err(error) => warn!(?error, "the store could not look after itself; tomorrow again"),
        }
    }
}

fn journal_options(config: &Config) -> journal::Options {
    journal::Options {
        writers: config.store.writers,
        batch_events_max: config.store.batch_events_max,
        queue: config.store.batch_queue,
        commit_patience: config.store.commit_patience,
    }
}

fn session_options(config: &Config) -> session::Options {
    let raid = &config.raid;
    session::Options {
        inbox: raid.inbox,
        idle_timeout: raid.idle_timeout,
        presence_grace: raid.presence_grace,
        leader_grace: raid.leader_grace,
        op_keys: raid.op_keys,
        snapshot_min_events: raid.snapshot_min_events,
        replay_events: config.limits.replay_events as u64,
        ring: RingOptions { events_max: raid.ring_events, bytes_max: raid.ring_bytes as u64 },
        load_patience: config.store.commit_patience,
    }
}

fn socket_options(config: &Config, allowed_origins: Origins) -> socket::Options {
    let limits = &config.limits;
    socket::Options {
        allowed_origins,
        message_bytes: limits.message_bytes,
        commands_per_second: limits.commands_per_second,
        watches: limits.watches,
        signal_bytes: limits.signal_bytes,
        connections_per_address: limits.connections_per_address,
        connections_per_player: limits.connections_per_player,
        outbox_messages: limits.outbox_messages,
        outbox_bytes: limits.outbox_bytes as u64,
        hello_timeout: limits.hello_timeout,
        heartbeat: limits.heartbeat,
        write_stall: limits.write_stall,
        drain_spread: config.shutdown.spread,
    }
}

fn http_options(config: &Config, instance: &Instance, allowed_origins: Origins) -> http::Options {
    let limits = &config.limits;
    http::Options {
        ws_url: instance.ws_url.clone(),
        body_bytes: limits.body_bytes,
        request_timeout: limits.request_timeout,
        allowed_origins,
        trusted_proxies: Proxies::new(config.server.trusted_proxies.clone()),
        guest_signins_per_minute: limits.guest_signins_per_minute.get(),
        invite_guesses_per_minute: limits.invite_guesses_per_minute.get(),
        commands_per_second: limits.commands_per_second.get(),
    }
}
