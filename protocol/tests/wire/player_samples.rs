//! Samples of messages about a player's stream.

use std::collections::BTreeMap;

use raidhall_protocol::error::{ErrorBody, ErrorType};
use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::player::event::{
    Allowance, Balance, CoinsReason, CorrectedField, CorrectionSource, ItemSource, RaidOutcome,
    RaidPlace, XpSource,
};
use raidhall_protocol::player::message::Me;
use raidhall_protocol::player::state::{
    Counter, Inbox, InboxItem, PlayerRaid, Setting, SkillProgress, Streak, UnlockedAchievement,
};
use raidhall_protocol::player::{
    PlayerCommand, PlayerEvent, PlayerEventData, PlayerMessage, PlayerRequest, PlayerState,
};
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::state::Role;
use raidhall_protocol::{ClientMessage, OpKey, PlayerId, RaidId, Seq, ServerMessage, UnixMillis};
use serde_json::{Value, json};

pub(crate) const AT: UnixMillis = UnixMillis(1_767_225_601_000);

fn player() -> PlayerId {
    PlayerId::try_from(5_u64).expect("an id")
}

fn setting(if_version: Option<u64>) -> PlayerCommand {
    PlayerCommand::SetSetting {
        key: "theme".to_owned(),
        value: json!("dark"),
        if_version,
    }
}

fn notify(url: Option<&str>) -> PlayerCommand {
    PlayerCommand::Notify {
        kind: "sale".to_owned(),
        title: "Sale".to_owned(),
        body: "Frames for half".to_owned(),
        url: url.map(str::to_owned),
    }
}

fn gold() -> String {
    "frame_gold".to_owned()
}

fn grant_xp() -> PlayerCommand {
    PlayerCommand::GrantXp {
        amount: 25,
        kind: "habit".to_owned(),
        note: "a week of walks".to_owned(),
    }
}

fn grant_coins() -> PlayerCommand {
    PlayerCommand::GrantCoins {
        amount: -20,
        note: "refund".to_owned(),
    }
}

fn correct() -> PlayerCommand {
    PlayerCommand::Correct {
        field: Balance::Xp,
        amount: -40,
        note: "counted twice".to_owned(),
    }
}

/// Returns the requests of clients, each with the name of its fixture.
pub(crate) fn client() -> Vec<(String, ClientMessage)> {
    let player = Me::Me;
    let watch = |id, since| PlayerRequest::Watch { id, player, since };
    let unwatch = |id| PlayerRequest::Unwatch { id, player };
    let execute = |cmd| PlayerRequest::Do {
        id: 9,
        player,
        op: OpKey::try_from("0190f3".to_owned()).ok(),
        cmd,
    };
    let without_op = PlayerRequest::Do {
        id: 9,
        player,
        op: None,
        cmd: setting(None),
    };
    let rename = PlayerCommand::SetName {
        name: "Countess".to_owned(),
    };
    let samples = [
        ("watch_me", watch(None, None)),
        ("watch_me_since", watch(Some(3), Some(Seq(41)))),
        ("unwatch_me", unwatch(None)),
        ("unwatch_me_with_id", unwatch(Some(4))),
        ("do_me_without_op", without_op),
        ("do_me_set_setting", execute(setting(Some(2)))),
        ("do_me_set_name", execute(rename)),
        (
            "do_me_read_through",
            execute(PlayerCommand::ReadThrough { seq: Seq(44) }),
        ),
        ("do_me_buy", execute(PlayerCommand::Buy { item: gold() })),
        (
            "do_me_equip",
            execute(PlayerCommand::Equip { item: gold() }),
        ),
        ("do_me_repair_streak", execute(PlayerCommand::RepairStreak)),
        ("do_me_grant_xp", execute(grant_xp())),
        ("do_me_grant_coins", execute(grant_coins())),
        (
            "do_me_grant_item",
            execute(PlayerCommand::GrantItem { item: gold() }),
        ),
        ("do_me_correct", execute(correct())),
        ("do_me_notify", execute(notify(Some("/shop")))),
        ("do_me_notify_without_url", execute(notify(None))),
    ];
    let named = |(name, request): (&str, _)| (name.to_owned(), ClientMessage::Player(request));
    samples.map(named).into()
}

