//! One instance: its components, and how they depend on each other.
//!
//! [`Instance::start`] is the only place where components are wired. The program, the tests of
//! sessions and the tests of the REST API all start their instances here; they differ in the store,
//! the bus and the listener that they pass in.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tracing::{Instrument, info, info_span};

use super::lease::{HeldLease, LeaseSetup};
use super::tasks::InstanceTasks;
use super::{StartError, open, progression};
use crate::auth::{Auth, AuthSecret, RevocationPoller};
use crate::clock::Clock;
use crate::cluster::bus::redis::{SharedLimits, SharedLimitsDriver};
use crate::cluster::bus::{BusConnection, BusInputReceiver};
use crate::cluster::client::ClusterClient;
use crate::cluster::lease::Lease;
use crate::cluster::message::EnvelopeSealer;
use crate::cluster::ownership::OwnershipClient;
use crate::config::{BaseUrl, Config};
use crate::http::server::AcceptLimits;
use crate::http::{self, AppState, ExportPermits, InstancePhase, RateLimits, Readiness};
use crate::jobs::command_reporter::CommandReporter;
use crate::jobs::due_scanner::DueScanner;
use crate::jobs::eraser::Eraser;
use crate::jobs::feed_announcer::FeedAnnouncer;
use crate::jobs::feed_monitor::FeedMonitor;
use crate::jobs::head_poller::HeadPoller;
use crate::jobs::inbox_dispatcher::InboxDispatcher;
use crate::jobs::maintenance::Maintenance;
use crate::jobs::peer_monitor::PeerMonitor;
use crate::jobs::projector::Projector;
use crate::jobs::space_monitor::SpaceMonitor;
use crate::limits::command_limiter::CommandLimiter;
use crate::net::listener::{ConnectionPermits, Listener, PerAddressLimit};
use crate::session::{self, Registry};
use crate::store::journal::Journal;
use crate::store::{InstanceId, InstanceRecord, Store};
use crate::streams::Streams;
use crate::telemetry::{measure_runtime_lag, metrics_router, run_upkeep};
use crate::ws::ConnectionService;
use crate::{feed_reader, webhooks, ws};

/// The most open connections of the metrics listener.
const METRICS_CONNECTIONS_MAX: u64 = 8;

/// How long a connection to the metrics listener may be silent: eight mute ones must not keep
/// Prometheus out.
const METRICS_HEADER_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that one address may hold beyond twice its WebSockets.
const EXTRA_CONNECTIONS_PER_ADDRESS: usize = 64;
/// Open files reserved for connections to the bus, which may be one to each node of a Redis
/// Cluster.
const BUS_FILES_MAX: u64 = 32;

/// The inputs of an instance.
pub struct InstanceParts {
    /// The instance's id: new with every start.
    pub id: InstanceId,
    /// The options of all components.
    pub config: Config,
    /// The store, with its schema up to date.
    pub store: Arc<dyn Store>,
    /// The connection to the other instances; `None` for an instance without a cluster.
    pub bus: Option<BusConnection>,
    /// The rate limits that all instances charge together; `None` for an instance without a
    /// cluster.
    pub shared_limits: Option<(SharedLimits, SharedLimitsDriver)>,
    /// The secret that signs tokens and seals cluster messages.
    pub secret: AuthSecret,
    /// The URL at which clients reach this instance.
    pub base_url: BaseUrl,
    /// Whether the lease is renewed on a thread of its own, so that no load delays its renewal.
    pub has_lease_thread: bool,
}

/// An instance: its components, the tasks that run them, and its lease.
pub struct Instance {
    record: InstanceRecord,
    pub(super) config: Config,
    pub(super) readiness: Readiness,
    pub(super) held_lease: HeldLease,
    /// Whether this instance is about to end; its row in the store says so too.
    pub(super) draining: Arc<AtomicBool>,
    pub(super) sessions: Registry,
    pub(super) sockets: ConnectionService,
    pub(super) cluster: ClusterClient,
    pub(crate) tasks: InstanceTasks,
    pub(super) router: Router,
    auth: Auth,
}

