// Generated from the Rust types of raidhall-protocol; do not edit.
// `UPDATE_FIXTURES=1 cargo test -p raidhall-protocol` writes it anew.

/** A raid. */
export type RaidId = number;

/** A player. */
export type PlayerId = number;

/** A task, numbered within its raid from 1 in the order added. */
export type TaskId = number;

/** A place in a raid's history: its events are numbered from 1 without a hole; 0 is before the first. */
export type Seq = number;

/** A moment, in milliseconds since the Unix epoch. */
export type UnixMillis = number;

/** An idempotency key chosen by a client: 1–64 characters of `A-Z a-z 0-9 _ - .`. */
export type OpKey = string;

/** A message from a client, by `t`. */
export type ClientMessage =
  | {
    t: "hello",
    /** An access token. */
    token: string,
    /** Name and version of the program, for the server's logs. */
    client?: string,
  }
  | {
    t: "watch",
    /** Correlation number, echoed in an error. */
    id?: number,
    /** The raid. */
    raid: RaidId,
    /** The newest seq the client holds. */
    since?: Seq,
  }
  | {
    t: "unwatch",
    /** Correlation number, echoed in an error. */
    id?: number,
    /** The raid. */
    raid: RaidId,
  }
  | {
    t: "do",
    /** Correlation number, echoed in the answer. */
    id: number,
    /** The raid. */
    raid: RaidId,
    /** Idempotency key: with it, the command takes effect at most once. */
    op?: OpKey,
    /** What to do. */
    cmd: Command,
  }
  | {
    t: "signal",
    /** Correlation number, echoed in an error. */
    id?: number,
    /** The raid. */
    raid: RaidId,
    /** What it is, `[a-z_]{1,32}`. */
    kind: string,
    /** Anything, at most 1 KiB as JSON. */
    data: unknown,
  }
  | { t: "beat" };

/** A command (`cmd`), by type. */
export type Command =
  | { type: "start" }
  | { type: "leave" }
  | { type: "kick", player: PlayerId }
  | { type: "promote", player: PlayerId }
  | { type: "cancel" }
  | { type: "add_task", title: string, xp: number, minutes: number }
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

/** A message from the server, by `t`. */
export type ServerMessage =
  | {
    t: "welcome",
    /** Who you are; null for a token that speaks for no player. */
    player: PlayerRef | null,
    /** This connection's name in the server's logs. */
    session: string,
    /** The server's clock. */
    now: UnixMillis,
    /** How often `beat` comes, in milliseconds. */
    heartbeat_ms: number,
    /** What you may send. */
    limits: WelcomeLimits,
    /** Names this history of the database; if it is not the one you hold cursors of, drop them. */
    lineage: string,
  }
  | {
    t: "watching",
    /** The raid. */
    raid: RaidId,
    /** The newest seq. */
    seq: Seq,
    /** Always true. */
    recovered: boolean,
    /** The members who are online. */
    online: Array<PlayerId>,
  }
  | {
    t: "snapshot",
    /** The raid. */
    raid: RaidId,
    /** The seq that the state is a function of. */
    seq: Seq,
    /** Always false. */
    recovered: boolean,
    /** The members who are online. */
    online: Array<PlayerId>,
    /** The state. */
    state: RaidState,
  }
  | {
    t: "unwatched",
    /** The raid. */
    raid: RaidId,
    /** Why. */
    reason: UnwatchReason,
  }
  | {
    t: "event",
    /** The raid. */
    raid: RaidId,
    /** Its place in the raid's history. */
    seq: Seq,
    /** When it happened, by the database's clock; never before the event in front of it. */
    at: UnixMillis,
    /** The acting player; null for the server itself and for the host app's backend. */
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
    /** The raid. */
    raid: RaidId,
    /** Who is online now and was not. */
    online: Array<PlayerId>,
    /** Who was online and is not. */
    offline: Array<PlayerId>,
  }
  | {
    t: "beat",
    /** The server's clock. */
    now: UnixMillis,
    /** The newest seq of each watched raid. */
    heads: { [key in string]: Seq },
  }
  | {
    t: "ack",
    /** The command's correlation number. */
    id: number,
    /** The raid. */
    raid: RaidId,
    /** The seq of the last event it caused. */
    seq: Seq,
    /** Whether its op had taken effect before. */
    duplicate: boolean,
  }
  | {
    t: "error",
    /** The `t` of the message. */
    re: string,
    /** Its correlation number, where given. */
    id: number | null,
    /** Its raid, where given. */
    raid: RaidId | null,
    /** What went wrong. */
    error: ErrorBody,
  }
  | {
    t: "signal",
    /** The raid. */
    raid: RaidId,
    /** Who. */
    from: PlayerId,
    /** What it is. */
    kind: string,
    /** What they sent. */
    data: unknown,
  }
  | {
    t: "bye",
    /** Why. */
    reason: ByeReason,
    /** When to come back, in milliseconds. */
    reconnect_after_ms: number,
  };

