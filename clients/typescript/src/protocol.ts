// Generated from the Rust types of raidhall-protocol; do not edit.
// `UPDATE_FIXTURES=1 cargo test -p raidhall-protocol` regenerates it.

/** Id of a raid, from 1 to 2^53 − 1. */
export type RaidId = number;

/** Id of a player, from 1 to 2^53 − 1. */
export type PlayerId = number;

/** Id of a task: its number within its raid, from 1 in the order in which tasks were added. */
export type TaskId = number;

/** Seq: the number of an event in its raid, from 1 without a gap; 0 is before the first event. */
export type Seq = number;

/** Point in time, in milliseconds since the Unix epoch. */
export type UnixMillis = number;

/** Idempotency key chosen by a client: 1–64 characters of `A-Z a-z 0-9 _ - .`. */
export type OpKey = string;

/** A message from a client, tagged by `t`. */
export type ClientMessage =
  | {
    t: "hello",
    /** Access token to authenticate with. */
    token: string,
    /** Name and version of the client program, for the server's logs. */
    client?: string,
  }
  | {
    t: "watch",
    /** Correlation number, echoed in the answer. */
    id?: number,
    /** Id of the raid. */
    raid: RaidId,
    /** Newest seq that the client holds. */
    since?: Seq,
  }
  | {
    t: "unwatch",
    /** Correlation number, echoed in the answer. */
    id?: number,
    /** Id of the raid. */
    raid: RaidId,
  }
  | {
    t: "do",
    /** Correlation number, echoed in the answer. */
    id: number,
    /** Id of the raid. */
    raid: RaidId,
    /** Idempotency key: with it, the command takes effect at most once. */
    op?: OpKey,
    /** Command to be executed in the raid. */
    cmd: Command,
  }
  | {
    t: "signal",
    /** Correlation number, echoed in an error. */
    id?: number,
    /** Id of the raid. */
    raid: RaidId,
    /** Kind of the signal, `[a-z_]{1,32}`. */
    kind: string,
    /** Any value, at most 1 KiB as JSON unless the server is configured otherwise. */
    data: unknown,
  }
  | { t: "beat" } | PlayerRequest;

/** A command (`cmd`), tagged by `type`. */
export type Command =
  | { type: "start" }
  | { type: "leave" }
  | { type: "kick", player: PlayerId }
  | { type: "mute", player: PlayerId, until?: number | null }
  | { type: "rotate_invite" }
  | { type: "promote", player: PlayerId }
  | { type: "cancel" }
  | { type: "add_task", title: string, xp: number, minutes: number }
  | {
    type: "edit_task",
    task: TaskId,
    title?: string | null,
    minutes?: number | null,
  }
  | { type: "remove_task", task: TaskId }
  | { type: "claim_task", task: TaskId }
  | { type: "release_task", task: TaskId }
  | { type: "complete_task", task: TaskId }
  | { type: "fail_task", task: TaskId }
  | {
    type: "contribute",
    player: PlayerId,
    xp: number,
    kind: string,
    note?: string | null,
  }
  | { type: "say", text: string };

/** A message from the server, tagged by `t`. */
export type ServerMessage =
  | {
    t: "welcome",
    /** The authenticated player; null for a token that speaks for no player. */
    player: PlayerRef | null,
    /** Name of this connection in the server's logs. */
    session: string,
    /** Current time of the server's clock. */
    now: UnixMillis,
    /** Interval between `beat` messages, in milliseconds. */
    heartbeat_ms: number,
    /** Limits on what this connection may send. */
    limits: WelcomeLimits,
    /** Id of the database's history; if it has changed, discard the seqs that you hold. */
    lineage: string,
    /** Parts of the protocol that this server has: `player` for the player's stream. */
    features: Array<string>,
  }
  | {
    t: "watching",
    /** Correlation number of the message that is answered; absent if it had none, and if nothing
 * was asked. */
    id?: number,
    /** Id of the raid. */
    raid: RaidId,
    /** Newest seq of the raid. */
    seq: Seq,
    /** Always true: the missed events follow. */
    recovered: boolean,
    /** Members who are online. */
    online: Array<PlayerId>,
  }
  | {
    t: "snapshot",
    /** Correlation number of the message that is answered; absent if it had none, and if nothing
 * was asked. */
    id?: number,
    /** Id of the raid. */
    raid: RaidId,
    /** Seq that the state is a function of. */
    seq: Seq,
    /** Always false: missed events are not sent. */
    recovered: boolean,
    /** Members who are online. */
    online: Array<PlayerId>,
    /** State of the raid at `seq`. */
    state: RaidState,
  }
  | {
    t: "unwatched",
    /** Correlation number of the message that is answered; absent if it had none, and if nothing
 * was asked. */
    id?: number,
    /** Id of the raid. */
    raid: RaidId,
    /** Why the watch ended. */
    reason: UnwatchReason,
  }
  | {
    t: "event",
    /** Id of the raid. */
    raid: RaidId,
    /** Position of the event in the raid's history. */
    seq: Seq,
    /** When the event happened, by the database's clock; never before the previous event. */
    at: UnixMillis,
    /** Player who acted; null for the server itself and for the host app's backend. */
    by: PlayerId | null,
  } & (
    | {
      type: "raid_created",
      data: {
        title: string,
        description: string | null,
        invite_code: string,
        target_xp: number,
        target_tasks: number,
        time_limit_secs: number,
        max_members: number,
        late_join: boolean,
        ranked: boolean,
      }
    }
    | {
      type: "member_joined",
      data: {
        player: PlayerId,
        name: string,
        role: Role,
        xp: number,
        tasks: number,
        energy: number,
        energy_at: UnixMillis,
        joined_at: UnixMillis,
      }
    }
    | {
      type: "member_left",
      data: { player: PlayerId, reason: LeaveReason, released: Array<TaskId> }
    }
    | {
      type: "leader_changed",
      data: {
        player: PlayerId,
        previous: PlayerId,
        reason: LeaderReason,
        term: number,
      }
    }
    | {
      type: "raid_started",
      data: { deadline: UnixMillis }
    }
    | {
      type: "task_added",
      data: { task: TaskId, title: string, xp: number, minutes: number }
    }
    | {
      type: "task_edited",
      data: {
        task: TaskId,
        author: PlayerId | null,
        title: string | null,
        minutes: number | null,
      }
    }
    | {
      type: "task_removed",
      data: { task: TaskId }
    }
    | {
      type: "task_claimed",
      data: { task: TaskId, player: PlayerId, energy: number }
    }
    | {
      type: "task_released",
      data: { task: TaskId, player: PlayerId }
    }
    | {
      type: "task_completed",
      data: {
        task: TaskId,
        player: PlayerId,
        xp: number,
        energy: number,
        member_xp: number,
        member_tasks: number,
        current_xp: number,
        current_tasks: number,
      }
    }
    | {
      type: "task_failed",
      data: { task: TaskId, player: PlayerId, energy: number }
    }
    | {
      type: "contributed",
      data: {
        player: PlayerId,
        xp: number,
        kind: string,
        note: string | null,
        member_xp: number,
        member_tasks: number,
        current_xp: number,
        current_tasks: number,
      }
    }
    | {
      type: "said",
      data: { text: string }
    }
    | {
      type: "member_muted",
      data: { player: PlayerId, until: UnixMillis | null }
    }
    | {
      type: "invite_rotated",
      data: { invite_code: string }
    }
    | {
      type: "raid_completed",
      data: { ranking: Array<Rank> }
    }
    | {
      type: "raid_failed",
      data: { reason: FailReason }
    }
    | {
      type: "player_erased",
      data: { player: PlayerId, text: string, made_raid: boolean }
    }
  )
  | {
    t: "presence",
    /** Id of the raid. */
    raid: RaidId,
    /** Members who came online. */
    online: Array<PlayerId>,
    /** Members who went offline. */
    offline: Array<PlayerId>,
  }
  | {
    t: "beat",
    /** Current time of the server's clock. */
    now: UnixMillis,
    /** Newest seq of each watched raid, by the raid's id; of the player's stream under `me`. */
    heads: { [key in string]: Seq },
  }
  | {
    t: "ack",
    /** Correlation number of the command. */
    id: number,
    /** Id of the raid. */
    raid: RaidId,
    /** Seq of the last event that the command caused; the raid's newest if it caused none. */
    seq: Seq,
    /** Whether the command's op had already taken effect. */
    duplicate: boolean,
  }
  | {
    t: "error",
    /** The `t` of the message; `frames` or `bytes` if the connection sends too fast. */
    re: string,
    /** Correlation number of the message, if it could be read. */
    id: number | null,
    /** Raid of the message, if it could be read. */
    raid: RaidId | null,
    /** Player of a message that names the player's stream; absent for others. */
    player?: PlayerId,
    /** Error, with whether to retry. */
    error: ErrorBody,
  }
  | {
    t: "signal",
    /** Id of the raid. */
    raid: RaidId,
    /** Player who sent the signal. */
    from: PlayerId,
    /** Kind of the signal. */
    kind: string,
    /** Data of the signal, as sent. */
    data: unknown,
  }
  | {
    t: "bye",
    /** Why the connection will be closed. */
    reason: ByeReason,
    /** How long to wait before reconnecting, in milliseconds. */
    reconnect_after_ms: number,
  } | PlayerMessage;