/// Returns the messages of the server, each with the name of its fixture.
pub(crate) fn server() -> Vec<(String, ServerMessage)> {
    let player = player();
    let snapshot = |id, state| PlayerMessage::Snapshot {
        id,
        player,
        seq: Seq(44),
        recovered: false,
        state: Box::new(state),
    };
    let watching = |id| PlayerMessage::Watching {
        id,
        player,
        seq: Seq(44),
        recovered: true,
    };
    let unwatched = |id| PlayerMessage::Unwatched {
        id,
        player,
        reason: UnwatchReason::Asked,
    };
    let ack = |duplicate| PlayerMessage::Ack {
        id: 9,
        player,
        seq: Seq(46),
        duplicate,
    };
    let mut samples = vec![
        ("player_snapshot".to_owned(), snapshot(None, empty_state())),
        (
            "player_snapshot_with_id".to_owned(),
            snapshot(Some(3), full_state()),
        ),
        ("player_watching".to_owned(), watching(None)),
        ("player_watching_with_id".to_owned(), watching(Some(3))),
        ("player_unwatched".to_owned(), unwatched(None)),
        ("player_unwatched_with_id".to_owned(), unwatched(Some(4))),
        ("player_ack".to_owned(), ack(false)),
        ("player_ack_duplicate".to_owned(), ack(true)),
    ];
    samples.extend(events().into_iter().map(|(name, cause, data)| {
        let event = PlayerEvent {
            seq: Seq(45),
            at: AT,
            cause,
            data,
        };
        let name = format!("player_event_{name}");
        (
            name,
            PlayerMessage::Event {
                player,
                event: Box::new(event),
            },
        )
    }));
    let mut all: Vec<_> = samples
        .into_iter()
        .map(|(name, message)| (name, ServerMessage::Player(message)))
        .collect();
    let refused = ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(9),
        raid: None,
        player: Some(player),
        error: ErrorBody::new(ErrorType::Conflict, "error"),
    };
    all.push(("player_error".to_owned(), refused));
    all
}

/// Returns every event type: the fixture's name, the cause, and the data.
fn events() -> Vec<(&'static str, Option<RaidPlace>, PlayerEventData)> {
    let cause = Some(place(7, 124));
    let set = PlayerEventData::SettingSet {
        key: "app.deck".to_owned(),
        value: json!({"cards": [1, null]}),
        version: 3,
        lapses_at: None,
    };
    let moved = PlayerEventData::SettingSet {
        key: "zone".to_owned(),
        value: json!("Asia/Tashkent"),
        version: 3,
        lapses_at: Some(AT.plus(86_400_000)),
    };
    let named = PlayerEventData::NameChanged {
        name: "Countess".to_owned(),
    };
    let notified = PlayerEventData::Notified {
        kind: "sale".to_owned(),
        data: json!({"title": "Sale", "body": "Frames for half", "url": null}),
    };
    let joined = |role| PlayerEventData::RaidJoined {
        raid: raid(7),
        role,
        counters: Vec::new(),
    };
    let left = |reason| PlayerEventData::RaidLeft {
        raid: raid(7),
        reason,
    };
    let ended = |outcome, rank, raids_won| PlayerEventData::RaidEnded {
        raid: raid(7),
        outcome,
        rank,
        xp: 400,
        happened_at: AT,
        raids_played: 5,
        raids_won,
        counters: vec![counter("victor", raids_won, Some(10))],
    };
    let casual = Allowance {
        ranked: false,
        used: 300,
        since: AT.plus(-3_600_000),
    };
    let ranked = Allowance {
        ranked: true,
        used: 1_040,
        since: AT,
    };
    vec![
        ("xp_earned", cause, earned(40, 10, Some(casual))),
        ("xp_earned_ranked", cause, earned(40, 40, Some(ranked))),
        ("xp_earned_contributed", cause, earned(25, 25, None)),
        ("xp_earned_granted", None, granted()),
        ("level_reached", cause, level_reached()),
        (
            "coins_moved",
            cause,
            coins_moved(50, CoinsReason::Victory, None),
        ),
        (
            "coins_moved_mvp",
            cause,
            coins_moved(25, CoinsReason::Mvp, None),
        ),
        (
            "coins_moved_achievement",
            cause,
            coins_moved(10, CoinsReason::Achievement, None),
        ),
        (
            "coins_moved_purchase",
            None,
            coins_moved(-1_000, CoinsReason::Purchase, None),
        ),
        (
            "coins_moved_granted",
            None,
            coins_moved(-20, CoinsReason::Granted, Some("refund")),
        ),
        ("achievement_unlocked", cause, unlocked()),
        (
            "coins_moved_repair",
            None,
            coins_moved(-100, CoinsReason::Repair, None),
        ),
        ("day_kept", cause, day_kept(12)),
        ("streak_frozen", cause, streak_frozen()),
        ("streak_lost", cause, streak_lost(None)),
        (
            "streak_lost_repairable",
            None,
            streak_lost(Some(AT.plus(172_800_000))),
        ),
        ("streak_repaired", None, streak_repaired(Some(AT))),
        ("streak_repaired_later", None, streak_repaired(None)),
        ("item_granted", None, item_granted(ItemSource::Purchase)),
        (
            "item_granted_by_service",
            None,
            item_granted(ItemSource::Grant),
        ),
        ("item_equipped", None, item_equipped()),
        ("raid_joined", cause, joined(Role::Leader)),
        ("raid_joined_member", cause, joined(Role::Member)),
        ("raid_left", cause, left(LeaveReason::Left)),
        ("raid_left_kicked", cause, left(LeaveReason::Kicked)),
        (
            "raid_ended",
            cause,
            ended(RaidOutcome::Completed, Some(1), 4),
        ),
        (
            "raid_ended_failed",
            cause,
            ended(RaidOutcome::Failed, None, 3),
        ),
        ("setting_set", None, set),
        ("setting_set_zone", None, moved),
        ("name_changed", None, named),
        ("notified", cause, notified),
        (
            "read_through",
            None,
            PlayerEventData::ReadThrough { seq: Seq(44) },
        ),
        ("corrected", None, corrected(CorrectionSource::Rebuild)),
        (
            "corrected_by_operator",
            None,
            corrected(CorrectionSource::Operator),
        ),
    ]
}

