export { Client, connect } from './client.js';
export type { Options, Settled } from './client.js';
export type { Cause } from './cause.js';
export { json, msgpack } from './codec.js';
export type { Codec } from './codec.js';
export type { GetToken, Status, StopReason } from './connection.js';
export { RaidhallError } from './errors.js';
export type { RaidhallErrorType } from './errors.js';
export type { Fetch, FetchInit, FetchResponse } from './fetch.js';
export { fold, foldPlayer } from './fold.js';
export { keptIn, newOp } from './outbox.js';
export { LIMITS } from './protocol.js';
export type { AnyWaiting, Storage, Waiting, WaitingPlayerCommand, WebLocks, WebStorage } from './outbox.js';
export { PlayerStream } from './player.js';
export type { WatchedPlayer } from './player.js';
export { Raid } from './raid.js';
export type { Signal, WatchedRaid } from './raid.js';
export { Rest } from './rest.js';
export type { RestOptions } from './rest.js';
export { Session, sessionIn } from './session.js';
export type { Keeping, Kept } from './session.js';
export { storeOf } from './store.js';
export type { Store } from './store.js';
export type { Ack } from './stream.js';
export type {
  Achievement, AchievementText, Allowance, Badge, ChatMessage, CoinAmounts, CoinsReason, Command, CommandResult, Contribution, CorrectedField, Counter, ErrorType, FieldFault, Inbox, InboxItem, InviteView,
  ItemSource, Levels, Member, NewRaid, OpKey, Page, PlayerCommand, PlayerEvent, PlayerId, PlayerProfile, PlayerRaid, PlayerRef, PlayerState, Profile, Progression, RaidEvent, RaidId, RaidOutcome, RaidState,
  RaidStatus, RaidSummary, RaidView, Rank, Role, Seq, Setting, Board, BoardEntry, BoardMetric, BoardPage, BoardPlayer, BoardTitle, BoardWindow, OpenBoard, ShopItem, SkillProgress, Streak, StreakRules, Task, TaskId, TaskStatus, Tier, TokenPair, UnlockedAchievement, UnwatchReason, XpSource,
} from './protocol.js';
