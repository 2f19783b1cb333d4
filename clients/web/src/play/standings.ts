// Reads the members' profiles in a few requests: those of new members soon after they have come, and
// all again at most once a minute, if something has happened that may have changed them, and otherwise
// every 15 minutes. A failed request is repeated later, and no error is shown: a member without a
// profile has a plain card.
import type { PlayerId, PlayerProfile } from '@raidhall/client';
import { value } from '../value';
import type { Standing, Standings } from './standing';

/** Members who come within this time are read together. */
export const GATHER_MS = 1_000;
/** Shortest time between two reads of all members. */
export const REFRESH_MS = 60_000;
/** Profiles are read again after this time, because a streak lapses without an event of the raid. */
export const RENEW_MS = 900_000;
/** After this time a profile has what happened in the raid. */
export const SETTLE_MS = 3_000;
/** Wait before the first retry; each later one is twice as long. */
export const RETRY_MS = 5_000;
const RETRY_MAX_MS = 300_000;
/** A profile that is not shown may be hidden, or the server may not know yet that the raid is shared. */
const MISSES_MAX = 3;

export interface StandingClock {
  now(): number;
  /** Starts a timer and returns a function that cancels it. */
  after(milliseconds: number, run: () => void): () => void;
}

const systemClock: StandingClock = {
  now: () => performance.now(),
  after: (milliseconds, run) => {
    const timer = setTimeout(run, milliseconds);
    return () => clearTimeout(timer);
  },
};

/** When a member is read next, and how often there was no profile. */
interface Wanted {
  readonly at: number;
  readonly misses: number;
}

export class StandingReader {
  readonly shown = value<Standings>(new Map());
  private wanted: ReadonlyMap<PlayerId, Wanted> = new Map();
  private isStale = false;
  private staleAt = -Infinity;
  private changedAt = -Infinity;
  private readAllAt = 0;
  private failures = 0;
  private pausedUntil = 0;
  private isActive = false;
  private isOver = false;
  private isReading = false;
  private cancel: (() => void) | null = null;

  constructor(
    private readonly read: (ids: readonly PlayerId[]) => Promise<readonly PlayerProfile[]>,
    private readonly clock = systemClock,
  ) {}

  /** Sets the members to read, at most 100. */
  setMembers(members: readonly PlayerId[]): void {
    const soon = { at: this.clock.now() + GATHER_MS, misses: 0 };
    this.wanted = new Map(members.map(id => [id, this.wanted.get(id) ?? soon]));
    this.plan();
  }

  /** Nothing is read while it is not active. */
  setActive(isActive: boolean): void {
    this.isActive = isActive;
    this.plan();
  }

  /** Says that levels or streaks may have changed. */
  refresh(): void {
    this.changedAt = this.clock.now();
    if (this.isStale) return;
    this.isStale = true;
    this.staleAt = this.changedAt;
    this.plan();
  }

  /**
   * Keeps what is known once the raid is over, because from then on the server shows fewer profiles.
   * Only members who were not read yet are.
   */
  end(): void {
    this.isOver = true;
    this.plan();
  }

  /** Returns when all members are read again; `Infinity` if there is no reason to. */
  private refreshAt(): number {
    if (this.isOver || this.wanted.size === 0) return Infinity;
    if (this.isStale) return Math.max(this.readAllAt + REFRESH_MS, this.staleAt + SETTLE_MS);
    return this.readAllAt > 0 ? this.readAllAt + RENEW_MS : Infinity;
  }

  private plan(): void {
    this.cancel?.();
    this.cancel = null;
    if (!this.isActive || this.isReading) return;
    const at = Math.max(Math.min(this.refreshAt(), ...[...this.wanted.values()].map(wanted => wanted.at)), this.pausedUntil);
    if (at < Infinity) this.cancel = this.clock.after(Math.max(0, at - this.clock.now()), this.readDue);
  }

  private readonly readDue = (): void => {
    const now = this.clock.now();
    const isRefresh = this.refreshAt() <= now;
    const ids = [...this.wanted].filter(([, { at }]) => isRefresh || at <= now).map(([id]) => id);
    if (ids.length === 0) return this.plan();
    const isAll = ids.length === this.wanted.size;
    if (isAll) {
      this.isStale = now < this.changedAt + SETTLE_MS; // then the profiles may not have it yet
      this.staleAt = now;
      this.readAllAt = now;
    }
    this.isReading = true;
    this.read(ids).then(
      profiles => this.keep(ids, profiles),
      () => {
        this.isStale ||= isAll;
        this.pausedUntil = this.clock.now() + Math.min(RETRY_MS * 2 ** this.failures++, RETRY_MAX_MS);
      },
    ).finally(() => {
      this.isReading = false;
      this.plan();
    });
  };

  private keep(ids: readonly PlayerId[], profiles: readonly PlayerProfile[]): void {
    this.failures = 0;
    const shown = new Map(this.shown.get());
    const wanted = new Map(this.wanted);
    const found = new Map(profiles.map(profile => [profile.id, profile]));
    for (const id of ids) {
      const profile = found.get(id);
      const misses = profile ? 0 : (wanted.get(id)?.misses ?? 0) + 1;
      const at = profile || misses > MISSES_MAX ? Infinity : this.clock.now() + RETRY_MS * 2 ** (misses - 1);
      if (wanted.has(id)) wanted.set(id, { at, misses });
      if (profile) shown.set(id, renewed(shown.get(id), profile));
      else if (!this.isOver) shown.delete(id);
    }
    this.wanted = wanted;
    this.shown.set(shown);
  }
}

/** Returns the old object if nothing has changed, so that the member's card is not rendered again. */
function renewed(old: Standing | undefined, { level, frame, streak_days }: PlayerProfile): Standing {
  const isSame = old?.level === level && old.frame === frame && old.streak_days === streak_days;
  return isSame ? old : { level, frame, streak_days };
}