/** A player's id and name. */
export type PlayerRef = {
  /** Id of the player. */
  id: PlayerId,
  /** Name of the player. */
  name: string,
};

/** Limits on what one connection may send. */
export type WelcomeLimits = {
  /** Largest message that is accepted, in bytes. */
  message_bytes: number,
  /** Sustained rate of messages other than `beat`, per second. */
  commands_per_second: number,
  /** Number of raids that can be watched at once. */
  watches: number,
};

/** Why a watch ended. */
export type UnwatchReason = "asked" | "kicked" | "left" | "forbidden";

/** Why the server closes a connection. */
export type ByeReason = "draining";

/** A numbered event of one raid. */
export type RaidEvent =
  | {
    /** Position of the event in the raid's history. */
    seq: Seq,
    /** When the event happened, by the database's clock; never before the previous event. */
    at: UnixMillis,
    /** Player who acted; null for the server itself and for the host app's backend. */
    by: PlayerId | null,
  } & (
    | {
      type: "raid_created",
      data: {
        title: string,
        description: string | null,
        invite_code: string,
        target_xp: number,
        target_tasks: number,
        time_limit_secs: number,
        max_members: number,
        late_join: boolean,
        ranked: boolean,
      }
    }
    | {
      type: "member_joined",
      data: {
        player: PlayerId,
        name: string,
        role: Role,
        xp: number,
        tasks: number,
        energy: number,
        energy_at: UnixMillis,
        joined_at: UnixMillis,
      }
    }
    | {
      type: "member_left",
      data: { player: PlayerId, reason: LeaveReason, released: Array<TaskId> }
    }
    | {
      type: "leader_changed",
      data: {
        player: PlayerId,
        previous: PlayerId,
        reason: LeaderReason,
        term: number,
      }
    }
    | {
      type: "raid_started",
      data: { deadline: UnixMillis }
    }
    | {
      type: "task_added",
      data: { task: TaskId, title: string, xp: number, minutes: number }
    }
    | {
      type: "task_edited",
      data: {
        task: TaskId,
        author: PlayerId | null,
        title: string | null,
        minutes: number | null,
      }
    }
    | {
      type: "task_removed",
      data: { task: TaskId }
    }
    | {
      type: "task_claimed",
      data: { task: TaskId, player: PlayerId, energy: number }
    }
    | {
      type: "task_released",
      data: { task: TaskId, player: PlayerId }
    }
    | {
      type: "task_completed",
      data: {
        task: TaskId,
        player: PlayerId,
        xp: number,
        energy: number,
        member_xp: number,
        member_tasks: number,
        current_xp: number,
        current_tasks: number,
      }
    }
    | {
      type: "task_failed",
      data: { task: TaskId, player: PlayerId, energy: number }
    }
    | {
      type: "contributed",
      data: {
        player: PlayerId,
        xp: number,
        kind: string,
        note: string | null,
        member_xp: number,
        member_tasks: number,
        current_xp: number,
        current_tasks: number,
      }
    }
    | {
      type: "said",
      data: { text: string }
    }
    | {
      type: "member_muted",
      data: { player: PlayerId, until: UnixMillis | null }
    }
    | {
      type: "invite_rotated",
      data: { invite_code: string }
    }
    | {
      type: "raid_completed",
      data: { ranking: Array<Rank> }
    }
    | {
      type: "raid_failed",
      data: { reason: FailReason }
    }
    | {
      type: "player_erased",
      data: { player: PlayerId, text: string, made_raid: boolean }
    }
  );

/** Data of an event, tagged by `type`. */
export type EventData =
  | {
    type: "raid_created",
    data: {
      title: string,
      description: string | null,
      invite_code: string,
      target_xp: number,
      target_tasks: number,
      time_limit_secs: number,
      max_members: number,
      late_join: boolean,
      ranked: boolean,
    }
  }
  | {
    type: "member_joined",
    data: {
      player: PlayerId,
      name: string,
      role: Role,
      xp: number,
      tasks: number,
      energy: number,
      energy_at: UnixMillis,
      joined_at: UnixMillis,
    }
  }
  | {
    type: "member_left",
    data: { player: PlayerId, reason: LeaveReason, released: Array<TaskId> }
  }
  | {
    type: "leader_changed",
    data: {
      player: PlayerId,
      previous: PlayerId,
      reason: LeaderReason,
      term: number,
    }
  }
  | {
    type: "raid_started",
    data: { deadline: UnixMillis }
  }
  | {
    type: "task_added",
    data: { task: TaskId, title: string, xp: number, minutes: number }
  }
  | {
    type: "task_edited",
    data: {
      task: TaskId,
      author: PlayerId | null,
      title: string | null,
      minutes: number | null,
    }
  }
  | {
    type: "task_removed",
    data: { task: TaskId }
  }
  | {
    type: "task_claimed",
    data: { task: TaskId, player: PlayerId, energy: number }
  }
  | {
    type: "task_released",
    data: { task: TaskId, player: PlayerId }
  }
  | {
    type: "task_completed",
    data: {
      task: TaskId,
      player: PlayerId,
      xp: number,
      energy: number,
      member_xp: number,
      member_tasks: number,
      current_xp: number,
      current_tasks: number,
    }
  }
  | {
    type: "task_failed",
    data: { task: TaskId, player: PlayerId, energy: number }
  }
  | {
    type: "contributed",
    data: {
      player: PlayerId,
      xp: number,
      kind: string,
      note: string | null,
      member_xp: number,
      member_tasks: number,
      current_xp: number,
      current_tasks: number,
    }
  }
  | {
    type: "said",
    data: { text: string }
  }
  | {
    type: "member_muted",
    data: { player: PlayerId, until: UnixMillis | null }
  }
  | {
    type: "invite_rotated",
    data: { invite_code: string }
  }
  | {
    type: "raid_completed",
    data: { ranking: Array<Rank> }
  }
  | {
    type: "raid_failed",
    data: { reason: FailReason }
  }
  | {
    type: "player_erased",
    data: { player: PlayerId, text: string, made_raid: boolean }
  };

/** Why a member left. */
export type LeaveReason = "left" | "kicked";

/** Why leadership moved to another member. */
export type LeaderReason = "left" | "promoted" | "leader_offline";

/** Why a raid failed. */
export type FailReason = "deadline" | "cancelled" | "abandoned";

/** State of a raid: everything that a client sees of it, except who is online. */
export type RaidState = {
  /** Id of the raid. */
  id: RaidId,
  /** Title of the raid. */
  title: string,
  /** Description of the raid, if it has one. */
  description: string | null,
  /** Invite code, with which a player can join. */
  invite_code: string,
  /** Status of the raid. */
  status: RaidStatus,
  /** Why the raid failed; null unless it did. */
  reason: FailReason | null,
  /** Goal of the raid in XP. */
  target_xp: number,
  /** Goal of the raid in tasks. */
  target_tasks: number,
  /** XP earned so far, including that of members who have left. */
  current_xp: number,
  /** Tasks done so far; each contribution counts as one. */
  current_tasks: number,
  /** Maximum number of members. */
  max_members: number,
  /** Whether players can join once the raid is active. */
  late_join: boolean,
  /** Whether the raid is ranked: only the host app's backend adds and removes tasks, so that members
 * do not set the XP they earn. */
  ranked: boolean,
  /** Seconds from start to deadline. */
  time_limit_secs: number,
  /** When the raid was created. */
  created_at: UnixMillis,
  /** When the raid was started; null before that. */
  started_at: UnixMillis | null,
  /** When the raid fails unless both goals are reached before; null until the start. */
  deadline: UnixMillis | null,
  /** When the raid was completed or failed; null before that. */
  ended_at: UnixMillis | null,
  /** Leader of the raid; null only once no member is left. */
  leader: PlayerId | null,
  /** Number of leaders so far, the current one included. */
  term: number,
  /** Members in joining order, without those who have left. */
  members: Array<Member>,
  /** Tasks in the order in which they were added. */
  tasks: Array<Task>,
  /** Latest 50 chat messages, oldest first. */
  messages: Array<ChatMessage>,
  /** Final ranking; null unless the raid is completed. */
  ranking: Array<Rank> | null,
};

