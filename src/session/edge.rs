//! One incarnation of a raid that another instance owns: it forwards, follows and shows.
//!
//! Commands go to the owner over the bus, in order, and wait here while there is none. Whoever watches here sees the
//! raid by a replica: a state folded from the store, moved on by the events that the bus brings, and mended from the
//! store whenever one is missing. An edge decides nothing and numbers nothing, so whatever the bus loses, repeats or
//! reorders, it can be late and never wrong.

mod announce;
mod forwards;
mod replica;

use super::Sessions;
use super::actor::Lasting;
use super::held::Opening;
use super::live::End;
use super::message::{Execute, Message, Watch};
use super::show::Show;
use super::{Caller, View};
use crate::audience::Audience;
use crate::cluster::envelope::{Envelope, ForwardAnswer, Note};
use crate::cluster::link::{About, Heard, Sight};
use crate::error::Error;
use crate::raid::{Refusal, State};
use crate::store::{Epoch, Head, InstanceId};
use forwards::Forwards;
use raidhall_protocol::{PlayerId, RaidId, Seq};
use replica::Replica;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a command waits for an owner, all in all.
pub(super) const PARKED_MAX: Duration = Duration::from_secs(5);

/// How long an acknowledgement may be ahead of its event before the store is read.
const ACK_PATIENCE: Duration = Duration::from_millis(50);

/// How long to wait before a raid whose owner is not known is looked up again.
const RESOLVE_PAUSE: Duration = Duration::from_millis(100);

/// How long the store may take to say who owns a raid.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Edge {
    sessions: Sessions,
    audience: Arc<Audience>,
    /// Who owns the raid, as far as is known.
    owner: Option<InstanceId>,
    epoch: Epoch,
    show: Show,
    replica: Option<Replica>,
    forwards: Forwards,
    /// What the owner last said of who is online: its epoch and its count.
    presence_told: (Epoch, u64),
    /// Who was online under the owner before, for the next one.
    memories: Vec<PlayerId>,
    announce_at: Instant,
    resolve_at: Option<Instant>,
    /// An acknowledged event that has not come yet, and when the store is read for it.
    awaited: Option<(Seq, Instant)>,
    /// Why there is no owner, for when we become it.
    vacancy: &'static str,
    /// Somebody has asked something of the raid since this edge began.
    wanted: bool,
    needed_at: Instant,
}

impl Edge {
    pub(super) fn new(
        sessions: Sessions,
        audience: Arc<Audience>,
        owner: Option<InstanceId>,
        epoch: Epoch,
    ) -> Self {
        let now = Instant::now();
        let show = Show::new(Arc::clone(&audience), sessions.0.options.replay_events);
        Self {
            sessions,
            audience,
            owner,
            epoch,
            show,
            replica: None,
            forwards: Forwards::default(),
            presence_told: (Epoch(0), 0),
            memories: Vec::new(),
            announce_at: now,
            resolve_at: None,
            awaited: None,
            vacancy: "lapsed",
            wanted: false,
            needed_at: now,
        }
    }

    /// The edge that an owner becomes that hands its raid over: it goes on showing what it knows, and follows before
    /// it gives the raid up.
    pub(super) async fn of_former_owner(
        sessions: Sessions,
        audience: Arc<Audience>,
        state: State,
        epoch: Epoch,
        online: Vec<PlayerId>,
    ) -> Self {
        let mut edge = Self::new(sessions, audience, None, epoch);
        edge.replica = Some(edge.followed(state).await);
        edge.memories = online;
        edge.wanted = true;
        edge
    }

    /// We wanted to own the raid, and did not come to: goes on under its owner, if there is one.
    pub(super) fn go_on_under(&mut self, owner: Option<InstanceId>, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
        self.owner = owner;
        if owner.is_some() {
            self.introduce();
        }
    }

