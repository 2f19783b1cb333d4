//! The generator of the TypeScript types from the Rust ones.

use std::fmt::Write as _;

use raidhall_protocol::close::CloseCode;
use raidhall_protocol::error::{ErrorBody, ErrorType, FieldFault};
use raidhall_protocol::event::{self, Event, EventData};
use raidhall_protocol::player::{
    self, PlayerCommand, PlayerEvent, PlayerEventData, PlayerMessage, PlayerRequest, PlayerState,
};
use raidhall_protocol::progression::{self, Progression};
use raidhall_protocol::rest::{self, Data, Page};
use raidhall_protocol::server::{self, ServerMessage};
use raidhall_protocol::state::{self, RaidState};
use raidhall_protocol::{
    ClientMessage, Command, OpKey, PlayerId, RaidId, Seq, TaskId, UnixMillis, limits,
};
use ts_rs::{Config, TS};

use crate::layout::lay_out;
use crate::{check_kept, kept};

#[test]
fn typescript_types_match_this_build() {
    check_kept(
        &kept("../clients/typescript/src/protocol.ts"),
        generate().as_bytes(),
    );
}

/// Returns every type on the wire as TypeScript, and the numbers that are part of the contract.
fn generate() -> String {
    let mut out = "// Generated from the Rust types of raidhall-protocol; do not edit.\n\
                   // `UPDATE_FIXTURES=1 cargo test -p raidhall-protocol` regenerates it.\n"
        .to_owned();
    for declaration in declarations() {
        out.push('\n');
        out.push_str(&declaration);
    }
    out.push('\n');
    write_constants(&mut out).expect("writing to a string cannot fail");
    out
}

/// Returns the TypeScript declaration of every type on the wire.
pub(crate) fn declarations() -> Vec<String> {
    vec![
        declare::<RaidId>(),
        declare::<PlayerId>(),
        declare::<TaskId>(),
        declare::<Seq>(),
        declare::<UnixMillis>(),
        declare::<OpKey>(),
        declare::<ClientMessage>(),
        declare::<Command>(),
        declare::<ServerMessage>(),
        declare::<server::PlayerRef>(),
        declare::<server::WelcomeLimits>(),
        declare::<server::UnwatchReason>(),
        declare::<server::ByeReason>(),
        declare::<Event>(),
        declare::<EventData>(),
        declare::<event::LeaveReason>(),
        declare::<event::LeaderReason>(),
        declare::<event::FailReason>(),
        declare::<RaidState>(),
        declare::<state::RaidStatus>(),
        declare::<state::Member>(),
        declare::<state::Role>(),
        declare::<state::Task>(),
        declare::<state::TaskStatus>(),
        declare::<state::ChatMessage>(),
        declare::<state::Rank>(),
        declare::<player::message::Me>(),
        declare::<PlayerRequest>(),
        declare::<PlayerMessage>(),
        declare::<PlayerCommand>(),
        declare::<PlayerEvent>(),
        declare::<player::event::RaidPlace>(),
        declare::<PlayerEventData>(),
        declare::<player::event::Allowance>(),
        declare::<player::event::XpSource>(),
        declare::<player::event::CoinsReason>(),
        declare::<player::event::ItemSource>(),
        declare::<player::event::RaidOutcome>(),
        declare::<player::event::CorrectionSource>(),
        declare::<player::event::Balance>(),
        declare::<player::event::CorrectedField>(),
        declare::<PlayerState>(),
        declare::<player::state::PlayerRaid>(),
        declare::<player::state::SkillProgress>(),
        declare::<player::state::UnlockedAchievement>(),
        declare::<player::state::Counter>(),
        declare::<player::state::Streak>(),
        declare::<player::state::Setting>(),
        declare::<player::state::Inbox>(),
        declare::<player::state::InboxItem>(),
        declare::<ErrorBody>(),
        declare::<ErrorType>(),
        declare::<FieldFault>(),
        declare::<Data<ts_rs::Dummy>>(),
        declare::<Page<ts_rs::Dummy>>(),
        declare::<rest::TokenPair>(),
        declare::<rest::Profile>(),
        declare::<rest::PlayerProfile>(),
        declare::<rest::Badge>(),
        declare::<rest::NewRaid>(),
        declare::<rest::RaidView>(),
        declare::<rest::RaidSummary>(),
        declare::<rest::InviteView>(),
        declare::<rest::CommandResult>(),
        declare::<rest::PlayerStateAt>(),
        declare::<rest::Contribution>(),
        declare::<Progression>(),
        declare::<progression::Levels>(),
        declare::<progression::CoinAmounts>(),
        declare::<progression::StreakRules>(),
        declare::<progression::Achievement>(),
        declare::<progression::Tier>(),
        declare::<progression::AchievementText>(),
        declare::<progression::ShopItem>(),
        declare::<progression::Board>(),
        declare::<progression::BoardWindow>(),
        declare::<raidhall_protocol::boards::OpenBoard>(),
        declare::<raidhall_protocol::boards::BoardTitle>(),
        declare::<raidhall_protocol::boards::BoardMetric>(),
        declare::<raidhall_protocol::boards::BoardPage>(),
        declare::<raidhall_protocol::boards::BoardEntry>(),
        declare::<raidhall_protocol::boards::BoardPlayer>(),
    ]
}