/** Status of a raid. */
export type RaidStatus = "recruiting" | "active" | "completed" | "failed";

/** A current member of a raid. */
export type Member = {
  /** Id of the player. */
  player: PlayerId,
  /** Name of the player when they joined. */
  name: string,
  /** Role of the member in this raid. */
  role: Role,
  /** XP earned in this raid. */
  xp: number,
  /** Tasks done in this raid; each contribution counts as one. */
  tasks: number,
  /** Energy at `energy_at`; it regenerates by 1 per minute up to 100. */
  energy: number,
  /** When `energy` last changed. */
  energy_at: UnixMillis,
  /** When the player joined. */
  joined_at: UnixMillis,
  /** Until when the member may not send chat messages and signals; null if they are not muted. */
  muted_until: UnixMillis | null,
};

/** Role of a member, which decides what they may do. */
export type Role = "leader" | "member";

/** A task of a raid. */
export type Task = {
  /** Number of the task within its raid. */
  id: TaskId,
  /** Title: what has to be done. */
  title: string,
  /** XP earned by completing the task. */
  xp: number,
  /** How long the task should take, in minutes. */
  minutes: number,
  /** Status of the task. */
  status: TaskStatus,
  /** Player who claimed or completed the task; null while it is open. */
  assignee: PlayerId | null,
  /** Player who added the task; null if the host app's backend did. */
  by: PlayerId | null,
  /** Player who changed the title last; null if it is still that of the author. */
  edited_by: PlayerId | null,
  /** When the task was claimed; null while it is open. */
  claimed_at: UnixMillis | null,
  /** When the task was completed; null before that. */
  ended_at: UnixMillis | null,
};

/** Status of a task. */
export type TaskStatus = "open" | "claimed" | "completed";

/** A chat message of a raid. */
export type ChatMessage = {
  /** Seq of the message's `said` event. */
  seq: Seq,
  /** Player who sent the message. */
  by: PlayerId,
  /** Text of the message. */
  text: string,
  /** When the message was sent. */
  at: UnixMillis,
};

/** One row of the final ranking. */
export type Rank = {
  /** Id of the player. */
  player: PlayerId,
  /** Name of the player. */
  name: string,
  /** XP that the player earned in the raid. */
  xp: number,
  /** Tasks that the player did in the raid; each contribution counts as one. */
  tasks: number,
  /** Rank of the player, from 1. */
  rank: number,
};

/** The player that the connection's token names. */
export type Me = "me";

/** A message from a client about its player's stream, tagged by `t`. */
export type PlayerRequest =
  | {
    t: "watch",
    /** Correlation number, echoed in the answer. */
    id?: number,
    /** The token's player: `me`. */
    player: Me,
    /** Newest seq that the client holds. */
    since?: Seq,
  }
  | {
    t: "unwatch",
    /** Correlation number, echoed in the answer. */
    id?: number,
    /** The token's player: `me`. */
    player: Me,
  }
  | {
    t: "do",
    /** Correlation number, echoed in the answer. */
    id: number,
    /** The token's player: `me`. */
    player: Me,
    /** Idempotency key: with it, the command takes effect at most once. */
    op?: OpKey,
    /** Command to be executed. */
    cmd: PlayerCommand,
  };

/** A message from the server about the player's stream, tagged by `t`. */
export type PlayerMessage =
  | {
    t: "watching",
    /** Correlation number of the message that is answered; absent if it had none. */
    id?: number,
    /** Id of the player. */
    player: PlayerId,
    /** Newest seq of the stream. */
    seq: Seq,
    /** Always true: the missed events follow. */
    recovered: boolean,
  }
  | {
    t: "snapshot",
    /** Correlation number of the message that is answered; absent if it had none. */
    id?: number,
    /** Id of the player. */
    player: PlayerId,
    /** Seq that the state is a function of. */
    seq: Seq,
    /** Always false: missed events are not sent. */
    recovered: boolean,
    /** State of the player at `seq`. */
    state: PlayerState,
  }
  | {
    t: "unwatched",
    /** Correlation number of the message that is answered; absent if it had none. */
    id?: number,
    /** Id of the player. */
    player: PlayerId,
    /** Why the watch ended. */
    reason: UnwatchReason,
  }
  | {
    t: "event",
    /** Id of the player. */
    player: PlayerId,
    /** Position of the event in the player's stream. */
    seq: Seq,
    /** When the event happened, by the database's clock; never before the previous event. */
    at: UnixMillis,
    /** The event of a raid that caused this one; null if none did. */
    cause: RaidPlace | null,
  } & (
    | {
      type: "xp_earned",
      data: {
        /** XP that the player earned in the raid. */
        amount: number,
        /** How much of it counts: what lies beyond a day's allowance stays in the raid. */
        counted: number,
        /** All XP that the player has earned. */
        earned_xp: number,
        /** All XP of the player that counts. */
        xp: number,
        /** How many tasks and contributions the player has completed. */
        tasks: number,
        /** What the XP is for. */
        source: XpSource,
        /** When the XP was earned. The event's `at` may be later. */
        happened_at: UnixMillis,
        /** The day's allowance that was used; null if the XP counts in full. */
        allowance: Allowance | null,
        /** XP since the beginning of the level that the player has now. A level that was reached
 * with this XP follows as `level_reached`. */
        level_xp: number,
        /** XP from the beginning of that level to the next one. */
        next_level_xp: number,
        /** The skill that the XP trains; null if it trains none. */
        skill: string | null,
        /** XP that the player has earned in the skill. */
        skill_xp: number | null,
        /** The player's level in the skill. */
        skill_level: number | null,
        /** The player's coins after it. */
        coins: number,
        /** How many of them the XP brought. */
        coins_earned: number,
        /** Why the host app's backend granted the XP; null for XP of a raid. */
        note: string | null,
        /** The counters of achievements that moved. */
        counters: Array<Counter>,
      }
    }
    | {
      type: "level_reached",
      data: {
        /** The level that was reached. */
        level: number,
        /** The player's coins after it. */
        coins: number,
        /** How many of them the level brought. */
        coins_earned: number,
        /** The counters of achievements that moved. */
        counters: Array<Counter>,
      }
    }
    | {
      type: "coins_moved",
      data: {
        /** How many coins came; negative if they were spent. */
        amount: number,
        /** Why the coins moved. */
        reason: CoinsReason,
        /** The player's coins after it. */
        coins: number,
        /** What the host app's backend says about it; null if nothing. */
        note: string | null,
        /** The counters of achievements that moved. */
        counters: Array<Counter>,
      }
    }
    | {
      type: "achievement_unlocked",
      data: {
        /** Id of the achievement. */
        id: string,
        /** The tier, from 1. */
        tier: number,
      }
    }
    | {
      type: "day_kept",
      data: {
        /** The day, as `YYYY-MM-DD`. */
        day: string,
        /** Name of the time zone that it is a day of. */
        zone: string,
        /** How many days the streak has. */
        days: number,
        /** The most days that a streak of the player had. */
        best: number,
        /** How many missed days the streak survives from then on. */
        freezes: number,
        /** When the XP was earned, from which the next day of the streak is found. */
        since: UnixMillis,
        /** When the streak is lost if no day is kept until then. */
        lapses_at: UnixMillis,
      }
    }
    | {
      type: "streak_frozen",
      data: {
        /** How many days were missed, each of which took a freeze. */
        days_frozen: number,
        /** How many freezes are left. */
        freezes: number,
        /** When the streak is lost if no day is kept until then. */
        lapses_at: UnixMillis,
      }
    }
    | {
      type: "streak_lost",
      data: {
        /** How many days the streak had. */
        days: number,
        /** How many days a repair brings back; 0 if none is possible. They are those of another
 * streak if a longer one was lost before and can still be repaired. */
        repairable_days: number,
        /** From when the streak can be repaired; null if it cannot. */
        repairable_from: UnixMillis | null,
        /** Until when it can be repaired; null if it cannot. */
        repairable_until: UnixMillis | null,
      }
    }
    | {
      type: "streak_repaired",
      data: {
        /** How many days the streak has. */
        days: number,
        /** The most days that a streak of the player had. */
        best: number,
        /** How many missed days the streak survives from then on. */
        freezes: number,
        /** How many coins it cost; they moved before it. */
        cost: number,
        /** A moment of the day before, which counts as kept; null if a day was kept since the loss,
 * or if XP that came late brought the streak back. */
        since: UnixMillis | null,
        /** When the streak is lost if no day is kept until then. */
        lapses_at: UnixMillis,
      }
    }
    | {
      type: "item_granted",
      data: {
        /** Id of the item. */
        item: string,
        /** How the player got it. */
        by: ItemSource,
        /** The counters of achievements that moved. */
        counters: Array<Counter>,
      }
    }
    | {
      type: "item_equipped",
      data: {
        /** Where it is worn. It replaces what was worn there. */
        slot: string,
        /** Id of the item. */
        item: string,
      }
    }
    | {
      type: "raid_joined",
      data: {
        /** Id of the raid. */
        raid: RaidId,
        /** Role of the player from then on. */
        role: Role,
        /** The counters of achievements that moved. */
        counters: Array<Counter>,
      }
    }
    | {
      type: "raid_left",
      data: {
        /** Id of the raid. */
        raid: RaidId,
        /** Why the player left. */
        reason: LeaveReason,
      }
    }
    | {
      type: "raid_ended",
      data: {
        /** Id of the raid. */
        raid: RaidId,
        /** How the raid ended. */
        outcome: RaidOutcome,
        /** Place of the player in the final ranking; null if the raid failed. */
        rank: number | null,
        /** XP that the player earned in the raid. */
        xp: number,
        /** When the raid ended. The event's `at` may be later. */
        happened_at: UnixMillis,
        /** How many raids the player was a member of when they ended. */
        raids_played: number,
        /** How many of them were completed. */
        raids_won: number,
        /** The counters of achievements that moved. */
        counters: Array<Counter>,
      }
    }
    | {
      type: "setting_set",
      data: {
        /** Name of the setting. */
        key: string,
        /** Value of the setting. */
        value: unknown,
        /** How often the setting has been set. */
        version: number,
        /** When the streak is lost from then on, if the setting decides the player's day; null if it
 * does not, or if there is no streak. */
        lapses_at: UnixMillis | null,
      }
    }
    | {
      type: "name_changed",
      data: {
        /** The player's new name. */
        name: string,
      }
    }
    | {
      type: "notified",
      data: {
        /** Kind of the notification. */
        kind: string,
        /** Data of the notification, which depends on its kind. */
        data: unknown,
      }
    }
    | {
      type: "read_through",
      data: {
        /** The seq of the newest event of the stream that the player has seen. */
        seq: Seq,
      }
    }
    | {
      type: "corrected",
      data: {
        /** Which number it is. */
        field: CorrectedField,
        /** The value that was wrong. */
        from: number,
        /** The value from then on. */
        to: number,
        /** What set the number right. */
        by: CorrectionSource,
        /** Why it was corrected. */
        note: string,
      }
    }
  )
  | {
    t: "ack",
    /** Correlation number of the command. */
    id: number,
    /** Id of the player. */
    player: PlayerId,
    /** Seq of the last event that the command caused; the newest seq if it caused none. */
    seq: Seq,
    /** Whether the command's op had already taken effect. */
    duplicate: boolean,
  };

