//! Transfers from one store to another and back: nothing is lost, and new rows do not collide with
//! imported ones.

use std::collections::BTreeSet;
use std::time::Duration;

use raidhall::backup::BackupError;
use raidhall::backup::format::hex;
use raidhall::definitions::Definitions;
use raidhall::player::{PlayerFold, decide};
use raidhall::progression::BoardWindowId;
use raidhall::raid::{State, apply, stored};
use raidhall::store::backup::{OpenTargetError, PlayerEventLine, SnapshotLine};
use raidhall::store::{
    BoardPart, BoardPosition, CommitOutcome, InstanceId, InstanceRecord, NewAuditEntry, OpHash,
    Store, StreamOutcome,
};
use raidhall::streams::AppendBuilder;
use raidhall_protocol::event::LeaderReason;
use raidhall_protocol::player::PlayerCommand;
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq, UnixMillis};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize;
use uuid::Uuid;

use crate::backup_contents::BackupContents;
use crate::backup_database::{BackupDatabase, export_to_file};
use crate::history::{History, failed, instance, joined, op, raid};
use crate::raid_generator::{NOW, fill_store};
use crate::stream_generator::fill_stream;

/// Returns a file's contents without the lineage, in which files may differ.
async fn comparable_contents(file: &[u8]) -> BackupContents {
    let (mut contents, imported) = BackupContents::read(file).await.expect("a good file");
    assert_eq!(imported.snapshots_left_out, 0);
    contents.lineage.clear();
    contents
}

