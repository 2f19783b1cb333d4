// Tells the player's other devices what was seen on this one.
import { RaidhallError } from '@raidhall/client';
import type { PlayerStream, Seq } from '@raidhall/client';
import { SHOWN_KEY, toTell } from '../seen';
import { value } from '../value';

/** Shortest time between two times of telling. */
const TELL_MS = 1_000;

/** Up to where the player has seen the notifications on this page. */
export const noticed = value<Seq>(0);

interface Teller {
  /** Tells what is new, at most once every `TELL_MS`. */
  readonly tell: () => void;
  /** Tells it at once, for when the page ends. */
  readonly tellNow: () => void;
  /** Forgets what was told, for a stream that goes on from an earlier point. */
  readonly forget: () => void;
}

/** `shown` returns up to where rewards were shown, or null if nothing can be told now. */
export function teller(me: PlayerStream, shown: () => Seq | null): Teller {
  const sent = { through: 0, setting: 0 };
  const send = (what: keyof typeof sent, seq: Seq | null, command: (seq: Seq) => Promise<unknown>): void => {
    if (seq === null || seq <= sent[what]) return;
    sent[what] = seq;
    // If the session ended, or the server refuses it, another device may show the same once more.
    command(seq).catch(error => {
      if (!(error instanceof RaidhallError) || error.type !== 'conflict' || sent[what] !== seq) return;
      sent[what] = 0; // another device has told something: compare again
      tell();
    });
  };
  const tellNow = (): void => {
    const { state } = me.getView();
    const rewards = shown();
    if (!state || rewards === null) return;
    const { through, setting } = toTell(state, rewards, noticed.get());
    send('through', through, seq => me.readThrough(seq));
    // A command that waited without a network must not take back what another device told since.
    const ifVersion = state.settings[SHOWN_KEY]?.version ?? 0;
    send('setting', setting, seq => me.setSetting(SHOWN_KEY, seq, { ifVersion }));
  };
  let waits = false;
  let again = false;
  const tell = (): void => {
    again = waits;
    if (waits) return;
    waits = true;
    tellNow();
    setTimeout(() => {
      waits = false;
      if (again) tell();
    }, TELL_MS);
  };
  const forget = (): void => {
    sent.through = 0;
    sent.setting = 0;
  };
  return { tell, tellNow, forget };
}