/** A command to a player's stream, tagged by `type`. */
export type PlayerCommand =
  | {
    type: "set_setting",
    /** Name of the setting. */
    key: string,
    /** Value of the setting, which depends on the key. */
    value: unknown,
    /** The version that the setting must have, 0 if it was never set; absent: any. */
    if_version?: number | null,
  }
  | {
    type: "set_name",
    /** The player's new name. */
    name: string,
  }
  | {
    type: "read_through",
    /** The seq of the newest event that the player has seen, at most the stream's newest. */
    seq: Seq,
  }
  | {
    type: "buy",
    /** Id of the item. */
    item: string,
  }
  | {
    type: "equip",
    /** Id of the item. */
    item: string,
  }
  | { type: "repair_streak" }
  | {
    type: "grant_xp",
    /** How much XP it is. */
    amount: number,
    /** What it is for, for programs. It decides which skill is trained. */
    kind: string,
    /** What it is for, for the player. */
    note: string,
  }
  | {
    type: "grant_coins",
    /** How many coins come; negative if they go. Not 0. */
    amount: number,
    /** What they are for, for the player. */
    note: string,
  }
  | {
    type: "grant_item",
    /** Id of the item. */
    item: string,
  }
  | {
    type: "correct",
    /** Which number it is. */
    field: Balance,
    /** What is added to it; negative if it is taken away. Not 0. */
    amount: number,
    /** Why it is corrected, for the player. */
    note: string,
  }
  | {
    type: "notify",
    /** Kind of the notification, for programs. */
    kind: string,
    /** Title of the notification. */
    title: string,
    /** Text of the notification. */
    body: string,
    /** Where the notification leads: an https URL, or a path of the app that begins with `/`. */
    url?: string | null,
  };