/// Returns XP of a raid that a player earned who had earned 860 XP, of which 700 count.
fn earned(amount: u64, counted: u64, allowance: Option<Allowance>) -> PlayerEventData {
    let is_task = allowance.is_some();
    PlayerEventData::XpEarned {
        amount,
        counted,
        earned_xp: 860 + amount,
        xp: 700 + counted,
        tasks: 31,
        source: if is_task {
            XpSource::Task
        } else {
            XpSource::Contribution
        },
        allowance,
        happened_at: AT,
        level_xp: 100 + counted,
        next_level_xp: 400,
        skill: is_task.then(|| "teamwork".to_owned()),
        skill_xp: is_task.then_some(300 + counted),
        skill_level: is_task.then_some(3),
        coins: 80 + counted / 10,
        coins_earned: counted / 10,
        note: None,
        counters: vec![counter("contributor", 31, Some(100))],
    }
}

fn granted() -> PlayerEventData {
    PlayerEventData::XpEarned {
        amount: 25,
        counted: 25,
        earned_xp: 885,
        xp: 725,
        tasks: 30,
        source: XpSource::Grant,
        allowance: None,
        happened_at: AT,
        level_xp: 125,
        next_level_xp: 400,
        skill: Some("discipline".to_owned()),
        skill_xp: Some(25),
        skill_level: Some(1),
        coins: 82,
        coins_earned: 2,
        note: Some("a week of walks".to_owned()),
        counters: Vec::new(),
    }
}

fn level_reached() -> PlayerEventData {
    PlayerEventData::LevelReached {
        level: 5,
        coins: 102,
        coins_earned: 20,
        counters: vec![counter("climber", 5, Some(5))],
    }
}

fn coins_moved(amount: i64, reason: CoinsReason, note: Option<&str>) -> PlayerEventData {
    PlayerEventData::CoinsMoved {
        amount,
        reason,
        coins: 82,
        note: note.map(str::to_owned),
        counters: Vec::new(),
    }
}

fn unlocked() -> PlayerEventData {
    PlayerEventData::AchievementUnlocked {
        id: "victor".to_owned(),
        tier: 1,
    }
}

/// Returns a day of a streak with 1 freeze whose best is 20 days.
pub(crate) fn day_kept(days: u64) -> PlayerEventData {
    PlayerEventData::DayKept {
        day: "2026-01-01".to_owned(),
        zone: "Asia/Tashkent".to_owned(),
        days,
        best: 20,
        freezes: 1,
        since: AT,
        lapses_at: AT.plus(172_800_000),
    }
}

pub(crate) fn streak_frozen() -> PlayerEventData {
    PlayerEventData::StreakFrozen {
        days_frozen: 1,
        freezes: 1,
        lapses_at: AT.plus(86_400_000),
    }
}

pub(crate) fn streak_lost(repairable_until: Option<UnixMillis>) -> PlayerEventData {
    PlayerEventData::StreakLost {
        days: 12,
        repairable_days: repairable_until.map_or(0, |_| 12),
        repairable_from: repairable_until.map(|_| AT),
        repairable_until,
    }
}

