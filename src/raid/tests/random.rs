//! Random raids: compares the rules with the model, and checks what must hold of every ledger.

use std::collections::BTreeSet;

use proptest::prelude::*;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::state::{RaidStatus, Role, TaskStatus};
use raidhall_protocol::{Command as PlayerCommand, Event, EventData, PlayerId, TaskId, UnixMillis};
use serde_json::json;

use super::model::{HOST_APP, Model, ModelStatus, ModelStep, ModelTask};
use super::script::raid_id;
use crate::raid::erasure::redact;
use crate::raid::{Context, RaidCommand, State, apply, decide, stored};

#[derive(Debug, Clone)]
struct Scenario {
    goals: (u64, u64),
    time_limit_secs: i64,
    max_members: usize,
    late_join: bool,
    ranked: bool,
    turns: Vec<(i64, Vec<u64>, ModelStep)>,
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let setting = (
        (1..150_u64, 0..6_u64),
        60..20_000_i64,
        2..=5_usize,
        any::<bool>(),
        proptest::bool::weighted(0.25),
    );
    let turn = (
        elapsed_millis(),
        proptest::sample::subsequence(vec![1, 2, 3, 4, 5], 0..=5),
        snippets(),
    );
    (setting, openings(), prop::collection::vec(turn, 0..120)).prop_map(
        |(setting, opening, turns)| {
            let (goals, time_limit_secs, max_members, late_join, ranked) = setting;
            let opening = opening.into_iter().map(|step| (0, vec![1], step));
            let turns = turns.into_iter().flat_map(|(millis, online, snippet)| {
                (0..)
                    .zip(snippet)
                    .map(move |(n, step)| (if n == 0 { millis } else { 0 }, online.clone(), step))
            });
            let turns = opening.chain(turns).collect();
            Scenario {
                goals,
                time_limit_secs,
                max_members,
                late_join,
                ranked,
                turns,
            }
        },
    )
}

/// Generates a raid's first steps. In most raids some players join, tasks are added, and the leader
/// starts.
fn openings() -> impl Strategy<Value = Vec<ModelStep>> {
    (
        1..=5_u64,
        prop::collection::vec((HOST_APP..=1, 1..=20_u64), 0..5),
        0..5,
    )
        .prop_map(|(last, tasks, luck)| {
            let joins = (2..=last).map(ModelStep::Join);
            let tasks = tasks.into_iter().map(|(by, xp)| ModelStep::Add(by, xp));
            joins
                .chain(tasks)
                .chain((luck > 0).then_some(ModelStep::Start(1)))
                .collect()
        })
}

/// Generates the time between steps: mostly none, sometimes enough to regain energy, rarely up to
/// an hour.
fn elapsed_millis() -> impl Strategy<Value = i64> {
    prop_oneof![30 => Just(0_i64), 15 => 1..120_000_i64, 1 => 0..3_700_000_i64]
}

/// Generates one step, or a few that make sense together.
fn snippets() -> impl Strategy<Value = Vec<ModelStep>> {
    let member_and_task = || (1..=5_u64, 1..=5_u64);
    let two_players = || (1..=5_u64, 1..=5_u64);
    prop_oneof![
        20 => steps().prop_map(|step| vec![step]),
        10 => member_and_task().prop_map(|(by, id)| vec![ModelStep::Claim(by, id), ModelStep::Complete(by, id)]),
        10 => member_and_task().prop_map(|(by, id)| vec![ModelStep::Claim(by, id), ModelStep::Fail(by, id)]),
        2 => (2..=5_u64, 1..=20_u64).prop_map(|(by, xp)| vec![ModelStep::Add(by, xp), ModelStep::Kick(1, by)]),
        2 => two_players().prop_map(|(by, other)| vec![ModelStep::Leave(by), ModelStep::Join(other), ModelStep::Join(by)]),
    ]
}