/** A numbered event of one player's stream. */
export type PlayerEvent =
  | {
    /** Position of the event in the player's stream. */
    seq: Seq,
    /** When the event happened, by the database's clock; never before the previous event. */
    at: UnixMillis,
    /** The event of a raid that caused this one; null if none did. */
    cause: RaidPlace | null,
  } & (
    | {
      type: "xp_earned",
      data: {
        /** XP that the player earned in the raid. */
        amount: number,
        /** How much of it counts: what lies beyond a day's allowance stays in the raid. */
        counted: number,
        /** All XP that the player has earned. */
        earned_xp: number,
        /** All XP of the player that counts. */
        xp: number,
        /** How many tasks and contributions the player has completed. */
        tasks: number,
        /** What the XP is for. */
        source: XpSource,
        /** When the XP was earned. The event's `at` may be later. */
        happened_at: UnixMillis,
        /** The day's allowance that was used; null if the XP counts in full. */
        allowance: Allowance | null,
        /** XP since the beginning of the level that the player has now. A level that was reached
 * with this XP follows as `level_reached`. */
        level_xp: number,
        /** XP from the beginning of that level to the next one. */
        next_level_xp: number,
        /** The skill that the XP trains; null if it trains none. */
        skill: string | null,
        /** XP that the player has earned in the skill. */
        skill_xp: number | null,
        /** The player's level in the skill. */
        skill_level: number | null,
        /** The player's coins after it. */
        coins: number,
        /** How many of them the XP brought. */
        coins_earned: number,
        /** Why the host app's backend granted the XP; null for XP of a raid. */
        note: string | null,
        /** The counters of achievements that moved. */
        counters: Array<Counter>,
      }
    }
    | {
      type: "level_reached",
      data: {
        /** The level that was reached. */
        level: number,
        /** The player's coins after it. */
        coins: number,
        /** How many of them the level brought. */
        coins_earned: number,
        /** The counters of achievements that moved. */
        counters: Array<Counter>,
      }
    }
    | {
      type: "coins_moved",
      data: {
        /** How many coins came; negative if they were spent. */
        amount: number,
        /** Why the coins moved. */
        reason: CoinsReason,
        /** The player's coins after it. */
        coins: number,
        /** What the host app's backend says about it; null if nothing. */
        note: string | null,
        /** The counters of achievements that moved. */
        counters: Array<Counter>,
      }
    }
    | {
      type: "achievement_unlocked",
      data: {
        /** Id of the achievement. */
        id: string,
        /** The tier, from 1. */
        tier: number,
      }
    }
    | {
      type: "day_kept",
      data: {
        /** The day, as `YYYY-MM-DD`. */
        day: string,
        /** Name of the time zone that it is a day of. */
        zone: string,
        /** How many days the streak has. */
        days: number,
        /** The most days that a streak of the player had. */
        best: number,
        /** How many missed days the streak survives from then on. */
        freezes: number,
        /** When the XP was earned, from which the next day of the streak is found. */
        since: UnixMillis,
        /** When the streak is lost if no day is kept until then. */
        lapses_at: UnixMillis,
      }
    }
    | {
      type: "streak_frozen",
      data: {
        /** How many days were missed, each of which took a freeze. */
        days_frozen: number,
        /** How many freezes are left. */
        freezes: number,
        /** When the streak is lost if no day is kept until then. */
        lapses_at: UnixMillis,
      }
    }
    | {
      type: "streak_lost",
      data: {
        /** How many days the streak had. */
        days: number,
        /** How many days a repair brings back; 0 if none is possible. They are those of another
 * streak if a longer one was lost before and can still be repaired. */
        repairable_days: number,
        /** From when the streak can be repaired; null if it cannot. */
        repairable_from: UnixMillis | null,
        /** Until when it can be repaired; null if it cannot. */
        repairable_until: UnixMillis | null,
      }
    }
    | {
      type: "streak_repaired",
      data: {
        /** How many days the streak has. */
        days: number,
        /** The most days that a streak of the player had. */
        best: number,
        /** How many missed days the streak survives from then on. */
        freezes: number,
        /** How many coins it cost; they moved before it. */
        cost: number,
        /** A moment of the day before, which counts as kept; null if a day was kept since the loss,
 * or if XP that came late brought the streak back. */
        since: UnixMillis | null,
        /** When the streak is lost if no day is kept until then. */
        lapses_at: UnixMillis,
      }
    }
    | {
      type: "item_granted",
      data: {
        /** Id of the item. */
        item: string,
        /** How the player got it. */
        by: ItemSource,
        /** The counters of achievements that moved. */
        counters: Array<Counter>,
      }
    }
    | {
      type: "item_equipped",
      data: {
        /** Where it is worn. It replaces what was worn there. */
        slot: string,
        /** Id of the item. */
        item: string,
      }
    }
    | {
      type: "raid_joined",
      data: {
        /** Id of the raid. */
        raid: RaidId,
        /** Role of the player from then on. */
        role: Role,
        /** The counters of achievements that moved. */
        counters: Array<Counter>,
      }
    }
    | {
      type: "raid_left",
      data: {
        /** Id of the raid. */
        raid: RaidId,
        /** Why the player left. */
        reason: LeaveReason,
      }
    }
    | {
      type: "raid_ended",
      data: {
        /** Id of the raid. */
        raid: RaidId,
        /** How the raid ended. */
        outcome: RaidOutcome,
        /** Place of the player in the final ranking; null if the raid failed. */
        rank: number | null,
        /** XP that the player earned in the raid. */
        xp: number,
        /** When the raid ended. The event's `at` may be later. */
        happened_at: UnixMillis,
        /** How many raids the player was a member of when they ended. */
        raids_played: number,
        /** How many of them were completed. */
        raids_won: number,
        /** The counters of achievements that moved. */
        counters: Array<Counter>,
      }
    }
    | {
      type: "setting_set",
      data: {
        /** Name of the setting. */
        key: string,
        /** Value of the setting. */
        value: unknown,
        /** How often the setting has been set. */
        version: number,
        /** When the streak is lost from then on, if the setting decides the player's day; null if it
 * does not, or if there is no streak. */
        lapses_at: UnixMillis | null,
      }
    }
    | {
      type: "name_changed",
      data: {
        /** The player's new name. */
        name: string,
      }
    }
    | {
      type: "notified",
      data: {
        /** Kind of the notification. */
        kind: string,
        /** Data of the notification, which depends on its kind. */
        data: unknown,
      }
    }
    | {
      type: "read_through",
      data: {
        /** The seq of the newest event of the stream that the player has seen. */
        seq: Seq,
      }
    }
    | {
      type: "corrected",
      data: {
        /** Which number it is. */
        field: CorrectedField,
        /** The value that was wrong. */
        from: number,
        /** The value from then on. */
        to: number,
        /** What set the number right. */
        by: CorrectionSource,
        /** Why it was corrected. */
        note: string,
      }
    }
  );

/** The place of an event in a raid's history. */
export type RaidPlace = {
  /** Id of the raid. */
  raid: RaidId,
  /** Seq of the event. */
  seq: Seq,
};

/** Data of a player event, tagged by `type`. */
export type PlayerEventData =
  | {
    type: "xp_earned",
    data: {
      /** XP that the player earned in the raid. */
      amount: number,
      /** How much of it counts: what lies beyond a day's allowance stays in the raid. */
      counted: number,
      /** All XP that the player has earned. */
      earned_xp: number,
      /** All XP of the player that counts. */
      xp: number,
      /** How many tasks and contributions the player has completed. */
      tasks: number,
      /** What the XP is for. */
      source: XpSource,
      /** When the XP was earned. The event's `at` may be later. */
      happened_at: UnixMillis,
      /** The day's allowance that was used; null if the XP counts in full. */
      allowance: Allowance | null,
      /** XP since the beginning of the level that the player has now. A level that was reached
 * with this XP follows as `level_reached`. */
      level_xp: number,
      /** XP from the beginning of that level to the next one. */
      next_level_xp: number,
      /** The skill that the XP trains; null if it trains none. */
      skill: string | null,
      /** XP that the player has earned in the skill. */
      skill_xp: number | null,
      /** The player's level in the skill. */
      skill_level: number | null,
      /** The player's coins after it. */
      coins: number,
      /** How many of them the XP brought. */
      coins_earned: number,
      /** Why the host app's backend granted the XP; null for XP of a raid. */
      note: string | null,
      /** The counters of achievements that moved. */
      counters: Array<Counter>,
    }
  }
  | {
    type: "level_reached",
    data: {
      /** The level that was reached. */
      level: number,
      /** The player's coins after it. */
      coins: number,
      /** How many of them the level brought. */
      coins_earned: number,
      /** The counters of achievements that moved. */
      counters: Array<Counter>,
    }
  }
  | {
    type: "coins_moved",
    data: {
      /** How many coins came; negative if they were spent. */
      amount: number,
      /** Why the coins moved. */
      reason: CoinsReason,
      /** The player's coins after it. */
      coins: number,
      /** What the host app's backend says about it; null if nothing. */
      note: string | null,
      /** The counters of achievements that moved. */
      counters: Array<Counter>,
    }
  }
  | {
    type: "achievement_unlocked",
    data: {
      /** Id of the achievement. */
      id: string,
      /** The tier, from 1. */
      tier: number,
    }
  }
  | {
    type: "day_kept",
    data: {
      /** The day, as `YYYY-MM-DD`. */
      day: string,
      /** Name of the time zone that it is a day of. */
      zone: string,
      /** How many days the streak has. */
      days: number,
      /** The most days that a streak of the player had. */
      best: number,
      /** How many missed days the streak survives from then on. */
      freezes: number,
      /** When the XP was earned, from which the next day of the streak is found. */
      since: UnixMillis,
      /** When the streak is lost if no day is kept until then. */
      lapses_at: UnixMillis,
    }
  }
  | {
    type: "streak_frozen",
    data: {
      /** How many days were missed, each of which took a freeze. */
      days_frozen: number,
      /** How many freezes are left. */
      freezes: number,
      /** When the streak is lost if no day is kept until then. */
      lapses_at: UnixMillis,
    }
  }
  | {
    type: "streak_lost",
    data: {
      /** How many days the streak had. */
      days: number,
      /** How many days a repair brings back; 0 if none is possible. They are those of another
 * streak if a longer one was lost before and can still be repaired. */
      repairable_days: number,
      /** From when the streak can be repaired; null if it cannot. */
      repairable_from: UnixMillis | null,
      /** Until when it can be repaired; null if it cannot. */
      repairable_until: UnixMillis | null,
    }
  }
  | {
    type: "streak_repaired",
    data: {
      /** How many days the streak has. */
      days: number,
      /** The most days that a streak of the player had. */
      best: number,
      /** How many missed days the streak survives from then on. */
      freezes: number,
      /** How many coins it cost; they moved before it. */
      cost: number,
      /** A moment of the day before, which counts as kept; null if a day was kept since the loss,
 * or if XP that came late brought the streak back. */
      since: UnixMillis | null,
      /** When the streak is lost if no day is kept until then. */
      lapses_at: UnixMillis,
    }
  }
  | {
    type: "item_granted",
    data: {
      /** Id of the item. */
      item: string,
      /** How the player got it. */
      by: ItemSource,
      /** The counters of achievements that moved. */
      counters: Array<Counter>,
    }
  }
  | {
    type: "item_equipped",
    data: {
      /** Where it is worn. It replaces what was worn there. */
      slot: string,
      /** Id of the item. */
      item: string,
    }
  }
  | {
    type: "raid_joined",
    data: {
      /** Id of the raid. */
      raid: RaidId,
      /** Role of the player from then on. */
      role: Role,
      /** The counters of achievements that moved. */
      counters: Array<Counter>,
    }
  }
  | {
    type: "raid_left",
    data: {
      /** Id of the raid. */
      raid: RaidId,
      /** Why the player left. */
      reason: LeaveReason,
    }
  }
  | {
    type: "raid_ended",
    data: {
      /** Id of the raid. */
      raid: RaidId,
      /** How the raid ended. */
      outcome: RaidOutcome,
      /** Place of the player in the final ranking; null if the raid failed. */
      rank: number | null,
      /** XP that the player earned in the raid. */
      xp: number,
      /** When the raid ended. The event's `at` may be later. */
      happened_at: UnixMillis,
      /** How many raids the player was a member of when they ended. */
      raids_played: number,
      /** How many of them were completed. */
      raids_won: number,
      /** The counters of achievements that moved. */
      counters: Array<Counter>,
    }
  }
  | {
    type: "setting_set",
    data: {
      /** Name of the setting. */
      key: string,
      /** Value of the setting. */
      value: unknown,
      /** How often the setting has been set. */
      version: number,
      /** When the streak is lost from then on, if the setting decides the player's day; null if it
 * does not, or if there is no streak. */
      lapses_at: UnixMillis | null,
    }
  }
  | {
    type: "name_changed",
    data: {
      /** The player's new name. */
      name: string,
    }
  }
  | {
    type: "notified",
    data: {
      /** Kind of the notification. */
      kind: string,
      /** Data of the notification, which depends on its kind. */
      data: unknown,
    }
  }
  | {
    type: "read_through",
    data: {
      /** The seq of the newest event of the stream that the player has seen. */
      seq: Seq,
    }
  }
  | {
    type: "corrected",
    data: {
      /** Which number it is. */
      field: CorrectedField,
      /** The value that was wrong. */
      from: number,
      /** The value from then on. */
      to: number,
      /** What set the number right. */
      by: CorrectionSource,
      /** Why it was corrected. */
      note: string,
    }
  };

