//! One incarnation of a raid that another instance owns: it forwards, follows and shows.
//!
//! Commands go to the owner over the bus, in order, and wait here while there is none. Whoever watches here sees the
//! raid by a replica: a state folded from the store, moved on by the events that the bus brings, and mended from the
//! store whenever one is missing. An edge decides nothing and numbers nothing, so whatever the bus loses, repeats or
//! reorders, it can be late and never wrong.

mod announcements;
mod forwards;
mod ownership;
mod replica;

use std::sync::Arc;
use std::time::Duration;

use forwards::Forwards;
use raidhall_protocol::{PlayerId, RaidId, Seq};
use replica::Replica;
use tokio::time::{Instant, sleep_until};

use super::Sessions;
use super::actor::Lasting;
use super::message::{Message, Watch};
use super::owner::End;
use super::pending_replies::Opening;
use super::snapshot_cache::Show;
use super::{Caller, Owning, View};
use crate::cluster::client::{About, Heard, Sight};
use crate::cluster::message::{Envelope, ForwardAnswer, Note};
use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::raid::{Refusal, State};
use crate::store::{Epoch, InstanceId};

/// How long a command waits for an owner, all in all.
pub const PARKED_MAX: Duration = Duration::from_secs(5);

/// How long an acknowledgement may be ahead of its event before the store is read.
const ACK_PATIENCE: Duration = Duration::from_millis(50);

/// A moment that is never waited for: something else comes first.
const LONG: Duration = Duration::from_secs(3_600);