    pub(super) async fn run(&mut self, lasting: &mut Lasting) -> End {
        let hall = Arc::clone(&self.sessions.0);
        let audience = Arc::clone(&self.audience);
        let (mut peers, raid) = (hall.link.peers().changes(), self.raid());
        lasting.remotes.clear();
        // Watchers from an earlier incarnation are still here.
        if audience.is_watched() && self.attach(lasting).await.is_err() {
            self.resolve_at = Some(Instant::now() + RESOLVE_PAUSE);
        }
        loop {
            if let Some(cause) = self.vacant() {
                lasting.inbox.put_back(self.forwards.take_all().into_iter());
                return End::Claim(cause);
            }
            self.forwards.expire(Instant::now());
            self.send();
            if self.is_idle() && self.sessions.forget_if_idle(raid, &lasting.inbox) {
                return End::Idle;
            }
            if hall.stop.is_cancelled() {
                self.say_goodbye();
                return End::Stopped;
            }
            let (room, next) = (self.forwards.has_room(), self.next_timer());
            tokio::select! { biased;
                () = hall.stop.cancelled() => {}
                heard = heard(&mut self.replica) => self.hear(heard, lasting).await,
                answers = self.forwards.answers() => self.take_answers(answers),
                _ = peers.changed() => self.owner_may_be_gone(),
                () = audience.changed() => {
                    self.needed_at = Instant::now();
                    self.announce();
                }
                message = lasting.inbox.next(), if room => {
                    if let Some(message) = message {
                        self.handle(message, lasting).await;
                    }
                }
                () = sleep_until(next) => self.on_timer(lasting).await,
            }
        }
    }

    fn raid(&self) -> RaidId {
        self.audience.raid()
    }

    fn about(&self) -> About {
        let seq = self.replica.as_ref().map_or(Seq::ZERO, Replica::seq);
        About { raid: self.raid(), epoch: self.epoch, seq }
    }