/** What a player has used of the XP of tasks that counts in one day, in ranked raids or in all others. */
export type Allowance = {
  /** Whether it is the allowance of ranked raids. */
  ranked: boolean,
  /** XP that was counted in it so far. */
  used: number,
  /** When the player completed the first task of this day. */
  since: UnixMillis,
};

/** What XP is for. */
export type XpSource = "task" | "contribution" | "grant";

/** Why a player's coins moved. */
export type CoinsReason = "victory" | "mvp" | "achievement" | "purchase" | "repair" | "granted";

/** How a player got an item. */
export type ItemSource = "purchase" | "grant";

/** How a raid ended. */
export type RaidOutcome = "completed" | "failed";

/** What set a number of a player's state right. */
export type CorrectionSource = "rebuild" | "operator";

/** A number that operators can correct: a balance, or the days of the streak. */
export type Balance = "xp" | "coins" | "streak";

/** A number of a player's state that can be corrected. */
export type CorrectedField = "xp" | "earned_xp" | "tasks" | "raids_won" | "raids_played" | "level" | "level_xp" | "next_level_xp" | "coins" | "streak";

/** Everything about one player that their own devices show. */
export type PlayerState = {
  /** Id of the player. */
  id: PlayerId,
  /** Name of the player. */
  name: string,
  /** All XP of the player that counts. */
  xp: number,
  /** All XP that the player has earned, in raids and beyond what counts in a day. */
  earned_xp: number,
  /** The player's level, from 1. It never goes down. */
  level: number,
  /** XP since the beginning of the level. */
  level_xp: number,
  /** XP from the beginning of the level to the next one. */
  next_level_xp: number,
  /** How many coins the player has. */
  coins: number,
  /** How many tasks and contributions the player has completed. */
  tasks: number,
  /** How many raids were completed while the player was a member. */
  raids_won: number,
  /** How many raids ended while the player was a member. */
  raids_played: number,
  /** The raids that the player is a member of and that have not ended, the latest 200 by joining. */
  raids: Array<PlayerRaid>,
  /** The skills that the player has trained, in the order of their first XP. */
  skills: Array<SkillProgress>,
  /** The achievements that the player has, each with its highest tier, in the order of their first
 * tier. */
  achievements: Array<UnlockedAchievement>,
  /** The counters of achievements that have moved, in the order of their first move. */
  counters: Array<Counter>,
  /** The player's streak of days. */
  streak: Streak,
  /** Ids of the items that the player has, in the order in which they got them. */
  items: Array<string>,
  /** What the player wears: ids of items by slot. */
  equipped: { [key in string]: string },
  /** The settings that were set, by key. */
  settings: { [key in string]: Setting },
  /** The notifications of the player. */
  inbox: Inbox,
  /** The seq up to which the player has seen what happened, on any device; 0 at first. */
  read_through: Seq,
};

/** A raid that a player is a member of. */
export type PlayerRaid = {
  /** Id of the raid. */
  raid: RaidId,
  /** Role of the player. */
  role: Role,
};

/** What a player has in a skill. */
export type SkillProgress = {
  /** Name of the skill. */
  skill: string,
  /** XP that the player earned in it. */
  xp: number,
  /** The player's level in it, from 1. */
  level: number,
};

/** An achievement that a player has. */
export type UnlockedAchievement = {
  /** Id of the achievement. */
  id: string,
  /** The highest tier that was reached, from 1. */
  tier: number,
  /** When it was reached. */
  at: UnixMillis,
};

/** How far a player is towards an achievement. */
export type Counter = {
  /** Id of the achievement. */
  id: string,
  /** What has been counted so far. */
  value: number,
  /** The goal of the next tier; null after the last one. */
  goal: number | null,
};

/** How many days in a row a player has kept. A day is kept with XP of a raid that counts. */
export type Streak = {
  /** How many days the streak has; 0 before the first kept day, and after it was lost. */
  days: number,
  /** The most days that a streak of the player had. */
  best: number,
  /** The latest day that was kept, as `YYYY-MM-DD`; null before the first one. */
  day: string | null,
  /** How many missed days the streak survives without being repaired. */
  freezes: number,
  /** When the streak is lost if no day is kept until then; null if there is no streak. */
  lapses_at: UnixMillis | null,
  /** How many days a repair brings back; 0 if no lost streak can be repaired. */
  repairable_days: number,
  /** From when the lost streak can be repaired; null if it cannot. */
  repairable_from: UnixMillis | null,
  /** Until when the lost streak can be repaired; null if it cannot. It may lie in the past. */
  repairable_until: UnixMillis | null,
};

/** One setting of a player. */
export type Setting = {
  /** Value of the setting, which depends on its key. */
  value: unknown,
  /** How often the setting has been set. */
  version: number,
};

/** The notifications of a player. */
export type Inbox = {
  /** Number of notifications among `items` that were not read. */
  unread: number,
  /** The latest 50 notifications, oldest first. */
  items: Array<InboxItem>,
};

/** A notification in a player's inbox. */
export type InboxItem = {
  /** The seq of the event that added it. */
  seq: Seq,
  /** When it was added. */
  at: UnixMillis,
  /** Kind of the notification. */
  kind: string,
  /** Data of the notification, which depends on its kind. */
  data: unknown,
  /** Whether it was read. */
  read: boolean,
};