impl Instance {
    /// Registers the instance in the store, builds every component and starts its tasks. It serves
    /// no clients until [`Instance::serve`] is called.
    ///
    /// # Errors
    ///
    /// Fails with [`StartError::AlreadyRunning`] if another instance holds the database, and with
    /// other errors if the store fails.
    pub async fn start(parts: InstanceParts) -> Result<Instance, StartError> {
        let InstanceParts {
            id,
            config,
            store,
            bus,
            shared_limits,
            secret,
            base_url,
            has_lease_thread,
        } = parts;
        let tasks = InstanceTasks::default();
        let record = InstanceRecord {
            id,
            ws_url: base_url.websocket_url(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            draining: false,
        };
        let readiness = Readiness::new(config.lease.ttl);
        let draining = Arc::new(AtomicBool::new(false));
        let held_lease = LeaseSetup {
            store: Arc::clone(&store),
            instance: record.clone(),
            draining: Arc::clone(&draining),
            options: config.lease,
            register_timeout: open::register_timeout(&config),
            readiness: readiness.clone(),
            has_own_thread: has_lease_thread,
        }
        .start()
        .await
        .map_err(|error| {
            open::register_error(format!("the database {}", config.database.url), error)
        })?;
        progression::adopt_definitions(&*store, &config).await?;
        let clock = Arc::clone(&held_lease.clock);
        let lease = Arc::clone(&held_lease.lease);
        tasks.spawn(
            "lease terms",
            Arc::clone(&lease).run_confirmation(Arc::clone(&store), record.clone()),
        );

        let sealer = EnvelopeSealer::new(&secret, &held_lease.lineage)
            .with_accepted_secret(config.auth.accepted_secret.as_ref(), &held_lease.lineage);
        let (cluster, bus_input) = connect_cluster(bus, sealer, id, &held_lease, &tasks);
        let journal = start_journal(&store, &config, &tasks);
        let feed_advanced = Arc::<Notify>::default();
        let announcer = FeedAnnouncer {
            committed: journal.committed(),
            feed_advanced: Arc::clone(&feed_advanced),
            cluster: cluster.clone(),
        };
        tasks.spawn("feed announcer", announcer.run());
        let sessions = Registry::new(
            session::Dependencies {
                store: Arc::clone(&store),
                journal,
                clock: Arc::clone(&clock),
                lease: Arc::clone(&lease),
                cluster: cluster.clone(),
                claims: start_ownership_client(&store, id, &tasks),
            },
            config.sessions.clone(),
            tasks.sessions.clone(),
            tasks.stop_background.clone(),
        );
        let streams = Streams::new(Arc::clone(&store), Arc::clone(&clock), cluster.clone());
        let head_poller = HeadPoller {
            store: Arc::clone(&store),
            cluster: cluster.clone(),
            streams: streams.clone(),
            poll_requested: Arc::default(),
        };
        let poll_requested = Arc::clone(&head_poller.poll_requested);
        tasks.spawn("head poller", head_poller.run());
        if let Some(input) = bus_input {
            let dispatcher = InboxDispatcher::new(
                cluster.clone(),
                sessions.clone(),
                streams.clone(),
                poll_requested,
                Arc::clone(&feed_advanced),
            );
            tasks.spawn("inbox dispatcher", dispatcher.run(input));
            spawn_cluster_tasks(&cluster, &held_lease, &readiness, &tasks);
        }

        let auth = Auth::new(&secret, config.auth.clone());
        let commands = Arc::new(CommandLimiter::new(
            config.sockets.commands_per_second.get(),
            shared_limits.is_some(),
        ));
        let sockets = ConnectionService::new(
            ws::ConnectionDependencies {
                sessions: sessions.clone(),
                streams: streams.clone(),
                store: Arc::clone(&store),
                auth: auth.clone(),
                clock: Arc::clone(&clock),
                lineage: held_lease.lineage.clone(),
                commands: Arc::clone(&commands),
            },
            config.sockets.clone(),
            tasks.connections.clone(),
        );
        let erasure_requested = Arc::<Notify>::default();
        let shared_limits = shared_limits.map(|(limits, driver)| {
            tasks.spawn("shared limits", driver.run());
            let reporter = CommandReporter {
                limiter: Arc::clone(&commands),
                shared: limits.clone(),
                lineage: held_lease.lineage.clone(),
            };
            tasks.spawn("command reporter", reporter.run());
            limits
        });
        let state = AppState {
            sessions: sessions.clone(),
            streams: streams.clone(),
            store: Arc::clone(&store),
            auth: auth.clone(),
            clock: Arc::clone(&clock),
            readiness: readiness.clone(),
            erasure_requested: Arc::clone(&erasure_requested),
            webhook_endpoints: config.webhooks.endpoints.clone(),
            ws_url: record.ws_url.clone(),
            rate_limits: RateLimits::new(
                &config.http,
                commands,
                shared_limits,
                &held_lease.lineage,
            ),
            export_permits: ExportPermits::default(),
        };
        let router = http::build_router(state, &config.http, sockets.router());

        let revocations =
            RevocationPoller::load(Arc::clone(&store), auth.clone(), Arc::clone(&clock))
                .await
                .map_err(|error| StartError::from_store("bans and sign-outs".into(), error))?;
        let revoked_sockets = sockets.clone();
        tasks.spawn(
            "revocation poller",
            revocations.run(move |revoked| revoked_sockets.close_revoked(revoked)),
        );
        tasks.spawn("issuer keys", auth.clone().poll_issuer_keys());
        let feed_monitor = FeedMonitor {
            store: Arc::clone(&store),
        };
        let feed_readiness = readiness.clone();
        let set_delayed = move |is_delayed| feed_readiness.set_feed_delayed(is_delayed);
        tasks.spawn("feed monitor", feed_monitor.run(set_delayed));
        let space_monitor = SpaceMonitor {
            store: Arc::clone(&store),
            options: config.space,
        };
        let space_readiness = readiness.clone();
        let set_low = move |is_low| space_readiness.set_space_low(is_low);
        tasks.spawn("space monitor", space_monitor.run(set_low));
        let projector_readiness = readiness.clone();
        let projector = Projector {
            store: Arc::clone(&store),
            definitions: streams.current_definitions(),
            streams,
            instance: id,
            clock: Arc::clone(&clock),
            cluster: cluster.clone(),
            feed_advanced,
            report_lag: Box::new(move |lag| projector_readiness.set_projector_lag(lag)),
        };
        let stop = tasks.stop_background.clone();
        let span = info_span!("projector");
        tasks
            .background
            .spawn(feed_reader::run(projector, stop).instrument(span));
        spawn_jobs(
            id,
            &config,
            store,
            &sessions,
            clock,
            erasure_requested,
            &tasks,
        );
        Ok(Instance {
            record,
            config,
            readiness,
            held_lease,
            draining,
            sessions,
            sockets,
            cluster,
            tasks,
            auth,
            router,
        })
    }

    /// Serves the API, the WebSockets and the web app on `listener` until the instance shuts down.
    pub fn serve(&self, listener: impl Listener) {
        let config = &self.config;
        let own_files =
            u64::from(config.database.connections_max) + METRICS_CONNECTIONS_MAX + BUS_FILES_MAX;
        let connection_permits = ConnectionPermits::from_open_files_limit(own_files);
        if connection_permits.count() < config.sockets.connections_max {
            let permits = connection_permits.count();
            let connections = config.sockets.connections_max;
            info!(
                permits,
                connections,
                "the limit of open files allows fewer connections than limits.connections; the rest wait to be accepted"
            );
        }
        // A client with a WebSocket sends HTTP requests over further connections.
        let per_address = config
            .sockets
            .connections_per_address_max
            .saturating_mul(2)
            .saturating_add(EXTRA_CONNECTIONS_PER_ADDRESS);
        let serving = http::server::serve(
            listener,
            self.router.clone(),
            config.connections.clone(),
            self.accept_limits(connection_permits, per_address),
            self.tasks.stop_accepting.clone(),
        );
        self.tasks
            .http
            .spawn(serving.instrument(info_span!("http")));
        self.readiness.set_phase(InstancePhase::Running);
    }

    /// Serves `/metrics` on `listener` until the instance shuts down.
    pub fn serve_metrics(&self, listener: TcpListener) {
        let permits = ConnectionPermits::new(METRICS_CONNECTIONS_MAX);
        let serving = http::server::serve(
            listener,
            metrics_router(),
            http::server::Options {
                header_timeout: METRICS_HEADER_TIMEOUT,
                ..self.config.connections.clone()
            },
            self.accept_limits(permits, METRICS_CONNECTIONS_MAX as usize),
            self.tasks.stop_background.clone(),
        );
        self.tasks.spawn("metrics listener", serving);
    }

    fn accept_limits(&self, permits: ConnectionPermits, per_address: usize) -> AcceptLimits {
        let proxies = self.config.http.trusted_proxies.clone();
        AcceptLimits {
            connection_permits: permits,
            per_address_limit: PerAddressLimit::new(per_address, proxies),
        }
    }

    /// Returns this instance's row in the store.
    pub fn record(&self) -> &InstanceRecord {
        &self.record
    }

    /// Returns the registry of this instance's sessions.
    pub fn sessions(&self) -> &Registry {
        &self.sessions
    }

    /// Returns the router that [`Instance::serve`] serves.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Returns the component that makes and checks tokens.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Returns the clock, which follows the database's time.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.held_lease.clock
    }