/** A player's id and name. */
export type PlayerRef = {
  /** Who. */
  id: PlayerId,
  /** What they are called. */
  name: string,
};

/** What one connection may send. */
export type WelcomeLimits = {
  /** The largest message, in bytes. */
  message_bytes: number,
  /** Commands and signals per second. */
  commands_per_second: number,
  /** Raids watched at once. */
  watches: number,
};

/** Why a watch ended. */
export type UnwatchReason = "asked" | "kicked" | "left" | "forbidden";

/** Why the server lets a connection go. */
export type ByeReason = "draining";

/** One numbered event of one raid. */
export type RaidEvent =
  | {
    /** Its place in the raid's history. */
    seq: Seq,
    /** When it happened, by the database's clock; never before the event in front of it. */
    at: UnixMillis,
    /** The acting player; null for the server itself and for the host app's backend. */
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

/** What happened, by type. */
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

/** Why leadership moved. */
export type LeaderReason = "left" | "promoted" | "leader_offline";

/** Why a raid was lost. */
export type FailReason = "deadline" | "cancelled" | "abandoned";

/** Everything that a client is shown of a raid. */
export type RaidState = {
  /** The raid. */
  id: RaidId,
  /** What it is called. */
  title: string,
  /** What it is about. */
  description: string | null,
  /** What lets a player join. */
  invite_code: string,
  /** Where it stands. */
  status: RaidStatus,
  /** Why it failed, if it did. */
  reason: FailReason | null,
  /** The goal in xp. */
  target_xp: number,
  /** The goal in tasks. */
  target_tasks: number,
  /** The xp earned so far, by those who left too. */
  current_xp: number,
  /** The tasks done so far. */
  current_tasks: number,
  /** How many members it takes. */
  max_members: number,
  /** Whether one may join once it is active. */
  late_join: boolean,
  /** Seconds from start to deadline. */
  time_limit_secs: number,
  /** When it was made. */
  created_at: UnixMillis,
  /** When it was started. */
  started_at: UnixMillis | null,
  /** When it is lost. */
  deadline: UnixMillis | null,
  /** When it was completed or lost. */
  ended_at: UnixMillis | null,
  /** Who leads; null only once nobody is left. */
  leader: PlayerId | null,
  /** How many leaders there have been. */
  term: number,
  /** The members in joining order; those who left are not in it. */
  members: Array<Member>,
  /** The tasks in the order added. */
  tasks: Array<Task>,
  /** The latest 50 chat messages, oldest first. */
  messages: Array<ChatMessage>,
  /** The final ranking, once completed. */
  ranking: Array<Rank> | null,
};

/** Where a raid stands. */
export type RaidStatus = "recruiting" | "active" | "completed" | "failed";

/** One member of a raid. */
export type Member = {
  /** Who. */
  player: PlayerId,
  /** Their name when they joined. */
  name: string,
  /** Leader or member. */
  role: Role,
  /** The xp earned in this raid. */
  xp: number,
  /** The tasks done in this raid. */
  tasks: number,
  /** Energy at `energy_at`; it regenerates by 1 a minute up to 100. */
  energy: number,
  /** When `energy` was last changed. */
  energy_at: UnixMillis,
  /** When they joined. */
  joined_at: UnixMillis,
};

/** What a member may do. */
export type Role = "leader" | "member";

/** One task of a raid. */
export type Task = {
  /** Its number within the raid. */
  id: TaskId,
  /** What is to be done. */
  title: string,
  /** What it earns. */
  xp: number,
  /** How long it should take. */
  minutes: number,
  /** Where it stands. */
  status: TaskStatus,
  /** Who claimed or completed it. */
  assignee: PlayerId | null,
  /** Who added it. */
  by: PlayerId,
  /** When it was claimed. */
  claimed_at: UnixMillis | null,
  /** When it was completed. */
  ended_at: UnixMillis | null,
};

/** Where a task stands. */
export type TaskStatus = "open" | "claimed" | "completed";

/** One chat message. */
export type ChatMessage = {
  /** The seq of its `said` event. */
  seq: Seq,
  /** Who said it. */
  by: PlayerId,
  /** What they said. */
  text: string,
  /** When. */
  at: UnixMillis,
};

/** A place in the final ranking. */
export type Rank = {
  /** Who. */
  player: PlayerId,
  /** Their name. */
  name: string,
  /** What they earned. */
  xp: number,
  /** What they did. */
  tasks: number,
  /** Their place, from 1. */
  rank: number,
};

/** An error as a client gets it. REST adds `status` and `request_id`. */
export type ErrorBody = {
  /** What went wrong. */
  type: ErrorType,
  /** The same for a person. */
  message: string,
  /** Whether the same request may succeed later. */
  retry: boolean,
  /** When to try again at the earliest, in milliseconds. */
  retry_after_ms: number | null,
  /** What is wrong with which field, for `invalid`. */
  fields: Array<FieldFault> | null,
};

/** What went wrong, as far as a client can act on it. */
export type ErrorType = "invalid" | "unauthenticated" | "forbidden" | "not_leader" | "not_yours" | "not_found" | "not_member" | "method_not_allowed" | "wrong_status" | "task_taken" | "raid_full" | "raid_closed" | "too_many_tasks" | "not_enough_energy" | "too_large" | "rate_limited" | "overloaded" | "unavailable" | "internal";

/** What is wrong with one field of a request. */
export type FieldFault = {
  /** The field's name. */
  field: string,
  /** What it must be. */
  message: string,
};

/** Success. */
export type Data<T> = {
  /** What was asked for. */
  data: T,
};

/** One page of a list. */
export type Page<T> = {
  /** The rows. */
  data: Array<T>,
  /** What to pass as `cursor` for the next page; null on the last. */
  next_cursor: string | null,
};

/** The answer to a sign-in or a refresh. */
export type TokenPair = {
  /** For `Authorization: Bearer` and `hello`. */
  access_token: string,
  /** For the next pair. */
  refresh_token: string,
  /** Seconds until the access token ends. */
  expires_in: number,
  /** Who signed in. */
  player: PlayerRef,
};

/** The signed-in player (`GET /me`). */
export type Profile = {
  /** Who. */
  id: PlayerId,
  /** What they are called. */
  name: string,
  /** Xp earned in all raids. */
  xp: number,
  /** Tasks done in all raids. */
  tasks: number,
  /** Raids completed. */
  raids_won: number,
  /** When they first came. */
  created_at: UnixMillis,
};

/** What a raid is made of (`POST /raids`). Typed only; the rules say which values make sense. */
export type NewRaid = {
  /** 1–80 characters. */
  title: string,
  /** At most 500 characters. */
  description?: string,
  /** 1–1,000,000. */
  target_xp: number,
  /** 0–10,000. */
  target_tasks: number,
  /** 60–604,800; 86,400 when absent. */
  time_limit_secs?: number,
  /** 2–100; 4 when absent. */
  max_members?: number,
  /** False when absent. */
  late_join?: boolean,
};

/** "The raid" in an answer. */
export type RaidView = {
  /** The seq that the state is a function of. */
  seq: Seq,
  /** The members who are online. */
  online: Array<PlayerId>,
  /** Where a socket reaches it directly. */
  ws_url: string,
  /** The raid. */
  id: RaidId,
  /** What it is called. */
  title: string,
  /** What it is about. */
  description: string | null,
  /** What lets a player join. */
  invite_code: string,
  /** Where it stands. */
  status: RaidStatus,
  /** Why it failed, if it did. */
  reason: FailReason | null,
  /** The goal in xp. */
  target_xp: number,
  /** The goal in tasks. */
  target_tasks: number,
  /** The xp earned so far, by those who left too. */
  current_xp: number,
  /** The tasks done so far. */
  current_tasks: number,
  /** How many members it takes. */
  max_members: number,
  /** Whether one may join once it is active. */
  late_join: boolean,
  /** Seconds from start to deadline. */
  time_limit_secs: number,
  /** When it was made. */
  created_at: UnixMillis,
  /** When it was started. */
  started_at: UnixMillis | null,
  /** When it is lost. */
  deadline: UnixMillis | null,
  /** When it was completed or lost. */
  ended_at: UnixMillis | null,
  /** Who leads; null only once nobody is left. */
  leader: PlayerId | null,
  /** How many leaders there have been. */
  term: number,
  /** The members in joining order; those who left are not in it. */
  members: Array<Member>,
  /** The tasks in the order added. */
  tasks: Array<Task>,
  /** The latest 50 chat messages, oldest first. */
  messages: Array<ChatMessage>,
  /** The final ranking, once completed. */
  ranking: Array<Rank> | null,
};

/** A raid in a list (`GET /raids`). */
export type RaidSummary = {
  /** The raid. */
  id: RaidId,
  /** What it is called. */
  title: string,
  /** Opens it to whoever has it. */
  invite_code: string,
  /** Where it stands. */
  status: RaidStatus,
  /** The goal in xp. */
  target_xp: number,
  /** The goal in tasks. */
  target_tasks: number,
  /** The xp earned so far. */
  current_xp: number,
  /** The tasks done so far. */
  current_tasks: number,
  /** Seconds from start to deadline. */
  time_limit_secs: number,
  /** When it was made. */
  created_at: UnixMillis,
  /** When it is lost, while it is active. */
  deadline: UnixMillis | null,
  /** When it ended. */
  ended_at: UnixMillis | null,
  /** The newest seq. */
  seq: Seq,
};

/** The answer to a command by REST. */
export type CommandResult = {
  /** The seq of the last event it caused. */
  seq: Seq,
  /** Whether its op had taken effect before. */
  duplicate: boolean,
};

/** A row of `GET /raids/{id}/contributions`. */
export type Contribution = {
  /** The event's seq. */
  seq: Seq,
  /** When. */
  at: UnixMillis,
  /** Who earned it. */
  player: PlayerId,
  /** How much. */
  xp: number,
  /** What for; `task_complete` for a task of the raid. */
  kind: string,
  /** The task, where there is one. */
  task: TaskId | null,
  /** The backend's note. */
  note: string | null,
};

/** The codes with which the server closes a socket. */
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

/** The HTTP status of each error, and whether the same request may succeed later. */
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
  too_large: { status: 413, retry: false },
  rate_limited: { status: 429, retry: true },
  overloaded: { status: 503, retry: true },
  unavailable: { status: 503, retry: true },
  internal: { status: 500, retry: true },
};

/** The path of the WebSocket door. */
export const SOCKET_PATH = "/api/v1/ws";
/** The subprotocol of binary MessagePack frames. */
export const SUBPROTOCOL_MSGPACK = "raidhall.v1.msgpack";
/** The subprotocol of JSON text frames. */
export const SUBPROTOCOL_JSON = "raidhall.v1.json";
/** How many chat messages a raid's state holds. */
export const MESSAGES_SHOWN = 50;

/** The most characters of a text, and the least and the most of a number. */
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