/** An error as sent to a client. REST adds `status` and `request_id`. */
export type ErrorBody = {
  /** Type of the error, for programs. */
  type: ErrorType,
  /** Description of the error, for people. */
  message: string,
  /** Whether the same request may succeed later. */
  retry: boolean,
  /** Shortest time to wait before a retry, in milliseconds. */
  retry_after_ms: number | null,
  /** Every faulty field of the request, for `invalid`. */
  fields: Array<FieldFault> | null,
};

/** Type of an error, as far as a client can act on it. */
export type ErrorType = "invalid" | "unauthenticated" | "forbidden" | "not_leader" | "not_yours" | "not_found" | "not_member" | "method_not_allowed" | "wrong_status" | "task_taken" | "raid_full" | "raid_closed" | "too_many_tasks" | "not_enough_energy" | "not_enough_coins" | "conflict" | "quota_exceeded" | "too_large" | "rate_limited" | "overloaded" | "unavailable" | "internal";

/** A fault in one field of a request. */
export type FieldFault = {
  /** Name of the faulty field. */
  field: string,
  /** What the field must be. */
  message: string,
};

/** Body of a successful response. */
export type Data<T> = {
  /** Result of the request. */
  data: T,
};

/** Body with one page of a list. */
export type Page<T> = {
  /** Rows of this page. */
  data: Array<T>,
  /** Cursor to pass as `cursor` for the next page; null on the last. */
  next_cursor: string | null,
};

/** Tokens of a player: the response to a sign-in or a refresh. */
export type TokenPair = {
  /** Access token for `Authorization: Bearer` and `hello`. */
  access_token: string,
  /** Refresh token, to be exchanged for the next pair. */
  refresh_token: string,
  /** Seconds until the access token expires. */
  expires_in: number,
  /** Player who is signed in. */
  player: PlayerRef,
};

/** A player with totals over all raids (`GET /me`). */
export type Profile = {
  /** Id of the player. */
  id: PlayerId,
  /** Name of the player. */
  name: string,
  /** XP earned in all raids. */
  xp: number,
  /** Tasks done in all raids; each contribution counts as one. */
  tasks: number,
  /** Number of completed raids. */
  raids_won: number,
  /** When the player was created. */
  created_at: UnixMillis,
};

/** What a player shows to others (`GET /players/{id}/profile`). */
export type PlayerProfile = {
  /** Id of the player. */
  id: PlayerId,
  /** Name of the player. */
  name: string,
  /** The player's level, from 1. */
  level: number,
  /** How many raids were completed while the player was a member. */
  raids_won: number,
  /** The achievements that the player has, in the order of their first tier. */
  badges: Array<Badge>,
  /** How many days the player's streak has; 0 if it has lapsed. */
  streak_days: number,
  /** Id of the item that the player wears in the slot `frame`; null if none. */
  frame: string | null,
};

/** An achievement in a player's profile. */
export type Badge = {
  /** Id of the achievement. */
  id: string,
  /** The highest tier that was reached, from 1. */
  tier: number,
};

/** Body of `POST /raids`. Only the types are checked here; the raid's rules check the values. */
export type NewRaid = {
  /** Title of the raid, 1–80 characters. */
  title: string,
  /** Description of the raid, at most 500 characters. */
  description?: string,
  /** Goal in XP, 1–1,000,000. */
  target_xp: number,
  /** Goal in tasks, 0–10,000. */
  target_tasks: number,
  /** Seconds from start to deadline, 60–604,800; 86,400 when absent. */
  time_limit_secs?: number,
  /** Maximum number of members, 2–100; 4 when absent. */
  max_members?: number,
  /** Whether players can join once the raid is active; false when absent. */
  late_join?: boolean,
  /** Whether the raid is ranked: only the host app's backend adds and removes tasks, so that
 * members do not set the XP they earn. Only the host app's backend may set it to
 * true; false when absent. */
  ranked?: boolean,
};

/** A raid in a REST response: its state, seq, online members and WebSocket URL. */
export type RaidView = {
  /** Seq that the state is a function of. */
  seq: Seq,
  /** Members who are online. */
  online: Array<PlayerId>,
  /** URL of a WebSocket that reaches the raid directly. */
  ws_url: string,
  /** Id of the raid. */
  id: RaidId,
  /** Title of the raid. */
  title: string,
  /** Description of the raid, if it has one. */
  description: string | null,
  /** Invite code, with which a player can join. */
  invite_code: string,
  /** Status of the raid. */
  status: RaidStatus,
  /** Why the raid failed; null unless it did. */
  reason: FailReason | null,
  /** Goal of the raid in XP. */
  target_xp: number,
  /** Goal of the raid in tasks. */
  target_tasks: number,
  /** XP earned so far, including that of members who have left. */
  current_xp: number,
  /** Tasks done so far; each contribution counts as one. */
  current_tasks: number,
  /** Maximum number of members. */
  max_members: number,
  /** Whether players can join once the raid is active. */
  late_join: boolean,
  /** Whether the raid is ranked: only the host app's backend adds and removes tasks, so that members
 * do not set the XP they earn. */
  ranked: boolean,
  /** Seconds from start to deadline. */
  time_limit_secs: number,
  /** When the raid was created. */
  created_at: UnixMillis,
  /** When the raid was started; null before that. */
  started_at: UnixMillis | null,
  /** When the raid fails unless both goals are reached before; null until the start. */
  deadline: UnixMillis | null,
  /** When the raid was completed or failed; null before that. */
  ended_at: UnixMillis | null,
  /** Leader of the raid; null only once no member is left. */
  leader: PlayerId | null,
  /** Number of leaders so far, the current one included. */
  term: number,
  /** Members in joining order, without those who have left. */
  members: Array<Member>,
  /** Tasks in the order in which they were added. */
  tasks: Array<Task>,
  /** Latest 50 chat messages, oldest first. */
  messages: Array<ChatMessage>,
  /** Final ranking; null unless the raid is completed. */
  ranking: Array<Rank> | null,
};

/** Summary of a raid in a list (`GET /raids`). */
export type RaidSummary = {
  /** Id of the raid. */
  id: RaidId,
  /** Title of the raid. */
  title: string,
  /** Invite code, with which any player can join. */
  invite_code: string,
  /** Status of the raid. */
  status: RaidStatus,
  /** Goal of the raid in XP. */
  target_xp: number,
  /** Goal of the raid in tasks. */
  target_tasks: number,
  /** XP earned so far. */
  current_xp: number,
  /** Tasks done so far; each contribution counts as one. */
  current_tasks: number,
  /** Seconds from start to deadline. */
  time_limit_secs: number,
  /** When the raid was created. */
  created_at: UnixMillis,
  /** Deadline of an active raid; null in any other status. */
  deadline: UnixMillis | null,
  /** When the raid ended; null before that. */
  ended_at: UnixMillis | null,
  /** Newest seq of the raid. */
  seq: Seq,
  /** The first five members, in the order of joining. */
  members: Array<PlayerRef>,
  /** Number of members that the raid has now. */
  member_count: number,
};

/** A raid as its invite code shows it to anyone (`GET /invites/{code}`). */
export type InviteView = {
  /** Id of the raid. */
  id: RaidId,
  /** Title of the raid. */
  title: string,
  /** Name of the leader; null when every member has left. */
  host: string | null,
  /** Status of the raid. */
  status: RaidStatus,
  /** Number of members that the raid has now. */
  member_count: number,
  /** Maximum number of members. */
  max_members: number,
  /** Whether players can join once the raid is active. */
  late_join: boolean,
  /** Deadline of an active raid; null in any other status. */
  deadline: UnixMillis | null,
};

/** Response to a command sent by REST. */
export type CommandResult = {
  /** Seq of the last event that the command caused; the newest seq if it caused none. */
  seq: Seq,
  /** Whether the command's op had already taken effect. */
  duplicate: boolean,
};

/** Response to `GET /me/state`: a player's state at a seq of their stream. */
export type PlayerStateAt = {
  /** The newest seq of the player's stream. */
  seq: Seq,
  /** The player's state at `seq`. */
  state: PlayerState,
};

/** A row of `GET /raids/{id}/contributions`: XP that a player earned. */
export type Contribution = {
  /** Seq of the event that credited the XP. */
  seq: Seq,
  /** When the player earned it. */
  at: UnixMillis,
  /** Player who earned it. */
  player: PlayerId,
  /** Amount of XP earned. */
  xp: number,
  /** Kind of contribution; `task_complete` for a task of the raid. */
  kind: string,
  /** Completed task; null for a contribution from the backend. */
  task: TaskId | null,
  /** Note of the backend, if it gave one. */
  note: string | null,
};

