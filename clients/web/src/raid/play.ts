// Contexts of the raid's screen. `Play` never changes for a raid and `Scene` changes with every
// event, so a component that uses only `Play` does not render again.
import type { Command, PlayerId, Raid, Seq } from '@raidhall/client';
import { createContext, use } from 'react';
import type { Account } from '../account';
import { complain } from '../notices';
import type { Names } from '../play/history';
import type { Shown } from '../play/predict';
import type { Standings } from '../play/standing';

export interface Play {
  readonly account: Account;
  readonly raid: Raid;
  readonly me: PlayerId;
  /** Marks a chat message and all before it as seen. */
  readonly see: (message: Seq) => void;
}

export interface Scene {
  readonly shown: Shown;
  /** Online members, or null while unknown. */
  readonly online: ReadonlySet<PlayerId> | null;
  readonly names: Names;
  /** Levels, frames and streaks, as far as they are known. */
  readonly standings: Standings;
  /** Whether this is the last view that the browser kept, not the raid as it is now. */
  readonly readOnly: boolean;
}

export const PlayContext = createContext<Play | null>(null);
export const SceneContext = createContext<Scene | null>(null);

export const usePlay = (): Play => inside(use(PlayContext));
export const useScene = (): Scene => inside(use(SceneContext));

function inside<T>(value: T | null): T {
  if (value === null) throw new Error('outside of a raid');
  return value;
}

/** Sends a command and shows a refusal to the player. */
export function give(raid: Raid, command: Command): void {
  raid.do(command).catch(complain);
}
