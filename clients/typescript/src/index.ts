export { Client, connect } from './client.js';
export type { Options, Settled } from './client.js';
export type { Cause } from './cause.js';
export { json, msgpack } from './codec.js';
export type { Codec } from './codec.js';
export type { GetToken, Status, StopReason } from './connection.js';
export { RaidhallError } from './errors.js';
export type { RaidhallErrorType } from './errors.js';
export type { Fetch, FetchInit, FetchResponse } from './fetch.js';
export { fold } from './fold.js';
export { keptIn, newOp } from './outbox.js';
export { LIMITS } from './protocol.js';
export type { Storage, Waiting, WebLocks, WebStorage } from './outbox.js';
export { Raid } from './raid.js';
export type { Ack, Signal, WatchedRaid } from './raid.js';
export { Rest } from './rest.js';
export type { RestOptions } from './rest.js';
export { Session, sessionIn } from './session.js';
export type { Keeping, Kept } from './session.js';
export { storeOf } from './store.js';
export type { Store } from './store.js';
export type {
  ChatMessage, Command, CommandResult, Contribution, ErrorType, FieldFault, InviteView, Member, NewRaid, OpKey, Page, PlayerId, PlayerRef,
  Profile, RaidEvent, RaidId, RaidState, RaidStatus, RaidSummary, RaidView, Rank, Role, Seq, Task, TaskId, TaskStatus, TokenPair, UnwatchReason,
} from './protocol.js';