    /// Why the raid should be claimed now: it has no owner that lives, and is needed here.
    fn vacant(&self) -> Option<&'static str> {
        let free = self.owner.is_none() && self.sessions.may_claim(self.raid());
        (free && self.is_needed() && self.resolve_at.is_none()).then_some(self.vacancy)
    }

    fn is_needed(&self) -> bool {
        self.audience.is_watched() || !self.forwards.is_empty()
    }

    fn is_idle(&self) -> bool {
        let idle = !self.wanted || self.needed_at.elapsed() >= self.sessions.0.options.idle_timeout;
        !self.is_needed() && idle
    }

    fn owner_may_be_gone(&mut self) {
        if self.owner.is_some_and(|owner| !self.sessions.0.link.peers().lives(owner)) {
            (self.owner, self.vacancy) = (None, "lapsed");
            self.forwards.begin_anew();
        }
    }

    /// Where commands go: to the owner. An instance that may not claim a raid without one asks another to: by taking
    /// the command, that one finds out that it may.
    fn target(&self) -> Option<InstanceId> {
        let heir = || self.sessions.0.link.peers().heir_of(self.raid());
        self.owner.or_else(|| (!self.sessions.may_claim(self.raid())).then(heir).flatten())
    }

    fn send(&mut self) {
        if let Some(to) = self.target().filter(|_| self.resolve_at.is_none()) {
            self.forwards.send(&self.sessions.0.link, to, self.about());
        }
    }

    async fn handle(&mut self, message: Message, lasting: &mut Lasting) {
        self.wanted = true;
        self.needed_at = Instant::now();
        match message {
            Message::Execute(execute) if execute.forwarded => execute.reply.send(Err(Error::NotOwner)),
            Message::Execute(execute) => self.park(execute),
            Message::Create { reply, .. } => reply.send(Err(Error::Unavailable)),
            Message::Read { caller, reply } => {
                let view = self.read(caller, lasting).await;
                reply.send(view);
            }
            Message::Watch(watch) => self.watch(watch, true, lasting).await,
            Message::Resync(watch) => self.watch(watch, false, lasting).await,
            Message::Signal { sender, from, kind, data, reply } => {
                let passed = match self.attach(lasting).await {
                    Ok(()) => {
                        let passed = self.audience.signal(sender, from, &kind, data);
                        passed.map_err(|_| Refusal::NotMember.into())
                    }
                    Err(error) => Err(error),
                };
                reply.send(passed);
            }
            // Said to the owner, which we are not, or not any more.
            Message::Watching { .. } => {}
            Message::WhoWatches => self.announce(),
            Message::Take { online } => self.remember(online),
            Message::Ask { reply } => reply.send(Err(Error::NotOwner)),
        }
    }

    fn park(&mut self, execute: Execute) {
        let until = execute.until.unwrap_or_else(|| Instant::now() + PARKED_MAX);
        self.forwards.park(execute, until);
    }

    async fn read(&mut self, caller: Caller, lasting: &mut Lasting) -> Result<View, Error> {
        self.attach(lasting).await?;
        let sight = self.ask_owner().await;
        if sight.as_ref().is_none_or(|sight| Some(sight.seq) > self.replica.as_ref().map(Replica::seq)) {
            self.catch_up("read").await;
        }
        let Some(replica) = &self.replica else { return Err(Error::Unavailable) };
        if !caller.may_see(replica.state()) {
            return Err(Refusal::NotFound.into());
        }
        let (state, seq) = (self.show.freeze(replica.state()), replica.seq());
        let announced = || lasting.presence.announced().iter().copied().collect();
        let online = sight.map_or_else(announced, |sight| sight.online);
        let ws_url = self.owner.and_then(|owner| self.sessions.0.link.peers().ws_url(owner));
        Ok(View { state, seq, online, ws_url })
    }

    /// How far the owner is, and who is online. What is due happens in the turn in which it is asked.
    async fn ask_owner(&self) -> Option<Sight> {
        self.sessions.0.link.ask(self.owner?, self.raid()).await
    }

    async fn watch(&mut self, watch: Watch, joins: bool, lasting: &mut Lasting) {
        if let Err(error) = self.attach(lasting).await {
            return watch.reply.send(Err(error));
        }
        let behind = |replica: &Replica| {
            !watch.caller.may_see(replica.state()) || watch.since.is_some_and(|since| since > replica.seq())
        };
        // The caller may have joined, or seen more, at another instance a moment ago.
        if self.replica.as_ref().is_some_and(behind) {
            self.catch_up("watch").await;
        }
        let Some(replica) = &self.replica else { return };
        match self.show.basis(replica.state(), &watch) {
            Ok(basis) => {
                self.show.open(Opening { watch, basis, joins }, lasting.presence.announced());
            }
            Err(error) => watch.reply.send(Err(error)),
        }
    }

    async fn hear(&mut self, heard: Heard, lasting: &mut Lasting) {
        match heard {
            Heard::Said(envelope) => self.hear_said(envelope, lasting).await,
            Heard::Head(head) => {
                self.audience.saw_stored(head.last_seq);
                self.meet(head);
                if self.replica.as_ref().is_some_and(|replica| replica.seq() < head.last_seq) {
                    self.catch_up("head").await;
                }
            }
            Heard::Lost => self.catch_up("lost").await,
        }
    }

    async fn hear_said(&mut self, envelope: Envelope, lasting: &mut Lasting) {
        let Envelope { from, epoch, seq, note, .. } = envelope;
        match note {
            Note::Events(events) => {
                self.meet_owner(from, epoch);
                let whole = self.replica.as_mut().is_none_or(|replica| replica.take(&self.audience, events));
                if !whole {
                    self.catch_up("gap").await;
                }
            }
            Note::Owned => {
                self.meet_owner(from, epoch);
                if self.replica.as_ref().is_some_and(|replica| replica.seq() < seq) {
                    self.catch_up("gap").await;
                }
            }
            Note::Released if epoch >= self.epoch => {
                (self.owner, self.vacancy) = (None, "released");
                self.forwards.begin_anew();
            }
            Note::Presence { counter, online } => {
                self.meet_owner(from, epoch);
                if (epoch, counter) > self.presence_told {
                    self.presence_told = (epoch, counter);
                    if let Some(change) = lasting.presence.adopt(online.into_iter().collect()) {
                        self.audience.announce(change.online, change.offline);
                    }
                    self.memories = lasting.presence.announced().iter().copied().collect();
                }
            }
            Note::Signal { from, kind, data } => self.audience.deliver_signal(from, &kind, data),
            _ => {}
        }
    }

    /// Somebody speaks as the owner under an epoch. Only a newer one changes anything.
    fn meet_owner(&mut self, from: InstanceId, epoch: Epoch) {
        if epoch < self.epoch || (epoch == self.epoch && self.owner.is_some()) {
            return;
        }
        let changed = self.owner != Some(from);
        (self.owner, self.epoch, self.resolve_at) = (Some(from), epoch, None);
        self.audience.relay(Some((self.sessions.0.link.clone(), epoch)));
        if changed {
            self.forwards.begin_anew();
            self.introduce();
        }
    }

    /// The store's word on who owns the raid.
    fn meet(&mut self, head: Head) {
        let (link, peers) = (&self.sessions.0.link, self.sessions.0.link.peers());
        if head.epoch < self.epoch {
            return;
        }
        match head.owner {
            Some(owner) if owner != link.instance() && peers.lives(owner) => {
                self.meet_owner(owner, head.epoch)
            }
            owner => {
                let cause = if owner.is_some() { "lapsed" } else { "released" };
                (self.owner, self.epoch, self.vacancy) = (None, head.epoch, cause);
            }
        }
    }

    fn take_answers(&mut self, answers: Vec<ForwardAnswer>) {
        let seq = self.replica.as_ref().map(Replica::seq);
        // An owner that cannot reach a store that we reach is about to lose the raid.
        let again = self.sessions.0.lease.holds();
        let taken = self.forwards.take_answers(answers, again);
        if let (Some(acknowledged), Some(seq)) = (taken.acknowledged, seq)
            && seq < acknowledged
        {
            let at = Instant::now() + ACK_PATIENCE;
            let before = self.awaited.map_or((acknowledged, at), |(seq, at)| (seq.max(acknowledged), at));
            self.awaited = Some(before);
        }
        if taken.again {
            self.resolve_at = Some(Instant::now() + RESOLVE_PAUSE);
        }
    }

    fn next_timer(&self) -> Instant {
        let idle = self.needed_at + self.sessions.0.options.idle_timeout;
        let idle = if self.is_needed() { None } else { Some(idle) };
        let announces = self.owner.is_some() && self.audience.is_watched();
        let mend = self.replica.as_ref().and_then(Replica::mend_at);
        let awaited = self.awaited.map(|(_, at)| at);
        let ownerless = self.owner.is_none() && !self.forwards.is_empty();
        let resolve = self.resolve_at.or_else(|| ownerless.then(|| Instant::now() + RESOLVE_PAUSE));
        let all =
            [idle, announces.then_some(self.announce_at), mend, awaited, resolve, self.forwards.next_timer()];
        all.into_iter().flatten().min().unwrap_or_else(|| self.needed_at + Duration::from_secs(3_600))
    }

    async fn on_timer(&mut self, lasting: &mut Lasting) {
        let now = Instant::now();
        if self.resolve_at.take_if(|at| *at <= now).is_some() || (self.owner.is_none() && self.is_needed()) {
            self.resolve().await;
        }
        if self.replica.is_none() && self.audience.is_watched() && self.attach(lasting).await.is_err() {
            self.resolve_at = Some(now + RESOLVE_PAUSE);
        }
        if self.announce_at <= now && self.audience.is_watched() {
            self.announce();
        }
        if let Some((seq, _)) = self.awaited.take_if(|(_, at)| *at <= now)
            && self.replica.as_ref().is_some_and(|replica| replica.seq() < seq)
        {
            self.catch_up("ack").await;
        }
        if self.replica.as_ref().and_then(Replica::mend_at).is_some_and(|at| at <= now) {
            self.catch_up("again").await;
        }
    }

    /// Asks the store who owns the raid.
    async fn resolve(&mut self) {
        let head = timeout(RESOLVE_PATIENCE, self.sessions.0.store.head(self.raid())).await;
        match head {
            Ok(Ok(Some(head))) => {
                // The store may know an owner that we have not met.
                self.epoch = self.epoch.max(head.epoch);
                self.owner = None;
                self.meet(head);
            }
            Ok(Ok(None)) => self.forwards.fail_all(&Refusal::NotFound.into()),
            Ok(Err(_)) | Err(_) => self.resolve_at = Some(Instant::now() + RESOLVE_PAUSE),
        }
    }
}

/// What is heard of the raid; for ever nothing while it is not followed.
async fn heard(replica: &mut Option<Replica>) -> Heard {
    match replica {
        Some(replica) => replica.next().await,
        None => std::future::pending().await,
    }
}