fn declare<T: TS>() -> String {
    let config = Config::new().with_large_int("number");
    let tidy = |source: String| {
        source
            .replace("/**\n * ", "/** ")
            .replace("\n */\n", " */\n")
    };
    tidy(T::docs().unwrap_or_default()) + "export " + &lay_out(&tidy(T::decl(&config)))
}

fn write_constants(out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "/** Close codes with which the server closes a WebSocket. */\nexport const CLOSE_CODES = {{"
    )?;
    for close in CloseCode::ALL {
        writeln!(out, "  {}: {},", close.as_str(), close.code())?;
    }
    writeln!(out, "}} as const;\n")?;
    writeln!(
        out,
        "/** HTTP status of each error type, and whether the same request may succeed later. */"
    )?;
    writeln!(
        out,
        "export const ERRORS: Record<ErrorType, {{ status: number, retry: boolean }}> = {{"
    )?;
    for error in ErrorType::ALL {
        let (name, status, retry) = (error.as_str(), error.status(), error.retry());
        writeln!(out, "  {name}: {{ status: {status}, retry: {retry} }},")?;
    }
    writeln!(out, "}};\n")?;
    writeln!(out, "/** Path of the WebSocket on the server. */")?;
    writeln!(out, "export const SOCKET_PATH = {:?};", limits::SOCKET_PATH)?;
    writeln!(
        out,
        "/** WebSocket subprotocol of binary MessagePack frames. */"
    )?;
    writeln!(
        out,
        "export const SUBPROTOCOL_MSGPACK = {:?};",
        limits::SUBPROTOCOL_MSGPACK
    )?;
    writeln!(out, "/** WebSocket subprotocol of JSON text frames. */")?;
    writeln!(
        out,
        "export const SUBPROTOCOL_JSON = {:?};",
        limits::SUBPROTOCOL_JSON
    )?;
    for (name, what, number) in [
        (
            "MESSAGES_SHOWN",
            "chat messages that a raid's state holds",
            limits::MESSAGES_SHOWN,
        ),
        (
            "PLAYER_RAIDS_SHOWN",
            "raids that a player's state holds",
            limits::PLAYER_RAIDS_SHOWN,
        ),
        (
            "INBOX_ITEMS_SHOWN",
            "notifications that a player's state holds",
            limits::INBOX_ITEMS_SHOWN,
        ),
    ] {
        writeln!(out, "/** Number of {what}. */")?;
        writeln!(out, "export const {name} = {number};")?;
    }
    out.push('\n');
    writeln!(
        out,
        "/** Maximum characters of each text, and minimum and maximum of each number. */"
    )?;
    writeln!(out, "export const LIMITS = {{")?;
    for (name, most) in [
        ("name_chars", limits::NAME_CHARS_MAX),
        ("title_chars", limits::TITLE_CHARS_MAX),
        ("description_chars", limits::DESCRIPTION_CHARS_MAX),
        ("task_title_chars", limits::TASK_TITLE_CHARS_MAX),
        ("chat_chars", limits::CHAT_CHARS_MAX),
    ] {
        writeln!(out, "  {name}: {most},")?;
    }
    for (name, range) in [
        ("target_xp", limits::TARGET_XP),
        ("target_tasks", limits::TARGET_TASKS),
        ("time_limit_secs", limits::TIME_LIMIT_SECS),
        ("members", limits::MEMBERS),
        ("task_xp", limits::TASK_XP),
        ("task_minutes", limits::TASK_MINUTES),
    ] {
        writeln!(
            out,
            "  {name}: {{ min: {}, max: {} }},",
            range.start(),
            range.end()
        )?;
    }
    writeln!(out, "}} as const;")
}
