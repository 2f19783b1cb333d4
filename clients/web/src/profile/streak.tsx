// The player's streak: its length, when it ends, and the repair of a lost one.
import type { Client, PlayerStream, StreakRules, WatchedPlayer } from '@raidhall/client';
import { complain } from '../notices';
import Icon from '../parts/icon';
import { timeOfDay } from '../play/time';
import { useNow } from '../play/use-raid';
import { useSettings } from '../settings';
import type { ShownProfile } from './shown';
import { useProfileWords } from './words';

interface StreakProps {
  client: Client;
  state: ShownProfile;
  /** The player's commands that `state` does not show yet. */
  pending: WatchedPlayer['pending'];
  /** Null if nothing can be repaired now. */
  me: PlayerStream | null;
  rules: StreakRules;
}

export function Streak({ client, state: { streak, coins }, pending, me, rules }: StreakProps) {
  const words = useProfileWords();
  const { language } = useSettings();
  const now = useNow(client, 10_000);
  const { days, best, freezes, lapses_at, repairable_from, repairable_until } = streak;
  const lasts = lapses_at !== null && now < lapses_at;
  const lapsed = lapses_at !== null && lapses_at <= now;
  const repairable = repairable_from !== null && repairable_until !== null && repairable_from <= now && now < repairable_until && !lapsed;
  const missing = rules.repair_cost - coins;
  const busy = pending.some(({ cmd }) => cmd.type === 'repair_streak');
  const disabled = me === null || busy || missing > 0;
  const repair = (): void => {
    if (!disabled) me.repairStreak().catch(complain);
  };
  return (
    <section className="panel streak" aria-labelledby="streak">
      <h2 id="streak">{words.streak}</h2>
      <p className="streak-days"><Icon name="phoenix" /><b>{words.daysOf(lasts ? days : 0)}</b>{best > 0 && <small>{words.bestStreak(best)}</small>}</p>
      <p className="dim">{lasts ? words.streakLasts(timeOfDay(lapses_at, language, now)) : words.noStreak}</p>
      {freezes > 0 && <p className="dim">{words.freezesAre(freezes)}</p>}
      {repairable && (
        <>
          <p id="repair">{words.repairable(timeOfDay(repairable_until, language, now))}{missing > 0 && !busy && ` ${words.coinsMissing(missing)}`}</p>
          <button type="button" className="primary" aria-describedby="repair" aria-disabled={disabled} onClick={repair}>
            {busy ? words.sending : words.repairFor(rules.repair_cost)}
          </button>
        </>
      )}
    </section>
  );
}