/** The definitions of progression that are in force (`GET /progression`). */
export type Progression = {
  /** How much XP of tasks in raids that are not ranked counts in one day of a player. */
  casual_xp_per_day: number,
  /** How much XP of tasks in ranked raids counts in one day of a player. */
  ranked_xp_per_day: number,
  /** The XP at which levels begin. */
  levels: Levels,
  /** How many coins things bring. */
  coins: CoinAmounts,
  /** The rules of streaks; null if there are no streaks. */
  streaks: StreakRules | null,
  /** The achievements, in the order in which clients show them. */
  achievements: Array<Achievement>,
  /** The items of the shop, in the order in which clients show them. */
  items: Array<ShopItem>,
  /** The leaderboards, in the order in which clients show them. */
  boards: Array<Board>,
};

/** The XP at which each level begins, of players and of skills. */
export type Levels = {
  /** Level n begins at `xp_factor` · n · (n − 1) XP. */
  xp_factor: number,
};

/** How many coins something brings. */
export type CoinAmounts = {
  /** XP that counts, for one coin. */
  xp_per_coin: number,
  /** Coins for a raid that was completed. */
  victory: number,
  /** Coins for its first place, beside those of the victory. */
  mvp: number,
  /** Coins for each level. */
  level: number,
};

/** How streaks survive missed days, and what a lost one costs. */
export type StreakRules = {
  /** Days of a streak that earn a freeze. */
  days_per_freeze: number,
  /** Most freezes that a player has. */
  freezes_max: number,
  /** Hours from the loss of a streak in which it can be repaired. */
  repair_hours: number,
  /** Coins that a repair costs. */
  repair_cost: number,
  /** Days from a repair to the next one. */
  repair_pause_days: number,
};

/** An achievement that players can unlock. */
export type Achievement = {
  /** Id of the achievement. */
  id: string,
  /** Name of its picture. */
  icon: string,
  /** The goals, in ascending order. */
  tiers: Array<Tier>,
  /** Its title and what it is for, in English. */
  en: AchievementText,
  /** Its title and what it is for, in Russian. */
  ru: AchievementText,
};

/** A goal of an achievement. */
export type Tier = {
  /** What the counter must reach. */
  goal: number,
  /** Coins for reaching it. */
  coins: number,
};

/** The texts of an achievement in one language. */
export type AchievementText = {
  /** The title of the achievement. */
  title: string,
  /** What a player does for it. */
  text: string,
};

/** An item of the shop. */
export type ShopItem = {
  /** Id of the item. */
  id: string,
  /** Where it is worn. */
  slot: string,
  /** Its price in coins. */
  price: number,
  /** Its name in English. */
  en: string,
  /** Its name in Russian. */
  ru: string,
};

/** A leaderboard: it ranks players by the XP of raids that counts, from window to window. */
export type Board = {
  /** Id of the leaderboard. */
  id: string,
  /** The period after which its scores begin again. */
  window: BoardWindow,
  /** The IANA time zone in which its windows open and close. */
  zone: string,
  /** Its title in English. */
  en: string,
  /** Its title in Russian. */
  ru: string,
};

/** The period after which the scores of a leaderboard begin again. */
export type BoardWindow = "daily" | "weekly" | "season" | "all_time";

/** A leaderboard, with its window that is open now. */
export type OpenBoard = {
  /** Id of the leaderboard. */
  id: string,
  /** The title of the leaderboard. */
  title: BoardTitle,
  /** What its scores add up. */
  metric: BoardMetric,
  /** The period after which its scores begin again. */
  window: BoardWindow,
  /** Number of the window that is open. */
  number: number,
  /** When the window opened; null if it has always been open. */
  opens_at: UnixMillis | null,
  /** When the window closes; null if it never does. */
  closes_at: UnixMillis | null,
};

/** The title of a leaderboard in each language. */
export type BoardTitle = {
  /** The title in English. */
  en: string,
  /** The title in Russian. */
  ru: string,
};

/** What the scores of a leaderboard add up. */
export type BoardMetric = "counted_xp";

/** A part of one window of a leaderboard. */
export type BoardPage = {
  /** The players of this part, in the order of their ranks. */
  data: Array<BoardEntry>,
  /** The caller's own score, also if it is not listed; null if there is none. */
  me: BoardEntry | null,
  /** Number of the window. */
  number: number,
  /** When the window opened; null if it has always been open. */
  opens_at: UnixMillis | null,
  /** When the window closes or closed; null if it never does. */
  closes_at: UnixMillis | null,
  /** Whether the window has closed and its scores move no more. */
  final: boolean,
  /** Cursor to pass as `cursor` for the next part; null on the last. */
  next_cursor: string | null,
};

/** A player's place on a leaderboard. */
export type BoardEntry = {
  /** The player's rank, from 1. */
  rank: number,
  /** The player as leaderboards show them. */
  player: BoardPlayer,
  /** The player's score in the window. */
  score: number,
  /** When the score was reached; of two equal scores the earlier one is ahead. */
  reached_at: UnixMillis,
};

/** What leaderboards show of a player. */
export type BoardPlayer = {
  /** Id of the player. */
  id: PlayerId,
  /** Name of the player. */
  name: string,
  /** Level of the player. */
  level: number,
  /** The item in the slot `frame`; null if there is none. */
  frame: string | null,
};

/** Close codes with which the server closes a WebSocket. */
export const CLOSE_CODES = {
  normal: 1000,
  protocol_error: 1002,
  invalid_payload: 1007,
  message_too_big: 1009,
  bad_message: 4000,
  unauthenticated: 4001,
  forbidden: 4003,
  too_many_connections: 4004,
  overloaded: 4100,
  rate_limited: 4101,
  draining: 4200,
  heartbeat_timeout: 4201,
  slow_consumer: 4202,
} as const;

/** HTTP status of each error type, and whether the same request may succeed later. */
export const ERRORS: Record<ErrorType, { status: number, retry: boolean }> = {
  invalid: { status: 422, retry: false },
  unauthenticated: { status: 401, retry: false },
  forbidden: { status: 403, retry: false },
  not_leader: { status: 403, retry: false },
  not_yours: { status: 403, retry: false },
  not_found: { status: 404, retry: false },
  not_member: { status: 404, retry: false },
  method_not_allowed: { status: 405, retry: false },
  wrong_status: { status: 409, retry: false },
  task_taken: { status: 409, retry: false },
  raid_full: { status: 409, retry: false },
  raid_closed: { status: 409, retry: false },
  too_many_tasks: { status: 409, retry: false },
  not_enough_energy: { status: 409, retry: false },
  not_enough_coins: { status: 409, retry: false },
  conflict: { status: 409, retry: false },
  quota_exceeded: { status: 409, retry: false },
  too_large: { status: 413, retry: false },
  rate_limited: { status: 429, retry: true },
  overloaded: { status: 503, retry: true },
  unavailable: { status: 503, retry: true },
  internal: { status: 500, retry: true },
};

/** Path of the WebSocket on the server. */
export const SOCKET_PATH = "/api/v1/ws";
/** WebSocket subprotocol of binary MessagePack frames. */
export const SUBPROTOCOL_MSGPACK = "raidhall.v1.msgpack";
/** WebSocket subprotocol of JSON text frames. */
export const SUBPROTOCOL_JSON = "raidhall.v1.json";
/** Number of chat messages that a raid's state holds. */
export const MESSAGES_SHOWN = 50;
/** Number of raids that a player's state holds. */
export const PLAYER_RAIDS_SHOWN = 200;
/** Number of notifications that a player's state holds. */
export const INBOX_ITEMS_SHOWN = 50;

/** Maximum characters of each text, and minimum and maximum of each number. */
export const LIMITS = {
  name_chars: 40,
  title_chars: 80,
  description_chars: 500,
  task_title_chars: 120,
  chat_chars: 500,
  target_xp: { min: 1, max: 1000000 },
  target_tasks: { min: 0, max: 10000 },
  time_limit_secs: { min: 60, max: 604800 },
  members: { min: 2, max: 100 },
  task_xp: { min: 1, max: 1000 },
  task_minutes: { min: 0, max: 480 },
} as const;
