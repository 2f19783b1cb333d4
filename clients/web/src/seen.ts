// What the player has seen on any of their devices. Pure. The `read_through` of the player's stream
// is about rewards and notifications alike, so **it does not pass an unread notification**. Up to
// where rewards after that one were shown is in a setting of the app.
import type { PlayerCommand, PlayerState, Seq } from '@raidhall/client';
import { unreadOf } from './inbox';

export const SHOWN_KEY = 'app.rewards';

const seqOf = (value: unknown): Seq => (typeof value === 'number' ? value : 0);

/** Returns up to where rewards were shown, with commands that the state does not show yet. */
export function rewardsShown({ read_through, settings }: PlayerState, pending: readonly PlayerCommand[]): Seq {
  const told = pending.map(cmd => (cmd.type === 'read_through' ? cmd.seq : cmd.type === 'set_setting' && cmd.key === SHOWN_KEY ? seqOf(cmd.value) : 0));
  return Math.max(read_through, seqOf(settings[SHOWN_KEY]?.value), ...told);
}

/** Returns whether the app gave a command by itself, to say what was seen. */
export const tellsSeen = (cmd: PlayerCommand): boolean => cmd.type === 'read_through' || (cmd.type === 'set_setting' && cmd.key === SHOWN_KEY);

/** What to tell the player's other devices: the new values, null for what need not change. */
interface Told {
  readonly through: Seq | null;
  readonly setting: Seq | null;
}

/**
 * Returns what to tell once this device has shown the rewards up to `shown` and the notifications up
 * to `noticed`.
 */
export function toTell({ inbox, read_through, settings }: PlayerState, shown: Seq, noticed: Seq): Told {
  const isHeld = unreadOf(inbox).some(({ seq }) => seq > noticed && seq < shown);
  const through = isHeld ? noticed : Math.max(shown, noticed);
  return { through: through > read_through ? through : null, setting: isHeld && shown > seqOf(settings[SHOWN_KEY]?.value) ? shown : null };
}
