//! One instance: its parts, and what they are to one another.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info, info_span, warn};
use uuid::Uuid;

use super::lease::{HeldLease, LeaseSetup};
use super::{StartError, open};
use crate::auth::{AuthSecret, RevocationPoller};
use crate::cluster::bus::redis::SharedLimits;
use crate::cluster::client::ClusterClient;
use crate::cluster::message::EnvelopeSealer;
use crate::cluster::ownership::OwnershipClient;
use crate::config::{BaseUrl, Config, ShutdownConfig};
use crate::fanout::audience::RingOptions;
use crate::http::{self, AppState, InstancePhase, OriginPolicy, Readiness};
use crate::jobs::due_scanner::DueScanner;
use crate::jobs::eraser::Eraser;
use crate::jobs::head_poller::HeadPoller;
use crate::jobs::inbox_dispatcher::InboxDispatcher;
use crate::net::client_address::TrustedProxies;
use crate::net::listener::{ConnectionPermits, Listener, PerAddressLimit};
use crate::session::{self, Sessions};
use crate::store::journal::{self, Journal};
use crate::store::{Instance, InstanceId, Store};
use crate::telemetry::{measure_runtime_lag, metrics, metrics_router, run_upkeep};
use crate::webhooks;
use crate::ws::{self, ConnectionService};

/// How often the store looks after itself.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(24 * 3_600);

/// Who may look at the metrics at once.
const METRICS_CONNECTIONS_MAX: u64 = 8;
/// Connections of one address beside those for its WebSockets and as many more.
const EXTRA_CONNECTIONS_PER_ADDRESS: usize = 64;
/// Files for connections to the bus, which may be to each of a cluster's nodes.
const BUS_FILES_MAX: u64 = 32;

/// What an instance is made of.
pub struct InstanceParts {
    /// How everything behaves.
    pub config: Config,
    /// The durable truth, with its schema up to date.
    pub store: Arc<dyn Store>,
    /// What signs tokens.
    pub secret: AuthSecret,
    /// What is believed besides, while the secret is being changed.
    pub accepted_secret: Option<AuthSecret>,
    /// Where clients reach this instance.
    pub base_url: BaseUrl,
    /// Where metrics are served, if they are.
    pub metrics_listener: Option<TcpListener>,
}

/// Serves until `shutdown` ends, then lets raids and clients go. `ready` is called once everything runs.
///
/// # Errors
///
/// [`StartError::AlreadyRunning`] if another instance holds the database; [`StartError::Unavailable`] if the lease was
/// lost for good; others if the store fails at the start.
pub async fn run<L: Listener>(
    host: InstanceParts,
    listener: L,
    ready: impl FnOnce(),
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let running = start(host, listener).await?;
    running.readiness.set_phase(InstancePhase::Running);
    ready();
    tokio::select! {
        () = shutdown => {}
        () = running.held_lease.wait_until_lost() => {}
    }
    running.shut_down().await
}

/// An instance that serves.
pub(super) struct RunningInstance {
    pub(super) shutdown: ShutdownConfig,
    pub(super) readiness: Readiness,
    pub(super) held_lease: HeldLease,
    /// Says for all to see that this instance is about to end.
    pub(super) draining: Arc<AtomicBool>,
    pub(super) sessions: Sessions,
    pub(super) sockets: ConnectionService,
    pub(super) cluster: ClusterClient,
    pub(super) tasks: InstanceTasks,
    /// Closes the doors.
    pub(super) stop_accepting: CancellationToken,
    /// Ends the background tasks, and the sessions when nothing of theirs is in flight.
    pub(super) stop_background: CancellationToken,
    /// Ends the bus.
    pub(super) stop_bus: CancellationToken,
}