/// Returns the lines between the header and the footer.
fn lines_after_header(file: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = file;
    while !rest.is_empty() {
        let mut member = flate2::bufread::GzDecoder::new(rest);
        std::io::Read::read_to_string(&mut member, &mut text).expect("gzip");
        rest = member.into_inner();
    }
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with(r#"{"header":{"format":"raidhall-backup","version":2,"#),
        "{}",
        lines[0]
    );
    assert!(lines[lines.len() - 1].starts_with(r#"{"footer":{"#));
    lines[1..lines.len() - 1].join("\n")
}

/// Returns an event's op key.
fn op_hash(event: &PlayerEventLine) -> Option<OpHash> {
    let key = event.op_key.as_deref()?;
    let key = u128::from_str_radix(key, 16).expect("hex digits");
    Some(OpHash(key.to_be_bytes()))
}

fn erase_entry(player: PlayerId) -> NewAuditEntry {
    NewAuditEntry {
        at: NOW,
        actor: "5".into(),
        action: "erase",
        target: format!("player {player}"),
        request_id: "r".into(),
        details: serde_json::json!({}),
    }
}

#[tokio::test]
async fn an_erased_player_with_granted_xp_can_be_imported() {
    let source = BackupDatabase::sqlite();
    let store = source.store().await;
    let player = store.create_player("Ada").await.expect("created").id;
    let grant = PlayerCommand::GrantXp {
        amount: 250,
        kind: "study".into(),
        note: "A course".into(),
    };
    let mut append = AppendBuilder::new(PlayerFold::new(player, "Ada".into()));
    let granted = decide(append.fold(), &grant, &Definitions::built_in(), NOW);
    append.add(granted.expect("granted"), NOW, None, None);
    let outcome = store.append_to_stream(&append.build().0).await;
    assert_eq!(outcome.expect("append"), StreamOutcome::Appended);
    let entry = erase_entry(player);
    let erased = store.begin_erasure(player, "[erased]", &entry).await;
    assert!(erased.expect("begun"));
    let (file, _) = source.export().await;
    for target in [BackupDatabase::sqlite(), BackupDatabase::postgres().await] {
        target.import(&file).await.expect("imported");
        let profile = target.store().await.player(player).await.expect("read");
        assert_eq!(profile.expect("a player").xp, 250);
    }
}

/// Returns the listed scores of the windows that a player has a score in, each with its rank.
async fn ranks_in_windows_of(
    store: &dyn Store,
    player: PlayerId,
) -> Vec<(BoardWindowId, Vec<(u64, BoardPosition)>)> {
    let first = BoardWindowId::default();
    let scores = store.scores_of_player(player, &first, 1_000).await;
    let mut windows = Vec::new();
    for (window, _) in scores.expect("scores") {
        let listed = store.listed_scores(&window, BoardPart::Top, 1_000).await;
        let mut ranked = Vec::new();
        for position in listed.expect("scores") {
            let before = store.count_listed_before(&window, &position).await;
            ranked.push((before.expect("a count") + 1, position));
        }
        windows.push((window, ranked));
    }
    windows
}

#[tokio::test]
async fn banned_and_removed_scores_stay_hidden_in_an_import() {
    let source = BackupDatabase::sqlite();
    let store = source.store().await;
    fill_store(store.as_ref(), 20, 60, 3).await;
    let all_time = BoardWindowId {
        board: "all_time".into(),
        number: 0,
    };
    let listed = store.listed_scores(&all_time, BoardPart::Top, 1_000).await;
    let ada = listed.expect("scores")[0].player;
    let before = ranks_in_windows_of(store.as_ref(), ada).await;
    let entry = erase_entry(ada);
    assert!(store.ban(ada, "spam", &entry).await.expect("banned"));
    let removed = store.set_removed(&all_time, ada, true, &entry).await;
    assert!(removed.expect("removed"));
    let hidden = ranks_in_windows_of(store.as_ref(), ada).await;
    assert_ne!(hidden, before);
    let (file, _) = source.export().await;
    for target in [BackupDatabase::sqlite(), BackupDatabase::postgres().await] {
        target.import(&file).await.expect("imported");
        let store = target.store().await;
        assert_eq!(ranks_in_windows_of(store.as_ref(), ada).await, hidden);
        assert!(store.unban(ada, &entry).await.expect("unbanned"));
        let restored = store.set_removed(&all_time, ada, false, &entry).await;
        assert!(restored.expect("restored"));
        assert_eq!(ranks_in_windows_of(store.as_ref(), ada).await, before);
    }
}

#[tokio::test]
async fn a_backup_is_identical_from_sqlite_to_postgres_and_back() {
    let first = BackupDatabase::sqlite();
    let second = BackupDatabase::postgres().await;
    let third = BackupDatabase::sqlite();
    let players = fill_store(first.store().await.as_ref(), 40, 80, 1).await;
    let mut rng = StdRng::seed_from_u64(1);
    fill_stream(first.store().await.as_ref(), &players[5], 900, &mut rng).await;
    for (round, player) in (0..).zip(&players) {
        let entry = NewAuditEntry {
            at: NOW,
            actor: "admin:ops".into(),
            action: "ban",
            target: format!("player {}", player.id),
            request_id: format!("r-{round}"),
            details: serde_json::json!({"reason": "\"quoted\"", "a": round}),
        };
        assert!(
            first
                .store()
                .await
                .ban(player.id, "for ’s sake", &entry)
                .await
                .expect("banned")
        );
    }
    assert!(
        first
            .store()
            .await
            .begin_erasure(players[2].id, "[erased]", &erase_entry(players[2].id))
            .await
            .expect("begun")
    );
    let (file, counted) = first.export().await;
    assert!(
        counted.raids == 40 && counted.players == 6 && counted.sign_ins == 5,
        "{counted:?}"
    );
    assert!(counted.board_scores > 20, "{counted:?}");
    assert!(counted.events > 700, "{counted:?}");
    assert_eq!(counted.definitions, 10, "{counted:?}");
    // One of five players with a stream is erased.
    assert_eq!(counted.streams, 4, "{counted:?}");
    assert!(counted.player_events > 500, "{counted:?}");
    second.import(&file).await.expect("into Postgres");
    let (through, _) = second.export().await;
    assert_eq!(lines_after_header(&file), lines_after_header(&through));
    third.import(&through).await.expect("into SQLite");
    let (back, _) = third.export().await;
    assert_eq!(lines_after_header(&file), lines_after_header(&back));
    let contents = comparable_contents(&file).await;
    let numbers = contents.events.iter().map(|event| event.definitions);
    let numbers: BTreeSet<_> = numbers.collect();
    assert_eq!(numbers.len(), 11, "one of each, and none: {numbers:?}");
    assert_eq!(
        (contents.bans.len(), contents.audit_entries.len()),
        (players.len(), players.len() + 1)
    );
    assert!(
        contents.snapshots.len() > 10 && contents.events.iter().any(|event| event.op_key.is_some())
    );
    assert_eq!(contents, comparable_contents(&back).await);
    let stores = [
        first.store().await,
        second.store().await,
        third.store().await,
    ];
    for store in &stores {
        let due = store
            .take_erasure(NOW, Duration::from_secs(60))
            .await
            .expect("erasures")
            .expect("one is due");
        assert_eq!(due.player, players[2].id);
    }
    for player in players {
        let mut listed = Vec::new();
        for store in &stores {
            let raids = store
                .raids_by_member(player.id, None, None, 100)
                .await
                .expect("raids");
            let ids: Vec<_> = raids.iter().map(|raid| raid.id).collect();
            let mut members = store.raid_members(&ids, 5).await.expect("members");
            members.sort_by_key(|members| members.raid);
            let visited = store
                .raids_ever_joined(player.id, None, 100)
                .await
                .expect("raids");
            assert!(visited.len() > raids.len(), "the player has left a raid");
            listed.push((
                store.account(player.id, NOW).await.expect("an account"),
                visited,
                raids,
                members,
            ));
        }
        assert!(listed.iter().all(|one| *one == listed[0]), "{listed:?}");
    }
    for stream in &contents.streams {
        let player = PlayerId::try_from(stream.player).expect("an id");
        let mut loads = Vec::new();
        for store in &stores {
            let loaded = store.load_stream(player, None).await.expect("load");
            let events = store.stream_events(player, Seq::ZERO, 1_000).await;
            loads.push((loaded.expect("a stream"), events.expect("events")));
        }
        assert!(loads.iter().all(|one| *one == loads[0]));
    }
    let events = contents.player_events.iter();
    let with_op: Vec<_> = events.filter(|event| event.op_key.is_some()).collect();
    assert!(with_op.len() > 100, "{}", with_op.len());
    for event in with_op {
        let player = PlayerId::try_from(event.player).expect("an id");
        for store in &stores {
            let loaded = store.load_stream(player, op_hash(event)).await;
            let loaded = loaded.expect("load").expect("a stream");
            assert_eq!(loaded.op_seq.map(|seq| seq.0), event.seq.try_into().ok());
        }
    }
    for raid in &contents.raids {
        let raid = RaidId::try_from(raid.id).expect("an id");
        let mut loads = Vec::new();
        for store in &stores {
            let loaded = store
                .load(raid, 100_000)
                .await
                .expect("load")
                .expect("a raid");
            loads.push((
                loaded.created_month,
                loaded.head,
                loaded.snapshot,
                loaded.tail,
                loaded.ops,
            ));
        }
        assert!(loads.iter().all(|one| *one == loads[0]));
    }
}

async fn assert_new_rows_get_new_ids(database: BackupDatabase) {
    let origin = BackupDatabase::sqlite();
    let store = origin.store().await;
    fill_store(store.as_ref(), 3, 10, 2).await;
    store
        .reserve_raid_ids(10)
        .await
        .expect("ids that are never used");
    database
        .import(&origin.export().await.0)
        .await
        .expect("import");
    let store = database.store().await;
    assert_eq!(store.reserve_raid_ids(2).await.expect("ids"), 14..16);
    let player = store.create_player("next").await.expect("a player");
    assert_eq!(player.id, PlayerId::try_from(7u64).expect("an id"));
}

#[tokio::test]
async fn rows_created_after_an_import_into_sqlite_get_new_ids() {
    assert_new_rows_get_new_ids(BackupDatabase::sqlite()).await;
}

#[tokio::test]
async fn rows_created_after_an_import_into_postgres_get_new_ids() {
    assert_new_rows_get_new_ids(BackupDatabase::postgres().await).await;
}

/// Registers an instance with a lease that outlives the test.
async fn register(store: &dyn Store) -> InstanceRecord {
    let instance = instance();
    let ttl = Duration::from_secs(3_600);
    let registered = store.register(&instance, ttl, ttl).await;
    registered.expect("register");
    instance
}

async fn lineage(store: &dyn Store) -> String {
    let id = InstanceId(Uuid::now_v7());
    let instance = InstanceRecord {
        id,
        ws_url: String::new(),
        release: String::new(),
        draining: false,
    };
    let ttl = Duration::from_millis(1);
    let patience = Duration::from_secs(5);
    store
        .register(&instance, ttl, patience)
        .await
        .expect("register")
        .lineage
}

#[tokio::test]
async fn an_import_creates_a_new_lineage_unless_told_to_keep_it() {
    let origin = BackupDatabase::sqlite();
    let before = lineage(origin.store().await.as_ref()).await;
    let (file, _) = origin.export().await;
    for (keep, database) in [
        (false, BackupDatabase::sqlite()),
        (true, BackupDatabase::sqlite()),
        (false, BackupDatabase::postgres().await),
        (true, BackupDatabase::postgres().await),
    ] {
        database.import_as(&file, keep).await.expect("import");
        assert_eq!(
            lineage(database.store().await.as_ref()).await == before,
            keep
        );
    }
}

#[tokio::test]
async fn an_import_needs_an_empty_database() {
    let origin = BackupDatabase::sqlite();
    fill_store(origin.store().await.as_ref(), 1, 3, 3).await;
    let (file, _) = origin.export().await;
    for database in [BackupDatabase::sqlite(), BackupDatabase::postgres().await] {
        database
            .store()
            .await
            .create_player("first")
            .await
            .expect("a player");
        let refused = database.import(&file).await;
        assert!(
            matches!(
                refused,
                Err(BackupError::Target(OpenTargetError::NotEmpty("players")))
            ),
            "{refused:?}"
        );
        assert_eq!(database.export().await.1.raids, 0);
    }
}

#[tokio::test]
async fn an_import_needs_exclusive_use_of_the_database() {
    for database in [BackupDatabase::sqlite(), BackupDatabase::postgres().await] {
        let store = database.store().await;
        register(store.as_ref()).await; // the instance holds the lock
        let opened = database.open_target(Duration::ZERO).await;
        let refused = opened.map(|_| "opened");
        assert!(
            matches!(refused, Err(OpenTargetError::InUse)),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn leads_of_imported_raids_count_towards_the_limit() {
    let origin = BackupDatabase::sqlite();
    let (ada, ben) = create_led_raids(origin.store().await.as_ref()).await;
    let (file, _) = origin.export().await;
    for database in [BackupDatabase::sqlite(), BackupDatabase::postgres().await] {
        database.import(&file).await.expect("import");
        let store = database.store().await;
        let owner = register(store.as_ref()).await;
        let create = async |id, leader| {
            let mut history = History::new(raid(id), owner.id);
            history.create_key = Some(op(&format!("make-{id}")));
            history.led_raids_max = Some(3);
            let outcomes = store.commit(&[history.creation(leader)]).await;
            outcomes.expect("commit")[0]
        };
        // Ada leads the open raid that she created, and the one that she was given.
        assert_eq!(create(11, ada).await, CommitOutcome::Committed);
        assert_eq!(create(12, ada).await, CommitOutcome::OverQuota);
        for id in 13..16 {
            assert_eq!(create(id, ben).await, CommitOutcome::Committed);
        }
    }
}

/// Creates three raids: an open and an ended one of the first player, and one that the second
/// player created and the first one leads.
async fn create_led_raids(store: &dyn Store) -> (PlayerId, PlayerId) {
    let owner = register(store).await;
    let ada = store.create_player("Ada").await.expect("a player").id;
    let ben = store.create_player("Ben").await.expect("a player").id;
    let ids = store.reserve_raid_ids(3).await.expect("ids");
    assert_eq!(ids, 1..4);
    let mut open = History::new(raid(1), owner.id);
    let mut ended = History::new(raid(2), owner.id);
    let mut given = History::new(raid(3), owner.id);
    let promotion = EventData::LeaderChanged {
        player: ada,
        previous: ben,
        reason: LeaderReason::Promoted,
        term: 2,
    };
    let batches = [
        vec![open.creation(ada), ended.creation(ada), given.creation(ben)],
        vec![
            ended.append([failed()]),
            given.append([joined(ada), promotion]),
        ],
    ];
    for batch in batches {
        let outcomes = store.commit(&batch).await.expect("commit");
        assert!(
            outcomes
                .iter()
                .all(|outcome| *outcome == CommitOutcome::Committed),
            "{outcomes:?}"
        );
    }
    store.deregister(owner.id).await.expect("deregister");
    (ada, ben)
}

#[tokio::test]
async fn a_snapshot_of_version_1_is_imported_in_the_present_version() {
    let origin = BackupDatabase::sqlite();
    create_led_raids(origin.store().await.as_ref()).await;
    let (file, _) = origin.export().await;
    let (mut contents, _) = BackupContents::read(&file).await.expect("a good file");
    let mut state = State::new(raid(1));
    for line in contents.events.iter().filter(|line| line.raid == 1) {
        let data = serde_json::json!({"type": line.kind, "data": line.data});
        let event = Event {
            seq: state.seq().next(),
            at: UnixMillis(line.at),
            by: None,
            data: serde_json::from_value(data).expect("an event"),
        };
        apply(&mut state, &event);
    }
    let present = stored::encode(&state);
    let snapshot = |bytes: &[u8]| SnapshotLine {
        raid: 1,
        seq: state.seq().0.cast_signed(),
        state: hex(bytes),
    };
    contents.snapshots = vec![snapshot(&in_version_1(&present))];
    let (file, _) = export_to_file(&mut contents).await;
    let imported = comparable_contents(&file).await;
    assert_eq!(imported.snapshots, [snapshot(&present)]);
}

/// Returns the part of a stored state of version 2 that version 1 has too. Before it are the
/// version, in two bytes, and the marker of an array of two.
fn in_version_1(stored: &[u8]) -> Vec<u8> {
    let body = &stored[3..];
    let mut deserializer = rmp_serde::Deserializer::new(body);
    serde::de::IgnoredAny::deserialize(&mut deserializer).expect("version 1");
    let additions = deserializer.into_inner();
    [&[0, 1], &body[..body.len() - additions.len()]].concat()
}

/// An export must not contain what is committed while it runs.
async fn assert_export_is_consistent(database: BackupDatabase) {
    let store = database.store().await;
    fill_store(store.as_ref(), 5, 20, 4).await;
    let mut source = database.source().await;
    let (before, _) = export_to_file(source.as_mut()).await;
    fill_store(store.as_ref(), 5, 20, 5).await;
    let (during, _) = export_to_file(source.as_mut()).await;
    let contents = comparable_contents(&before).await;
    let mut later = comparable_contents(&during).await;
    // Postgres's sequences are outside the transaction, and never behind it.
    later.ids = contents.ids;
    assert_eq!(contents, later);
    assert_eq!(database.export().await.1.raids, 10);
}

#[tokio::test]
async fn an_export_of_sqlite_is_consistent() {
    assert_export_is_consistent(BackupDatabase::sqlite()).await;
}

#[tokio::test]
async fn an_export_of_postgres_is_consistent() {
    assert_export_is_consistent(BackupDatabase::postgres().await).await;
}