fn steps() -> impl Strategy<Value = ModelStep> {
    let player = || 1..=5_u64;
    let task = || 1..=5_u64;
    let xp = || 1..=20_u64;
    let player_or_host_app = || HOST_APP..=5_u64;
    prop_oneof![
        40 => player().prop_map(ModelStep::Join),
        10 => player().prop_map(ModelStep::Start),
        10 => player().prop_map(ModelStep::Leave),
        10 => (player(), player()).prop_map(|(by, id)| ModelStep::Kick(by, id)),
        30 => (player(), player()).prop_map(|(by, id)| ModelStep::Promote(by, id)),
        10 => Just(ModelStep::LeaderOffline),
        20 => (player_or_host_app(), xp()).prop_map(|(by, xp)| ModelStep::Add(by, xp)),
        20 => (player(), task()).prop_map(|(by, id)| ModelStep::Edit(by, id)),
        10 => (player_or_host_app(), task()).prop_map(|(by, id)| ModelStep::Remove(by, id)),
        20 => (player(), player(), 0..400_000_i64).prop_map(|(by, id, until)| ModelStep::Mute(by, id, until)),
        5 => player().prop_map(ModelStep::RotateInvite),
        80 => (player(), task()).prop_map(|(by, id)| ModelStep::Claim(by, id)),
        80 => (player(), task()).prop_map(|(by, id)| ModelStep::Release(by, id)),
        60 => (player(), task()).prop_map(|(by, id)| ModelStep::Complete(by, id)),
        60 => (player(), task()).prop_map(|(by, id)| ModelStep::Fail(by, id)),
        60 => (player(), xp()).prop_map(|(id, xp)| ModelStep::Contribute(id, xp)),
        20 => player().prop_map(ModelStep::Say),
        1 => player().prop_map(ModelStep::Cancel),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_and_the_model_agree_and_the_ledger_is_sound(plan in scenarios(), snapshot_at in 0..150_usize) {
        let mut model = model(&plan);
        let mut live = LiveRaid::create(&plan);
        let mut snapshot = stored::encode(&live.state);
        for (turn, (millis, online, step)) in plan.turns.iter().enumerate() {
            model.online.clone_from(online);
            model.advance(*millis);
            live.advance(*millis, online);
            prop_assert_eq!(live.step(*step), model.step(*step), "{:?} at turn {}", step, turn);
            assert_agreement(&live.state, &model);
            assert_soundness(&live.state);
            if turn == snapshot_at {
                snapshot = stored::encode(&live.state);
            }
        }
        assert_ledger(&live.ledger, &live.state);
        let bytes = stored::encode(&live.state);
        let mut replayed = State::new(raid_id());
        for event in &live.ledger {
            apply(&mut replayed, event);
        }
        prop_assert_eq!(&stored::encode(&replayed), &bytes, "replay differs from live");
        let mut recovered = stored::decode(&snapshot).expect("a snapshot");
        let tail = live.ledger.iter().filter(|event| event.seq > recovered.seq()).cloned().collect::<Vec<_>>();
        for event in &tail {
            apply(&mut recovered, event);
        }
        prop_assert_eq!(&stored::encode(&recovered), &bytes, "snapshot and tail differ from live");
        prop_assert_eq!(&recovered, &live.state);
    }

    /// A client that holds the original events and a client that reads the rewritten ledger have
    /// the same state from the erasure on, and it contains no text of the erased player.
    #[test]
    fn an_erased_player_leaves_no_text_and_replay_equals_live(
        plan in scenarios(), erased in 1..=5_u64, erased_at in 0..120_usize
    ) {
        let mut live = LiveRaid::create(&plan);
        let erase = RaidCommand::Erase { player: player(erased), made_raid: erased == 1 };
        for (turn, (millis, online, step)) in plan.turns.iter().enumerate() {
            live.advance(*millis, online);
            // The erased player may still send commands until every instance has learnt of the
            // erasure.
            live.step(*step);
            if turn == erased_at {
                prop_assert!(live.decide(&erase));
            }
        }
        prop_assert!(live.decide(&erase));
        let written = live.ledger.len();
        prop_assert!(live.decide(&erase) && live.ledger.len() == written, "a second time changes nothing");
        let rewritten: Vec<_> = live.ledger.iter().map(|event| redact(event, player(erased)).unwrap_or_else(|| event.clone())).collect();
        let mut replayed = State::new(raid_id());
        for event in &rewritten {
            apply(&mut replayed, event);
        }
        prop_assert_eq!(&replayed, &live.state);
        let readable = format!("{}{}", json!(rewritten), json!(live.state.shown()));
        prop_assert!(!readable.contains(&format!("p{erased}")), "{}", readable);
        prop_assert!(rewritten.iter().all(|event| redact(event, player(erased)).is_none()));
    }
}

struct LiveRaid {
    state: State,
    now: UnixMillis,
    online: BTreeSet<PlayerId>,
    ledger: Vec<Event>,
}

impl LiveRaid {
    fn create(plan: &Scenario) -> LiveRaid {
        let state = State::new(raid_id());
        let mut live = LiveRaid {
            state,
            now: UnixMillis(0),
            online: BTreeSet::new(),
            ledger: Vec::new(),
        };
        let raid = NewRaid {
            title: "Raid of p1".to_owned(),
            description: Some("by p1".to_owned()),
            target_xp: plan.goals.0.cast_signed(),
            target_tasks: plan.goals.1.cast_signed(),
            time_limit_secs: Some(plan.time_limit_secs),
            max_members: Some(plan.max_members as i64),
            late_join: Some(plan.late_join),
            ranked: Some(plan.ranked),
        };
        let create = RaidCommand::Create {
            leader: player_ref(1),
            invite_code: "K7MQ2XNB".to_owned(),
            raid,
        };
        assert!(live.decide(&create));
        live
    }

    fn advance(&mut self, millis: i64, online: &[u64]) {
        self.now = self.now.plus(millis);
        self.online = online.iter().copied().map(player).collect();
        assert!(self.decide(&RaidCommand::Deadline));
    }

    fn step(&mut self, step: ModelStep) -> bool {
        self.decide(&command(step))
    }

    fn decide(&mut self, command: &RaidCommand) -> bool {
        let decision = decide(
            &self.state,
            command,
            Context {
                now: self.now,
                online: &self.online,
                new_invite_code: "7XNBK2QM",
                quotas: crate::raid::Quotas::UNLIMITED,
            },
        );
        for event in decision.iter().flatten() {
            apply(&mut self.state, event);
            self.ledger.push(event.clone());
        }
        decision.is_ok()
    }
}

fn command(step: ModelStep) -> RaidCommand {
    let act = |by, command| match by {
        HOST_APP => RaidCommand::Service { command },
        by => RaidCommand::Player {
            by: player(by),
            command,
        },
    };
    match step {
        ModelStep::Join(id) => RaidCommand::Join {
            player: player_ref(id),
        },
        ModelStep::Start(by) => act(by, PlayerCommand::Start),
        ModelStep::Leave(by) => act(by, PlayerCommand::Leave),
        ModelStep::Kick(by, id) => act(by, PlayerCommand::Kick { player: player(id) }),
        ModelStep::Promote(by, id) => act(by, PlayerCommand::Promote { player: player(id) }),
        ModelStep::Cancel(by) => act(by, PlayerCommand::Cancel),
        ModelStep::Add(by, xp) => act(
            by,
            PlayerCommand::AddTask {
                title: format!("x of p{by}"),
                xp: xp.cast_signed(),
                minutes: 1,
            },
        ),
        ModelStep::Edit(by, id) => act(
            by,
            PlayerCommand::EditTask {
                task: task(id),
                title: Some(format!("y of p{by}")),
                minutes: None,
            },
        ),
        ModelStep::Remove(by, id) => act(by, PlayerCommand::RemoveTask { task: task(id) }),
        ModelStep::Mute(by, id, until) => act(
            by,
            PlayerCommand::Mute {
                player: player(id),
                until: Some(until),
            },
        ),
        ModelStep::RotateInvite(by) => act(by, PlayerCommand::RotateInvite),
        ModelStep::Claim(by, id) => act(by, PlayerCommand::ClaimTask { task: task(id) }),
        ModelStep::Release(by, id) => act(by, PlayerCommand::ReleaseTask { task: task(id) }),
        ModelStep::Complete(by, id) => act(by, PlayerCommand::CompleteTask { task: task(id) }),
        ModelStep::Fail(by, id) => act(by, PlayerCommand::FailTask { task: task(id) }),
        ModelStep::Contribute(id, xp) => RaidCommand::Service {
            command: PlayerCommand::Contribute {
                player: player(id),
                xp: xp.cast_signed(),
                kind: "bonus".to_owned(),
                note: Some(format!("for p{id}")),
            },
        },
        ModelStep::Say(by) => act(
            by,
            PlayerCommand::Say {
                text: format!("hi of p{by}"),
            },
        ),
        ModelStep::LeaderOffline => RaidCommand::LeaderOffline,
    }
}

fn model(plan: &Scenario) -> Model {
    Model {
        target_xp: plan.goals.0,
        target_tasks: plan.goals.1,
        time_limit: plan.time_limit_secs * 1_000,
        max_members: plan.max_members,
        late_join: plan.late_join,
        ranked: plan.ranked,
        now: 0,
        online: Vec::new(),
        status: ModelStatus::Recruiting,
        deadline: 0,
        ended_at: 0,
        members: vec![1],
        leader: Some(1),
        term: 1,
        kicked: Vec::new(),
        tasks: Vec::new(),
        tasks_added: 0,
        mutes: Vec::new(),
        earned: Vec::new(),
        energies: vec![(1, 100, 0)],
        said: 0,
    }
}

fn assert_agreement(state: &State, model: &Model) {
    let raid = state.shown();
    let status = match model.status {
        ModelStatus::Recruiting => RaidStatus::Recruiting,
        ModelStatus::Active => RaidStatus::Active,
        ModelStatus::Won => RaidStatus::Completed,
        ModelStatus::Lost => RaidStatus::Failed,
    };
    assert_eq!(raid.status, status);
    assert_eq!(
        raid.ended_at,
        status.ended().then_some(UnixMillis(model.ended_at))
    );
    assert_eq!(raid.leader.map(PlayerId::get), model.leader);
    assert_eq!(raid.term, model.term);
    assert_eq!(
        (raid.current_xp, raid.current_tasks),
        (model.current_xp(), model.earned.len() as u64)
    );
    assert_eq!(raid.messages.len(), model.said.min(50));
    let members: Vec<u64> = raid
        .members
        .iter()
        .map(|member| member.player.get())
        .collect();
    assert_eq!(members, model.members);
    for member in &raid.members {
        let id = member.player.get();
        assert_eq!(
            (member.xp, member.tasks),
            (model.xp_of(id), model.tasks_of(id))
        );
        assert_eq!(
            crate::raid::energy::at(member, UnixMillis(model.now)),
            model.energy(id)
        );
        assert_eq!(
            member.is_muted(UnixMillis(model.now)),
            model.now < model.muted_until(id)
        );
    }
    let status_and_assignee = |task: &ModelTask| match (task.claimed_by, task.completed_by) {
        (_, Some(by)) => (task.id, TaskStatus::Completed, Some(by)),
        (Some(by), None) => (task.id, TaskStatus::Claimed, Some(by)),
        (None, None) => (task.id, TaskStatus::Open, None),
    };
    let tasks = raid
        .tasks
        .iter()
        .map(|task| (task.id.get(), task.status, task.assignee.map(PlayerId::get)));
    assert!(tasks.eq(model.tasks.iter().map(status_and_assignee)));
    let ranking = raid
        .ranking
        .as_ref()
        .map(|ranking| ranking.iter().map(|rank| rank.player.get()).collect());
    assert_eq!(
        ranking,
        (model.status == ModelStatus::Won).then(|| model.ranking())
    );
}

fn assert_soundness(state: &State) {
    let raid = state.shown();
    let leaders: Vec<PlayerId> = raid
        .members
        .iter()
        .filter(|m| m.role == Role::Leader)
        .map(|m| m.player)
        .collect();
    assert_eq!(
        leaders,
        Vec::from_iter(raid.leader),
        "the member with the leader's role is the raid's leader"
    );
    assert_eq!(
        leaders.is_empty(),
        raid.members.is_empty(),
        "a raid has a leader unless it has no members"
    );
    assert!(raid.members.iter().all(|member| member.energy <= 100));
    for task in &raid.tasks {
        match task.status {
            TaskStatus::Open => assert!(task.assignee.is_none() && task.claimed_at.is_none()),
            TaskStatus::Claimed => assert!(state.is_member(task.assignee.expect("an assignee"))),
            TaskStatus::Completed => assert!(task.assignee.is_some() && task.ended_at.is_some()),
        }
    }
    assert_eq!(
        state.active_deadline().is_some(),
        raid.status == RaidStatus::Active
    );
}

fn assert_ledger(ledger: &[Event], state: &State) {
    assert!(
        ledger
            .iter()
            .zip(1..)
            .all(|(event, seq)| event.seq.0 == seq),
        "seqs are contiguous from 1"
    );
    assert!(
        ledger.is_sorted_by_key(|event| event.at),
        "event times do not decrease"
    );
    assert_eq!(ledger.last().map(|event| event.seq), Some(state.seq()));
    let (xp, tasks) = ledger
        .iter()
        .filter_map(|event| event.data.earned())
        .fold((0, 0), |(xp, n), (_, x)| (xp + x, n + 1));
    assert_eq!(
        (state.shown().current_xp, state.shown().current_tasks),
        (xp, tasks),
        "totals equal the ledger's sums"
    );
    let ends = |event: &&Event| {
        matches!(
            event.data,
            EventData::RaidCompleted { .. } | EventData::RaidFailed { .. }
        )
    };
    assert!(ledger.iter().filter(ends).count() <= 1, "a raid ends once");
    let after = ledger.iter().skip_while(|event| !ends(event)).skip(1);
    for event in after {
        assert!(
            matches!(
                event.data,
                EventData::Said { .. } | EventData::MemberMuted { .. }
            ),
            "after the end: {event:?}"
        );
    }
}

fn player(id: u64) -> PlayerId {
    PlayerId::try_from(id).expect("an id")
}

fn player_ref(id: u64) -> PlayerRef {
    PlayerRef {
        id: player(id),
        name: format!("p{id}"),
    }
}

fn task(id: u64) -> TaskId {
    TaskId::try_from(id).expect("an id")
}