/// Builds every part and sets it going.
async fn start<L: Listener>(
    host: InstanceParts,
    listener: L,
) -> Result<RunningInstance, StartError> {
    let InstanceParts {
        config,
        store,
        secret,
        accepted_secret,
        base_url,
        metrics_listener,
    } = host;
    let instance = Instance {
        id: InstanceId(Uuid::now_v7()),
        ws_url: base_url.websocket_url(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        draining: false,
    };
    let bus = open::bus(&config, instance.id)?;
    let allowances = open::shared_limits(&config, instance.id)?;
    let readiness = Readiness::new(config.lease.ttl);
    let draining = Arc::new(AtomicBool::new(false));
    let tenure = LeaseSetup {
        store: Arc::clone(&store),
        instance: instance.clone(),
        draining: Arc::clone(&draining),
        ttl: config.lease.ttl,
        renew_interval: config.lease.renew,
        register_timeout: open::register_timeout(&config),
        readiness: readiness.clone(),
    };
    let kept = tenure.start().await;
    let kept = kept.map_err(|error| {
        open::register_error(format!("the database {}", config.database.url), error)
    })?;
    let HeldLease {
        clock,
        lease,
        membership: peers,
        lineage,
        ..
    } = &kept;
    let (stop, silence, closing) = (
        CancellationToken::new(),
        CancellationToken::new(),
        CancellationToken::new(),
    );
    let tasks = InstanceTasks::default();

    let (journal, writers) = Journal::new(&store, &journal_options(&config));
    for (number, writer) in writers.into_iter().enumerate() {
        tasks
            .journal
            .spawn(writer.run().instrument(info_span!("writer", number)));
    }
    let (claims, clerk) = OwnershipClient::new(Arc::clone(&store), instance.id);
    tasks
        .journal
        .spawn(clerk.run().instrument(info_span!("claims")));
    let seal = EnvelopeSealer::new(&secret, lineage)
        .with_accepted_secret(accepted_secret.as_ref(), lineage);
    let (link, deliveries) = match bus {
        None => (
            ClusterClient::standalone(instance.id, Arc::clone(clock), peers.clone()),
            None,
        ),
        Some((bus, driver, deliveries)) => {
            let (silence, driver) = (silence.clone(), driver.run());
            let drive = async move {
                let _ = silence.run_until_cancelled(driver).await;
            };
            tasks.bus.spawn(drive.instrument(info_span!("bus")));
            let link =
                ClusterClient::clustered(bus, seal, instance.id, Arc::clone(clock), peers.clone());
            (link, Some(deliveries))
        }
    };
    let parts = session::Dependencies {
        store: Arc::clone(&store),
        journal,
        clock: Arc::clone(clock),
        lease: Arc::clone(lease),
        cluster: link.clone(),
        claims,
    };
    let sessions = Sessions::new(
        parts,
        session_options(&config),
        tasks.sessions.clone(),
        stop.clone(),
    );
    if let Some(deliveries) = deliveries {
        let now = Arc::<Notify>::default();
        let post = InboxDispatcher::new(link.clone(), sessions.clone(), Arc::clone(&now));
        tasks.spawn_until(&stop, "post", post.run(deliveries));
        tasks.spawn_until(
            &stop,
            "heads",
            HeadPoller {
                store: Arc::clone(&store),
                cluster: link.clone(),
                poll_requested: now,
            }
            .run(),
        );
        let lease = Arc::clone(lease);
        tasks.spawn_until(&stop, "peers", peers.clone().run(move || lease.is_valid()));
        tasks.spawn_until(
            &stop,
            "bus health",
            report_bus_health(link.watch_bus_health(), readiness.clone()),
        );
    }
    let auth = open::auth(&config, secret, accepted_secret);
    let lookout = RevocationPoller::load(Arc::clone(&store), auth.clone(), Arc::clone(clock)).await;
    let lookout =
        lookout.map_err(|error| StartError::from_store("bans and sign-outs".into(), error))?;
    let origins = config.server.allowed_origins.clone();
    let origins = OriginPolicy::new(move |origin| origins.allows(origin));
    let sockets = ConnectionService::new(
        sessions.clone(),
        Arc::clone(&store),
        auth.clone(),
        Arc::clone(clock),
        lineage.clone(),
        socket_options(&config, origins.clone()),
        tasks.connections.clone(),
    );
    tasks.spawn_until(&stop, "issuers' keys", auth.clone().poll_issuer_keys());
    let ended = sockets.clone();
    tasks.spawn_until(
        &stop,
        "lookout",
        lookout.run(move |unwelcome| ended.close_revoked(unwelcome)),
    );
    let scanner = DueScanner {
        store: Arc::clone(&store),
        sessions: sessions.clone(),
        clock: Arc::clone(clock),
        instance: instance.id,
        interval: config.lease.due_scan,
        lead_time: config.lease.due_ahead,
    };
    tasks.spawn_until(
        &stop,
        "lease terms",
        Arc::clone(lease).run_confirmation(Arc::clone(&store), instance.clone()),
    );
    tasks.spawn_until(&stop, "due", scanner.run());
    let closed = Arc::<Notify>::default();
    let eraser = Eraser {
        store: Arc::clone(&store),
        sessions: sessions.clone(),
        clock: Arc::clone(clock),
        erasure_requested: Arc::clone(&closed),
    };
    tasks.spawn_until(&stop, "erasures", eraser.run());
    for pump in webhooks::dispatchers(&config.webhooks.endpoints, &store, instance.id) {
        let span = info_span!("webhooks", endpoint = pump.endpoint_name());
        tasks
            .background
            .spawn(pump.run(stop.clone()).instrument(span));
    }
    tasks.spawn_until(&stop, "maintenance", maintain_store(Arc::clone(&store)));
    tasks.spawn_until(&stop, "metrics", run_upkeep());
    tasks.spawn_until(&stop, "event loop", measure_runtime_lag());
    if let Some(listener) = metrics_listener {
        let options = server_options(
            &config,
            ConnectionPermits::new(METRICS_CONNECTIONS_MAX),
            METRICS_CONNECTIONS_MAX as usize,
        );
        tasks.spawn_until(
            &stop,
            "metrics",
            http::server::serve(listener, metrics_router(), options, stop.clone()),
        );
    }
    let doors = AppState {
        sessions: sessions.clone(),
        store,
        auth,
        clock: Arc::clone(clock),
        readiness: readiness.clone(),
        erasure_requested: closed,
        webhook_endpoints: config.webhooks.endpoints.clone().into(),
    };
    let shared_limits = allowances.map(|(allowances, keeper)| {
        tasks.spawn_until(&stop, "shared limits", keeper.run());
        allowances
    });
    let router = http::build_router(
        doors,
        &http_options(&config, &instance, origins, shared_limits),
        sockets.router(),
    );
    let seats = ConnectionPermits::from_open_files_limit(
        u64::from(config.database.connections_max) + METRICS_CONNECTIONS_MAX + BUS_FILES_MAX,
    );
    if seats.count() < config.limits.connections {
        let (seats, connections) = (seats.count(), config.limits.connections);
        info!(
            seats,
            connections, "the limit of open files allows fewer connections than limits.connections"
        );
    }
    // A WebSocket is a connection, and its client asks for other things beside it.
    let per_address = config
        .limits
        .connections_per_address
        .saturating_mul(2)
        .saturating_add(EXTRA_CONNECTIONS_PER_ADDRESS);
    let options = server_options(&config, seats, per_address);
    let serving = http::server::serve(listener, router, options, closing.clone());
    tasks.http.spawn(serving.instrument(info_span!("http")));
    let shutdown = config.shutdown;
    Ok(RunningInstance {
        shutdown,
        readiness,
        held_lease: kept,
        draining,
        sessions,
        sockets,
        cluster: link,
        tasks,
        stop_accepting: closing,
        stop_background: stop,
        stop_bus: silence,
    })
}

/// Tells the health doors whether the bus works.
async fn report_bus_health(mut proven: watch::Receiver<bool>, readiness: Readiness) {
    loop {
        readiness.set_bus_healthy(*proven.borrow_and_update());
        if proven.changed().await.is_err() {
            return;
        }
    }
}

/// The tasks of an instance, in the order in which they end.
#[derive(Default)]
pub(super) struct InstanceTasks {
    pub(super) http: TaskTracker,
    pub(super) connections: TaskTracker,
    pub(super) background: TaskTracker,
    pub(super) sessions: TaskTracker,
    pub(super) journal: TaskTracker,
    pub(super) bus: TaskTracker,
}

impl InstanceTasks {
    /// Runs a task in the background until `stop`.
    fn spawn_until(
        &self,
        stop: &CancellationToken,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let stop = stop.clone();
        let task = async move {
            let _ = stop.run_until_cancelled(task).await;
        };
        self.background
            .spawn(task.instrument(info_span!("background", name)));
    }
}

async fn maintain_store(store: Arc<dyn Store>) {
    let mut ticks = interval(MAINTENANCE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match store.maintain().await {
            Ok(found) => metrics()
                .partition_default_rows
                .set(found.default_partition_rows as f64),
            Err(error) => warn!(
                ?error,
                "the store could not look after itself; tomorrow again"
            ),
        }
    }
}

fn journal_options(config: &Config) -> journal::Options {
    journal::Options {
        writers: config.store.writers,
        batch_events_max: config.store.batch_events_max,
        queue_max: config.store.batch_queue,
        commit_patience: config.store.commit_patience,
    }
}

fn server_options(
    config: &Config,
    seats: ConnectionPermits,
    per_address: usize,
) -> http::server::Options {
    let limits = &config.limits;
    let per_address = PerAddressLimit::new(
        per_address,
        TrustedProxies::new(config.server.trusted_proxies.clone()),
    );
    let (header_timeout, write_stall) = (limits.header_timeout, limits.write_stall);
    http::server::Options {
        header_timeout,
        write_stall_timeout: write_stall,
        connection_permits: seats,
        per_address_limit: per_address,
    }
}

fn session_options(config: &Config) -> session::Options {
    let raid = &config.raid;
    session::Options {
        mailbox_messages_max: raid.inbox,
        idle_timeout: raid.idle_timeout,
        presence_grace: raid.presence_grace,
        leader_grace: raid.leader_grace,
        op_keys_max: raid.op_keys,
        snapshot_min_events: raid.snapshot_min_events,
        replay_events_max: config.limits.replay_events as u64,
        ring: RingOptions {
            events_max: raid.ring_events,
            bytes_max: raid.ring_bytes as u64,
        },
        load_timeout: config.store.commit_patience,
        concurrent_loads_max: config.database.connections_max as usize / 4,
    }
}

fn socket_options(config: &Config, allowed_origins: OriginPolicy) -> ws::Options {
    let limits = &config.limits;
    ws::Options {
        allowed_origins,
        message_bytes_max: limits.message_bytes,
        commands_per_second: limits.commands_per_second,
        bytes_per_second: limits.bytes_per_second,
        watches_max: limits.watches,
        signal_bytes_max: limits.signal_bytes,
        connection_limits: ws::ConnectionLimits {
            connections: limits.connections,
            per_address: limits.connections_per_address,
            per_player: limits.connections_per_player,
            unauthenticated: limits.unauthenticated,
            unauthenticated_per_address: limits.unauthenticated_per_address,
        },
        handshakes_per_second: limits.handshakes_per_second,
        outbox_messages_max: limits.outbox_messages,
        outbox_bytes_max: limits.outbox_bytes as u64,
        hello_timeout: limits.hello_timeout,
        heartbeat_interval: limits.heartbeat,
        write_stall_timeout: limits.write_stall,
        drain_spread: config.shutdown.spread,
    }
}

fn http_options(
    config: &Config,
    instance: &Instance,
    allowed_origins: OriginPolicy,
    shared_limits: Option<SharedLimits>,
) -> http::Options {
    let limits = &config.limits;
    http::Options {
        ws_url: instance.ws_url.clone(),
        body_bytes_max: limits.body_bytes,
        body_timeout: limits.body_timeout,
        request_timeout: limits.request_timeout,
        allowed_origins,
        trusted_proxies: TrustedProxies::new(config.server.trusted_proxies.clone()),
        guest_signins_per_minute: limits.guest_signins_per_minute.get(),
        invite_guesses_per_minute: limits.invite_guesses_per_minute.get(),
        commands_per_second: limits.commands_per_second.get(),
        rest_reads_per_minute: limits.rest_reads_per_minute.get(),
        rest_writes_per_minute: limits.rest_writes_per_minute.get(),
        shared_limits,
    }
}
