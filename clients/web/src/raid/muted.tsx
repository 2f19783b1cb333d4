import type { ReactNode } from 'react';
import { mutedUntil } from '../play/predict';
import { timeOfDay } from '../play/time';
import { useNow } from '../play/use-raid';
import { useSettings, useWords } from '../settings';
import { usePlay, useScene } from './play';

/** Returns the time until which the player is muted, or null if they are not. */
export function useMutedUntil(): number | null {
  const { account, me } = usePlay();
  const { shown } = useScene();
  return mutedUntil(shown.members.find(({ player }) => player === me), useNow(account.client));
}

/** Says why a muted player cannot write, in place of what they would write with. */
export function Muted({ children }: { children: ReactNode }) {
  const words = useWords();
  const { language } = useSettings();
  const until = useMutedUntil();
  return until === null ? children : <p className="dim">{words.youAreMuted(timeOfDay(until, language))}</p>;
}
