// Turns events into sound, motion and vibration.
import type { PlayerId } from '@raidhall/client';
import { useEffect } from 'react';
import { momentOf, tensionAt } from '../effects/moments';
import type { Moment } from '../effects/moments';
import { celebrate, rise, shake } from '../effects/motion';
import { play as sound } from '../effects/sound';
import { useNow } from '../play/use-raid';
import { useWords } from '../settings';
import { usePlay, useScene } from './play';

/** XP that a player earns within this time after a rising text rises next, as one sum. */
const SUM_MS = 800;

export function Stage() {
  const words = useWords();
  const { raid, me, account } = usePlay();
  const { shown } = useScene();
  useEffect(() => {
    const sums = new Map<PlayerId, number>();
    const timers = new Set<ReturnType<typeof setTimeout>>();
    const earned = ({ player, xp, task }: NonNullable<Moment['gain']>): void => {
      const sum = sums.get(player);
      if (sum !== undefined) return void sums.set(player, sum + xp);
      sums.set(player, 0);
      // It rises at the task, else at the member, else at the XP bar.
      const places = [find('task', player === me ? task : null), find('member', player), document.getElementById('xp-gauge')];
      rise(words.gain(xp), places);
      const timer = setTimeout(() => {
        timers.delete(timer);
        const more = sums.get(player) ?? 0;
        sums.delete(player);
        if (more > 0) earned({ player, xp: more, task: null });
      }, SUM_MS);
      timers.add(timer);
    };
    const end = raid.onEvent((event, { state }) => {
      const moment = state && momentOf(event, state, me);
      if (!moment) return;
      if (moment.sound) sound(moment.sound);
      // Browsers refuse vibration before the player's first touch.
      if (moment.haptic && navigator.userActivation?.hasBeenActive) navigator.vibrate?.([...moment.haptic]);
      if (moment.shake) shake(document.getElementById('content'), moment.shake);
      if (moment.celebration) celebrate();
      if (moment.gain) earned(moment.gain);
    });
    return () => {
      end();
      timers.forEach(clearTimeout);
    };
  }, [raid, me, words]);
  return <div className={`tension ${tensionAt(shown, useNow(account.client))}`} aria-hidden="true" />;
}

const find = (what: 'task' | 'member', id: number | null): Element | null => (id === null ? null : document.querySelector(`[data-${what}="${id}"]`));