pub(crate) fn streak_repaired(since: Option<UnixMillis>) -> PlayerEventData {
    PlayerEventData::StreakRepaired {
        days: 13,
        best: 20,
        freezes: 1,
        cost: 100,
        since,
        lapses_at: AT.plus(86_400_000),
    }
}

fn item_granted(by: ItemSource) -> PlayerEventData {
    PlayerEventData::ItemGranted {
        item: gold(),
        by,
        counters: vec![counter("wardrobe", 10, None)],
    }
}

fn item_equipped() -> PlayerEventData {
    PlayerEventData::ItemEquipped {
        slot: "frame".to_owned(),
        item: gold(),
    }
}

pub(crate) fn counter(id: &str, value: u64, goal: Option<u64>) -> Counter {
    let id = id.to_owned();
    Counter { id, value, goal }
}

fn corrected(by: CorrectionSource) -> PlayerEventData {
    PlayerEventData::Corrected {
        field: CorrectedField::Xp,
        from: 750,
        to: 720,
        by,
        note: "event 41: amount is 70 and should be 40".to_owned(),
    }
}

pub(crate) fn place(raid_id: u64, seq: u64) -> RaidPlace {
    RaidPlace {
        raid: raid(raid_id),
        seq: Seq(seq),
    }
}

pub(crate) fn raid(id: u64) -> RaidId {
    RaidId::try_from(id).expect("an id")
}

pub(crate) fn empty_state() -> PlayerState {
    PlayerState {
        id: player(),
        name: "Ada".to_owned(),
        xp: 0,
        earned_xp: 0,
        level: 1,
        level_xp: 0,
        next_level_xp: 100,
        coins: 0,
        tasks: 0,
        raids_won: 0,
        raids_played: 0,
        raids: Vec::new(),
        skills: Vec::new(),
        achievements: Vec::new(),
        counters: Vec::new(),
        streak: Streak::default(),
        items: Vec::new(),
        equipped: BTreeMap::new(),
        settings: BTreeMap::new(),
        inbox: Inbox::default(),
        read_through: Seq(0),
    }
}

fn full_state() -> PlayerState {
    let settings = [
        ("theme", setting_at(json!("dark"), 2)),
        ("zone", setting_at(json!("Asia/Tashkent"), 3)),
    ];
    PlayerState {
        xp: 720,
        earned_xp: 900,
        level: 4,
        level_xp: 120,
        next_level_xp: 400,
        coins: 82,
        tasks: 31,
        raids_won: 3,
        raids_played: 5,
        raids: vec![joined(7, Role::Leader), joined(9, Role::Member)],
        skills: vec![skill("teamwork", 300, 3)],
        achievements: vec![achievement("victor", 1)],
        counters: vec![
            counter("victor", 3, Some(10)),
            counter("first_steps", 1, None),
        ],
        streak: Streak {
            days: 12,
            best: 20,
            day: Some("2026-01-01".to_owned()),
            freezes: 1,
            lapses_at: Some(AT.plus(172_800_000)),
            repairable_days: 9,
            repairable_from: Some(AT),
            repairable_until: Some(AT),
        },
        items: vec![gold()],
        equipped: BTreeMap::from([("frame".to_owned(), gold())]),
        settings: by_key(settings),
        inbox: Inbox {
            unread: 1,
            items: vec![sale(12, true), sale(44, false)],
        },
        read_through: Seq(12),
        ..empty_state()
    }
}

pub(crate) fn joined(raid_id: u64, role: Role) -> PlayerRaid {
    PlayerRaid {
        raid: raid(raid_id),
        role,
    }
}

pub(crate) fn skill(skill: &str, xp: u64, level: u64) -> SkillProgress {
    let skill = skill.to_owned();
    SkillProgress { skill, xp, level }
}

pub(crate) fn achievement(id: &str, tier: u32) -> UnlockedAchievement {
    UnlockedAchievement {
        id: id.to_owned(),
        tier,
        at: AT,
    }
}

pub(crate) fn setting_at(value: Value, version: u64) -> Setting {
    Setting { value, version }
}

pub(crate) fn by_key<const N: usize>(settings: [(&str, Setting); N]) -> BTreeMap<String, Setting> {
    let named = |(key, setting): (&str, _)| (key.to_owned(), setting);
    settings.map(named).into()
}

pub(crate) fn sale(seq: u64, read: bool) -> InboxItem {
    InboxItem {
        seq: Seq(seq),
        at: AT,
        kind: "sale".to_owned(),
        data: sale_data(),
        read,
    }
}

pub(crate) fn sale_data() -> Value {
    json!({"title": "Sale", "body": "Frames for half", "url": "/shop"})
}
