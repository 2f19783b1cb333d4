// The definitions of achievements and of the shop's items, as the server last sent them. They are the
// same for all players.
import type { Achievement, Progression, ShopItem } from '@raidhall/client';
import { useCallback, useEffect, useState } from 'react';
import { rest } from './account';
import { kept } from './kept';
import { useValue, value } from './value';

const KEY = 'raidhall.progression';

function lastKept(): Progression | null {
  try {
    const found = JSON.parse(kept.getItem(KEY) ?? 'null') as Progression | null;
    return Array.isArray(found?.achievements) && Array.isArray(found.items) ? found : null;
  } catch {
    return null;
  }
}

/** Null until they are known. */
export const progression = value(lastKept());

let loading: Promise<void> | null = null;

/** Reads the definitions from the server, once for all calls until it has answered. */
export function loadProgression(): Promise<void> {
  loading ??= rest.progression().then(keep).finally(() => {
    loading = null;
  });
  return loading;
}

function keep(found: Progression): void {
  progression.set(found);
  try {
    kept.setItem(KEY, JSON.stringify(found));
  } catch {
    // The browser forbids storage: the definitions last as long as the page.
  }
}

/** Reads the definitions when the component appears, and again with `retry`. */
export function useProgression(): { readonly progression: Progression | null; readonly failed: boolean; readonly retry: () => void } {
  const [failed, setFailed] = useState(false);
  const retry = useCallback(() => {
    setFailed(false);
    loadProgression().catch(() => setFailed(true));
  }, []);
  useEffect(retry, [retry]);
  return { progression: useValue(progression), failed, retry };
}

export const achievementOf = (progression: Progression | null, id: string): Achievement | undefined => progression?.achievements.find(achievement => achievement.id === id);

export const itemOf = (progression: Progression | null, id: string | undefined): ShopItem | undefined => progression?.items.find(item => item.id === id);
