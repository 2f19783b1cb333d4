// The app's settings in the player's stream, which all of the player's devices follow. **What the
// stream has wins over what this browser has**, which is shown until the stream arrives.
import { RaidhallError } from '@raidhall/client';
import type { WatchedPlayer } from '@raidhall/client';
import { account } from './account';
import { complain } from './notices';
import { knownIn, set, settings } from './settings';
import type { Settings } from './settings';

/** Changes a setting here at once, and on the signed-in player's other devices. A refusal is shown. */
export function change<K extends keyof Settings>(key: K, value: Settings[K]): void {
  set({ [key]: value });
  account.get()?.client.me.setSetting(key, value).catch(error => {
    // On a server without players' streams, and once the connection has ended for good, which the
    // header says, this browser alone has the setting.
    if (!(error instanceof RaidhallError && (error.type === 'unsupported' || error.type === 'stopped'))) complain(error);
  });
}

/** Follows the settings of the player who is signed in, from now on. */
export function followPlayer(): void {
  let unfollow = (): void => {};
  const follow = (): void => {
    unfollow();
    const me = account.get()?.client.me;
    unfollow = me ? me.subscribe(() => adopt(me.getView())) : () => {};
  };
  account.subscribe(follow);
  follow();
}

/** Sets what the stream has, and the changes of this device that it does not show yet. */
function adopt({ state, pending }: WatchedPlayer): void {
  if (!state) return;
  const values = Object.fromEntries(Object.entries(state.settings).map(([key, { value }]) => [key, value]));
  for (const { cmd } of pending) if (cmd.type === 'set_setting') values[cmd.key] = cmd.value;
  const next = { ...settings.get(), ...knownIn(values) };
  if (JSON.stringify(next) !== JSON.stringify(settings.get())) set(next);
}