    pub fn lease(&self) -> &Arc<Lease> {
        &self.held_lease.lease
    }

    /// Waits until the lease is lost for good; the instance cannot serve any longer then.
    pub async fn wait_until_lost(&self) {
        self.held_lease.wait_until_lost().await;
    }
}

fn start_journal(store: &Arc<dyn Store>, config: &Config, tasks: &InstanceTasks) -> Journal {
    let (journal, writers) = Journal::new(store, &config.journal);
    for (number, writer) in writers.into_iter().enumerate() {
        let span = info_span!("journal writer", number);
        tasks.journal.spawn(writer.run().instrument(span));
    }
    journal
}

fn start_ownership_client(
    store: &Arc<dyn Store>,
    instance: InstanceId,
    tasks: &InstanceTasks,
) -> OwnershipClient {
    let (claims, writer) = OwnershipClient::new(Arc::clone(store), instance);
    let span = info_span!("claim writer");
    tasks.journal.spawn(writer.run().instrument(span));
    claims
}

/// Starts the bus, if there is one. Returns the cluster client and the receiver of the bus's
/// messages.
fn connect_cluster(
    bus: Option<BusConnection>,
    sealer: EnvelopeSealer,
    instance: InstanceId,
    lease: &HeldLease,
    tasks: &InstanceTasks,
) -> (ClusterClient, Option<BusInputReceiver>) {
    let clock = Arc::clone(&lease.clock);
    let membership = lease.membership.clone();
    let Some(BusConnection { bus, driver, input }) = bus else {
        let cluster = ClusterClient::standalone(instance, clock, membership);
        return (cluster, None);
    };
    let stop = tasks.stop_bus.clone();
    let drive = async move {
        let _ = stop.run_until_cancelled(driver).await;
    };
    tasks.bus.spawn(drive.instrument(info_span!("bus")));
    let cluster = ClusterClient::clustered(bus, sealer, instance, clock, membership);
    (cluster, Some(input))
}

