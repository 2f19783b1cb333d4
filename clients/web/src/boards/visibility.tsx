// Which players see the player on leaderboards: the setting `boards` of the player's stream.
import type { Client } from '@raidhall/client';
import { useMe } from '@raidhall/client/react';
import { complain } from '../notices';
import { useBoardsWords } from './words';

const VISIBILITIES = ['public', 'companions', 'hidden'] as const;
type Visibility = (typeof VISIBILITIES)[number];
const FIELD = 'board-visibility';

/** Returns the setting with what is not confirmed yet; null until the stream is known. */
function useVisibility(client: Client): Visibility | null {
  const { state, pending } = useMe(client);
  if (!state) return null;
  let found = state.settings.boards?.value;
  for (const { cmd } of pending) if (cmd.type === 'set_setting' && cmd.key === 'boards') found = cmd.value;
  return VISIBILITIES.find(one => one === found) ?? 'public';
}

/** Says that not all players see the player, and leads to the setting. */
export function VisibilityNote({ client }: { client: Client }) {
  const words = useBoardsWords();
  const visibility = useVisibility(client);
  if (visibility === null || visibility === 'public') return null;
  return (
    <p className="panel row not-listed">
      <span className="grow">{words.notListed[visibility]}</span>
      <button type="button" onClick={() => document.getElementById(FIELD)?.focus()}>{words.changeVisibility}</button>
    </p>
  );
}

export function VisibilitySetting({ client }: { client: Client }) {
  const words = useBoardsWords();
  const visibility = useVisibility(client);
  if (visibility === null) return null;
  return (
    <div className="panel row visibility">
      <label className="grow" htmlFor={FIELD}>{words.visibility}</label>
      <select id={FIELD} value={visibility} onChange={({ target }) => void client.me.setSetting('boards', target.value).catch(complain)}>
        {VISIBILITIES.map(one => <option key={one} value={one}>{words.visibilities[one]}</option>)}
      </select>
    </div>
  );
}