/// How long to wait before a raid whose owner is not known is looked up again.
const RESOLVE_PAUSE: Duration = Duration::from_millis(100);

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
    /// Somebody is about to watch here.
    expecting: bool,
    resolve_at: Option<Instant>,
    /// An acknowledged event that has not come yet, and when the store is read for it.
    awaited: Option<(Seq, Instant)>,
    /// Why there is no owner, for when we become it.
    vacancy: &'static str,
    /// Another instance wants us to own the raid.
    called: bool,
    /// Counts the raid as ours until another instance has taken over what we hand over.
    giving: Option<Owning>,
    /// It is still ours in the store.
    unreleased: bool,
    /// When it is offered again.
    offer_at: Instant,
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
            expecting: false,
            resolve_at: None,
            awaited: None,
            vacancy: "lapsed",
            called: false,
            giving: None,
            unreleased: false,
            offer_at: now,
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

    /// The raid is to be given up, and stays on our mind until somebody has it.
    pub(super) fn give(&mut self, owning: Owning) {
        (self.giving, self.unreleased) = (Some(owning), true);
    }

    pub(super) async fn run(&mut self, lasting: &mut Lasting) -> End {
        let hall = Arc::clone(&self.sessions.0);
        let audience = Arc::clone(&self.audience);
        let (mut peers, raid) = (hall.link.peers().changes(), self.raid());
        lasting.remotes.clear();
        // Watchers from an earlier incarnation may still be here.
        self.look_after_watchers(lasting).await;
        // The replica follows in its place.
        lasting.following = None;
        loop {
            self.do_what_is_due(lasting).await;
            if let Some(cause) = self.vacant() {
                lasting.inbox.put_back(self.forwards.take_all().into_iter());
                return End::Claim(cause);
            }
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
                    self.forget_presence(lasting);
                }
                message = lasting.inbox.next(), if room => {
                    if let Some(message) = message {
                        self.handle(message, lasting).await;
                    }
                }
                // Last, for it only wakes: what is due is done in every turn.
                () = sleep_until(next) => {}
            }
        }
    }

    /// Whether it is subscribed to what the raid's owner says.
    pub(super) const fn follows(&self) -> bool {
        self.replica.is_some()
    }

    fn raid(&self) -> RaidId {
        self.audience.raid()
    }

    fn about(&self) -> About {
        let seq = self.replica.as_ref().map_or(Seq::ZERO, Replica::seq);
        About {
            raid: self.raid(),
            epoch: self.epoch,
            seq,
        }
    }

    fn is_needed(&self) -> bool {
        self.audience.is_watched() || !self.forwards.is_empty()
    }

    fn is_idle(&self) -> bool {
        let idle = !self.wanted || self.needed_at.elapsed() >= self.sessions.0.options.idle_timeout;
        !self.is_needed() && idle
    }

    fn send(&mut self) {
        if self.resolve_at.is_some() || self.forwards.is_empty() {
            return;
        }
        let about = self.about();
        let now = Instant::now();
        match self.target() {
            Some(to) => {
                // Without an answer it may be somebody else's by now.
                if self.forwards.send(&self.sessions.0.link, to, about) {
                    self.resolve_at = Some(now);
                }
            }
            None => self.resolve_at = Some(now + RESOLVE_PAUSE),
        }
    }

    async fn handle(&mut self, message: Message, lasting: &mut Lasting) {
        self.wanted = true;
        self.needed_at = Instant::now();
        match message {
            Message::Execute(execute) => match execute.from {
                Some(from) if self.is_called_by(from).await => {
                    lasting
                        .inbox
                        .put_back([Message::Execute(execute)].into_iter());
                }
                Some(_) => execute.reply.send(Err(Error::NotOwner)),
                None => self.forwards.park(execute),
            },
            Message::Create { reply, .. } => reply.send(Err(Error::Unavailable)),
            Message::Read { caller, reply } => {
                let view = self.read(caller, lasting).await;
                reply.send(view);
            }
            Message::Watch(watch) => self.watch(watch, true, lasting).await,
            Message::Resync(watch) => self.watch(watch, false, lasting).await,
            Message::Signal {
                sender,
                from,
                kind,
                data,
                reply,
            } => {
                let passed = match self.attach().await {
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
            Message::Take { from, online } => {
                if self.is_called_by(from).await {
                    lasting
                        .inbox
                        .put_back([Message::Take { from, online }].into_iter());
                } else {
                    // Another was quicker: that one is told who was online.
                    self.remember(online);
                }
            }
            Message::Ask { reply } => reply.send(Err(Error::NotOwner)),
            // It claims nothing any more, which is looked at in every turn.
            Message::Newer => {}
        }
    }

    async fn read(&mut self, caller: Caller, lasting: &mut Lasting) -> Result<View, Error> {
        self.attach().await?;
        let sight = self.ask_owner().await;
        if sight
            .as_ref()
            .is_none_or(|sight| Some(sight.seq) > self.replica.as_ref().map(Replica::seq))
        {
            self.catch_up("read").await?;
        }
        let replica = self.replica.as_ref().ok_or(Error::Unavailable)?;
        if !caller.may_see(replica.state()) {
            return Err(Refusal::NotFound.into());
        }
        let (state, seq) = (self.show.freeze(replica.state()), replica.seq());
        let announced = || lasting.presence.announced().iter().copied().collect();
        let online = sight.map_or_else(announced, |sight| sight.online);
        let ws_url = self
            .owner
            .and_then(|owner| self.sessions.0.link.peers().ws_url(owner));
        Ok(View {
            state,
            seq,
            online,
            ws_url,
        })
    }

    /// How far the owner is, and who is online. What is due happens in the turn in which it is asked.
    async fn ask_owner(&mut self) -> Option<Sight> {
        let (owner, raid, link) = (self.owner?, self.raid(), self.sessions.0.link.clone());
        self.forwards.expiring(link.ask(owner, raid)).await
    }

    async fn watch(&mut self, watch: Watch, joins: bool, lasting: &mut Lasting) {
        if let Err(error) = self.prepare(&watch).await {
            return watch.reply.send(Err(error));
        }
        if joins && !self.audience.is_watched() {
            self.expect_watcher(lasting).await;
            if self.is_free() {
                // Whoever owns it next knows who is online; we don't.
                self.call();
                return lasting.inbox.put_back([Message::Watch(watch)].into_iter());
            }
        }
        let Some(replica) = &self.replica else { return };
        match self.show.basis(replica.state(), &watch) {
            Ok(basis) => {
                self.show.open(
                    Opening {
                        watch,
                        basis,
                        joins,
                    },
                    lasting.presence.announced(),
                );
            }
            Err(error) => watch.reply.send(Err(error)),
        }
        // It was refused after all, or its connection is gone.
        if joins && !self.audience.is_watched() {
            self.announce();
        }
    }

    /// Makes sure that a watch can be answered, and that whoever may not see the raid is nobody who joined, and nobody
    /// who saw more, at another instance a moment ago.
    async fn prepare(&mut self, watch: &Watch) -> Result<(), Error> {
        self.attach().await?;
        let behind = |replica: &Replica| {
            !watch.caller.may_see(replica.state())
                || watch.since.is_some_and(|since| since > replica.seq())
        };
        if self.replica.as_ref().is_some_and(behind) {
            self.catch_up("watch").await?;
        }
        match &self.replica {
            Some(replica) if watch.caller.may_see(replica.state()) => Ok(()),
            _ => Err(Refusal::NotFound.into()),
        }
    }

    async fn hear(&mut self, heard: Heard, lasting: &mut Lasting) {
        match heard {
            Heard::Said(envelope) => self.hear_said(envelope, lasting).await,
            Heard::Head(head) => {
                self.audience.saw_stored(head.last_seq);
                self.meet(head);
                if self
                    .replica
                    .as_ref()
                    .is_some_and(|replica| replica.seq() < head.last_seq)
                {
                    self.mend("head").await;
                }
            }
            Heard::Lost => self.mend("lost").await,
        }
    }

    async fn hear_said(&mut self, envelope: Envelope, lasting: &mut Lasting) {
        let Envelope {
            from,
            epoch,
            seq,
            note,
            ..
        } = envelope;
        match note {
            Note::Events(events) => {
                self.meet_owner(from, epoch);
                let whole = self
                    .replica
                    .as_mut()
                    .is_none_or(|replica| replica.take(&self.audience, events));
                if !whole {
                    self.mend("gap").await;
                }
            }
            Note::Owned => {
                self.meet_owner(from, epoch);
                if self
                    .replica
                    .as_ref()
                    .is_some_and(|replica| replica.seq() < seq)
                {
                    self.mend("gap").await;
                }
            }
            Note::Released if epoch >= self.epoch => {
                self.lose_owner("released");
            }
            Note::Presence { counter, online } => {
                self.meet_owner(from, epoch);
                if epoch >= self.epoch && (epoch, counter) > self.presence_told {
                    self.presence_told = (epoch, counter);
                    if let Some(change) = lasting.presence.adopt(online.into_iter().collect()) {
                        self.audience.announce(change.online, change.offline);
                    }
                    self.memories = lasting.presence.announced().iter().copied().collect();
                }
            }
            _ => {}
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
            let before = self
                .awaited
                .map_or((acknowledged, at), |(seq, at)| (seq.max(acknowledged), at));
            self.awaited = Some(before);
        }
        if taken.again {
            self.resolve_at = Some(Instant::now() + RESOLVE_PAUSE);
        }
    }

    fn next_timer(&self) -> Instant {
        let idle = self.needed_at + self.sessions.0.options.idle_timeout;
        let idle = (!self.is_needed()).then_some(idle);
        let announces =
            (self.owner.is_some() && self.audience.is_watched()).then_some(self.announce_at);
        let mend = self.replica.as_ref().and_then(Replica::mend_at);
        let awaited = self.awaited.map(|(_, at)| at);
        let offer = self.giving.as_ref().map(|_| self.offer_at);
        let all = [
            idle,
            announces,
            mend,
            awaited,
            offer,
            self.resolve_at,
            self.forwards.next_timer(),
        ];
        all.into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + LONG)
    }

    async fn do_what_is_due(&mut self, lasting: &mut Lasting) {
        let now = Instant::now();
        self.forwards.expire(now);
        if self.resolve_at.take_if(|at| *at <= now).is_some() {
            self.resolve().await;
            self.look_after_watchers(lasting).await;
        }
        if self.announce_at <= now && self.audience.is_watched() {
            self.announce();
        }
        if self.giving.is_some() && self.offer_at <= now {
            self.pass_on(None).await;
        }
        if let Some((seq, _)) = self.awaited.take_if(|(_, at)| *at <= now)
            && self
                .replica
                .as_ref()
                .is_some_and(|replica| replica.seq() < seq)
        {
            self.mend("ack").await;
        }
        if self
            .replica
            .as_ref()
            .and_then(Replica::mend_at)
            .is_some_and(|at| at <= now)
        {
            self.mend("again").await;
        }
    }

    /// Whoever watches is shown the raid; if it cannot be loaded now, that is tried again.
    async fn look_after_watchers(&mut self, lasting: &mut Lasting) {
        if self.replica.is_some() || !self.audience.is_watched() {
            return;
        }
        match self.attach().await {
            Ok(()) => self.expect_watcher(lasting).await,
            Err(_) => self.resolve_at = Some(Instant::now() + RESOLVE_PAUSE),
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