fn spawn_cluster_tasks(
    cluster: &ClusterClient,
    lease: &HeldLease,
    readiness: &Readiness,
    tasks: &InstanceTasks,
) {
    let own_lease = Arc::clone(&lease.lease);
    let membership = lease.membership.clone();
    tasks.spawn("membership", membership.run(move || own_lease.is_valid()));
    let peer_monitor = PeerMonitor {
        cluster: cluster.clone(),
    };
    let peer_readiness = readiness.clone();
    let set_unreachable = move |is_unreachable| peer_readiness.set_peer_unreachable(is_unreachable);
    tasks.spawn("peer monitor", peer_monitor.run(set_unreachable));
    tasks.spawn(
        "bus health",
        report_bus_health(cluster.watch_bus_health(), readiness.clone()),
    );
}

fn spawn_jobs(
    instance: InstanceId,
    config: &Config,
    store: Arc<dyn Store>,
    sessions: &Registry,
    clock: Arc<Clock>,
    erasure_requested: Arc<Notify>,
    tasks: &InstanceTasks,
) {
    let due_scanner = DueScanner {
        store: Arc::clone(&store),
        sessions: sessions.clone(),
        clock: Arc::clone(&clock),
        instance,
        options: config.due_scanner,
    };
    tasks.spawn("due scanner", due_scanner.run());
    let eraser = Eraser {
        store: Arc::clone(&store),
        sessions: sessions.clone(),
        clock: Arc::clone(&clock),
        erasure_requested,
    };
    tasks.spawn("eraser", eraser.run());
    for dispatcher in webhooks::dispatchers(&config.webhooks.endpoints, &store, instance, &clock) {
        let span = info_span!("webhooks", endpoint = dispatcher.endpoint_name());
        let stop = tasks.stop_background.clone();
        tasks
            .background
            .spawn(feed_reader::run(dispatcher, stop).instrument(span));
    }
    let maintenance = Maintenance {
        store,
        clock,
        options: config.retention,
    };
    tasks.spawn("maintenance", maintenance.run());
    tasks.spawn("metrics", run_upkeep());
    tasks.spawn("runtime lag", measure_runtime_lag());
}

/// Reports every change of the bus's health to [`Readiness`].
async fn report_bus_health(mut is_healthy: watch::Receiver<bool>, readiness: Readiness) {
    loop {
        readiness.set_bus_healthy(*is_healthy.borrow_and_update());
        if is_healthy.changed().await.is_err() {
            return;
        }
    }
}
